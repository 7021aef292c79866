//! Deliveries against a server that plays a script: one step a connection, every byte chosen by the test.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::config::Credentials;
use super::{Auth, Config, Ended, FhirRest, Given, Linker, Tokens};
use crate::national::{Address, Shelf};
use crate::peers::{Clock, Content, Item, Platform, Resource, Shaped, Trace, Verdict};

/// What the server does with one connection, after it has read the request.
enum Step {
    /// Sends this and closes.
    Say(Vec<u8>),
    /// Sends this and then one byte a few milliseconds, for ever.
    Drip(Vec<u8>),
    /// Never answers.
    Hang,
}

fn say(head: &str, body: &str) -> Step {
    Step::Say(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into())
}

fn raw(bytes: &str) -> Step {
    Step::Say(bytes.as_bytes().to_vec())
}

struct Script {
    address: String,
    requests: JoinHandle<Vec<String>>,
}

async fn play(steps: Vec<Step>) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for step in steps {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(request(&mut stream).await);
            act(stream, step).await;
        }
        requests
    });
    Script { address, requests }
}

async fn act(mut stream: impl AsyncWrite + Unpin + Send + 'static, step: Step) {
    match step {
        Step::Say(bytes) => {
            // The client may have hung up already, which is its right.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Step::Drip(bytes) => {
            stream.write_all(&bytes).await.unwrap();
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(5));
                while stream.write_all(b" ").await.is_ok() {
                    ticks.tick().await;
                }
            });
        }
        Step::Hang => {
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(stream);
            });
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the client ends its request");
    }
}

fn config(address: &str) -> Config {
    Config {
        lookup_url: None,
        url: format!("{address}/fhir"),
        auth: Auth::None,
        ca: None,
        timeout_ms: 10_000,
        connect_timeout_ms: 10_000,
        batch: false,
    }
}

fn clock() -> Clock {
    Arc::new(|| "2026-11-21T12:00:00Z".parse().unwrap())
}

fn item(ids: &[&str]) -> Item {
    let resource = |id: &&str| Resource {
        kind: "Observation".to_owned(),
        id: (*id).to_owned(),
        version: 2,
        json: format!("{{\"resourceType\":\"Observation\",\"id\":\"{id}\"}}").into_bytes(),
    };
    Item {
        content: Content::Resources(ids.iter().map(resource).collect()),
        request_id: "request-1".to_owned(),
        access: None,
        trace: None,
    }
}

fn shown(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Acknowledged => "acknowledged".to_owned(),
        Verdict::Retry { after_ms, reason } => format!("retry {after_ms:?}: {reason}"),
        Verdict::Unreached { reason } => format!("unreached: {reason}"),
        Verdict::Waits { reason } => format!("waits: {reason}"),
        Verdict::Rejected { reason } => format!("rejected: {reason}"),
    }
}

async fn check(name: &str, step: Step, expected: &str) {
    // Only what never ends may meet the limit; the others get time enough for a busy machine.
    let timeout_ms = if matches!(step, Step::Say(_)) { 10_000 } else { 150 };
    let script = play(vec![step]).await;
    let config = Config { timeout_ms, ..config(&script.address) };
    let peer = FhirRest::open("north", &config, clock()).unwrap();
    let verdict = peer.deliver(&item(&["o-1"])).await.verdict;
    assert_eq!(shown(&verdict), expected, "{name}");
}

#[tokio::test]
async fn every_bad_answer_is_a_retry() {
    let broken = "retry None: the destination's answer was broken or incomplete";
    let late = "retry None: the destination did not answer in time";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"resourceType\":";
    check("hanging", Step::Hang, late).await;
    check("slow head", Step::Drip(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), late).await;
    check("slow body", Step::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n".to_vec()), late).await;
    check("garbage", raw("\0\x01\x02 not http at all\r\n\r\n"), broken).await;
    check("silence", raw(""), broken).await;
    check("half a head", raw("HTTP/1.1 200 OK\r\nContent-Le"), broken).await;
    check("half a body", raw(ok), broken).await;
    check("half a chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{\"reso"), broken).await;
    check(
        "redirect",
        say("302 Found\r\nLocation: http://127.0.0.1:1/", ""),
        "retry None: HTTP 302: the destination redirects, and redirects are not followed",
    )
    .await;
    check("too many", say("429 Too Many Requests\r\nRetry-After: 7", ""), "retry Some(7000): HTTP 429").await;
    check("down", say("503 Service Unavailable", ""), "retry None: HTTP 503").await;
    check(
        "endless",
        say("200 OK", &" ".repeat(1024 * 1024 + 1)),
        "retry None: the destination's answer was longer than 1 MiB",
    )
    .await;
    check(
        "login page",
        say("200 OK\r\nContent-Type: text/html", "<html>"),
        "retry None: HTTP 200 with a body that is not FHIR; something else may have answered",
    )
    .await;
    check("no token to renew", say("401 Unauthorized", ""), "retry None: HTTP 401").await;
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let peer = FhirRest::open("north", &config(&address), clock()).unwrap();
    let verdict = peer.deliver(&item(&["o-1"])).await.verdict;
    assert_eq!(shown(&verdict), "unreached: no connection to the destination");
}

#[tokio::test]
async fn acknowledges_and_names_the_attempt() {
    let script = play(vec![say("201 Created", "")]).await;
    let peer = FhirRest::open("north", &config(&script.address), clock()).unwrap();
    assert_eq!(peer.deliver(&item(&["o-1"])).await.verdict, Verdict::Acknowledged);
    let requests = script.requests.await.unwrap();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("put /fhir/observation/o-1 "), "{head}");
    assert!(head.contains("idempotency-key: north/o-1/2") && head.contains("x-request-id: request-1"), "{head}");
    assert_eq!(body, "{\"resourceType\":\"Observation\",\"id\":\"o-1\"}");
}

#[tokio::test]
async fn a_shaped_request_goes_where_its_pack_says_and_on_its_condition() {
    let shelf = Shelf::default();
    let segments = |path: &[&str]| path.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    for (method, path, condition, expected, header) in [
        ("POST", &["Observation"][..], Some("identifier=urn:uuid:1"), "post /fhir/observation ", true),
        ("PUT", &["Observation", "a/b?c"], None, "put /fhir/observation/a%2fb%3fc ", false),
    ] {
        let script = play(vec![say("201 Created", "")]).await;
        let shaped = Shaped {
            pack: shelf.find("de-hddt").unwrap().clone(),
            address: Address {
                method: method.to_owned(),
                path: segments(path),
                condition: condition.map(str::to_owned),
            },
            body: b"{}".to_vec(),
            key: "key-1".to_owned(),
            count: 1,
            entries: Vec::new(),
            person: None,
        };
        let peer = FhirRest::open("north", &config(&script.address), clock()).unwrap();
        peer.deliver(&Item { content: Content::Shaped(shaped), ..item(&[]) }).await;
        let head = script.requests.await.unwrap()[0].to_ascii_lowercase();
        assert!(head.starts_with(expected), "{head}");
        assert_eq!(head.contains("if-none-exist: identifier=urn:uuid:1\r\n"), header, "{head}");
    }
}

#[tokio::test]
async fn rejection_does_not_hold_up_its_siblings() {
    let script = play(vec![say("200 OK", ""), say("422 No", ""), say("200 OK", "")]).await;
    let peer = FhirRest::open("north", &config(&script.address), clock()).unwrap();
    assert_eq!(shown(&peer.deliver(&item(&["a", "b", "c"])).await.verdict), "rejected: HTTP 422");
    assert_eq!(script.requests.await.unwrap().len(), 3);
}

#[tokio::test]
async fn trouble_ends_the_item() {
    let script = play(vec![say("200 OK", ""), say("503 No", "")]).await;
    let peer = FhirRest::open("north", &config(&script.address), clock()).unwrap();
    assert_eq!(shown(&peer.deliver(&item(&["a", "b", "c"])).await.verdict), "retry None: HTTP 503");
    assert_eq!(script.requests.await.unwrap().len(), 2);
}

#[tokio::test]
async fn batch_is_one_transaction() {
    let answer =
        r#"{"resourceType":"Bundle","entry":[{"response":{"status":"200 OK"}},{"response":{"status":"201"}}]}"#;
    let script = play(vec![say("200 OK", answer)]).await;
    let batched = Config { batch: true, ..config(&script.address) };
    let peer = FhirRest::open("north", &batched, clock()).unwrap();
    assert_eq!(peer.deliver(&item(&["a", "b"])).await.verdict, Verdict::Acknowledged);
    let requests = script.requests.await.unwrap();
    assert!(requests[0].starts_with("POST /fhir HTTP"), "{}", requests[0]);
    assert!(requests[0].contains("\"type\":\"transaction\""));
}

const GRANTED: &str = r#"{"access_token":"token-1","token_type":"bearer","expires_in":60}"#;

/// Opens a peer with a key of its own and a clock that the test moves.
fn with_token(address: &str, folder: &Path) -> (FhirRest, Arc<AtomicI64>, jsonwebtoken::DecodingKey) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let path = folder.join("key.pem");
    std::fs::write(&path, key.serialize_pem()).unwrap();
    let seconds = Arc::new(AtomicI64::new(1_800_000_000));
    let shared = seconds.clone();
    let clock: Clock = Arc::new(move || Timestamp::from_second(shared.load(Ordering::Relaxed)).unwrap());
    let credentials = Credentials {
        token_url: format!("{address}/token"),
        client_id: "gateway".to_owned(),
        private_key_pem: path,
        kid: Some("key-1".to_owned()),
        scope: "system/*.cu".to_owned(),
        dpop: false,
        cert: None,
        key: None,
        exchange: None,
    };
    let config = Config { auth: Auth::BackendServices(credentials), ..config(address) };
    let public = jsonwebtoken::DecodingKey::from_ec_pem(key.public_key_pem().as_bytes()).unwrap();
    (FhirRest::open("north", &config, clock).unwrap(), seconds, public)
}

#[tokio::test]
async fn every_request_of_an_attempt_says_its_trace_and_of_another_attempt_its_own() {
    let token = || say("200 OK", r#"{"access_token":"t","token_type":"bearer","expires_in":600}"#);
    let steps = vec![token(), say("401 Unauthorized", ""), token(), say("200 OK", ""), say("200 OK", "")];
    let script = play(steps).await;
    let folder = tempfile::tempdir().unwrap();
    let (peer, ..) = with_token(&script.address, folder.path());
    for (trace, expected) in [(Some([7; 24]), "acknowledged"), (None, "acknowledged")] {
        let trace = trace.map(|entropy| Arc::new(Trace::new(entropy)));
        let verdict = peer.deliver(&Item { trace, ..item(&["o-1"]) }).await.verdict;
        assert_eq!(shown(&verdict), expected);
    }
    let requests = script.requests.await.unwrap();
    let header = |request: &String| {
        let line = request.lines().find_map(|line| line.strip_prefix("traceparent: "))?;
        let [version, trace, parent, flags] = line.split('-').collect::<Vec<_>>().try_into().ok()?;
        assert_eq!((version, trace, flags), ("00", "07".repeat(16).as_str(), "00"));
        Some(parent.to_owned())
    };
    let parents: Vec<Option<String>> = requests.iter().map(header).collect();
    let named: std::collections::BTreeSet<&String> = parents.iter().flatten().collect();
    assert_eq!((named.len(), &parents[4]), (4, &None), "each request of the first attempt has its own: {parents:?}");
}

#[tokio::test]
async fn token_is_signed_cached_and_renewed_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let ok = || say("200 OK", "");
    let script = play(vec![say("200 OK", GRANTED), ok(), ok(), say("200 OK", GRANTED), ok()]).await;
    let (peer, seconds, public) = with_token(&script.address, folder.path());
    assert_eq!(peer.deliver(&item(&["a"])).await.verdict, Verdict::Acknowledged);
    seconds.fetch_add(29, Ordering::Relaxed);
    assert_eq!(peer.deliver(&item(&["a"])).await.verdict, Verdict::Acknowledged);
    seconds.fetch_add(1, Ordering::Relaxed);
    assert_eq!(peer.deliver(&item(&["a"])).await.verdict, Verdict::Acknowledged);
    let requests = script.requests.await.unwrap();
    let (_, form) = requests[0].split_once("\r\n\r\n").unwrap();
    let form: std::collections::HashMap<String, String> =
        url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!(form["scope"], "system/*.cu");
    let assertion = &form["client_assertion"];
    assert_eq!(jsonwebtoken::decode_header(assertion).unwrap().kid.as_deref(), Some("key-1"));
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES384);
    validation.set_audience(&[format!("{}/token", script.address)]);
    validation.set_issuer(&["gateway"]);
    let claims = jsonwebtoken::decode::<serde_json::Value>(assertion, &public, &validation).unwrap().claims;
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    assert!(requests[1].to_ascii_lowercase().contains("authorization: bearer token-1"));
}

#[tokio::test]
async fn refused_token_is_renewed_once() {
    let folder = tempfile::tempdir().unwrap();
    let no = || say("401 Unauthorized", "");
    let steps = vec![say("200 OK", GRANTED), no(), say("200 OK", GRANTED), say("200 OK", "")];
    let script = play(steps).await;
    let (peer, ..) = with_token(&script.address, folder.path());
    assert_eq!(peer.deliver(&item(&["a"])).await.verdict, Verdict::Acknowledged);
    assert_eq!(script.requests.await.unwrap().len(), 4);

    let script = play(vec![say("200 OK", GRANTED), no(), say("200 OK", GRANTED), no()]).await;
    let (peer, ..) = with_token(&script.address, folder.path());
    assert_eq!(shown(&peer.deliver(&item(&["a"])).await.verdict), "retry None: HTTP 401");
}

#[tokio::test]
async fn without_token_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (say("400 Bad", r#"{"error":"invalid_client"}"#), "unreached: no access token: HTTP 400 invalid_client"),
        (say("200 OK", "<html>"), "unreached: no access token: the token endpoint's answer cannot be read"),
        (raw(""), "unreached: no access token: the destination's answer was broken or incomplete"),
    ];
    for (step, expected) in cases {
        let script = play(vec![step]).await;
        let (peer, ..) = with_token(&script.address, folder.path());
        assert_eq!(shown(&peer.deliver(&item(&["a"])).await.verdict), expected);
        assert_eq!(script.requests.await.unwrap().len(), 1);
    }
}

fn fields(request: &str) -> std::collections::HashMap<String, String> {
    let (_, form) = request.split_once("\r\n\r\n").unwrap();
    url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn a_token_is_exchanged_by_a_key_that_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let change = || {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        std::fs::write(&path, key.serialize_pem()).unwrap();
        jsonwebtoken::DecodingKey::from_ec_pem(key.public_key_pem().as_bytes()).unwrap()
    };
    let first = change();
    let other = GRANTED.replace("token-1", "token-2");
    let granted = |text: &str| say("200 OK", text);
    let steps = vec![
        granted(GRANTED),
        granted(&other),
        say("401 Unauthorized", ""),
        granted(GRANTED),
        granted(&other),
        say("200 OK", ""),
    ];
    let script = play(steps).await;
    let credentials: Credentials = toml::from_str(&format!(
        "token_url = '{0}/token'\nclient_id = 'gateway'\nprivate_key_pem = {path:?}\nscope = 'a'\n\
         [exchange]\ntoken_url = '{0}/exchange'\naudience = 'urn:north'",
        script.address
    ))
    .unwrap();
    let config = Config { auth: Auth::BackendServices(credentials), ..config(&script.address) };
    let peer = FhirRest::open("north", &config, clock()).unwrap();
    let second = change();
    assert_eq!(peer.deliver(&item(&["a"])).await.verdict, Verdict::Acknowledged);
    let requests = script.requests.await.unwrap();
    let asked = fields(&requests[1]);
    assert_eq!(asked["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!((&*asked["subject_token"], &*asked["audience"]), ("token-1", "urn:north"));
    assert!(!asked.contains_key("scope"));
    assert!(requests[5].to_ascii_lowercase().contains("authorization: bearer token-2"));
    // The key is that of the file as it lies there now, and is named by its thumbprint.
    let assertion = &fields(&requests[0])["client_assertion"];
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES384);
    validation.set_audience(&[format!("{}/token", script.address)]);
    validation.validate_exp = false;
    let believed = |key| jsonwebtoken::decode::<serde_json::Value>(assertion, key, &validation).is_ok();
    assert!(believed(&second) && !believed(&first));
    assert_eq!(jsonwebtoken::decode_header(assertion).unwrap().kid.unwrap().len(), 43);
}

/// A destination that persons sign in to, and what its server answers; `SERVER` is its address.
async fn linker(steps: Vec<Step>, more: &str) -> (Linker, Script) {
    let script = play(steps).await;
    let citizen = format!(
        "authorize_url = 'SERVER/authorize'\ntoken_url = 'SERVER/token'\nclient_id = 'gateway'\nscope = 'a'\n{more}"
    );
    let citizen = toml::from_str(&citizen.replace("SERVER", &script.address)).unwrap();
    let config = Config { auth: Auth::Citizen(citizen), ..config(&script.address) };
    (Linker::open(&config, clock()).unwrap().unwrap(), script)
}

#[tokio::test]
async fn a_request_is_left_ahead_where_it_is_wanted_so() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s:1\n").unwrap();
    let pushed = say("201 Created", r#"{"request_uri": "urn:request:1", "expires_in": 60}"#);
    let given = r#"{"access_token":"a","token_type":"Bearer","expires_in":60,"patient":"p-9"}"#;
    let more = format!(
        "par_url = 'SERVER/par'\nsecret_file = {secret:?}\nidentity = {{ system = 'urn:s', member = 'patient' }}"
    );
    let (linker, script) = linker(vec![pushed, say("200 OK", given)], &more).await;
    let url = linker.authorization("https://gateway.example/back", "state-1", "verifier-1", "").await.unwrap();
    assert_eq!(url.query(), Some("client_id=gateway&request_uri=urn%3Arequest%3A1"));
    let Given { tokens, identity } =
        linker.given("code-1", "https://gateway.example/back", "verifier-1", "").await.unwrap();
    assert_eq!(identity, Some(("urn:s".to_owned(), "p-9".to_owned())));
    assert_eq!((tokens.refresh.as_deref(), tokens.ends_ms()), (None, Some(tokens.access_until_ms)));
    assert!(matches!(linker.refreshed(&tokens).await, Err(Ended::Over(_))), "there is nothing to renew it by");
    let requests = script.requests.await.unwrap();
    let asked = fields(&requests[0]);
    assert_eq!(asked["code_challenge"], "xTYRBLTDt1gS3-rw_3FBVafZ0iNg9bZYBbG8fRPvkEs");
    assert_eq!((&*asked["state"], &*asked["code_challenge_method"]), ("state-1", "S256"));
    assert_eq!(fields(&requests[1])["code_verifier"], "verifier-1");
    assert!(requests.iter().all(|request| request.to_ascii_lowercase().contains("authorization: basic ")));
}

#[tokio::test]
async fn what_ends_a_link_is_told_from_trouble() {
    let tokens = Tokens {
        access: "a".to_owned(),
        access_until_ms: 0,
        refresh: Some("r-1".to_owned()),
        refresh_until_ms: Some(5),
        scope: "a".to_owned(),
    };
    for (answer, expected) in [
        (say("400 Bad Request", r#"{"error":"invalid_grant"}"#), "over"),
        (say("401 Unauthorized", r#"{"error":"invalid_client"}"#), "trouble"),
        (say("503 Busy", ""), "trouble"),
        (say("200 OK", r#"{"access_token":"b","token_type":"mac"}"#), "trouble"),
        (say("200 OK", GRANTED), "r-1 until 5"),
        (say("200 OK", r#"{"access_token":"b","token_type":"bearer","refresh_token":"r-2"}"#), "r-2"),
    ] {
        let (linker, script) = linker(vec![answer], "").await;
        let outcome = match linker.refreshed(&tokens).await {
            Ok(Tokens { refresh: Some(refresh), refresh_until_ms: Some(until), .. }) => {
                format!("{refresh} until {until}")
            }
            Ok(tokens) => tokens.refresh.unwrap_or_default(),
            Err(Ended::Over(_)) => "over".to_owned(),
            Err(Ended::Trouble(_)) => "trouble".to_owned(),
        };
        assert_eq!(outcome, expected);
        assert_eq!(fields(&script.requests.await.unwrap()[0])["refresh_token"], "r-1");
    }
}

#[test]
fn a_key_of_another_curve_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    std::fs::write(&path, key.serialize_pem()).unwrap();
    let credentials = Credentials {
        token_url: "https://a.example/token".to_owned(),
        client_id: "gateway".to_owned(),
        private_key_pem: path,
        kid: Some("key-1".to_owned()),
        scope: String::new(),
        dpop: false,
        cert: None,
        key: None,
        exchange: None,
    };
    let config = Config { auth: Auth::BackendServices(credentials), ..config("https://a.example") };
    assert!(FhirRest::open("north", &config, clock()).is_err());
}

#[tokio::test]
async fn mutual_tls_with_an_own_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&parameters, &authority_key);
    let issue = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (parameters.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = issue();
    let (client, client_key) = issue();
    let path = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ca = path("ca.pem", authority.pem());
    let cert = path("cert.pem", client.pem());
    let key = path("key.pem", client_key.serialize_pem());

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![server.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(server_key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let served = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await
                && stream.get_ref().1.peer_certificates().is_some()
            {
                request(&mut stream).await;
                act(stream, say("200 OK", "")).await;
                break;
            }
        }
    });

    let open = |auth: Auth, ca: Option<std::path::PathBuf>| {
        let config = Config { auth, ca, ..config(&address) };
        FhirRest::open("north", &config, clock()).unwrap()
    };
    let stranger = open(Auth::None, Some(ca.clone())).deliver(&item(&["a"])).await.verdict;
    assert!(matches!(stranger, Verdict::Retry { .. }), "without a certificate nothing is delivered");
    let known = open(Auth::ClientCertificate { cert, key }, Some(ca)).deliver(&item(&["a"])).await.verdict;
    assert_eq!(known, Verdict::Acknowledged);
    served.await.unwrap();
}
