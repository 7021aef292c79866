//! Every consent of a person, asked about one request and one resource.
//!
//! Refusal wins over permission whatever the order or age of consents: a newer consent replaces an older one
//! only by ending it. So the answer is a maximum over the consents, and a tie is broken by id and version, never
//! by position. The clock is an argument, and the basis says until when the answer holds.

use std::fmt;
use std::sync::Arc;

use super::compile::{Body, Compiled};
use super::matching::{Effect, Match};
use super::purpose::Asked;
use super::request::{Facts, Request};
use super::rule::Asking;
use crate::fhir::outcome::{Id, Issue};

/// The answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    Permit(Basis),
    Deny(Denial),
}

impl Decision {
    pub fn is_permit(&self) -> bool {
        matches!(self, Decision::Permit(_))
    }
}

/// Which rule of which version of which consent decided: what the audit records.
#[derive(Clone)]
pub struct Basis {
    consent: Arc<Compiled>,
    rule: Arc<str>,
    valid_until_ms: Option<i64>,
}

/// Why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The person has no consent in force.
    NoConsent,
    /// A rule refuses.
    Denied,
    /// A consent in force cannot be evaluated.
    Indeterminate,
    /// Nothing refuses, and nothing permits; the basis is a consent in force whose default withholds.
    NotCovered,
}

/// A refusal: a value, not a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    pub reason: Reason,
    /// What refused, where something did.
    pub basis: Option<Basis>,
}

impl Basis {
    pub fn consent_id(&self) -> &str {
        self.consent.id()
    }

    pub fn version(&self) -> u32 {
        self.consent.version()
    }

    /// FHIRPath of the rule inside the Consent.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The earliest instant at which the decision could change by time alone; nothing where it never does.
    pub fn valid_until_ms(&self) -> Option<i64> {
        self.valid_until_ms
    }
}

impl PartialEq for Basis {
    fn eq(&self, other: &Basis) -> bool {
        let key = |basis: &Basis| (basis.version(), basis.valid_until_ms);
        key(self) == key(other) && self.rule == other.rule && self.consent_id() == other.consent_id()
    }
}

impl Eq for Basis {}

impl fmt::Display for Basis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Consent/{} version {}, {}", self.consent_id(), self.version(), self.rule)
    }
}

impl fmt::Debug for Basis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Basis({self}, until {:?})", self.valid_until_ms)
    }
}

impl Denial {
    /// What the client reads: names the rule, and nothing of the person or the data.
    pub fn issue(&self) -> Issue {
        let (id, text) = match self.reason {
            Reason::NoConsent => (Id::ConsentMissing, "No consent of the person is in force"),
            Reason::NotCovered => (Id::ConsentDenied, "No consent of the person permits this"),
            Reason::Denied => (Id::ConsentDenied, "A consent of the person refuses this"),
            Reason::Indeterminate => (Id::ConsentUnclear, "A consent of the person cannot be evaluated"),
        };
        let text = match &self.basis {
            Some(basis) => format!("{text} ({basis})."),
            None => format!("{text}."),
        };
        Issue::new(id, "", text)
    }
}

/// What one consent says, the stronger the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Voice {
    /// Nothing but its default, which withholds and overrules nobody.
    Silent,
    Permits,
    Refuses,
    Unclear,
}

/// Decides by every consent on file for the person. Pure: the same arguments give the same answer, in whatever
/// order the consents stand.
pub fn decide(consents: &[Arc<Compiled>], request: &Request<'_>, facts: &Facts<'_>) -> Decision {
    let asked = Asking { request, facts, purpose: Asked::new(request.purpose) };
    let mut until: Option<i64> = None;
    let mut loudest: Option<(Voice, &Arc<Compiled>, &Arc<str>)> = None;
    for consent in consents {
        let concerns = consent.concerns(facts.patients);
        if concerns == Match::No {
            continue;
        }
        until = [until, consent.next_bound(request.now_ms)].into_iter().flatten().min();
        if !consent.is_in_force(request.now_ms) {
            continue;
        }
        let (voice, rule) = hear(consent, concerns, &asked);
        let louder = loudest.is_none_or(|(best, other, _)| {
            voice > best || voice == best && (consent.id(), consent.version()) < (other.id(), other.version())
        });
        if louder {
            loudest = Some((voice, consent, rule));
        }
    }
    let Some((voice, consent, rule)) = loudest else {
        return Decision::Deny(Denial { reason: Reason::NoConsent, basis: None });
    };
    let basis = Basis { consent: Arc::clone(consent), rule: Arc::clone(rule), valid_until_ms: until };
    let denied = |reason, basis| Decision::Deny(Denial { reason, basis: Some(basis) });
    match voice {
        Voice::Silent => denied(Reason::NotCovered, basis),
        Voice::Permits => Decision::Permit(basis),
        Voice::Refuses => denied(Reason::Denied, basis),
        Voice::Unclear => denied(Reason::Indeterminate, basis),
    }
}

/// What a consent in force says, and by which rule.
pub(super) fn hear<'c>(consent: &'c Compiled, concerns: Match, asked: &Asking<'_>) -> (Voice, &'c Arc<str>) {
    match &consent.body {
        Body::Indeterminate { first, .. } => (Voice::Unclear, first),
        Body::Rules(root) if concerns == Match::Unknown => (Voice::Unclear, &root.path),
        Body::Rules(root) => match root.decide(asked) {
            Some(rule) if rule.is_default => (Voice::Silent, &rule.path),
            Some(rule) if rule.effect == Effect::Permit && !consent.is_verified() => (Voice::Silent, &rule.path),
            Some(rule) if rule.effect == Effect::Permit => (Voice::Permits, &rule.path),
            Some(rule) => (Voice::Refuses, &rule.path),
            None => (Voice::Silent, &root.path),
        },
    }
}
