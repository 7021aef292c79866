//! Which codes say what their system says, and nothing that a sender made up.

use crate::fhir::definitions::Registry;
use crate::fhir::validate::measures::{self, LOINC};

const SNOMED: &str = "http://snomed.info/sct";

/// Whether it stands in a definition that is loaded, or, of the large systems, has the form and the check digit.
pub(super) fn is_known(registry: &Registry, system: &str, code: &str) -> bool {
    match system {
        LOINC => is_loinc(code),
        SNOMED => is_concept(code),
        _ if measures::measure(system, code).is_some() => true,
        // A version may be asked for behind a bar, and be anything.
        _ => !system.contains(['|', '#']) && registry.code_system(system).is_some_and(|known| known.contains(code)),
    }
}

/// `8867-4`: the digit at the end checks the number by Luhn's rule. Answers and parts have letters before it, which count
/// in a way of their own.
fn is_loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else { return false };
    let prefix = ["LA", "LP"].iter().find_map(|prefix| number.strip_prefix(prefix));
    let digits = prefix.unwrap_or(number);
    if !(1..=7).contains(&digits.len()) || check.len() != 1 || !(digits.to_owned() + check).bytes().all(is_digit) {
        return false;
    }
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| match (at % 2, u32::from(byte - b'0')) {
            (0, digit) => digit * 2 / 10 + digit * 2 % 10,
            (_, digit) => digit,
        })
        .sum();
    prefix.is_some() || (10 - sum % 10) % 10 == u32::from(check.as_bytes()[0] - b'0')
}

/// An identifier of a concept: what kind of identifier it is stands before the check digit, which is Verhoeff's.
fn is_concept(code: &str) -> bool {
    let kind = code.len().checked_sub(3).and_then(|at| code.get(at..at + 2));
    (6..=18).contains(&code.len()) && code.bytes().all(is_digit) && matches!(kind, Some("00" | "10")) && verhoeff(code)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// Whether the digits multiply to nothing in the symmetries of a pentagon, each permuted by its place.
fn verhoeff(digits: &str) -> bool {
    const PERMUTED: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let digit = |(place, byte): (usize, u8)| (0..place % 8).fold(usize::from(byte - b'0'), |digit, _| PERMUTED[digit]);
    digits.bytes().rev().enumerate().map(digit).fold(0, multiplied) == 0
}

/// Turns are 0 to 4, reflections 5 to 9.
fn multiplied(one: usize, other: usize) -> usize {
    match (one < 5, other < 5) {
        (true, true) => (one + other) % 5,
        (true, false) => (one + other) % 5 + 5,
        (false, true) => (one + 5 - other) % 5 + 5,
        (false, false) => (one + 5 - other) % 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
