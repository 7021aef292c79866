//! Documents of a national reference validator, labelled valid and invalid, against its packages.
//!
//! Which packages a profile is checked with follows from the validator's own configuration: a list of them for each
//! profile, of which the one counts whose period holds the document.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{known, only, suite};

#[test]
fn agrees_with_the_national_validator() {
    let folder = suite("gematik-refv");
    let text = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let documents: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(documents.len() > 600);
    if only().is_none() {
        known("gematik-refv.txt", &BTreeSet::new());
    }
}
