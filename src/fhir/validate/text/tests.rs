//! XML to the tree and back, and what of XML is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;

use super::{Format, Options, Validator};
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{NodeId, json, write};

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

fn validator() -> &'static Validator {
    static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(Registry::core()));
    &VALIDATOR
}

/// Without mistakes, as JSON; else the first mistake.
fn to_json(bytes: &[u8]) -> Result<Vec<u8>, Issue> {
    let reading = validator().read(bytes, Format::Xml);
    match (reading.document, reading.issues.into_iter().next()) {
        (_, Some(issue)) => Err(issue),
        (document, None) => Ok(write::compact(&document.unwrap(), NodeId::ROOT).into_bytes()),
    }
}

fn from_json(document: &crate::fhir::tree::Document) -> Result<Vec<u8>, Issue> {
    validator().to_xml(document)
}

fn converted(xml: &str) -> Value {
    serde_json::from_slice(&to_json(xml.as_bytes()).unwrap()).unwrap()
}

fn written(text: &str) -> Result<String, crate::fhir::outcome::Issue> {
    let document = json::parse(text).unwrap();
    from_json(&document).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// `expected`: id, expression, line and column of each mistake in the text.
fn check(xml: &str, expected: &[(Id, &str, u32, u32)]) {
    let reading = validator().read(xml.as_bytes(), Format::Xml);
    let found: Vec<(Id, &str, u32, u32)> = reading
        .issues
        .iter()
        .map(|issue| (issue.id, issue.expression.as_str(), issue.position.line, issue.position.column))
        .collect();
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
    assert!(again.contains("value=\"a &quot;b&quot;&#10;c\""), "{again}");
    assert_eq!(converted(&again), serde_json::from_slice::<Value>(&json).unwrap());
}

#[test]
fn refuses_hostile_and_broken_xml() {
    let deep = format!("{}{}", "<extension url=\"u\">".repeat(40), "</extension>".repeat(40));
    let many = (0..20).fold(String::new(), |many, n| many + &format!(" xmlns:a{n}=\"u\""));
    let fatal = [
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><Observation/>".to_owned(), Id::XmlDoctype, 1),
        ("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><Observation/>".to_owned(), Id::XmlSyntax, 1),
        ("<?xml version=\"1.1\"?><Observation/>".to_owned(), Id::XmlSyntax, 1),
        (in_observation("\n<status value=\"&xxe;\"/>"), Id::XmlSyntax, 2),
        (in_observation("<status value=\"&#0;\"/>"), Id::XmlSyntax, 1),
        (in_observation("<status value=\"final\""), Id::XmlSyntax, 1),
        (in_observation("<status value=\"final\" value=\"x\"/>"), Id::XmlSyntax, 1),
        (in_observation("<status value=\"final\"></code>"), Id::XmlSyntax, 1),
        (in_observation("<text><div xmlns=\"http://www.w3.org/1999/xhtml\">a<br></div></text>"), Id::XmlSyntax, 1),
        (in_observation(&deep), Id::XmlSyntax, 1),
        (in_observation(&format!("<code{many}/>")), Id::XmlSyntax, 1),
        (format!("{0}{0}", in_observation("")), Id::XmlSyntax, 1),
        ("<observation xmlns=\"http://hl7.org/fhir\"/>".to_owned(), Id::XmlSyntax, 1),
        ("<Observation xmlns=\"urn:other\"/>".to_owned(), Id::XmlSyntax, 1),
        (String::new(), Id::XmlSyntax, 1),
    ];
    for (xml, id, line) in fatal {
        let reading = validator().read(xml.as_bytes(), Format::Xml);
        let found: Vec<(Id, u32)> = reading.issues.iter().map(|issue| (issue.id, issue.position.line)).collect();
        assert_eq!(found, [(id, line)], "{xml}");
        assert!(reading.document.is_none(), "{xml}");
    }
    check("\u{FEFF}<Observation xmlns=\"http://hl7.org/fhir\"><id value=\"a\"/></Observation>", &[]);
    assert!(to_json(b"\xFF\xFE<\0O\0").is_err());
    assert!(to_json(b"<Observation xmlns=\"\xC3\x28\"/>").is_err());
}

#[test]
fn notes_what_is_xml_but_not_fhir_and_goes_on() {
    check(
        "<?xml version=\"1.0\"?>\n<?xml-stylesheet href=\"x\"?>\n<Patient xmlns=\"http://hl7.org/fhir\" xmlns:o=\"urn:o\" o:a=\"1\">\n\
         <name><family value=\"x\" lang=\"en\">y</family></name>\n<o:active value=\"true\"/>\n<![CDATA[x]]>\n\
         <name id=\"a\"/>\n<contained><Patient/><Patient/></contained><contained><Group><member>z</member></Group></contained>\n\
         <deceasedDateTime value=\"2020\">x</deceasedDateTime></Patient>",
        &[
            (Id::XmlInstruction, "", 2, 1),
            (Id::XmlAttribute, "Patient", 3, 59),
            (Id::XmlAttribute, "Patient.name[0].family", 4, 31),
            (Id::XmlText, "Patient.name[0].family", 4, 35),
            (Id::XmlNamespace, "Patient.active", 5, 1),
            (Id::XmlOrder, "Patient.active", 5, 1),
            (Id::XmlText, "Patient", 6, 1),
            (Id::XmlOrder, "Patient.contained[0]", 8, 1),
            (Id::XmlText, "Patient.contained[0]", 8, 22),
            (Id::XmlText, "Patient.contained[1].member[0]", 8, 70),
            (Id::XmlText, "Patient.deceased.ofType(dateTime)", 9, 32),
        ],
    );
    check(
        &in_observation("<text><div>no namespace</div></text>"),
        &[(Id::XmlNamespace, "Observation.text.div", 1, 48)],
    );
    check(&in_observation("<resourceType value=\"Patient\"/>"), &[(Id::ElementUnknown, "Observation", 1, 42)]);
}

/// What only the definitions forbid is found by the check, at its place in the XML.
#[test]
fn leaves_the_rest_to_the_check() {
    let xml = "<Observation xmlns=\"http://hl7.org/fhir\">\n<status value=\"final\"/>\n<code url=\"u\"><text value=\"t\"/></code>\n\
               <valueInteger value=\"abc\"/>\n<wrong value=\"x\"><a/></wrong>\n<note><text><script/></text></note></Observation>";
    let found: Vec<(Id, String, u32, u32)> = validator()
        .check_text(xml.as_bytes(), &Options::default())
        .issues
        .into_iter()
        .filter(Issue::is_error)
        .map(|issue| (issue.id, issue.expression, issue.position.line, issue.position.column))
        .collect();
    let expected = [
        (Id::XmlAttribute, "Observation.code", 3, 12),
        (Id::ElementShape, "Observation.value.ofType(integer)", 4, 1),
        (Id::ElementUnknown, "Observation.wrong", 5, 1),
        (Id::ElementUnknown, "Observation.note[0].text.script", 6, 13),
    ];
    for (id, expression, line, column) in expected {
        assert!(found.contains(&(id, expression.to_owned(), line, column)), "{id} {expression}: {found:?}");
    }
}

#[test]
fn narrative_stands_on_its_own() {
    let xml = "<f:Patient xmlns:f=\"http://hl7.org/fhir\" xmlns:h=\"http://www.w3.org/1999/xhtml\"><f:text><f:status value=\"empty\"/>\
               <h:div xml:lang=\"en\"><h:p class='a'>x<h:br/>&amp;</h:p></h:div></f:text></f:Patient>";
    assert_eq!(
        converted(xml)["text"]["div"],
        "<div xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\"><p class=\"a\">x<br/>&amp;</p></div>"
    );
}

#[test]
fn nulls_keep_the_places_of_primitives() {
    let json = converted(
        "<Patient xmlns=\"http://hl7.org/fhir\"><name><given value=\"a\"/><given id=\"x\"/></name></Patient>",
    );
    assert_eq!(json["name"][0], serde_json::json!({"given": ["a", null], "_given": [null, {"id": "x"}]}));
}

#[test]
fn repetitions_need_not_be_neighbours() {
    let xml = "<category><text value=\"1\"/></category><method><text value=\"m\"/></method><category><text value=\"2\"/></category>";
    let reading = validator().read(in_observation(xml).as_bytes(), Format::Xml);
    assert_eq!(reading.issues.iter().map(|issue| issue.id).collect::<Vec<_>>(), [Id::XmlOrder]);
    let json: Value = serde_json::from_str(&write::compact(&reading.document.unwrap(), NodeId::ROOT)).unwrap();
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
            let _ = from_json(&document);
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

/// Paths of everything that differs.
fn differences(left: &Value, right: &Value, path: &str, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(left), Some(right)) => differences(left, right, &path, found),
                    _ => found.push(path),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{path}[{at}]"), found);
            }
        }
        _ if left != right => found.push(path.to_owned()),
        _ => {}
    }
}

fn same(what: &str, left: &Value, right: &Value) -> Result<(), String> {
    let mut found = Vec::new();
    differences(left, right, "", &mut found);
    if found.is_empty() { Ok(()) } else { Err(format!("{what}: {}", found.join(" "))) }
}

/// The same numbers in one spelling, digits and a power of ten: the two files write exponents each in its own way.
fn respelled(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            let (digits, power) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
            let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
            let power = power.parse::<i64>().expect("a power of ten") - part.len() as i64;
            Value::String(format!("{}e{power}", format!("{whole}{part}").trim_start_matches('0')))
        }
        Value::Object(map) => map.into_iter().map(|(key, member)| (key, respelled(member))).collect(),
        Value::Array(items) => items.into_iter().map(respelled).collect(),
        other => other,
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("what was converted is JSON")
}

fn to_xml(json_text: &[u8]) -> Result<Vec<u8>, String> {
    let document = json::parse(json_text).map_err(|issue| issue.text)?;
    from_json(&document).map_err(|issue| format!("write: {}", issue.text))
}

/// Both files lose nothing when they go to the other format and back; the paths where the one says something else than
/// the other.
fn pair(xml: &[u8], json_text: &[u8]) -> Result<Vec<String>, String> {
    let reading = |issue: crate::fhir::outcome::Issue| format!("read: {} {:?}", issue.text, issue.position);
    let read = to_json(xml).map_err(reading)?;
    same("there and back", &parsed(&to_json(&to_xml(&read)?).map_err(reading)?), &parsed(&read))?;
    let back = to_json(&to_xml(json_text)?).map_err(reading)?;
    let expected = squeezed(parsed(json_text));
    same("back and there", &squeezed(parsed(&back)), &expected)?;
    let mut found = Vec::new();
    differences(&respelled(squeezed(parsed(&read))), &respelled(expected), "", &mut found);
    Ok(found)
}

/// Another reader, of the same file. It respells exponents and trims narrative, which is why it is an oracle only.
fn other_reader(xml: &[u8]) -> Option<Value> {
    type Tree = fhirbolt::element::Element<{ fhirbolt::FhirReleases::R4 }>;
    let tree: Tree = fhirbolt::xml::from_slice(xml, None).ok()?;
    serde_json::from_slice(&fhirbolt::json::to_vec(&tree, None).ok()?).ok()
}

/// Where the two files of a pair say different things, each such element is listed, and nothing else may differ: an
/// entry hides no defect of ours. A list that names what is equal fails as well.
#[test]
fn hl7_pairs_agree() {
    let folder = suites().join("json-xml-pairs");
    let listed: BTreeMap<&str, &str> = include_str!("known-failures.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a pair and its differences"))
        .collect();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the suite json-xml-pairs is there")
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    entries.sort();
    assert!(entries.len() > 300, "the suite is complete");
    let (mut wrong, mut compared, mut differing) = (Vec::new(), 0, 0);
    for path in &entries {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let json_text = std::fs::read(path.with_extension("json")).unwrap();
        let xml = std::fs::read(path).unwrap();
        let outcome = pair(&xml, &json_text).map_or_else(|text| text, |paths| paths.join(" "));
        if let (Some(theirs), Ok(ours)) = (other_reader(&xml), to_json(&xml)) {
            compared += 1;
            assert_eq!(same("readers", &squeezed(theirs), &squeezed(parsed(&ours))), Ok(()), "{name}");
        }
        differing += usize::from(!outcome.is_empty());
        if outcome != listed.get(name).copied().unwrap_or_default() {
            wrong.push(format!("{name} {outcome}"));
        }
    }
    assert!(compared > 300, "the other reader read {compared}");
    assert!(wrong.is_empty(), "{} of {} pairs are not as listed:\n{}", wrong.len(), entries.len(), wrong.join("\n"));
    assert_eq!(differing, listed.len(), "the list names pairs that are not there");
}
