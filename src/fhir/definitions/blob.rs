//! The embedded form of a package: one line a definition, what rules ask and nothing else.
//!
//! A line is a tag (`S`, `V`, `C`, `P`), the definition's url, its heads, and its condensed JSON, tab-separated:
//! an index over the heads is all that start-up pays, and the same reader serves embedded and packaged JSON.
//! The lines are sorted by url, so that the same package always gives the same bytes.

use serde_json::{Map, Value};

use crate::fhir::tree::Document;

/// Condenses the resources of a package into lines.
pub fn condense(documents: &[Document]) -> String {
    let mut structures = Vec::new();
    let mut parameters = Vec::new();
    let mut terms = Vec::new();
    for document in documents {
        // The tree has read it as one JSON object, so serde_json does too.
        let Ok(value) = serde_json::from_str::<Value>(document.source()) else { continue };
        match value["resourceType"].as_str() {
            Some("StructureDefinition") if value["kind"] != "logical" && value.get("snapshot").is_some() => {
                structures.push(structure(&value));
            }
            Some("SearchParameter") => parameters.push(parameter(&value)),
            Some("ValueSet") => terms.push(term_line("V", &value_set(&value))),
            Some("CodeSystem") => terms.push(term_line("C", &code_system(&value))),
            _ => {}
        }
    }
    let mut lines: Vec<String> = structures.iter().map(structure_line).collect();
    lines.extend(terms);
    lines.extend(parameters.iter().map(|value| format!("P\t{}\t{value}", string(value, "url"))));
    lines.sort();
    lines.dedup();
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn structure_line(value: &Value) -> String {
    let heads = ["url", "type", "kind", "derivation", "baseDefinition"].map(|name| string(value, name));
    format!("S\t{}\t{value}", heads.join("\t"))
}

fn string<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn keep(value: &Value, names: &[&str]) -> Map<String, Value> {
    let kept = names.iter().filter_map(|name| Some(((*name).to_owned(), value.get(*name)?.clone())));
    kept.collect()
}

fn structure(value: &Value) -> Value {
    let mut kept = keep(value, &["url", "version", "name", "type", "kind", "abstract", "baseDefinition", "derivation"]);
    let elements = value["snapshot"]["element"].as_array().map(Vec::as_slice).unwrap_or_default();
    let elements: Vec<Value> = elements.iter().map(element).collect();
    kept.insert("snapshot".to_owned(), serde_json::json!({"element": elements}));
    Value::Object(kept)
}

fn element(value: &Value) -> Value {
    let mut kept = keep(value, &["path", "min", "max", "sliceName", "contentReference", "maxLength"]);
    let members = value.as_object().into_iter().flatten();
    for (name, member) in members {
        if ["fixed", "pattern", "minValue", "maxValue"].iter().any(|prefix| name.starts_with(prefix)) {
            kept.insert(name.clone(), member.clone());
        }
    }
    if value["id"] != value["path"] {
        kept.insert("id".to_owned(), value["id"].clone());
    }
    if value["base"]["max"] != value["max"] {
        kept.insert("base".to_owned(), serde_json::json!({"max": value["base"]["max"]}));
    }
    if value["isModifier"] == true {
        kept.insert("isModifier".to_owned(), Value::Bool(true));
    }
    let list = |name: &str, each: &dyn Fn(&Value) -> Option<Value>| -> Option<Value> {
        let listed: Vec<Value> = value[name].as_array()?.iter().filter_map(each).collect();
        (!listed.is_empty()).then_some(Value::Array(listed))
    };
    let types =
        list("type", &|each| Some(Value::Object(keep(each, &["code", "profile", "targetProfile", "extension"]))));
    let root = !string(value, "path").contains('.');
    let constraints = list("constraint", &|each| constraint(each, root));
    for (name, listed) in [("type", types), ("constraint", constraints)] {
        if let Some(listed) = listed {
            kept.insert(name.to_owned(), listed);
        }
    }
    if let Some(slicing) = value.get("slicing") {
        kept.insert("slicing".to_owned(), Value::Object(keep(slicing, &["discriminator", "rules", "ordered"])));
    }
    let strength = string(&value["binding"], "strength");
    if matches!(strength, "required" | "extensible") {
        kept.insert("binding".to_owned(), Value::Object(keep(&value["binding"], &["strength", "valueSet"])));
    }
    Value::Object(kept)
}

/// Constraints of a type stand on the type; their copies on each element of that type say nothing new.
fn constraint(value: &Value, root: bool) -> Option<Value> {
    if !root && matches!(string(value, "key"), "ele-1" | "ext-1") {
        return None;
    }
    Some(Value::Object(keep(value, &["key", "severity", "human", "expression", "extension"])))
}

fn parameter(value: &Value) -> Value {
    Value::Object(keep(value, &["url", "code", "base", "type", "expression", "target"]))
}

fn term_line(tag: &str, value: &Value) -> String {
    format!("{tag}\t{}\t{}\t{value}", string(value, "url"), string(value, "version"))
}

/// What decides membership; names and words are left out.
fn value_set(value: &Value) -> Value {
    let mut kept = keep(value, &["url", "version"]);
    if let Some(compose) = value.get("compose") {
        let mut said = keep(compose, &["inactive"]);
        for name in ["include", "exclude"] {
            let parts = compose[name].as_array().map(Vec::as_slice).unwrap_or_default();
            if !parts.is_empty() {
                said.insert(name.to_owned(), parts.iter().map(compose_part).collect());
            }
        }
        kept.insert("compose".to_owned(), Value::Object(said));
    } else if let Some(expansion) = value.get("expansion") {
        kept.insert("expansion".to_owned(), Value::Object(keep(expansion, &["total", "contains"])));
    }
    Value::Object(kept)
}

fn compose_part(part: &Value) -> Value {
    let mut kept = keep(part, &["system", "version", "filter", "valueSet"]);
    if let Some(concepts) = part["concept"].as_array() {
        let codes = concepts.iter().map(|concept| Value::Object(keep(concept, &["code"])));
        kept.insert("concept".to_owned(), codes.collect());
    }
    Value::Object(kept)
}

/// Codes, displays and hierarchy, and the properties that say more than a date.
fn code_system(value: &Value) -> Value {
    let mut kept = keep(value, &["url", "version", "content", "caseSensitive", "supplements", "valueSet"]);
    let properties = value["property"].as_array().map(Vec::as_slice).unwrap_or_default();
    let said: Vec<Value> = properties
        .iter()
        .filter(|property| tells(string(property, "code")))
        .map(|property| Value::Object(keep(property, &["code", "uri", "type"])))
        .collect();
    if !said.is_empty() {
        kept.insert("property".to_owned(), Value::Array(said));
    }
    if let Some(concepts) = value["concept"].as_array() {
        kept.insert("concept".to_owned(), concepts.iter().map(concept).collect());
    }
    Value::Object(kept)
}

fn tells(property: &str) -> bool {
    !matches!(property, "deprecationDate" | "internalId" | "legacy")
}

fn concept(value: &Value) -> Value {
    let mut kept = keep(value, &["code", "display"]);
    let properties = value["property"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Active is what a concept is when nothing is said.
    let said = |property: &&Value| {
        tells(string(property, "code")) && !(property["code"] == "status" && property["valueCode"] == "active")
    };
    let said: Vec<Value> = properties.iter().filter(said).cloned().collect();
    if !said.is_empty() {
        kept.insert("property".to_owned(), Value::Array(said));
    }
    if let Some(concepts) = value["concept"].as_array() {
        kept.insert("concept".to_owned(), concepts.iter().map(concept).collect());
    }
    Value::Object(kept)
}
