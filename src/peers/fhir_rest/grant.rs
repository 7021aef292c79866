//! The token endpoint of a destination's authorization server: who we are there, what is asked for, what is granted.
//!
//! The gateway proves itself by an assertion signed with its ES384 key (RFC 7523, as SMART and HelseID want it), by a secret
//! (RFC 6749 §2.3.1) or by its certificate alone (RFC 8705). Key and secret are read anew for each request, so that a new
//! file counts from the next token on. Nothing of an answer's text is repeated but its error code.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::classify::is_code;
use super::config::address;
use super::proof::Proof;
use super::send::{Failure, OpenError, Sender, file};
use crate::peers::Clock;

/// The longest life that SMART allows an assertion.
const ASSERTION_SECONDS: i64 = 300;

/// How the gateway shows who it is.
#[derive(Clone, Debug)]
pub(super) enum Identification {
    /// An assertion, by the key of a PEM file, under an id or else the key's own thumbprint (RFC 7638).
    Key {
        path: PathBuf,
        kid: Option<String>,
    },
    Secret {
        path: PathBuf,
    },
    /// The connection's certificate says it, or nothing does (a public client with PKCE).
    Connection,
}

pub(super) struct TokenServer {
    url: Url,
    /// The address as it was agreed, letter by letter: servers compare it as text.
    audience: String,
    client_id: String,
    identification: Identification,
    proof: Option<Arc<Proof>>,
    clock: Clock,
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

/// What was granted. Never printed.
#[derive(Deserialize)]
pub(super) struct Granted {
    pub access_token: String,
    token_type: String,
    pub expires_in: Option<i64>,
    pub refresh_token: Option<String>,
    pub refresh_expires_in: Option<i64>,
    pub scope: Option<String>,
    pub id_token: Option<String>,
    /// What else the server said, such as SMART's `patient`.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Why there is no token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Denied {
    /// The error code of the answer (RFC 6749 §5.2), if there was one.
    pub code: String,
    reason: String,
}

impl Denied {
    fn because(reason: impl fmt::Display) -> Self {
        Denied { code: String::new(), reason: reason.to_string() }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no access token: {}", self.reason)
    }
}

impl TokenServer {
    pub(super) fn open(
        (token_url, client_id): (&str, &str),
        identification: Identification,
        proof: Option<Arc<Proof>>,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let server = TokenServer {
            url: address(token_url).map_err(OpenError::Config)?,
            audience: token_url.to_owned(),
            client_id: client_id.to_owned(),
            identification,
            proof,
            clock,
        };
        // A key of another curve, or a file that is not there, would fail at the first delivery; it fails here instead.
        match &server.identification {
            Identification::Key { path, kid } => {
                let signed = server.assertion(&file(path)?, kid.as_deref(), (server.clock)());
                signed.map_err(|source| OpenError::Key { path: path.clone(), source }).map(drop)?;
            }
            Identification::Secret { path } => drop(file(path)?),
            Identification::Connection => {}
        }
        Ok(server)
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Asks for a token.
    pub(super) async fn grant(&self, sender: &Sender, asked: &[(&str, &str)]) -> Result<Granted, Denied> {
        let body = self.call(sender, &self.url, asked, &[200]).await?;
        let granted: Granted =
            serde_json::from_slice(&body).map_err(|_| Denied::because("the token endpoint's answer cannot be read"))?;
        let kind = if self.proof.is_some() { "dpop" } else { "bearer" };
        let usable = granted.token_type.eq_ignore_ascii_case(kind)
            && !granted.access_token.is_empty()
            && granted.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        if usable {
            Ok(granted)
        } else {
            Err(Denied::because(format_args!("the token endpoint granted no {kind} token")))
        }
    }

    /// Tells another endpoint of the same server something, as the client that we are there.
    pub(super) async fn call(
        &self,
        sender: &Sender,
        url: &Url,
        asked: &[(&str, &str)],
        well: &[u16],
    ) -> Result<Vec<u8>, Denied> {
        let (form, authorization) = self.identified(asked)?;
        let mut again = true;
        loop {
            let proof = self.proof.as_ref().and_then(|proof| proof.of(&reqwest::Method::POST, url, None));
            let answer = sender.form(url, form.clone(), authorization.as_deref(), proof.as_deref()).await;
            let answer = answer.map_err(|failure: Failure| Denied::because(failure))?;
            if self.proof.as_ref().is_some_and(|proof| proof.heard(url, &answer)) && again {
                again = false;
                continue;
            }
            if well.contains(&answer.status) {
                return Ok(answer.body);
            }
            let refused = serde_json::from_slice::<Refused>(&answer.body).ok();
            let code = refused.map(|refused| refused.error).filter(|code| is_code(code)).unwrap_or_default();
            let reason = format!("HTTP {} {code}", answer.status).trim_end().to_owned();
            return Err(Denied { code, reason });
        }
    }

    /// What is asked, and who asks.
    fn identified(&self, asked: &[(&str, &str)]) -> Result<(String, Option<String>), Denied> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(asked);
        let mut authorization = None;
        match &self.identification {
            Identification::Key { path, kid } => {
                let unsigned = || Denied::because("the client assertion could not be signed");
                let key = file(path).map_err(|_| unsigned())?;
                let assertion = self.assertion(&key, kid.as_deref(), (self.clock)()).map_err(|_| unsigned())?;
                form.append_pair("client_id", &self.client_id)
                    .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .append_pair("client_assertion", &assertion);
            }
            Identification::Secret { path } => {
                let secret = file(path).map_err(|_| Denied::because("the client secret could not be read"))?;
                let secret = String::from_utf8_lossy(&secret);
                // Both are form-encoded first (RFC 6749 §2.3.1).
                let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(&self.client_id), encoded(secret.trim_end()));
                authorization = Some(format!("Basic {}", STANDARD.encode(pair)));
            }
            Identification::Connection => drop(form.append_pair("client_id", &self.client_id)),
        }
        Ok((form.finish(), authorization))
    }

    fn assertion(&self, pem: &[u8], kid: Option<&str>, now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
        let key = EncodingKey::from_ec_pem(pem)?;
        let mut header = Header::new(Algorithm::ES384);
        header.kid = Some(match kid {
            Some(kid) => kid.to_owned(),
            None => Jwk::from_encoding_key(&key, Algorithm::ES384)?.thumbprint(ThumbprintHash::SHA256)?,
        });
        let issued = now.as_second();
        let claims = Assertion {
            iss: &self.client_id,
            sub: &self.client_id,
            aud: &self.audience,
            jti: random(),
            iat: issued,
            exp: issued + ASSERTION_SECONDS,
        };
        jsonwebtoken::encode(&header, &claims, &key)
    }
}

/// What nobody can guess.
fn random() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system has random bytes");
    URL_SAFE_NO_PAD.encode(random)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    hash
}
