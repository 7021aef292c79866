//! XML to JSON.

use super::{MAX_BYTES, Tree, contained, count, each_narrative, placeholder_index, scan, syntax};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::document::position_at;

/// One FHIR R4 resource in XML as JSON. The error is one issue, ready to be sent.
pub fn to_json(bytes: &[u8]) -> Result<Vec<u8>, Issue> {
    if bytes.len() > MAX_BYTES {
        return Err(Issue::new(Id::BodyTooLarge, "", "The XML text is longer than 16 MiB."));
    }
    let text = decode(bytes)?;
    let scanned = scan::resource(text)?;
    let mut tree: Tree = contained(|| fhirbolt::xml::from_str(&scanned.clean, None))?;
    if count(&tree) != scanned.count {
        return Err(syntax("an element stands twice that may not repeat, or stands where no element may"));
    }
    each_narrative(&mut tree, &mut |narrative| {
        let slice = placeholder_index(narrative).and_then(|index| scanned.narratives.get(index));
        let slice = slice.ok_or_else(|| syntax("a narrative stands where none may"))?;
        *narrative = text[slice.clone()].replace("\r\n", "\n");
        Ok(())
    })?;
    contained(|| fhirbolt::json::to_vec(&tree, None))
}

fn decode(bytes: &[u8]) -> Result<&str, Issue> {
    if matches!(bytes, [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, ..] | [_, 0, ..]) {
        return Err(syntax("the text is not in UTF-8"));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let head = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        syntax("the text is not valid UTF-8").at(position_at(head, head.len()))
    })
}
