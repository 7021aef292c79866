//! Where the bytes of a text stand: lines and columns, as whoever wrote the text counts them.
//!
//! In a long text many places may be asked for, each entry of a Bundle having something wrong, so that the first question
//! measures it in pieces and each later one looks at a piece.

use std::sync::OnceLock;

use crate::fhir::outcome::Position;

const PIECE: usize = 4096;
const START: Position = Position { line: 1, column: 1 };

/// Positions at which pieces begin, from when they are needed on.
#[derive(Clone, Default)]
pub(super) struct Ruler(OnceLock<Vec<Position>>);

impl Ruler {
    pub fn position(&self, source: &str, offset: usize) -> Position {
        if source.len() < 2 * PIECE {
            return position_at(source, offset);
        }
        let pieces = self.0.get_or_init(|| measured(source));
        let at = source.floor_char_boundary(offset);
        let piece = at / PIECE;
        pieces[piece].after(&source[source.floor_char_boundary(piece * PIECE)..at])
    }
}

/// Line and column of a byte offset, counted in characters from 1.
pub(super) fn position_at(source: &str, offset: usize) -> Position {
    START.after(&source[..source.floor_char_boundary(offset)])
}

fn measured(source: &str) -> Vec<Position> {
    let begins = |piece: usize| source.floor_char_boundary(piece * PIECE);
    let mut pieces = vec![START];
    for piece in 0..source.len() / PIECE {
        let text = &source[begins(piece)..begins(piece + 1)];
        pieces.push(pieces[piece].after(text));
    }
    pieces
}

impl Position {
    /// The position behind a text that begins here.
    fn after(self, text: &str) -> Position {
        let Some(newline) = text.rfind('\n') else {
            return Position { column: self.column + text.chars().count() as u32, ..self };
        };
        let lines = text.bytes().filter(|byte| *byte == b'\n').count();
        Position { line: self.line + lines as u32, column: text[newline + 1..].chars().count() as u32 + 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, proptest};

    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let text = "{\n  \"ä\": 1}";
        for (offset, line, column) in [(0, 1, 1), (1, 1, 2), (2, 2, 1), (5, 2, 4), (6, 2, 4), (7, 2, 5), (99, 2, 10)] {
            assert_eq!(position_at(text, offset), Position { line, column }, "{offset}");
        }
    }

    proptest! {
        #[test]
        fn a_long_text_is_measured_like_a_short_one(
            words in prop::collection::vec("[a-zä€\\n]{0,40}".prop_map(|word| word.repeat(60)), 20..40),
            places in prop::collection::vec(0_usize..60_000, 30),
        ) {
            let text = words.concat();
            let ruler = Ruler::default();
            for place in places {
                assert_eq!(ruler.position(&text, place), position_at(&text, place), "{place}");
            }
        }
    }
}
