//! Bindings: codes against the value set that the element is bound to (R4 §4.1.5).
//!
//! A required binding that is missed is an error, an extensible one a warning; beyond the maximum set of either a code
//! is an error. What the set cannot decide becomes an open question for whoever can ask a terminology server; for a
//! required binding the report says so as well.

use smallvec::SmallVec;

use super::super::profile::Bound;
use super::super::run::Run;
use super::super::{CodeQuestion, Subject};
use crate::fhir::definitions::{Strength, ValueSet};
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, membership};
use crate::fhir::tree::Element;

/// Checks a `code`, `uri`, `string`, Coding, CodeableConcept or Quantity.
pub fn check<'d>(run: &mut Run<'_, 'd>, bound: &Bound, element: Element<'d>) {
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
        judge(run, bound, element, ask(bound, Some(system.unwrap_or_default()), code), &[(system, code)]);
    } else if bound.strength == Strength::Required
        && element.get("value").is_none()
        && element.get("extension").is_none()
    {
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
    for (system, code) in &codings {
        match ask(bound, Some(system.unwrap_or_default()), code) {
            Membership::In => return,
            Membership::Unknown => best = Membership::Unknown,
            Membership::Out => {}
        }
    }
    judge(run, bound, element, best, &codings);
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
        Membership::Out => missed(run, bound, element),
        Membership::Unknown => {
            for (system, code) in codes {
                run.ask(CodeQuestion {
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
