//! Uri parameters: the whole URI, case-sensitive, or what lies below or above it (R4 §3.1.1.4.13).

use crate::fhir::tree::Element;

/// How the resource's URI must lie to the one asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    Same,
    Below,
    Above,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub manner: Manner,
    pub uri: String,
}

impl Wanted {
    pub fn matches(&self, element: Element<'_>) -> bool {
        element.text().is_some_and(|text| match self.manner {
            Manner::Same => text == self.uri,
            Manner::Below => is_below(text, &self.uri),
            Manner::Above => is_below(&self.uri, text),
        })
    }
}

/// Whether a URI is another one or continues it at a path boundary.
fn is_below(uri: &str, root: &str) -> bool {
    let root = root.strip_suffix('/').unwrap_or(root);
    uri.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
