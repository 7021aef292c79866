//! Forgetting what is old, a little at a time: records of the audit, rows of the feed that everybody has, remembered
//! answers, and resources that the caller names.
//!
//! Of the feed each slot keeps its last row, which the next position follows. Of the audit the entries in the log stay.

use super::writer::Ledger;
use super::{Store, accept, audit, erase, retry, subscriptions};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, SLOTS};
use crate::store::sql::{self, Connection, Optional, params};
use crate::store::tidying::Tidying;
use crate::store::unit::AuditRecord;

/// Rows of a kind that one step takes away.
const STEP: i64 = 500;

impl Store {
    /// Forgets a little of what is old; false when there is no more.
    pub async fn tidy(&self, tidying: Tidying) -> Result<bool, Error> {
        self.writer.call(STEP as usize, move |ledger| Ok(tidy(&ledger.connection, &tidying)?)).await
    }

    /// Forgets the versions of a resource before the current one. Durable when it returns.
    pub async fn forget_earlier(&self, seq: u64) -> Result<(), Error> {
        let forget = move |ledger: &mut Ledger| {
            let sql = "DELETE FROM history WHERE seq = ?1";
            ledger.connection.prepare_cached(sql)?.execute([seq as i64]).map(drop)
        };
        self.writer.call(1, move |ledger| Ok(forget(ledger)?)).await
    }

    /// Takes resources of persons away, by their sequence numbers and versions, with all their versions.
    pub async fn remove(&self, old: Vec<(u64, u32)>, records: Vec<AuditRecord>) -> Result<(), Error> {
        self.writer.call(old.len().max(1), move |ledger| Ok(remove(ledger, &old, &records)?)).await
    }
}

fn tidy(connection: &Connection, tidying: &Tidying) -> sql::Result<bool> {
    // Their entries in the log stay, and it must be known of each that nobody took its record away in secret.
    connection
        .prepare_cached(
            "INSERT INTO audit_forgotten (entry)
             SELECT entry FROM (SELECT entry, at FROM audit ORDER BY seq LIMIT ?2) oldest
             WHERE at < ?1 AND entry IS NOT NULL",
        )?
        .execute(params![tidying.audit_before_ms, STEP])?;
    let mut gone = connection
        .prepare_cached(
            "DELETE FROM audit WHERE seq IN (SELECT seq FROM (SELECT seq, at FROM audit ORDER BY seq LIMIT ?2) oldest
             WHERE at < ?1)",
        )?
        .execute(params![tidying.audit_before_ms, STEP])?;
    gone += connection
        .prepare_cached(
            "DELETE FROM idem WHERE (client, key) IN (SELECT client, key FROM idem WHERE at < ?1 LIMIT ?2)",
        )?
        .execute(params![tidying.now_ms.saturating_sub(accept::IDEMPOTENCY_MS), STEP])?;
    gone += subscriptions::forget(connection, tidying.feed_before_ms, STEP)?;
    for slot in 0..SLOTS {
        gone += forget_delivered(connection, slot, tidying)?;
    }
    Ok(gone > 0)
}

fn forget_delivered(connection: &Connection, slot: u16, tidying: &Tidying) -> sql::Result<usize> {
    let last: Option<i64> =
        connection.prepare_cached("SELECT MAX(pos) FROM feed WHERE slot = ?1")?.query_row([slot], |row| row.get(0))?;
    let Some(last) = last else { return Ok(0) };
    let mut until = last;
    for destination in &tidying.destinations {
        let position: Option<i64> = connection
            .prepare_cached("SELECT pos FROM cursor WHERE destination = ?1 AND slot = ?2")?
            .query_row(params![destination, slot], |row| row.get(0))
            .optional()?;
        until = until.min(position.map_or(0, |position| position + 1));
    }
    connection
        .prepare_cached(
            "DELETE FROM feed WHERE slot = ?1 AND pos IN (SELECT pos FROM
             (SELECT pos, at FROM feed WHERE slot = ?1 AND pos < ?2 ORDER BY pos LIMIT ?4) oldest WHERE at < ?3)",
        )?
        .execute(params![slot, until, tidying.feed_before_ms, STEP])
}

fn remove(ledger: &mut Ledger, old: &[(u64, u32)], records: &[AuditRecord]) -> sql::Result<()> {
    let connection = &ledger.connection;
    for (seq, version) in old {
        let patient: Option<[u8; 16]> = connection
            .prepare_cached("SELECT patient FROM resource WHERE seq = ?1 AND version = ?2 AND patient IS NOT NULL")?
            .query_row(params![*seq as i64, version], |row| row.get(0))
            .optional()?;
        if let Some(patient) = patient.map(PatientKey) {
            // What waits for it would wait for ever, and others behind it.
            retry::forget(connection, patient, *seq)?;
            erase::resource(connection, patient, *seq as i64)?;
        }
    }
    audit::store(ledger, records)
}
