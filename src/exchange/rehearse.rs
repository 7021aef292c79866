//! A changed routing table tried with what is stored: what would go where that does not now, and what would not any more.
//!
//! Nothing is sent and nothing is written. Counts and ids are told, and nothing of any person. Consents are not asked, so that
//! what is told is what the tables say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Gateway;
use super::facts::Facts;
use super::kinds;
use super::recipients::Known;
use super::trail::Author;
use crate::fhir::tree::{Element, json};
use crate::policy::routing::{Origin, Table};
use crate::store::{self, Plan, Stored};

/// Rows that are looked at in one go.
const PAGE: usize = 500;

/// What differs at one destination.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Difference {
    /// How many resources go there by the table that stands, and by the changed one.
    pub now: u64,
    pub then: u64,
    pub added: u64,
    pub removed: u64,
    /// Some of those that are added, and of those that are removed, by reference.
    pub examples: [Vec<String>; 2],
}

/// What a changed table would do.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rehearsal {
    pub looked_at: u64,
    pub destinations: BTreeMap<String, Difference>,
}

impl Gateway {
    /// Decides everything that is stored by both tables.
    pub async fn rehearse(&self, now: &Table, then: &Table, examples: usize) -> Result<Rehearsal, store::Error> {
        let mut rehearsal = Rehearsal::default();
        for name in now.destinations().iter().chain(then.destinations()) {
            rehearsal.destinations.entry(name.clone()).or_default();
        }
        for rule in kinds::KINDS.iter().filter(|rule| rule.deliverable) {
            let whole = Plan { limit: PAGE, scan_budget: PAGE * 4, ..Plan::of(rule.name) };
            let mut plan = Plan { spares_damaged: true, ..whole };
            loop {
                let page = self.store.search(plan.clone()).await?;
                for stored in &page.rows {
                    let [before, after] = [self.destined(now, stored).await?, self.destined(then, stored).await?];
                    rehearsal.note(stored, &before, &after, examples);
                }
                match page.next {
                    Some(next) => plan.after = Some(next),
                    None => break,
                }
            }
        }
        Ok(rehearsal)
    }

    /// Where a table sends something.
    async fn destined(&self, table: &Table, stored: &Stored) -> Result<Vec<String>, store::Error> {
        let Ok(document) = json::parse(stored.payload.as_slice()) else { return Ok(Vec::new()) };
        let origin: Origin = self.origin(table, &stored.owner, &Author::patient_of(stored)).await?;
        let facts = Facts::of(Arc::clone(&stored.kind), Element::root(&document));
        let known = Known { origin: Some(&origin), grounds: None };
        Ok(table.decide(&known.asked(&facts, &stored.owner)).into_iter().map(str::to_owned).collect())
    }
}

impl Rehearsal {
    fn note(&mut self, stored: &Stored, before: &[String], after: &[String], examples: usize) {
        self.looked_at += 1;
        for (name, difference) in &mut self.destinations {
            let (was, is) = (before.contains(name), after.contains(name));
            difference.now += u64::from(was);
            difference.then += u64::from(is);
            let (count, list) = match (was, is) {
                (false, true) => (&mut difference.added, &mut difference.examples[0]),
                (true, false) => (&mut difference.removed, &mut difference.examples[1]),
                _ => continue,
            };
            *count += 1;
            if list.len() < examples {
                list.push(format!("{}/{}", stored.kind, stored.logical_id()));
            }
        }
    }
}
