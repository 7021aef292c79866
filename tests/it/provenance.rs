//! How a device's records became Observations is told once, and is as private as they are.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::devices::{address, heart_rate, point};
use crate::fixture::{Client, Gateway, ids};

const SCOPES: &str = "system/Patient.crus system/Consent.crus system/Observation.crus system/Provenance.rs";

async fn push(app: &Client, patient: &str, records: Vec<Value>) -> Value {
    let headers = [("content-type", "application/json"), ("accept", "application/json")];
    let answer = app.raw("POST", &address(app, patient), &headers, json!({"records": records}).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn all(client: &Client) -> Vec<String> {
    ids(&client.get("/Provenance").await.json())
}

fn pressure(id: &str) -> Value {
    let body = json!({
        "systolic_blood_pressure": {"value": 121, "unit": "mmHg"},
        "diastolic_blood_pressure": {"value": 79, "unit": "mmHg"},
        "effective_time_frame": {"date_time": "2026-01-15T08:30:00+01:00"},
    });
    point("blood-pressure/3.0", id, &body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_has_one_provenance_and_a_replay_none() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", SCOPES).await;
    let patient = app.consenting_person().await;
    let pushed = push(&app, &patient, vec![heart_rate("a", 71), heart_rate("b", 9000), pressure("c")]).await;
    let kept: Vec<&str> =
        pushed["receipts"].as_array().unwrap().iter().filter_map(|receipt| receipt["resource"].as_str()).collect();
    assert_eq!(kept.len(), 2);
    let found = all(&app).await;
    assert_eq!(found.len(), 1);
    let provenance = app.get(&format!("/Provenance/{}", found[0])).await.json();
    let targets: Vec<String> =
        kept.iter().map(|url| format!("{}/_history/1", &url[url.find("Observation").unwrap()..])).collect();
    assert_eq!(
        provenance["target"],
        json!(targets.iter().map(|target| json!({"reference": target})).collect::<Vec<_>>())
    );
    assert_eq!(provenance["agent"][0]["who"]["reference"], "Organization/app");
    assert_eq!(provenance["agent"][0]["onBehalfOf"]["reference"], format!("Patient/{patient}"));
    let mapping = provenance["extension"][1]["valueCanonical"].as_str().unwrap();
    assert!(mapping.starts_with("https://mhealth-gateway.org/fhir/mapping/open-mhealth|"), "{mapping}");
    let checked = app.post("/Provenance/$validate", &provenance).await;
    assert_eq!(checked.issues(), ["no-issues"], "{}", checked.text());
    // Found by what it tells of.
    let target = targets[0].split("/_history").next().unwrap();
    assert_eq!(app.find(&format!("/Provenance?target={target}")).await.1, found);
    push(&app, &patient, vec![heart_rate("a", 71), pressure("c")]).await;
    assert_eq!(all(&app).await, found, "nothing came to be, so there is nothing to tell");
    push(&app, &patient, vec![heart_rate("a", 71), heart_rate("d", 72)]).await;
    assert_eq!(all(&app).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn provenance_is_as_private_as_what_it_tells_of() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", SCOPES).await;
    let half = gateway.client("half", SCOPES).await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/half", &[Action::Access], &["heart-rate"])]).await;
    push(&app, &patient, vec![heart_rate("a", 71), pressure("c")]).await;
    let told_of_both = all(&app).await;
    assert_eq!(all(&half).await, Vec::<String>::new(), "it tells of blood pressure, too");
    assert_eq!(half.get(&format!("/Provenance/{}", told_of_both[0])).await.status, 404);
    push(&app, &patient, vec![heart_rate("b", 72)]).await;
    assert_eq!(all(&half).await.len(), 1);
    let own = app.get(&format!("/Provenance/{}", told_of_both[0])).await.json();
    for (method, path) in [("POST", "/Provenance"), ("PUT", &*format!("/Provenance/{}", told_of_both[0]))] {
        let answer = app.raw(method, path, &[("content-type", "application/fhir+json")], own.to_string()).await;
        assert_eq!(answer.issues(), ["interaction-unsupported"], "{method}");
    }
}
