//! A number in the destination's unit, with as many digits as it takes.
//!
//! What need not be changed is copied digit by digit, and zeros at the end say how precise a value is (R4 decimal): they stay
//! when it is converted or shortened. A conversion by an exact factor is exact; any other, and a factor of
//! a substance, leaves six significant digits, which is more than any of these devices measures. Which units become which
//! is settled when a pack is compiled: a factor that the pack states is the only one that counts, and without one units of
//! a physical dimension alone are converted. Numbers without a dimension compare by UCUM whatever they count: 53 mmol/mol
//! of glycated haemoglobin are not the 5.3 % of another method.

use std::borrow::Cow;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use super::file::Rounding;
use super::pack::{Conversion, Line, Number, Row, Unit};
use super::render::Gap;
use super::slot::Slot;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::Element;
use crate::fhir::validate::measures::Measure;

/// Significant digits of what cannot be converted exactly.
const SIGNIFICANT: u32 = 6;

/// Significant digits of the factor of a series, which many values are multiplied by.
const OF_FACTOR: u32 = 9;

/// Most digits behind the point that an exact factor has.
const EXACT: u32 = 12;

/// Most zeros that are kept behind the point.
const MOST_KEPT: u32 = 9;

/// Comparators that every release has.
const COMPARATORS: [&str; 4] = ["<", "<=", ">=", ">"];

/// What is said where a unit leads nowhere.
const OTHER: Gap = Gap::Form("a value in a unit that can be converted into its own");

impl Line {
    pub(super) const SAME: Line = Line { times: Decimal::ONE, plus: Decimal::ZERO, exact: true };

    /// How UCUM converts one unit into another.
    pub(super) fn between(from: &str, to: &str) -> Option<Line> {
        let plus = ucum::convert(Decimal::ZERO, from, to)?;
        let times = ucum::convert(Decimal::ONE, from, to)?.checked_sub(plus)?.normalize();
        Some(Line { times, plus: plus.normalize(), exact: plus.is_zero() && times.scale() <= EXACT })
    }

    /// This one, and then another.
    pub(super) fn then(self, next: Line) -> Option<Line> {
        let times = self.times.checked_mul(next.times)?.normalize();
        let plus = self.plus.checked_mul(next.times)?.checked_add(next.plus)?.normalize();
        Some(Line { times, plus, exact: self.exact && next.exact })
    }

    /// What became that.
    pub(super) fn back(self, value: Decimal) -> Option<Decimal> {
        value.checked_sub(self.plus)?.checked_div(self.times)
    }

    pub(super) fn of(self, value: Decimal) -> Option<Decimal> {
        value.checked_mul(self.times)?.checked_add(self.plus)
    }
}

/// Whether values of a measure in one unit may be told in another for what UCUM says alone: spellings of the same, units
/// that the guide has for the measure, and units of a physical dimension. Counts, ratios and frequencies have none that
/// says what they are of, and a mole is a number to UCUM.
pub(super) fn leads(measure: &Measure, from: &str, to: &str) -> bool {
    if from == to || ucum::convert(Decimal::ONE, from, to) == Some(Decimal::ONE) {
        return true;
    }
    let is_physical = || {
        let is_bare = ["1", "/s"].iter().any(|bare| ucum::comparable(to, bare));
        !is_bare && from.contains("mol") == to.contains("mol")
    };
    let is_known = || [from, to].iter().all(|unit| measure.unit(unit).is_some());
    ucum::comparable(from, to) && (is_known() || is_physical())
}

/// Writes a Quantity.
pub(super) fn quantity(of: Element<'_>, row: &Row, rounding: Rounding, out: &mut String) -> Result<(), Gap> {
    let unit = row.unit.as_ref().ok_or(Gap::Form("a value without a unit"))?;
    out.push_str("{\"value\":");
    out.push_str(&number(of, row, unit, rounding)?);
    if let Some(comparator) = of.text_of("comparator") {
        if !COMPARATORS.contains(&comparator) {
            return Err(Gap::Form("a value without a comparator"));
        }
        out.push_str(",\"comparator\":\"");
        out.push_str(comparator);
        out.push('"');
    }
    out.push_str(&unit.tail);
    Ok(())
}

/// The digits of a Quantity at the destination.
pub(super) fn number<'d>(of: Element<'d>, row: &Row, unit: &Unit, rounding: Rounding) -> Result<Cow<'d, str>, Gap> {
    let digits = of.text_of("value").ok_or(Gap::Slot(Slot::Value))?;
    let sent = of.text_of("code").ok_or(Gap::Form("a value with a UCUM code"))?;
    if of.text_of("system") != Some(ucum::SYSTEM) {
        return Err(Gap::Form("a value with a UCUM code"));
    }
    let converted = match conversion(sent, row, unit).ok_or(OTHER)? {
        Conversion::Same => None,
        Conversion::Line(line) => converted(digits, line)?,
    };
    rounded(converted.map_or(Cow::Borrowed(digits), Cow::Owned), row.number, rounding)
}

/// How a unit that was sent becomes the destination's.
fn conversion(sent: &str, row: &Row, unit: &Unit) -> Option<Conversion> {
    if let Some((_, known)) = unit.from.iter().find(|(known, _)| known == sent) {
        return Some(*known);
    }
    if unit.from.is_empty() {
        return (unit.code == sent).then_some(Conversion::Same);
    }
    let measure = row.known?;
    let (own, known) = unit.from.iter().find(|(own, _)| leads(measure, sent, own))?;
    let line = Line::between(sent, own)?.then(match known {
        Conversion::Same => Line::SAME,
        Conversion::Line(line) => *line,
    })?;
    Some(if line == Line::SAME { Conversion::Same } else { Conversion::Line(line) })
}

/// None where the digits stay.
fn converted(digits: &str, line: Line) -> Result<Option<String>, Gap> {
    let value = decimal(digits)?;
    let amount = line.of(value).ok_or(OTHER)?.normalize();
    if amount == value {
        return Ok(None);
    }
    let mut amount = short(amount, line.exact, SIGNIFICANT).ok_or(OTHER)?;
    let precise = digits_kept(value, line);
    if precise > amount.scale() {
        amount.rescale(precise);
    }
    Ok(Some(amount.to_string()))
}

/// How many digits behind the point say after a conversion what they said before.
fn digits_kept(value: Decimal, line: Line) -> u32 {
    let magnitude = line.times.to_f64().map_or(0.0, |times| times.log10().round()) as i64;
    u32::try_from(i64::from(value.scale()) - magnitude).unwrap_or(0).min(MOST_KEPT)
}

fn rounded(digits: Cow<'_, str>, number: Number, rounding: Rounding) -> Result<Cow<'_, str>, Gap> {
    let Number::Fraction(fraction) = number else { return Ok(digits) };
    let behind = digits.split_once('.').map_or(0, |(_, behind)| behind.len());
    if behind <= fraction as usize && !digits.contains(['e', 'E']) {
        return Ok(digits);
    }
    let value = decimal(&digits)?;
    let strategy = match rounding {
        Rounding::HalfUp => RoundingStrategy::MidpointAwayFromZero,
        Rounding::HalfEven => RoundingStrategy::MidpointNearestEven,
        Rounding::Refuse if value.normalize().scale() > fraction => {
            return Err(Gap::Form("a number with fewer digits"));
        }
        Rounding::Refuse => RoundingStrategy::MidpointAwayFromZero,
    };
    let short = value.round_dp_with_strategy(fraction, strategy);
    let short = if fraction == 0 { short.trunc() } else { short };
    Ok(Cow::Owned(if short.is_zero() { short.abs().to_string() } else { short.to_string() }))
}

/// Writes a SampledData, its origin and limits in the destination's unit and its factor with them.
pub(super) fn series(of: Element<'_>, row: &Row, out: &mut String) -> Result<(), Gap> {
    const WHOLE: Gap = Gap::Form("a series with origin, period, dimensions and data");
    let unit = row.unit.as_ref().ok_or(WHOLE)?;
    let origin = of.get("origin").ok_or(WHOLE)?;
    let sent = origin.text_of("code").filter(|_| origin.text_of("system") == Some(ucum::SYSTEM)).ok_or(WHOLE)?;
    let line = match conversion(sent, row, unit) {
        Some(Conversion::Same) => None,
        Some(Conversion::Line(line)) => Some(line),
        None => return Err(Gap::Form("a series in its own unit")),
    };
    // What a value becomes; a factor is no value, and nothing is added to it.
    let moved = |digits: &str| match line {
        None => Ok(digits.to_owned()),
        Some(line) => {
            let moved = line.of(decimal(digits)?).and_then(|moved| short(moved, line.exact, SIGNIFICANT));
            moved.map(|moved| moved.to_string()).ok_or(WHOLE)
        }
    };
    let scaled = |digits: &str| match line {
        None => Ok(digits.to_owned()),
        Some(line) => {
            let scaled = decimal(digits)?.checked_mul(line.times);
            let scaled = scaled.and_then(|scaled| short(scaled, line.exact, OF_FACTOR));
            scaled.map(|scaled| scaled.to_string()).ok_or(WHOLE)
        }
    };
    out.push_str("{\"origin\":{\"value\":");
    out.push_str(&moved(origin.text_of("value").ok_or(WHOLE)?)?);
    out.push_str(&unit.tail);
    out.push_str(",\"period\":");
    out.push_str(of.text_of("period").ok_or(WHOLE)?);
    let own = of.text_of("factor");
    if own.is_some() || line.is_some_and(|line| line.times != Decimal::ONE) {
        out.push_str(",\"factor\":");
        out.push_str(&scaled(own.unwrap_or("1"))?);
    }
    for limit in ["lowerLimit", "upperLimit"] {
        if let Some(digits) = of.text_of(limit) {
            out.push_str(&format!(",\"{limit}\":{}", moved(digits)?));
        }
    }
    out.push_str(",\"dimensions\":");
    out.push_str(of.text_of("dimensions").ok_or(WHOLE)?);
    out.push_str(",\"data\":");
    crate::fhir::tree::write::string(of.text_of("data").ok_or(WHOLE)?, out);
    out.push('}');
    Ok(())
}

/// As many digits as there are, or as count.
fn short(amount: Decimal, exact: bool, significant: u32) -> Option<Decimal> {
    let amount = amount.normalize();
    let is_whole = amount.abs() >= Decimal::from(10_u64.pow(significant));
    let short = match (exact, is_whole) {
        (true, _) => amount,
        (false, true) => amount.round(),
        (false, false) => amount.round_sf(significant)?,
    };
    Some(short.normalize())
}

fn decimal(digits: &str) -> Result<Decimal, Gap> {
    let parsed = Decimal::from_str_exact(digits).or_else(|_| Decimal::from_scientific(digits));
    parsed.map_err(|_| Gap::Form("a number that can be computed with"))
}
