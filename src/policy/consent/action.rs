//! What a request does with the data, and the actions that a rule names (R4 CodeSystem consentaction).

use std::fmt;

use super::coding::{self, Coding};
use super::matching::Match;
use crate::fhir::tree::Element;

pub(super) const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/consentaction";

/// What is about to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// We take and keep it: ingest.
    Collect,
    /// We send it to somebody: delivery.
    Disclose,
    /// Somebody reads it here: pull.
    Access,
}

impl Action {
    pub fn code(self) -> &'static str {
        CODES[self as usize]
    }
}

/// R4's codes; the first three in the order of [`Action`].
const CODES: [&str; 5] = ["collect", "disclose", "access", "use", "correct"];

/// The actions of a rule, as alternatives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Actions {
    named: u8,
    unclear: bool,
}

impl Actions {
    /// Takes one `action` in; false where it cannot be read completely.
    pub fn add(&mut self, element: Element<'_>) -> bool {
        let (codings, mut unclear) = Coding::read_concept(element);
        for coding in codings {
            match CODES.iter().position(|code| coding.is(SYSTEM, code)) {
                Some(index) => self.named |= 1 << index,
                None => unclear = true,
            }
        }
        self.unclear |= unclear;
        !unclear
    }

    pub fn matches(&self, action: Action) -> Match {
        if self.named & (1 << action as u8) != 0 {
            Match::Yes
        } else if self.unclear {
            Match::Unknown
        } else {
            Match::No
        }
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = CODES.iter().enumerate().filter(|(index, _)| self.named & (1 << index) != 0);
        coding::list(formatter, named.map(|(_, code)| code), self.unclear)
    }
}
