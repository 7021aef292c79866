//! Backups: a folder with the rows of every table, the uploads under way, and a manifest that is sealed by the store's key.
//!
//! All rows are of one moment, seen by one transaction that reads while others write. The form is the same for both
//! databases, and the same store gives the same bytes, so that a copy is compared by its digests. The manifest is written
//! last: a folder without one is no backup. Its seal shows that whoever made it had the key file, and holds the digests of
//! everything else. What stands in the rows is sealed or plain as it is in the database; the key is not there unless it
//! is asked for.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::{self, Table};
use super::{Base, Store, carry, file, keys, log, schema, server, uploads};
use crate::store::fault::{BackupError, OpenError};
use crate::store::key_file::KeyFile;
use crate::store::place::Place;
use crate::store::seal::Key;
use crate::store::sql::{self, Connection};
use crate::tlog::root;

/// Of the folder's form; another one is not read.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const TABLES: &str = "tables";
const UPLOADS: &str = "uploads";
/// The key, where it was asked for.
pub(super) const KEY: &str = "gateway.key";
/// The one table of a backup of erasures alone.
pub(super) const ERASED: &str = "erased";
/// What the seal of a manifest is about.
const ABOUT: &[u8] = b"backup";
/// No manifest is longer.
const MOST_MANIFEST: u64 = 256 << 20;
const BUFFER: usize = 256 << 10;

/// How a backup is made.
#[derive(Clone, Copy)]
pub struct BackingUp<'a> {
    /// Puts the key file into it: whoever has the backup then reads everything.
    pub with_key: bool,
    /// Only who was erased: what is to be done again in copies that are older.
    pub erasures_alone: bool,
    /// Version of the program.
    pub program: &'a str,
    pub now_ms: i64,
}

/// What a backup is.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub program: String,
    pub schema: i64,
    pub made_ms: i64,
    /// Whether it has everything, and not the erasures alone.
    pub whole: bool,
    pub tables: Vec<Kept>,
    pub uploads: Vec<Kept>,
    /// Uploads under way whose bytes were not in the directory.
    pub uploads_elsewhere: u64,
    /// The transparency log at that moment.
    pub log: Option<LogEnd>,
    /// Digest of all of the above, sealed by the store's key.
    seal: String,
}

/// A file of the backup.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    pub blake3: String,
    /// The last number that a row was given, where it must not be given again.
    pub last_number: Option<i64>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct LogEnd {
    pub entries: u64,
    pub root: String,
    /// The last head that was signed.
    pub head: Option<String>,
}

impl Store {
    /// Makes a backup of the store at a place, beside whoever serves it, and reads it again.
    pub fn back_up(place: &Place, to: &Path, how: BackingUp<'_>) -> Result<Manifest, BackupError> {
        let made = match Base::of(place)? {
            Base::File(file) if !file.exists() => Err(BackupError::NoStore),
            Base::File(file) => copied(place, &file::open_reader(&file)?, to, how),
            Base::Server(address) => server::apart(|| {
                let connection = server::open(&address)?;
                if !server::is_prepared(&connection)? {
                    return Err(BackupError::NoStore);
                }
                copied(place, &connection, to, how)
            }),
        }?;
        let read = Self::verify(to)?;
        if read == made { Ok(made) } else { Err(BackupError::Damaged(MANIFEST.to_owned())) }
    }

    /// Reads a backup through; nothing but its seal is left to be doubted then.
    pub fn verify(from: &Path) -> Result<Manifest, BackupError> {
        let manifest = Manifest::read(from)?;
        for (folder, kept) in manifest.tables.iter().map(|kept| (TABLES, kept)).chain(manifest.uploads_of()) {
            let mut file = Summed::new(open(&from.join(folder).join(&kept.name))?);
            let path = from.join(folder).join(&kept.name);
            io::copy(&mut file, &mut io::sink()).map_err(failed(&path))?;
            if (file.bytes, file.digest()) != (kept.bytes, kept.blake3.clone()) {
                return Err(BackupError::Damaged(format!("{folder}/{}", kept.name)));
            }
        }
        Ok(manifest)
    }
}

impl Manifest {
    fn read(from: &Path) -> Result<Self, BackupError> {
        let path = from.join(MANIFEST);
        let mut text = Vec::new();
        open(&path)?.take(MOST_MANIFEST).read_to_end(&mut text).map_err(failed(&path))?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|_| BackupError::Damaged(MANIFEST.to_owned()))?;
        if manifest.format != FORMAT {
            return Err(BackupError::Form(manifest.format));
        }
        // They are names of files below.
        let letters =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if manifest.tables.iter().chain(&manifest.uploads).all(|kept| letters(&kept.name)) {
            Ok(manifest)
        } else {
            Err(BackupError::Damaged(MANIFEST.to_owned()))
        }
    }

    fn uploads_of(&self) -> impl Iterator<Item = (&'static str, &Kept)> {
        self.uploads.iter().map(|kept| (UPLOADS, kept))
    }

    pub(super) fn table(&self, name: &str) -> Option<&Kept> {
        self.tables.iter().find(|kept| kept.name == name)
    }

    fn sealed_by(mut self, key: &Key) -> Result<Self, BackupError> {
        let seal = key.seal(ABOUT, &self.sum()).map_err(|broken| BackupError::Sealing(broken.to_string()))?;
        self.seal = hexadecimal(&seal);
        Ok(self)
    }

    /// Whether somebody with this key made it.
    pub(super) fn is_sealed_by(&self, key: &Key) -> bool {
        let digits = self.seal.as_bytes().as_chunks::<2>().0;
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let seal: Option<Vec<u8>> = digits.iter().map(byte).collect();
        seal.and_then(|seal| key.open(ABOUT, seal).ok()).is_some_and(|sum| sum == self.sum())
    }

    /// Over everything but the seal.
    fn sum(&self) -> [u8; 32] {
        let bare = Self { seal: String::new(), ..self.clone() };
        let text = serde_json::to_vec(&bare).expect("texts and numbers can be written");
        *blake3::hash(&text).as_bytes()
    }
}

fn copied(place: &Place, connection: &Connection, to: &Path, how: BackingUp<'_>) -> Result<Manifest, BackupError> {
    let key_file = KeyFile::of(&place.directory, place.key_file.as_deref());
    let key = keys::fitting(connection, &key_file)?.ok_or(BackupError::NoStore)?;
    begin_folder(to)?;
    // Held from before the moment that the rows are of: what is worked off meanwhile can still be read.
    let held = held(&place.directory.join(UPLOADS));
    carry::begin_snapshot(connection)?;
    let found = schema::version(connection)?;
    let known = schema::newest();
    if found > known {
        return Err(OpenError::Newer { found, known }.into());
    }
    let mut manifest = Manifest {
        format: FORMAT,
        program: how.program.to_owned(),
        schema: found,
        made_ms: how.now_ms,
        whole: !how.erasures_alone,
        tables: Vec::new(),
        uploads: Vec::new(),
        uploads_elsewhere: 0,
        log: None,
        seal: String::new(),
    };
    let tables = layout::of(found)?;
    for table in tables.iter().filter(|table| manifest.whole || table.name == ERASED) {
        manifest.tables.push(table_into(connection, table, &to.join(TABLES))?);
    }
    if manifest.whole {
        uploads_into(connection, &tables, held, place, to, &mut manifest)?;
        manifest.log = log_end(connection, &tables)?;
    }
    connection.batch("COMMIT")?;
    let manifest = manifest.sealed_by(&key)?;
    if how.with_key {
        let text = std::fs::read(&key_file.path).map_err(failed(&key_file.path))?;
        written(&to.join(KEY), |file| Ok(file.write_all(&text).map(|()| 0)?))?;
    }
    for folder in [TABLES, UPLOADS] {
        sync(&to.join(folder))?;
    }
    let text = serde_json::to_vec_pretty(&manifest).expect("texts and numbers can be written");
    written(&to.join(MANIFEST), |file| Ok(file.write_all(&text).map(|()| 0)?))?;
    sync(to)?;
    Ok(manifest)
}

/// A folder of its own, so that nothing is written over.
fn begin_folder(to: &Path) -> Result<(), BackupError> {
    if std::fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BackupError::Taken(to.to_owned()));
    }
    for folder in [to.to_owned(), to.join(TABLES), to.join(UPLOADS)] {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
    }
    Ok(())
}

fn table_into(connection: &Connection, table: &Table, folder: &Path) -> Result<Kept, BackupError> {
    let mut kept = written(&folder.join(&table.name), |file| carry::out(connection, table, file))?;
    table.name.clone_into(&mut kept.name);
    kept.last_number = carry::last_number(connection, table)?;
    Ok(kept)
}

/// What the rows of a table are, without keeping them.
pub(super) fn digest(connection: &Connection, table: &Table) -> Result<String, BackupError> {
    let mut sink = Summed::new(io::sink());
    let mut buffered = BufWriter::with_capacity(BUFFER, &mut sink);
    carry::out(connection, table, &mut buffered).map_err(BackupError::of(&table.name))?;
    buffered.flush().map_err(failed(Path::new(&table.name)))?;
    drop(buffered);
    Ok(sink.digest())
}

/// The files of uploads that are there now, open.
fn held(folder: &Path) -> HashMap<String, File> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let opened =
        |entry: std::fs::DirEntry| Some((entry.file_name().into_string().ok()?, File::open(entry.path()).ok()?));
    entries.filter_map(opened).collect()
}

fn uploads_into(
    connection: &Connection,
    tables: &[Table],
    mut held: HashMap<String, File>,
    place: &Place,
    to: &Path,
    manifest: &mut Manifest,
) -> Result<(), BackupError> {
    // Before they were sealed none was kept beyond a change of the schema.
    let is_sealed =
        |table: &Table| table.name == "upload" && table.columns.iter().any(|(column, _)| column == "stored");
    if !tables.iter().any(is_sealed) {
        return Ok(());
    }
    for (name, stored) in uploads::stored(connection)? {
        let file = held.remove(&name).or_else(|| File::open(place.directory.join(UPLOADS).join(&name)).ok());
        let whole = file.filter(|file| file.metadata().is_ok_and(|metadata| metadata.len() >= stored));
        let Some(file) = whole else {
            manifest.uploads_elsewhere += 1;
            continue;
        };
        let mut kept = written(&to.join(UPLOADS).join(&name), |copy| {
            io::copy(&mut BufReader::new(file).take(stored), copy)?;
            Ok(0)
        })?;
        kept.name = name;
        manifest.uploads.push(kept);
    }
    Ok(())
}

fn log_end(connection: &Connection, tables: &[Table]) -> Result<Option<LogEnd>, BackupError> {
    if !tables.iter().any(|table| table.name == "log_entry") {
        return Ok(None);
    }
    let entries = log::size(connection)?;
    let root = root(entries, &mut log::complete(connection))?;
    let head = log::head(connection)?.map(|head| head.note);
    Ok(Some(LogEnd { entries, root: hexadecimal(&root), head }))
}

/// Writes a file that must be new; it is on the disk when this returns, and its owner's alone.
fn written(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<Summed<File>>) -> Result<u64, carry::Stuck>,
) -> Result<Kept, BackupError> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed(path))?;
    let mut file = BufWriter::with_capacity(BUFFER, Summed::new(file));
    let rows = write(&mut file).map_err(BackupError::of(&path.display().to_string()))?;
    let file = file.into_inner().map_err(|error| failed(path)(error.into_error()))?;
    file.inner.sync_all().map_err(failed(path))?;
    Ok(Kept { name: String::new(), rows, bytes: file.bytes, blake3: file.digest(), last_number: None })
}

/// A file of a backup, to be put back.
pub(super) fn table_of(from: &Path, name: &str) -> Result<BufReader<File>, BackupError> {
    Ok(BufReader::with_capacity(BUFFER, open(&from.join(TABLES).join(name))?))
}

/// Puts the files of uploads back.
pub(super) fn uploads_back(from: &Path, manifest: &Manifest, directory: &Path) -> Result<(), BackupError> {
    let folder = directory.join(UPLOADS);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
    for kept in &manifest.uploads {
        let (source, path) = (from.join(UPLOADS).join(&kept.name), folder.join(&kept.name));
        let mut bytes = open(&source)?;
        let mut file =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed(&path))?;
        io::copy(&mut bytes, &mut file).and_then(|_| file.sync_all()).map_err(failed(&path))?;
    }
    sync(&folder)
}

pub(super) fn sync(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn open(path: &Path) -> Result<File, BackupError> {
    File::open(path).map_err(failed(path))
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path: PathBuf = path.to_owned();
    move |source| BackupError::File { path, source }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl BackupError {
    /// What it means that rows of something are stuck.
    pub(super) fn of(what: &str) -> impl FnOnce(carry::Stuck) -> BackupError {
        let what = what.to_owned();
        move |stuck| match stuck {
            carry::Stuck::Database(fault) => fault.into(),
            carry::Stuck::File(source) => Self::File { path: what.into(), source },
            carry::Stuck::Form => Self::Damaged(what),
        }
    }
}

impl From<sql::Fault> for BackupError {
    fn from(fault: sql::Fault) -> Self {
        Self::Open(fault.into())
    }
}

/// Sums up what goes through.
struct Summed<T> {
    inner: T,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Summed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.note(&bytes[..read]);
        Ok(read)
    }
}
