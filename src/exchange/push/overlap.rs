//! Readings of several sources that tell of the same time: which of them count is decided when one is pushed, and what
//! stands already is told in the same transaction.
//!
//! Only records of devices are compared, since of them the gateway itself wrote what says where they come from. The person's
//! turn is the caller's (`turn`), so that nothing comes in between looking and writing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::commit::{Patient, Step};
use super::prepare::{Prepared, coded};
use super::{Refusal, judge};
use crate::devices::sources::{self, Order, Placed, Role, Source};
use crate::exchange::receipts::{self, Word};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway};
use crate::fhir::ours::SOURCE_ROLE_SYSTEM;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Element, json, time, write};
use crate::fhir::validate::measures::{self, Measure};
use crate::store::{
    Around, AuditRecord, Expect, Filing, Finished, Known, Neighbour, Order as Sorted, OrderBy, PatientKey, Plan,
    Receipt, Span, Stored, Unit, Write, WriteOutcome,
};

/// Windows that lie no further apart are looked at as one.
const NEAR_MS: i64 = 3_600_000;

/// Lists of a person that are looked at, the newest first.
const LISTS: usize = 100;

/// Readings that are told anew in one transaction.
const PIECE: usize = 500;

/// The time that a reading takes up, and its source; none for what is of no known measure or time.
pub(super) fn span(prepared: &Prepared, client: &Arc<str>) -> Option<Span> {
    let element = prepared.validated.element();
    prepared.patient.as_ref()?;
    let measure = measures::measured(element.get("code")?)?;
    let (start_ms, end_ms) = sources::taken(element)?;
    let Source { app, device, .. } = Source::of(client, element);
    Some(Span { measure: Arc::from(measure.key.as_str()), app, device, start_ms, end_ms, secondary: false })
}

/// What the server says of a reading by a tag.
pub(super) fn tags(secondary: bool) -> write::Tags<'static> {
    write::Tags { system: SOURCE_ROLE_SYSTEM, code: secondary.then_some(sources::SECONDARY) }
}

/// A version of a reading that stands, because what it is beside others has changed.
pub(super) struct Retold {
    /// Place among the unit's writes.
    pub index: usize,
    resource: String,
    /// System and value of its identifier.
    identifier: Option<(String, String)>,
    /// Whether it is the caller's own.
    own: bool,
    issue: Option<Issue>,
}

impl Gateway {
    /// The orders that hold for a person, the newest first.
    async fn orders(&self, patient: PatientKey) -> Result<Vec<Order>, Refusal> {
        let order = Sorted { by: OrderBy::Updated, descending: true };
        let plan = Plan { patients: Some(vec![patient]), order, limit: LISTS, ..Plan::of("List") };
        let lists = self.store.search(plan).await?.rows;
        let compiled = |list: &Stored| {
            let document = json::parse(list.payload.as_slice()).ok()?;
            sources::compile(Element::root(&document)).ok()
        };
        Ok(lists.iter().filter_map(compiled).collect())
    }

    /// Decides which of the readings that are about to be written count, and which that stand do not any more.
    pub(super) async fn weigh(
        &self,
        caller: &Caller<'_>,
        patient: PatientKey,
        entries: &[Result<Prepared, Refusal>],
        steps: &mut [Step],
        writes: &mut Vec<Write>,
        now_ms: i64,
    ) -> Result<Vec<Retold>, Refusal> {
        let client = &caller.principal.client;
        let by_measure = by_measure(steps, writes);
        let asked: Vec<Around> = by_measure.keys().map(|measure| around(measure, client, writes)).collect();
        if asked.iter().all(|around| around.windows.is_empty()) {
            return Ok(Vec::new());
        }
        let neighbours = self.store.neighbours(patient, asked.clone()).await?;
        if neighbours.is_empty() && asked.iter().all(|around| around.but.is_some()) {
            return Ok(Vec::new());
        }
        let orders = self.orders(patient).await?;
        let new = self.unseen(entries, steps, writes).await?;
        let mut retold = Vec::new();
        for (measure, candidates) in &by_measure {
            let standing: Vec<&Neighbour> = neighbours.iter().filter(|one| one.span.measure == *measure).collect();
            let coming: Vec<usize> = candidates.iter().copied().filter(|step| new.contains(step)).collect();
            let order = known(measure).and_then(|measure| sources::chosen(&orders, measure));
            let roles = {
                let spans: Vec<(Source, &Span)> = standing
                    .iter()
                    .map(|one| (source(&one.client, &one.span), &one.span))
                    .chain(coming.iter().filter_map(|step| {
                        let span = writes[index_of(&steps[*step])?].span.as_ref()?;
                        Some((source(client, span), span))
                    }))
                    .collect();
                decided(&spans, order)
            };
            for (step, role) in coming.iter().zip(&roles[standing.len()..]) {
                if let Ok(prepared) = &entries[*step] {
                    settle(prepared, &mut steps[*step], writes, *role, now_ms);
                }
            }
            for (neighbour, role) in standing.iter().zip(&roles) {
                let Role::Secondary(_) = role else { continue };
                if neighbour.span.secondary {
                    continue;
                }
                let told = self.retell(caller, neighbour, Some(*role), writes.len(), now_ms).await?;
                if let Some((one, write)) = told {
                    retold.push(one);
                    writes.push(write);
                }
            }
        }
        Ok(retold)
    }

    /// Places of the steps that will make something, as far as can be known: what is there already changes nothing.
    async fn unseen(
        &self,
        entries: &[Result<Prepared, Refusal>],
        steps: &[Step],
        writes: &[Write],
    ) -> Result<HashSet<usize>, Refusal> {
        let mut places = Vec::new();
        let mut asked = Vec::new();
        let (mut ids, mut readings) = (HashSet::new(), HashSet::new());
        for (place, (entry, step)) in entries.iter().zip(steps).enumerate() {
            let (Ok(prepared), Some(index)) = (entry, index_of(step)) else { continue };
            if writes[index].span.is_none() {
                continue;
            }
            // Of what comes twice in one request, the first stands.
            if !ids.insert(prepared.id.tail()) || prepared.reading.is_some_and(|reading| !readings.insert(reading)) {
                continue;
            }
            places.push(place);
            asked.push(Known { id: prepared.id, reading: prepared.reading });
        }
        let standing = self.store.stand(asked).await?;
        Ok(places.into_iter().zip(standing).filter(|(_, stands)| !stands).map(|(place, _)| place).collect())
    }

    /// A new version of a reading that stands, with the tag or without it.
    async fn retell(
        &self,
        caller: &Caller<'_>,
        neighbour: &Neighbour,
        role: Option<Role>,
        index: usize,
        now_ms: i64,
    ) -> Result<Option<(Retold, Write)>, Refusal> {
        let Some(stored) = self.store.current(neighbour.seq).await?.filter(|stored| !stored.deleted) else {
            return Ok(None);
        };
        let Ok(document) = json::parse(stored.payload.as_slice()) else { return Ok(None) };
        let root = Element::root(&document);
        let (logical, version) = (stored.logical_id(), stored.version + 1);
        let secondary = matches!(role, Some(Role::Secondary(_)));
        let last_updated = time::instant(now_ms);
        let owned = write::Owned { id: &logical, version, last_updated: &last_updated, tags: Some(tags(secondary)) };
        let identifier = root.get("identifier").and_then(|identifier| {
            Some((identifier.text_of("system")?.to_owned(), identifier.text_of("value")?.to_owned()))
        });
        let retold = Retold {
            index,
            resource: format!("{}/{logical}", stored.kind),
            identifier,
            own: stored.owner == caller.principal.client,
            issue: role.and_then(told),
        };
        let write = Write {
            kind: stored.kind.clone(),
            id: stored.id,
            name: stored.name.clone(),
            patient: stored.patient,
            owner: stored.owner.clone(),
            expect: Expect::Version(stored.version),
            content: stored.content,
            reading: None,
            says_the_same: true,
            span: Some(Span { secondary, ..neighbour.span.clone() }),
            codes: coded(root),
            tokens: Vec::new(),
            date: stored.date,
            updated_ms: now_ms,
            version,
            payload: write::resource(&document, document.root(), &owned, None).into_bytes(),
            delete: false,
            deliver: true,
            consent: false,
        };
        Ok(Some((retold, write)))
    }

    /// After a person's order of sources has changed: what stands is told anew. A list is answered when that is done, so
    /// that whoever hears nothing sends it again and has the rest done.
    pub(super) async fn reorder(&self, caller: &Caller<'_>, patient: &Patient) -> Result<(), Refusal> {
        let _turn = self.turns.of(patient.1).await;
        let orders = self.orders(patient.1).await?;
        for measure in self.store.several_sources(patient.1).await? {
            let everything = vec![(i64::MIN, i64::MAX)];
            let around = Around { measure: measure.clone(), but: None, windows: everything };
            let standing = self.store.neighbours(patient.1, vec![around]).await?;
            let order = known(&measure).and_then(|measure| sources::chosen(&orders, measure));
            let spans: Vec<(Source, &Span)> =
                standing.iter().map(|one| (source(&one.client, &one.span), &one.span)).collect();
            let changed: Vec<(&Neighbour, Role)> = standing
                .iter()
                .zip(decided(&spans, order))
                .filter(|(one, role)| one.span.secondary != matches!(role, Role::Secondary(_)))
                .collect();
            for piece in changed.chunks(PIECE) {
                self.retell_all(caller, patient, piece).await?;
            }
        }
        Ok(())
    }

    async fn retell_all(
        &self,
        caller: &Caller<'_>,
        patient: &Patient,
        changed: &[(&Neighbour, Role)],
    ) -> Result<(), Refusal> {
        let now_ms = self.now_ms();
        let (mut writes, mut retold) = (Vec::with_capacity(changed.len()), Vec::with_capacity(changed.len()));
        for (neighbour, role) in changed {
            let told = self.retell(caller, neighbour, Some(*role), writes.len(), now_ms).await?;
            if let Some((one, write)) = told {
                retold.push(one);
                writes.push(write);
            }
        }
        let author = Author::of(self, caller);
        let patient = patient.clone();
        let versions: Vec<u32> = writes.iter().map(|write| write.version).collect();
        let finish = move |outcomes: &[WriteOutcome]| Finished {
            audit: audited(&author, &patient, &retold, &versions, outcomes),
            ..Finished::default()
        };
        self.store
            .accept(Unit {
                client: caller.principal.client.clone(),
                idempotency: None,
                preconditions: Vec::new(),
                progress: None,
                writes,
                atomic: false,
                now_ms,
                finish: Box::new(finish),
            })
            .await?;
        Ok(())
    }

    /// Receipts for those whose record does not count any more, as far as they are the caller's own.
    pub(super) fn receipts_of_retold(&self, retold: &[Retold], request: &str) -> Vec<(usize, Receipt)> {
        if retold.is_empty() {
            return Vec::new();
        }
        let (now_ms, formats) = (self.now_ms(), self.formats.all());
        let receipt = |one: &Retold| {
            let (system, value) = one.identifier.as_ref().filter(|_| one.own)?;
            let format = formats.iter().find(|format| format.identifier() == system)?;
            let place = receipts::Place { line: None, pointer: "" };
            let issues: Vec<&Issue> = one.issue.iter().collect();
            let body = receipts::filed(format.name(), request, place, Some(&one.resource), &issues);
            let record = Some(self.record_key(format.name(), value));
            Some((one.index, Receipt { at_ms: now_ms, record, outcome: Word::Flagged.code(), body, once: false }))
        };
        retold.iter().filter_map(receipt).collect()
    }
}

/// What is on record of readings that were told anew. Of another client's the caller must not learn.
pub(super) fn audited(
    author: &Author,
    patient: &Patient,
    retold: &[Retold],
    versions: &[u32],
    outcomes: &[WriteOutcome],
) -> Vec<AuditRecord> {
    let mut records = Vec::new();
    for own in [true, false] {
        let references: Vec<String> = retold
            .iter()
            .filter(|one| one.own == own && outcomes.get(one.index) == Some(&WriteOutcome::Updated))
            .map(|one| format!("{}/_history/{}", one.resource, versions[one.index]))
            .collect();
        if !references.is_empty() {
            let record = author.record(Act::Update, Some(patient), &references, None, &[]);
            records.push(AuditRecord { withheld: !own, ..record });
        }
    }
    records
}

/// Adds the receipts of what really changed.
pub(super) fn file(filing: &mut Filing, receipts: Vec<(usize, Receipt)>, outcomes: &[WriteOutcome]) {
    let changed = |index: usize| outcomes.get(index) == Some(&WriteOutcome::Updated);
    filing.receipts.extend(receipts.into_iter().filter(|(index, _)| changed(*index)).map(|(_, receipt)| receipt));
}

fn index_of(step: &Step) -> Option<usize> {
    match step {
        Step::Written { index, .. } => Some(*index),
        _ => None,
    }
}

fn known(measure: &str) -> Option<&'static Measure> {
    let all = measures::all();
    all.binary_search_by(|known| known.key.as_str().cmp(measure)).ok().map(|at| &all[at])
}

fn source(client: &Arc<str>, span: &Span) -> Source {
    Source { client: client.clone(), app: span.app.clone(), device: span.device.clone() }
}

fn decided(spans: &[(Source, &Span)], order: Option<&Order>) -> Vec<Role> {
    let placed: Vec<Placed<'_>> =
        spans.iter().map(|(source, span)| Placed { source, start_ms: span.start_ms, end_ms: span.end_ms }).collect();
    sources::decide(&placed, order)
}

/// Places of the steps that write readings.
fn by_measure(steps: &[Step], writes: &[Write]) -> BTreeMap<Arc<str>, Vec<usize>> {
    let mut found: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    for (place, step) in steps.iter().enumerate() {
        if let Some(span) = index_of(step).and_then(|index| writes[index].span.as_ref()) {
            found.entry(span.measure.clone()).or_default().push(place);
        }
    }
    found
}

/// Where to look for what tells of the same time.
fn around(measure: &Arc<str>, client: &Arc<str>, writes: &[Write]) -> Around {
    let of_measure = writes.iter().filter_map(|write| write.span.as_ref()).filter(|span| span.measure == *measure);
    let spans: Vec<&Span> = of_measure.collect();
    let named = |span: &Span| (client.clone(), span.app.clone(), span.device.clone());
    let mut named: Vec<_> = spans.iter().map(|span| named(span)).collect();
    named.sort_unstable();
    named.dedup();
    let but = if named.len() == 1 { named.pop() } else { None };
    let mut windows: Vec<(i64, i64)> = spans.iter().map(|span| (span.start_ms, span.end_ms)).collect();
    windows.sort_unstable();
    windows.dedup_by(|next, last| {
        let joins = next.0 <= last.1.saturating_add(NEAR_MS);
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    Around { measure: measure.clone(), but, windows }
}

/// Writes into a step what its reading is beside the others.
fn settle(prepared: &Prepared, step: &mut Step, writes: &mut [Write], role: Role, now_ms: i64) {
    let Step::Written { index, version, warnings, secondary } = step else { return };
    warnings.extend(told(role));
    if let Role::Secondary(_) = role {
        *secondary = true;
        let write = &mut writes[*index];
        write.payload = judge::payload(prepared, *version, now_ms, true);
        if let Some(span) = &mut write.span {
            span.secondary = true;
        }
    }
}

/// What the sender is told.
fn told(role: Role) -> Option<Issue> {
    match role {
        Role::Alone | Role::First => None,
        Role::Undecided => Some(Issue::new(
            Id::SourceOverlap,
            "",
            "Another source tells of the same measure and time. Both count, and nothing is added up.",
        )),
        Role::Secondary(entry) => {
            let text = format!(
                "A source that the person prefers tells of the same measure and time, so that this reading does not \
                 count: entry {} of the person's List names the one that does.",
                entry + 1
            );
            Some(Issue::new(Id::SourceSecondary, "", text))
        }
    }
}
