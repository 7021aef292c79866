//! What packs make of measurements.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::fhir::tree::{Element, json as tree};

/// What an operator of a destination says, and what the person's and the device's records are.
struct Stage {
    settings: Value,
    person: Value,
    device: Value,
    app: Value,
}

fn told(pack: &Pack, stage: &Stage, observations: &[Value]) -> Result<Value, NotDeliverable> {
    let parsed: Vec<_> = observations.iter().map(|one| tree::parse(one.to_string()).unwrap()).collect();
    let beside = [&stage.person, &stage.device, &stage.app].map(|one| tree::parse(one.to_string()).unwrap());
    let element = |at: usize| Some(Element::root(&beside[at])).filter(|element| element.resource_type().is_some());
    let said: BTreeMap<String, String> = serde_json::from_value(stage.settings.clone()).unwrap();
    let settings = Settings::of(pack, &said).unwrap();
    let measured: Vec<_> = parsed
        .iter()
        .map(|one| Measured { observation: Element::root(one), device: element(1), app: element(2) })
        .collect();
    let message = Message { measured: &measured, person: element(0), settings: &settings, key: &[7; 32] };
    pack.body(&message).map(|body| serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn stage() -> Stage {
    Stage {
        settings: json!({}),
        person: json!({"resourceType": "Patient", "id": "anna", "identifier": [
            {"system": "urn:oid:1.2.3", "value": "idpe-1"},
            {"system": "http://phr.kanta.fi/Patient", "value": "kanta-1"},
        ]}),
        device: json!({"resourceType": "Device", "id": "scale", "manufacturer": "Example", "modelNumber": "S-1"}),
        app: json!({"resourceType": "Device", "id": "diary", "deviceName": [{"name": "Heart diary", "type": "user-friendly-name"}]}),
    }
}

fn french() -> Stage {
    Stage { settings: json!({"publisher": "urn:oid:1.2.3", "devices": "urn:oid:1.2.4"}), ..stage() }
}

fn finnish() -> Stage {
    Stage { settings: json!({"persons": "http://phr.kanta.fi/Patient"}), ..stage() }
}

fn observation(code: &str, value: Value, unit: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": "o1", "meta": {"versionId": "1", "lastUpdated": "2026-05-04T07:00:01Z"},
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": "Patient/anna"},
        "effectiveDateTime": "2026-05-04T07:00:00+02:00",
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    })
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn shelf(name: &str) -> std::sync::Arc<Pack> {
    Shelf::default().find(name).unwrap_or_else(|| panic!("{name} is part of the program")).clone()
}

#[test]
fn every_pack_of_the_program_compiles() {
    for pack in Shelf::default().all() {
        assert!(!pack.rows().is_empty(), "{}", pack.name());
    }
}

#[test]
fn a_weight_in_france_is_one_transaction_with_its_device() {
    let pack = shelf("fr-ens@3");
    let bundle = told(&pack, &french(), &[observation("29463-7", number("71.0"), "kg")]).unwrap();
    let (device, weight) = (&bundle["entry"][0], &bundle["entry"][1]["resource"]);
    let id = device["resource"]["id"].as_str().unwrap();
    assert_eq!(device["request"]["ifNoneExist"], format!("identifier=urn:oid:1.2.4|{id}"));
    assert_eq!(weight["device"]["reference"], format!("Device/{id}"));
    assert_eq!(weight["subject"]["identifier"], json!({"system": "urn:oid:1.2.3", "value": "idpe-1"}));
    assert_eq!(
        weight["valueQuantity"].to_string(),
        r#"{"value":71.0,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}"#
    );
    assert_eq!(
        weight["meta"]["profile"][0],
        "http://esante.gouv.fr/ci-sis/fhir/StructureDefinition/MesFrObservationBodyWeight"
    );
    assert!(weight.get("id").is_none() && weight.get("identifier").is_none() && weight.get("note").is_none());
}

#[test]
fn values_come_in_the_destinations_unit_and_form() {
    let (france, finland) = (shelf("fr-ens"), shelf("fi-kanta"));
    for (pack, stage, code, value, unit, expected) in [
        (&france, french(), "29463-7", "160.5", "[lb_av]", Ok((72.801_575_385, "kg"))),
        (&france, french(), "8310-5", "98.6", "[degF]", Ok((37.0, "Cel"))),
        (&france, french(), "8867-4", "64", "{beats}/min", Ok((64.0, "/min"))),
        (&france, french(), "41950-7", "9412", "{steps}/d", Ok((9412.0, "1/(24.h)"))),
        (&france, french(), "39156-5", "23.1", "kg/m2", Err(Id::DestinationMeasure)),
        (&france, french(), "14743-9", "5.4", "mmol/L", Err(Id::DestinationNeeds)),
        (&france, french(), "93832-4", "400", "min", Err(Id::DestinationMeasure)),
        (&france, french(), "8302-2", "1.71", "kg", Err(Id::DestinationForm)),
        (&finland, finnish(), "8302-2", "1.71", "m", Ok((171.0, "cm"))),
        (&finland, finnish(), "41950-7", "9412", "{steps}/d", Ok((9412.0, "1"))),
        (&finland, finnish(), "82290-8", "150", "min/wk", Ok((150.0, "min"))),
        (&finland, finnish(), "41653-7", "141", "mg/dL", Ok((7.83, "mmol/L"))),
        (&finland, finnish(), "8867-4", "64", "/min", Err(Id::DestinationMeasure)),
    ] {
        let found = told(pack, &stage, &[observation(code, number(value), unit)]);
        let found = found.map_err(|told| told.id).map(|bundle| {
            let entry = bundle["entry"].as_array().unwrap().last().unwrap();
            let value = &entry["resource"]["valueQuantity"];
            (value["value"].as_f64().unwrap(), value["code"].as_str().unwrap().to_owned())
        });
        assert_eq!(found, expected.map(|(value, unit)| (value, unit.to_owned())), "{} {code}", pack.name());
    }
}

#[test]
fn what_is_missing_is_named_and_never_what_was_sent() {
    let pack = shelf("fr-ens");
    let nobody = Stage { person: json!({"resourceType": "Patient", "id": "anna"}), ..french() };
    let nothing = Stage { device: json!({}), app: json!({}), ..french() };
    let mut without = observation("29463-7", number("71"), "kg");
    without.as_object_mut().unwrap().remove("valueQuantity");
    for (stage, observation, text) in [
        (
            &nobody,
            observation("29463-7", number("71"), "kg"),
            "the identifier by which the destination knows the person",
        ),
        (
            &nothing,
            observation("29463-7", number("71"), "kg"),
            "the device that measured, with its identifier, maker and model",
        ),
        (&french(), without, "a value"),
    ] {
        let told = told(&pack, stage, &[observation]).unwrap_err();
        assert_eq!((told.id, told.text), (Id::DestinationNeeds, format!("Mon espace santé wants {text}.")));
    }
}
