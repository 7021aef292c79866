//! `DELETE [base]/[type]/[id]`, and of what a search names.

use super::{Request, body, update};
use crate::exchange::Refusal;
use crate::exchange::push::Kept;
use crate::server::reply::{Body, Reply};

pub(super) async fn delete(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let when = update::when(request)?;
    let kept = request.gateway.delete(&caller, request.matched.kind, request.matched.id, when).await?;
    Ok(deleted(&kept))
}

pub(super) async fn conditional(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let when = update::when(request)?;
    let kept = request.gateway.delete_matching(&caller, request.matched.kind, &request.query, when).await?;
    // What was to go is not there.
    Ok(kept.as_ref().map_or_else(|| Reply::new(204, Body::Empty), deleted))
}

fn deleted(kept: &Kept) -> Reply {
    body::described(Reply::new(kept.status(), Body::Empty), kept.version, kept.updated_ms)
}
