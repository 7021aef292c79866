//! `Patient/[id]/$everything` (FHIR R4, operation Patient-everything): what is held of a person, as far as the asker may
//! see it, type after type, in pages.
//!
//! It is a search without a type: each resource is asked of consent as a search asks, and a person of whom nothing may be
//! seen looks like one whom nobody knows. It must not know what a person may demand beyond that; that is `export`.

use serde::{Deserialize, Serialize};

use crate::exchange::kinds::{KINDS, KindRule};
use crate::exchange::pull::Found;
use crate::exchange::pull::page;
use crate::exchange::pull::search::{Gathered, Walk, Wish};
use crate::exchange::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::search::Query;
use crate::policy::access::{Grant, Interaction};
use crate::store::Key;

type Pairs = [(String, String)];

/// What its paging links are for.
const PURPOSE: &str = "everything";

/// Where a page begins.
#[derive(Serialize, Deserialize)]
struct Place {
    person: String,
    query: Vec<(String, String)>,
    /// The type, and the key in it after which to go on.
    kind: String,
    after: Option<(i64, u64)>,
    as_of_seq: Option<u64>,
}

/// What was asked for.
#[derive(Default)]
struct Asked {
    types: Option<Vec<String>>,
    since: Option<String>,
    start: Option<String>,
    end: Option<String>,
    count: Option<usize>,
}

impl Gateway {
    /// The first page.
    pub async fn everything(&self, caller: &Caller<'_>, person: &str, pairs: &Pairs) -> Result<Found, Refusal> {
        let place = Place {
            person: person.to_owned(),
            query: pairs.to_vec(),
            kind: String::new(),
            after: None,
            as_of_seq: None,
        };
        self.everything_from(caller, place).await
    }

    /// The page that a `next` link names.
    pub async fn everything_page(&self, caller: &Caller<'_>, person: &str, token: &str) -> Result<Found, Refusal> {
        let place = page::verify(token, PURPOSE, &self.page_secret, &caller.principal.client)
            .filter(|place: &Place| place.person == person)
            .ok_or_else(|| Refusal::one(Id::PageUnknown, "", "The paging link is not one of this client's."))?;
        self.everything_from(caller, place).await
    }

    async fn everything_from(&self, caller: &Caller<'_>, place: Place) -> Result<Found, Refusal> {
        if let Err(denied) = caller.principal.permits("Patient", Interaction::Read) {
            return Err(self.refused(caller, denied.issue().into()).await);
        }
        if !is_id(&place.person) {
            return Err(Refusal::one(Id::SearchValue, "", "The address names the person by an id."));
        }
        let asked = Asked::read(&place.query)?;
        let limit = asked.count.unwrap_or(self.config.page_entries).clamp(1, self.config.page_entries_max);
        let stages: Vec<&'static KindRule> = stages(caller, &asked).collect();
        let from = stages.iter().position(|rule| rule.name == place.kind).unwrap_or_default();
        let mut gathered = Gathered::default();
        let (mut after, mut as_of_seq) = (place.after.map(|(value, seq)| Key(value, seq)), place.as_of_seq);
        let mut next = None;
        for rule in &stages[from..] {
            let (mut query, issues) = Query::parse(rule.name, &asked.of(rule), &self.registry, false);
            query.base = Some(self.base.clone());
            if has_errors(&issues) {
                return Err(issues.into_iter().map(as_asked).collect::<Vec<_>>().into());
            }
            let began = after.take();
            let mut walk = Walk::of_person(self, rule, &query, &place.person, began, as_of_seq);
            walk.plan.spares_damaged = true;
            let last = self.gather_hits(caller, &query, &mut walk, Wish { limit, whole: false }, &mut gathered).await?;
            as_of_seq = walk.as_of_seq;
            if gathered.matched > gathered.hits.len() {
                next = Some((rule.name, last.or(began)));
                break;
            }
        }
        let address = format!("Patient/{}/$everything", place.person);
        self.record_query(caller, &address, &place.query, &gathered).await?;
        let Place { person, query, .. } = place;
        let next = next.map(|(kind, after)| {
            let after = after.map(|key| (key.0, key.1));
            let place = Place { person, query: query.clone(), kind: kind.to_owned(), after, as_of_seq };
            page::sign(&place, PURPOSE, &self.page_secret, &caller.principal.client)
        });
        let warnings = gathered.incomplete().into_iter().collect();
        Ok(Found { entries: gathered.entries(), total: None, next, query, warnings })
    }
}

/// The types that are looked through, the person first.
fn stages(caller: &Caller<'_>, asked: &Asked) -> impl Iterator<Item = &'static KindRule> {
    let (first, rest): (Vec<&'static KindRule>, Vec<_>) = KINDS.iter().partition(|rule| rule.name == "Patient");
    first.into_iter().chain(rest).filter(|rule| {
        // Who did what is told by the access log.
        rule.name != "AuditEvent"
            && asked.types.as_ref().is_none_or(|types| types.iter().any(|name| name == rule.name))
            && caller.principal.scopes.permits(rule.name, Interaction::Search) != Grant::None
    })
}

impl Asked {
    fn read(pairs: &Pairs) -> Result<Asked, Refusal> {
        let mut asked = Asked::default();
        for (name, value) in pairs {
            let place = match name.as_str() {
                "_format" | "_pretty" => continue,
                "_type" => {
                    asked.types.get_or_insert_default().extend(value.split(',').map(str::to_owned));
                    continue;
                }
                "_count" => {
                    let count = value.parse().ok().filter(|count| *count > 0);
                    let bad = || Refusal::one(Id::SearchValue, "_count", "_count is a number from 1.");
                    asked.count = Some(count.ok_or_else(bad)?);
                    continue;
                }
                "_since" => &mut asked.since,
                "start" => &mut asked.start,
                "end" => &mut asked.end,
                _ => {
                    let text = "The parameters are start, end, _since, _type and _count.";
                    return Err(Refusal::one(Id::OperationParameter, "", text));
                }
            };
            if place.replace(value.clone()).is_some() {
                let text = "Each of start, end and _since stands at most once.";
                return Err(Refusal::one(Id::OperationParameter, "", text));
            }
        }
        Ok(asked)
    }

    /// The same as a search of one type. The time asked for is that of care: what has none belongs to any.
    fn of(&self, rule: &KindRule) -> Vec<(String, String)> {
        let date = match rule.name {
            "Observation" => Some("date"),
            "QuestionnaireResponse" => Some("authored"),
            _ => None,
        };
        let mut pairs = Vec::new();
        let mut add = |name: Option<&str>, prefix: &str, value: &Option<String>| {
            if let (Some(name), Some(value)) = (name, value) {
                pairs.push((name.to_owned(), format!("{prefix}{value}")));
            }
        };
        add(Some("_lastUpdated"), "ge", &self.since);
        add(date, "ge", &self.start);
        add(date, "le", &self.end);
        pairs
    }
}

/// An issue of the search, in the words of the operation.
fn as_asked(issue: Issue) -> Issue {
    Issue::new(Id::OperationParameter, issue.expression, "start and end are dates, _since is a date or a time.")
}
