//! What a request would get before it is known which resources it is about: everything, nothing, or some.
//!
//! A rule whose conditions speak of the resource may match one and not another. So each rule tree is asked which answers
//! it could give at all, and the answers of all consents are put together as [`decide`](super::decide) does. What may
//! restrict the answer is named rule by rule: the residual that a reader of ITI-71 tokens knows.

use std::sync::Arc;

use super::compile::{Body, Compiled};
use super::matching::{Effect, Match};
use super::period::Span;
use super::purpose::Asked;
use super::request::Request;
use super::rule::{Bearing, Meant, Rule};
use super::withdrawn::withdrawn;

/// The answer to a request without a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outlook {
    /// Whatever the resource.
    Permit,
    Deny,
    /// It depends on the resource.
    Partial,
}

/// A rule that says which resources are permitted or refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Residual {
    pub consent: String,
    pub version: u32,
    pub permits: bool,
    /// FHIRPath of the rule inside the Consent.
    pub rule: String,
    /// What the resource must be, in words.
    pub conditions: String,
}

/// What one rule tree could answer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Answers {
    permit: bool,
    deny: bool,
    /// Nothing, or only its default.
    silent: bool,
}

impl Answers {
    fn must_deny(self) -> bool {
        self.deny && !self.permit && !self.silent
    }

    fn must_permit(self) -> bool {
        self.permit && !self.deny && !self.silent
    }
}

/// What the consents of a person could answer. `unsaid` is whether a policy permits what they leave unsaid, or
/// at least what of it was not withdrawn.
pub fn outlook(
    consents: &[Arc<Compiled>],
    request: &Request<'_>,
    patients: &[&str],
    unsaid: bool,
) -> (Outlook, Vec<Residual>) {
    let mut residual = Vec::new();
    let note = &mut |consent: &Compiled, rule: &Rule, about_resource: bool| {
        if about_resource && !rule.is_default {
            residual.push(Residual {
                consent: consent.id().to_owned(),
                version: consent.version(),
                permits: rule.effect == Effect::Permit,
                rule: rule.path.to_string(),
                conditions: rule.when.about_resource(rule.effect),
            });
        }
    };
    let outlook = over(consents, request, patients, unsaid, None, note);
    if outlook != Outlook::Partial {
        residual.clear();
    }
    (outlook, residual)
}

/// Of which dates some of the resources that are meant might be permitted, half open, in milliseconds: what is permitted lies
/// wholly inside. Nothing where none of them can be, whatever its date.
pub fn permitted_dates(
    consents: &[Arc<Compiled>],
    request: &Request<'_>,
    patients: &[&str],
    unsaid: bool,
    meant: &Meant<'_>,
) -> Option<(i64, i64)> {
    const ALWAYS: (i64, i64) = (Span::ALWAYS.from, Span::ALWAYS.until);
    let mut dates = unsaid.then_some(ALWAYS);
    let note = &mut |_: &Compiled, rule: &Rule, _| {
        if rule.effect == Effect::Permit
            && let Some((from, until)) =
                rule.when.data_period.map_or(Some(ALWAYS), |window| window.span().map(|span| (span.from, span.until)))
        {
            dates = Some(dates.map_or((from, until), |(first, last)| (first.min(from), last.max(until))));
        }
    };
    let outlook = over(consents, request, patients, unsaid, Some(meant), note);
    dates.filter(|_| outlook != Outlook::Deny)
}

/// Is told of each rule that may fire, and whether it depends on the resource.
type Note<'a> = &'a mut dyn FnMut(&Compiled, &Rule, bool);

fn over(
    consents: &[Arc<Compiled>],
    request: &Request<'_>,
    patients: &[&str],
    unsaid: bool,
    meant: Option<&Meant<'_>>,
    note: Note<'_>,
) -> Outlook {
    let purpose = Asked::new(request.purpose);
    let partly = withdrawn(consents, request, patients, None).this == Match::Unknown;
    let (mut may_permit, mut must_permit, mut may_deny, mut must_deny) = (unsaid, unsaid && !partly, false, false);
    for consent in consents {
        let concerns = consent.concerns(request, patients);
        if concerns == Match::No || !consent.is_in_force(request.now_ms) {
            continue;
        }
        let answers = match &consent.body {
            Body::Rules(root) if concerns == Match::Yes => {
                let asked = Prospect { request, purpose, policy: None, consent, meant };
                let mut each = request.policies.iter().map(|policy| Prospect { policy: Some(*policy), ..asked });
                // Of several policies each has to be permitted.
                let all = each.by_ref().map(|asked| possible(root, &asked, note));
                let all = all.reduce(|one, other| Answers {
                    permit: one.permit && other.permit,
                    deny: one.deny || other.deny,
                    silent: one.silent || other.silent,
                });
                let mut answers = all.unwrap_or_else(|| possible(root, &asked, note));
                if answers.permit && !consent.may_permit(request.now_ms) {
                    answers = Answers { permit: false, silent: true, ..answers };
                }
                answers
            }
            _ => Answers { deny: true, ..Answers::default() },
        };
        may_permit |= answers.permit;
        must_permit |= answers.must_permit();
        may_deny |= answers.deny;
        must_deny |= answers.must_deny();
    }
    match () {
        () if must_deny || !may_permit => Outlook::Deny,
        () if must_permit && !may_deny => Outlook::Permit,
        () => Outlook::Partial,
    }
}

/// What is asked of one consent.
#[derive(Clone, Copy)]
struct Prospect<'a> {
    request: &'a Request<'a>,
    purpose: Asked<'a>,
    policy: Option<&'a str>,
    consent: &'a Compiled,
    /// Which resources are meant, where that is known.
    meant: Option<&'a Meant<'a>>,
}

fn possible(rule: &Rule, asked: &Prospect<'_>, note: Note<'_>) -> Answers {
    let Prospect { request, purpose, policy, consent, meant } = *asked;
    let nested: Vec<Answers> = rule.nested.iter().map(|nested| possible(nested, asked, note)).collect();
    let mut answers = Answers { deny: nested.iter().any(|nested| nested.deny), ..Answers::default() };
    if nested.iter().any(|nested| nested.must_deny()) {
        return answers;
    }
    answers.permit = nested.iter().any(|nested| nested.permit);
    // A nested rule that permits wherever it does not deny leaves nothing to this one.
    if nested.iter().any(|nested| nested.permit && !nested.silent) {
        return answers;
    }
    let on_request = rule.when.matches_request(rule.effect, request, purpose, policy);
    let bearing = rule.when.bearing(rule.effect, policy, meant);
    let about_resource = bearing == Bearing::Some;
    let fires = on_request.fires(rule.effect) && bearing != Bearing::None;
    if fires {
        note(consent, rule, about_resource);
    }
    match rule.effect {
        Effect::Deny if rule.is_default || policy.is_some() && rule.leaves_to_policies() => answers.silent = true,
        Effect::Permit => {
            answers.permit |= fires;
            answers.silent |= !fires || about_resource;
        }
        Effect::Deny => {
            answers.deny |= fires;
            answers.silent |= !fires || about_resource;
        }
    }
    answers
}
