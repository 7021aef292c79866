//! `$validate`: what a push would be told, and nothing kept.

use serde_json::{Value, json};

use crate::fixture::{Client, Gateway, heart_rate};

const HEARTRATE: &str = "http://hl7.org/fhir/StructureDefinition/heartrate";
const BMI: &str = "http://hl7.org/fhir/StructureDefinition/bmi";
const JSON: (&str, &str) = ("content-type", "application/fhir+json");

/// Errors as id and expression.
fn errors(outcome: &Value) -> Vec<(String, String)> {
    assert_eq!(outcome["resourceType"], "OperationOutcome", "{outcome}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let listed = outcome["issue"].as_array().unwrap().iter();
    listed
        .filter(|issue| matches!(issue["severity"].as_str(), Some("error" | "fatal")))
        .map(|issue| (text(&issue["details"]["coding"][0]["code"]), text(&issue["expression"][0])))
        .collect()
}

/// `expected`: status, and the id of each error.
async fn check(app: &Client, method: &str, path: &str, body: &str, expected: (u16, &[&str])) -> Value {
    let answer = app.raw(method, path, &[JSON], body.to_owned()).await;
    let outcome = answer.json();
    let found = errors(&outcome);
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((answer.status, ids.as_slice()), expected, "{method} {path} {body}: {outcome}");
    outcome
}

fn call(parameters: &[(&str, Value)]) -> String {
    let listed: Vec<Value> = parameters
        .iter()
        .map(|(name, value)| {
            let key = match *name {
                "resource" => "resource",
                "mode" => "valueCode",
                _ => "valueUri",
            };
            json!({"name": name, key: value})
        })
        .collect();
    json!({"resourceType": "Parameters", "parameter": listed}).to_string()
}

#[tokio::test]
async fn a_type_is_asked_with_a_resource() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let good = heart_rate("p", "i", 60);
    let mut bad = good.clone();
    bad["status"] = json!("finished");
    let path = "/Observation/$validate";
    check(&app, "POST", path, &good.to_string(), (200, &[])).await;
    check(&app, "POST", path, &bad.to_string(), (200, &["binding-required", "code-meaningless"])).await;
    check(&app, "POST", &format!("{path}?mode=create"), &good.to_string(), (200, &[])).await;
    check(&app, "POST", path, &call(&[("resource", bad.clone())]), (200, &["binding-required", "code-meaningless"]))
        .await;
    check(&app, "POST", path, &call(&[("mode", json!("create")), ("resource", good.clone())]), (200, &[])).await;
    check(
        &app,
        "POST",
        path,
        &call(&[("mode", json!("update")), ("resource", good.clone())]),
        (400, &["operation-parameter"]),
    )
    .await;
    check(&app, "POST", path, &call(&[("mode", json!("x"))]), (400, &["operation-parameter"])).await;
    check(&app, "POST", path, &call(&[("mode", json!("create"))]), (400, &["body-missing"])).await;
    check(&app, "POST", path, "", (400, &["body-missing"])).await;
    check(&app, "POST", "/Patient/$validate", &good.to_string(), (200, &["type-not-in-url"])).await;
    // Types that are not stored are validated as well, unless a create is asked about.
    let binary = json!({"resourceType": "Basic", "code": {"text": "x"}}).to_string();
    check(&app, "POST", "/Basic/$validate", &binary, (200, &[])).await;
    check(&app, "POST", "/Basic/$validate?mode=create", &binary, (200, &["interaction-unsupported"])).await;
    // Parameters can be what is asked about.
    let own = json!({"resourceType": "Parameters", "parameter": [{"name": "a"}]}).to_string();
    check(&app, "POST", "/Parameters/$validate", &own, (200, &["invariant"])).await;
}

#[tokio::test]
async fn profiles_are_asked_by_name() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let good = heart_rate("p", "i", 60).to_string();
    let path = |profiles: &[&str]| {
        let named: Vec<String> = profiles.iter().map(|url| format!("profile={url}")).collect();
        format!("/Observation/$validate?{}", named.join("&"))
    };
    check(&app, "POST", &path(&[HEARTRATE]), &good, (200, &[])).await;
    let answer = app.raw("POST", &path(&[HEARTRATE, BMI]), &[JSON], good.clone()).await;
    assert!(!errors(&answer.json()).is_empty(), "a heart rate is no BMI");
    let both = call(&[("profile", json!(HEARTRATE)), ("profile", json!(BMI)), ("resource", heart_rate("p", "i", 60))]);
    let called = app.raw("POST", "/Observation/$validate", &[JSON], both).await;
    assert_eq!(errors(&called.json()).len(), errors(&answer.json()).len());
    check(&app, "POST", &path(&["http://example.org/nobody"]), &good, (422, &["profile-unknown"])).await;
}

#[tokio::test]
async fn an_instance_is_asked_by_its_address() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let created = app.post("/Observation", &heart_rate(&patient, "i", 60)).await;
    let (id, stored) = (created.id(), created.json());
    let path = format!("/Observation/{id}/$validate");
    check(&app, "GET", &path, "", (200, &[])).await;
    check(&app, "GET", &format!("{path}?mode=profile&profile={HEARTRATE}"), "", (200, &[])).await;
    check(&app, "GET", &format!("{path}?mode=profile"), "", (400, &["operation-parameter"])).await;
    check(&app, "GET", &format!("{path}?mode=delete"), "", (200, &["scope-insufficient"])).await;
    check(&app, "GET", &format!("{path}?mode=update"), "", (400, &["body-missing"])).await;
    check(&app, "POST", &format!("{path}?mode=update"), &stored.to_string(), (200, &[])).await;
    let other = heart_rate(&patient, "i", 60).to_string();
    check(&app, "POST", &format!("{path}?mode=update"), &other, (200, &["id-mismatch"])).await;
    check(&app, "POST", &path, &call(&[("mode", json!("update")), ("resource", stored)]), (200, &[])).await;
    check(&app, "GET", "/Observation/nobody/$validate", "", (404, &["not-found"])).await;
}

#[tokio::test]
async fn mistakes_of_the_text_hide_nothing_and_have_their_place() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let text = "{\"resourceType\":\"Patient\", // who\n\"name\":[{\"given\":[\"a\",]}],\n\"gender\":\"x\"}";
    let outcome = check(
        &app,
        "POST",
        "/Patient/$validate",
        text,
        (200, &["json-comment", "json-comma", "binding-required", "code-meaningless"]),
    )
    .await;
    let place = |outcome: &Value, at: usize| {
        let extensions = outcome["issue"][at]["extension"].clone();
        let of = |name: &str| {
            let url = format!("http://hl7.org/fhir/StructureDefinition/operationoutcome-{name}");
            extensions.as_array().unwrap().iter().find(|each| each["url"] == url).cloned().unwrap_or_default()
        };
        (
            of("issue-line")["valueInteger"].clone(),
            of("issue-col")["valueInteger"].clone(),
            of("message-id")["valueString"].clone(),
        )
    };
    assert_eq!(place(&outcome, 2), (json!(3), json!(10), json!("binding-required")), "{outcome}");
    let xml = "<Patient xmlns=\"http://hl7.org/fhir\">\n  <gender value=\"x\"/>\n</Patient>";
    let answer = app.raw("POST", "/Patient/$validate", &[("content-type", "application/fhir+xml")], xml).await;
    let outcome = answer.json();
    let gender = |id: &str| (id.to_owned(), "Patient.gender".to_owned());
    assert_eq!(errors(&outcome), [gender("binding-required"), gender("code-meaningless")]);
    assert_eq!(place(&outcome, 0), (json!(2), json!(3), json!("binding-required")), "{outcome}");
    let said = outcome["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(said.ends_with("/issues#binding-required"), "{said}");
}
