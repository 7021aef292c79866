//! What FHIRPath asks of its host, answered from compiled plans and from the check under way.

use std::sync::atomic::Ordering;

use super::profile::{Content, Node, Profile};
use super::run::Run;
use crate::fhir::fhirpath::{Child, Code, Host, Node as Focus};
use crate::fhir::terminology::{Membership, membership, subsumes};
use crate::fhir::tree::Tag;

impl Run<'_, '_> {
    /// The node of a type, or of a part of one: `Quantity`, `Observation.component`.
    fn node_of(&self, name: &str) -> Option<(&Profile, &Node)> {
        let head = name.split('.').next().unwrap_or(name);
        let plan = self.validator.plan(head)?;
        let node = if head == name { plan.root() } else { &plan.nodes[*plan.paths.get(name)?] };
        Some((plan, node))
    }
}

impl Host for Run<'_, '_> {
    fn child<'a>(&'a self, parent: &str, key: &str) -> Option<Child<'a>> {
        let (plan, node) = self.node_of(parent)?;
        let tag = Tag::of(key);
        let found = node.keys.iter().find(|each| each.tag == tag && *each.text == *key)?;
        let child = &plan.nodes[node.children[found.child]];
        let rule = &child.types[found.type_at];
        let type_name = match rule.content {
            Content::Inline(at) => &plan.nodes[at].path,
            _ => &rule.name,
        };
        Some(Child { name: &child.name, type_name })
    }

    fn defines(&self, parent: &str, name: &str) -> Option<bool> {
        let (plan, node) = self.node_of(parent)?;
        Some(node.children.iter().any(|child| *plan.nodes[*child].name == *name))
    }

    fn is_subtype(&self, type_name: &str, ancestor: &str) -> bool {
        if type_name.contains('.') {
            return matches!(ancestor, "BackboneElement" | "Element");
        }
        type_name != ancestor && self.validator.registry.subtype_of(type_name, ancestor)
    }

    fn resolve<'a>(&'a self, from: Focus<'a>, reference: &str) -> Option<Focus<'a>> {
        let found = Run::resolve(self, from.element, reference).map(Focus::resource);
        if found.is_none() {
            self.unresolved.store(true, Ordering::Relaxed);
        }
        found
    }

    fn member_of(&self, value_set: &str, codes: &[Code<'_>]) -> Option<bool> {
        let set = self.validator.registry.value_set(value_set)?;
        let mut decided = true;
        for code in codes {
            match membership(set, code.system, code.code) {
                Membership::In => return Some(true),
                Membership::Unknown => decided = false,
                Membership::Out => {}
            }
        }
        decided.then_some(false)
    }

    fn subsumes(&self, general: &Code<'_>, specific: &Code<'_>) -> Option<bool> {
        let system = general.system.filter(|system| specific.system == Some(*system))?;
        if general.code == specific.code {
            return Some(true);
        }
        let known = self.validator.registry.code_system(system)?;
        subsumes(known, general.code, specific.code)
    }

    fn conforms_to(&self, node: Focus<'_>, profile: &str) -> Option<bool> {
        if node.element.resource_type().is_some() {
            return self.conforms_fully(node.element, profile);
        }
        match self.validator.registry.type_of(profile).filter(|_| !self.validator.registry.is_profile(profile)) {
            Some(name) => Some(self.validator.registry.subtype_of(node.fhir_type()?, name)),
            None => self.conforms(node.element, profile),
        }
    }
}
