//! A coding of a rule: system and code, both stated.
//!
//! A code without its system could be any code, and a text could be any concept, so neither compares; the
//! reader answers `None` for them and the condition becomes unknown.

use std::fmt;

pub(super) use crate::fhir::terminology::named;
use crate::fhir::tree::Element;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Coding {
    pub system: Box<str>,
    pub code: Box<str>,
}

impl Coding {
    /// Reads a `Coding`.
    pub fn read(element: Element<'_>) -> Option<Coding> {
        let part = |name| element.get(name).and_then(|part| part.string()).filter(|text| !text.is_empty());
        Some(Coding { system: part("system")?.into(), code: part("code")?.into() })
    }

    /// Reads a `CodeableConcept`: its codings, and whether one of them or all are unreadable.
    pub fn read_concept(element: Element<'_>) -> (Vec<Coding>, bool) {
        let mut codings = Vec::new();
        let mut unclear = false;
        for coding in element.all("coding") {
            match Coding::read(coding) {
                Some(coding) => codings.push(coding),
                None => unclear = true,
            }
        }
        let unclear = unclear || codings.is_empty();
        (codings, unclear)
    }

    pub fn is(&self, system: &str, code: &str) -> bool {
        *self.code == *code && (*self.system == *system || named(&self.system) == named(system))
    }

    /// Whether what is carried without a system may be it.
    pub fn may_be(&self, system: &str, code: &str) -> bool {
        system.is_empty() && *self.code == *code
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}|{}", self.system, self.code)
    }
}

/// Writes alternatives with commas, and a question mark where some could not be read.
pub(super) fn list<T: fmt::Display>(
    formatter: &mut fmt::Formatter<'_>,
    items: impl IntoIterator<Item = T>,
    unclear: bool,
) -> fmt::Result {
    let mut separator = "";
    for item in items {
        write!(formatter, "{separator}{item}")?;
        separator = ", ";
    }
    if unclear {
        write!(formatter, "{separator}?")?;
    }
    Ok(())
}
