//! Elements to nodes: the tree that the same resource in JSON would have given.
//!
//! A primitive's value stands under its name and its id and extensions under the underscored one; repetitions become
//! one array, with nulls where one of the two has nothing to say (R4 §2.6.2.3). Values stay in the source where no
//! reference had to be read.

use super::read::{Group, Item, ItemId, ItemKind, Text};
use super::scan::unescape;
use crate::fhir::tree::document::{Document, Kind, Node, Span};
use crate::fhir::tree::ruler::Ruler;
use crate::fhir::tree::tag::Tag;

pub(super) struct Builder<'s> {
    source: &'s str,
    items: Vec<Item<'s>>,
    unescaped: String,
    nodes: Vec<Node>,
}

/// A text with whether it stands among the unescaped ones.
#[derive(Clone, Copy, Default)]
struct Piece {
    span: Span,
    unescaped: bool,
}

/// Which half of a primitive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Value,
    Shadow,
}

impl<'s> Builder<'s> {
    pub fn new(source: &'s str, items: Vec<Item<'s>>) -> Self {
        let nodes = Vec::with_capacity(items.len() * 2);
        Builder { source, items, unescaped: String::new(), nodes }
    }

    /// The first item is the resource.
    pub fn document(mut self) -> Document {
        self.object(0, Piece::default());
        Document {
            source: self.source.to_owned(),
            unescaped: self.unescaped,
            nodes: self.nodes,
            ruler: Ruler::default(),
            reads: None,
        }
    }

    /// A node without children so far; its parent links it.
    fn push(&mut self, kind: Kind, key: Piece, value: Piece, offset: usize) -> usize {
        let text = if key.unescaped { self.unescaped.as_bytes() } else { self.source.as_bytes() };
        let tag = Tag::within(text, key.span.start as usize, key.span.len as usize);
        self.nodes.push(Node {
            tag,
            key: key.span,
            value: value.span,
            offset: offset as u32,
            next: 0,
            first: 0,
            kind,
            key_unescaped: key.unescaped,
            value_unescaped: value.unescaped,
            shadows: false,
        });
        self.nodes.len() - 1
    }

    fn link(&mut self, parent: usize, last: &mut usize, child: usize) {
        let tag = self.nodes[child].tag;
        if self.nodes[parent].kind == Kind::Object {
            self.nodes[parent].add_member(tag);
        }
        if *last == 0 {
            self.nodes[parent].first = child as u32;
        } else {
            self.nodes[*last].next = child as u32;
        }
        *last = child;
    }

    /// A slice of the source by its address in it.
    fn of_source(&self, text: &str) -> Piece {
        let start = (text.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
        Piece { span: Span { start: start as u32, len: text.len() as u32 }, unescaped: false }
    }

    fn made(&mut self, make: impl FnOnce(&mut String)) -> Piece {
        let start = self.unescaped.len();
        make(&mut self.unescaped);
        let len = self.unescaped.len() - start;
        Piece { span: Span { start: start as u32, len: len as u32 }, unescaped: true }
    }

    /// An element or resource as an object.
    fn object(&mut self, item: ItemId, key: Piece) -> usize {
        let (kind, offset) = (self.items[item].kind, self.items[item].offset);
        let node = self.push(Kind::Object, key, Piece::default(), offset);
        let mut last = 0;
        if kind == ItemKind::Resource {
            let key = self.made(|out| out.push_str("resourceType"));
            let name = self.of_source(self.items[item].name);
            let child = self.push(Kind::String, key, name, offset);
            self.link(node, &mut last, child);
        }
        for (name, text) in std::mem::take(&mut self.items[item].attributes) {
            let key = self.of_source(name);
            let child = self.text(&text, Kind::String, key);
            self.link(node, &mut last, child);
        }
        for group in std::mem::take(&mut self.items[item].groups) {
            self.group(&group, node, &mut last);
        }
        node
    }

    fn group(&mut self, group: &Group<'s>, parent: usize, last: &mut usize) {
        let first = &self.items[group.first];
        let is_primitive = matches!(first.kind, ItemKind::Text | ItemKind::Number | ItemKind::Boolean);
        let (mut values, mut shadows) = (false, false);
        let mut at = Some(group.first);
        while let Some(item) = at {
            values |= self.items[item].value.is_some();
            shadows |= is_primitive && self.has_shadow(item);
            at = self.items[item].next;
        }
        if values || !shadows {
            let key = self.of_source(group.name);
            let child = self.member(group, key, Half::Value);
            self.link(parent, last, child);
        }
        if shadows {
            let key = self.made(|out| out.extend(["_", group.name]));
            let child = self.member(group, key, Half::Shadow);
            self.link(parent, last, child);
        }
    }

    fn has_shadow(&self, item: ItemId) -> bool {
        !self.items[item].attributes.is_empty() || !self.items[item].groups.is_empty()
    }

    /// One member: an array where the definition says so, or where the element stands more than once all the same.
    fn member(&mut self, group: &Group<'s>, key: Piece, half: Half) -> usize {
        let first = &self.items[group.first];
        if !first.repeats && first.next.is_none() {
            return self.value(group.first, key, half);
        }
        let array = self.push(Kind::Array, key, Piece::default(), first.offset);
        let mut last = 0;
        let mut at = Some(group.first);
        while let Some(item) = at {
            at = self.items[item].next;
            let child = self.value(item, Piece::default(), half);
            self.link(array, &mut last, child);
        }
        array
    }

    fn value(&mut self, item: ItemId, key: Piece, half: Half) -> usize {
        let offset = self.items[item].offset;
        let kind = self.items[item].kind;
        match kind {
            ItemKind::Complex | ItemKind::Resource | ItemKind::Unknown => self.object(item, key),
            ItemKind::Holder => match self.items[item].groups.first().map(|group| group.first) {
                Some(resource) => self.object(resource, key),
                None => self.push(Kind::Object, key, Piece::default(), offset),
            },
            ItemKind::Text | ItemKind::Number | ItemKind::Boolean | ItemKind::Narrative => {
                if half == Half::Shadow && self.has_shadow(item) {
                    return self.object(item, key);
                }
                let text = self.items[item].value.take().filter(|_| half == Half::Value);
                let Some(text) = text else {
                    let null = self.made(|out| out.push_str("null"));
                    return self.push(Kind::Null, key, null, offset);
                };
                let child = self.text(&text, literal(kind, &text), key);
                self.nodes[child].offset = offset as u32;
                child
            }
        }
    }

    fn text(&mut self, text: &Text<'_>, kind: Kind, key: Piece) -> usize {
        match text {
            // A narrative is content as it stands; everything else is an attribute's value.
            Text::Source { offset, text } if text.starts_with('<') || !text.contains(['&', '\n', '\r', '\t']) => {
                let piece = self.of_source(text);
                self.push(kind, key, piece, *offset)
            }
            Text::Source { offset, text } => {
                let piece = self.made(|out| unescape(text, true, out));
                self.push(kind, key, piece, *offset)
            }
            Text::Made { offset, text } => {
                let piece = self.made(|out| out.push_str(text));
                self.push(kind, key, piece, *offset)
            }
        }
    }
}

/// The JSON kind of a value. What does not fit its type stays a string, for the validator to refuse.
fn literal(kind: ItemKind, text: &Text<'_>) -> Kind {
    let Text::Source { text, .. } = text else { return Kind::String };
    match (kind, *text) {
        (ItemKind::Boolean, "true") => Kind::True,
        (ItemKind::Boolean, "false") => Kind::False,
        (ItemKind::Number, text) if crate::fhir::tree::json::is_number(text) => Kind::Number,
        _ => Kind::String,
    }
}
