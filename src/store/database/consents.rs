//! A patient's consents, and the epoch by which a decision taken on them is known to be stale.
//!
//! Which resources are consents is said by who writes them; what they mean is not known here.

use super::pool::Reader;
use super::writer::{Ledger, Spoken};
use super::{Store, audit, erase, retry, row, subscriptions};
use crate::store::fault::{Error, Health};
use crate::store::id::PatientKey;
use crate::store::plan::Stored;
use crate::store::sql::{self, Connection, Optional, params};
use crate::store::unit::{AuditRecord, Said};

impl Store {
    /// The patient's consent epoch and current consents, seen at one moment.
    pub async fn consents(&self, patient: PatientKey) -> Result<(u64, Vec<Stored>), Error> {
        self.query(move |connection| {
            let epoch = consent_epoch(connection, patient)?;
            Ok((epoch, current_consents(connection, patient)?))
        })
        .await
    }

    /// All that the patient has said, seen at one moment; nothing, where it is still what it was at an epoch that is known.
    pub async fn said(&self, patient: PatientKey, known: Option<u64>) -> Result<Option<Said>, Error> {
        self.query(move |connection| {
            let epoch = consent_epoch(connection, patient)?;
            if known == Some(epoch) {
                return Ok(None);
            }
            Ok(Some(Said {
                epoch,
                consents: current_consents(connection, patient)?,
                restricted_ms: restricted(connection, patient)?,
                erased: erase::is_erased(connection, patient)?,
                whole: is_whole(connection, patient)?,
            }))
        })
        .await
    }

    /// A number that is another one as soon as it is answered that what any person has said changed; none where other gateways
    /// write, of whom nothing is heard, and where the store is not well.
    pub fn said_so_far(&self) -> Option<u64> {
        let alone = !self.base.is_shared() && self.writer.health() == Health::Ok;
        alone.then(|| self.writer.spoken())
    }

    /// Begins or ends that what is the patient's is kept and nothing else; answers since when it is so. What waits for
    /// another attempt is due when it ends.
    pub async fn restrict(
        &self,
        patient: PatientKey,
        on: bool,
        at_ms: i64,
        record: AuditRecord,
    ) -> Result<Option<i64>, Error> {
        self.writer.call(1, move |ledger| Ok(restrict(ledger, patient, on, at_ms, record)?)).await
    }

    /// Whether what was the patient's was kept and nothing else at a moment.
    pub async fn was_restricted(&self, patient: PatientKey, then_ms: i64) -> Result<bool, Error> {
        self.query(move |connection| was_restricted(connection, patient, then_ms)).await
    }

    /// How many turns there were at a patient, for whoever writes what depends on what else there is; none where no other
    /// gateway writes.
    pub async fn turn(&self, patient: PatientKey) -> Result<Option<u64>, Error> {
        if !self.base.is_shared() {
            return Ok(None);
        }
        self.query(move |connection| turn(connection, patient)).await.map(Some)
    }

    /// The patient's consents as they stood at a moment.
    pub async fn consents_then(&self, patient: PatientKey, then_ms: i64) -> Result<Vec<Stored>, Error> {
        self.query(move |connection| past_consents(connection, patient, then_ms)).await
    }
}

fn restricted(connection: &Connection, patient: PatientKey) -> sql::Result<Option<i64>> {
    let since: Option<Option<i64>> = connection
        .prepare_cached("SELECT restricted FROM patient_state WHERE patient = ?1")?
        .query_row([patient.0], |row| row.get(0))
        .optional()?;
    Ok(since.flatten())
}

fn was_restricted(connection: &Connection, patient: PatientKey, then_ms: i64) -> sql::Result<bool> {
    if restricted(connection, patient)?.is_some_and(|since_ms| since_ms <= then_ms) {
        return Ok(true);
    }
    let lifted: Option<i64> = connection
        .prepare_cached("SELECT since FROM lifted WHERE patient = ?1 AND since <= ?2 AND until > ?2 LIMIT 1")?
        .query_row(params![patient.0, then_ms], |row| row.get(0))
        .optional()?;
    Ok(lifted.is_some())
}

/// Whoever decides by what the person has said notices by the epoch.
fn restrict(
    ledger: &mut Ledger,
    patient: PatientKey,
    on: bool,
    at_ms: i64,
    record: AuditRecord,
) -> sql::Result<Option<i64>> {
    let connection = &ledger.connection;
    let stood = restricted(connection, patient)?;
    let stands = on.then(|| stood.unwrap_or(at_ms));
    if stands != stood {
        let moved = restriction_mark(patient, stands) - restriction_mark(patient, stood);
        bump_epoch(connection, &ledger.spoken, patient, moved)?;
        connection
            .prepare_cached("UPDATE patient_state SET restricted = ?2 WHERE patient = ?1")?
            .post(params![patient.0, stands])?;
    }
    if stands.is_none()
        && let Some(since_ms) = stood
    {
        connection
            .prepare_cached(
                "INSERT INTO lifted (patient, since, until) VALUES (?1, ?2, ?3)
                 ON CONFLICT (patient, since) DO UPDATE SET until = excluded.until WHERE lifted.until < excluded.until",
            )?
            .post(params![patient.0, since_ms, at_ms])?;
        retry::due_at_once(connection, patient)?;
        subscriptions::due_at_once(connection, patient)?;
        // Workers that sleep are to look.
        ledger.fed = true;
    }
    audit::store(ledger, &[record])?;
    Ok(stands)
}

/// How often the patient's consents have changed.
pub(super) fn consent_epoch(connection: &Connection, patient: PatientKey) -> sql::Result<u64> {
    let epoch: Option<i64> = connection
        .prepare_cached("SELECT consent_epoch FROM patient_state WHERE patient = ?1")?
        .query_row([patient.0], |row| row.get(0))
        .optional()?;
    Ok(epoch.unwrap_or(0) as u64)
}

/// Counts a change of what the person has said; `moved` is by how much the marks of it have changed.
pub(super) fn bump_epoch(connection: &Connection, spoken: &Spoken, patient: PatientKey, moved: i64) -> sql::Result<()> {
    spoken.0.set(true);
    connection
        .prepare_cached(
            "INSERT INTO patient_state (patient, consent_epoch, sum) VALUES (?1, 1, ?2)
             ON CONFLICT (patient) DO UPDATE SET consent_epoch = patient_state.consent_epoch + 1,
                                                 sum = patient_state.sum + excluded.sum",
        )?
        .post(params![patient.0, epoch_mark(patient) + moved])
}

/// The marks have changed by so much; that something was said, somebody else counts.
pub(super) fn move_sum(connection: &Connection, patient: PatientKey, moved: i64) -> sql::Result<()> {
    connection
        .prepare_cached("UPDATE patient_state SET sum = sum + ?2 WHERE patient = ?1")?
        .post(params![patient.0, moved])
}

/// A consent that is looked for under the person from now on, or no longer.
pub(super) fn consent_mark(patient: PatientKey, seq: i64) -> i64 {
    mark(patient, b"consent", seq)
}

fn epoch_mark(patient: PatientKey) -> i64 {
    mark(patient, b"epoch", 0)
}

fn restriction_mark(patient: PatientKey, since_ms: Option<i64>) -> i64 {
    since_ms.map_or(0, |since_ms| mark(patient, b"restricted", since_ms))
}

/// A number that says which of the rows that a decision looks for there are: their sum is kept beside them, and what is lost or
/// changed by itself no longer adds up. Small enough that no sum overflows.
fn mark(patient: PatientKey, what: &[u8], number: i64) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&patient.0).update(what).update(&number.to_le_bytes());
    let [first, second, third, fourth, ..] = *hasher.finalize().as_bytes();
    i64::from(u32::from_le_bytes([first, second, third, fourth]))
}

/// Whether what the person has said is found as it was written down.
fn is_whole(connection: &Connection, patient: PatientKey) -> sql::Result<bool> {
    let kept: Option<i64> = connection
        .prepare_cached("SELECT sum FROM patient_state WHERE patient = ?1")?
        .query_row([patient.0], |row| row.get(0))
        .optional()?;
    Ok(kept.unwrap_or(0) == sum(connection, patient)?)
}

fn sum(connection: &Connection, patient: PatientKey) -> sql::Result<i64> {
    let consents = numbers(connection, patient)?.into_iter().map(|seq| consent_mark(patient, seq));
    let epochs = epoch_mark(patient).wrapping_mul(consent_epoch(connection, patient)? as i64);
    let restricted = restriction_mark(patient, restricted(connection, patient)?);
    Ok(consents.fold(epochs.wrapping_add(restricted), i64::wrapping_add))
}

/// Writes down what there is of the person, whatever was written down before.
pub(super) fn sum_up(connection: &Connection, patient: PatientKey) -> sql::Result<()> {
    connection
        .prepare_cached("UPDATE patient_state SET sum = ?2 WHERE patient = ?1")?
        .post(params![patient.0, sum(connection, patient)?])
}

/// Does so for everybody, where nothing was written down yet.
pub(super) fn sum_up_all(connection: &Connection) -> sql::Result<()> {
    let mut after: Option<[u8; 16]> = None;
    loop {
        let next: Option<[u8; 16]> = connection
            .prepare_cached("SELECT patient FROM patient_state WHERE patient > ?1 ORDER BY patient LIMIT 1")?
            .query_row([after.as_ref().map_or(&[][..], |after| &after[..])], |row| row.get(0))
            .optional()?;
        let Some(patient) = next else { return Ok(()) };
        sum_up(connection, PatientKey(patient))?;
        after = next;
    }
}

/// Of how many persons it is not found as it was written down.
pub(super) fn broken(connection: &Connection) -> sql::Result<i64> {
    let mut statement =
        connection.prepare_cached("SELECT patient FROM patient_state UNION SELECT patient FROM consent")?;
    let mut rows = statement.query(())?;
    let mut broken = 0;
    while let Some(row) = rows.next()? {
        let patient = <[u8; 16]>::try_from(row.get_ref(0)?.as_blob()?).map(PatientKey);
        broken += i64::from(!patient.is_ok_and(|patient| is_whole(connection, patient).unwrap_or(false)));
    }
    Ok(broken)
}

fn turn(connection: &Connection, patient: PatientKey) -> sql::Result<u64> {
    let number: Option<i64> = connection
        .prepare_cached("SELECT turn FROM patient_state WHERE patient = ?1")?
        .query_row([patient.0], |row| row.get(0))
        .optional()?;
    Ok(number.unwrap_or(0) as u64)
}

/// Whether nobody was faster.
pub(super) fn take_turn(connection: &Connection, patient: PatientKey, number: u64) -> sql::Result<bool> {
    let taken = connection
        .prepare_cached(
            "INSERT INTO patient_state (patient, consent_epoch, turn) VALUES (?1, 0, 1)
             ON CONFLICT (patient) DO UPDATE SET turn = patient_state.turn + 1 WHERE patient_state.turn = ?2",
        )?
        .execute(params![patient.0, number as i64])?;
    Ok(taken > 0)
}

fn numbers(connection: &Connection, patient: PatientKey) -> sql::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT seq FROM consent WHERE patient = ?1 ORDER BY seq")?
        .query_map([patient.0], |row| row.get(0))?
        .collect()
}

fn current_consents(connection: &Reader, patient: PatientKey) -> sql::Result<Vec<Stored>> {
    let mut consents = Vec::new();
    for seq in numbers(connection, patient)? {
        consents.extend(row::current_or_unread(connection, seq as u64)?);
    }
    Ok(consents)
}

/// Of each the version that was the last one by then, if there was one.
fn past_consents(connection: &Reader, patient: PatientKey, then_ms: i64) -> sql::Result<Vec<Stored>> {
    let mut consents = Vec::new();
    for seq in numbers(connection, patient)? {
        let version: Option<u32> = connection
            .prepare_cached(
                "SELECT MAX(version) FROM (
                     SELECT version FROM resource WHERE seq = ?1 AND updated <= ?2
                     UNION ALL SELECT version FROM history WHERE seq = ?1 AND updated <= ?2) versions",
            )?
            .query_row([seq, then_ms], |row| row.get(0))?;
        if let Some(version) = version {
            consents.extend(row::version(connection, seq as u64, version)?);
        }
    }
    consents.retain(|stored| !stored.deleted);
    Ok(consents)
}
