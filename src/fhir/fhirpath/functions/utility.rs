//! Utility (FHIRPath §5.9), `iif` and `type`. The time of day comes from the context.

use super::{Function, function};
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome, Scope};
use crate::fhir::fhirpath::navigate;
use crate::fhir::fhirpath::temporal::{Temporal, TemporalKind};
use crate::fhir::fhirpath::value::{Collection, Value};

pub(super) static FUNCTIONS: [Function; 6] = [
    function("trace", 1..=2, trace),
    function("now", 0..=0, |call| clock(&call, TemporalKind::DateTime)),
    function("today", 0..=0, |call| clock(&call, TemporalKind::Date)),
    function("timeOfDay", 0..=0, |call| clock(&call, TemporalKind::Time)),
    function("iif", 2..=3, iif),
    function("type", 0..=0, type_of),
];

/// The input itself. Nothing is written: what passes here is patient data.
fn trace<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(call.input)
}

fn clock<'d>(call: &Call<'_, 'd>, kind: TemporalKind) -> Outcome<'d> {
    let now = call.machine.context.now.ok_or(Failure::NoClock)?;
    Ok(Value::Temporal(Temporal::of_timestamp(now, kind)).into())
}

/// Only the branch that is taken is evaluated; an input item is `$this` in all of them.
fn iif<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let this = match call.input.as_slice() {
        [] => call.scope.this,
        [one] => one,
        _ => return Err(Failure::NotSingle("iif")),
    };
    let scope = Scope { this, ..*call.scope };
    let criterion = call.machine.evaluate(&call.arguments[0], &scope)?;
    let met = match criterion.as_slice() {
        [] => false,
        [value] => match value.system() {
            Some(Value::Boolean(value)) => value,
            _ => return Err(Failure::WrongType("the criterion of iif")),
        },
        _ => return Err(Failure::NotSingle("the criterion of iif")),
    };
    match call.arguments.get(if met { 1 } else { 2 }) {
        Some(branch) => call.machine.evaluate(branch, &scope),
        None => Ok(Collection::Empty),
    }
}

fn type_of<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    Ok(call.input.iter().filter_map(navigate::type_of).collect())
}
