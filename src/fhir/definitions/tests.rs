//! The embedded definitions: complete, readable, and expanded once.

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
    for url in registry.value_set_urls() {
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
