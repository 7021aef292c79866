//! References in rules, compared without resolving anything.
//!
//! `Type/id` and absolute URLs compare by text, versions aside. Whether `https://a.example/fhir/Patient/1` is
//! our `Patient/1` cannot be known from here, so such a pair is unknown rather than different. Contained,
//! `urn:` and conditional references name nobody who could ask, and don't compare at all.

use std::fmt;

use super::matching::Match;
use crate::fhir::tree::Element;

const HISTORY: &str = "/_history/";

/// A literal reference, without its version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reference {
    text: Box<str>,
    is_absolute: bool,
}

impl Reference {
    /// Reads `Reference.reference`; `None` where it is absent or names something that cannot be compared.
    pub fn read(element: Element<'_>) -> Option<Reference> {
        let text = unversioned(element.get("reference")?.string()?);
        let comparable = !text.starts_with(['#', '/']) && !text.starts_with("urn:") && !text.contains('?');
        let mut segments = text.rsplit('/');
        let shaped = segments.next().is_some_and(|id| !id.is_empty())
            && segments.next().is_some_and(|kind| kind.starts_with(|first: char| first.is_ascii_uppercase()));
        (comparable && shaped).then(|| Reference { text: text.into(), is_absolute: is_absolute(text) })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The mark of what it names.
    pub fn mark(&self) -> u64 {
        mark(&self.text)
    }

    pub fn matches(&self, given: &str) -> Match {
        let same = given.strip_prefix(&*self.text).is_some_and(|rest| rest.is_empty() || rest.starts_with(HISTORY));
        if same {
            return Match::Yes;
        }
        let same_tail = if self.is_absolute {
            !is_absolute(given) && ends_with_path(&self.text, unversioned(given))
        } else {
            // Only what is longer can end with it: most are told apart before they are looked at.
            given.len() > self.text.len() && is_absolute(given) && ends_with_path(unversioned(given), &self.text)
        };
        if same_tail { Match::Unknown } else { Match::No }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// One bit for the id at the end. References that may be the same have the same, and most others another one.
pub(super) fn mark(reference: &str) -> u64 {
    let id = unversioned(reference).rsplit('/').next().unwrap_or_default();
    1 << (id.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) & 63)
}

fn unversioned(text: &str) -> &str {
    text.split_once(HISTORY).map_or(text, |(before, _)| before)
}

/// Whether a colon ends what stands before the first slash.
fn is_absolute(text: &str) -> bool {
    let mut before = 0;
    for byte in text.bytes() {
        if byte == b'/' {
            break;
        }
        before = byte;
    }
    before == b':'
}

fn ends_with_path(whole: &str, path: &str) -> bool {
    !path.is_empty() && whole.strip_suffix(path).is_some_and(|before| before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::tree::json;

    fn read(text: &str) -> Option<Reference> {
        let document = json::parse(format!(r#"{{"reference":"{text}"}}"#)).unwrap();
        Reference::read(Element::root(&document))
    }

    #[test]
    fn compares_text_and_doubts_addresses() {
        let cases = [
            ("Patient/1", "Patient/1", Match::Yes),
            ("Patient/1/_history/2", "Patient/1", Match::Yes),
            ("Patient/1", "Patient/1/_history/9", Match::Yes),
            ("Patient/1", "Patient/11", Match::No),
            ("https://a.example/fhir/Patient/1", "1", Match::Unknown),
            ("Patient/1", "https://a.example/fhir/Patient/1/_history/3", Match::Unknown),
            ("Patient/1", "https://a.example/fhir/Patient/1", Match::Unknown),
            ("https://a.example/fhir/Patient/1", "Patient/1", Match::Unknown),
            ("https://a.example/fhir/Patient/1", "https://b.example/fhir/Patient/1", Match::No),
            ("Patient/1", "https://a.example/fhir/XPatient/1", Match::No),
        ];
        for (rule, given, expected) in cases {
            let rule = read(rule).unwrap();
            assert_eq!(rule.matches(given), expected, "{rule} with {given}");
            assert!(expected == Match::No || rule.mark() == mark(given), "{rule} and {given} are marked alike");
        }
    }

    #[test]
    fn what_names_nobody_is_not_read() {
        for text in
            ["#a", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "Patient?identifier=1", "Patient", "x/1", ""]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
