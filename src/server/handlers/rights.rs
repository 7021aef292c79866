//! The rights of persons: what is held of one, who did what with it, and what she may have done about it.

use std::sync::Arc;

use super::{Request, search};
use crate::exchange::Refusal;
use crate::exchange::rights::{Export, Form};
use crate::fhir::outcome::Id;
use crate::server::flow::{Flow, Source};
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

/// `GET [base]/Patient/[id]/$export-data`: one resource a line, or a Bundle.
pub(super) async fn export(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let asked = request.query.iter().map(|(name, value)| (name.as_str(), value.replace(' ', "+")));
    let mut form = (Form::Lines, "application/fhir+ndjson");
    for (name, value) in asked {
        form = match (name, value.as_str()) {
            ("_format", "ndjson" | "application/fhir+ndjson" | "application/x-ndjson" | "application/ndjson") => form,
            ("_format", "json" | "application/fhir+json") => (Form::Bundle, "application/fhir+json; charset=utf-8"),
            ("_format", _) => return Err(Refusal::one(Id::NotAcceptable, "", "An export is ndjson or json.")),
            _ => return Err(Refusal::one(Id::OperationParameter, "", "The parameter is _format.")),
        };
    }
    let export = request.gateway.export(&caller, request.matched.id, form.0).await?;
    Ok(poured(request, export, form.1))
}

/// An export as it comes.
pub(super) fn poured(request: &Request<'_>, export: Export, media_type: &'static str) -> Reply {
    let (source, flow) = Flow::new();
    tokio::spawn(pour(export, source, Arc::from(request.request_id)));
    Reply::new(200, Body::Flow { media_type, flow })
}

async fn pour(mut export: Export, mut source: Source, request_id: Arc<str>) {
    while let Some(open) = poured_on(source, export.next().await, &request_id).await {
        source = open;
    }
}

/// Sends what was made; nothing where that was all, or nobody wants more.
pub(super) async fn poured_on(
    source: Source,
    made: Result<Option<Vec<u8>>, Refusal>,
    request_id: &str,
) -> Option<Source> {
    match made {
        Ok(Some(piece)) => return source.send(piece).await.then_some(source),
        Ok(None) => source.end().await,
        Err(refusal) => {
            let issues = refusal.ids().first().map(|id| id.code());
            tracing::error!(%request_id, issues, "an export was broken off");
        }
    }
    None
}

/// `POST [base]/Patient/[id]/$erase`.
pub(super) async fn erase(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let receipt = request.gateway.erase(&caller, request.matched.id).await?;
    Ok(Reply::json(200, &receipt))
}

/// `GET [base]/Patient/[id]/$summary`.
pub(super) async fn summary(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let document = request.gateway.summary(&caller, request.matched.id, &request.query).await?;
    Ok(Reply::resource(200, &document))
}
