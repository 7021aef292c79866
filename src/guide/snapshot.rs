//! Snapshots as they are published: the elements that our own generator makes, written as ElementDefinitions (FHIR R4
//! §5.1.0.13), with the words that the compiled guide has for them.
//!
//! The compiler's snapshots are not taken as they are: it loses elements of profiles that rest on other profiles. What an
//! element is called and means it does know, and the embedded definitions of R4 have no prose.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::fhir::definitions::{
    Aggregation, Binding, DiscriminatorKind, ElementDefinition, Literal, Registry, Slicing, SlicingRules, Strength,
    Structure, TypeReference, Versioning,
};
use crate::fhir::tree::write;

/// What rules have no part in.
const WORDS: [&str; 6] = ["short", "definition", "comment", "requirements", "alias", "isModifierReason"];

/// The snapshot's elements, with the words of the compiled ones; none where the definition rests on something that is
/// not here.
pub(super) fn elements(definition: &Value, compiled: &Value, registry: &Registry) -> Vec<Value> {
    let Some(structure) = definition["url"].as_str().and_then(|url| registry.structure(url)) else { return Vec::new() };
    let mut words: HashMap<&str, &Value> = HashMap::new();
    let differential = definition["differential"]["element"].as_array();
    for element in compiled.as_array().into_iter().chain(differential).flatten() {
        words.entry(element["id"].as_str().unwrap_or_default()).or_insert(element);
    }
    structure.elements.iter().map(|element| published(element, &structure, registry, &words)).collect()
}

fn published(
    element: &ElementDefinition,
    structure: &Structure,
    registry: &Registry,
    words: &HashMap<&str, &Value>,
) -> Value {
    let mut out = Map::new();
    out.insert("id".into(), element.id.clone().into());
    out.insert("path".into(), element.path.clone().into());
    if let Some(name) = &element.slice_name {
        out.insert("sliceName".into(), name.clone().into());
    }
    if let Some(slicing) = &element.slicing {
        out.insert("slicing".into(), sliced(slicing));
    }
    let said = words.get(element.id.as_str());
    for word in WORDS {
        if let Some(text) = said.and_then(|said| said.get(word)) {
            out.insert(word.into(), text.clone());
        }
    }
    if !out.contains_key("definition") {
        let text = format!("{}, as FHIR R4 (4.0.1) defines it.", element.path);
        out.insert("definition".into(), out.get("short").cloned().unwrap_or(text.into()));
    }
    out.insert("min".into(), element.min.into());
    out.insert("max".into(), maximum(element.max).into());
    out.insert("base".into(), base(element, structure, registry));
    if let Some(id) = &element.content_reference {
        out.insert("contentReference".into(), format!("#{id}").into());
    }
    if !element.types.is_empty() {
        out.insert("type".into(), element.types.iter().map(|each| typed(each, element)).collect());
    }
    for (prefix, literal) in [
        ("fixed", &element.fixed),
        ("pattern", &element.pattern),
        ("minValue", &element.min_value),
        ("maxValue", &element.max_value),
    ] {
        if let Some(literal) = literal {
            out.insert(format!("{prefix}{}", capital(&literal.type_name)), value(literal));
        }
    }
    if let Some(length) = element.max_length {
        out.insert("maxLength".into(), length.into());
    }
    let constraints = element.constraints.iter().map(|each| {
        json!({
            "key": each.key,
            "severity": if each.is_error { "error" } else { "warning" },
            "human": if each.human.is_empty() { &each.expression } else { &each.human },
            "expression": each.expression,
        })
    });
    let constraints: Vec<Value> = constraints.collect();
    if !constraints.is_empty() {
        out.insert("constraint".into(), constraints.into());
    }
    for (name, holds) in
        [("mustSupport", element.must_support), ("isModifier", element.is_modifier), ("isSummary", element.is_summary)]
    {
        if holds {
            out.insert(name.into(), true.into());
        }
    }
    if element.is_modifier {
        let reason = "It may change the meaning of the element that it stands in.";
        out.entry("isModifierReason").or_insert_with(|| reason.into());
    }
    if let Some(binding) = &element.binding {
        out.insert("binding".into(), bound(binding));
    }
    out.into()
}

fn maximum(max: Option<u32>) -> String {
    max.map_or("*".to_owned(), |max| max.to_string())
}

/// The element in the type where it was first said.
fn base(element: &ElementDefinition, structure: &Structure, registry: &Registry) -> Value {
    let own = |type_name: &str, path: &str| {
        let found = registry.structure(&format!("http://hl7.org/fhir/StructureDefinition/{type_name}"))?;
        let each = found.elements.iter().find(|each| each.path == path)?;
        Some(json!({"path": path, "min": each.min, "max": maximum(each.max)}))
    };
    let (holder, name) = element.path.rsplit_once('.').unwrap_or((&element.path, ""));
    let within = || {
        let parent = structure.elements.iter().find(|each| each.path == holder)?;
        let type_name = &parent.types.first()?.code;
        own(type_name, &format!("{type_name}.{name}"))
    };
    own(&structure.type_name, &element.path).or_else(within).unwrap_or_else(|| {
        let max = if element.base_repeats { "*".to_owned() } else { maximum(element.max) };
        json!({"path": element.path, "min": 0, "max": max})
    })
}

fn typed(reference: &TypeReference, element: &ElementDefinition) -> Value {
    let is_id = reference.code == "string" && element.path.rsplit_once('.').is_some_and(|(_, name)| name == "id");
    let is_system = is_id || element.path == "Extension.url";
    let mut out = Map::new();
    if is_system {
        let fhir_type = if element.path == "Extension.url" { "uri" } else { "string" };
        out.insert(
            "extension".into(),
            json!([{
                "url": "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type",
                "valueUrl": fhir_type,
            }]),
        );
        out.insert("code".into(), "http://hl7.org/fhirpath/System.String".into());
        return out.into();
    }
    out.insert("code".into(), reference.code.clone().into());
    for (name, canonicals) in [("profile", &reference.profiles), ("targetProfile", &reference.targets)] {
        if !canonicals.is_empty() {
            out.insert(name.into(), canonicals.clone().into());
        }
    }
    let aggregation = reference.aggregation.iter().map(|each| match each {
        Aggregation::Contained => "contained",
        Aggregation::Referenced => "referenced",
        Aggregation::Bundled => "bundled",
    });
    let aggregation: Vec<&str> = aggregation.collect();
    if !aggregation.is_empty() {
        out.insert("aggregation".into(), aggregation.into());
    }
    match reference.versioning {
        Versioning::Either => None,
        Versioning::Independent => out.insert("versioning".into(), "independent".into()),
        Versioning::Specific => out.insert("versioning".into(), "specific".into()),
    };
    out.into()
}

fn sliced(slicing: &Slicing) -> Value {
    let discriminators = slicing.discriminators.iter().map(|each| {
        let kind = match each.kind {
            DiscriminatorKind::Value => "value",
            DiscriminatorKind::Pattern => "pattern",
            DiscriminatorKind::Exists => "exists",
            DiscriminatorKind::Type => "type",
            DiscriminatorKind::Profile => "profile",
        };
        json!({"type": kind, "path": each.path})
    });
    let rules = match slicing.rules {
        SlicingRules::Open => "open",
        SlicingRules::Closed => "closed",
        SlicingRules::OpenAtEnd => "openAtEnd",
    };
    let mut out = json!({"ordered": slicing.ordered, "rules": rules});
    let discriminators: Vec<Value> = discriminators.collect();
    if !discriminators.is_empty() {
        out["discriminator"] = discriminators.into();
    }
    out
}

fn bound(binding: &Binding) -> Value {
    let strength = match binding.strength {
        Strength::Example => "example",
        Strength::Preferred => "preferred",
        Strength::Extensible => "extensible",
        Strength::Required => "required",
    };
    let mut out = json!({"strength": strength, "valueSet": binding.value_set});
    if let Some(max) = &binding.max {
        out["extension"] = json!([{
            "url": "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet",
            "valueCanonical": max,
        }]);
    }
    out
}

/// The literal as JSON.
fn value(literal: &Literal) -> Value {
    let element = literal.element();
    let text = write::compact(element.document(), element.node());
    serde_json::from_str(&text).unwrap_or_default()
}

/// A type's name as the end of a choice's name.
fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}
