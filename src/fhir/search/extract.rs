//! From a resource to the values that a parameter searches.
//!
//! A definition lists one FHIRPath expression for each base type; only those of the resource type at hand are
//! compiled. `where(resolve() is X)` at the end of one is taken off and decided from the reference's own text,
//! because nothing is resolved here. The only file that knows FHIRPath.

use super::escape;
use super::reference;
use crate::fhir::fhirpath::{self, Context, Expression, Node, ShapesOnly, Value};
use crate::fhir::tree::Element;

/// A value that a parameter found.
#[derive(Clone, Copy, Debug)]
pub enum Found<'d> {
    Node(Node<'d>),
    /// The result of a condition, as `Patient.deceased.exists()`.
    Boolean(bool),
}

/// The expressions of one parameter for one resource type.
#[derive(Clone, Debug)]
pub struct Path {
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug)]
struct Alternative {
    expression: Expression,
    /// Plain path from the resource, where the expression is one.
    path: Option<String>,
    /// Type that a reference must point to.
    target: Option<String>,
}

impl Path {
    /// `None` when no alternative is of this resource type, or one of them is not FHIRPath.
    pub(super) fn compile(kind: &str, text: &str) -> Option<Path> {
        let applies = |alternative: &&str| applies(kind, alternative);
        let alternatives: Option<Vec<Alternative>> =
            alternatives(text).into_iter().map(str::trim).filter(applies).map(Alternative::compile).collect();
        alternatives.filter(|alternatives| !alternatives.is_empty()).map(|alternatives| Path { alternatives })
    }

    /// What the resource has under this path, seen from `focus`; `None` where that cannot be told.
    pub(super) fn select<'d>(&'d self, resource: Node<'d>, focus: Node<'d>) -> Option<Vec<Found<'d>>> {
        let context = Context { as_filters: true, ..Context::new(&ShapesOnly, resource) };
        let mut found = Vec::new();
        for alternative in &self.alternatives {
            for value in alternative.expression.evaluate(&context, focus).ok()? {
                match value {
                    Value::Node(node) if alternative.admits(node.element) => found.push(Found::Node(node)),
                    Value::Boolean(value) => found.push(Found::Boolean(value)),
                    _ => {}
                }
            }
        }
        Some(found)
    }

    /// The path, where there is one only and it selects nothing further.
    pub(super) fn plain(&self) -> Option<&str> {
        match self.alternatives.as_slice() {
            [only] => only.path.as_deref(),
            _ => None,
        }
    }
}

impl Alternative {
    fn compile(text: &str) -> Option<Alternative> {
        let (path, target) = split_target(text);
        let plain = path.chars().all(|each| each.is_ascii_alphanumeric() || each == '.');
        Some(Alternative {
            expression: fhirpath::compile(path).ok()?,
            path: plain.then(|| path.to_owned()),
            target: target.map(str::to_owned),
        })
    }

    fn admits(&self, element: Element<'_>) -> bool {
        self.target.as_deref().is_none_or(|target| reference::target_type(element) == Some(target))
    }
}

/// Splits at `|` outside parentheses.
fn alternatives(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::new();
    let mut start = 0;
    let mut depth = 0_i32;
    for part in escape::split(text, '|') {
        depth += part.matches('(').count() as i32 - part.matches(')').count() as i32;
        let end = part.as_ptr() as usize - text.as_ptr() as usize + part.len();
        if depth == 0 {
            parts.push(&text[start..end]);
            start = end + 1;
        }
    }
    parts
}

/// Whether an expression is about a resource type: its root names it, or names no type.
fn applies(kind: &str, expression: &str) -> bool {
    let text = expression.trim_start_matches('(');
    let end = text.find(|each: char| !each.is_ascii_alphanumeric()).unwrap_or(text.len());
    let root = &text[..end];
    !root.starts_with(|first: char| first.is_ascii_uppercase())
        || root == kind
        || matches!(root, "Resource" | "DomainResource")
}

/// Takes a final `.where(resolve() is X)` off.
fn split_target(text: &str) -> (&str, Option<&str>) {
    let taken = text.split_once(".where(resolve() is ").and_then(|(path, rest)| Some((path, rest.strip_suffix(')')?)));
    match taken {
        Some((path, target)) if target.chars().all(|each| each.is_ascii_alphanumeric()) => (path, Some(target)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_alternatives_outside_parentheses() {
        assert_eq!(alternatives("A.b | (A.c | A.d).e | f"), ["A.b ", " (A.c | A.d).e ", " f"]);
    }

    #[test]
    fn keeps_what_is_about_the_type() {
        for (text, expected) in [
            ("Observation.code", true),
            ("(Observation.value as Quantity)", true),
            ("Resource.meta.tag", true),
            ("value.as(Quantity)", true),
            ("Condition.code", false),
            ("ObservationDefinition.code", false),
        ] {
            assert_eq!(applies("Observation", text), expected, "{text}");
        }
    }

    #[test]
    fn takes_the_target_off() {
        assert_eq!(split_target("A.b.where(resolve() is Patient)"), ("A.b", Some("Patient")));
        assert_eq!(split_target("A.b.where(c = 'd')"), ("A.b.where(c = 'd')", None));
    }
}
