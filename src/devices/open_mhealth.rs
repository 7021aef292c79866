//! The JSON Schemas of Open mHealth and IEEE 1752.1, and what of a body violates them.
//!
//! A mapping looks only at what it carries; whether a body is one of its schema at all is the schema's word. The schemas
//! are part of the program (`profiles/schemas.py` condenses them), nothing is ever fetched, and a schema that is not among
//! them says nothing. What becomes of a valid body is not known here.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};

use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Kind, NodeId};

/// By namespace, name and version, with colons between them.
static SCHEMAS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let mut text = Vec::new();
    let packed = include_bytes!("../../profiles/open-mhealth-schemas.json.gz");
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_end(&mut text)
        .expect("the schemas are part of the program, and a test reads them");
    let all: Map<String, Value> =
        serde_json::from_slice(&text).expect("the schemas are part of the program, and a test reads them");
    let compiled = all.into_iter().map(|(name, schema)| {
        let options = jsonschema::options().with_draft(Draft::Draft7).should_validate_formats(true);
        let validator = options.build(&schema);
        (name, validator.expect("the schemas are part of the program, and a test compiles them"))
    });
    compiled.collect()
});

/// What the schemas want of a time. No zone of the request can stand for what has to be in the time itself.
pub(super) const OFFSET: &str = "The schema wants times with seconds and with the UTC offset in the time itself, as in \
     2026-01-15T08:30:00+01:00; a zone that the request names does not stand for it.";

/// What is wrong with a body, and where.
#[derive(Debug)]
pub(super) struct Violation {
    pub id: Id,
    pub place: NodeId,
    /// What is expected.
    pub text: String,
}

/// What of a body violates its schema; nothing where the schema is not known.
pub(super) fn violations(schema: &str, document: &Document, body: NodeId) -> Vec<Violation> {
    let Some(validator) = SCHEMAS.get(schema) else { return Vec::new() };
    let value = value(document, body);
    if validator.is_valid(&value) {
        return Vec::new();
    }
    let read = validator.iter_errors(&value).map(|error| {
        let pointer = error.instance_path().to_string();
        // A unit that a schema does not allow is told as one that a mapping does not list.
        let unit = matches!(error.kind(), ValidationErrorKind::Enum { .. }) && pointer.ends_with("/unit");
        Violation {
            id: if unit { Id::MeasureUnit } else { Id::DeviceRecord },
            place: place(document, body, &pointer),
            text: expected(error.kind()),
        }
    });
    read.collect()
}

/// What would have been valid, without a word of what was sent.
fn expected(kind: &ValidationErrorKind) -> String {
    let list = |options: &Value| {
        let words: Vec<String> = options.as_array().into_iter().flatten().take(24).map(plain).collect();
        format!("One of {} is expected.", words.join(", "))
    };
    match kind {
        ValidationErrorKind::Required { property } => format!("{} is missing.", plain(property)),
        ValidationErrorKind::Enum { options } => list(options),
        ValidationErrorKind::Constant { expected_value } => format!("{} is expected.", plain(expected_value)),
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => {
            format!("A value of the type {kind} is expected.")
        }
        kind if is_of_times(kind) => OFFSET.to_owned(),
        ValidationErrorKind::Format { format } => format!("A value of the format {format} is expected."),
        ValidationErrorKind::Pattern { pattern } => format!("A text that matches {pattern} is expected."),
        kind => format!("The body's JSON Schema does not allow this ({}).", kind.keyword()),
    }
}

/// Whether a body violates its schema by how times are written and by nothing else. Of several forms that a schema allows,
/// the one that was meant is the one that nothing else is missing to.
fn is_of_times(kind: &ValidationErrorKind) -> bool {
    match kind {
        ValidationErrorKind::Format { format } => format == "date-time",
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().any(|errors| !errors.is_empty() && errors.iter().all(|error| is_of_times(error.kind())))
        }
        _ => false,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The node at a JSON Pointer below another, or the nearest above it that is there.
fn place(document: &Document, from: NodeId, pointer: &str) -> NodeId {
    let mut node = from;
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        let next = match document.kind(node) {
            Kind::Array => name.parse().ok().and_then(|index: usize| document.children(node).nth(index)),
            _ => document.member(node, &name),
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}

fn value(document: &Document, node: NodeId) -> Value {
    let children = || document.children(node);
    match document.kind(node) {
        Kind::Object => {
            Value::Object(children().map(|child| (document.key(child).to_owned(), value(document, child))).collect())
        }
        Kind::Array => Value::Array(children().map(|child| value(document, child)).collect()),
        Kind::String => Value::String(document.value(node).to_owned()),
        // Digits as they were sent: the parser took them, so they are a number.
        Kind::Number => document.value(node).parse().map_or(Value::Null, Value::Number),
        Kind::True => Value::Bool(true),
        Kind::False => Value::Bool(false),
        Kind::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    fn told(schema: &str, body: &str) -> Vec<(Id, String)> {
        let document = json::parse(body).unwrap();
        let found = violations(schema, &document, document.root());
        found.into_iter().map(|violation| (violation.id, violation.text)).collect()
    }

    #[test]
    fn every_schema_is_read() {
        assert!(SCHEMAS.len() >= 20, "{:?}", SCHEMAS.keys());
        for name in ["omh:heart-rate:2.0", "ieee:sleep-episode:1.0"] {
            assert!(SCHEMAS.contains_key(name), "{name}");
        }
    }

    #[test]
    fn violations_say_what_is_expected_and_not_what_was_sent() {
        let time = r#""effective_time_frame": {"date_time": "2026-01-15T08:30:00Z"}"#;
        for (body, id, text) in [
            (format!(r#"{{"heart_rate": {{"value": 61, "unit": "beats/min"}}, {time}}}"#), None, ""),
            (
                format!(r#"{{"heart_rate": {{"value": 61, "unit": "bpm"}}, {time}}}"#),
                Some(Id::MeasureUnit),
                "One of beats/min is expected.",
            ),
            (
                format!(r#"{{"heart_rate": {{"unit": "beats/min"}}, {time}}}"#),
                Some(Id::DeviceRecord),
                "value is missing.",
            ),
            (
                format!(r#"{{"heart_rate": {{"value": "61", "unit": "beats/min"}}, {time}}}"#),
                Some(Id::DeviceRecord),
                "A value of the type number is expected.",
            ),
            (
                r#"{"heart_rate": {"value": 61, "unit": "beats/min"}}"#.to_owned(),
                Some(Id::DeviceRecord),
                "effective_time_frame is missing.",
            ),
        ] {
            let found = told("omh:heart-rate:2.0", &body);
            match id {
                None => assert_eq!(found, [], "{body}"),
                Some(id) => assert!(found.contains(&(id, text.to_owned())), "{body}: {found:?}"),
            }
        }
        assert_eq!(told("omh:heart-rate:0.9", "{}"), []);
    }
}
