//! The rights of persons: what is held of one, who did what with it, and what she may have done about it.

use super::{Request, search};
use crate::exchange::Refusal;
use crate::server::reply::{Body, Reply};

/// `GET [base]/Patient/[id]/$everything`.
pub(super) async fn everything(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let (gateway, id) = (request.gateway, request.matched.id);
    let found = match search::page(&request.query) {
        Some(token) => gateway.everything_page(&caller, id, token).await?,
        None => gateway.everything(&caller, id, &request.query).await?,
    };
    let address = format!("Patient/{id}/$everything");
    Ok(Reply::new(200, Body::Resource(search::searchset(request, &address, &found))))
}

/// `GET /persons/[id]/access-log`.
pub(super) async fn access_log(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let value = request.gateway.access_log(&caller, request.matched.id, &request.query).await?;
    Ok(Reply::json(200, &value))
}

/// `POST [base]/Patient/[id]/$restrict` and `$unrestrict`.
pub(super) async fn restrict(request: &Request<'_>, on: bool) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let value = request.gateway.restrict(&caller, request.matched.id, on).await?;
    Ok(Reply::resource(200, &value))
}
