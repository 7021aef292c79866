//! Changing a part of a resource: FHIRPath Patch, JSON Patch (RFC 6902) and XML Patch (RFC 5261), as R4 §3.1.0.8 has
//! them.
//!
//! A patch is applied as a whole or not at all: each takes what stands and gives what would stand, or one issue. It
//! knows neither whether the result is valid nor who may change what; whoever keeps the result asks that.

pub mod fhirpath;
pub mod json;
pub mod xml;

mod pointer;
mod xpath;

use super::outcome::{Id, Issue};

/// Most operations of one patch: each costs as much as the resource is long.
const MAX_OPERATIONS: usize = 500;

/// The patch itself is wrong, whatever it is applied to.
fn invalid(what: impl std::fmt::Display) -> Issue {
    Issue::new(Id::PatchInvalid, "", format!("The patch cannot be read: {what}."))
}

/// The patch does not fit what stands. `at` counts operations from 0.
fn failed(at: usize, what: impl std::fmt::Display) -> Issue {
    Issue::new(Id::PatchFailed, "", format!("Operation {} cannot be done: {what}.", at + 1))
}

#[cfg(test)]
mod tests;
