//! By what names destinations know what they were sent, where they give names of their own.
//!
//! A name is what a correction and a removal are addressed by, so it is kept until what it names was taken back, however
//! long the resource itself is. Of an erased person it becomes a remnant, in the transaction that takes it away here, or is
//! forgotten where the destination is not told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::writer::Ledger;
use super::{Store, audit, erase, remnants};
use crate::store::erasure::Remnant;
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::outbox::KnownAs;
use crate::store::sql::{self, Connection, Row, params};
use crate::store::unit::AuditRecord;

/// Names that one step of an erasure takes away.
const STEP: i64 = 500;

impl Store {
    /// Keeps names that a destination gave. Of a person who was erased meanwhile they are what it is still to be told, if it
    /// is told of erasures.
    pub async fn know(&self, known: Vec<KnownAs>, of_erasures: bool) -> Result<(), Error> {
        if known.is_empty() {
            return Ok(());
        }
        let know = move |connection: &Connection| known.iter().try_for_each(|one| know(connection, one, of_erasures));
        self.writer.call(1, move |ledger| Ok(know(&ledger.connection)?)).await
    }

    /// What a destination calls what it was sent of a patient, by type and id here.
    pub async fn known_as(
        &self,
        destination: &str,
        patient: PatientKey,
    ) -> Result<BTreeMap<(String, String), KnownAs>, Error> {
        let destination: Arc<str> = Arc::from(destination);
        self.query(move |connection| {
            let known: Vec<KnownAs> = connection
                .prepare_cached(
                    "SELECT kind, id, version, names FROM known_as WHERE patient = ?1 AND destination = ?2",
                )?
                .query_map(params![patient.0, destination], |row| known_as(row, &destination, patient))?
                .collect::<Result<_, _>>()?;
            Ok(known.into_iter().map(|one| ((one.kind.clone(), one.id.clone()), one)).collect())
        })
        .await
    }

    /// The same of some of them alone.
    pub async fn known_of(
        &self,
        destination: &str,
        patient: PatientKey,
        names: Vec<(String, String)>,
    ) -> Result<Vec<KnownAs>, Error> {
        let destination: Arc<str> = Arc::from(destination);
        self.query(move |connection| {
            let mut found = Vec::new();
            for (kind, id) in &names {
                let known: Vec<KnownAs> = connection
                    .prepare_cached(
                        "SELECT kind, id, version, names FROM known_as
                         WHERE patient = ?1 AND destination = ?2 AND kind = ?3 AND id = ?4",
                    )?
                    .query_map(params![patient.0, destination, kind, id], |row| known_as(row, &destination, patient))?
                    .collect::<Result<_, _>>()?;
                found.extend(known);
            }
            Ok(found)
        })
        .await
    }

    /// Records that a destination was told to hold some things no longer, whose names are forgotten with that.
    pub async fn taken_back(
        &self,
        destination: &str,
        patient: PatientKey,
        names: Vec<(String, String)>,
        records: Vec<AuditRecord>,
    ) -> Result<(), Error> {
        let destination = destination.to_owned();
        let take = move |ledger: &mut Ledger| {
            for (kind, id) in &names {
                forget(&ledger.connection, patient, &destination, kind, id)?;
            }
            audit::store(ledger, &records)
        };
        self.writer.call(1, move |ledger| Ok(take(ledger)?)).await
    }

    /// Takes away some of the names of what was an erased person's; false where none was left. Of those destinations that
    /// are told they become what is still to be told.
    pub async fn forget_names(&self, patient: PatientKey, told: Vec<Arc<str>>) -> Result<bool, Error> {
        self.writer.call(STEP as usize, move |ledger| Ok(step(&ledger.connection, patient, &told)?)).await
    }
}

fn know(connection: &Connection, known: &KnownAs, of_erasures: bool) -> sql::Result<()> {
    if erase::is_erased(connection, known.patient)? {
        return if of_erasures { remnants::note(connection, &remnants_of(known)) } else { Ok(()) };
    }
    connection
        .prepare_cached(
            "INSERT INTO known_as (patient, destination, kind, id, version, names) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (patient, destination, kind, id) DO UPDATE SET version = excluded.version, names = excluded.names",
        )?
        .post(params![
            known.patient.0,
            known.destination,
            known.kind,
            known.id,
            known.version,
            known.names.join("\n")
        ])
}

fn forget(connection: &Connection, patient: PatientKey, destination: &str, kind: &str, id: &str) -> sql::Result<()> {
    connection
        .prepare_cached("DELETE FROM known_as WHERE patient = ?1 AND destination = ?2 AND kind = ?3 AND id = ?4")?
        .post(params![patient.0, destination, kind, id])
}

fn step(connection: &Connection, patient: PatientKey, told: &[Arc<str>]) -> sql::Result<bool> {
    let some: Vec<KnownAs> = connection
        .prepare_cached("SELECT kind, id, version, names, destination FROM known_as WHERE patient = ?1 LIMIT ?2")?
        .query_map(params![patient.0, STEP], |row| {
            let destination: Arc<str> = row.get(4)?;
            known_as(row, &destination, patient)
        })?
        .collect::<Result<_, _>>()?;
    for known in &some {
        if told.contains(&known.destination) {
            remnants::note(connection, &remnants_of(known))?;
        }
        forget(connection, patient, &known.destination, &known.kind, &known.id)?;
    }
    Ok(!some.is_empty())
}

fn remnants_of(known: &KnownAs) -> Vec<Remnant> {
    let remnant = |name: &String| {
        let (kind, name) = name.split_once('/')?;
        let (kind, name) = (kind.to_owned(), name.to_owned());
        Some(Remnant { destination: known.destination.clone(), patient: known.patient, kind, name })
    };
    known.names.iter().filter_map(remnant).collect()
}

fn known_as(row: &Row<'_>, destination: &Arc<str>, patient: PatientKey) -> sql::Result<KnownAs> {
    let names: String = row.get(3)?;
    Ok(KnownAs {
        destination: destination.clone(),
        patient,
        kind: row.get(0)?,
        id: row.get(1)?,
        version: row.get(2)?,
        names: names.lines().map(str::to_owned).collect(),
    })
}
