//! How each record of a device would be read, said step by step, with nothing kept.
//!
//! For whoever writes or uses a mapping: which rule took a record, what each expression found in it, what Observation came
//! of it and what validation says of that. Whether a person's consent allows it is not asked, because nothing is disclosed
//! but what the sender sent.

use serde_json::{Value, json};

use crate::devices::{Format, Record, Sender, Traced};
use crate::fhir::outcome::{Issue, Reader, full_outcome, has_errors};
use crate::fhir::tree::{Document, Element, json as tree};
use crate::fhir::validate::{Options, Validator};

/// What would become of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Accepted,
    Flagged,
    Refused,
}

impl Fate {
    pub fn word(self) -> &'static str {
        match self {
            Fate::Accepted => "accepted",
            Fate::Flagged => "flagged",
            Fate::Refused => "refused",
        }
    }
}

/// One record of the sender's.
pub struct Explained {
    pub steps: Vec<Traced>,
    /// What it became, each with what conversion and validation say of it.
    pub records: Vec<(Record, Vec<Issue>)>,
}

impl Explained {
    pub fn fate(issues: &[Issue]) -> Fate {
        match () {
            () if has_errors(issues) => Fate::Refused,
            () if issues.is_empty() => Fate::Accepted,
            () => Fate::Flagged,
        }
    }

    fn value(&self, reader: Reader<'_>) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| json!({"what": step.what, "expression": step.by, "result": step.result}))
            .collect();
        let records: Vec<Value> = self
            .records
            .iter()
            .map(|(record, issues)| {
                let observation: Option<Value> =
                    record.observation.as_deref().and_then(|text| serde_json::from_str(text).ok());
                json!({
                    "id": record.source_id,
                    "measure": record.measure,
                    "outcome": Self::fate(issues).word(),
                    "observation": observation,
                    "issues": full_outcome(issues, reader),
                })
            })
            .collect();
        let pointer = self.records.first().map(|(record, _)| record.pointer.as_str());
        json!({"pointer": pointer, "steps": steps, "records": records})
    }
}

/// Reads what was sent along a mapping. The error says why none of it can be read.
pub fn explain(
    format: &Format,
    document: &Document,
    sender: &Sender<'_>,
    validator: &Validator,
    most: usize,
) -> Result<Vec<Explained>, Issue> {
    let explained = format.explain(document, sender, most)?;
    let checked = |record: Record| {
        let mut issues = record.issues.clone();
        if let Some(observation) = &record.observation {
            issues.extend(match tree::parse(observation.as_str()) {
                Ok(document) => validator.check(Element::root(&document), &Options::default()).issues,
                Err(issue) => vec![issue],
            });
        }
        (record, issues)
    };
    let each = explained
        .into_iter()
        .map(|(steps, records)| Explained { steps, records: records.into_iter().map(checked).collect() });
    Ok(each.collect())
}

/// As one JSON object: the mapping, and each record in the order sent, with the links that its reader can follow.
pub fn as_json(format: &Format, explained: &[Explained], reader: Reader<'_>) -> Value {
    let records: Vec<Value> = explained.iter().map(|one| one.value(reader)).collect();
    json!({"format": format.name(), "mapping": format.canonical(), "source": format.source(), "records": records})
}
