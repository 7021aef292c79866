//! Who would get what by which consents, then or now: the same decision as everywhere, for nobody's data but what is given.
//!
//! A person sees what a consent would do before agreeing to it, an operator why something was withheld, an integrator whether
//! two systems read a consent alike. A consent whose `dateTime` lies ahead is taken as given, and the answer says so. The
//! question is plain JSON or FHIR Parameters, the consents and resources are FHIR; the answer names the consent and the rule
//! that decided, and of every other consent what it was missing.

mod asked;
mod parameters;
mod question;
mod verdict;

use std::sync::Arc;

use serde_json::{Value, json};

use super::consents;
use super::kinds;
use super::recipients::{Identity, Recipient, Recipients};
use super::shape::Shape;
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::{Issue, Reader, full_outcome};
use crate::fhir::tree::Element;
use crate::fhir::tree::time::{Moment, instant};
use crate::policy::consent::{self, Compiled, Implied};
use crate::policy::pseudonym::{self, Names};

pub use asked::{Asked, read as asked};
pub use parameters::{Call, rendered};

use question::Question;
use verdict::{Verdict, listed};

/// Everything that a simulation is about.
#[derive(Clone, Copy)]
pub struct Simulation<'s> {
    /// Consents, or Bundles of them, that are taken as given.
    pub consents: &'s [Element<'s>],
    /// Consents on file: of them only those count that were given by then.
    pub stored: &'s [Element<'s>],
    pub resources: &'s [Element<'s>],
    pub asked: &'s Asked,
    pub now_ms: i64,
    /// What holds where the person has said nothing.
    pub implied: &'s Implied,
    /// Address of the service, because a Consent may name its patient by URL; empty if there is none.
    pub base: &'s str,
    /// Who receives what is taken in, and the client whose data it is.
    pub recipients: Option<(&'s Recipients, &'s str)>,
    /// Whether the person wants what is hers kept and nothing else.
    pub restricted: bool,
    /// The definitions by which it is known what is safe to tell without whose it is; without them nothing is.
    pub registry: Option<&'s Registry>,
}

/// What stands for the names that only the destination's own would be.
const UNNAMED: (&str, &str, &str) = ("name-of-its-own", "name-of-the-person", "name-of-another");

/// The moment that a FHIR dateTime begins, in UTC where it says no offset.
pub fn moment_ms(text: &str) -> Option<i64> {
    Moment::parse(text).map(|moment| moment.interval_assuming_utc_ms().0)
}

/// The consents of a simulation.
struct Consents {
    /// As they count: those on file that were not given yet only refuse.
    counting: Vec<Arc<Compiled>>,
    /// The same, and whether each permits.
    all: Vec<(Arc<Compiled>, bool)>,
    lint: Vec<Issue>,
}

impl Consents {
    fn of(simulation: &Simulation<'_>) -> Consents {
        let mut consents = Consents { counting: Vec::new(), all: Vec::new(), lint: Vec::new() };
        for (documents, on_file) in [(simulation.consents, false), (simulation.stored, true)] {
            for consent in documents.iter().flat_map(|root| members(*root, "Consent")) {
                consents.add(consent, on_file, simulation.now_ms);
            }
        }
        consents
    }

    /// Takes one in; what is proposed stands in the place of what is on file under its id.
    fn add(&mut self, consent: Element<'_>, on_file: bool, now_ms: i64) {
        let version = consent.get("meta").and_then(|meta| meta.text_of("versionId")?.parse().ok()).unwrap_or(1);
        let (one, issues) = consent::compile(consent, version);
        if on_file && !one.id().is_empty() && self.all.iter().any(|(other, _)| other.id() == one.id()) {
            return;
        }
        let beside = consents::beside_rules(consent, &one, now_ms);
        let permits = !on_file || consents::is_given(&one, now_ms);
        // Drafts have no id yet; which of them decided is told by where they stand.
        let one = Arc::new(one.named(&format!("draft-{}", self.all.len() + 1)));
        self.counting.push(if permits { one.clone() } else { Arc::new(one.refusing()) });
        self.all.push((one, permits));
        self.lint.extend(issues.into_iter().chain(beside));
    }
}

/// Decides, and says why.
pub fn simulate(simulation: &Simulation<'_>) -> Result<Value, Issue> {
    let consents = Consents::of(simulation);
    let own;
    let mut resources: Vec<Element<'_>> = simulation.resources.iter().flat_map(|root| members(*root, "")).collect();
    if let Some(resource) = &simulation.asked.resource {
        own = crate::fhir::tree::json::parse(resource.to_string())?;
        resources.extend(members(Element::root(&own), ""));
    }
    let question = Question::new(simulation)?;
    let verdicts: Vec<(String, Verdict)> =
        resources.iter().map(|element| (reference(*element), question.about(&consents, *element))).collect();
    let verdicts = match simulation.asked.identity {
        Some(Identity::Pseudonym) => unnamed(simulation, &resources, verdicts),
        _ => verdicts,
    };
    let mut answer = if verdicts.is_empty() { question.at_all(&consents)? } else { verdict::together(&verdicts) };
    answer["now"] = json!(instant(simulation.now_ms));
    answer["resources"] = listed(&verdicts);
    if let Some((recipients, owner)) = simulation.recipients {
        let told = recipients
            .all
            .iter()
            .map(|recipient| destination(simulation, &question, &consents, &resources, (recipients, recipient, owner)));
        answer["destinations"] = told.collect::<Result<Vec<_>, _>>()?.into();
    }
    let ahead = consents.all.iter().filter(|(consent, _)| !consents::is_given(consent, simulation.now_ms));
    let ahead: Vec<String> = ahead.map(|(consent, _)| format!("Consent/{}", consent.id())).collect();
    if !ahead.is_empty() {
        answer["notYetGiven"] = json!(ahead);
    }
    if !consents.lint.is_empty() {
        answer["lint"] = full_outcome(&consents.lint, Reader::default());
    }
    Ok(answer)
}

/// What a destination of this gateway would receive.
fn destination(
    simulation: &Simulation<'_>,
    question: &Question<'_>,
    consents: &Consents,
    resources: &[Element<'_>],
    (recipients, recipient, owner): (&Recipients, &Recipient, &str),
) -> Result<Value, Issue> {
    let asks = question.of_recipient(&recipient.actor, &recipient.purpose);
    let mut verdicts: Vec<(String, Verdict)> = resources
        .iter()
        .map(|element| {
            let kind = element.resource_type().unwrap_or_default();
            let is_sent = kinds::kind(kind).is_some_and(|rule| rule.deliverable)
                && recipients.routes(kind, *element, owner, &recipient.name);
            let verdict = if is_sent { asks.about(consents, *element) } else { Verdict::not_routed() };
            (reference(*element), verdict)
        })
        .collect();
    if recipient.pseudonym {
        verdicts = unnamed(simulation, resources, verdicts);
    }
    if let Some(shape) = &recipient.shape {
        verdicts = shaped(&shape.now(), resources, verdicts);
    }
    let mut value = if verdicts.is_empty() { asks.at_all(consents)? } else { verdict::together(&verdicts) };
    value["destination"] = json!(&*recipient.name);
    if recipient.pseudonym {
        value["identity"] = json!("pseudonym");
    }
    if let Some(shape) = &recipient.shape {
        value["pack"] = json!(shape.now().pack.name());
    }
    if !verdicts.is_empty() {
        value["resources"] = listed(&verdicts);
    }
    Ok(value)
}

/// What is permitted, as somebody gets it who may not learn whose it is; or that it cannot be told so.
fn unnamed(
    simulation: &Simulation<'_>,
    resources: &[Element<'_>],
    verdicts: Vec<(String, Verdict)>,
) -> Vec<(String, Verdict)> {
    let (own, patient, another) = UNNAMED;
    let names = Names { own, patient, observation: &|_| another.to_owned(), days: 0 };
    let tell = |element: Element<'_>, verdict: Verdict| {
        if !verdict.permits {
            return verdict;
        }
        let told = simulation.registry.and_then(|registry| pseudonym::observation(element, &names, registry));
        match told.and_then(|told| serde_json::from_str(&told).ok()) {
            Some(sent) => Verdict { sent: Some(sent), ..verdict },
            None => verdict.inseparable(),
        }
    };
    let each = resources.iter().zip(verdicts);
    each.map(|(element, (reference, verdict))| (reference, tell(*element, verdict))).collect()
}

/// What is permitted, but has no place or no form there.
fn shaped(shape: &Shape, resources: &[Element<'_>], verdicts: Vec<(String, Verdict)>) -> Vec<(String, Verdict)> {
    let tell = |element: Element<'_>, verdict: Verdict| match shape.pack.takes(element) {
        Err(told) if verdict.permits => verdict.not_deliverable(told),
        _ => verdict,
    };
    let each = resources.iter().zip(verdicts);
    each.map(|(element, (reference, verdict))| (reference, tell(*element, verdict))).collect()
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
