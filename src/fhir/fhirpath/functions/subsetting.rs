//! Subsetting (FHIRPath §5.3).

use super::{Function, Says, function, saying};
use crate::fhir::fhirpath::compare;
use crate::fhir::fhirpath::evaluate::{Call, Outcome};
use crate::fhir::fhirpath::value::Collection;

pub(super) static FUNCTIONS: [Function; 8] = [
    function("single", 0..=0, only),
    saying(Says::First, "first", 0..=0, first),
    function("last", 0..=0, last),
    function("tail", 0..=0, tail),
    function("skip", 1..=1, skip),
    function("take", 1..=1, take),
    function("intersect", 1..=1, intersect),
    function("exclude", 1..=1, exclude),
];

fn only<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    call.single().map(Collection::from)
}

fn first<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(call.input.into_iter().next().into())
}

fn last<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(call.input.into_iter().last().into())
}

fn tail<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(call.input.into_iter().skip(1).collect())
}

fn skip<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(count) = call.integer_argument(0)? else { return Ok(Collection::Empty) };
    Ok(call.input.into_iter().skip(usize::try_from(count).unwrap_or(0)).collect())
}

fn take<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let Some(count) = call.integer_argument(0)? else { return Ok(Collection::Empty) };
    Ok(call.input.into_iter().take(usize::try_from(count).unwrap_or(0)).collect())
}

fn intersect<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let other = call.argument(0)?;
    let mut kept = Collection::Empty;
    for value in std::mem::take(&mut call.input) {
        if compare::contains(call.machine, &other, &value)? {
            kept.push(value);
        }
    }
    compare::distinct(call.machine, kept.into_iter())
}

/// What is not in the other collection; duplicates and order stay.
fn exclude<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let other = call.argument(0)?;
    let mut kept = Collection::Empty;
    for value in std::mem::take(&mut call.input) {
        if !compare::contains(call.machine, &other, &value)? {
            kept.push(value);
        }
    }
    Ok(kept)
}
