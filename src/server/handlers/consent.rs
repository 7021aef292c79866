//! The operations on Consents.

use super::{Request, body, read};
use crate::exchange::{Refusal, simulate};
use crate::server::reply::{Body, Reply};

/// `POST [base]/Consent/$evaluate`: what consents would decide. It succeeds whatever they decide.
pub(super) async fn evaluate(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let question = body::recorded(request, &caller).await?;
    let answer = request.gateway.evaluate(&caller, &question).await?;
    Ok(Reply::resource(200, &simulate::rendered(&answer)))
}

/// `POST [base]/Consent/[id]/$revoke`: withdraws it. A body says nothing that could narrow it, so none is asked for.
pub(super) async fn revoke(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let kept = request.gateway.revoke(&caller, request.matched.id).await?;
    Ok(body::kept(request, kept))
}

/// `GET [base]/Consent/[id]/$receipt`: a compact JWS, for the person to keep.
pub(super) async fn receipt(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let version = read::version(request)?;
    let signed = request.gateway.attest(&caller, request.matched.id, version).await?;
    Ok(Reply::new(200, Body::File { media_type: "application/jose", bytes: signed.into_bytes() }))
}
