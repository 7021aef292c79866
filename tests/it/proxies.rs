//! Who may give a consent: the age at which one consents alone, and those who consent for others.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Client, Gateway, consent};

async fn born(app: &Client, date: &str) -> String {
    let person = json!({"resourceType": "Patient", "active": true, "birthDate": date});
    app.post("/Patient", &person).await.id()
}

fn given_by_the_mother(body: &mut Value) {
    body["contained"] = json!([{
        "resourceType": "RelatedPerson", "id": "mother", "patient": body["patient"],
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}],
    }]);
    body["performer"] = json!([{"reference": "#mother"}]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_does_not_consent_alone() {
    for (configuration, refuses) in [
        ("", None),
        ("[consent.given]\ncountry = \"DE\"\n", Some(false)),
        ("[consent.given]\ncountry = \"DE\"\nunderage = \"refuse\"\n", Some(true)),
    ] {
        let gateway = Gateway::with(configuration).await;
        let app = gateway.app().await;
        let plain = |patient: &str| {
            let mut body = consent(patient, &[(&app.actor, &[Action::Collect], &["heart-rate"])]);
            body["dateTime"] = json!("2026-01-15");
            body
        };
        let (child, adult) = (born(&app, "2012-03-01").await, born(&app, "1980-03-01").await);
        let told = async |body: &Value| {
            let headers = [("content-type", "application/fhir+json"), ("prefer", "return=OperationOutcome")];
            let answer = app.raw("POST", "/Consent", &headers, body.to_string()).await;
            (answer.status, answer.issues().contains(&"consent-proxy".to_owned()))
        };
        let alone = match refuses {
            None => (201, false),
            Some(false) => (201, true),
            Some(true) => (422, true),
        };
        assert_eq!(told(&plain(&child)).await, alone, "{configuration}");
        assert_eq!(told(&plain(&adult)).await, (201, false), "{configuration}");
        let mut by_the_mother = plain(&child);
        given_by_the_mother(&mut by_the_mother);
        assert_eq!(told(&by_the_mother).await, (201, false), "{configuration}");
        // What is over may be said by anybody.
        let mut ended = plain(&child);
        ended["status"] = json!("inactive");
        assert_eq!(told(&ended).await, (201, false), "{configuration}");
        // Registered in the same transaction, the child is no older.
        let entry = |resource: Value, kind: &str, full: &str| json!({"fullUrl": full, "resource": resource, "request": {"method": "POST", "url": kind}});
        let full = "urn:uuid:7e1f3b52-6d0b-4a1c-9f56-0c4a2a3f0009";
        let mut together = plain("x");
        together["patient"]["reference"] = json!(full);
        let person = json!({"resourceType": "Patient", "active": true, "birthDate": "2012-03-01"});
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            entry(person, "Patient", full), entry(together, "Consent", "urn:uuid:7e1f3b52-6d0b-4a1c-9f56-0c4a2a3f0010"),
        ]});
        let status = app.post("", &bundle).await.status;
        assert_eq!(status == 200, refuses != Some(true), "{configuration} {status}");
    }
}
