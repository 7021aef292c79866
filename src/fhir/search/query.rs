//! A search as it was understood: what must match, and how the result is to be presented.

use super::clause::Clause;
use super::hints::Hints;
use crate::fhir::fhirpath::Node;
use crate::fhir::tree::Element;

/// A search within one resource type.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub kind: String,
    /// All must hold.
    pub clauses: Vec<Clause>,
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    pub by: SortBy,
    pub descending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortBy {
    Date,
    LastUpdated,
    Id,
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
    /// Whether the resource is of the type and satisfies every clause.
    pub fn matches(&self, resource: Element<'_>, updated_ms: i64) -> bool {
        let node = Node::resource(resource);
        resource.resource_type() == Some(self.kind.as_str())
            && self.clauses.iter().all(|clause| clause.matches(node, updated_ms, self.base.as_deref()))
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
