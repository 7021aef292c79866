//! The official R4 examples through our reader and writers: JSON byte for byte but for white space, and to XML and back
//! without loss.

use std::collections::BTreeSet;
use std::fs;

use mhealth_gateway::fhir::definitions::Registry;
use mhealth_gateway::fhir::tree::{NodeId, json, write};
use mhealth_gateway::fhir::validate::{Format, Validator};
use serde_json::Value;

use super::{files, share, spread, suite};

/// JSON without the white space between its tokens.
fn squeezed(text: &str) -> String {
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(text.len()), false, false);
    for character in text.chars() {
        if quoted || !character.is_whitespace() {
            out.push(character);
        }
        quoted ^= character == '"' && !escaped;
        escaped = quoted && character == '\\' && !escaped;
    }
    out
}

#[test]
fn examples_survive_both_formats() {
    let validator = Validator::new(Registry::core());
    let paths = files(&suite("r4-examples"));
    let paths: Vec<_> = paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    let outcomes = spread(&paths, |path| {
        let text = fs::read_to_string(path).unwrap();
        let document = json::parse(text.as_str()).map_err(|issue| issue.text)?;
        let compact = write::compact(&document, NodeId::ROOT);
        if compact != squeezed(text.trim_start_matches('\u{feff}')) {
            return Err("JSON comes back with other bytes".to_owned());
        }
        let xml = validator.to_xml(&document).map_err(|issue| format!("to XML: {}", issue.text))?;
        let reading = validator.read(&xml, Format::Xml);
        if let Some(issue) = reading.issues.first() {
            return Err(format!("from XML: {} {}", issue.expression, issue.text));
        }
        let back = write::compact(&reading.document.unwrap(), NodeId::ROOT);
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        if trimmed(value(&back)) == trimmed(value(&compact)) {
            Ok(())
        } else {
            Err("XML comes back as another resource".to_owned())
        }
    });
    let mut failed = BTreeSet::new();
    for (path, outcome) in paths.iter().zip(&outcomes) {
        if let Err(why) = outcome {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            println!("  {name}: {why}");
            failed.insert(name);
        }
    }
    println!("r4-examples, there and back in both formats: {}", share(paths.len() - failed.len(), paths.len()));
    assert!(!paths.is_empty() && failed.is_empty(), "{failed:?}");
}

/// Space around a narrative is none of its own.
fn trimmed(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, member)| match member {
                    Value::String(text) if key == "div" => (key, text.trim().replace("&nbsp;", "&#160;").into()),
                    member => (key, trimmed(member)),
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(trimmed).collect(),
        other => other,
    }
}
