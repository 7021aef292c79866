//! Applying a profile: the sparse rules, visited only where the profile says something.

use super::profile::{Asks, Node, NodeIndex, Profile, UNBOUNDED};
use super::rules::{binding, invariant, literal, narrative, slicing};
use super::run::{MAX_NESTED, Run};
use super::scope::named;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

impl<'d> Run<'_, 'd> {
    /// Applies a profile to an element whose own type has been walked.
    pub fn apply(&mut self, profile: &Profile, element: Element<'d>) {
        self.apply_node(profile, 0, element, "");
    }

    /// Applies a profile and those that it imposes.
    pub fn apply_all(&mut self, profile: &Profile, element: Element<'d>, depth: usize) {
        self.apply(profile, element);
        let imposed = profile.imposed.iter().filter(|_| depth < MAX_NESTED);
        for imposed in imposed.filter_map(|canonical| self.validator.profile(canonical)) {
            self.apply_all(&imposed, element, depth + 1);
        }
    }

    /// Applies one node of a profile, and those below it. `type_name` is the type that a choice's key named.
    pub fn apply_node(&mut self, profile: &Profile, at: NodeIndex, element: Element<'d>, type_name: &str) {
        let node = &profile.nodes[at];
        self.types(node, element, type_name);
        literal::check(self, node, element);
        if !node.narrative.is_idle() {
            narrative::control(self, &node.narrative, element);
        }
        if let Some(bound) = &node.binding {
            binding::check(self, bound, element);
        }
        if node.has_invariants {
            let told = || if type_name.is_empty() { &*node.type_name } else { type_name };
            let type_name = element.resource_type().unwrap_or_else(told);
            invariant::check(self, &node.invariants, element, type_name);
        }
        let outer = self.scope;
        if at > 0 && element.resource_type().is_some() {
            self.step_into(element);
        }
        for child in &node.children {
            self.apply_child(profile, *child, element);
        }
        self.scope = outer;
    }

    fn apply_child(&mut self, profile: &Profile, at: NodeIndex, parent: Element<'d>) {
        let node = &profile.nodes[at];
        let found = named(parent, &node.name, Some(node.choice));
        let count = found.len() as u32;
        if count < node.min {
            let text = format!("{} is missing; {} asks for at least {}.", node.path, profile.url, node.min);
            self.missing(Id::CardinalityMin, parent, &node.name, text);
        }
        if node.max != UNBOUNDED && count > node.max {
            let text = format!("{} may stand at most {} times in {}.", node.path, node.max, profile.url);
            self.missing(Id::CardinalityMax, parent, &node.name, text);
        }
        for each in &found {
            self.enter(each);
            self.apply_node(profile, at, each.element, each.type_name);
            self.leave();
        }
        if let Some(slices) = &node.slicing {
            slicing::check(self, profile, node, slices, &found, parent);
        }
    }

    fn types(&mut self, node: &Node, element: Element<'d>, type_name: &str) {
        if node.types.is_empty() {
            return;
        }
        let actual = if type_name.is_empty() { element.resource_type().unwrap_or_default() } else { type_name };
        let matching = |name: &str| actual.is_empty() || self.validator.registry.subtype_of(actual, name);
        let Some(rule) = node.types.iter().find(|rule| matching(&rule.name)) else {
            let types: Vec<&str> = node.types.iter().map(|each| &*each.name).collect();
            self.issue(Id::TypeMismatch, element, format!("It must be of type {}.", types.join(" or ")));
            return;
        };
        self.target(element, rule);
        if !rule.profiles.is_empty() && rule.asks != Asks::Extension {
            self.one_of(&rule.profiles, element);
        }
    }

    /// One of the profiles must be satisfied. With one, its issues are reported; with more, that none fits.
    pub fn one_of(&mut self, profiles: &[Box<str>], element: Element<'d>) {
        let validator = self.validator;
        if let [canonical] = profiles {
            match validator.profile(canonical) {
                Some(profile) => self.apply(&profile, element),
                None => self.no_profile(canonical, element),
            }
            return;
        }
        // An unknown profile among them leaves it open.
        if profiles.iter().all(|canonical| self.conforms(element, canonical) == Some(false)) {
            let text = format!("It must satisfy one of the profiles {}.", profiles.join(", "));
            self.issue(Id::TypeMismatch, element, text);
            for profile in profiles.iter().filter_map(|canonical| validator.profile(canonical)) {
                self.apply(&profile, element);
            }
        }
    }

    /// What is asked for as a profile may be a type, or not be loaded.
    fn no_profile(&mut self, canonical: &str, element: Element<'d>) {
        let validator = self.validator;
        match (validator.registry.type_of(canonical), element.resource_type()) {
            (Some(name), Some(actual)) if !validator.registry.subtype_of(actual, name) => {
                self.issue(Id::TypeMismatch, element, format!("It must be of type {name}."));
            }
            (Some(_), _) => {}
            (None, _) => {
                let text = format!("The profile {canonical} is asked for, and it is not loaded here.");
                let id = if self.options.known_extensions { Id::ProfileMissing } else { Id::ProfileUnknown };
                self.issue(id, element, text);
            }
        }
    }
}
