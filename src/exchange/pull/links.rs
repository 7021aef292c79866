//! Conditions on other resources (chains and `_has`), found out one after the other, the innermost first.
//!
//! What decides must itself be seen by the caller: a condition on what is withheld is met by nothing, so that no chain tells of
//! it. All that is looked at on the way counts against one budget.

use super::Sight;
use super::search::{Gathered, Walk};
use crate::exchange::kinds::{self, KindRule};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::search::{Link, Query};
use crate::policy::access::Interaction;

/// Most resources that a condition may lead to: it becomes a condition on each of them.
const MOST: usize = 1000;

impl Gateway {
    /// Turns the query's links into conditions on what it searches for.
    pub(super) async fn resolve(
        &self,
        caller: &Caller<'_>,
        query: &mut Query,
        gathered: &mut Gathered,
    ) -> Result<(), Refusal> {
        for mut link in std::mem::take(&mut query.links) {
            if let Some(ids) = query.hints().ids {
                link.narrowed(&query.kind, &ids);
            }
            let mut ends = Vec::new();
            // Of several types that a reference may be of, none of which was named, those that the caller may not search lead
            // nowhere, like what is withheld.
            let may = |inner: &Query| {
                inner.kind != "AuditEvent" && caller.principal.permits(&inner.kind, Interaction::Search).is_ok()
            };
            let some = link.queries().iter().any(may);
            for inner in link.queries().iter().filter(|inner| !some || may(inner)) {
                let Some(rule) = kinds::kind(&inner.kind) else { continue };
                self.follow(caller, rule, inner, (&link, &query.kind), &mut ends, gathered).await?;
            }
            query.clauses.push(link.resolved(ends));
        }
        Ok(())
    }

    /// Adds where the finds of a query lead.
    async fn follow(
        &self,
        caller: &Caller<'_>,
        rule: &'static KindRule,
        inner: &Query,
        (link, kind): (&Link, &str),
        ends: &mut Vec<(String, String)>,
        gathered: &mut Gathered,
    ) -> Result<(), Refusal> {
        if rule.name == "AuditEvent" {
            let text = "Audit events are searched by themselves; no condition leads through them.";
            return Err(Refusal::one(Id::SearchParameterUnknown, "", text));
        }
        if let Err(denied) = caller.principal.permits(rule.name, Interaction::Search) {
            return Err(self.refused(caller, denied.issue().into()).await);
        }
        let mut query = inner.clone();
        query.base = Some(self.base.clone());
        Box::pin(self.resolve(caller, &mut query, gathered)).await?;
        let mut walk = Walk::of_any(self, rule, &query);
        while let Some(rows) = walk.round(self, caller, &query, gathered).await? {
            for stored in rows {
                let Sight::Visible(found) = self.hit(caller, &walk, &query, stored, gathered).await? else { continue };
                let Some(root) = found.content.root() else { continue };
                for end in link.ends(root, kind, Some(&self.base)) {
                    if !ends.contains(&end) {
                        ends.push(end);
                    }
                }
                if ends.len() > MOST {
                    let text = format!("A condition on other resources leads to more than {MOST} of them.");
                    return Err(Refusal::one(Id::SearchTooCostly, "", text));
                }
            }
        }
        Ok(())
    }
}
