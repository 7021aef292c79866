//! Bundles: what no constraint of the standard says in FHIRPath (R4 §2.36.4).
//!
//! What makes a Bundle a document or a message, and how its entries hang together, is `linkage`'s matter; what a
//! search may answer is `search_set`'s.

use super::super::run::Run;
use super::super::scope::{Entries, Entry, is_absolute};
use super::{linkage, reference, search_set};
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Checks a Bundle whose entries have been walked.
pub fn check<'d>(run: &mut Run<'_, 'd>, bundle: Element<'d>) {
    let Some(entries) = run.entries().cloned() else { return };
    let kind = bundle.text_of("type").unwrap_or_default();
    links(run, bundle, &entries, kind);
    match kind {
        "document" | "message" => linkage::check(run, bundle, &entries, kind == "message"),
        "searchset" => search_set::check(run, bundle, &entries),
        _ => {}
    }
    let needs_url = !matches!(kind, "transaction" | "transaction-response" | "batch" | "batch-response");
    for (index, entry) in entries.list().iter().enumerate() {
        run.trail.push("entry", 5, Some(index as u32));
        full_url(run, entry, needs_url);
        run.trail.pop();
    }
}

/// Each paging relation of a Bundle's links stands once: a client could not tell which `next` to follow. A style
/// sheet of a document is in the document.
fn links<'d>(run: &mut Run<'_, 'd>, bundle: Element<'d>, entries: &Entries<'d>, kind: &str) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, link) in bundle.all("link").enumerate() {
        let Some(relation) = link.text_of("relation") else { continue };
        run.trail.push("link", 4, Some(index as u32));
        if matches!(relation, "self" | "first" | "previous" | "prev" | "next" | "last") {
            if seen.contains(&relation) {
                run.issue(Id::BundleRule, link, "A Bundle has one link of each relation.".to_owned());
            } else {
                seen.push(relation);
            }
        }
        if relation == "stylesheet" && kind == "document" && style_sheet(entries, link) == Sheet::Missing {
            run.trail.push("url", 3, None);
            let text = "The style sheet of a document must be one of its entries, or have an absolute address.";
            run.issue(Id::BundleReference, link, text.to_owned());
            run.trail.pop();
        }
        run.trail.pop();
    }
}

/// Where a style sheet's link leads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sheet {
    /// Out of the Bundle, or nowhere that can be told.
    Elsewhere,
    Entry(usize),
    /// To an entry that is not there.
    Missing,
}

pub(super) fn style_sheet<'d>(entries: &Entries<'d>, link: Element<'d>) -> Sheet {
    let relative = link.text_of("url").filter(|url| !is_absolute(url));
    // A link stands outside of all entries; it continues the address of the document's first entry.
    let (Some(url), Some(first)) = (relative, entries.list().first()) else { return Sheet::Elsewhere };
    let found = entries.find(first.element, url);
    found.or_else(|| entries.named(url).and_then(|found| found.first().copied())).map_or(Sheet::Missing, Sheet::Entry)
}

/// Relative references continue the base of a fullUrl, and here is none.
fn based_on_nothing<'d>(run: &mut Run<'_, 'd>, entry: &Entry<'d>, resource: Element<'d>) {
    let references = linkage::relative_references(resource);
    if !references.is_empty() {
        let text = "The entry has relative references, which need a fullUrl to stand under.";
        run.issue(Id::FullUrlMissing, entry.element, text.to_owned());
    }
    for (at, reference) in references.into_iter().enumerate() {
        let text = format!("Relative reference {}: the entry has no fullUrl that it could continue.", at + 1);
        run.issue(Id::BundleReference, reference, text);
    }
}

/// An entry's fullUrl is there and absolute, and if it is an address it is that of the entry's own resource.
fn full_url<'d>(run: &mut Run<'_, 'd>, entry: &Entry<'d>, needs_url: bool) {
    let Some(url) = entry.full_url else {
        // What a server says about a search is no resource that anybody could fetch.
        let is_outcome = entry.element.get("search").and_then(|search| search.text_of("mode")) == Some("outcome");
        if needs_url && !is_outcome {
            let text = "Each entry must have a fullUrl, except where the Bundle asks a server for something.";
            run.issue(Id::FullUrlMissing, entry.element, text.to_owned());
            if let Some(resource) = entry.resource {
                based_on_nothing(run, entry, resource);
            }
        }
        return;
    };
    if !is_absolute(url) {
        run.issue(Id::FullUrlForm, entry.element, "The fullUrl must be an absolute address or a urn:.".to_owned());
        return;
    }
    let Some((kind, id)) = reference::address(&run.validator.registry, url) else { return };
    if entry.kind.is_empty() {
        return;
    }
    if kind != entry.kind {
        let text = "The fullUrl of an entry must end in the type and id of its resource.";
        run.issue(Id::FullUrlMismatch, entry.element, text.to_owned());
    } else if entry.id.is_none() {
        let text = "The fullUrl is an address, so the resource must have the id that it ends in.";
        run.issue(Id::FullUrlMismatch, entry.element, text.to_owned());
    } else if entry.id != Some(id) {
        let text = "The fullUrl of an entry should end in the id of its resource.";
        run.issue(Id::FullUrlId, entry.element, text.to_owned());
    }
}
