//! By which right a client subscribed: remembered with the subscription, and asked anew whenever something is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exchange::{Caller, Gateway, Refusal};
use crate::policy::access::{Principal, Scopes};
use crate::store::Subscription;

/// What is remembered.
#[derive(Serialize, Deserialize)]
struct Remembered {
    actor: String,
    scopes: String,
    purpose: String,
}

/// Whoever is told, as it signed in when it subscribed.
pub(super) struct Granted {
    pub principal: Principal,
    pub purpose: String,
    pub request_id: String,
}

impl Granted {
    pub fn remembered(caller: &Caller<'_>) -> Vec<u8> {
        let remembered = Remembered {
            actor: caller.principal.actor.to_string(),
            scopes: caller.principal.scopes.to_string(),
            purpose: caller.purpose.to_owned(),
        };
        serde_json::to_vec(&remembered).unwrap_or_default()
    }

    pub fn caller(&self) -> Caller<'_> {
        Caller {
            principal: &self.principal,
            request_id: &self.request_id,
            purpose: &self.purpose,
            address: None,
            looked_at: None,
        }
    }
}

impl Gateway {
    /// Whoever subscribed, if it may still act as what it was then.
    pub(super) async fn right_of(&self, subscription: &Subscription) -> Result<Option<Granted>, Refusal> {
        let Ok(remembered) = serde_json::from_slice::<Remembered>(&subscription.granted) else { return Ok(None) };
        let Ok(scopes) = Scopes::parse(&remembered.scopes) else { return Ok(None) };
        let principal = Principal {
            client: subscription.client.clone(),
            actor: Arc::from(remembered.actor),
            scopes,
            purposes: vec![remembered.purpose.clone()],
            expires_ms: i64::MAX,
            guide: None,
            deidentified: false,
        };
        if !self.still_stands(&principal).await? {
            return Ok(None);
        }
        let request_id = format!("Subscription-{}", subscription.id);
        Ok(Some(Granted { principal, purpose: remembered.purpose, request_id }))
    }

    /// The error is that nobody could say.
    async fn still_stands(&self, principal: &Principal) -> Result<bool, Refusal> {
        let stands = self.stands(principal).await;
        match stands {
            Ok(_) => {}
            Err(refusal) if refusal.retry_after_seconds.is_some() => return Err(refusal),
            Err(_) => return Ok(false),
        }
        let client = self.client(&principal.client).await?;
        let same = |purpose: &String| principal.purposes.contains(purpose);
        Ok(client.is_some_and(|client| {
            // Whoever may have nothing but what tells of nobody hears of nobody.
            *client.actor == *principal.actor && client.purposes.iter().any(same) && !client.deidentified
        }))
    }
}
