//! The mapping: which schema becomes which code, as data that is compiled once.
//!
//! The language is described in `docs/devices.md`. Compiling names every mistake with its place; codes and units
//! are held against the table of measures, so that a mapping cannot lead to what validation would refuse.

use std::str::FromStr;
use std::sync::LazyLock;

use rust_decimal::Decimal;

use super::place::Place;
use crate::fhir::ours::BASE;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::{Kind, json};
use crate::fhir::validate::measures;

/// The mapping that is part of the program.
pub(super) static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    compile(include_str!("../../../profiles/mappings/open-mhealth.json"))
        .unwrap_or_else(|mistakes| panic!("profiles/mappings/open-mhealth.json: {}", mistakes.join("; ")))
});

#[derive(Debug)]
pub(super) struct Mapping {
    /// System of the identifiers that the data points' ids become.
    pub identifier: String,
    /// Statistics that are still a value of the measure, with their code in `observation-statistics`.
    pub statistics: Vec<(String, String)>,
    pub denominators: Vec<String>,
    pub schemas: Vec<Schema>,
}

/// What the bodies of a schema become.
#[derive(Debug)]
pub(super) struct Schema {
    /// `namespace:name`.
    pub names: Vec<String>,
    /// First and last major version.
    pub versions: (u32, u32),
    pub text: String,
    /// Code in `observation-category`.
    pub category: String,
    /// Whether the measure makes no sense at one point in time.
    pub interval: bool,
    /// Alternatives: the first whose conditions and unit fit is taken.
    pub readings: Vec<Reading>,
    pub components: Vec<Reading>,
    /// Fields of context that a vital sign has no element for; they become notes.
    pub notes: Vec<Note>,
}

/// A code and where its value is.
#[derive(Debug)]
pub(super) struct Reading {
    /// Field of the body; none for a panel, whose values are its components.
    pub value: Option<String>,
    pub text: Option<String>,
    pub loinc: Vec<String>,
    pub units: Vec<Unit>,
    /// UCUM code where the value is a number without a unit.
    pub bare: Option<String>,
    /// Fields and what they may hold; `None` is absence.
    pub when: Vec<(String, Vec<Option<String>>)>,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub sent: String,
    pub ucum: String,
    /// Exact factor from the one to the other.
    pub times: Option<Decimal>,
}

/// A field of context, and what it may hold.
#[derive(Debug)]
pub(super) struct Note {
    pub field: String,
    pub content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// One of these.
    Words(Vec<String>),
    /// A number in this unit.
    Measured(String),
}

impl Mapping {
    pub fn schema(&self, name: &str, major: u32) -> Option<&Schema> {
        self.schemas.iter().find(|schema| {
            (schema.versions.0..=schema.versions.1).contains(&major) && schema.names.iter().any(|known| known == name)
        })
    }
}

impl Schema {
    /// Whether the mapping says something of a body's field.
    pub fn names_field(&self, field: &str) -> bool {
        let readings = || self.readings.iter().chain(&self.components);
        self.notes.iter().any(|note| note.field == field)
            || readings().any(|reading| reading.value.as_deref() == Some(field))
            || readings().any(|reading| reading.when.iter().any(|(name, _)| name == field))
    }
}

/// Compiles a mapping, or says everything that is wrong with it.
pub(super) fn compile(text: &str) -> Result<Mapping, Vec<String>> {
    let document = match json::parse(text) {
        Ok(document) => document,
        Err(issue) => return Err(vec![format!("{}:{}: {}", issue.position.line, issue.position.column, issue.text)]),
    };
    let mut compiler = Compiler::default();
    let mapping = compiler.mapping(&Place::root(&document));
    if compiler.mistakes.is_empty() { Ok(mapping) } else { Err(compiler.mistakes) }
}

#[derive(Default)]
struct Compiler {
    mistakes: Vec<String>,
}

impl Compiler {
    fn mapping(&mut self, root: &Place<'_>) -> Mapping {
        self.known(root, &["identifier", "statistics", "denominators", "schemas"]);
        let schemas: Vec<Schema> = self.items(root, "schemas").iter().map(|item| self.schema(item)).collect();
        for (index, schema) in schemas.iter().enumerate() {
            let overlaps = |other: &Schema| {
                other.names.iter().any(|name| schema.names.contains(name))
                    && other.versions.0 <= schema.versions.1
                    && schema.versions.0 <= other.versions.1
            };
            if schemas[..index].iter().any(overlaps) {
                self.mistakes.push(format!("schemas[{index}]: an earlier entry has the same schema and version"));
            }
        }
        Mapping {
            identifier: format!("{BASE}/{}", self.text(root, "identifier")),
            statistics: self.pairs(root, "statistics"),
            denominators: self.texts(root, "denominators"),
            schemas,
        }
    }

    fn schema(&mut self, place: &Place<'_>) -> Schema {
        let known = ["schema", "versions", "text", "category", "interval", "readings", "components", "notes"];
        self.known(place, &known);
        let readings: Vec<Reading> = self.items(place, "readings").iter().map(|item| self.reading(item)).collect();
        let components: Vec<Reading> = match place.get("components") {
            Some(_) => self.items(place, "components").iter().map(|item| self.reading(item)).collect(),
            None => Vec::new(),
        };
        if components.is_empty() && readings.iter().any(|reading| reading.value.is_none()) {
            self.wrong(place, "a reading without value needs components");
        }
        if components.iter().any(|component| component.value.is_none() || component.text.is_none()) {
            self.wrong(place, "a component needs value and text");
        }
        let notes = match place.get("notes") {
            Some(_) => self.items(place, "notes").iter().map(|item| self.note(item)).collect(),
            None => Vec::new(),
        };
        let category = self.text(place, "category");
        if !["activity", "laboratory", "vital-signs"].contains(&category.as_str()) {
            self.wrong(place, "category is none of activity, laboratory, vital-signs");
        }
        Schema {
            names: self.texts(place, "schema"),
            versions: self.versions(place),
            text: self.text(place, "text"),
            category,
            interval: self.flag(place, "interval"),
            readings,
            components,
            notes,
        }
    }

    fn reading(&mut self, place: &Place<'_>) -> Reading {
        self.known(place, &["value", "text", "loinc", "units", "bare", "when"]);
        let optional_text = |name: &str| place.get(name).and_then(|text| text.string()).map(str::to_owned);
        let reading = Reading {
            value: optional_text("value"),
            text: optional_text("text"),
            loinc: self.texts(place, "loinc"),
            units: self.units(place),
            bare: optional_text("bare"),
            when: self.conditions(place),
        };
        if reading.value.is_some() == (reading.units.is_empty() && reading.bare.is_none()) {
            self.wrong(place, "a value has units or is bare, and only a value");
        }
        let codes = reading.units.iter().map(|unit| &unit.ucum).chain(&reading.bare);
        for (code, loinc) in codes.flat_map(|code| reading.loinc.iter().map(move |loinc| (code, loinc))) {
            if !ucum::valid(code) {
                self.wrong(place, &format!("{code} is no UCUM code"));
            }
            if let Some(measure) = measures::measure(measures::LOINC, loinc)
                && !measure.units.iter().any(|unit| unit.code == code)
            {
                self.wrong(place, &format!("{} is not measured in {code}", measure.key));
            }
        }
        reading
    }

    fn note(&mut self, place: &Place<'_>) -> Note {
        self.known(place, &["field", "words", "unit"]);
        let content = match place.get("unit") {
            None => Content::Words(self.texts(place, "words")),
            Some(_) => Content::Measured(self.text(place, "unit")),
        };
        Note { field: self.text(place, "field"), content }
    }

    fn units(&mut self, place: &Place<'_>) -> Vec<Unit> {
        let Some(units) = place.get("units") else { return Vec::new() };
        let mut compiled = Vec::new();
        for (sent, unit) in units.members() {
            let (code, times) = if unit.kind() == Kind::String {
                (unit.string(), Some(None))
            } else {
                self.known(&unit, &["ucum", "times"]);
                let factor = unit.get("times").and_then(|times| Decimal::from_str(times.string()?).ok());
                (
                    unit.get("ucum").and_then(|code| code.string()),
                    factor.filter(|factor| *factor > Decimal::ZERO).map(Some),
                )
            };
            match (code, times) {
                (Some(code), Some(times)) => {
                    compiled.push(Unit { sent: sent.to_owned(), ucum: code.to_owned(), times });
                }
                _ => self.wrong(&unit, &format!("{sent} needs a UCUM code, and a positive factor if it is an object")),
            }
        }
        compiled
    }

    fn conditions(&mut self, place: &Place<'_>) -> Vec<(String, Vec<Option<String>>)> {
        let Some(when) = place.get("when") else { return Vec::new() };
        let mut conditions = Vec::new();
        for (field, values) in when.members() {
            let allowed: Vec<Option<String>> = values.items().map(|value| value.string().map(str::to_owned)).collect();
            let sound = values.items().all(|value| value.kind() == Kind::Null || value.string().is_some());
            if allowed.is_empty() || !sound {
                self.wrong(&values, &format!("{field} needs a list of texts and null"));
            }
            conditions.push((field.to_owned(), allowed));
        }
        conditions
    }

    fn versions(&mut self, place: &Place<'_>) -> (u32, u32) {
        let versions = place.get("versions").map(|list| list.items().collect::<Vec<_>>()).unwrap_or_default();
        let numbers: Vec<u32> = versions.iter().filter_map(|item| item.number()?.parse().ok()).collect();
        match numbers.as_slice() {
            [first, last] if first <= last && versions.len() == 2 => (*first, *last),
            _ => {
                self.wrong(place, "versions needs the first and the last major version");
                (0, 0)
            }
        }
    }

    fn items<'d>(&mut self, place: &Place<'d>, name: &str) -> Vec<Place<'d>> {
        let items: Vec<Place<'d>> = place
            .get(name)
            .filter(|list| list.kind() == Kind::Array)
            .map(|list| list.items().collect())
            .unwrap_or_default();
        if items.is_empty() {
            self.wrong(place, &format!("{name} needs a list that is not empty"));
        }
        items
    }

    fn texts(&mut self, place: &Place<'_>, name: &str) -> Vec<String> {
        let items = self.items(place, name);
        let texts: Vec<String> = items.iter().filter_map(|item| item.string().map(str::to_owned)).collect();
        if texts.len() < items.len() {
            self.wrong(place, &format!("{name} holds something that is no text"));
        }
        texts
    }

    fn pairs(&mut self, place: &Place<'_>, name: &str) -> Vec<(String, String)> {
        let members: Vec<_> = place.get(name).map(|object| object.members().collect()).unwrap_or_default();
        let pairs: Vec<(String, String)> = members
            .iter()
            .filter_map(|(key, value): &(&str, Place<'_>)| Some(((*key).to_owned(), value.string()?.to_owned())))
            .collect();
        if pairs.is_empty() || pairs.len() < members.len() {
            self.wrong(place, &format!("{name} needs an object of texts"));
        }
        pairs
    }

    fn text(&mut self, place: &Place<'_>, name: &str) -> String {
        let text = place.get(name).and_then(|text| text.string()).map(str::to_owned);
        text.unwrap_or_else(|| {
            self.wrong(place, &format!("{name} needs a text"));
            String::new()
        })
    }

    fn flag(&mut self, place: &Place<'_>, name: &str) -> bool {
        match place.get(name).map(|flag| flag.kind()) {
            None | Some(Kind::False) => false,
            Some(Kind::True) => true,
            Some(_) => {
                self.wrong(place, &format!("{name} is true or false"));
                false
            }
        }
    }

    fn known(&mut self, place: &Place<'_>, names: &[&str]) {
        if place.kind() != Kind::Object {
            self.wrong(place, "an object is expected");
        }
        for (name, _) in place.members().filter(|(name, _)| !names.contains(name)) {
            self.wrong(place, &format!("{name} is unknown"));
        }
    }

    fn wrong(&mut self, place: &Place<'_>, what: &str) {
        let issue = place.issue(Id::DeviceRecord, "");
        self.mistakes.push(format!("{}:{} {}: {what}", issue.position.line, issue.position.column, issue.expression));
    }
}
