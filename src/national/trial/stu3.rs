//! The elements of STU3 (3.0.2) of what packs write: their names alone. What stands within an element that R4 has as well is
//! known by R4, whose types are the same there but for what is named here.

use crate::fhir::validate::Validator;

/// Elements of every resource.
const OF_ALL: [&str; 8] =
    ["id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"];

/// Elements of a type, one after the other.
const ELEMENTS: [(&str, &str); 4] = [
    (
        "Observation",
        "identifier basedOn status category code subject context effectiveDateTime effectivePeriod issued performer \
         valueQuantity valueCodeableConcept valueString valueBoolean valueRange valueRatio valueSampledData \
         valueAttachment valueTime valueDateTime valuePeriod dataAbsentReason interpretation comment bodySite method \
         specimen device referenceRange related component",
    ),
    (
        "Device",
        "identifier udi status type lotNumber manufacturer manufactureDate expirationDate model version patient owner \
         contact location url note safety",
    ),
    (
        "Patient",
        "identifier active name telecom gender birthDate deceasedBoolean deceasedDateTime address maritalStatus \
         multipleBirthBoolean multipleBirthInteger photo contact animal communication generalPractitioner \
         managingOrganization link",
    ),
    ("Bundle", "identifier type total link entry signature"),
];

/// Types that R4 has no longer.
const GONE: [&str; 8] = [
    "BodySite",
    "DataElement",
    "DeviceComponent",
    "EligibilityRequest",
    "EligibilityResponse",
    "ImagingManifest",
    "ProcedureRequest",
    "ReferralRequest",
];

/// Whether there is such a type, as far as that is known.
pub(super) fn is_resource(validator: &Validator, kind: &str) -> bool {
    GONE.contains(&kind) || validator.has_element(kind, [])
}

/// Whether a type has such an element, as far as that is known.
pub(super) fn has_element(validator: &Validator, kind: &str, path: &[&str]) -> bool {
    let Some((_, elements)) = ELEMENTS.iter().find(|(known, _)| *known == kind) else { return true };
    let Some(first) = path.first() else { return true };
    if !OF_ALL.contains(first) && !elements.split_whitespace().any(|own| own == *first) {
        return false;
    }
    let is_known = validator.has_element(kind, [*first]);
    path.len() == 1 || !is_known || validator.has_element(kind, path.iter().copied())
}
