//! The guide as definitions: what the program enforces is what it publishes.
//!
//! `profiles/guide.bin` is the compiled guide, condensed like the standard's own definitions. The code system of issues is
//! added from the catalogue, its one source.

use std::sync::{Arc, LazyLock};

use super::issues;
use crate::fhir::definitions::{Package, Registry};
use crate::fhir::ours;
use crate::fhir::tree::json;

static COMPILED: &[u8] = include_bytes!("../../profiles/guide.bin");

static PACKAGES: LazyLock<[Arc<Package>; 2]> = LazyLock::new(|| {
    let guide = Package::embedded(ours::PACKAGE, ours::VERSION, COMPILED);
    let guide = guide.expect("profiles/guide.bin was written by the definitions command, whose test reads it back");
    let issues = json::parse(issues::code_system().to_string()).ok();
    let catalogue = Package::loose("mhealth-gateway", &issues).expect("the code system of issues has a url");
    [guide, catalogue].map(Arc::new)
});

/// The guide's definitions, to stand below what a deployment adds.
pub fn packages() -> Vec<Arc<Package>> {
    PACKAGES.to_vec()
}

/// The standard's definitions with the guide's on top.
pub fn registry() -> Arc<Registry> {
    static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| Registry::with_packages(packages()));
    Arc::clone(&REGISTRY)
}
