//! Subscriptions: who is told what, how much of it, in which order, and who learns nothing.

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::AuditPlan;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Client, Gateway, eventually, heart_rate};
use crate::hook::{Hook, Manner, events, parameter};

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
    let (_gateway, app, clinic) = scene(&hook, "retry_attempts = 3").await;
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
    let mut hook = Hook::start().await;
    let (_gateway, app, clinic) = scene(&hook, "retry_attempts = 1000").await;
    let patient = app.person().await;
    let consent = permit(&app, &patient, true).await;
    let other = person(&app, true).await;
    let id = subscribe(&clinic, &subscription(&hook.url, "full-resource", &[])).await;
    until_status(&clinic, &id, "active").await;
    push(&app, &patient, "told").await;
    hook.until_taken(1).await;
    hook.leave().await;
    push(&app, &patient, "waits").await;
    // Once it is under way its number may have been told, so it is kept, and nothing else.
    let status = async || count_of(&clinic, &id).await;
    eventually("it has a number", async || (status().await == 2).then_some(())).await;
    assert_eq!(app.withdraw(&consent).await.status, 200);
    hook.come_back().await;
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
    let shown = until_status(&clinic, &id, "active").await;
    let mut moved = shown.clone();
    moved["channel"]["endpoint"] = json!(format!("{}/two", hook.url));
    assert_eq!(put(&moved, &tag(shown["meta"]["versionId"].as_str().unwrap())).await.status, 200);
    until_status(&clinic, &id, "active").await;
    let heard = hook.heard();
    let secrets: Vec<(String, bool)> =
        heard.iter().map(|heard| (heard.path.clone(), heard.headers.contains_key("x-secret"))).collect();
    let expected = [("/one", true), ("/one", true), ("/two", false)];
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
