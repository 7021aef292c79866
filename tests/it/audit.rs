//! The trail: whatever was done or refused is told, once, by a valid AuditEvent, and tells nothing of the content.

use mhealth_gateway::fhir::tree::{Element, json as tree};
use mhealth_gateway::fhir::validate::Options;
use mhealth_gateway::store::AuditPlan;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Gateway, heart_rate};

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
    let report = validator.check(Element::root(&document), &Options { location: "AuditEvent", ..Options::default() });
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
        ("invalid", "POST", "/Observation".into(), invalid.clone(), &["110113 4 binding-required"]),
        ("another content", "POST", "/Observation".into(), conflicting, &["110113 4 duplicate-identifier"]),
        ("nobody's", "POST", "/Observation".into(), heart_rate("nobody", "1", 70), &["110113 4 consent-missing"]),
        ("transaction", "POST", String::new(), bundle("transaction", &two), &["create 0"]),
        ("batch", "POST", String::new(), bundle("batch", &mixed), &["create 0", "110113 4 binding-required"]),
        (
            "failed transaction",
            "POST",
            String::new(),
            bundle("transaction", &mixed),
            &["110113 4 entry-failed binding-required"],
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

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_is_told_and_a_strangers_is_not() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let stored = gateway.store().get_client("app").await.unwrap().unwrap();
    let mut document: Value = serde_json::from_str(&stored).unwrap();
    document["suspended"] = json!(true);
    gateway.store().put_client("app", &document.to_string()).await.unwrap();
    let before = trail(&gateway).await.len();
    let pem = std::fs::read(&app.key).unwrap();
    let url = format!("{}/auth/token", app.root());
    for (client, expected) in [("app", 1), ("nobody", 1)] {
        let asked = mhealth_gateway::commands::token::Asked { url: &url, client, kid: "key-1", pem: &pem, scope: None };
        assert!(mhealth_gateway::commands::token::fetch(&app.http, &asked).await.is_err());
        let after = trail(&gateway).await;
        assert_eq!(after.len() - before, expected, "{client}");
        check_valid(&gateway, after.last().unwrap());
    }
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
