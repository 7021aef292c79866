//! A first version of a pack, from answers and from what the destination publishes itself.
//!
//! What is said wins over what was found, and what was found over what is usual. What comes out is a pack that loads: whoever
//! writes it goes on from there with an editor.

mod files;
mod material;
mod unmet;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use material::{found, is_about_packs};
pub use unmet::unmet;

use super::compile::{CODE_COLUMNS, CODES, MAIN, MEASURE_COLUMNS, MEASURES, gathered};
use super::table::rows;
use super::{Mistake, trial, written};
use crate::fhir::validate::measures;

/// What a pack is drafted of: what an integrator says, in a file or at a terminal.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    pub id: Option<String>,
    pub version: Option<String>,
    pub title: Option<String>,
    /// ISO 3166-1 code, or `EU`.
    pub country: Option<String>,
    pub country_name: Option<String>,
    /// Release of FHIR.
    pub fhir: Option<String>,
    /// The specification that it follows.
    pub source: Option<String>,
    pub request: Option<Shape>,
    /// Below the address of the destination.
    pub path: Option<String>,
    /// Most measurements of one request.
    pub most: Option<usize>,
    pub person: Option<Naming>,
    /// System of the identifiers by which persons are known there; without one it is a setting of the operator's.
    pub person_system: Option<String>,
    /// What each measurement carries besides what R4 asks for.
    pub elements: Option<Vec<Extra>>,
    /// How each measure is told. None of them: every measure of the guide's, as the guide has it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, Line>,
}

/// What carries the measurements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// One Observation by itself.
    Single,
    Transaction,
    Batch,
    Collection,
}

/// How the subject is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Naming {
    /// `Patient/` and the id that the destination knows.
    Reference,
    Identifier,
}

/// An element that destinations ask for beyond the measurement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extra {
    Identifier,
    Issued,
    Performer,
    Device,
    Narrative,
}

/// How one measure is told.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Line {
    pub form: Option<String>,
    pub profile: String,
    /// Codes of observation-category or of another system: `code`, or `system|code`.
    pub categories: Vec<String>,
    pub codes: Vec<Code>,
    pub unit: Option<String>,
    pub unit_text: String,
    pub number: String,
    pub times: String,
    pub plus: String,
    pub time: String,
    /// Measures of the components that are told with it.
    pub parts: Vec<String>,
    /// Why it is refused, where its form is `refused`.
    pub note: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    pub system: String,
    pub code: String,
    #[serde(default)]
    pub display: String,
}

impl Answers {
    /// Reads a file of answers.
    pub fn read(file: &str, text: &str) -> Result<Answers, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        match written::read(file, text, &[], &mut mistakes).0 {
            Some(answers) if mistakes.is_empty() => Ok(answers),
            _ => Err(gathered(mistakes)),
        }
    }

    /// These, and where they say nothing, others.
    #[must_use]
    pub fn or(self, other: Answers) -> Answers {
        let mut measures = other.measures;
        measures.extend(self.measures);
        Answers {
            id: self.id.or(other.id),
            version: self.version.or(other.version),
            title: self.title.or(other.title),
            country: self.country.or(other.country),
            country_name: self.country_name.or(other.country_name),
            fhir: self.fhir.or(other.fhir),
            source: self.source.or(other.source),
            request: self.request.or(other.request),
            path: self.path.or(other.path),
            most: self.most.or(other.most),
            person: self.person.or(other.person),
            person_system: self.person_system.or(other.person_system),
            elements: self.elements.or(other.elements),
            measures,
        }
    }

    /// What is usual.
    pub fn usual() -> Answers {
        let some = |text: &str| Some(text.to_owned());
        Answers {
            id: some("new-pack"),
            version: some("0.1.0"),
            title: some("New destination"),
            country: some("EU"),
            country_name: some("European Union"),
            fhir: some("4.0.1"),
            source: some("drafted"),
            request: Some(Shape::Transaction),
            path: some(""),
            most: Some(50),
            person: Some(Naming::Reference),
            person_system: None,
            elements: Some(vec![Extra::Identifier, Extra::Issued, Extra::Performer]),
            measures: BTreeMap::new(),
        }
    }

    /// Every measure of the guide's by its preferred code in its usual unit, for a destination that takes what comes.
    pub fn as_the_guide_has_it() -> BTreeMap<String, Line> {
        let own = measures::all().iter().filter(|measure| !measure.units.is_empty() || files::is_panel(&measure.key));
        let line = |measure: &measures::Measure| {
            let code = measure.codes.first()?;
            let code = Code { system: code.system.to_owned(), code: code.code.to_owned(), display: String::new() };
            // Of measures that share code and unit, the plainest stands for all.
            let unit = measure.units.first().map(|unit| unit.code);
            let meant = material::meant(std::slice::from_ref(&code), unit)?;
            (meant.key == measure.key).then(|| {
                let category = trial::is_vital_sign(measure).then(|| "vital-signs".to_owned());
                (
                    measure.key.clone(),
                    Line { codes: vec![code], categories: category.into_iter().collect(), ..Line::default() },
                )
            })
        };
        own.filter_map(line).collect()
    }
}

/// The files of a pack, by name. The mistakes are what is wrong with the answers.
pub fn draft(answers: &Answers) -> Result<BTreeMap<String, String>, Vec<Mistake>> {
    let files = files::written(&answers.clone().or(Answers::usual()));
    super::Pack::compile(&files).map(|_| files)
}

/// Everything that is wrong with what is drafted: by the line of the file of answers that says so, where one does, and else
/// by the pack's own.
pub fn mistakes(answers: &Answers, said: Option<(&str, &str)>) -> Vec<Mistake> {
    let whole = answers.clone().or(Answers::usual());
    let files = files::written(&whole);
    let mut found = trial::each(&files).mistakes;
    if let Some((file, text)) = said {
        let places = written::read::<Answers>(file, text, &[], &mut Vec::new()).1;
        for mistake in &mut found {
            if let Some(key) = answer(mistake, &whole, &files).into_iter().find(|key| places.has(key)) {
                (mistake.file, mistake.line) = (file.to_owned(), Some(places.line(&key)));
            }
        }
    }
    gathered(found)
}

/// The keys of answers that a mistake of the draft may come from, the closest first.
fn answer(mistake: &Mistake, answers: &Answers, files: &BTreeMap<String, String>) -> Vec<String> {
    let what = mistake.text.split([' ', ':']).next().unwrap_or_default();
    match mistake.file.as_str() {
        MAIN => match what.split('.').collect::<Vec<_>>().as_slice() {
            ["categories", name, ..] => files::categorised(&answers.measures, name),
            ["person", ..] => vec!["person_system".to_owned()],
            [.., key] => vec![(*key).to_owned()],
            [] => Vec::new(),
        },
        MEASURES => {
            let rows = rows(MEASURES, files, MEASURE_COLUMNS, &mut Vec::new()).rows;
            let row = rows.iter().find(|row| Some(row.line) == mistake.line);
            let measure = row.map(|row| format!("measures.{}", row.get(0)));
            let column = if what == "category" { "categories" } else { what };
            measure.into_iter().flat_map(|measure| [format!("{measure}.{column}"), measure]).collect()
        }
        CODES => {
            let rows = rows(CODES, files, CODE_COLUMNS, &mut Vec::new()).rows;
            let Some(row) = rows.iter().find(|row| Some(row.line) == mistake.line) else { return Vec::new() };
            let own = rows.iter().filter(|other| other.get(0) == row.get(0));
            let before = own.take_while(|other| other.line < row.line).count();
            let codes = format!("measures.{}.codes", row.get(0));
            vec![format!("{codes}.{before}.{what}"), format!("{codes}.{before}"), format!("measures.{}", row.get(0))]
        }
        _ => Vec::new(),
    }
}

/// Measurements of the guide's as a Bundle that a gateway takes: one of each measure that the pack takes.
pub fn bundle(pack: &super::Pack) -> Json {
    let taken = pack.rows().iter().filter(|row| row.form != super::Form::Part && !row.is_refused());
    let entries = taken.filter_map(|row| {
        let mut one = super::trial::measurement(pack, row, None)?;
        one["id"] = row.measure.clone().into();
        Some(
            serde_json::json!({"fullUrl": format!("https://example.org/Observation/{}", row.measure), "resource": one}),
        )
    });
    serde_json::json!({"resourceType": "Bundle", "type": "collection", "entry": entries.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Form, Pack};
    use super::*;

    fn profile(id: &str, code: &str, unit: &str) -> Json {
        json!({
            "resourceType": "StructureDefinition", "kind": "resource", "type": "Observation", "derivation": "constraint",
            "fhirVersion": "4.0.1", "url": format!("https://health.example/fhir/StructureDefinition/{id}"),
            "differential": {"element": [
                {"id": "Observation.code", "path": "Observation.code", "patternCodeableConcept":
                    {"coding": [{"system": "http://loinc.org", "code": code}]}},
                {"id": "Observation.value[x].code", "path": "Observation.value[x].code", "fixedCode": unit},
                {"id": "Observation.device", "path": "Observation.device", "min": 1},
            ]},
        })
    }

    #[test]
    fn what_a_destination_publishes_becomes_a_pack_that_loads() {
        let example = json!({
            "resourceType": "Observation", "status": "final",
            "meta": {"profile": ["https://health.example/fhir/StructureDefinition/steps"]},
            "category": [{"coding": [{"system": "https://health.example/categories", "code": "fitness"}]}],
            "code": {"coding": [{"system": "https://health.example/codes", "code": "ST"},
                {"system": "http://loinc.org", "code": "41950-7"}]},
            "subject": {"identifier": {"system": "urn:oid:1.2.3", "value": "x"}},
            "effectiveDateTime": "2026-05-04", "issued": "2026-05-04T07:00:00Z",
            "valueQuantity": {"value": 9412, "unit": "steps", "system": "http://unitsofmeasure.org", "code": "1"},
        });
        let request = json!({"resourceType": "Bundle", "type": "batch", "entry": [
            {"resource": example, "request": {"method": "POST", "url": "Observation"}}]});
        let capability =
            json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "title": "Health account"});
        let material: Vec<Json> =
            vec![capability, profile("weight", "29463-7", "kg"), profile("heart", "8867-4", "/min"), request.clone()];
        let answers = Answers { id: Some("xx-account".to_owned()), ..Answers::default() }.or(found(&material));
        let files = draft(&answers).unwrap();
        let pack = Pack::compile(&files).unwrap();
        assert_eq!((pack.title.as_str(), pack.rows().len()), ("Health account", 3), "{pack}");
        let weight = pack.row("body-weight").unwrap();
        assert_eq!((weight.form, weight.unit.as_ref().unwrap().code.as_str()), (Form::Quantity, "kg"));
        let steps = pack.row("steps-daily").unwrap();
        assert_eq!(steps.unit.as_ref().unwrap().text, "steps");
        let tried = trial::run(&pack, &BTreeMap::new(), &[("request.json".to_owned(), request)], &[].into()).unwrap();
        assert!(tried.passes(), "{:?}", tried.examples);
        let told = trial::Stage::of(&pack, &BTreeMap::new()).unwrap();
        let told = told.told(&[trial::measurement(&pack, weight, None).unwrap()]).unwrap();
        let weight = &told["entry"][0]["resource"];
        assert_eq!(told["type"], "batch");
        assert_eq!(weight["subject"]["identifier"]["system"], "urn:oid:1.2.3");
        assert!(weight["device"]["identifier"]["value"].is_string() || weight["device"]["display"].is_string());
    }

    #[test]
    fn components_of_examples_become_parts() {
        let unit = |code: &str| json!({"system": "http://unitsofmeasure.org", "code": code});
        let counted = |system: &str, code: &str, value: u8, own: &str| {
            let mut quantity = unit(own);
            quantity["value"] = value.into();
            json!({"code": {"coding": [{"system": system, "code": code}]}, "valueQuantity": quantity})
        };
        let said = |code: &str| {
            let value = json!({"coding": [{"system": "http://snomed.info/sct", "code": "33586001"}]});
            json!({"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueCodeableConcept": value})
        };
        let (loinc, sct) = ("http://loinc.org", "http://snomed.info/sct");
        let example = |own: Json, components: Vec<Json>| {
            let mut example = json!({
                "resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/1"},
                "effectiveDateTime": "2026-05-04T07:00:00Z", "identifier": [{"value": "1"}],
                "issued": "2026-05-04T07:00:00Z", "performer": [{"reference": "Patient/1"}],
                "component": components,
            });
            let members = own.as_object().unwrap().clone();
            example.as_object_mut().unwrap().extend(members);
            example
        };
        let pressure = [counted(loinc, "8480-6", 120, "mm[Hg]"), counted(loinc, "8462-4", 80, "mm[Hg]")];
        let pressure = pressure.into_iter().chain([counted(sct, "87179004", 40, "mm[Hg]"), said("8361-8")]);
        let panel = json!({"code": {"coding": [{"system": loinc, "code": "85354-9"}]}});
        let score = counted(sct, "1104051000000101", 3, "{score}");
        let ranges = json!({"code": {"coding": [{"system": loinc, "code": "106793-3"}]}});
        let within = vec![counted(loinc, "97510-2", 74, "%")];
        let material = vec![
            example(panel, pressure.collect()),
            example(score, vec![counted(sct, "1104301000000104", 3, "{score}")]),
            example(ranges, within.clone()),
            example(within[0].clone(), Vec::new()),
        ];
        let files = draft(&found(&material)).unwrap();
        let pack = Pack::compile(&files).unwrap();
        for (key, form, parts) in [
            ("blood-pressure", Form::Components, "systolic-bp diastolic-bp pulse-pressure body-position"),
            ("news2", Form::Quantity, "news2-respiration"),
            ("cgm-times-in-ranges", Form::Components, "cgm-time-in-range"),
            ("cgm-time-in-range", Form::Quantity, ""),
            ("body-position", Form::Part, ""),
        ] {
            let row = pack.row(key).unwrap();
            assert_eq!((row.form, row.parts.join(" ").as_str()), (form, parts), "{key}");
        }
        let material: Vec<(String, Json)> = material.into_iter().map(|one| ("example.json".to_owned(), one)).collect();
        let tried = trial::run(&pack, &BTreeMap::new(), &material, &[].into()).unwrap();
        assert!(tried.passes(), "{:?}", tried.examples);
    }

    #[test]
    fn whoever_says_nothing_gets_every_measure_as_the_guide_has_it() {
        let files = draft(&Answers::default()).unwrap();
        let pack = Pack::compile(&files).unwrap();
        assert!(pack.rows().len() > 80, "{}", pack.rows().len());
        let stage = trial::Stage::of(&pack, &BTreeMap::new()).unwrap();
        assert_eq!(
            trial::requests(&pack, &stage).count(),
            pack.rows().iter().filter(|row| row.form != Form::Part).count()
        );
    }

    #[test]
    fn answers_are_held_to_the_rules_of_packs() {
        let answers = Answers::read(
            "answers.toml",
            "id = \"XX\"\n[measures.body-weight]\nunit = \"stone\"\n[measures.nothing]\nunit = \"kg\"",
        );
        let mistakes = draft(&answers.unwrap()).unwrap_err();
        let said: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        for part in ["pack.toml:", "unit: expected is UCUM", "measure: expected is a key"] {
            assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:?}");
        }
        let wrong = Answers::read("answers.toml", "id = \"a\"\nshape = 1\nmost = \"x\"").unwrap_err();
        let said: Vec<(Option<u64>, &str)> = wrong.iter().map(|one| (one.line, one.file.as_str())).collect();
        assert_eq!(said, [(Some(2), "answers.toml"), (Some(3), "answers.toml")]);
    }

    #[test]
    fn a_mistake_of_answers_has_their_line() {
        for (text, expected) in [
            ("id = \"XX\"\ncountry = \"ZZ\"", &["a.toml:1: id consists", "a.toml:2: country: ISO 3166-1 gives ZZ"][..]),
            (
                "path = \"/x\"\nmost = 0\nfhir = \"4\"",
                &["a.toml:1: request.path is", "a.toml:2: request.most is", "a.toml:3: fhir is"],
            ),
            ("\n\nperson = \"identifier\"\nperson_system = \"persons\"", &["a.toml:4: person.identifiers.0 is a URI"]),
            (
                "[measures.body-weight]\nunit = \"stone\"\nnumber = \"x\"\n[measures.nothing]\nunit = \"kg\"",
                &[
                    "a.toml:2: unit: expected is UCUM",
                    "a.toml:3: number: expected",
                    "a.toml:4: measure: expected is a key",
                ],
            ),
            (
                "[measures.body-weight]\ncategories = [\"vital-signs\"]\ncodes = [\n  { system = \"http://loinc.org\", code = \"29463-7\" },\n  { system = \"http://loinc.com\", code = \"3141-9\" },\n]",
                &["a.toml:5: system: nobody knows http://loinc.com"],
            ),
            ("[measures.body-weight]\ncategories = [\"vital-sign\"]", &["a.toml:2: categories.vital-sign: code: "]),
            // What nobody said is told by the pack's own line.
            (
                "[measures.body-weight]\nform = \"series\"\nprofile = \"x\"\nunit = \"\"",
                &["a.toml:3: profile: expected", "a.toml:4: unit: expected"],
            ),
        ] {
            let answers = Answers::read("a.toml", text).unwrap();
            let told: Vec<String> =
                mistakes(&answers, Some(("a.toml", text))).iter().map(ToString::to_string).collect();
            let each = expected.iter().zip(&told).all(|(expected, told)| told.starts_with(expected));
            assert!(each && told.len() == expected.len(), "{text}: {told:#?}");
        }
    }
}
