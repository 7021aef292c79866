//! Mathematics (FHIRPath §5.7).
//!
//! Rounding is exact. Powers of whole exponents are exact too; what is irrational by nature (`ln`, `exp`, `sqrt`,
//! fractional powers) is computed in binary floating point and kept to 15 digits. No such number is empty.

use rust_decimal::prelude::{FromPrimitive, ToPrimitive};
use rust_decimal::{Decimal, RoundingStrategy};

use super::conversion::whole;
use super::{Function, function};
use crate::fhir::fhirpath::compare::number;
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome, single};
use crate::fhir::fhirpath::value::{Collection, Quantity, Value};

pub(super) static FUNCTIONS: [Function; 10] = [
    function("abs", 0..=0, abs),
    function("ceiling", 0..=0, |call| rounded(call, |value| value.ceil())),
    function("floor", 0..=0, |call| rounded(call, |value| value.floor())),
    function("truncate", 0..=0, |call| rounded(call, |value| value.trunc())),
    function("round", 0..=1, round),
    function("sqrt", 0..=0, |call| floating(call, f64::sqrt)),
    function("exp", 0..=0, |call| floating(call, f64::exp)),
    function("ln", 0..=0, |call| floating(call, f64::ln)),
    function("log", 1..=1, log),
    function("power", 1..=1, power),
];

fn abs<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(match call.system()? {
        None => Collection::Empty,
        Some(Value::Integer(value)) => Value::Integer(value.checked_abs().ok_or(Failure::OutOfRange)?).into(),
        Some(Value::Decimal(value)) => Value::Decimal(value.abs()).into(),
        Some(Value::Quantity(quantity)) => {
            Value::Quantity(Box::new(Quantity { value: quantity.value.abs(), ..*quantity })).into()
        }
        Some(_) => return Err(Failure::WrongType("abs")),
    })
}

/// The input as a number.
fn input(call: &mut Call<'_, '_>) -> Result<Option<Decimal>, Failure> {
    match call.system()? {
        None => Ok(None),
        Some(value) => number(&value).map(Some).ok_or(Failure::WrongType("a mathematical function")),
    }
}

fn argument(call: &Call<'_, '_>) -> Result<Option<Decimal>, Failure> {
    match single(call.argument(0)?, "an argument")?.and_then(|value| value.system()) {
        None => Ok(None),
        Some(value) => number(&value).map(Some).ok_or(Failure::WrongType("a mathematical function")),
    }
}

fn rounded<'d>(mut call: Call<'_, 'd>, rounding: fn(Decimal) -> Decimal) -> Outcome<'d> {
    let Some(value) = input(&mut call)? else { return Ok(Collection::Empty) };
    whole(rounding(value)).map(Collection::One).ok_or(Failure::OutOfRange)
}

fn round<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(value) = input(&mut call)? else { return Ok(Collection::Empty) };
    let digits = call.integer_argument(0)?.unwrap_or(0);
    let digits = u32::try_from(digits).map_err(|_| Failure::WrongType("round"))?;
    let rounded = value.round_dp_with_strategy(digits, RoundingStrategy::MidpointAwayFromZero);
    Ok(Value::Decimal(rounded).into())
}

fn floating<'d>(mut call: Call<'_, 'd>, compute: fn(f64) -> f64) -> Outcome<'d> {
    let Some(value) = input(&mut call)?.and_then(|value| value.to_f64()) else { return Ok(Collection::Empty) };
    Ok(kept(compute(value)))
}

/// What is no number is empty, as is what lies beyond the range of decimals.
fn kept<'d>(value: f64) -> Collection<'d> {
    Decimal::from_f64(value).map(Value::Decimal).into()
}

fn log<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let (Some(value), Some(base)) = (input(&mut call)?, argument(&call)?) else { return Ok(Collection::Empty) };
    let (Some(value), Some(base)) = (value.to_f64(), base.to_f64()) else { return Ok(Collection::Empty) };
    let log = value.ln() / base.ln();
    // Quotients of logarithms miss whole results by the last bit.
    let nearest = log.round();
    Ok(kept(if (log - nearest).abs() < 1e-12 { nearest } else { log }))
}

fn power<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(base) = call.system()? else { return Ok(Collection::Empty) };
    let Some(exponent) = argument(&call)? else { return Ok(Collection::Empty) };
    let count = exponent.is_integer().then(|| exponent.to_u32()).flatten();
    if let (Value::Integer(base), Some(count)) = (&base, count) {
        return base.checked_pow(count).map(|power| Value::Integer(power).into()).ok_or(Failure::OutOfRange);
    }
    let base = number(&base).ok_or(Failure::WrongType("power"))?;
    if let Some(count) = count.filter(|count| *count <= 1024) {
        let power = (0..count).try_fold(Decimal::ONE, |power, _| power.checked_mul(base));
        return power.map(|power| Value::Decimal(power).into()).ok_or(Failure::OutOfRange);
    }
    let (Some(base), Some(exponent)) = (base.to_f64(), exponent.to_f64()) else { return Ok(Collection::Empty) };
    Ok(kept(base.powf(exponent)))
}
