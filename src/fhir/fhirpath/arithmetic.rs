//! Arithmetic (FHIRPath §6.6): exact decimals, amounts, and dates moved by amounts of time.
//!
//! Division by zero is empty, as the specification says; a result that cannot be kept exactly is a failure and
//! never a wrong number.

use std::borrow::Cow;

use jiff::{Span, civil};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::compare::{amount, number};
use super::context::Failure;
use super::evaluate::{Machine, Outcome, single};
use super::plan::Operator;
use super::quantity::{self, ucum_of_word};
use super::temporal::{Component, Temporal, TemporalKind};
use super::value::{Collection, Quantity, Value};

pub(super) fn signed<'d>(value: &Value<'d>, negative: bool) -> Result<Value<'d>, Failure> {
    let value = value.system().ok_or(Failure::WrongType("a sign"))?;
    Ok(match value {
        Value::Integer(number) if negative => Value::Integer(number.checked_neg().ok_or(Failure::OutOfRange)?),
        Value::Decimal(number) if negative => Value::Decimal(-number),
        Value::Quantity(quantity) if negative => {
            Value::Quantity(Box::new(Quantity { value: -quantity.value, ..*quantity }))
        }
        Value::Integer(_) | Value::Decimal(_) | Value::Quantity(_) => value,
        _ => return Err(Failure::WrongType("a sign")),
    })
}

/// `&`: as `+` of texts, with empty for the empty text.
pub(super) fn concatenate<'d>(machine: &Machine<'_>, left: Collection<'d>, right: Collection<'d>) -> Outcome<'d> {
    let text = |collection| match single(collection, "&")?.map(|value| value.system()) {
        None => Ok(Cow::Borrowed("")),
        Some(Some(Value::Text(text))) => Ok(text),
        Some(_) => Err(Failure::WrongType("&")),
    };
    let (left, right): (Cow<'_, str>, Cow<'_, str>) = (text(left)?, text(right)?);
    machine.make(left.len() + right.len())?;
    Ok(Collection::text(format!("{left}{right}")))
}

/// `+ - * / div mod` of two items.
pub(super) fn calculate<'d>(
    machine: &Machine<'_>,
    operator: Operator,
    left: &Value<'d>,
    right: &Value<'d>,
) -> Result<Option<Value<'d>>, Failure> {
    let (Some(left), Some(right)) = (left.system(), right.system()) else {
        return Err(Failure::WrongType("arithmetic"));
    };
    match (&left, &right) {
        (Value::Integer(left), Value::Integer(right)) => integers(operator, *left, *right),
        (Value::Text(left), Value::Text(right)) if operator == Operator::Plus => {
            machine.make(left.len() + right.len())?;
            Ok(Some(Value::text(format!("{left}{right}"))))
        }
        (Value::Temporal(at), Value::Quantity(by)) => match operator {
            Operator::Plus => moved(*at, by, 1).map(|at| Some(Value::Temporal(at))),
            Operator::Minus => moved(*at, by, -1).map(|at| Some(Value::Temporal(at))),
            _ => Err(Failure::WrongType("arithmetic of dates")),
        },
        _ => {
            match (number(&left), number(&right)) {
                (Some(left), Some(right)) => decimals(operator, left, right),
                _ => match (amount(&left), amount(&right)) {
                    (Some(left), Some(right)) => Ok(quantity::calculate(operator, &left, &right)?
                        .map(|quantity| Value::Quantity(Box::new(quantity)))),
                    _ => Err(Failure::WrongType("arithmetic")),
                },
            }
        }
    }
}

fn integers<'d>(operator: Operator, left: i64, right: i64) -> Result<Option<Value<'d>>, Failure> {
    let result = match operator {
        Operator::Divide => return decimals(operator, left.into(), right.into()),
        Operator::WholeDivide | Operator::Remainder if right == 0 => return Ok(None),
        Operator::Plus => left.checked_add(right),
        Operator::Minus => left.checked_sub(right),
        Operator::Times => left.checked_mul(right),
        Operator::WholeDivide => left.checked_div(right),
        _ => left.checked_rem(right),
    };
    result.map(|value| Some(Value::Integer(value))).ok_or(Failure::OutOfRange)
}

fn decimals<'d>(operator: Operator, left: Decimal, right: Decimal) -> Result<Option<Value<'d>>, Failure> {
    let result = match operator {
        Operator::Divide | Operator::WholeDivide | Operator::Remainder if right.is_zero() => return Ok(None),
        Operator::Plus => left.checked_add(right),
        Operator::Minus => left.checked_sub(right),
        Operator::Times => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        Operator::WholeDivide => {
            let whole = left.checked_div(right).and_then(|quotient| quotient.trunc().to_i64());
            return whole.map(|whole| Some(Value::Integer(whole))).ok_or(Failure::OutOfRange);
        }
        _ => left.checked_rem(right),
    };
    result.map(|value| Some(Value::Decimal(value))).ok_or(Failure::OutOfRange)
}

/// A date or time moved by an amount of time; fractions of the unit are dropped. A UCUM month or year is a mean
/// length and moves nothing (FHIRPath §6.6.7).
fn moved(at: Temporal, by: &Quantity<'_>, direction: i64) -> Result<Temporal, Failure> {
    let unit = if by.calendar { ucum_of_word(&by.unit) } else { &by.unit };
    let amount = by.value.trunc().to_i64().and_then(|amount| amount.checked_mul(direction));
    let amount = amount.ok_or(Failure::OutOfRange)?;
    if matches!(unit, "a" | "mo") && !by.calendar {
        return Err(Failure::WrongType("date arithmetic"));
    }
    if at.kind == TemporalKind::Time {
        return moved_clock(at, unit, amount);
    }
    let (unit, amount) = coarsened(at.precision, unit, amount);
    let span = match unit {
        "a" => Span::new().try_years(amount),
        "mo" => Span::new().try_months(amount),
        "wk" => Span::new().try_weeks(amount),
        "d" => Span::new().try_days(amount),
        "h" => Span::new().try_hours(amount),
        "min" => Span::new().try_minutes(amount),
        "s" => Span::new().try_seconds(amount),
        "ms" => Span::new().try_milliseconds(amount),
        _ => return Err(Failure::WrongType("date arithmetic")),
    };
    let civil = span.and_then(|span| at.civil.checked_add(span)).map_err(|_| Failure::OutOfRange)?;
    if civil.year() < 1 {
        return Err(Failure::OutOfRange);
    }
    // Milliseconds added to whole seconds would be lost in print.
    let precision =
        if unit == "ms" && at.precision == Component::Second { Component::Fraction(3) } else { at.precision };
    Ok(Temporal { civil, precision, ..at })
}

fn moved_clock(at: Temporal, unit: &str, amount: i64) -> Result<Temporal, Failure> {
    let span = match unit {
        "h" => Span::new().try_hours(amount),
        "min" => Span::new().try_minutes(amount),
        "s" => Span::new().try_seconds(amount),
        "ms" => Span::new().try_milliseconds(amount),
        _ => return Err(Failure::WrongType("time arithmetic")),
    };
    let time = at.civil.time().wrapping_add(span.map_err(|_| Failure::OutOfRange)?);
    Ok(Temporal { civil: civil::date(1, 1, 1).to_datetime(time), ..at })
}

/// The amount in whole units of the precision, where the unit is finer: 24 months on a year are two years.
fn coarsened(precision: Component, unit: &str, amount: i64) -> (&str, i64) {
    let in_days = match unit {
        "wk" => Some(amount.saturating_mul(7)),
        "d" => Some(amount),
        "h" => Some(amount / 24),
        "min" => Some(amount / (24 * 60)),
        "s" => Some(amount / (24 * 3600)),
        "ms" => Some(amount / (24 * 3_600_000)),
        _ => None,
    };
    match (precision, in_days) {
        (Component::Year, Some(days)) => ("a", days / 365),
        (Component::Year, None) if unit == "mo" => ("a", amount / 12),
        (Component::Month, Some(days)) => ("mo", days / 30),
        (Component::Day, Some(days)) => ("d", days),
        _ => (unit, amount),
    }
}
