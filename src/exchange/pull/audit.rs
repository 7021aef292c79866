//! `GET [base]/AuditEvent?patient=…`: who did what with one person's data, for the client that the person uses.
//!
//! The trail is kept by persons and has one order, the latest first. Whatever else is asked of an event is matched once it is
//! read, within the budget of every search.

use std::sync::Arc;

use super::page::Continuation;
use super::search::{self, Entry, Found, Gathered};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::search::{Query, Sort, SortBy, Summary, Total};
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Element, json};
use crate::store::{AuditPlan, PatientKey};

const KIND: &str = "AuditEvent";

/// Events that one round asks of the store.
const ROUND: usize = 200;

/// Events that match.
#[derive(Default)]
struct Events {
    /// Place in the trail, id, and content.
    page: Vec<(u64, String, Vec<u8>)>,
    /// How many, also beyond the page.
    matched: usize,
    /// How many cannot be read.
    damaged: usize,
}

impl Gateway {
    pub(super) async fn search_audit(
        &self,
        caller: &Caller<'_>,
        pairs: &[(String, String)],
        lenient: bool,
        after: Option<u64>,
    ) -> Result<Found, Refusal> {
        let (id, query, mut warnings) = self.audit_query(pairs, lenient)?;
        let counting = query.summary == Summary::Count || query.count == Some(0);
        let limit = query.count.unwrap_or(self.config.page_entries).clamp(1, self.config.page_entries_max);
        let whole = counting || (after.is_none() && query.total == Total::Accurate);
        let key = self.patient_key(&id);
        let mut events = Events::default();
        if self.is_used_by(caller, &id).await? {
            let limit = if counting { 0 } else { limit };
            self.gather_events(caller, &query, key, after, (limit, whole), &mut events).await?;
        }
        let more = events.matched > events.page.len() && !counting;
        let next = events.page.last().filter(|_| more).map(|(seq, ..)| {
            let continuation = Continuation {
                kind: KIND.to_owned(),
                query: pairs.to_vec(),
                lenient,
                after_value: 0,
                after_seq: *seq,
                as_of_seq: u64::MAX,
                last: None,
            };
            continuation.sign(&self.page_secret, &caller.principal.client)
        });
        let author = Author::of(self, caller).with_query(KIND, pairs);
        let record = author.record(Act::Query, Some(&(id, key)), &[], None, &[]);
        self.store.record_audit(vec![record]).await?;
        let entry = |(_, id, payload)| Entry { kind: Arc::from(KIND), id, payload, included: false };
        let mut entries: Vec<Entry> = events.page.into_iter().map(entry).collect();
        self.cut(&query, &mut entries)?;
        warnings.extend(search::incomplete(events.damaged));
        let total = (whole || (after.is_none() && !more)).then_some(events.matched);
        Ok(Found { entries, total, next, query: pairs.to_vec(), warnings })
    }

    /// Whose trail is asked for, and what an event has to meet besides.
    fn audit_query(&self, pairs: &[(String, String)], lenient: bool) -> Result<(String, Query, Vec<Issue>), Refusal> {
        let (persons, others): (Vec<_>, Vec<_>) = pairs.iter().cloned().partition(|(name, _)| name == "patient");
        let mut persons = persons.iter().map(|(_, value)| self.local_reference(value, "Patient").unwrap_or(value));
        let Some(id) = persons.next() else {
            return Err(Refusal::one(Id::SearchTooCostly, "", "AuditEvent is searched for one patient at a time."));
        };
        if !is_id(id) || persons.any(|other| other != id) {
            return Err(Refusal::one(Id::SearchValue, "", "Parameter patient: one Patient/id."));
        }
        let (mut query, issues) = Query::parse(KIND, &others, &self.registry, lenient);
        query.base = Some(self.base.clone());
        if has_errors(&issues) {
            return Err(issues.into());
        }
        if !query.links.is_empty() || !query.includes.is_empty() {
            let text = "Audit events are searched by themselves, without chains, _has and includes.";
            return Err(Refusal::one(Id::SearchParameterUnknown, "", text));
        }
        let is_own_order = |sort: &Sort| sort.descending && matches!(sort.by, SortBy::Date | SortBy::LastUpdated);
        if !query.sort.iter().all(is_own_order) || query.sort.len() > 1 {
            return Err(Refusal::one(Id::SearchValue, "_sort", "Audit events stand in one order, which is -date."));
        }
        Ok((id.to_owned(), query, issues))
    }

    async fn gather_events(
        &self,
        caller: &Caller<'_>,
        query: &Query,
        patient: PatientKey,
        mut after: Option<u64>,
        (limit, whole): (usize, bool),
        events: &mut Events,
    ) -> Result<(), Refusal> {
        let mut gathered = Gathered::default();
        // Without conditions every event matches, and one more says whether there is another page.
        let first = if query.clauses.is_empty() && !whole { limit + 1 } else { ROUND };
        loop {
            let plan = AuditPlan {
                patient: Some(patient),
                client: None,
                reader: Some(caller.principal.client.to_string()),
                after_seq: after,
                limit: first,
                descending: true,
            };
            let rows = self.store.audit(plan).await?;
            gathered.spend(caller, rows.len(), self.config.search_budget)?;
            let is_last = rows.len() < first;
            after = rows.last().map(|(seq, _)| *seq);
            for (seq, payload) in rows {
                let Ok(document) = json::parse(payload.as_slice()) else {
                    if !payload.is_empty() {
                        tracing::error!(seq, "a record of the audit is damaged");
                    }
                    events.damaged += 1;
                    continue;
                };
                let root = Element::root(&document);
                let recorded = root.text_of("recorded").and_then(Moment::parse);
                if !query.matches(root, recorded.map_or(0, |moment| moment.interval_assuming_utc_ms().0)) {
                    continue;
                }
                events.matched += 1;
                if events.page.len() < limit {
                    let id = root.text_of("id").unwrap_or_default().to_owned();
                    events.page.push((seq, id, payload));
                } else if !whole {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
