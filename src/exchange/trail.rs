//! The exchange's side of the audit: who did what, turned into records that go into the same transaction.

use std::sync::Arc;

use super::gist::Gist;
use super::said;
use super::{Caller, Entropy, Gateway, Refusal};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json};
use crate::policy::audit::{self, Entity, Kind, Merged, Outcome, Party, Role};
use crate::policy::consent::{Basis, Implicit};
use crate::store::{AuditRecord, PatientKey, ResId, Stored};

/// What the exchange tells the audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    Create,
    Update,
    Delete,
    Read,
    Query,
    /// An operation, which the query names.
    Operation,
    /// A request or an entry was turned away.
    Refuse,
    /// A delivery did not take place because the person's consent does not cover it.
    Withhold,
    Disclose,
    /// A destination was asked about a person, and so heard who she is.
    LookUp,
    /// A destination was told that it may no longer hold what it was sent.
    Recall,
    Login,
}

impl Gateway {
    /// Records that a request was turned away, if nobody did yet, and hands the refusal on.
    pub async fn refused(&self, caller: &Caller<'_>, refusal: Refusal) -> Refusal {
        if refusal.on_record {
            return refusal;
        }
        match self.refused_for(caller, &refusal.ids()).await {
            Ok(()) => refusal.recorded(),
            Err(fault) => fault,
        }
    }

    /// Records that a request was turned away for these reasons; the error is that it could not be recorded.
    pub async fn refused_for(&self, caller: &Caller<'_>, issues: &[Id]) -> Result<(), Refusal> {
        let record = Author::of(self, caller).record(Act::Refuse, None, &[], None, issues);
        Ok(self.store.record_audit(vec![record]).await?)
    }
}

/// Writes audit records for one caller and one moment. Owned, because the store's writer finishes them.
#[derive(Clone)]
pub(super) struct Author {
    client: Arc<str>,
    actor: Arc<str>,
    request_id: String,
    purpose: String,
    observer: String,
    address: Option<String>,
    at_ms: i64,
    query: Option<String>,
    /// Whether what it discloses names the person by a pseudonym.
    pseudonym: bool,
    /// The country pack that shaped what it discloses.
    pack: Option<String>,
    entropy: Entropy,
}

impl Author {
    pub fn of(gateway: &Gateway, caller: &Caller<'_>) -> Self {
        Author {
            client: caller.principal.client.clone(),
            actor: caller.principal.actor.clone(),
            request_id: caller.request_id.to_owned(),
            purpose: caller.purpose.to_owned(),
            observer: gateway.base.clone(),
            address: caller.address.map(str::to_owned),
            at_ms: gateway.now_ms(),
            query: None,
            pseudonym: false,
            pack: None,
            entropy: gateway.entropy.clone(),
        }
    }

    pub fn client(&self) -> &Arc<str> {
        &self.client
    }

    /// The reference by which consents name who acts.
    pub fn actor(&self) -> &Arc<str> {
        &self.actor
    }

    /// The moment of which it tells.
    pub fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// For what the gateway does by itself towards a destination.
    pub fn destination(gateway: &Gateway, name: &str, actor: &str, purpose: &str, request_id: String) -> Self {
        Author {
            client: Arc::from(name),
            actor: Arc::from(actor),
            request_id,
            purpose: purpose.to_owned(),
            observer: gateway.base.clone(),
            address: None,
            at_ms: gateway.now_ms(),
            query: None,
            pseudonym: false,
            pack: None,
            entropy: gateway.entropy.clone(),
        }
    }

    /// For what the gateway does by itself with what it keeps.
    pub fn itself(gateway: &Gateway) -> Self {
        Author::destination(gateway, "", "", "", String::new())
    }

    /// The same with the address that it has.
    pub fn at(self, address: &str) -> Self {
        Author { address: Some(address.to_owned()), ..self }
    }

    /// The same, for whoever may not know whose data it gets.
    pub fn by_pseudonym(self, pseudonym: bool) -> Self {
        Author { pseudonym, ..self }
    }

    /// The same, for whoever is told by a country pack.
    pub fn shaped_by(self, pack: Option<String>) -> Self {
        Author { pack, ..self }
    }

    /// For whoever did not prove who it is.
    pub fn stranger(gateway: &Gateway, request_id: &str) -> Self {
        Author::destination(gateway, "", "", "", request_id.to_owned())
    }

    /// A refusal of which the person learns and the client does not: to it, what was withheld is absent.
    pub fn withheld(&self, patient: &(String, PatientKey), basis: Option<&Basis>, issue: Id) -> AuditRecord {
        self.record(Act::Refuse, Some(patient), &[], basis, &[issue]).kept_from_client()
    }

    pub fn refusal(&self, issues: &[Id]) -> AuditRecord {
        self.record(Act::Refuse, None, &[], None, issues)
    }

    /// One event for many refusals.
    pub fn merged(&self, merged: Merged) -> AuditRecord {
        let told = Author { request_id: String::new(), ..self.clone() };
        told.rendered(Act::Refuse, None, &[], None, &[], Some(merged))
    }

    pub fn with_query(mut self, kind: &str, pairs: &[(String, String)]) -> Self {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.query = Some(format!("{kind}?{query}"));
        self
    }

    /// Id of the patient that a stored resource belongs to, as the resource itself names it.
    pub fn patient_of(stored: &Stored) -> String {
        if &*stored.kind == "Patient" {
            return stored.logical_id();
        }
        if let Some(gist) = stored.gist.as_deref().and_then(Gist::read) {
            return said::patient(&gist.person()).to_owned();
        }
        let Ok(document) = json::parse(stored.payload.as_slice()) else { return String::new() };
        said::patient_named(Element::root(&document)).to_owned()
    }

    pub fn record(
        &self,
        act: Act,
        patient: Option<&(String, PatientKey)>,
        references: &[String],
        basis: Option<&Basis>,
        issues: &[Id],
    ) -> AuditRecord {
        self.rendered(act, patient, references, basis, issues, None)
    }

    fn rendered(
        &self,
        act: Act,
        patient: Option<&(String, PatientKey)>,
        references: &[String],
        basis: Option<&Basis>,
        issues: &[Id],
        merged: Option<Merged>,
    ) -> AuditRecord {
        let mut told: Vec<Id> = Vec::new();
        for id in issues {
            // A thousand entries may fail for one reason.
            if !told.contains(id) {
                told.push(*id);
            }
        }
        let issues = told.as_slice();
        let (mut entropy, mut salt) = ([0; 16], [0; 32]);
        (self.entropy)(&mut entropy);
        (self.entropy)(&mut salt);
        let id = ResId::random(patient.map(|(_, key)| *key), crate::fhir::tree::time::day_number(self.at_ms), entropy);
        let kind = match act {
            Act::Create => Kind::Create,
            Act::Update => Kind::Update,
            Act::Delete => Kind::Delete,
            Act::Read => Kind::Read,
            Act::Query => Kind::Query,
            Act::Operation => Kind::Operation,
            Act::Refuse | Act::Withhold => Kind::Refusal,
            Act::Disclose => Kind::Disclosure,
            Act::LookUp => Kind::Lookup,
            Act::Recall => Kind::Recall,
            Act::Login if issues.is_empty() => Kind::TokenIssued,
            Act::Login => Kind::TokenRefused,
        };
        let entities: Vec<Entity<'_>> =
            references.iter().map(|reference| Entity { reference, role: Role::DomainResource }).collect();
        let patient_reference = patient.map(|(id, _)| format!("Patient/{id}"));
        let consent = basis.and_then(Basis::by_consent).map(|(id, version)| format!("Consent/{id}/_history/{version}"));
        let policy = basis.and_then(Basis::by_policy).map(Implicit::url);
        let payload = audit::event(&audit::Facts {
            id: &id.to_string(),
            kind,
            recorded_ms: self.at_ms,
            party: (!self.client.is_empty()).then_some(Party {
                id: &self.client,
                actor: Some(&self.actor),
                address: self.address.as_deref(),
            }),
            observer: &self.observer,
            patient: patient_reference.as_deref(),
            entities: &entities,
            consent: consent.as_deref(),
            policy: policy.as_deref(),
            purpose: Some(self.purpose.as_str()).filter(|purpose| !purpose.is_empty()),
            request: &self.request_id,
            outcome: if issues.is_empty() && merged.is_none() { Outcome::Success } else { Outcome::MinorFailure },
            query: self.query.as_deref(),
            pack: self.pack.as_deref().filter(|_| matches!(act, Act::Disclose | Act::LookUp)),
            pseudonym: self.pseudonym && matches!(act, Act::Disclose | Act::Recall),
            issues,
            merged,
        });
        AuditRecord {
            at_ms: self.at_ms,
            patient: patient.map(|(_, key)| *key),
            client: self.client.clone(),
            id,
            payload: payload.into_bytes(),
            salt: AuditRecord::salt(salt),
        }
    }
}
