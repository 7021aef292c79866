//! What waits for another attempt when a person changes a consent: what is no longer permitted leaves in the same
//! transaction, and not when its turn comes.
//!
//! What no attempt was made for yet stands in the feed and is judged when it is met; what is under way at this moment was
//! permitted when it left.

use super::judge::Knowledge;
use crate::exchange::trail::Author;
use crate::exchange::{Gateway, Refusal};
use crate::policy::consent::Actor;
use crate::store::{Cancelled, Finish, Finished, PatientKey, Retry, Write};

/// Lets what is no longer permitted leave, if the consents that say so come about. Else it is judged at its next attempt.
pub(super) fn cancelling(finish: Finish, cancelled: Vec<Cancelled>, writes: &[Write], atomic: bool) -> Finish {
    if cancelled.is_empty() {
        return finish;
    }
    let all = writes.len();
    let matters: Vec<usize> = (0..all).filter(|index| atomic || writes[*index].consent).collect();
    Box::new(move |outcomes| {
        let come_about = outcomes.len() == all && matters.iter().all(|index| !outcomes[*index].is_conflict());
        let finished = finish(outcomes);
        if come_about { Finished { cancelled, ..finished } } else { finished }
    })
}

impl Gateway {
    /// Deliveries of the persons whose consents are written that these no longer permit.
    pub(super) async fn no_longer_permitted(
        &self,
        knowledge: &mut Knowledge,
        writes: &[Write],
    ) -> Result<Vec<Cancelled>, Refusal> {
        let mut patients: Vec<PatientKey> = Vec::new();
        for patient in writes.iter().filter(|write| write.consent).filter_map(|write| write.patient) {
            if !patients.contains(&patient) {
                patients.push(patient);
            }
        }
        let mut cancelled = Vec::new();
        for patient in patients {
            for recipient in &self.recipients.all {
                let waiting = self.store.retries_of(&recipient.name, patient).await?;
                if waiting.is_empty() {
                    continue;
                }
                let consents = knowledge.consents_after(self, patient, writes).await?;
                let (actor, purpose) = (Actor::reference(&recipient.actor), &recipient.purpose);
                let author = Author::destination(self, &recipient.name, &recipient.actor, purpose, String::new());
                for Retry { id, stored, .. } in waiting {
                    if let Some(Err(record)) = self.disclosable(&consents, &actor, &author, purpose, stored) {
                        cancelled.push(Cancelled { destination: recipient.name.clone(), id, record: *record });
                    }
                }
            }
        }
        Ok(cancelled)
    }
}
