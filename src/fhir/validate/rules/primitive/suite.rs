//! The primitive values of google/fhir's test data: valid and invalid ones of each type, a JSON value a line.
//!
//! They lie outside of the package (`MHEALTH_SUITES`); their absence is a failure, not a skip. A value is tried where
//! FHIR puts it: as the value of an extension, xhtml as a narrative. A null says that there is no value, which is legal
//! in an array beside an extension (R4 §2.6.2.3).

use std::path::PathBuf;

use crate::fhir::definitions::Registry;
use crate::fhir::outcome::{Id, has_errors};
use crate::fhir::tree::{Element, json};
use crate::fhir::validate::{Options, Validator};

/// File and type.
const TYPES: &[(&str, &str)] = &[
    ("base64_binary", "Base64Binary"),
    ("boolean", "Boolean"),
    ("canonical", "Canonical"),
    ("code", "Code"),
    ("date", "Date"),
    ("date_time", "DateTime"),
    ("decimal", "Decimal"),
    ("id", "Id"),
    ("instant", "Instant"),
    ("integer", "Integer"),
    ("markdown", "Markdown"),
    ("oid", "Oid"),
    ("positive_int", "PositiveInt"),
    ("reference", "Reference"),
    ("string", "String"),
    ("time", "Time"),
    ("unsigned_int", "UnsignedInt"),
    ("uri", "Uri"),
    ("url", "Url"),
    ("uuid", "Uuid"),
    ("xhtml", "Xhtml"),
];

/// The value in its place.
fn resource(kind: &str, value: &str) -> String {
    match (kind, value) {
        ("Xhtml", _) => {
            format!(r#"{{"resourceType":"Basic","code":{{"text":"x"}},"text":{{"status":"generated","div":{value}}}}}"#)
        }
        (_, "null") => r#"{"resourceType":"Basic","code":{"text":"x"},"identifier":[{"system":"urn:x","value":"x"}],
            "meta":{"profile":[null],"_profile":[{"extension":[{"url":"http://x.org/x","valueBoolean":true}]}]}}"#
            .to_owned(),
        _ => format!(
            r##"{{"resourceType":"Basic","code":{{"text":"x"}},"contained":[{{"resourceType":"Patient","id":"p1"}}],
                "subject":{{"reference":"#p1"}},"extension":[{{"url":"http://x.org/x","value{kind}":{value}}}]}}"##
        ),
    }
}

fn accepts(validator: &Validator, kind: &str, value: &str) -> bool {
    let Ok(document) = json::parse(resource(kind, value)) else { return false };
    let mut issues = validator.check(Element::root(&document), &Options::default()).issues;
    // The type alone is asked: that a narrative says something, in the right namespace, is the narrative's matter.
    if kind == "Xhtml" {
        let absent = value == "null";
        issues.retain(|issue| {
            matches!(issue.id, Id::ElementShape | Id::PrimitiveFormat) || absent && issue.id == Id::ElementEmpty
        });
    }
    !has_errors(&issues)
}

#[test]
fn every_line_is_judged_right() {
    let suites = std::env::var_os("MHEALTH_SUITES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"), PathBuf::from);
    let validator = Validator::new(Registry::core());
    let (mut count, mut wrong) = (0, Vec::new());
    for (file, kind) in TYPES {
        for (label, valid) in [("valid", true), ("invalid", false)] {
            let path = suites.join("google-primitives-r4").join(format!("{file}.{label}.ndjson"));
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{} is missing ({error}); set MHEALTH_SUITES", path.display()));
            for line in text.lines().filter(|line| !line.is_empty()) {
                count += 1;
                if accepts(&validator, kind, line) != valid {
                    wrong.push(format!("{kind} {line}: should be {label}"));
                }
            }
        }
    }
    assert!(count > 150, "only {count} lines were found");
    assert!(wrong.is_empty(), "{count} lines: {wrong:#?}");
}
