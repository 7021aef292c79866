//! `Consent/[id]/$revoke`: taking back is as easy as giving, and holds at once for what waits.

use mhealth_gateway::policy::consent::Action;
use serde_json::json;

use crate::fixture::{APP_SCOPES, Client, Gateway, Platform, consent, eventually, heart_rate};

const BOTH: &[Action] = &[Action::Collect, Action::Access];

async fn revoke(app: &Client, id: &str) -> crate::fixture::Answer {
    app.raw("POST", &format!("/Consent/{id}/$revoke"), &[], "").await
}

/// A platform that is away, and one reading that waits for its second attempt in an hour.
async fn with_a_reading_that_waits(platform: &mut Platform) -> (Gateway, Client, String, String) {
    let slow = |text: String| text.replacen("base_ms = 5\ncap_ms = 20", "base_ms = 3600000\ncap_ms = 3600000", 1);
    let gateway = Gateway::with(&slow(platform.destination(""))).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let given = app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    platform.leave().await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "1", 70)).await.status, 201);
    eventually("the reading waits", async || {
        (gateway.store().backlog("platform").await.unwrap().retries == 1).then_some(())
    })
    .await;
    (gateway, app, patient, given)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_leaves_with_the_consent() {
    for by in ["revoke", "update", "batch", "narrowing"] {
        let mut platform = Platform::start(&[]).await;
        let (gateway, app, patient, given) = with_a_reading_that_waits(&mut platform).await;
        let mut standing = app.get(&format!("/Consent/{given}")).await.json();
        let path = format!("/Consent/{given}");
        let status = match by {
            "revoke" => revoke(&app, &given).await.status,
            "update" => app.withdraw(&given).await.status,
            "narrowing" => {
                standing["provision"]["provision"][0]["code"][0]["coding"][0]["code"] = json!("weight");
                app.put(&path, &standing).await.status
            }
            _ => {
                standing["status"] = json!("inactive");
                let entry = json!({"resource": standing, "request": {"method": "PUT", "url": path[1..]}});
                app.post("", &json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]})).await.status
            }
        };
        assert_eq!(status, 200, "{by}");
        assert_eq!(gateway.store().backlog("platform").await.unwrap().retries, 0, "{by}");
        let trail = app.get(&format!("/AuditEvent?patient=Patient/{patient}")).await.text();
        assert!(trail.contains("consent-missing") || trail.contains("consent-denied"), "{by}: {trail}");
        platform.come_back().await;
        assert_eq!(platform.account().await["received"], 0, "{by}");
    }
}

/// What another consent still permits goes on waiting, and so does what no consent changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_permitted_goes_on_waiting() {
    let mut platform = Platform::start(&[]).await;
    let (gateway, app, patient, given) = with_a_reading_that_waits(&mut platform).await;
    let second = app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    assert_eq!(revoke(&app, &given).await.status, 200);
    assert_eq!(gateway.store().backlog("platform").await.unwrap().retries, 1);
    let other = app.person().await;
    let unrelated = app.consent(&other, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    assert_eq!(revoke(&app, &unrelated).await.status, 200);
    assert_eq!(gateway.store().backlog("platform").await.unwrap().retries, 1);
    assert_eq!(revoke(&app, &second).await.status, 200);
    assert_eq!(gateway.store().backlog("platform").await.unwrap().retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_give_may_take_back() {
    let gateway = Gateway::start().await;
    let giver =
        gateway.client("giver", "system/Patient.c system/Consent.c system/Observation.c system/AuditEvent.s").await;
    let actor = giver.actor.clone();
    let patient = giver.person().await;
    let given = giver.consent(&patient, &[(&actor, BOTH, &["heart-rate"])]).await;
    assert_eq!(giver.post("/Observation", &heart_rate(&patient, "1", 70)).await.status, 201);
    let revoked = revoke(&giver, &given).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    let body = revoked.json();
    assert_eq!((body["status"].as_str(), body["meta"]["versionId"].as_str()), (Some("inactive"), Some("2")));
    assert_eq!(giver.post("/Observation", &heart_rate(&patient, "2", 70)).await.status, 403);
    // Once more is no more.
    let again = revoke(&giver, &given).await;
    assert_eq!((again.status, again.json()["meta"]["versionId"].as_str()), (200, Some("2")));
    // It may not change a consent in any other way.
    let mut back = body.clone();
    back["status"] = json!("active");
    assert_eq!(giver.put(&format!("/Consent/{given}"), &back).await.status, 403);
    let reader = gateway.client("reader", "system/Consent.rs").await;
    assert_eq!(revoke(&reader, &given).await.issues(), ["scope-insufficient"]);
    // Another client's consent and none look the same.
    let other = gateway.client("other", APP_SCOPES).await;
    let (theirs, none) = (revoke(&other, &given).await, revoke(&other, "none").await);
    assert_eq!((theirs.status, none.status), (404, 404));
    assert_eq!(theirs.text(), none.text());
}

/// A consent that could not be taken in today is withdrawn all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_does_not_fail_because_of_what_it_withdraws() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let given = app.consent(&patient, &[(&app.actor, BOTH, &["heart-rate"])]).await;
    let mut stored = gateway.store().read("Consent", &given).await.unwrap().unwrap();
    let mut body = consent(&patient, &[(&app.actor, BOTH, &["heart-rate"])]);
    body["id"] = json!(given);
    body["category"] = json!([]);
    stored.payload = body.to_string().into_bytes();
    let connection = rusqlite::Connection::open(gateway.path().join("gateway.sqlite3")).unwrap();
    connection
        .execute(
            "UPDATE resource SET payload = ?1, sealed_by = 0 WHERE seq = ?2",
            rusqlite::params![stored.payload, stored.seq as i64],
        )
        .unwrap();
    let revoked = revoke(&app, &given).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(revoked.json()["status"], "inactive");
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "1", 70)).await.issues(), ["consent-missing"]);
}
