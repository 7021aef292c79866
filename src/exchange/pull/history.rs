//! What became of resources (R4 §3.1.0.12): the versions of one, of a type or of all, the latest first.
//!
//! Each version is asked of scope and consent by what it says itself. What may not be seen is left out before paging and
//! counting, and a resource of which no version may be seen looks like one that never was.

use serde::{Deserialize, Serialize};

use super::search::Gathered;
use super::{ConsentsSeen, Sight, page};
use crate::exchange::kinds::{self, KINDS, KindRule};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::time::Moment;
use crate::policy::access::{Grant, Interaction};
use crate::store::{HistoryPlan, Stored, VersionKey};

type Pairs = [(String, String)];

/// What its paging links are for.
const PURPOSE: &str = "history";

/// Versions that one round asks of the store.
const ROUND: usize = 200;

/// Whose versions are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    Resource(&'a str, &'a str),
    Type(&'a str),
    All,
}

/// One version, and how it came to be.
#[derive(Debug)]
pub struct Version {
    pub stored: Stored,
    /// Logical id of the resource.
    pub id: String,
    /// Of HTTP.
    pub method: &'static str,
}

impl Version {
    fn of(stored: Stored) -> Version {
        let method = match (stored.deleted, stored.version, &stored.name) {
            (true, ..) => "DELETE",
            // Whoever gave it no id, posted it.
            (_, 1, None) => "POST",
            _ => "PUT",
        };
        Version { id: stored.logical_id(), method, stored }
    }
}

/// One page.
#[derive(Debug)]
pub struct Versions {
    /// The latest first.
    pub versions: Vec<Version>,
    /// How many there are, where all of them are here.
    pub total: Option<usize>,
    /// Token of the next page.
    pub next: Option<String>,
    /// The parameters that were understood, for the self link.
    pub query: Vec<(String, String)>,
    pub warnings: Vec<Issue>,
}

/// Where a page begins.
#[derive(Serialize, Deserialize)]
struct Place {
    address: String,
    query: Vec<(String, String)>,
    after: (i64, u64, u32),
}

/// What was asked for.
#[derive(Default)]
pub struct Asked {
    pub since_ms: Option<i64>,
    pub count: Option<usize>,
    pub understood: Vec<(String, String)>,
    pub warnings: Vec<Issue>,
}

impl Whose<'_> {
    /// Relative to the base.
    pub fn address(&self) -> String {
        match self {
            Whose::Resource(kind, id) => format!("{kind}/{id}/_history"),
            Whose::Type(kind) => format!("{kind}/_history"),
            Whose::All => "_history".to_owned(),
        }
    }

    /// The types that it is about, and the scope that it needs; audit events and their like have no history.
    fn rules(&self, caller: &Caller<'_>) -> Result<(Vec<&'static KindRule>, Interaction), Refusal> {
        let unsupported =
            || Refusal::one(Id::InteractionUnsupported, "", "Resources of this type have no history here.");
        let (kind, interaction) = match self {
            Whose::All => {
                let may = |rule: &&KindRule| {
                    rule.name != "AuditEvent"
                        && caller.principal.scopes.permits(rule.name, Interaction::Search) != Grant::None
                };
                return Ok((KINDS.iter().filter(may).collect(), Interaction::Search));
            }
            Whose::Type(kind) => (kind, Interaction::Search),
            Whose::Resource(kind, _) => (kind, Interaction::Read),
        };
        let rule = kinds::kind(kind).filter(|rule| rule.name != "AuditEvent").ok_or_else(unsupported)?;
        caller.principal.permits(rule.name, interaction).map_err(|denied| denied.issue())?;
        Ok((vec![rule], interaction))
    }
}

impl Gateway {
    /// `GET [base]/[type]/[id]/_history`, `[base]/[type]/_history` and `[base]/_history`.
    pub async fn history(
        &self,
        caller: &Caller<'_>,
        whose: Whose<'_>,
        pairs: &Pairs,
        lenient: bool,
    ) -> Result<Versions, Refusal> {
        self.history_from(caller, whose, pairs, lenient, None).await
    }

    /// The page that a `next` link names.
    pub async fn history_page(&self, caller: &Caller<'_>, whose: Whose<'_>, token: &str) -> Result<Versions, Refusal> {
        let place = page::verify(token, PURPOSE, &self.page_secret, &caller.principal.client)
            .filter(|place: &Place| place.address == whose.address())
            .ok_or_else(|| Refusal::one(Id::PageUnknown, "", "The paging link is not one of this client's."))?;
        let (updated, seq, version) = place.after;
        self.history_from(caller, whose, &place.query, true, Some(VersionKey(updated, seq, version))).await
    }

    async fn history_from(
        &self,
        caller: &Caller<'_>,
        whose: Whose<'_>,
        pairs: &Pairs,
        lenient: bool,
        after: Option<VersionKey>,
    ) -> Result<Versions, Refusal> {
        let (rules, interaction) = match whose.rules(caller) {
            Ok(allowed) => allowed,
            Err(refusal) => return Err(self.refused(caller, refusal).await),
        };
        let asked = Asked::read(pairs, lenient)?;
        // As in a search (R4 §3.1.1.5.2), nothing is asked for by zero but how many there are.
        let counting = asked.count == Some(0);
        let limit = asked.count.unwrap_or(self.config.page_entries).clamp(1, self.config.page_entries_max);
        let limit = if counting { 0 } else { limit };
        let plan = HistoryPlan {
            kinds: rules.iter().map(|rule| rule.name.into()).collect(),
            id: match whose {
                Whose::Resource(_, id) => Some(id.to_owned()),
                _ => None,
            },
            since_ms: asked.since_ms,
            after,
            limit: if counting { ROUND } else { ROUND.min(limit + 1) },
        };
        let mut gathered = Gathered::default();
        self.gather_versions(caller, plan, interaction, limit, &mut gathered).await?;
        let nothing = gathered.matched == 0 && gathered.damaged == 0;
        let absent = matches!(whose, Whose::Resource(..)) && after.is_none() && nothing;
        if absent && asked.since_ms.is_none() {
            self.record_absent(caller, &gathered).await?;
            return Err(Refusal::not_found().recorded());
        }
        self.record_query(caller, &whose.address(), pairs, &gathered).await?;
        let more = gathered.matched > gathered.hits.len() && !counting;
        let (matched, mut warnings, incomplete) = (gathered.matched, asked.warnings, gathered.incomplete());
        let versions: Vec<Version> = gathered.hits.into_iter().map(|(stored, _)| Version::of(stored)).collect();
        let next = versions.last().filter(|_| more).map(|Version { stored: last, .. }| {
            let after = (last.updated_ms, last.seq, last.version);
            let place = Place { address: whose.address(), query: asked.understood.clone(), after };
            page::sign(&place, PURPOSE, &self.page_secret, &caller.principal.client)
        });
        let total = (after.is_none() && !more).then_some(matched);
        warnings.extend(incomplete);
        Ok(Versions { versions, total, next, query: asked.understood, warnings })
    }

    /// Goes through versions until a page is full, and one further; through all of them where none is to be on it.
    async fn gather_versions(
        &self,
        caller: &Caller<'_>,
        mut plan: HistoryPlan,
        interaction: Interaction,
        limit: usize,
        gathered: &mut Gathered,
    ) -> Result<(), Refusal> {
        let mut seen = ConsentsSeen::default();
        loop {
            let (found, next) = self.store.history(plan.clone()).await?;
            gathered.damaged += found.damaged.len();
            // Of one resource only what the caller may see counts, so that no refusal tells of what is hidden.
            let counted = if plan.id.is_some() { 0 } else { found.rows.len() };
            gathered.spend(caller, counted, self.config.search_budget)?;
            for stored in found.rows {
                let Some(rule) = kinds::kind(&stored.kind) else { continue };
                match self.visible(caller, rule, interaction, stored, self.now_ms(), &mut seen).await? {
                    Sight::Visible(visible) => {
                        gathered.matched += 1;
                        gathered.spend(caller, usize::from(plan.id.is_some()), self.config.search_budget)?;
                        if limit == 0 {
                            gathered.weigh(&visible, self.config.page_entries_max);
                        } else if gathered.hits.len() == limit {
                            return Ok(());
                        } else {
                            gathered.hits.push((visible.content.stored, visible.basis));
                        }
                    }
                    Sight::Withheld(withheld) => gathered.withhold(withheld, self.config.page_entries_max),
                    Sight::Hidden => {}
                }
            }
            let Some(next) = next else { return Ok(()) };
            (plan.after, plan.limit) = (Some(next), ROUND);
        }
    }

    /// To the client it is absent; the person hears of it.
    async fn record_absent(&self, caller: &Caller<'_>, gathered: &Gathered) -> Result<(), Refusal> {
        let author = Author::of(self, caller);
        let mut records = gathered.silenced(&author, Id::NotFound);
        if records.is_empty() {
            records.push(author.record(Act::Refuse, None, &[], None, &[Id::NotFound]));
        }
        Ok(self.store.record_audit(records).await?)
    }
}

impl Asked {
    pub(in crate::exchange) fn read(pairs: &Pairs, lenient: bool) -> Result<Asked, Refusal> {
        let mut asked = Asked::default();
        for (name, value) in pairs {
            match name.as_str() {
                "_format" | "_pretty" => continue,
                "_count" => {
                    let count = value.parse().ok();
                    asked.count = Some(count.ok_or_else(|| wrong("_count is a whole number."))?);
                }
                "_since" => {
                    let moment = Moment::parse(value).or_else(|| Moment::parse(&value.replacen(' ', "+", 1)));
                    asked.since_ms =
                        Some(moment.ok_or_else(|| wrong("_since is an instant."))?.interval_assuming_utc_ms().0);
                }
                _ if lenient => {
                    let text = "A history is asked for by _since and _count; a parameter was ignored.";
                    asked.warnings.push(Issue::new(Id::SearchParameterIgnored, "", text));
                    continue;
                }
                _ => {
                    let text = "A history is asked for by _since and _count.";
                    return Err(Refusal::one(Id::SearchParameterUnknown, "", text));
                }
            }
            asked.understood.push((name.clone(), value.clone()));
        }
        Ok(asked)
    }
}

fn wrong(text: &str) -> Refusal {
    Refusal::one(Id::SearchValue, "", text)
}
