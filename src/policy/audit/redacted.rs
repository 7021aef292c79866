//! What stays of an event about a person who was erased: that something happened, when, of what kind, who did it and for
//! what purpose (GDPR Art. 17(3)(b) and (e)); not on what, with what search, or from where.

use serde_json::{Value, json};

/// The event without its content. What cannot be read leaves nothing.
pub fn redacted(event: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(event).unwrap_or_else(|_| json!({}));
    if let Some(event) = value.as_object_mut() {
        for name in ["entity", "meta", "text", "contained", "extension"] {
            event.remove(name);
        }
    }
    for agent in value["agent"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        agent.remove("network");
        let is_person = |who: &Value| who["reference"].as_str().is_some_and(|who| who.contains("Patient/"));
        if agent.get("who").is_some_and(is_person) {
            agent.remove("who");
        }
    }
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_when_stay_and_what_goes() {
        let event = json!({
            "resourceType": "AuditEvent", "id": "1", "meta": {"profile": ["x"]}, "action": "R",
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [
                {"who": {"reference": "Organization/clinic"}, "requestor": true, "network": {"address": "::1"}},
                {"who": {"reference": "Patient/secret"}, "requestor": false},
            ],
            "entity": [{"what": {"reference": "Observation/secret"}}, {"query": "c2VjcmV0"}],
        });
        let left: Value = serde_json::from_slice(&redacted(event.to_string().as_bytes())).unwrap();
        let expected = json!({
            "resourceType": "AuditEvent", "id": "1", "action": "R", "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"reference": "Organization/clinic"}, "requestor": true}, {"requestor": false}],
        });
        assert_eq!(left, expected);
        assert_eq!(redacted(b"no event"), br#"{"agent":null}"#);
    }
}
