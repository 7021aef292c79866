//! What phones and wearables send, as FHIR: one folder a format, pure.
//!
//! A format reads a parsed body and writes one Observation a record, as text, which then goes the way of every
//! pushed resource: validation, consent, storage and delivery do not know that it was not FHIR when it came. What
//! a format cannot say in FHIR it refuses or reports; nothing is guessed, and one bad record never stops the
//! others. Who sent a record and where it goes is not known here.

pub mod lines;
pub mod open_mhealth;
pub mod unpack;

use crate::fhir::outcome::Issue;
use crate::fhir::tree::Document;

/// A format that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    OpenMhealth,
}

impl Format {
    /// The format of that name in an address.
    pub fn named(name: &str) -> Option<Format> {
        match name {
            "open-mhealth" => Some(Format::OpenMhealth),
            _ => None,
        }
    }

    /// Every format.
    pub const ALL: &[Format] = &[Format::OpenMhealth];

    pub fn name(self) -> &'static str {
        match self {
            Format::OpenMhealth => "open-mhealth",
        }
    }

    /// System of the identifiers that its records get.
    pub fn identifiers(self) -> &'static str {
        match self {
            Format::OpenMhealth => open_mhealth::identifiers(),
        }
    }
}

/// What became of one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What the sender calls it, where it could be read.
    pub source_id: Option<String>,
    /// JSON pointer (RFC 6901) of the record in what was sent.
    pub pointer: String,
    /// The Observation as JSON; none where the issues hold an error.
    pub observation: Option<String>,
    /// Places are those of the sent text.
    pub issues: Vec<Issue>,
}

/// Converts a body of at most `most` records, in the order sent. The error says why none of it can be read.
pub fn convert(format: Format, document: &Document, subject: &str, most: usize) -> Result<Vec<Record>, Issue> {
    match format {
        Format::OpenMhealth => open_mhealth::convert(document, subject, most),
    }
}
