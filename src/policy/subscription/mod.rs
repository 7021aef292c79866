//! Subscriptions by topic (Subscriptions R5 Backport, for R4): what may be asked for, when something is told, and in
//! which words. Pure: nothing is sent, resolved or remembered here, and whether a person lets something be told is not
//! asked.
//!
//! `topic` lists what can be subscribed to, `request` reads what a client wants, this file decides what is done next
//! and what an answer changes, `notification` writes what is told.

pub mod notification;
mod request;
mod topic;

pub use request::{Channel, Content, Header, Limits, Media, Wanted};
pub use topic::{TOPICS, Topic, topic};

use super::delivery::{Next, Schedule, Verdict};

/// `Subscription.status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Its endpoint has not answered a handshake yet.
    Requested,
    Active,
    /// Its endpoint failed too often. Events are counted, and told when the client asks for it again.
    Error,
    Off,
}

impl Status {
    pub fn code(self) -> &'static str {
        match self {
            Status::Requested => "requested",
            Status::Active => "active",
            Status::Error => "error",
            Status::Off => "off",
        }
    }

    pub fn parse(code: &str) -> Option<Status> {
        [Status::Requested, Status::Active, Status::Error, Status::Off].into_iter().find(|status| status.code() == code)
    }
}

/// Where a subscription stands with its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    pub status: Status,
    /// Attempts in a row that failed.
    pub failures: u32,
    /// Nothing is sent before.
    pub not_before_ms: i64,
    /// When the endpoint last took something.
    pub told_ms: i64,
}

/// What a subscription's steps depend on besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    pub schedule: Schedule,
    pub heartbeat_ms: Option<i64>,
    pub end_ms: Option<i64>,
    /// Whether we send to its endpoint; over a socket the client comes to us.
    pub sends: bool,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Its time is over.
    End,
    Handshake,
    /// What waits is told.
    Notify,
    Heartbeat,
    Wait {
        until_ms: i64,
    },
}

impl Standing {
    /// As it begins, or begins again when the client asks for it.
    pub fn requested(now_ms: i64) -> Standing {
        Standing { status: Status::Requested, failures: 0, not_before_ms: 0, told_ms: now_ms }
    }

    /// What is next; `waits` is whether there is something to tell.
    pub fn next(&self, terms: &Terms, waits: bool, now_ms: i64) -> Step {
        let end_ms = terms.end_ms.unwrap_or(i64::MAX);
        match self.status {
            Status::Off => return Step::Wait { until_ms: i64::MAX },
            _ if end_ms <= now_ms => return Step::End,
            Status::Error => return Step::Wait { until_ms: end_ms },
            _ if !terms.sends => return Step::Wait { until_ms: end_ms },
            _ if now_ms < self.not_before_ms => return Step::Wait { until_ms: self.not_before_ms.min(end_ms) },
            Status::Requested => return Step::Handshake,
            Status::Active => {}
        }
        let beat_ms = terms.heartbeat_ms.map_or(i64::MAX, |period_ms| self.told_ms.saturating_add(period_ms));
        match () {
            () if waits => Step::Notify,
            () if beat_ms <= now_ms => Step::Heartbeat,
            () => Step::Wait { until_ms: beat_ms.min(end_ms) },
        }
    }

    /// What an answer to a step changes. A handshake has one try: the client asks for it again when it is ready.
    #[must_use]
    pub fn heard(self, step: Step, verdict: &Verdict, schedule: &Schedule, now_ms: i64, random: u64) -> Standing {
        let after_ms = match verdict {
            Verdict::Acknowledged => {
                return Standing { status: Status::Active, failures: 0, not_before_ms: 0, told_ms: now_ms };
            }
            Verdict::Retry { after_ms, .. } => *after_ms,
            Verdict::Unreached { .. } | Verdict::Waits { .. } | Verdict::Rejected { .. } => None,
        };
        let failures = self.failures.saturating_add(1);
        match schedule.next(failures, now_ms, random, after_ms) {
            Next::At(at_ms) if step != Step::Handshake => Standing { failures, not_before_ms: at_ms, ..self },
            Next::At(_) | Next::Dead => Standing { status: Status::Error, failures, not_before_ms: 0, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule { base_ms: 1000, cap_ms: 60_000, max_attempts: 3 };
    const TERMS: Terms = Terms { schedule: SCHEDULE, heartbeat_ms: Some(30_000), end_ms: Some(1_000_000), sends: true };

    fn standing(status: Status) -> Standing {
        Standing { status, ..Standing::requested(0) }
    }

    #[test]
    fn what_is_next_follows_from_where_it_stands() {
        let active = standing(Status::Active);
        for (standing, terms, waits, now_ms, expected) in [
            (standing(Status::Requested), TERMS, true, 5, Step::Handshake),
            (active, TERMS, true, 5, Step::Notify),
            (active, TERMS, false, 5, Step::Wait { until_ms: 30_000 }),
            (active, TERMS, false, 30_000, Step::Heartbeat),
            (active, TERMS, true, 30_000, Step::Notify),
            (active, Terms { heartbeat_ms: None, ..TERMS }, false, 5, Step::Wait { until_ms: 1_000_000 }),
            (active, Terms { heartbeat_ms: None, end_ms: None, ..TERMS }, false, 5, Step::Wait { until_ms: i64::MAX }),
            (active, TERMS, true, 1_000_000, Step::End),
            (standing(Status::Error), TERMS, true, 5, Step::Wait { until_ms: 1_000_000 }),
            (standing(Status::Error), TERMS, true, 1_000_000, Step::End),
            (standing(Status::Off), TERMS, true, 2_000_000, Step::Wait { until_ms: i64::MAX }),
            (Standing { not_before_ms: 90, ..active }, TERMS, true, 5, Step::Wait { until_ms: 90 }),
            (active, Terms { sends: false, ..TERMS }, true, 5, Step::Wait { until_ms: 1_000_000 }),
        ] {
            assert_eq!(standing.next(&terms, waits, now_ms), expected, "{standing:?} {waits} {now_ms}");
        }
    }

    #[test]
    fn an_endpoint_that_fails_is_tried_again_until_it_is_given_up() {
        let failed = Verdict::Retry { after_ms: None, reason: String::new() };
        let mut active = standing(Status::Active);
        for failures in 1..3 {
            active = active.heard(Step::Notify, &failed, &SCHEDULE, 5, u64::MAX);
            assert_eq!((active.status, active.failures), (Status::Active, failures));
            assert!(active.not_before_ms > 5);
        }
        let recovered = active.heard(Step::Notify, &Verdict::Acknowledged, &SCHEDULE, 7, 0);
        assert_eq!(recovered, Standing { told_ms: 7, ..standing(Status::Active) });
        let given_up = active.heard(Step::Notify, &failed, &SCHEDULE, 5, 0);
        assert_eq!((given_up.status, given_up.failures), (Status::Error, 3));
    }

    #[test]
    fn a_handshake_has_one_try() {
        for (verdict, expected) in [
            (Verdict::Acknowledged, Status::Active),
            (Verdict::Unreached { reason: String::new() }, Status::Error),
            (Verdict::Rejected { reason: String::new() }, Status::Error),
        ] {
            let after = standing(Status::Requested).heard(Step::Handshake, &verdict, &SCHEDULE, 5, 0);
            assert_eq!(after.status, expected);
        }
    }

    #[test]
    fn statuses_have_their_codes() {
        for status in [Status::Requested, Status::Active, Status::Error, Status::Off] {
            assert_eq!(Status::parse(status.code()), Some(status));
        }
        assert_eq!(Status::parse("entered-in-error"), None);
    }
}
