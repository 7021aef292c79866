//! SMART Backend Services: an access token for an assertion signed with our ES384 key (SMART App Launch 2.0,
//! "Client Authentication: Asymmetric").
//!
//! The token is kept until shortly before it expires. No lock is held while it is fetched: two deliveries may
//! fetch at once, which is harmless, while a lock across the network would queue them all behind a slow server.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::classify::is_code;
use super::config::{Credentials, address};
use super::send::{OpenError, Sender, file};
use crate::peers::Clock;

/// A token is renewed this long before it expires, so that it does not expire under way.
const MARGIN_SECONDS: i64 = 30;

/// The longest life that SMART allows an assertion.
const ASSERTION_SECONDS: i64 = 300;

/// An access token. Never printed.
#[derive(Clone)]
pub(super) struct Bearer(String);

impl Bearer {
    /// For the Authorization header and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

pub(super) struct Source {
    url: reqwest::Url,
    /// The address as it was agreed, letter by letter: servers compare it as text.
    audience: String,
    client_id: String,
    scope: String,
    header: Header,
    key: EncodingKey,
    clock: Clock,
    cached: Mutex<Option<(Bearer, Timestamp)>>,
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

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: Option<i64>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Source {
    pub(super) fn open(credentials: &Credentials, clock: Clock) -> Result<Self, OpenError> {
        let path = &credentials.private_key_pem;
        let key =
            EncodingKey::from_ec_pem(&file(path)?).map_err(|source| OpenError::Key { path: path.clone(), source })?;
        let mut header = Header::new(Algorithm::ES384);
        header.kid = Some(credentials.kid.clone());
        let source = Source {
            url: address(&credentials.token_url).map_err(OpenError::Config)?,
            audience: credentials.token_url.clone(),
            client_id: credentials.client_id.clone(),
            scope: credentials.scope.clone(),
            header,
            key,
            clock,
            cached: Mutex::new(None),
        };
        // A key of another curve would fail at the first delivery; it fails here instead.
        source.assertion((source.clock)()).map_err(|source| OpenError::Key { path: path.clone(), source })?;
        Ok(source)
    }

    /// The cached token, or a new one. `renew` says that the cached one was refused. The error is the reason of a
    /// retry: whatever the token server says, it says nothing about the resource.
    pub(super) async fn bearer(&self, sender: &Sender, renew: bool) -> Result<Bearer, String> {
        let now = (self.clock)();
        if !renew && let Some(bearer) = self.cached(now) {
            return Ok(bearer);
        }
        let assertion = self.assertion(now).map_err(|_| "the client assertion could not be signed".to_owned())?;
        let answer = sender
            .form(&self.url, self.form(&assertion))
            .await
            .map_err(|failure| format!("no access token: {failure}"))?;
        if answer.status != 200 {
            let refused = serde_json::from_slice::<Refused>(&answer.body).ok();
            let code = refused.map(|refused| refused.error).filter(|code| is_code(code)).unwrap_or_default();
            return Err(format!("no access token: HTTP {} {code}", answer.status).trim_end().to_owned());
        }
        let granted: Granted = serde_json::from_slice(&answer.body)
            .map_err(|_| "no access token: the token endpoint's answer cannot be read".to_owned())?;
        let usable = granted.token_type.eq_ignore_ascii_case("bearer")
            && !granted.access_token.is_empty()
            && granted.access_token.bytes().all(|byte| byte.is_ascii_graphic());
        if !usable {
            return Err("no access token: the token endpoint granted no bearer token".to_owned());
        }
        let bearer = Bearer(granted.access_token);
        let life = granted.expires_in.unwrap_or(60).clamp(0, 86_400);
        let until = now + jiff::SignedDuration::from_secs(life - MARGIN_SECONDS);
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some((bearer.clone(), until));
        Ok(bearer)
    }

    fn cached(&self, now: Timestamp) -> Option<Bearer> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|(_, until)| now < *until).map(|(bearer, _)| bearer.clone())
    }

    fn assertion(&self, now: Timestamp) -> Result<String, jsonwebtoken::errors::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the operating system has random bytes");
        let issued = now.as_second();
        let claims = Assertion {
            iss: &self.client_id,
            sub: &self.client_id,
            aud: &self.audience,
            jti: URL_SAFE_NO_PAD.encode(random),
            iat: issued,
            exp: issued + ASSERTION_SECONDS,
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
    }

    fn form(&self, assertion: &str) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials")
            .append_pair("scope", &self.scope)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", assertion);
        form.finish()
    }
}
