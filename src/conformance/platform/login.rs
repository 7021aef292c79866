//! The token endpoint: grants a bearer token for a client assertion that is right in every claim (RFC 7523 §3,
//! SMART Backend Services). Each assertion works once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::Config;

/// Longest life of an assertion, and how far clocks may differ.
const ASSERTION_SECONDS: i64 = 300;
const SKEW_SECONDS: i64 = 30;

pub(super) struct Login {
    client_id: String,
    kid: String,
    audience: String,
    key: DecodingKey,
    token_seconds: i64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Assertion ids and tokens with the second at which each may be forgotten.
    assertions: HashMap<String, i64>,
    tokens: HashMap<String, i64>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    jti: String,
    exp: i64,
    iat: Option<i64>,
}

impl Login {
    pub(super) fn new(config: &Config) -> Result<Self, jsonwebtoken::errors::Error> {
        Ok(Login {
            client_id: config.client_id.clone(),
            kid: config.kid.clone(),
            audience: format!("{}/token", config.url),
            key: DecodingKey::from_ec_pem(config.public_key_pem.as_bytes())?,
            token_seconds: config.token_seconds,
            seen: Mutex::default(),
        })
    }

    /// The token response, or the OAuth error code.
    pub(super) fn grant(&self, form: &[u8], now: Timestamp) -> Result<serde_json::Value, &'static str> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(form).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("grant_type") != "client_credentials" {
            return Err("unsupported_grant_type");
        }
        if field("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
            return Err("invalid_request");
        }
        if field("scope").is_empty() {
            return Err("invalid_scope");
        }
        let claims = self.verified(field("client_assertion"), now.as_second()).ok_or("invalid_client")?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|_| "server_error")?;
        let token = URL_SAFE_NO_PAD.encode(random);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.as_second();
        seen.assertions.retain(|_, until| *until > second);
        seen.tokens.retain(|_, until| *until > second);
        if seen.assertions.insert(claims.jti, claims.exp + SKEW_SECONDS).is_some() {
            return Err("invalid_client");
        }
        seen.tokens.insert(token.clone(), second + self.token_seconds);
        Ok(serde_json::json!({
            "access_token": token, "token_type": "bearer", "expires_in": self.token_seconds, "scope": field("scope"),
        }))
    }

    fn verified(&self, assertion: &str, second: i64) -> Option<Claims> {
        let header = jsonwebtoken::decode_header(assertion).ok()?;
        if header.kid.as_deref() != Some(&self.kid) {
            return None;
        }
        let mut validation = Validation::new(Algorithm::ES384);
        // Times are checked below against the clock that we were given.
        validation.validate_exp = false;
        validation.set_audience(&[&self.audience]);
        let claims = jsonwebtoken::decode::<Claims>(assertion, &self.key, &validation).ok()?.claims;
        let ours = claims.iss == self.client_id && claims.sub == self.client_id && claims.aud == self.audience;
        let timely = claims.exp > second - SKEW_SECONDS
            && claims.exp <= second + ASSERTION_SECONDS + SKEW_SECONDS
            && claims.iat.is_none_or(|issued| issued <= second + SKEW_SECONDS);
        (ours && timely && matches!(claims.jti.len(), 1..=128)).then_some(claims)
    }

    /// Ends every token.
    pub(super) fn revoke(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).tokens.clear();
    }

    /// Whether an Authorization header carries a token that is alive.
    pub(super) fn admits(&self, authorization: Option<&str>, now: Timestamp) -> bool {
        let Some(token) = authorization.and_then(|text| text.strip_prefix("Bearer ")) else { return false };
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.tokens.get(token).is_some_and(|until| now.as_second() < *until)
    }
}
