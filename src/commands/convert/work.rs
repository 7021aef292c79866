//! One piece of what was read, converted and validated. Shared by all threads; each keeps its own memory.

use crate::commands::validate::short;
use crate::devices::apple_health;
use crate::devices::night::Stretch;
use crate::devices::{self, Format, Sender};
use crate::fhir::outcome::{Id, Issue, Position, has_errors};
use crate::fhir::tree::{Document, Element, json};
use crate::fhir::validate::{Options, Validator};

use super::summary::Fate;

/// Most records of one piece: a file that is one JSON text.
const MAX_RECORDS: usize = 10_000_000;

/// What is needed for every record.
pub(super) struct Work<'w> {
    pub format: &'w Format,
    pub sender: Sender<'w>,
    pub validator: &'w Validator,
    /// What time it is, in milliseconds since 1970.
    pub now: i64,
    /// Each piece is one record, and no list of them.
    pub together: bool,
}

/// What a thread keeps from one share to the next.
#[derive(Default)]
pub(super) struct Own {
    memory: json::Memory,
    /// For the Observations.
    pub checking: json::Memory,
    text: String,
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
    pub observations: Vec<String>,
    /// Why it is refused, ready to be read.
    pub refusals: Vec<String>,
    pub asleep: Option<(String, Stretch)>,
}

/// Under what records of an export are handed to the mapping, as apps send several.
const LIST: &str = "records";

impl Work<'_> {
    /// Converts pieces that lie side by side; what came of their records is put behind the others.
    pub fn convert(&self, pieces: &[Piece<'_>], own: &mut Own, told: &mut Vec<Told>) {
        if self.together {
            self.convert_together(pieces, own, told);
            return;
        }
        for piece in pieces {
            match piece.text {
                Ok(text) => self.convert_text(text, piece.position, own, told),
                Err(issue) => told.push(Told::refused("", std::slice::from_ref(issue))),
            }
        }
    }

    /// A text that is records in the sender's own form.
    fn convert_text(&self, text: &str, position: Position, own: &mut Own, told: &mut Vec<Told>) {
        let is_object = text.trim_start().starts_with('{');
        let read = if is_object { own.parse(text) } else { devices::read(text.as_bytes()) };
        let document = match read {
            Ok(document) => document,
            Err(issue) => return told.push(Told::refused("", &[placed(issue, position)])),
        };
        let root = Element::root(&document);
        match self.format.convert(&document, &self.sender, MAX_RECORDS) {
            Ok(records) => self.judge(records, &mut own.checking, told, |_| (position, root)),
            Err(issue) => told.push(Told::refused(kind(root), &[placed(issue, position)])),
        }
        own.memory = json::Memory::from(document);
    }

    /// Records of an export as one text, which costs less than as many texts.
    fn convert_together(&self, pieces: &[Piece<'_>], own: &mut Own, told: &mut Vec<Told>) {
        let mut text = std::mem::take(&mut own.text);
        text.clear();
        text.extend(["{\"", LIST, "\":["]);
        let mut readable: Vec<&Piece<'_>> = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece.text {
                Ok(record) => {
                    if !readable.is_empty() {
                        text.push(',');
                    }
                    text.push_str(record);
                    readable.push(piece);
                }
                Err(issue) => told.push(Told::refused("", std::slice::from_ref(issue))),
            }
        }
        text.push_str("]}");
        match own.parse(&text) {
            Ok(document) => {
                let list = Element::root(&document);
                let records: Vec<Element<'_>> = list.all(LIST).collect();
                match self.format.convert(&document, &self.sender, MAX_RECORDS) {
                    Ok(found) => self.judge(found, &mut own.checking, told, |pointer| {
                        let index = pointer.rsplit('/').next().and_then(|index| index.parse::<usize>().ok());
                        let index = index.filter(|index| *index < records.len()).unwrap_or_default();
                        (readable[index].position, records[index])
                    }),
                    Err(_) if readable.is_empty() => {}
                    Err(issue) => told.push(Told::refused("", &[placed(issue, readable[0].position)])),
                }
                own.memory = json::Memory::from(document);
            }
            Err(issue) => match readable.as_slice() {
                [] => {}
                [one] => told.push(Told::refused("", &[Issue { position: one.position, ..issue }])),
                // Which one it is shows when each is read alone.
                several => several.iter().for_each(|piece| {
                    self.convert_together(&[Piece { position: piece.position, text: piece.text }], own, told);
                }),
            },
        }
        own.text = text;
    }

    /// What became of records. What one thing became shares its pointer; `at` is its place in the file, and itself.
    fn judge<'d>(
        &self,
        records: Vec<devices::Record>,
        checking: &mut json::Memory,
        told: &mut Vec<Told>,
        at: impl Fn(&str) -> (Position, Element<'d>),
    ) {
        let mut last: Option<String> = None;
        for record in records {
            let (position, sent) = at(&record.pointer);
            // Of an export it is our own list that the pointer leads into, and its records have places.
            let pointer = if self.together { "" } else { record.pointer.as_str() };
            if last.as_ref() != Some(&record.pointer) {
                last = Some(record.pointer.clone());
                let named = Some(kind(sent)).filter(|kind| self.together || !kind.is_empty());
                let stretch = apple_health::stretch(sent).filter(|_| self.together);
                let asleep = stretch.map(|(source, stretch)| (source.to_owned(), stretch));
                told.push(Told { asleep, ..Told::new(named.or(record.measure).unwrap_or(""), Fate::Converted) });
            }
            let Some(one) = told.last_mut() else { return };
            let mut issues: Vec<Issue> =
                record.issues.into_iter().map(|issue| placed(self.of_record(issue), position)).collect();
            if let Some(text) = record.observation {
                let position = Position { column: position.column.max(u32::from(position.line > 0)), ..position };
                match self.checked(&text, checking) {
                    Ok(found) => {
                        if !has_errors(&found) {
                            one.observations.push(text);
                        }
                        issues.extend(found.into_iter().map(|issue| Issue { position, ..issue }));
                    }
                    Err(issue) => issues.push(Issue { position, ..issue }),
                }
            }
            one.add(&issues, pointer);
        }
    }

    /// The path inside of the record: that it had others beside it is our doing.
    fn of_record(&self, issue: Issue) -> Issue {
        let rest = issue.expression.strip_prefix(LIST).and_then(|rest| rest.split_once(']')).filter(|_| self.together);
        let Some((_, rest)) = rest else { return issue };
        let expression = rest.trim_start_matches('.').to_owned();
        Issue { expression, ..issue }
    }

    /// The Observation, held against the guide.
    pub fn checked(&self, text: &str, memory: &mut json::Memory) -> Result<Vec<Issue>, Issue> {
        let observation = json::parse_in(std::mem::take(memory), text.as_bytes())?;
        let options = Options { now_ms: Some(self.now), ..Options::default() };
        let report = self.validator.check(Element::root(&observation), &options);
        *memory = json::Memory::from(observation);
        Ok(report.issues)
    }
}

impl Told {
    fn new(kind: &str, fate: Fate) -> Told {
        Told { kind: kind.to_owned(), fate, observations: Vec::new(), refusals: Vec::new(), asleep: None }
    }

    fn refused(kind: &str, issues: &[Issue]) -> Told {
        let mut told = Told::new(kind, Fate::Converted);
        told.add(issues, "");
        told
    }

    /// `pointer` says which record of the text it is, where there are several.
    fn add(&mut self, issues: &[Issue], pointer: &str) {
        for issue in issues {
            self.fate = match (self.fate, issue.id) {
                (Fate::Refused(_), _) => self.fate,
                (_, Id::DeviceTypeLeftOut) => Fate::LeftOut,
                (_, id) if issue.is_error() => Fate::Refused(id),
                (Fate::Converted, id) => Fate::Flagged(id),
                (known, _) => known,
            };
            if issue.is_error() && issue.id != Id::DeviceTypeLeftOut {
                let record = if pointer.is_empty() { String::new() } else { format!("record {pointer}: ") };
                self.refusals.push(record + &short(issue));
            }
        }
    }
}

impl Own {
    fn parse(&mut self, text: &str) -> Result<Document, Issue> {
        json::parse_in(std::mem::take(&mut self.memory), text.as_bytes())
    }
}

/// What a platform calls the record.
fn kind(record: Element<'_>) -> &str {
    record.text_of("type").unwrap_or_default()
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
