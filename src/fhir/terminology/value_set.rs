//! Membership of a code in an expanded value set.

use super::grammar;
use crate::fhir::definitions::{CodeSystem, Content, Open, ValueSet};

/// Whether a code belongs to a value set, or to a code system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membership {
    In,
    Out,
    Unknown,
}

/// Answers for a code with its system, or without one for elements of type `code`, whose system the value
/// set implies (R4 §4.1.2).
pub fn membership(set: &ValueSet, system: Option<&str>, code: &str) -> Membership {
    let listed =
        set.groups.iter().any(|group| system.is_none_or(|system| group.system == system) && group.codes.contains(code));
    if listed {
        return Membership::In;
    }
    let mut answer = Membership::Out;
    for open in &set.open {
        if system.is_some_and(|system| !open.covers(system)) {
            continue;
        }
        match belongs(open, system, code) {
            Membership::In => return Membership::In,
            Membership::Unknown => answer = Membership::Unknown,
            Membership::Out => {}
        }
    }
    answer
}

/// Whether a code belongs to what a value set leaves open.
fn belongs(open: &Open, system: Option<&str>, code: &str) -> Membership {
    let Some(system) = open.system.as_deref().or(system) else { return Membership::Unknown };
    let mut answer = match grammar::decides(system, code) {
        Some(false) => return Membership::Out,
        Some(true) if open.whole => Membership::In,
        _ => Membership::Unknown,
    };
    for filter in &open.filters {
        match grammar::passes(system, filter, code) {
            Some(false) => return Membership::Out,
            Some(true) => {}
            None => answer = Membership::Unknown,
        }
    }
    answer
}

/// Whether a code system has a code. `known` is its definition, where one is loaded.
pub fn defines(known: Option<&CodeSystem>, system: &str, code: &str) -> Membership {
    if let Some(known) = known {
        if known.contains(code) {
            return Membership::In;
        }
        if known.content == Content::Complete && !known.concepts.is_empty() {
            return Membership::Out;
        }
    }
    match grammar::decides(system, code) {
        Some(true) => Membership::In,
        Some(false) => Membership::Out,
        None => Membership::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;

    #[test]
    fn answers_three_ways() {
        let code_systems = [
            r#"{"resourceType":"CodeSystem","url":"urn:a","content":"complete","caseSensitive":true,
                "concept":[{"code":"x"},{"code":"y","concept":[{"code":"z"}]}]}"#,
            r#"{"resourceType":"CodeSystem","url":"urn:f","content":"fragment","concept":[{"code":"x"}]}"#,
        ];
        let value_sets = [
            r#"{"resourceType":"ValueSet","url":"urn:v","compose":{"include":[
                {"system":"urn:a","filter":[{"property":"concept","op":"is-a","value":"y"}]},
                {"system":"http://snomed.info/sct"},{"system":"urn:ietf:bcp:13"},{"system":"urn:f"}],
                "exclude":[{"system":"urn:a","concept":[{"code":"z"}]}]}}"#,
            r#"{"resourceType":"ValueSet","url":"urn:both","compose":{"include":[
                {"system":"urn:a","valueSet":["urn:v"]},{"system":"http://snomed.info/sct","valueSet":["urn:list"]}]}}"#,
            r#"{"resourceType":"ValueSet","url":"urn:list","compose":{"include":[
                {"system":"http://snomed.info/sct","concept":[{"code":"1"}]}]}}"#,
            r#"{"resourceType":"ValueSet","url":"urn:less","compose":{"include":[{"system":"urn:a"}],
                "exclude":[{"valueSet":["urn:v"]}]}}"#,
            r#"{"resourceType":"ValueSet","url":"urn:circle","compose":{"include":[{"valueSet":["urn:circle"]},
                {"system":"urn:a","concept":[{"code":"x"}]}]}}"#,
            r#"{"resourceType":"ValueSet","url":"urn:expansion","expansion":{"contains":[
                {"system":"urn:a","code":"x","contains":[{"system":"urn:b","code":"q"}]}]}}"#,
        ];
        let documents = code_systems.iter().chain(&value_sets).map(|text| json::parse(*text).unwrap()).collect();
        let registry = Registry::with(documents).unwrap();
        for (set, system, code, expected) in [
            ("urn:v", Some("urn:a"), "y", Membership::In),
            ("urn:v", Some("urn:a"), "z", Membership::Out),
            ("urn:v", Some("urn:a"), "x", Membership::Out),
            ("urn:v", Some("urn:b"), "y", Membership::Out),
            ("urn:v", None, "y", Membership::In),
            ("urn:v", Some("http://snomed.info/sct"), "1", Membership::Unknown),
            ("urn:v", Some("urn:ietf:bcp:13"), "text/plain; charset=utf-8", Membership::In),
            ("urn:v", Some("urn:ietf:bcp:13"), "text", Membership::Out),
            ("urn:v", Some("urn:f"), "x", Membership::In),
            ("urn:v", Some("urn:f"), "y", Membership::Unknown),
            ("urn:both", Some("urn:a"), "y", Membership::In),
            ("urn:both", Some("urn:a"), "x", Membership::Out),
            ("urn:both", Some("http://snomed.info/sct"), "1", Membership::In),
            ("urn:both", Some("http://snomed.info/sct"), "2", Membership::Out),
            ("urn:less", Some("urn:a"), "x", Membership::In),
            ("urn:less", Some("urn:a"), "y", Membership::Out),
            ("urn:circle", Some("urn:a"), "x", Membership::In),
            ("urn:circle", Some("urn:a"), "y", Membership::Unknown),
            ("urn:expansion", Some("urn:b"), "q", Membership::In),
            ("urn:expansion", Some("urn:b"), "x", Membership::Out),
        ] {
            let set = registry.value_set(set).unwrap();
            assert_eq!(membership(set, system, code), expected, "{} {system:?} {code}", set.url);
        }
    }
}
