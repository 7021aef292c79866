//! For people: each issue with the line that it is about, the place underlined, and what to do.

use std::io::{self, Write};

use super::{Checked, Tally};
use crate::fhir::outcome::{Issue, Position, Severity};

/// Widest piece of a line that is shown.
const WIDTH: usize = 110;

#[derive(Clone, Copy)]
pub(super) struct Colours {
    pub on: bool,
}

impl Colours {
    fn paint(self, code: &'static str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Fatal | Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Information => "1;36",
        };
        self.paint(code, text)
    }

    fn frame(self, text: &str) -> String {
        self.paint("1;34", text)
    }
}

pub(super) fn resource(checked: &Checked, colours: Colours, out: &mut impl Write) -> io::Result<()> {
    let name = &checked.input.name;
    for issue in &checked.issues {
        one(issue, checked, colours, out)?;
    }
    let line = checked.input.line.map(|line| format!(":{line}")).unwrap_or_default();
    let errors = checked.issues.iter().filter(|issue| issue.is_error()).count();
    let verdict = match (errors, checked.issues.len() - errors) {
        (0, 0) => "valid".to_owned(),
        (0, warnings) => format!("valid, {}", counted(warnings, "warning")),
        (errors, 0) => format!("invalid, {}", counted(errors, "error")),
        (errors, warnings) => {
            format!("invalid, {} and {}", counted(errors, "error"), counted(warnings, "warning"))
        }
    };
    writeln!(out, "{name}{line}: {verdict}")
}

pub(super) fn end(tally: &Tally, out: &mut impl Write) -> io::Result<()> {
    if tally.resources < 2 {
        return Ok(());
    }
    let Tally { resources, invalid, errors, warnings, .. } = *tally;
    let valid = resources - invalid;
    let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
    writeln!(out, "{}: {valid} valid, {invalid} invalid; {errors}, {warnings}", counted(resources, "resource"))
}

/// An issue on one line: `line:column: severity [id] expression: text`.
pub(in crate::commands) fn short(issue: &Issue) -> String {
    let Position { line, column } = issue.position;
    let place = if line == 0 { String::new() } else { format!("{line}:{column}: ") };
    let path = if issue.expression.is_empty() { String::new() } else { format!("{}: ", issue.expression) };
    format!("{place}{} [{}] {path}{}", issue.severity.code(), issue.id, issue.text)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn one(issue: &Issue, checked: &Checked, colours: Colours, out: &mut impl Write) -> io::Result<()> {
    let head = colours.severity(issue.severity, &format!("{}[{}]", issue.severity.code(), issue.id));
    writeln!(out, "{head}: {}", issue.text)?;
    let Position { line, column } = issue.position;
    let number = if line == 0 { String::new() } else { line.to_string() };
    let gutter = " ".repeat(number.len().max(1));
    let place = if line == 0 { String::new() } else { format!(":{line}:{column}") };
    let path = if issue.expression.is_empty() { String::new() } else { format!(" {}", issue.expression) };
    writeln!(out, "{gutter}{} {}{place}{path}", colours.frame("-->"), checked.input.name)?;
    // In a file of lines the text at hand is one of them.
    let first = checked.input.line.unwrap_or(1);
    let text = checked.input.text.as_deref().unwrap_or_default();
    if let Some(shown) = (line > 0).then(|| excerpt(text, line + 1 - first, column)).flatten() {
        let bar = colours.frame("|");
        writeln!(out, "{gutter} {bar}")?;
        writeln!(out, "{} {bar} {}", colours.frame(&number), shown.text)?;
        let mark = colours.severity(issue.severity, &"^".repeat(shown.length));
        writeln!(out, "{gutter} {bar} {}{mark}", " ".repeat(shown.before))?;
    }
    writeln!(out, "{gutter} {} {}\n", colours.frame("="), issue.id.remedy(checked.is_xml()))
}

/// A piece of a line with what to underline in it, in characters.
#[derive(PartialEq, Eq, Debug)]
struct Excerpt {
    text: String,
    before: usize,
    length: usize,
}

fn excerpt(text: &[u8], line: u32, column: u32) -> Option<Excerpt> {
    let line = text.split(|byte| *byte == b'\n').nth(line as usize - 1)?;
    let line = String::from_utf8_lossy(line);
    // Control characters would steer the terminal, and a tab has no width of its own.
    let letters: Vec<char> =
        line.trim_end_matches('\r').chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let at = (column as usize).saturating_sub(1).min(letters.len());
    let length = token(&letters[at..]);
    let start = if letters.len() <= WIDTH { 0 } else { at.saturating_sub(WIDTH / 2) };
    let end = letters.len().min(start + WIDTH);
    let (left, right) = (if start > 0 { "…" } else { "" }, if end < letters.len() { "…" } else { "" });
    let shown: String = letters[start..end].iter().collect();
    let before = at - start + usize::from(start > 0);
    Some(Excerpt { text: format!("{left}{shown}{right}"), before, length: length.min((end - at).max(1)) })
}

/// How many characters the thing at a place takes: a JSON string, number or word, or an XML tag.
fn token(letters: &[char]) -> usize {
    let up_to = |end: &dyn Fn(char) -> bool| letters.iter().position(|c| end(*c)).unwrap_or(letters.len());
    match letters.first() {
        Some('"') => {
            let mut escaped = false;
            let end = letters.iter().skip(1).position(|c| {
                let ends = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                ends
            });
            end.map_or(letters.len(), |end| end + 2)
        }
        Some('<') => letters.iter().position(|c| *c == '>').map_or(letters.len(), |end| end + 1),
        Some(c) if c.is_alphanumeric() || *c == '-' => {
            up_to(&|c| c.is_whitespace() || matches!(c, ',' | '}' | ']' | ':' | '"' | '<' | '>')).max(1)
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::validate::inputs::Input;
    use crate::fhir::outcome::Id;

    #[test]
    fn underlines_the_token() {
        let check = |text: &str, line, column, expected: (&str, usize, usize)| {
            let found = excerpt(text.as_bytes(), line, column).unwrap();
            assert_eq!((found.text.as_str(), found.before, found.length), expected, "{text}");
        };
        check("{\n  \"a\": \"b\\\"c\",\n}", 2, 8, ("  \"a\": \"b\\\"c\",", 7, 6));
        check("{\"a\": 12.50}", 1, 7, ("{\"a\": 12.50}", 6, 5));
        check("\t<status value=\"x\"/>\r\n", 1, 2, (" <status value=\"x\"/>", 1, 19));
        check("{", 1, 2, ("{", 1, 1));
        let long = format!("{}\"x\"{}", " ".repeat(300), " ".repeat(300));
        let found = excerpt(long.as_bytes(), 1, 301).unwrap();
        assert_eq!((found.text.chars().count(), found.before, found.length), (WIDTH + 2, WIDTH / 2 + 1, 3));
        assert_eq!(excerpt(b"{}", 3, 1), None);
    }

    #[test]
    fn shows_place_and_remedy() {
        let issue = Issue::new(Id::MaxLength, "Patient.id", "It is too long.").at(Position { line: 4, column: 9 });
        let input =
            Input { name: "x.ndjson".to_owned(), line: Some(4), text: Ok(b"{\"id\":  \"abc\"}".to_vec()), size: 0 };
        let mut out = Vec::new();
        resource(&Checked { input, issues: vec![issue] }, Colours { on: false }, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "error[max-length]: It is too long.\n --> x.ndjson:4:9 Patient.id\n  |\n4 | {\"id\":  \"abc\"}\n  |         ^^^^^\n  \
             = Shorten the value.\n\nx.ndjson:4: invalid, 1 error\n"
        );
    }
}
