//! Filtering and projection (FHIRPath §5.2), `sort` and `aggregate`.

use std::cmp::Ordering;

use super::{Function, function};
use crate::fhir::fhirpath::compare;
use crate::fhir::fhirpath::context::Failure;
use crate::fhir::fhirpath::evaluate::{Call, Outcome, Scope, single};
use crate::fhir::fhirpath::plan::{Plan, Sign};
use crate::fhir::fhirpath::value::{Collection, Value};

pub(super) static FUNCTIONS: [Function; 5] = [
    function("where", 1..=1, filter),
    function("select", 1..=1, select),
    function("repeat", 1..=1, repeat),
    function("sort", 0..=8, sort),
    function("aggregate", 1..=2, aggregate),
];

fn filter<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let mut kept = Collection::Empty;
    for (index, value) in std::mem::take(&mut call.input).into_iter().enumerate() {
        if call.criterion(&value, index)? == Some(true) {
            kept.push(value);
        }
    }
    Ok(kept)
}

fn select<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let mut selected = Collection::Empty;
    for (index, value) in call.input.iter().enumerate() {
        selected.extend(call.with(0, value, index)?);
    }
    Ok(selected)
}

/// What the projection yields, and what it yields of that, until nothing new comes.
fn repeat<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let mut found = Collection::Empty;
    let mut open = std::mem::take(&mut call.input).into_iter().collect::<Vec<_>>();
    while !open.is_empty() {
        let mut next = Vec::new();
        for (index, value) in open.iter().enumerate() {
            for value in call.with(0, value, index)? {
                if !is_known(&call, &found, &value)? {
                    found.push(value.clone());
                    next.push(value);
                }
            }
        }
        open = next;
    }
    Ok(found)
}

/// Elements are told apart by where they stand, so that equal items of a tree are all visited; values by equality,
/// so that a projection to a constant ends.
fn is_known<'d>(call: &Call<'_, 'd>, found: &Collection<'d>, value: &Value<'d>) -> Result<bool, Failure> {
    let Value::Node(node) = value else { return compare::contains(call.machine, found, value) };
    call.machine.spend(found.len())?;
    Ok(found.iter().any(|other| match other {
        Value::Node(other) => {
            other.element.node() == node.element.node()
                && std::ptr::eq(other.element.document(), node.element.document())
        }
        _ => false,
    }))
}

/// Sorts by each key in turn, descending where it is written with a minus; empty keys come first in both.
fn sort<'d>(mut call: Call<'_, 'd>) -> Outcome<'d> {
    let values = std::mem::take(&mut call.input).into_iter().collect::<Vec<_>>();
    let mut keyed = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let scope = Scope { this: &value, index: Some(index), total: call.scope.total };
        let mut keys = Vec::with_capacity(call.arguments.len());
        for argument in call.arguments {
            let (plan, descending) = match argument {
                Plan::Sign(Sign::Minus, of) => (&**of, true),
                plan => (plan, false),
            };
            keys.push((single(call.machine.evaluate(plan, &scope)?, "a sort key")?, descending));
        }
        if keys.is_empty() {
            keys.push((Some(value.clone()), false));
        }
        keyed.push((keys, value));
    }
    let mut failure = None;
    let count = keyed.len();
    call.machine.spend(count.saturating_mul(count.checked_ilog2().unwrap_or(0) as usize + 1))?;
    keyed.sort_by(|(left, _), (right, _)| {
        for ((left, descending), (right, _)) in left.iter().zip(right) {
            let order = match (left, right) {
                (Some(left), Some(right)) => match compare::order(left, right) {
                    Ok(order) => order.unwrap_or(Ordering::Equal),
                    Err(error) => {
                        failure = Some(error);
                        Ordering::Equal
                    }
                },
                (None, None) => Ordering::Equal,
                (left, right) => return left.is_some().cmp(&right.is_some()),
            };
            if order != Ordering::Equal {
                return if *descending { order.reverse() } else { order };
            }
        }
        Ordering::Equal
    });
    match failure {
        Some(failure) => Err(failure),
        None => Ok(keyed.into_iter().map(|(_, value)| value).collect()),
    }
}

fn aggregate<'d>(call: Call<'_, 'd>) -> Outcome<'d> {
    let mut total = call.argument(1)?;
    for (index, value) in call.input.iter().enumerate() {
        let scope = Scope { this: value, index: Some(index), total: Some(&total) };
        let next = call.machine.evaluate(&call.arguments[0], &scope)?;
        total = next;
    }
    Ok(total)
}
