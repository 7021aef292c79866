//! `POST /devices/{format}`: records of phones and wearables, answered as the batch that they become.

use super::{Request, bundle, create};
use crate::devices::{self, Sender, Zone};
use crate::exchange::Refusal;
use crate::exchange::push::{self, Idempotency};
use crate::fhir::outcome::Id;
use crate::server::negotiate;
use crate::server::reply::Reply;

pub(super) async fn device(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let Some(format) = request.gateway.formats.format(request.matched.format) else {
        return Err(Refusal::one(Id::RouteUnknown, "", "There is no device format of that name."));
    };
    let mut patients = request.query.iter().filter(|(name, _)| name == "patient").map(|(_, value)| value.as_str());
    let patient = patients.next().unwrap_or_default();
    if patients.next().is_some() {
        return Err(Refusal::one(Id::PatientMissing, "", "The address names the person more than once."));
    }
    let zone = zone(request)?;
    let idempotency = create::idempotency(request)?.map(|given| for_person(given, patient));
    if negotiate::of_body(request.headers)? != negotiate::Format::Json {
        return Err(Refusal::one(Id::MediaTypeUnsupported, "", "Records of devices are read as JSON."));
    }
    let document = match devices::read(request.body.as_ref()) {
        Ok(document) => document,
        Err(issue) => return Err(request.gateway.refused(&caller, issue.into()).await),
    };
    let entries = request.gateway.push_device(&caller, &format, &document, (patient, zone), idempotency).await?;
    Ok(bundle::response(request, "batch-response", entries).await)
}

/// `POST /devices/{format}/$explain`: what would become of the records, step by step. Nothing is kept.
pub(super) async fn explain(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let Some(format) = request.gateway.formats.format(request.matched.format) else {
        return Err(Refusal::one(Id::RouteUnknown, "", "There is no device format of that name."));
    };
    let named = request.query.iter().find(|(name, _)| name == "patient").map_or("me", |(_, value)| value.as_str());
    let subject = format!("Patient/{}", named.strip_prefix("Patient/").unwrap_or(named));
    let sender = Sender { subject: &subject, zone: zone(request)? };
    let document = devices::read(request.body.as_ref())?;
    let rules = request.gateway.rules(caller.principal, [], &[]).await?;
    let most = request.gateway.config.bundle_entries;
    let explained = push::explain::explain(&format, &document, &sender, rules.of(None, &[]), most)?;
    Ok(Reply::json(200, &push::explain::as_json(&format, &explained)))
}

/// Where the person was, for senders whose times are local.
fn zone(request: &Request<'_>) -> Result<Option<Zone>, Refusal> {
    let Some((_, name)) = request.query.iter().find(|(name, _)| name == "zone") else { return Ok(None) };
    let unknown = |_| Refusal::one(Id::DeviceRecord, "", "zone is the name of a time zone in the IANA database.");
    Zone::get(name).map(Some).map_err(unknown)
}

/// The same body for another person is another request.
fn for_person(given: Idempotency, patient: &str) -> Idempotency {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&given.hash);
    hasher.update(patient.as_bytes());
    Idempotency { hash: *hasher.finalize().as_bytes(), ..given }
}
