//! ValueSets: whether what they include can be what they say (R4 §4.9).

use std::collections::HashSet;

use super::super::run::Run;
use super::code_system::cannot_be;
use super::questionnaire::{extension, extensions};
use crate::fhir::definitions::{CodeSystem, Content, Kind};
use crate::fhir::fhirpath;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, defines};
use crate::fhir::tree::Element;
use crate::fhir::tree::time::Moment;

const PARAMETER: &str = "http://hl7.org/fhir/tools/StructureDefinition/valueset-parameter";
const EXPRESSION: &str = "http://hl7.org/fhir/StructureDefinition/cqf-expression";

/// Properties by which any code system can be filtered: name and type.
const PROPERTIES: [(&str, &str); 11] = [
    ("code", "code"),
    ("comment", "string"),
    ("concept", "code"),
    ("deprecationDate", "dateTime"),
    ("effectiveDate", "dateTime"),
    ("inactive", "boolean"),
    ("itemWeight", "decimal"),
    ("notSelectable", "boolean"),
    ("retirementDate", "dateTime"),
    ("status", "string"),
    ("synonym", "code"),
];

/// More concepts of one include are not looked up.
const MAX_CONCEPTS: usize = 1000;

/// Checks a ValueSet. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, set: Element<'d>) {
    let Some(compose) = set.get("compose") else { return };
    run.trail.push("compose", "compose".len(), None);
    for name in ["include", "exclude"] {
        for (index, part) in compose.all(name).enumerate() {
            run.trail.push(name, name.len(), Some(index as u32));
            check_part(run, set, part);
            run.trail.pop();
        }
    }
    run.trail.pop();
}

fn wrong<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, text: &str) {
    run.issue(Id::ValueSetRule, element, text.to_owned());
}

fn advise<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, text: &str) {
    run.issue(Id::ValueSetAdvice, element, text.to_owned());
}

fn check_part<'d>(run: &mut Run<'_, 'd>, set: Element<'d>, part: Element<'d>) {
    imports(run, part);
    let Some(stated) = part.text_of("system") else {
        if part.get("concept").is_some() || part.get("filter").is_some() {
            advise(run, part, "Concepts and filters should have a system beside them.");
        }
        return;
    };
    let (system, version) = match stated.split_once('|') {
        Some((system, _)) => {
            wrong(run, part, "The version of a system stands in version, not behind a bar.");
            (system, None)
        }
        None => (stated, part.text_of("version")),
    };
    if !system.contains(':') {
        wrong(run, part, "The system must be an absolute URL, also that of a contained code system.");
        contained(run, set, part, system);
        return;
    }
    let canonical = version.map_or_else(|| system.to_owned(), |version| format!("{system}|{version}"));
    let known = run.validator.registry.code_system(&canonical).cloned();
    match &known {
        Some(known) if known.content == Content::Supplement => {
            wrong(run, part, "The system is a supplement; a value set names the code system that it adds to.");
            return;
        }
        Some(known) if known.content == Content::Example => {
            advise(run, part, "The code system is an example; its codes are not to be relied upon.");
        }
        None if run.validator.registry.is_value_set(&canonical) => {
            return wrong(
                run,
                part,
                "The system must be a code system, and this is a value set: import it by valueSet.",
            );
        }
        _ => {}
    }
    concepts(run, part, system, known.as_deref());
    for (index, filter) in part.all("filter").enumerate() {
        run.trail.push("filter", "filter".len(), Some(index as u32));
        Filtering { set, filter, system, known: known.as_deref() }.check(run);
        run.trail.pop();
    }
}

fn imports<'d>(run: &mut Run<'_, 'd>, part: Element<'d>) {
    let mut count = 0;
    for (index, import) in part.all("valueSet").enumerate() {
        count += 1;
        let Some(canonical) = import.text() else { continue };
        let is_implicit = canonical.contains('?') || canonical.contains("/vs");
        let is_known = run.validator.registry.find(Kind::ValueSet, canonical).is_some();
        if !canonical.starts_with('#') && !is_implicit && !is_known {
            run.trail.push("valueSet", "valueSet".len(), Some(index as u32));
            advise(run, import, "The imported value set is not loaded here; it was not looked into.");
            run.trail.pop();
        }
    }
    if count > 1 {
        advise(run, part, "Of several value sets in one include only the codes that all of them have are included.");
    }
}

/// A contained code system by fragment: not allowed as it is, and it should at least be there.
fn contained<'d>(run: &mut Run<'_, 'd>, set: Element<'d>, part: Element<'d>, system: &str) {
    let Some(id) = system.strip_prefix('#') else { return };
    let found = set.all("contained").find(|each| each.text_of("id") == Some(id));
    match found.and_then(|found| found.resource_type()) {
        Some("CodeSystem") => {}
        Some(_) => wrong(run, part, "The contained resource must be a CodeSystem."),
        None => wrong(run, part, "No contained code system has that id."),
    }
}

fn concepts<'d>(run: &mut Run<'_, 'd>, part: Element<'d>, system: &str, known: Option<&CodeSystem>) {
    for (index, concept) in part.all("concept").enumerate().take(MAX_CONCEPTS) {
        let Some(code) = concept.text_of("code") else { continue };
        if is_absent(known, system, code) {
            run.trail.push("concept", "concept".len(), Some(index as u32));
            advise(run, concept, "The code should be one of the code system.");
            run.trail.pop();
        }
    }
}

fn is_absent(known: Option<&CodeSystem>, system: &str, code: &str) -> bool {
    defines(known, system, code) == Membership::Out || cannot_be(system, code)
}

/// One filter with what it is about.
struct Filtering<'a, 'd> {
    set: Element<'d>,
    filter: Element<'d>,
    system: &'a str,
    known: Option<&'a CodeSystem>,
}

impl<'d> Filtering<'_, 'd> {
    fn check(&self, run: &mut Run<'_, 'd>) {
        let (Some(property), Some(op)) = (self.filter.text_of("property"), self.filter.text_of("op")) else { return };
        let kind = self.kind(property);
        if kind.is_none() && self.known.is_some() {
            return advise(run, self.filter, "The property should be one that the code system defines.");
        }
        if !self.allows(property, op) {
            let text = "The operation must be one that the property allows: an attribute is compared with = or in.";
            return wrong(run, self.filter, text);
        }
        let value = self.filter.get("value");
        match value.and_then(|value| value.text()) {
            None => self.expression(run, value),
            Some(_) if value.is_some_and(|value| extension(value, EXPRESSION).is_some()) => {
                wrong(run, self.filter, "A filter has a value or an expression for it, not both.");
            }
            Some(value) => self.value(run, property, op, value, kind.unwrap_or("string")),
        }
    }

    /// The type of a property; `None` where nobody here knows it.
    fn kind(&self, property: &str) -> Option<&str> {
        let declared = self.known.and_then(|known| known.properties.iter().find(|(code, _)| **code == *property));
        if let Some((_, kind)) = declared {
            return Some(kind);
        }
        PROPERTIES.iter().find(|(name, _)| *name == property).map(|(_, kind)| *kind)
    }

    fn allows(&self, property: &str, op: &str) -> bool {
        let is_attribute =
            self.system == "http://snomed.info/sct" && property.bytes().all(|byte| byte.is_ascii_digit());
        !is_attribute || matches!(op, "=" | "in")
    }

    fn value(&self, run: &mut Run<'_, 'd>, property: &str, op: &str, value: &str, kind: &str) {
        match op {
            "exists" => self.typed(run, property, value, "boolean"),
            "regex" => {
                if fhirpath::pattern(value, true).is_none() {
                    wrong(run, self.filter, "The value must be a regular expression.");
                }
                if property == "concept" {
                    wrong(run, self.filter, "Concepts are not compared with regular expressions; codes are.");
                }
            }
            "in" | "not-in" => value.split(',').for_each(|each| self.typed(run, property, each, kind)),
            _ => self.typed(run, property, value, kind),
        }
    }

    fn typed(&self, run: &mut Run<'_, 'd>, property: &str, value: &str, kind: &str) {
        let plain = || {
            let has_prefix =
                ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"].iter().any(|each| value.starts_with(each));
            if has_prefix { &value[2..] } else { value }
        };
        let expected = match kind {
            "boolean" if !matches!(value, "true" | "false") => "true or false",
            "integer" if plain().parse::<i64>().is_err() => "an integer",
            "decimal" if plain().parse::<rust_decimal::Decimal>().is_err() => "a decimal",
            "dateTime" if Moment::parse(plain()).is_none() => "a dateTime",
            "code" if value.trim() != value => "a code",
            "code" if is_of_system(property) && is_absent(self.known, self.system, value) => "a code of the system",
            "Coding" => match coding(value) {
                None => "written as system|version#code",
                Some((system, code))
                    if is_absent(run.validator.registry.code_system(system).map(AsRef::as_ref), system, code) =>
                {
                    "a code of the system that it names"
                }
                Some(_) => return,
            },
            _ => return,
        };
        wrong(run, self.filter, &format!("The value of the filter must be {expected}."));
    }

    /// In the place of a value: an expression over the parameters of the value set.
    fn expression(&self, run: &mut Run<'_, 'd>, value: Option<Element<'d>>) {
        // Some write the extension on the filter, which says the same.
        let holder = value.unwrap_or(self.filter);
        let found = extension(holder, EXPRESSION).or_else(|| extension(self.filter, EXPRESSION));
        let Some(expression) = found else {
            return wrong(run, self.filter, "A filter has a value, or an expression for it.");
        };
        if expression.text_of("language") != Some("text/fhirpath") {
            return wrong(run, expression, "The expression of a filter must be text/fhirpath.");
        }
        let Some(text) = expression.text_of("expression") else { return };
        if fhirpath::compile(&grounded(text)).is_err() {
            wrong(run, expression, "The expression of a filter must be FHIRPath.");
        }
        let declared: HashSet<&str> = self
            .set
            .all("extension")
            .filter(|each| each.text_of("url") == Some(PARAMETER))
            .filter_map(|each| extensions(each, "name").next()?.text())
            .collect();
        if variables(text).any(|name| !declared.contains(name)) {
            wrong(run, expression, "The expression of a filter must use parameters that the value set declares.");
        }
    }
}

/// Properties whose values are codes of the filtered system.
fn is_of_system(property: &str) -> bool {
    matches!(property, "concept" | "code" | "parent" | "child" | "partOf")
}

/// `system|version#code`: the canonical and the code.
fn coding(text: &str) -> Option<(&str, &str)> {
    let (system, code) = text.split_once('#')?;
    (system.contains(':') && !code.is_empty()).then_some((system, code))
}

/// The variables of an expression. Their names may hold dashes, which FHIRPath itself would read as minus.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('%').skip(1).map(|after| after.split_at(name_end(after)).0)
}

/// An expression in which every variable is one that FHIRPath knows.
fn grounded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for after in parts {
        out.push_str("%resource");
        out.push_str(&after[name_end(after)..]);
    }
    out
}

fn name_end(text: &str) -> usize {
    text.find(|each: char| !(each.is_alphanumeric() || matches!(each, '-' | '_'))).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::{Options, Validator};
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    /// Issues of this file, as `id path`.
    fn found(validator: &Validator, resource: &Value) -> Vec<String> {
        let document = json::parse(resource.to_string()).unwrap();
        let report = validator.check(Element::root(&document), &Options::default());
        let own = report.issues.into_iter().filter(|issue| matches!(issue.id, Id::ValueSetRule | Id::ValueSetAdvice));
        own.map(|issue| format!("{} {}", issue.id.code().trim_start_matches("value-set-"), issue.expression)).collect()
    }

    fn validator(resources: &[Value]) -> Validator {
        let documents = resources.iter().map(|each| json::parse(each.to_string()).unwrap()).collect();
        Validator::new(Registry::with(documents).unwrap())
    }

    #[test]
    fn value_sets_include_what_exists() {
        let system = json!({"resourceType": "CodeSystem", "url": "urn:s", "content": "complete", "status": "active",
            "property": [{"code": "at", "type": "dateTime"}, {"code": "kind", "type": "Coding"}],
            "concept": [{"code": "a"}, {"code": "b"}]});
        let supplement = json!({"resourceType": "CodeSystem", "url": "urn:more", "content": "supplement",
            "supplements": "urn:s", "status": "active"});
        let example =
            json!({"resourceType": "CodeSystem", "url": "urn:example", "content": "example", "status": "active"});
        let set = json!({"resourceType": "ValueSet", "url": "urn:v", "status": "active"});
        let validator = validator(&[system, supplement, example, set]);
        let (rule, advice) = ("rule ValueSet.compose.include[0]", "advice ValueSet.compose.include[0]");
        for (include, expected) in [
            (json!({"system": "urn:s", "concept": [{"code": "a"}]}), vec![]),
            (json!({"system": "urn:unknown", "concept": [{"code": "a"}]}), vec![]),
            (
                json!({"system": "urn:s", "concept": [{"code": "c"}]}),
                vec!["advice ValueSet.compose.include[0].concept[0]"],
            ),
            (
                json!({"system": "http://loinc.org", "concept": [{"code": "8867-4"}, {"code": "pulse"}]}),
                vec!["advice ValueSet.compose.include[0].concept[1]"],
            ),
            (json!({"system": "s"}), vec![rule]),
            (json!({"system": "#c"}), vec![rule]),
            (json!({"system": "#p"}), vec![rule, rule]),
            (json!({"system": "#none"}), vec![rule, rule]),
            (json!({"system": "urn:s|1"}), vec![rule]),
            (json!({"system": "urn:v"}), vec![rule]),
            (json!({"system": "urn:more"}), vec![rule]),
            (json!({"system": "urn:example"}), vec![advice]),
            (json!({"valueSet": ["urn:v", "urn:w"]}), vec!["advice ValueSet.compose.include[0].valueSet[1]", advice]),
        ] {
            let set = json!({"resourceType": "ValueSet", "status": "active", "compose": {"include": [include]},
                "contained": [{"resourceType": "CodeSystem", "id": "c", "status": "active", "content": "not-present"},
                    {"resourceType": "Patient", "id": "p"}]});
            assert_eq!(found(&validator, &set), expected, "{include}");
        }
        let filter = |property: &str, op: &str, value: &str| {
            json!({"resourceType": "ValueSet", "status": "active", "compose": {"include": [
                {"system": "urn:s", "filter": [{"property": property, "op": op, "value": value}]}]}})
        };
        for (property, op, value, expected) in [
            ("concept", "is-a", "a", None),
            ("concept", "is-a", "c", Some("rule")),
            ("concept", "in", "a,c", Some("rule")),
            ("code", "regex", "[ab]", None),
            ("code", "regex", "(", Some("rule")),
            ("concept", "regex", "a", Some("rule")),
            ("notSelectable", "=", "1", Some("rule")),
            ("at", "exists", "yes", Some("rule")),
            ("at", "=", "2026-01", None),
            ("at", "=", "soon", Some("rule")),
            ("kind", "=", "urn:s#a", None),
            ("kind", "=", "urn:s#c", Some("rule")),
            ("kind", "=", "a", Some("rule")),
            ("colour", "=", "red", Some("advice")),
        ] {
            let expected: Vec<String> =
                expected.iter().map(|kind| format!("{kind} ValueSet.compose.include[0].filter[0]")).collect();
            assert_eq!(found(&validator, &filter(property, op, value)), expected, "{property} {op} {value}");
        }
    }

    #[test]
    fn filters_use_declared_parameters() {
        let validator = validator(&[]);
        for (language, expression, is_good) in [
            ("text/fhirpath", "%p-one", true),
            ("text/fhirpath", "%p-two", false),
            ("text/fhirpath", "((", false),
            ("text/cql", "x", false),
        ] {
            let set = json!({"resourceType": "ValueSet", "status": "active",
                "extension": [{"url": PARAMETER, "extension": [{"url": "name", "valueCode": "p-one"}]}],
                "compose": {"include": [{"system": "urn:s", "filter": [{"property": "inactive", "op": "=", "_value": {
                    "extension": [{"url": EXPRESSION, "valueExpression": {"language": language, "expression": expression}}]}}]}]}});
            assert_eq!(found(&validator, &set).is_empty(), is_good, "{expression}");
        }
    }
}
