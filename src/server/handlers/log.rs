//! The transparency log: its key, its signed head, its tiles (C2SP tlog-tiles), and the proof of one record.

use hyper::header::CACHE_CONTROL;

use super::Request;
use crate::exchange::Refusal;
use crate::fhir::outcome::Id;
use crate::server::problem;
use crate::server::reply::{Body, Reply};
use crate::tlog::Address;

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn key(request: &Request<'_>) -> Reply {
    text(format!("{}\n", request.gateway.log_key()))
}

pub(super) async fn checkpoint(request: &Request<'_>) -> Result<Reply, Refusal> {
    Ok(text(request.gateway.log_checkpoint().await?).with(CACHE_CONTROL, "no-cache"))
}

/// A tile, or one that is not full yet: neither ever changes.
pub(super) async fn tile(request: &Request<'_>) -> Result<Reply, Refusal> {
    let Ok(address) = Address::parse(request.matched.file) else { return Ok(problem::route_unknown()) };
    let Some(bytes) = request.gateway.log_tile(address).await? else { return Ok(problem::route_unknown()) };
    let file = Body::File { media_type: "application/octet-stream", bytes };
    Ok(Reply::new(200, file).with(CACHE_CONTROL, "public, max-age=31536000, immutable"))
}

pub(super) async fn proof(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let patient = request.query.iter().find(|(name, _)| name == "patient").map(|(_, value)| value.as_str());
    let missing = || Refusal::one(Id::SearchValue, "", "The address names the person as patient=id.");
    let patient = patient.ok_or_else(missing)?;
    Ok(text(request.gateway.audit_proof(&caller, request.matched.id, patient).await?))
}

fn text(text: String) -> Reply {
    Reply::new(200, Body::File { media_type: TEXT, bytes: text.into_bytes() })
}
