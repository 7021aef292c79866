//! What a person does on the page about the own data: nothing that a client could not be refused, and everything that is
//! the person's right, whatever clients are permitted.
//!
//! A client that is registered for it (`visits`) has established who the person is and opens the visit with a link that
//! works once. From then on the page speaks for the person: a [`Person`] is the proof, which only `visiting` makes.

mod choices;

use std::sync::Arc;

pub use choices::{Choice, Choices, Made, Party, PartyKind, Receives, State};

use serde_json::Value;

use super::rights::{Export, Form};
use super::trail::{Act, Author};
use super::{Caller, Gateway, Refusal, is_id};
use crate::fhir::outcome::Id;
use crate::policy::access::client::Client;
use crate::policy::access::visit::{self, Pass, Visit};
use crate::policy::access::{Interaction, Principal, Scopes};
use crate::store::PatientKey;

/// The purpose for which the person sees the own data (v3-ActReason: patient requested).
const PURPOSE: &str = "PATRQT";

/// A link that opens the page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    pub url: String,
    pub expires_ms: i64,
}

/// A session that was just begun.
pub struct Begun {
    pub session: String,
    pub lifetime_s: i64,
}

/// Somebody who visits the page about the own data.
pub struct Person {
    client: Arc<Client>,
    patient: String,
    key: PatientKey,
    /// Acts as the client that registered the person, in the person's name.
    principal: Principal,
    /// Names the session towards the forms of the page.
    session: String,
}

impl Person {
    /// What people call the client that opened the page.
    pub fn client_name(&self) -> &str {
        &self.client.name
    }

    pub(super) fn key(&self) -> PatientKey {
        self.key
    }

    /// Logical id and key.
    pub(super) fn about(&self) -> (String, PatientKey) {
        (self.patient.clone(), self.key)
    }

    /// Of this visit alone.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    pub(super) fn caller<'p>(&'p self, visitor: Visitor<'p>) -> Caller<'p> {
        Caller {
            principal: &self.principal,
            request_id: visitor.request_id,
            purpose: PURPOSE,
            address: Some(visitor.address),
            looked_at: None,
        }
    }
}

/// By what the audit knows a visitor's request.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    pub request_id: &'a str,
    pub address: &'a str,
}

impl Gateway {
    /// `POST [base]/Patient/[id]/$visit`: a link for the person, from the client that registered the person.
    pub async fn open_visit(&self, caller: &Caller<'_>, patient: &str) -> Result<Opened, Refusal> {
        if let Err(denied) = caller.principal.permits("Patient", Interaction::Read) {
            return Err(self.refused(caller, denied.issue().into()).await);
        }
        let client = self.client(&caller.principal.client).await?;
        if !client.is_some_and(|client| client.visits) {
            let text = "The client is not registered for opening a person's page (client add --visits).";
            return Err(self.refused(caller, Refusal::one(Id::ScopeInsufficient, "", text)).await);
        }
        if !is_id(patient) || !self.is_used_by(caller, patient).await? {
            return Err(self.refused(caller, Refusal::not_found()).await);
        }
        let visit = self.visit(caller.principal.client.clone(), patient.to_owned(), Pass::Link);
        let link = visit::issue(Pass::Link, &visit, &self.base, &self.token_secret);
        let about = (patient.to_owned(), self.patient_key(patient));
        // That the person opened the page is told when she does.
        let author = Author::of(self, caller).with_query(&format!("Patient/{patient}/$visit"), &[]);
        let record = author.record(Act::Operation, Some(&about), &[], None, &[]);
        self.store.record_audit(vec![record]).await?;
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("link", &link).finish();
        Ok(Opened { url: format!("{}/enter?{query}", self.person_page()), expires_ms: visit.expires_ms })
    }

    /// Address of the page.
    pub fn person_page(&self) -> String {
        format!("{}/person", self.base.strip_suffix("/fhir").unwrap_or(&self.base))
    }

    /// Turns a link into a session. A link that was used opens nothing more.
    pub async fn enter(&self, link: &str, visitor: Visitor<'_>) -> Result<Begun, Refusal> {
        let now_ms = self.now_ms();
        let visit = visit::verify(Pass::Link, link, &self.base, &self.token_secret, now_ms)
            .map_err(|denied| Refusal::from(denied.issue()))?;
        self.visits_for(&visit).await?;
        let issuer = format!("visit {}", visit.client);
        if !self.store.remember_jti(&issuer, &visit.id, visit.expires_ms, now_ms).await? {
            return Err(Refusal::one(Id::TokenInvalid, "", "The link was used before."));
        }
        let session = self.visit(visit.client, visit.patient, Pass::Session);
        let session = visit::issue(Pass::Session, &session, &self.base, &self.token_secret);
        let person = self.visiting(&session).await?;
        let about = (person.patient.clone(), person.key);
        let record = Author::of(self, &person.caller(visitor)).record(Act::Login, Some(&about), &[], None, &[]);
        self.store.record_audit(vec![record]).await?;
        Ok(Begun { session, lifetime_s: Pass::Session.lifetime_s() })
    }

    /// The person that a session stands for.
    pub async fn visiting(&self, session: &str) -> Result<Person, Refusal> {
        let visit = visit::verify(Pass::Session, session, &self.base, &self.token_secret, self.now_ms())
            .map_err(|denied| Refusal::from(denied.issue()))?;
        let client = self.visits_for(&visit).await?;
        let registered = self.store.heading("Patient", &visit.patient).await?;
        if !registered.is_some_and(|stored| !stored.deleted && stored.owner == visit.client) {
            return Err(Refusal::one(Id::TokenInvalid, "", "The person is not registered here any more."));
        }
        let key = self.patient_key(&visit.patient);
        let principal = Principal {
            client: visit.client,
            actor: Arc::from(format!("Patient/{}", visit.patient)),
            scopes: Scopes::parse("system/Consent.cru system/AuditEvent.s")
                .map_err(|_| Refusal::one(Id::Internal, "", "No scopes."))?,
            purposes: vec![PURPOSE.to_owned()],
            expires_ms: visit.expires_ms,
            guide: client.guide.as_deref().map(Arc::from),
            deidentified: false,
        };
        Ok(Person { client, patient: visit.patient, key, principal, session: visit.id })
    }

    /// A page of who did what with the person's data.
    pub async fn log_of(&self, person: &Person, visitor: Visitor<'_>, page: Option<&str>) -> Result<Value, Refusal> {
        let pairs: Vec<(String, String)> = page.map(|page| ("_page".to_owned(), page.to_owned())).into_iter().collect();
        self.access_log(&person.caller(visitor), &person.patient, &pairs).await
    }

    /// Everything that is held of the person.
    pub async fn export_of(self: &Arc<Self>, person: &Person, visitor: Visitor<'_>) -> Result<Export, Refusal> {
        self.export(&person.caller(visitor), &person.patient, Form::Lines).await
    }

    /// Forgets the person; the receipt.
    pub async fn erase_person(&self, person: &Person, visitor: Visitor<'_>) -> Result<Value, Refusal> {
        self.erase(&person.caller(visitor), &person.patient).await
    }

    /// What a form of the page carries, so that no other page can send it.
    pub fn form_seal(&self, person: &Person) -> String {
        self.seal(person).to_hex().to_string()
    }

    /// Whether a form was of the page that this visit was shown.
    pub fn is_sealed(&self, person: &Person, seal: &str) -> bool {
        // Hashes are compared in constant time.
        blake3::Hash::from_hex(seal).is_ok_and(|seal| seal == self.seal(person))
    }

    fn seal(&self, person: &Person) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.token_secret);
        hasher.update(b"form of a visit\0").update(person.session.as_bytes());
        hasher.finalize()
    }

    fn visit(&self, client: Arc<str>, patient: String, pass: Pass) -> Visit {
        let mut entropy = [0; 16];
        (self.entropy)(&mut entropy);
        let id = entropy.iter().map(|byte| format!("{byte:02x}")).collect();
        Visit { client, patient, id, expires_ms: self.now_ms() + pass.lifetime_s() * 1000 }
    }

    /// The client of a visit, if it may still open visits.
    async fn visits_for(&self, visit: &Visit) -> Result<Arc<Client>, Refusal> {
        let client = self.client(&visit.client).await?;
        client.filter(|client| client.visits && !client.suspended).ok_or_else(|| {
            Refusal::one(Id::TokenInvalid, "", "The client that opened the page may not do so any more.")
        })
    }
}
