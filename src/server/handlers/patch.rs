//! `PATCH [base]/[type]/[id]` (R4 §3.1.0.8): the resource as it stands, changed, goes the way of a PUT.

use super::{Request, body, update};
use crate::exchange::push::Patch;
use crate::exchange::{Caller, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::validate;
use crate::server::negotiate::{self, Format};
use crate::server::reply::Reply;

pub(super) async fn patch(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    patched(request, &caller, request.matched.id).await
}

/// `PATCH [base]/[type]?…` of what a search names.
pub(super) async fn conditional(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let found = request.gateway.meant(&caller, request.matched.kind, &request.query).await?;
    let id = found.ok_or_else(Refusal::not_found)?;
    patched(request, &caller, &id).await
}

async fn patched(request: &Request<'_>, caller: &Caller<'_>, id: &str) -> Result<Reply, Refusal> {
    let kind = request.matched.kind;
    let mut when = update::when(request)?;
    let (form, patch) = sent(request)?;
    // Who may not see a resource may not feel for its content with patches either.
    let stored = request.gateway.read(caller, kind, id, None).await?;
    let document = request.gateway.patched(&stored.payload, form, patch)?;
    // What was patched is what is replaced, and nothing that came in between.
    when.version = when.version.or(Some(stored.version));
    let kept = request.gateway.update(caller, kind, id, document, when).await?;
    Ok(body::kept(request, kept))
}

/// The patch, and what kind it is of.
pub(super) fn sent<'r>(request: &'r Request<'_>) -> Result<(Patch, &'r [u8]), Refusal> {
    let form = form(request)?;
    if request.body.is_empty() {
        return Err(Refusal::one(Id::BodyMissing, "", "The request has no body."));
    }
    Ok((form, &request.body))
}

fn form(request: &Request<'_>) -> Result<Patch, Refusal> {
    let media = request.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json-patch+json") {
        return Ok(Patch::Json);
    }
    if media.eq_ignore_ascii_case("application/xml-patch+xml") {
        return Ok(Patch::Xml);
    }
    Ok(Patch::FhirPath(match negotiate::of_body(request.headers)? {
        Format::Json => validate::Format::Json,
        Format::Xml => validate::Format::Xml,
    }))
}
