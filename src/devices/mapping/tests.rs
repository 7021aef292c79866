//! Conversion against Open mHealth's own test data, and field by field.
//!
//! The suites lie outside of the package (`MHEALTH_SUITES`); their absence is a failure, not a skip. Valid bodies
//! that are not taken stand in `known-failures.txt`, invalid ones that are taken in `known-passes.txt`; both may
//! only shrink.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::has_errors;
use crate::fhir::tree::{Element, json as tree};
use crate::fhir::validate::{Options, Validator};

const OPEN_MHEALTH: &str = include_str!("../../../profiles/mappings/open-mhealth.json");

static PACK: LazyLock<Pack> = LazyLock::new(|| Pack::compile(OPEN_MHEALTH).unwrap());

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(Registry::core()));

fn folder() -> PathBuf {
    let suites = std::env::var_os("MHEALTH_SUITES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"), PathBuf::from);
    let folder = suites.join("mhealth/openmhealth-schemas/test-data/omh");
    assert!(folder.is_dir(), "{} is missing: set MHEALTH_SUITES", folder.display());
    folder
}

fn point(schema: &str, version: &str, body: &Value) -> Value {
    let (namespace, name) = schema.split_once(':').unwrap();
    json!({
        "header": {
            "id": "7d6b",
            "creation_date_time": "2026-01-15T08:31:00Z",
            "schema_id": {"namespace": namespace, "name": name, "version": version},
            "acquisition_provenance": {"source_name": "Scale 3", "modality": "sensed"},
        },
        "body": body,
    })
}

/// `text`, because a `Value` would not keep the digits.
fn converted(text: &str) -> Record {
    let mut records = converted_all(text, 10).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

fn converted_all(text: &str, most: usize) -> Result<Vec<Record>, Issue> {
    convert(&PACK, &tree::parse_list(text).unwrap(), &Sender { subject: "Patient/1", zone: None }, most)
}

fn heart_rate(frame: &Value) -> Value {
    point(
        "omh:heart-rate",
        "2.0",
        &json!({"heart_rate": {"value": 71, "unit": "beats/min"}, "effective_time_frame": frame}),
    )
}

fn at_eight() -> Value {
    json!({"date_time": "2026-01-15T08:30:00+01:00"})
}

fn validation(observation: &str) -> Vec<Issue> {
    let document = tree::parse(observation).unwrap();
    let issues = VALIDATOR.check(Element::root(&document), &Options::default()).issues;
    // Whether the guide's profiles are kept is asked where the guide is known.
    issues.into_iter().filter(|issue| has_errors(std::slice::from_ref(issue))).collect()
}

/// Issues of a record as `id place`.
fn refused(point: &Value, expected: &[&str]) {
    let record = converted(&point.to_string());
    let found: Vec<String> = record.issues.iter().map(|issue| format!("{} {}", issue.id, issue.expression)).collect();
    assert_eq!(found, expected, "{point}");
    assert_eq!(record.observation, None, "{point}");
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Each body of the mapped schemas in `shouldPass` or `shouldFail`: its name, and whether it becomes a valid Observation.
fn suite(expectation: &str) -> Vec<(String, bool, Vec<Issue>)> {
    let mut cases = Vec::new();
    let schemas: BTreeSet<&str> = PACK.kinds().filter_map(|(name, _)| name.strip_prefix("omh:")).collect();
    for schema in schemas {
        for version in json_files(&folder().join(schema)) {
            for file in json_files(&version.join(expectation)) {
                let number = version.file_name().unwrap().to_str().unwrap();
                let name = format!("{schema}/{number}/{}", file.file_stem().unwrap().to_str().unwrap());
                let text = std::fs::read_to_string(&file).unwrap();
                let Ok(body) = serde_json::from_str::<Value>(&text) else {
                    cases.push((name, false, Vec::new()));
                    continue;
                };
                let record = converted(&point(&format!("omh:{schema}"), number, &body).to_string());
                let mut issues = record.issues;
                issues.extend(record.observation.iter().flat_map(|observation| validation(observation)));
                cases.push((name, !has_errors(&issues), issues));
            }
        }
    }
    cases
}

fn listed(text: &'static str) -> BTreeSet<String> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn only(found: &BTreeSet<String>, known: &BTreeSet<String>, list: &str) {
    let new: Vec<_> = found.difference(known).collect();
    let gone: Vec<_> = known.difference(found).collect();
    assert!(new.is_empty(), "not in {list}: {new:#?}");
    assert!(gone.is_empty(), "these must leave {list}: {gone:#?}");
}

/// Whether a body tells no time, which schemas before 3.0 allow, or an interval that ends before it starts: a measurement
/// of nobody-knows-when helps nobody, and FHIR's vital signs demand a time.
fn timeless(case: &str) -> bool {
    let (version, name) = case.rsplit_once('/').unwrap();
    let file = folder().join(version).join("shouldPass").join(format!("{name}.json"));
    let body: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let frame = &body["effective_time_frame"];
    let moment =
        |name: &str| frame["time_interval"][name].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let backwards = moment("start_date_time").zip(moment("end_date_time")).is_some_and(|(start, end)| end < start);
    !frame.is_object() || backwards
}

#[test]
fn valid_bodies_become_valid_observations() {
    let cases = suite("shouldPass");
    assert!(cases.len() >= 48, "the suite has shrunk: {}", cases.len());
    let describe = |(name, _, issues): &(String, bool, Vec<Issue>)| {
        let texts: Vec<String> = issues.iter().map(|issue| format!("{} {}", issue.id, issue.text)).collect();
        eprintln!("{name}: {texts:?}");
        name.clone()
    };
    let (untimed, rest): (Vec<_>, Vec<_>) = cases.iter().partition(|(name, ..)| timeless(name));
    assert!(untimed.iter().all(|(_, taken, _)| !taken), "taken without a time: {untimed:#?}");
    let failed = rest.into_iter().filter(|(_, taken, _)| !taken).map(describe).collect();
    only(&failed, &listed(include_str!("known-failures.txt")), "known-failures.txt");
}

#[test]
fn invalid_bodies_are_refused() {
    let cases = suite("shouldFail");
    assert!(cases.len() >= 45, "the suite has shrunk: {}", cases.len());
    let taken = cases.iter().filter(|(_, taken, _)| *taken).map(|(name, ..)| name.clone()).collect();
    only(&taken, &listed(include_str!("known-passes.txt")), "known-passes.txt");
}

#[test]
fn a_weight_is_carried_field_by_field() {
    let body = json!({
        "body_weight": {"value": 0, "unit": "lb"},
        "effective_time_frame": at_eight(),
        "descriptive_statistic": "minimum",
        "user_notes": "before \"breakfast\"",
    });
    let text = point("omh:body-weight", "3.0", &body).to_string().replace("\"value\":0", "\"value\":172.50");
    let record = converted(&text);
    assert_eq!((record.source_id.as_deref(), record.issues.as_slice()), (Some("7d6b"), [].as_slice()));
    let observation = record.observation.unwrap();
    assert!(observation.contains("\"value\":172.50,\"unit\":\"[lb_av]\""), "{observation}");
    assert_eq!(validation(&observation), []);
    let mut observation: Value = serde_json::from_str(&observation).unwrap();
    for known in ["valueQuantity", "meta", "extension"] {
        assert!(observation.as_object_mut().unwrap().remove(known).is_some(), "{known}");
    }
    assert_eq!(
        observation,
        json!({
            "resourceType": "Observation",
            "identifier": [{"system": format!("{}/sid/open-mhealth", crate::fhir::ours::BASE), "value": "7d6b"}],
            "status": "final",
            "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
            "subject": {"reference": "Patient/1"},
            "effectiveDateTime": "2026-01-15T08:30:00+01:00",
            "note": [{"text": "before \"breakfast\""}],
            "method": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-statistics", "code": "minimum"}],
                "text": "minimum",
            },
            "device": {"display": "Scale 3"},
        })
    );
}

#[test]
fn units_are_kept_or_converted_exactly() {
    for (schema, version, field, sent, unit, expected) in [
        ("omh:body-height", "1.0", "body_height", "1.80", "m", "\"value\":180.00,\"unit\":\"cm\""),
        ("omh:body-height", "2.0", "body_height", "5.5", "ft", "\"value\":66.0,\"unit\":\"[in_i]\""),
        ("omh:body-height", "2.0", "body_height", "1801", "mm", "\"value\":180.1,\"unit\":\"cm\""),
        ("omh:body-weight", "3.0", "body_weight", "1001", "oz", "\"value\":62.5625,\"unit\":\"[lb_av]\""),
        ("omh:body-temperature", "4.0", "body_temperature", "98.60", "F", "\"value\":98.60,\"unit\":\"[degF]\""),
        ("omh:blood-glucose", "4.0", "blood_glucose", "5.10", "mmol/L", "\"value\":5.10,\"unit\":\"mmol/L\""),
    ] {
        let body = json!({field: {"value": 0, "unit": unit}, "effective_time_frame": at_eight()});
        let text = point(schema, version, &body).to_string().replace("\"value\":0", &format!("\"value\":{sent}"));
        let observation = converted(&text).observation.unwrap();
        assert!(observation.contains(expected), "{observation}");
        assert_eq!(validation(&observation), []);
    }
}

#[test]
fn the_code_follows_unit_specimen_and_denominator() {
    let code = |schema: &str, version: &str, body: Value| {
        let mut body = body;
        body["effective_time_frame"] = json!({"time_interval": {
            "start_date_time": "2026-01-14T00:00:00Z", "end_date_time": "2026-01-15T00:00:00Z"
        }});
        let record = converted(&point(schema, version, &body).to_string());
        let observation: Value = serde_json::from_str(&record.observation.unwrap()).unwrap();
        let codings = observation["code"]["coding"].as_array().unwrap().clone();
        codings.iter().map(|coding| coding["code"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    let glucose = |unit: &str, specimen: Value| {
        let body = json!({"blood_glucose": {"value": 5, "unit": unit}, "specimen_source": specimen});
        code("omh:blood-glucose", "2.0", body)
    };
    assert_eq!(glucose("mg/dL", Value::Null), "2339-0");
    assert_eq!(glucose("mmol/L", Value::Null), "15074-8");
    assert_eq!(glucose("mmol/L", json!("interstitial fluid")), "105272-9");
    assert_eq!(glucose("mg/dL", json!("capillary blood")), "41653-7");
    let steps = |extra: Value| {
        let mut body = json!({"step_count": {"value": 9000, "unit": "steps"}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        code("omh:step-count", "3.0", body)
    };
    assert_eq!(steps(json!({})), "55423-8");
    assert_eq!(steps(json!({"descriptive_statistic": "average", "descriptive_statistic_denominator": "d"})), "41950-7");
    let oxygen = json!({"oxygen_saturation": {"value": 97, "unit": "%"}, "measurement_method": "pulse oximetry"});
    assert_eq!(code("omh:oxygen-saturation", "2.0", oxygen), "2708-6 59408-5");
}

#[test]
fn intervals_are_completed_in_the_offset_that_was_sent() {
    for (interval, start, end) in [
        (
            json!({"start_date_time": "2026-01-15T23:30:00.5-08:00", "duration": {"value": 90, "unit": "min"}}),
            "2026-01-15T23:30:00.5-08:00",
            "2026-01-16T01:00:00.5-08:00",
        ),
        (
            json!({"end_date_time": "2026-03-01T00:00:00Z", "duration": {"value": 0.25, "unit": "sec"}}),
            "2026-02-28T23:59:59.75Z",
            "2026-03-01T00:00:00Z",
        ),
    ] {
        let record = converted(&heart_rate(&json!({"time_interval": interval})).to_string());
        let observation = record.observation.unwrap();
        assert_eq!(validation(&observation), []);
        let observation: Value = serde_json::from_str(&observation).unwrap();
        assert_eq!(observation["effectivePeriod"], json!({"start": start, "end": end}));
    }
}

#[test]
fn times_that_nobody_can_place_are_refused() {
    let place = "body.effective_time_frame.date_time";
    for (time, id) in
        [("2026-01-15T08:30:00", "measure-no-offset"), ("2026-01-15", "device-record"), ("yesterday", "device-record")]
    {
        refused(&heart_rate(&json!({"date_time": time})), &[&format!("{id} {place}")]);
    }
    let interval = |interval: Value| heart_rate(&json!({"time_interval": interval}));
    let place = "body.effective_time_frame.time_interval";
    refused(&interval(json!({"date": "2026-01-15", "part_of_day": "morning"})), &[&format!("device-record {place}")]);
    refused(
        &interval(json!({"start_date_time": "2026-01-15T08:30:00Z", "duration": {"value": 1, "unit": "Mo"}})),
        &[&format!("measure-unit {place}.duration.unit")],
    );
    refused(
        &interval(json!({"start_date_time": "9999-12-31T08:30:00Z", "duration": {"value": 9, "unit": "wk"}})),
        &[&format!("device-record {place}.start_date_time")],
    );
    refused(&heart_rate(&json!({})), &["device-record body.effective_time_frame"]);
}

#[test]
fn what_would_change_the_meaning_is_refused() {
    let heart_rate = |extra: (&str, Value)| {
        let mut point = heart_rate(&at_eight());
        point["body"][extra.0] = extra.1;
        point
    };
    refused(&heart_rate(("descriptive_statistic", json!("variance"))), &["device-record body.descriptive_statistic"]);
    refused(
        &heart_rate(("descriptive_statistic_denominator", json!("d"))),
        &["device-record body.descriptive_statistic_denominator"],
    );
    refused(&heart_rate(("heart_rate", json!({"value": 71, "unit": "bpm"}))), &["measure-unit body.heart_rate.unit"]);
    refused(
        &heart_rate(("heart_rate", json!({"value": "7l", "unit": "beats/min"}))),
        &["device-record body.heart_rate.value"],
    );
    refused(&heart_rate(("heart_rate", json!([{"value": 71}]))), &["device-record body.heart_rate[0]"]);
    let urine = json!({
        "blood_glucose": {"value": 95, "unit": "mg/dL"}, "effective_time_frame": at_eight(), "specimen_source": "urine"
    });
    refused(&point("omh:blood-glucose", "4.0", &urine), &["device-record "]);
    refused(
        &heart_rate(("temporal_relationship_to_sleep", json!("in a dream"))),
        &["device-record body.temporal_relationship_to_sleep"],
    );
}

#[test]
fn everything_wrong_with_a_record_is_said_at_once() {
    let mut point = heart_rate(&json!({"date_time": "2026-01-15T08:30:00"}));
    point["header"]["id"] = json!(" ");
    point["body"]["heart_rate"]["unit"] = json!("Hz");
    refused(
        &point,
        &[
            "measure-unit body.heart_rate.unit",
            "device-record header.id",
            "measure-no-offset body.effective_time_frame.date_time",
        ],
    );
}

#[test]
fn unknown_schemas_and_versions_are_refused() {
    for (schema, version, expected) in [
        ("omh:pace", "1.0", "device-type-left-out header.schema_id.name"),
        ("ieee:heart-rate", "2.0", "device-schema-unknown header.schema_id.name"),
        ("omh:heart-rate", "3.0", "device-schema-unknown header.schema_id.version"),
        ("omh:heart-rate", "x", "device-schema-unknown header.schema_id.version"),
    ] {
        let known = heart_rate(&at_eight());
        refused(&point(schema, version, &known["body"]), &[expected]);
    }
}

#[test]
fn each_element_of_a_list_is_answered() {
    let point = heart_rate(&at_eight());
    for (text, expected) in [
        (format!("[{point}, null, [], {point}]"), vec!["/0", "/1 refused", "/2 refused", "/3"]),
        ("[null]".to_owned(), vec!["/0 refused"]),
        ("[[]]".to_owned(), vec!["/0 refused"]),
        (format!("{{\"data_points\": [{point}, null]}}"), vec!["/data_points/0", "/data_points/1 refused"]),
        (format!("{{\"data_points\": [{point}], \"records\": null}}"), vec!["/data_points/0"]),
    ] {
        let records = converted_all(&text, 10).unwrap();
        let found: Vec<String> = records
            .iter()
            .map(|record| format!("{}{}", record.pointer, if record.observation.is_none() { " refused" } else { "" }))
            .collect();
        assert_eq!(found, expected);
    }
    assert!(converted_all("[]", 10).is_err());
}

#[test]
fn fields_that_are_not_carried_are_named_as_far_as_they_are_names() {
    let mut point = heart_rate(&at_eight());
    point["body"]["mood"] = json!("calm");
    point["body"]["posture"] = json!("lying");
    point["body"]["anna@example.org"] = json!("secret");
    let record = converted(&point.to_string());
    let [issue] = record.issues.as_slice() else { panic!("{:?}", record.issues) };
    assert_eq!((issue.id, issue.expression.as_str()), (Id::DeviceField, "body.mood"));
    assert_eq!(issue.text, "Fields of the record that are not carried over: mood, posture and 1 more.");
    assert!(issue.position.column > 0);
    let mut point = heart_rate(&at_eight());
    point["body"]["anna@example.org"] = json!("secret");
    let issue = converted(&point.to_string()).issues.remove(0);
    assert_eq!(issue.expression, "body");
    assert!(!issue.text.contains("anna"), "{}", issue.text);
    assert!(record.observation.is_some());
}

#[test]
fn ieee_headers_and_lists_are_read() {
    let one = json!({
        "header": {
            "uuid": "0b2c", "source_creation_date_time": "2026-01-15T08:31:00Z", "modality": "self-reported",
            "schema_id": {"namespace": "ieee", "name": "total-sleep-time", "version": "1.0"},
        },
        "body": {
            "total_sleep_time": {"value": 7.5, "unit": "h"},
            "effective_time_frame": {"time_interval": {
                "start_date_time": "2026-01-14T23:00:00Z", "end_date_time": "2026-01-15T08:00:00Z"
            }},
        },
    });
    let series = json!({"header": one["header"], "body": [one["body"], one["body"]]});
    let text = json!({"records": [one, 1, series]}).to_string();
    let records = converted_all(&text, 3).unwrap();
    assert_eq!(validation(records[0].observation.as_ref().unwrap()), []);
    assert!(records[0].observation.as_ref().unwrap().contains("\"valueCode\":\"manual\""));
    let places: Vec<&str> = records[1..].iter().map(|record| record.issues[0].expression.as_str()).collect();
    assert_eq!(places, ["records[1]", "records[2].body[0].total_sleep_time.value"]);
    let pointers: Vec<&str> = records.iter().map(|record| record.pointer.as_str()).collect();
    assert_eq!(pointers, ["/records/0", "/records/1", "/records/2"]);
    let whole = |text: &str, most: usize| converted_all(text, most).expect_err("no records").id;
    assert_eq!(whole(&text, 2), Id::BundleTooManyEntries);
    assert_eq!(whole("{}", 2), Id::DeviceRecord);
    assert_eq!(whole(r#"{"data_points":[]}"#, 2), Id::DeviceRecord);
    // Two lists are two lists, and none of them is lost.
    let both = json!({"data_points": [one], "records": [one]}).to_string();
    assert_eq!(converted_all(&both, 9).unwrap().len(), 2);
}

#[test]
fn mistakes_of_a_mapping_are_named_with_their_place() {
    for (from, to, expected) in [
        ("\"beats/min\": \"/min\"", "\"beats/min\": \"beats\"", "kinds.omh:heart-rate: beats is no UCUM code"),
        ("\"beats/min\": \"/min\"", "\"beats/min\": \"kg\"", "heart-rate is not measured in kg"),
        ("\"versions\": [1, 2]", "\"versions\": [1]", "tuple of size 2"),
        ("\"measure\": \"heart-rate\"", "\"measur\": \"heart-rate\"", "unknown field `measur`"),
        ("\"measure\": \"heart-rate\"", "\"measure\": \"pulse\"", "pulse is no measure of the guide"),
        ("\"times\": \"12\"", "\"times\": \"twelve\"", "times is a positive number"),
        ("\"is\": \"mass\"", "\"is\": \"weight\"", "there is no table of units weight"),
        ("body.heart_rate.value", "body.heart_rate.(", "is no FHIRPath at character"),
        ("\"sensed\": \"automatic\"", "\"sensed\": \"by itself\"", "recording cannot be by itself"),
        ("\"id\": \"header.id | header.uuid\",", "", "id is missing"),
        ("omh:body-weight", "omh:heart-rate|omh:body-weight", "stands twice"),
    ] {
        assert!(OPEN_MHEALTH.contains(from), "{from}");
        let mistakes = Pack::compile(&OPEN_MHEALTH.replacen(from, to, 1)).expect_err(expected);
        assert!(mistakes.iter().any(|mistake| mistake.contains(expected)), "{expected}: {mistakes:?}");
    }
    assert_eq!(Pack::compile("{").expect_err("no JSON").len(), 1);
}

/// A mapping that shows what the language can say of times, numbers and reasons, by names that nobody sends.
const WORDS: &str = r#"{
  "id": "words", "version": "1.0.0", "title": "Words", "source": "none", "identifier": "sid/words",
  "inputs": [{
    "at": ["lists.items", "$this"], "by": "kind", "common": {"id": "id", "at": {"time": "time", "as": "local-seconds", "offset": "offset"}},
    "kinds": {
      "shifted": {"when": "value > 0", "measure": "body-weight", "value": "value", "shift": "power", "unit": "kg"},
      "day": {"measure": "steps-daily", "value": "value", "unit": "{steps}", "day": {"time": "time", "as": "local-seconds", "offset": "offset"}},
      "zoned": {"measure": "heart-rate", "value": "value", "unit": "/min", "at": {"time": "time", "as": "seconds", "zone": "zone"}},
      "stretches": {
        "measure": "sleep-duration", "start": {"time": "begin"}, "end": {"time": "end"},
        "spans": {"of": "parts", "from": "since", "until": "end", "where": "(state = 'awake').not()"}
      },
      "named": {
        "measure": "exercise-session", "start": "begin", "end": "end",
        "coded": {"by": "what", "is": {"jog": "running"}, "system": "exercise", "else": "other", "text": "what"}
      }
    },
    "reasons": [{"when": "kind = 'shifted' and value = 0", "why": "zero stands for what was not measured"}]
  }]
}"#;

fn in_words(sent: &str) -> Vec<Record> {
    let pack = Pack::compile(WORDS).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    convert(&pack, &tree::parse_list(sent).unwrap(), &Sender { subject: "Patient/1", zone: None }, 10).unwrap()
}

#[test]
fn numbers_come_with_a_power_of_ten() {
    let weight = |value: &str, power: &str| {
        let sent = format!(
            r#"{{"kind": "shifted", "id": "a", "value": {value}, "power": {power}, "time": 1442491449, "offset": "-0800"}}"#
        );
        in_words(&sent).remove(0)
    };
    for (value, power, expected) in [
        ("68850", "-3", "\"value\":68.850,"),
        ("7", "1", "\"value\":70,"),
        ("72.5", "0", "\"value\":72.5,"),
        ("72.5", "null", "\"value\":72.5,"),
    ] {
        let observation = weight(value, power).observation.unwrap();
        assert!(observation.contains(expected), "{value} {power}: {observation}");
    }
    for (value, power) in [("1", "19"), ("1", "\"x\""), ("1.123456789012345", "-18")] {
        assert_eq!(weight(value, power).issues[0].id, Id::DeviceRecord, "{value} {power}");
    }
    let zero = weight("0", "0");
    assert_eq!((zero.issues[0].id, zero.observation), (Id::DeviceTypeLeftOut, None));
    assert!(zero.issues[0].text.contains("zero stands for what was not measured"), "{}", zero.issues[0].text);
}

#[test]
fn moments_count_from_1970_on_the_wall_or_in_utc() {
    for (sent, expected) in [
        (
            r#"{"kind": "shifted", "id": "a", "value": 1, "time": 1442491449, "offset": "-0800"}"#,
            "\"effectiveDateTime\":\"2015-09-17T12:04:09-08:00\"",
        ),
        (
            r#"{"kind": "zoned", "id": "a", "value": 61, "time": 1444096372, "zone": "GMT-0600"}"#,
            "\"effectiveDateTime\":\"2015-10-05T19:52:52-06:00\"",
        ),
        (
            r#"{"kind": "zoned", "id": "a", "value": 61, "time": 1444096372, "zone": "America/Denver"}"#,
            "\"effectiveDateTime\":\"2015-10-05T19:52:52-06:00\"",
        ),
        (
            r#"{"kind": "zoned", "id": "a", "value": 61, "time": 1444096372}"#,
            "\"effectiveDateTime\":\"2015-10-06T01:52:52Z\"",
        ),
        (
            r#"{"kind": "day", "id": "a", "value": 61, "time": 1447698000, "offset": "+0500"}"#,
            "\"effectivePeriod\":{\"start\":\"2015-11-16T00:00:00+05:00\",\"end\":\"2015-11-17T00:00:00+05:00\"}",
        ),
    ] {
        let record = in_words(sent).remove(0);
        let observation = record.observation.unwrap_or_else(|| panic!("{sent}: {:?}", record.issues));
        assert!(observation.contains(expected), "{sent}: {observation}");
    }
    let local = in_words(r#"{"kind": "shifted", "id": "a", "value": 1, "time": 1442491449}"#).remove(0);
    assert_eq!(local.issues[0].id, Id::MeasureNoOffset);
    let nowhere =
        in_words(r#"{"kind": "zoned", "id": "a", "value": 61, "time": 1444096372, "zone": "Atlantis"}"#).remove(0);
    assert_eq!(nowhere.issues[0].id, Id::DeviceRecord);
}

#[test]
fn stretches_last_until_the_next_one() {
    let sent = r#"{"kind": "stretches", "id": "a", "begin": "2026-01-15T00:00:00Z", "end": "2026-01-15T08:00:00Z", "parts": [
        {"since": "2026-01-15T00:00:00Z", "state": "awake"}, {"since": "2026-01-15T00:30:00Z", "state": "light"},
        {"since": "2026-01-15T03:00:00Z", "state": "awake"}, {"since": "2026-01-15T03:10:00Z", "state": "deep"}]}"#;
    let observation = in_words(sent).remove(0).observation.unwrap();
    // Two hours and a half, and then until the end.
    assert!(observation.contains("\"value\":26400,\"unit\":\"s\""), "{observation}");
}

/// In the night of 29 March 2026 the clocks of Madrid go from 2 to 3: from 1 to 8 are six hours.
#[test]
fn stretches_on_the_wall_are_counted_where_they_were() {
    let pack = Pack::compile(WORDS).unwrap();
    let madrid = jiff::tz::TimeZone::get("Europe/Madrid").unwrap();
    let sender = Sender { subject: "Patient/1", zone: Some(madrid) };
    let sent = r#"{"kind": "stretches", "id": "a", "begin": "2026-03-29T00:00:00", "end": "2026-03-29T08:00:00", "parts": [
        {"since": "2026-03-29T01:00:00", "state": "light"}]}"#;
    let record = convert(&pack, &tree::parse_list(sent).unwrap(), &sender, 10).unwrap().remove(0);
    let observation = record.observation.unwrap_or_else(|| panic!("{:?}", record.issues));
    assert!(observation.contains("\"value\":21600,\"unit\":\"s\""), "{observation}");
}

#[test]
fn a_code_keeps_the_senders_word() {
    let sent = r#"{"kind": "named", "id": "a", "begin": "2026-01-15T00:00:00Z", "end": "2026-01-15T08:00:00Z", "what": "trampoline"}"#;
    let observation: Value = serde_json::from_str(&in_words(sent).remove(0).observation.unwrap()).unwrap();
    assert_eq!(observation["valueCodeableConcept"]["coding"][0]["code"], "other");
    assert_eq!(observation["valueCodeableConcept"]["text"], "trampoline");
}

#[test]
fn places_are_told_across_lists() {
    let item = r#"{"kind": "zoned", "id": "a", "value": 61, "time": 1}"#;
    let sent =
        format!(r#"{{"lists": [{{"items": [{item}, {item}]}}, {{"items": []}}, {{"items": [{item}, {item}]}}]}}"#);
    let pointers: Vec<String> = in_words(&sent).into_iter().map(|record| record.pointer).collect();
    assert_eq!(pointers, ["/lists/0/items/0", "/lists/0/items/1", "/lists/2/items/0", "/lists/2/items/1"]);
}

/// What the mapping does not look at is the schema's to judge, in the versions whose schemas ship.
#[test]
fn bodies_are_held_against_their_json_schemas() {
    let night = json!({"time_interval": {
        "start_date_time": "2026-01-14T23:00:00Z", "end_date_time": "2026-01-15T07:00:00Z"
    }});
    let slept = |version: &str, unit: &str| {
        point(
            "omh:sleep-duration",
            version,
            &json!({
                "sleep_duration": {"value": 0.3, "unit": unit}, "effective_time_frame": night,
            }),
        )
    };
    // The mapping could convert it; the schema of version 2 has no days, and that of version 1 does not ship.
    refused(&slept("2.0", "d"), &["measure-unit body.sleep_duration.unit"]);
    for (version, unit) in [("2.0", "h"), ("1.0", "d")] {
        assert!(converted(&slept(version, unit).to_string()).observation.is_some(), "{version} {unit}");
    }
}

/// A pair of readings that comes alone is one record, and not a list of two.
#[test]
fn a_record_that_holds_records_is_one() {
    let formats = crate::devices::Formats::default();
    let healthkit = formats.named("healthkit").unwrap();
    let reading = |kind: &str, value: u32| json!({"type": format!("HKQuantityTypeIdentifierBloodPressure{kind}"), "unit": "mmHg", "value": value});
    let pair = json!({
        "type": "HKCorrelationTypeIdentifierBloodPressure", "uuid": "p", "sourceName": "Cuff",
        "startDate": "2026-01-15T08:30:00+01:00", "endDate": "2026-01-15T08:30:00+01:00",
        "records": [reading("Systolic", 121), reading("Diastolic", 79)],
    });
    let sender = Sender { subject: "Patient/1", zone: None };
    for sent in [pair.clone(), json!([pair]), json!({"records": [pair]})] {
        let records = convert(healthkit, &tree::parse_list(sent.to_string()).unwrap(), &sender, 10).unwrap();
        let told: Vec<Option<&str>> = records.iter().map(|record| record.measure).collect();
        assert_eq!(told, [Some("blood-pressure")], "{sent}");
    }
}

/// The example of the documentation is a mapping.
#[test]
fn the_documented_example_does_what_it_shows() {
    let page = include_str!("../../../docs/devices.md");
    let example =
        page.split("```json\n").find_map(|block| block.split("```").next().filter(|text| text.contains("\"inputs\"")));
    let pack = Pack::compile(example.unwrap()).unwrap();
    let sent = r#"{"records": [
        {"type": "weight", "uuid": "a", "time": "2026-01-15T08:30:00", "zoneMinutes": 60, "value": 1001, "unit": "oz",
         "maker": "Example", "model": "Scale", "manual": false},
        {"type": "pressure", "uuid": "b", "time": "2026-01-15T08:30:00Z", "high": 120, "low": 80, "manual": true},
        {"type": "pulse", "uuid": "c", "samples": [{"time": "2026-01-15T08:30:00Z", "bpm": 60}, {"time": "2026-01-15T08:31:00Z", "bpm": 61}]},
        {"type": "route", "uuid": "d"}]}"#;
    let sender = Sender { subject: "Patient/1", zone: None };
    let records = convert(&pack, &tree::parse(sent).unwrap(), &sender, 10).unwrap();
    let told: Vec<(&str, Option<&str>, Option<&str>)> =
        records.iter().map(|record| (record.pointer.as_str(), record.source_id.as_deref(), record.measure)).collect();
    assert_eq!(
        told,
        [
            ("/records/0", Some("a"), Some("body-weight")),
            ("/records/1", Some("b"), Some("blood-pressure")),
            ("/records/2", Some("c/2026-01-15T08:30:00Z"), Some("heart-rate")),
            ("/records/2", Some("c/2026-01-15T08:31:00Z"), Some("heart-rate")),
            ("/records/3", None, None),
        ]
    );
    let weight = records[0].observation.as_ref().unwrap();
    assert!(weight.contains("\"effectiveDateTime\":\"2026-01-15T08:30:00+01:00\""), "{weight}");
    assert!(weight.contains("\"value\":62.5625,\"unit\":\"[lb_av]\""), "{weight}");
    assert_eq!(records[4].issues[0].id, Id::DeviceTypeLeftOut);
}

proptest::proptest! {
    /// Whatever stands in the places that are read, the answer is an Observation that parses or an error.
    #[test]
    fn never_panics_and_never_drops_silently(
        value in "[0-9eE.+-]{1,24}|\"[ -~]{0,8}\"|\\[\\]|\\{\\}|null",
        unit in "beats/min|bpm|[ -~]{0,8}",
        time in "2026-01-15T08:30:00(Z|\\+01:00)?|[0-9TZ:.+-]{0,26}",
    ) {
        let point = heart_rate(&json!({"date_time": time}));
        let text = point.to_string()
            .replace("\"beats/min\"", &Value::String(unit).to_string())
            .replace("\"value\":71", &format!("\"value\":{value}"));
        if tree::parse(text.as_str()).is_ok() {
            let record = converted_all(&text, 1).unwrap().remove(0);
            match &record.observation {
                Some(observation) => drop(tree::parse(observation.as_str()).unwrap()),
                None => assert!(has_errors(&record.issues)),
            }
        }
    }
}

#[test]
fn every_mapping_of_the_program_compiles() {
    let packs: Vec<_> =
        crate::devices::Formats::default().iter().map(|pack| (pack.id.clone(), pack.kinds().count())).collect();
    assert!(packs.iter().all(|(_, kinds)| *kinds > 0), "{packs:?}");
    eprintln!("{packs:?}");
}

/// The clocks of Madrid go from 2 to 3 on 29 March 2026, and from 3 back to 2 on 25 October.
#[test]
fn a_local_time_that_was_not_or_was_twice_is_refused() {
    let pack = Pack::compile(include_str!("../../../profiles/mappings/fitbit.json")).unwrap();
    let weighed = |zone: &str, date: &str, time: &str| {
        let sender = Sender { subject: "Patient/1", zone: Some(jiff::tz::TimeZone::get(zone).unwrap()) };
        let sent = json!({"weight": [{"date": date, "logId": 1, "time": time, "weight": 70.1, "source": "Aria"}]});
        convert(&pack, &tree::parse_list(sent.to_string()).unwrap(), &sender, 10).unwrap().remove(0)
    };
    for (date, time, part) in [
        ("2026-03-29", "02:00:00", Some("no such time")),
        ("2026-03-29", "02:59:59", Some("no such time")),
        ("2026-10-25", "02:30:00", Some("twice")),
        ("2026-03-29", "01:59:59", None),
        ("2026-03-29", "03:00:00", None),
        ("2026-10-25", "01:59:59", None),
        ("2026-10-25", "03:00:00", None),
    ] {
        let record = weighed("Europe/Madrid", date, time);
        match part {
            Some(part) => {
                assert_eq!((record.observation, record.issues[0].id), (None, Id::MeasureNoOffset), "{date} {time}");
                assert!(record.issues[0].text.contains(part), "{date} {time}: {}", record.issues[0].text);
            }
            None => assert!(record.observation.is_some(), "{date} {time}: {:?}", record.issues),
        }
    }
    // A day begins once, also where the clocks change at midnight.
    for (date, start, end) in [
        ("2026-03-08", "2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00"),
        ("2026-11-01", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"),
    ] {
        let sender = Sender { subject: "Patient/1", zone: Some(jiff::tz::TimeZone::get("America/Havana").unwrap()) };
        let sent = json!({"activities-heart": [{"dateTime": date, "value": {"restingHeartRate": 55}}]});
        let record = convert(&pack, &tree::parse_list(sent.to_string()).unwrap(), &sender, 10).unwrap().remove(0);
        let observation = record.observation.unwrap_or_else(|| panic!("{date}: {:?}", record.issues));
        assert!(observation.contains(start) && observation.contains(end), "{observation}");
    }
}

#[test]
fn a_schema_that_wants_offsets_is_not_content_with_a_zone() {
    for time in ["2026-01-15T08:30:00", "2026-01-15T08:30", "2026-01-15T08:30+01:00"] {
        for zone in [None, jiff::tz::TimeZone::get("Europe/Madrid").ok()] {
            let sender = Sender { subject: "Patient/1", zone };
            let sent = heart_rate(&json!({"date_time": time})).to_string();
            let record = convert(&PACK, &tree::parse_list(sent).unwrap(), &sender, 10).unwrap().remove(0);
            assert_eq!(record.observation, None, "{time}");
            let texts: Vec<&str> = record.issues.iter().map(|issue| issue.text.as_str()).collect();
            assert_eq!(texts.len(), 1, "{time}: {texts:?}");
            assert!(texts[0].contains("with seconds and with the UTC offset"), "{time}: {texts:?}");
        }
    }
}

#[test]
fn what_is_looked_for_is_told_whole() {
    let pack = Pack::compile(include_str!("../../../profiles/mappings/fitbit.json")).unwrap();
    let sender = Sender { subject: "Patient/1", zone: None };
    let sent = r#"{"weight": [{"date": "2026-01-15", "logId": 1, "time": "08:30:00", "weight": "heavy"}]}"#;
    let (steps, _) = explain(&pack, &tree::parse_list(sent).unwrap(), &sender, 10).unwrap().remove(0);
    let step = |what: &str| steps.iter().find(|step| step.what == what).unwrap();
    let (value, time) = (step("value"), step("time"));
    assert_eq!((value.by.as_str(), value.result.as_str()), ("weight", "refused: A number is expected."));
    assert!(time.by.contains("iif(time.empty(), date)") && time.result.starts_with("refused: "), "{time:?}");
}
