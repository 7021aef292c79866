//! Resources to requests. The bytes travel as they were accepted; only their envelope is made here.

use crate::national::{Address, Format, Question};
use crate::peers::{Manner, Resource, Shaped, Taken};

/// A request without credentials.
pub(super) struct Request {
    pub method: reqwest::Method,
    pub url: reqwest::Url,
    pub idempotency_key: String,
    pub body: Vec<u8>,
    /// What is created unless there is one of.
    pub condition: Option<String>,
    /// Entries of the transaction; none for a single resource.
    pub entries: Option<usize>,
    pub xml: bool,
}

/// `PUT {base}/{type}/{id}`. The error is the reason of a rejection.
pub(super) fn update(destination: &str, base: &reqwest::Url, resource: &Resource) -> Result<Request, String> {
    check(&resource.kind, &resource.id)?;
    Ok(Request {
        method: reqwest::Method::PUT,
        url: below(base, &[&resource.kind, &resource.id]),
        idempotency_key: format!("{destination}/{}/{}", resource.id, resource.version),
        body: resource.json.clone(),
        condition: None,
        entries: None,
        xml: false,
    })
}

/// A request as its pack says.
pub(super) fn shaped(destination: &str, base: &reqwest::Url, shaped: &Shaped) -> Request {
    let Address { method, path, condition } = &shaped.address;
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    Request {
        method: if method == "PUT" { reqwest::Method::PUT } else { reqwest::Method::POST },
        url: if segments.is_empty() { base.clone() } else { below(base, &segments) },
        idempotency_key: format!("{destination}/{}", shaped.key),
        body: shaped.body.clone(),
        condition: condition.clone(),
        entries: None,
        xml: shaped.pack.request.format == Format::Xml,
    }
}

/// `GET` of a path and a query.
pub(super) fn question(base: &reqwest::Url, question: &Question) -> Request {
    let segments: Vec<&str> = question.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut url = below(base, &segments);
    url.query_pairs_mut().extend_pairs(&question.query);
    Request {
        method: reqwest::Method::GET,
        url,
        idempotency_key: String::new(),
        body: Vec::new(),
        condition: None,
        entries: None,
        xml: false,
    }
}

/// All resources of the item in one transaction, which succeeds or fails as a whole (FHIR R4 §3.1.0.11.2).
pub(super) fn transaction(destination: &str, base: &reqwest::Url, resources: &[Resource]) -> Result<Request, String> {
    let mut body = br#"{"resourceType":"Bundle","type":"transaction","entry":["#.to_vec();
    let mut versions = blake3::Hasher::new();
    for (index, resource) in resources.iter().enumerate() {
        check(&resource.kind, &resource.id)?;
        let name = format!("{}/{}", resource.kind, resource.id);
        versions.update(format!("{name}/{}\n", resource.version).as_bytes());
        let full_url = below(base, &[&resource.kind, &resource.id]);
        let comma = if index == 0 { "" } else { "," };
        body.extend(format!("{comma}{{\"fullUrl\":\"{full_url}\",\"resource\":").as_bytes());
        body.extend(&resource.json);
        body.extend(format!(",\"request\":{{\"method\":\"PUT\",\"url\":\"{name}\"}}}}").as_bytes());
    }
    body.extend(b"]}");
    Ok(Request {
        method: reqwest::Method::POST,
        url: base.clone(),
        idempotency_key: format!("{destination}/{}", &versions.finalize().to_hex()[..32]),
        body,
        condition: None,
        entries: Some(resources.len()),
        xml: false,
    })
}

/// `DELETE {base}/{type}/{id}`, or the same id with content that says nothing. The error is the reason of a rejection.
pub(super) fn recall(destination: &str, base: &reqwest::Url, taken: &Taken) -> Result<Request, String> {
    let (kind, name) = (taken.recall.kind(), taken.recall.name());
    check(kind, name)?;
    let (method, body) = match taken.manner {
        Manner::Delete => (reqwest::Method::DELETE, Vec::new()),
        Manner::EnteredInError => (reqwest::Method::PUT, emptied(kind, name)?),
    };
    Ok(Request {
        method,
        url: below(base, &[kind, name]),
        // Not the same each time: what was given again in between is to be taken back again.
        idempotency_key: format!("{destination}/{name}/{}/{}", taken.manner.name(), taken.request_id),
        body,
        condition: None,
        entries: None,
        xml: false,
    })
}

/// What a resource of the type must have, and nothing else: that it was an error, and no word of what it said.
fn emptied(kind: &str, name: &str) -> Result<Vec<u8>, String> {
    let mut emptied = serde_json::json!({"resourceType": kind, "id": name, "status": "entered-in-error"});
    match kind {
        "Observation" => {
            let absent = serde_json::json!({"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "masked"
            }]});
            emptied["code"] = absent.clone();
            emptied["dataAbsentReason"] = absent;
        }
        "Device" | "QuestionnaireResponse" => {}
        _ => return Err("a resource of the type has no way to say that it was an error".to_owned()),
    }
    Ok(emptied.to_string().into_bytes())
}

/// Types and ids become parts of an address, so they are checked here although they were checked before.
fn check(kind: &str, id: &str) -> Result<(), String> {
    let kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    let id = matches!(id.len(), 1..=64)
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && !id.bytes().all(|byte| byte == b'.');
    if kind && id { Ok(()) } else { Err("the resource has no type and id that an address can carry".to_owned()) }
}

fn below(base: &reqwest::Url, segments: &[&str]) -> reqwest::Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Recall;

    fn resource(kind: &str, id: &str) -> Resource {
        Resource { kind: kind.to_owned(), id: id.to_owned(), version: 3, json: b"{\"a\":1.50}".to_vec() }
    }

    #[test]
    fn addresses_the_resource() {
        for base in ["https://a.example/fhir", "https://a.example/fhir/"] {
            let base = reqwest::Url::parse(base).expect("an address");
            let request = update("north", &base, &resource("Observation", "o-1")).expect("a request");
            assert_eq!(request.url.as_str(), "https://a.example/fhir/Observation/o-1");
            assert_eq!(request.idempotency_key, "north/o-1/3");
        }
    }

    #[test]
    fn refuses_what_is_no_id() {
        let base = reqwest::Url::parse("https://a.example/fhir").expect("an address");
        for (kind, id) in [("Observation", ".."), ("Observation", "a/b"), ("", "a"), ("../x", "a"), ("Patient", "")] {
            assert!(update("north", &base, &resource(kind, id)).is_err(), "{kind} {id}");
        }
    }

    #[test]
    fn what_is_taken_back_says_nothing_but_its_name() {
        let base = reqwest::Url::parse("https://a.example/fhir").expect("an address");
        let asked = |kind: &str, name: &str, manner| {
            let taken = Taken {
                recall: Recall::of_erased(kind, name),
                manner,
                request_id: "r".to_owned(),
                access: None,
                trace: None,
            };
            recall("north", &base, &taken)
        };
        let deleted = asked("Observation", "o-1", Manner::Delete).expect("a request");
        assert_eq!((deleted.method.as_str(), deleted.body.len()), ("DELETE", 0));
        assert_eq!(deleted.url.as_str(), "https://a.example/fhir/Observation/o-1");
        assert_eq!(deleted.idempotency_key, "north/o-1/delete/r");
        for (kind, members) in [("Observation", 5), ("QuestionnaireResponse", 3), ("Device", 3)] {
            let emptied = asked(kind, "o-1", Manner::EnteredInError).expect("a request");
            assert_eq!(emptied.method.as_str(), "PUT");
            let body: serde_json::Value = serde_json::from_slice(&emptied.body).expect("JSON");
            assert_eq!((&body["resourceType"], &body["id"]), (&kind.into(), &"o-1".into()));
            assert_eq!((&body["status"], body.as_object().unwrap().len()), (&"entered-in-error".into(), members));
        }
        assert!(asked("Basic", "o-1", Manner::EnteredInError).is_err());
        assert!(asked("Observation", "a/b", Manner::Delete).is_err());
    }

    #[test]
    fn bundles_in_order_and_byte_for_byte() {
        let base = reqwest::Url::parse("https://a.example/fhir").expect("an address");
        let resources = [resource("Patient", "p"), resource("Observation", "o")];
        let request = transaction("north", &base, &resources).expect("a request");
        let text = String::from_utf8(request.body).expect("text");
        let bundle: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(bundle["entry"][0]["request"]["url"], "Patient/p");
        assert_eq!(bundle["entry"][1]["fullUrl"], "https://a.example/fhir/Observation/o");
        assert!(text.contains("\"resource\":{\"a\":1.50}"));
    }
}
