//! XML as XML: elements, text and comments as they stand, for whoever changes a document instead of reading a resource.

use std::fmt::Write;

use super::scan::{Scanner, Token, split, unescape};
use crate::fhir::outcome::Issue;

/// A node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Markup {
    Element(Tag),
    Text(String),
    Comment(String),
    Instruction(String),
}

/// An element. Its namespace is resolved, so that it means the same wherever it is put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    /// As written, prefix included.
    pub name: String,
    pub space: String,
    /// Attributes, declarations of namespaces included, references read.
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Markup>,
}

impl Tag {
    /// The outermost element of a document.
    pub fn parse(source: &str) -> Result<Tag, Issue> {
        let mut scanner = Scanner::with_comments(source)?;
        let mut open: Vec<Tag> = Vec::new();
        let mut spaces: Vec<(usize, String, String)> = Vec::new();
        let mut end = 0;
        let mut root = None;
        while let Some(token) = scanner.next()? {
            // What lies between two tokens is white space, which is text here.
            if let Some(parent) = open.last_mut().filter(|_| scanner.start > end) {
                parent.add(&source[end..scanner.start], false);
            }
            let said = &source[scanner.start..scanner.end()];
            match token {
                Token::Open(tag) => {
                    let mut attributes = Vec::with_capacity(tag.attributes.len());
                    for attribute in &tag.attributes {
                        let mut value = String::new();
                        unescape(attribute.value, true, &mut value);
                        let (prefix, local) = split(attribute.name);
                        if attribute.name == "xmlns" || prefix == "xmlns" {
                            let prefix = if prefix.is_empty() { "" } else { local };
                            spaces.push((open.len(), prefix.to_owned(), value.clone()));
                        }
                        attributes.push((attribute.name.to_owned(), value));
                    }
                    let prefix = split(tag.name).0;
                    let space = spaces.iter().rev().find(|(_, known, _)| known == prefix);
                    let space = space.map(|(_, _, space)| space.clone()).unwrap_or_default();
                    open.push(Tag { name: tag.name.to_owned(), space, attributes, children: Vec::new() });
                }
                Token::Close => {
                    let Some(tag) = open.pop() else { break };
                    spaces.retain(|(at, ..)| *at < open.len());
                    match open.last_mut() {
                        Some(parent) => parent.children.push(Markup::Element(tag)),
                        None => root = Some(tag),
                    }
                }
                Token::Text => {
                    let raw = said.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>"));
                    if let Some(parent) = open.last_mut() {
                        parent.add(raw.unwrap_or(said), raw.is_some());
                    }
                }
                Token::Comment => {
                    let text = said.trim_start_matches("<!--").trim_end_matches("-->").to_owned();
                    open.last_mut().into_iter().for_each(|parent| parent.children.push(Markup::Comment(text.clone())));
                }
                Token::Instruction => {
                    let text = said.trim_start_matches("<?").trim_end_matches("?>").to_owned();
                    let text = Markup::Instruction(text);
                    open.last_mut().into_iter().for_each(|parent| parent.children.push(text.clone()));
                }
            }
            end = scanner.end();
        }
        root.ok_or_else(|| scanner.refuse(0, "there is no element"))
    }

    fn add(&mut self, text: &str, literal: bool) {
        if !matches!(self.children.last(), Some(Markup::Text(_))) {
            self.children.push(Markup::Text(String::new()));
        }
        if let Some(Markup::Text(out)) = self.children.last_mut() {
            if literal { out.push_str(text) } else { unescape(text, false, out) }
        }
    }

    /// Name without prefix.
    pub fn local(&self) -> &str {
        split(&self.name).1
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All text inside.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for child in &self.children {
            match child {
                Markup::Text(text) => out.push_str(text),
                Markup::Element(tag) => out.push_str(&tag.text()),
                Markup::Comment(_) | Markup::Instruction(_) => {}
            }
        }
        out
    }

    /// The document as text.
    pub fn document(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &mut Vec::new());
        out
    }

    fn write<'t>(&'t self, out: &mut String, spaces: &mut Vec<(&'t str, &'t str)>) {
        let before = spaces.len();
        out.extend(["<", &self.name]);
        for (name, value) in &self.attributes {
            let (prefix, local) = split(name);
            if name == "xmlns" || prefix == "xmlns" {
                spaces.push((if prefix.is_empty() { "" } else { local }, value));
            }
            out.extend([" ", name, "=\""]);
            escape(value, true, out);
            out.push('"');
        }
        let prefix = split(&self.name).0;
        let known = spaces.iter().rev().find(|(known, _)| *known == prefix).map_or("", |(_, space)| space);
        if known != self.space && prefix != "xml" {
            // Writing into a string does not fail.
            let _ = write!(out, " xmlns{}{prefix}=\"", if prefix.is_empty() { "" } else { ":" });
            escape(&self.space, true, out);
            out.push('"');
            spaces.push((prefix, &self.space));
        }
        if self.children.is_empty() {
            out.push_str("/>");
        } else {
            out.push('>');
            for child in &self.children {
                match child {
                    Markup::Element(tag) => tag.write(out, spaces),
                    Markup::Text(text) => escape(text, false, out),
                    Markup::Comment(text) => out.extend(["<!--", text, "-->"]),
                    Markup::Instruction(text) => out.extend(["<?", text, "?>"]),
                }
            }
            out.extend(["</", &self.name, ">"]);
        }
        spaces.truncate(before);
    }
}

/// In an attribute white space other than a space is written as a reference, or it would come back as one.
fn escape(text: &str, attribute: bool, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if attribute => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_stands() {
        let text = "<a xmlns=\"u\" b=\"&lt;\">x <!-- c --> <p:d xmlns:p=\"v\"/><?e f?>&amp;</a>";
        let tag = Tag::parse(text).unwrap();
        assert_eq!(tag.document(), text);
        let inner = tag.children.iter().find_map(|child| match child {
            Markup::Element(tag) => Some((tag.local(), tag.space.as_str())),
            _ => None,
        });
        assert_eq!((inner, tag.text().as_str()), (Some(("d", "v")), "x  &"));
    }

    #[test]
    fn means_the_same_elsewhere() {
        let mut target = Tag::parse("<f:a xmlns:f=\"u\"/>").unwrap();
        target.children = Tag::parse("<b xmlns=\"w\"><c/></b>").unwrap().children;
        assert_eq!(target.document(), "<f:a xmlns:f=\"u\"><c xmlns=\"w\"/></f:a>");
    }
}
