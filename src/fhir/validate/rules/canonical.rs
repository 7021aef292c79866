//! Canonicals are absolute, or a fragment that names a contained resource (R4 §2.24.0.1, §2.3.2).
//!
//! For the url of a definition that is a rule. A reference by canonical that is relative is advised against only: the
//! examples of the standard are full of them.

use super::super::run::Run;
use crate::fhir::outcome::Id;
use crate::fhir::tree::Element;

/// Resources that have a canonical of their own in `url`.
const CANONICAL_RESOURCES: [&str; 30] = [
    "ActivityDefinition",
    "CapabilityStatement",
    "ChargeItemDefinition",
    "CodeSystem",
    "CompartmentDefinition",
    "ConceptMap",
    "EffectEvidenceSynthesis",
    "EventDefinition",
    "Evidence",
    "EvidenceVariable",
    "ExampleScenario",
    "GraphDefinition",
    "ImplementationGuide",
    "Library",
    "Measure",
    "MessageDefinition",
    "NamingSystem",
    "OperationDefinition",
    "PlanDefinition",
    "Questionnaire",
    "ResearchDefinition",
    "ResearchElementDefinition",
    "RiskEvidenceSynthesis",
    "SearchParameter",
    "StructureDefinition",
    "StructureMap",
    "TerminologyCapabilities",
    "TestReport",
    "TestScript",
    "ValueSet",
];

/// Checks an element of type canonical.
pub fn check<'d>(run: &mut Run<'_, 'd>, element: Element<'d>) {
    if element.string().is_some_and(|text| !text.contains(':') && !text.starts_with('#')) {
        let text = "A canonical should be an absolute URL, or #id of a contained resource.";
        run.issue(Id::CanonicalReference, element, text.to_owned());
    }
}

/// Checks the url that a resource is known by. The trail stands on the resource.
pub fn check_own<'d>(run: &mut Run<'_, 'd>, resource: Element<'d>, kind: &str) {
    let Some(url) = resource.get("url").filter(|_| CANONICAL_RESOURCES.binary_search(&kind).is_ok()) else { return };
    if url.string().is_some_and(|text| !text.contains(':')) {
        run.trail.push("url", 3, None);
        run.issue(Id::CanonicalRelative, url, "The url of a definition must be absolute.".to_owned());
        run.trail.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Options, Validator};
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    #[test]
    fn canonicals_are_absolute() {
        assert!(CANONICAL_RESOURCES.is_sorted());
        let validator = Validator::new(Registry::core());
        for (text, expected) in [
            (r##"{"resourceType":"Questionnaire","url":"urn:a","status":"active","derivedFrom":["#a"]}"##, None),
            (r#"{"resourceType":"Questionnaire","url":"a","status":"active"}"#, Some("Questionnaire.url")),
            (
                r#"{"resourceType":"Questionnaire","status":"active","derivedFrom":["Questionnaire/a"]}"#,
                Some("Questionnaire.derivedFrom[0]"),
            ),
        ] {
            let document = json::parse(text).unwrap();
            let report = validator.check(Element::root(&document), &Options::default());
            let own = |id| matches!(id, Id::CanonicalRelative | Id::CanonicalReference);
            let found = report.issues.iter().find(|issue| own(issue.id));
            assert_eq!(found.map(|issue| issue.expression.as_str()), expected, "{text}");
        }
    }
}
