//! Expressions of a mapping: FHIRPath over the JSON of a sender.
//!
//! Almost every expression is a plain path (`metadata.id`, `value[0].fpVal`, `%record.device`). Such a path is walked
//! without the engine and means the same; anything else is compiled FHIRPath. The focus is the item at hand; `%record` is
//! the record that it belongs to, `%document` is all that was sent, and `%key` alone is the name under which an item
//! stood. Null counts as absent. What a value means is not known here.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::fhir::fhirpath::{self, Context, Node, ShapesOnly, Value};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Element, Kind, NodeId};

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(super) struct Scope<'d> {
    pub document: &'d Document,
    pub record: NodeId,
    pub item: NodeId,
    /// The name under which the item stood, where its siblings are not a list.
    pub key: &'d str,
}

#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    form: Form,
    /// About the record, also where the item at hand is only a part of it.
    of_record: bool,
}

#[derive(Debug)]
enum Form {
    Key,
    Word(String),
    /// Alternatives; where one value is wanted the first that is there.
    Paths(Vec<(From, Vec<Step>)>),
    Fhirpath(fhirpath::Expression),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    Item,
    Record,
    Document,
}

#[derive(Debug)]
enum Step {
    Name(String),
    Index(usize),
}

/// A value that an expression gives.
#[derive(Clone, Debug)]
pub(super) enum Found<'d> {
    Node(NodeId),
    /// Computed, and so without a place.
    Text(Cow<'d, str>),
}

pub(super) type Nodes = SmallVec<[NodeId; 4]>;

impl Expression {
    /// Compiles; the error says what is wrong.
    pub fn compile(text: &str) -> Result<Expression, String> {
        let form = if text == "%key" {
            Form::Key
        } else if let Some(word) = word(text) {
            Form::Word(word.to_owned())
        } else if let Some(paths) = text.split(" | ").map(path).collect() {
            Form::Paths(paths)
        } else {
            let standard = text.replace("%record", "%resource").replace("%document", "%rootResource");
            let compiled = fhirpath::compile(&standard)
                .map_err(|syntax| format!("`{text}` is no FHIRPath at character {}: {}", syntax.offset, syntax.what))?;
            Form::Fhirpath(compiled)
        };
        Ok(Expression { text: text.to_owned(), form, of_record: false })
    }

    /// Of the record, also where the item at hand is only a part of it.
    pub fn of_record(self) -> Expression {
        Expression { of_record: true, ..self }
    }

    fn scope<'d>(&self, scope: Scope<'d>) -> Scope<'d> {
        if self.of_record { Scope { item: scope.record, ..scope } } else { scope }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names of members that the expression looks at, among others.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.text.split(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | '-')))
    }

    /// Every node that it selects.
    pub fn nodes(&self, scope: Scope<'_>) -> Result<Nodes, Issue> {
        let scope = self.scope(scope);
        let mut found = Nodes::new();
        match &self.form {
            Form::Key | Form::Word(_) => {}
            Form::Paths(paths) => {
                for (from, steps) in paths {
                    select(scope.document, from.node(scope), steps, Empty::Passed, &mut found);
                }
            }
            Form::Fhirpath(expression) => {
                for value in self.evaluate(expression, scope)? {
                    if let Value::Node(node) = value {
                        found.push(node.element.node());
                    }
                }
            }
        }
        Ok(found)
    }

    /// As [`Expression::nodes`], with the elements of lists that hold nothing: each was sent, and is answered.
    pub fn elements(&self, scope: Scope<'_>) -> Result<Nodes, Issue> {
        let Form::Paths(paths) = &self.form else { return self.nodes(scope) };
        let scope = self.scope(scope);
        let mut found = Nodes::new();
        for (from, steps) in paths {
            select(scope.document, from.node(scope), steps, Empty::Told, &mut found);
        }
        Ok(found)
    }

    /// The one value that it gives, if any.
    pub fn one<'d>(&'d self, scope: Scope<'d>) -> Result<Option<Found<'d>>, Issue> {
        let scope = self.scope(scope);
        match &self.form {
            Form::Key => Ok(Some(Found::Text(Cow::Borrowed(scope.key)))),
            Form::Word(word) => Ok(Some(Found::Text(Cow::Borrowed(word)))),
            Form::Paths(paths) => {
                let mut found = Nodes::new();
                for (from, steps) in paths {
                    select(scope.document, from.node(scope), steps, Empty::Passed, &mut found);
                    match found.as_slice() {
                        [] => {}
                        [one] => return Ok(Some(Found::Node(*one))),
                        _ => return Err(self.several(scope)),
                    }
                }
                Ok(None)
            }
            Form::Fhirpath(expression) => {
                let mut values = self.evaluate(expression, scope)?.into_iter();
                let first = values.next();
                if values.next().is_some() {
                    return Err(self.several(scope));
                }
                Ok(first.and_then(|value| match value {
                    Value::Node(node) => Some(Found::Node(node.element.node())),
                    Value::Boolean(value) => Some(Found::Text(Cow::Borrowed(if value { "true" } else { "false" }))),
                    Value::Integer(value) => Some(Found::Text(Cow::Owned(value.to_string()))),
                    Value::Decimal(value) => Some(Found::Text(Cow::Owned(value.to_string()))),
                    Value::Text(text) => Some(Found::Text(text)),
                    Value::Temporal(_) | Value::Quantity(_) | Value::Type { .. } => None,
                }))
            }
        }
    }

    /// The one text, number or truth value that it gives, as text; nothing for empty text.
    pub fn word<'d>(&'d self, scope: Scope<'d>) -> Result<Option<Cow<'d, str>>, Issue> {
        let text = match self.one(scope)? {
            None => return Ok(None),
            Some(Found::Text(text)) => text,
            Some(Found::Node(node)) => match scope.document.kind(node) {
                Kind::Object | Kind::Array => {
                    return Err(issue_at(scope, node, "A text or a number is expected, and not an object."));
                }
                _ => Cow::Borrowed(scope.document.value(node)),
            },
        };
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }

    /// Whether it holds.
    pub fn holds(&self, scope: Scope<'_>) -> Result<bool, Issue> {
        let scope = self.scope(scope);
        match &self.form {
            Form::Fhirpath(expression) => expression
                .holds(&context(scope), node(scope.document, scope.item))
                .map_err(|failure| self.failed(scope, &failure)),
            Form::Key | Form::Word(_) => Ok(true),
            // A path holds where something stands that is not false.
            Form::Paths(_) => Ok(match self.nodes(scope)?.as_slice() {
                [] => false,
                [one] => scope.document.kind(*one) != Kind::False,
                _ => true,
            }),
        }
    }

    /// Where an issue about the value belongs: where it stands, else what would hold it.
    pub fn place(&self, scope: Scope<'_>) -> NodeId {
        if let Some(first) = self.nodes(scope).ok().and_then(|nodes| nodes.first().copied()) {
            return first;
        }
        let scope = self.scope(scope);
        let Form::Paths(paths) = &self.form else { return scope.item };
        let Some((from, steps)) = paths.first() else { return scope.item };
        let holders = (1..steps.len()).rev().find_map(|length| {
            let mut found = Nodes::new();
            select(scope.document, from.node(scope), &steps[..length], Empty::Passed, &mut found);
            found.first().copied()
        });
        holders.unwrap_or_else(|| from.node(scope))
    }

    fn evaluate<'d>(&'d self, expression: &'d fhirpath::Expression, scope: Scope<'d>) -> Result<Vec<Value<'d>>, Issue> {
        expression
            .evaluate(&context(scope), node(scope.document, scope.item))
            .map(|found| found.into_iter().collect())
            .map_err(|failure| self.failed(scope, &failure))
    }

    fn failed(&self, scope: Scope<'_>, failure: &fhirpath::Failure) -> Issue {
        issue_at(scope, scope.item, &format!("The mapping's expression {} fails here: {failure}.", self.text))
    }

    fn several(&self, scope: Scope<'_>) -> Issue {
        issue_at(scope, self.place(scope), "One value is expected here, and there are several.")
    }
}

impl From {
    fn node(self, scope: Scope<'_>) -> NodeId {
        match self {
            From::Item => scope.item,
            From::Record => scope.record,
            From::Document => scope.document.root(),
        }
    }
}

/// An issue about a value that is not there.
pub(super) fn missing(scope: Scope<'_>, expression: &Expression) -> Issue {
    issue_at(scope, expression.place(scope), &format!("{} is missing.", expression.text()))
}

/// An issue about a node of what was sent.
pub(super) fn issue_at(scope: Scope<'_>, node: NodeId, text: &str) -> Issue {
    issue_of(Id::DeviceRecord, scope, node, text)
}

pub(super) fn issue_of(id: Id, scope: Scope<'_>, node: NodeId, text: &str) -> Issue {
    let place = super::place::path(scope.document, node);
    Issue::new(id, place, text).at(scope.document.position(node))
}

/// The content of a quoted text.
fn word(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    (!inner.contains(['\'', '\\'])).then_some(inner)
}

/// A path of names and indexes, and of nothing that FHIRPath reads in another way.
fn path(text: &str) -> Option<(From, Vec<Step>)> {
    let (from, rest) = match text.split_once('.').unwrap_or((text, "")) {
        ("%record", rest) => (From::Record, rest),
        ("%document", rest) => (From::Document, rest),
        ("$this", rest) => (From::Item, rest),
        _ => (From::Item, text),
    };
    let mut steps = Vec::new();
    for part in rest.split('.').filter(|part| !part.is_empty()) {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, Some(index.strip_suffix(']')?.parse().ok()?)),
            None => (part, None),
        };
        let plain = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'));
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !["true", "false", "as", "is", "in", "contains", "and", "or", "xor", "implies", "div", "mod"]
                    .contains(&name)
        };
        match plain {
            Some(quoted) if !quoted.contains(['`', '\\']) => steps.push(Step::Name(quoted.to_owned())),
            None if is_name(name) => steps.push(Step::Name(name.to_owned())),
            _ => return None,
        }
        steps.extend(index.map(Step::Index));
    }
    let empty = rest.is_empty() && !text.starts_with(['%', '$']);
    (!empty && !rest.contains("..")).then_some((from, steps))
}

/// What becomes of elements of a list that hold nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Passed,
    Told,
}

/// Whether nothing was sent in an element's place.
pub(super) fn is_empty(document: &Document, node: NodeId) -> bool {
    match document.kind(node) {
        Kind::Null => true,
        Kind::Array => document.children(node).next().is_none(),
        _ => false,
    }
}

fn select(document: &Document, node: NodeId, steps: &[Step], empty: Empty, into: &mut Nodes) {
    match (document.kind(node), steps) {
        (Kind::Null, _) => {}
        (Kind::Array, [Step::Index(index), rest @ ..]) => {
            if let Some(item) = document.children(node).nth(*index) {
                select(document, item, rest, empty, into);
            }
        }
        (Kind::Array, _) => {
            for item in document.children(node) {
                if steps.is_empty() && empty == Empty::Told && is_empty(document, item) {
                    into.push(item);
                } else {
                    select(document, item, steps, empty, into);
                }
            }
        }
        (_, []) => into.push(node),
        (_, [Step::Name(name), rest @ ..]) => {
            if let Some(member) = document.member(node, name) {
                select(document, member, rest, empty, into);
            }
        }
        // One value is a list of one.
        (_, [Step::Index(0), rest @ ..]) => select(document, node, rest, empty, into),
        (_, [Step::Index(_), ..]) => {}
    }
}

fn node(document: &Document, node: NodeId) -> Node<'_> {
    Node { element: Element::at(document, node), type_name: Some(JSON) }
}

/// What is asked of JSON that is not FHIR: its shapes say everything that is known of it.
fn context(scope: Scope<'_>) -> Context<'_> {
    Context {
        root: node(scope.document, scope.document.root()),
        steps: STEPS,
        ..Context::new(&ShapesOnly, node(scope.document, scope.record))
    }
}

/// Enough for any record, and far below a noticeable time.
const STEPS: u64 = 100_000;

/// No type of FHIR's: a name is a name, and an object with a value is no Quantity.
const JSON: &str = "json";
