//! Any bytes as XML: no panic, and what is read without a mistake is written so that it reads alike.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mhealth_gateway::fhir::definitions::Registry;
use mhealth_gateway::fhir::tree::{NodeId, write};
use mhealth_gateway::fhir::validate::{Format, Options, Validator};

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(Registry::core()));

fuzz_target!(|bytes: &[u8]| {
    let reading = VALIDATOR.read(bytes, Format::Xml);
    let Some(document) = reading.document.filter(|_| reading.issues.is_empty()) else { return };
    let has_errors = VALIDATOR.check_text(bytes, &Options::default()).issues.iter().any(|issue| issue.is_error());
    let Ok(written) = VALIDATOR.to_xml(&document) else { return };
    let again = VALIDATOR.read(&written, Format::Xml).document;
    let again = again.map(|again| write::compact(&again, NodeId::ROOT));
    assert!(has_errors || again.as_deref() == Some(&write::compact(&document, NodeId::ROOT)));
});
