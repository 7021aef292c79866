//! Uploads: a row and a file each.
//!
//! A file is a list of pieces as they came: the length of each in four bytes, and the piece sealed by the key of the person
//! whose data it is. The order is always bytes, sync, row. So a file may be longer than its row says, never shorter; what is beyond is cut
//! off before more is written. A file without a row is left over from a crash and removed when the store is opened.

use std::fs::{DirBuilder, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use super::keys::{damaged, piece_of, sealer};
use super::writer::Ledger;
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::seal::Key;
use crate::store::sql::{self, Connection, Optional, Row, params};
use crate::store::upload::{Progress, Quota, Upload, UploadId, UploadState};

const FOLDER: &str = "uploads";

/// Bytes that a piece's length takes.
const LENGTH: usize = 4;

/// A file that is being written, from where its row says.
pub struct UploadFile {
    id: UploadId,
    file: Arc<File>,
    key: Arc<Key>,
    acknowledged: u64,
    written: u64,
    /// Bytes of the file itself.
    stored: u64,
}

/// A file that is being read, as far as its row says.
pub struct UploadBytes {
    id: UploadId,
    file: Arc<File>,
    key: Arc<Key>,
    /// Bytes handed out.
    read: u64,
    /// Bytes of the file itself: where the next piece begins, and where the last one ends.
    at: u64,
    end: u64,
}

impl UploadFile {
    /// Bytes written so far, acknowledged or not.
    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Adds bytes; they count once they are acknowledged.
    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let (file, key, identity) = (self.file.clone(), self.key.clone(), piece_of(self.id, self.written));
        let length = bytes.len() as u64;
        let stored = blocking(move || {
            let sealed = key.seal(&identity, &bytes).map_err(std::io::Error::other)?;
            let length = u32::try_from(sealed.len()).map_err(std::io::Error::other)?;
            let piece = [&length.to_be_bytes(), sealed.as_slice()].concat();
            (&*file).write_all(&piece)?;
            Ok(piece.len() as u64)
        })
        .await?;
        self.written += length;
        self.stored += stored;
        Ok(())
    }
}

impl UploadBytes {
    /// The next bytes, about as many as are wished, and none at the end. Nothing where they are not what was written.
    pub async fn next(&mut self, wished: usize) -> Result<Option<Vec<u8>>, Error> {
        let (id, file, key) = (self.id, self.file.clone(), self.key.clone());
        let (mut read, mut at, end) = (self.read, self.at, self.end);
        let next = blocking(move || {
            let mut bytes = Vec::new();
            while at < end && bytes.len() < wished {
                let mut length = [0; LENGTH];
                file.read_exact_at(&mut length, at)?;
                let length = u64::from(u32::from_be_bytes(length));
                at += LENGTH as u64;
                if length > end.saturating_sub(at) {
                    return Ok(None);
                }
                let mut sealed = vec![0; length as usize];
                file.read_exact_at(&mut sealed, at)?;
                at += length;
                let Ok(piece) = key.open(&piece_of(id, read), sealed) else { return Ok(None) };
                read += piece.len() as u64;
                bytes.extend(piece);
            }
            Ok(Some((bytes, at)))
        })
        .await?;
        let Some((bytes, at)) = next else {
            tracing::error!(upload = name(id), "store: an upload is not what was written");
            return Ok(None);
        };
        self.read += bytes.len() as u64;
        self.at = at;
        Ok(Some(bytes))
    }
}

impl Store {
    /// False where the client has as much lying here as it may.
    pub async fn create_upload(&self, upload: Upload, quota: Quota) -> Result<bool, Error> {
        let path = self.upload_path(upload.id);
        blocking(move || make(&path)).await?;
        let (id, path) = (upload.id, self.upload_path(upload.id));
        let made = self.writer.call(1, move |ledger| insert(ledger, &upload, quota)).await;
        if !matches!(made, Ok(true)) {
            tracing::debug!(upload = ?id, "an upload was not taken");
            blocking(move || remove(&path)).await?;
        }
        made
    }

    pub async fn upload(&self, id: UploadId) -> Result<Option<Upload>, Error> {
        self.query(move |connection| find(connection, id)).await
    }

    /// Uploads that wait for being worked off, the oldest first.
    pub async fn uploads_waiting(&self) -> Result<Vec<UploadId>, Error> {
        let mut waiting: Vec<UploadId> = self
            .query(|connection| {
                connection
                    .prepare_cached("SELECT id FROM upload WHERE state = ?1 ORDER BY created, id LIMIT 100")?
                    .query_map([UploadState::Waiting as u8], |row| row.get(0))?
                    .collect()
            })
            .await?;
        if self.base.is_shared() {
            // The bytes of others lie with those who took them.
            let folder = self.directory.join(FOLDER);
            waiting = blocking(move || Ok(waiting.into_iter().filter(|id| folder.join(name(*id)).exists()).collect()))
                .await?;
        }
        Ok(waiting)
    }

    /// To go on writing where the row says that it ends. None where nobody can read any more what was written.
    pub async fn open_upload(&self, upload: &Upload) -> Result<Option<UploadFile>, Error> {
        let (id, received) = (upload.id, upload.received);
        let Some((key, stored)) = self.upload_key(id).await? else { return Ok(None) };
        let path = self.upload_path(id);
        let file = blocking(move || {
            let mut file = File::options().write(true).open(path)?;
            file.set_len(stored)?;
            file.seek(SeekFrom::Start(stored))?;
            Ok(Arc::new(file))
        })
        .await?;
        Ok(Some(UploadFile { id, file, key, acknowledged: received, written: received, stored }))
    }

    /// The key of an upload's file, unless it was shredded, and how long the file is.
    async fn upload_key(&self, id: UploadId) -> Result<Option<(Arc<Key>, u64)>, Error> {
        self.query(move |reader| {
            let found: Option<(i64, [u8; 16], Vec<u8>, i64)> = reader
                .prepare_cached(
                    "SELECT u.sealed_by, u.patient, p.wrapped, u.stored FROM upload u
                     JOIN person_key p ON p.number = u.sealed_by WHERE u.id = ?1",
                )?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
                .optional()?;
            let Some((number, patient, wrapped, stored)) = found else { return Ok(None) };
            let key = reader.keys.key(number, PatientKey(patient), &wrapped).map_err(damaged)?;
            Ok(Some((key, stored as u64)))
        })
        .await
    }

    /// Makes what was written count. Durable when it returns. False where the upload has been removed meanwhile.
    pub async fn acknowledge_upload(&self, file: &mut UploadFile) -> Result<bool, Error> {
        let (id, from, to, handle) = (file.id, file.acknowledged, file.written, file.file.clone());
        let stored = file.stored;
        if from == to {
            return Ok(true);
        }
        if let Err(fault) = blocking(move || handle.sync_data()).await {
            // Nobody knows any more what the file holds, and a second sync may lie.
            self.end_upload(id, UploadState::Failed, Some("storage-failed".to_owned())).await?;
            return Err(fault);
        }
        let acknowledged = self
            .writer
            .call(1, move |ledger| {
                Ok(ledger
                    .connection
                    .prepare_cached(
                        "UPDATE upload SET received = ?3, stored = ?6, state = CASE WHEN length = ?3 THEN ?4 ELSE state END
                         WHERE id = ?1 AND received = ?2 AND state = ?5",
                    )?
                    .execute(params![
                        id,
                        from as i64,
                        to as i64,
                        UploadState::Waiting as u8,
                        UploadState::Receiving as u8,
                        stored as i64
                    ])?
                    == 1)
            })
            .await?;
        if acknowledged {
            file.acknowledged = to;
        }
        Ok(acknowledged)
    }

    /// What was received, from the beginning. None where the file is gone, or nobody can read it any more.
    pub async fn read_upload(&self, id: UploadId) -> Result<Option<UploadBytes>, Error> {
        let Some((key, end)) = self.upload_key(id).await? else { return Ok(None) };
        let path = self.upload_path(id);
        let file = blocking(move || match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        })
        .await?;
        Ok(file.map(|file| UploadBytes { id, file: Arc::new(file), key, read: 0, at: 0, end }))
    }

    /// The work is over: what is known of it stays for a while, its bytes go.
    pub async fn end_upload(&self, id: UploadId, state: UploadState, failure: Option<String>) -> Result<(), Error> {
        self.writer
            .call(1, move |ledger| {
                ledger
                    .connection
                    .prepare_cached("UPDATE upload SET state = ?2, failure = ?3 WHERE id = ?1 AND state < ?4")?
                    .post(params![id, state as u8, failure, UploadState::Finished as u8])?;
                Ok(())
            })
            .await?;
        let path = self.upload_path(id);
        blocking(move || remove(&path)).await
    }

    /// Whether there was one.
    pub async fn remove_upload(&self, id: UploadId) -> Result<bool, Error> {
        let removed = self
            .writer
            .call(1, move |ledger| {
                Ok(ledger.connection.prepare_cached("DELETE FROM upload WHERE id = ?1")?.execute([id])? > 0)
            })
            .await?;
        let path = self.upload_path(id);
        blocking(move || remove(&path)).await?;
        Ok(removed)
    }

    /// Forgets uploads whose time is over; returns how many.
    pub async fn expire_uploads(&self, now_ms: i64) -> Result<usize, Error> {
        let expired: Vec<UploadId> = self
            .query(move |connection| {
                connection
                    .prepare_cached("SELECT id FROM upload WHERE until <= ?1 LIMIT 1000")?
                    .query_map([now_ms], |row| row.get(0))?
                    .collect()
            })
            .await?;
        for id in &expired {
            self.remove_upload(*id).await?;
        }
        Ok(expired.len())
    }

    fn upload_path(&self, id: UploadId) -> PathBuf {
        self.directory.join(FOLDER).join(name(id))
    }
}

fn name(id: UploadId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes what an earlier process left behind: files that no row knows, or that were worked off.
pub(super) fn sweep(connection: &Connection, directory: &Path) -> sql::Result<()> {
    let Ok(entries) = std::fs::read_dir(directory.join(FOLDER)) else { return Ok(()) };
    let known = under_way(connection)?;
    let known: std::collections::HashSet<String> = known.into_iter().map(name).collect();
    for entry in entries.flatten() {
        if !known.contains(entry.file_name().to_string_lossy().as_ref())
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(%error, "store: a file that was left behind could not be removed");
        }
    }
    Ok(())
}

/// Uploads that are not worked off.
pub(super) fn under_way(connection: &Connection) -> sql::Result<Vec<UploadId>> {
    connection
        .prepare_cached("SELECT id FROM upload WHERE state < ?1 ORDER BY id")?
        .query_map([UploadState::Finished as u8], |row| row.get(0))?
        .collect()
}

/// The files of uploads under way, and how much of each counts.
pub(super) fn stored(connection: &Connection) -> sql::Result<Vec<(String, u64)>> {
    connection
        .prepare_cached("SELECT id, stored FROM upload WHERE state < ?1 ORDER BY id")?
        .query_map([UploadState::Finished as u8], |row| Ok((name(row.get(0)?), row.get::<i64>(1)? as u64)))?
        .collect()
}

/// How many uploads are under way, and of how many the bytes are not in the directory.
pub(super) fn census(connection: &Connection, directory: &Path) -> sql::Result<(i64, i64)> {
    let known = under_way(connection)?;
    let absent = known.iter().filter(|id| !directory.join(FOLDER).join(name(**id)).exists()).count();
    Ok((known.len() as i64, absent as i64))
}

/// Whether the work stands where a step begins.
pub(super) fn stands(connection: &Connection, progress: Progress) -> sql::Result<bool> {
    let done: Option<i64> = connection
        .prepare_cached("SELECT done FROM upload WHERE id = ?1 AND state = ?2")?
        .query_row(params![progress.upload, UploadState::Waiting as u8], |row| row.get(0))
        .optional()?;
    Ok(done == Some(progress.from as i64))
}

/// Takes a step, and counts what became of its records.
pub(super) fn advance(connection: &Connection, progress: Progress, words: [u64; 4]) -> sql::Result<()> {
    let [one, two, three, four] = words.map(|count| count as i64);
    connection
        .prepare_cached(
            "UPDATE upload SET done = ?2, accepted = accepted + ?3, flagged = flagged + ?4, duplicate = duplicate + ?5,
             refused = refused + ?6 WHERE id = ?1",
        )?
        .execute(params![progress.upload, progress.to as i64, one, two, three, four])
        .map(drop)
}

fn insert(ledger: &mut Ledger, upload: &Upload, quota: Quota) -> Result<bool, Error> {
    let (files, bytes): (i64, i64) = ledger
        .connection
        .prepare_cached(
            "SELECT COUNT(*), CAST(COALESCE(SUM(length), 0) AS BIGINT) FROM upload WHERE client = ?1 AND state < ?2",
        )?
        .query_row(params![upload.client, UploadState::Finished as u8], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if files as u64 >= quota.files || (bytes as u64).saturating_add(upload.length) > quota.bytes {
        return Ok(false);
    }
    let sealed_by = sealer(ledger, upload.patient)?.number();
    ledger
        .connection
        .prepare_cached(
            "INSERT INTO upload (id, client, patient, about, length, state, created, until, sealed_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .post(params![
            upload.id,
            upload.client,
            upload.patient.0,
            upload.about,
            upload.length as i64,
            upload.state as u8,
            upload.created_ms,
            upload.until_ms,
            sealed_by
        ])?;
    Ok(true)
}

fn find(connection: &Connection, id: UploadId) -> sql::Result<Option<Upload>> {
    connection
        .prepare_cached(
            "SELECT id, client, patient, about, length, received, done, accepted, flagged, duplicate, refused, state,
             failure, created, until FROM upload WHERE id = ?1",
        )?
        .query_row([id], upload)
        .optional()
}

fn upload(row: &Row<'_>) -> sql::Result<Upload> {
    let number = |index: usize| row.get::<i64>(index).map(|number| number as u64);
    let state: u8 = row.get(11)?;
    Ok(Upload {
        id: row.get(0)?,
        client: row.get(1)?,
        patient: PatientKey(row.get(2)?),
        about: row.get(3)?,
        length: number(4)?,
        received: number(5)?,
        done: number(6)?,
        words: [number(7)?, number(8)?, number(9)?, number(10)?],
        state: UploadState::ALL.get(usize::from(state)).copied().unwrap_or(UploadState::Failed),
        failure: row.get(12)?,
        created_ms: row.get(13)?,
        until_ms: row.get(14)?,
    })
}

/// The file is there, and in its folder, before a row says so.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        File::options().write(true).create_new(true).mode(0o600).open(path)?.sync_all()?;
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::StorageFull => Err(Error::Full),
        Ok(Err(error)) => Err(Error::File(Arc::new(error))),
        // The panic itself was reported by the panic hook.
        Err(_) => Err(Error::Closed),
    }
}
