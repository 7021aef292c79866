//! What operators watch: the figures of a gateway at work, of one whose destination is away, and of one whose disk is full.

use std::collections::BTreeSet;

use mhealth_gateway::policy::consent::Action;
use serde_json::json;

use crate::fixture::{Client, Gateway, Platform, eventually, heart_rate};

const METRICS: &str = "[metrics]\nlisten = '127.0.0.1:0'\n";

async fn scraped(gateway: &Gateway) -> String {
    let answer = reqwest::get(format!("http://{}/metrics", gateway.metrics())).await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text
}

/// The value of a line.
pub fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("mhealth_gateway_")?.strip_prefix(name));
    line.map(|value| value.trim().parse().unwrap())
}

fn assert_values(text: &str, expected: &[(&str, f64)]) {
    for (name, expected) in expected {
        assert_eq!(value(text, name), Some(*expected), "{name}\n{text}");
    }
}

async fn until(gateway: &Gateway, name: &str, expected: f64) -> String {
    eventually(name, async || {
        let text = scraped(gateway).await;
        (value(&text, name) == Some(expected)).then_some(text)
    })
    .await
}

async fn person(app: &Client) -> String {
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    patient
}

#[tokio::test]
async fn the_figures_tell_what_was_done() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&format!("{METRICS}{}", platform.destination(""))).await;
    let app = gateway.app().await;
    let patient = person(&app).await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "one", 60)).await.status, 201);
    let mut wrong = heart_rate(&patient, "two", 60);
    wrong["status"] = json!("x");
    assert_eq!(app.post("/Observation", &wrong).await.status, 422);
    // Of entries and records the same is told as of requests.
    let entry = json!({"resource": wrong, "request": {"method": "POST", "url": "Observation"}});
    let missing = json!({"request": {"method": "GET", "url": "Observation/none"}});
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry, entry, missing]});
    assert_eq!(app.post("", &batch).await.status, 200);
    let body =
        json!({"heart_rate": {"value": 50, "unit": "beats/min"}, "effective_time_frame": {"date_time": "never"}});
    let header = json!({"id": "r-1", "schema_id": {"namespace": "omh", "name": "heart-rate", "version": "2.0"}});
    let records = app.root().to_owned() + &format!("/devices/open-mhealth?patient={patient}");
    let told = app.post(&records, &json!({"records": [{"header": header, "body": body}]})).await;
    assert!(told.text().contains("422 Unprocessable"), "{}", told.text());
    app.get(&format!("/Observation?patient={patient}")).await;
    assert_eq!(app.get("/nowhere/at/all").await.status, 404);
    until(&gateway, r#"deliveries_total{destination="platform",outcome="acknowledged"}"#, 1.0).await;
    let text = until(&gateway, r#"waiting{destination="platform",queue="feed"}"#, 0.0).await;
    assert_values(
        &text,
        &[
            (r#"requests_total{method="POST",route="/fhir/{kind}",status="422"}"#, 1.0),
            (r#"requests_total{method="GET",route="/fhir/{kind}",status="200"}"#, 1.0),
            (r#"requests_total{method="other",route="none",status="404"}"#, 1.0),
            // The person, two consents, two readings and the search.
            (r#"request_seconds_count{route="/fhir/{kind}"}"#, 6.0),
            (r#"issues_total{issue="binding-required"}"#, 3.0),
            (r#"issues_total{issue="not-found"}"#, 1.0),
            (r#"issues_total{issue="device-record"}"#, 1.0),
            ("requests_under_way", 0.0),
            (r#"store_state{state="ok"}"#, 1.0),
            (r#"store_state{state="full"}"#, 0.0),
            ("store_failures_total", 0.0),
            (r#"waiting{destination="platform",queue="retries"}"#, 0.0),
            (r#"waiting{destination="platform",queue="dead-letters"}"#, 0.0),
        ],
    );
    assert!(value(&text, "store_writes_total").unwrap() > value(&text, "store_commit_seconds_count").unwrap() / 2.0);
    // Nobody is in them.
    for private in [patient.as_str(), "Organization/app", "\"app\""] {
        assert!(!text.contains(private), "{private}");
    }
    for (method, path, status) in [("POST", "/metrics", 405), ("GET", "/", 404), ("GET", "/fhir/Patient", 404)] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let address = format!("http://{}{path}", gateway.metrics());
        assert_eq!(reqwest::Client::new().request(method, address).send().await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn the_figures_tell_that_a_destination_is_away() {
    let mut platform = Platform::start(&[]).await;
    let destination = platform
        .destination("[destination.rate]\nmost_waiting = 1000")
        .replace("failures = 100", "failures = 2")
        .replace("max_attempts = 50", "max_attempts = 5000");
    let gateway = Gateway::with(&format!("{METRICS}{destination}")).await;
    let app = gateway.app().await;
    let patient = person(&app).await;
    platform.leave().await;
    for number in 0..3 {
        let identifier = format!("away-{number}");
        assert_eq!(app.post("/Observation", &heart_rate(&patient, &identifier, 60)).await.status, 201);
    }
    // It opens for moments only, in a test.
    let failed = async || {
        let failed = value(&scraped(&gateway).await, r#"deliveries_total{destination="platform",outcome="failed"}"#);
        failed.filter(|failed| *failed > 2.0)
    };
    eventually("it fails again and again", failed).await;
    platform.come_back().await;
    let back = until(&gateway, r#"deliveries_total{destination="platform",outcome="acknowledged"}"#, 3.0).await;
    assert!(value(&back, r#"deliveries_total{destination="platform",outcome="failed"}"#).unwrap() >= 1.0, "{back}");
    until(&gateway, r#"circuit_open{destination="platform"}"#, 0.0).await;
    assert_eq!(value(&back, r#"waiting_most{destination="platform"}"#), Some(1000.0), "{back}");
    assert_eq!(app.get("/nowhere").await.status, 404);
    are_explained(&until(&gateway, r#"waiting{destination="platform",queue="retries"}"#, 0.0).await);
}

/// Whoever reads the table of the manual knows all of them, and every alert of ours asks for one that there is.
fn are_explained(text: &str) {
    let families = |text: &str, prefix: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.strip_prefix(prefix)?.split([' ', '`', '{']).next());
        names.map(str::to_owned).collect()
    };
    let there = families(text, "# TYPE mhealth_gateway_");
    let manual = include_str!("../../docs/operations.md");
    assert_eq!(families(manual, "| `mhealth_gateway_"), there);
    let alerts = include_str!("../../deploy/alerts.yml");
    let asked = alerts.split("mhealth_gateway_").skip(1).map(|rest| {
        let name: String = rest.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
        ["_info", "_total", "_bucket", "_count", "_sum"]
            .iter()
            .fold(name, |name, end| name.trim_end_matches(end).to_owned())
    });
    let asked: BTreeSet<String> = asked.collect();
    assert!(!asked.is_empty() && asked.is_subset(&there), "{asked:?}");
}
