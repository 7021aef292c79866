//! Public keys of a client, from its JWK Set (RFC 7517): EC P-384 for ES384, RSA of 2048 to 4096 bits for RS384.
//!
//! The algorithm belongs to the registered key; what a token claims about itself is compared with it and never
//! chosen from. A key set with private or symmetric members is refused whole: whoever sends one has given the
//! secret away, and must make a new key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// One registered public key.
#[derive(Clone)]
pub struct Jwk {
    pub kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
    /// The public members, for storing and showing.
    document: Value,
}

/// A key set larger than this is a mistake, not a rotation.
pub const MAX_KEYS: usize = 50;

const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Jwk {
    /// The JWA name that the header of an assertion must carry.
    pub fn alg(&self) -> &'static str {
        if self.algorithm == Algorithm::ES384 { "ES384" } else { "RS384" }
    }

    /// The key as a JWK with public members only.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether `signature` (base64url) is this key's over `signed`.
    pub(super) fn verifies(&self, signature: &str, signed: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, self.algorithm).unwrap_or(false)
    }

    fn parse(jwk: &Map<String, Value>) -> Result<Jwk, &'static str> {
        if SECRET_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return Err("has private or symmetric key material; register the public key only, of a new pair");
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let kid =
            text("kid").filter(|kid| (1..=256).contains(&kid.len())).ok_or("has no kid of 1 to 256 characters")?;
        if jwk.contains_key("use") && text("use") != Some("sig") {
            return Err("is not for signatures (use)");
        }
        if let Some(operations) = jwk.get("key_ops") {
            let listed = operations.as_array().is_some_and(|list| list.iter().any(|operation| operation == "verify"));
            if !listed {
                return Err("is not for verifying (key_ops)");
            }
        }
        let (algorithm, key, members) = match text("kty") {
            Some("EC") => ec_key(text("crv"), text("x"), text("y"))?,
            Some("RSA") => rsa_key(text("n"), text("e"))?,
            _ => return Err("is neither EC nor RSA"),
        };
        let alg = if algorithm == Algorithm::ES384 { "ES384" } else { "RS384" };
        if jwk.contains_key("alg") && text("alg") != Some(alg) {
            return Err("has an alg other than ES384 (EC) or RS384 (RSA)");
        }
        let mut document = Map::new();
        document.insert("kid".to_owned(), kid.into());
        document.insert("alg".to_owned(), alg.into());
        for name in members {
            document.insert((*name).to_owned(), jwk[*name].clone());
        }
        Ok(Jwk { kid: kid.to_owned(), algorithm, key, document: Value::Object(document) })
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Jwk").field("kid", &self.kid).field("alg", &self.alg()).finish_non_exhaustive()
    }
}

type Parsed = (Algorithm, DecodingKey, &'static [&'static str]);

fn ec_key(curve: Option<&str>, x: Option<&str>, y: Option<&str>) -> Result<Parsed, &'static str> {
    if curve != Some("P-384") {
        return Err("is not on the curve P-384");
    }
    // RFC 7518 §6.2.1.2: coordinates have the full length of the field, 48 octets here.
    let coordinate = |text: Option<&str>| text.and_then(decode).filter(|bytes| bytes.len() == 48);
    let (Some(x), Some(y)) = (coordinate(x), coordinate(y)) else {
        return Err("has no x and y of 48 octets in base64url");
    };
    let point = [&[0x04][..], &x, &y].concat();
    Ok((Algorithm::ES384, DecodingKey::from_ec_der(&point), &["kty", "crv", "x", "y"]))
}

fn rsa_key(modulus: Option<&str>, exponent: Option<&str>) -> Result<Parsed, &'static str> {
    let (Some(n), Some(e)) = (modulus.and_then(decode), exponent.and_then(decode)) else {
        return Err("has no n and e in base64url");
    };
    let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(2048..=4096).contains(&bits) {
        return Err("is not of 2048 to 4096 bits");
    }
    // An even modulus or a tiny exponent is no RSA key that anything sound would make (NIST SP 800-56B §6.2).
    let value = e.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if e.len() > 4 || value < 65_537 || value % 2 == 0 || n.last().is_none_or(|last| last % 2 == 0) {
        return Err("has an exponent below 65537 or an even modulus");
    }
    Ok((Algorithm::RS384, DecodingKey::from_rsa_raw_components(n, &e), &["kty", "n", "e"]))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Reads a JWK Set, `{"keys": […]}` or its bare list; the second part says what is wrong, key by key.
pub fn parse_set(set: &Value) -> (Vec<Jwk>, Vec<String>) {
    let Some(list) = set.get("keys").unwrap_or(set).as_array() else {
        return (Vec::new(), vec!["keys: is not a JWK Set".to_owned()]);
    };
    if list.is_empty() || list.len() > MAX_KEYS {
        return (Vec::new(), vec![format!("keys: has not 1 to {MAX_KEYS} keys")]);
    }
    let mut keys: Vec<Jwk> = Vec::new();
    let mut mistakes = Vec::new();
    for (index, jwk) in list.iter().enumerate() {
        match jwk.as_object().ok_or("is not a JWK").and_then(Jwk::parse) {
            Ok(key) if keys.iter().any(|other| other.kid == key.kid) => {
                mistakes.push(format!("keys[{index}]: repeats the kid of another key"));
            }
            Ok(key) => keys.push(key),
            Err(mistake) => mistakes.push(format!("keys[{index}]: {mistake}")),
        }
    }
    (keys, mistakes)
}
