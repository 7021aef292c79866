//! What became of resources: versions, deletes, and the conditions under which they are changed and read.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{ANY_ID, APP_SCOPES, Client, Gateway, Platform, heart_rate, issues};

const JSON: (&str, &str) = ("content-type", "application/fhir+json");

/// An app that may delete, too.
async fn app(gateway: &Gateway) -> Client {
    gateway.client("app", &APP_SCOPES.replace("crus", "cruds")).await
}

async fn delete(client: &Client, path: &str) -> crate::fixture::Answer {
    client.raw("DELETE", path, &[], "").await
}

fn named(patient: &str, id: &str, value: u32) -> Value {
    let mut body = heart_rate(patient, id, value);
    body["id"] = json!(id);
    body
}

/// Method, version and value of each entry.
fn told(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let entry = |entry: &Value| {
        let value = entry["resource"].get("valueQuantity").map(|value| value["value"].to_string());
        let etag = entry["response"]["etag"].as_str().unwrap_or_default().to_owned();
        format!("{} {etag} {}", entry["request"]["method"].as_str().unwrap(), value.unwrap_or_default())
    };
    entries.iter().map(|each| entry(each).trim_end().to_owned()).collect()
}

fn next(bundle: &Value) -> Option<String> {
    let links = bundle["link"].as_array().unwrap();
    links.iter().find(|link| link["relation"] == "next").map(|link| link["url"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_resource_is_gone_and_its_history_stays() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    for value in [70, 71] {
        app.put("/Observation/r", &named(&patient, "r", value)).await;
    }
    let gone = delete(&app, "/Observation/r").await;
    assert_eq!((gone.status, gone.header("etag")), (204, "W/\"3\""), "{}", gone.text());
    // It is deleted once.
    assert_eq!(
        (delete(&app, "/Observation/r").await.status, delete(&app, "/Observation/none").await.status),
        (204, 404)
    );
    for path in ["/Observation/r", "/Observation/r/_history/3"] {
        let answer = app.get(path).await;
        assert_eq!((answer.status, answer.issues()), (410, vec!["gone".to_owned()]), "{path}");
    }
    assert_eq!(app.get("/Observation/r/_history/2").await.status, 200);
    assert_eq!(app.find("/Observation").await, (Some(0), vec![]));
    assert_eq!(app.find(&format!("/Observation?patient={patient}&code=8867-4")).await.0, Some(0));
    let history = app.get("/Observation/r/_history").await.json();
    assert_eq!(told(&history), ["DELETE W/\"3\"", "PUT W/\"2\" 71", "PUT W/\"1\" 70"]);
    assert_eq!((&history["type"], &history["total"]), (&json!("history"), &json!(3)));
    let counted = app.get("/Observation/r/_history?_count=0").await.json();
    assert_eq!(
        (&counted["total"], &counted["entry"], counted["link"].as_array().unwrap().len()),
        (&json!(3), &Value::Null, 1)
    );
    assert_eq!(app.get("/Observation/nobody/_history?_count=0").await.status, 404);
    // It may come back.
    assert_eq!(app.put("/Observation/r", &named(&patient, "r", 72)).await.status, 200);
    assert_eq!(told(&app.get("/Observation/r/_history?_count=1").await.json()), ["PUT W/\"4\" 72"]);
    assert_eq!(app.get("/Observation/r").await.json()["valueQuantity"]["value"], 72);
    let trail = app.get(&format!("/AuditEvent?patient=Patient/{patient}&_count=100")).await.text();
    assert!(trail.contains("\"code\":\"delete\"") && trail.contains("Observation/r/_history/3"), "{trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_keep_to_their_conditions() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = app(&gateway).await;
    let patient = app.person().await;
    let actor = app.actor.clone();
    let given = app.consent(&patient, &[(&actor, &[Action::Collect, Action::Access], &["heart-rate"])]).await;
    let body = named(&patient, "r", 70);
    app.put("/Observation/r", &body).await;
    let stale = app.raw("DELETE", "/Observation/r", &[("if-match", "W/\"9\"")], "").await;
    assert_eq!((stale.status, stale.issues()), (412, vec!["version-conflict".to_owned()]));
    let other = gateway.client("other", &APP_SCOPES.replace("crus", "cruds")).await;
    let reader = gateway.client("reader", APP_SCOPES).await;
    assert_eq!(delete(&other, "/Observation/r").await.bytes, delete(&other, "/Observation/none").await.bytes);
    let unscoped = delete(&reader, "/Observation/r").await;
    assert_eq!((unscoped.status, unscoped.issues()), (403, vec!["scope-insufficient".to_owned()]));
    // Whose data there is, is not unregistered.
    let referenced = delete(&app, &format!("/Patient/{patient}")).await;
    assert_eq!((referenced.status, referenced.issues()), (409, vec!["delete-referenced".to_owned()]));
    let trial = app.raw("POST", &format!("/Patient/{patient}/$validate?mode=delete"), &[JSON], "").await;
    assert_eq!(issues(&trial.json()), ["delete-referenced"]);
    assert_eq!(app.raw("DELETE", "/Observation/r", &[("if-match", "W/\"1\"")], "").await.status, 204);
    // A withdrawn consent keeps what stands from being changed, and a deleted one permits nothing.
    app.put("/Observation/s", &named(&patient, "s", 70)).await;
    assert_eq!(delete(&app, &format!("/Consent/{given}")).await.status, 204);
    let refused = delete(&app, "/Observation/s").await;
    assert_eq!((refused.status, refused.issues()), (403, vec!["consent-missing".to_owned()]));
    assert_eq!(app.get("/Observation/s").await.status, 404);
    assert_eq!(
        app.get("/Observation/r").await.bytes,
        app.get("/Observation/none").await.bytes,
        "gone is not told either"
    );
    assert_eq!(app.get(&format!("/Consent/{given}")).await.status, 410);
    let nobody = app.person().await;
    assert_eq!(delete(&app, &format!("/Patient/{nobody}")).await.status, 204);
    assert_eq!(app.get(&format!("/Patient/{nobody}")).await.status, 410);
    assert_eq!(app.post("/Consent", &crate::fixture::consent(&nobody, &[])).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_back_in_pages() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    for round in 0..3 {
        for id in ["a", "b", "c", "d"] {
            let answer = app.put(&format!("/Observation/{id}"), &named(&patient, id, 60 + round)).await;
            assert!(answer.status < 300, "{}", answer.text());
        }
    }
    delete(&app, "/Observation/a").await;
    for (path, expected) in [("/Observation/b/_history", 3), ("/Observation/_history", 13), ("/_history", 13)] {
        let whole = app.get(&format!("{path}?_count=1000")).await.json();
        assert_eq!(whole["total"], told(&whole).len(), "{path}");
        let readings = whole["entry"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["fullUrl"].as_str().unwrap().contains("/Observation/"));
        assert!(readings.count() >= expected, "{path}");
        let moments: Vec<&str> = whole["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["response"]["lastModified"].as_str().unwrap())
            .collect();
        assert!(moments.windows(2).all(|pair| pair[0] >= pair[1]), "{path}: {moments:?}");
        let mut paged = Vec::new();
        let mut page = Some(format!("{path}?_count=2"));
        while let Some(address) = page {
            let bundle = app.get(&address).await.json();
            assert!(told(&bundle).len() <= 2);
            paged.extend(bundle["entry"].as_array().unwrap().clone());
            // What comes later belongs to no later page.
            app.put("/Observation/e", &named(&patient, "e", 50 + paged.len() as u32)).await;
            page = next(&bundle);
        }
        assert_eq!(json!(paged), whole["entry"], "{path}");
        delete(&app, "/Observation/e").await;
    }
    // Deleted versions tell nothing of their content.
    let whole = app.get("/Observation/_history?_count=1000").await.json();
    let deleted =
        whole["entry"].as_array().unwrap().iter().find(|entry| entry["request"]["method"] == "DELETE").unwrap();
    assert!(deleted.get("resource").is_none(), "{deleted}");
    let since = whole["entry"][0]["response"]["lastModified"].as_str().unwrap();
    let later = app.get(&format!("/Observation/_history?_since={since}")).await.json();
    assert_eq!(told(&later).len(), 1, "{later}");
    assert_eq!(told(&app.get("/Observation/b/_history?_since=2999-01-01").await.json()).len(), 0);
    for (path, status, id) in [
        ("/Observation/none/_history", 404, "not-found"),
        ("/AuditEvent/_history", 404, "interaction-unsupported"),
        ("/Condition/_history", 404, "interaction-unsupported"),
        ("/Observation/_history?_since=yesterday", 400, "search-value"),
        ("/Observation/_history?code=1", 400, "search-parameter-unknown"),
        ("/Observation/_history?_page=x", 410, "page-unknown"),
    ] {
        let answer = app.get(path).await;
        assert_eq!((answer.status, answer.issues()), (status, vec![id.to_owned()]), "{path}");
    }
    let lenient = app.raw("GET", "/Observation/b/_history?colour=red", &[("prefer", "handling=lenient")], "").await;
    assert_eq!(issues(&lenient.json()["entry"][3]["resource"]), ["search-parameter-ignored"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_is_judged_by_itself() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = app(&gateway).await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let patient = app.person().await;
    let actor = app.actor.clone();
    let both = &[Action::Collect, Action::Access];
    app.consent(
        &patient,
        &[(&actor, both, &["heart-rate", "weight"]), ("Organization/clinic", &[Action::Access], &["heart-rate"])],
    )
    .await;
    let mut weight = named(&patient, "r", 70);
    weight["code"]["coding"][0]["code"] = json!("29463-7");
    weight["valueQuantity"] = json!({"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"});
    assert_eq!(app.put("/Observation/r", &weight).await.status, 201);
    assert_eq!(app.put("/Observation/r", &named(&patient, "r", 71)).await.status, 200);
    assert_eq!(
        app.put("/Observation/s", &{
            weight["id"] = json!("s");
            weight["identifier"][0]["value"] = json!("s");
            weight
        })
        .await
        .status,
        201
    );
    for path in ["/Observation/r/_history", "/Observation/_history", "/_history"] {
        let bundle = clinic.get(path).await.json();
        assert_eq!((told(&bundle), &bundle["total"]), (vec!["PUT W/\"2\" 71".to_owned()], &json!(1)), "{path}");
    }
    assert_eq!(clinic.get("/Observation/r/_history/1").await.status, 404);
    assert_eq!(clinic.get("/Observation/s/_history").await.bytes, clinic.get("/Observation/none/_history").await.bytes);
    // What is deleted was a weight to whoever may not see weights, and is absent.
    delete(&app, "/Observation/s").await;
    for path in ["/Observation/s", "/Observation/s/_history", "/Observation/s/_history/2"] {
        assert_eq!(clinic.get(path).await.status, 404, "{path}");
        assert_eq!(clinic.get(path).await.bytes, clinic.get(&path.replace("/s", "/none")).await.bytes, "{path}");
    }
    delete(&app, "/Observation/r").await;
    assert_eq!(clinic.get("/Observation/r").await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_hear_of_a_delete_as_of_an_error() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&format!("{ANY_ID}{}", platform.destination(""))).await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    app.put("/Observation/early", &named(&patient, "early", 70)).await;
    delete(&app, "/Observation/early").await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    app.put("/Observation/r", &named(&patient, "r", 71)).await;
    delete(&app, "/Observation/r").await;
    platform.until("both versions", |account| account["received"].as_u64() >= Some(2)).await;
    let held = platform.held().await;
    let told: Vec<&Value> = held.iter().filter(|resource| resource["id"] == "r").collect();
    assert_eq!((told.len(), &told[0]["status"]), (1, &json!("entered-in-error")), "{held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_may_say_what_is_changed() {
    let gateway = Gateway::start().await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    let path = "/Observation?identifier=urn:test:readings|1";
    let first = app.put(path, &heart_rate(&patient, "1", 70)).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let again = app.put(path, &heart_rate(&patient, "1", 71)).await;
    assert_eq!((again.status, again.header("etag"), again.id()), (200, "W/\"2\"", first.id()));
    // By another identifier it is found with its person.
    let mut two = heart_rate(&patient, "1", 71);
    two["identifier"].as_array_mut().unwrap().push(json!({"system": "urn:test:other", "value": "9"}));
    assert_eq!(app.put(path, &two).await.header("etag"), "W/\"3\"");
    two["valueQuantity"]["value"] = json!(72);
    let other = app.put("/Observation?identifier=urn:test:other|9", &two).await;
    assert_eq!((other.header("etag"), other.id()), ("W/\"4\"", first.id()));
    // A resource that says another id is another one.
    let mut other = heart_rate(&patient, "1", 72);
    other["id"] = json!("11111111-2222-4333-8444-555555555555");
    assert_eq!(app.put(path, &other).await.issues(), ["id-mismatch"]);
    let patch = json!([{"op": "replace", "path": "/valueQuantity/value", "value": 73}]).to_string();
    let media = [("content-type", "application/json-patch+json")];
    assert_eq!(app.raw("PATCH", path, &media, patch.clone()).await.json()["valueQuantity"]["value"], 73);
    app.post("/Observation", &heart_rate(&patient, "2", 74)).await;
    let many = format!("/Observation?patient={patient}");
    for answer in [
        app.put(&many, &heart_rate(&patient, "3", 75)).await,
        app.raw("PATCH", &many, &media, patch.clone()).await,
        delete(&app, &many).await,
    ] {
        assert_eq!((answer.status, answer.issues()), (412, vec!["multiple-matches".to_owned()]));
    }
    for path in ["/Observation", "/Observation?_count=1"] {
        let answer = delete(&app, path).await;
        assert_eq!((answer.status, answer.issues()), (400, vec!["condition-unsupported".to_owned()]));
    }
    assert_eq!(app.raw("PATCH", "/Observation?identifier=none", &media, patch).await.status, 404);
    // What another sent is not meant, whatever consent lets be seen.
    let clinic = gateway.client("clinic", &APP_SCOPES.replace("crus", "cruds")).await;
    app.consent(&patient, &[("Organization/clinic", &[Action::Access], &["heart-rate"])]).await;
    assert_eq!(clinic.find(path).await.1.len(), 1);
    assert_eq!(delete(&clinic, path).await.status, 204);
    assert_eq!(app.find(path).await.1.len(), 1);
    assert_eq!((delete(&app, path).await.status, delete(&app, path).await.status), (204, 204));
    assert_eq!(app.get(&format!("/Observation/{}", first.id())).await.status, 410);
    // What was deleted may come back by the same words, and is not made anew by a POST.
    let back = app.put(path, &heart_rate(&patient, "1", 77)).await;
    assert_eq!((back.status, back.id()), (200, first.id()), "{}", back.text());
    assert_eq!(delete(&app, path).await.status, 204);
    let posted = app.post("/Observation", &heart_rate(&patient, "1", 77)).await;
    assert_eq!((posted.status, posted.issues()), (409, vec!["duplicate-identifier".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_delete_and_follow_conditions() {
    for mode in ["transaction", "batch"] {
        let gateway = Gateway::with(ANY_ID).await;
        let app = app(&gateway).await;
        let patient = app.consenting_person().await;
        for id in ["a", "b"] {
            app.put(&format!("/Observation/{id}"), &named(&patient, id, 70)).await;
        }
        let entries = json!([
            {"request": {"method": "DELETE", "url": "Observation/a"}},
            {"request": {"method": "DELETE", "url": "Observation?identifier=nothing"}},
            {"request": {"method": "PUT", "url": "Observation?identifier=urn:test:readings|b"}, "resource": heart_rate(&patient, "b", 71)},
            {"request": {"method": "GET", "url": "Observation/b/_history"}},
        ]);
        let bundle = json!({"resourceType": "Bundle", "type": mode, "entry": entries});
        let answer = app.post("", &bundle).await;
        let statuses: Vec<Value> = answer.json()["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["response"]["status"].clone())
            .collect();
        assert_eq!(statuses, ["204 No Content", "204 No Content", "200 OK", "200 OK"], "{mode}: {}", answer.text());
        assert_eq!(told(&answer.json()["entry"][3]["resource"]).len(), 2);
        assert_eq!(app.get("/Observation/a").await.status, 410, "{mode}");
        let failing = json!([
            {"request": {"method": "DELETE", "url": "Observation/b"}},
            {"request": {"method": "DELETE", "url": "Observation/none"}},
        ]);
        let answer = app.post("", &json!({"resourceType": "Bundle", "type": mode, "entry": failing})).await;
        let (status, stands) = if mode == "transaction" { (404, 200) } else { (200, 410) };
        assert_eq!((answer.status, app.get("/Observation/b").await.status), (status, stands), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_sent_again() {
    let gateway = Gateway::start().await;
    let app = app(&gateway).await;
    let patient = app.person().await;
    let path = format!("/Patient/{patient}");
    let first = app.get(&path).await;
    let modified = first.header("last-modified").to_owned();
    for (name, value, status) in [
        ("if-none-match", "W/\"1\"", 304),
        ("if-none-match", "W/\"2\"", 200),
        ("if-modified-since", modified.as_str(), 304),
        ("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT", 200),
        ("if-modified-since", "Tue, 01 Jan 2999 00:00:00 GMT", 304),
        ("if-modified-since", "yesterday", 200),
    ] {
        assert_eq!(app.raw("GET", &path, &[(name, value)], "").await.status, status, "{name}: {value}");
    }
    let both = [("if-none-match", "W/\"2\""), ("if-modified-since", modified.as_str())];
    assert_eq!(app.raw("GET", &path, &both, "").await.status, 200);
}
