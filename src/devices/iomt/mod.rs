//! The connector's two templates (Azure MedTech, iomt-connector), read unchanged.
//!
//! `content` finds measurements in a message: which kind, of which device, when, and named values, by expressions in
//! `jsonpath` or `jmespath`. `mapping` says what a kind is in FHIR, and `build` writes it: in the guide's form where its code
//! is one of the guide's measures, else as the template has it. Measurements are not merged by the hour or day as the
//! connector does, where the later of two takes the place of the earlier: each stays itself, and stretches of samples are made
//! of them afterwards.

mod build;
mod content;
mod jmespath;
mod jsonpath;
mod mapping;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use serde_json::Value;

use super::{Record, Sender};
use crate::fhir::ours::BASE;
use crate::fhir::outcome::{Id, Issue, Position};
use crate::fhir::tree::{Document, Kind, write};
use content::Content;
use mapping::Mapping;

/// The name in `POST /devices/{format}`.
pub const NAME: &str = "iomt";

/// System of the identifiers that records get.
pub(super) static IDENTIFIER: LazyLock<String> = LazyLock::new(|| format!("{BASE}/sid/{NAME}"));

/// A pair of templates, ready to be followed.
#[derive(Clone, Debug)]
pub struct Templates {
    contents: Vec<Content>,
    /// By the name of the kind in small letters.
    mappings: HashMap<String, Mapping>,
    /// A hash of both files: they have no version of their own.
    pub version: String,
}

/// A message, and what a template found in it. Where what was found stands beside the message, it is called `matchedToken`.
#[derive(Clone, Copy, Debug)]
struct Scope<'v> {
    root: &'v Value,
    matched: Option<&'v Value>,
}

impl<'v> Scope<'v> {
    fn member(self, of: &'v Value, name: &str) -> Option<&'v Value> {
        match self.matched {
            Some(matched) if name == "matchedToken" && std::ptr::eq(of, self.root) => Some(matched),
            _ => of.as_object()?.get(name),
        }
    }
}

impl Templates {
    /// Compiles device content and FHIR mapping. The error says everything that is wrong with them.
    pub fn compile(content: &str, mapping: &str) -> Result<Templates, Vec<String>> {
        let (contents, mut mistakes) = content::compile(content);
        let (mappings, wrong) = mapping::compile(mapping);
        mistakes.extend(wrong);
        if mistakes.is_empty() {
            mistakes.extend(unmatched(&contents, &mappings));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(blake3::hash(content.as_bytes()).as_bytes());
        hasher.update(mapping.as_bytes());
        Ok(Templates { contents, mappings, version: hasher.finalize().to_hex()[..16].to_owned() })
    }

    /// The kinds that the device content knows, each with what its mapping is in the guide.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.contents.iter().map(|content| content.kind.as_str())
    }

    /// Converts messages, one or a list. The error says why none of it can be read.
    pub(super) fn convert(&self, document: &Document, sender: &Sender<'_>, most: usize) -> Result<Vec<Record>, Issue> {
        let root = document.root();
        let mut messages = Vec::new();
        if document.kind(root) == Kind::Array {
            messages.extend(document.children(root).enumerate().map(|(at, node)| (format!("/{at}"), node)));
        } else {
            messages.push((String::new(), root));
        }
        if messages.len() > most {
            return Err(super::too_many(most));
        }
        let (mut records, mut people) = (Vec::new(), BTreeSet::new());
        for (pointer, node) in messages {
            // The tree has read it as JSON, so this only changes its form.
            let message: Value = serde_json::from_str(&write::compact(document, node)).unwrap_or_default();
            self.message(&message, &pointer, document.position(node), sender, &mut people, &mut records);
            super::hold(&records, most)?;
        }
        if people.len() > 1 {
            let text = "The messages name several patients; what is sent at once is of one person.";
            return Err(Issue::new(Id::DeviceRecord, "", text));
        }
        Ok(records)
    }

    fn message(
        &self,
        message: &Value,
        pointer: &str,
        position: Position,
        sender: &Sender<'_>,
        people: &mut BTreeSet<String>,
        records: &mut Vec<Record>,
    ) {
        let before = records.len();
        let mut places = HashMap::new();
        place(message, pointer, &mut places);
        for content in &self.contents {
            let matches = match content.matches(message) {
                Ok(matches) => matches,
                Err(text) => {
                    let issue = Issue::new(Id::DeviceRecord, "", text).at(position);
                    records.push(Record { issues: vec![issue], ..Record::at(pointer) });
                    continue;
                }
            };
            for matched in &matches {
                let pointer = places.get(&std::ptr::from_ref(matched.as_ref())).map_or(pointer, String::as_str);
                let measured = content.measurement(message, matched.as_ref(), sender);
                let mut record = Record::at(pointer);
                match measured {
                    Ok(measurement) => {
                        people.extend(measurement.patient.clone());
                        match self.mappings.get(&content.kind.to_lowercase()) {
                            Some(mapping) => build::record(mapping, &measurement, sender, &mut record),
                            None => record.issues.push(Issue::new(
                                Id::DeviceSchemaUnknown,
                                "",
                                "No template maps this kind.",
                            )),
                        }
                    }
                    Err(issue) => record.issues.push(issue),
                }
                for issue in &mut record.issues {
                    issue.position = position;
                }
                records.push(record);
            }
        }
        if records.len() == before {
            let text = "No template of the device content matches the message.";
            let issue = Issue::new(Id::DeviceSchemaUnknown, "", text).at(position);
            records.push(Record { issues: vec![issue], ..Record::at(pointer) });
        }
    }
}

/// Where each part of a message stands.
fn place(value: &Value, pointer: &str, into: &mut HashMap<*const Value, String>) {
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                place(item, &format!("{pointer}/{at}"), into);
            }
        }
        Value::Object(members) => {
            into.insert(std::ptr::from_ref(value), pointer.to_owned());
            for (name, member) in members {
                place(member, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), into);
            }
        }
        _ => {}
    }
}

/// What one template asks of the other and does not find.
fn unmatched(contents: &[Content], mappings: &HashMap<String, Mapping>) -> Vec<String> {
    let mut mistakes = Vec::new();
    for content in contents.iter().filter(|content| !mappings.contains_key(&content.kind.to_lowercase())) {
        mistakes.push(format!("device content {}: no FHIR mapping has that typeName", content.kind));
    }
    for mapping in mappings.values() {
        let of: Vec<&Content> =
            contents.iter().filter(|content| content.kind.eq_ignore_ascii_case(&mapping.kind)).collect();
        for name in mapping.names() {
            let found =
                of.iter().any(|content| content.values.iter().any(|value| value.name.eq_ignore_ascii_case(name)));
            if !of.is_empty() && !found {
                mistakes.push(format!("FHIR mapping {}: the device content extracts no value {name}", mapping.kind));
            }
        }
    }
    mistakes.sort_unstable();
    mistakes
}
