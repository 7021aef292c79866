//! Every consent of a person, asked about one request and one resource.
//!
//! Refusal wins over permission whatever the order or age of consents: a newer consent replaces an older one
//! only by ending it. So the answer is a maximum over the consents, and a tie is broken by id and version, never
//! by position. The clock is an argument, and the basis says until when the answer holds.

use std::fmt;
use std::sync::Arc;

use super::compile::{Body, Compiled};
use super::implicit::Implicit;
use super::matching::{Effect, Match};
use super::request::{Facts, Request};
use super::rule::{Asking, Rule};
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

/// Which rule of which version of which consent decided, or which policy in its stead: what the audit records.
#[derive(Clone)]
pub struct Basis {
    by: By,
    valid_until_ms: Option<i64>,
}

#[derive(Clone)]
enum By {
    Consent { consent: Arc<Compiled>, rule: Arc<str> },
    Policy(Implicit),
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
    /// Nothing refuses, and nothing permits; the basis is the only consent in force, or one that permits whoever asks
    /// something else, if there is one.
    NotCovered,
    /// The person wants what is hers kept and nothing else, whatever consents say.
    Restricted,
}

/// A refusal: a value, not a fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    pub reason: Reason,
    /// What refused, where something did.
    pub basis: Option<Basis>,
}

impl Basis {
    fn consent(consent: &Arc<Compiled>, rule: &Arc<str>, valid_until_ms: Option<i64>) -> Basis {
        Basis { by: By::Consent { consent: Arc::clone(consent), rule: Arc::clone(rule) }, valid_until_ms }
    }

    pub(super) fn policy(policy: Implicit, valid_until_ms: Option<i64>) -> Basis {
        Basis { by: By::Policy(policy), valid_until_ms }
    }

    /// Id and version of the consent that decided.
    pub fn by_consent(&self) -> Option<(&str, u32)> {
        match &self.by {
            By::Consent { consent, .. } => Some((consent.id(), consent.version())),
            By::Policy(_) => None,
        }
    }

    /// The policy that decided where no consent did.
    pub fn by_policy(&self) -> Option<Implicit> {
        match &self.by {
            By::Consent { .. } => None,
            By::Policy(policy) => Some(*policy),
        }
    }

    /// FHIRPath of the rule inside the Consent; empty where none decided.
    pub fn rule(&self) -> &str {
        match &self.by {
            By::Consent { rule, .. } => rule,
            By::Policy(_) => "",
        }
    }

    /// The earliest instant at which the decision could change by time alone; nothing where it never does.
    pub fn valid_until_ms(&self) -> Option<i64> {
        self.valid_until_ms
    }
}

impl PartialEq for Basis {
    fn eq(&self, other: &Basis) -> bool {
        self.by_consent() == other.by_consent()
            && self.by_policy() == other.by_policy()
            && self.rule() == other.rule()
            && self.valid_until_ms == other.valid_until_ms
    }
}

impl Eq for Basis {}

impl fmt::Display for Basis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            By::Consent { consent, rule } => {
                write!(formatter, "Consent/{} version {}, {rule}", consent.id(), consent.version())
            }
            By::Policy(policy) => formatter.write_str(policy.name()),
        }
    }
}

impl fmt::Debug for Basis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Basis({self}, until {:?})", self.valid_until_ms)
    }
}

impl Denial {
    /// Nobody has said anything.
    pub(super) fn silence() -> Denial {
        Denial { reason: Reason::NoConsent, basis: None }
    }

    /// Nothing is asked of consents while the person has it so.
    pub fn restricted() -> Denial {
        Denial { reason: Reason::Restricted, basis: None }
    }

    /// What the client reads: names the rule, and nothing of the person or the data.
    pub fn issue(&self) -> Issue {
        let (id, text) = match self.reason {
            Reason::NoConsent => (Id::ConsentMissing, "No consent of the person is in force"),
            Reason::NotCovered => (Id::ConsentDenied, "No consent of the person permits this"),
            Reason::Denied => (Id::ConsentDenied, "A consent of the person refuses this"),
            Reason::Restricted => (Id::ProcessingRestricted, "The person has restricted the processing"),
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
    let asked = Asking::new(request, facts);
    let mut until: Option<i64> = None;
    let mut loudest: Option<(Voice, &Arc<Compiled>, &Arc<str>)> = None;
    for consent in consents {
        let concerns = consent.concerns(request, facts.patients);
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
        return Decision::Deny(Denial::silence());
    };
    let basis = Basis::consent(consent, rule, until);
    let reason = match voice {
        Voice::Silent => {
            return Decision::Deny(Denial { reason: Reason::NotCovered, basis: nearest(consents, &asked, until) });
        }
        Voice::Permits => return Decision::Permit(basis),
        Voice::Refuses => Reason::Denied,
        Voice::Unclear => Reason::Indeterminate,
    };
    Decision::Deny(Denial { reason, basis: Some(basis) })
}

/// Of consents none of which says anything of what is asked, the only one, or one that permits whoever asks something: the
/// others are about others, and name nobody's reason.
fn nearest(consents: &[Arc<Compiled>], asked: &Asking<'_>, until: Option<i64>) -> Option<Basis> {
    let Asking { request, facts, .. } = *asked;
    let mut speaking: Option<&Arc<Compiled>> = None;
    let mut any = None;
    let mut hers = 0;
    for consent in consents {
        if !consent.is_in_force(request.now_ms) || consent.concerns(request, facts.patients) == Match::No {
            continue;
        }
        (any, hers) = (Some(consent), hers + 1);
        let comes_first =
            speaking.is_none_or(|other| (consent.id(), consent.version()) < (other.id(), other.version()));
        if comes_first && matches!(&consent.body, Body::Rules(root) if root.permits_something(asked)) {
            speaking = Some(consent);
        }
    }
    // By whose default it is withheld, is no question where there is one.
    let consent = speaking.or(any.filter(|_| hers == 1))?;
    let (_, rule) = hear(consent, consent.concerns(request, facts.patients), asked);
    Some(Basis::consent(consent, rule, until))
}

/// The earliest instant at which what the consents of a person say could change by time alone.
pub(super) fn until(consents: &[Arc<Compiled>], request: &Request<'_>, patients: &[&str]) -> Option<i64> {
    let concerned = consents.iter().filter(|consent| consent.concerns(request, patients) != Match::No);
    concerned.filter_map(|consent| consent.next_bound(request.now_ms)).min()
}

/// What a consent in force says, and by which rule.
pub(super) fn hear<'c>(consent: &'c Compiled, concerns: Match, asked: &Asking<'_>) -> (Voice, &'c Arc<str>) {
    let root = match &consent.body {
        Body::Indeterminate { first, .. } => return (Voice::Unclear, first),
        Body::Rules(root) if concerns == Match::Unknown => return (Voice::Unclear, &root.path),
        Body::Rules(root) => root,
    };
    let each = asked.request.policies.iter();
    let heard = each.map(|policy| hear_rules(consent, root, &Asking { policy: Some(policy), ..*asked }));
    // Of several policies each has to be permitted, so that a refusal counts most and a permission least.
    let weight = |voice: Voice| if voice == Voice::Permits { 0 } else { 1 + voice as u8 };
    let worst = heard.reduce(|one, other| if weight(other.0) > weight(one.0) { other } else { one });
    worst.unwrap_or_else(|| hear_rules(consent, root, asked))
}

fn hear_rules<'c>(consent: &Compiled, root: &'c Rule, asked: &Asking<'_>) -> (Voice, &'c Arc<str>) {
    match root.decide(asked) {
        // A broad consent that does not name the policy says nothing of it.
        Some(rule) if asked.policy.is_some() && rule.leaves_to_policies() => (Voice::Silent, &rule.path),
        Some(rule) if rule.is_default => (Voice::Silent, &rule.path),
        Some(rule) if rule.effect == Effect::Permit && !consent.may_permit(asked.request.now_ms) => {
            (Voice::Silent, &rule.path)
        }
        Some(rule) if rule.effect == Effect::Permit => (Voice::Permits, &rule.path),
        Some(rule) => (Voice::Refuses, &rule.path),
        None => (Voice::Silent, &root.path),
    }
}
