//! The PostgreSQL server: how it is opened, and what it says of itself.
//!
//! Sessions run in threads that may wait. Opening is asked for where futures are polled, too, so it has a thread of its own.
//! What the tables mean is not known here.

use super::examine::value;
use crate::store::fault::OpenError;
use crate::store::finding::{Finding, Grade};
use crate::store::sql::{self, Address, Connection, Session};

pub(super) fn open(address: &Address) -> Result<Connection, OpenError> {
    Ok(Connection::Postgres(Box::new(Session::open(address)?)))
}

/// A session that begins when it is needed.
pub(super) fn later(address: &Address) -> Connection {
    Connection::Postgres(Box::new(Session::later(address)))
}

/// Whether a gateway has been here.
pub(super) fn is_prepared(connection: &Connection) -> Result<bool, OpenError> {
    let mut statement = connection.prepare_cached("SELECT to_regclass('schema_version') IS NOT NULL")?;
    Ok(statement.query_row((), |row| row.get(0))?)
}

/// Does something in a thread that may wait.
pub(super) fn apart<T: Send, E: Send>(work: impl FnOnce() -> Result<T, E> + Send) -> Result<T, E> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// What the server says of itself. That it answered at all means that it has what durability rests on: a session asks.
pub(super) fn settings(connection: &Connection) -> sql::Result<Vec<Finding>> {
    let setting = |name: &str| value::<String>(connection, &format!("SELECT current_setting('{name}')"));
    let number = |sql: &str| value::<i64>(connection, sql);
    let mut findings = vec![
        Finding::new(
            "store.settings",
            Grade::Good,
            "fsync, full_page_writes and synchronous_commit are as they must be",
        ),
        Finding::new("store.program", Grade::Good, format!("PostgreSQL {}", setting("server_version")?)),
    ];
    let standbys = number("SELECT COUNT(*) FROM pg_stat_replication WHERE state = 'streaming'")?;
    let (grade, said) = if setting("synchronous_standby_names")?.is_empty() {
        (Grade::Doubt, "no standby is waited for: should the server burn, what it acknowledged last is gone")
    } else {
        (Grade::Good, "a commit waits for a standby")
    };
    findings.push(Finding::new("store.standby", grade, said).with([("streaming", standbys)]));
    let (grade, said) = if setting("data_checksums")? == "on" {
        let sql = "SELECT CAST(COALESCE(SUM(checksum_failures), 0) AS BIGINT) FROM pg_stat_database";
        match number(sql)? {
            0 => (Grade::Good, "pages have checksums, and none was wrong"),
            _ => (Grade::Bad, "pages with wrong checksums were met: the disk or the memory is broken"),
        }
    } else {
        (Grade::Doubt, "pages have no checksums: a bit that turned is not noticed (pg_checksums --enable)")
    };
    findings.push(Finding::new("store.checksums", grade, said));
    let used = number("SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")?;
    let most = number("SELECT CAST(current_setting('max_connections') AS BIGINT)")?;
    let ours = number("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'mhealth-gateway'")?;
    let (grade, said) = if most - used < 10 {
        (Grade::Doubt, "connections are getting short: each gateway has up to five")
    } else {
        (Grade::Good, "there are connections left")
    };
    findings.push(Finding::new("store.connections", grade, said).with([
        ("used", used),
        ("most", most),
        ("of_gateways", ours),
    ]));
    let sql = "SELECT COALESCE(MAX(CAST(EXTRACT(EPOCH FROM now() - xact_start) AS BIGINT)), 0) FROM pg_stat_activity
               WHERE backend_type = 'client backend'";
    let oldest = number(sql)?;
    let (grade, said) = if oldest > 600 {
        (Grade::Doubt, "a transaction has been open for long: nothing that was deleted since can be cleaned up")
    } else {
        (Grade::Good, "no transaction stays open")
    };
    findings.push(Finding::new("store.transactions", grade, said).with([("oldest_seconds", oldest)]));
    let (archived, failed) = (
        number("SELECT archived_count FROM pg_stat_archiver")?,
        number(
            "SELECT CAST(COALESCE(last_failed_time > COALESCE(last_archived_time, '-infinity'), FALSE) AS INT)::BIGINT FROM pg_stat_archiver",
        )?,
    );
    let (grade, said) = match (setting("archive_mode")?.as_str(), failed) {
        ("off", _) => {
            (Grade::Doubt, "the log is not archived: what came after the last backup is on this server alone")
        }
        (_, 0) => (Grade::Good, "the log is archived"),
        _ => (Grade::Bad, "the last attempt to archive the log failed"),
    };
    findings.push(Finding::new("store.archive", grade, said).with([("archived", archived)]));
    Ok(findings)
}

/// The server's clock, in milliseconds.
pub(super) fn clock(connection: &Connection) -> sql::Result<i64> {
    value(connection, "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")
}
