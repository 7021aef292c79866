//! Exports: a row each, a row for each slot of the work, and rows of the lines.
//!
//! The cut is a promise about the future as much as the past: what was kept later says that it is later. The row of the
//! export is written in the writer's turn, so that whatever was kept before carries an earlier time or is of the future;
//! and a unit that was decided before the cut and comes after it is decided anew (`is_before_cut`), with a later time.

use std::collections::HashMap;
use std::sync::Arc;

use super::items::{named_items, packed_items};
use super::pool::Reader;
use super::writer::Ledger;
use super::{Store, audit, row};
use crate::store::export::{
    Changed, ExportId, ExportJob, ExportPart, ExportPieceHead, ExportPlace, ExportState, ExportStep, Standing,
};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, SLOTS, slot};
use crate::store::outbox::Fenced;
use crate::store::plan::Readable;
use crate::store::sql::{self, Connection, Optional, Row, Value, params};
use crate::store::unit::{AuditRecord, Unit};

const JOB: &str =
    "SELECT id, client, about, persons, nobodys, secret, cut, state, lines, told, failure, created, until FROM export";

impl Store {
    /// Begins an export and records who asked for it; false where the client has as many under way as it may. From here on
    /// nothing is kept any more that says it was kept by the cut. The work is done `phases` times over.
    pub async fn create_export(
        &self,
        job: ExportJob,
        phases: u8,
        most_under_way: u64,
        record: AuditRecord,
    ) -> Result<bool, Error> {
        self.writer.call(1, move |ledger| Ok(create(ledger, &job, phases, most_under_way, record)?)).await
    }

    pub async fn export(&self, id: ExportId) -> Result<Option<ExportJob>, Error> {
        self.query(move |connection| {
            connection.prepare_cached(&format!("{JOB} WHERE id = ?1"))?.query_row([id], job).optional()
        })
        .await
    }

    /// A slot of some export's work that nobody has, or whose holder was not heard of for too long.
    pub async fn lease_export(
        &self,
        worker: &str,
        now_ms: i64,
        ttl_ms: i64,
    ) -> Result<Option<(ExportJob, ExportPart)>, Error> {
        // Who only looks takes no turn from those who write.
        let waits = self.query(move |connection| Ok(waiting(connection, now_ms)?.is_some())).await?;
        if !waits {
            return Ok(None);
        }
        let worker = worker.to_owned();
        self.writer.call(1, move |ledger| Ok(lease(&ledger.connection, &worker, now_ms, ttl_ms)?)).await
    }

    /// A worker ends, and others need not wait until its leases do.
    pub async fn give_back_exports(&self, worker: &str) -> Result<(), Error> {
        let worker = worker.to_owned();
        let give_back = move |ledger: &mut Ledger| {
            ledger
                .connection
                .prepare_cached("UPDATE export_part SET until = ?2 WHERE worker = ?1 AND until > ?2")?
                .execute(params![worker, i64::MIN])
                .map(drop)
        };
        self.writer.call(1, move |ledger| Ok(give_back(ledger)?)).await
    }

    /// Adds what a step came to, moves its place and prolongs the lease: all or, if the lease was lost, nothing.
    pub async fn advance_export(&self, part: &ExportPart, step: ExportStep, until_ms: i64) -> Result<Fenced, Error> {
        let part = part.clone();
        let weight = step.records.len() + step.pieces.len() + step.counted.len();
        self.writer.call(weight.max(1), move |ledger| Ok(advance(ledger, &part, &step, until_ms)?)).await
    }

    /// The work cannot be done.
    pub async fn fail_export(&self, id: ExportId, failure: &str) -> Result<(), Error> {
        let failure = failure.to_owned();
        let fail = move |connection: &Connection| {
            connection
                .prepare_cached("UPDATE export SET state = ?2, failure = ?3 WHERE id = ?1 AND state = ?4")?
                .execute(params![id, ExportState::Failed as u8, failure, ExportState::Working as u8])
                .map(drop)
        };
        self.writer.call(1, move |ledger| Ok(fail(&ledger.connection)?)).await
    }

    /// Whether there was one.
    pub async fn remove_export(&self, id: ExportId) -> Result<bool, Error> {
        self.writer.call(1, move |ledger| Ok(remove(&ledger.connection, id)?)).await
    }

    /// Takes away exports that were asked for with a text in the request.
    pub async fn remove_exports_naming(&self, text: &str) -> Result<(), Error> {
        let text = text.to_owned();
        let naming: Vec<ExportId> = self
            .query(move |connection| {
                let mut statement = connection.prepare_cached("SELECT id, about FROM export")?;
                let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get::<Vec<u8>>(1)?)))?;
                let naming = |row: &(ExportId, Vec<u8>)| String::from_utf8_lossy(&row.1).contains(&text);
                Ok(rows.collect::<sql::Result<Vec<_>>>()?.into_iter().filter(naming).map(|(id, _)| id).collect())
            })
            .await?;
        for id in naming {
            self.remove_export(id).await?;
        }
        Ok(())
    }

    /// Forgets exports whose time is over; returns how many.
    pub async fn expire_exports(&self, now_ms: i64) -> Result<usize, Error> {
        let expired: Vec<ExportId> = self
            .query(move |connection| {
                connection
                    .prepare_cached("SELECT id FROM export WHERE until <= ?1 LIMIT 100")?
                    .query_map([now_ms], |row| row.get(0))?
                    .collect()
            })
            .await?;
        for id in &expired {
            self.remove_export(*id).await?;
        }
        Ok(expired.len())
    }

    /// Whoever comes next in a slot.
    pub async fn next_exported(&self, slot: u16, after: Option<PatientKey>) -> Result<Option<PatientKey>, Error> {
        self.query(move |connection| next_person(connection, slot, after)).await
    }

    /// What stood of a person at a moment, or of nobody, after a sequence number and in that order.
    pub async fn standing(&self, person: Option<PatientKey>, after: u64, cut_ms: i64) -> Result<Vec<Standing>, Error> {
        self.query(move |connection| standing(connection, person, after, cut_ms)).await
    }

    /// What of some kinds was changed after a moment, person by person; none where that is more than so many.
    pub async fn changed_since(
        &self,
        kinds: Vec<Arc<str>>,
        since_ms: i64,
        most: usize,
    ) -> Result<Option<Vec<Changed>>, Error> {
        self.query(move |connection| changed_since(connection, &kinds, since_ms, most)).await
    }

    /// What of some resources stood at a moment, by their sequence numbers and in that order.
    pub async fn standing_of(&self, asked: Vec<u64>, cut_ms: i64) -> Result<Vec<Standing>, Error> {
        self.query(move |connection| {
            let keys: Vec<_> = asked.iter().map(|seq| [Value::Integer(*seq as i64)]).collect();
            let sql = "SELECT seq, kind, version, updated, deleted FROM resource WHERE seq = ?1";
            let found = connection.find_each(sql, &keys, current)?;
            stood(connection, found.into_iter().flatten(), cut_ms)
        })
        .await
    }

    /// Those of some versions that are there, by sequence number and version, in the order asked.
    pub async fn standing_versions(&self, asked: Vec<(u64, u32)>) -> Result<Readable, Error> {
        self.query(move |connection| {
            let mut found = Readable::default();
            for (seq, version) in asked {
                found.file((seq, version), row::version(connection, seq, version))?;
            }
            Ok(found)
        })
        .await
    }

    /// The pieces of an export, in the order of its files.
    pub async fn export_pieces(&self, id: ExportId) -> Result<Vec<ExportPieceHead>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT kind, gone, slot, number, count FROM export_piece WHERE job = ?1
                     ORDER BY gone, kind, slot, number",
                )?
                .query_map([id], |row| {
                    Ok(ExportPieceHead {
                        kind: row.get(0)?,
                        gone: row.get(1)?,
                        slot: row.get(2)?,
                        number: row.get::<i64>(3)? as u64,
                        lines: row.get::<i64>(4)? as u64,
                    })
                })?
                .collect()
        })
        .await
    }

    /// The lines of one piece; none where the export was removed meanwhile.
    pub async fn export_lines(&self, id: ExportId, head: &ExportPieceHead) -> Result<Option<Vec<(u64, u32)>>, Error> {
        let head = head.clone();
        self.query(move |connection| {
            let bytes: Option<Vec<u8>> = connection
                .prepare_cached(
                    "SELECT lines FROM export_piece WHERE job = ?1 AND slot = ?2 AND number = ?3 AND kind = ?4 AND gone = ?5",
                )?
                .query_row(params![id, head.slot, head.number as i64, head.kind, head.gone], |row| row.get(0))
                .optional()?;
            Ok(bytes.map(|bytes| named_items(&bytes)))
        })
        .await
    }

    /// In how many persons each group was seen; the groups of fewer than `least` are left out.
    pub async fn export_counts(&self, id: ExportId, least: u64) -> Result<Vec<[u8; 16]>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached("SELECT name FROM export_count WHERE job = ?1 AND persons >= ?2")?
                .query_map(params![id, least as i64], |row| row.get(0))?
                .collect()
        })
        .await
    }
}

fn job(row: &Row<'_>) -> sql::Result<ExportJob> {
    let number = |index: usize| row.get::<i64>(index).map(|number| number as u64);
    let state: u8 = row.get(7)?;
    let persons: Option<Vec<u8>> = row.get(3)?;
    Ok(ExportJob {
        id: row.get(0)?,
        client: row.get(1)?,
        about: row.get(2)?,
        persons: persons.map(|bytes| bytes.as_chunks::<16>().0.iter().map(|key| PatientKey(*key)).collect()),
        nobodys: row.get(4)?,
        secret: row.get(5)?,
        cut_ms: row.get(6)?,
        state: ExportState::ALL.get(usize::from(state)).copied().unwrap_or(ExportState::Failed),
        lines: number(8)?,
        told: number(9)?,
        failure: row.get(10)?,
        created_ms: row.get(11)?,
        until_ms: row.get(12)?,
    })
}

fn create(
    ledger: &mut Ledger,
    job: &ExportJob,
    phases: u8,
    most_under_way: u64,
    record: AuditRecord,
) -> sql::Result<bool> {
    let connection = &ledger.connection;
    let under_way: i64 = connection
        .prepare_cached("SELECT COUNT(*) FROM export WHERE client = ?1 AND state = ?2")?
        .query_row(params![job.client, ExportState::Working as u8], |row| row.get(0))?;
    if under_way as u64 >= most_under_way {
        return Ok(false);
    }
    let persons: Option<Vec<u8>> =
        job.persons.as_ref().map(|persons| persons.iter().flat_map(|person| person.0).collect());
    connection
        .prepare_cached(
            "INSERT INTO export (id, client, about, persons, nobodys, secret, cut, state, created, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .post(params![
            job.id,
            job.client,
            job.about,
            persons,
            job.nobodys,
            job.secret,
            job.cut_ms,
            ExportState::Working as u8,
            job.created_ms,
            job.until_ms
        ])?;
    // Of a few persons, the slots of others would only be looked at in vain.
    let slots: Vec<u16> = match &job.persons {
        None => (0..SLOTS).collect(),
        Some(persons) => {
            let mut slots: Vec<u16> = persons.iter().map(|person| slot(Some(*person))).collect();
            slots.extend(job.nobodys.then_some(0));
            slots.push(persons.first().map_or(0, |person| slot(Some(*person))));
            slots.sort_unstable();
            slots.dedup();
            slots
        }
    };
    for slot in slots {
        connection
            .prepare_cached(
                "INSERT INTO export_part (job, slot, phase, left_over, epoch, worker, until)
                 VALUES (?1, ?2, 0, ?3, 0, '', ?4)",
            )?
            .post(params![job.id, slot, phases, i64::MIN])?;
    }
    audit::store(ledger, &[record])?;
    Ok(true)
}

/// Whoever holds the lock of the directory is alone, so the leases of earlier processes bind nobody.
pub(super) fn release(connection: &Connection) -> sql::Result<()> {
    connection.execute("UPDATE export_part SET until = ?1 WHERE until > ?1", [i64::MIN]).map(drop)
}

/// Whether a unit was decided by the cut of an export and comes after it.
pub(super) fn is_before_cut(connection: &Connection, unit: &Unit) -> sql::Result<bool> {
    let Some(decided_ms) = unit.writes.iter().map(|write| write.updated_ms).min() else { return Ok(false) };
    let cut_ms: Option<i64> = connection
        .prepare_cached("SELECT cut FROM export ORDER BY cut DESC LIMIT 1")?
        .query_row((), |row| row.get(0))
        .optional()?;
    Ok(cut_ms.is_some_and(|cut_ms| decided_ms <= cut_ms))
}

/// The export that has the least lines first; of one, no slot goes ahead of a phase that others are still in.
fn waiting(connection: &Connection, now_ms: i64) -> sql::Result<Option<ExportPart>> {
    connection
        .prepare_cached(
            "SELECT p.job, p.slot, p.phase, p.person, p.seq, p.epoch FROM export_part p JOIN export e ON e.id = p.job
             WHERE e.state = ?1 AND p.left_over > 0 AND p.until <= ?2
             AND NOT EXISTS (SELECT 1 FROM export_part o WHERE o.job = p.job AND o.phase < p.phase)
             ORDER BY e.lines, e.created, e.id, p.slot LIMIT 1",
        )?
        .query_row(params![ExportState::Working as u8, now_ms], |row| {
            let person = row.get::<Option<[u8; 16]>>(3)?.map(PatientKey);
            let seq: Option<i64> = row.get(4)?;
            Ok(ExportPart {
                job: row.get(0)?,
                slot: row.get(1)?,
                phase: row.get(2)?,
                after: seq.map(|seq| ExportPlace { person, seq: seq as u64 }),
                epoch: row.get::<i64>(5)? as u64,
            })
        })
        .optional()
}

fn lease(
    connection: &Connection,
    worker: &str,
    now_ms: i64,
    ttl_ms: i64,
) -> sql::Result<Option<(ExportJob, ExportPart)>> {
    let Some(found) = waiting(connection, now_ms)? else { return Ok(None) };
    let part = ExportPart { epoch: found.epoch + 1, ..found };
    connection
        .prepare_cached("UPDATE export_part SET epoch = ?3, worker = ?4, until = ?5 WHERE job = ?1 AND slot = ?2")?
        .execute(params![part.job, part.slot, part.epoch as i64, worker, now_ms.saturating_add(ttl_ms)])?;
    let job = connection.prepare_cached(&format!("{JOB} WHERE id = ?1"))?.query_row([part.job], job)?;
    Ok(Some((job, part)))
}

fn advance(ledger: &mut Ledger, part: &ExportPart, step: &ExportStep, until_ms: i64) -> sql::Result<Fenced> {
    let connection = &ledger.connection;
    let held = match &step.to {
        Some(place) => connection
            .prepare_cached(
                "UPDATE export_part SET person = ?4, seq = ?5, until = ?6 WHERE job = ?1 AND slot = ?2 AND epoch = ?3",
            )?
            .execute(params![
                part.job,
                part.slot,
                part.epoch as i64,
                place.person.map(|person| person.0),
                place.seq as i64,
                until_ms
            ])?,
        None => connection
            .prepare_cached(
                "UPDATE export_part SET person = NULL, seq = NULL, phase = phase + 1, left_over = left_over - 1, until = ?4
                 WHERE job = ?1 AND slot = ?2 AND epoch = ?3",
            )?
            .execute(params![part.job, part.slot, part.epoch as i64, i64::MIN])?,
    };
    if held == 0 {
        return Ok(Fenced::Lost);
    }
    let number: i64 = connection
        .prepare_cached("SELECT COALESCE(MAX(number), 0) + 1 FROM export_piece WHERE job = ?1 AND slot = ?2")?
        .query_row(params![part.job, part.slot], |row| row.get(0))?;
    for piece in &step.pieces {
        connection
            .prepare_cached(
                "INSERT INTO export_piece (job, slot, number, kind, gone, count, lines)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .post(params![
                part.job,
                part.slot,
                number,
                piece.kind,
                piece.gone,
                piece.lines.len() as i64,
                packed_items(&piece.lines)
            ])?;
    }
    for (name, persons) in &step.counted {
        connection
            .prepare_cached(
                "INSERT INTO export_count (job, name, persons) VALUES (?1, ?2, ?3)
                 ON CONFLICT (job, name) DO UPDATE SET persons = export_count.persons + excluded.persons",
            )?
            .post(params![part.job, name, *persons as i64])?;
    }
    let lines: usize = step.pieces.iter().map(|piece| piece.lines.len()).sum();
    connection
        .prepare_cached("UPDATE export SET lines = lines + ?2, told = told + ?3, until = ?4 WHERE id = ?1")?
        .post(params![part.job, lines as i64, step.told as i64, step.keep_until_ms])?;
    if step.to.is_none() {
        connection
            .prepare_cached(
                "UPDATE export SET state = ?2 WHERE id = ?1 AND state = ?3
                 AND NOT EXISTS (SELECT 1 FROM export_part p WHERE p.job = ?1 AND p.left_over > 0)",
            )?
            .post(params![part.job, ExportState::Finished as u8, ExportState::Working as u8])?;
    }
    audit::store(ledger, &step.records)?;
    Ok(Fenced::Held)
}

fn remove(connection: &Connection, id: ExportId) -> sql::Result<bool> {
    for sql in [
        "DELETE FROM export_piece WHERE job = ?1",
        "DELETE FROM export_count WHERE job = ?1",
        "DELETE FROM export_part WHERE job = ?1",
    ] {
        connection.prepare_cached(sql)?.post([id])?;
    }
    Ok(connection.prepare_cached("DELETE FROM export WHERE id = ?1")?.execute([id])? > 0)
}

/// The keys of a slot's persons begin with its number, in four bits.
fn next_person(connection: &Reader, of: u16, after: Option<PatientKey>) -> sql::Result<Option<PatientKey>> {
    let first = [(of << 4) as u8];
    // A byte alone stands before everything that begins with it, and the empty key before everything.
    let after: &[u8] = match &after {
        Some(person) => &person.0,
        None if of == 0 => &[],
        None => &first,
    };
    let next: Option<[u8; 16]> = connection
        .prepare_cached("SELECT patient FROM entry WHERE patient > ?1 ORDER BY patient LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?;
    Ok(next.map(PatientKey).filter(|person| slot(Some(*person)) == of))
}

/// Everything is by one index, and each row is looked at for its person.
fn changed_since(
    connection: &Reader,
    kinds: &[Arc<str>],
    since_ms: i64,
    most: usize,
) -> sql::Result<Option<Vec<Changed>>> {
    let mut changed = Vec::new();
    for name in kinds {
        let mut statement = connection.prepare_cached(
            "SELECT r.patient, r.seq FROM kind k JOIN resource r ON r.kind = k.id
             WHERE k.name = ?1 AND r.updated > ?2 LIMIT ?3",
        )?;
        let room = (most - changed.len()) as i64 + 1;
        let rows = statement.query_map(params![name, since_ms, room], |row| {
            Ok((row.get::<Option<[u8; 16]>>(0)?.map(PatientKey), row.get::<i64>(1)? as u64))
        })?;
        for row in rows {
            changed.push(row?);
        }
        if changed.len() > most {
            return Ok(None);
        }
    }
    changed.sort_unstable();
    Ok(Some(changed))
}

/// Sequence number, kind, version, when it was written and whether it is deleted.
type Current = (i64, i64, u32, i64, bool);

fn current(row: &Row<'_>) -> sql::Result<Current> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn standing(connection: &Reader, person: Option<PatientKey>, after: u64, cut_ms: i64) -> sql::Result<Vec<Standing>> {
    let mut statement = connection.prepare_cached(
        "SELECT r.seq, r.kind, r.version, r.updated, r.deleted FROM resource r
         WHERE r.seq IN (SELECT seq FROM entry WHERE patient = ?1) AND r.seq > ?2 ORDER BY r.seq",
    )?;
    let found: Vec<Current> = statement
        .query_map(params![row::entry_patient(person.as_ref()), after as i64], current)?
        .collect::<Result<_, _>>()?;
    stood(connection, found.into_iter(), cut_ms)
}

/// Of each the version that was the last one by the cut, if there was one.
fn stood(connection: &Reader, current: impl Iterator<Item = Current>, cut_ms: i64) -> sql::Result<Vec<Standing>> {
    let mut kinds: HashMap<i64, Arc<str>> = HashMap::new();
    let mut statement = connection.prepare_cached("SELECT id, name FROM kind")?;
    for row in statement.query_map((), |row| Ok((row.get::<i64>(0)?, row.get::<Arc<str>>(1)?)))? {
        let (id, name) = row?;
        kinds.insert(id, name);
    }
    let mut stood = Vec::new();
    for (seq, kind, version, updated_ms, deleted) in current {
        let Some(kind) = kinds.get(&kind).cloned() else { continue };
        let seq = seq as u64;
        if updated_ms <= cut_ms {
            stood.push(Standing { kind, seq, version, updated_ms, deleted });
            continue;
        }
        let past = connection
            .prepare_cached(
                "SELECT version, updated, deleted FROM history WHERE seq = ?1 AND updated <= ?2
                 ORDER BY version DESC LIMIT 1",
            )?
            .query_row(params![seq as i64, cut_ms], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((version, updated_ms, deleted)) = past {
            stood.push(Standing { kind, seq, version, updated_ms, deleted });
        }
    }
    Ok(stood)
}
