//! Keys per person: a row each, wrapped by the key of the key file, made when something of the person is first kept.
//!
//! A sealed row names the number of its key. Whoever reads it reads the key's row in the same statement, so that a key that
//! was shredded, by whichever process, opens nothing from that moment on, whatever is remembered here of it. Numbers are
//! never given twice: what is kept of a person after shredding has another key, and what lay there before stays closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Store;
use super::writer::Ledger;
use crate::store::fault::{Error, KeyMistake, OpenError};
use crate::store::id::{PatientKey, ResId};
use crate::store::key_file::KeyFile;
use crate::store::seal::{Broken, KEY_BYTES, Key};
use crate::store::sql::{Connection, Fault, Optional, params};
use crate::store::upload::UploadId;

/// Keys that are remembered unwrapped, twice over: about a kilobyte each.
const REMEMBERED: usize = 8192;
/// What is sealed under the key file's own key, to know it again.
const CHECK: &str = "key-check";

/// A person's key as the writer uses it.
#[derive(Clone)]
pub(super) struct Sealer {
    number: i64,
    key: Arc<Key>,
    /// The id of whose it is, as far as it is kept.
    person: Option<ResId>,
}

/// What is written to a row.
pub(super) struct Sealed {
    /// Of the key.
    pub(super) number: i64,
    pub(super) text: Vec<u8>,
}

impl Sealer {
    pub(super) fn number(&self) -> i64 {
        self.number
    }

    pub(super) fn sealed(&self, identity: &[u8], text: &[u8]) -> Result<Sealed, Error> {
        let text = self.key.seal(identity, text).map_err(|Broken| Error::Sealing)?;
        Ok(Sealed { number: self.number, text })
    }
}

/// A key in memory with the row that it was unwrapped from: a number may yet be another's if its transaction is undone.
type Known = HashMap<i64, (Box<[u8]>, Arc<Key>)>;

/// The wrapping key, and what it has unwrapped lately. The older half is dropped when the younger one is full.
pub(super) struct Keys {
    master: Key,
    known: Mutex<(Known, Known)>,
}

impl Keys {
    /// Reads the key file and makes sure that it is the store's. Only a store that never had one gets a new one.
    pub(super) fn open(connection: &Connection, file: &KeyFile) -> Result<Self, OpenError> {
        if let Some(master) = fitting(connection, file)? {
            return Ok(Self::of(master));
        }
        let broken = |Broken| file.mistaken(KeyMistake::Other);
        let master = Key::new(&file.read_or_make()?).map_err(broken)?;
        let check = master.seal(CHECK.as_bytes(), CHECK.as_bytes()).map_err(broken)?;
        let sql = "INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        if connection.execute(sql, params![CHECK, check])? == 0 {
            // Another process was faster, perhaps with another file.
            return Self::open(connection, file);
        }
        Ok(Self::of(master))
    }

    /// Of the key of a key file that is the store's.
    pub(super) fn of(master: Key) -> Self {
        Self { master, known: Mutex::default() }
    }

    /// What opens rows of a number.
    pub(super) fn key(&self, number: i64, patient: PatientKey, wrapped: &[u8]) -> Result<Arc<Key>, Broken> {
        if let Some(key) = self.recall(number, wrapped) {
            return Ok(key);
        }
        let bytes = self.master.open(&about(patient), wrapped.to_vec())?;
        let key = Arc::new(Key::new(bytes.as_slice().try_into().map_err(|_| Broken)?)?);
        self.remember(number, wrapped, key.clone());
        Ok(key)
    }

    /// Seals what belongs to no person: the key file's own key opens it.
    pub(super) fn sealed(&self, identity: &[u8], text: &[u8]) -> Result<Vec<u8>, Broken> {
        self.master.seal(identity, text)
    }

    pub(super) fn opened(&self, identity: &[u8], sealed: Vec<u8>) -> Result<Vec<u8>, Broken> {
        self.master.open(identity, sealed)
    }

    fn make(&self, patient: PatientKey) -> Result<(Vec<u8>, Arc<Key>), Error> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| Error::Entropy)?;
        let wrapped = self.master.seal(&about(patient), &bytes).map_err(|Broken| Error::Sealing)?;
        Ok((wrapped, Arc::new(Key::new(&bytes).map_err(|Broken| Error::Sealing)?)))
    }

    fn recall(&self, number: i64, wrapped: &[u8]) -> Option<Arc<Key>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (young, old) = &mut *known;
        if let Some((same, key)) = young.get(&number) {
            return (**same == *wrapped).then(|| key.clone());
        }
        let (same, key) = old.remove(&number)?;
        let found = (*same == *wrapped).then(|| key.clone());
        Self::add(young, old, number, (same, key));
        found
    }

    fn remember(&self, number: i64, wrapped: &[u8], key: Arc<Key>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (young, old) = &mut *known;
        Self::add(young, old, number, (wrapped.into(), key));
    }

    fn add(young: &mut Known, old: &mut Known, number: i64, entry: (Box<[u8]>, Arc<Key>)) {
        if young.len() >= REMEMBERED {
            *old = std::mem::take(young);
        }
        young.insert(number, entry);
    }
}

/// The key of the file if it is the store's; none where the store has had none yet.
pub(super) fn fitting(connection: &Connection, file: &KeyFile) -> Result<Option<Key>, OpenError> {
    let check: Option<Vec<u8>> = connection
        .prepare_cached("SELECT value FROM secret WHERE name = ?1")?
        .query_row([CHECK], |row| row.get(0))
        .optional()?;
    let Some(check) = check else { return Ok(None) };
    let other = |Broken| file.mistaken(KeyMistake::Other);
    let bytes = file.read()?.ok_or_else(|| file.mistaken(KeyMistake::Missing))?;
    let key = Key::new(&bytes).map_err(other)?;
    key.open(CHECK.as_bytes(), check).map_err(other)?;
    Ok(Some(key))
}

/// A wrapped key is one person's.
fn about(patient: PatientKey) -> [u8; 20] {
    let mut identity = *b"key\0................";
    identity[4..].copy_from_slice(&patient.0);
    identity
}

/// What a sealed text is: a version of a resource.
pub(super) fn version_of(patient: PatientKey, tail: [u8; 12], version: u32) -> [u8; 36] {
    let mut identity = *b"res\0................____________....";
    identity[4..20].copy_from_slice(&patient.0);
    identity[20..32].copy_from_slice(&tail);
    identity[32..].copy_from_slice(&version.to_be_bytes());
    identity
}

/// What a sealed text is: the gist of a version of a resource.
pub(super) fn gist_of(patient: PatientKey, tail: [u8; 12], version: u32) -> [u8; 36] {
    let mut identity = version_of(patient, tail, version);
    identity[..4].copy_from_slice(b"gst\0");
    identity
}

/// What a sealed text is: the id by which a person is known.
fn named_of(patient: PatientKey) -> [u8; 20] {
    let mut identity = *b"nam\0................";
    identity[4..].copy_from_slice(&patient.0);
    identity
}

/// The id by which a person is known, where it is kept beside her key, sealed by that.
pub(super) fn person_by(key: &Key, patient: PatientKey, sealed: Option<&[u8]>) -> Result<Option<ResId>, Broken> {
    let Some(sealed) = sealed else { return Ok(None) };
    let opened = key.open(&named_of(patient), sealed.to_vec())?;
    opened.try_into().map(|id| Some(ResId(id))).map_err(|_| Broken)
}

/// What a sealed text is: what came in of a person at that moment.
pub(super) fn input_of(patient: PatientKey, at_ms: i64) -> [u8; 28] {
    let mut identity = *b"raw\0................________";
    identity[4..20].copy_from_slice(&patient.0);
    identity[20..].copy_from_slice(&at_ms.to_be_bytes());
    identity
}

/// What a sealed text is: a piece of an upload, from that byte on.
pub(super) fn piece_of(upload: UploadId, from: u64) -> [u8; 28] {
    let mut identity = *b"upl\0................________";
    identity[4..20].copy_from_slice(&upload);
    identity[20..].copy_from_slice(&from.to_be_bytes());
    identity
}

/// A text that cannot be opened though its key is there: the file was tampered with, or is damaged.
pub(super) fn damaged(broken: Broken) -> Fault {
    Fault::damaged(broken)
}

/// The key that a person's rows are sealed by, made where there is none. Remembered for one transaction: beyond it another
/// process may shred it.
pub(super) fn sealer(ledger: &mut Ledger, patient: PatientKey) -> Result<Sealer, Error> {
    if let Some(sealer) = ledger.sealers.get(&patient) {
        return Ok(sealer.clone());
    }
    let found: Option<(i64, Vec<u8>, Option<Vec<u8>>)> = ledger
        .connection
        .prepare_cached("SELECT number, wrapped, person FROM person_key WHERE patient = ?1")?
        .query_row([patient.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let sealer = if let Some((number, wrapped, person)) = found {
        let unusable = |Broken| {
            tracing::error!(number, "store: the key of a person is damaged");
            Error::Damaged
        };
        let key = ledger.keys.key(number, patient, &wrapped).map_err(unusable)?;
        let person = person_by(&key, patient, person.as_deref()).map_err(unusable)?;
        Sealer { number, key, person }
    } else {
        let (wrapped, key) = ledger.keys.make(patient)?;
        let sql = "INSERT INTO person_key (patient, wrapped) VALUES (?1, ?2)";
        let number = ledger.connection.insert(sql, "number", params![patient.0, wrapped])?.ok_or(Fault::NoRow)?;
        ledger.keys.remember(number, &wrapped, key.clone());
        Sealer { number, key, person: None }
    };
    ledger.sealers.insert(patient, sealer.clone());
    Ok(sealer)
}

/// Whether it is by that id that a person is known beside her key, where it is kept if none was before.
pub(super) fn is_named(ledger: &mut Ledger, patient: PatientKey, person: ResId) -> Result<bool, Error> {
    let sealer = sealer(ledger, patient)?;
    if let Some(known) = sealer.person {
        return Ok(known == person);
    }
    ledger
        .connection
        .prepare_cached("UPDATE person_key SET person = ?2 WHERE number = ?1")?
        .post(params![sealer.number, sealer.sealed(&named_of(patient), &person.0)?.text])?;
    ledger.sealers.insert(patient, Sealer { person: Some(person), ..sealer });
    Ok(true)
}

impl Store {
    /// Destroys a person's key: whatever was kept of that person can be read no more, here or in any copy that comes without
    /// an older copy of the key. Whether there was one. Durable when it returns.
    ///
    /// The row is overwritten in the file (`secure_delete`), and the log, which still has it, is emptied. What waits for
    /// another attempt could never be sent and would stand in the way of others, so it goes with the key, as do the raw
    /// inputs that nobody can open.
    pub async fn shred(&self, patient: PatientKey) -> Result<bool, Error> {
        let shredded = self
            .writer
            .call(1, move |ledger| {
                ledger.sealers.remove(&patient);
                for sql in [
                    "DELETE FROM retry WHERE lane = ?1",
                    "DELETE FROM dead WHERE lane = ?1",
                    "DELETE FROM raw WHERE patient = ?1",
                ] {
                    ledger.connection.execute(sql, [patient.0])?;
                }
                Ok(ledger.connection.execute("DELETE FROM person_key WHERE patient = ?1", [patient.0])? > 0)
            })
            .await?;
        self.empty_log().await?;
        Ok(shredded)
    }
}
