//! The audit trail: appended in the transaction of what it tells of, or alone for reads and refusals.

use super::writer::Ledger;
use super::{Store, log};
use crate::store::compact::{compact, expanded};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, ResId};
use crate::store::outbox::Task;
use crate::store::plan::AuditPlan;
use crate::store::sql::{self, Bind, Connection, Fault, Params, Row, Value, params};
use crate::store::unit::AuditRecord;
use crate::tlog::{Hash, commitment};

impl Store {
    /// For reads and refusals, which write nothing else. Durable when it returns.
    pub async fn record_audit(&self, records: Vec<AuditRecord>) -> Result<(), Error> {
        // Not by the writer, for which everybody waits.
        let written: Vec<Written> = records.iter().map(Written::of).collect();
        self.writer.call(records.len().max(1), move |ledger| Ok(append(ledger, records.iter().zip(&written))?)).await
    }

    /// Before something is sent: the records that are true should this process not live to settle the task. The next
    /// one takes them into the trail, as does foretelling the task anew; settling forgets them. Durable when it returns.
    pub async fn foretell(&self, destination: &str, task: Task, records: Vec<AuditRecord>) -> Result<(), Error> {
        let destination = destination.to_owned();
        let foretell = move |ledger: &mut Ledger| {
            tell(ledger, &destination, task)?;
            let connection = &ledger.connection;
            records.iter().enumerate().try_for_each(|(place, record)| {
                connection
                    .prepare_cached(
                        "INSERT INTO foretold (destination, task, at, patient, client, id, payload, salt, place)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    )?
                    .execute(params![
                        destination,
                        number(task),
                        record.at_ms,
                        record.patient.map(|patient| patient.0),
                        record.client,
                        record.id.0,
                        compact(&record.payload),
                        record.salt,
                        place as i64
                    ])
                    .map(drop)
            })
        };
        self.writer.call(1, move |ledger| Ok(foretell(ledger)?)).await
    }

    /// Sequence numbers and payloads of audit events; of what is damaged the number alone.
    pub async fn audit(&self, plan: AuditPlan) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.query(move |connection| search(connection, &plan)).await
    }
}

/// What is written of a record's text.
struct Written {
    entry: Hash,
    text: Vec<u8>,
}

impl Written {
    fn of(record: &AuditRecord) -> Self {
        let text = compact(&record.payload).into_owned();
        Self { entry: commitment(&record.salt, &record.payload), text }
    }
}

/// Records, and their entries in the log.
pub(super) fn store(ledger: &mut Ledger, records: &[AuditRecord]) -> sql::Result<()> {
    let written: Vec<Written> = records.iter().map(Written::of).collect();
    append(ledger, records.iter().zip(&written))
}

fn append<'r>(
    ledger: &mut Ledger,
    records: impl ExactSizeIterator<Item = (&'r AuditRecord, &'r Written)> + Clone,
) -> sql::Result<()> {
    if records.len() == 0 {
        return Ok(());
    }
    let entries: Vec<Hash> = records.clone().map(|(_, written)| written.entry).collect();
    let first = log::append(ledger, &entries)?;
    for (number, (record, written)) in (first..).zip(records) {
        ledger
            .connection
            .prepare_cached(
                "INSERT INTO audit (at, patient, client, id, payload, withheld, entry, salt)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .post(params![
                record.at_ms,
                record.patient.map(|patient| patient.0),
                record.client,
                record.id.0,
                written.text,
                AuditRecord::is_kept_from_client(&record.salt),
                number as i64,
                record.salt
            ])?;
    }
    Ok(())
}

/// Whatever kept the last attempt at a task from being settled, it may have been sent.
pub(super) fn tell(ledger: &mut Ledger, destination: &str, task: Task) -> sql::Result<()> {
    let which = "WHERE destination = ?1 AND task = ?2 ORDER BY at, place";
    let sent = foretold(&ledger.connection, which, params![destination, number(task)])?;
    if sent.is_empty() {
        return Ok(());
    }
    store(ledger, &sent)?;
    forget(&ledger.connection, destination, task)
}

/// What was foretold of a task came true or did not, and was recorded as it was.
pub(super) fn forget(connection: &Connection, destination: &str, task: Task) -> sql::Result<()> {
    connection
        .prepare_cached("DELETE FROM foretold WHERE destination = ?1 AND task = ?2")?
        .execute(params![destination, number(task)])
        .map(drop)
}

/// Makes records of what an earlier process foretold and did not live to tell. The condition keeps SQLite from
/// rewriting a table that is empty anyway.
pub(super) fn inherit(ledger: &mut Ledger) -> sql::Result<()> {
    let sent = foretold(&ledger.connection, "ORDER BY at, place", ())?;
    store(ledger, &sent)?;
    ledger.connection.execute("DELETE FROM foretold WHERE true", ()).map(drop)
}

/// The same of one person's, while the process lives.
pub(super) fn inherit_of(ledger: &mut Ledger, patient: PatientKey) -> sql::Result<()> {
    let sent = foretold(&ledger.connection, "WHERE patient = ?1 ORDER BY at, place", [patient.0])?;
    store(ledger, &sent)?;
    ledger.connection.prepare_cached("DELETE FROM foretold WHERE patient = ?1")?.execute([patient.0]).map(drop)
}

/// What was put on record before it was sent. What is damaged of it stands in nobody's way: the log says of when it was, and for
/// whom.
fn foretold(connection: &Connection, which: &str, values: impl Params) -> sql::Result<Vec<AuditRecord>> {
    let sql = format!("SELECT at, patient, client, id, payload, salt, destination FROM foretold {which}");
    let found: Vec<Option<AuditRecord>> = connection
        .prepare_cached(&sql)?
        .query_map(values, |row| {
            let payload = match text(row, 4) {
                Err(Fault::Damaged(_)) => {
                    let (at_ms, destination): (i64, String) = (row.get(0)?, row.get(6)?);
                    tracing::error!(at_ms, destination, "store: what was put on record before it was sent is damaged");
                    return Ok(None);
                }
                payload => payload?,
            };
            Ok(Some(AuditRecord {
                at_ms: row.get(0)?,
                patient: row.get::<Option<[u8; 16]>>(1)?.map(PatientKey),
                client: row.get(2)?,
                id: ResId(row.get(3)?),
                payload,
                salt: row.get::<Option<[u8; 32]>>(5)?.unwrap_or_default(),
            }))
        })?
        .collect::<sql::Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

fn number(task: Task) -> i64 {
    match task {
        Task::Slot(slot) => -1 - i64::from(slot),
        Task::Retry(id) => id,
    }
}

fn search(connection: &Connection, plan: &AuditPlan) -> sql::Result<Vec<(u64, Vec<u8>)>> {
    let mut sql = String::from("SELECT seq, payload FROM audit WHERE ");
    sql.push_str(if plan.descending { "seq < ?" } else { "seq > ?" });
    let start = match plan.after_seq {
        Some(seq) => seq as i64,
        None if plan.descending => i64::MAX,
        None => 0,
    };
    let mut values = vec![Value::Integer(start)];
    if let Some(patient) = &plan.patient {
        sql.push_str(" AND patient = ?");
        values.push(Value::Blob(&patient.0));
    }
    if let Some(client) = &plan.client {
        sql.push_str(" AND client = ?");
        values.push(client.value());
    }
    if let Some(reader) = &plan.reader {
        sql.push_str(" AND NOT (withheld = 1 AND client = ?)");
        values.push(reader.value());
    }
    sql.push_str(if plan.descending { " ORDER BY seq DESC LIMIT ?" } else { " ORDER BY seq LIMIT ?" });
    values.push(Value::Integer(plan.limit as i64));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows =
        statement.query_map(values.as_slice(), |row| Ok((row.get::<i64>(0)? as u64, text_or_unread(row, (0, 1))?)))?;
    rows.collect()
}

/// A record's text, as it was before it was made short.
pub(super) fn text(row: &Row<'_>, column: usize) -> sql::Result<Vec<u8>> {
    expanded(row.get(column)?).map_err(Fault::damaged)
}

/// The same, without anything where it is damaged; the log says which record that is, by the column of its number.
pub(super) fn text_or_unread(row: &Row<'_>, (number, column): (usize, usize)) -> sql::Result<Vec<u8>> {
    match text(row, column) {
        Err(Fault::Damaged(_)) => {
            tracing::error!(seq = row.get::<i64>(number)?, "store: a record of the audit is damaged");
            Ok(Vec::new())
        }
        text => text,
    }
}
