//! The PostgreSQL server: how it is opened.
//!
//! Sessions run in threads that may wait. Opening is asked for where futures are polled, too, so it has a thread of its own.
//! What the tables mean is not known here.

use crate::store::fault::OpenError;
use crate::store::sql::{Address, Connection, Session};

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

pub(super) fn apart<T: Send>(work: impl FnOnce() -> Result<T, OpenError> + Send) -> Result<T, OpenError> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
