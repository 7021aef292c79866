//! A question, prepared: who asks, for what and when, put to the consents for one resource after the other.

use std::sync::Arc;

use serde_json::{Value, json};

use super::asked::Coded;
use super::verdict::{Verdict, together, told};
use super::{Consents, Simulation, reference, subject};
use crate::exchange::consents::{self, Subject};
use crate::exchange::facts::Facts;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::Element;
use crate::policy::consent::{self, Action, Actor, Decision, Denial, Implied, Outlook, Reason, Residual};

/// The purposes' own system.
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// A question, prepared for every resource.
#[derive(Clone)]
pub(super) struct Question<'s> {
    base: &'s str,
    patient: Option<&'s str>,
    actor: Actor,
    /// Each has to be permitted.
    purposes: Vec<String>,
    action: Action,
    now_ms: i64,
    codes: Vec<(&'s str, &'s str)>,
    policies: Vec<&'s str>,
    implied: Implied,
    /// Whether the person wants what is hers kept and nothing else.
    restricted: bool,
}

impl<'s> Question<'s> {
    pub fn new(simulation: &Simulation<'s>) -> Result<Question<'s>, Issue> {
        let asked = simulation.asked;
        let mut actor = Actor {
            references: asked.actors.clone(),
            identifiers: asked
                .actor_identifiers
                .iter()
                .map(|identifier| (identifier.system.clone(), identifier.value.clone()))
                .collect(),
            roles: Vec::new(),
        };
        let mut roles = Vec::new();
        for role in &asked.role {
            match role {
                Coded::Code(word) => roles.push(word.as_str()),
                Coded::Coding(coding) => actor.roles.push((coding.system.clone(), coding.code.clone())),
            }
        }
        let purposes: Vec<String> = asked
            .purpose
            .iter()
            .map(|purpose| match purpose {
                Coded::Code(code) => code.clone(),
                Coded::Coding(coding) if coding.system == ACT_REASON => coding.code.clone(),
                Coded::Coding(coding) => format!("{}|{}", coding.system, coding.code),
            })
            .collect();
        let codes = asked.codes.iter().map(|coding| (coding.system.as_str(), coding.code.as_str()));
        Ok(Question {
            base: simulation.base,
            patient: asked.patient.as_deref(),
            actor,
            purposes: if purposes.is_empty() { vec![String::new()] } else { purposes },
            action: action(asked.action.as_deref())?,
            now_ms: simulation.now_ms,
            codes: codes.collect(),
            policies: asked.policy_codes.iter().map(String::as_str).collect(),
            implied: simulation.implied.asserting(&roles),
            restricted: simulation.restricted || asked.restricted == Some(true),
        })
    }

    /// The same, asked by a destination that is to receive it.
    pub fn of_recipient(&self, actor: &str, purpose: &str) -> Question<'s> {
        Question {
            actor: Actor::reference(actor),
            implied: self.implied.asserting(&[]),
            purposes: vec![purpose.to_owned()],
            policies: Vec::new(),
            action: Action::Disclose,
            ..self.clone()
        }
    }

    fn request<'q>(&'q self, purpose: &'q str) -> consent::Request<'q> {
        let request = consent::Request {
            action: self.action,
            actor: &self.actor,
            purpose,
            policies: &self.policies,
            now_ms: self.now_ms,
        };
        // Who does research by the broad consent asks under its policies, as when it acts.
        let policies = if self.policies.is_empty() { self.implied.package(&request) } else { &self.policies };
        consent::Request { policies, ..request }
    }

    /// What is decided of one resource: of all purposes the first that is refused.
    pub fn about(&self, consents: &Consents, element: Element<'_>) -> Verdict {
        if self.is_kept_back() {
            return Verdict::deny(&Denial::restricted());
        }
        let mut facts = Facts::of(Arc::from(element.resource_type().unwrap_or_default()), element);
        facts.add_codes(&self.codes);
        if self.is_about_another(element) {
            return Verdict::about_another();
        }
        let patient = self.patient.or_else(|| subject(element)).unwrap_or_default();
        let patient = patient.strip_prefix(self.base).unwrap_or(patient).trim_start_matches('/');
        let patient = patient.strip_prefix("Patient/").unwrap_or(patient);
        let reference = reference(element);
        let patients = consents::names(self.base, patient);
        let subject = Subject { patients: &patients, reference: &reference, facts: &facts };
        let mut last = None;
        for purpose in &self.purposes {
            let request = self.request(purpose);
            let all = &consents.counting;
            let mut verdict = match consents::permit_by(all, all, &self.implied, &request, &subject, ()) {
                Ok(permitted) => Verdict::permit(permitted.basis()),
                Err(denial) => self.denied(consents, purpose, &denial),
            };
            verdict.consents = accounts(consents, &request, &subject);
            if !verdict.permits {
                return verdict;
            }
            last = Some(verdict);
        }
        last.unwrap_or_else(Verdict::none)
    }

    /// Whether a resource says that it is of somebody else than is asked about: consents of one permit nothing of another.
    fn is_about_another(&self, element: Element<'_>) -> bool {
        let id = |reference: &str| {
            let local = reference.strip_prefix(self.base).unwrap_or(reference).trim_start_matches('/').to_owned();
            local.strip_prefix("Patient/").map(str::to_owned)
        };
        let asked = self.patient.map(|patient| id(patient).unwrap_or_else(|| patient.to_owned()));
        let of = match element.resource_type() {
            Some("Patient") => element.text_of("id").map(str::to_owned),
            _ => subject(element).and_then(id),
        };
        asked.zip(of).is_some_and(|(asked, of)| asked != of)
    }

    /// Whether it is not asked of consents at all: what comes in is stored all the same, and nothing else is done.
    fn is_kept_back(&self) -> bool {
        self.restricted && self.action != Action::Collect
    }

    /// A denial; where the person has said nothing, it is the policy's.
    fn denied(&self, consents: &Consents, purpose: &str, denial: &Denial) -> Verdict {
        let is_silent = || !consents.counting.iter().any(|consent| consent.is_withdrawn());
        match self.implied.policy(purpose) {
            Some(policy) if denial.reason == Reason::NoConsent && is_silent() => Verdict::by_policy(false, policy),
            _ => Verdict::deny(denial),
        }
    }

    /// What is decided where no resource is given.
    pub fn at_all(&self, consents: &Consents) -> Result<Value, Issue> {
        if self.is_kept_back() {
            return Ok(together(&[(String::new(), Verdict::deny(&Denial::restricted()))]));
        }
        let of_consents = consents.all.iter().find_map(|(consent, _)| consent.patient());
        let patient = self.patient.or(of_consents).unwrap_or_default();
        let relative = format!("Patient/{}", patient.strip_prefix("Patient/").unwrap_or(patient));
        let absolute = format!("{}/{relative}", self.base);
        let patients = [relative.as_str(), patient, absolute.as_str()];
        let mut answer: Option<(Outlook, Value)> = None;
        for purpose in &self.purposes {
            let (outlook, value) = self.at_all_for(consents, purpose, &patients);
            if outlook == Outlook::Deny {
                return Ok(value);
            }
            if answer.as_ref().is_none_or(|(before, _)| *before == Outlook::Permit) {
                answer = Some((outlook, value));
            }
        }
        let missing = || Issue::new(Id::OperationParameter, "", "There is nothing to decide.");
        answer.map(|(_, value)| value).ok_or_else(missing)
    }

    fn at_all_for(&self, consents: &Consents, purpose: &str, patients: &[&str]) -> (Outlook, Value) {
        let request = self.request(purpose);
        let all = &consents.counting;
        let unsaid = |said| self.implied.permits(said, all, &request, patients, None);
        let (outlook, residual, verdict) = match consent::decide(all, &request, &consent::Facts::unknown(patients)) {
            Decision::Deny(denial) if denial.reason == Reason::NoConsent => match unsaid(Reason::NoConsent) {
                Some(policy) => {
                    let (outlook, _) = consent::outlook(all, &request, patients, true);
                    (outlook, Vec::new(), Verdict::by_policy(true, policy))
                }
                None => (Outlook::Deny, Vec::new(), self.denied(consents, purpose, &denial)),
            },
            decided => {
                let beside = unsaid(Reason::NotCovered);
                let (outlook, residual) = consent::outlook(all, &request, patients, beside.is_some());
                let verdict = match (&decided, beside) {
                    (Decision::Permit(basis), _) => Verdict::permit(basis),
                    (Decision::Deny(_), Some(policy)) if outlook == Outlook::Permit => Verdict::by_policy(true, policy),
                    (Decision::Deny(denial), _) => Verdict::deny(denial),
                };
                (outlook, residual, verdict)
            }
        };
        let (decision, reason) = match outlook {
            Outlook::Permit => ("permit", verdict.reason),
            Outlook::Deny => ("deny", verdict.reason),
            Outlook::Partial => ("partial", "depends-on-the-resource"),
        };
        let mut value = json!({"decision": decision, "reason": reason, "basis": verdict.basis, "path": verdict.path});
        if !residual.is_empty() {
            value["residual"] = residual.iter().map(shown).collect();
        }
        let said = consents
            .all
            .iter()
            .map(|(consent, permits)| told(consent, &consent::account(consent, &request, patients, None, *permits)));
        let said: Vec<Value> = said.collect();
        if !said.is_empty() {
            value["consents"] = said.into();
        }
        (outlook, value)
    }
}

fn action(code: Option<&str>) -> Result<Action, Issue> {
    let Some(code) = code else { return Ok(Action::Access) };
    let mut known = [Action::Collect, Action::Disclose, Action::Access].into_iter();
    let wrong = || Issue::new(Id::OperationParameter, "", "The action is collect, disclose or access.");
    known.find(|action| action.code() == code).ok_or_else(wrong)
}

/// What each consent said of the claim that it matters for: the first that is not permitted.
fn accounts(consents: &Consents, request: &consent::Request<'_>, subject: &Subject<'_>) -> Vec<Value> {
    let patients = subject.patients.each_ref().map(String::as_str);
    let whole = subject.facts.whole(&patients, subject.reference);
    let mut claims = subject.facts.claims(&patients, subject.reference);
    let is_refused = |facts: &consent::Facts<'_>| {
        matches!(
            consent::decide(&consents.counting, request, facts),
            Decision::Deny(Denial { reason: Reason::Denied | Reason::Indeterminate, .. })
        )
    };
    let facts = if is_refused(&whole) {
        whole
    } else {
        claims.find(|claim| !consent::decide(&consents.counting, request, claim).is_permit()).unwrap_or(whole)
    };
    let said = consents.all.iter().map(|(consent, permits)| {
        told(consent, &consent::account(consent, request, &patients, Some(&facts), *permits))
    });
    said.collect()
}

fn shown(rule: &Residual) -> Value {
    json!({
        "type": if rule.permits { "permit" } else { "forbid" },
        "consent": format!("Consent/{}", rule.consent),
        "version": rule.version,
        "path": rule.rule,
        "conditions": rule.conditions,
    })
}
