//! A value of the sent text with the path that leads to it.
//!
//! Not the FHIR view of a node (`tree::Element`): here an array is a value of its own and never stands for its
//! first item, and a property that begins with `_` is like any other.

use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Kind, NodeId};

#[derive(Clone)]
pub(super) struct Place<'d> {
    document: &'d Document,
    node: NodeId,
    path: String,
}

impl<'d> Place<'d> {
    pub fn root(document: &'d Document) -> Self {
        Place { document, node: document.root(), path: String::new() }
    }

    pub fn kind(&self) -> Kind {
        self.document.kind(self.node)
    }

    /// A member; one that is null counts as absent. Only names that we know become part of a path.
    pub fn get(&self, name: &str) -> Option<Place<'d>> {
        let node = self.document.member(self.node, name)?;
        (self.document.kind(node) != Kind::Null).then(|| Place { node, path: self.path_to(name), ..self.clone() })
    }

    pub fn items(&self) -> impl Iterator<Item = Place<'d>> {
        let path = self.path.clone();
        let document = self.document;
        document.children(self.node).enumerate().map(move |(index, node)| Place {
            document,
            node,
            path: format!("{path}[{index}]"),
        })
    }

    /// Names of an object's members, each with an issue's place for it: the path of the object, the member's position.
    pub fn members(&self) -> impl Iterator<Item = (&'d str, Place<'d>)> {
        let (document, path) = (self.document, self.path.clone());
        document.children(self.node).map(move |node| (document.key(node), Place { document, node, path: path.clone() }))
    }

    /// Content of a string that is not empty.
    pub fn string(&self) -> Option<&'d str> {
        (self.kind() == Kind::String).then(|| self.document.value(self.node)).filter(|text| !text.trim().is_empty())
    }

    /// Digits of a number as they were sent.
    pub fn number(&self) -> Option<&'d str> {
        (self.kind() == Kind::Number).then(|| self.document.value(self.node))
    }

    pub fn issue(&self, id: Id, text: impl Into<String>) -> Issue {
        Issue::new(id, self.path.clone(), text).at(self.document.position(self.node))
    }

    /// An issue about a member that is not there.
    pub fn missing(&self, name: &str) -> Issue {
        Issue { expression: self.path_to(name), ..self.issue(Id::DeviceRecord, format!("{name} is missing.")) }
    }

    fn path_to(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}
