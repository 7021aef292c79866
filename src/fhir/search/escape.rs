//! Separators inside a search value: `,` for or, `$` in composites, `|` in tokens and quantities.
//!
//! A backslash takes a separator literally (R4 §3.1.1.4.0 "Escaping Search Parameters"), so a value is split
//! first and unescaped last.

/// The parts between unescaped separators, still escaped.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, each) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if each == '\\' {
            escaped = true;
        } else if each == separator {
            parts.push(&text[start..at]);
            start = at + each.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The text with `\,` `\|` `\$` `\\` resolved; any other backslash stands for itself.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(each) = rest.next() {
        match rest.peek() {
            Some(&next) if each == '\\' && matches!(next, ',' | '|' | '$' | '\\') => {
                plain.push(next);
                rest.next();
            }
            _ => plain.push(each),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_outside_escapes() {
        assert_eq!(split(r"a\,b,c", ','), [r"a\,b", "c"]);
        assert_eq!(split(r"a\\,b", ','), [r"a\\", "b"]);
        assert_eq!(split("", ','), [""]);
        assert_eq!(split("|a|", '|'), ["", "a", ""]);
        assert_eq!(split("a\\", ','), ["a\\"]);
    }

    #[test]
    fn unescapes() {
        for (text, expected) in [(r"a\,b", "a,b"), (r"\\", r"\"), (r"a\b", r"a\b"), (r"\", r"\"), (r"\$\|", "$|")] {
            assert_eq!(unescape(text), expected);
        }
    }
}
