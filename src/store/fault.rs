//! What can break in the store, and how it feels today.
//!
//! A refusal (conflict, stale consent, reused key) is not here: it is a value of `Accepted`. These are the faults of
//! the machinery, told apart by what the caller may do: try again (`Busy`), wait for room (`Full`), stop (`Poisoned`).

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use rusqlite::{ErrorCode, ffi};

/// Why a call failed. Nothing of a failed write is stored, save after `Poisoned`, where nobody can know.
#[derive(Clone, Debug)]
pub enum Error {
    /// The queue is full or the file is held by another process: try again later.
    Busy,
    /// No room on the disk. Writes are tried again as they come and succeed once there is room.
    Full,
    /// The disk failed during a write. Only a restart, which reads the log afresh, can tell what it holds.
    Poisoned,
    /// The store is being closed.
    Closed,
    /// The `finish` closure of a unit panicked.
    Finish,
    /// The operating system gave no random bytes.
    Entropy,
    /// Something could not be sealed, or a person's key could not be unwrapped.
    Sealing,
    Sql(Arc<rusqlite::Error>),
    /// A file beside the database could not be read or written.
    File(Arc<io::Error>),
}

impl Error {
    /// The disk or the file is broken. After a failed fsync the page cache may show what never reached the disk, so
    /// such a failure must not be retried.
    pub(super) fn is_fatal(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }
}

/// Sorts rather than wraps: the code decides what the caller may do.
impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error() {
            Some(ffi::Error { code: ErrorCode::DiskFull, .. }) => Self::Full,
            // The shared memory file could not grow; nothing durable was touched.
            Some(failure) if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Self::Full,
            Some(ffi::Error { code: ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, .. }) => Self::Busy,
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "the store is busy",
            Self::Full => "the disk of the store is full",
            Self::Poisoned => "the store stopped writing after a disk failure",
            Self::Closed => "the store is closed",
            Self::Finish => "the closing step of a unit panicked",
            Self::Entropy => "no entropy from the operating system",
            Self::Sealing => "a person's key cannot be used",
            Self::Sql(_) => "the database failed",
            Self::File(_) => "a file of the store failed",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sql(error) => Some(error.as_ref()),
            Self::File(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

/// Why the store could not be opened.
#[derive(Debug)]
pub enum OpenError {
    Directory {
        path: PathBuf,
        source: io::Error,
    },
    /// Another process serves from this directory.
    Locked {
        path: PathBuf,
    },
    /// A newer program wrote this file; older code would misread it.
    Newer {
        found: i64,
        known: i64,
    },
    /// The database did not take a setting on which durability rests.
    Setting {
        pragma: &'static str,
        found: String,
    },
    /// The key of the persons' keys.
    Key {
        path: PathBuf,
        mistake: KeyMistake,
    },
    Thread(io::Error),
    Sql(rusqlite::Error),
}

/// What is wrong with the key file.
#[derive(Debug)]
pub enum KeyMistake {
    /// It is not there, and must not be made anew.
    Missing,
    Unreadable(io::Error),
    Malformed,
    /// It is another store's.
    Other,
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, .. } => write!(f, "cannot use the store directory {}", path.display()),
            Self::Locked { path } => write!(f, "another process serves from {}", path.display()),
            Self::Newer { found, known } => {
                write!(f, "the store has schema {found}, this program knows up to {known}")
            }
            Self::Setting { pragma, found } => write!(f, "the database answered {found} to the setting {pragma}"),
            Self::Key { path, mistake } => {
                let path = path.display();
                match mistake {
                    KeyMistake::Missing => write!(
                        f,
                        "the key file {path} is not there; without it nothing that is kept of a person can be read"
                    ),
                    KeyMistake::Unreadable(_) => write!(f, "cannot use the key file {path}"),
                    KeyMistake::Malformed => write!(f, "the key file {path} is not 64 hexadecimal digits"),
                    KeyMistake::Other => {
                        write!(f, "the key file {path} is not the one that this store's keys are wrapped by")
                    }
                }
            }
            Self::Thread(_) => f.write_str("cannot start the writer thread"),
            Self::Sql(_) => f.write_str("cannot open the database"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory { source, .. }
            | Self::Thread(source)
            | Self::Key { mistake: KeyMistake::Unreadable(source), .. } => Some(source),
            Self::Sql(error) => Some(error),
            Self::Locked { .. } | Self::Newer { .. } | Self::Setting { .. } | Self::Key { .. } => None,
        }
    }
}

/// Whether writes are taken now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    Ok,
    /// The last write found no room.
    Full,
    /// No write will be taken until a restart.
    Poisoned,
}
