//! Who receives what is taken in, by name: what a person is told before anything is sent.
//!
//! The workers that send know addresses and schedules as well (`deliver`); here is only what decides.

use std::sync::Arc;

use serde::Deserialize;

use super::Gateway;
use super::consents::{self, Subject};
use super::facts::Facts;
use super::shape::Live;
use super::trail::{Act, Author};
use crate::fhir::tree::{Element, json};
use crate::peers::fhir_rest::Linker;
use crate::policy::consent::{self, Action, Actor, Compiled, Denial, Manner, Permitted};
use crate::policy::routing::{self, Grounds, Origin, Table};
use crate::store::{AuditRecord, Stored};

/// Whether a destination learns whose data it gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// What is sent is what was accepted.
    #[default]
    Kept,
    /// It gets measurements of persons that it knows by names of its own.
    Pseudonym,
}

/// One destination.
#[derive(Clone)]
pub struct Recipient {
    pub name: Arc<str>,
    /// The reference by which Consents name it.
    pub actor: String,
    /// v3-ActReason code under which data is disclosed to it.
    pub purpose: String,
    /// Whether it knows persons by names of its own alone.
    pub pseudonym: bool,
    /// How it is told what the person no longer lets it have, and what was of persons who are forgotten, if it is.
    pub on_withdrawal: Option<Manner>,
    pub on_erasure: Option<Manner>,
    /// The shape in which it wants measurements, if it has one of its own.
    pub shape: Option<Arc<Live>>,
    /// Where persons let it take what is theirs, if nothing else lets us in.
    pub linker: Option<Arc<Linker>>,
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
        // Whose it is and from whom is not known here; what asks for that is left open.
        routes(&self.routing, kind, element, owner, name, Known::default())
    }
}

/// Whether the table sends a resource of that client's to that destination.
pub(super) fn routes(
    routing: &Table,
    kind: &str,
    element: Element<'_>,
    owner: &str,
    name: &str,
    known: Known<'_>,
) -> bool {
    let facts = Facts::of(Arc::from(kind), element);
    routing.decide(&known.asked(&facts, owner)).contains(&name)
}

/// What is known of a resource besides what it says.
#[derive(Clone, Copy, Default)]
pub struct Known<'k> {
    pub origin: Option<&'k Origin>,
    pub grounds: Option<Grounds>,
}

impl<'k> Known<'k> {
    /// What the routing table is asked.
    pub fn asked<'a>(self, facts: &'a Facts<'a>, owner: &'a str) -> routing::Facts<'a>
    where
        'k: 'a,
    {
        let (codes, categories) = (facts.codes(), facts.categories());
        let Known { origin, grounds } = self;
        routing::Facts { kind: &facts.kind, codes, categories, owner, date_ms: facts.date_ms, origin, grounds }
    }
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
        let named = (Author::patient_of(&stored), stored.patient?);
        let versioned = format!("{}/{}/_history/{}", stored.kind, stored.logical_id(), stored.version);
        let decided = decided(self, consents, Asking { actor, purpose }, stored)?;
        Some(decided.map_err(|denial| {
            let (issue, basis) = (denial.issue().id, denial.basis.as_ref());
            Box::new(author.record(Act::Withhold, Some(&named), &[versioned], basis, &[issue]))
        }))
    }
}

/// Who is to receive, and what for.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub actor: &'a Actor,
    pub purpose: &'a str,
}

impl<'a> Asking<'a> {
    fn request(self, now_ms: i64) -> consent::Request<'a> {
        let Asking { actor, purpose } = self;
        consent::Request { action: Action::Disclose, actor, purpose, policies: &[], now_ms }
    }
}

/// What consents say of disclosing a stored resource; nothing, where it is of nobody or cannot be read.
pub(super) fn decided(
    gateway: &Gateway,
    consents: &[Arc<Compiled>],
    asking: Asking<'_>,
    stored: Stored,
) -> Option<Result<Permitted<Stored>, Denial>> {
    stored.patient?;
    let document = json::parse(stored.payload.as_slice()).ok()?;
    let id = Author::patient_of(&stored);
    let facts = Facts::of(stored.kind.clone(), Element::root(&document));
    let reference = format!("{}/{}", stored.kind, stored.logical_id());
    let patients = consents::names(&gateway.base, &id);
    let subject = Subject { patients: &patients, reference: &reference, facts: &facts };
    let request = asking.request(gateway.now_ms());
    Some(consents::permit(consents, &gateway.implied, &request, &subject, stored))
}

/// The refusal, where nothing of a person may be disclosed, whatever it is.
pub(super) fn nothing_at_all(
    gateway: &Gateway,
    consents: &[Arc<Compiled>],
    asking: Asking<'_>,
    patient: &str,
) -> Option<Denial> {
    let patients = consents::names(&gateway.base, patient);
    consents::nothing_at_all(consents, &gateway.implied, &asking.request(gateway.now_ms()), &patients)
}
