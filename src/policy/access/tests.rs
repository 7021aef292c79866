//! Fixtures of the access tests: one registered client with an EC and an RSA key, one foreign client.

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::client::Client;
use super::jose::encode;

mod assertions;
mod clients;
mod keys;
mod scopes;
mod tokens;

const NOW_MS: i64 = 1_780_000_000_000;
const NOW: i64 = NOW_MS / 1000;

fn ec(pem: &str) -> EncodingKey {
    EncodingKey::from_ec_pem(pem.as_bytes()).unwrap()
}

fn rsa(pem: &str) -> EncodingKey {
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

/// The public JWK of a test key.
fn jwk(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

fn registration() -> Value {
    json!({
        "id": "acme", "name": "Acme Band", "actor": "Organization/acme",
        "keys": {"keys": [
            jwk(&ec(keys::EC_A), Algorithm::ES384, "ec-1"),
            jwk(&rsa(keys::RSA_A), Algorithm::RS384, "rsa-1"),
        ]},
        "scopes": "system/Observation.cruds system/Patient.rs", "purposes": ["TREAT", "HRESCH"],
    })
}

fn acme() -> Client {
    Client::parse(&registration().to_string()).unwrap()
}

/// A compact JWS over any header and claims, well-formed or not.
fn jws(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}
