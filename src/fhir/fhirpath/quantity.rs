//! Amounts: order, equivalence and arithmetic over UCUM units and calendar words (FHIRPath §4.1.8, §6.6.7).
//!
//! A calendar week, day or shorter is the UCUM unit of that name. A calendar month or year is none: it is as long
//! as the calendar says, so it is ordered only beside its like, and is merely equivalent to the UCUM mean.

use std::borrow::Cow;
use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::compare::agree;
use super::context::Failure;
use super::plan::Operator;
use super::value::Quantity;
use crate::fhir::terminology::ucum;

/// The UCUM unit of a calendar word.
pub(super) fn ucum_of_word(word: &str) -> &str {
    match word.strip_suffix('s').unwrap_or(word) {
        "year" => "a",
        "month" => "mo",
        "week" => "wk",
        "day" => "d",
        "hour" => "h",
        "minute" => "min",
        "second" => "s",
        "millisecond" => "ms",
        _ => word,
    }
}

fn unit<'q>(quantity: &'q Quantity<'_>) -> &'q str {
    if quantity.calendar { ucum_of_word(&quantity.unit) } else { &quantity.unit }
}

/// Months in a calendar month or year; `None` for everything else.
fn months(quantity: &Quantity<'_>) -> Option<Decimal> {
    if !quantity.calendar {
        return None;
    }
    match unit(quantity) {
        "a" => quantity.value.checked_mul(Decimal::from(12)),
        "mo" => Some(quantity.value),
        _ => None,
    }
}

pub(super) fn compare(left: &Quantity<'_>, right: &Quantity<'_>) -> Option<Ordering> {
    match (months(left), months(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        (None, None) => ucum::compare(left.value, unit(left), right.value, unit(right)),
        _ => None,
    }
}

/// Whether the amounts agree to the precision of the less precise one.
pub(super) fn equivalent(left: &Quantity<'_>, right: &Quantity<'_>) -> bool {
    match (ucum::convert(right.value, unit(right), unit(left)), ucum::convert(left.value, unit(left), unit(right))) {
        (Some(right_here), Some(left_there)) => agree(left.value, right_here) || agree(left_there, right.value),
        _ => unit(left) == unit(right) && agree(left.value, right.value),
    }
}

pub(super) fn comparable(left: &Quantity<'_>, right: &Quantity<'_>) -> bool {
    ucum::comparable(unit(left), unit(right))
}

/// `+ - * /` of two amounts; empty where no unit joins them.
pub(super) fn calculate(
    operator: Operator,
    left: &Quantity<'_>,
    right: &Quantity<'_>,
) -> Result<Option<Quantity<'static>>, Failure> {
    let quantity = |value: Option<Decimal>, unit: String| match value {
        Some(value) => Ok(Some(Quantity { value, unit: Cow::Owned(unit), calendar: false })),
        None => Err(Failure::OutOfRange),
    };
    match operator {
        Operator::Plus | Operator::Minus => {
            let Some(there) = ucum::convert(right.value, unit(right), unit(left)) else { return Ok(None) };
            let value =
                if operator == Operator::Plus { left.value.checked_add(there) } else { left.value.checked_sub(there) };
            let value = value.ok_or(Failure::OutOfRange)?;
            Ok(Some(Quantity { value, unit: Cow::Owned(left.unit.to_string()), calendar: left.calendar }))
        }
        Operator::Times => quantity(left.value.checked_mul(right.value), joined(unit(left), '.', unit(right))),
        Operator::Divide if right.value.is_zero() => Ok(None),
        Operator::Divide => quantity(left.value.checked_div(right.value), joined(unit(left), '/', unit(right))),
        _ => Err(Failure::WrongType("arithmetic of quantities")),
    }
}

/// The unit of a product or quotient; a unit of `1` or of itself is left out.
fn joined(left: &str, operator: char, right: &str) -> String {
    match (left, operator, right) {
        (left, _, "1") => left.to_owned(),
        (left, '/', right) if left == right => "1".to_owned(),
        ("1", '.', right) => right.to_owned(),
        ("1", _, right) => format!("/({right})"),
        _ => format!("({left}){operator}({right})"),
    }
}
