//! PATCH: a part of a resource is changed, under the rules of a PUT.

use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Client, Gateway, heart_rate};

const FHIR: &str = "application/fhir+json";
const JSON_PATCH: &str = "application/json-patch+json";
const XML_PATCH: &str = "application/xml-patch+xml";

fn replace(path: &str, kind: &str, value: Value) -> String {
    let part = |name: &str, key: &str, value: Value| json!({"name": name, key: value});
    json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        part("type", "valueCode", json!("replace")),
        part("path", "valueString", json!(path)),
        part("value", kind, value),
    ]}]})
    .to_string()
}

/// `expected`: status and, of a refusal, the id of the first issue.
async fn check(app: &Client, id: &str, media: &str, patch: &str, expected: (u16, &str)) -> Value {
    let answer = app.raw("PATCH", &format!("/Observation/{id}"), &[("content-type", media)], patch.to_owned()).await;
    let first = if answer.status < 300 { String::new() } else { answer.issues()[0].clone() };
    assert_eq!((answer.status, first.as_str()), expected, "{media} {patch}: {}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_part_is_changed_in_every_form() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let created = app.post("/Observation", &heart_rate(&patient, "i", 60)).await;
    let id = created.id();
    let body = check(&app, &id, FHIR, &replace("Observation.status", "valueCode", json!("amended")), (200, "")).await;
    assert_eq!((&body["status"], &body["meta"]["versionId"]), (&json!("amended"), &json!("2")));
    let patch = json!([
        {"op": "test", "path": "/status", "value": "amended"},
        {"op": "replace", "path": "/valueQuantity/value", "value": 61.50}
    ]);
    let body = check(&app, &id, JSON_PATCH, &patch.to_string(), (200, "")).await;
    assert_eq!(body["valueQuantity"]["value"].to_string(), "61.5");
    let patch = "<diff><replace sel=\"f:Observation/f:status/@value\">final</replace></diff>";
    let body = check(&app, &id, XML_PATCH, patch, (200, "")).await;
    assert_eq!((&body["status"], &body["meta"]["versionId"]), (&json!("final"), &json!("4")));
    assert_eq!(app.get(&format!("/Observation/{id}")).await.json(), body);
}

#[tokio::test]
async fn what_a_put_would_not_do_a_patch_does_not() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let id = app.post("/Observation", &heart_rate(&patient, "i", 60)).await.id();
    let status = |code: &str| replace("Observation.status", "valueCode", json!(code));
    check(&app, &id, FHIR, &status("finished"), (422, "binding-required")).await;
    check(&app, &id, FHIR, &replace("Observation.id", "valueId", json!("other")), (400, "id-mismatch")).await;
    check(&app, &id, FHIR, &replace("Observation.note", "valueString", json!("x")), (422, "patch-failed")).await;
    check(&app, &id, FHIR, &heart_rate(&patient, "i", 60).to_string(), (400, "patch-invalid")).await;
    check(&app, &id, FHIR, "{", (400, "json-syntax")).await;
    check(&app, &id, JSON_PATCH, "{}", (400, "patch-invalid")).await;
    check(&app, &id, JSON_PATCH, "[{\"op\":\"test\",\"path\":\"/status\",\"value\":\"x\"}]", (422, "patch-failed"))
        .await;
    check(&app, &id, XML_PATCH, "<diff/>", (400, "patch-invalid")).await;
    check(&app, &id, "text/plain", "x", (415, "media-type-unsupported")).await;
    check(&app, &id, JSON_PATCH, "", (400, "body-missing")).await;
    check(&app, "nobody", FHIR, &status("amended"), (404, "not-found")).await;
    let headers = [("content-type", FHIR), ("if-match", "W/\"7\"")];
    let late = app.raw("PATCH", &format!("/Observation/{id}"), &headers, status("amended")).await;
    assert_eq!((late.status, late.issues()), (412, vec!["version-conflict".to_owned()]));
    // Another client sees nothing, and so changes nothing.
    let stranger = gateway.client("stranger", APP_SCOPES).await;
    check(&stranger, &id, FHIR, &status("amended"), (404, "not-found")).await;
    assert_eq!(app.get(&format!("/Observation/{id}")).await.json()["meta"]["versionId"], "1");
    let reader = gateway.client("app", "system/Observation.rs system/Patient.r").await;
    let answer = reader.raw("PATCH", &format!("/Observation/{id}"), &[("content-type", FHIR)], status("amended")).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
}

/// The entry of a Bundle that asks for something, and what is asked with it.
fn asks(method: &str, url: &str, more: Value, resource: Option<Value>) -> Value {
    let mut entry = json!({"request": {"method": method, "url": url}});
    let Value::Object(more) = more else { panic!("it is an object") };
    entry["request"].as_object_mut().unwrap().extend(more);
    if let Some(resource) = resource {
        entry["resource"] = resource;
    }
    entry
}

async fn answered(app: &Client, kind: &str, entries: Vec<Value>) -> Vec<(String, Value)> {
    let answer = app.post("", &json!({"resourceType": "Bundle", "type": kind, "entry": entries})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    let entries = bundle["entry"].as_array().unwrap().iter();
    entries.map(|entry| (entry["response"]["status"].as_str().unwrap().to_owned(), entry.clone())).collect()
}

#[tokio::test]
async fn a_bundle_patches_as_a_request_does() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let id = app.post("/Observation", &heart_rate(&patient, "i", 60)).await.id();
    let one = format!("Observation/{id}");
    let status = |code: &str| -> Value {
        serde_json::from_str(&replace("Observation.status", "valueCode", json!(code))).unwrap()
    };
    let binary = |media: &str, patch: &str| {
        let data = mhealth_gateway::fhir::fhirpath::to_base64(patch.as_bytes());
        json!({"resourceType": "Binary", "contentType": media, "data": data})
    };
    let json_patch = r#"[{"op":"replace","path":"/status","value":"final"}]"#;
    let xml_patch = "<diff><replace sel=\"f:Observation/f:status/@value\">corrected</replace></diff>";
    let by_name = "Observation?identifier=urn:test:readings|i";
    for (kind, url, patch, expected) in [
        ("batch", &*one, status("amended"), "amended"),
        ("transaction", &*one, binary(JSON_PATCH, json_patch), "final"),
        ("transaction", &*one, binary(XML_PATCH, xml_patch), "corrected"),
        ("transaction", by_name, status("amended"), "amended"),
    ] {
        let told = answered(&app, kind, vec![asks("PATCH", url, json!({}), Some(patch))]).await;
        assert_eq!(told[0].0, "200 OK", "{url}: {}", told[0].1);
        assert_eq!(app.get(&format!("/{one}")).await.json()["status"], expected);
    }
    let stands = app.get(&format!("/{one}")).await.json();
    for (url, more, patch, expected) in [
        (&*one, json!({"ifMatch": "W/\"1\""}), Some(status("final")), "412 Precondition Failed version-conflict"),
        (&*one, json!({}), Some(status("finished")), "422 Unprocessable Content binding-required"),
        (&*one, json!({}), Some(heart_rate(&patient, "i", 60)), "400 Bad Request patch-invalid"),
        (&*one, json!({}), Some(binary("text/plain", "x")), "400 Bad Request patch-invalid"),
        (&*one, json!({}), None, "400 Bad Request body-missing"),
        ("Observation/nobody", json!({}), Some(status("final")), "404 Not Found not-found"),
        ("Observation?identifier=urn:test:readings|none", json!({}), Some(status("final")), "404 Not Found not-found"),
    ] {
        let told = answered(&app, "batch", vec![asks("PATCH", url, more, patch)]).await;
        let issue = &told[0].1["response"]["outcome"]["issue"][0]["details"]["coding"][0]["code"];
        assert_eq!(format!("{} {}", told[0].0, issue.as_str().unwrap_or_default()), expected, "{}", told[0].1);
    }
    assert_eq!(app.get(&format!("/{one}")).await.json(), stands);
    // Twice the same in a transaction has no one meaning.
    let twice = vec![asks("PATCH", &one, json!({}), Some(status("final"))); 2];
    let answer = app.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": twice})).await;
    assert_eq!(answer.issues(), ["bundle-rule"]);
    let stranger = gateway.client("stranger", APP_SCOPES).await;
    let told = answered(&stranger, "batch", vec![asks("PATCH", &one, json!({}), Some(status("final")))]).await;
    assert_eq!(told[0].0, "404 Not Found");
}

#[tokio::test]
async fn a_read_may_ask_for_what_is_new_and_for_a_part() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let id = app.post("/Observation", &heart_rate(&patient, "i", 60)).await.id();
    let (one, whole) = (format!("Observation/{id}"), app.get(&format!("/Observation/{id}")).await.json());
    let changed = whole["meta"]["lastUpdated"].clone();
    let told = answered(
        &app,
        "batch",
        vec![
            asks("GET", &one, json!({"ifNoneMatch": "W/\"1\""}), None),
            asks("GET", &one, json!({"ifNoneMatch": "W/\"2\""}), None),
            asks("GET", &one, json!({"ifModifiedSince": changed}), None),
            asks("GET", &one, json!({"ifModifiedSince": "2020-01-01T00:00:00Z"}), None),
            asks("GET", &one, json!({"ifModifiedSince": "yesterday"}), None),
            asks("HEAD", &one, json!({}), None),
            asks("GET", &format!("{one}?_elements=status"), json!({}), None),
            asks("GET", &format!("{one}/_history/1?_summary=data"), json!({}), None),
        ],
    )
    .await;
    let said: Vec<_> = told.iter().map(|(status, entry)| (&status[..3], entry.get("resource").is_some())).collect();
    let expected = [
        ("304", false),
        ("200", true),
        ("304", false),
        ("200", true),
        ("400", false),
        ("200", false),
        ("200", true),
        ("200", true),
    ];
    assert_eq!(said, expected);
    assert_eq!((&told[0].1["response"]["etag"], &told[5].1["response"]["lastModified"]), (&json!("W/\"1\""), &changed));
    assert_eq!(told[1].1["resource"], whole);
    let part = app.get(&format!("/{one}?_elements=status&_format=json")).await.json();
    assert_eq!((&part, &part["meta"]["tag"][0]["code"]), (&told[6].1["resource"], &json!("SUBSETTED")));
    assert!(part.get("code").is_some() && part.get("valueQuantity").is_none(), "{part}");
    for (query, expected) in [
        ("_summary=false", (200, "")),
        ("_summary=true", (200, "")),
        ("_summary=count", (400, "search-value")),
        ("_summary=some", (400, "search-value")),
        ("code=8867-4", (400, "search-parameter-unknown")),
    ] {
        let answer = app.get(&format!("/{one}?{query}")).await;
        let issue = if answer.status == 200 { String::new() } else { answer.issues().concat() };
        assert_eq!((answer.status, &*issue), expected, "{query}");
    }
    let lenient = app.raw("GET", &format!("/{one}?x=1"), &[("prefer", "handling=lenient")], String::new()).await;
    assert_eq!((lenient.status, lenient.json()), (200, whole));
}
