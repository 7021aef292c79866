//! The token under which the gateway itself acts (SMART Backend Services), if wanted exchanged for another one (RFC 8693).
//!
//! It is kept until shortly before it expires. No lock is held while it is fetched: two deliveries may
//! fetch at once, which is harmless, while a lock across the network would queue them all behind a slow server.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::config::{Credentials, Exchange};
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

pub(super) struct Source {
    server: TokenServer,
    scope: String,
    exchange: Option<(TokenServer, Exchange)>,
    proof: Option<Arc<Proof>>,
    clock: Clock,
    cached: Mutex<Option<(Access, Timestamp)>>,
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
            exchange,
            proof,
            clock,
            cached: Mutex::default(),
        })
    }

    /// The cached token, or a new one. `renew` says that the cached one was refused. The error is the reason of a
    /// retry: whatever the token server says, it says nothing about the resource.
    pub(super) async fn access(&self, sender: &Sender, renew: bool) -> Result<Access, String> {
        let now = (self.clock)();
        if !renew && let Some(access) = self.cached(now) {
            return Ok(access);
        }
        let granted = self.granted(sender).await.map_err(|denied| denied.to_string())?;
        let access = Access::new(granted.access_token, self.proof.clone());
        let life = granted.expires_in.unwrap_or(60).clamp(0, 86_400);
        let until = now + jiff::SignedDuration::from_secs(life - MARGIN_SECONDS);
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some((access.clone(), until));
        Ok(access)
    }

    async fn granted(&self, sender: &Sender) -> Result<Granted, Denied> {
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

    fn cached(&self, now: Timestamp) -> Option<Access> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|(_, until)| now < *until).map(|(access, _)| access.clone())
    }
}
