//! One exchange with a destination: bounded in time and size as a whole, no redirects, no retries underneath.
//!
//! Nothing of an answer's text leaves this folder: a foreign body may repeat what was sent.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::config::Config;
use super::token::Access;
use super::translate::Request;
use crate::peers::Trace;

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why a destination cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    Config(String),
    File { path: PathBuf, source: std::io::Error },
    Key { path: PathBuf, source: jsonwebtoken::errors::Error },
    Client(reqwest::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Config(mistake) => write!(formatter, "the destination's configuration is wrong: {mistake}"),
            OpenError::File { path, .. } => write!(formatter, "{} cannot be read", path.display()),
            OpenError::Key { path, .. } => write!(formatter, "{} holds no P-384 key in PKCS #8", path.display()),
            OpenError::Client(_) => formatter.write_str("certificates or keys of the destination are not usable"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Config(_) => None,
            OpenError::File { source, .. } => Some(source),
            OpenError::Key { source, .. } => Some(source),
            OpenError::Client(source) => Some(source),
        }
    }
}

/// Why there is no answer. Whether the request arrived is unknown in every case but the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    Connect,
    Timeout,
    Broken,
    TooLong,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Failure::Connect => "no connection to the destination",
            Failure::Timeout => "the destination did not answer in time",
            Failure::Broken => "the destination's answer was broken or incomplete",
            Failure::TooLong => "the destination's answer was longer than 1 MiB",
        })
    }
}

/// A complete answer.
pub(in crate::peers) struct Answer {
    pub status: u16,
    /// What the server wants to see in the next proof of possession.
    pub nonce: Option<String>,
    pub retry_after: Option<String>,
    /// Where what was created stands, by the destination's word.
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// What calls, under a trace or under none.
#[derive(Clone)]
pub(super) struct Sender {
    caller: Arc<Caller>,
    trace: Option<Arc<Trace>>,
}

struct Caller {
    config: Config,
    client: Mutex<(reqwest::Client, Vec<Option<SystemTime>>)>,
    timeout: Duration,
}

impl Sender {
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let client = Mutex::new((client(config)?, stamps(config)));
        let timeout = Duration::from_millis(config.timeout_ms);
        Ok(Sender { caller: Arc::new(Caller { config: config.clone(), client, timeout }), trace: None })
    }

    /// The same, of which every request is of that trace.
    pub(super) fn traced(&self, trace: Option<&Arc<Trace>>) -> Sender {
        Sender { caller: self.caller.clone(), trace: trace.cloned() }
    }

    /// What calls, with the certificates as they lie in their files now. Files that cannot be used leave what there was.
    fn client(&self) -> reqwest::Client {
        let config = &self.caller.config;
        let stamps = stamps(config);
        let mut known = self.caller.client.lock().unwrap_or_else(PoisonError::into_inner);
        if known.1 != stamps {
            match client(config) {
                Ok(client) => *known = (client, stamps),
                Err(error) => {
                    tracing::warn!(%error, "new certificates or keys of a destination are not used");
                    known.1 = stamps;
                }
            }
        }
        known.0.clone()
    }

    pub(super) async fn send(
        &self,
        request: &Request,
        request_id: &str,
        access: Option<&Access>,
    ) -> Result<Answer, Failure> {
        let mut builder = self
            .client()
            .request(request.method.clone(), request.url.clone())
            .header("Accept", "application/fhir+json");
        // A question changes nothing and has no content.
        if request.method != reqwest::Method::GET {
            builder = builder
                .header("Content-Type", if request.xml { "application/fhir+xml" } else { "application/fhir+json" })
                .header("Prefer", "return=minimal")
                .header("Idempotency-Key", &request.idempotency_key)
                .body(request.body.clone());
        }
        if let Some(condition) = &request.condition {
            // Without it, what is there would be there twice.
            let condition = reqwest::header::HeaderValue::from_str(condition).map_err(|_| Failure::Broken)?;
            builder = builder.header("If-None-Exist", condition);
        }
        // The id is the client's own word and may not fit a header; the delivery must not fail for it.
        if let Ok(request_id) = reqwest::header::HeaderValue::from_str(request_id) {
            builder = builder.header("X-Request-Id", request_id);
        }
        self.allowed(builder, (&request.method, &request.url), access).await
    }

    pub(super) async fn post(
        &self,
        url: &reqwest::Url,
        body: Vec<u8>,
        access: Option<&Access>,
    ) -> Result<Answer, Failure> {
        let builder = self
            .client()
            .post(url.clone())
            .header("Content-Type", "application/fhir+json")
            .header("Accept", "application/fhir+json")
            .body(body);
        self.allowed(builder, (&reqwest::Method::POST, url), access).await
    }

    /// Shows a token, and what proves that it is ours. A server that wants its own nonce in the proof has done nothing yet.
    async fn allowed(
        &self,
        builder: reqwest::RequestBuilder,
        (method, url): (&reqwest::Method, &reqwest::Url),
        access: Option<&Access>,
    ) -> Result<Answer, Failure> {
        let Some(access) = access else { return self.exchange(builder).await };
        let Some(proof) = &access.proof else { return self.exchange(builder.bearer_auth(access.reveal())).await };
        let mut again = true;
        loop {
            let (Some(next), Some(shown)) = (builder.try_clone(), proof.of(method, url, Some(access.reveal()))) else {
                return Err(Failure::Broken);
            };
            let next = next.header("Authorization", sensitive(&format!("DPoP {}", access.reveal()))?);
            let answer = self.exchange(next.header("DPoP", shown)).await?;
            if !(proof.heard(url, &answer) && answer.status == 401 && again) {
                return Ok(answer);
            }
            again = false;
        }
    }

    pub(super) async fn form(
        &self,
        url: &reqwest::Url,
        body: String,
        authorization: Option<&str>,
        proof: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut builder = self
            .client()
            .post(url.clone())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Accept", "application/json")
            .body(body);
        if let Some(authorization) = authorization {
            builder = builder.header("Authorization", sensitive(authorization)?);
        }
        if let Some(proof) = proof {
            builder = builder.header("DPoP", proof);
        }
        self.exchange(builder).await
    }

    /// A document of the server, such as its keys.
    pub(super) async fn document(&self, url: &reqwest::Url) -> Result<Answer, Failure> {
        self.exchange(self.client().get(url.clone()).header("Accept", "application/json")).await
    }

    /// The time limit spans everything, so that an answer that drips byte by byte ends too.
    async fn exchange(&self, builder: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let builder = match &self.trace {
            Some(trace) => builder.header("traceparent", trace.parent()),
            None => builder,
        };
        tokio::time::timeout(self.caller.timeout, read(builder)).await.unwrap_or(Err(Failure::Timeout))
    }
}

async fn read(builder: reqwest::RequestBuilder) -> Result<Answer, Failure> {
    let mut response = builder.send().await.map_err(|error| failure(&error))?;
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, nonce, location) = (header("Retry-After"), header("DPoP-Nonce"), header("Location"));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, nonce, retry_after, location, body })
}

fn sensitive(text: &str) -> Result<reqwest::header::HeaderValue, Failure> {
    let mut value = reqwest::header::HeaderValue::from_str(text).map_err(|_| Failure::Broken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(config: &Config) -> Result<reqwest::Client, OpenError> {
    let mut builder = crate::peers::client().connect_timeout(Duration::from_millis(config.connect_timeout_ms));
    if let Some(path) = &config.ca {
        let roots = reqwest::Certificate::from_pem_bundle(&file(path)?).map_err(OpenError::Client)?;
        builder = builder.tls_certs_only(roots);
    }
    if let Some((cert, key)) = config.auth.certificate() {
        let mut pem = file(cert)?;
        pem.push(b'\n');
        pem.extend(file(key)?);
        builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(OpenError::Client)?);
    }
    builder.build().map_err(OpenError::Client)
}

/// When the files were written that a connection is made with.
fn stamps(config: &Config) -> Vec<Option<SystemTime>> {
    let (cert, key) = config.auth.certificate().unzip();
    let files = [config.ca.as_ref(), cert, key].into_iter().flatten();
    files.map(|path| std::fs::metadata(path).and_then(|about| about.modified()).ok()).collect()
}

fn failure(error: &reqwest::Error) -> Failure {
    if error.is_connect() {
        Failure::Connect
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        Failure::Broken
    }
}

pub(super) fn file(path: &std::path::Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(path).map_err(|source| OpenError::File { path: path.to_owned(), source })
}
