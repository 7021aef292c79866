//! The signed assertion with which a client asks for a token: RFC 7523 `private_key_jwt` as SMART App Launch
//! 2.2 (Backend Services, "Asymmetric Authentication") narrows it.
//!
//! Order matters: the claimed client id selects the registration, the registration gives key and algorithm,
//! the signature is checked, and only then are the claims judged. The one thing that cannot be decided here is
//! replay: the caller must record `(client, jti)` until [`Assertion::expires_ms`] and answer a second one with
//! [`Denied::Replayed`], in a store that all nodes share and that survives a restart.

use serde::Deserialize;
use serde_json::Value;

use super::Denied;
use super::client::Client;
use super::jose::{Compact, LEEWAY_MS, NumericDate, decode};

/// The fixed `client_assertion_type` of RFC 7523 §2.2.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// SMART 2.2: "exp … SHALL be no more than five minutes in the future".
const MAX_AHEAD_MS: i64 = 300_000;

const MAX_LENGTH: usize = 8192;

/// An assertion whose signature and claims hold.
#[derive(Clone, Debug)]
pub struct Assertion {
    pub client: Client,
    pub jti: String,
    /// Until when the pair of client and jti must be remembered: `exp` and the clock leeway.
    pub expires_ms: i64,
}

/// Unknown members are ignored (RFC 7515 §4), save those that would bring a key or change the processing.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    b64: Option<Value>,
    jku: Option<Value>,
    jwk: Option<Value>,
    x5u: Option<Value>,
    x5c: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    /// Widespread JWT libraries always write a list, so a list of one is read as that one. A longer list is
    /// refused even if we are in it: such an assertion would work at somebody else's door too.
    fn only(&self) -> Option<&str> {
        match self {
            Audience::One(only) => Some(only),
            Audience::Many(list) => match list.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        }
    }
}

/// The client id that an assertion claims, unverified: for rate limits and audit, never for access.
pub fn peek(assertion: &str) -> Result<String, Denied> {
    let parts = Compact::split(assertion, MAX_LENGTH)?;
    let claims: Claims = decode(parts.payload, "claims")?;
    claims.iss.filter(|id| (1..=128).contains(&id.len())).ok_or(Denied::Malformed { part: "iss" })
}

/// Checks an assertion against the registered client that it names.
pub fn verify(
    assertion: &str,
    client: impl Fn(&str) -> Option<Client>,
    audiences: &[&str],
    now_ms: i64,
) -> Result<Assertion, Denied> {
    let parts = Compact::split(assertion, MAX_LENGTH)?;
    let header: Header = decode(parts.header, "header")?;
    check_header(&header)?;
    let claims: Claims = decode(parts.payload, "claims")?;
    let id = claims.iss.as_deref().ok_or(Denied::Malformed { part: "iss" })?;
    let client = client(id).filter(|client| client.id == id).ok_or(Denied::Unknown)?;
    let kid = header.kid.as_deref().ok_or(Denied::Malformed { part: "kid" })?;
    let key = client.keys.iter().find(|key| key.kid == kid).ok_or(Denied::KeyUnknown)?;
    if header.alg != key.alg() {
        return Err(Denied::Algorithm);
    }
    if !key.verifies(parts.signature, parts.signed) {
        return Err(Denied::Signature);
    }
    // After the signature, so that only the client itself learns that it is blocked.
    if client.suspended {
        return Err(Denied::Suspended);
    }
    if claims.sub.as_deref() != Some(id) {
        return Err(Denied::Subject);
    }
    let audience = claims.aud.as_ref().and_then(Audience::only).ok_or(Denied::Audience)?;
    if !audiences.contains(&audience) {
        return Err(Denied::Audience);
    }
    let expires_ms = check_times(&claims, now_ms)?;
    let jti = claims.jti.filter(|jti| (1..=256).contains(&jti.len())).ok_or(Denied::Malformed { part: "jti" })?;
    Ok(Assertion { client, jti, expires_ms })
}

fn check_header(header: &Header) -> Result<(), Denied> {
    if !header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT")) {
        return Err(Denied::Malformed { part: "typ" });
    }
    // RFC 7515 §4.1.11: an extension that is not understood and critical refuses the whole; none is understood.
    if header.crit.is_some() || header.b64.is_some() {
        return Err(Denied::Malformed { part: "crit" });
    }
    // SMART 2.2: jku only if it equals the registered URL, and none is registered.
    if header.jku.is_some() || header.jwk.is_some() || header.x5u.is_some() || header.x5c.is_some() {
        return Err(Denied::Malformed { part: "key in header" });
    }
    Ok(())
}

/// Judges exp, nbf and iat; gives the end of the replay window.
fn check_times(claims: &Claims, now_ms: i64) -> Result<i64, Denied> {
    let millis = |date: Option<NumericDate>, part: &'static str| match date {
        None => Ok(None),
        Some(date) => date.millis().map(Some).ok_or(Denied::Malformed { part }),
    };
    let exp = millis(claims.exp, "exp")?.ok_or(Denied::Malformed { part: "exp" })?;
    if exp.saturating_add(LEEWAY_MS) <= now_ms {
        return Err(Denied::Expired);
    }
    if exp > now_ms.saturating_add(MAX_AHEAD_MS + LEEWAY_MS) {
        return Err(Denied::TooLongLived);
    }
    for (date, part) in [(claims.nbf, "nbf"), (claims.iat, "iat")] {
        match millis(date, part)? {
            Some(time) if time > now_ms.saturating_add(LEEWAY_MS) => return Err(Denied::NotYetValid),
            Some(time) if time > exp => return Err(Denied::Malformed { part }),
            _ => {}
        }
    }
    Ok(exp + LEEWAY_MS)
}
