//! Who would get what by which consents, then or now: the same decision as everywhere, for nobody's data but what is given.
//!
//! A person sees what a consent would do before agreeing to it, an operator why something was withheld, an integrator whether
//! two systems read a consent alike. A consent whose `dateTime` lies ahead is taken as given, and the answer says so. The question is plain JSON, the consents and resources are FHIR; the answer names the
//! consent and the rule that decided.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::consents::{self, Subject};
use super::facts::Facts;
use crate::fhir::outcome::{Id, Issue, Reader, full_outcome};
use crate::fhir::tree::time::{Moment, instant};
use crate::fhir::tree::{Document, Element};
use crate::policy::consent::{self, Action, Actor, Basis, Compiled, Decision, Denial, Implicit, Outlook, Reason};

/// The purposes' own system.
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// Where policies of the German broad consent are codes (MII IG Consent 1.0).
const BROAD_CONSENT: &str = "urn:oid:2.16.840.1.113883.3.1937.777.24.5.3";

/// What is asked, as it is written.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Reference to the person; of the resource or the consent if absent.
    patient: Option<String>,
    /// References that the one who asks answers to: itself, its organisation, its groups.
    #[serde(default)]
    actors: OneOrMany<String>,
    #[serde(default)]
    actor_identifiers: Vec<Identifier>,
    /// Roles, as words that implicit policies know, or as codings.
    #[serde(default, alias = "roles")]
    role: OneOrMany<Coded>,
    #[serde(default)]
    purpose: OneOrMany<Coded>,
    action: Option<String>,
    /// What is asked for, beside the resources that are given.
    resource: Option<Value>,
    /// Codes under which it is asked for, beside the resource's own.
    #[serde(default)]
    codes: Vec<Coding>,
    /// The same in the system of the German broad consent.
    #[serde(default)]
    policy_codes: Vec<String>,
}

#[derive(Deserialize, Clone, Debug)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany::Many(Vec::new())
    }
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::Many(many) => many,
            OneOrMany::One(one) => std::slice::from_ref(one),
        }
    }
}

#[derive(Deserialize, Clone, Debug)]
struct Identifier {
    system: String,
    value: String,
}

#[derive(Deserialize, Clone, Debug)]
struct Coding {
    system: String,
    code: String,
}

/// A code of the expected system, or with its own.
#[derive(Deserialize, Clone, Debug)]
#[serde(untagged)]
enum Coded {
    Coding(Coding),
    Code(String),
}

/// Everything that a simulation is about.
pub struct Simulation<'s> {
    pub consents: &'s [Document],
    pub resources: &'s [Document],
    pub asked: &'s Asked,
    /// FHIR dateTime; the present if absent.
    pub now_ms: i64,
    pub implicit: Option<Implicit>,
}

/// What was decided, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Verdict {
    permits: bool,
    reason: &'static str,
    basis: Option<Value>,
    path: Option<String>,
}

/// Reads the question. The error says what is wrong with it.
pub fn asked(text: &str) -> Result<Asked, Issue> {
    serde_json::from_str(text)
        .map_err(|error| Issue::new(Id::JsonSyntax, "", format!("The request cannot be read: {error}.")))
}

/// The moment that a FHIR dateTime begins, in UTC where it says no offset.
pub fn moment_ms(text: &str) -> Option<i64> {
    Moment::parse(text).map(|moment| moment.interval_assuming_utc_ms().0)
}

/// Decides, and says why.
pub fn simulate(simulation: &Simulation<'_>) -> Result<Value, Issue> {
    let wrong = |text: &str| Issue::new(Id::OperationParameter, "", text);
    let mut compiled: Vec<Arc<Compiled>> = Vec::new();
    let mut lint = Vec::new();
    for document in simulation.consents {
        for consent in members(Element::root(document), "Consent") {
            let version = consent.get("meta").and_then(|meta| meta.text_of("versionId")?.parse().ok()).unwrap_or(1);
            let (one, issues) = consent::compile(consent, version);
            compiled.push(Arc::new(one));
            lint.extend(issues);
        }
    }
    let own;
    let mut resources: Vec<Element<'_>> = Vec::new();
    for document in simulation.resources {
        resources.extend(members(Element::root(document), ""));
    }
    if let Some(resource) = &simulation.asked.resource {
        own = crate::fhir::tree::json::parse(resource.to_string())?;
        resources.extend(members(Element::root(&own), ""));
    }
    let action = match simulation.asked.action.as_deref() {
        None => Action::Access,
        Some(code) => [Action::Collect, Action::Disclose, Action::Access]
            .into_iter()
            .find(|action| action.code() == code)
            .ok_or_else(|| wrong("The action is collect, disclose or access."))?,
    };
    let question = Question::new(simulation, action)?;
    let mut listed = Vec::new();
    for element in &resources {
        listed.push((reference(*element), question.about(&compiled, *element)));
    }
    let whole = if listed.is_empty() { question.at_all(&compiled)? } else { question.together(&listed) };
    let shown: Vec<Value> = listed
        .iter()
        .map(|(reference, verdict)| {
            json!({
                "resource": reference,
                "decision": if verdict.permits { "permit" } else { "deny" },
                "reason": verdict.reason,
                "basis": verdict.basis,
                "path": verdict.path,
            })
        })
        .collect();
    let mut answer = whole;
    answer["now"] = json!(instant(simulation.now_ms));
    answer["resources"] = json!(shown);
    let ahead = compiled.iter().filter(|consent| !consents::is_given(consent, simulation.now_ms));
    let ahead: Vec<String> = ahead.map(|consent| format!("Consent/{}", consent.id())).collect();
    if !ahead.is_empty() {
        answer["notYetGiven"] = json!(ahead);
    }
    if !lint.is_empty() {
        answer["lint"] = full_outcome(&lint, Reader::default());
    }
    Ok(answer)
}

/// A question, prepared for every resource.
struct Question<'s> {
    patient: Option<&'s str>,
    actor: Actor,
    roles: Vec<&'s str>,
    /// Each has to be permitted.
    purposes: Vec<String>,
    action: Action,
    now_ms: i64,
    codes: Vec<(&'s str, &'s str)>,
    implicit: Option<Implicit>,
}

impl<'s> Question<'s> {
    fn new(simulation: &'s Simulation<'s>, action: Action) -> Result<Question<'s>, Issue> {
        let asked = simulation.asked;
        let mut actor = Actor {
            references: asked.actors.as_slice().to_vec(),
            identifiers: asked
                .actor_identifiers
                .iter()
                .map(|identifier| (identifier.system.clone(), identifier.value.clone()))
                .collect(),
            roles: Vec::new(),
        };
        let mut roles = Vec::new();
        for role in asked.role.as_slice() {
            match role {
                Coded::Code(word) => roles.push(word.as_str()),
                Coded::Coding(coding) => actor.roles.push((coding.system.clone(), coding.code.clone())),
            }
        }
        let purposes: Vec<String> = asked
            .purpose
            .as_slice()
            .iter()
            .map(|purpose| match purpose {
                Coded::Code(code) => code.clone(),
                Coded::Coding(coding) if coding.system == ACT_REASON => coding.code.clone(),
                Coded::Coding(coding) => format!("{}|{}", coding.system, coding.code),
            })
            .collect();
        let codes = asked.codes.iter().map(|coding| (coding.system.as_str(), coding.code.as_str()));
        let policies = asked.policy_codes.iter().map(|code| (BROAD_CONSENT, code.as_str()));
        Ok(Question {
            patient: asked.patient.as_deref(),
            actor,
            roles,
            purposes: if purposes.is_empty() { vec![String::new()] } else { purposes },
            action,
            now_ms: simulation.now_ms,
            codes: codes.chain(policies).collect(),
            implicit: simulation.implicit,
        })
    }

    /// What is decided of one resource: of all purposes the first that is refused.
    fn about(&self, consents: &[Arc<Compiled>], element: Element<'_>) -> Verdict {
        let mut facts = Facts::of(Arc::from(element.resource_type().unwrap_or_default()), element);
        facts.add_codes(&self.codes);
        let patient = self.patient.or_else(|| subject(element)).unwrap_or_default();
        let patient = patient.strip_prefix("Patient/").unwrap_or(patient);
        let reference = reference(element);
        let subject = Subject { base: "", patient, reference: &reference, facts: &facts };
        let mut last = None;
        for purpose in &self.purposes {
            let request = consent::Request { action: self.action, actor: &self.actor, purpose, now_ms: self.now_ms };
            // As if it were given: what it would do is asked before the person agrees.
            let decided = consents::permit_by(consents, consents, &request, &subject, ());
            let verdict = match decided {
                Ok(permitted) => Verdict::permit(permitted.basis()),
                Err(denial) if denial.reason == Reason::NoConsent => self.unsaid(purpose, Some(&subject)),
                Err(denial) => Verdict::deny(&denial),
            };
            if !verdict.permits {
                return verdict;
            }
            last = Some(verdict);
        }
        last.unwrap_or_else(Verdict::none)
    }

    /// What the implicit policy says where the person has said nothing.
    fn unsaid(&self, purpose: &str, subject: Option<&Subject<'_>>) -> Verdict {
        let Some(policy) = self.implicit else { return Verdict::none() };
        let request = consent::Request { action: self.action, actor: &self.actor, purpose, now_ms: self.now_ms };
        let permits = match subject {
            None => policy.permits(&request, &self.roles, None),
            Some(subject) => {
                let patients = [subject.patient];
                let whole = subject.facts.whole(&patients, subject.reference);
                policy.permits(&request, &self.roles, Some(&whole))
            }
        };
        let basis = Some(json!({"policy": policy.url()}));
        Verdict { permits, reason: "implicit-policy", basis, path: None }
    }

    /// What is decided where no resource is given.
    fn at_all(&self, consents: &[Arc<Compiled>]) -> Result<Value, Issue> {
        let of_consents = consents.iter().find_map(|consent| consent.patient());
        let patient = self.patient.or(of_consents).unwrap_or_default();
        let relative = format!("Patient/{}", patient.strip_prefix("Patient/").unwrap_or(patient));
        let patients = [relative.as_str(), patient];
        let mut answer: Option<(Outlook, Value)> = None;
        for purpose in &self.purposes {
            let request = consent::Request { action: self.action, actor: &self.actor, purpose, now_ms: self.now_ms };
            // A resource of which nothing is known: it shows what decides where nothing speaks of resources.
            let nothing = consent::Facts {
                patients: &patients,
                kind: "",
                reference: "",
                codings: &[],
                labels: &[],
                date_ms: None,
                authors: &[],
                links: &[],
            };
            let decided = consent::decide(consents, &request, &nothing);
            let (outlook, residual, verdict) = match decided {
                Decision::Deny(Denial { reason: Reason::NoConsent, .. }) => {
                    let verdict = self.unsaid(purpose, None);
                    (if verdict.permits { Outlook::Permit } else { Outlook::Deny }, Vec::new(), verdict)
                }
                decided => {
                    let (outlook, residual) = consent::outlook(consents, &request, &patients);
                    let verdict = match &decided {
                        Decision::Permit(basis) => Verdict::permit(basis),
                        Decision::Deny(denial) => Verdict::deny(denial),
                    };
                    (outlook, residual, verdict)
                }
            };
            let reason = match outlook {
                Outlook::Partial => "depends-on-the-resource",
                _ => verdict.reason,
            };
            let mut value = json!({
                "decision": match outlook {
                    Outlook::Permit => "permit",
                    Outlook::Deny => "deny",
                    Outlook::Partial => "partial",
                },
                "reason": reason,
                "basis": verdict.basis,
                "path": verdict.path,
            });
            if !residual.is_empty() {
                let rules: Vec<Value> = residual
                    .iter()
                    .map(|rule| {
                        json!({
                            "type": if rule.permits { "permit" } else { "forbid" },
                            "consent": format!("Consent/{}", rule.consent),
                            "version": rule.version,
                            "path": rule.rule,
                            "conditions": rule.conditions,
                        })
                    })
                    .collect();
                value["residual"] = json!(rules);
            }
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

    /// The decisions on all resources as one.
    fn together(&self, listed: &[(String, Verdict)]) -> Value {
        let permitted = listed.iter().filter(|(_, verdict)| verdict.permits).count();
        let decision = match permitted {
            0 => "deny",
            all if all == listed.len() => "permit",
            _ => "partial",
        };
        let wanted = permitted > 0;
        let first = listed.iter().map(|(_, verdict)| verdict).find(|verdict| verdict.permits == wanted);
        let reason =
            if decision == "partial" { "depends-on-the-resource" } else { first.map_or("", |verdict| verdict.reason) };
        json!({
            "decision": decision,
            "reason": reason,
            "basis": first.and_then(|verdict| verdict.basis.clone()),
            "path": first.and_then(|verdict| verdict.path.clone()),
        })
    }
}

impl Verdict {
    fn permit(basis: &Basis) -> Verdict {
        Verdict { permits: true, reason: "permitted", basis: Some(shown(basis)), path: Some(basis.rule().to_owned()) }
    }

    fn deny(denial: &Denial) -> Verdict {
        let reason = match denial.reason {
            Reason::NoConsent => "no-consent",
            Reason::Denied => "denied",
            Reason::Indeterminate => "indeterminate",
            Reason::NotCovered => "not-covered",
        };
        let basis = denial.basis.as_ref();
        Verdict { permits: false, reason, basis: basis.map(shown), path: basis.map(|basis| basis.rule().to_owned()) }
    }

    fn none() -> Verdict {
        Verdict { permits: false, reason: "no-consent", basis: None, path: None }
    }
}

fn shown(basis: &Basis) -> Value {
    json!({
        "consent": format!("Consent/{}", basis.consent_id()),
        "version": basis.version(),
        "validUntil": basis.valid_until_ms().map(instant),
    })
}

/// The resource itself, or the entries of a Bundle; of one type, if it is named.
fn members<'d>(root: Element<'d>, kind: &str) -> Vec<Element<'d>> {
    let all = match root.resource_type() {
        Some("Bundle") => root.all("entry").filter_map(|entry| entry.get("resource")).collect(),
        _ => vec![root],
    };
    all.into_iter().filter(|element| kind.is_empty() || element.resource_type() == Some(kind)).collect()
}

fn reference(element: Element<'_>) -> String {
    format!("{}/{}", element.resource_type().unwrap_or_default(), element.text_of("id").unwrap_or_default())
}

/// The person whom a resource is about.
fn subject(element: Element<'_>) -> Option<&str> {
    ["subject", "patient", "source"].into_iter().find_map(|name| element.get(name)?.text_of("reference"))
}

#[cfg(test)]
mod tests;
