//! By which signed statements a client proves itself, and by which it does not.

use proptest::prelude::*;

use super::super::Denied;
use super::super::assertion::{peek, verify};
use super::super::client::Client;
use super::*;

const TOKEN_URL: &str = "https://gateway.example/token";

fn find(id: &str) -> Option<Client> {
    let mut client = acme();
    client.id = id.to_owned();
    match id {
        "acme" => Some(client),
        "blocked" => Some(Client { suspended: true, ..client }),
        "other" => {
            let (keys, _) = super::super::key::parse_set(&json!([jwk(&ec(keys::EC_B), Algorithm::ES384, "ec-1")]));
            Some(Client { keys, ..client })
        }
        _ => None,
    }
}

fn header(patch: &Value) -> String {
    patched(json!({"alg": "ES384", "kid": "ec-1", "typ": "JWT"}), patch)
}

fn claims(patch: &Value) -> String {
    let claims = json!({"iss": "acme", "sub": "acme", "aud": TOKEN_URL, "exp": NOW + 240, "iat": NOW, "jti": "j-1"});
    patched(claims, patch)
}

/// Merges; null removes.
fn patched(mut base: Value, patch: &Value) -> String {
    let object = base.as_object_mut().unwrap();
    for (name, value) in patch.as_object().unwrap() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    base.to_string()
}

fn signed(header_patch: &Value, claims_patch: &Value) -> String {
    jws(&header(header_patch), &claims(claims_patch), &ec(keys::EC_A), Algorithm::ES384)
}

#[expect(clippy::needless_pass_by_value, reason = "tables give their expectation away")]
fn check(name: &str, assertion: &str, expected: Result<(), Denied>) {
    let found = verify(assertion, find, &[TOKEN_URL, "https://gateway.example/oauth/token"], NOW_MS);
    assert_eq!(found.map(|_| ()), expected, "{name}");
}

#[test]
fn genuine_assertions_pass() {
    let none = json!({});
    for (name, header_patch, claims_patch) in [
        ("plain", none.clone(), none.clone()),
        ("typ in lower case", json!({"typ": "jwt"}), none.clone()),
        ("other header member", json!({"x-vendor": 1}), none.clone()),
        ("second token URL", none.clone(), json!({"aud": "https://gateway.example/oauth/token"})),
        ("list of one audience", none.clone(), json!({"aud": [TOKEN_URL]})),
        ("no iat", none.clone(), json!({"iat": null})),
        ("nbf now", none.clone(), json!({"nbf": NOW})),
        ("clock ahead by leeway", none.clone(), json!({"iat": NOW + 10, "nbf": NOW + 10, "exp": NOW + 310})),
        ("just expired, within leeway", none.clone(), json!({"iat": NOW - 300, "exp": NOW - 9})),
        ("fractional exp", none.clone(), json!({"exp": NOW as f64 + 100.5})),
        ("jti of 256", none.clone(), json!({"jti": "j".repeat(256)})),
        ("private claims", none.clone(), json!({"vendor": {"a": [1, 2]}})),
    ] {
        check(name, &signed(&header_patch, &claims_patch), Ok(()));
    }
    let rs =
        jws(&header(&json!({"alg": "RS384", "kid": "rsa-1"})), &claims(&none), &rsa(keys::RSA_A), Algorithm::RS384);
    check("RSA", &rs, Ok(()));
    let found = verify(&rs, find, &[TOKEN_URL], NOW_MS).unwrap();
    assert_eq!((found.client.id.as_str(), found.jti.as_str(), found.expires_ms), ("acme", "j-1", NOW_MS + 250_000));
}

#[test]
fn hostile_headers_and_claims_are_refused() {
    let malformed = |part| Denied::Malformed { part };
    let none = json!({});
    let headers = [
        ("alg none, still signed", json!({"alg": "none"}), Denied::Algorithm),
        ("alg in lower case", json!({"alg": "es384"}), Denied::Algorithm),
        ("alg ES256", json!({"alg": "ES256"}), Denied::Algorithm),
        ("alg PS384", json!({"alg": "PS384"}), Denied::Algorithm),
        ("alg missing", json!({"alg": null}), malformed("header")),
        ("alg a number", json!({"alg": 384}), malformed("header")),
        ("kid missing", json!({"kid": null}), malformed("kid")),
        ("kid unknown", json!({"kid": "ec-2"}), Denied::KeyUnknown),
        ("kid in other case", json!({"kid": "EC-1"}), Denied::KeyUnknown),
        ("kid a path", json!({"kid": "../../etc/passwd"}), Denied::KeyUnknown),
        ("kid of a key of another kind", json!({"kid": "rsa-1"}), Denied::Algorithm),
        ("kid and alg of a key of another kind", json!({"kid": "rsa-1", "alg": "RS384"}), Denied::Signature),
        ("kid a number", json!({"kid": 1}), malformed("header")),
        ("typ missing", json!({"typ": null}), malformed("typ")),
        ("typ of an access token", json!({"typ": "at+jwt"}), malformed("typ")),
        ("crit", json!({"crit": ["exp"]}), malformed("crit")),
        ("crit b64", json!({"b64": false, "crit": ["b64"]}), malformed("crit")),
        ("jku", json!({"jku": "https://evil.example/jwks"}), malformed("key in header")),
        ("jwk", json!({"jwk": jwk(&ec(keys::EC_B), Algorithm::ES384, "ec-1")}), malformed("key in header")),
        ("x5u", json!({"x5u": "https://evil.example/c"}), malformed("key in header")),
        ("x5c", json!({"x5c": ["MIIB"]}), malformed("key in header")),
    ];
    for (name, patch, expected) in headers {
        check(name, &signed(&patch, &none), Err(expected));
    }
    let claims = [
        ("iss missing", json!({"iss": null}), malformed("iss")),
        ("iss a list", json!({"iss": ["acme"]}), malformed("claims")),
        ("iss unknown", json!({"iss": "nobody", "sub": "nobody"}), Denied::Unknown),
        ("iss with trailing space", json!({"iss": "acme ", "sub": "acme "}), Denied::Unknown),
        ("iss of a client with other keys", json!({"iss": "other", "sub": "other"}), Denied::Signature),
        ("suspended client", json!({"iss": "blocked", "sub": "blocked"}), Denied::Suspended),
        ("sub missing", json!({"sub": null}), Denied::Subject),
        ("sub of another", json!({"sub": "other"}), Denied::Subject),
        ("aud missing", json!({"aud": null}), Denied::Audience),
        ("aud empty list", json!({"aud": []}), Denied::Audience),
        ("aud foreign", json!({"aud": "https://evil.example/token"}), Denied::Audience),
        ("aud the base only", json!({"aud": "https://gateway.example"}), Denied::Audience),
        ("aud with slash", json!({"aud": format!("{TOKEN_URL}/")}), Denied::Audience),
        ("aud ours and another", json!({"aud": [TOKEN_URL, "https://evil.example/token"]}), Denied::Audience),
        ("aud ours twice", json!({"aud": [TOKEN_URL, TOKEN_URL]}), Denied::Audience),
        ("aud an object", json!({"aud": {"url": TOKEN_URL}}), malformed("claims")),
        ("exp missing", json!({"exp": null}), malformed("exp")),
        ("exp a string", json!({"exp": (NOW + 60).to_string()}), malformed("claims")),
        ("exp negative", json!({"exp": -1}), malformed("exp")),
        ("exp in milliseconds", json!({"exp": NOW_MS + 60_000}), malformed("exp")),
        ("exp huge", json!({"exp": 1e300}), malformed("exp")),
        ("exp past", json!({"iat": NOW - 300, "exp": NOW - 10}), Denied::Expired),
        ("exp too far", json!({"exp": NOW + 311}), Denied::TooLongLived),
        ("exp a year ahead", json!({"exp": NOW + 31_536_000}), Denied::TooLongLived),
        ("nbf ahead", json!({"nbf": NOW + 11}), Denied::NotYetValid),
        ("nbf a string", json!({"nbf": "now"}), malformed("claims")),
        ("nbf after exp", json!({"exp": NOW - 5, "iat": NOW - 300, "nbf": NOW}), malformed("nbf")),
        ("iat ahead", json!({"iat": NOW + 60}), Denied::NotYetValid),
        ("iat negative", json!({"iat": -5}), malformed("iat")),
        ("jti missing", json!({"jti": null}), malformed("jti")),
        ("jti empty", json!({"jti": ""}), malformed("jti")),
        ("jti too long", json!({"jti": "j".repeat(257)}), malformed("jti")),
        ("jti a number", json!({"jti": 7}), malformed("claims")),
    ];
    for (name, patch, expected) in claims {
        check(name, &signed(&none, &patch), Err(expected));
    }
}

#[test]
fn hostile_forms_are_refused() {
    let malformed = |part| Denied::Malformed { part };
    let none = json!({});
    let good = signed(&none, &none);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let key = ec(keys::EC_A);
    let public_as_secret = EncodingKey::from_secret(acme().keys[0].document().to_string().as_bytes());
    let mut flipped = signature.to_owned().into_bytes();
    flipped[20] = if flipped[20] == b'A' { b'B' } else { b'A' };
    let duplicate = header(&none).replacen('{', "{\"alg\":\"none\",", 1);
    let cases = [
        ("nothing", String::new(), Denied::Missing),
        ("no dots", "abc".to_owned(), malformed("compact form")),
        ("signature cut off", format!("{message}."), malformed("compact form")),
        ("two parts", message.to_owned(), malformed("compact form")),
        ("four parts", format!("{good}.x"), malformed("compact form")),
        ("trailing newline", format!("{good}\n"), Denied::Signature),
        ("leading space", format!(" {good}"), malformed("header")),
        ("padding", format!("{good}="), Denied::Signature),
        ("signature of zeros", format!("{message}.{}", encode(&[0; 96])), Denied::Signature),
        ("signature of DER form", format!("{message}.{}", encode(&[0x30, 0x64, 0x02, 0x30])), Denied::Signature),
        ("signature flipped", format!("{message}.{}", String::from_utf8(flipped).unwrap()), Denied::Signature),
        (
            "claims swapped",
            format!("{head}.{}.{signature}", encode(claims(&json!({"jti": "j-2"})).as_bytes())),
            Denied::Signature,
        ),
        (
            "header swapped",
            format!("{}.{body}.{signature}", encode(header(&json!({"x": 1})).as_bytes())),
            Denied::Signature,
        ),
        (
            "key of another client",
            jws(&header(&none), &claims(&none), &ec(keys::EC_B), Algorithm::ES384),
            Denied::Signature,
        ),
        (
            "HS384 with the public key as secret",
            jws(&header(&json!({"alg": "HS384"})), &claims(&none), &public_as_secret, Algorithm::HS384),
            Denied::Algorithm,
        ),
        (
            "HS256 under the name of ES384",
            jws(&header(&none), &claims(&none), &public_as_secret, Algorithm::HS256),
            Denied::Signature,
        ),
        (
            "RS256 by the registered RSA key",
            jws(&header(&json!({"alg": "RS256", "kid": "rsa-1"})), &claims(&none), &rsa(keys::RSA_A), Algorithm::RS256),
            Denied::Algorithm,
        ),
        (
            "RS256 under the name of RS384",
            jws(&header(&json!({"alg": "RS384", "kid": "rsa-1"})), &claims(&none), &rsa(keys::RSA_A), Algorithm::RS256),
            Denied::Signature,
        ),
        ("repeated alg", jws(&duplicate, &claims(&none), &key, Algorithm::ES384), malformed("header")),
        (
            "repeated iss",
            jws(&header(&none), &claims(&none).replacen('{', "{\"iss\":\"other\",", 1), &key, Algorithm::ES384),
            malformed("claims"),
        ),
        (
            "garbage after the claims",
            jws(&header(&none), &format!("{}{{}}", claims(&none)), &key, Algorithm::ES384),
            malformed("claims"),
        ),
        ("claims a list", jws(&header(&none), "[]", &key, Algorithm::ES384), malformed("claims")),
        ("claims not UTF-8", format!("{head}.{}.{signature}", encode(&[0xFF, 0xFE])), malformed("claims")),
        ("header not JSON", jws("ES384", &claims(&none), &key, Algorithm::ES384), malformed("header")),
        ("too long", signed(&none, &json!({"pad": "x".repeat(8192)})), malformed("length")),
    ];
    for (name, assertion, expected) in cases {
        check(name, &assertion, Err(expected));
    }
}

#[test]
fn lookup_must_answer_for_the_id_asked() {
    let assertion = signed(&json!({}), &json!({"iss": "someone", "sub": "someone"}));
    assert_eq!(verify(&assertion, |_| Some(acme()), &[TOKEN_URL], NOW_MS).map(|_| ()), Err(Denied::Unknown));
}

#[test]
fn peek_gives_the_claimed_id_and_no_more() {
    assert_eq!(peek(&signed(&json!({}), &json!({"iss": "nobody"}))), Ok("nobody".to_owned()));
    assert_eq!(peek(&signed(&json!({}), &json!({"iss": "x".repeat(129)}))), Err(Denied::Malformed { part: "iss" }));
    assert_eq!(peek("a.b.c"), Err(Denied::Malformed { part: "claims" }));
    assert_eq!(peek(""), Err(Denied::Missing));
}

#[test]
fn refusals_speak_oauth_and_hide_what_exists() {
    for (denied, code) in [
        (Denied::Missing, "invalid_request"),
        (Denied::Request { reason: "scope is missing" }, "invalid_request"),
        (Denied::GrantType, "unsupported_grant_type"),
        (Denied::Replayed, "invalid_client"),
        (Denied::Unknown, "invalid_client"),
        (Denied::Scope { needed: "system/Patient.r".into() }, "invalid_scope"),
    ] {
        assert_eq!(denied.oauth_error(), code, "{denied}");
    }
    let texts = [Denied::Unknown, Denied::KeyUnknown, Denied::Signature].map(|denied| denied.oauth_description());
    assert!(texts.iter().all(|text| *text == texts[0]));
    let ids = [Denied::Missing, Denied::Signature, Denied::Scope { needed: String::new() }]
        .map(|denied| denied.issue().id.code());
    assert_eq!(ids, ["login-required", "token-invalid", "scope-insufficient"]);
}

proptest! {
    #[test]
    fn no_text_is_an_assertion_or_panics(text in "\\PC{0,80}", parts in "[A-Za-z0-9_-]{0,60}(\\.[A-Za-z0-9_-]{0,60}){0,3}") {
        for text in [text, parts] {
            prop_assert!(verify(&text, find, &[TOKEN_URL], NOW_MS).is_err());
            let _ = peek(&text);
        }
    }

    #[test]
    fn no_json_passes_unsigned(claims in "\\{(\"(iss|sub|aud|exp|jti)\":(1|\"acme\"|null|\\[\\]),){0,4}\"x\":1\\}") {
        let none = json!({});
        let forged = jws(&header(&none), &claims, &ec(keys::EC_B), Algorithm::ES384);
        prop_assert!(verify(&forged, find, &[TOKEN_URL], NOW_MS).is_err());
    }
}
