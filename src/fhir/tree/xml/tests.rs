//! XML to the tree and back, and what of XML is refused.

use std::path::PathBuf;

use serde_json::Value;

use super::{from_json, to_json};
use crate::fhir::tree::{NodeId, json};

const OBSERVATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- sent by a watch -->
<Observation xmlns="http://hl7.org/fhir">
  <text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml" lang="en">Pulse <b>72</b> <i>/min</i> &amp; calm</div></text>
  <extension url="http://example.org/e"><valueDecimal value="1.50"/></extension>
  <status value="final"><extension url="http://example.org/s"><valueCode value="a"/></extension></status>
  <category><text value="one"/></category>
  <code><text value="a &quot;b&quot;&#10;c"/></code>
  <valueQuantity><value value="72.50"/><unit value="/min"/></valueQuantity>
</Observation>"#;

fn converted(xml: &str) -> Value {
    serde_json::from_slice(&to_json(xml.as_bytes()).unwrap()).unwrap()
}

fn written(text: &str) -> Result<String, crate::fhir::outcome::Issue> {
    let document = json::parse(text).unwrap();
    from_json(&document, NodeId::ROOT).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// `expected`: id of the issue and line; `None` for acceptance.
fn check(xml: &str, expected: Option<(&str, u32)>) {
    let found = to_json(xml.as_bytes()).err().map(|issue| (issue.id.code(), issue.position.line));
    assert_eq!(found, expected, "{xml}");
}

fn in_observation(inner: &str) -> String {
    format!("<Observation xmlns=\"http://hl7.org/fhir\">{inner}</Observation>")
}

#[test]
fn reads_an_observation() {
    let text = String::from_utf8(to_json(OBSERVATION.as_bytes()).unwrap()).unwrap();
    let json = converted(OBSERVATION);
    assert!(text.contains("\"value\":72.50,") && text.contains("\"valueDecimal\":1.50"), "{text}");
    assert_eq!(json["status"], "final");
    assert_eq!(json["_status"]["extension"][0]["valueCode"], "a");
    assert_eq!(json["category"][0]["text"], "one");
    assert_eq!(json["code"]["text"], "a \"b\"\nc");
    assert_eq!(
        json["text"]["div"],
        "<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">Pulse <b>72</b> <i>/min</i> &amp; calm</div>"
    );
}

#[test]
fn comes_back_unchanged() {
    let json = to_json(OBSERVATION.as_bytes()).unwrap();
    let again = written(std::str::from_utf8(&json).unwrap()).unwrap();
    assert!(again.contains("value=\"a &#34;b&#34;&#10;c\""), "{again}");
    assert_eq!(converted(&again), serde_json::from_slice::<Value>(&json).unwrap());
}

#[test]
fn refuses_hostile_and_broken_xml() {
    let deep = format!("{}{}", "<extension>".repeat(70), "</extension>".repeat(70));
    let many = (0..20).fold(String::new(), |many, n| many + &format!(" xmlns:a{n}=\"u\""));
    let cases = [
        (in_observation("<status value=\"final\"/>"), None),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><Observation/>".to_owned(), Some(("xml-doctype", 1))),
        ("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Observation/>".to_owned(), Some(("xml-syntax", 1))),
        ("<?xml version=\"1.1\"?><Observation/>".to_owned(), Some(("xml-syntax", 1))),
        (in_observation("\n<status value=\"&xxe;\"/>"), Some(("xml-syntax", 2))),
        (in_observation("<status value=\"&#0;\"/>"), Some(("xml-syntax", 1))),
        (in_observation("<status vaule=\"final\"/>"), Some(("xml-syntax", 1))),
        (in_observation("<status value=\"final\""), Some(("xml-syntax", 1))),
        (in_observation("<status value=\"final\" value=\"x\"/>"), Some(("xml-syntax", 1))),
        (in_observation("<status value=\"final\"></code>"), Some(("xml-syntax", 1))),
        (in_observation("final"), Some(("xml-syntax", 1))),
        (in_observation("<![CDATA[x]]>"), Some(("xml-doctype", 1))),
        (in_observation("<?php x?>"), Some(("xml-syntax", 1))),
        (in_observation(&deep), Some(("xml-syntax", 1))),
        (in_observation(&format!("<code{many}/>")), Some(("xml-syntax", 1))),
        (in_observation("<Patient><active value=\"true\"/></Patient>"), Some(("xml-syntax", 1))),
        (in_observation("<contained><Patient/><Patient/></contained>"), Some(("xml-syntax", 1))),
        (in_observation("<valueInteger value=\"abc\"/>"), Some(("xml-syntax", 0))),
        (in_observation("<code url=\"u\"><text value=\"t\"/></code>"), Some(("xml-syntax", 0))),
        (in_observation("<status value=\"final\"><value value=\"amended\"/></status>"), Some(("xml-syntax", 0))),
        (in_observation("<x:status value=\"final\"/>"), Some(("xml-syntax", 0))),
        (in_observation("<text><div>no namespace</div></text>"), Some(("xml-syntax", 1))),
        (format!("{0}{0}", in_observation("")), Some(("xml-syntax", 1))),
        ("<observation xmlns=\"http://hl7.org/fhir\"/>".to_owned(), Some(("xml-syntax", 1))),
        ("<Observation xmlns=\"urn:other\"/>".to_owned(), Some(("xml-syntax", 0))),
        (String::new(), Some(("xml-syntax", 1))),
        ("\u{FEFF}<Observation xmlns=\"http://hl7.org/fhir\"><id value=\"a\"/></Observation>".to_owned(), None),
    ];
    for (xml, expected) in cases {
        check(&xml, expected);
    }
    assert!(to_json(b"\xFF\xFE<\0O\0").is_err());
    assert!(to_json(b"<Observation xmlns=\"\xC3\x28\"/>").is_err());
}

#[test]
fn repetitions_need_not_be_neighbours() {
    let json = converted(&in_observation(
        "<category><text value=\"1\"/></category><status value=\"final\"/><category><text value=\"2\"/></category>",
    ));
    assert_eq!(json["category"].as_array().unwrap().len(), 2);
    let json = converted(&in_observation("<status value=\"final\"/><status value=\"amended\"/>"));
    assert_eq!(json["status"], serde_json::json!(["final", "amended"]), "left for validation to refuse");
}

#[test]
fn refuses_json_that_xml_cannot_hold() {
    let cases = [
        (r#"{"resourceType":"Patient","active":true}"#, true),
        (r#"{"resourceType":"Patient","name":[]}"#, false),
        (r#"{"resourceType":"Patient","name":[{}]}"#, false),
        (r#"{"resourceType":"Patient","active":null}"#, false),
        (r#"{"resourceType":"Patient","unknown":"x"}"#, false),
        (r#"{"resourceType":"Patient","a><b":"x"}"#, false),
        (r#"{"resourceType":"Patient/><x","active":true}"#, false),
        (r#"{"resourceType":"Patient","language":"a\u0001b"}"#, false),
        (r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div>x</div>"}}"#, false),
        (
            r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div><x/>"}}"#,
            false,
        ),
        (
            r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">a&nbsp;b</div>"}}"#,
            true,
        ),
    ];
    for (text, accepted) in cases {
        assert_eq!(written(text).is_ok(), accepted, "{text}: {:?}", written(text));
    }
}

/// The deepest that is read must also fit the stack of a worker thread, there and back.
#[test]
fn deep_resources_fit_the_stack() {
    let deep = format!("{}<valueString value=\"x\"/>{}", "<extension url=\"u\">".repeat(30), "</extension>".repeat(30));
    let json = to_json(in_observation(&deep).as_bytes()).unwrap();
    let text = std::str::from_utf8(&json).unwrap();
    assert_eq!(converted(&written(text).unwrap()), serde_json::from_str::<Value>(text).unwrap());
}

proptest::proptest! {
    /// Damaged XML is refused or read, and what was read is JSON that our own reader takes.
    #[test]
    fn damage_never_panics(at in 0..OBSERVATION.len(), with in "[<>/&;\"'!a-zA-Z0-9:= \n-]{0,3}", cut in 0..4_usize) {
        let mut bytes = OBSERVATION.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        if let Ok(json) = to_json(&bytes) {
            let document = json::parse(json).unwrap();
            let _ = from_json(&document, NodeId::ROOT);
        }
    }
}

fn suites() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests find the shared suites by environment")]
    let named = std::env::var("MHEALTH_SUITES");
    named.map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"), PathBuf::from)
}

/// HL7's own two files differ in the white space of narrative and come from two builds, which date themselves.
fn squeezed(mut value: Value) -> Value {
    match &mut value {
        Value::String(text) if text.starts_with("2019-10-30T13:56") || text.starts_with("2021-01-17T07:06") => {
            "time of build".clone_into(text);
        }
        Value::Object(map) => {
            for (key, member) in map.iter_mut() {
                let taken = member.take();
                *member = match taken {
                    Value::String(text) if key == "div" => {
                        Value::String(text.chars().filter(|c| !c.is_whitespace()).collect())
                    }
                    other => squeezed(other),
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = squeezed(item.take())),
        _ => {}
    }
    value
}

/// Path of the first difference.
fn difference(left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            a.keys().chain(b.keys()).find_map(|key| match (a.get(key), b.get(key)) {
                (Some(left), Some(right)) => difference(left, right).map(|path| format!(".{key}{path}")),
                _ => Some(format!(".{key} on one side only")),
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (a, b))| Some(format!("[{at}]{}", difference(a, b)?)))
        }
        _ => (left != right).then(|| format!(": {left} / {right}")),
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("what was converted is JSON")
}

fn to_xml(json_text: &[u8]) -> Result<Vec<u8>, String> {
    let document = json::parse(json_text).map_err(|issue| issue.text)?;
    from_json(&document, NodeId::ROOT).map_err(|issue| format!("write: {}", issue.text))
}

/// Both files lose nothing when they go to the other format and back, and both say the same.
fn pair(xml: &[u8], json_text: &[u8]) -> Result<(), String> {
    let reading = |issue: crate::fhir::outcome::Issue| format!("read: {} {:?}", issue.text, issue.position);
    let same = |what: &str, left: &Value, right: &Value| {
        difference(left, right).map_or(Ok(()), |path| Err(format!("{what}{path}")))
    };
    let read = to_json(xml).map_err(reading)?;
    same("there and back", &parsed(&to_json(&to_xml(&read)?).map_err(reading)?), &parsed(&read))?;
    let back = to_json(&to_xml(json_text)?).map_err(reading)?;
    let expected = squeezed(parsed(json_text));
    same("back and there", &squeezed(parsed(&back)), &expected)?;
    same("pair", &squeezed(parsed(&read)), &expected)
}

/// The list of known failures may only shrink: a pair on it that passes fails the test as well.
#[test]
fn hl7_pairs_agree() {
    let folder = suites().join("json-xml-pairs");
    let known: Vec<&str> = include_str!("known-failures.txt").lines().filter(|line| !line.starts_with('#')).collect();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the suite json-xml-pairs is there")
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    entries.sort();
    assert!(entries.len() > 300, "the suite is complete");
    let mut wrong = Vec::new();
    for path in &entries {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let json_text = std::fs::read(path.with_extension("json")).unwrap();
        let outcome = pair(&std::fs::read(path).unwrap(), &json_text);
        if outcome.is_err() != known.contains(&name) {
            wrong.push(format!("{name}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} pairs are not as listed:\n{}", wrong.len(), entries.len(), wrong.join("\n"));
}
