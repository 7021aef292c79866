//! What is delivered: a feed that every destination follows at its own pace.
//!
//! The feed holds one row a unit and patient, in 16 slots by patient; a destination is 16 cursors into it. A worker
//! leases slots; the lease's epoch fences a worker that was away too long. What could not be sent leaves the feed for
//! the retry rows of that destination, so that one patient's trouble does not stall a slot, and every later item of
//! that patient is parked behind it, so that order is kept. What is given up is a dead letter until redriven.
//!
//! What goes before its turn leaves the feed the same way: it becomes a retry row that is the head of its patient's lane, and
//! the feed remembers that its row is done.
//!
//! Before a worker sends it foretells, in audit records, what becomes true if it does not live to settle the matter.
//!
//! The store knows no schedule: when to try again, and when to give up, is said by the caller.

use std::sync::Arc;

use super::id::{PatientKey, ResId};
use super::plan::Stored;

/// The right to advance one destination's cursor in one slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    pub destination: Arc<str>,
    pub slot: u16,
    pub worker: Arc<str>,
    /// Grows at each hand-over; whoever holds an older one has lost the lease.
    pub epoch: u64,
    pub until_ms: i64,
}

/// One row of the feed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FeedItem {
    pub pos: u64,
    pub patient: Option<PatientKey>,
    /// The versions as they were when the row was written.
    pub items: Vec<Stored>,
    /// Those that cannot be read, because what is kept of them is damaged: sequence number and version.
    pub damaged: Vec<(u64, u32)>,
    /// Something earlier of this patient waits for a retry: this must wait behind it.
    pub parked: bool,
    /// It was taken before its turn, so that nothing is left to do of it.
    pub ahead: bool,
}

/// Under which name the feed is followed for all subscriptions, as for one destination.
pub const SUBSCRIBERS: &str = "subscriptions";

/// Why something is given up that can never be sent.
pub const DAMAGED: &str = "what is kept of it is damaged and cannot be read";

/// An item that leaves the feed undelivered, or before its turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub pos: u64,
    pub patient: Option<PatientKey>,
    pub seq: u64,
    pub version: u32,
    pub attempts: u32,
    pub not_before_ms: i64,
    pub reason: String,
    /// Given up at once: a dead letter, not a retry.
    pub dead: bool,
    /// It goes before whatever of its patient does not.
    pub first: bool,
}

/// Whether the lease was still held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fenced {
    Held,
    /// Somebody else goes on from the cursor; nothing of the call is stored.
    Lost,
}

/// An item due for another attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    pub id: i64,
    pub attempts: u32,
    pub not_before_ms: i64,
    pub reason: String,
    /// It goes before whatever of its patient does not.
    pub first: bool,
    pub stored: Stored,
}

/// A piece of delivery work: what is foretold of it is forgotten when it is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// A batch of this slot of the feed.
    Slot(u16),
    /// The `Retry` with this id.
    Retry(i64),
}

/// What became of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settlement {
    /// Of the `Retry`.
    pub id: i64,
    pub outcome: SettlementOutcome,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SettlementOutcome {
    /// Delivered, or no longer to be delivered.
    Done,
    Again {
        not_before_ms: i64,
        attempts: u32,
        reason: String,
    },
    Dead {
        reason: String,
    },
}

/// An item that was given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    pub id: i64,
    pub destination: Arc<str>,
    pub kind: Arc<str>,
    pub resource: ResId,
    pub version: u32,
    pub patient: Option<PatientKey>,
    pub attempts: u32,
    pub reason: String,
}

/// By what names a destination knows what it was sent, where it gives names of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownAs {
    pub destination: Arc<str>,
    pub patient: PatientKey,
    /// Type and id here.
    pub kind: String,
    pub id: String,
    /// The version that it was sent last.
    pub version: u32,
    /// `Type/id` there, of everything that it became.
    pub names: Vec<String>,
}

/// How far a destination lags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backlog {
    /// Feed rows after the cursors.
    pub behind: u64,
    pub retries: u64,
    pub dead: u64,
}
