//! The catalogue of issues: what a vendor's developer looks up.

use serde_json::{Value, json};

use crate::fhir::outcome::{CATALOGUE, ISSUE_SYSTEM, Id};

/// Why issues come up, one line each: `code: cause`.
const CAUSES: &str = include_str!("causes.txt");

/// Why an issue comes up.
pub(super) fn cause(id: Id) -> &'static str {
    let of = |line: &'static str| line.split_once(": ").filter(|(code, _)| *code == id.code());
    CAUSES.lines().find_map(of).map_or("", |(_, cause)| cause)
}

pub(super) fn page() -> String {
    let mut page = format!(
        "# Issues\n\n\
         Every `OperationOutcome.issue` of the gateway carries one of these ids in `details.coding` (system\n\
         `{ISSUE_SYSTEM}`), says in `details.text` what is wrong, in `expression` where\n\
         (FHIRPath), in extensions at which line and column of what was sent, and in `diagnostics` what to do.\n\
         It never repeats what was sent.\n\n\
         | id | severity | issue type | what to do |\n|---|---|---|---|\n",
    );
    for entry in CATALOGUE {
        page.push_str(&format!(
            "| <a id=\"{0}\"></a>`{0}` | {1} | {2} | {3} |\n",
            entry.code,
            entry.severity.code(),
            entry.kind,
            entry.remedy.replace('|', "\\|")
        ));
    }
    page
}

pub(super) fn code_system() -> Value {
    let concepts: Vec<Value> =
        CATALOGUE.iter().map(|entry| json!({"code": entry.code, "definition": entry.remedy})).collect();
    json!({
        "resourceType": "CodeSystem",
        "id": "issue",
        "url": ISSUE_SYSTEM,
        "version": env!("CARGO_PKG_VERSION"),
        "name": "MhealthGatewayIssue",
        "title": "Issues of the mHealth gateway",
        "status": "draft",
        "caseSensitive": true,
        "content": "complete",
        "count": concepts.len(),
        "concept": concepts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_issue_has_its_cause_and_no_other_has() {
        for entry in CATALOGUE {
            assert!(!cause(entry.id).is_empty(), "causes.txt has no line for {}", entry.code);
        }
        assert_eq!(CAUSES.lines().count(), CATALOGUE.len());
    }
}
