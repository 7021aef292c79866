//! The store against a model that is plain data: whatever is done in whatever order, both databases say what it says.
//!
//! The model knows what was promised and nothing of tables: who wins of two writes, what a page holds, what a destination is
//! given and what waits behind what. Between the deeds the store is opened anew; of a file a copy is gone on with, taken
//! while it was open, as a process that was killed leaves it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::store::database::file::FILE;
use crate::store::id::slot;
use crate::store::{
    CodeKey, Erasure, Failure, Fenced, HistoryPlan, IdempotencyKey, Order, OrderBy, Precondition, Settlement,
    SettlementOutcome, Stored,
};

const PEOPLE: u8 = 4;
const NAMES: u8 = 10;
/// Whatever was leased or taken is free again at the next deed.
const STEP_MS: i64 = 500_000;

#[derive(Clone, Debug)]
enum Deed {
    Accept { drafts: Vec<Draft>, atomic: bool, key: Option<(u8, u8)>, epoch: Option<(u8, bool)> },
    Deliver { failing: u16, dead: bool },
    Settle { how: u8 },
    Redrive,
    Shred(u8),
    Erase(u8),
    Remove(u8),
    Search { plan: Asked },
    History { kind: bool, limit: usize },
    Reopen,
}

#[derive(Clone, Debug)]
struct Draft {
    name: u8,
    /// Somebody else's than the name usually is.
    stray: bool,
    text: u8,
    how: How,
    /// When, and whether it goes on for long.
    dated: Option<(u8, bool)>,
    code: bool,
    deliver: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    Create,
    Update,
    /// By a version that is not the current one.
    UpdateStale,
    Delete,
}

#[derive(Clone, Debug)]
struct Asked {
    people: Option<u8>,
    names: Option<u16>,
    code: Option<bool>,
    dates: Option<(u8, u8)>,
    deleted: bool,
    by: u8,
    descending: bool,
    limit: usize,
}

fn deed() -> impl Strategy<Value = Deed> {
    let how = prop_oneof![5 => Just(How::Create), 4 => Just(How::Update), 1 => Just(How::UpdateStale), 2 => Just(How::Delete)];
    let draft = (
        0..NAMES,
        proptest::bool::weighted(0.05),
        0..3_u8,
        how,
        proptest::option::of((0..5_u8, proptest::bool::weighted(0.3))),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(name, stray, text, how, dated, code, deliver)| Draft {
            name,
            stray,
            text,
            how,
            dated,
            code,
            deliver,
        });
    let accept = (
        proptest::collection::vec(draft, 1..5),
        any::<bool>(),
        proptest::option::weighted(0.3, (0..3_u8, 0..2_u8)),
        proptest::option::weighted(0.3, (0..PEOPLE, proptest::bool::weighted(0.8))),
    )
        .prop_map(|(drafts, atomic, key, epoch)| Deed::Accept { drafts, atomic, key, epoch });
    let asked = (
        proptest::option::of(1..16_u8),
        proptest::option::weighted(0.2, any::<u16>()),
        proptest::option::of(any::<bool>()),
        proptest::option::of((0..5_u8, 1..6_u8)),
        any::<bool>(),
        0..3_u8,
        any::<bool>(),
        1..6_usize,
    )
        .prop_map(|(people, names, code, dates, deleted, by, descending, limit)| Asked {
            people,
            names,
            code,
            dates,
            deleted,
            by,
            descending,
            limit,
        });
    prop_oneof![
        12 => accept,
        3 => (any::<u16>(), any::<bool>()).prop_map(|(failing, dead)| Deed::Deliver { failing, dead }),
        3 => (0..3_u8).prop_map(|how| Deed::Settle { how }),
        1 => Just(Deed::Redrive),
        1 => (0..PEOPLE).prop_map(Deed::Shred),
        1 => (0..PEOPLE).prop_map(Deed::Erase),
        1 => (0..NAMES).prop_map(Deed::Remove),
        6 => asked.prop_map(|plan| Deed::Search { plan }),
        2 => (any::<bool>(), 1..6_usize).prop_map(|(kind, limit)| Deed::History { kind, limit }),
        2 => Just(Deed::Reopen),
    ]
}

/// What is told of a version.
type Told = (String, [u8; 16], u32, bool, Vec<u8>);

fn told(stored: &Stored) -> Told {
    (stored.kind.to_string(), stored.id.0, stored.version, stored.deleted, stored.payload.clone())
}

#[derive(Clone, Debug)]
struct Version {
    write: Said,
    updated_ms: i64,
    /// How often the person's key had been destroyed before.
    sealed: u32,
}

/// The part of a write that the model needs.
#[derive(Clone, Debug)]
struct Said {
    /// Of the resource, in the order of creation; a name may come back, a number does not.
    number: u64,
    kind: String,
    id: ResId,
    person: u8,
    version: u32,
    delete: bool,
    content: [u8; 16],
    payload: Vec<u8>,
    date: Option<Dated>,
    code: bool,
    deliver: bool,
}

#[derive(Clone, Default, Debug)]
struct Model {
    /// Versions of each resource, in the order of creation.
    resources: Vec<Vec<Version>>,
    answers: BTreeMap<u8, (u8, Option<u8>, Vec<u8>)>,
    epochs: BTreeMap<u8, u64>,
    shredded: BTreeMap<u8, u32>,
    erased: BTreeSet<u8>,
    /// By slot, what each row names.
    feed: BTreeMap<u16, Vec<(u8, Vec<Named>)>>,
    delivered: BTreeMap<u16, usize>,
    /// By person, in order.
    waiting: BTreeMap<u8, Vec<Named>>,
    dead: Vec<(u8, Named)>,
    records: u64,
    created: u64,
}

/// A version: which resource of all that there ever were, and which of its versions.
type Named = (u64, u32);

impl Model {
    fn find(&self, id: ResId) -> Option<usize> {
        self.resources.iter().position(|versions| versions[0].write.id.tail() == id.tail())
    }

    fn is_seen(&self, version: &Version) -> bool {
        let person = version.write.person;
        !self.erased.contains(&person) && version.sealed == self.shredded.get(&person).copied().unwrap_or(0)
    }

    fn tell(version: &Version) -> Told {
        let Said { kind, id, version, delete, payload, .. } = version.write.clone();
        (kind, id.0, version, delete, payload)
    }

    /// By what is told of it: what can be seen is what has the name now.
    fn number(&self, stored: &Stored) -> Named {
        let at = self.find(stored.id).expect("it was just there");
        (self.resources[at][0].write.number, stored.version)
    }

    fn named(&self, (number, version): Named) -> Option<Told> {
        let versions = self.resources.iter().find(|versions| versions[0].write.number == number)?;
        let found = versions.iter().find(|known| known.write.version == version)?;
        self.is_seen(found).then(|| Self::tell(found))
    }

    fn put(&mut self, write: &Write, said: &Said, now_ms: i64) -> (WriteOutcome, u64) {
        let standing = self.find(write.id);
        let outcome = match (standing.map(|at| self.resources[at].last().unwrap().clone()), write.expect) {
            (None, Expect::Absent) => WriteOutcome::Created,
            (None, Expect::Version(_)) => WriteOutcome::VersionMismatch { actual: 0 },
            (Some(old), expect) => {
                let version = old.write.version;
                let ours = old.write.id == write.id && old.write.kind == said.kind;
                match expect {
                    Expect::Absent if ours && !old.write.delete && old.write.content == write.content => {
                        WriteOutcome::Existing { version, updated_ms: old.updated_ms }
                    }
                    Expect::Absent => WriteOutcome::Conflict { version },
                    Expect::Version(_) if !ours => WriteOutcome::Conflict { version },
                    Expect::Version(expected) if expected == version => WriteOutcome::Updated,
                    Expect::Version(_) => WriteOutcome::VersionMismatch { actual: version },
                }
            }
        };
        if matches!(outcome, WriteOutcome::Created | WriteOutcome::Updated) {
            let sealed = self.shredded.get(&said.person).copied().unwrap_or(0);
            let number = standing.map_or(self.created, |at| self.resources[at][0].write.number);
            let version = Version { write: Said { number, ..said.clone() }, updated_ms: now_ms, sealed };
            match standing {
                Some(at) => self.resources[at].push(version),
                None => self.resources.push(vec![version]),
            }
            self.created += 1;
            if write.consent {
                *self.epochs.entry(said.person).or_default() += 1;
            }
            return (outcome, number);
        }
        (outcome, 0)
    }

    fn accept(&mut self, unit: &Unit, saids: &[Said], key: Option<(u8, u8)>, epoch: Option<(u8, u64)>) -> Accepted {
        if let Some((known, _, response)) = key.and_then(|(key, _)| self.answers.get(&key)) {
            let same = key.is_some_and(|(_, hash)| hash == *known);
            return if same { Accepted::Replayed { response: response.clone() } } else { Accepted::KeyReused };
        }
        let stale = epoch.is_some_and(|(person, epoch)| self.epochs.get(&person).copied().unwrap_or(0) != epoch);
        if stale || saids.iter().any(|said| self.erased.contains(&said.person)) {
            return Accepted::Stale;
        }
        let before = self.clone();
        let mut outcomes = Vec::new();
        let mut rows: Vec<(u8, Vec<Named>)> = Vec::new();
        let mut refused = false;
        for (write, said) in unit.writes.iter().zip(saids) {
            let (outcome, number) = self.put(write, said, unit.now_ms);
            outcomes.push(outcome);
            if matches!(outcome, WriteOutcome::Created | WriteOutcome::Updated) && said.deliver {
                match rows.iter_mut().find(|(person, _)| *person == said.person) {
                    Some((_, named)) => named.push((number, said.version)),
                    None => rows.push((said.person, vec![(number, said.version)])),
                }
            }
            if outcome.is_conflict() && unit.atomic {
                refused = true;
                break;
            }
        }
        if refused {
            *self = before;
        } else {
            for (person, named) in rows {
                self.feed.entry(slot(Some(patient(person)))).or_default().push((person, named));
            }
        }
        self.records += 1;
        if let Some((key, hash)) = key {
            let whose = saids.iter().all(|said| said.person == saids[0].person).then_some(saids[0].person);
            self.answers.insert(key, (hash, whose, vec![outcomes.len() as u8]));
        }
        if refused { Accepted::RolledBack { outcomes } } else { Accepted::Done { outcomes } }
    }

    fn forget_lane(&mut self, person: u8) {
        self.waiting.remove(&person);
        self.dead.retain(|(whose, _)| *whose != person);
    }

    fn search(&self, asked: &Asked) -> Vec<Told> {
        let mut found: Vec<(i64, usize, Told)> = Vec::new();
        for (at, versions) in self.resources.iter().enumerate() {
            let version = versions.last().unwrap();
            let said = &version.write;
            let fits = said.kind == "Observation"
                && (!said.delete || asked.deleted)
                && asked.people.is_none_or(|people| people & (1 << said.person) != 0)
                && asked.names.is_none_or(|names| {
                    (0..NAMES).any(|name| names & (1 << name) != 0 && named_id(name, said.person) == said.id)
                })
                && asked.code.is_none_or(|code| !said.delete && said.code == code)
                && asked.dates.is_none_or(|dates| match said.date {
                    None => true,
                    Some(Dated::At(at)) => within(dates).contains(&at),
                    Some(Dated::Long(since)) => since < within(dates).end,
                });
            if fits && self.is_seen(version) {
                let by = match asked.by {
                    0 => match said.date {
                        None => i64::MIN,
                        Some(Dated::At(from) | Dated::Long(from)) => from,
                    },
                    1 => version.updated_ms,
                    _ => 0,
                };
                found.push((by, at, Self::tell(version)));
            }
        }
        found.sort_by_key(|(by, at, _)| (*by, *at));
        if asked.descending {
            found.reverse();
        }
        found.into_iter().map(|(.., told)| told).collect()
    }

    fn history(&self, kind: &str) -> Vec<Told> {
        let mut found = Vec::new();
        for (at, versions) in self.resources.iter().enumerate() {
            let seen = versions.iter().filter(|version| version.write.kind == kind && self.is_seen(version));
            found.extend(seen.map(|version| (version.updated_ms, at, version.write.version, Self::tell(version))));
        }
        found.sort_by_key(|(updated, at, version, _)| (*updated, *at, *version));
        found.into_iter().rev().map(|(.., told)| told).collect()
    }
}

fn within((from, length): (u8, u8)) -> std::ops::Range<i64> {
    let from = NOW_MS + i64::from(from);
    from..from + i64::from(length)
}

/// The last two names are those of consents.
fn is_consent(name: u8) -> bool {
    name >= NAMES - 2
}

fn named_id(name: u8, person: u8) -> ResId {
    id(patient(person), &format!("n{name}"))
}

/// A store that is tried, and what it should say.
struct Trial {
    fixture: Fixture,
    model: Model,
    now_ms: i64,
}

impl Trial {
    async fn new(fixture: Fixture) -> Self {
        fixture.store.ensure_destination("nhs").await.unwrap();
        Self { fixture, model: Model::default(), now_ms: NOW_MS }
    }

    async fn take(mut self, deed: &Deed) -> Self {
        self.now_ms += STEP_MS;
        let (epochs, so_far) = (self.model.epochs.clone(), self.fixture.store.said_so_far());
        match deed {
            Deed::Accept { drafts, atomic, key, epoch } => self.accept(drafts, *atomic, *key, *epoch).await,
            Deed::Deliver { failing, dead } => self.deliver(*failing, *dead).await,
            Deed::Settle { how } => self.settle(*how).await,
            Deed::Redrive => self.redrive().await,
            Deed::Shred(person) => {
                self.fixture.store.shred(patient(*person)).await.unwrap();
                *self.model.shredded.entry(*person).or_default() += 1;
                self.model.forget_lane(*person);
            }
            Deed::Erase(person) => self.erase(*person).await,
            Deed::Remove(name) => self.remove(*name).await,
            Deed::Search { plan } => self.search(plan).await,
            Deed::History { kind, limit } => self.history(if *kind { "Consent" } else { "Observation" }, *limit).await,
            Deed::Reopen => self.fixture = reopened(self.fixture),
        }
        let alone = self.fixture.place.server.is_none();
        assert_eq!(so_far.is_some(), alone);
        if alone && epochs != self.model.epochs {
            assert_ne!(self.fixture.store.said_so_far(), so_far, "{deed:?}");
        }
        self
    }

    async fn accept(&mut self, drafts: &[Draft], atomic: bool, key: Option<(u8, u8)>, epoch: Option<(u8, bool)>) {
        let written: Vec<(Write, Said)> = drafts.iter().map(|draft| self.written(draft)).collect();
        let (writes, saids): (Vec<_>, Vec<_>) = written.into_iter().unzip();
        let epoch = epoch.map(|(person, right)| {
            let epoch = self.model.epochs.get(&person).copied().unwrap_or(0);
            (person, if right { epoch } else { epoch + 1 })
        });
        let unit = || Unit {
            atomic,
            now_ms: self.now_ms,
            idempotency: key.map(|(key, hash)| IdempotencyKey { key: key.to_string(), hash: [hash; 32] }),
            preconditions: epoch
                .map(|(person, epoch)| Precondition::ConsentEpoch { patient: patient(person), epoch })
                .into_iter()
                .collect(),
            ..unit(writes.clone())
        };
        let expected = self.model.accept(&unit(), &saids, key, epoch);
        let accepted = self.fixture.accept(unit()).await;
        assert_eq!(accepted, expected, "{drafts:?}");
    }

    fn written(&self, draft: &Draft) -> (Write, Said) {
        let person = (draft.name + u8::from(draft.stray)) % PEOPLE;
        let id = named_id(draft.name, person);
        let current = self.model.find(id).map_or(0, |at| self.model.resources[at].last().unwrap().write.version);
        let expect = match draft.how {
            How::Create => Expect::Absent,
            How::Update | How::Delete => Expect::Version(current),
            How::UpdateStale => Expect::Version(current + 1),
        };
        let version = match expect {
            Expect::Absent => 1,
            Expect::Version(version) => version + 1,
        };
        let kind = if is_consent(draft.name) { "Consent" } else { "Observation" };
        let text = format!("{} {} {}", draft.name, draft.text, version);
        let delete = draft.how == How::Delete;
        let date = draft.dated.map(|(date, is_long)| {
            let from = NOW_MS + i64::from(date);
            if is_long { Dated::Long(from) } else { Dated::At(from) }
        });
        let code = if draft.code { "a" } else { "b" };
        let write = Write {
            kind: kind.into(),
            id,
            expect,
            version,
            delete,
            date,
            codes: vec![("s".to_owned(), code.to_owned())],
            // Nobody who asks sees that these lie apart.
            labels: draft.text.into(),
            content: [draft.text; 16],
            updated_ms: self.now_ms,
            deliver: draft.deliver,
            consent: is_consent(draft.name),
            ..observation(patient(person), "", &text)
        };
        let said = Said {
            number: 0,
            kind: kind.to_owned(),
            id,
            person,
            version,
            delete,
            content: write.content,
            payload: write.payload.clone(),
            date,
            code: draft.code,
            deliver: draft.deliver,
        };
        (write, said)
    }

    async fn deliver(&mut self, failing: u16, dead: bool) {
        let store = &self.fixture.store;
        let leases = store.lease("nhs", "w", self.now_ms, 1000, 16).await.unwrap();
        let lagging: Vec<u16> = self
            .model
            .feed
            .iter()
            .filter(|(slot, rows)| self.model.delivered.get(slot).copied().unwrap_or(0) < rows.len())
            .map(|(slot, _)| *slot)
            .collect();
        let mut leased: Vec<u16> = leases.iter().map(|lease| lease.slot).collect();
        leased.sort_unstable();
        assert_eq!(leased, lagging);
        for lease in leases {
            let items = store.feed(&lease, 1000, usize::MAX).await.unwrap();
            let from = self.model.delivered.get(&lease.slot).copied().unwrap_or(0);
            let rows = self.model.feed[&lease.slot][from..].to_vec();
            assert_eq!(items.len(), rows.len());
            let mut failures = Vec::new();
            for (index, (item, (person, named))) in items.iter().zip(&rows).enumerate() {
                let expected: Vec<Told> = named.iter().filter_map(|named| self.model.named(*named)).collect();
                assert_eq!(item.items.iter().map(told).collect::<Vec<_>>(), expected);
                assert_eq!(item.parked, self.model.waiting.contains_key(person));
                let fails = item.parked || failing & (1 << (index % 16)) != 0;
                for stored in item.items.iter().filter(|_| fails) {
                    let dead = dead && !item.parked;
                    failures.push(Failure {
                        pos: item.pos,
                        patient: item.patient,
                        seq: stored.seq,
                        version: stored.version,
                        attempts: 1,
                        not_before_ms: self.now_ms,
                        reason: "busy".to_owned(),
                        dead,
                        first: false,
                    });
                }
            }
            // What waits now was parked by what waited before; what fails first is behind it.
            for (item, (person, _)) in items.iter().zip(&rows) {
                for failure in failures.iter().filter(|failure| failure.pos == item.pos) {
                    let named =
                        item.items.iter().find(|stored| stored.seq == failure.seq && stored.version == failure.version);
                    let named = self.model.number(named.unwrap());
                    if failure.dead {
                        self.model.dead.push((*person, named));
                    } else {
                        self.model.waiting.entry(*person).or_default().push(named);
                    }
                }
            }
            let to = items.last().unwrap().pos;
            let stale = crate::store::Lease { epoch: lease.epoch + 1, ..lease.clone() };
            assert_eq!(store.advance(&stale, to, Vec::new(), vec![audit_record()]).await.unwrap(), Fenced::Lost);
            assert_eq!(store.advance(&lease, to, failures, vec![audit_record()]).await.unwrap(), Fenced::Held);
            self.model.records += 1;
            self.model.delivered.insert(lease.slot, from + rows.len());
        }
    }

    async fn settle(&mut self, how: u8) {
        let due = self.fixture.store.retries_due("nhs", self.now_ms, 100).await.unwrap();
        let mut heads: Vec<Told> = due.iter().map(|retry| told(&retry.stored)).collect();
        heads.sort();
        let mut expected: Vec<Told> =
            self.model.waiting.values().filter_map(|lane| self.model.named(*lane.first()?)).collect();
        expected.sort();
        assert_eq!(heads, expected);
        for retry in due {
            let outcome = match how {
                0 => SettlementOutcome::Done,
                1 => SettlementOutcome::Again { not_before_ms: self.now_ms, attempts: 2, reason: "busy".to_owned() },
                _ => SettlementOutcome::Dead { reason: "no".to_owned() },
            };
            let settled = vec![Settlement { id: retry.id, outcome }];
            self.fixture.store.settle("nhs", settled, vec![audit_record()]).await.unwrap();
            self.model.records += 1;
            let named = self.model.number(&retry.stored);
            let lanes = &mut self.model.waiting;
            let person = *lanes.iter().find(|(_, lane)| lane.first() == Some(&named)).unwrap().0;
            if how != 1 {
                lanes.get_mut(&person).unwrap().remove(0);
                lanes.retain(|_, lane| !lane.is_empty());
            }
            if how == 2 {
                self.model.dead.push((person, named));
            }
        }
    }

    async fn redrive(&mut self) {
        let count = self.fixture.store.redrive("nhs", None).await.unwrap();
        let dead = std::mem::take(&mut self.model.dead);
        assert_eq!(count, dead.len() as u64);
        for (person, (number, _)) in dead {
            // What is sent is what stands now.
            let versions = self.model.resources.iter().find(|versions| versions[0].write.number == number).unwrap();
            let version = versions.last().unwrap().write.version;
            self.model.waiting.entry(person).or_default().push((number, version));
        }
    }

    async fn erase(&mut self, person: u8) {
        let store = &self.fixture.store;
        let erasure = Erasure {
            patient: patient(person),
            owner: "app".into(),
            at_ms: self.now_ms,
            record: ResId::random(None, 1, [person; 16]),
            receipt: Vec::new(),
            finished: false,
        };
        let begun = store.begin_erasure(erasure, audit_record()).await.unwrap();
        assert_eq!(begun, self.model.erased.insert(person));
        if !begun {
            return;
        }
        while store.erase_step(patient(person)).await.unwrap() {}
        store.finish_erasure(patient(person), Vec::new()).await.unwrap();
        self.model.records += 1;
        self.model.forget_lane(person);
        self.model.answers.retain(|_, (_, whose, _)| *whose != Some(person));
        *self.model.epochs.entry(person).or_default() += 1;
        self.model.resources.retain(|versions| versions[0].write.person != person);
    }

    async fn remove(&mut self, name: u8) {
        let person = name % PEOPLE;
        let id = named_id(name, person);
        let kind = if is_consent(name) { "Consent" } else { "Observation" };
        let plan = Plan { ids: Some(vec![id.to_string()]), deleted: true, ..Plan::of(kind) };
        let found = self.fixture.store.search(plan).await.unwrap().rows;
        let known = self.model.find(id).filter(|at| {
            let last = self.model.resources[*at].last().unwrap();
            last.write.id == id && self.model.is_seen(last)
        });
        assert_eq!(found.len(), usize::from(known.is_some()));
        let (Some(stored), Some(at)) = (found.first(), known) else { return };
        let old = vec![(stored.seq, stored.version)];
        self.fixture.store.remove(old, vec![audit_record()]).await.unwrap();
        self.model.records += 1;
        let number = self.model.resources.remove(at)[0].write.number;
        self.model.dead.retain(|(_, named)| named.0 != number);
        for lane in self.model.waiting.values_mut() {
            lane.retain(|named| named.0 != number);
        }
        self.model.waiting.retain(|_, lane| !lane.is_empty());
    }

    async fn search(&self, asked: &Asked) {
        let people = |people: u8| (0..PEOPLE).filter(|person| people & (1 << person) != 0).map(patient).collect();
        let ids = |names: u16| {
            let named = (0..NAMES).filter(|name| names & (1 << name) != 0);
            named.flat_map(|name| (0..PEOPLE).map(move |person| named_id(name, person).to_string())).collect()
        };
        let code = |code: bool| CodeKey {
            system: code.then(|| "s".to_owned()),
            code: if code { "a" } else { "b" }.to_owned(),
        };
        let by = [OrderBy::Date, OrderBy::Updated, OrderBy::Seq][usize::from(asked.by)];
        let mut plan = Plan {
            patients: asked.people.map(people),
            ids: asked.names.map(ids),
            codes: asked.code.map(|asked| vec![code(asked)]),
            date: asked.dates.map(|dates| (within(dates).start, within(dates).end)),
            deleted: asked.deleted,
            order: Order { by, descending: asked.descending },
            limit: asked.limit,
            ..Plan::of("Observation")
        };
        let mut found = Vec::new();
        loop {
            let page = self.fixture.store.search(plan.clone()).await.unwrap();
            assert!(page.rows.len() <= asked.limit && !page.exhausted_budget);
            found.extend(page.rows.iter().map(told));
            match page.next {
                Some(next) => plan.after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, self.model.search(asked), "{asked:?}");
    }

    async fn history(&self, kind: &str, limit: usize) {
        let mut plan = HistoryPlan { kinds: vec![kind.into()], id: None, since_ms: None, after: None, limit };
        let mut found = Vec::new();
        loop {
            let (versions, next) = self.fixture.store.history(plan.clone()).await.unwrap();
            found.extend(versions.rows.iter().map(told));
            match next {
                Some(next) => plan.after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, self.model.history(kind));
    }

    /// What is true after each deed.
    async fn account(&self) {
        let store = &self.fixture.store;
        assert_eq!(store.log_size().await.unwrap(), self.model.records);
        let backlog = store.backlog("nhs").await.unwrap();
        let behind: usize = self
            .model
            .feed
            .iter()
            .map(|(slot, rows)| rows.len() - self.model.delivered.get(slot).copied().unwrap_or(0))
            .sum();
        let waiting: usize = self.model.waiting.values().map(Vec::len).sum();
        let expected = (behind as u64, waiting as u64, self.model.dead.len() as u64);
        assert_eq!((backlog.behind, backlog.retries, backlog.dead), expected);
    }
}

/// As a process that was killed leaves it: of a file what the operating system has of it, closed by nobody.
fn reopened(fixture: Fixture) -> Fixture {
    if fixture.place.server.is_some() {
        return fixture.reopen();
    }
    let dir = tempfile::tempdir().unwrap();
    for name in [FILE.to_owned(), format!("{FILE}-wal"), "gateway.key".to_owned()] {
        std::fs::copy(fixture.dir.path().join(&name), dir.path().join(&name)).unwrap();
    }
    drop(fixture);
    let place = Place::new(dir.path(), None);
    let store = Arc::new(Store::open(&place).unwrap());
    Fixture { dir, place, store }
}

fn holds(cases: u32, made: fn() -> Fixture) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases, max_shrink_iters: 300, failure_persistence: None, ..Config::default() });
    let deeds = proptest::collection::vec(deed(), 1..60);
    let tried = runner.run(&deeds, |deeds| {
        runtime.block_on(async {
            let mut trial = Trial::new(made()).await;
            for deed in &deeds {
                trial = trial.take(deed).await;
                trial.account().await;
            }
            assert_eq!(trial.fixture.store.log_changed().await.unwrap().1, [0_u64; 0]);
            for kind in ["Observation", "Consent"] {
                trial.history(kind, 100).await;
            }
        });
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn a_file_does_what_the_model_does() {
    holds(24, Fixture::new);
}

#[test]
fn a_server_does_what_the_model_does() {
    holds(6, Fixture::shared);
}
