//! The store in a database: a SQLite file of this machine, or a PostgreSQL server that several gateways share.
//!
//! What is stored, and how, is the same in both, and stands once; they differ in how they are opened (`file`, `server`)
//! and in how a transaction begins and ends (`transaction`). One thread writes (`writer`), a few connections read
//! (`pool`). The serving process holds a lock file, so that two gateways cannot answer from one directory; commands
//! beside it go without the lock and take turns with it in the database.

mod accept;
mod audit;
mod backup;
mod candidate;
mod carry;
mod consents;
mod erase;
mod examine;
mod exports;
mod feed;
mod file;
mod gist;
mod history;
mod items;
mod keys;
mod known;
mod layout;
mod links;
mod log;
mod log_copy;
mod pool;
mod put;
mod raw;
mod read;
mod receipts;
mod registry;
mod remnants;
mod restore;
mod retry;
mod row;
mod schema;
mod search;
mod server;
mod source;
mod spans;
mod stretches;
mod subscriptions;
mod tasks;
mod tidy;
mod transaction;
mod unmark;
mod uploads;
mod writer;

pub use backup::{BackingUp, Manifest};
pub use examine::Examining;
pub use restore::{Migrated, Restored};
pub use uploads::{UploadBytes, UploadFile};

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use self::keys::Keys;
use self::log_copy::LogCopy;
use self::pool::{Pool, Reader};
use self::transaction::Turn;
use self::writer::{Ledger, Writer};
use super::fault::{Error, Health, KeyMistake, OpenError};
use super::key_file::KeyFile;
use super::place::Place;
use super::sql::{self, Address, Connection};
use crate::telemetry::counted::Commits;

const LOCK: &str = "gateway.lock";
const READERS: usize = 4;

/// What lies below.
enum Base {
    File(PathBuf),
    Server(Address),
}

/// An open store: in a file of this machine, or on a server that several gateways share. The fields are dropped in this
/// order: the lock goes last.
pub struct Store {
    writer: Writer,
    pool: Pool,
    directory: PathBuf,
    base: Base,
    _lock: Option<File>,
}

impl Store {
    /// For the serving process; refuses a directory from which another one serves.
    pub fn open(place: &Place) -> Result<Self, OpenError> {
        let dir = &place.directory;
        create(dir)?;
        let failed = |source| OpenError::Directory { path: dir.clone(), source };
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => OpenError::Locked { path: dir.clone() },
            TryLockError::Error(source) => failed(source),
        })?;
        Self::connect(place, Some(lock))
    }

    /// For a command beside a serving process.
    pub fn open_shared(place: &Place) -> Result<Self, OpenError> {
        create(&place.directory)?;
        Self::connect(place, None)
    }

    /// Whether opening would find a store; it makes one otherwise.
    pub fn exists(place: &Place) -> Result<bool, OpenError> {
        match Base::of(place)? {
            Base::File(file) => Ok(file.exists()),
            Base::Server(address) => server::apart(|| server::is_prepared(&server::open(&address)?)),
        }
    }

    /// Whether a store could be made or written at a place; nothing is left behind.
    pub fn usable(place: &Place) -> Result<(), OpenError> {
        let dir = &place.directory;
        let failed = |source| OpenError::Directory { path: dir.clone(), source };
        // What is missing would be made, so the nearest directory above must let us.
        let standing = dir.ancestors().find(|above| above.as_os_str().is_empty() || above.symlink_metadata().is_ok());
        let standing = standing.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let probe = standing.join(format!("{LOCK}.{}", std::process::id()));
        File::options().create_new(true).write(true).open(&probe).map_err(failed)?;
        std::fs::remove_file(&probe).map_err(failed)?;
        let key = KeyFile::of(dir, place.key_file.as_deref());
        match Base::of(place)? {
            Base::File(file) => {
                if file.exists() {
                    File::options().append(true).open(&file).map_err(failed)?;
                    ours(&file::open_reader(&file)?, &key)?;
                }
            }
            Base::Server(address) => server::apart(|| {
                let connection = server::open(&address)?;
                if server::is_prepared(&connection)? {
                    ours(&connection, &key)?;
                }
                Ok::<_, OpenError>(())
            })?,
        }
        match key.read()? {
            None if !key.own => Err(key.mistaken(KeyMistake::Missing)),
            _ => Ok(()),
        }
    }

    /// Ids and registrations of the clients in a store that exists; it is only read.
    pub fn registered(place: &Place) -> Result<Vec<(String, String)>, OpenError> {
        match Base::of(place)? {
            Base::File(file) => Ok(registry::all(&file::open_reader(&file)?)?),
            Base::Server(address) => server::apart(|| Ok(registry::all(&server::open(&address)?)?)),
        }
    }

    fn connect(place: &Place, lock: Option<File>) -> Result<Self, OpenError> {
        let base = Base::of(place)?;
        let serving = lock.is_some();
        let (ledger, readers) = match &base {
            Base::File(file) => {
                prepared(place, file::open_writer(file, serving)?, serving, &|| Ok(file::open_reader(file)?))?
            }
            Base::Server(address) => {
                server::apart(|| prepared(place, server::open(address)?, serving, &|| Ok(server::later(address))))?
            }
        };
        let directory = place.directory.clone();
        let log = match (&base, ledger.connection.lite()) {
            (Base::File(file), Some(writer)) if serving => {
                writer.pragma_update(None, "wal_autocheckpoint", 0)?;
                Some(LogCopy::start(file::open_copier(file)?, log_copy::FULL)?)
            }
            _ => None,
        };
        let writer = Writer::start(ledger, log)?;
        let pool = Pool::new(readers, writer.record());
        Ok(Self { writer, pool, directory, base, _lock: lock })
    }

    pub fn health(&self) -> Health {
        let health = self.writer.health();
        if health == Health::Unreachable {
            // Whoever waits for it to be well sends nothing that would find out.
            drop(self.writer.call(1, |_| Ok(())));
        }
        health
    }

    /// Whether other gateways may work on what is here.
    pub fn is_shared(&self) -> bool {
        self.base.is_shared()
    }

    /// What is counted of the commits.
    pub fn commits(&self) -> &Commits {
        self.writer.commits()
    }

    /// Changes after each commit of this process that wrote feed rows.
    pub fn feed_changed(&self) -> watch::Receiver<u64> {
        self.writer.fed()
    }

    /// Writes what is queued, then closes.
    pub async fn close(self) {
        // A panic of the closing thread was reported by the panic hook, and the file is closed either way.
        drop(tokio::task::spawn_blocking(move || drop(self)).await);
    }

    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> sql::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.pool.query(work).await
    }

    /// Sees to it that what was deleted is gone from the files. A server's files are not ours.
    async fn empty_log(&self) -> Result<(), Error> {
        let Base::File(file) = &self.base else { return Ok(()) };
        let file = file.clone();
        let emptied = tokio::task::spawn_blocking(move || file::empty_log(&file)).await;
        if !emptied.unwrap_or(Err(Error::Closed))? {
            tracing::warn!("store: the log is in use and is emptied later");
        }
        Ok(())
    }
}

impl Base {
    /// Whether other gateways write here, too.
    fn is_shared(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    fn of(place: &Place) -> Result<Self, OpenError> {
        Ok(match &place.server {
            None => Self::File(place.directory.join(file::FILE)),
            Some(server) => Self::Server(server.address()?),
        })
    }
}

/// Whether a store that exists can be used with a key.
fn ours(connection: &Connection, key: &KeyFile) -> Result<(), OpenError> {
    restore::stays(connection)?;
    keys::fitting(connection, key).map(drop)
}

/// The newest schema, the keys, what earlier processes left; then the connections are ready for their threads.
fn prepared(
    place: &Place,
    connection: Connection,
    serving: bool,
    reader: &dyn Fn() -> Result<Connection, OpenError>,
) -> Result<(Ledger, Vec<Reader>), OpenError> {
    schema::migrate(&connection)?;
    restore::stays(&connection)?;
    let keys = Arc::new(Keys::open(&connection, &KeyFile::of(&place.directory, place.key_file.as_deref()))?);
    let mut ledger = Ledger::new(connection, keys.clone(), Turn::new()?);
    if serving {
        uploads::sweep(&ledger.connection, &place.directory)?;
        if place.server.is_none() {
            match take_over(&mut ledger) {
                // A full disk must not keep us from serving reads.
                Err(Error::Full) => tracing::warn!("store: no room to take over what an earlier process left"),
                taken => taken?,
            }
        }
    }
    let reader = |_| Ok::<_, OpenError>(Reader { connection: reader()?, keys: keys.clone() });
    let readers = (0..READERS).map(reader).collect::<Result<Vec<_>, _>>()?;
    Ok((ledger, readers))
}

fn create(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| OpenError::Directory { path: dir.to_owned(), source })
}

/// What an earlier process left when it was ended: leases that nobody holds any more, and sends that it could not
/// settle, which count as disclosures. In a shared store this shows when a lease is handed over.
fn take_over(ledger: &mut Ledger) -> Result<(), Error> {
    ledger.begin()?;
    let taken = feed::release(&ledger.connection)
        .and_then(|()| subscriptions::release(&ledger.connection))
        .and_then(|()| exports::release(&ledger.connection))
        .and_then(|()| audit::inherit(ledger));
    match taken {
        Ok(()) => Ok(ledger.commit()?),
        Err(fault) => {
            ledger.roll_back();
            Err(fault.into())
        }
    }
}
