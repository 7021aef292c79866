//! Identity of content: the same resource has the same hash however its JSON is laid out.
//!
//! Spaces, escapes and the order of properties don't count; the order of array items and every digit do. The
//! server's own `id` and `meta.versionId`/`lastUpdated` are left out at the root, so that a resource that was
//! read and sent back unchanged is the same.

use super::document::{Document, Kind, NodeId};

/// 128 bits of BLAKE3 over the canonical form.
pub fn content(document: &Document, node: NodeId) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hash(document, node, Level::Root, &mut hasher);
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Meta,
    Deeper,
}

fn hash(document: &Document, node: NodeId, level: Level, hasher: &mut blake3::Hasher) {
    match document.kind(node) {
        Kind::Object => {
            hasher.update(b"{");
            let mut members: Vec<NodeId> =
                document.children(node).filter(|member| !is_owned(document, *member, level)).collect();
            members.sort_by(|one, other| document.key(*one).cmp(document.key(*other)));
            for member in members {
                let key = document.key(member);
                text(b'k', key, hasher);
                hash(
                    document,
                    member,
                    if level == Level::Root && key == "meta" { Level::Meta } else { Level::Deeper },
                    hasher,
                );
            }
            hasher.update(b"}");
        }
        Kind::Array => {
            hasher.update(b"[");
            for item in document.children(node) {
                hash(document, item, Level::Deeper, hasher);
            }
            hasher.update(b"]");
        }
        Kind::String => text(b's', document.value(node), hasher),
        _ => text(b'v', document.value(node), hasher),
    }
}

/// A `meta` of which nothing is the sender's is none: the resource was sent without one and read with one.
fn is_owned(document: &Document, member: NodeId, level: Level) -> bool {
    let key = document.key(member);
    let is_meta = level == Level::Root && key == "meta" && document.kind(member) == Kind::Object;
    owned(key, level) || is_meta && document.children(member).all(|inner| owned(document.key(inner), Level::Meta))
}

fn owned(key: &str, level: Level) -> bool {
    match level {
        Level::Root => key == "id",
        Level::Meta => matches!(key, "versionId" | "lastUpdated"),
        Level::Deeper => false,
    }
}

/// Length-prefixed, so that no two different sequences of texts look alike.
fn text(tag: u8, text: &str, hasher: &mut blake3::Hasher) {
    let mut head = [tag, 0, 0, 0, 0];
    head[1..].copy_from_slice(&(text.len() as u32).to_le_bytes());
    hasher.update(&head);
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::json::parse;
    use super::*;

    fn of(text: &str) -> [u8; 16] {
        let document = parse(text).unwrap();
        content(&document, document.root())
    }

    #[test]
    fn layout_does_not_count_content_does() {
        assert_eq!(of(r#"{"a":1,"b":"é"}"#), of("{ \"b\":\"\\u00e9\", \"a\":1 }"));
        assert_eq!(of(r#"{"id":"1","meta":{"versionId":"1"},"a":1}"#), of(r#"{"meta":{},"a":1}"#));
        assert_eq!(of(r#"{"meta":{"versionId":"1","lastUpdated":"x"},"a":1}"#), of(r#"{"a":1}"#));
        assert_ne!(of(r#"{"meta":{"versionId":"1","source":"x"},"a":1}"#), of(r#"{"a":1}"#));
        assert_ne!(of(r#"{"a":1.0}"#), of(r#"{"a":1.00}"#));
        assert_ne!(of(r#"{"a":"1"}"#), of(r#"{"a":1}"#));
        assert_ne!(of(r#"{"a":["b","c"]}"#), of(r#"{"a":["c","b"]}"#));
        assert_ne!(of(r#"{"a":{"id":"1"}}"#), of(r#"{"a":{}}"#));
    }
}
