//! `lowBoundary`, `highBoundary`, `precision`, `comparable` (FHIRPath §5.6.7, §5.10): what a value of limited
//! precision may at least and at most be.

use jiff::civil;
use jiff::tz::Offset;
use rust_decimal::{Decimal, RoundingStrategy};

use super::{Function, function};
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome, single};
use crate::fhir::fhirpath::quantity;
use crate::fhir::fhirpath::temporal::{Component, Temporal, TemporalKind};
use crate::fhir::fhirpath::value::{Collection, Quantity, Value};

pub(super) static FUNCTIONS: [Function; 4] = [
    function("lowBoundary", 0..=1, |call| boundary(call, Side::Low)),
    function("highBoundary", 0..=1, |call| boundary(call, Side::High)),
    function("precision", 0..=0, precision),
    function("comparable", 1..=1, comparable),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Low,
    High,
}

/// Digits of a decimal boundary where none are asked for.
const DEFAULT_DIGITS: i64 = 8;

fn boundary<'d>(mut call: Call<'_, 'd>, side: Side) -> Outcome<'d> {
    let digits = call.integer_argument(0)?;
    let number = |value: Decimal| of_decimal(value, digits.unwrap_or(DEFAULT_DIGITS), side);
    Ok(match call.system()? {
        None => Collection::Empty,
        Some(Value::Integer(value)) => number(value.into()).map(Value::Decimal).into(),
        Some(Value::Decimal(value)) => number(value).map(Value::Decimal).into(),
        Some(Value::Quantity(quantity)) => {
            number(quantity.value).map(|value| Value::Quantity(Box::new(Quantity { value, ..*quantity }))).into()
        }
        Some(Value::Temporal(temporal)) => of_temporal(temporal, digits, side).map(Value::Temporal).into(),
        // A JSON string of unknown type that is a date is one.
        Some(Value::Text(text)) => {
            let temporal = Temporal::date_time(&text).or_else(|| Temporal::time(&text));
            let temporal = temporal.ok_or(Failure::WrongType("a boundary"))?;
            of_temporal(temporal, digits, side).map(Value::Temporal).into()
        }
        Some(_) => return Err(Failure::WrongType("a boundary")),
    })
}

/// Half a unit of the last digit away, kept to that many digits, rounded outwards. A value that rounds to nothing
/// at that precision stays nothing, as the suite of the specification has it.
fn of_decimal(value: Decimal, digits: i64, side: Side) -> Option<Decimal> {
    let digits = u32::try_from(digits).ok().filter(|digits| *digits <= Decimal::MAX_SCALE)?;
    if value.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero).is_zero() && value.scale() > digits
    {
        return Some(Decimal::new(0, digits));
    }
    let half = Decimal::try_new(5, value.scale() + 1).ok()?;
    let mut edge = match side {
        Side::Low => value.checked_sub(half)?.round_dp_with_strategy(digits, RoundingStrategy::ToNegativeInfinity),
        Side::High => value.checked_add(half)?.round_dp_with_strategy(digits, RoundingStrategy::ToPositiveInfinity),
    };
    edge.rescale(digits);
    (edge.scale() == digits).then_some(edge)
}

fn of_temporal(value: Temporal, digits: Option<i64>, side: Side) -> Option<Temporal> {
    let time = value.kind == TemporalKind::Time;
    let default = match value.kind {
        TemporalKind::Date => 8,
        TemporalKind::DateTime => 17,
        TemporalKind::Time => 9,
    };
    let digits = u8::try_from(digits.unwrap_or(default)).ok()?.checked_add(if time { 8 } else { 0 })?;
    let precision = Component::of_digits(digits)?;
    let civil = match side {
        Side::Low => value.civil,
        Side::High => last(value)?,
    };
    let clocked = precision > Component::Day && !time;
    if clocked && value.kind == TemporalKind::Date {
        return None;
    }
    let unknown = match side {
        // The earliest and the latest local time on earth.
        Side::Low => Offset::constant(14),
        Side::High => Offset::constant(-12),
    };
    let offset = clocked.then(|| value.offset.unwrap_or(unknown));
    let kind = if time {
        TemporalKind::Time
    } else if clocked {
        TemporalKind::DateTime
    } else {
        TemporalKind::Date
    };
    Some(Temporal { kind, civil, precision, offset })
}

/// The last millisecond that the value covers. A bare hour is read as its first minute, as the suite of the
/// specification has it.
fn last(value: Temporal) -> Option<civil::DateTime> {
    let (date, time) = (value.civil.date(), value.civil.time());
    let date = match value.precision {
        Component::Year => civil::Date::new(date.year(), 12, 31).ok()?,
        Component::Month => date.last_of_month(),
        _ => date,
    };
    let (hour, minute, second, millisecond) = match value.precision {
        Component::Year | Component::Month | Component::Day => (23, 59, 59, 999),
        Component::Hour => (time.hour(), 0, 59, 999),
        Component::Minute => (time.hour(), time.minute(), 59, 999),
        Component::Second => (time.hour(), time.minute(), time.second(), 999),
        Component::Fraction(_) => (time.hour(), time.minute(), time.second(), time.millisecond()),
    };
    Some(date.at(hour, minute, second, i32::from(millisecond) * 1_000_000))
}

fn precision<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(match call.system()? {
        None => Collection::Empty,
        Some(Value::Integer(_)) => Collection::integer(0),
        Some(Value::Decimal(value)) => Collection::integer(value.scale() as usize),
        Some(Value::Temporal(temporal)) => Collection::integer(temporal.digits().into()),
        Some(_) => return Err(Failure::WrongType("precision")),
    })
}

fn comparable<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let other = single(call.argument(0)?, "comparable")?.and_then(|value| value.system());
    match (call.system()?, other) {
        (None, _) | (_, None) => Ok(Collection::Empty),
        (Some(Value::Quantity(left)), Some(Value::Quantity(right))) => {
            Ok(Collection::boolean(quantity::comparable(&left, &right)))
        }
        _ => Err(Failure::WrongType("comparable")),
    }
}
