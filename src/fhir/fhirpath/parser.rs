//! Tokens to a [`Plan`]: precedence climbing, with function, variable and type names resolved on the way.
//!
//! Trees are walked recursively, so their height is bounded here; what compiles can be run and dropped on a
//! small stack.

use std::borrow::Cow;

use super::functions::{self, Function};
use super::lexer::{Token, tokens};
use super::plan::{Name, Namespace, OPERATORS, Plan, Sign, TYPE_STRENGTH, TypeName, TypeOperator};
use super::value::{Quantity, Value};
use super::{Syntax, host, pattern};

/// Longest expression in bytes; the longest of R4 has about two thousand.
const MAX_LENGTH: usize = 64 * 1024;

/// Highest tree. R4's highest has about sixty levels, for a long chain of `or`.
const MAX_HEIGHT: u16 = 160;

const POLARITY_STRENGTH: u8 = 11;

/// Calendar words that may follow a number (FHIRPath §4.1.8), singular and plural.
const CALENDAR: [&str; 16] = [
    "year",
    "years",
    "month",
    "months",
    "week",
    "weeks",
    "day",
    "days",
    "hour",
    "hours",
    "minute",
    "minutes",
    "second",
    "seconds",
    "millisecond",
    "milliseconds",
];

pub(super) fn is_calendar_word(word: &str) -> bool {
    CALENDAR.contains(&word)
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Plan, Syntax> {
    if text.len() > MAX_LENGTH {
        return Err(Syntax { offset: MAX_LENGTH, what: format!("the expression is longer than {MAX_LENGTH} bytes") });
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, nesting: 0 };
    let built = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok(built.plan),
        token => parser.error(format!("the expression should end before {token}")),
    }
}

/// A tree and how high it is.
struct Built {
    plan: Plan,
    height: u16,
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    nesting: u16,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        if token != Token::End {
            self.at += 1;
        }
        token
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, Syntax> {
        Err(Syntax { offset: self.tokens[self.at].0, what: what.into() })
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Syntax> {
        if self.take(symbol) { Ok(()) } else { self.error(format!("`{symbol}` is missing here")) }
    }

    fn built(&self, plan: Plan, below: u16) -> Result<Built, Syntax> {
        if below >= MAX_HEIGHT {
            return self.error("the expression is nested too deeply");
        }
        Ok(Built { plan, height: below + 1 })
    }

    fn expression(&mut self, weakest: u8) -> Result<Built, Syntax> {
        self.nesting += 1;
        if self.nesting > MAX_HEIGHT {
            return self.error("the expression is nested too deeply");
        }
        let mut left = self.signed()?;
        loop {
            let word = match self.peek() {
                Token::Symbol(symbol) => (*symbol).to_owned(),
                Token::Identifier(word) => word.clone(),
                _ => break,
            };
            if let "is" | "as" = word.as_str()
                && TYPE_STRENGTH > weakest
            {
                let operator = if word == "is" { TypeOperator::Is } else { TypeOperator::As };
                self.at += 1;
                let name = self.type_name()?;
                left = self.built(Plan::Typed(operator, Box::new(left.plan), name), left.height)?;
                continue;
            }
            let Some((_, operator, strength)) = OPERATORS.iter().find(|(text, ..)| *text == word) else { break };
            if *strength <= weakest {
                break;
            }
            self.at += 1;
            let right = self.expression(*strength)?;
            let height = left.height.max(right.height);
            left = self.built(Plan::Binary(*operator, Box::new(left.plan), Box::new(right.plan)), height)?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn signed(&mut self) -> Result<Built, Syntax> {
        let sign = if self.take("-") {
            Sign::Minus
        } else if self.take("+") {
            Sign::Plus
        } else {
            return self.path();
        };
        let of = self.expression(POLARITY_STRENGTH)?;
        self.built(Plan::Sign(sign, Box::new(of.plan)), of.height)
    }

    /// A term and what is invoked on it.
    fn path(&mut self) -> Result<Built, Syntax> {
        let mut built = self.term()?;
        loop {
            if self.take(".") {
                built = self.invocation(built)?;
            } else if self.take("[") {
                let index = self.expression(0)?;
                self.expect("]")?;
                let height = built.height.max(index.height);
                built = self.built(Plan::Item(Box::new(built.plan), Box::new(index.plan)), height)?;
            } else {
                return Ok(built);
            }
        }
    }

    fn term(&mut self) -> Result<Built, Syntax> {
        let leaf = |plan| Ok(Built { plan, height: 1 });
        match self.next() {
            Token::Symbol("(") => {
                let built = self.expression(0)?;
                self.expect(")")?;
                Ok(built)
            }
            Token::Symbol("{") => {
                self.expect("}")?;
                leaf(Plan::Empty)
            }
            Token::Text(text) => leaf(Plan::Literal(Value::Text(text.into()))),
            Token::Temporal(value) => leaf(Plan::Literal(Value::Temporal(value))),
            Token::Integer(value) => {
                let quantity = self.unit(value.into());
                leaf(Plan::Literal(quantity.unwrap_or(Value::Integer(value))))
            }
            Token::Decimal(value) => {
                let quantity = self.unit(value);
                leaf(Plan::Literal(quantity.unwrap_or(Value::Decimal(value))))
            }
            Token::Variable(name) => match name.as_str() {
                "this" => leaf(Plan::This),
                "index" => leaf(Plan::Index),
                "total" => leaf(Plan::Total),
                _ => self.error_before(format!("${name} is unknown")),
            },
            Token::External(name) => match external(&name) {
                Some(plan) => leaf(plan),
                None => self.error_before(format!("%{name} is unknown")),
            },
            Token::Identifier(name) if name == "true" => leaf(Plan::Literal(Value::Boolean(true))),
            Token::Identifier(name) if name == "false" => leaf(Plan::Literal(Value::Boolean(false))),
            Token::Identifier(name) if *self.peek() == Token::Symbol("(") => {
                self.call(Built { plan: Plan::This, height: 1 }, &name)
            }
            Token::Identifier(name) | Token::Delimited(name) => leaf(Plan::Root(Name::new(&name))),
            Token::End => self.error("the expression ends too early"),
            Token::Symbol(symbol) => self.error_before(format!("`{symbol}` cannot stand here")),
        }
    }

    fn error_before<T>(&mut self, what: String) -> Result<T, Syntax> {
        self.at = self.at.saturating_sub(1);
        self.error(what)
    }

    /// A unit after a number makes it a quantity.
    fn unit(&mut self, value: rust_decimal::Decimal) -> Option<Value<'static>> {
        let (unit, calendar) = match self.peek() {
            Token::Text(unit) => (unit.clone(), is_calendar_word(unit)),
            Token::Identifier(word) if is_calendar_word(word) => (word.clone(), true),
            _ => return None,
        };
        self.at += 1;
        Some(Value::Quantity(Box::new(Quantity { value, unit: Cow::Owned(unit), calendar })))
    }

    fn invocation(&mut self, of: Built) -> Result<Built, Syntax> {
        match self.next() {
            Token::Identifier(name) if *self.peek() == Token::Symbol("(") => self.call(of, &name),
            Token::Identifier(name) | Token::Delimited(name) => {
                self.built(Plan::Child(Box::new(of.plan), Name::new(&name)), of.height)
            }
            Token::Variable(name) if name == "this" => Ok(of),
            Token::End => self.error("the expression ends too early"),
            token => self.error_before(format!("{token} is no name")),
        }
    }

    fn call(&mut self, of: Built, name: &str) -> Result<Built, Syntax> {
        let named_at = self.at.saturating_sub(1);
        self.expect("(")?;
        let operator = match name {
            "is" => Some(TypeOperator::Is),
            "as" => Some(TypeOperator::AsFunction),
            "ofType" => Some(TypeOperator::OfType),
            _ => None,
        };
        if let Some(operator) = operator {
            let name = self.type_name()?;
            self.expect(")")?;
            return self.built(Plan::Typed(operator, Box::new(of.plan), name), of.height);
        }
        let Some(function) = functions::find(name) else {
            self.at = named_at;
            return self.error(format!("there is no function {name}"));
        };
        let (arguments, height) = self.arguments(function)?;
        self.built(Plan::Call(Box::new(of.plan), function, arguments), of.height.max(height))
    }

    fn arguments(&mut self, function: &'static Function) -> Result<(Box<[Plan]>, u16), Syntax> {
        let mut arguments = Vec::new();
        let mut height = 0;
        while !self.take(")") {
            if !arguments.is_empty() {
                self.expect(",")?;
            }
            let built = self.expression(0)?;
            height = height.max(built.height);
            arguments.push(built.plan);
        }
        if !function.arguments.contains(&arguments.len()) {
            return self.error_before(format!("{} does not take {} arguments", function.name, arguments.len()));
        }
        if function.takes_pattern
            && let Some(Plan::Literal(Value::Text(text))) = arguments.first()
            && let Some(regex) = pattern::compile(text, function.name == "matchesFull")
        {
            arguments[0] = Plan::Pattern { text: text.to_string(), regex };
        }
        Ok((arguments.into(), height))
    }

    /// `Quantity`, `System.Integer`, `` FHIR.`Patient` ``.
    fn type_name(&mut self) -> Result<TypeName, Syntax> {
        let bracketed = self.take("(");
        let first = self.type_part()?;
        let (namespace, name) = match first.as_str() {
            "System" | "FHIR" if self.take(".") => {
                let namespace = if first == "System" { Namespace::System } else { Namespace::Fhir };
                (namespace, self.type_part()?)
            }
            _ => (Namespace::Either, first),
        };
        if bracketed {
            self.expect(")")?;
        }
        let lower = name.starts_with(|first: char| first.is_ascii_lowercase());
        if lower && (namespace == Namespace::System || !host::is_primitive(&name)) {
            return self.error_before(format!("there is no type {name}"));
        }
        Ok(TypeName { namespace, name: name.into() })
    }

    fn type_part(&mut self) -> Result<String, Syntax> {
        match self.next() {
            Token::Identifier(name) | Token::Delimited(name) => Ok(name),
            Token::End => self.error("a type name is missing"),
            token => self.error_before(format!("{token} is no type name")),
        }
    }
}

/// Environment variables (FHIRPath §7, R4 §fhirpath "Use of FHIR variables").
fn external(name: &str) -> Option<Plan> {
    let text = |text: String| Some(Plan::Literal(Value::Text(text.into())));
    match name {
        "resource" => Some(Plan::Resource),
        "rootResource" => Some(Plan::RootResource),
        "context" => Some(Plan::Context),
        "ucum" => text("http://unitsofmeasure.org".into()),
        "sct" => text("http://snomed.info/sct".into()),
        "loinc" => text("http://loinc.org".into()),
        _ => {
            if let Some(id) = name.strip_prefix("vs-") {
                text(format!("http://hl7.org/fhir/ValueSet/{id}"))
            } else if let Some(id) = name.strip_prefix("ext-") {
                text(format!("http://hl7.org/fhir/StructureDefinition/{id}"))
            } else {
                None
            }
        }
    }
}
