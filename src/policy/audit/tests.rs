//! Audit events as BALP wants them, from the facts of each kind.

use serde_json::Value;

use super::*;

fn facts(kind: Kind) -> Facts<'static> {
    Facts {
        id: "1",
        kind,
        recorded_ms: 1_780_000_000_042,
        party: Some(Party { id: "acme", actor: Some("Organization/acme"), address: Some("2001:db8::7") }),
        observer: "https://gateway.example/fhir",
        patient: Some("Patient/p1"),
        entities: &[Entity { reference: "Observation/o1/_history/1", role: Role::DomainResource }],
        policy: None,
        consent: Some("Consent/c1/_history/3"),
        purpose: Some("TREAT"),
        request: "r-1",
        outcome: Outcome::Success,
        query: None,
        pseudonym: false,
        pack: None,
        issues: &[],
        merged: None,
    }
}

fn query() -> Facts<'static> {
    Facts { entities: &[], query: Some("Observation?patient=Patient/p1&code=a|b"), ..facts(Kind::Query) }
}

fn refusal() -> Facts<'static> {
    Facts {
        id: "1",
        entities: &[],
        patient: None,
        consent: None,
        purpose: None,
        outcome: Outcome::MinorFailure,
        issues: &[Id::ConsentMissing, Id::ScopeInsufficient],
        ..facts(Kind::Refusal)
    }
}

/// What R4 demands of every AuditEvent, whatever it tells.
fn check_required(facts: &Facts<'_>) -> Value {
    let text = event(facts);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(value["resourceType"], "AuditEvent");
    assert!(value["type"]["code"].is_string() && value["type"]["system"].is_string(), "{text}");
    assert_eq!(value["recorded"], "2026-05-28T20:26:40.042Z");
    assert!(["0", "4", "8"].contains(&value["outcome"].as_str().unwrap()));
    assert!(["C", "R", "U", "D", "E"].contains(&value["action"].as_str().unwrap()));
    assert!(value["source"]["observer"]["display"].is_string());
    let agents = value["agent"].as_array().unwrap();
    assert_eq!(agents.iter().filter(|agent| agent["requestor"] == true).count(), 1, "{text}");
    assert!(agents.iter().all(|agent| agent["requestor"].is_boolean() && agent["who"].is_object()));
    // sev-1: an entity has a name or a query, never both.
    assert!(value["entity"].as_array().unwrap().iter().all(|entity| entity["type"].is_object()));
    assert!(no_empty(&value), "{text}");
    value
}

fn no_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => !members.is_empty() && members.values().all(no_empty),
        Value::Array(items) => !items.is_empty() && items.iter().all(no_empty),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

#[test]
fn rest_patterns_put_each_agent_in_its_place() {
    for (facts, profile, action, subtype, client, server) in [
        (facts(Kind::Create), "PatientCreate", "C", "create", "110153", "110152"),
        (facts(Kind::Update), "PatientUpdate", "U", "update", "110153", "110152"),
        (facts(Kind::Delete), "PatientDelete", "D", "delete", "110150", "custodian"),
        (facts(Kind::Read), "PatientRead", "R", "read", "110152", "110153"),
        (query(), "PatientQuery", "E", "search", "110153", "110152"),
        (Facts { patient: None, ..facts(Kind::Create) }, "Create", "C", "create", "110153", "110152"),
        (facts(Kind::Disclosure), "PrivacyDisclosure.Source", "R", "disclose", "110152", "110153"),
    ] {
        let value = check_required(&facts);
        let claimed = value["meta"]["profile"][0].as_str().unwrap();
        assert_eq!(claimed, format!("https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{profile}"));
        assert_eq!((value["action"].as_str(), value["subtype"][0]["code"].as_str()), (Some(action), Some(subtype)));
        assert_eq!(value["agent"][0]["type"]["coding"][0]["code"], client, "{profile}");
        assert_eq!(value["agent"][1]["type"]["coding"][0]["code"], server, "{profile}");
        assert!(value["agent"].as_array().unwrap().iter().all(|agent| agent["network"]["type"].is_string()));
    }
}

#[test]
fn basis_and_purpose_stand_in_the_event() {
    let value = check_required(&facts(Kind::Create));
    let entities = value["entity"].as_array().unwrap();
    let of = |code: &str| entities.iter().find(|entity| entity["type"]["code"] == code).unwrap();
    assert_eq!(of("Consent")["what"]["reference"], "Consent/c1/_history/3");
    assert_eq!(of("XrequestId")["what"]["identifier"]["value"], "r-1");
    assert_eq!(of("2")["what"]["reference"], "Observation/o1/_history/1");
    assert_eq!(of("1")["what"]["reference"], "Patient/p1");
    assert_eq!(value["purposeOfEvent"][0]["coding"][0]["code"], "TREAT");
    assert_eq!(value["agent"][0]["who"]["reference"], "Organization/acme");
    assert_eq!(value["agent"][0]["network"]["type"], "2");
    assert_eq!(value["agent"][1]["network"]["type"], "5");
}

#[test]
fn queries_are_kept_in_base64() {
    let value = check_required(&query());
    let entity = value["entity"].as_array().unwrap().iter().find(|entity| entity["query"].is_string()).unwrap();
    assert_eq!(entity["query"], "T2JzZXJ2YXRpb24/cGF0aWVudD1QYXRpZW50L3AxJmNvZGU9YXxi");
    assert_eq!(entity["role"]["code"], "24");
}

#[test]
fn refusals_and_tokens_claim_no_profile_and_name_ids_only() {
    let value = check_required(&refusal());
    assert_eq!(value["outcome"], "4");
    assert_eq!(value["outcomeDesc"], "consent-missing scope-insufficient");
    assert_eq!(value["type"]["code"], "110113");
    assert!(value["meta"].is_null());
    for (kind, outcome, code) in
        [(Kind::TokenIssued, Outcome::Success, "0"), (Kind::TokenRefused, Outcome::SeriousFailure, "8")]
    {
        let value = check_required(&Facts { kind, outcome, issues: &[], ..refusal() });
        assert_eq!((value["type"]["code"].as_str(), value["outcome"].as_str()), (Some("110114"), Some(code)));
        assert_eq!(value["subtype"][0]["code"], "110122");
    }
}

#[test]
fn profile_is_claimed_only_when_satisfied() {
    let unaddressed = Party { id: "acme", actor: None, address: None };
    let two = [Entity { reference: "Observation/o1", role: Role::DomainResource }; 2];
    for facts in [
        Facts { party: None, ..facts(Kind::Create) },
        Facts { party: Some(unaddressed), ..facts(Kind::Create) },
        Facts { outcome: Outcome::SeriousFailure, ..facts(Kind::Create) },
        Facts { entities: &[], ..facts(Kind::Read) },
        Facts { entities: &two, ..facts(Kind::Read) },
        Facts { patient: None, ..facts(Kind::Disclosure) },
        Facts { query: None, ..query() },
    ] {
        assert!(check_required(&facts)["meta"].is_null(), "{facts:?}");
    }
}

#[test]
fn text_from_outside_is_escaped() {
    let party = Party { id: "a\"b\\c\n{[", actor: None, address: Some("1.2.3.4") };
    let value = check_required(&Facts { party: Some(party), request: "x\",\"y\":\"[", ..facts(Kind::Read) });
    assert_eq!(value["agent"][0]["who"]["identifier"]["value"], party.id);
    assert_eq!(value["entity"][0]["what"]["identifier"]["value"], "x\",\"y\":\"[");
}

#[test]
fn what_many_strangers_were_refused_is_one_event_without_request() {
    let merged = Some(Merged { count: 17, since_ms: 1_780_000_000_000 });
    let value = check_required_but_entity(&Facts { party: None, request: "", merged, ..refusal() });
    assert_eq!(value["outcomeDesc"], "17 more refusals of strangers since 2026-05-28T20:26:40.000Z");
    assert!(value.get("entity").is_none());
    let one = check_required(&Facts { party: None, ..refusal() });
    assert_eq!(one["outcomeDesc"], "consent-missing scope-insufficient");
    assert_eq!(one["agent"].as_array().unwrap().len(), 1, "nobody is named");
}

fn check_required_but_entity(facts: &Facts<'_>) -> Value {
    let value: Value = serde_json::from_str(&event(facts)).unwrap();
    assert!(no_empty(&value), "{value}");
    value
}
