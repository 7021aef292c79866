//! One measurement of a measure, as the guide's profiles have it, and a person whom every destination knows: what a pack
//! is tried with.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::fhir::ours::STRUCTURES;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::{Document, Element, json as tree};
use crate::fhir::validate::measures::{self, Code, Measure};
use crate::national::pack::{Form, Pack, Row, System};
use crate::national::{Measured, Message, NotDeliverable, Settings};

/// What an operator says where nothing is fixed: an arc of OIDs that is for examples.
const SAID: &str = "urn:oid:2.999.1";

/// By what name the person is known there.
pub(super) const LINKED: &str = "linked-1";

/// The guide's profiles of what the standard calls vital signs.
const VITAL: [&str; 10] = [
    "blood-pressure",
    "blood-pressure-average",
    "bmi",
    "body-height",
    "body-temperature",
    "body-weight",
    "head-circumference",
    "heart-rate",
    "oxygen-saturation",
    "respiratory-rate",
];

/// A person with everything that a destination may ask for.
pub struct Stage<'p> {
    pack: &'p Pack,
    settings: Settings,
    person: Document,
    device: Document,
    app: Document,
}

impl<'p> Stage<'p> {
    /// The error is what is wrong with the settings.
    pub fn of(pack: &'p Pack, said: &BTreeMap<String, String>) -> Result<Self, Vec<String>> {
        let mut all = said.clone();
        let asked = pack.settings.iter().enumerate();
        for (at, setting) in asked.filter(|(_, setting)| setting.default.is_none() && !setting.optional) {
            let usual = if pack.is_zone(at) { "UTC" } else { SAID };
            let example = setting.one_of.first().map_or(usual, String::as_str);
            all.entry(setting.name.clone()).or_insert_with(|| example.to_owned());
        }
        let settings = Settings::of(pack, &all)?;
        let systems = pack.known_by.iter().filter_map(|system| match system {
            System::Fixed(system) => Some(system.as_str()),
            System::Setting(at) => settings.get(*at),
        });
        let identifiers: Vec<Json> = systems.map(|system| json!({"system": system, "value": LINKED})).collect();
        let person = json!({
            "resourceType": "Patient", "id": "p", "identifier": identifiers, "gender": "female",
            "birthDate": "1970-05-04", "name": [{"text": "Anna Example", "family": "Example", "given": ["Anna"]}],
        });
        let device = json!({
            "resourceType": "Device", "id": "d", "manufacturer": "Example", "modelNumber": "M-1", "serialNumber": "1",
            "identifier": [{"system": "urn:oid:2.999.2", "value": "d-1"}],
        });
        let app = json!({
            "resourceType": "Device", "id": "a", "manufacturer": "Example",
            "deviceName": [{"name": "Diary", "type": "user-friendly-name"}], "version": [{"value": "1.0"}],
        });
        let [person, device, app] = [person, device, app].map(|one| read(&one));
        Ok(Stage { pack, settings, person, device, app })
    }

    /// The request that tells some measurements.
    pub fn told(&self, observations: &[Json]) -> Result<Json, NotDeliverable> {
        let read: Vec<Document> = observations.iter().map(read).collect();
        let contexts = self.pack.unasked();
        let measured: Vec<Measured<'_>> = read
            .iter()
            .map(|one| Measured {
                observation: Element::root(one),
                device: Some(Element::root(&self.device)),
                app: Some(Element::root(&self.app)),
                contexts: &contexts,
            })
            .collect();
        let person = Some(Element::root(&self.person));
        let message = Message { measured: &measured, person, settings: &self.settings, key: &[7; 32] };
        let body = self.pack.body(&message)?;
        Ok(serde_json::from_str(&body).expect("templates are JSON, and so is what they are filled with"))
    }
}

fn read(resource: &Json) -> Document {
    tree::parse(resource.to_string()).expect("what serde_json writes is JSON")
}

/// A measurement by the measure's own code, in its usual unit, with the value that is given or one that is common; as the
/// line of a pack wants its form.
pub fn measurement(pack: &Pack, row: &Row, value: Option<&Json>) -> Option<Json> {
    let components = row.named_parts();
    // A panel that needs nothing by name is told with whatever stands within others.
    let parts = pack.rows().iter().filter(|part| part.form == Form::Part).map(|part| part.measure.as_str());
    let components = match row.form {
        Form::Components | Form::Split if components.is_empty() => parts.collect(),
        _ => components,
    };
    made(&row.measure, row.form, &components, value)
}

/// The same of a measure that no pack says anything of: a panel has the components that are named.
pub fn made(key: &str, form: Form, components: &[&str], value: Option<&Json>) -> Option<Json> {
    let measure = measure(key)?;
    let mut sent = json!({
        "resourceType": "Observation", "id": "o", "meta": {"versionId": "1", "lastUpdated": "2026-05-04T07:00:01Z"},
        "extension": [
            {"url": format!("{STRUCTURES}mh-recording-method"), "valueCode": "automatic"},
            {"url": format!("{STRUCTURES}mh-meal-time"), "valueCode": "after"},
            {"url": "http://hl7.org/fhir/StructureDefinition/workflow-episodeOfCare",
                "valueReference": {"reference": "EpisodeOfCare/1"}},
        ],
        "derivedFrom": [{"reference": "Observation/o1"}, {"reference": "Observation/o2"}],
        "component": components.iter().filter_map(|key| component(key, None)).collect::<Vec<_>>(),
        "basedOn": [{"reference": "ServiceRequest/1/_history/2"}],
        "status": "final", "subject": {"reference": "Patient/p"}, "effectiveDateTime": "2026-05-04T07:00:00+02:00",
        "code": coded(measure)?,
    });
    if is_vital_sign(measure) {
        let system = "http://terminology.hl7.org/CodeSystem/observation-category";
        sent["category"] = json!([{"coding": [{"system": system, "code": "vital-signs"}]}]);
    }
    match form {
        Form::Series => {
            let unit = measure.units.first()?;
            let (low, high) = (unit.soft.0.normalize(), unit.soft.1.normalize());
            let sent = sent.as_object_mut()?;
            sent.remove("effectiveDateTime");
            let period = json!({"start": "2026-05-04T07:00:00+02:00", "end": "2026-05-04T08:00:00+02:00"});
            sent.insert("effectivePeriod".to_owned(), period);
            let samples = json!({
                "origin": {"value": 0, "system": ucum::SYSTEM, "code": unit.code},
                "period": 300_000, "dimensions": 1, "data": format!("{low} {high} E"),
            });
            sent.insert("valueSampledData".to_owned(), samples);
        }
        Form::Components | Form::Split => {}
        Form::Members => sent["hasMember"] = json!([{"reference": "Observation/o1"}, {"reference": "Observation/o2"}]),
        Form::Coded => sent["valueCodeableConcept"] = said(measure),
        _ => sent["valueQuantity"] = quantity(measure, value)?,
    }
    if components.is_empty() {
        sent.as_object_mut()?.remove("component");
    }
    Some(sent)
}

/// A value that is said and not counted; one of the measure's answers, where they are listed.
fn said(measure: &Measure) -> Json {
    match measure.answer.listed().and_then(|answers| answers.list.first()) {
        Some(one) => json!({"coding": [{"system": one.system, "code": one.code}], "text": "as it is"}),
        None => json!({"text": "as it is"}),
    }
}

/// Whether the standard calls it a vital sign, so that its category is fixed.
pub fn is_vital_sign(measure: &Measure) -> bool {
    measure.profiles.iter().any(|profile| VITAL.contains(profile))
}

/// A component of that measure, with the value that is given or one that is common.
pub(super) fn component(key: &str, value: Option<&Json>) -> Option<Json> {
    let measure = measure(key)?;
    match quantity(measure, value) {
        Some(value) => Some(json!({"code": coded(measure)?, "valueQuantity": value})),
        None => Some(json!({"code": coded(measure)?, "valueCodeableConcept": said(measure)})),
    }
}

fn quantity(measure: &Measure, value: Option<&Json>) -> Option<Json> {
    let unit = measure.units.first()?;
    // The largest common one, so that upper parts of a panel stay above lower ones.
    let common = || serde_json::from_str(&unit.soft.1.normalize().to_string()).ok();
    let value: Json = value.cloned().or_else(common)?;
    Some(json!({"value": value, "unit": unit.code, "system": ucum::SYSTEM, "code": unit.code}))
}

/// By the code that means this measure alone, and by the preferred one.
fn coded(measure: &Measure) -> Option<Json> {
    let (own, preferred) = (own_code(measure)?, measure.codes.first()?);
    let coding = |code: &Code| json!({"system": code.system, "code": code.code});
    let codings = if own == preferred { vec![coding(own)] } else { vec![coding(own), coding(preferred)] };
    Some(json!({"coding": codings}))
}

pub(super) fn measure(key: &str) -> Option<&'static Measure> {
    measures::all().iter().find(|measure| measure.key == key)
}

/// A code that means this measure alone, if there is one.
fn own_code(measure: &Measure) -> Option<&Code> {
    let alone = |code: &&Code| measures::measure(code.system, code.code).is_some_and(|one| one.key == measure.key);
    measure.codes.iter().find(alone).or(measure.codes.first())
}
