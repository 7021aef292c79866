//! Search sets: what a server may put into the answer of a search (R4 §3.1.1.1).

use std::collections::HashSet;
use std::sync::Arc;

use super::super::run::Run;
use super::super::scope::Entries;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Checks the entries of a search set by their search modes. Where no entry has one, there is nothing to hold it to.
pub fn check<'d>(run: &mut Run<'_, 'd>, bundle: Element<'d>, entries: &Arc<Entries<'d>>) {
    let own = bundle.all("link").find(|link| link.text_of("relation") == Some("self"));
    let url = own.and_then(|link| link.text_of("url")).unwrap_or_default();
    let types = searched(url, &|name| run.validator.registry.is_resource(name));
    let mode = |entry: Element<'d>| entry.get("search").and_then(|search| search.text_of("mode"));
    let has_modes = entries.list().iter().any(|entry| mode(entry.element).is_some());
    for (index, entry) in entries.list().iter().enumerate() {
        run.trail.push("entry", 5, Some(index as u32));
        let Some(resource) = entry.resource else {
            run.issue(Id::SearchResult, entry.element, "An entry of a search set has a resource.".to_owned());
            run.trail.pop();
            continue;
        };
        run.trail.push("resource", 8, None);
        match mode(entry.element).filter(|_| has_modes) {
            Some(mode @ ("match" | "include")) => {
                if entry.id.is_none() {
                    run.issue(Id::SearchResult, resource, "What a search finds has an id.".to_owned());
                }
                if mode == "match" && !types.is_empty() && !types.contains(entry.kind) {
                    let text = "A match is of a type that the Bundle's self link says was searched for.";
                    run.issue(Id::SearchResult, resource, text.to_owned());
                }
            }
            Some(_) if entry.kind != "OperationOutcome" => {
                let text = "An entry of the mode outcome is an OperationOutcome.";
                run.issue(Id::SearchResult, resource, text.to_owned());
            }
            _ => {}
        }
        run.trail.pop();
        run.trail.pop();
    }
}

/// The types that a search asks for: the last segment of its path, or `_type`.
fn searched<'u>(url: &'u str, is_resource: &dyn Fn(&str) -> bool) -> HashSet<&'u str> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let last = path.rsplit('/').next().unwrap_or_default();
    if is_resource(last) {
        return HashSet::from([last]);
    }
    let listed = query.split('&').filter_map(|parameter| parameter.strip_prefix("_type="));
    listed.flat_map(|names| names.split(',')).filter(|name| is_resource(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_a_search() {
        let known = |name: &str| matches!(name, "Patient" | "Observation");
        for (url, expected) in [
            ("http://a.b/fhir/Patient?name=x", vec!["Patient"]),
            ("http://a.b/fhir/?_type=Patient,Observation", vec!["Observation", "Patient"]),
            ("http://a.b/fhir?_type=Nothing", vec![]),
            ("", vec![]),
        ] {
            let mut found: Vec<&str> = searched(url, &known).into_iter().collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{url}");
        }
    }
}
