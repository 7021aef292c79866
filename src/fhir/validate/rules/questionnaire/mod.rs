//! Questionnaires and the responses to them (R4 §Questionnaire, §QuestionnaireResponse).
//!
//! A form is compiled when a response first names it and kept for the next one; a form that travels inside the
//! response is compiled for that response alone. A response whose form is not known here is checked like any other
//! resource, with a warning: that is all that can be said of it.
//!
//! Reading order: form, enable < options, answer < response; `definition` holds what a Questionnaire itself must
//! satisfy.

mod answer;
mod definition;
mod enable;
mod form;
mod options;
mod response;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rust_decimal::Decimal;

use super::super::run::Run;
use crate::fhir::definitions::Kind;
use crate::fhir::definitions::{DefinitionId, Registry};
use crate::fhir::outcome::Id;
use crate::fhir::terminology::ucum;
use crate::fhir::tree::Element;

pub use definition::check as check_definition;
use form::Form;
pub use form::{extension, extensions};

const UCUM: &str = ucum::SYSTEM;

fn compare_units(one: Decimal, unit: &str, other: Decimal, other_unit: &str) -> Option<Ordering> {
    ucum::compare(one, unit, other, other_unit)
}

/// The forms that were asked for.
#[derive(Default)]
pub struct Forms {
    compiled: RwLock<HashMap<DefinitionId, Arc<Form>>>,
}

impl Forms {
    fn get(&self, canonical: &str, registry: &Registry) -> Option<Arc<Form>> {
        // Only what the registry has is kept, so made-up canonicals do not fill the memory.
        let id = registry.find(Kind::Questionnaire, canonical)?;
        if let Some(form) = self.compiled.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Some(Arc::clone(form));
        }
        let document = registry.document(id)?;
        let root = Element::root(&document);
        let form = Arc::new(Form::compile(root, root, registry, true));
        let mut compiled = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(compiled.entry(id).or_insert(form)))
    }
}

/// Checks a QuestionnaireResponse against its form, if the form is here.
pub fn check_response<'d>(run: &mut Run<'_, 'd>, response: Element<'d>) {
    let Some(named) = response.get("questionnaire") else { return };
    let Some(canonical) = named.text() else { return };
    let validator = run.validator;
    let form = match canonical.strip_prefix('#') {
        Some(id) => run
            .contained(id)
            .filter(|found| found.resource_type() == Some("Questionnaire"))
            .map(|found| Arc::new(Form::compile(found, response, &validator.registry, false))),
        None => validator.forms.get(canonical, &validator.registry),
    };
    if let Some(form) = form {
        response::check(run, &form, response);
    } else {
        let text = "The questionnaire is not loaded here; the answers were not checked against it.";
        run.issue(Id::FormUnknown, named, text.to_owned());
    }
}

#[cfg(test)]
mod tests;
