//! The SQLite file: how it is opened, and what is asked of it.
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on the disk before it is answered. Both are asked for and then
//! read back, for a file system that cannot do it leaves SQLite silently in another mode. What the tables mean is not
//! known here.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::log_copy::FULL;
use crate::store::fault::{Error, OpenError};
use crate::store::sql;

pub(super) const FILE: &str = "gateway.sqlite3";
/// A push touches eight indexes and tables, one page each, whatever the page's size; small pages make small commits.
const PAGE_BYTES: i64 = 4096;
/// What the log may keep of the disk when it begins anew.
const LOG_LIMIT_BYTES: i64 = 96 << 20;
const WRITER_CACHE_KIB: i64 = 64 << 10;
const READER_CACHE_KIB: i64 = 16 << 10;
const SYNCHRONOUS_FULL: i64 = 2;

/// The connection that writes, to a file that is made where there is none.
pub(super) fn open_writer(file: &Path, serving: bool) -> Result<sql::Connection, OpenError> {
    // Made here and not by SQLite, which would let everybody read it; log and index take over its mode.
    let private = File::options().create(true).append(true).mode(0o600).open(file);
    private.map_err(|source| OpenError::Directory { path: file.to_owned(), source })?;
    let connection = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare_writer(&connection)?;
    begin_log(&connection, serving)?;
    Ok(sql::Connection::Lite(connection))
}

/// The connection that copies the log into the file beside the writer.
pub(super) fn open_copier(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.pragma_update(None, "synchronous", SYNCHRONOUS_FULL)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // It does what it is asked for and nothing of its own.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// Copies the log into the file and cuts it off, so that what was overwritten there is gone here, too. False where a
/// search still reads the log and may keep it a little longer.
pub(super) fn empty_log(file: &Path) -> Result<bool, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let emptied = || {
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
    };
    Ok(!emptied().map_err(sql::Fault::from)?)
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
    connection.pragma_update(None, "wal_autocheckpoint", FULL)?;
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
fn begin_log(connection: &Connection, serving: bool) -> Result<(), OpenError> {
    let sql = if serving { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
    match connection.query_row(sql, [], |row| row.get::<_, bool>(0)) {
        Ok(true) if serving => Err(OpenError::Setting { setting: "wal_checkpoint", found: "busy".to_owned() }),
        Ok(_) => Ok(()),
        // A full disk must not keep us from serving reads.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!("store: no room to empty the log");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets a pragma, then asks what it is.
fn expect(
    connection: &Connection,
    setting: &'static str,
    value: impl rusqlite::ToSql,
    expected: &str,
) -> Result<(), OpenError> {
    connection.pragma_update(None, setting, value)?;
    let found: rusqlite::types::Value = connection.pragma_query_value(None, setting, |row| row.get(0))?;
    let found = match found {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    if found == expected { Ok(()) } else { Err(OpenError::Setting { setting, found }) }
}

/// A new file that nobody knows of yet: it counts when it is whole and synced, so nothing is done for what is not.
pub(super) fn open_unshared(file: &Path) -> Result<sql::Connection, OpenError> {
    let private = File::options().create_new(true).append(true).mode(0o600).open(file);
    private.map_err(|source| OpenError::Directory { path: file.to_owned(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // What lies behind rows that move is cleared, since whoever is erased later is cleared out of rows alone.
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(sql::Connection::Lite(connection))
}

pub(super) fn open_reader(file: &Path) -> sql::Result<sql::Connection> {
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "mmap_size", 0)?;
    keep_plans(&connection)?;
    Ok(sql::Connection::Lite(connection))
}

/// Without it SQLite plans a cached statement anew whenever a bound value changes that the plan might depend on, and
/// the parser then costs more than the query.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
