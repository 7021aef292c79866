//! A mapping says what it would do, and does nothing.

use serde_json::json;

use crate::fixture::{Client, Gateway};

#[tokio::test(flavor = "multi_thread")]
async fn records_are_explained_and_nothing_is_kept() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let address = app.base.replace("/fhir", "/devices/health-connect/$explain?zone=Europe/Madrid");
    let body = json!({"records": [
        {"recordType": "Weight", "weight": {"inKilograms": 72.5}, "time": "2026-01-15T08:30:00", "metadata": {"id": "w"}},
        {"recordType": "Weight", "weight": {"value": 9000, "unit": "kilograms"}, "time": "2026-01-15T08:30:00Z", "metadata": {"id": "x"}},
        {"recordType": "Route", "metadata": {"id": "y"}},
    ]});
    let answer = app.post(&address, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let explained = answer.json();
    assert_eq!(explained["mapping"], "https://mhealth-gateway.org/fhir/mapping/health-connect|1.0.0");
    let records = explained["records"].as_array().unwrap();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let outcome = record["records"][0]["outcome"].as_str().unwrap();
            let issue = record["records"][0]["issues"]["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap();
            format!("{} {outcome} {issue}", record["pointer"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            "/records/0 accepted no-issues",
            "/records/1 refused measure-implausible",
            "/records/2 refused device-schema-unknown"
        ]
    );
    let first = &records[0]["records"][0]["observation"];
    assert_eq!(first["effectiveDateTime"], "2026-01-15T08:30:00+01:00", "the zone of the request");
    let guide = records[1]["records"][0]["issues"].to_string();
    assert!(guide.contains(&format!("{}/guide/", app.root())), "{guide}");
    let steps = records[0]["steps"].as_array().unwrap();
    let value = steps.iter().find(|step| step["what"] == "value").unwrap();
    assert_eq!(
        (value["expression"].as_str(), value["result"].as_str()),
        (Some("weight.inKilograms | weight.value"), Some("72.5 kg"))
    );
    let found = app.get(&format!("/Observation?patient={patient}")).await.json();
    assert_eq!(found["total"], 0, "{found}");
    let stranger = Client { bearer: "none".to_owned(), ..app.clone() };
    assert_eq!(stranger.post(&address, &body).await.status, 401);
    let elsewhere = address.replace("health-connect", "smoke-signals");
    assert_eq!(app.post(&elsewhere, &body).await.issues(), ["route-unknown"]);
    let nowhere = address.replace("Europe/Madrid", "Middle-Earth/Shire");
    assert_eq!(app.post(&nowhere, &body).await.status, 422);
}
