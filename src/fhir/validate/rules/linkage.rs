//! Documents and messages: whether what they refer to is in the Bundle, and whether every entry belongs to them
//! (R4 §3.3.1, §2.4.1).
//!
//! Linear in the size of the Bundle: each entry's references are read once, then the graph is walked once forward
//! from the first entry and once against the direction of the links.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::run::Run;
use super::super::scope::{Entries, is_absolute};
use super::bundle::{Sheet, style_sheet};
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, Element, Kind, NodeId};

/// Checks a document or a message.
pub fn check<'d>(run: &mut Run<'_, 'd>, bundle: Element<'d>, entries: &Arc<Entries<'d>>, is_message: bool) {
    let Some(first) = entries.list().first() else {
        let text = "A document or a message has at least one entry.";
        run.issue(Id::BundleRule, bundle, text.to_owned());
        return;
    };
    let Some(head) = first.resource else {
        run.trail.push("entry", 5, Some(0));
        let text = "The first entry of a document or a message has a resource.";
        run.issue(Id::BundleRule, first.element, text.to_owned());
        run.trail.pop();
        return;
    };
    let wanted = if is_message { "MessageHeader" } else { "Composition" };
    run.trail.push("entry", 5, Some(0));
    run.trail.push("resource", 8, None);
    if first.kind != wanted {
        run.issue(Id::BundleRule, head, format!("The first entry must be a {wanted}."));
    } else if is_message {
        held(run, entries, head, "focus", None);
    } else {
        composition(run, entries, head);
    }
    run.trail.pop();
    run.trail.pop();
    reach(run, bundle, entries, is_message);
}

/// The references of a Composition that a document must hold the target of.
fn composition<'d>(run: &mut Run<'_, 'd>, entries: &Arc<Entries<'d>>, head: Element<'d>) {
    for name in ["subject", "encounter", "author", "custodian"] {
        held(run, entries, head, name, None);
    }
    held(run, entries, head, "attester", Some("party"));
    held(run, entries, head, "event", Some("detail"));
    sections(run, entries, head);
}

fn sections<'d>(run: &mut Run<'_, 'd>, entries: &Arc<Entries<'d>>, parent: Element<'d>) {
    for (index, section) in parent.all("section").enumerate() {
        run.trail.push("section", 7, Some(index as u32));
        for name in ["author", "focus", "entry"] {
            held(run, entries, section, name, None);
        }
        sections(run, entries, section);
        run.trail.pop();
    }
}

/// References under a name must lead to entries.
fn held<'d>(
    run: &mut Run<'_, 'd>,
    entries: &Arc<Entries<'d>>,
    parent: Element<'d>,
    name: &'static str,
    below: Option<&'static str>,
) {
    let repeats = !matches!(name, "subject" | "encounter" | "custodian" | "party" | "focus")
        || name == "focus" && below.is_none() && parent.resource_type().is_some();
    for (index, element) in parent.all(name).enumerate() {
        run.trail.push(name, name.len(), repeats.then_some(index as u32));
        if let Some(below) = below {
            held(run, entries, element, below, None);
        } else if let Some(reference) = element.text_of("reference")
            && !reference.starts_with('#')
            && entries.find(element, reference).is_none()
        {
            let text = "The target must be in the Bundle, under the fullUrl that the reference leads to.";
            run.issue(Id::BundleReference, element, text.to_owned());
        }
        run.trail.pop();
    }
}

/// Every entry is linked with the first, in either direction.
fn reach<'d>(run: &mut Run<'_, 'd>, bundle: Element<'d>, entries: &Arc<Entries<'d>>, is_message: bool) {
    let count = entries.list().len();
    let mut forward: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut backward: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, entry) in entries.list().iter().enumerate() {
        let Some(resource) = entry.resource else { continue };
        let mut links = Links::default();
        links.collect(resource.document(), resource.node());
        for (reference, node) in links.references {
            let element = Element::at(resource.document(), node);
            let target = entries.find(element, reference);
            if target.is_none() && at > 0 && !is_absolute(reference) && entries.named(reference).is_some() {
                let text = "An entry has the type and id that are referred to, but not under the fullUrl that the \
                            reference leads to.";
                run.issue(Id::BundleReference, element, text.to_owned());
            }
            if let Some(target) = target.filter(|target| *target != at) {
                forward[at].push(target);
                backward[target].push(at);
            }
        }
    }
    let mut waiting = vec![0];
    let sheets = bundle.all("link").filter(|link| link.text_of("relation") == Some("stylesheet"));
    waiting.extend(sheets.filter_map(|link| match style_sheet(entries, link) {
        Sheet::Entry(at) => Some(at),
        Sheet::Elsewhere | Sheet::Missing => None,
    }));
    let mut reached = vec![false; count];
    // Whoever refers to something reached belongs to it as well, and so does what that refers to.
    while let Some(at) = waiting.pop() {
        if !std::mem::replace(&mut reached[at], true) {
            waiting.extend(forward[at].iter().chain(&backward[at]));
        }
    }
    for (at, entry) in entries.list().iter().enumerate().filter(|(at, _)| !reached[*at]) {
        run.trail.push("entry", 5, Some(at as u32));
        let (id, head) =
            if is_message { (Id::EntryUnneeded, "MessageHeader") } else { (Id::EntryUnreachable, "Composition") };
        run.issue(id, entry.element, format!("No link leads from the {head} to the entry, nor back."));
        run.trail.pop();
    }
}

/// The relative references of a resource, wherever they stand in it.
pub(super) fn relative_references(resource: Element<'_>) -> Vec<Element<'_>> {
    let (document, mut found, mut waiting) = (resource.document(), Vec::new(), vec![resource.node()]);
    while let Some(node) = waiting.pop() {
        for member in document.children(node) {
            match document.kind(member) {
                Kind::Object | Kind::Array => waiting.push(member),
                Kind::String if document.key(member) == "reference" => {
                    let text = document.value(member);
                    if !text.starts_with('#') && !is_absolute(text) {
                        found.push(Element::at(document, member));
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// What an entry's texts may refer to, each once.
#[derive(Default)]
struct Links<'d> {
    references: Vec<(&'d str, NodeId)>,
    seen: HashSet<&'d str>,
}

impl<'d> Links<'d> {
    /// References, and addresses in any text that is one: canonicals, urls, and links of narratives.
    fn collect(&mut self, document: &'d Document, node: NodeId) {
        for member in document.children(node) {
            match document.kind(member) {
                Kind::Object | Kind::Array => self.collect(document, member),
                Kind::String => {
                    let (key, text) = (document.key(member), document.value(member));
                    if key == "div" {
                        self.narrative(text, member);
                    } else if key == "reference" || is_link(text) {
                        self.add(text, member);
                    }
                }
                _ => {}
            }
        }
    }

    fn narrative(&mut self, text: &'d str, node: NodeId) {
        for attribute in ["src=\"", "href=\""] {
            for (start, _) in text.match_indices(attribute) {
                let rest = &text[start + attribute.len()..];
                if let Some((url, _)) = rest.split_once('"')
                    && is_link(url)
                {
                    self.add(url, node);
                }
            }
        }
    }

    fn add(&mut self, text: &'d str, node: NodeId) {
        if !text.starts_with('#') && self.seen.insert(text) {
            self.references.push((text, node));
        }
    }
}

fn is_link(text: &str) -> bool {
    text.starts_with("http") || text.starts_with("urn:")
}
