//! The token under which the gateway itself acts (SMART Backend Services), if wanted exchanged for another one (RFC 8693);
//! or one for each person whose record it is to open (IHE IUA, ITI-71).
//!
//! It is kept until shortly before it expires. No lock is held while it is fetched: two deliveries may
//! fetch at once, which is harmless, while a lock across the network would queue them all behind a slow server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::config::{Credentials, Exchange, Iua};
use super::grant::{Denied, Granted, Identification, TokenServer};
use super::proof::Proof;
use super::send::{OpenError, Sender};
use crate::peers::Clock;

/// A token is renewed this long before it expires, so that it does not expire under way.
pub(super) const MARGIN_SECONDS: i64 = 30;

/// An access token, and what proves that it is ours. Never printed.
#[derive(Clone)]
pub(super) struct Access {
    token: String,
    pub(super) proof: Option<Arc<Proof>>,
}

impl Access {
    pub(super) fn new(token: String, proof: Option<Arc<Proof>>) -> Self {
        Access { token, proof }
    }

    /// For the headers of a request and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.token
    }
}

/// Most persons whose tokens are kept.
const PERSONS: usize = 1_000;
/// The longest life of a token of the Swiss EPR.
const IUA_SECONDS: i64 = 300;

/// System and value of a person's identifier.
pub(super) type Person<'p> = Option<(&'p str, &'p str)>;

pub(super) struct Source {
    server: TokenServer,
    scope: String,
    /// What is claimed about persons, and for which service, where tokens are for persons.
    iua: Option<Claims>,
    exchange: Option<(TokenServer, Exchange)>,
    proof: Option<Arc<Proof>>,
    clock: Clock,
    /// By the person that they are for; one of its own has none.
    cached: Mutex<HashMap<String, (Access, Timestamp)>>,
}

struct Claims {
    audience: String,
    scopes: String,
}

impl Claims {
    fn of(iua: &Iua, url: &str) -> Claims {
        let claims = [
            ("purpose_of_use", &iua.purpose_of_use),
            ("subject_role", &iua.subject_role),
            ("principal", &iua.principal),
            ("principal_id", &iua.principal_id),
        ];
        let scopes = claims.map(|(name, value)| format!("{name}={}", claimed(value))).join(" ");
        Claims { audience: iua.audience.clone().unwrap_or_else(|| url.to_owned()), scopes }
    }
}

/// A value within a scope, where a space would end it.
fn claimed(value: &str) -> String {
    value.replace('%', "%25").replace(' ', "%20")
}

/// An identifier in the syntax of HL7 v2 (CX): value, and the OID of whoever gave it.
fn cx((system, value): (&str, &str)) -> Option<String> {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    let oid = system.strip_prefix("urn:oid:")?;
    (plain(oid) && plain(value)).then(|| format!("{value}^^^&{oid}&ISO"))
}

impl Source {
    pub(super) fn open(credentials: &Credentials, clock: Clock) -> Result<Self, OpenError> {
        let Credentials { token_url, client_id, private_key_pem, kid, .. } = credentials;
        let proof = if credentials.dpop { Some(Arc::new(Proof::new(clock.clone())?)) } else { None };
        let identification = || Identification::Key { path: private_key_pem.clone(), kid: kid.clone() };
        let open = |url: &str, proof: Option<Arc<Proof>>| {
            TokenServer::open((url, client_id), identification(), proof, clock.clone())
        };
        let exchange = match &credentials.exchange {
            Some(exchange) => Some((open(&exchange.token_url, proof.clone())?, exchange.clone())),
            None => None,
        };
        // What is given away for another token is shown to the authorization server alone, so that it is bound to nothing.
        let own = if exchange.is_some() { None } else { proof.clone() };
        Ok(Source {
            server: open(token_url, own)?,
            scope: credentials.scope.clone(),
            iua: None,
            exchange,
            proof,
            clock,
            cached: Mutex::default(),
        })
    }

    /// One that asks for a token for each person.
    pub(super) fn of_persons(iua: &Iua, url: &str, clock: Clock) -> Result<Self, OpenError> {
        let identification = Identification::Secret { path: iua.secret_file.clone() };
        let server = TokenServer::open((&iua.token_url, &iua.client_id), identification, None, clock.clone())?;
        Ok(Source {
            server,
            scope: iua.scope.clone(),
            iua: Some(Claims::of(iua, url)),
            exchange: None,
            proof: None,
            clock,
            cached: Mutex::default(),
        })
    }

    /// Whether each of its tokens is for one person.
    pub(super) fn is_of_persons(&self) -> bool {
        self.iua.is_some()
    }

    /// The cached token, or a new one. `renew` says that the cached one was refused. The error is the reason of a
    /// retry: whatever the token server says, it says nothing about the resource.
    pub(super) async fn access(&self, sender: &Sender, renew: bool, person: Person<'_>) -> Result<Access, String> {
        let now = (self.clock)();
        let person = match person.filter(|_| self.is_of_persons()) {
            Some(person) => cx(person).ok_or("no access token: the person's identifier is no OID and value")?,
            None => String::new(),
        };
        if !renew && let Some(access) = self.cached(&person, now) {
            return Ok(access);
        }
        let granted = self.granted(sender, &person).await.map_err(|denied| denied.to_string())?;
        let access = Access::new(granted.access_token, self.proof.clone());
        let longest = if self.is_of_persons() { IUA_SECONDS } else { 86_400 };
        let life = granted.expires_in.unwrap_or(60).clamp(0, longest);
        let until = now + jiff::SignedDuration::from_secs(life - MARGIN_SECONDS);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= PERSONS && !cached.contains_key(&person) {
            cached.retain(|_, (_, until)| now < *until);
            let first = cached.iter().min_by_key(|(_, (_, until))| *until).map(|(person, _)| person.clone());
            if let Some(first) = first.filter(|_| cached.len() >= PERSONS) {
                cached.remove(&first);
            }
        }
        cached.insert(person, (access.clone(), until));
        Ok(access)
    }

    async fn granted(&self, sender: &Sender, person: &str) -> Result<Granted, Denied> {
        if let Some(claims) = &self.iua {
            let mut scope = format!("{} {}", self.scope, claims.scopes);
            if !person.is_empty() {
                scope.push_str(&format!(" person_id={person}"));
            }
            let asked = [
                ("grant_type", "client_credentials"),
                ("scope", scope.as_str()),
                ("aud", claims.audience.as_str()),
                ("access_token_format", "urn:ietf:params:oauth:token-type:jwt"),
            ];
            return self.server.grant(sender, &asked).await;
        }
        let asked = [("grant_type", "client_credentials"), ("scope", self.scope.as_str())];
        let granted = self.server.grant(sender, &asked).await?;
        let Some((server, exchange)) = &self.exchange else { return Ok(granted) };
        let mut asked = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", granted.access_token.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        let narrowed = [("audience", &exchange.audience), ("resource", &exchange.resource), ("scope", &exchange.scope)];
        asked.extend(narrowed.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        server.grant(sender, &asked).await
    }

    fn cached(&self, person: &str, now: Timestamp) -> Option<Access> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.get(person).filter(|(_, until)| now < *until).map(|(access, _)| access.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_in_the_syntax_of_v2() {
        for (system, value, expected) in [
            (
                "urn:oid:2.16.756.5.30.1.127.3.10.3",
                "761337610411353650",
                Some("761337610411353650^^^&2.16.756.5.30.1.127.3.10.3&ISO"),
            ),
            ("https://x.example", "1", None),
            ("urn:oid:1.2", "1^^^&1.3&ISO", None),
            ("urn:oid:1.2", "1 2", None),
            ("urn:oid:", "1", None),
        ] {
            assert_eq!(cx((system, value)).as_deref(), expected, "{system} {value}");
        }
        assert_eq!(claimed("Martina 100% Musterarzt"), "Martina%20100%25%20Musterarzt");
    }
}
