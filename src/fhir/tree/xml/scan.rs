//! Reads XML far enough to trust it: tags balance, names and references are well-formed, limits hold.
//!
//! Document type declarations are refused and not skipped, since every known attack on readers of XML (external
//! entities, exponential expansion) begins with one. The result is a clean copy without declaration, comments,
//! processing instructions and narrative, so that what reads it next meets tags, attributes and nothing else.
//! One pass, no recursion. It does not know FHIR beyond this: resources begin with a capital, elements carry
//! `id`, `url` and `value`, and narrative is a `div` (FHIR R4 §2.6.1).

use std::ops::Range;

use super::{Count, XHTML, placeholder, syntax};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::MAX_DEPTH;
use crate::fhir::tree::document::position_at;

/// Most attributes of one element; namespace declarations count.
const MAX_ATTRIBUTES: usize = 16;

pub(super) struct Scanned {
    /// The text with a numbered placeholder for each narrative.
    pub clean: String,
    /// Where the narratives stand in the source.
    pub narratives: Vec<Range<usize>>,
    pub count: Count,
}

/// Scans one resource.
pub(super) fn resource(source: &str) -> Result<Scanned, Issue> {
    let mut scanner = Scanner::new(source);
    scanner.run()?;
    Ok(Scanned { clean: scanner.clean, narratives: scanner.narratives, count: scanner.count })
}

/// Scans one narrative as it stands in a JSON string, and gives it back fit for XML: the one HTML entity that
/// narratives are full of has no meaning in XML without a document type and becomes its character.
pub(super) fn narrative(source: &str) -> Result<String, Issue> {
    let source = source.trim().replace("&nbsp;", "&#160;");
    let mut scanner = Scanner::new(&source);
    scanner.run()?;
    match scanner.narratives.as_slice() {
        [whole] if *whole == (0..source.len()) => Ok(source),
        _ => Err(syntax("a narrative is not one XHTML div element")),
    }
}

/// Whether XML 1.0 allows the character (§2.2).
pub(super) fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

struct Open<'s> {
    name: &'s str,
    children: u32,
    holds_resource: bool,
}

struct Scanner<'s> {
    source: &'s str,
    at: usize,
    stack: Vec<Open<'s>>,
    ended: bool,
    /// Start of the narrative that is open, and the depth at which it stands.
    narrative: Option<(usize, usize)>,
    clean: String,
    narratives: Vec<Range<usize>>,
    count: Count,
}

struct Tag<'s> {
    name: &'s str,
    attributes: Vec<(&'s str, &'s str)>,
    empty: bool,
}

impl<'s> Scanner<'s> {
    fn new(source: &'s str) -> Self {
        Scanner {
            source,
            at: 0,
            stack: Vec::new(),
            ended: false,
            narrative: None,
            clean: String::with_capacity(source.len()),
            narratives: Vec::new(),
            count: Count::default(),
        }
    }

    fn run(&mut self) -> Result<(), Issue> {
        if let Some(offset) = self.source.char_indices().find(|(_, c)| !is_character(*c)).map(|(at, _)| at) {
            return Err(self.refuse(offset, "a character is not allowed in XML"));
        }
        if self.rest().starts_with("<?xml") {
            self.declaration()?;
        }
        while self.at < self.source.len() {
            let rest = self.rest();
            if rest.starts_with("<!--") {
                self.skip("<!--", "-->")?;
            } else if rest.starts_with("<![CDATA[") && self.narrative.is_some() {
                self.skip("<![CDATA[", "]]>")?;
            } else if rest.starts_with("<!") {
                return Err(Issue::new(Id::XmlDoctype, "", "The XML text contains a document type declaration.")
                    .at(position_at(self.source, self.at)));
            } else if rest.starts_with("<?") {
                return Err(self.refuse(self.at, "processing instructions are not read"));
            } else if rest.starts_with("</") {
                self.close()?;
            } else if rest.starts_with('<') {
                self.open()?;
            } else {
                self.text()?;
            }
        }
        match (self.stack.is_empty(), self.ended) {
            (true, true) => Ok(()),
            (true, false) => Err(self.refuse(self.at, "there is no element")),
            _ => Err(self.refuse(self.at, "the text ends before its elements do")),
        }
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn refuse(&self, offset: usize, what: &str) -> Issue {
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

    fn text(&mut self) -> Result<(), Issue> {
        let text = self.rest().split('<').next().unwrap_or_default();
        if self.narrative.is_some() {
            self.references(text, self.at)?;
        } else if !text.chars().all(|c| c.is_ascii_whitespace()) {
            return Err(self.refuse(self.at, "text stands outside of the narrative"));
        }
        self.at += text.len();
        Ok(())
    }

    fn open(&mut self) -> Result<(), Issue> {
        let start = self.at;
        let tag = self.tag()?;
        if self.ended {
            return Err(self.refuse(start, "there is more than one resource"));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.refuse(start, "it nests more than 64 levels deep"));
        }
        if self.narrative.is_some() {
            self.narrative_tag(&tag, start)?;
        } else if local(tag.name) == "div" {
            self.narrative_tag(&tag, start)?;
            if !tag.attributes.iter().any(|(name, value)| *name == "xmlns" && *value == XHTML) {
                return Err(self.refuse(start, "a div does not declare the XHTML namespace"));
            }
            self.count.elements += 1;
            self.narrative = Some((start, self.stack.len()));
        } else {
            self.element_tag(&tag, start)?;
        }
        if let Some(parent) = self.stack.last_mut() {
            parent.children += 1;
        }
        self.stack.push(Open { name: tag.name, children: 0, holds_resource: false });
        if tag.empty {
            self.leave();
        }
        Ok(())
    }

    /// A resource may stand only at the root or alone inside an element: fhirbolt would take it for its parent.
    fn element_tag(&mut self, tag: &Tag<'s>, start: usize) -> Result<(), Issue> {
        let is_resource = local(tag.name).starts_with(|first: char| first.is_ascii_uppercase());
        if !local(tag.name).chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(self.refuse(start, "an element has a name that FHIR does not know"));
        }
        match self.stack.last_mut() {
            None if !is_resource => return Err(self.refuse(start, "the outermost element is not a resource")),
            Some(parent) => {
                let inside_resource = local(parent.name).starts_with(|first: char| first.is_ascii_uppercase());
                if parent.holds_resource || (is_resource && (inside_resource || parent.children > 0)) {
                    return Err(self.refuse(start, "a resource stands where none may, or not alone"));
                }
                parent.holds_resource = is_resource;
            }
            None => {}
        }
        self.count.elements += 1;
        self.clean.push('<');
        self.clean.push_str(tag.name);
        for (name, value) in &tag.attributes {
            let declares = *name == "xmlns" || name.starts_with("xmlns:");
            if name.starts_with("xsi:") {
                continue;
            }
            if !declares && !matches!(*name, "id" | "url" | "value") {
                return Err(self.refuse(start, "an element has an attribute other than id, url and value"));
            }
            if is_resource && !declares {
                return Err(self.refuse(start, "a resource has its id as an element, not as an attribute"));
            }
            self.count.attributes += usize::from(!declares);
            let quote = if value.contains('"') { '\'' } else { '"' };
            self.clean.extend([' ']);
            self.clean.push_str(name);
            self.clean.extend(['=', quote]);
            // XML 1.0 §3.3.3: literal white space in an attribute is a space.
            self.clean.push_str(&value.replace("\r\n", " ").replace(['\n', '\r', '\t'], " "));
            self.clean.push(quote);
        }
        self.clean.push_str(if tag.empty { "/>" } else { ">" });
        Ok(())
    }

    /// A narrative must mean the same when it is cut out, so it may lean on no prefix declared around it.
    fn narrative_tag(&self, tag: &Tag<'s>, start: usize) -> Result<(), Issue> {
        let leans = |name: &str| name.contains(':') && !matches!(name, "xml:lang" | "xml:space");
        let foreign = |(name, value): &(&str, &str)| leans(name) || (*name == "xmlns" && *value != XHTML);
        if leans(tag.name) || tag.attributes.iter().any(foreign) {
            return Err(self.refuse(start, "a narrative uses prefixes or namespaces other than XHTML"));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Issue> {
        let start = self.at;
        let end = self.rest().find('>').ok_or_else(|| self.refuse(start, "an end tag does not end"))?;
        let name = self.rest()[2..end].trim_ascii_end();
        if self.stack.last().is_none_or(|open| open.name != name) {
            return Err(self.refuse(start, "an end tag does not match its start tag"));
        }
        self.at += end + 1;
        if self.narrative.is_none() {
            self.clean.push_str("</");
            self.clean.push_str(name);
            self.clean.push('>');
        }
        self.leave();
        Ok(())
    }

    /// The innermost element has ended.
    fn leave(&mut self) {
        self.stack.pop();
        self.ended = self.stack.is_empty();
        if let Some((start, depth)) = self.narrative
            && depth == self.stack.len()
        {
            self.clean.push_str(&placeholder(self.narratives.len()));
            self.narratives.push(start..self.at);
            self.narrative = None;
        }
    }

    fn tag(&mut self) -> Result<Tag<'s>, Issue> {
        let start = self.at;
        self.at += 1;
        let name = self.name()?;
        let mut attributes: Vec<(&str, &str)> = Vec::new();
        loop {
            let spaced = self.spaces();
            let rest = self.rest();
            if rest.starts_with("/>") || rest.starts_with('>') {
                let empty = rest.starts_with('/');
                self.at += if empty { 2 } else { 1 };
                return Ok(Tag { name, attributes, empty });
            }
            if !spaced {
                return Err(self.refuse(start, "a tag is not well-formed"));
            }
            let (key, value) = self.attribute()?;
            if attributes.len() >= MAX_ATTRIBUTES {
                return Err(self.refuse(start, "an element has more than 16 attributes"));
            }
            if attributes.iter().any(|(other, _)| *other == key) {
                return Err(self.refuse(start, "an attribute stands twice"));
            }
            attributes.push((key, value));
        }
    }

    fn attribute(&mut self) -> Result<(&'s str, &'s str), Issue> {
        let start = self.at;
        let key = self.name()?;
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
        self.references(value, self.at + 1)?;
        self.at += value.len() + 2;
        Ok((key, value))
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

fn local(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, local)| local)
}

fn is_reference(name: &str) -> bool {
    let number = match name.strip_prefix("#x") {
        Some(hex) => Some((hex, 16)),
        None => name.strip_prefix('#').map(|decimal| (decimal, 10)),
    };
    match number {
        Some((digits, radix)) => {
            digits.chars().all(|c| c.is_digit(radix))
                && u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).is_some_and(is_character)
        }
        None => matches!(name, "amp" | "lt" | "gt" | "quot" | "apos"),
    }
}
