//! From prepared resources to what is on disk: judge, write in one transaction, and begin again if a decision went
//! stale between the two.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::desk::{Desk, Verdict};
use super::gather::{Drafted, Grown, Waiting};
use super::judge::{self, Judged, Knowledge};
use super::overlap::{self, Retold};
use super::prepare::Prepared;
use super::provenance::{self, Made, Rectified};
use super::raw::{Keeping, Making, Seen, Source};
use super::remap::{Again, Withdrawal};
use super::{Idempotency, Intent, Kept, Outcome, When, withdrawal};
use crate::exchange::kinds::{Guard, Subject};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, refusal};
use crate::fhir::outcome::{CATALOGUE, Id, Issue};
use crate::policy::consent::Basis;
use crate::store::{
    Accepted, Expect, Finish, Finished, IdempotencyKey, Progress, Receipt, Stored, Unit, Write, WriteOutcome,
};

/// Whether entries stand or fall together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Atomicity {
    Whole,
    EachAlone,
}

/// How a request is to be kept.
pub(super) struct Terms {
    pub atomicity: Atomicity,
    pub idempotency: Option<Idempotency>,
    /// What is filed of the request's records, where it is one of records.
    pub desk: Option<Arc<Desk>>,
    /// The step of an upload's work that it is.
    pub progress: Option<Progress>,
    /// What came in, where it is to be kept as it came.
    pub source: Option<Source>,
    /// What was kept so and is read again.
    pub again: Option<Arc<Again>>,
}

impl Terms {
    pub fn of(atomicity: Atomicity) -> Terms {
        Terms { atomicity, idempotency: None, desk: None, progress: None, source: None, again: None }
    }
}

/// A decision can go stale only when the person changes a consent at that very moment; twice is chance, more is a
/// storm that the sender should wait out.
pub(super) const ATTEMPTS: usize = 5;

/// What the idempotency key remembers of one entry.
#[derive(Serialize, Deserialize)]
struct Remembered {
    status: u16,
    kind: String,
    id: String,
    version: u32,
    updated_ms: i64,
    /// Code, expression and text: a place in the catalogue may be another's after an upgrade.
    issues: Vec<(String, String, String)>,
    /// The same of what was doubtful about something that was kept.
    #[serde(default)]
    warnings: Vec<(String, String, String)>,
}

/// One entry between judgement and outcome.
pub(super) enum Step {
    Refused(Refusal),
    Same(Box<Stored>),
    /// Its place among the unit's writes, and the version that it becomes.
    Written {
        index: usize,
        version: u32,
        warnings: Vec<Issue>,
        /// Whether it is kept as a reading that does not count.
        secondary: bool,
    },
    /// It is part of a stretch of samples.
    Gathered {
        /// The stretch's place among the unit's writes, and its logical id.
        index: usize,
        logical: String,
        version: u32,
        /// It said what the stretch said already.
        again: bool,
        warnings: Vec<Issue>,
        /// The stretch, as it is answered.
        payload: Vec<u8>,
    },
}

impl Gateway {
    /// Keeps what may be kept. The error is a refusal of the whole request; entries have outcomes of their own.
    pub(super) async fn commit(
        &self,
        caller: &Caller<'_>,
        entries: Vec<Result<Prepared, Refusal>>,
        terms: Terms,
    ) -> Result<Vec<Outcome>, Refusal> {
        let Terms { atomicity, ref idempotency, .. } = terms;
        let patients = patients_of(entries.iter().flatten());
        let _turn = match patients.first().filter(|_| terms.desk.is_some()) {
            Some((_, patient)) => Some(self.turns.of(*patient).await),
            None => None,
        };
        for _ in 0..ATTEMPTS {
            let now_ms = self.now_ms();
            let turn = match patients.first().filter(|_| terms.desk.is_some()) {
                Some((_, patient)) => self.turn_of(*patient).await?,
                None => None,
            };
            let mut knowledge = Knowledge::new(registered_here(&entries, atomicity));
            let mut draft = self.draft(caller, &entries, &terms, &mut knowledge, now_ms).await?;
            let failed = draft.steps.iter().any(|step| matches!(step, Step::Refused(_)));
            if atomicity == Atomicity::Whole && failed {
                // What is refused reaches no transaction that would find a stale page, so it is looked for here.
                if self.went_stale(&knowledge).await? {
                    continue;
                }
                return Ok(self.all_refused(caller, &entries, draft.steps).await);
            }
            let keeping = match (&terms.source, &terms.desk, &terms.again) {
                (Some(source), Some(desk), _) => {
                    self.keeping(caller, source, desk, &entries, &draft.steps, &mut knowledge, now_ms).await?
                }
                (.., Some(again)) => Some(again.keeping(&entries, &draft.steps, &draft.withdrawn)),
                _ => None,
            };
            let atomic = atomicity == Atomicity::Whole;
            let whose = patients.first().filter(|_| terms.desk.is_some());
            let changed = match whose {
                Some(patient) => self.compare(caller, patient, &entries, &mut draft, now_ms).await?,
                None => Changed::default(),
            };
            let cancelled = self.no_longer_permitted(&mut knowledge, &draft.writes).await?;
            let told = finish(Author::of(self, caller), &entries, &draft, keeping, &terms, changed);
            let Draft { steps, writes, grown, withdrawn, .. } = draft;
            let count = writes.len();
            let unit = Unit {
                client: caller.principal.client.clone(),
                idempotency: idempotency
                    .as_ref()
                    .map(|given| IdempotencyKey { key: given.key.clone(), hash: given.hash }),
                preconditions: knowledge.preconditions().chain(turn).collect(),
                progress: terms.progress,
                rereading: terms.again.as_ref().map(|again| again.rereading.clone()),
                rehearsal: terms.again.as_ref().is_some_and(|again| again.rehearsal),
                finish: withdrawal::cancelling(told, cancelled, &writes, atomic),
                writes,
                atomic,
                now_ms,
            };
            match self.store.accept(unit).await? {
                Accepted::Done { outcomes } => {
                    let standing = self.standing(&outcomes).await?;
                    if !grown.is_empty() {
                        self.grown.notify_one();
                    }
                    for patient in lists_of(&entries, &steps) {
                        self.reorder(caller, patient).await?;
                    }
                    let mut rendered = rendered(&entries, steps, &outcomes, &standing, now_ms);
                    if let Some(again) = &terms.again {
                        rendered.extend(again.withdrawn(&withdrawn, &outcomes));
                    }
                    return Ok(rendered);
                }
                Accepted::RolledBack { outcomes } if looks_again(&retriable(&entries, &steps, count), &outcomes) => {}
                Accepted::RolledBack { outcomes } => return Ok(rolled_back(&entries, &steps, &outcomes)),
                Accepted::Replayed { response } => {
                    // The key was looked for before the consents were, and these may have changed since.
                    if self.went_stale(&knowledge).await? {
                        continue;
                    }
                    let outcomes = self.replayed(&response).await?;
                    return self.still_permitted(caller, &entries, steps, outcomes).await;
                }
                Accepted::KeyReused => {
                    return Err(Refusal::one(
                        Id::IdempotencyKeyReused,
                        "",
                        "The Idempotency-Key stood for another request.",
                    ));
                }
                Accepted::Overtaken => {
                    return Err(Refusal::one(Id::UploadOffset, "", "These records were worked off before."));
                }
                Accepted::Stale => knowledge.patients().for_each(|patient| self.consents_stale(patient)),
            }
        }
        let mut refusal =
            Refusal::one(Id::Overloaded, "", "The resource or a consent changes too often to be written now.");
        refusal.retry_after_seconds = Some(1);
        Err(refusal)
    }

    /// Judges the entries, and puts together what is to be written of them.
    async fn draft(
        &self,
        caller: &Caller<'_>,
        entries: &[Result<Prepared, Refusal>],
        terms: &Terms,
        knowledge: &mut Knowledge,
        now_ms: i64,
    ) -> Result<Draft, Refusal> {
        let mut steps: Vec<Option<Step>> = entries.iter().map(|_| None).collect();
        let mut writes: Vec<Write> = Vec::with_capacity(entries.len());
        let mut bases: Vec<Option<Basis>> = Vec::with_capacity(entries.len());
        let mut waiting: Vec<Waiting> = Vec::new();
        let atomicity = terms.atomicity;
        for index in judging_order(entries, atomicity) {
            let judged = match &entries[index] {
                Ok(prepared) => judge::judge(self, caller, prepared, knowledge, now_ms).await,
                Err(refusal) => Err(refusal.clone()),
            };
            steps[index] = Some(match judged {
                Ok(Judged::Write { write, .. }) if let Some(full) = self.no_room_for(&write) => return Err(full),
                Ok(Judged::Write { write, basis, warnings }) if is_apart(&entries[index]) => {
                    waiting.push(Waiting { place: index, write, basis, warnings });
                    continue;
                }
                Ok(Judged::Write { write, basis, warnings }) => {
                    if atomicity == Atomicity::Whole {
                        knowledge.record(&write)?;
                    }
                    let version = write.version;
                    let step = Step::Written { index: writes.len(), version, warnings, secondary: false };
                    writes.push(*write);
                    bases.push(basis);
                    step
                }
                Ok(Judged::Same(stored)) => Step::Same(stored),
                Err(refusal) if is_fault(&refusal) => return Err(refusal),
                Err(refusal) => Step::Refused(refusal),
            });
        }
        let mut drafted = Drafted { entries, steps: &mut steps, writes: &mut writes, bases: &mut bases };
        let grown = self.gather(caller, waiting, &mut drafted, knowledge, now_ms).await?;
        let mut withdrawn = Vec::new();
        for (place, withdrawal) in terms.again.iter().flat_map(|again| again.withdrawals.iter().enumerate()) {
            match withdrawal.judged(self, caller, knowledge, now_ms).await {
                Ok(basis) => {
                    withdrawn.push((writes.len(), place));
                    writes.push(withdrawal.write.clone());
                    bases.push(Some(basis));
                }
                Err(refusal) if is_fault(&refusal) => return Err(refusal),
                Err(_) => {}
            }
        }
        Ok(Draft { steps: steps.into_iter().flatten().collect(), writes, bases, grown, withdrawn })
    }

    /// Holds the readings that are to be written against those of other sources.
    async fn compare(
        &self,
        caller: &Caller<'_>,
        patient: &Patient,
        entries: &[Result<Prepared, Refusal>],
        draft: &mut Draft,
        now_ms: i64,
    ) -> Result<Changed, Refusal> {
        let spots = overlap::spots(entries, &draft.steps, &draft.grown);
        let (roles, retold) = self.weigh(caller, patient.1, &spots, &mut draft.writes, now_ms).await?;
        overlap::apply(&mut draft.steps, &draft.writes, &roles);
        draft.bases.resize(draft.writes.len(), None);
        let receipts = self.receipts_of_retold(&retold, caller.request_id);
        Ok(Changed { patient: Some(patient.clone()), retold, receipts })
    }

    /// What may be kept of what came in. What was judged and refused may not; what could not be judged only where the person
    /// lets everything be collected.
    #[expect(clippy::too_many_arguments, reason = "what one attempt to commit knows")]
    async fn keeping(
        &self,
        caller: &Caller<'_>,
        source: &Source,
        desk: &Desk,
        entries: &[Result<Prepared, Refusal>],
        steps: &[Step],
        knowledge: &mut Knowledge,
        now_ms: i64,
    ) -> Result<Option<Keeping>, Refusal> {
        let unread = |(entry, step): (&Result<Prepared, Refusal>, &Step)| match (entry, step) {
            (Err(refusal), _) => !refusal.ids().contains(&Id::ScopeInsufficient),
            _ => false,
        };
        let mut anything = false;
        if entries.iter().zip(steps).any(unread) {
            anything = judge::may_collect_anything(self, caller, &source.patient, knowledge, now_ms).await?;
        }
        let seen = entries.iter().zip(steps).zip(&desk.records).map(|((entry, step), sent)| Seen {
            line: sent.line,
            pointer: &sent.pointer,
            fits: match step {
                Step::Written { .. } | Step::Gathered { .. } | Step::Same(_) => true,
                Step::Refused(_) => anything && unread((entry, step)),
            },
            making: making(entry, step),
        });
        Ok(source.keeping(seen.collect(), now_ms))
    }

    /// What stands where another resource says the same as one that was to be written, by its place among the writes.
    async fn standing(&self, outcomes: &[WriteOutcome]) -> Result<HashMap<usize, Stored>, Refusal> {
        let mut standing = HashMap::new();
        for (index, outcome) in outcomes.iter().enumerate() {
            if let WriteOutcome::Standing { id, .. } = outcome {
                let stored = self.store.read("Observation", &id.to_string()).await?;
                standing.extend(stored.map(|stored| (index, stored)));
            }
        }
        Ok(standing)
    }

    /// Whether a consent has changed since the decisions were made; the book is up to date afterwards.
    async fn went_stale(&self, knowledge: &Knowledge) -> Result<bool, Refusal> {
        let mut stale = false;
        for (patient, epoch) in knowledge.epochs() {
            stale |= self.consents_now(patient).await?.epoch != epoch;
        }
        Ok(stale)
    }

    async fn all_refused(
        &self,
        caller: &Caller<'_>,
        entries: &[Result<Prepared, Refusal>],
        steps: Vec<Step>,
    ) -> Vec<Outcome> {
        let refusals: Vec<Refusal> = entries
            .iter()
            .zip(steps)
            .map(|(entry, step)| match step {
                Step::Refused(refusal) => refusal,
                _ => undone(entry.as_ref().map_or("", |prepared| prepared.location.as_str())),
            })
            .collect();
        let ids: Vec<Id> = refusals.iter().flat_map(Refusal::ids).collect();
        let author = Author::of(self, caller);
        let patients = patients_of(entries.iter().filter_map(|entry| entry.as_ref().ok()));
        let mut records = Vec::new();
        for patient in &patients {
            for basis in bases_of(patient, entries, &refusals) {
                records.push(author.record(Act::Refuse, Some(patient), &[], basis, &ids));
            }
        }
        if records.is_empty() {
            records.push(author.record(Act::Refuse, None, &[], None, &ids));
        }
        // Should even the refusal not be recorded, the sender still hears of it: nothing was disclosed or kept.
        if let Err(error) = self.store.record_audit(records).await {
            return vec![Outcome::Refused(error.into()); refusals.len()];
        }
        refusals.into_iter().map(Outcome::Refused).collect()
    }

    /// What a key stands for is answered again only as far as consent still lets it be sent: a withdrawal in between
    /// holds for the answer, too.
    async fn still_permitted(
        &self,
        caller: &Caller<'_>,
        entries: &[Result<Prepared, Refusal>],
        steps: Vec<Step>,
        outcomes: Vec<Outcome>,
    ) -> Result<Vec<Outcome>, Refusal> {
        let mut refused: Vec<Refused> = Vec::new();
        let outcomes = entries
            .iter()
            .zip(steps)
            .zip(outcomes)
            .map(|((entry, step), outcome)| match (step, outcome) {
                (Step::Refused(refusal), Outcome::Kept(_)) => {
                    let patient = entry.as_ref().ok().and_then(|prepared| prepared.patient.as_ref());
                    refuse(&mut refused, patient, refusal.basis.as_ref(), &refusal.ids());
                    Outcome::Refused(refusal)
                }
                (_, outcome) => outcome,
            })
            .collect();
        let author = Author::of(self, caller);
        let records: Vec<_> = refused
            .iter()
            .map(|(patient, basis, ids)| author.record(Act::Refuse, patient.as_ref(), &[], basis.as_ref(), ids))
            .collect();
        if !records.is_empty() {
            self.store.record_audit(records).await?;
        }
        Ok(outcomes)
    }

    async fn replayed(&self, response: &[u8]) -> Result<Vec<Outcome>, Refusal> {
        let remembered: Vec<Remembered> = serde_json::from_slice(response)
            .map_err(|_| Refusal::one(Id::Internal, "", "What the Idempotency-Key stands for cannot be read."))?;
        let mut outcomes = Vec::with_capacity(remembered.len());
        for entry in remembered {
            if !entry.issues.is_empty() {
                let issues: Vec<Issue> = entry.issues.into_iter().filter_map(restored).collect();
                outcomes.push(Outcome::Refused(issues.into()));
                continue;
            }
            let stored = self.store.read_version(&entry.kind, &entry.id, entry.version).await?;
            let Some(stored) = stored else {
                return Err(Refusal::one(Id::Gone, "", "The resource is no longer there."));
            };
            outcomes.push(Outcome::Kept(Kept {
                kind: stored.kind.clone(),
                id: entry.id,
                version: entry.version,
                updated_ms: entry.updated_ms,
                fresh: false,
                created: entry.status == 201,
                deleted: entry.status == 204,
                payload: stored.payload,
                warnings: entry.warnings.into_iter().filter_map(restored).collect(),
            }));
        }
        Ok(outcomes)
    }
}

/// Whether it may be part of a stretch of samples.
fn is_apart(entry: &Result<Prepared, Refusal>) -> bool {
    entry.as_ref().is_ok_and(|prepared| prepared.apart.is_some())
}

/// A fault of ours concerns the whole request, a refusal of an entry only that entry.
fn is_fault(refusal: &Refusal) -> bool {
    refusal.status() >= 500
}

/// In a transaction the order of entries has no meaning (R4 §3.1.0.11.2), so consents come before what they permit.
fn judging_order(entries: &[Result<Prepared, Refusal>], atomicity: Atomicity) -> Vec<usize> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    if atomicity == Atomicity::Whole {
        order.sort_by_key(|index| !entries[*index].as_ref().is_ok_and(|prepared| prepared.rule.name == "Consent"));
    }
    order
}

/// In one transaction a Patient and what belongs to it may arrive together: a Patient that this client may not write
/// undoes the whole.
fn registered_here(
    entries: &[Result<Prepared, Refusal>],
    atomicity: Atomicity,
) -> Vec<(crate::store::PatientKey, Option<String>)> {
    if atomicity == Atomicity::EachAlone {
        return Vec::new();
    }
    entries
        .iter()
        .flatten()
        .filter(|prepared| prepared.rule.subject == Subject::Itself)
        .filter_map(|prepared| {
            let (_, key) = prepared.patient.as_ref()?;
            Some((*key, judge::born_of(prepared.validated.element())))
        })
        .collect()
}

/// A patient's id and partition.
pub(in crate::exchange) type Patient = (String, crate::store::PatientKey);

fn patients_of<'p>(entries: impl Iterator<Item = &'p Prepared>) -> Vec<Patient> {
    let mut patients: Vec<Patient> = Vec::new();
    for patient in entries.filter_map(|prepared| prepared.patient.as_ref()) {
        if !patients.contains(patient) {
            patients.push(patient.clone());
        }
    }
    patients
}

/// The consents that refused something of a person, each once; nothing, once, where none did.
fn bases_of<'r>(
    patient: &Patient,
    entries: &[Result<Prepared, Refusal>],
    refusals: &'r [Refusal],
) -> Vec<Option<&'r Basis>> {
    let mut bases: Vec<Option<&Basis>> = Vec::new();
    for (entry, refusal) in entries.iter().zip(refusals) {
        let of_person = entry.as_ref().is_ok_and(|prepared| prepared.patient.as_ref() == Some(patient));
        if of_person && refusal.basis.is_some() && !bases.contains(&refusal.basis.as_ref()) {
            bases.push(refusal.basis.as_ref());
        }
    }
    if bases.is_empty() {
        bases.push(None);
    }
    bases
}

/// Refusals that one audit event tells of: a person, the consent that refused, the reasons.
type Refused = (Option<Patient>, Option<Basis>, Vec<Id>);

fn refuse(refused: &mut Vec<Refused>, patient: Option<&Patient>, basis: Option<&Basis>, ids: &[Id]) {
    let known = refused.iter_mut().find(|(whose, by, _)| whose.as_ref() == patient && by.as_ref() == basis);
    match known {
        Some((.., reasons)) => reasons.extend(ids),
        None => refused.push((patient.cloned(), basis.cloned(), ids.to_vec())),
    }
}

/// What is to be written of the entries.
struct Draft {
    steps: Vec<Step>,
    writes: Vec<Write>,
    /// Of each write, the consent that it rests on.
    bases: Vec<Option<Basis>>,
    grown: Vec<Grown>,
    /// Places among the writes, and among the withdrawals, of what a record no longer stands for.
    withdrawn: Vec<(usize, usize)>,
}

/// The resource that an entry becomes.
pub(super) fn making(entry: &Result<Prepared, Refusal>, step: &Step) -> Option<Making> {
    match (entry, step) {
        (Ok(prepared), Step::Written { index, .. }) => {
            Some(Making { id: prepared.logical.clone(), write: Some((*index, prepared.content)), before: None })
        }
        _ => None,
    }
}

/// Readings that stood before and are told anew beside those of the request.
#[derive(Default)]
struct Changed {
    patient: Option<Patient>,
    retold: Vec<Retold>,
    receipts: Vec<(usize, Receipt)>,
}

/// Persons whose order of sources was written.
fn lists_of<'p>(entries: &'p [Result<Prepared, Refusal>], steps: &[Step]) -> Vec<&'p Patient> {
    let kept = entries.iter().zip(steps).filter(|(_, step)| !matches!(step, Step::Refused(_)));
    let lists = kept.filter_map(|(entry, _)| entry.as_ref().ok()).filter(|prepared| prepared.rule.name == "List");
    lists.filter_map(|prepared| prepared.patient.as_ref()).collect()
}

/// What the writer does inside the transaction: one audit event a person, what the idempotency key remembers, and what is
/// kept of what came in.
fn finish(
    author: Author,
    entries: &[Result<Prepared, Refusal>],
    draft: &Draft,
    keeping: Option<Keeping>,
    terms: &Terms,
    changed: Changed,
) -> Finish {
    let Draft { steps, writes, bases, withdrawn, .. } = draft;
    /// What one audit event tells of: a person, an act, the resources, the consent.
    type Event = (Option<Patient>, Act, Vec<String>, Option<Basis>);
    struct Line {
        patient: Option<Patient>,
        kind: Arc<str>,
        id: String,
        version: u32,
        act: Act,
        basis: Option<Basis>,
    }
    let (remember, atomic) = (terms.idempotency.is_some(), terms.atomicity == Atomicity::Whole);
    let mut lines: Vec<Option<Line>> = (0..writes.len()).map(|_| None).collect();
    let mut refused: Vec<Refused> = Vec::new();
    let mut memory: Vec<(Option<usize>, Remembered)> = Vec::new();
    for (entry, step) in entries.iter().zip(steps) {
        let mut remembered = Remembered {
            status: 200,
            kind: String::new(),
            id: String::new(),
            version: 0,
            updated_ms: 0,
            issues: Vec::new(),
            warnings: Vec::new(),
        };
        let mut index = None;
        match (entry, step) {
            (Ok(prepared), Step::Written { index: write, warnings, .. }) => {
                let act = act_of(&writes[*write]);
                lines[*write] = Some(Line {
                    patient: prepared.patient.clone(),
                    kind: writes[*write].kind.clone(),
                    id: prepared.logical.clone(),
                    version: writes[*write].version,
                    act,
                    basis: bases[*write].clone(),
                });
                remembered = Remembered {
                    status: match act {
                        Act::Create => 201,
                        Act::Delete => 204,
                        _ => 200,
                    },
                    kind: prepared.rule.name.to_owned(),
                    id: prepared.logical.clone(),
                    version: writes[*write].version,
                    updated_ms: writes[*write].updated_ms,
                    issues: Vec::new(),
                    warnings: prepared.validated.warnings().iter().chain(warnings).map(stored_form).collect(),
                };
                index = Some(*write);
            }
            (Ok(prepared), Step::Gathered { index: write, logical, again, warnings, .. }) => {
                lines[*write] = Some(Line {
                    patient: prepared.patient.clone(),
                    kind: writes[*write].kind.clone(),
                    id: logical.clone(),
                    version: writes[*write].version,
                    act: act_of(&writes[*write]),
                    basis: bases[*write].clone(),
                });
                remembered = Remembered {
                    status: if *again { 200 } else { 201 },
                    kind: prepared.rule.name.to_owned(),
                    id: logical.clone(),
                    version: writes[*write].version,
                    updated_ms: writes[*write].updated_ms,
                    issues: Vec::new(),
                    warnings: prepared.validated.warnings().iter().chain(warnings).map(stored_form).collect(),
                };
                index = Some(*write);
            }
            (Ok(prepared), Step::Same(stored)) => {
                prepared.rule.name.clone_into(&mut remembered.kind);
                remembered.id = stored.logical_id();
                remembered.version = stored.version;
                remembered.updated_ms = stored.updated_ms;
            }
            (entry, Step::Refused(refusal)) => {
                let patient = entry.as_ref().ok().and_then(|prepared| prepared.patient.as_ref());
                refuse(&mut refused, patient, refusal.basis.as_ref(), &refusal.ids());
                remembered.issues = refusal.issues.iter().map(stored_form).collect();
            }
            (Err(_), _) => {}
        }
        if remember {
            memory.push((index, remembered));
        }
    }
    let rectified = if terms.desk.is_none() { rectified(entries, steps, writes) } else { Vec::new() };
    let again = terms.again.clone();
    for (write, place) in withdrawn {
        let Some(withdrawal) = again.as_ref().and_then(|again| again.withdrawals.get(*place)) else { continue };
        lines[*write] = Some(Line {
            patient: Some(withdrawal.person.clone()),
            kind: writes[*write].kind.clone(),
            id: withdrawal.id().to_owned(),
            version: writes[*write].version,
            act: Act::Update,
            basis: bases[*write].clone(),
        });
    }
    let withdrawn = withdrawn.clone();
    let retriable: Vec<bool> = retriable(entries, steps, writes.len());
    let desk = terms.desk.clone().map(|desk| (desk, verdicts(entries, steps)));
    let at_ms = author.at_ms();
    let versions: Vec<u32> = writes.iter().map(|write| write.version).collect();
    Box::new(move |outcomes: &[WriteOutcome]| {
        if atomic && looks_again(&retriable, outcomes) {
            // Nothing happened yet: it will be looked again, and then told what came of it.
            return Finished::default();
        }
        let mut events: Vec<Event> = Vec::new();
        let mut refused = refused;
        for (line, outcome) in lines.iter().zip(outcomes) {
            let Some(line) = line else { continue };
            if outcome.is_conflict() {
                let id = match outcome {
                    WriteOutcome::VersionMismatch { .. } => Id::VersionConflict,
                    _ => Id::DuplicateIdentifier,
                };
                refuse(&mut refused, line.patient.as_ref(), None, &[id]);
                continue;
            }
            let reference = match outcome {
                WriteOutcome::Standing { id, version, .. } => format!("{}/{id}/_history/{version}", line.kind),
                _ => format!("{}/{}/_history/{}", line.kind, line.id, line.version),
            };
            match events.iter_mut().find(|(patient, known, ..)| *patient == line.patient && *known == line.act) {
                Some((.., references, _)) => references.push(reference),
                None => events.push((line.patient.clone(), line.act, vec![reference], line.basis.clone())),
            }
        }
        let undone = outcomes.len() < lines.len() || (atomic && outcomes.iter().any(WriteOutcome::is_conflict));
        let desk = desk.filter(|_| !undone);
        let told = desk.as_ref().and_then(|(desk, verdicts)| desk.provenance(verdicts, outcomes, at_ms));
        if let Some(write) = &told
            && let Some((.., references, _)) = events.iter_mut().find(|(_, act, ..)| *act == Act::Create)
        {
            references.push(format!("{}/{}/_history/{}", write.kind, write.id, write.version));
        }
        let withdrawn: Vec<(usize, &Withdrawal)> = withdrawn
            .iter()
            .filter_map(|(write, place)| Some((*write, again.as_ref()?.withdrawals.get(*place)?)))
            .collect();
        let revised = desk.as_ref().and_then(|(desk, verdicts)| desk.revision(verdicts, &withdrawn, outcomes, at_ms));
        if let Some(write) = &revised
            && let Some((.., references, _)) = events.iter_mut().find(|(_, act, ..)| *act == Act::Update)
        {
            references.push(format!("{}/{}/_history/{}", write.kind, write.id, write.version));
        }
        let corrections = if undone { Vec::new() } else { provenance::rectifications(&author, &rectified, outcomes) };
        let mut audit: Vec<_> = events
            .iter()
            .map(|(patient, act, references, basis)| {
                author.record(*act, patient.as_ref(), references, basis.as_ref(), &[])
            })
            .collect();
        for (patient, basis, ids) in &refused {
            audit.push(author.record(Act::Refuse, patient.as_ref(), &[], basis.as_ref(), ids));
        }
        let Changed { patient, retold, receipts } = changed;
        if let Some(patient) = &patient {
            audit.extend(overlap::audited(&author, patient, &retold, &versions, outcomes));
        }
        // A rollback did nothing, so there is nothing to remember: the same request may be tried again.
        let response = (!undone && !memory.is_empty()).then(|| {
            for (index, remembered) in &mut memory {
                match index.and_then(|index| outcomes.get(index)).copied() {
                    Some(WriteOutcome::Existing { version, updated_ms }) => {
                        (remembered.status, remembered.version, remembered.updated_ms) = (200, version, updated_ms);
                    }
                    Some(WriteOutcome::Standing { id, version, updated_ms }) => {
                        remembered.id = id.to_string();
                        (remembered.status, remembered.version, remembered.updated_ms) = (200, version, updated_ms);
                    }
                    Some(outcome) if outcome.is_conflict() => {
                        remembered.issues = vec![stored_form(&Issue::new(
                            Id::DuplicateIdentifier,
                            "",
                            "The identifier stands for a resource with other content.",
                        ))];
                    }
                    _ => {}
                }
            }
            let memory: Vec<&Remembered> = memory.iter().map(|(_, remembered)| remembered).collect();
            serde_json::to_vec(&memory).unwrap_or_default()
        });
        let (mut filing, words) = match &desk {
            Some((desk, verdicts)) => desk.file(verdicts, outcomes, at_ms),
            None => Default::default(),
        };
        if let Some((desk, _)) = &desk {
            let done = withdrawn.iter().filter(|(write, _)| outcomes.get(*write) == Some(&WriteOutcome::Updated));
            filing.receipts.extend(done.map(|(_, withdrawal)| desk.withdrawn(withdrawal, at_ms)));
        }
        let raw = keeping.filter(|_| !undone).and_then(|keeping| keeping.step(outcomes));
        overlap::file(&mut filing, receipts, outcomes);
        let writes = told.into_iter().chain(revised).chain(corrections).collect();
        Finished { audit, response, filing, writes, words, raw, ..Finished::default() }
    })
}

/// What the audit calls a write.
fn act_of(write: &Write) -> Act {
    match write.expect {
        Expect::Absent => Act::Create,
        Expect::Version(_) if write.delete => Act::Delete,
        Expect::Version(_) => Act::Update,
    }
}

/// Measurements that their owner changes.
fn rectified(entries: &[Result<Prepared, Refusal>], steps: &[Step], writes: &[Write]) -> Vec<Rectified> {
    let changed = |(entry, step): (&Result<Prepared, Refusal>, &Step)| match (entry, step) {
        (Ok(prepared), Step::Written { index, version, .. }) => {
            let changes =
                prepared.rule.guard == Guard::Consent && matches!(writes.get(*index)?.expect, Expect::Version(_));
            let resource = format!("{}/{}", prepared.rule.name, prepared.logical);
            let made = Made::of(prepared.rule.name, prepared.validated.element());
            let patient = prepared.patient.clone().filter(|_| changes)?;
            let deleted = prepared.intent.deletes();
            Some(Rectified { patient, index: *index, resource, version: *version, deleted, made })
        }
        _ => None,
    };
    entries.iter().zip(steps).filter_map(changed).collect()
}

/// What is known of each record before it is written.
fn verdicts(entries: &[Result<Prepared, Refusal>], steps: &[Step]) -> Vec<Verdict> {
    let verdict = |(entry, step): (&Result<Prepared, Refusal>, &Step)| match (entry, step) {
        (Ok(prepared), Step::Written { index, version, warnings, .. }) => {
            Verdict::written(prepared, *index, *version, warnings)
        }
        (Ok(prepared), Step::Gathered { index, logical, version, again: false, warnings, .. }) => {
            Verdict::gathered(prepared, *index, *version, logical, warnings)
        }
        (_, Step::Refused(refusal)) | (Err(refusal), _) => Verdict::Refused(refusal.issues.clone()),
        (Ok(_), Step::Same(_) | Step::Gathered { .. }) => Verdict::Same,
    };
    entries.iter().zip(steps).map(verdict).collect()
}

fn stored_form(issue: &Issue) -> (String, String, String) {
    (issue.id.code().to_owned(), issue.expression.clone(), issue.text.clone())
}

fn restored((code, expression, text): (String, String, String)) -> Option<Issue> {
    let entry = CATALOGUE.iter().find(|entry| entry.code == code)?;
    Some(Issue::new(entry.id, expression, text))
}

fn rendered(
    entries: &[Result<Prepared, Refusal>],
    steps: Vec<Step>,
    outcomes: &[WriteOutcome],
    standing: &HashMap<usize, Stored>,
    now_ms: i64,
) -> Vec<Outcome> {
    entries
        .iter()
        .zip(steps)
        .map(|(entry, step)| match (entry, step) {
            (_, Step::Refused(refusal)) => Outcome::Refused(refusal),
            (Err(refusal), _) => Outcome::Refused(refusal.clone()),
            (Ok(_), Step::Written { index, .. }) if standing.contains_key(&index) => {
                Outcome::Kept(Kept::standing(standing[&index].clone(), Vec::new()))
            }
            (Ok(prepared), Step::Gathered { index, logical, version, again, warnings, payload }) => {
                match outcomes[index] {
                    WriteOutcome::Created | WriteOutcome::Updated => Outcome::Kept(Kept {
                        kind: Arc::from(prepared.rule.name),
                        id: logical,
                        version,
                        updated_ms: now_ms,
                        fresh: !again,
                        created: !again,
                        deleted: false,
                        payload,
                        warnings: prepared.validated.warnings().iter().cloned().chain(warnings).collect(),
                    }),
                    _ => Outcome::Refused(overtaken(prepared).into()),
                }
            }
            (Ok(prepared), Step::Same(stored)) => {
                Outcome::Kept(Kept::standing(*stored, prepared.validated.warnings().to_vec()))
            }
            (Ok(prepared), Step::Written { index, version, warnings, secondary }) => {
                with_warnings(written(prepared, &outcomes[index], version, now_ms, secondary), warnings)
            }
        })
        .collect()
}

fn with_warnings(outcome: Outcome, warnings: Vec<Issue>) -> Outcome {
    match outcome {
        Outcome::Kept(mut kept) => {
            kept.warnings.extend(warnings);
            Outcome::Kept(kept)
        }
        refused @ Outcome::Refused(_) => refused,
    }
}

fn written(
    prepared: &Prepared,
    outcome: &WriteOutcome,
    prepared_version: u32,
    now_ms: i64,
    secondary: bool,
) -> Outcome {
    let (version, updated_ms, fresh, created) = match *outcome {
        WriteOutcome::Created => (1, now_ms, true, true),
        WriteOutcome::Updated => (prepared_version, now_ms, true, false),
        WriteOutcome::Existing { version, updated_ms } | WriteOutcome::Standing { version, updated_ms, .. } => {
            (version, updated_ms, false, false)
        }
        WriteOutcome::Conflict { .. } => return Outcome::Refused(judge::conflict(prepared).into()),
        WriteOutcome::VersionMismatch { .. } => return Outcome::Refused(overtaken(prepared).into()),
    };
    let payload = judge::payload(prepared, version, updated_ms, secondary);
    Outcome::Kept(Kept {
        kind: Arc::from(prepared.rule.name),
        id: prepared.logical.clone(),
        version,
        updated_ms,
        fresh,
        created,
        deleted: prepared.intent.deletes(),
        payload,
        warnings: prepared.validated.warnings().to_vec(),
    })
}

fn overtaken(prepared: &Prepared) -> Issue {
    Issue::new(
        Id::VersionConflict,
        prepared.location.as_str(),
        "The resource was changed by another request at the same time.",
    )
}

/// A conflict between two requests of the same moment is settled by looking again, unless the client named the
/// version that it means.
fn looks_again(retriable: &[bool], outcomes: &[WriteOutcome]) -> bool {
    let mut conflicts = outcomes.iter().zip(retriable).filter(|(outcome, _)| outcome.is_conflict()).peekable();
    conflicts.peek().is_some() && conflicts.all(|(_, retriable)| *retriable)
}

/// Of each write, whether its conflict may be settled so.
fn retriable(entries: &[Result<Prepared, Refusal>], steps: &[Step], writes: usize) -> Vec<bool> {
    let mut retriable = vec![false; writes];
    for (entry, step) in entries.iter().zip(steps) {
        if let (Ok(prepared), Step::Written { index, .. }) = (entry, step) {
            retriable[*index] = matches!(
                prepared.intent,
                Intent::Update { when: When { version: None, .. }, .. } | Intent::Create { condition: Some(_) }
            );
        }
    }
    retriable
}

fn rolled_back(entries: &[Result<Prepared, Refusal>], steps: &[Step], outcomes: &[WriteOutcome]) -> Vec<Outcome> {
    entries
        .iter()
        .zip(steps)
        .map(|(entry, step)| match (entry, step) {
            // The outcomes end with the first conflict.
            (Ok(prepared), Step::Written { index, .. }) => match outcomes.get(*index) {
                Some(WriteOutcome::Conflict { .. }) => Outcome::Refused(judge::conflict(prepared).into()),
                Some(WriteOutcome::VersionMismatch { .. }) => Outcome::Refused(overtaken(prepared).into()),
                _ => Outcome::Refused(undone(&prepared.location)),
            },
            (Ok(prepared), _) => Outcome::Refused(undone(&prepared.location)),
            (Err(refusal), _) => Outcome::Refused(refusal.clone()),
        })
        .collect()
}

fn undone(location: &str) -> Refusal {
    Refusal::one(Id::EntryFailed, location, "Another entry of the transaction failed; this one was not kept either.")
}

/// Status of an entry, for the transaction as a whole.
pub(super) fn worst(outcomes: &[Outcome]) -> Option<Refusal> {
    let issues: Vec<Issue> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Refused(refusal) => Some(&refusal.issues),
            Outcome::Kept(_) => None,
        })
        .flatten()
        .filter(|issue| issue.id != Id::EntryFailed)
        .cloned()
        .collect();
    debug_assert!(issues.is_empty() || refusal::status(&issues) >= 400);
    (!issues.is_empty()).then(|| issues.into())
}
