//! What destinations are still to be told of erased persons, and when what a person has said ends by itself.
//!
//! A remnant is a name that the destination knows; it stands from the transaction that takes the record of the disclosure
//! away until the destination was told, and is all that is left of either. A turn is the moment at which time alone changes
//! what consents permit: when it has come, the person's slot of the feed gets a row with one of her consents, as if it had
//! just been written, and whoever follows the feed looks at what they say.

use std::sync::Arc;

use super::writer::Ledger;
use super::{Store, audit, feed};
use crate::store::erasure::{Remaining, Remnant, Untold};
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::outbox::{Settlement, SettlementOutcome};
use crate::store::sql::{self, Connection, Row, params};
use crate::store::unit::AuditRecord;

impl Store {
    /// What a destination is to be told now of erased persons.
    pub async fn remnants_due(&self, destination: &str, now_ms: i64, most: usize) -> Result<Vec<Untold>, Error> {
        let destination = destination.to_owned();
        self.query(move |connection| due(connection, &destination, now_ms, most)).await
    }

    /// What became of telling it.
    pub async fn settle_remnants(
        &self,
        destination: &str,
        settled: Vec<Settlement>,
        records: Vec<AuditRecord>,
    ) -> Result<(), Error> {
        let destination = destination.to_owned();
        let weight = (settled.len() + records.len()).max(1);
        let settle = move |ledger: &mut Ledger| {
            for settlement in &settled {
                settle(&ledger.connection, &destination, settlement)?;
            }
            audit::store(ledger, &records)
        };
        self.writer.call(weight, move |ledger| Ok(settle(ledger)?)).await
    }

    /// What destinations are still to be told of an erased person.
    pub async fn remnants_of(&self, patient: PatientKey) -> Result<Vec<Remaining>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT destination, COUNT(CASE WHEN dead = 0 THEN 1 END), COUNT(CASE WHEN dead = 1 THEN 1 END) FROM remnant WHERE patient = ?1 GROUP BY destination",
                )?
                .query_map([patient.0], remaining)?
                .collect()
        })
        .await
    }

    /// Destinations that could not be told something of erased persons.
    pub async fn remnants_given_up(&self, destination: Option<&str>) -> Result<Vec<Remaining>, Error> {
        let destination = destination.map(str::to_owned);
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT destination, COUNT(CASE WHEN dead = 0 THEN 1 END), COUNT(CASE WHEN dead = 1 THEN 1 END) FROM remnant
                     WHERE CAST(?1 AS TEXT) IS NULL OR destination = ?1 GROUP BY destination HAVING COUNT(CASE WHEN dead = 1 THEN 1 END) > 0",
                )?
                .query_map([destination], remaining)?
                .collect()
        })
        .await
    }

    /// When time alone changes what the patient's consents permit; nothing if it never does.
    pub async fn set_turn(&self, patient: PatientKey, at_ms: Option<i64>) -> Result<(), Error> {
        let set = move |connection: &Connection| {
            match at_ms {
            Some(at_ms) => connection
                .prepare_cached(
                    "INSERT INTO consent_turn (patient, at) VALUES (?1, ?2) ON CONFLICT (patient) DO UPDATE SET at = excluded.at",
                )?
                .execute(params![patient.0, at_ms]),
            None => connection.prepare_cached("DELETE FROM consent_turn WHERE patient = ?1")?.execute([patient.0]),
        }
        };
        self.writer.call(1, move |ledger| Ok(set(&ledger.connection).map(drop)?)).await
    }

    /// Patients of whom that moment has come.
    pub async fn turns_due(&self, now_ms: i64, most: usize) -> Result<Vec<PatientKey>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached("SELECT patient FROM consent_turn WHERE at <= ?1 ORDER BY at LIMIT ?2")?
                .query_map(params![now_ms, most as i64], |row| Ok(PatientKey(row.get(0)?)))?
                .collect()
        })
        .await
    }

    /// Puts one of the patient's consents into the feed once more, so that whoever follows it looks at what they say now.
    pub async fn take_turn(&self, patient: PatientKey, now_ms: i64) -> Result<(), Error> {
        self.writer.call(1, move |ledger| Ok(take_turn(ledger, patient, now_ms)?)).await
    }
}

/// Takes note of names that destinations are to be told of.
pub(super) fn note(connection: &Connection, remnants: &[Remnant]) -> sql::Result<()> {
    for remnant in remnants {
        connection
            .prepare_cached(
                "INSERT INTO remnant (destination, patient, kind, name, attempts, not_before, reason, dead)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5, '', 0) ON CONFLICT DO NOTHING",
            )?
            .execute(params![remnant.destination, remnant.patient.0, remnant.kind, remnant.name, i64::MIN])?;
    }
    Ok(())
}

/// What was given up is told again.
pub(super) fn redrive(connection: &Connection, destination: &str) -> sql::Result<u64> {
    connection
        .prepare_cached(
            "UPDATE remnant SET dead = 0, attempts = 0, not_before = ?2 WHERE destination = ?1 AND dead = 1",
        )?
        .execute(params![destination, i64::MIN])
        .map(|count| count as u64)
}

fn due(connection: &Connection, destination: &str, now_ms: i64, most: usize) -> sql::Result<Vec<Untold>> {
    let destination: Arc<str> = Arc::from(destination);
    connection
        .prepare_cached(
            "SELECT id, attempts, patient, kind, name FROM remnant
             WHERE destination = ?1 AND dead = 0 AND not_before <= ?2 ORDER BY not_before, id LIMIT ?3",
        )?
        .query_map(params![destination, now_ms, most as i64], |row| {
            Ok(Untold {
                id: row.get(0)?,
                attempts: row.get(1)?,
                remnant: Remnant {
                    destination: destination.clone(),
                    patient: PatientKey(row.get(2)?),
                    kind: row.get(3)?,
                    name: row.get(4)?,
                },
            })
        })?
        .collect()
}

fn settle(connection: &Connection, destination: &str, settlement: &Settlement) -> sql::Result<()> {
    let id = settlement.id;
    match &settlement.outcome {
        SettlementOutcome::Done => connection
            .prepare_cached("DELETE FROM remnant WHERE destination = ?1 AND id = ?2")?
            .execute(params![destination, id]),
        SettlementOutcome::Again { not_before_ms, attempts, reason } => connection
            .prepare_cached(
                "UPDATE remnant SET not_before = ?3, attempts = ?4, reason = ?5 WHERE destination = ?1 AND id = ?2",
            )?
            .execute(params![destination, id, not_before_ms, attempts, reason]),
        SettlementOutcome::Dead { reason } => connection
            .prepare_cached("UPDATE remnant SET dead = 1, reason = ?3 WHERE destination = ?1 AND id = ?2")?
            .execute(params![destination, id, reason]),
    }
    .map(drop)
}

fn remaining(row: &Row<'_>) -> sql::Result<Remaining> {
    Ok(Remaining { destination: row.get(0)?, waiting: row.get::<i64>(1)? as u64, given_up: row.get::<i64>(2)? as u64 })
}

/// Nothing happens where another worker took it.
fn take_turn(ledger: &mut Ledger, patient: PatientKey, now_ms: i64) -> sql::Result<()> {
    let connection = &ledger.connection;
    let taken = connection
        .prepare_cached("DELETE FROM consent_turn WHERE patient = ?1 AND at <= ?2")?
        .execute(params![patient.0, now_ms])?;
    if taken == 0 {
        return Ok(());
    }
    let consent: Vec<(i64, u32)> = connection
        .prepare_cached(
            "SELECT r.seq, r.version FROM consent c JOIN resource r ON r.seq = c.seq WHERE c.patient = ?1
             ORDER BY r.seq LIMIT 1",
        )?
        .query_map([patient.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (seq, version) in consent {
        feed::append(connection, Some(patient), &[(seq as u64, version)], now_ms)?;
        ledger.fed = true;
    }
    Ok(())
}
