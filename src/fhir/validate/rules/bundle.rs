//! Bundles: what no constraint of the standard says in FHIRPath (R4 §2.36.4).

use super::super::run::Run;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Each paging relation of a Bundle's links stands once: a client could not tell which `next` to follow.
pub fn check_links<'d>(run: &mut Run<'_, 'd>, bundle: Element<'d>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, link) in bundle.all("link").enumerate() {
        let Some(relation) = link.text_of("relation") else { continue };
        if !matches!(relation, "self" | "first" | "previous" | "next" | "last") {
            continue;
        }
        if seen.contains(&relation) {
            run.trail.push("link", 4, Some(index as u32));
            run.issue(Id::BundleRule, link, "A Bundle has one link of each relation.".to_owned());
            run.trail.pop();
        } else {
            seen.push(relation);
        }
    }
}

/// An entry's fullUrl is absolute, and if it ends in Type/id it is the address of the entry's own resource.
pub fn check_entry<'d>(run: &mut Run<'_, 'd>, entry: Element<'d>) {
    let (Some(url), Some(resource)) = (entry.text_of("fullUrl"), entry.get("resource")) else { return };
    if !url.contains(':') {
        run.issue(Id::BundleRule, entry, "The fullUrl of an entry must be an absolute URL or a urn:.".to_owned());
        return;
    }
    let mut parts = url.rsplit('/');
    let (Some(id), Some(kind)) = (parts.next(), parts.next()) else { return };
    let (Some(own_kind), Some(own_id)) = (resource.resource_type(), resource.text_of("id")) else { return };
    let is_address = url.starts_with("http") && run.validator.registry.is_resource(kind);
    if is_address && (kind != own_kind || id != own_id) {
        let text = "The fullUrl of an entry must end in the type and id of its resource.";
        run.issue(Id::BundleRule, entry, text.to_owned());
    }
}
