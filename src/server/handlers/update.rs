//! `PUT [base]/[type]/[id]`, and of what a search names.

use super::{Request, body};
use crate::exchange::Refusal;
use crate::exchange::push::When;
use crate::fhir::outcome::Id;
use crate::server::reply::Reply;

pub(super) async fn update(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let when = when(request)?;
    let document = body::recorded(request, &caller).await?;
    let kept = request.gateway.update(&caller, request.matched.kind, request.matched.id, document, when).await;
    kept.map(|kept| body::kept(request, kept))
}

pub(super) async fn conditional(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let when = when(request)?;
    let document = body::recorded(request, &caller).await?;
    let kind = request.matched.kind;
    let kept = request.gateway.update_matching(&caller, kind, &request.query, document, when).await;
    kept.map(|kept| body::kept(request, kept))
}

/// Under which circumstances something is changed.
pub(super) fn when(request: &Request<'_>) -> Result<When, Refusal> {
    When::read(request.header("if-match"), request.header("if-none-match"))
        .map_err(|header| Refusal::one(Id::VersionConflict, "", format!("{header} is not W/\"version\".")))
}
