//! Every issue that the gateway can raise is raised by some test, save those on a list that may only shrink.

use std::collections::BTreeSet;
use std::path::Path;

use mhealth_gateway::fhir::outcome::CATALOGUE;

/// Raised by no test yet. An entry that a test raises must be taken off.
const UNTESTED: &[&str] = &[];

/// The text of every test: files below `tests` and, below `src`, test files and what follows `#[cfg(test)]`.
fn tests(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, into);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("tests/it/catalogue.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let is_test = path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
        let from = if is_test { Some(0) } else { text.find("#[cfg(test)]\nmod tests {") };
        into.extend(from.map(|from| &text[from..]));
    }
}

/// `json-syntax` is `Id::JsonSyntax` in code.
fn name(code: &str) -> String {
    let capital = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    code.split('-').map(capital).collect()
}

#[test]
fn every_issue_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    tests(&root.join("tests"), &mut text);
    tests(&root.join("src"), &mut text);
    // A code stands alone in a text or among others, as in `outcomeDesc`; a variant is not the beginning of another.
    let tested = |code: &str| {
        let variant = format!("Id::{}", name(code));
        let ends = |at: usize| !text[at + variant.len()..].starts_with(|next: char| next.is_ascii_alphanumeric());
        text.match_indices(&variant).any(|(at, _)| ends(at))
            || ["\"{}\"", "\"{} ", " {} ", " {}\""].iter().any(|form| text.contains(&form.replace("{}", code)))
    };
    let untested: BTreeSet<&str> = CATALOGUE.iter().map(|entry| entry.code).filter(|code| !tested(code)).collect();
    assert_eq!(untested, UNTESTED.iter().copied().collect(), "left: what no test names; right: the list");
}
