//! The AuditEvent itself, element by element in the order of its definition.

use std::net::IpAddr;

use super::text::Text;
use super::{Entity, Facts, Kind, Merged, Outcome, Party, Role};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const AUDIT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
const BALP_PROFILE: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

/// Names of country packs with their version and digest.
const PACK: &str = "https://mhealth-gateway.org/fhir/sid/pack";

type Coding = (&'static str, &'static str);

const SOURCE: Coding = (DCM, "110153");
const DESTINATION: Coding = (DCM, "110152");
const APPLICATION: Coding = (DCM, "110150");
/// Label of what left without saying whose it is.
pub const PSEUDONYM: Coding = ("http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "PSEUDED");
const CUSTODIAN: Coding = (PARTICIPANT, "custodian");

/// What is fixed by the kind of event.
struct Pattern {
    kind: Coding,
    subtype: Option<Coding>,
    /// What it was besides.
    also: Option<Coding>,
    action: &'static str,
    /// Part of the party and of this gateway.
    party: Coding,
    server: Coding,
    /// Name of the BALP pattern without patient, and with one.
    profiles: Option<(Option<&'static str>, &'static str)>,
}

impl Pattern {
    fn of(kind: Kind) -> Pattern {
        let rest = |interaction, action, party, server, plain, patient| Pattern {
            kind: (AUDIT_TYPE, "rest"),
            subtype: Some((INTERACTION, interaction)),
            also: None,
            action,
            party,
            server,
            profiles: Some((Some(plain), patient)),
        };
        let security = |code, subtype| Pattern {
            kind: (DCM, code),
            subtype,
            also: None,
            action: "E",
            party: APPLICATION,
            server: DESTINATION,
            profiles: None,
        };
        match kind {
            Kind::Create => rest("create", "C", SOURCE, DESTINATION, "Create", "PatientCreate"),
            Kind::Update => rest("update", "U", SOURCE, DESTINATION, "Update", "PatientUpdate"),
            Kind::Delete => rest("delete", "D", APPLICATION, CUSTODIAN, "Delete", "PatientDelete"),
            Kind::Read => rest("read", "R", DESTINATION, SOURCE, "Read", "PatientRead"),
            Kind::Query => rest("search", "E", SOURCE, DESTINATION, "Query", "PatientQuery"),
            Kind::Operation => Pattern {
                kind: (AUDIT_TYPE, "rest"),
                subtype: Some((INTERACTION, "operation")),
                also: None,
                action: "E",
                party: SOURCE,
                server: DESTINATION,
                profiles: None,
            },
            Kind::Disclosure => Pattern {
                kind: (DCM, "110106"),
                subtype: Some((LIFECYCLE, "disclose")),
                also: None,
                action: "R",
                party: DESTINATION,
                server: SOURCE,
                profiles: Some((None, "PrivacyDisclosure.Source")),
            },
            Kind::Lookup => {
                Pattern { also: Some((INTERACTION, "search")), profiles: None, ..Pattern::of(Kind::Disclosure) }
            }
            Kind::Recall => Pattern {
                kind: (AUDIT_TYPE, "rest"),
                subtype: Some((LIFECYCLE, "destroy")),
                also: None,
                action: "D",
                party: DESTINATION,
                server: SOURCE,
                profiles: None,
            },
            // DCM 110113 Security Alert; 110114 User Authentication with 110122 Login.
            Kind::Refusal => security("110113", None),
            Kind::TokenIssued | Kind::TokenRefused => security("110114", Some((DCM, "110122"))),
        }
    }

    /// The profile that the event satisfies with these facts. The REST patterns fix outcome 0 and one `data`
    /// entity; both kinds ask a network address of every agent.
    fn profile(&self, facts: &Facts<'_>) -> Option<&'static str> {
        let (plain, patient) = self.profiles?;
        facts.party?.address?;
        let fits = match facts.kind {
            Kind::Disclosure => !facts.entities.is_empty(),
            Kind::Query => facts.outcome == Outcome::Success && facts.query.is_some(),
            _ => facts.outcome == Outcome::Success && facts.entities.len() == 1,
        };
        if !fits {
            return None;
        }
        if facts.patient.is_some() { Some(patient) } else { plain }
    }
}

/// Writes the AuditEvent; the store gives it its id.
pub fn event(facts: &Facts<'_>) -> String {
    let pattern = Pattern::of(facts.kind);
    let mut text = Text::new();
    text.raw("{").member("resourceType", "AuditEvent").member("id", facts.id);
    if let Some(name) = pattern.profile(facts) {
        text.raw("\"meta\":{").raw("\"profile\":[").raw("").value(&format!("{BALP_PROFILE}{name}")).raw("]").raw("}");
    }
    text.raw("\"type\":").coding(pattern.kind.0, pattern.kind.1);
    if let Some((system, code)) = pattern.subtype {
        text.raw("\"subtype\":[").coding(system, code);
        if let Some((system, code)) = pattern.also {
            text.coding(system, code);
        }
        text.raw("]");
    }
    text.member("action", pattern.action).member("recorded", &instant(facts.recorded_ms));
    text.member("outcome", outcome_code(facts.outcome));
    if let Some(Merged { count, since_ms }) = facts.merged {
        let since = instant(since_ms);
        text.member("outcomeDesc", &format!("{count} more refusals of strangers since {since}"));
    } else if !facts.issues.is_empty() {
        let ids: Vec<&str> = facts.issues.iter().map(|id| id.code()).collect();
        text.member("outcomeDesc", &ids.join(" "));
    }
    if let Some(purpose) = facts.purpose {
        text.raw("\"purposeOfEvent\":[").raw("{\"coding\":[").coding(ACT_REASON, purpose).raw("]").raw("}").raw("]");
    }
    text.raw("\"agent\":[");
    agents(&mut text, &pattern, facts);
    text.raw("]");
    text.raw("\"source\":{").raw("\"observer\":{").member("display", facts.observer).raw("}");
    text.raw("\"type\":[").coding(SOURCE_TYPE, "4").raw("]").raw("}");
    if !facts.request.is_empty() || !facts.entities.is_empty() {
        text.raw("\"entity\":[");
        entities(&mut text, facts);
        text.raw("]");
    }
    text.raw("}");
    text.finish()
}

fn outcome_code(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "0",
        Outcome::MinorFailure => "4",
        Outcome::SeriousFailure => "8",
    }
}

/// R4 `instant` in UTC. A time beyond the years that jiff knows can only be a broken clock; the epoch says so.
fn instant(recorded_ms: i64) -> String {
    let timestamp = jiff::Timestamp::from_millisecond(recorded_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// The caller first. Exactly one agent is the requestor: the caller, or this gateway when it delivers.
fn agents(text: &mut Text, pattern: &Pattern, facts: &Facts<'_>) {
    let delivers = matches!(facts.kind, Kind::Disclosure | Kind::Lookup | Kind::Recall);
    if let Some(party) = facts.party {
        party_agent(text, pattern.party, &party, !delivers, facts);
    }
    agent_type(text, pattern.server);
    text.raw("\"who\":{").member("display", facts.observer).raw("}");
    text.raw(if delivers || facts.party.is_none() { "\"requestor\":true" } else { "\"requestor\":false" });
    network(text, facts.observer);
    text.raw("}");
}

fn agent_type(text: &mut Text, (system, code): Coding) {
    text.raw("{").raw("\"type\":{").raw("\"coding\":[").coding(system, code).raw("]").raw("}");
}

fn party_agent(text: &mut Text, kind: Coding, party: &Party<'_>, requestor: bool, facts: &Facts<'_>) {
    agent_type(text, kind);
    text.raw("\"who\":{");
    if let Some(actor) = party.actor {
        text.member("reference", actor);
    }
    text.raw("\"identifier\":{").member("value", party.id).raw("}").raw("}");
    text.raw(if requestor { "\"requestor\":true" } else { "\"requestor\":false" });
    if let Some(policy) = facts.policy {
        text.raw("\"policy\":[").raw("").value(policy).raw("]");
    }
    if let Some(address) = party.address {
        network(text, address);
    }
    if let (true, Some(purpose)) = (requestor, facts.purpose) {
        text.raw("\"purposeOfUse\":[").raw("{\"coding\":[").coding(ACT_REASON, purpose).raw("]").raw("}").raw("]");
    }
    text.raw("}");
}

/// `network.type`: 1 machine name, 2 IP address, 5 URI.
fn network(text: &mut Text, address: &str) {
    let kind = if address.contains("://") {
        "5"
    } else if address.parse::<IpAddr>().is_ok() {
        "2"
    } else {
        "1"
    };
    text.raw("\"network\":{").member("address", address).member("type", kind).raw("}");
}

fn entities(text: &mut Text, facts: &Facts<'_>) {
    if !facts.request.is_empty() {
        text.raw("{").raw("\"what\":{").raw("\"identifier\":{").member("value", facts.request).raw("}").raw("}");
        text.raw("\"type\":").coding(BALP_ENTITY, "XrequestId").raw("}");
    }
    if let Some(pack) = facts.pack {
        text.raw("{")
            .raw("\"what\":{")
            .raw("\"identifier\":{")
            .member("system", PACK)
            .member("value", pack)
            .raw("}")
            .raw("}");
        text.raw("\"type\":").coding(ENTITY_TYPE, "4").raw("}");
    }
    for Entity { reference, role } in facts.entities {
        let role = match role {
            Role::Report => "3",
            Role::DomainResource => "4",
            Role::Job => "20",
        };
        // The pattern of a query has one object of the system, which is the query itself.
        let kind = match reference.split_once('/') {
            Some((kind, _)) if facts.kind == Kind::Query => (RESOURCE_TYPES, kind),
            _ => (ENTITY_TYPE, "2"),
        };
        object(text, reference, kind, Some(role), facts.pseudonym);
    }
    if let Some(query) = facts.query {
        text.raw("{").raw("\"type\":").coding(ENTITY_TYPE, "2").raw("\"role\":").coding(OBJECT_ROLE, "24");
        text.base64_member("query", query).raw("}");
    }
    if let Some(consent) = facts.consent {
        object(text, consent, (RESOURCE_TYPES, "Consent"), None, false);
    }
    if let Some(patient) = facts.patient {
        object(text, patient, (ENTITY_TYPE, "1"), Some("1"), false);
    }
}

fn object(text: &mut Text, reference: &str, kind: (&str, &str), role: Option<&str>, pseudonym: bool) {
    text.raw("{").raw("\"what\":{").member("reference", reference).raw("}");
    text.raw("\"type\":").coding(kind.0, kind.1);
    if let Some(role) = role {
        text.raw("\"role\":").coding(OBJECT_ROLE, role);
    }
    if pseudonym {
        text.raw("\"securityLabel\":[").coding(PSEUDONYM.0, PSEUDONYM.1).raw("]");
    }
    text.raw("}");
}
