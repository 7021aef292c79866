//! Names of spans, fields and metrics, and the one place that says what must not reach a log.
//!
//! Logged are message ids, destinations, issue ids, counts and durations; never a body, a token, a name or a
//! patient identifier. [`Redacted`] wraps what must pass through a structure that is printed. Knows none of our
//! types.

#[cfg(feature = "gateway")]
pub mod counted;

use std::fmt;

/// Field names, so that the same thing has the same name in every event.
pub mod field {
    pub const REQUEST_ID: &str = "request_id";
    pub const CLIENT: &str = "client";
    pub const DESTINATION: &str = "destination";
    pub const ISSUE: &str = "issue";
    pub const STATUS: &str = "status";
    pub const TRACE_ID: &str = "trace_id";
    pub const DURATION_MS: &str = "duration_ms";
}

/// A value whose `Debug` and `Display` say nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Redacted<T>(pub T);

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}
