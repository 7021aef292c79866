//! What a measure without a unit is answered with: `profiles/measure-answers.csv`.
//!
//! A list of codes is that of the profile's value set, and as binding as it is there; it is held to by the measure's code
//! alone, whether or not a profile is claimed. What has no list here is not narrowed: its profile says what type it has.
//! What the profile has said of the same value already is not said again.

use std::fmt::Write;

use super::SYSTEMS;
use crate::fhir::ours::BASE;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;
use crate::fhir::validate::run::Run;
use crate::fhir::validate::scope::Found;

/// What says the value of a measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A number in one of the measure's units.
    Amount,
    /// Its components or members, each a measure of its own.
    Parts,
    Date,
    /// A code, and nobody says of which.
    Code,
    /// The same in a component of that measure.
    Component(&'static str),
    CodeOrBoolean,
    OneOf(Answers),
}

/// The codes that a measure is answered with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answers {
    /// Whether another is refused, or taken with a warning.
    pub required: bool,
    pub list: Vec<Code>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Code {
    pub system: String,
    pub code: &'static str,
    /// What it means, in words.
    pub text: &'static str,
}

/// The key of a measure with one line of what it is answered with.
pub(super) fn read(line: &'static str) -> Option<(&'static str, Answer)> {
    let mut fields = line.splitn(5, ',');
    let mut next = || fields.next();
    let (key, answer, system, code, text) = (next()?, next()?, next()?, next()?, next()?);
    let list = |required: bool| {
        let known = SYSTEMS.iter().find(|(name, _)| *name == system).map(|(_, system)| (*system).to_owned());
        let system = known.unwrap_or_else(|| format!("{BASE}/CodeSystem/{system}"));
        Answer::OneOf(Answers { required, list: vec![Code { system, code, text }] })
    };
    let answer = match answer {
        "parts" => Answer::Parts,
        "date" => Answer::Date,
        "code" => Answer::Code,
        "component" => Answer::Component(text),
        "code-or-boolean" => Answer::CodeOrBoolean,
        "required" => list(true),
        "extensible" => list(false),
        _ => return None,
    };
    Some((key, answer))
}

impl Answer {
    /// Takes in what another line says of the same measure.
    pub(super) fn take(&mut self, other: Answer) {
        match (self, other) {
            (Answer::OneOf(answers), Answer::OneOf(other)) => answers.list.extend(other.list),
            (this, other) => *this = other,
        }
    }

    /// The codes, where they are listed.
    pub fn listed(&self) -> Option<&Answers> {
        match self {
            Answer::OneOf(answers) => Some(answers),
            _ => None,
        }
    }
}

impl Answers {
    fn has(&self, coding: Element<'_>) -> bool {
        let (system, code) = (coding.text_of("system"), coding.text_of("code"));
        self.list.iter().any(|known| system == Some(&known.system) && code == Some(known.code))
    }

    /// `248218005 (awake) or 248220008 (asleep) of http://snomed.info/sct`
    fn said(&self) -> String {
        let mut out = String::new();
        for (at, one) in self.list.iter().enumerate() {
            out.push_str(match self.list.len() - at {
                _ if at == 0 => "",
                1 => " or ",
                _ => ", ",
            });
            out.push_str(one.code);
            if one.code.bytes().all(|byte| byte.is_ascii_digit()) {
                let _ = write!(out, " ({})", one.text.to_lowercase());
            }
        }
        let of = self.list.first().map(|one| one.system.as_str()).unwrap_or_default();
        let _ = write!(out, " of {of}");
        out
    }
}

/// Whether the value is one of the answers, by one of its codings. The value is what is being looked at.
pub(super) fn check<'d>(run: &mut Run<'_, 'd>, key: &str, answers: &Answers, value: &Found<'d>) {
    let codings = value.element.all("coding");
    if value.type_name == "CodeableConcept" && codings.into_iter().any(|coding| answers.has(coding)) {
        return;
    }
    let place = run.trail.expression();
    let is_of_binding = |id: Id| matches!(id, Id::BindingRequired | Id::BindingExtensible);
    if run.report.issues.iter().any(|issue| is_of_binding(issue.id) && issue.expression == place) {
        return;
    }
    let said = answers.said();
    if answers.required {
        run.issue(Id::MeasureAnswer, value.element, format!("{key} is answered with {said}."));
    } else {
        let text = format!("{key} is answered with {said}, where one of them fits.");
        run.issue(Id::MeasureAnswerOther, value.element, text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;
    use crate::fhir::validate::measures::{self, Measure};
    use crate::fhir::validate::{Options, Validator};

    const SNOMED: &str = "http://snomed.info/sct";

    #[test]
    fn an_answer_is_held_to_the_list_by_the_code_alone() {
        let validator = Validator::new(Registry::core());
        let own = |name: &str| format!("{BASE}/CodeSystem/{name}");
        let coded = |system: &str, code: &str| {
            format!(r#""valueCodeableConcept":{{"coding":[{{"system":"{system}","code":"{code}"}}],"text":"x"}}"#)
        };
        let stage = (own("measure"), "sleep-stage");
        let awake = (SNOMED.to_owned(), "1104441000000107");
        let flow = ("http://hl7.org/fhir/uv/phr/CodeSystem/observation-pghd-codes".to_owned(), "menstrualFlow");
        let tobacco = ("http://loinc.org".to_owned(), "72166-2");
        let (refused, doubted) = (Some(Id::MeasureAnswer), Some(Id::MeasureAnswerOther));
        for ((system, code), value, expected) in [
            (&stage, coded(SNOMED, "248218005"), None),
            (&stage, coded(SNOMED, "271649006"), refused),
            (&stage, coded("urn:other", "248218005"), refused),
            (&stage, r#""valueCodeableConcept":{"text":"awake"}"#.to_owned(), refused),
            (&stage, r#""valueString":"awake""#.to_owned(), refused),
            (&stage, r#""dataAbsentReason":{"text":"not worn"}"#.to_owned(), None),
            (&awake, coded(&own("consciousness"), "voice"), None),
            (&awake, coded(SNOMED, "248234008"), doubted),
            (&flow, coded(&own("menstrual-flow"), "heavy"), None),
            (&flow, coded(&own("menstrual-flow"), "unheard-of"), doubted),
            (&tobacco, coded(SNOMED, "266919005"), None),
        ] {
            let code = format!(r#""code":{{"coding":[{{"system":"{system}","code":"{code}"}}]}},{value}"#);
            let within = format!(r#""code":{{"text":"x"}},"component":[{{{code}}}]"#);
            for (of, path) in [(code, "Observation"), (within, "Observation.component[0]")] {
                let text = format!(r#"{{"resourceType":"Observation","status":"final",{of}}}"#);
                let document = json::parse(text.clone()).unwrap();
                let issues = validator.check(Element::root(&document), &Options::default()).issues;
                let ours = |id: &Id| matches!(id, Id::MeasureAnswer | Id::MeasureAnswerOther);
                let mut found = issues.iter().filter(|issue| ours(&issue.id));
                let one = found.next();
                assert_eq!(one.map(|issue| issue.id), expected, "{text}");
                assert!(
                    one.is_none_or(|issue| issue.expression.starts_with(&format!("{path}.value.ofType("))),
                    "{text}"
                );
                assert!(found.next().is_none(), "{text}");
            }
        }
    }

    #[test]
    fn the_text_names_the_codes_and_nothing_that_was_sent() {
        let validator = Validator::new(Registry::core());
        for (system, code, expected) in [
            (
                format!("{BASE}/CodeSystem/measure"),
                "sleep-stage",
                "sleep-stage is answered with 248218005 (awake), 248220008 (asleep), 60984000 (asleep without rapid eye \
                 movement) or 89129007 (asleep with rapid eye movement) of http://snomed.info/sct."
                    .to_owned(),
            ),
            (
                SNOMED.to_owned(),
                "1104441000000107",
                format!(
                    "level-of-consciousness is answered with alert, confusion, voice, pain or unresponsive of \
                     {BASE}/CodeSystem/consciousness, where one of them fits."
                ),
            ),
        ] {
            let text = format!(
                r#"{{"resourceType":"Observation","status":"final","code":{{"coding":[{{"system":"{system}",
                "code":"{code}"}}]}},"valueCodeableConcept":{{"text":"sent"}}}}"#
            );
            let document = json::parse(text).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            assert!(issues.iter().any(|issue| issue.text == expected), "{issues:?}");
        }
    }

    #[test]
    fn every_measure_says_what_it_is_answered_with() {
        for measure in measures::all() {
            if let Answer::Component(of) = measure.answer {
                let whole = measures::all().iter().find(|whole| whole.key == of).unwrap();
                assert!(measure.profiles.iter().all(|one| whole.profiles.contains(one)), "{}", measure.key);
            }
            assert_eq!(measure.units.is_empty(), measure.answer != Answer::Amount, "{}", measure.key);
            for one in measure.answer.listed().into_iter().flat_map(|answers| &answers.list) {
                assert!(!one.code.is_empty() && !one.text.is_empty(), "{}", measure.key);
            }
        }
    }

    /// The list is the value set of the profile, and the type one that it leaves.
    #[test]
    fn the_table_is_what_the_profiles_say() {
        for measure in measures::all() {
            let wanted: &[&str] = match measure.answer {
                // What is a component has no type that a profile of ours says.
                Answer::Amount | Answer::Parts | Answer::Component(_) => continue,
                Answer::Date => &["dateTime"],
                Answer::CodeOrBoolean => &["CodeableConcept", "boolean"],
                Answer::Code | Answer::OneOf(_) => &["CodeableConcept"],
            };
            for profile in &measure.profiles {
                let compiled = compiled("StructureDefinition", &format!("mh-{profile}"));
                let elements = compiled["differential"]["element"].as_array().unwrap();
                let value = elements.iter().find(|element| element["id"] == "Observation.value[x]").unwrap();
                let types: Vec<&str> =
                    value["type"].as_array().unwrap().iter().filter_map(|one| one["code"].as_str()).collect();
                assert!(wanted.iter().all(|one| types.contains(one)), "{} {types:?}", measure.key);
                let of_value = |element: &&Value| element["id"].as_str().unwrap().starts_with("Observation.value[x]");
                held_to(measure, elements.iter().filter(of_value).find_map(|element| element.get("binding")));
            }
        }
    }

    fn held_to(measure: &Measure, binding: Option<&Value>) {
        let listed: Option<BTreeSet<(String, String)>> = measure
            .answer
            .listed()
            .map(|answers| answers.list.iter().map(|one| (one.system.clone(), one.code.to_owned())).collect());
        let Some(binding) = binding else {
            // A list that no profile binds is a whole code system of the guide's, and refuses nothing.
            let Some(listed) = listed else { return };
            assert!(!measure.answer.listed().unwrap().required, "{}", measure.key);
            let (system, _) = listed.first().unwrap();
            assert_eq!(listed, concepts(system), "{}", measure.key);
            return;
        };
        let url = binding["valueSet"].as_str().unwrap();
        let set = compiled("ValueSet", url.rsplit('/').next().unwrap());
        let mut bound = BTreeSet::new();
        for include in set["compose"]["include"].as_array().unwrap() {
            let system = include["system"].as_str().unwrap();
            match include["concept"].as_array() {
                None => bound.extend(concepts(system)),
                Some(some) => {
                    bound.extend(some.iter().map(|one| (system.to_owned(), one["code"].as_str().unwrap().to_owned())));
                }
            }
        }
        assert_eq!(listed, Some(bound), "{}", measure.key);
        let required = measure.answer.listed().unwrap().required;
        assert_eq!(binding["strength"] == "required", required, "{}", measure.key);
    }

    /// The codes of a system of the guide's; the table has its words for them.
    fn concepts(system: &str) -> BTreeSet<(String, String)> {
        let compiled = compiled("CodeSystem", system.rsplit('/').next().unwrap());
        assert_eq!(compiled["url"], system);
        let all =
            measures::all().iter().filter_map(|measure| measure.answer.listed()).flat_map(|answers| &answers.list);
        let texts: BTreeSet<(&str, &str)> =
            all.filter(|one| one.system == system).map(|one| (one.code, one.text)).collect();
        let concept = |concept: &Value| {
            let text = |name: &str| concept[name].as_str().unwrap().to_owned();
            assert!(texts.contains(&(text("code").as_str(), text("display").as_str())), "{system} {concept}");
            (system.to_owned(), text("code"))
        };
        compiled["concept"].as_array().unwrap().iter().map(concept).collect()
    }

    fn compiled(kind: &str, id: &str) -> Value {
        let path = format!("{}/profiles/compiled/{kind}-{id}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }
}
