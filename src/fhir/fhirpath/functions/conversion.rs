//! Conversion (FHIRPath §5.5): `toX`, and `convertsToX` as the question whether it would succeed.

use std::borrow::Cow;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{Function, function};
use crate::fhir::fhirpath::evaluate::{Call, Outcome};
use crate::fhir::fhirpath::parser::is_calendar_word;
use crate::fhir::fhirpath::temporal::{Temporal, TemporalKind};
use crate::fhir::fhirpath::value::{Collection, Quantity, Value, decimal};
use crate::fhir::terminology::ucum;

pub(super) static FUNCTIONS: [Function; 16] = [
    function("toBoolean", 0..=0, |call| convert(call, to_boolean)),
    function("convertsToBoolean", 0..=0, |call| converts(call, to_boolean)),
    function("toInteger", 0..=0, |call| convert(call, to_integer)),
    function("convertsToInteger", 0..=0, |call| converts(call, to_integer)),
    function("toDecimal", 0..=0, |call| convert(call, to_decimal)),
    function("convertsToDecimal", 0..=0, |call| converts(call, to_decimal)),
    function("toString", 0..=0, |call| convert(call, to_text)),
    function("convertsToString", 0..=0, |call| converts(call, to_text)),
    function("toDate", 0..=0, |call| convert(call, to_date)),
    function("convertsToDate", 0..=0, |call| converts(call, to_date)),
    function("toDateTime", 0..=0, |call| convert(call, to_date_time)),
    function("convertsToDateTime", 0..=0, |call| converts(call, to_date_time)),
    function("toTime", 0..=0, |call| convert(call, to_time)),
    function("convertsToTime", 0..=0, |call| converts(call, to_time)),
    function("toQuantity", 0..=1, to_quantity_in),
    function("convertsToQuantity", 0..=1, converts_to_quantity),
];

type Conversion = for<'d> fn(Value<'d>) -> Option<Value<'d>>;

fn convert<'d>(mut call: Call<'_, 'd>, conversion: Conversion) -> Outcome<'d> {
    Ok(call.system()?.and_then(conversion).into())
}

fn converts<'d>(mut call: Call<'_, 'd>, conversion: Conversion) -> Outcome<'d> {
    let Some(value) = call.single()? else { return Ok(Collection::Empty) };
    Ok(Collection::boolean(value.system().and_then(conversion).is_some()))
}

fn to_boolean(value: Value<'_>) -> Option<Value<'_>> {
    let number = |value: Decimal| match value {
        value if value.is_zero() => Some(false),
        value if value == Decimal::ONE => Some(true),
        _ => None,
    };
    let boolean = match value {
        Value::Boolean(value) => Some(value),
        Value::Integer(value) => number(value.into()),
        Value::Decimal(value) => number(value),
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => Some(true),
            "false" | "f" | "no" | "n" | "0" | "0.0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    boolean.map(Value::Boolean)
}

fn to_integer(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Boolean(value) => Some(Value::Integer(value.into())),
        Value::Integer(_) => Some(value),
        Value::Text(text) => text.parse().ok().map(Value::Integer),
        _ => None,
    }
}

fn to_decimal(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Boolean(value) => Some(Value::Decimal(i64::from(value).into())),
        Value::Integer(value) => Some(Value::Decimal(value.into())),
        Value::Decimal(_) => Some(value),
        Value::Text(text) => plain_decimal(&text).map(Value::Decimal),
        _ => None,
    }
}

/// `(+|-)?[0-9]+(\.[0-9]+)?`, as the specification writes numbers in text.
fn plain_decimal(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (numeric(whole) && numeric(fraction)).then(|| decimal(text.strip_prefix('+').unwrap_or(text))).flatten()
}

fn to_text(value: Value<'_>) -> Option<Value<'_>> {
    Some(Value::Text(match value {
        Value::Text(text) => text,
        Value::Boolean(value) => Cow::Borrowed(if value { "true" } else { "false" }),
        Value::Integer(value) => value.to_string().into(),
        Value::Decimal(value) => value.to_string().into(),
        Value::Temporal(value) => value.to_string().into(),
        Value::Quantity(quantity) => quantity.to_string().into(),
        Value::Node(_) | Value::Type { .. } => return None,
    }))
}

fn to_date(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Temporal(temporal) if temporal.kind != TemporalKind::Time => Some(Value::Temporal(temporal.as_date())),
        Value::Text(text) => Temporal::date_time(&text).map(|value| Value::Temporal(value.as_date())),
        _ => None,
    }
}

fn to_date_time(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Temporal(value) if value.kind != TemporalKind::Time => Some(Value::Temporal(value.as_date_time())),
        Value::Text(text) => Temporal::date_time(&text).map(Value::Temporal),
        _ => None,
    }
}

fn to_time(value: Value<'_>) -> Option<Value<'_>> {
    match value {
        Value::Temporal(temporal) if temporal.kind == TemporalKind::Time => Some(value),
        Value::Text(text) => Temporal::time(&text).map(Value::Temporal),
        _ => None,
    }
}

fn to_quantity(value: Value<'_>) -> Option<Value<'_>> {
    let unitless = |value: Decimal| Some(Quantity { value, unit: Cow::Borrowed("1"), calendar: false });
    let quantity = match value {
        Value::Quantity(_) => return Some(value),
        Value::Boolean(value) => unitless(i64::from(value).into()),
        Value::Integer(value) => unitless(value.into()),
        Value::Decimal(value) => unitless(value),
        Value::Text(text) => quantity_of_text(&text),
        _ => None,
    };
    quantity.map(|quantity| Value::Quantity(Box::new(quantity)))
}

/// `4`, `4 days`, `4 'mg'`.
fn quantity_of_text(text: &str) -> Option<Quantity<'static>> {
    let text = text.trim();
    let end = text.find(|character: char| character.is_whitespace() || character == '\'').unwrap_or(text.len());
    let value = plain_decimal(&text[..end])?;
    let unit = text[end..].trim();
    let quoted = unit.strip_prefix('\'').and_then(|unit| unit.strip_suffix('\''));
    let (unit, calendar) = match quoted {
        None if unit.is_empty() => ("1", false),
        None if is_calendar_word(unit) => (unit, true),
        None => return None,
        Some(unit) if ucum::valid(unit) => (unit, false),
        Some(_) => return None,
    };
    Some(Quantity { value, unit: Cow::Owned(unit.to_owned()), calendar })
}

/// `toQuantity(unit)`: converted, and empty where it cannot be.
fn to_quantity_in<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(Value::Quantity(quantity)) = call.system()?.and_then(to_quantity) else { return Ok(Collection::Empty) };
    let Some(unit) = call.text_argument(0)? else { return Ok(Value::Quantity(quantity).into()) };
    let value = ucum::convert(quantity.value, &quantity.unit, &unit);
    Ok(value.map(|value| Value::Quantity(Box::new(Quantity { value, unit, calendar: false }))).into())
}

fn converts_to_quantity<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    if call.input.is_empty() {
        return Ok(Collection::Empty);
    }
    let input = std::mem::take(&mut call.input);
    let (machine, scope, arguments) = (call.machine, call.scope, call.arguments);
    let converted = to_quantity_in(Call { machine, scope, input, arguments })?;
    Ok(Collection::boolean(!converted.is_empty()))
}

/// Whole part as an integer, for the functions that round.
pub(super) fn whole(value: Decimal) -> Option<Value<'static>> {
    value.to_i64().map(Value::Integer)
}
