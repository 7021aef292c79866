//! The full plan of a type: every element that exists, in the definition's order.

use std::collections::HashMap;

use super::Compiler;
use super::invariants::Invariant;
use crate::fhir::definitions::{ElementDefinition, Structure, TypeReference};
use crate::fhir::tree::Tag;
use crate::fhir::validate::profile::{Asks, Content, Key, Node, NodeIndex, Profile, TypeRule};
use crate::fhir::validate::rules::primitive::Primitive;

impl Compiler<'_> {
    /// Compiles a resource or complex type.
    pub fn full(&self, structure: &Structure) -> Profile {
        let mut nodes: Vec<Node> = Vec::with_capacity(structure.elements.len());
        let mut at: HashMap<&str, NodeIndex> = HashMap::with_capacity(structure.elements.len());
        for element in &structure.elements {
            let index = nodes.len();
            let mut node = self.value_rules(element);
            node.invariants = element.constraints.iter().map(Invariant::compile).collect();
            nodes.push(node);
            at.insert(&element.path, index);
            if let Some((parent, _)) = element.path.rsplit_once('.')
                && let Some(parent) = at.get(parent)
            {
                nodes[*parent].children.push(index);
            }
        }
        for (index, element) in structure.elements.iter().enumerate().skip(1) {
            nodes[index].types = self.full_types(element, structure, index, &nodes, &at);
        }
        // The standard's own exception: Resource.id is of type id, whatever its snapshots say (R4 §2.26.4).
        if self.registry.is_resource(&structure.type_name)
            && let Some(id) = at.get(format!("{}.id", structure.type_name).as_str())
        {
            nodes[*id].types =
                vec![TypeRule { name: "id".into(), content: Content::Primitive(Primitive::Id), ..any_type() }];
        }
        for index in 0..nodes.len() {
            nodes[index].keys = keys(&nodes, index);
            nodes[index].type_name = match nodes[index].types.as_slice() {
                [] => nodes[index].path.clone(),
                [TypeRule { content: Content::Inline(at), .. }] => nodes[*at].path.clone(),
                [rule] => rule.name.clone(),
                _ => Box::default(),
            };
        }
        let paths = nodes.iter().enumerate().map(|(index, node)| (node.path.clone(), index)).collect();
        let (url, type_name) = (structure.url.clone(), structure.type_name.clone());
        Profile { url, type_name, nodes, paths, ..Profile::default() }.made_ready()
    }

    fn full_types(
        &self,
        element: &ElementDefinition,
        structure: &Structure,
        index: NodeIndex,
        nodes: &[Node],
        at: &HashMap<&str, NodeIndex>,
    ) -> Vec<TypeRule> {
        if let Some(reference) = &element.content_reference {
            let target = at.get(reference.as_str()).copied().unwrap_or(0);
            let inline = |name: &str| TypeRule { name: name.into(), content: Content::Inline(target), ..any_type() };
            return vec![inline("BackboneElement")];
        }
        let inline = !nodes[index].children.is_empty();
        let rule = |reference: &TypeReference| {
            let content = if inline { Content::Inline(index) } else { self.content(&reference.code) };
            TypeRule {
                name: reference.code.as_str().into(),
                content,
                profiles: reference
                    .profiles
                    .iter()
                    .filter(|canonical| self.registry.is_profile(canonical) && **canonical != structure.url)
                    .map(|canonical| canonical.as_str().into())
                    .collect(),
                targets: self.targets(&reference.targets),
                target_profiles: self.target_profiles(&reference.targets),
                aggregation: reference.aggregation.clone(),
                ..any_type()
            }
        };
        element.types.iter().map(rule).collect()
    }

    pub(super) fn content(&self, name: &str) -> Content {
        if let Some(primitive) = Primitive::named(name) {
            return Content::Primitive(primitive);
        }
        match self.type_index.get(name) {
            Some(index) => Content::Complex(*index),
            None if self.registry.is_resource(name) => Content::Resource,
            None => Content::Elsewhere,
        }
    }
}

/// A type rule that restricts nothing.
pub(super) fn any_type() -> TypeRule {
    TypeRule {
        name: "".into(),
        asks: Asks::Nothing,
        content: Content::Elsewhere,
        profiles: Vec::new(),
        targets: Vec::new(),
        target_profiles: Vec::new(),
        aggregation: Vec::new(),
    }
}

fn keys(nodes: &[Node], parent: NodeIndex) -> Vec<Key> {
    let mut keys = Vec::new();
    for (child, index) in nodes[parent].children.iter().enumerate() {
        let node = &nodes[*index];
        for (type_at, rule) in node.types.iter().enumerate() {
            let text =
                if node.choice { format!("{}{}", node.name, capitalised(&rule.name)) } else { node.name.to_string() };
            keys.push(Key { tag: Tag::of(&text), text: text.into(), child, type_at });
        }
    }
    keys
}

/// `Quantity` for `Quantity`, `String` for `string`: how a choice's key spells the type.
pub fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}
