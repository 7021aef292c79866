//! Names of a code system: whoever compares codes compares them by one.
//!
//! A system has an OID beside its canonical (R4, terminologies-systems), and some had another canonical in STU3. Searches go by
//! what is written, as R4 has it; what decides who may have something goes by what is meant.

/// Other names of code systems.
const ALIASES: [(&str, &str); 7] = [
    ("urn:oid:2.16.840.1.113883.6.1", "http://loinc.org"),
    ("urn:oid:2.16.840.1.113883.6.96", "http://snomed.info/sct"),
    ("urn:oid:2.16.840.1.113883.6.24", "urn:iso:std:iso:11073:10101"),
    ("urn:oid:2.16.840.1.113883.5.4", "http://terminology.hl7.org/CodeSystem/v3-ActCode"),
    ("http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"),
    ("urn:oid:2.16.840.1.113883.5.25", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"),
    ("http://hl7.org/fhir/v3/Confidentiality", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"),
];

/// A system by one name, without a version.
pub fn named(system: &str) -> &str {
    let system = system.split_once('|').map_or(system, |(system, _)| system);
    ALIASES.iter().find(|(alias, _)| *alias == system).map_or(system, |(_, name)| name)
}
