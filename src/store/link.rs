//! What a person's permission for a destination stands on, as it is kept.

/// A link of one person to one destination.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// Grows with each change.
    pub version: i64,
    /// Whether it has come to its end, so that only the person can begin anew.
    pub over: bool,
    /// Sealed with the person's key where it lies.
    pub body: Vec<u8>,
}
