//! What operators count, under which names, and how it is printed (OpenMetrics 1.0).
//!
//! Labels are of a few known values each: routes, issues, outcomes, and destinations by their names in the configuration. No
//! person, no client and nothing that was sent is in any of them, so that whoever may see the figures learns how much there is
//! and nothing of anybody.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// What the text is, to whoever reads it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds in seconds: of a sync, of a page, of what a client waits for.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What became of something that was to be told to a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    Acknowledged,
    /// It is tried again.
    Failed,
    /// It is a dead letter.
    GivenUp,
    /// It has no place there, nobody permits it any more, or the person has restricted the processing: that waits, and is
    /// counted when it is kept back first.
    Withheld,
}

impl Told {
    const fn word(self) -> &'static str {
        match self {
            Told::Acknowledged => "acknowledged",
            Told::Failed => "failed",
            Told::GivenUp => "given-up",
            Told::Withheld => "withheld",
        }
    }
}

/// How much waits for a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// Rows of the feed that it has not come to.
    pub behind: u64,
    /// What waits beside the feed: for another attempt, behind one that does, or for its person to lift a restriction.
    pub retries: u64,
    pub dead: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Issue {
    issue: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Destination {
    destination: Arc<str>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    destination: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Queue {
    destination: Arc<str>,
    queue: &'static str,
}

/// What a store counts of its commits.
#[derive(Clone, Debug)]
pub struct Commits {
    pub writes: Counter,
    pub failures: Counter,
    seconds: Histogram,
}

impl Default for Commits {
    fn default() -> Self {
        Commits { writes: Counter::default(), failures: Counter::default(), seconds: seconds() }
    }
}

impl Commits {
    /// One commit that so many shared.
    pub fn done(&self, writes: usize, took: Duration) {
        self.writes.inc_by(writes as u64);
        self.seconds.observe(took.as_secs_f64());
    }
}

/// All figures of a gateway.
pub struct Counted {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    under_way: Gauge,
    issues: Family<Issue, Counter>,
    store: Family<State, Gauge>,
    told: Family<Outcome, Counter>,
    waiting: Family<Queue, Gauge>,
    most_waiting: Family<Destination, Gauge>,
    open: Family<Destination, Gauge>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Counted")
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Counted {
    pub fn new(version: &'static str, commits: &Commits) -> Self {
        let mut counted = Counted {
            registry: Registry::with_prefix("mhealth_gateway"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            under_way: Gauge::default(),
            issues: Family::default(),
            store: Family::default(),
            told: Family::default(),
            waiting: Family::default(),
            most_waiting: Family::default(),
            open: Family::default(),
        };
        let registry = &mut counted.registry;
        registry.register("build", "The program", Info::new([("version", version)]));
        registry.register("requests", "Requests answered", counted.requests.clone());
        registry.register("request_seconds", "From the head of a request to its answer", counted.seconds.clone());
        registry.register("requests_under_way", "Requests not answered yet", counted.under_way.clone());
        registry.register("issues", "Issues in answers that refused something", counted.issues.clone());
        registry.register("store_state", "1 of the state in which the store is", counted.store.clone());
        registry.register("store_writes", "What was asked of the store and is on the disk", commits.writes.clone());
        registry.register("store_failures", "Commits that failed", commits.failures.clone());
        registry.register(
            "store_commit_seconds",
            "Commits, with the sync that each waits for",
            commits.seconds.clone(),
        );
        registry.register("deliveries", "Resources that were to be told to a destination", counted.told.clone());
        registry.register("waiting", "What waits for a destination", counted.waiting.clone());
        registry.register(
            "waiting_most",
            "What may wait for a destination before more is refused",
            counted.most_waiting.clone(),
        );
        registry.register(
            "circuit_open",
            "1 while nothing is sent because the destination fails",
            counted.open.clone(),
        );
        counted
    }

    /// A request that came; it is under way for as long as the answer of this is kept.
    pub fn came(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    pub fn answered(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answered { method, route, status }).inc();
        self.seconds.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    /// Each issue once, however often it stands there.
    pub fn refusal(&self, issues: impl Iterator<Item = &'static str>) {
        for issue in issues.collect::<BTreeSet<_>>() {
            self.issues.get_or_create(&Issue { issue }).inc();
        }
    }

    /// In which of all states the store is.
    pub fn store_is(&self, state: &'static str, all: &[&'static str]) {
        for one in all {
            self.store.get_or_create(&State { state: one }).set((*one == state).into());
        }
    }

    pub fn told(&self, destination: &Arc<str>, told: Told, resources: usize) {
        let outcome = Outcome { destination: destination.clone(), outcome: told.word() };
        self.told.get_or_create(&outcome).inc_by(resources as u64);
    }

    /// What waited when somebody asked last says nothing of now.
    pub fn waits_unknown(&self) {
        self.waiting.clear();
    }

    /// That there is a destination, to which nothing was told yet.
    pub fn knows(&self, destination: &Arc<str>) {
        for told in [Told::Acknowledged, Told::Failed, Told::GivenUp, Told::Withheld] {
            self.told(destination, told, 0);
        }
    }

    pub fn waits(&self, destination: &Arc<str>, waiting: Waiting) {
        for (queue, many) in [("feed", waiting.behind), ("retries", waiting.retries), ("dead-letters", waiting.dead)] {
            let queue = Queue { destination: destination.clone(), queue };
            self.waiting.get_or_create(&queue).set(i64::try_from(many).unwrap_or(i64::MAX));
        }
    }

    /// How much may wait, in the feed and beside it.
    pub fn bounds(&self, destination: &Arc<str>, most: u64) {
        let destination = Destination { destination: destination.clone() };
        self.most_waiting.get_or_create(&destination).set(i64::try_from(most).unwrap_or(i64::MAX));
    }

    pub fn is_open(&self, destination: &Arc<str>, open: bool) {
        self.open.get_or_create(&Destination { destination: destination.clone() }).set(open.into());
    }

    /// All of it as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Only a writer can fail, and a string takes everything.
        let written = text::encode(&mut text, &self.registry);
        debug_assert!(written.is_ok());
        text
    }
}

/// A request that is not answered yet.
pub struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}
