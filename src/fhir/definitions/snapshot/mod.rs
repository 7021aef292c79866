//! Snapshots: what a differential means, spelled out on its base (R4 §5.1.0.13).
//!
//! The base's snapshot becomes a tree, and the differential is laid upon it: an element that it names changes
//! the one of the base, a slice begins as a copy of what it slices, and where it goes into a data type or a
//! content reference, that one's own elements are copied into place first. Done the way the reference
//! validator does it, so that a profile means the same here and there.

use std::sync::Arc;

use super::structure::{
    Discriminator, DiscriminatorKind, ElementDefinition, Slicing, SlicingRules, Structure, TypeReference, differential,
};
use crate::fhir::tree::{Document, Element};

/// Finds the structure, with its snapshot, that a canonical or a type's name means.
pub type Lookup<'l> = dyn FnMut(&str) -> Option<Arc<Structure>> + 'l;

/// Makes the elements of a structure that is published without a snapshot.
pub fn generate(
    structure: &Structure,
    document: &Document,
    base: &Structure,
    lookup: &mut Lookup<'_>,
) -> Result<Vec<ElementDefinition>, &'static str> {
    let mut root = Node::tree(&base.elements).ok_or("its base has no elements")?;
    let name = structure.elements.first().map_or(structure.type_name.as_str(), |element| element.path.as_str());
    let mut change = Change { name: String::new(), slice: None, said: None, parts: Vec::new() };
    let mut open: Vec<(String, Option<String>)> = Vec::new();
    for said in differential(Element::root(document)) {
        let steps = steps(said, &mut open).ok_or("an element of its differential has no path")?;
        change.place(&steps, said);
    }
    let root_name = change.name.clone();
    let count = base.elements.len();
    let base = root.clone();
    let mut generator = Generator { document, lookup, base, specializes: !structure.is_profile, left: MAX_COPIES };
    if generator.specializes {
        let name = if root_name.is_empty() { name } else { &root_name };
        name.clone_into(&mut root.element.path);
        root.element.types = Vec::new();
    }
    generator.apply(&mut root, &change, 0, false)?;
    root.count();
    let mut elements = Vec::with_capacity(count * 2);
    let path = root.element.path.clone();
    root.flatten(&path.clone(), &path, &mut elements);
    Ok(elements)
}

/// A base that has a root and nothing else.
pub fn nothing(structure: &Structure) -> Structure {
    let name = structure.type_name.rsplit('/').next().unwrap_or(&structure.type_name);
    Structure { elements: vec![ElementDefinition::at(name, name)], ..structure.clone() }
}

/// An element of a snapshot with what stands below it.
#[derive(Clone)]
struct Node {
    element: ElementDefinition,
    children: Vec<Node>,
    slices: Vec<Node>,
}

/// An element of a differential with what stands below it. What only leads to something else says nothing.
struct Change<'d> {
    name: String,
    slice: Option<String>,
    said: Option<Element<'d>>,
    /// Children, and slices of the same name: those stand beside their element, in the order of the differential.
    parts: Vec<Change<'d>>,
}

impl Node {
    fn of(element: ElementDefinition) -> Node {
        Node { element, children: Vec::new(), slices: Vec::new() }
    }

    /// The tree of a snapshot; its first element is the root.
    fn tree(elements: &[ElementDefinition]) -> Option<Node> {
        let (first, rest) = elements.split_first()?;
        let mut root = Node::of(first.clone());
        for element in rest {
            let mut place = &mut root;
            let mut segments = segments(&element.id);
            segments.next();
            let wanted: Vec<(&str, Option<&str>)> = segments.collect();
            let (last, parents) = wanted.split_last()?;
            if parents.len() > MAX_DEPTH {
                return None;
            }
            for (name, slice) in parents {
                if place.find(name, *slice).is_none() {
                    break;
                }
                place = place.find(name, *slice)?;
            }
            let (name, slice) = *last;
            match slice {
                Some(slice) if place.child(name).is_some() => {
                    let sliced = place.child(name)?;
                    let holder = sliced.holder(slice);
                    holder.slices.push(Node::of(element.clone()));
                }
                _ => place.children.push(Node::of(element.clone())),
            }
        }
        Some(root)
    }

    fn name(&self) -> &str {
        self.element.name()
    }

    fn child(&mut self, name: &str) -> Option<&mut Node> {
        // From the end: what is looked for while a tree is made was mostly added last.
        self.children.iter_mut().rfind(|child| child.element.name() == name)
    }

    /// The child of that name, or its slice.
    fn find(&mut self, name: &str, slice: Option<&str>) -> Option<&mut Node> {
        let child = self.child(name)?;
        match slice {
            None => Some(child),
            Some(slice) => child.slice(slice),
        }
    }

    /// The slice of that name, also where it slices a slice: `a/b`.
    fn slice(&mut self, name: &str) -> Option<&mut Node> {
        let at = self.slices.iter().rposition(|slice| {
            let own = slice.element.slice_name.as_deref().unwrap_or_default();
            own == name || name.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
        })?;
        let slice = &mut self.slices[at];
        if slice.element.slice_name.as_deref() == Some(name) { Some(slice) } else { slice.slice(name) }
    }

    /// The node under which a slice of that name belongs: a slice that it slices again, or this one.
    fn holder(&mut self, name: &str) -> &mut Node {
        let at = self.slices.iter().rposition(|slice| {
            let own = slice.element.slice_name.as_deref().unwrap_or_default();
            name.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
        });
        match at {
            Some(at) => self.slices[at].holder(name),
            None => self,
        }
    }

    /// How many elements it is made of.
    fn size(&self) -> usize {
        1 + self.children.iter().chain(&self.slices).map(Node::size).sum::<usize>()
    }

    /// What repeats is needed as often as its slices are together.
    fn count(&mut self) {
        let needed: u32 = self.slices.iter().map(|slice| slice.element.min).sum();
        if self.element.base_repeats {
            self.element.min = self.element.min.max(needed);
        }
        self.children.iter_mut().chain(&mut self.slices).for_each(Node::count);
    }

    /// Writes the tree as a snapshot, each element under its place's path and id.
    fn flatten(self, path: &str, id: &str, elements: &mut Vec<ElementDefinition>) {
        let mut element = self.element;
        path.clone_into(&mut element.path);
        id.clone_into(&mut element.id);
        elements.push(element);
        for child in self.children {
            let name = child.name().to_owned();
            child.flatten(&format!("{path}.{name}"), &format!("{id}.{name}"), elements);
        }
        // A slice's id names the element that it slices, not the slice that it slices again.
        let (parent, last) = id.rsplit_once('.').map_or(("", id), |(parent, last)| (parent, last));
        let name = last.split(':').next().unwrap_or(last);
        let stem = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        for slice in self.slices {
            let id = format!("{stem}:{}", slice.element.slice_name.as_deref().unwrap_or_default());
            slice.flatten(path, &id, elements);
        }
    }
}

/// The names and slices of an id: `A.b:c.d`.
fn segments(id: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    id.split('.').map(|segment| match segment.split_once(':') {
        Some((name, slice)) => (name, Some(slice)),
        None => (segment, None),
    })
}

/// Where an element of a differential stands: by its id, or by its path and what stands open before it.
fn steps(said: Element<'_>, open: &mut Vec<(String, Option<String>)>) -> Option<Vec<(String, Option<String>)>> {
    let path: Vec<&str> = said.text_of("path")?.split('.').collect();
    let slice = said.text_of("sliceName").map(str::to_owned);
    let by_id = said.text_of("id").and_then(|id| {
        let listed: Vec<(String, Option<String>)> =
            segments(id).map(|(name, slice)| (name.to_owned(), slice.map(str::to_owned))).collect();
        let fits = |((name, _), part): (&(String, Option<String>), &&str)| {
            name == part || name.strip_suffix("[x]").is_some_and(|stem| part.starts_with(stem))
        };
        let names_slice = listed.last().is_some_and(|(_, own)| *own == slice);
        (listed.len() == path.len() && names_slice && listed.iter().zip(&path).all(fits)).then_some(listed)
    });
    let found = by_id.unwrap_or_else(|| {
        let shared = open.iter().zip(&path).take_while(|((name, _), part)| name == *part).count();
        let depth = shared.min(path.len() - 1);
        let mut found: Vec<(String, Option<String>)> = open[..depth].to_vec();
        found.extend(path[depth..].iter().map(|part| ((*part).to_owned(), None)));
        if let Some(last) = found.last_mut() {
            last.1 = slice;
        }
        found
    });
    open.clone_from(&found);
    Some(found)
}

impl<'d> Change<'d> {
    fn place(&mut self, steps: &[(String, Option<String>)], said: Element<'d>) {
        let Some(((name, _), rest)) = steps.split_first() else { return };
        if self.name.is_empty() {
            self.name.clone_from(name);
        }
        let mut place = self;
        for (name, slice) in rest {
            let known = place.parts.iter().position(|part| part.name == *name && part.slice == *slice);
            let at = known.unwrap_or_else(|| {
                place.parts.push(Change { name: name.clone(), slice: slice.clone(), said: None, parts: Vec::new() });
                place.parts.len() - 1
            });
            place = &mut place.parts[at];
        }
        place.said = Some(said);
    }
}

struct Generator<'g, 'l> {
    document: &'g Document,
    lookup: &'g mut Lookup<'l>,
    /// The base as it was, for content references and for what is sliced.
    base: Node,
    specializes: bool,
    /// How many elements may still be copied.
    left: usize,
}

/// Differentials go no deeper; a definition that refers to itself does.
const MAX_DEPTH: usize = 48;

/// The largest published snapshot has a tenth of that many elements; profiles on profiles can multiply without end.
const MAX_COPIES: usize = 50_000;

impl Generator<'_, '_> {
    /// Lays a change upon an element and what stands below it. `in_slice` says that the element stands in a slice
    /// whose elements are copies of the base's.
    fn apply(
        &mut self,
        node: &mut Node,
        change: &Change<'_>,
        depth: usize,
        in_slice: bool,
    ) -> Result<(), &'static str> {
        if depth > MAX_DEPTH {
            return Err("its differential is nested too deeply");
        }
        if let Some(said) = change.said {
            self.say(node, said, depth == 0);
        }
        if change.parts.is_empty() {
            return Ok(());
        }
        let mut in_slice = in_slice;
        if node.children.is_empty() || self.lacks(node, change) {
            let wanted: Vec<&str> = change.parts.iter().map(|part| part.name.as_str()).collect();
            self.unfold(node, &wanted);
            self.spend(node.size())?;
            in_slice = false;
        }
        let mut originals: Vec<(String, ElementDefinition)> = Vec::new();
        for part in &change.parts {
            let (name, slice) = meant(node, change, part, in_slice);
            let Some(at) = node.children.iter().position(|child| child.name() == name) else {
                if self.specializes {
                    let added = self.added(part, depth)?;
                    node.children.push(added);
                    continue;
                }
                return Err("its differential names an element that its base does not have");
            };
            let child = &mut node.children[at];
            // A slice begins as what the base says of the element, not as what the differential says of all slices.
            if !originals.iter().any(|(known, _)| *known == name) {
                originals.push((name.clone(), child.element.clone()));
            }
            let Some(slice) = slice else {
                if let Some(chosen) = chosen_type(&child.element, &part.name) {
                    child.element.types = vec![chosen];
                }
                self.apply(child, part, depth + 1, in_slice)?;
                continue;
            };
            let original = originals.iter().find(|(known, _)| *known == name).map(|(_, original)| original);
            self.slice(child, original, &slice, part, depth + 1)?;
        }
        for child in node.children.iter_mut().filter(|child| child.name().ends_with("[x]")) {
            let of_choice = |part: &&Change<'_>| meant_choice(child, part);
            if change.parts.iter().any(|part| of_choice(&part)) {
                let is_short = !change.parts.iter().any(|part| part.name == child.name() && part.slice.is_none());
                settle(child, is_short);
            }
        }
        Ok(())
    }

    /// Whether a part of a change is named that is not among the children that are there.
    fn lacks(&self, node: &Node, change: &Change<'_>) -> bool {
        !self.specializes
            && change.parts.iter().any(|part| {
                let (name, _) = meant(node, change, part, false);
                !node.children.iter().any(|child| child.name() == name)
            })
    }

    /// Lays a change upon a slice, which is made where the base has none of that name.
    fn slice(
        &mut self,
        child: &mut Node,
        original: Option<&ElementDefinition>,
        name: &str,
        change: &Change<'_>,
        depth: usize,
    ) -> Result<(), &'static str> {
        if child.slice(name).is_none() {
            let holder = child.holder(name);
            self.spend(holder.size())?;
            let is_again = holder.element.slice_name.is_some();
            let mut made = holder.clone();
            match original {
                Some(original) if is_again => made.element.must_support = original.must_support,
                Some(original) => made.element = original.clone(),
                None => {}
            }
            made.slices.clear();
            made.element.slicing = None;
            made.element.min = 0;
            made.element.slice_name = Some(name.to_owned());
            if let Some(chosen) = chosen_type(&made.element, name) {
                made.element.types = vec![chosen];
            }
            if holder.element.slicing.is_none() {
                holder.element.slicing = Some(implied(&holder.element));
            }
            holder.slices.push(made);
        }
        match child.slice(name) {
            Some(slice) => {
                self.apply(slice, change, depth, true)?;
                slice.element.slice_name = Some(name.to_owned());
                Ok(())
            }
            None => Err("a slice of its differential has no place"),
        }
    }

    fn spend(&mut self, copies: usize) -> Result<(), &'static str> {
        self.left = self.left.checked_sub(copies).ok_or("its snapshot would be larger than any that is published")?;
        Ok(())
    }

    /// Takes over what the differential says of one element.
    fn say(&mut self, node: &mut Node, said: Element<'_>, is_root: bool) {
        let types: Vec<TypeReference> = said.all("type").filter_map(TypeReference::read).collect();
        if let ([only], false) = (types.as_slice(), is_root)
            && let [profile] = only.profiles.as_slice()
            && only.code == "Extension"
            && let Some(template) = (self.lookup)(profile)
        {
            take_template(&mut node.element, &template);
            // What was unfolded of the type alone gives way to what its profile says.
            node.children.clear();
        }
        let slicing = node.element.slicing.take();
        node.element.change(self.document, said);
        node.element.slicing = match (slicing, node.element.slicing.take()) {
            (Some(before), Some(now)) => Some(merged(before, now)),
            (before, now) => before.or(now),
        };
        // A binding needs a type that has codes.
        if node.element.binding.is_some()
            && !node.element.types.is_empty()
            && !node.element.types.iter().any(|each| is_bindable(&each.code))
        {
            node.element.binding = None;
        }
    }

    /// Copies the elements of a node's type below it.
    fn unfold(&mut self, node: &mut Node, wanted: &[&str]) {
        if let Some(reference) = node.element.content_reference.take() {
            let mut place = Some(&mut self.base);
            for (name, slice) in segments(&reference).skip(1) {
                place = place.and_then(|node| node.find(name, slice));
            }
            if let Some(target) = place {
                node.children.clone_from(&target.children);
                node.element.types.clone_from(&target.element.types);
            }
            return;
        }
        let source = match node.element.types.as_slice() {
            [only] => match only.profiles.as_slice() {
                [profile] => (self.lookup)(profile).or_else(|| (self.lookup)(&only.code)),
                _ => (self.lookup)(&only.code),
            },
            [] => None,
            // What any type has, or else the first of several types that has what is named.
            several => {
                let mut names = std::iter::once("Element").chain(several.iter().map(|each| each.code.as_str()));
                names.find_map(|name| {
                    let structure = (self.lookup)(name)?;
                    let has = |name: &&str| structure.elements.iter().any(|element| element.name() == *name);
                    wanted.iter().all(has).then_some(structure)
                })
            }
        };
        if let Some(unfolded) = source.and_then(|source| Node::tree(&source.elements)) {
            let known = std::mem::take(&mut node.children);
            node.children = unfolded.children;
            for child in known {
                match node.children.iter().position(|each| each.name() == child.name()) {
                    Some(at) => node.children[at] = child,
                    None => node.children.push(child),
                }
            }
        }
    }

    /// An element that a new type adds to its base.
    fn added(&mut self, change: &Change<'_>, depth: usize) -> Result<Node, &'static str> {
        let mut node = Node::of(ElementDefinition::at(&change.name, &change.name));
        if let Some(said) = change.said {
            node.element.change(self.document, said);
        }
        node.element.base_repeats = node.element.max.is_none_or(|max| max > 1);
        if !change.parts.is_empty() {
            let silent = Change { name: change.name.clone(), slice: None, said: None, parts: Vec::new() };
            self.apply(&mut node, &silent, depth + 1, false)?;
            self.unfold(&mut node, &[]);
            self.spend(node.size())?;
            for part in &change.parts {
                if let Some(at) = node.children.iter().position(|child| child.name() == part.name) {
                    self.apply(&mut node.children[at], part, depth + 1, false)?;
                } else {
                    let added = self.added(part, depth + 1)?;
                    node.children.push(added);
                }
            }
        }
        Ok(node)
    }
}

/// The child that a part means, and its slice: `valueQuantity` is the slice of that name of `value[x]`. Where there is
/// no other type left, and in a slice that has no other part for the choice, it is the choice itself.
fn meant(node: &Node, change: &Change<'_>, part: &Change<'_>, in_slice: bool) -> (String, Option<String>) {
    let known = node.children.iter().any(|child| child.name() == part.name);
    let choice = node.children.iter().find(|child| !known && meant_choice(child, part));
    let Some(choice) = choice else { return (part.name.clone(), part.slice.clone()) };
    let alone = in_slice && change.parts.iter().filter(|part| meant_choice(choice, part)).count() == 1;
    let is_sliced = choice.element.slicing.is_some() || !choice.slices.is_empty();
    let chosen = matches!(choice.element.types.as_slice(), [_]) && !is_sliced;
    let slice = match &part.slice {
        Some(slice) => Some(slice.clone()),
        None if alone || chosen => None,
        None => Some(part.name.clone()),
    };
    (choice.name().to_owned(), slice)
}

/// Whether a part is about a choice: by its name, or by one of its types as in `valueQuantity`.
fn meant_choice(choice: &Node, part: &Change<'_>) -> bool {
    if choice.name() == part.name {
        return true;
    }
    let Some(stem) = choice.name().strip_suffix("[x]") else { return false };
    part.name.strip_prefix(stem).is_some_and(|suffix| {
        choice.element.types.iter().any(|each| capitalised(&each.code) == suffix)
            || choice.slices.iter().any(|slice| slice.element.slice_name.as_deref() == Some(&part.name))
    })
}

/// An extension is what its definition says of itself, in the place where it stands.
fn take_template(element: &mut ElementDefinition, template: &Structure) {
    let Some(root) = template.elements.first() else { return };
    let mut taken = root.clone();
    taken.id.clone_from(&element.id);
    taken.path.clone_from(&element.path);
    taken.slice_name.clone_from(&element.slice_name);
    taken.slicing.clone_from(&element.slicing);
    taken.base_repeats = element.base_repeats;
    taken.types.clone_from(&element.types);
    taken.is_summary |= element.is_summary;
    taken.must_support |= element.must_support;
    for constraint in &element.constraints {
        if !taken.constraints.iter().any(|known| known.key == constraint.key) {
            taken.constraints.push(constraint.clone());
        }
    }
    *element = taken;
}

/// The type that a slice's name chooses: `valueQuantity` of `value[x]`.
fn chosen_type(element: &ElementDefinition, slice: &str) -> Option<TypeReference> {
    let suffix = slice.strip_prefix(element.name().strip_suffix("[x]")?)?;
    element.types.iter().find(|each| capitalised(&each.code) == suffix).cloned()
}

/// What slices by type say of the choice itself. Where each type that is left has its slice, no others can be. Where
/// only slices are named and not the choice, one that is needed leaves no other type, and the value of an extension has
/// no types but those of its slices.
fn settle(choice: &mut Node, is_short: bool) {
    let by_type = |slicing: &Slicing| matches!(slicing.discriminators.as_slice(), [only] if only.kind == DiscriminatorKind::Type && only.path == "$this");
    let Some(slicing) = choice.element.slicing.as_mut().filter(|slicing| by_type(slicing)) else { return };
    let code_of = |slice: &Node| match slice.element.types.as_slice() {
        [only] => Some(only.code.clone()),
        _ => None,
    };
    if is_short
        && let Some(needed) = choice.slices.iter().find(|slice| slice.element.min > 0)
        && let Some(code) = code_of(needed)
    {
        choice.element.types.retain(|each| each.code == code);
        choice.element.min = choice.element.min.max(needed.element.min);
    }
    let sliced: Vec<String> = choice.slices.iter().filter_map(code_of).collect();
    slicing.rules = SlicingRules::Closed;
    if choice.element.types.iter().any(|each| !sliced.contains(&each.code)) {
        if is_short && choice.element.path.contains("xtension.") {
            choice.element.types.retain(|each| sliced.contains(&each.code));
        } else {
            slicing.rules = SlicingRules::Open;
        }
    }
}

/// The slicing that need not be said: extensions by their url, choices by their type.
fn implied(element: &ElementDefinition) -> Slicing {
    let discriminators = match element.name() {
        "extension" | "modifierExtension" => vec![(DiscriminatorKind::Value, "url")],
        name if name.ends_with("[x]") => vec![(DiscriminatorKind::Type, "$this")],
        _ => Vec::new(),
    };
    let made = discriminators.into_iter().map(|(kind, path)| Discriminator { kind, path: path.to_owned() });
    Slicing { discriminators: made.collect(), rules: SlicingRules::Open, ordered: false }
}

fn merged(before: Slicing, mut now: Slicing) -> Slicing {
    let mut discriminators = before.discriminators;
    for each in now.discriminators {
        if !discriminators.contains(&each) {
            discriminators.push(each);
        }
    }
    now.discriminators = discriminators;
    now
}

/// The types whose values a binding can be about.
fn is_bindable(code: &str) -> bool {
    matches!(code, "CodeableConcept" | "Coding" | "CodeableReference" | "Quantity" | "code" | "string" | "uri")
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
