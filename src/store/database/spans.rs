//! The spans of readings: one row a reading under its series, which is a person, a measure and a source.
//!
//! A series knows its longest span, so that whatever reaches into a window begins at most that long before it.

use std::sync::Arc;

use super::{Store, row};
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::plan::Stored;
use crate::store::span::{Around, Known, Neighbour, Span};
use crate::store::sql::{self, Connection, Fault, Optional, params};
use crate::store::unit::Write;

impl Store {
    /// Readings of a person that take up time where it is asked about.
    pub async fn neighbours(&self, patient: PatientKey, asked: Vec<Around>) -> Result<Vec<Neighbour>, Error> {
        self.query(move |connection| {
            let mut found = Vec::new();
            for around in &asked {
                neighbours(connection, patient, around, &mut found)?;
            }
            // A long one reaches into several windows.
            found.sort_by_key(|neighbour| neighbour.seq);
            found.dedup_by_key(|neighbour| neighbour.seq);
            Ok(found)
        })
        .await
    }

    /// Measures of a person of which there are readings of several sources.
    pub async fn several_sources(&self, patient: PatientKey) -> Result<Vec<Arc<str>>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached(
                    "SELECT measure FROM series WHERE patient = ?1 GROUP BY measure HAVING COUNT(*) > 1 ORDER BY measure",
                )?
                .query_map([patient.0], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Of each, whether its id or its reading is there already.
    pub async fn stand(&self, asked: Vec<Known>) -> Result<Vec<bool>, Error> {
        self.query(move |connection| asked.iter().map(|known| stands(connection, known)).collect()).await
    }

    /// The current version by order of creation.
    pub async fn current(&self, seq: u64) -> Result<Option<Stored>, Error> {
        self.query(move |connection| row::current(connection, seq)).await
    }

    /// The same without its text where that is damaged.
    pub async fn current_heading(&self, seq: u64) -> Result<Option<Stored>, Error> {
        self.query(move |connection| row::current_or_unread(connection, seq)).await
    }
}

fn stands(connection: &Connection, known: &Known) -> sql::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM resource WHERE tail = ?1) OR EXISTS (SELECT 1 FROM reading WHERE hash = ?2)
             OR EXISTS (SELECT 1 FROM member WHERE tail = ?1)",
        )?
        .query_row(params![known.id.tail(), known.reading], |row| row.get(0))
}

/// What reaches into one of the windows.
fn neighbours(
    connection: &Connection,
    patient: PatientKey,
    around: &Around,
    found: &mut Vec<Neighbour>,
) -> sql::Result<()> {
    let Around { measure, but, windows } = around;
    let mut statement = connection
        .prepare_cached("SELECT id, client, app, device, longest FROM series WHERE patient = ?1 AND measure = ?2")?;
    let mut rows = statement.query(params![patient.0, measure])?;
    while let Some(series) = rows.next()? {
        let (id, client, longest): (i64, Arc<str>, i64) = (series.get(0)?, series.get(1)?, series.get(4)?);
        let (app, device): (String, String) = (series.get(2)?, series.get(3)?);
        if but.as_ref().is_some_and(|own| (&own.0, &own.1, &own.2) == (&client, &app, &device)) {
            continue;
        }
        for (start, end) in windows {
            let mut spans = connection.prepare_cached(
                "SELECT seq, start, finish, secondary FROM span
                 WHERE series = ?1 AND start > ?2 AND start < ?3 AND finish > ?4 ORDER BY start, seq",
            )?;
            let reach = start.saturating_sub(longest);
            let placed = spans.query_map(params![id, reach, end, start], |row| {
                Ok(Neighbour {
                    seq: row.get::<i64>(0)? as u64,
                    client: client.clone(),
                    span: Span {
                        measure: measure.clone(),
                        app: app.clone(),
                        device: device.clone(),
                        start_ms: row.get(1)?,
                        end_ms: row.get(2)?,
                        secondary: row.get(3)?,
                    },
                })
            })?;
            for neighbour in placed {
                found.push(neighbour?);
            }
        }
    }
    Ok(())
}

/// Takes note of the time that a reading takes up.
pub(super) fn note(connection: &Connection, write: &Write, seq: i64) -> sql::Result<()> {
    let (Some(span), Some(patient)) = (&write.span, write.patient) else { return Ok(()) };
    let long = span.end_ms.saturating_sub(span.start_ms);
    let series = params![patient.0, span.measure, write.owner, span.app, span.device];
    let known: Option<(i64, i64)> = connection
        .prepare_cached(
            "SELECT id, longest FROM series
             WHERE patient = ?1 AND measure = ?2 AND client = ?3 AND app = ?4 AND device = ?5",
        )?
        .query_row(series, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let id = if let Some((id, longest)) = known {
        if longest < long {
            connection.prepare_cached("UPDATE series SET longest = ?2 WHERE id = ?1")?.post(params![id, long])?;
        }
        id
    } else {
        let sql = "INSERT INTO series (patient, measure, client, app, device, longest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![patient.0, span.measure, write.owner, span.app, span.device, long];
        connection.insert(sql, "id", values)?.ok_or(Fault::NoRow)?
    };
    connection
        .prepare_cached("INSERT INTO span (series, start, seq, finish, secondary) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .post(params![id, span.start_ms, seq, span.end_ms, span.secondary])?;
    Ok(())
}

/// What a reading was does not stand any more.
pub(super) fn forget(connection: &Connection, seq: i64) -> sql::Result<()> {
    connection.prepare_cached("DELETE FROM span WHERE seq = ?1")?.post([seq])?;
    Ok(())
}
