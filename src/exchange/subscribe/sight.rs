//! What a subscriber may see of an event: what it would see if it read the resource now.

use std::collections::BTreeMap;

use super::granted::Granted;
use super::watch::Watch;
use crate::exchange::pull::{ConsentsSeen, Sight};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Gateway, kinds};
use crate::fhir::outcome::Id;
use crate::policy::access::Interaction;
use crate::policy::consent::Basis;
use crate::store::{self, AuditRecord, Fate, Numbered, PatientKey, Stored, Subscription};

/// How often it is asked whether a restriction still stands. Lifting it makes what waits due at once.
const RESTRICTED_MS: i64 = 3_600_000;

/// Events that are decided upon together.
const BATCH: usize = 200;

/// What is seen of one event.
enum Seen {
    Told(Box<Stored>, Option<Basis>),
    /// The person has restricted the processing.
    Held,
    Withheld(Option<AuditRecord>),
}

/// An event that has a number, with what may be said of it now.
pub(super) struct Sighted {
    pub number: u64,
    pub at_ms: i64,
    pub stored: Option<Stored>,
    pub basis: Option<Basis>,
}

/// Whom something is told: the subscription, the right of its client and what it is about.
#[derive(Clone, Copy)]
pub(super) struct Subscriber<'a> {
    pub subscription: &'a Subscription,
    pub granted: &'a Granted,
    pub watch: &'a Watch,
}

impl Gateway {
    async fn seen_by(
        &self,
        subscriber: Subscriber<'_>,
        stored: Stored,
        pages: &mut ConsentsSeen,
    ) -> Result<Seen, store::Error> {
        let Some(rule) = kinds::kind(&stored.kind) else { return Ok(Seen::Withheld(None)) };
        let caller = subscriber.granted.caller();
        let (reading, now_ms) = (Interaction::Read, self.now_ms());
        Ok(match self.visible(&caller, rule, reading, stored, now_ms, pages).await? {
            Sight::Visible(visible) => Seen::Told(Box::new(visible.content.stored), visible.basis),
            Sight::Withheld(withheld) if withheld.denial.issue().id == Id::ProcessingRestricted => Seen::Held,
            Sight::Withheld(withheld) => {
                // Only of whom was asked is it worth telling that somebody asked.
                let named = subscriber.watch.patients.is_some();
                let (basis, issue) = (withheld.denial.basis.as_ref(), withheld.denial.issue().id);
                Seen::Withheld(named.then(|| Author::of(self, &caller).withheld(&withheld.patient, basis, issue)))
            }
            Sight::Hidden => Seen::Withheld(None),
        })
    }

    /// Decides on what waits, and numbers what may be told, until so many have a number that had none, or nothing waits
    /// any more; how many have one then.
    pub(super) async fn number(&self, subscriber: Subscriber<'_>, most: u64) -> Result<u64, store::Error> {
        let id = &subscriber.subscription.id;
        let (first, mut last) = (subscriber.subscription.events, subscriber.subscription.events);
        while last - first < most {
            let room = BATCH.min((most - (last - first)) as usize);
            let waiting = self.store.events_waiting(id, self.now_ms(), room).await?;
            if waiting.is_empty() {
                break;
            }
            let mut pages = ConsentsSeen::default();
            let mut fates = Vec::with_capacity(waiting.len());
            let mut records: BTreeMap<Option<PatientKey>, AuditRecord> = BTreeMap::new();
            for event in waiting {
                let seen = match event.stored {
                    Some(stored) => self.seen_by(subscriber, stored, &mut pages).await?,
                    None => Seen::Withheld(None),
                };
                fates.push(match seen {
                    Seen::Told(..) => (event.id, Fate::Told),
                    Seen::Held => (event.id, Fate::Held { until_ms: self.now_ms() + RESTRICTED_MS }),
                    Seen::Withheld(record) => {
                        records.extend(record.map(|record| (record.patient, record)));
                        (event.id, Fate::Withheld)
                    }
                });
            }
            let records = records.into_values().collect();
            match self.store.number_events(id, last, fates, records).await? {
                Some(now) => last = now,
                // Somebody else numbers as well, and then it is as good as done.
                None => match self.store.subscription(id).await? {
                    Some(standing) => last = standing.events.max(last),
                    None => break,
                },
            }
        }
        Ok(last)
    }

    /// What may be said now of events that have a number.
    pub(super) async fn sighted(
        &self,
        subscriber: Subscriber<'_>,
        events: Vec<Numbered>,
    ) -> Result<Vec<Sighted>, store::Error> {
        let mut pages = ConsentsSeen::default();
        let mut sighted = Vec::with_capacity(events.len());
        for Numbered { number, at_ms, stored } in events {
            let seen = match stored {
                Some(stored) => self.seen_by(subscriber, stored, &mut pages).await?,
                None => Seen::Withheld(None),
            };
            let (stored, basis) = match seen {
                Seen::Told(stored, basis) => (Some(*stored), basis),
                Seen::Held | Seen::Withheld(_) => (None, None),
            };
            sighted.push(Sighted { number, at_ms, stored, basis });
        }
        Ok(sighted)
    }
}

/// One record a person whose data is told.
pub(super) fn told(author: &Author, act: Act, events: &[Sighted], issues: &[Id]) -> Vec<AuditRecord> {
    type Told<'e> = (&'e Stored, Option<&'e Basis>, Vec<String>);
    let mut persons: BTreeMap<Option<PatientKey>, Told<'_>> = BTreeMap::new();
    for (stored, basis) in events.iter().filter_map(|event| Some((event.stored.as_ref()?, event.basis.as_ref()))) {
        let person = persons.entry(stored.patient).or_insert_with(|| (stored, basis, Vec::new()));
        person.2.push(format!("{}/{}/_history/{}", stored.kind, stored.logical_id(), stored.version));
    }
    let record = |(key, (stored, basis, references)): (Option<PatientKey>, Told<'_>)| {
        let patient = key.map(|key| (Author::patient_of(stored), key));
        author.record(act, patient.as_ref(), &references, basis, issues)
    };
    persons.into_iter().map(record).collect()
}
