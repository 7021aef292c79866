//! What we remember: accepted resources, the feed that delivers them, the audit trail, clients.
//!
//! The boundary speaks of ids, index values and opaque payloads. It must not know FHIR beyond that, nor what a consent
//! means, nor where anything is delivered. One request is one durable transaction (`Unit`): when `accept` returns, the
//! resource, its index, its feed row, its audit and its idempotency key are on the disk together or not at all.
//!
//! A conflict, a stale consent, a lost lease are values; an `Error` is broken machinery and says whether to try again.

pub mod id;

pub mod fault;

mod seal;

mod compact;

mod marks;

mod key_file;

pub mod plan;
pub mod unit;

pub mod outbox;

pub mod raw;

pub mod receipt;

pub mod erasure;

pub mod link;

pub mod export;

pub mod tidying;

pub mod span;

pub mod subscription;

pub mod upload;

pub mod place;

pub mod finding;

mod disk;

mod sql;

mod database;

pub use database::{BackingUp, Examining, Manifest, Migrated, Restored, Store, UploadBytes, UploadFile};
pub use erasure::{Erasure, Remaining, Remnant, Untold};
pub use export::{
    Changed, ExportId, ExportJob, ExportPart, ExportPiece, ExportPieceHead, ExportPlace, ExportState, ExportStep,
    Standing,
};
pub use fault::{BackupError, Error, Health, KeyMistake, OpenError};
pub use finding::{Finding, Grade};
pub use id::{PatientKey, ResId};
pub use link::Link;
pub use outbox::{
    Backlog, DAMAGED, DeadLetter, Failure, FeedItem, Fenced, KnownAs, Lease, Retry, SUBSCRIBERS, Settlement,
    SettlementOutcome, Task,
};
pub use place::{Place, Server};
pub use plan::{
    AuditPlan, CodeKey, Dated, Glimpse, HistoryPlan, Key, Order, OrderBy, Page, Pass, Plan, Readable, Sieve, Stored,
    Together, TokenKey, VersionKey,
};
pub use raw::{Raw, RawHead, RawInput, RawStep, Reread, Rereading};
pub use receipt::{Filed, Filing, Receipt, ReceiptPlace, ReceiptPlan, Tally};
pub(crate) use seal::Key as SealingKey;
pub use span::{Around, Known, Neighbour, Span};
pub use subscription::{Asked, Course, Fate, Happened, Numbered, Placed, Subscription, TurnEnd, Waiting};
pub use tidying::Tidying;
pub use unit::{
    Accepted, AuditRecord, Cancelled, Expect, FiledRecord, Finish, Finished, Growth, Head, IdempotencyKey, Logged,
    OTHER_LABELS, Precondition, Said, Token, Unit, Write, WriteOutcome,
};
pub use upload::{Progress, Quota, Upload, UploadId, UploadState};
