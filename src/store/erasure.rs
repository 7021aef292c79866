//! What is remembered of a person who was erased: that she was, and what became of it.
//!
//! A tombstone names its person by the pseudonym alone. From the transaction in which it is written nothing of the person is
//! found any more, whatever still lies there; taking that away goes on in small steps, which may be repeated.

use std::sync::Arc;

use super::id::{PatientKey, ResId};

/// A tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erasure {
    pub patient: PatientKey,
    /// The client that the person used.
    pub owner: Arc<str>,
    pub at_ms: i64,
    /// The record of the audit that tells of it; it names no person and stays as it is.
    pub record: ResId,
    /// What was said of it; the caller's to write.
    pub receipt: Vec<u8>,
    /// Whether everything was taken away.
    pub finished: bool,
}

/// What a destination may still hold of an erased person, by its name there, until the destination was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remnant {
    pub destination: Arc<str>,
    pub patient: PatientKey,
    pub kind: String,
    pub name: String,
}

/// One that is to be told now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Untold {
    pub id: i64,
    pub attempts: u32,
    pub remnant: Remnant,
}

/// What of a destination's remnants is still to be told, and what was given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remaining {
    pub destination: Arc<str>,
    pub waiting: u64,
    pub given_up: u64,
}
