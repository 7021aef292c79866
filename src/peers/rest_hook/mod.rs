//! The addresses that subscribers want to be called at.
//!
//! Unlike a destination, which the operator has named, an endpoint is whatever a client wrote down. It is called at
//! addresses that `address` allows, over TLS, never through a proxy, without following redirects, and bounded as a whole
//! in time and in size. Of its answer only the status counts; the text is not even kept.

mod address;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

pub use address::{Mistake, Network, ResolveError};

use self::address::{Resolver, Rules};
use super::Verdict;

/// What an operator says about calling subscribers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks that may be called though they are not the public internet, such as `10.20.0.0/16`.
    pub networks: Vec<String>,
    /// Whether endpoints on this very machine may be called, and then by plain http as well.
    pub loopback: bool,
    /// PEM file of the only certificate authorities to trust for endpoints; the system's if absent.
    pub ca: Option<PathBuf>,
}

impl Config {
    /// Everything that is wrong, with the key it stands under.
    pub fn mistakes(&self) -> Vec<String> {
        let wrong = |network: &&String| network.parse::<Network>().is_err();
        self.networks
            .iter()
            .filter(wrong)
            .map(|_| "networks: each is an address, a slash and a length, such as 10.20.0.0/16".to_owned())
            .collect()
    }
}

/// One call.
pub struct Call<'a> {
    pub endpoint: &'a str,
    /// The client's own.
    pub headers: &'a [(String, String)],
    pub content_type: &'a str,
    pub body: String,
    pub timeout: Duration,
}

/// Why hooks cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    File { path: PathBuf, source: std::io::Error },
    Client(reqwest::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::File { path, .. } => write!(formatter, "{} cannot be read", path.display()),
            OpenError::Client(_) => formatter.write_str("certificates for endpoints are not usable"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::File { source, .. } => Some(source),
            OpenError::Client(source) => Some(source),
        }
    }
}

/// Longest time until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest answer that is read, so that the connection can be used again.
const ANSWER_BYTES: usize = 64 * 1024;

/// Longest wait that an endpoint may ask for.
const MAX_RETRY_AFTER_S: u32 = 3600;

/// Whoever calls subscribers.
pub struct RestHook {
    client: reqwest::Client,
    rules: Rules,
}

impl RestHook {
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        let allowed = config.networks.iter().filter_map(|network| network.parse().ok()).collect();
        let rules = Rules { allowed, loopback: config.loopback };
        let mut builder = super::client()
            .dns_resolver(std::sync::Arc::new(Resolver(rules.clone())))
            .pool_max_idle_per_host(2)
            .connect_timeout(CONNECT);
        if let Some(path) = &config.ca {
            let pem = std::fs::read(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(OpenError::Client)?;
            builder = builder.tls_certs_only(roots);
        }
        Ok(RestHook { client: builder.build().map_err(OpenError::Client)?, rules })
    }

    /// Whether an endpoint may be called, as far as its text says.
    pub fn acceptable(&self, endpoint: &str) -> Result<(), Mistake> {
        self.rules.endpoint(endpoint).map(drop)
    }

    /// Whether its name leads where it may be called. One that leads nowhere is answered as one that leads inside: no stranger
    /// learns by it which names there are in our network.
    pub async fn leads_outside(&self, endpoint: &str) -> bool {
        let Ok(url) = self.rules.endpoint(endpoint) else { return false };
        match url.host() {
            Some(url::Host::Domain(name)) => {
                self.rules.resolved(name, url.port_or_known_default().unwrap_or(443)).await.is_ok()
            }
            _ => true,
        }
    }

    /// Calls an endpoint once.
    pub async fn call(&self, call: Call<'_>) -> Verdict {
        let unreached = |reason: &str| Verdict::Unreached { reason: reason.to_owned() };
        let Ok(url) = self.rules.endpoint(call.endpoint) else {
            return unreached("the address may not be called");
        };
        let mut headers = HeaderMap::new();
        for (name, value) in call.headers {
            if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        // Ours comes last: what is sent is what it says it is.
        if let Ok(value) = HeaderValue::try_from(call.content_type) {
            headers.insert(reqwest::header::CONTENT_TYPE, value);
        }
        let request = self.client.post(url).headers(headers).body(call.body);
        tokio::time::timeout(call.timeout, answered(request))
            .await
            .unwrap_or(Verdict::Retry { after_ms: None, reason: "the endpoint did not answer in time".to_owned() })
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Verdict {
    let retry = |reason: String| Verdict::Retry { after_ms: None, reason };
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => {
            return Verdict::Unreached { reason: "no connection to the endpoint".to_owned() };
        }
        Err(_) => return retry("the endpoint's answer was broken or incomplete".to_owned()),
    };
    let status = response.status().as_u16();
    let after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let after_ms = after.map(|seconds: u32| i64::from(seconds.min(MAX_RETRY_AFTER_S)) * 1000);
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_BYTES {
            break;
        }
    }
    match status {
        200..=299 => Verdict::Acknowledged,
        300..=399 => retry(format!("HTTP {status}: the endpoint redirects, and redirects are not followed")),
        408 | 425 | 429 | 500..=599 => Verdict::Retry { after_ms, reason: format!("HTTP {status}") },
        _ => Verdict::Rejected { reason: format!("HTTP {status}") },
    }
}
