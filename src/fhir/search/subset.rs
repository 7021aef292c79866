//! Parts of a resource (R4 §3.1.1.5.8, §3.1.1.5.9): its summary, its text, its data, or named elements.
//!
//! What a part must have, whatever was asked for, are the id, the meta and what the definition requires or what changes the
//! meaning of the rest. A part says by a tag that it is one, so that nobody takes it for the whole.

use super::query::Summary;
use crate::fhir::definitions::{ElementDefinition, Structure};
use crate::fhir::tree::{Document, Kind, NodeId, write};

const TAG: &str = "{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ObservationValue\",\"code\":\"SUBSETTED\"}";

/// What is asked for of each resource.
#[derive(Clone, Copy, Debug)]
pub struct Subset<'a> {
    pub summary: Summary,
    /// Names of elements; all where there is none.
    pub elements: &'a [String],
}

impl Subset<'_> {
    /// Whether anything is left out.
    pub fn is_whole(&self) -> bool {
        self.elements.is_empty() && matches!(self.summary, Summary::No | Summary::Count)
    }

    /// The part of a resource, as JSON.
    pub fn write(&self, document: &Document, structure: &Structure) -> String {
        let root = document.root();
        let mut out = String::with_capacity(document.source().len().min(4096));
        let kind = structure.type_name.as_str();
        out.push('{');
        let mut tagged = false;
        for member in document.children(root) {
            let key = document.key(member);
            if key == "meta" {
                begin(document, member, &mut out);
                meta(document, member, &mut out);
                tagged = true;
            } else if matches!(key, "resourceType" | "id") {
                begin(document, member, &mut out);
                out.push_str(&write::compact(document, member));
            } else {
                self.member(document, member, kind, structure, true, &mut out);
            }
        }
        if !tagged {
            out.push_str(&format!(",\"meta\":{{\"tag\":[{TAG}]}}"));
        }
        out.push('}');
        out
    }

    fn member(
        &self,
        document: &Document,
        member: NodeId,
        path: &str,
        structure: &Structure,
        top: bool,
        out: &mut String,
    ) {
        let name = document.key(member).trim_start_matches('_');
        let Some(definition) = defined(structure, path, name) else { return };
        if !self.keeps(definition, name, top) {
            return;
        }
        begin(document, member, out);
        // Inside an element of the resource's own, a summary leaves out again; a data type is one piece.
        let is_own = structure
            .elements
            .iter()
            .any(|each| each.path.strip_prefix(definition.path.as_str()).is_some_and(|rest| rest.starts_with('.')));
        if self.summary == Summary::True && self.elements.is_empty() && is_own {
            self.inside(document, member, &definition.path, structure, out);
        } else {
            out.push_str(&write::compact(document, member));
        }
    }

    fn inside(&self, document: &Document, node: NodeId, path: &str, structure: &Structure, out: &mut String) {
        match document.kind(node) {
            Kind::Array => {
                out.push('[');
                for (index, item) in document.children(node).enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    self.inside(document, item, path, structure, out);
                }
                out.push(']');
            }
            Kind::Object => {
                out.push('{');
                for member in document.children(node) {
                    self.member(document, member, path, structure, false, out);
                }
                out.push('}');
            }
            _ => out.push_str(&write::compact(document, node)),
        }
    }

    fn keeps(&self, definition: &ElementDefinition, name: &str, top: bool) -> bool {
        let is_needed = definition.min > 0 || definition.is_modifier;
        if top && !self.elements.is_empty() {
            let root = definition.path.split('.').next().unwrap_or_default();
            let stem = definition.path.rsplit('.').next().unwrap_or_default().trim_end_matches("[x]");
            let is_named = |asked: &String| {
                let asked = asked.strip_prefix(root).and_then(|rest| rest.strip_prefix('.')).unwrap_or(asked);
                let first = asked.split('.').next().unwrap_or_default();
                first == name || first == stem
            };
            return is_needed || self.elements.iter().any(is_named);
        }
        match self.summary {
            Summary::No | Summary::Count => true,
            Summary::True => is_needed || definition.is_summary,
            Summary::Text => definition.min > 0 || name == "text",
            Summary::Data => name != "text",
        }
    }
}

/// A member's name, behind a comma where something stands before it.
fn begin(document: &Document, member: NodeId, out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
    write::string(document.key(member), out);
    out.push(':');
}

fn meta(document: &Document, node: NodeId, out: &mut String) {
    out.push('{');
    for member in document.children(node).filter(|member| document.key(*member) != "tag") {
        begin(document, member, out);
        out.push_str(&write::compact(document, member));
    }
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push_str("\"tag\":[");
    for tag in document.member(node, "tag").into_iter().flat_map(|tags| document.children(tags)) {
        out.push_str(&write::compact(document, tag));
        out.push(',');
    }
    out.push_str(TAG);
    out.push_str("]}");
}

/// The definition of a child, which JSON may name by one of its types.
fn defined<'s>(structure: &'s Structure, path: &str, name: &str) -> Option<&'s ElementDefinition> {
    let is_it = |element: &&ElementDefinition| {
        let own = element.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'));
        own.is_some_and(|own| own == name || own.strip_suffix("[x]").is_some_and(|stem| is_choice(stem, name)))
    };
    structure.elements.iter().find(is_it)
}

fn is_choice(stem: &str, name: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|kind| kind.starts_with(|first: char| first.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use crate::fhir::definitions::Registry;
    use crate::fhir::search::Query;
    use crate::fhir::tree::json;

    const OBSERVATION: &str = r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"2","tag":[{"code":"t"}]},
        "text":{"status":"generated","div":"<div/>"},"status":"final","_status":{"id":"s"},"category":[{"text":"c"}],
        "code":{"text":"x"},"subject":{"reference":"Patient/1"},"note":[{"text":"n"}],"valueQuantity":{"value":1.50},
        "component":[{"code":{"text":"y"},"valueInteger":2,"interpretation":[{"text":"high"}]}]}"#;

    /// Names of what is left, and of what is left of the first component.
    fn left(query: &str) -> String {
        let (name, value) = query.split_once('=').unwrap();
        let registry = Registry::core();
        let pairs = [(name.to_owned(), value.to_owned())];
        let (query, issues) = Query::parse("Observation", &pairs, &registry, false);
        assert!(issues.is_empty(), "{issues:?}");
        let document = json::parse(OBSERVATION).unwrap();
        let text = query.subset().write(&document, &registry.structure("Observation").unwrap());
        let part: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(part["meta"]["tag"][1]["code"], "SUBSETTED", "{text}");
        assert!(!text.contains("valueQuantity") || text.contains("1.50"), "{text}");
        let names = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
        };
        let mut top = names(&part);
        top.retain(|name| !matches!(name.as_str(), "resourceType" | "id" | "meta"));
        top.sort();
        let mut inner = names(&part["component"][0]);
        inner.sort();
        format!("{} | {}", top.join(" "), inner.join(" "))
    }

    #[test]
    fn leaves_what_is_asked_for_and_what_is_needed() {
        for (query, expected) in [
            ("_summary=true", "_status code component status subject valueQuantity | code valueInteger"),
            ("_summary=text", "_status code status text | "),
            (
                "_summary=data",
                "_status category code component note status subject valueQuantity | code interpretation valueInteger",
            ),
            ("_elements=subject", "_status code status subject | "),
            ("_elements=value,Observation.note", "_status code note status valueQuantity | "),
            ("_elements=component.code", "_status code component status | code interpretation valueInteger"),
            ("_elements=nothing", "_status code status | "),
        ] {
            assert_eq!(left(query), expected, "{query}");
        }
    }
}
