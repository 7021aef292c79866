//! What goes out: a destination follows the feed, asks the person's consent again for each item, sends, and settles.
//!
//! The feed is never changed: success moves a cursor, once a batch, and only failures become rows. A worker leases
//! slots of the feed, so that order holds within a patient and a second worker may take over; what it did is written
//! under the lease's epoch. The decision belongs to the instant before sending: a consent that was withdrawn while
//! the item waited withholds it. What is about to leave is foretold in the store, so that a disclosure is on record even
//! if the process ends before it can say what became of it. What was sent and may be held no longer is taken back the same
//! way (`recall`).

mod ahead;
mod attempt;
mod feed;
mod lookup;
mod recall;
mod retry;
mod send;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Gateway;
use super::pairwise::Pairwise;
use super::recipients::Identity;
use super::room::Fill;
use super::shape::{Live, Shape};
use crate::peers::{Manner, Platform};
use crate::policy::consent::Actor;
use crate::policy::delivery::{Admission, Circuit, Pace, Schedule};
use crate::policy::routing::Table;
use crate::store::{self, Lease};

/// One destination with everything that delivering to it needs.
pub struct Destination {
    pub name: Arc<str>,
    /// The reference by which Consents name it.
    pub actor: String,
    /// v3-ActReason code under which data is disclosed to it.
    pub purpose: String,
    /// URL at which it is reached.
    pub address: String,
    /// Whether it is sent readings that do not count beside those of another source.
    pub secondary: bool,
    pub identity: Identity,
    /// How it is told what the person no longer lets it have, and what was of persons who are forgotten, if it is.
    pub on_withdrawal: Option<Manner>,
    pub on_erasure: Option<Manner>,
    /// The shape in which it wants measurements, if it has one of its own.
    pub shape: Option<Arc<Live>>,
    pub platform: Arc<dyn Platform>,
    /// Whether it is told which requests belong to one attempt, even where its pack does not say so.
    pub trace: bool,
    pub schedule: Schedule,
    pub circuit: Circuit,
    pub pace: Pace,
    /// Most requests under way at once.
    pub concurrent: usize,
    /// Most that may wait, if there is a bound.
    pub most_waiting: Option<u64>,
    /// What was ever sent to it, by this configuration and those before.
    pub ever: Table,
    /// What is sent before the rest of what waits.
    pub first: Table,
}

/// A destination at work.
struct Worker {
    gateway: Arc<Gateway>,
    routing: Arc<Table>,
    name: Arc<str>,
    actor: Actor,
    actor_reference: String,
    address: String,
    purpose: String,
    secondary: bool,
    live: Option<Arc<Live>>,
    /// The shape of this round: whatever is under way ends by the version that it began with.
    shape: Mutex<Option<Arc<Shape>>>,
    /// By what names it knows persons, if it may not know who they are.
    pairwise: Option<Pairwise>,
    on_withdrawal: Option<Manner>,
    on_erasure: Option<Manner>,
    platform: Arc<dyn Platform>,
    trace: bool,
    schedule: Schedule,
    /// Whether the operator wants nothing tried again.
    stopped: AtomicBool,
    /// Whether the destination is back since it was looked last.
    is_back: AtomicBool,
    /// When something was sent last.
    sent_ms: AtomicI64,
    ever: Table,
    first: Table,
    circuit: Mutex<Circuit>,
    pace: Mutex<Pace>,
    concurrent: usize,
    most_waiting: Option<u64>,
    /// Name of this process among those that share the store.
    identity: String,
    stop: watch::Receiver<bool>,
}

/// A lease outlives every batch, because a batch ends at half of it.
const LEASE_MS: i64 = 120_000;

/// Slots that are leased together for each request that may be under way: while what came of one is written down, the next one
/// is sent.
const SLOTS_A_SEAT: usize = 4;

/// After which time no slot is worked on that has its turn behind it.
const ROUND_MS: i64 = 5_000;

/// How long one of them may be worked off at a time, so that the others come to their turns in the first half of their leases.
const TURN_MS: i64 = LEASE_MS / 2 / SLOTS_A_SEAT as i64;

/// How often it is asked whether a restriction still stands. Lifting it makes what waits due at once; this is for the case
/// that it is lifted between the question and its answer being written down.
const RESTRICTED_MS: i64 = 3_600_000;

/// Why something waits whose processing the person has restricted.
const RESTRICTED: &str = "the person has restricted the processing";

/// Why something was given up that would have been tried again.
const STOPPED: &str = "the operator wants nothing tried again there";

/// How much is given up in one transaction.
const GIVEN_UP_AT_ONCE: usize = 200;

/// How often it is looked what the operator wants and how much waits.
const LOOK_MS: i64 = 1_000;

/// How long ago a destination was sent something that is probably sent more.
const LATELY_MS: i64 = 10_000;

/// As many destinations may look at each commit at once.
const FEW: usize = 32;

/// Longest sleep; commits of other processes make no sound.
const IDLE: Duration = Duration::from_secs(2);

/// Follows the feed for one destination until told to stop.
pub async fn run(
    gateway: Arc<Gateway>,
    destination: Destination,
    routing: Arc<Table>,
    mut stop: watch::Receiver<bool>,
) {
    let mut entropy = [0; 8];
    (gateway.entropy)(&mut entropy);
    let pairwise = match destination.identity {
        Identity::Kept => None,
        Identity::Pseudonym => Some(Pairwise::of(&gateway.pseudonym_secret, &destination.name)),
    };
    let worker = Arc::new(Worker {
        pairwise,
        actor: Actor::reference(&destination.actor),
        actor_reference: destination.actor,
        address: destination.address,
        gateway,
        routing,
        name: destination.name,
        purpose: destination.purpose,
        secondary: destination.secondary,
        on_withdrawal: destination.on_withdrawal,
        on_erasure: destination.on_erasure,
        shape: Mutex::new(None),
        live: destination.shape,
        platform: destination.platform,
        trace: destination.trace,
        schedule: destination.schedule,
        stopped: AtomicBool::new(false),
        is_back: AtomicBool::new(false),
        sent_ms: AtomicI64::new(i64::MIN),
        ever: destination.ever,
        first: destination.first,
        circuit: Mutex::new(destination.circuit),
        pace: Mutex::new(destination.pace),
        concurrent: destination.concurrent,
        most_waiting: destination.most_waiting,
        identity: entropy.iter().map(|byte| format!("{byte:02x}")).collect(),
        stop: stop.clone(),
    });
    if let Some(most) = worker.most_waiting {
        worker.gateway.counted.bounds(&worker.name, most);
    }
    let mut changed = worker.gateway.store.feed_changed();
    let mut looked_ms = i64::MIN;
    while !*stop.borrow() {
        changed.mark_unchanged();
        worker.look_around(&mut looked_ms).await;
        let wait = match worker.round().await {
            Ok(Round::Worked) => continue,
            Ok(Round::Idle(wait)) => wait,
            // Whatever comes in meanwhile, nothing can be sent: of a thousand destinations that are away none is woken.
            Ok(Round::Closed(wait)) => {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stop.changed() => {}
                }
                continue;
            }
            Err(error) => {
                tracing::error!(
                    destination = &*worker.name,
                    error = &error as &dyn std::error::Error,
                    "delivery paused"
                );
                IDLE
            }
        };
        tokio::select! {
            _ = changed.changed() => if let Some(patience) = worker.patience() {
                tokio::select! {
                    () = tokio::time::sleep(patience) => {}
                    _ = stop.changed() => {}
                }
            },
            () = tokio::time::sleep(wait) => {}
            _ = stop.changed() => {}
        }
    }
    if let Err(error) = worker.gateway.store.give_back(&worker.name, &worker.identity).await {
        tracing::warn!(destination = &*worker.name, %error, "other gateways take over when the leases end");
    }
}

enum Round {
    Worked,
    /// There is nothing to send.
    Idle(Duration),
    /// Nothing may be sent.
    Closed(Duration),
}

impl Worker {
    /// One round: what is due again first, since it is older, then the feed.
    async fn round(self: &Arc<Self>) -> Result<Round, store::Error> {
        *self.shape.lock().unwrap_or_else(PoisonError::into_inner) = self.live.as_ref().map(|live| live.now());
        let now_ms = self.gateway.now_ms();
        if let Some(until_ms) = self.closed_until(now_ms) {
            return Ok(Round::Closed(until(until_ms, now_ms)));
        }
        let admission = self.circuit.lock().unwrap_or_else(PoisonError::into_inner).poll(now_ms);
        self.gateway.counted.is_open(&self.name, matches!(admission, Admission::Open(_)));
        let (width, probing) = match admission {
            Admission::Closed => (self.concurrent, false),
            // One item finds out whether the destination is back.
            Admission::Probe => (1, true),
            Admission::Open(until_ms) => return Ok(Round::Closed(until(until_ms, now_ms))),
        };
        let round = self.work(now_ms, width, probing).await;
        // Nothing to send was found, so nothing was found out: the probe is for whoever comes next.
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner).hand_back(self.gateway.now_ms());
        round
    }

    /// Gives up what waits, where the operator wants nothing tried again.
    async fn stop_trying_again(&self) -> Result<(), store::Error> {
        let stopped = self.gateway.store.retries_stopped(&self.name).await?;
        self.stopped.store(stopped, Ordering::Relaxed);
        if !stopped {
            return Ok(());
        }
        while self.gateway.store.give_up(&self.name, STOPPED, GIVEN_UP_AT_ONCE).await? == GIVEN_UP_AT_ONCE {}
        Ok(())
    }

    /// When to try again: never, where that is stopped.
    fn schedule(&self) -> Schedule {
        if self.stopped.load(Ordering::Relaxed) { Schedule { max_attempts: 1, ..self.schedule } } else { self.schedule }
    }

    async fn work(self: &Arc<Self>, now_ms: i64, width: usize, probing: bool) -> Result<Round, store::Error> {
        self.turns(now_ms).await?;
        // What goes first waits for no pause of its own any more.
        if self.is_back.swap(false, Ordering::Relaxed) && self.has_first() {
            self.gateway.store.first_due(&self.name).await?;
        }
        let (mut retried, any_first) = self.retries(now_ms, width).await?;
        if retried == 0 || !probing {
            retried += self.forgotten(now_ms, probing).await?;
        }
        // There may be more that goes first.
        if retried > 0 && (probing || any_first) {
            return Ok(Round::Worked);
        }
        let store = &self.gateway.store;
        // What is to go first is looked for after each of these rounds; and what is leased here no other gateway works off.
        let few = probing || self.has_first() || store.is_shared();
        let many = if few { width } else { width * SLOTS_A_SEAT };
        let mut leases = store.lease(&self.name, &self.identity, now_ms, LEASE_MS, many).await?;
        // Where turns take so long that not all get one, it is not always the same that get none.
        if !leases.is_empty() {
            let first = self.random() as usize % leases.len();
            leases.rotate_left(first);
        }
        let mut slots: JoinSet<Result<usize, store::Error>> = JoinSet::new();
        let seats = Arc::new(Semaphore::new(width));
        let some = !leases.is_empty();
        for lease in leases {
            let (worker, seats) = (self.clone(), seats.clone());
            slots.spawn(async move {
                let mut moved = 0;
                // What fails is tried again between rounds, so that they must end, and none begins while others are at work.
                loop {
                    let Ok(seat) = seats.clone().acquire_owned().await else { return Ok(moved) };
                    if !probing && worker.has_ended(&lease) {
                        return Ok(moved);
                    }
                    let passed = worker.slot(&lease, if probing { 1 } else { feed::BATCH }, seat).await?;
                    moved += passed.rows;
                    if few || !passed.more || worker.gateway.now_ms() > now_ms + ROUND_MS {
                        return Ok(moved);
                    }
                }
            });
        }
        let mut moved = 0;
        while let Some(slot) = slots.join_next().await {
            match slot {
                Ok(advanced) => moved += advanced?,
                Err(error) => tracing::error!(destination = &*self.name, %error, "a delivery task ended early"),
            }
        }
        if retried > 0 || (some && moved > 0) {
            return Ok(Round::Worked);
        }
        let due = store.next_due(&self.name).await?;
        Ok(Round::Idle(due.map_or(IDLE, |due_ms| until(due_ms, self.gateway.now_ms()))))
    }

    /// Whether nothing is to be begun any more of what was leased for this round.
    fn has_ended(&self, lease: &Lease) -> bool {
        let now_ms = self.gateway.now_ms();
        let open = !self.circuit.lock().unwrap_or_else(PoisonError::into_inner).is_closed();
        open || self.is_stopping() || self.closed_until(now_ms).is_some() || now_ms > lease.until_ms - LEASE_MS / 2
    }

    /// Until when the destination wants nothing, if that is so.
    fn closed_until(&self, now_ms: i64) -> Option<i64> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).closed_until(now_ms)
    }

    /// Looks, once in a while, what the operator wants, and how much waits.
    async fn look_around(&self, looked_ms: &mut i64) {
        let now_ms = self.gateway.now_ms();
        if now_ms < looked_ms.saturating_add(LOOK_MS) {
            return;
        }
        *looked_ms = now_ms;
        if let Err(error) = self.stop_trying_again().await {
            tracing::error!(destination = &*self.name, %error, "what the operator wants cannot be found out");
        }
        if let Some(most) = self.most_waiting {
            self.look_at_room(most).await;
        }
    }

    /// Looks how much waits, where there is a bound.
    async fn look_at_room(&self, most: u64) {
        let Ok(waiting) = self.gateway.store.waiting(&self.name, most).await else { return };
        let before = self.gateway.rooms.fill(&self.name);
        let fill = Fill::of(waiting, most, before);
        self.gateway.rooms.note(&self.name, fill);
        match fill {
            _ if fill == before => {}
            Fill::Full => {
                tracing::error!(
                    destination = &*self.name,
                    waiting,
                    most,
                    "no more can wait: what is for it is refused"
                );
            }
            Fill::Filling if before == Fill::Free => {
                tracing::warn!(destination = &*self.name, waiting, most, "soon no more can wait for the destination");
            }
            Fill::Filling | Fill::Free => {
                tracing::info!(destination = &*self.name, waiting, most, "there is room again");
            }
        }
    }

    fn shape(&self) -> Option<Arc<Shape>> {
        self.shape.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long to leave what has come in. Of many destinations most are not concerned by it, and all looking at once would hold
    /// up whoever sends; so those to which nothing was sent lately look a thousand times a second all together.
    fn patience(&self) -> Option<Duration> {
        let many = self.gateway.recipients.all.len();
        let lately_ms = self.gateway.now_ms().saturating_sub(LATELY_MS);
        if many <= FEW || self.sent_ms.load(Ordering::Relaxed) > lately_ms {
            return None;
        }
        let most = Duration::from_millis(many as u64).min(IDLE);
        Some(most.mul_f64(0.5 + (self.random() % 512) as f64 / 1024.0))
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    fn random(&self) -> u64 {
        let mut entropy = [0; 8];
        (self.gateway.entropy)(&mut entropy);
        u64::from_le_bytes(entropy)
    }
}

fn until(then_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(then_ms.saturating_sub(now_ms).max(1) as u64).min(IDLE)
}
