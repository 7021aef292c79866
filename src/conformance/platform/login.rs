//! The token endpoint: grants a token for a client assertion that is right in every claim (RFC 7523 §3, SMART Backend
//! Services), of its own, bound to a key, or given by a citizen. Each assertion works once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::citizen::Citizens;
use super::iua::Iua;
use super::possession::{Doubt, Possession};
use super::{Admission, Config};

/// Longest life of an assertion, and how far clocks may differ.
const ASSERTION_SECONDS: i64 = 300;
const SKEW_SECONDS: i64 = 30;

pub(super) struct Login {
    client_id: String,
    kid: String,
    audience: String,
    key: DecodingKey,
    token_seconds: i64,
    pub(super) citizens: Option<Citizens>,
    pub(super) possession: Option<Possession>,
    iua: Option<Iua>,
    seen: Mutex<Seen>,
}

/// What a request shows.
pub(super) struct Shown<'a> {
    pub authorization: Option<&'a str>,
    pub proof: Option<&'a str>,
    pub method: &'a str,
    /// Address without query.
    pub url: String,
}

/// What an access token is bound to.
struct Held {
    until: i64,
    /// Thumbprint of the key that it was given to.
    key: Option<String>,
    /// What the citizen allowed.
    permission: Option<String>,
}

#[derive(Default)]
struct Seen {
    /// Assertion ids with the second at which each may be forgotten.
    assertions: HashMap<String, i64>,
    tokens: HashMap<String, Held>,
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
            citizens: match config.admission {
                Admission::Citizens => Citizens::new(&config.url, &config.client_id),
                Admission::Client | Admission::Possession | Admission::Persons => None,
            },
            possession: match config.admission {
                Admission::Possession => random().map(Possession::new),
                Admission::Client | Admission::Citizens | Admission::Persons => None,
            },
            iua: (config.admission == Admission::Persons).then(|| Iua::new(&config.client_id, &config.url)),
            seen: Mutex::default(),
        })
    }

    /// The token response, or the OAuth error code.
    pub(super) fn grant(&self, body: &[u8], shown: &Shown<'_>, now: Timestamp) -> Result<Value, &'static str> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let kind = field("grant_type");
        let wanted: &[&str] =
            if self.citizens.is_some() { &["authorization_code", "refresh_token"] } else { &["client_credentials"] };
        if !wanted.contains(&kind) {
            return Err("unsupported_grant_type");
        }
        if kind == "client_credentials" && field("scope").is_empty() {
            return Err("invalid_scope");
        }
        let second = now.as_second();
        let key = self.bound(shown, None, second).map_err(|doubt| match doubt {
            Doubt::Nonce => "use_dpop_nonce",
            Doubt::Invalid => "invalid_dpop_proof",
        })?;
        if let Some(iua) = &self.iua {
            let person = iua.person(&form, shown.authorization)?;
            let token = iua.token(&random().ok_or("server_error")?, person.as_deref());
            let life = self.token_seconds.min(super::iua::SECONDS);
            self.seen().tokens.insert(token.clone(), Held { until: second + life, key: None, permission: person });
            let scope = field("scope");
            return Ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": life, "scope": scope}));
        }
        self.identified(&form, second)?;
        let token = random().ok_or("server_error")?;
        let life = self.token_seconds;
        let (permission, answer) = if let Some(citizens) = &self.citizens {
            let allowed = citizens.grant(&form, &token, life, second)?;
            (Some(allowed.permission), allowed.answer)
        } else {
            let (kind, scope) = (if key.is_some() { "DPoP" } else { "bearer" }, field("scope"));
            let answer = json!({"access_token": token, "token_type": kind, "expires_in": life, "scope": scope});
            (None, answer)
        };
        let mut seen = self.seen();
        seen.tokens.retain(|_, held| held.until > second);
        seen.tokens.insert(token, Held { until: second + life, key, permission });
        Ok(answer)
    }

    /// Ends a permission that a citizen gave, for whoever was given it.
    pub(super) fn give_back(&self, body: &[u8], now: Timestamp) -> Result<(), &'static str> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        self.identified(&form, now.as_second())?;
        let token = form.get("token").ok_or("invalid_request")?;
        if let Some(ended) = self.citizens.as_ref().and_then(|citizens| citizens.revoke(token)) {
            self.seen().tokens.retain(|_, held| held.permission.as_ref() != Some(&ended));
        }
        Ok(())
    }

    /// Whether the registered client says who it is, once.
    fn identified(&self, form: &HashMap<String, String>, second: i64) -> Result<(), &'static str> {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
            return Err("invalid_request");
        }
        let claims = self.verified(field("client_assertion"), second).ok_or("invalid_client")?;
        let mut seen = self.seen();
        seen.assertions.retain(|_, until| *until > second);
        match seen.assertions.insert(claims.jti, claims.exp + SKEW_SECONDS) {
            None => Ok(()),
            Some(_) => Err("invalid_client"),
        }
    }

    /// The key that the request proves to have, where that is wanted.
    fn bound(&self, shown: &Shown<'_>, token: Option<&str>, second: i64) -> Result<Option<String>, Doubt> {
        let Some(possession) = &self.possession else { return Ok(None) };
        possession.proved(shown.proof, (shown.method, &shown.url), token, second).map(Some)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Ends every token, and whatever citizens allowed.
    pub(super) fn revoke(&self) {
        self.seen().tokens.clear();
        if let Some(citizens) = &self.citizens {
            citizens.end();
        }
    }

    /// For whose record the token of a request is, where tokens are for persons; the error is that it is for nobody's.
    pub(super) fn person(&self, shown: &Shown<'_>) -> Result<Option<String>, ()> {
        if self.iua.is_none() {
            return Ok(None);
        }
        let token = shown.authorization.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        self.seen().tokens.get(token).and_then(|held| held.permission.clone()).map(Some).ok_or(())
    }

    /// Whether a request shows a token that is alive, and is by whom it was given to.
    pub(super) fn admits(&self, shown: &Shown<'_>, now: Timestamp) -> bool {
        let scheme = if self.possession.is_some() { "DPoP " } else { "Bearer " };
        let Some(token) = shown.authorization.and_then(|text| text.strip_prefix(scheme)) else { return false };
        let Ok(key) = self.bound(shown, Some(token), now.as_second()) else { return false };
        self.seen().tokens.get(token).is_some_and(|held| now.as_second() < held.until && held.key == key)
    }
}

/// What nobody can guess.
pub(super) fn random() -> Option<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).ok()?;
    Some(URL_SAFE_NO_PAD.encode(random))
}
