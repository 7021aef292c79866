//! The resource tree: what was sent, as it was sent.
//!
//! A [`Document`] owns the text and a flat arena of nodes that point into it, so a resource costs two
//! allocations, decimals keep every digit (`72.50` stays `72.50`), and each node knows its line and column.
//! An [`Element`] is the FHIR view of a node: it joins `birthDate` with `_birthDate` (FHIR R4 §2.6.2.3) and
//! walks repeating elements one by one. This folder does not know that profiles or validation exist.

mod document;
mod element;
pub mod hash;
pub mod json;
mod ruler;
pub(in crate::fhir) mod sample;
mod survey;
mod tag;
pub mod time;
pub mod write;
pub mod xhtml;
pub mod xml;

pub use document::{Document, Kind, NodeId};
pub use element::{Children, Element};
pub use tag::Tag;

use super::outcome::Issue;

/// What came of reading a text.
#[derive(Debug)]
pub struct Reading {
    /// What could be made of it; `None` where the rest would be guesswork.
    pub document: Option<Document>,
    /// What is wrong with the text itself, in the order found.
    pub issues: Vec<Issue>,
}

/// Deepest nesting that is read; FHIR resources stay far below it.
pub const MAX_DEPTH: usize = 64;

/// Most properties of one object; no FHIR type defines even half as many. Keeps pairing a property with its
/// shadow a short scan.
pub const MAX_MEMBERS: u32 = 256;
