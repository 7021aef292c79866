//! XML text to tokens: tags balance, names and references are well-formed, limits hold.
//!
//! Document type declarations are refused and not skipped, since every known attack on readers of XML (external
//! entities, exponential expansion) begins with one. One pass, no recursion, slices of the source and no copies. It
//! knows nothing of FHIR, and stops at the first mistake: after it, what is a tag and what is text is guesswork.

use super::syntax;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::ruler::position_at;

/// Most attributes of one element; namespace declarations count.
const MAX_ATTRIBUTES: usize = 16;

/// Deepest nesting of tags, narrative included.
const MAX_TAGS: usize = 256;

/// One token with the byte at which it begins.
pub(super) enum Token<'s> {
    Open(Tag<'s>),
    /// The end of the innermost element; also after the start of an empty one.
    Close,
    /// Text between tags, references unread; also what a CDATA section holds.
    Text,
    /// Told to those who ask for comments.
    Comment,
    Instruction,
}

pub(super) struct Tag<'s> {
    pub name: &'s str,
    pub attributes: Vec<Attribute<'s>>,
}

pub(super) struct Attribute<'s> {
    pub name: &'s str,
    /// As written: references unread.
    pub value: &'s str,
    /// Where the value stands.
    pub offset: usize,
}

/// Reads tokens one by one.
pub(super) struct Scanner<'s> {
    source: &'s str,
    at: usize,
    /// Start of the token read last.
    pub start: usize,
    stack: Vec<&'s str>,
    /// The start tag read last was an empty element's, whose end is still to be told.
    closes: bool,
    ended: bool,
    comments: bool,
}

/// Whether XML 1.0 allows the character (§2.2).
pub(super) fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

impl<'s> Scanner<'s> {
    pub fn new(source: &'s str) -> Result<Self, Issue> {
        let mut scanner =
            Scanner { source, at: 0, start: 0, stack: Vec::new(), closes: false, ended: false, comments: false };
        if let Some(offset) = source.char_indices().find(|(_, c)| !is_character(*c)).map(|(at, _)| at) {
            return Err(scanner.refuse(offset, "a character is not allowed in XML"));
        }
        if source.starts_with("<?xml") {
            scanner.declaration()?;
        }
        Ok(scanner)
    }

    /// One that tells comments as well.
    pub fn with_comments(source: &'s str) -> Result<Self, Issue> {
        Scanner::new(source).map(|scanner| Scanner { comments: true, ..scanner })
    }

    /// The byte after the token read last.
    pub fn end(&self) -> usize {
        self.at
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.stack.len()
    }

    /// The next token; `None` at the end of a whole document. Comments and white space between tags are passed over.
    pub fn next(&mut self) -> Result<Option<Token<'s>>, Issue> {
        if std::mem::take(&mut self.closes) {
            self.leave();
            return Ok(Some(Token::Close));
        }
        while self.at < self.source.len() {
            self.start = self.at;
            let rest = self.rest();
            if !rest.starts_with('<') {
                self.at += rest.find('<').unwrap_or(rest.len());
                let text = &self.source[self.start..self.at];
                self.references(text, self.start)?;
                if text.chars().all(is_space) {
                    continue;
                }
                if self.stack.is_empty() {
                    return Err(self.refuse(self.start, "text stands outside of the resource"));
                }
                return Ok(Some(Token::Text));
            }
            if rest.starts_with("<!--") {
                self.skip("<!--", "-->")?;
                if self.comments && !self.stack.is_empty() {
                    return Ok(Some(Token::Comment));
                }
            } else if rest.starts_with("<![CDATA[") && !self.stack.is_empty() {
                self.skip("<![CDATA[", "]]>")?;
                return Ok(Some(Token::Text));
            } else if rest.starts_with("<!") {
                return Err(Issue::new(Id::XmlDoctype, "", "The XML text contains a document type declaration.")
                    .at(position_at(self.source, self.at)));
            } else if rest.starts_with("<?") {
                self.skip("<?", "?>")?;
                return Ok(Some(Token::Instruction));
            } else if rest.starts_with("</") {
                self.close()?;
                return Ok(Some(Token::Close));
            } else {
                return self.open().map(|tag| Some(Token::Open(tag)));
            }
        }
        match (self.stack.is_empty(), self.ended) {
            (true, true) => Ok(None),
            (true, false) => Err(self.refuse(self.at, "there is no element")),
            _ => Err(self.refuse(self.at, "the text ends before its elements do")),
        }
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    pub fn refuse(&self, offset: usize, what: &str) -> Issue {
        syntax(what).at(position_at(self.source, offset))
    }

    fn skip(&mut self, opening: &str, closing: &str) -> Result<(), Issue> {
        let inner = &self.rest()[opening.len()..];
        let end = inner.find(closing).ok_or_else(|| self.refuse(self.at, "a comment or section does not end"))?;
        self.at += opening.len() + end + closing.len();
        Ok(())
    }

    fn declaration(&mut self) -> Result<(), Issue> {
        let end = self.rest().find("?>").ok_or_else(|| self.refuse(self.at, "the XML declaration does not end"))?;
        let declared = &self.rest()["<?xml".len()..end];
        let bare: String = declared.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bare = bare.replace('\'', "\"").to_ascii_lowercase();
        let known = bare.strip_prefix("version=\"1.0\"").is_some_and(|after| {
            let after = after.strip_prefix("encoding=\"utf-8\"").unwrap_or(after);
            matches!(after, "" | "standalone=\"yes\"" | "standalone=\"no\"")
        });
        if !known {
            return Err(self.refuse(self.at, "only XML 1.0 in UTF-8 is read"));
        }
        self.at += end + "?>".len();
        Ok(())
    }

    fn open(&mut self) -> Result<Tag<'s>, Issue> {
        if self.ended {
            return Err(self.refuse(self.start, "there is more than one resource"));
        }
        if self.stack.len() >= MAX_TAGS {
            return Err(self.refuse(self.start, "its tags nest too deep"));
        }
        let tag = self.tag()?;
        self.stack.push(tag.name);
        Ok(tag)
    }

    fn close(&mut self) -> Result<(), Issue> {
        let end = self.rest().find('>').ok_or_else(|| self.refuse(self.start, "an end tag does not end"))?;
        let name = self.rest()[2..end].trim_ascii_end();
        if self.stack.last().is_none_or(|open| *open != name) {
            return Err(self.refuse(self.start, "an end tag does not match its start tag"));
        }
        self.at += end + 1;
        self.leave();
        Ok(())
    }

    /// The innermost element has ended.
    fn leave(&mut self) {
        self.stack.pop();
        self.ended = self.stack.is_empty();
    }

    fn tag(&mut self) -> Result<Tag<'s>, Issue> {
        let start = self.at;
        self.at += 1;
        let name = self.name()?;
        let mut attributes: Vec<Attribute<'s>> = Vec::new();
        loop {
            let spaced = self.spaces();
            let rest = self.rest();
            if rest.starts_with("/>") || rest.starts_with('>') {
                self.closes = rest.starts_with('/');
                self.at += if self.closes { 2 } else { 1 };
                return Ok(Tag { name, attributes });
            }
            if !spaced {
                return Err(self.refuse(start, "a tag is not well-formed"));
            }
            let attribute = self.attribute()?;
            if attributes.len() >= MAX_ATTRIBUTES {
                return Err(self.refuse(start, "an element has more than 16 attributes"));
            }
            if attributes.iter().any(|other| other.name == attribute.name) {
                return Err(self.refuse(start, "an attribute stands twice"));
            }
            attributes.push(attribute);
        }
    }

    fn attribute(&mut self) -> Result<Attribute<'s>, Issue> {
        let start = self.at;
        let name = self.name()?;
        self.spaces();
        let bad = |scanner: &Self| scanner.refuse(start, "an attribute is not well-formed");
        if !self.rest().starts_with('=') {
            return Err(bad(self));
        }
        self.at += 1;
        self.spaces();
        let quote = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(|| bad(self))?;
        let inner = &self.rest()[1..];
        let value = &inner[..inner.find(quote).ok_or_else(|| bad(self))?];
        if value.contains('<') {
            return Err(bad(self));
        }
        let offset = self.at + 1;
        self.references(value, offset)?;
        self.at += value.len() + 2;
        Ok(Attribute { name, value, offset })
    }

    fn name(&mut self) -> Result<&'s str, Issue> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let end = self.rest().find(|c: char| !allowed(c)).unwrap_or(self.rest().len());
        let name = &self.rest()[..end];
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts || name.ends_with(':') || name.matches(':').count() > 1 {
            return Err(self.refuse(self.at, "a name is not well-formed"));
        }
        self.at += end;
        Ok(name)
    }

    fn spaces(&mut self) -> bool {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
        trimmed.len() < rest.len()
    }

    fn references(&self, text: &str, offset: usize) -> Result<(), Issue> {
        for (at, _) in text.match_indices('&') {
            let known = text[at + 1..].split_once(';').is_some_and(|(name, _)| is_reference(name));
            if !known {
                return Err(self.refuse(offset + at, "a reference is neither to a character nor one of XML's own five"));
            }
        }
        Ok(())
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// Prefix and local part of a name.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

/// A text with its references read. In an attribute, white space is a space (XML 1.0 §3.3.3).
pub(super) fn unescape(text: &str, attribute: bool, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '\r', '\n', '\t']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest.as_bytes() {
            [b'\r', b'\n', ..] => 2,
            [b'&', ..] => rest.find(';').map_or(rest.len(), |end| end + 1),
            _ => 1,
        };
        let (part, after) = rest.split_at(end);
        match part.strip_prefix('&') {
            Some(name) => out.extend(character(name.trim_end_matches(';'))),
            None if attribute => out.push(' '),
            None => out.push(if part == "\t" { '\t' } else { '\n' }),
        }
        rest = after;
    }
    out.push_str(rest);
}

/// What a reference of that name stands for: XML's own five, and characters by number.
pub fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let (digits, radix) = digits.strip_prefix('x').map_or((digits, 10), |hex| (hex, 16));
            let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            plain.then(|| u32::from_str_radix(digits, radix).ok())?.and_then(char::from_u32)
        }
    }
}

fn is_reference(name: &str) -> bool {
    character(name).is_some_and(is_character)
}
