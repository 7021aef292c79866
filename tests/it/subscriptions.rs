//! Subscriptions: who is told what, how much of it, in which order, and who learns nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::outcome::{Id, Issue};
use mhealth_gateway::fhir::tree::{Element, json as tree};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::server::tls;
use mhealth_gateway::store::AuditPlan;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::fixture::{APP_SCOPES, Client, Gateway, Site, eventually, heart_rate, run, shared};
use crate::hook::{Hook, Manner, events, parameter};
use crate::postgres;

const EXTENSION: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-";

/// What a clinic is registered for.
const CLINIC: &str = "system/Observation.rs system/Consent.rs system/Subscription.cruds system/AuditEvent.s";

pub fn topic(name: &str) -> String {
    format!("{}/SubscriptionTopic/{name}", mhealth_gateway::fhir::ours::BASE)
}

/// A subscription to measurements at an endpoint.
pub fn subscription(endpoint: &str, content: &str, filters: &[&str]) -> Value {
    let filter = |text: &&str| json!({"url": format!("{EXTENSION}filter-criteria"), "valueString": text});
    let mut subscription = json!({
        "resourceType": "Subscription", "status": "requested", "reason": "test", "criteria": topic("observation-changed"),
        "channel": {
            "type": "rest-hook", "endpoint": endpoint, "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": format!("{EXTENSION}payload-content"), "valueCode": content}]},
        },
    });
    if !filters.is_empty() {
        subscription["_criteria"] = json!({"extension": filters.iter().map(filter).collect::<Vec<_>>()});
    }
    subscription
}

/// Subscribes; answers the id.
pub async fn subscribe(client: &Client, subscription: &Value) -> String {
    let answer = client.post("/Subscription", subscription).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.id()
}

/// Waits for a status.
pub async fn until_status(client: &Client, id: &str, status: &str) -> Value {
    eventually(status, async || {
        let answer = client.get(&format!("/Subscription/{id}")).await.json();
        (answer["status"] == status).then_some(answer)
    })
    .await
}

/// A person whom an app collects from and a clinic may read.
pub async fn person(app: &Client, shares: bool) -> String {
    let patient = app.person().await;
    permit(app, &patient, shares).await;
    patient
}

async fn permit(app: &Client, patient: &str, shares: bool) -> String {
    let actor = app.actor.clone();
    let collects = (actor.as_str(), &[Action::Collect, Action::Access][..], &["heart-rate", "blood-pressure"][..]);
    let sees = ("Organization/clinic", &[Action::Access][..], &["heart-rate"][..]);
    let permits = [collects, sees];
    app.consent(patient, if shares { &permits } else { &permits[..1] }).await
}

async fn push(app: &Client, patient: &str, name: &str) -> String {
    let answer = app.post("/Observation", &heart_rate(patient, name, 70)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.id()
}

/// A gateway that may call the hook, an app and a clinic.
async fn scene(hook: &Hook, more: &str) -> (Gateway, Client, Client) {
    let gateway = Gateway::with(&hook.configuration(more)).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", CLINIC).await;
    (gateway, app, clinic)
}

async fn status_of(client: &Client, id: &str) -> Value {
    let answer = client.get(&format!("/Subscription/{id}/$status")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    assert_eq!((&bundle["type"], bundle["entry"].as_array().unwrap().len()), (&json!("searchset"), 1));
    bundle["entry"][0]["resource"].clone()
}

async fn count_of(client: &Client, id: &str) -> u64 {
    let status = status_of(client, id).await;
    parameter(&status, "events-since-subscription-start")["valueString"].as_str().unwrap().parse().unwrap()
}

fn numbers(events: &[(u64, Option<String>)]) -> Vec<u64> {
    events.iter().map(|(number, _)| *number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_told_after_it_shook_hands() {
    let hook = Hook::start().await;
    let (gateway, app, clinic) = scene(&hook, "").await;
    let patient = person(&app, true).await;
    push(&app, &patient, "before").await;
    let mut asked = subscription(&format!("{}/hook", hook.url), "full-resource", &[]);
    asked["channel"]["header"] = json!(["Authorization: Bearer secret-of-clinic"]);
    let answer = clinic.post("/Subscription", &asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["status"], "requested");
    assert!(answer.header("location").contains("/Subscription/"));
    assert!(!answer.text().contains("secret-of-clinic"), "a secret is not read back");
    let id = answer.id();
    let active = until_status(&clinic, &id, "active").await;
    assert!(active["channel"].get("header").is_none());
    let handshake = hook.until("handshake").await;
    assert_eq!(handshake.path, "/hook");
    assert_eq!(handshake.headers["authorization"], "Bearer secret-of-clinic");
    assert_eq!(handshake.headers["content-type"], "application/fhir+json");
    assert_eq!(handshake.said("events-since-subscription-start")["valueString"], "0");
    assert_eq!(handshake.said("status")["valueCode"], "requested");
    let reading = push(&app, &patient, "after").await;
    let taken = hook.until_taken(1).await;
    let focus = format!("{}/Observation/{reading}", gateway.base);
    assert_eq!(taken, [(1, Some(focus.clone()))]);
    let told = hook.until("event-notification").await.json();
    assert_eq!(told["entry"][1]["fullUrl"], focus);
    assert_eq!(told["entry"][1]["resource"]["valueQuantity"]["value"], 70);
    assert_eq!(told["entry"][1]["request"]["method"], "POST");
    assert_eq!(count_of(&clinic, &id).await, 1);
    // The disclosure is on record, for the person, with the endpoint.
    let records = audit(&gateway).await;
    let disclosed = records.iter().filter(|record| record.to_string().contains(&format!("Observation/{reading}")));
    assert!(disclosed.filter(|record| record.to_string().contains("Organization/clinic")).count() >= 1);
    // What lies in the store is sealed.
    let stored = gateway.store().subscription(&id).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored.body).contains("secret-of-clinic"));
}

async fn audit(gateway: &Gateway) -> Vec<Value> {
    let plan = AuditPlan { limit: 10_000, ..AuditPlan::default() };
    let records = gateway.store().audit(plan).await.unwrap();
    records.iter().map(|(_, payload)| serde_json::from_slice(payload).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_much_is_told_as_was_asked_for() {
    for (content, focus, entries, resource, topic) in
        [("empty", false, 1, false, false), ("id-only", true, 2, false, true), ("full-resource", true, 2, true, true)]
    {
        let hook = Hook::start().await;
        let (_gateway, app, clinic) = scene(&hook, "").await;
        let patient = person(&app, true).await;
        let id = subscribe(&clinic, &subscription(&hook.url, content, &[])).await;
        until_status(&clinic, &id, "active").await;
        push(&app, &patient, "1").await;
        let heard = hook.until("event-notification").await;
        assert_eq!(heard.events()[0].1.is_some(), focus, "{content}");
        let bundle = heard.json();
        assert_eq!(bundle["entry"].as_array().unwrap().len(), entries, "{content}");
        assert_eq!(bundle["entry"][1].get("resource").is_some(), resource, "{content}");
        assert_eq!(heard.said("topic").is_null(), !topic, "{content}");
        assert_eq!(heard.text.contains(&patient), resource, "{content}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_fails_is_an_error_and_can_be_asked_for_again() {
    let mut hook = Hook::start().await;
    let (_gateway, _app, clinic) = scene(&hook, "timeout_seconds = 1").await;
    for manner in [Manner::Status(500), Manner::Status(404), Manner::Redirect, Manner::Silent] {
        hook.answer_with(manner);
        let id = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
        let shown = until_status(&clinic, &id, "error").await;
        assert!(shown["error"].is_string(), "{manner:?}");
        let status = status_of(&clinic, &id).await;
        assert_eq!(parameter(&status, "status")["valueCode"], "error");
        assert!(parameter(&status, "error")["valueCodeableConcept"]["text"].is_string());
    }
    assert!(hook.heard().iter().all(|heard| heard.path == "/"), "a redirect was followed");
    hook.leave().await;
    let id = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
    let mut shown = until_status(&clinic, &id, "error").await;
    hook.come_back().await;
    hook.answer_with(Manner::Status(204));
    shown["status"] = json!("requested");
    let again = clinic.put(&format!("/Subscription/{id}"), &shown).await;
    assert_eq!(again.status, 200, "{}", again.text());
    until_status(&clinic, &id, "active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_an_endpoint_is_away() {
    let mut hook = Hook::start().await;
    let (_gateway, app, clinic) = scene(&hook, "retry_attempts = 1000\nevents = 7").await;
    let patient = person(&app, true).await;
    let id =
        subscribe(&clinic, &subscription(&hook.url, "id-only", &[&format!("Observation?patient={patient}")])).await;
    until_status(&clinic, &id, "active").await;
    hook.leave().await;
    let mut pushed = Vec::new();
    for index in 0..20 {
        pushed.push(push(&app, &patient, &format!("r-{index}")).await);
    }
    // Whoever cannot wait asks.
    let answer = eventually("the events are there", async || {
        let answer = clinic.get(&format!("/Subscription/{id}/$events")).await.json();
        (events(&answer).len() == 20).then_some(answer)
    })
    .await;
    assert_eq!(numbers(&events(&answer)), (1..=20).collect::<Vec<_>>());
    assert_eq!(parameter(&answer["entry"][0]["resource"], "type")["valueCode"], "query-event");
    hook.come_back().await;
    let taken = hook.until_taken(20).await;
    assert_eq!(numbers(&taken), (1..=20).collect::<Vec<_>>());
    let told: Vec<&str> =
        taken.iter().map(|(_, focus)| focus.as_deref().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(told, pushed);
    assert!(hook.heard().iter().all(|heard| heard.occasion() != "event-notification" || heard.events().len() <= 7));
    let range = format!("/Subscription/{id}/$events?eventsSinceNumber=3&eventsUntilNumber=5&content=full-resource");
    let part = clinic.get(&range).await.json();
    assert_eq!(numbers(&events(&part)), [3, 4, 5]);
    assert_eq!(part["entry"][1]["resource"]["id"], pushed[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_stays_away_is_given_up_and_nothing_is_lost() {
    let hook = Hook::start().await;
    let (gateway, app, clinic) = scene(&hook, "retry_attempts = 3").await;
    let patient = person(&app, true).await;
    let id = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
    until_status(&clinic, &id, "active").await;
    hook.answer_with(Manner::Status(503));
    push(&app, &patient, "1").await;
    let mut shown = until_status(&clinic, &id, "error").await;
    push(&app, &patient, "2").await;
    eventually("what happens counts", async || (count_of(&clinic, &id).await == 2).then_some(())).await;
    let tried = hook.heard().len();
    assert_eq!(tried, 1 + 3, "a handshake and three attempts");
    hook.answer_with(Manner::Status(200));
    shown["status"] = json!("requested");
    assert_eq!(clinic.put(&format!("/Subscription/{id}"), &shown).await.status, 200);
    assert_eq!(numbers(&hook.until_taken(2).await), [1, 2]);

    // What became of it is told to its client, and to nobody else.
    until_status(&clinic, &id, "active").await;
    let history = clinic.get(&format!("/Subscription/{id}/_history")).await.json();
    let entries = history["entry"].as_array().unwrap();
    let became: Vec<_> = entries
        .iter()
        .map(|entry| {
            let resource = &entry["resource"];
            let version = resource["meta"]["versionId"].as_str().unwrap();
            assert_eq!(entry["response"]["etag"], format!("W/\"{version}\""));
            (version, resource["status"].as_str().unwrap(), entry["request"]["method"].as_str().unwrap())
        })
        .collect();
    let wanted = [
        ("5", "active", "PUT"),
        ("4", "requested", "PUT"),
        ("3", "error", "PUT"),
        ("2", "active", "PUT"),
        ("1", "requested", "POST"),
    ];
    assert_eq!((became, &history["total"], &history["type"]), (wanted.to_vec(), &json!(5), &json!("history")));
    let since = entries[1]["response"]["lastModified"].as_str().unwrap();
    let part = clinic.get(&format!("/Subscription/{id}/_history?_since={since}&_count=1")).await.json();
    assert_eq!((part["total"].as_u64() >= Some(2), part["entry"].as_array().unwrap().len()), (true, 1));
    let third = clinic.get(&format!("/Subscription/{id}/_history/3")).await;
    assert_eq!((third.json()["status"].as_str(), third.header("etag")), (Some("error"), "W/\"3\""));
    for path in ["_history/9", "_history/x"] {
        assert_eq!(clinic.get(&format!("/Subscription/{id}/{path}")).await.status, 404, "{path}");
    }
    let stranger = gateway.client("stranger", CLINIC).await;
    for path in ["_history", "_history/1"] {
        assert_eq!(stranger.get(&format!("/Subscription/{id}/{path}")).await.status, 404, "{path}");
    }
    assert_eq!(clinic.raw("DELETE", &format!("/Subscription/{id}"), &[], "").await.status, 204);
    assert_eq!(
        clinic.get(&format!("/Subscription/{id}/_history/3")).await.status,
        404,
        "it went with the subscription"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_leaves_no_trace() {
    let hook = Hook::start().await;
    let (_gateway, app, clinic) = scene(&hook, "").await;
    let (shown, hidden) = (person(&app, true).await, person(&app, false).await);
    let everybody = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
    let filter = format!("Observation?patient=Patient/{hidden}");
    let of_hidden = subscribe(&clinic, &subscription(&hook.url, "id-only", &[&filter])).await;
    let filter = "Observation?patient=Patient/nobody".to_owned();
    let of_nobody = subscribe(&clinic, &subscription(&hook.url, "id-only", &[&filter])).await;
    for id in [&everybody, &of_hidden, &of_nobody] {
        until_status(&clinic, id, "active").await;
    }
    let first = push(&app, &shown, "1").await;
    for index in 0..5 {
        push(&app, &hidden, &format!("h-{index}")).await;
    }
    // Of a category that the person does not share with the clinic.
    let mut pressure = heart_rate(&shown, "bp", 70);
    pressure["code"]["coding"][0]["code"] = json!("8480-6");
    pressure["valueQuantity"] =
        json!({"value": 120, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"});
    let answer = app.post("/Observation", &pressure).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let second = push(&app, &shown, "2").await;
    let taken = hook.until_taken(2).await;
    let focuses: Vec<&str> =
        taken.iter().map(|(_, focus)| focus.as_deref().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!((numbers(&taken), focuses), (vec![1, 2], vec![first.as_str(), second.as_str()]));
    assert_eq!(count_of(&clinic, &everybody).await, 2);
    let plain = |id: &str, status: &Value| {
        let mut status = status.clone();
        status["id"] = json!("");
        status.to_string().replace(id, "ID")
    };
    let (one, other) = (status_of(&clinic, &of_hidden).await, status_of(&clinic, &of_nobody).await);
    assert_eq!(plain(&of_hidden, &one), plain(&of_nobody, &other), "hidden and absent look the same");
    let of = async |id: &str| {
        clinic.get(&format!("/Subscription/{id}/$events")).await.json()["entry"].as_array().unwrap().len()
    };
    assert_eq!((of(&of_hidden).await, of(&of_nobody).await), (1, 1));
    assert!(!hook.heard().iter().any(|heard| heard.text.contains(&hidden)));
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_asked_at_the_moment_of_telling() {
    let hook = Hook::start().await;
    let (_gateway, app, clinic) = scene(&hook, "retry_attempts = 1000").await;
    let patient = app.person().await;
    let consent = permit(&app, &patient, true).await;
    let other = person(&app, true).await;
    let id = subscribe(&clinic, &subscription(&hook.url, "full-resource", &[])).await;
    until_status(&clinic, &id, "active").await;
    push(&app, &patient, "told").await;
    hook.until_taken(1).await;
    hook.answer_with(Manner::Status(503));
    push(&app, &patient, "waits").await;
    // Once it is under way its number may have been told, so it is kept, and nothing else.
    let status = async || count_of(&clinic, &id).await;
    eventually("it has a number", async || (status().await == 2).then_some(())).await;
    assert_eq!(app.withdraw(&consent).await.status, 200);
    // The second call from now on was begun after it.
    let before = hook.heard().len();
    eventually("it is called again", async || (hook.heard().len() >= before + 2).then_some(())).await;
    hook.answer_with(Manner::Status(200));
    push(&app, &other, "other").await;
    let taken = hook.until_taken(3).await;
    assert_eq!(numbers(&taken), [1, 2, 3]);
    assert_eq!((taken[0].1.is_some(), taken[1].1.is_some(), taken[2].1.is_some()), (true, false, true));
    let asked = clinic.get(&format!("/Subscription/{id}/$events")).await.json();
    let focuses: Vec<bool> = events(&asked).iter().map(|(_, focus)| focus.is_some()).collect();
    assert_eq!(focuses, [false, false, true], "what was told once is not told again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restricted_waits_and_what_is_erased_is_gone() {
    let hook = Hook::start().await;
    let gateway = Gateway::with(&hook.configuration("")).await;
    let app = gateway
        .registered("app", &format!("{APP_SCOPES} system/Patient.d"), json!({"purposes": ["TREAT", "PATRQT"]}))
        .await;
    let clinic = gateway.client("clinic", CLINIC).await;
    let (patient, other) = (person(&app, true).await, person(&app, true).await);
    let id = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
    until_status(&clinic, &id, "active").await;
    push(&app, &patient, "first").await;
    hook.until_taken(1).await;
    let own = [("x-purpose-of-use", "PATRQT"), ("content-type", "application/fhir+json")];
    // The feed may be slower than the restriction: what waits is asked for at the moment of telling.
    hook.answer_with(Manner::Status(503));
    push(&app, &patient, "second").await;
    let restricted = app.raw("POST", &format!("/Patient/{patient}/$restrict"), &own, "").await;
    assert_eq!(restricted.status, 200, "{}", restricted.text());
    hook.answer_with(Manner::Status(200));
    push(&app, &other, "other").await;
    let has = |taken: &[(u64, Option<String>)]| taken.iter().filter(|(_, focus)| focus.is_some()).count();
    eventually("the other person is told of", async || (has(&hook.taken()) >= 2).then_some(())).await;
    let lifted = app.raw("POST", &format!("/Patient/{patient}/$unrestrict"), &own, "").await;
    assert_eq!(lifted.status, 200, "{}", lifted.text());
    let shown = async || {
        let answer = clinic.get(&format!("/Subscription/{id}/$events")).await.json();
        has(&events(&answer))
    };
    eventually("what waited is told", async || (shown().await == 3).then_some(())).await;
    let erased = app.raw("POST", &format!("/Patient/{patient}/$erase"), &own, "").await;
    assert!(matches!(erased.status, 200 | 202), "{}", erased.text());
    let answer = clinic.get(&format!("/Subscription/{id}/$events")).await.json();
    assert_eq!((numbers(&events(&answer)), has(&events(&answer))), (vec![1, 2, 3], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_all_hold() {
    let hook = Hook::start().await;
    let (_gateway, app, clinic) = scene(&hook, "").await;
    let (one, two) = (person(&app, true).await, person(&app, true).await);
    let filters = [format!("Observation?patient={one}"), "code=http://loinc.org|8867-4".to_owned()];
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    let matching = subscribe(&clinic, &subscription(&hook.url, "id-only", &filters)).await;
    let other = [filters[0], "Observation?code=http://loinc.org|8480-6"];
    let missing = subscribe(&clinic, &subscription(&hook.url, "id-only", &other)).await;
    until_status(&clinic, &matching, "active").await;
    until_status(&clinic, &missing, "active").await;
    push(&app, &two, "1").await;
    let wanted = push(&app, &one, "2").await;
    let taken = hook.until_taken(1).await;
    assert!(taken[0].1.as_deref().unwrap().ends_with(&wanted));
    assert_eq!((count_of(&clinic, &matching).await, count_of(&clinic, &missing).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused() {
    let hook = Hook::start().await;
    let (gateway, _app, clinic) = scene(&hook, "per_client = 2").await;
    let good = subscription(&hook.url, "id-only", &[]);
    for (pointer, value, issue) in [
        ("/criteria", json!("Observation?code=1"), "subscription-topic"),
        ("/channel/type", json!("email"), "subscription-channel"),
        ("/channel/payload", json!("text/plain"), "subscription-payload"),
        ("/channel/header", json!(["Host: x"]), "subscription-header"),
        ("/channel/endpoint", json!("http://app.example/"), "subscription-endpoint"),
        ("/channel/endpoint", json!("https://10.0.0.1/"), "subscription-endpoint"),
        ("/channel/endpoint", json!("https://169.254.169.254/latest"), "subscription-endpoint"),
        ("/channel/endpoint", json!("https://[fd00::1]/"), "subscription-endpoint"),
        ("/channel/endpoint", json!("https://user:pw@app.example/"), "subscription-endpoint"),
        ("/channel/endpoint", json!("https://name.invalid/"), "subscription-endpoint"),
        ("/end", json!("2020-01-01T00:00:00Z"), "subscription-element"),
        ("/status", json!("sleeping"), "binding-required"),
    ] {
        let mut asked = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        asked.pointer_mut(parent).unwrap()[name] = value;
        let answer = clinic.post("/Subscription", &asked).await;
        assert_eq!(
            (answer.status, answer.issues().contains(&issue.to_owned())),
            (422, true),
            "{pointer}: {}",
            answer.text()
        );
    }
    for filter in [
        "Patient?name=x",
        "Observation?value-quantity=1",
        "Observation?patient:missing=true",
        "Observation?patient.name=x",
        "Observation?date=yesterday",
        "",
    ] {
        let answer = clinic.post("/Subscription", &subscription(&hook.url, "id-only", &[filter])).await;
        assert_eq!(answer.status, 422, "{filter}: {}", answer.text());
        assert!(filter.is_empty() || answer.issues() == ["subscription-filter"], "{filter}");
    }
    let blind = gateway.client("blind", "system/Subscription.cruds").await;
    assert_eq!(blind.post("/Subscription", &good).await.issues(), ["scope-insufficient"]);
    let reader = gateway.client("reader", "system/Observation.rs system/Subscription.r").await;
    assert_eq!(reader.post("/Subscription", &good).await.issues(), ["scope-insufficient"]);
    let id = subscribe(&clinic, &good).await;
    subscribe(&clinic, &good).await;
    let full = clinic.post("/Subscription", &good).await;
    assert_eq!((full.status, full.issues()), (429, vec!["subscription-quota".to_owned()]));
    // Another's is as absent as none.
    for path in
        [format!("/Subscription/{id}"), format!("/Subscription/{id}/$status"), format!("/Subscription/{id}/$events")]
    {
        let (theirs, none) = (reader.get(&path).await, reader.get(&path.replace(&id, "nothing")).await);
        assert_eq!((theirs.status, theirs.text()), (404, none.text()), "{path}");
    }
    assert_eq!(clinic.raw("DELETE", &format!("/Subscription/{id}"), &[], "").await.status, 204);
    assert_eq!(clinic.get(&format!("/Subscription/{id}")).await.status, 404);
    subscribe(&clinic, &good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finds_its_own() {
    let hook = Hook::start().await;
    let (gateway, _app, clinic) = scene(&hook, "").await;
    let url = format!("{}/a", hook.url);
    let id = subscribe(&clinic, &subscription(&url, "id-only", &[])).await;
    let off = {
        let mut asked = subscription(&hook.url, "id-only", &[]);
        asked["status"] = json!("off");
        subscribe(&clinic, &asked).await
    };
    until_status(&clinic, &id, "active").await;
    let find = async |query: &str| {
        let mut found = clinic.find(&format!("/Subscription{query}")).await.1;
        found.sort();
        found
    };
    let both = {
        let mut both = vec![id.clone(), off.clone()];
        both.sort();
        both
    };
    assert_eq!(find("").await, both);
    assert_eq!(find(&format!("?url={url}")).await, std::slice::from_ref(&id));
    assert_eq!(find("?status=off").await, std::slice::from_ref(&off));
    assert_eq!(find(&format!("?_id={id}")).await, std::slice::from_ref(&id));
    assert_eq!(clinic.get("/Subscription?nonsense=1").await.status, 400);
    let listed = async |query: &str| {
        let bundle = clinic.get(&format!("/Subscription/$status{query}")).await.json();
        bundle["entry"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(listed("").await, 2);
    assert_eq!(listed(&format!("?id={id}")).await, 1);
    assert_eq!(listed(&format!("?id={id}&id={off}")).await, 2);
    assert_eq!(listed("?status=off,error").await, 1);
    assert_eq!(listed("?status=error").await, 0);
    let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "id", "valueId": off}]});
    let posted = clinic.post("/Subscription/$status", &parameters).await.json();
    assert_eq!(posted["entry"].as_array().unwrap().len(), 1);
    for (path, issue) in [
        ("/Subscription/$status?status=sleeping".to_owned(), "operation-parameter"),
        ("/Subscription/$status?other=1".to_owned(), "operation-parameter"),
        (format!("/Subscription/{id}/$events?eventsSinceNumber=x"), "operation-parameter"),
        (format!("/Subscription/{id}/$events?content=all"), "operation-parameter"),
    ] {
        let answer = clinic.get(&path).await;
        assert_eq!((answer.status, answer.issues()), (400, vec![issue.to_owned()]), "{path}");
    }
    let stranger = gateway.client("stranger", CLINIC).await;
    assert_eq!(stranger.find("/Subscription").await.1, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_keeps_the_secret_for_its_address_alone() {
    let hook = Hook::start().await;
    let (_gateway, _app, clinic) = scene(&hook, "").await;
    let mut asked = subscription(&format!("{}/one", hook.url), "id-only", &[]);
    asked["channel"]["header"] = json!(["X-Secret: one"]);
    let id = subscribe(&clinic, &asked).await;
    let shown = until_status(&clinic, &id, "active").await;
    let version = shown["meta"]["versionId"].as_str().unwrap();
    let tag = |version: &str| format!("W/\"{version}\"");
    let put = async |resource: &Value, tag: &str| {
        let headers = [("if-match", tag), ("content-type", "application/fhir+json")];
        clinic.raw("PUT", &format!("/Subscription/{id}"), &headers, resource.to_string()).await
    };
    assert_eq!(put(&shown, &tag("99")).await.status, 412);
    let same = put(&shown, &tag(version)).await;
    assert_eq!(same.status, 200, "{}", same.text());
    until_status(&clinic, &id, "active").await;
    let patch = async |patch: &Value| {
        let headers = [("content-type", "application/json-patch+json")];
        clinic.raw("PATCH", &format!("/Subscription/{id}"), &headers, patch.to_string()).await
    };
    let patched = patch(&json!([{"op": "replace", "path": "/reason", "value": "another"}])).await;
    assert_eq!((patched.status, &patched.json()["reason"]), (200, &json!("another")), "{}", patched.text());
    assert_eq!(patch(&json!([{"op": "remove", "path": "/criteria"}])).await.status, 422);
    let shown = until_status(&clinic, &id, "active").await;
    let mut moved = shown.clone();
    moved["channel"]["endpoint"] = json!(format!("{}/two", hook.url));
    assert_eq!(put(&moved, &tag(shown["meta"]["versionId"].as_str().unwrap())).await.status, 200);
    until_status(&clinic, &id, "active").await;
    let heard = hook.heard();
    let secrets: Vec<(String, bool)> =
        heard.iter().map(|heard| (heard.path.clone(), heard.headers.contains_key("x-secret"))).collect();
    let expected = [("/one", true), ("/one", true), ("/one", true), ("/two", false)];
    assert_eq!(secrets, expected.map(|(path, secret)| (path.to_owned(), secret)));
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_sent_where_they_were_asked_for() {
    let hook = Hook::start().await;
    let (_gateway, _app, clinic) = scene(&hook, "").await;
    let mut asked = subscription(&hook.url, "empty", &[]);
    asked["channel"]["extension"] = json!([{"url": format!("{EXTENSION}heartbeat-period"), "valueUnsignedInt": 1}]);
    let id = subscribe(&clinic, &asked).await;
    until_status(&clinic, &id, "active").await;
    let beat = hook.until("heartbeat").await;
    assert_eq!(beat.said("events-since-subscription-start")["valueString"], "0");
    assert!(beat.events().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_is_told_nothing() {
    let hook = Hook::start().await;
    let (gateway, app, clinic) = scene(&hook, "").await;
    let patient = person(&app, true).await;
    let id = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
    until_status(&clinic, &id, "active").await;
    let before = hook.heard().len();
    assert!(gateway.store().remove_client("clinic").await.unwrap());
    eventually("the client is gone", async || (clinic.get("/Subscription").await.status == 401).then_some(())).await;
    push(&app, &patient, "1").await;
    eventually("the subscription is off", async || {
        let stored = gateway.store().subscription(&id).await.unwrap().unwrap();
        (stored.status == "off" && stored.starts.is_none()).then_some(())
    })
    .await;
    assert_eq!(hook.heard().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_and_deletions_are_told_and_xml_is_written() {
    let hook = Hook::start().await;
    let (_gateway, app, clinic) = scene(&hook, "").await;
    let patient = person(&app, true).await;
    let mut asked = subscription(&hook.url, "full-resource", &[]);
    let id = subscribe(&clinic, &asked).await;
    asked["channel"]["endpoint"] = json!(format!("{}/xml", hook.url));
    asked["channel"]["payload"] = json!("application/fhir+xml; fhirVersion=4.0");
    asked["channel"]["_payload"]["extension"][0]["valueCode"] = json!("empty");
    // It is not read as JSON by the hook, so that it is asked for alone.
    until_status(&clinic, &id, "active").await;
    let reading = push(&app, &patient, "1").await;
    let mut corrected = app.get(&format!("/Observation/{reading}")).await.json();
    corrected["valueQuantity"]["value"] = json!(71);
    assert_eq!(app.put(&format!("/Observation/{reading}"), &corrected).await.status, 200);
    let methods = async || -> Vec<String> {
        let heard = hook.heard();
        let entries = heard.iter().flat_map(|heard| heard.json()["entry"].as_array().unwrap()[1..].to_vec());
        entries.map(|entry| entry["request"]["method"].as_str().unwrap().to_owned()).collect()
    };
    eventually("both are told", async || (methods().await == ["POST", "PUT"]).then_some(())).await;
    let answer = clinic.post("/Subscription", &asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    eventually("a handshake in XML", async || {
        let xml = hook.heard().into_iter().find(|heard| heard.path == "/xml")?;
        assert_eq!(xml.headers["content-type"], "application/fhir+xml; fhirVersion=4.0");
        assert!(xml.text.starts_with('<') && xml.text.contains("handshake"), "{}", xml.text);
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_are_told_to_whoever_may_read_them() {
    let hook = Hook::start().await;
    let (gateway, _app, clinic) = scene(&hook, "").await;
    let owner = gateway.client("owner", &format!("{APP_SCOPES} system/Subscription.cruds")).await;
    let mut asked = subscription(&hook.url, "id-only", &[]);
    asked["criteria"] = json!(topic("consent-changed"));
    let own = subscribe(&owner, &asked).await;
    let other = subscribe(&clinic, &asked).await;
    until_status(&owner, &own, "active").await;
    until_status(&clinic, &other, "active").await;
    let patient = owner.person().await;
    let consent = permit(&owner, &patient, true).await;
    assert_eq!(owner.withdraw(&consent).await.status, 200);
    let taken = hook.until_taken(2).await;
    assert_eq!(numbers(&taken), [1, 2]);
    assert!(taken.iter().all(|(_, focus)| focus.as_deref().unwrap().ends_with(&format!("Consent/{consent}"))));
    assert_eq!(count_of(&clinic, &other).await, 0, "a consent is its registrar's");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_published() {
    let gateway = Gateway::start().await;
    let statement = gateway.http.get(format!("{}/metadata", gateway.base)).send().await.unwrap();
    let statement: Value = serde_json::from_slice(&statement.bytes().await.unwrap()).unwrap();
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let subscription = resources.iter().find(|resource| resource["type"] == "Subscription").unwrap();
    let stated: Vec<&str> = subscription["extension"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|each| each["valueCanonical"].as_str())
        .collect();
    let names: Vec<&str> =
        subscription["operation"].as_array().unwrap().iter().filter_map(|each| each["name"].as_str()).collect();
    assert!(names.contains(&"status") && names.contains(&"events"));
    let basics = gateway.http.get(format!("{}/Basic?code=SubscriptionTopic", gateway.base)).send().await.unwrap();
    let basics: Value = serde_json::from_slice(&basics.bytes().await.unwrap()).unwrap();
    let published: Vec<&str> = basics["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["resource"]["extension"][0]["valueUri"].as_str().unwrap())
        .collect();
    assert_eq!(stated, published);
    assert!(stated.contains(&topic("consent-changed").as_str()));
}

/// A package of others.
fn package(name: &str) -> Arc<Package> {
    let archive = std::fs::read(shared("MHEALTH_PACKAGES", "packages").join(name)).unwrap();
    Arc::new(Package::read(&archive).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_valid_by_the_backport() {
    let hook = Hook::start().await;
    let (gateway, app, clinic) = scene(&hook, "").await;
    let patient = person(&app, true).await;
    let backport = package("hl7.fhir.uv.subscriptions-backport.r4-1.2.0-ballot.tgz");
    let validator = Validator::new(Registry::with_packages([guide::packages(), vec![backport]].concat()));
    let check = |what: &str, resource: &Value| {
        let document = tree::parse(resource.to_string()).unwrap();
        let issues = validator.check(Element::root(&document), &Options::default()).issues;
        // Of R5 a topic has a modifier and a code system that R4 does not know; so it stands in the guide's own example.
        let of_r5 =
            |issue: &Issue| what == "topic" && [Id::ModifierExtensionUnknown, Id::SystemUnknown].contains(&issue.id);
        // Where clients sign in is said by another guide's extension, which knows no server without people.
        let of_login = |issue: &Issue| issue.expression.contains(".security.");
        let errors = issues.iter().filter(|issue| issue.is_error() && !of_r5(issue) && !of_login(issue));
        let errors: Vec<String> = errors.map(|issue| format!("{issue:?}")).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?} {resource:#}");
    };
    for content in ["empty", "id-only", "full-resource"] {
        let mut asked = subscription(&format!("{}/{content}", hook.url), content, &["Observation?code=8867-4"]);
        asked["channel"]["extension"] = json!([{"url": format!("{EXTENSION}heartbeat-period"), "valueUnsignedInt": 1}]);
        asked["meta"] = json!({"profile": [format!("{EXTENSION}subscription")]});
        let id = subscribe(&clinic, &asked).await;
        check("subscription", &until_status(&clinic, &id, "active").await);
        push(&app, &patient, content).await;
        for occasion in ["handshake", "event-notification", "heartbeat"] {
            let heard = eventually(occasion, async || {
                hook.heard()
                    .into_iter()
                    .find(|heard| heard.path == format!("/{content}") && heard.occasion() == occasion)
            })
            .await;
            check(&format!("{content} {occasion}"), &heard.json());
        }
        check("status", &clinic.get(&format!("/Subscription/{id}/$status")).await.json());
        check("events", &clinic.get(&format!("/Subscription/{id}/$events")).await.json());
        assert_eq!(clinic.raw("DELETE", &format!("/Subscription/{id}"), &[], "").await.status, 204);
    }
    let topic = gateway.http.get(format!("{}/Basic/observation-changed", gateway.base)).send().await.unwrap();
    check("topic", &serde_json::from_slice(&topic.bytes().await.unwrap()).unwrap());
    let statement = gateway.http.get(format!("{}/metadata", gateway.base)).send().await.unwrap();
    check("statement", &serde_json::from_slice(&statement.bytes().await.unwrap()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_tells_on_where_it_was() {
    let hook = Hook::start().await;
    let site = Site::new(&hook.configuration("retry_attempts = 1000\ntimeout_seconds = 1")).await;
    let mut app = site.register("app", APP_SCOPES).await;
    let mut clinic = site.register("clinic", CLINIC).await;
    let mut process = site.serve().await;
    app.sign_in().await;
    clinic.sign_in().await;
    let patient = person(&app, true).await;
    let id = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
    until_status(&clinic, &id, "active").await;
    let mut pushed = Vec::new();
    for round in 0..3 {
        for index in 0..10 {
            pushed.push(push(&app, &patient, &format!("{round}-{index}")).await);
        }
        // Somewhere between filing, numbering, telling and settling.
        process.kill().await;
        process = site.serve().await;
    }
    let whole = eventually("everything is told", async || {
        let mut first: BTreeMap<u64, String> = BTreeMap::new();
        let mut order = Vec::new();
        for (number, focus) in hook.taken() {
            let focus = focus.unwrap().rsplit('/').next().unwrap().to_owned();
            if let Some(known) = first.get(&number) {
                assert_eq!(*known, focus, "a number stands for one event");
            } else {
                first.insert(number, focus);
                order.push(number);
            }
        }
        (order.len() == pushed.len()).then_some((first, order))
    });
    let (first, order) = whole.await;
    assert_eq!(order, (1..=30).collect::<Vec<_>>(), "in order, without gaps");
    assert_eq!(first.into_values().collect::<Vec<_>>(), pushed);
    // The operator sees it, and may end it.
    let config = site.config();
    eventually("it is listed", async || {
        let listed = run(&["subscriptions", "list", "clinic", "--config", &config]).await;
        let listed = String::from_utf8(listed.stdout).unwrap();
        (listed.contains(&hook.url) && listed.contains("30 event(s), 30 taken")).then_some(())
    })
    .await;
    assert!(run(&["subscriptions", "off", &id, "--config", &config]).await.status.success());
    assert!(!run(&["subscriptions", "off", "nothing", "--config", &config]).await.status.success());
    clinic.sign_in().await;
    until_status(&clinic, &id, "off").await;
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_tell_once_and_in_order() {
    let hook = Hook::start().await;
    let configuration = format!("{}\n[store]\nurl = {:?}\n", hook.configuration(""), postgres::fresh().await);
    let first = Gateway::with_store(tempfile::tempdir().unwrap(), &configuration).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(first.path().join("gateway.key"), directory.path().join("gateway.key")).unwrap();
    let second = Gateway::with_store(directory, &configuration).await;
    let app = first.app().await;
    let clinic = first.client("clinic", CLINIC).await;
    let mut there = Client { http: second.http.clone(), base: second.base.clone(), ..app.clone() };
    there.sign_in().await;
    let patient = person(&app, true).await;
    let id = subscribe(&clinic, &subscription(&hook.url, "id-only", &[])).await;
    until_status(&clinic, &id, "active").await;
    let mut pushed = Vec::new();
    for index in 0..20 {
        let app = if index % 2 == 0 { &app } else { &there };
        pushed.push(push(app, &patient, &format!("r-{index}")).await);
    }
    let taken = hook.until_taken(20).await;
    assert_eq!(numbers(&taken), (1..=20).collect::<Vec<_>>());
    let told: Vec<&str> =
        taken.iter().map(|(_, focus)| focus.as_deref().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(told, pushed);
    // The one goes, the other goes on.
    first.stop().await;
    push(&there, &patient, "after").await;
    assert_eq!(numbers(&hook.until_taken(21).await), (1..=21).collect::<Vec<_>>());
}

type Socket = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

/// Opens a socket of a gateway.
async fn socket(gateway: &Gateway) -> Socket {
    let port = gateway.base.trim_end_matches("/fhir").rsplit(':').next().unwrap().parse().unwrap();
    let certificate = tls::self_signed(gateway.path()).unwrap().certificate;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let request = "GET /subscriptions/websocket HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

/// The next notification; none at the end.
async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        let message = tokio::time::timeout(std::time::Duration::from_secs(30), socket.next()).await.unwrap()?;
        match message {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

fn occasion(bundle: &Value) -> String {
    parameter(&bundle["entry"][0]["resource"], "type")["valueCode"].as_str().unwrap().to_owned()
}

/// A subscription over a socket.
pub fn over_socket(content: &str, filters: &[&str]) -> Value {
    let mut asked = subscription("", content, filters);
    asked["channel"]["type"] = json!("websocket");
    asked["channel"].as_object_mut().unwrap().remove("endpoint");
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_told_what_waited_and_what_comes() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", CLINIC).await;
    let (patient, hidden) = (person(&app, true).await, person(&app, false).await);
    let mut asked = over_socket("id-only", &[]);
    let one = subscribe(&clinic, &asked).await;
    until_status(&clinic, &one, "active").await;
    asked["channel"]["_payload"]["extension"][0]["valueCode"] = json!("empty");
    let two = subscribe(&clinic, &asked).await;
    push(&app, &patient, "waits").await;
    push(&app, &hidden, "hidden").await;
    let answer = clinic.get("/Subscription/$get-ws-binding-token").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let granted = answer.json();
    let named = granted["parameter"].as_array().unwrap().iter().filter(|each| each["name"] == "subscription").count();
    assert_eq!(named, 2);
    assert!(parameter(&granted, "websocket-url")["valueUrl"].as_str().unwrap().starts_with("wss://"));
    assert!(parameter(&granted, "expiration")["valueDateTime"].is_string());
    let token = parameter(&granted, "token")["valueString"].as_str().unwrap().to_owned();
    let mut open = socket(&gateway).await;
    open.send(Message::Text(format!("bind-with-token {token}").into())).await.unwrap();
    for _ in 0..2 {
        assert_eq!(occasion(&next(&mut open).await.unwrap()), "handshake");
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        let bundle = next(&mut open).await.unwrap();
        assert_eq!(occasion(&bundle), "event-notification");
        told.extend(events(&bundle));
    }
    assert_eq!(numbers(&told), [1, 1], "one of each, and nothing of what is withheld");
    push(&app, &patient, "comes").await;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(events(&next(&mut open).await.unwrap()));
    }
    assert_eq!(numbers(&told), [2, 2]);
    assert_eq!(count_of(&clinic, &one).await, 2);
    // Who is gone is told nothing more, and the socket of a client that deletes its subscription has nothing to tell.
    drop(open);
    push(&app, &patient, "missed").await;
    let one_token = clinic.get(&format!("/Subscription/{one}/$get-ws-binding-token")).await.json();
    let token = parameter(&one_token, "token")["valueString"].as_str().unwrap().to_owned();
    let mut open = socket(&gateway).await;
    open.send(Message::Text(format!("bind-with-token {token}").into())).await.unwrap();
    assert_eq!(occasion(&next(&mut open).await.unwrap()), "handshake");
    assert_eq!(numbers(&events(&next(&mut open).await.unwrap())), [3]);
    assert_eq!(clinic.raw("DELETE", &format!("/Subscription/{two}"), &[], "").await.status, 204);
    let directory = gateway.stop().await;
    assert!(next(&mut open).await.is_none(), "the gateway closes its sockets");
    drop(directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_a_token_is_closed() {
    let gateway = Gateway::start().await;
    let clinic = gateway.client("clinic", CLINIC).await;
    for said in ["bind-with-token nonsense", "hello"] {
        let mut open = socket(&gateway).await;
        open.send(Message::Text(said.to_owned().into())).await.unwrap();
        assert!(next(&mut open).await.is_none(), "{said}");
    }
    let none = clinic.get("/Subscription/$get-ws-binding-token").await;
    assert_eq!((none.status, none.issues()), (400, vec!["operation-parameter".to_owned()]));
    let id = subscribe(&clinic, &over_socket("empty", &[])).await;
    let stranger = gateway.client("stranger", CLINIC).await;
    assert_eq!(stranger.get(&format!("/Subscription/{id}/$get-ws-binding-token")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_has_its_heartbeat() {
    let hook = Hook::start().await;
    let (gateway, _app, clinic) = scene(&hook, "").await;
    let mut asked = over_socket("empty", &[]);
    asked["channel"]["extension"] = json!([{"url": format!("{EXTENSION}heartbeat-period"), "valueUnsignedInt": 1}]);
    let id = subscribe(&clinic, &asked).await;
    let granted = clinic.get(&format!("/Subscription/{id}/$get-ws-binding-token")).await.json();
    let token = parameter(&granted, "token")["valueString"].as_str().unwrap().to_owned();
    let mut open = socket(&gateway).await;
    open.send(Message::Text(format!("bind-with-token {token}").into())).await.unwrap();
    assert_eq!(occasion(&next(&mut open).await.unwrap()), "handshake");
    assert_eq!(occasion(&next(&mut open).await.unwrap()), "heartbeat");
}

/// Each row of the requirements stands in the table with a test that there is, or a reason.
#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let rows = |path: &std::path::Path| -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(path).unwrap();
        records(text.trim_start_matches('\u{feff}')).into_iter().skip(1).collect()
    };
    let given = shared("MHEALTH_SUITES", "suites").join("inferno/requirements/subscriptions_test_kit_requirements.csv");
    let wanted: Vec<(String, String, String)> =
        rows(&given).into_iter().map(|row| (row[1].clone(), row[4].clone(), row[5].clone())).collect();
    assert!(wanted.len() > 100, "the requirements were not found");
    let table = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/suites/subscriptions.csv");
    let sources: String = ["subscriptions.rs", "access.rs"]
        .map(|file| std::fs::read_to_string(table.parent().unwrap().parent().unwrap().join(file)).unwrap())
        .concat();
    let held: BTreeMap<String, (String, String)> =
        rows(&table).into_iter().map(|row| (row[0].clone(), (row[1].clone(), row[2].clone()))).collect();
    for (id, conformance, actor) in &wanted {
        let Some((test, reason)) = held.get(id) else {
            let others = actor != "Server" || !conformance.starts_with("SHALL");
            assert!(others, "{id} ({conformance}) has no row");
            continue;
        };
        assert!(test.is_empty() != reason.is_empty(), "{id}: a test or a reason");
        assert!(test.is_empty() || sources.contains(&format!("fn {test}(")), "{id}: there is no test {test}");
    }
    for id in held.keys() {
        assert!(wanted.iter().any(|(known, ..)| known == id), "{id} is no requirement");
    }
}

/// Records of a table (RFC 4180).
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quoted) {
            ('"', true) if characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => row.push(std::mem::take(&mut field)),
            ('\r', false) => {}
            ('\n', false) => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            _ => field.push(character),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}
