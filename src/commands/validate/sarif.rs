//! SARIF 2.1.0: one run whose rules are the catalogue, one result an issue.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Checked;
use crate::fhir::outcome::{CATALOGUE, Id, Issue, Severity};

#[derive(Default)]
pub(super) struct Log {
    /// Results so far.
    written: usize,
}

impl Log {
    pub fn begin(out: &mut impl Write) -> io::Result<()> {
        let rules: Vec<Value> = CATALOGUE.iter().map(|entry| rule(entry.id)).collect();
        let driver = json!({
            "name": "mhealth-gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "rules": rules,
        });
        write!(
            out,
            "{{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\"runs\":[{{\
             \"tool\":{{\"driver\":{driver}}},\"columnKind\":\"unicodeCodePoints\",\"results\":["
        )
    }

    pub fn resource(&mut self, checked: &Checked, out: &mut impl Write) -> io::Result<()> {
        for issue in &checked.issues {
            out.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
            self.written += 1;
            write!(out, "{}", result(issue, &checked.input.name))?;
        }
        Ok(())
    }

    pub fn end(out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "]}}]}}")
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Fatal | Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Information => "note",
    }
}

fn rule(id: Id) -> Value {
    let entry = id.entry();
    json!({
        "id": entry.code,
        "shortDescription": {"text": entry.code.replace('-', " ")},
        "help": {"text": entry.remedy},
        "helpUri": id.page(),
        "defaultConfiguration": {"level": level(entry.severity)},
    })
}

fn result(issue: &Issue, name: &str) -> Value {
    let mut location = json!({"physicalLocation": {"artifactLocation": {"uri": uri(name)}}});
    if issue.position.line > 0 {
        location["physicalLocation"]["region"] =
            json!({"startLine": issue.position.line, "startColumn": issue.position.column});
    }
    if !issue.expression.is_empty() {
        location["logicalLocations"] = json!([{"fullyQualifiedName": issue.expression}]);
    }
    json!({
        "ruleId": issue.id.code(),
        "ruleIndex": issue.id as usize,
        "level": level(issue.severity),
        "message": {"text": issue.text},
        "locations": [location],
    })
}

/// A path as a URI reference.
fn uri(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::validate::inputs::Input;
    use crate::fhir::outcome::Position;

    #[test]
    fn names_rules_and_regions() {
        let issue = Issue::new(Id::MaxLength, "Patient.id", "Too long.").at(Position { line: 3, column: 7 });
        let input = Input { name: "a b.json".to_owned(), line: None, text: Ok(Vec::new()), size: 0 };
        let checked = Checked { input, issues: vec![issue.clone(), issue] };
        let (mut log, mut out) = (Log::default(), Vec::new());
        Log::begin(&mut out).unwrap();
        log.resource(&checked, &mut out).unwrap();
        Log::end(&mut out).unwrap();
        let value: Value = serde_json::from_slice(&out).unwrap();
        let run = &value["runs"][0];
        assert_eq!(run["results"].as_array().unwrap().len(), 2);
        let result = &run["results"][0];
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!((&rule["id"], &result["level"]), (&json!("max-length"), &json!("error")));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b.json");
        assert_eq!(place["region"], json!({"startLine": 3, "startColumn": 7}));
    }
}
