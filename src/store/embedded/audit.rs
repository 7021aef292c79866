//! The audit trail: appended in the transaction of what it tells of, or alone for reads and refusals.

use rusqlite::{Connection, ToSql, params};

use super::Embedded;
use crate::store::fault::Error;
use crate::store::plan::AuditPlan;
use crate::store::unit::AuditRecord;

impl Embedded {
    pub async fn record_audit(&self, records: Vec<AuditRecord>) -> Result<(), Error> {
        self.writer.call(records.len().max(1), move |ledger| Ok(store(&ledger.connection, &records)?)).await
    }

    pub async fn audit(&self, plan: AuditPlan) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.query(move |connection| search(connection, &plan)).await
    }
}

pub(super) fn store(connection: &Connection, records: &[AuditRecord]) -> rusqlite::Result<()> {
    for record in records {
        connection
            .prepare_cached("INSERT INTO audit (at, patient, client, id, payload) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                record.at_ms,
                record.patient.map(|patient| patient.0),
                record.client,
                record.id.0,
                record.payload
            ])?;
    }
    Ok(())
}

fn search(connection: &Connection, plan: &AuditPlan) -> rusqlite::Result<Vec<(u64, Vec<u8>)>> {
    let mut sql = String::from("SELECT seq, payload FROM audit WHERE ");
    sql.push_str(if plan.descending { "seq < ?" } else { "seq > ?" });
    let start = match plan.after_seq {
        Some(seq) => seq as i64,
        None if plan.descending => i64::MAX,
        None => 0,
    };
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(start)];
    if let Some(patient) = plan.patient {
        sql.push_str(" AND patient = ?");
        values.push(Box::new(patient.0));
    }
    if let Some(client) = &plan.client {
        sql.push_str(" AND client = ?");
        values.push(Box::new(client.clone()));
    }
    sql.push_str(if plan.descending { " ORDER BY seq DESC LIMIT ?" } else { " ORDER BY seq LIMIT ?" });
    values.push(Box::new(plan.limit as i64));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement
        .query_map(rusqlite::params_from_iter(values), |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?;
    rows.collect()
}
