//! A person allows a destination to take what is hers from us: OAuth 2.0 authorization code (RFC 6749 §4.1) with PKCE (RFC
//! 7636, S256), if wanted pushed ahead (RFC 9126), refreshed, and given back (RFC 7009).
//!
//! Which person it is, where her tokens lie, and whether she may still be told of anything is not known here. Under which
//! name the destination knows her is taken from what its server signed, or from the token response itself.

use std::fmt;

use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::{Auth, Citizen, Config, IdentitySource, address};
use super::grant::{Denied, Granted, Identification, TokenServer, sha256};
use super::send::{OpenError, Sender};
use super::token::MARGIN_SECONDS;
use crate::peers::Clock;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest name of a person at a destination.
const NAME_BYTES: usize = 256;
/// How far the clocks of an issuer may be off.
const LEEWAY_SECONDS: u64 = 60;

/// The authorization server of a destination, as far as persons go there.
pub struct Linker {
    server: TokenServer,
    sender: Sender,
    authorize: Url,
    revoke: Option<Url>,
    pushed: Option<Url>,
    scope: String,
    identity: Option<IdentitySource>,
    clock: Clock,
}

/// What a link stands on. Kept sealed, never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub access: String,
    /// Until when, in milliseconds since 1970.
    pub access_until_ms: i64,
    pub refresh: Option<String>,
    /// Until when it can be refreshed, where the server says so.
    pub refresh_until_ms: Option<i64>,
    pub scope: String,
}

impl Tokens {
    /// Whether the access token will do for a request now.
    pub fn is_fresh(&self, now_ms: i64) -> bool {
        now_ms + MARGIN_SECONDS * 1000 < self.access_until_ms
    }

    /// When nothing can be sent any more unless the person signs in again; unknown where the server does not say.
    pub fn ends_ms(&self) -> Option<i64> {
        if self.refresh.is_some() { self.refresh_until_ms } else { Some(self.access_until_ms) }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tokens")
    }
}

/// What the person gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    pub tokens: Tokens,
    /// System and value of the name under which the destination knows her.
    pub identity: Option<(String, String)>,
}

/// Why there is no token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The person, or the destination, ended it: only she can begin anew.
    Over(String),
    /// It may be different in a while.
    Trouble(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Ended::Over(reason) | Ended::Trouble(reason)) = self;
        formatter.write_str(reason)
    }
}

impl From<Denied> for Ended {
    fn from(denied: Denied) -> Self {
        // RFC 6749 §5.2: the grant is "invalid, expired, revoked".
        if denied.code == "invalid_grant" {
            Ended::Over(denied.to_string())
        } else {
            Ended::Trouble(denied.to_string())
        }
    }
}

impl Linker {
    /// None where persons' own permission is not how the destination lets us in.
    pub fn open(config: &Config, clock: Clock) -> Result<Option<Self>, OpenError> {
        let Auth::Citizen(citizen) = &config.auth else { return Ok(None) };
        let at = |url: &str| address(url).map_err(OpenError::Config);
        let optional = |url: &Option<String>| url.as_deref().map(at).transpose();
        let server =
            TokenServer::open((&citizen.token_url, &citizen.client_id), identification(citizen), None, clock.clone())?;
        Ok(Some(Linker {
            server,
            sender: Sender::open(config)?,
            authorize: at(&citizen.authorize_url)?,
            revoke: optional(&citizen.revoke_url)?,
            pushed: optional(&citizen.par_url)?,
            scope: citizen.scope.clone(),
            identity: citizen.identity.clone(),
            clock,
        }))
    }

    /// Where the person signs in.
    pub fn host(&self) -> String {
        self.authorize.host_str().unwrap_or_default().to_owned()
    }

    /// Whether its server says under which name it knows her.
    pub fn identifies(&self) -> bool {
        self.identity.is_some()
    }

    /// The address that the person is sent to.
    pub async fn authorization(&self, redirect: &str, state: &str, verifier: &str, nonce: &str) -> Result<Url, Ended> {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
        let mut asked = vec![
            ("response_type", "code"),
            ("redirect_uri", redirect),
            ("scope", &self.scope),
            ("state", state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        if self.identity.as_ref().is_some_and(|identity| identity.claim.is_some()) {
            asked.push(("nonce", nonce));
        }
        let mut url = self.authorize.clone();
        let client = self.server.client_id();
        let Some(pushed) = &self.pushed else {
            url.query_pairs_mut().append_pair("client_id", client).extend_pairs(asked);
            return Ok(url);
        };
        #[derive(Deserialize)]
        struct Pushed {
            request_uri: String,
        }
        let body = self.server.call(&self.sender, pushed, &asked, &[200, 201]).await?;
        let unreadable = || Ended::Trouble("the answer to the pushed request cannot be read".to_owned());
        let Pushed { request_uri } = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        url.query_pairs_mut().append_pair("client_id", client).append_pair("request_uri", &request_uri);
        Ok(url)
    }

    /// What the code that the person came back with stands for.
    pub async fn given(&self, code: &str, redirect: &str, verifier: &str, nonce: &str) -> Result<Given, Ended> {
        let asked = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ];
        let granted = self.server.grant(&self.sender, &asked).await?;
        let identity = match &self.identity {
            Some(source) => Some((source.system.clone(), self.name(source, &granted, nonce).await?)),
            None => None,
        };
        Ok(Given { tokens: self.tokens(granted, None), identity })
    }

    /// New tokens for old ones.
    pub async fn refreshed(&self, tokens: &Tokens) -> Result<Tokens, Ended> {
        let Some(refresh) = &tokens.refresh else {
            return Err(Ended::Over("the permission has ended and cannot be renewed".to_owned()));
        };
        let asked = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
        let granted = self.server.grant(&self.sender, &asked).await?;
        Ok(self.tokens(granted, Some(tokens)))
    }

    /// Gives a permission back; whether the server was told.
    pub async fn revoke(&self, tokens: &Tokens) -> Result<bool, Ended> {
        let Some(revoke) = &self.revoke else { return Ok(false) };
        let (token, hint) = match &tokens.refresh {
            Some(refresh) => (refresh, "refresh_token"),
            None => (&tokens.access, "access_token"),
        };
        self.server.call(&self.sender, revoke, &[("token", token), ("token_type_hint", hint)], &[200, 204]).await?;
        Ok(true)
    }

    fn tokens(&self, granted: Granted, before: Option<&Tokens>) -> Tokens {
        let now_ms = (self.clock)().as_millisecond();
        let after = |seconds: i64| now_ms + seconds.clamp(0, 10 * 366 * 86_400) * 1000;
        let refresh_until_ms = granted.refresh_expires_in.filter(|seconds| *seconds > 0).map(after);
        let rotated = granted.refresh_token.is_some();
        Tokens {
            access: granted.access_token,
            access_until_ms: after(granted.expires_in.unwrap_or(60)),
            // A server that gives no new one goes on with the old one (RFC 6749 §6).
            refresh: granted.refresh_token.or_else(|| before?.refresh.clone()),
            refresh_until_ms: refresh_until_ms.or_else(|| before.filter(|_| !rotated)?.refresh_until_ms),
            scope: granted.scope.or_else(|| Some(before?.scope.clone())).unwrap_or_else(|| self.scope.clone()),
        }
    }

    async fn name(&self, source: &IdentitySource, granted: &Granted, nonce: &str) -> Result<String, Ended> {
        let said = match (&source.claim, &source.member) {
            (Some(claim), _) => self.claims(source, granted.id_token.as_deref(), nonce).await?.get(claim).cloned(),
            (None, Some(member)) => granted.more.get(member).cloned(),
            (None, None) => None,
        };
        match said {
            Some(Value::String(name)) if (1..=NAME_BYTES).contains(&name.len()) => Ok(name),
            _ => Err(Ended::Trouble("the destination did not say under which name it knows the person".to_owned())),
        }
    }

    /// What the issuer says of the person, if it is the issuer who says it, to us, now, in answer to this very question
    /// (OpenID Connect Core 1.0 §3.1.3.7).
    async fn claims(&self, source: &IdentitySource, token: Option<&str>, nonce: &str) -> Result<Value, Ended> {
        let unbelievable = |what: &str| Ended::Trouble(format!("the id token is not believed: {what}"));
        let token = token.ok_or_else(|| unbelievable("there is none"))?;
        let header = jsonwebtoken::decode_header(token).map_err(|_| unbelievable("it cannot be read"))?;
        let asymmetric = [Algorithm::ES256, Algorithm::ES384, Algorithm::RS256, Algorithm::RS384, Algorithm::PS256];
        if !asymmetric.contains(&header.alg) {
            return Err(unbelievable("its algorithm is not taken"));
        }
        let keys = self.keys(source).await?;
        let fits = |key: &&jsonwebtoken::jwk::Jwk| header.kid.is_none() || key.common.key_id == header.kid;
        let now = (self.clock)();
        for key in keys.keys.iter().filter(fits) {
            let Ok(key) = DecodingKey::from_jwk(key) else { continue };
            if let Ok(told) = jsonwebtoken::decode::<Value>(token, &key, &self.validation(source, header.alg)) {
                return timely(&told.claims, now)
                    .then_some(())
                    .and_then(|()| (told.claims["nonce"] == nonce).then_some(told.claims))
                    .ok_or_else(|| unbelievable("it is not of now, or not about this question"));
            }
        }
        Err(unbelievable("no key of the issuer fits, or it is for somebody else"))
    }

    fn validation(&self, source: &IdentitySource, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // Times are checked against the clock that we were given.
        validation.validate_exp = false;
        validation.set_audience(&[self.server.client_id()]);
        validation.set_issuer(&source.issuer.iter().collect::<Vec<_>>());
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    async fn keys(&self, source: &IdentitySource) -> Result<JwkSet, Ended> {
        let trouble = |what: &str| Ended::Trouble(format!("the issuer's keys: {what}"));
        let url = source.jwks_url.as_deref().and_then(|url| address(url).ok());
        let answer = self.sender.document(&url.ok_or_else(|| trouble("no address"))?).await;
        let answer = answer.map_err(|failure| trouble(&failure.to_string()))?;
        if answer.status != 200 {
            return Err(trouble(&format!("HTTP {}", answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|_| trouble("they cannot be read"))
    }
}

fn timely(claims: &Value, now: Timestamp) -> bool {
    let leeway = LEEWAY_SECONDS as i64;
    claims["exp"].as_i64().is_some_and(|exp| now.as_second() < exp + leeway)
        && claims["iat"].as_i64().is_none_or(|iat| iat <= now.as_second() + leeway)
}

fn identification(citizen: &Citizen) -> Identification {
    match (&citizen.private_key_pem, &citizen.secret_file) {
        (Some(path), _) => Identification::Key { path: path.clone(), kid: citizen.kid.clone() },
        (None, Some(path)) => Identification::Secret { path: path.clone() },
        (None, None) => Identification::Connection,
    }
}
