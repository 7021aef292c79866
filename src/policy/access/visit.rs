//! A person's visit to the page about the own data: a link that opens it once, and the session that follows.
//!
//! Both name a client and a patient and nothing that could be done: they open the page alone, and no address of the FHIR
//! service takes them, nor does the page take an access token, because each kind has a header of its own that is compared
//! whole. Who the person is has been established by the client that asks for the link; it must be registered for that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::token::{self, MAX_LENGTH};
use super::{Denied, jose};

/// What a token opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pass {
    /// The page, once.
    Link,
    /// What the page shows, until the session ends.
    Session,
}

impl Pass {
    /// base64url of `{"typ":"mhg-link+jwt","alg":"HS256"}`, and of the same for a session.
    fn header(self) -> &'static str {
        match self {
            Pass::Link => "eyJ0eXAiOiJtaGctbGluaytqd3QiLCJhbGciOiJIUzI1NiJ9",
            Pass::Session => "eyJ0eXAiOiJtaGctc2Vzc2lvbitqd3QiLCJhbGciOiJIUzI1NiJ9",
        }
    }

    /// How long it opens anything.
    pub fn lifetime_s(self) -> i64 {
        match self {
            Pass::Link => 300,
            Pass::Session => 1800,
        }
    }
}

/// Whose visit it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Visit {
    /// The client that the person uses.
    pub client: Arc<str>,
    /// Logical id of the patient.
    pub patient: String,
    /// Of this very token, in hexadecimal digits.
    pub id: String,
    pub expires_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    client_id: String,
    patient: String,
    exp: i64,
    jti: String,
}

/// Makes a pass.
pub fn issue(pass: Pass, visit: &Visit, issuer: &str, key: &[u8; 32]) -> String {
    let claims = Claims {
        iss: issuer.to_owned(),
        client_id: visit.client.to_string(),
        patient: visit.patient.clone(),
        exp: visit.expires_ms.div_euclid(1000),
        jti: visit.id.clone(),
    };
    let payload = serde_json::to_vec(&claims).expect("strings and numbers always serialize");
    token::sealed(pass.header(), &payload, key)
}

/// Reads a pass of that kind.
pub fn verify(pass: Pass, text: &str, issuer: &str, key: &[u8; 32], now_ms: i64) -> Result<Visit, Denied> {
    let parts = jose::Compact::split(text, MAX_LENGTH)?;
    token::genuine(pass.header(), &parts, key)?;
    let claims: Claims = jose::decode(parts.payload, "claims")?;
    if claims.iss != issuer {
        return Err(Denied::Audience);
    }
    let now = now_ms.div_euclid(1000);
    if claims.exp <= now {
        return Err(Denied::Expired);
    }
    // What lasts longer than it may was made before the clock was set back.
    if claims.exp - now > pass.lifetime_s() {
        return Err(Denied::NotYetValid);
    }
    let expires_ms = claims.exp.saturating_mul(1000);
    Ok(Visit { client: Arc::from(claims.client_id), patient: claims.patient, id: claims.jti, expires_ms })
}
