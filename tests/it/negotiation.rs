//! Words and wrappings: media types, XML, compression, and the headers of every answer.

use std::io::{Read, Write};

use serde_json::json;

use crate::fixture::{Client, Gateway, heart_rate};

const JSON: &str = "application/fhir+json; charset=utf-8";
const XML: &str = "application/fhir+xml; charset=utf-8";

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_as_they_are_accepted() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let reading = app.post("/Observation", &heart_rate(&patient, "1", 70)).await.id();
    let path = format!("/Observation/{reading}");
    for (accept, format, expected) in [
        (None, "", JSON),
        (Some("*/*"), "", JSON),
        (Some(""), "", JSON),
        (Some("application/json"), "", JSON),
        (Some("application/fhir+json; fhirVersion=4.0"), "", JSON),
        (Some("application/fhir+xml"), "", XML),
        (Some("APPLICATION/FHIR+XML"), "", XML),
        (Some("text/xml"), "", XML),
        (Some("application/fhir+json;q=0.1, application/fhir+xml;q=0.9"), "", XML),
        (Some("image/png, application/fhir+xml"), "", XML),
        (Some("image/png, */*;q=0.1"), "", JSON),
        (Some("application/fhir+xml"), "?_format=json", JSON),
        (None, "?_format=xml", XML),
        (None, "?_format=application/fhir%2Bxml", XML),
        (None, "?_format=application/fhir+xml", XML),
        (Some("image/png"), "", ""),
        (Some("application/fhir+json;q=0"), "", ""),
        (None, "?_format=ttl", ""),
    ] {
        let headers: Vec<(&str, &str)> = accept.iter().map(|accept| ("accept", *accept)).collect();
        let answer = app.raw("GET", &format!("{path}{format}"), &headers, "").await;
        let name = format!("{accept:?} {format}");
        if expected.is_empty() {
            assert_eq!((answer.status, answer.issues()), (406, vec!["not-acceptable".to_owned()]), "{name}");
        } else {
            assert_eq!((answer.status, answer.header("content-type")), (200, expected), "{name}: {}", answer.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_read_is_not_done() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let headers = [("content-type", "application/fhir+json"), ("accept", "image/png")];
    let answer = app.raw("POST", "/Observation", &headers, heart_rate(&patient, "1", 70).to_string()).await;
    assert_eq!((answer.status, answer.issues()), (406, vec!["not-acceptable".to_owned()]));
    assert_eq!(app.find("/Observation").await.0, Some(0));
}

fn observation_xml(patient: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- from a scale -->\n<Observation xmlns=\"http://hl7.org/fhir\">\
         <identifier><system value=\"urn:test:readings\"/><value value=\"x &amp; y\"/></identifier><status value=\"final\"/>\
         <category><coding><system value=\"http://terminology.hl7.org/CodeSystem/observation-category\"/>\
         <code value=\"vital-signs\"/></coding></category><code><coding><system value=\"http://loinc.org\"/><code value=\"8867-4\"/></coding></code>\
         <subject><reference value=\"Patient/{patient}\"/></subject>\
         <effectiveDateTime value=\"2026-01-15T08:30:00+01:00\"/>\
         <valueQuantity><value value=\"72.50\"/><unit value=\"/min\"/><system value=\"http://unitsofmeasure.org\"/>\
         <code value=\"/min\"/></valueQuantity><note><text value=\"größer\"/></note></Observation>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn xml_goes_in_and_out_with_every_digit() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let xml = [("content-type", "application/fhir+xml"), ("accept", "application/fhir+xml")];
    let created = app.raw("POST", "/Observation", &xml, observation_xml(&patient)).await;
    assert_eq!((created.status, created.header("content-type")), (201, XML), "{}", created.text());
    let address = created.header("location").to_owned();
    let read = app.raw("GET", &address, &[("accept", "application/fhir+xml")], "").await;
    for part in ["<value value=\"72.50\"/>", "value=\"x &amp; y\"", "value=\"größer\"", "xmlns=\"http://hl7.org/fhir\""]
    {
        assert!(read.text().contains(part), "{part} is not in {}", read.text());
    }
    let json = app.get(&address).await;
    assert!(json.text().contains("\"value\":72.50,"), "{}", json.text());
    assert_eq!(json.json()["note"][0]["text"], "größer");
    // The same in JSON is the same resource.
    let body = json.text();
    let answer = app.raw("POST", "/Observation", &[("content-type", "application/fhir+json")], body).await;
    assert_eq!((answer.status, answer.id()), (200, json.id()));
    // And what was read as XML can be sent back.
    let id = json.id();
    let back = app.raw("PUT", &format!("/Observation/{id}"), &xml, read.text()).await;
    assert_eq!((back.status, back.header("etag")), (200, "W/\"1\""), "{}", back.text());
    let bundle = app.raw("GET", "/Observation", &[("accept", "application/fhir+xml")], "").await;
    assert!(bundle.text().starts_with("<Bundle xmlns=\"http://hl7.org/fhir\">") || bundle.text().contains("<Bundle "));
    assert!(bundle.text().contains("<value value=\"72.50\"/>"));
    let refused = app.raw("POST", "/Observation", &xml, observation_xml(&patient).replace("final", "XMARKERX")).await;
    assert_eq!((refused.status, refused.header("content-type")), (422, XML));
    assert!(refused.text().contains("<code value=\"binding-required\"/>") && !refused.text().contains("XMARKERX"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_is_no_content() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    // RFC 8259 §8.1 lets a reader ignore the mark rather than treat it as an error.
    let marked = format!("\u{feff}{}", heart_rate(&patient, "1", 70));
    let answer = app.raw("POST", "/Observation", &[("content-type", "application/fhir+json")], marked).await;
    assert_eq!((answer.status, answer.bytes.first()), (201, Some(&b'{')), "{}", answer.text());
    assert_eq!(app.get(&format!("/Observation/{}", answer.id())).await.bytes, answer.bytes);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A client that does not unpack what it receives.
pub fn unpacking_nothing(gateway: &Gateway, app: &Client) -> Client {
    let pem = std::fs::read(gateway.path().join("tls-certificate.pem")).unwrap();
    let certificate = reqwest::Certificate::from_pem(&pem).unwrap();
    let http = reqwest::Client::builder().no_gzip().tls_certs_only([certificate]).build().unwrap();
    Client { http, ..app.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_travel_compressed() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for (index, coding) in ["gzip", "x-gzip", "GZIP"].iter().enumerate() {
        let body = gzip(heart_rate(&patient, &index.to_string(), 70).to_string().as_bytes());
        let headers = [("content-type", "application/fhir+json"), ("content-encoding", *coding)];
        let answer = app.raw("POST", "/Observation", &headers, body).await;
        assert_eq!(answer.status, 201, "{coding}: {}", answer.text());
    }
    let raw = unpacking_nothing(&gateway, &app);
    for (accept, expected) in
        [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", ""), ("identity", ""), ("br", "")]
    {
        let answer = raw.raw("GET", "/Observation", &[("accept-encoding", accept)], "").await;
        assert_eq!((answer.status, answer.header("content-encoding")), (200, expected), "{accept}");
        let mut text = String::new();
        match expected {
            "gzip" => drop(flate2::read::GzDecoder::new(answer.bytes.as_slice()).read_to_string(&mut text).unwrap()),
            _ => text = answer.text(),
        }
        let bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(bundle["total"], json!(3), "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_the_same_guards() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for (method, path) in [
        ("GET", "/metadata"),
        ("GET", "/Observation"),
        ("GET", "/Observation/nothing"),
        ("DELETE", "/Observation/nothing"),
        ("GET", "/nothing"),
        ("POST", "/Observation"),
    ] {
        let answer = app.raw(method, path, &[("x-request-id", "my-request.1")], "").await;
        let name = format!("{method} {path}");
        assert_eq!(answer.header("x-request-id"), "my-request.1", "{name}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
        assert!(answer.header("strict-transport-security").starts_with("max-age="), "{name}");
        assert_eq!(answer.header("vary"), "accept, accept-encoding", "{name}");
        assert_eq!(answer.header("server"), "", "{name}");
    }
    for odd in ["with space", "<script>", "", &"x".repeat(65)] {
        let answer = app.raw("GET", "/metadata", &[("x-request-id", odd)], "").await;
        let id = answer.header("x-request-id");
        assert!(id != odd && id.len() == 24, "{odd}: {id}");
    }
    let statement = app.raw("GET", "/metadata", &[("accept", "application/fhir+xml")], "").await;
    assert_eq!((statement.status, statement.header("content-type")), (200, XML));
}

/// What issues say leads to this gateway's own guide, in the words of the format that was sent.
#[tokio::test]
async fn issues_speak_to_whoever_sent_the_request() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let own = gateway.base.replace("/fhir", "/guide/issues#element-unknown");
    let xml = "<Patient xmlns=\"http://hl7.org/fhir\"><nickname value=\"x\"/></Patient>";
    for (media, body, word) in [
        ("application/fhir+xml", xml.to_owned(), "Remove the element"),
        ("application/fhir+json", r#"{"resourceType":"Patient","nickname":"x"}"#.to_owned(), "Remove the property"),
    ] {
        for path in ["/Patient", "/Patient/$validate"] {
            let headers = [("content-type", media), ("accept", "application/fhir+json")];
            let answer = app.raw("POST", path, &headers, body.clone()).await.json();
            let said = answer["issue"][0]["diagnostics"].as_str().unwrap_or_default();
            assert!(said.starts_with(word) && said.ends_with(&own), "{media} {path}: {answer}");
        }
    }
    let stranger = gateway.http.get(format!("{}/Patient/x", gateway.base)).send().await.unwrap();
    let outcome: serde_json::Value = serde_json::from_slice(&stranger.bytes().await.unwrap()).unwrap();
    assert!(outcome["issue"][0]["diagnostics"].as_str().unwrap().contains(&gateway.base.replace("/fhir", "/guide/")));
}
