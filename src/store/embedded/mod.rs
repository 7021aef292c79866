//! The store in one SQLite file: opening it, and who may write it.
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on the disk before it is answered. Both are asked for and then
//! read back, for a file system that cannot do it leaves SQLite silently in another mode. One thread writes
//! (`writer`), a few read-only connections read (`pool`). The serving process holds a lock file, so that two gateways
//! cannot answer from one directory; commands beside it go without the lock and wait for SQLite's own.

mod accept;
mod audit;
mod consents;
mod erase;
mod feed;
mod keys;
mod log;
mod pool;
mod put;
mod raw;
mod read;
mod receipts;
mod registry;
mod remnants;
mod retry;
mod row;
mod schema;
mod search;
mod source;
mod spans;
mod stretches;
mod tidy;
mod uploads;
mod writer;

pub use uploads::UploadFile;

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use tokio::sync::watch;

use self::keys::Keys;
use self::pool::{Pool, Reader};
use self::writer::{Ledger, Writer};
use super::fault::{Error, Health, KeyMistake, OpenError};
use super::key_file::KeyFile;

const FILE: &str = "gateway.sqlite3";
const LOCK: &str = "gateway.lock";
/// A push touches eight indexes and tables, one page each, whatever the page's size; small pages make small commits.
const PAGE_BYTES: i64 = 4096;
/// 48 MB of log before it is copied into the file.
const CHECKPOINT_PAGES: i64 = 12288;
const LOG_LIMIT_BYTES: i64 = 64 << 20;
const WRITER_CACHE_KIB: i64 = 64 << 10;
const READER_CACHE_KIB: i64 = 16 << 10;
const READERS: usize = 4;
const SYNCHRONOUS_FULL: i64 = 2;

/// An open file. The fields are dropped in this order: the lock goes last.
pub struct Embedded {
    writer: Writer,
    pool: Pool,
    directory: PathBuf,
    _lock: Option<File>,
}

impl Embedded {
    /// For the serving process: nobody else may serve from this directory.
    pub fn open(dir: &Path, key: Option<&Path>) -> Result<Self, OpenError> {
        create(dir)?;
        let failed = |source| OpenError::Directory { path: dir.to_owned(), source };
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => OpenError::Locked { path: dir.to_owned() },
            TryLockError::Error(source) => failed(source),
        })?;
        Self::connect(dir, key, Some(lock))
    }

    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// Whether a store could be made or written in a directory; nothing is left behind.
    pub fn usable(dir: &Path, key: Option<&Path>) -> Result<(), OpenError> {
        let failed = |source| OpenError::Directory { path: dir.to_owned(), source };
        // What is missing would be made, so the nearest directory above must let us.
        let standing = dir.ancestors().find(|above| above.as_os_str().is_empty() || above.symlink_metadata().is_ok());
        let standing = standing.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let probe = standing.join(format!("{LOCK}.{}", std::process::id()));
        File::options().create_new(true).write(true).open(&probe).map_err(failed)?;
        std::fs::remove_file(&probe).map_err(failed)?;
        let file = dir.join(FILE);
        let key = KeyFile::of(dir, key);
        if file.exists() {
            File::options().append(true).open(&file).map_err(failed)?;
            keys::fitting(&open_reader(&file)?, &key)?;
        }
        match key.read()? {
            None if !key.own => Err(key.mistaken(KeyMistake::Missing)),
            _ => Ok(()),
        }
    }

    /// Ids and bodies of the registered clients, without changing the store in any way.
    pub fn registered(dir: &Path) -> Result<Vec<(String, String)>, OpenError> {
        let connection = open_reader(&dir.join(FILE))?;
        let mut statement = connection.prepare("SELECT id, body FROM client ORDER BY id")?;
        let clients = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(clients)
    }

    /// For a command beside the serving process.
    pub fn open_shared(dir: &Path, key: Option<&Path>) -> Result<Self, OpenError> {
        create(dir)?;
        Self::connect(dir, key, None)
    }

    fn connect(dir: &Path, key: Option<&Path>, lock: Option<File>) -> Result<Self, OpenError> {
        let file = dir.join(FILE);
        // Made here and not by SQLite, which would let everybody read it; log and index take over its mode.
        let private = File::options().create(true).append(true).mode(0o600).open(&file);
        private.map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
        let mut connection = Connection::open_with_flags(
            &file,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        prepare_writer(&connection)?;
        empty_log(&connection, lock.is_some())?;
        schema::migrate(&mut connection)?;
        let keys = Arc::new(Keys::open(&connection, &KeyFile::of(dir, key))?);
        let mut ledger = Ledger::new(connection, keys.clone());
        if lock.is_some() {
            uploads::sweep(&ledger.connection, dir)?;
            match take_over(&mut ledger) {
                // A full disk must not keep us from serving reads.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                    tracing::warn!("store: no room to take over what an earlier process left");
                }
                taken => taken?,
            }
        }
        let reader = |_| Ok::<_, OpenError>(Reader { connection: open_reader(&file)?, keys: keys.clone() });
        let readers = (0..READERS).map(reader).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { writer: Writer::start(ledger)?, pool: Pool::new(readers), directory: dir.to_owned(), _lock: lock })
    }

    pub fn health(&self) -> Health {
        self.writer.health()
    }

    pub fn feed_changed(&self) -> watch::Receiver<u64> {
        self.writer.fed()
    }

    /// Waits until everything queued is written, then closes the file.
    pub async fn close(self) {
        // A panic of the closing thread was reported by the panic hook, and the file is closed either way.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }

    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.pool.query(work).await
    }

    /// Copies the log into the file and cuts it off, so that what was overwritten there is gone here, too. A search that
    /// still reads the log may keep it a little longer.
    async fn empty_log(&self) -> Result<(), Error> {
        let file = self.directory.join(FILE);
        let emptied = move || -> Result<bool, Error> {
            let connection = Connection::open_with_flags(
                &file,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )?;
            connection.busy_timeout(Duration::from_secs(5))?;
            let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            Ok(!busy)
        };
        if !tokio::task::spawn_blocking(emptied).await.unwrap_or(Err(Error::Closed))? {
            tracing::warn!("store: the log is in use and is emptied later");
        }
        Ok(())
    }
}

fn create(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| OpenError::Directory { path: dir.to_owned(), source })
}

fn prepare_writer(connection: &Connection) -> Result<(), OpenError> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(128);
    // Before the first table, or it has no effect.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    expect(connection, "journal_mode", "WAL", "wal")?;
    connection.pragma_update(None, "synchronous", SYNCHRONOUS_FULL)?;
    expect(connection, "synchronous", SYNCHRONOUS_FULL, "2")?;
    // What is deleted is overwritten: it may be a person's who wants to be forgotten.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    // What is deleted is overwritten: above all, keys that are shredded.
    expect(connection, "secure_delete", true, "1")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    keep_plans(connection)?;
    Ok(())
}

/// After a failed sync and a restart the log may read well from the page cache and yet have a hole on the disk, behind
/// which later commits would be lost with the power. So what it holds is first written anew, into the file, and the log
/// begins afresh. Beside a serving process only the part of it that stands in nobody's way is done.
fn empty_log(connection: &Connection, serving: bool) -> Result<(), OpenError> {
    let sql = if serving { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    match connection.query_row(sql, [], |row| row.get::<_, bool>(0)) {
        Ok(true) if serving => Err(OpenError::Setting { pragma: "wal_checkpoint", found: "busy".to_owned() }),
        Ok(_) => Ok(()),
        // A full disk must not keep us from serving reads.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!("store: no room to empty the log");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// What an earlier process left when it was ended: leases that nobody holds any more, and sends that it could not
/// settle, which count as disclosures.
fn take_over(ledger: &mut Ledger) -> rusqlite::Result<()> {
    ledger.connection.execute_batch("BEGIN IMMEDIATE")?;
    let taken = feed::release(&ledger.connection).and_then(|()| audit::inherit(ledger));
    let ended = ledger.connection.execute_batch(if taken.is_ok() { "COMMIT" } else { "ROLLBACK" });
    taken.and(ended)
}

/// Sets a pragma, then asks what it is.
fn expect(
    connection: &Connection,
    pragma: &'static str,
    value: impl rusqlite::ToSql,
    expected: &str,
) -> Result<(), OpenError> {
    connection.pragma_update(None, pragma, value)?;
    let found: rusqlite::types::Value = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
    let found = match found {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    if found == expected { Ok(()) } else { Err(OpenError::Setting { pragma, found }) }
}

fn open_reader(file: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    keep_plans(&connection)?;
    Ok(connection)
}

/// Without it SQLite plans a cached statement anew whenever a bound value changes that the plan might depend on, and
/// the parser then costs more than the query.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
