//! What goes before its turn: where much waits, what the operator wants first is looked for farther ahead and sent before the
//! rest.
//!
//! It is taken out of the feed into the lane of its person, before whatever stands there, and from then on it is like anything
//! that is tried again: in order among its like, and everything later of the person waits behind it. Only what is new goes
//! ahead, a correction never, so that of one resource no version overtakes another.

use super::Worker;
use super::feed::failure;
use super::recall::is_review;
use crate::exchange::recipients::{self, Known};
use crate::fhir::tree::{Element, json};
use crate::store::{self, Failure, FeedItem, Fenced, Lease, Stored};

/// Why something waits that is to be sent next.
const FIRST: &str = "goes before its turn";

/// Rows that are looked at together.
const PAGE: usize = 256;

/// How long is looked ahead at a time.
const LOOK_MS: i64 = 500;

/// How long what goes first may be held up by a batch of what does not.
pub(super) const TURN_MS: i64 = 1_000;

/// What is to be sent next of its person.
pub(super) fn ahead(pos: u64, stored: &Stored) -> Failure {
    Failure { first: true, ..failure(pos, stored, 0, i64::MIN, FIRST, false) }
}

impl Worker {
    /// Whether anything goes before its turn here.
    pub(super) fn has_first(&self) -> bool {
        !self.first.destinations().is_empty()
    }

    /// Looks through what waits behind a position of the slot; answers how much was taken ahead.
    pub(super) async fn look_ahead(&self, lease: &Lease, after: u64) -> Result<usize, store::Error> {
        let store = &self.gateway.store;
        let until_ms = self.gateway.now_ms() + LOOK_MS;
        let mut found = 0;
        loop {
            let rows = store.look_ahead(lease, after, PAGE).await?;
            let Some(to) = rows.last().map(|row| row.pos) else { return Ok(found) };
            let is_last = rows.len() < PAGE;
            let mut taken = Vec::new();
            for row in rows.into_iter().filter(|row| self.goes_first(row)) {
                let wanted = match self.wanted(row.items).await {
                    // It keeps its place.
                    Err(store::Error::Damaged) => continue,
                    wanted => wanted?,
                };
                taken.extend(wanted.iter().map(|one| ahead(row.pos, one)));
            }
            let count = taken.len();
            match store.take_ahead(lease, to, taken).await? {
                Fenced::Held => found += count,
                Fenced::Lost => return Ok(found),
            }
            if is_last || self.is_stopping() || self.gateway.now_ms() > until_ms {
                return Ok(found);
            }
        }
    }

    /// Whether a row has something that goes first, and nothing that must keep its place.
    pub(super) fn goes_first(&self, row: &FeedItem) -> bool {
        let is_new = |stored: &Stored| stored.version == 1 && !stored.deleted && !is_review(stored);
        self.has_first()
            && row.patient.is_some()
            && row.damaged.is_empty()
            && row.items.iter().all(is_new)
            && row.items.iter().any(|stored| self.is_first(stored))
    }

    fn is_first(&self, stored: &Stored) -> bool {
        json::parse(stored.payload.as_slice()).is_ok_and(|document| {
            let root = Element::root(&document);
            recipients::routes(&self.first, &stored.kind, root, &stored.owner, &self.name, Known::default())
        })
    }
}
