//! Many resources by what they say (R4 §3.1.1): the index narrows, the query decides, the consent has the last word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::page::Continuation;
use super::{ConsentsSeen, Sight, Visible, Withheld};
use crate::exchange::kinds::{Guard, KindRule};
use crate::exchange::said;
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal, kinds};
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::search::{Hints, Query, Sort, SortBy, Summary, Total, shown};
use crate::fhir::tree::json;
use crate::policy::access::Interaction;
use crate::policy::consent::{Basis, Denial};
use crate::store::{AuditRecord, CodeKey, Key, Order, OrderBy, Page, PatientKey, Plan, Stored, TokenKey};

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
    /// Whether it does not match, but belongs to what does.
    pub included: bool,
}

/// A resource that leaves, and what permits it.
pub(in crate::exchange) type Hit = (Stored, Option<Basis>);

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
    pub hits: Vec<Hit>,
    /// What leaves with them.
    pub included: Vec<Hit>,
    /// How many may be seen, also beyond what was asked for.
    pub matched: usize,
    /// Resources that were looked at.
    looked_at: usize,
    silences: Silences,
    /// Persons of whom something may be seen that decided what was answered, whether or not it leaves.
    weighed: BTreeMap<PatientKey, Weighed>,
    pub(super) consents: ConsentsSeen,
    /// Persons who were asked for by name.
    named: Vec<String>,
    /// How much was passed over that is damaged.
    pub damaged: usize,
}

/// A person who was weighed.
struct Weighed {
    id: String,
    basis: Option<Basis>,
    /// One resource of each kind and code, which tells the person what it was about: kind, code and reference.
    told: Vec<(Arc<str>, String, String)>,
}

impl Weighed {
    /// Most of one person that a search names beside what it hands out.
    const MOST: usize = 16;

    fn tell(&mut self, visible: &Visible) {
        if self.told.len() >= Self::MOST {
            return;
        }
        let (content, stored) = (&visible.content, &visible.content.stored);
        let code = match content.gist().and_then(|gist| gist.codes()) {
            Some((codes, _)) => codes.first().map(|(_, code)| *code),
            None => content
                .root()
                .and_then(|root| root.get("code")?.get("coding"))
                .and_then(|coding| coding.text_of("code")),
        };
        let code = code.unwrap_or_default();
        if !self.told.iter().any(|(kind, told, _)| *kind == stored.kind && told == code) {
            self.told.push((stored.kind.clone(), code.to_owned(), reference(stored)));
        }
    }
}

/// The version that it is.
fn reference(stored: &Stored) -> String {
    let (id, version) = (stored.logical_id(), stored.version.to_string());
    [&stored.kind, "/", &id, "/_history/", &version].concat()
}

impl Gathered {
    /// Takes note of a person whose data was asked for and withheld.
    pub(super) fn withhold(&mut self, withheld: Withheld, most: usize) {
        let (id, key) = withheld.patient;
        if self.silences.takes(key, most) {
            self.silences.persons.insert(key, (id, withheld.denial));
        }
    }

    /// The same, if it is what was asked for.
    fn withhold_match(&mut self, withheld: Withheld, query: &Query, most: usize) {
        let memory = &mut self.consents.memory;
        let (id, key) = withheld.patient;
        if self.silences.takes(key, most) && withheld.content.matches(query, memory) {
            self.silences.persons.insert(key, (id, withheld.denial));
        }
        withheld.content.leave(memory);
    }

    /// Takes note of a person whose data was looked at and may be seen: a count, or an answer that nothing matches, tells
    /// something as well.
    pub(super) fn weigh(&mut self, visible: &Visible, most: usize) {
        let Some(key) = visible.content.stored.patient else { return };
        if !self.weighed.contains_key(&key) {
            if self.weighed.len() >= most {
                return;
            }
            let id = Author::patient_of(&visible.content.stored);
            self.weighed.insert(key, Weighed { id, basis: visible.basis.clone(), told: Vec::new() });
        }
        if let Some(weighed) = self.weighed.get_mut(&key) {
            weighed.tell(visible);
        }
    }

    /// Takes note of a person who was asked for: that nothing was found is told her as well.
    pub(super) fn about(&mut self, person: &str) {
        if !self.named.iter().any(|known| known == person) {
            self.named.push(person.to_owned());
        }
    }

    /// What those persons hear.
    pub(super) fn silenced(&self, author: &Author, issue: Id) -> Vec<AuditRecord> {
        let persons = self.silences.persons.iter();
        persons.map(|(key, (id, denial))| author.withheld(&(id.clone(), *key), denial.basis.as_ref(), issue)).collect()
    }

    /// Takes note of resources that are looked at, as long as that may go on.
    pub(super) fn spend(&mut self, caller: &Caller<'_>, resources: usize, budget: usize) -> Result<(), Refusal> {
        let before = match caller.looked_at {
            Some(request) => request.fetch_add(resources, Ordering::Relaxed),
            None => self.looked_at,
        };
        self.looked_at += resources;
        if before + resources > budget { Err(too_costly()) } else { Ok(()) }
    }

    /// What is to be said of damage that was passed over: what it is of, nobody can tell any more.
    pub fn incomplete(&self) -> Option<Issue> {
        incomplete(self.damaged)
    }

    pub fn entries(self) -> Vec<Entry> {
        let entry = |(stored, _): Hit, included| Entry {
            kind: stored.kind.clone(),
            id: stored.logical_id(),
            payload: stored.payload,
            included,
        };
        let included = self.included.into_iter().map(|hit| entry(hit, true));
        self.hits.into_iter().map(|hit| entry(hit, false)).chain(included).collect()
    }
}

fn too_costly() -> Refusal {
    Refusal::one(Id::SearchTooCostly, "", "The search would have to look at too many resources.")
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
/// The same, where the index lies in many parts.
const MANY_PARTS: usize = 4000;

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
            return self.search_audit(caller, pairs, lenient, None).await;
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
            return self
                .search_audit(caller, &continuation.query, continuation.lenient, Some(continuation.after_seq))
                .await;
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
        let mut gathered = Gathered::default();
        let (query, mut warnings) = self.asked(caller, rule, pairs, lenient, &mut gathered).await?;
        let counting = query.summary == Summary::Count || query.count == Some(0);
        let limit = query.count.unwrap_or(self.config.page_entries).clamp(1, self.config.page_entries_max);
        let limit = if counting { 0 } else { limit };
        let hints = hints(rule, &query);
        let order = order(&query, &hints);
        let looked_in = order.unwrap_or_else(|| natural(&hints));
        for person in hints.patients.iter().flatten().take(self.config.page_entries_max) {
            gathered.about(person);
        }
        let mut walk = Walk::new(self, rule, hints, looked_in, from.as_ref());
        walk.plan.spares_damaged = true;
        let first = from.is_none();
        let mut whole = counting || (first && query.total == Total::Accurate);
        let next = if order.is_some() || counting {
            let wish = Wish { limit, whole };
            let next = self.gather_hits(caller, &query, &mut walk, wish, &mut gathered).await?;
            let more = gathered.matched > gathered.hits.len() && !counting;
            next.filter(|_| more).map(|key| (key, None))
        } else {
            whole |= first;
            let after = from.as_ref().and_then(|from| from.last.as_ref());
            let last = self.gather_sorted(caller, &query, &mut walk, (limit, after), &mut gathered).await?;
            last.map(|last| (Key(0, 0), Some(last)))
        };
        let total = (whole || (first && next.is_none())).then_some(gathered.matched);
        self.include(caller, &query, &mut gathered).await?;
        self.record_query(caller, rule.name, pairs, &gathered).await?;
        let token = next.map(|(key, last)| {
            let continuation = Continuation {
                kind: rule.name.to_owned(),
                query: query.echo(),
                lenient,
                after_value: key.0,
                after_seq: key.1,
                as_of_seq: walk.as_of_seq.unwrap_or(u64::MAX),
                last,
            };
            continuation.sign(&self.page_secret, &caller.principal.client)
        });
        warnings.extend(gathered.incomplete());
        let mut entries = gathered.entries();
        self.cut(&query, &mut entries)?;
        Ok(Found { entries, total, next: token, query: query.echo(), warnings })
    }

    /// What is asked for, with everything that depends on other resources found out.
    pub(super) async fn asked(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        pairs: &[(String, String)],
        lenient: bool,
        gathered: &mut Gathered,
    ) -> Result<(Query, Vec<Issue>), Refusal> {
        let (mut query, issues) = Query::parse(rule.name, pairs, &self.registry, lenient);
        query.base = Some(self.base.clone());
        if has_errors(&issues) {
            return Err(issues.into());
        }
        self.resolve(caller, &mut query, gathered).await?;
        Ok((query, issues))
    }

    /// What of a resource that is read is asked for, where it is not all of it.
    pub fn part(&self, kind: &str, pairs: &[(String, String)], lenient: bool) -> Result<Option<Query>, Refusal> {
        if pairs.is_empty() || kinds::kind(kind).is_none() {
            return Ok(None);
        }
        let is_of_reads = |name: &str| matches!(name, "_summary" | "_elements" | "_format" | "_pretty");
        if let Some((name, _)) = pairs.iter().find(|(name, _)| !is_of_reads(name)).filter(|_| !lenient) {
            let text = format!("Parameter {}: a resource is read with _summary or _elements alone.", shown(name));
            return Err(Refusal::one(Id::SearchParameterUnknown, "", text));
        }
        let pairs: Vec<_> = pairs.iter().filter(|(name, _)| is_of_reads(name)).cloned().collect();
        let (query, issues) = Query::parse(kind, &pairs, &self.registry, lenient);
        if has_errors(&issues) {
            return Err(issues.into());
        }
        if query.summary == Summary::Count {
            return Err(Refusal::one(
                Id::SearchValue,
                "",
                "Parameter _summary: what is read by its id is not counted.",
            ));
        }
        Ok((!query.subset().is_whole()).then_some(query))
    }

    /// That part of a resource.
    pub fn part_of(&self, query: &Query, stored: &Stored) -> Result<Vec<u8>, Refusal> {
        let Some(structure) = self.registry.structure(&query.kind) else { return Ok(stored.payload.clone()) };
        Ok(query.subset().write(&json::parse(stored.payload.as_slice())?, &structure).into_bytes())
    }

    /// Leaves of each match what was asked for.
    pub(super) fn cut(&self, query: &Query, entries: &mut [Entry]) -> Result<(), Refusal> {
        let subset = query.subset();
        if subset.is_whole() {
            return Ok(());
        }
        let Some(structure) = self.registry.structure(&query.kind) else { return Ok(()) };
        for entry in entries.iter_mut().filter(|entry| !entry.included) {
            entry.payload = subset.write(&json::parse(entry.payload.as_slice())?, &structure).into_bytes();
        }
        Ok(())
    }

    /// Goes on with a walk until a page is full; answers the key of the hit that filled it. What does not fit on it any
    /// more counts as matched.
    pub(in crate::exchange) async fn gather_hits(
        &self,
        caller: &Caller<'_>,
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
        while let Some(rows) = walk.round(self, caller, query, gathered).await? {
            for stored in rows {
                let key = walk.key_of(&stored);
                let Sight::Visible(found) = self.hit(caller, walk, query, stored, gathered).await? else { continue };
                gathered.matched += 1;
                if gathered.hits.len() < wish.limit {
                    gathered.hits.push((found.content.leave(&mut gathered.consents.memory), found.basis));
                    next = Some(key);
                } else if !wish.whole {
                    // One hit more than the page holds: there is a next page, and that is all we need to know.
                    return Ok(next);
                }
            }
        }
        Ok(next)
    }

    /// What the caller sees of a resource that matches; one that does not match is hidden.
    pub(super) async fn hit(
        &self,
        caller: &Caller<'_>,
        walk: &Walk,
        query: &Query,
        stored: Stored,
        gathered: &mut Gathered,
    ) -> Result<Sight, Refusal> {
        let seen = &mut gathered.consents;
        let sight = self.visible(caller, walk.rule, Interaction::Search, stored, self.now_ms(), seen).await?;
        match sight {
            Sight::Visible(visible) => {
                let matches = visible.content.matches(query, &mut gathered.consents.memory);
                if walk.is_bound {
                    gathered.spend(caller, 1, self.config.search_budget)?;
                }
                if walk.is_bound || matches {
                    gathered.weigh(&visible, self.config.page_entries_max);
                }
                if matches {
                    return Ok(Sight::Visible(visible));
                }
                visible.content.leave(&mut gathered.consents.memory);
            }
            Sight::Withheld(withheld) => gathered.withhold_match(withheld, query, self.config.page_entries_max),
            Sight::Hidden => {}
        }
        Ok(Sight::Hidden)
    }

    /// Takes note of whose data a search was not even shown.
    async fn kept_back(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        query: &Query,
        stored: Stored,
        gathered: &mut Gathered,
    ) -> Result<(), Refusal> {
        let seen = &mut gathered.consents;
        let sight = self.visible(caller, rule, Interaction::Search, stored, self.now_ms(), seen).await?;
        if let Sight::Withheld(withheld) = sight {
            gathered.withhold_match(withheld, query, self.config.page_entries_max);
        }
        // What is visible after all comes again at its place.
        Ok(())
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
        let Gathered { hits, included, silences, weighed, named, .. } = gathered;
        let author = Author::of(self, caller).with_query(asked, pairs);
        let mut persons: BTreeMap<Option<PatientKey>, Seen> = BTreeMap::new();
        for (stored, basis) in hits.iter().chain(included) {
            let person = persons
                .entry(stored.patient)
                .or_insert_with(|| (Author::patient_of(stored), Vec::new(), basis.clone()));
            person.1.push(reference(stored));
        }
        for (key, Weighed { id, basis, told }) in weighed {
            let named = || told.iter().map(|(.., reference)| reference.clone()).collect();
            persons.entry(Some(*key)).or_insert_with(|| (id.clone(), named(), basis.clone()));
        }
        let mut unfound = Vec::new();
        for id in named {
            let key = self.patient_key(id);
            let told = persons.contains_key(&Some(key)) || silences.persons.contains_key(&key);
            if !told && self.store.heading("Patient", id).await?.is_some() {
                let record = author.record(Act::Query, Some(&(id.clone(), key)), &[], None, &[]);
                // Whoever does not know her is not told that she exists.
                let own = self.is_used_by(caller, id).await?;
                unfound.push(if own { record } else { record.kept_from_client() });
            }
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
        records.extend(unfound);
        for (key, (id, denial)) in &silences.persons {
            records.push(author.withheld(&(id.clone(), *key), denial.basis.as_ref(), denial.issue().id));
        }
        Ok(self.store.record_audit(records).await?)
    }
}

/// What is said where so much cannot be read.
pub(super) fn incomplete(damaged: usize) -> Option<Issue> {
    let many = match damaged {
        0 => return None,
        1 => "One resource that was looked through is damaged and cannot be read".to_owned(),
        _ => format!("{damaged} resources that were looked through are damaged and cannot be read"),
    };
    Some(Issue::new(Id::AnswerIncomplete, "", format!("{many}; the answer lacks what of it belongs there.")))
}

/// What narrows a search. The identifiers of Observations are in no index.
fn hints(rule: &KindRule, query: &Query) -> Hints {
    let hints = query.hints();
    Hints { identifier: hints.identifier.filter(|_| rule.name != "Observation"), ..hints }
}

/// The order in which what is asked for lies, where none is asked for: of a person by date, else by creation or change.
fn natural(hints: &Hints) -> Order {
    let by = match hints {
        Hints { ids: Some(_), .. } | Hints { identifier: Some(_), .. } => OrderBy::Seq,
        Hints { patients: Some(_), .. } => OrderBy::Date,
        Hints { updated_ms: Some(_), .. } => OrderBy::Updated,
        _ => OrderBy::Seq,
    };
    Order { by, descending: false }
}

/// The order that an index has; nothing where it has none.
fn order(query: &Query, hints: &Hints) -> Option<Order> {
    match query.sort.as_slice() {
        [] => Some(natural(hints)),
        [Sort { by: SortBy::Date, descending }] => Some(Order { by: OrderBy::Date, descending: *descending }),
        [Sort { by: SortBy::LastUpdated, descending }] => Some(Order { by: OrderBy::Updated, descending: *descending }),
        _ => None,
    }
}

/// The walk over the store's pages, within a budget.
///
/// Where it is bound to persons or names, only what the caller may see counts against the budget: what is hidden must not be
/// told by a refusal, and there is only as much of it as those persons have. A walk that is bound to nobody counts everything.
pub(in crate::exchange) struct Walk {
    pub plan: Plan,
    pub(super) rule: &'static KindRule,
    pub(super) is_bound: bool,
    /// The persons that are asked for.
    persons: Vec<String>,
    /// Whether it is known of whom of them the caller may see anything.
    is_narrowed: bool,
    pub as_of_seq: Option<u64>,
    done: bool,
}

impl Walk {
    /// Everything that belongs to a person and may match, in the order of its dates.
    pub fn of_person(
        gateway: &Gateway,
        rule: &'static KindRule,
        query: &Query,
        person: &str,
        after: Option<Key>,
        as_of_seq: Option<u64>,
    ) -> Self {
        let order = Order { by: OrderBy::Date, descending: false };
        let hints = Hints { patients: Some(vec![person.to_owned()]), ..hints(rule, query) };
        let mut walk = Walk::new(gateway, rule, hints, order, None);
        walk.plan.after = after;
        walk.plan.as_of_seq = as_of_seq;
        walk.as_of_seq = as_of_seq;
        walk
    }

    /// Everything that may match.
    pub(super) fn of_any(gateway: &Gateway, rule: &'static KindRule, query: &Query) -> Self {
        let hints = hints(rule, query);
        let order = natural(&hints);
        Walk::new(gateway, rule, hints, order, None)
    }

    /// What is the caller's own and may match.
    pub(super) fn of_own(gateway: &Gateway, rule: &'static KindRule, query: &Query, caller: &Caller<'_>) -> Self {
        let mut walk = Walk::of_any(gateway, rule, query);
        walk.plan.owner = Some(caller.principal.client.clone());
        walk
    }

    fn new(
        gateway: &Gateway,
        rule: &'static KindRule,
        hints: Hints,
        order: Order,
        from: Option<&Continuation>,
    ) -> Self {
        let as_of_seq = from.map(|from| from.as_of_seq);
        let is_bound = hints.patients.is_some() || hints.ids.is_some() || hints.identifier.is_some();
        let persons = hints.patients.clone().unwrap_or_default();
        Walk {
            plan: Plan {
                patients: hints.patients.map(|ids| ids.iter().map(|id| gateway.patient_key(id)).collect()),
                ids: hints.ids,
                codes: hints
                    .codes
                    .map(|codes| codes.into_iter().map(|(system, code)| CodeKey { system, code }).collect()),
                // The index knows starts only; what began earlier may still reach into the time asked for.
                date: hints.date_ms.map(|(from, until)| (from.saturating_sub(said::INDEXED_SPAN_MS), until)),
                updated: hints.updated_ms,
                token: hints.identifier.map(|(system, value)| TokenKey {
                    param: "identifier".to_owned(),
                    system,
                    value,
                }),
                order,
                // A link into an order that no index has carries the last hit instead.
                after: from.filter(|from| from.last.is_none()).map(Continuation::after),
                as_of_seq,
                limit: ROUND,
                scan_budget: if is_bound { usize::MAX } else { gateway.config.search_budget },
                ..Plan::of(rule.name)
            },
            rule,
            is_bound,
            persons,
            is_narrowed: false,
            as_of_seq,
            done: false,
        }
    }

    /// Leaves those persons out of whom nothing may be seen, so that a search for them costs and answers what one for nobody
    /// does; those of them who have something of the kind hear of it. Consents that were seen before are taken as they were,
    /// and the store is to look whether they are so.
    async fn leave_out(
        &mut self,
        gateway: &Gateway,
        caller: &Caller<'_>,
        gathered: &mut Gathered,
        may_presume: bool,
    ) -> Result<(), Refusal> {
        let mut epochs = Vec::new();
        self.plan.sieve = None;
        let mut visible = Vec::new();
        for id in &self.persons {
            let key = gateway.patient_key(id);
            if may_presume && let Some(epoch) = gateway.presume(caller, (id, key), &mut gathered.consents) {
                epochs.push((key, epoch));
                visible.push((id.clone(), key));
                continue;
            }
            let Some(denial) = gateway.withheld_from(caller, (id, key), &mut gathered.consents).await? else {
                visible.push((id.clone(), key));
                continue;
            };
            let most = gateway.config.page_entries_max;
            if gathered.silences.takes(key, most) {
                let plan = Plan {
                    patients: Some(vec![key]),
                    after: None,
                    limit: 1,
                    scan_budget: ROUND,
                    spares_damaged: true,
                    ..self.plan.clone()
                };
                if !gateway.store.search(plan).await?.rows.is_empty() {
                    gathered.silences.persons.insert(key, (id.clone(), denial));
                }
            }
            self.plan.patients.iter_mut().for_each(|patients| patients.retain(|patient| *patient != key));
        }
        self.plan.epochs = epochs;
        let by_code = self.plan.codes.is_some();
        self.plan.sieve = gateway.sieve(caller, self.rule, &visible, by_code, &mut gathered.consents);
        self.is_narrowed = true;
        Ok(())
    }

    /// The store's rows, once the consents that it was narrowed by are those that stand.
    async fn page(&mut self, gateway: &Gateway, caller: &Caller<'_>, gathered: &mut Gathered) -> Result<Page, Refusal> {
        let page = gateway.store.search(self.plan.clone()).await?;
        if !page.stale {
            return Ok(page);
        }
        for (patient, _) in std::mem::take(&mut self.plan.epochs) {
            gateway.consents_stale(patient);
            gathered.consents.forget(patient);
        }
        self.leave_out(gateway, caller, gathered, false).await?;
        Ok(gateway.store.search(self.plan.clone()).await?)
    }

    /// The next rows; `None` when there are no more.
    pub(super) async fn round(
        &mut self,
        gateway: &Gateway,
        caller: &Caller<'_>,
        query: &Query,
        gathered: &mut Gathered,
    ) -> Result<Option<Vec<Stored>>, Refusal> {
        // What a client registered it may see whatever the consents say.
        if self.rule.guard == Guard::Consent && !self.is_narrowed {
            self.leave_out(gateway, caller, gathered, true).await?;
        }
        if self.done {
            return Ok(None);
        }
        let page = self.page(gateway, caller, gathered).await?;
        if page.exhausted_budget {
            return Err(too_costly());
        }
        // What arrives after the first page was asked for belongs to no later page either.
        self.as_of_seq = self.as_of_seq.or(Some(page.high_seq));
        self.plan.as_of_seq = self.as_of_seq;
        self.plan.after = page.next;
        gathered.damaged += page.damaged.len();
        // Parts that are opened anew each time are worth more rows.
        self.plan.limit = ROUND.max(page.parts.min(MANY_PARTS)).min(self.plan.limit * 4);
        self.done = page.next.is_none();
        if !self.is_bound {
            gathered.spend(caller, page.looked_at, gateway.config.search_budget)?;
        }
        // Those of whom something was passed over are to hear of it.
        for stored in page.kept_back {
            gateway.kept_back(caller, self.rule, query, stored, gathered).await?;
        }
        Ok(Some(page.rows))
    }

    fn key_of(&self, stored: &Stored) -> Key {
        stored.key(self.plan.order.by)
    }
}
