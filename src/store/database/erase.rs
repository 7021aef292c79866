//! Taking a person away: the tombstone first, then everything else in small steps.
//!
//! Readers pass over what belongs to a person with a tombstone (`row`), and the writer takes nothing of her, so that from
//! the first transaction on she is absent, whenever the process ends after it. Each step looks for what is still there, so
//! that it may be taken again. Deleted rows are overwritten (`secure_delete`), and in the end the log, which may still have
//! them, is emptied.

use super::consents::{bump_epoch, sum_up};
use super::row::{entry_date, filed_under, unpack};
use super::writer::{Ledger, Spoken};
use super::{Store, audit, remnants, subscriptions};
use crate::store::compact::compact;
use crate::store::erasure::{Erasure, Remnant};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, ResId, slot};
use crate::store::plan::Dated;
use crate::store::sql::{self, Connection, Optional, Row, params};
use crate::store::unit::AuditRecord;
use crate::store::upload::UploadId;

/// Resources or receipts that one step takes away.
const STEP: i64 = 200;

/// Rows of the feed that one step looks at.
const FEED_STEP: i64 = 10_000;

const COLUMNS: &str = "SELECT patient, owner, at, record, receipt, finished FROM erased";

impl Store {
    /// Writes a tombstone: from here on nothing of the person is found. False where there is one already.
    pub async fn begin_erasure(&self, erasure: Erasure, record: AuditRecord) -> Result<bool, Error> {
        self.writer.call(1, move |ledger| Ok(begin(ledger, &erasure, record)?)).await
    }

    pub async fn erasure(&self, patient: PatientKey) -> Result<Option<Erasure>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(&format!("{COLUMNS} WHERE patient = ?1"))?
                .query_row([patient.0], erasure)
                .optional()
        })
        .await
    }

    /// Those that are not finished, and those since a moment.
    pub async fn erasures_since(&self, since_ms: i64) -> Result<Vec<Erasure>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(&format!("{COLUMNS} WHERE finished = 0 OR at >= ?1"))?
                .query_map([since_ms], erasure)?
                .collect()
        })
        .await
    }

    /// How many resources there are of a patient, by type.
    pub async fn census(&self, patient: PatientKey) -> Result<Vec<(String, u64)>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT k.name, COUNT(DISTINCT e.seq) FROM entry e JOIN resource r ON r.seq = e.seq
                     JOIN kind k ON k.id = r.kind WHERE e.patient = ?1 GROUP BY k.name ORDER BY k.name",
                )?
                .query_map([patient.0], |row| Ok((row.get(0)?, row.get::<i64>(1)? as u64)))?
                .collect()
        })
        .await
    }

    /// Writes down what became known since for the receipt of an erasure that is not finished.
    pub async fn amend_erasure(&self, patient: PatientKey, receipt: Vec<u8>) -> Result<(), Error> {
        let amend = move |connection: &Connection| {
            connection
                .prepare_cached("UPDATE erased SET receipt = ?2 WHERE patient = ?1 AND finished = 0")?
                .post(params![patient.0, receipt])
        };
        self.writer.call(1, move |ledger| Ok(amend(&ledger.connection)?)).await
    }

    /// Takes away some of what an erased person left; false when nothing was left.
    pub async fn erase_step(&self, patient: PatientKey) -> Result<bool, Error> {
        let took = self.writer.call(STEP as usize, move |ledger| Ok(step(&ledger.connection, patient)?)).await?;
        if !took {
            for id in self.uploads_of(patient).await? {
                self.remove_upload(id).await?;
            }
        }
        Ok(took)
    }

    /// Takes an erased person out of the feed, from a position on; where to go on.
    pub async fn erase_feed(&self, patient: PatientKey, from: u64) -> Result<Option<u64>, Error> {
        let empty = move |connection: &Connection| {
            let (slot, from) = (slot(Some(patient)), from as i64);
            let until = from + FEED_STEP;
            connection
                .prepare_cached(
                    "UPDATE feed SET patient = NULL, items = ?5 WHERE slot = ?1 AND pos >= ?2 AND pos < ?3 AND patient = ?4",
                )?
                .post(params![slot, from, until, patient.0, b""])?;
            connection
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM feed WHERE slot = ?1 AND pos >= ?2)")?
                .query_row(params![slot, until], |row| row.get::<bool>(0))
                .map(|more| more.then_some(until as u64))
        };
        self.writer.call(STEP as usize, move |ledger| Ok(empty(&ledger.connection)?)).await
    }

    /// Records about a person with a tombstone that are still as they were committed to, after a number, with the numbers of
    /// their entries in the log; without that of the erasure.
    pub async fn audit_unredacted(
        &self,
        patient: PatientKey,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, Option<u64>, Vec<u8>)>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT seq, entry, payload FROM audit WHERE patient = ?1 AND seq > ?2 AND salt IS NOT NULL
                     AND id <> (SELECT record FROM erased WHERE patient = ?1) ORDER BY seq LIMIT ?3",
                )?
                .query_map(params![patient.0, after as i64, most as i64], |row| {
                    let entry = row.get::<Option<i64>>(1)?.map(|entry| entry as u64);
                    Ok((row.get::<i64>(0)? as u64, entry, audit::text_or_unread(row, (0, 2))?))
                })?
                .collect()
        })
        .await
    }

    /// Puts other records in the place of some, takes note of what these say destinations hold, and says so by a record of
    /// its own. What the log committed to is lost with their salts, and meant to be.
    pub async fn redact_audit(
        &self,
        records: Vec<(u64, Vec<u8>)>,
        held: Vec<Remnant>,
        said: Option<AuditRecord>,
    ) -> Result<(), Error> {
        let redact = move |ledger: &mut Ledger| {
            audit::store(ledger, said.as_slice())?;
            let connection = &ledger.connection;
            remnants::note(connection, &held)?;
            // Workers that sleep are to look.
            ledger.fed |= !held.is_empty();
            records.iter().try_for_each(|(seq, payload)| {
                connection
                    .prepare_cached("UPDATE audit SET payload = ?2, salt = NULL WHERE seq = ?1")?
                    .execute(params![*seq as i64, compact(payload)])
                    .map(drop)
            })
        };
        self.writer.call(STEP as usize, move |ledger| Ok(redact(ledger)?)).await
    }

    /// The last step: the receipt is kept, and nothing that was deleted is in any file of the store.
    pub async fn finish_erasure(&self, patient: PatientKey, receipt: Vec<u8>) -> Result<(), Error> {
        let finish = move |connection: &Connection| {
            connection
                .prepare_cached("UPDATE erased SET finished = 1, receipt = ?2 WHERE patient = ?1")?
                .execute(params![patient.0, receipt])
                .map(drop)
        };
        self.writer.call(1, move |ledger| Ok(finish(&ledger.connection)?)).await?;
        self.empty_log().await
    }

    async fn uploads_of(&self, patient: PatientKey) -> Result<Vec<UploadId>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached("SELECT id FROM upload WHERE patient = ?1")?
                .query_map([patient.0], |row| row.get(0))?
                .collect()
        })
        .await
    }
}

/// Whether a person has a tombstone.
pub(super) fn is_erased(connection: &Connection, patient: PatientKey) -> sql::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM erased WHERE patient = ?1)")?
        .query_row([patient.0], |row| row.get(0))
}

fn erasure(row: &Row<'_>) -> sql::Result<Erasure> {
    Ok(Erasure {
        patient: PatientKey(row.get(0)?),
        owner: row.get(1)?,
        at_ms: row.get(2)?,
        record: ResId(row.get(3)?),
        receipt: row.get(4)?,
        finished: row.get(5)?,
    })
}

fn begin(ledger: &mut Ledger, erasure: &Erasure, record: AuditRecord) -> sql::Result<bool> {
    let patient = erasure.patient;
    ledger.sealers.remove(&patient);
    let connection = &ledger.connection;
    if is_erased(connection, patient)? {
        return Ok(false);
    }
    bury(connection, erasure)?;
    // What is on its way at this moment may arrive, so that it is on record as sent.
    audit::inherit_of(ledger, patient)?;
    shut(&ledger.connection, &ledger.spoken, patient)?;
    audit::store(ledger, &[record])?;
    Ok(true)
}

/// Writes the tombstone.
fn bury(connection: &Connection, erasure: &Erasure) -> sql::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO erased (patient, owner, at, record, receipt, finished) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
        )?
        .post(params![erasure.patient.0, erasure.owner, erasure.at_ms, erasure.record.0, erasure.receipt])
}

/// Begins an erasure again in a copy of the store that was made before it; false where the copy knows of it. The steps
/// follow when the store is served.
pub(super) fn repeat(connection: &Connection, erasure: &Erasure) -> sql::Result<bool> {
    if is_erased(connection, erasure.patient)? {
        return Ok(false);
    }
    bury(connection, erasure)?;
    // Nobody decides by a copy that is being made.
    shut(connection, &Spoken::default(), erasure.patient)?;
    Ok(true)
}

/// Takes away what opens what is kept of a person, and what waits.
fn shut(connection: &Connection, spoken: &Spoken, patient: PatientKey) -> sql::Result<()> {
    // What waits could be sent no more and would stand in the way; it is known by the person alone.
    for sql in [
        "DELETE FROM retry WHERE destination IN (SELECT destination FROM cursor WHERE slot = 0) AND lane = ?1",
        "DELETE FROM dead WHERE lane = ?1",
        "DELETE FROM consent WHERE patient = ?1",
        "DELETE FROM consent_turn WHERE patient = ?1",
        "DELETE FROM lifted WHERE patient = ?1",
        "DELETE FROM link WHERE patient = ?1",
        "DELETE FROM idem WHERE patient = ?1",
        // Whatever of hers lies about, in whichever copy, is closed for good.
        "DELETE FROM person_key WHERE patient = ?1",
        "DELETE FROM raw WHERE patient = ?1",
    ] {
        connection.prepare_cached(sql)?.post([patient.0])?;
    }
    subscriptions::erase(connection, patient)?;
    // Whoever decides by what she said notices.
    bump_epoch(connection, spoken, patient, 0)?;
    connection.prepare_cached("UPDATE patient_state SET restricted = NULL WHERE patient = ?1")?.post([patient.0])?;
    sum_up(connection, patient)
}

fn step(connection: &Connection, patient: PatientKey) -> sql::Result<bool> {
    let numbers: Vec<i64> = connection
        .prepare_cached("SELECT DISTINCT seq FROM entry WHERE patient = ?1 LIMIT ?2")?
        .query_map(params![patient.0, STEP], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for seq in &numbers {
        resource(connection, patient, *seq)?;
    }
    if !numbers.is_empty() {
        return Ok(true);
    }
    connection.prepare_cached("DELETE FROM series WHERE patient = ?1")?.post([patient.0])?;
    // The number that a client's next receipt follows must stay, and nothing else of it.
    connection
        .prepare_cached(
            "UPDATE receipt SET record = NULL, patient = NULL, body = ?2 WHERE patient = ?1
             AND number = (SELECT MAX(number) FROM receipt m WHERE m.client = receipt.client)",
        )?
        .post(params![patient.0, b"{}"])?;
    let gone = connection
        .prepare_cached(
            "DELETE FROM receipt WHERE (client, number) IN
             (SELECT client, number FROM receipt WHERE patient = ?1 LIMIT ?2)",
        )?
        .execute(params![patient.0, STEP])?;
    Ok(gone > 0)
}

/// Takes a resource with all that leads to it.
pub(super) fn resource(connection: &Connection, patient: PatientKey, seq: i64) -> sql::Result<()> {
    type Found = (i64, Option<String>, Option<Dated>, Vec<i64>, Vec<i64>, u16);
    let found: Option<Found> = connection
        .prepare_cached("SELECT kind, name, date, codes, tokens, labels FROM resource WHERE seq = ?1")?
        .query_row([seq], |row| {
            let (codes, tokens) = (row.get_ref(3)?.as_blob_or_null()?, row.get_ref(4)?.as_blob_or_null()?);
            let date = row.get::<Option<i64>>(2)?.map(Dated::of_column);
            Ok((row.get(0)?, row.get(1)?, date, unpack(codes), unpack(tokens), row.get(5)?))
        })
        .optional()?;
    let Some((kind, name, date, codes, tokens, labels)) = found else { return Ok(()) };
    for code in codes {
        connection
            .prepare_cached("DELETE FROM entry WHERE patient = ?1 AND code = ?2 AND date = ?3 AND seq = ?4")?
            .post(params![patient.0, filed_under(code, labels), entry_date(date), seq])?;
    }
    for token in tokens {
        connection.prepare_cached("DELETE FROM token WHERE hash = ?1 AND seq = ?2")?.post(params![token, seq])?;
    }
    if let Some(name) = name {
        connection.prepare_cached("DELETE FROM alias WHERE kind = ?1 AND name = ?2")?.post(params![kind, name])?;
    }
    for sql in [
        "DELETE FROM reading WHERE seq = ?1",
        "DELETE FROM span WHERE seq = ?1",
        "DELETE FROM member WHERE seq = ?1",
        "DELETE FROM open_stretch WHERE seq = ?1",
    ] {
        connection.prepare_cached(sql)?.post([seq])?;
    }
    connection.prepare_cached("DELETE FROM history WHERE seq = ?1")?.post([seq])?;
    connection.prepare_cached("DELETE FROM resource WHERE seq = ?1")?.execute([seq]).map(drop)
}
