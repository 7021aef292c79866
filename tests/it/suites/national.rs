//! The countries' own material: what our packs make of a measurement against what each country says and shows.
//!
//! An example of a country is read back into a measurement of the guide's, told again by the pack, and compared point by
//! point: profile, codes, category, value and literal unit, time, and how the person is named. Assertions that a country
//! publishes as FHIRPath are run over what the pack emits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::fhirpath::{self, Collection, Value};
use mhealth_gateway::fhir::terminology::ucum;
use mhealth_gateway::fhir::tree::{Element, json as tree};
use mhealth_gateway::fhir::validate::measures;
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::national::{Form, Measured, Message, Pack, Settings, Shelf};
use serde_json::{Value as Json, json};

use super::{at_least, beside, errors, files, issues, keep, known, line};

const LINKED: &str = "urn:oid:2.16.578.1.12.4.1.4.1";

fn national(folder: &str) -> PathBuf {
    let folder = beside("MHEALTH_SUITES", "suites").with_file_name("national").join(folder);
    assert!(folder.exists(), "{} is missing; it lies beside MHEALTH_SUITES", folder.display());
    folder
}

fn pack(name: &str) -> std::sync::Arc<Pack> {
    Shelf::default().find(name).unwrap_or_else(|| panic!("there is no pack {name}")).clone()
}

/// What a pack makes of measurements of a person whom every destination knows.
fn told(pack: &Pack, observations: &[Json]) -> Result<Json, String> {
    let said: BTreeMap<String, String> = pack
        .settings
        .iter()
        .filter(|setting| setting.default.is_none())
        .map(|setting| (setting.name.clone(), LINKED.to_owned()))
        .collect();
    let settings = Settings::of(pack, &said).unwrap();
    let person = json!({"resourceType": "Patient", "id": "p", "identifier": [{"system": LINKED, "value": "linked-1"}]});
    let device = json!({"resourceType": "Device", "id": "d", "manufacturer": "Example", "modelNumber": "M-1"});
    let [person, device] = [person, device].map(|one| tree::parse(one.to_string()).unwrap());
    let read: Vec<_> = observations.iter().map(|one| tree::parse(one.to_string()).unwrap()).collect();
    let measured: Vec<_> = read
        .iter()
        .map(|one| Measured { observation: Element::root(one), device: Some(Element::root(&device)), app: None })
        .collect();
    let message =
        Message { measured: &measured, person: Some(Element::root(&person)), settings: &settings, key: &[7; 32] };
    let body = pack.body(&message).map_err(|told| told.text)?;
    Ok(serde_json::from_str(&body).unwrap())
}

/// Every resource of a type in what was sent.
fn within<'j>(value: &'j Json, kind: &str, found: &mut Vec<&'j Json>) {
    if value["resourceType"] == kind {
        found.push(value);
    }
    match value {
        Json::Object(members) => members.values().for_each(|member| within(member, kind, found)),
        Json::Array(items) => items.iter().for_each(|item| within(item, kind, found)),
        _ => {}
    }
}

fn observations(value: &Json) -> Vec<&Json> {
    let mut found = Vec::new();
    within(value, "Observation", &mut found);
    found
}

/// A measurement as the guide's profiles have it: by the measure's own code, in one of its own units.
fn measurement(key: &str, value: Option<&Json>, form: Form) -> Option<Json> {
    let measure = measures::all().iter().find(|measure| measure.key == key)?;
    let code =
        measure.codes.iter().find(|code| measures::measure(code.system, code.code).is_some_and(|one| one.key == key));
    let code = code.or(measure.codes.first())?;
    let mut sent = json!({
        "resourceType": "Observation", "id": "o", "meta": {"versionId": "1", "lastUpdated": "2026-05-04T07:00:01Z"},
        "extension": [{"url": "https://mhealth-gateway.org/fhir/StructureDefinition/mh-meal-time", "valueCode": "after"},
            {"url": "http://hl7.org/fhir/StructureDefinition/workflow-episodeOfCare", "valueReference": {"reference": "EpisodeOfCare/1"}}],
        "basedOn": [{"reference": "ServiceRequest/1/_history/2"}],
        "status": "final", "effectiveDateTime": "2026-05-04T07:00:00+02:00",
        "code": {"coding": [{"system": code.system, "code": code.code}]},
    });
    if form == Form::Series {
        let unit = measure.units.first()?.code;
        sent["effectiveDateTime"] = Json::Null;
        sent.as_object_mut()?.remove("effectiveDateTime");
        sent["effectivePeriod"] = json!({"start": "2026-05-04T07:00:00+02:00", "end": "2026-05-04T08:00:00+02:00"});
        sent["valueSampledData"] = json!({
            "origin": {"value": 0, "system": ucum::SYSTEM, "code": unit}, "period": 300_000, "dimensions": 1, "data": "104 108 E",
        });
    } else if matches!(form, Form::Components | Form::Split) {
        sent["component"] = [("8480-6", 138), ("8462-4", 86)]
            .into_iter()
            .map(|(code, value)| {
                json!({"code": {"coding": [{"system": "http://loinc.org", "code": code}]},
                    "valueQuantity": {"value": value, "system": ucum::SYSTEM, "code": "mm[Hg]"}})
            })
            .collect();
    } else {
        let unit = measure.units.first()?;
        let value =
            value.cloned().unwrap_or_else(|| serde_json::from_str(&unit.soft.1.normalize().to_string()).unwrap());
        sent["valueQuantity"] = json!({"value": value, "system": ucum::SYSTEM, "code": unit.code});
    }
    Some(sent)
}

/// The research's tables of what each destination calls a measure, and in what unit.
#[test]
fn packs_say_what_the_table_of_targets_says() {
    let text = std::fs::read_to_string(national("target-codes.csv")).unwrap();
    let (mut failed, mut all) = (BTreeSet::new(), 0);
    for row in text.lines().skip(1) {
        let fields = fields(row);
        let (target, key) = (&fields[0], fields[1].replace('_', "-"));
        let (Some(pack), false) =
            (Shelf::default().find(target).cloned(), fields[4].is_empty() && fields[3].is_empty())
        else {
            continue;
        };
        all += 1;
        let mut wrong = |what: &str| {
            failed.insert(format!("{target} {key}: {what}"));
        };
        let Some(row) = pack.row(&key) else {
            wrong("has no line");
            continue;
        };
        if row.is_refused() != (fields[5] == "REFUSED") {
            // A sensor's single readings are refused where only a mean is taken.
            wrong("is refused");
            continue;
        }
        if !fields[6].is_empty() && row.profile != fields[6].split(" (").next().unwrap() {
            wrong("has another profile");
        }
        if row.is_refused() {
            continue;
        }
        let Some(sent) = measurement(&key, None, row.form) else {
            wrong("cannot be measured");
            continue;
        };
        let told = match told(&pack, &[sent]) {
            Ok(told) => told,
            Err(text) => {
                wrong(&text);
                continue;
            }
        };
        let codes: Vec<&str> = fields[3].split(" + ").collect();
        let unit = fields[4].rsplit('|').next().unwrap();
        let found = told.to_string();
        for code in codes.iter().filter(|code| !code.is_empty() && row.form != Form::Split) {
            if !found.contains(&format!("\"code\":\"{code}\"")) {
                wrong(&format!("lacks the code {code}"));
            }
        }
        if !unit.is_empty() && !found.contains(&format!("\"code\":\"{unit}\"")) {
            wrong(&format!("is not in {unit}"));
        }
        if fields[5] == "integer" && !row.is_integer() {
            wrong("is no integer");
        }
    }
    assert!(all > 60, "{all}");
    known("national-targets.txt", &failed);
}

/// The fields of a line of CSV.
fn fields(row: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for letter in row.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

const EXAMPLES: &[(&str, &str)] = &[
    ("fi-kanta", "fi-kanta/examples"),
    ("fr-ens", "fr-ens"),
    ("no-pmd", "no-pmd/examples"),
    ("de-hddt", "de-hddt/examples"),
    ("nl-medmij", "nl-medmij"),
];

/// Codings of a concept.
fn codings(concept: &Json) -> BTreeSet<(String, String)> {
    let list = concept["coding"].as_array().cloned().unwrap_or_default();
    list.iter().map(|one| (text(&one["system"]), text(&one["code"]))).collect()
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The value of an example in the measure's usual unit.
fn usual(key: &str, quantity: &Json) -> Option<Json> {
    let measure = measures::all().iter().find(|measure| measure.key == key)?;
    let unit = measure.units.first()?.code;
    let sent = text(&quantity["code"]);
    let digits = quantity["value"].to_string();
    // A count without a unit, or by another name of it, is the number itself.
    let value = ucum::convert(digits.parse().ok()?, &sent, unit).map_or(digits, |value| value.normalize().to_string());
    serde_json::from_str(&value).ok()
}

/// An example of a country as a measurement of the guide's, and what it should become again.
fn read_back(pack: &Pack, example: &Json) -> Option<Json> {
    let (codes, profiles) = (codings(&example["code"]), &example["meta"]["profile"]);
    let row = pack.rows().iter().find(|row| {
        let named = profiles.as_array().is_none_or(|list| list.iter().any(|one| *one == row.profile));
        codes.contains(&(row.system.clone(), row.code.clone())) && (named || row.is_refused())
    })?;
    let inside = example["component"].as_array().into_iter().flatten().map(|one| &one["valueQuantity"]);
    let inside = inside.filter(|_| row.form == Form::Inside).find(|value| !value.is_null());
    let value = usual(&row.measure, inside.unwrap_or(&example["valueQuantity"]));
    let mut sent = measurement(&row.measure, value.as_ref(), row.form)?;
    for name in ["effectiveDateTime", "effectivePeriod", "status", "valueSampledData"] {
        if !example[name].is_null() {
            sent[name] = example[name].clone();
        }
    }
    if example["effectivePeriod"].is_null() == example["effectiveDateTime"].is_null() {
        return None;
    }
    let other = if example["effectivePeriod"].is_null() { "effectivePeriod" } else { "effectiveDateTime" };
    sent.as_object_mut()?.remove(other);
    if let Some(components) = example["component"].as_array().filter(|_| row.form == Form::Components) {
        sent["component"] = components.clone().into();
    }
    Some(sent)
}

/// Where an emitted measurement differs in meaning from the country's own.
fn differences(emitted: &Json, example: &Json) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut hold = |holds: bool, what: &'static str| {
        if !holds {
            found.push(what);
        }
    };
    let profile = &emitted["meta"]["profile"][0];
    hold(example["meta"]["profile"].as_array().is_none_or(|list| list.contains(profile)), "profile");
    hold(!codings(&emitted["code"]).is_disjoint(&codings(&example["code"])), "code");
    let categories =
        |of: &Json| -> BTreeSet<_> { of["category"].as_array().into_iter().flatten().flat_map(codings).collect() };
    hold(categories(example).is_empty() || !categories(emitted).is_disjoint(&categories(example)), "category");
    hold(emitted["status"] == example["status"], "status");
    let same = |one: &Json, other: &Json| {
        let (Ok(left), Ok(right)) = (one["value"].to_string().parse(), other["value"].to_string().parse()) else {
            return one["value"] == other["value"];
        };
        ucum::compare(left, &text(&one["code"]), right, &text(&other["code"])) == Some(std::cmp::Ordering::Equal)
            || (left == right && other["code"].is_null())
    };
    let value = &example["valueQuantity"];
    hold(value.is_null() || same(&emitted["valueQuantity"], value), "value");
    for name in ["effectiveDateTime", "effectivePeriod"] {
        hold(example[name].is_null() || emitted[name] == example[name], "time");
    }
    let subject =
        |of: &Json| (of["subject"]["reference"].is_string(), of["subject"]["identifier"]["system"].is_string());
    hold(subject(emitted) == subject(example) || subject(emitted) == (false, false), "person");
    hold(example["device"].is_null() || !emitted["device"].is_null(), "device");
    hold(example["performer"].is_null() || !emitted["performer"].is_null(), "performer");
    for component in example["component"].as_array().into_iter().flatten() {
        let ours = emitted["component"].as_array().into_iter().flatten();
        let ours = ours.into_iter().find(|one| !codings(&one["code"]).is_disjoint(&codings(&component["code"])));
        let told = ours.is_some_and(|ours| same(&ours["valueQuantity"], &component["valueQuantity"]));
        hold(component["valueQuantity"].is_null() || told, "component");
    }
    found
}

#[test]
fn what_packs_emit_means_what_the_countries_examples_say() {
    let (mut failed, mut right, mut placed, mut table) = (BTreeSet::new(), 0, 0, String::new());
    for (name, folder) in EXAMPLES {
        let pack = pack(name);
        for path in
            files(&national(folder)).iter().filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        {
            let Ok(parsed) = serde_json::from_slice::<Json>(&std::fs::read(path).unwrap()) else { continue };
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            for (index, example) in observations(&parsed).into_iter().enumerate() {
                let outcome = match read_back(&pack, example) {
                    None => Err("it has no place in the pack".to_owned()),
                    Some(sent) => {
                        placed += 1;
                        told(&pack, &[sent]).and_then(|told| {
                            let different = observations(&told).first().map(|one| differences(one, example));
                            match different.unwrap_or_default() {
                                different if different.is_empty() => Ok(()),
                                different => Err(different.join(", ")),
                            }
                        })
                    }
                };
                match outcome {
                    Ok(()) => right += 1,
                    Err(what) => {
                        table.push_str(&format!("{name} {file} {index}: {what}\n"));
                        failed.insert(format!("{name} {file}: {what}"));
                    }
                }
            }
        }
    }
    keep("national-examples.txt", &table);
    known("national-examples.txt", &failed);
    at_least("examples told again", 95.0, right, placed);
}

/// Every assertion on requests that Nictiz publishes, with the measurements that it is about.
#[test]
fn what_is_sent_to_medmij_passes_its_own_assertions() {
    let pack = pack("nl-medmij");
    let expressions: BTreeSet<String> = files(&national("nl-medmij"))
        .iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "Sending-PHR"))
        .filter(|path| path.extension().is_some_and(|ending| ending == "xml"))
        .flat_map(|path| asserted(&std::fs::read_to_string(path).unwrap()))
        .filter(|expression| expression.starts_with("Bundle."))
        .collect();
    assert!(expressions.len() > 15, "{}", expressions.len());
    let validator = Validator::new(Registry::core());
    let sent: Vec<Json> = pack
        .rows()
        .iter()
        .filter(|row| row.form != Form::Part)
        .filter_map(|row| told(&pack, &[measurement(&row.measure, None, row.form)?]).ok())
        .collect();
    assert!(sent.len() > 9, "{}", sent.len());
    let mut failed = BTreeSet::new();
    for expression in &expressions {
        // What asks for a certain value or count is about a certain request.
        let certain = ["value=", "value =", ").count()", "type\"", "code = '", "code='"];
        if certain.iter().any(|part| expression.contains(part)) || expression == "Bundle.type" {
            continue;
        }
        let Ok(compiled) = fhirpath::compile(expression) else {
            failed.insert(format!("no FHIRPath: {expression}"));
            continue;
        };
        for bundle in &sent {
            let document = tree::parse(bundle.to_string()).unwrap();
            let holds = validator.evaluate(Element::root(&document), &compiled, None, |found| {
                found.is_ok_and(|found| matches!(found, Collection::One(Value::Boolean(true)) | Collection::Empty))
            });
            if !holds {
                failed.insert(expression.clone());
            }
        }
    }
    known("national-medmij.txt", &failed);
}

/// The expressions of a TestScript.
fn asserted(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in script.split("<expression value=\"").skip(1) {
        let Some((expression, _)) = part.split_once("\"/>") else { continue };
        let plain = expression.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
        found.push(plain);
    }
    found
}

/// Profiles that a country publishes, over what its pack emits.
#[test]
fn what_packs_emit_is_valid_by_the_countries_profiles() {
    let mut failed = BTreeSet::new();
    for (name, folders) in [
        ("no-pmd", &["no-pmd/conformance", "no-pmd/no-basis"][..]),
        ("de-hddt", &["de-hddt/conformance"]),
        ("dk-fut", &["dk-fut/conformance"]),
        ("eu-r4", &[]),
    ] {
        let pack = pack(name);
        let definitions: Vec<PathBuf> = folders.iter().flat_map(|folder| files(&national(folder))).collect();
        let validator = Validator::new(loose(&definitions));
        for row in pack.rows().iter().filter(|row| row.form != Form::Part && !row.is_refused()) {
            let Some(sent) = measurement(&row.measure, None, row.form) else { continue };
            let Ok(told) = told(&pack, &[sent]) else {
                failed.insert(format!("{name} {}: not told", row.measure));
                continue;
            };
            for one in observations(&told) {
                let found = issues(&validator, one.to_string().as_bytes(), &Options::default());
                if errors(&found) > 0 {
                    let first = found.iter().find(|issue| issue.is_error()).map(line).unwrap_or_default();
                    failed.insert(format!("{name} {}: {first}", row.measure));
                }
            }
        }
    }
    known("national-profiles.txt", &failed);
}

/// The definitions of some files, beside the standard's.
fn loose(paths: &[PathBuf]) -> std::sync::Arc<Registry> {
    let is_json = |path: &&PathBuf| Path::new(path).extension().is_some_and(|ending| ending == "json");
    let read = paths.iter().filter(is_json).filter_map(|path| tree::parse(std::fs::read(path).unwrap()).ok());
    let package = Package::loose("national", &read.collect::<Vec<_>>()).unwrap_or_else(|defect| panic!("{defect:?}"));
    Registry::with_packages(vec![std::sync::Arc::new(package)])
}
