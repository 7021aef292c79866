//! What a client asks instead of being told: where its subscriptions stand, and events that it may have missed.

use serde_json::{Value, json};

use super::manage::own_permitted;
use super::sight::{Subscriber, told};
use super::turn::{fitting, ids, standing, told_of};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::policy::access::Interaction;
use crate::policy::subscription::notification::{self, About, Occasion};
use crate::policy::subscription::{Content, Status};
use crate::store::Subscription;

/// Most events of one answer.
const MOST: usize = 500;

/// Parameters of `$status` for all that a client has.
#[derive(Clone, Default, Debug)]
pub struct Which {
    pub ids: Vec<String>,
    pub statuses: Vec<String>,
}

/// Parameters of `$events`.
#[derive(Clone, Default, Debug)]
pub struct Range {
    pub since: Option<String>,
    pub until: Option<String>,
    pub content: Option<String>,
}

impl Gateway {
    /// `Subscription/$status`, and that of one.
    pub async fn subscription_status(
        &self,
        caller: &Caller<'_>,
        one: Option<&str>,
        which: &Which,
    ) -> Result<Value, Refusal> {
        let answered = async {
            own_permitted(caller, Interaction::Read)?;
            if which.statuses.iter().any(|status| Status::parse(status).is_none()) {
                let text = "The status is requested, active, error or off.";
                return Err(Refusal::one(Id::OperationParameter, "status", text));
            }
            let found = match one {
                Some(id) => vec![self.own(caller, id).await?],
                None => self.store.subscriptions_of(&caller.principal.client).await?,
            };
            let mut entries = Vec::with_capacity(found.len());
            for mut subscription in found {
                let asked = |list: &[String], value: &str| list.is_empty() || list.iter().any(|each| each == value);
                let fits = asked(&which.ids, &subscription.id) && asked(&which.statuses, &subscription.status);
                if one.is_none() && !fits {
                    continue;
                }
                self.count(&mut subscription).await?;
                let (id, status) = self.status_of(&subscription);
                entries.push(json!({
                    "fullUrl": format!("urn:uuid:{id}"), "resource": status, "search": {"mode": "match"}
                }));
            }
            Ok(entries)
        };
        let answered = answered.await;
        let entries = self.or_refused(caller, answered).await?;
        let author = Author::of(self, caller).with_query("Subscription/$status", &[]);
        self.store.record_audit(vec![author.record(Act::Operation, None, &[], None, &[])]).await?;
        let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "total": entries.len()});
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        Ok(bundle)
    }

    /// `Subscription/[id]/$events`.
    pub async fn subscription_events(&self, caller: &Caller<'_>, id: &str, range: &Range) -> Result<String, Refusal> {
        let found = async {
            own_permitted(caller, Interaction::Read)?;
            Ok((self.own(caller, id).await?, number(range.since.as_deref())?, number(range.until.as_deref())?))
        };
        let found = found.await;
        let (mut subscription, since, until) = self.or_refused(caller, found).await?;
        self.count(&mut subscription).await?;
        let granted = self.right_of(&subscription).await?;
        let (Some(granted), Some(watch)) = (granted, self.watch_of(&subscription)) else {
            return Err(self.refused(caller, Refusal::not_found()).await);
        };
        let subscriber = Subscriber { subscription: &subscription, granted: &granted, watch: &watch };
        let (from, to) = (since.unwrap_or(1), until.unwrap_or(u64::MAX));
        let mut numbered = self.store.events_numbered(id, from, to, MOST).await?;
        numbered.truncate(fitting(&numbered));
        let sighted = self.sighted(subscriber, numbered).await?;
        let content = range.content.as_deref().map_or(Some(watch.wanted.content), Content::parse);
        let Some(content) = content else {
            let text = "The content is empty, id-only or full-resource.";
            return Err(self.refused(caller, Refusal::one(Id::OperationParameter, "content", text)).await);
        };
        let topic = watch.wanted.topic.canonical();
        let about = About { content, ..self.about_subscription(&subscription, &topic) };
        let bundle = notification::bundle(
            &about,
            Occasion::EventsQuery,
            &told_of(&sighted, &ids(&sighted)),
            &self.uuid(),
            self.now_ms(),
        );
        let author = Author::of(self, caller).with_query(&format!("Subscription/{id}/$events"), &[]);
        let mut records = told(&author, Act::Query, &sighted, &[]);
        if records.is_empty() {
            records.push(author.record(Act::Query, None, &[], None, &[]));
        }
        self.store.record_audit(records).await?;
        Ok(bundle)
    }

    /// What waits for sockets that nobody opens counts in time, before it is old enough to be forgotten.
    pub(in crate::exchange) async fn count_of_sockets(&self) -> Result<(), Refusal> {
        for mut subscription in self.store.subscriptions_live().await? {
            if !subscription.sends {
                self.count(&mut subscription).await?;
            }
        }
        Ok(())
    }

    /// What has happened so far counts, whether or not it was told.
    async fn count(&self, subscription: &mut Subscription) -> Result<(), Refusal> {
        let (Some(granted), Some(watch)) = (self.right_of(subscription).await?, self.watch_of(subscription)) else {
            return Ok(());
        };
        let subscriber = Subscriber { subscription, granted: &granted, watch: &watch };
        let events = self.number(subscriber, u64::MAX).await?;
        subscription.events = events;
        Ok(())
    }

    fn status_of(&self, subscription: &Subscription) -> (String, Value) {
        let watch = self.watch_of(subscription);
        let topic = watch.map(|watch| watch.wanted.topic.canonical()).unwrap_or_default();
        // The client asks by itself, so that nothing of its own is kept from it.
        let about = About { content: Content::IdOnly, ..self.about_subscription(subscription, &topic) };
        let id = self.uuid();
        let status = notification::status(&about, Occasion::StatusQuery, &[], &id);
        (id, status)
    }

    fn about_subscription<'a>(&'a self, subscription: &'a Subscription, topic: &'a str) -> About<'a> {
        About {
            base: &self.base,
            id: &subscription.id,
            topic,
            status: standing(subscription).status,
            events: subscription.events,
            error: subscription.error.as_deref(),
            content: Content::IdOnly,
        }
    }
}

fn number(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    let wrong = |_| Refusal::one(Id::OperationParameter, "", "Numbers of events are whole numbers, zero or more.");
    text.map(|text| text.parse().map_err(wrong)).transpose()
}
