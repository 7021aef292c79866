//! Proof of possession (RFC 9449, DPoP): each request shows that whoever sends a token is whoever it was given to.
//!
//! The key is made when the destination is opened, never leaves the process and is known to nobody else; tokens that are
//! bound to it end with it, and new ones are asked for. A server that wants its own nonce in the proof says so in an
//! answer, and the request is made once more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, Url};
use serde::Serialize;

use super::send::{Answer, OpenError};
use crate::peers::Clock;

/// Longest nonce that is repeated to a server.
const NONCE_BYTES: usize = 256;

pub(super) struct Proof {
    key: EncodingKey,
    header: Header,
    clock: Clock,
    /// What each server wants to see in the next proof, by its origin.
    nonces: Mutex<HashMap<String, String>>,
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

impl Proof {
    pub(super) fn new(clock: Clock) -> Result<Self, OpenError> {
        let broken = || OpenError::Config("no key for proofs of possession could be made".to_owned());
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| broken())?;
        let der = pair.to_pkcs8v1().map_err(|_| broken())?;
        let key = EncodingKey::from_ec_der(der.as_ref());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).map_err(|_| broken())?;
        // The members that the proof is about and no others (RFC 9449 §4.2).
        public.common = jsonwebtoken::jwk::CommonParameters::default();
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(public);
        Ok(Proof { key, header, clock, nonces: Mutex::default() })
    }

    /// The proof of one request, with the token that it shows if it shows one.
    pub(super) fn of(&self, method: &Method, url: &Url, token: Option<&str>) -> Option<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let mut target = url.clone();
        target.set_query(None);
        target.set_fragment(None);
        let nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = Claims {
            jti: URL_SAFE_NO_PAD.encode(random),
            htm: method.as_str(),
            htu: target.as_str(),
            iat: (self.clock)().as_second(),
            ath: token.map(|token| URL_SAFE_NO_PAD.encode(super::grant::sha256(token.as_bytes()))),
            nonce: nonces.get(&url.origin().ascii_serialization()).cloned(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key).ok()
    }

    /// Remembers the nonce of an answer; whether the request is worth repeating with it.
    pub(super) fn heard(&self, url: &Url, answer: &Answer) -> bool {
        let Some(nonce) = answer.nonce.as_deref().filter(|nonce| (1..=NONCE_BYTES).contains(&nonce.len())) else {
            return false;
        };
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let before = nonces.insert(url.origin().ascii_serialization(), nonce.to_owned());
        matches!(answer.status, 400 | 401) && before.as_deref() != Some(nonce)
    }
}
