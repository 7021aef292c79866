//! What may be forgotten, by when it is of.

use std::sync::Arc;

/// Bounds; what is before them may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tidying {
    pub now_ms: i64,
    pub audit_before_ms: i64,
    /// Of the feed, and only what all these have.
    pub feed_before_ms: i64,
    pub destinations: Vec<Arc<str>>,
}
