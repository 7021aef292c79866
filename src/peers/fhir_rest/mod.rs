//! Any destination that speaks plain FHIR R4 REST.
//!
//! Delivery is idempotent by construction: the resource's own id is the id at the destination, so it is always
//! `PUT {base}/{type}/{id}`, alone or as entries of one transaction, and a repeated attempt overwrites the same
//! resource with the same content. What it may hold no longer is told by `DELETE`, or by a `PUT` of the same id whose
//! content is that there is none. Redirects are never followed, since a destination is an agreed address and a
//! token must not travel to another one. Every exchange is bounded as a whole in time and in size.

mod channel;
mod classify;
mod config;
mod grant;
mod link;
mod proof;
mod send;
#[cfg(test)]
mod tests;
mod token;
mod translate;

use std::future::Future;
use std::pin::Pin;

pub(super) use channel::Channel;
pub use config::{Auth, Config};
pub use link::{Ended, Given, Linker, Tokens};
pub use send::OpenError;

use self::send::Failure;
use super::{Allowance, Clock, Content, Item, Platform, Taken, Verdict};

/// An opened destination: connections, credentials and the cached token.
pub struct FhirRest {
    name: String,
    base: reqwest::Url,
    batch: bool,
    sender: send::Sender,
    token: Option<token::Source>,
    clock: Clock,
}

impl FhirRest {
    /// Reads keys and certificates, so that a wrong path shows at start and not at the first delivery.
    pub fn open(name: &str, config: &Config, clock: Clock) -> Result<Self, OpenError> {
        let sender = send::Sender::open(config)?;
        let token = match &config.auth {
            Auth::BackendServices(credentials) => Some(token::Source::open(credentials, clock.clone())?),
            Auth::None | Auth::ClientCertificate { .. } | Auth::Citizen(_) => None,
        };
        let base = config::address(&config.url).map_err(OpenError::Config)?;
        Ok(FhirRest { name: name.to_owned(), base, batch: config.batch, sender, token, clock })
    }

    async fn attempt(&self, item: &Item) -> Verdict {
        let translated = match &item.content {
            Content::Shaped(shaped) => Ok(vec![translate::shaped(&self.name, &self.base, shaped)]),
            Content::Resources(resources) if self.batch && resources.len() > 1 => {
                translate::transaction(&self.name, &self.base, resources).map(|request| vec![request])
            }
            Content::Resources(resources) => {
                resources.iter().map(|resource| translate::update(&self.name, &self.base, resource)).collect()
            }
        };
        let requests = match translated {
            Ok(requests) => requests,
            Err(reason) => return Verdict::Rejected { reason },
        };
        let mut rejected = None;
        let mut sent = false;
        for request in &requests {
            match self.exchange(request, &item.request_id, item.access.as_ref()).await {
                Verdict::Acknowledged => {}
                // The rest waits: what cannot be delivered now would only load a system in trouble.
                retry @ Verdict::Retry { .. } => return retry,
                Verdict::Unreached { reason } if sent => return Verdict::Retry { after_ms: None, reason },
                unsent @ (Verdict::Unreached { .. } | Verdict::Waits { .. }) => return unsent,
                Verdict::Rejected { reason } => {
                    rejected.get_or_insert(Verdict::Rejected { reason });
                }
            }
            sent = true;
        }
        rejected.unwrap_or(Verdict::Acknowledged)
    }

    async fn take_back(&self, taken: &Taken) -> Verdict {
        match translate::recall(&self.name, &self.base, taken) {
            Ok(request) => self.exchange(&request, &taken.request_id, taken.access.as_ref()).await,
            Err(reason) => Verdict::Rejected { reason },
        }
    }

    /// One request; a refused token is renewed once, because it may have been revoked before its time.
    async fn exchange(&self, request: &translate::Request, request_id: &str, own: Option<&Allowance>) -> Verdict {
        let mut renewed = false;
        loop {
            let access = match &self.token {
                None => own.map(|allowance| token::Access::new(allowance.token().to_owned(), None)),
                Some(source) => match source.access(&self.sender, renewed).await {
                    Ok(access) => Some(access),
                    // Only a token that was refused shows that the request had been sent.
                    Err(reason) if renewed => return Verdict::Retry { after_ms: None, reason },
                    Err(reason) => return Verdict::Unreached { reason },
                },
            };
            let answer = match self.sender.send(request, request_id, access.as_ref()).await {
                Ok(answer) => answer,
                Err(failure @ Failure::Connect) => return Verdict::Unreached { reason: failure.to_string() },
                Err(failure) => return Verdict::Retry { after_ms: None, reason: failure.to_string() },
            };
            if matches!(answer.status, 401 | 403) && self.token.is_some() && !renewed {
                renewed = true;
                continue;
            }
            if let Some(allowance) = own.filter(|_| answer.status == 401) {
                allowance.refuse();
                return Verdict::Retry {
                    after_ms: None,
                    reason: "HTTP 401: the person's token was refused".to_owned(),
                };
            }
            let now = (self.clock)();
            return match &request.pack {
                Some(pack) => classify::shaped(&answer, pack, now),
                None if request.method == reqwest::Method::DELETE => classify::deletion(&answer, now),
                None => classify::verdict(&answer, request.entries, now),
            };
        }
    }
}

impl Platform for FhirRest {
    fn deliver<'a>(&'a self, item: &'a Item) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(self.attempt(item))
    }

    fn recall<'a>(&'a self, taken: &'a Taken) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(self.take_back(taken))
    }
}
