//! The guide's pages and files, and what a word means in it. Nothing here concerns a person.

use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderName, LOCATION};

use super::Request;
use crate::guide::Published;
use crate::server::problem;
use crate::server::reply::{Body, Reply};

/// Pages load their own style and scripts and nothing else, and no other page shows them in a frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// A file of the guide; a page also by its name without `.html`.
pub(super) async fn file(request: &Request<'_>) -> Reply {
    // Relative links of the pages need the slash.
    if request.matched.file.is_empty() && !request.path.ends_with('/') {
        return Reply::new(308, Body::Empty).with(LOCATION, "/guide/");
    }
    let Some(published) = published().await else { return problem::internal() };
    let name = if request.matched.file.is_empty() { "index.html" } else { request.matched.file };
    let Some(file) = published.file(name).or_else(|| published.file(&format!("{name}.html"))) else {
        return problem::route_unknown();
    };
    let reply = if request.header("if-none-match").is_some_and(|tags| tags.contains(file.etag.as_str())) {
        Reply::new(304, Body::Empty)
    } else {
        Reply::new(200, Body::File { media_type: file.media_type, bytes: file.bytes() })
    };
    page(reply).with(ETAG, &file.etag).with(CACHE_CONTROL, "public, max-age=600")
}

/// What a word means.
pub(super) async fn explain(request: &Request<'_>) -> Reply {
    let Some(published) = published().await else { return problem::internal() };
    let word = request.query.iter().find(|(name, _)| name == "q").map_or("", |(_, word)| word.as_str());
    let bytes = published.explained(word).into_bytes();
    page(Reply::new(200, Body::File { media_type: "text/html; charset=utf-8", bytes }))
}

fn page(reply: Reply) -> Reply {
    reply.with(CONTENT_SECURITY_POLICY, POLICY).with(HeaderName::from_static("referrer-policy"), "no-referrer")
}

/// The guide, made when somebody asks for it the first time.
async fn published() -> Option<&'static Published> {
    tokio::task::spawn_blocking(Published::get).await.ok()
}
