//! Codes of large systems that nobody lists here, but whose last digit proves the others.

const LOINC: &str = "http://loinc.org";
const SNOMED: &str = "http://snomed.info/sct";

/// Whether a code has the form and the check digit of its system; `None` where the system has neither.
pub fn has_check_digit(system: &str, code: &str) -> Option<bool> {
    match system {
        LOINC => Some(is_loinc(code)),
        SNOMED => Some(is_concept(code)),
        _ => None,
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
