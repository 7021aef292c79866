//! The definitions of an edition as resources that are read and searched.
//!
//! What a search looks at is kept; the text with every word is made when somebody reads it.

use std::sync::Arc;

use serde_json::Value;

use super::Edition;
use crate::fhir::ours;
use crate::fhir::tree::{Document, json};

/// A definition as a resource.
pub struct Definition {
    pub kind: String,
    /// That of a definition of an earlier version ends in the version, since ids are unique here.
    pub id: String,
    /// What searches look at: of the elements of a snapshot their places, types and bindings.
    pub document: Document,
    /// When it was published, in milliseconds since 1970.
    pub updated_ms: i64,
    edition: Arc<Edition>,
    at: usize,
}

/// What there is between an id and the version of its edition.
const OF_VERSION: &str = "-v";

impl Definition {
    /// Types of which there are definitions.
    pub const KINDS: [&str; 10] = [
        "StructureDefinition",
        "ValueSet",
        "CodeSystem",
        "ConceptMap",
        "Questionnaire",
        "PlanDefinition",
        "Measure",
        "OperationDefinition",
        "CapabilityStatement",
        "ImplementationGuide",
    ];

    /// The definitions of an edition, by type and id.
    pub(super) fn all(edition: &Arc<Edition>) -> Vec<Definition> {
        let own = edition.resources.iter().enumerate().filter(|(_, each)| !edition.is_example(each));
        own.filter_map(|(at, resource)| Definition::of(edition, at, resource)).collect()
    }

    fn of(edition: &Arc<Edition>, at: usize, resource: &Value) -> Option<Definition> {
        let own = |name: &str| resource[name].as_str().map(str::to_owned);
        let mut searched = edition.full(resource);
        slim(&mut searched);
        let document = json::parse(searched.to_string()).ok()?;
        let id = match edition.version() {
            ours::VERSION => own("id")?,
            version => format!("{}{OF_VERSION}{version}", own("id")?),
        };
        Some(Definition { kind: own("resourceType")?, id, document, updated_ms: 0, edition: Arc::clone(edition), at })
    }

    /// The resource, with every word.
    pub fn text(&self) -> String {
        let mut full = self.edition.full(&self.edition.resources[self.at]);
        full["id"] = self.id.clone().into();
        full.to_string()
    }

    /// The version of the guide that an id is of.
    pub fn version_of(id: &str) -> &str {
        id.rsplit_once(OF_VERSION).map_or(ours::VERSION, |(_, version)| version)
    }
}

/// Takes away what no search parameter looks at.
fn slim(resource: &mut Value) {
    for part in ["snapshot", "differential"] {
        let elements = resource.get_mut(part).and_then(|part| part.get_mut("element")).and_then(Value::as_array_mut);
        for members in elements.into_iter().flatten().filter_map(Value::as_object_mut) {
            members.retain(|name, _| matches!(name.as_str(), "id" | "path" | "base" | "type" | "binding" | "code"));
        }
    }
}
