//! Delivery in virtual time: schedules, circuits, and whole worlds of failing destinations.

use proptest::prelude::*;

use super::*;

const SCHEDULE: Schedule = Schedule { base_ms: 1000, cap_ms: 60_000, max_attempts: 8 };
const LIMITS: Limits = Limits { failures: 3, base_ms: 5000, cap_ms: 60_000, probe_ms: 10_000 };

fn retry(after_ms: Option<i64>) -> Verdict {
    Verdict::Retry { after_ms, reason: "503".into() }
}

#[test]
fn schedule_doubles_to_its_cap_and_ends() {
    for (attempts, random, after, expected) in [
        (1, 0, None, Next::At(0)),
        (1, u64::MAX, None, Next::At(1000)),
        (2, u64::MAX, None, Next::At(2000)),
        (3, u64::MAX / 2, None, Next::At(2000)),
        (7, u64::MAX, None, Next::At(60_000)),
        (1, 0, Some(30_000), Next::At(30_000)),
        (1, u64::MAX, Some(30_000), Next::At(31_000)),
        (1, 0, Some(-5), Next::At(0)),
        (1, 0, Some(i64::MAX), Next::At(86_400_000)),
        (8, 0, None, Next::Dead),
        (u32::MAX, 0, None, Next::Dead),
    ] {
        assert_eq!(SCHEDULE.next(attempts, 0, random, after), expected, "{attempts} {random} {after:?}");
    }
    let endless = Schedule { base_ms: i64::MAX, cap_ms: i64::MAX, max_attempts: u32::MAX };
    assert_eq!(endless.next(90, i64::MAX, u64::MAX, Some(i64::MAX)), Next::At(i64::MAX));
}

#[test]
fn circuit_opens_probes_and_closes() {
    let mut circuit = Circuit::new(LIMITS);
    for now in 0..3 {
        assert_eq!(circuit.poll(now), Admission::Closed);
        let turned = circuit.record(false, now, u64::MAX);
        assert_eq!(turned, (now == 2).then_some(Turned::Opened { until_ms: 5002 }));
    }
    assert_eq!(circuit.poll(10), Admission::Open(2 + 5000));
    assert_eq!(circuit.record(true, 11, 0), None);
    assert_eq!(circuit.poll(12), Admission::Open(5002), "a late success of an earlier attempt decides nothing");
    assert_eq!(circuit.poll(5002), Admission::Probe);
    assert_eq!(circuit.poll(5003), Admission::Open(15_002), "one probe at a time");
    assert_eq!(circuit.poll(15_002), Admission::Probe, "a lost probe is replaced");
    assert_eq!(circuit.record(false, 16_000, u64::MAX), Some(Turned::Opened { until_ms: 26_000 }));
    assert_eq!(circuit.poll(16_000), Admission::Open(26_000), "the pause doubles");
    assert_eq!(circuit.poll(26_000), Admission::Probe);
    assert_eq!(circuit.record(true, 26_001, 0), Some(Turned::Closed));
    assert!(circuit.is_closed());
    for alive in [false, false, true, false, false] {
        circuit.record(alive, 27_000, 0);
    }
    assert!(circuit.is_closed(), "only failures in a row count");
}

#[test]
fn decisions_come_in_order() {
    let due = Due { at_ms: 100, forbidden: None, earlier_at_ms: None };
    let withdrawn = Due { forbidden: Some("consent-denied".into()), ..due.clone() };
    let behind = Due { earlier_at_ms: Some(5000), ..due.clone() };
    let mut circuit = Circuit::new(LIMITS);
    for (due, now, expected) in [
        (&due, 99, Action::Wait(100)),
        (&due, 100, Action::Attempt),
        (&withdrawn, 0, Action::Cancel("consent-denied".into())),
        (&behind, 100, Action::Wait(5000)),
        (&behind, 4999, Action::Wait(5999)),
    ] {
        assert_eq!(decide(due, &mut circuit, now), expected);
    }
    for _ in 0..3 {
        circuit.record(false, 100, 0);
    }
    assert_eq!(decide(&withdrawn, &mut circuit, 200), Action::Cancel("consent-denied".into()));
    assert_eq!(decide(&behind, &mut circuit, 10_000), Action::Wait(11_000));
    assert_eq!(decide(&due, &mut circuit, 10_000), Action::Attempt, "waiting ones did not take the probe");
}

#[test]
fn verdicts_settle() {
    for (verdict, attempts, expected) in [
        (Verdict::Acknowledged, 8, Settlement::Done),
        (Verdict::Rejected { reason: "422".into() }, 1, Settlement::Dead { reason: "422".into() }),
        (retry(Some(500)), 1, Settlement::Again { at_ms: 510, reason: "503".into() }),
        (retry(None), 8, Settlement::Dead { reason: "given up after 8 attempts: 503".into() }),
    ] {
        assert_eq!(settle(verdict, &SCHEDULE, attempts, 10, 0), expected);
    }
    assert!(Verdict::Rejected { reason: String::new() }.is_alive() && !retry(None).is_alive());
}

/// One destination in virtual time: down until a moment, then up. Every delivery belongs to one of three patients.
struct World {
    now: i64,
    random: u64,
    circuit: Circuit,
    queue: Vec<Item>,
    calls: Vec<(i64, usize)>,
}

#[derive(Clone, Default)]
struct Item {
    patient: usize,
    at: i64,
    attempts: u32,
    withdrawn_at: Option<i64>,
    end: Option<&'static str>,
}

impl World {
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random
    }

    /// Runs until everything is settled; each step moves time to the earliest wait.
    fn run(&mut self, up_from: i64) {
        for _ in 0..100_000 {
            let Some(index) = (0..self.queue.len())
                .filter(|index| self.queue[*index].end.is_none())
                .min_by_key(|index| self.queue[*index].at)
            else {
                return;
            };
            self.now = self.now.max(self.queue[index].at);
            self.step(index, up_from);
        }
        panic!("not settled");
    }

    fn step(&mut self, index: usize, up_from: i64) {
        let item = self.queue[index].clone();
        let earlier = self.queue[..index].iter().find(|other| other.end.is_none() && other.patient == item.patient);
        let due = Due {
            at_ms: item.at,
            forbidden: item.withdrawn_at.filter(|at| *at <= self.now).map(|_| "withdrawn".to_owned()),
            earlier_at_ms: earlier.map(|other| other.at),
        };
        match decide(&due, &mut self.circuit, self.now) {
            Action::Cancel(_) => self.queue[index].end = Some("cancelled"),
            Action::Wait(until) => {
                assert!(until > self.now, "a wait must move time on");
                self.queue[index].at = until;
            }
            Action::Attempt => {
                assert!(item.withdrawn_at.is_none_or(|at| at > self.now), "nothing is sent after a withdrawal");
                self.calls.push((self.now, index));
                let verdict = if self.now < up_from { retry(None) } else { Verdict::Acknowledged };
                let (open, settling) = (self.random(), self.random());
                self.circuit.record(verdict.is_alive(), self.now, open);
                self.queue[index].attempts += 1;
                match settle(verdict, &SCHEDULE, item.attempts + 1, self.now, settling) {
                    Settlement::Done => self.queue[index].end = Some("done"),
                    Settlement::Dead { .. } => self.queue[index].end = Some("dead"),
                    Settlement::Again { at_ms, .. } => self.queue[index].at = at_ms,
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn deliveries_end_once_in_order_and_without_a_flood(
        seed: u64,
        items in prop::collection::vec((0_usize..3, 0_i64..10_000, prop::option::of(0_i64..300_000)), 1..40),
        up_from in 0_i64..600_000,
    ) {
        let queue: Vec<Item> = items
            .iter()
            .map(|(patient, at, withdrawn_at)| Item { patient: *patient, at: *at, withdrawn_at: *withdrawn_at, ..Item::default() })
            .collect();
        let mut world = World { now: 0, random: seed, circuit: Circuit::new(LIMITS), queue, calls: Vec::new() };
        world.run(up_from);
        for item in &world.queue {
            prop_assert!(item.attempts <= SCHEDULE.max_attempts);
            prop_assert_eq!(item.end == Some("dead"), item.attempts == SCHEDULE.max_attempts && item.end != Some("done") && item.end != Some("cancelled"));
        }
        // Per patient, the last call for an item comes before the first call for its successor.
        for (place, (_, index)) in world.calls.iter().enumerate() {
            let patient = world.queue[*index].patient;
            prop_assert!(world.calls[place..].iter().all(|(_, later)| world.queue[*later].patient != patient || later >= index));
        }
        // While the destination is down, calls are at least half a pause apart once the circuit has opened.
        let down: Vec<i64> = world.calls.iter().map(|call| call.0).filter(|at| *at < up_from).collect();
        for pair in down.windows(2).skip(2) {
            prop_assert!(pair[1] - pair[0] >= LIMITS.base_ms / 2, "{pair:?}");
        }
    }

    #[test]
    fn delays_stay_between_zero_and_ceiling(attempts in 1_u32..7, random: u64, now in 0_i64..1 << 50) {
        let Next::At(at) = SCHEDULE.next(attempts, now, random, None) else { panic!("attempts are left") };
        prop_assert!((now..=now + SCHEDULE.ceiling_ms(attempts)).contains(&at));
    }
}

#[test]
fn a_probe_that_is_handed_back_is_there_for_the_next() {
    let mut circuit = Circuit::new(LIMITS);
    for _ in 0..LIMITS.failures {
        circuit.record(false, 0, 0);
    }
    circuit.hand_back(1);
    assert!(matches!(circuit.poll(1), Admission::Open(_)), "an open circuit stays open");
    let Admission::Open(until_ms) = circuit.poll(1) else { panic!("open") };
    assert_eq!(circuit.poll(until_ms), Admission::Probe);
    assert!(matches!(circuit.poll(until_ms), Admission::Open(_)), "one probe at a time");
    circuit.hand_back(until_ms);
    assert_eq!(circuit.poll(until_ms), Admission::Probe);
    circuit.record(true, until_ms, 0);
    circuit.hand_back(until_ms);
    assert_eq!(circuit.poll(until_ms), Admission::Closed);
}

#[test]
fn what_never_left_is_tried_again_and_proves_no_life() {
    let unreached = Verdict::Unreached { reason: "no connection".into() };
    assert!(!unreached.is_alive() && !unreached.has_left());
    assert!(retry(None).has_left() && Verdict::Acknowledged.has_left());
    assert_eq!(
        settle(unreached.clone(), &SCHEDULE, 1, 7, 0),
        Settlement::Again { at_ms: 7, reason: "no connection".into() }
    );
    let last = settle(unreached, &SCHEDULE, 8, 7, 0);
    assert!(matches!(last, Settlement::Dead { reason } if reason.starts_with("given up after 8")));
}
