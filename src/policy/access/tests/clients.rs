//! What a registration must say before it counts.

use super::super::key::{Jwk, parse_set};
use super::*;

fn mistakes(patch: &Value) -> Vec<String> {
    let mut registration = registration();
    for (name, value) in patch.as_object().unwrap() {
        if value.is_null() {
            registration.as_object_mut().unwrap().remove(name);
        } else {
            registration[name] = value.clone();
        }
    }
    Client::parse(&registration.to_string()).err().unwrap_or_default()
}

#[test]
fn registration_round_trips() {
    let client = acme();
    let again = Client::parse(&client.document().to_string()).unwrap();
    assert_eq!(client.document(), again.document());
    assert_eq!(client.keys.iter().map(Jwk::alg).collect::<Vec<_>>(), ["ES384", "RS384"]);
    assert!(!client.suspended);
}

#[test]
fn each_mistake_is_named() {
    for (patch, expected) in [
        (json!({"id": null}), "id: "),
        (json!({"id": "a b"}), "id: "),
        (json!({"name": ""}), "name: "),
        (json!({"name": "a\nb"}), "name: "),
        (json!({"actor": "acme"}), "actor: "),
        (json!({"actor": "Observation/1"}), "actor: "),
        (json!({"actor": "Organization/"}), "actor: "),
        (json!({"scopes": ["system/*.rs"]}), "scopes: "),
        (json!({"scopes": ""}), "scopes: "),
        (json!({"scopes": "system/Foo.rs"}), "scopes: scope 1 "),
        (json!({"scopes": "system/Patient.rs patient/Patient.rs"}), "scopes: only system/"),
        (json!({"purposes": []}), "purposes: "),
        (json!({"purposes": ["TREAT", "TREAT"]}), "purposes: "),
        (json!({"suspended": "no"}), "suspended: "),
        (json!({"jwks_url": "https://acme.example/jwks"}), "jwks_url: key sets are not fetched"),
        (json!({"admin": true}), "admin: no such member"),
        (json!({"keys": null}), "keys: is not a JWK Set"),
        (json!({"keys": []}), "keys: has not 1"),
    ] {
        let found = mistakes(&patch);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{patch}: {found:?}");
    }
    let all = mistakes(&json!({"id": "", "actor": "", "scopes": "x", "purposes": [], "keys": [], "x": 1}));
    assert_eq!(all.len(), 6, "{all:?}");
}

#[test]
fn only_strong_public_keys_are_registered() {
    let good = jwk(&ec(keys::EC_A), Algorithm::ES384, "k");
    let strong = jwk(&rsa(keys::RSA_A), Algorithm::RS384, "k");
    let with = |base: &Value, name: &str, value: Value| {
        let mut key = base.clone();
        key[name] = value;
        key
    };
    for (key, expected) in [
        (with(&good, "d", json!("AAAA")), "private"),
        (with(&strong, "p", json!("AAAA")), "private"),
        (json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"}), "private"),
        (with(&good, "kid", json!("")), "kid"),
        (with(&good, "use", json!("enc")), "use"),
        (with(&good, "key_ops", json!(["sign"])), "key_ops"),
        (with(&good, "alg", json!("ES256")), "alg"),
        (with(&strong, "alg", json!("RS256")), "alg"),
        (with(&good, "x", json!("AAAA")), "48 octets"),
        (with(&good, "y", json!("not base64!")), "48 octets"),
        (with(&good, "crv", json!("secp256k1")), "P-384"),
        (jwk(&ec(keys::EC_256), Algorithm::ES256, "k"), "P-384"),
        (with(&strong, "n", json!(encode(&[0xC1; 128]))), "2048"),
        (with(&strong, "n", json!(encode(&[0xC2; 256]))), "modulus"),
        (with(&strong, "e", json!("Aw")), "exponent"),
        (with(&strong, "kty", json!("OKP")), "neither"),
        (json!("key"), "not a JWK"),
    ] {
        let found = mistakes(&json!({"keys": {"keys": [key]}}));
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    }
    let repeated = mistakes(&json!({"keys": [good, strong]}));
    assert_eq!(repeated, ["keys[1]: repeats the kid of another key"]);
}

#[test]
fn scopes_are_granted_whole_or_not() {
    for (asked, expected) in [
        ("system/Observation.rs", "system/Observation.rs"),
        ("system/Observation.read  system/Patient.r", "system/Observation.read system/Patient.r"),
        ("", "invalid_scope"),
        ("system/Observation.rs system/Consent.r", "invalid_scope"),
        ("system/Observation.rs openid", "invalid_scope"),
        ("system/Observation.rrs", "invalid_scope"),
    ] {
        let found =
            acme().grant(asked).map_or_else(|denied| denied.oauth_error().to_owned(), |scopes| scopes.to_string());
        assert_eq!(found, expected, "{asked}");
    }
}

#[test]
fn point_off_the_curve_verifies_nothing() {
    let zeros = encode(&[0; 48]);
    let (keys, mistakes) = parse_set(&json!([{"kty": "EC", "crv": "P-384", "kid": "k", "x": zeros, "y": zeros}]));
    assert!(mistakes.is_empty() && !keys[0].verifies(&encode(&[1; 96]), "a.b"));
}
