//! The outer form of a compact JWS (RFC 7515 §7.1), read strictly: three parts, unpadded base64url without
//! stray bits, JSON objects without repeated members. One way to write a token means one token to revoke.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Denied;

/// Allowed difference between the caller's clock and ours.
pub(super) const LEEWAY_MS: i64 = 10_000;

/// A compact JWS cut into its parts, nothing of it believed yet.
pub(super) struct Compact<'a> {
    pub header: &'a str,
    pub payload: &'a str,
    pub signature: &'a str,
    /// What the signature covers: header, dot, payload.
    pub signed: &'a str,
}

impl<'a> Compact<'a> {
    pub fn split(text: &'a str, limit: usize) -> Result<Compact<'a>, Denied> {
        if text.is_empty() {
            return Err(Denied::Missing);
        }
        if text.len() > limit {
            return Err(Denied::Malformed { part: "length" });
        }
        let malformed = Denied::Malformed { part: "compact form" };
        let Some((signed, signature)) = text.rsplit_once('.') else { return Err(malformed) };
        let Some((header, payload)) = signed.split_once('.') else { return Err(malformed) };
        if payload.contains('.') || header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(malformed);
        }
        Ok(Compact { header, payload, signature, signed })
    }
}

pub(super) fn decode<T: DeserializeOwned>(part: &str, name: &'static str) -> Result<T, Denied> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Denied::Malformed { part: name })?;
    serde_json::from_slice(&bytes).map_err(|_| Denied::Malformed { part: name })
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// RFC 7519 NumericDate: seconds, possibly with a fraction, never a string.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(super) struct NumericDate(f64);

impl NumericDate {
    /// Milliseconds since 1970; None outside the years 1970 to 9999.
    pub fn millis(self) -> Option<i64> {
        (self.0.is_finite() && (0.0..253_402_300_800.0).contains(&self.0)).then_some((self.0 * 1000.0) as i64)
    }
}
