//! What a person has taken back or rejected: after it she has said something, so that nothing is implied by silence.
//!
//! A withdrawal never leaves more permitted than there was before it. Where a policy holds only for those who have said
//! nothing, any consent that was withdrawn or rejected ends it. A policy that stands beside consents ends for whatever the
//! consent was about, for good and not only for as long as the consent would have held; one that cannot be evaluated, or
//! that permitted nothing in particular, was about everything. Whoever withdraws what only refused takes a refusal back, and
//! says nothing by that.

use std::sync::Arc;

use super::compile::{Body, Compiled, Status};
use super::matching::{Effect, Match};
use super::purpose::Asked;
use super::request::{Facts, Request};
use super::unmet::Unmet;

/// What a person no longer permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Withdrawn {
    /// Whether there is anything of the kind.
    pub any: bool,
    /// Whether it was about what is asked for; unknown where that depends on the resource.
    pub this: Match,
}

impl Compiled {
    /// Whether the person took it back or rejected it, and took back more than a refusal.
    pub fn is_withdrawn(&self) -> bool {
        match self.status() {
            Status::Rejected => true,
            Status::Inactive => !self.only_refuses(),
            _ => false,
        }
    }

    fn only_refuses(&self) -> bool {
        let Body::Rules(root) = &self.body else { return false };
        let all = root.all();
        all.iter().all(|rule| rule.effect == Effect::Deny) && all.iter().any(|rule| !rule.is_default)
    }
}

/// What of the consents was withdrawn; without facts, as far as the request alone tells.
pub(super) fn withdrawn(
    consents: &[Arc<Compiled>],
    request: &Request<'_>,
    patients: &[&str],
    facts: Option<&Facts<'_>>,
) -> Withdrawn {
    let mut withdrawn = Withdrawn { any: false, this: Match::No };
    for consent in consents {
        if !consent.is_withdrawn() || !consent.is_about(request) || consent.is_of(patients) == Match::No {
            continue;
        }
        withdrawn.any = true;
        withdrawn.this = withdrawn.this.or(|| was_about(consent, request, facts));
    }
    withdrawn
}

fn was_about(consent: &Compiled, request: &Request<'_>, facts: Option<&Facts<'_>>) -> Match {
    let Body::Rules(root) = &consent.body else { return Match::Yes };
    let rules = root.all();
    if !rules.iter().any(|rule| rule.effect == Effect::Permit) {
        return Match::Yes;
    }
    let purpose = Asked::new(request.purpose);
    let all = rules.into_iter().filter(|rule| !rule.is_default).map(|rule| {
        let unmet = rule.when.unmet(request, purpose, facts);
        let fits = unmet.iter().all(|unmet| *unmet == Unmet::Period);
        Match::of(fits)
            .and(|| if facts.is_some() || !rule.when.is_about_resource(None) { Match::Yes } else { Match::Unknown })
    });
    Match::any(all)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::consent::implied::Config;
    use crate::policy::consent::tests::{NOW, compiled, consent, ms};
    use crate::policy::consent::{Action, Actor, Decision, Implicit, Implied, Outlook, decide, outlook, permit};

    const CLINIC: &str = "Organization/clinic";

    fn rule(kind: &str, actor: &str, more: &Value) -> Value {
        let mut rule = json!({"type": kind, "actor": [{"reference": {"reference": actor}}]});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    }

    fn of(status: &str, provisions: &[Value]) -> Value {
        let mut body = consent("c", Some("OPTIN"), &json!({"provision": provisions}));
        if provisions.is_empty() {
            body.as_object_mut().unwrap().remove("provision");
        }
        body["status"] = json!(status);
        body
    }

    fn implied(policy: &str) -> Implied {
        let config = Config {
            implicit: [("TREAT".to_owned(), policy.to_owned())].into(),
            clinicians: vec![CLINIC.to_owned()],
            ..Config::default()
        };
        Implied::compile(&config).unwrap()
    }

    /// The policies that permit the clinic to read a heart rate, and whatever it is.
    fn check(name: &str, bodies: &[Value], expected: &str, at_all: Outlook) {
        let consents: Vec<_> = bodies.iter().map(compiled).collect();
        let actor = Actor::reference(CLINIC);
        let request =
            Request { action: Action::Access, actor: &actor, purpose: "TREAT", policies: &[], now_ms: ms(NOW) };
        let person = consent("", None, &json!({}))["patient"]["reference"].as_str().unwrap().to_owned();
        let patients = [person.as_str()];
        let codings = [("http://loinc.org", "8867-4")];
        let facts = Facts { codings: &codings, ..Facts::unknown(&patients) };
        let mut by = Vec::new();
        for policy in ["Policy-basic-normal", "ehds-primary-use"] {
            let implied = implied(policy);
            if let Ok(permitted) = permit(&consents, &implied, &request, &facts, [facts].into_iter(), ()) {
                by.push(permitted.basis().by_policy().map_or("consent", Implicit::name));
            }
        }
        assert_eq!(by.join(" "), expected, "{name}");
        let Decision::Deny(denial) = decide(&consents, &request, &Facts::unknown(&patients)) else { return };
        let said = denial.reason;
        let unsaid = implied("ehds-primary-use").permits(said, &consents, &request, &patients, None).is_some();
        assert_eq!(outlook(&consents, &request, &patients, unsaid).0, at_all, "{name}");
    }

    #[test]
    fn a_withdrawal_opens_nothing() {
        use Outlook::{Deny, Partial, Permit};
        let code = |code: &str| json!({"code": [{"coding": [{"system": "http://loinc.org", "code": code}]}]});
        let (heart, weight, any) = (code("8867-4"), code("29463-7"), json!({}));
        let over = json!({"period": {"end": "2001-01-01"}});
        let (app, clinic) = (rule("permit", "Organization/app", &any), rule("permit", CLINIC, &any));
        let no = rule("deny", CLINIC, &any);
        let (both, beside, none) = ("Policy-basic-normal ehds-primary-use", "ehds-primary-use", "");
        check("nothing was said", &[], both, Permit);
        check("somebody else's, in force", &[of("active", std::slice::from_ref(&app))], beside, Permit);
        for status in ["inactive", "rejected"] {
            check("somebody else's", &[of(status, std::slice::from_ref(&app))], beside, Permit);
            check("hers", &[of(status, std::slice::from_ref(&clinic))], none, Deny);
            check("of the same", &[of(status, &[rule("permit", CLINIC, &heart)])], none, Partial);
            check("of another thing", &[of(status, &[rule("permit", CLINIC, &weight)])], beside, Partial);
            check("for good", &[of(status, &[rule("permit", CLINIC, &over)])], none, Deny);
            check("what was refused beside it", &[of(status, &[app.clone(), no.clone()])], none, Deny);
            check("of nothing in particular", &[of(status, &[])], none, Deny);
            let mut unclear = of(status, std::slice::from_ref(&app));
            unclear["implicitRules"] = json!("urn:x");
            check("nobody knows of what", &[unclear], none, Deny);
        }
        check("a refusal that is taken back", &[of("inactive", std::slice::from_ref(&no))], both, Permit);
        check("a refusal that was rejected", &[of("rejected", std::slice::from_ref(&no))], none, Deny);
        for status in ["draft", "proposed", "entered-in-error"] {
            check(status, &[of(status, std::slice::from_ref(&clinic))], both, Permit);
        }
        // What is given later says otherwise, for whom it says so.
        let mut later = of("active", std::slice::from_ref(&clinic));
        later["id"] = json!("later");
        check("given anew", &[of("inactive", &[clinic]), later.clone()], "consent consent", Permit);
        check("after everything", &[of("rejected", &[]), later], "consent consent", Permit);
        let mut others = of("inactive", &[app]);
        others["patient"]["reference"] = json!("Patient/another");
        check("another person's", &[others], both, Permit);
    }
}
