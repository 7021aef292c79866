//! How much waits for each destination, and what that means for whoever sends more.
//!
//! What was accepted is kept and sent, however long a destination is away; so what is too much is not accepted. Where a bound
//! is configured, whoever follows the feed looks now and then how much waits, and whoever takes something in that would go
//! there asks here. As long as there is room everywhere, asking costs a look at one flag.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json};
use crate::store::Write;

/// When a sender may come back.
const RETRY_AFTER_SECONDS: u32 = 60;

/// How full the room of a destination is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fill {
    Free,
    /// More than four fifths.
    Filling,
    /// Nothing more is taken in for it.
    Full,
}

impl Fill {
    /// What so many mean, after what was before: what was full is not, when a tenth is free again.
    pub(super) fn of(waiting: u64, most: u64, before: Fill) -> Fill {
        let still_full = before == Fill::Full && waiting > most - most / 10;
        match () {
            () if waiting >= most || still_full => Fill::Full,
            () if waiting > most - most / 5 => Fill::Filling,
            () => Fill::Free,
        }
    }
}

/// The rooms of all destinations that have a bound.
#[derive(Default)]
pub struct Rooms {
    any_full: AtomicBool,
    fill: Mutex<BTreeMap<Arc<str>, Fill>>,
}

impl Rooms {
    /// Notes how full it is; how full it was.
    pub(super) fn note(&self, destination: &Arc<str>, fill: Fill) -> Fill {
        let mut all = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.insert(destination.clone(), fill).unwrap_or(Fill::Free);
        self.any_full.store(all.values().any(|fill| *fill == Fill::Full), Ordering::Release);
        before
    }

    pub(super) fn fill(&self, destination: &str) -> Fill {
        let all = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(destination).copied().unwrap_or(Fill::Free)
    }

    /// How many are filling, and how many are full.
    pub fn counts(&self) -> (usize, usize) {
        let all = self.fill.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |wanted| all.values().filter(|fill| **fill == wanted).count();
        (count(Fill::Filling), count(Fill::Full))
    }
}

impl Gateway {
    /// The refusal of something that would go to a destination for which enough waits.
    pub(super) fn no_room_for(&self, write: &Write) -> Option<Refusal> {
        if !write.deliver || write.consent || !self.rooms.any_full.load(Ordering::Acquire) {
            return None;
        }
        let document = json::parse(write.payload.as_slice()).ok()?;
        let root = Element::root(&document);
        let goes_there = |name: &str| self.recipients.routes(&write.kind, root, &write.owner, name);
        let all = &self.recipients.all;
        all.iter().find(|one| self.rooms.fill(&one.name) == Fill::Full && goes_there(&one.name))?;
        let text = "A destination that this is for has been away for so long that no more can wait for it.";
        let refusal = Refusal::one(Id::DestinationFull, "", text);
        Some(Refusal { retry_after_seconds: Some(RETRY_AFTER_SECONDS), ..refusal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_before_it_is_full_and_stays_full_until_there_is_room() {
        let mut fill = Fill::Free;
        for (waiting, expected) in [
            (0, Fill::Free),
            (80, Fill::Free),
            (81, Fill::Filling),
            (100, Fill::Full),
            (95, Fill::Full),
            (90, Fill::Filling),
            (99, Fill::Filling),
            (250, Fill::Full),
            (10, Fill::Free),
        ] {
            fill = Fill::of(waiting, 100, fill);
            assert_eq!(fill, expected, "{waiting}");
        }
    }

    #[test]
    fn one_that_is_full_is_enough_to_be_asked_about() {
        let rooms = Rooms::default();
        let (north, south): (Arc<str>, Arc<str>) = ("north".into(), "south".into());
        assert_eq!(rooms.note(&north, Fill::Full), Fill::Free);
        assert_eq!(rooms.note(&south, Fill::Filling), Fill::Free);
        assert_eq!((rooms.counts(), rooms.any_full.load(Ordering::Acquire)), ((1, 1), true));
        assert_eq!(rooms.note(&north, Fill::Free), Fill::Full);
        assert!(!rooms.any_full.load(Ordering::Acquire));
    }
}
