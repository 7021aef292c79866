//! The routing table: what goes where by what is known of the person, the app and the consent; what it says of a resource, and
//! what a change of it would change.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Client, Gateway, Platform, eventually, heart_rate, run};

const RULE: &str = "residence = [\"FI\"]\ncertified = [\"class-a\"]\nconsent = \"given\"";

/// A person who lives somewhere and lets everybody have her heart rate.
async fn person_in(app: &Client, country: &str) -> String {
    let person = json!({"resourceType": "Patient", "active": true, "address": [{"country": country}]});
    let patient = app.post("/Patient", &person).await.id();
    let categories = &["heart-rate"][..];
    let own = [Action::Collect, Action::Access];
    let to =
        [(app.actor.as_str(), &own[..], categories), ("Organization/platform", &[Action::Disclose][..], categories)];
    app.consent(&patient, &to).await;
    patient
}

async fn pushed(app: &Client, patient: &str, identifier: &str) -> String {
    let answer = app.post("/Observation", &heart_rate(patient, identifier, 64)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.id()
}

#[tokio::test]
async fn rules_ask_the_person_the_app_and_the_consent_and_a_change_is_tried_before_it_is_made() {
    let platform = Platform::start(&[]).await;
    let section = platform.destination(RULE);
    let gateway = Gateway::with(&section).await;
    let certified = gateway.registered("app", APP_SCOPES, json!({"certified": ["class-a"]})).await;
    let plain = gateway.client("plain", APP_SCOPES).await;
    let (finn, dora, other) =
        (person_in(&certified, "FI").await, person_in(&certified, "DE").await, person_in(&plain, "FI").await);
    let abroad = pushed(&certified, &dora, "1").await;
    let uncertified = pushed(&plain, &other, "2").await;
    let sent = pushed(&certified, &finn, "3").await;
    let arrived = eventually("what is routed arrives", async || {
        let held = platform.held().await;
        (!held.is_empty()).then_some(held)
    })
    .await;
    eventually("everything was looked at", async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0).then_some(())
    })
    .await;
    assert_eq!(arrived.len(), 1);
    assert_eq!(platform.held().await.len(), 1, "{abroad} and {uncertified} are for nobody");
    assert_eq!(arrived[0]["id"], json!(sent));

    let at = |name: &str| gateway.path().join(name);
    let written = |name: &str, rule: &str| {
        let text = format!("data = {:?}\n{}", gateway.path(), platform.destination(rule));
        std::fs::write(at(name), text).unwrap();
        at(name).display().to_string()
    };
    let now = written("now.toml", RULE);
    let new = written("new.toml", "residence = [\"DE\"]\ncertified = [\"class-a\"]");
    let output = run(&["route", "dry-run", "--config", &now, "--new", &new, "--format", "json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let expected = json!({
        "now": 1, "then": 1, "added": 1, "removed": 1,
        "examples": {"added": [format!("Observation/{abroad}")], "removed": [format!("Observation/{sent}")]},
    });
    assert_eq!((&told["lookedAt"], &told["destinations"]["platform"]), (&json!(3), &expected));
    for secret in [&finn, &dora, "8867-4"] {
        assert!(!told.to_string().contains(secret), "{told}");
    }

    let observation = certified.get(&format!("/Observation/{abroad}")).await.text();
    std::fs::write(at("observation.json"), observation).unwrap();
    for (country, client, code, said) in [
        ("FI", "app", 0, "platform (rule 1): as it is"),
        ("DE", "app", 1, "platform (rule 1): no: residence"),
        ("DE", "plain", 1, "platform (rule 1): no: certification, residence"),
    ] {
        std::fs::write(
            at("person.json"),
            json!({"resourceType": "Patient", "address": [{"country": country}]}).to_string(),
        )
        .unwrap();
        let (observation, person) =
            (at("observation.json").display().to_string(), at("person.json").display().to_string());
        let line =
            ["route", "explain", "--config", &now, "--resource", &observation, "--person", &person, "--client", client];
        let output = run(&line).await;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains(said) && output.status.code() == Some(code), "{country} {client}: {output:?}");
    }
}
