//! The dictionary by which the store writes resources short is made of the guide's examples and of what a gateway makes of
//! a few records of our own: nothing in it was ever anybody's.
//!
//! `MHEALTH_BLESS=1` makes it anew. What was written by one dictionary is read by it for ever, so that once there is a
//! release another one gets another number and stands beside it (`src/store/compact.rs`).

use std::fs;
use std::path::Path;

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::Gateway;

const BYTES: usize = 48 * 1024;
const COPIES: usize = 40;
const FILE: &str = "src/store/dictionary.bin";

/// A stream of numbers, the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Another text of the same kind: other ids, other times, other values.
fn another(text: &str, numbers: &mut Numbers) -> String {
    let hex = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
    let mut out = String::new();
    for word in text.split_inclusive('"') {
        let is_id = word.len() > 32 && word.matches('-').count() >= 4 && word.contains(hex);
        let is_time = word.len() > 9 && word.starts_with("20") && word.as_bytes()[4] == b'-';
        let is_value = word.starts_with(':') && word.contains(|letter: char| letter.is_ascii_digit());
        for letter in word.chars() {
            out.push(match letter {
                _ if !(is_id || is_time || is_value) || !hex(letter) => letter,
                'a'..='f' if is_id => char::from(b"0123456789abcdef"[numbers.next() as usize % 16]),
                '0'..='9' => char::from(b'0' + (numbers.next() % 10) as u8),
                other => other,
            });
        }
    }
    out
}

/// The examples as they would be stored.
fn examples() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/examples/valid");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let stored = |file: &std::path::PathBuf| {
        let mut example: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let object = example.as_object_mut().unwrap();
        object.insert("id".to_owned(), json!("572512b4-a128-8ae5-bf9c-cea6349d2e11"));
        let mut meta = json!({"versionId": "1", "lastUpdated": "2026-11-22T07:21:24.269Z"});
        meta.as_object_mut().unwrap().extend(object["meta"].as_object().unwrap().clone());
        object.insert("meta".to_owned(), meta);
        example.to_string()
    };
    files.iter().map(stored).collect()
}

/// What a gateway stores of a few requests, and what it records of them.
async fn stored() -> Vec<String> {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    app.consent(&patient, &[(&app.actor, &[Action::Collect, Action::Access], &[])]).await;
    let mut texts = Vec::new();
    let quantities = [
        ("8867-4", "/min", "vital-signs"),
        ("29463-7", "kg", "vital-signs"),
        ("59408-5", "%", "vital-signs"),
        ("8310-5", "Cel", "vital-signs"),
        ("9279-1", "/min", "vital-signs"),
        ("8302-2", "cm", "vital-signs"),
        ("39156-5", "kg/m2", "vital-signs"),
        ("15074-8", "mmol/L", "laboratory"),
        ("41950-7", "1/(24.h)", "activity"),
        ("55423-8", "1", "activity"),
        ("41981-2", "kcal", "activity"),
        ("93832-4", "h", "activity"),
        ("40443-4", "/min", "vital-signs"),
        ("80404-7", "ms", "vital-signs"),
    ];
    for (place, (code, unit, category)) in quantities.into_iter().enumerate() {
        let mut body = crate::fixture::heart_rate(&patient, &format!("reading-{place}"), 62);
        body["code"]["coding"][0]["code"] = json!(code);
        body["category"][0]["coding"][0]["code"] = json!(category);
        for member in ["unit", "code"] {
            body["valueQuantity"][member] = json!(unit);
        }
        let answer = app.post("/Observation", &body).await;
        texts.push(if answer.status == 201 { answer.text() } else { body.to_string() });
    }
    let pressure = json!({
        "systolic_blood_pressure": {"value": 120, "unit": "mmHg"},
        "diastolic_blood_pressure": {"value": 80, "unit": "mmHg"},
        "effective_time_frame": {"date_time": "2026-01-15T08:30:00+01:00"},
    });
    let steps = json!({
        "step_count": {"value": 4000, "unit": "steps"},
        "effective_time_frame": {"time_interval": {
            "start_date_time": "2026-01-15T08:30:00+01:00", "end_date_time": "2026-01-15T09:30:00+01:00"
        }},
    });
    let weight = json!({
        "body_weight": {"value": 72.5, "unit": "kg"},
        "effective_time_frame": {"date_time": "2026-01-15T08:30:00+01:00"},
    });
    let records = [
        crate::devices::heart_rate("one", 62),
        crate::devices::point("blood-pressure/4.0", "two", &pressure),
        crate::devices::point("step-count/3.0", "three", &steps),
        crate::devices::point("body-weight/3.0", "four", &weight),
    ];
    let told = crate::devices::told(&crate::devices::send(&app, &patient, &records).await);
    assert!(told.iter().all(|word| word == "accepted"), "{told:?}");
    for kind in ["Observation", "AuditEvent", "Device"] {
        let page = app.get(&format!("/{kind}?patient={patient}&_count=100")).await;
        let entries = page.json()["entry"].as_array().cloned().unwrap_or_default();
        texts.extend(entries.iter().map(|entry| entry["resource"].to_string()));
    }
    texts
}

/// As the store writes it down: what its row says is a mark (`src/store/marks.rs`). Records of the audit have no such row.
fn marked(text: &str) -> String {
    let resource: Value = serde_json::from_str(text).unwrap();
    if resource["resourceType"] == "AuditEvent" {
        return text.to_owned();
    }
    let said = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let person = said("/subject/reference").rsplit('/').next().unwrap_or_default();
    [(said("/id"), "\u{1}"), (said("/meta/lastUpdated"), "\u{2}"), (person, "\u{3}\u{17}")]
        .into_iter()
        .filter(|(said, _)| said.len() >= 24)
        .fold(text.to_owned(), |text, (said, mark)| text.replace(said, mark))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_s_dictionary_is_of_examples_of_our_own() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let mut numbers = Numbers(1);
    let mut bases = examples();
    let made = stored().await;
    bases.extend((0..4).flat_map(|_| made.clone()));
    bases.retain(|text| text.len() < 8_000);
    let bases: Vec<String> = bases.iter().map(|text| marked(text)).collect();
    let samples: Vec<String> = (0..COPIES).flat_map(|_| &bases).map(|text| another(text, &mut numbers)).collect();
    if std::env::var_os("MHEALTH_BLESS").is_some() {
        fs::write(&file, zstd::dict::from_samples(&samples, BYTES).unwrap()).unwrap();
    }
    let dictionary = fs::read(&file).unwrap();
    let mut compressor = zstd::bulk::Compressor::with_dictionary(3, &dictionary).unwrap();
    let (mut before, mut after) = (0, 0);
    for text in bases.iter().map(|text| another(text, &mut numbers)) {
        before += text.len();
        after += compressor.compress(text.as_bytes()).unwrap().len();
    }
    assert!(after * 4 < before, "{after} of {before}: made of something else than it is used for");
}
