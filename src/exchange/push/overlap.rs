//! Readings of several sources that tell of the same time: which of them count is decided when one is pushed, and what
//! stands already is told in the same transaction.
//!
//! Only records of devices are compared, since of them the gateway itself wrote what says where they come from. The person's
//! turn is the caller's (`turn`), so that nothing comes in between looking and writing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::commit::{Patient, Step};
use super::gather::Grown;
use super::prepare::Prepared;
use super::{Corrected, Intent, Refusal, judge};
use crate::devices::sources::{self, Order, Placed, Role, Source};
use crate::exchange::receipts::{self, Word};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway};
use crate::fhir::ours::SOURCE_ROLE_SYSTEM;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Element, json, write};
use crate::fhir::validate::measures::{self, Measure};
use crate::store::{
    Accepted, Around, AuditRecord, Expect, Filing, Finished, Known, Neighbour, Order as Sorted, OrderBy, PatientKey,
    Plan, Precondition, Receipt, Span, Stored, Unit, Write, WriteOutcome,
};

/// Windows that lie no further apart are looked at as one.
const NEAR_MS: i64 = 3_600_000;

/// Lists of a person that are looked at, the newest first.
const LISTS: usize = 100;

/// Readings that are told anew in one transaction.
const PIECE: usize = 500;

/// The time that a reading takes up, and its source; none for what is of no known measure or time.
pub(super) fn span(prepared: &Prepared, client: &Arc<str>) -> Option<Span> {
    prepared.patient.as_ref()?;
    span_of(prepared.validated.element(), client)
}

fn span_of(observation: Element<'_>, client: &Arc<str>) -> Option<Span> {
    let measure = measures::measured(observation.get("code")?)?;
    let (start_ms, end_ms) = sources::taken(observation)?;
    let Source { app, device, .. } = Source::of(client, observation);
    let secondary = sources::is_secondary(observation);
    Some(Span { measure: Arc::from(measure.key.as_str()), app, device, start_ms, end_ms, secondary })
}

/// The next version of what stands, which the gateway itself makes: the same data in another light.
pub(super) fn later(stored: &Stored, document: &Document, secondary: bool, now_ms: i64) -> Write {
    Write {
        content: stored.content,
        says_the_same: true,
        span: span_of(Element::root(document), &stored.owner).map(|span| Span { secondary, ..span }),
        date: stored.date,
        ..judge::next_version(stored, document, Some(tags(secondary)), now_ms)
    }
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
    /// The orders that hold for a person, the newest first. One that is damaged holds no more: what is measured is kept by those that
    /// can be read, rather than not at all.
    async fn orders(&self, patient: PatientKey) -> Result<Vec<Order>, Refusal> {
        let order = Sorted { by: OrderBy::Updated, descending: true };
        let plan =
            Plan { patients: Some(vec![patient]), order, limit: LISTS, spares_damaged: true, ..Plan::of("List") };
        let lists = self.store.search(plan).await?.rows;
        let compiled = |list: &Stored| {
            let document = json::parse(list.payload.as_slice()).ok()?;
            sources::compile(Element::root(&document)).ok()
        };
        Ok(lists.iter().filter_map(compiled).collect())
    }

    /// Decides which of the readings that are about to be written count, and which that stand do not any more. What it
    /// comes to of each write, by its place, and the versions that are added to them.
    pub(super) async fn weigh(
        &self,
        caller: &Caller<'_>,
        patient: PatientKey,
        spots: &[Spot<'_>],
        writes: &mut Vec<Write>,
        now_ms: i64,
    ) -> Result<(HashMap<usize, Role>, Vec<Retold>), Refusal> {
        let client = &caller.principal.client;
        let (mut roles, mut retold) = (HashMap::new(), Vec::new());
        let by_measure = by_measure(spots, writes);
        let asked: Vec<Around> = by_measure.keys().map(|measure| around(measure, client, writes)).collect();
        if asked.is_empty() {
            return Ok((roles, retold));
        }
        let single = asked.iter().all(|around| around.but.is_some());
        let mut neighbours = self.store.neighbours(patient, asked).await?;
        neighbours.retain(|one| spots.iter().all(|spot| spot.seq != Some(one.seq)));
        if neighbours.is_empty() && single {
            return Ok((roles, retold));
        }
        let orders = self.orders(patient).await?;
        let new = self.unseen(spots, writes).await?;
        for (measure, candidates) in &by_measure {
            let standing: Vec<&Neighbour> = neighbours.iter().filter(|one| one.span.measure == *measure).collect();
            let coming: Vec<&Spot<'_>> = candidates.iter().copied().filter(|spot| new.contains(&spot.index)).collect();
            let order = known(measure).and_then(|measure| sources::chosen(&orders, measure));
            let decided = {
                let spans = coming.iter().filter_map(|spot| writes[spot.index].span.as_ref());
                let spans: Vec<(Source, &Span)> = standing
                    .iter()
                    .map(|one| (source(&one.client, &one.span), &one.span))
                    .chain(spans.map(|span| (source(client, span), span)))
                    .collect();
                decided(&spans, order)
            };
            for (spot, role) in coming.iter().zip(&decided[standing.len()..]) {
                settle(spot, &mut writes[spot.index], *role, now_ms);
                roles.insert(spot.index, *role);
            }
            for (neighbour, role) in standing.iter().zip(&decided) {
                let Role::Secondary(_) = role else { continue };
                if neighbour.span.secondary {
                    continue;
                }
                let told = self.retell(caller, neighbour, *role, writes.len(), now_ms).await?;
                if let Some((one, write)) = told {
                    retold.push(one);
                    writes.push(write);
                }
            }
        }
        Ok((roles, retold))
    }

    /// Places of the writes that will make something, as far as can be known: what is there already changes nothing.
    async fn unseen(&self, spots: &[Spot<'_>], writes: &[Write]) -> Result<HashSet<usize>, Refusal> {
        let mut new = HashSet::new();
        let mut places = Vec::new();
        let mut asked = Vec::new();
        let (mut ids, mut readings) = (HashSet::new(), HashSet::new());
        for spot in spots {
            let write = &writes[spot.index];
            if matches!(write.expect, Expect::Version(_)) {
                new.insert(spot.index);
                continue;
            }
            // Of what comes twice in one request, the first stands.
            if !ids.insert(write.id.tail()) || write.reading.is_some_and(|reading| !readings.insert(reading)) {
                continue;
            }
            places.push(spot.index);
            asked.push(Known { id: write.id, reading: write.reading });
        }
        let standing = self.store.stand(asked).await?;
        new.extend(places.into_iter().zip(standing).filter(|(_, stands)| !stands).map(|(place, _)| place));
        Ok(new)
    }

    /// A new version of a reading that stands, with the tag or without it.
    async fn retell(
        &self,
        caller: &Caller<'_>,
        neighbour: &Neighbour,
        role: Role,
        index: usize,
        now_ms: i64,
    ) -> Result<Option<(Retold, Write)>, Refusal> {
        let Some(stored) = self.store.current(neighbour.seq).await?.filter(|stored| !stored.deleted) else {
            return Ok(None);
        };
        let Ok(document) = json::parse(stored.payload.as_slice()) else { return Ok(None) };
        let root = Element::root(&document);
        let secondary = matches!(role, Role::Secondary(_));
        let identifier = root.get("identifier").and_then(|identifier| {
            Some((identifier.text_of("system")?.to_owned(), identifier.text_of("value")?.to_owned()))
        });
        let retold = Retold {
            index,
            resource: format!("{}/{}", stored.kind, stored.logical_id()),
            identifier,
            own: stored.owner == caller.principal.client,
            issue: told(role),
        };
        let write = later(&stored, &document, secondary, now_ms);
        Ok(Some((retold, write)))
    }

    /// After a person's order of sources has changed: what stands is told anew. A list is answered when that is done, so
    /// that whoever hears nothing sends it again and has the rest done.
    pub(super) async fn reorder(&self, caller: &Caller<'_>, patient: &Patient) -> Result<(), Refusal> {
        let _turn = self.turns.of(patient.1).await;
        for _ in 0..super::commit::ATTEMPTS {
            if self.retell_anew(caller, patient).await? {
                return Ok(());
            }
        }
        let mut refusal =
            Refusal::one(Id::Overloaded, "", "The person's readings change too often to be told anew now.");
        refusal.retry_after_seconds = Some(1);
        Err(refusal)
    }

    /// False where another gateway wrote something of the person meanwhile.
    async fn retell_anew(&self, caller: &Caller<'_>, patient: &Patient) -> Result<bool, Refusal> {
        // What another gateway judges by the old order is to be judged again.
        if let Some(turn) = self.turn_of(patient.1).await?
            && !self.retell_all(caller, patient, &[], Some(turn)).await?
        {
            return Ok(false);
        }
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
                self.retell_all(caller, patient, piece, None).await?;
            }
        }
        Ok(true)
    }

    async fn retell_all(
        &self,
        caller: &Caller<'_>,
        patient: &Patient,
        changed: &[(&Neighbour, Role)],
        turn: Option<Precondition>,
    ) -> Result<bool, Refusal> {
        let now_ms = self.now_ms();
        let (mut writes, mut retold) = (Vec::with_capacity(changed.len()), Vec::with_capacity(changed.len()));
        for (neighbour, role) in changed {
            let told = self.retell(caller, neighbour, *role, writes.len(), now_ms).await?;
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
        let accepted = self
            .store
            .accept(Unit {
                client: caller.principal.client.clone(),
                idempotency: None,
                preconditions: turn.into_iter().collect(),
                progress: None,
                rereading: None,
                rehearsal: false,
                writes,
                atomic: false,
                now_ms,
                finish: Box::new(finish),
            })
            .await?;
        Ok(accepted != Accepted::Stale)
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
            records.push(if own { record } else { record.kept_from_client() });
        }
    }
    records
}

/// Adds the receipts of what really changed.
pub(super) fn file(filing: &mut Filing, receipts: Vec<(usize, Receipt)>, outcomes: &[WriteOutcome]) {
    let changed = |index: usize| outcomes.get(index) == Some(&WriteOutcome::Updated);
    filing.receipts.extend(receipts.into_iter().filter(|(index, _)| changed(*index)).map(|(_, receipt)| receipt));
}

fn corrected(prepared: &Prepared) -> Option<&Corrected> {
    match &prepared.intent {
        Intent::Correct(corrected) => Some(corrected),
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

/// What is weighed, by measure.
fn by_measure<'s, 'a>(spots: &'s [Spot<'a>], writes: &[Write]) -> BTreeMap<Arc<str>, Vec<&'s Spot<'a>>> {
    let mut found: BTreeMap<Arc<str>, Vec<&Spot<'_>>> = BTreeMap::new();
    for spot in spots {
        if let Some(span) = &writes[spot.index].span {
            found.entry(span.measure.clone()).or_default().push(spot);
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

/// A write that is weighed.
pub(super) struct Spot<'a> {
    /// Place among the writes.
    index: usize,
    prepared: &'a Prepared,
    /// Of what stands and is about to be replaced, its order of creation.
    seq: Option<u64>,
}

/// What is weighed of a request: records of their own, and the stretches that others went into.
pub(super) fn spots<'a>(entries: &'a [Result<Prepared, Refusal>], steps: &[Step], grown: &'a [Grown]) -> Vec<Spot<'a>> {
    let own = entries.iter().zip(steps).filter_map(|(entry, step)| match (entry, step) {
        (Ok(prepared), Step::Written { index, .. }) => {
            let seq = corrected(prepared).map(|corrected| corrected.seq);
            Some(Spot { index: *index, prepared, seq })
        }
        _ => None,
    });
    let stretches = grown.iter().map(|one| Spot { index: one.index, prepared: &one.prepared, seq: one.seq });
    own.chain(stretches).collect()
}

/// Writes into the steps what came of weighing.
pub(super) fn apply(steps: &mut [Step], writes: &[Write], roles: &HashMap<usize, Role>) {
    for step in steps {
        match step {
            Step::Written { index, warnings, secondary, .. } => {
                let Some(role) = roles.get(index) else { continue };
                warnings.extend(told(*role));
                *secondary = matches!(role, Role::Secondary(_));
            }
            Step::Gathered { index, warnings, payload, .. } => {
                warnings.extend(roles.get(index).copied().and_then(told));
                payload.clone_from(&writes[*index].payload);
            }
            Step::Same(_) | Step::Refused(_) => {}
        }
    }
}

/// Writes into a write what its reading is beside the others.
fn settle(spot: &Spot<'_>, write: &mut Write, role: Role, now_ms: i64) {
    if let Role::Secondary(_) = role {
        write.payload = judge::payload(spot.prepared, write.version, now_ms, true);
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
