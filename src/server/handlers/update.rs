//! `PUT [base]/[type]/[id]`.

use super::{Request, body};
use crate::exchange::Refusal;
use crate::exchange::push::etag;
use crate::fhir::outcome::Id;
use crate::server::reply::Reply;

pub(super) async fn update(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let if_match = request
        .header("if-match")
        .map(|tag| etag(tag).ok_or_else(|| Refusal::one(Id::VersionConflict, "", "If-Match is not W/\"version\".")))
        .transpose()?;
    let document = body::recorded(request, &caller).await?;
    let kept = request.gateway.update(&caller, request.matched.kind, request.matched.id, document, if_match).await;
    kept.map(|kept| body::kept(request, kept))
}
