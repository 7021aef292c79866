//! The patch cases of FHIR/fhir-test-cases: FHIRPath Patch, XML Patch and JSON Patch. All must pass.

use std::fs;

use mhealth_gateway::fhir::definitions::Registry;
use mhealth_gateway::fhir::patch;
use mhealth_gateway::fhir::tree::xml::{Markup, Tag};
use mhealth_gateway::fhir::tree::{Document, NodeId, write};
use mhealth_gateway::fhir::validate::{Format, Validator};
use serde_json::Value;

use super::{share, suite};

fn elements(tag: &Tag) -> impl Iterator<Item = &Tag> {
    tag.children.iter().filter_map(|child| match child {
        Markup::Element(tag) => Some(tag),
        _ => None,
    })
}

fn named<'t>(tag: &'t Tag, name: &str) -> Option<&'t Tag> {
    elements(tag).find(|child| child.local() == name)
}

fn held<'t>(case: &'t Tag, name: &str) -> Option<&'t Tag> {
    named(case, name).and_then(|holder| elements(holder).next())
}

fn cases(file: &str) -> Vec<Tag> {
    let text = fs::read_to_string(suite("patch-r4").join(file)).unwrap();
    let root = Tag::parse(&text).unwrap();
    elements(&root).filter(|tag| tag.local() == "case").cloned().collect()
}

fn judge(suite: &str, cases: &[(String, Result<(), String>)]) {
    let wrong: Vec<String> =
        cases.iter().filter_map(|(name, outcome)| Some(format!("{name}: {}", outcome.as_ref().err()?))).collect();
    println!("{suite}: {}", share(cases.len() - wrong.len(), cases.len()));
    assert!(!cases.is_empty() && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A result beside what was expected; `None` where the patch must be refused.
fn compare<T: PartialEq + std::fmt::Debug>(found: Result<T, String>, expected: Option<T>) -> Result<(), String> {
    match (found, expected) {
        (Err(_), None) => Ok(()),
        (Ok(found), Some(expected)) if found == expected => Ok(()),
        (found, expected) => Err(format!("{found:?} instead of {expected:?}")),
    }
}

#[test]
fn fhirpath_patches_give_what_they_should() {
    let validator = Validator::new(Registry::core());
    let read = |tag: &Tag| {
        let reading = validator.read(tag.document().as_bytes(), Format::Xml);
        assert!(reading.issues.is_empty(), "{:?}", reading.issues);
        reading.document.unwrap()
    };
    let value = |document: &Document| serde_json::from_str::<Value>(&write::compact(document, NodeId::ROOT)).unwrap();
    let outcomes: Vec<_> = cases("fhir-patch-tests.xml")
        .iter()
        .map(|case| {
            let input = read(held(case, "input").unwrap());
            let patched = validator.patched(&input, &read(held(case, "diff").unwrap()));
            let found = patched.map(|document| value(&document)).map_err(|issue| issue.text);
            let expected = held(case, "output").map(|output| value(&read(output)));
            (case.attribute("name").unwrap().to_owned(), compare(found, expected))
        })
        .collect();
    judge("FHIRPath Patch", &outcomes);
}

/// Without the white space between elements, which nobody means.
fn squeezed(tag: &Tag) -> Tag {
    let mut squeezed = tag.clone();
    squeezed.attributes.sort();
    squeezed.children.retain(|child| !matches!(child, Markup::Text(text) if text.trim().is_empty()));
    for child in &mut squeezed.children {
        if let Markup::Element(tag) = child {
            *tag = self::squeezed(tag);
        }
    }
    squeezed
}

#[test]
fn xml_patches_give_what_they_should() {
    let outcomes: Vec<_> = cases("xml-patch-tests.xml")
        .iter()
        .map(|case| {
            let target = held(case, "target").map(Tag::document).unwrap_or_default();
            let found = patch::xml::apply(&target, &named(case, "patch").unwrap().document());
            let found = found.map(|text| squeezed(&Tag::parse(&text).unwrap())).map_err(|issue| issue.text);
            // Where a namespace is declared does not matter, what it is does.
            let plain = |tag: Tag| Tag::parse(&tag.document()).unwrap();
            let expected = held(case, "patched").map(|tag| squeezed(&plain(tag.clone())));
            (case.attribute("name").unwrap().to_owned(), compare(found, expected))
        })
        .collect();
    judge("XML Patch", &outcomes);
}

#[test]
fn json_patches_give_what_they_should() {
    let text = fs::read_to_string(suite("patch-r4").join("json-patch-tests.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let outcomes: Vec<_> = cases
        .iter()
        .map(|case| {
            let found = patch::json::apply(&case["doc"], &case["patch"]).map_err(|issue| issue.text);
            (case["comment"].as_str().unwrap().to_owned(), compare(found, case.get("expected").cloned()))
        })
        .collect();
    judge("JSON Patch", &outcomes);
}
