//! Skimming: the members of a JSON object's top level, found without reading what is inside them.
//!
//! A package is indexed by the heads of its definitions; most definitions of it are never asked for, and a
//! skim costs a fraction of a parse. What it skips is held against the grammar when it is read.

use std::ops::Range;

/// A member: its key and where its value stands in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member<'t> {
    pub key: &'t str,
    pub value: Range<usize>,
}

/// The members of the object that a text holds; `None` where it holds none.
pub fn members(text: &str) -> Option<Vec<Member<'_>>> {
    let bytes = text.as_bytes();
    let mut at = space(bytes, if text.starts_with('\u{feff}') { 3 } else { 0 });
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = space(bytes, at + 1);
    let mut found = Vec::with_capacity(24);
    if bytes.get(at) == Some(&b'}') {
        return Some(found);
    }
    loop {
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let end = string(bytes, at)?;
        let key = text.get(at + 1..end - 1)?;
        at = space(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = space(bytes, at + 1);
        let end = value(bytes, at)?;
        found.push(Member { key, value: at..end });
        at = space(bytes, end);
        match bytes.get(at)? {
            b',' => at = space(bytes, at + 1),
            b'}' => return Some(found),
            _ => return None,
        }
    }
}

/// The content of a JSON string, of which the quotes are part of the text.
pub fn unquoted(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(text).ok() } else { Some(inner.to_owned()) }
}

fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The end of the string that begins here.
fn string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The end of the value that begins here.
fn value(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string(bytes, at)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return (at > start).then_some(at),
            b'}' | b']' => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return (at > start).then_some(at),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<Vec<String>> {
        let listed = members(text)?;
        Some(listed.into_iter().map(|each| format!("{}={}", each.key, &text[each.value])).collect())
    }

    #[test]
    fn members_are_found() {
        assert_eq!(shown("{}").unwrap(), Vec::<String>::new());
        let text = "\u{feff} { \"a\" : \"x\\\"}\" , \"b\":[{\"c\":\"]\"},1 ],\"d\":-1.5e3\n,\"e\":true}";
        assert_eq!(shown(text).unwrap(), ["a=\"x\\\"}\"", "b=[{\"c\":\"]\"},1 ]", "d=-1.5e3", "e=true"]);
    }

    #[test]
    fn what_is_no_object_has_none() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":1",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":\"x",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn strings_are_unquoted() {
        assert_eq!(unquoted("\"http:\\/\\/a\"").as_deref(), Some("http://a"));
        assert_eq!(unquoted("\"a\"").as_deref(), Some("a"));
        assert_eq!(unquoted("1"), None);
    }
}
