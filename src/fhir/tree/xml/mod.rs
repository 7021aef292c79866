//! FHIR XML in and out (R4 §2.6.1).
//!
//! Our own reader, over a small scanner that refuses document types, entities and excess: an issue needs line and
//! column of the XML, a mistake must not hide the next one, and no input may panic. The tree is the one that JSON
//! gives. What XML does not say of itself comes from [`Shapes`], which whoever holds the definitions implements.
//! Encodings other than UTF-8 are refused.

mod build;
mod markup;
mod narrative;
mod read;
mod scan;
mod shape;
mod write;

use crate::fhir::outcome::{Id, Issue};

pub use markup::{Markup, Tag};
pub use read::read;
pub use scan::character;
pub use shape::{Form, Shape, Shapes};
pub use write::write;

/// Longest text that is converted, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;

const XHTML: &str = "http://www.w3.org/1999/xhtml";

const FHIR: &str = "http://hl7.org/fhir";

fn syntax(what: impl std::fmt::Display) -> Issue {
    Issue::new(Id::XmlSyntax, "", format!("The XML text cannot be read or written here: {what}."))
}
