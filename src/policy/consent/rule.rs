//! The rule tree that a Consent compiles to.
//!
//! A nested rule's conditions are its parent's overlaid by its own, element by element, worked out at compile
//! time; so each rule stands alone when it is asked, and is asked even where its parent does not match (a
//! break-glass permit under a treatment root). The deepest rule that fires wins, and among siblings a deny.

use std::fmt;
use std::sync::Arc;

use super::action::Actions;
use super::actor::Actors;
use super::broad;
use super::coding::Coding;
use super::content::{Classes, Codes, Data};
use super::labels::{Labels, Shown};
use super::matching::{Effect, Match};
use super::period::{Span, Window};
use super::purpose::{Asked, Purposes};
use super::request::{Facts, Request};
use super::unmet::Unmet;

/// Resources that may be meant: all of a type that have one code.
#[derive(Clone, Copy, Debug)]
pub struct Meant<'a> {
    pub kind: &'a str,
    /// Codings, as of (system, code), that each of them claims together.
    pub surely: &'a [(&'a str, &'a str)],
    /// These, and whatever else one of them may claim together with them; nothing where that may be anything.
    pub perhaps: Option<&'a [(&'a str, &'a str)]>,
    /// Security labels that each of them carries; nothing where these may be any.
    pub labels: Option<Carried<'a>>,
}

/// Security labels, as of (system, code).
#[derive(Clone, Copy, Debug)]
pub struct Carried<'a> {
    pub labels: &'a [(&'a str, &'a str)],
    /// Whether they are all; else some confidentiality may stand beside them.
    pub whole: bool,
}

/// Of which of the resources that may be meant something holds; `min` is "and".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Bearing {
    None,
    Some,
    All,
}

/// What must hold for a rule to match; absent elements don't restrict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Conditions {
    pub period: Option<Window>,
    pub action: Option<Actions>,
    pub class: Option<Classes>,
    pub purpose: Option<Purposes>,
    pub data_period: Option<Window>,
    pub labels: Option<Labels>,
    pub code: Option<Codes>,
    pub actor: Option<Actors>,
    pub data: Option<Data>,
    /// Its period, where it is one of the data, begins with the first of them.
    pub reaches_back: bool,
}

impl Conditions {
    /// The conditions of a rule nested in one with these.
    pub fn overlaid_by(&self, own: Conditions) -> Conditions {
        let parent = self.clone();
        Conditions {
            period: own.period.or(parent.period),
            action: own.action.or(parent.action),
            class: own.class.or(parent.class),
            purpose: own.purpose.or(parent.purpose),
            data_period: own.data_period.or(parent.data_period),
            labels: own.labels.or(parent.labels),
            code: own.code.or(parent.code),
            actor: own.actor.or(parent.actor),
            data: own.data.or(parent.data),
            reaches_back: own.reaches_back,
        }
    }

    /// Whether nothing but time restricts the rule.
    pub fn is_general(&self) -> bool {
        *self == Conditions { period: self.period, ..Conditions::default() }
    }

    /// Whether whatever these match, the wider ones match too.
    pub fn only_narrow(&self, wider: &Conditions) -> bool {
        self.overlaid_by(wider.clone()) == *self
    }

    /// Whether the request alone fits, whatever the resource.
    pub fn matches_request(
        &self,
        effect: Effect,
        request: &Request<'_>,
        purpose: Asked<'_>,
        policy: Option<&str>,
    ) -> Match {
        let of_data = self.period_is_of_data(policy);
        ask(self.period.as_ref(), |period| if of_data { Match::Yes } else { period.holds(request.now_ms) })
            .and(|| ask(self.code.as_ref(), |codes| codes.decided_by(policy).unwrap_or(Match::Yes)))
            .and(|| ask(self.action.as_ref(), |action| action.matches(request.action)))
            .and(|| self.speaks_for(effect, purpose))
            .and(|| ask(self.actor.as_ref(), |actors| actors.matches(request.actor)))
    }

    /// Whether it holds no longer. A period of a policy is one of data, which may well be of the past.
    pub fn is_over(&self, now_ms: i64) -> bool {
        let of_policy = self.code.as_ref().is_some_and(Codes::names_policies);
        !of_policy && self.period.and_then(Window::span).is_some_and(|span| span.until <= now_ms)
    }

    /// Whether anything is asked of the resource.
    pub fn is_about_resource(&self, policy: Option<&str>) -> bool {
        let about_codes = self.code.as_ref().is_some_and(|codes| codes.decided_by(policy).is_none());
        self.class.is_some() || about_codes || self.labels.is_some() || self.is_about_more(policy)
    }

    /// Whether anything but its class, its codes and its labels is asked of the resource.
    fn is_about_more(&self, policy: Option<&str>) -> bool {
        let about_date = self.data_period.is_some() || self.period.is_some() && self.period_is_of_data(policy);
        about_date || self.data.is_some()
    }

    /// Whether it asks of a resource what others that say the same may answer otherwise: when it came to be, which it is and
    /// what it refers to.
    pub fn is_about_one(&self) -> bool {
        let of_policy = |codes: &Codes| codes.codings().iter().any(|coding| *coding.system == *broad::SYSTEM);
        let period_of_data = self.period.is_some() && self.code.as_ref().is_some_and(of_policy);
        self.data_period.is_some() || self.data.is_some() || period_of_data
    }

    /// Of which resources what it asks of them holds, as far as is known which are meant. The more codings there are, the
    /// rather each kind of rule fires; but what has none at all may be anything, which refuses.
    pub fn bearing(&self, effect: Effect, policy: Option<&str>, meant: Option<&Meant<'_>>) -> Bearing {
        let Some(meant) = meant else {
            return if self.is_about_resource(policy) { Bearing::Some } else { Bearing::All };
        };
        let of_class = self.class.as_ref().map_or(Bearing::All, |class| {
            if class.matches(meant.kind).fires(effect) { Bearing::All } else { Bearing::None }
        });
        let of_code = match &self.code {
            Some(codes) if codes.decided_by(policy).is_none() => {
                let fires = |codings| codes.matches(codings, policy).fires(effect);
                match () {
                    () if !meant.surely.is_empty() && fires(meant.surely) => Bearing::All,
                    () if fires(meant.surely) || meant.perhaps.is_none_or(fires) => Bearing::Some,
                    () => Bearing::None,
                }
            }
            _ => Bearing::All,
        };
        let of_labels = self.labels.as_ref().map_or(Bearing::All, |labels| labels.bearing(effect, meant.labels));
        let of_more = if self.is_about_more(policy) { Bearing::Some } else { Bearing::All };
        of_class.min(of_code).min(of_labels).min(of_more)
    }

    /// What is asked of the resource, in words.
    pub fn about_resource(&self, effect: Effect) -> String {
        let mut parts = Vec::new();
        let mut part = |name: &str, text: Option<String>| parts.extend(text.map(|text| format!("{name}: {text}")));
        part("class", self.class.as_ref().map(ToString::to_string));
        part("code", self.code.as_ref().map(ToString::to_string));
        part("securityLabel", self.labels.as_ref().map(|labels| Shown(labels, effect).to_string()));
        part("dataPeriod", self.data_period.as_ref().map(ToString::to_string));
        part("data", self.data.as_ref().map(ToString::to_string));
        parts.join("; ")
    }

    /// Most rules of most people are.
    fn is_of_others(&self, asked: &Asking<'_>) -> bool {
        self.actor.as_ref().is_some_and(|actors| !actors.may_be(asked.actor))
    }

    /// Cheap comparisons first.
    fn matches(&self, effect: Effect, asked: &Asking<'_>) -> Match {
        let Asking { request, facts, purpose, policy, .. } = *asked;
        if self.is_of_others(asked) {
            return Match::No;
        }
        ask(self.period.as_ref(), |period| self.in_period(effect, *period, asked))
            .and(|| ask(self.action.as_ref(), |action| action.matches(request.action)))
            .and(|| self.speaks_for(effect, purpose))
            .and(|| ask(self.data_period.as_ref(), |period| period.speaks_of(effect, facts.date_ms)))
            .and(|| ask(self.class.as_ref(), |class| class.matches(facts.kind)))
            .and(|| ask(self.actor.as_ref(), |actors| actors.matches(request.actor)))
            .and(|| ask(self.code.as_ref(), |codes| codes.matches(facts.codings, policy)))
            .and(|| ask(self.labels.as_ref(), |labels| labels.matches(effect, facts.labels)))
            .and(|| ask(self.data.as_ref(), |data| data.matches(facts)))
    }

    /// Whoever says no purpose means them all, but for breaking the glass, which has to be named.
    fn speaks_for(&self, effect: Effect, purpose: Asked<'_>) -> Match {
        match &self.purpose {
            Some(purposes) => purposes.matches(effect, purpose),
            None if effect == Effect::Permit && purpose.breaks_the_glass() => Match::No,
            None => Match::Yes,
        }
    }

    /// A period says when the rule holds, but of data that may be collected, when these came to be.
    fn in_period(&self, effect: Effect, period: Window, asked: &Asking<'_>) -> Match {
        if !self.period_is_of_data(asked.policy) {
            return period.holds(asked.request.now_ms);
        }
        let window = if self.reaches_back { period.without_beginning() } else { period };
        window.speaks_of(effect, asked.facts.date_ms)
    }

    fn period_is_of_data(&self, policy: Option<&str>) -> bool {
        let names = |codes: &Codes| codes.decided_by(policy) == Some(Match::Yes);
        policy.is_some_and(broad::is_about_data) && self.code.as_ref().is_some_and(names)
    }

    /// Whether something holds of its codes.
    pub fn names(&self, holds: fn(&[Coding]) -> bool) -> bool {
        self.code.as_ref().is_some_and(|codes| holds(codes.codings()))
    }

    /// Which conditions of a permit are not met; without facts, which of those about the request.
    pub fn unmet(&self, request: &Request<'_>, purpose: Asked<'_>, facts: Option<&Facts<'_>>) -> Vec<Unmet> {
        const PERMIT: Effect = Effect::Permit;
        let Conditions { period, action, class, purpose: purposes, data_period, labels, code, actor, data, .. } = self;
        let of_request = [
            (Unmet::Period, ask(period.as_ref(), |period| period.holds(request.now_ms))),
            (Unmet::Actor, ask(actor.as_ref(), |actors| actors.matches(request.actor))),
            (Unmet::Action, ask(action.as_ref(), |action| action.matches(request.action))),
            (Unmet::Purpose, ask(purposes.as_ref(), |purposes| purposes.matches(PERMIT, purpose))),
        ];
        let of_resource = facts.map(|facts| {
            [
                (Unmet::Class, ask(class.as_ref(), |class| class.matches(facts.kind))),
                (Unmet::Code, ask(code.as_ref(), |codes| codes.matches(facts.codings, None))),
                (Unmet::SecurityLabel, ask(labels.as_ref(), |labels| labels.matches(PERMIT, facts.labels))),
                (Unmet::DataPeriod, ask(data_period.as_ref(), |period| period.speaks_of(PERMIT, facts.date_ms))),
                (Unmet::Data, ask(data.as_ref(), |data| data.matches(facts))),
            ]
        });
        let all = of_request.into_iter().chain(of_resource.into_iter().flatten());
        all.filter(|(_, met)| !met.fires(PERMIT)).map(|(unmet, _)| unmet).collect()
    }

    fn print(&self, formatter: &mut fmt::Formatter<'_>, effect: Effect, indent: usize) -> fmt::Result {
        let labels = self.labels.as_ref().map(|labels| Shown(labels, effect));
        line(formatter, indent, "period", self.period.as_ref())?;
        line(formatter, indent, "actor", self.actor.as_ref())?;
        line(formatter, indent, "action", self.action.as_ref())?;
        line(formatter, indent, "securityLabel", labels.as_ref())?;
        line(formatter, indent, "purpose", self.purpose.as_ref())?;
        line(formatter, indent, "class", self.class.as_ref())?;
        line(formatter, indent, "code", self.code.as_ref())?;
        line(formatter, indent, "dataPeriod", self.data_period.as_ref())?;
        line(formatter, indent, "data", self.data.as_ref())
    }
}

fn ask<T>(condition: Option<&T>, test: impl FnOnce(&T) -> Match) -> Match {
    condition.map_or(Match::Yes, test)
}

fn line<T: fmt::Display>(
    formatter: &mut fmt::Formatter<'_>,
    indent: usize,
    name: &str,
    condition: Option<&T>,
) -> fmt::Result {
    condition.map_or(Ok(()), |condition| writeln!(formatter, "{:indent$}{name}: {condition}", ""))
}

/// A request and a resource, prepared once for all rules.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub request: &'a Request<'a>,
    pub facts: &'a Facts<'a>,
    pub purpose: Asked<'a>,
    /// The policy of the broad consent that is asked for now.
    pub policy: Option<&'a str>,
    /// The marks of whoever asks.
    pub actor: u64,
}

impl<'a> Asking<'a> {
    pub fn new(request: &'a Request<'a>, facts: &'a Facts<'a>) -> Self {
        Asking { request, facts, purpose: Asked::new(request.purpose), policy: None, actor: request.actor.marks() }
    }
}

/// One `provision` with what it inherited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    pub effect: Effect,
    /// A base that only says what holds where nothing is said: it refuses, but vetoes no other consent.
    pub is_default: bool,
    pub when: Conditions,
    pub nested: Vec<Rule>,
    /// FHIRPath of the provision.
    pub path: Arc<str>,
}

impl Rule {
    /// The rule that decides, if any fires.
    pub fn decide(&self, asked: &Asking<'_>) -> Option<&Rule> {
        let mut permit = None;
        for nested in &self.nested {
            match nested.decide(asked) {
                Some(rule) if rule.effect == Effect::Deny => return Some(rule),
                found => permit = permit.or(found),
            }
        }
        permit.or_else(|| self.when.matches(self.effect, asked).fires(self.effect).then_some(self))
    }

    /// Whether some rule of the tree permits whoever asks something, be it of another resource.
    pub fn permits_something(&self, asked: &Asking<'_>) -> bool {
        let Asking { request, purpose, .. } = *asked;
        let permits = self.effect == Effect::Permit
            && !self.is_default
            && !self.when.is_of_others(asked)
            && self.when.matches_request(Effect::Permit, request, purpose, None).fires(Effect::Permit);
        permits || self.nested.iter().any(|nested| nested.permits_something(asked))
    }

    /// Whether some rule of the tree refuses something for that purpose.
    pub fn refuses_for(&self, purpose: Asked<'_>) -> bool {
        let refuses = self.effect == Effect::Deny
            && !self.is_default
            && self.when.speaks_for(Effect::Deny, purpose).fires(Effect::Deny);
        refuses || self.nested.iter().any(|nested| nested.refuses_for(purpose))
    }

    /// Whether it is the deny at the root of a broad consent: all that is permitted below it goes by policies.
    pub fn leaves_to_policies(&self) -> bool {
        let is_of_policies = |rule: &Rule| rule.when.code.as_ref().is_some_and(Codes::names_policies);
        self.effect == Effect::Deny
            && self.when.code.is_none()
            && !self.nested.is_empty()
            && self.nested.iter().all(is_of_policies)
    }

    /// Every rule of the tree, the outer before the inner.
    pub fn all(&self) -> Vec<&Rule> {
        let mut all = vec![self];
        all.extend(self.nested.iter().flat_map(Rule::all));
        all
    }

    /// Every instant at which some rule of the tree begins or ceases to hold.
    pub fn bounds(&self, into: &mut Vec<i64>) {
        into.extend(self.when.period.and_then(Window::span).into_iter().flat_map(Span::bounds));
        for nested in &self.nested {
            nested.bounds(into);
        }
    }

    pub fn print(&self, formatter: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        let default = if self.is_default { " unless permitted" } else { "" };
        writeln!(formatter, "{:indent$}{}{default} ({})", "", self.effect, self.path)?;
        self.when.print(formatter, self.effect, indent + 4)?;
        self.nested.iter().try_for_each(|nested| nested.print(formatter, indent + 2))
    }
}
