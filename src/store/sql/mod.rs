//! One way to speak to both databases: statements, parameters, rows.
//!
//! Statements are written once, in the SQL that both understand, with numbered parameters; what differs is here and in
//! the migrations. SQLite is called in place and copies nothing on the way; PostgreSQL is another process
//! (`postgres.rs`). What the statements mean is not known here, nor who may write.

mod dialect;
mod postgres;
mod value;

use std::{fmt, io};

use rusqlite::{ErrorCode, ffi};

pub(in crate::store) use self::postgres::{Address, Session};
pub(in crate::store) use self::value::{Bind, Column, Params, Value, params};

pub(in crate::store) type Result<T> = std::result::Result<T, Fault>;

/// Why a statement failed.
#[derive(Debug)]
pub enum Fault {
    Lite(rusqlite::Error),
    Postgres(tokio_postgres::Error),
    /// The database server cannot be reached, or the connection ended; nothing is known of what was under way.
    Lost(io::Error),
    /// The connection ended while a transaction was being committed, and nobody could say whether it was.
    Unknown,
    /// The store is not the one that was written to any more.
    Moved,
    /// A row was to be there.
    NoRow,
    /// A column holds what it must not.
    Column,
    /// What lies in a column cannot be opened or read, though everything that it takes is there.
    Damaged(Box<dyn std::error::Error + Send + Sync>),
}

impl Fault {
    pub(in crate::store) fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Damaged(Box::new(error))
    }
}

/// What a fault means for whoever asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Kind {
    /// No room on the disk.
    Full,
    /// Somebody else was in the way.
    Busy,
    /// The server cannot be reached.
    Lost,
    Unknown,
    Moved,
    /// The disk or the file is broken.
    Broken,
    /// One text is, where everything else can be read.
    Damaged,
    Other,
}

impl Fault {
    pub(in crate::store) fn kind(&self) -> Kind {
        match self {
            Self::Lite(error) => kind_of_lite(error),
            Self::Postgres(error) => postgres::kind(error),
            Self::Lost(_) => Kind::Lost,
            Self::Unknown => Kind::Unknown,
            Self::Moved => Kind::Moved,
            Self::Damaged(_) => Kind::Damaged,
            Self::NoRow | Self::Column => Kind::Other,
        }
    }
}

fn kind_of_lite(error: &rusqlite::Error) -> Kind {
    let Some(failure) = error.sqlite_error() else { return Kind::Other };
    match failure.code {
        ErrorCode::DiskFull => Kind::Full,
        // The shared memory file could not grow; nothing durable was touched.
        _ if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Kind::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Kind::Busy,
        ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Kind::Broken,
        _ => Kind::Other,
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Self::NoRow,
            error => Self::Lite(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lite(_) | Self::Postgres(_) => "a statement failed",
            Self::Lost(_) => "the connection to the database is lost",
            Self::Unknown => "nobody knows whether a transaction was committed",
            Self::Moved => "the store was moved, or set back to an earlier moment",
            Self::NoRow => "a row is not there",
            Self::Column => "a column holds what it must not",
            Self::Damaged(_) => "what lies in a column cannot be read",
        })
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lite(error) => Some(error),
            Self::Postgres(error) => Some(error),
            Self::Lost(error) => Some(error),
            Self::Damaged(error) => Some(error.as_ref()),
            Self::Unknown | Self::Moved | Self::NoRow | Self::Column => None,
        }
    }
}

/// A row that need not be there.
pub(in crate::store) trait Optional<T> {
    fn optional(self) -> Result<Option<T>>;
}

impl<T> Optional<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Fault::NoRow) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// A connection to one of the databases.
pub(in crate::store) enum Connection {
    Lite(rusqlite::Connection),
    Postgres(Box<Session>),
}

impl Connection {
    /// A statement; its plan is remembered.
    pub(in crate::store) fn prepare_cached<'c>(&'c self, sql: &'c str) -> Result<Statement<'c>> {
        Ok(match self {
            Self::Lite(connection) => Statement::Lite(connection.prepare_cached(sql)?),
            Self::Postgres(session) => Statement::Postgres(session, sql),
        })
    }

    pub(in crate::store) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    /// Adds a row to a table that numbers its rows; the number, which is in that column.
    pub(in crate::store) fn insert(&self, sql: &str, column: &str, params: impl Params) -> Result<Option<i64>> {
        match self {
            Self::Lite(connection) => {
                let added = self.prepare_cached(sql)?.execute(params)?;
                Ok((added > 0).then(|| connection.last_insert_rowid()))
            }
            Self::Postgres(session) => params.with(|values| session.insert(sql, column, values)),
        }
    }

    /// As `insert` of each of some rows, in their order. They are told apart by a key in their first column, of which the
    /// statement lets no two be the same. A server is handed all of them at once.
    pub(in crate::store) fn insert_each<const N: usize>(
        &self,
        sql: &str,
        (key, column): (&str, &str),
        rows: &[[Value<'_>; N]],
    ) -> Result<Vec<Option<i64>>> {
        match (self, rows) {
            (Self::Postgres(session), [_, _, ..]) => session.insert_each(sql, key, column, rows),
            _ => rows.iter().map(|row| self.insert(sql, column, &row[..])).collect(),
        }
    }

    /// Adds rows of which nothing is to be known but that they are there (`Statement::post`).
    pub(in crate::store) fn post_each<const N: usize>(&self, sql: &str, rows: &[[Value<'_>; N]]) -> Result<()> {
        match (self, rows) {
            (Self::Postgres(session), [_, _, ..]) => session.post_each(sql, rows),
            _ => rows.iter().try_for_each(|row| self.prepare_cached(sql)?.post(&row[..])),
        }
    }

    /// For each of some keys the row that there is at most. A server is asked for all of them before it is listened to.
    pub(in crate::store) fn find_each<T, const N: usize>(
        &self,
        sql: &str,
        keys: &[[Value<'_>; N]],
        read: impl Fn(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<Option<T>>> {
        match self {
            Self::Lite(_) => {
                keys.iter().map(|key| self.prepare_cached(sql)?.query_row(&key[..], &read).optional()).collect()
            }
            Self::Postgres(session) => session
                .query_each(sql, keys)?
                .iter()
                .map(|rows| rows.first().map(|row| read(&Row::Postgres(row))).transpose())
                .collect(),
        }
    }

    pub(in crate::store) fn batch(&self, sql: &str) -> Result<()> {
        match self {
            Self::Lite(connection) => Ok(connection.execute_batch(sql)?),
            Self::Postgres(session) => session.batch(sql),
        }
    }

    /// The SQLite connection, for what only it can do.
    pub(in crate::store) fn lite(&self) -> Option<&rusqlite::Connection> {
        match self {
            Self::Lite(connection) => Some(connection),
            Self::Postgres(_) => None,
        }
    }
}

pub(in crate::store) enum Statement<'c> {
    Lite(rusqlite::CachedStatement<'c>),
    Postgres(&'c Session, &'c str),
}

impl Statement<'_> {
    /// How many rows it changed.
    pub(in crate::store) fn execute(&mut self, params: impl Params) -> Result<usize> {
        params.with(|values| match self {
            Self::Lite(statement) => Ok(statement.execute(rusqlite::params_from_iter(values))?),
            Self::Postgres(session, sql) => session.execute(sql, values),
        })
    }

    /// As `execute`, where nobody asks what it changed: on a server it is not waited for. Should it fail, so does whatever is
    /// asked of the connection next.
    pub(in crate::store) fn post(&mut self, params: impl Params) -> Result<()> {
        params.with(|values| match self {
            Self::Lite(statement) => Ok(statement.execute(rusqlite::params_from_iter(values)).map(drop)?),
            Self::Postgres(session, sql) => session.post(sql, values),
        })
    }

    pub(in crate::store) fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        params.with(|values| match self {
            Self::Lite(statement) => Ok(Rows::Lite(statement.query(rusqlite::params_from_iter(values))?)),
            Self::Postgres(session, sql) => Ok(Rows::Postgres(session.query(sql, values)?.into_iter(), None)),
        })
    }

    pub(in crate::store) fn query_row<T>(
        &mut self,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        match self.query(params)?.next()? {
            Some(row) => read(&row),
            None => Err(Fault::NoRow),
        }
    }

    pub(in crate::store) fn query_map<T, F: FnMut(&Row<'_>) -> Result<T>>(
        &mut self,
        params: impl Params,
        read: F,
    ) -> Result<Mapped<'_, F>> {
        Ok(Mapped { rows: self.query(params)?, read })
    }
}

pub(in crate::store) enum Rows<'s> {
    Lite(rusqlite::Rows<'s>),
    /// All that there are, and the one that is looked at.
    Postgres(std::vec::IntoIter<tokio_postgres::Row>, Option<tokio_postgres::Row>),
}

impl Rows<'_> {
    pub(in crate::store) fn next(&mut self) -> Result<Option<Row<'_>>> {
        match self {
            Self::Lite(rows) => Ok(rows.next()?.map(Row::Lite)),
            Self::Postgres(rows, row) => {
                *row = rows.next();
                Ok(row.as_ref().map(Row::Postgres))
            }
        }
    }
}

/// Rows that are read one after the other.
pub(in crate::store) struct Mapped<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F: FnMut(&Row<'_>) -> Result<T>> Iterator for Mapped<'_, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.rows.next() {
            Ok(row) => row.map(|row| (self.read)(&row)),
            Err(fault) => Some(Err(fault)),
        }
    }
}

pub(in crate::store) enum Row<'r> {
    Lite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    pub(in crate::store) fn get<T: Column>(&self, index: usize) -> Result<T> {
        T::of(self.get_ref(index)?).ok_or(Fault::Column)
    }

    pub(in crate::store) fn get_ref(&self, index: usize) -> Result<Value<'_>> {
        match self {
            Self::Lite(row) => Ok(match row.get_ref(index)? {
                rusqlite::types::ValueRef::Null => Value::Null,
                rusqlite::types::ValueRef::Integer(number) => Value::Integer(number),
                rusqlite::types::ValueRef::Text(text) => {
                    Value::Text(std::str::from_utf8(text).map_err(|_| Fault::Column)?)
                }
                rusqlite::types::ValueRef::Blob(bytes) => Value::Blob(bytes),
                rusqlite::types::ValueRef::Real(_) => return Err(Fault::Column),
            }),
            Self::Postgres(row) => row.try_get(index).map_err(Fault::Postgres),
        }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::ValueRef;
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
