//! Where a canonical is explained: a page of the guide, or one of the specification.

use std::collections::HashMap;

use serde_json::Value;

/// Pages of the guide by canonical and by type and id.
pub(super) struct Links {
    pages: HashMap<String, (String, String)>,
}

/// File name of a resource's page, without its ending.
pub(super) fn name(resource: &Value) -> String {
    format!("{}-{}", text(resource, "resourceType"), text(resource, "id"))
}

/// A member that is a text; empty where it is not.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// Members that are texts.
pub(super) fn texts<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v str> {
    items(value, name).filter_map(Value::as_str)
}

/// The items of a member that is an array.
pub(super) fn items<'v>(value: &'v Value, name: &str) -> std::slice::Iter<'v, Value> {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// What a resource calls itself.
pub(super) fn title(resource: &Value) -> &str {
    ["title", "name", "id"].iter().map(|each| text(resource, each)).find(|text| !text.is_empty()).unwrap_or_default()
}

impl Links {
    pub(super) fn new(resources: &[Value]) -> Links {
        let mut pages = HashMap::new();
        for resource in resources {
            let page = (format!("{}.html", name(resource)), title(resource).to_owned());
            let address = format!("{}/{}", text(resource, "resourceType"), text(resource, "id"));
            for known in [text(resource, "url"), &address] {
                if !known.is_empty() {
                    pages.insert(known.to_owned(), page.clone());
                }
            }
        }
        Links { pages }
    }

    /// Where it is explained, and what to call it.
    pub(super) fn find(&self, canonical: &str) -> (Option<String>, String) {
        let bare = canonical.split('|').next().unwrap_or(canonical);
        if let Some((page, title)) = self.pages.get(bare) {
            return (Some(page.clone()), title.clone());
        }
        let last = bare.rsplit('/').next().unwrap_or(bare);
        (specification(bare), if bare.starts_with("http://hl7.org/fhir/") { last } else { bare }.to_owned())
    }

    /// The page of a local reference.
    pub(super) fn page(&self, reference: &str) -> Option<String> {
        self.pages.get(reference).map(|(page, _)| page.clone())
    }
}

/// The page of R4 that explains a canonical of the specification.
fn specification(canonical: &str) -> Option<String> {
    let rest = canonical.strip_prefix("http://hl7.org/fhir/")?;
    let page = match rest.split_once('/') {
        Some(("StructureDefinition", name)) if name.contains('-') => format!("extension-{}.html", name.to_lowercase()),
        Some(("StructureDefinition", name)) => return Some(data_type(name)),
        Some(("ValueSet", name)) => format!("valueset-{name}.html"),
        Some(_) => return None,
        None => format!("codesystem-{rest}.html"),
    };
    Some(format!("https://hl7.org/fhir/R4/{page}"))
}

/// The page of R4 that explains a type.
pub(super) fn data_type(name: &str) -> String {
    let page = match name {
        "Reference" => "references.html#Reference".to_owned(),
        "Narrative" => "narrative.html#Narrative".to_owned(),
        "Extension" => "extensibility.html#Extension".to_owned(),
        "Meta" => "resource.html#Meta".to_owned(),
        _ if crate::fhir::definitions::is_primitive(name) => format!("datatypes.html#{name}"),
        _ if DATA_TYPES.contains(&name) => format!("datatypes.html#{name}"),
        _ => format!("{}.html", name.to_lowercase()),
    };
    format!("https://hl7.org/fhir/R4/{page}")
}

/// The general-purpose data types (R4 §2.24).
const DATA_TYPES: [&str; 24] = [
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "CodeableConcept",
    "Coding",
    "ContactPoint",
    "Count",
    "Distance",
    "Duration",
    "Element",
    "BackboneElement",
    "HumanName",
    "Identifier",
    "Money",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "SampledData",
    "Signature",
    "SimpleQuantity",
    "Timing",
    "MoneyQuantity",
];
