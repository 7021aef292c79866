//! Uploads: a row and a file each.
//!
//! The order is always bytes, sync, row. So a file may be longer than its row says, never shorter; what is beyond is cut
//! off before more is written. A file without a row is left over from a crash and removed when the store is opened.

use std::fs::{DirBuilder, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Database;
use crate::store::fault::Error;
use crate::store::id::PatientKey;
use crate::store::sql::{self, Connection, Optional, Row, params};
use crate::store::upload::{Progress, Quota, Upload, UploadId, UploadState};

const FOLDER: &str = "uploads";

/// A file that is being written, from where its row says.
pub struct UploadFile {
    id: UploadId,
    file: Arc<File>,
    acknowledged: u64,
    written: u64,
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
        let (file, length) = (self.file.clone(), bytes.len() as u64);
        blocking(move || (&*file).write_all(&bytes)).await?;
        self.written += length;
        Ok(())
    }
}

impl Database {
    /// False where the client has as much lying here as it may.
    pub async fn create_upload(&self, upload: Upload, quota: Quota) -> Result<bool, Error> {
        let path = self.upload_path(upload.id);
        blocking(move || make(&path)).await?;
        let (id, path) = (upload.id, self.upload_path(upload.id));
        let made = self.writer.call(1, move |ledger| Ok(insert(&ledger.connection, &upload, quota)?)).await;
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
        self.query(|connection| {
            connection
                .prepare_cached("SELECT id FROM upload WHERE state = ?1 ORDER BY created, id LIMIT 100")?
                .query_map([UploadState::Waiting as u8], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// To go on writing where the row says that it ends.
    pub async fn open_upload(&self, upload: &Upload) -> Result<UploadFile, Error> {
        let (path, received) = (self.upload_path(upload.id), upload.received);
        let file = blocking(move || {
            let mut file = File::options().write(true).open(path)?;
            file.set_len(received)?;
            file.seek(SeekFrom::Start(received))?;
            Ok(Arc::new(file))
        })
        .await?;
        Ok(UploadFile { id: upload.id, file, acknowledged: received, written: received })
    }

    /// Makes what was written count. Durable when it returns. False where the upload has been removed meanwhile.
    pub async fn acknowledge_upload(&self, file: &mut UploadFile) -> Result<bool, Error> {
        let (id, from, to, handle) = (file.id, file.acknowledged, file.written, file.file.clone());
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
                        "UPDATE upload SET received = ?3, state = CASE WHEN length = ?3 THEN ?4 ELSE state END
                         WHERE id = ?1 AND received = ?2 AND state = ?5",
                    )?
                    .execute(params![
                        id,
                        from as i64,
                        to as i64,
                        UploadState::Waiting as u8,
                        UploadState::Receiving as u8
                    ])?
                    == 1)
            })
            .await?;
        if acknowledged {
            file.acknowledged = to;
        }
        Ok(acknowledged)
    }

    pub async fn read_upload(&self, id: UploadId, from: u64, most: usize) -> Result<Option<Vec<u8>>, Error> {
        let path = self.upload_path(id);
        blocking(move || {
            let mut file = match File::open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::with_capacity(most);
            file.take(most as u64).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        })
        .await
    }

    /// The row stays for whoever asks what became of it; the file goes.
    pub async fn end_upload(&self, id: UploadId, state: UploadState, failure: Option<String>) -> Result<(), Error> {
        self.writer
            .call(1, move |ledger| {
                ledger
                    .connection
                    .prepare_cached("UPDATE upload SET state = ?2, failure = ?3 WHERE id = ?1 AND state < ?4")?
                    .execute(params![id, state as u8, failure, UploadState::Finished as u8])?;
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

    /// Forgets what nobody will ask for any more; returns how many.
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
    let mut known = connection.prepare_cached("SELECT id FROM upload WHERE state < ?1")?;
    let known: Vec<UploadId> =
        known.query_map([UploadState::Finished as u8], |row| row.get(0))?.collect::<Result<_, _>>()?;
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

fn insert(connection: &Connection, upload: &Upload, quota: Quota) -> sql::Result<bool> {
    let (files, bytes): (i64, i64) = connection
        .prepare_cached("SELECT COUNT(*), COALESCE(SUM(length), 0) FROM upload WHERE client = ?1 AND state < ?2")?
        .query_row(params![upload.client, UploadState::Finished as u8], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if files as u64 >= quota.files || (bytes as u64).saturating_add(upload.length) > quota.bytes {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "INSERT INTO upload (id, client, patient, about, length, state, created, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            upload.id,
            upload.client,
            upload.patient.0,
            upload.about,
            upload.length as i64,
            upload.state as u8,
            upload.created_ms,
            upload.until_ms
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
