//! The platform and the peer that delivers to it, over TLS on loopback.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Config, Fault, Mode, StartError, Tls, run};
use crate::peers::fhir_rest::{self, FhirRest};
use crate::peers::{Content, Item, Platform, Resource, Verdict};

pub(super) fn observation(id: &str, version: u32) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "meta": {"versionId": version.to_string()}, "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": "Patient/p-1"}, "effectiveDateTime": "2026-11-21T12:00:00+01:00",
        "valueQuantity": {"value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
    })
}

fn item(resources: &[Value]) -> Item {
    let resource = |value: &Value| Resource {
        kind: value["resourceType"].as_str().unwrap().to_owned(),
        id: value["id"].as_str().unwrap().to_owned(),
        version: value["meta"]["versionId"].as_str().unwrap_or("1").parse().unwrap(),
        json: value.to_string().into_bytes(),
    };
    Item {
        content: Content::Resources(resources.iter().map(resource).collect()),
        request_id: "r-1".to_owned(),
        access: None,
        trace: None,
    }
}

/// The second at which the tests stand still.
const NOW_SECONDS: i64 = 1_795_262_400;

struct Fixture {
    url: String,
    key: jsonwebtoken::EncodingKey,
    peer: FhirRest,
    client: reqwest::Client,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), StartError>>,
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

async fn start(folder: &Path, batch: bool) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let client_key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let clock: crate::peers::Clock = Arc::new(|| jiff::Timestamp::from_second(NOW_SECONDS).unwrap());
    let config = Config {
        tls: Some(Tls { cert_pem: server.cert.pem(), key_pem: server.signing_key.serialize_pem() }),
        url: url.clone(),
        client_id: "gateway".to_owned(),
        kid: "key-1".to_owned(),
        public_key_pem: client_key.public_key_pem(),
        admission: super::Admission::default(),
        token_seconds: 300,
        refuse_codes: vec!["82810-3".to_owned()],
        pack: None,
        log: Some(folder.join("received.ndjson")),
        holds: Vec::new(),
        fault: Fault::default(),
        clock: clock.clone(),
    };
    let peer_config: fhir_rest::Config = toml::from_str(&format!(
        "url = '{url}/fhir'\nca = '{}'\ntimeout_ms = 1000\nbatch = {batch}\n[auth]\nkind = 'backend-services'\n\
         token_url = '{url}/token'\nclient_id = 'gateway'\nkid = 'key-1'\nscope = 'system/*.cu'\nprivate_key_pem = '{}'",
        write(folder, "ca.pem", &server.cert.pem()).display(),
        write(folder, "key.pem", &client_key.serialize_pem()).display(),
    ))
    .unwrap();
    let root = reqwest::Certificate::from_pem(server.cert.pem().as_bytes()).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(run(config, listener, async move { drop(stopped.await) }));
    Fixture {
        key: jsonwebtoken::EncodingKey::from_ec_pem(client_key.serialize_pem().as_bytes()).unwrap(),
        peer: FhirRest::open("north", &peer_config, clock).unwrap(),
        client: reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap(),
        url,
        stop,
        served,
    }
}

impl Fixture {
    async fn deliver(&self, resources: &[Value]) -> Verdict {
        self.peer.deliver(&item(resources)).await.verdict
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.client.get(format!("{}/{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    async fn account(&self) -> Value {
        self.get("account").await.1
    }

    async fn order(&self, mode: &str, count: u32) {
        let body = json!({"mode": mode, "count": count}).to_string();
        let response = self.client.post(format!("{}/faults", self.url)).body(body).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }

    fn claims(&self, jti: &str) -> Value {
        json!({
            "iss": "gateway", "sub": "gateway", "aud": format!("{}/token", self.url), "jti": jti,
            "iat": NOW_SECONDS, "exp": NOW_SECONDS + 300,
        })
    }

    async fn login(&self, kid: &str, claims: &Value) -> Value {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES384);
        header.kid = Some(kid.to_owned());
        let assertion = jsonwebtoken::encode(&header, claims, &self.key).unwrap();
        let form = format!(
            "grant_type=client_credentials&scope=s&client_assertion_type=\
             urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
        );
        let response = self.client.post(format!("{}/token", self.url)).body(form).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    async fn token(&self) -> String {
        self.login("key-1", &self.claims("of-the-test")).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn takes_deliveries_and_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = start(folder.path(), false).await;
    for version in [1, 2, 2] {
        assert_eq!(fixture.deliver(&[observation("o-1", version)]).await, Verdict::Acknowledged);
    }
    assert_eq!(fixture.deliver(&[observation("o-2", 2), observation("o-2", 1)]).await, Verdict::Acknowledged);
    let account = fixture.account().await;
    assert_eq!(account["versions"], json!({"Observation/o-1": [1, 2], "Observation/o-2": [2, 1]}));
    let counts = ["received", "duplicates", "outOfOrder", "violationCount", "unauthorized"];
    assert_eq!(counts.map(|key| account[key].as_u64().unwrap()), [5, 1, 1, 0, 0]);
    assert_eq!(fixture.get("fhir/metadata").await.1["fhirVersion"], "4.0.1");
    fixture.stop().await;

    let log = std::fs::read_to_string(folder.path().join("received.ndjson")).unwrap();
    assert_eq!(log.lines().count(), 5);
    let again = start(folder.path(), false).await;
    assert_eq!(again.deliver(&[observation("o-1", 2)]).await, Verdict::Acknowledged);
    assert_eq!(again.account().await["duplicates"], 1, "the log remembers across a restart");
    again.stop().await;
}

#[tokio::test]
async fn takes_transactions_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = start(folder.path(), true).await;
    assert_eq!(fixture.deliver(&[observation("a", 1), observation("b", 1)]).await, Verdict::Acknowledged);
    let mut bad = observation("d", 1);
    bad["status"] = "done".into();
    let verdict = fixture.deliver(&[observation("c", 1), bad]).await;
    assert_eq!(verdict, Verdict::Rejected { reason: "HTTP 422: invalid".to_owned() });
    let account = fixture.account().await;
    assert_eq!((account["resources"].as_u64(), account["violationCount"].as_u64()), (Some(2), Some(1)));
    fixture.stop().await;
}

#[tokio::test]
async fn notices_what_was_to_be_withheld() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = start(folder.path(), false).await;
    let mut withheld = observation("o-1", 1);
    withheld["code"]["coding"][0]["code"] = "82810-3".into();
    let verdict = fixture.deliver(&[withheld]).await;
    assert_eq!(verdict, Verdict::Rejected { reason: "HTTP 422: suppressed".to_owned() });
    let account = fixture.account().await;
    assert_eq!(account["violations"][0]["wrong"][0], super::check::WITHHELD);
    fixture.stop().await;
}

#[tokio::test]
async fn lets_nobody_in_without_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = start(folder.path(), false).await;
    assert_eq!(fixture.get("fhir/Observation?patient=p-1").await.0, 401);
    let forged = "grant_type=client_credentials&scope=s&client_assertion_type=\
                  urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c";
    let response = fixture.client.post(format!("{}/token", fixture.url)).body(forged).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(response.text().await.unwrap(), r#"{"error":"invalid_client"}"#);
    assert_eq!(fixture.account().await["unauthorized"], 2);
    fixture.stop().await;
}

#[tokio::test]
async fn faults_end_in_retries_and_lost_answers_in_duplicates() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = start(folder.path(), false).await;
    // Mode, and whether the platform has the resource although it did not say so.
    let cases =
        [("down", false), ("redirect", false), ("slow", true), ("hang", true), ("garbage", true), ("half", true)];
    for (mode, stored) in cases {
        fixture.order(mode, 1).await;
        let verdict = fixture.deliver(&[observation(mode, 1)]).await;
        assert!(matches!(verdict, Verdict::Retry { .. }), "{mode}: {verdict:?}");
        let account = fixture.account().await;
        assert_eq!(account["versions"].get(format!("Observation/{mode}")).is_some(), stored, "{mode}");
        assert_eq!(fixture.deliver(&[observation(mode, 1)]).await, Verdict::Acknowledged, "{mode}");
    }
    let account = fixture.account().await;
    assert_eq!((account["resources"].as_u64(), account["duplicates"].as_u64()), (Some(6), Some(4)));
    assert_eq!(account["violationCount"], 0);
    fixture.stop().await;
}

#[tokio::test]
async fn finds_the_observations_of_a_patient() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = start(folder.path(), false).await;
    let mut other = observation("o-3", 1);
    other["subject"]["reference"] = "Patient/p-2".into();
    let sent = [observation("o-1", 1), observation("o-1", 2), observation("o-2", 1), other];
    assert_eq!(fixture.deliver(&sent).await, Verdict::Acknowledged);
    let token = fixture.token().await;
    for (patient, versions) in [("p-1", vec!["2", "1"]), ("Patient/p-2", vec!["1"]), ("p-9", vec![])] {
        let url = format!("{}/fhir/Observation?patient={patient}", fixture.url);
        let response = fixture.client.get(url).bearer_auth(&token).send().await.unwrap();
        let bundle: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let found: Vec<_> =
            bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]["meta"]["versionId"]).collect();
        assert_eq!(found, versions, "{patient}");
    }
    fixture.stop().await;
}

/// Each changes one thing of a right assertion; the platform must notice every one.
#[tokio::test]
async fn takes_no_assertion_that_is_wrong_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = start(folder.path(), false).await;
    let cases: [(&str, Value); 7] = [
        ("iss", "other".into()),
        ("sub", "other".into()),
        ("aud", "https://localhost/token".into()),
        ("jti", "".into()),
        ("exp", (NOW_SECONDS - 60).into()),
        ("exp", (NOW_SECONDS + 3600).into()),
        ("iat", (NOW_SECONDS + 3600).into()),
    ];
    for (claim, value) in cases {
        let mut claims = fixture.claims("id-1");
        claims[claim] = value;
        assert_eq!(fixture.login("key-1", &claims).await["error"], "invalid_client", "{claim}");
    }
    assert_eq!(fixture.login("key-2", &fixture.claims("id-1")).await["error"], "invalid_client");
    assert!(fixture.login("key-1", &fixture.claims("id-1")).await["access_token"].is_string());
    assert_eq!(fixture.login("key-1", &fixture.claims("id-1")).await["error"], "invalid_client", "a replay");
    fixture.stop().await;
}

#[test]
fn orders_count_down() {
    let orders = super::fault::Orders::new(Fault { mode: Mode::Down, count: Some(1) });
    assert_eq!([orders.next(), orders.next()], [(Mode::Down, 0), (Mode::Ok, 1)]);
}
