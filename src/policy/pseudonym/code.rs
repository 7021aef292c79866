//! Which codes say what their system says, and nothing that a sender made up.

use crate::fhir::definitions::Registry;
use crate::fhir::terminology;
use crate::fhir::validate::measures;

/// Whether it stands in a definition that is loaded, or, of the large systems, has the form and the check digit.
pub(super) fn is_known(registry: &Registry, system: &str, code: &str) -> bool {
    match terminology::has_check_digit(system, code) {
        Some(holds) => holds,
        None if measures::measure(system, code).is_some() => true,
        // A version may be asked for behind a bar, and be anything.
        None => !system.contains(['|', '#']) && registry.code_system(system).is_some_and(|known| known.contains(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::validate::measures::LOINC;

    const SNOMED: &str = "http://snomed.info/sct";

    #[test]
    fn codes_are_told_from_what_looks_like_them() {
        let registry = Registry::core();
        for (system, code, expected) in [
            (LOINC, "8867-4", true),
            (LOINC, "85354-9", true),
            (LOINC, "8480-6", true),
            (LOINC, "8867-5", false),
            (LOINC, "19500101-1", false),
            (LOINC, "LA137-2", true),
            (LOINC, "Jane-4", false),
            (LOINC, "LAJane-4", false),
            (LOINC, "", false),
            (SNOMED, "364075005", true),
            (SNOMED, "40983000", true),
            (SNOMED, "276361009", true),
            (SNOMED, "364075006", false),
            (SNOMED, "491701234567", false),
            (SNOMED, "é", false),
            ("http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs", true),
            ("http://terminology.hl7.org/CodeSystem/observation-category", "jane", false),
            ("http://terminology.hl7.org/CodeSystem/observation-category|jane", "vital-signs", false),
            ("http://terminology.hl7.org/CodeSystem/jane", "vital-signs", false),
            ("urn:iso:std:iso:11073:10101", "149530", true),
            ("urn:iso:std:iso:11073:10101", "jane", false),
        ] {
            assert_eq!(is_known(&registry, system, code), expected, "{system} {code}");
        }
    }

    #[test]
    fn every_code_of_a_measure_is_known() {
        let registry = Registry::core();
        for code in measures::all().iter().flat_map(|measure| &measure.codes) {
            assert!(is_known(&registry, code.system, code.code), "{} {}", code.system, code.code);
        }
    }
}
