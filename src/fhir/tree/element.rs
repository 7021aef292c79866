//! The FHIR view of a node: one element of a resource, its value joined with its `_` shadow.
//!
//! In FHIR JSON a primitive's id and extensions stand beside it under `_name` (R4 §2.6.2.3), and a repeating
//! primitive pairs the two arrays by position. An [`Element`] hides that: it has a value, a shadow or both,
//! and its children are elements again, repetitions listed one by one.

use super::document::{Document, Kind, NodeId};
use super::tag::Tag;
use crate::fhir::outcome::Position;

/// One element. At least one of `value` and `shadow` is present.
#[derive(Clone, Copy)]
pub struct Element<'d> {
    document: &'d Document,
    value: Option<NodeId>,
    shadow: Option<NodeId>,
}

impl<'d> Element<'d> {
    pub fn root(document: &'d Document) -> Self {
        Self::at(document, NodeId::ROOT)
    }

    pub fn at(document: &'d Document, node: NodeId) -> Self {
        Element { document, value: Some(node), shadow: None }
    }

    /// The element of a value, a shadow or both, of which one is there.
    pub(in crate::fhir) fn of(document: &'d Document, value: Option<NodeId>, shadow: Option<NodeId>) -> Self {
        Element { document, value, shadow }
    }

    pub fn document(&self) -> &'d Document {
        self.document
    }

    /// The node of the value itself: object, primitive, or none where only a shadow was sent.
    pub fn value_node(&self) -> Option<NodeId> {
        self.value
    }

    /// The node under the `_` name.
    pub fn shadow_node(&self) -> Option<NodeId> {
        self.shadow
    }

    /// The node that stands for the element: its value, else its shadow.
    pub fn node(&self) -> NodeId {
        self.value.or(self.shadow).unwrap_or(NodeId::ROOT)
    }

    /// JSON kind of the value; `None` where only a shadow was sent or the value is null.
    pub fn kind(&self) -> Option<Kind> {
        self.value.map(|node| self.document.kind(node)).filter(|kind| *kind != Kind::Null)
    }

    pub fn is_object(&self) -> bool {
        self.kind() == Some(Kind::Object)
    }

    /// Text of a primitive: a string's content, a number's digits, `true` or `false`.
    pub fn text(&self) -> Option<&'d str> {
        match self.kind()? {
            Kind::Object | Kind::Array | Kind::Null => None,
            _ => self.value.map(|node| self.document.value(node)),
        }
    }

    /// Content of a JSON string; `None` for anything else.
    pub fn string(&self) -> Option<&'d str> {
        (self.kind()? == Kind::String).then(|| self.document.value(self.node()))
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.kind()? {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    pub fn position(&self) -> Position {
        self.document.position(self.node())
    }

    /// `resourceType` of a resource: a plain string and nothing else, since everything follows from it.
    pub fn resource_type(&self) -> Option<&'d str> {
        let holder = self.value.filter(|node| self.document.kind(*node) == Kind::Object)?;
        let member = self.document.member(holder, "resourceType")?;
        (self.document.kind(member) == Kind::String).then(|| self.document.value(member))
    }

    /// Every child element with its name, in the order sent, repetitions one by one. `resourceType` is among them.
    /// A shadow without its value appears where the shadow stands.
    pub fn children(&self) -> Children<'d> {
        let document = self.document;
        let is_object = |node: &NodeId| document.kind(*node) == Kind::Object;
        let holder = self.value.filter(is_object).or_else(|| self.shadow.filter(is_object));
        let next = holder.and_then(|node| document.children(node).next());
        // Most objects hold no shadows at all, and then no member needs to look for its own.
        let paired = holder.is_some_and(|node| document.has_shadows(node));
        Children { element: *self, next, paired, run: None }
    }

    /// The first child of that name.
    #[inline]
    pub fn get(&self, name: &str) -> Option<Element<'d>> {
        self.first(Tag::of(name), name)
    }

    fn first(&self, tag: Tag, name: &str) -> Option<Element<'d>> {
        let document = self.document;
        match (self.value, self.shadow) {
            (Some(holder), None) if !document.has_shadows(holder) => {
                let member = document.tagged(holder, tag, name)?;
                let node = document.node(member);
                match node.kind {
                    Kind::Array if node.first == 0 => None,
                    Kind::Array => Some(Element::at(document, NodeId(node.first))),
                    _ => Some(Element::at(document, member)),
                }
            }
            _ => self.all(name).next(),
        }
    }

    /// Every child of that name.
    #[inline]
    pub fn all(&self, name: &str) -> Repetitions<'d> {
        self.repetitions(Tag::of(name), name)
    }

    fn repetitions(&self, tag: Tag, name: &str) -> Repetitions<'d> {
        let (value, shadow) = self.members(tag, name);
        Repetitions::new(self.document, value, shadow)
    }

    /// Text of the first child of that name.
    #[inline]
    pub fn text_of(&self, name: &str) -> Option<&'d str> {
        self.get(name).and_then(|element| element.text())
    }

    /// Value and shadow member of that name. Ids and extensions of a primitive stand inside its shadow.
    fn members(&self, tag: Tag, name: &str) -> (Option<NodeId>, Option<NodeId>) {
        let document = self.document;
        let mut found = (None, None);
        for holder in [self.value, self.shadow].into_iter().flatten() {
            if let Some(member) = document.tagged(holder, tag, name) {
                found.0 = Some(member);
            }
            if document.has_shadows(holder) && document.kind(holder) == Kind::Object {
                let is_shadow =
                    |member: &NodeId| document.key_bytes(*member).strip_prefix(b"_") == Some(name.as_bytes());
                found.1 = document.children(holder).find(is_shadow).or(found.1);
            }
        }
        found
    }
}

impl std::fmt::Debug for Element<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Element({:?})", self.node())
    }
}

/// The repetitions of one name: value and shadow arrays side by side.
#[derive(Clone)]
pub struct Repetitions<'d> {
    document: &'d Document,
    value: Walk,
    shadow: Walk,
}

/// Either one node, or the remaining items of an array.
#[derive(Clone, Copy)]
enum Walk {
    One(Option<NodeId>),
    Items(u32),
}

impl Walk {
    fn over(document: &Document, node: Option<NodeId>) -> Self {
        match node {
            Some(node) if document.kind(node) == Kind::Array => Walk::Items(document.node(node).first),
            other => Walk::One(other),
        }
    }

    fn step(&mut self, document: &Document) -> Option<NodeId> {
        match self {
            Walk::One(node) => node.take(),
            Walk::Items(0) => None,
            Walk::Items(next) => {
                let node = NodeId(*next);
                *next = document.node(node).next;
                Some(node)
            }
        }
    }
}

impl<'d> Repetitions<'d> {
    fn new(document: &'d Document, value: Option<NodeId>, shadow: Option<NodeId>) -> Self {
        Repetitions { document, value: Walk::over(document, value), shadow: Walk::over(document, shadow) }
    }
}

impl<'d> Iterator for Repetitions<'d> {
    type Item = Element<'d>;

    fn next(&mut self) -> Option<Element<'d>> {
        let value = self.value.step(self.document);
        let shadow = self.shadow.step(self.document);
        if value.is_none() && shadow.is_none() {
            return None;
        }
        let present = |node: &NodeId| self.document.kind(*node) != Kind::Null;
        let shadow = shadow.filter(present);
        // A null keeps its place when nothing else stands for the element, so that a walk can complain about it.
        let value = if shadow.is_some() { value.filter(present) } else { value };
        match (value, shadow) {
            (None, None) => self.next(),
            (value, shadow) => Some(Element { document: self.document, value, shadow }),
        }
    }
}

/// Children of an element with their names.
pub struct Children<'d> {
    element: Element<'d>,
    next: Option<NodeId>,
    paired: bool,
    run: Option<(&'d str, Repetitions<'d>)>,
}

impl<'d> Iterator for Children<'d> {
    type Item = (&'d str, Element<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        let document = self.element.document;
        loop {
            if let Some((name, run)) = &mut self.run {
                if let Some(element) = run.next() {
                    return Some((name, element));
                }
                self.run = None;
            }
            let member = self.next?;
            let sibling = document.node(member).next;
            self.next = (sibling != 0).then_some(NodeId(sibling));
            let key = document.key(member);
            if !self.paired {
                self.run = Some((key, Repetitions::new(document, Some(member), None)));
                continue;
            }
            let (name, shadowed) = match key.strip_prefix('_') {
                Some(name) => (name, true),
                None => (key, false),
            };
            let (value, shadow) = self.element.members(Tag::of(name), name);
            // The pair is listed once: where its value stands, or its shadow if there is no value.
            if shadowed && value.is_some() {
                continue;
            }
            self.run = Some((name, Repetitions::new(document, value, shadow)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::parse;
    use super::*;

    fn listed(text: &str) -> Vec<String> {
        let document = parse(text).unwrap();
        let shown = |element: Element<'_>| {
            format!("{}{}", element.text().unwrap_or("-"), if element.shadow_node().is_some() { "+" } else { "" })
        };
        Element::root(&document).children().map(|(name, element)| format!("{name}={}", shown(element))).collect()
    }

    #[test]
    fn joins_values_with_shadows() {
        assert_eq!(
            listed(r#"{"a":"1","_a":{"id":"x"},"_b":{"id":"y"},"c":["1",null,"3"],"_c":[null,{"id":"z"},null]}"#),
            ["a=1+", "b=-+", "c=1", "c=-+", "c=3"]
        );
    }

    #[test]
    fn lone_null_stays_visible() {
        assert_eq!(listed(r#"{"a":null,"b":[null]}"#), ["a=-", "b=-"]);
    }

    #[test]
    fn finds_extensions_of_a_primitive() {
        let document = parse(r#"{"a":"1","_a":{"extension":[{"url":"u"}]}}"#).unwrap();
        let element = Element::root(&document).get("a").unwrap();
        assert_eq!(element.get("extension").unwrap().text_of("url"), Some("u"));
        assert_eq!(element.children().map(|(name, _)| name).collect::<Vec<_>>(), ["extension"]);
    }
}
