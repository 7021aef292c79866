//! The part of XPath 1.0 that a patch selects with (RFC 5261 §4.1): steps down by name, and predicates on position,
//! attributes and content.

use crate::fhir::tree::xml::{Markup, Tag};

/// A compiled selector.
#[derive(Debug)]
pub(super) struct Selector {
    steps: Vec<Step>,
    /// What is selected of the element that the steps lead to, if it is no node in it.
    pub part: Part,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Node,
    /// As written, prefix included.
    Attribute(String),
    /// The prefix.
    Namespace(String),
}

#[derive(Debug)]
struct Step {
    test: Test,
    predicates: Vec<Predicate>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Test {
    Any,
    Name { space: String, local: String },
    Text,
    Comment,
    Instruction(Option<String>),
}

#[derive(Debug)]
enum Predicate {
    Position(usize),
    Equals { names: Vec<Test>, attribute: Option<String>, value: String },
    Exists { names: Vec<Test>, attribute: Option<String> },
}

/// What a prefix stands for.
pub(super) type Spaces<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn parse(text: &str, spaces: Spaces<'_>) -> Option<Selector> {
    let mut parser = Parser { rest: text.trim().trim_start_matches('/'), spaces };
    let (mut steps, mut part) = (Vec::new(), Part::Node);
    loop {
        if parser.takes("@") {
            part = Part::Attribute(parser.name()?.to_owned());
            break;
        }
        if parser.takes("namespace::") {
            part = Part::Namespace(parser.name()?.to_owned());
            break;
        }
        let test = parser.test()?;
        let mut predicates = Vec::new();
        while parser.takes("[") {
            predicates.push(parser.predicate()?);
        }
        steps.push(Step { test, predicates });
        if !parser.takes("/") {
            break;
        }
    }
    (parser.rest.is_empty() && !steps.is_empty()).then_some(Selector { steps, part })
}

struct Parser<'p> {
    rest: &'p str,
    spaces: Spaces<'p>,
}

impl<'p> Parser<'p> {
    fn takes(&mut self, token: &str) -> bool {
        let found = self.rest.strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn name(&mut self) -> Option<&'p str> {
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn literal(&mut self) -> Option<&'p str> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, rest) = self.rest[1..].split_once(quote)?;
        self.rest = rest;
        Some(text)
    }

    fn test(&mut self) -> Option<Test> {
        if self.takes("*") {
            return Some(Test::Any);
        }
        if self.takes("text()") {
            return Some(Test::Text);
        }
        if self.takes("comment()") {
            return Some(Test::Comment);
        }
        if self.takes("processing-instruction(") {
            let target = self.literal().map(str::to_owned);
            return self.takes(")").then_some(Test::Instruction(target));
        }
        let name = self.name()?;
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let space = if prefix.is_empty() { String::new() } else { (self.spaces)(prefix)? };
        Some(Test::Name { space, local: local.to_owned() })
    }

    fn predicate(&mut self) -> Option<Predicate> {
        self.space();
        let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        if digits > 0 {
            let position = self.rest[..digits].parse().ok()?;
            self.rest = self.rest[digits..].trim_start();
            return self.takes("]").then_some(Predicate::Position(position));
        }
        let (mut names, mut attribute) = (Vec::new(), None);
        if !self.takes(".") {
            loop {
                if self.takes("@") {
                    attribute = Some(self.name()?.to_owned());
                    break;
                }
                names.push(self.test()?);
                if !self.takes("/") {
                    break;
                }
            }
        }
        self.space();
        if !self.takes("=") {
            return self.takes("]").then_some(Predicate::Exists { names, attribute });
        }
        self.space();
        let value = self.literal()?.to_owned();
        self.space();
        self.takes("]").then_some(Predicate::Equals { names, attribute, value })
    }
}

impl Selector {
    /// The places of the nodes that the steps lead to: indices of children, from the document down.
    pub fn select(&self, root: &Tag) -> Vec<Vec<usize>> {
        // The outermost element is the only child of the document.
        let mut found: Vec<Vec<usize>> = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let mut next = Vec::new();
            if at == 0 {
                let whole = [Markup::Element(root.clone())];
                next.extend(step.of(&whole).into_iter().map(|_| Vec::new()));
            } else {
                for place in &found {
                    let Some(tag) = element(root, place) else { continue };
                    next.extend(step.of(&tag.children).into_iter().map(|child| {
                        let mut place = place.clone();
                        place.push(child);
                        place
                    }));
                }
            }
            found = next;
        }
        found
    }
}

/// The element at a place; the empty one is the outermost.
fn element<'t>(root: &'t Tag, place: &[usize]) -> Option<&'t Tag> {
    place.iter().try_fold(root, |tag, index| match tag.children.get(*index)? {
        Markup::Element(tag) => Some(tag),
        _ => None,
    })
}

impl Step {
    /// Indices of the nodes that fit.
    fn of(&self, nodes: &[Markup]) -> Vec<usize> {
        let mut fitting: Vec<usize> = (0..nodes.len()).filter(|at| self.test.fits(&nodes[*at])).collect();
        for predicate in &self.predicates {
            fitting = match predicate {
                Predicate::Position(position) => {
                    position.checked_sub(1).and_then(|at| fitting.get(at)).copied().into_iter().collect()
                }
                other => fitting.into_iter().filter(|at| other.holds(&nodes[*at])).collect(),
            };
        }
        fitting
    }
}

impl Test {
    fn fits(&self, node: &Markup) -> bool {
        match (self, node) {
            (Test::Any, Markup::Element(_)) | (Test::Text, Markup::Text(_)) | (Test::Comment, Markup::Comment(_)) => {
                true
            }
            (Test::Name { space, local }, Markup::Element(tag)) => tag.local() == local && tag.space == *space,
            (Test::Instruction(target), Markup::Instruction(text)) => {
                target.as_ref().is_none_or(|target| text.split_whitespace().next() == Some(target.as_str()))
            }
            _ => false,
        }
    }
}

impl Predicate {
    fn holds(&self, node: &Markup) -> bool {
        match self {
            Predicate::Position(_) => true,
            Predicate::Exists { names, attribute } => any(node, names, attribute.as_deref(), &|_| true),
            Predicate::Equals { names, attribute, value } => {
                any(node, names, attribute.as_deref(), &|text| text == value)
            }
        }
    }
}

/// Whether any text at the end of the names satisfies.
fn any(node: &Markup, names: &[Test], attribute: Option<&str>, satisfies: &dyn Fn(&str) -> bool) -> bool {
    let Some((first, rest)) = names.split_first() else {
        return match (node, attribute) {
            (Markup::Element(tag), Some(name)) => tag.attribute(name).is_some_and(satisfies),
            (Markup::Element(tag), None) => satisfies(&tag.text()),
            (Markup::Text(text) | Markup::Comment(text) | Markup::Instruction(text), None) => satisfies(text),
            _ => false,
        };
    };
    let Markup::Element(tag) = node else { return false };
    tag.children.iter().any(|child| first.fits(child) && any(child, rest, attribute, satisfies))
}
