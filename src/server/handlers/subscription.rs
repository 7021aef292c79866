//! `[base]/Subscription` with its operations, and the topics at `[base]/Basic`.

use hyper::header::LOCATION;
use serde_json::{Value, json};

use super::{Request, body, patch, search};
use crate::exchange::Refusal;
use crate::exchange::push::When;
use crate::exchange::refusal::status_line;
use crate::exchange::subscribe::{Range, Shown, Which};
use crate::fhir::outcome::{self, Id};
use crate::fhir::tree::time;
use crate::policy::subscription::TOPICS;
use crate::server::problem;
use crate::server::reply::{Body, Reply};

pub(super) async fn create(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let document = body::recorded(request, &caller).await?;
    let shown = request.gateway.subscribe(&caller, document).await?;
    let address = format!("{}/Subscription/{}/_history/{}", request.gateway.base, shown.id, shown.version);
    Ok(answered(201, &shown).with(LOCATION, &address))
}

pub(super) async fn update(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let document = body::recorded(request, &caller).await?;
    let when = when(request)?;
    Ok(answered(200, &request.gateway.resubscribe(&caller, request.matched.id, document, when).await?))
}

pub(super) async fn patch(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let (when, patch) = (when(request)?, patch::sent(request)?);
    Ok(answered(200, &request.gateway.patch_subscription(&caller, request.matched.id, patch, when).await?))
}

fn when(request: &Request<'_>) -> Result<When, Refusal> {
    When::read(request.header("if-match"), None)
        .map_err(|header| Refusal::one(Id::VersionConflict, "", format!("{header} is W/\"version\".")))
}

pub(super) async fn read(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    Ok(answered(200, &request.gateway.subscription(&caller, request.matched.id).await?))
}

pub(super) async fn version(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let version = super::read::version(request)?.ok_or_else(Refusal::not_found)?;
    Ok(answered(200, &request.gateway.subscription_version(&caller, request.matched.id, version).await?))
}

pub(super) async fn history(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let lenient = body::preference(request, "handling") == Some("lenient");
    let id = request.matched.id;
    let (found, total, asked) = request.gateway.subscription_history(&caller, id, &request.query, lenient).await?;
    let address = format!("Subscription/{id}");
    let became = |shown: &Shown| {
        let (method, url, status) =
            if shown.version == 1 { ("POST", "Subscription", 201) } else { ("PUT", address.as_str(), 200) };
        json!({
            "fullUrl": format!("{}/{address}", request.gateway.base), "resource": shown.resource,
            "request": {"method": method, "url": url},
            "response": {
                "status": status_line(status), "etag": format!("W/\"{}\"", shown.version),
                "lastModified": time::instant(shown.updated_ms)
            }
        })
    };
    let mut entries: Vec<Value> = found.iter().map(became).collect();
    if !asked.warnings.is_empty() {
        entries.push(json!({
            "resource": outcome::operation_outcome(&asked.warnings, request.reader()),
            "request": {"method": "GET", "url": "_history"}, "response": {"status": status_line(200)}
        }));
    }
    let bundle = listed(request, "history", &format!("{address}/_history"), (total, &asked.understood), entries);
    Ok(Reply::resource(200, &bundle))
}

pub(super) async fn delete(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    request.gateway.unsubscribe(&caller, request.matched.id).await?;
    Ok(Reply::new(204, Body::Empty))
}

pub(super) async fn search(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let mut pairs = request.query.clone();
    if request.method == "POST" {
        pairs.extend(search::form(request)?);
    }
    let lenient = body::preference(request, "handling") == Some("lenient");
    let (found, query, warnings) = request.gateway.subscriptions(&caller, &pairs, lenient).await?;
    let base = &request.gateway.base;
    let matched = |shown: &Shown| {
        json!({
            "fullUrl": format!("{base}/Subscription/{}", shown.id), "resource": shown.resource,
            "search": {"mode": "match"}
        })
    };
    let mut entries: Vec<Value> = found.iter().map(matched).collect();
    if !warnings.is_empty() {
        let told = outcome::operation_outcome(&warnings, request.reader());
        entries.push(json!({"resource": told, "search": {"mode": "outcome"}}));
    }
    Ok(Reply::resource(200, &searchset(request, "Subscription", found.len(), &query, entries)))
}

/// `$status` of one, or of all that the client has.
pub(super) async fn status(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let mut which = Which::default();
    for (name, value) in parameters(request)? {
        let values = value.split(',').map(str::to_owned);
        match name.as_str() {
            "id" => which.ids.extend(values),
            "status" => which.statuses.extend(values),
            _ => return Err(unknown("id and status")),
        }
    }
    let one = Some(request.matched.id).filter(|id| !id.is_empty());
    let which = if one.is_some() { Which::default() } else { which };
    Ok(Reply::resource(200, &request.gateway.subscription_status(&caller, one, &which).await?))
}

/// `$get-ws-binding-token`.
pub(super) async fn binding_token(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let mut ids = Vec::new();
    for (name, value) in parameters(request)? {
        match name.as_str() {
            "id" => ids.extend(value.split(',').map(str::to_owned)),
            _ => return Err(unknown("id")),
        }
    }
    let one = Some(request.matched.id).filter(|id| !id.is_empty());
    Ok(Reply::resource(200, &request.gateway.binding_token(&caller, one, &ids).await?))
}

/// `$events`.
pub(super) async fn events(request: &Request<'_>) -> Result<Reply, Refusal> {
    let caller = request.caller()?;
    let mut range = Range::default();
    for (name, value) in parameters(request)? {
        let place = match name.as_str() {
            "eventsSinceNumber" => &mut range.since,
            "eventsUntilNumber" => &mut range.until,
            "content" => &mut range.content,
            _ => return Err(unknown("eventsSinceNumber, eventsUntilNumber and content")),
        };
        *place = Some(value);
    }
    let bundle = request.gateway.subscription_events(&caller, request.matched.id, &range).await?;
    Ok(Reply::new(200, Body::Resource(bundle.into_bytes())))
}

/// A topic, which is no secret.
pub(super) fn topic(request: &Request<'_>) -> Reply {
    match TOPICS.iter().find(|topic| topic.name == request.matched.id) {
        Some(topic) => Reply::resource(200, &topic.basic()),
        None => problem::reply(&Refusal::not_found()),
    }
}

/// All topics, whose code they share.
pub(super) fn topics(request: &Request<'_>) -> Result<Reply, Refusal> {
    let mut wanted = true;
    for (name, value) in &request.query {
        match name.as_str() {
            "code" => {
                wanted &= matches!(value.rsplit('|').next(), Some("SubscriptionTopic"))
                    && matches!(value.split_once('|'), None | Some(("http://hl7.org/fhir/fhir-types", _)));
            }
            "_format" | "_pretty" => {}
            _ => return Err(Refusal::one(Id::SearchParameterUnknown, "", "Topics are searched by code.")),
        }
    }
    let base = &request.gateway.base;
    let entry = |topic: &crate::policy::subscription::Topic| {
        json!({
            "fullUrl": format!("{base}/Basic/{}", topic.name), "resource": topic.basic(), "search": {"mode": "match"}
        })
    };
    let entries: Vec<Value> = TOPICS.iter().filter(|_| wanted).map(entry).collect();
    Ok(Reply::resource(200, &searchset(request, "Basic", entries.len(), &request.query, entries)))
}

fn answered(status: u16, shown: &Shown) -> Reply {
    body::described(Reply::resource(status, &shown.resource), shown.version, shown.updated_ms)
}

fn searchset(
    request: &Request<'_>,
    address: &str,
    total: usize,
    query: &[(String, String)],
    entries: Vec<Value>,
) -> Value {
    listed(request, "searchset", address, (total, query), entries)
}

fn listed(
    request: &Request<'_>,
    kind: &str,
    address: &str,
    (total, query): (usize, &[(String, String)]),
    entries: Vec<Value>,
) -> Value {
    let base = &request.gateway.base;
    let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let own = if query.is_empty() { format!("{base}/{address}") } else { format!("{base}/{address}?{query}") };
    let mut bundle = json!({
        "resourceType": "Bundle", "type": kind, "total": total, "link": [{"relation": "self", "url": own}]
    });
    if !entries.is_empty() {
        bundle["entry"] = entries.into();
    }
    bundle
}

fn unknown(names: &str) -> Refusal {
    Refusal::one(Id::OperationParameter, "", format!("The parameters are {names}."))
}

/// Parameters of an operation, from the address or from a Parameters resource.
fn parameters(request: &Request<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs: Vec<(String, String)> =
        request.query.iter().filter(|(name, _)| !matches!(name.as_str(), "_format" | "_pretty")).cloned().collect();
    if request.body.is_empty() {
        return Ok(pairs);
    }
    let document = body::document(request)?;
    let root = crate::fhir::tree::Element::root(&document);
    for parameter in root.all("parameter") {
        let value =
            ["valueString", "valueId", "valueCode", "valueInteger"].iter().find_map(|name| parameter.text_of(name));
        match (parameter.text_of("name"), value) {
            (Some(name), Some(value)) => pairs.push((name.to_owned(), value.to_owned())),
            _ => return Err(Refusal::one(Id::OperationParameter, "", "A parameter has a name and a value.")),
        }
    }
    Ok(pairs)
}
