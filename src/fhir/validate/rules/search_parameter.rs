//! SearchParameters: an expression that can be read, and what a derived one keeps (R4 §SearchParameter).

use super::super::run::Run;
use crate::fhir::definitions::Kind;
use crate::fhir::fhirpath;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Checks a SearchParameter. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, parameter: Element<'d>) {
    if let Some(expression) = parameter.get("expression")
        && expression.text().is_some_and(|text| fhirpath::compile(text).is_err())
    {
        run.trail.push("expression", "expression".len(), None);
        run.issue(Id::SearchParameterRule, expression, "The expression must be FHIRPath.".to_owned());
        run.trail.pop();
    }
    let Some(canonical) = parameter.text_of("derivedFrom") else { return };
    let registry = &run.validator.registry;
    let base = registry.find(Kind::SearchParameter, canonical).and_then(|id| registry.document(id));
    let Some(document) = base else {
        let text = "The search parameter that this one is derived from is not loaded here; it was not compared.";
        return run.issue(Id::SearchParameterAdvice, parameter, text.to_owned());
    };
    let base = Element::root(&document);
    let bases: Vec<&str> = base.all("base").filter_map(|each| each.text()).collect();
    let is_covered = |name: &str| bases.contains(&name) || bases.contains(&"Resource");
    if parameter.all("base").filter_map(|each| each.text()).any(|name| !is_covered(name)) {
        let text = "A derived search parameter searches resources that the one it is derived from searches.";
        run.issue(Id::SearchParameterRule, parameter, text.to_owned());
    }
    if parameter.get("type").is_some() && parameter.text_of("type") != base.text_of("type") {
        let text = "A derived search parameter has the type of the one that it is derived from.";
        run.issue(Id::SearchParameterRule, parameter, text.to_owned());
    }
    if let (Some(own), Some(theirs)) = (parameter.text_of("expression"), base.text_of("expression"))
        && alternatives(own) != alternatives(theirs)
    {
        let text = "The expression differs from that of the search parameter that this one is derived from.";
        run.issue(Id::SearchParameterAdvice, parameter, text.to_owned());
    }
}

/// The parts of a union, in an order of their own.
fn alternatives(expression: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = expression.split('|').map(str::trim).collect();
    parts.sort_unstable();
    parts
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
        let own = report
            .issues
            .into_iter()
            .filter(|issue| matches!(issue.id, Id::SearchParameterRule | Id::SearchParameterAdvice));
        own.map(|issue| format!("{} {}", issue.id.code().trim_start_matches("search-parameter-"), issue.expression))
            .collect()
    }

    fn validator(resources: &[Value]) -> Validator {
        let documents = resources.iter().map(|each| json::parse(each.to_string()).unwrap()).collect();
        Validator::new(Registry::with(documents).unwrap())
    }

    #[test]
    fn derived_parameters_keep_what_they_come_from() {
        let validator = validator(&[]);
        let derived = |from: &str, base: &str, kind: &str, expression: &str| {
            json!({"resourceType": "SearchParameter", "url": "urn:p", "name": "P", "status": "active", "description": "x",
                "code": "p", "derivedFrom": from, "base": [base], "type": kind, "expression": expression})
        };
        let from = "http://hl7.org/fhir/SearchParameter/Organization-name";
        for (resource, expected) in [
            (derived(from, "Organization", "string", "Organization.alias | Organization.name"), vec![]),
            (derived(from, "Organization", "string", "Organization.name"), vec!["advice SearchParameter"]),
            (
                derived(from, "Patient", "token", "Organization.name | Organization.alias"),
                vec!["rule SearchParameter", "rule SearchParameter"],
            ),
            (derived("urn:gone", "Organization", "string", "Organization.name"), vec!["advice SearchParameter"]),
            (
                derived("urn:gone", "Organization", "string", "Organization.(("),
                vec!["rule SearchParameter.expression", "advice SearchParameter"],
            ),
        ] {
            assert_eq!(found(&validator, &resource), expected, "{resource}");
        }
    }
}
