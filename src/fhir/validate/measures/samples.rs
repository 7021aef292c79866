//! The points of a SampledData against the measure's range (R4 §2.24.0.12): origin plus factor times point.

use rust_decimal::Decimal;

use super::{Measure, Unit, decimal, unit};
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;
use crate::fhir::validate::run::Run;
use crate::fhir::validate::scope::Found;

pub(super) fn check<'d>(run: &mut Run<'_, 'd>, measure: &'static Measure, samples: Element<'d>) {
    let unit = samples.get("origin").and_then(|origin| {
        run.enter(&Found { element: origin, key: "origin", name: 6, index: None, type_name: "" });
        let unit = unit(run, measure, origin);
        run.leave();
        unit
    });
    let Some(data) = samples.get("data") else { return };
    run.trail.push("data", "data".len(), None);
    points(run, measure, samples, data, unit);
    run.trail.pop();
}

fn points<'d>(
    run: &mut Run<'_, 'd>,
    measure: &Measure,
    samples: Element<'d>,
    data: Element<'d>,
    unit: Option<&'static Unit>,
) {
    let Some(text) = data.string() else { return };
    let number = |element: Option<Element<'_>>, default: Decimal| match element {
        None => Some(default),
        Some(element) => element.text().and_then(decimal),
    };
    let origin = number(samples.get("origin").and_then(|origin| origin.get("value")), Decimal::ZERO);
    let factor = number(samples.get("factor"), Decimal::ONE);
    let (mut count, mut hard, mut soft) = (0_u64, false, false);
    for point in text.split_ascii_whitespace() {
        count += 1;
        // Error, below and above what the device can measure: no value.
        if matches!(point, "E" | "U" | "L") {
            continue;
        }
        let Some(point) = decimal(point) else {
            let text = "The points must be decimals, E, U or L, with spaces between them.";
            run.issue(Id::MeasureSamples, data, text.to_owned());
            return;
        };
        let (Some(unit), Some(origin), Some(factor)) = (unit, origin, factor) else { continue };
        let value = point.checked_mul(factor).and_then(|scaled| scaled.checked_add(origin));
        let outside = |(least, most): (Decimal, Decimal)| value.is_none_or(|value| value < least || value > most);
        hard |= outside(unit.hard);
        soft |= outside(unit.soft);
    }
    let dimensions = samples.text_of("dimensions").and_then(|text| text.parse::<u64>().ok()).filter(|count| *count > 0);
    if dimensions.is_some_and(|dimensions| count % dimensions != 0) {
        let text = "The number of points must be a multiple of the dimensions.";
        run.issue(Id::MeasureSamples, data, text.to_owned());
    }
    let Some(unit) = unit else { return };
    let say =
        |(least, most): (Decimal, Decimal)| format!("{} lies between {least} and {most} {}", measure.key, unit.code);
    if hard {
        run.issue(Id::MeasureImplausible, data, format!("{}; a point is outside.", say(unit.hard)));
    } else if soft {
        run.issue(Id::MeasureUnusual, data, format!("{} as a rule; a point is outside.", say(unit.soft)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;
    use crate::fhir::validate::{Options, Validator};

    #[test]
    fn points_are_held_against_the_range() {
        let validator = Validator::new(Registry::core());
        for (data, factor, dimensions, expected) in [
            ("60 61.5 E U L 62", "1", 1, &[][..]),
            ("60 600", "1", 1, &[Id::MeasureImplausible]),
            ("600 610", "0.1", 1, &[]),
            ("60 225", "1", 1, &[Id::MeasureUnusual]),
            ("60 x", "1", 1, &[Id::MeasureSamples]),
            ("60 61 62", "1", 2, &[Id::MeasureSamples]),
        ] {
            let text = format!(
                r#"{{"resourceType":"Observation","status":"final",
                "code":{{"coding":[{{"system":"http://loinc.org","code":"41924-2"}}]}},"valueSampledData":{{
                "origin":{{"value":0,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}},
                "period":1000,"factor":{factor},"dimensions":{dimensions},"data":"{data}"}}}}"#
            );
            let document = json::parse(text).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            let found: Vec<Id> = issues
                .iter()
                .filter(|issue| issue.expression == "Observation.value.ofType(SampledData).data")
                .map(|issue| issue.id)
                .collect();
            assert_eq!(found, expected, "{data} {factor} {dimensions}");
        }
    }
}
