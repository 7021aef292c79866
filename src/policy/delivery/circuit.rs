//! One circuit per destination: after several failures in a row nothing is sent for a while, then one probe.
//!
//! Without it every waiting delivery would burn its attempts on a destination that is down, and meet it with a
//! flood when it returns. States: closed, open until a time, half open with one probe out. A probe whose result
//! never comes (the process died) is replaced after the probe time, so that a circuit cannot hang. Results of
//! deliveries that were under way when the circuit opened change nothing: only the probe decides.

use super::schedule::{backoff, scale};

/// When a circuit opens and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Failures in a row that open it.
    pub failures: u32,
    /// First pause; doubles with each failed probe up to the cap.
    pub base_ms: i64,
    pub cap_ms: i64,
    /// After this time without a result a probe counts as lost.
    pub probe_ms: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until_ms: i64, pauses: u32 },
    HalfOpen { lost_at_ms: i64, pauses: u32 },
}

/// Whether something may be sent now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    Closed,
    /// The one attempt that decides; its result must be recorded.
    Probe,
    /// Ask again at this time.
    Open(i64),
}

/// What a recorded result changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turned {
    /// Nothing is sent until then.
    Opened { until_ms: i64 },
    /// The peer is back.
    Closed,
}

#[derive(Clone, Debug)]
pub struct Circuit {
    limits: Limits,
    state: State,
}

impl Circuit {
    pub fn new(limits: Limits) -> Self {
        Circuit { limits, state: State::Closed { failures: 0 } }
    }

    /// Asks to send. Answers Probe to one caller only until the probe is recorded or lost.
    pub fn poll(&mut self, now_ms: i64) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Closed,
            State::Open { until_ms, .. } if now_ms < until_ms => Admission::Open(until_ms),
            State::HalfOpen { lost_at_ms, .. } if now_ms < lost_at_ms => Admission::Open(lost_at_ms),
            State::Open { pauses, .. } | State::HalfOpen { pauses, .. } => {
                self.state = State::HalfOpen { lost_at_ms: now_ms.saturating_add(self.limits.probe_ms.max(1)), pauses };
                Admission::Probe
            }
        }
    }

    /// Records whether the peer proved alive; answers how the circuit turned, if it did.
    pub fn record(&mut self, alive: bool, now_ms: i64, random: u64) -> Option<Turned> {
        let was = self.state;
        self.state = match (self.state, alive) {
            (State::Closed { .. } | State::HalfOpen { .. }, true) => State::Closed { failures: 0 },
            (State::Closed { failures }, false) if failures + 1 < self.limits.failures => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. }, false) => self.open(0, now_ms, random),
            (State::HalfOpen { pauses, .. }, false) => self.open(pauses.saturating_add(1), now_ms, random),
            (open @ State::Open { .. }, _) => open,
        };
        match (was, self.state) {
            (State::Closed { .. } | State::HalfOpen { .. }, State::Open { until_ms, .. }) => {
                Some(Turned::Opened { until_ms })
            }
            (State::HalfOpen { .. }, State::Closed { .. }) => Some(Turned::Closed),
            _ => None,
        }
    }

    /// Gives a probe back that was not used, because there was nothing to send: the next caller may have it at once.
    pub fn hand_back(&mut self, now_ms: i64) {
        if let State::HalfOpen { pauses, .. } = self.state {
            self.state = State::Open { until_ms: now_ms, pauses };
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Half of the pause is sure and half is jitter: several nodes do not probe at once, nor at once again.
    fn open(&self, pauses: u32, now_ms: i64, random: u64) -> State {
        let pause = backoff(self.limits.base_ms, self.limits.cap_ms, pauses).max(1);
        let until_ms = now_ms.saturating_add(pause - pause / 2).saturating_add(scale(random, pause / 2));
        State::Open { until_ms, pauses }
    }
}
