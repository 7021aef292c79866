//! JSON text to [`Document`]: strict RFC 8259, with the limits that a hostile sender meets.
//!
//! Our own reader and not serde_json's, because an issue needs line and column, decimals need their digits,
//! a property that stands twice must be refused and not silently win, and the arena is several times faster
//! than a map. One pass, no recursion: an explicit stack bounds depth. It stops at the first mistake, since
//! what follows a syntax error is guesswork.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::document::{Document, Kind, Node, NodeId, Span, position_at};
use super::{MAX_DEPTH, MAX_MEMBERS};
use crate::fhir::outcome::{Id, Issue};

/// Reads one JSON object. The error is one issue, ready to be sent.
pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Document, Issue> {
    let source = match String::from_utf8(bytes.into()) {
        Ok(source) => source,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let head = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
            return Err(syntax(head, valid, "the text is not valid UTF-8"));
        }
    };
    if source.len() >= u32::MAX as usize {
        return Err(Issue::new(Id::BodyTooLarge, "", "The text is longer than 4 GiB."));
    }
    let mut reader = Reader {
        bytes: source.as_bytes(),
        source: &source,
        at: 0,
        nodes: Vec::with_capacity(source.len() / 20 + 8),
        unescaped: String::new(),
        hasher: RandomState::new(),
    };
    let outcome = reader.document();
    let Reader { nodes, unescaped, .. } = reader;
    outcome?;
    Ok(Document { source, unescaped, nodes })
}

fn syntax(source: &str, offset: usize, what: &str) -> Issue {
    Issue::new(Id::JsonSyntax, "", format!("The JSON text cannot be read here: {what}."))
        .at(position_at(source, offset))
}

struct Reader<'s> {
    bytes: &'s [u8],
    source: &'s str,
    at: usize,
    nodes: Vec<Node>,
    unescaped: String,
    hasher: RandomState,
}

/// An open object or array while its members are read.
struct Open {
    node: u32,
    last_child: u32,
    members: u32,
    object: bool,
    /// Hashes of the keys so far, once there are too many to compare one by one.
    seen: Option<HashSet<u64>>,
}

/// Objects with more members than this look duplicates up by hash, so that a hostile object stays linear.
const COMPARED_KEYS: u32 = 24;

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Issue> {
        self.at = if self.source.starts_with('\u{feff}') { 3 } else { 0 };
        self.space();
        if self.bytes.get(self.at) != Some(&b'{') {
            return Err(self.fail("an object '{' is expected"));
        }
        self.values()?;
        self.space();
        if self.at < self.bytes.len() {
            return Err(self.fail("something follows the end of the object"));
        }
        Ok(())
    }

    /// The loop over values: `open` holds the containers around the cursor.
    fn values(&mut self) -> Result<(), Issue> {
        let mut open: Vec<Open> = Vec::with_capacity(16);
        self.value((Span::default(), false), &mut open)?;
        while let Some(top) = open.last() {
            let (object, first) = (top.object, top.members == 0);
            self.space();
            let close = if object { b'}' } else { b']' };
            match self.bytes.get(self.at) {
                Some(byte) if *byte == close => {
                    self.at += 1;
                    open.pop();
                    continue;
                }
                Some(b',') if !first => {
                    self.at += 1;
                    self.space();
                }
                Some(_) if first => {}
                Some(_) => {
                    return Err(self.fail(if object { "',' or '}' is expected" } else { "',' or ']' is expected" }));
                }
                None => return Err(self.fail("the text ends inside an object or array")),
            }
            let key = if object { self.key(&mut open)? } else { (Span::default(), false) };
            self.value(key, &mut open)?;
        }
        Ok(())
    }

    fn key(&mut self, open: &mut [Open]) -> Result<(Span, bool), Issue> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.fail("a property name in double quotes is expected"));
        }
        let start = self.at;
        let (span, unescaped) = self.string()?;
        if let Some(parent) = open.last_mut() {
            self.refuse_duplicate(parent, span, unescaped, start)?;
        }
        self.space();
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(self.fail("':' is expected after the property name"));
        }
        self.at += 1;
        self.space();
        Ok((span, unescaped))
    }

    /// Two members with one name: one of them would be silently lost, so neither is taken.
    fn refuse_duplicate(&self, parent: &mut Open, key: Span, unescaped: bool, start: usize) -> Result<(), Issue> {
        if parent.members >= MAX_MEMBERS {
            return Err(Issue::new(Id::JsonTooWide, "", format!("An object has more than {MAX_MEMBERS} properties."))
                .at(position_at(self.source, start)));
        }
        let new = self.slice(key, unescaped);
        if parent.members >= COMPARED_KEYS {
            let seen = parent.seen.get_or_insert_with(|| {
                self.members(parent.node)
                    .map(|node| self.hasher.hash_one(self.slice(node.key, node.key_unescaped)))
                    .collect()
            });
            if seen.insert(self.hasher.hash_one(new)) {
                return Ok(());
            }
        }
        if self.members(parent.node).any(|node| self.slice(node.key, node.key_unescaped) == new) {
            return Err(Issue::new(Id::JsonDuplicateKey, "", "A property stands twice in the same object.")
                .at(position_at(self.source, start)));
        }
        Ok(())
    }

    fn members(&self, parent: u32) -> impl Iterator<Item = &Node> {
        let mut next = self.nodes[parent as usize].first;
        std::iter::from_fn(move || {
            let node = (next != 0).then(|| &self.nodes[next as usize])?;
            next = node.next;
            Some(node)
        })
    }

    fn slice(&self, span: Span, unescaped: bool) -> &[u8] {
        let from = if unescaped { self.unescaped.as_bytes() } else { self.bytes };
        &from[span.start as usize..(span.start + span.len) as usize]
    }

    fn value(&mut self, (key, key_unescaped): (Span, bool), open: &mut Vec<Open>) -> Result<(), Issue> {
        let offset = self.at as u32;
        let mut node = Node {
            key,
            value: Span::default(),
            offset,
            next: 0,
            first: 0,
            kind: Kind::Null,
            key_unescaped,
            value_unescaped: false,
        };
        let mut opens = None;
        match self.bytes.get(self.at) {
            Some(b'{') => {
                node.kind = Kind::Object;
                opens = Some(true);
                self.at += 1;
            }
            Some(b'[') => {
                node.kind = Kind::Array;
                opens = Some(false);
                self.at += 1;
            }
            Some(b'"') => {
                node.kind = Kind::String;
                (node.value, node.value_unescaped) = self.string()?;
            }
            Some(b't') => (node.kind, node.value) = (Kind::True, self.literal("true")?),
            Some(b'f') => (node.kind, node.value) = (Kind::False, self.literal("false")?),
            Some(b'n') => (node.kind, node.value) = (Kind::Null, self.literal("null")?),
            Some(b'-' | b'0'..=b'9') => (node.kind, node.value) = (Kind::Number, self.number()?),
            Some(_) => return Err(self.fail("a value is expected")),
            None => return Err(self.fail("the text ends where a value is expected")),
        }
        self.append(node, opens, open)
    }

    fn append(&mut self, node: Node, opens: Option<bool>, open: &mut Vec<Open>) -> Result<(), Issue> {
        let index = self.nodes.len() as u32;
        if let Some(parent) = open.last_mut() {
            if parent.members == 0 {
                self.nodes[parent.node as usize].first = index;
            } else {
                self.nodes[parent.last_child as usize].next = index;
            }
            parent.members += 1;
            parent.last_child = index;
        }
        self.nodes.push(node);
        if let Some(object) = opens {
            if open.len() >= MAX_DEPTH {
                return Err(Issue::new(
                    Id::JsonTooDeep,
                    "",
                    format!("Objects and arrays are nested deeper than {MAX_DEPTH} levels."),
                )
                .at(position_at(self.source, self.at)));
            }
            open.push(Open { node: index, last_child: 0, members: 0, object, seen: None });
        }
        Ok(())
    }

    /// A string from its opening quote; copies only when it holds escapes.
    fn string(&mut self) -> Result<(Span, bool), Issue> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let span = Span { start: start as u32, len: (self.at - start) as u32 };
                    self.at += 1;
                    return Ok((span, false));
                }
                Some(b'\\') => return self.escaped_string(start),
                Some(byte) if *byte < 0x20 => return Err(self.fail("a control character must be escaped in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.fail("the text ends inside a string")),
            }
        }
    }

    fn escaped_string(&mut self, start: usize) -> Result<(Span, bool), Issue> {
        let begin = self.unescaped.len();
        let mut copied = start;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.unescaped.push_str(&self.source[copied..self.at]);
                    self.at += 1;
                    let span = Span { start: begin as u32, len: (self.unescaped.len() - begin) as u32 };
                    return Ok((span, true));
                }
                Some(b'\\') => {
                    self.unescaped.push_str(&self.source[copied..self.at]);
                    self.at += 1;
                    let character = self.escape()?;
                    self.unescaped.push(character);
                    copied = self.at;
                }
                Some(byte) if *byte < 0x20 => return Err(self.fail("a control character must be escaped in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.fail("the text ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Issue> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        Ok(match byte {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.fail("an unknown escape stands in a string")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, Issue> {
        let high = self.hex4()?;
        let code = if (0xD800..0xDC00).contains(&high) {
            if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                return Err(self.fail("a surrogate escape lacks its second half"));
            }
            self.at += 2;
            let low = self.hex4()?;
            if !(0xDC00..0xE000).contains(&low) {
                return Err(self.fail("a surrogate escape lacks its second half"));
            }
            0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.fail("an escape names no character"))
    }

    fn hex4(&mut self) -> Result<u32, Issue> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else { return Err(self.fail("four hexadecimal digits are expected")) };
        self.at += 4;
        Ok(digits.iter().fold(0, |code, digit| code * 16 + (*digit as char).to_digit(16).unwrap_or(0)))
    }

    fn literal(&mut self, word: &'static str) -> Result<Span, Issue> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.fail("a value is expected"));
        }
        let span = Span { start: self.at as u32, len: word.len() as u32 };
        self.at += word.len();
        Ok(span)
    }

    /// RFC 8259 §6: no leading zeros or plus, digits on both sides of the point.
    fn number(&mut self) -> Result<Span, Issue> {
        let start = self.at;
        if self.bytes[self.at] == b'-' {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.fail("a digit is expected")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.require_digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.require_digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            return Err(self.fail("a number must not begin with a zero"));
        }
        Ok(Span { start: start as u32, len: (self.at - start) as u32 })
    }

    fn require_digits(&mut self) -> Result<(), Issue> {
        if !matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            return Err(self.fail("a digit is expected"));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn fail(&self, what: &str) -> Issue {
        syntax(self.source, self.at, what)
    }
}

impl Document {
    /// The root node; a parsed document always has one.
    pub fn root(&self) -> NodeId {
        NodeId::ROOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(text: &str, id: Id, line: u32, column: u32) {
        let issue = parse(text).expect_err(text);
        assert_eq!(
            (issue.id, issue.position.line, issue.position.column),
            (id, line, column),
            "{text}: {}",
            issue.text
        );
    }

    #[test]
    fn keeps_digits_order_and_escapes() {
        let document = parse(r#"{"b":72.50,"a":["x\n\u00e9\ud83d\ude00",true,null,{}]}"#).unwrap();
        let root = document.root();
        assert_eq!(document.value(document.member(root, "b").unwrap()), "72.50");
        let list = document.member(root, "a").unwrap();
        let kinds: Vec<Kind> = document.children(list).map(|node| document.kind(node)).collect();
        assert_eq!(kinds, [Kind::String, Kind::True, Kind::Null, Kind::Object]);
        assert_eq!(document.value(document.children(list).next().unwrap()), "x\né😀");
    }

    #[test]
    fn refuses_what_rfc_8259_refuses() {
        refuses("", Id::JsonSyntax, 1, 1);
        refuses("[]", Id::JsonSyntax, 1, 1);
        refuses("{\n \"a\": 01}", Id::JsonSyntax, 2, 8);
        refuses("{\"a\":1,}", Id::JsonSyntax, 1, 8);
        refuses("{\"a\":.5}", Id::JsonSyntax, 1, 6);
        refuses("{\"a\":1.}", Id::JsonSyntax, 1, 8);
        refuses("{\"a\":+1}", Id::JsonSyntax, 1, 6);
        refuses("{\"a\":NaN}", Id::JsonSyntax, 1, 6);
        refuses("{\"a\":\"\\x\"}", Id::JsonSyntax, 1, 9);
        refuses("{\"a\":\"\\ud800\"}", Id::JsonSyntax, 1, 13);
        refuses("{\"a\":\"b", Id::JsonSyntax, 1, 8);
        refuses("{\"a\":1} x", Id::JsonSyntax, 1, 9);
        refuses("{'a':1}", Id::JsonSyntax, 1, 2);
        refuses("{\"a\" 1}", Id::JsonSyntax, 1, 6);
        refuses("{\"a\":[1 2]}", Id::JsonSyntax, 1, 9);
        refuses("{\"a\":\"\t\"}", Id::JsonSyntax, 1, 7);
    }

    #[test]
    fn refuses_duplicates_also_when_escaped() {
        refuses("{\"a\":1,\"a\":2}", Id::JsonDuplicateKey, 1, 8);
        refuses("{\"a\":1,\"\\u0061\":2}", Id::JsonDuplicateKey, 1, 8);
    }

    #[test]
    fn refuses_depth_and_bad_utf8() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
        assert_eq!(parse(deep).unwrap_err().id, Id::JsonTooDeep);
        let fine = format!("{{\"a\":{}{}}}", "[".repeat(63), "]".repeat(63));
        assert!(parse(fine).is_ok());
        assert_eq!(parse(b"{\"a\":\"\xff\"}".to_vec()).unwrap_err().id, Id::JsonSyntax);
    }

    proptest::proptest! {
        /// No text makes the reader panic, and whatever serde_json writes it reads alike.
        #[test]
        fn never_panics(text in "\\PC{0,200}") {
            let _ = parse(text);
        }

        #[test]
        fn never_panics_on_json_like_text(text in r#"[{}\[\]",:0-9a-z\\ .eE+-]{0,80}"#) {
            let ours = parse(text.clone()).is_ok();
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
            // serde_json takes duplicate keys, so it may accept more, never less.
            proptest::prop_assert!(!ours || theirs);
        }
    }
}
