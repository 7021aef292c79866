//! Open mHealth data points (OMH header 1.x), and IEEE 1752.1 where its bodies are the same.
//!
//! A data point is a header that names the schema of its body. What a schema becomes stands in
//! `profiles/mappings/open-mhealth.json`, compiled once (`mapping`); `read` walks one data point along it, `time`
//! reads when it was. A field that the mapping does not name is reported and left out, and a field that would
//! change what the code means (specimen, statistic) must be one that the mapping knows, else the record is refused.

mod mapping;
mod place;
mod read;
mod time;

use super::Record;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Kind};
use mapping::MAPPING;
use place::Place;

/// Names under which several data points may come; a JSON object is what the reader takes.
const LISTS: [&str; 2] = ["data_points", "records"];

/// System of the identifiers of its records.
pub fn identifiers() -> &'static str {
    &MAPPING.identifier
}

/// Converts one data point or a list of them.
pub fn convert(document: &Document, subject: &str, most: usize) -> Result<Vec<Record>, Issue> {
    let root = Place::root(document);
    let is_point = root.get("header").is_some() || root.get("body").is_some();
    let lists: Vec<Place<'_>> = LISTS.iter().filter_map(|name| root.get(name)).collect();
    let list = match lists.as_slice() {
        [] if is_point => return Ok(vec![read::data_point(&MAPPING, &root, subject)]),
        [list] if !is_point && list.kind() == Kind::Array => list,
        [_, ..] if is_point || lists.len() > 1 => {
            // Whichever was taken, the other would be lost without a word.
            let text = "The body has more than one of a data point (header and body), data_points and records.";
            return Err(root.issue(Id::DeviceRecord, text));
        }
        _ => {
            let text =
                "The body is neither a data point (header and body) nor a list of them under data_points or records.";
            return Err(root.issue(Id::DeviceRecord, text));
        }
    };
    match list.items().take(most + 1).count() {
        0 => Err(list.issue(Id::DeviceRecord, "The list holds no data points.")),
        count if count > most => {
            Err(list.issue(Id::BundleTooManyEntries, format!("At most {most} data points are read at once.")))
        }
        _ => {
            let name = LISTS.iter().find(|name| root.get(name).is_some()).unwrap_or(&LISTS[0]);
            let numbered = |(index, item)| Record {
                pointer: format!("/{name}/{index}"),
                ..read::data_point(&MAPPING, &item, subject)
            };
            Ok(list.items().enumerate().map(numbered).collect())
        }
    }
}

#[cfg(test)]
mod tests;
