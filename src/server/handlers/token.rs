//! `POST /auth/token` (RFC 6749 §4.4, RFC 7523, SMART Backend Services). Speaks OAuth, not FHIR.

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use serde_json::json;

use super::Request;
use crate::exchange::login::Refused;
use crate::fhir::outcome::Id;
use crate::server::problem;
use crate::server::reply::Reply;

pub(super) async fn grant(request: &Request<'_>) -> Reply {
    let media = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let reply = refused("invalid_request", "the request must be form-encoded", 400);
        return Reply { on_record: false, ..reply };
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    match request.gateway.grant(&form, request.request_id).await {
        Ok(granted) => Reply::json(
            200,
            &json!({
                "access_token": granted.access_token,
                "token_type": "bearer",
                "expires_in": granted.expires_in_seconds,
                "scope": granted.scope,
            }),
        )
        .with(CACHE_CONTROL, "no-store")
        .with(PRAGMA, "no-cache"),
        Err(Refused::Denied(denied)) => {
            let error = denied.oauth_error();
            refused(error, &denied.oauth_description(), if error == "invalid_client" { 401 } else { 400 })
        }
        Err(Refused::Fault(refusal)) => problem::reply(&refusal),
    }
}

/// The gateway has recorded what it refused.
fn refused(error: &str, description: &str, status: u16) -> Reply {
    let reply = Reply::json(status, &json!({"error": error, "error_description": description}));
    Reply { issues: vec![Id::TokenInvalid], on_record: true, ..reply }.with(CACHE_CONTROL, "no-store")
}
