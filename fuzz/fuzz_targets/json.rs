//! Any bytes as JSON: no panic, and what is read is written back so that it reads alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mhealth_gateway::fhir::tree::{Document, Kind, NodeId, json};

fuzz_target!(|bytes: &[u8]| {
    let reading = json::read(bytes);
    let Ok(document) = json::parse(bytes) else {
        assert!(!reading.issues.is_empty(), "what is refused has a reason");
        return;
    };
    assert!(reading.issues.is_empty() && reading.document.is_some(), "both ways of reading agree");
    let theirs: serde_json::Value = serde_json::from_str(document.source().trim_start_matches('\u{feff}'))
        .expect("whatever our reader takes is JSON");
    assert!(alike(&document, document.root(), &theirs));
});

/// Both readers saw the same shape, names and texts.
fn alike(document: &Document, node: NodeId, theirs: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (document.kind(node), theirs) {
        (Kind::Object, Value::Object(members)) => {
            document.children(node).count() == members.len()
                && document
                    .children(node)
                    .all(|child| members.get(document.key(child)).is_some_and(|value| alike(document, child, value)))
        }
        (Kind::Array, Value::Array(items)) => {
            document.children(node).count() == items.len()
                && document.children(node).zip(items).all(|(child, value)| alike(document, child, value))
        }
        (Kind::String, Value::String(text)) => document.value(node) == text,
        (Kind::Number, Value::Number(_))
        | (Kind::True, Value::Bool(true))
        | (Kind::False, Value::Bool(false))
        | (Kind::Null, Value::Null) => true,
        _ => false,
    }
}
