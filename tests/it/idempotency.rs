//! Creating and updating: what sending again, conditions, versions and preferences mean.

use serde_json::{Value, json};

use crate::fixture::{Answer, Client, Gateway, heart_rate};

const JSON: (&str, &str) = ("content-type", "application/fhir+json");

async fn send(app: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let headers: Vec<(&str, &str)> = [JSON].iter().chain(headers).copied().collect();
    app.raw(method, path, &headers, body.to_string()).await
}

#[track_caller]
fn check(name: &str, answer: &Answer, status: u16, id: &str) {
    assert_eq!(answer.status, status, "{name}: {}", answer.text());
    if status >= 400 {
        assert_eq!(answer.issues(), [id], "{name}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_creates_find_what_they_name() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let condition = ("if-none-exist", "identifier=urn:test:readings|c-1");
    let first = send(&app, "POST", "/Observation", &[condition], &heart_rate(&patient, "c-1", 70)).await;
    check("absent", &first, 201, "");
    let again = send(&app, "POST", "/Observation", &[condition], &heart_rate(&patient, "c-1", 70)).await;
    check("present", &again, 200, "");
    assert_eq!(again.id(), first.id());
    let other = send(&app, "POST", "/Observation", &[condition], &heart_rate(&patient, "c-1", 99)).await;
    check("present with other content", &other, 200, "");
    assert_eq!((other.id(), &other.json()["valueQuantity"]["value"]), (first.id(), &json!(70)));
    let mut later = heart_rate(&patient, "c-1", 70);
    later["effectiveDateTime"] = json!("2026-01-18T08:30:00+01:00");
    let moved = send(&app, "POST", "/Observation", &[condition], &later).await;
    check("present on another day", &moved, 200, "");
    assert_eq!(moved.id(), first.id());
    let encoded = ("if-none-exist", "?identifier=urn%3Atest%3Areadings%7Cc-1");
    check(
        "encoded",
        &send(&app, "POST", "/Observation", &[encoded], &heart_rate(&patient, "c-1", 1)).await,
        422,
        "measure-implausible",
    );
    check("encoded", &send(&app, "POST", "/Observation", &[encoded], &heart_rate(&patient, "c-1", 70)).await, 200, "");
    let second = app.consenting_person().await;
    let elsewhere = send(&app, "POST", "/Observation", &[condition], &heart_rate(&second, "c-1", 70)).await;
    check("another person's", &elsewhere, 409, "duplicate-identifier");
    for bad in ["identifier=x", "code=8867-4", "identifier=a|b&code=c", "identifier=|b", "identifier=a|", ""] {
        let answer =
            send(&app, "POST", "/Observation", &[("if-none-exist", bad)], &heart_rate(&patient, "c-2", 70)).await;
        check(bad, &answer, 400, "condition-unsupported");
    }
    assert_eq!(app.find("/Observation").await.0, Some(1));

    let person = json!({"resourceType": "Patient", "identifier": [{"system": "urn:test:people", "value": "1"}]});
    let condition = ("if-none-exist", "identifier=urn:test:people|1");
    let one = send(&app, "POST", "/Patient", &[condition], &person).await;
    let two = send(&app, "POST", "/Patient", &[condition], &person).await;
    assert_eq!((one.status, two.status, one.id()), (201, 200, two.id()));
    for name in ["twin-1", "twin-2"] {
        let twin =
            json!({"resourceType": "Patient", "id": name, "identifier": [{"system": "urn:test:people", "value": "2"}]});
        check(name, &app.put(&format!("/Patient/{name}"), &twin).await, 201, "");
    }
    let condition = ("if-none-exist", "identifier=urn:test:people|2");
    check("two", &send(&app, "POST", "/Patient", &[condition], &person).await, 412, "multiple-matches");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_request() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let mut anonymous = heart_rate(&patient, "", 70);
    anonymous.as_object_mut().unwrap().remove("identifier");
    let key = ("idempotency-key", "k-1");
    let first = send(&app, "POST", "/Observation", &[key], &anonymous).await;
    check("first", &first, 201, "");
    let again = send(&app, "POST", "/Observation", &[key], &anonymous).await;
    assert_eq!((again.status, &again.bytes), (201, &first.bytes));
    for header in ["etag", "location", "last-modified"] {
        assert_eq!(again.header(header), first.header(header), "{header}");
    }
    let mut other = anonymous.clone();
    other["valueQuantity"]["value"] = json!(71);
    check("other body", &send(&app, "POST", "/Observation", &[key], &other).await, 409, "idempotency-key-reused");
    check(
        "no key",
        &send(&app, "POST", "/Observation", &[("idempotency-key", "")], &other).await,
        400,
        "idempotency-key-invalid",
    );
    let long = "k".repeat(256);
    check(
        "long key",
        &send(&app, "POST", "/Observation", &[("idempotency-key", &long)], &other).await,
        400,
        "idempotency-key-invalid",
    );
    assert_eq!(app.find("/Observation").await.0, Some(1));
    // Another client's key is another key.
    let friend = gateway.client("friend", crate::fixture::APP_SCOPES).await;
    let own = friend.consenting_person().await;
    check("a friend's", &send(&friend, "POST", "/Observation", &[key], &heart_rate(&own, "1", 70)).await, 201, "");

    let entry = |identifier: &str, value| json!({"resource": heart_rate(&patient, identifier, value), "request": {"method": "POST", "url": "Observation"}});
    let bundle = |kind: &str, entries: &[Value]| json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    for kind in ["transaction", "batch"] {
        let key = ("idempotency-key", kind);
        let body = bundle(kind, &[entry(&format!("{kind}-1"), 70), entry(&format!("{kind}-2"), 70)]);
        let first = send(&app, "POST", "", &[key], &body).await;
        let again = send(&app, "POST", "", &[key], &body).await;
        assert_eq!((first.status, again.status, &first.bytes), (200, 200, &again.bytes), "{kind}");
    }
    // What was rolled back is not remembered: it may be tried again.
    let conflicting = bundle("transaction", &[entry("batch-1", 99), entry("new-1", 70), entry("new-2", 70)]);
    for _ in 0..2 {
        let answer = send(&app, "POST", "", &[("idempotency-key", "conflicting")], &conflicting).await;
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert_eq!(answer.issues(), ["duplicate-identifier"]);
    }
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.0, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identifier_stands_for_one_content() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let first = app.post("/Observation", &heart_rate(&patient, "i", 70)).await;
    let again = app.post("/Observation", &heart_rate(&patient, "i", 70)).await;
    assert_eq!((first.status, again.status, first.id(), &first.bytes), (201, 200, again.id(), &again.bytes));
    check(
        "other content",
        &app.post("/Observation", &heart_rate(&patient, "i", 71)).await,
        409,
        "duplicate-identifier",
    );
    let mut other_day = heart_rate(&patient, "i", 70);
    other_day["effectiveDateTime"] = json!("2026-01-20T08:30:00+01:00");
    check("another day", &app.post("/Observation", &other_day).await, 409, "duplicate-identifier");
    // Order of properties and server-owned meta are no content.
    let text = heart_rate(&patient, "i", 70).to_string();
    let turned = format!("{{\"meta\":{{\"versionId\":\"7\"}},{}", &text[1..]);
    let answer = app.raw("POST", "/Observation", &[JSON], turned).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.id(), first.id());
    let long = "x".repeat(200);
    let one = app.post("/Observation", &heart_rate(&patient, &format!("{long}1"), 70)).await;
    let two = app.post("/Observation", &heart_rate(&patient, &format!("{long}2"), 70)).await;
    assert_eq!((one.status, two.status, one.id() == two.id()), (201, 201, false));
    // The same name of another client is another resource.
    let friend = gateway.client("friend", crate::fixture::APP_SCOPES).await;
    let own = friend.consenting_person().await;
    check("a friend's", &friend.post("/Observation", &heart_rate(&own, "i", 99)).await, 201, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_have_versions() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let body = |value: u32| {
        let mut body = heart_rate(&patient, "u", value);
        body["id"] = json!("mine");
        body
    };
    let path = "/Observation/mine";
    check(
        "stale before birth",
        &send(&app, "PUT", path, &[("if-match", "W/\"1\"")], &body(70)).await,
        412,
        "version-conflict",
    );
    let created = app.put(path, &body(70)).await;
    assert_eq!((created.status, created.header("etag")), (201, "W/\"1\""));
    let same = app.put(path, &body(70)).await;
    assert_eq!((same.status, same.header("etag"), &same.bytes), (200, "W/\"1\"", &created.bytes));
    let changed = send(&app, "PUT", path, &[("if-match", "W/\"1\"")], &body(71)).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "W/\"2\""));
    assert_eq!(changed.json()["meta"]["versionId"], "2");
    check("stale", &send(&app, "PUT", path, &[("if-match", "W/\"1\"")], &body(72)).await, 412, "version-conflict");
    let old = app.get("/Observation/mine/_history/1").await;
    assert_eq!((old.status, &old.json()["valueQuantity"]["value"], old.header("etag")), (200, &json!(70), "W/\"1\""));
    for version in ["0", "3", "-1", "1e0", "99999999999999"] {
        let answer = app.get(&format!("/Observation/mine/_history/{version}")).await;
        check(version, &answer, 404, "not-found");
    }
    // To another person it does not go.
    let second = app.consenting_person().await;
    let mut moved = body(71);
    moved["subject"]["reference"] = json!(format!("Patient/{second}"));
    assert_eq!(app.put(path, &moved).await.status, 403);
    // What the server named, the client may change by that name.
    let named = app.post("/Observation", &heart_rate(&patient, "server", 70)).await;
    let mut again = named.json();
    again["valueQuantity"]["value"] = json!(75);
    let updated = app.put(&format!("/Observation/{}", named.id()), &again).await;
    assert_eq!((updated.status, updated.header("etag")), (200, "W/\"2\""));
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.0, Some(2));
    // Two at once without If-Match: one after the other, none lost.
    let writes: Vec<_> = (80..90)
        .map(|value| {
            let (app, body) = (app.clone(), body(value));
            tokio::spawn(async move { app.put("/Observation/mine", &body).await.status })
        })
        .collect();
    let mut succeeded = 0;
    for write in writes {
        let status = write.await.unwrap();
        assert!(matches!(status, 200 | 503), "{status}");
        succeeded += u32::from(status == 200);
    }
    let last = app.get(path).await;
    assert_eq!(last.header("etag"), format!("W/\"{}\"", 2 + succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_carry_what_is_preferred() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for (index, (prefer, kind)) in [
        ("return=minimal", ""),
        ("return=representation", "Observation"),
        ("return=OperationOutcome", "OperationOutcome"),
        ("respond-async, return=minimal", ""),
        ("return=\"minimal\"", ""),
        ("return=nonsense", "Observation"),
    ]
    .iter()
    .enumerate()
    {
        let body = heart_rate(&patient, &index.to_string(), 70);
        for status in [201, 200] {
            let answer = send(&app, "POST", "/Observation", &[("prefer", prefer)], &body).await;
            assert_eq!(answer.status, status, "{prefer}");
            assert!(answer.header("location").ends_with("/_history/1"), "{prefer}");
            match *kind {
                "" => assert!(answer.bytes.is_empty(), "{prefer}"),
                kind => assert_eq!(answer.json()["resourceType"], kind, "{prefer}"),
            }
            if *kind == "OperationOutcome" && status == 200 {
                assert_eq!(answer.issues(), ["duplicate"]);
            }
        }
    }
}
