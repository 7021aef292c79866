//! A definition of a package: whatever it says, it is read, or left out, or told as a defect.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mhealth_gateway::fhir::definitions::{Kind, Package, Registry};

const MANIFEST: &[u8] = br#"{"name":"a","version":"1.0.0","dependencies":{"b":"1.0.x"}}"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(package) = Package::from_files(MANIFEST, vec![("a.json".to_owned(), bytes.to_vec())]) else { return };
    if package.heads().is_empty() {
        return;
    }
    let registry = Registry::with_packages(vec![Arc::new(package)]);
    let _ = registry.defects().count();
    for kind in Kind::ALL {
        for id in registry.all(kind).filter(|id| !registry.is_core(*id)) {
            let _ = registry.structure_at(id);
            let url = &registry.head(id).url;
            let _ = (registry.value_set(url), registry.code_system(url), registry.resource(url));
        }
    }
});
