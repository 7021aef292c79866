//! Copying SQLite's log into the file, beside the writer.
//!
//! The fuller a store is, the more places of the file one log is copied to, and the longer it takes to sync them. If the
//! writer did that, everybody would wait for it. So a thread with a connection of its own copies what the log holds while the
//! writer goes on, and the writer copies what came in meanwhile, after which the log begins anew. It waits only where the
//! disk is so slow that the log grows out of bounds.
//!
//! A copy that failed poisons the store, as a failed commit does: what the log holds may be believed to be in the file.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::store::fault::OpenError;
use crate::store::sql;

/// Pages of the log that are worth copying: 48 MB.
pub(super) const FULL: i64 = 12288;

/// The thread, as the writer knows it.
pub(super) struct LogCopy {
    asks: Option<Sender<()>>,
    told: Receiver<sql::Result<()>>,
    thread: Option<JoinHandle<()>>,
    is_under_way: bool,
    /// Pages at which copying begins, and at four times of which the writer waits for it.
    full: i64,
}

impl LogCopy {
    pub(super) fn start(connection: Connection, full: i64) -> Result<Self, OpenError> {
        let (asks, asked) = channel();
        let (tells, told) = channel();
        let thread = std::thread::Builder::new()
            .name("store-log".to_owned())
            .spawn(move || while asked.recv().is_ok() && tells.send(copy(&connection)).is_ok() {})
            .map_err(OpenError::Thread)?;
        Ok(Self { asks: Some(asks), told, thread: Some(thread), is_under_way: false, full })
    }

    /// Between two transactions of the writer.
    pub(super) fn mind(&mut self, writer: &Connection) -> sql::Result<()> {
        if !self.is_under_way {
            if uncopied(writer)? >= self.full {
                self.is_under_way = self.asks.as_ref().is_some_and(|asks| asks.send(()).is_ok());
            }
            return Ok(());
        }
        let copied = match self.told.try_recv() {
            Err(TryRecvError::Empty) if uncopied(writer)? < 4 * self.full => return Ok(()),
            Err(TryRecvError::Empty) => self.told.recv().unwrap_or(Ok(())),
            told => told.unwrap_or(Ok(())),
        };
        self.is_under_way = false;
        copied?;
        copy(writer)
    }
}

impl Drop for LogCopy {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // The thread's panic was reported by the panic hook.
            drop(thread.join());
        }
    }
}

/// Copies what stands in nobody's way, and syncs it. That no room is left for it is found out by whoever writes.
fn copy(connection: &Connection) -> sql::Result<()> {
    match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => Ok(()),
        copied => Ok(copied?),
    }
}

/// Pages of the log that are not in the file yet.
fn uncopied(connection: &Connection) -> sql::Result<i64> {
    let pages = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
    Ok(connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], pages)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::file;

    #[test]
    fn the_log_is_copied_beside_the_writer_and_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file::FILE);
        let sql::Connection::Lite(writer) = file::open_writer(&path, true).unwrap() else { panic!("it is a file") };
        let mut log = LogCopy::start(file::open_copier(&path).unwrap(), 100).unwrap();
        writer.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, bytes BLOB)").unwrap();
        let mut longest = 0;
        for _ in 0..100 {
            writer.execute("REPLACE INTO t VALUES (NULL, randomblob(80000))", []).unwrap();
            log.mind(&writer).unwrap();
            longest = longest.max(uncopied(&writer).unwrap());
        }
        // Two thousand pages went through it.
        assert!(longest <= 400, "{longest}");
        let bytes = directory.path().join(format!("{}-wal", file::FILE)).metadata().unwrap().len();
        assert!(bytes < 600 * 4096, "{bytes}");
        drop(log);
        copy(&writer).unwrap();
        assert_eq!(uncopied(&writer).unwrap(), 0);
        let whole: String = writer.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
    }
}
