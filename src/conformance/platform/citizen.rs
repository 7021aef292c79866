//! The platform's sign-in for citizens (OAuth 2.0 authorization code with PKCE, OpenID Connect): whoever comes says who it
//! is, allows or refuses, and goes back. Codes count once, refresh tokens as well, and one that comes a second time ends all
//! that was given with it (RFC 9700 §4.14.2).

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::login::random;

/// How long a code may wait.
const CODE_SECONDS: i64 = 60;
/// How long a permission lasts unless it is used.
const REFRESH_SECONDS: i64 = 30 * 86_400;

type Form = HashMap<String, String>;

pub(super) struct Citizens {
    url: String,
    client_id: String,
    key: EncodingKey,
    public: Jwk,
    given: Mutex<Given>,
}

#[derive(Default)]
struct Given {
    codes: HashMap<String, Permission>,
    /// What stands on each refresh token; one that was used names what came of it.
    refresh: HashMap<String, Option<Permission>>,
    /// Permissions that have ended.
    over: Vec<String>,
}

#[derive(Clone)]
struct Permission {
    /// Of this permission, whatever tokens it has.
    id: String,
    person: String,
    redirect: String,
    challenge: String,
    nonce: Option<String>,
    scope: String,
    until: i64,
}

/// What an access token stands for.
pub(super) struct Allowed {
    pub permission: String,
    pub answer: Value,
}

impl Citizens {
    pub(super) fn new(url: &str, client_id: &str) -> Option<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().ok()?.as_ref());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).ok()?;
        public.common.key_id = Some("citizens-1".to_owned());
        Some(Citizens { url: url.to_owned(), client_id: client_id.to_owned(), key, public, given: Mutex::default() })
    }

    pub(super) fn keys(&self) -> Value {
        json!({"keys": [self.public]})
    }

    /// The page on which somebody says who it is, or why there is none.
    pub(super) fn page(&self, asked: &Form) -> Result<String, &'static str> {
        let field = |name: &str| asked.get(name).map_or("", String::as_str);
        let well = field("response_type") == "code"
            && field("client_id") == self.client_id
            && field("code_challenge_method") == "S256"
            && field("code_challenge").len() == 43
            && !field("state").is_empty()
            && field("redirect_uri").starts_with("https://");
        if !well {
            return Err("invalid_request");
        }
        let mut page = String::from(
            "<!doctype html><html lang=\"en\"><title>Simulated sign-in</title><h1>Simulated sign-in</h1>\
             <form method=\"get\" action=\"/authorize/decide\"><p><label>I am <input name=\"as\" value=\"citizen-1\"></label></p>",
        );
        for (name, value) in asked {
            let _ = write!(page, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value));
        }
        page.push_str("<button name=\"decision\" value=\"allow\">Allow</button> <button name=\"decision\" value=\"refuse\">Refuse</button></form>");
        Ok(page)
    }

    /// Where somebody who has decided goes back to.
    pub(super) fn decided(&self, asked: &Form, second: i64) -> Result<String, &'static str> {
        self.page(asked)?;
        let field = |name: &str| asked.get(name).map_or("", String::as_str);
        let mut back = url::Url::parse(field("redirect_uri")).map_err(|_| "invalid_request")?;
        if field("decision") == "allow" {
            let code = random().ok_or("server_error")?;
            back.query_pairs_mut().append_pair("code", &code);
            let permission = Permission {
                id: random().ok_or("server_error")?,
                person: field("as").to_owned(),
                redirect: field("redirect_uri").to_owned(),
                challenge: field("code_challenge").to_owned(),
                nonce: asked.get("nonce").cloned(),
                scope: field("scope").to_owned(),
                until: second + CODE_SECONDS,
            };
            self.given().codes.insert(code, permission);
        } else {
            back.query_pairs_mut().append_pair("error", "access_denied");
        }
        back.query_pairs_mut().append_pair("state", field("state"));
        Ok(back.into())
    }

    /// Tokens for a code or for a refresh token.
    pub(super) fn grant(&self, form: &Form, access: &str, life: i64, second: i64) -> Result<Allowed, &'static str> {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let mut given = self.given();
        let permission = if field("grant_type") == "authorization_code" {
            let permission = given.codes.remove(field("code")).ok_or("invalid_grant")?;
            let verifier = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, field("code_verifier").as_bytes());
            let proved = URL_SAFE_NO_PAD.encode(verifier.as_ref()) == permission.challenge;
            if !proved || permission.redirect != field("redirect_uri") || permission.until < second {
                return Err("invalid_grant");
            }
            permission
        } else {
            let used = given.refresh.get_mut(field("refresh_token")).ok_or("invalid_grant")?;
            let Some(permission) = used.take() else {
                // Whoever has it a second time may have stolen it.
                given.refresh.clear();
                return Err("invalid_grant");
            };
            if permission.until < second || given.over.contains(&permission.id) {
                return Err("invalid_grant");
            }
            permission
        };
        let refresh = random().ok_or("server_error")?;
        let next = Permission { until: second + REFRESH_SECONDS, ..permission.clone() };
        given.refresh.insert(refresh.clone(), Some(next));
        let mut answer = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": life, "scope": permission.scope,
            "refresh_token": refresh, "refresh_expires_in": REFRESH_SECONDS, "patient": permission.person,
        });
        if permission.scope.split(' ').any(|scope| scope == "openid") && field("grant_type") == "authorization_code" {
            answer["id_token"] = self.id_token(&permission, second).ok_or("server_error")?.into();
        }
        Ok(Allowed { permission: permission.id, answer })
    }

    fn id_token(&self, permission: &Permission, second: i64) -> Option<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid.clone_from(&self.public.common.key_id);
        let claims = json!({
            "iss": self.url, "aud": self.client_id, "sub": permission.person, "nonce": permission.nonce,
            "iat": second, "exp": second + 300,
        });
        jsonwebtoken::encode(&header, &claims, &self.key).ok()
    }

    /// Ends what a refresh token stands for; its permission.
    pub(super) fn revoke(&self, token: &str) -> Option<String> {
        let mut given = self.given();
        let permission = given.refresh.remove(token)??;
        given.over.push(permission.id.clone());
        Some(permission.id)
    }

    /// Ends everything that was ever allowed.
    pub(super) fn end(&self) {
        let mut given = self.given();
        given.refresh.clear();
        given.codes.clear();
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
