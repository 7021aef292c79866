//! One attempt, before it is made: routed and permitted now; and what the audit tells of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Worker;
use crate::devices::sources;
use crate::exchange::consents::Page;
use crate::exchange::links::Allowed;
use crate::exchange::pairwise::Pairwise;
use crate::exchange::recipients::{self, Known};
use crate::exchange::shape::Hearer;
use crate::exchange::trail::{Act, Author};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json};
use crate::peers::{Allowance, Resource, Trace};
use crate::policy::consent::Permitted;
use crate::policy::delivery::{Settlement, Turned, Verdict};
use crate::policy::routing::{Grounds, Origin};
use crate::store::{self, AuditRecord, PatientKey, Stored};
use crate::telemetry::counted::Told;

/// Versions before a correction that are looked at, the latest first to matter.
const EARLIER: u32 = 100;

/// Why something that is permitted does not go.
enum Obstacle {
    /// It may on other grounds than the routing table asks for.
    Grounds,
    /// It has no place there.
    Place(Id),
}

/// What consent and routing leave of some stored resources of one patient.
#[derive(Default)]
pub(super) struct Judged {
    pub permitted: Vec<Permitted<Stored>>,
    /// What is kept back until the person lifts the restriction of its processing, with the record that says so the first time.
    pub restricted: Vec<(Stored, AuditRecord)>,
    /// One record a resource that is withheld otherwise: by the person's consent, or because it would say who it is of.
    pub audit: Vec<AuditRecord>,
    /// Why some of it has no place there.
    pub nowhere: Vec<Id>,
    /// What cannot be told because what is to be known of its person or its device is damaged: sequence number and version.
    pub damaged: Vec<(u64, u32)>,
}

impl Worker {
    /// Leaves what is sent here at all.
    pub(super) async fn wanted(&self, items: Vec<Stored>) -> Result<Vec<Stored>, store::Error> {
        let mut wanted = Vec::with_capacity(items.len());
        for stored in items {
            let Ok(document) = json::parse(stored.payload.as_slice()) else { continue };
            let root = Element::root(&document);
            // Of what is deleted, nobody hears who did not have it.
            let origin = self.origin(&stored).await?;
            let known = Known { origin: Some(&origin), grounds: None };
            let is_routed = !stored.deleted && self.is_routed(&stored, root, known);
            let routed = is_routed || self.may_have_it(&stored, known).await?;
            if routed && (!sources::is_secondary(root) || self.takes_secondary(&stored).await?) {
                wanted.push(stored);
            }
        }
        Ok(wanted)
    }

    /// Whether a reading that does not count beside another source's is sent: where the destination asks for all, and
    /// where it may have the version before, which counted, so that it learns.
    async fn takes_secondary(&self, stored: &Stored) -> Result<bool, store::Error> {
        if self.secondary || stored.version < 2 {
            return Ok(self.secondary);
        }
        let before = (stored.kind.to_string(), stored.logical_id(), stored.version - 1);
        let before = self.gateway.store.versions(vec![before]).await?.rows.pop();
        let counted = |before: Stored| {
            json::parse(before.payload).is_ok_and(|document| !sources::is_secondary(Element::root(&document)))
        };
        Ok(before.is_some_and(counted))
    }

    /// Whether an earlier version was for this destination, by today's rules or by those of another day: whoever may have
    /// what was wrong is told what is right (GDPR Art. 19).
    async fn may_have_it(&self, stored: &Stored, known: Known<'_>) -> Result<bool, store::Error> {
        let (kind, id) = (stored.kind.to_string(), stored.logical_id());
        let first = stored.version.saturating_sub(EARLIER).max(1);
        let earlier = (first..stored.version).map(|version| (kind.clone(), id.clone(), version)).collect();
        let was_routed = |earlier: &Stored| {
            json::parse(earlier.payload.as_slice()).is_ok_and(|document| {
                let root = Element::root(&document);
                recipients::routes(&self.ever, &earlier.kind, root, &earlier.owner, &self.name, known)
            })
        };
        Ok(self.gateway.store.versions(earlier).await?.rows.iter().any(was_routed))
    }

    /// Whether the routing table sends the resource here.
    fn is_routed(&self, stored: &Stored, root: Element<'_>, known: Known<'_>) -> bool {
        recipients::routes(&self.routing, &stored.kind, root, &stored.owner, &self.name, known)
    }

    /// Of whom and from whom it is, as far as any rule asks.
    async fn origin(&self, stored: &Stored) -> Result<Origin, store::Error> {
        if !self.routing.asks_person() && !self.routing.asks_app() {
            return Ok(Origin::default());
        }
        self.gateway.origin(&self.routing, &stored.owner, &Author::patient_of(stored)).await
    }

    /// Whether the grounds on which it may go are those that the routing table asks for, or asked for when an earlier version
    /// went.
    async fn has_grounds(&self, permitted: &Permitted<Stored>) -> Result<bool, store::Error> {
        let stored = permitted.get();
        if !self.routing.asks_consent() || stored.deleted {
            return Ok(true);
        }
        let Ok(document) = json::parse(stored.payload.as_slice()) else { return Ok(false) };
        let grounds = if permitted.basis().by_policy().is_some() { Grounds::Implied } else { Grounds::Given };
        let origin = self.origin(stored).await?;
        let known = Known { origin: Some(&origin), grounds: Some(grounds) };
        let root = Element::root(&document);
        let was = || recipients::routes(&self.ever, &stored.kind, root, &stored.owner, &self.name, known);
        Ok(self.is_routed(stored, root, known) || stored.version > 1 && was())
    }

    /// Asks the consents as they stand now. Of a deleted resource, what is told is that it was entered in error.
    pub(super) async fn judge(&self, items: Vec<Stored>) -> Result<Judged, store::Error> {
        let mut judged = Judged::default();
        let mut pages: HashMap<PatientKey, Page> = HashMap::new();
        for stored in items {
            let Some(patient) = stored.patient else { continue };
            let page = match pages.entry(patient) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(self.gateway.consents_now(patient).await?),
            };
            // Read before she was erased; what holds where nothing was said is not for her.
            if page.erased {
                continue;
            }
            let author = self.author(String::new());
            if self.has_nothing(&stored, patient).await? {
                continue;
            }
            if page.restricted {
                let named = (Author::patient_of(&stored), patient);
                let issues = [Id::ProcessingRestricted];
                let record = author.record(Act::Withhold, Some(&named), &[versioned(&stored)], None, &issues);
                judged.restricted.push((stored, record));
                continue;
            }
            match self.gateway.disclosable(&page.consents, &self.actor, &author, &self.purpose, stored) {
                Some(Ok(permitted)) => match self.obstacle(&permitted).await {
                    Ok(None) => judged.permitted.push(permitted),
                    Ok(Some(Obstacle::Grounds)) => {}
                    Ok(Some(Obstacle::Place(issue))) => {
                        judged.nowhere.push(issue);
                        judged.audit.extend(self.withheld(permitted.get(), issue));
                    }
                    Err(store::Error::Damaged) => {
                        let stored = permitted.get();
                        judged.damaged.push((stored.seq, stored.version));
                    }
                    Err(error) => return Err(error),
                },
                Some(Err(record)) => judged.audit.push(*record),
                None => {}
            }
        }
        Ok(judged)
    }

    /// Why what is permitted does not go, if it does not.
    async fn obstacle(&self, permitted: &Permitted<Stored>) -> Result<Option<Obstacle>, store::Error> {
        if !self.has_grounds(permitted).await? {
            return Ok(Some(Obstacle::Grounds));
        }
        Ok(self.untellable(permitted.get()).await?.map(Obstacle::Place))
    }

    /// Whether a resource that is no more is to be taken back where it never was.
    async fn has_nothing(&self, stored: &Stored, patient: PatientKey) -> Result<bool, store::Error> {
        if !self.takes_back(stored) {
            return Ok(false);
        }
        let held = self.gateway.held_by(&self.name, patient).await?;
        Ok(!held.contains_key(&(stored.kind.to_string(), stored.logical_id())))
    }

    /// What leaves of a resource: all of it, or what does not say whose it is. None where it cannot be told so.
    pub(super) fn outgoing(&self, stored: &Stored) -> Option<Resource> {
        match &self.pairwise {
            Some(pairwise) => pairwise.resource(&self.gateway, stored),
            None => Some(Resource {
                kind: stored.kind.to_string(),
                id: stored.logical_id(),
                version: stored.version,
                json: stored.payload.clone(),
            }),
        }
    }

    /// Why it cannot be told here, if it cannot.
    async fn untellable(&self, stored: &Stored) -> Result<Option<Id>, store::Error> {
        let shape = self.shape();
        let to = Hearer { name: &self.name, shape: shape.as_deref(), pairwise: self.pairwise.as_ref() };
        self.gateway.untellable(to, stored).await
    }

    /// The same for the same content, so that logs on both sides meet. Where neither the id here is told nor the one there, it
    /// is of that destination alone.
    pub(super) fn request_id(&self, first: &Stored) -> String {
        let own = format!("{}-{}", first.id, first.version);
        match &self.pairwise {
            Some(pairwise) => pairwise.id("", &own),
            None if self.live.is_some() => Pairwise::of(&self.gateway.pseudonym_secret, &self.name).id("", &own),
            None => own,
        }
    }

    /// By what the requests of an attempt are known to belong together, where the destination is told: the log says it beside
    /// the id that the audit has.
    pub(super) fn trace(&self, request_id: &str) -> Option<Arc<Trace>> {
        if !self.trace && !self.shape().is_some_and(|shape| shape.pack.request.trace) {
            return None;
        }
        let mut entropy = [0; 24];
        (self.gateway.entropy)(&mut entropy);
        let trace = Trace::new(entropy);
        tracing::info!(destination = &*self.name, request_id, trace_id = trace.id(), "an attempt begins");
        Some(Arc::new(trace))
    }

    /// The person's own token, where the destination wants one; the error is that nothing can be sent for her now.
    pub(super) async fn allowed(
        &self,
        patient: Option<PatientKey>,
    ) -> Result<Result<Option<Allowance>, Verdict>, store::Error> {
        Ok(match self.gateway.allowance(&self.name, patient).await? {
            Allowed::Unneeded => Ok(None),
            Allowed::With(allowance) => Ok(Some(allowance)),
            Allowed::Not(reason) => Err(Verdict::Waits { reason }),
        })
    }

    /// What an answer, or that there is none, says of the destination itself.
    pub(super) fn heard(&self, verdict: &Verdict) {
        let now_ms = self.gateway.now_ms();
        let random = self.random();
        let turned =
            self.circuit.lock().unwrap_or_else(PoisonError::into_inner).record(verdict.is_alive(), now_ms, random);
        if let Verdict::Retry { after_ms: Some(after_ms), .. } = verdict {
            self.pace.lock().unwrap_or_else(PoisonError::into_inner).hold(now_ms.saturating_add(*after_ms));
        }
        if let Some(turned) = &turned {
            self.gateway.counted.is_open(&self.name, matches!(turned, Turned::Opened { .. }));
        }
        match turned {
            Some(Turned::Opened { until_ms }) => {
                let pause_ms = until_ms - now_ms;
                tracing::warn!(destination = &*self.name, pause_ms, "the circuit opened: nothing is sent for a while");
            }
            Some(Turned::Closed) => {
                self.is_back.store(true, Ordering::Relaxed);
                tracing::info!(destination = &*self.name, "the circuit closed: it is sent again");
            }
            None => {}
        }
        if let Verdict::Retry { reason, .. } | Verdict::Unreached { reason } = verdict {
            tracing::warn!(destination = &*self.name, reason, "delivery failed");
        }
    }

    /// A dead letter is for a person to look at.
    pub(super) fn given_up(&self, reason: &str) {
        tracing::error!(destination = &*self.name, reason, "delivery given up; it is a dead letter");
    }

    /// What the audit tells: what left, for whom, under which consent; and of what is no more, that it was taken back.
    pub(super) fn disclosed(&self, permitted: &[&Permitted<Stored>], issues: &[Id]) -> Vec<AuditRecord> {
        let (gone, told): (Vec<_>, Vec<_>) = permitted.iter().partition(|one| self.takes_back(one.get()));
        let record = |some: Vec<&&Permitted<Stored>>, act| {
            let first = some.first()?;
            let author = self.author(self.request_id(first.get()));
            let references: Vec<String> = some.iter().map(|one| versioned(one.get())).collect();
            let patient = first.get().patient.map(|key| (Author::patient_of(first.get()), key));
            Some(author.record(act, patient.as_ref(), &references, Some(first.basis()), issues))
        };
        [record(told, Act::Disclose), record(gone, Act::Recall)].into_iter().flatten().collect()
    }

    /// Takes note of what was withheld, and in the log of what has no place here.
    pub(super) fn note_withheld(&self, resources: usize, nowhere: &[Id]) {
        if resources > 0 {
            self.gateway.counted.told(&self.name, Told::Withheld, resources);
        }
        // Of measures that are nothing for it there may be any number; of what else is missing somebody can be asked.
        for issue in nowhere.iter().filter(|issue| **issue != Id::DestinationMeasure) {
            tracing::info!(destination = &*self.name, issue = issue.code(), "a measurement has no place there");
        }
    }

    /// Takes note of what became of a resource.
    pub(super) fn note_settled(&self, settlement: &Settlement) {
        let told = match settlement {
            Settlement::Done => Told::Acknowledged,
            Settlement::Again { .. } => Told::Failed,
            Settlement::Dead { .. } => Told::GivenUp,
        };
        self.gateway.counted.told(&self.name, told, 1);
    }

    /// What the audit tells of something that has no place here.
    pub(super) fn withheld(&self, stored: &Stored, issue: Id) -> Option<AuditRecord> {
        let named = (Author::patient_of(stored), stored.patient?);
        let author = self.author(String::new());
        Some(author.record(Act::Withhold, Some(&named), &[versioned(stored)], None, &[issue]))
    }

    pub(super) fn author(&self, request_id: String) -> Author {
        Author::destination(&self.gateway, &self.name, &self.actor_reference, &self.purpose, request_id)
            .at(&self.address)
            .by_pseudonym(self.pairwise.is_some())
            .shaped_by(self.shape().map(|shape| shape.pack.stamp()))
    }
}

fn versioned(stored: &Stored) -> String {
    format!("{}/{}/_history/{}", stored.kind, stored.logical_id(), stored.version)
}
