//! `Consent/$evaluate`: what the consents of a person decide, asked before anybody acts on it.
//!
//! Whoever registered a person wrote the person's consents and may read them, and is told everything: for any actor, at any
//! time, by which rule, and what each destination would receive. Everybody else may ask what it would itself be answered
//! now, and is told no more than it would learn by trying: permitted or not, and never whether there is such a person or
//! what a consent says. A question that brings its own consents along is about nobody on file.

use super::simulate::{self, Call, Simulation};
use super::trail::{Act, Author};
use super::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element, json};
use crate::policy::access::Interaction;
use crate::store::{PatientKey, Stored};
use serde_json::{Value, json as value};

/// How much whoever asks may know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    /// Everything: it may read the consents, or brought them.
    Whole,
    /// What it would learn by trying.
    OwnOutcome,
}

impl Gateway {
    /// Decides as the gateway would, and changes nothing.
    pub async fn evaluate(&self, caller: &Caller<'_>, parameters: &Document) -> Result<Value, Refusal> {
        let mut call = Call::read(Element::root(parameters))?;
        let on_file = call.with_stored.unwrap_or(call.consents.is_empty());
        let patient = match self.person(&call) {
            Some(id) => Some((id.clone(), self.patient_key(&id))),
            None if on_file => return Err(wrong("The parameter patient says whose consents on file are asked.")),
            None => None,
        };
        let sight = match &patient {
            Some((id, _)) if on_file => self.sight(caller, id).await?,
            _ => Sight::Whole,
        };
        if sight == Sight::OwnOutcome {
            only_itself(&call, caller)?;
        }
        call.default_asker(&caller.principal.actor, caller.purpose);
        let present_ms = self.now_ms();
        let now_ms = call.now_ms.unwrap_or(present_ms);
        let stored = match &patient {
            Some((_, key)) if on_file => self.consents_then(*key, now_ms, present_ms).await?,
            _ => Vec::new(),
        };
        let stored: Vec<Document> =
            stored.into_iter().map(|stored| json::parse(stored.payload)).collect::<Result<_, _>>()?;
        let stored: Vec<Element<'_>> = stored.iter().map(Element::root).collect();
        let told = sight == Sight::Whole;
        let restricted = match &patient {
            Some((_, key)) if on_file => self.store.was_restricted(*key, now_ms).await?,
            _ => false,
        };
        let simulation = Simulation {
            consents: &call.consents,
            stored: &stored,
            resources: &call.resources,
            asked: &call.asked,
            now_ms,
            implied: &self.implied,
            base: &self.base,
            recipients: told.then_some((&self.recipients, &*caller.principal.client)),
            restricted,
            registry: Some(&self.registry),
        };
        let answer = simulate::simulate(&simulation)?;
        if on_file && let Some(patient) = &patient {
            self.record_question(caller, patient, sight).await?;
        }
        Ok(if told { answer } else { bare(&answer) })
    }

    /// Id of the person in question.
    fn person(&self, call: &Call<'_>) -> Option<String> {
        let of = |element: &Element<'_>, name: &str| element.get(name)?.text_of("reference").map(str::to_owned);
        let asked = call.asked.patient.clone();
        let named = asked.or_else(|| call.consents.iter().find_map(|consent| of(consent, "patient")))?;
        self.local_reference(&named, "Patient").map(str::to_owned)
    }

    async fn sight(&self, caller: &Caller<'_>, patient: &str) -> Result<Sight, Refusal> {
        let reads = [Interaction::Read, Interaction::Search]
            .iter()
            .any(|interaction| caller.principal.permits("Consent", *interaction).is_ok());
        let registered = self.store.heading("Patient", patient).await?;
        let own = registered.is_some_and(|stored| !stored.deleted && stored.owner == caller.principal.client);
        Ok(if reads && own { Sight::Whole } else { Sight::OwnOutcome })
    }

    /// The person's consents as they stood then; of a time to come, as they stand.
    async fn consents_then(&self, key: PatientKey, then_ms: i64, present_ms: i64) -> Result<Vec<Stored>, Refusal> {
        if then_ms < present_ms {
            return Ok(self.store.consents_then(key, then_ms).await?);
        }
        Ok(self.store.consents(key).await?.1)
    }

    /// The person learns who asked; whoever asked of a stranger does not learn whether there is such a person.
    async fn record_question(
        &self,
        caller: &Caller<'_>,
        patient: &(String, PatientKey),
        sight: Sight,
    ) -> Result<(), Refusal> {
        let author = Author::of(self, caller).with_query("Consent/$evaluate", &[]);
        let mut about = author.record(Act::Query, Some(patient), &[], None, &[]);
        let mut records = Vec::new();
        if sight == Sight::OwnOutcome {
            about = about.kept_from_client();
            records.push(author.record(Act::Query, None, &[], None, &[]));
        }
        if sight == Sight::Whole || self.store.heading("Patient", &patient.0).await?.is_some() {
            records.push(about);
        }
        Ok(self.store.record_audit(records).await?)
    }
}

/// Whoever may not read the consents asks for itself, now, for what it is registered for.
fn only_itself(call: &Call<'_>, caller: &Caller<'_>) -> Result<(), Refusal> {
    let itself = call.asked.actors.as_slice().iter().all(|actor| **actor == *caller.principal.actor)
        && call.asked.actor_identifiers.is_empty()
        && call.asked.role.as_slice().is_empty();
    let purposes = call.purposes().all(|purpose| caller.principal.purposes.iter().any(|own| own == purpose));
    let plain = call.now_ms.is_none()
        && call.consents.is_empty()
        && call.asked.codes.is_empty()
        && call.asked.policy_codes.is_empty()
        && call.asked.restricted.is_none();
    if itself && purposes && plain {
        return Ok(());
    }
    let text = "Of persons whom it did not register a client asks for itself alone: for its own actor and purposes, as things \
                stand now.";
    Err(Refusal::one(Id::ScopeInsufficient, "", text))
}

/// What trying would tell: permitted or not.
fn bare(answer: &Value) -> Value {
    let outcome = |told: &Value| {
        let is_denied = told["decision"] == "deny";
        let reason = if is_denied { value!("not-permitted") } else { told["reason"].clone() };
        value!({"decision": told["decision"], "reason": reason})
    };
    let mut bare = outcome(answer);
    bare["now"] = answer["now"].clone();
    let resources = answer["resources"].as_array().into_iter().flatten().map(|told| {
        let mut one = outcome(told);
        one["resource"] = told["resource"].clone();
        one
    });
    bare["resources"] = resources.collect();
    bare
}

fn wrong(text: &str) -> Refusal {
    Refusal::one(Id::OperationParameter, "", text)
}
