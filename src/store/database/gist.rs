//! Gists of rows that were written by a program that knew none.
//!
//! A row without one is told from one that has none by an index of its own, which is empty once all were made.

use super::keys::{self, gist_of};
use super::pool::Reader;
use super::writer::Ledger;
use super::{Store, row};
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::plan::{Readable, Stored};
use crate::store::sql::{self, Optional, Row, params};

impl Store {
    /// Some resources whose gist was not made yet, by order of creation behind a sequence number, and where to go on.
    pub async fn without_gist(&self, after: u64, most: usize) -> Result<(Vec<Stored>, Option<u64>), Error> {
        self.query(move |reader| {
            let numbers: Vec<i64> = reader
                .prepare_cached("SELECT seq FROM resource WHERE gist IS NULL AND seq > ?1 ORDER BY seq LIMIT ?2")?
                .query_map(params![after as i64, most as i64], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            // What is damaged goes without.
            let mut found = Readable::default();
            for seq in &numbers {
                found.file((*seq as u64, 0), row::current(reader, *seq as u64))?;
            }
            Ok((found.rows, numbers.last().map(|seq| *seq as u64)))
        })
        .await
    }

    /// Writes gists beside the versions that they were made of, by sequence number and version, where those still stand.
    pub async fn add_gists(&self, gists: Vec<(u64, u32, Vec<u8>)>) -> Result<(), Error> {
        let add = move |ledger: &mut Ledger| {
            gists.iter().try_for_each(|(seq, version, gist)| add(ledger, *seq as i64, *version, gist))
        };
        self.writer.call(100, add).await
    }
}

/// Whether the gist of a resource can be opened, if it has one and its key is there.
pub(super) fn is_whole(reader: &Reader, seq: i64) -> sql::Result<bool> {
    let opens = |row: &Row<'_>| {
        let patient = PatientKey(row.get(0)?);
        let (identity, gist) = (gist_of(patient, row.get(1)?, row.get(2)?), row.get(4)?);
        let key = reader.keys.key(row.get(3)?, patient, &row.get::<Vec<u8>>(5)?);
        Ok(key.and_then(|key| key.open(&identity, gist)).is_ok())
    };
    let whole = reader
        .prepare_cached(
            "SELECT r.patient, r.tail, r.version, r.sealed_by, r.gist, p.wrapped FROM resource r
             JOIN person_key p ON p.number = r.sealed_by
             WHERE r.seq = ?1 AND r.patient IS NOT NULL AND LENGTH(r.gist) > 0",
        )?
        .query_row([seq], opens)
        .optional()?;
    Ok(whole.unwrap_or(true))
}

fn add(ledger: &mut Ledger, seq: i64, version: u32, gist: &[u8]) -> Result<(), Error> {
    type Found = (Option<PatientKey>, [u8; 12], i64);
    let found = |row: &Row<'_>| Ok((row.get::<Option<[u8; 16]>>(0)?.map(PatientKey), row.get(1)?, row.get(2)?));
    let found: Option<Found> = ledger
        .connection
        .prepare_cached(
            "SELECT patient, tail, sealed_by FROM resource WHERE seq = ?1 AND version = ?2 AND gist IS NULL",
        )?
        .query_row(params![seq, version], found)
        .optional()?;
    let sealed = match found {
        None => return Ok(()),
        Some((None, ..)) => gist.to_vec(),
        // It is opened by the key of the row; what lies plain from before there were keys has none.
        Some((Some(_), _, 0)) => Vec::new(),
        Some((Some(patient), tail, number)) => {
            if super::erase::is_erased(&ledger.connection, patient)? {
                return Ok(());
            }
            let sealer = keys::sealer(ledger, patient)?;
            if gist.is_empty() || sealer.number() != number {
                Vec::new()
            } else {
                sealer.sealed(&gist_of(patient, tail, version), gist)?.text
            }
        }
    };
    ledger.connection.prepare_cached("UPDATE resource SET gist = ?2 WHERE seq = ?1")?.post(params![seq, sealed])?;
    Ok(())
}
