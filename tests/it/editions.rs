//! Versions of the guide live side by side: who is registered for one is held to it, and nobody to one that is gone.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use mhealth_gateway::fhir::ours::{self, MEASURE_SYSTEM};
use mhealth_gateway::fhir::validate::measures::LOINC;
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Client, Gateway, eventually, run};

const EARLIER: &str = "0.1.0";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles").join(name)
}

/// A score that claims the profile of scores.
fn score(claim: &str, patient: &str, system: &str, code: &str) -> Value {
    let text = std::fs::read_to_string(file("examples/valid/phq9-score.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    for name in ["id", "derivedFrom"] {
        value.as_object_mut().unwrap().remove(name);
    }
    value["meta"]["profile"] = json!([claim]);
    value["identifier"][0]["value"] = json!(format!("{patient} {claim} {code}"));
    value["code"] = json!({"coding": [{"system": system, "code": code}]});
    value["subject"] = json!({"reference": format!("Patient/{patient}")});
    value
}

/// The package of the earlier version as if it were of another.
fn earlier_as(version: &str) -> Vec<u8> {
    let packed = std::fs::read(file(&format!("editions/{EARLIER}.tgz"))).unwrap();
    let mut packed = tar::Archive::new(GzDecoder::new(packed.as_slice()));
    let mut out = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for entry in packed.entries().unwrap() {
        let mut entry = entry.unwrap();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let text = text.replace(&format!("\"{EARLIER}\""), &format!("\"{version}\""));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        out.append_data(&mut header, entry.path().unwrap(), text.as_bytes()).unwrap();
    }
    out.into_inner().unwrap().finish().unwrap()
}

async fn person(app: &Client) -> String {
    let patient = app.person().await;
    app.consent(&patient, &[(&app.actor, &[Action::Collect], &["mental-health"])]).await;
    patient
}

/// The code that the earlier version had for perceived stress, and the one that the newest has.
const CODES: [(&str, &str); 2] = [(LOINC, "64394-0"), (MEASURE_SYSTEM, "perceived-stress")];

fn profile() -> String {
    format!("{}mh-score", ours::STRUCTURES)
}

#[tokio::test]
async fn a_client_is_held_to_the_version_that_it_is_registered_for() {
    let gateway = Gateway::start().await;
    for (id, version, expected) in [
        ("old", Some(EARLIER), [true, false]),
        ("new", Some(ours::VERSION), [false, true]),
        ("any", None, [false, true]),
    ] {
        let app = gateway.client_of(id, APP_SCOPES, version).await;
        let patient = person(&app).await;
        for ((system, code), taken) in CODES.iter().zip(expected) {
            let observation = score(&profile(), &patient, system, code);
            let answer = app.post("/Observation", &observation).await;
            assert_eq!(answer.status, if taken { 201 } else { 422 }, "{id} {code}: {}", answer.text());
            let entry = json!({"resource": observation, "request": {"method": "POST", "url": "Observation"}});
            let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]});
            let answer = app.post("", &batch).await.json();
            let status = answer["entry"][0]["response"]["status"].as_str().unwrap_or_default();
            assert_eq!(status.starts_with('2'), taken, "{id} {code}: {answer}");
            let trial = app.post("/Observation/$validate", &observation).await;
            let refused = trial.issues().iter().any(|issue| issue == "binding-required" || issue == "code-unknown");
            assert_eq!(refused, !taken, "{id} {code}: {}", trial.text());
        }
    }
}

/// Naming a version that nobody has is no way around the profile.
#[tokio::test]
async fn a_claim_that_names_no_version_of_ours_is_refused() {
    let gateway = Gateway::start().await;
    let app = gateway.client_of("any", APP_SCOPES, None).await;
    let patient = person(&app).await;
    let (system, code) = CODES[1];
    let observation = score(&format!("{}|9.9.9", profile()), &patient, system, code);
    let answer = app.post("/Observation", &observation).await;
    assert_eq!((answer.status, answer.issues()), (403, vec!["guide-version".to_owned()]), "{}", answer.text());
}

#[tokio::test]
async fn a_claim_that_names_a_version_means_that_one() {
    let gateway = Gateway::start().await;
    for (id, version) in [("old", Some(EARLIER)), ("new", None)] {
        let app = gateway.client_of(id, APP_SCOPES, version).await;
        let patient = person(&app).await;
        for (claimed, expected) in [(EARLIER, [true, false]), (ours::VERSION, [false, true])] {
            for ((system, code), taken) in CODES.iter().zip(expected) {
                let observation = score(&format!("{}|{claimed}", profile()), &patient, system, code);
                let answer = app.post("/Observation", &observation).await;
                assert_eq!(answer.status, if taken { 201 } else { 422 }, "{id} {claimed} {code}: {}", answer.text());
            }
        }
    }
}

/// Fail closed: neither a token nor an earlier one gets on.
#[tokio::test]
async fn clients_of_a_version_that_is_gone_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    // The same package under a version that the program does not have itself.
    let package = earlier_as("0.0.9");
    std::fs::write(folder.path().join("guide.tgz"), package).unwrap();
    let configured = format!("[guide]\neditions = {:?}\n", folder.path());
    let gateway = Gateway::with(&configured).await;
    let app = gateway.client_of("app", APP_SCOPES, Some("0.0.9")).await;
    let patient = person(&app).await;
    let (system, code) = CODES[0];
    let observation = score(&profile(), &patient, system, code);
    assert_eq!(app.post("/Observation", &observation).await.status, 201);
    let mut app = app.clone();
    let directory = gateway.stop().await;
    let gateway = Gateway::in_directory(directory, "").await;
    app.base.clone_from(&gateway.base);
    let url = gateway.base.replace("/fhir", "/auth/token");
    let pem = std::fs::read(&app.key).unwrap();
    let asked =
        mhealth_gateway::commands::token::Asked { url: &url, client: "app", kid: "key-1", pem: &pem, scope: None };
    let refused = mhealth_gateway::commands::token::fetch(&gateway.http, &asked).await.unwrap_err().to_string();
    assert!(refused.contains("unauthorized_client") && refused.contains("version"), "{refused}");

    // A token from before is of no use either.
    let other = gateway.client("other", APP_SCOPES).await;
    let registration = gateway.store().get_client("other").await.unwrap().unwrap();
    let mut registration: Value = serde_json::from_str(&registration).unwrap();
    registration["guide"] = json!("0.0.9");
    gateway.store().put_client("other", &registration.to_string()).await.unwrap();
    let refused = eventually("its token is refused", async || {
        let answer = other.get("/Observation?patient=x").await;
        (answer.status == 403).then(|| answer.issues())
    });
    assert_eq!(refused.await, ["guide-version"]);

    // Whoever checks the configuration learns whom it locks out.
    let directory = gateway.stop().await;
    let config = folder.path().join("gateway.toml");
    std::fs::write(&config, format!("data = {:?}\n", directory.path())).unwrap();
    let checked = run(&["check", "--config", config.to_str().unwrap()]).await;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("client app is refused: it is registered for version 0.0.9"), "{said}");
}

#[tokio::test]
async fn versions_that_are_not_here_are_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    std::fs::write(&config, format!("data = {:?}\n", folder.path().join("data"))).unwrap();
    let (config, key) = (config.display().to_string(), folder.path().join("key.pem").display().to_string());
    let add = async |version: &str| {
        let id = format!("app-{version}");
        let scope = "system/Patient.r";
        run(&[
            "client",
            "add",
            &id,
            "--config",
            &config,
            "--actor",
            "Organization/a",
            "--scope",
            scope,
            "--guide",
            version,
            "--generate-key",
            &key,
        ])
        .await
    };
    let unknown = add("7.7.7").await;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(64), "{said}");
    assert!(said.contains("--guide 7.7.7") && said.contains(EARLIER) && said.contains(ours::VERSION), "{said}");
    assert!(!Path::new(&key).exists(), "nothing was made");
    assert_eq!(add(EARLIER).await.status.code(), Some(0));
    let listed = run(&["client", "list", "--config", &config]).await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&format!("guide {EARLIER}")));

    // A folder of editions must hold editions.
    let editions = folder.path().join("editions");
    std::fs::create_dir(&editions).unwrap();
    std::fs::write(editions.join("x.tgz"), "no package").unwrap();
    let data = folder.path().join("data");
    std::fs::write(&config, format!("data = {data:?}\n[guide]\neditions = {editions:?}\n")).unwrap();
    let checked = run(&["check", "--config", &config]).await;
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(64), "{said}");
    assert!(said.contains("guide.editions") && said.contains("x.tgz"), "{said}");
}
