//! Purposes of use and their hierarchy (v3-ActReason 3.1.0, PurposeOfUse and below).
//!
//! A permit covers the code it names and what lies below; a request for more than was granted is not covered.
//! A deny covers what lies below too, and also a request so broad that it includes what was denied. Breaking the
//! glass (`BTG`) is an act of its own that happens to stand under `TREAT`: no permit includes it unless it names
//! it. Codes of other systems compare by equality only, and everything else about them is unknown.

use std::fmt;

use super::coding::{self, Coding};
use super::matching::{Effect, Match};
use crate::fhir::tree::Element;

pub(super) const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

const BREAK_GLASS: &str = "BTG";

/// Code and depth, parents before children: what lies below a code is the run of deeper ones behind it.
#[rustfmt::skip]
const CODES: [(&str, u8); 63] = [
    ("PurposeOfUse", 0),
    ("HMARKT", 1),
    ("HOPERAT", 1),
        ("CAREMGT", 2), ("DONAT", 2), ("FRAUD", 2), ("GOV", 2), ("HACCRED", 2), ("HCOMPL", 2), ("HDECD", 2),
        ("HDIRECT", 2), ("HDM", 2), ("HLEGAL", 2), ("HOUTCOMS", 2), ("HPRGRP", 2), ("HQUALIMP", 2),
        ("HSYSADMIN", 2), ("LABELING", 3), ("METAMGT", 3),
        ("MEMADMIN", 2), ("MILCDM", 2), ("MLTRAINING", 2), ("PATADMIN", 2), ("PATSFTY", 2), ("PERFMSR", 2),
        ("RECORDMGT", 2), ("SYSDEV", 2), ("HTEST", 3), ("TRAIN", 2),
    ("HPAYMT", 1),
        ("CLMATTCH", 2), ("COVAUTH", 2),
        ("COVERAGE", 2), ("ELIGDTRM", 3), ("ELIGVER", 3), ("ENROLLM", 3), ("MILDCRG", 3),
        ("PMTDS", 2), ("REMITADV", 2),
    ("HRESCH", 1),
        ("BIORCH", 2),
        ("CLINTRCH", 2), ("CLINTRCHNPC", 3), ("CLINTRCHPC", 3), ("PRECLINTRCH", 3),
        ("DSRCH", 2), ("POARCH", 2), ("TRANSRCH", 2),
    ("PATRQT", 1), ("FAMRQT", 2), ("PWATRNY", 2), ("SUPNWK", 2),
    ("PUBHLTH", 1), ("DISASTER", 2), ("THREAT", 2),
    ("TREAT", 1),
        ("CLINTRL", 2), ("COC", 2),
        ("ETREAT", 2), ("BTG", 3), ("ERTREAT", 3),
        ("POPHLTH", 2), ("TREATDS", 2),
];

/// Whether a code is a purpose of use whose place in the hierarchy is known.
pub fn is_purpose(code: &str) -> bool {
    index(code).is_some()
}

fn index(code: &str) -> Option<usize> {
    CODES.iter().position(|(known, _)| *known == code)
}

/// The code and what lies below it, as bits.
fn below(index: usize) -> u64 {
    let deeper = CODES[index + 1..].iter().take_while(|(_, depth)| *depth > CODES[index].1).count();
    (index..=index + deeper).fold(0, |bits, index| bits | 1 << index)
}

/// What lies above a code, as bits.
fn above(index: usize) -> u64 {
    (0..index).filter(|other| below(*other) & (1 << index) != 0).fold(0, |bits, other| bits | 1 << other)
}

/// The purpose of a request, looked up once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked<'a> {
    Nothing,
    Known(u64),
    Foreign(&'a str),
}

impl<'a> Asked<'a> {
    /// A bare code is one of v3-ActReason; others are written `system|code`.
    pub fn new(purpose: &'a str) -> Self {
        let code = match purpose.rsplit_once('|') {
            Some((SYSTEM, code)) => code,
            Some(_) => return Asked::Foreign(purpose),
            None => purpose,
        };
        match index(code) {
            _ if code.is_empty() => Asked::Nothing,
            Some(index) => Asked::Known(1 << index),
            None => Asked::Foreign(code),
        }
    }

    pub fn breaks_the_glass(self) -> bool {
        covers(BREAK_GLASS, self)
    }
}

/// Whether a purpose is that one or lies below it. Breaking the glass lies below nothing but itself.
pub(super) fn covers(code: &str, asked: Asked<'_>) -> bool {
    let break_glass = index(BREAK_GLASS).map_or(0, |index| 1 << index);
    let Some(named) = index(code) else { return false };
    let covered = if code == BREAK_GLASS { below(named) } else { below(named) & !break_glass };
    matches!(asked, Asked::Known(bit) if covered & bit != 0)
}

/// How much lies below a code; what is no code lies above everything.
pub(super) fn breadth(code: &str) -> u32 {
    index(code).map_or(u32::MAX, |index| below(index).count_ones())
}

/// The purposes of a rule, as alternatives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Purposes {
    named: u64,
    permitted: u64,
    denied: u64,
    /// Broader than a named one, without being named.
    broader: u64,
    foreign: Vec<Box<str>>,
    unclear: bool,
}

impl Purposes {
    /// Takes one `purpose` in; false where its place in the hierarchy is not known.
    pub fn add(&mut self, element: Element<'_>) -> bool {
        let Some(purpose) = Coding::read(element) else {
            self.unclear = true;
            return false;
        };
        if *purpose.system != *SYSTEM {
            self.foreign.push(purpose.to_string().into());
            return false;
        }
        let is_known = self.name(&purpose.code);
        if !is_known {
            self.foreign.push(purpose.code);
        }
        is_known
    }

    /// That purpose of v3-ActReason.
    pub fn of(code: &str) -> Purposes {
        let mut purposes = Purposes::default();
        purposes.unclear = !purposes.name(code);
        purposes
    }

    fn name(&mut self, code: &str) -> bool {
        let Some(index) = index(code) else { return false };
        let break_glass = self::index(BREAK_GLASS).map_or(0, |index| 1 << index);
        self.named |= 1 << index;
        self.denied |= below(index);
        self.permitted |= below(index) & !break_glass | 1 << index;
        if code != BREAK_GLASS {
            self.broader |= above(index);
        }
        true
    }

    pub fn matches(&self, effect: Effect, asked: Asked<'_>) -> Match {
        match asked {
            _ if *self == Purposes::default() => Match::No,
            Asked::Nothing => Match::Unknown,
            Asked::Foreign(purpose) if self.foreign.iter().any(|named| **named == *purpose) => Match::Yes,
            Asked::Foreign(_) => Match::Unknown,
            Asked::Known(bit) => {
                let covered = if effect == Effect::Permit { self.permitted } else { self.denied };
                if covered & bit != 0 {
                    Match::Yes
                } else if self.broader & bit != 0 || !self.foreign.is_empty() || self.unclear {
                    Match::Unknown
                } else {
                    Match::No
                }
            }
        }
    }
}

impl fmt::Display for Purposes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = CODES.iter().enumerate().filter(|(index, _)| self.named & (1 << index) != 0);
        let all = named.map(|(_, (code, _))| *code).chain(self.foreign.iter().map(|code| &**code));
        coding::list(formatter, all, self.unclear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    fn check(named: &[&str], asked: &str, permit: Match, deny: Match) {
        let mut purposes = Purposes::default();
        for code in named {
            let (system, code) = code.rsplit_once('|').unwrap_or((SYSTEM, code));
            let document = json::parse(format!(r#"{{"system":"{system}","code":"{code}"}}"#)).unwrap();
            purposes.add(Element::root(&document));
        }
        let asked_as = Asked::new(asked);
        let found = (purposes.matches(Effect::Permit, asked_as), purposes.matches(Effect::Deny, asked_as));
        assert_eq!(found, (permit, deny), "{named:?} asked {asked}");
    }

    #[test]
    fn covers_what_lies_below() {
        use Match::{No, Unknown, Yes};
        check(&["HRESCH"], "HRESCH", Yes, Yes);
        check(&["HRESCH"], "PRECLINTRCH", Yes, Yes);
        check(&["CLINTRCH"], "HRESCH", Unknown, Unknown);
        check(&["CLINTRCH"], "TREAT", No, No);
        check(&["TREAT", "HPAYMT"], "ELIGVER", Yes, Yes);
        check(&["TREAT"], "", Unknown, Unknown);
    }

    #[test]
    fn glass_is_broken_only_where_named() {
        use Match::{No, Yes};
        check(&["TREAT"], "ERTREAT", Yes, Yes);
        for broad in ["TREAT", "ETREAT", "PurposeOfUse"] {
            check(&[broad], "BTG", No, Yes);
        }
        check(&["BTG"], "BTG", Yes, Yes);
        check(&["BTG"], "TREAT", No, No);
    }

    #[test]
    fn other_systems_compare_by_equality() {
        use Match::{Unknown, Yes};
        check(&["http://example.org/p|FooBar"], "http://example.org/p|FooBar", Yes, Yes);
        check(&["http://example.org/p|FooBar"], "TREAT", Unknown, Unknown);
        check(&["TREAT"], "http://example.org/p|FooBar", Unknown, Unknown);
        check(&["TREAT"], "http://terminology.hl7.org/CodeSystem/v3-ActReason|COC", Yes, Yes);
    }
}
