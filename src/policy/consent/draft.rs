//! A plain, valid R4 Consent from a few facts: for the demo, the command line and tests.
//!
//! Refuses by default (`OPTIN`, root `deny`) and permits what is listed, so that two drafts of one person add up
//! instead of vetoing each other.

use serde_json::{Value, json};

use super::action::{self, Action};
use super::purpose;
use crate::fhir::tree::time::instant;

/// What a person allows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Draft {
    /// Reference to the person, e.g. `Patient/1`.
    pub patient: String,
    /// When it was given.
    pub made_ms: i64,
    pub permits: Vec<Permit>,
    /// First millisecond at which it no longer holds.
    pub until_ms: Option<i64>,
}

/// One thing that is allowed; empty lists don't restrict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Permit {
    /// Reference to whom it is allowed, e.g. `Organization/54`.
    pub actor: String,
    pub actions: Vec<Action>,
    /// Codes of v3-ActReason.
    pub purposes: Vec<String>,
    /// Codings of the data as (system, code).
    pub codings: Vec<(String, String)>,
    /// First millisecond, and first one behind it.
    pub period_ms: (Option<i64>, Option<i64>),
}

impl Draft {
    pub fn consent(&self) -> Value {
        let mut provision = json!({"type": "deny"});
        put(&mut provision, "period", period((None, self.until_ms)));
        put(&mut provision, "provision", list(self.permits.iter().map(Permit::provision)));
        json!({
            "resourceType": "Consent",
            "status": "active",
            "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
            "category": [concept("http://loinc.org", "59284-0")],
            "patient": {"reference": self.patient},
            "dateTime": instant(self.made_ms),
            "policyRule": concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"),
            "provision": provision,
        })
    }
}

impl Permit {
    fn provision(&self) -> Value {
        let mut provision = json!({
            "type": "permit",
            "actor": [{
                "role": concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
                "reference": {"reference": self.actor},
            }],
        });
        put(&mut provision, "period", period(self.period_ms));
        put(&mut provision, "action", list(self.actions.iter().map(|action| concept(action::SYSTEM, action.code()))));
        put(&mut provision, "purpose", list(self.purposes.iter().map(|code| coding(purpose::SYSTEM, code))));
        put(&mut provision, "code", list(self.codings.iter().map(|(system, code)| concept(system, code))));
        provision
    }
}

/// FHIR allows no empty arrays or objects, so what says nothing is left out.
fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[name] = value;
    }
}

fn list(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then(|| items.into())
}

/// A Period's end is inclusive, so the last millisecond is written.
fn period((from, until): (Option<i64>, Option<i64>)) -> Option<Value> {
    let mut period = json!({});
    put(&mut period, "start", from.map(|from| instant(from).into()));
    put(&mut period, "end", until.map(|until| instant(until - 1).into()));
    (from.is_some() || until.is_some()).then_some(period)
}

fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

fn concept(system: &str, code: &str) -> Value {
    json!({"coding": [coding(system, code)]})
}
