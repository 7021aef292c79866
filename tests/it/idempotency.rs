//! Creating and updating: what sending again, conditions, versions and preferences mean.

use std::io::Write;

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::AuditPlan;
use serde_json::{Value, json};

use crate::fixture::{ANY_ID, Answer, Client, Gateway, head, heart_rate};

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
    let gateway = Gateway::with(ANY_ID).await;
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
    for (asked, status, id) in [
        ("code=8867-4", 200, ""),
        ("identifier=c-1", 200, ""),
        ("identifier=urn:test:readings|&status=final", 200, ""),
        ("_count=1", 400, "condition-unsupported"),
        ("", 400, "condition-unsupported"),
        ("colour=red", 400, "search-parameter-unknown"),
        ("date=yesterday", 400, "search-value"),
    ] {
        let answer =
            send(&app, "POST", "/Observation", &[("if-none-exist", asked)], &heart_rate(&patient, "c-2", 70)).await;
        check(asked, &answer, status, id);
        let entry = json!({"resource": heart_rate(&patient, "c-2", 70), "request": {"method": "POST", "url": "Observation", "ifNoneExist": asked}});
        let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]});
        let answer = app.post("", &bundle).await.json();
        let line = answer["entry"][0]["response"]["status"].as_str().unwrap().to_owned();
        assert!(line.starts_with(&status.to_string()), "{asked}: {answer}");
    }
    assert_eq!(app.find("/Observation").await.0, Some(1));
    // An identifier stands for one thing of one person.
    let second = app.consenting_person().await;
    let elsewhere = send(&app, "POST", "/Observation", &[condition], &heart_rate(&second, "c-1", 70)).await;
    check("another person's", &elsewhere, 201, "");
    let again = send(&app, "POST", "/Observation", &[condition], &heart_rate(&second, "c-1", 70)).await;
    check("another person's again", &again, 200, "");
    assert_eq!((again.id() == elsewhere.id(), again.id() == first.id()), (true, false));

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
    let gateway = Gateway::with(ANY_ID).await;
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
    let gateway = Gateway::with(ANY_ID).await;
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
    let gateway = Gateway::with(ANY_ID).await;
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
    let gateway = Gateway::with(ANY_ID).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_is_not_overwritten_by_whoever_expects_nothing() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let body = |id: &str, value: u32| {
        let mut body = heart_rate(&patient, id, value);
        body["id"] = json!(id);
        body
    };
    let put = async |id: &str, tag: &str, value: u32| {
        send(&app, "PUT", &format!("/Observation/{id}"), &[("if-none-match", tag)], &body(id, value)).await
    };
    check("nothing there", &put("a", "*", 70).await, 201, "");
    for (name, tag, value) in [
        ("other content", "*", 71),
        ("the same content", "*", 70),
        ("this version", "W/\"1\"", 71),
        ("no tag", "nonsense", 71),
    ] {
        check(name, &put("a", tag, value).await, 412, "version-conflict");
    }
    check("another version", &put("a", "W/\"7\"", 71).await, 200, "");
    let entry = |tag: &str| json!({"resource": body("a", 72), "request": {"method": "PUT", "url": "Observation/a", "ifNoneMatch": tag}});
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry("*"), entry("x")]});
    let answer = app.post("", &batch).await.json();
    let ids = |index: usize| crate::fixture::issues(&answer["entry"][index]["response"]["outcome"]);
    assert_eq!((ids(0), ids(1)), (vec!["version-conflict".to_owned()], vec!["bundle-rule".to_owned()]));
    assert_eq!(app.get("/Observation/a").await.json()["valueQuantity"]["value"], 71);
    // Of two at once one is the first.
    let writes: Vec<_> = (80..90)
        .map(|value| {
            let (app, body) = (app.clone(), body("b", value));
            tokio::spawn(
                async move { send(&app, "PUT", "/Observation/b", &[("if-none-match", "*")], &body).await.status },
            )
        })
        .collect();
    let mut statuses = Vec::new();
    for write in writes {
        statuses.push(write.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[412; 9][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_is_not_sent_again() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let reading = app.post("/Observation", &heart_rate(&patient, "1", 70)).await;
    let path = format!("/Observation/{}", reading.id());
    for (tag, status) in
        [("W/\"1\"", 304), ("\"1\"", 304), ("W/\"7\", W/\"1\"", 304), ("*", 304), ("W/\"2\"", 200), ("x", 200)]
    {
        for path in [path.clone(), format!("{path}/_history/1")] {
            let answer = app.raw("GET", &path, &[("if-none-match", tag)], "").await;
            assert_eq!(
                (answer.status, answer.bytes.is_empty(), answer.header("etag")),
                (status, status == 304, "W/\"1\"")
            );
        }
    }
    for path in [path.clone(), format!("{path}/_history/1"), "/metadata".to_owned()] {
        let (head, get) = (app.raw("HEAD", &path, &[], "").await, app.get(&path).await);
        assert_eq!((head.status, head.bytes.len(), get.status), (200, 0, 200), "{path}");
        for header in ["etag", "last-modified", "content-type", "content-length"] {
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
    }
    let statement = app.get("/metadata").await.json();
    let kinds = statement["rest"][0]["resource"].as_array().unwrap();
    let reading_kind = kinds.iter().find(|kind| kind["type"] == "Observation").unwrap();
    assert_eq!(reading_kind["conditionalRead"], "full-support");
    // Over HTTP/1.1 as well, and the connection goes on.
    let mut stream = gateway.connection();
    for method in ["HEAD", "HEAD", "GET"] {
        write!(stream, "{method} /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.flush().unwrap();
        let head = head(&mut stream);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert!(head.starts_with("HTTP/1.1 200") && length.is_some_and(|length| length != "0"), "{method}: {head}");
    }
    // Neither tells more than a read would.
    let stranger = gateway.client("stranger", crate::fixture::APP_SCOPES).await;
    assert_eq!(stranger.raw("GET", &path, &[("if-none-match", "*")], "").await.status, 404);
    assert_eq!(stranger.raw("HEAD", &path, &[], "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_gives_nothing_back_that_consent_no_longer_lets_be_sent() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let consent = app.consent(&patient, &[(&app.actor, &[Action::Collect], &["heart-rate"])]).await;
    let reading = |name: &str| heart_rate(&patient, name, 70);
    let entry = |name: &str| json!({"resource": reading(name), "request": {"method": "POST", "url": "Observation"}});
    let bundle = |kind: &str| json!({"resourceType": "Bundle", "type": kind, "entry": [entry(kind)]});
    let requests = [("/Observation", reading("alone")), ("", bundle("batch")), ("", bundle("transaction"))];
    let push = async |index: usize| {
        let (path, body) = &requests[index];
        let key = format!("k-{index}");
        send(&app, "POST", path, &[("idempotency-key", &key), ("prefer", "return=representation")], body).await
    };
    for index in 0..requests.len() {
        for _ in 0..2 {
            assert!(push(index).await.text().contains("8867-4"), "{index}");
        }
    }
    assert_eq!(app.withdraw(&consent).await.status, 200);
    for index in 0..requests.len() {
        let answer = push(index).await.text();
        assert!(answer.contains("consent-missing") && !answer.contains("8867-4"), "{index}: {answer}");
    }
    let plan = AuditPlan { limit: 1000, ..AuditPlan::default() };
    let events = gateway.store().audit(plan).await.unwrap();
    let told = events.iter().filter(|(_, event)| String::from_utf8_lossy(event).contains("consent-missing")).count();
    assert_eq!(told, requests.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_names_what_is_new_within_its_own_space() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for (id, status) in [
        ("app.mine", 201),
        ("7e1f3b52-6d0b-4a1c-9f56-0c4a2a3f0001", 201),
        ("mine", 403),
        ("other.mine", 403),
        ("7e1f3b52-6d0b-8a1c-9f56-0c4a2a3f0001", 403),
        ("7E1F3B52-6D0B-4A1C-9F56-0C4A2A3F0002", 403),
    ] {
        let person = json!({"resourceType": "Patient", "id": id, "active": true});
        let answer = app.put(&format!("/Patient/{id}"), &person).await;
        check(id, &answer, status, "id-refused");
        if status == 403 {
            let is_upper = id.starts_with("7E1F");
            let issue = &answer.json()["issue"][0];
            assert_eq!(issue["details"]["text"].as_str().unwrap().contains("lower case"), is_upper, "{issue}");
            assert_eq!(issue["expression"], json!(["Patient.id"]));
            assert!(issue["diagnostics"].as_str().unwrap().starts_with("Send what is new by POST"), "{issue}");
        }
        let entry = json!({"resource": person, "request": {"method": "PUT", "url": format!("Patient/{id}")}});
        let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]});
        let answer = app.post("", &bundle).await.json();
        let expected = if status == 201 { "200" } else { "403" };
        let found = answer["entry"][0]["response"]["status"].as_str().unwrap().to_owned();
        assert!(found.starts_with(expected), "{id}: {found}");
    }
}
