//! JSON text to [`Document`]: strict RFC 8259, with the limits that a hostile sender meets.
//!
//! Our own reader and not serde_json's, because an issue needs line and column, decimals need their digits,
//! a property that stands twice must be refused and not silently win, and the arena is several times faster
//! than a map. One pass, no recursion: an explicit stack bounds depth.
//!
//! [`parse`] takes or refuses. [`read`] goes on after the mistakes that leave no doubt of what was meant (comments,
//! commas too many or too few, missing quotes, a property that stands twice), so that they do not hide the others;
//! after any other mistake the rest is guesswork.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use smallvec::SmallVec;

use super::document::{Document, Kind, Node, NodeId, Span};
use super::ruler::{Ruler, position_at};
use super::tag::Tag;
use super::{MAX_DEPTH, MAX_MEMBERS, Reading};
use crate::fhir::outcome::{Id, Issue};

/// Most mistakes that are noted.
const MAX_ISSUES: usize = 100;

/// What a document that is done with leaves to the next one, so that a reader of many allocates for the largest only.
#[derive(Default)]
pub struct Memory {
    source: Vec<u8>,
    unescaped: String,
    nodes: Vec<Node>,
}

impl From<Document> for Memory {
    fn from(document: Document) -> Memory {
        let Document { source, mut unescaped, mut nodes, .. } = document;
        let mut source = source.into_bytes();
        source.clear();
        unescaped.clear();
        nodes.clear();
        Memory { source, unescaped, nodes }
    }
}

/// Reads one JSON object. The error is one issue, ready to be sent.
pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Document, Issue> {
    parse_all(bytes.into(), String::new(), Vec::new(), false)
}

/// As [`parse`], of an object or an array: not every sender of JSON speaks FHIR.
pub fn parse_list(bytes: impl Into<Vec<u8>>) -> Result<Document, Issue> {
    parse_all(bytes.into(), String::new(), Vec::new(), true)
}

/// As [`parse`], in the memory of an earlier document.
pub fn parse_in(memory: Memory, bytes: &[u8]) -> Result<Document, Issue> {
    let Memory { mut source, unescaped, nodes } = memory;
    source.extend_from_slice(bytes);
    parse_all(source, unescaped, nodes, false)
}

fn parse_all(source: Vec<u8>, unescaped: String, nodes: Vec<Node>, lists: bool) -> Result<Document, Issue> {
    let source = decode(source)?;
    let mut reader = Reader { unescaped, lists, ..Reader::new(&source, nodes, false) };
    let outcome = reader.document();
    let Reader { nodes, unescaped, .. } = reader;
    outcome?;
    Ok(Document { source, unescaped, nodes, ruler: Ruler::default(), reads: None })
}

/// Reads one JSON object and everything that is wrong with the text.
pub fn read(bytes: impl Into<Vec<u8>>) -> Reading {
    let source = match decode(bytes.into()) {
        Ok(source) => source,
        Err(issue) => return Reading { document: None, issues: vec![issue] },
    };
    let mut reader = Reader::new(&source, Vec::new(), true);
    let outcome = reader.document();
    let Reader { nodes, unescaped, mut issues, .. } = reader;
    match outcome {
        Ok(()) => Reading {
            document: Some(Document { source, unescaped, nodes, ruler: Ruler::default(), reads: None }),
            issues,
        },
        Err(issue) => {
            issues.push(issue);
            Reading { document: None, issues }
        }
    }
}

fn decode(bytes: Vec<u8>) -> Result<String, Issue> {
    let source = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let head = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
        syntax(head, valid, "the text is not valid UTF-8")
    })?;
    if source.len() >= u32::MAX as usize {
        return Err(Issue::new(Id::BodyTooLarge, "", "The text is longer than 4 GiB."));
    }
    Ok(source)
}

/// Whether a text is a JSON number and nothing else (RFC 8259 §6).
pub fn is_number(text: &str) -> bool {
    let mut reader = Reader::of(text, Vec::new(), false);
    let starts = matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'));
    starts && reader.number().is_ok() && reader.at == text.len()
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
    /// Made when an object turns out to be wide.
    hasher: OnceCell<RandomState>,
    /// Mistakes that leave no doubt are noted and passed over.
    lenient: bool,
    /// The text may be an array as a whole.
    lists: bool,
    issues: Vec<Issue>,
}

/// An open object or array while its members are read.
struct Open {
    node: u32,
    last_child: u32,
    members: u32,
    object: bool,
    /// Hashes of the keys so far, once there are too many to compare one by one.
    #[expect(clippy::box_collection, reason = "few objects are wide, and all that are open stand side by side")]
    seen: Option<Box<HashSet<u64>>>,
}

/// The containers around the cursor; resources seldom nest deeper than this keeps off the heap.
type Opened = SmallVec<[Open; 16]>;

/// The name of a member; empty for the items of an array.
#[derive(Clone, Copy, Default)]
struct Name {
    tag: Tag,
    span: Span,
    unescaped: bool,
    /// Another member has it already.
    twice: bool,
}

/// Whether a name or text that lacks its quotes may hold the byte.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$')
}

/// Whether a member or item may begin with the byte.
fn begins(byte: u8, object: bool) -> bool {
    let quoted = byte == b'"' || byte == b'\'' || is_bare(byte);
    quoted || (!object && matches!(byte, b'{' | b'[' | b'-' | b'0'..=b'9'))
}

/// A key that could be an element's; anything else is the sender's word and not repeated.
fn plain(key: &[u8]) -> &str {
    let is_plain = !key.is_empty() && key.len() <= 64 && key.iter().all(u8::is_ascii_alphanumeric);
    std::str::from_utf8(key).ok().filter(|_| is_plain).unwrap_or("(unreadable)")
}

/// Objects with more members than this look duplicates up by hash, so that a hostile object stays linear.
const COMPARED_KEYS: u32 = 24;

impl<'s> Reader<'s> {
    fn new(source: &'s str, mut nodes: Vec<Node>, lenient: bool) -> Self {
        nodes.reserve(source.len() / 20 + 8);
        Reader::of(source, nodes, lenient)
    }

    fn of(source: &'s str, nodes: Vec<Node>, lenient: bool) -> Self {
        Reader {
            bytes: source.as_bytes(),
            source,
            at: 0,
            nodes,
            unescaped: String::new(),
            hasher: OnceCell::new(),
            lenient,
            lists: false,
            issues: Vec::new(),
        }
    }

    fn document(&mut self) -> Result<(), Issue> {
        self.at = if self.source.starts_with('\u{feff}') { 3 } else { 0 };
        self.gap(&[])?;
        match self.bytes.get(self.at) {
            Some(b'{') => {}
            Some(b'[') if self.lists => {}
            _ => return Err(self.fail("an object '{' is expected")),
        }
        self.values()?;
        self.gap(&[])?;
        if self.at < self.bytes.len() {
            return Err(self.fail("something follows the end of the object"));
        }
        Ok(())
    }

    /// The loop over values: `open` holds the containers around the cursor.
    fn values(&mut self) -> Result<(), Issue> {
        let mut open = Opened::new();
        self.value(Name::default(), &mut open)?;
        while let Some(top) = open.last() {
            let (object, first) = (top.object, top.members == 0);
            self.gap(&open)?;
            let close = if object { b'}' } else { b']' };
            match self.bytes.get(self.at) {
                Some(byte) if *byte == close => {
                    self.at += 1;
                    open.pop();
                    continue;
                }
                Some(b',') if !first => {
                    let comma = self.at;
                    self.at += 1;
                    self.gap(&open)?;
                    while matches!(self.bytes.get(self.at), Some(byte) if *byte == close || *byte == b',') {
                        self.mistake(Id::JsonComma, comma, &open, "A comma stands where nothing follows it.")?;
                        if self.bytes[self.at] == close {
                            break;
                        }
                        self.at += 1;
                        self.gap(&open)?;
                    }
                    if self.bytes.get(self.at) == Some(&close) {
                        continue;
                    }
                }
                Some(_) if first => {}
                Some(byte) if begins(*byte, object) => {
                    let text = "A comma is missing between two properties or items.";
                    self.mistake(Id::JsonComma, self.at, &open, text)?;
                }
                Some(_) => {
                    return Err(self.fail(if object { "',' or '}' is expected" } else { "',' or ']' is expected" }));
                }
                None => return Err(self.fail("the text ends inside an object or array")),
            }
            let key = if object { self.key(&mut open)? } else { Name::default() };
            self.value(key, &mut open)?;
        }
        Ok(())
    }

    fn key(&mut self, open: &mut [Open]) -> Result<Name, Issue> {
        let start = self.at;
        let (span, unescaped) = match self.bytes.get(self.at) {
            Some(b'"') => self.string()?,
            Some(byte) if is_bare(*byte) || *byte == b'\'' => self.unquoted(open)?,
            _ => return Err(self.fail("a property name in double quotes is expected")),
        };
        let text = if unescaped { self.unescaped.as_bytes() } else { self.bytes };
        let tag = Tag::within(text, span.start as usize, span.len as usize);
        let twice = self.stands_twice(open, tag, span, unescaped, start)?;
        self.gap(open)?;
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(self.fail("':' is expected after the property name"));
        }
        self.at += 1;
        self.gap(open)?;
        Ok(Name { tag, span, unescaped, twice })
    }

    /// Two members with one name: one of them would be silently lost, so neither is trusted.
    fn stands_twice(
        &mut self,
        open: &mut [Open],
        tag: Tag,
        key: Span,
        unescaped: bool,
        start: usize,
    ) -> Result<bool, Issue> {
        let Some(parent) = open.last_mut() else { return Ok(false) };
        if parent.members >= MAX_MEMBERS {
            return Err(Issue::new(Id::JsonTooWide, "", format!("An object has more than {MAX_MEMBERS} properties."))
                .at(position_at(self.source, start)));
        }
        let new = self.slice(key, unescaped);
        if parent.members >= COMPARED_KEYS {
            let hasher = self.hasher.get_or_init(RandomState::new);
            let seen = parent.seen.get_or_insert_with(|| {
                let keys = self.members(parent.node).map(|node| self.slice(node.key, node.key_unescaped));
                Box::new(keys.map(|key| hasher.hash_one(key)).collect())
            });
            if seen.insert(hasher.hash_one(new)) {
                return Ok(false);
            }
        }
        let is_same =
            |node: &Node| node.tag == tag && (tag.is_whole() || self.slice(node.key, node.key_unescaped) == new);
        if self.members(parent.node).any(is_same) {
            self.mistake(Id::JsonDuplicateKey, start, open, "A property stands twice in the same object.")?;
            return Ok(true);
        }
        Ok(false)
    }

    /// A name or text without its double quotes.
    fn unquoted(&mut self, open: &[Open]) -> Result<(Span, bool), Issue> {
        let start = self.at;
        let text = "A name or text stands in double quotes.";
        self.mistake(Id::JsonQuotes, start, open, text)?;
        if self.bytes[start] == b'\'' {
            let inner = start + 1;
            let length = self.bytes[inner..].iter().position(|byte| matches!(byte, b'\'' | b'\n' | b'\\'));
            let Some(length) = length.filter(|length| self.bytes[inner + length] == b'\'') else {
                return Err(self.fail("a text in single quotes does not end"));
            };
            self.at = inner + length + 1;
            return Ok((Span { start: inner as u32, len: length as u32 }, false));
        }
        let length = self.bytes[start..].iter().take_while(|byte| is_bare(**byte)).count();
        self.at = start + length;
        Ok((Span { start: start as u32, len: length as u32 }, false))
    }

    /// A mistake that leaves no doubt of what was meant. It ends a strict reading.
    fn mistake(&mut self, id: Id, offset: usize, open: &[Open], text: &str) -> Result<(), Issue> {
        if self.lenient && self.issues.len() >= MAX_ISSUES {
            return Ok(());
        }
        let issue = Issue::new(id, self.expression(open), text).at(position_at(self.source, offset));
        if !self.lenient {
            return Err(issue);
        }
        self.issues.push(issue);
        Ok(())
    }

    /// The innermost open object, as far as its keys can be shown.
    fn expression(&self, open: &[Open]) -> String {
        let Some(root) = open.first() else { return String::new() };
        let kind = self.members(root.node).find(|node| self.slice(node.key, node.key_unescaped) == b"resourceType");
        // Without a type there is nothing that a path could begin with.
        let Some(kind) = kind.filter(|node| node.kind == Kind::String) else { return String::new() };
        let mut out = plain(self.slice(kind.value, kind.value_unescaped)).to_owned();
        for pair in open.windows(2) {
            if pair[0].object {
                let node = &self.nodes[pair[1].node as usize];
                out.extend([".", plain(self.slice(node.key, node.key_unescaped))]);
            } else {
                out.extend(["[", &(pair[0].members - 1).to_string(), "]"]);
            }
        }
        out
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

    fn value(&mut self, name: Name, open: &mut Opened) -> Result<(), Issue> {
        let offset = self.at as u32;
        let mut node = Node {
            tag: name.tag,
            key: name.span,
            value: Span::default(),
            offset,
            next: 0,
            first: 0,
            kind: Kind::Null,
            key_unescaped: name.unescaped,
            value_unescaped: false,
            shadows: false,
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
            Some(b'-' | b'0'..=b'9') => (node.kind, node.value) = (Kind::Number, self.number()?),
            Some(byte) if is_bare(*byte) || *byte == b'\'' => (node.kind, node.value) = self.bare(open)?,
            Some(_) => return Err(self.fail("a value is expected")),
            None => return Err(self.fail("the text ends where a value is expected")),
        }
        self.append(node, opens, open, name.twice)
    }

    /// `orphan`: the node stands in the arena, so that what is in it can be read, but nothing leads to it.
    fn append(&mut self, node: Node, opens: Option<bool>, open: &mut Opened, orphan: bool) -> Result<(), Issue> {
        let index = self.nodes.len() as u32;
        if let Some(parent) = open.last_mut() {
            if parent.object {
                self.nodes[parent.node as usize].add_member(node.tag);
            }
            if orphan {
            } else if parent.members == 0 {
                self.nodes[parent.node as usize].first = index;
                parent.last_child = index;
            } else {
                self.nodes[parent.last_child as usize].next = index;
                parent.last_child = index;
            }
            parent.members += 1;
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
            self.plain_text();
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

    /// Passes over what needs no look, eight bytes at a time, up to a quote, an escape or a control character.
    #[inline]
    fn plain_text(&mut self) {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        const HIGHS: u64 = ONES << 7;
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            // The lowest byte that is below a bound is found by the borrow that it causes; what stands above it may be
            // found wrongly, and is not asked.
            let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word & HIGHS;
            let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
            let stops = is(b'"') | is(b'\\') | below(word, 0x20);
            if stops != 0 {
                self.at += (stops.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
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

    /// `true`, `false`, `null`, or a text that lacks its quotes.
    fn bare(&mut self, open: &[Open]) -> Result<(Kind, Span), Issue> {
        let start = self.at;
        let rest = &self.bytes[start..];
        for (word, kind) in [("true", Kind::True), ("false", Kind::False), ("null", Kind::Null)] {
            if rest.starts_with(word.as_bytes()) && !rest.get(word.len()).is_some_and(|byte| is_bare(*byte)) {
                self.at += word.len();
                return Ok((kind, Span { start: start as u32, len: word.len() as u32 }));
            }
        }
        self.unquoted(open).map(|(span, _)| (Kind::String, span))
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

    #[inline]
    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// What stands between tokens: white space, and comments, which JSON does not have.
    #[inline]
    fn gap(&mut self, open: &[Open]) -> Result<(), Issue> {
        self.space();
        if self.bytes.get(self.at) == Some(&b'/') { self.comments(open) } else { Ok(()) }
    }

    #[cold]
    fn comments(&mut self, open: &[Open]) -> Result<(), Issue> {
        while self.bytes.get(self.at) == Some(&b'/') {
            let rest = &self.source[self.at..];
            let length = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map(|end| end + 2).ok_or_else(|| self.fail("a comment does not end"))?
            } else {
                return Err(self.fail("a value is expected"));
            };
            self.mistake(Id::JsonComment, self.at, open, "JSON has no comments.")?;
            self.at += length;
            self.space();
        }
        Ok(())
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
    fn memory_of_one_document_serves_the_next() {
        let mut memory = Memory::default();
        for text in [r#"{"a":["x\n",{"_b":1}]}"#, r#"{"c":"\u00e9"}"#, "{}", r#"{"a":{"d":[1,2,3]}}"#] {
            let document = parse_in(memory, text.as_bytes()).unwrap();
            let fresh = parse(text).unwrap();
            let shown = |document: &Document| crate::fhir::tree::write::compact(document, NodeId::ROOT);
            assert_eq!((shown(&document), document.source()), (shown(&fresh), text));
            memory = document.into();
        }
        let text = r#"{"resourceType":"Patient","name":[{"family":"\u00e9"}]}"#;
        memory = parse_in(memory, text.as_bytes()).unwrap().into();
        let again = allocation_counter::measure(|| assert!(parse_in(memory, text.as_bytes()).is_ok()));
        assert_eq!(again.count_total, 0);
    }

    #[test]
    fn refuses_what_rfc_8259_refuses() {
        refuses("", Id::JsonSyntax, 1, 1);
        refuses("[]", Id::JsonSyntax, 1, 1);
        refuses("{\n \"a\": 01}", Id::JsonSyntax, 2, 8);
        refuses("{\"a\":1,}", Id::JsonComma, 1, 7);
        refuses("{\"a\":.5}", Id::JsonSyntax, 1, 6);
        refuses("{\"a\":1.}", Id::JsonSyntax, 1, 8);
        refuses("{\"a\":+1}", Id::JsonSyntax, 1, 6);
        refuses("{\"a\":NaN}", Id::JsonQuotes, 1, 6);
        refuses("{\"a\":truely}", Id::JsonQuotes, 1, 6);
        refuses("{\"a\":\"\\x\"}", Id::JsonSyntax, 1, 9);
        refuses("{\"a\":\"\\ud800\"}", Id::JsonSyntax, 1, 13);
        refuses("{\"a\":\"b", Id::JsonSyntax, 1, 8);
        refuses("{\"a\":1} x", Id::JsonSyntax, 1, 9);
        refuses("{'a':1}", Id::JsonQuotes, 1, 2);
        refuses("{a:1}", Id::JsonQuotes, 1, 2);
        refuses("{\"a\":1 /* why */}", Id::JsonComment, 1, 8);
        refuses("{\"a\":1 /* why", Id::JsonSyntax, 1, 8);
        refuses("{\"a\" 1}", Id::JsonSyntax, 1, 6);
        refuses("{\"a\":[1 2]}", Id::JsonComma, 1, 9);
        refuses("{\"a\":[1}", Id::JsonSyntax, 1, 8);
        refuses("{\"a\":\"\t\"}", Id::JsonSyntax, 1, 7);
    }

    #[test]
    fn refuses_duplicates_also_when_escaped() {
        refuses("{\"a\":1,\"a\":2}", Id::JsonDuplicateKey, 1, 8);
        refuses("{\"a\":1,\"\\u0061\":2}", Id::JsonDuplicateKey, 1, 8);
    }

    /// `expected`: id, expression, line and column of each mistake; then what the tree holds all the same.
    fn reads(text: &str, expected: &[(Id, &str, u32, u32)], tree: Option<&str>) {
        let reading = read(text);
        let issues: Vec<(Id, &str, u32, u32)> = reading
            .issues
            .iter()
            .map(|issue| (issue.id, issue.expression.as_str(), issue.position.line, issue.position.column))
            .collect();
        assert_eq!(issues, expected, "{text}");
        let shown = reading.document.map(|document| crate::fhir::tree::write::compact(&document, NodeId::ROOT));
        assert_eq!(shown.as_deref(), tree, "{text}");
    }

    #[test]
    fn goes_on_after_mistakes_that_leave_no_doubt() {
        reads(
            "// top\n{\"resourceType\":\"Patient\", /* a */\n\"name\":[{\"given\":[\"x\",],}]\n\"active\":yes,, b:'c'}",
            &[
                (Id::JsonComment, "", 1, 1),
                (Id::JsonComment, "Patient", 2, 28),
                (Id::JsonComma, "Patient.name[0].given", 3, 22),
                (Id::JsonComma, "Patient.name[0]", 3, 24),
                (Id::JsonComma, "Patient", 4, 1),
                (Id::JsonQuotes, "Patient", 4, 10),
                (Id::JsonComma, "Patient", 4, 13),
                (Id::JsonQuotes, "Patient", 4, 16),
                (Id::JsonQuotes, "Patient", 4, 18),
            ],
            Some(r#"{"resourceType":"Patient","name":[{"given":["x"]}],"active":"yes","b":"c"}"#),
        );
        reads(
            "{\"a\":{\"b\":1,\"b\":{\"c\":[2]},\"d\":3}}",
            &[(Id::JsonDuplicateKey, "", 1, 13)],
            Some(r#"{"a":{"b":1,"d":3}}"#),
        );
        reads("{\"a\":1,}\n]", &[(Id::JsonComma, "", 1, 7), (Id::JsonSyntax, "", 2, 1)], None);
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
