//! Reading again what came in: a mapping was mended, and what it made of earlier records is mended with it.
//!
//! Each raw input goes the way of the push that it once was, by today's mapping, rules and consent, as the client that sent
//! it and only while that client still may. A record that says the same as before changes nothing. One that says something
//! else becomes a new version of its resource, one that is taken at last a new resource, and a resource that no record
//! stands for any more is entered in error. All of it is delivered like every change. What its owner changed in the
//! meantime, by whatever other way, is left alone.
//!
//! An input, what came of it and the version that it is of from then on are one transaction, which finds out first whether
//! the input is still of the version that it was read at. So whatever ends a run, each input has been done wholly or not at
//! all, and neither the next run nor one beside it does anything twice. An input of which the person's consent withholds
//! something stays as old as it is, and is asked about again.
//!
//! Which of several sources counts is weighed with each input as with a push. Of what is pushed to another process at that
//! very moment nothing is known here: both may count until the person's order of sources is told again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::commit::{Atomicity, Patient, Step, Terms, making};
use super::desk::Desk;
use super::device::{Placed, Read, whole};
use super::judge::{self, About, Knowledge};
use super::prepare::Prepared;
use super::provenance::{self, Origin};
use super::raw::{self, Input, Keeping, Made, Making};
use super::{Addressed, Corrected, Intent, Kept, Outcome};
use crate::devices::{self, Format, Record, Sender};
use crate::exchange::facts::Facts;
use crate::exchange::receipts::DAY_MS;
use crate::exchange::sending::Sending;
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Element, json};
use crate::policy::consent::Basis;
use crate::store::{Raw, RawHead, Rereading, Stored, Write, WriteOutcome};

const KIND: &str = "Observation";
const IN_ERROR: &str = "entered-in-error";

/// Inputs that are looked up at once.
const PAGE: usize = 500;

/// The version of a mapping: three numbers, compared as SemVer does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version([u64; 3]);

impl Version {
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.split('.').map(|part| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.parse().ok()).flatten()
        });
        let version = Version([parts.next()??, parts.next()??, parts.next()??]);
        parts.next().is_none().then_some(version)
    }
}

/// Which inputs are read again.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Those that this version or a later one has read.
    pub since: Version,
    /// Of this format alone.
    pub format: Option<&'a str>,
    /// Only to find out what would become of them.
    pub rehearsal: bool,
}

impl Wish<'_> {
    /// Whether an input that was read by one version of a mapping is read again by another. Templates have no numbers: of
    /// theirs every other version is an earlier one.
    fn covers(&self, was: &str, is: &str) -> bool {
        match (Version::parse(was), Version::parse(is)) {
            (Some(was), Some(is)) => self.since <= was && was < is,
            _ => was != is,
        }
    }
}

/// What becomes of a record, or of a resource that no record stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fate {
    Unchanged,
    Corrected,
    Created,
    /// Entered in error.
    Withdrawn,
    Refused,
    /// Its owner changed the resource.
    LeftAlone,
    /// The person's consent or the client's standing does not let it be read again.
    Withheld,
}

impl Fate {
    pub const ALL: [Fate; 7] = [
        Fate::Unchanged,
        Fate::Corrected,
        Fate::Created,
        Fate::Withdrawn,
        Fate::Refused,
        Fate::LeftAlone,
        Fate::Withheld,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Fate::Unchanged => "unchanged",
            Fate::Corrected => "corrected",
            Fate::Created => "created",
            Fate::Withdrawn => "withdrawn",
            Fate::Refused => "refused",
            Fate::LeftAlone => "left alone",
            Fate::Withheld => "withheld",
        }
    }
}

/// What came of the inputs of one format.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    pub inputs: u64,
    /// Records in them. What is withdrawn is a resource, and its record may be refused besides.
    pub records: u64,
    pub fates: BTreeMap<Fate, u64>,
}

impl Counts {
    fn add(&mut self, fate: Fate) {
        *self.fates.entry(fate).or_default() += 1;
    }

    pub fn of(&self, fate: Fate) -> u64 {
        self.fates.get(&fate).copied().unwrap_or_default()
    }
}

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    pub formats: BTreeMap<String, Counts>,
    /// Inputs that were there, read again or not.
    pub found: u64,
    /// When the oldest of them came.
    pub oldest_ms: Option<i64>,
    /// Inputs whose time was over.
    pub expired: u64,
    /// Inputs of formats that are no longer known.
    pub unknown: u64,
    /// Inputs that nobody can open any more: forgotten meanwhile, or their person's key was shredded.
    pub closed: u64,
}

impl Gateway {
    /// Reads inputs again, the oldest first; `progress` hears of each. The error is that it could not be ended; what was
    /// done until then stays done.
    pub async fn remap(&self, wish: Wish<'_>, mut progress: impl FnMut()) -> Result<Summary, Refusal> {
        let mut summary = Summary::default();
        let forgotten_before_ms = self.now_ms() - i64::from(self.config.raw_days) * DAY_MS;
        let mut after = 0;
        loop {
            let heads = self.store.raw_heads(after, PAGE).await?;
            let Some(last) = heads.last() else { return Ok(summary) };
            after = last.number;
            for head in heads.iter().filter(|head| wish.format.is_none_or(|format| format == head.format)) {
                summary.found += 1;
                summary.oldest_ms = Some(summary.oldest_ms.map_or(head.at_ms, |oldest| oldest.min(head.at_ms)));
                if head.at_ms < forgotten_before_ms {
                    summary.expired += 1;
                    continue;
                }
                let Some(format) = self.formats.format(&head.format) else {
                    summary.unknown += 1;
                    continue;
                };
                if !wish.covers(&head.version, format.version()) {
                    continue;
                }
                let Some(raw) = self.store.raw(head.number).await? else {
                    summary.closed += 1;
                    continue;
                };
                if let Some((records, fates)) = self.read_again(&raw, &format, wish.rehearsal).await? {
                    let counts = summary.formats.entry(head.format.clone()).or_default();
                    counts.inputs += 1;
                    counts.records += records as u64;
                    for fate in fates {
                        counts.add(fate);
                    }
                }
                progress();
            }
        }
    }

    /// One input: how many records it has, and what becomes of them. None where another run has been faster.
    async fn read_again(
        &self,
        raw: &Raw,
        format: &Format,
        rehearsal: bool,
    ) -> Result<Option<(usize, Vec<Fate>)>, Refusal> {
        let unreadable = || Refusal::one(Id::Internal, "", "What was kept of the records cannot be read.");
        let (header, input) = raw::unpacked(&raw.body).ok_or_else(unreadable)?;
        let mut sending = Sending::restored(self, &raw.head.client, &header)?;
        let addressed = Addressed { patient: &sending.patient, zone: sending.zone.clone() };
        let subject = addressed.subject()?;
        let sender = Sender { subject: &subject, zone: addressed.zone };
        let records = self.records(format, input, &sender);
        let count = records.len();
        match self.stands(&sending.principal).await {
            Ok(guide) => sending.principal.guide = guide,
            Err(refusal) if refusal.status() >= 500 => return Err(refusal),
            Err(_) => return Ok(Some((count, vec![Fate::Withheld; count]))),
        }
        let request = format!("remap-{}", raw.head.number);
        let caller = Caller {
            principal: &sending.principal,
            request_id: &request,
            purpose: &sending.purpose,
            address: None,
            looked_at: None,
        };
        let person = (sending.patient.clone(), raw.head.patient);
        let read = self.read_records(&caller, format, records).await?;
        let mut again = Compared {
            gateway: self,
            caller: &caller,
            format,
            person: &person,
            knowledge: Knowledge::new(Vec::new()),
            made: made(raw),
            covered: HashSet::new(),
            kept: Vec::new(),
            entries: Vec::new(),
            fates: Vec::new(),
        };
        let refusals = again.compare(read).await?;
        let withdrawals = again.withdrawals(&refusals).await?;
        let fates = again.commit(&raw.head, withdrawals, &subject, rehearsal).await?;
        let changes = |fate: &Fate| matches!(fate, Fate::Corrected | Fate::Withdrawn);
        if !rehearsal && fates.iter().flatten().any(changes) {
            // What a reading stood in the way of may count now. Should the run end just here, the person's next order of
            // sources tells it.
            self.reorder(&caller, &person).await?;
        }
        Ok(fates.map(|fates| (count, fates)))
    }

    /// The records of an input by today's mapping. Those that were cut when it was kept are none.
    fn records(&self, format: &Format, input: Input, sender: &Sender<'_>) -> Vec<Placed> {
        let text = match input {
            Input::Lines(lines) => return self.lines(format, &lines, sender),
            Input::Whole(text) => text,
        };
        let cut: Value = serde_json::from_slice(&text).unwrap_or_default();
        let is_cut = |record: &Record| !record.pointer.is_empty() && cut.pointer(&record.pointer) == Some(&Value::Null);
        let read = devices::read(text)
            .and_then(|document| format.convert(&document, sender, self.config.bundle_entries))
            .unwrap_or_else(|issue| vec![Record::unread(issue)]);
        whole(read.into_iter().filter(|record| !is_cut(record)).collect())
    }
}

/// What came of an input, by id. A record that came twice in it is one, and was the first to say it if either was.
fn made(raw: &Raw) -> HashMap<String, Made> {
    let mut all: HashMap<String, Made> = HashMap::new();
    for made in raw::read(&raw.made) {
        let first = made.first || all.get(&made.id).is_some_and(|known| known.first);
        all.insert(made.id.clone(), Made { first, ..made });
    }
    all
}

/// An entry of the unit: what is written, how its record came, what stood before.
struct Entry {
    prepared: Prepared,
    sent: super::desk::Sent,
    before: Option<Made>,
}

/// An input held against what came of it before.
struct Compared<'a> {
    gateway: &'a Gateway,
    caller: &'a Caller<'a>,
    format: &'a Format,
    person: &'a Patient,
    knowledge: Knowledge,
    /// What came of it, by id.
    made: HashMap<String, Made>,
    /// Of these, those that a record still stands for.
    covered: HashSet<String>,
    /// Of these, those that stay as they are.
    kept: Vec<Made>,
    entries: Vec<Entry>,
    fates: Vec<Fate>,
}

impl Compared<'_> {
    /// Sorts the records; what is refused is answered, by what its sender calls it.
    async fn compare(&mut self, read: Read) -> Result<HashMap<String, Vec<Issue>>, Refusal> {
        let mut refusals = HashMap::new();
        for ((prepared, sent), id) in read.prepared.into_iter().zip(read.sent).zip(read.ids) {
            match prepared {
                Ok(prepared) => self.accepted(prepared, sent).await?,
                Err(refusal) if refusal.status() >= 500 => return Err(refusal),
                Err(refusal) => {
                    self.fates.push(Fate::Refused);
                    refusals.extend(id.map(|id| (id, refusal.issues)));
                }
            }
        }
        Ok(refusals)
    }

    async fn accepted(&mut self, prepared: Prepared, mut sent: super::desk::Sent) -> Result<(), Refusal> {
        let stored = self.gateway.store.read_derived(KIND, prepared.id).await?;
        let before = stored.as_ref().and_then(|stored| self.made.get(&stored.logical_id())).cloned();
        if let Some(before) = &before
            && !self.covered.insert(before.id.clone())
        {
            // The first of two decides.
            self.fates.push(Fate::Unchanged);
            return Ok(());
        }
        let element = prepared.validated.element();
        let may = may_collect(self.gateway, self.caller, self.person, element, &prepared.logical, &mut self.knowledge);
        if !granted(may.await)? {
            self.kept.extend(before);
            self.fates.push(Fate::Withheld);
            return Ok(());
        }
        sent.lost.push(Issue::new(Id::MappingCorrected, "", "A newer version of the mapping read the record again."));
        let (Some(stored), Some(before)) = (stored, before) else {
            self.entries.push(Entry { prepared, sent, before: None });
            return Ok(());
        };
        if !stored.deleted && stored.content == prepared.content {
            self.kept.push(before);
            self.fates.push(Fate::Unchanged);
        } else if self.is_changed(&stored, &before) {
            self.kept.push(before);
            self.fates.push(Fate::LeftAlone);
        } else {
            match self.corrected(prepared, &stored).await {
                Ok(prepared) => self.entries.push(Entry { prepared, sent, before: Some(before) }),
                Err(refusal) if refusal.status() >= 500 => return Err(refusal),
                Err(_) => {
                    self.covered.remove(&before.id);
                    self.fates.push(Fate::Refused);
                }
            }
        }
        Ok(())
    }

    /// Whether somebody else has changed it.
    fn is_changed(&self, stored: &Stored, before: &Made) -> bool {
        stored.deleted
            || stored.content != before.content
            || stored.owner != self.caller.principal.client
            || stored.patient != Some(self.person.1)
    }

    /// The same Observation as a new version of what stands.
    async fn corrected(&self, prepared: Prepared, stored: &Stored) -> Result<Prepared, Refusal> {
        let document = prepared.validated.document();
        let standing = json::parse(stored.payload.as_slice())?;
        let is_open = matches!(Element::root(&standing).text_of("status"), Some("preliminary" | "registered"));
        let text = match Element::root(document).text_of("status") {
            Some("final") if !is_open => with_status(document.source(), "corrected")?,
            _ => document.source().to_owned(),
        };
        let intent = Intent::Correct(Corrected {
            id: stored.id,
            name: stored.name.clone(),
            version: stored.version,
            seq: stored.seq,
            content: prepared.content,
        });
        let validator = self.gateway.rules(self.caller.principal, [], &[]).await?.of(None, &[]);
        let examined = self.gateway.examine_record(validator, self.caller, text, intent);
        let concluded = self.gateway.conclude_records(self.caller, vec![examined]).await.pop();
        concluded.unwrap_or_else(|| Err(Refusal::one(Id::Internal, "", "The record had no outcome.")))
    }

    /// What no record stands for any more, to be entered in error.
    async fn withdrawals(&mut self, refusals: &HashMap<String, Vec<Issue>>) -> Result<Vec<Withdrawal>, Refusal> {
        let mut withdrawals = Vec::new();
        let mut left: Vec<Made> = self.made.values().filter(|made| !self.covered.contains(&made.id)).cloned().collect();
        left.sort_by(|one, other| one.id.cmp(&other.id));
        // Of what another input said first, that input decides.
        for before in left.into_iter().filter(|made| made.first) {
            let Some(stored) = self.gateway.store.read(KIND, &before.id).await? else { continue };
            let document = json::parse(stored.payload.as_slice());
            let in_error =
                document.as_ref().is_ok_and(|document| Element::root(document).text_of("status") == Some(IN_ERROR));
            if in_error && !stored.deleted {
                self.kept.push(Made { content: stored.content, ..before });
                continue;
            }
            if self.is_changed(&stored, &before) {
                self.kept.push(before);
                self.fates.push(Fate::LeftAlone);
                continue;
            }
            let mut withdrawal = Withdrawal::of(&stored, self.person, before, self.gateway.now_ms())?;
            if !granted(withdrawal.judged(self.gateway, self.caller, &mut self.knowledge, self.gateway.now_ms()).await)?
            {
                self.kept.push(withdrawal.before);
                self.fates.push(Fate::Withheld);
                continue;
            }
            let text =
                "By a newer version of the mapping the record stands for nothing; the resource is entered in error.";
            withdrawal.issues.push(Issue::new(Id::MappingCorrected, "", text));
            if let Some(id) = withdrawal.identifier() {
                withdrawal.issues.extend(refusals.get(&id).into_iter().flatten().cloned());
                withdrawal.key = Some(self.gateway.record_key(self.format.name(), &id));
            }
            withdrawals.push(withdrawal);
        }
        Ok(withdrawals)
    }

    async fn commit(
        self,
        head: &RawHead,
        withdrawals: Vec<Withdrawal>,
        subject: &str,
        rehearsal: bool,
    ) -> Result<Option<Vec<Fate>>, Refusal> {
        let mut fates = self.fates;
        let withheld = fates.contains(&Fate::Withheld);
        let mut before = Vec::with_capacity(self.entries.len());
        let mut sent = Vec::with_capacity(self.entries.len());
        let mut prepared = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            before.push(entry.before);
            sent.push(entry.sent);
            prepared.push(Ok(entry.prepared));
        }
        let desk = Desk {
            patient: self.gateway.patient_key(subject.strip_prefix("Patient/").unwrap_or(subject)),
            format: Arc::from(self.format.name()),
            request: self.caller.request_id.to_owned(),
            records: sent,
            keep_ms: i64::from(self.gateway.config.receipt_days) * DAY_MS,
            origin: Origin::of(self.gateway, self.caller, self.format, subject),
            again: true,
        };
        let again = Again {
            rereading: Rereading { number: head.number, from: head.version.clone() },
            version: if withheld { head.version.as_str() } else { self.format.version() }.into(),
            kept: self.kept,
            before,
            withdrawals,
            rehearsal,
        };
        let terms =
            Terms { desk: Some(Arc::new(desk)), again: Some(Arc::new(again)), ..Terms::of(Atomicity::EachAlone) };
        let records = prepared.len();
        match self.gateway.commit(self.caller, prepared, terms).await {
            Ok(outcomes) => {
                let fate = |(place, outcome): (usize, &Outcome)| fate(outcome, place >= records);
                fates.extend(outcomes.iter().enumerate().map(fate));
                Ok(Some(fates))
            }
            Err(refusal) if refusal.ids() == [Id::UploadOffset] => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

fn fate(outcome: &Outcome, withdrawn: bool) -> Fate {
    match outcome {
        Outcome::Kept(_) if withdrawn => Fate::Withdrawn,
        Outcome::Kept(Kept { created: true, .. }) => Fate::Created,
        Outcome::Kept(Kept { fresh: true, .. }) => Fate::Corrected,
        Outcome::Kept(_) => Fate::Unchanged,
        Outcome::Refused(refusal) if refusal.ids() == [Id::VersionConflict] => Fate::LeftAlone,
        Outcome::Refused(refusal) if refusal.status() == 403 => Fate::Withheld,
        Outcome::Refused(_) => Fate::Refused,
    }
}

/// A refusal by consent is an answer, a fault is none.
fn granted<T>(decided: Result<T, Refusal>) -> Result<bool, Refusal> {
    match decided {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.status() >= 500 => Err(refusal),
        Err(_) => Ok(false),
    }
}

async fn may_collect(
    gateway: &Gateway,
    caller: &Caller<'_>,
    person: &Patient,
    element: Element<'_>,
    logical: &str,
    knowledge: &mut Knowledge,
) -> Result<Basis, Refusal> {
    let facts = Facts::of(Arc::from(KIND), element);
    let reference = format!("{KIND}/{logical}");
    let about = About { person, facts: &facts, reference: &reference, location: KIND };
    let permitted = judge::may_collect(gateway, caller, &about, (), knowledge, gateway.now_ms()).await?;
    Ok(permitted.basis().clone())
}

/// A resource's text with another status.
fn with_status(text: &str, status: &str) -> Result<String, Refusal> {
    let unreadable = |_| Refusal::one(Id::Internal, "", "What stands cannot be read.");
    let mut resource: Value = serde_json::from_str(text).map_err(unreadable)?;
    resource["status"] = status.into();
    Ok(resource.to_string())
}

/// What a unit is told that reads an input again.
pub(super) struct Again {
    pub rereading: Rereading,
    /// That the input is of from now on.
    version: Arc<str>,
    /// What came of it before and is not written.
    kept: Vec<Made>,
    /// What came of each entry before.
    before: Vec<Option<Made>>,
    pub withdrawals: Vec<Withdrawal>,
    pub rehearsal: bool,
}

impl Again {
    /// What is noted of the input. Should a consent have changed since it was looked at, it stays as old as it is.
    pub fn keeping(
        &self,
        entries: &[Result<Prepared, Refusal>],
        steps: &[Step],
        withdrawn: &[(usize, usize)],
    ) -> Keeping {
        let stays = |made: &Made| Making { id: made.id.clone(), write: None, before: Some(made.clone()) };
        let mut makings: Vec<Making> = self.kept.iter().map(stays).collect();
        for ((entry, step), before) in entries.iter().zip(steps).zip(&self.before) {
            match making(entry, step) {
                Some(making) => makings.push(Making { before: before.clone(), ..making }),
                None => makings.extend(before.as_ref().map(stays)),
            }
        }
        for (place, withdrawal) in self.withdrawals.iter().enumerate() {
            let write = withdrawn.iter().find(|(_, whose)| *whose == place);
            let write = write.map(|(index, _)| (*index, withdrawal.write.content));
            makings.push(Making { write, ..stays(&withdrawal.before) });
        }
        let refused = steps.iter().any(|step| matches!(step, Step::Refused(_)));
        let whole = !refused && withdrawn.len() == self.withdrawals.len();
        let version = if whole { self.version.clone() } else { self.rereading.from.as_str().into() };
        Keeping::again(self.rereading.number, version, makings)
    }

    /// What became of the withdrawals.
    pub fn withdrawn(&self, withdrawn: &[(usize, usize)], outcomes: &[WriteOutcome]) -> Vec<Outcome> {
        let outcome = |(place, withdrawal): (usize, &Withdrawal)| {
            let written =
                withdrawn.iter().find(|(_, whose)| *whose == place).and_then(|(index, _)| outcomes.get(*index));
            match written {
                Some(WriteOutcome::Updated) => Outcome::Kept(Kept {
                    kind: withdrawal.write.kind.clone(),
                    id: withdrawal.before.id.clone(),
                    version: withdrawal.write.version,
                    updated_ms: withdrawal.write.updated_ms,
                    fresh: true,
                    created: false,
                    deleted: false,
                    payload: withdrawal.write.payload.clone(),
                    warnings: Vec::new(),
                }),
                Some(_) => Outcome::Refused(Refusal::one(Id::VersionConflict, "", "It was changed at the same time.")),
                None => Outcome::Refused(Refusal::one(Id::ConsentMissing, "", "The consent has changed.")),
            }
        };
        self.withdrawals.iter().enumerate().map(outcome).collect()
    }
}

/// A resource that is entered in error. It is no longer held against the rules, by which it may be wrong.
pub(super) struct Withdrawal {
    pub person: Patient,
    /// `Type/id`
    pub resource: String,
    pub write: Write,
    pub made: provenance::Made,
    before: Made,
    /// As it will stand.
    document: Document,
    /// What its sender is told, and of which record.
    pub issues: Vec<Issue>,
    pub key: Option<[u8; 16]>,
}

impl Withdrawal {
    fn of(stored: &Stored, person: &Patient, before: Made, now_ms: i64) -> Result<Withdrawal, Refusal> {
        let text = std::str::from_utf8(&stored.payload).unwrap_or_default();
        let document = json::parse(with_status(text, IN_ERROR)?)?;
        let element = Element::root(&document);
        let write = judge::next_version(stored, &document, None, now_ms);
        Ok(Withdrawal {
            person: person.clone(),
            resource: format!("{KIND}/{}", before.id),
            write,
            made: provenance::Made::of(KIND, element),
            before,
            document,
            issues: Vec::new(),
            key: None,
        })
    }

    pub fn id(&self) -> &str {
        &self.before.id
    }

    /// Whether the person still lets the client say anything of it.
    pub async fn judged(
        &self,
        gateway: &Gateway,
        caller: &Caller<'_>,
        knowledge: &mut Knowledge,
        now_ms: i64,
    ) -> Result<Basis, Refusal> {
        let facts = Facts::of(Arc::from(KIND), Element::root(&self.document));
        let about = About { person: &self.person, facts: &facts, reference: &self.resource, location: KIND };
        Ok(judge::may_collect(gateway, caller, &about, (), knowledge, now_ms).await?.basis().clone())
    }

    /// What its sender calls it.
    fn identifier(&self) -> Option<String> {
        let identifier = Element::root(&self.document).all("identifier").next()?;
        identifier.text_of("value").map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (text, expected) in [
            ("1.0.0", Some([1, 0, 0])),
            ("10.2.33", Some([10, 2, 33])),
            ("1.0", None),
            ("1.0.0.0", None),
            ("1.0.+1", None),
            ("1..0", None),
            ("v1.0.0", None),
            ("5f1d7a84db00d2fc", None),
        ] {
            assert_eq!(Version::parse(text), expected.map(Version), "{text}");
        }
    }

    #[test]
    fn what_an_earlier_version_read_is_read_again_by_a_later_one() {
        for (since, was, is, expected) in [
            ("1.0.0", "1.0.0", "1.0.1", true),
            ("1.0.0", "1.9.0", "1.10.0", true),
            ("1.2.0", "1.1.9", "2.0.0", false),
            ("1.0.0", "1.0.0", "1.0.0", false),
            ("1.0.0", "2.0.0", "1.0.0", false),
            ("1.0.0", "5f1d", "77aa", true),
            ("1.0.0", "5f1d", "5f1d", false),
        ] {
            let wish = Wish { since: Version::parse(since).unwrap(), format: None, rehearsal: false };
            assert_eq!(wish.covers(was, is), expected, "{since}: {was} -> {is}");
        }
    }
}
