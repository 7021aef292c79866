//! What a destination is sent once more: what came in at a certain time, each resource once and as it stands now.
//!
//! For a destination that lost what it had, or was configured late. What is chosen here enters the lanes of what is tried
//! again, where the person's consent is asked at its turn as of everything. Left out is what still waits, since it goes
//! there anyway, and, where the same request is there twice if it comes twice, what the destination has by the audit.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::holdings::{Certainty, Holding};
use super::pairwise::Pairwise;
use super::recipients::{Asking, Recipient, decided};
use super::shape::Hearer;
use super::{Gateway, kinds};
use crate::devices::sources;
use crate::fhir::tree::{Element, json};
use crate::policy::consent::Actor;
use crate::store::{self, HistoryPlan, PatientKey, Stored, VersionKey};

/// Versions that are read together.
const PAGE: usize = 500;

/// What is to be sent once more.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    pub destination: &'a str,
    /// When it was taken in: from then, and until before then.
    pub from_ms: i64,
    pub until_ms: i64,
    /// Only what the destination does not have by the audit.
    pub missing: bool,
    /// It is found out, and nothing is sent.
    pub rehearsal: bool,
}

/// What came of it, in resources.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Replayed {
    /// Of that time and for that destination.
    pub found: u64,
    /// Its person's consents do not permit it now.
    pub withheld: u64,
    /// The destination has no place for it.
    pub untold: u64,
    /// The destination has it.
    pub held: u64,
    /// It waits for the destination already, or is still to come.
    pub waiting: u64,
    /// It will be sent, or would be.
    pub sent: u64,
    /// What is kept of it is damaged, so that nobody can say for whom it is. It is none of those that were found.
    pub damaged: u64,
}

/// One resource that may be sent once more.
struct Candidate {
    seq: u64,
    version: u32,
    name: (String, String),
    deleted: bool,
    permitted: bool,
    /// Whether the destination can be told.
    tellable: bool,
}

impl Gateway {
    /// Sends once more; nothing where there is no such destination.
    pub async fn replay(&self, asked: Replay<'_>) -> Result<Option<Replayed>, store::Error> {
        let Some(recipient) = self.recipients.all.iter().find(|one| *one.name == *asked.destination) else {
            return Ok(None);
        };
        let mut told = Replayed::default();
        let doubles = recipient.shape.as_ref().is_some_and(|shape| !shape.now().pack.request.repeatable);
        let to_come_ms = self.store.still_to_come(asked.destination).await?.unwrap_or(i64::MAX);
        let mut chosen = Vec::new();
        for (patient, candidates) in self.candidates(asked, recipient, to_come_ms, &mut told).await? {
            let held = self.held_by(asked.destination, patient).await?;
            for one in candidates {
                let holding = held.get(&one.name);
                let took = |holding: &Holding| holding.certainty != Certainty::Refused;
                let has_it = holding.is_some_and(|holding| holding.version >= one.version && took(holding));
                match () {
                    () if !one.permitted => told.withheld += 1,
                    // Of what is no more, nobody hears who did not have it.
                    () if one.deleted && holding.is_none() => told.withheld += 1,
                    () if !one.tellable => told.untold += 1,
                    () if has_it && (asked.missing || doubles) => told.held += 1,
                    () => chosen.push((one.seq, one.version)),
                }
            }
        }
        // In the order in which they came.
        chosen.sort_unstable();
        for some in chosen.chunks(PAGE) {
            let queued = if asked.rehearsal {
                self.store.not_waiting(asked.destination, some.to_vec()).await?
            } else {
                self.store.requeue(asked.destination, some.to_vec()).await?
            };
            told.sent += queued;
            told.waiting += some.len() as u64 - queued;
        }
        Ok(Some(told))
    }

    /// What came in at that time and is for that destination, by its person.
    async fn candidates(
        &self,
        asked: Replay<'_>,
        recipient: &Recipient,
        to_come_ms: i64,
        told: &mut Replayed,
    ) -> Result<BTreeMap<PatientKey, Vec<Candidate>>, store::Error> {
        let mut found: BTreeMap<PatientKey, Vec<Candidate>> = BTreeMap::new();
        let mut seen = HashSet::new();
        let kinds: Vec<Arc<str>> =
            kinds::KINDS.iter().filter(|kind| kind.deliverable).map(|kind| Arc::from(kind.name)).collect();
        let mut after = Some(VersionKey(asked.until_ms, 0, 0));
        while let Some(behind) = after {
            let plan = HistoryPlan {
                kinds: kinds.clone(),
                id: None,
                since_ms: Some(asked.from_ms),
                after: Some(behind),
                limit: PAGE,
            };
            let (versions, next) = self.store.history(plan).await?;
            told.damaged += versions.damaged.iter().filter(|(seq, _)| seen.insert(*seq)).count() as u64;
            for stored in versions.rows {
                let Some(patient) = stored.patient.filter(|_| seen.insert(stored.seq)) else { continue };
                // A later version may stand, which is what is sent.
                let current = match self.store.read(&stored.kind, &stored.logical_id()).await {
                    Err(store::Error::Damaged) => {
                        told.damaged += 1;
                        continue;
                    }
                    current => current?,
                };
                let Some(current) = current else { continue };
                if !self.is_for(recipient, &current) {
                    continue;
                }
                told.found += 1;
                if current.updated_ms >= to_come_ms {
                    told.waiting += 1;
                    continue;
                }
                let candidate = self.candidate(recipient, patient, current).await?;
                found.entry(patient).or_default().push(candidate);
            }
            after = next;
        }
        Ok(found)
    }

    fn is_for(&self, recipient: &Recipient, stored: &Stored) -> bool {
        json::parse(stored.payload.as_slice()).is_ok_and(|document| {
            let root = Element::root(&document);
            !sources::is_secondary(root) && self.recipients.routes(&stored.kind, root, &stored.owner, &recipient.name)
        })
    }

    async fn candidate(
        &self,
        recipient: &Recipient,
        patient: PatientKey,
        stored: Stored,
    ) -> Result<Candidate, store::Error> {
        let page = self.consents_now(patient).await?;
        let actor = Actor::reference(&recipient.actor);
        let asking = Asking { actor: &actor, purpose: &recipient.purpose };
        let (seq, version, deleted) = (stored.seq, stored.version, stored.deleted);
        let name = (stored.kind.to_string(), stored.logical_id());
        let pairwise = recipient.pseudonym.then(|| Pairwise::of(&self.pseudonym_secret, &recipient.name));
        let shape = recipient.shape.as_ref().map(|shape| shape.now());
        let to = Hearer { name: &recipient.name, shape: shape.as_deref(), pairwise: pairwise.as_ref() };
        let (permitted, tellable) = match decided(self, &page.consents, asking, stored) {
            Some(Ok(permitted)) if !page.erased => (true, self.untellable(to, permitted.get()).await?.is_none()),
            _ => (false, false),
        };
        Ok(Candidate { seq, version, name, deleted, permitted, tellable })
    }
}
