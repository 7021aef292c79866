//! What could not be delivered: retry rows, one lane a patient, and dead letters.
//!
//! Only the head of a lane is ever due; when it leaves, the next becomes head. So order within a patient is kept, and
//! finding what is due costs nothing however long the lanes are. What goes first stands before what does not, each in their
//! order. A redriven dead letter goes to the end of its lane, and
//! as its resource stands now.

use std::sync::Arc;

use super::pool::Reader;
use super::writer::Ledger;
use super::{Store, audit, erase, remnants, row};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, ResId};
use crate::store::outbox::{DAMAGED, DeadLetter, Failure, Retry, Settlement, SettlementOutcome, Task};
use crate::store::sql::{self, Connection, Fault, Optional, Row, Rows, params};
use crate::store::unit::{AuditRecord, Cancelled};

/// How long a gateway has, of those that share a store, to try again what it has taken.
const CLAIM_MS: i64 = 120_000;

impl Store {
    /// Retries whose time has come, of each patient only the oldest.
    pub async fn retries_due(&self, destination: &str, now_ms: i64, max: usize) -> Result<Vec<Retry>, Error> {
        let name = destination.to_owned();
        let (mut found, damaged) = self.query(move |connection| due(connection, &name, now_ms, max)).await?;
        if !damaged.is_empty() {
            let name = destination.to_owned();
            let bury = move |ledger: &mut Ledger| {
                damaged.iter().try_for_each(|id| given_up(&ledger.connection, &name, *id, DAMAGED))
            };
            self.writer.call(1, move |ledger| Ok(bury(ledger)?)).await?;
        }
        if self.base.is_shared() && !found.is_empty() {
            let ids: Vec<i64> = found.iter().map(|retry| retry.id).collect();
            let name = destination.to_owned();
            let taken = self.writer.call(1, move |ledger| Ok(claim(ledger, &name, &ids, now_ms)?)).await?;
            found.retain(|retry| taken.contains(&retry.id));
        }
        Ok(found)
    }

    /// Everything of one patient that waits for another attempt, due or not.
    pub async fn retries_of(&self, destination: &str, patient: PatientKey) -> Result<Vec<Retry>, Error> {
        self.first_retries_of(destination, patient, i64::MAX as usize).await
    }

    /// The oldest of these.
    pub async fn first_retries_of(
        &self,
        destination: &str,
        patient: PatientKey,
        most: usize,
    ) -> Result<Vec<Retry>, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| queued(connection, &destination, patient, most)).await
    }

    pub async fn settle(
        &self,
        destination: &str,
        settled: Vec<Settlement>,
        records: Vec<AuditRecord>,
    ) -> Result<(), Error> {
        let destination = destination.to_owned();
        let weight = (settled.len() + records.len()).max(1);
        let settle = move |ledger: &mut Ledger| {
            let connection = &ledger.connection;
            for settlement in &settled {
                audit::forget(connection, &destination, Task::Retry(settlement.id))?;
                settle_one(connection, &destination, settlement)?;
            }
            audit::store(ledger, &records)
        };
        self.writer.call(weight, move |ledger| Ok(settle(ledger)?)).await
    }

    /// Resources that are sent once more, in that order and as they stand now; those that wait already are left out. How
    /// many there were.
    pub async fn requeue(&self, destination: &str, items: Vec<(u64, u32)>) -> Result<u64, Error> {
        let destination = destination.to_owned();
        let weight = items.len().max(1);
        self.writer.call(weight, move |ledger| Ok(requeue(&ledger.connection, &destination, &items)?)).await
    }

    /// How many of them do not wait already.
    pub async fn not_waiting(&self, destination: &str, items: Vec<(u64, u32)>) -> Result<u64, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| {
            let mut count = 0;
            for (seq, _) in items {
                count += u64::from(lane_free_of(connection, &destination, seq)?.is_some());
            }
            Ok(count)
        })
        .await
    }

    /// What goes first is due at once.
    pub async fn first_due(&self, destination: &str) -> Result<(), Error> {
        let destination = destination.to_owned();
        let due = move |ledger: &mut Ledger| {
            ledger
                .connection
                .prepare_cached("UPDATE retry SET not_before = ?2 WHERE destination = ?1 AND head = 1 AND first = 1")?
                .post(params![destination, i64::MIN])
        };
        self.writer.call(1, move |ledger| Ok(due(ledger)?)).await
    }

    /// Whether what fails is given up at once.
    pub async fn retries_stopped(&self, destination: &str) -> Result<bool, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| {
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM retry_stopped WHERE destination = ?1)")?
                .query_row([destination], |row| row.get(0))
        })
        .await
    }

    /// Says whether what fails is given up at once.
    pub async fn stop_retries(&self, destination: &str, stop: bool) -> Result<(), Error> {
        let destination = destination.to_owned();
        let sql = if stop {
            "INSERT INTO retry_stopped (destination) VALUES (?1) ON CONFLICT DO NOTHING"
        } else {
            "DELETE FROM retry_stopped WHERE destination = ?1"
        };
        self.writer
            .call(1, move |ledger| Ok(ledger.connection.prepare_cached(sql)?.execute([destination]).map(drop)?))
            .await
    }

    /// Gives up some of what was tried and waits for another attempt; how many. What consents have changed is still looked at.
    pub async fn give_up(&self, destination: &str, reason: &str, most: usize) -> Result<usize, Error> {
        let (destination, reason) = (destination.to_owned(), reason.to_owned());
        self.writer.call(most, move |ledger| Ok(give_up(&ledger.connection, &destination, &reason, most)?)).await
    }

    /// When the earliest retry is due.
    pub async fn next_due(&self, destination: &str) -> Result<Option<i64>, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT MIN(due) FROM (
                         SELECT MIN(not_before) AS due FROM retry WHERE destination = ?1 AND head = 1
                         UNION ALL SELECT MIN(not_before) FROM remnant WHERE destination = ?1 AND dead = 0) soonest",
                )?
                .query_row([destination], |row| row.get(0))
        })
        .await
    }

    pub async fn dead_letters(&self, destination: Option<&str>) -> Result<Vec<DeadLetter>, Error> {
        let destination = destination.map(str::to_owned);
        self.query(move |connection| dead(connection, destination.as_deref())).await
    }

    /// Turns dead letters into retries that are due at once, each with the version that is current by now; without ids,
    /// all. Returns how many: an id counts once.
    pub async fn redrive(&self, destination: &str, ids: Option<Vec<i64>>) -> Result<u64, Error> {
        let destination = destination.to_owned();
        self.writer.call(1, move |ledger| Ok(redrive(&ledger.connection, &destination, ids)?)).await
    }
}

/// A row of `retry` or `dead`, without its id.
struct Item {
    lane: Vec<u8>,
    patient: Option<[u8; 16]>,
    seq: i64,
    version: u32,
    attempts: u32,
    reason: String,
    /// Whether it goes before what does not.
    first: bool,
}

/// The patient, or of nobody's resources the one resource: what must keep its order.
fn lane(patient: Option<PatientKey>, seq: u64) -> Vec<u8> {
    patient.map_or_else(|| seq.to_be_bytes().to_vec(), |patient| patient.0.to_vec())
}

/// Whether something earlier waits in the lane.
pub(super) fn waits(
    connection: &Connection,
    destination: &str,
    patient: Option<PatientKey>,
    seq: u64,
) -> sql::Result<bool> {
    occupied(connection, destination, &lane(patient, seq))
}

fn occupied(connection: &Connection, destination: &str, lane: &[u8]) -> sql::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM retry WHERE destination = ?1 AND lane = ?2)")?
        .query_row(params![destination, lane], |row| row.get(0))
}

/// Nothing of a resource waits any more, and what waited behind it steps forward.
pub(super) fn forget(connection: &Connection, patient: PatientKey, seq: u64) -> sql::Result<()> {
    let waiting: Vec<(String, i64)> = connection
        .prepare_cached(
            "SELECT destination, id FROM retry WHERE destination IN (SELECT destination FROM cursor WHERE slot = 0)
             AND lane = ?1 AND seq = ?2",
        )?
        .query_map(params![patient.0, seq as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (destination, id) in waiting {
        take(connection, &destination, id)?;
    }
    connection
        .prepare_cached("DELETE FROM dead WHERE lane = ?1 AND seq = ?2")?
        .execute(params![patient.0, seq as i64])
        .map(drop)
}

/// Whatever waits in the patient's lanes waits no longer.
pub(super) fn due_at_once(connection: &Connection, patient: PatientKey) -> sql::Result<()> {
    connection
        .prepare_cached(
            "UPDATE retry SET not_before = ?2 WHERE destination IN (SELECT destination FROM cursor WHERE slot = 0)
             AND lane = ?1",
        )?
        .post(params![lane(Some(patient), 0), i64::MIN])?;
    Ok(())
}

/// Takes an item that leaves the feed undelivered, or before its turn.
pub(super) fn enter(connection: &Connection, destination: &str, failure: &Failure) -> sql::Result<()> {
    if let Some(patient) = failure.patient
        && erase::is_erased(connection, patient)?
    {
        return Ok(());
    }
    let item = Item {
        lane: lane(failure.patient, failure.seq),
        patient: failure.patient.map(|patient| patient.0),
        seq: failure.seq as i64,
        version: failure.version,
        attempts: failure.attempts,
        reason: failure.reason.clone(),
        first: failure.first,
    };
    if failure.dead {
        bury(connection, destination, &item)
    } else {
        queue(connection, destination, &item, failure.not_before_ms)
    }
}

fn queue(connection: &Connection, destination: &str, item: &Item, not_before_ms: i64) -> sql::Result<()> {
    let mut head = !occupied(connection, destination, &item.lane)?;
    if item.first && !head {
        let stepped_back = connection
            .prepare_cached(
                "UPDATE retry SET head = 0 WHERE destination = ?1 AND lane = ?2 AND head = 1 AND first = 0",
            )?
            .execute(params![destination, item.lane])?;
        head = stepped_back > 0;
    }
    connection
        .prepare_cached(
            "INSERT INTO retry (destination, lane, patient, seq, version, attempts, not_before, reason, head, first)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .post(params![
            destination,
            item.lane,
            item.patient,
            item.seq,
            item.version,
            item.attempts,
            not_before_ms,
            item.reason,
            head,
            item.first,
        ])?;
    Ok(())
}

/// The lane of a resource with its patient and current version, if it does not wait there.
#[expect(clippy::type_complexity, reason = "three columns of a row")]
fn lane_free_of(
    connection: &Connection,
    destination: &str,
    seq: u64,
) -> sql::Result<Option<(Vec<u8>, Option<PatientKey>, u32)>> {
    let found: Option<(Option<[u8; 16]>, u32)> = connection
        .prepare_cached("SELECT patient, version FROM resource WHERE seq = ?1")?
        .query_row([seq as i64], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((patient, version)) = found else { return Ok(None) };
    let patient = patient.map(PatientKey);
    let lane = lane(patient, seq);
    let waits: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM retry WHERE destination = ?1 AND lane = ?2 AND seq = ?3)")?
        .query_row(params![destination, lane, seq as i64], |row| row.get(0))?;
    Ok((!waits).then_some((lane, patient, version)))
}

fn requeue(connection: &Connection, destination: &str, items: &[(u64, u32)]) -> sql::Result<u64> {
    let mut queued = 0;
    for (seq, _) in items {
        let Some((lane, patient, version)) = lane_free_of(connection, destination, *seq)? else { continue };
        if let Some(patient) = patient
            && erase::is_erased(connection, patient)?
        {
            continue;
        }
        let patient = patient.map(|patient| patient.0);
        let reason = "it is sent once more".to_owned();
        let item = Item { lane, patient, seq: *seq as i64, version, attempts: 0, reason, first: false };
        queue(connection, destination, &item, i64::MIN)?;
        queued += 1;
    }
    Ok(queued)
}

fn given_up(connection: &Connection, destination: &str, id: i64, reason: &str) -> sql::Result<()> {
    match take(connection, destination, id)? {
        Some(item) => bury(connection, destination, &Item { reason: reason.to_owned(), ..item }),
        None => Ok(()),
    }
}

fn give_up(connection: &Connection, destination: &str, reason: &str, most: usize) -> sql::Result<usize> {
    let ids: Vec<i64> = connection
        .prepare_cached(
            "SELECT t.id FROM retry t JOIN resource r ON r.seq = t.seq JOIN kind k ON k.id = r.kind
             WHERE t.destination = ?1 AND t.attempts > 0 AND k.name <> 'Consent' ORDER BY t.id LIMIT ?2",
        )?
        .query_map(params![destination, most as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &ids {
        given_up(connection, destination, *id, reason)?;
    }
    Ok(ids.len())
}

fn bury(connection: &Connection, destination: &str, item: &Item) -> sql::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO dead (destination, lane, patient, seq, version, attempts, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .post(params![destination, item.lane, item.patient, item.seq, item.version, item.attempts, item.reason])?;
    Ok(())
}

/// What is due, and what is and cannot be read.
fn due(connection: &Reader, destination: &str, now_ms: i64, max: usize) -> sql::Result<(Vec<Retry>, Vec<i64>)> {
    let mut statement = connection.prepare_cached(
        "SELECT id, attempts, not_before, reason, seq, version, first FROM retry
         WHERE destination = ?1 AND head = 1 AND not_before <= ?2 ORDER BY not_before, id LIMIT ?3",
    )?;
    collected(connection, statement.query(params![destination, now_ms, max as i64])?)
}

/// Those that no other gateway has taken. Of one that is gone they are due again after a while, and what it may have sent
/// is told.
fn claim(ledger: &mut Ledger, destination: &str, ids: &[i64], now_ms: i64) -> sql::Result<Vec<i64>> {
    let mut taken = Vec::with_capacity(ids.len());
    for id in ids {
        let free = ledger
            .connection
            .prepare_cached(
                "UPDATE retry SET not_before = ?3 WHERE destination = ?1 AND id = ?2 AND head = 1 AND not_before <= ?4",
            )?
            .execute(params![destination, id, now_ms.saturating_add(CLAIM_MS), now_ms])?;
        if free > 0 {
            audit::tell(ledger, destination, Task::Retry(*id))?;
            taken.push(*id);
        }
    }
    Ok(taken)
}

/// A patient's lane, from its head.
fn queued(connection: &Reader, destination: &str, patient: PatientKey, most: usize) -> sql::Result<Vec<Retry>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, attempts, not_before, reason, seq, version, first FROM retry
         WHERE destination = ?1 AND lane = ?2 ORDER BY first DESC, id LIMIT ?3",
    )?;
    Ok(collected(connection, statement.query(params![destination, patient.0, most as i64])?)?.0)
}

/// With the numbers of those that cannot be read.
fn collected(connection: &Reader, mut rows: Rows<'_>) -> sql::Result<(Vec<Retry>, Vec<i64>)> {
    let (mut found, mut damaged) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let stored = match row::version(connection, row.get::<i64>(4)? as u64, row.get(5)?) {
            Err(Fault::Damaged(_)) => {
                damaged.push(row.get(0)?);
                continue;
            }
            read => read?,
        };
        let Some(stored) = stored else {
            // Nobody erases the person without what waits for her: its number or its version is wrong.
            damaged.push(row.get(0)?);
            continue;
        };
        found.push(Retry {
            id: row.get(0)?,
            attempts: row.get(1)?,
            not_before_ms: row.get(2)?,
            reason: row.get(3)?,
            first: row.get(6)?,
            stored,
        });
    }
    Ok((found, damaged))
}

/// Takes an item out of the queue before its turn, and says so if it was there.
pub(super) fn cancel(ledger: &mut Ledger, cancelled: &Cancelled) -> sql::Result<()> {
    match take(&ledger.connection, &cancelled.destination, cancelled.id)? {
        Some(_) => audit::store(ledger, std::slice::from_ref(&cancelled.record)),
        None => Ok(()),
    }
}

/// A row that was settled by somebody else is gone, and then nothing happens.
fn settle_one(connection: &Connection, destination: &str, settlement: &Settlement) -> sql::Result<()> {
    match &settlement.outcome {
        SettlementOutcome::Done => take(connection, destination, settlement.id).map(drop),
        SettlementOutcome::Again { not_before_ms, attempts, reason } => connection
            .prepare_cached(
                "UPDATE retry SET not_before = ?3, attempts = ?4, reason = ?5 WHERE destination = ?1 AND id = ?2",
            )?
            .execute(params![destination, settlement.id, not_before_ms, attempts, reason])
            .map(drop),
        SettlementOutcome::Dead { reason } => match take(connection, destination, settlement.id)? {
            // The attempt that failed counts.
            Some(item) => {
                let attempts = item.attempts.saturating_add(1);
                bury(connection, destination, &Item { attempts, reason: reason.clone(), ..item })
            }
            None => Ok(()),
        },
    }
}

/// Removes a retry row and lets the next of its lane step forward.
fn take(connection: &Connection, destination: &str, id: i64) -> sql::Result<Option<Item>> {
    let taken = connection
        .prepare_cached(
            "DELETE FROM retry WHERE destination = ?1 AND id = ?2
             RETURNING lane, patient, seq, version, attempts, reason, first",
        )?
        .query_row(params![destination, id], item)
        .optional()?;
    if let Some(item) = &taken {
        connection
            .prepare_cached(
                "UPDATE retry SET head = 1 WHERE id =
                 (SELECT id FROM retry WHERE destination = ?1 AND lane = ?2 ORDER BY first DESC, id LIMIT 1)",
            )?
            .post(params![destination, item.lane])?;
    }
    Ok(taken)
}

fn item(row: &Row<'_>) -> sql::Result<Item> {
    Ok(Item {
        lane: row.get(0)?,
        patient: row.get(1)?,
        seq: row.get(2)?,
        version: row.get(3)?,
        attempts: row.get(4)?,
        reason: row.get(5)?,
        first: row.get(6)?,
    })
}

fn dead(connection: &Connection, destination: Option<&str>) -> sql::Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.id, d.destination, k.name, r.bucket, r.day, r.tail, d.version, d.patient, d.attempts, d.reason
         FROM dead d JOIN resource r ON r.seq = d.seq JOIN kind k ON k.id = r.kind
         WHERE CAST(?1 AS TEXT) IS NULL OR d.destination = ?1 ORDER BY d.id",
    )?;
    let rows = statement.query_map([destination], |row| {
        Ok(DeadLetter {
            id: row.get(0)?,
            destination: row.get::<Arc<str>>(1)?,
            kind: row.get(2)?,
            resource: ResId::from_columns(row.get(3)?, row.get(4)?, row.get(5)?),
            version: row.get(6)?,
            patient: row.get::<Option<[u8; 16]>>(7)?.map(PatientKey),
            attempts: row.get(8)?,
            reason: row.get(9)?,
        })
    })?;
    rows.collect()
}

fn redrive(connection: &Connection, destination: &str, ids: Option<Vec<i64>>) -> sql::Result<u64> {
    let mut redriven = 0;
    let ids = if let Some(ids) = ids {
        ids
    } else {
        redriven = remnants::redrive(connection, destination)?;
        connection
            .prepare_cached("SELECT id FROM dead WHERE destination = ?1 ORDER BY id")?
            .query_map([destination], |row| row.get(0))?
            .collect::<Result<_, _>>()?
    };
    for id in ids {
        let buried = connection
            .prepare_cached(
                "DELETE FROM dead WHERE destination = ?1 AND id = ?2
                 RETURNING lane, patient, seq, version, attempts, reason, 0 = 1",
            )?
            .query_row(params![destination, id], item)
            .optional()?;
        if let Some(item) = buried {
            // Later versions may have arrived there since, and an older one must not come after them.
            let version = connection
                .prepare_cached("SELECT version FROM resource WHERE seq = ?1")?
                .query_row([item.seq], |row| row.get(0))?;
            // The operator wants it now.
            queue(connection, destination, &Item { attempts: 0, version, ..item }, i64::MIN)?;
            redriven += 1;
        }
    }
    Ok(redriven)
}
