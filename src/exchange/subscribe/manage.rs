//! What clients ask for: made, read, changed and ended by the client alone.
//!
//! Headers of a channel may be secrets: they are sealed with the subscription and never read back. So who sends a
//! subscription back without any keeps those that stand, as long as they go to the same address.

use std::sync::Arc;

use serde_json::{Value, json};

use super::FOLLOWER;
use super::granted::Granted;
use super::watch::Watch;
use crate::exchange::pull::AskedOfHistory;
use crate::exchange::push::{Patch, When};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::search::Query;
use crate::fhir::tree::{Document, Element, json as tree, time, write};
use crate::fhir::validate::Options;
use crate::policy::access::Interaction;
use crate::policy::subscription::{Channel, Status};
use crate::store::{Asked, Course, Placed, Subscription};

const KIND: &str = "Subscription";

/// A subscription as its client sees it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub id: String,
    pub version: u32,
    pub updated_ms: i64,
    pub resource: Value,
}

/// How often a patch is made again of what a subscription has become meanwhile.
const TRIES: u32 = 8;

impl Gateway {
    /// `POST [base]/Subscription`.
    pub async fn subscribe(&self, caller: &Caller<'_>, document: Document) -> Result<Shown, Refusal> {
        let made = self.subscribed(caller, document, None, When::default()).await;
        self.or_refused(caller, made).await
    }

    /// `PUT [base]/Subscription/[id]`: also how a client asks for it again after an error.
    pub async fn resubscribe(
        &self,
        caller: &Caller<'_>,
        id: &str,
        document: Document,
        when: When,
    ) -> Result<Shown, Refusal> {
        let changed = self.subscribed(caller, document, Some(id), when).await;
        self.or_refused(caller, changed).await
    }

    /// `PATCH [base]/Subscription/[id]`: what its client can read of it, changed, is asked for again.
    pub async fn patch_subscription(
        &self,
        caller: &Caller<'_>,
        id: &str,
        (form, patch): (Patch, &[u8]),
        when: When,
    ) -> Result<Shown, Refusal> {
        let changed = async {
            own_permitted(caller, Interaction::Update)?;
            let mut tries = 0;
            loop {
                let stands = self.own(caller, id).await?;
                let document = self.patched(shown(&stands).resource.to_string().as_bytes(), form, patch)?;
                // What was patched is what is replaced, and nothing that came in between.
                let of_it = When { version: when.version.or(Some(stands.version)), ..when };
                tries += 1;
                match self.subscribed(caller, document, Some(id), of_it).await {
                    // A handshake came in between; whoever named no version means the one that stands.
                    Err(refusal)
                        if when.version.is_none() && tries < TRIES && refusal.ids().contains(&Id::VersionConflict) => {}
                    outcome => break outcome,
                }
            }
        };
        let changed = changed.await;
        self.or_refused(caller, changed).await
    }

    /// `DELETE [base]/Subscription/[id]`.
    pub async fn unsubscribe(&self, caller: &Caller<'_>, id: &str) -> Result<(), Refusal> {
        let removed = async {
            own_permitted(caller, Interaction::Delete)?;
            let record = Author::of(self, caller).record(Act::Delete, None, &[format!("{KIND}/{id}")], None, &[]);
            let removed = self.store.remove_subscription(&caller.principal.client, id, record).await?;
            if removed { Ok(()) } else { Err(Refusal::not_found()) }
        };
        let removed = removed.await;
        self.or_refused(caller, removed).await
    }

    /// `GET [base]/Subscription/[id]`.
    pub async fn subscription(&self, caller: &Caller<'_>, id: &str) -> Result<Shown, Refusal> {
        let found = async {
            own_permitted(caller, Interaction::Read)?;
            self.own(caller, id).await
        };
        let found = found.await;
        let found = self.or_refused(caller, found).await?;
        let record = Author::of(self, caller).record(Act::Read, None, &[format!("{KIND}/{id}")], None, &[]);
        self.store.record_audit(vec![record]).await?;
        Ok(shown(&found))
    }

    /// `GET [base]/Subscription/[id]/_history/[version]`.
    pub async fn subscription_version(&self, caller: &Caller<'_>, id: &str, version: u32) -> Result<Shown, Refusal> {
        let found = self.own_versions(caller, id).await;
        let found = found.and_then(|versions| {
            versions.into_iter().find(|each| each.version == version).ok_or_else(Refusal::not_found)
        });
        let found = self.or_refused(caller, found).await?;
        let reference = format!("{KIND}/{id}/_history/{version}");
        let record = Author::of(self, caller).record(Act::Read, None, &[reference], None, &[]);
        self.store.record_audit(vec![record]).await?;
        Ok(shown(&found))
    }

    /// `GET [base]/Subscription/[id]/_history`: the latest first, as far as they are kept; also how many there are, the
    /// parameters that were understood, and what was not.
    pub async fn subscription_history(
        &self,
        caller: &Caller<'_>,
        id: &str,
        pairs: &[(String, String)],
        lenient: bool,
    ) -> Result<(Vec<Shown>, usize, AskedOfHistory), Refusal> {
        let found = async {
            let asked = AskedOfHistory::read(pairs, lenient)?;
            Ok((self.own_versions(caller, id).await?, asked))
        };
        let found = found.await;
        let (mut found, asked) = self.or_refused(caller, found).await?;
        found.retain(|each| asked.since_ms.is_none_or(|since_ms| each.updated_ms >= since_ms));
        let total = found.len();
        found.truncate(asked.count.unwrap_or(usize::MAX));
        let author = Author::of(self, caller).with_query(&format!("{KIND}/{id}/_history"), pairs);
        self.store.record_audit(vec![author.record(Act::Query, None, &[], None, &[])]).await?;
        Ok((found.iter().map(shown).collect(), total, asked))
    }

    /// `GET [base]/Subscription?…`: of the client's own; also the parameters that were understood, and what was not.
    pub async fn subscriptions(
        &self,
        caller: &Caller<'_>,
        pairs: &[(String, String)],
        lenient: bool,
    ) -> Result<(Vec<Shown>, Vec<(String, String)>, Vec<Issue>), Refusal> {
        let found = async {
            own_permitted(caller, Interaction::Search)?;
            let (mut query, issues) = Query::parse(KIND, pairs, &self.registry, lenient);
            if has_errors(&issues) {
                return Err(issues.into());
            }
            query.base = Some(self.base.clone());
            let own = self.store.subscriptions_of(&caller.principal.client).await?;
            let mut found: Vec<Shown> = own.iter().map(shown).collect();
            found.retain(|each| {
                let document = tree::parse(each.resource.to_string());
                document.is_ok_and(|document| query.matches(Element::root(&document), each.updated_ms))
            });
            Ok((found, query.echo(), issues))
        };
        let found = found.await;
        let found = self.or_refused(caller, found).await?;
        let author = Author::of(self, caller).with_query(KIND, pairs);
        self.store.record_audit(vec![author.record(Act::Query, None, &[], None, &[])]).await?;
        Ok(found)
    }

    /// The same outcome, with a refusal on record.
    pub(super) async fn or_refused<T>(&self, caller: &Caller<'_>, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        match outcome {
            Ok(done) => Ok(done),
            Err(refusal) => Err(self.refused(caller, refusal).await),
        }
    }

    /// A subscription of the client's own; another's is as absent as one that nobody has.
    pub(super) async fn own(&self, caller: &Caller<'_>, id: &str) -> Result<Subscription, Refusal> {
        let found = self.store.subscription(id).await?;
        found.filter(|found| found.client == caller.principal.client).ok_or_else(Refusal::not_found)
    }

    /// All versions of a subscription of the client's own, the latest first.
    async fn own_versions(&self, caller: &Caller<'_>, id: &str) -> Result<Vec<Subscription>, Refusal> {
        own_permitted(caller, Interaction::Read)?;
        let found = self.store.subscription_versions(id).await?;
        let is_own = found.first().is_some_and(|stands| stands.client == caller.principal.client);
        if is_own { Ok(found) } else { Err(Refusal::not_found()) }
    }

    async fn subscribed(
        &self,
        caller: &Caller<'_>,
        document: Document,
        id: Option<&str>,
        when: When,
    ) -> Result<Shown, Refusal> {
        let interaction = if id.is_some() { Interaction::Update } else { Interaction::Create };
        own_permitted(caller, interaction)?;
        let stands = match id {
            Some(id) => Some(self.own(caller, id).await?),
            None => None,
        };
        if let (Some(stands), Some(version)) = (&stands, when.version)
            && stands.version != version
        {
            return Err(moved());
        }
        let document = Arc::new(document);
        let root = Element::root(&document);
        self.valid(&document, id)?;
        let watch = self.watch(root)?;
        caller.principal.permits(watch.wanted.topic.kind, Interaction::Read).map_err(|denied| denied.issue())?;
        self.reachable(&watch).await?;
        let body = stripped(&document);
        let secret = secret(&watch, stands.as_ref());
        let (status, course) = begins(&watch);
        let id = stands.as_ref().map_or_else(|| Arc::from(self.uuid()), |stands| stands.id.clone());
        let reference = format!("{KIND}/{id}");
        let act = if stands.is_some() { Act::Update } else { Act::Create };
        let asked = Asked {
            client: caller.principal.client.clone(),
            follows: stands.as_ref().map_or(0, |stands| stands.version),
            now_ms: self.now_ms(),
            status: status.code().to_owned(),
            body: body.to_string().into_bytes(),
            granted: Granted::remembered(caller),
            secret,
            sends: matches!(watch.wanted.channel, Channel::RestHook { .. }),
            course,
            record: Author::of(self, caller).record(act, None, &[reference], None, &[]),
            id: id.clone(),
        };
        match self.store.put_subscription(asked, self.subscriptions.config.per_client, FOLLOWER).await? {
            Placed::Done => {
                self.subscriptions.begun.notify_one();
                self.subscriptions.is_due();
            }
            Placed::Moved => return Err(moved()),
            Placed::Full => {
                let text = "The client has as many subscriptions as it may have.";
                return Err(Refusal::one(Id::SubscriptionQuota, "", text));
            }
        }
        // Its turn may have come already, so that it may stand otherwise by now: what was asked for is what is answered.
        let placed = self.store.subscription(&id).await?.ok_or_else(Refusal::not_found)?;
        Ok(shown(&Subscription { status: status.code().to_owned(), error: None, ..placed }))
    }

    /// The resource by the rules of R4.
    fn valid(&self, document: &Arc<Document>, id: Option<&str>) -> Result<(), Refusal> {
        let root = Element::root(document);
        if root.resource_type() != Some(KIND) {
            let text = "The URL asks for a resource of type Subscription.";
            return Err(Issue::new(Id::TypeNotInUrl, "resourceType", text).at(root.position()).into());
        }
        if id.is_some() && root.text_of("id") != id {
            let text = "The id is that of the URL.";
            return Err(Issue::new(Id::IdMismatch, "Subscription.id", text).at(root.position()).into());
        }
        let options = Options { formed_references: true, now_ms: Some(self.now_ms()), ..Options::default() };
        self.validator.validate(document.clone(), document.root(), &options)?;
        Ok(())
    }

    async fn reachable(&self, watch: &Watch) -> Result<(), Refusal> {
        const PLACE: &str = "Subscription.channel.endpoint";
        let Channel::RestHook { endpoint } = &watch.wanted.channel else { return Ok(()) };
        let Some(hook) = &self.subscriptions.hook else {
            return Err(Refusal::one(
                Id::SubscriptionChannel,
                "Subscription.channel.type",
                "No endpoint is called here.",
            ));
        };
        hook.acceptable(endpoint)
            .map_err(|mistake| Refusal::one(Id::SubscriptionEndpoint, PLACE, mistake.to_string()))?;
        if hook.leads_outside(endpoint).await {
            Ok(())
        } else {
            Err(Refusal::one(Id::SubscriptionEndpoint, PLACE, "It must lead to a machine of the public internet."))
        }
    }
}

/// Whether the client's scopes let it do that with subscriptions.
pub(super) fn own_permitted(caller: &Caller<'_>, interaction: Interaction) -> Result<(), Refusal> {
    caller.principal.permits(KIND, interaction).map(drop).map_err(|denied| denied.issue().into())
}

fn moved() -> Refusal {
    Refusal::one(Id::VersionConflict, "", "The subscription is in another version by now.")
}

/// What is kept to be read back: what the gateway says itself is left out, and what is secret.
fn stripped(document: &Document) -> Value {
    let mut body: Value = serde_json::from_str(&write::compact(document, document.root())).unwrap_or(Value::Null);
    if let Some(members) = body.as_object_mut() {
        for own in ["id", "_id", "status", "_status", "error", "_error"] {
            members.remove(own);
        }
        if let Some(meta) = members.get_mut("meta").and_then(Value::as_object_mut) {
            meta.retain(|name, _| !matches!(name.as_str(), "versionId" | "lastUpdated"));
        }
        if let Some(channel) = members.get_mut("channel").and_then(Value::as_object_mut) {
            channel.retain(|name, _| !matches!(name.as_str(), "header" | "_header"));
        }
    }
    body
}

/// The headers, as pairs. Who sends none keeps those that stand; another address gets none that it was not given.
fn secret(watch: &Watch, stands: Option<&Subscription>) -> Vec<u8> {
    let kept = stands.filter(|stands| {
        watch.wanted.headers.is_empty() && watch.wanted.channel == endpoint_of(stands) && !stands.secret.is_empty()
    });
    if let Some(stands) = kept {
        return stands.secret.clone();
    }
    let pairs: Vec<(&str, &str)> =
        watch.wanted.headers.iter().map(|header| (header.name.as_str(), header.value.as_str())).collect();
    serde_json::to_vec(&pairs).unwrap_or_default()
}

fn endpoint_of(subscription: &Subscription) -> Channel {
    let body: Value = serde_json::from_slice(&subscription.body).unwrap_or(Value::Null);
    match body["channel"]["endpoint"].as_str() {
        Some(endpoint) => Channel::RestHook { endpoint: endpoint.to_owned() },
        None => Channel::Websocket,
    }
}

/// How it begins: an endpoint is to answer first, and its events begin then; a socket is the client's own doing.
fn begins(watch: &Watch) -> (Status, Course) {
    match watch.wanted.channel {
        _ if watch.wanted.is_off => (Status::Off, Course::Ends),
        Channel::Websocket => (Status::Active, Course::Begins),
        Channel::RestHook { .. } => (Status::Requested, Course::GoesOn),
    }
}

/// The resource, as it stands.
pub(super) fn shown(subscription: &Subscription) -> Shown {
    let mut body: Value = serde_json::from_slice(&subscription.body).unwrap_or(Value::Null);
    let mut resource = json!({"resourceType": KIND, "id": &*subscription.id});
    if let (Some(resource), Some(body)) = (resource.as_object_mut(), body.as_object_mut()) {
        let mut meta = body.remove("meta").filter(Value::is_object).unwrap_or_else(|| json!({}));
        meta["versionId"] = json!(subscription.version.to_string());
        meta["lastUpdated"] = json!(time::instant(subscription.updated_ms));
        resource.insert("meta".to_owned(), meta);
        body.remove("resourceType");
        resource.append(body);
        resource.insert("status".to_owned(), json!(subscription.status));
        if let Some(error) = &subscription.error {
            resource.insert("error".to_owned(), json!(error));
        }
    }
    Shown {
        id: subscription.id.to_string(),
        version: subscription.version,
        updated_ms: subscription.updated_ms,
        resource,
    }
}
