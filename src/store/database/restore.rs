//! A store out of a backup, and a store from one place to another.
//!
//! A backup is read through before anything is written, and what was written is read again and compared with it. A store
//! appears at its place whole or not at all, and never in the place of another. What is wrong with the data itself, as it
//! was when the backup was made, is told and stands in nobody's way: a store with a fault is better than none.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::backup::{self, BackingUp, ERASED, KEY, Manifest, failed};
use super::keys::{self, Keys};
use super::{Base, LOCK, Store, carry, create, erase, examine, file, layout, schema, server, unmark};
use crate::store::erasure::Erasure;
use crate::store::fault::{BackupError, KeyMistake, OpenError};
use crate::store::finding::{Finding, Grade};
use crate::store::id::{PatientKey, ResId};
use crate::store::key_file::KeyFile;
use crate::store::place::Place;
use crate::store::seal::Key;
use crate::store::sql::{self, Address, Connection, Fault, Optional, Value, params};

/// A store that was moved says so, so that nobody goes on with it.
pub(super) const MOVED: &str = "moved";
/// Where a move keeps what it carries.
const MOVING: &str = "moving";

/// What became of a backup.
#[derive(Clone, Debug)]
pub struct Restored {
    pub manifest: Manifest,
    /// Erasures since the backup that were begun again; the next start finishes them.
    pub erased: u64,
    /// The store looked over.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Makes a store at a place out of a backup. Erasures are taken from other backups, which are younger.
    pub fn restore(place: &Place, from: &Path, younger: &[&Path]) -> Result<Restored, BackupError> {
        let (manifest, key) = examined(place, from)?;
        let erasures = erasures(place, &key, younger)?;
        create(&place.directory)?;
        let _lock = locked(&place.directory)?;
        let base = Base::of(place)?;
        let key_file = KeyFile::of(&place.directory, place.key_file.as_deref());
        let loading = Loading { manifest: &manifest, from, erasures: &erasures };
        let (erased, findings) = match &base {
            Base::File(file) => {
                if file.exists() {
                    return Err(BackupError::Taken(file.clone()));
                }
                keep_key(&key_file, from)?;
                loading.made_in(file, &key_file)?
            }
            Base::Server(address) => server::apart(|| {
                let connection = server::open(address)?;
                if server::is_prepared(&connection)? {
                    return Err(BackupError::TakenServer);
                }
                keep_key(&key_file, from)?;
                loading.load(connection, &key_file)
            })?,
        };
        backup::uploads_back(from, &manifest, &place.directory)?;
        Ok(Restored { manifest, erased, findings })
    }

    /// Looks whether a backup could be restored at a place, and writes nothing.
    pub fn restorable(place: &Place, from: &Path) -> Result<Manifest, BackupError> {
        examined(place, from).map(|(manifest, _)| manifest)
    }

    /// Moves everything to another place, where there must be no store. Nothing is written here meanwhile, and the store that
    /// stays behind is not opened again.
    pub fn move_to(place: &Place, to: &Place, program: &str, now_ms: i64) -> Result<Restored, BackupError> {
        let carried = to.directory.join(MOVING);
        let how = BackingUp { with_key: true, erasures_alone: false, program, now_ms };
        let moved = || {
            create(&to.directory)?;
            Self::back_up(place, &carried, how)?;
            Self::restore(to, &carried, &[])
        };
        let moved = match Base::of(place)? {
            Base::File(file) if !file.exists() => return Err(BackupError::NoStore),
            Base::File(file) => {
                let _lock = locked(&place.directory)?;
                alone(&file::open_writer(&file, true)?, moved)
            }
            Base::Server(address) => server::apart(|| {
                let connection = server::open(&address)?;
                if !server::is_prepared(&connection)? {
                    return Err(BackupError::NoStore);
                }
                alone(&connection, moved)
            }),
        };
        // Whatever became of it: there is a key among it.
        if carried.exists() {
            std::fs::remove_dir_all(&carried).map_err(failed(&carried))?;
        }
        moved
    }

    /// Lets a store that was moved be opened again; false where it was not moved.
    pub fn take_back(place: &Place) -> Result<bool, BackupError> {
        let unmark = |connection: &Connection| {
            connection.execute("DELETE FROM secret WHERE name = ?1", [MOVED]).map(|rows| rows > 0)
        };
        match Base::of(place)? {
            Base::File(file) if !file.exists() => Err(BackupError::NoStore),
            Base::File(file) => Ok(unmark(&file::open_writer(&file, false)?)?),
            Base::Server(address) => server::apart(|| Ok(unmark(&server::open(&address)?)?)),
        }
    }

    /// The schema that the tables of a store have.
    pub fn schema(place: &Place) -> Result<i64, BackupError> {
        match Base::of(place)? {
            Base::File(file) if !file.exists() => Err(BackupError::NoStore),
            Base::File(file) => Ok(schema::version(&file::open_reader(&file)?)?),
            Base::Server(address) => server::apart(|| Ok(schema::version(&prepared(&address)?)?)),
        }
    }

    /// Brings the tables of a store to a schema of this program's, forward or back, with nobody serving. The key has to be the
    /// store's, also where nothing is to be done, and a file has to be whole.
    pub fn migrate(place: &Place, wanted: i64) -> Result<Migrated, BackupError> {
        let migrate = |connection: &Connection| -> Result<Migrated, OpenError> {
            let mut unread = 0;
            let found = schema::migrate_after(connection, wanted, |found| {
                if found < 1 {
                    return Ok(());
                }
                // Whoever has another key has most likely another store in mind, whatever there is to do.
                let key = keys::fitting(connection, &KeyFile::of(&place.directory, place.key_file.as_deref()))?;
                if found >= schema::MARKED && wanted < schema::MARKED {
                    unread = unmark::all(connection, key.map(Keys::of).as_ref())?;
                }
                Ok(())
            })?;
            Ok(Migrated { found, unread })
        };
        match Base::of(place)? {
            Base::File(file) if !file.exists() => Err(BackupError::NoStore),
            Base::File(file) => {
                let _lock = locked(&place.directory)?;
                let connection = file::open_writer(&file, true)?;
                // Nothing is built on what is broken, and nothing of it lost that a copy of the file would still have.
                if schema::version(&connection)? != wanted && examine::integrity(&connection)?.grade == Grade::Bad {
                    return Err(BackupError::Broken);
                }
                Ok(migrate(&connection)?)
            }
            Base::Server(address) => server::apart(|| Ok(migrate(&prepared(&address)?)?)),
        }
    }

    /// The newest schema that this program knows.
    pub fn newest_schema() -> i64 {
        schema::newest()
    }
}

/// What a change of schema came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migrated {
    /// The schema that there was.
    pub found: i64,
    /// Texts that were to be written anew, and cannot be read.
    pub unread: u64,
}

fn prepared(address: &Address) -> Result<Connection, BackupError> {
    let connection = server::open(address)?;
    if server::is_prepared(&connection)? { Ok(connection) } else { Err(BackupError::NoStore) }
}

/// A store that was moved away is not opened.
pub(super) fn stays(connection: &Connection) -> Result<(), OpenError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM secret WHERE name = ?1")?;
    match statement.query_row([MOVED], |_| Ok(())).optional()? {
        Some(()) => Err(OpenError::Moved),
        None => Ok(()),
    }
}

/// Does something while nobody else can write, and leaves a mark if that went well.
fn alone(
    connection: &Connection,
    work: impl FnOnce() -> Result<Restored, BackupError>,
) -> Result<Restored, BackupError> {
    schema::begin(connection)?;
    if let Connection::Postgres(_) = connection {
        connection.batch("SET LOCAL idle_in_transaction_session_timeout = 0")?;
    }
    let done = work();
    if done.is_ok() {
        let sql = "INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        connection.execute(sql, params![MOVED, b""])?;
    }
    connection.batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

/// A backup that is whole, whose schema is known, and that was made with the key of the place.
fn examined(place: &Place, from: &Path) -> Result<(Manifest, Key), BackupError> {
    let manifest = Store::verify(from)?;
    if !manifest.whole {
        return Err(BackupError::NotWhole);
    }
    let (found, known) = (manifest.schema, schema::newest());
    if !(1..=known).contains(&found) {
        return Err(OpenError::Newer { found, known }.into());
    }
    let key = key(place, from)?;
    if manifest.is_sealed_by(&key) { Ok((manifest, key)) } else { Err(mistaken(place)) }
}

/// The key of the place; where it has none yet, that of the backup.
fn key(place: &Place, from: &Path) -> Result<Key, BackupError> {
    let own = KeyFile::of(&place.directory, place.key_file.as_deref());
    let bytes = match own.read()? {
        Some(bytes) => bytes,
        None if own.own => {
            KeyFile::of(from, None).read()?.ok_or_else(|| BackupError::from(own.mistaken(KeyMistake::Missing)))?
        }
        None => return Err(own.mistaken(KeyMistake::Missing).into()),
    };
    Key::new(&bytes).map_err(|_| mistaken(place))
}

fn mistaken(place: &Place) -> BackupError {
    KeyFile::of(&place.directory, place.key_file.as_deref()).mistaken(KeyMistake::Other).into()
}

fn keep_key(own: &KeyFile, from: &Path) -> Result<(), BackupError> {
    if own.read()?.is_none()
        && let Some(bytes) = (KeyFile { path: from.join(KEY), own: false }).read()?
    {
        own.place(&bytes).map_err(failed(&own.path))?;
    }
    Ok(())
}

/// Who serves from a directory, or restores into it, is alone.
fn locked(directory: &Path) -> Result<File, BackupError> {
    let path = directory.join(LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: directory.to_owned() }.into()),
        Err(TryLockError::Error(source)) => Err(failed(&path)(source)),
    }
}

/// Tombstones of backups of the same store.
fn erasures(place: &Place, key: &Key, younger: &[&Path]) -> Result<Vec<Erasure>, BackupError> {
    let mut found = Vec::new();
    for from in younger {
        let manifest = Store::verify(from)?;
        if !manifest.is_sealed_by(key) {
            return Err(mistaken(place));
        }
        let tables = layout::of(manifest.schema)?;
        let Some(table) = tables.iter().find(|table| table.name == ERASED) else { continue };
        let at = |name: &str| table.columns.iter().position(|(column, _)| column == name).ok_or(Fault::Column);
        let (patient, owner, moment, record) = (at("patient")?, at("owner")?, at("at")?, at("record")?);
        let read = |values: &[Value<'_>]| {
            found.push(Erasure {
                patient: PatientKey(sql::Column::of(values[patient]).ok_or(Fault::Column)?),
                owner: sql::Column::of(values[owner]).ok_or(Fault::Column)?,
                at_ms: sql::Column::of(values[moment]).ok_or(Fault::Column)?,
                record: ResId(sql::Column::of(values[record]).ok_or(Fault::Column)?),
                // What was found then is found again.
                receipt: Vec::new(),
                finished: false,
            });
            Ok(())
        };
        carry::read(table, &mut backup::table_of(from, ERASED)?, read).map_err(BackupError::of(ERASED))?;
    }
    Ok(found)
}

/// A backup on its way into a database.
struct Loading<'a> {
    manifest: &'a Manifest,
    from: &'a Path,
    erasures: &'a [Erasure],
}

impl Loading<'_> {
    /// Into a file beside its place, which it takes when it is whole.
    fn made_in(&self, file: &Path, key: &KeyFile) -> Result<(u64, Vec<Finding>), BackupError> {
        let unfinished = file.with_extension("restoring");
        if unfinished.exists() {
            std::fs::remove_file(&unfinished).map_err(failed(&unfinished))?;
        }
        let done = self.load(file::open_unshared(&unfinished)?, key);
        if done.is_err() {
            // That it could not be made is what is told.
            drop(std::fs::remove_file(&unfinished));
            return done;
        }
        File::open(&unfinished).and_then(|file| file.sync_all()).map_err(failed(&unfinished))?;
        std::fs::rename(&unfinished, file).map_err(failed(file))?;
        backup::sync(file.parent().unwrap_or(Path::new(".")))?;
        done
    }

    /// All at once: a connection that is dropped before the end leaves nothing.
    fn load(&self, connection: Connection, key: &KeyFile) -> Result<(u64, Vec<Finding>), BackupError> {
        self.fill(&connection).and_then(|erased| Ok((erased, examine::looked_over(connection, key)?)))
    }

    fn fill(&self, connection: &Connection) -> Result<u64, BackupError> {
        schema::begin(connection)?;
        if let Connection::Postgres(_) = connection {
            let patient = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
            connection.batch(patient)?;
        }
        schema::apply(connection, self.manifest.schema)?;
        for table in &layout::of(self.manifest.schema)? {
            let damaged = || BackupError::Damaged(table.name.clone());
            let kept = self.manifest.table(&table.name).ok_or_else(damaged)?;
            let mut rows = backup::table_of(self.from, &table.name)?;
            let loaded = carry::in_(connection, table, &mut rows).map_err(BackupError::of(&table.name))?;
            if loaded != kept.rows || backup::digest(connection, table)? != kept.blake3 {
                return Err(damaged());
            }
            carry::go_on(connection, table, kept.last_number)?;
        }
        schema::apply(connection, schema::newest())?;
        connection.execute("DELETE FROM secret WHERE name = ?1", [MOVED])?;
        let mut erased = 0;
        for erasure in self.erasures {
            erased += u64::from(erase::repeat(connection, erasure)?);
        }
        connection.batch("COMMIT")?;
        Ok(erased)
    }
}
