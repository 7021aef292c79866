//! From text to report: the readers told what the plans know, and both their findings in one list.

use super::profile::{Content, NodeIndex, Profile};
use super::rules::primitive::Primitive;
use super::{Options, Report, Validator};
use crate::fhir::fhirpath::{Expression, Value};
use crate::fhir::outcome::Issue;
use crate::fhir::patch;
use crate::fhir::tree::xml::{Form, Shape, Shapes};
use crate::fhir::tree::{Document, Element, Reading, json, xml};

/// The format of a resource's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Json,
    Xml,
}

impl Format {
    /// XML begins with a tag and JSON never does.
    pub fn of(bytes: &[u8]) -> Format {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'<') => Format::Xml,
            _ => Format::Json,
        }
    }
}

impl Validator {
    /// Reads a resource; what is wrong with the text comes beside it.
    pub fn read(&self, bytes: &[u8], format: Format) -> Reading {
        match format {
            // The strict reader is the fast one; only a text that it refuses is read twice.
            Format::Json => match json::parse(bytes) {
                Ok(document) => Reading { document: Some(document), issues: Vec::new() },
                Err(_) => json::read(bytes),
            },
            Format::Xml => xml::read(bytes, &Plans(self)),
        }
    }

    /// A resource as XML.
    pub fn to_xml(&self, document: &Document) -> Result<Vec<u8>, Issue> {
        xml::write(document, document.root(), &Plans(self))
    }

    /// The document with a FHIRPath Patch done.
    pub fn patched(&self, document: &Document, parameters: &Document) -> Result<Document, Issue> {
        let select = |document: &Document, expression: &Expression| {
            let node = |value: &Value<'_>| match value {
                Value::Node(node) => Some((node.element.value_node(), node.element.shadow_node())),
                _ => None,
            };
            self.evaluate(Element::root(document), expression, None, |found| Ok(found?.iter().map(node).collect()))
        };
        patch::fhirpath::apply(document, parameters, &Plans(self), &select)
    }

    /// Whether resources of a type have an element, by the names that lead there in JSON.
    pub fn has_element<'n>(&self, kind: &str, names: impl IntoIterator<Item = &'n str>) -> bool {
        let plans = Plans(self);
        let Some(mut inside) = plans.resource(kind) else { return false };
        let mut names = names.into_iter().peekable();
        while let Some(name) = names.next() {
            let Some(child) = plans.child(inside, name) else { return false };
            match child.form {
                Form::Complex(next) => inside = next,
                Form::Resource => return true,
                _ => return names.peek().is_none(),
            }
        }
        true
    }

    /// Reads and checks a resource: everything that is wrong with the text and with what it says.
    pub fn check_text(&self, bytes: &[u8], options: &Options<'_>) -> Report {
        let Reading { document, issues } = self.read(bytes, Format::of(bytes));
        let mut report = Report { issues, ..Report::default() };
        if let Some(document) = document {
            let found = self.check(Element::root(&document), options);
            report.issues.extend(found.issues);
            report.open = found.open;
        }
        report
    }
}

/// The compiled plans as the readers and writers of XML ask them.
struct Plans<'v>(&'v Validator);

impl<'v> Shapes for Plans<'v> {
    type Inside = (&'v Profile, NodeIndex);

    fn resource(&self, name: &str) -> Option<Self::Inside> {
        Some((self.0.resource_plan(name)?, 0))
    }

    fn primitive(&self) -> Self::Inside {
        (self.0.element_plan(), 0)
    }

    fn child(&self, (plan, at): Self::Inside, name: &str) -> Option<Shape<Self::Inside>> {
        let key = plan.nodes[at].keys.iter().find(|key| *key.text == *name)?;
        let child = &plan.nodes[plan.nodes[at].children[key.child]];
        let is_resource = at == 0 && self.0.resources.contains_key(&plan.type_name);
        let attribute = (name == "id" && !is_resource) || (name == "url" && at == 0 && plan.type_name == "Extension");
        let form = match child.types[key.type_at].content {
            Content::Primitive(Primitive::Boolean) => Form::Boolean,
            Content::Primitive(Primitive::Xhtml) => Form::Narrative,
            Content::Primitive(primitive) if primitive.takes(crate::fhir::tree::Kind::Number) => Form::Number,
            Content::Primitive(_) | Content::Elsewhere => Form::Text,
            Content::Complex(at) => Form::Complex((&self.0.types[at], 0)),
            Content::Inline(at) => Form::Complex((plan, at)),
            Content::Resource => Form::Resource,
        };
        Some(Shape { place: key.child, name: child.name.len(), repeats: child.repeats, attribute, form })
    }
}

#[cfg(test)]
mod tests;
