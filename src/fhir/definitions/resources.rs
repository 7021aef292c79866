//! Conformance resources other than structures and value sets, by canonical: Questionnaires and the like.
//!
//! Kept as they were read; what they mean to a rule is compiled by the rule.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fhir::tree::{Document, Element};

/// Resources by url; of one url there may be several versions.
#[derive(Default)]
pub struct Resources {
    by_url: HashMap<String, Vec<Arc<Document>>>,
}

impl Resources {
    /// Takes a resource that has a url; others nobody could ask for.
    pub fn add(&mut self, document: &Arc<Document>) {
        if let Some(url) = Element::root(document).text_of("url") {
            self.by_url.entry(url.to_owned()).or_default().push(Arc::clone(document));
        }
    }

    /// The resource that `url` or `url|version` names; without a version, the one that was loaded last.
    pub fn get(&self, canonical: &str) -> Option<&Arc<Document>> {
        let canonical = canonical.split('#').next().unwrap_or(canonical);
        let (url, version) = match canonical.split_once('|') {
            Some((url, version)) => (url, Some(version)),
            None => (canonical, None),
        };
        let fits = |document: &&Arc<Document>| {
            version.is_none_or(|version| Element::root(document).text_of("version") == Some(version))
        };
        self.by_url.get(url)?.iter().rev().find(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    #[test]
    fn finds_by_version() {
        let mut resources = Resources::default();
        for version in ["1", "2"] {
            let text = format!(r#"{{"resourceType":"Questionnaire","url":"urn:q","version":"{version}"}}"#);
            resources.add(&Arc::new(json::parse(text).unwrap()));
        }
        for (canonical, expected) in
            [("urn:q", Some("2")), ("urn:q|1", Some("1")), ("urn:q|3", None), ("urn:r", None), ("urn:q#a", Some("2"))]
        {
            let found = resources.get(canonical).map(|found| Element::root(found).text_of("version").unwrap());
            assert_eq!(found, expected, "{canonical}");
        }
    }
}
