//! Records that come one a line (NDJSON), cut out of a stream that arrives in pieces.
//!
//! A line that is longer than a record may be is passed over and told of as such, so that what is held is bounded and
//! the lines behind it still count. Empty lines are none, but lines are numbered as an editor does.

use std::collections::VecDeque;

use crate::fhir::outcome::{Id, Issue};

/// One line of what was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// Without its end; none where it is longer than a record may be.
    pub text: Option<Vec<u8>>,
}

/// Longest line that may be a record.
pub const LONGEST: usize = 1 << 20;

/// What is said of a line that is longer than a record may be.
pub fn too_long() -> Issue {
    let text = format!("The line is longer than a record may be, which is {} KiB.", LONGEST >> 10);
    Issue::new(Id::DeviceRecord, "", text)
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub struct Lines {
    most: usize,
    number: u64,
    rest: Vec<u8>,
    /// The present line is longer than may be held.
    too_long: bool,
}

impl Lines {
    /// Of lines of at most so many bytes.
    pub fn new(most: usize) -> Lines {
        Lines { most, number: 1, rest: Vec::new(), too_long: false }
    }

    /// Takes the next piece; whole lines are added to the list.
    pub fn push(&mut self, mut piece: &[u8], into: &mut VecDeque<Line>) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.hold(&piece[..end]);
            self.close(into);
            piece = &piece[end + 1..];
        }
        self.hold(piece);
    }

    /// The end of the stream ends its last line.
    pub fn finish(mut self, into: &mut VecDeque<Line>) {
        self.close(into);
    }

    fn hold(&mut self, part: &[u8]) {
        if self.too_long || self.rest.len() + part.len() > self.most {
            self.too_long = true;
            self.rest.clear();
        } else {
            self.rest.extend_from_slice(part);
        }
    }

    fn close(&mut self, into: &mut VecDeque<Line>) {
        let (number, rest) = (self.number, std::mem::take(&mut self.rest));
        self.number += 1;
        if std::mem::take(&mut self.too_long) {
            into.push_back(Line { number, text: None });
        } else if !rest.iter().all(u8::is_ascii_whitespace) {
            into.push_back(Line { number, text: Some(rest) });
        }
    }
}

/// Lines and bytes that are worked off at once.
const PIECE_LINES: usize = 500;
const PIECE_BYTES: usize = 512 << 10;

/// The next piece to work off, out of what was read so far; at the end, whatever is left. The same lines are always cut
/// the same way, however they arrived.
pub fn cut(waiting: &mut VecDeque<Line>, ended: bool) -> Option<Vec<Line>> {
    let mut bytes = 0;
    let full = waiting.iter().take(PIECE_LINES).position(|line| {
        bytes += line.text.as_ref().map_or(0, Vec::len);
        bytes >= PIECE_BYTES
    });
    let count = match full {
        Some(at) => at + 1,
        None if waiting.len() >= PIECE_LINES => PIECE_LINES,
        None if ended => waiting.len(),
        None => 0,
    };
    (count > 0).then(|| waiting.drain(..count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(u64, Option<&str>)]) {
        for size in 1..=text.len().max(1) {
            let mut lines = Lines::new(8);
            let mut found = VecDeque::new();
            for piece in text.as_bytes().chunks(size) {
                lines.push(piece, &mut found);
            }
            lines.finish(&mut found);
            let found: Vec<(u64, Option<&str>)> = found
                .iter()
                .map(|line| (line.number, line.text.as_deref().map(|text| std::str::from_utf8(text).unwrap())))
                .collect();
            assert_eq!(found, expected, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn pieces_end_anywhere() {
        check("", &[]);
        check("{}", &[(1, Some("{}"))]);
        check("{}\n[]\n", &[(1, Some("{}")), (2, Some("[]"))]);
        check("{}\r\n \r\n\n1", &[(1, Some("{}\r")), (4, Some("1"))]);
        check("12345678\n123456789\n1234567890123\n3", &[(1, Some("12345678")), (2, None), (3, None), (4, Some("3"))]);
    }

    #[test]
    fn pieces_of_work_are_bounded_and_always_the_same() {
        let line = |number: u64, bytes: usize| Line { number, text: Some(vec![b'x'; bytes]) };
        let counts = |lines: Vec<Line>| {
            let mut counts = Vec::new();
            let mut waiting = VecDeque::new();
            for line in lines {
                waiting.push_back(line);
                counts.extend(cut(&mut waiting, false).map(|piece| piece.len()));
            }
            counts.extend(cut(&mut waiting, true).map(|piece| piece.len()));
            counts
        };
        assert_eq!(counts((0..1200).map(|number| line(number, 10)).collect()), [500, 500, 200]);
        assert_eq!(counts((0..5).map(|number| line(number, 200 << 10)).collect()), [3, 2]);
        assert_eq!(counts(Vec::new()), [0; 0]);
    }
}
