//! A patient's consents, and the epoch by which a decision taken on them is known to be stale.
//!
//! Which resources are consents is said by who writes them; what they mean is not known here.

use rusqlite::{Connection, OptionalExtension};

use super::pool::Reader;
use super::{Embedded, row};
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::plan::Stored;

impl Embedded {
    pub async fn consents(&self, patient: PatientKey) -> Result<(u64, Vec<Stored>), Error> {
        self.query(move |connection| {
            let epoch = consent_epoch(connection, patient)?;
            Ok((epoch, current_consents(connection, patient)?))
        })
        .await
    }
}

/// How often the patient's consents have changed.
pub(super) fn consent_epoch(connection: &Connection, patient: PatientKey) -> rusqlite::Result<u64> {
    let epoch: Option<i64> = connection
        .prepare_cached("SELECT consent_epoch FROM patient_state WHERE patient = ?1")?
        .query_row([patient.0], |row| row.get(0))
        .optional()?;
    Ok(epoch.unwrap_or(0) as u64)
}

pub(super) fn bump_epoch(connection: &Connection, patient: PatientKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO patient_state (patient, consent_epoch) VALUES (?1, 1)
             ON CONFLICT (patient) DO UPDATE SET consent_epoch = consent_epoch + 1",
        )?
        .execute([patient.0])?;
    Ok(())
}

fn current_consents(connection: &Reader, patient: PatientKey) -> rusqlite::Result<Vec<Stored>> {
    let seqs: Vec<i64> = connection
        .prepare_cached("SELECT seq FROM consent WHERE patient = ?1 ORDER BY seq")?
        .query_map([patient.0], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut consents = Vec::with_capacity(seqs.len());
    for seq in seqs {
        consents.extend(row::current(connection, seq as u64)?);
    }
    Ok(consents)
}
