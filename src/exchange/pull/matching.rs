//! What a condition names (R4 §3.1.0.5.1, §3.1.0.7.1): a search within what is the caller's own, as far as it may be seen.

use super::Sight;
use super::search::{Gathered, Walk, Wish};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::store::{OrderBy, PatientKey, ResId, Stored};

impl Gateway {
    /// The one resource that is meant, if there is one; where there are several, none can be meant. Where it is known, it is
    /// looked for under the id that follows from an identifier, and with its person.
    pub(in crate::exchange) async fn matching(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        pairs: &[(String, String)],
        (derived, patient): (Option<ResId>, Option<PatientKey>),
    ) -> Result<Option<Stored>, Refusal> {
        let rule = self.searchable(caller, kind).await?;
        let mut gathered = Gathered::default();
        let (query, _) = self.asked(caller, rule, pairs, false, &mut gathered).await?;
        if query.clauses.is_empty() {
            let text = "The condition names no resource: it has no search parameter.";
            return Err(Refusal::one(Id::ConditionUnsupported, "", text));
        }
        let mut walk = Walk::of_own(self, rule, &query, caller);
        if let Some(id) = derived
            && let Some(stored) = self.store.read_derived(rule.name, id).await?
            && !stored.deleted
            && stored.owner == caller.principal.client
            && let Sight::Visible(found) = self.hit(caller, &walk, &query, stored, &mut gathered).await?
        {
            gathered.hits.push((found.content.stored.clone(), found.basis));
            self.record_query(caller, rule.name, pairs, &gathered).await?;
            return Ok(Some(found.content.stored));
        }
        if let Some(patient) = patient {
            walk.plan.patients = Some(vec![patient]);
            walk.plan.order.by = OrderBy::Date;
            (walk.is_bound, walk.plan.scan_budget) = (true, usize::MAX);
        }
        let wish = Wish { limit: 2, whole: false };
        self.gather_hits(caller, &query, &mut walk, wish, &mut gathered).await?;
        self.record_query(caller, rule.name, pairs, &gathered).await?;
        let mut hits = gathered.hits.into_iter().map(|(stored, _)| stored);
        match (hits.next(), hits.next()) {
            (_, Some(_)) => {
                Err(Refusal::one(Id::MultipleMatches, rule.name, "The condition names more than one resource."))
            }
            (found, None) => Ok(found),
        }
    }
}
