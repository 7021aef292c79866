//! The time that a reading takes up, by person, measure and source, so that readings of several sources are found that
//! tell of the same time.
//!
//! Which of them counts is decided elsewhere; here stands only which were said not to. What measures and sources mean is
//! not known.

use std::sync::Arc;

use super::id::ResId;

/// Of a write: the time that its reading takes up. Whose it is and who sends it, the write says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    pub measure: Arc<str>,
    pub app: String,
    pub device: String,
    /// Milliseconds, half open.
    pub start_ms: i64,
    pub end_ms: i64,
    /// Whether it does not count.
    pub secondary: bool,
}

/// Where neighbours are looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Around {
    pub measure: Arc<str>,
    /// Client, app and device of the source whose own readings are left out.
    pub but: Option<(Arc<str>, String, String)>,
    /// Half open, in milliseconds.
    pub windows: Vec<(i64, i64)>,
}

/// A reading that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Order of creation, by which it is read.
    pub seq: u64,
    pub client: Arc<str>,
    pub span: Span,
}

/// Whether something like this stands already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    pub id: ResId,
    pub reading: Option<[u8; 16]>,
}
