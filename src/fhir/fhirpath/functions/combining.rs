//! Combining (FHIRPath §5.4).

use super::{Function, function};
use crate::fhir::fhirpath::compare;
use crate::fhir::fhirpath::evaluate::{Call, Outcome};

pub(super) static FUNCTIONS: [Function; 2] = [function("union", 1..=1, union), function("combine", 1..=1, combine)];

fn union<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let other = call.argument(0)?;
    compare::distinct(call.machine, call.input.into_iter().chain(other))
}

fn combine<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let other = call.argument(0)?;
    call.machine.spend(other.len())?;
    call.input.extend(other);
    Ok(call.input)
}
