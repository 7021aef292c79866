//! Large files that arrive over many requests and are worked off afterwards.
//!
//! The bytes lie in a file of their own, what is known of them in a row: a byte counts as received once it was synced and
//! the row says so, whatever the file holds beyond that. How far the work has come is moved by the very transactions that
//! do it (`Progress`), so that a restart repeats nothing. What is in the file is not known here.

use std::sync::Arc;

use super::id::PatientKey;

pub type UploadId = [u8; 16];

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadState {
    Receiving,
    /// All is received, not all is worked off.
    Waiting,
    Finished,
    /// It could not be worked off to its end.
    Failed,
}

impl UploadState {
    pub(super) const ALL: [UploadState; 4] =
        [UploadState::Receiving, UploadState::Waiting, UploadState::Finished, UploadState::Failed];
}

/// What is known of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    pub id: UploadId,
    pub client: Arc<str>,
    /// Whose data it is.
    pub patient: PatientKey,
    /// What its owner says of it, for whoever works it off.
    pub about: Vec<u8>,
    pub length: u64,
    pub received: u64,
    /// Records that were worked off.
    pub done: u64,
    /// What became of them, counted in the four words of their receipts.
    pub words: [u64; 4],
    pub state: UploadState,
    /// Why it failed, as an issue's code.
    pub failure: Option<String>,
    pub created_ms: i64,
    /// When it is forgotten.
    pub until_ms: i64,
}

/// A step of the work, taken in the transaction that does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub upload: UploadId,
    /// Records that must have been worked off before it.
    pub from: u64,
    pub to: u64,
}

/// What one client may have lying here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    pub files: u64,
    pub bytes: u64,
}
