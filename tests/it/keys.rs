//! What lies on the disk shows nothing of anybody, and only the store's own key opens it.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Gateway, Site, heart_rate, run};

const MARKER: &str = "a remark that stands nowhere else";

/// Files of a directory and of those in it that hold a text.
fn holding(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn remarked(mut resource: Value) -> Value {
    resource["note"] = json!([{"text": MARKER}]);
    resource
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_shows_what_was_pushed() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let observation = remarked(heart_rate(&patient, "one", 71));
    let headers = [("content-type", "application/fhir+json"), ("idempotency-key", "k")];
    let kept = app.raw("POST", &format!("{}/Observation", app.base), &headers, observation.to_string()).await;
    assert_eq!(kept.status, 201, "{}", kept.text());
    let id = kept.id();
    // Its past, another person's name, a Bundle, and what is refused.
    let mut later = app.get(&format!("/Observation/{id}")).await.json();
    later["valueQuantity"]["value"] = json!(72);
    assert_eq!(app.put(&format!("/Observation/{id}"), &later).await.status, 200);
    let named = json!({"resourceType": "Patient", "active": true, "name": [{"text": MARKER}]});
    assert_eq!(app.post("/Patient", &named).await.status, 201);
    let entry = |identifier: &str, value: u32| {
        let resource = remarked(heart_rate(&patient, identifier, value));
        json!({"resource": resource, "request": {"method": "POST", "url": "Observation"}})
    };
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry("two", 73), entry("three", 9000)]});
    assert_eq!(app.post("", &bundle).await.status, 200);
    assert!(app.get(&format!("/Observation/{id}/_history/1")).await.text().contains(MARKER), "it is there to be read");
    assert_eq!(holding(gateway.path(), MARKER), Vec::<String>::new());
    let directory = gateway.stop().await;
    assert_eq!(holding(directory.path(), MARKER), Vec::<String>::new(), "nor after the log was copied");
}

#[tokio::test]
async fn a_store_is_opened_by_its_own_key_alone() {
    let site = Site::new("").await;
    site.register("app", APP_SCOPES).await;
    let config = site.config();
    let key = site.data().join("gateway.key");
    let own = std::fs::read_to_string(&key).unwrap();
    let said = async |command: &[&str]| {
        let output = run(&[command, &["--config", &config]].concat()).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (digits, mistake) in [
        (Some("0".repeat(64)), "is not the one that this store's keys are wrapped by"),
        (Some("secret".to_owned()), "is not 64 hexadecimal digits"),
        (None, "is not there"),
    ] {
        match digits {
            Some(digits) => std::fs::write(&key, digits).unwrap(),
            None => std::fs::remove_file(&key).unwrap(),
        }
        for (command, expected) in [(vec!["check"], 64), (vec!["serve"], 64), (vec!["client", "list"], 1)] {
            let (code, text) = said(&command).await;
            assert_eq!(code, Some(expected), "{command:?}: {text}");
            assert!(text.contains(mistake) && text.contains("gateway.key"), "{command:?}: {text}");
        }
    }
    assert!(!key.exists(), "none is made in its place");
    // The same key may be mounted elsewhere.
    let mounted = site.directory.path().join("mounted");
    std::fs::write(&mounted, own).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("key_file = {mounted:?}\n{text}")).unwrap();
    assert_eq!(said(&["check"]).await.0, Some(0));
    assert_eq!(said(&["client", "list"]).await.0, Some(0));
}
