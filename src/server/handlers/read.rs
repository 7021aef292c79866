//! `GET [base]/[type]/[id]`, and one version of it.

use super::{Request, body};
use crate::exchange::Refusal;
use crate::server::reply::{Body, Reply};

pub(super) async fn read(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let version = match request.matched.version {
        "" => None,
        text => Some(text.parse().map_err(|_| Refusal::not_found())?),
    };
    let stored = request.gateway.read(&caller, request.matched.kind, request.matched.id, version).await?;
    Ok(body::described(Reply::new(200, Body::Resource(stored.payload)), stored.version, stored.updated_ms))
}
