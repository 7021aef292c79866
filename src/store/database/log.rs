//! The transparency log's entries and the roots of its full tiles, appended in the transaction of what is recorded.
//!
//! Entries lie in the order of the commits and are never changed or removed. What the tree is and how it is proved is
//! `tlog`'s to know; here hashes are kept and found again.

use super::writer::Ledger;
use super::{Store, audit};
use crate::store::compact::expanded;
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::id::ResId;
use crate::store::sql::{self, Connection, Fault, Optional, params};
use crate::store::unit::{AuditRecord, FiledRecord, Head, Logged};
use crate::tlog::{self, Edge, Hash, Subtree};

/// No term of keeping is shorter: three years.
const LEAST_KEPT_MS: i64 = 1095 * 86_400_000;

/// Records that are held at once while all are looked at.
const PIECE: i64 = 4096;
/// Roots of one level of tiles have the numbers from here on.
const LEVEL_SHIFT: u32 = 56;

impl Store {
    /// Entries of the transparency log: one for each record of the audit, in the order of the commits.
    pub async fn log_size(&self) -> Result<u64, Error> {
        self.query(|reader| size(reader)).await
    }

    /// Root of the log's first `size` entries.
    pub async fn log_root(&self, size: u64) -> Result<Hash, Error> {
        self.query(move |connection| tlog::root(size, &mut complete(connection))).await
    }

    /// The way from an entry to the root of the first `size` ones.
    pub async fn log_inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        self.query(move |connection| tlog::inclusion(index, size, &mut complete(connection))).await
    }

    /// Hashes of a level of the log's tiles; none if there are not as many.
    pub async fn log_hashes(&self, level: u8, from: u64, count: u64) -> Result<Option<Vec<Hash>>, Error> {
        self.query(move |connection| hashes(connection, level, from, count).optional()).await
    }

    /// The log's entries; none if there are not as many.
    pub async fn log_entries(&self, from: u64, count: u64) -> Result<Option<Vec<Hash>>, Error> {
        self.query(move |connection| entries(connection, from, count).optional()).await
    }

    /// A record of the audit about a patient with its place in the log; nothing if it is withheld from that client.
    pub async fn logged(&self, patient: PatientKey, id: ResId, reader: &str) -> Result<Option<Logged>, Error> {
        let reader = reader.to_owned();
        self.query(move |connection| logged(connection, patient, id, &reader)).await
    }

    /// How many records of the audit the log was compared with, and the numbers of those that are not what was committed to.
    pub async fn log_changed(&self) -> Result<(u64, Vec<u64>), Error> {
        self.query(|reader| changed(reader)).await
    }

    /// Sequence numbers of records that the log knows nothing of.
    pub async fn log_added(&self) -> Result<Vec<u64>, Error> {
        self.query(|reader| added(reader)).await
    }

    /// The numbers of the log's entries whose record is gone without being forgotten in time.
    pub async fn log_missing(&self, now_ms: i64) -> Result<Vec<u64>, Error> {
        self.query(move |reader| missing(reader, now_ms)).await
    }

    /// Records as they are filed, and what they say, after a sequence number; without those of erasures, which name nobody.
    pub async fn filed(&self, after: u64) -> Result<Vec<FiledRecord>, Error> {
        self.query(move |reader| filed(reader, after)).await
    }

    /// Records that others were put in the place of, after an entry: the entry, whom the record is about, and what it says now.
    pub async fn redacted(&self, after: Option<u64>) -> Result<Vec<Redacted>, Error> {
        self.query(move |reader| redacted(reader, after)).await
    }

    /// The latest head of the log that was signed.
    pub async fn log_head(&self) -> Result<Option<Head>, Error> {
        self.query(|reader| head(reader)).await
    }

    /// Remembers what is about to be shown as signed. Durable when it returns.
    pub async fn keep_log_head(&self, head: Head) -> Result<(), Error> {
        let keep = move |connection: &Connection| {
            connection
                .prepare_cached("INSERT INTO checkpoint (size, at, note) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute(params![head.size as i64, head.at_ms, head.note])
                .map(drop)
        };
        self.writer.call(1, move |ledger| Ok(keep(&ledger.connection)?)).await
    }
}

/// Adds entries at the end; the number of the first.
pub(super) fn append(ledger: &mut Ledger, added: &[Hash]) -> sql::Result<u64> {
    let connection = &ledger.connection;
    let mut edge = match ledger.edge.take() {
        Some(edge) if ledger.edge_is_ours => edge,
        // A command beside us may have appended, or another gateway.
        known => {
            let first = size(connection)?;
            match known.filter(|edge| edge.size() == first) {
                Some(edge) => edge,
                None => resume(connection, first)?,
            }
        }
    };
    let first = edge.size();
    let mut subtrees = Vec::new();
    for entry in added {
        connection
            .prepare_cached("INSERT INTO log_entry (number, entry) VALUES (?1, ?2)")?
            .post(params![edge.size() as i64, entry])?;
        edge.push(tlog::leaf(entry), &mut subtrees);
    }
    for Subtree { level, index, root } in subtrees {
        connection
            .prepare_cached("INSERT INTO log_tile (number, root) VALUES (?1, ?2)")?
            .post(params![tile_number(level, index), root])?;
    }
    ledger.edge = Some(edge);
    ledger.edge_is_ours = true;
    Ok(first)
}

fn resume(connection: &Connection, size: u64) -> sql::Result<Edge> {
    let at_end = |(level, (from, count)): (usize, (u64, u64))| hashes(connection, level as u8, from, count);
    Ok(Edge::resume(size, tlog::levels(size).enumerate().map(at_end).collect::<Result<_, _>>()?))
}

pub(super) fn size(connection: &Connection) -> sql::Result<u64> {
    let last: Option<i64> =
        connection.prepare_cached("SELECT MAX(number) FROM log_entry")?.query_row((), |row| row.get(0))?;
    Ok(last.map_or(0, |last| last as u64 + 1))
}

pub(super) fn complete(connection: &Connection) -> impl FnMut(u8, u64) -> sql::Result<Hash> + '_ {
    |level, index| tlog::subtree(level, index, &mut |level, from, count| hashes(connection, level, from, count))
}

/// Hashes of a level of tiles; the error `QueryReturnedNoRows` if they do not stand there all.
fn hashes(connection: &Connection, level: u8, from: u64, count: u64) -> sql::Result<Vec<Hash>> {
    if level == 0 {
        return Ok(entries(connection, from, count)?.iter().map(|entry| tlog::leaf(entry)).collect());
    }
    let first = tile_number(level, from);
    all(connection, "SELECT root FROM log_tile WHERE number >= ?1 AND number < ?2", first, count)
}

fn entries(connection: &Connection, from: u64, count: u64) -> sql::Result<Vec<Hash>> {
    all(connection, "SELECT entry FROM log_entry WHERE number >= ?1 AND number < ?2", from as i64, count)
}

fn all(connection: &Connection, sql: &str, first: i64, count: u64) -> sql::Result<Vec<Hash>> {
    let found: Vec<Hash> = connection
        .prepare_cached(&format!("{sql} ORDER BY number"))?
        .query_map(params![first, first.saturating_add(count as i64)], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if found.len() as u64 == count { Ok(found) } else { Err(Fault::NoRow) }
}

fn tile_number(level: u8, index: u64) -> i64 {
    (i64::from(level) << LEVEL_SHIFT).saturating_add(index as i64)
}

fn logged(connection: &Connection, patient: PatientKey, id: ResId, reader: &str) -> sql::Result<Option<Logged>> {
    connection
        .prepare_cached(
            "SELECT entry, salt, payload FROM audit
             WHERE patient = ?1 AND id = ?2 AND NOT (withheld = 1 AND client = ?3) AND entry IS NOT NULL",
        )?
        .query_row(params![patient.0, id.0, reader], |row| {
            Ok(Logged { index: row.get::<i64>(0)? as u64, salt: row.get(1)?, payload: audit::text(row, 2)? })
        })
        .optional()
}

/// How many records there are beside the log's entries, and the numbers of those that are not what was committed to; one that
/// is damaged is none of what was.
pub(super) fn changed(connection: &Connection) -> sql::Result<(u64, Vec<u64>)> {
    let (mut records, mut changed, mut last) = (0, Vec::new(), 0);
    loop {
        let before = records;
        let mut statement = connection.prepare_cached(
            "SELECT log_entry.number, log_entry.entry, audit.salt, audit.payload, audit.seq
             FROM audit LEFT JOIN log_entry ON log_entry.number = audit.entry
             WHERE audit.salt IS NOT NULL AND audit.seq > ?1 ORDER BY audit.seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![last, PIECE])?;
        while let Some(row) = rows.next()? {
            records += 1;
            let entry: Option<Hash> = row.get(1)?;
            let salt = row.get(2)?;
            let made = expanded(row.get(3)?).ok().map(|payload| tlog::commitment(&salt, &payload));
            if made.is_none() || made != entry {
                changed.push(row.get::<Option<i64>>(0)?.unwrap_or_default() as u64);
            }
            last = row.get(4)?;
        }
        if records == before {
            changed.extend(redacted_in_vain(connection)?);
            return Ok((records, changed));
        }
    }
}

/// Records that another was put in the place of, as is done with those of an erased person, though nobody was erased whom they
/// are about. That somebody was is itself on record.
fn redacted_in_vain(connection: &Connection) -> sql::Result<Vec<u64>> {
    connection
        .prepare_cached(
            "SELECT a.entry FROM audit a WHERE a.salt IS NULL AND a.entry IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM erased e JOIN audit r ON r.id = e.record
                 WHERE e.patient = a.patient AND r.patient = a.patient AND r.salt IS NOT NULL)
             ORDER BY a.entry",
        )?
        .query_map((), |row| Ok(row.get::<i64>(0)? as u64))?
        .collect()
}

/// An entry, whom its record is about, and what that says now.
type Redacted = (u64, Option<PatientKey>, Vec<u8>);

fn redacted(connection: &Connection, after: Option<u64>) -> sql::Result<Vec<Redacted>> {
    connection
        .prepare_cached(
            "SELECT entry, patient, payload FROM audit WHERE salt IS NULL AND entry > ?1 ORDER BY entry LIMIT ?2",
        )?
        .query_map(params![after.map_or(-1, |after| after as i64), PIECE], |row| {
            let patient = row.get::<Option<[u8; 16]>>(1)?.map(PatientKey);
            Ok((row.get::<i64>(0)? as u64, patient, audit::text(row, 2).unwrap_or_default()))
        })?
        .collect()
}

/// Records that no entry of the log is about, or whose entry is another record's: these were put in by hand.
fn added(connection: &Connection) -> sql::Result<Vec<u64>> {
    connection
        .prepare_cached(
            "SELECT seq FROM audit WHERE entry IS NULL
             UNION SELECT MAX(seq) FROM audit WHERE entry IS NOT NULL GROUP BY entry HAVING COUNT(*) > 1
             ORDER BY 1",
        )?
        .query_map((), |row| Ok(row.get::<i64>(0)? as u64))?
        .collect()
}

fn filed(connection: &Connection, after: u64) -> sql::Result<Vec<FiledRecord>> {
    connection
        .prepare_cached(
            "SELECT seq, entry, at, patient, client, id, payload, withheld, salt FROM audit
             WHERE salt IS NOT NULL AND entry IS NOT NULL AND seq > ?1 AND NOT EXISTS (
                 SELECT 1 FROM erased e WHERE e.patient = audit.patient AND e.record = audit.id)
             ORDER BY seq LIMIT ?2",
        )?
        .query_map(params![after as i64, PIECE], |row| {
            Ok(FiledRecord {
                seq: row.get::<i64>(0)? as u64,
                entry: row.get::<i64>(1)? as u64,
                at_ms: row.get(2)?,
                patient: row.get::<Option<[u8; 16]>>(3)?.map(PatientKey),
                client: row.get(4)?,
                id: ResId(row.get(5)?),
                // What cannot be read is not what was committed to, which is another question.
                payload: audit::text(row, 6).unwrap_or_default(),
                withheld: (row.get::<i64>(7)? != 0, AuditRecord::is_kept_from_client(&row.get(8)?)),
            })
        })?
        .collect()
}

/// The numbers of entries whose record is not there, though nothing says that it was forgotten in time. That of a person
/// who was erased is there, and says less. Records are forgotten in their order, so that nothing can have been forgotten in
/// time that came after one which must still be kept.
pub(super) fn missing(connection: &Connection, now_ms: i64) -> sql::Result<Vec<u64>> {
    connection
        .prepare_cached(
            "SELECT number FROM (
                 SELECT number FROM log_entry EXCEPT SELECT entry FROM audit WHERE entry IS NOT NULL
                 EXCEPT SELECT entry FROM audit_forgotten
             ) gone
             UNION SELECT entry FROM audit_forgotten WHERE entry > (SELECT MIN(entry) FROM audit WHERE at > ?1)
             ORDER BY 1",
        )?
        .query_map([now_ms.saturating_sub(LEAST_KEPT_MS)], |row| Ok(row.get::<i64>(0)? as u64))?
        .collect()
}

pub(super) fn head(connection: &Connection) -> sql::Result<Option<Head>> {
    connection
        .prepare_cached("SELECT size, at, note FROM checkpoint ORDER BY size DESC LIMIT 1")?
        .query_row((), |row| Ok(Head { size: row.get::<i64>(0)? as u64, at_ms: row.get(1)?, note: row.get(2)? }))
        .optional()
}
