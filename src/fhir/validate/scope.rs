//! Finding things: children by element name, and resources by reference.
//!
//! A reference is resolved only within the message: contained resources first, then the Bundle's entries.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::profile::type_of_suffix;
use crate::fhir::tree::{Element, Kind, Tag};

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

/// Mostly one or two, and found for every element that a profile names: they stay off the heap.
pub type FoundList<'d> = SmallVec<[Found<'d>; 4]>;

/// The repetitions of a child. `choice` says whether the name is that of a choice; `None`: it may be.
pub fn named<'d>(parent: Element<'d>, name: &str, choice: Option<bool>) -> FoundList<'d> {
    let mut found = FoundList::new();
    each_named(parent, name, choice, &mut |each| found.push(each));
    found
}

/// As [`named`], one after the other.
pub fn each_named<'d>(parent: Element<'d>, name: &str, choice: Option<bool>, then: &mut dyn FnMut(Found<'d>)) {
    let document = parent.document();
    let tag = Tag::of(name);
    for holder in [parent.value_node(), parent.shadow_node()].into_iter().flatten() {
        if document.kind(holder) != Kind::Object {
            continue;
        }
        let has_shadows = document.has_shadows(holder);
        if choice == Some(false) && !has_shadows && parent.shadow_node().is_none() {
            let Some(member) = document.tagged(holder, tag, name) else { continue };
            let found =
                |element, index| Found { element, key: document.key(member), name: name.len(), index, type_name: "" };
            if document.kind(member) == Kind::Array {
                for (index, item) in document.children(member).enumerate() {
                    then(found(Element::at(document, item), Some(index as u32)));
                }
            } else {
                then(found(Element::at(document, member), None));
            }
            continue;
        }
        if !has_shadows && !document.may_begin(holder, tag) {
            continue;
        }
        for member in document.children(holder) {
            if !has_shadows && !tag.may_begin(document.tag(member)) {
                continue;
            }
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
                then(Found { element, key, name: name.len(), index, type_name });
            };
            let is_array = document.kind(member) == Kind::Array;
            if !has_shadows && !is_array && parent.shadow_node().is_none() {
                add(Element::at(document, member), None);
                continue;
            }
            for (index, element) in parent.all(key).enumerate() {
                add(element, is_array.then_some(index as u32));
            }
        }
    }
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
    /// Where the resource begins on the trail, and among the holders.
    pub depth: usize,
    pub holder: usize,
}

/// One entry of a Bundle.
#[derive(Clone, Copy)]
pub struct Entry<'d> {
    pub element: Element<'d>,
    pub full_url: Option<&'d str>,
    pub resource: Option<Element<'d>>,
    pub kind: &'d str,
    pub id: Option<&'d str>,
}

/// The entries of a Bundle by what may refer to them.
#[derive(Default)]
pub struct Entries<'d> {
    /// In the order sent, which is that of their nodes.
    list: Vec<Entry<'d>>,
    by_url: HashMap<&'d str, Vec<usize>>,
    by_id: HashMap<&'d str, HashMap<&'d str, Vec<usize>>>,
    /// Whether it asks a server for something, which may know more than the Bundle holds.
    pub is_request: bool,
    is_history: bool,
    /// Some fullUrl stands more than once.
    is_repeated: bool,
    /// Resources of Parameters, which have no fullUrls.
    pub is_flat: bool,
}

impl<'d> Entries<'d> {
    pub fn new(bundle: Element<'d>) -> Self {
        let is_request = matches!(bundle.text_of("type"), Some("transaction" | "batch"));
        let is_history = bundle.text_of("type") == Some("history");
        let mut entries = Entries { is_request, is_history, ..Entries::default() };
        for (at, element) in bundle.all("entry").enumerate() {
            let resource = element.get("resource");
            let entry = Entry {
                element,
                full_url: element.text_of("fullUrl"),
                resource,
                kind: resource.and_then(|resource| resource.resource_type()).unwrap_or_default(),
                id: resource.and_then(|resource| resource.text_of("id")),
            };
            if resource.is_some() {
                if let Some(url) = entry.full_url {
                    let places = entries.by_url.entry(url).or_default();
                    places.push(at);
                    entries.is_repeated |= places.len() > 1;
                }
                if let Some(id) = entry.id {
                    entries.by_id.entry(entry.kind).or_default().entry(id).or_default().push(at);
                }
            }
            entries.list.push(entry);
        }
        entries
    }

    /// The resources that stand in Parameters, which may refer to each other by type and id.
    pub fn of_parameters(parameters: Element<'d>) -> Self {
        let mut entries = Entries { is_flat: true, ..Entries::default() };
        let mut waiting: Vec<Element<'d>> = parameters.all("parameter").collect();
        while let Some(element) = waiting.pop() {
            waiting.extend(element.all("part"));
            let Some(resource) = element.get("resource") else { continue };
            let (kind, id) = (resource.resource_type().unwrap_or_default(), resource.text_of("id"));
            if let Some(id) = id {
                entries.by_id.entry(kind).or_default().entry(id).or_default().push(entries.list.len());
            }
            entries.list.push(Entry { element, full_url: None, resource: Some(resource), kind, id });
        }
        entries
    }

    pub fn list(&self) -> &[Entry<'d>] {
        &self.list
    }

    /// The entry that an element stands in. Nodes are numbered in the order sent.
    pub fn around(&self, element: Element<'d>) -> Option<usize> {
        let document = self.list.first()?.element.document();
        if self.is_flat || !std::ptr::eq(document, element.document()) {
            return None;
        }
        self.list.partition_point(|entry| entry.element.node() <= element.node()).checked_sub(1)
    }

    /// The entry that a reference points to, read where the element stands (R4 §2.36.4.1): an absolute reference
    /// is a fullUrl; a relative one continues the base of the fullUrl that it stands under, and does not resolve
    /// where that is no RESTful address. From outside of all entries, type and id decide.
    pub fn find(&self, from: Element<'d>, reference: &str) -> Option<usize> {
        let (path, version) = unversioned(reference);
        let found = if self.is_flat {
            self.named(path)
        } else if is_absolute(path) {
            self.by_url.get(path)
        } else if let Some(source) = self.around(from) {
            let source = &self.list[source];
            match source.full_url {
                // A urn: has no base to continue, yet an entry at the only address that ends so can alone be meant.
                Some(url) if url.starts_with("urn:") => self.named(path).filter(|found| {
                    let url = |at: usize| self.list[at].full_url.unwrap_or_default();
                    matches!(found.as_slice(), [only] if url(*only).strip_suffix(path).is_some_and(|base| base.ends_with('/')))
                }),
                Some(url) => restful_base(url, source.kind, source.id?).and_then(|base| {
                    let url = format!("{base}{path}");
                    self.by_url.get(url.as_str())
                }),
                None => None,
            }
        } else {
            self.named(path)
        };
        let found = found?;
        match version {
            None => found.first().copied(),
            Some(version) => found.iter().copied().find(|at| {
                let meta = self.list[*at].resource.and_then(|resource| resource.get("meta"));
                meta.and_then(|meta| meta.text_of("versionId")) == Some(version)
            }),
        }
    }

    /// Whether a reference without a version leads to several entries, as it does in no history.
    pub fn is_ambiguous(&self, from: Element<'d>, reference: &str) -> bool {
        if !self.is_repeated || self.is_history || unversioned(reference).1.is_some() {
            return false;
        }
        let url = self.find(from, reference).and_then(|at| self.list[at].full_url);
        url.and_then(|url| self.by_url.get(url)).is_some_and(|found| found.len() > 1)
    }

    /// The entries whose resource has the type and id that a relative reference names, whatever their fullUrls.
    pub fn named(&self, reference: &str) -> Option<&Vec<usize>> {
        let (path, _) = unversioned(reference);
        let (kind, id) = path.split_once('/').filter(|(_, id)| !id.contains('/'))?;
        self.by_id.get(kind)?.get(id)
    }

    pub fn get(&self, from: Element<'d>, reference: &str) -> Option<Element<'d>> {
        self.list[self.find(from, reference)?].resource
    }
}

/// A reference without its version, and the version.
pub fn unversioned(reference: &str) -> (&str, Option<&str>) {
    // Few have one, and to look for a character costs little.
    match reference.contains('_').then(|| reference.split_once("/_history/")).flatten() {
        Some((path, version)) => (path, Some(version)),
        None => (reference, None),
    }
}

/// Whether a reference has a scheme, as opposed to one that continues a base.
pub fn is_absolute(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, rest)| {
        !rest.is_empty() && !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The base of a RESTful address, its last slash included: what stands before the type and the id. An address on a
/// server has one even where its id is not the resource's, which is a mistake of its own.
fn restful_base<'u>(url: &'u str, kind: &str, id: &str) -> Option<&'u str> {
    let address = || url.strip_prefix("http").and_then(|_| url.rsplit_once('/')).map(|(base, _)| base);
    let base = url.strip_suffix(id).and_then(|url| url.strip_suffix('/')).or_else(address)?;
    let base = base.strip_suffix(kind)?;
    (base.is_empty() || base.ends_with('/')).then_some(base)
}
