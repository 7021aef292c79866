//! Packages of definitions: kept in a cache, named by the configuration, and held against what is pushed.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::fixture::{Gateway, Site, heart_rate, run};

/// A package on disk whose profile, published as a differential, forbids a note.
fn unpacked(folder: &Path, dependencies: &str) -> PathBuf {
    let root = folder.join("source").join("package");
    std::fs::create_dir_all(&root).unwrap();
    let manifest = format!(r#"{{"name":"test.plain","version":"1.2.0","dependencies":{{{dependencies}}}}}"#);
    std::fs::write(root.join("package.json"), manifest).unwrap();
    let profile = json!({
        "resourceType": "StructureDefinition", "url": "urn:test:plain", "version": "1.2.0", "name": "Plain",
        "status": "active", "kind": "resource", "abstract": false, "type": "Observation",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation", "derivation": "constraint",
        "differential": {"element": [
            {"id": "Observation", "path": "Observation"},
            {"id": "Observation.note", "path": "Observation.note", "max": "0"}
        ]}
    });
    std::fs::write(root.join("StructureDefinition-plain.json"), profile.to_string()).unwrap();
    folder.join("source")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_package_defines_is_held_against_pushes() {
    let folder = tempfile::tempdir().unwrap();
    let source = unpacked(folder.path(), "");
    let gateway = Gateway::with(&format!("[validation]\npackages = [{source:?}]\n")).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let reading = |identifier: &str, profile: &str, note: bool| {
        let mut reading = heart_rate(&patient, identifier, 71);
        reading["meta"] = json!({"profile": [profile]});
        if note {
            reading["note"] = json!([{"text": "after a run"}]);
        }
        reading
    };
    for (identifier, profile, note, status) in [
        ("1", "urn:test:plain", false, 201),
        ("2", "urn:test:plain", true, 422),
        ("3", "urn:test:plain|1.2.0", true, 422),
        ("4", "urn:test:plain|1.2", true, 422),
        // A version that is not loaded is not checked, and that is said.
        ("5", "urn:test:plain|9.0.0", true, 201),
    ] {
        let answer = app.post("/Observation", &reading(identifier, profile, note)).await;
        assert_eq!(answer.status, status, "{profile} {note}: {}", answer.text());
    }
    for (profile, is_known) in [("urn:test:plain|1.2", true), ("urn:test:plain|9.0.0", false)] {
        let answer = app.post("/Observation/$validate", &reading("6", profile, false)).await;
        assert_eq!(answer.text().contains("profile-unknown"), !is_known, "{profile}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_cache_is_kept_by_commands() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache").display().to_string();
    let source = unpacked(folder.path(), r#""test.absent":"3.0.0""#).display().to_string();
    let packages = async |arguments: &[&str]| {
        let output = run(&[&["packages", "--package-cache", &cache], arguments].concat()).await;
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(packages(&["list"]).await, (Some(0), String::new()));
    assert_eq!(packages(&["add", &source]).await, (Some(0), "test.plain#1.2.0\n".to_owned()));
    assert_eq!(packages(&["add", &source]).await.0, Some(1), "it is there already");
    assert_eq!(packages(&["list"]).await.1, "test.plain#1.2.0\n");
    let site = Site::new(&format!("[validation]\npackages = [\"test.plain#1.x\"]\npackage_cache = {cache:?}\n")).await;
    let good = run(&["check", "--config", &site.config()]).await;
    assert_eq!(good.status.code(), Some(0));
    let said = String::from_utf8_lossy(&good.stderr).into_owned();
    assert!(said.contains("test.absent#3.0.0"), "{said}");
    assert_eq!(packages(&["remove", "test.plain#1.2.0"]).await.0, Some(0));
    assert_eq!(packages(&["remove", "test.plain#1.2.0"]).await.0, Some(1));
    for command in ["check", "serve"] {
        let bad = run(&[command, "--config", &site.config()]).await;
        let said = String::from_utf8_lossy(&bad.stderr).into_owned();
        assert_eq!(bad.status.code(), Some(64), "{said}");
        assert!(said.contains("validation.packages: package test.plain#1.x"), "{said}");
    }
}
