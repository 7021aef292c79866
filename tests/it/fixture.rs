//! A gateway on a free port with its own directory, clients that talk to it, and a platform to deliver to.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mhealth_gateway::commands::{self, Running, keys, token};
use mhealth_gateway::config::Config;
use mhealth_gateway::conformance::platform::{self, Admission};
use mhealth_gateway::exchange::{CATEGORY_SYSTEM, Clock};
use mhealth_gateway::national::{Pack, Shelf};
use mhealth_gateway::policy::access::client::Client as Registration;
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::policy::consent::draft::{Draft, Permit};
use mhealth_gateway::server::tls;
use mhealth_gateway::store::{Place, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use crate::postgres;

/// Everything that an app may be registered for.
pub const APP_SCOPES: &str = "system/Patient.crus system/Consent.crus system/Device.crus system/List.crus system/Observation.crus system/QuestionnaireResponse.crus system/AuditEvent.s";

/// For tests in which clients give their resources short ids.
pub const ANY_ID: &str = "[exchange]\nchosen_ids = \"any\"\n";

/// A running gateway.
pub struct Gateway {
    pub directory: TempDir,
    pub base: String,
    pub running: Option<Running>,
    pub http: reqwest::Client,
}

impl Gateway {
    pub async fn start() -> Gateway {
        Gateway::with("").await
    }

    /// With a configuration besides address and directory.
    pub async fn with(configuration: &str) -> Gateway {
        Gateway::in_directory(tempfile::tempdir().unwrap(), configuration).await
    }

    pub async fn in_directory(directory: TempDir, configuration: &str) -> Gateway {
        let store = store_of(directory.path()).await;
        Gateway::with_store(directory, &format!("{configuration}\n{store}")).await
    }

    /// With a configuration that says where the store is.
    pub async fn with_store(directory: TempDir, configuration: &str) -> Gateway {
        Gateway::by_clock(directory, configuration, commands::clock()).await
    }

    /// By a clock of the test's own.
    pub async fn by_clock(directory: TempDir, configuration: &str, clock: Clock) -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = format!("listen = \"127.0.0.1:{port}\"\ndata = {:?}\n{configuration}", directory.path());
        let config = Config::read(Some(&text), &BTreeMap::new()).unwrap();
        let certificate = tls::self_signed(directory.path()).unwrap().certificate;
        let running = Running::start_by(listener, &config, clock).await.unwrap();
        let http = token::http(Some(&certificate)).unwrap();
        Gateway { directory, base: config.base_url, running: Some(running), http }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn store(&self) -> &mhealth_gateway::store::Store {
        &self.inner().store
    }

    pub fn inner(&self) -> &mhealth_gateway::exchange::Gateway {
        &self.running.as_ref().expect("the gateway runs").gateway
    }

    /// Where its figures are.
    pub fn metrics(&self) -> SocketAddr {
        self.running.as_ref().and_then(|running| running.metrics).expect("the configuration says where figures are")
    }

    /// Registers a client with a fresh key and signs it in.
    pub async fn client(&self, id: &str, scopes: &str) -> Client {
        self.client_of(id, scopes, None).await
    }

    /// The same, held to a version of the guide.
    pub async fn client_of(&self, id: &str, scopes: &str, guide: Option<&str>) -> Client {
        self.registered(id, scopes, json!({"guide": guide})).await
    }

    /// A client of which more is said in its registration.
    pub async fn registered(&self, id: &str, scopes: &str, more: Value) -> Client {
        let key = self.path().join(format!("{id}.pem"));
        let jwk = keys::generate(&key, "key-1").unwrap();
        let actor = format!("Organization/{id}");
        let mut document = json!({"id": id, "name": id, "actor": actor, "keys": {"keys": [jwk]}, "scopes": scopes, "purposes": ["TREAT"]});
        document.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let registration = Registration::parse(&document.to_string()).unwrap();
        self.store().put_client(id, &registration.document().to_string()).await.unwrap();
        let mut client = Client {
            http: self.http.clone(),
            base: self.base.clone(),
            id: id.to_owned(),
            actor,
            key,
            bearer: String::new(),
        };
        client.sign_in().await;
        client
    }

    /// An app that is registered for everything an app needs.
    pub async fn app(&self) -> Client {
        self.client("app", APP_SCOPES).await
    }

    /// A connection of its own.
    pub fn connection(&self) -> Connection {
        let port = self.base.trim_end_matches("/fhir").rsplit(':').next().unwrap().parse().unwrap();
        connection(port, self.path())
    }

    /// Stops in good order and hands the directory back.
    pub async fn stop(mut self) -> TempDir {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.directory
    }
}

/// The section of a configuration that puts the store of a directory on a server, where `STORE_OF_TESTS` says so:
/// whatever a test says of a gateway is to be true of either.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says on which store")]
async fn store_of(directory: &Path) -> String {
    static SCHEMAS: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    match std::env::var("STORE_OF_TESTS").as_deref() {
        Err(_) | Ok("file") => return String::new(),
        Ok(other) => assert_eq!(other, "server", "file or server"),
    }
    let known = SCHEMAS.lock().unwrap().get(directory).cloned();
    let url = match known {
        Some(url) => url,
        None => postgres::fresh().await,
    };
    SCHEMAS.lock().unwrap().insert(directory.to_owned(), url.clone());
    format!("[store]\nurl = {url:?}\n")
}

/// A registered client with a token.
#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub base: String,
    pub id: String,
    pub actor: String,
    pub key: PathBuf,
    pub bearer: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub async fn of(response: reqwest::Response) -> Answer {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Answer { status, headers, bytes: response.bytes().await.unwrap().to_vec() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Ids of the issues in an OperationOutcome.
    pub fn issues(&self) -> Vec<String> {
        issues(&self.json())
    }

    /// `resource.id`.
    pub fn id(&self) -> String {
        self.json()["id"].as_str().expect("a resource with an id").to_owned()
    }
}

/// Ids of the issues in an OperationOutcome.
pub fn issues(outcome: &Value) -> Vec<String> {
    let listed = outcome["issue"].as_array().into_iter().flatten();
    listed.filter_map(|issue| issue["details"]["coding"][0]["code"].as_str().map(str::to_owned)).collect()
}

/// Ids of the matches in a searchset.
pub fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    entries
        .filter(|entry| entry["search"]["mode"] == "match")
        .filter_map(|entry| entry["resource"]["id"].as_str().map(str::to_owned))
        .collect()
}

impl Client {
    pub async fn sign_in(&mut self) {
        let pem = std::fs::read(&self.key).unwrap();
        let url = self.base.replace("/fhir", "/auth/token");
        let asked = token::Asked { url: &url, client: &self.id, kid: "key-1", pem: &pem, scope: None };
        self.bearer = token::fetch(&self.http, &asked).await.unwrap();
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let address = if path.starts_with("https:") { path.to_owned() } else { format!("{}{path}", self.base) };
        self.http.request(method, address).bearer_auth(&self.bearer)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(reqwest::Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(reqwest::Method::POST, path, body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(reqwest::Method::PUT, path, body.to_string()).await
    }

    pub async fn send(&self, method: reqwest::Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(method, path).header("content-type", "application/fhir+json").body(body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// Any request at all. A header `authorization` takes the place of this client's token.
    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let address = if path.starts_with("https:") { path.to_owned() } else { format!("{}{path}", self.base) };
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, address).body(body.into());
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.bearer_auth(&self.bearer);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// Address of the server, above the FHIR service.
    pub fn root(&self) -> &str {
        self.base.strip_suffix("/fhir").unwrap()
    }

    /// How many hits a search has, and their ids.
    pub async fn find(&self, path: &str) -> (Option<u64>, Vec<String>) {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let bundle = answer.json();
        (bundle["total"].as_u64(), ids(&bundle))
    }

    /// Registers a person and answers the Patient's id.
    pub async fn person(&self) -> String {
        let answer = self.post("/Patient", &json!({"resourceType": "Patient", "active": true})).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.bytes));
        answer.id()
    }

    /// Records a consent by which actors may do things with categories of measures; answers its id.
    pub async fn consent(&self, patient: &str, permits: &[(&str, &[Action], &[&str])]) -> String {
        let answer = self.post("/Consent", &consent(patient, permits)).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.bytes));
        answer.id()
    }

    /// A person whose consent lets this client collect and read heart rates and blood pressures.
    pub async fn consenting_person(&self) -> String {
        let patient = self.person().await;
        let actor = self.actor.clone();
        self.consent(&patient, &[(&actor, &[Action::Collect, Action::Access], &["heart-rate", "blood-pressure"])])
            .await;
        patient
    }

    /// Withdraws a consent.
    pub async fn withdraw(&self, consent: &str) -> Answer {
        let mut current = self.get(&format!("/Consent/{consent}")).await.json();
        current["status"] = json!("inactive");
        self.put(&format!("/Consent/{consent}"), &current).await
    }
}

/// A consent that denies everything but what is listed.
pub fn consent(patient: &str, permits: &[(&str, &[Action], &[&str])]) -> Value {
    let permits = permits
        .iter()
        .map(|(actor, actions, categories)| Permit {
            actor: (*actor).to_owned(),
            actions: actions.to_vec(),
            purposes: vec!["TREAT".to_owned()],
            codings: categories.iter().map(|code| (CATEGORY_SYSTEM.to_owned(), (*code).to_owned())).collect(),
            period_ms: (None, None),
        })
        .collect();
    Draft { patient: format!("Patient/{patient}"), made_ms: 1_700_000_000_000, permits, until_ms: None }.consent()
}

/// A valid heart rate with an identifier of its own.
pub fn heart_rate(patient: &str, identifier: &str, value: u32) -> Value {
    json!({
        "resourceType": "Observation",
        "identifier": [{"system": "urn:test:readings", "value": identifier}],
        "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": format!("Patient/{patient}")},
        "effectiveDateTime": "2026-01-15T08:30:00+01:00",
        "valueQuantity": {"value": value, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}
    })
}

/// A platform in this process.
pub struct Platform {
    pub url: String,
    pub http: reqwest::Client,
    directory: TempDir,
    config: platform::Config,
    running: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl Platform {
    pub async fn start(refuse_codes: &[&str]) -> Platform {
        Platform::playing(None, refuse_codes, Admission::Client).await
    }

    /// One that lets others in than a client by a bearer token of its own.
    pub async fn admitting(admission: Admission, pack: Option<&str>) -> Platform {
        let pack =
            pack.map(|pack| Shelf::default().find(pack).unwrap_or_else(|| panic!("there is no pack {pack}")).clone());
        Platform::playing(pack, &[], admission).await
    }

    /// A national system with a shape of its own.
    pub async fn national(pack: &str) -> Platform {
        Platform::national_refusing(pack, &[]).await
    }

    /// The same, which refuses what has one of these codes.
    pub async fn national_refusing(pack: &str, refuse_codes: &[&str]) -> Platform {
        let pack = Shelf::default().find(pack).unwrap_or_else(|| panic!("there is no pack {pack}")).clone();
        Platform::playing(Some(pack), refuse_codes, Admission::Client).await
    }

    async fn playing(pack: Option<Arc<Pack>>, refuse_codes: &[&str], admission: Admission) -> Platform {
        let directory = tempfile::tempdir().unwrap();
        let own = tls::self_signed(directory.path()).unwrap();
        let key = directory.path().join("gateway-key.pem");
        let public = directory.path().join("gateway-public.pem");
        keys::generate(&key, "key-1").unwrap();
        keys::write_public(&key, &public).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let config = platform::Config {
            tls: Some(platform::Tls {
                cert_pem: std::fs::read_to_string(&own.certificate).unwrap(),
                key_pem: std::fs::read_to_string(&own.key).unwrap(),
            }),
            url: url.clone(),
            client_id: "mhealth-gateway".to_owned(),
            kid: "key-1".to_owned(),
            public_key_pem: std::fs::read_to_string(public).unwrap(),
            admission,
            // What citizens gave is renewed before each use.
            token_seconds: if admission == Admission::Citizens { 10 } else { 300 },
            refuse_codes: refuse_codes.iter().map(|code| (*code).to_owned()).collect(),
            pack,
            log: Some(directory.path().join("received.ndjson")),
            holds: Vec::new(),
            fault: platform::Fault::default(),
            clock: Arc::new(jiff::Timestamp::now),
        };
        let http = token::http(Some(&own.certificate)).unwrap();
        let mut platform = Platform { url, http, directory, config, running: None };
        platform.run(listener);
        platform
    }

    fn run(&mut self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel::<()>();
        let config = self.config.clone();
        let task = tokio::spawn(async move {
            platform::run(config, listener, async {
                let _ = stopped.await;
            })
            .await
            .unwrap();
        });
        self.running = Some((stop, task));
    }

    /// Goes away: nobody listens any more.
    pub async fn leave(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            drop(stop);
            task.await.unwrap();
        }
    }

    /// Comes back to the same address, and remembers what it acknowledged.
    pub async fn come_back(&mut self) {
        let port: u16 = self.url.rsplit(':').next().unwrap().parse().unwrap();
        let listener = eventually("the port is free", async || TcpListener::bind(("127.0.0.1", port)).await.ok()).await;
        self.run(listener);
    }

    /// The destination's section of a gateway's configuration.
    pub fn destination(&self, extra: &str) -> String {
        format!(
            r#"
[[destination]]
name = "platform"
actor = "Organization/platform"
kinds = ["Observation"]
{extra}
[destination.retry]
base_ms = 5
cap_ms = 20
max_attempts = 50
[destination.circuit]
failures = 100
base_ms = 5
cap_ms = 20
[destination.fhir]
url = "{url}/fhir"
ca = {ca:?}
timeout_ms = 1000
[destination.fhir.auth]
kind = "backend-services"
token_url = "{url}/token"
client_id = "mhealth-gateway"
private_key_pem = {key:?}
kid = "key-1"
scope = "system/Observation.cu"
"#,
            url = self.url,
            ca = self.directory.path().join("tls-certificate.pem"),
            key = self.directory.path().join("gateway-key.pem"),
        )
    }

    /// The same, where citizens let the gateway in.
    pub fn linked_destination(&self, extra: &str) -> String {
        let own = self.destination(extra);
        let (before, _) = own.split_once("kind = \"backend-services\"").unwrap();
        format!(
            r#"{before}kind = "citizen"
authorize_url = "{url}/authorize"
token_url = "{url}/token"
revoke_url = "{url}/revoke"
client_id = "mhealth-gateway"
private_key_pem = {key:?}
kid = "key-1"
scope = "openid patient/Observation.cu"
[destination.fhir.auth.identity]
system = "urn:oid:1.2.3"
claim = "sub"
issuer = "{url}"
jwks_url = "{url}/jwks"
"#,
            url = self.url,
            key = self.directory.path().join("gateway-key.pem"),
        )
    }

    /// Name and version of everything that arrived, in its order, repetitions as well.
    pub fn log(&self) -> Vec<(String, u64)> {
        let text = std::fs::read_to_string(self.directory.path().join("received.ndjson")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["resource"].as_str().unwrap().to_owned(), line["version"].as_u64().unwrap())).collect()
    }

    pub async fn account(&self) -> Value {
        let response = self.http.get(format!("{}/account", self.url)).send().await.unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    /// The latest content of all that arrived.
    pub async fn held(&self) -> Vec<Value> {
        let response = self.http.get(format!("{}/held", self.url)).send().await.unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    /// Orders a fault for the next writes.
    /// The same, where each token is for one person's record.
    pub fn for_persons(&self, extra: &str) -> String {
        let secret = self.directory.path().join("secret.txt");
        std::fs::write(&secret, "secret-of-mhealth-gateway\n").unwrap();
        let own = self.destination(extra);
        let (before, _) = own.split_once("kind = \"backend-services\"").unwrap();
        format!(
            "{before}kind = \"iua\"\ntoken_url = \"{}/token\"\nclient_id = \"mhealth-gateway\"\nsecret_file = {secret:?}\n\
             scope = \"user/*.*\"\nprincipal = \"Martina Musterarzt\"\nprincipal_id = \"2000000090092\"\n",
            self.url
        )
    }

    /// Has something of its own that can be asked for.
    pub async fn has(&mut self, resource: &Value) {
        self.config.holds.push(resource.clone());
        let answer = self.http.post(format!("{}/held", self.url)).body(resource.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// Has it no longer.
    pub async fn lets_go(&self, name: &str) {
        let answer = self.http.delete(format!("{}/held/{name}", self.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    pub async fn fault(&self, mode: &str, count: Option<u32>) {
        let body = json!({"mode": mode, "count": count}).to_string();
        let sent = self
            .http
            .post(format!("{}/faults", self.url))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(sent.status().is_success(), "{}", sent.status());
    }

    /// Waits until the account says what is expected; fails loudly after a while.
    pub async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            let account = self.account().await;
            holds(&account).then_some(account)
        })
        .await
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some((stop, _)) = self.running.take() {
            let _ = stop.send(());
        }
    }
}

/// A connection on which a request can be sent byte by byte.
pub type Connection = rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>;

/// Speaks HTTP/1.1 to a gateway whose self-signed certificate lies in a directory.
pub fn connection(port: u16, data: &Path) -> Connection {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(data.join("tls-certificate.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(session, std::net::TcpStream::connect(("127.0.0.1", port)).unwrap())
}

/// The head of the next answer on a connection; its body is left where it is.
pub fn head(stream: &mut Connection) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The program itself, as its users start it.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_mhealth-gateway");

/// Runs the program to its end.
pub async fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap()
}

/// A directory with a configuration, a certificate and registered clients, for gateways in processes of their own.
pub struct Site {
    pub directory: TempDir,
    pub port: u16,
    pub base: String,
    pub http: reqwest::Client,
}

impl Site {
    /// With a configuration besides address and directory.
    pub async fn new(configuration: &str) -> Site {
        Site::in_data(None, configuration).await
    }

    /// With the store on another file system.
    pub async fn in_data(data: Option<&Path>, configuration: &str) -> Site {
        let directory = tempfile::tempdir().unwrap();
        let data = data.map_or_else(|| directory.path().join("data"), Path::to_owned);
        std::fs::create_dir_all(&data).unwrap();
        // Free when it was asked for; whoever starts a process on it looks whether it still is.
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let store = store_of(&data).await;
        let text = format!("listen = \"127.0.0.1:{port}\"\ndata = {data:?}\n{configuration}\n{store}");
        std::fs::write(directory.path().join("gateway.toml"), text).unwrap();
        let certificate = tls::self_signed(&data).unwrap().certificate;
        let http = token::http(Some(&certificate)).unwrap();
        Site { directory, port, base: format!("https://localhost:{port}/fhir"), http }
    }

    pub fn config(&self) -> String {
        self.directory.path().join("gateway.toml").display().to_string()
    }

    pub fn data(&self) -> PathBuf {
        self.configured().data
    }

    fn configured(&self) -> Config {
        Config::read(Some(&std::fs::read_to_string(self.config()).unwrap()), &BTreeMap::new()).unwrap()
    }

    /// Where the store is.
    pub fn place(&self) -> Place {
        let config = self.configured();
        let server = config.store.url.map(|url| Server { url, password: None, ca: None });
        Place { server, ..Place::new(&config.data, None) }
    }

    /// A gateway that listens.
    pub async fn serve(&self) -> Process {
        for _ in 0..20 {
            let mut process = Process::start(Command::new(PROGRAM).args(["serve", "--config", &self.config()]));
            if process.says("serving").await {
                return process;
            }
        }
        panic!("the gateway does not start on port {}", self.port);
    }

    /// Registers a client by the command; it is not signed in.
    pub async fn register(&self, id: &str, scopes: &str) -> Client {
        self.register_for(id, scopes, &[]).await
    }

    /// The same, for purposes that the client may state.
    pub async fn register_for(&self, id: &str, scopes: &str, purposes: &[&str]) -> Client {
        let key = self.directory.path().join(format!("{id}.pem"));
        let actor = format!("Organization/{id}");
        let config = self.config();
        let key_text = key.display().to_string();
        let mut arguments = vec![
            "client",
            "add",
            id,
            "--config",
            &config,
            "--actor",
            &actor,
            "--scope",
            scopes,
            "--generate-key",
            &key_text,
        ];
        arguments.extend(purposes.iter().flat_map(|purpose| ["--purpose", purpose]));
        let added = run(&arguments).await;
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        Client {
            http: self.http.clone(),
            base: self.base.clone(),
            id: id.to_owned(),
            actor,
            key,
            bearer: String::new(),
        }
    }
}

/// A process of the program that runs until it is told otherwise.
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let heard = said.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Process { child, said, reader }
    }

    /// Waits until it says something on standard error; false if it ends without.
    pub async fn says(&mut self, text: &str) -> bool {
        eventually(&format!("the process says {text}"), async || {
            if self.said().contains(text) {
                return Some(true);
            }
            let ended = self.child.try_wait().unwrap().is_some() && self.reader.is_finished();
            ended.then(|| self.said().contains(text))
        })
        .await
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.id())]).status().await.unwrap();
        assert!(sent.success());
    }

    /// SIGKILL, and gone when it returns.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end; answers the exit code and what it said.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(Duration::from_mins(1), self.child.wait()).await.expect("it ends").unwrap();
        (&mut self.reader).await.unwrap();
        (status.code(), self.said())
    }
}

/// Polls until there is an answer. A deadline for a hanging test, not a measure of time.
pub async fn eventually<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(answer) = poll().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("did not happen: {what}"))
}

/// A folder of what others wrote, which lies beside the project.
pub fn shared(variable: &str, name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    let folder = std::env::var_os(variable).map_or(root, PathBuf::from);
    assert!(folder.exists(), "{} is missing: set {variable}", folder.display());
    folder
}

/// Walks pages in a browser as a script of `tests/clients` says; fails with what the script says. `MHEALTH_SHOTS` names a
/// folder for pictures of the pages, for whoever wants to look.
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says whether to take pictures")]
pub async fn browse(script: &str, mut task: Value) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = home.join("target/clients/node/node_modules");
    let tools = [modules.join("puppeteer-core/lib/puppeteer/puppeteer-core.js"), modules.join("axe-core/axe.min.js")];
    for tool in &tools {
        assert!(tool.exists(), "{} is missing: run tests/setup", tool.display());
    }
    let mut child = Command::new("node")
        .arg(home.join("tests/clients").join(script))
        .args(&tools)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("node does not run ({error}): run tests/setup"));
    task["shots"] = std::env::var("MHEALTH_SHOTS").ok().into();
    let mut input = child.stdin.take().unwrap();
    input.write_all(task.to_string().as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
