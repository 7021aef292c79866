//! `POST /devices/{format}`: records of phones and wearables, each answered in one word with its reasons.
//!
//! Whoever speaks FHIR gets the batch-response that the records became; whoever asks for `application/json` gets
//! receipts: the sender's own id, the word, the places in its own text.

use serde_json::{Value, json};

use super::{Request, body, bundle, create};
use crate::devices::Format;
use crate::exchange::Refusal;
use crate::exchange::push::{Answered, Entry, Idempotency, Outcome};
use crate::exchange::receipts::{self, Word};
use crate::fhir::outcome::Id;
use crate::server::negotiate;
use crate::server::reply::{Body, Reply};

pub(super) async fn device(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let format = format(request.matched.format)?;
    let patient = patient(request)?;
    let idempotency = create::idempotency(request)?.map(|given| for_person(given, patient));
    if negotiate::of_body(request.headers)? != negotiate::Format::Json {
        return Err(Refusal::one(Id::MediaTypeUnsupported, "", "Records of devices are read as JSON."));
    }
    let document = body::recorded(request, &caller).await?;
    let answers = request.gateway.push_device(&caller, format, &document, patient, idempotency).await?;
    if negotiate::wants_receipts(request.headers) {
        return Ok(receipts(&request.gateway.base, format, &answers));
    }
    let linked = |answered: Answered| {
        let link = answered.id.map(|id| link(&request.gateway.base, format, &id));
        (Entry::Pushed(answered.outcome), link)
    };
    Ok(bundle::response(request, "batch-response", answers.into_iter().map(linked)).await)
}

/// The format that an address names.
pub(super) fn format(name: &str) -> Result<Format, Refusal> {
    Format::named(name).ok_or_else(|| Refusal::one(Id::RouteUnknown, "", "There is no device format of that name."))
}

/// The person that the address names.
pub(super) fn patient<'r>(request: &'r Request<'_>) -> Result<&'r str, Refusal> {
    let mut patients = request.query.iter().filter(|(name, _)| name == "patient").map(|(_, value)| value.as_str());
    let patient = patients.next().unwrap_or_default();
    if patients.next().is_some() {
        return Err(Refusal::one(Id::PatientMissing, "", "The address names the person more than once."));
    }
    Ok(patient)
}

/// The same body for another person is another request.
fn for_person(given: Idempotency, patient: &str) -> Idempotency {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&given.hash);
    hasher.update(patient.as_bytes());
    Idempotency { hash: *hasher.finalize().as_bytes(), ..given }
}

/// Where it is told again what became of a record.
fn link(base: &str, format: Format, id: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("format", format.name())
        .append_pair("id", id)
        .finish();
    format!("{}/receipts?{query}", base.trim_end_matches("/fhir"))
}

fn receipts(base: &str, format: Format, answers: &[Answered]) -> Reply {
    let mut counts = json!({});
    for word in Word::ALL {
        counts[word.code()] = answers.iter().filter(|answered| answered.word() == word).count().into();
    }
    let listed: Vec<Value> = answers.iter().map(|answered| receipt(base, answered)).collect();
    let value = json!({"format": format.name(), "counts": counts, "receipts": listed});
    Reply::new(200, Body::Json(value.to_string().into_bytes()))
}

fn receipt(base: &str, answered: &Answered) -> Value {
    let mut value = json!({});
    if let Some(id) = &answered.id {
        value["id"] = id.as_str().into();
    }
    value["outcome"] = answered.word().code().into();
    value["pointer"] = answered.pointer.as_str().into();
    let issues = match &answered.outcome {
        Outcome::Kept(kept) => {
            value["resource"] = format!("{base}/{}/{}", kept.kind, kept.id).into();
            value["version"] = kept.version.into();
            &kept.warnings
        }
        Outcome::Refused(refusal) => {
            value["status"] = refusal.status().into();
            &refusal.issues
        }
    };
    if !issues.is_empty() {
        value["issues"] = issues.iter().map(receipts::plain).collect();
    }
    value
}
