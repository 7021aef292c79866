//! One resource by its id (R4 §3.1.0.2, §3.1.0.3).

use super::{ConsentsSeen, Content, Sight, Visible};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, kinds};
use crate::fhir::outcome::Id;
use crate::policy::access::Interaction;
use crate::store::{self, Stored};

impl Gateway {
    async fn is_from(&self, caller: &Caller<'_>, kind: &str, id: &str) -> Result<bool, Refusal> {
        let registered = self.store.heading(kind, id).await?;
        Ok(registered.is_some_and(|stored| stored.owner == caller.principal.client))
    }

    /// `GET [base]/[type]/[id]`, or one version of it.
    pub async fn read(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        id: &str,
        version: Option<u32>,
    ) -> Result<Stored, Refusal> {
        let Some(rule) = kinds::kind(kind) else {
            return Err(Refusal::one(Id::InteractionUnsupported, "", "Resources of this type are not held here."));
        };
        if let Err(denied) = caller.principal.permits(rule.name, Interaction::Read) {
            return Err(self.refused(caller, denied.issue().into()).await);
        }
        let found = match version {
            None => self.store.read(rule.name, id).await,
            Some(version) => self.store.read_version(rule.name, id, version).await,
        };
        let found = match found {
            // Whether anybody else may know of it cannot be told any more.
            Err(store::Error::Damaged) if !self.is_from(caller, rule.name, id).await? => None,
            found => found?,
        };
        let author = Author::of(self, caller);
        // The person hears of it, too, when somebody was turned away; what stood there is not said.
        let concerned = found.as_ref().and_then(|stored| Some((Author::patient_of(stored), stored.patient?)));
        let sight = match found {
            Some(stored) => {
                self.visible(caller, rule, Interaction::Read, stored, self.now_ms(), &mut ConsentsSeen::default())
                    .await?
            }
            None => Sight::Hidden,
        };
        let basis_of_denial = match &sight {
            Sight::Withheld(withheld) => withheld.denial.basis.clone(),
            _ => None,
        };
        let Sight::Visible(Visible { content: Content { stored, .. }, basis }) = sight else {
            // To the client it is absent, also where it reads the audit.
            let mut records = vec![author.record(Act::Refuse, None, &[], None, &[Id::NotFound])];
            if let Some(patient) = &concerned {
                records = vec![author.withheld(patient, basis_of_denial.as_ref(), Id::NotFound)];
            }
            self.store.record_audit(records).await?;
            return Err(Refusal::not_found().recorded());
        };
        if stored.deleted {
            // Only whoever might have read it learns that it was there.
            self.store
                .record_audit(vec![author.record(Act::Refuse, concerned.as_ref(), &[], None, &[Id::Gone])])
                .await?;
            return Err(Refusal::one(Id::Gone, "", "The resource was deleted.").recorded());
        }
        let references = [format!("{kind}/{id}/_history/{}", stored.version)];
        let patient = stored.patient.map(|key| (Author::patient_of(&stored), key));
        let record = author.record(Act::Read, patient.as_ref(), &references, basis.as_ref(), &[]);
        self.store.record_audit(vec![record]).await?;
        Ok(stored)
    }
}
