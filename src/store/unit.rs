//! What is written: a unit is one request, and one durable transaction.
//!
//! Resources, their index values, the feed row that delivers them, the audit record and the idempotency key stand or
//! fall together. The caller brings everything rendered: the store neither reads a payload nor makes an audit event;
//! the `finish` closure turns what happened to each write into both, inside the transaction.

use std::sync::Arc;

use super::id::{PatientKey, ResId};
use super::plan::{Dated, Stored};
use super::raw::{RawStep, Rereading};
use super::receipt::Filing;
use super::span::Span;
use super::upload::Progress;

/// One request's writes.
pub struct Unit {
    /// Who asks; scopes the idempotency key.
    pub client: Arc<str>,
    pub idempotency: Option<IdempotencyKey>,
    pub preconditions: Vec<Precondition>,
    /// The step of an upload's work that it is.
    pub progress: Option<Progress>,
    /// The raw input that it reads again.
    pub rereading: Option<Rereading>,
    /// What would become of each write is found out, and nothing is kept.
    pub rehearsal: bool,
    pub writes: Vec<Write>,
    /// True: one conflict rolls all writes back. False: conflicting writes are skipped and reported.
    pub atomic: bool,
    pub now_ms: i64,
    pub finish: Finish,
}

/// Runs in the writer between the writes and the commit, so it must be cheap. After the rollback of an atomic unit it
/// runs too, and what it returns is then all that is stored.
pub type Finish = Box<dyn FnOnce(&[WriteOutcome]) -> Finished + Send>;

/// What `finish` adds to the transaction.
#[derive(Clone, Default)]
pub struct Finished {
    pub audit: Vec<AuditRecord>,
    /// Stored under the idempotency key, if there is one, and replayed to whoever sends the key again.
    pub response: Option<Vec<u8>>,
    pub filing: Filing,
    /// What is written of what happened; each must be new.
    pub writes: Vec<Write>,
    /// What became of the records of an upload's step, counted in four words.
    pub words: [u64; 4],
    /// What came in, or what is noted of it.
    pub raw: Option<RawStep>,
    /// What waits for another attempt and is no longer to be delivered.
    pub cancelled: Vec<Cancelled>,
}

/// A delivery that leaves the queue, and the record of it; nothing happens where it has left already.
#[derive(Clone, PartialEq, Eq)]
pub struct Cancelled {
    pub destination: Arc<str>,
    /// Of the `Retry`.
    pub id: i64,
    pub record: AuditRecord,
}

/// A client's promise that requests with this key are the same request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey {
    pub key: String,
    /// Of the request: the same key with another hash is a mistake of the client.
    pub hash: [u8; 32],
}

/// What must still hold when the unit is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// The patient's consents are those that were decided upon; a patient without any has epoch 0.
    ConsentEpoch { patient: PatientKey, epoch: u64 },
    /// Nobody has had a turn at the patient since the number was asked for; it is the unit's own now.
    Turn { patient: PatientKey, number: u64 },
}

/// What a person has said, seen at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// How often it changed.
    pub epoch: u64,
    /// The current consents.
    pub consents: Vec<Stored>,
    /// Since when what is hers is to be kept and nothing else; milliseconds.
    pub restricted_ms: Option<i64>,
    /// Whether everything of hers was taken away for good.
    pub erased: bool,
    /// Whether that is all, as far as what is kept of it tells; else something of it was lost.
    pub whole: bool,
}

/// One event of the audit trail, rendered.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditRecord {
    pub at_ms: i64,
    pub patient: Option<PatientKey>,
    pub client: Arc<str>,
    pub id: ResId,
    pub payload: Vec<u8>,
    /// Entropy, with which the transparency log's entry for it tells nothing of it. Its last bit says whether the client is
    /// not shown the record, so that the log commits to that as well.
    pub salt: [u8; 32],
}

impl AuditRecord {
    /// The same, which tells of something that the client must not learn.
    #[must_use]
    pub fn kept_from_client(mut self) -> Self {
        self.salt[31] |= 1;
        self
    }

    /// Salt of a record that the client is shown.
    pub fn salt(mut entropy: [u8; 32]) -> [u8; 32] {
        entropy[31] &= !1;
        entropy
    }

    /// Whether what was committed to with this salt is kept from the client.
    pub fn is_kept_from_client(salt: &[u8; 32]) -> bool {
        salt[31] & 1 == 1
    }
}

/// A record as the transparency log committed to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logged {
    /// Its number among the log's entries.
    pub index: u64,
    pub salt: [u8; 32],
    pub payload: Vec<u8>,
}

/// A record of the audit with what it is filed under.
#[derive(Clone, PartialEq, Eq)]
pub struct FiledRecord {
    pub seq: u64,
    /// Its number among the log's entries.
    pub entry: u64,
    pub at_ms: i64,
    pub patient: Option<PatientKey>,
    pub client: String,
    pub id: ResId,
    pub payload: Vec<u8>,
    /// Whether it is kept from the client, as it is filed and as it was committed to.
    pub withheld: (bool, bool),
}

/// A signed head of the transparency log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    pub size: u64,
    pub at_ms: i64,
    pub note: String,
}

/// The number of labels that have none of their own (`Write::labels`).
pub const OTHER_LABELS: u16 = u16::MAX;

/// One version of one resource.
#[derive(Clone)]
pub struct Write {
    /// The resource type's name.
    pub kind: Arc<str>,
    pub id: ResId,
    /// The logical id that a client chose; without one the id prints itself.
    pub name: Option<String>,
    pub patient: Option<PatientKey>,
    /// The client that owns it.
    pub owner: Arc<str>,
    pub expect: Expect,
    /// Hash of the canonical content, by which the same thing sent twice is known.
    pub content: [u8; 16],
    /// What it says, if that may stand only once: hash of it without what names it.
    pub reading: Option<[u8; 16]>,
    /// Of a later version: it says what the one before it said, so that it stands for the same reading.
    pub says_the_same: bool,
    /// What it gathers, where it is a stretch that grows.
    pub growth: Option<Growth>,
    /// The time that its reading takes up, where that is compared with others.
    pub span: Option<Span>,
    /// (system, code) of what says the resource's topic, for the index patient, code, date.
    pub codes: Vec<(String, String)>,
    pub tokens: Vec<Token>,
    /// Milliseconds.
    pub date: Option<Dated>,
    pub updated_ms: i64,
    /// As rendered into the payload: 1 for a creation, else the expected version plus one.
    pub version: u32,
    pub payload: Vec<u8>,
    /// What searches may be told of it before it is opened; sealed as it is. Empty where there is nothing.
    pub gist: Vec<u8>,
    /// The id of whose it is, where the gist holds it: it is kept once for all that is hers.
    pub person: Option<ResId>,
    /// Which security labels it carries, by a number that means something to the caller, 0 for none: what carries others lies
    /// apart from it in the index. Where a store has many of them already, it is filed as [`OTHER_LABELS`].
    pub labels: u16,
    pub delete: bool,
    /// Whether it goes to the feed.
    pub deliver: bool,
    /// A consent of `patient`: bumps the patient's consent epoch in this transaction.
    pub consent: bool,
}

/// Of a stretch of samples.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Growth {
    /// Ids that its new records would have had.
    pub members: Vec<ResId>,
    /// When nothing more is expected; none where it is closed.
    pub until_ms: Option<i64>,
}

/// What the writer must find for the write to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing. The same content already there is `Existing`, other content a `Conflict`.
    Absent,
    /// Exactly this current version.
    Version(u32),
}

/// A value of an identifier-like search parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    pub param: &'static str,
    pub system: String,
    pub value: String,
}

/// What became of one write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteOutcome {
    Created,
    Updated,
    /// The same content was there already.
    Existing {
        version: u32,
        updated_ms: i64,
    },
    /// Another resource says the same (`Write::reading`).
    Standing {
        id: ResId,
        version: u32,
        updated_ms: i64,
    },
    /// Something else holds this id or name.
    Conflict {
        version: u32,
    },
    /// Another version is current; 0 when there is none.
    VersionMismatch {
        actual: u32,
    },
}

impl WriteOutcome {
    /// Whether the write was refused.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::VersionMismatch { .. })
    }
}

/// What became of a unit. All but `Stale`, `Overtaken` and `KeyReused` are durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Accepted {
    Done {
        outcomes: Vec<WriteOutcome>,
    },
    /// A conflict in an atomic unit: no write happened, the audit is stored. The outcomes end with the first conflict;
    /// what stands before it did not happen either.
    RolledBack {
        outcomes: Vec<WriteOutcome>,
    },
    /// The idempotency key was seen with the same hash.
    Replayed {
        response: Vec<u8>,
    },
    /// The idempotency key was seen with another hash.
    KeyReused,
    /// The step was taken before: nothing is stored.
    Overtaken,
    /// A precondition failed; nothing is stored and the caller decides again.
    Stale,
}
