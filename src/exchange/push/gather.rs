//! Readings that are kept as stretches of samples: what a request brings goes into the stretch of its person, client, source,
//! measure and span.
//!
//! A record is judged by itself first, as every other is. Then it grows a stretch, or it turns out that the stretch said so
//! before, or something else; and where it cannot be part of one, for whatever reason, it stays an Observation of its own.
//! The person's turn is the caller's (`turn`), so that a stretch grows by one request at a time, and what a request brings
//! for one stretch is one version of it, in the transaction that answers the records.

use std::collections::HashMap;
use std::sync::Arc;

use super::commit::Step;
use super::judge::{self, Judged, Knowledge};
use super::overlap;
use super::prepare::{self, Prepared};
use super::{Intent, Refusal};
use crate::devices::series::{Fate, Frame, Reading, Span, Status, explode, grow, separate};
use crate::exchange::{Caller, Gateway};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Element, json, write};
use crate::fhir::validate::measures;
use crate::policy::consent::Basis;
use crate::store::{Expect, Growth, Known, PatientKey, Stored, Write};

const KIND: &str = "Observation";

/// A record taken apart.
pub(super) struct Apart {
    frame: Frame,
    reading: Reading,
    span: Span,
}

/// A record that was judged and may be part of a stretch.
pub(super) struct Waiting {
    /// Its place among the entries.
    pub place: usize,
    pub write: Box<Write>,
    pub basis: Option<Basis>,
    pub warnings: Vec<Issue>,
}

/// A stretch that grows.
pub(super) struct Grown {
    pub prepared: Prepared,
    /// Place among the writes.
    pub index: usize,
    /// Of what stands, its order of creation.
    pub seq: Option<u64>,
}

/// What the writes of one request are made of.
pub(super) struct Drafted<'a> {
    pub entries: &'a [Result<Prepared, Refusal>],
    pub steps: &'a mut [Option<Step>],
    pub writes: &'a mut Vec<Write>,
    pub bases: &'a mut Vec<Option<Basis>>,
}

impl Drafted<'_> {
    /// A record that stays an Observation of its own.
    fn alone(&mut self, waiting: Waiting) {
        let Waiting { place, write, basis, warnings } = waiting;
        self.steps[place] =
            Some(Step::Written { index: self.writes.len(), version: write.version, warnings, secondary: false });
        self.writes.push(*write);
        self.bases.push(basis);
    }
}

/// What a stretch is told apart by.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    frame: Frame,
    window: i64,
    offset: i32,
    span: Span,
}

/// A stretch as it stands.
struct Standing {
    stored: Stored,
    readings: Vec<Reading>,
    status: Status,
}

/// Takes a record apart, if its measure is kept so and nothing of it would be lost.
pub(super) fn apart(gateway: &Gateway, prepared: &Prepared) -> Option<Box<Apart>> {
    // What is read again and corrected stands by itself.
    if gateway.kept.is_empty() || !matches!(prepared.intent, Intent::Create { .. }) {
        return None;
    }
    let element = prepared.validated.element();
    let span = gateway.kept.span(measures::measured(element.get("code")?)?)?;
    let (frame, reading) = separate(prepared.validated.document()).ok()?;
    (reading.start == reading.end).then(|| Box::new(Apart { frame, reading, span }))
}

impl Gateway {
    /// Puts records into the stretches that they belong to.
    pub(super) async fn gather(
        &self,
        caller: &Caller<'_>,
        waiting: Vec<Waiting>,
        drafted: &mut Drafted<'_>,
        knowledge: &mut Knowledge,
        now_ms: i64,
    ) -> Result<Vec<Grown>, Refusal> {
        let mut groups: Vec<(Key, Vec<Waiting>)> = Vec::new();
        let mut places: HashMap<Key, usize> = HashMap::new();
        for one in waiting {
            let Some(apart) = apart_of(drafted.entries, &one) else {
                drafted.alone(one);
                continue;
            };
            let (reading, span) = (&apart.reading, apart.span);
            let window = span.start(reading.start, reading.offset);
            let key = Key { frame: apart.frame.clone(), window, offset: reading.offset, span };
            let place = *places.entry(key.clone()).or_insert_with(|| {
                groups.push((key, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(one);
        }
        let mut grown = Vec::new();
        for (key, waiting) in groups {
            grown.extend(self.gather_one(caller, &key, waiting, drafted, knowledge, now_ms).await?);
        }
        Ok(grown)
    }

    async fn gather_one(
        &self,
        caller: &Caller<'_>,
        key: &Key,
        waiting: Vec<Waiting>,
        drafted: &mut Drafted<'_>,
        knowledge: &mut Knowledge,
        now_ms: i64,
    ) -> Result<Option<Grown>, Refusal> {
        let id = key.frame.stretch(key.window);
        let person = waiting.first().and_then(|one| one.write.patient);
        let Ok(standing) = self.standing_stretch(caller, person, key, &id).await? else {
            for one in waiting {
                drafted.alone(one);
            }
            return Ok(None);
        };
        let waiting = self.known(waiting, standing.as_ref(), drafted).await?;
        let readings: Vec<Reading> = waiting
            .iter()
            .filter_map(|one| apart_of(drafted.entries, one).map(|apart| apart.reading.clone()))
            .collect();
        let status = match &standing {
            Some(standing) if standing.status != Status::Preliminary => Status::Amended,
            _ => Status::Preliminary,
        };
        let before = standing.as_ref().map(|standing| standing.readings.as_slice()).unwrap_or_default();
        let (stretch, fates) = grow(&key.frame, before, &readings, &id, status);
        let mut drawn = None;
        if let Some(stretch) = stretch {
            let until_ms = (status == Status::Preliminary)
                .then(|| (key.window + key.span.ms()).max(now_ms).saturating_add(self.grace_ms));
            let taken = waiting.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Taken);
            let members = taken.map(|(one, _)| one.write.id).collect();
            let growth = Growth { members, until_ms };
            drawn = self.draw(caller, stretch.text, standing.as_ref(), growth, knowledge, now_ms).await?;
        }
        let index = drafted.writes.len();
        let grown = drawn.map(|(prepared, write, basis)| {
            drafted.writes.push(write);
            drafted.bases.push(basis);
            Grown { prepared, index, seq: standing.as_ref().map(|standing| standing.stored.seq) }
        });
        for (one, fate) in waiting.into_iter().zip(fates) {
            let step = match (fate, &grown, &standing) {
                (Fate::Other, ..) => Step::Refused(other(drafted.entries, one.place)),
                (Fate::Taken | Fate::Same, Some(grown), _) => Step::Gathered {
                    index,
                    logical: grown.prepared.logical.clone(),
                    version: drafted.writes[index].version,
                    again: fate == Fate::Same,
                    warnings: one.warnings,
                    payload: Vec::new(),
                },
                (Fate::Same, None, Some(standing)) => Step::Same(Box::new(standing.stored.clone())),
                _ => {
                    drafted.alone(one);
                    continue;
                }
            };
            drafted.steps[one.place] = Some(step);
        }
        Ok(grown)
    }

    /// The stretch that stands; the error is one under its name that is not what it should be.
    async fn standing_stretch(
        &self,
        caller: &Caller<'_>,
        person: Option<PatientKey>,
        key: &Key,
        id: &str,
    ) -> Result<Result<Option<Standing>, Foreign>, Refusal> {
        let (client, system) = (&caller.principal.client, key.frame.system());
        let name = prepare::identified(client, KIND, person, 0, &system, id);
        let Some(stored) = self.store.read_derived(KIND, name).await? else {
            return Ok(Ok(None));
        };
        Ok(told(stored, key, client).map(Some).ok_or(Foreign))
    }

    /// Settles what came before under the same id: in this stretch it is the same again, and else it is for the store to
    /// say what it is. What is left is new.
    async fn known(
        &self,
        waiting: Vec<Waiting>,
        standing: Option<&Standing>,
        drafted: &mut Drafted<'_>,
    ) -> Result<Vec<Waiting>, Refusal> {
        let asked = waiting.iter().map(|one| Known { id: one.write.id, reading: one.write.reading }).collect();
        let stand = self.store.stand(asked).await?;
        let mut first: HashMap<[u8; 12], [u8; 16]> = HashMap::new();
        let mut new = Vec::with_capacity(waiting.len());
        for (one, stands) in waiting.into_iter().zip(stand) {
            // Of what comes twice in one request, the second is held against the first.
            if !stands && *first.entry(one.write.id.tail()).or_insert(one.write.content) == one.write.content {
                new.push(one);
                continue;
            }
            let gathered = self.store.gathered(one.write.id).await?.map(|(stored, _)| stored);
            if gathered.is_none() && stands {
                drafted.alone(one);
                continue;
            }
            let own =
                standing.filter(|standing| gathered.as_ref().is_some_and(|stored| standing.stored.seq == stored.seq));
            let reading = apart_of(drafted.entries, &one).map(|apart| &apart.reading);
            let says_so = own.zip(reading).is_some_and(|(standing, reading)| {
                grow(&Frame::default(), &standing.readings, std::slice::from_ref(reading), "", Status::Final).1
                    == [Fate::Same]
            });
            drafted.steps[one.place] = Some(if let Some(stored) = gathered.filter(|_| says_so) {
                Step::Same(Box::new(stored))
            } else {
                let conflict = drafted.entries[one.place].as_ref().map(judge::conflict);
                Step::Refused(conflict.map_or_else(Clone::clone, Into::into))
            });
        }
        Ok(new)
    }

    /// The stretch as it is to be written, held against the guide and the person's consent; none where either refuses it.
    async fn draw(
        &self,
        caller: &Caller<'_>,
        text: String,
        standing: Option<&Standing>,
        growth: Growth,
        knowledge: &mut Knowledge,
        now_ms: i64,
    ) -> Result<Option<(Prepared, Write, Option<Basis>)>, Refusal> {
        let validator = self.rules(caller.principal, [], &[]).await?.of(None, &[]);
        let Ok(document) = json::parse(text) else { return Ok(None) };
        let intent = Intent::Create { condition: None };
        let Ok(examined) = prepare::one(self, validator, caller, KIND, &Arc::new(document), intent) else {
            return Ok(None);
        };
        let told = self.told(examined.checked.questions()).await;
        let Ok(mut prepared) = prepare::conclude(self, caller, examined, &told, Arc::default()) else {
            return Ok(None);
        };
        prepared.span = overlap::span(&prepared, &caller.principal.client);
        let judged = judge::judge(self, caller, &prepared, knowledge, now_ms).await;
        let (mut write, basis) = match judged {
            Ok(Judged::Write { write, basis, .. }) => (*write, basis),
            Err(refusal) if refusal.status() >= 500 => return Err(refusal),
            _ => return Ok(None),
        };
        if let Some(Standing { stored, .. }) = standing {
            // It keeps the id that it was created under, though it may begin earlier now.
            (prepared.id, prepared.logical) = (stored.id, stored.logical_id());
            (write.id, write.expect, write.version) =
                (stored.id, Expect::Version(stored.version), stored.version.saturating_add(1));
            write.payload = judge::payload(&prepared, write.version, now_ms, false);
        }
        write.growth = Some(growth);
        Ok(Some((prepared, write, basis)))
    }
}

/// Something else stands under the name of a stretch.
struct Foreign;

fn apart_of<'e>(entries: &'e [Result<Prepared, Refusal>], waiting: &Waiting) -> Option<&'e Apart> {
    entries[waiting.place].as_ref().ok().and_then(|prepared| prepared.apart.as_deref())
}

fn told(stored: Stored, key: &Key, client: &Arc<str>) -> Option<Standing> {
    if stored.deleted || stored.owner != *client {
        return None;
    }
    let document = without_role(&json::parse(stored.payload.as_slice()).ok()?)?;
    let status = Status::of(Element::root(&document).text_of("status")?)?;
    let (frame, readings) = explode(&document).ok()?;
    let same = frame == key.frame && readings.iter().all(|reading| reading.offset == key.offset);
    same.then_some(Standing { stored, readings, status })
}

/// What a stretch is beside those of other sources is no part of what its readings share.
pub(super) fn without_role(document: &Document) -> Option<Document> {
    let owned = write::Owned { id: "", version: 0, last_updated: "", tags: Some(overlap::tags(false)) };
    json::parse(write::resource(document, document.root(), &owned, None)).ok()
}

fn other(entries: &[Result<Prepared, Refusal>], place: usize) -> Refusal {
    let location = entries[place].as_ref().map_or(KIND, |prepared| prepared.location.as_str());
    let text = "The stretch that this reading belongs to says something else of the same moment and source.";
    Refusal::one(Id::SeriesValue, location, text)
}
