//! Equality, equivalence and order (FHIRPath §6.1, §6.2), and what rests on equality: distinct, membership.
//!
//! `None` is the empty answer: two dates of different precision, amounts that no unit joins. Elements with children
//! are equal if all their children are, whatever the order of properties.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use rust_decimal::{Decimal, RoundingStrategy};

use super::context::Failure;
use super::evaluate::{Machine, Outcome};
use super::quantity;
use super::temporal::{Temporal, TemporalKind};
use super::value::{Collection, Node, Quantity, Value};
use crate::fhir::tree::{Element, Kind};

/// Collections longer than this look texts up in a set instead of comparing pairwise.
const FEW: usize = 24;

pub(super) fn equal_collections(
    machine: &Machine<'_>,
    left: &Collection<'_>,
    right: &Collection<'_>,
) -> Result<Option<bool>, Failure> {
    if left.is_empty() || right.is_empty() {
        return Ok(None);
    }
    if left.len() != right.len() {
        return Ok(Some(false));
    }
    let mut all = Some(true);
    for (left, right) in left.iter().zip(right.iter()) {
        match equal(machine, left, right)? {
            Some(true) => {}
            Some(false) => return Ok(Some(false)),
            None => all = None,
        }
    }
    Ok(all)
}

/// Equivalence: order does not matter, and empty is equivalent to empty.
pub(super) fn equivalent_collections(
    machine: &Machine<'_>,
    left: &Collection<'_>,
    right: &Collection<'_>,
) -> Result<bool, Failure> {
    if left.len() != right.len() {
        return Ok(false);
    }
    let mut open = right.iter().collect::<Vec<_>>();
    'left: for left in left {
        for at in 0..open.len() {
            if equivalent(machine, left, open[at])? {
                open.swap_remove(at);
                continue 'left;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

pub(super) fn equal(machine: &Machine<'_>, left: &Value<'_>, right: &Value<'_>) -> Result<Option<bool>, Failure> {
    machine.spend(1)?;
    machine.read(left)?;
    machine.read(right)?;
    let (left_system, right_system) = aligned(left, right);
    match (&left_system, &right_system) {
        (Some(left), Some(right)) => Ok(equal_system(left, right)),
        (None, None) => match (left, right) {
            (Value::Node(left), Value::Node(right)) => {
                same_children(machine, left.element, right.element, false).map(Some)
            }
            (Value::Type { namespace, name }, Value::Type { namespace: other, name: other_name }) => {
                Ok(Some(namespace == other && name == other_name))
            }
            _ => Ok(Some(false)),
        },
        _ => Ok(Some(false)),
    }
}

fn equal_system(left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    match (left, right) {
        (Value::Boolean(left), Value::Boolean(right)) => Some(left == right),
        (Value::Text(left), Value::Text(right)) => Some(left == right),
        (Value::Integer(left), Value::Integer(right)) => Some(left == right),
        (Value::Temporal(left), Value::Temporal(right)) => {
            if (left.kind == TemporalKind::Time) != (right.kind == TemporalKind::Time) {
                return Some(false);
            }
            left.compare(right).map(Ordering::is_eq)
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => Some(left == right),
            _ => match (amount(left), amount(right)) {
                (Some(left), Some(right)) => quantity::compare(&left, &right).map(Ordering::is_eq),
                _ => Some(false),
            },
        },
    }
}

fn equivalent(machine: &Machine<'_>, left: &Value<'_>, right: &Value<'_>) -> Result<bool, Failure> {
    machine.spend(1)?;
    machine.read(left)?;
    machine.read(right)?;
    let (left_system, right_system) = aligned(left, right);
    Ok(match (&left_system, &right_system) {
        (Some(Value::Text(left)), Some(Value::Text(right))) => normalized(left) == normalized(right),
        (Some(Value::Temporal(left)), Some(Value::Temporal(right))) => {
            left.same_precision(right) && left.compare(right) == Some(Ordering::Equal)
        }
        (Some(left), Some(right)) => match (number(left), number(right)) {
            (Some(left), Some(right)) => agree(left, right),
            _ => match (amount(left), amount(right)) {
                (Some(left), Some(right)) => quantity::equivalent(&left, &right),
                _ => equal_system(left, right) == Some(true),
            },
        },
        (None, None) => match (left, right) {
            (Value::Node(left), Value::Node(right)) => same_children(machine, left.element, right.element, true)?,
            _ => equal(machine, left, right)? == Some(true),
        },
        _ => false,
    })
}

/// Case and blanks do not matter for equivalence.
fn normalized(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Whether two numbers agree to the precision of the less precise one.
pub(super) fn agree(left: Decimal, right: Decimal) -> bool {
    let scale = left.scale().min(right.scale());
    let rounded = |value: Decimal| value.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero);
    rounded(left) == rounded(right)
}

/// Order of two values; `None` where precision or units leave it open.
pub(super) fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Option<Ordering>, Failure> {
    let (Some(left), Some(right)) = aligned(left, right) else {
        let absent = |value: &Value<'_>| matches!(value, Value::Node(node) if node.element.kind().is_none());
        // A primitive that has extensions and no value is empty here.
        return if absent(left) || absent(right) { Ok(None) } else { Err(Failure::WrongType("a comparison")) };
    };
    match (&left, &right) {
        (Value::Text(left), Value::Text(right)) => Ok(Some(left.cmp(right))),
        (Value::Integer(left), Value::Integer(right)) => Ok(Some(left.cmp(right))),
        (Value::Temporal(left), Value::Temporal(right))
            if (left.kind == TemporalKind::Time) == (right.kind == TemporalKind::Time) =>
        {
            Ok(left.compare(right))
        }
        _ => match (number(&left), number(&right)) {
            (Some(left), Some(right)) => Ok(Some(left.cmp(&right))),
            _ => match (amount(&left), amount(&right)) {
                (Some(left), Some(right)) => Ok(quantity::compare(&left, &right)),
                _ => Err(Failure::WrongType("a comparison")),
            },
        },
    }
}

/// The system values of both sides. A JSON string of unknown type beside a date is read as a date.
fn aligned<'d>(left: &Value<'d>, right: &Value<'d>) -> (Option<Value<'d>>, Option<Value<'d>>) {
    let (left_system, right_system) = (left.system(), right.system());
    let dated = |value: &Value<'d>, system: Option<Value<'d>>, other: Option<&Value<'d>>| match (value, other) {
        (Value::Node(Node { type_name: None, .. }), Some(Value::Temporal(other))) => match &system {
            Some(Value::Text(text)) => read_like(text, other).map(Value::Temporal).or(system),
            _ => system,
        },
        _ => system,
    };
    let first = dated(left, left_system.clone(), right_system.as_ref());
    let second = dated(right, right_system, left_system.as_ref());
    (first, second)
}

fn read_like(text: &str, other: &Temporal) -> Option<Temporal> {
    match other.kind {
        TemporalKind::Time => Temporal::time(text).or_else(|| Temporal::date_time(text)),
        _ => Temporal::date_time(text),
    }
}

pub(super) fn number(value: &Value<'_>) -> Option<Decimal> {
    match value {
        Value::Integer(value) => Some(Decimal::from(*value)),
        Value::Decimal(value) => Some(*value),
        _ => None,
    }
}

/// A quantity, or a number as a quantity of unit `1`.
pub(super) fn amount<'d>(value: &Value<'d>) -> Option<Quantity<'d>> {
    match value {
        Value::Quantity(quantity) => Some((**quantity).clone()),
        value => number(value).map(|value| Quantity { value, unit: Cow::Borrowed("1"), calendar: false }),
    }
}

/// Whether two elements have equal children; depth is bounded by the reader of the document.
fn same_children(machine: &Machine<'_>, left: Element<'_>, right: Element<'_>, loosely: bool) -> Result<bool, Failure> {
    let sorted = |element: Element<'_>| element.children().count();
    if sorted(left) != sorted(right) {
        return Ok(false);
    }
    machine.spend(sorted(left))?;
    let mut done = "";
    for (name, _) in left.children() {
        if name == done {
            continue;
        }
        done = name;
        let (ours, theirs) = (left.all(name), right.all(name));
        if ours.clone().count() != theirs.clone().count() {
            return Ok(false);
        }
        for (ours, theirs) in ours.zip(theirs) {
            if !same_element(machine, ours, theirs, loosely)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn same_element(machine: &Machine<'_>, left: Element<'_>, right: Element<'_>, loosely: bool) -> Result<bool, Failure> {
    machine.spend(1 + left.text().map_or(0, str::len) / 64)?;
    if left.kind() != right.kind() {
        return Ok(false);
    }
    let same_value = match left.kind() {
        Some(Kind::Number) => {
            let node = |element| Value::Node(Node { element, type_name: None });
            equal_system(
                &node(left).system().unwrap_or(Value::Boolean(false)),
                &node(right).system().unwrap_or(Value::Boolean(false)),
            ) == Some(true)
        }
        Some(Kind::String) if loosely => left.text().map(normalized) == right.text().map(normalized),
        _ => left.text() == right.text(),
    };
    Ok(same_value && same_children(machine, left, right, loosely)?)
}

pub(super) fn contains(machine: &Machine<'_>, values: &Collection<'_>, value: &Value<'_>) -> Result<bool, Failure> {
    for other in values {
        if equal(machine, other, value)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The items without those that are equal to an earlier one.
pub(super) fn distinct<'d>(machine: &Machine<'d>, values: impl Iterator<Item = Value<'d>>) -> Outcome<'d> {
    let mut kept = Collection::Empty;
    let mut seen = Seen::default();
    for value in values {
        if !seen.knows(machine, &kept, &value)? {
            kept.push(value);
        }
    }
    Ok(kept)
}

/// Texts that were seen, so that long lists of codes and ids are not compared pairwise.
#[derive(Default)]
struct Seen<'d> {
    texts: HashSet<Cow<'d, str>>,
    hashed: usize,
    others: bool,
}

impl<'d> Seen<'d> {
    fn knows(&mut self, machine: &Machine<'_>, kept: &Collection<'d>, value: &Value<'d>) -> Result<bool, Failure> {
        if kept.len() <= FEW {
            return contains(machine, kept, value);
        }
        for value in &kept.as_slice()[self.hashed..] {
            match value.system() {
                Some(Value::Text(text)) => {
                    self.texts.insert(text);
                }
                _ => self.others = true,
            }
        }
        self.hashed = kept.len();
        match value.system() {
            Some(Value::Text(text)) if !self.others => {
                machine.spend(1)?;
                Ok(self.texts.contains(&text))
            }
            _ => contains(machine, kept, value),
        }
    }
}
