//! Three-valued comparison, and what a rule does with it.
//!
//! Engines that read two values let what they don't understand vanish from a condition, and a permit with
//! fewer conditions permits more. Here a comparison may say [`Match::Unknown`], and the effect of the rule
//! decides what that is worth. Ordered `No < Unknown < Yes`, so "and" is the minimum, "or" the maximum
//! (Kleene), and neither depends on order.

use std::fmt;

/// What a rule does where it matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    Permit,
    Deny,
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Effect::Permit => "permit",
            Effect::Deny => "deny",
        })
    }
}

/// How a condition compares with a request and a resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Match {
    No,
    Unknown,
    Yes,
}

impl Match {
    pub fn of(holds: bool) -> Match {
        if holds { Match::Yes } else { Match::No }
    }

    /// Both; the second is only asked where it can still matter.
    pub fn and(self, other: impl FnOnce() -> Match) -> Match {
        if self == Match::No { Match::No } else { self.min(other()) }
    }

    /// Either.
    pub fn or(self, other: impl FnOnce() -> Match) -> Match {
        if self == Match::Yes { Match::Yes } else { self.max(other()) }
    }

    /// The best of a list whose items are alternatives.
    pub fn any(matches: impl Iterator<Item = Match>) -> Match {
        let mut best = Match::No;
        for next in matches {
            best = best.max(next);
            if best == Match::Yes {
                break;
            }
        }
        best
    }

    /// Whether a rule of that effect applies: the one place where "unknown" turns into a decision.
    pub fn fires(self, effect: Effect) -> bool {
        match effect {
            Effect::Permit => self == Match::Yes,
            Effect::Deny => self != Match::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_never_permits_and_always_denies() {
        for (value, permits, denies) in
            [(Match::Yes, true, true), (Match::Unknown, false, true), (Match::No, false, false)]
        {
            assert_eq!((value.fires(Effect::Permit), value.fires(Effect::Deny)), (permits, denies));
        }
        assert_eq!(Match::Unknown.and(|| Match::No), Match::No);
        assert_eq!(Match::Unknown.or(|| Match::Yes), Match::Yes);
        assert_eq!(Match::any([Match::No, Match::Unknown].into_iter()), Match::Unknown);
    }
}
