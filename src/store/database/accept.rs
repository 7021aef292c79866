//! A unit in the writer's transaction: key, preconditions, writes, feed, audit.
//!
//! A refused write leaves nothing behind, so a non-atomic unit needs no savepoint; an atomic one with several writes
//! takes one, and rolls back alone. Numbers of kinds and codes are given out before that savepoint, so that the writer
//! may remember them whatever becomes of the unit.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::consents::{consent_epoch, take_turn};
use super::put::{Written, number, put};
use super::writer::Ledger;
use super::{Store, audit, erase, exports, feed, raw, receipts, retry, uploads};
use crate::store::compact::{Guarded, compact_in};
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::marks;
use crate::store::sql::{self, Connection, Optional, params};
use crate::store::unit::{Accepted, IdempotencyKey, Precondition, Unit, Write, WriteOutcome};

/// How long an idempotency key is remembered at least.
pub(super) const IDEMPOTENCY_MS: i64 = 48 * 3_600_000;

impl Store {
    /// Durable when it returns.
    pub async fn accept(&self, unit: Unit) -> Result<Accepted, Error> {
        self.enqueue(unit).await
    }

    /// Several units, each its own transaction, queued together so that they share the cost of durability.
    pub async fn accept_all(&self, units: Vec<Unit>) -> Vec<Result<Accepted, Error>> {
        let queued: Vec<_> = units.into_iter().map(|unit| self.enqueue(unit)).collect();
        let mut outcomes = Vec::with_capacity(queued.len());
        for outcome in queued {
            outcomes.push(outcome.await);
        }
        outcomes
    }

    fn enqueue(&self, unit: Unit) -> impl Future<Output = Result<Accepted, Error>> + Send + 'static {
        // Not by the writer, for which everybody waits.
        let compacts: Vec<_> = unit.writes.iter().map(|write| compacted(write).into_owned()).collect();
        self.writer.call(unit.writes.len().max(1), move |ledger| apply(ledger, unit, compacts))
    }
}

fn compacted(write: &Write) -> Cow<'_, [u8]> {
    let person = write.person.filter(|_| write.patient.is_some());
    let row = marks::Row { id: write.id, updated_ms: write.updated_ms, person };
    // What is of somebody is sealed.
    let guarded = if write.patient.is_some() { Guarded::Elsewhere } else { Guarded::ByChecksum };
    compact_in(&write.payload, &write.gist, &row, guarded)
}

fn apply(ledger: &mut Ledger, unit: Unit, compacts: Vec<Vec<u8>>) -> Result<Accepted, Error> {
    if let Some(answer) = seen_before(&ledger.connection, &unit)? {
        return Ok(answer);
    }
    if let Some(progress) = unit.progress
        && !uploads::stands(&ledger.connection, progress)?
    {
        return Ok(Accepted::Overtaken);
    }
    if let Some(rereading) = &unit.rereading
        && !raw::stands(&ledger.connection, rereading)?
    {
        return Ok(Accepted::Overtaken);
    }
    if somebody_is_erased(&ledger.connection, &unit)? || exports::is_before_cut(&ledger.connection, &unit)? {
        return Ok(Accepted::Stale);
    }
    if !preconditions_hold(&ledger.connection, &unit.preconditions)? {
        return Ok(Accepted::Stale);
    }
    let whose = whom(&unit);
    let writes = unit.writes.iter().zip(compacts);
    let numbered =
        writes.map(|(write, compact)| number(ledger, write, compact.into())).collect::<Result<Vec<_>, _>>()?;
    let connection = &ledger.connection;
    let savepoint = unit.rehearsal || unit.atomic && numbered.len() > 1;
    if savepoint {
        connection.prepare_cached("SAVEPOINT unit")?.post(())?;
    }
    let mut outcomes = Vec::with_capacity(numbered.len());
    let mut delivered = Vec::new();
    for (write, (outcome, written)) in numbered.iter().zip(put(ledger, &numbered, unit.atomic)?) {
        outcomes.push(outcome);
        delivered.extend(written.filter(|_| write.write.deliver));
    }
    let refused = unit.atomic && outcomes.iter().any(WriteOutcome::is_conflict);
    if savepoint {
        if refused || unit.rehearsal {
            connection.prepare_cached("ROLLBACK TO unit")?.post(())?;
        }
        connection.prepare_cached("RELEASE unit")?.post(())?;
    }
    if unit.rehearsal {
        return Ok(Accepted::Done { outcomes });
    }
    let finish = unit.finish;
    let finished = catch_unwind(AssertUnwindSafe(|| finish(&outcomes))).map_err(|_| Error::Finish)?;
    for write in &finished.writes {
        let numbered = number(ledger, write, compacted(write))?;
        let put = put(ledger, std::slice::from_ref(&numbered), false)?;
        delivered.extend(put.into_iter().filter_map(|(_, written)| written).filter(|_| write.deliver));
    }
    if let Some(step) = &finished.raw {
        raw::take(ledger, &unit.client, step)?;
    }
    let connection = &ledger.connection;
    if !refused {
        ledger.fed |= write_feed(connection, &delivered, unit.now_ms)?;
    }
    audit::store(ledger, &finished.audit)?;
    for cancelled in &finished.cancelled {
        retry::cancel(ledger, cancelled)?;
    }
    let connection = &ledger.connection;
    receipts::file(connection, &unit.client, &finished.filing)?;
    if let Some(progress) = unit.progress {
        uploads::advance(connection, progress, finished.words)?;
    }
    if let (Some(key), Some(response)) = (&unit.idempotency, finished.response) {
        remember(connection, &unit.client, whose, key, &response, unit.now_ms)?;
    }
    Ok(if refused { Accepted::RolledBack { outcomes } } else { Accepted::Done { outcomes } })
}

fn seen_before(connection: &Connection, unit: &Unit) -> sql::Result<Option<Accepted>> {
    let Some(key) = &unit.idempotency else { return Ok(None) };
    connection
        .prepare_cached("SELECT hash, response FROM idem WHERE client = ?1 AND key = ?2")?
        .query_row(params![unit.client, key.key], |row| {
            let same = row.get::<[u8; 32]>(0)? == key.hash;
            Ok(if same { Accepted::Replayed { response: row.get(1)? } } else { Accepted::KeyReused })
        })
        .optional()
}

fn remember(
    connection: &Connection,
    client: &Arc<str>,
    patient: Option<PatientKey>,
    key: &IdempotencyKey,
    response: &[u8],
    now_ms: i64,
) -> sql::Result<()> {
    connection
        .prepare_cached("INSERT INTO idem (client, key, hash, response, at, patient) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .post(params![client, key.key, key.hash, response, now_ms, patient.map(|patient| patient.0)])?;
    // Twice as fast as keys arrive, so the table shrinks to its period whatever happened before.
    connection
        .prepare_cached("DELETE FROM idem WHERE (client, key) IN (SELECT client, key FROM idem WHERE at < ?1 LIMIT 2)")?
        .post([now_ms.saturating_sub(IDEMPOTENCY_MS)])?;
    Ok(())
}

/// Whoever decided before a person was erased decides again, and finds nobody.
fn somebody_is_erased(connection: &Connection, unit: &Unit) -> sql::Result<bool> {
    let mut last = None;
    for patient in unit.writes.iter().filter_map(|write| write.patient) {
        if last.replace(patient) != Some(patient) && erase::is_erased(connection, patient)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The one person whom a unit is about, if there is one.
fn whom(unit: &Unit) -> Option<PatientKey> {
    let first = unit.writes.first()?.patient?;
    unit.writes.iter().all(|write| write.patient == Some(first)).then_some(first)
}

fn preconditions_hold(connection: &Connection, preconditions: &[Precondition]) -> sql::Result<bool> {
    for precondition in preconditions {
        let holds = match precondition {
            Precondition::ConsentEpoch { patient, epoch } => consent_epoch(connection, *patient)? == *epoch,
            Precondition::Turn { patient, number } => take_turn(connection, *patient, *number)?,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a unit delivers of one patient.
struct Lane {
    patient: Option<PatientKey>,
    /// Sequence numbers and versions.
    items: Vec<(u64, u32)>,
}

/// One feed row a patient, in the order of the writes; nobody's resources have no common order, so each has its own.
fn write_feed(connection: &Connection, delivered: &[Written], now_ms: i64) -> sql::Result<bool> {
    let mut lanes: Vec<Lane> = Vec::new();
    for written in delivered {
        let item = (written.seq, written.version);
        let lane = lanes.iter_mut().find(|lane| lane.patient.is_some() && lane.patient == written.patient);
        match lane {
            Some(lane) => lane.items.push(item),
            None => lanes.push(Lane { patient: written.patient, items: vec![item] }),
        }
    }
    for Lane { patient, items } in &lanes {
        feed::append(connection, *patient, items, now_ms)?;
    }
    Ok(!lanes.is_empty())
}
