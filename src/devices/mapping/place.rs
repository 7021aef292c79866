//! Where a node stands in what was sent: as a path for people, as a JSON Pointer (RFC 6901) for programs.
//!
//! Looked for only when an issue needs it: the tree has no way up.

use crate::fhir::tree::{Document, Kind, NodeId};

/// Names that may stand in an issue: those that look like a name of a format and not like somebody's data.
pub(super) fn is_shown(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// `records[2].heart_rate.unit`, as far as names can be shown.
pub(super) fn path(document: &Document, node: NodeId) -> String {
    let mut steps = Vec::new();
    way(document, document.root(), node, &mut steps);
    let mut out = String::new();
    for step in steps.iter().rev() {
        match step {
            Step::Item(index) => out.push_str(&format!("[{index}]")),
            Step::Member(name) if is_shown(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Member(_) => break,
        }
    }
    out
}

/// `/records/2/heart_rate/unit`.
pub(super) fn pointer(document: &Document, node: NodeId) -> String {
    let mut steps = Vec::new();
    way(document, document.root(), node, &mut steps);
    let mut out = String::new();
    for step in steps.iter().rev() {
        match step {
            Step::Item(index) => out.push_str(&format!("/{index}")),
            Step::Member(name) => {
                out.push('/');
                out.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
        }
    }
    out
}

enum Step<'d> {
    Item(usize),
    Member(&'d str),
}

/// The steps from a node to one below it, last first; whether it is below. Nodes are numbered in the order of the text, so
/// only the last child that is not behind the node can hold it.
fn way<'d>(document: &'d Document, from: NodeId, to: NodeId, steps: &mut Vec<Step<'d>>) -> bool {
    if from == to {
        return true;
    }
    let array = document.kind(from) == Kind::Array;
    let holder = document.children(from).enumerate().take_while(|(_, child)| *child <= to).last();
    let Some((index, child)) = holder else { return false };
    if !way(document, child, to, steps) {
        return false;
    }
    steps.push(if array { Step::Item(index) } else { Step::Member(document.key(child)) });
    true
}

/// The JSON Pointer of the list that a node stands in, with its index; of the node itself where it stands in none.
pub(super) fn list_and_index(document: &Document, node: NodeId) -> (String, usize) {
    let pointer = pointer(document, node);
    if document.key(node).is_empty()
        && let Some((list, index)) = pointer.rsplit_once('/')
        && let Ok(index) = index.parse()
    {
        return (list.to_owned(), index);
    }
    (pointer, usize::MAX)
}
