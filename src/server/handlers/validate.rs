//! `POST [base]/[type]/$validate` (R4 OperationDefinition Resource-validate).

use super::{Request, body};
use crate::exchange::Refusal;
use crate::fhir::outcome::operation_outcome;
use crate::fhir::tree::{Document, Element, json, write};
use crate::server::reply::Reply;

pub(super) async fn validate(request: &Request<'_>) -> Result<Reply, Refusal> {
    request.caller()?;
    let document = body::document(request)?;
    let mut profiles: Vec<String> =
        request.query.iter().filter(|(name, _)| name == "profile").map(|(_, value)| value.clone()).collect();
    let document = match unwrapped(&document, &mut profiles) {
        Some(inner) => inner?,
        None => document,
    };
    let profiles: Vec<&str> = profiles.iter().map(String::as_str).collect();
    let issues = request.gateway.check(request.matched.kind, document, &profiles).await;
    // The operation succeeds whatever it finds; what it found is in the body.
    Ok(Reply::resource(200, &operation_outcome(&issues)))
}

/// The resource and profile out of a Parameters body, if it is one.
fn unwrapped(document: &Document, profiles: &mut Vec<String>) -> Option<Result<Document, Refusal>> {
    let root = Element::root(document);
    if root.resource_type() != Some("Parameters") {
        return None;
    }
    let named =
        |name: &'static str| root.all("parameter").filter(move |parameter| parameter.text_of("name") == Some(name));
    profiles.extend(named("profile").filter_map(|parameter| {
        parameter.text_of("valueUri").or(parameter.text_of("valueCanonical")).map(str::to_owned)
    }));
    let resource = named("resource").find_map(|parameter| parameter.get("resource"))?;
    Some(json::parse(write::compact(document, resource.node())).map_err(Refusal::from))
}
