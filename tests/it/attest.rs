//! Receipts for consents: what they say, and who believes them.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Gateway, consent, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_proves_what_was_agreed_to() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let mut body = consent(&patient, &[(&app.actor, &[Action::Collect], &["heart-rate"])]);
    body["language"] = json!("de");
    body["policy"] = json!([{"uri": "https://app.example/terms/3"}]);
    body["sourceAttachment"] = json!({
        "title": "Einwilligung, Fassung 3", "language": "de", "url": "https://app.example/consent/3.pdf",
        "creation": "2026-01-01",
    });
    let given = app.post("/Consent", &body).await;
    assert_eq!(given.status, 201, "{}", given.text());
    let id = given.id();
    let receipt = app.get(&format!("/Consent/{id}/$receipt")).await;
    assert_eq!((receipt.status, receipt.header("content-type")), (200, "application/jose"), "{}", receipt.text());

    // By a library that knows nothing of the gateway but its published key.
    let published = format!("{}/.well-known/consent-receipt-keys", app.root());
    let keys = app.raw("GET", &published, &[("authorization", "")], "").await.json();
    let key = DecodingKey::from_ed_components(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let claims = jsonwebtoken::decode::<Value>(receipt.text(), &key, &validation).unwrap().claims;
    let record = &claims["consent"];
    assert_eq!(claims["iss"], gateway.base);
    assert_eq!(claims["sub"], format!("Patient/{patient}"));
    assert_eq!(claims["channel"], "app");
    assert_eq!(record["version"], format!("Consent/{id}/_history/1"));
    assert_eq!((&record["status"], &record["language"]), (&json!("active"), &json!("de")));
    assert_eq!(record["text"]["title"], "Einwilligung, Fassung 3");
    assert_eq!(record["policy"][0]["uri"], "https://app.example/terms/3");
    assert_eq!(record["dateTime"], body["dateTime"]);

    // Of the version that was meant, also after the withdrawal.
    assert_eq!(app.raw("POST", &format!("/Consent/{id}/$revoke"), &[], "").await.status, 200);
    let first = app.get(&format!("/Consent/{id}/_history/1")).await;
    let again = app.get(&format!("/Consent/{id}/_history/1/$receipt")).await.text();
    let withdrawn = app.get(&format!("/Consent/{id}/$receipt")).await.text();
    let path = |name: &str| gateway.path().join(name).display().to_string();
    for (name, bytes) in [
        ("keys.json", keys.to_string().into_bytes()),
        ("first.json", first.bytes),
        ("first.jws", again.into_bytes()),
        ("withdrawn.jws", withdrawn.clone().into_bytes()),
        ("forged.jws", withdrawn.replacen('.', ".e", 1).into_bytes()),
        ("no-keys.json", br#"{"keys":[]}"#.to_vec()),
    ] {
        std::fs::write(path(name), bytes).unwrap();
    }
    for (receipt, keys, genuine) in [
        ("first.jws", "keys.json", true),
        ("withdrawn.jws", "keys.json", false),
        ("forged.jws", "keys.json", false),
        ("first.jws", "no-keys.json", false),
    ] {
        let (receipt_path, keys, first) = (path(receipt), path(keys), path("first.json"));
        let arguments = ["consent", "verify", "--receipt", &receipt_path, "--keys", &keys, "--consent", &first];
        let verified = run(&arguments).await;
        assert_eq!(verified.status.code(), Some(if genuine { 0 } else { 2 }), "{receipt} {verified:?}");
    }

    // Nobody else gets one.
    let other = gateway.client("other", APP_SCOPES).await;
    assert_eq!(other.get(&format!("/Consent/{id}/$receipt")).await.status, 404);
    let writer = gateway.client("writer", "system/Consent.c").await;
    assert_eq!(writer.get(&format!("/Consent/{id}/$receipt")).await.status, 403);
}
