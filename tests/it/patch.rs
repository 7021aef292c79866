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
