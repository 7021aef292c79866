//! What the system that is played has of its own: care plans, episodes and persons that a gateway asks for before it tells
//! anything. They are put there by whoever plays (`POST /held`), and searched by a few parameters of the standard; whatever
//! else is asked is refused, so that nothing is asked in vain and unseen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

#[derive(Default)]
pub(super) struct Own(Mutex<BTreeMap<String, Value>>);

impl Own {
    /// What has no type and no id cannot be asked for, and is none.
    pub fn of(resources: Vec<Value>) -> Own {
        let own = Own::default();
        for resource in resources {
            let _ = own.put(resource);
        }
        own
    }

    /// Puts a resource there, in place of one with the same type and id.
    pub fn put(&self, resource: Value) -> Result<(), &'static str> {
        let (Some(kind), Some(id)) = (resource["resourceType"].as_str(), resource["id"].as_str()) else {
            return Err("a resource has a type and an id");
        };
        let name = format!("{kind}/{id}");
        self.all().insert(name, resource);
        Ok(())
    }

    pub fn remove(&self, name: &str) {
        self.all().remove(name);
    }

    pub fn has(&self, name: &str) -> bool {
        self.all().contains_key(name)
    }

    /// Whether a person is known by an identifier in the syntax of HL7 v2 (CX).
    pub fn is_known_as(&self, name: &str, cx: &str) -> bool {
        let Some((value, system)) =
            cx.split_once("^^^&").and_then(|(value, rest)| Some((value, rest.strip_suffix("&ISO")?)))
        else {
            return false;
        };
        self.all().get(name).is_some_and(|person| has_identifier(person, (&format!("urn:oid:{system}"), value)))
    }

    /// A person's other identifiers, and where she stands.
    pub fn cross_reference(&self, base: &str, source: (&str, &str), targets: &[&str]) -> Option<Value> {
        let all = self.all();
        let (name, person) =
            all.iter().find(|(name, one)| name.starts_with("Patient/") && has_identifier(one, source))?;
        let identifiers = person["identifier"].as_array().into_iter().flatten();
        let wanted = identifiers.filter(|one| one["system"].as_str().is_some_and(|system| targets.contains(&system)));
        let mut parameter: Vec<Value> =
            wanted.map(|one| json!({"name": "targetIdentifier", "valueIdentifier": one})).collect();
        parameter.push(json!({"name": "targetId", "valueReference": {"reference": format!("{base}/fhir/{name}")}}));
        Some(json!({"resourceType": "Parameters", "parameter": parameter}))
    }

    /// A searchset of what fits; the error is a parameter that is not known.
    pub fn search(&self, base: &str, kind: &str, query: &[(String, String)]) -> Result<Value, String> {
        let prefix = format!("{kind}/");
        let mut entry = Vec::new();
        for (name, resource) in self.all().iter().filter(|(name, _)| name.starts_with(&prefix)) {
            let mut fits = true;
            for (parameter, value) in query {
                fits &= matches(resource, parameter, value)?;
            }
            if fits {
                let full_url = format!("{base}/fhir/{name}");
                entry.push(json!({"fullUrl": full_url, "resource": resource, "search": {"mode": "match"}}));
            }
        }
        // A search for nobody's is a mistake of whoever asks.
        for (parameter, value) in query {
            matches(&Value::Null, parameter, value)?;
        }
        Ok(json!({"resourceType": "Bundle", "type": "searchset", "total": entry.len(), "entry": entry}))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_identifier(person: &Value, (system, value): (&str, &str)) -> bool {
    let mut identifiers = person["identifier"].as_array().into_iter().flatten();
    identifiers.any(|one| one["system"] == system && one["value"] == value)
}

fn matches(resource: &Value, parameter: &str, value: &str) -> Result<bool, String> {
    let refers = |reference: &Value| reference.as_str().is_some_and(|own| value == own);
    Ok(match parameter {
        "_id" => resource["id"] == value,
        "status" => resource["status"] == value,
        "patient" | "subject" => ["patient", "subject"].iter().any(|name| refers(&resource[name]["reference"])),
        "code" => {
            let (system, code) = value.split_once('|').ok_or_else(|| "code is system|code".to_owned())?;
            let codings = resource["code"]["coding"].as_array();
            codings.into_iter().flatten().any(|coding| coding["system"] == system && coding["code"] == code)
        }
        // How much is answered, and how.
        "_count" | "_elements" | "_format" => true,
        _ => return Err(format!("{parameter} is not supported")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_what_fits_and_refuses_what_it_does_not_know() {
        let own = Own::default();
        own.put(json!({
            "resourceType": "ServiceRequest", "id": "1", "status": "active", "subject": {"reference": "Patient/7"},
            "code": {"coding": [{"system": "urn:s", "code": "c"}]},
        }))
        .unwrap();
        assert!(own.put(json!({"resourceType": "ServiceRequest"})).is_err());
        let count = |pairs: &[(&str, &str)]| {
            let query: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            own.search("https://x", "ServiceRequest", &query).map(|found| found["total"].as_u64().unwrap())
        };
        assert_eq!(
            count(&[("patient", "Patient/7"), ("code", "urn:s|c"), ("status", "active"), ("_count", "2")]),
            Ok(1)
        );
        assert_eq!(count(&[("patient", "Patient/8")]), Ok(0));
        assert_eq!(count(&[("status", "completed")]), Ok(0));
        assert_eq!(count(&[("_id", "1")]), Ok(1));
        assert!(count(&[("name", "x")]).is_err() && count(&[("code", "c")]).is_err());
    }
}
