//! XML to the tree.
//!
//! Two steps: tokens become elements with their shapes, in the order sent, and elements become the same nodes that
//! JSON becomes, so that nobody above sees which format it was, but for positions, which are those of the XML. What is
//! well-formed but no FHIR (text, stray attributes, wrong namespace, wrong order) is noted and reading goes on; what
//! only the definitions forbid stays in the tree for the validator to find.

use std::ops::Range;

use super::build::Builder;
use super::scan::{Attribute, Scanner, Tag, Token, split};
use super::shape::{Form, Shape, Shapes};
use super::{FHIR, MAX_BYTES, XHTML, narrative, syntax};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::ruler::position_at;
use crate::fhir::tree::{MAX_DEPTH, MAX_MEMBERS, Reading};

/// Most mistakes that are noted.
const MAX_ISSUES: usize = 100;

/// Reads one FHIR resource in XML.
pub fn read<S: Shapes>(bytes: &[u8], shapes: &S) -> Reading {
    match attempt(bytes, shapes) {
        Ok(reading) => reading,
        Err(issue) => Reading { document: None, issues: vec![issue] },
    }
}

fn attempt<S: Shapes>(bytes: &[u8], shapes: &S) -> Result<Reading, Issue> {
    if bytes.len() > MAX_BYTES {
        return Err(Issue::new(Id::BodyTooLarge, "", "The XML text is longer than 16 MiB."));
    }
    let source = decode(bytes)?;
    let mut reader = Reader {
        source,
        shapes,
        scanner: Scanner::new(source)?,
        items: Vec::with_capacity(source.len() / 40 + 8),
        open: Vec::with_capacity(16),
        spaces: Vec::new(),
        issues: Vec::new(),
    };
    match reader.run() {
        Ok(()) => {
            let Reader { items, issues, .. } = reader;
            let document = Builder::new(source, items).document();
            Ok(Reading { document: Some(document), issues })
        }
        // What was noted before still holds.
        Err(issue) => {
            reader.issues.push(issue);
            Ok(Reading { document: None, issues: reader.issues })
        }
    }
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

/// Index of an item among the items.
pub(super) type ItemId = usize;

/// An element as it was sent.
pub(super) struct Item<'s> {
    pub name: &'s str,
    pub offset: usize,
    pub kind: ItemKind,
    pub repeats: bool,
    /// The value attribute, references unread; of a narrative the whole element.
    pub value: Option<Text<'s>>,
    pub attributes: Vec<(&'s str, Text<'s>)>,
    /// Names of the children in the order they came first, each with its first item.
    pub groups: Vec<Group<'s>>,
    /// The next of the same name.
    pub next: Option<ItemId>,
}

pub(super) struct Group<'s> {
    pub name: &'s str,
    pub first: ItemId,
    last: ItemId,
    count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemKind {
    Text,
    Number,
    Boolean,
    Narrative,
    Complex,
    /// A resource; its name is its type.
    Resource,
    /// An element around a resource.
    Holder,
    /// Not defined here: kept by name, so that it can be complained about.
    Unknown,
}

/// A piece of the source, or text made from it.
pub(super) enum Text<'s> {
    Source { offset: usize, text: &'s str },
    Made { offset: usize, text: String },
}

struct Open<'s, I> {
    item: ItemId,
    inside: Option<I>,
    /// Length of the name without a choice's type, and index where the element repeats: for expressions.
    name: usize,
    index: Option<u32>,
    place: usize,
    /// Depth that the tree will have here.
    depth: usize,
    element: &'s str,
}

struct Reader<'s, 'p, S: Shapes> {
    source: &'s str,
    shapes: &'p S,
    scanner: Scanner<'s>,
    items: Vec<Item<'s>>,
    open: Vec<Open<'s, S::Inside>>,
    /// Namespaces in force: depth of declaration, prefix, name.
    spaces: Vec<(usize, &'s str, &'s str)>,
    issues: Vec<Issue>,
}

impl<'s, S: Shapes> Reader<'s, '_, S> {
    fn run(&mut self) -> Result<(), Issue> {
        while let Some(token) = self.scanner.next()? {
            match token {
                Token::Open(tag) => self.element(tag)?,
                Token::Close => {
                    self.open.pop();
                    self.forget();
                }
                Token::Text => {
                    let said = &self.source[self.scanner.start..self.scanner.end()];
                    let offset = self.scanner.start + said.len() - said.trim_ascii_start().len();
                    let text = "Text stands where FHIR has none; values are attributes.";
                    self.note(Id::XmlText, offset, text);
                }
                Token::Comment => {}
                Token::Instruction => {
                    self.note(Id::XmlInstruction, self.scanner.start, "A resource holds no processing instructions.");
                }
            }
        }
        Ok(())
    }

    /// Notes a mistake about the element that is open.
    fn note(&mut self, id: Id, offset: usize, text: impl Into<String>) {
        if self.issues.len() < MAX_ISSUES {
            self.issues.push(Issue::new(id, self.expression(), text).at(position_at(self.source, offset)));
        }
    }

    fn expression(&self) -> String {
        let mut out = String::new();
        for (at, open) in self.open.iter().enumerate() {
            // The resource inside an element is not a step of its own.
            if at > 0 && self.items[open.item].kind == ItemKind::Resource {
                continue;
            }
            let (name, suffix) = open.element.split_at(open.name);
            out.push_str(if out.is_empty() { "" } else { "." });
            out.push_str(name);
            if let Some(index) = open.index {
                out.extend(["[", &index.to_string(), "]"]);
            }
            if !suffix.is_empty() {
                let typed = self.items[open.item].kind;
                let mut letters = suffix.chars();
                let first = letters.next().map(|first| match typed {
                    ItemKind::Complex => first,
                    _ => first.to_ascii_lowercase(),
                });
                out.push_str(".ofType(");
                out.extend(first.into_iter().chain(letters));
                out.push(')');
            }
        }
        out
    }

    fn element(&mut self, mut tag: Tag<'s>) -> Result<(), Issue> {
        let start = self.scanner.start;
        let depth = self.open.len();
        for attribute in &tag.attributes {
            let (prefix, local) = split(attribute.name);
            if attribute.name == "xmlns" {
                self.spaces.push((depth, "", attribute.value));
            } else if prefix == "xmlns" {
                self.spaces.push((depth, local, attribute.value));
            }
        }
        tag.attributes.retain(|each| each.name != "xmlns" && !each.name.starts_with("xmlns:"));
        let (prefix, name) = split(tag.name);
        let space = self.spaces.iter().rev().find(|(_, known, _)| *known == prefix).map(|(_, _, space)| *space);
        match self.open.last() {
            None => self.root(&tag, name, space, start),
            Some(parent) => {
                let parent_kind = self.items[parent.item].kind;
                match parent_kind {
                    ItemKind::Unknown => self.skip(),
                    ItemKind::Holder => self.held(&tag, name, space, start),
                    _ => self.child(&tag, name, space, start),
                }
            }
        }
    }

    fn root(&mut self, tag: &Tag<'s>, name: &'s str, space: Option<&str>, start: usize) -> Result<(), Issue> {
        if !is_resource(name) {
            return Err(self.scanner.refuse(start, "the outermost element is not a resource"));
        }
        if space != Some(FHIR) {
            return Err(self.scanner.refuse(start, "the outermost element is not in the namespace of FHIR"));
        }
        self.resource(tag, name, start, 1);
        Ok(())
    }

    /// A resource, outermost or inside an element.
    fn resource(&mut self, tag: &Tag<'s>, name: &'s str, start: usize, depth: usize) -> ItemId {
        let inside = self.shapes.resource(name);
        let item = self.add(name, start, ItemKind::Resource, false);
        self.open.push(Open { item, inside, name: name.len(), index: None, place: 0, depth, element: name });
        for attribute in &tag.attributes {
            self.note(Id::XmlAttribute, attribute.offset, "A resource has no attributes; its id is an element.");
        }
        item
    }

    fn held(&mut self, tag: &Tag<'s>, name: &'s str, space: Option<&str>, start: usize) -> Result<(), Issue> {
        let Some((holder, depth)) = self.open.last().map(|open| (open.item, open.depth)) else { return Ok(()) };
        if !is_resource(name) || !self.items[holder].groups.is_empty() {
            self.note(Id::XmlText, start, "Exactly one resource stands in this element.");
            return self.skip();
        }
        if space != Some(FHIR) {
            self.note(Id::XmlNamespace, start, "A resource is in the namespace of FHIR.");
        }
        let item = self.resource(tag, name, start, depth);
        self.items[holder].groups.push(Group { name, first: item, last: item, count: 1 });
        Ok(())
    }

    fn child(&mut self, tag: &Tag<'s>, name: &'s str, space: Option<&str>, start: usize) -> Result<(), Issue> {
        let Some(parent) = self.open.last() else { return Ok(()) };
        let (holder, outer) = (parent.item, parent.depth);
        // An undefined resource type has no defined children, and only the type is wrong.
        let Some(inside) = parent.inside else { return self.skip() };
        let shape = self.shapes.child(inside, name).filter(|shape| !shape.attribute);
        let Some(shape) = shape else { return self.unknown(name, start, holder) };
        let depth = outer + 1 + usize::from(shape.repeats);
        if depth > MAX_DEPTH {
            return Err(self.scanner.refuse(start, "it nests more than 64 levels deep"));
        }
        let (kind, inside) = match shape.form {
            Form::Text => (ItemKind::Text, Some(self.shapes.primitive())),
            Form::Number => (ItemKind::Number, Some(self.shapes.primitive())),
            Form::Boolean => (ItemKind::Boolean, Some(self.shapes.primitive())),
            Form::Narrative => (ItemKind::Narrative, None),
            Form::Complex(inside) => (ItemKind::Complex, Some(inside)),
            Form::Resource => (ItemKind::Holder, None),
        };
        let item = self.add(name, start, kind, shape.repeats);
        let index = self.join(holder, name, item, start)?;
        let index = shape.repeats.then_some(index);
        let before = self.open.last().map_or(0, |parent| parent.place);
        self.open.push(Open { item, inside, name: shape.name, index, place: 0, depth, element: name });
        let expected = if kind == ItemKind::Narrative { XHTML } else { FHIR };
        if space != Some(expected) {
            self.note(Id::XmlNamespace, start, format!("The element belongs into the namespace {expected}."));
        }
        if shape.place < before {
            self.note(Id::XmlOrder, start, "The element stands after one that the definition lists later.");
        }
        let parent = self.open.len() - 2;
        self.open[parent].place = shape.place;
        if kind == ItemKind::Narrative {
            return self.narrative(item, tag, start);
        }
        self.attributes(item, tag, inside, shape);
        Ok(())
    }

    /// Takes the attributes of an element: the value of a primitive, and what the definition writes as attributes.
    fn attributes(&mut self, item: ItemId, tag: &Tag<'s>, inside: Option<S::Inside>, shape: Shape<S::Inside>) {
        for Attribute { name, value, offset } in &tag.attributes {
            let text = Text::Source { offset: *offset, text: value };
            let is_primitive = matches!(shape.form, Form::Text | Form::Number | Form::Boolean);
            if is_primitive && *name == "value" {
                self.items[item].value = Some(text);
            } else if inside.and_then(|inside| self.shapes.child(inside, name)).is_some_and(|child| child.attribute) {
                self.items[item].attributes.push((name, text));
            } else {
                self.note(Id::XmlAttribute, *offset, "The element has no such attribute.");
            }
        }
    }

    /// An element that is not defined. Names that mean something in JSON alone are not taken into the tree.
    fn unknown(&mut self, name: &'s str, start: usize, holder: ItemId) -> Result<(), Issue> {
        if name == "resourceType" || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            self.note(Id::ElementUnknown, start, "The element is not one that FHIR defines here.");
            return self.skip();
        }
        let item = self.add(name, start, ItemKind::Unknown, false);
        self.join(holder, name, item, start)?;
        self.skip()
    }

    /// Passes over the element that was just opened.
    fn skip(&mut self) -> Result<(), Issue> {
        let depth = self.scanner.depth();
        let (outer, before) = (depth - 1, self.open.len());
        while self.scanner.depth() > outer {
            if self.scanner.next()?.is_none() {
                break;
            }
        }
        self.spaces.retain(|(at, _, _)| *at < before);
        Ok(())
    }

    /// The element that was just opened is a narrative: its source is its value.
    fn narrative(&mut self, item: ItemId, tag: &Tag<'s>, start: usize) -> Result<(), Issue> {
        let mut plain = split(tag.name).0.is_empty();
        let outer = self.scanner.depth() - 1;
        while self.scanner.depth() > outer {
            match self.scanner.next()? {
                Some(Token::Open(inner)) => {
                    plain &= split(inner.name).0.is_empty() && !inner.attributes.iter().any(leans);
                }
                Some(_) => {}
                None => break,
            }
        }
        let range: Range<usize> = start..self.scanner.end();
        let source = &self.source[range];
        plain &= !tag.attributes.iter().any(leans) && narrative::declares(source);
        self.items[item].value = Some(if plain && !source.contains('\r') {
            Text::Source { offset: start, text: source }
        } else if plain {
            Text::Made { offset: start, text: source.replace("\r\n", "\n").replace('\r', "\n") }
        } else {
            Text::Made { offset: start, text: narrative::freed(source)? }
        });
        self.open.pop();
        self.forget();
        Ok(())
    }

    /// Namespaces declared inside what has ended no longer hold.
    fn forget(&mut self) {
        let depth = self.open.len();
        while self.spaces.last().is_some_and(|(at, _, _)| *at >= depth) {
            self.spaces.pop();
        }
    }

    fn add(&mut self, name: &'s str, offset: usize, kind: ItemKind, repeats: bool) -> ItemId {
        self.items.push(Item {
            name,
            offset,
            kind,
            repeats,
            value: None,
            attributes: Vec::new(),
            groups: Vec::new(),
            next: None,
        });
        self.items.len() - 1
    }

    /// Makes an item the last of its name inside its holder. Gives its index.
    fn join(&mut self, holder: ItemId, name: &'s str, item: ItemId, start: usize) -> Result<u32, Issue> {
        let groups = &mut self.items[holder].groups;
        // Mostly the same name goes on.
        let known = match groups.last() {
            Some(last) if last.name == name => Some(groups.len() - 1),
            _ => groups.iter().position(|group| group.name == name),
        };
        if let Some(at) = known {
            let group = &mut groups[at];
            let (before, index) = (group.last, group.count);
            group.last = item;
            group.count += 1;
            self.items[before].next = Some(item);
            return Ok(index);
        }
        if groups.len() >= MAX_MEMBERS as usize {
            return Err(self.scanner.refuse(start, "an element has more than 256 different children"));
        }
        groups.push(Group { name, first: item, last: item, count: 1 });
        Ok(0)
    }
}

/// Resource types begin with a capital letter (R4 §2.6.1).
fn is_resource(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
}

/// Whether an attribute means nothing once its element is cut out.
fn leans(attribute: &Attribute<'_>) -> bool {
    let prefix = split(attribute.name).0;
    !matches!(prefix, "" | "xml")
}
