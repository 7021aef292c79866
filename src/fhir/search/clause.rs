//! One occurrence of a search parameter: its values are alternatives, the clauses of a query must all hold.

use std::sync::Arc;

use super::extract::Found;
use super::parameter::{Component, Parameter};
use super::{date, escape, quantity, reference, string, token, uri};
use crate::fhir::definitions::{Registry, SearchKind};
use crate::fhir::fhirpath::Node;
use crate::fhir::outcome::Id;

/// What one occurrence of a parameter asks.
#[derive(Clone, Debug)]
pub struct Clause {
    pub parameter: Arc<Parameter>,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub enum Test {
    Missing(bool),
    /// One of these is found.
    Any(Vec<Wanted>),
    /// None of these is found, which includes that nothing is there (`:not`, `:not-in`).
    NoneOf(Vec<Wanted>),
}

/// One value as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    Number(quantity::Wanted),
    Quantity(quantity::Wanted),
    Date(date::Wanted),
    String(string::Wanted),
    Token(token::Wanted),
    Reference(reference::Wanted),
    Uri(uri::Wanted),
    /// One value for each component.
    Composite(Vec<Wanted>),
}

/// Why a parameter cannot be evaluated: the issue, and what was expected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub id: Id,
    pub expected: &'static str,
}

const fn modifier(expected: &'static str) -> Refusal {
    Refusal { id: Id::SearchModifier, expected }
}

const fn value(expected: &'static str) -> Refusal {
    Refusal { id: Id::SearchValue, expected }
}

/// Most alternatives of one clause: beyond any list that a person or a program writes on purpose.
const MAX_VALUES: usize = 1000;

impl Clause {
    pub(super) fn parse(
        parameter: Arc<Parameter>,
        modifier: Option<&str>,
        text: &str,
        registry: &Registry,
    ) -> Result<Clause, Refusal> {
        let test = if modifier == Some("missing") {
            Test::Missing(text.parse().map_err(|_| value("`:missing` takes true or false"))?)
        } else {
            let reader = Reader::new(&parameter, modifier, registry)?;
            let parts = escape::split(text, ',');
            if parts.len() > MAX_VALUES {
                return Err(Refusal { id: Id::SearchTooCostly, expected: "at most 1000 alternatives" });
            }
            let wanted = parts.into_iter().map(|part| reader.read(part)).collect::<Result<_, _>>()?;
            if reader.negated { Test::NoneOf(wanted) } else { Test::Any(wanted) }
        };
        Ok(Clause { parameter, test })
    }

    /// Whether the resource satisfies the clause; what cannot be told is no match, for a negation too.
    pub(super) fn matches(&self, resource: Node<'_>, updated_ms: i64, base: Option<&str>) -> bool {
        if self.parameter.code == "_lastUpdated" {
            let updated = (updated_ms, updated_ms.saturating_add(1));
            return match &self.test {
                Test::Missing(missing) => !missing,
                Test::Any(wanted) => {
                    wanted.iter().any(|wanted| matches!(wanted, Wanted::Date(date) if date.matches(updated)))
                }
                Test::NoneOf(_) => false,
            };
        }
        let Some(found) = self.parameter.path.select(resource, resource) else { return false };
        let is_found = |wanted: &Vec<Wanted>| {
            let components = &self.parameter.components;
            wanted.iter().any(|wanted| found.iter().any(|each| wanted.finds(each, resource, components, base)))
        };
        match &self.test {
            Test::Missing(missing) => found.is_empty() == *missing,
            Test::Any(wanted) => is_found(wanted),
            Test::NoneOf(wanted) => !is_found(wanted),
        }
    }
}

impl Wanted {
    fn finds(&self, found: &Found<'_>, resource: Node<'_>, components: &[Component], base: Option<&str>) -> bool {
        let node = match found {
            Found::Node(node) => *node,
            Found::Boolean(value) => return matches!(self, Wanted::Token(wanted) if wanted.is_boolean(*value)),
        };
        let element = node.element;
        match self {
            Wanted::Token(wanted) => wanted.matches(element),
            Wanted::Number(wanted) | Wanted::Quantity(wanted) => wanted.matches(element),
            Wanted::Date(wanted) => date::interval(element).is_some_and(|interval| wanted.matches(interval)),
            Wanted::String(wanted) => wanted.matches(element),
            Wanted::Reference(wanted) => wanted.matches(element, base),
            Wanted::Uri(wanted) => wanted.matches(element),
            Wanted::Composite(parts) => parts.iter().zip(components).all(|(part, component)| {
                let values = component.path.select(resource, node);
                values.is_some_and(|values| values.iter().any(|each| part.finds(each, resource, &[], base)))
            }),
        }
    }
}

/// Reads the values of one clause: the parameter and its modifier decided once.
struct Reader<'r> {
    parameter: &'r Parameter,
    modifier: Option<&'r str>,
    registry: &'r Registry,
    negated: bool,
}

impl<'r> Reader<'r> {
    fn new(parameter: &'r Parameter, given: Option<&'r str>, registry: &'r Registry) -> Result<Reader<'r>, Refusal> {
        let reader = |negated| Ok(Reader { parameter, modifier: given, registry, negated });
        let Some(name) = given else { return reader(false) };
        match (parameter.kind, name) {
            (SearchKind::Token, "not" | "not-in") => reader(true),
            (SearchKind::Token, "text" | "in" | "of-type" | "below" | "above") => reader(false),
            (SearchKind::String, "exact" | "contains") => reader(false),
            (SearchKind::Uri, "below" | "above") => reader(false),
            (SearchKind::Reference, "identifier") => reader(false),
            (SearchKind::Reference, kind) if parameter.targets.iter().any(|target| target == kind) => reader(false),
            (SearchKind::Token, _) => {
                Err(modifier("a token takes :not, :text, :in, :not-in, :below, :above, :of-type or :missing"))
            }
            (SearchKind::String, _) => Err(modifier("a string takes :exact, :contains or :missing")),
            (SearchKind::Uri, _) => Err(modifier("a uri takes :below, :above or :missing")),
            (SearchKind::Reference, _) => {
                Err(modifier("a reference takes a type that it may point to, :identifier or :missing"))
            }
            _ => Err(modifier("the only modifier here is :missing")),
        }
    }

    fn read(&self, text: &str) -> Result<Wanted, Refusal> {
        if self.parameter.kind != SearchKind::Composite {
            return self.read_as(self.parameter.kind, text);
        }
        let parts = escape::split(text, '$');
        if parts.len() != self.parameter.components.len() {
            return Err(value("a composite has one value for each component, separated by $"));
        }
        let components = self.parameter.components.iter().zip(parts);
        let wanted =
            components.map(|(component, part)| self.read_as(component.kind, part)).collect::<Result<_, _>>()?;
        Ok(Wanted::Composite(wanted))
    }

    fn read_as(&self, kind: SearchKind, text: &str) -> Result<Wanted, Refusal> {
        let plain = || escape::unescape(text);
        match kind {
            SearchKind::Number => quantity::Wanted::number(text)
                .map(Wanted::Number)
                .ok_or(value("a number is [prefix]digits, for example ge5.4")),
            SearchKind::Quantity => quantity::Wanted::quantity(text)
                .map(Wanted::Quantity)
                .ok_or(value("a quantity is [prefix]number, or [prefix]number|system|code")),
            SearchKind::Date => date::Wanted::parse(text)
                .map(Wanted::Date)
                .ok_or(value("a date is [prefix]YYYY[-MM[-DD[Thh:mm[:ss[.fff]][Z|±hh:mm]]]]")),
            SearchKind::String => self.string(&plain()),
            SearchKind::Uri => {
                let manner = match self.modifier {
                    Some("below") => uri::Manner::Below,
                    Some("above") => uri::Manner::Above,
                    _ => uri::Manner::Same,
                };
                let uri = Some(plain()).filter(|uri| !uri.is_empty()).ok_or(value("a uri is not empty"))?;
                Ok(Wanted::Uri(uri::Wanted { manner, uri }))
            }
            SearchKind::Token => self.token(text).map(Wanted::Token),
            SearchKind::Reference => self.reference(text).map(Wanted::Reference),
            SearchKind::Composite | SearchKind::Special => Err(value("values of this type are not supported")),
        }
    }

    fn string(&self, text: &str) -> Result<Wanted, Refusal> {
        let manner = match self.modifier {
            Some("exact") => string::Manner::Exact,
            Some("contains") => string::Manner::Contains,
            _ => string::Manner::Starts,
        };
        string::Wanted::new(manner, text).map(Wanted::String).ok_or(value("a string is not empty"))
    }

    fn token(&self, text: &str) -> Result<token::Wanted, Refusal> {
        match self.modifier {
            Some("text") => string::Wanted::new(string::Manner::Starts, &escape::unescape(text))
                .map(token::Wanted::Text)
                .ok_or(value("a text is not empty")),
            Some("in" | "not-in") => {
                let set = self.registry.value_set(&escape::unescape(text)).filter(|set| set.open.is_empty());
                let set =
                    set.ok_or(modifier(":in and :not-in take a value set that is known here with all its codes"))?;
                Ok(token::Wanted::Set(Arc::clone(set)))
            }
            Some(side @ ("below" | "above")) => {
                token::Wanted::related(text, side == "below", |url| self.registry.code_system(url)).ok_or(modifier(
                    ":below and :above take system|code of a code system that is known here with all its codes",
                ))
            }
            Some("of-type") => token::Wanted::of_type(text).ok_or(value("`:of-type` takes system|code|value")),
            _ => self.code(text).ok_or(value("a token is code, system|code, |code or system|")),
        }
    }

    fn code(&self, text: &str) -> Option<token::Wanted> {
        let set = self.parameter.binding.as_deref().and_then(|binding| self.registry.value_set(binding));
        token::Wanted::parse(text, |system, code| {
            set.is_some_and(|set| match code {
                "" => set.groups.iter().any(|group| group.system == system),
                code => set.contains(system, code),
            })
        })
    }

    fn reference(&self, text: &str) -> Result<reference::Wanted, Refusal> {
        let kind = match self.modifier {
            Some("identifier") => {
                let wanted = token::Wanted::parse(text, |_, _| false).map(reference::Wanted::Identifier);
                return wanted.ok_or(value("`:identifier` takes value or system|value"));
            }
            Some(kind) => Some(kind),
            None if self.parameter.code == "patient" => Some("Patient"),
            None => match self.parameter.targets.as_slice() {
                [only] => Some(only.as_str()),
                _ => None,
            },
        };
        reference::Wanted::parse(&escape::unescape(text), kind, |name| self.registry.is_resource(name))
            .ok_or(value("a reference is id, Type/id of a type that the parameter allows, or a URL"))
    }
}
