//! What can break in the store, and how it feels today.
//!
//! A refusal (conflict, stale consent, reused key) is not here: it is a value of `Accepted`. These are the faults of
//! the machinery, told apart by what the caller may do: try again (`Busy`), wait for room (`Full`), stop (`Poisoned`).

use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use super::sql::{self, Kind};

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
    /// Something could not be sealed.
    Sealing,
    /// The database server cannot be reached: try again later.
    Lost,
    /// The database server went away while it was told to keep something, and did not come back in time. Whether it was
    /// kept nobody knows; the same request may be sent again.
    Unknown,
    /// The store went on elsewhere, or was set back to an earlier moment: what this process has seen is no longer so.
    Moved,
    /// What is kept of something cannot be read, and will not be until it is restored; everything else can.
    Damaged,
    Sql(Arc<sql::Fault>),
    /// A file beside the database could not be read or written.
    File(Arc<io::Error>),
}

impl Error {
    /// The disk or the file is broken. After a failed fsync the page cache may show what never reached the disk, so
    /// such a failure must not be retried.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, Self::Sql(fault) if fault.kind() == Kind::Broken)
    }
}

/// Sorts rather than wraps: the kind decides what the caller may do.
impl From<sql::Fault> for Error {
    fn from(fault: sql::Fault) -> Self {
        match fault.kind() {
            Kind::Full => Self::Full,
            Kind::Busy => Self::Busy,
            Kind::Lost => Self::Lost,
            Kind::Unknown => Self::Unknown,
            Kind::Moved => Self::Moved,
            Kind::Damaged => Self::Damaged,
            Kind::Broken | Kind::Other => Self::Sql(Arc::new(fault)),
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
            Self::Sealing => "something cannot be sealed",
            Self::Lost => "the database cannot be reached",
            Self::Unknown => "the database went away, and nobody knows what it kept",
            Self::Moved => "the store was moved, or set back to an earlier moment",
            Self::Damaged => "what is kept of something is damaged",
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
        setting: &'static str,
        found: String,
    },
    /// The key of the persons' keys.
    Key {
        path: PathBuf,
        mistake: KeyMistake,
    },
    /// It was moved: what it holds goes on elsewhere.
    Moved,
    Thread(io::Error),
    /// The address of the database server.
    Unfit(Unfit),
    Database(sql::Fault),
    /// What an earlier process left could not be taken over.
    Begin(Error),
}

/// Why a database server cannot be used by its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// It is no such address.
    Address,
    /// It is on another machine, and nothing is named by which its certificate could be known.
    Plain,
    /// The certificates that it is to be known by.
    Authorities,
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

impl From<sql::Fault> for OpenError {
    fn from(fault: sql::Fault) -> Self {
        Self::Database(fault)
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Begin(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, .. } => write!(f, "cannot use the store directory {}", path.display()),
            Self::Locked { path } => write!(f, "another process serves from {}", path.display()),
            Self::Newer { found, known } => {
                write!(
                    f,
                    "the store has schema {found}, this program knows up to {known}: use the newer program, or have it \
                     `migrate --to {known}`"
                )
            }
            Self::Setting { setting, found } => write!(f, "the database answered {found} to the setting {setting}"),
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
            Self::Moved => f.write_str(
                "the store was moved, and what it holds goes on elsewhere; `move --take-back` lets this one be used again",
            ),
            Self::Thread(_) => f.write_str("cannot start the writer thread"),
            Self::Unfit(unfit) => f.write_str(match unfit {
                Unfit::Address => "the address of the database is no postgres:// URL",
                Unfit::Plain => {
                    "the database is on another machine and no authority is named by which its certificate is known"
                }
                Unfit::Authorities => "the certificates by which the database is known cannot be used",
            }),
            Self::Database(_) | Self::Begin(_) => f.write_str("cannot open the database"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory { source, .. }
            | Self::Thread(source)
            | Self::Key { mistake: KeyMistake::Unreadable(source), .. } => Some(source),
            Self::Database(error) => Some(error),
            Self::Begin(error) => Some(error),
            Self::Unfit(_)
            | Self::Moved
            | Self::Locked { .. }
            | Self::Newer { .. }
            | Self::Setting { .. }
            | Self::Key { .. } => None,
        }
    }
}

/// Why a store could not be backed up, restored or moved.
#[derive(Debug)]
pub enum BackupError {
    Open(OpenError),
    /// There is nothing to back up.
    NoStore,
    /// A file of the backup, or of the store beside its database.
    File {
        path: PathBuf,
        source: io::Error,
    },
    /// A part of a backup is not what was written.
    Damaged(String),
    /// The backup's form is another program's.
    Form(u32),
    /// The backup has erasures alone.
    NotWhole,
    /// Something lies where it is to be written.
    Taken(PathBuf),
    /// There is a store on the server already.
    TakenServer,
    /// The manifest could not be sealed.
    Sealing(String),
    /// The file of the store is damaged.
    Broken,
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(_) => f.write_str("the store cannot be used"),
            Self::NoStore => f.write_str("there is no store"),
            Self::File { path, .. } => write!(f, "cannot use {}", path.display()),
            Self::Damaged(part) => write!(f, "{part} of the backup is not what was written"),
            Self::Form(form) => write!(f, "the backup has the form {form}, which this program does not know"),
            Self::NotWhole => f.write_str("the backup has erasures alone; nothing can be made of it"),
            Self::Taken(path) => write!(f, "{} is there already, and nothing is written over", path.display()),
            Self::TakenServer => {
                f.write_str("there is a store in this schema of the server, and nothing is written over")
            }
            Self::Sealing(_) => f.write_str("the backup cannot be sealed"),
            Self::Broken => f.write_str(
                "the file is damaged (`doctor` says where), and its tables are left as they are: restore a backup first",
            ),
        }
    }
}

impl std::error::Error for BackupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            Self::File { source, .. } => Some(source),
            _ => None,
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
    /// The database server was not to be reached by the last write.
    Unreachable,
    /// A write waits for the disk or the server, longer than any should.
    Stalled,
    /// The store was moved or set back under this process, which does nothing more with it until a restart.
    Moved,
}
