//! What a destination's own material asks for and a draft does not do by itself: whoever writes the pack goes on there.

use serde_json::Value as Json;

use super::material::of_another;

/// Elements that a draft tells, or tells where it is said to.
const TOLD: [&str; 14] = [
    "meta",
    "text",
    "identifier",
    "status",
    "category",
    "code",
    "subject",
    "effective[x]",
    "issued",
    "performer",
    "value[x]",
    "dataAbsentReason",
    "device",
    "component",
];

/// One sentence each, in the order of the material.
pub fn unmet(material: &[Json]) -> Vec<String> {
    let mut found = Vec::new();
    for resource in material {
        match resource["resourceType"].as_str() {
            Some("StructureDefinition") if resource["type"] == "Observation" => of_profile(resource, &mut found),
            Some("CapabilityStatement") => of_capability(resource, &mut found),
            Some("Observation") => of_example(resource, &mut found),
            _ => {}
        }
    }
    found.dedup();
    found
}

/// Codes of an example that the draft leaves out.
fn of_example(observation: &Json, found: &mut Vec<String>) {
    let Some(unit) = observation["valueQuantity"]["code"].as_str() else { return };
    for one in observation["code"]["coding"].as_array().into_iter().flatten() {
        let (Some(system), Some(code)) = (one["system"].as_str(), one["code"].as_str()) else { continue };
        if let Some(measure) = of_another(system, code, Some(unit)) {
            let units = measure.units.iter().map(|unit| unit.code).collect::<Vec<_>>().join(" or ");
            found.push(format!(
                "An example in {unit} has {code} of {system}, which is {}, in {units}: the draft leaves the code out.",
                measure.key
            ));
        }
    }
}

fn of_profile(definition: &Json, found: &mut Vec<String>) {
    let url = definition["url"].as_str().unwrap_or_default();
    let elements = ["snapshot", "differential"].iter().find_map(|view| definition[*view]["element"].as_array());
    for element in elements.into_iter().flatten() {
        let Some(name) = element["path"].as_str().and_then(|path| path.strip_prefix("Observation.")) else { continue };
        // A slice or what stands within an element is of values, which the destination's examples show.
        if name.contains('.') || element["id"].as_str().is_some_and(|id| id.contains(':')) {
            continue;
        }
        let is_told = TOLD.contains(&name) || name == "note";
        if element["min"].as_u64().is_some_and(|min| min > 0) && !TOLD.contains(&name) {
            found.push(format!("{url} asks for {name}: no template has it as a member that must be there."));
        }
        if element["max"] == "0" && is_told {
            found.push(format!("{url} has no {name}: a template tells it where a measurement has one."));
        }
        let types: Vec<&str> =
            element["type"].as_array().into_iter().flatten().filter_map(|one| one["code"].as_str()).collect();
        if name == "effective[x]" && !types.is_empty() && !types.contains(&"dateTime") {
            let types = types.join(" or ");
            found.push(format!(
                "{url} wants {types} for the time: the column time of measures.csv says how it is told."
            ));
        }
    }
}

fn of_capability(statement: &Json, found: &mut Vec<String>) {
    let formats: Vec<&str> = statement["format"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let reads = |word: &str| formats.iter().any(|format| format.contains(word));
    if !formats.is_empty() && !reads("json") {
        let text = if reads("xml") { "request.format is xml then" } else { "no pack writes that" };
        found.push(format!("The CapabilityStatement reads {} and no JSON: {text}.", formats.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_material_asks_for_beside_is_named() {
        let element = |name: &str, more: Json| {
            let mut element = json!({"id": format!("Observation.{name}"), "path": format!("Observation.{name}")});
            element.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            element
        };
        let profile = json!({
            "resourceType": "StructureDefinition", "type": "Observation", "url": "https://x.example/weight",
            "differential": {"element": [
                element("bodySite", json!({"min": 1})), element("device", json!({"min": 1})),
                element("note", json!({"max": "0"})), element("focus", json!({"max": "0"})),
                element("effective[x]", json!({"type": [{"code": "Period"}]})),
            ]},
        });
        let capability = json!({"resourceType": "CapabilityStatement", "format": ["application/fhir+xml"]});
        assert_eq!(
            unmet(&[profile, capability]),
            [
                "https://x.example/weight asks for bodySite: no template has it as a member that must be there.",
                "https://x.example/weight has no note: a template tells it where a measurement has one.",
                "https://x.example/weight wants Period for the time: the column time of measures.csv says how it is told.",
                "The CapabilityStatement reads application/fhir+xml and no JSON: request.format is xml then.",
            ]
        );
        assert!(unmet(&[json!({"resourceType": "CapabilityStatement", "format": ["json", "xml"]})]).is_empty());
    }
}
