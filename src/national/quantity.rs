//! A number in the destination's unit, with as many digits as it takes.
//!
//! What need not be changed is copied digit by digit. A conversion by an exact factor is exact; any other, and a factor of
//! a substance, leaves six significant digits, which is more than any of these devices measures.

use std::borrow::Cow;

use rust_decimal::{Decimal, RoundingStrategy};

use super::file::Rounding;
use super::pack::{Conversion, Number, Row, Unit};
use super::render::Gap;
use super::slot::Slot;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::Element;
use crate::fhir::validate::measures;

/// Significant digits of what cannot be converted exactly.
const SIGNIFICANT: u32 = 6;

/// Comparators that every release has.
const COMPARATORS: [&str; 4] = ["<", "<=", ">=", ">"];

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
    let converted = converted(digits, sent, row, unit)?;
    rounded(converted.map_or(Cow::Borrowed(digits), Cow::Owned), row.number, rounding)
}

/// None where the digits stay.
fn converted(digits: &str, sent: &str, row: &Row, unit: &Unit) -> Result<Option<String>, Gap> {
    const OTHER: Gap = Gap::Form("a value in a unit that can be converted into its own");
    if unit.code == sent {
        return Ok(None);
    }
    match unit.from.iter().find(|(known, _)| known == sent) {
        Some((_, Conversion::Same)) => return Ok(None),
        Some((_, Conversion::Factor(factor))) => {
            let product = decimal(digits)?.checked_mul(*factor).ok_or(OTHER)?;
            return Ok(Some(product.normalize().to_string()));
        }
        None => {}
    }
    if unit.system == ucum::SYSTEM && ucum::comparable(sent, &unit.code) {
        let value = decimal(digits)?;
        let amount = ucum::convert(value, sent, &unit.code).ok_or(OTHER)?.normalize();
        if amount == value {
            return Ok(None);
        }
        let short = if amount.scale() > SIGNIFICANT { amount.round_sf(SIGNIFICANT) } else { Some(amount) };
        return Ok(Some(short.ok_or(OTHER)?.normalize().to_string()));
    }
    let factor = row.times.ok_or(OTHER)?;
    let own = measures::all().iter().find(|measure| measure.key == row.measure).ok_or(OTHER)?;
    let value = own.units.iter().find_map(|unit| ucum::convert(decimal(digits).ok()?, sent, unit.code)).ok_or(OTHER)?;
    if factor == Decimal::ONE {
        return Ok(Some(value.normalize().to_string()));
    }
    let product = value.checked_mul(factor).and_then(|product| product.round_sf(SIGNIFICANT));
    Ok(Some(product.ok_or(OTHER)?.normalize().to_string()))
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
    Ok(Cow::Owned(if fraction == 0 { short.trunc().to_string() } else { short.normalize().to_string() }))
}

/// Writes a SampledData, its origin and limits in the destination's unit and its factor with them.
pub(super) fn series(of: Element<'_>, row: &Row, out: &mut String) -> Result<(), Gap> {
    const WHOLE: Gap = Gap::Form("a series with origin, period, dimensions and data");
    let unit = row.unit.as_ref().ok_or(WHOLE)?;
    let origin = of.get("origin").ok_or(WHOLE)?;
    let sent = origin.text_of("code").filter(|_| origin.text_of("system") == Some(ucum::SYSTEM)).ok_or(WHOLE)?;
    let factor = if sent == unit.code {
        None
    } else {
        match unit.from.iter().find(|(known, _)| known == sent) {
            Some((_, Conversion::Same)) => None,
            Some((_, Conversion::Factor(factor))) => Some(*factor),
            None => return Err(Gap::Form("a series in its own unit")),
        }
    };
    let scaled = |digits: &str| match factor {
        None => Ok(digits.to_owned()),
        Some(factor) => {
            let product = decimal(digits)?.checked_mul(factor).ok_or(WHOLE)?;
            Ok(product.normalize().to_string())
        }
    };
    out.push_str("{\"origin\":{\"value\":");
    out.push_str(&scaled(origin.text_of("value").ok_or(WHOLE)?)?);
    out.push_str(&unit.tail);
    out.push_str(",\"period\":");
    out.push_str(of.text_of("period").ok_or(WHOLE)?);
    let own = of.text_of("factor");
    if own.is_some() || factor.is_some() {
        out.push_str(",\"factor\":");
        out.push_str(&scaled(own.unwrap_or("1"))?);
    }
    for limit in ["lowerLimit", "upperLimit"] {
        if let Some(digits) = of.text_of(limit) {
            out.push_str(&format!(",\"{limit}\":{}", scaled(digits)?));
        }
    }
    out.push_str(",\"dimensions\":");
    out.push_str(of.text_of("dimensions").ok_or(WHOLE)?);
    out.push_str(",\"data\":");
    crate::fhir::tree::write::string(of.text_of("data").ok_or(WHOLE)?, out);
    out.push('}');
    Ok(())
}

fn decimal(digits: &str) -> Result<Decimal, Gap> {
    let parsed = Decimal::from_str_exact(digits).or_else(|_| Decimal::from_scientific(digits));
    parsed.map_err(|_| Gap::Form("a number that can be computed with"))
}
