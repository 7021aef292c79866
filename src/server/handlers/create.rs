//! `POST [base]/[type]`.

use super::{Request, body};
use crate::exchange::Refusal;
use crate::exchange::push::{Idempotency, Unlike};
use crate::fhir::outcome::Id;
use crate::server::reply::Reply;

pub(super) async fn create(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let unlike = request.header("if-none-exist").map(Unlike::parse).transpose()?;
    let idempotency = idempotency(request)?;
    let document = body::recorded(request, &caller).await?;
    let kept = request.gateway.create(&caller, request.matched.kind, document, unlike, idempotency).await;
    kept.map(|kept| body::kept(request, kept))
}

/// `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): what it stands for is this address and this body.
pub(super) fn idempotency(request: &Request<'_>) -> Result<Option<Idempotency>, Refusal> {
    let Some(key) = request.header("idempotency-key") else { return Ok(None) };
    if key.is_empty() || key.len() > 255 {
        return Err(Refusal::one(Id::IdempotencyKeyInvalid, "", "The Idempotency-Key has 1 to 255 characters."));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(request.method.as_bytes());
    hasher.update(b"\n");
    hasher.update(request.path.as_bytes());
    hasher.update(b"\n");
    hasher.update(&request.body);
    Ok(Some(Idempotency { key: key.to_owned(), hash: *hasher.finalize().as_bytes() }))
}
