//! How a file of JSON is read: a record a line, whatever its length, or one text, which has to be held at once and is
//! therefore bounded. What the records mean is not known here.

use std::io::{BufRead, Read};

use anyhow::bail;

use crate::fhir::tree::json;

/// Longest text that is held at once. Unpacked bytes count: a file of some megabytes may grow without end.
pub(super) const LONGEST_TEXT: u64 = 256 << 20;

/// A file, as far as its beginning tells.
pub(super) enum Begun {
    /// All of it is one text.
    Whole(Vec<u8>),
    /// A record a line; the first line, with its end.
    Lines(Vec<u8>),
}

/// Looks at the first line, and reads all where the lines are no records.
pub(super) fn begin(file: &mut impl BufRead, most: u64) -> anyhow::Result<Begun> {
    let mut text = Vec::new();
    let mut bounded = file.take(most + 1);
    bounded.read_until(b'\n', &mut text)?;
    let left = bounded.limit();
    let goes_on = matches!(file.fill_buf()?.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{'));
    // What is broken may be a line as well as the beginning of a text: what is no text by itself is none.
    if left > 0 && goes_on && text.trim_ascii().starts_with(b"{") && json::parse(text.as_slice()).is_ok() {
        return Ok(Begun::Lines(text));
    }
    file.take(left).read_to_end(&mut text)?;
    if text.len() as u64 > most {
        bail!(
            "a JSON text of more than {} MiB cannot be read at once: write one record a line (NDJSON, as `jq -c '.[]'` \
             makes of a list), which may be as long as it likes",
            most >> 20
        );
    }
    Ok(Begun::Whole(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let begun = match begin(&mut text.as_bytes(), 16) {
            Ok(Begun::Whole(text)) => format!("whole {}", text.len()),
            Ok(Begun::Lines(first)) => format!("lines {}", first.len()),
            Err(_) => "too long".to_owned(),
        };
        assert_eq!(begun, expected, "{text:?}");
    }

    #[test]
    fn a_text_is_bounded_and_lines_are_not() {
        check("", "whole 0");
        check("[1, 2]", "whole 6");
        check("{\n\"a\": 1\n}", "whole 10");
        check("{\"a\": 1}\n", "whole 9");
        check("{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n", "lines 9");
        check("[1, 2, 3, 4, 56]", "whole 16");
        check("[1, 2, 3, 4, 567]", "too long");
        check("[1, 2,\n3, 4,\n 56789]", "too long");
        check("{\"a\": 1234567890}\n{\"a\": 2}\n", "too long");
    }

    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        let mut endless = std::io::BufReader::new(std::io::repeat(b' '));
        assert!(begin(&mut endless, 1 << 16).is_err());
    }
}
