//! Existence (FHIRPath §5.1).

use super::{Function, Says, function, saying};
use crate::fhir::fhirpath::compare;
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome, truth};
use crate::fhir::fhirpath::value::{Collection, Value};

pub(super) static FUNCTIONS: [Function; 13] = [
    saying(Says::IsAbsent, "empty", 0..=0, empty),
    saying(Says::IsThere, "exists", 0..=1, exists),
    function("all", 1..=1, all),
    function("allTrue", 0..=0, all_true),
    function("anyTrue", 0..=0, any_true),
    function("allFalse", 0..=0, all_false),
    function("anyFalse", 0..=0, any_false),
    function("subsetOf", 1..=1, subset_of),
    function("supersetOf", 1..=1, superset_of),
    function("count", 0..=0, count),
    function("distinct", 0..=0, distinct),
    function("isDistinct", 0..=0, is_distinct),
    saying(Says::IsFalse, "not", 0..=0, not),
];

fn empty<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(Collection::boolean(call.input.is_empty()))
}

fn exists<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    if !call.has_argument(0) {
        return Ok(Collection::boolean(!call.input.is_empty()));
    }
    for (index, value) in call.input.iter().enumerate() {
        if call.criterion(value, index)? == Some(true) {
            return Ok(Collection::boolean(true));
        }
    }
    Ok(Collection::boolean(false))
}

fn all<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    for (index, value) in call.input.iter().enumerate() {
        if call.criterion(value, index)? != Some(true) {
            return Ok(Collection::boolean(false));
        }
    }
    Ok(Collection::boolean(true))
}

fn all_true<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    booleans(&call, |value| value, false)
}

fn any_true<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    booleans(&call, |value| value, true)
}

fn all_false<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    booleans(&call, |value| !value, false)
}

fn any_false<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    booleans(&call, |value| !value, true)
}

/// `any` of them passes, or all do. Every item must be a boolean.
fn booleans<'d>(call: &Call<'_, 'd>, passes: fn(bool) -> bool, any: bool) -> Outcome<'d> {
    let mut result = !any;
    for value in &call.input {
        let Some(Value::Boolean(value)) = value.system() else { return Err(Failure::WrongType("a boolean function")) };
        if passes(value) == any {
            result = any;
        }
    }
    Ok(Collection::boolean(result))
}

fn subset_of<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let other = call.argument(0)?;
    is_subset(&call, &call.input, &other)
}

fn superset_of<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let other = call.argument(0)?;
    is_subset(&call, &other, &call.input)
}

fn is_subset<'d>(call: &Call<'_, 'd>, small: &Collection<'d>, large: &Collection<'d>) -> Outcome<'d> {
    for value in small {
        if !compare::contains(call.machine, large, value)? {
            return Ok(Collection::boolean(false));
        }
    }
    Ok(Collection::boolean(true))
}

fn count<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(Collection::integer(call.input.len()))
}

fn distinct<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    compare::distinct(call.machine, call.input.into_iter())
}

fn is_distinct<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let before = call.input.len();
    let after = compare::distinct(call.machine, call.input.into_iter())?.len();
    Ok(Collection::boolean(before == after))
}

fn not<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(truth(&call.input)?.map_or(Collection::Empty, |value| Collection::boolean(!value)))
}
