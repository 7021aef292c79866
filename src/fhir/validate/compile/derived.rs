//! The sparse plan of a profile: what its snapshot asks beyond the snapshot of its base type.
//!
//! Each element is compared with the element of the base type that it constrains, found by walking the base
//! type (and the data types below it) along the same path without slices. What is equal is dropped: the
//! base type's own plan checks it on the same walk.

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;

use super::Compiler;
use super::base::{any_type, capitalised};
use super::invariants::Invariant;
use crate::fhir::definitions::{
    ContextKind, ElementDefinition, ExtensionContext, SlicingRules, Strength, Structure, TypeReference,
};
use crate::fhir::fhirpath::compile;
use crate::fhir::validate::profile::{
    Context, ExtensionRules, Node, NodeIndex, Profile, Slice, Slices, TypeRule, UNBOUNDED,
};

/// An element of a base type: where a path of the profile stands in the hierarchy of types.
#[derive(Clone)]
pub(super) struct BaseElement {
    structure: Arc<Structure>,
    at: usize,
}

impl BaseElement {
    pub(super) fn element(&self) -> &ElementDefinition {
        &self.structure.elements[self.at]
    }
}

/// A snapshot's element with its tree links, before rules are cut out of it.
pub(super) struct Branch<'s> {
    pub element: &'s ElementDefinition,
    pub children: Vec<usize>,
    pub slices: Vec<usize>,
    pub base: Option<BaseElement>,
}

impl Compiler<'_> {
    /// Compiles a profile.
    pub fn sparse(&self, structure: &Structure) -> Profile {
        let branches = self.branches(structure);
        let mut nodes = Vec::new();
        self.node(&branches, 0, false, &mut nodes);
        Profile {
            url: structure.url.clone(),
            type_name: structure.type_name.clone(),
            extension: (structure.type_name == "Extension").then(|| extension_rules(structure)),
            imposed: structure.imposes.clone(),
            nodes,
            ..Profile::default()
        }
        .made_ready()
    }

    /// Compiles what a profile says of one of its elements, told by the element's id.
    pub fn part(&self, structure: &Structure, id: &str) -> Option<Profile> {
        let branches = self.branches(structure);
        let at = branches.iter().position(|branch| branch.element.id == id)?;
        let mut nodes = Vec::new();
        self.node(&branches, at, true, &mut nodes);
        let (url, type_name) = (structure.url.clone(), structure.type_name.clone());
        Some(Profile { url, type_name, nodes, ..Profile::default() }.made_ready())
    }

    pub(super) fn branches<'s>(&self, structure: &'s Structure) -> Vec<Branch<'s>> {
        let mut branches: Vec<Branch<'s>> = Vec::with_capacity(structure.elements.len());
        let mut at: HashMap<&str, usize> = HashMap::new();
        for element in &structure.elements {
            let index = branches.len();
            let (parent, slice_of) = parents(&element.id);
            let base = match (slice_of.and_then(|id| at.get(id)), parent.and_then(|id| at.get(id))) {
                (Some(sliced), _) => {
                    branches[*sliced].slices.push(index);
                    branches[*sliced].base.clone()
                }
                (None, Some(parent)) => {
                    branches[*parent].children.push(index);
                    self.base_child(&branches[*parent], element.name())
                }
                (None, None) if index == 0 => {
                    self.registry.structure(&structure.type_name).map(|structure| BaseElement { structure, at: 0 })
                }
                (None, None) => continue,
            };
            at.insert(&element.id, index);
            branches.push(Branch { element, children: Vec::new(), slices: Vec::new(), base });
        }
        branches
    }

    /// The child of that name in the base type: inline, by content reference, or in the data type's structure.
    fn base_child(&self, parent: &Branch<'_>, name: &str) -> Option<BaseElement> {
        let base = parent.base.as_ref()?;
        let inline = child_of(&base.structure, &base.element().path, name);
        if let Some(at) = inline {
            return Some(BaseElement { structure: Arc::clone(&base.structure), at });
        }
        if let Some(reference) = &base.element().content_reference {
            let at = child_of(&base.structure, reference, name)?;
            return Some(BaseElement { structure: Arc::clone(&base.structure), at });
        }
        let types = if parent.element.types.is_empty() { &base.element().types } else { &parent.element.types };
        types.iter().find_map(|each| {
            let structure = self.registry.structure(&each.code)?;
            let at = child_of(&structure, &structure.elements[0].path, name)?;
            Some(BaseElement { structure, at })
        })
    }

    fn node(&self, branches: &[Branch<'_>], at: usize, is_slice: bool, nodes: &mut Vec<Node>) -> NodeIndex {
        let branch = &branches[at];
        let index = nodes.len();
        let mut node = self.value_rules(branch.element);
        self.subtract(&mut node, branch, is_slice);
        nodes.push(node);
        for child in &branch.children {
            let made = self.node(branches, *child, false, nodes);
            if nodes[made].is_idle() && made + 1 == nodes.len() {
                nodes.pop();
            } else {
                nodes[index].children.push(made);
            }
        }
        let slicing = self.slicing(branches, at, nodes);
        nodes[index].slicing = slicing;
        index
    }

    /// Drops from a node what the base type asks already.
    fn subtract(&self, node: &mut Node, branch: &Branch<'_>, is_slice: bool) {
        let element = branch.element;
        let Some(base) = branch.base.as_ref().map(BaseElement::element) else { return };
        if base.name().ends_with("[x]") && !element.name().ends_with("[x]") {
            node.name = base.name().trim_end_matches("[x]").into();
            node.choice = true;
        }
        node.repeats = base.base_repeats;
        if !is_slice {
            if node.min <= base.min {
                node.min = 0;
            }
            if node.max >= base.max.unwrap_or(UNBOUNDED) {
                node.max = UNBOUNDED;
            }
        }
        node.type_name = focus(base).into();
        let is_root = !element.path.contains('.');
        if is_root {
            (node.min, node.max) = (0, UNBOUNDED);
        }
        if element.binding.as_ref().is_none_or(|own| {
            base.binding.as_ref().is_some_and(|binding| {
                is_same_set(&binding.value_set, &own.value_set)
                    && binding.strength >= own.strength
                    && own.strength >= Strength::Extensible
            })
        }) {
            node.binding = None;
        }
        if base.max_length == element.max_length {
            node.max_length = None;
        }
        let (base_regex, regex) = (regex_of(base), regex_of(element));
        if base_regex != regex {
            node.regex = regex.and_then(|regex| Regex::new(&format!("^(?:{regex})$")).ok());
        }
        node.types = self.sparse_types(element, base, is_root);
        let known = self.known_keys(element, base);
        node.invariants = element
            .constraints
            .iter()
            .filter(|constraint| !known.contains(&constraint.key))
            .map(Invariant::compile)
            .collect();
    }

    /// Keys of the constraints that hold for the element's type or in the base anyway.
    fn known_keys(&self, element: &ElementDefinition, base: &ElementDefinition) -> Vec<String> {
        let of_types = element.types.iter().filter_map(|each| self.registry.structure(&each.code));
        let mut keys: Vec<String> = of_types
            .flat_map(|structure| {
                structure.elements[0].constraints.iter().map(|each| each.key.clone()).collect::<Vec<_>>()
            })
            .collect();
        keys.extend(base.constraints.iter().map(|constraint| constraint.key.clone()));
        keys
    }

    fn sparse_types(&self, element: &ElementDefinition, base: &ElementDefinition, is_root: bool) -> Vec<TypeRule> {
        if is_root {
            return Vec::new();
        }
        let rule = |each: &TypeReference| TypeRule {
            name: each.code.as_str().into(),
            profiles: each.profiles.iter().map(|canonical| canonical.as_str().into()).collect(),
            targets: self.targets(&each.targets),
            target_profiles: self.target_profiles(&each.targets),
            aggregation: each.aggregation.clone(),
            ..any_type()
        };
        let same = |one: &TypeReference, other: &TypeReference| {
            one.code == other.code
                && one.profiles == other.profiles
                && one.targets == other.targets
                && one.aggregation == other.aggregation
        };
        let is_same = element.types.len() == base.types.len()
            && element.types.iter().all(|each| base.types.iter().any(|other| same(each, other)));
        let only_codes = |types: &[TypeReference]| types.iter().map(|each| each.code.clone()).collect::<Vec<_>>();
        // An extension is checked against the definition that its url names wherever it stands.
        let only_extension = only_codes(&element.types) == ["Extension"];
        if is_same || only_extension || element.types.is_empty() {
            return Vec::new();
        }
        element.types.iter().map(rule).collect()
    }

    fn slicing(&self, branches: &[Branch<'_>], at: usize, nodes: &mut Vec<Node>) -> Option<Slices> {
        let branch = &branches[at];
        let definition = branch.element.slicing.as_ref()?;
        let open = definition.rules == SlicingRules::Open && !definition.ordered;
        let mut slices = Vec::with_capacity(branch.slices.len());
        for slice in &branch.slices {
            let element = branches[*slice].element;
            let before = nodes.len();
            let node = self.node(branches, *slice, true, nodes);
            let base_max = branches[*slice].base.as_ref().and_then(|base| base.element().max).unwrap_or(UNBOUNDED);
            if nodes[node].max >= base_max {
                nodes[node].max = UNBOUNDED;
            }
            if open && nodes[node].is_idle() && node + 1 == nodes.len() {
                nodes.truncate(before);
                continue;
            }
            slices.push(Slice {
                name: element.slice_name.as_deref().unwrap_or_default().into(),
                tests: self.tests(branches, *slice, definition),
                node,
            });
        }
        let says_something =
            !slices.is_empty() || definition.rules == SlicingRules::Closed && !branch.slices.is_empty();
        says_something.then_some(Slices { rules: definition.rules, ordered: definition.ordered, slices })
    }
}

/// Whether two canonicals name one value set: a version that one of them leaves open is that of the other.
fn is_same_set(one: &str, other: &str) -> bool {
    let parts = |canonical: &str| canonical.split_once('|').map(|(url, version)| (url.to_owned(), version.to_owned()));
    match (parts(one), parts(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.split('|').next() == other.split('|').next(),
    }
}

/// Where an extension may stand, by its definition, and the parts that it names.
fn extension_rules(structure: &Structure) -> ExtensionRules {
    let context = |context: &ExtensionContext| match context.kind {
        ContextKind::Extension => Context::Extension(context.expression.as_str().into()),
        ContextKind::FhirPath => compile(&context.expression).map_or(Context::Undecided, Context::Selected),
        ContextKind::Element => {
            // A profile before a hash narrows the place; the path behind it names it.
            let path = context.expression.rsplit('#').next().unwrap_or_default();
            let mut parts = path.split('.').map(Box::from);
            Context::Element(parts.next().unwrap_or_default(), parts.collect())
        }
    };
    let anywhere = is_used_anywhere(&structure.url)
        || structure
            .contexts
            .iter()
            .any(|each| each.kind == ContextKind::Element && matches!(each.expression.as_str(), "Element" | "Any"));
    let mut contexts: Vec<Context> =
        if anywhere { Vec::new() } else { structure.contexts.iter().map(context).collect() };
    if !anywhere && describes_types(&structure.url) {
        contexts.push(Context::Element("ElementDefinition".into(), vec!["type".into()]));
    }
    let parts = structure.elements.iter().filter(|element| element.path == "Extension.extension.url");
    ExtensionRules {
        is_modifier: structure.elements.first().is_some_and(|root| root.is_modifier),
        contexts,
        invariants: structure
            .context_invariants
            .iter()
            .map(|text| (text.as_str().into(), compile(text).ok()))
            .collect(),
        parts: parts.filter_map(|element| Some(element.fixed.as_ref()?.element().text()?.into())).collect(),
    }
}

/// Extensions whose definitions in R4 name fewer places than those where R4 itself puts them; so the later versions of
/// the definitions say.
fn is_used_anywhere(url: &str) -> bool {
    let name = url.strip_prefix("http://hl7.org/fhir/StructureDefinition/").unwrap_or_default();
    matches!(
        name,
        "structuredefinition-normative-version" | "capabilitystatement-expectation" | "capabilitystatement-prohibited"
    )
}

/// The same, of extensions that R4 puts on the types of elements.
fn describes_types(url: &str) -> bool {
    let name = url.strip_prefix("http://hl7.org/fhir/StructureDefinition/").unwrap_or_default();
    matches!(name, "structuredefinition-fhir-type" | "regex")
}

/// The expression that the text of an element must match, said of the element or of its type.
fn regex_of(element: &ElementDefinition) -> Option<&String> {
    element.regex.as_ref().or_else(|| element.types.iter().find_map(|each| each.regex.as_ref()))
}

/// The type of an element as expressions see it: its path where it is part of a type.
fn focus(base: &ElementDefinition) -> &str {
    match (&base.content_reference, base.types.as_slice()) {
        (Some(reference), _) => reference,
        (None, [only]) if !matches!(only.code.as_str(), "BackboneElement" | "Element") => &only.code,
        (None, [] | [_]) => &base.path,
        (None, _) => "",
    }
}

/// Ids of the parent, and of the element that this one slices: `A.b:c` slices `A.b`, `A.b.c` is a child of it.
fn parents(id: &str) -> (Option<&str>, Option<&str>) {
    let (parent, last) = match id.rfind('.') {
        Some(dot) => (Some(&id[..dot]), &id[dot + 1..]),
        None => (None, id),
    };
    let sliced = last.rfind([':', '/']).map(|colon| &id[..id.len() - last.len() + colon]);
    (parent, sliced)
}

fn child_of(structure: &Structure, parent: &str, name: &str) -> Option<usize> {
    structure.elements.iter().position(|element| {
        let Some((path, own)) = element.path.rsplit_once('.') else { return false };
        if path != parent || element.slice_name.is_some() {
            return false;
        }
        own == name
            || own
                .strip_suffix("[x]")
                .and_then(|stem| name.strip_prefix(stem))
                .is_some_and(|suffix| element.types.iter().any(|each| capitalised(&each.code) == suffix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_one_unless_both_say_another_version() {
        for (one, other, expected) in [
            ("urn:s", "urn:s", true),
            ("urn:s|1", "urn:s", true),
            ("urn:s|1", "urn:s|1", true),
            ("urn:s|1", "urn:s|2", false),
            ("urn:s", "urn:t", false),
        ] {
            assert_eq!(is_same_set(one, other), expected, "{one} {other}");
        }
    }
}
