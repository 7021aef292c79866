//! Who receives what is taken in, by name: what a person is told before anything is sent.
//!
//! The workers that send know addresses and schedules as well (`deliver`); here is only what decides.

use std::sync::Arc;

use super::facts::Facts;
use crate::fhir::tree::Element;
use crate::policy::routing::{self, Table};

/// One destination.
#[derive(Clone, Debug)]
pub struct Recipient {
    pub name: Arc<str>,
    /// The reference by which Consents name it.
    pub actor: String,
    /// v3-ActReason code under which data is disclosed to it.
    pub purpose: String,
}

/// All of them, and what goes to whom.
#[derive(Clone, Default)]
pub struct Recipients {
    pub all: Vec<Recipient>,
    pub routing: Arc<Table>,
}

impl Recipients {
    /// Whether a resource of that client's is sent to that destination at all.
    pub fn routes(&self, kind: &str, element: Element<'_>, owner: &str, name: &str) -> bool {
        routes(&self.routing, kind, element, owner, name)
    }
}

/// Whether the table sends a resource of that client's to that destination.
pub(super) fn routes(routing: &Table, kind: &str, element: Element<'_>, owner: &str, name: &str) -> bool {
    let facts = Facts::of(Arc::from(kind), element);
    let asked = routing::Facts { kind, codes: facts.codes(), categories: facts.categories(), owner };
    routing.decide(&asked).contains(&name)
}
