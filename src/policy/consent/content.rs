//! Which data a rule speaks of: its class, its codes, and single instances.
//!
//! Classes are resource types or kinds of documents; codes compare by system and code, never by meaning, since
//! a code system's hierarchy is not known here. `data` names instances: the resource itself, what its author
//! wrote, or what refers to it.

use std::fmt;

use super::broad;
use super::coding::{self, Coding};
use super::matching::Match;
use super::reference::Reference;
use super::request::Facts;
use crate::fhir::tree::Element;

const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
const MEDIA_TYPES: &str = "urn:ietf:bcp:13";

/// Resources that are or carry documents, whose kind the facts don't tell.
const DOCUMENTS: [&str; 5] = ["Binary", "Bundle", "Composition", "DocumentReference", "Media"];

/// The classes of a rule, as alternatives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Classes {
    kinds: Vec<Box<str>>,
    documents: bool,
    unclear: bool,
}

impl Classes {
    /// Takes one `class` in; false where it cannot be evaluated.
    pub fn add(&mut self, element: Element<'_>) -> bool {
        match Coding::read(element) {
            Some(class) if *class.system == *RESOURCE_TYPES => self.kinds.push(class.code),
            Some(class) if *class.system == *MEDIA_TYPES => {
                self.documents = true;
                return false;
            }
            _ => {
                self.unclear = true;
                return false;
            }
        }
        true
    }

    pub fn matches(&self, kind: &str) -> Match {
        if self.kinds.iter().any(|named| **named == *kind) {
            Match::Yes
        } else if self.unclear || self.documents && DOCUMENTS.contains(&kind) {
            Match::Unknown
        } else {
            Match::No
        }
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let documents = self.documents.then_some("documents of some media type");
        coding::list(formatter, self.kinds.iter().map(|kind| &**kind).chain(documents), self.unclear)
    }
}

/// The codes of a rule, as alternatives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Codes {
    codings: Vec<Coding>,
    unclear: bool,
}

impl Codes {
    /// Takes one `code` in; false where it cannot be read completely.
    pub fn add(&mut self, element: Element<'_>) -> bool {
        let (codings, unclear) = Coding::read_concept(element);
        self.codings.extend(codings);
        self.unclear |= unclear;
        !unclear
    }

    /// A rule that names policies alone is about the policy that is asked for, whatever the resource.
    pub fn matches(&self, codings: &[(&str, &str)], policy: Option<&str>) -> Match {
        if let Some(decided) = self.decided_by(policy) {
            return decided;
        }
        let may_be = |(system, code): &(&str, &str)| self.codings.iter().any(|named| named.may_be(system, code));
        if codings.iter().any(|(system, code)| self.codings.iter().any(|named| named.is(system, code))) {
            Match::Yes
        } else if self.unclear || codings.is_empty() || codings.iter().any(may_be) {
            Match::Unknown
        } else {
            Match::No
        }
    }
}

impl Codes {
    /// What is decided by the policy that is asked for, if that decides.
    pub fn decided_by(&self, policy: Option<&str>) -> Option<Match> {
        let named = self.names(policy?);
        (named || self.names_policies()).then_some(Match::of(named))
    }

    fn names(&self, policy: &str) -> bool {
        self.codings.iter().any(|named| named.is(broad::SYSTEM, policy))
    }

    /// Whether it names policies of the broad consent and nothing else.
    pub fn names_policies(&self) -> bool {
        !self.unclear && self.codings.iter().all(|named| *named.system == *broad::SYSTEM)
    }

    pub fn codings(&self) -> &[Coding] {
        &self.codings
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        coding::list(formatter, &self.codings, self.unclear)
    }
}

/// R4 CodeSystem consent-data-meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Instance,
    Related,
    Dependents,
    AuthoredBy,
}

const MEANINGS: [(&str, Meaning); 4] = [
    ("instance", Meaning::Instance),
    ("related", Meaning::Related),
    ("dependents", Meaning::Dependents),
    ("authoredby", Meaning::AuthoredBy),
];

/// The instances of a rule, as alternatives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Data {
    named: Vec<(Meaning, Reference)>,
    unclear: bool,
}

impl Data {
    /// Takes one `data` in; false where it cannot be evaluated.
    pub fn add(&mut self, element: Element<'_>) -> bool {
        let code = element.get("meaning").and_then(|meaning| meaning.string());
        let meaning = MEANINGS.iter().find(|(known, _)| code == Some(known)).map(|(_, meaning)| *meaning);
        let reference = element.get("reference").and_then(Reference::read);
        if let (Some(meaning), Some(reference)) = (meaning, reference) {
            self.named.push((meaning, reference));
            return true;
        }
        self.unclear = true;
        false
    }

    pub fn matches(&self, facts: &Facts<'_>) -> Match {
        let named = self.named.iter().map(|(meaning, reference)| match meaning {
            Meaning::Instance => reference.matches(facts.reference),
            Meaning::AuthoredBy => among(reference, facts.authors),
            // What refers to the instance is related to it (IHE PCF 1.1.1). What it refers to itself, it alone says.
            Meaning::Related | Meaning::Dependents => {
                reference.matches(facts.reference).or(|| among(reference, facts.links))
            }
        });
        Match::any(named).or(|| if self.unclear { Match::Unknown } else { Match::No })
    }
}

/// An empty list is one that nobody filled, an empty reference somebody who is named otherwise.
fn among(reference: &Reference, given: &[&str]) -> Match {
    if given.is_empty() {
        return Match::Unknown;
    }
    let named = |given: &&str| if given.is_empty() { Match::Unknown } else { reference.matches(given) };
    Match::any(given.iter().map(named))
}

impl fmt::Display for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named.iter().map(|(meaning, reference)| {
            let code = MEANINGS.iter().find(|(_, known)| known == meaning).map_or("", |(code, _)| code);
            format!("{code} {reference}")
        });
        coding::list(formatter, named, self.unclear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    #[test]
    fn a_class_of_documents_is_unknown_for_documents_only() {
        let document = json::parse(r#"{"system":"urn:ietf:bcp:13","code":"application/hl7-cda+xml"}"#).unwrap();
        let mut classes = Classes::default();
        assert!(!classes.add(Element::root(&document)));
        for (kind, expected) in [("DocumentReference", Match::Unknown), ("Observation", Match::No)] {
            assert_eq!(classes.matches(kind), expected, "{kind}");
        }
    }
}
