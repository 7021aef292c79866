//! What anybody may ask: how we are, and what we can do.

use serde_json::json;

use super::Request;
use crate::server::capability;
use crate::server::reply::Reply;

/// The process runs.
pub(super) fn live() -> Reply {
    Reply::json(200, &json!({"status": "live"}))
}

/// Requests would be served.
pub(super) fn ready(request: &Request<'_>) -> Reply {
    match request.gateway.unready() {
        None => Reply::json(200, &json!({"status": "ready"})),
        Some(reason) => Reply::json(503, &json!({"status": "not ready", "reason": reason})),
    }
}

pub(super) fn metadata(request: &Request<'_>) -> Reply {
    Reply::resource(200, &capability::statement(request.gateway))
}

pub(super) fn smart_configuration(request: &Request<'_>) -> Reply {
    Reply::json(200, &capability::smart_configuration(request.gateway))
}
