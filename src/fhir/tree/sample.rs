//! A copy of one resource by which others are recognised: those that are built like it, and say the same in the places
//! that count.
//!
//! While somebody works on a fresh sample, it notes which texts are looked at. Which of them count is for whoever looked
//! to say; the others are forgotten, so that a sample keeps nothing of the person whose resource it was made of.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::document::{Document, Kind, Node, NodeId, Span};
use super::ruler::Ruler;
use super::tag::Tag;

/// Resources of more nodes than this are not copied.
const MOST_NODES: usize = 512;

/// Names whose texts say what kind of thing a resource is about, so that resources that differ in them look different at
/// first sight.
const TELLING: [Tag; 3] = [Tag::of("code"), Tag::of("url"), Tag::of("unit")];

/// Which nodes' texts were looked at.
#[derive(Debug)]
pub struct Reads(Box<[AtomicBool]>);

impl Reads {
    pub(super) fn note(&self, node: NodeId) {
        if let Some(seen) = self.0.get(node.0 as usize) {
            seen.store(true, Ordering::Relaxed);
        }
    }
}

/// A copy of one resource.
#[derive(Debug)]
pub struct Sample {
    document: Document,
    /// The nodes whose texts another resource must have as well.
    fixed: Box<[bool]>,
}

impl Sample {
    /// `None` if it is too long, or its nodes don't lie side by side.
    pub fn of(document: &Document, root: NodeId) -> Option<Sample> {
        let nodes = resource(document, root)?;
        let leads_out = |link: u32| link != 0 && !(1..nodes.len()).contains(&(below(link, root) as usize));
        if nodes.iter().enumerate().any(|(at, node)| leads_out(node.first) || (at > 0 && leads_out(node.next))) {
            return None;
        }
        let mut source = String::new();
        let mut add = |span: Span, unescaped: bool| {
            let text = document.text(span, unescaped);
            let start = source.len() as u32;
            source.push_str(text);
            Span { start, len: text.len() as u32 }
        };
        let copy = |(at, node): (usize, &Node)| {
            let is_object = node.kind == Kind::Object;
            let (tag, key) =
                if at == 0 { (Tag::default(), Span::default()) } else { (node.tag, add(node.key, node.key_unescaped)) };
            Node {
                tag,
                key,
                value: if is_object { node.value } else { add(node.value, node.value_unescaped) },
                offset: 0,
                next: if at == 0 { 0 } else { below(node.next, root) },
                first: below(node.first, root),
                kind: node.kind,
                key_unescaped: false,
                value_unescaped: false,
                shadows: node.shadows,
            }
        };
        let nodes: Vec<Node> = nodes.iter().enumerate().map(copy).collect();
        let reads = Reads(nodes.iter().map(|_| AtomicBool::new(false)).collect());
        let fixed = nodes.iter().map(|_| false).collect();
        let document =
            Document { source, unescaped: String::new(), nodes, ruler: Ruler::default(), reads: Some(Arc::new(reads)) };
        Some(Sample { document, fixed })
    }

    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Forgets every text but those that another resource must have as well.
    pub fn fix(self, fixed: &[NodeId]) -> Sample {
        let Document { source, mut nodes, .. } = self.document;
        let mut kept = String::new();
        let mut is_fixed = self.fixed;
        for node in fixed {
            is_fixed[node.0 as usize] = true;
        }
        for (at, node) in nodes.iter_mut().enumerate() {
            let mut keep = |span: Span| {
                let start = kept.len() as u32;
                kept.push_str(&source[span.start as usize..(span.start + span.len) as usize]);
                Span { start, ..span }
            };
            node.key = keep(node.key);
            if node.kind != Kind::Object {
                node.value = if is_fixed[at] { keep(node.value) } else { Span::default() };
            }
        }
        Sample {
            document: Document { source: kept, unescaped: String::new(), nodes, ruler: Ruler::default(), reads: None },
            fixed: is_fixed,
        }
    }

    /// Whether a resource is built like this one and says the same where that counts.
    pub fn is_like(&self, document: &Document, root: NodeId) -> bool {
        let start = root.0 as usize;
        let Some(nodes) = document.nodes.get(start..start + self.document.nodes.len()) else { return false };
        self.document.nodes.iter().zip(nodes).zip(&self.fixed).enumerate().all(|(at, ((own, other), is_fixed))| {
            own.kind == other.kind
                && own.first == below(other.first, root)
                && (at == 0 || self.is_named(own, document, other) && own.next == below(other.next, root))
                && (!*is_fixed || self.text(own.value) == bytes(document, other.value, other.value_unescaped))
        })
    }

    fn is_named(&self, own: &Node, document: &Document, other: &Node) -> bool {
        own.tag == other.tag
            && (own.tag.is_whole() || self.text(own.key) == bytes(document, other.key, other.key_unescaped))
    }

    fn text(&self, span: Span) -> &[u8] {
        bytes(&self.document, span, false)
    }
}

impl Document {
    /// The nodes whose texts were looked at since this was asked the last time.
    pub(in crate::fhir) fn take_reads(&self) -> Vec<NodeId> {
        let seen = self.reads.iter().flat_map(|reads| &reads.0).enumerate();
        seen.filter(|(_, seen)| seen.swap(false, Ordering::Relaxed)).map(|(at, _)| NodeId(at as u32)).collect()
    }
}

/// What a resource looks like at first sight: its names, what they hold, and a few of its texts. `None` if it is too long
/// for a sample.
pub fn at_first_sight(document: &Document, root: NodeId, sight: &mut impl Hasher) -> Option<()> {
    for (at, node) in resource(document, root)?.iter().enumerate() {
        let tag = if at == 0 { Tag::default() } else { node.tag };
        sight.write_u64(tag.word() ^ (node.kind as u64) << 60);
        // The items of arrays have no names: profiles, mostly.
        if node.kind == Kind::String && (TELLING.contains(&tag) || tag == Tag::default()) {
            sight.write(bytes(document, node.value, node.value_unescaped));
        }
    }
    Some(())
}

/// The nodes of a resource, if they lie side by side and aren't too many.
fn resource(document: &Document, root: NodeId) -> Option<&[Node]> {
    let mut last = root;
    while let Some(child) = document.children(last).last() {
        last = child;
    }
    let nodes = document.nodes.get(root.0 as usize..=last.0 as usize)?;
    (nodes.len() <= MOST_NODES).then_some(nodes)
}

/// A link as it is in a document that begins with the resource.
fn below(link: u32, root: NodeId) -> u32 {
    if link == 0 { 0 } else { link.wrapping_sub(root.0) }
}

fn bytes(document: &Document, span: Span, unescaped: bool) -> &[u8] {
    let from = if unescaped { &document.unescaped } else { &document.source };
    &from.as_bytes()[span.start as usize..(span.start + span.len) as usize]
}
