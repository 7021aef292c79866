//! JSON to XML.

use super::{MAX_BYTES, Tree, contained, count, each_narrative, placeholder, placeholder_index, scan, syntax};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::write::compact;
use crate::fhir::tree::{Document, Kind, NodeId};

/// A resource of the document as FHIR XML. The error is one issue, ready to be sent.
pub fn from_json(document: &Document, node: NodeId) -> Result<Vec<u8>, Issue> {
    check(document, node, false)?;
    let json = compact(document, node);
    if json.len() > MAX_BYTES {
        return Err(Issue::new(Id::BodyTooLarge, "", "The resource is too large for XML: more than 16 MiB."));
    }
    let mut tree: Tree = contained(|| fhirbolt::json::from_str(&json, None))?;
    let mut narratives = Vec::new();
    each_narrative(&mut tree, &mut |narrative| {
        let xhtml = scan::narrative(narrative)?;
        *narrative = placeholder(narratives.len());
        narratives.push(xhtml);
        Ok(())
    })?;
    let written = contained(|| fhirbolt::xml::to_string(&tree, None))?;
    let scanned = scan::resource(&written)?;
    if scanned.count != count(&tree) {
        return Err(syntax("a member is not one that FHIR R4 defines, and XML has no place for it"));
    }
    join(&written, &scanned, &narratives)
}

/// Puts the narratives back and writes line ends inside attributes as references, which every reader of XML would
/// otherwise turn into spaces (XML 1.0 §3.3.3).
fn join(written: &str, scanned: &scan::Scanned, narratives: &[String]) -> Result<Vec<u8>, Issue> {
    let mut out = String::with_capacity(written.len() + narratives.iter().map(String::len).sum::<usize>());
    let mut from = 0;
    for range in &scanned.narratives {
        attributes(&written[from..range.start], &mut out);
        let narrative = placeholder_index(&written[range.clone()]).and_then(|index| narratives.get(index));
        out.push_str(narrative.ok_or_else(|| syntax("a narrative stands where none may"))?);
        from = range.end;
    }
    attributes(&written[from..], &mut out);
    Ok(out.into_bytes())
}

/// Between narratives the text is tags and indentation only, and a quote inside a value is always a reference.
fn attributes(text: &str, out: &mut String) {
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                out.push('"');
            }
            '\n' if quoted => out.push_str("&#10;"),
            '\r' if quoted => out.push_str("&#13;"),
            '\t' if quoted => out.push_str("&#9;"),
            other => out.push(other),
        }
    }
}

/// Refuses what fhirbolt panics on, what XML cannot hold, and keys that would not be XML names.
fn check(document: &Document, node: NodeId, in_array: bool) -> Result<(), Issue> {
    let refuse = |what: &str| Err(syntax(what).at(document.position(node)));
    match document.kind(node) {
        Kind::Object => {
            if document.children(node).next().is_none() {
                return refuse("an object is empty");
            }
            for member in document.children(node) {
                let key = document.key(member);
                let name = key.strip_prefix('_').unwrap_or(key);
                if !is_name(name) {
                    return Err(syntax("a member's name is not a FHIR element name").at(document.position(member)));
                }
                if key == "resourceType" && !is_type(document.value(member)) {
                    return Err(syntax("resourceType is not a type name").at(document.position(member)));
                }
                check(document, member, false)?;
            }
            Ok(())
        }
        Kind::Array if in_array => refuse("an array stands inside an array"),
        Kind::Array => {
            if document.children(node).next().is_none() {
                return refuse("an array is empty");
            }
            document.children(node).try_for_each(|item| check(document, item, true))
        }
        Kind::Null if !in_array => refuse("null stands where a value must be"),
        Kind::String if !document.value(node).chars().all(scan::is_character) => {
            refuse("a string holds a control character that XML does not allow")
        }
        _ => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_type(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}
