//! A mapping, compiled: every expression, every table, and every measure found, before the first record comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rust_decimal::Decimal;

use super::clock::Form;
use super::expression::Expression;
use crate::devices::observation::Recording;
use crate::fhir::ours::BASE;
use crate::fhir::validate::measures::Measure;

/// One format, ready to be read.
#[derive(Debug)]
pub struct Pack {
    pub id: String,
    pub version: String,
    pub title: String,
    /// Which documents of the sender it follows.
    pub source: String,
    /// System of the identifiers that records get.
    pub identifier: String,
    pub(super) types: Option<(String, Vec<String>)>,
    pub(super) inputs: Vec<Input>,
}

#[derive(Debug)]
pub(super) struct Input {
    /// All are looked at; the whole of what was sent (`$this`) only where no other has anything.
    pub at: Vec<Expression>,
    pub fields: Option<Expression>,
    pub when: Option<Expression>,
    pub by: Vec<Expression>,
    pub version: Option<Expression>,
    /// Whether the fields are held against the JSON Schema of their kind and version.
    pub schemas: bool,
    pub kinds: HashMap<String, Arc<[Rule]>>,
    /// Where kinds are not told apart.
    pub rules: Vec<Rule>,
    /// Kinds that are not taken, and why.
    pub skip: BTreeMap<String, String>,
    /// Why a record of which no rule makes anything is not taken: the first that holds.
    pub reasons: Vec<(Expression, String)>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub name: Option<String>,
    pub when: Option<Expression>,
    pub versions: Option<(u32, u32)>,
    pub each: Each,
    pub measures: Vec<&'static Measure>,
    pub value: Value,
    pub optional: bool,
    pub components: Vec<Component>,
    /// The id where the record has one; `id` counts where it has not.
    pub own: Option<Expression>,
    /// One expression is the id itself; several are a fingerprint.
    pub id: Vec<Expression>,
    pub time: Time,
    pub zone: Option<Expression>,
    pub device: Vec<Expression>,
    pub app: Vec<Expression>,
    pub origin: Vec<Expression>,
    pub recording: Choice<Recording>,
    pub statistic: Option<(Expression, BTreeMap<String, String>, Option<Expression>)>,
    pub meal: Option<Choice<String>>,
    pub completeness: Option<Expression>,
    pub notes: Vec<Note>,
    /// Members of a record that are known, looked at or not.
    pub known: Vec<String>,
}

#[derive(Debug)]
pub(super) enum Each {
    Once,
    Items(Expression),
    /// Members of an object, whose names say something.
    Entries(Expression),
}

#[derive(Debug)]
pub(super) enum Value {
    Panel,
    Number(Box<Number>),
    Coded(Box<Coded>),
    Flag(Expression),
    Date(Box<Clock>),
}

#[derive(Debug)]
pub(super) struct Coded {
    pub by: Expression,
    pub is: BTreeMap<String, String>,
    pub system: String,
    pub otherwise: Option<String>,
    /// What the sender calls it.
    pub text: Option<Expression>,
}

#[derive(Debug)]
pub(super) struct Number {
    pub from: Source,
    pub unit: UnitOf,
    /// Exact factor, fixed or sent.
    pub times: Option<Expression>,
    /// Power of ten, fixed or sent.
    pub shift: Option<Expression>,
}

#[derive(Debug)]
pub(super) enum Source {
    Value(Expression),
    /// The seconds that these spans last together.
    Spans(Box<Spans>),
}

#[derive(Debug)]
pub(super) struct Spans {
    pub of: Expression,
    pub from: Clock,
    pub to: SpanEnd,
    /// Which of them count.
    pub counts: Option<Expression>,
}

#[derive(Debug)]
pub(super) enum SpanEnd {
    /// Each says it itself.
    Own(Clock),
    /// Each lasts until the next one starts, and the last one until then.
    Next(Clock),
}

#[derive(Debug)]
pub(super) struct Component {
    pub measure: &'static Measure,
    pub number: Number,
    pub optional: bool,
}

#[derive(Debug)]
pub(super) enum UnitOf {
    Fixed(Unit),
    By { by: Expression, is: BTreeMap<String, Unit>, default: Option<Unit> },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Unit {
    pub ucum: String,
    /// Exact factor from what is sent.
    pub times: Option<Decimal>,
}

#[derive(Debug)]
pub(super) enum Choice<T> {
    Fixed(T),
    By { by: Expression, is: BTreeMap<String, T>, otherwise: Option<T> },
}

#[derive(Debug)]
pub(super) enum Time {
    At(Clock),
    StartEnd(Clock, Clock),
    StartLength(Clock, Length),
    EndLength(Clock, Length),
    /// From one midnight to the next.
    Day(Clock),
    /// Whichever of these the record has.
    Either(Vec<Time>),
}

#[derive(Debug)]
pub(super) struct Clock {
    pub time: Expression,
    pub form: Form,
    pub offset: Option<(Expression, Option<i64>)>,
    pub zone: Option<Expression>,
    pub plus: Option<(Expression, String)>,
}

#[derive(Debug)]
pub(super) enum Length {
    Iso(Expression),
    Number(Expression, UnitOf),
}

#[derive(Debug)]
pub(super) struct Note {
    pub value: Expression,
    pub label: Option<String>,
    pub words: Option<Vec<String>>,
    /// What stands for what is sent.
    pub is: Option<BTreeMap<String, String>>,
    pub unit: Option<Expression>,
    pub units: Option<Vec<String>>,
}

impl Pack {
    /// Canonical and version, as a Provenance names it.
    pub fn canonical(&self) -> String {
        format!("{BASE}/mapping/{}|{}", self.id, self.version)
    }

    /// Kinds of records that it takes, with the measures that they become.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, Vec<&'static str>)> {
        self.inputs.iter().flat_map(|input| {
            let keys = |rules: &[Rule]| -> Vec<&'static str> {
                rules.iter().flat_map(|rule| rule.measures.iter().map(|measure| measure.key.as_str())).collect()
            };
            let named = input.kinds.iter().map(move |(kind, rules)| (kind.as_str(), keys(rules)));
            let rest = (!input.rules.is_empty()).then(|| (input.at[0].text(), keys(&input.rules)));
            named.chain(rest)
        })
    }
}

impl UnitOf {
    pub fn all(&self) -> Vec<&Unit> {
        match self {
            UnitOf::Fixed(unit) => vec![unit],
            UnitOf::By { is, default, .. } => is.values().chain(default).collect(),
        }
    }
}
