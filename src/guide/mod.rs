//! What we publish about ourselves, from the very tables that are enforced: definitions in, files out.
//!
//! Pure: a file is a value, and whoever asked for it writes or serves it. The CapabilityStatement comes in as a value,
//! because only the server knows its routes. The site is HTML (`site`); what this repository holds of it is Markdown
//! (`files`), so that it reads well there. Not known here: the server, the store, the network, the file system.

pub mod acceptance;
mod changes;
mod content;
mod definition;
pub mod ethics;
mod explain;
mod issues;
mod measures;
mod package;
mod published;
mod shelf;
mod site;
mod snapshot;
pub mod sources;

use serde_json::Value;

pub use content::Edition;
pub use definition::Definition;
pub use explain::{Subject, Table, explain, near};
pub use package::{archive, packages, registry};
pub use published::{Packed, Published, all};
pub use shelf::{NotOurs, Shelf, claimed_version, names_earlier};

/// A file of the guide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Relative path, with forward slashes.
    pub path: String,
    pub content: Vec<u8>,
}

impl File {
    fn text(path: &str, content: impl Into<String>) -> File {
        File { path: path.to_owned(), content: content.into().into_bytes() }
    }
}

/// Every file. `capability` is the running server's statement, where there is one.
pub fn files(capability: Option<&Value>) -> Vec<File> {
    let mut files = vec![
        File::text("issues.md", issues::page()),
        File::text("measures.md", measures::page()),
        File::text("sources.md", sources::page()),
        File::text("CodeSystem-issue.json", pretty(&issues::code_system())),
    ];
    if let Some(capability) = capability {
        files.push(File::text("CapabilityStatement-gateway.json", pretty(capability)));
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

    fn text(file: &File) -> &str {
        std::str::from_utf8(&file.content).unwrap()
    }

    #[test]
    fn every_issue_and_every_measure_is_on_its_page() {
        let files = files(None);
        for entry in CATALOGUE {
            assert!(text(&files[0]).contains(&format!("`{}`", entry.code)), "{}", entry.code);
        }
        assert!(text(&files[1]).contains("8867-4"));
    }

    #[test]
    fn what_is_published_is_valid() {
        let validator = Validator::new(Registry::core());
        for file in files(None).iter().filter(|file| file.content.starts_with(b"{")) {
            let document = json::parse(file.content.as_slice()).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            assert!(!has_errors(&issues), "{}: {issues:#?}", file.path);
        }
    }
}
