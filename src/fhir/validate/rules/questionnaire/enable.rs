//! Whether an item is to be answered: `enableWhen`, or an expression in its place (R4 §Questionnaire).
//!
//! A condition looks for answers in the nearest group that holds both the item and the question asked about, so
//! that repetitions of a group are told apart.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::super::super::run::Run;
use super::super::super::scope::{Found, named};
use super::form::{Amount, Coding, Form, ItemIndex};
use super::response::{Answers, Place};
use crate::fhir::fhirpath::{Context, Expression, Node};
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

/// When an item is enabled.
pub enum Enable {
    Always,
    When {
        conditions: Vec<Condition>,
        behavior: Behavior,
    },
    Expression(Expression),
    /// It says so in a way that cannot be decided here: taken as enabled, since nothing shows that it is not.
    Undecidable,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behavior {
    All,
    Any,
}

/// One `enableWhen`.
pub struct Condition {
    /// The question asked about; `None` where the form has none of that linkId.
    pub target: Option<ItemIndex>,
    /// The innermost item around both; `None` is the form itself.
    pub group: Option<ItemIndex>,
    operator: Operator,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Exists,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Unknown,
}

/// The value of a condition's `answer[x]`.
enum Expected {
    Boolean(bool),
    Number(Decimal),
    Moment(Moment),
    Text(Box<str>),
    Coding(Coding),
    Quantity(Amount),
    None,
}

impl Condition {
    pub fn read(element: Element<'_>) -> Condition {
        let operator = match element.text_of("operator") {
            Some("exists") => Operator::Exists,
            Some("=") => Operator::Equal,
            Some("!=") => Operator::NotEqual,
            Some(">") => Operator::Greater,
            Some("<") => Operator::Less,
            Some(">=") => Operator::GreaterOrEqual,
            Some("<=") => Operator::LessOrEqual,
            _ => Operator::Unknown,
        };
        let expected = named(element, "answer", Some(true)).first().map_or(Expected::None, Expected::read);
        Condition { target: None, group: None, operator, expected }
    }

    fn holds<'d>(&self, form: &Form, place: &Place<'_, 'd>) -> bool {
        let answers: &[Answers<'d>] = match self.target {
            Some(target) => place.answers(&form.items[target].link, self.group),
            None => &[],
        };
        if self.operator == Operator::Exists {
            let wanted = !matches!(self.expected, Expected::Boolean(false));
            return wanted == answers.iter().any(|each| !each.values.is_empty());
        }
        answers.iter().flat_map(|each| &each.values).any(|value| self.fits(value))
    }

    fn fits(&self, value: &Found<'_>) -> bool {
        let wanted_equal = match self.operator {
            Operator::Equal => Some(true),
            Operator::NotEqual => Some(false),
            _ => None,
        };
        if let Expected::Coding(coding) = &self.expected {
            let has = |name, own: &Option<Box<str>>| value.element.text_of(name) == own.as_deref();
            let is_same = (coding.system.is_none() || has("system", &coding.system)) && has("code", &coding.code);
            return value.type_name == "Coding" && wanted_equal == Some(is_same);
        }
        let Some(order) = self.expected.order(value) else {
            // Of another kind, or of a precision that leaves it open: not the same, and in no order.
            return false;
        };
        match self.operator {
            Operator::Equal => order == Ordering::Equal,
            Operator::NotEqual => order != Ordering::Equal,
            Operator::Greater => order == Ordering::Greater,
            Operator::Less => order == Ordering::Less,
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Exists | Operator::Unknown => false,
        }
    }
}

impl Expected {
    fn read(value: &Found<'_>) -> Expected {
        let element = value.element;
        match value.type_name {
            "Coding" => return Expected::Coding(Coding::read(element)),
            "Quantity" => return Expected::Quantity(Amount::read(element)),
            "Reference" => {
                return element.text_of("reference").map_or(Expected::None, |text| Expected::Text(text.into()));
            }
            _ => {}
        }
        let Some(text) = element.text() else { return Expected::None };
        let read = match value.type_name {
            "boolean" => element.boolean().map(Expected::Boolean),
            "decimal" | "integer" => text.parse().ok().map(Expected::Number),
            "date" | "dateTime" => Moment::parse(text).map(Expected::Moment),
            _ => Some(Expected::Text(text.into())),
        };
        read.unwrap_or(Expected::None)
    }

    /// How an answer compares with the expected one.
    fn order(&self, value: &Found<'_>) -> Option<Ordering> {
        let element = value.element;
        match self {
            Expected::Boolean(expected) => element.boolean().map(|own| own.cmp(expected)),
            Expected::Number(expected) => {
                matches!(value.type_name, "decimal" | "integer").then_some(())?;
                Some(element.text()?.parse::<Decimal>().ok()?.cmp(expected))
            }
            Expected::Moment(expected) => {
                let own = Moment::parse(element.text()?)?;
                Some(own.interval_assuming_utc_ms().0.cmp(&expected.interval_assuming_utc_ms().0))
            }
            Expected::Text(expected) => {
                let own = element.text().or_else(|| element.text_of("reference"))?;
                Some(own.cmp(expected))
            }
            Expected::Quantity(expected) => {
                let own = Amount::read(element);
                let (own_value, value) = (own.value?, expected.value?);
                let is_measured = |amount: &Amount| amount.system.as_deref() == Some(super::UCUM);
                if is_measured(&own)
                    && is_measured(expected)
                    && let (Some(own_code), Some(code)) = (&own.code, &expected.code)
                {
                    return super::compare_units(own_value, own_code, value, code);
                }
                Some(own_value.cmp(&value))
            }
            Expected::Coding(_) | Expected::None => None,
        }
    }
}

/// Whether an item is to be answered at this place of the response.
pub fn is_enabled<'d>(run: &Run<'_, 'd>, form: &Form, at: ItemIndex, place: &Place<'_, 'd>) -> bool {
    match &form.items[at].enable {
        Enable::Always | Enable::Undecidable => true,
        Enable::When { conditions, behavior: Behavior::All } => {
            conditions.iter().all(|condition| condition.holds(form, place))
        }
        Enable::When { conditions, behavior: Behavior::Any } => {
            conditions.iter().any(|condition| condition.holds(form, place))
        }
        Enable::Expression(expression) => {
            let resource = Node::resource(place.response);
            let context = Context { root: Node::resource(run.scope.container), ..Context::new(run, resource) };
            expression.holds(&context, resource).unwrap_or(true)
        }
    }
}
