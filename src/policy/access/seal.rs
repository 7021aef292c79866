//! What this installation signs for others to keep: a compact JWS by Ed25519 (RFC 7515, RFC 8037), which anybody believes
//! by the published key alone, without asking us again.
//!
//! The header is one that we write, and whoever verifies compares it with the key and chooses nothing by it. What is signed
//! is not known here.

use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde_json::{Value, json};

use super::Denied;
use super::jose::{Compact, decode, encode};

/// PKCS #8 (RFC 8410 §7) before the 32 bytes of an Ed25519 key.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Longest text that is verified.
const MAX_LENGTH: usize = 65_536;

/// The key of an installation.
pub struct Seal {
    key: EncodingKey,
    public: Jwk,
    kid: String,
}

impl Seal {
    /// From a secret of the installation; nothing where the library does not take it.
    pub fn new(seed: &[u8; 32]) -> Option<Seal> {
        let key = EncodingKey::from_ed_der(&[&PKCS8[..], &seed[..]].concat());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA).ok()?;
        let kid = public.thumbprint(ThumbprintHash::SHA256).ok()?;
        public.common.key_id = Some(kid.clone());
        Some(Seal { key, public, kid })
    }

    /// What is published: a JWK Set.
    pub fn keys(&self) -> Value {
        let set = JwkSet { keys: vec![self.public.clone()] };
        serde_json::to_value(set).unwrap_or(Value::Null)
    }

    /// Claims, signed; nothing where the library fails.
    pub fn sign(&self, kind: &str, claims: &Value) -> Option<String> {
        let header = json!({"alg": "EdDSA", "typ": kind, "kid": self.kid});
        let mut text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = crypto::sign(text.as_bytes(), &self.key, Algorithm::EdDSA).ok()?;
        text.push('.');
        text.push_str(&signature);
        Some(text)
    }
}

/// The claims of a text that a key of the set has signed.
pub fn verify(text: &str, kind: &str, keys: &Value) -> Result<Value, Denied> {
    let parts = Compact::split(text.trim(), MAX_LENGTH)?;
    let header: Value = decode(parts.header, "header")?;
    if header["alg"] != "EdDSA" || header["typ"] != kind {
        return Err(Denied::Algorithm);
    }
    let set: JwkSet = serde_json::from_value(keys.clone()).map_err(|_| Denied::Malformed { part: "key set" })?;
    let key = header["kid"].as_str().and_then(|kid| set.find(kid)).ok_or(Denied::KeyUnknown)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| Denied::Malformed { part: "key set" })?;
    let holds = crypto::verify(parts.signature, parts.signed.as_bytes(), &key, Algorithm::EdDSA);
    if holds.unwrap_or(false) { decode(parts.payload, "payload") } else { Err(Denied::Signature) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, the first of its keys.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];

    #[test]
    fn the_published_key_alone_proves_it() {
        let seal = Seal::new(&SEED).unwrap();
        let keys = seal.keys();
        let key = &keys["keys"][0];
        assert_eq!((key["kty"].as_str(), key["crv"].as_str()), (Some("OKP"), Some("Ed25519")));
        // RFC 8037 appendix A.2 and A.3: the public half, and its thumbprint.
        assert_eq!(key["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(key["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert!(key.get("d").is_none());
        let claims = json!({"sub": "Patient/1"});
        let signed = seal.sign("receipt+jwt", &claims).unwrap();
        assert_eq!(verify(&signed, "receipt+jwt", &keys).unwrap(), claims);
        assert_eq!(verify(&signed, "at+jwt", &keys).unwrap_err(), Denied::Algorithm);
        let other = Seal::new(&[7; 32]).unwrap().keys();
        assert_eq!(verify(&signed, "receipt+jwt", &other).unwrap_err(), Denied::KeyUnknown);
        let (head, rest) = signed.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let forged = format!("{head}.{}.{signature}", encode(br#"{"sub":"Patient/2"}"#));
        assert_eq!(verify(&forged, "receipt+jwt", &keys).unwrap_err(), Denied::Signature);
        let none = format!("{}.{rest}", encode(br#"{"alg":"none","typ":"receipt+jwt"}"#));
        assert_eq!(verify(&none, "receipt+jwt", &keys).unwrap_err(), Denied::Algorithm);
    }
}
