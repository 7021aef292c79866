//! Tree navigation (FHIRPath §5.8).

use super::{Function, function};
use crate::fhir::fhirpath::evaluate::{Call, Outcome};
use crate::fhir::fhirpath::navigate;
use crate::fhir::fhirpath::value::{Collection, Value};

pub(super) static FUNCTIONS: [Function; 2] =
    [function("children", 0..=0, children), function("descendants", 0..=0, descendants)];

fn children<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let mut found = Vec::new();
    for value in &call.input {
        if let Value::Node(node) = value {
            navigate::children(call.machine, node, &mut found)?;
        }
    }
    Ok(found.into_iter().collect())
}

/// All levels below, one after the other.
fn descendants<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let mut found = call.input.into_iter().collect::<Vec<_>>();
    let roots = found.len();
    let mut at = 0;
    while at < found.len() {
        if let Value::Node(node) = &found[at] {
            let node = *node;
            navigate::children(call.machine, &node, &mut found)?;
        }
        at += 1;
    }
    found.drain(..roots);
    Ok(Collection::Many(found))
}
