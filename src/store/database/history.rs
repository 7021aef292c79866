//! Versions of resources, the latest first: of one resource, or of all of some kinds.
//!
//! Current and past versions lie in two tables, and each kind in a run of its own; what is asked for is the head of the merge
//! of all of them. A page costs as much as it is long.

use super::pool::Reader;
use super::{Store, row};
use crate::store::fault::Error;
use crate::store::plan::{HistoryPlan, Readable, VersionKey};
use crate::store::sql::{self, Connection, Optional, Row, params};

impl Store {
    /// Some versions, and where to go on.
    pub async fn history(&self, plan: HistoryPlan) -> Result<(Readable, Option<VersionKey>), Error> {
        self.query(move |reader| page(reader, &plan)).await
    }
}

fn page(reader: &Reader, plan: &HistoryPlan) -> sql::Result<(Readable, Option<VersionKey>)> {
    let mut keys = match &plan.id {
        Some(id) => {
            let mut seqs = Vec::new();
            for kind in &plan.kinds {
                seqs.extend(row::find(reader, kind, id)?);
            }
            of_resources(reader, &seqs)?
        }
        None => of_kinds(reader, plan)?,
    };
    keys.retain(|key| {
        plan.after.is_none_or(|after| *key < after) && plan.since_ms.is_none_or(|since_ms| key.0 >= since_ms)
    });
    keys.sort_unstable();
    keys.reverse();
    keys.truncate(plan.limit);
    let next = keys.last().copied().filter(|_| keys.len() == plan.limit);
    let mut versions = Readable::default();
    for VersionKey(_, seq, version) in keys {
        versions.file((seq, version), row::version(reader, seq, version))?;
    }
    Ok((versions, next))
}

fn of_resources(connection: &Connection, seqs: &[u64]) -> sql::Result<Vec<VersionKey>> {
    let mut keys = Vec::new();
    for sql in [
        "SELECT updated, seq, version FROM resource WHERE seq = ?1",
        "SELECT updated, seq, version FROM history WHERE seq = ?1",
    ] {
        for seq in seqs {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![*seq as i64], key)?;
            keys.extend(rows.collect::<sql::Result<Vec<_>>>()?);
        }
    }
    Ok(keys)
}

fn of_kinds(connection: &Connection, plan: &HistoryPlan) -> sql::Result<Vec<VersionKey>> {
    let after = plan.after.unwrap_or(VersionKey(i64::MAX, i64::MAX as u64, u32::MAX));
    let mut keys = Vec::new();
    for name in &plan.kinds {
        let kind: Option<i64> = connection
            .prepare_cached("SELECT id FROM kind WHERE name = ?1")?
            .query_row(params![name.as_ref()], |row| row.get(0))
            .optional()?;
        for sql in [
            "SELECT updated, seq, version FROM resource WHERE kind = ?1 AND updated >= ?2 AND updated <= ?3
             AND NOT (updated = ?3 AND (seq > ?4 OR (seq = ?4 AND version >= ?5)))
             ORDER BY updated DESC, seq DESC LIMIT ?6",
            "SELECT updated, seq, version FROM history WHERE kind = ?1 AND updated >= ?2 AND updated <= ?3
             AND NOT (updated = ?3 AND (seq > ?4 OR (seq = ?4 AND version >= ?5)))
             ORDER BY updated DESC, seq DESC, version DESC LIMIT ?6",
        ] {
            let since = plan.since_ms.unwrap_or(i64::MIN);
            let (seq, limit) = (after.1 as i64, plan.limit as i64);
            let mut statement = connection.prepare_cached(sql)?;
            keys.extend(
                statement
                    .query_map(params![kind, since, after.0, seq, after.2, limit], key)?
                    .collect::<sql::Result<Vec<_>>>()?,
            );
        }
    }
    Ok(keys)
}

fn key(row: &Row<'_>) -> sql::Result<VersionKey> {
    Ok(VersionKey(row.get(0)?, row.get::<i64>(1)? as u64, row.get(2)?))
}
