//! Many resources by what they say (R4 §3.1.1): the index narrows, the query decides, the consent has the last word.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::Continuation;
use super::{ConsentsSeen, Sight, Withheld};
use crate::exchange::facts;
use crate::exchange::kinds::KindRule;
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, is_id, kinds};
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::search::{Query, SortBy, Summary, Total};
use crate::fhir::tree::{Document, Element};
use crate::policy::access::Interaction;
use crate::policy::consent::{Basis, Denial};
use crate::store::{AuditPlan, AuditRecord, CodeKey, Key, Order, OrderBy, PatientKey, Plan, Stored, TokenKey};

/// One page of what was found.
#[derive(Debug)]
pub struct Found {
    pub entries: Vec<Entry>,
    /// Number of permitted matches, where it is known without telling of others.
    pub total: Option<usize>,
    /// Token of the next page.
    pub next: Option<String>,
    /// The parameters that were understood, for the self link.
    pub query: Vec<(String, String)>,
    pub warnings: Vec<Issue>,
}

/// One hit.
#[derive(Debug)]
pub struct Entry {
    pub kind: Arc<str>,
    pub id: String,
    pub payload: Vec<u8>,
}

/// Persons whose data matched and was withheld. As many as a page could have hits: a search must not fill the audit.
#[derive(Default)]
struct Silences {
    persons: BTreeMap<PatientKey, (String, Denial)>,
}

impl Silences {
    fn takes(&self, person: PatientKey, most: usize) -> bool {
        self.persons.len() < most && !self.persons.contains_key(&person)
    }
}

/// What a search has come upon so far.
#[derive(Default)]
pub(in crate::exchange) struct Gathered {
    pub hits: Vec<(Stored, Option<Basis>)>,
    /// How many may be seen, also beyond what was asked for.
    pub matched: usize,
    silences: Silences,
    consents: ConsentsSeen,
}

impl Gathered {
    /// Takes note of a person whose data was asked for and withheld.
    pub(super) fn withhold(&mut self, withheld: Withheld, most: usize) {
        let (id, key) = withheld.patient;
        if self.silences.takes(key, most) {
            self.silences.persons.insert(key, (id, withheld.denial));
        }
    }

    /// What those persons hear.
    pub(super) fn silenced(&self, author: &Author, issue: Id) -> Vec<AuditRecord> {
        let persons = self.silences.persons.iter();
        persons.map(|(key, (id, denial))| author.withheld(&(id.clone(), *key), denial.basis.as_ref(), issue)).collect()
    }

    pub fn entries(self) -> Vec<Entry> {
        let entry =
            |stored: Stored| Entry { kind: stored.kind.clone(), id: stored.logical_id(), payload: stored.payload };
        self.hits.into_iter().map(|(stored, _)| entry(stored)).collect()
    }
}

/// How much is asked of a search.
#[derive(Clone, Copy)]
pub(in crate::exchange) struct Wish {
    /// Hits that it may have when it is through.
    pub limit: usize,
    /// Whether everything is looked at, to count it.
    pub whole: bool,
}

/// Most rows that one round asks of the store.
const ROUND: usize = 500;

impl Gateway {
    /// `GET [base]/[type]?…` or `POST [base]/[type]/_search`.
    pub async fn search(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        pairs: &[(String, String)],
        lenient: bool,
    ) -> Result<Found, Refusal> {
        let rule = self.searchable(caller, kind).await?;
        if rule.name == "AuditEvent" {
            return self.search_audit(caller, pairs, None).await;
        }
        self.search_from(caller, rule, pairs, lenient, None).await
    }

    /// The page that a `next` link names.
    pub async fn search_page(&self, caller: &Caller<'_>, kind: &str, token: &str) -> Result<Found, Refusal> {
        let continuation = Continuation::verify(token, &self.page_secret, &caller.principal.client)
            .filter(|continuation| continuation.kind == kind)
            .ok_or_else(|| Refusal::one(Id::PageUnknown, "", "The paging link is not one of this client's."))?;
        let rule = self.searchable(caller, kind).await?;
        if rule.name == "AuditEvent" {
            return self.search_audit(caller, &continuation.query, Some(continuation.after_seq)).await;
        }
        let pairs = continuation.query.clone();
        self.search_from(caller, rule, &pairs, continuation.lenient, Some(continuation)).await
    }

    pub(super) async fn searchable(&self, caller: &Caller<'_>, kind: &str) -> Result<&'static KindRule, Refusal> {
        let rule = kinds::kind(kind)
            .ok_or_else(|| Refusal::one(Id::InteractionUnsupported, "", "Resources of this type are not held here."))?;
        match caller.principal.permits(rule.name, Interaction::Search) {
            Ok(_) => Ok(rule),
            Err(denied) => Err(self.refused(caller, denied.issue().into()).await),
        }
    }

    async fn search_from(
        &self,
        caller: &Caller<'_>,
        rule: &'static KindRule,
        pairs: &[(String, String)],
        lenient: bool,
        from: Option<Continuation>,
    ) -> Result<Found, Refusal> {
        let (mut query, issues) = Query::parse(rule.name, pairs, &self.registry, lenient);
        query.base = Some(self.base.clone());
        if has_errors(&issues) {
            return Err(issues.into());
        }
        let counting = query.summary == Summary::Count || query.count == Some(0);
        let limit = query.count.unwrap_or(self.config.page_entries).clamp(1, self.config.page_entries_max);
        let mut walk = Walk::new(self, rule, &query, order(&query)?, from.as_ref());
        let first = from.is_none();
        let whole = counting || (first && query.total == Total::Accurate);
        let mut gathered = Gathered::default();
        let wish = Wish { limit: if counting { 0 } else { limit }, whole };
        let next = self.gather_hits(caller, rule, &query, &mut walk, wish, &mut gathered).await?;
        let Gathered { hits, matched, .. } = &gathered;
        let more = *matched > hits.len() && !counting;
        let total = (whole || (first && !more)).then_some(*matched);
        self.record_query(caller, rule.name, pairs, &gathered).await?;
        let token = next.filter(|_| more).map(|key| {
            let continuation = Continuation {
                kind: rule.name.to_owned(),
                query: query.echo(),
                lenient,
                after_value: key.0,
                after_seq: key.1,
                as_of_seq: walk.as_of_seq.unwrap_or(u64::MAX),
            };
            continuation.sign(&self.page_secret, &caller.principal.client)
        });
        Ok(Found { entries: gathered.entries(), total, next: token, query: query.echo(), warnings: issues })
    }

    /// Goes on with a walk until a page is full; answers the key of the hit that filled it. What does not fit on it any
    /// more counts as matched.
    pub(in crate::exchange) async fn gather_hits(
        &self,
        caller: &Caller<'_>,
        rule: &'static KindRule,
        query: &Query,
        walk: &mut Walk,
        wish: Wish,
        gathered: &mut Gathered,
    ) -> Result<Option<Key>, Refusal> {
        let mut next = None;
        if !wish.whole {
            // Mostly every row is a hit; one more says whether there is another page.
            let room = wish.limit.saturating_sub(gathered.hits.len());
            walk.plan.limit = ROUND.min(room + 1);
        }
        while let Some(rows) = walk.round(self).await? {
            for stored in rows {
                let key = walk.key_of(&stored);
                let Some(hit) = self.hit(caller, rule, query, stored, gathered).await? else { continue };
                gathered.matched += 1;
                if gathered.hits.len() < wish.limit {
                    gathered.hits.push(hit);
                    next = Some(key);
                } else if !wish.whole {
                    // One hit more than the page holds: there is a next page, and that is all we need to know.
                    return Ok(next);
                }
            }
        }
        Ok(next)
    }

    async fn hit(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        query: &Query,
        stored: Stored,
        gathered: &mut Gathered,
    ) -> Result<Option<(Stored, Option<Basis>)>, Refusal> {
        let Gathered { consents, silences, .. } = gathered;
        let updated_ms = stored.updated_ms;
        let matches = |document: &Document| query.matches(Element::root(document), updated_ms);
        Ok(match self.visible(caller, rule, Interaction::Search, stored, self.now_ms(), consents).await? {
            Sight::Visible(visible) => matches(&visible.document).then_some((visible.stored, visible.basis)),
            Sight::Withheld(withheld) => {
                let (id, key) = withheld.patient;
                if silences.takes(key, self.config.page_entries_max) && matches(&withheld.document) {
                    silences.persons.insert(key, (id, withheld.denial));
                }
                None
            }
            Sight::Hidden => None,
        })
    }

    /// One audit event a person whose data leaves, or one that says that nothing did; and one a person whose data was
    /// asked for and withheld.
    pub(in crate::exchange) async fn record_query(
        &self,
        caller: &Caller<'_>,
        asked: &str,
        pairs: &[(String, String)],
        gathered: &Gathered,
    ) -> Result<(), Refusal> {
        type Seen = (String, Vec<String>, Option<Basis>);
        let Gathered { hits, silences, .. } = gathered;
        let author = Author::of(self, caller).with_query(asked, pairs);
        let mut persons: BTreeMap<Option<PatientKey>, Seen> = BTreeMap::new();
        for (stored, basis) in hits {
            let person = persons
                .entry(stored.patient)
                .or_insert_with(|| (Author::patient_of(stored), Vec::new(), basis.clone()));
            person.1.push(format!("{}/{}/_history/{}", stored.kind, stored.logical_id(), stored.version));
        }
        let mut records: Vec<_> = persons
            .into_iter()
            .map(|(key, (id, references, basis))| {
                let patient = key.map(|key| (id, key));
                author.record(Act::Query, patient.as_ref(), &references, basis.as_ref(), &[])
            })
            .collect();
        if records.is_empty() {
            records.push(author.record(Act::Query, None, &[], None, &[]));
        }
        for (key, (id, denial)) in &silences.persons {
            records.push(author.withheld(&(id.clone(), *key), denial.basis.as_ref(), denial.issue().id));
        }
        Ok(self.store.record_audit(records).await?)
    }

    /// `GET [base]/AuditEvent?patient=…`: who did what with one person's data, for the client that the person uses.
    async fn search_audit(
        &self,
        caller: &Caller<'_>,
        pairs: &[(String, String)],
        after: Option<u64>,
    ) -> Result<Found, Refusal> {
        let mut patient = None;
        let mut limit = self.config.page_entries;
        for (name, value) in pairs {
            match name.as_str() {
                "patient" => {
                    let id = self.local_reference(value, "Patient").unwrap_or(value);
                    if !is_id(id) || patient.as_ref().is_some_and(|known| known != id) {
                        return Err(Refusal::one(Id::SearchValue, "", "Parameter patient: one Patient/id."));
                    }
                    patient = Some(id.to_owned());
                }
                "_count" => {
                    let bad = || Refusal::one(Id::SearchValue, "_count", "_count is a number from 1.");
                    limit = value.parse().ok().filter(|count| *count > 0).ok_or_else(bad)?;
                }
                "_format" | "_pretty" => {}
                _ => {
                    return Err(Refusal::one(
                        Id::SearchParameterUnknown,
                        "",
                        "AuditEvent is searched by patient and _count.",
                    ));
                }
            }
        }
        let Some(id) = patient else {
            return Err(Refusal::one(Id::SearchTooCostly, "", "AuditEvent is searched for one patient at a time."));
        };
        let limit = limit.min(self.config.page_entries_max);
        let key = self.patient_key(&id);
        let mut found =
            Found { entries: Vec::new(), total: None, next: None, query: pairs.to_vec(), warnings: Vec::new() };
        if self.is_used_by(caller, &id).await? {
            let plan = AuditPlan {
                patient: Some(key),
                client: None,
                reader: Some(caller.principal.client.to_string()),
                after_seq: after,
                limit,
                descending: true,
            };
            let rows = self.store.audit(plan).await?;
            if let Some((seq, _)) = rows.last().filter(|_| rows.len() == limit) {
                let continuation = Continuation {
                    kind: "AuditEvent".to_owned(),
                    query: pairs.to_vec(),
                    lenient: false,
                    after_value: 0,
                    after_seq: *seq,
                    as_of_seq: u64::MAX,
                };
                found.next = Some(continuation.sign(&self.page_secret, &caller.principal.client));
            }
            found.entries = rows
                .into_iter()
                .map(|(_, payload)| Entry { kind: Arc::from("AuditEvent"), id: id_of(&payload), payload })
                .collect();
        }
        let author = Author::of(self, caller).with_query("AuditEvent", pairs);
        let record = author.record(Act::Query, Some(&(id, key)), &[], None, &[]);
        self.store.record_audit(vec![record]).await?;
        Ok(found)
    }
}

/// The index has one order at a time.
fn order(query: &Query) -> Result<Order, Refusal> {
    let unsupported = || Refusal::one(Id::SearchValue, "_sort", "Results are sorted by one of date and _lastUpdated.");
    let Some(sort) = query.sort.first() else { return Ok(Order { by: OrderBy::Seq, descending: false }) };
    let by = match sort.by {
        SortBy::Date => OrderBy::Date,
        SortBy::LastUpdated => OrderBy::Updated,
        SortBy::Id => return Err(unsupported()),
    };
    if query.sort.len() > 1 {
        return Err(unsupported());
    }
    Ok(Order { by, descending: sort.descending })
}

fn id_of(payload: &[u8]) -> String {
    let parsed = crate::fhir::tree::json::parse(payload).ok();
    parsed.and_then(|document| Element::root(&document).text_of("id").map(str::to_owned)).unwrap_or_default()
}

/// The walk over the store's pages, within a budget.
pub(in crate::exchange) struct Walk {
    pub plan: Plan,
    pub as_of_seq: Option<u64>,
    budget: usize,
    done: bool,
}

impl Walk {
    /// Everything that belongs to a person and may match, in the order of its dates.
    pub fn of_person(
        gateway: &Gateway,
        rule: &KindRule,
        query: &Query,
        person: PatientKey,
        after: Option<Key>,
        as_of_seq: Option<u64>,
    ) -> Self {
        let order = Order { by: OrderBy::Date, descending: false };
        let mut walk = Walk::new(gateway, rule, query, order, None);
        walk.plan.patients = Some(vec![person]);
        walk.plan.after = after;
        walk.plan.as_of_seq = as_of_seq;
        walk.as_of_seq = as_of_seq;
        walk
    }

    /// What is the caller's own and may match.
    pub(super) fn of_own(gateway: &Gateway, rule: &KindRule, query: &Query, caller: &Caller<'_>) -> Self {
        let order = Order { by: OrderBy::Seq, descending: false };
        let mut walk = Walk::new(gateway, rule, query, order, None);
        walk.plan.owner = Some(caller.principal.client.clone());
        walk
    }

    fn new(gateway: &Gateway, rule: &KindRule, query: &Query, order: Order, from: Option<&Continuation>) -> Self {
        let hints = query.hints();
        let as_of_seq = from.map(|from| from.as_of_seq);
        let identifier = hints.identifier.filter(|_| rule.name != "Observation");
        Walk {
            plan: Plan {
                patients: hints.patients.map(|ids| ids.iter().map(|id| gateway.patient_key(id)).collect()),
                ids: hints.ids,
                codes: hints
                    .codes
                    .map(|codes| codes.into_iter().map(|(system, code)| CodeKey { system, code }).collect()),
                // The index knows starts only; what began earlier may still reach into the time asked for.
                date: hints.date_ms.map(|(from, until)| (from.saturating_sub(facts::INDEXED_SPAN_MS), until)),
                updated: hints.updated_ms,
                token: identifier.map(|(system, value)| TokenKey { param: "identifier".to_owned(), system, value }),
                order,
                after: from.map(Continuation::after),
                as_of_seq,
                limit: ROUND,
                scan_budget: gateway.config.search_budget,
                ..Plan::of(rule.name)
            },
            as_of_seq,
            budget: gateway.config.search_budget,
            done: false,
        }
    }

    /// The next rows; `None` when there are no more.
    async fn round(&mut self, gateway: &Gateway) -> Result<Option<Vec<Stored>>, Refusal> {
        if self.done {
            return Ok(None);
        }
        let too_costly =
            || Refusal::one(Id::SearchTooCostly, "", "The search would have to look at too many resources.");
        let page = gateway.store.search(self.plan.clone()).await?;
        if page.exhausted_budget {
            return Err(too_costly());
        }
        // What arrives after the first page was asked for belongs to no later page either.
        self.as_of_seq = self.as_of_seq.or(Some(page.high_seq));
        self.plan.as_of_seq = self.as_of_seq;
        self.plan.after = page.next;
        self.plan.limit = ROUND.min(self.plan.limit * 4);
        self.done = page.next.is_none();
        self.budget = self.budget.checked_sub(page.rows.len()).ok_or_else(too_costly)?;
        Ok(Some(page.rows))
    }

    fn key_of(&self, stored: &Stored) -> Key {
        stored.key(self.plan.order.by)
    }
}
