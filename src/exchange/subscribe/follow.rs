//! From the feed to events: one walk for all subscriptions.
//!
//! Subscriptions are read after the rows that they are held against: one that began before a row was written is then
//! among them, so that none of its events is passed by. What is filed is not decided upon yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::FOLLOWER;
use super::watch::Watch;
use crate::exchange::Gateway;
use crate::fhir::tree::{Element, json};
use crate::store::{self, FeedItem, Happened, Lease, Subscription};

/// Slots that are walked in one round.
const SLOTS: usize = 8;

/// Feed rows in one batch.
const BATCH: usize = 64;

/// A batch is a matter of milliseconds; one that took longer is done again by whoever has the slot then.
const LEASE_MS: i64 = 10_000;

/// Longest sleep; commits of other processes make no sound.
const IDLE: Duration = Duration::from_secs(2);

/// Follows the feed until told to stop.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let worker = gateway.worker();
    let mut changed = gateway.store.feed_changed();
    while !*stop.borrow() {
        changed.mark_unchanged();
        let followed = gateway.follow_on(&worker).await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "subscriptions fall behind");
            Followed::Nothing
        });
        if followed == Followed::Rows {
            continue;
        }
        tokio::select! {
            // Where nobody has events, what is written is nobody's business.
            _ = changed.changed(), if followed == Followed::Nothing => {}
            () = gateway.subscriptions.begun.notified() => {}
            () = tokio::time::sleep(IDLE) => {}
            _ = stop.changed() => {}
        }
    }
    if let Err(error) = gateway.store.give_back(FOLLOWER, &worker).await {
        tracing::warn!(%error, "other gateways take over when the leases end");
    }
}

/// What a round came upon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followed {
    Rows,
    Nothing,
    /// Nobody has events.
    Nobody,
}

impl Gateway {
    /// Name of this process among those that share the store.
    pub(super) fn worker(&self) -> String {
        let mut entropy = [0; 8];
        (self.entropy)(&mut entropy);
        entropy.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    async fn follow_on(&self, worker: &str) -> Result<Followed, store::Error> {
        if self.store.subscriptions_live().await?.is_empty() {
            return Ok(Followed::Nobody);
        }
        let leases = self.store.lease(FOLLOWER, worker, self.now_ms(), LEASE_MS, SLOTS).await?;
        let mut moved = false;
        for lease in leases {
            moved |= self.follow_slot(&lease).await?;
        }
        Ok(if moved { Followed::Rows } else { Followed::Nothing })
    }

    async fn follow_slot(&self, lease: &Lease) -> Result<bool, store::Error> {
        let rows = self.store.feed(lease, BATCH, usize::MAX).await?;
        let Some(to) = rows.last().map(|row| row.pos) else { return Ok(false) };
        let live = self.store.subscriptions_live().await?;
        let watched: Vec<(&Subscription, Arc<Watch>)> =
            live.iter().filter_map(|each| Some((each, self.watch_of(each)?))).collect();
        let happened: Vec<Happened> = rows.iter().flat_map(|row| happened(row, lease.slot, &watched)).collect();
        let any = !happened.is_empty();
        self.store.file_events(lease, to, happened).await?;
        if any {
            self.subscriptions.is_due();
        }
        Ok(true)
    }
}

/// What a row of the feed is to whom.
fn happened(row: &FeedItem, slot: u16, watched: &[(&Subscription, Arc<Watch>)]) -> Vec<Happened> {
    let begun = |subscription: &Subscription| {
        let start = subscription.starts.as_ref().and_then(|starts| starts.get(usize::from(slot)));
        start.is_some_and(|start| *start < row.pos)
    };
    let mut happened = Vec::new();
    for stored in &row.items {
        let mut concerned = watched
            .iter()
            .filter(|(each, watch)| watch.may_be_about(&stored.kind, stored.patient) && begun(each))
            .peekable();
        if concerned.peek().is_none() {
            continue;
        }
        let Ok(document) = json::parse(stored.payload.as_slice()) else { continue };
        let root = Element::root(&document);
        for (each, _) in concerned.filter(|(_, watch)| watch.is_about(root, stored.updated_ms)) {
            happened.push(Happened {
                subscription: each.id.clone(),
                patient: stored.patient,
                seq: stored.seq,
                version: stored.version,
                at_ms: stored.updated_ms,
            });
        }
    }
    happened
}
