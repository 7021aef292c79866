//! `GET [base]/[type]?…`, `POST [base]/[type]/_search`, and the pages that follow.

use hyper::header::CONTENT_TYPE;

use super::{Request, body};
use crate::exchange::Refusal;
use crate::exchange::pull::Found;
use crate::fhir::outcome::{self, Id};
use crate::fhir::tree::write;
use crate::server::reply::{Body, Reply};
use crate::server::routes::Action;

pub(super) async fn search(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let mut pairs = request.query.clone();
    if matches!(request.matched.action, Action::SearchForm | Action::CompartmentForm) {
        pairs.extend(form(request)?);
    }
    if matches!(request.matched.action, Action::Compartment | Action::CompartmentForm) {
        pairs.push(compartment(request.matched.id));
    }
    let kind = request.matched.kind;
    let found = if let Some(token) = page(&pairs) {
        request.gateway.search_page(&caller, kind, token).await?
    } else {
        // R4 §3.1.1.1.2: without a word from the client the server may choose; a filter that is silently
        // ignored would widen the answer, so it is refused.
        let lenient = body::preference(request, "handling") == Some("lenient");
        request.gateway.search(&caller, kind, &pairs, lenient).await?
    };
    Ok(Reply::new(200, Body::Resource(searchset(request, kind, &found))))
}

/// What is in a person's compartment names the person (R4 §3.1.1.2).
pub(super) fn compartment(person: &str) -> (String, String) {
    ("patient".to_owned(), format!("Patient/{person}"))
}

/// The token of a paging link.
pub(super) fn page(pairs: &[(String, String)]) -> Option<&str> {
    pairs.iter().find(|(name, _)| name == "_page").map(|(_, token)| token.as_str())
}

pub(super) fn form(request: &Request<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let media = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !request.body.is_empty() && !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::one(Id::MediaTypeUnsupported, "", "A search by POST is form-encoded."));
    }
    Ok(url::form_urlencoded::parse(&request.body).into_owned().collect())
}

/// What an entry ends with.
const MATCHED: &str = ",\"search\":{\"mode\":\"match\"}}";
const INCLUDED: &str = ",\"search\":{\"mode\":\"include\"}}";

/// The Bundle, written around the stored bytes.
pub(super) fn searchset(request: &Request<'_>, kind: &str, found: &Found) -> Vec<u8> {
    let base = &request.gateway.base;
    let size: usize = found.entries.iter().map(|entry| entry.payload.len() + 128).sum();
    let mut out = String::with_capacity(size + 256);
    out.push_str("{\"resourceType\":\"Bundle\",\"type\":\"searchset\"");
    frame(request, kind, found.total, found.next.as_deref(), &found.query, &mut out);
    let warnings =
        (!found.warnings.is_empty()).then(|| outcome::operation_outcome(&found.warnings, request.reader()).to_string());
    if !found.entries.is_empty() || warnings.is_some() {
        out.push_str(",\"entry\":[");
        for (index, entry) in found.entries.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str("{\"fullUrl\":");
            write::string(&format!("{base}/{}/{}", entry.kind, entry.id), &mut out);
            out.push_str(",\"resource\":");
            out.push_str(std::str::from_utf8(&entry.payload).unwrap_or("{}"));
            out.push_str(if entry.included { INCLUDED } else { MATCHED });
        }
        if let Some(warnings) = warnings {
            if !found.entries.is_empty() {
                out.push(',');
            }
            out.push_str("{\"resource\":");
            out.push_str(&warnings);
            out.push_str(",\"search\":{\"mode\":\"outcome\"}}");
        }
        out.push(']');
    }
    out.push('}');
    out.into_bytes()
}

/// What a page of any kind begins with: how many there are, where this is and where it goes on.
pub(super) fn frame(
    request: &Request<'_>,
    address: &str,
    total: Option<usize>,
    next: Option<&str>,
    query: &[(String, String)],
    out: &mut String,
) {
    let base = &request.gateway.base;
    if let Some(total) = total {
        out.push_str(&format!(",\"total\":{total}"));
    }
    let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let own = if query.is_empty() { format!("{base}/{address}") } else { format!("{base}/{address}?{query}") };
    out.push_str(",\"link\":[{\"relation\":\"self\",\"url\":");
    write::string(&own, out);
    out.push('}');
    if let Some(token) = next {
        out.push_str(",{\"relation\":\"next\",\"url\":");
        write::string(&format!("{base}/{address}?_page={token}"), out);
        out.push('}');
    }
    out.push(']');
}
