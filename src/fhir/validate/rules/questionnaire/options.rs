//! Answers that are chosen: among `answerOption`, or from `answerValueSet`.

use super::super::super::run::Run;
use super::super::super::scope::Found;
use super::super::super::{CodeQuestion, Subject};
use super::form::{AnswerOption, Coding, Form, Item, Kind, Offer};
use crate::fhir::definitions::Strength;
use crate::fhir::outcome::Id;
use crate::fhir::terminology::{Membership, membership};
use crate::fhir::tree::Element;

const NOT_OFFERED: &str = "The answer must be one of the options that the form offers.";

/// A choice: a coding, or one of the plain types that options may have. The trail stands on the answer.
pub fn check_choice<'d>(
    run: &mut Run<'_, 'd>,
    form: &Form,
    item: &Item,
    value: &Found<'d>,
    answer: Element<'d>,
    count: usize,
) {
    if value.type_name == "Coding" {
        return coding(run, form, item, value.element, answer, count);
    }
    // Without options there is nothing to hold a plain value against.
    if item.options.is_empty() {
        return;
    }
    let Some(text) = value.element.text() else { return };
    if value.type_name == "string" && item.kind == Some(Kind::OpenChoice) {
        if codings(item).any(|(coding, _)| says(coding, text)) {
            let text = "The text is that of an option; send the option's coding.";
            run.issue(Id::FormAnswerAdvice, answer, text.to_owned());
        }
        return;
    }
    if !is_offered(item, value.type_name, text) {
        run.issue(Id::FormAnswerOption, answer, NOT_OFFERED.to_owned());
    }
}

/// A plain answer against options, if the form gives some. The trail stands on the value.
pub fn check_plain<'d>(run: &mut Run<'_, 'd>, item: &Item, value: &Found<'d>) {
    let Some(text) = value.element.text() else { return };
    // There are no options of these types; the nearest serve.
    let type_name = match value.type_name {
        "dateTime" => "date",
        "decimal" => "integer",
        other => other,
    };
    if !item.options.is_empty() && !is_offered(item, type_name, text) {
        run.issue(Id::FormAnswerOption, value.element, NOT_OFFERED.to_owned());
    }
}

fn is_offered(item: &Item, wanted: &str, answer: &str) -> bool {
    item.options.iter().any(|option| {
        matches!(option, AnswerOption::Plain { type_name, text } if **type_name == *wanted && **text == *answer)
    })
}

fn codings(item: &Item) -> impl Iterator<Item = (&Coding, bool)> {
    item.options.iter().filter_map(|option| match option {
        AnswerOption::Coding { coding, exclusive } => Some((coding, *exclusive)),
        _ => None,
    })
}

fn says(coding: &Coding, text: &str) -> bool {
    let same = |own: &Option<Box<str>>| own.as_deref().is_some_and(|own| own.to_lowercase() == text.to_lowercase());
    same(&coding.display) || same(&coding.code)
}

fn coding<'d>(run: &mut Run<'_, 'd>, form: &Form, item: &Item, value: Element<'d>, answer: Element<'d>, count: usize) {
    let own = (value.text_of("system"), value.text_of("code"));
    if !item.options.is_empty() {
        let chosen = codings(item).find(|(coding, _)| (coding.system.as_deref(), coding.code.as_deref()) == own);
        match chosen {
            None => run.issue(Id::FormAnswerOption, answer, NOT_OFFERED.to_owned()),
            Some((_, true)) if count > 1 => {
                let text = "The option excludes every other; it must be the only answer.";
                run.issue(Id::FormAnswerLimit, answer, text.to_owned());
            }
            Some(_) => {}
        }
        return;
    }
    let Some(offer) = &item.value_set else { return };
    let Some(set) = offer.set.as_deref() else { return set_unknown(run, answer) };
    let (system, code) = (own.0.unwrap_or_default(), own.1.unwrap_or_default());
    match membership(set, Some(system), code) {
        Membership::In if !is_named_so(run, value) => {
            let text = format!("The answer to {} must have a display that the option has.", form.name(item));
            run.issue(Id::FormAnswerOption, answer, text);
        }
        Membership::In => {}
        Membership::Out => {
            let text = format!("The answer to {} must be a code of {}.", form.name(item), shown(offer, form));
            run.issue(Id::FormAnswerOption, answer, text);
        }
        Membership::Unknown => {
            run.ask(|run| CodeQuestion {
                about: Subject::ValueSet(offer.canonical.to_string()),
                system: own.0.map(str::to_owned),
                code: code.to_owned(),
                expression: run.trail.expression(),
                position: answer.position(),
                strength: Strength::Extensible,
            });
            let text =
                format!("The answer was not checked against {}, whose codes are not listed here.", shown(offer, form));
            run.issue(Id::BindingUnknown, answer, text);
        }
    }
}

/// Whether a coding's display is one of the concept's names, as far as they are known.
fn is_named_so(run: &Run<'_, '_>, coding: Element<'_>) -> bool {
    let Some(display) = coding.text_of("display").filter(|_| !run.options.lenient_displays) else { return true };
    let system = coding.text_of("system").and_then(|system| run.validator.registry.code_system(system));
    let concept = system.zip(coding.text_of("code")).and_then(|(system, code)| system.concept(code));
    concept.is_none_or(|concept| {
        let mut names = concept.names().peekable();
        names.peek().is_none() || names.any(|name| name.to_lowercase() == display.to_lowercase())
    })
}

fn shown<'o>(offer: &'o Offer, form: &Form) -> &'o str {
    if form.quotable { &offer.canonical } else { "the form's value set" }
}

/// The value set that answers are taken from is not here.
pub fn set_unknown<'d>(run: &mut Run<'_, 'd>, element: Element<'d>) {
    let text = "The form's value set is not loaded here; the answer was not checked.";
    run.issue(Id::BindingUnknown, element, text.to_owned());
}
