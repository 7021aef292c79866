//! The work on an export: person by person within a slot, what stood at the cut is held against filters, scope and consent,
//! and what may be told is put on the list.
//!
//! A step is one transaction: its lines, its place and, for each person of whom something is put on the list, the record
//! that it is disclosed. So an export that is gone on with by another worker has no line twice and none too few.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::interaction;
use super::job::{About, OUTCOME};
use super::veil::{Group, Veil};
use crate::exchange::kinds::{self, Guard};
use crate::exchange::pull::{ConsentsSeen, Sight, Visible};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, uploads};
use crate::fhir::outcome::Id;
use crate::fhir::search::Query;
use crate::policy::access::Principal;
use crate::policy::consent::{Basis, Denial};
use crate::policy::pseudonym::Traits;
use crate::store::{
    Changed, ExportJob, ExportPart, ExportPiece, ExportPlace, ExportStep, Fenced, PatientKey, Standing, Stored,
};

/// How long a slot stays with a worker of whom nothing is heard.
const LEASE_MS: i64 = 10_000;

/// Lines, and resources that were looked at, after which a step ends.
const STEP_LINES: usize = 1000;
const STEP_LOOKS: usize = 5000;

/// Steps after which a slot is given back, so that a small export need not wait for the end of a large one.
const STEPS: usize = 20;

/// Resources that are in memory at once.
const CHUNK: usize = 100;

/// Of more changes an export goes through everything, as it does where it is not about changes.
const MOST_CHANGED: usize = 500_000;

/// By persons; none where there are too many.
pub(super) type ChangedSince = Option<Arc<Vec<Changed>>>;

const HOUR_MS: i64 = 3_600_000;

/// A slot under work.
struct Work<'w> {
    gateway: &'w Gateway,
    job: &'w ExportJob,
    part: &'w ExportPart,
    about: &'w About,
    principal: &'w Principal,
    request_id: String,
    filters: BTreeMap<&'w str, Vec<Query>>,
    hidden: Option<Hidden>,
    changed: ChangedSince,
    step: Gathering,
    /// Steps so far.
    steps: usize,
}

/// Of a de-identified export.
struct Hidden {
    veil: Veil,
    /// Groups of persons enough; none while they are counted.
    told: Option<HashSet<Group>>,
    /// What the person who is gone through belongs to.
    traits: Traits,
    groups: BTreeSet<Group>,
}

impl Hidden {
    /// Takes note of what would be told of the person, or says whether it is.
    fn tells(&mut self, gateway: &Gateway, visible: &Visible) -> bool {
        if self.veil.told(gateway, visible).is_none() {
            return false;
        }
        let group = self.veil.group(visible, self.traits);
        if let Some(told) = &self.told {
            return told.contains(&group);
        }
        self.groups.insert(group);
        false
    }
}

/// Whether it tells of what was deleted, and of which type.
type List = (bool, Arc<str>);

/// What a step has come upon so far.
#[derive(Default)]
struct Gathering {
    lines: BTreeMap<List, Vec<(u64, u32)>>,
    count: usize,
    looks: usize,
    persons: Vec<Seen>,
    withheld: Vec<(String, PatientKey, Denial)>,
    counted: BTreeMap<Group, u64>,
    /// In this export, before this step and in it.
    told: u64,
}

/// A person of whom something is put on the list.
struct Seen {
    id: String,
    key: PatientKey,
    references: Vec<String>,
    basis: Option<Basis>,
}

/// Whether the work goes on.
#[derive(PartialEq, Eq)]
enum On {
    Yes,
    /// Somebody else has the slot, the export is gone, or others are to have a turn.
    No,
}

impl Gateway {
    /// Works on whatever waits. The error is that some of it must be tried again.
    pub(super) async fn work_on_exports(&self, worker: &str, stop: &watch::Receiver<bool>) -> Result<(), Refusal> {
        while !*stop.borrow() {
            let Some((job, part)) = self.store.lease_export(worker, self.now_ms(), LEASE_MS).await? else {
                return Ok(());
            };
            match self.work_on(&job, &part, stop).await {
                Ok(()) => self.store.give_back_exports(worker).await?,
                Err(refusal) if refusal.retry_after_seconds.is_some() => return Err(refusal),
                Err(refusal) => {
                    let issue = refusal.issues.first().map_or(Id::Internal, |issue| issue.id).code();
                    tracing::info!(export = uploads::printed(job.id), issue, "an export could not be made");
                    self.store.fail_export(job.id, issue).await?;
                }
            }
        }
        Ok(())
    }

    async fn work_on(&self, job: &ExportJob, part: &ExportPart, stop: &watch::Receiver<bool>) -> Result<(), Refusal> {
        let about = About::of(job)?;
        let principal = about.principal(&job.client)?;
        let filters = about
            .kinds
            .iter()
            .map(|kind| (kind.as_str(), about.asked.queries(kind, &self.registry, &self.base)))
            .filter(|(_, queries)| !queries.is_empty())
            .collect();
        let step = Gathering { told: job.told, ..Gathering::default() };
        let request_id = uploads::printed(job.id);
        let hidden = if about.asked.deidentified { Some(self.hidden(job, part).await?) } else { None };
        let changed = match about.asked.since_ms.filter(|_| hidden.is_none()) {
            Some(since_ms) => self.changed_since(job, &about, since_ms).await?,
            None => None,
        };
        let mut work = Work {
            gateway: self,
            job,
            part,
            about: &about,
            principal: &principal,
            request_id,
            filters,
            hidden,
            changed,
            step,
            steps: 0,
        };
        work.slot(stop).await
    }
}

impl Gateway {
    /// Found out once an export, after its cut, so that nothing that was changed by then is missing.
    async fn changed_since(&self, job: &ExportJob, about: &About, since_ms: i64) -> Result<ChangedSince, Refusal> {
        let known = self.exports.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((id, changed)) = known
            && id == job.id
        {
            return Ok(changed);
        }
        let kinds = about.kinds.iter().map(|kind| Arc::from(kind.as_str())).collect();
        let changed = self.store.changed_since(kinds, since_ms, MOST_CHANGED).await?.map(Arc::new);
        *self.exports.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some((job.id, changed.clone()));
        Ok(changed)
    }

    async fn hidden(&self, job: &ExportJob, part: &ExportPart) -> Result<Hidden, Refusal> {
        let told = match part.phase {
            0 => None,
            _ => Some(self.store.export_counts(job.id, self.config.deidentified_least).await?.into_iter().collect()),
        };
        Ok(Hidden { veil: Veil::of(job), told, traits: Traits::default(), groups: BTreeSet::new() })
    }
}

impl<'w> Work<'w> {
    /// Whether persons are counted and nothing is told yet.
    fn counts(&self) -> bool {
        self.hidden.as_ref().is_some_and(|hidden| hidden.told.is_none())
    }

    async fn slot(&mut self, stop: &watch::Receiver<bool>) -> Result<(), Refusal> {
        self.gateway.stands(self.principal).await?;
        let mut after = self.part.after.clone();
        if after.is_none() && self.part.slot == 0 && self.job.nobodys {
            after = Some(ExportPlace { person: None, seq: 0 });
        }
        // Whoever a step ended in is gone on with first.
        let mut next = after.as_ref().map(|place| (place.person, place.seq));
        let mut last = after.and_then(|place| place.person);
        loop {
            let (person, seq) = match next.take() {
                Some(found) => found,
                None => match self.next(last).await? {
                    Some(person) => (Some(person), 0),
                    None => break,
                },
            };
            if *stop.borrow() || self.person(person, seq).await? == On::No {
                return Ok(());
            }
            last = person;
        }
        self.end(None).await.map(drop)
    }

    /// Whoever comes next in the slot.
    async fn next(&self, last: Option<PatientKey>) -> Result<Option<PatientKey>, Refusal> {
        let slot = self.part.slot;
        let Some(persons) = &self.job.persons else {
            if let Some(changed) = &self.changed {
                let is_before =
                    |(person, _): &Changed| person.is_none_or(|person| person.slot() < slot) || *person <= last;
                let next = changed.get(changed.partition_point(is_before)).and_then(|(person, _)| *person);
                return Ok(next.filter(|person| person.slot() == slot));
            }
            return Ok(self.gateway.store.next_exported(slot, last).await?);
        };
        let begin = last.map_or(0, |last| persons.partition_point(|person| *person <= last));
        Ok(persons[begin..].iter().find(|person| person.slot() == slot).copied())
    }

    /// Goes through what stood of somebody, behind a place.
    async fn person(&mut self, person: Option<PatientKey>, after: u64) -> Result<On, Refusal> {
        // Whose it is stands before what a step may have ended with.
        let from = if self.hidden.is_some() { 0 } else { after };
        let mut standing = match &self.changed {
            None => self.gateway.store.standing(person, from, self.job.cut_ms).await?,
            Some(changed) => {
                let begin = changed.partition_point(|one| *one <= (person, from));
                let theirs = changed[begin..].iter().take_while(|(whose, _)| *whose == person);
                let asked = theirs.map(|(_, seq)| *seq).collect();
                self.gateway.store.standing_of(asked, self.job.cut_ms).await?
            }
        };
        let mut seen = ConsentsSeen::default();
        self.look_at(&standing, &mut seen).await?;
        standing.retain(|one| one.seq > after && self.is_asked_for(one));
        self.step.looks += 1;
        let mut silent = None;
        for (number, chunk) in standing.chunks(CHUNK).enumerate() {
            let asked = chunk.iter().map(|one| (one.seq, one.version)).collect();
            let versions = self.gateway.store.standing_versions(asked).await?;
            if number == 0
                && let (Some(person), Some(first)) = (person, versions.rows.first())
            {
                silent = self.silent(person, first, &standing, &mut seen).await?;
            }
            self.step.looks += versions.rows.len();
            if silent.is_none() {
                self.lost(versions.damaged);
            }
            for stored in versions.rows {
                self.resource(stored, silent.is_some(), &mut seen).await?;
            }
            // Whoever is counted is counted once, and so in one step.
            if self.is_full() && !self.counts() {
                let place = ExportPlace { person, seq: chunk.last().map_or(after, |one| one.seq) };
                if self.end(Some(place)).await? == On::No {
                    return Ok(On::No);
                }
            }
        }
        if let Some(hidden) = &mut self.hidden {
            for group in std::mem::take(&mut hidden.groups) {
                *self.step.counted.entry(group).or_default() += 1;
            }
        }
        if self.is_full() {
            // Everything of this one was looked at.
            return self.end(Some(ExportPlace { person, seq: i64::MAX as u64 })).await;
        }
        Ok(On::Yes)
    }

    /// Puts what is damaged on the list of what is to be told as missing; of whom it is, a de-identified export must not tell.
    fn lost(&mut self, damaged: Vec<(u64, u32)>) {
        if self.hidden.is_none() && !damaged.is_empty() {
            self.step.count += damaged.len();
            self.step.lines.entry((false, OUTCOME.into())).or_default().extend(damaged);
        }
    }

    fn is_full(&self) -> bool {
        self.step.count >= STEP_LINES || self.step.looks >= STEP_LOOKS || self.step.counted.len() >= STEP_LINES
    }

    /// Finds out what somebody belongs to, as far as it may be seen.
    async fn look_at(&mut self, standing: &[Standing], seen: &mut ConsentsSeen) -> Result<(), Refusal> {
        if self.hidden.is_none() {
            return Ok(());
        }
        let mut traits = Traits::default();
        if let Some(one) = standing.iter().find(|one| &*one.kind == "Patient" && !one.deleted)
            && let Some(rule) = kinds::kind("Patient")
            && let Some(interaction) = interaction(self.principal, rule)
        {
            for stored in self.gateway.store.standing_versions(vec![(one.seq, one.version)]).await?.rows {
                let now_ms = self.gateway.now_ms();
                let sight = self.gateway.visible(&self.caller(), rule, interaction, stored, now_ms, seen).await?;
                if let Sight::Visible(visible) = sight {
                    traits = visible.content.root().map(Traits::of).unwrap_or_default();
                }
            }
        }
        if let Some(hidden) = &mut self.hidden {
            hidden.traits = traits;
        }
        Ok(())
    }

    /// What can be told without reading it. A deletion is told to whoever says since when.
    fn is_asked_for(&self, one: &Standing) -> bool {
        let asked = &self.about.asked;
        asked.since_ms.is_none_or(|since_ms| one.updated_ms > since_ms)
            && asked.until_ms.is_none_or(|until_ms| one.updated_ms < until_ms)
            && (!one.deleted || asked.since_ms.is_some())
            && self.about.kinds.iter().any(|kind| **kind == *one.kind)
    }

    /// The refusal, where nothing that the consents guard may be told of somebody; the person hears of it once.
    async fn silent(
        &mut self,
        person: PatientKey,
        first: &Stored,
        standing: &[Standing],
        seen: &mut ConsentsSeen,
    ) -> Result<Option<Denial>, Refusal> {
        let id = Author::patient_of(first);
        let caller = self.caller();
        let denial = self.gateway.withheld_from(&caller, (&id, person), seen).await?;
        let guarded = |one: &Standing| kinds::kind(&one.kind).is_some_and(|rule| rule.guard == Guard::Consent);
        if let Some(denial) = &denial
            && standing.iter().any(guarded)
        {
            self.withhold(id, person, denial.clone());
        }
        Ok(denial)
    }

    async fn resource(&mut self, stored: Stored, is_silent: bool, seen: &mut ConsentsSeen) -> Result<(), Refusal> {
        let Some(rule) = kinds::kind(&stored.kind) else { return Ok(()) };
        if is_silent && rule.guard == Guard::Consent {
            return Ok(());
        }
        let Some(interaction) = interaction(self.principal, rule) else { return Ok(()) };
        let (line, gone, updated_ms) = ((stored.seq, stored.version), stored.deleted, stored.updated_ms);
        let now_ms = self.gateway.now_ms();
        let sight = self.gateway.visible(&self.caller(), rule, interaction, stored, now_ms, seen).await?;
        match sight {
            Sight::Visible(visible) => {
                let Some(root) = visible.content.root() else { return Ok(()) };
                let filters = self.filters.get(rule.name).filter(|_| !gone);
                if filters.is_some_and(|queries| !queries.iter().any(|query| query.matches(root, updated_ms))) {
                    return Ok(());
                }
                if self.hidden.as_mut().is_some_and(|hidden| !hidden.tells(self.gateway, &visible)) {
                    return Ok(());
                }
                self.step.lines.entry((gone, visible.content.stored.kind.clone())).or_default().push(line);
                self.step.count += 1;
                self.note(&visible.content.stored, visible.basis);
            }
            Sight::Withheld(withheld) => {
                let (id, key) = withheld.patient;
                self.withhold(id, key, withheld.denial);
            }
            Sight::Hidden => {}
        }
        Ok(())
    }

    /// What the person's record will tell.
    fn note(&mut self, stored: &Stored, basis: Option<Basis>) {
        let Some(key) = stored.patient else { return };
        let reference = format!("{}/{}/_history/{}", stored.kind, stored.logical_id(), stored.version);
        if let Some(last) = self.step.persons.last_mut().filter(|last| last.key == key) {
            last.basis = last.basis.take().or(basis);
            return last.references.push(reference);
        }
        self.step.persons.push(Seen { id: Author::patient_of(stored), key, references: vec![reference], basis });
    }

    /// Takes note of a person who is to hear of it; an export must not fill the audit.
    fn withhold(&mut self, id: String, key: PatientKey, denial: Denial) {
        if self.counts() {
            return;
        }
        let is_known = self.step.withheld.iter().any(|(_, known, _)| *known == key);
        if !is_known && self.step.told < self.gateway.config.page_entries_max as u64 {
            self.step.told += 1;
            self.step.withheld.push((id, key, denial));
        }
    }

    fn caller(&self) -> Caller<'w> {
        Caller {
            principal: self.principal,
            request_id: "",
            purpose: &self.about.purpose,
            address: self.about.address.as_deref(),
            looked_at: None,
        }
    }

    /// Makes the step count. The client may have lost meanwhile what it was allowed.
    async fn end(&mut self, to: Option<ExportPlace>) -> Result<On, Refusal> {
        self.gateway.stands(self.principal).await?;
        let told = self.step.told;
        let gathered = std::mem::replace(&mut self.step, Gathering { told, ..Gathering::default() });
        let caller = Caller { request_id: &self.request_id, ..self.caller() };
        let author = Author::of(self.gateway, &caller).with_query(&self.about.path, &self.about.query);
        let author = author.by_pseudonym(self.hidden.is_some());
        let mut records = Vec::with_capacity(gathered.persons.len() + gathered.withheld.len());
        for Seen { id, key, references, basis } in gathered.persons {
            records.push(author.record(Act::Disclose, Some(&(id, key)), &references, basis.as_ref(), &[]));
        }
        for (id, key, denial) in &gathered.withheld {
            records.push(author.withheld(&(id.clone(), *key), denial.basis.as_ref(), denial.issue().id));
        }
        let now_ms = self.gateway.now_ms();
        let piece = |((gone, kind), lines)| ExportPiece { kind, gone, lines };
        let step = ExportStep {
            pieces: gathered.lines.into_iter().map(piece).collect(),
            counted: gathered.counted.into_iter().collect(),
            told: gathered.withheld.len() as u64,
            records,
            keep_until_ms: now_ms + i64::from(self.gateway.config.export_hours) * HOUR_MS,
            to,
        };
        let fenced = self.gateway.store.advance_export(self.part, step, now_ms + LEASE_MS).await?;
        self.steps += 1;
        Ok(if fenced == Fenced::Held && self.steps < STEPS { On::Yes } else { On::No })
    }
}
