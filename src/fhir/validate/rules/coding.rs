//! Codings by themselves, whatever they are bound to: does the system mean a code system, does it have the code, is the
//! display a name of the concept (R4 §4.1.5, §4.8).
//!
//! Judged is what can be judged here: systems whose codes are loaded, and those that a grammar decides. LOINC and SNOMED
//! CT are everybody's and too large to be loaded; nothing is said of them, and whoever can ask a terminology server does.

use super::super::run::Run;
use super::super::{CodeQuestion, Subject};
use crate::fhir::definitions::{CodeSystem, Concept, Content, Strength};
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, defines, ucum};
use crate::fhir::tree::Element;

/// Systems that are known to be there and whose codes no package lists.
const WITHOUT_LIST: [&str; 3] =
    ["http://loinc.org", "http://snomed.info/sct", "http://www.nlm.nih.gov/research/umls/rxnorm"];

/// The system of identifiers that are URIs by themselves.
const URIS: &str = "urn:ietf:rfc:3986";

/// Checks a Coding.
pub fn check<'d>(run: &mut Run<'_, 'd>, coding: Element<'d>) {
    let code = coding.text_of("code");
    let Some(system) = coding.text_of("system") else {
        if code.is_some() {
            let text = "A code without a system means nothing; say which system it is of.";
            run.issue(Id::CodingSystemMissing, coding, text.to_owned());
        }
        return;
    };
    check_of(run, coding, system);
}

/// Checks a code, of a Coding or of a Quantity, against the system that it is said to be of.
pub fn check_of<'d>(run: &mut Run<'_, 'd>, coding: Element<'d>, system: &'d str) {
    let code = coding.text_of("code");
    if !is_absolute(system) {
        let text = "The system of a code must be an absolute URI.";
        at(run, coding, "system", Id::SystemRelative, text.to_owned());
        return;
    }
    let Some(code) = code else { return };
    let registry = &run.validator.registry;
    let versioned;
    let canonical = match coding.text_of("version") {
        Some(version) => {
            versioned = format!("{system}|{version}");
            &versioned
        }
        None => system,
    };
    // A version that is not here is as good as any: the meaning of a code does not change with versions (R4 §4.8.3).
    let known = registry.code_system(canonical).or_else(|| registry.code_system(system)).map(AsRef::as_ref);
    match known {
        Some(known) if known.content == Content::Supplement => {
            let text = "The system is a supplement; a coding names the code system that it adds to.";
            at(run, coding, "system", Id::SystemIsSupplement, text.to_owned());
            return;
        }
        None if registry.is_value_set(system) => {
            let text = "The system is a value set; a coding names a code system.";
            at(run, coding, "system", Id::SystemIsValueSet, text.to_owned());
            return;
        }
        _ => {}
    }
    match defines(known, system, code) {
        Membership::In => {
            if let Some(concept) = known.and_then(|known| known.concept(code)) {
                concept_used(run, coding, concept);
            }
        }
        Membership::Out if known.is_some_and(|known| known.is_dated) => unlisted(run, coding),
        Membership::Out => {
            at(run, coding, "code", Id::CodeUnknown, "The code system has no such code.".to_owned());
        }
        Membership::Unknown => {
            question(run, coding, system, code);
            match known {
                Some(known) if lists(known) => unlisted(run, coding),
                None if is_of_the_standard(system) || is_misspelt(system) => {
                    let text = "No code system has that URI.";
                    at(run, coding, "system", Id::SystemUnknown, text.to_owned());
                }
                _ if known.is_some() || WITHOUT_LIST.contains(&system) || decided_elsewhere(system) => {}
                _ => {
                    let text = "The code system is not loaded here, so the code was not checked.";
                    at(run, coding, "system", Id::CodeSystemUnknown, text.to_owned());
                }
            }
        }
    }
}

/// Whether a URI begins as that of a system that everybody knows, and goes on.
fn is_misspelt(system: &str) -> bool {
    let known = WITHOUT_LIST.iter().chain([&ucum::SYSTEM]);
    known.copied().any(|known| system.strip_prefix(known).is_some_and(|rest| !rest.is_empty()))
}

/// Whether a URI is one that only R4 itself gives, all of whose code systems are here: not one of a guide, and none of
/// those that stand in for the systems of others.
fn is_of_the_standard(system: &str) -> bool {
    let address = system.strip_prefix("https://").or_else(|| system.strip_prefix("http://")).unwrap_or_default();
    let address = address.strip_prefix("www.").unwrap_or(address);
    address.starts_with("build.fhir.org/")
        || address.strip_prefix("hl7.org/fhir/").is_some_and(|name| {
            let name = name.strip_prefix("CodeSystem/").unwrap_or(name);
            !name.contains('/')
        })
}

fn lists(known: &CodeSystem) -> bool {
    !known.concepts.is_empty()
}

fn unlisted<'d>(run: &mut Run<'_, 'd>, coding: Element<'d>) {
    let text = "The code is none of those that are known here; the list is not complete.";
    at(run, coding, "code", Id::CodeUnlisted, text.to_owned());
}

/// Systems of which a part is decided by grammar: what is left over is no unknown system.
fn decided_elsewhere(system: &str) -> bool {
    system.starts_with("urn:iso:std:iso:3166")
}

/// What a concept that is there says of its use.
fn concept_used<'d>(run: &mut Run<'_, 'd>, coding: Element<'d>, concept: &Concept) {
    if concept.is_inactive() {
        let text = "The concept is out of use; see what replaces it.";
        run.issue(Id::CodeInactive, coding, text.to_owned());
    }
    let Some(display) = coding.text_of("display") else { return };
    let mut names = concept.names().peekable();
    if names.peek().is_none() || names.any(|name| same_name(name, display)) {
        return;
    }
    let names: Vec<String> = concept.names().take(MAX_NAMES).map(|name| format!("\"{name}\"")).collect();
    let text = format!("The display is none of the concept's names: {}.", names.join(", "));
    let id = if run.options.lenient_displays { Id::DisplayUnusual } else { Id::DisplayWrong };
    at(run, coding, "display", id, text);
}

/// More names than this are not listed in an issue.
const MAX_NAMES: usize = 8;

/// Whether two names are one: case counts for nothing.
pub fn same_name(one: &str, other: &str) -> bool {
    one == other || one.chars().flat_map(char::to_lowercase).eq(other.chars().flat_map(char::to_lowercase))
}

fn question(run: &mut Run<'_, '_>, coding: Element<'_>, system: &str, code: &str) {
    if !run.options.asks_systems {
        return;
    }
    run.ask(|run| CodeQuestion {
        about: Subject::CodeSystem,
        system: Some(system.to_owned()),
        code: code.to_owned(),
        expression: run.trail.expression(),
        position: coding.position(),
        // A server that does not know the system either says nothing against the code.
        strength: Strength::Example,
    });
}

/// Raises an issue about a child that is there.
fn at<'d>(run: &mut Run<'_, 'd>, coding: Element<'d>, name: &'static str, id: Id, text: String) {
    let Some(child) = coding.get(name) else { return };
    run.trail.push(name, name.len(), None);
    run.issue(id, child, text);
    run.trail.pop();
}

/// Whether a URI says by itself what it names: it has a scheme that resolves or registers (R4 §2.24.0.1 uri). Case
/// counts, as everywhere in FHIR's URIs, and schemes are written small.
pub fn is_absolute(uri: &str) -> bool {
    has_scheme(uri) && uri.bytes().take_while(|byte| *byte != b':').all(|byte| !byte.is_ascii_uppercase())
}

/// Whether a URI is absolute by its grammar (RFC 3986 §3.1).
fn has_scheme(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else { return false };
    !rest.is_empty()
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Checks that the system of an Identifier stands by itself, and that a value which is said to be a URI is one.
pub fn check_identifier<'d>(run: &mut Run<'_, 'd>, identifier: Element<'d>) {
    if identifier.text_of("system").is_some_and(|system| !system.is_empty() && !is_absolute(system)) {
        let text = "The system of an identifier must be an absolute URI.";
        at(run, identifier, "system", Id::SystemRelative, text.to_owned());
    }
    if identifier.text_of("system") == Some(URIS) && identifier.text_of("value").is_some_and(|value| !has_scheme(value))
    {
        let text = "The system says that the value is a URI; it must begin with a scheme such as urn:oid: or https:.";
        at(run, identifier, "value", Id::IdentifierValue, text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::tree::json;
    use crate::fhir::validate::{Options, Validator};

    fn validator() -> Validator {
        let systems = [
            r#"{"resourceType":"CodeSystem","url":"urn:iso:s","content":"complete","caseSensitive":true,"concept":[
                {"code":"a","display":"Alpha","designation":[{"language":"de","value":"Alfa"}]},
                {"code":"old","property":[{"code":"inactive","valueBoolean":true}]}]}"#,
            r#"{"resourceType":"CodeSystem","url":"urn:iso:part","content":"fragment","concept":[{"code":"a"}]}"#,
            r#"{"resourceType":"CodeSystem","url":"urn:iso:more","content":"supplement","supplements":"urn:iso:s",
                "concept":[{"code":"a","designation":[{"value":"First letter"}]}]}"#,
        ];
        let documents = systems.map(|text| json::parse(text).unwrap());
        Validator::new(Registry::with(documents.into()).unwrap())
    }

    fn check(validator: &Validator, coding: &str, expected: &[(Id, &str)]) {
        let text = format!(r#"{{"resourceType":"Basic","code":{{"coding":[{coding}]}}}}"#);
        let document = Arc::new(json::parse(text).unwrap());
        let report = validator.check(Element::root(&document), &Options::default());
        let found: Vec<(Id, &str)> = report
            .issues
            .iter()
            .filter_map(|issue| Some((issue.id, issue.expression.strip_prefix("Basic.code.coding[0]")?)))
            .collect();
        assert_eq!(found, expected, "{coding}");
    }

    #[test]
    fn codings_are_judged_by_their_system() {
        let validator = validator();
        for (coding, expected) in [
            (r#"{"system":"urn:iso:s","code":"a"}"#, [].as_slice()),
            (r#"{"system":"urn:iso:s","code":"b"}"#, &[(Id::CodeUnknown, ".code")]),
            (r#"{"system":"urn:iso:s","code":"A"}"#, &[(Id::CodeUnknown, ".code")]),
            (r#"{"system":"urn:iso:s","code":"a","display":"alpha"}"#, &[]),
            (r#"{"system":"urn:iso:s","code":"a","display":"Alfa"}"#, &[]),
            (r#"{"system":"urn:iso:s","code":"a","display":"First letter"}"#, &[]),
            (r#"{"system":"urn:iso:s","code":"a","display":"Beta"}"#, &[(Id::DisplayWrong, ".display")]),
            (r#"{"system":"urn:iso:s","code":"old"}"#, &[(Id::CodeInactive, "")]),
            (r#"{"system":"urn:iso:part","code":"b"}"#, &[(Id::CodeUnlisted, ".code")]),
            (r#"{"system":"urn:iso:more","code":"a"}"#, &[(Id::SystemIsSupplement, ".system")]),
            (r#"{"system":"http://hl7.org/fhir/nothing","code":"a"}"#, &[(Id::SystemUnknown, ".system")]),
            (r#"{"system":"http://hl7.org/fhir/CodeSystem/nothing","code":"a"}"#, &[(Id::SystemUnknown, ".system")]),
            (r#"{"system":"http://loinc.org/","code":"a"}"#, &[(Id::SystemUnknown, ".system")]),
            (r#"{"system":"HTTP://loinc.org","code":"a"}"#, &[(Id::SystemRelative, ".system")]),
            (r#"{"system":"http://hl7.org/fhir/sid/icd-10","code":"a"}"#, &[(Id::CodeSystemUnknown, ".system")]),
            (r#"{"system":"http://hl7.org/fhir/uv/x/CodeSystem/y","code":"a"}"#, &[(Id::CodeSystemUnknown, ".system")]),
            (r#"{"system":"http://nobody.org/x","code":"a"}"#, &[(Id::CodeSystemUnknown, ".system")]),
            (
                r#"{"system":"http://hl7.org/fhir/ValueSet/observation-status","code":"final"}"#,
                &[(Id::SystemIsValueSet, ".system")],
            ),
            (r#"{"system":"relative/x","code":"a"}"#, &[(Id::SystemRelative, ".system")]),
            (r#"{"code":"a"}"#, &[(Id::CodingSystemMissing, "")]),
            (r#"{"display":"a"}"#, &[]),
            (r#"{"system":"http://loinc.org","code":"8867-4","display":"Heart rate"}"#, &[]),
            (r#"{"system":"http://unitsofmeasure.org","code":"bpm"}"#, &[(Id::CodeUnknown, ".code")]),
            (
                r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"x"}"#,
                &[(Id::CodeUnlisted, ".code")],
            ),
        ] {
            check(&validator, coding, expected);
        }
    }

    #[test]
    fn displays_may_be_taken_kindly() {
        let document = json::parse(
            r#"{"resourceType":"Basic","code":{"coding":[{"system":"urn:iso:s","code":"a","display":"Beta"}]}}"#,
        );
        let options = Options { lenient_displays: true, ..Options::default() };
        let report = validator().check(Element::root(&document.unwrap()), &options);
        assert!(report.issues.iter().any(|issue| issue.id == Id::DisplayUnusual), "{:?}", report.issues);
    }

    #[test]
    fn identifiers_have_absolute_systems_and_values_that_fit_them() {
        let validator = validator();
        for (system, value, expected) in [
            ("http://a", "1", None),
            ("urn:oid:1.2.3", "1", None),
            ("a", "1", Some(Id::SystemRelative)),
            ("ssn-number", "1", Some(Id::SystemRelative)),
            ("urn:ietf:rfc:3986", "urn:oid:1.2.3", None),
            ("urn:ietf:rfc:3986", "https://a.b/c", None),
            ("urn:ietf:rfc:3986", "URN:OID:1.2.3", None),
            ("urn:ietf:rfc:3986", "1.2.3", Some(Id::IdentifierValue)),
        ] {
            let text = format!(
                r#"{{"resourceType":"Basic","code":{{"text":"x"}},"identifier":[{{"system":"{system}","value":"{value}"}}]}}"#
            );
            let document = json::parse(text).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            let found: Vec<Id> = issues.iter().filter(|issue| issue.is_error()).map(|issue| issue.id).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{system} {value}");
        }
    }

    #[test]
    fn codes_of_quantities_are_of_their_system() {
        let validator = validator();
        for (system, code, expected) in [
            ("urn:iso:s", "a", None),
            ("urn:iso:s", "b", Some(Id::CodeUnknown)),
            ("s", "a", Some(Id::SystemRelative)),
            ("http://unitsofmeasure.org", "kg", None),
            ("http://unitsofmeasure.org", "kilo", Some(Id::UnitUnknown)),
        ] {
            let text = format!(
                r#"{{"resourceType":"Basic","code":{{"text":"x"}},"extension":[{{"url":"http://example.org/q",
                "valueQuantity":{{"value":1,"system":"{system}","code":"{code}"}}}}]}}"#
            );
            let document = json::parse(text).unwrap();
            let issues = validator.check(Element::root(&document), &Options::default()).issues;
            let found: Vec<Id> = issues.iter().filter(|issue| issue.is_error()).map(|issue| issue.id).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{system} {code}");
        }
    }
}
