//! A search in an order that no index has: everything that matches is looked at, and as much is kept as a page holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Sight;
use super::search::{Gathered, Hit, Walk};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::search::{Query, Rank, Sort};

/// The last hit of a page, as a link carries it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Last {
    rank: Vec<Option<String>>,
    seq: u64,
}

impl Last {
    fn place(&self, sort: &[Sort]) -> Option<(Rank, u64)> {
        Rank::read(&self.rank, sort).map(|rank| (rank, self.seq))
    }
}

impl Gateway {
    /// Fills a page with the first hits behind a place; answers where it ends, if there is more behind it.
    pub(super) async fn gather_sorted(
        &self,
        caller: &Caller<'_>,
        query: &Query,
        walk: &mut Walk,
        (limit, after): (usize, Option<&Last>),
        gathered: &mut Gathered,
    ) -> Result<Option<Last>, Refusal> {
        let after = after.and_then(|last| last.place(&query.sort));
        let mut kept: BTreeMap<(Rank, u64), Hit> = BTreeMap::new();
        let mut more = false;
        while let Some(rows) = walk.round(self, caller, query, gathered).await? {
            for stored in rows {
                let Sight::Visible(found) = self.hit(caller, walk, query, stored, gathered).await? else { continue };
                gathered.matched += 1;
                let Some(root) = found.content.root() else { continue };
                let stored = &found.content.stored;
                let place = (query.rank(root, stored.updated_ms), stored.seq);
                if after.as_ref().is_some_and(|after| place <= *after) {
                    continue;
                }
                kept.insert(place, (found.content.stored, found.basis));
                if kept.len() > limit {
                    kept.pop_last();
                    more = true;
                }
            }
        }
        let last = kept.last_key_value().filter(|_| more);
        let last = last.map(|((rank, seq), _)| Last { rank: rank.texts(), seq: *seq });
        gathered.hits.extend(kept.into_values());
        Ok(last)
    }
}
