//! What an operator says about the terminology server.

use std::path::PathBuf;

use serde::Deserialize;

use crate::peers::fhir_rest::{self, Auth};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Base address of the FHIR endpoint, e.g. `https://tx.example/r4`. Plain http only on loopback.
    pub url: String,
    /// How we prove who we are.
    #[serde(default)]
    pub auth: Auth,
    /// PEM file of the only certificate authorities to trust for it; the system's if absent.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Longest time for one question.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Longest time until a connection stands.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Longest time that a message waits for all of its questions together.
    #[serde(default = "default_deadline_ms")]
    pub deadline_ms: u64,
    /// Most questions that one message may put to the server.
    #[serde(default = "default_questions")]
    pub questions: usize,
    /// Questions under way at once.
    #[serde(default = "default_concurrent")]
    pub concurrent: usize,
    /// Answers that are remembered.
    #[serde(default = "default_cache_entries")]
    pub cache_entries: usize,
    /// How long an answer is remembered.
    #[serde(default = "default_cache_seconds")]
    pub cache_seconds: u64,
}

impl Config {
    /// Everything that is wrong, with the key it stands under.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = self.endpoint().mistakes();
        if !(1..=60_000).contains(&self.deadline_ms) {
            mistakes.push("deadline_ms: must lie between 1 and 60000".to_owned());
        }
        let counts =
            [("questions", self.questions), ("concurrent", self.concurrent), ("cache_entries", self.cache_entries)];
        for (key, value) in counts {
            if !(1..=10_000_000).contains(&value) {
                mistakes.push(format!("{key}: must lie between 1 and 10000000"));
            }
        }
        mistakes
    }

    /// The part that any FHIR endpoint has.
    pub(super) fn endpoint(&self) -> fhir_rest::Config {
        fhir_rest::Config {
            lookup_url: None,
            url: self.url.clone(),
            auth: self.auth.clone(),
            ca: self.ca.clone(),
            timeout_ms: self.timeout_ms,
            connect_timeout_ms: self.connect_timeout_ms,
            batch: false,
        }
    }
}

fn default_timeout_ms() -> u64 {
    1_500
}

fn default_connect_timeout_ms() -> u64 {
    1_000
}

fn default_deadline_ms() -> u64 {
    2_000
}

fn default_questions() -> usize {
    200
}

fn default_concurrent() -> usize {
    8
}

fn default_cache_entries() -> usize {
    100_000
}

fn default_cache_seconds() -> u64 {
    86_400
}
