//! Updates and deletes of what a search names (R4 §3.1.0.4.3, §3.1.0.7.1): the search decides which resource is meant, and from
//! there on it is the update or delete of that one.

use super::{Intent, Kept, When, prepare};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element};

type Pairs = [(String, String)];

impl Gateway {
    /// `PUT [base]/[type]?…`.
    pub async fn update_matching(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        pairs: &Pairs,
        document: Document,
        when: When,
    ) -> Result<Kept, Refusal> {
        match self.intended(caller, kind, pairs, Element::root(&document), when).await {
            Ok(intent) => self.push_one(caller, kind, document, intent, None).await,
            Err(refusal) => Err(self.refused(caller, refusal).await),
        }
    }

    /// `DELETE [base]/[type]?…`; nothing where nothing is meant.
    pub async fn delete_matching(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        pairs: &Pairs,
        when: When,
    ) -> Result<Option<Kept>, Refusal> {
        match self.doomed(caller, kind, pairs).await {
            Ok(Some(id)) => self.delete(caller, kind, &id, when).await.map(Some),
            Ok(None) => Ok(None),
            Err(refusal) => Err(self.refused(caller, refusal).await),
        }
    }

    /// What keeps a conditional create from being one.
    pub(super) async fn standing_like(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        pairs: &Pairs,
    ) -> Result<Option<Kept>, Refusal> {
        let rule = prepare::writable(kind)?;
        prepare::permitted_by_scope(caller, rule, &Intent::Create { condition: None }, kind)?;
        Ok(self.matching(caller, rule.name, pairs).await?.map(|stored| Kept::standing(stored, Vec::new())))
    }

    /// What a conditional update comes to.
    pub(super) async fn intended(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        pairs: &Pairs,
        resource: Element<'_>,
        when: When,
    ) -> Result<Intent, Refusal> {
        let rule = prepare::writable(kind)?;
        let found = self.matching(caller, rule.name, pairs).await?;
        Ok(match (found, resource.text_of("id")) {
            (Some(stored), _) => Intent::Update { id: stored.logical_id(), when: When { found: true, ..when } },
            (None, Some(id)) => Intent::Update { id: id.to_owned(), when },
            (None, None) if when.version.is_some() => {
                let text = "There is no version that If-Match could match.";
                return Err(Refusal::one(Id::VersionConflict, kind, text));
            }
            (None, None) => Intent::Create { condition: None },
        })
    }

    /// Logical id of what a conditional delete means.
    pub(super) async fn doomed(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        pairs: &Pairs,
    ) -> Result<Option<String>, Refusal> {
        let rule = prepare::writable(kind)?;
        Ok(self.matching(caller, rule.name, pairs).await?.map(|stored| stored.logical_id()))
    }
}
