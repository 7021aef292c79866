//! Requests to answers.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use super::fault::{Answer, Mode};
use super::login::Shown;
use super::shape::{Ask, Done};
use super::{Platform, check, shape};

const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_secs(2);

type Answered = Response<Answer>;

pub(super) async fn respond(platform: &Platform, request: Request<Incoming>) -> Result<Answered, std::io::Error> {
    let (head, body) = request.into_parts();
    let Ok(body) = tokio::time::timeout(BODY_TIMEOUT, read(body)).await.unwrap_or(Err(())) else {
        return Ok(outcome(413, "too-long"));
    };
    let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
    let now = (platform.clock)();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(parent) = header("traceparent") {
        platform.account.traced(parent);
    }
    let shown = Shown {
        authorization: header("authorization"),
        proof: header("dpop"),
        method: head.method.as_str(),
        url: format!("{}{}", platform.url, head.uri.path()),
    };
    match (&head.method, path.as_slice()) {
        (&Method::POST, ["token"]) => return Ok(token(platform, &body, &shown, now)),
        (&Method::POST, ["revoke"]) => return Ok(given_back(platform, &body, now)),
        (&Method::GET, ["authorize", ..] | ["jwks"]) => return Ok(sign_in(platform, &path, &head.uri, now)),
        (&Method::GET, ["account"]) => return Ok(answer(200, &platform.account.statement())),
        (&Method::GET, ["held"]) => return Ok(answer(200, &platform.account.held())),
        (&Method::POST, ["held"]) => return Ok(hold(platform, &body)),
        (&Method::DELETE, ["held", kind, id]) => {
            platform.own.remove(&format!("{kind}/{id}"));
            return Ok(answer(200, &json!({})));
        }
        (&Method::POST, ["faults"]) => return Ok(order(platform, &body)),
        (&Method::GET, ["fhir", "metadata"]) => return Ok(answer(200, &capabilities(&platform.url))),
        _ => {}
    }
    if !platform.login.admits(&shown, now) {
        platform.account.unauthorized();
        return Ok(with_nonce(platform, outcome(401, "login")));
    }
    match (&head.method, path.as_slice()) {
        (&Method::PUT, ["fhir", kind, id]) => Ok(write(platform, |platform| update(platform, kind, id, &body)).await),
        (&Method::DELETE, ["fhir", kind, id]) => Ok(write(platform, |platform| delete(platform, kind, id)).await),
        (&Method::POST, ["fhir", below @ ..]) if platform.shape.as_ref().is_some_and(|shape| shape.is_at(below)) => {
            let Ok(person) = platform.login.person(&shown) else {
                platform.account.violation("request", &["the token is for nobody's record"]);
                return Ok(outcome(403, "forbidden"));
            };
            Ok(write(platform, |platform| shaped(platform, &body, person.as_deref())).await)
        }
        (&Method::POST, ["fhir"]) => Ok(write(platform, |platform| transaction(platform, &body)).await),
        (&Method::GET, ["fhir", "Patient", "$ihe-pix"]) => {
            let query = head.uri.query().unwrap_or_default();
            Ok(asking(platform, || cross_reference(platform, query)).await)
        }
        (&Method::GET, ["fhir", kind]) if *kind != "Observation" && platform.shape.is_some() => {
            let query = head.uri.query().unwrap_or_default();
            Ok(asking(platform, || asked(platform, kind, query)).await)
        }
        (&Method::GET, ["fhir", "Observation"]) => Ok(search(platform, head.uri.query().unwrap_or_default())),
        (_, ["fhir", ..]) => Ok(outcome(405, "not-supported")),
        _ => Ok(outcome(404, "not-found")),
    }
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, ()> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(drop)?.into_data() {
            if read.len() + data.len() > MAX_BODY_BYTES {
                return Err(());
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read)
}

/// A write with the fault that was ordered for it.
async fn write(platform: &Platform, work: impl Fn(&Platform) -> Answered) -> Answered {
    let (mode, met) = platform.fault.next();
    match mode {
        Mode::Down => return outcome(503, "transient"),
        Mode::Busy => {
            let mut busy = outcome(429, "throttled");
            busy.headers_mut().insert("retry-after", 1.into());
            return busy;
        }
        Mode::Table => {
            if let Some(complaint) = platform.shape.as_ref().and_then(|shape| shape.line(met)) {
                return answer(complaint.status, &complaint.outcome());
            }
        }
        Mode::Revoke => {
            platform.login.revoke();
            return outcome(401, "login");
        }
        Mode::Redirect => {
            let mut redirect = outcome(307, "transient");
            redirect.headers_mut().insert("location", hyper::header::HeaderValue::from_static("https://localhost:9/"));
            return redirect;
        }
        _ => {}
    }
    let done = work(platform);
    match mode {
        Mode::Duplicate => return work(platform),
        Mode::Slow => tokio::time::sleep(SLOW).await,
        Mode::Hang => std::future::pending().await,
        Mode::Garbage => return raw(200, Answer::Whole(Some(Bytes::from_static(b"\xff\x00<html>not FHIR")))),
        Mode::Half => {
            let mut half = raw(200, Answer::Half { begun: false });
            half.headers_mut().insert("content-length", 1000.into());
            return half;
        }
        Mode::Lie => {
            return answer(
                200,
                &json!({"resourceType": "Bundle", "type": "batch-response", "entry": [{
                    "response": {"status": "200 OK", "location": "Basic/nobodys"}
                }]}),
            );
        }
        Mode::ErrorAfterAccept => return outcome(500, "exception"),
        Mode::Ok | Mode::Down | Mode::Busy | Mode::Table | Mode::Redirect | Mode::Revoke => {}
    }
    done
}

/// A question, with the fault that was ordered for it.
async fn asking(platform: &Platform, work: impl Fn() -> Answered) -> Answered {
    platform.account.asked();
    // The table is about what is told.
    if platform.fault.is_table() { work() } else { write(platform, |_| work()).await }
}

/// What there is of the system's own.
fn asked(platform: &Platform, kind: &str, query: &str) -> Answered {
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    match platform.own.search(&platform.url, kind, &query) {
        Ok(found) => answer(200, &found),
        Err(wrong) => {
            platform.account.violation(kind, &[wrong.as_str()]);
            outcome(400, "not-supported")
        }
    }
}

/// By what other names a person is known (IHE PIXm, ITI-83).
fn cross_reference(platform: &Platform, query: &str) -> Answered {
    let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let of =
        |wanted: &'static str| query.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let source = of("sourceIdentifier").next().and_then(|token| token.split_once('|'));
    let targets: Vec<&str> = of("targetSystem").collect();
    let Some(source) = source.filter(|_| targets.len() == 2) else {
        platform.account.violation("$ihe-pix", &["one identifier and two systems are asked for"]);
        return outcome(403, "code-invalid");
    };
    match platform.own.cross_reference(&platform.url, source, &targets) {
        Some(found) => answer(200, &found),
        None => outcome(404, "not-found"),
    }
}

fn hold(platform: &Platform, body: &[u8]) -> Answered {
    match serde_json::from_slice(body).map(|resource| platform.own.put(resource)) {
        Ok(Ok(())) => answer(200, &json!({})),
        _ => outcome(400, "invalid"),
    }
}

fn token(platform: &Platform, body: &[u8], shown: &Shown<'_>, now: jiff::Timestamp) -> Answered {
    match platform.login.grant(body, shown, now) {
        Ok(granted) => answer(200, &granted),
        Err(code) => {
            if code != "use_dpop_nonce" {
                platform.account.unauthorized();
            }
            with_nonce(platform, answer(400, &json!({"error": code})))
        }
    }
}

/// The nonce that the next proof of possession has to name.
fn with_nonce(platform: &Platform, mut answer: Answered) -> Answered {
    let nonce = platform.login.possession.as_ref().and_then(|possession| possession.nonce().parse().ok());
    if let Some(nonce) = nonce {
        answer.headers_mut().insert("dpop-nonce", nonce);
    }
    answer
}

fn given_back(platform: &Platform, body: &[u8], now: jiff::Timestamp) -> Answered {
    match platform.login.give_back(body, now) {
        Ok(()) => answer(200, &json!({})),
        Err(code) => answer(400, &json!({"error": code})),
    }
}

/// What a citizen's browser is shown.
fn sign_in(platform: &Platform, path: &[&str], uri: &hyper::Uri, now: jiff::Timestamp) -> Answered {
    let Some(citizens) = &platform.login.citizens else { return outcome(404, "not-found") };
    let query = uri.query().unwrap_or_default().as_bytes();
    let asked = url::form_urlencoded::parse(query).into_owned().collect();
    let (header, value, done) = match path {
        ["jwks"] => return answer(200, &citizens.keys()),
        ["authorize"] => match citizens.page(&asked) {
            Ok(page) => {
                ("content-type", "text/html; charset=utf-8".to_owned(), raw(200, Answer::Whole(Some(page.into()))))
            }
            Err(code) => return answer(400, &json!({"error": code})),
        },
        ["authorize", "decide"] => match citizens.decided(&asked, now.as_second()) {
            Ok(back) => ("location", back, raw(303, Answer::Whole(None))),
            Err(code) => return answer(400, &json!({"error": code})),
        },
        _ => return outcome(404, "not-found"),
    };
    let mut done = done;
    if let Ok(value) = value.parse() {
        done.headers_mut().insert(header, value);
    }
    done
}

fn order(platform: &Platform, body: &[u8]) -> Answered {
    match serde_json::from_slice(body) {
        Ok(fault) => {
            platform.fault.order(fault);
            answer(200, &json!({}))
        }
        Err(_) => outcome(400, "invalid"),
    }
}

fn delete(platform: &Platform, kind: &str, id: &str) -> Answered {
    if platform.account.take_back(&format!("{kind}/{id}"), None) {
        raw(204, Answer::Whole(None))
    } else {
        outcome(404, "not-found")
    }
}

fn update(platform: &Platform, kind: &str, id: &str, body: &[u8]) -> Answered {
    let resource = serde_json::from_slice(body).unwrap_or(Value::Null);
    if check::is_emptied(kind, id, &resource) && !platform.refuse_codes.iter().any(|code| code == "masked") {
        platform.account.take_back(&format!("{kind}/{id}"), Some(resource));
        return raw(200, Answer::Whole(None));
    }
    match check::resource(kind, id, resource, &platform.refuse_codes) {
        Ok(checked) => {
            record(platform, vec![checked], |is_new| raw(if is_new[0] { 201 } else { 200 }, Answer::Whole(None)))
        }
        Err(wrong) => {
            platform.account.violation(&format!("{kind}/{id}"), &wrong);
            refusal(&wrong)
        }
    }
}

/// What the system that is played makes of a request of its own shape.
fn shaped(platform: &Platform, body: &[u8], person: Option<&str>) -> Answered {
    let Some(shape) = &platform.shape else { return outcome(405, "not-supported") };
    let taken = match shape.read(body, &platform.refuse_codes) {
        Ok(taken) => taken,
        Err(complaint) => {
            platform.account.violation("request", &[complaint.text.as_str()]);
            return answer(complaint.status, &complaint.outcome());
        }
    };
    // A document that is here already is not taken once more, nor is what comes with it.
    let is_here = |entry: &shape::Entry| {
        let name = format!("{}/{}", entry.kind, entry.id);
        entry.resource["masterIdentifier"].is_object() && platform.account.has(&name)
    };
    if taken.entries.iter().flatten().any(is_here) {
        let text = "XDSDuplicateUniqueIdInRegistry".to_owned();
        let complaint = shape::Complaint { status: 400, code: "duplicate".to_owned(), text };
        return answer(complaint.status, &complaint.outcome());
    }
    let mut done = Vec::with_capacity(taken.entries.len());
    for entry in taken.entries {
        let full_url = entry.as_ref().map(|entry| entry.full_url.clone()).unwrap_or_default();
        let name = entry.as_ref().map(|entry| format!("{}/{}", entry.kind, entry.id)).unwrap_or_default();
        let entry =
            entry.and_then(|entry| based(platform, entry)).and_then(|entry| for_person(platform, entry, person));
        match entry.map_or_else(|complaint| Ok(Done::Refused(complaint)), |entry| put(platform, &name, entry)) {
            Ok(one) => {
                if let Done::Refused(complaint) = &one {
                    platform.account.violation("entry", &[complaint.text.as_str()]);
                }
                done.push((full_url, name, one));
            }
            Err(error) => return broken(&error),
        }
    }
    if let Some(response) = taken.response {
        return answer(200, &shape::answered(response, &done));
    }
    let (name, status) = match done.into_iter().next() {
        Some((_, _, Done::Refused(complaint))) => return answer(complaint.status, &complaint.outcome()),
        Some((_, name, Done::Created)) => (name, 201),
        Some((_, name, _)) => (name, 200),
        None => return outcome(400, "structure"),
    };
    let mut created = raw(status, Answer::Whole(None));
    if let Ok(location) = hyper::header::HeaderValue::from_str(&format!("{}/fhir/{name}/_history/1", platform.url)) {
        created.headers_mut().insert("location", location);
    }
    created
}

/// What is based on a request that is said to be here is based on one that is.
fn based(platform: &Platform, entry: shape::Entry) -> Result<shape::Entry, shape::Complaint> {
    let here = format!("{}/fhir/", platform.url);
    let mut requests = entry.resource["basedOn"].as_array().into_iter().flatten();
    let is_missing = |one: &Value| {
        let name = one["reference"].as_str().and_then(|reference| reference.strip_prefix(&here));
        name.is_some_and(|name| !platform.own.has(name))
    };
    if !requests.any(is_missing) {
        return Ok(entry);
    }
    let text = "GENERAL_RESOURCE_NOT_FOUND".to_owned();
    Err(shape::Complaint { status: 404, code: "not-found".to_owned(), text })
}

/// What is of somebody is of whom the token is for.
fn for_person(
    platform: &Platform,
    entry: shape::Entry,
    person: Option<&str>,
) -> Result<shape::Entry, shape::Complaint> {
    let (Some(person), Some(subject)) = (person, entry.resource["subject"]["reference"].as_str()) else {
        return Ok(entry);
    };
    let here = format!("{}/fhir/", platform.url);
    let is_hers = subject.strip_prefix(&here).is_some_and(|name| platform.own.is_known_as(name, person));
    if is_hers {
        return Ok(entry);
    }
    let text = "The token is for another person.".to_owned();
    Err(shape::Complaint { status: 403, code: "forbidden".to_owned(), text })
}

/// Does what an entry asks.
fn put(platform: &Platform, name: &str, entry: shape::Entry) -> std::io::Result<Done> {
    let shape::Entry { ask, kind, id, resource, .. } = entry;
    let there = platform.account.has(name);
    let (done, version) = match ask {
        // A real system has as many as are asked for; the account counts those that are there twice.
        Ask::Create { conditional: false } if there => (Done::Created, 1),
        Ask::Create { .. } if there => return Ok(Done::Existed),
        Ask::Create { .. } => (Done::Created, platform.account.next_version(name)),
        Ask::Update if there => (Done::Updated, platform.account.next_version(name)),
        Ask::Update => {
            let text = "There is no such resource.".to_owned();
            return Ok(Done::Refused(shape::Complaint { status: 404, code: "not-found".to_owned(), text }));
        }
    };
    platform.account.record(vec![check::Checked { kind, id, version, resource }])?;
    Ok(done)
}

/// All entries or none (FHIR R4 §3.1.0.11.2).
fn transaction(platform: &Platform, body: &[u8]) -> Answered {
    let mut bundle: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let known = bundle["resourceType"] == "Bundle" && bundle["type"] == "transaction";
    let Some(entries) = bundle["entry"].as_array_mut().filter(|_| known) else { return outcome(400, "structure") };
    let mut passed = Vec::new();
    let mut wrong = Vec::new();
    for entry in entries {
        let url = entry["request"]["url"].as_str().unwrap_or_default().to_owned();
        let named = url.split_once('/').filter(|_| entry["request"]["method"] == "PUT");
        let Some((kind, id)) = named else { return outcome(400, "not-supported") };
        match check::resource(kind, id, entry["resource"].take(), &platform.refuse_codes) {
            Ok(checked) => passed.push(checked),
            Err(found) => {
                platform.account.violation(&url, &found);
                wrong.extend(found);
            }
        }
    }
    if !wrong.is_empty() {
        return refusal(&wrong);
    }
    record(platform, passed, |is_new| {
        let status = |is_new: &bool| if *is_new { "201 Created" } else { "200 OK" };
        let entry: Vec<_> = is_new.iter().map(|new| json!({"response": {"status": status(new)}})).collect();
        answer(200, &json!({"resourceType": "Bundle", "type": "transaction-response", "entry": entry}))
    })
}

fn record(platform: &Platform, passed: Vec<check::Checked>, done: impl FnOnce(&[bool]) -> Answered) -> Answered {
    match platform.account.record(passed) {
        Ok(is_new) => done(&is_new),
        Err(error) => broken(&error),
    }
}

fn broken(error: &std::io::Error) -> Answered {
    tracing::error!(%error, "the simulated platform cannot write its log");
    outcome(500, "exception")
}

fn search(platform: &Platform, query: &str) -> Answered {
    let patient = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "patient");
    let Some((_, patient)) = patient else { return outcome(400, "required") };
    let found = platform.account.observations(patient.trim_start_matches("Patient/"));
    let entry: Vec<_> = found.into_iter().map(|resource| json!({"resource": resource})).collect();
    let total = entry.len();
    answer(200, &json!({"resourceType": "Bundle", "type": "searchset", "total": total, "entry": entry}))
}

fn capabilities(url: &str) -> Value {
    json!({
        "resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "fhirVersion": "4.0.1",
        "date": "2026-01-01", "format": ["application/fhir+json"],
        "implementation": {"description": "Simulated national platform", "url": format!("{url}/fhir")},
        "rest": [{
            "mode": "server",
            "security": {"service": [{"coding": [{"code": "SMART-on-FHIR"}]}]},
            "interaction": [{"code": "transaction"}],
            "resource": [{
                "type": "Observation",
                "interaction": [{"code": "update"}, {"code": "search-type"}],
                "updateCreate": true,
                "searchParam": [{"name": "patient", "type": "reference"}],
            }],
        }],
    })
}

fn refusal(wrong: &[&str]) -> Answered {
    let code = if wrong.contains(&check::WITHHELD) { "suppressed" } else { "invalid" };
    let issue = |text: &&str| json!({"severity": "error", "code": code, "details": {"text": text}});
    let issues: Vec<_> = wrong.iter().map(issue).collect();
    answer(422, &json!({"resourceType": "OperationOutcome", "issue": issues}))
}

fn outcome(status: u16, code: &str) -> Answered {
    answer(status, &json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}))
}

fn answer(status: u16, body: &Value) -> Answered {
    raw(status, Answer::Whole(Some(Bytes::from(body.to_string()))))
}

fn raw(status: u16, body: Answer) -> Answered {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("statuses here are written as numbers");
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/fhir+json"));
    response
}
