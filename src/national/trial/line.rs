//! What a line of measures and its codes say that cannot all be true: a unit that the code does not come in, a factor that
//! makes other values than the code has, a name of a unit that is another unit. It needs no definitions of a release, so
//! that packs of every release are held to it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::fhir::terminology::ucum;
use crate::fhir::validate::measures::{self, Measure};
use crate::national::Mistake;
use crate::national::compile::MEASURES;
use crate::national::pack::{Conversion, Line, Pack, Row, Unit};

/// By how much the ends of a range may differ: ranges are rounded, and factors that are wrong are so by more.
const APART: Decimal = Decimal::TWO;

/// What contradicts itself, by the line of each measure.
pub(super) fn contradictions(pack: &Pack, lines: &BTreeMap<String, u64>) -> Vec<Mistake> {
    let mut found = Vec::new();
    for row in pack.rows() {
        let Some(unit) = row.unit.as_ref().filter(|unit| unit.system == ucum::SYSTEM) else { continue };
        let line = lines.get(&row.measure).copied().unwrap_or(1);
        let wrong = named_otherwise(unit).into_iter().chain(coded_otherwise(row, unit));
        found.extend(wrong.map(|text| Mistake::at(MEASURES, line, text)));
    }
    found
}

fn is_same(one: &str, other: &str) -> bool {
    one == other || ucum::convert(Decimal::ONE, one, other) == Some(Decimal::ONE)
}

/// The name of a unit that is one itself: where the guide has such a unit, that is what readers take it for.
fn named_otherwise(unit: &Unit) -> Option<String> {
    let Unit { text, code, .. } = unit;
    let mut known = measures::all().iter().flat_map(|measure| &measure.units);
    let is_unit = text != code && ucum::valid(text) && known.any(|known| is_same(text, known.code));
    (is_unit && !is_same(text, code)).then(|| format!("unit_text: {text} is another unit than {code}"))
}

/// The first code of the guide's that comes in other units or values.
fn coded_otherwise(row: &Row, unit: &Unit) -> Option<String> {
    let told = row.known.and_then(|known| told(known, unit));
    row.codings().find_map(|(system, code)| {
        let coded = measures::measure(system, code).filter(|coded| !coded.units.is_empty())?;
        let Measure { key, units, .. } = coded;
        let Some(own) = units.iter().find(|own| ucum::comparable(own.code, &unit.code)) else {
            let units = units.iter().map(|unit| unit.code).collect::<Vec<_>>().join(" or ");
            // A count by another name has no unit that could be compared.
            let is_count = ucum::comparable(&unit.code, "1") || ucum::comparable(&unit.code, "/s");
            let text = format!("unit: {code} of {system} is {key}, in {units} and not in {}", unit.code);
            return (!is_count).then_some(text);
        };
        let (low, high) = between(own.soft, Line::between(own.code, &unit.code)?)?;
        let told = told.filter(|told| is_apart(told.0, low) || is_apart(told.1, high))?;
        let [from, to, low, high] = [told.0, told.1, low, high].map(|end| end.round_sf(3).unwrap_or(end).normalize());
        Some(format!(
            "times: what is usual becomes {from} to {to} {unit}, and {code} of {system} is {key}, usual from {low} to {high}",
            unit = unit.code
        ))
    })
}

/// What is usual of a measure, as it is told.
fn told(measure: &Measure, unit: &Unit) -> Option<(Decimal, Decimal)> {
    let own = measure.units.first()?;
    let (_, conversion) = unit.from.iter().find(|(from, _)| from == own.code)?;
    match conversion {
        Conversion::Same => Some(own.soft),
        Conversion::Line(line) => between(own.soft, *line),
    }
}

fn between((low, high): (Decimal, Decimal), line: Line) -> Option<(Decimal, Decimal)> {
    Some((line.of(low)?, line.of(high)?))
}

fn is_apart(one: Decimal, other: Decimal) -> bool {
    let (low, high) = (one.min(other), one.max(other));
    low.is_sign_positive() && !low.is_zero() && low.checked_mul(APART).is_some_and(|most| most < high)
}
