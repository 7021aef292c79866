//! A pack, compiled: every table and template read, every slot found, before the first measurement comes. It prints
//! itself as sentences that whoever wrote the pack can check.

use std::collections::HashMap;
use std::fmt;

use rust_decimal::Decimal;

use super::address::Way;
use super::file::{Answer, Corrections, Format, Removal, Rounding};
use super::lookup::Lookup;
use super::lost::Asked;
use super::slot::Slot;
use super::template::{Node, Only};
use crate::fhir::validate::measures::Measure;

/// How one destination wants measurements.
#[derive(Debug)]
pub struct Pack {
    pub id: String,
    pub version: Version,
    /// Of its files: another content is another digest, though it has the same version.
    pub digest: String,
    pub title: String,
    /// ISO 3166-1 code, or `EU`.
    pub country: String,
    pub country_name: String,
    /// `push`, `pull`, or both.
    pub direction: String,
    pub status: String,
    /// Release of FHIR.
    pub fhir: String,
    /// The specification that it follows.
    pub source: String,
    pub request: Request,
    /// What is asked there before a measurement can be told.
    pub lookup: Option<Lookup>,
    pub settings: Vec<Setting>,
    pub(super) rounding: Rounding,
    pub(super) narrative: Option<Narrative>,
    pub(super) known_by: Vec<System>,
    pub(super) app_otherwise: bool,
    pub(super) device_system: Option<System>,
    /// Where days are cut of what says no zone of its own.
    pub(super) zone: Option<System>,
    pub(super) words: Vec<Words>,
    pub(super) parts: Vec<Node>,
    /// What they ask for.
    pub(super) asked: Asked,
    /// Which of the parts is the request.
    pub(super) whole: usize,
    pub(super) rows: Vec<Row>,
    /// Rows by the address of the measure in the table of measures; those of a code that several measures share stand
    /// together.
    pub(super) by_measure: HashMap<usize, Vec<usize>>,
    pub answers: super::answer::Answers,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub [u32; 3]);

/// What goes over the wire, besides its body.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Below the address of the destination, as it is written.
    pub path: String,
    pub(super) way: Way,
    /// Most measurements of one request.
    pub most: usize,
    /// Most that one measurement may become in a request of its own, if that is more.
    pub parts: usize,
    pub corrections: Corrections,
    pub removal: Removal,
    /// Whether the same request leaves the same there, however often it comes.
    pub repeatable: bool,
    pub answer: Answer,
    pub format: Format,
    /// Whether it wants to be told which requests belong to one attempt.
    pub trace: bool,
}

/// Something that the operator says of its own access.
#[derive(Debug)]
pub struct Setting {
    pub name: String,
    pub what: String,
    pub default: Option<String>,
    pub one_of: Vec<String>,
    pub optional: bool,
}

#[derive(Debug)]
pub(super) struct Narrative {
    pub language: String,
    pub code: String,
    pub time: String,
    pub value: String,
}

/// A system of identifiers, or another name that is fixed or the operator's.
#[derive(Debug)]
pub(super) enum System {
    Fixed(String),
    Setting(usize),
}

#[derive(Debug)]
pub(super) struct Words {
    pub name: String,
    pub by: Slot,
    pub lines: Vec<Word>,
}

#[derive(Debug)]
pub(super) struct Word {
    pub from: String,
    pub system: String,
    pub code: String,
    pub display: String,
}

/// How the destination wants a measure.
#[derive(Debug)]
pub struct Row {
    pub measure: String,
    /// The same in the guide's table of measures.
    pub(super) known: Option<&'static Measure>,
    pub form: Form,
    pub profile: String,
    /// A list of CodeableConcepts, as JSON.
    pub(super) categories: String,
    pub unit: Option<Unit>,
    pub(super) number: Number,
    pub(super) time: Time,
    pub(super) needs: Vec<Need>,
    /// Measures of the components that are told with it.
    pub(super) parts: Vec<String>,
    pub(super) codes: Vec<Codes>,
    /// Codes of the component that has the value.
    pub(super) inside: Vec<Codes>,
    /// The first coding, for whoever compares destinations.
    pub system: String,
    pub code: String,
    pub note: String,
}

/// What a measurement becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Quantity,
    /// The components of the measurement, each by its own line.
    Components,
    /// Each component a measurement of its own.
    Split,
    /// What belongs to it are measurements of their own already, which it names.
    Members,
    /// The value is a component's.
    Inside,
    Series,
    Coded,
    /// It is told as a component of something else alone.
    Part,
    /// The destination says no.
    Refused,
}

impl Form {
    const ALL: [(&'static str, Form); 9] = [
        ("quantity", Form::Quantity),
        ("components", Form::Components),
        ("split", Form::Split),
        ("members", Form::Members),
        ("inside", Form::Inside),
        ("series", Form::Series),
        ("coded", Form::Coded),
        ("part", Form::Part),
        ("refused", Form::Refused),
    ];

    pub(super) fn named(name: &str) -> Option<Form> {
        Form::ALL.iter().find(|(known, _)| *known == name).map(|(_, form)| *form)
    }

    pub fn name(self) -> &'static str {
        Form::ALL.iter().find(|(_, form)| *form == self).map_or("", |(name, _)| name)
    }
}

/// The literal texts of a unit at the destination.
#[derive(Debug)]
pub struct Unit {
    pub system: String,
    pub code: String,
    pub text: String,
    /// What is written behind the number, as JSON.
    pub(super) tail: String,
    /// Units in which the measure comes, and how they become this one.
    pub(super) from: Vec<(String, Conversion)>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Conversion {
    /// Another spelling of the same.
    Same,
    Line(Line),
}

/// So many times as much, and so much more.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Line {
    pub times: Decimal,
    pub plus: Decimal,
    /// Whether what comes out has no more digits than it should.
    pub exact: bool,
}

/// How many digits a number may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    AsSent,
    /// So many behind the point; an integer has none.
    Fraction(u32),
}

/// What is told of the time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Time {
    AsSent,
    /// The day alone.
    Date,
    /// Of a period its beginning.
    Start,
    /// A period that begins then and is still open.
    From,
}

/// What a measurement must have to be told.
#[derive(Debug)]
pub(super) enum Need {
    Slot(Slot),
    /// A component with that measure.
    Component(String),
}

#[derive(Debug)]
pub(super) struct Codes {
    pub when: Option<Only>,
    /// A CodeableConcept, as JSON.
    pub concept: String,
    /// System and code of each of its codings.
    pub codings: Vec<(String, String)>,
    /// For people to read.
    pub display: String,
}

impl Pack {
    /// Id and version, as a configuration names it.
    pub fn name(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    /// The same with as much of its digest as tells contents apart, for the record.
    pub fn stamp(&self) -> String {
        format!("{}#{}", self.name(), &self.digest[..16])
    }

    /// Every measure that the destination says something of.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What the destination says of a measure by its own key.
    pub fn row(&self, measure: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.measure == measure)
    }

    /// Measures within which a part is told: those that name it, and if none does, each that tells it.
    pub fn wholes(&self, part: &Row) -> Vec<&str> {
        if part.form != Form::Part {
            return Vec::new();
        }
        let tellers: Vec<&Row> =
            self.rows.iter().filter(|whole| whole.form == Form::Split || whole.tells(part)).collect();
        let names = |whole: &&Row| whole.named_parts().contains(&part.measure.as_str());
        let is_named = tellers.iter().any(names);
        let wholes = tellers.iter().filter(|whole| !is_named || names(whole));
        wholes.map(|whole| whole.measure.as_str()).collect()
    }

    /// The text of the unit that a measure is told in; of what has components, of the first that must be there.
    pub fn unit_of<'p>(&'p self, row: &'p Row) -> &'p str {
        let first = row.needs.iter().find_map(|need| match need {
            Need::Component(measure) => self.row(measure),
            Need::Slot(_) => None,
        });
        row.unit.as_ref().or_else(|| first?.unit.as_ref()).map_or("", |unit| &unit.code)
    }

    pub(super) fn candidates(&self, measure: &'static Measure) -> impl Iterator<Item = &Row> {
        let indexes = self.by_measure.get(&address(measure)).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().map(|at| &self.rows[*at])
    }
}

/// Measures stand in a table that lasts as long as the program.
pub(super) fn address(measure: &'static Measure) -> usize {
    std::ptr::from_ref(measure) as usize
}

impl Row {
    /// Every coding that it may be told by, under whatever condition: system and code.
    pub fn codings(&self) -> impl Iterator<Item = &(String, String)> {
        self.codes.iter().flat_map(|codes| &codes.codings)
    }

    /// Whether a component of another line's is told with it. Without a list of them, a panel tells whatever has a place.
    pub(super) fn tells(&self, part: &Row) -> bool {
        let is_listed = self.parts.contains(&part.measure) || self.parts.is_empty() && self.form == Form::Components;
        !part.is_refused() && is_listed
    }

    /// Whether the component that has the value itself is called so.
    pub(super) fn has_inside<'c>(&self, mut codings: impl Iterator<Item = &'c (String, String)>) -> bool {
        codings.any(|coding| self.inside.iter().any(|codes| codes.codings.contains(coding)))
    }

    /// Measures of components that are named: those without which it is not told, and then the others.
    pub(super) fn named_parts(&self) -> Vec<&str> {
        let needed = self.needs.iter().filter_map(|need| match need {
            Need::Component(measure) => Some(measure.as_str()),
            Need::Slot(_) => None,
        });
        let mut named: Vec<&str> = needed.collect();
        for part in &self.parts {
            if !named.contains(&part.as_str()) {
                named.push(part);
            }
        }
        named
    }

    pub fn is_refused(&self) -> bool {
        self.form == Form::Refused
    }

    pub fn is_integer(&self) -> bool {
        self.number == Number::Fraction(0)
    }
}

impl Version {
    pub(super) fn parse(text: &str) -> Option<Version> {
        let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        numbers?.try_into().ok().map(Version)
    }

    /// Whether a configuration that names so much of a version means this one: `3`, `3.1` or `3.1.0`.
    pub(super) fn begins(self, text: &str) -> bool {
        let mut own = self.0.iter();
        text.split('.').all(|part| own.next().is_some_and(|number| part == number.to_string()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(formatter, "{major}.{minor}.{patch}")
    }
}

impl fmt::Display for Pack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { method, path, most, corrections, removal, .. } = &self.request;
        writeln!(formatter, "{} for {} (FHIR {})", self.name(), self.title, self.fhir)?;
        writeln!(
            formatter,
            "{method} {} with at most {most}; corrections {corrections:?}; removal {removal:?}",
            if path.is_empty() { "/" } else { path }
        )?;
        if self.request.trace {
            writeln!(formatter, "traceparent in each request")?;
        }
        for setting in &self.settings {
            let default = setting.default.as_deref().map(|text| format!(", else {text}")).unwrap_or_default();
            writeln!(formatter, "setting {}{default}", setting.name)?;
        }
        if let Some(lookup) = &self.lookup {
            write!(formatter, "{lookup}")?;
        }
        for row in &self.rows {
            write!(formatter, "{} -> {}", row.measure, row.form.name())?;
            for codes in row.codes.iter().chain(&row.inside) {
                write!(formatter, " {}", codes.concept)?;
                if let Some(Only { is: Some(word), .. }) = &codes.when {
                    write!(formatter, " if {word}")?;
                }
            }
            if let Some(unit) = &row.unit {
                write!(formatter, " in {}", unit.code)?;
            }
            if !row.parts.is_empty() {
                write!(formatter, " with {}", row.parts.join(", "))?;
            }
            if let Number::Fraction(digits) = row.number {
                write!(formatter, " with {digits} digits behind the point")?;
            }
            if row.time != Time::AsSent {
                write!(formatter, " at {:?}", row.time)?;
            }
            if !row.profile.is_empty() {
                write!(formatter, " as {}", row.profile)?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}
