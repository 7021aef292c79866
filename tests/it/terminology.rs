//! Codes that the definitions leave open are put to a terminology server: one that answers, one that hangs, one that
//! talks of something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{Client, Gateway, heart_rate, issues};

const SNOMED: &str = "http://snomed.info/sct";

const PROFILE: &str = "http://terms.example/StructureDefinition/sited";

#[derive(Clone, Copy)]
enum Manner {
    /// Says no to the codes of SNOMED CT save `1`, and yes to the rest.
    Answers,
    Hangs,
    /// Says 200 and something that is no answer.
    Lies,
}

struct Server {
    url: String,
    questions: Arc<AtomicUsize>,
}

async fn server(manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/r4", listener.local_addr().unwrap());
    let questions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&questions);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, manner, Arc::clone(&counter)));
        }
    });
    Server { url, questions }
}

async fn serve(mut stream: TcpStream, manner: Manner, questions: Arc<AtomicUsize>) {
    let mut read = Vec::new();
    let body: Value = loop {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&read);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            break body;
        }
    };
    questions.fetch_add(1, Ordering::SeqCst);
    let answer = match manner {
        Manner::Hangs => return std::future::pending().await,
        Manner::Lies => "<html>Please sign in</html>".to_owned(),
        Manner::Answers => {
            let parameters = body["parameter"].as_array().unwrap();
            let says =
                |value: &str| parameters.iter().any(|each| each["valueUri"] == value || each["valueCode"] == value);
            let is_in = says("1") || !says(SNOMED);
            json!({"resourceType": "Parameters", "parameter": [{"name": "result", "valueBoolean": is_in}]}).to_string()
        }
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
    let _ = stream.write_all((head + &answer).as_bytes()).await;
}

/// A profile that binds the body site to a part of SNOMED CT, which no package lists.
fn packages() -> TempDir {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("terms.example#1.0.0").join("package");
    std::fs::create_dir_all(&folder).unwrap();
    let profile = json!({
        "resourceType": "StructureDefinition", "url": PROFILE, "version": "1.0.0", "name": "Sited", "status": "active",
        "type": "Observation", "kind": "resource", "abstract": false, "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
        "snapshot": {"element": [
            {"id": "Observation", "path": "Observation"},
            {"id": "Observation.bodySite", "path": "Observation.bodySite", "min": 0, "max": "1",
             "type": [{"code": "CodeableConcept"}],
             "binding": {"strength": "required", "valueSet": "http://terms.example/ValueSet/sites"}}
        ]}
    });
    let sites = json!({
        "resourceType": "ValueSet", "url": "http://terms.example/ValueSet/sites", "version": "1.0.0", "status": "active",
        "compose": {"include": [{"system": SNOMED, "filter": [{"property": "concept", "op": "is-a", "value": "442083009"}]}]}
    });
    std::fs::write(folder.join("package.json"), r#"{"name":"terms.example","version":"1.0.0"}"#).unwrap();
    std::fs::write(folder.join("StructureDefinition-sited.json"), profile.to_string()).unwrap();
    std::fs::write(folder.join("ValueSet-sites.json"), sites.to_string()).unwrap();
    cache
}

async fn gateway(cache: &TempDir, rest: &str) -> (Gateway, Client, String) {
    let validation =
        format!("[validation]\npackages = [\"terms.example#1.0.0\"]\npackage_cache = {:?}\n", cache.path());
    let gateway = Gateway::with(&(validation + rest)).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    (gateway, app, patient)
}

fn sited(patient: &str, identifier: &str, code: &str) -> Value {
    let mut observation = heart_rate(patient, identifier, 60);
    observation["meta"] = json!({"profile": [PROFILE]});
    observation["bodySite"] = json!({"coding": [{"system": SNOMED, "code": code}]});
    observation
}

fn terminology(url: &str, deadline_ms: u32) -> String {
    format!("[terminology]\nurl = {url:?}\ndeadline_ms = {deadline_ms}\ntimeout_ms = 20000\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_decides() {
    let (cache, server) = (packages(), server(Manner::Answers).await);
    let (gateway, app, patient) = gateway(&cache, &terminology(&server.url, 20_000)).await;
    let good = app.post("/Observation", &sited(&patient, "1", "1")).await;
    assert_eq!(good.status, 201, "{}", good.text());
    let bad = app.post("/Observation", &sited(&patient, "2", "2")).await;
    assert_eq!(bad.status, 422, "{}", bad.text());
    let said = bad.issues();
    assert!(said.contains(&"binding-required".to_owned()) && said.contains(&"code-unknown".to_owned()), "{said:?}");
    let checked = issues(&app.post("/Observation/$validate", &sited(&patient, "3", "2")).await.json());
    assert!(checked.contains(&"binding-required".to_owned()), "{checked:?}");
    // The entries of a Bundle are asked for together, and what was asked before is remembered.
    let before = server.questions.load(Ordering::SeqCst);
    let entry = |identifier: &str, code: &str| json!({"resource": sited(&patient, identifier, code), "request": {"method": "POST", "url": "Observation"}});
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry("4", "1"), entry("5", "2")]});
    let answer = app.post("", &bundle).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let statuses: Vec<String> = answer.json()["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap()[..3].to_owned())
        .collect();
    assert_eq!(statuses, ["201", "422"]);
    assert_eq!(server.questions.load(Ordering::SeqCst), before);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_server_that_hangs() {
    let (cache, server) = (packages(), server(Manner::Hangs).await);
    let (gateway, app, patient) = gateway(&cache, &terminology(&server.url, 50)).await;
    for identifier in ["1", "2", "3"] {
        let refused = app.post("/Observation", &sited(&patient, identifier, "1")).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.issues().contains(&"binding-undecided".to_owned()), "{:?}", refused.issues());
    }
    // What depends on no such code is taken as ever.
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "4", 60)).await.status, 201);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_decides_where_nobody_could_tell() {
    let (cache, server) = (packages(), server(Manner::Lies).await);
    let policy = "[exchange]\nunanswered_required = \"warn\"\n";
    let (gateway, app, patient) = gateway(&cache, &(terminology(&server.url, 20_000) + policy)).await;
    let taken = app.post("/Observation", &sited(&patient, "1", "1")).await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert!(server.questions.load(Ordering::SeqCst) > 0);
    let checked = issues(&app.post("/Observation/$validate", &sited(&patient, "2", "1")).await.json());
    assert!(checked.contains(&"binding-unknown".to_owned()), "{checked:?}");
    gateway.stop().await;
}
