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
    let contexts = pack.unasked();
    let measured: Vec<_> = parsed
        .iter()
        .map(|one| Measured {
            observation: Element::root(one),
            device: element(1),
            app: element(2),
            contexts: &contexts,
        })
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

fn observation(code: &str, value: &Value, unit: &str) -> Value {
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
    let bundle = told(&pack, &french(), &[observation("29463-7", &number("71.0"), "kg")]).unwrap();
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
        let found = told(pack, &stage, &[observation(code, &number(value), unit)]);
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
    let mut without = observation("29463-7", &number("71"), "kg");
    without.as_object_mut().unwrap().remove("valueQuantity");
    for (stage, observation, text) in [
        (
            &nobody,
            observation("29463-7", &number("71"), "kg"),
            "the identifier by which the destination knows the person",
        ),
        (
            &nothing,
            observation("29463-7", &number("71"), "kg"),
            "the device that measured, with its identifier, maker and model",
        ),
        (&french(), without, "a value"),
    ] {
        let told = told(&pack, stage, &[observation]).unwrap_err();
        assert_eq!((told.id, told.text), (Id::DestinationNeeds, format!("Mon espace santé wants {text}.")));
    }
}

/// The files of a pack of the program, to be changed.
fn files(folder: &str) -> BTreeMap<String, String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/packs").join(folder);
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn a_mistake_is_told_with_its_file_and_line() {
    for (file, from, to, expected) in [
        ("pack.toml", "most = 1", "most = \"one\"", "pack.toml:14: invalid type: string \"one\", expected usize"),
        ("pack.toml", "3.1.0", "3.1", "pack.toml:3: version is three numbers, such as 1.0.0"),
        (
            "measures.csv",
            "body-weight,quantity",
            "weight,quantity",
            "measures.csv:2: measure: expected is a key of the guide's table of measures",
        ),
        (
            "measures.csv",
            "vital-signs,kg,kg",
            "vital-signs,cm,cm",
            "measures.csv:2: unit: expected is one that the measure's units can be converted into, or a factor in times",
        ),
        (
            "measures.csv",
            "vital-signs,kg,kg",
            "vital,kg,kg",
            "measures.csv:2: category: [categories.vital] is missing in pack.toml",
        ),
        (
            "codes.csv",
            "body-height,,,",
            "body-height,,x,",
            "codes.csv:3: when: expected is a slot and a word, such as meal=fasting",
        ),
        ("errors.csv", "destination-access,no", "access,no", "errors.csv:2: id: expected is destination-consent"),
        ("words.csv", "moment,before", "time,before", "words.csv:3: table: expected is one of [words] in pack.toml"),
        ("observation.json", "{status}", "{state}", "observation.json:19: no slot is called state"),
        ("request.json", "@device", "@gadget", "request.json:6: the pack has no template gadget.json"),
        ("pack.toml", "\"FR\"", "\"France\"", "pack.toml:5: country is of two letters as ISO 3166-1 has it"),
        (
            "pack.toml",
            "direction = \"push\"",
            "direction = \"out\"",
            "pack.toml:7: direction is push, pull, push and pull",
        ),
        (
            "pack.toml",
            "method = \"POST\"",
            "method = \"POST\"\npath = \"https://x.example\"",
            "pack.toml:14: request.path is relative",
        ),
        (
            "pack.toml",
            "method = \"POST\"",
            "method = \"POST\"\npath = \"../other\"",
            "pack.toml:14: request.path is relative",
        ),
        ("pack.toml", "method = \"POST\"", "method = \"PATCH\"", "pack.toml:13: request.method is POST or PUT"),
        ("codes.csv", "http://loinc.org,8302-2", "loinc,8302-2", "codes.csv:3: system: expected is a URI"),
        (
            "codes.csv",
            "body-height,,,http://loinc.org,8302-2",
            "body-weight,,,http://loinc.org,29463-7",
            "codes.csv:3: code: it stands twice",
        ),
        (
            "measures.csv",
            "body-weight,quantity,http://",
            "body-weight,quantity,",
            "measures.csv:2: profile: expected is a URI",
        ),
        ("measures.csv", "vital-signs,kg,kg", "vital-signs,kilo,kg", "measures.csv:2: unit: expected is UCUM"),
        ("words.csv", "moment,before,,", "moment,before,no uri,", "words.csv:3: system: expected is a URI, or nothing"),
        (
            "errors.csv",
            "destination-access,no",
            "destination-access,maybe",
            "errors.csv:2: again: expected is yes or no",
        ),
        (
            "observation.json",
            "\"status\": \"{status}\"",
            "\"status\": {\"$if\": \"mood\"}",
            "observation.json:19: $if: no slot is called mood",
        ),
    ] {
        let mut files = files("fr-ens");
        let text = files.get_mut(file).unwrap();
        assert!(text.contains(from), "{file} {from}");
        *text = text.replacen(from, to, 1);
        let told: Vec<String> = Pack::compile(&files).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.starts_with(expected)), "{expected}: {told:#?}");
    }
    // Before any answer is understood otherwise, nothing else is.
    let mut all = files("fr-ens");
    let errors = all.get_mut("errors.csv").unwrap();
    *errors = errors.replacen('\n', "\n,,,destination-trouble,yes,destination,,\n", 1);
    let told = Pack::compile(&all).unwrap_err();
    assert!(told[0].to_string().starts_with("errors.csv:3: status: it is never reached, since line 2"), "{told:#?}");
    let mut files = files("fr-ens");
    files.remove("request.json");
    assert_eq!(Pack::compile(&files).unwrap_err()[0].to_string(), "request.json: the file is missing");
}

#[test]
fn versions_stand_side_by_side() {
    let mut shelf = Shelf::default();
    for version in ["3.0.4", "3.10.0"] {
        let mut files = files("fr-ens");
        let text = files.get_mut("pack.toml").unwrap();
        *text = text.replace("3.1.0", version);
        shelf.add(&files).unwrap();
    }
    for (name, expected) in [
        ("fr-ens", Some("fr-ens@3.10.0")),
        ("fr-ens@3", Some("fr-ens@3.10.0")),
        ("fr-ens@3.1", Some("fr-ens@3.1.0")),
        ("fr-ens@3.0.4", Some("fr-ens@3.0.4")),
        ("fr-ens@4", None),
        ("fr", None),
    ] {
        assert_eq!(shelf.find(name).map(|pack| pack.name()).as_deref(), expected, "{name}");
    }
}

#[test]
fn settings_are_what_the_pack_asks_for() {
    let pack = shelf("no-pmd");
    for (said, expected) in [
        (json!({"organization": "1"}), &[][..]),
        (
            json!({}),
            &["settings.organization: missing; number of the organisation that is responsible for the measurements"],
        ),
        (json!({"organization": "1", "bundle": "document"}), &["settings.bundle: batch or collection"]),
        (json!({"organization": "1", "colour": "red"}), &["settings.colour: no-pmd@0.5.2 has no such setting"]),
    ] {
        let said: BTreeMap<String, String> = serde_json::from_value(said).unwrap();
        assert_eq!(Settings::of(&pack, &said).err().unwrap_or_default(), expected);
    }
}

#[test]
fn answers_of_france_mean_what_its_table_says() {
    let pack = shelf("fr-ens");
    for (status, text, expected) in [
        (400, "ID_TOKEN value is not valid (invalid JWT)", Some((Id::DestinationAccess, Who::Operator, false))),
        (403, "Consent not given, access refused.", Some((Id::DestinationConsent, Who::Person, false))),
        (403, "idPe requested do not match authorized idPe.", Some((Id::DestinationPerson, Who::Person, false))),
        (422, "Bmi observation cannot be created.", Some((Id::DestinationContent, Who::App, false))),
        (429, "", Some((Id::DestinationTrouble, Who::Destination, true))),
        (500, "", None),
    ] {
        let meaning = pack.answers.meaning(status, &["INVALID"], &[text]);
        assert_eq!(meaning.map(|one| (one.id, one.who, one.again)), expected, "{status} {text}");
    }
}

#[test]
fn denmark_gets_each_pressure_alone_in_whole_numbers_for_an_activity_of_a_care_plan() {
    let pack = shelf("dk-fut");
    let stage = Stage { settings: json!({"persons": "http://phr.kanta.fi/Patient"}), ..stage() };
    let mut sent = observation("85354-9", &json!(0), "mm[Hg]");
    sent.as_object_mut().unwrap().remove("valueQuantity");
    sent["component"] = [("8480-6", "137.5"), ("8462-4", "85.4"), ("8478-0", "103")]
        .map(|(code, value)| {
            let value = json!({"value": number(value), "system": "http://unitsofmeasure.org", "code": "mm[Hg]"});
            json!({"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": value})
        })
        .to_vec()
        .into();
    // Until it was looked up, something stands for what will be found.
    let without = told(&pack, &stage, std::slice::from_ref(&sent)).unwrap().to_string();
    assert_eq!(without.matches("ServiceRequest/looked-up").count(), 2);
    assert_eq!(pack.takes(Element::root(&tree::parse(sent.to_string()).unwrap())), Ok(()));
    let mut half = sent.clone();
    half["component"].as_array_mut().unwrap().remove(1);
    let half = tree::parse(half.to_string()).unwrap();
    assert_eq!(pack.takes(Element::root(&half)).unwrap_err().id, Id::DestinationNeeds);
    sent["basedOn"] = json!([{"reference": "https://careplan.example/ServiceRequest/1/_history/42"}]);
    sent["extension"] = json!([{
        "url": "http://hl7.org/fhir/StructureDefinition/workflow-episodeOfCare",
        "valueReference": {"reference": "https://careplan.example/EpisodeOfCare/2"},
    }]);
    let parameters = told(&pack, &stage, &[sent]).unwrap();
    let entries = parameters["parameter"][0]["resource"]["entry"].as_array().unwrap().clone();
    let values: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!(
                "{}={}",
                entry["resource"]["code"]["coding"][0]["code"], entry["resource"]["valueQuantity"]["value"]
            )
        })
        .collect();
    assert_eq!(values, ["\"DNK05472\"=138", "\"DNK05473\"=85"]);
    assert_ne!(entries[0]["fullUrl"], entries[1]["fullUrl"]);
    assert_eq!(entries[0]["resource"]["basedOn"][0]["reference"], "https://careplan.example/ServiceRequest/1");
}

#[test]
fn the_same_is_told_the_same_way_and_to_each_destination_by_names_of_its_own() {
    let pack = shelf("fi-kanta");
    let sent = [observation("29463-7", &number("71.0"), "kg")];
    let first = told(&pack, &finnish(), &sent).unwrap();
    assert_eq!(first, told(&pack, &finnish(), &sent).unwrap());
    let entry = &first["entry"][0];
    assert_eq!(
        entry["request"]["ifNoneExist"],
        format!("identifier={}", entry["resource"]["identifier"][0]["value"].as_str().unwrap())
    );
    assert!(!first.to_string().contains("anna"), "the id here is nobody's business there");
    assert_eq!(pack.to_string().lines().next(), Some("fi-kanta@1.0.0 for Kanta PHR (FHIR 4.0.1)"));
}

#[test]
fn what_loads_and_is_still_wrong_is_told_with_its_file_and_line() {
    for (pack, file, from, to, expected) in [
        (
            "fr-ens",
            "observation.json",
            "\"Observation\"",
            "\"Observatio\"",
            "observation.json:2: resourceType: FHIR R4 has no Observatio",
        ),
        (
            "fr-ens",
            "observation.json",
            "\"status\": ",
            "\"state\": ",
            "observation.json:19: state: Observation of FHIR R4 has no such element",
        ),
        ("fr-ens", "observation.json", "\"{status}\"", "\"done\"", "observation.json:19: "),
        (
            "fr-ens",
            "pack.toml",
            "[settings.devices]",
            "[settings.unused]\nwhat = \"x\"\n[settings.devices]",
            "settings.unused: nothing uses it",
        ),
        ("eu-r4", "request.json", "\"$each\": \"measurement\",", "", "request.most: no template has"),
        (
            "ch-epr",
            "reference.json",
            "\"masterIdentifier\"",
            "\"mainIdentifier\"",
            "reference.json:33: mainIdentifier: DocumentReference of FHIR R4 has no such element",
        ),
    ] {
        let mut files = files(pack);
        let text = files.get_mut(file).unwrap();
        assert!(text.contains(from), "{file} {from}");
        *text = text.replace(from, to);
        let compiled = Pack::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
        let found = trial::check(&compiled, &files);
        let told: Vec<String> = found.mistakes.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains(expected)), "{expected}: {told:#?} {:#?}", found.content);
    }
    let mut all = files("fr-ens");
    all.insert("spare.json".to_owned(), "{}".to_owned());
    let found = trial::check(&Pack::compile(&all).unwrap(), &all);
    assert_eq!(found.mistakes[0].to_string(), "spare.json: no template includes it");
}
