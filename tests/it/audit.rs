//! The trail: whatever was done or refused is told, once, by a valid AuditEvent, and tells nothing of the content.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Arc;

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::ours;
use mhealth_gateway::fhir::tree::{Element, json as tree};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::AuditPlan;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Gateway, Platform, eventually, head, heart_rate, shared};

const JSON: (&str, &str) = ("content-type", "application/fhir+json");

/// Everything in the trail, oldest first.
async fn trail(gateway: &Gateway) -> Vec<Value> {
    let plan = AuditPlan { limit: 10_000, ..AuditPlan::default() };
    let rows = gateway.store().audit(plan).await.unwrap();
    rows.iter().map(|(_, payload)| serde_json::from_slice(payload).unwrap()).collect()
}

/// What kind of event it is, how it ended, and why not.
fn told(event: &Value) -> String {
    let kind = event["subtype"][0]["code"].as_str().or(event["type"]["code"].as_str()).unwrap_or_default();
    let outcome = event["outcome"].as_str().unwrap_or_default();
    format!("{kind} {outcome} {}", event["outcomeDesc"].as_str().unwrap_or_default()).trim_end().to_owned()
}

fn check_valid(gateway: &Gateway, event: &Value) {
    let document = tree::parse(event.to_string()).unwrap();
    let validator = &gateway.running.as_ref().unwrap().gateway.validator;
    // The guide says what a person may ask to see; what the gateway writes itself holds to it.
    let profile = format!("{}mh-audit", ours::STRUCTURES);
    let options = Options { location: "AuditEvent", profiles: &[&profile], ..Options::default() };
    let report = validator.check(Element::root(&document), &options);
    let errors: Vec<String> =
        report.issues.iter().filter(|issue| issue.is_error()).map(|issue| format!("{issue:?}")).collect();
    assert!(errors.is_empty(), "{event:#}\n{}", errors.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_is_told() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let reading = app.post("/Observation", &heart_rate(&patient, "XMARKERX", 70)).await.id();
    let mut changed = heart_rate(&patient, "XMARKERX", 71);
    changed["id"] = json!(reading);
    let mut invalid = heart_rate(&patient, "XMARKERX", 70);
    invalid["status"] = json!("XMARKERX");
    let entry = |resource: Value| json!({"resource": resource, "request": {"method": "POST", "url": "Observation"}});
    let bundle = |kind: &str, entries: &[Value]| json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    let read_only = gateway.client("reader", "system/Observation.r").await;
    let path = format!("/Observation/{reading}");
    let nothing = Value::Null;
    let conflicting = heart_rate(&patient, "XMARKERX", 99);
    let two = [entry(heart_rate(&patient, "2", 70)), entry(heart_rate(&patient, "3", 70))];
    let mixed = [entry(heart_rate(&patient, "4", 70)), entry(invalid.clone())];
    let table: Vec<(&str, &str, String, Value, &[&str])> = vec![
        ("update", "PUT", path.clone(), changed, &["update 0"]),
        ("read", "GET", path.clone(), nothing.clone(), &["read 0"]),
        ("old version", "GET", format!("{path}/_history/1"), nothing.clone(), &["read 0"]),
        ("nothing", "GET", "/Observation/nothing".into(), nothing.clone(), &["110113 4 not-found"]),
        ("search", "GET", format!("/Observation?patient={patient}"), nothing.clone(), &["search 0"]),
        ("empty search", "GET", "/Observation?patient=nobody".into(), nothing.clone(), &["search 0"]),
        ("audit", "GET", format!("/AuditEvent?patient={patient}"), nothing.clone(), &["search 0"]),
        ("invalid", "POST", "/Observation".into(), invalid.clone(), &["110113 4 binding-required code-meaningless"]),
        ("another content", "POST", "/Observation".into(), conflicting, &["110113 4 duplicate-identifier"]),
        ("nobody's", "POST", "/Observation".into(), heart_rate("nobody", "1", 70), &["110113 4 consent-missing"]),
        ("transaction", "POST", String::new(), bundle("transaction", &two), &["create 0"]),
        (
            "batch",
            "POST",
            String::new(),
            bundle("batch", &mixed),
            &["create 0", "110113 4 binding-required code-meaningless"],
        ),
        (
            "failed transaction",
            "POST",
            String::new(),
            bundle("transaction", &mixed),
            &["110113 4 entry-failed binding-required code-meaningless"],
        ),
        ("no Bundle", "POST", String::new(), bundle("collection", &two), &["110113 4 bundle-rule"]),
        ("duplicate", "POST", "/Observation".into(), heart_rate(&patient, "2", 70), &["create 0"]),
    ];
    let send = async |client: &crate::fixture::Client, method: &str, path: &str, body: &Value| {
        let sent = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        client.raw(method, path, &[JSON, ("x-request-id", "request-1")], sent).await
    };
    for (name, method, path, body, expected) in &table {
        let before = trail(&gateway).await.len();
        let answer = send(&app, method, path, body).await;
        let after = trail(&gateway).await;
        let new: Vec<String> = after[before..].iter().map(told).collect();
        assert_eq!(new, *expected, "{name}: {}", answer.text());
        for event in &after[before..] {
            assert_eq!(event["agent"][0]["who"]["identifier"]["value"], "app", "{name}");
            assert_eq!(event["entity"][0]["what"]["identifier"]["value"], "request-1", "{name}");
        }
    }
    for (name, method, path, body) in [
        ("search beyond scope", "GET", "/Observation", &nothing),
        ("read beyond scope", "GET", "/Patient/1", &nothing),
        ("audit beyond scope", "GET", "/AuditEvent?patient=1", &nothing),
        ("push beyond scope", "POST", "/Observation", &invalid),
    ] {
        let before = trail(&gateway).await.len();
        assert_eq!(send(&read_only, method, path, body).await.status, 403, "{name}");
        let after = trail(&gateway).await;
        assert_eq!(after[before..].iter().map(told).collect::<Vec<_>>(), ["110113 4 scope-insufficient"], "{name}");
    }
    let all = trail(&gateway).await;
    let mut kinds: Vec<String> = all.iter().map(told).collect();
    kinds.sort();
    kinds.dedup();
    assert!(kinds.iter().any(|kind| kind == "110122 0"), "no sign-in among {kinds:?}");
    for event in &all {
        check_valid(&gateway, event);
        let text = event.to_string();
        assert!(!text.contains("XMARKERX") && !text.contains("8867-4"), "{text}");
    }
}

/// Whatever turns a client away, wherever it happens, is one event under the client's name.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_a_client_is_on_record() {
    let gateway = Gateway::with("[limits]\nbody_bytes = 20000\n").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let large = "x".repeat(30_000);
    let search = [("content-type", "application/json")];
    let devices = format!("{}/devices/open-mhealth", app.root());
    let long = "k".repeat(300);
    let get_bundle = |url: &str| {
        let entry = json!({"request": {"method": "GET", "url": url}});
        json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]}).to_string()
    };
    type Row<'a> = (&'a str, &'a str, String, Vec<(&'a str, &'a str)>, String, &'a str);
    let table: Vec<Row<'_>> = vec![
        ("method", "POST", "/Observation/1".into(), vec![], String::new(), "method-not-allowed"),
        ("address", "GET", "/Observation/1/2".into(), vec![], String::new(), "route-unknown"),
        ("format", "GET", "/Observation".into(), vec![("accept", "image/png")], String::new(), "not-acceptable"),
        ("too large", "POST", "/Observation".into(), vec![JSON], large.clone(), "body-too-large"),
        ("validate too large", "POST", "/Observation/$validate".into(), vec![JSON], large, "body-too-large"),
        ("validate nothing", "POST", "/Observation/$validate".into(), vec![JSON], String::new(), "body-missing"),
        ("validate nonsense", "POST", "/Observation/$validate".into(), vec![JSON], "{".into(), "json-syntax"),
        (
            "encoding",
            "POST",
            "/Observation".into(),
            vec![JSON, ("content-encoding", "br")],
            "{}".into(),
            "body-encoding",
        ),
        (
            "media type",
            "POST",
            "/Observation".into(),
            vec![("content-type", "text/csv")],
            "a".into(),
            "media-type-unsupported",
        ),
        ("form", "POST", "/Observation/_search".into(), search.to_vec(), "{}".into(), "media-type-unsupported"),
        ("parameter", "GET", "/Observation?nope=1".into(), vec![], String::new(), "search-parameter-unknown"),
        ("value", "GET", "/Observation?date=soon".into(), vec![], String::new(), "search-value"),
        ("page", "GET", "/Observation?_page=x".into(), vec![], String::new(), "page-unknown"),
        ("audit of all", "GET", "/AuditEvent".into(), vec![], String::new(), "search-too-costly"),
        ("type", "GET", "/Encounter/1".into(), vec![], String::new(), "interaction-unsupported"),
        ("type of a search", "GET", "/Encounter".into(), vec![], String::new(), "interaction-unsupported"),
        (
            "purpose",
            "GET",
            "/Observation".into(),
            vec![("x-purpose-of-use", "HMARKT")],
            String::new(),
            "scope-insufficient",
        ),
        ("if-match", "PUT", "/Observation/1".into(), vec![JSON, ("if-match", "x")], "{}".into(), "version-conflict"),
        (
            "condition",
            "POST",
            "/Observation".into(),
            vec![JSON, ("if-none-exist", "?")],
            "{}".into(),
            "condition-unsupported",
        ),
        (
            "key",
            "POST",
            "/Observation".into(),
            vec![JSON, ("idempotency-key", &long)],
            "{}".into(),
            "idempotency-key-invalid",
        ),
        (
            "device format",
            "POST",
            format!("{}/devices/x?patient=1", app.root()),
            vec![JSON],
            "{}".into(),
            "route-unknown",
        ),
        ("nobody's records", "POST", devices, vec![JSON], "{}".into(), "patient-missing"),
        ("entry", "POST", String::new(), vec![JSON], get_bundle("a/b/c/d/e"), "not-found"),
        ("entry's version", "POST", String::new(), vec![JSON], get_bundle("Observation/1/_history/x"), "not-found"),
        (
            "entry's search",
            "POST",
            String::new(),
            vec![JSON],
            get_bundle("Observation?nope=1"),
            "search-parameter-unknown",
        ),
    ];
    for (name, method, path, headers, body, expected) in &table {
        let before = trail(&gateway).await.len();
        let answer = app.raw(method, path, headers, body.as_str()).await;
        assert!(answer.status >= 400 || path.is_empty(), "{name}: {}", answer.text());
        let after = trail(&gateway).await;
        let new: Vec<String> = after[before..].iter().map(told).collect();
        assert_eq!(new, [format!("110113 4 {expected}")], "{name}: {}", answer.text());
        assert_eq!(after[before]["agent"][0]["who"]["identifier"]["value"], "app", "{name}");
        check_valid(&gateway, &after[before]);
    }
    let key = [JSON, ("idempotency-key", "1")];
    for (index, expected) in ["create 0", "110113 4 idempotency-key-reused"].iter().enumerate() {
        let reading = heart_rate(&patient, &index.to_string(), 70).to_string();
        app.raw("POST", "/Observation", &key, reading).await;
        assert_eq!(trail(&gateway).await.last().map(told).as_deref(), Some(*expected));
    }
}

/// Sends the head of a push and waits until the gateway asks for the body.
fn begun(gateway: &Gateway, app: &crate::fixture::Client) -> crate::fixture::Connection {
    let mut stream = gateway.connection();
    write!(
        stream,
        "POST /fhir/Observation HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/fhir+json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        app.bearer
    )
    .unwrap();
    stream.flush().unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 Continue"));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_is_on_record() {
    let gateway = Gateway::with("[limits]\nconcurrent_requests = 1\n").await;
    let app = gateway.app().await;
    let held = begun(&gateway, &app);
    let answer = app.get("/Observation").await;
    assert_eq!((answer.status, answer.issues()), (503, vec!["overloaded".to_owned()]));
    let last = trail(&gateway).await.pop().unwrap();
    assert_eq!(told(&last), "110113 4 overloaded");
    assert_eq!(last["agent"][0]["who"]["identifier"]["value"], "app");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_is_on_record() {
    let gateway = Gateway::with("[limits]\nbody_seconds = 1\n").await;
    let app = gateway.app().await;
    let mut stream = begun(&gateway, &app);
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(std::str::from_utf8(&head).unwrap(), "HTTP/1.1 408");
    assert_eq!(trail(&gateway).await.last().map(told).as_deref(), Some("110113 4 body-too-slow"));
}

/// What hyper refuses by itself is answered like everything else, and told as a stranger's.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_answered_and_on_record() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let long = format!("GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(80_000));
    let behind =
        format!("GET /fhir/Observation HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", app.bearer);
    for (first, request, status, id) in [
        ("", "NONSENSE\r\n\r\n", 400, "http-malformed"),
        ("", "GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n", 400, "http-malformed"),
        ("", &long, 431, "head-too-large"),
        (&behind, "NONSENSE\r\n\r\n", 400, "http-malformed"),
    ] {
        let mut stream = gateway.connection();
        if !first.is_empty() {
            stream.write_all(first.as_bytes()).unwrap();
            assert_eq!(answered(&mut stream).0, 200);
        }
        // The server may close before it has read all of it.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.flush();
        let (found, head, body) = answered(&mut stream);
        assert_eq!((found, crate::fixture::issues(&body)), (status, vec![id.to_owned()]), "{request:.40}");
        let request_id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().trim().to_owned();
        let event = eventually("it is on record", async || {
            let events = trail(&gateway).await;
            events.into_iter().find(|event| event["entity"][0]["what"]["identifier"]["value"] == request_id.as_str())
        })
        .await;
        assert_eq!(told(&event), format!("110113 4 {id}"));
    }
}

/// Status, head and body of an answer on a connection.
fn answered(stream: &mut crate::fixture::Connection) -> (u16, String, Value) {
    let head = head(stream);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().trim().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, serde_json::from_slice(&body).unwrap_or_default())
}

/// A flood of strangers is told in few events, and its size is told when it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_told_within_a_bound() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let before = trail(&gateway).await.len();
    let doors =
        [("GET", "/Observation"), ("DELETE", "/Observation/1"), ("GET", "/nothing/at/all"), ("POST", "/Patient")];
    for round in 0..10 {
        for (method, path) in doors {
            let answer = app.raw(method, path, &[("authorization", "Bearer nonsense")], "").await;
            assert!(answer.status >= 400, "{round}: {method} {path}");
        }
    }
    let events = trail(&gateway).await.split_off(before);
    let (count, nobody) = (events.len(), events.iter().all(|event| event["agent"].as_array().unwrap().len() == 1));
    assert!((20..40).contains(&count) && nobody, "{count} events");
    assert_eq!(told(&events[0]), "110113 4 token-invalid");
    for event in &events {
        check_valid(&gateway, event);
    }
    let directory = gateway.stop().await;
    let gateway = Gateway::in_directory(directory, "").await;
    let last = trail(&gateway).await.pop().unwrap();
    let merged = format!("110113 4 {} more refusals of strangers since ", 40 - count);
    assert!(told(&last).starts_with(&merged), "{last:#}");
    check_valid(&gateway, &last);
}

/// The answer and the event of a refused push name the same consent; a search that withheld tells the person, and
/// nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_hears_what_consent_refused() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let reader = gateway.client("reader", "system/Observation.rs").await;
    let patient = app.person().await;
    let consent = app.consent(&patient, &[(&app.actor, &[Action::Collect], &["heart-rate"])]).await;
    let reading = app.post("/Observation", &heart_rate(&patient, "1", 70)).await.id();
    let mut weight = heart_rate(&patient, "2", 70);
    weight["code"]["coding"][0]["code"] = json!("29463-7");
    weight["valueQuantity"]["unit"] = json!("kg");
    weight["valueQuantity"]["code"] = json!("kg");
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"resource": weight, "request": {"method": "POST", "url": "Observation"}},
    ]});
    let named = |event: &Value| {
        let entities = event["entity"].as_array().unwrap().clone();
        let find = |kind: &str| entities.iter().find(|entity| entity["type"]["code"] == kind).cloned();
        let text =
            |entity: Option<Value>| entity.map(|entity| entity["what"]["reference"].as_str().unwrap().to_owned());
        (text(find("Consent")), text(find("1")))
    };
    let expected = (Some(format!("Consent/{consent}/_history/1")), Some(format!("Patient/{patient}")));
    for (path, body) in [("/Observation", &weight), ("", &bundle)] {
        let answer = app.post(path, body).await;
        assert!(answer.text().contains(&format!("Consent/{consent} version 1")), "{}", answer.text());
        let last = trail(&gateway).await.pop().unwrap();
        assert_eq!((told(&last).as_str(), named(&last)), ("110113 4 consent-denied", expected.clone()), "{last:#}");
    }
    for (client, path, hits) in [
        (&reader, format!("/Observation?patient={patient}"), 1),
        (&reader, "/Observation".to_owned(), 1),
        (&reader, format!("/Observation?patient={patient}&code=29463-7"), 0),
        (&app, format!("/Observation?patient={patient}"), 1),
        (&reader, format!("/Observation/{reading}"), 1),
    ] {
        let before = trail(&gateway).await.len();
        let answer = client.get(&path).await;
        assert!(!answer.text().contains(&reading) && !answer.text().contains("suppressed"), "{}", answer.text());
        let withheld: Vec<Value> =
            trail(&gateway).await.split_off(before).into_iter().filter(|event| event["outcome"] == "4").collect();
        assert_eq!(withheld.len(), hits, "{path}");
        for event in &withheld {
            assert_eq!(named(event), expected, "{path}");
            assert!(!event.to_string().contains(&format!("Observation/{reading}")), "what it was is not said");
        }
    }
    // The person reads it with whichever app; the app that asked reads nothing that it was not told.
    let page = app.get(&format!("/AuditEvent?patient={patient}&_count=100")).await.json();
    let refusals = page["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
    let of = |client: &str| {
        refusals
            .clone()
            .filter(|event| event["outcome"] == "4" && event["agent"][0]["who"]["identifier"]["value"] == *client)
            .count()
    };
    assert_eq!((of("reader"), of("app")), (3, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_is_told_and_a_strangers_within_the_bound() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let stored = gateway.store().get_client("app").await.unwrap().unwrap();
    let mut document: Value = serde_json::from_str(&stored).unwrap();
    document["suspended"] = json!(true);
    gateway.store().put_client("app", &document.to_string()).await.unwrap();
    let before = trail(&gateway).await.len();
    let pem = std::fs::read(&app.key).unwrap();
    let url = format!("{}/auth/token", app.root());
    for (client, expected, named) in [("app", 1, "app"), ("nobody", 2, "")] {
        let asked = mhealth_gateway::commands::token::Asked { url: &url, client, kid: "key-1", pem: &pem, scope: None };
        assert!(mhealth_gateway::commands::token::fetch(&app.http, &asked).await.is_err());
        let after = trail(&gateway).await;
        assert_eq!(after.len() - before, expected, "{client}");
        let last = after.last().unwrap();
        check_valid(&gateway, last);
        assert_eq!(last["agent"][0]["who"]["identifier"]["value"].as_str().unwrap_or_default(), named);
    }
    // A name alone proves nothing: whoever signs with another key is a stranger, and fills nobody's log.
    let other = gateway.client("other", APP_SCOPES).await;
    let pem = std::fs::read(&other.key).unwrap();
    let asked =
        mhealth_gateway::commands::token::Asked { url: &url, client: "app", kid: "key-1", pem: &pem, scope: None };
    assert!(mhealth_gateway::commands::token::fetch(&app.http, &asked).await.is_err());
    assert!(trail(&gateway).await.pop().unwrap()["agent"][0]["who"]["identifier"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_read_who_did_what() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for index in 0..5 {
        app.post("/Observation", &heart_rate(&patient, &index.to_string(), 70)).await;
    }
    let stranger = gateway.client("stranger", APP_SCOPES).await;
    stranger.post("/Observation", &heart_rate(&patient, "1", 70)).await;
    let mut events = Vec::new();
    let mut next = Some(format!("/AuditEvent?patient={patient}&_count=3"));
    while let Some(path) = next {
        let bundle = app.get(&path).await.json();
        events.extend(bundle["entry"].as_array().into_iter().flatten().map(|entry| entry["resource"].clone()));
        let links = bundle["link"].as_array().unwrap();
        let link = links.iter().find(|link| link["relation"] == "next");
        next = link.map(|link| link["url"].as_str().unwrap().to_owned());
        assert!(events.len() < 100, "paging does not end");
    }
    let mut ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    let (count, creates) = (ids.len(), events.iter().filter(|event| told(event) == "create 0").count());
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), creates), (count, 7), "a Patient, a Consent and five readings");
    let refusals: Vec<&Value> = events.iter().filter(|event| event["outcome"] == "4").collect();
    assert_eq!(refusals.len(), 1, "the stranger's attempt");
    assert_eq!(refusals[0]["agent"][0]["who"]["identifier"]["value"], "stranger");
    let reading = events.iter().find(|event| told(event) == "create 0" && event.to_string().contains("Observation/"));
    let consent =
        reading.unwrap()["entity"].as_array().unwrap().iter().any(|entity| entity["type"]["code"] == "Consent");
    assert!(consent, "the consent that a reading rests on");
}

/// What cannot even be read is a refusal like any other.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_push_is_on_record() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let refused = app.send(reqwest::Method::POST, "/Observation", "{").await;
    assert_eq!(refused.status, 400);
    let plan = AuditPlan { limit: 100, ..AuditPlan::default() };
    let events = gateway.store().audit(plan).await.unwrap();
    let told = events.iter().any(|(_, event)| String::from_utf8_lossy(event).contains("json-syntax"));
    assert!(told, "{} events", events.len());
}

/// What is said to follow a pattern of IHE's Basic Audit Log Patterns is held against the pattern itself.
#[tokio::test(flavor = "multi_thread")]
async fn patterns_that_are_claimed_are_followed() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    let reading = app.post("/Observation", &heart_rate(&patient, "1", 70)).await.id();
    let mut changed = heart_rate(&patient, "1", 71);
    changed["id"] = json!(reading);
    assert_eq!(app.put(&format!("/Observation/{reading}"), &changed).await.status, 200);
    assert_eq!(app.get(&format!("/Observation/{reading}")).await.status, 200);
    assert_eq!(app.get(&format!("/Observation?patient={patient}")).await.status, 200);

    let package = shared("MHEALTH_PACKAGES", "packages").join("ihe.iti.balp-1.1.5-current.tgz");
    let balp = Arc::new(Package::read(&std::fs::read(&package).unwrap()).unwrap());
    let validator = Validator::new(Registry::with_packages([guide::packages(), vec![balp]].concat()));
    let mut followed = BTreeSet::new();
    let told = eventually("the delivery is told", async || {
        let events = trail(&gateway).await;
        events.iter().any(|event| event["type"]["code"] == "110106").then_some(events)
    })
    .await;
    for event in told {
        let Some(profile) = event["meta"]["profile"][0].as_str() else { continue };
        let document = tree::parse(event.to_string()).unwrap();
        let report = validator.check(
            Element::root(&document),
            &Options { location: "AuditEvent", profiles: &[profile], ..Options::default() },
        );
        let errors: Vec<String> =
            report.issues.iter().filter(|issue| issue.is_error()).map(|issue| format!("{issue:?}")).collect();
        assert!(errors.is_empty(), "{event:#}\n{}", errors.join("\n"));
        followed.insert(profile.rsplit_once("IHE.BasicAudit.").unwrap().1.to_owned());
    }
    let expected = ["PatientCreate", "PatientQuery", "PatientRead", "PatientUpdate", "PrivacyDisclosure.Source"];
    assert_eq!(followed.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// What a search says without handing anything out is on record as well: a count by value finds the value out.
#[tokio::test]
async fn a_count_is_on_record_and_so_is_that_nothing_matches() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "one", 62)).await.status, 201);
    let searches = |text: &str| text.matches("\"code\":\"search\"").count();
    let mut known = 0;
    for (query, what) in [
        ("value-quantity=gt60&_summary=count", "a count"),
        ("value-quantity=gt60&_count=0", "a page of nothing"),
        ("value-quantity=gt70", "that nothing matches"),
        ("value-quantity=gt70&_summary=count", "a count of nothing"),
        ("value-quantity=gt60", "a hit"),
    ] {
        assert_eq!(app.get(&format!("/Observation?patient={patient}&{query}")).await.status, 200);
        let trail = app.get(&format!("/AuditEvent?patient={patient}&_count=500")).await;
        let count = searches(&trail.text());
        assert!(count > known, "{what} is not on record");
        known = count;
    }
    let reverse = format!("/Patient?_id={patient}&_has:Observation:patient:value-quantity=gt70");
    assert_eq!(app.find(&reverse).await.0, Some(0));
    // She reads what each was about.
    let log = app.get(&(app.root().to_owned() + &format!("/persons/{patient}/access-log?_count=500"))).await.json();
    let lines = log["entries"].as_array().unwrap().iter().filter(|line| line["act"] == "search");
    let about_nothing = lines.clone().filter(|line| line["categories"].as_array().unwrap().is_empty());
    let about_hearts = lines.filter(|line| line["categories"] == json!(["heart-rate"])).count();
    // Those of the audit itself are about no measurement.
    assert_eq!((about_hearts, about_nothing.count()), (6, 5), "{log:#}");
    // Also that nothing was found where no index led anywhere, by somebody who may look, and what readings come to.
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    app.consent(&patient, &[("Organization/clinic", &[Action::Access], &["heart-rate"])]).await;
    assert_eq!(clinic.find(&format!("/Observation?patient={patient}&date=lt2000")).await.0, Some(0));
    let stats = "/Observation/$stats?code=8867-4&system=http://loinc.org&duration=1000000&statistic=average";
    assert_eq!(clinic.get(&format!("{stats}&subject={patient}")).await.status, 200);
    let log = app.get(&(app.root().to_owned() + &format!("/persons/{patient}/access-log?_count=500"))).await.json();
    let lines = log["entries"].as_array().unwrap().iter();
    let told: Vec<&Value> =
        lines.filter(|line| line["who"]["id"] == "clinic").map(|line| &line["categories"]).collect();
    assert_eq!(told, [&json!(["heart-rate"]), &json!([])], "{log:#}");
}
