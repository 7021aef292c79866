//! How much of the audit strangers may fill.
//!
//! Whoever is turned away without having proved who it is costs us a record that stays. So a bucket of tokens says which
//! refusals are told one by one; the others are counted, and their number is told with the next one or when a token is
//! there again. Nothing is forgotten, and a flood costs a row or two a minute. No clock: `now` is an argument.

/// Refusals that are told one by one after a quiet time.
const BURST: i64 = 20;

/// One more is told after each such time.
const INTERVAL_MS: i64 = 60_000;

/// Refusals that were only counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Merged {
    pub count: u64,
    /// When the first of them was refused.
    pub since_ms: i64,
}

/// What becomes of one refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// It is told, and so is what was counted before it.
    Alone { before: Option<Merged> },
    /// It was counted.
    Counted,
}

/// The bucket.
#[derive(Clone, Debug)]
pub struct Strangers {
    /// A token is an interval of it.
    credit_ms: i64,
    at_ms: i64,
    merged: Option<Merged>,
}

impl Strangers {
    pub fn new(now_ms: i64) -> Self {
        Strangers { credit_ms: BURST * INTERVAL_MS, at_ms: now_ms, merged: None }
    }

    /// A stranger was refused.
    pub fn refuse(&mut self, now_ms: i64) -> Told {
        if self.take(now_ms) {
            return Told::Alone { before: self.merged.take() };
        }
        self.merged.get_or_insert(Merged { count: 0, since_ms: now_ms }).count += 1;
        Told::Counted
    }

    /// What was counted, once it may be told without a refusal to tell it with.
    pub fn due(&mut self, now_ms: i64) -> Option<Merged> {
        if self.merged.is_some() && self.take(now_ms) { self.merged.take() } else { None }
    }

    /// What was counted, for the end of the process.
    pub fn rest(&mut self) -> Option<Merged> {
        self.merged.take()
    }

    /// What could not be told is counted again.
    pub fn put_back(&mut self, merged: Merged) {
        let kept = self.merged.get_or_insert(Merged { count: 0, ..merged });
        kept.count += merged.count;
        kept.since_ms = kept.since_ms.min(merged.since_ms);
    }

    /// A clock that was set back gives no credit and takes none.
    fn take(&mut self, now_ms: i64) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms).max(0);
        self.credit_ms = self.credit_ms.saturating_add(passed).min(BURST * INTERVAL_MS);
        self.at_ms = now_ms;
        let has_token = self.credit_ms >= INTERVAL_MS;
        if has_token {
            self.credit_ms -= INTERVAL_MS;
        }
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_few_rows_and_none_of_it_is_forgotten() {
        let mut strangers = Strangers::new(0);
        let (mut alone, mut merged) = (0, 0);
        // A day of one refusal every ten milliseconds.
        for now_ms in (0..86_400_000).step_by(10) {
            match strangers.refuse(now_ms) {
                Told::Alone { before } => {
                    alone += 1;
                    merged += before.map_or(0, |merged| merged.count);
                }
                Told::Counted => {}
            }
        }
        assert_eq!(alone, 20 + 24 * 60 - 1);
        assert_eq!(alone + merged + strangers.rest().unwrap().count, 8_640_000);
    }

    #[test]
    fn what_was_counted_is_told_when_the_flood_has_ended() {
        let mut strangers = Strangers::new(0);
        for _ in 0..20 {
            assert_eq!(strangers.refuse(5), Told::Alone { before: None });
        }
        assert_eq!((strangers.refuse(7), strangers.refuse(9)), (Told::Counted, Told::Counted));
        assert_eq!(strangers.due(59_000), None);
        assert_eq!(strangers.due(60_005), Some(Merged { count: 2, since_ms: 7 }));
        assert_eq!(strangers.due(600_000), None, "it is told once");
    }

    #[test]
    fn what_could_not_be_told_and_a_clock_set_back_lose_nothing() {
        let mut strangers = Strangers::new(1_000_000);
        for _ in 0..20 {
            strangers.refuse(1_000_000);
        }
        assert_eq!(strangers.refuse(0), Told::Counted);
        assert_eq!(strangers.refuse(10), Told::Counted);
        strangers.put_back(Merged { count: 3, since_ms: -5 });
        assert_eq!(strangers.rest(), Some(Merged { count: 5, since_ms: -5 }));
    }
}
