//! Extensions: each is checked against the definition that its url names (R4 §2.4.1).
//!
//! An unknown extension may be ignored, so it warns unless the caller wants known ones only; an unknown modifier
//! extension may turn the meaning of everything around it, so it stops the resource. A known one must stand where
//! its definition says.

use smallvec::SmallVec;

use super::super::profile::{Context, ExtensionRules, Profile};
use super::super::run::{Holder, Run};
use crate::fhir::fhirpath::{Context as Evaluation, Expression, Node, Value};
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

pub fn check<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, is_modifier: bool) {
    let Some(url) = element.text_of("url").filter(|url| !url.is_empty()) else {
        let text = "The url is what tells which extension it is.";
        run.issue(Id::ExtensionUrl, element, text.to_owned());
        return;
    };
    if !url.contains(':') {
        part(run, element, url);
        return;
    }
    if url.contains('|') {
        let text = "The url of an extension has no version.";
        run.issue(Id::ExtensionUrl, element, text.to_owned());
    }
    let Some(profile) = run.validator.profile(url).filter(|profile| profile.type_name == "Extension") else {
        unknown(run, element, url, is_modifier);
        return;
    };
    if let Some(rules) = &profile.extension {
        if rules.is_modifier != is_modifier {
            let kind = if rules.is_modifier { "a modifier extension" } else { "no modifier extension" };
            run.issue(Id::ExtensionModifier, element, format!("The definition says that this is {kind}."));
        }
        place(run, &profile, rules, element);
    }
    run.apply(&profile, element);
}

fn unknown<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, url: &str, is_modifier: bool) {
    let is_free = is_free(url) || run.options.extension_domains.iter().any(|domain| url.starts_with(domain));
    if run.options.known_extensions && !is_free {
        let text = "The extension is not known here, and only known ones are allowed.";
        run.issue(Id::ExtensionNotAllowed, element, text.to_owned());
    } else if is_modifier && !(run.options.known_extensions && is_free) {
        let text = "The modifier extension is not known here, and it may change the meaning of what surrounds it.";
        run.issue(Id::ModifierExtensionUnknown, element, text.to_owned());
    } else {
        let text = "The extension is not known here; its content was not checked.";
        run.issue(Id::ExtensionUnknown, element, text.to_owned());
    }
}

/// Extensions that nobody defines for validators: those of examples, of tools, and elements of other versions of
/// FHIR.
fn is_free(url: &str) -> bool {
    let is_other_version = || {
        let version = url.strip_prefix("http://hl7.org/fhir/").and_then(|rest| rest.split_once('/'));
        version.is_some_and(|(version, rest)| {
            matches!(version, "1.0" | "3.0" | "4.0" | "4.3" | "5.0")
                && rest.starts_with("StructureDefinition/extension-")
        })
    };
    url.contains("example.org")
        || url.contains("acme.com")
        || url.contains("nema.org")
        || url.starts_with("http://hl7.org/fhir/tools/StructureDefinition/")
        || is_other_version()
}

/// A relative url names a part of the complex extension around it.
fn part<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, url: &str) {
    let around = run.holders.below(1);
    let Some(around) = around.filter(|around| around.type_name == "Extension") else {
        run.issue(Id::ExtensionUrl, element, "The url of an extension is absolute.".to_owned());
        return;
    };
    let Some(profile) = around.element.text_of("url").and_then(|url| run.validator.profile(url)) else { return };
    let Some(rules) = &profile.extension else { return };
    if !rules.parts.is_empty() && !rules.parts.iter().any(|part| **part == *url) {
        let text = format!("The extension consists of {}.", rules.parts.join(", "));
        run.issue(Id::ExtensionUrl, element, text);
    }
}

/// Whether the extension may stand where it does. The issue lies on what it extends.
fn place<'d>(run: &mut Run<'_, 'd>, profile: &Profile, rules: &ExtensionRules, extension: Element<'d>) {
    let Some(container) = run.holders.below(1) else { return };
    let fits = rules.contexts.is_empty() || rules.contexts.iter().any(|context| is_at(run, context, container));
    let told: Option<&str> = if fits {
        let fails = |(_, expression): &&(Box<str>, Option<Expression>)| {
            expression.as_ref().is_some_and(|expression| holds(run, expression, container) == Some(false))
        };
        rules.invariants.iter().find(fails).map(|(text, _)| &**text)
    } else {
        None
    };
    let text = match told {
        Some(text) => format!("The extension {} may stand only where {text}.", profile.url),
        None if fits => return,
        None => format!("The extension {} may not stand here.", profile.url),
    };
    run.issue_above(Id::ExtensionContext, extension, text);
}

fn is_at(run: &Run<'_, '_>, context: &Context, container: Holder<'_, '_>) -> bool {
    match context {
        Context::Element(head, path) => is_element(run, head, path),
        Context::Extension(url) => {
            // The extension itself, or its value.
            let around = run.holders.below(2);
            let is_that =
                |holder: &Holder<'_, '_>| holder.type_name == "Extension" && holder.element.text_of("url") == Some(url);
            is_that(&container) || around.as_ref().is_some_and(is_that)
        }
        Context::Selected(expression) => {
            let resource = Node::resource(run.scope.resource);
            let evaluation = Evaluation {
                root: Node::resource(run.scope.container),
                loose_choices: true,
                ..Evaluation::new(run, resource)
            };
            expression.evaluate(&evaluation, resource).map_or(true, |found| {
                found
                    .iter()
                    .any(|value| matches!(value, Value::Node(node) if node.element.node() == container.element.node()))
            })
        }
        Context::Undecided => true,
    }
}

/// Whether the element around the extension is at that path of that type, or of a type below it.
fn is_element(run: &Run<'_, '_>, head: &str, path: &[Box<str>]) -> bool {
    // Names that later versions have for kinds of resources.
    if path.is_empty() && matches!(head, "CanonicalResource" | "MetadataResource") {
        return run.scope.resource.get("url").is_some();
    }
    let around = run.holders.len().saturating_sub(1);
    let own: SmallVec<[Holder<'_, '_>; 16]> = run.holders.iter().take(around).skip(run.scope.holder).collect();
    let steps = run.trail.names(run.scope.depth);
    // The place may be told from any element on the way down: from the resource, a part of it, or a data type.
    (0..own.len()).any(|start| {
        let holder = own[start];
        let mut told = if holder.path.is_empty() { holder.type_name } else { holder.path }.split('.');
        let kind = told.next().unwrap_or_default();
        let below = steps[start..own.len() - 1].iter().copied();
        let told = told.map(|name| (name, false)).chain(below);
        path.len() == told.clone().count()
            && told.zip(path).all(|((name, is_choice), wanted)| {
                **wanted == *name || (is_choice && wanted.strip_suffix("[x]") == Some(name))
            })
            && run.validator.registry.subtype_of(kind, head)
    }) || path.is_empty() && own.last().is_some_and(|last| run.validator.registry.subtype_of(last.type_name, head))
}

fn holds(run: &Run<'_, '_>, expression: &Expression, container: Holder<'_, '_>) -> Option<bool> {
    let resource = Node::resource(run.scope.resource);
    let evaluation =
        Evaluation { root: Node::resource(run.scope.container), loose_choices: true, ..Evaluation::new(run, resource) };
    let type_name = (container.type_name != "BackboneElement").then_some(container.type_name);
    expression.holds(&evaluation, Node { element: container.element, type_name }).ok()
}
