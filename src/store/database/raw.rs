//! Raw inputs: sealed rows, forgotten in small steps as new ones come and as time goes by.

use std::sync::Arc;

use super::keys::{damaged, input_of, sealer};
use super::pool::Reader;
use super::writer::Ledger;
use super::{Store, keys};
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::raw::{Raw, RawHead, RawInput, RawStep, Reread, Rereading};
use crate::store::sql::{self, Connection, Optional, Row, params};

/// Rows that are forgotten at once.
const STEP: i64 = 200;

impl Store {
    /// Raw inputs that follow a number, the oldest first.
    pub async fn raw_heads(&self, after: u64, most: usize) -> Result<Vec<RawHead>, Error> {
        self.query(move |reader| {
            reader
                .prepare_cached(
                    "SELECT number, at, client, patient, format, version FROM raw WHERE number > ?1
                     ORDER BY number LIMIT ?2",
                )?
                .query_map(params![after as i64, most as i64], head)?
                .collect()
        })
        .await
    }

    /// The same of one patient.
    pub async fn raw_heads_of(&self, patient: PatientKey, after: u64, most: usize) -> Result<Vec<RawHead>, Error> {
        self.query(move |reader| {
            reader
                .prepare_cached(
                    "SELECT number, at, client, patient, format, version FROM raw WHERE patient = ?1 AND number > ?2
                     ORDER BY number LIMIT ?3",
                )?
                .query_map(params![patient.0, after as i64, most as i64], head)?
                .collect()
        })
        .await
    }

    /// None where it is forgotten, or its person's key was shredded.
    pub async fn raw(&self, number: u64) -> Result<Option<Raw>, Error> {
        self.query(move |reader| opened(reader, number)).await
    }

    /// Forgets some of the raw inputs from before; returns how many.
    pub async fn expire_raw(&self, before_ms: i64) -> Result<usize, Error> {
        self.writer.call(1, move |ledger| Ok(forget(&ledger.connection, before_ms, STEP)?)).await
    }
}

fn head(row: &Row<'_>) -> sql::Result<RawHead> {
    Ok(RawHead {
        number: row.get::<i64>(0)? as u64,
        at_ms: row.get(1)?,
        client: row.get(2)?,
        patient: PatientKey(row.get(3)?),
        format: row.get(4)?,
        version: row.get(5)?,
    })
}

/// None where there is no such input, or its key was shredded.
fn opened(reader: &Reader, number: u64) -> sql::Result<Option<Raw>> {
    let read = |row: &Row<'_>| {
        let head = head(row)?;
        let Some(wrapped) = row.get_ref(9)?.as_blob_or_null()? else { return Ok(None) };
        let key = reader.keys.key(row.get(8)?, head.patient, wrapped).map_err(damaged)?;
        let identity = input_of(head.patient, head.at_ms);
        let body = key.open(&identity, row.get(7)?).map_err(damaged)?;
        Ok(Some(Raw { head, made: row.get(6)?, body }))
    };
    let found = reader
        .prepare_cached(
            "SELECT r.number, r.at, r.client, r.patient, r.format, r.version, r.made, r.body, r.sealed_by, p.wrapped
             FROM raw r LEFT JOIN person_key p ON p.number = r.sealed_by WHERE r.number = ?1",
        )?
        .query_row([number as i64], read)
        .optional();
    Ok(found?.flatten())
}

/// Whether an input is still of the version that it was read again from.
pub(super) fn stands(connection: &Connection, rereading: &Rereading) -> sql::Result<bool> {
    let version: Option<String> = connection
        .prepare_cached("SELECT version FROM raw WHERE number = ?1")?
        .query_row([rereading.number as i64], |row| row.get(0))
        .optional()?;
    Ok(version.as_ref() == Some(&rereading.from))
}

pub(super) fn take(ledger: &mut Ledger, client: &Arc<str>, step: &RawStep) -> Result<(), Error> {
    match step {
        RawStep::Keep(input) => keep(ledger, client, input),
        RawStep::Note(reread) => Ok(note(&ledger.connection, reread)?),
    }
}

fn keep(ledger: &mut Ledger, client: &Arc<str>, input: &RawInput) -> Result<(), Error> {
    let keys::Sealed { number, text } =
        sealer(ledger, input.patient)?.sealed(&input_of(input.patient, input.at_ms), &input.body)?;
    ledger
        .connection
        .prepare_cached(
            "INSERT INTO raw (at, client, patient, format, version, digest, made, sealed_by, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        )?
        .post(params![
            input.at_ms,
            client,
            input.patient.0,
            input.format,
            input.version,
            input.digest,
            input.made,
            number,
            text
        ])?;
    // Twice as fast as they come.
    forget(&ledger.connection, input.forget_before_ms, 2)?;
    Ok(())
}

fn note(connection: &Connection, reread: &Reread) -> sql::Result<()> {
    connection
        .prepare_cached("UPDATE raw SET version = ?2, made = ?3 WHERE number = ?1")?
        .execute(params![reread.number as i64, reread.version, reread.made])
        .map(drop)
}

fn forget(connection: &Connection, before_ms: i64, most: i64) -> sql::Result<usize> {
    connection
        .prepare_cached("DELETE FROM raw WHERE number IN (SELECT number FROM raw WHERE at < ?1 ORDER BY at LIMIT ?2)")?
        .execute(params![before_ms, most])
}
