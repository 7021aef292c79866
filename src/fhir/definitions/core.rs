//! The definitions of FHIR R4 (4.0.1) that are compiled into the binary: a package like any other.

use std::sync::{Arc, LazyLock};

use super::blob;
use super::package::Package;

/// What the package is called where it is published.
pub const NAME: &str = "hl7.fhir.r4.core";

const VERSION: &str = "4.0.1";

static COMPRESSED: &[u8] = include_bytes!("../../../profiles/r4-core.bin");

static PACKAGE: LazyLock<Arc<Package>> = LazyLock::new(|| {
    let package = blob::package(NAME, VERSION, COMPRESSED);
    Arc::new(package.expect("profiles/r4-core.bin was written by the definitions command, whose test reads it back"))
});

pub fn package() -> Arc<Package> {
    Arc::clone(&PACKAGE)
}
