//! What a measurement says, whoever recorded it: the same reading of a watch, a phone and a vendor's cloud is one.
//!
//! Two records of one client are the same reading where person, measure, time and value are the same: times as moments,
//! values in the measure's usual unit, so that neither an offset nor a unit makes a difference. What says where a record
//! came from is no part of it. Records that merely overlap are readings of their own, and nothing is ever added up.

use super::prepare::Prepared;
use crate::exchange::Caller;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::time::{Moment, Precision};
use crate::fhir::tree::{Element, hash};
use crate::fhir::validate::measures;

/// Digits that a converted value is compared by: a factor such as that of pounds is longer than any sensor is exact.
const DIGITS: u32 = 9;

/// The key of a reading; none for what has no precise time or no known measure, which is always a record of its own.
pub(super) fn key(caller: &Caller<'_>, prepared: &Prepared) -> Option<[u8; 16]> {
    let element = prepared.validated.element();
    let (_, patient) = prepared.patient.as_ref()?;
    let measure = measures::measured(element.get("code")?)?;
    let (start, end) = times(element)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&patient.0);
    text(&caller.principal.client, &mut hasher);
    text(&measure.key, &mut hasher);
    hasher.update(&start.to_le_bytes());
    hasher.update(&end.to_le_bytes());
    said(element, &mut hasher);
    // Components have no order of their own.
    let mut components: Vec<[u8; 32]> = element
        .all("component")
        .map(|component| {
            let mut hasher = blake3::Hasher::new();
            match component.get("code").and_then(measures::measured) {
                Some(measure) => text(&measure.key, &mut hasher),
                None => content(component.get("code"), &mut hasher),
            }
            said(component, &mut hasher);
            *hasher.finalize().as_bytes()
        })
        .collect();
    components.sort_unstable();
    for component in components {
        hasher.update(&component);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Some(key)
}

/// Where it begins and ends, as moments: how many digits one of them was written with makes no other reading.
fn times(element: Element<'_>) -> Option<(i128, i128)> {
    if let Some(time) = element.text_of("effectiveDateTime") {
        let at = moment(time)?;
        return Some((at, at));
    }
    let period = element.get("effectivePeriod")?;
    Some((moment(period.text_of("start")?)?, moment(period.text_of("end")?)?))
}

/// A time to the second at least.
fn moment(text: &str) -> Option<i128> {
    Moment::parse(text).filter(|moment| moment.precision >= Precision::Second)?.begins_ns()
}

/// Elements beside the code and the value that change what is said.
const QUALIFIED: [&str; 4] = ["method", "bodySite", "dataAbsentReason", "interpretation"];

fn said(element: Element<'_>, hasher: &mut blake3::Hasher) {
    for (name, child) in element.children() {
        if name.starts_with("value") {
            text(name, hasher);
            match quantity(element, child).filter(|_| name == "valueQuantity") {
                Some(value) => text(&value, hasher),
                None => content(Some(child), hasher),
            }
        }
    }
    for name in QUALIFIED {
        for child in element.all(name) {
            text(name, hasher);
            content(Some(child), hasher);
        }
    }
}

/// A value in the usual unit of its measure, as its shortest digits.
fn quantity(element: Element<'_>, value: Element<'_>) -> Option<String> {
    let measure = measures::measured(element.get("code")?)?;
    let usual = measure.units.first()?.code;
    let digits = ucum::digits_in(value.text_of("value")?, value.text_of("code")?, usual, DIGITS)?;
    Some(format!("{}{digits} {usual}", value.text_of("comparator").unwrap_or_default()))
}

fn content(element: Option<Element<'_>>, hasher: &mut blake3::Hasher) {
    if let Some(element) = element {
        hasher.update(&hash::content(element.document(), element.node()));
    }
}

fn text(text: &str, hasher: &mut blake3::Hasher) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    #[test]
    fn moments_are_the_same_however_they_are_written() {
        let of = |effective: &str| {
            let document = json::parse(format!(r#"{{"resourceType": "Observation", {effective}}}"#)).unwrap();
            times(Element::root(&document))
        };
        let at = of(r#""effectiveDateTime": "2026-01-15T12:30:00Z""#);
        assert!(at.is_some());
        for same in ["2026-01-15T12:30:00.000Z", "2026-01-15T13:30:00.0+01:00"] {
            assert_eq!(of(&format!(r#""effectiveDateTime": "{same}""#)), at, "{same}");
        }
        for other in ["2026-01-15T12:30:00.0001Z", "2026-01-15T12:30:01Z", "2026-01-15T12:30:00", "2026-01-15"] {
            assert_ne!(of(&format!(r#""effectiveDateTime": "{other}""#)), at, "{other}");
        }
        let period =
            |start: &str, end: &str| of(&format!(r#""effectivePeriod": {{"start": "{start}", "end": "{end}"}}"#));
        let steps = period("2026-01-15T12:00:00Z", "2026-01-15T12:15:00Z");
        assert!(steps.is_some());
        assert_eq!(period("2026-01-15T12:00:00.000Z", "2026-01-15T13:15:00.00+01:00"), steps);
        assert_ne!(period("2026-01-15T12:00:00Z", "2026-01-15T12:15:00.5Z"), steps);
        assert_eq!(period("2026-01-15T12:00:00Z", "2026-01-15"), None);
    }
}
