//! When a delivery is tried, tried again, and given up: a state machine over ids and times.
//!
//! Before an attempt [`decide`] says Attempt, Wait or Cancel; after it [`settle`] turns the peer's [`Verdict`] into
//! done, again, or dead. Delivery is at least once: a delivery leaves the queue only as acknowledged, cancelled or
//! dead with a reason, never silently. A withdrawn consent cancels before anything else is asked, so that nothing
//! is sent after it, and a delivery waits for earlier ones of the same patient to the same destination, so that
//! corrections never overtake. Peers classify, and never decide whether to retry. What is delivered is unknown here.

mod circuit;
mod pace;
mod schedule;

pub use circuit::{Admission, Circuit, Limits, Turned};
pub use pace::{Pace, Window};
pub use schedule::{Next, Schedule};

/// What a peer's answer, or its silence, means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Acknowledged,
    /// Not now: unreachable, busy, broken. `after_ms` is the peer's own wish (Retry-After), as a delay.
    Retry {
        after_ms: Option<i64>,
        reason: String,
    },
    /// Not now, and nothing was sent: no connection, no access token.
    Unreached {
        reason: String,
    },
    /// Not now, and nothing was sent, for a reason of this person's alone: the peer is not to blame.
    Waits {
        reason: String,
    },
    /// Never: sending the same again would be refused again.
    Rejected {
        reason: String,
    },
}

impl Verdict {
    /// Whether the peer is alive. A rejection proves that it is; only silence and trouble open a circuit.
    pub fn is_alive(&self) -> bool {
        !matches!(self, Verdict::Retry { .. } | Verdict::Unreached { .. })
    }

    /// Whether the peer said that it does not take it.
    pub fn is_refused(&self) -> bool {
        matches!(self, Verdict::Rejected { .. })
    }

    /// Whether the data left the house, whatever became of it there.
    pub fn has_left(&self) -> bool {
        !matches!(self, Verdict::Unreached { .. } | Verdict::Waits { .. })
    }
}

/// What is known of a delivery whose turn has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// Not before this time.
    pub at_ms: i64,
    /// Why it may no longer be sent, as decided now: consent withdrawn, resource erased, destination removed.
    pub forbidden: Option<String>,
    /// When the earlier delivery of the same patient to the same destination is due, if one is unsettled.
    pub earlier_at_ms: Option<i64>,
}

/// What to do with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send now, and record the verdict in the circuit.
    Attempt,
    /// Put back until this time.
    Wait(i64),
    /// Settle as cancelled.
    Cancel(String),
}

/// Pause before asking again for a predecessor that is being sent at this moment.
const PREDECESSOR_POLL_MS: i64 = 1000;

/// Decides one attempt. The circuit is asked last, because its single probe is given out by asking.
pub fn decide(due: &Due, circuit: &mut Circuit, now_ms: i64) -> Action {
    if let Some(reason) = &due.forbidden {
        return Action::Cancel(reason.clone());
    }
    if due.at_ms > now_ms {
        return Action::Wait(due.at_ms);
    }
    if let Some(earlier) = due.earlier_at_ms {
        return Action::Wait(earlier.max(now_ms.saturating_add(PREDECESSOR_POLL_MS)));
    }
    match circuit.poll(now_ms) {
        Admission::Closed | Admission::Probe => Action::Attempt,
        Admission::Open(until) => Action::Wait(until),
    }
}

/// How an attempt ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settlement {
    Done,
    Again { at_ms: i64, reason: String },
    Dead { reason: String },
}

/// Settles an attempt; `attempts` counts it.
pub fn settle(verdict: Verdict, schedule: &Schedule, attempts: u32, now_ms: i64, random: u64) -> Settlement {
    match verdict {
        Verdict::Acknowledged => Settlement::Done,
        Verdict::Rejected { reason } => Settlement::Dead { reason },
        Verdict::Retry { after_ms, reason } => again(schedule, attempts, now_ms, random, after_ms, reason),
        Verdict::Unreached { reason } | Verdict::Waits { reason } => {
            again(schedule, attempts, now_ms, random, None, reason)
        }
    }
}

fn again(
    schedule: &Schedule,
    attempts: u32,
    now_ms: i64,
    random: u64,
    after_ms: Option<i64>,
    reason: String,
) -> Settlement {
    match schedule.next(attempts, now_ms, random, after_ms) {
        Next::At(at_ms) => Settlement::Again { at_ms, reason },
        Next::Dead => Settlement::Dead { reason: format!("given up after {attempts} attempts: {reason}") },
    }
}

#[cfg(test)]
mod tests;
