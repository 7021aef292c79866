//! One exchange with a destination: bounded in time and size as a whole, no redirects, no retries underneath.
//!
//! Nothing of an answer's text leaves this folder: a foreign body may repeat what was sent.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::config::{Auth, Config};
use super::token::Bearer;
use super::translate::Request;

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
    pub retry_after: Option<String>,
    /// Where what was created stands, by the destination's word.
    pub location: Option<String>,
    pub body: Vec<u8>,
}

pub(super) struct Sender {
    client: reqwest::Client,
    timeout: Duration,
}

impl Sender {
    pub(super) fn open(config: &Config) -> Result<Self, OpenError> {
        let mut builder = crate::peers::client().connect_timeout(Duration::from_millis(config.connect_timeout_ms));
        if let Some(path) = &config.ca {
            let roots = reqwest::Certificate::from_pem_bundle(&file(path)?).map_err(OpenError::Client)?;
            builder = builder.tls_certs_only(roots);
        }
        if let Auth::ClientCertificate { cert, key } = &config.auth {
            let mut pem = file(cert)?;
            pem.push(b'\n');
            pem.extend(file(key)?);
            builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(OpenError::Client)?);
        }
        let client = builder.build().map_err(OpenError::Client)?;
        Ok(Sender { client, timeout: Duration::from_millis(config.timeout_ms) })
    }

    pub(super) async fn send(
        &self,
        request: &Request,
        request_id: &str,
        bearer: Option<&Bearer>,
    ) -> Result<Answer, Failure> {
        let mut builder = self
            .client
            .request(request.method.clone(), request.url.clone())
            .header("Content-Type", "application/fhir+json")
            .header("Accept", "application/fhir+json")
            .header("Prefer", "return=minimal")
            .header("Idempotency-Key", &request.idempotency_key)
            .body(request.body.clone());
        // The id is the client's own word and may not fit a header; the delivery must not fail for it.
        if let Ok(request_id) = reqwest::header::HeaderValue::from_str(request_id) {
            builder = builder.header("X-Request-Id", request_id);
        }
        if let Some(bearer) = bearer {
            builder = builder.bearer_auth(bearer.reveal());
        }
        self.exchange(builder).await
    }

    pub(super) async fn post(
        &self,
        url: &reqwest::Url,
        body: Vec<u8>,
        bearer: Option<&Bearer>,
    ) -> Result<Answer, Failure> {
        let mut builder = self
            .client
            .post(url.clone())
            .header("Content-Type", "application/fhir+json")
            .header("Accept", "application/fhir+json")
            .body(body);
        if let Some(bearer) = bearer {
            builder = builder.bearer_auth(bearer.reveal());
        }
        self.exchange(builder).await
    }

    pub(super) async fn form(&self, url: &reqwest::Url, body: String) -> Result<Answer, Failure> {
        let builder = self
            .client
            .post(url.clone())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Accept", "application/json")
            .body(body);
        self.exchange(builder).await
    }

    /// The time limit spans everything, so that an answer that drips byte by byte ends too.
    async fn exchange(&self, builder: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        tokio::time::timeout(self.timeout, read(builder)).await.unwrap_or(Err(Failure::Timeout))
    }
}

async fn read(builder: reqwest::RequestBuilder) -> Result<Answer, Failure> {
    let mut response = builder.send().await.map_err(|error| failure(&error))?;
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, location) = (header("Retry-After"), header("Location"));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, retry_after, location, body })
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
