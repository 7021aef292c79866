//! XML Patch (RFC 5261), over the XML form of a resource.

use super::xpath::{Part, Selector, parse};
use super::{MAX_OPERATIONS, failed, invalid};
use crate::fhir::outcome::Issue;
use crate::fhir::tree::xml::{Markup, Tag};

/// Prefixes that need no declaration in a selector.
const KNOWN: [(&str, &str); 2] = [("f", "http://hl7.org/fhir"), ("h", "http://www.w3.org/1999/xhtml")];

/// The document with every operation done.
pub fn apply(document: &str, patch: &str) -> Result<String, Issue> {
    let patch = Tag::parse(patch)?;
    let mut root = Tag::parse(document)?;
    let operations: Vec<&Tag> = patch
        .children
        .iter()
        .filter_map(|child| match child {
            Markup::Element(tag) => Some(tag),
            _ => None,
        })
        .collect();
    if operations.is_empty() {
        return Err(invalid("it has no operations"));
    }
    if operations.len() > MAX_OPERATIONS {
        return Err(invalid(format_args!("it has more than {MAX_OPERATIONS} operations")));
    }
    for (at, operation) in operations.into_iter().enumerate() {
        one(&mut root, &patch, at, operation)?;
    }
    Ok(root.document())
}

fn one(root: &mut Tag, patch: &Tag, at: usize, operation: &Tag) -> Result<(), Issue> {
    let spaces = |prefix: &str| {
        let name = format!("xmlns:{prefix}");
        let declared = operation.attribute(&name).or_else(|| patch.attribute(&name));
        let known = || KNOWN.into_iter().find(|(known, _)| *known == prefix).map(|(_, space)| space);
        declared.or_else(known).map(str::to_owned)
    };
    let selector = operation.attribute("sel").and_then(|text| parse(text, &spaces));
    let selector = selector.ok_or_else(|| invalid("a selector cannot be read"))?;
    let places = selector.select(root);
    let [place] = places.as_slice() else {
        let what = if places.is_empty() { "no node" } else { "more than one node" };
        return Err(failed(at, format_args!("its selector finds {what}")));
    };
    let done = match operation.local() {
        "add" => add(root, place, &selector, operation),
        "replace" => replace(root, place, &selector, operation),
        "remove" => remove(root, place, &selector, operation.attribute("ws")),
        _ => return Err(invalid("an operation is none of add, replace and remove")),
    };
    done.map_err(|what| failed(at, what))
}

/// The element at a place.
fn element<'t>(root: &'t mut Tag, place: &[usize]) -> Result<&'t mut Tag, &'static str> {
    place.iter().try_fold(root, |tag, index| match tag.children.get_mut(*index) {
        Some(Markup::Element(tag)) => Ok(tag),
        _ => Err("its selector finds no element"),
    })
}

/// The element around a node, and the node's index in it.
fn around<'t>(root: &'t mut Tag, place: &[usize]) -> Result<(&'t mut Tag, usize), &'static str> {
    let (last, outer) = place.split_last().ok_or("the outermost element stands alone and stays")?;
    Ok((element(root, outer)?, *last))
}

fn add(root: &mut Tag, place: &[usize], selector: &Selector, operation: &Tag) -> Result<(), &'static str> {
    if selector.part != Part::Node {
        return Err("something can be added to an element only");
    }
    if let Some(kind) = operation.attribute("type") {
        let name = match kind.strip_prefix("namespace::") {
            Some(prefix) => format!("xmlns:{prefix}"),
            None => kind.strip_prefix('@').ok_or("its type is neither an attribute nor a namespace")?.to_owned(),
        };
        let tag = element(root, place)?;
        if tag.attribute(&name).is_some() {
            return Err("the attribute stands already");
        }
        tag.attributes.push((name, operation.text()));
        return Ok(());
    }
    let content = operation.children.iter().cloned();
    match operation.attribute("pos") {
        None => element(root, place)?.children.extend(content),
        Some("prepend") => drop(element(root, place)?.children.splice(0..0, content)),
        Some(pos @ ("before" | "after")) => {
            let (tag, at) = around(root, place)?;
            let at = at + usize::from(pos == "after");
            tag.children.splice(at..at, content);
        }
        Some(_) => return Err("its pos is none of prepend, before and after"),
    }
    Ok(())
}

fn replace(root: &mut Tag, place: &[usize], selector: &Selector, operation: &Tag) -> Result<(), &'static str> {
    let name = match &selector.part {
        Part::Attribute(name) => name.clone(),
        Part::Namespace(prefix) => format!("xmlns:{prefix}"),
        Part::Node => return replace_node(root, place, operation),
    };
    let tag = element(root, place)?;
    let found = tag.attributes.iter_mut().find(|(known, _)| *known == name);
    found.ok_or("its selector finds no such attribute")?.1 = operation.text();
    Ok(())
}

fn replace_node(root: &mut Tag, place: &[usize], operation: &Tag) -> Result<(), &'static str> {
    let is_blank = |child: &&Markup| matches!(child, Markup::Text(text) if text.trim().is_empty());
    let mut content = operation.children.iter().filter(|child| !is_blank(child));
    let new = match (content.next(), content.next()) {
        (Some(one), None) => Some(one.clone()),
        (None, _) => None,
        _ => return Err("a node is replaced by one node"),
    };
    let wrong = "a node is replaced by one of its own kind";
    if place.is_empty() {
        let Some(Markup::Element(tag)) = new else { return Err(wrong) };
        *root = tag;
        return Ok(());
    }
    let (tag, at) = around(root, place)?;
    let old = tag.children.get_mut(at).ok_or(wrong)?;
    match (old, new) {
        (Markup::Text(old), new @ (None | Some(Markup::Text(_)))) => {
            *old = operation.text();
            if new.is_none() && old.is_empty() {
                tag.children.remove(at);
            }
        }
        (old @ Markup::Element(_), Some(new @ Markup::Element(_)))
        | (old @ Markup::Comment(_), Some(new @ Markup::Comment(_)))
        | (old @ Markup::Instruction(_), Some(new @ Markup::Instruction(_))) => *old = new,
        _ => return Err(wrong),
    }
    Ok(())
}

fn remove(root: &mut Tag, place: &[usize], selector: &Selector, ws: Option<&str>) -> Result<(), &'static str> {
    let name = match &selector.part {
        Part::Attribute(name) => name.clone(),
        Part::Namespace(prefix) => format!("xmlns:{prefix}"),
        Part::Node => {
            let (tag, at) = around(root, place)?;
            tag.children.remove(at);
            let is_blank = |child: Option<&Markup>| matches!(child, Some(Markup::Text(text)) if text.trim().is_empty());
            if matches!(ws, Some("after" | "both")) && is_blank(tag.children.get(at)) {
                tag.children.remove(at);
            }
            if matches!(ws, Some("before" | "both")) && at > 0 && is_blank(tag.children.get(at - 1)) {
                tag.children.remove(at - 1);
            }
            return Ok(());
        }
    };
    let tag = element(root, place)?;
    let before = tag.attributes.len();
    tag.attributes.retain(|(known, _)| *known != name);
    if tag.attributes.len() == before { Err("its selector finds no such attribute") } else { Ok(()) }
}
