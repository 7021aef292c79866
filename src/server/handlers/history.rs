//! `GET [base]/[type]/[id]/_history`, of a type, and of all.

use super::{Request, body, search};
use crate::exchange::pull::{Version, Versions, Whose};
use crate::exchange::refusal::status_line;
use crate::exchange::{Caller, Refusal};
use crate::fhir::outcome::operation_outcome;
use crate::fhir::tree::{time, write};
use crate::server::reply::{Body, Reply};

pub(super) async fn history(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let whose = match (request.matched.kind, request.matched.id) {
        ("", _) => Whose::All,
        (kind, "") => Whose::Type(kind),
        (kind, id) => Whose::Resource(kind, id),
    };
    let lenient = body::preference(request, "handling") == Some("lenient");
    let bundle = bundle(request, &caller, whose, &request.query, lenient).await?;
    Ok(Reply::new(200, Body::Resource(bundle)))
}

/// The page that is asked for, as a Bundle written around the stored bytes.
pub(super) async fn bundle(
    request: &Request<'_>,
    caller: &Caller<'_>,
    whose: Whose<'_>,
    pairs: &[(String, String)],
    lenient: bool,
) -> Result<Vec<u8>, Refusal> {
    let found = match search::page(pairs) {
        Some(token) => request.gateway.history_page(caller, whose, token).await?,
        None => request.gateway.history(caller, whose, pairs, lenient).await?,
    };
    let mut out = String::with_capacity(512);
    out.push_str("{\"resourceType\":\"Bundle\",\"type\":\"history\"");
    search::frame(request, &whose.address(), found.total, found.next.as_deref(), &found.query, &mut out);
    entries(request, &found, &mut out);
    out.push('}');
    Ok(out.into_bytes())
}

fn entries(request: &Request<'_>, found: &Versions, out: &mut String) {
    let mut before = ",\"entry\":[";
    for version in &found.versions {
        out.push_str(before);
        entry(&request.gateway.base, version, out);
        before = ",";
    }
    if !found.warnings.is_empty() {
        out.push_str(before);
        out.push_str("{\"resource\":");
        out.push_str(&operation_outcome(&found.warnings, request.reader()).to_string());
        // R4 bdl-3, bdl-4: every entry of a history has a request and a response.
        out.push_str(",\"request\":{\"method\":\"GET\",\"url\":\"_history\"},\"response\":{\"status\":\"200 OK\"}}");
        before = ",";
    }
    if before == "," {
        out.push(']');
    }
}

fn entry(base: &str, version: &Version, out: &mut String) {
    let stored = &version.stored;
    let address = format!("{}/{}", stored.kind, version.id);
    out.push_str("{\"fullUrl\":");
    write::string(&format!("{base}/{address}"), out);
    if !stored.deleted {
        out.push_str(",\"resource\":");
        out.push_str(std::str::from_utf8(&stored.payload).unwrap_or("{}"));
    }
    let (method, url, status) = match version.method {
        method @ "POST" => (method, &*stored.kind, 201),
        method @ "DELETE" => (method, address.as_str(), 204),
        method => (method, address.as_str(), if stored.version == 1 { 201 } else { 200 }),
    };
    out.push_str(&format!(",\"request\":{{\"method\":\"{method}\",\"url\":"));
    write::string(url, out);
    out.push_str("},\"response\":{\"status\":");
    write::string(status_line(status), out);
    let updated = time::instant(stored.updated_ms);
    out.push_str(&format!(",\"etag\":\"W/\\\"{}\\\"\",\"lastModified\":\"{updated}\"}}}}", stored.version));
}
