//! Exports of many persons' data: what is known of one, and how far the work on it has come.
//!
//! Nothing of what is exported is kept for it: an export is a list of versions of resources, and whoever downloads it reads
//! these where they lie, each under its person's own key. So a person who is erased is gone from every export as well. The
//! list stands by a moment, the cut: what was kept by then is in it as it was then, and nothing later.
//!
//! The work is divided by slots of persons, each leased for itself, so that gateways that share a store share an export.
//! A step of the work and its place are one transaction. What a line says and who may see it is not known here.

use std::sync::Arc;

use super::id::PatientKey;
use super::unit::AuditRecord;

pub type ExportId = [u8; 16];

/// A resource that was changed, by whose it is and its sequence number.
pub type Changed = (Option<PatientKey>, u64);

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportState {
    Working,
    Finished,
    /// It could not be made to its end.
    Failed,
}

impl ExportState {
    pub(super) const ALL: [ExportState; 3] = [ExportState::Working, ExportState::Finished, ExportState::Failed];
}

/// What is known of an export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportJob {
    pub id: ExportId,
    pub client: Arc<str>,
    /// What its owner asked for, for whoever works on it.
    pub about: Vec<u8>,
    /// The only persons that it is about, in order; everybody where there is no list.
    pub persons: Option<Vec<PatientKey>>,
    /// Whether what is nobody's belongs to it.
    pub nobodys: bool,
    /// Entropy of its own, which goes with it.
    pub secret: [u8; 32],
    /// The moment by which it stands.
    pub cut_ms: i64,
    pub state: ExportState,
    /// Lines so far.
    pub lines: u64,
    /// Persons who have heard that something of theirs was withheld.
    pub told: u64,
    /// Why it failed, as an issue's code.
    pub failure: Option<String>,
    pub created_ms: i64,
    /// When it is forgotten.
    pub until_ms: i64,
}

/// A slot of an export's work, and the right to do it until others may take it over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportPart {
    pub job: ExportId,
    pub slot: u16,
    /// Goes over everybody that the work is done in.
    pub phase: u8,
    /// Where the last step ended.
    pub after: Option<ExportPlace>,
    pub epoch: u64,
}

/// A place in the work of a slot: somebody, and the last of that person's resources that was looked at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExportPlace {
    /// None for what is nobody's, which comes first.
    pub person: Option<PatientKey>,
    pub seq: u64,
}

/// The version of a resource that stood at the cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    pub kind: Arc<str>,
    pub seq: u64,
    pub version: u32,
    pub updated_ms: i64,
    pub deleted: bool,
}

/// Lines of one kind of file that a step adds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportPiece {
    pub kind: Arc<str>,
    /// Whether it tells of what was deleted.
    pub gone: bool,
    /// Sequence numbers and versions.
    pub lines: Vec<(u64, u32)>,
}

/// What a step of the work came to.
#[derive(Clone, Default)]
pub struct ExportStep {
    pub pieces: Vec<ExportPiece>,
    /// Groups of which a person was seen, and in how many persons of the step.
    pub counted: Vec<([u8; 16], u64)>,
    pub records: Vec<AuditRecord>,
    /// Persons among the records to whom something was withheld.
    pub told: u64,
    /// When the export is forgotten, if nothing more is done for it.
    pub keep_until_ms: i64,
    /// Where the next step begins; nothing where the slot is through.
    pub to: Option<ExportPlace>,
}

/// A piece that counts, without its lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportPieceHead {
    pub kind: Arc<str>,
    pub gone: bool,
    pub slot: u16,
    pub number: u64,
    pub lines: u64,
}
