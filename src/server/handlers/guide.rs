//! The guide's pages and files, and what a word means in it. Nothing here concerns a person.

use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, LOCATION};

use super::Request;
use crate::fhir::ours;
use crate::server::problem;
use crate::server::reply::{Body, Reply};

/// Pages load their own style and scripts and nothing else, and no other page shows them in a frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// A file of the guide; a page also by its name without `.html`. Earlier versions lie each in a folder of its own.
pub(super) async fn file(request: &Request<'_>) -> Reply {
    let shelf = &request.gateway.shelf;
    let (mut version, mut name) = (request.matched.version, request.matched.file);
    if version.is_empty() && shelf.has(name) {
        (version, name) = (name, "");
    }
    // Relative links of the pages need the slash.
    if name.is_empty() && !request.path.ends_with('/') {
        return Reply::new(308, Body::Empty).with(LOCATION, &format!("{}/", request.path));
    }
    let (version, name) = (
        if version.is_empty() { ours::VERSION } else { version }.to_owned(),
        if name.is_empty() { "index.html" } else { name }.to_owned(),
    );
    let (shelf, validator) = (Arc::clone(shelf), Arc::clone(&request.gateway.validator));
    let made = tokio::task::spawn_blocking(move || {
        let file = |name: &str| shelf.file(&version, name, &validator);
        file(&name).or_else(|| file(&format!("{name}.html")))
    });
    let Ok(made) = made.await else { return problem::internal() };
    let Some(file) = made else { return problem::route_unknown() };
    let reply = if request.header("if-none-match").is_some_and(|tags| tags.contains(file.etag.as_str())) {
        Reply::new(304, Body::Empty)
    } else {
        Reply::new(200, Body::File { media_type: file.media_type, bytes: file.bytes() })
    };
    page(reply).with(ETAG, &file.etag).with(CACHE_CONTROL, "public, max-age=600")
}

/// What a word means.
pub(super) async fn explain(request: &Request<'_>) -> Reply {
    let version = if request.matched.version.is_empty() { ours::VERSION } else { request.matched.version }.to_owned();
    let word = request.query.iter().find(|(name, _)| name == "q").map_or("", |(_, word)| word.as_str()).to_owned();
    let shelf = Arc::clone(&request.gateway.shelf);
    let made = tokio::task::spawn_blocking(move || {
        // Of another version its own edition tells.
        let named = word.strip_prefix('v').unwrap_or(&word);
        let version = if shelf.has(named) && shelf.has(&version) { named } else { version.as_str() };
        shelf.published(version).map(|published| published.explained(&word).into_bytes())
    });
    let Ok(made) = made.await else { return problem::internal() };
    let Some(bytes) = made else { return problem::route_unknown() };
    page(Reply::new(200, Body::File { media_type: "text/html; charset=utf-8", bytes }))
}

fn page(reply: Reply) -> Reply {
    reply.with(CONTENT_SECURITY_POLICY, POLICY).with(HeaderName::from_static("referrer-policy"), "no-referrer")
}
