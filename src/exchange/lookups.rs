//! What destinations answered when they were asked about a person: kept for as long as their packs say, so that they are not
//! asked for each measurement. It lies in memory alone, and no more of it than is bounded here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::national::{Given, Question};
use crate::store::PatientKey;

/// Persons of whom answers are kept, and most answers about one.
const PERSONS: usize = 10_000;
const ANSWERS: usize = 64;

/// Answers about one person by one destination.
type Answers = Vec<(Question, Given, i64)>;

#[derive(Default)]
pub(super) struct Lookups(Mutex<HashMap<(Arc<str>, PatientKey), Answers>>);

impl Lookups {
    /// What was answered, as long as it holds.
    pub fn known(
        &self,
        destination: &Arc<str>,
        patient: PatientKey,
        question: &Question,
        now_ms: i64,
    ) -> Option<Given> {
        let kept = self.kept();
        let answers = kept.get(&(destination.clone(), patient))?;
        let holds = |(asked, _, until_ms): &&(Question, Given, i64)| asked == question && now_ms < *until_ms;
        answers.iter().find(holds).map(|(_, given, _)| given.clone())
    }

    pub fn keep(
        &self,
        destination: &Arc<str>,
        patient: PatientKey,
        (question, given): (Question, Given),
        (now_ms, until_ms): (i64, i64),
    ) {
        let mut kept = self.kept();
        let person = (destination.clone(), patient);
        if kept.len() >= PERSONS && !kept.contains_key(&person) {
            kept.retain(|_, answers| answers.iter().any(|(_, _, until_ms)| now_ms < *until_ms));
            // Whose answers end first is asked about again first.
            let latest = |answers: &Answers| answers.iter().map(|(_, _, until_ms)| *until_ms).max();
            let first = kept.iter().min_by_key(|(_, answers)| latest(answers)).map(|(person, _)| person.clone());
            if let Some(first) = first.filter(|_| kept.len() >= PERSONS) {
                kept.remove(&first);
            }
        }
        let answers = kept.entry(person).or_default();
        answers.retain(|(asked, _, until_ms)| *asked != question && now_ms < *until_ms);
        if answers.len() >= ANSWERS {
            answers.remove(0);
        }
        answers.push((question, given, until_ms));
    }

    /// Whatever one destination answered about a person is asked again.
    pub fn doubt(&self, destination: &Arc<str>, patient: PatientKey) {
        self.kept().remove(&(destination.clone(), patient));
    }

    /// Nothing is known of a person any more.
    pub fn forget(&self, patient: PatientKey) {
        self.kept().retain(|(_, known), _| *known != patient);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<(Arc<str>, PatientKey), Answers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_for_a_while_and_not_without_end() {
        let lookups = Lookups::default();
        let there: Arc<str> = Arc::from("there");
        let question = |at: usize| Question {
            path: "ServiceRequest".to_owned(),
            query: vec![("code".to_owned(), at.to_string())],
        };
        let person = |at: usize| PatientKey([at as u8, (at >> 8) as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let keep =
            |at, one, until_ms| lookups.keep(&there, person(at), (question(one), Given::default()), (0, until_ms));
        let is_known = |at, one, now_ms| lookups.known(&there, person(at), &question(one), now_ms).is_some();
        keep(0, 0, 10);
        assert!(is_known(0, 0, 9) && !is_known(0, 0, 10) && !is_known(0, 1, 0) && !is_known(1, 0, 0));
        for one in 0..=ANSWERS {
            keep(0, one, 1000 + one as i64);
        }
        assert!(!is_known(0, 0, 11) && is_known(0, 1, 11) && is_known(0, ANSWERS, 11), "the first one gave way");
        for at in 1..=PERSONS {
            keep(at, 0, 2000);
        }
        assert!(
            !is_known(0, 1, 11) && is_known(1, 0, 11) && is_known(PERSONS, 0, 11),
            "whose answers end first gave way"
        );
        lookups.doubt(&there, person(1));
        lookups.forget(person(2));
        assert!(!is_known(1, 0, 11) && !is_known(2, 0, 11) && is_known(3, 0, 11));
    }
}
