//! What came in of a person, kept as it came: which of it may be, how it is packed, and what is noted of what came of it.
//!
//! Only what the person lets this client collect is kept. Of a record that was judged that is known. What could not be
//! mapped was never judged, so it is kept only where the person lets the client collect whatever it sends; anything less
//! clear leaves nothing behind. Lines are kept or left out; out of a body without lines, records are cut.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::Value;

use super::commit::Patient;
use crate::devices::Format;
use crate::devices::lines::Line;
use crate::exchange::receipts::DAY_MS;
use crate::exchange::sending::Sending;
use crate::exchange::{Caller, Gateway};
use crate::store::{RawInput, RawStep, Reread, WriteOutcome};

use super::Addressed;

/// A request's records as they came.
pub(super) struct Source {
    /// Who sent them and how.
    header: Value,
    pub patient: Patient,
    format: Arc<str>,
    version: Arc<str>,
    pieces: Vec<Line>,
    /// Whether the pieces are lines; a body without lines is the only piece.
    lines: bool,
    keep_ms: i64,
    /// By which the same input is known, and by nobody else.
    secret: [u8; 32],
}

impl Source {
    /// None where nothing is to be kept.
    pub fn of(
        gateway: &Gateway,
        caller: &Caller<'_>,
        format: &Format,
        addressed: &Addressed<'_>,
        body: Body<'_>,
    ) -> Option<Source> {
        if gateway.config.raw_days == 0 {
            return None;
        }
        let patient = addressed.patient.strip_prefix("Patient/").unwrap_or(addressed.patient);
        let zone = addressed.zone.as_ref().and_then(|zone| zone.iana_name());
        let (lines, pieces) = match body {
            Body::Whole(text) => (false, vec![Line { number: 0, text: Some(text.to_vec()) }]),
            Body::Lines(lines) => (true, lines.to_vec()),
        };
        Some(Source {
            header: Sending::remembered(caller, format, patient, zone),
            patient: (patient.to_owned(), gateway.patient_key(patient)),
            format: Arc::from(format.name()),
            version: Arc::from(format.version()),
            pieces,
            lines,
            keep_ms: i64::from(gateway.config.raw_days) * DAY_MS,
            secret: gateway.receipt_secret,
        })
    }

    /// What is to be kept of these records. None where nothing is left.
    pub fn keeping(&self, records: Vec<Seen<'_>>, now_ms: i64) -> Option<Keeping> {
        let (fit, pieces) = if self.lines { self.fit_lines(&records) } else { self.fit_parts(&records)? };
        if !fit.contains(&true) {
            return None;
        }
        let kept = fit.iter().filter(|fits| **fits).count();
        let made: Vec<Making> =
            records.into_iter().zip(fit).filter(|(_, fits)| *fits).filter_map(|(seen, _)| seen.making).collect();
        let unread = kept > made.len();
        let mut header = self.header.clone();
        if self.lines {
            header["lines"] = pieces.iter().map(|line| line.number).collect();
        }
        let body = packed(&header, &pieces)?;
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::keyed_hash(&self.secret, &body).as_bytes()[..16]);
        let input = RawInput {
            at_ms: now_ms,
            patient: self.patient.1,
            format: self.format.clone(),
            version: self.version.clone(),
            digest,
            made: Vec::new(),
            body,
            forget_before_ms: now_ms.saturating_sub(self.keep_ms),
        };
        Some(Keeping { target: Target::New(input), made, unread })
    }
}

impl Source {
    /// Which records stand on lines that are kept, and these lines.
    fn fit_lines(&self, records: &[Seen<'_>]) -> (Vec<bool>, Vec<Cow<'_, Line>>) {
        let unfit: HashSet<Option<u64>> = records.iter().filter(|seen| !seen.fits).map(|seen| seen.line).collect();
        let fit = records.iter().map(|seen| !unfit.contains(&seen.line)).collect();
        let kept = self.pieces.iter().filter(|line| line.text.is_some() && !unfit.contains(&Some(line.number)));
        (fit, kept.map(Cow::Borrowed).collect())
    }

    /// Which records stay in a body, and the body with `null` in the place of the others. A record that lies in one that is
    /// cut, or around it, is cut with it.
    fn fit_parts(&self, records: &[Seen<'_>]) -> Option<(Vec<bool>, Vec<Cow<'_, Line>>)> {
        let whole = self.pieces.first()?;
        let unfit: HashSet<&str> = records.iter().filter(|seen| !seen.fits).map(|seen| seen.pointer).collect();
        if unfit.is_empty() {
            return Some((vec![true; records.len()], vec![Cow::Borrowed(whole)]));
        }
        let around: HashSet<&str> = unfit.iter().flat_map(|pointer| ancestors(pointer)).collect();
        let cut: Vec<bool> = records
            .iter()
            .map(|seen| around.contains(seen.pointer) || ancestors(seen.pointer).any(|above| unfit.contains(above)))
            .collect();
        let mut body: Value = serde_json::from_slice(whole.text.as_deref()?).ok()?;
        for (seen, _) in records.iter().zip(&cut).filter(|(_, cut)| **cut) {
            // It may have gone with one around it.
            if let Some(part) = body.pointer_mut(seen.pointer) {
                *part = Value::Null;
            }
        }
        let text = Some(body.to_string().into_bytes());
        Some((cut.into_iter().map(|cut| !cut).collect(), vec![Cow::Owned(Line { text, ..whole.clone() })]))
    }
}

/// A JSON pointer and those of everything around it.
fn ancestors(pointer: &str) -> impl Iterator<Item = &str> {
    pointer.match_indices('/').map(|(end, _)| &pointer[..end]).chain([pointer])
}

/// A record that was judged.
pub(super) struct Seen<'r> {
    pub line: Option<u64>,
    pub pointer: &'r str,
    /// Whether it may be kept as it came.
    pub fits: bool,
    /// What comes of it, if anything.
    pub making: Option<Making>,
}

/// A body as it came.
#[derive(Clone, Copy)]
pub(super) enum Body<'b> {
    Whole(&'b [u8]),
    Lines(&'b [Line]),
}

fn packed(header: &Value, pieces: &[Cow<'_, Line>]) -> Option<Arc<[u8]>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let mut write = || -> io::Result<()> {
        encoder.write_all(header.to_string().as_bytes())?;
        for piece in pieces {
            encoder.write_all(b"\n")?;
            encoder.write_all(piece.text.as_deref().unwrap_or_default())?;
        }
        Ok(())
    };
    // Writing into memory does not fail.
    write().ok()?;
    encoder.finish().ok().map(Arc::from)
}

/// What was kept, unpacked.
pub(super) enum Input {
    Whole(Vec<u8>),
    Lines(Vec<Line>),
}

/// Who sent it, and what; none where it cannot be read.
pub(super) fn unpacked(body: &[u8]) -> Option<(Value, Input)> {
    let mut text = Vec::new();
    DeflateDecoder::new(body).read_to_end(&mut text).ok()?;
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let rest = text.split_off(end + 1);
    let header: Value = serde_json::from_slice(&text).ok()?;
    let input = match header["lines"].as_array() {
        None => Input::Whole(rest),
        Some(numbers) => {
            let texts = rest.split(|byte| *byte == b'\n');
            let line =
                |(number, text): (&Value, &[u8])| Some(Line { number: number.as_u64()?, text: Some(text.to_vec()) });
            Input::Lines(numbers.iter().zip(texts).map(line).collect::<Option<_>>()?)
        }
    };
    Some((header, input))
}

/// What is left of a body as it came, and the numbers of its lines where it has any.
pub(in crate::exchange) fn as_it_came(body: &[u8]) -> Option<(Vec<u8>, Vec<u64>)> {
    Some(match unpacked(body)?.1 {
        Input::Whole(text) => (text, Vec::new()),
        Input::Lines(lines) => {
            let numbers = lines.iter().map(|line| line.number).collect();
            let texts: Vec<Vec<u8>> = lines.into_iter().filter_map(|line| line.text).collect();
            (texts.join(&b'\n'), numbers)
        }
    })
}

/// A resource that came of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Made {
    pub id: String,
    /// Hash of what the mapping wrote last: whoever else changes the resource says something else.
    pub content: [u8; 16],
    /// Whether this input was the first to say it.
    pub first: bool,
}

/// What is noted of what came of an input.
pub(super) fn noted(made: &[Made]) -> Vec<u8> {
    let one = |made: &Made| serde_json::json!([made.id, printed(made.content), made.first]);
    let made: Value = made.iter().map(one).collect();
    made.to_string().into_bytes()
}

fn printed(content: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(content))
}

/// The reverse.
pub(super) fn read(noted: &[u8]) -> Vec<Made> {
    let noted: Value = serde_json::from_slice(noted).unwrap_or_default();
    let one = |made: &Value| {
        let content = u128::from_str_radix(made[1].as_str()?, 16).ok()?.to_be_bytes();
        Some(Made { id: made[0].as_str()?.to_owned(), content, first: made[2].as_bool()? })
    };
    noted.as_array().into_iter().flatten().filter_map(one).collect()
}

/// A resource that comes of an input, once it is known what becomes of its write.
#[derive(Clone, Debug)]
pub(super) struct Making {
    pub id: String,
    /// Place among the unit's writes, and what is written.
    pub write: Option<(usize, [u8; 16])>,
    /// What holds if nothing is written.
    pub before: Option<Made>,
}

impl Making {
    fn made(&self, outcomes: &[WriteOutcome]) -> Option<Made> {
        let made = |content, first| Some(Made { id: self.id.clone(), content, first });
        let first = self.before.as_ref().is_none_or(|before| before.first);
        match self.write.and_then(|(index, content)| Some((outcomes.get(index)?, content))) {
            Some((WriteOutcome::Created | WriteOutcome::Updated, content)) => made(content, first),
            Some((WriteOutcome::Existing { .. }, content)) if self.before.is_none() => made(content, false),
            _ => self.before.clone(),
        }
    }
}

/// What the transaction does with the input.
#[derive(Clone)]
pub(super) struct Keeping {
    target: Target,
    made: Vec<Making>,
    /// Whether some of it came to nothing that a later mapping may make something of.
    unread: bool,
}

#[derive(Clone)]
enum Target {
    New(RawInput),
    Again { number: u64, version: Arc<str> },
}

impl Keeping {
    pub fn again(number: u64, version: Arc<str>, made: Vec<Making>) -> Keeping {
        Keeping { target: Target::Again { number, version }, made, unread: false }
    }

    /// Nothing where all of it was kept before.
    pub fn step(self, outcomes: &[WriteOutcome]) -> Option<RawStep> {
        let created = outcomes.iter().any(|outcome| matches!(outcome, WriteOutcome::Created));
        let made: Vec<Made> = self.made.iter().filter_map(|making| making.made(outcomes)).collect();
        let made = noted(&made);
        match self.target {
            Target::New(input) => (created || self.unread).then_some(RawStep::Keep(RawInput { made, ..input })),
            Target::Again { number, version } => Some(RawStep::Note(Reread { number, version, made })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(lines: bool, texts: &[&str]) -> Source {
        let piece =
            |(index, text): (usize, &&str)| Line { number: index as u64 + 1, text: Some(text.as_bytes().to_vec()) };
        Source {
            header: serde_json::json!({"patient": "p"}),
            patient: ("p".to_owned(), crate::store::PatientKey([0; 16])),
            format: "band".into(),
            version: "1.0.0".into(),
            pieces: texts.iter().enumerate().map(piece).collect(),
            lines,
            keep_ms: 0,
            secret: [0; 32],
        }
    }

    fn making(id: &str) -> Making {
        Making { id: id.to_owned(), write: Some((0, [1; 16])), before: None }
    }

    /// What is kept of a body, and the ids of what came of it; each record is a place and whether it may be kept.
    fn kept(source: &Source, records: &[(Option<u64>, &str, bool)]) -> Option<(Vec<String>, String)> {
        let seen = records.iter().map(|(line, pointer, fits)| Seen {
            line: *line,
            pointer,
            fits: *fits,
            making: Some(making(&format!("{}{pointer}", line.unwrap_or_default()))),
        });
        let keeping = source.keeping(seen.collect(), 0)?;
        let ids = keeping.made.iter().map(|making| making.id.clone()).collect();
        let Some(RawStep::Keep(input)) = keeping.step(&[WriteOutcome::Created]) else { panic!("an input") };
        let (header, read) = unpacked(&input.body).unwrap();
        assert_eq!(header["patient"], "p");
        let text = |text: Vec<u8>| String::from_utf8(text).unwrap();
        let kept = match read {
            Input::Whole(body) => text(body),
            Input::Lines(lines) => {
                let line = |line: Line| format!("{}:{}", line.number, text(line.text.unwrap()));
                lines.into_iter().map(line).collect::<Vec<_>>().join(" ")
            }
        };
        Some((ids, kept))
    }

    #[test]
    fn what_may_not_be_kept_is_cut_out() {
        let body = "{\"a\": [1.50, {\"b\": [2, 3]}, 4]}";
        let body = source(false, &[body]);
        for (records, expected) in [
            (vec![("/a/0", true), ("/a/2", true)], Some((2, "{\"a\": [1.50, {\"b\": [2, 3]}, 4]}"))),
            (vec![("/a/0", true), ("/a/2", false)], Some((1, "{\"a\":[1.50,{\"b\":[2,3]},null]}"))),
            // What is around or inside of what is cut goes with it.
            (vec![("/a/0", true), ("/a/1", true), ("/a/1/b/0", false)], Some((1, "{\"a\":[1.50,null,4]}"))),
            (vec![("/a/0", true), ("/a/1", false), ("/a/1/b/0", true)], Some((1, "{\"a\":[1.50,null,4]}"))),
            (vec![("/a/1/b/0", false), ("/a/1/b/1", true)], Some((1, "{\"a\":[1.50,{\"b\":[null,3]},4]}"))),
            (vec![("/a/0", true), ("/a/0", false)], None),
            (vec![("/a/0", false)], None),
            (vec![("", false), ("/a/0", true)], None),
            (vec![], None),
        ] {
            let records: Vec<_> = records.into_iter().map(|(pointer, fits)| (None, pointer, fits)).collect();
            let found = kept(&body, &records).map(|(ids, text)| (ids.len(), text));
            assert_eq!(found, expected.map(|(count, text)| (count, text.to_owned())), "{records:?}");
        }
    }

    #[test]
    fn lines_are_kept_or_left_out() {
        let body = source(true, &["one", "two", "three"]);
        let records = [(Some(1), "", true), (Some(2), "/0", true), (Some(2), "/1", false), (Some(3), "", true)];
        let (ids, text) = kept(&body, &records).unwrap();
        assert_eq!((ids, text.as_str()), (vec!["1".to_owned(), "3".to_owned()], "1:one 3:three"));
        assert!(kept(&body, &[(Some(1), "", false), (Some(2), "", false), (Some(3), "", false)]).is_none());
    }

    #[test]
    fn what_changed_nothing_is_not_kept_again() {
        let body = source(false, &["{}"]);
        let seen = |making| vec![Seen { line: None, pointer: "", fits: true, making }];
        let step = |making: Option<Making>, outcome| body.keeping(seen(making), 0).unwrap().step(&[outcome]).is_some();
        assert!(step(Some(making("a")), WriteOutcome::Created));
        assert!(!step(Some(making("a")), WriteOutcome::Existing { version: 1, updated_ms: 0 }));
        assert!(step(None, WriteOutcome::Existing { version: 1, updated_ms: 0 }), "nothing came of it yet");
    }

    #[test]
    fn what_came_of_it_is_noted_and_read() {
        let before = Made { id: "x".to_owned(), content: [7; 16], first: false };
        assert_eq!(read(&noted(std::slice::from_ref(&before))), std::slice::from_ref(&before));
        assert_eq!(read(b"nonsense"), []);
        let made = |before: Option<&Made>, outcome: Option<WriteOutcome>| {
            let making = Making { id: "x".to_owned(), write: outcome.map(|_| (0, [1; 16])), before: before.cloned() };
            making.made(outcome.as_slice()).map(|made| (made.content[0], made.first))
        };
        let existing = WriteOutcome::Existing { version: 3, updated_ms: 0 };
        for (old, outcome, expected) in [
            (None, Some(WriteOutcome::Created), Some((1, true))),
            (None, Some(existing), Some((1, false))),
            (None, Some(WriteOutcome::Conflict { version: 1 }), None),
            (Some(&before), Some(WriteOutcome::Updated), Some((1, false))),
            (Some(&before), Some(WriteOutcome::VersionMismatch { actual: 9 }), Some((7, false))),
            (Some(&before), None, Some((7, false))),
            (None, None, None),
        ] {
            assert_eq!(made(old, outcome), expected, "{old:?} {outcome:?}");
        }
    }
}
