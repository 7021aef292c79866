//! `export.xml`, as the Health app of a phone writes it: bytes in as they come, one JSON text a record out.
//!
//! An export has gigabytes and is never held: a [`Reader`] keeps what is open and the bytes that are not yet a whole
//! tag. Each record becomes a JSON object with Apple's own names (`type`, `unit`, `startDate`), so that a record means
//! the same to the mapping whether an app sent it or the phone exported it. Child elements become `metadata` (an
//! object), `records`, `events`, `statistics`, `activities`, `beats` and `points` (arrays). Routes, which say where a
//! person lives, are passed over and never leave the file.
//!
//! What is broken is told with its place, and the records around it are read: the phone itself writes declarations
//! that are not well-formed, control characters and times in the form of the reader's locale.

mod build;
mod date;
mod device;
mod scan;
mod sleep;

use crate::fhir::outcome::{Id, Issue, Position};
use build::{Builder, Kind, Part};
use scan::{MAX_TOKEN, Scanner, Step};
pub use sleep::stretch;

/// Where a record stands in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Number of the record, from 1.
    pub ordinal: u64,
    /// Line and column of its tag, from 1; the column counts bytes.
    pub line: u64,
    pub column: u64,
    /// First byte of its tag.
    pub offset: u64,
}

impl Place {
    /// The place as issues have it.
    pub fn position(&self) -> Position {
        let fitted = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Position { line: fitted(self.line), column: fitted(self.column) }
    }
}

/// What was read.
#[derive(Debug)]
pub enum Read<'r> {
    /// A record as JSON.
    Record { place: Place, text: &'r str },
    /// A record that cannot be read, alone.
    Refused { place: Place, issue: Issue },
    /// The file is not what it should be, from here on.
    Broken { place: Place, issue: Issue },
}

/// Reads an export piece by piece.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    scanner: Scanner,
    builder: Builder,
    stack: Vec<Part>,
    /// Elements open inside one that is passed over.
    skipped: usize,
    /// The record that is open.
    place: Place,
    /// Why the open record is refused.
    refused: Option<&'static str>,
    /// Bytes that left the buffer, and the lines and the last line's first byte before what was counted last.
    gone: u64,
    lines: u64,
    line_start: u64,
    counted: u64,
    ordinal: u64,
    root: Root,
    /// Less than this many bytes were tried in vain.
    wanted: usize,
    exported: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Root {
    #[default]
    Before,
    Inside,
    After,
    /// Something else than an export.
    Foreign,
}

impl Reader {
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Takes the next bytes of the file and tells what they complete.
    pub fn push(&mut self, bytes: &[u8], told: &mut impl FnMut(Read<'_>)) {
        if matches!(self.root, Root::After | Root::Foreign) {
            self.gone += bytes.len() as u64;
            return;
        }
        self.buffer.extend_from_slice(bytes);
        // A long token that comes in small pieces is tried again only when it has grown by half.
        if self.buffer.len() < self.wanted {
            return;
        }
        self.read(told);
        self.forget();
        self.wanted = if self.buffer.len() > 4096 { self.buffer.len() + self.buffer.len() / 2 } else { 0 };
    }

    /// The file has ended. Tells what is missing.
    pub fn end(&mut self, told: &mut impl FnMut(Read<'_>)) {
        self.read(told);
        self.scanner.start = self.buffer.len();
        self.scanner.at = self.buffer.len();
        let text = match self.root {
            Root::After | Root::Foreign => return,
            Root::Before => "There is no export in the file: the element HealthData is expected.",
            Root::Inside if self.stack.is_empty() => "The file ends before the end tag of HealthData.",
            Root::Inside => "The file ends inside a record.",
        };
        let id = if self.root == Root::Before { Id::DeviceFile } else { Id::DeviceTruncated };
        let place = Place { ordinal: self.ordinal, ..self.here() };
        told(Read::Broken { place, issue: Issue::new(id, "", text).at(place.position()) });
        self.root = Root::After;
    }

    /// When the export was made, as FHIR writes it, once that was read.
    pub fn exported(&self) -> Option<&str> {
        self.exported.as_deref()
    }

    fn read(&mut self, told: &mut impl FnMut(Read<'_>)) {
        loop {
            match self.scanner.next(&self.buffer) {
                Step::More => return,
                Step::Open { closes } => self.open(closes, told),
                Step::Close => self.close(told),
                Step::Broken(why) => self.broken(why, told),
            }
            if matches!(self.root, Root::After | Root::Foreign) {
                return;
            }
        }
    }

    /// Lets go of what was read.
    fn forget(&mut self) {
        // A token that is not whole begins at `start`; else both are the end of what was read.
        let keep = self.scanner.start.min(self.buffer.len());
        self.count(keep);
        self.gone += keep as u64;
        self.buffer.drain(..keep);
        self.scanner.emptied();
        if matches!(self.root, Root::After | Root::Foreign) {
            self.gone += self.buffer.len() as u64;
            self.buffer = Vec::new();
        }
    }

    /// Counts lines up to a byte of the buffer.
    fn count(&mut self, end: usize) {
        let from = (self.counted - self.gone) as usize;
        if from >= end {
            return;
        }
        let between = &self.buffer[from..end];
        self.lines += memchr::memchr_iter(b'\n', between).count() as u64;
        if let Some(last) = memchr::memrchr(b'\n', between) {
            self.line_start = self.counted + last as u64 + 1;
        }
        self.counted = self.gone + end as u64;
    }

    /// Where the token read last begins.
    fn here(&mut self) -> Place {
        self.count(self.scanner.start);
        let offset = self.gone + self.scanner.start as u64;
        Place { ordinal: self.ordinal, line: self.lines + 1, column: offset - self.line_start + 1, offset }
    }

    fn open(&mut self, closes: bool, told: &mut impl FnMut(Read<'_>)) {
        let kind = Kind::named(self.scanner.name(&self.buffer));
        if self.root == Root::Before {
            self.root = if kind == Kind::Root { Root::Inside } else { Root::Foreign };
            if self.root == Root::Foreign {
                let text = "The file is no export of Apple Health: its outermost element is not HealthData.";
                let place = self.here();
                told(Read::Broken { place, issue: Issue::new(Id::DeviceFile, "", text).at(place.position()) });
            } else if closes {
                self.root = Root::After;
            }
            return;
        }
        let inside = self.stack.last().copied();
        if kind.is_record() && !(kind == Kind::Record && inside == Some(Part::Object(Kind::Correlation))) {
            if !self.stack.is_empty() {
                self.finish_unclosed(told);
            }
            self.begin(kind);
        } else if self.skipped > 0 || self.stack.is_empty() {
            // What stands beside the records, such as the person, says nothing of a measurement.
            if !self.stack.is_empty() {
                self.skipped += usize::from(!closes);
            } else if self.scanner.name(&self.buffer) == b"ExportDate" {
                self.exported = self.builder.moment(self.scanner.token(&self.buffer), self.scanner.attributes());
            }
            return;
        } else if let Some(part) = kind.part(inside) {
            self.part(part);
        } else {
            self.skipped += usize::from(!closes);
            return;
        }
        if closes {
            self.leave(told);
        }
    }

    /// A record begins.
    fn begin(&mut self, kind: Kind) {
        self.ordinal += 1;
        self.place = self.here();
        self.refused = None;
        self.builder.clear();
        self.part(Part::Object(kind));
    }

    /// An element inside a record begins, or the record itself.
    fn part(&mut self, part: Part) {
        self.stack.push(part);
        let token = self.scanner.token(&self.buffer);
        let built = self.builder.open(part, token, self.scanner.attributes());
        self.refused = self.refused.or(built.err());
    }

    fn close(&mut self, told: &mut impl FnMut(Read<'_>)) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        let kind = Kind::named(self.scanner.name(&self.buffer));
        if self.stack.is_empty() {
            if kind == Kind::Root {
                self.root = Root::After;
            }
            return;
        }
        if kind == Kind::Root {
            self.finish_unclosed(told);
            self.root = Root::After;
            return;
        }
        // An end tag without its start belongs to a tag that could not be read.
        let Some(depth) = self.stack.iter().rposition(|part| part.kind() == kind) else { return };
        if depth + 1 < self.stack.len() {
            self.refused = self.refused.or(Some("An element inside the record does not end."));
        }
        while self.stack.len() > depth {
            self.leave(told);
        }
    }

    /// The innermost element ends; the record with it, if it is that.
    fn leave(&mut self, told: &mut impl FnMut(Read<'_>)) {
        let Some(part) = self.stack.pop() else { return };
        let built = self.builder.close(part);
        self.refused = self.refused.or(built.err());
        if self.stack.is_empty() {
            self.finish(told);
        }
    }

    fn finish(&mut self, told: &mut impl FnMut(Read<'_>)) {
        let place = self.place;
        match self.refused.take() {
            Some(why) => told(Read::Refused { place, issue: refusal(place, why) }),
            None => told(Read::Record { place, text: self.builder.text() }),
        }
    }

    /// The record that is open lost its end.
    fn finish_unclosed(&mut self, told: &mut impl FnMut(Read<'_>)) {
        self.refused = Some("The record does not end.");
        self.stack.clear();
        self.skipped = 0;
        self.finish(told);
    }

    fn broken(&mut self, why: &'static str, told: &mut impl FnMut(Read<'_>)) {
        if self.root != Root::Inside {
            return;
        }
        if !self.stack.is_empty() {
            self.refused = self.refused.or(Some(why));
            // A broken start tag of another record: the one that is open may still end well.
            return;
        }
        // Of a tag that is given up only the beginning was read, and its name stands there.
        let name = scan::name_of(&self.buffer[self.scanner.start..]);
        if Kind::named(name).is_record() {
            self.ordinal += 1;
            let place = self.here();
            told(Read::Refused { place, issue: refusal(place, why) });
        }
    }
}

fn refusal(place: Place, why: &str) -> Issue {
    Issue::new(Id::DeviceRecord, "", why).at(place.position())
}

/// Most bytes that a reader holds besides the piece that it was given, for whoever wants to know.
pub const MAX_HELD: usize = MAX_TOKEN + build::MAX_RECORD;

#[cfg(test)]
mod tests;
