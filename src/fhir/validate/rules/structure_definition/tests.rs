//! One profile, one extension and one logical model; one change each.

use serde_json::{Value, json};

use super::super::super::{Options, Validator};
use crate::fhir::definitions::Registry;
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Element, json};

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";

fn found(validator: &Validator, resource: &Value) -> Vec<String> {
    let document = json::parse(resource.to_string()).unwrap();
    let report = validator.check(Element::root(&document), &Options::default());
    let own = report.issues.into_iter().filter(|issue| matches!(issue.id, Id::StructureRule | Id::StructureAdvice));
    own.map(|issue| {
        let place = issue.expression.replace("StructureDefinition", "").replace(".differential.element", "");
        format!("{}{place}", issue.id.code().trim_start_matches("structure-"))
    })
    .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
fn profile(more: Value, elements: Value) -> Value {
    let mut profile = json!({"resourceType": "StructureDefinition", "url": "urn:p", "name": "P", "status": "draft",
        "kind": "resource", "abstract": false, "type": "Observation", "derivation": "constraint",
        "baseDefinition": format!("{CORE}Observation"), "differential": {"element": elements}});
    if let Value::Object(more) = more {
        profile.as_object_mut().unwrap().extend(more);
    }
    profile
}

/// One element beside the root.
fn element(path: &str, more: Value) -> Value {
    let mut element = json!({"id": path, "path": path});
    if let Value::Object(more) = more {
        element.as_object_mut().unwrap().extend(more);
    }
    json!([element])
}

#[test]
fn definitions_fit_their_base() {
    let validator = Validator::new(Registry::core());
    let good = || element("Observation.code", json!({"min": 1}));
    for (more, expected) in [
        (json!({}), vec![]),
        (json!({"baseDefinition": "urn:gone"}), vec!["advice"]),
        (json!({"baseDefinition": "urn:p"}), vec!["advice"]),
        (json!({"kind": "complex-type"}), vec!["rule"]),
        (json!({"type": "Patient"}), vec!["rule", "rule[0]"]),
        (json!({"derivation": "specialization"}), vec!["rule.type", "rule"]),
        (json!({"type": "Boo", "baseDefinition": "urn:gone"}), vec!["rule.type", "advice"]),
        (json!({"type": "urn:x/Boo", "baseDefinition": "urn:gone"}), vec!["advice.type", "rule.type", "advice"]),
        (
            json!({"type": "urn:x/Boo", "url": "urn:x/Boo", "kind": "logical", "derivation": "specialization",
            "baseDefinition": "urn:gone"}),
            vec!["advice"],
        ),
        (json!({"context": [{"type": "element", "expression": "Patient"}]}), vec!["rule.context[0]"]),
        (json!({"contextInvariant": ["true"]}), vec!["rule.contextInvariant[0]"]),
    ] {
        assert_eq!(found(&validator, &profile(more.clone(), good())), expected, "{more}");
    }
}

#[test]
fn differentials_lead_to_elements_and_narrow_them() {
    let validator = Validator::new(Registry::core());
    let slicing = |kind: &str, path: &str| json!({"discriminator": [{"type": kind, "path": path}], "rules": "open"});
    for (path, more, expected) in [
        ("Observation.valueQuantity", json!({}), vec![]),
        ("Observation.value[x].value", json!({}), vec![]),
        ("Observation.valueBla", json!({}), vec!["rule"]),
        ("Observation..code", json!({}), vec!["rule"]),
        ("Observation.code.none", json!({}), vec!["rule"]),
        ("Patient.name", json!({}), vec!["rule[0]"]),
        ("Observation", json!({"slicing": slicing("value", "code")}), vec!["rule", "rule[0]"]),
        ("Observation.code", json!({"slicing": slicing("value", "coding")}), vec!["rule[0].slicing"]),
        (
            "Observation.category",
            json!({"type": [{"code": "CodeableConcept"}], "slicing": slicing("value", "coding.code")}),
            vec![],
        ),
        (
            "Observation.category",
            json!({"type": [{"code": "CodeableConcept"}], "slicing": slicing("pattern", "$this")}),
            vec![],
        ),
        (
            "Observation.category",
            json!({"type": [{"code": "CodeableConcept"}], "slicing": slicing("value", "value")}),
            vec!["rule[0].slicing.discriminator[0]"],
        ),
        (
            "Observation.performer",
            json!({"type": [{"code": "Reference"}], "slicing": slicing("profile", "resolve()")}),
            vec![],
        ),
        ("Observation.code", json!({"min": 0}), vec!["rule[0]"]),
        ("Observation.code", json!({"max": "2"}), vec!["rule[0]"]),
        ("Observation.code", json!({"max": "0"}), vec![]),
        ("Observation.category", json!({"max": "*"}), vec![]),
        ("Observation.code", json!({"type": [{"code": "string"}]}), vec!["rule[0].type[0]"]),
        ("Observation.code", json!({"meaningWhenMissing": "x"}), vec!["rule[0]"]),
        (
            "Observation.code",
            json!({"type": [{"code": "CodeableConcept", "targetProfile": [format!("{CORE}Patient")]}]}),
            vec!["rule[0].type[0]"],
        ),
        (
            "Observation.code",
            json!({"type": [{"code": "CodeableConcept", "profile": ["urn:gone"]}]}),
            vec!["advice[0].type[0].profile[0]"],
        ),
        (
            "Observation.code",
            json!({"type": [{"code": "CodeableConcept", "profile": [format!("{CORE}Patient")]}]}),
            vec!["rule[0].type[0].profile[0]"],
        ),
        (
            "Observation.subject",
            json!({"type": [{"code": "Reference", "targetProfile": [format!("{CORE}Quantity")]}]}),
            vec!["rule[0].type[0].targetProfile[0]"],
        ),
        (
            "Observation.modifierExtension",
            json!({"type": [{"code": "Extension", "profile": [format!("{CORE}patient-birthPlace")]}]}),
            vec!["rule[0].type[0].profile[0]"],
        ),
        (
            "Observation.value[x]",
            json!({"type": [{"code": "boolean"}], "binding": {"strength": "required"}}),
            vec!["rule[0]"],
        ),
        ("Observation.value[x]", json!({"type": [{"code": "boolean"}], "maxLength": 3}), vec!["rule[0]"]),
        ("Observation.value[x]", json!({"type": [{"code": "boolean"}], "minValueInteger": 3}), vec!["rule[0]"]),
        ("Observation.value[x]", json!({"type": [{"code": "integer"}], "minValueInteger": 3}), vec![]),
        (
            "Observation.code",
            json!({"binding": {"strength": "required", "valueSet": "urn:gone"}}),
            vec!["advice[0].binding"],
        ),
        (
            "Observation.code",
            json!({"binding": {"strength": "required", "valueSet": format!("{CORE}Patient")}}),
            vec!["rule[0].binding"],
        ),
        (
            "Observation.code",
            json!({"constraint": [{"key": "p-1", "severity": "error", "human": "x", "expression": "(("}]}),
            vec!["rule[0].constraint[0]"],
        ),
        (
            "Observation.code",
            json!({"constraint": [{"key": "p-1", "severity": "error", "human": "x", "expression": "true", "source": "urn:q"}]}),
            vec!["rule[0].constraint[0]"],
        ),
        (
            "Observation.code",
            json!({"constraint": [{"key": "obs-7", "severity": "error", "human": "x", "expression": "true"}]}),
            vec!["rule[0].constraint[0]"],
        ),
    ] {
        let profile = profile(json!({}), element(path, more.clone()));
        assert_eq!(found(&validator, &profile), expected, "{path} {more}");
    }
    let twice = json!([
        {"id": "Observation.category", "path": "Observation.category", "slicing": slicing("value", "coding.code")},
        {"id": "Observation.category:a", "path": "Observation.category", "sliceName": "a", "slicing": slicing("value", "text")}]);
    assert_eq!(found(&validator, &profile(json!({}), twice)), ["rule"]);
    let keys = |expression: &str| json!({"key": "p-1", "severity": "error", "human": "x", "expression": expression});
    let other = json!([
        {"id": "Observation.code", "path": "Observation.code", "constraint": [keys("true")]},
        {"id": "Observation.value[x]", "path": "Observation.value[x]", "constraint": [keys("false")]}]);
    assert_eq!(found(&validator, &profile(json!({}), other)), ["rule[1].constraint[0]"]);
}

#[test]
fn extensions_say_where_they_stand_and_who_they_are() {
    let base = profile(
        json!({"type": "Extension", "kind": "complex-type", "baseDefinition": format!("{CORE}Extension"), "url": "urn:base",
            "snapshot": {"element": [
                {"id": "Extension", "path": "Extension", "min": 0, "max": "*"},
                {"id": "Extension.url", "path": "Extension.url", "min": 1, "max": "1", "type": [{"code": "uri"}], "fixedUri": "urn:base"}]}}),
        json!([]),
    );
    let document = json::parse(base.to_string()).unwrap();
    let validator = Validator::new(Registry::with(vec![document]).unwrap());
    let extension = |more: Value, url: Option<&str>| {
        let mut url_element = json!({"id": "Extension.url", "path": "Extension.url"});
        if let Some(url) = url {
            url_element["fixedUri"] = json!(url);
        }
        let mut definition = profile(
            json!({"type": "Extension", "kind": "complex-type", "baseDefinition": format!("{CORE}Extension"),
                "context": [{"type": "element", "expression": "Patient.name"}]}),
            json!([url_element]),
        );
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        definition
    };
    for (more, url, expected) in [
        (json!({}), Some("urn:p"), vec![]),
        (json!({}), Some("urn:q"), vec!["rule"]),
        (json!({}), None, vec!["rule"]),
        (
            json!({"context": [{"type": "element", "expression": "Patient.nom"}]}),
            Some("urn:p"),
            vec!["rule.context[0]"],
        ),
        (json!({"context": [{"type": "element", "expression": "Element"}]}), Some("urn:p"), vec!["advice.context[0]"]),
        (
            json!({"context": [{"type": "fhirpath", "expression": "Patient.name"}]}),
            Some("urn:p"),
            vec!["advice.context[0]"],
        ),
        (json!({"context": [{"type": "fhirpath", "expression": "(("}]}), Some("urn:p"), vec!["rule.context[0]"]),
        (json!({"contextInvariant": ["(("]}), Some("urn:p"), vec!["rule.contextInvariant[0]"]),
        (json!({"baseDefinition": "urn:base"}), Some("urn:p"), vec!["rule[0].fixed.ofType(uri)"]),
        (
            json!({"extension": [{"url": super::INHERITS[0], "valueCanonical": "urn:base"}]}),
            Some("urn:p"),
            vec!["rule.extension[0]"],
        ),
    ] {
        assert_eq!(found(&validator, &extension(more.clone(), url)), expected, "{more} {url:?}");
    }
}

#[test]
fn snapshots_are_whole() {
    let validator = Validator::new(Registry::core());
    let snapshot = |element: Value| {
        let mut definition = profile(json!({}), json!([]));
        definition.as_object_mut().unwrap().remove("differential");
        definition["snapshot"] = json!({"element": [{"id": "Observation", "path": "Observation"}, element]});
        definition
    };
    for (element, expected) in [
        (json!({"id": "Observation.code", "path": "Observation.code", "type": [{"code": "CodeableConcept"}]}), vec![]),
        (json!({"id": "Observation.code", "path": "Observation.code"}), vec!["rule.snapshot.element[1]"]),
        (
            json!({"id": "Observation.value[x]", "path": "Observation.value[x]", "type": [{"code": "string"}], "fixedInteger": 1}),
            vec!["rule.snapshot.element[1].fixed.ofType(integer)"],
        ),
    ] {
        assert_eq!(found(&validator, &snapshot(element.clone())), expected, "{element}");
    }
}

#[test]
fn profiles_of_obligations_hold_nothing_else() {
    let validator = Validator::new(Registry::core());
    let marked = json!({"extension": [{"url": super::OBLIGATION_PROFILE[0], "valueBoolean": true}]});
    let obligation = "http://hl7.org/fhir/StructureDefinition/obligation";
    for (path, more, expected) in [
        ("Observation.code", json!({"mustSupport": true, "extension": [{"url": obligation}]}), vec![]),
        ("Observation.code", json!({"short": "x"}), vec!["rule[0]"]),
        ("Observation.code", json!({"extension": [{"url": "urn:other"}]}), vec!["rule[0]"]),
        ("Observation.valueQuantity", json!({}), vec!["rule[0]"]),
    ] {
        assert_eq!(found(&validator, &profile(marked.clone(), element(path, more.clone()))), expected, "{path} {more}");
    }
}
