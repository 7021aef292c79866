//! `fhirpath-r4`: 935 cases of the specification, over the JSON inputs that lie beside them.

use super::*;

/// ShapesOnly, and the few types that the suite asks for by name.
struct Facts;

const TYPES: [(&str, &str, &str); 18] = [
    ("Patient", "active", "boolean"),
    ("Patient", "birthDate", "date"),
    ("Patient", "gender", "code"),
    ("Patient", "name", "HumanName"),
    ("Patient", "identifier", "Identifier"),
    ("Patient", "contained", "Resource"),
    ("Patient", "telecom", "ContactPoint"),
    ("ContactPoint", "use", "code"),
    ("HumanName", "use", "code"),
    ("HumanName", "given", "string"),
    ("HumanName", "family", "string"),
    ("Identifier", "period", "Period"),
    ("Period", "start", "dateTime"),
    ("Period", "end", "dateTime"),
    ("Questionnaire", "url", "uri"),
    ("ValueSet", "version", "string"),
    ("Observation", "issued", "instant"),
    ("Quantity", "unit", "string"),
];

impl Host for Facts {
    fn child<'a>(&'a self, parent: &str, key: &str) -> Option<Child<'a>> {
        if key == "id" && parent.starts_with(|first: char| first.is_ascii_uppercase()) {
            return Some(Child { name: "id", type_name: "id" });
        }
        if (parent, key) == ("Observation", "valueQuantity") {
            return Some(Child { name: "value", type_name: "Quantity" });
        }
        let (_, name, type_name) = TYPES.iter().find(|(owner, name, _)| *owner == parent && *name == key)?;
        Some(Child { name, type_name })
    }

    fn defines(&self, parent: &str, name: &str) -> Option<bool> {
        let mut known = TYPES.iter().filter(|(owner, ..)| *owner == parent).peekable();
        known.peek()?;
        Some(known.any(|(_, defined, _)| *defined == name))
    }

    fn is_subtype(&self, type_name: &str, ancestor: &str) -> bool {
        ShapesOnly.is_subtype(type_name, ancestor)
    }

    fn resolve<'a>(&'a self, _from: Node<'a>, _reference: &str) -> Option<Node<'a>> {
        None
    }

    fn member_of(&self, _value_set: &str, _codes: &[Code<'_>]) -> Option<bool> {
        None
    }

    fn subsumes(&self, general: &Code<'_>, specific: &Code<'_>) -> Option<bool> {
        ShapesOnly.subsumes(general, specific)
    }

    fn conforms_to(&self, node: Node<'_>, profile: &str) -> Option<bool> {
        let name = profile.strip_prefix("http://hl7.org/fhir/StructureDefinition/")?;
        Some(node.element.resource_type() == Some(name))
    }
}

/// The folder of the suites.
#[expect(clippy::disallowed_methods, reason = "tests find material outside the repository by the environment")]
fn suites() -> PathBuf {
    match std::env::var("MHEALTH_SUITES") {
        Ok(folder) => PathBuf::from(folder),
        Err(_) => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"),
    }
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| {
        panic!("the FHIRPath R4 suite is missing: {}: {error} (set MHEALTH_SUITES)", path.display())
    })
}

/// Why a case fails, if it does.
fn run(case: &Element<'_>, inputs: &BTreeMap<String, Document>, now: jiff::Timestamp) -> Option<String> {
    let text = case.text_of("expr").unwrap_or_default();
    let refused = case.get("invalid").is_some();
    let input = case.text_of("inputfile").unwrap_or("patient-example.xml");
    let document = &inputs[input.trim_end_matches(".xml").trim_end_matches(".json")];
    let node = Node::resource(Element::root(document));
    let expression = match compile(text) {
        Ok(expression) => expression,
        Err(syntax) => return (!refused).then(|| syntax.to_string()),
    };
    let context = Context {
        now: Some(now),
        as_filters: false,
        strict: case.text_of("mode") == Some("strict"),
        ..Context::new(&Facts, node)
    };
    let result = match expression.evaluate(&context, node) {
        Ok(result) if refused => return Some(format!("not refused: {}", shown(&result))),
        Ok(result) => result,
        Err(failure) => return (!refused).then(|| failure.to_string()),
    };
    let expected = case
        .all("out")
        .filter_map(|output| {
            let mut parts = output.document().children(output.node());
            let kind = parts.next().map(|node| output.document().value(node).to_owned())?;
            let text = parts.next().map(|node| output.document().value(node).to_owned())?;
            Some((kind, text))
        })
        .collect::<Vec<_>>();
    if case.text_of("predicate") == Some("true") {
        let holds = expression.holds(&context, node) == Ok(true);
        return (expected[0].1 != holds.to_string()).then(|| "the predicate differs".into());
    }
    let items = result.iter().collect::<Vec<_>>();
    let same = items.len() == expected.len()
        && items.iter().zip(&expected).all(|(value, (kind, text))| matches(value, kind, text));
    (!same).then(|| format!("{} instead of {expected:?}", shown(&result)))
}

fn shown(collection: &Collection<'_>) -> String {
    collection.iter().map(print).collect::<Vec<_>>().join(",")
}

fn matches(value: &Value<'_>, kind: &str, text: &str) -> bool {
    let printed = print(value);
    let text = text.strip_prefix("@T").or_else(|| text.strip_prefix('@')).unwrap_or(text);
    let same = printed == text
        || match (value::decimal(&printed), value::decimal(text)) {
            (Some(left), Some(right)) => left == right,
            _ => false,
        };
    let system = value.system();
    let typed = match kind {
        "boolean" => matches!(system, Some(Value::Boolean(_))),
        "integer" => matches!(system, Some(Value::Integer(_))),
        "decimal" => matches!(system, Some(Value::Decimal(_))),
        "Quantity" => matches!(system, Some(Value::Quantity(_))),
        "date" | "dateTime" | "time" => matches!(system, Some(Value::Temporal(_))),
        "string" | "code" | "id" => matches!(system, Some(Value::Text(_))),
        _ => true,
    };
    same && typed
}

#[test]
fn the_r4_suite_passes_but_for_the_known_failures() {
    let folder = suites().join("fhirpath-r4");
    // The cases are one JSON array; our reader takes objects only.
    let cases = document(&format!("{{\"cases\":{}}}", read(&folder.join("tests.json"))));
    let mut inputs = BTreeMap::new();
    for case in Element::root(&cases).all("cases") {
        let name = case.text_of("inputfile").unwrap_or("patient-example.xml");
        let name = name.trim_end_matches(".xml").trim_end_matches(".json").to_owned();
        inputs
            .entry(name.clone())
            .or_insert_with(|| document(&read(&folder.join("input").join(format!("{name}.json")))));
    }
    let now = "2026-11-21T12:00:00.123Z".parse::<jiff::Timestamp>().unwrap();
    let known = include_str!("../known-failures.txt").lines().filter(|line| !line.starts_with('#'));
    let known = known.filter_map(|line| line.split_whitespace().next()).collect::<BTreeSet<_>>();
    let mut passed = BTreeSet::new();
    let mut count = 0;
    let mut complaints = Vec::new();
    for case in Element::root(&cases).all("cases") {
        let name = case.text_of("name").unwrap();
        count += 1;
        match run(&case, &inputs, now) {
            Some(_) if known.contains(name) => {}
            Some(why) => complaints.push(format!("{name}: {} : {why}", case.text_of("expr").unwrap_or_default())),
            None => {
                passed.insert(name);
            }
        }
    }
    for name in &known {
        if passed.contains(name) {
            complaints.push(format!("{name} passes; take it off the list of known failures"));
        }
    }
    assert_eq!(count, 935, "cases of the suite");
    assert!(passed.len() >= 931, "{} pass", passed.len());
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}
