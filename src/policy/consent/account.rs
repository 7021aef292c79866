//! What each consent of a person said to a request, and what was missing where it said nothing.
//!
//! The decision names one consent; a person who wonders why nothing was permitted wants to hear of each which of its
//! conditions was not met: another actor, another purpose, no longer in force. Of several permits the one that comes
//! nearest is told. It is for whoever may read the consents: to others it would tell what stands in them.

use std::sync::Arc;

use super::compile::{Body, Compiled, Status};
use super::decide::{Voice, hear};
use super::matching::{Effect, Match};
use super::purpose::Asked;
use super::request::{Facts, Request};
use super::rule::{Asking, Rule};
use super::unmet::Unmet;

/// What a consent said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Says {
    Permits,
    Refuses,
    /// It cannot be evaluated, which refuses.
    Unclear,
    /// It speaks of some resources, and none is asked about.
    Depends,
    Nothing,
}

impl Says {
    pub fn code(self) -> &'static str {
        match self {
            Says::Permits => "permits",
            Says::Refuses => "refuses",
            Says::Unclear => "unclear",
            Says::Depends => "depends",
            Says::Nothing => "nothing",
        }
    }
}

/// One consent's part in a decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub says: Says,
    /// FHIRPath of the rule that spoke, or of the permit that comes nearest.
    pub rule: Option<Arc<str>>,
    pub unmet: Vec<Unmet>,
}

impl Account {
    fn silent(unmet: Unmet) -> Account {
        Account { says: Says::Nothing, rule: None, unmet: vec![unmet] }
    }
}

/// What a consent says to a request about a resource; without facts, as far as the request alone tells. `is_given` is
/// whether the person has given it by now.
pub fn account(
    consent: &Compiled,
    request: &Request<'_>,
    patients: &[&str],
    facts: Option<&Facts<'_>>,
    is_given: bool,
) -> Account {
    let concerns = consent.concerns(request, patients);
    if concerns == Match::No {
        return Account::silent(if !matches!(consent.status(), Status::Active | Status::Unknown) {
            Unmet::Status
        } else if consent.is_about(request) {
            Unmet::Patient
        } else {
            Unmet::Scope
        });
    }
    if !consent.is_in_force(request.now_ms) {
        return Account::silent(Unmet::Period);
    }
    let nothing = Facts::unknown(patients);
    let asked = Asking::new(request, facts.unwrap_or(&nothing));
    let (voice, rule) = hear(consent, concerns, &asked);
    let spoke = |says| Account { says, rule: Some(Arc::clone(rule)), unmet: Vec::new() };
    let about_resource = || match &consent.body {
        Body::Rules(root) => {
            root.all().into_iter().any(|other| other.path == *rule && other.when.is_about_resource(None))
        }
        Body::Indeterminate { .. } => false,
    };
    match voice {
        Voice::Refuses if facts.is_none() && about_resource() => spoke(Says::Depends),
        Voice::Permits if is_given => spoke(Says::Permits),
        Voice::Permits => Account { unmet: vec![Unmet::DateTime], ..spoke(Says::Nothing) },
        Voice::Refuses => spoke(Says::Refuses),
        Voice::Unclear => spoke(Says::Unclear),
        Voice::Silent => match &consent.body {
            Body::Rules(_) if !consent.is_permissive() => Account::silent(Unmet::Scope),
            Body::Rules(root) => nearest(consent, root, request, asked.purpose, facts, is_given),
            Body::Indeterminate { .. } => spoke(Says::Unclear),
        },
    }
}

/// Of a consent that says nothing: its permit that misses the least.
fn nearest(
    consent: &Compiled,
    root: &Rule,
    request: &Request<'_>,
    purpose: Asked<'_>,
    facts: Option<&Facts<'_>>,
    is_given: bool,
) -> Account {
    let permits = root.all().into_iter().filter(|rule| rule.effect == Effect::Permit);
    let missed = permits.map(|rule| (rule.when.unmet(request, purpose, facts), &rule.path));
    let Some((mut unmet, path)) = missed.min_by(|one, other| (one.0.len(), one.1).cmp(&(other.0.len(), other.1)))
    else {
        return Account::silent(Unmet::Provision);
    };
    for (missing, holds) in [(Unmet::Verification, consent.is_verified(request.now_ms)), (Unmet::DateTime, is_given)] {
        if !holds {
            unmet.insert(0, missing);
        }
    }
    // Whatever the request alone can meet is met: the rest is the resource's.
    let says = if unmet.is_empty() && facts.is_none() { Says::Depends } else { Says::Nothing };
    Account { says, rule: Some(Arc::clone(path)), unmet }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::consent::tests::{NOW, compiled, consent, ms};
    use crate::policy::consent::{Action, Actor};

    fn rule() -> Value {
        json!({"type": "deny", "provision": [{
            "type": "permit",
            "actor": [{"reference": {"reference": "Organization/1"}}],
            "action": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "access"}]}],
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
            "code": [{"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}],
        }]})
    }

    /// The only place that knows how a case becomes a call.
    fn check(name: &str, change: &dyn Fn(&mut Value), actor: &str, purpose: &str, code: &str, expected: &str) {
        let mut body = consent("c", Some("OPTIN"), &rule());
        change(&mut body);
        let codings = [("http://loinc.org", code)];
        let patients = [body["patient"]["reference"].as_str().unwrap_or_default().to_owned()];
        let patients = [patients[0].as_str()];
        let facts = Facts {
            patients: &patients,
            kind: "Observation",
            reference: "Observation/1",
            codings: &codings,
            labels: &[],
            date_ms: None,
            authors: &[],
            links: &[],
        };
        let actor = Actor::reference(actor);
        let request = Request { action: Action::Access, actor: &actor, purpose, policies: &[], now_ms: ms(NOW) };
        let compiled = compiled(&body);
        let is_given = compiled.given_ms().is_none_or(|given_ms| given_ms <= ms(NOW));
        let told = account(&compiled, &request, &patients, Some(&facts), is_given);
        let unmet: Vec<&str> = told.unmet.iter().map(|unmet| unmet.code()).collect();
        assert_eq!(format!("{} {}", told.says.code(), unmet.join(" ")).trim_end(), expected, "{name}");
    }

    #[test]
    fn each_consent_says_what_was_missing() {
        let same = |_: &mut Value| {};
        let (one, two, heart) = ("Organization/1", "Organization/2", "8867-4");
        check("all is met", &same, one, "TREAT", heart, "permits");
        check("actor", &same, two, "TREAT", heart, "nothing actor");
        check("purpose", &same, one, "HRESCH", heart, "nothing purpose");
        check("no purpose", &same, one, "", heart, "nothing purpose");
        check("all", &same, two, "HRESCH", "1", "nothing actor purpose code");
        let set = |member: &'static str, value: Value| move |body: &mut Value| body[member] = value.clone();
        check("status", &set("status", json!("inactive")), one, "TREAT", heart, "nothing status");
        check("not given", &set("dateTime", json!("2999")), one, "TREAT", heart, "nothing dateTime");
        let doubted = set("verification", json!([{"verified": false}]));
        check("not verified", &doubted, one, "TREAT", heart, "nothing verification");
        let ended = |body: &mut Value| body["provision"]["period"] = json!({"end": "2001"});
        check("no longer in force", &ended, one, "TREAT", heart, "nothing period");
        let research = |body: &mut Value| body["scope"]["coding"][0]["code"] = json!("research");
        check("another scope", &research, one, "TREAT", heart, "nothing scope");
        let refuses = |body: &mut Value| body["provision"]["provision"][0]["type"] = json!("deny");
        check("a deny", &refuses, one, "TREAT", heart, "refuses");
        let empty = |body: &mut Value| drop(body["provision"].as_object_mut().unwrap().remove("provision"));
        check("nothing in it", &empty, one, "TREAT", heart, "refuses");
    }

    #[test]
    fn without_a_resource_it_depends_on_it() {
        let actor = Actor::reference("Organization/1");
        let request =
            Request { action: Action::Access, actor: &actor, purpose: "TREAT", policies: &[], now_ms: ms(NOW) };
        for (kind, expected) in [("permit", "depends"), ("deny", "depends")] {
            let mut body = consent("c", Some("OPTIN"), &rule());
            body["provision"]["provision"][0]["type"] = json!(kind);
            let patient = body["patient"]["reference"].as_str().unwrap().to_owned();
            let told = account(&compiled(&body), &request, &[&patient], None, true);
            assert_eq!((told.says.code(), told.unmet.as_slice()), (expected, [].as_slice()), "{kind}");
            assert_eq!(told.rule.as_deref(), Some("Consent.provision.provision[0]"), "{kind}");
        }
    }

    #[test]
    fn of_several_permits_the_nearest_is_told() {
        let mut body = consent("c", Some("OPTIN"), &rule());
        let mut other = rule()["provision"][0].clone();
        other["actor"][0]["reference"]["reference"] = json!("Organization/2");
        other["purpose"][0]["code"] = json!("HRESCH");
        body["provision"]["provision"].as_array_mut().unwrap().insert(0, other);
        let compiled = compiled(&body);
        let actor = Actor::reference("Organization/1");
        let request =
            Request { action: Action::Collect, actor: &actor, purpose: "TREAT", policies: &[], now_ms: ms(NOW) };
        let patient = body["patient"]["reference"].as_str().unwrap();
        let told = account(&compiled, &request, &[patient], None, true);
        assert_eq!(
            (told.unmet.as_slice(), told.rule.as_deref()),
            ([Unmet::Action].as_slice(), Some("Consent.provision.provision[1]"))
        );
    }
}
