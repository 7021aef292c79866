//! StructureDefinitions: whether they fit what they are derived from, and can be used at all (R4 §StructureDefinition).
//!
//! Read as they were sent, differential and snapshot, beside the snapshot of their base. A base that is not loaded
//! leaves the differential unchecked, with a warning. What the standard's own invariants say is not said again.
//!
//! Reading order: place (paths in types) < traits (what types can do) < element (one element) < this file.

mod element;
mod place;
mod traits;

use std::sync::Arc;

use super::super::run::Run;
use super::questionnaire::extension;
use crate::fhir::definitions::{ElementDefinition, Kind, Registry, Structure, StructureKind};
use crate::fhir::fhirpath;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;
use element::Elements;
use place::Places;

const OBLIGATION_PROFILE: [&str; 2] = [
    "http://hl7.org/fhir/StructureDefinition/obligation-profile-flag",
    "http://hl7.org/fhir/StructureDefinition/obligation-profile",
];
const INHERITS: [&str; 2] = [
    "http://hl7.org/fhir/StructureDefinition/inherit-obligations",
    "http://hl7.org/fhir/tools/StructureDefinition/inherit-obligations",
];
const EXTENSION: &str = "http://hl7.org/fhir/StructureDefinition/Extension";

fn wrong<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, text: &str) {
    run.issue(Id::StructureRule, element, text.to_owned());
}

fn advise<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, text: &str) {
    run.issue(Id::StructureAdvice, element, text.to_owned());
}

/// Checks a StructureDefinition. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, definition: Element<'d>) {
    let registry = Arc::clone(&run.validator.registry);
    contexts(run, &registry, definition);
    type_name(run, &registry, definition);
    let Some(canonical) = definition.text_of("baseDefinition") else { return };
    // Whoever is derived from itself has no base either.
    let is_circle = definition.text_of("url") == Some(canonical);
    let Some(base) = registry.structure(canonical).filter(|_| !is_circle) else {
        return advise(run, definition, "The base definition is not loaded here; the differential was not checked.");
    };
    kinship(run, definition, &base);
    let is_constraint = definition.text_of("derivation") == Some("constraint");
    if is_constraint {
        obstacle(run, &registry, definition, &base);
    }
    for name in ["differential", "snapshot"] {
        let Some(list) = definition.get(name) else { continue };
        run.trail.push(name, name.len(), None);
        Elements::new(&registry, definition, &base, name == "snapshot").check(run, list);
        run.trail.pop();
    }
    obligations(run, &registry, definition);
    if flag(definition, &OBLIGATION_PROFILE) {
        obligations_only(run, definition, &base);
    }
    extension_url(run, definition);
}

/// Types of the standard have plain names, which nobody else can define; logical models have URLs.
fn type_name<'d>(run: &mut Run<'_, 'd>, registry: &Registry, definition: Element<'d>) {
    let Some(stated) = definition.get("type") else { return };
    let (Some(name), url) = (stated.text(), definition.text_of("url").unwrap_or_default()) else { return };
    run.trail.push("type", "type".len(), None);
    if name.contains(':') {
        let folder = |address: &str| address.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        let (own, expected) = (folder(name), folder(url));
        if own != expected && own != expected.replace("/StructureDefinition", "") {
            advise(run, stated, "The type of a logical model should be in the namespace of its url.");
        }
        if definition.text_of("kind") != Some("logical") {
            wrong(run, stated, "Only the type of a logical model is a URL.");
        }
    } else {
        let is_core = url.strip_prefix("http://hl7.org/fhir/StructureDefinition/") == Some(name);
        let is_new = definition.text_of("derivation") == Some("specialization");
        if registry.is_type(name) && is_new && !is_core {
            wrong(run, stated, "A type of the standard is not defined anew; a definition of it is a constraint.");
        } else if !registry.is_type(name) && !is_core {
            wrong(run, stated, "The type must be one of the standard, or a URL.");
        }
    }
    run.trail.pop();
}

/// Kind and type agree with those of the base.
fn kinship<'d>(run: &mut Run<'_, 'd>, definition: Element<'d>, base: &Structure) {
    let kind = definition.text_of("kind").and_then(StructureKind::parse);
    let is_constraint = match definition.text_of("derivation") {
        Some("constraint") => true,
        Some("specialization") => false,
        _ => return wrong(run, definition, "A definition with a base says in derivation how it is derived."),
    };
    if kind.is_some_and(|kind| kind != base.kind && (is_constraint || !base.abstract_type)) {
        wrong(run, definition, "The kind must be that of the base.");
    }
    let is_same = definition.text_of("type") == Some(&base.type_name);
    if is_constraint && !is_same {
        wrong(run, definition, "A constraint has the type of its base.");
    }
    if !is_constraint && is_same {
        wrong(run, definition, "A specialization has a type of its own.");
    }
}

/// The first thing that keeps a snapshot from being made.
fn obstacle<'d>(run: &mut Run<'_, 'd>, registry: &Registry, definition: Element<'d>, base: &Arc<Structure>) {
    let Some(differential) = definition.get("differential") else { return };
    let mut places = Places::new(registry, base);
    let mut sliced: Vec<(&str, Element<'_>)> = Vec::new();
    for each in differential.all("element") {
        let Some(path) = each.text_of("path") else { continue };
        if path.split('.').any(str::is_empty) {
            return wrong(run, definition, "No snapshot can be made: a path of the differential has an empty part.");
        }
        if !path.contains('.') && each.get("slicing").is_some() {
            return wrong(run, definition, "No snapshot can be made: the root of a profile cannot be sliced.");
        }
        let is_of_type = path.split('.').next() == Some(&base.type_name);
        if is_of_type && places.find(path).is_none() {
            return wrong(run, definition, "No snapshot can be made: a path of the differential is none of the base.");
        }
        places.state(path, each);
        let Some(id) = each.text_of("id") else { continue };
        let Some(slicing) = each.get("slicing") else { continue };
        let outer = id.rsplit_once(':').map(|(outer, _)| outer);
        match outer.filter(|_| each.text_of("sliceName").is_some_and(|name| !name.contains('/'))) {
            Some(outer) => {
                let redefines = sliced.iter().any(|(known, other)| *known == outer && by(*other) != by(slicing));
                if redefines {
                    wrong(run, definition, "A slice cannot slice its own element in another way.");
                }
            }
            None => sliced.push((id, slicing)),
        }
    }
}

/// What slices are told apart by.
fn by(slicing: Element<'_>) -> Vec<(Option<&str>, Option<&str>)> {
    slicing.all("discriminator").map(|each| (each.text_of("type"), each.text_of("path"))).collect()
}

/// Where an extension may stand.
fn contexts<'d>(run: &mut Run<'_, 'd>, registry: &Registry, definition: Element<'d>) {
    let is_extension = definition.text_of("type") == Some("Extension");
    for (index, context) in definition.all("context").enumerate() {
        run.trail.push("context", "context".len(), Some(index as u32));
        let (kind, expression) = (context.text_of("type"), context.text_of("expression").unwrap_or_default());
        if !is_extension {
            wrong(run, context, "Only the definition of an extension has a context.");
        } else if kind == Some("element") {
            if !is_element(registry, expression) {
                wrong(run, context, "The context must be an element that exists.");
            }
            if expression == "Element" {
                advise(run, context, "An extension should have a narrower context than every element there is.");
            }
        } else if kind == Some("fhirpath") && is_element(registry, expression) {
            advise(run, context, "A context that is the path of an element should have the type element.");
        } else if kind == Some("fhirpath") && fhirpath::compile(expression).is_err() {
            wrong(run, context, "The context must be a FHIRPath expression.");
        }
        run.trail.pop();
    }
    for (index, invariant) in definition.all("contextInvariant").enumerate() {
        run.trail.push("contextInvariant", "contextInvariant".len(), Some(index as u32));
        if !is_extension {
            wrong(run, invariant, "Only the definition of an extension has context invariants.");
        } else if invariant
            .text()
            .is_some_and(|text| fhirpath::compile(&text.replace("%extension", "%context")).is_err())
        {
            // The extension itself is at hand here, which FHIRPath knows nothing of.
            wrong(run, invariant, "A context invariant must be a FHIRPath expression.");
        }
        run.trail.pop();
    }
}

/// Whether a path leads to an element: `Patient.name`, or `url#Patient.name` of a profile.
fn is_element(registry: &Registry, expression: &str) -> bool {
    let (url, path) = match expression.split_once('#') {
        Some((url, path)) => (Some(url), path),
        None => (None, expression),
    };
    let type_name = path.split('.').next().unwrap_or(path);
    // Later versions have common ancestors of the definitional resources, and extensions name them.
    if matches!(type_name, "CanonicalResource" | "MetadataResource") {
        return true;
    }
    registry.structure(url.unwrap_or(type_name)).is_some_and(|found| Places::new(registry, &found).find(path).is_some())
}

fn flag(definition: Element<'_>, urls: &[&str]) -> bool {
    urls.iter().any(|url| extension(definition, url).and_then(|value| value.boolean()) == Some(true))
}

/// Obligations are inherited from profiles that hold nothing else, of the same base.
fn obligations<'d>(run: &mut Run<'_, 'd>, registry: &Registry, definition: Element<'d>) {
    for (index, each) in definition.all("extension").enumerate() {
        if !each.text_of("url").is_some_and(|url| INHERITS.contains(&url)) {
            continue;
        }
        let Some(canonical) = each.text_of("valueCanonical") else { continue };
        let Some(document) = registry.find(Kind::StructureDefinition, canonical).and_then(|id| registry.document(id))
        else {
            continue;
        };
        let from = Element::root(&document);
        run.trail.push("extension", "extension".len(), Some(index as u32));
        if !flag(from, &OBLIGATION_PROFILE) {
            wrong(run, each, "Obligations are inherited from a profile that is marked as one of obligations.");
        } else if from.text_of("baseDefinition") != definition.text_of("baseDefinition") {
            wrong(run, each, "Obligations are inherited from a profile of the same base.");
        }
        run.trail.pop();
    }
}

/// A profile of obligations adds these, must-support and further bindings to elements of its base, and nothing else.
fn obligations_only<'d>(run: &mut Run<'_, 'd>, definition: Element<'d>, base: &Structure) {
    if definition.text_of("derivation") != Some("constraint") {
        return wrong(run, definition, "A profile of obligations is a constraint.");
    }
    let Some(differential) = definition.get("differential") else { return };
    run.trail.push("differential", "differential".len(), None);
    for (index, element) in differential.all("element").enumerate() {
        run.trail.push("element", "element".len(), Some(index as u32));
        let id = element.text_of("id").or(element.text_of("path")).unwrap_or_default();
        match base.elements.iter().find(|each| each.id == id) {
            None => wrong(run, element, "A profile of obligations speaks of elements of its base only."),
            Some(own) => obligation_element(run, element, own),
        }
        run.trail.pop();
    }
    run.trail.pop();
}

fn obligation_element<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, base: &ElementDefinition) {
    for (name, child) in element.children() {
        let is_allowed = match name {
            "id" | "min" | "max" | "mustSupport" => true,
            "path" => child.text() == Some(&base.path),
            "extension" => child.text_of("url").is_some_and(|url| url.ends_with("/StructureDefinition/obligation")),
            "binding" => base.binding.is_some() && child.get("valueSet").is_none(),
            _ => false,
        };
        if !is_allowed {
            wrong(
                run,
                element,
                "An element of a profile of obligations says these, mustSupport and further bindings only.",
            );
            return;
        }
    }
}

/// An extension is recognised by its url, so its definition fixes it.
fn extension_url<'d>(run: &mut Run<'_, 'd>, definition: Element<'d>) {
    if definition.text_of("type") != Some("Extension") || definition.text_of("baseDefinition") != Some(EXTENSION) {
        return;
    }
    let (Some(url), Some(differential)) = (definition.text_of("url"), definition.get("differential")) else { return };
    let element = differential.all("element").find(|each| each.text_of("path") == Some("Extension.url"));
    match element.and_then(|each| each.text_of("fixedUri")) {
        None => wrong(run, definition, "The definition of an extension fixes Extension.url."),
        Some(fixed) if fixed != url => {
            wrong(run, definition, "The definition of an extension fixes Extension.url to its own url.");
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests;
