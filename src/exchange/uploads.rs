//! Large files of records: taken in over many requests, worked off piece by piece afterwards.
//!
//! A piece of work and the step that it takes are one transaction, so that a restart repeats nothing and leaves nothing
//! out. Who sent the file is asked at each piece whether it still may: a client that is suspended or loses a scope
//! meanwhile has its upload ended. The bytes are the store's; how they travel is not known here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::push::{Addressed, Repeats};
use super::receipts::{DAY_MS, Word};
use super::sending::Sending;
use super::{Caller, Gateway, Refusal, is_id};
use crate::devices::Format;
use crate::devices::lines::{self, Line, Lines};
use crate::devices::unpack::{Coding, PACKED_PIECE, Unpack};
use crate::fhir::outcome::Id;
use crate::fhir::tree::time;
use crate::policy::access::Interaction;
pub use crate::store::Upload;
use crate::store::{Progress, Quota, UploadFile, UploadId, UploadState};

/// Bytes that are read from a file at once.
const READ_BYTES: usize = 256 << 10;

/// How many times its length a file may unpack to, and what any may: a small file could keep the work busy for days.
const GROWTH: u64 = 100;
const PLAIN_BYTES: u64 = 16 << 20;

/// How long until what could not be worked off is tried again, and until files are looked for that nobody waits for.
const AGAIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_mins(1);

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Announced<'a> {
    pub format: &'a Format,
    pub patient: &'a str,
    pub zone: Option<&'a str>,
    pub length: u64,
    pub coding: Coding,
}

impl Gateway {
    /// Makes room for a file.
    pub async fn create_upload(&self, caller: &Caller<'_>, announced: &Announced<'_>) -> Result<Upload, Refusal> {
        may_upload(caller)?;
        let patient = announced.patient.strip_prefix("Patient/").unwrap_or(announced.patient);
        if !is_id(patient) {
            return Err(Refusal::one(Id::PatientMissing, "", "The address does not name the person as patient=id."));
        }
        let most = self.config.upload_bytes;
        if announced.length > most {
            return Err(Refusal::one(Id::BodyTooLarge, "", format!("An upload may have at most {most} bytes.")));
        }
        if announced.length == 0 {
            return Err(Refusal::one(Id::BodyMissing, "", "An upload has at least one byte."));
        }
        let now_ms = self.now_ms();
        let mut id: UploadId = [0; 16];
        (self.entropy)(&mut id);
        let mut about = Sending::remembered(caller, announced.format, patient, announced.zone);
        about["gzip"] = (announced.coding == Coding::Gzip).into();
        let upload = Upload {
            id,
            client: caller.principal.client.clone(),
            patient: self.patient_key(patient),
            about: about.to_string().into_bytes(),
            length: announced.length,
            received: 0,
            done: 0,
            words: [0; 4],
            state: UploadState::Receiving,
            failure: None,
            created_ms: now_ms,
            until_ms: now_ms.saturating_add(i64::from(self.config.upload_hours) * 3_600_000),
        };
        let quota = Quota { files: u64::from(self.config.upload_files), bytes: most };
        if !self.store.create_upload(upload.clone(), quota).await? {
            let text = "The client has as many uploads lying here, or as many bytes of them, as it may.";
            let refusal = Refusal::one(Id::UploadQuota, "", text);
            return Err(Refusal { retry_after_seconds: Some(60), ..refusal });
        }
        Ok(upload)
    }

    /// A client's own upload; what is another's is absent.
    pub async fn upload(&self, caller: &Caller<'_>, id: &str) -> Result<Upload, Refusal> {
        may_upload(caller)?;
        let found = match parsed(id) {
            Some(id) => self.store.upload(id).await?,
            None => None,
        };
        found
            .filter(|upload| upload.client == caller.principal.client && upload.until_ms > self.now_ms())
            .ok_or_else(absent)
    }

    /// Goes on with a file at an offset. One request at a time: others would write over each other.
    pub async fn continue_upload(
        &self,
        caller: &Caller<'_>,
        id: &str,
        offset: u64,
    ) -> Result<(Appending<'_>, Upload), Refusal> {
        let refuse = |text: &str| Refusal::one(Id::UploadOffset, "", text);
        let upload = self.upload(caller, id).await?;
        let Some(hold) = Hold::take(self, upload.id) else {
            return Err(refuse("Another request is writing this upload."));
        };
        // Only who holds it sees what is really there.
        let upload = self.upload(caller, id).await?;
        if upload.state != UploadState::Receiving || offset != upload.received {
            return Err(refuse("The upload does not stand at this offset."));
        }
        let file = self.store.open_upload(&upload).await?.ok_or_else(absent)?;
        Ok((Appending { gateway: self, file, length: upload.length, _hold: hold }, upload))
    }

    pub async fn remove_upload(&self, caller: &Caller<'_>, id: &str) -> Result<(), Refusal> {
        let upload = self.upload(caller, id).await?;
        self.store.remove_upload(upload.id).await?;
        Ok(())
    }

    /// What is told of an upload.
    pub fn status(&self, upload: &Upload) -> Value {
        let state = match upload.state {
            UploadState::Receiving => "receiving",
            UploadState::Waiting => "working",
            UploadState::Finished => "finished",
            UploadState::Failed => "failed",
        };
        let mut counts = json!({});
        for word in Word::ALL {
            counts[word.code()] = upload.words[word as usize].into();
        }
        let since = time::instant(upload.created_ms);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("since", &since).finish();
        let mut value = json!({
            "id": printed(upload.id),
            "state": state,
            "length": upload.length,
            "received": upload.received,
            "records": upload.done,
            "counts": counts,
            "created": since,
            "expires": time::instant(upload.until_ms),
            "receipts": format!("{}/receipts?{query}", self.base.trim_end_matches("/fhir")),
        });
        if let Some(failure) = &upload.failure {
            value["failure"] = failure.as_str().into();
        }
        value
    }

    /// Works off what waits. The error is that some of it must be tried again.
    async fn work_off(&self, stop: &watch::Receiver<bool>) -> Result<(), Refusal> {
        loop {
            let waiting = self.store.uploads_waiting().await?;
            if waiting.is_empty() || *stop.borrow() {
                return Ok(());
            }
            let mut again = None;
            for id in waiting {
                let Some(upload) = self.store.upload(id).await? else { continue };
                match self.work_off_one(&upload, stop).await {
                    Ok(true) => self.store.end_upload(id, UploadState::Finished, None).await?,
                    Ok(false) => return Ok(()),
                    Err(refusal) if refusal.retry_after_seconds.is_some() => again = Some(refusal),
                    Err(refusal) => {
                        let code = refusal.issues.first().map(|issue| issue.id.code());
                        tracing::info!(upload = printed(id), issues = code, "an upload could not be worked off");
                        self.store.end_upload(id, UploadState::Failed, code.map(str::to_owned)).await?;
                    }
                }
            }
            if let Some(refusal) = again {
                return Err(refusal);
            }
        }
    }

    /// Whether it came to the end; a stop leaves it where it is.
    async fn work_off_one(&self, upload: &Upload, stop: &watch::Receiver<bool>) -> Result<bool, Refusal> {
        let (mut about, coding) = self.about(upload)?;
        about.principal.guide = self.stands(&about.principal).await?;
        let request = printed(upload.id);
        let caller = Caller {
            principal: &about.principal,
            request_id: &request,
            purpose: &about.purpose,
            address: None,
            looked_at: None,
        };
        let lost = || Refusal::one(Id::StorageFailed, "", "The file is no longer there, or is not what was sent.");
        let mut file = self.store.read_upload(upload.id).await?.ok_or_else(lost)?;
        let mut unpack = Unpack::new(coding);
        let (mut read, mut waiting) = (Lines::new(lines::LONGEST), VecDeque::new());
        let (mut grown, most) = (0, PLAIN_BYTES.max(upload.length.saturating_mul(GROWTH)));
        // What was worked off before a restart is read again and passed over.
        let (mut seen, mut done) = (0, upload.done);
        let broken = |_| Refusal::one(Id::BodyEncoding, "", "The file is not packed as was said.");
        loop {
            let bytes = file.next(READ_BYTES).await?.ok_or_else(lost)?;
            let ended = bytes.is_empty();
            for piece in bytes.chunks(PACKED_PIECE) {
                let plain = unpack.push(piece).map_err(broken)?;
                grown += plain.len() as u64;
                if grown > most {
                    let text = format!("An upload may unpack to {GROWTH} times its length and no more.");
                    return Err(Refusal::one(Id::BodyTooLarge, "", text));
                }
                read.push(&plain, &mut waiting);
                while let Some(lines) = lines::cut(&mut waiting, false) {
                    self.work_piece(&caller, &about, upload.id, lines, &mut seen, &mut done).await?;
                    if *stop.borrow() {
                        return Ok(false);
                    }
                }
            }
            if ended {
                std::mem::replace(&mut unpack, Unpack::new(Coding::Plain)).finish().map_err(broken)?;
                std::mem::replace(&mut read, Lines::new(0)).finish(&mut waiting);
                while let Some(lines) = lines::cut(&mut waiting, true) {
                    self.work_piece(&caller, &about, upload.id, lines, &mut seen, &mut done).await?;
                }
                return Ok(true);
            }
        }
    }

    async fn work_piece(
        &self,
        caller: &Caller<'_>,
        about: &Sending,
        upload: UploadId,
        mut lines: Vec<Line>,
        seen: &mut u64,
        done: &mut u64,
    ) -> Result<(), Refusal> {
        let count = lines.len() as u64;
        let passed = done.saturating_sub(*seen).min(count);
        *seen += count;
        lines.drain(..passed as usize);
        if lines.is_empty() {
            return Ok(());
        }
        self.stands(caller.principal).await?;
        let progress = Progress { upload, from: *done, to: *done + lines.len() as u64 };
        let repeats = Repeats { idempotency: None, progress: Some(progress) };
        let addressed = Addressed { patient: &about.patient, zone: about.zone.clone() };
        self.push_lines(caller, &about.format, &lines, addressed, repeats).await?;
        *done = progress.to;
        Ok(())
    }
}

impl Gateway {
    /// Forgets uploads and raw inputs whose time is over, some at a time.
    async fn forget(&self) -> Result<(), crate::store::Error> {
        let now_ms = self.now_ms();
        self.store.expire_uploads(now_ms).await?;
        self.store.expire_raw(now_ms - i64::from(self.config.raw_days) * DAY_MS).await?;
        Ok(())
    }
}

/// Works off uploads as they are complete, and forgets those whose time is over, until told to stop.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let worked = gateway.work_off(&stop).await;
        let forgotten = gateway.forget().await;
        if let Err(error) = &forgotten {
            tracing::warn!(error = error as &dyn std::error::Error, "uploads or raw inputs could not be forgotten");
        }
        // What failed was logged where the store refused.
        let wait = if worked.is_ok() && forgotten.is_ok() { LOOK } else { AGAIN };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = gateway.uploads.complete.notified() => {}
            _ = stop.changed() => {}
        }
    }
}

/// What uploads need to know of each other.
#[derive(Default)]
pub struct Uploads {
    /// Uploads that a request is writing.
    held: std::sync::Mutex<std::collections::HashSet<UploadId>>,
    complete: tokio::sync::Notify,
}

/// The right to write an upload, until it is dropped.
struct Hold<'g> {
    gateway: &'g Gateway,
    id: UploadId,
}

impl<'g> Hold<'g> {
    fn take(gateway: &'g Gateway, id: UploadId) -> Option<Self> {
        let mut held = gateway.uploads.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Made only where it was won: what is dropped here would wait for the lock that is held.
        held.insert(id).then(|| Hold { gateway, id })
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.gateway.uploads.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.id);
    }
}

/// Bytes between two syncs.
const SYNC_BYTES: u64 = 8 << 20;

/// A file that a request writes.
pub struct Appending<'g> {
    gateway: &'g Gateway,
    file: UploadFile,
    length: u64,
    _hold: Hold<'g>,
}

impl Appending<'_> {
    /// The next bytes. Now and then they are made to last, so that a break costs little.
    pub async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Refusal> {
        if self.file.written() + bytes.len() as u64 > self.length {
            let text = "The bytes go beyond the length that was announced.";
            return Err(Refusal::one(Id::BodyTooLarge, "", text));
        }
        self.file.write(bytes).await?;
        if self.file.written() - self.file.acknowledged() >= SYNC_BYTES {
            self.acknowledge().await?;
        }
        Ok(())
    }

    /// Makes what was written last; the offset where the next request goes on.
    pub async fn acknowledge(&mut self) -> Result<u64, Refusal> {
        if !self.gateway.store.acknowledge_upload(&mut self.file).await? {
            return Err(Refusal::one(Id::NotFound, "", "There is no such upload of this client."));
        }
        let offset = self.file.acknowledged();
        if offset == self.length {
            self.gateway.uploads.complete.notify_one();
        }
        Ok(offset)
    }
}

impl Gateway {
    /// What its owner said of a file, and how it is packed.
    fn about(&self, upload: &Upload) -> Result<(Sending, Coding), Refusal> {
        let unreadable = |_| Refusal::one(Id::Internal, "", "What was said of the upload cannot be read.");
        let about: Value = serde_json::from_slice(&upload.about).map_err(unreadable)?;
        let coding = if about["gzip"] == true { Coding::Gzip } else { Coding::Plain };
        Ok((Sending::restored(self, &upload.client, &about)?, coding))
    }
}

fn absent() -> Refusal {
    Refusal::one(Id::NotFound, "", "There is no such upload of this client.")
}

fn may_upload(caller: &Caller<'_>) -> Result<(), Refusal> {
    caller.principal.permits("Observation", Interaction::Create).map(drop).map_err(|denied| denied.issue().into())
}

/// An upload's id as its address names it.
pub fn printed(id: UploadId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn parsed(text: &str) -> Option<UploadId> {
    let is_printed = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_printed.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_printed_and_read() {
        let id = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 254, 255];
        assert_eq!(parsed(&printed(id)), Some(id));
        for text in ["", "00", "+0000000000000000000000000000001", &"0".repeat(33), &"F".repeat(32)] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
