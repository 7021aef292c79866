//! Finding things: children by element name, and resources by reference.
//!
//! A reference is resolved only within the message: contained resources first, then the Bundle's entries.

use std::collections::HashMap;

use super::profile::type_of_suffix;
use crate::fhir::tree::{Element, Kind};

/// An element with how it was found: its key, and the type where the key or the resource tells.
#[derive(Clone, Copy)]
pub struct Found<'d> {
    pub element: Element<'d>,
    pub key: &'d str,
    /// Length of the element's name in the key.
    pub name: usize,
    pub index: Option<u32>,
    /// Type that a choice's key names; empty where it names none.
    pub type_name: &'d str,
}

impl<'d> Found<'d> {
    /// The type as far as the element itself shows it.
    pub fn actual_type(&self) -> &'d str {
        if self.type_name.is_empty() { self.element.resource_type().unwrap_or_default() } else { self.type_name }
    }
}

/// The repetitions of a child. `choice` says whether the name is that of a choice; `None`: it may be.
pub fn named<'d>(parent: Element<'d>, name: &str, choice: Option<bool>) -> Vec<Found<'d>> {
    let document = parent.document();
    let mut found = Vec::new();
    for holder in [parent.value_node(), parent.shadow_node()].into_iter().flatten() {
        if document.kind(holder) != Kind::Object {
            continue;
        }
        for member in document.children(holder) {
            let key = document.key(member);
            let (key, shadow) = match key.strip_prefix('_') {
                Some(key) => (key, true),
                None => (key, false),
            };
            let Some(suffix) = key.strip_prefix(name) else { continue };
            let is_plain = suffix.is_empty() && choice != Some(true);
            let is_choice = suffix.starts_with(|first: char| first.is_ascii_uppercase()) && choice != Some(false);
            if !is_plain && !is_choice {
                continue;
            }
            // A value joined with its shadow is listed once, where the value stands.
            if shadow && document.member(holder, key).is_some() {
                continue;
            }
            let mut add = |element, index| {
                let type_name = type_of_suffix(suffix);
                found.push(Found { element, key, name: name.len(), index, type_name });
            };
            let is_array = document.kind(member) == Kind::Array;
            for (index, element) in parent.all(key).enumerate() {
                add(element, is_array.then_some(index as u32));
            }
        }
    }
    found
}

/// Where the walk stands among resources.
#[derive(Clone, Copy)]
pub struct Scope<'d> {
    /// The resource that is checked: `%resource`.
    pub resource: Element<'d>,
    /// The resource around it if it is contained, else itself: `%rootResource`.
    pub container: Element<'d>,
    /// Index of the container's contained resources, if it has any.
    pub contained: Option<usize>,
    /// Index of the Bundle around it.
    pub bundle: Option<usize>,
}

/// The entries of a Bundle by what may refer to them: fullUrl and Type/id.
#[derive(Default)]
pub struct Entries<'d> {
    by_url: HashMap<&'d str, Element<'d>>,
    by_id: HashMap<&'d str, HashMap<&'d str, Element<'d>>>,
}

impl<'d> Entries<'d> {
    pub fn new(bundle: Element<'d>) -> Self {
        let mut entries = Entries::default();
        for entry in bundle.all("entry") {
            let Some(resource) = entry.get("resource") else { continue };
            if let Some(url) = entry.text_of("fullUrl") {
                entries.by_url.insert(url, resource);
            }
            if let (Some(kind), Some(id)) = (resource.resource_type(), resource.text_of("id")) {
                entries.by_id.entry(kind).or_default().insert(id, resource);
            }
        }
        entries
    }

    pub fn get(&self, reference: &str) -> Option<Element<'d>> {
        if let Some(found) = self.by_url.get(reference) {
            return Some(*found);
        }
        let path = reference.split("/_history/").next().unwrap_or(reference);
        let (kind, id) = path.split_once('/').filter(|(_, id)| !id.contains('/'))?;
        self.by_id.get(kind)?.get(id).copied()
    }
}
