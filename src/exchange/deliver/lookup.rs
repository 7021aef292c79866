//! What is asked of a destination about a person before something of hers is told there, as its pack says.
//!
//! To ask is to disclose who she is: it is done for what was permitted alone, with nothing that the measurement says itself,
//! once for as long as the answer holds, and is on record. No answer is no refusal: what is to be told waits.

use std::sync::Arc;

use super::Worker;
use crate::exchange::lookups::Lookups;
use crate::exchange::shape::Shape;
use crate::exchange::trail::{Act, Author};
use crate::fhir::outcome::Id;
use crate::fhir::tree::json;
use crate::national::{Context, NotDeliverable, Question};
use crate::peers::{Asking, Trace};
use crate::policy::consent::Permitted;
use crate::policy::delivery::Verdict;
use crate::store::{self, Stored};

/// What was found for a measurement.
pub(super) enum Looked {
    /// For each of the things that it becomes there; whether some of it was known before, and whether somebody was asked.
    Found { contexts: Vec<Context>, kept: bool, asked: bool },
    /// It cannot be told there.
    Nothing(NotDeliverable),
    /// Nothing was found out.
    Not(Verdict),
}

impl Looked {
    pub fn nothing_to_find() -> Looked {
        Looked::Found { contexts: Vec::new(), kept: false, asked: false }
    }
}

impl Worker {
    /// Finds out what is to be known of a measurement before it is told.
    pub(super) async fn looked_up(
        &self,
        shape: &Shape,
        permitted: &Permitted<Stored>,
        trace: Option<&Arc<Trace>>,
    ) -> Result<Looked, store::Error> {
        let (Some(lookup), Some(patient)) = (&shape.pack.lookup, permitted.get().patient) else {
            return Ok(Looked::nothing_to_find());
        };
        let material = shape.material(&self.gateway, &self.name, &[permitted.get()]).await?;
        let measured = material.measured(&[]);
        let message = shape.message(&measured, &material);
        let (mut contexts, mut kept, mut asked) = (Vec::new(), false, false);
        for mut inquiry in shape.pack.inquiries(&message, 0) {
            loop {
                let question = match inquiry.question() {
                    Ok(Some(question)) => question,
                    Ok(None) => break,
                    Err(told) => return Ok(Looked::Nothing(told)),
                };
                let known = self.lookups().known(&self.name, patient, &question, self.gateway.now_ms());
                let given = if let Some(given) = known {
                    kept = true;
                    given
                } else {
                    asked = true;
                    let answer = match self.asked(shape, permitted, &question, trace).await? {
                        Ok(answer) => answer,
                        Err(verdict) => return Ok(Looked::Not(verdict)),
                    };
                    let Ok(answer) = json::parse(answer) else {
                        let reason = "the answer to a lookup cannot be read".to_owned();
                        return Ok(Looked::Not(Verdict::Retry { after_ms: None, reason }));
                    };
                    let given = inquiry.read(&self.gateway.validator, &answer);
                    let now_ms = self.gateway.now_ms();
                    let for_ms = if given.is_nothing() { lookup.keep_none_ms } else { lookup.keep_ms };
                    self.lookups().keep(&self.name, patient, (question, given.clone()), (now_ms, now_ms + for_ms));
                    given
                };
                if let Err(told) = inquiry.take(&given) {
                    return Ok(Looked::Nothing(told));
                }
            }
            contexts.push(inquiry.found());
        }
        Ok(Looked::Found { contexts, kept, asked })
    }

    /// The same, where what was known led to nothing.
    pub(super) async fn looked_up_anew(
        &self,
        permitted: &Permitted<Stored>,
        trace: Option<&Arc<Trace>>,
    ) -> Result<Looked, store::Error> {
        let (Some(shape), Some(patient)) = (self.shape(), permitted.get().patient) else {
            return Ok(Looked::nothing_to_find());
        };
        self.lookups().doubt(&self.name, patient);
        self.looked_up(&shape, permitted, trace).await
    }

    fn lookups(&self) -> &Lookups {
        &self.gateway.lookups
    }

    /// One question, and that it was asked on record.
    async fn asked(
        &self,
        shape: &Shape,
        permitted: &Permitted<Stored>,
        question: &Question,
        trace: Option<&Arc<Trace>>,
    ) -> Result<Result<Vec<u8>, Verdict>, store::Error> {
        let stored = permitted.get();
        let access = match self.allowed(stored.patient).await? {
            Ok(access) => access,
            Err(verdict) => return Ok(Err(verdict)),
        };
        let request_id = self.request_id(stored);
        let asking =
            Asking { question: question.clone(), pack: shape.pack.clone(), request_id, access, trace: trace.cloned() };
        self.turn().await;
        let answer = self.platform.ask(&asking).await;
        self.heard(answer.as_ref().err().unwrap_or(&Verdict::Acknowledged));
        self.gateway.link_used(&self.name, stored.patient, asking.access.as_ref()).await?;
        if answer.as_ref().err().is_none_or(Verdict::has_left) {
            let named = stored.patient.map(|patient| (Author::patient_of(stored), patient));
            let issues: &[Id] = if answer.is_ok() { &[] } else { &[Id::EntryFailed] };
            let author = self.author(asking.request_id).with_query(&question.path, &question.query);
            let record = author.record(Act::LookUp, named.as_ref(), &[], Some(permitted.basis()), issues);
            self.gateway.store.record_audit(vec![record]).await?;
        }
        Ok(answer)
    }
}
