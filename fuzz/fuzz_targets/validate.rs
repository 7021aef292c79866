//! Any JSON against the core definitions and the profiles it claims: no panic, and the same findings every time.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mhealth_gateway::fhir::definitions::Registry;
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::{Options, Validator};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(Registry::core()));

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = json::parse(bytes) else { return };
    let root = Element::root(&document);
    let report = VALIDATOR.check(root, &Options::default());
    // Checking is a function: the same resource, the same findings.
    assert!(report.issues == VALIDATOR.check(root, &Options::default()).issues);
});
