//! Bulk export (Bulk Data Access 2.0): everything that a client may see of everybody, of persons or of a group's members, as
//! files that are made while the client does something else.
//!
//! Each resource is asked of scope and consent as a search asks (`pull`), once when it is put on the list and once more when
//! the list is read out: what a person has withdrawn, restricted or had erased in between is no longer told. What is on
//! the list is on record before it can be had. Nothing of what is exported is kept for the export (`store::export`).

mod asked;
mod download;
mod job;
mod veil;
mod work;

pub use asked::{Level, Pair, posted};
pub use download::Download;
pub use job::{Kickoff, Status};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::kinds::KindRule;
use super::{Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::policy::access::{Grant, Interaction, Principal};
use crate::store::ExportId;

/// How long until work is looked for that nobody of this process was told of.
const LOOK: Duration = Duration::from_secs(2);

/// How often a client may ask how far an export is: so many times at once, and again each second.
const ASKS: u32 = 10;

/// What exports need to know of each other.
#[derive(Default)]
pub struct Exports {
    begun: tokio::sync::Notify,
    /// When exports were asked for, and how many more times they may be at that moment.
    asks: Mutex<HashMap<ExportId, (i64, u32)>>,
    /// What the export that was worked on last is about, where that is only what was changed.
    changed: Mutex<Option<(ExportId, work::ChangedSince)>>,
}

impl Exports {
    /// Whether a client may ask now.
    fn may_ask(&self, id: ExportId, now_ms: i64) -> bool {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        let (at_ms, left) = asks.entry(id).or_insert((now_ms, ASKS));
        let again = now_ms.saturating_sub(*at_ms).div_euclid(1000).clamp(0, i64::from(ASKS));
        if again > 0 {
            (*at_ms, *left) = (now_ms, ASKS.min(*left + again as u32));
        }
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }

    fn forget(&self, id: ExportId) {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// The interaction by which a type is exported, if its scopes let a principal have it: what can be read has to be readable,
/// the rest can only be found.
fn interaction(principal: &Principal, rule: &KindRule) -> Option<Interaction> {
    let may = |interaction| principal.scopes.permits(rule.name, interaction) != Grant::None;
    match (may(Interaction::Search), rule.writable) {
        (true, true) => may(Interaction::Read).then_some(Interaction::Read),
        (true, false) => Some(Interaction::Search),
        (false, _) => None,
    }
}

fn absent() -> Refusal {
    Refusal::one(Id::NotFound, "", "There is no such export of this client.")
}

/// Works on exports, and forgets those whose time is over, until told to stop.
pub async fn run(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut name = [0; 16];
    (gateway.entropy)(&mut name);
    let worker = super::uploads::printed(name);
    while !*stop.borrow() {
        let worked = gateway.work_on_exports(&worker, &stop).await;
        if let Err(refusal) = &worked {
            let issue = refusal.ids().first().map(|id| id.code());
            tracing::warn!(issue, "an export could not be gone on with; it is tried again");
        }
        if let Err(error) = gateway.store.expire_exports(gateway.now_ms()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "exports could not be forgotten");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = gateway.exports.begun.notified() => {}
            _ = stop.changed() => {}
        }
    }
    if let Err(error) = gateway.store.give_back_exports(&worker).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "leases of exports end by themselves");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_often_waits_a_second() {
        let exports = Exports::default();
        let asked = |at_ms: i64, times: u32| (0..times).filter(|_| exports.may_ask([1; 16], at_ms)).count();
        assert_eq!(asked(0, 15), 10);
        assert_eq!(asked(999, 3), 0);
        assert_eq!(asked(2000, 3), 2);
        assert!(exports.may_ask([2; 16], 2000), "each export has its own");
        assert_eq!(asked(60_000, 15), 10);
        exports.forget([1; 16]);
        assert_eq!(asked(60_000, 15), 10);
    }
}
