//! A subscription's turn: what is next is done once, and written down.
//!
//! A turn is a lease, so that of several gateways one calls an endpoint at a time. What is about to be disclosed goes on
//! record first. A turn that was lost while its call was under way has told what another will tell again, under the same
//! numbers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::FOLLOWER;
use super::granted::Granted;
use super::sight::{Sighted, Subscriber, told};
use super::watch::Watch;
use crate::exchange::Gateway;
use crate::exchange::trail::{Act, Author};
use crate::fhir::outcome::Id;
use crate::fhir::tree::json;
use crate::peers::rest_hook::Call;
use crate::policy::delivery::Verdict;
use crate::policy::subscription::notification::{self, About, Event, Focus, Occasion};
use crate::policy::subscription::{Channel, Media, Standing, Status, Step};
use crate::store::{self, AuditRecord, Course, Fenced, Numbered, Subscription, TurnEnd};

/// Endpoints that are called at once.
const PARALLEL: usize = 16;

/// By how much a lease outlives the longest call. Where its holder is gone, another goes on when it is over.
const BEYOND_MS: i64 = 10_000;

/// Resources of one notification.
const BODY_BYTES: usize = 4 << 20;

/// Longest sleep; commits of other processes make no sound.
const IDLE: Duration = Duration::from_secs(2);

/// Tells subscribers until told to stop.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let worker = gateway.worker();
    let mut changed = gateway.events_due();
    let mut turns = JoinSet::new();
    while !*stop.borrow() {
        changed.mark_unchanged();
        let wait = match gateway.take_turns(&worker, PARALLEL - turns.len()).await {
            Ok(due) => {
                for subscription in due.taken {
                    let gateway = gateway.clone();
                    turns.spawn(async move { gateway.turn(subscription).await });
                }
                due.wait
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "subscribers are told nothing for a while");
                IDLE
            }
        };
        tokio::select! {
            Some(ended) = turns.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a subscription's turn ended early");
            },
            _ = changed.changed() => {}
            () = tokio::time::sleep(wait) => {}
            _ = stop.changed() => {}
        }
    }
    while turns.join_next().await.is_some() {}
}

/// Why a subscription is off whose client may not have it any more.
pub(super) const GONE: &str = "the client may no longer act as it could when it subscribed";

/// What is next of a subscription.
pub(super) enum Next {
    Over(&'static str),
    Wait { until_ms: i64 },
    Tell(Box<Telling>),
}

/// Something that is to be told, ready to leave.
pub(super) struct Telling {
    step: Step,
    events: u64,
    sighted: Vec<Sighted>,
    /// Records that are true if it left and nobody said that it arrived.
    foretold: Vec<AuditRecord>,
    pub body: String,
}

impl Telling {
    pub fn foretold(&self) -> Vec<AuditRecord> {
        self.foretold.clone()
    }
}

/// What is due.
struct Due {
    taken: Vec<Subscription>,
    wait: Duration,
}

impl Gateway {
    async fn take_turns(&self, worker: &str, want: usize) -> Result<Due, store::Error> {
        if want == 0 {
            return Ok(Due { taken: Vec::new(), wait: IDLE });
        }
        let now_ms = self.now_ms();
        // Asked first: most often nobody is due, and then nothing is written.
        let next_ms = self.store.next_subscription().await?;
        let wait_ms = next_ms.map_or(i64::MAX, |next_ms| next_ms - now_ms);
        if wait_ms > 0 {
            return Ok(Due { taken: Vec::new(), wait: Duration::from_millis(wait_ms as u64).min(IDLE) });
        }
        let lease_ms = i64::from(self.subscriptions.config.timeout_seconds) * 1000 + BEYOND_MS;
        let taken = self.store.lease_subscriptions(worker, now_ms, lease_ms, want).await?;
        // Nothing taken though something is due: another gateway was faster.
        let wait = if taken.is_empty() { IDLE } else { Duration::ZERO };
        Ok(Due { taken, wait })
    }

    async fn turn(&self, subscription: Subscription) {
        let id = subscription.id.clone();
        if let Err(error) = self.take_turn(subscription).await {
            tracing::error!(subscription = &*id, error, "a subscription's turn could not be finished");
        }
    }

    async fn take_turn(&self, subscription: Subscription) -> Result<(), String> {
        let failed = |error: store::Error| error.to_string();
        let granted = self.right_of(&subscription).await.map_err(|refusal| format!("{:?}", refusal.ids()))?;
        let (end, records) = match (granted, self.watch_of(&subscription)) {
            (Some(granted), Some(watch)) => {
                let subscriber = Subscriber { subscription: &subscription, granted: &granted, watch: &watch };
                self.step(subscriber).await.map_err(failed)?
            }
            (None, _) => (self.over(&subscription, GONE), Vec::new()),
            (_, None) => (self.over(&subscription, "what was asked for is no longer offered"), Vec::new()),
        };
        let begins = end.course == Course::Begins;
        let settled = self.store.settle_subscription(&subscription, end, records.clone(), FOLLOWER).await;
        match settled.map_err(failed)? {
            Fenced::Held if begins => self.subscriptions.begun.notify_one(),
            Fenced::Held => {}
            // Another goes on; what left this house stays on record.
            Fenced::Lost => self.store.record_audit(records).await.map_err(failed)?,
        }
        Ok(())
    }

    /// The end of a subscription that can go on no more.
    pub(super) fn over(&self, subscription: &Subscription, reason: &str) -> TurnEnd {
        tracing::warn!(
            subscription = &*subscription.id,
            client = &*subscription.client,
            reason,
            "a subscription is off"
        );
        let standing = Standing { status: Status::Off, ..standing(subscription) };
        let end = self.turn_end(subscription, standing, i64::MAX, subscription.taken);
        TurnEnd { error: Some(reason.to_owned()), course: Course::Ends, ..end }
    }

    /// Does what is next.
    async fn step(&self, subscriber: Subscriber<'_>) -> Result<(TurnEnd, Vec<AuditRecord>), store::Error> {
        let Subscriber { subscription, watch, .. } = subscriber;
        let before = standing(subscription);
        if !subscription.sends {
            // Over a socket the client comes to us; here only its end is looked after.
            let end = match before.next(&self.terms(watch, false), false, self.now_ms()) {
                Step::Wait { until_ms } => self.turn_end(subscription, before, until_ms, subscription.taken),
                _ => self.over(subscription, "its time is over"),
            };
            return Ok((end, Vec::new()));
        }
        Ok(match self.next_of(subscriber).await? {
            Next::Over(reason) => (self.over(subscription, reason), Vec::new()),
            Next::Wait { until_ms } => (self.turn_end(subscription, before, until_ms, subscription.taken), Vec::new()),
            Next::Tell(telling) => {
                let verdict = self.call(subscriber, &telling.body).await;
                self.after(subscriber, &telling, &verdict)
            }
        })
    }

    pub(super) fn turn_end(
        &self,
        subscription: &Subscription,
        standing: Standing,
        wake_ms: i64,
        taken: u64,
    ) -> TurnEnd {
        TurnEnd {
            status: standing.status.code().to_owned(),
            error: subscription.error.clone(),
            failures: standing.failures,
            not_before_ms: standing.not_before_ms,
            told_ms: standing.told_ms,
            wake_ms,
            taken,
            course: Course::GoesOn,
            now_ms: self.now_ms(),
        }
    }

    /// Finds out what is next, and puts on record what is about to be disclosed.
    pub(super) async fn next_of(&self, subscriber: Subscriber<'_>) -> Result<Next, store::Error> {
        let Subscriber { subscription, watch, .. } = subscriber;
        let before = standing(subscription);
        // Who asks for the turn of a socket holds one open.
        let terms = self.terms(watch, true);
        let now_ms = self.now_ms();
        let mut events = subscription.events;
        let mut step = before.next(&terms, true, now_ms);
        if before.status == Status::Error {
            // Nobody is called, but what happens counts.
            events = self.number(subscriber, u64::MAX).await?;
        }
        if step == Step::Notify && events == subscription.taken {
            events = self.number(subscriber, self.most_events(watch)).await?;
            step = before.next(&terms, events > subscription.taken, now_ms);
        }
        let (occasion, numbered) = match step {
            Step::End => return Ok(Next::Over("its time is over")),
            Step::Wait { until_ms } => return Ok(Next::Wait { until_ms }),
            Step::Handshake => (Occasion::Handshake, Vec::new()),
            Step::Heartbeat => (Occasion::Heartbeat, Vec::new()),
            Step::Notify => {
                let (from, most) = (subscription.taken + 1, self.most_events(watch) as usize);
                let mut numbered = self.store.events_numbered(&subscription.id, from, events, most).await?;
                numbered.truncate(fitting(&numbered));
                (Occasion::Events, numbered)
            }
        };
        let mut sighted = self.sighted(subscriber, numbered.clone()).await?;
        let mut foretold = told(&self.teller(subscriber), Act::Disclose, &sighted, &[Id::EntryFailed]);
        if !foretold.is_empty() {
            self.store.foretell_subscription(&subscription.id, foretold.clone()).await?;
            // The decision belongs to the moment of sending, and writing down took its time. What is not on record must
            // not leave: what may be told only now is for the next turn.
            let again = self.sighted(subscriber, numbered).await?;
            let more = |(now, before): (&Sighted, &Sighted)| now.stored.is_some() && before.stored.is_none();
            if again.iter().zip(&sighted).any(more) {
                return Ok(Next::Wait { until_ms: now_ms });
            }
            sighted = again;
            foretold = told(&self.teller(subscriber), Act::Disclose, &sighted, &[Id::EntryFailed]);
        }
        let body = self.notification(subscriber, occasion, events, &sighted);
        Ok(Next::Tell(Box::new(Telling { step, events, sighted, foretold, body })))
    }

    /// The end of a turn at which something was told, or was to be.
    fn after(&self, subscriber: Subscriber<'_>, telling: &Telling, verdict: &Verdict) -> (TurnEnd, Vec<AuditRecord>) {
        let Subscriber { subscription, watch, .. } = subscriber;
        let terms = self.terms(watch, subscription.sends);
        let now_ms = self.now_ms();
        let before = standing(subscription);
        let after = before.heard(telling.step, verdict, &terms.schedule, now_ms, self.random());
        let (taken, records) = self.left(subscriber, telling, verdict);
        let wake_ms = match after.next(&terms, telling.events > taken, now_ms) {
            Step::Wait { until_ms } => until_ms,
            _ => now_ms,
        };
        let mut end = self.turn_end(subscription, after, wake_ms, taken);
        end.error = said(subscription, &after, verdict);
        if telling.step == Step::Handshake && after.status == Status::Active {
            end.course = Course::Begins;
        }
        (end, records)
    }

    /// Up to which event the client has taken, and what goes on record.
    pub(super) fn left(
        &self,
        subscriber: Subscriber<'_>,
        telling: &Telling,
        verdict: &Verdict,
    ) -> (u64, Vec<AuditRecord>) {
        let before = subscriber.subscription.taken;
        match verdict {
            Verdict::Acknowledged if telling.step == Step::Notify => {
                // Of what was forgotten in time there is nothing to tell any more.
                let taken = telling.sighted.last().map_or(telling.events, |last| last.number);
                (taken, told(&self.teller(subscriber), Act::Disclose, &telling.sighted, &[]))
            }
            Verdict::Acknowledged => (before, Vec::new()),
            verdict if verdict.has_left() => (before, telling.foretold.clone()),
            _ => (before, Vec::new()),
        }
    }

    fn most_events(&self, watch: &Watch) -> u64 {
        u64::from(watch.wanted.most_events.unwrap_or(self.subscriptions.config.events))
    }

    fn random(&self) -> u64 {
        let mut entropy = [0; 8];
        (self.entropy)(&mut entropy);
        u64::from_le_bytes(entropy)
    }

    /// In whose name a disclosure is recorded.
    fn teller(&self, subscriber: Subscriber<'_>) -> Author {
        let Subscriber { subscription, granted: Granted { principal, purpose, request_id }, watch } = subscriber;
        let author = Author::destination(self, &subscription.client, &principal.actor, purpose, request_id.clone());
        match &watch.wanted.channel {
            Channel::RestHook { endpoint } => author.at(endpoint),
            Channel::Websocket => author,
        }
    }

    async fn call(&self, subscriber: Subscriber<'_>, told: &str) -> Verdict {
        let Subscriber { subscription, watch, .. } = subscriber;
        let (Some(hook), Channel::RestHook { endpoint }) = (&self.subscriptions.hook, &watch.wanted.channel) else {
            return Verdict::Unreached { reason: "no endpoint is called here".to_owned() };
        };
        let body = match watch.wanted.media {
            Media::Json => Some(told.to_owned()),
            Media::Xml => {
                let document = json::parse(told).ok();
                let xml = document.and_then(|document| self.validator.to_xml(&document).ok());
                xml.and_then(|xml| String::from_utf8(xml).ok())
            }
        };
        let Some(body) = body else {
            return Verdict::Unreached { reason: "the notification cannot be written as XML".to_owned() };
        };
        let seconds = watch.wanted.timeout_seconds.unwrap_or(self.subscriptions.config.timeout_seconds);
        let headers: Vec<(String, String)> = serde_json::from_slice(&subscription.secret).unwrap_or_default();
        let timeout = Duration::from_secs(u64::from(seconds));
        let content_type = &watch.wanted.media_type;
        hook.call(Call { endpoint, headers: &headers, content_type, body, timeout }).await
    }

    /// What is told, as a notification Bundle.
    pub(super) fn notification(
        &self,
        subscriber: Subscriber<'_>,
        occasion: Occasion,
        events: u64,
        sighted: &[Sighted],
    ) -> String {
        let Subscriber { subscription, watch, .. } = subscriber;
        let topic = watch.wanted.topic.canonical();
        let about = About {
            base: &self.base,
            id: &subscription.id,
            topic: &topic,
            status: standing(subscription).status,
            events,
            error: subscription.error.as_deref(),
            content: watch.wanted.content,
        };
        notification::bundle(&about, occasion, &told_of(sighted, &ids(sighted)), &self.uuid(), self.now_ms())
    }

    /// A random UUID, version 4.
    pub(super) fn uuid(&self) -> String {
        let mut entropy = [0; 16];
        (self.entropy)(&mut entropy);
        let value = u128::from_be_bytes(entropy);
        let value = value & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{value:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// What is said of trouble, and logged once.
fn said(subscription: &Subscription, after: &Standing, verdict: &Verdict) -> Option<String> {
    let (Verdict::Retry { reason, .. }
    | Verdict::Unreached { reason }
    | Verdict::Waits { reason }
    | Verdict::Rejected { reason }) = verdict
    else {
        return None;
    };
    let (subscription, failures) = (&*subscription.id, after.failures);
    if after.status == Status::Error {
        tracing::error!(subscription, failures, reason, "an endpoint was given up; the subscription is in error");
    } else {
        tracing::warn!(subscription, failures, reason, "a subscriber could not be told");
    }
    Some(reason.clone())
}

/// How many events go into one Bundle, which must not grow without end; one always does.
pub(super) fn fitting(events: &[Numbered]) -> usize {
    let mut room = BODY_BYTES;
    let fits = |event: &&Numbered| {
        room = room.saturating_sub(event.stored.as_ref().map_or(0, |stored| stored.payload.len()));
        room > 0
    };
    events.iter().take_while(fits).count().max(1)
}

/// Logical ids, beside the events that they are lent to.
pub(super) fn ids(sighted: &[Sighted]) -> Vec<String> {
    sighted.iter().map(|event| event.stored.as_ref().map(store::Stored::logical_id).unwrap_or_default()).collect()
}

pub(super) fn told_of<'a>(sighted: &'a [Sighted], ids: &'a [String]) -> Vec<Event<'a>> {
    let focus = |event: &'a Sighted, id: &'a str| {
        let stored = event.stored.as_ref()?;
        let (kind, version, deleted) = (&*stored.kind, stored.version, stored.deleted);
        Some(Focus { kind, id, version, deleted, payload: &stored.payload })
    };
    sighted
        .iter()
        .zip(ids)
        .map(|(event, id)| Event { number: event.number, at_ms: event.at_ms, focus: focus(event, id) })
        .collect()
}

/// Where a subscription stands. A status that cannot be read is none that is told anything.
pub(super) fn standing(subscription: &Subscription) -> Standing {
    Standing {
        status: Status::parse(&subscription.status).unwrap_or(Status::Off),
        failures: subscription.failures,
        not_before_ms: subscription.not_before_ms,
        told_ms: subscription.told_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ResId, Stored};

    #[test]
    fn a_notification_has_an_end_and_an_event() {
        let event = |bytes: usize| Numbered {
            number: 1,
            at_ms: 0,
            stored: Some(Stored {
                kind: "Observation".into(),
                id: ResId([0; 16]),
                name: None,
                seq: 1,
                version: 1,
                updated_ms: 0,
                deleted: false,
                patient: None,
                owner: "app".into(),
                date: None,
                content: [0; 16],
                payload: vec![0; bytes],
                gist: None,
            }),
        };
        for (sizes, expected) in
            [(&[10, 10][..], 2), (&[BODY_BYTES, 10], 1), (&[10, BODY_BYTES, 10], 1), (&[10, 10, BODY_BYTES - 20], 2)]
        {
            let events: Vec<Numbered> = sizes.iter().map(|bytes| event(*bytes)).collect();
            assert_eq!(fitting(&events), expected, "{sizes:?}");
        }
    }
}
