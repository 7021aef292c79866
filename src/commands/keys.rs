//! Key pairs for clients: P-384, the private half in a PEM file for its owner, the public half as a JWK.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PublicKeyData};
use serde_json::{Value, json};

use crate::server::tls::write_private;

/// Makes a key pair, writes the private half and answers the public one.
pub fn generate(path: &Path, kid: &str) -> anyhow::Result<Value> {
    let (private, public) = pair(kid)?;
    write_private(path, private.as_bytes())?;
    Ok(public)
}

/// Makes a key pair: the private half as PEM, the public one as a JWK.
pub(super) fn pair(kid: &str) -> anyhow::Result<(String, Value)> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).context("making a key pair")?;
    Ok((pair.serialize_pem(), public(&pair, kid)?))
}

/// Writes the public half of a private key on disk as PEM.
pub fn write_public(private: &Path, public: &Path) -> anyhow::Result<()> {
    let pem = std::fs::read_to_string(private).with_context(|| format!("reading {}", private.display()))?;
    Ok(std::fs::write(public, KeyPair::from_pem(&pem)?.public_key_pem())?)
}

/// RFC 7518 §6.2: the two coordinates of the uncompressed point.
fn public(pair: &KeyPair, kid: &str) -> anyhow::Result<Value> {
    let point = pair.der_bytes();
    let coordinates = point.strip_prefix(&[4]).filter(|coordinates| coordinates.len() == 96);
    let coordinates = coordinates.context("the key is not on the curve P-384")?;
    let (x, y) = coordinates.split_at(48);
    Ok(json!({
        "kty": "EC", "crv": "P-384", "kid": kid, "alg": "ES384", "use": "sig",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }))
}
