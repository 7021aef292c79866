//! What expressions work on: nodes of a resource, system values, and collections of them.
//!
//! Almost every collection of an invariant holds nothing or one thing, so these two need no allocation. Values
//! borrow from the document and from the expression; text is copied only where a function makes new text.

use std::borrow::Cow;

use rust_decimal::Decimal;

use super::temporal::{Temporal, TemporalKind};
use crate::fhir::tree::{Element, Kind};

/// An element with its FHIR type: a type name (`HumanName`, `code`), or the path of a backbone element
/// (`Observation.component`). `None` where no model knows it; then its shape speaks.
#[derive(Clone, Copy, Debug)]
pub struct Node<'d> {
    pub element: Element<'d>,
    pub type_name: Option<&'d str>,
}

/// One item of a collection.
#[derive(Clone, Debug)]
pub enum Value<'d> {
    Node(Node<'d>),
    Boolean(bool),
    Integer(i64),
    Decimal(Decimal),
    Text(Cow<'d, str>),
    Temporal(Temporal),
    Quantity(Box<Quantity<'d>>),
    /// What `type()` answers.
    Type {
        namespace: &'static str,
        name: Cow<'d, str>,
    },
}

/// An amount with its unit.
#[derive(Clone, Debug)]
pub struct Quantity<'d> {
    pub value: Decimal,
    pub unit: Cow<'d, str>,
    /// Written with a calendar word (`4 days`), not with a UCUM code (`4 'd'`).
    pub calendar: bool,
}

/// An ordered collection.
#[derive(Clone, Debug, Default)]
pub enum Collection<'d> {
    #[default]
    Empty,
    One(Value<'d>),
    Many(Vec<Value<'d>>),
}

impl<'d> Node<'d> {
    /// A resource, typed by its `resourceType`.
    pub fn resource(element: Element<'d>) -> Node<'d> {
        Node { element, type_name: element.resource_type() }
    }

    /// The FHIR type: the one given, else what the shape of the JSON says.
    pub fn fhir_type(&self) -> Option<&'d str> {
        self.type_name.or_else(|| match self.element.kind()? {
            Kind::True | Kind::False => Some("boolean"),
            Kind::Number => Some(if is_integer(self.element.text()?) { "integer" } else { "decimal" }),
            Kind::String => Some("string"),
            Kind::Object => self.element.resource_type(),
            Kind::Array | Kind::Null => None,
        })
    }

    /// The system value of a primitive or quantity (R4 §fhirpath "Using FHIR types in expressions").
    pub fn system(&self) -> Option<Value<'d>> {
        match self.element.kind()? {
            Kind::True => Some(Value::Boolean(true)),
            Kind::False => Some(Value::Boolean(false)),
            Kind::Number => {
                let text = self.element.text()?;
                let integer = self.type_name != Some("decimal") && is_integer(text);
                match text.parse() {
                    Ok(value) if integer => Some(Value::Integer(value)),
                    _ => decimal(text).map(Value::Decimal),
                }
            }
            Kind::String => {
                let text = self.element.text()?;
                let temporal = match self.type_name {
                    Some("date") => Temporal::date(text),
                    Some("dateTime" | "instant") => Temporal::date_time(text),
                    Some("time") => Temporal::time(text),
                    _ => None,
                };
                Some(temporal.map_or(Value::Text(Cow::Borrowed(text)), Value::Temporal))
            }
            Kind::Object => self.quantity().map(|quantity| Value::Quantity(Box::new(quantity))),
            Kind::Array | Kind::Null => None,
        }
    }

    /// A FHIR Quantity as a system Quantity: the UCUM code, or the unit as written where the code is not UCUM's.
    fn quantity(&self) -> Option<Quantity<'d>> {
        let shaped = match self.type_name {
            Some(name) => matches!(
                name,
                "Quantity" | "Age" | "Duration" | "Count" | "Distance" | "SimpleQuantity" | "MoneyQuantity"
            ),
            None => true,
        };
        let value = self.element.get("value").filter(|value| shaped && value.kind() == Some(Kind::Number))?;
        if self.element.get("comparator").is_some() {
            return None;
        }
        let value = decimal(value.text()?)?;
        let ucum = self.element.text_of("system") == Some("http://unitsofmeasure.org");
        let code = self.element.text_of("code");
        let unit = code.filter(|_| ucum).or_else(|| self.element.text_of("unit")).or(code).unwrap_or("1");
        Some(Quantity { value, unit: Cow::Borrowed(unit), calendar: false })
    }
}

impl<'d> Value<'d> {
    pub fn text(text: impl Into<Cow<'d, str>>) -> Value<'d> {
        Value::Text(text.into())
    }

    /// The system value: itself, or that of a primitive node; `None` for a node with children only.
    pub fn system(&self) -> Option<Value<'d>> {
        match self {
            Value::Node(node) => node.system(),
            Value::Type { .. } => None,
            value => Some(value.clone()),
        }
    }

    /// Name of the System type, for values that are no nodes.
    pub fn system_type(&self) -> Option<&'static str> {
        Some(match self {
            Value::Node(_) => return None,
            Value::Boolean(_) => "Boolean",
            Value::Integer(_) => "Integer",
            Value::Decimal(_) => "Decimal",
            Value::Text(_) => "String",
            Value::Temporal(temporal) => match temporal.kind {
                TemporalKind::Date => "Date",
                TemporalKind::DateTime => "DateTime",
                TemporalKind::Time => "Time",
            },
            Value::Quantity(_) => "Quantity",
            Value::Type { .. } => "ClassInfo",
        })
    }

    /// The same value, borrowing the text that it owns.
    pub(super) fn borrowed(&'d self) -> Value<'d> {
        match self {
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            Value::Quantity(quantity) => Value::Quantity(Box::new(Quantity {
                value: quantity.value,
                unit: Cow::Borrowed(&quantity.unit),
                calendar: quantity.calendar,
            })),
            value => value.clone(),
        }
    }
}

impl std::fmt::Display for Quantity<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.calendar {
            write!(formatter, "{} {}", self.value, self.unit)
        } else {
            write!(formatter, "{} '{}'", self.value, self.unit)
        }
    }
}

impl<'d> Collection<'d> {
    pub fn as_slice(&self) -> &[Value<'d>] {
        match self {
            Collection::Empty => &[],
            Collection::One(value) => std::slice::from_ref(value),
            Collection::Many(values) => values,
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Value<'d>> {
        self.as_slice().iter()
    }

    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub fn push(&mut self, value: Value<'d>) {
        *self = match std::mem::take(self) {
            Collection::Empty => Collection::One(value),
            Collection::One(first) => Collection::Many(vec![first, value]),
            Collection::Many(mut values) => {
                values.push(value);
                Collection::Many(values)
            }
        };
    }

    pub fn extend(&mut self, other: Collection<'d>) {
        if self.is_empty() {
            *self = other;
        } else {
            for value in other {
                self.push(value);
            }
        }
    }

    pub fn boolean(value: bool) -> Collection<'d> {
        Collection::One(Value::Boolean(value))
    }

    pub fn integer(value: usize) -> Collection<'d> {
        Collection::One(Value::Integer(value as i64))
    }

    pub fn text(text: impl Into<Cow<'d, str>>) -> Collection<'d> {
        Collection::One(Value::Text(text.into()))
    }
}

impl<'c, 'd> IntoIterator for &'c Collection<'d> {
    type Item = &'c Value<'d>;
    type IntoIter = std::slice::Iter<'c, Value<'d>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'d> From<Option<Value<'d>>> for Collection<'d> {
    fn from(value: Option<Value<'d>>) -> Self {
        value.map_or(Collection::Empty, Collection::One)
    }
}

impl<'d> From<Value<'d>> for Collection<'d> {
    fn from(value: Value<'d>) -> Self {
        Collection::One(value)
    }
}

impl<'d> FromIterator<Value<'d>> for Collection<'d> {
    fn from_iter<T: IntoIterator<Item = Value<'d>>>(values: T) -> Self {
        let mut collection = Collection::Empty;
        for value in values {
            collection.push(value);
        }
        collection
    }
}

impl<'d> IntoIterator for Collection<'d> {
    type Item = Value<'d>;
    type IntoIter = Items<'d>;

    fn into_iter(self) -> Items<'d> {
        match self {
            Collection::Empty => Items::One(None),
            Collection::One(value) => Items::One(Some(value)),
            Collection::Many(values) => Items::Many(values.into_iter()),
        }
    }
}

/// The items of a collection, given away.
pub enum Items<'d> {
    One(Option<Value<'d>>),
    Many(std::vec::IntoIter<Value<'d>>),
}

impl<'d> Iterator for Items<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        match self {
            Items::One(value) => value.take(),
            Items::Many(values) => values.next(),
        }
    }
}

/// A decimal as written, its trailing zeros kept; an exponent is allowed as in JSON.
pub(super) fn decimal(text: &str) -> Option<Decimal> {
    if text.contains(['e', 'E']) {
        return Decimal::from_scientific(text).ok();
    }
    Decimal::from_str_exact(text).ok()
}

fn is_integer(text: &str) -> bool {
    !text.contains(['.', 'e', 'E'])
}
