//! Any bytes as XML: no panic, and what is read is a tree that can be validated.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mhealth_gateway::fhir::tree::{json, xml};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = xml::to_json(bytes) {
        let _ = json::parse(text);
    }
});
