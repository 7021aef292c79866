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
mod sorted;
mod statistics;

pub use history::{Version, Versions, Whose};
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
use crate::policy::consent::{self, Action, Basis, Denial};
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

/// The consents that one request has looked up: asked of the store after the request came in, once a person.
pub(super) type ConsentsSeen = HashMap<PatientKey, Page>;

impl Gateway {
    /// Why the caller may see nothing of a person, whatever it is; nothing where it may see something.
    pub(super) async fn withheld_from(
        &self,
        caller: &Caller<'_>,
        (id, patient): (&str, PatientKey),
        seen: &mut ConsentsSeen,
    ) -> Result<Option<Denial>, store::Error> {
        let page = self.page_of(patient, seen).await?;
        if page.restricted {
            return Ok(Some(Denial::restricted()));
        }
        let actor = consents::actor(caller);
        let now_ms = self.now_ms();
        let request =
            consent::Request { action: Action::Access, actor: &actor, purpose: caller.purpose, policies: &[], now_ms };
        Ok(consents::nothing_at_all(&page.consents, &self.implied, &request, &self.base, id))
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

    async fn page_of<'s>(&self, patient: PatientKey, seen: &'s mut ConsentsSeen) -> Result<&'s Page, store::Error> {
        Ok(match seen.entry(patient) {
            Entry::Occupied(page) => page.into_mut(),
            Entry::Vacant(place) => place.insert(self.consents_now(patient).await?),
        })
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
        let Ok(document) = json::parse(stored.payload.as_slice()).map(Arc::new) else {
            tracing::error!(kind = rule.name, "a stored resource cannot be read");
            return Ok(Sight::Hidden);
        };
        let facts = Facts::of(Arc::from(rule.name), Element::root(&document));
        let granted = |interaction| {
            caller.principal.scopes.permits(rule.name, interaction).allows(facts.categories(), facts.codes())
        };
        if !granted(interaction) {
            return Ok(Sight::Hidden);
        }
        if rule.guard == Guard::Owner && stored.owner == caller.principal.client {
            drop(facts);
            return Ok(Sight::Visible(Visible { stored, document, basis: None }));
        }
        let Some(patient) = stored.patient else { return Ok(Sight::Hidden) };
        let page = self.page_of(patient, seen).await?;
        let reference = format!("{}/{}", rule.name, stored.logical_id());
        let id = if rule.subject == kinds::Subject::Itself {
            stored.logical_id()
        } else {
            Author::patient_named(Element::root(&document))
        };
        if page.restricted {
            drop(facts);
            return Ok(Sight::Withheld(Withheld { document, patient: (id, patient), denial: Denial::restricted() }));
        }
        let subject = Subject { base: &self.base, patient: &id, reference: &reference, facts: &facts };
        let actor = consents::actor(caller);
        let request =
            consent::Request { action: Action::Access, actor: &actor, purpose: caller.purpose, policies: &[], now_ms };
        let decision = consents::permit(&page.consents, &self.implied, &request, &subject, stored);
        drop(facts);
        Ok(match decision {
            Ok(permitted) => {
                let basis = Some(permitted.basis().clone());
                Sight::Visible(Visible { stored: permitted.into_inner(), document, basis })
            }
            Err(denial) => Sight::Withheld(Withheld { document, patient: (id, patient), denial }),
        })
    }
}
