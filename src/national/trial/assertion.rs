//! What a destination asserts of requests: the FHIRPath of its TestScripts, or of a plain list.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::within;
use crate::fhir::definitions::Registry;
use crate::fhir::fhirpath::{self, Collection, Expression, Value};
use crate::fhir::tree::{Element, json as tree};
use crate::fhir::validate::Validator;

/// An assertion, and what became of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Assertion {
    pub expression: String,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    Holds,
    /// Of some request it does not hold.
    Fails,
    /// It asks for a certain value, count or code, and is therefore about a certain request.
    Certain,
    /// It is no FHIRPath.
    Unreadable,
}

/// Assertions on requests that a TestScript has. Its root is what the expression begins with, since a script also asserts
/// what is answered.
pub fn of_script(script: &Json) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for script in within(script, "TestScript") {
        asserted(script, &mut found);
    }
    found
}

fn asserted(value: &Json, found: &mut BTreeSet<String>) {
    match value {
        Json::Object(members) => {
            let assertion = &value["assert"];
            let about_request = assertion["direction"].as_str().is_none_or(|direction| direction == "request");
            if let Some(expression) = assertion["expression"].as_str().filter(|_| about_request) {
                found.insert(expression.to_owned());
            }
            members.values().for_each(|member| asserted(member, found));
        }
        Json::Array(items) => items.iter().for_each(|item| asserted(item, found)),
        _ => {}
    }
}

/// Assertions one a line; an empty line, and one that begins with `#`, says nothing.
pub fn of_list(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Runs assertions over requests: an assertion about a Bundle over Bundles.
pub fn hold(expressions: &BTreeSet<String>, requests: &[Json]) -> Vec<Assertion> {
    let validator = Validator::new(Registry::core());
    let documents: Vec<_> = requests.iter().filter_map(|one| tree::parse(one.to_string()).ok()).collect();
    let outcome = |expression: &str| {
        let Ok(compiled) = fhirpath::compile(expression) else { return Outcome::Unreadable };
        if is_certain(expression) {
            return Outcome::Certain;
        }
        let holds = documents.iter().all(|document| holds(&validator, &compiled, Element::root(document)));
        if holds { Outcome::Holds } else { Outcome::Fails }
    };
    expressions.iter().map(|text| Assertion { expression: text.clone(), outcome: outcome(text) }).collect()
}

/// Whether an expression is true of every request, whatever it is about.
pub fn holds_of_all(expression: &str, requests: &[Json]) -> bool {
    let validator = Validator::new(Registry::core());
    let Ok(compiled) = fhirpath::compile(expression) else { return false };
    let is_true = |document| {
        validator.evaluate(Element::root(&document), &compiled, None, |found| {
            found.is_ok_and(|found| matches!(found, Collection::One(Value::Boolean(true))))
        })
    };
    !requests.is_empty() && requests.iter().all(|one| tree::parse(one.to_string()).is_ok_and(is_true))
}

fn holds(validator: &Validator, compiled: &Expression, root: Element<'_>) -> bool {
    validator.evaluate(root, compiled, None, |found| {
        found.is_ok_and(|found| matches!(found, Collection::One(Value::Boolean(true)) | Collection::Empty))
    })
}

/// Whether it is about one request of the destination's tests and not about every one: it compares with a literal, counts,
/// or is a value of which the script compares.
fn is_certain(expression: &str) -> bool {
    let squeezed: String = expression.split_whitespace().collect();
    let compares = ["value=", "code='", ").count()"].iter().any(|part| squeezed.contains(part));
    let is_path = squeezed.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    compares || is_path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scripts_and_lists_assert_and_what_is_about_one_request_is_left_alone() {
        let script = json!({"resourceType": "TestScript", "test": [{"action": [
            {"assert": {"direction": "request", "expression": "Bundle.entry.all(fullUrl.exists())"}},
            {"assert": {"direction": "response", "expression": "Bundle.entry.response.exists()"}},
            {"assert": {"expression": "Bundle.type = 'batch'"}},
        ]}]});
        let mut all = of_script(&script);
        assert_eq!(all.len(), 2);
        all.extend(of_list("# said\n\nBundle.entry.all(resource.exists())\nBundle.type\nBundle.entry.(\n"));
        let requests = [json!({"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:uuid:1"}]})];
        let outcomes: Vec<(String, Outcome)> =
            hold(&all, &requests).into_iter().map(|one| (one.expression, one.outcome)).collect();
        let expected = [
            ("Bundle.entry.(", Outcome::Unreadable),
            ("Bundle.entry.all(fullUrl.exists())", Outcome::Holds),
            ("Bundle.entry.all(resource.exists())", Outcome::Fails),
            ("Bundle.type", Outcome::Certain),
            ("Bundle.type = 'batch'", Outcome::Fails),
        ];
        assert_eq!(outcomes, expected.map(|(text, outcome)| (text.to_owned(), outcome)));
    }
}
