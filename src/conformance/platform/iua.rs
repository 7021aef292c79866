//! Tokens for one person's record (IHE IUA, ITI-71), as the Swiss EPR grants them to technical users: who asks says for whom,
//! as what, to which end, and who answers for it.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The longest life of a token.
pub(super) const SECONDS: i64 = 300;

pub(super) struct Iua {
    client_id: String,
    audience: String,
}

impl Iua {
    pub fn new(client_id: &str, url: &str) -> Iua {
        Iua { client_id: client_id.to_owned(), audience: format!("{url}/fhir") }
    }

    /// For whose record a token is asked, if for anybody's; the error is an OAuth code.
    pub fn person(
        &self,
        form: &HashMap<String, String>,
        authorization: Option<&str>,
    ) -> Result<Option<String>, &'static str> {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let pair = STANDARD.encode(format!("{0}:secret-of-{0}", self.client_id));
        if authorization != Some(&format!("Basic {pair}")) {
            return Err("invalid_client");
        }
        if field("aud") != self.audience {
            return Err("invalid_target");
        }
        if field("access_token_format") != "urn:ietf:params:oauth:token-type:jwt" {
            return Err("invalid_request");
        }
        let claims: HashMap<&str, &str> = field("scope").split(' ').filter_map(|scope| scope.split_once('=')).collect();
        let claim = |name: &str| claims.get(name).copied().unwrap_or_default();
        let is_technical = claim("subject_role") == "urn:oid:2.16.756.5.30.1.127.3.10.6|TCU"
            && claim("purpose_of_use") == "urn:oid:2.16.756.5.30.1.127.3.10.5|AUTO";
        if !is_technical || claim("principal").is_empty() || claim("principal_id").is_empty() {
            return Err("invalid_scope");
        }
        Ok(Some(claim("person_id")).filter(|person| !person.is_empty()).map(str::to_owned))
    }

    /// A token that reads as a JWT. Nobody but this platform looks into it.
    pub fn token(&self, random: &str, person: Option<&str>) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"aud": self.audience, "extensions": {"ihe_iua": {"person_id": person}}});
        format!("{}.{}.{random}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(&claims))
    }
}
