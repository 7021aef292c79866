//! What a person may ask: everything that is held of her, who did what with it, and what she may have done about it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::tree::{Element, json as tree};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use mhealth_gateway::policy::access::client::Client as Registration;
use mhealth_gateway::policy::access::seal;
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::{AuditRecord, Erasure, ResId};
use serde_json::{Value, json};

use crate::bulk;
use crate::fixture::{
    ANY_ID, APP_SCOPES, Answer, Client, Gateway, Platform, consent, eventually, heart_rate, ids, shared,
};
use crate::subscriptions;

/// Lets a client state that it is the person's own request.
pub async fn own_requests(gateway: &Gateway, client: &Client, scopes: &str) -> Client {
    let stored = gateway.store().get_client(&client.id).await.unwrap().unwrap();
    let mut document: Value = serde_json::from_str(&stored).unwrap();
    document["purposes"] = json!(["TREAT", "PATRQT"]);
    document["scopes"] = json!(scopes);
    let registration = Registration::parse(&document.to_string()).unwrap();
    gateway.store().put_client(&client.id, &registration.document().to_string()).await.unwrap();
    let mut client = client.clone();
    client.sign_in().await;
    client
}

/// Everything of a person, page by page: types and ids.
async fn everything(client: &Client, address: &str) -> Vec<(String, String)> {
    let (mut all, mut next) = (Vec::new(), Some(address.to_owned()));
    while let Some(address) = next {
        let answer = client.get(&address).await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.text());
        let bundle = answer.json();
        let entries = bundle["entry"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        all.extend(entries.map(|entry| {
            assert_eq!(entry["search"]["mode"], "match");
            (text(&entry["resource"]["resourceType"]), text(&entry["resource"]["id"]))
        }));
        let links = bundle["link"].as_array().unwrap();
        next = links.iter().find(|link| link["relation"] == "next").map(|link| text(&link["url"]));
    }
    all
}

fn kinds(all: &[(String, String)]) -> Vec<&str> {
    let mut kinds: Vec<&str> = all.iter().map(|(kind, _)| kind.as_str()).collect();
    kinds.dedup();
    kinds
}

fn measured(patient: &str, identifier: &str, day: &str) -> Value {
    let mut reading = heart_rate(patient, identifier, 70);
    reading["effectiveDateTime"] = json!(format!("{day}T08:30:00+01:00"));
    reading
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_what_a_search_of_each_type_would_find() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let other = app.consenting_person().await;
    for (number, day) in ["2026-01-10", "2026-01-11", "2026-01-12", "2026-01-13", "2026-01-14"].iter().enumerate() {
        assert_eq!(app.post("/Observation", &measured(&patient, &number.to_string(), day)).await.status, 201);
    }
    app.post("/Observation", &measured(&other, "other", "2026-01-10")).await;
    let device = json!({"resourceType": "Device", "patient": {"reference": format!("Patient/{patient}")}});
    assert_eq!(app.post("/Device", &device).await.status, 201);
    let address = format!("/Patient/{patient}/$everything");
    let all = everything(&app, &address).await;
    assert_eq!(all.first(), Some(&("Patient".to_owned(), patient.clone())));
    assert_eq!((kinds(&all), all.len()), (vec!["Patient", "Consent", "Device", "Observation"], 8));
    for (query, expected) in [
        ("_count=1", 8),
        ("_count=2", 8),
        ("_count=8", 8),
        ("_type=Observation", 5),
        ("_type=Observation,Device&_count=4", 6),
        ("_type=Medication", 0),
        ("_type=AuditEvent", 0),
        ("_type=Observation&start=2026-01-12", 3),
        ("_type=Observation&end=2026-01-11&_count=1", 2),
        ("start=2026-01-11&end=2026-01-12", 5),
        ("_since=2020-01-01", 8),
        ("_since=2099-01-01T00:00:00Z", 0),
    ] {
        let some = everything(&app, &format!("{address}?{query}")).await;
        assert_eq!(some.len(), expected, "{query}");
        let distinct: BTreeSet<_> = some.iter().collect();
        assert_eq!(distinct.len(), some.len(), "{query}: nothing comes twice");
        assert!(some.iter().all(|one| all.contains(one)), "{query}");
    }
    for (query, issue) in [
        ("start=tomorrow", "operation-parameter"),
        ("start=2026&start=2027", "operation-parameter"),
        ("_since=lt2026", "operation-parameter"),
        ("_count=0", "search-value"),
        ("code=8867-4", "operation-parameter"),
    ] {
        let answer = app.get(&format!("{address}?{query}")).await;
        assert_eq!((answer.status, answer.issues()), (400, vec![issue.to_owned()]), "{query}");
    }
}

/// What the asker may not see is absent, and a page's link serves who received it for that person alone.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_no_way_around_consent_or_scope() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let patient = app.consenting_person().await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "1", 70)).await.status, 201);
    let address = format!("/Patient/{patient}/$everything");
    let unseen = clinic.get(&address).await;
    let unknown = clinic.get("/Patient/nobody/$everything").await;
    let told = |answer: &Answer, id: &str| answer.text().replace(id, "ID");
    assert_eq!((unseen.status, told(&unseen, &patient)), (unknown.status, told(&unknown, "nobody")));
    let consent = app.consent(&patient, &[("Organization/clinic", &[Action::Access], &["heart-rate"])]).await;
    assert_eq!(kinds(&everything(&clinic, &address).await), ["Observation"]);
    app.withdraw(&consent).await;
    assert_eq!(everything(&clinic, &address).await, []);

    let narrow = gateway.client("narrow", "system/Observation.rs").await;
    assert_eq!(narrow.get(&address).await.issues(), ["scope-insufficient"]);

    let page = app.get(&format!("{address}?_count=1")).await.json();
    let next = page["link"][1]["url"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&next).await.status, 200);
    assert_eq!(clinic.get(&next).await.issues(), ["page-unknown"]);
    assert_eq!(app.get(&next.replace(&patient, "nobody")).await.issues(), ["page-unknown"]);
    let token = next.split_once("_page=").unwrap().1;
    assert_eq!(app.get(&format!("/Observation?_page={token}")).await.issues(), ["page-unknown"]);

    let trail = app.get(&format!("/AuditEvent?patient={patient}&_count=100")).await.json();
    let by_clinic: Vec<&Value> = trail["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["resource"])
        .filter(|event| event["agent"][0]["who"]["reference"] == "Organization/clinic")
        .collect();
    // The newest first: withheld; some of it withheld and some of it seen; withheld.
    let codes: Vec<_> = by_clinic.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
    assert_eq!(codes, ["4", "4", "0", "4"], "{by_clinic:#?}");

    let some = own_requests(&gateway, &app, "system/Patient.rs system/Consent.s").await;
    assert_eq!(kinds(&everything(&some, &address).await), ["Patient", "Consent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_says_who_when_what_why_and_by_what_right() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let patient = app.consenting_person().await;
    let consent = app.consent(&patient, &[("Organization/clinic", &[Action::Access], &["heart-rate"])]).await;
    let reading = app.post("/Observation", &heart_rate(&patient, "1", 70)).await.id();
    assert_eq!(ids(&clinic.get(&format!("/Observation?patient={patient}")).await.json()), [reading.as_str()]);
    clinic.get(&format!("/Consent?patient={patient}")).await;
    let address = app.root().to_owned() + &format!("/persons/{patient}/access-log");
    let log = app.get(&address).await;
    assert_eq!(log.status, 200, "{}", log.text());
    let log = log.json();
    let entries = log["entries"].as_array().unwrap();
    let seen = entries.iter().find(|line| line["act"] == "search" && line["done"] == true).unwrap();
    assert_eq!(
        seen["who"],
        json!({"id": "clinic", "name": "clinic", "reference": "Organization/clinic", "kind": "client"})
    );
    assert_eq!(seen["basis"], json!({"kind": "consent", "reference": format!("Consent/{consent}/_history/1")}));
    assert_eq!(seen["categories"], json!(["heart-rate"]));
    assert_eq!(seen["resources"], json!([format!("Observation/{reading}/_history/1")]));
    assert_eq!((&seen["purpose"], &seen["from"]), (&json!("TREAT"), &json!("127.0.0.1")));
    assert!(seen["when"].as_str().unwrap().ends_with('Z') && !seen["request"].as_str().unwrap().is_empty());
    assert_eq!(app.get(seen["proof"].as_str().unwrap()).await.status, 200);
    let withheld = entries.iter().find(|line| line["done"] == false).unwrap();
    assert_eq!((&withheld["act"], &withheld["who"]["id"]), (&json!("refuse"), &json!("clinic")));
    let registered = entries.last().unwrap();
    assert_eq!((&registered["act"], &registered["basis"]), (&json!("create"), &json!({"kind": "own-client"})));

    // Page by page it is the same, but for the lines about the reading of it.
    let (mut lines, mut next) = (Vec::new(), Some(format!("{address}?_count=2")));
    while let Some(address) = next {
        let page = app.get(&address).await.json();
        lines.extend(page["entries"].as_array().unwrap().iter().map(|line| line["record"].clone()));
        next = page["next"].as_str().map(str::to_owned);
    }
    assert!(lines.ends_with(&entries.iter().map(|line| line["record"].clone()).collect::<Vec<_>>()));

    let narrow = gateway.client("narrow", "system/Observation.rs").await;
    let absent = app.root().to_owned() + "/persons/nobody/access-log";
    for (client, address, expected) in [
        (&clinic, address.clone(), (404, "not-found")),
        (&app, absent, (404, "not-found")),
        (&narrow, address.clone(), (403, "scope-insufficient")),
        (&app, format!("{address}?_page=x"), (410, "page-unknown")),
        (&app, format!("{address}?_count=0"), (400, "search-value")),
        (&app, format!("{address}?since=1"), (400, "search-parameter-unknown")),
    ] {
        let answer = client.get(&address).await;
        assert_eq!((answer.status, answer.issues()), (expected.0, vec![expected.1.to_owned()]), "{address}");
    }
}

/// Sends a request of the person's own.
pub async fn asks(client: &Client, method: &str, path: &str) -> Answer {
    client.raw(method, path, &[("x-purpose-of-use", "PATRQT")], "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_keeps_what_comes_in_and_lets_nothing_out() {
    let mut platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let scopes = APP_SCOPES.replace("Observation.crus", "Observation.cruds");
    let app = own_requests(&gateway, &app, &scopes).await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let patient = app.consenting_person().await;
    for (actor, action) in [("Organization/platform", Action::Disclose), ("Organization/clinic", Action::Access)] {
        app.consent(&patient, &[(actor, &[action], &["heart-rate"])]).await;
    }
    let other = app.consenting_person().await;
    app.consent(&other, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    // One that waits for its next attempt already.
    platform.leave().await;
    let waiting = app.post("/Observation", &heart_rate(&patient, "waiting", 61)).await.id();
    eventually("the reading waits", async || {
        (gateway.store().backlog("platform").await.unwrap().retries == 1).then_some(())
    })
    .await;

    let address = format!("/Patient/{patient}/$restrict");
    let begun = asks(&app, "POST", &address).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    assert_eq!(begun.json()["parameter"][0], json!({"name": "restricted", "valueBoolean": true}));
    assert_eq!(asks(&app, "POST", &address).await.json()["parameter"][1], begun.json()["parameter"][1]);
    platform.come_back().await;
    let kept = app.post("/Observation", &heart_rate(&patient, "kept", 62)).await;
    assert_eq!(kept.status, 201, "{}", kept.text());
    // What is stored stays as it is.
    let mut changed = heart_rate(&patient, "waiting", 99);
    changed["id"] = json!(waiting);
    let put = app.put(&format!("/Observation/{waiting}"), &changed).await;
    assert_eq!(put.issues(), ["processing-restricted"], "{}", put.text());
    let deleted = app.send(reqwest::Method::DELETE, &format!("/Observation/{waiting}"), "").await;
    assert_eq!(deleted.issues(), ["processing-restricted"], "{}", deleted.text());
    // Nor does a condition find it, or give it back.
    let condition = [
        ("content-type", "application/fhir+json"),
        ("if-none-exist", "identifier=urn:test:readings|waiting"),
        ("prefer", "return=representation"),
    ];
    changed.as_object_mut().unwrap().remove("id");
    let collides = app.raw("POST", "/Observation", &condition, changed.to_string()).await;
    assert_eq!((collides.status, collides.issues()), (409, vec!["duplicate-identifier".to_owned()]));
    app.post("/Observation", &heart_rate(&other, "other", 63)).await;
    platform.until("the other person's arrives", |account| account["received"] == 1).await;
    eventually("what is kept back waits", async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 2).then_some(())
    })
    .await;
    // It is no failure: nobody has to look at it.
    assert_eq!(gateway.store().restricted_backlog("platform").await.unwrap(), 2);
    for client in [&app, &clinic] {
        assert_eq!(client.get(&format!("/Observation/{waiting}")).await.issues(), ["not-found"]);
        assert_eq!(client.find(&format!("/Observation?patient={patient}")).await, (Some(0), Vec::new()));
    }
    assert_eq!(kinds(&everything(&app, &format!("/Patient/{patient}/$everything")).await), ["Patient", "Consent"]);
    assert_eq!(app.find(&format!("/Observation?patient={other}")).await.0, Some(1));
    let log = app.get(&(app.root().to_owned() + &format!("/persons/{patient}/access-log"))).await.text();
    assert!(log.contains("processing-restricted") && log.contains("$restrict"), "{log}");

    let lifted = asks(&app, "POST", &format!("/Patient/{patient}/$unrestrict")).await;
    assert_eq!(lifted.json()["parameter"][0], json!({"name": "restricted", "valueBoolean": false}));
    let signed = lifted.json()["parameter"][1]["valueString"].as_str().unwrap().to_owned();
    let inner = &gateway.running.as_ref().unwrap().gateway;
    let claims = seal::verify(&signed, "restriction-receipt+jwt", &inner.receipt_keys()).unwrap();
    assert_eq!(claims["restriction"], json!({"restricted": false, "since": null}));
    // What was decided while it stood can be told again.
    let since = begun.json()["parameter"][1]["valueInstant"].clone();
    let parameters = json!([
        {"name": "patient", "valueReference": {"reference": format!("Patient/{patient}")}},
        {"name": "actor", "valueReference": {"reference": "Organization/platform"}},
        {"name": "action", "valueCode": "disclose"},
        {"name": "resource", "resource": heart_rate(&patient, "then", 61)},
        {"name": "now", "valueDateTime": since},
    ]);
    let mut asked = json!({"resourceType": "Parameters", "parameter": parameters});
    let then = app.post("/Consent/$evaluate", &asked).await.text();
    assert!(then.contains("\"restricted\"") && then.contains("\"deny\""), "{then}");
    asked["parameter"].as_array_mut().unwrap().pop();
    let now = app.post("/Consent/$evaluate", &asked).await.text();
    assert!(now.contains("\"permitted\"") && !now.contains("\"restricted\""), "{now}");
    platform.until("what waited arrives", |account| account["received"] == 3).await;
    assert_eq!(gateway.store().restricted_backlog("platform").await.unwrap(), 0);
    assert_eq!(clinic.find(&format!("/Observation?patient={patient}")).await.0, Some(2));
}

/// What goes beyond what a client may do is the person's own request, by her own client.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_speaks_for_a_person() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let app = own_requests(&gateway, &app, APP_SCOPES).await;
    let other = gateway.client("other", APP_SCOPES).await;
    let other = own_requests(&gateway, &other, APP_SCOPES).await;
    let narrow = gateway.client("narrow", "system/Observation.rs").await;
    let narrow = own_requests(&gateway, &narrow, "system/Observation.rs").await;
    for (method, operation) in [("POST", "$restrict"), ("POST", "$unrestrict"), ("GET", "$export-data")] {
        let address = format!("/Patient/{patient}/{operation}");
        assert_eq!(app.raw(method, &address, &[], "").await.issues(), ["request-not-own"], "{operation}");
        assert_eq!(asks(&other, method, &address).await.issues(), ["not-found"], "{operation}");
        assert_eq!(
            asks(&app, method, &address.replace(&patient, "nobody")).await.issues(),
            ["not-found"],
            "{operation}"
        );
        assert_eq!(asks(&narrow, method, &address).await.issues(), ["scope-insufficient"], "{operation}");
    }
    let unregistered = gateway.client("unregistered", APP_SCOPES).await;
    let address = format!("/Patient/{patient}/$restrict");
    assert_eq!(asks(&unregistered, "POST", &address).await.status, 403);
    let log = app.get(&(app.root().to_owned() + &format!("/persons/{patient}/access-log"))).await.text();
    assert!(log.contains("\"other\""), "she hears who tried: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_all_of_it_whatever_apps_may_see() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let app = own_requests(&gateway, &app, APP_SCOPES).await;
    let patient = app.person().await;
    let other = app.consenting_person().await;
    app.post("/Observation", &heart_rate(&other, "other", 99)).await;
    let actor = app.actor.clone();
    let consent = app.consent(&patient, &[(&actor, &[Action::Collect, Action::Access], &["heart-rate"])]).await;
    let many: Vec<Value> = (0..450)
        .map(|number| {
            let reading = heart_rate(&patient, &format!("reading-{number}"), 70);
            json!({"resource": reading, "request": {"method": "POST", "url": "Observation"}})
        })
        .collect();
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": many});
    assert_eq!(app.post("", &bundle).await.status, 200);
    let unread = json!([{"header": {"id": "unread"}, "body": {}}]).to_string();
    let address = app.root().to_owned() + &format!("/devices/open-mhealth?patient={patient}");
    let pushed = app.raw("POST", &address, &[("content-type", "application/json")], unread).await;
    assert!(pushed.status < 500, "{}", pushed.text());
    app.withdraw(&consent).await;
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.1.len(), 0);

    let address = format!("/Patient/{patient}/$export-data");
    let lines = asks(&app, "GET", &address).await;
    assert_eq!((lines.status, lines.header("content-type")), (200, "application/fhir+ndjson"));
    let lines: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["resourceType"] == kind).count();
    assert_eq!(lines[0]["id"], patient.as_str());
    assert_eq!((of("Patient"), of("Consent"), of("Observation")), (1, 2, 450), "each version of the consent");
    assert!(of("AuditEvent") > 3, "{}", of("AuditEvent"));
    assert_eq!(of("Parameters"), 1, "what was told of a record that was refused");
    let text = serde_json::to_string(&lines).unwrap();
    assert!(text.contains("$export-data") || text.contains("JGV4cG9ydC1kYXRh") || of("AuditEvent") > 4);
    assert!(!text.contains(&other), "nobody else's");

    let bundle = asks(&app, "GET", &format!("{address}?_format=json")).await.json();
    assert_eq!(bundle["type"], "collection");
    let entries = bundle["entry"].as_array().unwrap();
    // The second export tells of the first, too.
    assert_eq!(entries.len(), lines.len() + 1);
    assert_eq!(entries[0]["fullUrl"], format!("{}/Patient/{patient}", app.base));

    let unacceptable = asks(&app, "GET", &format!("{address}?_format=xml")).await;
    assert!(unacceptable.text().contains("not-acceptable"));
    for (query, issue) in [("_format=pdf", "not-acceptable"), ("_type=Observation", "operation-parameter")] {
        assert_eq!(asks(&app, "GET", &format!("{address}?{query}")).await.issues(), [issue], "{query}");
    }
}

/// What a device sent is hers as well, as it came.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_what_devices_sent() {
    let gateway = Gateway::start().await;
    let app = own_requests(&gateway, &gateway.app().await, APP_SCOPES).await;
    let (patient, other) = (app.consenting_person().await, app.consenting_person().await);
    let record = |id: &str, value| crate::devices::heart_rate(id, value);
    let body = json!([record("a", 70)]).to_string();
    let lines = format!("{}\n{}", record("b", 71), record("c", 72));
    for (person, kind, body) in [
        (&patient, "application/json", &body),
        (&patient, "application/x-ndjson", &lines),
        (&other, "application/json", &json!([record("d", 73)]).to_string()),
    ] {
        let headers = [("content-type", kind), ("accept", "application/json")];
        let address = crate::devices::address(&app, person);
        let pushed = app.raw("POST", &address, &headers, body.clone()).await;
        assert_eq!(pushed.status, 200, "{}", pushed.text());
    }
    let export = asks(&app, "GET", &format!("/Patient/{patient}/$export-data")).await.text();
    let all: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let inputs: Vec<&Value> = all.iter().map(|one| &one["parameter"][0]).filter(|one| one["name"] == "input").collect();
    let part = |input: &Value, name: &str| {
        let parts = input["part"].as_array().unwrap();
        parts.iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("{name}: {input}")).clone()
    };
    let content = |input: &Value| {
        let packed = part(input, "content")["valueBase64Binary"].as_str().unwrap().to_owned();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(packed).unwrap()).unwrap()
    };
    assert_eq!(inputs.len(), 2, "{inputs:?}");
    assert_eq!((content(inputs[0]), content(inputs[1])), (body, lines));
    assert_eq!(part(inputs[0], "format")["valueString"], "open-mhealth");
    assert!(part(inputs[1], "received")["valueInstant"].as_str().unwrap().ends_with('Z'));
    assert_eq!(part(inputs[1], "line")["valueString"], "1");
}

const ERASING: &str = "system/Patient.cruds system/Consent.crus system/Device.crus system/List.crus system/Observation.crus system/AuditEvent.s";

/// Files below a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A person with an id that stands out, with readings, some of which wait for a destination that is away.
async fn marked_person(app: &Client, id: &str) -> String {
    let patient = json!({"resourceType": "Patient", "id": id, "name": [{"family": "XMARKERX"}]});
    assert_eq!(app.put(&format!("/Patient/{id}"), &patient).await.status, 201);
    let actor = app.actor.clone();
    app.consent(id, &[(&actor, &[Action::Collect, Action::Access], &["heart-rate"])]).await;
    app.consent(id, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    for number in 0..3 {
        let reading = heart_rate(id, &format!("XMARKERX-{number}"), 70);
        let key = format!("key-{number}");
        let headers = [("content-type", "application/fhir+json"), ("idempotency-key", key.as_str())];
        let sent = app.raw("POST", "/Observation", &headers, reading.to_string());
        assert_eq!(sent.await.status, 201);
    }
    id.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_erased_is_in_no_file_any_more() {
    let mut platform = Platform::start(&[]).await;
    let configuration = format!("{ANY_ID}{}", platform.destination(""));
    let gateway = Gateway::with(&configuration).await;
    let app = gateway.client("app", ERASING).await;
    let app = own_requests(&gateway, &app, ERASING).await;
    let patient = marked_person(&app, "XMARKERX-person").await;
    platform.until("the readings arrive", |account| account["received"] == 3).await;
    platform.leave().await;
    app.post("/Observation", &heart_rate(&patient, "waits", 71)).await;
    eventually("one waits", async || (gateway.store().backlog("platform").await.unwrap().retries == 1).then_some(()))
        .await;
    let other = app.consenting_person().await;
    let kept = app.post("/Observation", &heart_rate(&other, "kept", 60)).await.id();
    let before = app.find(&format!("/Observation?patient={other}")).await;
    let trail =
        app.get(&format!("/AuditEvent?patient={other}&_count=100")).await.json()["entry"].as_array().unwrap().len();

    // Others may have asked about her by her id.
    let curious = gateway.client("curious", "system/*.rs system/Subscription.crus").await;
    let asked = subscriptions::over_socket("id-only", &[&format!("Observation?patient={patient}")]);
    let subscription = subscriptions::subscribe(&curious, &asked).await;
    let export = bulk::begin(&curious, &format!("/$export?_typeFilter=Observation%3Fpatient%3D{patient}")).await;
    // And of late ask about somebody else.
    let changed = subscriptions::subscribe(&curious, &asked).await;
    let mut shown = curious.get(&format!("/Subscription/{changed}")).await.json();
    shown["_criteria"] =
        subscriptions::over_socket("id-only", &[&format!("Observation?patient={other}")])["_criteria"].clone();
    assert_eq!(curious.put(&format!("/Subscription/{changed}"), &shown).await.status, 200);

    let address = format!("/Patient/{patient}/$erase");
    let erased = asks(&app, "POST", &address).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!(curious.get(&format!("/Subscription/{subscription}")).await.status, 404);
    assert_eq!(curious.get(&export).await.status, 404);
    for (path, status) in [("", 200), ("/_history/1", 404), ("/_history/2", 200)] {
        assert_eq!(curious.get(&format!("/Subscription/{changed}{path}")).await.status, status, "{path}");
    }
    let unsigned = |answer: &Answer| {
        let mut receipt = answer.json();
        let signed = receipt.as_object_mut().unwrap().remove("signed").unwrap();
        (receipt, signed.as_str().unwrap().to_owned())
    };
    let (receipt, signed) = unsigned(&erased);
    let keys = gateway.running.as_ref().unwrap().gateway.receipt_keys();
    let claims = seal::verify(&signed, "erasure-receipt+jwt", &keys).unwrap();
    assert_eq!((&claims["sub"], &claims["erasure"]["proof"]), (&receipt["person"], &receipt["proof"]));
    assert_eq!(receipt["erased"]["resources"], json!({"Consent": 2, "Observation": 4, "Patient": 1}));
    assert_eq!(receipt["recipients"], json!([{"destination": "platform", "told": false, "by": "the operator"}]));
    assert!(receipt["finished"].is_string() && receipt["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof"));
    assert_eq!(
        app.put(&format!("/Patient/{patient}"), &json!({"resourceType": "Patient", "id": patient})).await.issues(),
        ["person-erased"]
    );
    assert_eq!(unsigned(&asks(&app, "POST", &address).await).0, receipt, "asked again, it is the same");
    platform.come_back().await;
    app.post("/Observation", &heart_rate(&other, "later", 61)).await;
    let again = asks(&app, "POST", &address.replace(&patient, "nobody")).await;
    assert_eq!(again.issues(), ["not-found"]);

    // Others are as they were.
    assert_eq!(app.get(&format!("/Observation/{kept}")).await.status, 200);
    assert_eq!(app.find(&format!("/Observation?patient={other}")).await.1.len(), before.1.len() + 1);
    let now = app.get(&format!("/AuditEvent?patient={other}&_count=100")).await.json();
    assert!(now["entry"].as_array().unwrap().len() > trail);
    let (records, changed) = gateway.store().log_changed().await.unwrap();
    assert!(records > 0 && changed.is_empty());
    assert!(gateway.store().log_missing(i64::MAX).await.unwrap().is_empty(), "what was erased is accounted for");
    assert_eq!(gateway.inner().misfiled().await.ok(), Some(Vec::new()));
    eventually("the queue is empty", async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0 && backlog.dead == 0).then_some(())
    })
    .await;
    assert_eq!(platform.log().len(), 3, "nothing of hers is sent");
    let directory = gateway.stop().await;
    assert_eq!(files_with(directory.path(), "XMARKERX"), Vec::<String>::new());

    let gateway = Gateway::in_directory(directory, &configuration).await;
    assert!(gateway.store().log_changed().await.unwrap().1.is_empty());
}

/// The first step is on the disk, and then the process ends: she is absent, and what is left of her goes later.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_half_erased_is_absent_and_then_gone() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.client("app", ERASING).await;
    let app = own_requests(&gateway, &app, ERASING).await;
    let patient = marked_person(&app, "XMARKERX-person").await;
    let reading = app.find(&format!("/Observation?patient={patient}")).await.1.pop().unwrap();
    let inner = &gateway.running.as_ref().unwrap().gateway;
    let key = inner.patient_key(&patient);
    let record = AuditRecord {
        at_ms: 1,
        patient: Some(key),
        client: "app".into(),
        id: ResId::random(Some(key), 1, [7; 16]),
        payload: b"{}".to_vec(),
        salt: [1; 32],
    };
    let tombstone = Erasure {
        patient: key,
        owner: "app".into(),
        at_ms: inner.now_ms(),
        record: record.id,
        receipt: b"{}".to_vec(),
        finished: false,
    };
    assert!(gateway.store().begin_erasure(tombstone.clone(), record.clone()).await.unwrap());
    assert!(!gateway.store().begin_erasure(tombstone, record).await.unwrap());
    for path in
        [format!("/Patient/{patient}"), format!("/Observation/{reading}"), format!("/Observation/{reading}/_history/1")]
    {
        assert_eq!(app.get(&path).await.issues(), ["not-found"], "{path}");
    }
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.1, Vec::<String>::new());
    assert_eq!(everything(&app, &format!("/Patient/{patient}/$everything")).await, []);
    assert_eq!(app.get(&format!("/AuditEvent?patient={patient}")).await.json()["entry"], Value::Null);
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "new", 70)).await.issues(), ["consent-missing"]);
    assert_eq!(app.post("/Consent", &consent(&patient, &[])).await.issues(), ["patient-unknown"]);
    let repeated = [("content-type", "application/fhir+json"), ("idempotency-key", "key-0")];
    let repeated = app.raw("POST", "/Observation", &repeated, heart_rate(&patient, "XMARKERX-0", 70).to_string()).await;
    assert_eq!(repeated.issues(), ["consent-missing"]);

    let directory = gateway.stop().await;
    let gateway = Gateway::in_directory(directory, ANY_ID).await;
    let store = gateway.store();
    eventually("it is finished", async || store.erasure(key).await.unwrap().unwrap().finished.then_some(())).await;
    assert_eq!(store.census(key).await.unwrap(), []);
    assert!(!store.erase_step(key).await.unwrap());
    let app = Client { base: gateway.base.clone(), http: gateway.http.clone(), ..app };
    let mut app = app;
    app.sign_in().await;
    let receipt = asks(&app, "POST", &format!("/Patient/{patient}/$erase")).await;
    assert_eq!((receipt.status, receipt.json()["finished"].is_string()), (200, true));
}

/// Time passes, in the gateway's eyes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_by_category_and_origin() {
    const DAY_MS: i64 = 86_400_000;
    let platform = Platform::start(&[]).await;
    let rules = "[retention]\naudit_days = 1096\n[[retention.rule]]\ncategory = \"heart-rate\"\norigin = \"app\"\ndays = 10\n[[retention.rule]]\ncategory = \"blood-pressure\"\ndays = 100\n";
    let gateway = Gateway::with(&format!("{rules}{}", platform.destination(""))).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    app.consent(&patient, &[("Organization/clinic", &[Action::Collect, Action::Access], &["heart-rate"])]).await;
    for number in 0..3 {
        app.post("/Observation", &heart_rate(&patient, &format!("app-{number}"), 70 + number)).await;
    }
    clinic.post("/Observation", &heart_rate(&patient, "clinic", 90)).await;
    platform.until("all arrive", |account| account["received"] == 4).await;
    let inner = gateway.running.as_ref().unwrap().gateway.clone();
    let held = async || app.find(&format!("/Observation?patient={patient}")).await.1.len();
    let lines = async || {
        app.get(&format!("/AuditEvent?patient={patient}&_count=1000")).await.json()["entry"]
            .as_array()
            .map_or(0, Vec::len)
    };
    for (days, expected) in [(9, 4), (11, 1), (90, 1), (99_999, 1)] {
        let before = lines().await;
        inner.retain(inner.now_ms() + days * DAY_MS, || true).await.unwrap();
        assert_eq!(held().await, expected, "{days}");
        assert!(if days > 1096 { lines().await < 3 } else { lines().await > before }, "{days}: {}", lines().await);
    }
    assert!(gateway.store().log_changed().await.unwrap().1.is_empty());
    assert!(
        gateway.store().log_missing(i64::MAX).await.unwrap().is_empty(),
        "what was forgotten in time is accounted for"
    );
    // What came since is delivered: the feed goes on where it was.
    app.post("/Observation", &heart_rate(&patient, "later", 75)).await;
    platform.until("the next arrives", |account| account["received"] == 5).await;
    assert_eq!(held().await, 2);
    // And what was taken away may come again.
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "app-0", 70)).await.status, 201);
    drop(inner);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_is_an_international_patient_summary() {
    let package = shared("MHEALTH_PACKAGES", "packages").join("hl7.fhir.uv.ips-2.0.0.tgz");
    let ips = Arc::new(Package::read(&std::fs::read(&package).unwrap()).unwrap());
    let validator = Validator::new(Registry::with_packages([guide::packages(), vec![ips]].concat()));
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let anonymous = app.consenting_person().await;
    let named = json!({"resourceType": "Patient", "name": [{"family": "Example"}], "birthDate": "1970-01-01"});
    let named = app.post("/Patient", &named).await.id();
    let actor = app.actor.clone();
    app.consent(&named, &[(&actor, &[Action::Collect, Action::Access], &["heart-rate"])]).await;
    for (number, day) in ["2026-01-10", "2026-01-12", "2026-01-11"].iter().enumerate() {
        app.post("/Observation", &measured(&named, &number.to_string(), day)).await;
    }
    for (patient, readings) in [(&anonymous, 0), (&named, 1)] {
        let answer = app.get(&format!("/Patient/{patient}/$summary")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let document = tree::parse(answer.bytes.as_slice()).unwrap();
        let profile = "http://hl7.org/fhir/uv/ips/StructureDefinition/Bundle-uv-ips";
        let options = Options { location: "Bundle", profiles: &[profile], ..Options::default() };
        let report = validator.check(Element::root(&document), &options);
        let errors: Vec<String> =
            report.issues.iter().filter(|issue| issue.is_error()).map(|issue| format!("{issue:?}")).collect();
        assert!(errors.is_empty(), "{:#}\n{}", answer.json(), errors.join("\n"));
        let bundle = answer.json();
        let observations = bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
        let observations: Vec<&Value> = observations.filter(|held| held["resourceType"] == "Observation").collect();
        assert_eq!(observations.len(), readings, "{bundle:#}");
        let latest = |reading: &&Value| reading["effectiveDateTime"].as_str().unwrap().starts_with("2026-01-12");
        assert!(observations.iter().all(latest));
    }
    // Whoever may not see the person sees nobody.
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    for patient in [named.as_str(), "nobody"] {
        assert_eq!(clinic.get(&format!("/Patient/{patient}/$summary")).await.issues(), ["not-found"]);
    }
    let odd = app.get(&format!("/Patient/{named}/$summary?profile=urn:other")).await;
    assert_eq!(odd.issues(), ["operation-parameter"]);
}

/// What is corrected goes to whoever may have what was wrong, though it is not sent there any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_follows_what_was_wrong() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("codes = [\"8867-4\"]")).await;
    let app = gateway.client("app", &format!("{APP_SCOPES} system/Provenance.rs")).await;
    let patient = app.consenting_person().await;
    let given = app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    let wrong = app.post("/Observation", &heart_rate(&patient, "wrong", 70)).await.id();
    let withdrawn = app.post("/Observation", &heart_rate(&patient, "withdrawn", 71)).await.id();
    platform.until("both arrive", |account| account["received"] == 2).await;
    let directory = gateway.stop().await;
    let gateway = Gateway::in_directory(directory, &platform.destination("codes = [\"29463-7\"]")).await;
    let mut app = Client { base: gateway.base.clone(), http: gateway.http.clone(), ..app };
    app.sign_in().await;
    let corrected = |id: &str, name: &str, value| {
        let mut reading = heart_rate(&patient, name, value);
        reading["id"] = json!(id);
        reading["status"] = json!("corrected");
        reading
    };
    // What is new is not sent there any more.
    app.post("/Observation", &heart_rate(&patient, "new", 72)).await;
    assert_eq!(app.put(&format!("/Observation/{wrong}"), &corrected(&wrong, "wrong", 75)).await.status, 200);
    let name = format!("Observation/{wrong}");
    eventually("the correction arrives", async || platform.log().contains(&(name.clone(), 2)).then_some(())).await;
    assert_eq!(platform.log().len(), 3);
    let told = app.get(&format!("/Provenance?target=Observation/{wrong}")).await.json();
    let told = &told["entry"][0]["resource"];
    assert_eq!(told["activity"]["coding"][0]["code"], "UPDATE", "{told:#}");
    assert_eq!(told["entity"][0]["what"]["reference"], format!("Observation/{wrong}/_history/1"));
    assert_eq!(told["agent"][0]["who"]["reference"], "Organization/app");
    // Consent has the last word, here as everywhere.
    app.withdraw(&given).await;
    app.put(&format!("/Observation/{withdrawn}"), &corrected(&withdrawn, "withdrawn", 76)).await;
    eventually("the queue is empty", async || {
        (gateway.store().backlog("platform").await.unwrap().behind == 0).then_some(())
    })
    .await;
    assert_eq!(platform.log().len(), 3);
}
