//! Value sets and code systems by canonical, read and expanded when first asked for.
//!
//! `S` is a handle on where a resource lies; whoever keeps the shelf knows how to read it. Immutable once filled, so a
//! reader needs no lock. Several versions of one canonical stand side by side.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::code_system::CodeSystem;
use super::compose::{self, Library};
use super::value_set::ValueSet;
use crate::fhir::tree::{Document, Element};

/// Value sets that import each other deeper than this are left open.
const MAX_IMPORTS: usize = 16;

/// Reads a resource from its handle.
pub type Read<'r, S> = &'r dyn Fn(&S) -> Option<Arc<Document>>;

pub struct Terms<S> {
    value_sets: Shelf<S, ValueSet>,
    code_systems: Shelf<S, CodeSystem>,
}

struct Shelf<S, T> {
    /// By url; of one url the one to be taken where no version is named stands last.
    entries: HashMap<String, Vec<Entry<S, T>>>,
}

struct Entry<S, T> {
    version: Box<str>,
    source: S,
    read: OnceLock<Option<Arc<T>>>,
}

impl<S> Default for Terms<S> {
    fn default() -> Self {
        Terms { value_sets: Shelf { entries: HashMap::new() }, code_systems: Shelf { entries: HashMap::new() } }
    }
}

impl<S> Terms<S> {
    pub fn add_value_set(&mut self, url: &str, version: &str, source: S) {
        self.value_sets.add(url, version, source);
    }

    pub fn add_code_system(&mut self, url: &str, version: &str, source: S) {
        self.code_systems.add(url, version, source);
    }

    pub fn has_value_set(&self, canonical: &str) -> bool {
        self.value_sets.find(canonical).is_some()
    }

    pub fn has_code_system(&self, canonical: &str) -> bool {
        self.code_systems.find(canonical).is_some()
    }

    pub fn value_set_urls(&self) -> impl Iterator<Item = &str> {
        self.value_sets.entries.keys().map(String::as_str)
    }

    /// A value set by `url` or `url|version`, expanded.
    pub fn value_set(&self, canonical: &str, read: Read<'_, S>) -> Option<Arc<ValueSet>> {
        Shelves { terms: self, read, under_way: Vec::new(), circular: false }.value_set(canonical)
    }

    /// A code system by `url` or `url|version`.
    pub fn code_system(&self, canonical: &str, read: Read<'_, S>) -> Option<Arc<CodeSystem>> {
        let entry = self.code_systems.find(canonical)?;
        entry.read.get_or_init(|| CodeSystem::read(Element::root(&*read(&entry.source)?)).map(Arc::new)).clone()
    }
}

impl<S, T> Shelf<S, T> {
    fn add(&mut self, url: &str, version: &str, source: S) {
        let entry = Entry { version: version.into(), source, read: OnceLock::new() };
        let entries = self.entries.entry(url.to_owned()).or_default();
        if let Some(same) = entries.iter_mut().find(|each| *each.version == *version) {
            *same = entry;
            return;
        }
        // Versions that cannot be compared follow each other as they were loaded, so that the later one is taken.
        let at = entries.iter().position(|each| newer(&each.version, version)).unwrap_or(entries.len());
        entries.insert(at, entry);
    }

    fn find(&self, canonical: &str) -> Option<&Entry<S, T>> {
        let Some((url, version)) = canonical.split_once('|') else { return self.entries.get(canonical)?.last() };
        let entries = self.entries.get(url)?;
        let within = |own: &str| own.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'));
        entries
            .iter()
            .find(|each| *each.version == *version)
            .or_else(|| entries.iter().rev().find(|each| within(&each.version)))
    }
}

/// Whether a version is above another, as far as both are numbers.
fn newer(one: &str, other: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let release = text.split(['-', '+']).next().unwrap_or(text);
        let parts: Option<Vec<u64>> = release.split('.').map(|part| part.parse().ok()).collect();
        // A date in one piece is no semantic version.
        parts.filter(|parts| parts.len() > 1)
    };
    match (numbers(one), numbers(other)) {
        (Some(left), Some(right)) => match left.cmp(&right) {
            // A release is above its candidates.
            Ordering::Equal => !one.contains('-') && other.contains('-'),
            ordering => ordering == Ordering::Greater,
        },
        _ => false,
    }
}

/// One look-up with the value sets it is in the middle of.
struct Shelves<'t, S> {
    terms: &'t Terms<S>,
    read: Read<'t, S>,
    under_way: Vec<String>,
    circular: bool,
}

impl<S> Library for Shelves<'_, S> {
    fn code_system(&mut self, canonical: &str) -> Option<Arc<CodeSystem>> {
        self.terms.code_system(canonical, self.read)
    }

    fn value_set(&mut self, canonical: &str) -> Option<Arc<ValueSet>> {
        let entry = self.terms.value_sets.find(canonical)?;
        if let Some(set) = entry.read.get() {
            return set.clone();
        }
        if self.under_way.len() >= MAX_IMPORTS || self.under_way.iter().any(|each| each == canonical) {
            self.circular = true;
            return None;
        }
        let document = (self.read)(&entry.source);
        self.under_way.push(canonical.to_owned());
        let set = document.map(|document| Arc::new(compose::expand(Element::root(&document), self)));
        self.under_way.pop();
        // What a circle left open is so only on this way round it.
        if self.circular && !self.under_way.is_empty() {
            return set;
        }
        // Not initialised under the lock: two threads may expand the same set, and either result will do.
        entry.read.get_or_init(|| set).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_side_by_side() {
        let mut shelf: Shelf<u8, ()> = Shelf { entries: HashMap::new() };
        for (source, version) in [(1, "1.10.0"), (2, "1.9.1"), (3, "2.0.0-ballot"), (4, "2.0.0"), (5, "1.9.3")] {
            shelf.add("u", version, source);
        }
        let found = |canonical: &str| shelf.find(canonical).map(|entry| entry.source);
        for (canonical, expected) in [
            ("u", Some(4)),
            ("u|1.10.0", Some(1)),
            ("u|1.9", Some(5)),
            ("u|1.1", None),
            ("u|2.0.0-ballot", Some(3)),
            ("u|3", None),
            ("v", None),
        ] {
            assert_eq!(found(canonical), expected, "{canonical}");
        }
        let mut dated: Shelf<u8, ()> = Shelf { entries: HashMap::new() };
        dated.add("u", "2018-08-12", 1);
        dated.add("u", "9.0.0", 2);
        assert_eq!(dated.find("u").map(|entry| entry.source), Some(2));
    }
}
