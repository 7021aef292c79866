//! An expression on the first line, a resource after it: no panic, and the budget ends every evaluation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mhealth_gateway::fhir::fhirpath::{self, Context, Node, ShapesOnly};
use mhealth_gateway::fhir::tree::{Element, json};

const OBSERVATION: &str = r#"{"resourceType":"Observation","id":"a","status":"final","code":{"coding":[{"system":
"http://loinc.org","code":"8867-4"}],"text":"b"},"effectiveDateTime":"2026-03-01T08:00:00+01:00","valueQuantity":
{"value":72.50,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"},"component":[{"code":{"text":"c"}},
{"code":{"text":"d"},"valueString":"e"}]}"#;

fuzz_target!(|text: &str| {
    let (expression, resource) = text.split_once('\n').unwrap_or((text, OBSERVATION));
    let Ok(plan) = fhirpath::compile(expression) else { return };
    let _ = plan.to_string();
    let Ok(document) = json::parse(resource) else { return };
    let focus = Node::resource(Element::root(&document));
    let _ = plan.evaluate(&Context::new(&ShapesOnly, focus), focus);
});
