//! Measures: what a wearable's number may be, beyond what the standard says.
//!
//! `profiles/measures.csv` lists, per LOINC code, a key, the category that consent speaks of, and per unit
//! the range outside which a value is impossible (refused) or rare (accepted with a warning). A code without
//! a unit there is a panel or not a number; it has a category and no range. Beside it stand what several values must be
//! to each other (`relations`), the points of a series (`samples`) and the time of the measurement (`clock`).

mod clock;
pub mod relations;
mod samples;

use std::sync::LazyLock;

use rust_decimal::Decimal;

use super::run::Run;
use super::scope::named;
use crate::fhir::definitions::names::NameMap;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::Element;

const LOINC: &str = "http://loinc.org";

/// One kind of measurement.
#[derive(Debug)]
pub struct Measure {
    /// LOINC code.
    pub code: &'static str,
    pub key: &'static str,
    /// What a person permits or denies: `heart-rate`, `sleep`.
    pub category: &'static str,
    /// Who measures so: guides, platforms and surveys.
    pub source: &'static str,
    /// Allowed units; the first is the usual one.
    pub units: Vec<Unit>,
}

/// A unit with the ranges of values in it, bounds included.
#[derive(Debug)]
pub struct Unit {
    /// UCUM code.
    pub code: &'static str,
    /// What is possible.
    pub hard: (Decimal, Decimal),
    /// What is common.
    pub soft: (Decimal, Decimal),
}

static TABLE: LazyLock<NameMap<&'static str, Measure>> = LazyLock::new(|| {
    let mut table: NameMap<&'static str, Measure> = NameMap::default();
    for line in include_str!("../../../../profiles/measures.csv").lines().skip(1) {
        let (measure, unit) = read(line).expect("profiles/measures.csv is part of the program, and a test reads it");
        table.entry(measure.code).or_insert(measure).units.extend(unit);
    }
    table
});

fn read(line: &'static str) -> Option<(Measure, Option<Unit>)> {
    let (rest, source) = line.rsplit_once(',')?;
    let mut fields = rest.split(',');
    let mut next = || fields.next();
    let measure = Measure { code: next()?, key: next()?, category: next()?, source, units: Vec::new() };
    let code = next()?;
    if code.is_empty() {
        return Some((measure, None));
    }
    let mut bound = || next()?.parse::<Decimal>().ok();
    let unit = Unit { code, hard: (bound()?, bound()?), soft: (bound()?, bound()?) };
    Some((measure, Some(unit)))
}

/// The measure of a LOINC code.
pub fn measure(code: &str) -> Option<&'static Measure> {
    TABLE.get(code)
}

/// Every measure, sorted by key and code.
pub fn all() -> Vec<&'static Measure> {
    let mut measures: Vec<&Measure> = TABLE.values().collect();
    measures.sort_by_key(|measure| (measure.key, measure.code));
    measures
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
    let codings = element.get("code").into_iter().flat_map(|code| code.all("coding"));
    let measure = codings
        .filter(|coding| coding.text_of("system") == Some(LOINC))
        .find_map(|coding| measure(coding.text_of("code")?));
    let Some(measure) = measure.filter(|measure| !measure.units.is_empty()) else { return };
    for value in named(element, "value", Some(true)) {
        run.enter(&value);
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
    let unit = measure.units.iter().find(|unit| known && same(unit.code, code));
    if unit.is_none() {
        let allowed: Vec<&str> = measure.units.iter().map(|unit| unit.code).collect();
        let text = format!("{} is measured in {} (UCUM).", measure.key, allowed.join(" or "));
        run.issue(Id::MeasureUnit, quantity, text);
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

    #[test]
    fn the_table_can_be_read_and_makes_sense() {
        let measures = all();
        assert!(measures.len() > 80, "{}", measures.len());
        for measure in measures {
            for unit in &measure.units {
                assert!(ucum::valid(unit.code), "{} {}", measure.key, unit.code);
                assert!(unit.hard.0 <= unit.soft.0 && unit.soft.1 <= unit.hard.1, "{} {}", measure.key, unit.code);
                assert!(unit.soft.0 < unit.soft.1, "{} {}", measure.key, unit.code);
            }
        }
        assert_eq!(measure("8867-4").unwrap().category, "heart-rate");
        assert_eq!(measure("85354-9").unwrap().category, "blood-pressure");
        assert!(measure("0000-0").is_none());
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
