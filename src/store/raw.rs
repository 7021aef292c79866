//! What was sent before it was mapped, kept for a while so that a mended mapping can read it again.
//!
//! A raw input is sealed by the key of the person whose it is. It is written in the transaction of the push that it came
//! with, and what became of it later is noted in the transaction that does it (`Reread`), so that a run that breaks off
//! has done each input wholly or not at all. What the body says and what a version means is not known here.

use std::sync::Arc;

use super::id::PatientKey;

/// One input, still to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct RawInput {
    pub at_ms: i64,
    pub patient: PatientKey,
    pub format: Arc<str>,
    /// Of the mapping that read it.
    pub version: Arc<str>,
    /// Of the body: what a client has sent before is kept once.
    pub digest: [u8; 16],
    /// What came of it, as its reader notes it.
    pub made: Vec<u8>,
    /// Packed by the caller, since the writer's time is everybody's.
    pub body: Arc<[u8]>,
    /// Inputs from before are forgotten.
    pub forget_before_ms: i64,
}

/// What is known of an input without opening it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawHead {
    pub number: u64,
    pub at_ms: i64,
    pub client: Arc<str>,
    pub patient: PatientKey,
    pub format: String,
    pub version: String,
}

/// One input, opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw {
    pub head: RawHead,
    pub made: Vec<u8>,
    pub body: Vec<u8>,
}

/// An input that a unit read again: it must still be of the version `from`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rereading {
    pub number: u64,
    pub from: String,
}

/// What is noted of an input that was read again.
#[derive(Clone, PartialEq, Eq)]
pub struct Reread {
    pub number: u64,
    /// That it is of from now on.
    pub version: Arc<str>,
    pub made: Vec<u8>,
}

/// What a unit does with raw inputs.
#[derive(Clone, PartialEq, Eq)]
pub enum RawStep {
    Keep(RawInput),
    Note(Reread),
}
