//! The resource types that this gateway takes in, and whose they are.
//!
//! A type that is not in the table is not stored: what nobody has said the patient of, no consent can guard. The
//! CapabilityStatement is built from the same rows.

/// Where a type names its patient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// The resource is the patient.
    Itself,
    /// A reference that must be there.
    Required(&'static str),
    /// A reference that may be there.
    Optional(&'static str),
    /// It belongs to no single person.
    Nobody,
}

/// What lets a client write and read a resource of the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// The client that registered it; others by consent.
    Owner,
    /// The person's consent alone, also for the client that sent it.
    Consent,
}

/// One type.
#[derive(Clone, Copy, Debug)]
pub struct KindRule {
    pub name: &'static str,
    pub subject: Subject,
    pub guard: Guard,
    /// Whether destinations may receive it.
    pub deliverable: bool,
    /// Clients may write it; audit events and provenance are the gateway's own.
    pub writable: bool,
}

/// Every type, in alphabetical order.
pub const KINDS: &[KindRule] = &[
    KindRule {
        name: "AuditEvent",
        subject: Subject::Required("agent"),
        guard: Guard::Owner,
        deliverable: false,
        writable: false,
    },
    KindRule {
        name: "Consent",
        subject: Subject::Required("patient"),
        guard: Guard::Owner,
        deliverable: false,
        writable: true,
    },
    KindRule {
        name: "Device",
        subject: Subject::Optional("patient"),
        guard: Guard::Owner,
        deliverable: true,
        writable: true,
    },
    KindRule { name: "Group", subject: Subject::Nobody, guard: Guard::Owner, deliverable: false, writable: true },
    KindRule {
        name: "List",
        subject: Subject::Required("subject"),
        guard: Guard::Owner,
        deliverable: false,
        writable: true,
    },
    KindRule {
        name: "Observation",
        subject: Subject::Required("subject"),
        guard: Guard::Consent,
        deliverable: true,
        writable: true,
    },
    KindRule { name: "Patient", subject: Subject::Itself, guard: Guard::Owner, deliverable: false, writable: true },
    KindRule {
        name: "Provenance",
        subject: Subject::Required("agent"),
        guard: Guard::Consent,
        deliverable: false,
        writable: false,
    },
    KindRule {
        name: "QuestionnaireResponse",
        subject: Subject::Required("subject"),
        guard: Guard::Consent,
        deliverable: true,
        writable: true,
    },
];

pub fn kind(name: &str) -> Option<&'static KindRule> {
    KINDS.iter().find(|rule| rule.name == name)
}
