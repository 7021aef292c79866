//! FHIRPath for R4: invariants and search parameters, compiled once and run many times.
//!
//! [`compile`] resolves every name that needs no data and bounds the tree; [`Expression::evaluate`] walks it over
//! borrowed elements. Our own engine because it runs synchronously over our tree without copying it, keeps
//! decimals exact, and cannot be made to hang or panic: an evaluation has a budget of steps, a tree a greatest
//! height. What needs a type model, other resources, terminology or profiles is asked of a [`Host`]; the time of
//! day is an argument. Unknown is a [`Failure`], never silently true.
//!
//! Reading order: value, temporal, host, context < lexer, plan, parser < evaluate, navigate, compare, arithmetic <
//! functions (one file per group of the specification).

mod arithmetic;
mod compare;
mod context;
mod evaluate;
mod functions;
mod host;
mod lexer;
mod navigate;
mod parser;
mod pattern;
mod plan;
mod quantity;
mod temporal;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use context::{Context, DEFAULT_STEPS, Failure};
pub use functions::transcoding::{from_base64, to_base64};
pub use host::{Child, Code, Host, ShapesOnly};
pub use pattern::compile as pattern;
pub use temporal::{Component, Temporal, TemporalKind};
pub use value::{Collection, Node, Quantity, Value};

/// A compiled expression. Cheap to clone and to share; prints what it was taken to mean.
#[derive(Clone)]
pub struct Expression(Arc<plan::Plan>);

/// Why a text is no expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Syntax {
    /// Byte offset in the text.
    pub offset: usize,
    pub what: String,
}

/// Compiles an expression.
pub fn compile(text: &str) -> Result<Expression, Syntax> {
    parser::parse(text).map(|plan| Expression(Arc::new(plan)))
}

impl Expression {
    /// The collection that the expression selects from the focus.
    pub fn evaluate<'d>(&'d self, context: &Context<'d>, focus: Node<'d>) -> Result<Collection<'d>, Failure> {
        evaluate::run(&self.0, context, focus)
    }

    /// Whether the focus satisfies the expression as an invariant: a single boolean is its value, anything else
    /// satisfies if there is anything, as the reference validator reads it.
    pub fn holds<'d>(&'d self, context: &Context<'d>, focus: Node<'d>) -> Result<bool, Failure> {
        if let Some(answer) = evaluate::decide(&self.0, context, focus) {
            return Ok(answer? == Some(true));
        }
        let result = self.evaluate(context, focus)?;
        Ok(match result.as_slice() {
            [] => false,
            [one] => match one.system() {
                Some(Value::Boolean(value)) => value,
                _ => true,
            },
            _ => true,
        })
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Expression({})", self.0)
    }
}

impl fmt::Display for Syntax {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (at byte {})", self.what, self.offset)
    }
}

impl std::error::Error for Syntax {}
