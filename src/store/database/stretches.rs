//! Records that went into a stretch of samples, and stretches that are still open.

use super::{Store, row};
use crate::store::fault::Error;
use crate::store::id::ResId;
use crate::store::plan::Stored;
use crate::store::sql::{self, Connection, Optional, params};
use crate::store::unit::Write;

impl Store {
    /// The stretch that a record went into, and when it did.
    pub async fn gathered(&self, record: ResId) -> Result<Option<(Stored, i64)>, Error> {
        self.query(move |connection| {
            let found: Option<(i64, i64)> = connection
                .prepare_cached("SELECT seq, at FROM member WHERE tail = ?1")?
                .query_row([record.tail()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((seq, at_ms)) = found else { return Ok(None) };
            Ok(row::current(connection, seq as u64)?.map(|stored| (stored, at_ms)))
        })
        .await
    }

    /// Open stretches for which nothing more is expected, by order of creation.
    pub async fn ripe(&self, now_ms: i64, limit: usize) -> Result<Vec<u64>, Error> {
        self.query(move |connection| {
            connection
                .prepare_cached("SELECT seq FROM open_stretch WHERE until <= ?1 ORDER BY until, seq LIMIT ?2")?
                .query_map(params![now_ms, limit as i64], |row| Ok(row.get::<i64>(0)? as u64))?
                .collect()
        })
        .await
    }

    /// It is none of them any more.
    pub async fn forget_stretch(&self, seq: u64) -> Result<(), Error> {
        self.writer.call(1, move |ledger| Ok(close(&ledger.connection, seq as i64)?)).await
    }

    /// When the next of them is.
    pub async fn next_ripe(&self) -> Result<Option<i64>, Error> {
        self.query(|connection| {
            connection.prepare_cached("SELECT MIN(until) FROM open_stretch")?.query_row((), |row| row.get(0))
        })
        .await
    }
}

/// Takes note of what went into a stretch, and until when it is open.
pub(super) fn note(connection: &Connection, write: &Write, seq: i64) -> sql::Result<()> {
    let Some(growth) = &write.growth else { return Ok(()) };
    for member in &growth.members {
        connection
            .prepare_cached("INSERT INTO member (tail, seq, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .post(params![member.tail(), seq, write.updated_ms])?;
    }
    if let Some(until_ms) = growth.until_ms {
        connection
            .prepare_cached("INSERT INTO open_stretch (seq, until) VALUES (?1, ?2)")?
            .post(params![seq, until_ms])?;
    }
    Ok(())
}

/// It is not open any more, or open anew.
pub(super) fn close(connection: &Connection, seq: i64) -> sql::Result<()> {
    connection.prepare_cached("DELETE FROM open_stretch WHERE seq = ?1")?.post([seq])?;
    Ok(())
}
