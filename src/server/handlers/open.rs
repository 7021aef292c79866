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

pub(super) fn metadata(request: &Request<'_>) -> Reply {
    Reply::resource(200, &capability::statement(request.gateway))
}

pub(super) fn smart_configuration(request: &Request<'_>) -> Reply {
    Reply::json(200, &capability::smart_configuration(request.gateway))
}
