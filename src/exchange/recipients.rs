//! Who receives what is taken in, by name: what a person is told before anything is sent.
//!
//! The workers that send know addresses and schedules as well (`deliver`); here is only what decides.

use std::sync::Arc;

use super::Gateway;
use super::consents::{self, Subject};
use super::facts::Facts;
use super::trail::{Act, Author};
use crate::fhir::tree::{Element, json};
use crate::policy::consent::{self, Action, Actor, Compiled, Permitted};
use crate::policy::routing::{self, Table};
use crate::store::{AuditRecord, Stored};

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

impl Gateway {
    /// Asks consents whether a stored resource may be disclosed to a destination. The error is the record that it was
    /// withheld; nothing, where it is of nobody or cannot be read.
    pub(super) fn disclosable(
        &self,
        consents: &[Arc<Compiled>],
        actor: &Actor,
        author: &Author,
        purpose: &str,
        stored: Stored,
    ) -> Option<Result<Permitted<Stored>, Box<AuditRecord>>> {
        let patient = stored.patient?;
        let document = json::parse(stored.payload.as_slice()).ok()?;
        let id = Author::patient_of(&stored);
        let facts = Facts::of(stored.kind.clone(), Element::root(&document));
        let reference = format!("{}/{}", stored.kind, stored.logical_id());
        let subject = Subject { base: &self.base, patient: &id, reference: &reference, facts: &facts };
        let versioned = format!("{reference}/_history/{}", stored.version);
        let request =
            consent::Request { action: Action::Disclose, actor, purpose, policies: &[], now_ms: self.now_ms() };
        let decided = consents::permit(consents, &self.implied, &request, &subject, stored);
        Some(decided.map_err(|denial| {
            let (issue, basis) = (denial.issue().id, denial.basis.as_ref());
            Box::new(author.record(Act::Withhold, Some(&(id.clone(), patient)), &[versioned], basis, &[issue]))
        }))
    }
}
