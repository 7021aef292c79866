//! Bulk export by the asynchronous pattern (R4 §3.1.6): it is asked for, asked after, and fetched file by file.

use std::sync::Arc;

use hyper::header::{CONTENT_LOCATION, EXPIRES, HeaderName, RETRY_AFTER};

use super::{Request, body, rights};
use crate::exchange::Refusal;
use crate::exchange::bulk::{self, Download, Kickoff, Level, Status};
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;
use crate::server::flow::{Flow, Source};
use crate::server::reply::{Body, Reply};
use crate::server::routes::Action;

const PROGRESS: HeaderName = HeaderName::from_static("x-progress");

/// Seconds after which it is asked again how far it is.
const AGAIN: &str = "1";

/// `[base]/$export`, `[base]/Patient/$export` and `[base]/Group/[id]/$export`.
pub(super) async fn kickoff(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    if !body::is_async(request) {
        let text = "An export takes its time: it is asked for with Prefer: respond-async.";
        return Err(Refusal::one(Id::OperationParameter, "", text));
    }
    let level = match request.matched.action {
        Action::ExportGroup => Level::Group(request.matched.id),
        Action::ExportPersons => Level::Patients,
        _ => Level::System,
    };
    let posted = request.method == "POST";
    let mut pairs = request.query.clone();
    if posted && !request.body.is_empty() {
        let document = body::document(request)?;
        let sent = bulk::posted(Element::root(&document));
        let unreadable = || Refusal::one(Id::OperationParameter, "", "What is asked for is a resource Parameters.");
        pairs.extend(sent.ok_or_else(unreadable)?);
    }
    let lenient = body::preference(request, "handling") == Some("lenient");
    let kickoff = Kickoff { level, pairs: &pairs, posted, lenient, address: request.address_sent };
    let location = request.gateway.begin_export(&caller, &kickoff).await?;
    Ok(Reply::new(202, Body::Empty).with(CONTENT_LOCATION, &location))
}

/// `GET /exports/[id]`.
pub(super) async fn status(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    Ok(match request.gateway.export_status(&caller, request.matched.id).await? {
        Status::Working(lines) => {
            Reply::new(202, Body::Empty).with(PROGRESS, &format!("{lines} resources so far")).with(RETRY_AFTER, AGAIN)
        }
        Status::Finished(manifest, until_ms) => Reply::json(200, &manifest).with(EXPIRES, &body::http_date(until_ms)),
    })
}

/// `DELETE /exports/[id]`.
pub(super) async fn cancel(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    request.gateway.cancel_export(&caller, request.matched.id).await?;
    Ok(Reply::new(202, Body::Empty))
}

/// `GET /exports/[id]/[file]`.
pub(super) async fn file(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let download = request.gateway.download(&caller, request.matched.id, request.matched.file).await?;
    let (source, flow) = Flow::new();
    tokio::spawn(pour(download, source, Arc::from(request.request_id)));
    Ok(Reply::new(200, Body::Flow { media_type: "application/fhir+ndjson", flow }))
}

async fn pour(mut download: Download, mut source: Source, request_id: Arc<str>) {
    while let Some(open) = rights::poured_on(source, download.next().await, &request_id).await {
        source = open;
    }
}
