//! Receipts and tallies: filed in the transaction of the push that they tell of, forgotten as new ones come.

use super::Store;
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::receipt::{Filed, Filing, ReceiptPlace, ReceiptPlan, Tally};
use crate::store::sql::{self, Bind, Connection, Value, params};

/// Days for which tallies are kept: a year, and a month to compare it with.
const TALLY_DAYS: i64 = 400;

impl Store {
    /// What a client was told of records that were refused or doubtful, oldest first.
    pub async fn receipts(&self, plan: ReceiptPlan) -> Result<Vec<Filed>, Error> {
        self.query(move |connection| search(connection, &plan)).await
    }

    /// What any client was told of records about a patient, each with its place; those after a place.
    pub async fn receipts_about(
        &self,
        patient: PatientKey,
        after: ReceiptPlace,
        limit: usize,
    ) -> Result<Vec<(ReceiptPlace, Filed)>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT client, number, at, outcome, body FROM receipt
                     WHERE patient = ?1 AND (client, number) > (?2, ?3) ORDER BY client, number LIMIT ?4",
                )?
                .query_map(params![patient.0, after.0, after.1 as i64, limit as i64], |row| {
                    let number = row.get::<i64>(1)? as u64;
                    let filed = Filed { number, at_ms: row.get(2)?, outcome: row.get(3)?, body: row.get(4)? };
                    Ok(((row.get(0)?, number), filed))
                })?
                .collect()
        })
        .await
    }

    /// How often what happened to a client's records, from a day up to another.
    pub async fn tallies(&self, client: &str, from: i64, to: i64) -> Result<Vec<Tally>, Error> {
        let client = client.to_owned();
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT day, format, topic, count FROM tally WHERE client = ?1 AND day >= ?2 AND day < ?3
                     ORDER BY day, format, topic",
                )?
                .query_map(params![client, from, to], |row| {
                    Ok(Tally {
                        day: row.get(0)?,
                        format: row.get(1)?,
                        topic: row.get(2)?,
                        count: row.get::<i64>(3)? as u64,
                    })
                })?
                .collect()
        })
        .await
    }
}

pub(super) fn file(connection: &Connection, client: &str, filing: &Filing) -> sql::Result<()> {
    if !filing.receipts.is_empty() {
        let mut number: i64 = connection
            .prepare_cached("SELECT COALESCE(MAX(number), 0) FROM receipt WHERE client = ?1")?
            .query_row([client], |row| row.get(0))?;
        for receipt in &filing.receipts {
            number += 1;
            connection
                .prepare_cached(
                    "INSERT INTO receipt (client, number, at, record, outcome, body, patient)
                     SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?8 WHERE NOT ?7 OR NOT EXISTS (SELECT 1 FROM receipt WHERE client = ?1 AND record = ?4 AND patient = ?8)",
                )?
                .post(params![
                    client,
                    number,
                    receipt.at_ms,
                    receipt.record,
                    receipt.outcome,
                    receipt.body,
                    receipt.once,
                    filing.patient.map(|patient| patient.0)
                ])?;
        }
        // Twice as fast as they come, and never the last of a client, whose number the next one follows.
        connection
            .prepare_cached(
                "DELETE FROM receipt WHERE (client, number) IN (SELECT client, number FROM receipt r WHERE at < ?1
                 AND number < (SELECT MAX(number) FROM receipt m WHERE m.client = r.client) LIMIT ?2)",
            )?
            .post(params![filing.forget_before_ms, 2 * filing.receipts.len() as i64])?;
    }
    for tally in &filing.tallies {
        connection
            .prepare_cached(
                "INSERT INTO tally (client, day, format, topic, count) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (client, day, format, topic) DO UPDATE SET count = tally.count + excluded.count",
            )?
            .post(params![client, tally.day, tally.format, tally.topic, tally.count as i64])?;
    }
    if let Some(day) = filing.tallies.iter().map(|tally| tally.day).max() {
        connection
            .prepare_cached("DELETE FROM tally WHERE client = ?1 AND day < ?2")?
            .post(params![client, day - TALLY_DAYS])?;
    }
    Ok(())
}

fn search(connection: &Connection, plan: &ReceiptPlan) -> sql::Result<Vec<Filed>> {
    let mut sql = String::from("SELECT number, at, outcome, body FROM receipt WHERE client = ? AND number > ?");
    let mut values = vec![plan.client.value(), Value::Integer(plan.after as i64)];
    if let Some(records) = &plan.records {
        sql.push_str(" AND record IN (");
        for (index, record) in records.iter().enumerate() {
            sql.push_str(if index == 0 { "?" } else { ", ?" });
            values.push(record.value());
        }
        sql.push(')');
    }
    if let Some(patient) = &plan.patient {
        sql.push_str(" AND patient = ?");
        values.push(patient.0.value());
    }
    if let Some(since_ms) = plan.since_ms {
        sql.push_str(" AND at >= ?");
        values.push(Value::Integer(since_ms));
    }
    if let Some(outcome) = &plan.outcome {
        sql.push_str(" AND outcome = ?");
        values.push(outcome.value());
    }
    sql.push_str(" ORDER BY number LIMIT ?");
    values.push(Value::Integer(plan.limit as i64));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(values.as_slice(), |row| {
        Ok(Filed { number: row.get::<i64>(0)? as u64, at_ms: row.get(1)?, outcome: row.get(2)?, body: row.get(3)? })
    })?;
    rows.collect()
}
