//! Any destination that speaks plain FHIR R4 REST.
//!
//! Delivery is idempotent by construction: the resource's own id is the id at the destination, so it is always
//! `PUT {base}/{type}/{id}`, alone or as entries of one transaction, and a repeated attempt overwrites the same
//! resource with the same content. What it may hold no longer is told by `DELETE`, or by a `PUT` of the same id whose
//! content is that there is none. Redirects are never followed, since a destination is an agreed address and a
//! token must not travel to another one. Every exchange is bounded as a whole in time and in size.

mod arrival;
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
use std::sync::Arc;

pub(super) use channel::Channel;
pub use config::{Auth, Config};
pub use link::{Ended, Given, Linker, Tokens};
pub use send::OpenError;

use self::send::{Answer, Failure};
use super::{
    Allowance, Arrival, Asking, Clock, Content, Delivered, Item, Platform, Resource, Shaped, Taken, Trace, Verdict,
};

/// An opened destination: connections, credentials and the cached token.
pub struct FhirRest {
    name: String,
    base: reqwest::Url,
    /// Where it is asked about persons.
    lookups: reqwest::Url,
    batch: bool,
    sender: send::Sender,
    token: Option<token::Source>,
    clock: Clock,
}

/// What an exchange is part of.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    request_id: &'a str,
    own: Option<&'a Allowance>,
    trace: Option<&'a Arc<Trace>>,
}

impl Item {
    fn attempt(&self) -> Attempt<'_> {
        Attempt { request_id: &self.request_id, own: self.access.as_ref(), trace: self.trace.as_ref() }
    }
}

/// Why something was not tried.
const BEHIND: &str = "what came before it did not arrive";

impl FhirRest {
    /// Reads keys and certificates, so that a wrong path shows at start and not at the first delivery.
    pub fn open(name: &str, config: &Config, clock: Clock) -> Result<Self, OpenError> {
        let sender = send::Sender::open(config)?;
        let token = match &config.auth {
            Auth::BackendServices(credentials) => Some(token::Source::open(credentials, clock.clone())?),
            Auth::Iua(iua) => Some(token::Source::of_persons(iua, &config.url, clock.clone())?),
            Auth::None | Auth::ClientCertificate { .. } | Auth::Citizen(_) => None,
        };
        let base = config::address(&config.url).map_err(OpenError::Config)?;
        let lookups = config.lookup_url.as_deref().map_or(Ok(base.clone()), config::address);
        let lookups = lookups.map_err(OpenError::Config)?;
        Ok(FhirRest { name: name.to_owned(), base, lookups, batch: config.batch, sender, token, clock })
    }

    async fn attempt(&self, item: &Item) -> Delivered {
        match &item.content {
            Content::Shaped(shaped) => self.tell(shaped, item).await,
            Content::Resources(resources) if self.batch && resources.len() > 1 => {
                let verdict = match translate::transaction(&self.name, &self.base, resources) {
                    Ok(request) => self.exchange(&request, item.attempt()).await,
                    Err(reason) => Verdict::Rejected { reason },
                };
                Delivered::whole(verdict)
            }
            Content::Resources(resources) => self.one_by_one(resources, item).await,
        }
    }

    async fn tell(&self, shaped: &Shaped, item: &Item) -> Delivered {
        let request = translate::shaped(&self.name, &self.base, shaped);
        let person = shaped.person.as_ref().map(|(system, value)| (system.as_str(), value.as_str()));
        if person.is_none() && self.token.as_ref().is_some_and(token::Source::is_of_persons) {
            let reason = "the destination knows no name of the person that a token could be for".to_owned();
            return Delivered::whole(Verdict::Rejected { reason });
        }
        match self.answer(&request, item.attempt(), person).await {
            Ok(answer) => arrival::shaped(&answer, shaped, (self.clock)()),
            Err(verdict) => Delivered::whole(verdict),
        }
    }

    async fn one_by_one(&self, resources: &[Resource], item: &Item) -> Delivered {
        let mut each: Vec<Arrival> = Vec::with_capacity(resources.len());
        for resource in resources {
            // The rest waits: what cannot be delivered now would only load a system in trouble.
            let verdict = match each.last().filter(|before| !before.verdict.is_alive()) {
                Some(_) => Verdict::Unreached { reason: BEHIND.to_owned() },
                None => match translate::update(&self.name, &self.base, resource) {
                    Ok(request) => self.exchange(&request, item.attempt()).await,
                    Err(reason) => Verdict::Rejected { reason },
                },
            };
            each.push(Arrival::of(verdict));
        }
        let verdicts = || each.iter().map(|one| &one.verdict);
        let trouble = verdicts().find(|verdict| !verdict.is_alive());
        let refused = verdicts().find(|verdict| **verdict != Verdict::Acknowledged);
        let verdict = trouble.or(refused).cloned().unwrap_or(Verdict::Acknowledged);
        Delivered { verdict, each, divisible: true }
    }

    async fn look_up(&self, asking: &Asking) -> Result<Vec<u8>, Verdict> {
        let request = translate::question(&self.lookups, &asking.question);
        let Asking { request_id, access, trace, .. } = asking;
        let attempt = Attempt { request_id, own: access.as_ref(), trace: trace.as_ref() };
        let answer = self.answer(&request, attempt, None).await?;
        arrival::found(answer, &asking.pack, (self.clock)())
    }

    async fn take_back(&self, taken: &Taken) -> Verdict {
        let Taken { request_id, access, trace, .. } = taken;
        let attempt = Attempt { request_id, own: access.as_ref(), trace: trace.as_ref() };
        match translate::recall(&self.name, &self.base, taken) {
            Ok(request) => self.exchange(&request, attempt).await,
            Err(reason) => Verdict::Rejected { reason },
        }
    }

    /// What a request comes to.
    async fn exchange(&self, request: &translate::Request, attempt: Attempt<'_>) -> Verdict {
        match self.answer(request, attempt, None).await {
            Ok(answer) if request.method == reqwest::Method::DELETE => classify::deletion(&answer, (self.clock)()),
            Ok(answer) => classify::verdict(&answer, request.entries, (self.clock)()),
            Err(verdict) => verdict,
        }
    }

    /// One request; a refused token is renewed once, because it may have been revoked before its time. The error is what
    /// it means that there is no answer.
    async fn answer(
        &self,
        request: &translate::Request,
        Attempt { request_id, own, trace }: Attempt<'_>,
        person: token::Person<'_>,
    ) -> Result<Answer, Verdict> {
        let sender = self.sender.traced(trace);
        let mut renewed = false;
        loop {
            let access = match &self.token {
                None => own.map(|allowance| token::Access::new(allowance.token().to_owned(), None)),
                Some(source) => match source.access(&sender, renewed, person).await {
                    Ok(access) => Some(access),
                    // Only a token that was refused shows that the request had been sent.
                    Err(reason) if renewed => return Err(Verdict::Retry { after_ms: None, reason }),
                    Err(reason) => return Err(Verdict::Unreached { reason }),
                },
            };
            let answer = match sender.send(request, request_id, access.as_ref()).await {
                Ok(answer) => answer,
                Err(failure @ Failure::Connect) => return Err(Verdict::Unreached { reason: failure.to_string() }),
                Err(failure) => return Err(Verdict::Retry { after_ms: None, reason: failure.to_string() }),
            };
            if matches!(answer.status, 401 | 403) && self.token.is_some() && !renewed {
                renewed = true;
                continue;
            }
            if let Some(allowance) = own.filter(|_| answer.status == 401) {
                allowance.refuse();
                let reason = "HTTP 401: the person's token was refused".to_owned();
                return Err(Verdict::Retry { after_ms: None, reason });
            }
            return Ok(answer);
        }
    }
}

impl Platform for FhirRest {
    fn deliver<'a>(&'a self, item: &'a Item) -> Pin<Box<dyn Future<Output = Delivered> + Send + 'a>> {
        Box::pin(self.attempt(item))
    }

    fn ask<'a>(&'a self, asking: &'a Asking) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Verdict>> + Send + 'a>> {
        Box::pin(self.look_up(asking))
    }

    fn recall<'a>(&'a self, taken: &'a Taken) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>> {
        Box::pin(self.take_back(taken))
    }
}
