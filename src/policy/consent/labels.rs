//! Security labels of a rule against those of a resource.
//!
//! Confidentiality codes are ranked: a permit for `R` means `R` or lower (R4 Consent, comment on securityLabel),
//! and so a deny of `R` means `R` or higher, since read the same way it would deny everything but `V`. Other
//! labels (sensitivity, handling) compare exactly. An unlabelled resource has no known rank; a deployment that
//! takes it for `N` says so in the facts, not here.

use std::fmt;

use super::coding::{self, Coding};
use super::matching::{Effect, Match};
use super::rule::{Bearing, Carried};
use crate::fhir::tree::Element;

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// Lowest first.
const RANKS: [&str; 6] = ["U", "L", "M", "N", "R", "V"];

fn rank(system: &str, code: &str) -> Option<u8> {
    if system != CONFIDENTIALITY {
        return None;
    }
    RANKS.iter().position(|rank| *rank == code).map(|rank| rank as u8)
}

/// Whether nothing is more than normally confidential. What carries no confidentiality is taken for normal; whoever fills
/// the facts labels what is restricted by its nature.
pub(super) fn is_normal(labels: &[(&str, &str)]) -> bool {
    let normal = rank(CONFIDENTIALITY, "N");
    labels.iter().filter_map(|(system, code)| rank(system, code)).all(|carried| Some(carried) <= normal)
}

/// The labels of a rule, as alternatives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Labels {
    ranks: Option<Ranks>,
    others: Vec<Coding>,
    unclear: bool,
}

/// Lowest and highest confidentiality named, and the effect of the rule that named them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ranks {
    low: u8,
    high: u8,
    stated: Effect,
}

impl Ranks {
    /// Where a rule inherits from one of the other effect, both readings count: a deny within "up to N" takes back
    /// what is labelled lower too, and a permit within "from R" excepts nothing that its parent did not name.
    fn matches(self, effect: Effect, carried: u8) -> Match {
        let (up_to, from) = (Match::of(carried <= self.high), Match::of(carried >= self.low));
        match (effect, self.stated) {
            (Effect::Permit, Effect::Permit) => up_to,
            (Effect::Deny, Effect::Deny) => from,
            (Effect::Permit, Effect::Deny) => up_to.and(|| from),
            (Effect::Deny, Effect::Permit) => up_to.or(|| from),
        }
    }
}

impl Labels {
    /// Takes one `securityLabel` of a rule of that effect in; false where it cannot be read.
    pub fn add(&mut self, stated: Effect, element: Element<'_>) -> bool {
        let Some(label) = Coding::read(element) else {
            self.unclear = true;
            return false;
        };
        match rank(&label.system, &label.code) {
            Some(rank) => {
                let (low, high) = self.ranks.map_or((rank, rank), |ranks| (ranks.low, ranks.high));
                self.ranks = Some(Ranks { low: low.min(rank), high: high.max(rank), stated });
            }
            None => self.others.push(label),
        }
        true
    }

    pub fn matches(&self, effect: Effect, labels: &[(&str, &str)]) -> Match {
        if labels.is_empty() {
            return Match::Unknown;
        }
        let carried = |label: &Coding| labels.iter().any(|(system, code)| label.is(system, code));
        Match::of(self.others.iter().any(carried))
            .or(|| self.ranked(effect, labels))
            .or(|| if self.unclear { Match::Unknown } else { Match::No })
    }

    /// Of which resources that carry some labels it holds.
    pub fn bearing(&self, effect: Effect, carried: Option<Carried<'_>>) -> Bearing {
        let Some(Carried { labels, whole }) = carried else { return Bearing::Some };
        let fires = self.matches(effect, labels).fires(effect);
        let is_named = |label: &Coding| labels.iter().any(|(system, code)| label.is(system, code));
        match (whole || self.others.iter().any(is_named), effect) {
            (true, _) => {
                if fires {
                    Bearing::All
                } else {
                    Bearing::None
                }
            }
            // Whatever the confidentiality is, no rank is named that it could be.
            (false, Effect::Permit) if self.ranks.is_none() => Bearing::None,
            (false, _) => Bearing::Some,
        }
    }

    fn ranked(&self, effect: Effect, labels: &[(&str, &str)]) -> Match {
        let Some(ranks) = self.ranks else { return Match::No };
        let carried = labels.iter().filter_map(|(system, code)| rank(system, code)).max();
        carried.map_or(Match::Unknown, |carried| ranks.matches(effect, carried))
    }
}

/// The labels as a rule of that effect reads them.
pub(super) struct Shown<'a>(pub &'a Labels, pub Effect);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(labels, effect) = self;
        let ranked = labels.ranks.map(|Ranks { low, high, stated }| {
            let (low, high) = (RANKS[usize::from(low)], RANKS[usize::from(high)]);
            match (effect, stated) {
                (Effect::Permit, Effect::Permit) => format!("confidentiality up to {high}"),
                (Effect::Deny, Effect::Deny) => format!("confidentiality from {low}"),
                (Effect::Permit, Effect::Deny) => format!("confidentiality from {low} up to {high}"),
                (Effect::Deny, Effect::Permit) => format!("confidentiality up to {high} or from {low}"),
            }
        });
        let others = labels.others.iter().map(Coding::to_string);
        coding::list(formatter, ranked.into_iter().chain(others), labels.unclear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    #[test]
    fn ranks_are_high_water_marks_and_the_rest_is_exact() {
        let document = json::parse(format!(
            r#"{{"n":{{"system":"{CONFIDENTIALITY}","code":"N"}},"r":{{"system":"{CONFIDENTIALITY}","code":"R"}},
                "psy":{{"system":"urn:sensitivity","code":"PSY"}},"bare":{{"code":"R"}}}}"#
        ))
        .unwrap();
        let rule = |stated: Effect, names: &[&str]| {
            let mut labels = Labels::default();
            for name in names {
                labels.add(stated, Element::root(&document).get(name).unwrap());
            }
            labels
        };
        let (normal, restricted, psy) = ((CONFIDENTIALITY, "N"), (CONFIDENTIALITY, "R"), ("urn:sensitivity", "PSY"));
        type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], Match, Match);
        let cases: [Case<'_>; 10] = [
            (&["n"], &[normal], Match::Yes, Match::Yes),
            (&["n"], &[restricted], Match::No, Match::Yes),
            (&["r"], &[normal], Match::Yes, Match::No),
            (&["r"], &[normal, restricted], Match::Yes, Match::Yes),
            (&["n", "r"], &[normal], Match::Yes, Match::Yes),
            (&["r", "n"], &[restricted], Match::Yes, Match::Yes),
            (&["psy"], &[restricted, psy], Match::Yes, Match::Yes),
            (&["psy"], &[restricted], Match::No, Match::No),
            (&["n"], &[psy], Match::Unknown, Match::Unknown),
            (&["bare"], &[normal], Match::Unknown, Match::Unknown),
        ];
        for (named, carried, permit, deny) in cases {
            let found = [Effect::Permit, Effect::Deny].map(|effect| rule(effect, named).matches(effect, carried));
            assert_eq!(found, [permit, deny], "{named:?} {carried:?}");
        }
        // A deny that inherits from a permit, and a permit that inherits from a deny.
        for (named, carried, deny, permit) in [
            ("n", normal, Match::Yes, Match::Yes),
            ("r", normal, Match::Yes, Match::No),
            ("n", restricted, Match::Yes, Match::No),
            ("r", restricted, Match::Yes, Match::Yes),
        ] {
            assert_eq!(rule(Effect::Permit, &[named]).matches(Effect::Deny, &[carried]), deny, "{named} {carried:?}");
            assert_eq!(rule(Effect::Deny, &[named]).matches(Effect::Permit, &[carried]), permit, "{named} {carried:?}");
        }
    }
}
