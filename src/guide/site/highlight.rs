//! JSON in colours: texts, names, numbers and words each in a span of their own.

use std::fmt::Write;

use minijinja::HtmlEscape;

/// Indented JSON as HTML.
pub(super) fn json(value: &serde_json::Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let (length, class) = match first {
            '"' => {
                let length = string(rest);
                (length, if rest[length..].starts_with(':') { "json-key" } else { "json-text" })
            }
            '-' | '0'..='9' => (run(rest, |letter| !matches!(letter, ',' | '\n' | ']' | '}')), "json-number"),
            't' | 'f' | 'n' => (run(rest, |letter| letter.is_ascii_alphabetic()), "json-word"),
            _ => (first.len_utf8(), ""),
        };
        let (token, left) = rest.split_at(length);
        let escaped = HtmlEscape(token);
        let written = match class {
            "" => write!(out, "{escaped}"),
            _ => write!(out, "<span class=\"{class}\">{escaped}</span>"),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
        rest = left;
    }
    out
}

/// Length of the string that the text begins with, quotes included.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn run(text: &str, goes_on: impl Fn(char) -> bool) -> usize {
    text.find(|letter| !goes_on(letter)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_token_has_its_colour_and_nothing_escapes() {
        let value = serde_json::json!({"a\"<b": ["x\\", -1.5, true, null], "n": {}});
        let html = super::json(&value);
        assert!(html.contains("<span class=\"json-key\">&quot;a\\&quot;&lt;b&quot;</span>:"), "{html}");
        assert!(html.contains("<span class=\"json-text\">&quot;x\\\\&quot;</span>"), "{html}");
        assert!(html.contains("<span class=\"json-number\">-1.5</span>"), "{html}");
        assert!(html.contains("<span class=\"json-word\">null</span>"), "{html}");
    }
}
