//! `DELETE [base]/[type]/[id]` (R4 §3.1.0.7): a version that says that the resource is no more, behind which its history stays.
//!
//! What that version holds is the resource as entered in error, where its type can say so: whoever has it is told in that
//! way, by whatever leads there, and what its consent and scope were judged by can be judged still. An end must not fail
//! because of what it ends: where the resource no longer meets the rules, the little that identifies it stands in its place.
//! Of a Consent that is damaged it is what its row says.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Intent, Kept, When, prepare};
use crate::exchange::kinds::{KINDS, KindRule, Subject};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::{Id, Issue, has_errors};
use crate::fhir::tree::{Document, Element, json};
use crate::store::{self, PatientKey, Plan, Stored};

const IN_ERROR: &str = "entered-in-error";

/// What identifies a resource and is required of it.
const BARE: [&str; 14] = [
    "resourceType",
    "id",
    "status",
    "code",
    "category",
    "subject",
    "patient",
    "effectiveDateTime",
    "effectivePeriod",
    "authored",
    "questionnaire",
    "mode",
    "scope",
    "policyRule",
];

impl Gateway {
    /// Ends a resource of the caller's; one that has ended already stays as it is.
    pub async fn delete(&self, caller: &Caller<'_>, kind: &str, id: &str, when: When) -> Result<Kept, Refusal> {
        let intent = deletion(id, when);
        let ended = async {
            let document = self.ended(caller, kind, id).await?;
            self.checked_for(caller, kind, &document, intent).await
        };
        match ended.await {
            Ok(prepared) => self.keep_one(caller, prepared, None).await,
            Err(refusal) => Err(self.refused(caller, refusal).await),
        }
    }

    /// Why a resource would not be deleted; nothing where it would.
    pub async fn deletable(&self, caller: &Caller<'_>, kind: &str, id: &str) -> Vec<Issue> {
        self.ended(caller, kind, id).await.err().map(|refusal| refusal.issues).unwrap_or_default()
    }

    /// What is told of a resource once it is deleted. What is not the caller's looks like what is not there.
    pub(super) async fn ended(&self, caller: &Caller<'_>, kind: &str, id: &str) -> Result<Arc<Document>, Refusal> {
        let rule = prepare::writable(kind)?;
        prepare::permitted_by_scope(caller, rule, &deletion(id, When::default()), kind)?;
        let found = self.store.heading(rule.name, id).await?;
        let Some(stored) = found.filter(|stored| stored.owner == caller.principal.client) else {
            return Err(Refusal::not_found());
        };
        if stored.is_unread() {
            if rule.name != "Consent" {
                return Err(store::Error::Damaged.into());
            }
            return Ok(Arc::new(json::parse(self.bare_consent(&stored, IN_ERROR).await?.to_string())?));
        }
        if stored.deleted {
            return Ok(Arc::new(json::parse(stored.payload)?));
        }
        if rule.subject == Subject::Itself
            && let Some(patient) = stored.patient
            && self.has_data(patient).await?
        {
            let text = "There is data of this person, which would be nobody's.";
            return Err(Refusal::one(Id::DeleteReferenced, kind, text));
        }
        self.end_of(caller, rule, &stored).await
    }

    async fn end_of(&self, caller: &Caller<'_>, rule: &KindRule, stored: &Stored) -> Result<Arc<Document>, Refusal> {
        let unread = |_| Refusal::one(Id::Internal, "", "The resource that stands cannot be read.");
        let mut whole: Map<String, Value> = serde_json::from_slice(&stored.payload).map_err(unread)?;
        // A Patient and its like have no status.
        if let Some(status) = whole.get_mut("status") {
            *status = IN_ERROR.into();
        }
        let document = json::parse(Value::Object(whole.clone()).to_string())?;
        let root = Element::root(&document);
        let rules = self.rules(caller.principal, [root], &[]).await?;
        let report = rules.of(Some(root), &[]).check(root, &prepare::rules(self, rule.name));
        if !has_errors(&report.issues) {
            return Ok(Arc::new(document));
        }
        whole.retain(|name, _| BARE.contains(&name.as_str()));
        Ok(Arc::new(json::parse(Value::Object(whole).to_string())?))
    }

    /// Whether anything of a person stands beside the registration.
    async fn has_data(&self, patient: PatientKey) -> Result<bool, Refusal> {
        for rule in KINDS.iter().filter(|rule| rule.writable && rule.subject != Subject::Itself) {
            let plan = Plan { patients: Some(vec![patient]), limit: 1, spares_damaged: true, ..Plan::of(rule.name) };
            let page = self.store.search(plan).await?;
            if !page.rows.is_empty() || !page.damaged.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The end of a resource, as an update.
pub(super) fn deletion(id: &str, when: When) -> Intent {
    Intent::Update { id: id.to_owned(), when: When { deletes: true, ..when } }
}
