//! Rows to and from the boundary's types: the one place that knows the column order.

use crate::store::compact::expanded_in;
use crate::store::marks;
use crate::store::sql::{self, Connection, Fault, Optional, Row, params};

use super::keys::{Keys, damaged, person_by, version_of};
use super::pool::Reader;
use crate::store::id::{PatientKey, ResId};
use crate::store::plan::{Dated, Stored, UNDATED};
use crate::store::seal::Broken;

/// Columns of `stored`: resource r, kind k, the version's own columns from v, which is r again or a history row, and the
/// key p that it was sealed by.
macro_rules! stored_columns {
    () => {
        "k.name, r.bucket, r.day, r.tail, r.name, r.seq, v.version, v.updated, v.deleted, v.patient, v.owner, v.date, \
         v.content, v.payload, v.sealed_by, p.wrapped, p.person"
    };
}

/// Leaves out what belongs to a person who was erased, also while it still lies there.
macro_rules! living {
    () => {
        " AND (v.patient IS NULL OR NOT EXISTS (SELECT 1 FROM erased e WHERE e.patient = v.patient))"
    };
}

/// None where the key that it was sealed by was shredded.
fn stored(keys: &Keys, row: &Row<'_>) -> sql::Result<Option<Stored>> {
    text(keys, row)?.map(|text| with_text(row, text)).transpose()
}

/// The same without a text where that is damaged.
fn stored_or_unread(keys: &Keys, row: &Row<'_>) -> sql::Result<Option<Stored>> {
    match text(keys, row) {
        Err(Fault::Damaged(_)) => with_text(row, Vec::new()).map(Some),
        text => text?.map(|text| with_text(row, text)).transpose(),
    }
}

fn text(keys: &Keys, row: &Row<'_>) -> sql::Result<Option<Vec<u8>>> {
    let opened = opened(keys, row);
    if let Err(fault) = &opened {
        named_in_log(fault, row.get_ref(0)?.as_text()?, row.get(5)?, row.get(6)?);
    }
    opened
}

/// Says which row is damaged, as far as that may be said aloud.
pub(super) fn named_in_log(fault: &Fault, kind: &str, seq: i64, version: u32) {
    if let Fault::Damaged(error) = fault {
        let error: &(dyn std::error::Error + 'static) = &**error;
        tracing::error!(kind, seq, version, error, "store: what is kept of a resource is damaged");
    }
}

fn opened(keys: &Keys, row: &Row<'_>) -> sql::Result<Option<Vec<u8>>> {
    let tail = row.get(3)?;
    let mut payload: Vec<u8> = row.get(13)?;
    let number: i64 = row.get(14)?;
    let mut person = None;
    if number != 0 {
        let Some(wrapped) = row.get_ref(15)?.as_blob_or_null()? else { return Ok(None) };
        let patient = row.get::<Option<[u8; 16]>>(9)?.map(PatientKey).ok_or_else(|| damaged(Broken))?;
        let key = keys.key(number, patient, wrapped).map_err(damaged)?;
        payload = key.open(&version_of(patient, tail, row.get(6)?), payload).map_err(damaged)?;
        person = person_by(&key, patient, row.get_ref(16)?.as_blob_or_null()?).map_err(damaged)?;
    }
    let id = ResId::from_columns(row.get(1)?, row.get(2)?, tail);
    expanded_in(payload, &marks::Row { id, updated_ms: row.get(7)?, person }).map(Some).map_err(Fault::damaged)
}

fn with_text(row: &Row<'_>, payload: Vec<u8>) -> sql::Result<Stored> {
    Ok(Stored {
        kind: row.get(0)?,
        id: ResId::from_columns(row.get(1)?, row.get(2)?, row.get(3)?),
        name: row.get(4)?,
        seq: row.get::<i64>(5)? as u64,
        version: row.get(6)?,
        updated_ms: row.get(7)?,
        deleted: row.get(8)?,
        patient: row.get::<Option<[u8; 16]>>(9)?.map(PatientKey),
        owner: row.get(10)?,
        date: row.get::<Option<i64>>(11)?.map(Dated::of_column),
        content: row.get(12)?,
        payload,
        gist: None,
    })
}

/// The current version.
pub(super) fn current(reader: &Reader, seq: u64) -> sql::Result<Option<Stored>> {
    current_by(reader, seq, stored)
}

/// The same, without its text where that is damaged: that there is something must not be forgotten.
pub(super) fn current_or_unread(reader: &Reader, seq: u64) -> sql::Result<Option<Stored>> {
    current_by(reader, seq, stored_or_unread)
}

fn current_by(
    reader: &Reader,
    seq: u64,
    read: fn(&Keys, &Row<'_>) -> sql::Result<Option<Stored>>,
) -> sql::Result<Option<Stored>> {
    let found = reader
        .prepare_cached(concat!(
            "SELECT ",
            stored_columns!(),
            " FROM resource v JOIN resource r ON r.seq = v.seq JOIN kind k ON k.id = r.kind",
            " LEFT JOIN person_key p ON p.number = v.sealed_by WHERE v.seq = ?1",
            living!()
        ))?
        .query_row([seq as i64], |row| read(&reader.keys, row))
        .optional();
    Ok(found?.flatten())
}

/// One version, current or past. Each stands for itself: another one may be damaged.
pub(super) fn version(reader: &Reader, seq: u64, version: u32) -> sql::Result<Option<Stored>> {
    let found = reader
        .prepare_cached(concat!(
            "SELECT ",
            stored_columns!(),
            " FROM resource v JOIN resource r ON r.seq = v.seq JOIN kind k ON k.id = r.kind",
            " LEFT JOIN person_key p ON p.number = v.sealed_by WHERE v.seq = ?1 AND v.version = ?2",
            living!()
        ))?
        .query_row(params![seq as i64, version], |row| stored(&reader.keys, row))
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    let found = reader
        .prepare_cached(concat!(
            "SELECT ",
            stored_columns!(),
            " FROM history v JOIN resource r ON r.seq = v.seq JOIN kind k ON k.id = r.kind",
            " LEFT JOIN person_key p ON p.number = v.sealed_by WHERE v.seq = ?1 AND v.version = ?2",
            living!()
        ))?
        .query_row(params![seq as i64, version], |row| stored(&reader.keys, row))
        .optional();
    Ok(found?.flatten())
}

/// What is damaged counts as gone, where nobody asks for it by name.
pub(super) fn spared(read: sql::Result<Option<Stored>>) -> sql::Result<Option<Stored>> {
    match read {
        Err(Fault::Damaged(_)) => Ok(None),
        read => read,
    }
}

/// The resource whose id has this tail: neither patient nor day are part of what an id is derived from.
pub(super) fn find_tail(connection: &Connection, kind: &str, id: ResId) -> sql::Result<Option<u64>> {
    let found = connection
        .prepare_cached(
            "SELECT r.seq FROM resource r JOIN kind k ON k.id = r.kind WHERE r.tail = ?1 AND r.name IS NULL AND k.name = ?2",
        )?
        .query_row(params![id.tail(), kind], |row| row.get::<i64>(0))
        .optional()?;
    Ok(found.map(|seq| seq as u64))
}

/// The resource of a logical id. A resource with a client-chosen name answers to that name alone.
pub(super) fn find(connection: &Connection, kind: &str, id: &str) -> sql::Result<Option<u64>> {
    if let Some(id) = ResId::parse(id) {
        let found = connection
            .prepare_cached(
                "SELECT r.seq FROM resource r JOIN kind k ON k.id = r.kind
                 WHERE r.tail = ?1 AND r.bucket = ?2 AND r.day = ?3 AND r.name IS NULL AND k.name = ?4",
            )?
            .query_row(params![id.tail(), id.bucket(), id.day(), kind], |row| row.get::<i64>(0))
            .optional()?;
        if let Some(seq) = found {
            return Ok(Some(seq as u64));
        }
    }
    let named = connection
        .prepare_cached("SELECT a.seq FROM alias a JOIN kind k ON k.id = a.kind WHERE k.name = ?1 AND a.name = ?2")?
        .query_row(params![kind, id], |row| row.get::<i64>(0))
        .optional()?;
    Ok(named.map(|seq| seq as u64))
}

/// What belongs to nobody lies under the empty key in `entry`, whose columns cannot be NULL.
pub(super) fn entry_patient(patient: Option<&PatientKey>) -> &[u8] {
    patient.map_or(&[], |patient| &patient.0)
}

/// How far the number of the labels stands above that of the code in `entry.code`.
const LABELS: u32 = 32;

/// The first entry of what is of some code and carries labels.
pub(super) const LABELLED: i64 = 1 << LABELS;

/// Where what is of a code (or of a kind without codes, negated) and carries labels stands in `entry.code`.
pub(super) fn filed_under(code: i64, labels: u16) -> i64 {
    code + code.signum() * (i64::from(labels) << LABELS)
}

/// The code, or the kind without codes, and the labels.
pub(super) fn filed(under: i64) -> (i64, u16) {
    let (size, sign) = (under.abs(), under.signum());
    (sign * (size & (LABELLED - 1)), (size >> LABELS) as u16)
}

/// Sorts what has no date before everything that has one.
pub(super) fn entry_date(date: Option<Dated>) -> i64 {
    date.map_or(UNDATED, Dated::column)
}

/// One integer per token to search by; the flag keeps "any system" apart from the empty system. It is a pre-filter:
/// two tokens may share it.
pub(super) fn token_hash(kind: i64, param: &str, system: Option<&str>, value: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&kind.to_le_bytes());
    for part in [param, system.unwrap_or(""), value] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(&[u8::from(system.is_some())]);
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(first)
}

/// A list of integers in one column; NULL when there is none.
pub(super) fn pack(numbers: &[i64]) -> Option<Vec<u8>> {
    (!numbers.is_empty()).then(|| numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
}

pub(super) fn unpack(column: Option<&[u8]>) -> Vec<i64> {
    let chunks = column.unwrap_or_default().as_chunks::<8>().0;
    chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect()
}
