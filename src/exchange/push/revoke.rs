//! `Consent/[id]/$revoke`: a person takes back what was given, in one call and by whoever could take it in.
//!
//! It becomes a version with status `inactive`, which goes the way of every update. A withdrawal must not fail because of
//! what it withdraws: where a Consent no longer meets the rules that it was taken in by, what says nothing but that it was
//! withdrawn stands in its place, and its versions stay. So it does where what is kept of it is damaged: of that its row still
//! says which it is, and whose.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Intent, Kept, When, prepare};
use crate::exchange::trail::{Act, Author};
use crate::exchange::{Caller, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json as tree};
use crate::policy::consent::{self, Status};
use crate::store::{self, PatientKey, Plan, Stored};

const KIND: &str = "Consent";

impl Gateway {
    /// Withdraws a consent. One that permits nothing any more is answered as it stands.
    pub async fn revoke(&self, caller: &Caller<'_>, id: &str) -> Result<Kept, Refusal> {
        let when = When { withdraws: true, ..When::default() };
        let intent = Intent::Update { id: id.to_owned(), when };
        let rule = prepare::writable(KIND)?;
        prepare::permitted_by_scope(caller, rule, &intent, KIND)?;
        let found = self.store.heading(KIND, id).await?;
        let Some(stored) = found.filter(|stored| !stored.deleted && stored.owner == caller.principal.client) else {
            return Err(Refusal::not_found());
        };
        if has_ended(&stored) {
            let patient = stored.patient.map(|key| (Author::patient_of(&stored), key));
            let shown = [format!("{KIND}/{id}/_history/{}", stored.version)];
            let record = Author::of(self, caller).record(Act::Read, patient.as_ref(), &shown, None, &[]);
            self.store.record_audit(vec![record]).await?;
            return Ok(Kept::standing(stored, Vec::new()));
        }
        let mut refused = None;
        for document in self.withdrawn(&stored).await? {
            let document = Arc::new(tree::parse(document.to_string())?);
            match self.checked_for(caller, KIND, &document, intent.clone()).await {
                Ok(prepared) => return self.keep_one(caller, prepared, None).await,
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        Err(refused.unwrap_or_else(|| Refusal::one(Id::Internal, "", "The withdrawal had no outcome.")))
    }

    /// What it becomes: itself but for the status, or else what every Consent has.
    async fn withdrawn(&self, stored: &Stored) -> Result<Vec<Value>, Refusal> {
        if stored.is_unread() {
            return Ok(vec![self.bare_consent(stored, "inactive").await?]);
        }
        let unread = |_| Refusal::one(Id::Internal, "", "The Consent that stands cannot be read.");
        let mut whole: Value = serde_json::from_slice(&stored.payload).map_err(unread)?;
        whole["status"] = "inactive".into();
        let bare = bare(&whole["id"], &whole["patient"]["reference"], "inactive");
        Ok(vec![whole, bare])
    }

    /// What can be said of a Consent that is damaged: which it is and whose, by its row.
    pub(super) async fn bare_consent(&self, stored: &Stored, status: &str) -> Result<Value, Refusal> {
        let person = match stored.patient {
            Some(patient) => self.registered_as(patient).await?,
            None => None,
        };
        let person = person.ok_or(store::Error::Damaged)?;
        Ok(bare(&stored.logical_id().into(), &format!("Patient/{person}").into(), status))
    }

    /// The logical id of a person's Patient, also where that is damaged.
    async fn registered_as(&self, patient: PatientKey) -> Result<Option<String>, Refusal> {
        let plan = Plan { patients: Some(vec![patient]), limit: 1, spares_damaged: true, ..Plan::of("Patient") };
        let page = self.store.search(plan).await?;
        let registered = match (page.rows.into_iter().next(), page.damaged.first()) {
            (None, Some(seq)) => self.store.current_heading(*seq).await?,
            (found, _) => found,
        };
        Ok(registered.map(|stored| stored.logical_id()))
    }
}

/// Whether it is of the past already.
fn has_ended(stored: &Stored) -> bool {
    let Ok(document) = tree::parse(stored.payload.as_slice()) else { return false };
    let status = consent::compile(Element::root(&document), stored.version).0.status();
    matches!(status, Status::Inactive | Status::Rejected | Status::EnteredInError)
}

/// What every Consent has.
fn bare(id: &Value, patient: &Value, status: &str) -> Value {
    json!({
        "resourceType": KIND,
        "id": id,
        "status": status,
        "scope": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"
        }]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
        "policyRule": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"
        }]},
    })
}
