//! The connector's templates, unchanged, against its own samples and test inputs: what is valid compiles, what is not is
//! refused with its place, and messages become what its documentation says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use mhealth_gateway::devices::iomt::Templates;
use mhealth_gateway::devices::{self, Formats, Record, Sender};
use mhealth_gateway::fhir::outcome::has_errors;
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use serde_json::{Value, json};

use crate::fixture::{Gateway, PROGRAM, issues};

fn suite() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/suites");
    let folder = std::env::var_os("MHEALTH_SUITES").map_or(root, PathBuf::from).join("mhealth/iomt-fhir");
    assert!(folder.exists(), "{} is missing: set MHEALTH_SUITES", folder.display());
    folder
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is wrong with one of the two files alone.
fn mistakes(text: &str, is_content: bool) -> Vec<String> {
    let (content, mapping) = if is_content { (text, "") } else { ("", text) };
    let own = if is_content { "device content" } else { "FHIR mapping" };
    let all = Templates::compile(content, mapping).err().unwrap_or_default();
    all.into_iter().filter(|mistake| mistake.starts_with(own)).collect()
}

/// A mapping that writes every value of a device content as a text.
fn as_texts(content: &str) -> String {
    let content: Value = serde_json::from_str(content.trim_start_matches('\u{feff}')).unwrap();
    let mut kinds: Vec<(String, Vec<Value>)> = Vec::new();
    for each in content["template"].as_array().unwrap() {
        let template = &each["template"];
        let components = template["values"].as_array().unwrap().iter().map(|value| {
            let name = &value["valueName"];
            json!({"codes": [{"code": name}], "value": {"valueName": name, "valueType": "String"}})
        });
        let kind = template["typeName"].as_str().unwrap().to_lowercase();
        if !kinds.iter().any(|(known, _)| *known == kind) {
            kinds.push((kind, components.collect()));
        }
    }
    let templates: Vec<Value> = kinds
        .into_iter()
        .map(|(kind, components)| {
            let template = json!({"typeName": kind, "codes": [{"code": kind}], "components": components});
            json!({"templateType": "CodeValueFhir", "template": template})
        })
        .collect();
    json!({"templateType": "CollectionFhir", "template": templates}).to_string()
}

fn convert(content: &str, mapping: &str, sent: &str) -> Vec<Record> {
    let mut formats = Formats::default();
    formats.add_templates(content, mapping).unwrap();
    let sender = Sender { subject: "Patient/p", zone: None };
    let document = devices::read(sent.trim_start_matches('\u{feff}')).unwrap();
    formats.format("iomt").unwrap().convert(&document, &sender, 1000).unwrap()
}

#[test]
fn test_inputs_compile_or_say_why_not() {
    let mut all = Vec::new();
    files(&suite().join("test"), &mut all);
    let (mut good, mut refused) = (0, 0);
    for path in all {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = read(&path);
        let kind = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')).map_or_else(
            |_| "content".to_owned(),
            |root| root["templateType"].as_str().unwrap_or_default().to_lowercase(),
        );
        if !name.contains("Template") && !name.contains("InvalidJson")
            || name.ends_with("Payload")
            || text.split_whitespace().collect::<String>().trim_start_matches('\u{feff}') == "{}"
        {
            continue;
        }
        let is_content = if kind.is_empty() { !name.contains("Fhir") } else { !kind.contains("fhir") };
        let mistakes = mistakes(&text, is_content);
        // These two are wrong only beside the device content that they belong to.
        let alone = ["IncorrectValueNameInvalid", "MissingTypeInvalid"].iter().all(|part| !name.contains(part));
        let is_bad = ["Invalid", "Empty", "Mocks", "MixedValidity"].iter().any(|part| name.contains(part));
        if is_bad && alone {
            assert!(!mistakes.is_empty(), "{name} compiles");
            refused += 1;
        } else {
            assert!(mistakes.is_empty(), "{name}: {mistakes:?}");
            good += 1;
        }
    }
    assert!(good >= 15 && refused >= 12, "{good} compile and {refused} are refused");
}

#[test]
fn templates_that_do_not_belong_together_say_why() {
    let folder = suite().join("test/Microsoft.Health.Fhir.Ingest.Validation.UnitTests/TestInput");
    let content = read(&folder.join("data_CollectionContentTemplateHrAndBloodPressureValid.json"));
    let pair = |name: &str| Templates::compile(&content, &read(&folder.join(name)));
    assert!(pair("data_CollectionFhirTemplateValid.json").is_ok());
    let wrong = pair("data_CollectionFhirTemplateIncorrectValueNameInvalid.json").unwrap_err();
    assert_eq!(wrong, ["FHIR mapping bloodpressure: the device content extracts no value systolicBadValueName"]);
    let wrong = pair("data_CollectionFhirTemplateMissingTypeInvalid.json").unwrap_err();
    assert_eq!(wrong, ["device content bloodpressure: no FHIR mapping has that typeName"]);
}

#[test]
fn messages_become_what_the_documentation_says() {
    let folder = suite().join("test/Microsoft.Health.Fhir.Ingest.Template.UnitTests/TestInput");
    let input = |name: &str| read(&folder.join(format!("data_{name}.json")));
    let documented = |name: &str| format!("Documentation_CalculatedFunction_{name}");
    for (template, payload, expected) in [
        (documented("HeartRate_Template"), documented("HeartRate_Payload"), &["hr=78"][..]),
        (documented("BloodPressure_Template"), documented("BloodPressure_Payload"), &["systolic=123 diastolic=87"]),
        (
            documented("MultipleMatches_Template"),
            documented("MultipleMatches_Payload"),
            &["systolic=120 diastolic=80", "systolic=122 diastolic=82"],
        ),
        (
            documented("MultipleMeasurements_Template"),
            documented("MultipleMeasurements_FromArray_Payload"),
            &["hr=78", "hr=81", "hr=72"],
        ),
        (
            documented("MultipleMeasurements_Template"),
            documented("MultipleMeasurements_Payload"),
            &["hr=78", "steps=2"],
        ),
        // An inch is 0.0254 metres, to the last digit.
        (
            documented("TransformData_Template"),
            documented("TransformData_Payload"),
            &["height=1.9812", "height=1.9304"],
        ),
        (
            "CollectionContentTemplateMultipleIotCentralJsonPath".to_owned(),
            "IotCentralPayloadExample".to_owned(),
            &["respiratoryrate=13", "systolic=71 diastolic=7"],
        ),
    ] {
        let content = input(&template);
        let records = convert(&content, &as_texts(&content), &input(&payload));
        let found: Vec<String> = records
            .iter()
            .map(|record| {
                let observation =
                    record.observation.as_ref().unwrap_or_else(|| panic!("{template}: {:?}", record.issues));
                let value: Value = serde_json::from_str(observation).unwrap();
                let parts = value["component"].as_array().unwrap().iter().map(|part| {
                    let code = part["code"]["coding"][0]["code"].as_str().unwrap();
                    format!("{code}={}", part["valueString"].as_str().unwrap())
                });
                parts.collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(found, expected, "{template} {payload}");
    }
}

/// What the connector's users have in production: its samples compile, and what they make is valid against our guide or
/// says what is wrong with the sample.
#[test]
fn samples_are_read_unchanged() {
    let validator = Validator::new(guide::registry());
    let samples = suite().join("sample/templates");
    let mut kept = BTreeSet::new();
    for name in ["basic", "healthkitOnFhir", "sandbox"] {
        let folder = samples.join(name);
        let (content, mapping) = (read(&folder.join("devicecontent.json")), read(&folder.join("fhirmapping.json")));
        let templates =
            Templates::compile(&content, &mapping).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:#?}"));
        assert!(templates.kinds().count() > 4, "{name}");
        let sent = json!({
            "heartrate": "61", "heartRate": "61", "steps": "12", "stepCount": "12", "hrv": "40", "systolic": "120",
            "diastolic": "80", "deviceid": "d", "deviceId": "d", "patientid": "p", "measurementdatetime": "2026-01-15T08:30:00Z",
            "endDate": "2026-01-15T08:30:00Z", "bodyMass": "70.5", "bodyTemperature": "36.6"
        });
        for record in convert(&content, &mapping, &sent.to_string()) {
            let Some(observation) = record.observation else {
                assert!(has_errors(&record.issues), "{name}: refused without a word");
                continue;
            };
            let document = json::parse(observation.as_str()).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            assert!(!has_errors(&issues), "{name}: {issues:?}\n{observation}");
            kept.extend(record.measure);
        }
    }
    assert!(kept.contains("heart-rate") && kept.contains("steps-interval"), "{kept:?}");
}

/// The pair as the command line and the server's configuration take it.
#[tokio::test(flavor = "multi_thread")]
async fn templates_are_read_by_command_and_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let content = json!({"templateType": "JsonPathContent", "template": {
        "typeName": "pulse", "typeMatchExpression": "$..[?(@bpm)]", "deviceIdExpression": "$.scale",
        "timestampExpression": "$.at", "values": [{"valueName": "bpm", "valueExpression": "$.bpm", "required": "true"}]
    }});
    let mapping = json!({"templateType": "CodeValueFhir", "template": {
        "typeName": "pulse", "codes": [{"code": "8867-4", "system": "http://loinc.org"}],
        "value": {"valueName": "bpm", "valueType": "Quantity", "unit": "bpm"}
    }});
    let message = json!({"Body": {"bpm": 71, "scale": "s", "at": "2026-01-15T08:30:00+01:00"}});
    for (name, value) in [("content.json", &content), ("mapping.json", &mapping), ("message.json", &message)] {
        std::fs::write(path(name), value.to_string()).unwrap();
    }
    let mut command = Command::new(PROGRAM);
    command.arg("convert").arg(path("message.json")).args(["--from", "iomt", "--mapping"]).arg(path("content.json"));
    let alone = command.output().unwrap();
    assert_eq!(alone.status.code(), Some(2));
    let output = command.arg("--fhir-mapping").arg(path("mapping.json")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["code"]["coding"][0]["code"], "8867-4");

    let own = format!(
        "[devices]\niomt_device_content = {:?}\niomt_fhir_mapping = {:?}\n",
        path("content.json"),
        path("mapping.json")
    );
    let gateway = Gateway::with(&own).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let address =
        |format: &str| format!("{}?patient={patient}", app.base.replace("/fhir", &format!("/devices/{format}")));
    let answer = app.post(&address("iomt"), &message).await;
    assert_eq!(answer.json()["entry"][0]["response"]["status"], "201 Created", "{answer:?}");
    let heart = json!([{
        "resourceType": "Observation", "id": "h-1", "status": "final", "effectiveDateTime": "2026-01-15T08:30:00+01:00",
        "code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "149530"}]},
        "valueQuantity": {"value": 61, "system": "http://unitsofmeasure.org", "code": "/min"}
    }, 7]);
    let answer = app.post(&address("phd"), &heart).await;
    let entries = answer.json();
    assert_eq!(entries["entry"][0]["response"]["status"], "201 Created", "{answer:?}");
    assert_eq!(issues(&entries["entry"][1]["response"]["outcome"]), ["device-record"]);
}
