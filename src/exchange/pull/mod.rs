//! What clients ask of us: find, ask the person's consent for each hit, record the reading, and only then answer.
//!
//! A search can only get smaller: hits that the consent withholds are left out before paging and counting, so that
//! what is withheld and what is absent look the same. The audit event is on disk before the first byte leaves.

mod audit;
mod definitions;
mod history;
mod include;
mod latest;
mod links;
mod matching;
pub(super) mod page;
mod read;
pub(super) mod search;
mod sieve;
mod sorted;
mod statistics;

pub use history::{Asked as AskedOfHistory, Version, Versions, Whose};
pub use search::Found;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::consents::{self, Page, Subject};
use super::facts::Facts;
use super::kinds::{self, Guard, KindRule};
use super::trail::Author;
use super::{Caller, Gateway, Refusal};
use crate::fhir::tree::{Document, Element, json};
use crate::policy::access::Interaction;
use crate::policy::consent::{self, Action, Actor, Basis, Denial};
use crate::store::{self, PatientKey, Stored};

/// What the caller may see of a stored resource.
pub(super) enum Sight {
    Visible(Visible),
    /// The person's consents don't let it be seen; the person hears of it.
    Withheld(Withheld),
    /// Nobody's business: out of scope, or not readable.
    Hidden,
}

/// A resource that the caller may see.
pub(super) struct Visible {
    pub stored: Stored,
    pub document: Arc<Document>,
    pub basis: Option<Basis>,
}

/// A resource that the caller may not see.
pub(super) struct Withheld {
    document: Arc<Document>,
    pub patient: (String, PatientKey),
    pub denial: Denial,
}

/// What one request has found out of the persons whom it asks for, and what it would otherwise make anew for each
/// resource. It belongs to one caller.
#[derive(Default)]
pub(super) struct ConsentsSeen {
    /// Asked of the store after the request came in, once a person.
    pages: HashMap<PatientKey, Page>,
    /// The person of the last resource: her id, and the references that she answers to.
    person: (String, [String; 2]),
    actor: Option<Actor>,
    memory: json::Memory,
}

impl ConsentsSeen {
    fn actor(&mut self, caller: &Caller<'_>) -> &Actor {
        self.actor.get_or_insert_with(|| consents::actor(caller))
    }

    fn forget(&mut self, patient: PatientKey) {
        self.pages.remove(&patient);
    }

    /// Takes back what was only looked at.
    fn recycle(&mut self, document: Arc<Document>) {
        if let Some(document) = Arc::into_inner(document) {
            self.memory = document.into();
        }
    }
}

impl Gateway {
    /// Why the caller may see nothing of a person, whatever it is; nothing where it may see something.
    pub(super) async fn withheld_from(
        &self,
        caller: &Caller<'_>,
        (id, patient): (&str, PatientKey),
        seen: &mut ConsentsSeen,
    ) -> Result<Option<Denial>, store::Error> {
        self.look_up(patient, seen).await?;
        seen.actor(caller);
        let (Some(page), Some(actor)) = (seen.pages.get(&patient), &seen.actor) else { return Ok(None) };
        Ok(self.nothing_of(caller, (id, page), actor))
    }

    fn nothing_of(&self, caller: &Caller<'_>, (id, page): (&str, &Page), actor: &Actor) -> Option<Denial> {
        if page.restricted {
            return Some(Denial::restricted());
        }
        let now_ms = self.now_ms();
        let request =
            consent::Request { action: Action::Access, actor, purpose: caller.purpose, policies: &[], now_ms };
        let patients = consents::names(&self.base, id);
        consents::nothing_at_all(&page.consents, &self.implied, &request, &patients)
    }

    /// Takes a person's consents as they were last seen, if something of her may be seen by them: the epoch that the store
    /// is then to confirm.
    pub(super) fn presume(
        &self,
        caller: &Caller<'_>,
        (id, patient): (&str, PatientKey),
        seen: &mut ConsentsSeen,
    ) -> Option<u64> {
        if seen.pages.contains_key(&patient) {
            // The store has said so already.
            return None;
        }
        let page = self.consents_kept(patient)?;
        if self.nothing_of(caller, (id, &page), seen.actor(caller)).is_some() {
            return None;
        }
        let epoch = page.epoch;
        seen.pages.insert(patient, page);
        Some(epoch)
    }

    /// A stored resource, if the caller may read it as it stands.
    pub(super) async fn seen(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        stored: Stored,
    ) -> Result<Option<Stored>, Refusal> {
        let mut pages = ConsentsSeen::default();
        let sight = self.visible(caller, rule, Interaction::Read, stored, self.now_ms(), &mut pages).await?;
        Ok(match sight {
            Sight::Visible(visible) => Some(visible.stored),
            Sight::Withheld(_) | Sight::Hidden => None,
        })
    }

    /// Sees to it that a person's consents are known.
    async fn look_up(&self, patient: PatientKey, seen: &mut ConsentsSeen) -> Result<(), store::Error> {
        if let Entry::Vacant(place) = seen.pages.entry(patient) {
            place.insert(self.consents_now(patient).await?);
        }
        Ok(())
    }

    /// Whether the caller may see a stored resource.
    pub(super) async fn visible(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        interaction: Interaction,
        stored: Stored,
        now_ms: i64,
        seen: &mut ConsentsSeen,
    ) -> Result<Sight, store::Error> {
        if let (Some(patient), false) = (stored.patient, is_own(caller, rule, &stored)) {
            self.look_up(patient, seen).await?;
        }
        Ok(self.weighed(caller, rule, interaction, stored, now_ms, seen))
    }

    /// The same, when the consents are known.
    fn weighed(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        interaction: Interaction,
        stored: Stored,
        now_ms: i64,
        seen: &mut ConsentsSeen,
    ) -> Sight {
        let Ok(document) = json::parse_in(std::mem::take(&mut seen.memory), &stored.payload).map(Arc::new) else {
            tracing::error!(kind = rule.name, "a stored resource cannot be read");
            return Sight::Hidden;
        };
        let root = Element::root(&document);
        let facts = Facts::of(stored.kind.clone(), root);
        let scopes = caller.principal.scopes.permits(rule.name, interaction);
        if !scopes.allows(facts.categories(), facts.codes()) {
            return Sight::Hidden;
        }
        if is_own(caller, rule, &stored) {
            drop(facts);
            return Sight::Visible(Visible { stored, document, basis: None });
        }
        seen.actor(caller);
        let ConsentsSeen { pages, person, actor: Some(actor), .. } = seen else { return Sight::Hidden };
        let Some((patient, page)) = stored.patient.and_then(|patient| Some((patient, pages.get(&patient)?))) else {
            return Sight::Hidden;
        };
        let own_id = stored.logical_id();
        let id = if rule.subject == kinds::Subject::Itself { &own_id } else { Author::patient_named(root) };
        if person.0 != id {
            *person = (id.to_owned(), consents::names(&self.base, id));
        }
        let (id, patients) = &*person;
        if page.restricted {
            drop(facts);
            return Sight::Withheld(Withheld {
                document,
                patient: (id.clone(), patient),
                denial: Denial::restricted(),
            });
        }
        let reference = [rule.name, "/", &own_id].concat();
        let subject = Subject { patients, reference: &reference, facts: &facts };
        let request =
            consent::Request { action: Action::Access, actor, purpose: caller.purpose, policies: &[], now_ms };
        let decision = consents::permit(&page.consents, &self.implied, &request, &subject, stored);
        drop(facts);
        match decision {
            Ok(permitted) => {
                let basis = Some(permitted.basis().clone());
                Sight::Visible(Visible { stored: permitted.into_inner(), document, basis })
            }
            Err(denial) => Sight::Withheld(Withheld { document, patient: (id.clone(), patient), denial }),
        }
    }
}

/// Whether it is the caller's by its having registered it, so that no consent is asked.
fn is_own(caller: &Caller<'_>, rule: &KindRule, stored: &Stored) -> bool {
    rule.guard == Guard::Owner && stored.owner == caller.principal.client
}
