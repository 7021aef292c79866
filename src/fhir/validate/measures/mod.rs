//! Measures: what a wearable's number may be, beyond what the standard says.
//!
//! `profiles/measures.csv` lists, per measure, the category that consent speaks of, the guide's profiles that carry it,
//! and per unit the range outside which a value is impossible (refused) or rare (accepted with a warning). A measure
//! without a unit there is a panel or not a number; it has a category and no range. `profiles/measure-codes.csv` lists
//! by which codes of LOINC, SNOMED CT, ISO/IEEE 11073 and others a measure is known: a device that says 150456 is held to
//! the same as an app that says 59408-5. A code that several measures share stands for any of them. What is no number is
//! answered as `answers` has it.
//! Beside the tables stand what several values must be to each other (`relations`), the points of a series (`samples`)
//! and the time of the measurement (`clock`).

pub mod answers;
pub mod category;
mod clock;
pub mod relations;
mod samples;

use std::sync::LazyLock;

use rust_decimal::Decimal;

use self::answers::Answer;
use super::run::Run;
use super::scope::named;
use crate::fhir::definitions::names::NameMap;
use crate::fhir::ours::MEASURE_SYSTEM;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{self, ucum};
use crate::fhir::tree::Element;

/// The system of LOINC codes.
pub const LOINC: &str = "http://loinc.org";

/// The system of SNOMED CT.
pub const SNOMED: &str = "http://snomed.info/sct";

/// The systems of codes, by the names that the table gives them.
const SYSTEMS: [(&str, &str); 5] = [
    ("loinc", LOINC),
    ("snomed", SNOMED),
    ("mdc", "urn:iso:std:iso:11073:10101"),
    ("pghd", "http://hl7.org/fhir/uv/phr/CodeSystem/observation-pghd-codes"),
    ("own", MEASURE_SYSTEM),
];

/// One kind of measurement, or several that share a code.
#[derive(Clone, Debug)]
pub struct Measure {
    pub key: String,
    /// What a person permits or denies: `heart-rate`, `sleep`.
    pub category: &'static str,
    /// The guide's profiles that carry it, without what all their names begin with.
    pub profiles: Vec<&'static str>,
    /// Who measures so: guides, platforms and surveys.
    pub source: &'static str,
    /// Allowed units; the first is the usual one.
    pub units: Vec<Unit>,
    pub answer: Answer,
    /// By what it is known, the preferred one first.
    pub codes: Vec<Code>,
    /// How many kinds of measurement it stands for.
    breadth: usize,
}

/// A unit with the ranges of values in it, bounds included.
#[derive(Clone, Debug)]
pub struct Unit {
    /// UCUM code.
    pub code: &'static str,
    /// What is possible.
    pub hard: (Decimal, Decimal),
    /// What is common.
    pub soft: (Decimal, Decimal),
}

/// A code by which a measure is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Code {
    pub system: &'static str,
    pub code: &'static str,
    /// Where it is found with that meaning, besides here; empty for what is nobody's but ours, or was not looked for.
    pub verified: &'static str,
}

struct Table {
    measures: Vec<Measure>,
    /// For each system, in their order.
    by_code: [NameMap<&'static str, Measure>; SYSTEMS.len()],
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut measures: Vec<Measure> = Vec::new();
    for line in include_str!("../../../../profiles/measures.csv").lines().skip(1) {
        let (measure, unit) = read(line).expect("profiles/measures.csv is part of the program, and a test reads it");
        match measures.iter_mut().find(|known| known.key == measure.key) {
            Some(known) => known.units.extend(unit),
            None => measures.push(Measure { units: unit.into_iter().collect(), ..measure }),
        }
    }
    for line in include_str!("../../../../profiles/measure-codes.csv").lines().skip(1) {
        let (key, code) =
            read_code(line).expect("profiles/measure-codes.csv is part of the program, and a test reads it");
        let known = measures.iter_mut().find(|measure| measure.key == key);
        known.expect("a code belongs to a measure, and a test reads them").codes.push(code);
    }
    for line in include_str!("../../../../profiles/measure-answers.csv").lines().skip(1) {
        let (key, answer) =
            answers::read(line).expect("profiles/measure-answers.csv is part of the program, and a test reads it");
        let known = measures.iter_mut().find(|measure| measure.key == key);
        known.expect("an answer belongs to a measure, and a test reads them").answer.take(answer);
    }
    measures.sort_by(|one, other| one.key.cmp(&other.key));
    let by_code = SYSTEMS.map(|(_, system)| {
        let mut of_system: NameMap<&'static str, Measure> = NameMap::default();
        for measure in &measures {
            for code in measure.codes.iter().filter(|code| code.system == system) {
                let known = of_system.entry(code.code);
                known.and_modify(|known| known.join(measure)).or_insert_with(|| measure.clone());
            }
        }
        of_system
    });
    Table { measures, by_code }
});

impl Code {
    /// Whether only earlier versions of the guide have it. They are enforced all the same, and consents speak of it.
    pub fn is_withdrawn(&self) -> bool {
        self.verified.starts_with("withdrawn")
    }
}

impl Measure {
    /// Takes in another measure of the same code: what either may be, it may be.
    fn join(&mut self, other: &Measure) {
        // What is not bounded in one is bounded in none.
        if self.units.is_empty() || other.units.is_empty() {
            self.units.clear();
        } else {
            self.take_units(other);
        }
        if self.answer != other.answer {
            self.answer = Answer::Code;
        }
        self.key = format!("{} or {}", self.key, other.key);
        self.breadth += other.breadth;
    }

    /// The allowed unit that a UCUM code is a spelling of. Almost always one is written as it stands here, which is told
    /// before any unit is taken apart.
    pub fn unit(&self, code: &str) -> Option<&Unit> {
        let as_is = self.units.iter().find(|unit| unit.code == code);
        as_is.or_else(|| self.units.iter().find(|unit| same(unit.code, code)))
    }

    fn take_units(&mut self, other: &Measure) {
        let wider = |one: &mut (Decimal, Decimal), other: (Decimal, Decimal)| {
            *one = (one.0.min(other.0), one.1.max(other.1));
        };
        for unit in &other.units {
            match self.units.iter_mut().find(|known| known.code == unit.code) {
                Some(known) => {
                    wider(&mut known.hard, unit.hard);
                    wider(&mut known.soft, unit.soft);
                }
                None => self.units.push(unit.clone()),
            }
        }
    }
}

fn read(line: &'static str) -> Option<(Measure, Option<Unit>)> {
    let (rest, source) = line.rsplit_once(',')?;
    let mut fields = rest.split(',');
    let mut next = || fields.next();
    let (key, category, profiles) = (next()?.to_owned(), next()?, next()?.split(' ').collect());
    let measure = Measure {
        key,
        category,
        profiles,
        source,
        units: Vec::new(),
        answer: Answer::Amount,
        codes: Vec::new(),
        breadth: 1,
    };
    let code = next()?;
    if code.is_empty() {
        return Some((measure, None));
    }
    let mut bound = || next()?.parse::<Decimal>().ok();
    let unit = Unit { code, hard: (bound()?, bound()?), soft: (bound()?, bound()?) };
    Some((measure, Some(unit)))
}

fn read_code(line: &'static str) -> Option<(&'static str, Code)> {
    let mut fields = line.split(',');
    let (key, name, code) = (fields.next()?, fields.next()?, fields.next()?);
    let (_display, verified) = (fields.next()?, fields.next()?);
    let (_, system) = SYSTEMS.iter().find(|(known, _)| *known == name)?;
    Some((key, Code { system, code, verified }))
}

/// The measure that a code of a system stands for, by whichever name of the system.
pub fn measure(system: &str, code: &str) -> Option<&'static Measure> {
    let place = |name: &str| SYSTEMS.iter().position(|(_, known)| *known == name);
    let at = place(system).or_else(|| place(terminology::named(system)))?;
    TABLE.by_code[at].get(code)
}

/// The measure that a CodeableConcept stands for. The code that says most counts: beside a general one, such as blood
/// glucose, a narrower one does.
pub fn measured(code: Element<'_>) -> Option<&'static Measure> {
    code.all("coding")
        .filter_map(|coding| measure(coding.text_of("system")?, coding.text_of("code")?))
        .min_by_key(|measure| measure.breadth)
}

/// The systems of codes, in the order of the table.
pub fn systems() -> impl Iterator<Item = &'static str> {
    SYSTEMS.iter().map(|(_, system)| *system)
}

/// Every kind of measurement, sorted by key.
pub fn all() -> &'static [Measure] {
    &TABLE.measures
}

/// Checks the value of an Observation and of its components against their measures.
pub(super) fn check<'d>(run: &mut Run<'_, 'd>, observation: Element<'d>) {
    clock::check(run, observation);
    check_value(run, observation);
    for component in named(observation, "component", Some(false)) {
        run.enter(&component);
        check_value(run, component.element);
        run.leave();
    }
    relations::check(run, observation);
}

fn check_value<'d>(run: &mut Run<'_, 'd>, element: Element<'d>) {
    let Some(measure) = element.get("code").and_then(measured) else { return };
    let listed = measure.answer.listed();
    if measure.units.is_empty() && listed.is_none() {
        return;
    }
    for value in named(element, "value", Some(true)) {
        run.enter(&value);
        if let Some(listed) = listed {
            answers::check(run, &measure.key, listed, &value);
            run.leave();
            continue;
        }
        match value.type_name {
            "Quantity" => check_quantity(run, measure, value.element),
            "Range" => {
                for (key, bound) in ["low", "high"].map(|key| (key, value.element.get(key))) {
                    if let Some(bound) = bound {
                        run.trail.push(key, key.len(), None);
                        check_quantity(run, measure, bound);
                        run.trail.pop();
                    }
                }
            }
            "SampledData" => samples::check(run, measure, value.element),
            _ => {}
        }
        run.leave();
    }
}

fn check_quantity<'d>(run: &mut Run<'_, 'd>, measure: &'static Measure, quantity: Element<'d>) {
    let Some(unit) = unit(run, measure, quantity) else { return };
    let Some(text) = quantity.text_of("value") else { return };
    // A number too large or too small to be computed with is no measurement either.
    let value = decimal(text);
    let outside = |(least, most): (Decimal, Decimal)| value.is_none_or(|value| value < least || value > most);
    let say =
        |(least, most): (Decimal, Decimal)| format!("{} lies between {least} and {most} {}", measure.key, unit.code);
    if outside(unit.hard) {
        run.issue(Id::MeasureImplausible, quantity, format!("{}; the value is outside.", say(unit.hard)));
    } else if outside(unit.soft) {
        run.issue(Id::MeasureUnusual, quantity, format!("{} as a rule; the value is outside.", say(unit.soft)));
    }
}

/// The allowed unit that a quantity is given in; an issue where it is another one. Without a code there is
/// nothing to compare, and whether one must be sent is the profile's matter.
fn unit<'d>(run: &mut Run<'_, 'd>, measure: &'static Measure, quantity: Element<'d>) -> Option<&'static Unit> {
    let code = quantity.text_of("code")?;
    let known = quantity.text_of("system") == Some(ucum::SYSTEM);
    let unit = if known { measure.unit(code) } else { None };
    if unit.is_none() {
        let allowed: Vec<&str> = measure.units.iter().map(|unit| unit.code).collect();
        let text = format!("{} is measured in {} (UCUM).", measure.key, allowed.join(" or "));
        run.issue(Id::MeasureUnit, quantity, text);
        // Said of the whole, it need not be said of each part that a profile fixes.
        let place = run.trail.expression();
        run.report.issues.retain(|issue| {
            let part = issue.expression.strip_prefix(&place).filter(|_| issue.id == Id::FixedValue);
            !matches!(part, Some(".code" | ".system" | ".unit"))
        });
    }
    unit
}

/// Spellings of one unit: annotations count for nothing, `l` is `L`, `1/(24.h)` is `/d` (UCUM §6, §12).
fn same(one: &str, other: &str) -> bool {
    one == other || ucum::convert(Decimal::ONE, other, one) == Some(Decimal::ONE)
}

fn decimal(text: &str) -> Option<Decimal> {
    text.parse().or_else(|_| Decimal::from_scientific(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;
    use crate::fhir::validate::{Options, Validator};

    #[test]
    fn the_table_can_be_read_and_makes_sense() {
        let measures = all();
        assert!(measures.len() > 110, "{}", measures.len());
        for measure in measures {
            assert!(!measure.codes.is_empty(), "{}", measure.key);
            for unit in &measure.units {
                assert!(ucum::valid(unit.code), "{} {}", measure.key, unit.code);
                assert!(unit.hard.0 <= unit.soft.0 && unit.soft.1 <= unit.hard.1, "{} {}", measure.key, unit.code);
                assert!(unit.soft.0 < unit.soft.1, "{} {}", measure.key, unit.code);
            }
        }
        assert_eq!(measure(LOINC, "8867-4").unwrap().category, "heart-rate");
        assert_eq!(measure(LOINC, "85354-9").unwrap().category, "blood-pressure");
        assert!(measure(LOINC, "0000-0").is_none());
        assert!(measure("urn:other", "8867-4").is_none());
    }

    #[test]
    fn every_loinc_code_says_who_else_has_it() {
        for measure in all() {
            for code in measure.codes.iter().filter(|code| code.system == LOINC) {
                assert!(!code.verified.is_empty(), "{} {}", measure.key, code.code);
            }
        }
    }

    #[test]
    fn measures_that_share_a_code_are_of_one_category() {
        for measure in all() {
            for code in &measure.codes {
                let shared = super::measure(code.system, code.code).unwrap();
                assert_eq!(shared.category, measure.category, "{} {}", code.system, code.code);
            }
        }
    }

    #[test]
    fn a_code_of_any_system_finds_its_measure() {
        let validator = Validator::new(Registry::core());
        let (mdc, snomed) = ("urn:iso:std:iso:11073:10101", "http://snomed.info/sct");
        for (codings, value, unit, expected) in [
            (&[(mdc, "150456")][..], "97", "%", None),
            (&[(mdc, "150456")], "0.97", "1", Some(Id::MeasureUnit)),
            (&[(mdc, "150456")], "12", "%", Some(Id::MeasureImplausible)),
            (&[(mdc, "149530")], "400", "/min", Some(Id::MeasureImplausible)),
            (&[(snomed, "276361009")], "15", "cm", Some(Id::MeasureImplausible)),
            // Mass and amount of substance share a code.
            (&[(mdc, "160184")], "100", "mg/dL", None),
            (&[(mdc, "160184")], "5.5", "mmol/L", None),
            (&[(mdc, "160184")], "5.5", "g/L", Some(Id::MeasureUnit)),
            (&[(mdc, "160184")], "100", "mmol/L", Some(Id::MeasureImplausible)),
            // The narrower code beside it counts.
            (&[(snomed, "434912009"), (LOINC, "14743-9")], "100", "mg/dL", Some(Id::MeasureUnit)),
            // Steps and metres share a code, too.
            (&[(mdc, "8454247")], "8000", "{steps}", None),
            (&[(mdc, "8454247")], "8000", "m", None),
            (&[(mdc, "8454247")], "8000", "kg", Some(Id::MeasureUnit)),
            (&[(MEASURE_SYSTEM, "hrv-rmssd")], "42", "ms", None),
            (&[(MEASURE_SYSTEM, "hrv-rmssd")], "42", "/min", Some(Id::MeasureUnit)),
        ] {
            let codings: Vec<String> =
                codings.iter().map(|(system, code)| format!(r#"{{"system":"{system}","code":"{code}"}}"#)).collect();
            let text = format!(
                r#"{{"resourceType":"Observation","status":"final","code":{{"coding":[{}]}},"valueQuantity":
                {{"value":{value},"unit":"x","system":"http://unitsofmeasure.org","code":"{unit}"}}}}"#,
                codings.join(",")
            );
            let document = json::parse(text).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            let ours = [Id::MeasureUnit, Id::MeasureImplausible];
            let found: Vec<Id> = issues.iter().map(|issue| issue.id).filter(|id| ours.contains(id)).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{codings:?} {value} {unit}");
        }
    }

    #[test]
    fn spellings_of_one_unit_are_one() {
        for (one, other, expected) in [
            ("{steps}", "1", true),
            ("{steps}/d", "/d", true),
            ("/min", "1/min", true),
            ("/min", "{beats}/min", true),
            ("kg", "g", false),
            ("Cel", "cel", false),
            ("Cel", "K", false),
            ("%", "1", false),
            ("mmol/L", "mmol/l", true),
            ("{steps}/d", "1/(24.h)", true),
            ("mL/min/kg{body_wt}", "mL/kg/min", true),
            ("/min", "bpm", false),
        ] {
            assert_eq!(same(one, other), expected, "{one} {other}");
        }
    }
}
