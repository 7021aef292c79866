//! Vital signs by code: an Observation must satisfy the profile of its code, whatever its category says.
//!
//! R4 demands the profile wherever the code is used (§10.1.5), claimed or not, as the reference validator
//! does. A series of samples is left out: the profiles ask for a single Quantity.

use crate::fhir::tree::Element;

const LOINC: &str = "http://loinc.org";
const SNOMED: &str = "http://snomed.info/sct";

/// Canonical of the vital-signs profile that an Observation must satisfy.
pub fn profile(observation: Element<'_>) -> Option<&'static str> {
    if observation.get("valueSampledData").is_some() {
        return None;
    }
    let codings = observation.get("code")?.all("coding");
    let profile = |coding: Element<'_>| match (coding.text_of("system")?, coding.text_of("code")?) {
        (LOINC, code) => named(code),
        (SNOMED, code) => concept(code),
        _ => None,
    };
    codings.clone().find_map(profile)
}

/// The same observations as SNOMED CT names them; the profiles then ask for the LOINC code beside it.
fn concept(snomed: &str) -> Option<&'static str> {
    named(match snomed {
        "86290005" => "9279-1",
        "364075005" => "8867-4",
        "431314004" => "2708-6",
        "386725007" | "276885007" => "8310-5",
        "50373000" => "8302-2",
        "363812007" => "9843-4",
        "27113001" => "29463-7",
        "60621009" => "39156-5",
        "75367002" => "85354-9",
        _ => return None,
    })
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
