//! The way back to programs that know no marks: each text that has some is written and sealed anew without.
//!
//! What nobody can open any more stays as it lies, and is counted, unless its key was shredded.

use super::keys::{Keys, person_by, version_of};
use crate::store::compact::{Guarded, unmarked};
use crate::store::fault::{Error, OpenError};
use crate::store::id::{PatientKey, ResId};
use crate::store::marks;
use crate::store::sql::{self, Connection, Fault, Row, params};

/// Versions that are read at once.
const PAGE: i64 = 500;

/// Where versions lie, and what of the resource is told there.
const VERSIONS: [(&str, &str); 2] = [
    (
        "SELECT v.seq, v.version, v.updated, v.patient, v.payload, v.sealed_by, p.wrapped, v.bucket, v.day, v.tail, p.person
         FROM resource v LEFT JOIN person_key p ON p.number = v.sealed_by
         WHERE (v.seq, v.version) > (?1, ?2) ORDER BY v.seq, v.version LIMIT ?3",
        "UPDATE resource SET payload = ?3 WHERE seq = ?1 AND version = ?2",
    ),
    (
        "SELECT v.seq, v.version, v.updated, v.patient, v.payload, v.sealed_by, p.wrapped, r.bucket, r.day, r.tail, p.person
         FROM history v JOIN resource r ON r.seq = v.seq LEFT JOIN person_key p ON p.number = v.sealed_by
         WHERE (v.seq, v.version) > (?1, ?2) ORDER BY v.seq, v.version LIMIT ?3",
        "UPDATE history SET payload = ?3 WHERE seq = ?1 AND version = ?2",
    ),
];

struct Text {
    seq: i64,
    version: u32,
    updated_ms: i64,
    patient: Option<PatientKey>,
    payload: Vec<u8>,
    sealed_by: i64,
    wrapped: Option<Vec<u8>>,
    id: ResId,
    person: Option<Vec<u8>>,
}

impl Text {
    fn read(row: &Row<'_>) -> sql::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            version: row.get(1)?,
            updated_ms: row.get(2)?,
            patient: row.get::<Option<[u8; 16]>>(3)?.map(PatientKey),
            payload: row.get(4)?,
            sealed_by: row.get(5)?,
            wrapped: row.get(6)?,
            id: ResId::from_columns(row.get(7)?, row.get(8)?, row.get(9)?),
            person: row.get(10)?,
        })
    }

    fn without_marks(self, keys: Option<&Keys>) -> Result<Became, Error> {
        let row = |person| marks::Row { id: self.id, updated_ms: self.updated_ms, person };
        if self.sealed_by == 0 {
            return Ok(match unmarked(&self.payload, &row(None), Guarded::ByChecksum) {
                Ok(text) => text.map_or(Became::Itself, Became::Anew),
                Err(_) => Became::Unread,
            });
        }
        let (Some(wrapped), Some(keys)) = (self.wrapped, keys) else { return Ok(Became::Itself) };
        let Some(patient) = self.patient else { return Ok(Became::Unread) };
        let identity = version_of(patient, self.id.tail(), self.version);
        let opened = keys.key(self.sealed_by, patient, &wrapped).and_then(|key| {
            let text = key.open(&identity, self.payload)?;
            let person = person_by(&key, patient, self.person.as_deref())?;
            Ok((key, text, person))
        });
        let Ok((key, text, person)) = opened else { return Ok(Became::Unread) };
        match unmarked(&text, &row(person), Guarded::Elsewhere) {
            Ok(Some(text)) => key.seal(&identity, &text).map(Became::Anew).map_err(|_| Error::Sealing),
            Ok(None) => Ok(Became::Itself),
            Err(_) => Ok(Became::Unread),
        }
    }
}

/// What becomes of a text.
enum Became {
    Anew(Vec<u8>),
    /// It has no marks, or nobody shall read it any more.
    Itself,
    /// It is damaged.
    Unread,
}

/// Takes the marks out of all texts, in the transaction that is open; how many cannot be read.
pub(super) fn all(connection: &Connection, keys: Option<&Keys>) -> Result<u64, OpenError> {
    let mut unread = 0;
    for (select, update) in VERSIONS {
        let (mut seq, mut version) = (0, 0);
        loop {
            let page: Vec<Text> = connection
                .prepare_cached(select)?
                .query_map(params![seq, version, PAGE], Text::read)?
                .collect::<sql::Result<_>>()?;
            let Some(last) = page.last() else { break };
            (seq, version) = (last.seq, last.version);
            for one in page {
                let (seq, version) = (one.seq, one.version);
                match one.without_marks(keys).map_err(Fault::damaged)? {
                    Became::Anew(payload) => {
                        connection.prepare_cached(update)?.post(params![seq, version, payload])?;
                    }
                    Became::Itself => {}
                    Became::Unread => unread += 1,
                }
            }
        }
    }
    Ok(unread)
}
