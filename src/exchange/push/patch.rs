//! A resource with a patch done: what a PATCH would have sent as a PUT.

use crate::exchange::{Gateway, Refusal};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::patch;
use crate::fhir::tree::{Document, Reading, json};
use crate::fhir::validate::Format;

/// The form of a patch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json,
    /// RFC 5261.
    Xml,
    /// Parameters in either format of FHIR.
    FhirPath(Format),
}

impl Gateway {
    /// The resource that stands, patched. Nothing is kept.
    pub fn patched(&self, payload: &[u8], form: Patch, patch: &[u8]) -> Result<Document, Refusal> {
        match form {
            Patch::Json => {
                let unread = |text: &str| Refusal::from(Issue::new(Id::JsonSyntax, "", text));
                let patch = serde_json::from_slice(patch).map_err(|_| unread("The patch is no JSON."))?;
                let stands = serde_json::from_slice(payload).map_err(|_| unread("What stands is no JSON."))?;
                Ok(json::parse(patch::json::apply(&stands, &patch)?.to_string())?)
            }
            Patch::Xml => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
                let unread = || Refusal::one(Id::XmlSyntax, "", "The patch is not in UTF-8.");
                let stands = self.validator.to_xml(&json::parse(payload)?)?;
                let stands = text(&stands).map_err(|_| unread())?;
                let patched = patch::xml::apply(&stands, &text(patch).map_err(|_| unread())?)?;
                whole(self.validator.read(patched.as_bytes(), Format::Xml))
            }
            Patch::FhirPath(format) => {
                let parameters = whole(self.validator.read(patch, format))?;
                Ok(self.validator.patched(&json::parse(payload)?, &parameters)?)
            }
        }
    }
}

/// A document without any mistake in its text.
fn whole(reading: Reading) -> Result<Document, Refusal> {
    match reading.document {
        Some(document) if reading.issues.is_empty() => Ok(document),
        _ => Err(reading.issues.into()),
    }
}
