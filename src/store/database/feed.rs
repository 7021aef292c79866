//! The feed, the cursors into it and the leases on them.
//!
//! Positions of a slot are dense: the writer is the only appender and takes the next one inside its transaction. So a
//! row seen is never followed by an earlier one that commits later, and a backlog is a subtraction.

use std::sync::Arc;

use super::items::{named_items, packed_items};
use super::pool::Reader;
use super::writer::Ledger;
use super::{Store, audit, retry, row};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, SLOTS, slot};
use crate::store::outbox::{Backlog, Failure, FeedItem, Fenced, Lease, Task};
use crate::store::sql::{self, Connection, Fault, Optional, Row, params};
use crate::store::unit::AuditRecord;

/// What was written with a row was written so long before it at most.
const WRITTEN_WITHIN_MS: i64 = 10_000;

impl Store {
    /// A new destination begins at the feed's present end; a known one stays where it is.
    pub async fn ensure_destination(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.writer.call(1, move |ledger| Ok(ensure(&ledger.connection, &name)?)).await
    }

    /// Up to `want` slots in which the destination lags and which nobody else holds. What the worker holds already is
    /// prolonged under the same epoch.
    pub async fn lease(
        &self,
        destination: &str,
        worker: &str,
        now_ms: i64,
        ttl_ms: i64,
        want: usize,
    ) -> Result<Vec<Lease>, Error> {
        let claim = Claim {
            destination: destination.into(),
            worker: worker.into(),
            now_ms,
            until_ms: now_ms.saturating_add(ttl_ms),
            want,
        };
        self.writer.call(1, move |ledger| Ok(claim.take(ledger)?)).await
    }

    /// A worker ends, and others need not wait until its leases do. Where there are no others nothing is done.
    pub async fn give_back(&self, destination: &str, worker: &str) -> Result<(), Error> {
        if !self.base.is_shared() {
            return Ok(());
        }
        let (destination, worker) = (destination.to_owned(), worker.to_owned());
        let give_back = move |ledger: &mut Ledger| {
            ledger
                .connection
                .prepare_cached("UPDATE cursor SET until = ?3 WHERE destination = ?1 AND owner = ?2 AND until > ?3")?
                .post(params![destination, worker, i64::MIN])
        };
        self.writer.call(1, move |ledger| Ok(give_back(ledger)?)).await
    }

    /// What follows the cursor of the leased slot, up to so many rows and to the row with which there are so many resources;
    /// nothing if the lease was lost.
    pub async fn feed(&self, lease: &Lease, max: usize, resources: usize) -> Result<Vec<FeedItem>, Error> {
        let lease = lease.clone();
        self.query(move |connection| items(connection, &lease, max, resources)).await
    }

    /// What lies farther ahead in the leased slot, behind a position and behind what was looked through before.
    pub async fn look_ahead(&self, lease: &Lease, after: u64, max: usize) -> Result<Vec<FeedItem>, Error> {
        let lease = lease.clone();
        self.query(move |connection| {
            let scout: Option<i64> = connection
                .prepare_cached("SELECT scout FROM cursor WHERE destination = ?1 AND slot = ?2 AND epoch = ?3")?
                .query_row(params![lease.destination, lease.slot, lease.epoch as i64], |row| row.get(0))
                .optional()?;
            let Some(scout) = scout else { return Ok(Vec::new()) };
            behind_of(connection, &lease, after.max(scout as u64), max, usize::MAX)
        })
        .await
    }

    /// Takes items before their turn, and notes how far was looked; nothing if the lease was lost.
    pub async fn take_ahead(&self, lease: &Lease, to: u64, items: Vec<Failure>) -> Result<Fenced, Error> {
        let lease = lease.clone();
        self.writer
            .call(items.len().max(1), move |ledger| Ok(take_ahead(&ledger.connection, &lease, to, &items)?))
            .await
    }

    /// Moves the cursor, keeps what failed, records the audit: all or, if the lease was lost, nothing. The caller then
    /// records the audit of what it has sent by itself.
    pub async fn advance(
        &self,
        lease: &Lease,
        to: u64,
        failures: Vec<Failure>,
        records: Vec<AuditRecord>,
    ) -> Result<Fenced, Error> {
        let lease = lease.clone();
        let weight = (failures.len() + records.len()).max(1);
        self.writer.call(weight, move |ledger| Ok(advance(ledger, &lease, to, &failures, &records)?)).await
    }

    /// How much waits for a destination; what waits for another attempt is counted up to a number.
    pub async fn waiting(&self, destination: &str, most: u64) -> Result<u64, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| {
            let retries: i64 = connection
                .prepare_cached("SELECT COUNT(*) FROM (SELECT 1 FROM retry WHERE destination = ?1 LIMIT ?2) AS found")?
                .query_row(params![destination, i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))?;
            Ok(behind(connection, &destination)? + retries as u64)
        })
        .await
    }

    /// When what is still to come to a destination was taken in first; nothing where it has everything.
    pub async fn still_to_come(&self, destination: &str) -> Result<Option<i64>, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT MIN((SELECT f.at FROM feed f WHERE f.slot = c.slot AND f.pos > c.pos ORDER BY f.pos LIMIT 1))
                     FROM cursor c WHERE c.destination = ?1",
                )?
                .query_row([destination], |row| row.get(0))
        })
        .await
    }

    pub async fn backlog(&self, destination: &str) -> Result<Backlog, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| backlog(connection, &destination)).await
    }

    /// Of what waits beside the feed, how much is of persons who have restricted the processing: nobody tries it until they
    /// lift that.
    pub async fn restricted_backlog(&self, destination: &str) -> Result<u64, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| restricted(connection, &destination)).await
    }
}

/// Adds one row to the slot of the patient.
pub(super) fn append(
    connection: &Connection,
    patient: Option<PatientKey>,
    items: &[(u64, u32)],
    at_ms: i64,
) -> sql::Result<()> {
    let (bytes, patient) = (packed_items(items), patient.map(|patient| patient.0));
    let sum = sum(patient.as_ref().map(<[u8; 16]>::as_slice), at_ms, &bytes);
    connection
        .prepare_cached(
            "INSERT INTO feed (slot, pos, patient, at, items, sum)
             VALUES (?1, (SELECT COALESCE(MAX(pos), 0) + 1 FROM feed WHERE slot = ?1), ?2, ?3, ?4, ?5)",
        )?
        .post(params![slot(patient.map(PatientKey)), patient, at_ms, bytes, sum])?;
    Ok(())
}

/// By what a row is known to be as it was written.
fn sum(patient: Option<&[u8]>, at_ms: i64, items: &[u8]) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(patient.unwrap_or_default()).update(&at_ms.to_le_bytes()).update(items);
    let [first, second, third, fourth, ..] = *hasher.finalize().as_bytes();
    i64::from(u32::from_le_bytes([first, second, third, fourth]))
}

fn ensure(connection: &Connection, name: &str) -> sql::Result<()> {
    for slot in 0..SLOTS {
        connection
            .prepare_cached(
                "INSERT INTO cursor (destination, slot, pos, epoch, owner, until)
                 VALUES (?1, ?2, (SELECT COALESCE(MAX(pos), 0) FROM feed WHERE slot = ?2), 0, '', ?3)
                 ON CONFLICT DO NOTHING",
            )?
            .post(params![name, slot, i64::MIN])?;
    }
    Ok(())
}

/// Whoever holds the lock of the directory is alone, so the leases of earlier processes bind nobody.
pub(super) fn release(connection: &Connection) -> sql::Result<()> {
    connection.execute("UPDATE cursor SET until = ?1 WHERE until > ?1", [i64::MIN]).map(drop)
}

/// One worker's wish for slots.
struct Claim {
    destination: Arc<str>,
    worker: Arc<str>,
    now_ms: i64,
    until_ms: i64,
    want: usize,
}

impl Claim {
    fn take(&self, ledger: &mut Ledger) -> sql::Result<Vec<Lease>> {
        // What was leased longest ago comes first, so that busy slots do not starve the others.
        let mut statement = ledger.connection.prepare_cached(
            "SELECT slot, epoch, owner = ?2 AND until > ?3 AS held FROM cursor c
             WHERE destination = ?1 AND (until <= ?3 OR owner = ?2)
             AND EXISTS (SELECT 1 FROM feed f WHERE f.slot = c.slot AND f.pos > c.pos)
             ORDER BY until, slot LIMIT ?4",
        )?;
        let free: Vec<(u16, i64, bool)> = statement
            .query_map(params![self.destination, self.worker, self.now_ms, self.want as i64], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        drop(statement);
        let mut leases = Vec::with_capacity(free.len());
        for (slot, epoch, held) in free {
            let epoch = if held { epoch } else { epoch + 1 };
            if !held {
                // Who had it before may be gone without a word.
                audit::tell(ledger, &self.destination, Task::Slot(slot))?;
            }
            ledger
                .connection
                .prepare_cached(
                    "UPDATE cursor SET epoch = ?3, owner = ?4, until = ?5 WHERE destination = ?1 AND slot = ?2",
                )?
                .post(params![self.destination, slot, epoch, self.worker, self.until_ms])?;
            leases.push(Lease {
                destination: self.destination.clone(),
                slot,
                worker: self.worker.clone(),
                epoch: epoch as u64,
                until_ms: self.until_ms,
            });
        }
        Ok(leases)
    }
}

/// What follows the cursor; nothing when the lease was handed over.
fn items(connection: &Reader, lease: &Lease, max: usize, resources: usize) -> sql::Result<Vec<FeedItem>> {
    let pos: Option<i64> = connection
        .prepare_cached("SELECT pos FROM cursor WHERE destination = ?1 AND slot = ?2 AND epoch = ?3")?
        .query_row(params![lease.destination, lease.slot, lease.epoch as i64], |row| row.get(0))
        .optional()?;
    pos.map_or_else(|| Ok(Vec::new()), |pos| behind_of(connection, lease, pos as u64, max, resources))
}

/// What lies behind a position of the slot.
fn behind_of(connection: &Reader, lease: &Lease, pos: u64, max: usize, resources: usize) -> sql::Result<Vec<FeedItem>> {
    let mut statement = connection.prepare_cached(
        "SELECT f.pos, f.patient, f.items, f.at, f.sum,
                EXISTS (SELECT 1 FROM ahead a WHERE a.destination = ?1 AND a.slot = f.slot AND a.pos = f.pos)
         FROM feed f WHERE f.slot = ?2 AND f.pos > ?3 ORDER BY f.pos LIMIT ?4",
    )?;
    let mut rows = statement.query(params![lease.destination, lease.slot, pos as i64, max as i64])?;
    let (mut found, mut opened) = (Vec::new(), 0);
    while opened < resources
        && let Some(row) = rows.next()?
    {
        let Line { pos, patient, named } = line(connection, lease.slot, &row)?;
        if row.get(5)? {
            found.push(FeedItem { pos, patient, ahead: true, ..FeedItem::default() });
            continue;
        }
        let parked = match named.first() {
            Some((seq, _)) => retry::waits(connection, &lease.destination, patient, *seq)?,
            None => false,
        };
        let (mut items, mut damaged) = (Vec::with_capacity(named.len()), Vec::new());
        for (seq, version) in named {
            match row::version(connection, seq, version) {
                Err(Fault::Damaged(_)) => damaged.push((seq, version)),
                read => items.extend(read?),
            }
        }
        opened += items.len();
        found.push(FeedItem { pos, patient, items, damaged, parked, ahead: false });
    }
    Ok(found)
}

/// A row of the feed.
struct Line {
    pos: u64,
    patient: Option<PatientKey>,
    named: Vec<(u64, u32)>,
}

/// A row as it was written, or what is left of it: where it is damaged, whatever of the person was written about then.
fn line(connection: &Connection, slot_of: u16, row: &Row<'_>) -> sql::Result<Line> {
    let (pos, at_ms) = (row.get::<i64>(0)?, row.get::<i64>(3)?);
    let (patient, items) = (row.get::<Option<Vec<u8>>>(1)?, row.get_ref(2)?.as_blob()?);
    let patient = patient.as_deref();
    let kept: i64 = row.get(4)?;
    let known = patient.map(|patient| <[u8; 16]>::try_from(patient).map(PatientKey)).transpose();
    let known = known.ok().filter(|patient| slot(*patient) == slot_of);
    let is_whole = kept == sum(patient, at_ms, items);
    let pos = pos as u64;
    match known {
        Some(patient) if is_whole => Ok(Line { pos, patient, named: named_items(items) }),
        Some(patient) => {
            tracing::error!(
                slot = slot_of,
                pos,
                at_ms,
                "store: a row of the feed is damaged; what was written then is told"
            );
            Ok(Line { pos, patient, named: written_about(connection, patient, at_ms)? })
        }
        None => {
            tracing::error!(
                slot = slot_of,
                pos,
                at_ms,
                "store: a row of the feed is damaged, and nobody knows whose it is; replay that time"
            );
            Ok(Line { pos, patient: None, named: Vec::new() })
        }
    }
}

/// What stands of the person, or of nobody, and was written shortly before that moment.
fn written_about(connection: &Connection, patient: Option<PatientKey>, at_ms: i64) -> sql::Result<Vec<(u64, u32)>> {
    let (from_ms, until_ms) = (at_ms.saturating_sub(WRITTEN_WITHIN_MS), at_ms);
    let named = |row: &Row<'_>| Ok((row.get::<i64>(0)? as u64, row.get(1)?));
    match patient {
        Some(patient) => connection
            .prepare_cached(
                "SELECT seq, version FROM resource
                 WHERE seq IN (SELECT e.seq FROM entry e WHERE e.patient = ?1) AND updated BETWEEN ?2 AND ?3 ORDER BY seq",
            )?
            .query_map(params![patient.0, from_ms, until_ms], named)?
            .collect(),
        None => connection
            .prepare_cached(
                "SELECT seq, version FROM resource WHERE kind IN (SELECT id FROM kind) AND patient IS NULL
                 AND updated BETWEEN ?1 AND ?2 ORDER BY seq",
            )?
            .query_map(params![from_ms, until_ms], named)?
            .collect(),
    }
}

/// Sums every row up as it is.
pub(super) fn sum_up_all(connection: &Connection) -> sql::Result<()> {
    for slot in 0..SLOTS {
        let mut last = 0;
        loop {
            let rows: Vec<(i64, i64)> = connection
                .prepare_cached(
                    "SELECT pos, patient, at, items FROM feed WHERE slot = ?1 AND pos > ?2 ORDER BY pos LIMIT 1000",
                )?
                .query_map(params![slot, last], |row| {
                    let patient: Option<Vec<u8>> = row.get(1)?;
                    Ok((row.get(0)?, sum(patient.as_deref(), row.get(2)?, row.get_ref(3)?.as_blob()?)))
                })?
                .collect::<Result<_, _>>()?;
            for (pos, sum) in &rows {
                connection
                    .prepare_cached("UPDATE feed SET sum = ?3 WHERE slot = ?1 AND pos = ?2")?
                    .post(params![slot, *pos, *sum])?;
            }
            let Some((pos, _)) = rows.last() else { break };
            last = *pos;
        }
    }
    Ok(())
}

/// How many rows of the feed are not as they were written.
pub(super) fn broken(connection: &Connection) -> sql::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT patient, items, at, sum FROM feed")?;
    let mut rows = statement.query(())?;
    let mut broken = 0;
    while let Some(row) = rows.next()? {
        let patient: Option<Vec<u8>> = row.get(0)?;
        let found = sum(patient.as_deref(), row.get(2)?, row.get_ref(1)?.as_blob()?);
        broken += i64::from(row.get::<i64>(3)? != found);
    }
    Ok(broken)
}

pub(super) fn advance(
    ledger: &mut Ledger,
    lease: &Lease,
    to: u64,
    failures: &[Failure],
    records: &[AuditRecord],
) -> sql::Result<Fenced> {
    let connection = &ledger.connection;
    let held = connection
        .prepare_cached("UPDATE cursor SET pos = CASE WHEN pos < ?4 THEN ?4 ELSE pos END WHERE destination = ?1 AND slot = ?2 AND epoch = ?3")?
        .execute(params![lease.destination, lease.slot, lease.epoch as i64, to as i64])?;
    if held == 0 {
        return Ok(Fenced::Lost);
    }
    connection
        .prepare_cached("DELETE FROM ahead WHERE destination = ?1 AND slot = ?2 AND pos <= ?3")?
        .post(params![lease.destination, lease.slot, to as i64])?;
    for failure in failures {
        retry::enter(connection, &lease.destination, failure)?;
    }
    audit::forget(connection, &lease.destination, Task::Slot(lease.slot))?;
    audit::store(ledger, records)?;
    Ok(Fenced::Held)
}

fn take_ahead(connection: &Connection, lease: &Lease, to: u64, items: &[Failure]) -> sql::Result<Fenced> {
    let held = connection
        .prepare_cached("UPDATE cursor SET scout = ?4 WHERE destination = ?1 AND slot = ?2 AND epoch = ?3")?
        .execute(params![lease.destination, lease.slot, lease.epoch as i64, to as i64])?;
    if held == 0 {
        return Ok(Fenced::Lost);
    }
    for item in items {
        connection
            .prepare_cached("INSERT INTO ahead (destination, slot, pos) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .post(params![lease.destination, lease.slot, item.pos as i64])?;
        retry::enter(connection, &lease.destination, item)?;
    }
    Ok(Fenced::Held)
}

const BEHIND: &str =
    "SELECT CAST(COALESCE(SUM((SELECT COALESCE(MAX(pos), 0) FROM feed f WHERE f.slot = c.slot) - c.pos), 0) AS BIGINT)
     FROM cursor c WHERE destination = ?1";

fn count(connection: &Connection, sql: &str, destination: &str) -> sql::Result<u64> {
    let count: Option<i64> = connection.prepare_cached(sql)?.query_row([destination], |row| row.get(0)).optional()?;
    Ok(count.unwrap_or(0).max(0) as u64)
}

/// Feed rows after the cursors.
fn behind(connection: &Connection, destination: &str) -> sql::Result<u64> {
    count(connection, BEHIND, destination)
}

pub(super) fn restricted(connection: &Connection, destination: &str) -> sql::Result<u64> {
    let sql = "SELECT COUNT(*) FROM retry t JOIN patient_state p ON p.patient = t.patient
               WHERE t.destination = ?1 AND p.restricted IS NOT NULL";
    count(connection, sql, destination)
}

pub(super) fn backlog(connection: &Connection, destination: &str) -> sql::Result<Backlog> {
    Ok(Backlog {
        behind: behind(connection, destination)?,
        retries: count(connection, "SELECT COUNT(*) FROM retry WHERE destination = ?1", destination)?,
        dead: count(connection, "SELECT COUNT(*) FROM dead WHERE destination = ?1", destination)?,
    })
}
