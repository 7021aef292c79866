//! One piece of what was read, converted and validated. Shared by all threads; each keeps its own memory.

use crate::commands::validate::short;
use crate::devices::apple_health;
use crate::devices::night::Stretch;
use crate::devices::{self, Pack, Sender};
use crate::fhir::outcome::{Id, Issue, Position, has_errors};
use crate::fhir::tree::{Document, Element, json};
use crate::fhir::validate::{Options, Validator};

use super::summary::Fate;

/// Most records of one piece: a file that is one JSON text.
const MAX_RECORDS: usize = 10_000_000;

/// What is needed for every record.
pub(super) struct Work<'w> {
    pub pack: &'w Pack,
    pub sender: Sender<'w>,
    pub validator: &'w Validator,
    /// What time it is, in milliseconds since 1970.
    pub now: i64,
}

/// A piece of the file: a record, a line, or all of it.
pub(super) struct Piece<'p> {
    /// What is said before the place inside of the text: a line, or the place of the record.
    pub position: Position,
    pub text: Result<&'p str, &'p Issue>,
}

/// What came of one record.
pub(super) struct Told {
    pub kind: String,
    pub fate: Fate,
    pub observations: Vec<Document>,
    /// Why it is refused, ready to be read.
    pub refusals: Vec<String>,
    pub asleep: Option<(String, Stretch)>,
}

impl Work<'_> {
    /// Converts a piece; what came of its records is put behind the others.
    pub fn convert(&self, piece: &Piece<'_>, memory: &mut json::Memory, told: &mut Vec<Told>) {
        let text = match piece.text {
            Ok(text) => text,
            Err(issue) => return told.push(Told::refused("", std::slice::from_ref(issue))),
        };
        let is_object = text.trim_start().starts_with('{');
        let read = if is_object {
            json::parse_in(std::mem::take(memory), text.as_bytes())
        } else {
            devices::read(text.as_bytes())
        };
        let document = match read {
            Ok(document) => document,
            Err(issue) => return told.push(Told::refused("", &[placed(issue, piece.position)])),
        };
        match devices::convert(self.pack, &document, &self.sender, MAX_RECORDS) {
            Ok(records) => self.judge(records, &document, piece.position, told),
            Err(issue) => told.push(Told::refused(kind(&document), &[placed(issue, piece.position)])),
        }
        *memory = json::Memory::from(document);
    }

    /// Records that one thing became share its place, and are one.
    fn judge(&self, records: Vec<devices::Record>, document: &Document, position: Position, told: &mut Vec<Told>) {
        let mut last: Option<String> = None;
        for record in records {
            if last.as_ref() != Some(&record.pointer) {
                last = Some(record.pointer.clone());
                let kind = if record.pointer.is_empty() { kind(document) } else { record.measure.unwrap_or("") };
                let asleep = apple_health::stretch(document)
                    .filter(|_| record.pointer.is_empty())
                    .map(|(source, stretch)| (source.to_owned(), stretch));
                told.push(Told { asleep, ..Told::new(kind, Fate::Converted) });
            }
            let Some(one) = told.last_mut() else { return };
            let mut issues: Vec<Issue> = record.issues.into_iter().map(|issue| placed(issue, position)).collect();
            if let Some(text) = record.observation {
                match self.checked(text) {
                    Ok((observation, found)) => {
                        if !has_errors(&found) {
                            one.observations.push(observation);
                        }
                        issues.extend(found.into_iter().map(|issue| Issue { position, ..issue }));
                    }
                    Err(issue) => issues.push(Issue { position, ..issue }),
                }
            }
            one.add(&issues);
        }
    }

    /// The Observation, held against the guide.
    pub fn checked(&self, text: String) -> Result<(Document, Vec<Issue>), Issue> {
        let observation = json::parse(text)?;
        let options = Options { now_ms: Some(self.now), ..Options::default() };
        let report = self.validator.check(Element::root(&observation), &options);
        Ok((observation, report.issues))
    }
}

impl Told {
    fn new(kind: &str, fate: Fate) -> Told {
        Told { kind: kind.to_owned(), fate, observations: Vec::new(), refusals: Vec::new(), asleep: None }
    }

    fn refused(kind: &str, issues: &[Issue]) -> Told {
        let mut told = Told::new(kind, Fate::Converted);
        told.add(issues);
        told
    }

    fn add(&mut self, issues: &[Issue]) {
        for issue in issues {
            self.fate = match (self.fate, issue.id) {
                (Fate::Refused(_), _) => self.fate,
                (_, Id::DeviceTypeLeftOut) => Fate::LeftOut,
                (_, id) if issue.is_error() => Fate::Refused(id),
                (Fate::Converted, id) => Fate::Flagged(id),
                (known, _) => known,
            };
            if issue.is_error() && issue.id != Id::DeviceTypeLeftOut {
                self.refusals.push(short(issue));
            }
        }
    }
}

/// What a platform calls the record.
fn kind(document: &Document) -> &str {
    Element::root(document).text_of("type").unwrap_or_default()
}

/// The place of a record in the file, or of something in a line of it.
fn placed(issue: Issue, position: Position) -> Issue {
    let place = match (position, issue.position) {
        (Position { line: 0, .. }, inside) => inside,
        (Position { line, column: 0 }, Position { column, .. }) => Position { line, column },
        (position, _) => position,
    };
    Issue { position: place, ..issue }
}
