//! What is read: stored versions, and closed descriptions of a search.
//!
//! A plan names index values only. It narrows; the caller, who can read the payload, decides what matches in the end:
//! dates are periods to it and instants to us, and tokens are compared by hash. Pages continue after a key, never at
//! an offset, and `as_of_seq` keeps later arrivals out of a page sequence already begun.

use std::fmt;
use std::sync::Arc;

use super::id::{PatientKey, ResId};
use super::sql::{self, Fault};

/// One version of a resource as it was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub kind: Arc<str>,
    pub id: ResId,
    /// The logical id that a client chose, if one did.
    pub name: Option<String>,
    /// Order of creation; every version of a resource has the same.
    pub seq: u64,
    pub version: u32,
    pub updated_ms: i64,
    pub deleted: bool,
    pub patient: Option<PatientKey>,
    pub owner: Arc<str>,
    pub date: Option<Dated>,
    pub content: [u8; 16],
    pub payload: Vec<u8>,
    /// What was written beside it (`Write::gist`), where it was found by a search and has one.
    pub gist: Option<Vec<u8>>,
}

impl Stored {
    /// Where the version stands in an order, so that a walk may go on behind it.
    pub fn key(&self, by: OrderBy) -> Key {
        match by {
            OrderBy::Date => Key(Dated::place(self.date), self.seq),
            OrderBy::Updated => Key(self.updated_ms, self.seq),
            OrderBy::Seq => Key(self.seq as i64, self.seq),
        }
    }

    /// The id by which clients know it.
    pub fn logical_id(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }

    /// Whether it is damaged, where it was asked for all the same: nobody keeps an empty text.
    pub fn is_unread(&self) -> bool {
        self.payload.is_empty()
    }
}

/// When something was, as an index has it: milliseconds, from when on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dated {
    At(i64),
    /// It goes on for so long that its beginning does not tell whether it reaches into a time.
    Long(i64),
}

/// What has no date sorts before everything that has one.
pub(super) const UNDATED: i64 = i64::MIN;
/// What goes on for long has a band of its own in the index, behind what has no date and before everything else: its beginning
/// counted from here.
const LONG: i64 = i64::MIN / 2 - (1 << 60);
pub(super) const LONG_END: i64 = i64::MIN / 2;
/// Far beyond the years that can be written.
const FARTHEST: i64 = 1 << 50;

impl Dated {
    /// As it stands in a column.
    pub(super) fn column(self) -> i64 {
        match self {
            Dated::At(from_ms) => from_ms.max(LONG_END),
            Dated::Long(from_ms) => LONG + from_ms.clamp(-FARTHEST, FARTHEST),
        }
    }

    pub(super) fn of_column(column: i64) -> Dated {
        if column < LONG_END { Dated::Long(column.saturating_sub(LONG)) } else { Dated::At(column) }
    }

    fn begins_ms(self) -> i64 {
        match self {
            Dated::At(from_ms) | Dated::Long(from_ms) => from_ms,
        }
    }

    /// Its place in the order by date.
    pub(super) fn place(date: Option<Dated>) -> i64 {
        date.map_or(UNDATED, Dated::begins_ms)
    }

    /// Whether something of that date may lie within a time, half open.
    pub(super) fn may_lie_in(date: Option<Dated>, (from, until): (i64, i64)) -> bool {
        match date {
            None => true,
            Some(Dated::At(at)) => (from..until).contains(&at),
            Some(Dated::Long(since)) => since < until,
        }
    }
}

/// A search; every `Some` narrows it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Arc<str>,
    pub patients: Option<Vec<PatientKey>>,
    /// Logical ids.
    pub ids: Option<Vec<String>>,
    /// Any of these.
    pub codes: Option<Vec<CodeKey>>,
    /// Milliseconds, half open, widened by the caller; what has no date may lie on any and is looked at, too, as is what goes on for
    /// long.
    pub date: Option<(i64, i64)>,
    /// Milliseconds, half open.
    pub updated: Option<(i64, i64)>,
    pub token: Option<TokenKey>,
    pub owner: Option<Arc<str>>,
    /// Whether what was deleted counts, too.
    pub deleted: bool,
    pub order: Order,
    /// Rows strictly after this key, in the plan's order.
    pub after: Option<Key>,
    /// Ignores what was created after this sequence number.
    pub as_of_seq: Option<u64>,
    pub limit: usize,
    /// How many candidates may be looked at.
    pub scan_budget: usize,
    /// Consent epochs that the caller has decided by: where one has moved, nothing is looked for.
    pub epochs: Vec<(PatientKey, u64)>,
    /// What is not looked for.
    pub sieve: Option<Sieve>,
    /// Whether what is damaged is passed over and counted; it ends the search otherwise, as whoever decides by all must know.
    pub spares_damaged: bool,
}

/// Says what of a patient is worth looking at: of the entries of an index, and of a row by what was written beside it, before
/// it is opened. The store asks it; what it goes by is its maker's.
#[derive(Clone)]
pub struct Sieve {
    entries: Arc<Entries>,
    rows: Arc<Rows>,
}

type Entries = dyn Fn(&Together<'_>) -> Option<(i64, i64)> + Send + Sync;
type Rows = dyn Fn(&Glimpse<'_>) -> Pass + Send + Sync;

/// What lies together in an index.
#[derive(Clone, Copy, Debug)]
pub struct Together<'f> {
    pub patient: PatientKey,
    /// System and code; nothing where there is none.
    pub coding: Option<(&'f str, &'f str)>,
    /// What all of it carries ([`Write::labels`](super::Write::labels)), where that is known.
    pub labels: Option<u16>,
}

/// A row as far as it can be judged unopened.
#[derive(Clone, Copy)]
pub struct Glimpse<'g> {
    pub patient: PatientKey,
    pub id: ResId,
    /// The logical id that a client chose, if one did.
    pub name: Option<&'g str>,
    pub gist: &'g [u8],
}

impl Glimpse<'_> {
    /// The id by which clients know it.
    pub fn logical_id(&self) -> String {
        self.name.map_or_else(|| self.id.to_string(), str::to_owned)
    }
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    Through,
    /// It is none of the page's, but tells that there is some.
    KeptBack,
    /// It is as if it were not there.
    Out,
}

impl Sieve {
    /// `entries` says at which dates, half open, what lies together is looked for, if at all; what has no date is looked at then
    /// in any case.
    pub fn new(
        entries: impl Fn(&Together<'_>) -> Option<(i64, i64)> + Send + Sync + 'static,
        rows: impl Fn(&Glimpse<'_>) -> Pass + Send + Sync + 'static,
    ) -> Self {
        Self { entries: Arc::new(entries), rows: Arc::new(rows) }
    }

    pub(super) fn dates(&self, filed: &Together<'_>) -> Option<(i64, i64)> {
        (self.entries)(filed)
    }

    pub(super) fn judge(&self, glimpse: &Glimpse<'_>) -> Pass {
        (self.rows)(glimpse)
    }
}

impl fmt::Debug for Sieve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sieve(..)")
    }
}

impl Plan {
    /// Everything of one kind, in the order of creation.
    pub fn of(kind: impl Into<Arc<str>>) -> Self {
        Self {
            kind: kind.into(),
            patients: None,
            ids: None,
            codes: None,
            date: None,
            updated: None,
            token: None,
            owner: None,
            deleted: false,
            order: Order { by: OrderBy::Seq, descending: false },
            after: None,
            as_of_seq: None,
            limit: 100,
            scan_budget: 100_000,
            epochs: Vec::new(),
            sieve: None,
            spares_damaged: false,
        }
    }
}

/// A code to look for; without a system, in any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeKey {
    pub system: Option<String>,
    pub code: String,
}

/// A token to look for; without a system, in any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenKey {
    pub param: String,
    pub system: Option<String>,
    pub value: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    pub by: OrderBy,
    pub descending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderBy {
    /// What has no date sorts before everything.
    Date,
    Updated,
    Seq,
}

/// A place in an order: the sorted value, then the sequence number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key(pub i64, pub u64);

/// One page of current rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    pub rows: Vec<Stored>,
    /// Where the next page begins; `None` when there is none.
    pub next: Option<Key>,
    /// The scan budget ran out. With `next` the search can go on there; without, the rows are of an arbitrary part and
    /// the search must be narrowed.
    pub exhausted_budget: bool,
    /// Candidates that were looked at.
    pub looked_at: usize,
    /// Parts of the index that were opened to find them, each time anew.
    pub parts: usize,
    /// The highest sequence number at the time, for `as_of_seq`.
    pub high_seq: u64,
    /// A few of the rows that the sieve kept back, wherever they lie in the order: they tell that there are some.
    pub kept_back: Vec<Stored>,
    /// One of the plan's consent epochs is not that of the store any more.
    pub stale: bool,
    /// The numbers of those passed over, where the plan spares what is damaged: whether they belong to the page is not known.
    pub damaged: Vec<u64>,
}

/// What was found of what was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readable {
    pub rows: Vec<Stored>,
    /// What is there and cannot be read, because what is kept of it is damaged: sequence number and version.
    pub damaged: Vec<(u64, u32)>,
}

impl Readable {
    /// Files what was read of a version.
    pub(super) fn file(&mut self, (seq, version): (u64, u32), read: sql::Result<Option<Stored>>) -> sql::Result<()> {
        match read {
            Err(Fault::Damaged(_)) => self.damaged.push((seq, version)),
            read => self.rows.extend(read?),
        }
        Ok(())
    }
}

/// Versions to go through, the latest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryPlan {
    pub kinds: Vec<Arc<str>>,
    /// Logical id; all resources of the kinds where there is none.
    pub id: Option<String>,
    /// Versions that came to be no earlier; milliseconds.
    pub since_ms: Option<i64>,
    /// Versions strictly behind this one.
    pub after: Option<VersionKey>,
    pub limit: usize,
}

/// A place among versions: when it came to be, the sequence number, the version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VersionKey(pub i64, pub u64, pub u32);

/// A search of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditPlan {
    pub patient: Option<PatientKey>,
    pub client: Option<String>,
    /// The client that will read them: what was withheld from it is left out.
    pub reader: Option<String>,
    /// Rows strictly after this sequence number, in the plan's direction.
    pub after_seq: Option<u64>,
    pub limit: usize,
    pub descending: bool,
}
