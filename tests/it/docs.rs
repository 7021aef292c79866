//! What the documents say is so: their examples work, their links lead somewhere, no key is missing.

use std::path::{Path, PathBuf};

use mhealth_gateway::{config, exchange, server};

use crate::fixture::{Gateway, heart_rate};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consent_to_copy_is_accepted_and_does_what_the_page_says() {
    let page = read("docs/consent.md");
    let example = page.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let gateway = Gateway::start().await;
    let app = gateway.client("my-app", crate::fixture::APP_SCOPES).await;
    let patient = app.person().await;
    let consent = example.replace("REPLACE-WITH-THE-ID", &patient);
    let recorded = app.send(reqwest::Method::POST, "/Consent", consent).await;
    assert_eq!(recorded.status, 201, "{recorded:?}");
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "1", 60)).await.status, 201);
    assert_eq!(app.withdraw(&recorded.id()).await.status, 200);
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "2", 60)).await.status, 403);
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let page = read("docs/configuration.md");
    let keys = |section: &str, printed: String| -> Vec<String> {
        let fields = printed
            .lines()
            .filter_map(|line| line.trim().split_once(": ").map(|(name, _)| name.to_owned()))
            .collect::<Vec<_>>();
        assert!(!fields.is_empty());
        fields.into_iter().map(|field| format!("`{section}.{field}`")).collect()
    };
    let mut all = keys("limits", format!("{:#?}", server::limits::Limits::default()));
    all.extend(keys("exchange", format!("{:#?}", exchange::Config::default())));
    all.extend(keys("validation", format!("{:#?}", config::Validation::default())));
    all.retain(|key| key != "`exchange.bundle_entries`");
    for key in all {
        assert!(page.contains(&key), "{key} is missing in docs/configuration.md");
    }
}

#[test]
fn relative_links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages(&root()) {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !page.parent().is_some_and(|folder| folder.join(target).exists()) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if entry.is_dir() && !name.starts_with('.') && !matches!(name.as_str(), "target" | "node_modules" | "data") {
            found.extend(pages(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "md") {
            found.push(entry);
        }
    }
    found
}
