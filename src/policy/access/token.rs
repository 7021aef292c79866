//! Access tokens that this gateway issues to itself: RFC 9068 in form, HS256 because issuer and reader are one.
//!
//! The header is one constant string, compared whole, so that no header of a stranger is ever interpreted:
//! other algorithms, key ids and types cannot be expressed. A token lives at most 300 s (SMART 2.2 Backend
//! Services), and the standing of its client is asked again at every use, so that suspension works at once.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde::{Deserialize, Serialize};

use super::jose::{Compact, decode, encode};
use super::scope::Scopes;
use super::{Denied, Principal};

/// Longest life of a token, and what `expires_in` of the token answer says at most.
pub const MAX_LIFETIME_S: u32 = 300;

/// Bound on a token's length, so that it fits a header.
pub const MAX_LENGTH: usize = 4096;

/// base64url of `{"typ":"at+jwt","alg":"HS256"}`.
const HEADER: &str = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiJ9";

/// Who issues and who accepts: both are this gateway, and both must match at every use.
#[derive(Clone, Copy, Debug)]
pub struct Realm<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
}

/// What a token is made of.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub client: &'a str,
    pub actor: &'a str,
    pub scopes: &'a Scopes,
    pub purposes: &'a [String],
    /// Fresh random bytes; identify the token in the audit trail.
    pub jti: [u8; 16],
    /// At most [`MAX_LIFETIME_S`]; more is cut.
    pub lifetime_s: u32,
}

/// How a client stands at the moment of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Active,
    Suspended,
    Unknown,
}

#[derive(Serialize)]
struct Written<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    actor: &'a str,
    scope: String,
    purposes: &'a [String],
    iat: i64,
    exp: i64,
    jti: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    actor: String,
    scope: String,
    purposes: Vec<String>,
    iat: i64,
    exp: i64,
    #[serde(rename = "jti")]
    _jti: String,
}

/// Makes a token. Refuses one that would not fit a header.
pub fn issue(facts: &Facts<'_>, realm: Realm<'_>, key: &[u8; 32], now_ms: i64) -> Result<String, Denied> {
    let iat = now_ms.div_euclid(1000);
    let claims = Written {
        iss: realm.issuer,
        aud: realm.audience,
        sub: facts.client,
        client_id: facts.client,
        actor: facts.actor,
        scope: facts.scopes.to_string(),
        purposes: facts.purposes,
        iat,
        exp: iat + i64::from(facts.lifetime_s.min(MAX_LIFETIME_S)),
        jti: encode(&facts.jti),
    };
    let payload = serde_json::to_vec(&claims).expect("strings and numbers always serialize");
    let token = sealed(HEADER, &payload, key);
    if token.len() > MAX_LENGTH {
        return Err(Denied::ScopeInvalid { reason: "the list makes the token longer than 4096 characters".to_owned() });
    }
    Ok(token)
}

/// Reads a token back into the principal that it stands for.
pub fn verify(
    token: &str,
    realm: Realm<'_>,
    key: &[u8; 32],
    standing: impl Fn(&str) -> Standing,
    now_ms: i64,
) -> Result<Principal, Denied> {
    let parts = Compact::split(token, MAX_LENGTH)?;
    genuine(HEADER, &parts, key)?;
    let claims: Claims = decode(parts.payload, "claims")?;
    if claims.iss != realm.issuer || claims.aud != realm.audience || claims.sub != claims.client_id {
        return Err(Denied::Audience);
    }
    let now = now_ms.div_euclid(1000);
    if claims.exp <= now {
        return Err(Denied::Expired);
    }
    // Our own clock wrote iat; it can lie ahead only if the clock was set back, and then exp proves nothing.
    if claims.iat > now + 10 || claims.exp - claims.iat > i64::from(MAX_LIFETIME_S) {
        return Err(Denied::NotYetValid);
    }
    match standing(&claims.client_id) {
        Standing::Active => {}
        Standing::Suspended => return Err(Denied::Suspended),
        Standing::Unknown => return Err(Denied::Unknown),
    }
    Ok(Principal {
        client: Arc::from(claims.client_id),
        actor: Arc::from(claims.actor),
        scopes: Scopes::parse(&claims.scope)?,
        purposes: claims.purposes,
        expires_ms: claims.exp.saturating_mul(1000),
        guide: None,
        deidentified: false,
    })
}

/// A compact JWS with that header.
pub(super) fn sealed(header: &str, payload: &[u8], key: &[u8; 32]) -> String {
    let mut token = format!("{header}.{}", encode(payload));
    let signature = sign(&token, key);
    token.push('.');
    token.push_str(&signature);
    token
}

/// Whether it has that very header and our signature.
pub(super) fn genuine(header: &str, parts: &Compact<'_>, key: &[u8; 32]) -> Result<(), Denied> {
    if parts.header != header {
        return Err(Denied::Algorithm);
    }
    let genuine =
        crypto::verify(parts.signature, parts.signed.as_bytes(), &DecodingKey::from_secret(key), Algorithm::HS256);
    if genuine.unwrap_or(false) { Ok(()) } else { Err(Denied::Signature) }
}

fn sign(text: &str, key: &[u8; 32]) -> String {
    crypto::sign(text.as_bytes(), &EncodingKey::from_secret(key), Algorithm::HS256)
        .expect("HMAC takes any key and any message")
}
