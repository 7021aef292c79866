//! Device content: where in a message a measurement is.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::Scope;
use super::jmespath::Node;
use super::jsonpath::Path;
use crate::devices::Sender;
use crate::devices::mapping::clock::{self, Form, Untold, Whereabouts};
use crate::fhir::outcome::{Id, Issue};

/// One template.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// `typeName`.
    pub kind: String,
    matching: Expression,
    device: Expression,
    /// The first that is there.
    time: Vec<Expression>,
    patient: Option<Expression>,
    correlation: Option<Expression>,
    pub values: Vec<Named>,
    /// Whether expressions are asked of the message with what matched beside it, or of what matched alone.
    beside: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    from: Expression,
    required: bool,
}

#[derive(Clone, Debug)]
enum Expression {
    JsonPath(Path),
    JmesPath(Node),
}

/// What a template finds.
#[derive(Debug)]
pub(super) struct Measurement {
    pub kind: String,
    pub device: String,
    /// As a FHIR dateTime.
    pub time: String,
    pub patient: Option<String>,
    pub correlation: Option<String>,
    /// By name, as texts.
    pub values: Vec<(String, String)>,
}

/// What each type of template asks for.
struct Shape {
    name: &'static str,
    beside: bool,
    device: Option<&'static str>,
    time: &'static [&'static str],
}

const SHAPES: [Shape; 4] = [
    Shape { name: "JsonPathContent", beside: false, device: None, time: &[] },
    Shape {
        name: "IotJsonPathContent",
        beside: false,
        device: Some("$.SystemProperties.iothub-connection-device-id"),
        time: &["$.Properties.iothub-creation-time-utc", "$.SystemProperties.iothub-enqueuedtime"],
    },
    Shape { name: "IotCentralJsonPathContent", beside: false, device: Some("$.deviceId"), time: &["$.enqueuedTime"] },
    Shape { name: "CalculatedContent", beside: true, device: None, time: &[] },
];

/// The templates of a file, with what is wrong with it.
pub(super) fn compile(text: &str) -> (Vec<Content>, Vec<String>) {
    let (templates, mut mistakes) = super::mapping::unpack(text, "device content", "CollectionContent");
    let mut contents = Vec::new();
    for (place, kind, template) in templates {
        let Some(shape) = SHAPES.iter().find(|shape| shape.name.eq_ignore_ascii_case(&kind)) else {
            let known: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
            mistakes.push(format!("{place}.templateType is none of {}", known.join(", ")));
            continue;
        };
        let before = mistakes.len();
        let mut reader = Reader { place: &place, template: &template, mistakes: &mut mistakes, jmes: false };
        let content = reader.content(shape);
        if mistakes.len() == before {
            contents.extend(content);
        }
    }
    (contents, mistakes)
}

struct Reader<'r> {
    place: &'r str,
    template: &'r Map<String, Value>,
    mistakes: &'r mut Vec<String>,
    /// The language of expressions that name none.
    jmes: bool,
}

/// A member whatever its capitals: the connector does not look at them.
pub(super) fn member<'v>(of: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    of.get(name).or_else(|| of.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

impl Reader<'_> {
    fn wrong(&mut self, what: &str) {
        self.mistakes.push(format!("{}.template.{what}", self.place));
    }

    fn content(&mut self, shape: &Shape) -> Option<Content> {
        if let Some(language) = member(self.template, "defaultExpressionLanguage") {
            match language.as_str() {
                Some(name) if name.eq_ignore_ascii_case("JmesPath") => self.jmes = true,
                Some(name) if name.eq_ignore_ascii_case("JsonPath") => {}
                _ => self.wrong("defaultExpressionLanguage is JsonPath or JmesPath"),
            }
        }
        let kind = match member(self.template, "typeName").and_then(Value::as_str).map(str::trim) {
            Some(name) if !name.is_empty() => Some(name.to_owned()),
            _ => {
                self.wrong("typeName is missing");
                None
            }
        };
        let matching = self.needed("typeMatchExpression");
        let built_in = |text: &str| Path::compile(text).ok().map(Expression::JsonPath);
        let device = match shape.device {
            Some(text) => built_in(text),
            None => self.needed("deviceIdExpression"),
        };
        let time = if shape.time.is_empty() {
            self.needed("timestampExpression").into_iter().collect()
        } else {
            shape.time.iter().filter_map(|text| built_in(text)).collect()
        };
        let patient = self.expression("patientIdExpression");
        let correlation = self.expression("correlationIdExpression");
        let values = self.values();
        let (kind, matching, device) = (kind?, matching?, device?);
        Some(Content { kind, matching, device, time, patient, correlation, values, beside: shape.beside })
    }

    fn values(&mut self) -> Vec<Named> {
        let values = match member(self.template, "values") {
            Some(Value::Array(values)) if !values.is_empty() => values,
            _ => {
                self.wrong("values is a list of at least one");
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let Some(value) = value.as_object() else {
                self.wrong(&format!("values[{at}] is an object"));
                continue;
            };
            let name = member(value, "valueName").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
            if name.is_none() {
                self.wrong(&format!("values[{at}].valueName is missing"));
            }
            let required = match member(value, "required") {
                Some(Value::Bool(required)) => *required,
                Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
                _ => false,
            };
            let from = if let Some(from) = member(value, "valueExpression") {
                self.compiled(&format!("values[{at}].valueExpression"), from)
            } else {
                self.wrong(&format!("values[{at}].valueExpression is missing"));
                None
            };
            if let (Some(name), Some(from)) = (name, from) {
                found.push(Named { name: name.to_owned(), from, required });
            }
        }
        found
    }

    fn needed(&mut self, name: &str) -> Option<Expression> {
        if member(self.template, name).is_none() {
            self.wrong(&format!("{name} is missing"));
            return None;
        }
        self.expression(name)
    }

    fn expression(&mut self, name: &str) -> Option<Expression> {
        let given = member(self.template, name)?;
        self.compiled(name, given)
    }

    /// An expression as a text, or as `{"value", "language"}`.
    fn compiled(&mut self, name: &str, given: &Value) -> Option<Expression> {
        let object = given.as_object();
        let text = object.map_or(Some(given), |given| member(given, "value")).and_then(Value::as_str);
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            self.wrong(&format!("{name} is a text, or an object with value and language"));
            return None;
        };
        let language = object.and_then(|given| member(given, "language")).and_then(Value::as_str);
        let jmes = match language {
            None => self.jmes,
            Some(name) if name.eq_ignore_ascii_case("JmesPath") => true,
            Some(name) if name.eq_ignore_ascii_case("JsonPath") => false,
            Some(_) => {
                self.wrong(&format!("{name}.language is JsonPath or JmesPath"));
                return None;
            }
        };
        let compiled = if jmes {
            Node::compile(text).map(Expression::JmesPath)
        } else {
            Path::compile(text).map(Expression::JsonPath)
        };
        compiled.map_err(|why| self.wrong(&format!("{name}: {why}"))).ok()
    }
}

impl Expression {
    /// The one value that the expression leads to.
    fn value<'v>(&self, scope: Scope<'v>) -> Result<Option<Cow<'v, Value>>, String> {
        match self {
            Expression::JsonPath(path) => match path.select(scope).as_slice() {
                [] => Ok(None),
                [one] => Ok(Some(Cow::Borrowed(*one))),
                _ => Err("the expression leads to several values".to_owned()),
            },
            Expression::JmesPath(node) => Ok(Some(node.value(scope)?).filter(|value| !value.is_null())),
        }
    }

    fn word(&self, scope: Scope<'_>) -> Result<Option<String>, String> {
        Ok(match self.value(scope)?.as_deref() {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::Bool(flag)) => Some(flag.to_string()),
            Some(_) => return Err("the expression leads to no single value".to_owned()),
        })
    }
}

impl Content {
    /// What of a message the template is about.
    pub fn matches<'v>(&self, message: &'v Value) -> Result<Vec<Cow<'v, Value>>, String> {
        let scope = Scope { root: message, matched: None };
        Ok(match &self.matching {
            Expression::JsonPath(path) => path.select(scope).into_iter().map(Cow::Borrowed).collect(),
            Expression::JmesPath(node) => match node.value(scope)? {
                Cow::Owned(Value::Array(items)) => items.into_iter().map(Cow::Owned).collect(),
                Cow::Borrowed(Value::Array(items)) => items.iter().map(Cow::Borrowed).collect(),
                value if value.is_null() => Vec::new(),
                value => vec![value],
            },
        })
    }

    pub fn measurement(&self, message: &Value, matched: &Value, sender: &Sender<'_>) -> Result<Measurement, Issue> {
        let scope = if self.beside {
            Scope { root: message, matched: Some(matched) }
        } else {
            Scope { root: matched, matched: None }
        };
        let wrong = |what: &str, why: String| Issue::new(Id::DeviceRecord, "", format!("{what}: {why}."));
        let word = |what: &str, from: &Expression| from.word(scope).map_err(|why| wrong(what, why));
        let missing = |what: &str| wrong(what, "the expression of the template leads to nothing".to_owned());
        let device = word("device", &self.device)?.ok_or_else(|| missing("device"))?;
        let mut time = None;
        for from in &self.time {
            if time.is_none() {
                time = word("time", from)?;
            }
        }
        let place = Whereabouts { offset: None, zone: sender.zone.clone() };
        let told = clock::read(&Form::Text, Cow::Owned(time.ok_or_else(|| missing("time"))?), &place);
        let time = told.map_err(|untold| match untold {
            Untold::NoOffset => Issue::new(Id::MeasureNoOffset, "", "The time has no offset, and no zone was named."),
            Untold::Skipped | Untold::Twice => {
                let text =
                    "The clocks of the zone skipped this time or went through it twice; an offset says which is meant.";
                Issue::new(Id::MeasureNoOffset, "", text)
            }
            _ => wrong("time", "a moment of ISO 8601 is expected".to_owned()),
        })?;
        let mut values = Vec::with_capacity(self.values.len());
        for value in &self.values {
            match word(&value.name, &value.from)? {
                Some(text) => values.push((value.name.clone(), text)),
                None if value.required => return Err(missing(&value.name)),
                None => {}
            }
        }
        let optional = |what: &str, from: &Option<Expression>| match from {
            Some(from) => word(what, from),
            None => Ok(None),
        };
        Ok(Measurement {
            kind: self.kind.clone(),
            device,
            time: time.text(),
            patient: optional("patient", &self.patient)?,
            correlation: optional("correlation", &self.correlation)?,
            values,
        })
    }
}
