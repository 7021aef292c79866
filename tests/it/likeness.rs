//! What was learnt of earlier resources changes nothing: whatever a resource says, the same is found as if it were the
//! first one.

use std::path::{Path, PathBuf};

use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use serde_json::Value;

use crate::suites::suite;

/// How often a resource is seen until it is surely known.
const OFTEN: usize = 4;

/// Most places of one resource that are changed.
const PLACES: usize = 120;

/// What is put where something else stood: of every type of value, good and bad.
const WORDS: [&str; 14] = [
    r#""x""#,
    r#""""#,
    r#"" ""#,
    r#""<b>y</b>""#,
    "1",
    "-3.50",
    "1e400",
    r#""2031-01-01T00:00:00Z""#,
    r#""1970-01-01T00:00:00+01:00""#,
    r#""2024-02-30""#,
    r##""#inside""##,
    r#""Patient/other""#,
    r#""http://loinc.org""#,
    r#""8867-4""#,
];

/// The time of the checks: 2026-11-22.
const NOW_MS: i64 = 1_795_305_600_000;

fn options(anew: bool) -> Options<'static> {
    Options { anew, now_ms: Some(NOW_MS), ..Options::default() }
}

#[test]
fn what_was_learnt_hides_nothing_and_adds_nothing() {
    let validator = Validator::new(guide::registry());
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("profiles/examples/valid");
    let texts = texts(&own, 1).into_iter().chain(texts(&suite("r4-examples/json"), 12));
    let (mut resources, mut changed, mut wrong) = (0, 0, Vec::new());
    for (name, text) in texts {
        let Ok(resource) = serde_json::from_str::<Value>(&text) else { continue };
        resources += 1;
        for _ in 0..OFTEN {
            found(&validator, &text, false);
        }
        let places = places(&resource);
        let step = places.len().div_ceil(PLACES).max(1);
        for place in places.iter().step_by(step) {
            for word in WORDS {
                let mut other = resource.clone();
                *other.pointer_mut(place).unwrap() = serde_json::from_str(word).unwrap();
                let text = other.to_string();
                changed += 1;
                let (one, two) = (found(&validator, &text, false), found(&validator, &text, true));
                if one != two {
                    wrong.push(format!("{name} {place} {word}\n  {one:?}\n  {two:?}"));
                }
            }
        }
    }
    let learnt = validator.learnt();
    assert!(resources > 100 && learnt > 60 && changed > 20_000, "{resources} {learnt} {changed}");
    assert!(wrong.is_empty(), "{} of {changed}: {}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
}

/// Resources that stand in Bundles are known there as well, and what they refer to is looked for in the Bundle.
#[test]
fn what_is_known_is_known_in_a_bundle() {
    let validator = Validator::new(guide::registry());
    let heart_rate = |subject: &str, value: &str| {
        format!(
            r#"{{"resourceType":"Observation","status":"final","category":[{{"coding":[{{"system":
            "http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}}]}}],
            "code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},"subject":{{"reference":"{subject}"}},
            "effectiveDateTime":"2026-03-01T08:00:00+01:00","valueQuantity":{{"value":{value},"unit":"/min",
            "system":"http://unitsofmeasure.org","code":"/min"}}}}"#
        )
    };
    for _ in 0..OFTEN {
        assert_eq!(found(&validator, &heart_rate("Patient/1", "70"), false), Vec::<String>::new());
    }
    let person = r#"{"resourceType":"Patient","gender":"female"}"#;
    let device = r#"{"resourceType":"Device","status":"active"}"#;
    for (subject, resource, value) in [
        ("urn:uuid:00000000-0000-4000-8000-000000000001", person, "71"),
        ("urn:uuid:00000000-0000-4000-8000-000000000001", device, "72"),
        ("urn:uuid:00000000-0000-4000-8000-000000000002", person, "73"),
        ("Patient/9", person, "74"),
        ("nobody", person, "75"),
        ("Patient/9", person, "9000"),
    ] {
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"fullUrl":
            "urn:uuid:00000000-0000-4000-8000-000000000001","resource":{resource}}},{{"fullUrl":
            "urn:uuid:00000000-0000-4000-8000-000000000003","resource":{}}}]}}"#,
            heart_rate(subject, value)
        );
        assert_eq!(found(&validator, &bundle, false), found(&validator, &bundle, true), "{subject} {value}");
    }
}

/// What is found in a text, as one reads it.
fn found(validator: &Validator, text: &str, anew: bool) -> Vec<String> {
    let document = json::parse(text).unwrap();
    let report = validator.check(Element::root(&document), &options(anew));
    let issues = report.issues.iter().map(|issue| format!("{issue:?}"));
    issues.chain(report.open.iter().map(|question| format!("{question:?}"))).collect()
}

/// Every so many files of a folder.
fn texts(folder: &Path, step: usize) -> Vec<(String, String)> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |file: &PathBuf| (file.display().to_string(), std::fs::read_to_string(file).unwrap());
    files.iter().step_by(step).map(read).filter(|(_, text)| text.len() < 20_000).collect()
}

/// Where a value stands that is no object and no array.
fn places(value: &Value) -> Vec<String> {
    let below = |name: &str, value: &Value| -> Vec<String> {
        places(value).into_iter().map(|rest| format!("/{name}{rest}")).collect()
    };
    match value {
        Value::Object(members) => members.iter().flat_map(|(name, value)| below(name, value)).collect(),
        Value::Array(items) => items.iter().enumerate().flat_map(|(at, value)| below(&at.to_string(), value)).collect(),
        _ => vec![String::new()],
    }
}
