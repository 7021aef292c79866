//! The embedded definitions: complete, readable, and expanded once.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::fhir::tree::json;

#[test]
fn core_knows_types_and_profiles() {
    let registry = Registry::core();
    let observation = registry.structure("Observation").unwrap();
    assert_eq!(observation.url, "http://hl7.org/fhir/StructureDefinition/Observation");
    assert_eq!(observation.elements[0].path, "Observation");
    let heartrate = registry.structure("http://hl7.org/fhir/StructureDefinition/heartrate|4.0.1").unwrap();
    assert!(heartrate.is_profile);
    assert!(registry.structure("http://hl7.org/fhir/StructureDefinition/absent").is_none());
    assert_eq!(registry.resource_types().count(), 148);
    assert!(registry.is_resource("Patient") && !registry.is_resource("Quantity"));
    assert!(registry.is_type("Quantity") && !registry.is_type("heartrate"));
    for (name, ancestor, expected) in [
        ("Patient", "DomainResource", true),
        ("Patient", "Resource", true),
        ("Bundle", "DomainResource", false),
        ("Age", "Quantity", true),
        ("code", "string", true),
        ("Quantity", "Age", false),
    ] {
        assert_eq!(registry.subtype_of(name, ancestor), expected, "{name} {ancestor}");
    }
}

#[test]
fn every_core_structure_can_be_read() {
    let registry = Registry::core();
    for name in registry.resource_types().chain(registry.data_types()) {
        assert!(registry.structure(name).is_some(), "{name}");
    }
}

#[test]
fn value_sets_are_expanded() {
    let registry = Registry::core();
    let status = registry.value_set("http://hl7.org/fhir/ValueSet/observation-status|4.0.1").unwrap();
    assert!(status.contains("http://hl7.org/fhir/observation-status", "final"));
    assert!(status.open.is_empty());
    let class = registry.value_set("http://terminology.hl7.org/ValueSet/v3-ActEncounterCode").unwrap();
    assert!(class.contains("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB"));
    assert!(!class.contains("http://terminology.hl7.org/CodeSystem/v3-ActCode", "CASH"));
}

#[test]
fn every_core_code_system_and_value_set_is_there() {
    let registry = Registry::core();
    let actions = registry.code_system("http://terminology.hl7.org/CodeSystem/v3-ActCode").unwrap();
    assert!(actions.concepts.len() > 800 && actions.contains("AMB"), "{}", actions.concepts.len());
    assert_eq!(registry.code_system("http://snomed.info/sct").unwrap().content, Content::NotPresent);
    assert!(registry.code_system("http://hl7.org/fhir/observation-status|4.0.1").is_some());
    assert!(registry.code_system("http://hl7.org/fhir/observation-status|9.9.9").is_none());
    let (mut sets, mut open) = (0, Vec::new());
    for id in registry.all(Kind::ValueSet) {
        let url = &registry.head(id).url;
        let set = registry.value_set(url).unwrap();
        sets += 1;
        if !set.open.is_empty() {
            open.push(url);
        }
    }
    assert_eq!(sets, 1316);
    assert!(open.len() < 150, "{}: {open:#?}", open.len());
}

#[test]
fn search_parameters_are_inherited() {
    let registry = Registry::core();
    let codes: Vec<&str> =
        registry.search_parameters("Observation").iter().map(|parameter| parameter.code.as_str()).collect();
    for code in ["_id", "_lastUpdated", "code", "date", "patient", "combo-code", "value-quantity"] {
        assert!(codes.contains(&code), "{code} in {codes:?}");
    }
}

#[test]
fn own_definitions_come_on_top() {
    let code_system = r#"{"resourceType":"CodeSystem","url":"urn:s","content":"complete",
        "concept":[{"code":"a","concept":[{"code":"b"}]},{"code":"c"}]}"#;
    let value_set = r#"{"resourceType":"ValueSet","url":"urn:v","compose":{"include":[
        {"system":"urn:s","filter":[{"property":"concept","op":"is-a","value":"a"}]},
        {"valueSet":["http://hl7.org/fhir/ValueSet/administrative-gender"]}]}}"#;
    let documents = [code_system, value_set].map(|text| json::parse(text).unwrap());
    let registry = Registry::with(documents.into()).unwrap();
    let set = registry.value_set("urn:v").unwrap();
    assert!(set.contains("urn:s", "a") && set.contains("urn:s", "b") && !set.contains("urn:s", "c"));
    assert!(set.contains("http://hl7.org/fhir/administrative-gender", "male"));
    let broken = json::parse(r#"{"resourceType":"StructureDefinition","url":"urn:x"}"#).unwrap();
    assert_eq!(Registry::with(vec![broken]).unwrap_err().url, "urn:x");
}

/// A package with profiles of the url `urn:p`, whose base or value set is what the test says.
fn package(name: &str, version: &str, dependencies: &str, resources: &[String]) -> Arc<Package> {
    let manifest = format!(r#"{{"name":"{name}","version":"{version}","dependencies":{{{dependencies}}}}}"#);
    let files = resources.iter().enumerate().map(|(at, text)| (format!("{at}.json"), text.clone().into_bytes()));
    Arc::new(Package::from_files(manifest.as_bytes(), files.collect()).unwrap())
}

fn profile(url: &str, version: &str, value_set: &str) -> String {
    format!(
        r#"{{"resourceType":"StructureDefinition","url":"{url}","version":"{version}","type":"Patient","kind":"resource",
        "derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient",
        "text":{{"div":"<div/>"}},"snapshot":{{"element":[{{"path":"Patient"}},{{"path":"Patient.gender",
        "binding":{{"strength":"required","valueSet":"{value_set}"}}}}]}}}}"#
    )
}

fn value_set(version: &str, code: &str) -> String {
    format!(
        r#"{{"resourceType":"ValueSet","url":"urn:v","version":"{version}",
        "compose":{{"include":[{{"system":"urn:s","concept":[{{"code":"{code}"}}]}}]}}}}"#
    )
}

#[test]
fn versions_stand_side_by_side() {
    let packages = ["1.1.0", "1.2.0", "1.2.10", "1.2.9", "2.0.0-ballot"]
        .map(|each| package("p", each, "", &[profile("urn:p", each, "urn:v")]));
    let registry = Registry::with_packages(packages.into());
    for (canonical, expected) in [
        ("urn:p", Some("2.0.0-ballot")),
        ("urn:p|1.1.0", Some("1.1.0")),
        ("urn:p|1.2", Some("1.2.10")),
        ("urn:p|1.2.x", Some("1.2.10")),
        ("urn:p|1", Some("1.2.10")),
        ("urn:p|1.2.9", Some("1.2.9")),
        ("urn:p|1.2.7", Some("1.2.10")),
        ("urn:p|1.3.0", None),
        ("urn:q", None),
    ] {
        let found = registry.structure(canonical);
        assert_eq!(found.as_ref().map(|each| each.version.as_str()), expected, "{canonical}");
    }
}

#[test]
fn references_are_looked_for_near_first() {
    let old = package("v", "1.0.0", "", &[value_set("1.0.0", "old")]);
    let new = package("v", "2.0.0", "", &[value_set("2.0.0", "new")]);
    let built_on_old = package("a", "1.0.0", r#""v":"1.0.x""#, &[profile("urn:a", "1.0.0", "urn:v")]);
    let through_a = package("b", "1.0.0", r#""a":"1.0.0""#, &[profile("urn:b", "1.0.0", "urn:v")]);
    let own = package("c", "1.0.0", r#""v":"2.0.0""#, &[profile("urn:c", "1.0.0", "urn:v"), value_set("0.1.0", "own")]);
    let nowhere = package("d", "1.0.0", r#""absent":"1.0.0""#, &[profile("urn:d", "1.0.0", "urn:v")]);
    let registry = Registry::with_packages(vec![built_on_old, new, through_a, own, nowhere, old]);
    for (canonical, code) in [("urn:a", "old"), ("urn:b", "old"), ("urn:c", "own"), ("urn:d", "new")] {
        let structure = registry.structure(canonical).unwrap();
        let binding = structure.elements[1].binding.as_ref().unwrap();
        assert!(registry.value_set(&binding.value_set).unwrap().contains("urn:s", code), "{canonical} {binding:?}");
    }
}

#[test]
fn what_is_no_definition_is_left_out() {
    let files = [r#"{"resourceType":"Patient"}"#, "{", "[]", r#"{"resourceType":"ValueSet"}"#].map(str::to_owned);
    assert!(package("p", "1.0.0", "", &files).heads().is_empty());
    assert!(matches!(Package::from_files(b"{}", Vec::new()), Err(Unreadable::Manifest)));
    assert!(matches!(Package::read(b"no archive"), Err(Unreadable::Archive(_))));
}

#[test]
fn declared_versions_are_served() {
    use canonical::Fit;
    for (declared, version, expected) in [
        ("1.0.0", "1.0.0", Fit::Exact),
        ("1.0.0", "1.0.1", Fit::No),
        ("1.0.x", "1.0.1", Fit::Within),
        ("latest", "1.0.1", Fit::Within),
        ("current$branch", "1.0.1", Fit::Within),
    ] {
        assert_eq!(package::serves(declared, version), expected, "{declared} {version}");
    }
}

fn differential(url: &str, base: &str, elements: &str) -> String {
    format!(
        r#"{{"resourceType":"StructureDefinition","url":"{url}","type":"Patient","kind":"resource",
        "derivation":"constraint","baseDefinition":"{base}","differential":{{"element":[{elements}]}}}}"#
    )
}

#[test]
fn differentials_that_mean_nothing_are_defects() {
    const PATIENT: &str = "http://hl7.org/fhir/StructureDefinition/Patient";
    let nested: String = (0..60).map(|_| ".extension").collect();
    // Each slice is a copy of all that its base has, so that slices of slices double with every profile.
    let mut multiplying = String::new();
    for round in 0..20 {
        let (path, id) = ("Patient.contact.name".to_owned(), format!("Patient.contact.name:s{round}"));
        multiplying.push_str(&format!(r#"{{"id":"{id}","path":"{path}","sliceName":"s{round}"}},"#));
    }
    multiplying.push_str(r#"{"id":"Patient.contact.name","path":"Patient.contact.name"}"#);
    for (elements, base, what) in [
        (r#"{"id":"Patient.absent","path":"Patient.absent"}"#.to_owned(), PATIENT, "does not have"),
        (r#"{"id":"Patient.name"}"#.to_owned(), PATIENT, "no path"),
        (r#"{"id":"Patient","path":"Patient"}"#.to_owned(), "urn:absent", "is not loaded"),
        (r#"{"id":"Patient","path":"Patient"}"#.to_owned(), "urn:p", "is not loaded"),
        (format!(r#"{{"path":"Patient{nested}"}}"#), PATIENT, "too deeply"),
    ] {
        let resource = differential("urn:p", base, &elements);
        let registry = Registry::with_packages(vec![package("p", "1.0.0", "", &[resource])]);
        let defects: Vec<Defect> = registry.defects().collect();
        assert!(matches!(defects.as_slice(), [only] if only.what.contains(what)), "{what}: {defects:?}");
        assert!(registry.structure("urn:p").is_none());
    }
    let resource = differential("urn:p", PATIENT, &multiplying);
    let registry = Registry::with_packages(vec![package("p", "1.0.0", "", &[resource])]);
    assert_eq!(registry.defects().count(), 0);
}

#[test]
fn snapshots_do_not_grow_without_end() {
    let mut base = "http://hl7.org/fhir/StructureDefinition/Patient".to_owned();
    let mut resources = Vec::new();
    for round in 0..4 {
        let url = format!("urn:p{round}");
        let slice =
            |name: &str| format!(r#"{{"id":"Patient.contact:{name}","path":"Patient.contact","sliceName":"{name}"}}"#);
        // Slices within slices: what was sliced before is copied into each new one.
        let inner = format!(
            r#"{{"id":"Patient.contact.telecom:t{round}","path":"Patient.contact.telecom","sliceName":"t{round}"}},
            {{"id":"Patient.contact.telecom:t{round}.period.extension.extension","path":"Patient.contact.telecom.period.extension.extension"}}"#
        );
        let slices: Vec<String> = (0..400).map(|at| slice(&format!("s{round}-{at}"))).collect();
        resources.push(differential(&url, &base, &format!("{inner},{}", slices.join(","))));
        base = url;
    }
    let registry = Registry::with_packages(vec![package("p", "1.0.0", "", &resources)]);
    let defects: Vec<Defect> = registry.defects().collect();
    assert!(defects.iter().any(|defect| defect.what.contains("larger")), "{defects:?}");
}

#[test]
fn a_code_system_is_more_than_its_name() {
    let code_system = |version: &str, content: &str| {
        format!(r#"{{"resourceType":"CodeSystem","url":"urn:s","version":"{version}","content":"{content}"}}"#)
    };
    let packages = [
        package("hl7.terminology", "1.0.0", "", &[code_system("9.0.0", "not-present")]),
        package("p", "1.0.0", "", &[code_system("1.0.0", "fragment")]),
        package("q", "1.0.0", "", &[code_system("2.0.0", "fragment")]),
    ];
    let registry = Registry::with_packages(packages.into());
    let found = registry.find(Kind::CodeSystem, "urn:s").unwrap();
    assert_eq!(&*registry.head(found).version, "2.0.0");
}

/// Definitions with slices, extensions, choices, a content reference and a composed value set.
const SAMPLES: [&str; 3] = [
    r#"{"resourceType":"StructureDefinition","url":"urn:p","version":"1.0","type":"Observation","kind":"resource",
    "derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/vitalsigns","differential":{
    "element":[{"id":"Observation.component","path":"Observation.component","slicing":{"discriminator":[{"type":"value",
    "path":"code"}],"rules":"open"}},{"id":"Observation.component:a","path":"Observation.component","sliceName":"a",
    "min":1},{"path":"Observation.component.valueQuantity","min":1},{"path":"Observation.component.code.coding.system",
    "fixedUri":"urn:s"},{"id":"Observation.component:a.referenceRange.low.value","min":1,"path":
    "Observation.component.referenceRange.low.value"},{"path":"Observation.extension","sliceName":"e","type":[{"code":
    "Extension","profile":["urn:p|1.0"]}]},{"path":"Observation.extension","sliceName":"e/f","max":"1"}]}}"#,
    r##"{"resourceType":"StructureDefinition","url":"urn:m","type":"urn:m","kind":"logical","derivation":"specialization",
    "baseDefinition":"http://hl7.org/fhir/StructureDefinition/Base","differential":{"element":[{"path":"m"},{"path":"m.a",
    "type":[{"code":"BackboneElement"}],"max":"*"},{"path":"m.a.b","contentReference":"#m.a"},{"path":"m.c[x]","type":[
    {"code":"string"},{"code":"Quantity"}],"binding":{"strength":"required","valueSet":"urn:v"}}]}}"##,
    r#"{"resourceType":"ValueSet","url":"urn:v","compose":{"include":[{"valueSet":["urn:v"]},{"system":"urn:s","filter":
    [{"property":"concept","op":"is-a","value":"a"}]}],"exclude":[{"system":"urn:s","concept":[{"code":"a"}]}]}}"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is done to a text, it is read, or left out, or told as a defect.
    #[test]
    fn broken_definitions_break_nothing(
        sample in 0..SAMPLES.len(),
        cuts in prop::collection::vec((0.0..1.0_f64, 0_usize..40, "[a-z.:/\\[\\]\"{},]{0,12}"), 1..4),
    ) {
        let mut text = SAMPLES[sample].to_owned();
        for (place, length, put) in cuts {
            let start = (place * text.len() as f64) as usize;
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &put);
        }
        let whole = SAMPLES.iter().enumerate().filter(|(at, _)| *at != sample).map(|(_, text)| (*text).to_owned());
        let resources: Vec<String> = whole.chain([text]).collect();
        let registry = Registry::with_packages(vec![package("p", "1.0.0", "", &resources)]);
        let _ = registry.defects().count();
        for canonical in ["urn:p", "urn:m", "urn:v"] {
            let _ = (registry.structure(canonical), registry.value_set(canonical));
        }
    }
}
