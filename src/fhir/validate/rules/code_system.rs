//! CodeSystems: whether what they declare agrees with what they hold (R4 §4.8).
//!
//! Their own concepts are the only ones at hand, besides those of the code system that a supplement adds to.

use std::collections::{HashMap, HashSet};

use super::super::run::Run;
use super::super::scope::named;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, defines};
use crate::fhir::tree::Element;

const CONCEPT_PROPERTIES: &str = "http://hl7.org/fhir/concept-properties#";

/// The properties that R4 and its successors define for every code system: code and type.
const STANDARD: [(&str, &str); 12] = [
    ("child", "code"),
    ("comment", "string"),
    ("deprecationDate", "dateTime"),
    ("effectiveDate", "dateTime"),
    ("inactive", "boolean"),
    ("itemWeight", "decimal"),
    ("notSelectable", "boolean"),
    ("parent", "code"),
    ("partOf", "code"),
    ("retirementDate", "dateTime"),
    ("status", "code"),
    ("synonym", "code"),
];

/// Standard properties whose values are codes of the same system.
const LINKS: [&str; 4] = ["child", "parent", "partOf", "synonym"];

/// A declared property.
struct Property<'d> {
    kind: Option<&'d str>,
    /// Its values are codes of the same system.
    is_link: bool,
    /// Its values are codes that are likely of the same system.
    is_code: bool,
}

/// Checks a CodeSystem. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, system: Element<'d>) {
    let mut codes = HashSet::new();
    let mut count = 0;
    concepts(run, system, &mut codes, &mut count);
    content(run, system, count);
    whole_value_set(run, system);
    if let Some(base) = system.text_of("supplements") {
        supplement(run, system, base);
    }
    let properties = properties(run, system);
    let mut uses = Uses { codes, properties, said: HashSet::new() };
    uses.concepts(run, system, system.text_of("supplements").is_some());
}

fn wrong<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, text: &str) {
    run.issue(Id::CodeSystemRule, element, text.to_owned());
}

fn advise<'d>(run: &mut Run<'_, 'd>, element: Element<'d>, text: &str) {
    run.issue(Id::CodeSystemAdvice, element, text.to_owned());
}

fn wrong_at<'d>(run: &mut Run<'_, 'd>, system: Element<'d>, name: &'static str, text: &str) {
    run.trail.push(name, name.len(), None);
    wrong(run, system.get(name).unwrap_or(system), text);
    run.trail.pop();
}

/// Codes stand once, and designations say something that the display does not.
fn concepts<'d>(run: &mut Run<'_, 'd>, holder: Element<'d>, codes: &mut HashSet<&'d str>, count: &mut usize) {
    for (index, concept) in holder.all("concept").enumerate() {
        *count += 1;
        run.trail.push("concept", "concept".len(), Some(index as u32));
        if concept.text_of("code").is_some_and(|code| !codes.insert(code)) {
            wrong(run, concept, "A code stands once in a code system.");
        }
        concepts(run, concept, codes, count);
        run.trail.pop();
    }
}

fn content<'d>(run: &mut Run<'_, 'd>, system: Element<'d>, count: usize) {
    let stated = system.text_of("content");
    if system.text_of("supplements").is_some() {
        if stated != Some("supplement") {
            wrong_at(run, system, "content", "The content of a supplement is `supplement`.");
        }
        for name in ["caseSensitive", "hierarchyMeaning"] {
            if system.get(name).is_some() {
                wrong_at(run, system, name, "A supplement takes this from the code system that it adds to.");
            }
        }
    } else if stated == Some("supplement") {
        wrong_at(run, system, "content", "A supplement names in `supplements` the code system that it adds to.");
    }
    if stated == Some("not-present")
        && let Some(concept) = system.get("concept")
    {
        run.trail.push("concept", "concept".len(), Some(0));
        wrong(run, concept, "A code system whose content is not-present holds no concepts.");
        run.trail.pop();
    }
    if stated == Some("complete") && count == 0 {
        advise(run, system, "A complete code system should hold concepts.");
    }
    let Some(total) = system.text_of("count").and_then(|text| text.parse::<usize>().ok()) else { return };
    let is_wrong = match stated {
        Some("complete") => count != total,
        Some("example" | "fragment") => {
            if count >= total {
                run.trail.push("count", "count".len(), None);
                let text = "The count of a fragment should be that of the whole code system.";
                advise(run, system.get("count").unwrap_or(system), text);
                run.trail.pop();
            }
            false
        }
        _ => false,
    };
    if is_wrong {
        wrong_at(run, system, "count", &format!("The count must be the number of concepts, which is {count}."));
    }
}

/// The value set that a code system calls its own holds all of it and nothing else.
fn whole_value_set<'d>(run: &mut Run<'_, 'd>, system: Element<'d>) {
    let (Some(canonical), Some(url)) = (system.text_of("valueSet"), system.text_of("url")) else { return };
    let registry = &run.validator.registry;
    let id = registry.find(crate::fhir::definitions::Kind::ValueSet, canonical);
    let Some(document) = id.and_then(|id| registry.document(id)) else { return };
    let set = Element::root(&document);
    let mut includes = set.get("compose").into_iter().flat_map(|compose| compose.all("include"));
    let is_whole = match (includes.next(), includes.next()) {
        (Some(only), None) => {
            only.text_of("system") == Some(url)
                && ["valueSet", "concept", "filter"].iter().all(|name| only.get(name).is_none())
        }
        _ => false,
    };
    if !is_whole {
        wrong(run, system, "The value set named in valueSet must include exactly this code system, all of it.");
    }
}

fn supplement<'d>(run: &mut Run<'_, 'd>, system: Element<'d>, base: &str) {
    let url = base.split('|').next().unwrap_or(base);
    let known = run.validator.registry.code_system(base).cloned();
    for (index, concept) in system.all("concept").enumerate() {
        let Some(code) = concept.text_of("code") else { continue };
        let is_absent = defines(known.as_deref(), url, code) == Membership::Out || cannot_be(url, code);
        if is_absent {
            run.trail.push("concept", "concept".len(), Some(index as u32));
            wrong(run, concept, "A supplement adds to codes that the code system has; it defines none.");
            run.trail.pop();
        }
    }
}

/// Whether a code is not even of the form that codes of a large terminology have.
pub fn cannot_be(system: &str, code: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match system {
        "http://snomed.info/sct" => !digits(code) || !(6..=18).contains(&code.len()),
        "http://loinc.org" => {
            let number = code.trim_start_matches(|each: char| each.is_ascii_uppercase());
            !number.split_once('-').is_some_and(|(number, check)| digits(number) && digits(check) && check.len() == 1)
                && !code.starts_with("MTHU")
        }
        _ => false,
    }
}

fn properties<'d>(run: &mut Run<'_, 'd>, system: Element<'d>) -> HashMap<&'d str, Property<'d>> {
    let (mut properties, mut uris) = (HashMap::new(), HashSet::new());
    let url = system.text_of("url").unwrap_or_default();
    for (index, property) in system.all("property").enumerate() {
        run.trail.push("property", "property".len(), Some(index as u32));
        let (code, uri, kind) = (property.text_of("code"), property.text_of("uri"), property.text_of("type"));
        let by_uri = uri.and_then(|uri| {
            if !uri.contains(':') {
                wrong(run, property, "The uri of a property must be absolute.");
                return None;
            }
            if !uris.insert(uri) {
                wrong(run, property, "A property stands once: another one has the same uri.");
            }
            let name = uri.strip_prefix(CONCEPT_PROPERTIES);
            let standard = name.and_then(|name| STANDARD.iter().find(|(code, _)| *code == name));
            let is_of_core =
                |url: &str| url.strip_prefix("http://hl7.org/fhir/").is_some_and(|rest| !rest.contains('/'));
            if standard.is_none() && uri.contains("://hl7.org/fhir") && !is_of_core(url) && !is_own(url, uri) {
                wrong(run, property, "No standard property has that uri.");
            }
            standard
        });
        let by_code = code.and_then(|code| STANDARD.iter().find(|(name, _)| *name == code));
        if code.is_some_and(|code| properties.contains_key(code)) {
            wrong(run, property, "A property stands once: another one has the same code.");
        }
        match (by_uri, by_code) {
            (Some((name, expected)), by_code) => {
                if by_code.is_some_and(|(code, _)| code != name) {
                    wrong(
                        run,
                        property,
                        &format!("The property of that uri has the code {name}; this code is that of another one."),
                    );
                }
                if kind.is_some_and(|kind| kind != *expected) {
                    wrong(run, property, &format!("The property of that uri has the type {expected}."));
                }
            }
            (None, Some((name, expected))) if uri.is_none() => {
                let text = format!("The standard property {name} should have its uri, or it means nothing to others.");
                advise(run, property, &text);
                if kind.is_some_and(|kind| kind != *expected) {
                    advise(run, property, &format!("The standard property {name} has the type {expected}."));
                }
            }
            _ => {}
        }
        if let Some(code) = code {
            let is_link = by_uri.is_some_and(|(name, _)| LINKS.contains(name));
            let is_code = kind == Some("code") && by_uri.is_none();
            properties.entry(code).or_insert(Property { kind, is_link, is_code });
        }
        run.trail.pop();
    }
    properties
}

fn is_own(url: &str, uri: &str) -> bool {
    !url.is_empty() && uri.starts_with(url)
}

/// The properties of concepts against their declarations.
struct Uses<'d> {
    codes: HashSet<&'d str>,
    properties: HashMap<&'d str, Property<'d>>,
    /// Values that lead nowhere and have been said.
    said: HashSet<&'d str>,
}

impl<'d> Uses<'d> {
    fn concepts(&mut self, run: &mut Run<'_, 'd>, holder: Element<'d>, is_supplement: bool) {
        for (index, concept) in holder.all("concept").enumerate() {
            run.trail.push("concept", "concept".len(), Some(index as u32));
            for (index, property) in concept.all("property").enumerate() {
                run.trail.push("property", "property".len(), Some(index as u32));
                self.property(run, property, is_supplement);
                run.trail.pop();
            }
            self.concepts(run, concept, is_supplement);
            run.trail.pop();
        }
    }

    fn property(&mut self, run: &mut Run<'_, 'd>, property: Element<'d>, is_supplement: bool) {
        let Some(code) = property.text_of("code") else { return };
        let value = named(property, "value", Some(true)).into_iter().next();
        let Some(declared) = self.properties.get(code) else {
            return advise(run, property, "A property of a concept should be declared by the code system.");
        };
        let Some(value) = value else { return };
        if let Some(kind) = declared.kind
            && kind != value.type_name
        {
            return wrong(run, property, &format!("The value must be of the declared type {kind}."));
        }
        let Some(text) = value.element.text() else { return };
        // A supplement links to codes of the code system that it adds to.
        let leads_nowhere = value.type_name == "code" && !is_supplement && !self.codes.contains(text);
        if leads_nowhere && (declared.is_link || declared.is_code) && self.said.insert(text) {
            if declared.is_link {
                wrong(run, property, "The value must be a code of this code system.");
            } else {
                advise(run, property, "The value should be a code of this code system.");
            }
        }
    }
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
        let own =
            report.issues.into_iter().filter(|issue| matches!(issue.id, Id::CodeSystemRule | Id::CodeSystemAdvice));
        own.map(|issue| format!("{} {}", issue.id.code().trim_start_matches("code-system-"), issue.expression))
            .collect()
    }

    fn validator(resources: &[Value]) -> Validator {
        let documents = resources.iter().map(|each| json::parse(each.to_string()).unwrap()).collect();
        Validator::new(Registry::with(documents).unwrap())
    }

    #[test]
    fn code_systems_agree_with_themselves() {
        let base = json!({"resourceType": "CodeSystem", "url": "urn:base", "content": "complete", "status": "active",
            "concept": [{"code": "a"}, {"code": "b"}]});
        let part = json!({"resourceType": "ValueSet", "url": "urn:part", "status": "active",
            "compose": {"include": [{"system": "urn:s", "concept": [{"code": "a"}]}]}});
        let whole = json!({"resourceType": "ValueSet", "url": "urn:whole", "status": "active",
            "compose": {"include": [{"system": "urn:s"}]}});
        let validator = validator(&[base, part, whole]);
        let concepts = json!([{"code": "a", "concept": [{"code": "b"}]}]);
        let uri = |name: &str| format!("{CONCEPT_PROPERTIES}{name}");
        for (more, expected) in [
            (json!({"count": 2, "valueSet": "urn:whole"}), vec![]),
            (json!({"count": 3}), vec!["rule CodeSystem.count"]),
            (json!({"content": "fragment", "count": 3}), vec![]),
            (json!({"content": "fragment", "count": 2}), vec!["advice CodeSystem.count"]),
            (json!({"content": "not-present"}), vec!["rule CodeSystem.concept[0]"]),
            (json!({"content": "supplement"}), vec!["rule CodeSystem.content"]),
            (json!({"valueSet": "urn:part"}), vec!["rule CodeSystem"]),
            (json!({"concept": []}), vec!["advice CodeSystem"]),
            (
                json!({"concept": [{"code": "a", "concept": [{"code": "a"}]}]}),
                vec!["rule CodeSystem.concept[0].concept[0]"],
            ),
            (json!({"content": "supplement", "supplements": "urn:base"}), vec![]),
            (
                json!({"supplements": "urn:base", "caseSensitive": true, "concept": [{"code": "c"}]}),
                vec!["rule CodeSystem.content", "rule CodeSystem.caseSensitive", "rule CodeSystem.concept[0]"],
            ),
            (
                json!({"content": "supplement", "supplements": "http://snomed.info/sct"}),
                vec!["rule CodeSystem.concept[0]"],
            ),
            (
                json!({"property": [{"code": "parent", "uri": uri("parent"), "type": "code"}, {"code": "x", "type": "code"}],
                "concept": [{"code": "a", "property": [{"code": "parent", "valueCode": "b"}]},
                    {"code": "b", "property": [{"code": "x", "valueCode": "a"}]}]}),
                vec![],
            ),
            (
                json!({"property": [{"code": "parent", "uri": uri("parent"), "type": "code"}, {"code": "x", "type": "code"}],
                "concept": [{"code": "a", "property": [{"code": "parent", "valueCode": "c"}, {"code": "x", "valueCode": "d"},
                    {"code": "y", "valueCode": "a"}, {"code": "x", "valueString": "a"}]}]}),
                vec![
                    "rule CodeSystem.concept[0].property[0]",
                    "advice CodeSystem.concept[0].property[1]",
                    "advice CodeSystem.concept[0].property[2]",
                    "rule CodeSystem.concept[0].property[3]",
                ],
            ),
            (
                json!({"property": [{"code": "inactive", "uri": uri("status"), "type": "code"}]}),
                vec!["rule CodeSystem.property[0]"],
            ),
            (
                json!({"property": [{"code": "x", "uri": uri("inactive"), "type": "code"}]}),
                vec!["rule CodeSystem.property[0]"],
            ),
            (
                json!({"property": [{"code": "x", "uri": uri("nothing"), "type": "code"}]}),
                vec!["rule CodeSystem.property[0]"],
            ),
            (json!({"property": [{"code": "x", "uri": "x", "type": "code"}]}), vec!["rule CodeSystem.property[0]"]),
            (
                json!({"property": [{"code": "x", "uri": "urn:x", "type": "code"}, {"code": "x", "uri": "urn:x", "type": "code"}]}),
                vec!["rule CodeSystem.property[1]", "rule CodeSystem.property[1]"],
            ),
            (
                json!({"property": [{"code": "inactive", "type": "code"}]}),
                vec!["advice CodeSystem.property[0]", "advice CodeSystem.property[0]"],
            ),
        ] {
            let mut system = json!({"resourceType": "CodeSystem", "url": "urn:s", "status": "active", "content": "complete",
                "concept": concepts});
            system.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if system["concept"] == json!([]) {
                system.as_object_mut().unwrap().remove("concept");
            }
            assert_eq!(found(&validator, &system), expected, "{more}");
        }
    }
}
