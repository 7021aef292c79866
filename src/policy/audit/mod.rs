//! Facts of what happened, as FHIR R4 AuditEvents after the IHE Basic Audit Log Patterns (BALP 1.1).
//!
//! One call writes one compact JSON text, ready to be committed in the transaction that it tells of. The server
//! observes, so agents stand from its view: for create, update and query the client is the source, for read it is
//! the destination, for delete it is the application. A BALP profile is claimed only where the event satisfies it:
//! success, a known patient or none, and a network address for every agent. Which consent a decision rested on
//! stands in the same event as an entity `Consent`, so that one record answers who, what and by what right.
//! A refusal names issue ids only, never what was sent. No sending, no storing, no clock.

use crate::fhir::outcome::Id;

mod event;
mod redacted;
mod strangers;
mod text;

pub use event::{PSEUDONYM, event};
pub use redacted::redacted;
pub use strangers::{Merged, Strangers, Told};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Create,
    Update,
    Delete,
    Read,
    Query,
    /// Something else that was done, which the query names.
    Operation,
    /// A delivery to another controller, after its acknowledgement or final failure (BALP PrivacyDisclosure.Source).
    Disclosure,
    /// A destination was asked about a person, which tells it who she is.
    Lookup,
    /// A receiver was told that it may no longer hold what it was sent.
    Recall,
    /// A request that was turned away before anything happened.
    Refusal,
    TokenIssued,
    TokenRefused,
}

/// `AuditEvent.outcome`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Success,
    /// 4: the request was wrong or not allowed; the requester can mend it.
    MinorFailure,
    /// 8: the system failed, or gave up.
    SeriousFailure,
}

/// The part that an object plays (<http://terminology.hl7.org/CodeSystem/object-role>).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// 3, a report or document.
    Report,
    /// 4, any other resource.
    DomainResource,
    /// 20, a job such as an export.
    Job,
}

/// Something that was touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entity<'a> {
    /// With version where one exists: `Observation/1/_history/2`.
    pub reference: &'a str,
    pub role: Role,
}

/// The other side: the caller, or the destination of a disclosure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Party<'a> {
    /// Client id or destination name; printable, ours to give.
    pub id: &'a str,
    /// The reference by which Consents name it.
    pub actor: Option<&'a str>,
    /// IP address or URL.
    pub address: Option<&'a str>,
}

/// Everything that one event is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Logical id of the event.
    pub id: &'a str,
    pub kind: Kind,
    pub recorded_ms: i64,
    /// None where nobody could be identified.
    pub party: Option<Party<'a>>,
    /// Our own name as observer: a host name or base URL.
    pub observer: &'a str,
    /// `Patient/id`.
    pub patient: Option<&'a str>,
    pub entities: &'a [Entity<'a>],
    /// `Consent/id/_history/version` that the decision rests on.
    pub consent: Option<&'a str>,
    /// Address of the policy that it rests on where there is no consent.
    pub policy: Option<&'a str>,
    /// v3-ActReason code.
    pub purpose: Option<&'a str>,
    /// Our id of the request, as sent back in X-Request-Id; empty where there is no single one.
    pub request: &'a str,
    pub outcome: Outcome,
    /// The search as it was sent; recorded in base64 as the pattern asks.
    pub query: Option<&'a str>,
    /// Whether what was disclosed names the person by a pseudonym.
    pub pseudonym: bool,
    /// Id, version and digest of the country pack that shaped what was disclosed.
    pub pack: Option<&'a str>,
    pub issues: &'a [Id],
    /// Refusals that this event tells of all at once.
    pub merged: Option<Merged>,
}

#[cfg(test)]
mod tests;
