//! Bytes to tags, as they come: what XML of an export is made of, and a way on after what is broken.
//!
//! An export holds everything in attributes, so text is passed over like comments, instructions and the document type
//! declaration, of which no entity is ever expanded. A tag that is not well-formed is told as such and reading goes on
//! behind it: one record is lost and not the file. It knows nothing of records.

use memchr::{memchr, memchr2, memchr3, memmem};

/// Longest tag, comment or declaration.
pub(super) const MAX_TOKEN: usize = 1 << 20;

/// Most attributes of one tag; Apple writes at most fifteen.
const MAX_ATTRIBUTES: usize = 64;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The rest is the beginning of something: more bytes are needed.
    More,
    Open {
        /// The element is empty: no end tag follows.
        closes: bool,
    },
    Close,
    /// A tag that cannot be read, and why; its name is told if it could be.
    Broken(&'static str),
}

/// Where name and value of an attribute stand in the tag's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute {
    pub name: (u32, u32),
    pub value: (u32, u32),
    /// The value holds references.
    pub references: bool,
}

/// Reads along a buffer that its owner fills and empties.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// First byte that was not read.
    pub at: usize,
    /// First byte of what was told last.
    pub start: usize,
    /// Of the tag told last, from its `start`.
    name: (u32, u32),
    attributes: Vec<Attribute>,
}

/// What a tag's reading ended in, when not well.
enum Trouble {
    More,
    /// Where to go on, and why.
    Broken(usize, &'static str),
}

impl Scanner {
    /// What was read last, as bytes.
    pub fn token<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        &buffer[self.start..self.at]
    }

    pub fn name<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        piece(self.token(buffer), self.name)
    }

    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The bytes before `at` are gone from the buffer.
    pub fn emptied(&mut self) {
        self.at = 0;
        self.start = 0;
    }

    pub fn next(&mut self, buffer: &[u8]) -> Step {
        loop {
            let Some(found) = memchr(b'<', &buffer[self.at..]) else {
                self.at = buffer.len();
                self.start = self.at;
                return Step::More;
            };
            self.at += found;
            self.start = self.at;
            let rest = &buffer[self.start..];
            let end = match rest {
                [b'<'] => None,
                [b'<', b'/', ..] => return self.end_tag(rest),
                [b'<', b'?', ..] => memmem::find(rest, b"?>").map(|end| end + 2),
                [b'<', b'!', ..] => match declaration(rest) {
                    Ok(end) => Some(end),
                    Err(Trouble::More) => None,
                    Err(Trouble::Broken(end, why)) => return self.broken(end, why),
                },
                _ => return self.start_tag(rest),
            };
            match end {
                Some(end) => self.at += end,
                None if rest.len() > MAX_TOKEN => return self.broken(1, "It is longer than a mebibyte."),
                None => return Step::More,
            }
        }
    }

    fn broken(&mut self, end: usize, why: &'static str) -> Step {
        self.at = self.start + end.max(1);
        Step::Broken(why)
    }

    fn end_tag(&mut self, rest: &[u8]) -> Step {
        match memchr2(b'>', b'<', &rest[2..]).map(|end| end + 2) {
            Some(end) if rest[end] == b'>' => {
                let length = rest[2..end].trim_ascii_end().len();
                self.name = (2, 2 + length as u32);
                self.at = self.start + end + 1;
                Step::Close
            }
            Some(end) => self.broken(end, "An end tag does not end."),
            None if rest.len() > MAX_TOKEN => self.broken(1, "It is longer than a mebibyte."),
            None => Step::More,
        }
    }

    fn start_tag(&mut self, rest: &[u8]) -> Step {
        self.attributes.clear();
        self.name = (1, 1);
        match self.attributes_of(rest) {
            Ok((end, closes)) => {
                self.at = self.start + end;
                Step::Open { closes }
            }
            Err(Trouble::More) if rest.len() > MAX_TOKEN => self.broken(1, "It is longer than a mebibyte."),
            Err(Trouble::More) => Step::More,
            Err(Trouble::Broken(end, why)) => self.broken(end, why),
        }
    }

    /// Length of the tag, and whether the element is empty.
    fn attributes_of(&mut self, rest: &[u8]) -> Result<(usize, bool), Trouble> {
        let mut at = named(rest, 1)?;
        self.name = (1, at as u32);
        loop {
            let after = spaces(rest, at);
            match rest.get(after).ok_or(Trouble::More)? {
                b'>' => return Ok((after + 1, false)),
                b'/' => {
                    return match rest.get(after + 1).ok_or(Trouble::More)? {
                        b'>' => Ok((after + 2, true)),
                        _ => Err(resumed(rest, after, "A tag is not well-formed.")),
                    };
                }
                _ if after == at => return Err(resumed(rest, after, "A tag is not well-formed.")),
                _ => at = self.attribute(rest, after)?,
            }
        }
    }

    /// Reads one attribute; the byte after it.
    fn attribute(&mut self, rest: &[u8], start: usize) -> Result<usize, Trouble> {
        let end = named(rest, start)?;
        let equals = spaces(rest, end);
        if *rest.get(equals).ok_or(Trouble::More)? != b'=' {
            return Err(resumed(rest, equals, "An attribute has no value."));
        }
        let open = spaces(rest, equals + 1);
        let quote = *rest.get(open).ok_or(Trouble::More)?;
        if !matches!(quote, b'"' | b'\'') {
            return Err(resumed(rest, open, "The value of an attribute has no quotes."));
        }
        let (from, mut at, mut references) = (open + 1, open + 1, false);
        let close = loop {
            let found = at + memchr3(quote, b'<', b'&', &rest[at..]).ok_or(Trouble::More)?;
            match rest[found] {
                b'&' => {
                    references = true;
                    at = found + 1;
                }
                b'<' => return Err(Trouble::Broken(found, "The value of an attribute does not end.")),
                _ => break found,
            }
        };
        if self.attributes.len() >= MAX_ATTRIBUTES {
            return Err(resumed(rest, close + 1, "It has more than 64 attributes."));
        }
        let name = (start as u32, end as u32);
        if self.attributes.iter().any(|other| piece(rest, other.name) == &rest[start..end]) {
            return Err(resumed(rest, close + 1, "An attribute stands twice."));
        }
        self.attributes.push(Attribute { name, value: (from as u32, close as u32), references });
        Ok(close + 1)
    }
}

pub(super) fn piece(token: &[u8], (from, to): (u32, u32)) -> &[u8] {
    &token[from as usize..to as usize]
}

/// The end of a name of ASCII letters, which is all that Apple writes.
fn named(rest: &[u8], start: usize) -> Result<usize, Trouble> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    let length = rest[start..].iter().position(|byte| !is_name(byte)).ok_or(Trouble::More)?;
    if length == 0 { Err(resumed(rest, start, "A name is not well-formed.")) } else { Ok(start + length) }
}

fn spaces(rest: &[u8], start: usize) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    rest[start..].iter().position(|byte| !is_space(byte)).map_or(rest.len(), |length| start + length)
}

/// Behind the broken tag, or at the next one.
fn resumed(rest: &[u8], from: usize, why: &'static str) -> Trouble {
    match memchr2(b'>', b'<', &rest[from..]) {
        Some(found) => Trouble::Broken(from + found + usize::from(rest[from + found] == b'>'), why),
        None => Trouble::More,
    }
}

/// The end of a comment, a section of characters, or a declaration with whatever it holds.
///
/// Some versions of the phone write a subset that is not well-formed itself, so that nothing but its end is looked for.
fn declaration(rest: &[u8]) -> Result<usize, Trouble> {
    let until = |end: &[u8]| memmem::find(rest, end).map(|at| at + end.len()).ok_or(Trouble::More);
    if rest.starts_with(b"<!--") {
        return memmem::find(&rest[4..], b"-->").map(|at| at + 7).ok_or(Trouble::More);
    }
    if rest.starts_with(b"<![CDATA[") {
        return until(b"]]>");
    }
    if rest.len() < b"<![CDATA[".len() && !rest.contains(&b'>') {
        return Err(Trouble::More);
    }
    let mut at = 2;
    let mut inside = false;
    while let Some(found) = rest.get(at..).and_then(|rest| rest.iter().position(|byte| b"[]><".contains(byte))) {
        at += found;
        match rest[at] {
            b'[' => inside = true,
            b']' => {
                let after = spaces(rest, at + 1);
                match rest.get(after) {
                    Some(b'>') => return Ok(after + 1),
                    Some(_) => {}
                    None => return Err(Trouble::More),
                }
            }
            b'>' if !inside => return Ok(at + 1),
            b'<' if rest[at..].starts_with(b"<!--") => match memmem::find(&rest[at + 4..], b"-->") {
                Some(end) => at += end + 6,
                None => return Err(Trouble::More),
            },
            b'<' if rest.len() - at < 4 => return Err(Trouble::More),
            _ => {}
        }
        at += 1;
    }
    Err(Trouble::More)
}

/// The name in a tag that could not be read to its end.
pub(super) fn name_of(token: &[u8]) -> &[u8] {
    let name = token.strip_prefix(b"<").unwrap_or(token);
    let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(name.len());
    &name[..end]
}
