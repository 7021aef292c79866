//! `convert`: exports as phones write them, through the program as people start it, and what comes out held against the
//! guide.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mhealth_gateway::fhir::outcome::has_errors;
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use serde_json::Value;

use crate::fixture::PROGRAM;

#[path = "../../benches/devices/export.rs"]
mod export;

/// A mapping of somebody's own.
const MAPPING: &str = r#"{
  "id": "scale", "version": "1.0.0", "title": "Scale", "source": "test", "identifier": "sid/scale",
  "inputs": [{"at": "$this", "rules": [
    {"measure": "body-weight", "value": "kg", "unit": "kg", "id": "id", "at": "time", "recording": "automatic"}
  ]}]
}"#;

struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes an export of about so many bytes.
    fn export(&self, bytes: u64) -> (String, u64) {
        let path = self.path("export.xml");
        let mut text = Vec::new();
        let records = export::write(bytes, &mut text).unwrap();
        std::fs::write(&path, text).unwrap();
        (path.to_str().unwrap().to_owned(), records)
    }
}

fn convert(file: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("convert").arg(file).args(["--from", "apple-health"]).args(arguments);
    command.output().unwrap()
}

fn table(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The Observations of an output of lines, each valid against our guide.
fn observations(output: &Output) -> Vec<Value> {
    let validator = Validator::new(guide::registry());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| {
            let document = json::parse(line).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            assert!(!has_errors(&issues), "{issues:?} in {line}");
            serde_json::from_str(line).unwrap()
        })
        .collect()
}

/// How many have each LOINC code, or code of our own.
fn by_code(observations: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for observation in observations {
        *counts.entry(observation["code"]["coding"][0]["code"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn an_export_becomes_observations_of_the_guide() {
    let desk = Desk::new();
    let (file, records) = desk.export(700_000);
    let output = convert(&file, &["--patient", "anna"]);
    let told = table(&output);
    assert!(told.contains(&format!("{records} records, ")), "{told}");
    assert_eq!(output.status.code(), Some(0), "{told}");
    let found = observations(&output);
    assert!(found.iter().all(|one| one["subject"]["reference"] == "Patient/anna"));
    let expected = [("2708-6", 24), ("41981-2", 231), ("55423-8", 692), ("85354-9", 1), ("8867-4", 692)];
    let counts = by_code(&found);
    for (code, count) in expected {
        assert_eq!(counts.get(code), Some(&count), "{code}\n{told}");
    }
    // A night is told once, whole, and its stages beside it.
    assert_eq!((counts.get("93832-4"), counts.get("sleep-stage")), (Some(&1), Some(&16)));
    let mut ids: Vec<&str> = found.iter().map(|one| one["identifier"][0]["value"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), found.len(), "each record has an identifier of its own");
}

#[test]
fn a_day_of_readings_becomes_a_stretch_or_statistics() {
    let desk = Desk::new();
    let (file, _) = desk.export(700_000);
    let chunked = convert(&file, &["--series", "chunk"]);
    let found = observations(&chunked);
    let stretch = found.iter().find(|one| one["code"]["coding"][0]["code"] == "8867-4").unwrap();
    let data = stretch["valueSampledData"]["data"].as_str().unwrap();
    assert_eq!((data.split(' ').count(), stretch["status"].as_str()), (692, Some("final")));
    assert_eq!(stretch["meta"]["profile"][0], "https://mhealth-gateway.org/fhir/StructureDefinition/mh-series");
    assert!(table(&chunked).contains("stretches of samples: "));

    let aggregated = observations(&convert(&file, &["--series", "aggregate", "--provenance"]));
    let (provenances, aggregated): (Vec<Value>, Vec<Value>) =
        aggregated.into_iter().partition(|one| one["resourceType"] == "Provenance");
    assert!(provenances.iter().any(|one| one["entity"].as_array().unwrap().len() == 692));
    let counts = by_code(&aggregated);
    for code in ["41924-2", "8883-1", "8873-2", "41950-7"] {
        assert_eq!(counts.get(code), Some(&1), "{code} {counts:?}");
    }
    assert!(!counts.contains_key("8867-4"), "{counts:?}");
}

#[test]
fn a_bundle_is_a_collection() {
    let desk = Desk::new();
    let (file, _) = desk.export(20_000);
    let out = desk.path("out.json");
    let output = convert(&file, &["--to", "bundle", "--out", out.to_str().unwrap()]);
    assert!(output.stdout.is_empty());
    let text = std::fs::read_to_string(&out).unwrap();
    let document = json::parse(text.as_str()).unwrap();
    let issues = Validator::new(guide::registry()).check(Element::root(&document), &Options::default()).issues;
    assert!(!has_errors(&issues), "{issues:?}");
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert!(bundle["entry"].as_array().unwrap().len() > 40);
}

#[test]
fn wrappings_do_not_matter() {
    let desk = Desk::new();
    let (file, _) = desk.export(50_000);
    let plain = convert(&file, &[]);
    let text = std::fs::read(&file).unwrap();

    let gzip = desk.path("export.xml.gz");
    let mut encoder = flate2::write::GzEncoder::new(std::fs::File::create(&gzip).unwrap(), flate2::Compression::fast());
    encoder.write_all(&text).unwrap();
    encoder.finish().unwrap();

    let archive = desk.path("export.zip");
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&archive).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    writer.start_file("apple_health_export/export_cda.xml", options).unwrap();
    writer.write_all(&vec![b' '; 100_000]).unwrap();
    writer.start_file("apple_health_export/export.xml", options).unwrap();
    writer.write_all(&text).unwrap();
    writer.finish().unwrap();

    for path in [gzip, archive] {
        let output = convert(path.to_str().unwrap(), &[]);
        assert_eq!(output.stdout, plain.stdout, "{}: {}", path.display(), table(&output));
    }
    let mut child = Command::new(PROGRAM)
        .args(["convert", "-", "--from", "apple-health"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, plain.stdout, "standard input");
}

#[test]
fn what_cannot_be_read_is_said() {
    let desk = Desk::new();
    let (file, _) = desk.export(50_000);
    let text = std::fs::read_to_string(&file).unwrap();

    // The copy broke off: what stands before the break was read.
    let broken = desk.path("broken.xml");
    std::fs::write(&broken, &text[..20_000]).unwrap();
    let output = convert(broken.to_str().unwrap(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(table(&output).contains("[device-truncated]"), "{}", table(&output));
    assert!(observations(&output).len() > 10);

    // One record is damaged.
    let damaged = desk.path("damaged.xml");
    std::fs::write(&damaged, text.replacen("value=\"62\"", "value=\"62", 1)).unwrap();
    let output = convert(damaged.to_str().unwrap(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(table(&output).contains("error [device-record] "), "{}", table(&output));
    assert!(table(&output).contains(", 1 refused"), "{}", table(&output));

    let other = desk.path("other.xml");
    std::fs::write(&other, "<ClinicalDocument/>").unwrap();
    for (file, said) in [(&other, "[device-file]"), (&desk.path("absent.xml"), "absent.xml")] {
        let output = convert(file.to_str().unwrap(), &[]);
        assert_eq!(output.status.code(), Some(2), "{}", table(&output));
        assert!(table(&output).contains(said), "{}", table(&output));
    }
    let output = Command::new(PROGRAM).args(["convert", "x", "--from", "nothing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(table(&output).contains("there is no format nothing"), "{}", table(&output));
}

#[test]
fn records_of_apps_come_as_lines_or_as_one_text() {
    let desk = Desk::new();
    let point = |id: &str, value: &str| {
        format!(
            r#"{{"header":{{"id":"{id}","creation_date_time":"2026-01-15T08:31:00Z","schema_id":{{"namespace":"omh",
            "name":"heart-rate","version":"2.0"}}}},"body":{{"heart_rate":{{"value":{value},"unit":"beats/min"}},
            "effective_time_frame":{{"date_time":"2026-01-15T08:30:00+01:00"}}}}}}"#
        )
        .replace('\n', "")
    };
    let lines = desk.path("points.ndjson");
    std::fs::write(&lines, format!("{}\n\n{}\n{{\n", point("a", "60"), point("b", "\"x\""))).unwrap();
    let whole = desk.path("points.json");
    std::fs::write(&whole, format!("[{},\n{}]", point("a", "60"), point("b", "61"))).unwrap();
    let convert =
        |path: &Path| Command::new(PROGRAM).arg("convert").arg(path).args(["--from", "open-mhealth"]).output().unwrap();
    let output = convert(&lines);
    assert_eq!((output.status.code(), observations(&output).len()), (Some(1), 1), "{}", table(&output));
    assert!(table(&output).contains("3:") && table(&output).contains("4:"), "{}", table(&output));
    let output = convert(&whole);
    assert_eq!((output.status.code(), observations(&output).len()), (Some(0), 2), "{}", table(&output));
    // What only the Observation shows to be wrong is told of the record, too.
    std::fs::write(&whole, format!("[{},\n{}]", point("a", "60"), point("b", "6100"))).unwrap();
    let output = convert(&whole);
    assert!(table(&output).contains("record /1: error [measure-implausible] "), "{}", table(&output));
    std::fs::write(&lines, format!("{}\n{}\n", point("a", "60"), point("b", "6100"))).unwrap();
    let output = convert(&lines);
    assert!(table(&output).contains("2:1: error [measure-implausible] "), "{}", table(&output));
}

#[test]
fn no_line_is_held_that_is_longer_than_a_record_and_no_text_without_end() {
    let desk = Desk::new();
    let point = |id: &str| {
        format!(
            r#"{{"uuid":"{id}","type":"HKQuantityTypeIdentifierHeartRate","value":60,"unit":"count/min","startDate":"2026-01-15T08:30:00+01:00","endDate":"2026-01-15T08:30:00+01:00"}}"#
        )
    };
    let lines = desk.path("points.ndjson");
    let long = format!("{{\"type\":\"{}\"}}", "x".repeat(2 << 20));
    std::fs::write(&lines, format!("{}\n{long}\n{}\n", point("a"), point("b"))).unwrap();
    let convert =
        |path: &Path| Command::new(PROGRAM).arg("convert").arg(path).args(["--from", "healthkit"]).output().unwrap();
    let output = convert(&lines);
    assert_eq!((output.status.code(), observations(&output).len()), (Some(1), 2), "{}", table(&output));
    assert!(table(&output).contains("2:1: error [device-record] The line is longer"), "{}", table(&output));
    // Packed, such a file is small, whatever it grows to.
    let packed = desk.path("points.json.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&packed).unwrap(), flate2::Compression::fast());
    std::io::copy(&mut std::io::repeat(b' ').take(300 << 20), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let output = convert(&packed);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(table(&output).contains("more than 256 MiB") && table(&output).contains("NDJSON"), "{}", table(&output));
}

#[test]
fn the_person_is_named_by_an_id() {
    for (named, expected) in [("../../x", false), ("a b", false), ("", false), ("Patient/anna", true), ("anna", true)] {
        let arguments = ["convert", "-", "--from", "healthkit", "--patient", named];
        let output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_eq!(!table(&output).contains("a FHIR id is expected"), expected, "{named}: {}", table(&output));
    }
}

#[test]
fn a_mapping_of_ones_own_is_used_and_its_mistakes_are_told() {
    let desk = Desk::new();
    let (mapping, file) = (desk.path("mapping.json"), desk.path("scale.json"));
    std::fs::write(&file, r#"{"id": "1", "time": "2026-05-04T08:00:00+02:00", "kg": 72.50}"#).unwrap();
    let convert = || {
        let mut command = Command::new(PROGRAM);
        command.arg("convert").arg(&file).args(["--from", "scale", "--mapping"]).arg(&mapping);
        command.output().unwrap()
    };
    std::fs::write(&mapping, MAPPING).unwrap();
    let output = convert();
    assert_eq!(output.status.code(), Some(0), "{}", table(&output));
    assert!(String::from_utf8(output.stdout.clone()).unwrap().contains("\"value\":72.50,"));
    assert_eq!(observations(&output).len(), 1);
    std::fs::write(&mapping, MAPPING.replace("body-weight", "body-wait")).unwrap();
    let output = convert();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(table(&output).contains("mapping.json: "), "{}", table(&output));
}
