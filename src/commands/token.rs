//! `token`: sign in as a registered client and print the access token, for curl and scripts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{Source, assemble, runtime};
use crate::config::Config;
use crate::policy::access::assertion::ASSERTION_TYPE;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// Client id.
    #[arg(long)]
    client: String,
    /// Its private key (PEM, P-384).
    #[arg(long)]
    key: PathBuf,
    /// Id of the key.
    #[arg(long, default_value = "key-1")]
    kid: String,
    /// Token endpoint; that of the configured gateway where none is named.
    #[arg(long)]
    url: Option<String>,
    /// Certificate (PEM) to trust, e.g. data/tls-certificate.pem; the configured gateway's own where no endpoint is named.
    #[arg(long)]
    cacert: Option<PathBuf>,
    /// Scopes, if fewer than the client is registered for.
    #[arg(long)]
    scope: Option<String>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let pem = std::fs::read(&options.key).with_context(|| format!("reading {}", options.key.display()))?;
    let (url, cacert) = match &options.url {
        Some(url) => (url.clone(), options.cacert.clone()),
        None => match assemble::configured(&options.source) {
            Ok(config) => {
                (config.base_url.replace("/fhir", "/auth/token"), options.cacert.clone().or_else(|| own(&config)))
            }
            Err(code) => return Ok(code),
        },
    };
    let http = http(cacert.as_deref())?;
    let asked =
        Asked { url: &url, client: &options.client, kid: &options.kid, pem: &pem, scope: options.scope.as_deref() };
    let fetched = runtime()?.block_on(fetch(&http, &asked));
    let token = fetched.map_err(|error| hinted(error, cacert.is_none()))?;
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}

/// The certificate that a gateway made for itself, where it serves with that.
fn own(config: &Config) -> Option<PathBuf> {
    let made = config.data.join("tls-certificate.pem");
    (config.tls.is_none() && made.exists()).then_some(made)
}

/// A certificate that nobody vouches for is mostly the one that a gateway made for itself.
fn hinted(error: anyhow::Error, only_system: bool) -> anyhow::Error {
    let is_untrusted = format!("{error:#}").to_lowercase().contains("certificate");
    if only_system && is_untrusted {
        let hint = "this machine does not trust the gateway's certificate; one that it made for itself lies in its \
                    data directory: --cacert data/tls-certificate.pem";
        return error.context(hint);
    }
    error
}

/// An HTTP client that trusts one certificate more.
pub fn http(cacert: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    if let Some(path) = cacert {
        let pem = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        builder = builder.tls_certs_only([reqwest::Certificate::from_pem(&pem)?]);
    }
    Ok(builder.build()?)
}

/// What a token request is made of.
pub struct Asked<'a> {
    pub url: &'a str,
    pub client: &'a str,
    pub kid: &'a str,
    pub pem: &'a [u8],
    pub scope: Option<&'a str>,
}

/// The proof that we are the client: a statement signed with its key, good for four minutes and one use.
pub fn assertion(asked: &Asked<'_>) -> anyhow::Result<String> {
    let key = EncodingKey::from_ec_pem(asked.pem).context("the key is no P-384 private key in PEM")?;
    let now = jiff::Timestamp::now().as_second();
    let mut jti = [0; 16];
    (super::entropy())(&mut jti);
    let jti: String = jti.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut header = Header::new(Algorithm::ES384);
    header.kid = Some(asked.kid.to_owned());
    let claims =
        json!({"iss": asked.client, "sub": asked.client, "aud": asked.url, "jti": jti, "iat": now, "exp": now + 240});
    Ok(jsonwebtoken::encode(&header, &claims, &key)?)
}

/// One token.
pub async fn fetch(http: &reqwest::Client, asked: &Asked<'_>) -> anyhow::Result<String> {
    let assertion = assertion(asked)?;
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion.as_str()),
    ];
    form.extend(asked.scope.map(|scope| ("scope", scope)));
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let response = http
        .post(asked.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .with_context(|| format!("asking {}", asked.url))?;
    let status = response.status();
    let answer: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
    match answer["access_token"].as_str() {
        Some(token) if status.is_success() => Ok(token.to_owned()),
        _ => anyhow::bail!(
            "no token: {status} {} {}",
            answer["error"].as_str().unwrap_or_default(),
            answer["error_description"].as_str().unwrap_or_default()
        ),
    }
}
