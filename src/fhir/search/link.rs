//! Conditions on other resources: chains (`patient.family=…`) and reverse chains (`_has:Observation:patient:code=…`), R4
//! §3.1.1.4.15.
//!
//! One resource at a time cannot tell them. Whoever holds the others finds what the inner query asks for, and the link turns
//! that into an ordinary clause, by which a store can narrow as well.

use std::sync::Arc;

use super::clause::{Clause, Test, Wanted};
use super::extract::Found;
use super::parameter::Parameter;
use super::query::Query;
use super::{reference, token};
use crate::fhir::fhirpath::Node;
use crate::fhir::tree::Element;

/// Most links between a resource and a condition that it has to meet.
pub const DEPTH: usize = 3;

#[derive(Clone, Debug)]
pub enum Link {
    /// A reference of the resource points to what one of the queries finds; one query a type that it may point to.
    To { parameter: Arc<Parameter>, queries: Vec<Query> },
    /// What the query finds points to the resource, by this parameter of its own.
    From {
        parameter: Arc<Parameter>,
        query: Box<Query>,
        /// The parameter by which the resource itself is named.
        id: Arc<Parameter>,
    },
}

impl Link {
    /// The queries whose finds decide.
    pub fn queries(&self) -> &[Query] {
        match self {
            Link::To { queries, .. } => queries,
            Link::From { query, .. } => std::slice::from_ref(query),
        }
    }

    /// What a find of a query adds to what the resources that are searched for are told by: type and id of itself, or of
    /// what it points to.
    pub fn ends(&self, found: Element<'_>, kind: &str, base: Option<&str>) -> Vec<(String, String)> {
        match self {
            Link::To { .. } => {
                let id = found.text_of("id").map(str::to_owned);
                id.map(|id| (found.resource_type().unwrap_or_default().to_owned(), id)).into_iter().collect()
            }
            Link::From { parameter, .. } => {
                let targets = targets(parameter, found, base);
                targets.into_iter().filter(|(target, _)| target == kind).collect()
            }
        }
    }

    /// The link as a condition on the resource alone, once it is known where the finds lead.
    pub fn resolved(&self, ends: Vec<(String, String)>) -> Clause {
        match self {
            Link::To { parameter, .. } => {
                let wanted = |(kind, id)| Wanted::Reference(reference::Wanted::Local { kind: Some(kind), id });
                Clause { parameter: parameter.clone(), test: Test::Any(ends.into_iter().map(wanted).collect()) }
            }
            Link::From { id: parameter, .. } => {
                let wanted = |(_, id)| Wanted::Token(token::Wanted::is(id));
                Clause { parameter: parameter.clone(), test: Test::Any(ends.into_iter().map(wanted).collect()) }
            }
        }
    }

    /// The same with what is known of the resource that is looked for: what points to it points to one of these.
    pub fn narrowed(&mut self, kind: &str, ids: &[String]) {
        if let Link::From { parameter, query, .. } = self {
            query.clauses.push(pointing(parameter, ids.iter().map(|id| (kind.to_owned(), id.clone()))));
        }
    }
}

/// Something points to one of these.
pub fn pointing(parameter: &Arc<Parameter>, ends: impl Iterator<Item = (String, String)>) -> Clause {
    let wanted = |(kind, id)| Wanted::Reference(reference::Wanted::Local { kind: Some(kind), id });
    Clause { parameter: parameter.clone(), test: Test::Any(ends.map(wanted).collect()) }
}

/// Type and id of what a resource points to by a parameter, as far as it is here.
pub fn targets(parameter: &Parameter, resource: Element<'_>, base: Option<&str>) -> Vec<(String, String)> {
    let node = Node::resource(resource);
    let found = parameter.path.select(node, node).unwrap_or_default();
    let target = |found: &Found<'_>| match found {
        Found::Node(node) => reference::pointed(node.element, base).map(|(kind, id)| (kind.to_owned(), id.to_owned())),
        Found::Boolean(_) => None,
    };
    found.iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    const BASE: Option<&str> = Some("https://here.example/fhir");

    fn query(kind: &str, name: &str) -> Query {
        let (query, issues) = Query::parse(kind, &[(name.to_owned(), "x".to_owned())], &Registry::core(), false);
        assert!(issues.is_empty(), "{name}: {issues:?}");
        query
    }

    #[test]
    fn a_link_becomes_a_clause() {
        let reading = r#"{"resourceType":"Observation","id":"o1","code":{"text":"x"},
            "subject":{"reference":"https://here.example/fhir/Patient/p1"},"device":{"reference":"Device/d1/_history/3"},
            "performer":[{"reference":"Patient/p2"},{"reference":"https://elsewhere.example/Patient/p3"},{"display":"somebody"}]}"#;
        let document = json::parse(reading).unwrap();
        let root = Element::root(&document);
        for (kind, name, expected) in [
            ("Patient", "_has:Observation:patient:code", "Patient/p1"),
            ("Patient", "_has:Observation:subject:code", "Patient/p1"),
            ("Patient", "_has:Observation:performer:code", "Patient/p2"),
            ("Device", "_has:Observation:device:code", "Device/d1"),
            ("Patient", "_has:Observation:device:code", ""),
            ("Provenance", "target:Observation.code", "Observation/o1"),
        ] {
            let mut query = query(kind, name);
            let link = query.links.remove(0);
            let ends = link.ends(root, kind, BASE);
            let told: Vec<String> = ends.iter().map(|(kind, id)| format!("{kind}/{id}")).collect();
            assert_eq!(told.join(" "), expected, "{name}");
            query.clauses.push(link.resolved(ends));
            assert_eq!(query.hints().ids.is_some(), name.starts_with("_has"), "{name}");
        }
    }

    #[test]
    fn nothing_matches_before_links_are_resolved() {
        let document = json::parse(r#"{"resourceType":"Patient","id":"x"}"#).unwrap();
        let query = query("Patient", "_has:Observation:patient:code");
        assert!(!query.matches(Element::root(&document), 0));
    }
}
