//! Who asks: the one rule by which a request counts as the person's own.
//!
//! A person speaks through the client that she uses: the one that registered her as a Patient. What shows or does no
//! more than that client may anyway needs its scopes. What goes beyond it (all her data whatever she permits apps to see,
//! an end to its processing, its erasure) needs besides that the client says that it is the person's own request: the
//! purpose PATRQT, which it can only state if the operator registered it for that purpose.

use crate::exchange::trail::Author;
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::Id;
use crate::policy::access::{Grant, Interaction};
use crate::store::PatientKey;

/// v3-ActReason: at the request of the person whom the data is about.
const OWN_REQUEST: &str = "PATRQT";

/// A person whose own request it is.
#[derive(Clone, Debug)]
pub(in crate::exchange) struct Person {
    pub id: String,
    pub key: PatientKey,
}

impl Person {
    /// As the audit names her.
    pub fn named(&self) -> (String, PatientKey) {
        (self.id.clone(), self.key)
    }
}

impl Gateway {
    /// Whether it is the client that the person uses.
    pub(in crate::exchange) async fn is_used_by(&self, caller: &Caller<'_>, person: &str) -> Result<bool, Refusal> {
        let registered = self.store.heading("Patient", person).await?;
        Ok(registered.is_some_and(|stored| !stored.deleted && stored.owner == caller.principal.client))
    }

    /// The person whose client asks, for what needs no more than a scope.
    pub(super) async fn person_of_client(
        &self,
        caller: &Caller<'_>,
        id: &str,
        scope: (&str, Interaction),
    ) -> Result<Person, Refusal> {
        if let Err(denied) = caller.principal.permits(scope.0, scope.1) {
            return Err(self.refused(caller, denied.issue().into()).await);
        }
        self.person_used_by(caller, id).await
    }

    async fn person_used_by(&self, caller: &Caller<'_>, id: &str) -> Result<Person, Refusal> {
        let key = self.patient_key(id);
        if is_id(id) && self.is_used_by(caller, id).await? {
            return Ok(Person { id: id.to_owned(), key });
        }
        // Whoever is somebody else's person, or nobody, is absent. She hears that it was tried.
        let author = Author::of(self, caller);
        let record = if is_id(id) && self.store.heading("Patient", id).await?.is_some() {
            author.withheld(&(id.to_owned(), key), None, Id::NotFound)
        } else {
            author.refusal(&[Id::NotFound])
        };
        self.store.record_audit(vec![record]).await?;
        Err(Refusal::not_found().recorded())
    }

    /// The person who asks herself, for what goes beyond what her client may do.
    pub(super) async fn herself(
        &self,
        caller: &Caller<'_>,
        id: &str,
        interaction: Interaction,
    ) -> Result<Person, Refusal> {
        if caller.purpose != OWN_REQUEST {
            let text = "This is done at the person's own request only: the client states the purpose PATRQT.";
            return Err(self.refused(caller, Refusal::one(Id::RequestNotOwn, "", text)).await);
        }
        // The person's own page speaks for the person alone and needs no scope; its client must be hers all the same.
        if *caller.principal.actor == *format!("Patient/{id}") {
            return self.person_used_by(caller, id).await;
        }
        // A scope for some categories is none for a person as a whole.
        if caller.principal.scopes.permits("Patient", interaction) != Grant::All {
            let text = format!("The scope system/Patient.{} is needed, without restriction.", interaction.letter());
            return Err(self.refused(caller, Refusal::one(Id::ScopeInsufficient, "", text)).await);
        }
        self.person_of_client(caller, id, ("Patient", interaction)).await
    }
}
