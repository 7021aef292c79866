//! What changed between two versions of the guide, told by comparing their packages.
//!
//! Words are not compared: a change is one of what is asked for. Versions differ by themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Edition;
use super::content::address;

/// What changed from one version to the next.
pub(super) struct Changes {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) list: Vec<Change>,
}

/// A definition or an example that is not what it was.
pub(super) struct Change {
    /// `Type/id`.
    pub(super) address: String,
    pub(super) title: String,
    pub(super) what: What,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum What {
    Added,
    Removed,
    /// What is not as it was, in few words each.
    Changed(Vec<String>),
}

/// Members that are words, or follow from the version.
const WORDS: [&str; 12] = [
    "version",
    "date",
    "text",
    "description",
    "purpose",
    "copyright",
    "title",
    "name",
    "short",
    "definition",
    "comment",
    "requirements",
];

impl Change {
    /// The type of the resource.
    pub(super) fn kind(&self) -> &str {
        self.address.split('/').next().unwrap_or_default()
    }
}

/// What changed, by type and id.
pub(super) fn between(from: &Edition, to: &Edition) -> Changes {
    let resources = |edition: &Edition| -> BTreeMap<String, Value> {
        let all = edition.resources.iter().filter(|each| each["resourceType"] != "ImplementationGuide");
        all.map(|each| (address(each), each.clone())).collect()
    };
    let (before, after) = (resources(from), resources(to));
    let addresses: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let list = addresses.into_iter().filter_map(|address| {
        let (edition, resource, what) = match (before.get(address), after.get(address)) {
            (None, Some(new)) => (to, new, What::Added),
            (Some(old), None) => (from, old, What::Removed),
            (Some(old), Some(new)) => {
                let details = differences(old, new);
                (to, new, (!details.is_empty()).then_some(What::Changed(details))?)
            }
            (None, None) => return None,
        };
        Some(Change { address: address.clone(), title: edition.title_of(resource), what })
    });
    Changes { from: from.version().to_owned(), to: to.version().to_owned(), list: list.collect() }
}

/// What is not as it was: elements of a structure, codes, and else the members that differ.
fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for (parts, word) in [(elements as fn(&Value) -> BTreeMap<String, Value>, "element"), (codes, "code")] {
        let (before, after) = (parts(old), parts(new));
        for (name, part) in &after {
            match before.get(name) {
                None => out.push(format!("new {word} {name}")),
                Some(earlier) => {
                    let members = members(earlier, part);
                    if !members.is_empty() {
                        out.push(format!("{word} {name}: {}", members.join(", ")));
                    }
                }
            }
        }
        out.extend(
            before.keys().filter(|name| !after.contains_key(*name)).map(|name| format!("{word} {name} is gone")),
        );
    }
    let whole = members(old, new);
    let apart = ["differential", "compose", "concept", "count", "group"];
    out.extend(whole.into_iter().filter(|name| !apart.contains(&name.as_str())));
    out
}

/// Names of the members that differ, beside the words.
fn members(old: &Value, new: &Value) -> Vec<String> {
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_object().map(|members| members.keys().cloned().collect()).unwrap_or_default()
    };
    let all = names(old).union(&names(new)).cloned().collect::<Vec<_>>();
    all.into_iter().filter(|name| !WORDS.contains(&name.as_str()) && old.get(name) != new.get(name)).collect()
}

/// The elements that a structure speaks of, by id.
fn elements(resource: &Value) -> BTreeMap<String, Value> {
    let elements = resource["differential"]["element"].as_array().into_iter().flatten();
    elements.filter_map(|each| Some((each["id"].as_str()?.to_owned(), each.clone()))).collect()
}

/// The codes of a code system, a value set or a map.
fn codes(resource: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    let listed = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let code = |concept: &Value| concept["code"].as_str().unwrap_or_default().to_owned();
    for concept in listed(&resource["concept"]) {
        out.insert(code(&concept), concept);
    }
    for include in listed(&resource["compose"]["include"]) {
        let system = include["system"].as_str().unwrap_or_default();
        for concept in listed(&include["concept"]) {
            out.insert(format!("{system}#{}", code(&concept)), concept);
        }
        for set in listed(&include["valueSet"]) {
            out.insert(format!("all of {}", set.as_str().unwrap_or_default()), Value::Null);
        }
    }
    for group in listed(&resource["group"]) {
        for element in listed(&group["element"]) {
            for target in listed(&element["target"]) {
                out.insert(format!("{} to {}", code(&element), code(&target)), target);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_said_in_few_words() {
        let set = |codes: &[&str]| {
            let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
            json!({"version": "1", "compose": {"include": [{"system": "urn:s", "concept": concepts}]}})
        };
        let profile = |min: u32| {
            json!({"version": min.to_string(), "kind": "resource", "differential": {"element": [
                {"id": "A.b", "min": min, "short": min.to_string()}]}})
        };
        for (old, new, said) in [
            (set(&["a", "b"]), set(&["b", "c"]), &["new code urn:s#c", "code urn:s#a is gone"][..]),
            (profile(0), profile(1), &["element A.b: min"]),
            (profile(0), json!({"kind": "logical"}), &["element A.b is gone", "kind"]),
            (json!({"version": "1", "title": "x"}), json!({"version": "2", "title": "y"}), &[]),
        ] {
            assert_eq!(differences(&old, &new), said);
        }
    }
}
