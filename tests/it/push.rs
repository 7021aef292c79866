//! What becomes of a push: kept once, answered with where it is, refused with why.

use mhealth_gateway::policy::consent::Action;
use serde_json::json;

use crate::fixture::{Gateway, Platform, heart_rate};

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_kept_and_read_back() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let created = app.post("/Observation", &heart_rate(&patient, "1", 71)).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("etag"), "W/\"1\"");
    let read = app.get(&format!("/Observation/{}", created.id())).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.json()["valueQuantity"]["value"], 71);
    let again = app.get(created.header("location")).await;
    assert_eq!(again.bytes, read.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_identical_pushes_are_one_resource() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let body = heart_rate(&patient, "same", 71);
    let pushes: Vec<_> = (0..64)
        .map(|_| {
            let (app, body) = (app.clone(), body.clone());
            tokio::spawn(async move { app.post("/Observation", &body).await })
        })
        .collect();
    let mut created = 0;
    let mut ids = std::collections::BTreeSet::new();
    for push in pushes {
        let answer = push.await.unwrap();
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        created += u32::from(answer.status == 201);
        ids.insert(answer.id());
    }
    assert_eq!((created, ids.len()), (1, 1));
    let found = app.get(&format!("/Observation?patient={patient}")).await.json();
    assert_eq!(found["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_delivered_and_what_is_withdrawn_is_not() {
    let platform = Platform::start(&["85354-9"]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let both: &[Action] = &[Action::Collect, Action::Access];
    let to_platform: &[Action] = &[Action::Disclose];
    let actor = app.actor.clone();
    app.consent(&patient, &[(&actor, both, &["heart-rate"])]).await;
    let consent = app.consent(&patient, &[("Organization/platform", to_platform, &["heart-rate"])]).await;
    for index in 0..5 {
        assert_eq!(app.post("/Observation", &heart_rate(&patient, &format!("a{index}"), 70)).await.status, 201);
    }
    platform.until("five deliveries", |account| account["resources"] == 5).await;
    platform.fault("down", None).await;
    for index in 0..5 {
        assert_eq!(app.post("/Observation", &heart_rate(&patient, &format!("b{index}"), 70)).await.status, 201);
    }
    assert_eq!(app.withdraw(&consent).await.status, 200);
    crate::fixture::eventually("an empty queue", async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0).then_some(())
    })
    .await;
    // Not before: what was judged before the withdrawal may be under way, and the platform would take it.
    platform.fault("ok", None).await;
    let account = platform.account().await;
    assert_eq!((&account["resources"], &account["violationCount"]), (&5.into(), &0.into()), "{account}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_counts_at_once_after_a_refusal() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let batch = |identifier: &str| {
        json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"resource": heart_rate(&patient, identifier, 72), "request": {"method": "POST", "url": "Observation"}}]})
    };
    let refused = app.post("/Observation", &heart_rate(&patient, "1", 71)).await;
    assert_eq!(refused.issues(), ["consent-missing"], "{refused:?}");
    let refused = app.post("", &batch("2")).await;
    assert_eq!(refused.json()["entry"][0]["response"]["status"], "403 Forbidden", "{refused:?}");
    let consent = app.consent(&patient, &[(&app.actor, &[Action::Collect], &["heart-rate"])]).await;
    assert_eq!(app.post("", &batch("2")).await.json()["entry"][0]["response"]["status"], "201 Created");
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "1", 71)).await.status, 201);
    app.withdraw(&consent).await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "3", 71)).await.status, 403);
    app.consent(&patient, &[(&app.actor, &[Action::Collect], &["heart-rate"])]).await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "3", 71)).await.status, 201);
}
