//! What is remembered of records that were refused or doubtful, and how often what happened.
//!
//! Of a record nothing is kept but a hash of the sender's name for it and what its owner was told; what was simply
//! kept needs no row, because its identity finds it. Rows are numbered client by client, so that a number tells nothing
//! of the others. What the words and topics mean is not known here.

use std::sync::Arc;

use super::id::PatientKey;

/// One record's outcome, for later.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    pub at_ms: i64,
    /// Keyed hash of the format and the sender's name for the record, where it has one.
    pub record: Option<[u8; 16]>,
    pub outcome: &'static str,
    pub body: Vec<u8>,
    /// It need not be filed where there is one of the record already.
    pub once: bool,
}

/// A receipt as it was filed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filed {
    /// Its number among the client's own.
    pub number: u64,
    pub at_ms: i64,
    pub outcome: String,
    pub body: Vec<u8>,
}

/// A place in the receipts about one patient: a client, and a number of its own.
pub type ReceiptPlace = (String, u64);

/// A search of one client's receipts, oldest first; every `Some` narrows it.
#[derive(Clone, Debug)]
pub struct ReceiptPlan {
    pub client: Arc<str>,
    /// Any of these.
    pub records: Option<Vec<[u8; 16]>>,
    /// Whom they are about.
    pub patient: Option<PatientKey>,
    pub since_ms: Option<i64>,
    pub outcome: Option<String>,
    /// Rows strictly after this number.
    pub after: u64,
    pub limit: usize,
}

/// How often something happened in one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Days since 1970.
    pub day: i64,
    pub format: Arc<str>,
    pub topic: String,
    pub count: u64,
}

/// What is filed in the transaction that it tells of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Filing {
    /// Whom the records are about.
    pub patient: Option<PatientKey>,
    pub receipts: Vec<Receipt>,
    pub tallies: Vec<Tally>,
    /// Receipts from before this may be forgotten, a few with each that is filed.
    pub forget_before_ms: i64,
}
