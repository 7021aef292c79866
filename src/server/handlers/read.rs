//! `GET [base]/[type]/[id]`, and one version of it. HEAD is the same; the server leaves the body away.
//!
//! That a version is still the current one is an answer about a person, too: a 304 is asked of consent and audited.

use super::{Request, body};
use crate::exchange::Refusal;
use crate::server::reply::{Body, Reply};

pub(super) async fn read(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let version = version(request)?;
    let lenient = body::preference(request, "handling") == Some("lenient");
    let part = request.gateway.part(request.matched.kind, &request.query, lenient)?;
    let stored = request.gateway.read(&caller, request.matched.kind, request.matched.id, version).await?;
    let known = match (request.header("if-none-match"), request.header("if-modified-since")) {
        // The tag is the more exact of the two (RFC 9110 §13.1.3).
        (Some(tags), _) => body::names(tags, stored.version),
        (None, Some(date)) => body::is_since(date, stored.updated_ms),
        (None, None) => false,
    };
    if known {
        return Ok(body::described(Reply::new(304, Body::Empty), stored.version, stored.updated_ms));
    }
    let payload = match &part {
        Some(part) => request.gateway.part_of(part, &stored)?,
        None => stored.payload,
    };
    Ok(body::described(Reply::new(200, Body::Resource(payload)), stored.version, stored.updated_ms))
}

/// The version that the address names, if it names one.
pub(super) fn version(request: &Request<'_>) -> Result<Option<u32>, Refusal> {
    match request.matched.version {
        "" => Ok(None),
        text => Ok(Some(text.parse().map_err(|_| Refusal::not_found())?)),
    }
}
