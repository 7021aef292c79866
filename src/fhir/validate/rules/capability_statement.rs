//! CapabilityStatements: search parameters are of the type that their definitions give them.
//!
//! Those of a resource, that is. What is said for all resources at once is other than a definition for one of them.

use super::super::run::Run;
use crate::fhir::definitions::Kind;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Checks a CapabilityStatement. The trail stands on it.
pub fn check<'d>(run: &mut Run<'_, 'd>, statement: Element<'d>) {
    for (index, rest) in statement.all("rest").enumerate() {
        run.trail.push("rest", "rest".len(), Some(index as u32));
        for (index, resource) in rest.all("resource").enumerate() {
            run.trail.push("resource", "resource".len(), Some(index as u32));
            parameters(run, resource);
            run.trail.pop();
        }
        run.trail.pop();
    }
}

fn parameters<'d>(run: &mut Run<'_, 'd>, holder: Element<'d>) {
    for (index, parameter) in holder.all("searchParam").enumerate() {
        let (Some(canonical), Some(kind)) = (parameter.text_of("definition"), parameter.text_of("type")) else {
            continue;
        };
        let registry = &run.validator.registry;
        let found = registry.find(Kind::SearchParameter, canonical).and_then(|id| registry.document(id));
        let Some(document) = found else { continue };
        if Element::root(&document).text_of("type").is_some_and(|defined| defined != kind) {
            run.trail.push("searchParam", "searchParam".len(), Some(index as u32));
            let text = "The type of the search parameter must be the one that its definition gives it.";
            run.issue(Id::SearchParameterType, parameter, text.to_owned());
            run.trail.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::{Options, Validator};
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    #[test]
    fn types_are_those_of_the_definitions() {
        let validator = Validator::new(Registry::core());
        let definition = "http://hl7.org/fhir/SearchParameter/Organization-name";
        for (definition, kind, expected) in [
            (definition, "string", None),
            (definition, "token", Some("CapabilityStatement.rest[0].resource[0].searchParam[0]")),
            ("urn:gone", "token", None),
        ] {
            let statement = json!({"resourceType": "CapabilityStatement", "status": "active", "date": "2026-01-01",
                "kind": "requirements", "fhirVersion": "4.0.1", "format": ["json"], "rest": [{"mode": "server", "resource": [
                    {"type": "Organization", "searchParam": [{"name": "name", "definition": definition, "type": kind}]}]}]});
            let document = json::parse(statement.to_string()).unwrap();
            let report = validator.check(Element::root(&document), &Options::default());
            let found = report.issues.iter().find(|issue| issue.id == Id::SearchParameterType);
            assert_eq!(found.map(|issue| issue.expression.as_str()), expected, "{definition} {kind}");
        }
    }
}
