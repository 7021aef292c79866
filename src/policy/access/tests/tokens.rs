//! Our own access tokens: issued, verified, forged.

use super::super::scope::Grant;
use super::super::token::{Facts, MAX_LENGTH, Realm, Standing, issue, verify};
use super::super::{Denied, Interaction, Scopes};
use super::*;

const KEY: [u8; 32] = [7; 32];
const REALM: Realm<'static> = Realm { issuer: "https://gateway.example", audience: "https://gateway.example/fhir" };
const HEADER: &str = r#"{"typ":"at+jwt","alg":"HS256"}"#;

fn standing(client: &str) -> Standing {
    match client {
        "acme" => Standing::Active,
        "blocked" => Standing::Suspended,
        _ => Standing::Unknown,
    }
}

fn token(client: &str, scopes: &str) -> Result<String, Denied> {
    let scopes = Scopes::parse(scopes).unwrap();
    let purposes = ["TREAT".to_owned(), "HRESCH".to_owned()];
    let facts = Facts {
        client,
        actor: "Organization/acme",
        scopes: &scopes,
        purposes: &purposes,
        jti: [1; 16],
        lifetime_s: 900,
    };
    issue(&facts, REALM, &KEY, NOW_MS)
}

fn forged(header: &str, patch: &Value, key: &[u8]) -> String {
    let mut claims = json!({
        "iss": REALM.issuer, "aud": REALM.audience, "sub": "acme", "client_id": "acme", "actor": "Organization/acme",
        "scope": "system/Patient.r", "purposes": [], "iat": NOW, "exp": NOW + 300, "jti": "AQ",
    });
    claims.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
    jws(header, &claims.to_string(), &EncodingKey::from_secret(key), Algorithm::HS256)
}

#[expect(clippy::needless_pass_by_value, reason = "tables give their expectation away")]
fn check(name: &str, token: &str, now_ms: i64, expected: Result<(), Denied>) {
    assert_eq!(verify(token, REALM, &KEY, standing, now_ms).map(|_| ()), expected, "{name}");
}

#[test]
fn issued_token_gives_its_principal_back() {
    let principal = verify(&token("acme", "system/Patient.rs").unwrap(), REALM, &KEY, standing, NOW_MS).unwrap();
    assert_eq!((&*principal.client, &*principal.actor), ("acme", "Organization/acme"));
    assert_eq!(principal.expires_ms, NOW_MS + 300_000, "lifetime is cut to 300 s");
    assert_eq!(principal.permits("Patient", Interaction::Read), Ok(Grant::All));
    let needed = "system/Observation.c".to_owned();
    assert_eq!(principal.permits("Observation", Interaction::Create), Err(Denied::Scope { needed }));
    assert_eq!(principal.purpose(None), Ok("TREAT"));
    assert_eq!(principal.purpose(Some("HRESCH")), Ok("HRESCH"));
    assert_eq!(principal.purpose(Some("HMARKT")), Err(Denied::Purpose));
    assert_eq!(format!("{principal:?}"), "Principal(\"acme\")");
}

#[test]
fn hostile_tokens_are_refused() {
    let good = token("acme", "system/Patient.rs").unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let none = json!({});
    let form = Denied::Malformed { part: "compact form" };
    let claims = Denied::Malformed { part: "claims" };
    let alg_none = format!("{}.{}.", encode(br#"{"alg":"none"}"#), message.split_once('.').unwrap().1);
    let assertion = jws(r#"{"alg":"ES384","kid":"ec-1","typ":"JWT"}"#, "{}", &ec(keys::EC_A), Algorithm::ES384);
    let cases = [
        ("nothing", String::new(), Denied::Missing),
        ("opaque", "c29tZXRoaW5n".to_owned(), form.clone()),
        ("alg none, unsigned", alg_none.clone(), form.clone()),
        ("alg none with a signature", format!("{alg_none}AA"), Denied::Algorithm),
        ("HS384 header", forged(r#"{"typ":"at+jwt","alg":"HS384"}"#, &none, &KEY), Denied::Algorithm),
        ("same header, other order", forged(r#"{"alg":"HS256","typ":"at+jwt"}"#, &none, &KEY), Denied::Algorithm),
        ("typ JWT", forged(r#"{"typ":"JWT","alg":"HS256"}"#, &none, &KEY), Denied::Algorithm),
        ("kid added", forged(r#"{"typ":"at+jwt","alg":"HS256","kid":"/dev/null"}"#, &none, &KEY), Denied::Algorithm),
        ("client assertion as token", assertion, Denied::Algorithm),
        ("empty key", forged(HEADER, &none, b""), Denied::Signature),
        ("other key", forged(HEADER, &none, &[8; 32]), Denied::Signature),
        ("signature cut", format!("{message}.{}", &signature[..42]), Denied::Signature),
        ("trailing garbage", format!("{good}AA"), Denied::Signature),
        ("trailing newline", format!("{good}\n"), Denied::Signature),
        ("fourth part", format!("{good}.AA"), form),
        ("foreign issuer", forged(HEADER, &json!({"iss": "https://evil.example"}), &KEY), Denied::Audience),
        ("foreign audience", forged(HEADER, &json!({"aud": "https://other.example/fhir"}), &KEY), Denied::Audience),
        ("audience list", forged(HEADER, &json!({"aud": [REALM.audience]}), &KEY), claims.clone()),
        ("sub of another", forged(HEADER, &json!({"sub": "other"}), &KEY), Denied::Audience),
        ("expired", forged(HEADER, &json!({"exp": NOW}), &KEY), Denied::Expired),
        (
            "issued in the future",
            forged(HEADER, &json!({"iat": NOW + 60, "exp": NOW + 300}), &KEY),
            Denied::NotYetValid,
        ),
        ("too long-lived", forged(HEADER, &json!({"exp": NOW + 301}), &KEY), Denied::NotYetValid),
        ("exp a string", forged(HEADER, &json!({"exp": "9999999999"}), &KEY), claims.clone()),
        ("exp null", forged(HEADER, &json!({"exp": null}), &KEY), claims.clone()),
        ("unknown claim", forged(HEADER, &json!({"admin": true}), &KEY), claims),
        ("suspended client", token("blocked", "system/Patient.rs").unwrap(), Denied::Suspended),
        ("deleted client", token("gone", "system/Patient.rs").unwrap(), Denied::Unknown),
        (
            "oversize",
            forged(HEADER, &json!({"actor": "x".repeat(MAX_LENGTH)}), &KEY),
            Denied::Malformed { part: "length" },
        ),
    ];
    for (name, token, expected) in cases {
        check(name, &token, NOW_MS, Err(expected));
    }
    check("good", &good, NOW_MS, Ok(()));
    check("good to the last second", &good, NOW_MS + 299_999, Ok(()));
    check("over after it", &good, NOW_MS + 300_000, Err(Denied::Expired));
    check("clock set back", &good, NOW_MS - 60_000, Err(Denied::NotYetValid));
}

#[test]
fn every_changed_byte_spoils_a_token() {
    let good = token("acme", "system/Patient.rs").unwrap();
    for place in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verify(&changed, REALM, &KEY, standing, NOW_MS).is_err(), "byte {place}");
    }
}

#[test]
fn token_that_fits_no_header_is_not_issued() {
    let many =
        (0..60).map(|index| format!("system/Observation.r?code=http://loinc.org|{index:05}")).collect::<Vec<_>>();
    assert!(Scopes::parse(&many.join(" ")).is_err());
    assert!(token("acme", &many[..40].join(" ")).is_ok());
}
