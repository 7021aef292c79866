//! What a deployment permits where the person has said nothing, and how the person ends it.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Client, Gateway, consent, heart_rate};

const SCOPES: &str = "system/Observation.crs system/AuditEvent.s";

const EHDS: &str = r#"
[consent]
clinicians = ["Organization/clinic"]
data_access_bodies = ["Organization/body"]
[consent.implicit]
TREAT = "ehds-primary-use"
HRESCH = "ehds-secondary-use"
"#;

const BASIC: &str = r#"
[consent]
clinicians = ["Organization/clinic"]
implicit = { TREAT = "Policy-basic-normal" }
"#;

/// A person of whom one heart rate is on file.
async fn person(app: &Client) -> String {
    let patient = app.person().await;
    let actor = app.actor.clone();
    app.consent(&patient, &[(&actor, &[Action::Collect], &["heart-rate"])]).await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, &patient, 70)).await.status, 201);
    patient
}

async fn sees(client: &Client, patient: &str) -> bool {
    client.find(&format!("/Observation?patient={patient}")).await.1.len() == 1
}

/// A client that may state research, beside treatment.
async fn with_research(gateway: &Gateway, id: &str) -> Client {
    let mut client = gateway.client(id, SCOPES).await;
    let stored = gateway.store().get_client(id).await.unwrap().unwrap();
    let mut document: Value = serde_json::from_str(&stored).unwrap();
    document["purposes"] = json!(["HRESCH", "TREAT"]);
    gateway.store().put_client(id, &document.to_string()).await.unwrap();
    client.sign_in().await;
    client
}

/// The person refuses a purpose.
fn opt_out(patient: &str, purpose: &str) -> Value {
    let mut refusal = consent(patient, &[]);
    refusal["provision"] = json!({"type": "deny", "purpose": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": purpose}
    ]});
    refusal
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_implied_unless_the_operator_says_so() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", SCOPES).await;
    let patient = person(&app).await;
    assert!(!sees(&clinic, &patient).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_law_permits_ends_with_an_opt_out() {
    let gateway = Gateway::with(EHDS).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", SCOPES).await;
    let other = gateway.client("other", SCOPES).await;
    let body = with_research(&gateway, "body").await;
    let patient = person(&app).await;
    let all = async || (sees(&clinic, &patient).await, sees(&body, &patient).await, sees(&other, &patient).await);
    // The consent to collect is no opt-out of anything.
    assert_eq!(all().await, (true, true, false));
    let secondary = app.post("/Consent", &opt_out(&patient, "HRESCH")).await;
    assert_eq!(secondary.status, 201, "{}", secondary.text());
    assert_eq!(all().await, (true, false, false));
    let primary = app.post("/Consent", &opt_out(&patient, "TREAT")).await;
    assert_eq!(primary.status, 201, "{}", primary.text());
    assert_eq!(all().await, (false, false, false));
    // It is reversible.
    for refusal in [primary, secondary] {
        let revoked = app.raw("POST", &format!("/Consent/{}/$revoke", refusal.id()), &[], "").await;
        assert_eq!(revoked.status, 200, "{}", revoked.text());
    }
    assert_eq!(all().await, (true, true, false));
    // The audit names the policy where there is no consent to name.
    let trail = app.get(&format!("/AuditEvent?patient=Patient/{patient}")).await.text();
    for article in ["art_10", "art_71"] {
        assert!(trail.contains(&format!("http://data.europa.eu/eli/reg/2025/327/oj#{article}")), "{article}: {trail}");
    }
    // Nobody takes anything in by it.
    let sent = clinic.post("/Observation", &heart_rate(&patient, "by-the-clinic", 70)).await;
    assert_eq!((sent.status, sent.issues()), (403, vec!["consent-missing".to_owned()]));
    // Nor does it cover what is restricted.
    let actor = app.actor.clone();
    app.consent(&patient, &[(&actor, &[Action::Collect], &["heart-rate"])]).await;
    let mut restricted = heart_rate(&patient, "restricted", 70);
    restricted["meta"] = json!({"security": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    ]});
    assert_eq!(app.post("/Observation", &restricted).await.status, 201);
    assert!(sees(&clinic, &patient).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_silence_is_silenced_by_any_consent() {
    let gateway = Gateway::with(BASIC).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", SCOPES).await;
    let patient = person(&app).await;
    assert!(!sees(&clinic, &patient).await);
    let (_, given) = app.find(&format!("/Consent?patient={patient}")).await;
    let revoked = app.raw("POST", &format!("/Consent/{}/$revoke", given[0]), &[], "").await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert!(!sees(&clinic, &patient).await, "whoever withdraws has not said nothing");
    let told = async |patient: &str| {
        let asked = json!({"resourceType": "Parameters", "parameter": [
            {"name": "patient", "valueReference": {"reference": format!("Patient/{patient}")}},
            {"name": "actor", "valueReference": {"reference": "Organization/clinic"}},
            {"name": "resource", "resource": heart_rate(patient, "1", 70)},
        ]});
        app.post("/Consent/$evaluate", &asked).await.text()
    };
    let silent = told(&app.person().await).await;
    assert!(silent.contains("implicit-policy") && silent.contains("Policy-basic-normal"), "{silent}");
    let withdrawn = told(&patient).await;
    assert!(withdrawn.contains("no-consent") && !withdrawn.contains("implicit-policy"), "{withdrawn}");
}

/// A broad consent counts for those whose research goes by it, under the policies that research stands on.
#[tokio::test(flavor = "multi_thread")]
async fn research_by_the_broad_consent() {
    let gateway = Gateway::with("[consent]\nbroad_consent = [\"Organization/body\"]\n").await;
    let app = gateway.app().await;
    let (body, other) = (with_research(&gateway, "body").await, with_research(&gateway, "other").await);
    let patient = person(&app).await;
    let policy = |number: u8| {
        json!({
            "type": "permit",
            "period": {"start": "2026-01-01", "end": "2055-12-31"},
            "code": [{"coding": [{
                "system": "urn:oid:2.16.840.1.113883.3.1937.777.24.5.3",
                "code": format!("2.16.840.1.113883.3.1937.777.24.5.3.{number}"),
            }]}],
        })
    };
    let broad = |policies: &[u8]| {
        let mut broad = consent(&patient, &[]);
        broad["scope"]["coding"][0]["code"] = json!("research");
        broad.as_object_mut().unwrap().remove("policyRule");
        broad["policy"] = json!([{"uri": "urn:oid:2.16.840.1.113883.3.1937.777.24.2.1790"}]);
        let provisions: Vec<Value> = policies.iter().map(|number| policy(*number)).collect();
        broad["provision"] = json!({"type": "deny", "provision": provisions});
        broad
    };
    let half = app.post("/Consent", &broad(&[6])).await;
    assert_eq!(half.status, 201, "{}", half.text());
    assert!(!sees(&body, &patient).await);
    let whole = app.post("/Consent", &broad(&[6, 8])).await;
    assert_eq!(whole.status, 201, "{}", whole.text());
    assert!(sees(&body, &patient).await);
    assert!(!sees(&other, &patient).await);
    // It is told so beforehand.
    let reading = heart_rate(&patient, "1", 70);
    let asked = |actor: &str| {
        json!({"resourceType": "Parameters", "parameter": [
            {"name": "patient", "valueReference": {"reference": format!("Patient/{patient}")}},
            {"name": "actor", "valueReference": {"reference": actor}},
            {"name": "purpose", "valueCode": "HRESCH"},
            {"name": "resource", "resource": reading},
        ]})
    };
    for (actor, decision) in [("Organization/body", "permit"), ("Organization/other", "deny")] {
        let told = app.post("/Consent/$evaluate", &asked(actor)).await.json();
        let first = told["parameter"].as_array().unwrap().iter().find(|part| part["name"] == "decision").unwrap();
        assert_eq!(first["valueCode"], decision, "{actor}: {told:#}");
    }
    // What the app was permitted is as it was.
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "later", 70)).await.status, 201);
}

/// One switch a function: what the law permits ends for one category of measures and stays for the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_ends_one_category_alone() {
    let gateway = Gateway::with(EHDS).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", SCOPES).await;
    let patient = app.person().await;
    let actor = app.actor.clone();
    app.consent(&patient, &[(&actor, &[Action::Collect], &["heart-rate", "weight"])]).await;
    let heart = app.post("/Observation", &heart_rate(&patient, "heart", 70)).await.id();
    let mut weight = heart_rate(&patient, "weight", 70);
    weight["code"]["coding"][0]["code"] = json!("29463-7");
    for (member, unit) in [("unit", "kg"), ("code", "kg")] {
        weight["valueQuantity"][member] = json!(unit);
    }
    let weight = app.post("/Observation", &weight).await.id();
    let seen = async || {
        let mut seen = clinic.find(&format!("/Observation?patient={patient}")).await.1;
        seen.sort_unstable();
        seen
    };
    let mut both = vec![heart, weight.clone()];
    both.sort_unstable();
    assert_eq!(seen().await, both);
    let mut switch = consent(&patient, &[]);
    switch["provision"] = json!({
        "type": "deny",
        "action": [{"coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "access"}
        ]}],
        "code": [{"coding": [{"system": mhealth_gateway::exchange::CATEGORY_SYSTEM, "code": "heart-rate"}]}],
    });
    let off = app.post("/Consent", &switch).await;
    assert_eq!(off.status, 201, "{}", off.text());
    assert_eq!(seen().await, [weight]);
    // The app goes on collecting, and back on it is as it was.
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "later", 71)).await.status, 201);
    assert_eq!(app.raw("POST", &format!("/Consent/{}/$revoke", off.id()), &[], "").await.status, 200);
    assert_eq!(seen().await.len(), 3);
}
