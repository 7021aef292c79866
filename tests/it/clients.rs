//! FHIR clients that others wrote, unmodified, against the gateway over TLS.
//!
//! Each script under tests/clients pushes, reads, searches, pages and errs as its library does, and ends with a
//! message where something surprises it. `tests/setup` installs the libraries under target/clients.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use mhealth_gateway::commands::token;
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fixture::{APP_SCOPES, Client, Gateway, consent, heart_rate};

/// Stands in the templates where the script writes the id of the person that it registered.
const PATIENT: &str = "PATIENT";

#[tokio::test(flavor = "multi_thread")]
async fn fhirpy_works() {
    check(&["venv/bin/python"], "fhirpy_check.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fhirclient_works() {
    check(&["venv/bin/python"], "fhirclient_check.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fhir_kit_client_works() {
    check(&["node", "node/node_modules/fhir-kit-client/dist/index.js"], "fhir_kit_check.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fhir_pyrate_works() {
    check(&["venv/bin/python"], "fhir_pyrate_check.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn medplum_works() {
    check(&["node", "node/node_modules/@medplum/core/dist/esm/index.mjs"], "medplum_check.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smart_fetch_works() {
    // It asks for every type that it knows, whichever it is to fetch.
    check_as(&format!("{APP_SCOPES} system/*.read"), &["venv/bin/python"], "smart_fetch_check.py").await;
}

async fn check(tools: &[&str], script: &str) {
    check_as(APP_SCOPES, tools, script).await;
}

/// Runs a script against a gateway of its own. The first of `tools` runs it, the others are its arguments; what has
/// a slash lies under target/clients.
async fn check_as(scopes: &str, tools: &[&str], script: &str) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools: Vec<PathBuf> = tools
        .iter()
        .map(|tool| if tool.contains('/') { home.join("target/clients").join(tool) } else { PathBuf::from(tool) })
        .collect();
    for tool in tools.iter().filter(|tool| tool.is_absolute()) {
        assert!(tool.exists(), "{} is missing: run tests/setup", tool.display());
    }
    let gateway = Gateway::start().await;
    let app = gateway.client("app", scopes).await;
    let certificate = gateway.path().join("tls-certificate.pem");
    let mut child = Command::new(&tools[0])
        .arg(home.join("tests/clients").join(script))
        .args(&tools[1..])
        .env("SSL_CERT_FILE", &certificate)
        .env("REQUESTS_CA_BUNDLE", &certificate)
        .env("NODE_EXTRA_CA_CERTS", &certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not run ({error}): run tests/setup", tools[0].display()));
    let mut input = child.stdin.take().unwrap();
    input.write_all(task(&app).to_string().as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    assert!(
        output.status.success(),
        "{script}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What the scripts are told.
fn task(app: &Client) -> Value {
    let token_url = app.base.replace("/fhir", "/auth/token");
    let pem = std::fs::read(&app.key).unwrap();
    let asked = token::Asked { url: &token_url, client: &app.id, kid: "key-1", pem: &pem, scope: None };
    let permitted: &[Action] = &[Action::Collect, Action::Access];
    json!({
        "base": app.base,
        "token": app.bearer,
        "token_url": token_url,
        "key_file": app.key,
        "assertion": token::assertion(&asked).unwrap(),
        "scope": APP_SCOPES,
        "consent": consent(PATIENT, &[(&app.actor, permitted, &["heart-rate"])]),
        "reading": heart_rate(PATIENT, "filled in by the script", 0),
    })
}
