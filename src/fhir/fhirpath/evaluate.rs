//! Runs a plan: one recursive walk with a budget of steps.
//!
//! The height of a plan is bounded by the parser and no construct of the language recurses by itself, so the
//! budget alone keeps a hostile expression or resource from hanging: every node of the plan that is visited
//! costs a step, and so does every item that a comparison or a walk through the tree looks at.

use std::borrow::Cow;
use std::cell::Cell;

use super::context::{Context, Failure};
use super::functions::Says;
use super::plan::{Namespace, Operator, Plan, Sign, TypeName, TypeOperator};
use super::value::{Collection, Node, Value};
use super::{arithmetic, compare, host, navigate};

/// Longest text that an evaluation makes; a hostile expression could double one at every step.
pub(super) const MAX_TEXT: usize = 1 << 20;

pub(super) type Outcome<'d> = Result<Collection<'d>, Failure>;

/// One evaluation under way.
pub(super) struct Machine<'d> {
    pub context: Context<'d>,
    pub focus: Node<'d>,
    left: Cell<u64>,
}

/// What `$this`, `$index` and `$total` stand for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s, 'd> {
    pub this: &'s Value<'d>,
    pub index: Option<usize>,
    pub total: Option<&'s Collection<'d>>,
}

pub(super) fn run<'d>(plan: &'d Plan, context: &Context<'d>, focus: Node<'d>) -> Outcome<'d> {
    let machine = Machine { context: *context, focus, left: Cell::new(context.steps) };
    let this = Value::Node(focus);
    machine.evaluate(plan, &Scope { this: &this, index: None, total: None })
}

/// The answer of an expression that is a yes or a no by its form; `None` where it may be anything.
pub(super) fn decide<'d>(
    plan: &'d Plan,
    context: &Context<'d>,
    focus: Node<'d>,
) -> Option<Result<Option<bool>, Failure>> {
    let decides = match plan {
        Plan::Binary(Operator::And | Operator::Or | Operator::Xor | Operator::Implies, ..) => true,
        Plan::Call(_, function, arguments) => {
            arguments.is_empty() && function.says.is_some_and(|says| says != Says::First)
        }
        _ => false,
    };
    let machine = Machine { context: *context, focus, left: Cell::new(context.steps) };
    let this = Value::Node(focus);
    decides.then(|| machine.boolean(plan, &Scope { this: &this, index: None, total: None }))
}

impl<'d> Machine<'d> {
    pub fn spend(&self, steps: usize) -> Result<(), Failure> {
        match self.left.get().checked_sub(steps as u64) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(Failure::TooManySteps),
        }
    }

    /// Pays for looking at a value, whose text may be long and whose unit must be understood.
    pub fn read(&self, value: &Value<'_>) -> Result<(), Failure> {
        match value {
            Value::Text(text) => self.spend(text.len() / 64),
            Value::Node(node) => self.spend(node.element.text().map_or(0, str::len) / 64),
            Value::Quantity(_) => self.spend(16),
            _ => Ok(()),
        }
    }

    /// Pays for a text before it is made of that many bytes.
    pub fn make(&self, length: usize) -> Result<(), Failure> {
        if length > MAX_TEXT { Err(Failure::OutOfRange) } else { self.spend(length / 16) }
    }

    pub fn evaluate(&self, plan: &'d Plan, scope: &Scope<'_, 'd>) -> Outcome<'d> {
        self.spend(1)?;
        match plan {
            Plan::Literal(value) => Ok(value.borrowed().into()),
            Plan::Pattern { text, .. } => Ok(Collection::text(text.as_str())),
            Plan::Empty => Ok(Collection::Empty),
            Plan::This => {
                self.read(scope.this)?;
                Ok(scope.this.clone().into())
            }
            Plan::Index => Ok(scope.index.map_or(Collection::Empty, Collection::integer)),
            Plan::Total => {
                let total = scope.total.cloned().unwrap_or_default();
                for value in &total {
                    self.read(value)?;
                }
                Ok(total)
            }
            Plan::Resource => Ok(Value::Node(self.context.resource).into()),
            Plan::RootResource => Ok(Value::Node(self.context.root).into()),
            Plan::Context => Ok(Value::Node(self.focus).into()),
            Plan::Root(name) => {
                if self.names_type(scope.this, &name.text) {
                    return Ok(scope.this.clone().into());
                }
                let mut found = Collection::Empty;
                navigate::named(self, scope.this, name, &mut found)?;
                Ok(found)
            }
            Plan::Child(of, name) => {
                let mut found = Collection::Empty;
                for value in &self.evaluate(of, scope)? {
                    navigate::named(self, value, name, &mut found)?;
                }
                Ok(found)
            }
            Plan::Call(of, function, _) if function.says == Some(Says::First) && self.is_lenient() => {
                Ok(self.first(of, scope)?.into())
            }
            Plan::Call(of, function, arguments) => {
                let input = self.evaluate(of, scope)?;
                (function.run)(Call { machine: self, scope, input, arguments })
            }
            Plan::Item(of, index) => self.item(of, index, scope),
            Plan::Typed(operator, of, name) => {
                let input = self.evaluate(of, scope)?;
                self.typed(*operator, input, name)
            }
            Plan::Binary(operator, left, right) => self.binary(*operator, left, right, scope),
            Plan::Sign(sign, of) => {
                let Some(value) = single(self.evaluate(of, scope)?, "a sign")? else { return Ok(Collection::Empty) };
                arithmetic::signed(&value, *sign == Sign::Minus).map(Collection::One)
            }
        }
    }

    /// A criterion: empty, or one boolean; one item of another type counts as true (FHIRPath §4.5).
    pub fn boolean(&self, plan: &'d Plan, scope: &Scope<'_, 'd>) -> Result<Option<bool>, Failure> {
        match plan {
            Plan::Binary(
                operator @ (Operator::And | Operator::Or | Operator::Xor | Operator::Implies),
                left,
                right,
            ) => {
                self.spend(1)?;
                self.logic(*operator, left, right, scope)
            }
            Plan::Call(of, function, arguments) if arguments.is_empty() => match function.says {
                Some(Says::IsThere) => Ok(Some(self.is_there(of, scope)?)),
                Some(Says::IsAbsent) => Ok(Some(!self.is_there(of, scope)?)),
                Some(Says::IsFalse) => Ok(self.boolean(of, scope)?.map(|answer| !answer)),
                Some(Says::First) | None => truth(&self.evaluate(plan, scope)?),
            },
            _ => truth(&self.evaluate(plan, scope)?),
        }
    }

    /// Whether a plan selects anything; what it selects is made only where that cannot be told without.
    fn is_there(&self, plan: &'d Plan, scope: &Scope<'_, 'd>) -> Result<bool, Failure> {
        self.spend(1)?;
        match plan {
            Plan::Root(name) => Ok(self.names_type(scope.this, &name.text) || navigate::any(self, scope.this, name)?),
            Plan::Child(of, name) => {
                // All are asked, since a name that is not defined is a failure wherever it is met.
                let mut found = false;
                for value in &self.evaluate(of, scope)? {
                    found |= navigate::any(self, value, name)?;
                }
                Ok(found)
            }
            _ => Ok(!self.evaluate(plan, scope)?.is_empty()),
        }
    }

    /// Whether no name is a failure, so that nobody needs to ask all items for one.
    fn is_lenient(&self) -> bool {
        self.context.loose_choices && !self.context.strict
    }

    /// The first item: a path need not be followed further, which matters where that is asked for each of many.
    fn first(&self, plan: &'d Plan, scope: &Scope<'_, 'd>) -> Result<Option<Value<'d>>, Failure> {
        let Plan::Child(of, name) = plan else {
            return Ok(self.evaluate(plan, scope)?.into_iter().next());
        };
        self.spend(1)?;
        for value in &self.evaluate(of, scope)? {
            if let Some(first) = navigate::first(self, value, name)? {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// Whether a name at the start of a path is the type of the focus rather than a child.
    fn names_type(&self, this: &Value<'d>, name: &str) -> bool {
        let Value::Node(node) = this else { return false };
        if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
            return false;
        }
        let is = |type_name: &str| type_name == name || self.context.host.is_subtype(type_name, name);
        node.type_name.is_some_and(is) || node.element.resource_type().is_some_and(is)
    }

    fn item(&self, of: &'d Plan, index: &'d Plan, scope: &Scope<'_, 'd>) -> Outcome<'d> {
        let input = self.evaluate(of, scope)?;
        let index = match single(self.evaluate(index, scope)?, "an index")?.and_then(|value| value.system()) {
            None => return Ok(Collection::Empty),
            Some(Value::Integer(index)) => usize::try_from(index).ok(),
            Some(_) => return Err(Failure::WrongType("an index")),
        };
        Ok(index.and_then(|index| input.into_iter().nth(index)).into())
    }

    fn typed(&self, operator: TypeOperator, input: Collection<'d>, name: &TypeName) -> Outcome<'d> {
        match operator {
            TypeOperator::Is => {
                let Some(value) = single(input, "is")? else { return Ok(Collection::Empty) };
                Ok(Collection::boolean(self.is(&value, name)))
            }
            TypeOperator::OfType => Ok(input.into_iter().filter(|value| self.is_exactly(value, name)).collect()),
            TypeOperator::As | TypeOperator::AsFunction => {
                if input.len() > 1 && !self.context.as_filters {
                    return Err(Failure::NotSingle("as"));
                }
                Ok(input.into_iter().filter(|value| self.is_exactly(value, name)).collect())
            }
        }
    }

    /// Whether the value is of the type or of one derived from it.
    fn is(&self, value: &Value<'d>, target: &TypeName) -> bool {
        match value {
            Value::Node(node) => {
                target.namespace != Namespace::System
                    && node.fhir_type().is_some_and(|type_name| {
                        type_name == &*target.name || self.context.host.is_subtype(type_name, &target.name)
                    })
            }
            value => target.namespace != Namespace::Fhir && value.system_type() == Some(&*target.name),
        }
    }

    /// As [`Machine::is`], but a `code` is not cast to the `string` that it derives from.
    fn is_exactly(&self, value: &Value<'d>, target: &TypeName) -> bool {
        match value {
            Value::Node(node) if host::is_primitive(&target.name) => {
                target.namespace != Namespace::System && node.fhir_type() == Some(&*target.name)
            }
            value => self.is(value, target),
        }
    }

    fn binary(&self, operator: Operator, left: &'d Plan, right: &'d Plan, scope: &Scope<'_, 'd>) -> Outcome<'d> {
        if let Operator::And | Operator::Or | Operator::Xor | Operator::Implies = operator {
            return self.logic(operator, left, right, scope).map(answer);
        }
        let left = self.evaluate(left, scope)?;
        let right = self.evaluate(right, scope)?;
        match operator {
            Operator::Equal => Ok(answer(compare::equal_collections(self, &left, &right)?)),
            Operator::NotEqual => Ok(answer(compare::equal_collections(self, &left, &right)?.map(|equal| !equal))),
            Operator::Equivalent => compare::equivalent_collections(self, &left, &right).map(Collection::boolean),
            Operator::NotEquivalent => {
                compare::equivalent_collections(self, &left, &right).map(|equivalent| Collection::boolean(!equivalent))
            }
            Operator::Less | Operator::Greater | Operator::LessOrEqual | Operator::GreaterOrEqual => {
                let (Some(left), Some(right)) = (single(left, "a comparison")?, single(right, "a comparison")?) else {
                    return Ok(Collection::Empty);
                };
                let order = compare::order(&left, &right)?;
                Ok(answer(order.map(|order| match operator {
                    Operator::Less => order.is_lt(),
                    Operator::Greater => order.is_gt(),
                    Operator::LessOrEqual => order.is_le(),
                    _ => order.is_ge(),
                })))
            }
            Operator::Union => compare::distinct(self, left.into_iter().chain(right)),
            Operator::In => self.membership(left, &right),
            Operator::Contains => self.membership(right, &left),
            Operator::Concatenate => arithmetic::concatenate(self, left, right),
            _ => {
                let (Some(left), Some(right)) = (single(left, "arithmetic")?, single(right, "arithmetic")?) else {
                    return Ok(Collection::Empty);
                };
                arithmetic::calculate(self, operator, &left, &right).map(Collection::from)
            }
        }
    }

    fn membership(&self, item: Collection<'d>, of: &Collection<'d>) -> Outcome<'d> {
        let Some(item) = single(item, "membership")? else { return Ok(Collection::Empty) };
        Ok(Collection::boolean(compare::contains(self, of, &item)?))
    }

    /// Three-valued logic (FHIRPath §6.5); the right side is left alone where the left one decides.
    fn logic(
        &self,
        operator: Operator,
        left: &'d Plan,
        right: &'d Plan,
        scope: &Scope<'_, 'd>,
    ) -> Result<Option<bool>, Failure> {
        let left = self.boolean(left, scope)?;
        match (operator, left) {
            (Operator::And, Some(false)) => return Ok(Some(false)),
            (Operator::Or, Some(true)) | (Operator::Implies, Some(false)) => return Ok(Some(true)),
            _ => {}
        }
        let right = self.boolean(right, scope)?;
        Ok(match (operator, left, right) {
            (Operator::And, _, Some(false)) => Some(false),
            (Operator::Or | Operator::Implies, _, Some(true)) => Some(true),
            (_, None, _) | (_, _, None) => None,
            (Operator::And, Some(left), Some(right)) => Some(left && right),
            (Operator::Or, Some(left), Some(right)) => Some(left || right),
            (Operator::Xor, Some(left), Some(right)) => Some(left != right),
            (_, Some(left), Some(right)) => Some(!left || right),
        })
    }
}

/// A function's input and arguments, not yet evaluated: only the function knows what `$this` is in them.
pub(super) struct Call<'s, 'd> {
    pub machine: &'s Machine<'d>,
    pub scope: &'s Scope<'s, 'd>,
    pub input: Collection<'d>,
    pub arguments: &'d [Plan],
}

impl<'d> Call<'_, 'd> {
    pub fn argument(&self, index: usize) -> Outcome<'d> {
        self.arguments.get(index).map_or(Ok(Collection::Empty), |plan| self.machine.evaluate(plan, self.scope))
    }

    pub fn has_argument(&self, index: usize) -> bool {
        self.arguments.len() > index
    }

    /// An argument that is one text; `None` where it is empty.
    pub fn text_argument(&self, index: usize) -> Result<Option<Cow<'d, str>>, Failure> {
        self.one_text(self.argument(index)?)
    }

    pub fn integer_argument(&self, index: usize) -> Result<Option<i64>, Failure> {
        match single(self.argument(index)?, "an argument")?.and_then(|value| value.system()) {
            None => Ok(None),
            Some(Value::Integer(value)) => Ok(Some(value)),
            Some(_) => Err(Failure::WrongType("an integer argument")),
        }
    }

    /// The input as one text.
    pub fn text(&mut self) -> Result<Option<Cow<'d, str>>, Failure> {
        let input = std::mem::take(&mut self.input);
        self.one_text(input)
    }

    fn one_text(&self, collection: Collection<'d>) -> Result<Option<Cow<'d, str>>, Failure> {
        let text = single_text(collection)?;
        self.machine.spend(text.as_ref().map_or(0, |text| text.len()) / 64)?;
        Ok(text)
    }

    /// The input as one item.
    pub fn single(&mut self) -> Result<Option<Value<'d>>, Failure> {
        single(std::mem::take(&mut self.input), "a function")
    }

    /// The input as one system value; `None` where it is empty or has children only.
    pub fn system(&mut self) -> Result<Option<Value<'d>>, Failure> {
        Ok(self.single()?.and_then(|value| value.system()))
    }

    /// An argument evaluated with an item as `$this`.
    pub fn with(&self, argument: usize, this: &Value<'d>, index: usize) -> Outcome<'d> {
        let scope = Scope { this, index: Some(index), total: self.scope.total };
        self.machine.evaluate(&self.arguments[argument], &scope)
    }

    /// A criterion evaluated with an item as `$this`.
    pub fn criterion(&self, this: &Value<'d>, index: usize) -> Result<Option<bool>, Failure> {
        let scope = Scope { this, index: Some(index), total: self.scope.total };
        self.machine.boolean(&self.arguments[0], &scope)
    }
}

pub(super) fn single<'d>(collection: Collection<'d>, place: &'static str) -> Result<Option<Value<'d>>, Failure> {
    match collection {
        Collection::Empty => Ok(None),
        Collection::One(value) => Ok(Some(value)),
        Collection::Many(mut values) if values.len() < 2 => Ok(values.pop()),
        Collection::Many(_) => Err(Failure::NotSingle(place)),
    }
}

fn single_text(collection: Collection<'_>) -> Result<Option<Cow<'_, str>>, Failure> {
    let Some(value) = single(collection, "a text")? else { return Ok(None) };
    match value {
        Value::Text(text) => Ok(Some(text)),
        // Dates and other primitives that are JSON strings may be read as text.
        Value::Node(node) => match node.element.string() {
            Some(text) => Ok(Some(Cow::Borrowed(text))),
            None if node.element.kind().is_none() => Ok(None),
            None => Err(Failure::WrongType("a text")),
        },
        _ => Err(Failure::WrongType("a text")),
    }
}

pub(super) fn truth(collection: &Collection<'_>) -> Result<Option<bool>, Failure> {
    match collection.as_slice() {
        [] => Ok(None),
        [Value::Boolean(value)] => Ok(Some(*value)),
        [Value::Node(node)] => Ok(Some(node.element.boolean().unwrap_or(true))),
        [_] => Ok(Some(true)),
        _ => Err(Failure::NotSingle("a criterion")),
    }
}

fn answer<'d>(answer: Option<bool>) -> Collection<'d> {
    answer.map_or(Collection::Empty, Collection::boolean)
}
