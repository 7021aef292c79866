//! A profile's elements as the rows of a tree.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;

use super::links::{Links, data_type, items, text, texts};
use super::piece::Piece;

#[derive(Serialize, Clone, Debug)]
pub(super) struct Row {
    name: String,
    depth: usize,
    class: &'static str,
    flags: Vec<Flag>,
    card: String,
    types: Vec<Piece>,
    short: String,
    details: Vec<Piece>,
}

#[derive(Serialize, Clone, Debug)]
struct Flag {
    sign: &'static str,
    meaning: &'static str,
}

/// The views of a definition that its own page shows.
pub(super) struct Views<'v> {
    pub(super) key: Vec<Row>,
    pub(super) differential: Vec<Row>,
    /// Keys of its own invariants.
    pub(super) rules: HashSet<&'v str>,
}

/// All elements.
pub(super) fn all(definition: &Value, snapshot: &[Value], links: &Links) -> Vec<Row> {
    let shown = Shown::of(definition, links);
    snapshot.iter().map(|each| row(each, &shown)).collect()
}

pub(super) fn views<'v>(definition: &'v Value, snapshot: &[Value], links: &Links) -> Views<'v> {
    let differential: Vec<&Value> = items(&definition["differential"], "element").collect();
    let shown = Shown::of(definition, links);
    let said = shown.said.clone();
    let rows = |wanted: &dyn Fn(&Value) -> bool| {
        snapshot.iter().filter(|each| wanted(each)).map(|each| row(each, &shown)).collect()
    };
    let inner: HashSet<&str> = said.iter().flat_map(|id| ancestors(id)).collect();
    let mut kept: HashSet<&str> =
        snapshot.iter().filter(|each| is_key(each, &said)).map(|each| text(each, "id")).collect();
    let above: Vec<&str> = kept.iter().flat_map(|id| ancestors(id)).collect();
    kept.extend(above);
    Views {
        key: rows(&|each| kept.contains(text(each, "id"))),
        differential: if snapshot.is_empty() {
            differential.iter().map(|each| row(each, &shown)).collect()
        } else {
            rows(&|each| said.contains(text(each, "id")) || inner.contains(text(each, "id")))
        },
        rules: shown.rules,
    }
}

/// What the rows of one definition are shown by.
struct Shown<'v, 'l> {
    /// Ids of the elements that the definition itself speaks of.
    said: HashSet<&'v str>,
    /// Keys of its own invariants; the inherited ones have a table of their own.
    rules: HashSet<&'v str>,
    links: &'l Links,
}

impl<'v> Shown<'v, '_> {
    fn of<'l>(definition: &'v Value, links: &'l Links) -> Shown<'v, 'l> {
        let differential = || items(&definition["differential"], "element");
        let rules = differential().flat_map(|each| items(each, "constraint")).map(|each| text(each, "key"));
        Shown { said: differential().map(|each| text(each, "id")).collect(), rules: rules.collect(), links }
    }
}

/// Ids of the elements that an element stands in, and of what a slice is a slice of.
fn ancestors(id: &str) -> impl Iterator<Item = &str> {
    id.char_indices().filter(|(_, letter)| matches!(letter, '.' | ':')).map(|(index, _)| &id[..index])
}

fn is_key(element: &Value, said: &HashSet<&str>) -> bool {
    let id = text(element, "id");
    let is_forbidden = text(element, "max") == "0";
    let is_fixed = element
        .as_object()
        .is_some_and(|members| members.keys().any(|name| name.starts_with("fixed") || name.starts_with("pattern")));
    let is_demanded = element["min"].as_u64() > Some(0) && id.matches('.').count() == 1;
    said.contains(id) || !is_forbidden && (element["mustSupport"] == true || is_fixed || is_demanded)
}

fn row(element: &Value, shown: &Shown<'_, '_>) -> Row {
    let id = text(element, "id");
    let name = id.rsplit('.').next().unwrap_or(id);
    let flags = [
        ("mustSupport", "S", "must be supported"),
        ("isModifier", "?!", "may change the meaning"),
        ("isSummary", "Σ", "part of the summary"),
    ];
    let flags = flags.iter().filter(|(member, ..)| element[*member] == true);
    let class = match (name.contains(':'), shown.said.contains(id)) {
        (true, _) => "slice",
        (false, true) => "said",
        (false, false) => "inherited",
    };
    let min = element["min"].as_u64().map(|min| min.to_string()).unwrap_or_default();
    let max = text(element, "max");
    Row {
        name: name.to_owned(),
        depth: id.matches('.').count(),
        class,
        flags: flags.map(|(_, sign, meaning)| Flag { sign, meaning }).collect(),
        card: if max.is_empty() { String::new() } else { format!("{min}..{max}") },
        types: types(element, shown.links),
        short: text(element, "short").to_owned(),
        details: details(element, shown),
    }
}

fn types(element: &Value, links: &Links) -> Vec<Piece> {
    if let Some(id) = element["contentReference"].as_str() {
        return vec![Piece::text(format!("see {}", id.trim_start_matches('#')))];
    }
    let mut pieces = Vec::new();
    for each in items(element, "type") {
        let code = text(each, "code");
        let code = if code.starts_with("http://hl7.org/fhirpath/") { "string" } else { code };
        let named: Vec<&str> = texts(each, "profile").collect();
        if named.is_empty() {
            pieces.push(Piece::link(code, Some(data_type(code))));
        }
        for canonical in named {
            let (href, name) = links.find(canonical);
            pieces.push(Piece::link(&format!("{code}: {name}"), href));
        }
        for canonical in texts(each, "targetProfile") {
            let (href, name) = links.find(canonical);
            pieces.push(Piece::link(&format!("→ {name}"), href));
        }
    }
    pieces
}

fn details(element: &Value, shown: &Shown<'_, '_>) -> Vec<Piece> {
    let mut out = Vec::new();
    for (name, value) in element.as_object().into_iter().flatten() {
        let label = match name {
            _ if name.starts_with("fixed") => "exactly",
            _ if name.starts_with("pattern") => "contains",
            _ if name.starts_with("minValue") => "at least",
            _ if name.starts_with("maxValue") => "at most",
            _ if name == "maxLength" => "at most this long",
            _ => continue,
        };
        out.push(Piece::code(literal(value)).labelled(label));
    }
    let slicing = &element["slicing"];
    if slicing.is_object() {
        let by =
            items(slicing, "discriminator").map(|each| format!("{} of {}", text(each, "type"), text(each, "path")));
        let by: Vec<String> = by.collect();
        let text = format!("{} ({})", by.join(", "), text(slicing, "rules"));
        out.push(Piece::text(text).labelled("slices by"));
    }
    if let Some(binding) = binding(element, shown.links) {
        out.push(binding);
    }
    for constraint in items(element, "constraint").filter(|each| shown.rules.contains(text(each, "key"))) {
        out.push(Piece::text(text(constraint, "human").to_owned()).labelled(text(constraint, "key")));
    }
    out
}

/// The element's binding: strength and value set.
pub(super) fn binding(element: &Value, links: &Links) -> Option<Piece> {
    let binding = &element["binding"];
    let canonical = binding["valueSet"].as_str()?;
    let (href, name) = links.find(canonical);
    Some(Piece::link(&name, href).labelled(text(binding, "strength")))
}

/// Rules that hold for every element or resource and would fill every row.
pub(super) fn is_everywhere(key: &str) -> bool {
    key == "ele-1" || key == "ext-1" || key.starts_with("dom-")
}

/// A value in few words: `system#code` for a coding, the number and unit for a quantity.
pub(super) fn literal(value: &Value) -> String {
    let coding = |value: &Value| {
        let code = value["code"].as_str()?;
        let system = text(value, "system");
        Some(if system.is_empty() { code.to_owned() } else { format!("{system}#{code}") })
    };
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let codings: Vec<String> = items(value, "coding").filter_map(coding).collect();
    if !codings.is_empty() {
        return codings.join(", ");
    }
    if let Some(number) = value.get("value") {
        return format!("{number} {}", text(value, "code")).trim_end().to_owned();
    }
    coding(value).unwrap_or_else(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_said_in_few_words() {
        for (value, said) in [
            (json!("final"), "final"),
            (json!({"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}), "http://loinc.org#8867-4"),
            (json!({"system": "http://unitsofmeasure.org", "code": "/min"}), "http://unitsofmeasure.org#/min"),
            (json!({"value": 15, "code": "/min"}), "15 /min"),
            (json!({"a": 1}), "{\"a\":1}"),
            (json!(12), "12"),
        ] {
            assert_eq!(literal(&value), said);
        }
    }

    #[test]
    fn ancestors_of_an_element_hold_it() {
        let of = |id| ancestors(id).collect::<Vec<_>>();
        assert_eq!(of("A.b:c.d"), ["A", "A.b", "A.b:c"]);
        assert!(of("A").is_empty());
    }
}
