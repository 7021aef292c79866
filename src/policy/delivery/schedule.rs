//! Exponential backoff with full jitter: the delay before attempt n+1 is uniform between zero and
//! `min(cap, base · 2^(n-1))`, so that deliveries that failed together do not come back together.

/// How often and how patiently to try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    pub base_ms: i64,
    pub cap_ms: i64,
    /// Including the first.
    pub max_attempts: u32,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    At(i64),
    Dead,
}

/// A peer may ask for patience, but not park a delivery for good.
const RETRY_AFTER_CAP_MS: i64 = 24 * 3_600_000;

impl Schedule {
    /// `attempts` were made, the last one just now. The peer's `retry_after_ms` is a floor; jitter is added to it.
    pub fn next(&self, attempts: u32, now_ms: i64, random: u64, retry_after_ms: Option<i64>) -> Next {
        if attempts >= self.max_attempts {
            return Next::Dead;
        }
        let floor = retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_CAP_MS);
        let jitter = scale(random, self.ceiling_ms(attempts));
        Next::At(now_ms.saturating_add(floor).saturating_add(jitter))
    }

    /// Longest delay after this many attempts.
    pub fn ceiling_ms(&self, attempts: u32) -> i64 {
        backoff(self.base_ms, self.cap_ms, attempts.saturating_sub(1))
    }
}

/// `min(cap, base · 2^doublings)`, never negative and never overflowing.
pub(super) fn backoff(base_ms: i64, cap_ms: i64, doublings: u32) -> i64 {
    let factor = 1_i64.checked_shl(doublings.min(62)).unwrap_or(i64::MAX);
    base_ms.max(0).saturating_mul(factor).min(cap_ms.max(0))
}

/// Maps 64 random bits evenly to `0..=limit`.
pub(super) fn scale(random: u64, limit: i64) -> i64 {
    ((u128::from(random) * (limit.max(0) as u128 + 1)) >> 64) as i64
}
