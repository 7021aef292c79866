//! Over a socket that the client opens: bound by a token, and told what waits for as long as it is open.
//!
//! The protocol has no word by which a client says that it has taken something: what went into the socket counts as
//! taken, and who misses something asks `$events`. How a socket is opened and written to is not known here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::FOLLOWER;
use super::manage::own_permitted;
use super::sight::Subscriber;
use super::turn::{GONE, Next, Telling, standing};
use crate::exchange::pull::page;
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::time;
use crate::policy::access::Interaction;
use crate::policy::delivery::Verdict;
use crate::policy::subscription::notification::Occasion;
use crate::policy::subscription::{Channel, Status};
use crate::store::{self, AuditRecord, Subscription, TurnEnd};

/// How long a token may be used to bind.
const TOKEN_MS: i64 = 5 * 60_000;

/// Longest time between two looks at what waits, and so between the end of a registration and that of its sockets.
pub const LOOK_MS: u64 = 2_000;

const LEASE_MS: i64 = 60_000;

/// What a token carries.
#[derive(Serialize, Deserialize)]
struct Token {
    client: String,
    ids: Vec<String>,
    until_ms: i64,
}

/// What a socket is bound to: subscriptions by id, each of the client that it is of.
#[derive(Default)]
pub struct Bound {
    worker: String,
    subscriptions: BTreeMap<Arc<str>, Arc<str>>,
}

impl Bound {
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
    }
}

/// Something for the socket; whether it was written is said by `Gateway::written`.
pub struct Outgoing {
    subscription: Subscription,
    telling: Box<Telling>,
}

impl Outgoing {
    pub fn text(&self) -> &str {
        &self.telling.body
    }
}

impl Gateway {
    /// Changes when there may be something to tell.
    pub fn events_due(&self) -> tokio::sync::watch::Receiver<u64> {
        self.subscriptions.due.subscribe()
    }

    /// `Subscription/$get-ws-binding-token`, and that of one.
    pub async fn binding_token(
        &self,
        caller: &Caller<'_>,
        one: Option<&str>,
        ids: &[String],
    ) -> Result<Value, Refusal> {
        let granted = async {
            own_permitted(caller, Interaction::Read)?;
            let own = match one {
                Some(id) => vec![self.own(caller, id).await?],
                None => self.store.subscriptions_of(&caller.principal.client).await?,
            };
            let asked = |each: &Subscription| one.is_some() || ids.is_empty() || ids.iter().any(|id| **id == *each.id);
            let own: Vec<String> = own
                .iter()
                .filter(|each| self.is_of_a_socket(each) && asked(each))
                .map(|each| each.id.to_string())
                .collect();
            if own.is_empty() {
                let text = "The client has no subscription of that id with the channel websocket.";
                return Err(Refusal::one(Id::OperationParameter, "id", text));
            }
            Ok(own)
        };
        let granted = granted.await;
        let ids = self.or_refused(caller, granted).await?;
        let until_ms = self.now_ms() + TOKEN_MS;
        let token = Token { client: caller.principal.client.to_string(), ids: ids.clone(), until_ms };
        let token = page::sign(&token, PURPOSE, &self.page_secret, "");
        let author = Author::of(self, caller).with_query("Subscription/$get-ws-binding-token", &[]);
        self.store.record_audit(vec![author.record(Act::Operation, None, &[], None, &[])]).await?;
        let mut parameters = vec![
            json!({"name": "token", "valueString": token}),
            json!({"name": "expiration", "valueDateTime": time::instant(until_ms)}),
        ];
        parameters.extend(ids.iter().map(|id| json!({"name": "subscription", "valueString": id})));
        parameters.push(json!({"name": "websocket-url", "valueUrl": self.socket_url()}));
        Ok(json!({"resourceType": "Parameters", "parameter": parameters}))
    }

    fn socket_url(&self) -> String {
        let root = self.base.strip_suffix("/fhir").unwrap_or(&self.base);
        format!("wss{}/subscriptions/websocket", root.strip_prefix("https").unwrap_or(root))
    }

    fn is_of_a_socket(&self, subscription: &Subscription) -> bool {
        self.watch_of(subscription).is_some_and(|watch| watch.wanted.channel == Channel::Websocket)
    }

    /// Binds a socket by a token; the handshakes to be written, or none where the token is not one of ours now.
    pub async fn bind(&self, bound: &mut Bound, token: &str) -> Result<Option<Vec<String>>, store::Error> {
        let token = page::verify::<Token>(token, PURPOSE, &self.page_secret, "");
        let Some(token) = token.filter(|token| self.now_ms() < token.until_ms) else { return Ok(None) };
        if bound.worker.is_empty() {
            bound.worker = self.worker();
        }
        let mut handshakes = Vec::new();
        for id in token.ids {
            let found = self.store.subscription(&id).await?.filter(|found| *found.client == *token.client);
            let Some(subscription) = found else { continue };
            let (Ok(Some(granted)), Some(watch)) = (self.right_of(&subscription).await, self.watch_of(&subscription))
            else {
                continue;
            };
            let subscriber = Subscriber { subscription: &subscription, granted: &granted, watch: &watch };
            handshakes.push(self.notification(subscriber, Occasion::Handshake, subscription.events, &[]));
            bound.subscriptions.insert(subscription.id.clone(), subscription.client.clone());
        }
        Ok(Some(handshakes))
    }

    /// The next thing for a socket, if there is one now. What ended or changed its channel is bound no more.
    pub async fn next_for(&self, bound: &mut Bound) -> Result<Option<Outgoing>, store::Error> {
        let ids: Vec<Arc<str>> = bound.subscriptions.keys().cloned().collect();
        for id in ids {
            match self.next_on_socket(bound, &id).await? {
                Turn::Tell(outgoing) => return Ok(Some(*outgoing)),
                Turn::Nothing => {}
                Turn::Unbound => drop(bound.subscriptions.remove(&id)),
            }
        }
        Ok(None)
    }

    async fn next_on_socket(&self, bound: &Bound, id: &str) -> Result<Turn, store::Error> {
        // Looked at before anything is written: most often nothing waits.
        let Some(seen) = self.store.subscription(id).await? else { return Ok(Turn::Unbound) };
        let of_client = bound.subscriptions.get(id).is_some_and(|client| *client == seen.client);
        if !of_client || !self.is_of_a_socket(&seen) || standing(&seen).status != Status::Active {
            return Ok(Turn::Unbound);
        }
        let Ok(granted) = self.right_of(&seen).await else { return Ok(Turn::Nothing) };
        if granted.is_some() && !self.is_due(&seen).await? {
            return Ok(Turn::Nothing);
        }
        let leased = self.store.lease_subscription(id, &bound.worker, self.now_ms(), LEASE_MS).await?;
        let Some(subscription) = leased else { return Ok(Turn::Nothing) };
        let (Some(granted), Some(watch)) = (granted, self.watch_of(&subscription)) else {
            self.settled(&subscription, self.over(&subscription, GONE), Vec::new()).await?;
            return Ok(Turn::Unbound);
        };
        let subscriber = Subscriber { subscription: &subscription, granted: &granted, watch: &watch };
        match self.next_of(subscriber).await? {
            Next::Tell(telling) => Ok(Turn::Tell(Box::new(Outgoing { subscription, telling }))),
            Next::Wait { .. } => {
                self.settled(&subscription, self.unchanged(&subscription), Vec::new()).await?;
                Ok(Turn::Nothing)
            }
            Next::Over(reason) => {
                self.settled(&subscription, self.over(&subscription, reason), Vec::new()).await?;
                Ok(Turn::Unbound)
            }
        }
    }

    /// Whether something waits, or a heartbeat is due.
    async fn is_due(&self, subscription: &Subscription) -> Result<bool, store::Error> {
        if subscription.events > subscription.taken {
            return Ok(true);
        }
        let now_ms = self.now_ms();
        let Some(watch) = self.watch_of(subscription) else { return Ok(true) };
        let terms = self.terms(&watch, true);
        let beats = terms.heartbeat_ms.is_some_and(|period_ms| subscription.told_ms + period_ms <= now_ms);
        let ends = terms.end_ms.is_some_and(|end_ms| end_ms <= now_ms);
        Ok(beats || ends || !self.store.events_waiting(&subscription.id, now_ms, 1).await?.is_empty())
    }

    /// Says whether something was written into the socket. Where it was not, it waits for the next one.
    pub async fn written(&self, outgoing: Outgoing, was: bool) -> Result<(), store::Error> {
        let Outgoing { subscription, telling } = outgoing;
        let (granted, watch) = (self.right_of(&subscription).await.ok().flatten(), self.watch_of(&subscription));
        let verdict = if was {
            Verdict::Acknowledged
        } else {
            Verdict::Retry { after_ms: None, reason: "the socket was closed".to_owned() }
        };
        let mut end = self.unchanged(&subscription);
        let mut records = Vec::new();
        if let (Some(granted), Some(watch)) = (&granted, &watch) {
            let subscriber = Subscriber { subscription: &subscription, granted, watch };
            (end.taken, records) = self.left(subscriber, &telling, &verdict);
        } else {
            // The right ended meanwhile; what left has left.
            records.extend(telling.foretold());
        }
        if was {
            end.told_ms = self.now_ms();
        }
        self.settled(&subscription, end, records).await
    }

    /// As it stands; for the workers that call endpoints there is nothing to do but to end it.
    fn unchanged(&self, subscription: &Subscription) -> TurnEnd {
        let end_ms = self.watch_of(subscription).and_then(|watch| watch.wanted.end_ms);
        self.turn_end(subscription, standing(subscription), end_ms.unwrap_or(i64::MAX), subscription.taken)
    }

    async fn settled(
        &self,
        subscription: &Subscription,
        end: TurnEnd,
        records: Vec<AuditRecord>,
    ) -> Result<(), store::Error> {
        match self.store.settle_subscription(subscription, end, records.clone(), FOLLOWER).await? {
            store::Fenced::Held => Ok(()),
            store::Fenced::Lost => self.store.record_audit(records).await,
        }
    }
}

/// What tokens of sockets are for.
const PURPOSE: &str = "websocket";

enum Turn {
    Tell(Box<Outgoing>),
    Nothing,
    Unbound,
}
