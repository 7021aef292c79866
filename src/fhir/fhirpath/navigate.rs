//! From a node to its children, with their FHIR types.
//!
//! A step finds the JSON key first, which is the element's name or, for a choice, the name with a type suffix, and
//! asks the model once for all repetitions. Without a model the suffix names the type.

use std::borrow::Cow;

use super::context::Failure;
use super::evaluate::Machine;
use super::host::choice_type;
use super::plan::Name;
use super::value::{Collection, Node, Value};
use crate::fhir::tree::{Element, Kind};

/// Adds the children of that name.
pub(super) fn named<'d>(
    machine: &Machine<'d>,
    value: &Value<'d>,
    name: &Name,
    into: &mut Collection<'d>,
) -> Result<(), Failure> {
    let node = match value {
        Value::Node(node) => node,
        Value::Type { namespace, name: type_name } => {
            match &*name.text {
                "namespace" => into.push(Value::text(*namespace)),
                "name" => into.push(Value::Text(type_name.clone())),
                _ => {}
            }
            return Ok(());
        }
        Value::Quantity(quantity) => {
            match &*name.text {
                "value" => into.push(Value::Decimal(quantity.value)),
                "unit" | "code" => into.push(Value::Text(quantity.unit.clone())),
                _ => {}
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    if is_own_value(node, name) {
        into.extend(node.system().into());
        return Ok(());
    }
    let Some((key, type_name)) = find(machine, node, name)? else { return undefined(machine, node, name) };
    for element in node.element.all(key) {
        machine.spend(1)?;
        if is_present(element) {
            into.push(Value::Node(Node { element, type_name: resource_type(element, type_name) }));
        }
    }
    Ok(())
}

/// The first child of that name.
pub(super) fn first<'d>(machine: &Machine<'d>, value: &Value<'d>, name: &Name) -> Result<Option<Value<'d>>, Failure> {
    let Value::Node(node) = value else {
        let mut found = Collection::Empty;
        named(machine, value, name, &mut found)?;
        return Ok(found.into_iter().next());
    };
    if is_own_value(node, name) {
        return Ok(node.system());
    }
    let Some((key, type_name)) = find(machine, node, name)? else {
        return undefined(machine, node, name).map(|()| None);
    };
    for element in node.element.all(key) {
        machine.spend(1)?;
        if is_present(element) {
            return Ok(Some(Value::Node(Node { element, type_name: resource_type(element, type_name) })));
        }
    }
    Ok(None)
}

/// Whether there are children of that name.
pub(super) fn any<'d>(machine: &Machine<'d>, value: &Value<'d>, name: &Name) -> Result<bool, Failure> {
    first(machine, value, name).map(|found| found.is_some())
}

/// A primitive is asked for its `value`.
fn is_own_value(node: &Node<'_>, name: &Name) -> bool {
    &*name.text == "value" && !node.element.is_object() && node.element.kind().is_some()
}

/// Adds all children.
pub(super) fn children<'d>(machine: &Machine<'d>, node: &Node<'d>, into: &mut Vec<Value<'d>>) -> Result<(), Failure> {
    for (key, element) in node.element.children() {
        machine.spend(1)?;
        if key == "resourceType" || !is_present(element) {
            continue;
        }
        let child = node.type_name.and_then(|parent| machine.context.host.child(parent, key));
        let type_name = child.map(|child| child.type_name).or_else(|| suffix_type(key)).or_else(|| well_known(key));
        into.push(Value::Node(Node { element, type_name: resource_type(element, type_name) }));
    }
    Ok(())
}

/// A null keeps its place in an array and is no element.
fn is_present(element: Element<'_>) -> bool {
    element.kind().is_some() || element.shadow_node().is_some()
}

/// The JSON key under which the children of that name stand, and their type.
fn find<'d>(
    machine: &Machine<'d>,
    node: &Node<'d>,
    name: &Name,
) -> Result<Option<(&'d str, Option<&'d str>)>, Failure> {
    let document = node.element.document();
    let model = |key| node.type_name.and_then(|parent| machine.context.host.child(parent, key));
    for holder in [node.element.value_node(), node.element.shadow_node()].into_iter().flatten() {
        if document.kind(holder) != Kind::Object {
            continue;
        }
        let has_shadows = document.has_shadows(holder);
        if !has_shadows && !document.may_begin(holder, name.tag) {
            continue;
        }
        for member in document.children(holder) {
            // Most members are others, and a word tells that.
            if !has_shadows && !name.tag.may_begin(document.tag(member)) {
                continue;
            }
            let key = document.key(member);
            let key = key.strip_prefix('_').unwrap_or(key);
            let Some(suffix) = key.strip_prefix(&*name.text) else { continue };
            if suffix.is_empty() {
                return match model(key) {
                    // A choice is selected by its element name. `valueQuantity` is a mistake, which published
                    // invariants make all the same, and which the reference validator then understands.
                    Some(child) if *child.name != *name.text && !machine.context.loose_choices => {
                        Err(Failure::Undefined(name.text.to_string()))
                    }
                    Some(child) => Ok(Some((key, Some(child.type_name)))),
                    None if key == "resourceType" => Ok(None),
                    None => Ok(Some((key, well_known(key)))),
                };
            }
            if !suffix.starts_with(|first: char| first.is_ascii_uppercase()) {
                continue;
            }
            let type_name = match model(key) {
                Some(child) => (*child.name == *name.text).then_some(child.type_name),
                None => choice_type(suffix),
            };
            if type_name.is_some() {
                return Ok(Some((key, type_name)));
            }
        }
    }
    Ok(None)
}

/// Children that every type has with the same meaning.
fn well_known(key: &str) -> Option<&'static str> {
    match key {
        "extension" | "modifierExtension" => Some("Extension"),
        "meta" => Some("Meta"),
        "coding" => Some("Coding"),
        _ => None,
    }
}

/// The type that a choice suffix names, where the key is a choice; `birthDate` is none, so only `value…` counts.
fn suffix_type(key: &str) -> Option<&'static str> {
    key.strip_prefix("value").and_then(choice_type)
}

/// A resource is of the type that it says, whatever the model calls its place.
fn resource_type<'d>(element: Element<'d>, type_name: Option<&'d str>) -> Option<&'d str> {
    match type_name {
        None | Some("Resource" | "DomainResource") if element.is_object() => element.resource_type().or(type_name),
        known => known,
    }
}

fn undefined(machine: &Machine<'_>, node: &Node<'_>, name: &Name) -> Result<(), Failure> {
    if !machine.context.strict {
        return Ok(());
    }
    match node
        .type_name
        .and_then(|parent| machine.context.host.defines(parent, &name.text).map(|defined| (parent, defined)))
    {
        Some((parent, false)) => Err(Failure::Undefined(format!("{parent}.{}", name.text))),
        _ => Ok(()),
    }
}

/// `type()`: the FHIR type of a node, the System type of a value.
pub(super) fn type_of<'d>(value: &Value<'d>) -> Option<Value<'d>> {
    Some(match value {
        Value::Node(node) => Value::Type { namespace: "FHIR", name: Cow::Borrowed(node.fhir_type()?) },
        value => Value::Type { namespace: "System", name: Cow::Borrowed(value.system_type()?) },
    })
}
