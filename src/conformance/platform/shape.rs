//! A national system with a shape of its own, played by its country pack: it checks what the pack's table of errors says
//! that the real one checks, and answers in the real one's words.
//!
//! The checks are FHIRPath, so that here alone the platform uses the gateway's own engine; what it holds against the
//! requests is the pack's data and nothing that the transformation computes.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::check::Checked;
use crate::fhir::definitions::Registry;
use crate::fhir::fhirpath::{Collection, Value};
use crate::fhir::tree::{Element, json as tree};
use crate::fhir::validate::Validator;
use crate::national::Pack;

pub(super) struct Shape {
    pack: Arc<Pack>,
    validator: Validator,
}

/// What the real system would say.
pub(super) struct Complaint {
    pub status: u16,
    pub code: String,
    pub text: String,
}

/// What was taken of a request, with where each part of it stood.
pub(super) struct Taken {
    pub entries: Vec<(Checked, String)>,
    /// The type of the answer.
    pub response: &'static str,
}

impl Shape {
    pub fn new(pack: Arc<Pack>) -> Shape {
        Shape { pack, validator: Validator::new(Registry::core()) }
    }

    /// Whether requests of the pack come to that address below the service.
    pub fn is_at(&self, below: &[&str]) -> bool {
        let path: Vec<&str> = self.pack.request.path.split('/').filter(|segment| !segment.is_empty()).collect();
        path == below
    }

    /// Checks a request as the real system does.
    pub fn read(&self, body: &[u8]) -> Result<Taken, Complaint> {
        let unreadable =
            || Complaint { status: 400, code: "structure".to_owned(), text: "The body is no FHIR.".to_owned() };
        let document = tree::parse(body).map_err(|_| unreadable())?;
        let root = Element::root(&document);
        for check in self.pack.answers.checks() {
            let holds = self.validator.evaluate(root, &check.holds, None, |found| {
                found.is_ok_and(|found| matches!(found, Collection::One(Value::Boolean(true))))
            });
            if !holds {
                return Err(Complaint { status: check.status, code: check.code.clone(), text: check.text.clone() });
            }
        }
        let request: Json = serde_json::from_slice(body).map_err(|_| unreadable())?;
        let bundle =
            if request["resourceType"] == "Parameters" { &request["parameter"][0]["resource"] } else { &request };
        let response = match bundle["type"].as_str() {
            Some("transaction") => "transaction-response",
            _ => "batch-response",
        };
        let none = Vec::new();
        let entries = bundle["entry"].as_array().unwrap_or(&none);
        let entries = entries.iter().map(|entry| {
            let name = entry["request"]["ifNoneExist"].as_str().or(entry["fullUrl"].as_str()).unwrap_or_default();
            let id = name.rsplit([':', '|', '=']).next().unwrap_or_default().to_owned();
            let resource = entry["resource"].clone();
            let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
            (Checked { kind, id, version: 1, resource }, entry["fullUrl"].as_str().unwrap_or_default().to_owned())
        });
        Ok(Taken { entries: entries.collect(), response })
    }
}

/// The answer to what was taken.
pub(super) fn answered(response: &str, entries: &[String], is_new: &[bool]) -> Json {
    let entry: Vec<Json> = entries
        .iter()
        .zip(is_new)
        .map(|(full_url, new)| {
            json!({"fullUrl": full_url, "response": {"status": if *new { "201 Created" } else { "200 OK" }}})
        })
        .collect();
    json!({"resourceType": "Bundle", "type": response, "entry": entry})
}
