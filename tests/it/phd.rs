//! Observations that are FHIR already, against the examples of their guides: HL7's personal health devices, gematik's HDDT,
//! HL7's patient-generated data. Each is accepted as it stands, and again as the gateway completes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use mhealth_gateway::devices::{self, Formats, Record, Sender};
use mhealth_gateway::fhir::outcome::{Id, has_errors};
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use serde_json::Value;

use crate::fixture::{PROGRAM, shared};

/// Name, folder of the examples, and what the guide's own definitions come from.
struct Guide {
    name: &'static str,
    examples: PathBuf,
    definitions: Vec<PathBuf>,
}

fn guides() -> Vec<Guide> {
    let (suites, packages) = (shared("MHEALTH_SUITES", "suites"), shared("MHEALTH_PACKAGES", "packages"));
    let (mhealth, national) = (suites.join("mhealth"), suites.join("../national"));
    let package = |name: &str| packages.join(name);
    vec![
        Guide {
            name: "hl7-phd",
            examples: mhealth.join("hl7-phd-ig/input/examples"),
            definitions: vec![
                package("hl7.fhir.uv.phd-2.0.0.tgz"),
                package("hl7.terminology.r4-7.0.1.tgz"),
                package("hl7.fhir.uv.extensions.r4-5.2.0.tgz"),
            ],
        },
        Guide {
            name: "gematik-hddt",
            examples: mhealth.join("gematik-hddt/compiled"),
            definitions: vec![mhealth.join("gematik-hddt/compiled"), package("hl7.fhir.uv.cgm-1.0.0.tgz")],
        },
        Guide {
            name: "uv-phr-pghd",
            examples: national.join("uv-phr-pghd/examples"),
            definitions: vec![national.join("uv-phr-pghd/conformance")],
        },
    ]
}

/// The Observations of a guide's examples and the Bundles that hold some, by the name of their file.
fn examples(guide: &Guide) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let folder = std::fs::read_dir(&guide.examples);
    for entry in folder.unwrap_or_else(|error| panic!("{}: {error}", guide.examples.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let resource: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let entries = resource["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
        let holds = entries.iter().any(|entry| entry["resource"]["resourceType"] == "Observation");
        if resource["resourceType"] == "Observation" || holds {
            found.insert(name, resource);
        }
    }
    assert!(!found.is_empty(), "{} has no examples", guide.name);
    found
}

/// Errors of each file, as the program says them with the guide's own definitions.
fn validated(guide: &Guide, files: &[PathBuf]) -> BTreeMap<String, BTreeSet<String>> {
    let mut command = Command::new(PROGRAM);
    command.args(["validate", "--format", "json"]).args(files);
    for path in &guide.definitions {
        command.arg(if path.is_dir() { "--resource" } else { "--package" }).arg(path);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), files.len(), "{}", String::from_utf8_lossy(&output.stderr));
    let errors = |told: &Value| {
        let issues = told["outcome"]["issue"].as_array().cloned().unwrap_or_default();
        let is_error = |issue: &&Value| matches!(issue["severity"].as_str(), Some("error" | "fatal"));
        issues
            .iter()
            .filter(is_error)
            .map(|issue| issue["details"]["coding"][0]["code"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    text.lines()
        .map(|line| {
            let told: Value = serde_json::from_str(line).unwrap();
            let name = Path::new(told["file"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
            (name, errors(&told))
        })
        .collect()
}

/// The examples that are refused as they stand, or completed: guide, file, issue.
fn exceptions(completed: bool) -> BTreeSet<(String, String, String)> {
    let lines = include_str!("phd/refused.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| completed || line.split(' ').nth(3) != Some("completed"))
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
        })
        .collect()
}

/// A part of each suite is kept elsewhere: an exception whose example is not there says nothing.
fn hold(found: &BTreeSet<(String, String, String)>, there: &BTreeSet<(String, String)>, completed: bool) {
    let listed = exceptions(completed);
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(new.is_empty(), "refused: {new:#?}");
    let stale: Vec<_> =
        listed.difference(found).filter(|(guide, file, _)| there.contains(&(guide.clone(), file.clone()))).collect();
    assert!(stale.is_empty(), "no longer refused: {stale:#?}");
}

fn completed(sent: &str) -> Vec<Record> {
    let sender = Sender { subject: "Patient/p", zone: None };
    let format = Formats::default().format("phd").unwrap();
    format.convert(&devices::read(sent).unwrap(), &sender, 1000).unwrap()
}

#[test]
fn examples_of_the_guides_are_accepted_as_they_stand() {
    let (mut found, mut there) = (BTreeSet::new(), BTreeSet::new());
    for guide in guides() {
        let names: Vec<String> = examples(&guide).into_keys().collect();
        let files: Vec<PathBuf> = names.iter().map(|name| guide.examples.join(name)).collect();
        for (name, errors) in validated(&guide, &files) {
            there.insert((guide.name.to_owned(), name.clone()));
            found.extend(errors.into_iter().map(|error| (guide.name.to_owned(), name.clone(), error)));
        }
    }
    hold(&found, &there, false);
}

/// Completed, an example is valid against what it claims and against the profile of our guide that it fits.
#[test]
fn examples_of_the_guides_are_accepted_as_they_are_completed() {
    let (mut found, mut there) = (BTreeSet::new(), BTreeSet::new());
    for guide in guides() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, mut of) = (Vec::new(), BTreeMap::new());
        for (name, resource) in examples(&guide) {
            there.insert((guide.name.to_owned(), name.clone()));
            for (at, record) in completed(&resource.to_string()).into_iter().enumerate() {
                let Some(observation) = record.observation else {
                    let only: Vec<Id> = record.issues.iter().map(|issue| issue.id).collect();
                    assert_eq!(only, [Id::DeviceTypeLeftOut], "{name} {}", record.pointer);
                    continue;
                };
                let file = format!("{at}-{name}");
                std::fs::write(folder.path().join(&file), observation).unwrap();
                files.push(folder.path().join(&file));
                of.insert(file, name.clone());
            }
        }
        for (file, errors) in validated(&guide, &files) {
            found.extend(errors.into_iter().map(|error| (guide.name.to_owned(), of[&file].clone(), error)));
        }
    }
    hold(&found, &there, true);
}

/// How many are carried by which of our profiles: completing is more than passing on.
#[test]
fn examples_become_observations_of_our_guide_where_they_fit() {
    let validator = Validator::new(guide::registry());
    let mut claimed: BTreeMap<String, usize> = BTreeMap::new();
    for guide in guides() {
        for resource in examples(&guide).values() {
            for record in completed(&resource.to_string()) {
                let Some(observation) = record.observation else { continue };
                let value: Value = serde_json::from_str(&observation).unwrap();
                assert_eq!(value["subject"]["reference"], "Patient/p");
                assert!(value["identifier"][0]["value"].is_string(), "{observation}");
                let claims = value["meta"]["profile"].as_array().cloned().unwrap_or_default();
                let ours = claims.iter().filter_map(|url| url.as_str()?.rsplit_once("/mh-"));
                let ours: Vec<&str> = ours.map(|(_, name)| name).collect();
                for name in &ours {
                    *claimed.entry(format!("{} {name}", guide.name)).or_default() += 1;
                }
                let document = json::parse(observation.as_str()).unwrap();
                let issues = validator.check(Element::root(&document), &Options::default()).issues;
                let impossible =
                    issues.iter().any(|issue| matches!(issue.id, Id::MeasureImplausible | Id::MeasureSamples));
                assert!(impossible || !has_errors(&issues), "{issues:?}\n{observation}");
            }
        }
    }
    for expected in
        ["hl7-phd heart-rate", "hl7-phd oxygen-saturation", "hl7-phd body-temperature", "hl7-phd blood-pressure"]
    {
        assert!(claimed.contains_key(expected), "{expected}: {claimed:?}");
    }
}
