//! A FHIR terminology server, asked whether a code system or a value set has a code (`$validate-code`, R4 §4.9.19).
//!
//! It is spoken to over the same channel as a FHIR destination. What it says is remembered for a while, within bounds;
//! a server that fails several times in a row is left alone for a while, and a message never waits for it beyond its
//! deadline. Anything but a clear yes or no is no answer: what becomes of that is not decided here.

mod answer;
mod config;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use config::Config;

use self::memory::Memory;
use super::Clock;
use super::fhir_rest::{Channel, OpenError};
use crate::policy::delivery::{Admission, Circuit, Limits};

/// One question. The server is asked nothing else, and above all not whose code it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// Canonical of the value set; `None` asks whether the system has the code.
    pub value_set: Option<String>,
    /// `None` where the value set implies it.
    pub system: Option<String>,
    pub code: String,
}

/// An opened terminology server.
pub struct Terminology {
    server: Arc<Server>,
    deadline: Duration,
    most_questions: usize,
}

struct Server {
    channel: Channel,
    clock: Clock,
    memory: Mutex<Memory>,
    circuit: Mutex<Circuit>,
    at_once: Semaphore,
    life_ms: i64,
}

impl Terminology {
    /// Reads keys and certificates, so that a wrong path shows at start.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, OpenError> {
        let channel = Channel::open(&config.endpoint(), clock.clone())?;
        let limits = Limits { failures: 5, base_ms: 1_000, cap_ms: 60_000, probe_ms: 30_000 };
        let server = Server {
            channel,
            clock,
            memory: Mutex::new(Memory::new(config.cache_entries)),
            circuit: Mutex::new(Circuit::new(limits)),
            at_once: Semaphore::new(config.concurrent),
            life_ms: i64::try_from(config.cache_seconds).unwrap_or(i64::MAX / 1_000).saturating_mul(1_000),
        };
        let deadline = Duration::from_millis(config.deadline_ms);
        Ok(Terminology { server: Arc::new(server), deadline, most_questions: config.questions })
    }

    /// What the server says of each question, as far as it says so before the deadline.
    pub async fn ask(&self, questions: impl IntoIterator<Item = Question>) -> HashMap<Question, bool> {
        let mut answers = HashMap::new();
        let mut open = Vec::new();
        for question in questions {
            if answers.contains_key(&question) || open.contains(&question) {
                continue;
            }
            match self.server.remembered(&question) {
                Some(answer) => drop(answers.insert(question, answer)),
                None if open.len() < self.most_questions => open.push(question),
                // A message that is nothing but questions must not become a flood of requests.
                None => {}
            }
        }
        if open.is_empty() {
            return answers;
        }
        let mut under_way = JoinSet::new();
        for question in open {
            let server = Arc::clone(&self.server);
            under_way.spawn(async move {
                let answer = server.ask(&question).await;
                (question, answer)
            });
        }
        let deadline = tokio::time::Instant::now() + self.deadline;
        // What is still under way when the deadline comes is dropped with the set.
        while let Ok(Some(done)) = tokio::time::timeout_at(deadline, under_way.join_next()).await {
            if let Ok((question, Some(answer))) = done {
                answers.insert(question, answer);
            }
        }
        answers
    }
}

impl Server {
    fn now_ms(&self) -> i64 {
        (self.clock)().as_millisecond()
    }

    fn remembered(&self, question: &Question) -> Option<bool> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(question, self.now_ms())
    }

    async fn ask(&self, question: &Question) -> Option<bool> {
        let _place = self.at_once.acquire().await.ok()?;
        let admission = self.circuit.lock().unwrap_or_else(PoisonError::into_inner).poll(self.now_ms());
        if matches!(admission, Admission::Open(_)) {
            return None;
        }
        let mut record = Record { server: self, alive: false };
        let answer = self.channel.post(answer::operation(question), answer::parameters(question)).await;
        let told = answer.as_ref().map_or(answer::Told::Failed, |answer| answer::told(answer.status, &answer.body));
        record.alive = told != answer::Told::Failed;
        drop(record);
        let answer = match told {
            answer::Told::Yes => true,
            answer::Told::No => false,
            answer::Told::Nothing | answer::Told::Failed => return None,
        };
        let until_ms = self.now_ms().saturating_add(self.life_ms);
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).put(question.clone(), answer, until_ms);
        Some(answer)
    }
}

/// Tells the circuit what came of a request, also when the deadline cut it off.
struct Record<'s> {
    server: &'s Server,
    alive: bool,
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let mut random = [0; 8];
        // Without entropy the pause has no jitter, which harms nobody.
        let _ = getrandom::fill(&mut random);
        let mut circuit = self.server.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        circuit.record(self.alive, self.server.now_ms(), u64::from_le_bytes(random));
    }
}
