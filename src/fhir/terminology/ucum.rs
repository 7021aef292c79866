//! UCUM: are two units commensurable, which of two amounts is larger, what is an amount in another unit.
//!
//! The only place that names the UCUM crate. Its numbers carry 28 significant digits at any exponent, so a
//! comparison is exact for every factor that is a finite decimal; where a factor is a rounded quotient
//! (`[degF]` is 5/9 K), amounts that agree to 24 digits count as equal.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{LazyLock, RwLock};

use octofhir_ucum::Number;
use rust_decimal::Decimal;

/// Longest unit that is read: UCUM expressions of patient data are a few characters, a hostile one is not.
const MAX_UNIT: usize = 256;

/// Canonical of the UCUM code system.
pub const SYSTEM: &str = "http://unitsofmeasure.org";

/// Most units whose validity is remembered: a gateway sees a few dozen, and a sender who makes up units costs time,
/// not memory.
const MAX_REMEMBERED: usize = 1024;

static REMEMBERED: LazyLock<RwLock<HashMap<Box<str>, bool>>> = LazyLock::new(RwLock::default);

/// Whether the text is a UCUM expression; case-sensitive.
pub fn valid(unit: &str) -> bool {
    if unit.is_empty() || unit.len() > MAX_UNIT {
        return false;
    }
    if let Ok(remembered) = REMEMBERED.read()
        && let Some(valid) = remembered.get(unit)
    {
        return *valid;
    }
    let valid = octofhir_ucum::analyse(unit).is_ok();
    if let Ok(mut remembered) = REMEMBERED.write()
        && remembered.len() < MAX_REMEMBERED
    {
        remembered.insert(unit.into(), valid);
    }
    valid
}

/// Whether amounts in the two units can be converted into each other.
pub fn comparable(left: &str, right: &str) -> bool {
    left == right && valid(left)
        || left.len() <= MAX_UNIT
            && right.len() <= MAX_UNIT
            && octofhir_ucum::is_comparable(left, right).unwrap_or(false)
}

/// Whether a unit's dimension has a certain canonical unit, written in whatever order.
pub fn has_canonical(unit: &str, canonical: &str) -> bool {
    comparable(unit, canonical)
}

/// Order of two amounts; `None` where a unit is unknown or the units are not commensurable.
pub fn compare(left: Decimal, left_unit: &str, right: Decimal, right_unit: &str) -> Option<Ordering> {
    if left_unit == right_unit {
        return Some(left.cmp(&right));
    }
    if !comparable(left_unit, right_unit) {
        return None;
    }
    let (left, right) = (canonical(left, left_unit)?, canonical(right, right_unit)?);
    let difference = left.checked_sub(right)?;
    let scale = std::cmp::max(left.abs(), right.abs());
    let rounding = scale.checked_mul(Number::power_of_ten(-24))?;
    if difference.abs() <= rounding { Some(Ordering::Equal) } else { Some(left.cmp(&right)) }
}

/// A number by which amounts of one dimension are put in order, whatever their units; `None` where the unit is unknown or the
/// number out of range.
pub fn size(value: Decimal, unit: &str) -> Option<Decimal> {
    valid(unit).then(|| canonical(value, unit)).flatten().and_then(decimal)
}

/// An amount in another unit; `None` where the units are not commensurable or the result is out of range.
pub fn convert(value: Decimal, from: &str, to: &str) -> Option<Decimal> {
    if from == to {
        return Some(value);
    }
    if !comparable(from, to) {
        return None;
    }
    let target = octofhir_ucum::get_canonical_units(to).ok()?;
    let amount = canonical(value, from)?.checked_sub(target.offset)?.checked_div(target.factor)?;
    decimal(amount)
}

/// An amount in another unit as its shortest digits, rounded to so many significant ones.
pub fn digits_in(digits: &str, from: &str, to: &str, significant: u32) -> Option<String> {
    let converted = convert(digits.parse().ok()?, from, to)?;
    Some(converted.round_sf(significant)?.normalize().to_string())
}

/// The product of two amounts, in the product of their units.
pub fn multiply(left: (Decimal, &str), right: (Decimal, &str)) -> Option<(Decimal, String)> {
    let unit = octofhir_ucum::unit_multiply(readable(left.1)?, readable(right.1)?).ok()?;
    Some((left.0.checked_mul(right.0)?, unit.expression))
}

/// The quotient of two amounts, in the quotient of their units.
pub fn divide(left: (Decimal, &str), right: (Decimal, &str)) -> Option<(Decimal, String)> {
    let unit = octofhir_ucum::unit_divide(readable(left.1)?, readable(right.1)?).ok()?;
    Some((left.0.checked_div(right.0)?, unit.expression))
}

/// The unit in words: `(millimeter) / (second)`; the empty text is unity.
pub fn display(unit: &str) -> Option<String> {
    octofhir_ucum::display_name(readable(unit)?).ok()
}

fn readable(unit: &str) -> Option<&str> {
    (unit.len() <= MAX_UNIT).then_some(unit)
}

/// The amount in the canonical unit of its dimension.
fn canonical(value: Decimal, unit: &str) -> Option<Number> {
    let canonical = octofhir_ucum::get_canonical_units(unit).ok()?;
    Number::parse(&value.to_string())?.checked_mul(canonical.factor)?.checked_add(canonical.offset)
}

fn decimal(number: Number) -> Option<Decimal> {
    let (digits, exponent) = number.to_integer_and_exponent();
    if exponent >= 0 {
        let factor = 10i128.checked_pow(u32::try_from(exponent).ok()?)?;
        return Decimal::try_from_i128_with_scale(digits.checked_mul(factor)?, 0).ok();
    }
    // More fraction digits than a decimal holds are rounding noise of the factor.
    let scale = exponent.unsigned_abs();
    let excess = scale.saturating_sub(Decimal::MAX_SCALE);
    let digits = if excess > 38 { 0 } else { digits / 10i128.pow(excess) };
    Decimal::try_from_i128_with_scale(digits, scale.min(Decimal::MAX_SCALE)).ok()
}

#[cfg(test)]
mod suite;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: &str, left_unit: &str, right: &str, right_unit: &str, expected: Option<Ordering>) {
        let (left, right) = (left.parse().unwrap(), right.parse().unwrap());
        assert_eq!(compare(left, left_unit, right, right_unit), expected, "{left} {left_unit} : {right} {right_unit}");
    }

    #[test]
    fn compares_amounts() {
        check("4.0000", "g", "4000.0", "mg", Some(Ordering::Equal));
        check("1", "[in_i]", "2.54", "cm", Some(Ordering::Equal));
        check("37", "Cel", "98.6", "[degF]", Some(Ordering::Equal));
        check("185", "[lb_av]", "185", "kg", Some(Ordering::Less));
        check("1", "cm", "1", "s", None);
        check("1", "nonsense", "1", "s", None);
    }

    #[test]
    fn converts_amounts() {
        assert_eq!(convert(Decimal::from(4040), "mg", "g"), Some(Decimal::new(404, 2)));
        assert_eq!(convert(Decimal::from(1), "mg", "cm"), None);
    }

    #[test]
    fn units_are_checked_by_grammar() {
        for (unit, expected) in [
            ("mm[Hg]", true),
            ("{steps}/d", true),
            ("mL/min/kg{body_wt}", true),
            ("[degF]", true),
            ("bpm", false),
            ("beats/minute", false),
            ("MM[HG]", false),
            ("mmHg,", false),
            ("", false),
        ] {
            assert_eq!(valid(unit), expected, "{unit}");
            assert_eq!(valid(unit), expected, "{unit}, remembered");
        }
    }
}
