//! Subscriptions and their events, in two tables.
//!
//! A turn is a lease that ends when it is settled. Numbers are given by comparing the count that the caller has seen, so
//! that whoever was slower decides again. `wake` is when a subscription is to be looked at; what is filed for it makes it
//! due at once, and settling a turn keeps it due while something still waits.

use std::sync::Arc;

use super::pool::Reader;
use super::writer::Ledger;
use super::{Store, audit, feed, row};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, SLOTS};
use crate::store::outbox::{Fenced, Lease, Task};
use crate::store::seal::Broken;
use crate::store::sql::{self, Connection, Optional, Row, params};
use crate::store::subscription::{Asked, Course, Fate, Happened, Numbered, Placed, Subscription, TurnEnd, Waiting};
use crate::store::unit::AuditRecord;

/// Versions that are kept beside the one that stands.
const KEPT: i64 = 100;

const COLUMNS: &str =
    "SELECT id, client, version, updated, status, error, body, granted, secret, starts, events, taken,
     failures, not_before, told, sends, epoch FROM subscription";

/// What is foretold of a subscription's sends.
const TURN: Task = Task::Slot(0);

impl Store {
    /// Keeps a new subscription, or what a client makes of one. `follower` is who files events; where nobody had any, it
    /// begins at the feed's end.
    pub async fn put_subscription(&self, asked: Asked, most: u32, follower: &str) -> Result<Placed, Error> {
        let follower = follower.to_owned();
        self.writer.call(1, move |ledger| put(ledger, &asked, most, &follower)).await
    }

    pub async fn subscription(&self, id: &str) -> Result<Option<Subscription>, Error> {
        let id = id.to_owned();
        self.query(move |reader| one(reader, &id)).await
    }

    /// The one that stands and those before it, the latest first, as far as they are kept; without their secrets.
    pub async fn subscription_versions(&self, id: &str) -> Result<Vec<Subscription>, Error> {
        let id = id.to_owned();
        self.query(move |reader| versions(reader, &id)).await
    }

    /// Those of a client, in the order of their ids.
    pub async fn subscriptions_of(&self, client: &str) -> Result<Vec<Subscription>, Error> {
        let client = client.to_owned();
        self.query(move |reader| all(reader, &format!("{COLUMNS} WHERE client = ?1 ORDER BY id"), params![client]))
            .await
    }

    /// All of them, without their secrets.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, Error> {
        self.query(|reader| bare(reader, &format!("{COLUMNS} ORDER BY client, id"))).await
    }

    /// Ends one for its client, whatever is under way; whether there was one.
    pub async fn end_subscription(&self, id: &str, status: &str, reason: &str, now_ms: i64) -> Result<bool, Error> {
        let (id, status, reason) = (id.to_owned(), status.to_owned(), reason.to_owned());
        let end = move |connection: &Connection| {
            keep(connection, &id)?;
            let ended = connection
                .prepare_cached(
                    "UPDATE subscription SET status = ?2, error = ?3, version = version + 1, updated = ?4,
                     epoch = epoch + 1, until = 0, wake = ?5 WHERE id = ?1",
                )?
                .execute(params![id, status, reason, now_ms, i64::MAX])?;
            go_on(connection, &id, Course::Ends, "")?;
            Ok::<_, sql::Fault>(ended > 0)
        };
        self.writer.call(1, move |ledger| Ok(end(&ledger.connection)?)).await
    }

    /// Those that have events, without their secrets.
    pub async fn subscriptions_live(&self) -> Result<Vec<Subscription>, Error> {
        self.query(|reader| bare(reader, &format!("{COLUMNS} WHERE starts IS NOT NULL ORDER BY id"))).await
    }

    /// Takes a client's subscription away with all its events; whether there was one.
    pub async fn remove_subscription(&self, client: &str, id: &str, record: AuditRecord) -> Result<bool, Error> {
        let (client, id) = (client.to_owned(), id.to_owned());
        self.writer.call(1, move |ledger| Ok(remove(ledger, &client, &id, record)?)).await
    }

    /// Takes away past versions that a text stands in.
    pub async fn forget_subscriptions_naming(&self, text: &str) -> Result<(), Error> {
        let text = text.to_owned();
        let forget = move |connection: &Connection| {
            let mut statement = connection.prepare_cached("SELECT id, version, body FROM subscription_past")?;
            let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let past: Vec<(String, u32, Vec<u8>)> = rows.collect::<sql::Result<_>>()?;
            for (id, version, _) in past.iter().filter(|(.., body)| String::from_utf8_lossy(body).contains(&text)) {
                connection
                    .prepare_cached("DELETE FROM subscription_past WHERE id = ?1 AND version = ?2")?
                    .post(params![id, version])?;
            }
            Ok::<_, sql::Fault>(())
        };
        self.writer.call(1, move |ledger| Ok(forget(&ledger.connection)?)).await
    }

    /// Files what happened in a batch of the feed and moves its follower on: both or, if the lease was lost, neither.
    pub async fn file_events(&self, lease: &Lease, to: u64, happened: Vec<Happened>) -> Result<Fenced, Error> {
        let lease = lease.clone();
        self.writer.call(happened.len().max(1), move |ledger| Ok(file(ledger, &lease, to, &happened)?)).await
    }

    /// Subscriptions whose turn it is, each for this worker alone until then.
    pub async fn lease_subscriptions(
        &self,
        worker: &str,
        now_ms: i64,
        ttl_ms: i64,
        want: usize,
    ) -> Result<Vec<Subscription>, Error> {
        let worker = worker.to_owned();
        let until_ms = now_ms.saturating_add(ttl_ms);
        self.writer.call(1, move |ledger| take(ledger, &worker, (now_ms, until_ms), want)).await
    }

    /// A turn of one subscription, for whoever it is due for anyway; none where another has it.
    pub async fn lease_subscription(
        &self,
        id: &str,
        worker: &str,
        now_ms: i64,
        ttl_ms: i64,
    ) -> Result<Option<Subscription>, Error> {
        let (id, worker, until_ms) = (id.to_owned(), worker.to_owned(), now_ms.saturating_add(ttl_ms));
        self.writer.call(1, move |ledger| take_one(ledger, &id, &worker, now_ms, until_ms)).await
    }

    /// When the next subscription is due.
    pub async fn next_subscription(&self) -> Result<Option<i64>, Error> {
        self.query(|reader| {
            let sql = "SELECT MIN(CASE WHEN until > wake AND until > not_before THEN until
                     WHEN wake > not_before THEN wake ELSE not_before END)
                 FROM subscription WHERE wake < ?1";
            reader.prepare_cached(sql)?.query_row([i64::MAX], |row| row.get(0))
        })
        .await
    }

    /// Events without a number whose time has come, in order.
    pub async fn events_waiting(&self, id: &str, now_ms: i64, most: usize) -> Result<Vec<Waiting>, Error> {
        let id = id.to_owned();
        self.query(move |reader| waiting(reader, &id, now_ms, most)).await
    }

    /// Gives numbers, if still as many have one as the caller has seen; how many have one now, or none.
    pub async fn number_events(
        &self,
        id: &str,
        seen: u64,
        fates: Vec<(i64, Fate)>,
        records: Vec<AuditRecord>,
    ) -> Result<Option<u64>, Error> {
        let id = id.to_owned();
        let weight = (fates.len() + records.len()).max(1);
        self.writer.call(weight, move |ledger| Ok(number(ledger, &id, seen, &fates, &records)?)).await
    }

    /// Events by their numbers, both bounds included.
    pub async fn events_numbered(&self, id: &str, from: u64, to: u64, most: usize) -> Result<Vec<Numbered>, Error> {
        let id = id.to_owned();
        self.query(move |reader| numbered(reader, &id, (from, to), most)).await
    }

    /// Ends a turn: all or, if it was lost, nothing.
    pub async fn settle_subscription(
        &self,
        subscription: &Subscription,
        end: TurnEnd,
        records: Vec<AuditRecord>,
        follower: &str,
    ) -> Result<Fenced, Error> {
        let (id, epoch, follower) = (subscription.id.clone(), subscription.epoch, follower.to_owned());
        self.writer.call(1, move |ledger| Ok(settle(ledger, &id, epoch, &end, &records, &follower)?)).await
    }

    /// What is true of a send should this process not live to settle the turn.
    pub async fn foretell_subscription(&self, id: &str, records: Vec<AuditRecord>) -> Result<(), Error> {
        self.foretell(&sender(id), TURN, records).await
    }
}

/// Under which name sends of a subscription are foretold.
fn sender(id: &str) -> String {
    format!("Subscription/{id}")
}

/// What a sealed text is: what a subscription's client wants to be kept secret.
fn secret_of(id: &str) -> Vec<u8> {
    [b"sub\0", id.as_bytes()].concat()
}

fn put(ledger: &mut Ledger, asked: &Asked, most: u32, follower: &str) -> Result<Placed, Error> {
    let count = |connection: &Connection| -> sql::Result<i64> {
        connection
            .prepare_cached("SELECT COUNT(*) FROM subscription WHERE client = ?1")?
            .query_row(params![asked.client], |row| row.get(0))
    };
    if asked.follows == 0 && count(&ledger.connection)? >= i64::from(most) {
        return Ok(Placed::Full);
    }
    let secret = ledger.keys.sealed(&secret_of(&asked.id), &asked.secret).map_err(|Broken| Error::Sealing)?;
    let version = asked.follows.saturating_add(1);
    let connection = &ledger.connection;
    let placed = if asked.follows == 0 {
        connection
            .prepare_cached(
                "INSERT INTO subscription (id, client, version, updated, status, body, granted, secret, events, taken,
                 failures, not_before, told, wake, sends, epoch, owner, until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, 0, 0, ?4, ?4, ?9, 0, '', 0) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                asked.id,
                asked.client,
                version,
                asked.now_ms,
                asked.status,
                asked.body,
                asked.granted,
                secret,
                asked.sends
            ])?
    } else {
        keep(connection, &asked.id)?;
        // Whoever is at its turn is at that of another subscription now.
        connection
            .prepare_cached(
                "UPDATE subscription SET version = ?3, updated = ?4, status = ?5, error = NULL, body = ?6, granted = ?7,
                 secret = ?8, sends = ?9, failures = 0, not_before = 0, told = ?4, wake = ?4, epoch = epoch + 1, until = 0
                 WHERE id = ?1 AND client = ?2 AND version = ?10",
            )?
            .execute(params![
                asked.id, asked.client, version, asked.now_ms, asked.status, asked.body, asked.granted, secret,
                asked.sends, asked.follows
            ])?
    };
    if placed == 0 {
        return Ok(Placed::Moved);
    }
    go_on(connection, &asked.id, asked.course, follower)?;
    audit::store(ledger, std::slice::from_ref(&asked.record))?;
    Ok(Placed::Done)
}

/// Where its events begin, go on or end.
fn go_on(connection: &Connection, id: &str, course: Course, follower: &str) -> sql::Result<()> {
    match course {
        Course::GoesOn => Ok(()),
        Course::Begins => {
            let others: bool = connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM subscription WHERE starts IS NOT NULL)")?
                .query_row((), |row| row.get(0))?;
            let mut starts = Vec::with_capacity(usize::from(SLOTS));
            for slot in 0..SLOTS {
                let last: i64 = connection
                    .prepare_cached("SELECT COALESCE(MAX(pos), 0) FROM feed WHERE slot = ?1")?
                    .query_row([slot], |row| row.get(0))?;
                starts.push(last);
                if !others {
                    // Nobody was followed for: what lies before is nobody's.
                    connection
                        .prepare_cached("UPDATE cursor SET pos = ?3 WHERE destination = ?1 AND slot = ?2 AND pos < ?3")?
                        .post(params![follower, slot, last])?;
                }
            }
            connection
                .prepare_cached("UPDATE subscription SET starts = ?2 WHERE id = ?1 AND starts IS NULL")?
                .post(params![id, row::pack(&starts)])
        }
        Course::Ends => {
            connection.prepare_cached("UPDATE subscription SET starts = NULL WHERE id = ?1")?.post(params![id])?;
            connection.prepare_cached("DELETE FROM event WHERE subscription = ?1 AND number IS NULL")?.post(params![id])
        }
    }
}

/// A subscription with its secret still sealed.
fn sealed(row: &Row<'_>) -> sql::Result<Subscription> {
    let starts = row.get_ref(9)?.as_blob_or_null()?;
    Ok(Subscription {
        id: row.get(0)?,
        client: row.get(1)?,
        version: row.get(2)?,
        updated_ms: row.get(3)?,
        status: row.get(4)?,
        error: row.get(5)?,
        body: row.get(6)?,
        granted: row.get(7)?,
        secret: row.get(8)?,
        starts: starts.map(|starts| row::unpack(Some(starts)).into_iter().map(|pos| pos as u64).collect()),
        events: row.get::<i64>(10)? as u64,
        taken: row.get::<i64>(11)? as u64,
        failures: row.get(12)?,
        not_before_ms: row.get(13)?,
        told_ms: row.get(14)?,
        sends: row.get(15)?,
        epoch: row.get::<i64>(16)? as u64,
    })
}

fn all(reader: &Reader, sql: &str, values: impl sql::Params) -> sql::Result<Vec<Subscription>> {
    let found: Vec<Subscription> =
        reader.prepare_cached(sql)?.query_map(values, sealed)?.collect::<sql::Result<_>>()?;
    found.into_iter().map(|each| opened(&reader.keys, each)).collect()
}

/// Without their secrets, which nobody opens for nothing.
fn bare(reader: &Reader, sql: &str) -> sql::Result<Vec<Subscription>> {
    let mut found: Vec<Subscription> =
        reader.prepare_cached(sql)?.query_map((), sealed)?.collect::<sql::Result<_>>()?;
    for each in &mut found {
        each.secret.clear();
    }
    Ok(found)
}

fn one(reader: &Reader, id: &str) -> sql::Result<Option<Subscription>> {
    let found = reader.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?.query_row([id], sealed).optional()?;
    found.map(|found| opened(&reader.keys, found)).transpose()
}

fn versions(reader: &Reader, id: &str) -> sql::Result<Vec<Subscription>> {
    let stands = reader.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?.query_row([id], sealed).optional()?;
    let Some(mut stands) = stands else { return Ok(Vec::new()) };
    stands.secret.clear();
    let mut statement = reader.prepare_cached(
        "SELECT version, updated, status, error, body FROM subscription_past WHERE id = ?1 AND version < ?2
         ORDER BY version DESC",
    )?;
    let before = |row: &Row<'_>| {
        Ok(Subscription {
            version: row.get(0)?,
            updated_ms: row.get(1)?,
            status: row.get(2)?,
            error: row.get(3)?,
            body: row.get(4)?,
            ..stands.clone()
        })
    };
    let past: Vec<Subscription> =
        statement.query_map(params![id, stands.version], before)?.collect::<sql::Result<_>>()?;
    Ok(std::iter::once(stands).chain(past).collect())
}

/// Keeps what stands before it changes. Should it not change, what is kept is what stands.
fn keep(connection: &Connection, id: &str) -> sql::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO subscription_past (id, version, updated, status, error, body)
             SELECT id, version, updated, status, error, body FROM subscription WHERE id = ?1 ON CONFLICT DO NOTHING",
        )?
        .post([id])?;
    connection
        .prepare_cached(
            "DELETE FROM subscription_past WHERE id = ?1
             AND version < (SELECT MAX(version) FROM subscription_past WHERE id = ?1) - ?2",
        )?
        .post(params![id, KEPT])
}

fn opened(keys: &super::keys::Keys, mut subscription: Subscription) -> sql::Result<Subscription> {
    let secret = std::mem::take(&mut subscription.secret);
    subscription.secret = keys.opened(&secret_of(&subscription.id), secret).map_err(super::keys::damaged)?;
    Ok(subscription)
}

fn remove(ledger: &mut Ledger, client: &str, id: &str, record: AuditRecord) -> sql::Result<bool> {
    // What may have been sent is on record, whatever becomes of the subscription.
    audit::tell(ledger, &sender(id), TURN)?;
    let connection = &ledger.connection;
    let gone = connection
        .prepare_cached("DELETE FROM subscription WHERE id = ?1 AND client = ?2")?
        .execute(params![id, client])?;
    if gone == 0 {
        return Ok(false);
    }
    connection.prepare_cached("DELETE FROM event WHERE subscription = ?1")?.post([id])?;
    connection.prepare_cached("DELETE FROM subscription_past WHERE id = ?1")?.post([id])?;
    audit::store(ledger, &[record])?;
    Ok(true)
}

fn file(ledger: &mut Ledger, lease: &Lease, to: u64, happened: &[Happened]) -> sql::Result<Fenced> {
    if feed::advance(ledger, lease, to, &[], &[])? == Fenced::Lost {
        return Ok(Fenced::Lost);
    }
    let connection = &ledger.connection;
    for each in happened {
        // It may have been ended or deleted meanwhile, and the person may have been erased.
        connection
            .prepare_cached(
                "INSERT INTO event (subscription, patient, seq, version, at, not_before)
                 SELECT ?1, ?2, ?3, ?4, ?5, 0
                 WHERE EXISTS (SELECT 1 FROM subscription WHERE id = ?1 AND starts IS NOT NULL)
                 AND NOT EXISTS (SELECT 1 FROM erased WHERE patient = ?2)",
            )?
            .post(params![
                each.subscription,
                each.patient.map(|patient| patient.0),
                each.seq as i64,
                each.version,
                each.at_ms
            ])?;
    }
    let mut named: Vec<&Arc<str>> = happened.iter().map(|each| &each.subscription).collect();
    named.dedup();
    for id in named {
        connection
            .prepare_cached("UPDATE subscription SET wake = 0 WHERE id = ?1 AND sends = 1 AND wake > 0")?
            .post(params![id])?;
    }
    Ok(Fenced::Held)
}

fn take(
    ledger: &mut Ledger,
    worker: &str,
    (now_ms, until_ms): (i64, i64),
    want: usize,
) -> Result<Vec<Subscription>, Error> {
    let due: Vec<Arc<str>> = ledger
        .connection
        .prepare_cached(
            "SELECT id FROM subscription WHERE wake <= ?1 AND not_before <= ?1 AND until <= ?1
             ORDER BY told, id LIMIT ?2",
        )?
        .query_map(params![now_ms, want as i64], |row| row.get(0))?
        .collect::<sql::Result<_>>()?;
    let mut taken = Vec::with_capacity(due.len());
    for id in due {
        taken.extend(take_one(ledger, &id, worker, now_ms, until_ms)?);
    }
    Ok(taken)
}

fn take_one(
    ledger: &mut Ledger,
    id: &str,
    worker: &str,
    now_ms: i64,
    until_ms: i64,
) -> Result<Option<Subscription>, Error> {
    let taken = ledger
        .connection
        .prepare_cached(
            "UPDATE subscription SET epoch = epoch + 1, owner = ?2, until = ?4 WHERE id = ?1 AND until <= ?3",
        )?
        .execute(params![id, worker, now_ms, until_ms])?;
    if taken == 0 {
        return Ok(None);
    }
    // Who had it before may be gone without a word.
    audit::tell(ledger, &sender(id), TURN)?;
    let found =
        ledger.connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?.query_row([id], sealed).optional()?;
    Ok(found.map(|found| opened(&ledger.keys, found)).transpose()?)
}

fn waiting(reader: &Reader, id: &str, now_ms: i64, most: usize) -> sql::Result<Vec<Waiting>> {
    let rows: Vec<(i64, i64, i64, u32)> = reader
        .prepare_cached(
            "SELECT id, at, seq, version FROM event e WHERE subscription = ?1 AND number IS NULL AND not_before <= ?2
             AND NOT EXISTS (SELECT 1 FROM event h WHERE h.subscription = ?1 AND h.patient = e.patient AND h.id < e.id
                 AND h.not_before > 0 AND h.not_before > ?2)
             ORDER BY id LIMIT ?3",
        )?
        .query_map(params![id, now_ms, most as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<sql::Result<_>>()?;
    let waiting = |(id, at_ms, seq, version): (i64, i64, i64, u32)| {
        Ok(Waiting { id, at_ms, stored: row::spared(row::version(reader, seq as u64, version))? })
    };
    rows.into_iter().map(waiting).collect()
}

fn number(
    ledger: &mut Ledger,
    id: &str,
    seen: u64,
    fates: &[(i64, Fate)],
    records: &[AuditRecord],
) -> sql::Result<Option<u64>> {
    let connection = &ledger.connection;
    let stands: Option<i64> = connection
        .prepare_cached("SELECT events FROM subscription WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    if stands != Some(seen as i64) {
        return Ok(None);
    }
    let mut last = seen;
    for (event, fate) in fates {
        match fate {
            Fate::Told => {
                // Its person may have been erased meanwhile, and then it is none.
                let told = connection
                    .prepare_cached(
                        "UPDATE event SET number = ?3, not_before = 0
                         WHERE id = ?1 AND subscription = ?2 AND number IS NULL",
                    )?
                    .execute(params![event, id, last as i64 + 1])?;
                last += told as u64;
            }
            Fate::Withheld => connection
                .prepare_cached("DELETE FROM event WHERE id = ?1 AND subscription = ?2 AND number IS NULL")?
                .post(params![event, id])?,
            Fate::Held { until_ms } => connection
                .prepare_cached(
                    "UPDATE event SET not_before = ?3 WHERE id = ?1 AND subscription = ?2 AND number IS NULL",
                )?
                .post(params![event, id, until_ms])?,
        }
    }
    connection.prepare_cached("UPDATE subscription SET events = ?2 WHERE id = ?1")?.post(params![id, last as i64])?;
    audit::store(ledger, records)?;
    Ok(Some(last))
}

fn numbered(reader: &Reader, id: &str, (from, to): (u64, u64), most: usize) -> sql::Result<Vec<Numbered>> {
    let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let rows: Vec<(i64, i64, i64, u32)> = reader
        .prepare_cached(
            "SELECT number, at, seq, version FROM event WHERE subscription = ?1 AND number >= ?2 AND number <= ?3
             ORDER BY number LIMIT ?4",
        )?
        .query_map(params![id, bound(from), bound(to), most as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<sql::Result<_>>()?;
    let numbered = |(number, at_ms, seq, version): (i64, i64, i64, u32)| {
        Ok(Numbered { number: number as u64, at_ms, stored: row::spared(row::version(reader, seq as u64, version))? })
    };
    rows.into_iter().map(numbered).collect()
}

fn settle(
    ledger: &mut Ledger,
    id: &str,
    epoch: u64,
    end: &TurnEnd,
    records: &[AuditRecord],
    follower: &str,
) -> sql::Result<Fenced> {
    let connection = &ledger.connection;
    let becomes_other = connection
        .prepare_cached("SELECT 1 FROM subscription WHERE id = ?1 AND epoch = ?2 AND status <> ?3")?
        .query_row(params![id, epoch as i64, end.status], |_| Ok(()))
        .optional()?;
    if becomes_other.is_some() {
        keep(connection, id)?;
    }
    let held = connection
        .prepare_cached(
            "UPDATE subscription SET version = version + CASE WHEN status = ?3 THEN 0 ELSE 1 END,
             updated = CASE WHEN status = ?3 THEN updated ELSE ?4 END, status = ?3, error = ?5, failures = ?6,
             not_before = ?7, told = ?8, taken = ?9, until = 0, wake = ?10 WHERE id = ?1 AND epoch = ?2",
        )?
        .execute(params![
            id,
            epoch as i64,
            end.status,
            end.now_ms,
            end.error,
            end.failures,
            end.not_before_ms,
            end.told_ms,
            end.taken as i64,
            end.wake_ms
        ])?;
    if held == 0 {
        return Ok(Fenced::Lost);
    }
    go_on(connection, id, end.course, follower)?;
    // What was filed since this turn began is for the next one.
    connection
        .prepare_cached(
            "UPDATE subscription SET wake = (SELECT MIN(not_before) FROM event WHERE subscription = ?1 AND number IS NULL)
             WHERE id = ?1 AND sends = 1
             AND wake > (SELECT MIN(not_before) FROM event WHERE subscription = ?1 AND number IS NULL)",
        )?
        .post([id])?;
    audit::forget(connection, &sender(id), TURN)?;
    audit::store(ledger, records)?;
    Ok(Fenced::Held)
}

/// Turns that a process that is gone had taken.
pub(super) fn release(connection: &Connection) -> sql::Result<()> {
    connection.execute("UPDATE subscription SET until = 0 WHERE until > 0", ()).map(drop)
}

/// What waits of a person is looked at at once.
pub(super) fn due_at_once(connection: &Connection, patient: PatientKey) -> sql::Result<()> {
    connection
        .prepare_cached(
            "UPDATE subscription SET wake = 0 WHERE sends = 1
             AND id IN (SELECT subscription FROM event WHERE patient = ?1 AND not_before > 0)",
        )?
        .post([patient.0])?;
    connection
        .prepare_cached("UPDATE event SET not_before = 0 WHERE patient = ?1 AND not_before > 0")?
        .post([patient.0])
}

/// Of an erased person no event waits, and those that have a number say nothing any more.
pub(super) fn erase(connection: &Connection, patient: PatientKey) -> sql::Result<()> {
    connection.prepare_cached("DELETE FROM event WHERE patient = ?1 AND number IS NULL")?.post([patient.0])?;
    connection
        .prepare_cached("UPDATE event SET patient = NULL, seq = 0, version = 0 WHERE patient = ?1")?
        .post([patient.0])
}

/// Forgets some events that were told before a moment, or can be told no more.
pub(super) fn forget(connection: &Connection, before_ms: i64, step: i64) -> sql::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE number IS NOT NULL AND at < ?1 LIMIT ?2)",
        )?
        .execute(params![before_ms, step])
}
