//! A national system with a shape of its own, played by its country pack: it checks what the pack's table of errors says
//! that the real one checks, and answers in the real one's words.
//!
//! The checks are FHIRPath, so that here alone the platform uses the gateway's own engine; what it holds against the
//! requests is the pack's data and nothing that the transformation computes.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::fhir::definitions::Registry;
use crate::fhir::fhirpath::{Collection, Value};
use crate::fhir::tree::write::compact;
use crate::fhir::tree::{Element, json as tree};
use crate::fhir::validate::{Format as Text, Validator};
use crate::national::{Format, Pack};

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

/// What is asked for a resource.
pub(super) enum Ask {
    Create {
        /// Unless there is one already.
        conditional: bool,
    },
    Update,
}

/// One resource of a request.
pub(super) struct Entry {
    pub ask: Ask,
    pub kind: String,
    /// The id that it has here.
    pub id: String,
    pub resource: Json,
    pub full_url: String,
}

/// A request as it was understood.
pub(super) struct Taken {
    /// What is wrong with an entry is its own affair where entries are.
    pub entries: Vec<Result<Entry, Complaint>>,
    /// The type of the answer; none where the request is one resource.
    pub response: Option<&'static str>,
}

/// What became of an entry.
pub(super) enum Done {
    Created,
    Existed,
    Updated,
    Refused(Complaint),
}

impl Shape {
    pub fn new(pack: Arc<Pack>) -> Shape {
        Shape { pack, validator: Validator::new(Registry::core()) }
    }

    /// Whether requests of the pack come to that address below the service.
    pub fn is_at(&self, below: &[&str]) -> bool {
        self.pack.is_at(below)
    }

    /// A line of the pack's table of errors, as an answer.
    pub fn line(&self, at: usize) -> Option<Complaint> {
        let (status, code, text) = self.pack.answers.answer(at)?;
        Some(Complaint { status, code, text })
    }

    /// Checks a request as the real system does: of a batch each entry by itself.
    pub fn read(&self, body: &[u8], refuse_codes: &[String]) -> Result<Taken, Complaint> {
        let unreadable =
            || Complaint { status: 400, code: "structure".to_owned(), text: "The body is no FHIR.".to_owned() };
        let as_json;
        let body = match self.pack.request.format {
            Format::Json => body,
            Format::Xml => {
                let document = self.validator.read(body, Text::Xml).document.ok_or_else(unreadable)?;
                as_json = compact(&document, document.root());
                as_json.as_bytes()
            }
        };
        let request: Json = serde_json::from_slice(body).map_err(|_| unreadable())?;
        let wrapped = request["resourceType"] == "Parameters";
        let bundle = if wrapped { &request["parameter"][0]["resource"] } else { &request };
        if bundle["resourceType"] != "Bundle" || bundle["type"] == "document" {
            self.checked(body)?;
            return Ok(Taken { entries: vec![Ok(alone(&request))], response: None });
        }
        let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_batch = bundle["type"] == "batch";
        if !is_batch || entries.is_empty() {
            self.checked(body)?;
        }
        let mut read = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut judged = promised(entry, refuse_codes);
            if is_batch {
                let mut by_itself = bundle.clone();
                by_itself["entry"] = json!([entry]);
                judged = judged.and_then(|()| self.checked(by_itself.to_string().as_bytes()));
            }
            let judged = judged.and_then(|()| self::entry(entry));
            if let (Err(complaint), false) = (&judged, is_batch) {
                return Err(Complaint { text: complaint.text.clone(), code: complaint.code.clone(), ..*complaint });
            }
            read.push(judged);
        }
        Ok(Taken { entries: read, response: Some(if is_batch { "batch-response" } else { "transaction-response" }) })
    }

    fn checked(&self, body: &[u8]) -> Result<(), Complaint> {
        let unreadable =
            |_| Complaint { status: 400, code: "structure".to_owned(), text: "The body is no FHIR.".to_owned() };
        let document = tree::parse(body).map_err(unreadable)?;
        let root = Element::root(&document);
        for check in self.pack.answers.checks() {
            let holds = self.validator.evaluate(root, &check.holds, None, |found| {
                found.is_ok_and(|found| matches!(found, Collection::One(Value::Boolean(true))))
            });
            if !holds {
                return Err(Complaint { status: check.status, code: check.code.clone(), text: check.text.clone() });
            }
        }
        Ok(())
    }
}

/// What was never promised is refused.
fn promised(entry: &Json, refuse_codes: &[String]) -> Result<(), Complaint> {
    if super::check::all_codes(&entry["resource"]).any(|code| refuse_codes.iter().any(|refused| refused == code)) {
        return Err(Complaint { status: 422, code: "suppressed".to_owned(), text: super::check::WITHHELD.to_owned() });
    }
    Ok(())
}

/// A name of this system's own for what the sender calls so: another, and always the same.
fn own_id(name: &str) -> String {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("there-{}", &plain[plain.len().saturating_sub(20)..])
}

fn entry(entry: &Json) -> Result<Entry, Complaint> {
    let request = &entry["request"];
    let mut resource = entry["resource"].clone();
    let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
    let full_url = entry["fullUrl"].as_str().unwrap_or_default().to_owned();
    let (ask, id) = if request["method"] == "PUT" {
        let id = request["url"].as_str().and_then(|url| url.strip_prefix(&format!("{kind}/"))).unwrap_or_default();
        if resource["id"] != id || id.is_empty() {
            let text = "The id differs from the address.".to_owned();
            return Err(Complaint { status: 400, code: "value".to_owned(), text });
        }
        (Ask::Update, id.to_owned())
    } else {
        let condition = request["ifNoneExist"].as_str();
        let ask = Ask::Create { conditional: condition.is_some() };
        (ask, own_id(condition.unwrap_or(full_url.as_str())))
    };
    resource["id"] = id.as_str().into();
    Ok(Entry { ask, kind, id, resource, full_url })
}

/// A request that is one resource.
fn alone(resource: &Json) -> Entry {
    let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
    let identifier = &resource["identifier"];
    let name = [&identifier[0]["value"], &identifier["value"], &resource["id"]].into_iter().find_map(Json::as_str);
    let id = own_id(name.unwrap_or_default());
    let mut resource = resource.clone();
    resource["id"] = id.as_str().into();
    Entry { ask: Ask::Create { conditional: true }, kind, id, resource, full_url: String::new() }
}

/// The answer to what was taken: `names` are those of this system, with what became of each.
pub(super) fn answered(response: &str, done: &[(String, String, Done)]) -> Json {
    let entry: Vec<Json> = done
        .iter()
        .map(|(full_url, name, done)| {
            let status = match done {
                Done::Created => "201 Created".to_owned(),
                Done::Existed | Done::Updated => "200 OK".to_owned(),
                Done::Refused(complaint) => complaint.status.to_string(),
            };
            let mut response = json!({"status": status});
            match done {
                Done::Refused(complaint) => response["outcome"] = complaint.outcome(),
                _ => response["location"] = format!("{name}/_history/1").into(),
            }
            json!({"fullUrl": full_url, "response": response})
        })
        .collect();
    json!({"resourceType": "Bundle", "type": response, "entry": entry})
}

impl Complaint {
    pub fn outcome(&self) -> Json {
        let issue = json!({"severity": "error", "code": self.code, "diagnostics": self.text});
        json!({"resourceType": "OperationOutcome", "issue": [issue]})
    }
}
