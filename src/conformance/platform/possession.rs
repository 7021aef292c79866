//! Proofs of possession (RFC 9449 §4.3), checked as a resource server and a token endpoint do, with a nonce of our own.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

const SKEW_SECONDS: i64 = 60;

/// Proofs that were seen, and the nonce that each has to name.
pub(super) struct Possession {
    nonce: String,
    seen: Mutex<HashSet<String>>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: i64,
    ath: Option<String>,
    nonce: Option<String>,
}

/// Why a proof is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doubt {
    /// It does not name our nonce, which the answer tells.
    Nonce,
    Invalid,
}

impl Possession {
    pub(super) fn new(nonce: String) -> Self {
        Possession { nonce, seen: Mutex::default() }
    }

    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The thumbprint of the key that proved itself, for this request and, where one is shown, this token.
    pub(super) fn proved(
        &self,
        proof: Option<&str>,
        (method, url): (&str, &str),
        token: Option<&str>,
        second: i64,
    ) -> Result<String, Doubt> {
        let proof = proof.ok_or(Doubt::Invalid)?;
        let header = jsonwebtoken::decode_header(proof).map_err(|_| Doubt::Invalid)?;
        let key = header.jwk.filter(|_| header.typ.as_deref() == Some("dpop+jwt")).ok_or(Doubt::Invalid)?;
        if header.alg != Algorithm::ES256 {
            return Err(Doubt::Invalid);
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let public = DecodingKey::from_jwk(&key).map_err(|_| Doubt::Invalid)?;
        let claims = jsonwebtoken::decode::<Claims>(proof, &public, &validation).map_err(|_| Doubt::Invalid)?.claims;
        let hash = |token: &str| {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
            URL_SAFE_NO_PAD.encode(hash.as_ref())
        };
        let fits = claims.htm == method
            && claims.htu == url
            && (claims.iat - second).abs() <= SKEW_SECONDS
            && claims.ath == token.map(hash);
        if !fits {
            return Err(Doubt::Invalid);
        }
        if claims.nonce.as_deref() != Some(&self.nonce) {
            return Err(Doubt::Nonce);
        }
        if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(claims.jti) {
            return Err(Doubt::Invalid);
        }
        key.thumbprint(ThumbprintHash::SHA256).map_err(|_| Doubt::Invalid)
    }
}
