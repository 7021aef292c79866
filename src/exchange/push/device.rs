//! What devices send: each record becomes an Observation and goes the way of every other push.
//!
//! Records stand alone, as the entries of a batch do. A record that could not be converted is a refusal among the
//! others, so that one transaction and one audit tell of the whole request.

use std::sync::Arc;

use super::commit::Atomicity;
use super::prepare::{self, Examined, Prepared};
use super::{Entry, Idempotency, Intent, Outcome};
use crate::devices::{Format, Record, Sender, Zone};
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::{Id, Issue, Position};
use crate::fhir::tree::{Document, json};
use crate::fhir::validate::Validator;

const KIND: &str = "Observation";

impl Gateway {
    /// `POST /devices/{format}?patient=…`. One entry a record, in the order sent; the error refuses them all.
    pub async fn push_device(
        &self,
        caller: &Caller<'_>,
        format: &Format,
        document: &Document,
        (patient, zone): (&str, Option<Zone>),
        idempotency: Option<Idempotency>,
    ) -> Result<Vec<Entry>, Refusal> {
        let patient = patient.strip_prefix("Patient/").unwrap_or(patient);
        if !is_id(patient) {
            return Err(Refusal::one(Id::PatientMissing, "", "The address does not name the person as patient=id."));
        }
        let subject = format!("Patient/{patient}");
        let sender = Sender { subject: &subject, zone };
        let records = format.convert(document, &sender, self.config.bundle_entries)?;
        let validator = self.rules(caller.principal, [], &[]).await?.of(None, &[]);
        let mut examined: Vec<Result<Examined, Refusal>> = Vec::with_capacity(records.len());
        let mut lost: Vec<Vec<Issue>> = Vec::with_capacity(records.len());
        for Record { observation, issues, .. } in records {
            examined.push(match observation {
                Some(observation) => self.examine_record(validator, caller, observation),
                None => Err(issues.clone().into()),
            });
            lost.push(issues);
        }
        let told = self.told(examined.iter().flatten().flat_map(|record| record.checked.questions())).await;
        let conclude =
            |record: Examined| prepare::conclude(self, caller, record, &told, Arc::default()).map_err(without_places);
        let prepared: Vec<Result<Prepared, Refusal>> =
            examined.into_iter().map(|record| record.and_then(conclude)).collect();
        let outcomes = self.commit(caller, prepared, Atomicity::EachAlone, idempotency).await?;
        Ok(outcomes.into_iter().zip(lost).map(|(outcome, lost)| Entry::Pushed(with(outcome, lost))).collect())
    }

    fn examine_record(
        &self,
        validator: &Validator,
        caller: &Caller<'_>,
        observation: String,
    ) -> Result<Examined, Refusal> {
        let document = Arc::new(json::parse(observation)?);
        let intent = Intent::Create { condition: None };
        prepare::one(self, validator, caller, KIND, &document, intent).map_err(without_places)
    }
}

/// The Observation is our own text: its lines and columns would mislead, its paths are FHIR's.
fn without_places(mut refusal: Refusal) -> Refusal {
    without_positions(&mut refusal.issues);
    refusal
}

/// An outcome with what was lost on the way to FHIR.
fn with(outcome: Outcome, lost: Vec<Issue>) -> Outcome {
    match outcome {
        Outcome::Kept(mut kept) => {
            without_positions(&mut kept.warnings);
            kept.warnings.extend(lost);
            Outcome::Kept(kept)
        }
        refused @ Outcome::Refused(_) => refused,
    }
}

fn without_positions(issues: &mut [Issue]) {
    for issue in issues {
        issue.position = Position::default();
    }
}
