//! Security labels of a rule against those of a resource.
//!
//! Confidentiality codes are ranked: a permit for `R` means `R` or lower (R4 Consent, comment on securityLabel),
//! and so a deny of `R` means `R` or higher, since read the same way it would deny everything but `V`. Other
//! labels (sensitivity, handling) compare exactly, but a deny reaches the sensitivities below the one that it names. An unlabelled resource has no known rank; a deployment that
//! takes it for `N` says so in the facts, not here.

use std::fmt;

use super::coding::{self, Coding};
use super::matching::{Effect, Match};
use super::rule::{Bearing, Carried};
use crate::fhir::tree::Element;

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// Sensitivities that have others below them (v3-ActCode of R4).
const BELOW: [(&str, &[&str]); 3] = [
    ("SPI", &["BH", "COGN", "DVD", "EMOTDIS", "MH", "PSY", "PSYTHPN", "SUD", "ETHUD", "OPIOIDUD"]),
    ("BH", &["COGN", "DVD", "EMOTDIS"]),
    ("SUD", &["ETHUD", "OPIOIDUD"]),
];

/// Lowest first.
const RANKS: [&str; 6] = ["U", "L", "M", "N", "R", "V"];

fn is_confidentiality(system: &str) -> bool {
    coding::named(system) == CONFIDENTIALITY
}

fn rank(system: &str, code: &str) -> Option<u8> {
    if !is_confidentiality(system) {
        return None;
    }
    RANKS.iter().position(|rank| *rank == code).map(|rank| rank as u8)
}

/// Whether nothing is more than normally confidential. What carries no confidentiality is taken for normal; whoever fills
/// the facts labels what is restricted by its nature. A label that may be a confidentiality and has no rank is not normal.
pub(super) fn is_normal(labels: &[(&str, &str)]) -> bool {
    let normal = rank(CONFIDENTIALITY, "N");
    labels.iter().all(|(system, code)| match rank(system, code) {
        Some(carried) => Some(carried) <= normal,
        None => !is_confidentiality(system) && !system.is_empty(),
    })
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
        Match::of(self.names(effect, labels))
            .or(|| self.ranked(effect, labels))
            .or(|| if self.may_name(labels) { Match::Unknown } else { Match::No })
            .or(|| if self.unclear { Match::Unknown } else { Match::No })
    }

    /// Of which resources that carry some labels it holds.
    pub fn bearing(&self, effect: Effect, carried: Option<Carried<'_>>) -> Bearing {
        let Some(Carried { labels, whole }) = carried else { return Bearing::Some };
        let fires = self.matches(effect, labels).fires(effect);
        match (whole || self.names(effect, labels), effect) {
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

    /// Whether one that is carried is named; what is denied is denied with all that lies below it.
    fn names(&self, effect: Effect, labels: &[(&str, &str)]) -> bool {
        let below = |named: &Coding, system: &str, code: &str| {
            let mut of = BELOW.iter().filter(|(above, _)| named.is(ACT_CODE, above));
            effect == Effect::Deny && coding::named(system) == ACT_CODE && of.any(|(_, below)| below.contains(&code))
        };
        let is =
            |named: &Coding| labels.iter().any(|(system, code)| named.is(system, code) || below(named, system, code));
        self.others.iter().any(is)
    }

    /// Whether one that is carried may be named: without its system, or below a code that only gathers others.
    fn may_name(&self, labels: &[(&str, &str)]) -> bool {
        let gathers = |named: &Coding, system| {
            named.code.starts_with('_') && coding::named(&named.system) == coding::named(system)
        };
        let may =
            |named: &Coding| labels.iter().any(|(system, code)| named.may_be(system, code) || gathers(named, system));
        self.others.iter().any(may)
    }

    fn ranked(&self, effect: Effect, labels: &[(&str, &str)]) -> Match {
        let Some(ranks) = self.ranks else { return Match::No };
        let carried = labels.iter().filter_map(|(system, code)| rank(system, code)).max();
        let found = carried.map_or(Match::Unknown, |carried| ranks.matches(effect, carried));
        // What may be a confidentiality and has no rank may be higher than all others.
        let may_be_higher = |(system, code): &(&str, &str)| {
            is_confidentiality(system) && rank(system, code).is_none() || system.is_empty() && RANKS.contains(code)
        };
        match (labels.iter().any(may_be_higher), effect) {
            (false, _) => found,
            (true, Effect::Permit) => found.and(|| Match::Unknown),
            (true, Effect::Deny) => found.or(|| Match::Unknown),
        }
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
        let system = CONFIDENTIALITY;
        let document = json::parse(format!(
            r#"{{"n":{{"system":"{system}","code":"N"}},"r":{{"system":"{system}","code":"R"}},
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
        let (normal, restricted, psy) = ((system, "N"), (system, "R"), ("urn:sensitivity", "PSY"));
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

    #[test]
    fn what_is_denied_is_denied_with_what_lies_below_it() {
        let label = |code| (ACT_CODE, code);
        let rule = |stated, code: &str| {
            let document = json::parse(format!(r#"{{"system":"{ACT_CODE}","code":"{code}"}}"#)).unwrap();
            let mut labels = Labels::default();
            labels.add(stated, Element::root(&document));
            labels
        };
        for (named, carried, denied) in [
            ("SPI", "PSY", true),
            ("BH", "COGN", true),
            ("BH", "PSY", false),
            ("SUD", "OPIOIDUD", true),
            ("PSY", "SPI", false),
            ("HIV", "HIV", true),
        ] {
            for (effect, expected) in [(Effect::Deny, denied), (Effect::Permit, named == carried)] {
                let found = rule(effect, named).matches(effect, &[label(carried)]);
                assert_eq!(found, Match::of(expected), "{effect:?} {named} {carried}");
            }
        }
    }

    /// What may be what is named, or higher, is not permitted by that and is refused by it.
    #[test]
    fn labels_are_known_by_every_name_and_doubted_without_one() {
        let label = |stated, system: &str, code: &str| {
            let document = json::parse(format!(r#"{{"system":"{system}","code":"{code}"}}"#)).unwrap();
            let mut labels = Labels::default();
            labels.add(stated, Element::root(&document));
            labels
        };
        let (stu3, oid) = ("http://hl7.org/fhir/v3/ActCode", "urn:oid:2.16.840.1.113883.5.4");
        let versioned = format!("{ACT_CODE}|2018-08-12");
        let (normal, odd, bare) = ((CONFIDENTIALITY, "N"), (CONFIDENTIALITY, "X"), ("", "R"));
        type Case<'a> = ((&'a str, &'a str), &'a [(&'a str, &'a str)], Match, Match);
        let cases: [Case<'_>; 9] = [
            ((ACT_CODE, "PSY"), &[(stu3, "PSY")], Match::Yes, Match::Yes),
            ((oid, "PSY"), &[(ACT_CODE, "PSY")], Match::Yes, Match::Yes),
            ((ACT_CODE, "PSY"), &[(&versioned, "PSY")], Match::Yes, Match::Yes),
            ((ACT_CODE, "PSY"), &[("", "PSY")], Match::Unknown, Match::Unknown),
            ((ACT_CODE, "PSY"), &[("", "HIV")], Match::No, Match::No),
            ((ACT_CODE, "_ActInformationSensitivityPolicy"), &[(stu3, "HIV")], Match::Unknown, Match::Unknown),
            ((CONFIDENTIALITY, "N"), &[normal, bare], Match::Unknown, Match::Yes),
            ((CONFIDENTIALITY, "N"), &[normal, odd], Match::Unknown, Match::Yes),
            ((CONFIDENTIALITY, "R"), &[odd, normal], Match::Unknown, Match::Unknown),
        ];
        for ((system, code), carried, permit, deny) in cases {
            let found =
                [Effect::Permit, Effect::Deny].map(|effect| label(effect, system, code).matches(effect, carried));
            assert_eq!(found, [permit, deny], "{system}|{code} {carried:?}");
        }
    }

    #[test]
    fn what_cannot_be_ranked_is_not_normal() {
        let latest = CONFIDENTIALITY;
        let (stu3, v3) = ("http://hl7.org/fhir/v3/Confidentiality", "urn:oid:2.16.840.1.113883.5.25");
        let versioned = format!("{latest}|2018-08-12");
        let cases: [(&[(&str, &str)], bool); 11] = [
            (&[], true),
            (&[(latest, "N")], true),
            (&[(latest, "L"), (ACT_CODE, "PSY")], true),
            (&[(latest, "R")], false),
            (&[(latest, "x")], false),
            (&[(latest, "r")], false),
            (&[(latest, "")], false),
            (&[("", "R")], false),
            (&[(stu3, "R")], false),
            (&[(v3, "R"), (latest, "N")], false),
            (&[(&versioned, "R")], false),
        ];
        for (labels, expected) in cases {
            assert_eq!(is_normal(labels), expected, "{labels:?}");
        }
    }
}
