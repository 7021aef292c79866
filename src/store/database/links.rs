//! Links of persons to destinations: a sealed row each, gone with the person.

use super::keys::{damaged, sealer};
use super::pool::Reader;
use super::writer::Ledger;
use super::{Store, audit, erase, keys};
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::link::Link;
use crate::store::sql::{self, Optional, params};
use crate::store::unit::AuditRecord;

impl Store {
    pub async fn link(&self, patient: PatientKey, destination: &str) -> Result<Option<Link>, Error> {
        let destination = destination.to_owned();
        self.query(move |reader| opened(reader, patient, &destination)).await
    }

    /// Names of the destinations that a person is linked to.
    pub async fn linked(&self, patient: PatientKey) -> Result<Vec<String>, Error> {
        self.query(move |reader| {
            reader
                .prepare_cached("SELECT destination FROM link WHERE patient = ?1 ORDER BY destination")?
                .query_map([patient.0], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Links a person, in the place of what was before; not one who was erased.
    pub async fn put_link(
        &self,
        patient: PatientKey,
        destination: &str,
        body: Vec<u8>,
        record: AuditRecord,
    ) -> Result<bool, Error> {
        let destination = destination.to_owned();
        self.writer.call(1, move |ledger| put(ledger, patient, &destination, &body, &record)).await
    }

    /// Whether nobody else renews the link from this version on, until then.
    pub async fn claim_link(
        &self,
        patient: PatientKey,
        destination: &str,
        version: i64,
        (now_ms, until_ms): (i64, i64),
    ) -> Result<bool, Error> {
        let destination = destination.to_owned();
        let claim = move |ledger: &mut Ledger| {
            let claimed = ledger
                .connection
                .prepare_cached(
                    "UPDATE link SET busy = ?5 WHERE patient = ?1 AND destination = ?2 AND version = ?3 AND busy <= ?4",
                )?
                .execute(params![patient.0, destination, version, now_ms, until_ms])?;
            Ok(claimed > 0)
        };
        self.writer.call(1, claim).await
    }

    /// What the link stands on from now on, or that it is over, if it is still of this version.
    pub async fn renew_link(
        &self,
        patient: PatientKey,
        destination: &str,
        Link { version, over, body }: Link,
    ) -> Result<bool, Error> {
        let destination = destination.to_owned();
        let renew = move |ledger: &mut Ledger| {
            let keys::Sealed { number, text } =
                sealer(ledger, patient)?.sealed(&identity(patient, &destination), &body)?;
            let renewed = ledger
                .connection
                .prepare_cached(
                    "UPDATE link SET version = version + 1, busy = 0, over = ?4, sealed_by = ?5, body = ?6
                     WHERE patient = ?1 AND destination = ?2 AND version = ?3",
                )?
                .execute(params![patient.0, destination, version, over, number, text])?;
            Ok(renewed > 0)
        };
        self.writer.call(1, renew).await
    }

    pub async fn remove_link(&self, patient: PatientKey, destination: &str, record: AuditRecord) -> Result<(), Error> {
        let destination = destination.to_owned();
        let remove = move |ledger: &mut Ledger| {
            ledger
                .connection
                .prepare_cached("DELETE FROM link WHERE patient = ?1 AND destination = ?2")?
                .execute(params![patient.0, destination])?;
            Ok(audit::store(ledger, &[record])?)
        };
        self.writer.call(1, remove).await
    }
}

/// What a sealed row is.
fn identity(patient: PatientKey, destination: &str) -> Vec<u8> {
    [b"link\0".as_slice(), &patient.0, destination.as_bytes()].concat()
}

fn put(
    ledger: &mut Ledger,
    patient: PatientKey,
    destination: &str,
    body: &[u8],
    record: &AuditRecord,
) -> Result<bool, Error> {
    if erase::is_erased(&ledger.connection, patient)? {
        return Ok(false);
    }
    let keys::Sealed { number, text } = sealer(ledger, patient)?.sealed(&identity(patient, destination), body)?;
    ledger
        .connection
        .prepare_cached(
            "INSERT INTO link (patient, destination, version, busy, over, sealed_by, body)
             VALUES (?1, ?2, 1, 0, 0, ?3, ?4)
             ON CONFLICT (patient, destination) DO UPDATE SET version = link.version + 1, busy = 0, over = 0,
                 sealed_by = excluded.sealed_by, body = excluded.body",
        )?
        .execute(params![patient.0, destination, number, text])?;
    audit::store(ledger, std::slice::from_ref(record))?;
    Ok(true)
}

fn opened(reader: &Reader, patient: PatientKey, destination: &str) -> sql::Result<Option<Link>> {
    let found = reader
        .prepare_cached(
            "SELECT l.version, l.over, l.body, l.sealed_by, p.wrapped FROM link l
             LEFT JOIN person_key p ON p.number = l.sealed_by WHERE l.patient = ?1 AND l.destination = ?2",
        )?
        .query_row(params![patient.0, destination], |row| {
            let Some(wrapped) = row.get_ref(4)?.as_blob_or_null()? else { return Ok(None) };
            let key = reader.keys.key(row.get(3)?, patient, wrapped).map_err(damaged)?;
            let body = key.open(&identity(patient, destination), row.get(2)?).map_err(damaged)?;
            Ok(Some(Link { version: row.get(0)?, over: row.get::<i64>(1)? != 0, body }))
        })
        .optional();
    Ok(found?.flatten())
}
