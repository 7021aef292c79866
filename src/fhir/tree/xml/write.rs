//! The tree to XML.

use super::narrative;
use super::scan::is_character;
use super::shape::{Form, Shape, Shapes};
use super::{FHIR, MAX_BYTES, syntax};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Element, Kind, NodeId};

/// A resource of the document as FHIR XML, its elements in the definition's order. The error is one issue, ready to
/// be sent.
pub fn write<S: Shapes>(document: &Document, node: NodeId, shapes: &S) -> Result<Vec<u8>, Issue> {
    let mut writer = Writer { shapes, out: String::with_capacity(document.source().len() + 128) };
    writer.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    writer.resource(Element::at(document, node), true)?;
    if writer.out.len() > MAX_BYTES {
        return Err(Issue::new(Id::BodyTooLarge, "", "The resource is too large for XML: more than 16 MiB."));
    }
    Ok(writer.out.into_bytes())
}

struct Writer<'p, S> {
    shapes: &'p S,
    out: String,
}

fn refuse(element: Element<'_>, what: &str) -> Issue {
    syntax(what).at(element.position())
}

impl<S: Shapes> Writer<'_, S> {
    fn resource(&mut self, element: Element<'_>, outermost: bool) -> Result<(), Issue> {
        let unknown = || refuse(element, "resourceType is not a type name");
        let name = element.resource_type().ok_or_else(unknown)?;
        let inside = self.shapes.resource(name).ok_or_else(unknown)?;
        self.out.extend(["<", name]);
        if outermost {
            self.out.extend([" xmlns=\"", FHIR, "\""]);
        }
        self.content(element, name, inside, true)
    }

    /// What follows the name in the start tag, and everything up to the end tag.
    fn content(&mut self, element: Element<'_>, name: &str, inside: S::Inside, is_resource: bool) -> Result<(), Issue> {
        let mut children: Vec<(&str, Element<'_>, Shape<S::Inside>)> = Vec::new();
        let mut is_empty = true;
        for (key, child) in element.children() {
            is_empty = false;
            if is_resource && key == "resourceType" {
                continue;
            }
            let shape = self.shapes.child(inside, key);
            let Some(shape) = shape else {
                return Err(refuse(child, "a member is not one that FHIR R4 defines, and XML has no place for it"));
            };
            if shape.attribute {
                let text = child.string().ok_or_else(|| refuse(child, "an attribute is not a string"))?;
                self.attribute(key, text, child)?;
            } else {
                children.push((key, child, shape));
            }
        }
        let document = element.document();
        let members = [element.value_node(), element.shadow_node()].into_iter().flatten();
        let mut members = members.flat_map(|holder| document.children(holder));
        let is_hollow = |each: NodeId| document.kind(each) == Kind::Array && document.children(each).next().is_none();
        if is_empty || members.any(is_hollow) {
            return Err(refuse(element, "an object or array is empty"));
        }
        if children.is_empty() {
            self.out.push_str("/>");
            return Ok(());
        }
        self.out.push('>');
        children.sort_by_key(|(_, _, shape)| shape.place);
        for (key, child, shape) in children {
            self.child(key, child, shape)?;
        }
        self.out.extend(["</", name, ">"]);
        Ok(())
    }

    fn child(&mut self, key: &str, child: Element<'_>, shape: Shape<S::Inside>) -> Result<(), Issue> {
        match shape.form {
            Form::Narrative => {
                let text = child.string().ok_or_else(|| refuse(child, "a narrative is not a string"))?;
                self.out.push_str(&narrative::checked(text)?);
                Ok(())
            }
            Form::Resource => {
                self.out.extend(["<", key, ">"]);
                self.resource(child, false)?;
                self.out.extend(["</", key, ">"]);
                Ok(())
            }
            Form::Complex(inside) if child.is_object() => {
                self.out.extend(["<", key]);
                self.content(child, key, inside, false)
            }
            Form::Complex(_) => Err(refuse(child, "a value stands where an object must be")),
            Form::Text | Form::Number | Form::Boolean => self.primitive(key, child),
        }
    }

    fn primitive(&mut self, key: &str, child: Element<'_>) -> Result<(), Issue> {
        self.out.extend(["<", key]);
        match child.kind() {
            Some(Kind::Object | Kind::Array) => return Err(refuse(child, "an object stands where a value must be")),
            Some(_) => self.attribute("value", child.text().unwrap_or_default(), child)?,
            None if child.shadow_node().is_none() => return Err(refuse(child, "null stands where a value must be")),
            None => {}
        }
        if child.shadow_node().is_some() {
            return self.content(child, key, self.shapes.primitive(), false);
        }
        self.out.push_str("/>");
        Ok(())
    }

    /// Line ends are written as references, since every reader of XML would turn them into spaces (XML 1.0 §3.3.3).
    fn attribute(&mut self, name: &str, text: &str, element: Element<'_>) -> Result<(), Issue> {
        self.out.extend([" ", name, "=\""]);
        for character in text.chars() {
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '"' => self.out.push_str("&quot;"),
                '\n' => self.out.push_str("&#10;"),
                '\r' => self.out.push_str("&#13;"),
                '\t' => self.out.push_str("&#9;"),
                other if is_character(other) => self.out.push(other),
                _ => return Err(refuse(element, "a string holds a control character that XML does not allow")),
            }
        }
        self.out.push('"');
        Ok(())
    }
}
