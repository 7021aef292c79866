//! What packs make of measurements.

mod own;

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

/// A component of LOINC or SNOMED CT, counted or said.
fn component(code: &str, value: &str) -> Value {
    let system = if code.contains('-') { "http://loinc.org" } else { "http://snomed.info/sct" };
    let code = json!({"coding": [{"system": system, "code": code}]});
    match value.split_once(' ') {
        None if value.is_empty() => json!({"code": code, "dataAbsentReason": {"text": "not asked"}}),
        Some((value, unit)) => {
            let quantity = json!({"value": number(value), "system": "http://unitsofmeasure.org", "code": unit});
            json!({"code": code, "valueQuantity": quantity})
        }
        None => json!({"code": code, "valueCodeableConcept": {"coding": [{"system": "urn:oid:2.999", "code": value}]}}),
    }
}

/// What became of a measurement: whether it has a value of its own, and code and value of each component.
fn parts_of(told: &Value) -> (bool, Vec<(String, String)>) {
    let observation = if told["resourceType"] == "Observation" {
        told
    } else {
        let entries = told["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
        entries.clone().find(|one| one["resourceType"] == "Observation").unwrap()
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let part = |one: &Value| {
        let said = &one["valueCodeableConcept"]["coding"][0]["code"];
        let value = if said.is_null() { &one["valueQuantity"]["value"] } else { said };
        (text(&one["code"]["coding"][0]["code"]), text(value))
    };
    let parts = observation["component"].as_array().into_iter().flatten().map(part).collect();
    (!observation["valueQuantity"].is_null(), parts)
}

#[test]
fn components_are_told_where_the_line_of_the_measure_has_them() {
    let norwegian = Stage {
        settings: json!({"organization": "1"}),
        person: json!({"resourceType": "Patient", "id": "anna",
            "identifier": [{"system": "urn:oid:2.16.578.1.12.4.1.4.1", "value": "1"}]}),
        ..stage()
    };
    let dutch = Stage {
        person: json!({"resourceType": "Patient", "id": "anna",
            "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": "1"}]}),
        ..stage()
    };
    // The pack, code and value of the measurement, what it has within, whether its value stands by itself, what is told within.
    type Case<'c> = (&'c str, &'c Stage, (&'c str, &'c str), &'c [(&'c str, &'c str)], bool, &'c [(&'c str, &'c str)]);
    let finnish = finnish();
    let cases: [Case<'_>; 7] = [
        (
            "no-pmd",
            &norwegian,
            ("1104051000000101", "4 {score}"),
            &[("1104301000000104", "3 {score}"), ("1104361000000100", "1 {score}"), ("29463-7", "71 kg")],
            true,
            &[("1104301000000104", "3"), ("1104361000000100", "1")],
        ),
        (
            "no-pmd",
            &norwegian,
            ("85354-9", ""),
            &[("8480-6", "120 mm[Hg]"), ("8462-4", "80 mm[Hg]"), ("87179004", "40 mm[Hg]"), ("8358-4", "STD")],
            false,
            &[("8480-6", "120"), ("8462-4", "80"), ("87179004", "40")],
        ),
        (
            "fi-kanta",
            &finnish,
            ("82260-1", "9.0 [MET]"),
            &[("82284-1", "3.5 mL/kg/min"), ("82262-7", "9.0 [MET]"), ("82280-9", "LA26238-8")],
            false,
            &[("82262-7", "9.0"), ("82284-1", "3.5"), ("82280-9", "LA26238-8")],
        ),
        ("fi-kanta", &finnish, ("82260-1", ""), &[("82261-9", "9.0 [MET]")], false, &[("82261-9", "9.0")]),
        ("no-pmd", &norwegian, ("1104051000000101", "2 {score}"), &[("1104301000000104", "")], true, &[]),
        (
            "nl-medmij",
            &dutch,
            ("9279-1", "14 /min"),
            &[("271626009", "301284009"), ("8352-7", "UNDRESSED")],
            false,
            &[("9279-1", "14"), ("271626009", "301284009")],
        ),
        ("nl-medmij", &dutch, ("29463-7", "71 kg"), &[("8352-7", "UNDRESSED")], true, &[("8352-7", "UNDRESSED")]),
    ];
    for (name, stage, (code, value), within, has_value, expected) in cases {
        let mut sent = observation(code, &number("0"), "x");
        sent["code"] = component(code, "x")["code"].clone();
        sent["valueQuantity"] = component(code, value)["valueQuantity"].clone();
        if value.is_empty() {
            sent.as_object_mut().unwrap().remove("valueQuantity");
        }
        sent["component"] = within.iter().map(|(code, value)| component(code, value)).collect();
        let told = told(&shelf(name), stage, &[sent]).unwrap_or_else(|why| panic!("{name} {code}: {}", why.text));
        let expected = expected.iter().map(|(code, value)| ((*code).to_owned(), (*value).to_owned())).collect();
        assert_eq!(parts_of(&told), (has_value, expected), "{name} {code}: {told}");
    }
}

#[test]
fn a_group_is_told_where_its_members_are_measurements_of_their_own() {
    let pack = shelf("de-hddt");
    let mut summary = observation("107931-8", &number("0"), "x");
    summary.as_object_mut().unwrap().remove("valueQuantity");
    summary["component"] = json!([component("97507-8", "148 mg/dL")]);
    let refused = told(&pack, &stage(), &[summary.clone()]).unwrap_err();
    assert_eq!(refused.id, Id::DestinationNeeds, "{}", refused.text);
    assert!(refused.text.ends_with("the measurements that belong to it, each by itself."), "{}", refused.text);
    summary["hasMember"] =
        json!([{"reference": "Observation/o1/_history/2"}, {"reference": "QuestionnaireResponse/q"}]);
    summary["id"] = "o2".into();
    let both = told(&pack, &stage(), &[summary.clone()]).unwrap_err();
    assert_eq!(both.id, Id::DestinationForm, "{}", both.text);
    summary.as_object_mut().unwrap().remove("component");
    let named = told(&pack, &stage(), &[summary]).unwrap();
    let member = told(&pack, &stage(), &[observation("97507-8", &number("148"), "mg/dL")]).unwrap();
    let id = member["id"].as_str().unwrap();
    assert_eq!(named["hasMember"], json!([{"reference": format!("Observation/{id}")}]));
    assert!(named.get("component").is_none() && named["id"] != member["id"], "{named}");
}

#[test]
fn the_position_of_the_body_chooses_the_code() {
    let pack = shelf("nl-medmij");
    let person = json!({"resourceType": "Patient", "id": "anna",
        "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": "1"}]});
    for (system, code, expected) in [
        ("http://snomed.info/sct", "10904000", 2),
        ("http://snomed.info/sct", "102538003", 2),
        ("http://snomed.info/sct", "33586001", 1),
        ("urn:oid:2.999", "10904000", 1),
    ] {
        let mut height = observation("8302-2", &number("171"), "cm");
        height["extension"] = json!([{"url": "http://hl7.org/fhir/StructureDefinition/observation-bodyPosition",
            "valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}]);
        let told = told(&pack, &Stage { person: person.clone(), ..stage() }, &[height]).unwrap();
        let entries = told["entry"].as_array().unwrap().iter();
        let height = entries.map(|one| &one["resource"]).find(|one| one["resourceType"] == "Observation").unwrap();
        assert_eq!(height["code"]["coding"].as_array().unwrap().len(), expected, "{system} {code}");
    }
}

#[test]
fn what_is_told_within_another_alone_is_told_so() {
    for (pack, code, unit, expected) in [
        ("fr-ens", "8462-4", "mm[Hg]", "Mon espace santé takes diastolic-bp within blood-pressure and not by itself."),
        ("fr-ens", "8478-0", "mm[Hg]", "Mon espace santé has no place for the measure."),
        ("no-pmd", "8478-0", "mm[Hg]", "Pasientens måledata takes mean-bp within blood-pressure and not by itself."),
        (
            "de-hddt",
            "97510-2",
            "%",
            "HDDT (section 374a SGB V) takes cgm-time-in-range within cgm-times-in-ranges and not by itself.",
        ),
    ] {
        let sent = tree::parse(observation(code, &number("74"), unit).to_string()).unwrap();
        let told = shelf(pack).takes(Element::root(&sent)).unwrap_err();
        assert_eq!((told.id, told.text.as_str()), (Id::DestinationMeasure, expected), "{pack} {code}");
    }
    for pack in built_in() {
        for row in pack.rows().iter().filter(|row| row.form == Form::Part) {
            assert!(!pack.wholes(row).is_empty(), "{} {}", pack.id, row.measure);
        }
    }
    let within = |pack: &str, measure: &str| {
        let gap = trial::gaps(&shelf(pack)).into_iter().find(|gap| gap.measure == measure).unwrap();
        (gap.state, gap.within.join(" "))
    };
    assert_eq!(within("nl-medmij", "heart-rhythm"), (trial::State::Within, "pulse-rate".to_owned()));
    assert_eq!(within("nl-medmij", "pulse-rate"), (trial::State::Deliverable, String::new()));
    assert_eq!(within("fr-ens", "pulse-pressure"), (trial::State::NoPlace, String::new()));
    let page = trial::page(&shelf("no-pmd"));
    assert!(page.contains("| pulse-pressure | blood-pressure | within blood-pressure | 87179004 | mm[Hg] |"), "{page}");
}

#[test]
fn components_without_a_place_are_named() {
    let loinc = |code: &str| component(code, "80 mm[Hg]");
    let mut pressure = observation("85354-9", &Value::Null, "");
    pressure.as_object_mut().unwrap().remove("valueQuantity");
    pressure["component"] =
        json!([loinc("8480-6"), loinc("8462-4"), loinc("8478-0"), component("87179004", "40 mm[Hg]")]);
    let sent = tree::parse(pressure.to_string()).unwrap();
    for (pack, expected) in [
        ("fr-ens", &["mean-bp", "pulse-pressure"][..]),
        ("de-hddt", &["pulse-pressure"]),
        ("no-pmd", &[]),
        ("dk-fut", &["mean-bp", "pulse-pressure"]),
    ] {
        assert_eq!(shelf(pack).left_out(Element::root(&sent)), expected, "{pack}");
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
        ("words.csv", "moment,before", "time,before", "words.csv:3: pack.toml has no time in [words]"),
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
            "observation.json:19: no slot is called mood",
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
        (
            json!({"organization": "1", "colour": "red"}),
            &[
                "settings.colour: no-pmd@0.5.2 has no such setting; it has bundle, municipality, organization, organization-system",
            ],
        ),
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
        let issues = [Said { code: "INVALID", texts: vec![text], is_error: true }];
        let meaning = pack.answers.meaning(status, &issues);
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

/// What `pack check` says of a pack of the program after some changes; a change to nothing takes the file away.
fn told_of(pack: &str, changes: &[(&str, &str, &str)]) -> Vec<String> {
    let mut files = files(pack);
    for (file, from, to) in changes {
        if from.is_empty() {
            files.remove(*file);
            continue;
        }
        let text = files.get_mut(*file).unwrap();
        assert!(text.contains(from), "{file} {from}");
        *text = text.replacen(from, to, 1);
    }
    trial::check(&files).told().map(ToString::to_string).collect()
}

/// What is told otherwise than expected, if anything is.
fn told_otherwise(pack: &str, changes: &[(&str, &str, &str)], expected: &[&str]) -> Option<String> {
    let told = told_of(pack, changes);
    let each = expected.iter().zip(&told).all(|(expected, told)| told.starts_with(expected));
    (!each || told.len() != expected.len()).then(|| format!("{changes:?}: expected {expected:#?}, told {told:#?}\n"))
}

#[test]
fn a_slip_is_told_once_and_nothing_that_follows_from_it() {
    let mut wrong = String::new();
    let (measures, codes) = ("measures.csv", "codes.csv");
    for (pack, changes, expected) in [
        ("fi-kanta", &[(measures, "", "")][..], &["measures.csv: the file is missing"][..]),
        ("fi-kanta", &[(codes, "", "")], &["codes.csv: the file is missing"]),
        ("fi-kanta", &[("request.json", "", "")], &["request.json: the file is missing"]),
        ("fi-kanta", &[("pack.toml", "", "")], &["pack.toml: the file is missing"]),
        ("fi-kanta", &[("pack.toml", "id = ", "id ")], &["pack.toml:2: "]),
        ("fi-kanta", &[(measures, "measure,form", "measure;form")], &["measures.csv:1: expected are the columns"]),
        ("fi-kanta", &[(codes, "measure,at", "measure;at")], &["codes.csv:1: expected are the columns"]),
        ("fr-ens", &[("words.csv", "table,", "tables,")], &["words.csv:1: expected are the columns"]),
        ("fi-kanta", &[(measures, "systolic-bp,part,", "systolic-bp,part,,")], &["measures.csv:3: 13 fields"]),
        ("fi-kanta", &[(measures, "mmol/L,mmol/l", "mmoll,mmol/l")], &["measures.csv:5: unit: expected is UCUM"]),
        ("fi-kanta", &[(measures, "glucose-blood-molar", "glucose-molar")], &["measures.csv:5: measure: expected"]),
        (
            "fi-kanta",
            &[(measures, "systolic-bp,part", "diastolic-bp,part")],
            &["measures.csv:4: measure: it stands twice"],
        ),
        ("fi-kanta", &[(codes, "blood-pressure,", "blood-presure,")], &["codes.csv:2: measure: expected is a key"]),
        (
            "fi-kanta",
            &[(codes, "http://loinc.org,85354-9", "loinc,85354-9")],
            &["codes.csv:2: system: expected is a URI"],
        ),
        (
            "fi-kanta",
            &[("request.json", "@observation", "@observations")],
            &["request.json:8: the pack has no template"],
        ),
        (
            "fi-kanta",
            &[("observation.json", "{code}", "@observation")],
            &["observation.json:19: the template includes itself"],
        ),
        (
            "fi-kanta",
            &[("pack.toml", "[settings.persons]", "[settings.person]")],
            &["pack.toml:23: pack.toml has no [settings.persons]"],
        ),
        (
            "fi-kanta",
            &[("pack.toml", "corrections = \"never\"", "corrections = \"update\"")],
            &["pack.toml:16: request.corrections is update"],
        ),
        ("fi-kanta", &[("observation.json", "\"status\"", "\"statuss\"")], &["observation.json:5: text.statuss"]),
        (
            "fi-kanta",
            &[("observation.json", "\"generated\"", "\"generatd\"")],
            &["observation.json:5: Observation.text.status"],
        ),
        (
            "fr-ens",
            &[("pack.toml", "moment = \"meal\"", "moment = \"meel\"")],
            &["pack.toml:47: words.moment: no slot"],
        ),
        (
            "fr-ens",
            &[("pack.toml", "moment = \"meal\"", "moments = \"meal\"")],
            &["measures.csv:12: pack.toml has no moment in [words] (also at measures.csv:13, measures.csv:14"],
        ),
        (
            "fi-kanta",
            &[("pack.toml", "[settings.persons]\nwhat =", "[settings]\npersons =")],
            &["pack.toml:26: invalid type"],
        ),
        ("fr-ens", &[("pack.toml", "moment = \"meal\"", "moment = 1")], &["pack.toml:47: invalid type"]),
        ("fi-kanta", &[("errors.csv", "(meta.profile", "('no text is one' is String and meta.profile")], &[]),
        (
            "fi-kanta",
            &[(measures, "met-adjusted-source\n", "met-adjusted-sauce\n")],
            &["measures.csv:19: parts: met-adjusted-sauce is no measure"],
        ),
        (
            "fi-kanta",
            &[(measures, "diastolic-bp,,systolic-bp diastolic-bp", "diastolic-bp,,systolic-bp")],
            &["measures.csv:2: needs: diastolic-bp is not among the parts"],
        ),
        (
            "fi-kanta",
            &[(measures, "met-measured met-estimated ", "met-estimated ")],
            &["measures.csv:21: form: it is a part, and no line has it"],
        ),
        (
            "fi-kanta",
            &[(measures, "met-measured,part,,,[MET],MET,,,,,,,\n", "")],
            &[
                "codes.csv:25: measure: measures.csv has no line",
                "measures.csv:19: parts: no line says how met-measured",
            ],
        ),
        (
            "fi-kanta",
            &[(measures, "met-measured,part,,,[MET],MET", "met-measured,part,,,,")],
            &["measures.csv:21: unit: expected"],
        ),
        (
            "fi-kanta",
            &[(measures, "met-measured,part", "met-measured,series"), (measures, "MET,,,,,,,\n", "MET,,,,,,,met\n")],
            &["measures.csv:21: parts: what is told as series has no components"],
        ),
        (
            "de-hddt",
            &[("request.json", "\"hasMember?\": \"{hasMember}\",", "")],
            &["measures.csv:31: form: no template has {hasMember}"],
        ),
        (
            "nl-medmij",
            &[(codes, "position=10904000,http://loinc", "position=10904001,http://loinc")],
            &["codes.csv:6: when: position is a code of SNOMED CT"],
        ),
        // Of what the pack itself makes, what its table says that is checked.
        (
            "fi-kanta",
            &[("errors.csv", "meta.profile.exists()", "meta.profil.exists()")],
            &["errors.csv:4: check: it does not hold of what the pack itself makes of blood-pressure"],
        ),
    ] {
        wrong.extend(told_otherwise(pack, changes, expected));
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn whatever_is_wrong_is_told_at_once() {
    let changes = [
        ("pack.toml", "version = \"1.0.0\"", "version = \"1.0\""),
        ("pack.toml", "corrections = \"never\"", "corrections = \"nevr\""),
        ("pack.toml", "most = 900", "most = \"900\""),
        ("pack.toml", "title = \"Kanta PHR\"\n", ""),
        ("pack.toml", "[narrative]", "[settings.spare]\nwhat = \"x\"\n[narrative]"),
        ("measures.csv", "mmol/L,mmol/l,", "mmoll,mmol/l,"),
        ("codes.csv", "8480-6", ""),
        ("observation.json", "{issued}", "{isued}"),
        ("observation.json", "\"issued\"", "\"isued\""),
        ("errors.csv", "destination-consent,no,person", "consent,maybe,persons"),
    ];
    let expected = [
        "codes.csv:3: system, code: both",
        "errors.csv:3: again: expected",
        "errors.csv:3: id: expected",
        "errors.csv:3: who: expected",
        "measures.csv:5: unit: expected is UCUM",
        "observation.json:22: isued: Observation of FHIR R4 has no such element",
        "observation.json:22: no slot is called isued",
        "pack.toml:1: title is missing",
        "pack.toml:3: version is three numbers",
        "pack.toml:13: invalid type: string \"900\"",
        "pack.toml:15: unknown variant `nevr`",
        "pack.toml:27: settings.spare: nothing uses it",
    ];
    assert_eq!(told_otherwise("fi-kanta", &changes, &expected), None);
}

#[test]
fn what_a_pack_names_and_nobody_knows_is_told() {
    let mut wrong = String::new();
    let (main, codes, observation) = ("pack.toml", "codes.csv", "observation.json");
    for (pack, file, from, to, expected) in [
        (
            "dk-fut",
            main,
            "path = \"ServiceRequest\"",
            "path = \"ServiceRequests\"",
            "pack.toml:32: lookup.ask.0.path: FHIR R4 has no ServiceRequests",
        ),
        (
            "dk-fut",
            main,
            "status = \"active\", _elements = \"id,meta",
            "stat = \"active\", _elements = \"id,meta",
            "pack.toml:33: lookup.ask.0.query.stat: ServiceRequest of FHIR R4 is not searched by stat",
        ),
        (
            "dk-fut",
            main,
            "query = { patient =",
            "query = { \"patient:exact\" =",
            "pack.toml:33: lookup.ask.0.query.patient:exact: patient has no modifier exact",
        ),
        (
            "dk-fut",
            main,
            "query = { patient =",
            "query = { \"patient.identifer\" =",
            "pack.toml:33: lookup.ask.0.query.patient.identifer: Patient of FHIR R4 is not searched by identifer",
        ),
        (
            "dk-fut",
            main,
            "query = { patient =",
            "query = { \"status.identifier\" =",
            "pack.toml:33: lookup.ask.0.query.status.identifier: status leads to no other resource",
        ),
        (
            "dk-fut",
            main,
            "ofType(EpisodeOfCare).exists()",
            "ofType(EpisodeOfCar).exists()",
            "pack.toml:42: lookup.ask.1.holds: FHIR R4 has no EpisodeOfCar",
        ),
        (
            "dk-fut",
            main,
            "resource is ServiceRequest",
            "resource is ServiceReques",
            "pack.toml:35: lookup.ask.0.gives.request: FHIR R4 has no ServiceReques",
        ),
        (
            "dk-fut",
            main,
            "path = \"EpisodeOfCare\"",
            "path = \"EpisodeOfCare\"\nown = [\"other\"]",
            "pack.toml:41: lookup.ask.1.own.0: it is not asked by",
        ),
        (
            "fi-kanta",
            "errors.csv",
            "ofType(Observation)",
            "ofType(Observatio)",
            "errors.csv:4: check: FHIR R4 has no Observatio",
        ),
        (
            "fi-kanta",
            main,
            "country = \"FI\"",
            "country = \"ZZ\"",
            "pack.toml:5: country: ISO 3166-1 gives ZZ to no country",
        ),
        ("fi-kanta", codes, "85354-9", "85354-8", "codes.csv:2: code: 85354-8 is none of http://loinc.org"),
        ("fi-kanta", codes, "8480-6", "8481-6", "codes.csv:3: code: 8481-6 is none of http://loinc.org"),
        ("ee-healthsense", codes, "http://snomed.info/sct,", "http://snomed.info/sct,1", "codes.csv:3: code: 1"),
        (
            "fi-kanta",
            codes,
            "http://loinc.org,85354-9",
            "http://loinc.com,85354-9",
            "codes.csv:2: system: nobody knows http://loinc.com; http://loinc.org is close",
        ),
        ("dk-fut", codes, "urn:oid:1.2.208", "urn:oid:1.2.2o8", "codes.csv:2: system: urn:oid:1.2.2o8"),
        (
            "fi-kanta",
            main,
            "code = \"vital-signs\"",
            "code = \"vital-sign\"",
            "pack.toml:35: categories.vital-signs: code: http://terminology.hl7.org/CodeSystem/observation-category has no vital-sign",
        ),
        (
            "fi-kanta",
            observation,
            "urn:ietf:rfc:3986",
            "urn:ieft:rfc:3986",
            "observation.json:16: system: nobody knows urn:ieft:rfc:3986",
        ),
        ("fi-kanta", observation, "\"app.name\"", "\"status=finl\"", "observation.json:8: $if: status is never finl"),
        ("fi-kanta", observation, "\"app.name\"", "\"code=x\"", "observation.json:8: $if: code is no text"),
        (
            "de-mio-diga",
            main,
            "\"http://fhir.de/sid/gkv/kvid-10\"",
            "\"kvid-10\"",
            "pack.toml:26: settings.persons: a URI such as",
        ),
        (
            "de-mio-diga",
            main,
            "\"http://fhir.de/sid/gkv/kvid-10\"",
            "\"urn:oid:1.2.o3\"",
            "pack.toml:26: settings.persons.default: system: urn:oid:1.2.o3 is no OID",
        ),
        (
            "no-pmd",
            "words.csv",
            "body-height",
            "body-heigth",
            "words.csv:4: from: the guide has no measure body-heigth",
        ),
        ("fr-ens", "words.csv", "fasting", "fastin", "words.csv:2: from: meal is never fastin; it is fasting, before"),
        (
            "fi-kanta",
            codes,
            ",,,http://loinc.org,85354-9",
            ",,meal=breakfasts,http://loinc.org,85354-9",
            "codes.csv:2: when: meal is never breakfasts",
        ),
        (
            "fi-kanta",
            codes,
            ",,,http://loinc.org,85354-9",
            ",,recording=by-hand,http://loinc.org,85354-9",
            "codes.csv:2: when: recording is never by-hand",
        ),
        (
            "no-pmd",
            codes,
            ",,,",
            ",,setting.bundle=document,",
            "codes.csv:2: when: setting.bundle is never document; it is ",
        ),
    ] {
        wrong.extend(told_otherwise(pack, &[(file, from, to)], &[expected]));
    }
    // What the destination has beyond the standard is its own to say.
    let own = ("pack.toml", "query = { patient =", "own = [\"plan\"]\nquery = { plan = \"x\", patient =");
    wrong.extend(told_otherwise("dk-fut", &[own], &[]));
    for query in ["_id", "subject:Patient.identifier", "patient.name:exact", "_has:Task:focus:status", "status:not"] {
        let asked = format!("query = {{ {query:?} = \"x\", patient =");
        wrong.extend(told_otherwise("dk-fut", &[("pack.toml", "query = { patient =", &asked)], &[]));
    }
    assert!(wrong.is_empty(), "{wrong}");
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
        let found = trial::check(&files);
        assert!(found.pack.is_some(), "{:#?}", found.mistakes);
        let told: Vec<String> = found.mistakes.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains(expected)), "{expected}: {told:#?}");
    }
    let mut all = files("fr-ens");
    all.insert("spare.json".to_owned(), "{}".to_owned());
    let found = trial::check(&all);
    assert_eq!(found.mistakes[0].to_string(), "spare.json:1: no template includes it");
}
