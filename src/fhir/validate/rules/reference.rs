//! References: their form, the type they point to, and what must be resolvable within the message (R4 §2.3).

use super::super::profile::TypeRule;
use super::super::run::Run;
use crate::fhir::definitions::Registry;
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
    let path = text.split("/_history/").next().unwrap_or(text);
    let mut parts = path.rsplit('/');
    let (id, kind) = (parts.next().unwrap_or_default(), parts.next());
    let is_absolute = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    match kind {
        Some(kind) if registry.is_resource(kind) && (is_absolute || parts.next().is_none()) && is_id(id) => {
            Shape::Typed(kind)
        }
        _ if is_absolute => Shape::Absolute,
        _ => Shape::Malformed,
    }
}

/// Type and id of the resource that an absolute RESTful address names; an address without them names none.
pub fn address<'d>(registry: &Registry, url: &'d str) -> Option<(&'d str, &'d str)> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let path = rest.split("/_history/").next().unwrap_or(rest);
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
    match shape(&run.validator.registry, text) {
        Shape::Malformed => {
            let text = "The reference must be Type/id, an absolute URL, urn:uuid:… or #id of a contained resource.";
            run.issue(Id::ReferenceFormat, element, text.to_owned());
        }
        Shape::Contained(id) if !id.is_empty() && run.contained(id).is_none() => {
            run.issue(
                Id::ContainedUnresolved,
                element,
                "No contained resource has the id that is referred to.".to_owned(),
            );
        }
        Shape::Urn => {
            let Some(entries) = run.entries().filter(|entries| entries.get(element, text).is_none()) else { return };
            // A server that is asked to store it could never make it point to anything.
            let id = if entries.is_request { Id::ReferenceUnresolved } else { Id::ReferenceElsewhere };
            run.issue(id, element, "No entry of the Bundle has the fullUrl that is referred to.".to_owned());
        }
        _ => {}
    }
}

/// Whether the target's type is among the allowed ones; what cannot be told passes.
pub fn target<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, rule: &TypeRule) {
    if rule.targets.is_empty() || !matches!(&*rule.name, "Reference") {
        return;
    }
    let Some(kind) = kind(run, element) else { return };
    if !rule.targets.iter().any(|target| run.validator.registry.subtype_of(kind, target)) {
        let text = format!("The reference must point to {}.", rule.targets.join(" or "));
        run.issue(Id::ReferenceTarget, element, text);
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
