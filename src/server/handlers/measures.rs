//! `Observation/$lastn` and `Observation/$stats`.

use super::{Request, body, search};
use crate::exchange::Refusal;
use crate::fhir::tree::Element;
use crate::server::reply::{Body, Reply};

pub(super) async fn latest(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let lenient = body::preference(request, "handling") == Some("lenient");
    let found = request.gateway.last_of_each(&caller, &request.query, lenient).await?;
    Ok(Reply::new(200, Body::Resource(search::searchset(request, "Observation/$lastn", &found))))
}

pub(super) async fn statistics(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let parameters = if request.body.is_empty() { None } else { Some(body::recorded(request, &caller).await?) };
    let asked = parameters.as_ref().map(Element::root);
    let told = request.gateway.statistics(&caller, &request.query, asked).await?;
    Ok(Reply::resource(200, &told))
}
