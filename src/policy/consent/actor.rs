//! Who asks, and whom a rule names.
//!
//! An [`Actor`] states every reference it answers to: itself, its organisation, and the groups and care teams
//! it belongs to, so that membership is resolved by the caller and a rule only compares. A rule without a
//! comparable reference or identifier names somebody unknown. A role narrows only where the asking actor states
//! one of the same code system: R4 demands a role in every rule, and most clients state none.

use std::fmt;

use super::coding::{self, Coding};
use super::matching::Match;
use super::reference::{self, Reference};
use crate::fhir::tree::Element;

/// The one who asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Actor {
    /// Every reference it answers to, e.g. `Organization/54` and the `Group`s it is a member of.
    pub references: Vec<String>,
    /// Its identifiers as (system, value).
    pub identifiers: Vec<(String, String)>,
    /// Roles it acts in as (system, code).
    pub roles: Vec<(String, String)>,
}

impl Actor {
    /// One who answers to a single reference.
    pub fn reference(reference: &str) -> Self {
        Actor { references: vec![reference.to_owned()], ..Actor::default() }
    }

    /// The marks of its references; all there are where it has none.
    pub(super) fn marks(&self) -> u64 {
        let marks = self.references.iter().map(|given| reference::mark(given)).reduce(|one, other| one | other);
        marks.unwrap_or(u64::MAX)
    }
}

/// One `provision.actor`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Named {
    reference: Option<Reference>,
    identifier: Option<(Box<str>, Box<str>)>,
    roles: Vec<Coding>,
    role_unclear: bool,
}

/// The actors of a rule, as alternatives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Actors {
    named: Vec<Named>,
    /// The marks of their references; all there are where some actor is told by something else.
    marks: u64,
}

impl Actors {
    /// Takes one `actor` in; false where nobody comparable is named.
    pub fn add(&mut self, element: Element<'_>) -> bool {
        let target = element.get("reference");
        let identifier = target.and_then(|target| target.get("identifier")).and_then(|identifier| {
            Some((identifier.get("system")?.string()?.into(), identifier.get("value")?.string()?.into()))
        });
        let (mut roles, mut role_unclear) = (Vec::new(), false);
        for role in element.all("role") {
            let (codings, unclear) = Coding::read_concept(role);
            roles.extend(codings);
            role_unclear |= unclear;
        }
        let named = Named { reference: target.and_then(Reference::read), identifier, roles, role_unclear };
        let comparable = named.reference.is_some() || named.identifier.is_some();
        let by_reference = named.reference.as_ref().filter(|_| named.identifier.is_none());
        self.marks |= by_reference.map_or(u64::MAX, Reference::mark);
        self.named.push(named);
        comparable
    }

    /// Whether one of those marks is an actor's here: if none is, none of them matches.
    pub fn may_be(&self, marks: u64) -> bool {
        self.marks & marks != 0
    }

    pub fn matches(&self, actor: &Actor) -> Match {
        Match::any(self.named.iter().map(|named| named.identity(actor).and(|| named.role(actor))))
    }
}

impl Named {
    fn identity(&self, actor: &Actor) -> Match {
        let by_identifier = match &self.identifier {
            None => None,
            Some((system, value)) => {
                let mut known = actor.identifiers.iter().filter(|(other, _)| **other == **system).peekable();
                let comparable = known.peek().is_some();
                let same = known.any(|(_, other)| **other == **value);
                Some(if same || comparable { Match::of(same) } else { Match::Unknown })
            }
        };
        let by_reference = self.reference.as_ref().map(|reference| {
            if actor.references.is_empty() {
                Match::Unknown
            } else {
                Match::any(actor.references.iter().map(|given| reference.matches(given)))
            }
        });
        match (by_reference, by_identifier) {
            (None, None) => Match::Unknown,
            (Some(Match::Yes), _) | (_, Some(Match::Yes)) => Match::Yes,
            // An identifier beside a literal reference says the same thing twice: the one that compares decides.
            (Some(reference), _) => reference,
            (None, Some(identifier)) => identifier,
        }
    }

    /// A role of the same system that differs is no proof of difference, since roles specialise each other.
    fn role(&self, actor: &Actor) -> Match {
        let comparable = |(system, _): &&(String, String)| self.roles.iter().any(|role| *role.system == **system);
        let mut stated = actor.roles.iter().filter(comparable).peekable();
        if stated.peek().is_none() {
            // Most actors state no role, but a role that only text describes may narrow in a way that matters.
            return if self.role_unclear { Match::Unknown } else { Match::Yes };
        }
        let same = stated.any(|(system, code)| self.roles.iter().any(|role| role.is(system, code)));
        if same { Match::Yes } else { Match::Unknown }
    }
}

impl fmt::Display for Actors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        coding::list(formatter, &self.named, false)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reference, &self.identifier) {
            (Some(reference), _) => write!(formatter, "{reference}")?,
            (None, Some((system, value))) => write!(formatter, "{system}|{value}")?,
            (None, None) => formatter.write_str("?")?,
        }
        if !self.roles.is_empty() || self.role_unclear {
            formatter.write_str(" as ")?;
            coding::list(formatter, &self.roles, self.role_unclear)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    const ROLES: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

    fn check(rule: &str, actor: &Actor, expected: Match) {
        let document = json::parse(rule).unwrap();
        let mut actors = Actors::default();
        actors.add(Element::root(&document));
        assert_eq!(actors.matches(actor), expected, "{rule}");
    }

    #[test]
    fn names_by_reference_identifier_and_role() {
        let actor = Actor {
            references: vec!["Organization/54".into(), "Group/g".into()],
            identifiers: vec![("urn:a".into(), "1".into())],
            roles: vec![(ROLES.into(), "IRCP".into())],
        };
        check(r#"{"reference":{"reference":"Group/g"}}"#, &actor, Match::Yes);
        check(r#"{"reference":{"reference":"Organization/55"}}"#, &actor, Match::No);
        check(r#"{"reference":{"identifier":{"system":"urn:a","value":"1"}}}"#, &actor, Match::Yes);
        check(r#"{"reference":{"identifier":{"system":"urn:a","value":"2"}}}"#, &actor, Match::No);
        check(r#"{"reference":{"identifier":{"system":"urn:b","value":"1"}}}"#, &actor, Match::Unknown);
        check(r#"{"reference":{"display":"the clinic"}}"#, &actor, Match::Unknown);
        check(r##"{"reference":{"reference":"#x"}}"##, &actor, Match::Unknown);
        let with_role = |code: &str| {
            format!(
                r#"{{"role":{{"coding":[{{"system":"{ROLES}","code":"{code}"}}]}},"reference":{{"reference":"Group/g"}}}}"#
            )
        };
        check(&with_role("IRCP"), &actor, Match::Yes);
        check(&with_role("CST"), &actor, Match::Unknown);
        let silent = Actor { roles: Vec::new(), ..actor };
        check(&with_role("CST"), &silent, Match::Yes);
        check(r#"{"reference":{"reference":"Group/g"}}"#, &Actor::default(), Match::Unknown);
    }
}
