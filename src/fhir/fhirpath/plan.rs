//! The compiled form: a tree in which every name is resolved that can be resolved without data.
//!
//! Functions are pointers found at compile time, type names are checked, patterns are compiled, literals are
//! values. It prints itself, fully bracketed, so that a reader sees what an expression was taken to mean.

use std::fmt;

use regex::Regex;

use super::functions::Function;
use super::value::Value;
use crate::fhir::tree::Tag;

#[derive(Debug)]
pub(super) enum Plan {
    Literal(Value<'static>),
    Empty,
    This,
    Index,
    Total,
    Resource,
    RootResource,
    Context,
    /// First name of a path: the type of the focus, or else a child of it.
    Root(Name),
    Child(Box<Plan>, Name),
    Call(Box<Plan>, &'static Function, Box<[Plan]>),
    Item(Box<Plan>, Box<Plan>),
    Typed(TypeOperator, Box<Plan>, TypeName),
    Binary(Operator, Box<Plan>, Box<Plan>),
    Sign(Sign, Box<Plan>),
    /// A constant regular expression, compiled; as a value it is its text.
    Pattern {
        text: String,
        regex: Regex,
    },
}

#[derive(Debug)]
pub(super) struct Name {
    pub tag: Tag,
    pub text: Box<str>,
}

impl Name {
    pub fn new(text: &str) -> Name {
        Name { tag: Tag::of(text), text: text.into() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TypeOperator {
    Is,
    As,
    /// Written as a function.
    AsFunction,
    OfType,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Namespace {
    System,
    Fhir,
    /// Not written: FHIR for nodes, System for values.
    Either,
}

#[derive(Debug)]
pub(super) struct TypeName {
    pub namespace: Namespace,
    pub name: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sign {
    Plus,
    Minus,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operator {
    Implies,
    Or,
    Xor,
    And,
    In,
    Contains,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Union,
    Plus,
    Minus,
    Concatenate,
    Times,
    Divide,
    WholeDivide,
    Remainder,
}

/// Text, meaning and binding strength (FHIRPath §6.8); the stronger binds first. `is` and `as` bind with
/// [`TYPE_STRENGTH`].
pub(super) const OPERATORS: [(&str, Operator, u8); 22] = [
    ("implies", Operator::Implies, 1),
    ("or", Operator::Or, 2),
    ("xor", Operator::Xor, 2),
    ("and", Operator::And, 3),
    ("in", Operator::In, 4),
    ("contains", Operator::Contains, 4),
    ("=", Operator::Equal, 5),
    ("!=", Operator::NotEqual, 5),
    ("~", Operator::Equivalent, 5),
    ("!~", Operator::NotEquivalent, 5),
    ("<", Operator::Less, 6),
    (">", Operator::Greater, 6),
    ("<=", Operator::LessOrEqual, 6),
    (">=", Operator::GreaterOrEqual, 6),
    ("|", Operator::Union, 7),
    ("+", Operator::Plus, 9),
    ("-", Operator::Minus, 9),
    ("&", Operator::Concatenate, 9),
    ("*", Operator::Times, 10),
    ("/", Operator::Divide, 10),
    ("div", Operator::WholeDivide, 10),
    ("mod", Operator::Remainder, 10),
];

pub(super) const TYPE_STRENGTH: u8 = 8;

impl Operator {
    fn text(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator, _)| *operator == self).map_or("?", |(text, ..)| text)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Plan::Literal(value) => literal(value, formatter),
            Plan::Empty => formatter.write_str("{}"),
            Plan::This => formatter.write_str("$this"),
            Plan::Index => formatter.write_str("$index"),
            Plan::Total => formatter.write_str("$total"),
            Plan::Resource => formatter.write_str("%resource"),
            Plan::RootResource => formatter.write_str("%rootResource"),
            Plan::Context => formatter.write_str("%context"),
            Plan::Root(name) => write!(formatter, "{}", name.text),
            Plan::Child(of, name) => write!(formatter, "{of}.{}", name.text),
            Plan::Call(of, function, arguments) => {
                write!(formatter, "{of}.{}(", function.name)?;
                for (index, argument) in arguments.iter().enumerate() {
                    if index > 0 {
                        formatter.write_str(", ")?;
                    }
                    write!(formatter, "{argument}")?;
                }
                formatter.write_str(")")
            }
            Plan::Item(of, index) => write!(formatter, "{of}[{index}]"),
            Plan::Typed(operator, of, name) => match operator {
                TypeOperator::Is => write!(formatter, "({of} is {name})"),
                TypeOperator::As => write!(formatter, "({of} as {name})"),
                TypeOperator::AsFunction => write!(formatter, "{of}.as({name})"),
                TypeOperator::OfType => write!(formatter, "{of}.ofType({name})"),
            },
            Plan::Binary(operator, left, right) => write!(formatter, "({left} {} {right})", operator.text()),
            Plan::Sign(Sign::Plus, of) => write!(formatter, "+{of}"),
            Plan::Sign(Sign::Minus, of) => write!(formatter, "-{of}"),
            Plan::Pattern { text, .. } => quoted(text, formatter),
        }
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            Namespace::System => write!(formatter, "System.{}", self.name),
            Namespace::Fhir => write!(formatter, "FHIR.{}", self.name),
            Namespace::Either => formatter.write_str(&self.name),
        }
    }
}

fn literal(value: &Value<'_>, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Boolean(value) => write!(formatter, "{value}"),
        Value::Integer(value) => write!(formatter, "{value}"),
        Value::Decimal(value) => write!(formatter, "{value}"),
        Value::Text(text) => quoted(text, formatter),
        Value::Temporal(value) => write!(formatter, "@{value}"),
        Value::Quantity(quantity) => write!(formatter, "{quantity}"),
        // The parser makes no literal of these.
        Value::Node(_) | Value::Type { .. } => Ok(()),
    }
}

fn quoted(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(formatter, "'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"))
}
