//! JUnit XML: a test suite with one case a resource. Counts stand in its first tag, so that it is written at the end.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::{Checked, Tally, text};
use crate::fhir::outcome::Id;

#[derive(Default)]
pub(super) struct Suite {
    cases: String,
    warnings: String,
    unreadable: usize,
}

impl Suite {
    pub fn resource(&mut self, checked: &Checked) {
        let name = &checked.input.name;
        let line = checked.input.line.map(|line| format!(":{line}")).unwrap_or_default();
        let (errors, others): (Vec<_>, Vec<_>) = checked.issues.iter().partition(|issue| issue.is_error());
        for issue in others {
            // Writing into a string does not fail.
            let _ = writeln!(self.warnings, "{name}:{}", escaped(&text::short(issue)));
        }
        let case = format!(
            "  <testcase classname=\"{}\" name=\"{}\" time=\"0\"",
            escaped(name.rsplit_once('.').map_or(name, |(stem, _)| stem)),
            escaped(&format!("{name}{line}"))
        );
        let Some(first) = errors.first() else {
            let _ = writeln!(self.cases, "{case}/>");
            return;
        };
        let element = if first.id == Id::InputUnreadable { "error" } else { "failure" };
        self.unreadable += usize::from(element == "error");
        let listed: String = errors.iter().map(|issue| escaped(&text::short(issue)) + "\n").collect();
        let _ = writeln!(
            self.cases,
            "{case}>\n    <{element} type=\"{}\" message=\"{}\">{listed}</{element}>\n  </testcase>",
            first.id,
            escaped(&first.text)
        );
    }

    pub fn end(&self, tally: &Tally, out: &mut impl Write) -> io::Result<()> {
        let failures = tally.invalid - self.unreadable;
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S");
        writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        writeln!(
            out,
            "<testsuite name=\"mhealth-gateway validate\" timestamp=\"{now}\" hostname=\"localhost\" tests=\"{}\" \
             failures=\"{failures}\" errors=\"{}\" time=\"0\">\n  <properties/>",
            tally.resources, self.unreadable
        )?;
        out.write_all(self.cases.as_bytes())?;
        writeln!(out, "  <system-out>{}</system-out>\n  <system-err/>\n</testsuite>", self.warnings)
    }
}

/// Text for XML 1.0, which has no word for most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            control if control.is_control() => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::validate::inputs::Input;
    use crate::fhir::outcome::{Issue, Position};

    #[test]
    fn counts_what_it_lists() {
        let checked = |name: &str, issues| Checked {
            input: Input { name: name.to_owned(), line: None, text: Ok(Vec::new()), size: 0 },
            issues,
        };
        let place = Position { line: 2, column: 3 };
        let cases = [
            checked("a.json", vec![Issue::new(Id::BindingExtensible, "Patient.a", "Rare.").at(place)]),
            checked("b.json", vec![Issue::new(Id::MaxLength, "Patient.b", "It is > \"it\".").at(place)]),
            checked("c.json", vec![Issue::new(Id::InputUnreadable, "", "No such file.")]),
        ];
        let (mut suite, mut tally) = (Suite::default(), Tally::default());
        for case in &cases {
            suite.resource(case);
            tally.add(case);
        }
        let mut out = Vec::new();
        suite.end(&tally, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in [
            "tests=\"3\" failures=\"1\" errors=\"1\"",
            "<testcase classname=\"a\" name=\"a.json\" time=\"0\"/>",
            "<failure type=\"max-length\" message=\"It is &gt; &quot;it&quot;.\">2:3: error [max-length] Patient.b:",
            "<error type=\"input-unreadable\"",
            "<system-out>a.json:2:3: warning [binding-extensible]",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
