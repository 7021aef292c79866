//! What anybody may ask: how we are, and what we can do.

use hyper::header::ETAG;
use serde_json::json;

use super::Request;
use crate::server::capability;
use crate::server::reply::{Body, Reply};

/// The process runs.
pub(super) fn live() -> Reply {
    Reply::json(200, &json!({"status": "live"}))
}

/// Requests would be served.
pub(super) fn ready(request: &Request<'_>) -> Reply {
    match request.gateway.unready() {
        None => Reply::json(200, &told(request.gateway.rooms.counts())),
        Some(reason) => Reply::json(503, &json!({"status": "not ready", "reason": reason})),
    }
}

/// That we are ready, and of how many destinations no more, or not much more, can wait.
fn told((filling, full): (usize, usize)) -> serde_json::Value {
    if filling + full == 0 {
        return json!({"status": "ready"});
    }
    json!({"status": "ready", "destinations": {"filling": filling, "full": full}})
}

/// It stays the same while the gateway runs, so that clients need not fetch it again.
pub(super) fn metadata(request: &Request<'_>) -> Reply {
    let statement = capability::statement(request.gateway).to_string();
    let tag = format!("W/\"{}\"", &blake3::hash(statement.as_bytes()).to_hex()[..16]);
    let is_known = request.header("if-none-match").is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
    let reply =
        if is_known { Reply::new(304, Body::Empty) } else { Reply::new(200, Body::Resource(statement.into_bytes())) };
    reply.with(ETAG, &tag)
}

pub(super) fn smart_configuration(request: &Request<'_>) -> Reply {
    Reply::json(200, &capability::smart_configuration(request.gateway))
}
