//! The R4 suite of the specification, and what the engine promises beyond it.
//!
//! The suite lies outside the repository, in `MHEALTH_SUITES` or beside the checkout. Cases that fail are listed in
//! `known-failures.txt`, and the list may only shrink: a listed case that passes fails the test as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;
use crate::fhir::tree::{Document, Element, json};

mod suite;

fn document(text: &str) -> Document {
    json::parse(text).unwrap()
}

/// The result printed, items separated by commas; `!` and the reason where the evaluation fails.
fn check(resource: &str, expression: &str, expected: &str) {
    let document = document(resource);
    let node = Node::resource(Element::root(&document));
    let expression = compile(expression).unwrap();
    let result = match expression.evaluate(&Context::new(&ShapesOnly, node), node) {
        Ok(collection) => collection.iter().map(print).collect::<Vec<_>>().join(","),
        Err(failure) => format!("!{failure}"),
    };
    assert_eq!(result, expected, "{expression}");
}

fn print(value: &Value<'_>) -> String {
    match value.system() {
        Some(Value::Boolean(value)) => value.to_string(),
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Decimal(value)) => value.to_string(),
        Some(Value::Text(text)) => text.into_owned(),
        Some(Value::Temporal(temporal)) => temporal.to_string(),
        Some(Value::Quantity(quantity)) => quantity.to_string(),
        _ => "{…}".into(),
    }
}

const OBSERVATION: &str = r##"{"resourceType":"Observation","status":"final","contained":[{"resourceType":"Patient",
    "id":"p"}],"subject":{"reference":"#p"},"_issued":{"extension":[{"url":"u","valueCode":"unknown"}]},
    "category":[{"coding":[{"system":"s","code":"vital-signs"}]}],
    "valueQuantity":{"value":72.50,"system":"http://unitsofmeasure.org","code":"/min"}}"##;

#[test]
fn navigates_choices_shadows_and_references() {
    let cases = [
        ("value.value", "72.50"),
        ("Observation.value.ofType(Quantity).value > 72.5 '/min'", ""),
        ("Observation.value.ofType(Quantity).value > 'a'", "!a comparison does not take a value of this type"),
        ("value = 72.5 '/min'", "true"),
        ("issued.hasValue()", "false"),
        ("issued.extension('u').value", "unknown"),
        ("issued.exists()", "true"),
        ("issued.hasExtension('u')", "true"),
        ("value.exists(comparator.empty())", "true"),
        ("val.exists()", "false"),
        ("subject.resolve().id", "p"),
        ("subject.resolve() is Patient", "true"),
        ("(category.coding.code | status).as(string).count()", "2"),
        ("resourceType", ""),
        ("value.exists() or component.exists()", "true"),
        ("category.coding.where(system = 's' and code = 'vital-signs').exists()", "true"),
        ("code.memberOf('v')", ""),
        ("status.memberOf('v')", "!memberOf cannot be decided for v"),
        ("now()", "!the time of day is not known here"),
        ("Resource.status", "final"),
        ("dataAbsentReason.exists() implies value.empty()", "true"),
    ];
    for (expression, expected) in cases {
        check(OBSERVATION, expression, expected);
    }
}

#[test]
fn numbers_never_lie() {
    let cases = [
        ("0.1 + 0.2 = 0.3", "true"),
        ("9223372036854775807 + 1", "!a value is out of range"),
        ("79228162514264337593543950335 * 10", "!a value is out of range"),
        ("2.power(64)", "!a value is out of range"),
        ("1 / 0", ""),
        ("(-9223372036854775807 - 1).abs()", "!a value is out of range"),
        ("@9999-12-31 + 1 day", "!a value is out of range"),
        ("@0001-01-01 - 1 day", "!a value is out of range"),
        ("1e5", "!"),
    ];
    for (expression, expected) in cases {
        if expected == "!" {
            assert!(compile(expression).is_err(), "{expression}");
        } else {
            check(OBSERVATION, expression, expected);
        }
    }
}

#[test]
fn hostile_expressions_end() {
    check(OBSERVATION, &format!("{}1{}", "(".repeat(100), ")".repeat(100)), "1");
    for text in ["(".repeat(60_000), "a.".repeat(30_000) + "a", "-".repeat(60_000) + "1", "1+".repeat(30_000) + "1"] {
        assert!(compile(&text).is_err());
    }
    let doubling = "'aaaaaaaa'".to_owned() + &".replace('a','aaaaaaaa')".repeat(20);
    check(OBSERVATION, &doubling, "!a value is out of range");
    for step in ["select($this & $this)", "select($this + $this)", "encode('hex')", "escape('json')"] {
        let doubling = "'\\\\'".to_owned() + &format!(".{step}").repeat(40);
        check(OBSERVATION, &doubling, "!a value is out of range");
    }
    let growing = "(1)".to_owned() + &".combine($this).select(1.combine(2)).select(1.combine(3))".repeat(20);
    check(OBSERVATION, &growing, "!the evaluation takes too many steps");
}

#[test]
fn prints_what_it_understood() {
    let cases = [
        ("a or b and c = 1 | 2", "(a or (b and (c = (1 | 2))))"),
        ("-a.count() * 2 is Integer", "((-a.count() * 2) is Integer)"),
        ("name.given[0].matches('^a') ", "name.given[0].matches('^a')"),
        ("%`vs-x` in value.as(Quantity)", "('http://hl7.org/fhir/ValueSet/x' in value.as(Quantity))"),
    ];
    for (text, expected) in cases {
        assert_eq!(compile(text).unwrap().to_string(), expected);
    }
}

#[test]
fn holds_as_the_reference_validator_does() {
    let document = document(OBSERVATION);
    let node = Node::resource(Element::root(&document));
    for (expression, expected) in [("{}", false), ("status", true), ("status = 'x'", false), ("1 | 2", true)] {
        let expression = compile(expression).unwrap();
        assert_eq!(expression.holds(&Context::new(&ShapesOnly, node), node), Ok(expected), "{expression}");
    }
}

proptest::proptest! {
    #[test]
    fn compiling_never_panics(text in "[a-z0-9.()'@T:|=<>!~+*/ \\[\\]$%`{}-]{0,48}") {
        let _ = compile(&text).map(|expression| expression.to_string());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,32}") {
        let _ = compile(&text);
    }

    #[test]
    fn evaluating_never_panics(
        first in "(name|value|1\\.5|@2015-02|'a'|4 days|\\{\\}|\\(1 \\| 'b'\\))",
        function in "(count|first|lowBoundary|highBoundary|toQuantity|abs|ln|length|toDate|children|not|precision|sort)",
        operator in "(=|<|\\+|-|\\*|/|mod|div|~|in|and|&|\\|)",
        second in "(name|-3|2\\.25|@T10|@2015-02-04T10:00Z|3 'mo'|true)",
    ) {
        let document = document(OBSERVATION);
        let node = Node::resource(Element::root(&document));
        let expression = compile(&format!("({first}).{function}() {operator} ({second})")).unwrap();
        let _ = expression.evaluate(&Context::new(&ShapesOnly, node), node);
    }
}
