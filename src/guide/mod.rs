//! What we publish about ourselves, from the very tables that are enforced: definitions in, files out.
//!
//! Pure: a page is a value, and whoever asked for it writes it. The CapabilityStatement comes in as a value, because
//! only the server knows its routes. Pages are Markdown, so that they read well in a repository and in any site
//! generator. Not known here: the server, the store, the network, the file system.

mod issues;
mod measures;
mod package;

use serde_json::Value;

pub use package::{archive, packages, registry, sources};

/// A file of the guide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Relative path, with forward slashes.
    pub path: String,
    pub content: String,
}

/// Every file. `capability` is the running server's statement, where there is one.
pub fn files(capability: Option<&Value>) -> Vec<File> {
    let mut files = vec![
        File { path: "issues.md".to_owned(), content: issues::page() },
        File { path: "measures.md".to_owned(), content: measures::page() },
        File { path: "CodeSystem-issue.json".to_owned(), content: pretty(&issues::code_system()) },
    ];
    if let Some(capability) = capability {
        files.push(File { path: "CapabilityStatement-gateway.json".to_owned(), content: pretty(capability) });
    }
    files
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::outcome::{CATALOGUE, has_errors};
    use crate::fhir::tree::{Element, json};
    use crate::fhir::validate::{Options, Validator};

    #[test]
    fn every_issue_and_every_measure_is_on_its_page() {
        let files = files(None);
        for entry in CATALOGUE {
            assert!(files[0].content.contains(&format!("`{}`", entry.code)), "{}", entry.code);
        }
        assert!(files[1].content.contains("8867-4"));
    }

    #[test]
    fn what_is_published_is_valid() {
        let validator = Validator::new(Registry::core());
        for file in files(None).iter().filter(|file| file.content.starts_with('{')) {
            let document = json::parse(file.content.as_bytes()).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            assert!(!has_errors(&issues), "{}: {issues:#?}", file.path);
        }
    }
}
