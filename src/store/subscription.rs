//! What clients want to be told: subscriptions, and the events that each of them has.
//!
//! One follower of the feed files events for all subscriptions; an event gets its number when it is decided that it may be
//! told, so that numbers have no gaps, and what may not be told leaves none. A number stays: what of it may no longer be
//! said is said no more. What a subscription means, and when it is its turn, is said by the caller.

use std::sync::Arc;

use super::id::PatientKey;
use super::plan::Stored;
use super::unit::AuditRecord;

/// A subscription as it stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: Arc<str>,
    pub client: Arc<str>,
    pub version: u32,
    pub updated_ms: i64,
    pub status: String,
    /// Why it is in trouble.
    pub error: Option<String>,
    pub body: Vec<u8>,
    /// By which right the client asked for it, in the caller's words.
    pub granted: Vec<u8>,
    /// What nobody may read back; sealed at rest.
    pub secret: Vec<u8>,
    /// Position in each slot of the feed behind which its events lie; none while it has none.
    pub starts: Option<Vec<u64>>,
    /// Events that have a number.
    pub events: u64,
    /// Of these, up to which the client has taken them.
    pub taken: u64,
    pub failures: u32,
    pub not_before_ms: i64,
    pub told_ms: i64,
    /// Whether we call the client.
    pub sends: bool,
    /// Grows with each turn; whoever has an older one has lost the turn.
    pub epoch: u64,
}

/// Prints nothing of what was asked for, which may name a person.
impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Subscription").field(&self.id).finish()
    }
}

/// What a client asks for.
pub struct Asked {
    pub id: Arc<str>,
    pub client: Arc<str>,
    /// The version that it follows; 0 for a new one.
    pub follows: u32,
    pub now_ms: i64,
    pub status: String,
    pub body: Vec<u8>,
    pub granted: Vec<u8>,
    pub secret: Vec<u8>,
    pub sends: bool,
    /// Whether its events begin, go on or end with this.
    pub course: Course,
    pub record: AuditRecord,
}

/// What becomes of a subscription's events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Whatever is written from now on has events; where there are some, they go on.
    Begins,
    GoesOn,
    /// Nothing has any more, and what has no number yet gets none.
    Ends,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placed {
    Done,
    /// Another version stands.
    Moved,
    /// The client has as many as it may have.
    Full,
}

/// Something that a subscription is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happened {
    pub subscription: Arc<str>,
    pub patient: Option<PatientKey>,
    pub seq: u64,
    pub version: u32,
    pub at_ms: i64,
}

/// An event that has no number yet. What it is about may be gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    pub id: i64,
    pub at_ms: i64,
    pub stored: Option<Stored>,
}

/// What is decided about one that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Told,
    Withheld,
    /// It is looked at again then, and with it what is behind it of the same person.
    Held {
        until_ms: i64,
    },
}

/// An event that has a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbered {
    pub number: u64,
    pub at_ms: i64,
    pub stored: Option<Stored>,
}

/// How a turn ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TurnEnd {
    pub status: String,
    pub error: Option<String>,
    pub failures: u32,
    pub not_before_ms: i64,
    pub told_ms: i64,
    /// When there is something to do though nothing happens.
    pub wake_ms: i64,
    pub taken: u64,
    pub course: Course,
    pub now_ms: i64,
}
