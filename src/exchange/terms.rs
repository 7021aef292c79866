//! Codes that nobody here can decide, put to a terminology server if one is configured.
//!
//! One round of questions a message, with a deadline; what stays open is for the policy of the validator's conclusion.

use std::collections::HashMap;

use super::Gateway;
use crate::fhir::terminology::Membership;
use crate::fhir::validate::{CodeQuestion, Subject};
use crate::peers::terminology::Question;

/// What the terminology server said.
#[derive(Default)]
pub(super) struct Told(HashMap<Question, bool>);

impl Told {
    pub fn of(&self, question: &CodeQuestion) -> Membership {
        if self.0.is_empty() {
            return Membership::Unknown;
        }
        match self.0.get(&put(question)) {
            Some(true) => Membership::In,
            Some(false) => Membership::Out,
            None => Membership::Unknown,
        }
    }
}

fn put(question: &CodeQuestion) -> Question {
    let value_set = match &question.about {
        Subject::CodeSystem => None,
        Subject::ValueSet(canonical) => Some(canonical.clone()),
    };
    Question { value_set, system: question.system.clone(), code: question.code.clone() }
}

impl Gateway {
    /// Asks what is open in a message. Bindings come before codes that are merely unlisted: their answers decide.
    pub(super) async fn told<'q>(&self, questions: impl IntoIterator<Item = &'q CodeQuestion>) -> Told {
        let Some(terminology) = &self.terminology else { return Told::default() };
        let mut put: Vec<Question> = questions.into_iter().map(put).collect();
        if put.is_empty() {
            return Told::default();
        }
        put.sort_by_key(|question| question.value_set.is_none());
        Told(terminology.ask(put).await)
    }
}
