//! Regular expressions as FHIR writes them, on an engine that runs in linear time.
//!
//! FHIRPath leaves the dialect open; definitions are written for Java's and JavaScript's. The one difference that
//! matters in practice is inside brackets, where `[`, `&&`, `--` and `~~` are operators here and letters there.
//! Look-around and back-references are not supported; an expression that needs them fails.

use regex::{Regex, RegexBuilder};

/// Compiled size that is allowed; repetitions such as `{1,64}` nested a few times stay below it.
const MAX_SIZE: usize = 1 << 20;

/// Compiles a pattern; `.` matches a line break too (FHIRPath §5.6.9, single line mode).
pub fn compile(pattern: &str, full: bool) -> Option<Regex> {
    let translated = translate(pattern);
    let text = if full { format!(r"\A(?:{translated})\z") } else { translated };
    RegexBuilder::new(&text).dot_matches_new_line(true).size_limit(MAX_SIZE).build().ok()
}

/// Escapes what would be an operator inside brackets.
fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len() + 8);
    let mut characters = pattern.chars().peekable();
    let mut bracketed = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                translated.push(character);
                translated.extend(characters.next());
                continue;
            }
            '[' if bracketed => translated.push('\\'),
            '[' => {
                bracketed = true;
                translated.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    translated.push('^');
                }
                // A bracket that closes at once stands for itself.
                if characters.next_if_eq(&']').is_some() {
                    translated.push_str("\\]");
                }
                continue;
            }
            ']' => bracketed = false,
            '&' | '~' if bracketed => translated.push('\\'),
            '-' if bracketed && characters.peek() == Some(&'-') => translated.push('\\'),
            _ => {}
        }
        translated.push(character);
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: Option<bool>) {
        assert_eq!(compile(pattern, true).map(|regex| regex.is_match(text)), expected, "{pattern} {text}");
    }

    #[test]
    fn reads_foreign_brackets() {
        check(r"[[\]&&~~a]+", "[a&]~", Some(true));
        check("[A-Z]([A-Za-z0-9_]){0,254}", "Abc_1", Some(true));
        check(r"[^\s\.,:;\'\/|?!@#$%&*()\[\]{}]{1,64}", "abc", Some(true));
        check("a.b", "a\nb", Some(true));
        check("(?=a)b", "b", None);
    }
}
