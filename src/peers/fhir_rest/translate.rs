//! Resources to requests. The bytes travel as they were accepted; only their envelope is made here.

use crate::peers::{Item, Resource};

/// A request without credentials.
pub(super) struct Request {
    pub method: reqwest::Method,
    pub url: reqwest::Url,
    pub idempotency_key: String,
    pub body: Vec<u8>,
    /// Entries of the transaction; none for a single resource.
    pub entries: Option<usize>,
}

/// `PUT {base}/{type}/{id}`. The error is the reason of a rejection.
pub(super) fn update(destination: &str, base: &reqwest::Url, resource: &Resource) -> Result<Request, String> {
    check(resource)?;
    Ok(Request {
        method: reqwest::Method::PUT,
        url: below(base, &[&resource.kind, &resource.id]),
        idempotency_key: format!("{destination}/{}/{}", resource.id, resource.version),
        body: resource.json.clone(),
        entries: None,
    })
}

/// All resources of the item in one transaction, which succeeds or fails as a whole (FHIR R4 §3.1.0.11.2).
pub(super) fn transaction(destination: &str, base: &reqwest::Url, item: &Item) -> Result<Request, String> {
    let mut body = br#"{"resourceType":"Bundle","type":"transaction","entry":["#.to_vec();
    let mut versions = blake3::Hasher::new();
    for (index, resource) in item.resources.iter().enumerate() {
        check(resource)?;
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
        entries: Some(item.resources.len()),
    })
}

/// Types and ids become parts of an address, so they are checked here although they were checked before.
fn check(resource: &Resource) -> Result<(), String> {
    let kind = !resource.kind.is_empty() && resource.kind.bytes().all(|byte| byte.is_ascii_alphabetic());
    let id = matches!(resource.id.len(), 1..=64)
        && resource.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && !resource.id.bytes().all(|byte| byte == b'.');
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
    fn bundles_in_order_and_byte_for_byte() {
        let base = reqwest::Url::parse("https://a.example/fhir").expect("an address");
        let item = Item {
            resources: vec![resource("Patient", "p"), resource("Observation", "o")],
            request_id: "r".to_owned(),
        };
        let request = transaction("north", &base, &item).expect("a request");
        let text = String::from_utf8(request.body).expect("text");
        let bundle: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(bundle["entry"][0]["request"]["url"], "Patient/p");
        assert_eq!(bundle["entry"][1]["fullUrl"], "https://a.example/fhir/Observation/o");
        assert!(text.contains("\"resource\":{\"a\":1.50}"));
    }
}
