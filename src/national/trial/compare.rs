//! An example of a destination, read back into a measurement of the guide's, and held against what the pack makes of that:
//! profile, codes, category, status, value and literal unit, time, person, device, performer and components.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::measurement::{component as made_part, measure, measurement};
use crate::fhir::ours::STRUCTURES;
use crate::fhir::terminology::ucum;
use crate::fhir::validate::measures::SNOMED;
use crate::national::message::POSITION;
use crate::national::pack::{Codes, Conversion, Form, Pack, Row};
use crate::national::slot::Slot;

/// Codings of a concept.
type Codings = BTreeSet<(String, String)>;

/// An example as a measurement of the guide's. None where the pack has no place for such a thing.
pub fn read_back(pack: &Pack, example: &Json) -> Option<Json> {
    let row = meant(pack, example)?;
    let components = example["component"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_own = |component: &Json| row.has_inside(codings(&component["code"]).iter());
    let own = components.iter().find(|component| is_own(component));
    let quantity = own.map_or(&example["valueQuantity"], |own| &own["valueQuantity"]);
    let mut sent = measurement(pack, row, usual(row, quantity).as_ref())?;
    if let Some((url, name, said)) = condition(row, &codings(&example["code"])) {
        let extensions = sent["extension"].as_array_mut()?;
        extensions.retain(|extension| extension["url"] != url);
        extensions.push(json!({"url": url, name: said}));
    }
    for name in [
        "effectiveDateTime",
        "effectivePeriod",
        "status",
        "valueSampledData",
        "valueCodeableConcept",
        "dataAbsentReason",
        "note",
        "hasMember",
    ] {
        if !example[name].is_null() {
            sent[name] = example[name].clone();
        }
    }
    if example["effectivePeriod"].is_null() == example["effectiveDateTime"].is_null() {
        return None;
    }
    let members = sent.as_object_mut()?;
    members.remove(if example["effectivePeriod"].is_null() { "effectivePeriod" } else { "effectiveDateTime" });
    if quantity.is_null() && (row.form == Form::Inside || !example["dataAbsentReason"].is_null()) {
        members.remove("valueQuantity");
    }
    if row.form != Form::Split {
        members.remove("component");
    }
    let parts = components.iter().filter(|component| !is_own(component));
    let parts: Vec<Json> = parts.map(|component| part(pack, row, component)).collect();
    if !parts.is_empty() && row.form != Form::Split {
        sent["component"] = parts.into();
    }
    Some(sent)
}

/// A component as the guide has it. What the line has no place for stays as it is.
fn part(pack: &Pack, whole: &Row, component: &Json) -> Json {
    let codes = codings(&component["code"]);
    let is_it = |row: &&Row| whole.tells(row) && row.codings().any(|coding| codes.contains(coding));
    let row = pack.rows().iter().find(is_it);
    let value = row.and_then(|row| usual(row, &component["valueQuantity"]));
    let part = row.and_then(|row| made_part(&row.measure, value.as_ref()));
    let Some(mut part) = part else { return component.clone() };
    let own = part.as_object_mut().filter(|_| value.is_none());
    if let (Some(own), Some(theirs)) = (own, component.as_object()) {
        own.retain(|name, _| name == "code");
        own.extend(theirs.iter().filter(|(name, _)| *name != "code").map(|(name, said)| (name.clone(), said.clone())));
    }
    part
}

/// The extension that a line makes the codes of an example depend on: its address, and its value by name.
fn condition(row: &Row, codes: &Codings) -> Option<(String, &'static str, Json)> {
    let common = |told: &&Codes| told.codings.iter().filter(|coding| codes.contains(coding)).count();
    let fitting = row.codes.iter().filter(|told| common(told) > 0);
    // The concept that says as much of it and no more.
    let told = fitting.min_by_key(|told| (Reverse(common(told)), told.codings.len()))?;
    let only = told.when.as_ref()?;
    let word = only.is.as_deref()?;
    if only.slot == Slot::Position {
        let concept = json!({"coding": [{"system": SNOMED, "code": word}]});
        return Some((POSITION.to_owned(), "valueCodeableConcept", concept));
    }
    Some((format!("{STRUCTURES}{}", only.slot.extension()?), "valueCode", word.into()))
}

/// The line of the pack that the example is an example of: the code is the line's, and so is the profile where one is
/// claimed.
fn meant<'p>(pack: &'p Pack, example: &Json) -> Option<&'p Row> {
    let (codes, profiles) = (codings(&example["code"]), &example["meta"]["profile"]);
    let claims = |row: &Row| profiles.as_array().is_none_or(|list| list.iter().any(|one| *one == row.profile));
    let is_coded = |row: &&Row| row.codings().any(|coding| codes.contains(coding));
    let mut fitting: Vec<&Row> = pack.rows().iter().filter(is_coded).filter(|row| claims(row)).collect();
    let refused = || pack.rows().iter().filter(|row| row.is_refused()).find(is_coded);
    // Of measures with the same code, the one with most codes in common, and whose unit is the value's.
    let unit = example["valueQuantity"]["code"].as_str().unwrap_or_default();
    fitting.sort_by_key(|row| {
        let common = row.codings().filter(|coding| codes.contains(coding)).count();
        let measured = measure(&row.measure).is_some_and(|measure| measure.unit(unit).is_some());
        (Reverse(measured), Reverse(common))
    });
    fitting.first().copied().or_else(refused)
}

/// The value of an example in the measure's usual unit, by the way back from the unit of the line.
fn usual(row: &Row, quantity: &Json) -> Option<Json> {
    let unit = measure(&row.measure)?.units.first()?.code;
    let sent = text(&quantity["code"]);
    let digits = match &quantity["value"] {
        Json::String(digits) => digits.clone(),
        other => other.to_string(),
    };
    let own = row.unit.as_ref().filter(|own| own.code == sent);
    let stated = own.and_then(|own| match own.from.iter().find(|(from, _)| from == unit)?.1 {
        Conversion::Same => None,
        Conversion::Line(line) => line.back(digits.parse().ok()?),
    });
    // A count without a unit, or by another name of it, is the number itself.
    let by_name = || if own.is_some() { None } else { ucum::convert(digits.parse().ok()?, &sent, unit) };
    let value = stated.or_else(by_name).map_or(digits.clone(), |value| value.normalize().to_string());
    serde_json::from_str(&value).ok()
}

/// Where an emitted measurement differs in meaning from the destination's own.
pub fn differences(emitted: &Json, example: &Json) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut put = |what: String| {
        if !found.contains(&what) {
            found.push(what);
        }
    };
    let profile = &emitted["meta"]["profile"][0];
    if example["meta"]["profile"].as_array().is_some_and(|list| !list.contains(profile)) {
        put("profile".to_owned());
    }
    lacking("code", &codings(&emitted["code"]), &codings(&example["code"])).into_iter().for_each(&mut put);
    let (ours, theirs) = (categories(emitted), categories(example));
    if !theirs.is_empty() {
        lacking("category", &ours, &theirs).into_iter().for_each(&mut put);
    }
    let mut hold = |holds: bool, what: &str| {
        if !holds {
            put(what.to_owned());
        }
    };
    hold(emitted["status"] == example["status"], "status");
    let value = &example["valueQuantity"];
    hold(value.is_null() || same(&emitted["valueQuantity"], value), "value");
    let count = |of: &Json| of["hasMember"].as_array().map_or(0, Vec::len);
    hold(count(example) == 0 || count(emitted) == count(example), "members");
    for what in said(emitted, example, "value") {
        hold(false, &what);
    }
    for name in ["effectiveDateTime", "effectivePeriod"] {
        hold(example[name].is_null() || emitted[name] == example[name], "time");
    }
    let (ours, theirs) = (named(emitted), named(example));
    // Who names a person in two ways is met by either.
    hold(ours == (false, false) || (ours.0 && theirs.0) || (ours.1 && theirs.1) || ours == theirs, "person");
    for name in ["device", "performer", "dataAbsentReason"] {
        hold(example[name].is_null() || !emitted[name].is_null(), name);
    }
    for component in example["component"].as_array().into_iter().flatten() {
        let theirs = codings(&component["code"]);
        let ours = emitted["component"].as_array().into_iter().flatten();
        let ours = ours.into_iter().find(|one| !codings(&one["code"]).is_disjoint(&theirs));
        let told = ours.is_some_and(|ours| same(&ours["valueQuantity"], &component["valueQuantity"]));
        hold(component["valueQuantity"].is_null() || told, "component");
        let others = ours.map(|ours| lacking("component", &codings(&ours["code"]), &theirs)).unwrap_or_default();
        let words = said(ours.unwrap_or(&Json::Null), component, "component");
        for what in others.iter().chain(&words) {
            hold(false, what);
        }
    }
    found
}

/// Elements of an example that are not told, and that are nothing that is compared: what the destination shows and this pack
/// leaves out.
pub fn uncompared(emitted: &Json, example: &Json) -> Vec<String> {
    const BESIDE: [&str; 10] = [
        "resourceType",
        "id",
        "meta",
        "implicitRules",
        "language",
        "text",
        "contained",
        "component",
        "identifier",
        "issued",
    ];
    let lost = |emitted: &Json, example: &Json, within: &str| -> Vec<String> {
        let names = example.as_object().into_iter().flat_map(|members| members.keys());
        let is_lost = |name: &&String| {
            let name = name.as_str();
            emitted[name].is_null() && !BESIDE.contains(&name) && !name.starts_with('_') && !name.starts_with("value")
        };
        names.filter(is_lost).map(|name| format!("{within}{name}")).collect()
    };
    let mut found = lost(emitted, example, "");
    for theirs in example["component"].as_array().into_iter().flatten() {
        let mut ours = emitted["component"].as_array().into_iter().flatten();
        if let Some(ours) = ours.find(|one| !codings(&one["code"]).is_disjoint(&codings(&theirs["code"]))) {
            found.extend(lost(ours, theirs, "component."));
        }
    }
    found.retain(|name| !["device", "performer", "dataAbsentReason", "hasMember"].contains(&name.as_str()));
    found.sort();
    found.dedup();
    found
}

/// What of a value that is said by codes is not told.
fn said(ours: &Json, theirs: &Json, what: &str) -> Vec<String> {
    let name = "valueCodeableConcept";
    let theirs = codings(&theirs[name]);
    if theirs.is_empty() { Vec::new() } else { lacking(what, &codings(&ours[name]), &theirs) }
}

/// What of a concept's codings is not told: the concept itself, where none is, and else each that is missing or another.
fn lacking(what: &str, ours: &Codings, theirs: &Codings) -> Vec<String> {
    if ours.is_disjoint(theirs) {
        return vec![what.to_owned()];
    }
    let other = |(system, code): &(String, String)| format!("{what} without {system}|{code}");
    theirs.difference(ours).map(other).collect()
}

/// Where the same is said in other words than the destination's own: displays of the same codes, texts, and names of units.
pub fn other_words(emitted: &Json, example: &Json) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut hold = |holds: bool, what: &'static str| {
        if !holds && !found.contains(&what) {
            found.push(what);
        }
    };
    hold(same_words(&emitted["code"], &example["code"]), "code");
    hold(both(&emitted["valueQuantity"]["unit"], &example["valueQuantity"]["unit"]), "unit");
    for theirs in example["category"].as_array().into_iter().flatten() {
        let ours = emitted["category"].as_array().into_iter().flatten();
        let mut ours = ours.filter(|ours| !codings(ours).is_disjoint(&codings(theirs)));
        hold(ours.all(|ours| same_words(ours, theirs)), "category");
    }
    for theirs in example["component"].as_array().into_iter().flatten() {
        let ours = emitted["component"].as_array().into_iter().flatten();
        for ours in ours.filter(|ours| !codings(&ours["code"]).is_disjoint(&codings(&theirs["code"]))) {
            hold(same_words(&ours["code"], &theirs["code"]), "component");
            hold(both(&ours["valueQuantity"]["unit"], &theirs["valueQuantity"]["unit"]), "component");
        }
    }
    found
}

/// Whether two concepts have the same words, as far as both have any.
fn same_words(ours: &Json, theirs: &Json) -> bool {
    let list = |concept: &Json| concept["coding"].as_array().cloned().unwrap_or_default();
    let (own, other) = (list(ours), list(theirs));
    let pairs = own.iter().flat_map(|one| other.iter().map(move |another| (one, another)));
    let mut same = pairs.filter(|(one, another)| one["system"] == another["system"] && one["code"] == another["code"]);
    same.all(|(one, another)| both(&one["display"], &another["display"])) && both(&ours["text"], &theirs["text"])
}

fn both(one: &Json, other: &Json) -> bool {
    one.is_null() || other.is_null() || one == other
}

/// The same quantity; a value that stands without a unit is a number alone.
fn same(one: &Json, other: &Json) -> bool {
    let (Some(left), Some(right)) = (number(one), number(other)) else { return one["value"] == other["value"] };
    let equal = ucum::compare(left, &text(&one["code"]), right, &text(&other["code"])) == Some(Ordering::Equal);
    equal || (left == right && other["code"].is_null())
}

fn number(quantity: &Json) -> Option<rust_decimal::Decimal> {
    quantity["value"].to_string().parse().ok()
}

/// Whether the person is named by a reference, and by an identifier.
fn named(observation: &Json) -> (bool, bool) {
    let subject = &observation["subject"];
    (subject["reference"].is_string(), subject["identifier"]["system"].is_string())
}

fn categories(of: &Json) -> Codings {
    of["category"].as_array().into_iter().flatten().flat_map(codings).collect()
}

pub(super) fn codings(concept: &Json) -> Codings {
    let list = concept["coding"].as_array().into_iter().flatten();
    list.map(|one| (text(&one["system"]), text(&one["code"]))).collect()
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Every resource of a type in what was sent or shown, Bundles and contained ones included.
pub fn within<'j>(value: &'j Json, kind: &str) -> Vec<&'j Json> {
    let mut found = Vec::new();
    collect(value, kind, &mut found);
    found
}

fn collect<'j>(value: &'j Json, kind: &str, found: &mut Vec<&'j Json>) {
    if value["resourceType"] == kind {
        found.push(value);
    }
    match value {
        Json::Object(members) => members.values().for_each(|member| collect(member, kind, found)),
        Json::Array(items) => items.iter().for_each(|item| collect(item, kind, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_coding_that_is_missing_or_another_is_a_difference() {
        let coding = |one: &str| {
            let (system, code) = one.split_once('|').unwrap();
            json!({"system": system, "code": code})
        };
        let concept = |codings: &[&str]| json!({"coding": codings.iter().map(|one| coding(one)).collect::<Vec<_>>()});
        let said = |code: &[&str], category: &[&str], part: &[&str]| {
            json!({
                "code": concept(code), "category": [concept(category)],
                "component": [{"code": concept(part), "valueQuantity": {"value": 1}}],
            })
        };
        let ours = said(&["a|1", "b|2"], &["c|3"], &["d|4"]);
        for (theirs, expected) in [
            (said(&["a|1", "b|2"], &["c|3"], &["d|4"]), &[][..]),
            (said(&["a|1"], &["c|3"], &["d|4"]), &[]),
            (said(&["a|1", "b|3"], &["c|3"], &["d|4"]), &["code without b|3"]),
            (
                said(&["a|1", "x|9"], &["c|3", "x|8"], &["d|4", "x|7"]),
                &["code without x|9", "category without x|8", "component without x|7"],
            ),
            (said(&["x|1"], &["x|3"], &["x|4"]), &["code", "category", "component"]),
        ] {
            assert_eq!(differences(&ours, &theirs), expected, "{theirs}");
        }
    }

    #[test]
    fn other_words_are_told_and_are_no_difference() {
        let said = |display: &str, unit: &str| {
            json!({
                "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7", "display": display}]},
                "valueQuantity": {"value": 71, "unit": unit, "system": "http://unitsofmeasure.org", "code": "kg"},
            })
        };
        let ours = said("Body weight", "kg");
        for (theirs, expected) in [
            (said("Body weight", "kg"), &[][..]),
            (said("Paino", "kg"), &["code"]),
            (said("Body weight", "kilo"), &["unit"]),
            (said("Paino", "kilo"), &["code", "unit"]),
        ] {
            assert_eq!(
                (other_words(&ours, &theirs).as_slice(), differences(&ours, &theirs)),
                (expected, Vec::<String>::new())
            );
        }
        let mut silent = said("Body weight", "kg");
        silent["code"]["coding"][0].as_object_mut().unwrap().remove("display");
        assert!(other_words(&ours, &silent).is_empty(), "nothing said is nothing else");
    }
}
