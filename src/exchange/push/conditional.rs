//! Updates and deletes of what a search names (R4 §3.1.0.4.3, §3.1.0.7.1): the search decides which resource is meant, and from
//! there on it is the update or delete of that one.

use super::{Condition, Intent, Kept, When, prepare};
use crate::exchange::kinds::{KindRule, Subject};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element};
use crate::store::{PatientKey, ResId};

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
        match self.meant(caller, kind, pairs).await {
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
        let found = self.matching(caller, rule.name, pairs, (None, None)).await?;
        Ok(found.map(|stored| Kept::standing(stored, Vec::new())))
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
        let condition = Condition::of(pairs);
        let known = self.whereabouts(caller, rule, condition.as_ref(), Some(resource));
        let mut found = self.matching(caller, rule.name, pairs, known).await?;
        if let (None, (Some(id), _)) = (&found, known) {
            // What was deleted matches nothing, but its identity is taken: it comes back.
            let stored = self.store.read_derived(rule.name, id).await?;
            found = stored.filter(|stored| stored.deleted && stored.owner == caller.principal.client);
        }
        Ok(match (found, resource.text_of("id")) {
            (Some(stored), _) => Intent::Update { id: stored.logical_id(), when: When { found: true, ..when } },
            (None, Some(id)) => Intent::Update { id: id.to_owned(), when },
            (None, None) if when.version.is_some() => {
                let text = "There is no version that If-Match could match.";
                return Err(Refusal::one(Id::VersionConflict, kind, text));
            }
            // Whoever asks the same at the same moment makes the same resource.
            (None, None) => Intent::Create { condition },
        })
    }

    /// Logical id of what a conditional delete or patch means.
    pub async fn meant(&self, caller: &Caller<'_>, kind: &str, pairs: &Pairs) -> Result<Option<String>, Refusal> {
        let rule = prepare::writable(kind)?;
        let known = self.whereabouts(caller, rule, Condition::of(pairs).as_ref(), None);
        Ok(self.matching(caller, rule.name, pairs, known).await?.map(|stored| stored.logical_id()))
    }

    /// Where to look for what a condition means: under the id that its identifier gives, and with the person whose it is,
    /// since a resource stays with its person.
    fn whereabouts(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        condition: Option<&Condition>,
        resource: Option<Element<'_>>,
    ) -> (Option<ResId>, Option<PatientKey>) {
        let person = match rule.subject {
            Subject::Required(path) | Subject::Optional(path) => {
                resource.and_then(|resource| resource.get(path)?.text_of("reference"))
            }
            Subject::Itself | Subject::Nobody => None,
        };
        let patient = person.and_then(|person| self.local_reference(person, "Patient")).map(|id| self.patient_key(id));
        // What belongs to a person has no id that could be told without the person.
        let is_somebodys = matches!(rule.subject, Subject::Required(_));
        let derived = condition.filter(|_| patient.is_some() || !is_somebodys).map(|Condition { system, value }| {
            prepare::identified(&caller.principal.client, rule.name, patient, 0, system, value)
        });
        // What need not be anybody's may have become somebody's since.
        (derived, patient.filter(|_| is_somebodys))
    }
}
