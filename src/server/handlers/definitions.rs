//! The guide's definitions as resources. Nothing here concerns a person.

use super::{Request, body, search};
use crate::exchange::Refusal;
use crate::server::reply::{Body, Reply};

pub(super) async fn read(request: &Request<'_>) -> Result<Reply, Refusal> {
    let definition = request.gateway.definition(request.matched.kind, request.matched.id).await?;
    Ok(Reply::new(200, Body::Resource(definition.into_bytes())))
}

pub(super) async fn search(request: &Request<'_>) -> Result<Reply, Refusal> {
    let kind = request.matched.kind;
    let found = if let Some(token) = search::page(&request.query) {
        request.gateway.definitions_page(kind, token).await?
    } else {
        let lenient = body::preference(request, "handling") == Some("lenient");
        request.gateway.definitions(kind, &request.query, lenient).await?
    };
    Ok(Reply::new(200, Body::Resource(search::searchset(request, kind, &found))))
}
