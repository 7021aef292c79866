//! Vital signs by code: an Observation that says it is one must satisfy the profile of its code.
//!
//! R4 demands the profile wherever the code is used (§10.1.5), claimed or not, as the reference validator
//! does. A series of samples is left out: the profiles ask for a single Quantity.

use crate::fhir::tree::Element;

const LOINC: &str = "http://loinc.org";
const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// Canonical of the vital-signs profile that an Observation must satisfy.
pub fn profile(observation: Element<'_>) -> Option<&'static str> {
    let mut categories = observation.all("category").flat_map(|category| category.all("coding"));
    let is_vital = categories
        .any(|coding| coding.text_of("code") == Some("vital-signs") && coding.text_of("system") == Some(CATEGORY));
    if !is_vital || observation.get("valueSampledData").is_some() {
        return None;
    }
    let codings = observation.get("code")?.all("coding");
    codings.filter(|coding| coding.text_of("system") == Some(LOINC)).find_map(|coding| named(coding.text_of("code")?))
}

/// The table of R4 §10.1.5.
fn named(loinc: &str) -> Option<&'static str> {
    Some(match loinc {
        "85353-1" => "http://hl7.org/fhir/StructureDefinition/vitalspanel",
        "9279-1" => "http://hl7.org/fhir/StructureDefinition/resprate",
        "8867-4" => "http://hl7.org/fhir/StructureDefinition/heartrate",
        "2708-6" | "59408-5" => "http://hl7.org/fhir/StructureDefinition/oxygensat",
        "8310-5" => "http://hl7.org/fhir/StructureDefinition/bodytemp",
        "8302-2" => "http://hl7.org/fhir/StructureDefinition/bodyheight",
        "9843-4" => "http://hl7.org/fhir/StructureDefinition/headcircum",
        "29463-7" => "http://hl7.org/fhir/StructureDefinition/bodyweight",
        "39156-5" => "http://hl7.org/fhir/StructureDefinition/bmi",
        "85354-9" => "http://hl7.org/fhir/StructureDefinition/bp",
        _ => return None,
    })
}
