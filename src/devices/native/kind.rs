//! Which measure the codes of an Observation stand for, and the codes that it lacks.
//!
//! A code of a device may stand for several measures: glucose as mass or amount, steps or a distance. Every code of a
//! concept narrows the choice, then the unit of its value; what is still open stays open, and nothing is added.

use serde_json::{Map, Value, json};

use crate::devices::observation::codes_of;
use crate::fhir::terminology::ucum;
use crate::fhir::validate::measures::{self, LOINC, Measure};

/// Of several measures of one code, the one that says no more than the code does.
const PLAIN: [(&str, &str); 10] = [
    ("150364", "body-temperature"),
    ("8310-5", "body-temperature"),
    // MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD.
    ("160184", "glucose-capillary-mass"),
    ("160184", "glucose-capillary-molar"),
    ("bloodGlucose", "glucose-blood-mass"),
    ("bloodGlucose", "glucose-blood-molar"),
    ("434912009", "glucose-blood-mass"),
    ("434912009", "glucose-blood-molar"),
    // MDC_HF_DISTANCE counts steps where its unit is a step.
    ("8454247", "steps-interval"),
    ("stepCount", "steps-interval"),
];

/// Adds what codes the Observation and its components lack. The measure of the whole, where there is one.
pub(super) fn complete(observation: &mut Map<String, Value>) -> Option<&'static Measure> {
    let whole = observation.get("code").map(|code| code["coding"].clone());
    if let Some(Value::Array(components)) = observation.get_mut("component") {
        // One that is called as the whole is an item of it, and no measure beside it.
        let components = components.iter_mut().filter(|component| Some(&component["code"]["coding"]) != whole.as_ref());
        for component in components.filter_map(Value::as_object_mut) {
            name_unit(component);
            if let Some(measure) = of(component) {
                add(component, measure);
            }
        }
    }
    name_unit(observation);
    let measure = of(observation)?;
    add(observation, measure);
    Some(measure)
}

/// The measure of an Observation or a component.
pub(super) fn of(element: &Map<String, Value>) -> Option<&'static Measure> {
    let codings = element.get("code")?["coding"].as_array()?;
    let mut open: Option<Vec<&'static Measure>> = None;
    for coding in codings {
        let (Some(system), Some(code)) = (coding["system"].as_str(), coding["code"].as_str()) else { continue };
        let known: Vec<&'static Measure> =
            measures::all().iter().filter(|measure| has(measure, system, code)).collect();
        if known.is_empty() {
            continue;
        }
        open = Some(match open {
            None => known,
            Some(before) => before.into_iter().filter(|one| known.iter().any(|other| other.key == one.key)).collect(),
        });
    }
    let mut open = open?;
    if let Some(unit) = unit(element) {
        open.retain(|measure| measure.units.iter().any(|known| same(known.code, unit)));
    }
    if let [one] = open.as_slice() {
        return Some(one);
    }
    let named = |code: &Value| code["code"].as_str().is_some_and(|code| PLAIN.iter().any(|(plain, _)| *plain == code));
    let mut plain = open.into_iter().filter(|measure| {
        codings
            .iter()
            .filter(|coding| named(coding))
            .any(|coding| PLAIN.iter().any(|(code, key)| coding["code"] == *code && measure.key == *key))
    });
    let one = plain.next()?;
    plain.next().is_none().then_some(one)
}

fn has(measure: &Measure, system: &str, code: &str) -> bool {
    measure.codes.iter().any(|known| known.system == system && known.code == code)
}

/// Whether two units mean the same kind of amount. UCUM compares without what stands in braces, so counts of different
/// things are told apart by it.
fn same(known: &str, sent: &str) -> bool {
    let counted =
        |unit: &str| unit.starts_with('{').then(|| unit.trim_matches(['{', '}']).trim_end_matches('s').to_owned());
    match (counted(known), counted(sent)) {
        (Some(one), Some(other)) => one == other,
        _ => ucum::comparable(known, sent),
    }
}

fn unit(element: &Map<String, Value>) -> Option<&str> {
    let quantity = element.get("valueQuantity").or_else(|| element.get("valueSampledData")?.get("origin"))?;
    quantity["code"].as_str().filter(|_| quantity["system"] == ucum::SYSTEM)
}

/// Writes the unit of a quantity in words where only its code is there: R4 asks its vital signs for both.
fn name_unit(element: &mut Map<String, Value>) {
    let Some(code) = unit(element).map(str::to_owned) else { return };
    if let Some(quantity) = element.get_mut("valueQuantity").and_then(Value::as_object_mut) {
        quantity.entry("unit").or_insert(Value::String(code));
    }
}

/// Adds the codes of LOINC that the measure has and the concept lacks. Where the sender names another one, that is what was
/// meant, and it stays alone.
fn add(element: &mut Map<String, Value>, measure: &Measure) {
    let Some(code) = element.get_mut("code") else { return };
    let codings = super::list(code, "coding");
    let mut named =
        codings.iter().filter(|coding| coding["system"] == LOINC).filter_map(|coding| coding["code"].as_str());
    if !named.all(|code| has(measure, LOINC, code)) {
        return;
    }
    for known in codes_of(measure).filter(|code| code.system == LOINC) {
        if !codings.iter().any(|coding| coding["system"] == LOINC && coding["code"] == known.code) {
            codings.push(json!({"system": LOINC, "code": known.code}));
        }
    }
}
