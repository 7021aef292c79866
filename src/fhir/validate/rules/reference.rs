//! References: their form, the type they point to, and what must be resolvable within the message (R4 §2.3).

use super::super::References;
use super::super::profile::{Asks, TypeRule};
use super::super::run::Run;
use super::super::scope::{is_absolute, unversioned};
use crate::fhir::definitions::{Aggregation, Registry};
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// What a reference's text points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape<'d> {
    /// `#id`; empty for the container itself.
    Contained(&'d str),
    /// Names a resource type: `Patient/1`, `https://…/Patient/1`, `Patient?identifier=…`.
    Typed(&'d str),
    /// `urn:uuid:` or `urn:oid:`.
    Urn,
    /// Absolute, without a type that can be read off.
    Absolute,
    Malformed,
}

pub fn shape<'d>(registry: &Registry, text: &'d str) -> Shape<'d> {
    if let Some(kind) = plain(text)
        && registry.is_resource(kind)
    {
        return Shape::Typed(kind);
    }
    if let Some(id) = text.strip_prefix('#') {
        return Shape::Contained(id);
    }
    if text.starts_with("urn:") {
        return Shape::Urn;
    }
    if text.bytes().any(|byte| byte <= b' ') {
        return Shape::Malformed;
    }
    if let Some((kind, _)) = text.split_once('?')
        && registry.is_resource(kind)
    {
        return Shape::Typed(kind);
    }
    let (path, _) = unversioned(text);
    let mut parts = path.rsplit('/');
    let (id, kind) = (parts.next().unwrap_or_default(), parts.next());
    let address = text.match_indices(':').find(|(at, _)| text[*at..].starts_with("://"));
    let is_absolute = address.is_some_and(|(at, _)| at > 0 && text.len() > at + "://".len());
    match kind {
        Some(kind) if registry.is_resource(kind) && (is_absolute || parts.next().is_none()) && is_id(id) => {
            Shape::Typed(kind)
        }
        _ if is_absolute => Shape::Absolute,
        _ => Shape::Malformed,
    }
}

/// The type in front of an id and nothing else, which most references are.
fn plain(text: &str) -> Option<&str> {
    let mut slash = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => {}
            b'/' if slash.is_none() => slash = Some(at),
            _ => return None,
        }
    }
    let (kind, id) = text.split_at(slash?);
    (2..=65).contains(&id.len()).then_some(kind)
}

/// Type and id of the resource that an absolute RESTful address names; an address without them names none.
pub fn address<'d>(registry: &Registry, url: &'d str) -> Option<(&'d str, &'d str)> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let (path, _) = unversioned(rest);
    let mut parts = path.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    (registry.is_resource(kind) && is_id(id) && parts.next().is_some()).then_some((kind, id))
}

fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Form and resolution; done once for every Reference.
pub fn check<'d>(run: &mut Run<'_, 'd>, element: Element<'d>) {
    let Some(text) = element.text_of("reference") else { return };
    let entries = run.entries().cloned();
    let source = || entries.as_ref().and_then(|entries| Some(&entries.list()[entries.around(element)?]));
    let is_relative = !text.starts_with('#') && !is_absolute(text);
    // Whatever continues the base of a fullUrl has a type and an id, and maybe a version.
    if is_relative
        && source().is_some_and(|source| source.full_url.is_some())
        && !matches!(text.split('/').count(), 2 | 4)
        && !entries.as_ref().is_some_and(|entries| entries.is_request && text.contains('?'))
    {
        let text = "A relative reference is Type/id, with or without /_history/version.";
        run.issue(Id::ReferenceFormat, element, text.to_owned());
        return;
    }
    let target = run.resolve(element, text);
    match shape(&run.validator.registry, text) {
        Shape::Malformed => {
            let text = "The reference should be Type/id, an absolute URL, urn:uuid:… or #id of a contained resource.";
            let id = if run.options.formed_references { Id::ReferenceFormat } else { Id::ReferenceSuspicious };
            run.issue(id, element, text.to_owned());
        }
        Shape::Contained(id) if !id.is_empty() && run.contained(id).is_none() => {
            let text = "No contained resource has the id that is referred to.";
            run.issue(Id::ContainedUnresolved, element, text.to_owned());
            return;
        }
        Shape::Urn if target.is_none() && entries.as_ref().is_some_and(|entries| !entries.is_flat) => {
            // A server that is asked to store it could never make it point to anything.
            let is_request = entries.as_ref().is_some_and(|entries| entries.is_request);
            let id = if is_request { Id::ReferenceUnresolved } else { Id::ReferenceElsewhere };
            run.issue(id, element, "No entry of the Bundle has the fullUrl that is referred to.".to_owned());
        }
        _ => {}
    }
    if entries.as_ref().is_some_and(|entries| entries.is_ambiguous(element, text)) {
        let text =
            "Several entries of the Bundle have the fullUrl that is referred to; the reference must name a version.";
        run.issue(Id::BundleReference, element, text.to_owned());
    }
    if target.is_none() && run.options.references == References::Present && is_relative && entries.is_some() {
        let text = "What is referred to must be in the message.";
        run.issue(Id::ReferenceUnresolved, element, text.to_owned());
    }
    let stated = stated(element);
    if let (Some(stated), Some(actual)) = (stated, target.and_then(|target| target.resource_type()))
        && stated != actual
    {
        run.issue(Id::ReferenceTarget, element, format!("The type must be {actual}, that of the target."));
    }
}

/// The type that a reference states, without the address of the standard's definitions.
fn stated(element: Element<'_>) -> Option<&str> {
    let text = element.text_of("type")?;
    Some(text.strip_prefix("http://hl7.org/fhir/StructureDefinition/").unwrap_or(text))
}

/// Whether the target is of an allowed type and profile, and where the profile wants it; what cannot be told passes.
pub fn target<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, rule: &TypeRule) {
    if rule.asks != Asks::Reference {
        return;
    }
    let allows = |run: &Run<'_, 'd>, kind: &str| {
        rule.targets.is_empty()
            || rule.targets.iter().any(|target| **target == *kind)
            || rule.targets.iter().any(|target| run.validator.registry.subtype_of(kind, target))
    };
    if !rule.targets.is_empty() && stated(element).is_some_and(|kind| !allows(run, kind)) {
        let text = format!("The type must be {}.", rule.targets.join(" or "));
        run.issue(Id::ReferenceTarget, element, text);
    }
    if !rule.targets.is_empty() && kind(run, element).is_some_and(|kind| !allows(run, kind)) {
        let text = format!("The reference must point to {}.", rule.targets.join(" or "));
        run.issue(Id::ReferenceTarget, element, text);
        return;
    }
    if rule.aggregation.is_empty() && rule.target_profiles.is_empty() {
        return;
    }
    let Some(text) = element.text_of("reference") else { return };
    let found = run.resolve(element, text);
    if !rule.aggregation.is_empty() && !run.options.loose_aggregation {
        let is_there = |mode: &Aggregation| match mode {
            Aggregation::Contained => text.starts_with('#'),
            Aggregation::Bundled => !text.starts_with('#') && found.is_some(),
            Aggregation::Referenced => !text.starts_with('#'),
        };
        if !rule.aggregation.iter().any(is_there) {
            let modes: Vec<String> = rule.aggregation.iter().map(|mode| format!("{mode:?}").to_lowercase()).collect();
            run.issue(Id::ReferencePlace, element, format!("The target must be {}.", modes.join(" or ")));
        }
    }
    let Some(found) = found.filter(|_| !rule.target_profiles.is_empty()) else { return };
    let fits = |canonical: &str| {
        let registry = &run.validator.registry;
        if registry.is_profile(canonical) {
            // A profile that is not known leaves it open.
            return run.conforms(found, canonical) != Some(false);
        }
        let kind = found.resource_type().unwrap_or_default();
        registry.type_of(canonical).is_none_or(|name| registry.subtype_of(kind, name))
    };
    if !rule.target_profiles.iter().any(|canonical| fits(canonical)) {
        let text = format!("The target must satisfy one of {}.", rule.target_profiles.join(", "));
        run.issue(Id::ReferenceProfile, element, text);
    }
}

/// The type of the resource that a reference points to, as far as it can be told.
pub fn kind<'d>(run: &Run<'_, 'd>, element: Element<'d>) -> Option<&'d str> {
    let stated = || element.text_of("type").filter(|name| run.validator.registry.is_resource(name));
    let Some(text) = element.text_of("reference") else { return stated() };
    match shape(&run.validator.registry, text) {
        Shape::Typed(kind) => Some(kind),
        Shape::Contained(_) | Shape::Urn | Shape::Absolute => {
            run.resolve(element, text).and_then(|found| found.resource_type()).or_else(stated)
        }
        Shape::Malformed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let registry = Registry::core();
        for (text, expected) in [
            ("#a", Shape::Contained("a")),
            ("Patient/1", Shape::Typed("Patient")),
            ("Patient/1/_history/2", Shape::Typed("Patient")),
            ("https://a.b/fhir/Patient/1", Shape::Typed("Patient")),
            ("Patient?identifier=a|b", Shape::Typed("Patient")),
            ("urn:uuid:1", Shape::Urn),
            ("https://a.b/c", Shape::Absolute),
            ("Patient", Shape::Malformed),
            ("x/Patient/1", Shape::Malformed),
            ("Patient/a b", Shape::Malformed),
            ("Person/1/2", Shape::Malformed),
            ("", Shape::Malformed),
        ] {
            assert_eq!(shape(&registry, text), expected, "{text}");
        }
    }
}
