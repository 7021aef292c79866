//! Bindings: codes against the value set that the element is bound to (R4 §4.1.5).
//!
//! A required binding that is missed is an error, an extensible one a warning; beyond the maximum set of either a code
//! is an error. What the set cannot decide becomes an open question for whoever can ask a terminology server; for a
//! required binding the report says so as well.

use smallvec::SmallVec;

use super::super::profile::Bound;
use super::super::run::Run;
use super::super::{CodeQuestion, Subject};
use super::coding::same_name;
use crate::fhir::definitions::{Strength, ValueSet};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::terminology::{Membership, membership};
use crate::fhir::tree::Element;

/// Checks a `code`, `uri`, `string`, Coding, CodeableConcept or Quantity.
pub fn check<'d>(run: &mut Run<'_, 'd>, bound: &Bound, element: Element<'d>) {
    for further in &bound.further {
        check(run, further, element);
    }
    // What nobody must take is no rule, unless it says how far one may go.
    if bound.strength < Strength::Extensible {
        if let Some(most) = &bound.most {
            check(run, most, element);
        }
        return;
    }
    if element.kind().is_none() {
        // An extension says why there is no code, and a required binding takes none of it.
        if bound.strength == Strength::Required && element.shadow_node().is_some() {
            missed(run, bound, element);
        }
        return;
    }
    if !element.is_object() {
        if let Some(code) = element.string() {
            plain(run, bound, element, code);
        }
        return;
    }
    if element.get("coding").is_some() || element.get("text").is_some() {
        concept(run, bound, element);
    } else if let Some(code) = element.text_of("code") {
        let system = element.text_of("system");
        let answer = ask(bound, Some(system.unwrap_or_default()), code);
        if answer == Membership::In {
            run.is_listed(None);
        }
        judge(run, bound, element, answer, &[(system, code)]);
    } else if bound.strength == Strength::Required && element.get("value").is_none() {
        missed(run, bound, element);
    }
}

/// A code without a system: the value set implies it (R4 §4.1.5).
fn plain<'d>(run: &mut Run<'_, 'd>, bound: &Bound, element: Element<'d>, code: &str) {
    let answer = ask(bound, None, code);
    judge(run, bound, element, answer, &[(None, code)]);
    if answer == Membership::Out && bound.strength == Strength::Required {
        // Said apart, as it is by the HL7 validator: the code has no meaning at all, for no system can be told for it.
        let text = format!("No system of the value set {} has that code, so it means nothing.", bound.canonical);
        run.issue(Id::CodeMeaningless, element, text);
    }
}

/// One coding of the value set is enough; a required binding wants one (R4 §4.1.5.1).
fn concept<'d>(run: &mut Run<'_, 'd>, bound: &Bound, element: Element<'d>) {
    let codings: SmallVec<[(Option<&str>, &str); 4]> =
        element.all("coding").filter_map(|coding| Some((coding.text_of("system"), coding.text_of("code")?))).collect();
    let mut best = Membership::Out;
    if run.settled.is_some() {
        listed(run, bound, element);
    }
    for (system, code) in &codings {
        match ask(bound, Some(system.unwrap_or_default()), code) {
            Membership::In => {
                renamed(run, bound, element);
                return;
            }
            Membership::Unknown => best = Membership::Unknown,
            Membership::Out => {}
        }
    }
    judge(run, bound, element, best, &codings);
}

/// Says which codings the value set has.
fn listed<'d>(run: &mut Run<'_, 'd>, bound: &Bound, concept: Element<'d>) {
    for (at, coding) in concept.all("coding").enumerate() {
        let code = coding.text_of("code").unwrap_or_default();
        if ask(bound, Some(coding.text_of("system").unwrap_or_default()), code) == Membership::In {
            run.is_listed(Some(at));
        }
    }
}

/// A name that the value set gives to a code is one of its names where the set holds (R4 §4.9.4).
fn renamed<'d>(run: &mut Run<'_, 'd>, bound: &Bound, concept: Element<'d>) {
    let is_display = |issue: &Issue| matches!(issue.id, Id::DisplayWrong | Id::DisplayUnusual);
    let Some(set) = bound.set.as_deref().filter(|_| run.report.issues.iter().any(is_display)) else { return };
    for (at, coding) in concept.all("coding").enumerate() {
        let (Some(system), Some(code), Some(display)) =
            (coding.text_of("system"), coding.text_of("code"), coding.text_of("display"))
        else {
            continue;
        };
        if set.names(system, code).any(|name| same_name(name, display)) {
            let place = run.trail.expression_of(&format!("coding[{at}].display"));
            run.report.issues.retain(|issue| !is_display(issue) || issue.expression != place);
        }
    }
}

fn ask(bound: &Bound, system: Option<&str>, code: &str) -> Membership {
    bound.set.as_ref().map_or(Membership::Unknown, |set| membership(set, system, code))
}

fn judge<'d>(
    run: &mut Run<'_, 'd>,
    bound: &Bound,
    element: Element<'d>,
    answer: Membership,
    codes: &[(Option<&str>, &str)],
) {
    match answer {
        Membership::In => {}
        Membership::Out => {
            missed(run, bound, element);
            if let Some(most) = &bound.most {
                check(run, most, element);
            }
        }
        Membership::Unknown => {
            for (system, code) in codes {
                run.ask(|run| CodeQuestion {
                    about: Subject::ValueSet(bound.canonical.to_string()),
                    system: system.map(str::to_owned),
                    code: (*code).to_owned(),
                    expression: run.trail.expression(),
                    position: element.position(),
                    strength: bound.strength,
                });
            }
            if bound.strength == Strength::Required {
                let text =
                    format!("The code was not checked against {}, whose codes are not listed here.", bound.canonical);
                run.issue(Id::BindingUnknown, element, text);
            }
        }
    }
}

fn missed<'d>(run: &mut Run<'_, 'd>, bound: &Bound, element: Element<'d>) {
    let (id, must) = if bound.strength == Strength::Required {
        (Id::BindingRequired, "must")
    } else {
        (Id::BindingExtensible, "should")
    };
    let listed = bound.set.as_deref().map(few_codes).unwrap_or_default();
    run.issue(id, element, format!("The code {must} be one of the value set {}{listed}.", bound.canonical));
}

/// More codes than this are not listed in an issue.
const MAX_SHOWN: usize = 16;

/// The codes themselves where there are few enough to read.
fn few_codes(set: &ValueSet) -> String {
    let mut codes: Vec<&str> = set.codes().map(|(_, code)| code).take(MAX_SHOWN + 1).collect();
    if codes.is_empty() || codes.len() > MAX_SHOWN || !set.open.is_empty() {
        return String::new();
    }
    codes.sort_unstable();
    format!(": {}", codes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::Registry;
    use crate::fhir::outcome::Severity;
    use crate::fhir::tree::json;
    use crate::fhir::validate::{Options, Validator};

    const MAX: &str = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet";

    const ADDITIONAL: &str = "http://hl7.org/fhir/tools/StructureDefinition/additional-binding";

    fn value_set(id: &str, codes: &[&str]) -> String {
        let concepts: Vec<String> =
            codes.iter().map(|code| format!(r#"{{"code":"{code}","display":"Set's {code}"}}"#)).collect();
        format!(
            r#"{{"resourceType":"ValueSet","id":"{id}","url":"urn:iso:{id}","status":"draft","compose":{{"include":[
            {{"system":"urn:iso:s","concept":[{}]}}]}}}}"#,
            concepts.join(",")
        )
    }

    fn validator(binding: &str) -> Validator {
        let profile = format!(
            r#"{{"resourceType":"StructureDefinition","url":"urn:iso:p","type":"Basic","kind":"resource",
            "derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Basic",
            "contained":[{}],"snapshot":{{"element":[{{"path":"Basic"}},
            {{"path":"Basic.code","min":1,"max":"1","type":[{{"code":"CodeableConcept"}}],"binding":{binding}}}]}}}}"#,
            value_set("inside", &["a", "b"])
        );
        let system = r#"{"resourceType":"CodeSystem","url":"urn:iso:s","content":"complete","concept":[
            {"code":"a","display":"Alpha"},{"code":"b","display":"Beta"},{"code":"c","display":"Gamma"}]}"#;
        let texts = [profile, system.to_owned(), value_set("one", &["a"]), value_set("two", &["a", "b"])];
        let documents = texts.iter().map(|text| json::parse(text.as_str()).unwrap()).collect();
        Validator::new(Registry::with(documents).unwrap())
    }

    fn check(binding: &str, code: &str, expected: &[Id]) {
        let text = format!(r#"{{"resourceType":"Basic","code":{{"coding":[{{"system":"urn:iso:s",{code}}}]}}}}"#);
        let document = json::parse(text).unwrap();
        let options = Options { profiles: &["urn:iso:p"], ..Options::default() };
        let report = validator(binding).check(Element::root(&document), &options);
        let mut found: Vec<Id> =
            report.issues.iter().filter(|issue| issue.severity <= Severity::Warning).map(|issue| issue.id).collect();
        found.retain(|id| *id != Id::BindingUnknown);
        assert_eq!(found, expected, "{binding} {code}: {:#?}", report.issues);
    }

    #[test]
    fn sets_hold_by_their_strength() {
        let bound = |strength: &str, set: &str, rest: &str| {
            format!(r#"{{"strength":"{strength}","valueSet":"{set}","extension":[{rest}]}}"#)
        };
        let plain = |strength: &str, set: &str| format!(r#"{{"strength":"{strength}","valueSet":"{set}"}}"#);
        check(&plain("required", "urn:iso:one"), r#""code":"a""#, &[]);
        check(&plain("required", "urn:iso:one"), r#""code":"b""#, &[Id::BindingRequired]);
        check(&plain("extensible", "urn:iso:one"), r#""code":"b""#, &[Id::BindingExtensible]);
        check(&plain("preferred", "urn:iso:one"), r#""code":"b""#, &[]);
        check(&plain("required", "#inside"), r#""code":"b""#, &[]);
        check(&plain("required", "#inside"), r#""code":"c""#, &[Id::BindingRequired]);
        let most = format!(r#"{{"url":"{MAX}","valueCanonical":"urn:iso:two"}}"#);
        check(&bound("extensible", "urn:iso:one", &most), r#""code":"b""#, &[Id::BindingExtensible]);
        let both = [Id::BindingExtensible, Id::BindingRequired];
        check(&bound("extensible", "urn:iso:one", &most), r#""code":"c""#, &both);
        check(&bound("preferred", "urn:iso:one", &most), r#""code":"b""#, &[]);
        check(&bound("preferred", "urn:iso:one", &most), r#""code":"c""#, &[Id::BindingRequired]);
        let further = format!(
            r#"{{"url":"{ADDITIONAL}","extension":[{{"url":"purpose","valueCode":"required"}},
            {{"url":"valueSet","valueCanonical":"urn:iso:one"}}]}}"#
        );
        check(&bound("required", "urn:iso:two", &further), r#""code":"a""#, &[]);
        check(&bound("required", "urn:iso:two", &further), r#""code":"b""#, &[Id::BindingRequired]);
    }

    #[test]
    fn a_set_may_give_names_of_its_own() {
        let binding = r#"{"strength":"required","valueSet":"urn:iso:two"}"#;
        check(binding, r#""code":"a","display":"Set's A""#, &[]);
        check(binding, r#""code":"a","display":"alpha""#, &[]);
        check(binding, r#""code":"a","display":"Set's b""#, &[Id::DisplayWrong]);
    }
}
