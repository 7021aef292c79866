//! Bodies in, and the headers that describe a stored resource out.

use hyper::header::{ETAG, LAST_MODIFIED, LOCATION};

use super::Request;
use crate::exchange::push::{Kept, etag};
use crate::exchange::{Caller, Refusal};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Reading};
use crate::fhir::validate;
use crate::server::negotiate::{self, Format};
use crate::server::reply::{Body, Reply};

/// The body as a tree, whichever format it came in.
pub(super) fn document(request: &Request<'_>) -> Result<Document, Refusal> {
    match reading(request)? {
        Reading { document: Some(document), issues } if issues.is_empty() => Ok(document),
        Reading { issues, .. } => Err(issues.into()),
    }
}

/// The body with everything that is wrong with its text.
pub(super) fn reading(request: &Request<'_>) -> Result<Reading, Refusal> {
    if request.body.is_empty() {
        return Err(Refusal::one(Id::BodyMissing, "", "The request has no body."));
    }
    let format = match negotiate::of_body(request.headers)? {
        Format::Json => validate::Format::Json,
        Format::Xml => validate::Format::Xml,
    };
    Ok(request.gateway.validator.read(&request.body, format))
}

/// The body of a push: that it could not be read goes on record like every other refusal.
pub(super) async fn recorded(request: &Request<'_>, caller: &Caller<'_>) -> Result<Document, Refusal> {
    match document(request) {
        Ok(read) => Ok(read),
        Err(refusal) => Err(request.gateway.refused(caller, refusal).await),
    }
}

/// What the client wants back (`Prefer: return=…`, R4 §3.1.0.1.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Return {
    Minimal,
    Representation,
    Outcome,
}

pub(super) fn preferred(request: &Request<'_>, default: Return) -> Return {
    match preference(request, "return") {
        Some("minimal") => Return::Minimal,
        Some("representation") => Return::Representation,
        Some("OperationOutcome") => Return::Outcome,
        _ => default,
    }
}

pub(super) fn preference<'r>(request: &'r Request<'_>, name: &str) -> Option<&'r str> {
    preferences(request)
        .find_map(|preference| preference.strip_prefix(name)?.strip_prefix('=').map(|value| value.trim_matches('"')))
}

/// Whether the client prefers to be answered later (R4 §3.1.6).
pub(super) fn is_async(request: &Request<'_>) -> bool {
    preferences(request).any(|preference| preference == "respond-async")
}

fn preferences<'r>(request: &'r Request<'_>) -> impl Iterator<Item = &'r str> {
    let all = request.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split([',', ';'])).map(str::trim)
}

/// The reply for a resource that is on disk.
pub(super) fn kept(request: &Request<'_>, kept: Kept) -> Reply {
    let wanted = preferred(request, Return::Representation);
    let status = kept.status();
    let address = format!("{}/{}/{}/_history/{}", request.gateway.base, kept.kind, kept.id, kept.version);
    let body = match wanted {
        Return::Minimal => Body::Empty,
        Return::Representation => Body::Resource(kept.payload),
        Return::Outcome => {
            let mut issues = kept.warnings;
            if !kept.fresh {
                issues.push(Issue::new(Id::Duplicate, "", "The same resource was accepted before."));
            }
            Body::Outcome(issues)
        }
    };
    described(Reply::new(status, body), kept.version, kept.updated_ms).with(LOCATION, &address)
}

pub(super) fn described(reply: Reply, version: u32, updated_ms: i64) -> Reply {
    reply.with(ETAG, &format!("W/\"{version}\"")).with(LAST_MODIFIED, &http_date(updated_ms))
}

/// Whether a list of entity tags (RFC 9110 §13.1.2) names a version.
pub(super) fn names(tags: &str, version: u32) -> bool {
    tags.split(',').any(|tag| tag.trim() == "*" || etag(tag) == Some(version))
}

/// Whether something was last changed no later than at a moment, to the second; what is no date is no condition.
pub(super) fn is_since(date: &str, updated_ms: i64) -> bool {
    let moment =
        jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", date.trim()).and_then(|time| time.to_datetime());
    let moment = moment.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
    moment.is_ok_and(|moment| updated_ms.div_euclid(1000) <= moment.timestamp().as_second())
}

/// IMF-fixdate (RFC 9110 §5.6.7).
pub(super) fn http_date(ms: i64) -> String {
    let timestamp = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    timestamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
