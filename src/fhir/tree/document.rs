//! The arena: JSON as it was sent, one node a value, no copies of what needs no unescaping.
//!
//! Nodes are stored in document order; a node's children follow it, linked by `next`. Node 0 is the root.

use std::sync::Arc;

use super::ruler::Ruler;
use super::sample::Reads;
use super::tag::{Names, Tag};
use crate::fhir::outcome::Position;

/// What a node is in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

/// Index of a node in its document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    pub const ROOT: NodeId = NodeId(0);

    /// Its place among the nodes.
    pub(in crate::fhir) fn index(self) -> usize {
        self.0 as usize
    }

    /// What a node of a copy that begins with this one is in this one's document.
    pub(in crate::fhir) fn plus(self, of_copy: NodeId) -> NodeId {
        NodeId(self.0 + of_copy.0)
    }
}

/// A piece of `source`, or of `unescaped` when `owned`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub start: u32,
    pub len: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Of the key.
    pub tag: Tag,
    pub key: Span,
    /// Of a primitive: its text. An object has none, and keeps here what its members may be called.
    pub value: Span,
    /// Byte offset of the value in the source, for positions.
    pub offset: u32,
    /// Next sibling; 0 is none, because the root is nobody's sibling.
    pub next: u32,
    /// First child; 0 is none.
    pub first: u32,
    pub kind: Kind,
    pub key_unescaped: bool,
    pub value_unescaped: bool,
    /// Of an object: whether some member's key begins with `_`.
    pub shadows: bool,
}

impl Node {
    /// Notes a member.
    #[inline]
    pub fn add_member(&mut self, tag: Tag) {
        let mut names = self.names();
        names.add(tag);
        self.value = Span { start: names.by_tag, len: names.by_initial };
        self.shadows |= tag.is_shadow();
    }

    fn names(&self) -> Names {
        Names { by_tag: self.value.start, by_initial: self.value.len }
    }
}

/// A parsed text. Immutable; cheap to share behind an `Arc`.
#[derive(Clone)]
pub struct Document {
    pub(super) source: String,
    pub(super) unescaped: String,
    pub(super) nodes: Vec<Node>,
    pub(super) ruler: Ruler,
    /// Of a sample: the texts that were looked at.
    pub(super) reads: Option<Arc<Reads>>,
}

impl Document {
    /// The text as it was sent.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn kind(&self, node: NodeId) -> Kind {
        self.node(node).kind
    }

    /// Key of a node inside its object; empty for array items and the root.
    pub fn key(&self, node: NodeId) -> &str {
        let node = self.node(node);
        self.text(node.key, node.key_unescaped)
    }

    /// The key as bytes, which needs no look at where characters begin.
    pub(in crate::fhir) fn key_bytes(&self, node: NodeId) -> &[u8] {
        let node = self.node(node);
        let from = if node.key_unescaped { &self.unescaped } else { &self.source };
        &from.as_bytes()[node.key.start as usize..(node.key.start + node.key.len) as usize]
    }

    /// Unescaped text of a string, the digits of a number, `true`, `false` or `null`; empty for objects and arrays.
    pub fn value(&self, node: NodeId) -> &str {
        if let Some(reads) = &self.reads {
            reads.note(node);
        }
        let node = self.node(node);
        if node.kind == Kind::Object {
            return "";
        }
        self.text(node.value, node.value_unescaped)
    }

    pub fn children(&self, node: NodeId) -> Nodes<'_> {
        Nodes { document: self, next: self.node(node).first }
    }

    /// What stands right behind a node in the same list or object.
    pub fn next(&self, node: NodeId) -> Option<NodeId> {
        let next = self.node(node).next;
        (next != 0).then_some(NodeId(next))
    }

    /// Whether an object has members that stand beside primitives, such as `_birthDate`.
    pub fn has_shadows(&self, node: NodeId) -> bool {
        self.node(node).shadows
    }

    /// The member of an object with that key.
    #[inline]
    pub fn member(&self, node: NodeId, key: &str) -> Option<NodeId> {
        self.tagged(node, Tag::of(key), key)
    }

    /// The member of an object with that key, whose tag is known.
    pub(in crate::fhir) fn tagged(&self, node: NodeId, tag: Tag, key: &str) -> Option<NodeId> {
        let node = self.node(node);
        if node.kind != Kind::Object || !node.names().may_have(tag) {
            return None;
        }
        let mut next = node.first;
        while next != 0 {
            let member = &self.nodes[next as usize];
            if member.tag == tag && (tag.is_whole() || self.key_bytes(NodeId(next)) == key.as_bytes()) {
                return Some(NodeId(next));
            }
            next = member.next;
        }
        None
    }

    /// Whether a member of an object may have a name that begins so.
    pub(in crate::fhir) fn may_begin(&self, node: NodeId, tag: Tag) -> bool {
        self.node(node).names().may_begin(tag)
    }

    /// The tag of a node's key.
    pub(in crate::fhir) fn tag(&self, node: NodeId) -> Tag {
        self.node(node).tag
    }

    /// Whether a node's key is that one, whose tag is known.
    pub(in crate::fhir) fn has_key(&self, node: NodeId, tag: Tag, key: &str) -> bool {
        self.node(node).tag == tag && (tag.is_whole() || self.key_bytes(node) == key.as_bytes())
    }

    /// Whether it is noted which texts are looked at.
    pub(in crate::fhir) fn is_watched(&self) -> bool {
        self.reads.is_some()
    }

    /// Line and column of a value, counted in characters from 1.
    pub fn position(&self, node: NodeId) -> Position {
        self.ruler.position(&self.source, self.node(node).offset as usize)
    }

    pub(super) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0 as usize]
    }

    pub(super) fn text(&self, span: Span, unescaped: bool) -> &str {
        let from = if unescaped { &self.unescaped } else { &self.source };
        &from[span.start as usize..(span.start + span.len) as usize]
    }
}

impl std::fmt::Debug for Document {
    /// Says nothing of the content: documents hold patient data.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Document({} nodes)", self.nodes.len())
    }
}

/// The children of a node, in the order they were sent.
pub struct Nodes<'d> {
    document: &'d Document,
    next: u32,
}

impl Iterator for Nodes<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        if self.next == 0 {
            return None;
        }
        let node = NodeId(self.next);
        self.next = self.document.node(node).next;
        Some(node)
    }
}
