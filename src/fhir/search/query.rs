//! A search as it was understood: what must match, and how the result is to be presented.

use super::clause::Clause;
use super::hints::Hints;
use super::include::Include;
use super::link::Link;
use super::sort::{Rank, Sort};
use super::subset::Subset;
use crate::fhir::fhirpath::Node;
use crate::fhir::tree::Element;

/// A search within one resource type.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub kind: String,
    /// All must hold.
    pub clauses: Vec<Clause>,
    /// Conditions on other resources, which must be resolved before the query can match anything.
    pub links: Vec<Link>,
    pub includes: Vec<Include>,
    pub sort: Vec<Sort>,
    pub count: Option<usize>,
    pub summary: Summary,
    pub total: Total,
    pub elements: Vec<String>,
    /// Names of the parameters that were ignored.
    pub unknown: Vec<String>,
    /// The server's base URL, if the caller sets it: absolute references under it are then references to here.
    pub base: Option<String>,
    pub(super) understood: Vec<(String, String)>,
}

/// `_summary` (R4 §3.1.1.5.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Summary {
    #[default]
    No,
    Count,
    True,
    Text,
    Data,
}

/// `_total` (R4 §3.1.1.5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Total {
    #[default]
    None,
    Estimate,
    Accurate,
}

impl Query {
    /// A search within one resource type for what satisfies a clause.
    pub fn of(kind: &str, clause: Clause, base: Option<String>) -> Query {
        Query { kind: kind.to_owned(), clauses: vec![clause], base, ..Query::default() }
    }

    /// Whether the resource is of the type and satisfies every clause; nothing does before the links are resolved.
    pub fn matches(&self, resource: Element<'_>, updated_ms: i64) -> bool {
        let node = Node::resource(resource);
        resource.resource_type() == Some(self.kind.as_str())
            && self.links.is_empty()
            && self.clauses.iter().all(|clause| clause.matches(node, updated_ms, self.base.as_deref()))
    }

    /// Where the resource stands in the order that was asked for.
    pub fn rank(&self, resource: Element<'_>, updated_ms: i64) -> Rank {
        Rank::of(&self.sort, resource, updated_ms)
    }

    /// What is asked for of each resource.
    pub fn subset(&self) -> Subset<'_> {
        Subset { summary: self.summary, elements: &self.elements }
    }

    /// What everything that matches has in common, for a store to narrow by.
    pub fn hints(&self) -> Hints {
        Hints::of(self)
    }

    /// The pairs that were understood, for the self link.
    pub fn echo(&self) -> Vec<(String, String)> {
        self.understood.clone()
    }
}
