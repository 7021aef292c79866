//! What belongs into the answer besides the matches (`_include`, `_revinclude`, R4 §3.1.1.5.4).
//!
//! Each is asked of scope and consent as a match is, and what may not be seen is left out without a word: a reference that
//! leads to it looks like one that leads nowhere.

use std::collections::HashSet;

use super::Sight;
use super::search::{Gathered, Hit, Walk};
use crate::exchange::kinds::{self, KindRule};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::search::{Include, Query, pointing};
use crate::fhir::tree::{Document, Element, json};
use crate::policy::access::{Grant, Interaction};
use crate::store::{self, Plan, Stored};

/// How far `:iterate` goes from a match.
const DEPTH: usize = 4;

/// Type and id.
type Name = (String, String);

impl Gateway {
    /// Adds to a page what is to be included with its matches.
    pub(super) async fn include(
        &self,
        caller: &Caller<'_>,
        query: &Query,
        gathered: &mut Gathered,
    ) -> Result<(), Refusal> {
        if query.includes.is_empty() {
            return Ok(());
        }
        let name = |stored: &Stored| (stored.kind.to_string(), stored.logical_id());
        let mut known: HashSet<Name> = gathered.hits.iter().map(|(stored, _)| name(stored)).collect();
        let mut edge: Vec<Stored> = gathered.hits.iter().map(|(stored, _)| stored.clone()).collect();
        for depth in 0..DEPTH {
            let asked: Vec<&Include> = query.includes.iter().filter(|include| depth == 0 || include.iterate).collect();
            if asked.is_empty() || edge.is_empty() {
                break;
            }
            let found = self.around(caller, &asked, &edge, &mut known, gathered).await?;
            gathered.included.extend(found.iter().cloned());
            edge = found.into_iter().map(|(stored, _)| stored).collect();
        }
        Ok(())
    }

    /// What some resources point to, and what points to them, as far as it is not known yet.
    async fn around(
        &self,
        caller: &Caller<'_>,
        asked: &[&Include],
        edge: &[Stored],
        known: &mut HashSet<Name>,
        gathered: &mut Gathered,
    ) -> Result<Vec<Hit>, Refusal> {
        let mut found = Vec::new();
        let documents: Vec<Document> =
            edge.iter().filter_map(|stored| json::parse(stored.payload.as_slice()).ok()).collect();
        for include in asked.iter().filter(|include| !include.reverse) {
            for document in &documents {
                for target in include.targets(Element::root(document), Some(&self.base)) {
                    if known.insert(target.clone()) {
                        self.include_one(caller, &target, gathered, &mut found).await?;
                    }
                }
            }
        }
        for include in asked.iter().filter(|include| include.reverse) {
            self.include_pointing(caller, include, edge, known, gathered, &mut found).await?;
        }
        Ok(found)
    }

    async fn include_one(
        &self,
        caller: &Caller<'_>,
        (kind, id): &Name,
        gathered: &mut Gathered,
        found: &mut Vec<Hit>,
    ) -> Result<(), Refusal> {
        let Some(rule) = includable(caller, kind) else { return Ok(()) };
        gathered.spend(caller, 1, self.config.search_budget)?;
        let read = match self.store.read(rule.name, id).await {
            Err(store::Error::Damaged) => {
                gathered.damaged += 1;
                None
            }
            read => read?,
        };
        let Some(stored) = read.filter(|stored| !stored.deleted) else { return Ok(()) };
        let seen = &mut gathered.consents;
        match self.visible(caller, rule, Interaction::Search, stored, self.now_ms(), seen).await? {
            Sight::Visible(visible) => found.push((visible.content.stored, visible.basis)),
            Sight::Withheld(withheld) => gathered.withhold(withheld, self.config.page_entries_max),
            Sight::Hidden => {}
        }
        self.bounded(found)
    }

    async fn include_pointing(
        &self,
        caller: &Caller<'_>,
        include: &Include,
        edge: &[Stored],
        known: &mut HashSet<Name>,
        gathered: &mut Gathered,
        found: &mut Vec<Hit>,
    ) -> Result<(), Refusal> {
        let Some(rule) = includable(caller, &include.source) else { return Ok(()) };
        for parameter in &include.parameters {
            let target = |stored: &&Stored| {
                let kind = &*stored.kind;
                include.target.as_deref().is_none_or(|target| target == kind)
                    && parameter.targets.iter().any(|target| target == kind)
            };
            let ends: Vec<&Stored> = edge.iter().filter(target).collect();
            if ends.is_empty() {
                continue;
            }
            let names = ends.iter().map(|stored| (stored.kind.to_string(), stored.logical_id()));
            let query = Query::of(rule.name, pointing(parameter, names), Some(self.base.clone()));
            let mut walk = Walk::of_any(self, rule, &query);
            walk.plan.spares_damaged = true;
            if !rule.writable {
                // What the gateway itself says of a person's data is with that person.
                narrow(&mut walk.plan, &ends);
            }
            while let Some(rows) = walk.round(self, caller, &query, gathered).await? {
                for stored in rows {
                    if known.contains(&(stored.kind.to_string(), stored.logical_id())) {
                        continue;
                    }
                    if let Sight::Visible(visible) = self.hit(caller, &walk, &query, stored, gathered).await? {
                        let stored = visible.content.stored;
                        known.insert((stored.kind.to_string(), stored.logical_id()));
                        found.push((stored, visible.basis));
                        self.bounded(found)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A page must stay one.
    fn bounded(&self, found: &[Hit]) -> Result<(), Refusal> {
        if found.len() <= self.config.page_entries_max {
            return Ok(());
        }
        let text = format!("More than {} resources would be included in a page.", self.config.page_entries_max);
        Err(Refusal::one(Id::SearchTooCostly, "", text))
    }
}

/// The type, if the caller may be shown resources of it.
fn includable(caller: &Caller<'_>, kind: &str) -> Option<&'static KindRule> {
    let may = |rule: &&KindRule| caller.principal.scopes.permits(rule.name, Interaction::Search) != Grant::None;
    kinds::kind(kind).filter(|rule| rule.name != "AuditEvent").filter(may)
}

fn narrow(plan: &mut Plan, ends: &[&Stored]) {
    let patients: Option<Vec<_>> = ends.iter().map(|stored| stored.patient).collect();
    if plan.patients.is_none() {
        plan.patients = patients;
    }
}
