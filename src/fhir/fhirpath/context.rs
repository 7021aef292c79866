//! What an evaluation is given beside its focus, and why it may have no result.

use std::fmt;

use super::host::Host;
use super::value::Node;

/// Steps of one evaluation: far beyond any R4 invariant over a large resource, and well below a second.
pub const DEFAULT_STEPS: u64 = 1_000_000;

/// What an evaluation may use beside its focus.
#[derive(Clone, Copy)]
pub struct Context<'d> {
    pub host: &'d dyn Host,
    /// `%resource`: the resource that the focus is in.
    pub resource: Node<'d>,
    /// `%rootResource`: the resource that contains it, or the same.
    pub root: Node<'d>,
    /// Answer of `now()`, given in UTC; without it `now()`, `today()` and `timeOfDay()` fail.
    pub now: Option<jiff::Timestamp>,
    /// Refuse names that the model does not define.
    pub strict: bool,
    /// `as` filters a collection instead of asking for one item, as the specification has it: search parameters and
    /// invariants of R4 (dom-3) are written so.
    pub as_filters: bool,
    /// `valueQuantity` selects what `value` does, where it is of that type.
    pub loose_choices: bool,
    pub steps: u64,
}

impl<'d> Context<'d> {
    /// A context for expressions about one resource that contains itself.
    pub fn new(host: &'d dyn Host, resource: Node<'d>) -> Context<'d> {
        let steps = DEFAULT_STEPS;
        Context {
            host,
            resource,
            root: resource,
            now: None,
            strict: false,
            as_filters: true,
            loose_choices: false,
            steps,
        }
    }
}

/// Why an evaluation has no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The budget is spent.
    TooManySteps,
    /// One item was needed; the text says where.
    NotSingle(&'static str),
    /// The operand has a type that the operator or function does not take.
    WrongType(&'static str),
    /// A number or date beyond what can be kept exactly.
    OutOfRange,
    /// The time of day was asked for and not given.
    NoClock,
    /// The model does not define the name, and evaluation is strict.
    Undefined(String),
    /// The host could not answer: the function and what it was asked about.
    Undecidable(&'static str, String),
    /// The regular expression is malformed or needs what is not supported.
    Pattern(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::TooManySteps => formatter.write_str("the evaluation takes too many steps"),
            Failure::NotSingle(place) => write!(formatter, "{place} needs a single item"),
            Failure::WrongType(place) => write!(formatter, "{place} does not take a value of this type"),
            Failure::OutOfRange => formatter.write_str("a value is out of range"),
            Failure::NoClock => formatter.write_str("the time of day is not known here"),
            Failure::Undefined(name) => write!(formatter, "{name} is not defined"),
            Failure::Undecidable(function, about) => write!(formatter, "{function} cannot be decided for {about}"),
            Failure::Pattern(pattern) => write!(formatter, "the regular expression {pattern:?} cannot be used"),
        }
    }
}

impl std::error::Error for Failure {}
