//! Who is told what happens: subscriptions by topic (Subscriptions R5 Backport, for R4).
//!
//! `manage` keeps what clients ask for; `follow` goes through the feed once for all of them and files events; `sight` asks
//! of an event what a read would be asked, and gives numbers to what may be told; `turn` tells it, one subscription at a
//! time, to endpoints that are called, and `socket` to clients that hold one open; `query` answers whoever asks instead. An event gets its number when it may be told, so that numbers have no
//! gaps, and what a person withholds leaves no trace. What has a number keeps it; if it may no longer be seen, nothing but
//! the number is told. Nothing is dropped because an endpoint is away: it waits, and is told in order.

mod follow;
mod granted;
mod manage;
mod query;
mod sight;
mod socket;
mod turn;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use tokio::sync::Notify;
use tokio::sync::watch::Sender;

pub use follow::run as follow;
pub use manage::Shown;
pub use query::{Range, Which};
pub use socket::{Bound, LOOK_MS, Outgoing};
pub use turn::run as tell;

use self::watch::Watch;
use crate::peers::rest_hook::{self, RestHook};
use crate::policy::delivery::Schedule;
use crate::policy::subscription::Limits;

pub use crate::store::SUBSCRIBERS as FOLLOWER;

/// What subscriptions may be told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most subscriptions that one client may have.
    pub per_client: u32,
    /// Most events of one notification.
    pub events: u32,
    /// Longest time in seconds for one call of an endpoint, and the time where a client names none.
    pub timeout_seconds: u32,
    /// Shortest time in seconds between heartbeats that a client may ask for.
    pub heartbeat_seconds: u32,
    /// First pause after a call that failed; doubles with each up to the cap.
    pub retry_base_ms: i64,
    pub retry_cap_ms: i64,
    /// Calls in a row that may fail before a subscription is in error.
    pub retry_attempts: u32,
    /// Which endpoints may be called.
    pub endpoints: rest_hook::Config,
}

impl Default for Config {
    /// Sixty attempts last about two days.
    fn default() -> Self {
        Config {
            per_client: 100,
            events: 50,
            timeout_seconds: 30,
            heartbeat_seconds: 30,
            retry_base_ms: 1_000,
            retry_cap_ms: 3_600_000,
            retry_attempts: 60,
            endpoints: rest_hook::Config::default(),
        }
    }
}

const DAY_MS: i64 = 86_400_000;

impl Config {
    /// Everything that is wrong with it, beside a feed that is kept for so many days.
    pub fn mistakes(&self, feed_days: u32) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (key, fits) in [
            ("per_client", self.per_client > 0),
            ("events", (1..=1000).contains(&self.events)),
            ("timeout_seconds", (1..=60).contains(&self.timeout_seconds)),
            ("heartbeat_seconds", self.heartbeat_seconds > 0),
            ("retry_base_ms", self.retry_base_ms > 0),
            ("retry_cap_ms", self.retry_cap_ms >= self.retry_base_ms),
            ("retry_attempts", self.retry_attempts > 0),
        ] {
            if !fits {
                mistakes.push(format!("subscriptions.{key}: out of its range"));
            }
        }
        let longest_ms = i64::from(self.retry_attempts).saturating_mul(self.retry_cap_ms);
        if longest_ms > i64::from(feed_days).saturating_mul(DAY_MS) {
            mistakes.push(
                "subscriptions.retry_attempts: an endpoint must be given up before what waits for it is forgotten (retention.feed_days)"
                    .to_owned(),
            );
        }
        mistakes
            .extend(self.endpoints.mistakes().into_iter().map(|mistake| format!("subscriptions.endpoints.{mistake}")));
        mistakes
    }

    fn schedule(&self) -> Schedule {
        Schedule { base_ms: self.retry_base_ms, cap_ms: self.retry_cap_ms, max_attempts: self.retry_attempts }
    }

    fn limits(&self) -> Limits {
        Limits { heartbeat_least: self.heartbeat_seconds, timeout_most: self.timeout_seconds, count_most: self.events }
    }
}

/// Subscriptions as they were read, by id and version.
type Watches = HashMap<Arc<str>, (u32, Arc<Watch>)>;

/// What telling needs, put together at the composition root.
#[derive(Default)]
pub struct Subscriptions {
    pub config: Config,
    /// Without it no endpoint is called.
    pub hook: Option<RestHook>,
    watches: Mutex<Watches>,
    /// Tells the follower that somebody has events from now on.
    begun: Notify,
    /// Counts what may have made something due in this process: events that were filed, and what clients asked for.
    due: Sender<u64>,
}

impl Subscriptions {
    pub fn new(config: Config, hook: RestHook) -> Self {
        Subscriptions { config, hook: Some(hook), ..Subscriptions::default() }
    }

    /// Wakes whoever tells.
    fn is_due(&self) {
        self.due.send_modify(|count| *count = count.wrapping_add(1));
    }
}
