//! The elements of a differential or a snapshot, one by one.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::super::run::Run;
use super::super::super::scope::named;
use super::place::Places;
use super::traits::{Trait, has};
use super::{advise, wrong};
use crate::fhir::definitions::{ElementDefinition, Kind, Registry, Structure, StructureKind};
use crate::fhir::fhirpath;
use crate::fhir::tree::Element;

/// A list of elements with what they are held against.
pub struct Elements<'r, 'd> {
    registry: &'r Registry,
    base: &'r Arc<Structure>,
    definition: Element<'d>,
    is_snapshot: bool,
    is_constraint: bool,
    /// What paths begin with.
    type_name: &'d str,
    places: Places<'r, 'd>,
    /// Constraints that the list has stated: key to expression.
    stated: HashMap<&'d str, Option<&'d str>>,
}

impl<'r, 'd> Elements<'r, 'd> {
    pub fn new(registry: &'r Registry, definition: Element<'d>, base: &'r Arc<Structure>, is_snapshot: bool) -> Self {
        let type_name = definition.text_of("type").unwrap_or_default();
        Elements {
            registry,
            base,
            definition,
            is_snapshot,
            is_constraint: definition.text_of("derivation") == Some("constraint"),
            // The type of a logical model is a URL; paths begin with its last part.
            type_name: type_name.rsplit('/').next().unwrap_or(type_name),
            places: Places::new(registry, base),
            stated: HashMap::new(),
        }
    }

    pub fn check(mut self, run: &mut Run<'_, 'd>, list: Element<'d>) {
        for (index, element) in list.all("element").enumerate() {
            let Some(path) = element.text_of("path") else { continue };
            run.trail.push("element", "element".len(), Some(index as u32));
            self.element(run, element, path);
            run.trail.pop();
            self.places.state(path, element);
        }
    }

    fn element(&mut self, run: &mut Run<'_, 'd>, element: Element<'d>, path: &'d str) {
        let is_root = !path.contains('.');
        if path.split('.').next() != Some(self.type_name) {
            wrong(run, element, "The path must begin with the type that is defined.");
        }
        if is_root && !self.is_snapshot && element.get("slicing").is_some() {
            wrong(run, element, "The root of a profile cannot be sliced.");
        }
        let may_miss = self.is_snapshot || !self.is_constraint || path.ends_with("xtension");
        if !may_miss && element.get("meaningWhenMissing").is_some() {
            wrong(run, element, "A constraint does not say what an absent element means.");
        }
        self.slicing(run, element, path);
        let types = self.types(run, element, path);
        self.traits(run, element, &types, is_root, path);
        if self.is_snapshot {
            self.whole(run, element, &types, is_root);
        } else if self.is_constraint {
            self.narrower(run, element, path);
        }
        for (index, constraint) in element.all("constraint").enumerate() {
            run.trail.push("constraint", "constraint".len(), Some(index as u32));
            self.constraint(run, constraint);
            run.trail.pop();
        }
    }

    fn slicing(&self, run: &mut Run<'_, 'd>, element: Element<'d>, path: &str) {
        let Some(slicing) = element.get("slicing") else { return };
        let root = path.split('.').next().unwrap_or(path);
        let Some(structure) = self.registry.structure(root) else { return };
        let Some(own) = structure.elements.iter().find(|each| each.path == path) else { return };
        run.trail.push("slicing", "slicing".len(), None);
        if own.max == Some(1) && !path.ends_with("[x]") {
            wrong(run, slicing, "Only what repeats or has several types can be sliced.");
        }
        for (index, discriminator) in slicing.all("discriminator").enumerate() {
            let types: Vec<&str> = element.all("type").filter_map(|each| each.text_of("code")).collect();
            let Some(expression) = discriminator.text_of("path") else { continue };
            if !types.is_empty() && !types.iter().any(|name| self.leads(name, expression)) {
                run.trail.push("discriminator", "discriminator".len(), Some(index as u32));
                wrong(run, discriminator, "The path of a discriminator must lead to something in the sliced element.");
                run.trail.pop();
            }
        }
        run.trail.pop();
    }

    /// Whether a discriminator's path leads anywhere in a type, as far as it can be followed.
    fn leads(&self, type_name: &str, expression: &str) -> bool {
        if fhirpath::compile(expression).is_err() {
            return false;
        }
        let mut path = type_name.to_owned();
        for step in expression.split('.') {
            if step == "$this" {
                continue;
            }
            // What follows a function is found in the data, not here.
            if step.contains(['(', '\'', ':']) {
                return true;
            }
            path = format!("{path}.{step}");
        }
        let Some(structure) = self.registry.structure(type_name) else { return true };
        // The content of a backbone element is not the type's but the path's.
        if path == type_name || matches!(type_name, "BackboneElement" | "Element" | "Resource" | "DomainResource") {
            return true;
        }
        let places = Places::new(self.registry, &structure);
        places.find(&path).is_some() || places.find(&format!("{path}[x]")).is_some()
    }

    /// The types that an element states, checked one by one.
    fn types(&self, run: &mut Run<'_, 'd>, element: Element<'d>, path: &str) -> Vec<&'d str> {
        let mut codes = Vec::new();
        for (index, stated) in element.all("type").enumerate() {
            let Some(code) = stated.text_of("code") else { continue };
            codes.push(code);
            run.trail.push("type", "type".len(), Some(index as u32));
            if stated.get("targetProfile").is_some() && !has(code, Trait::Target) && self.registry.is_type(code) {
                wrong(run, stated, "Only a Reference or a canonical has target profiles.");
            }
            for (index, profile) in stated.all("profile").enumerate() {
                run.trail.push("profile", "profile".len(), Some(index as u32));
                self.profile(run, profile, code, path);
                run.trail.pop();
            }
            for (index, profile) in stated.all("targetProfile").enumerate() {
                run.trail.push("targetProfile", "targetProfile".len(), Some(index as u32));
                self.target(run, profile, code);
                run.trail.pop();
            }
            run.trail.pop();
        }
        codes
    }

    fn profile(&self, run: &mut Run<'_, 'd>, profile: Element<'d>, code: &str, path: &str) {
        let Some(canonical) = profile.text() else { return };
        if self.definition.text_of("url") == Some(canonical) {
            return;
        }
        let Some(found) = self.registry.structure(canonical) else {
            return advise(run, profile, "The profile is not loaded here; it was not looked into.");
        };
        if self.registry.is_type(code) && !self.registry.subtype_of(&found.type_name, code) {
            return wrong(run, profile, "The profile must be one of the type that it is given for.");
        }
        if found.type_name == "Extension" {
            let is_modifier = found.elements.first().is_some_and(|root| root.is_modifier);
            let stands_as_one = path.ends_with(".modifierExtension");
            if is_modifier && !stands_as_one {
                wrong(run, profile, "A modifier extension stands in modifierExtension.");
            } else if !is_modifier && stands_as_one {
                wrong(run, profile, "What stands in modifierExtension must be defined as a modifier.");
            }
        }
    }

    fn target(&self, run: &mut Run<'_, 'd>, profile: Element<'d>, code: &str) {
        let Some(canonical) = profile.text() else { return };
        let Some(found) = self.registry.structure(canonical) else {
            return advise(run, profile, "The target profile is not loaded here; it was not looked into.");
        };
        if has(code, Trait::Target) && !matches!(found.kind, StructureKind::Resource | StructureKind::Logical) {
            wrong(run, profile, "What a reference leads to is a resource.");
        }
    }

    /// Bindings and limits need types that can have them.
    fn traits(&self, run: &mut Run<'_, 'd>, element: Element<'d>, types: &[&str], is_root: bool, path: &str) {
        let known: Vec<&str> = if is_root && types.is_empty() { vec![path] } else { types.to_vec() };
        let can = |wanted| {
            let mut known = known.iter().filter(|name| self.registry.is_type(name)).peekable();
            known.peek().is_none() || known.any(|name| has(name, wanted))
        };
        if let Some(binding) = element.get("binding") {
            if !can(Trait::Bind) {
                wrong(run, element, "Only an element whose type takes codes can be bound.");
            }
            self.binding(run, binding);
        }
        if element.get("maxLength").is_some() && !can(Trait::Length) {
            wrong(run, element, "Only an element whose type has a length can have a maxLength.");
        }
        for name in ["minValue", "maxValue"] {
            if !named(element, name, Some(true)).is_empty() && !can(Trait::Range) {
                wrong(run, element, &format!("Only an element whose type has an order can have a {name}."));
            }
        }
    }

    fn binding(&self, run: &mut Run<'_, 'd>, binding: Element<'d>) {
        let Some(canonical) = binding.text_of("valueSet").filter(|text| !text.starts_with('#')) else { return };
        if self.registry.find(Kind::ValueSet, canonical).is_some() || canonical.contains('?') {
            return;
        }
        run.trail.push("binding", "binding".len(), None);
        if self.registry.resource(canonical).is_some() {
            wrong(run, binding, "A binding is to a value set.");
        } else {
            advise(run, binding, "The value set of the binding is not loaded here; it was not looked into.");
        }
        run.trail.pop();
    }

    /// What an element of a snapshot has, being whole.
    fn whole(&self, run: &mut Run<'_, 'd>, element: Element<'d>, types: &[&str], is_root: bool) {
        let prohibited: &[&str] = match (self.is_constraint, is_root) {
            (true, true) => {
                &["sliceName", "slicing", "requirements", "fixed", "pattern", "minValue", "maxValue", "maxLength"]
            }
            (false, true) => &["sliceName", "slicing", "requirements", "fixed", "pattern", "minValue", "maxValue"],
            (false, false) => &["sliceName", "fixed", "pattern", "minValue", "maxValue"],
            (true, false) => &[],
        };
        // The value of a primitive has limits of its own: there is no type below that could carry them.
        let is_value = types.iter().any(|code| code.starts_with("http://hl7.org/fhirpath/System."));
        for name in prohibited.iter().filter(|name| !(is_value && matches!(**name, "minValue" | "maxValue"))) {
            if element.get(name).is_some() || !named(element, name, Some(true)).is_empty() {
                wrong(run, element, &format!("An element like this one has no {name}."));
            }
        }
        if is_root {
            return;
        }
        if types.is_empty() && element.get("contentReference").is_none() {
            return wrong(run, element, "An element of a snapshot has a type or shares the content of another one.");
        }
        for name in ["defaultValue", "fixed", "pattern"] {
            for value in named(element, name, Some(true)) {
                let is_open = types.iter().any(|code| code.contains("fhirpath"));
                if !is_open && !types.contains(&value.type_name) {
                    run.enter(&value);
                    wrong(run, value.element, "The value must be of one of the element's types.");
                    run.leave();
                }
            }
        }
    }

    /// A constraint allows no more than its base does.
    fn narrower(&self, run: &mut Run<'_, 'd>, element: Element<'d>, path: &str) {
        let Some(place) = self.places.find(path) else { return };
        let base = place.element();
        let is_slice =
            element.text_of("sliceName").is_some() || element.text_of("id").is_some_and(|id| id.contains(':'));
        if let Some(min) = element.text_of("min").and_then(|text| text.parse::<u32>().ok())
            && !is_slice
            && min < base.min
        {
            wrong(run, element, &format!("The base asks for at least {}; a constraint cannot ask for less.", base.min));
        }
        if let (Some(max), Some(most)) = (element.text_of("max"), base.max)
            && max.parse::<u32>().map_or(max == "*", |max| max > most)
        {
            wrong(run, element, &format!("The base allows at most {most}; a constraint cannot allow more."));
        }
        same_value(run, element, base);
        if base.types.is_empty() || path == self.type_name {
            return;
        }
        for (index, stated) in element.all("type").enumerate() {
            let Some(code) = stated.text_of("code") else { continue };
            let fits = |allowed: &str| code == allowed || self.registry.subtype_of(code, allowed);
            if !code.contains("fhirpath") && !base.types.iter().any(|each| fits(&each.code)) {
                run.trail.push("type", "type".len(), Some(index as u32));
                wrong(run, stated, "The base does not allow that type; a constraint chooses among the base's types.");
                run.trail.pop();
            }
        }
    }

    /// A key means one rule: in the list, and in what the definition is derived from.
    fn constraint(&mut self, run: &mut Run<'_, 'd>, constraint: Element<'d>) {
        let Some(key) = constraint.text_of("key") else { return };
        let (expression, source) = (constraint.text_of("expression"), constraint.text_of("source"));
        let url = self.definition.text_of("url").unwrap_or_default();
        let is_own = source.is_none_or(|source| source.split('|').next() == Some(url));
        if expression.is_none() {
            return;
        }
        if !self.is_snapshot {
            if !is_own {
                return wrong(run, constraint, "A constraint of a differential has its own definition as source.");
            }
            let mut inherited = self.base.elements.iter().flat_map(|each| &each.constraints);
            let is_taken = inherited.any(|each| each.key == key && expression != Some(&each.expression));
            if is_taken {
                return wrong(run, constraint, "The base has another constraint with that key.");
            }
        }
        match self.stated.get(key) {
            Some(other) if *other != expression && key != "ele-1" => {
                wrong(run, constraint, "Another element has another constraint with that key.");
            }
            Some(_) => {}
            None => {
                self.stated.insert(key, expression);
                if is_own && expression.is_some_and(|text| fhirpath::compile(text).is_err()) {
                    wrong(run, constraint, "The expression of a constraint must be FHIRPath.");
                }
            }
        }
    }
}

/// What the base fixes stays as it is.
fn same_value<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, base: &ElementDefinition) {
    let Some(fixed) = &base.fixed else { return };
    for value in named(element, "fixed", Some(true)) {
        let is_same = value.type_name == fixed.type_name && super::super::literal::is_fixed(fixed, value.element);
        if !is_same {
            run.enter(&value);
            wrong(run, value.element, "The value must be the one that the base fixes.");
            run.leave();
        }
    }
}
