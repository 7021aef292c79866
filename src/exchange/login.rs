//! Who is it: from a signed assertion to a token, and from a token to a principal.
//!
//! SMART Backend Services (SMART App Launch 2.2). Replays are remembered in the store, so that neither a restart nor
//! a second node reopens their window. A client that is suspended loses its tokens within `STANDING_MS`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::trail::{Act, Author};
use super::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::policy::access::assertion::{self, ASSERTION_TYPE};
use crate::policy::access::client::Client;
use crate::policy::access::scope::Scopes;
use crate::policy::access::token::{self, Realm, Standing};
use crate::policy::access::{Denied, Principal};

/// Longest time that a registration is believed without asking the store again.
const STANDING_MS: i64 = 5_000;

/// A granted token (RFC 6749 §5.1).
#[derive(Debug)]
pub struct Granted {
    pub access_token: String,
    pub expires_in_seconds: u32,
    pub scope: String,
}

/// Why the token endpoint refused.
#[derive(Debug)]
pub enum Refused {
    Denied(Denied),
    Fault(Refusal),
}

/// Who asks for a token: the name that it gives itself, and the client once it is proven.
#[derive(Default)]
struct Named {
    id: String,
    client: Option<Arc<Client>>,
}

/// A registration and when it was read, in milliseconds since 1970.
type Seen = (i64, Option<Arc<Client>>);

/// Registered clients as last seen.
#[derive(Default)]
pub struct Register {
    seen: Mutex<HashMap<String, Seen>>,
}

impl Gateway {
    /// `POST /auth/token`.
    pub async fn grant(&self, form: &[(String, String)], request_id: &str) -> Result<Granted, Refused> {
        let mut named = Named::default();
        match self.granted(form, request_id, &mut named).await {
            Err(Refused::Denied(denied)) => Err(self.denied(&named, denied, request_id).await),
            outcome => outcome,
        }
    }

    async fn granted(
        &self,
        form: &[(String, String)],
        request_id: &str,
        named: &mut Named,
    ) -> Result<Granted, Refused> {
        let one = |name: &'static str| one_of(form, name);
        let grant_type = one("grant_type").map_err(Refused::Denied)?;
        if grant_type != Some("client_credentials") {
            return Err(Refused::Denied(Denied::GrantType));
        }
        if one("client_assertion_type").map_err(Refused::Denied)? != Some(ASSERTION_TYPE) {
            return Err(Refused::Denied(Denied::Request { reason: "client_assertion_type must be jwt-bearer" }));
        }
        let Some(signed) = one("client_assertion").map_err(Refused::Denied)? else {
            return Err(Refused::Denied(Denied::Request { reason: "client_assertion is missing" }));
        };
        let id = assertion::peek(signed).map_err(Refused::Denied)?;
        named.id.clone_from(&id);
        // A token request is rare enough to ask the store itself: a key that was just withdrawn is withdrawn.
        let client = self.registered(&id, i64::MAX).await.map_err(Refused::Fault)?;
        let now_ms = self.now_ms();
        let url = self.token_url();
        let verified = assertion::verify(
            signed,
            |asked| client.as_deref().filter(|client| client.id == asked).cloned(),
            &[&url],
            now_ms,
        );
        // Whose signature does not verify is a stranger, whatever name it bears.
        let proven = verified.as_ref().err().is_none_or(Denied::is_proven);
        named.client = client.filter(|_| proven);
        let assertion = verified.map_err(Refused::Denied)?;
        if !self.enforces(&assertion.client) {
            return Err(Refused::Denied(Denied::Guide));
        }
        let fresh = self.store.remember_jti(&assertion.client.id, &assertion.jti, assertion.expires_ms, now_ms).await;
        if !fresh.map_err(|error| Refused::Fault(error.into()))? {
            return Err(Refused::Denied(Denied::Replayed));
        }
        let scopes = requested(one("scope").map_err(Refused::Denied)?, &assertion.client).map_err(Refused::Denied)?;
        let mut jti = [0; 16];
        (self.entropy)(&mut jti);
        let facts = token::Facts {
            client: &assertion.client.id,
            actor: &assertion.client.actor,
            scopes: &scopes,
            purposes: &assertion.client.purposes,
            jti,
            lifetime_s: token::MAX_LIFETIME_S,
        };
        let access_token = token::issue(&facts, self.realm(), &self.token_secret, now_ms).map_err(Refused::Denied)?;
        self.record_login(&assertion.client, request_id, &[]).await.map_err(Refused::Fault)?;
        Ok(Granted { access_token, expires_in_seconds: token::MAX_LIFETIME_S, scope: scopes.to_string() })
    }

    /// The principal that a bearer token stands for.
    pub async fn authenticate(&self, bearer: Option<&str>) -> Result<Principal, Refusal> {
        let Some(bearer) = bearer else { return Err(Denied::Missing.issue().into()) };
        let now_ms = self.now_ms();
        let principal = token::verify(bearer, self.realm(), &self.token_secret, |_| Standing::Active, now_ms)
            .map_err(|denied| denied.issue())?;
        let deidentified = self.client(&principal.client).await?.is_some_and(|client| client.deidentified);
        let principal = Principal { deidentified, ..principal };
        let guide = self.stands(&principal).await?;
        Ok(Principal { guide, ..principal })
    }

    /// Whether a principal may still act as what it signed in as, for what goes on longer than a request usually does; and
    /// the version of the guide that it is held to.
    pub async fn stands(&self, principal: &Principal) -> Result<Option<Arc<str>>, Refusal> {
        match self.registered(&principal.client, STANDING_MS).await? {
            // Who learns of persons by pseudonyms alone from now on goes on with nothing that began otherwise.
            Some(client) if client.deidentified && !principal.deidentified => Err(Denied::Suspended.issue().into()),
            Some(client) if !client.suspended && principal.scopes.within(&client.scopes) => {
                if !self.enforces(&client) {
                    return Err(Denied::Guide.issue().into());
                }
                Ok(client.guide.as_deref().map(Arc::from))
            }
            _ => Err(Denied::Suspended.issue().into()),
        }
    }

    /// Whether the version of the guide that a client is held to is here.
    fn enforces(&self, client: &Client) -> bool {
        client.guide.as_deref().is_none_or(|version| self.shelf.has(version))
    }

    pub fn token_url(&self) -> String {
        format!("{}/auth/token", self.base.strip_suffix("/fhir").unwrap_or(&self.base))
    }

    fn realm(&self) -> Realm<'_> {
        Realm { issuer: &self.base, audience: &self.base }
    }

    /// How a client is registered, as it was a few seconds ago.
    pub(super) async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, Refusal> {
        self.registered(id, STANDING_MS).await
    }

    /// A registration, at most `age_ms` old; `i64::MAX` asks the store in any case.
    async fn registered(&self, id: &str, age_ms: i64) -> Result<Option<Arc<Client>>, Refusal> {
        let now_ms = self.now_ms();
        if age_ms != i64::MAX {
            let seen = self.register.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at_ms, client)) = seen.get(id)
                && (0..age_ms).contains(&(now_ms - at_ms))
            {
                return Ok(client.clone());
            }
        }
        let stored = self.store.get_client(id).await?;
        let client = stored.and_then(|text| match Client::parse(&text) {
            Ok(client) => Some(Arc::new(client)),
            Err(mistakes) => {
                tracing::error!(client = id, mistakes = mistakes.len(), "a stored registration cannot be read");
                None
            }
        });
        // Only ids that are registered are kept, so that invented ones cannot fill the memory.
        let mut seen = self.register.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &client {
            Some(_) => drop(seen.insert(id.to_owned(), (now_ms, client.clone()))),
            None => drop(seen.remove(id)),
        }
        Ok(client)
    }

    /// Refusals of registered clients go into the audit one by one, those of strangers within their bound.
    async fn denied(&self, named: &Named, denied: Denied, request_id: &str) -> Refused {
        tracing::warn!(client = named.id, request_id, reason = %denied, "token refused");
        match &named.client {
            None => self.refused_stranger(request_id, &[Id::TokenInvalid]).await,
            Some(client) => {
                if let Err(fault) = self.record_login(client, request_id, &[Id::TokenInvalid]).await {
                    return Refused::Fault(fault);
                }
            }
        }
        Refused::Denied(denied)
    }

    async fn record_login(&self, client: &Client, request_id: &str, issues: &[Id]) -> Result<(), Refusal> {
        let principal = Principal {
            client: Arc::from(client.id.as_str()),
            actor: Arc::from(client.actor.as_str()),
            scopes: client.scopes.clone(),
            purposes: client.purposes.clone(),
            expires_ms: 0,
            guide: None,
            deidentified: client.deidentified,
        };
        let purpose = client.purposes.first().map_or("", String::as_str);
        let caller = Caller { principal: &principal, request_id, purpose, address: None, looked_at: None };
        let record = Author::of(self, &caller).record(Act::Login, None, &[], None, issues);
        Ok(self.store.record_audit(vec![record]).await?)
    }
}

/// RFC 6749 §3.2: parameters must not stand more than once.
fn one_of<'f>(form: &'f [(String, String)], name: &'static str) -> Result<Option<&'f str>, Denied> {
    let mut values = form.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let first = values.next();
    if values.next().is_some() {
        return Err(Denied::Request { reason: "a parameter stands more than once" });
    }
    Ok(first)
}

/// What was asked for, if it lies within the registration; without a wish, all of it.
fn requested(scope: Option<&str>, client: &Client) -> Result<Scopes, Denied> {
    let Some(scope) = scope.filter(|scope| !scope.trim().is_empty()) else { return Ok(client.scopes.clone()) };
    client.grant(scope)
}
