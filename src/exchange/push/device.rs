//! What devices send: each record becomes an Observation and goes the way of every other push.
//!
//! Records stand alone, as the entries of a batch do. A record that could not be converted is a refusal among the
//! others, so that one transaction and one audit tell of the whole request.

use std::sync::Arc;

use super::commit::{Atomicity, Terms};
use super::desk::{Desk, Sent};
use super::gather;
use super::overlap;
use super::prepare::{self, Examined, Prepared};
use super::provenance::Origin;
use super::raw::{Body, Source};
use super::reading;
use super::{Idempotency, Intent, Outcome};
use crate::devices::lines::{self, Line};
use crate::devices::{self, Format, Record, Sender, Zone};
use crate::exchange::receipts::{DAY_MS, Word};
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::{Id, Issue, Position};
use crate::fhir::tree::{Document, json};
use crate::fhir::validate::Validator;
use crate::store::Progress;

const KIND: &str = "Observation";

/// What became of one record.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What its sender calls it.
    pub id: Option<String>,
    /// JSON pointer of the record in what was sent, or in its line of that.
    pub pointer: String,
    /// The line that it stood on, where records came one a line.
    pub line: Option<u64>,
    pub outcome: Outcome,
}

/// Whose records they are, as the request says.
#[derive(Clone, Debug)]
pub struct Addressed<'a> {
    pub patient: &'a str,
    /// Where the person was, for senders whose times are local.
    pub zone: Option<Zone>,
}

impl Addressed<'_> {
    /// The reference to the person.
    pub fn subject(&self) -> Result<String, Refusal> {
        let patient = self.patient.strip_prefix("Patient/").unwrap_or(self.patient);
        if !is_id(patient) {
            return Err(Refusal::one(Id::PatientMissing, "", "The address does not name the person as patient=id."));
        }
        Ok(format!("Patient/{patient}"))
    }
}

/// What keeps a repetition from having a second effect, beyond the identity of each record.
#[derive(Clone, Default, Debug)]
pub struct Repeats {
    pub idempotency: Option<Idempotency>,
    /// The step of an upload's work that it is.
    pub progress: Option<Progress>,
}

/// Records as far as they were read.
pub(super) struct Read {
    pub prepared: Vec<Result<Prepared, Refusal>>,
    pub sent: Vec<Sent>,
    /// What their sender calls them.
    pub ids: Vec<Option<String>>,
}

/// A record, and the line that it stood on.
pub(super) type Placed = (Option<u64>, Record);

impl Answered {
    pub fn word(&self) -> Word {
        match &self.outcome {
            Outcome::Refused(_) => Word::Refused,
            // What a key stands for is told as it was told first, so what counts is what the record did then.
            Outcome::Kept(kept) if !kept.created => Word::Duplicate,
            Outcome::Kept(kept) if kept.warnings.is_empty() => Word::Accepted,
            Outcome::Kept(_) => Word::Flagged,
        }
    }
}

impl Gateway {
    /// `POST /devices/{format}?patient=…`. One answer a record, in the order sent; the error refuses them all.
    pub async fn push_device(
        &self,
        caller: &Caller<'_>,
        format: &Format,
        document: &Document,
        addressed: Addressed<'_>,
        idempotency: Option<Idempotency>,
    ) -> Result<Vec<Answered>, Refusal> {
        let subject = addressed.subject()?;
        let source = Source::of(self, caller, format, &addressed, Body::Whole(document.source().as_bytes()));
        let sender = Sender { subject: &subject, zone: addressed.zone };
        let records = whole(format.convert(document, &sender, self.config.bundle_entries)?);
        self.push_records(caller, format, &subject, records, Repeats { idempotency, progress: None }, source).await
    }

    /// The same of records that came one a line. A line that cannot be read is refused among the others.
    pub async fn push_lines(
        &self,
        caller: &Caller<'_>,
        format: &Format,
        lines: &[Line],
        addressed: Addressed<'_>,
        repeats: Repeats,
    ) -> Result<Vec<Answered>, Refusal> {
        let subject = addressed.subject()?;
        let source = Source::of(self, caller, format, &addressed, Body::Lines(lines));
        let sender = Sender { subject: &subject, zone: addressed.zone };
        let records = self.lines(format, lines, &sender);
        self.push_records(caller, format, &subject, records, repeats, source).await
    }

    /// The records of lines. A line that cannot be read is one that is refused.
    pub(super) fn lines(&self, format: &Format, lines: &[Line], sender: &Sender<'_>) -> Vec<Placed> {
        let mut records: Vec<Placed> = Vec::with_capacity(lines.len());
        for line in lines {
            let read = match &line.text {
                Some(text) => devices::read(text.as_slice())
                    .and_then(|document| format.convert(&document, sender, self.config.bundle_entries)),
                None => Err(lines::too_long()),
            };
            let read = read.unwrap_or_else(|issue| vec![Record::unread(issue)]);
            records.extend(read.into_iter().map(|record| (Some(line.number), on_line(record, line.number))));
        }
        records
    }

    /// Keeps what was converted.
    async fn push_records(
        &self,
        caller: &Caller<'_>,
        format: &Format,
        subject: &str,
        records: Vec<Placed>,
        repeats: Repeats,
        source: Option<Source>,
    ) -> Result<Vec<Answered>, Refusal> {
        let Read { prepared, sent, ids } = self.read_records(caller, format, records).await?;
        let desk = Arc::new(Desk {
            patient: self.patient_key(subject.strip_prefix("Patient/").unwrap_or(subject)),
            format: Arc::from(format.name()),
            request: caller.request_id.to_owned(),
            records: sent,
            keep_ms: i64::from(self.config.receipt_days) * DAY_MS,
            origin: Origin::of(self, caller, format, subject),
            again: false,
        });
        let Repeats { idempotency, progress } = repeats;
        let desk_of_terms = Some(desk.clone());
        let terms = Terms { idempotency, desk: desk_of_terms, progress, source, ..Terms::of(Atomicity::EachAlone) };
        let outcomes = self.commit(caller, prepared, terms).await?;
        self.count_refused(&outcomes);
        Ok(outcomes
            .into_iter()
            .zip(ids)
            .zip(&desk.records)
            .map(|((outcome, id), sent)| Answered {
                id,
                pointer: sent.pointer.clone(),
                line: sent.line,
                outcome: with(outcome, sent.lost.clone()),
            })
            .collect())
    }

    /// What the records say, as far as that can be told without asking the store.
    pub(super) async fn read_records(
        &self,
        caller: &Caller<'_>,
        format: &Format,
        records: Vec<Placed>,
    ) -> Result<Read, Refusal> {
        let validator = self.rules(caller.principal, [], &[]).await?.of(None, &[]);
        let mut examined: Vec<Result<Examined, Refusal>> = Vec::with_capacity(records.len());
        let mut sent: Vec<Sent> = Vec::with_capacity(records.len());
        let mut ids: Vec<Option<String>> = Vec::with_capacity(records.len());
        for (line, Record { source_id, whole, pointer, observation, issues, .. }) in records {
            examined.push(match observation {
                Some(observation) => {
                    self.examine_record(validator, caller, observation, Intent::Create { condition: None })
                }
                None => Err(issues.clone().into()),
            });
            let key = source_id.as_deref().map(|id| self.record_key(format.name(), id));
            let whole = whole.map(|id| self.record_key(format.name(), &id));
            sent.push(Sent { key, whole, line, pointer, lost: issues, measured_ms: None });
            ids.push(source_id);
        }
        let mut prepared = self.conclude_records(caller, examined).await;
        for (sent, prepared) in sent.iter_mut().zip(prepared.iter_mut().map(Result::as_mut)) {
            if let Ok(prepared) = prepared {
                sent.measured_ms = prepared.ended_ms;
            }
        }
        Ok(Read { prepared, sent, ids })
    }

    /// Answers what was left open of records.
    pub(super) async fn conclude_records(
        &self,
        caller: &Caller<'_>,
        examined: Vec<Result<Examined, Refusal>>,
    ) -> Vec<Result<Prepared, Refusal>> {
        let told = self.told(examined.iter().flatten().flat_map(|record| record.checked.questions())).await;
        let conclude = |record: Examined| {
            let mut prepared =
                prepare::conclude(self, caller, record, &told, Arc::default()).map_err(without_places)?;
            prepared.reading = reading::key(caller, &prepared);
            prepared.span = overlap::span(&prepared, &caller.principal.client);
            prepared.apart = gather::apart(self, &prepared);
            Ok(prepared)
        };
        examined.into_iter().map(|record| record.and_then(conclude)).collect()
    }

    pub(super) fn examine_record(
        &self,
        validator: &Validator,
        caller: &Caller<'_>,
        observation: String,
        intent: Intent,
    ) -> Result<Examined, Refusal> {
        let document = Arc::new(json::parse(observation)?);
        prepare::one(self, validator, caller, KIND, &document, intent).map_err(without_places)
    }
}

/// Records that did not come one a line.
pub(super) fn whole(records: Vec<Record>) -> Vec<Placed> {
    records.into_iter().map(|record| (None, record)).collect()
}

/// Places of a record that is a line of its own, as places of the whole.
fn on_line(mut record: Record, number: u64) -> Record {
    for issue in &mut record.issues {
        issue.position.line = u32::try_from(number).unwrap_or(u32::MAX);
    }
    record
}

/// The Observation is our own text: its lines and columns would mislead, its paths are FHIR's.
pub(super) fn without_places(mut refusal: Refusal) -> Refusal {
    without_positions(&mut refusal.issues);
    refusal
}

/// An outcome with what was lost on the way to FHIR; of a duplicate that was said when it was kept.
fn with(outcome: Outcome, lost: Vec<Issue>) -> Outcome {
    match outcome {
        Outcome::Kept(mut kept) => {
            without_positions(&mut kept.warnings);
            if kept.created {
                kept.warnings.extend(lost);
            } else {
                let text =
                    "The same record, or the same reading of another source, was accepted before; nothing was written.";
                kept.warnings = vec![Issue::new(Id::Duplicate, "", text)];
            }
            Outcome::Kept(kept)
        }
        refused @ Outcome::Refused(_) => refused,
    }
}

fn without_positions(issues: &mut [Issue]) {
    for issue in issues {
        issue.position = Position::default();
    }
}
