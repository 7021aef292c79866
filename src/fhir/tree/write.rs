//! Tree to JSON: compact, in the order sent, decimals digit by digit.
//!
//! A stored resource is the accepted text without its spaces plus what the server owns. [`resource`] writes it
//! in one pass: id, `meta.versionId` and `meta.lastUpdated` are the server's and replace whatever was sent.

use std::borrow::Cow;

use super::document::{Document, Kind, NodeId};

/// What the server owns of a resource.
#[derive(Clone, Copy, Debug)]
pub struct Owned<'a> {
    pub id: &'a str,
    pub version: u32,
    /// FHIR instant.
    pub last_updated: &'a str,
    /// A system of tags that are the server's; those that were sent give way. None where it has no say.
    pub tags: Option<Tags<'a>>,
}

/// What the server says by a tag.
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a> {
    pub system: &'a str,
    /// None for no tag of the system.
    pub code: Option<&'a str>,
}

/// Says what a reference is to become; `None` keeps it.
pub type Rewrite<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A node as compact JSON.
pub fn compact(document: &Document, node: NodeId) -> String {
    let mut out = String::with_capacity(document.source().len().min(4096));
    value(document, node, None, &mut out);
    out
}

/// A resource as it is stored: the server's id and meta, the sender's everything else.
pub fn resource(document: &Document, node: NodeId, owned: &Owned<'_>, rewrite: Option<Rewrite<'_>>) -> String {
    let mut out = String::with_capacity(document.source().len().min(4096) + 128);
    out.push('{');
    if let Some(kind) = document.member(node, "resourceType") {
        out.push_str("\"resourceType\":");
        value(document, kind, None, &mut out);
        out.push(',');
    }
    out.push_str("\"id\":");
    string(owned.id, &mut out);
    out.push_str(",\"meta\":");
    meta(document, document.member(node, "meta"), owned, &mut out);
    for member in document.children(node) {
        if !matches!(document.key(member), "resourceType" | "id" | "meta") {
            out.push(',');
            string(document.key(member), &mut out);
            out.push(':');
            value(document, member, rewrite, &mut out);
        }
    }
    out.push('}');
    out
}

fn meta(document: &Document, sent: Option<NodeId>, owned: &Owned<'_>, out: &mut String) {
    out.push_str("{\"versionId\":\"");
    out.push_str(&owned.version.to_string());
    out.push_str("\",\"lastUpdated\":\"");
    out.push_str(owned.last_updated);
    out.push('"');
    for member in sent.into_iter().flat_map(|node| document.children(node)) {
        let key = document.key(member);
        let is_owned = matches!(key, "versionId" | "lastUpdated" | "_versionId" | "_lastUpdated");
        if !(is_owned || key == "tag" && owned.tags.is_some()) {
            out.push(',');
            string(key, out);
            out.push(':');
            value(document, member, None, out);
        }
    }
    if let Some(own) = &owned.tags {
        tags(document, sent.and_then(|meta| document.member(meta, "tag")), own, out);
    }
    out.push('}');
}

fn tags(document: &Document, sent: Option<NodeId>, own: &Tags<'_>, out: &mut String) {
    let is_own =
        |tag: &NodeId| document.member(*tag, "system").is_some_and(|system| document.value(system) == own.system);
    let mut before = ",\"tag\":[";
    for tag in sent.into_iter().flat_map(|tags| document.children(tags)).filter(|tag| !is_own(tag)) {
        out.push_str(before);
        value(document, tag, None, out);
        before = ",";
    }
    if let Some(code) = own.code {
        out.extend([before, "{\"system\":"]);
        string(own.system, out);
        out.push_str(",\"code\":");
        string(code, out);
        out.push('}');
        before = ",";
    }
    if before == "," {
        out.push(']');
    }
}

fn value(document: &Document, node: NodeId, rewrite: Option<Rewrite<'_>>, out: &mut String) {
    match document.kind(node) {
        Kind::Object => {
            out.push('{');
            for (index, member) in document.children(node).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let key = document.key(member);
                string(key, out);
                out.push(':');
                match rewritten(document, member, key, rewrite) {
                    Some(text) => string(&text, out),
                    None => value(document, member, rewrite, out),
                }
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (index, item) in document.children(node).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                value(document, item, rewrite, out);
            }
            out.push(']');
        }
        Kind::String => string(document.value(node), out),
        Kind::Number | Kind::True | Kind::False | Kind::Null => out.push_str(document.value(node)),
    }
}

/// Only `Reference.reference` is rewritten; the same text elsewhere is content.
fn rewritten<'d>(
    document: &'d Document,
    member: NodeId,
    key: &str,
    rewrite: Option<Rewrite<'_>>,
) -> Option<Cow<'d, str>> {
    let rewrite = rewrite?;
    (key == "reference" && document.kind(member) == Kind::String)
        .then(|| rewrite(document.value(member)))
        .flatten()
        .map(Cow::Owned)
}

/// Whether nothing has to be escaped, as in nearly every text. Looks at all of a piece before it decides, which is a few
/// instructions for many bytes.
fn is_plain(text: &[u8]) -> bool {
    let escaped = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let (pieces, rest) = text.as_chunks::<16>();
    let any = |piece: &[u8; 16]| piece.iter().fold(false, |any, byte| any | escaped(byte));
    !pieces.iter().any(any) && !rest.iter().any(escaped)
}

/// A JSON string literal.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    if is_plain(text.as_bytes()) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut copied = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[copied..index]);
        copied = index + 1;
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::json::parse;
    use super::*;

    #[test]
    fn compact_keeps_content() {
        let text = "{ \"a\" : [ 1.50 , \"q\\\"\\u0001\\n\" , { } , null ] , \"b\" : true }";
        let document = parse(text).unwrap();
        assert_eq!(compact(&document, document.root()), r#"{"a":[1.50,"q\"\u0001\n",{},null],"b":true}"#);
    }

    #[test]
    fn server_owns_id_and_meta() {
        let text = r#"{"id":"mine","meta":{"versionId":"9","profile":["p"]},"resourceType":"Observation","subject":{"reference":"urn:uuid:1"}}"#;
        let document = parse(text).unwrap();
        let owned = Owned { id: "x", version: 2, last_updated: "2026-01-01T00:00:00Z", tags: None };
        let rewrite = |reference: &str| (reference == "urn:uuid:1").then(|| "Patient/1".to_owned());
        assert_eq!(
            resource(&document, document.root(), &owned, Some(&rewrite)),
            r#"{"resourceType":"Observation","id":"x","meta":{"versionId":"2","lastUpdated":"2026-01-01T00:00:00Z","profile":["p"]},"subject":{"reference":"Patient/1"}}"#
        );
    }

    #[test]
    fn tags_of_a_system_may_be_the_servers() {
        let other = r#"{"system":"urn:other","code":"b"}"#;
        let own = r#"{"system":"urn:own","code":"a"}"#;
        for (sent, code, expected) in [
            (String::new(), None, String::new()),
            (String::new(), Some("a"), format!(",\"tag\":[{own}]")),
            (format!("\"tag\":[{own}]"), None, String::new()),
            (format!("\"tag\":[{own},{other}]"), None, format!(",\"tag\":[{other}]")),
            (format!("\"tag\":[{other},{own}]"), Some("a"), format!(",\"tag\":[{other},{own}]")),
        ] {
            let document = parse(format!("{{\"resourceType\":\"List\",\"meta\":{{{sent}}}}}")).unwrap();
            let tags = Some(Tags { system: "urn:own", code });
            let owned = Owned { id: "x", version: 1, last_updated: "2026-01-01T00:00:00Z", tags };
            let written = resource(&document, document.root(), &owned, None);
            assert!(written.ends_with(&format!("00:00:00Z\"{expected}}}}}")), "{written}");
        }
    }

    proptest::proptest! {
        #[test]
        fn strings_survive(text in "\\PC{0,40}[\\x00-\\x1f\"\\\\]{0,4}\\PC{0,10}") {
            let mut out = String::new();
            string(&text, &mut out);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
