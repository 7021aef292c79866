//! The UCUM functional tests of the Ucum-java project: validation, display names, conversion and arithmetic.
//!
//! They lie outside of the package (`MHEALTH_SUITES`); their absence is a failure, not a skip. Where the later edition
//! amends a case of the earlier one, the later one stands.

use std::collections::HashMap;
use std::path::PathBuf;

use super::*;

/// Cases that fail, as edition, id and reason. It may only shrink.
const KNOWN: &[(&str, &str, &str)] =
    &[("earlier", "1-103", "the empty text is no term (UCUM §7); the later edition calls it invalid in a comment")];

struct Case {
    part: &'static str,
    attributes: HashMap<String, String>,
}

impl Case {
    fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map(String::as_str).unwrap_or_default()
    }

    fn says_what(&self, other: &Case) -> bool {
        let said = |case: &Case| {
            let mut attributes = case.attributes.clone();
            attributes.remove("reason");
            attributes
        };
        said(self) == said(other)
    }

    fn number(&self, name: &str) -> Decimal {
        number(self.get(name))
    }
}

fn number(text: &str) -> Decimal {
    text.parse().or_else(|_| Decimal::from_scientific(text)).unwrap_or_else(|_| panic!("{text} is no number"))
}

fn cases(edition: &str) -> Vec<Case> {
    let suites = std::env::var_os("MHEALTH_SUITES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"), PathBuf::from);
    let path = suites.join("ucum").join(edition);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{} is missing ({error}); set MHEALTH_SUITES", path.display()));
    let comment = regex::Regex::new("(?s)<!--.*?-->").unwrap();
    let text = comment.replace_all(&text, "");
    let element =
        regex::Regex::new("<(validation|displayNameGeneration|conversion|multiplication|division|case)([^>]*)>");
    let attribute = regex::Regex::new("([A-Za-z0-9]+)=\"([^\"]*)\"").unwrap();
    let (mut cases, mut part) = (Vec::new(), "");
    for found in element.unwrap().captures_iter(&text) {
        part = match &found[1] {
            "validation" => "validation",
            "displayNameGeneration" => "display",
            "conversion" => "conversion",
            "multiplication" => "multiplication",
            "division" => "division",
            _ => {
                let read = |pair: regex::Captures<'_>| (pair[1].to_owned(), unescaped(&pair[2]));
                let attributes = attribute.captures_iter(&found[2]).map(read).collect();
                cases.push(Case { part, attributes });
                continue;
            }
        };
    }
    cases
}

fn unescaped(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#232;", "è"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// Equal to the digits in which the outcome is written, and to those that a decimal holds.
fn agrees(actual: Option<Decimal>, expected: &str) -> bool {
    let outcome = number(expected);
    let digits = expected.split(['e', 'E']).next().unwrap_or_default();
    let digits = digits.bytes().filter(u8::is_ascii_digit).count() as u32 - u32::from(digits.starts_with("0."));
    let resolution = Decimal::new(1, Decimal::MAX_SCALE);
    let rounding = (0..digits.min(24)).fold(outcome.abs() * Decimal::from(5), |value, _| value / Decimal::TEN);
    actual.is_some_and(|actual| (actual - outcome).abs() <= rounding.max(resolution))
}

fn passes(case: &Case) -> bool {
    let amount = |value: &str, unit: &'static str| (case.number(value), case.get(unit));
    let product = |product: Option<(Decimal, String)>| {
        let wanted = if case.get("uRes").is_empty() { "1" } else { case.get("uRes") };
        agrees(product.and_then(|(value, unit)| convert(value, &unit, wanted)), case.get("vRes"))
    };
    match case.part {
        "validation" => valid(case.get("unit")) == (case.get("valid") == "true"),
        "display" => display(case.get("unit")).as_deref() == Some(case.get("display")),
        "conversion" => {
            agrees(convert(case.number("value"), case.get("srcUnit"), case.get("dstUnit")), case.get("outcome"))
        }
        "multiplication" => product(multiply(amount("v1", "u1"), amount("v2", "u2"))),
        "division" => product(divide(amount("v1", "u1"), amount("v2", "u2"))),
        other => panic!("{other} is not understood"),
    }
}

#[test]
fn functional_tests_pass() {
    let (earlier, later) = (cases("UcumFunctionalTests.2.xml"), cases("UcumFunctionalTests.xml"));
    let key = |case: &Case| (case.part, case.get("id").to_owned());
    let mut stands: HashMap<(&str, String), Vec<&Case>> = HashMap::new();
    for case in &later {
        stands.entry(key(case)).or_default().push(case);
    }
    let mut failed = Vec::new();
    let mut count = 0;
    for (edition, cases) in [("earlier", &earlier), ("later", &later)] {
        for case in cases {
            let amended = |same: &Vec<&Case>| same.iter().all(|other| !case.says_what(other));
            if edition == "earlier" && stands.get(&key(case)).is_some_and(amended) {
                continue;
            }
            count += 1;
            if !passes(case) {
                failed.push((edition, case.get("id").to_owned(), case.get("unit").to_owned()));
            }
        }
    }
    assert!(count > 1000, "only {count} cases were found");
    let known: Vec<(&str, &str)> = KNOWN.iter().map(|(edition, id, _)| (*edition, *id)).collect();
    let failing: Vec<(&str, &str)> = failed.iter().map(|(edition, id, _)| (*edition, id.as_str())).collect();
    assert_eq!(failing, known, "{failed:#?}");
}
