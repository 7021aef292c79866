//! What devices speak that is FHIR already, by example.

use serde_json::{Value, json};

use super::*;
use crate::fhir::tree::json as tree;

const MDC: &str = "urn:iso:std:iso:11073:10101";

fn convert(sent: &Value) -> Vec<Record> {
    let sender = Sender { subject: "Patient/p", zone: None };
    super::convert(&tree::parse_list(sent.to_string()).unwrap(), &sender, 100).unwrap()
}

fn completed(sent: &Value) -> Value {
    let record = convert(sent).remove(0);
    serde_json::from_str(&record.observation.unwrap_or_else(|| panic!("{:?}", record.issues))).unwrap()
}

fn numeric(code: &str, value: &str, unit: &str) -> Value {
    let value: Value = serde_json::from_str(value).unwrap();
    json!({
        "resourceType": "Observation",
        "id": "n-1",
        "status": "final",
        "code": {"coding": [{"system": MDC, "code": code}]},
        "effectiveDateTime": "2026-01-15T08:30:00+01:00",
        "valueQuantity": {"value": value, "system": ucum(), "code": unit},
        "device": {"display": "Cuff 3"}
    })
}

fn ucum() -> &'static str {
    crate::fhir::terminology::ucum::SYSTEM
}

fn loinc(value: &Value) -> Vec<&str> {
    let codings = value["code"]["coding"].as_array().unwrap();
    codings
        .iter()
        .filter(|coding| coding["system"] == "http://loinc.org")
        .map(|coding| coding["code"].as_str().unwrap())
        .collect()
}

#[test]
fn codes_of_devices_get_loinc_beside_them() {
    for (code, value, unit, expected, measure) in [
        ("149530", "48.0", "/min", &["8867-4"][..], Some("heart-rate")),
        ("150456", "97", "%", &["2708-6", "59408-5"], Some("spo2")),
        ("150364", "36.5", "Cel", &["8310-5"], Some("body-temperature")),
        ("188736", "71.20", "kg", &["29463-7"], Some("body-weight")),
        // The unit tells mass from amount, and steps from a distance.
        ("160184", "95", "mg/dL", &["41653-7"], Some("glucose-capillary-mass")),
        ("160184", "5.3", "mmol/L", &["14743-9"], Some("glucose-capillary-molar")),
        ("8454247", "812", "{steps}", &["55423-8"], Some("steps-interval")),
        ("8454247", "812", "{step}", &["55423-8"], Some("steps-interval")),
        // On foot, by bicycle or swimming: nobody says.
        ("8454247", "812", "m", &[], None),
        ("8454263", "120", "kcal", &[], None),
        ("150452", "1", "1", &[], None),
    ] {
        let sent = numeric(code, value, unit);
        let record = convert(&sent).remove(0);
        assert_eq!(record.measure, measure, "{code} {unit}");
        let found = completed(&sent);
        assert_eq!(loinc(&found), expected, "{code} {unit}");
        assert_eq!(found["valueQuantity"]["value"].to_string(), value, "digits stay");
        assert_eq!(found["code"]["coding"][0]["code"], code);
    }
}

#[test]
fn what_a_sender_calls_it_stays_alone() {
    let mut sent = numeric("160184", "5.3", "mmol/L");
    sent["code"]["coding"].as_array_mut().unwrap().push(json!({"system": "http://loinc.org", "code": "14745-4"}));
    assert_eq!(loinc(&completed(&sent)), ["14745-4"]);
    // One of the two codes of oxygen saturation is not the other, and R4 wants both.
    let mut sent = numeric("150456", "97", "%");
    sent["code"]["coding"].as_array_mut().unwrap().push(json!({"system": "http://loinc.org", "code": "2708-6"}));
    assert_eq!(loinc(&completed(&sent)), ["2708-6", "59408-5"]);
}

/// Glucose management indicator and mean, time in range and above it: a code decides, and no text beside it.
#[test]
fn codes_that_are_taken_for_each_other_stay_apart() {
    for (code, unit, measure) in [
        ("97507-8", "mg/dL", Some("cgm-mean-glucose")),
        ("97506-0", "%", Some("cgm-gmi")),
        ("97510-2", "%", Some("cgm-time-in-range")),
        ("97509-4", "%", None),
        ("60842-2", "mL/min", None),
        ("93834-0", "1", None),
        ("80404-7", "ms", Some("hrv-sdnn")),
    ] {
        let mut sent = numeric("0", "7", unit);
        sent["code"] = json!({"coding": [{"system": "http://loinc.org", "code": code}], "text": "Mean glucose, time in range, VO2max"});
        assert_eq!(convert(&sent)[0].measure, measure, "{code}");
    }
}

#[test]
fn what_is_missing_is_added_and_what_fits_is_claimed() {
    let found = completed(&numeric("149530", "48", "/min"));
    assert!(found["meta"]["profile"][0].as_str().unwrap().ends_with("/mh-heart-rate"));
    assert_eq!(found["meta"]["tag"][0]["code"], "patient-generated");
    assert_eq!(found["category"][0]["coding"][0]["code"], "vital-signs");
    assert_eq!(found["subject"], json!({"reference": "Patient/p"}));
    assert_eq!(found["identifier"][0]["value"], "n-1");
    assert_eq!(found["extension"][0]["valueCode"], "automatic");
    assert_eq!(found["valueQuantity"]["unit"], "/min");
    assert!(found.get("id").is_none());
    // A local time, or a unit of another kind of amount, does not fit; nothing is claimed, and nothing else is lost.
    let mut local = numeric("149530", "48", "/min");
    local["effectiveDateTime"] = json!("2026-01-15");
    let mut other = numeric("149530", "48", "/min");
    other["valueQuantity"]["code"] = json!("mm[Hg]");
    for sent in [local, other] {
        assert!(completed(&sent)["meta"].get("profile").is_none(), "{sent}");
    }
    // The same again is the same record, also where its sender gave it no name.
    let mut nameless = numeric("149530", "48", "/min");
    nameless.as_object_mut().unwrap().remove("id");
    assert_eq!(convert(&nameless), convert(&nameless));
    assert!(completed(&nameless)["identifier"][0]["value"].is_string());
}

fn bundle(clock: &Value) -> Value {
    let mut heart = numeric("149530", "48", "/min");
    heart["subject"] = json!({"reference": "urn:uuid:1"});
    heart["device"] = json!({"reference": "urn:uuid:2"});
    heart["extension"] = json!([{
        "url": "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference",
        "valueReference": {"reference": "urn:uuid:3"}
    }]);
    json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "elsewhere"}},
        {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Device", "id": "cuff", "manufacturer": "Acme", "modelNumber": "3"}},
        {"fullUrl": "urn:uuid:3", "resource": clock},
        {"fullUrl": "urn:uuid:4", "resource": heart}
    ]})
}

fn clock(device: &Value) -> Value {
    let mut clock = json!({
        "resourceType": "Observation",
        "id": "clock",
        "status": "final",
        "code": {"coding": [{"system": MDC, "code": "67975"}]},
        "subject": {"reference": "urn:uuid:2"},
        "effectiveDateTime": "2026-01-15T08:00:00.500+01:00"
    });
    for (name, value) in device.as_object().unwrap() {
        clock[name] = value.clone();
    }
    clock
}

#[test]
fn a_corrected_clock_is_told_and_corrected_once() {
    let records = convert(&bundle(&clock(&json!({"valueDateTime": "2026-01-15T07:58:00+01:00"}))));
    let [comparison, heart] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(comparison.issues[0].id, Id::DeviceTypeLeftOut);
    assert_eq!(heart.pointer, "/entry/3/resource");
    assert_eq!(heart.origin.as_deref(), Some("Acme 3"));
    assert!(heart.issues.is_empty());
    let found: Value = serde_json::from_str(heart.observation.as_ref().unwrap()).unwrap();
    // Whoever read the device has corrected the time; here only what it was is told.
    assert_eq!(found["effectiveDateTime"], "2026-01-15T08:30:00+01:00");
    let note = found["note"][0]["text"].as_str().unwrap();
    assert_eq!(note, "The time was corrected by +120.5 s: the device's own clock said 2026-01-15T08:27:59.5+01:00.");
    // Device and comparison go along; nobody else's Patient does.
    let inside: Vec<&str> = found["contained"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["resourceType"].as_str().unwrap())
        .collect();
    assert_eq!(inside, ["Observation", "Device"]);
    assert_eq!(found["device"]["reference"], "#cuff");
    assert_eq!(found["contained"][0]["subject"]["reference"], "#cuff");
    assert_eq!(found["subject"]["reference"], "Patient/p");
    assert!(!heart.observation.as_ref().unwrap().contains("urn:uuid"));
}

#[test]
fn clocks_that_agree_or_failed_are_told_apart() {
    let same = convert(&bundle(&clock(&json!({"valueDateTime": "2026-01-15T07:00:00.500Z"}))));
    assert!(same[1].issues.is_empty() && !same[1].observation.as_ref().unwrap().contains("\"note\""));
    let absent = json!({"dataAbsentReason": {"coding": [{"code": "unknown"}]}});
    let failed = convert(&bundle(&clock(&absent)));
    assert_eq!(failed[1].issues[0].id, Id::MeasureClockUnset);
    assert!(failed[1].observation.is_some());
}

#[test]
fn what_is_no_observation_is_refused_alone() {
    let records = convert(&json!([numeric("149530", "48", "/min"), 7, {"resourceType": "Media"}]));
    let refused: Vec<bool> = records.iter().map(|record| record.observation.is_none()).collect();
    assert_eq!(refused, [false, true, true]);
    assert_eq!(records[2].pointer, "/2");
    let sender = Sender { subject: "Patient/p", zone: None };
    let read = |text: &str| super::convert(&tree::parse_list(text).unwrap(), &sender, 1);
    assert!(read("[]").is_err());
    assert_eq!(read("[1, 2]").unwrap_err().id, Id::BundleTooManyEntries);
}
