//! What is filed of a push of records: a receipt for whatever its sender may ask about later, and the counts of its
//! scorecard, both in the transaction of the push.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::judge;
use super::prepare::Prepared;
use super::provenance::{Made, Origin};
use crate::exchange::receipts::{self, DAY_MS, DELAY, RULE, Word};
use crate::fhir::outcome::Issue;
use crate::store::{Filing, PatientKey, Receipt, Tally, Write, WriteOutcome};

const KIND: &str = "Observation";

/// One request's records, in the order sent.
pub(super) struct Desk {
    /// Whom they are about.
    pub patient: PatientKey,
    pub format: Arc<str>,
    pub request: String,
    pub records: Vec<Sent>,
    /// How long receipts are kept.
    pub keep_ms: i64,
    pub origin: Origin,
}

/// A record as it came.
pub(super) struct Sent {
    /// The name under which its receipt is filed.
    pub key: Option<[u8; 16]>,
    /// The line that the record stood on, where records came one a line.
    pub line: Option<u64>,
    /// JSON pointer of the record in what was sent, or in its line of that.
    pub pointer: String,
    /// What was lost on the way to FHIR.
    pub lost: Vec<Issue>,
    /// When its measurement ended.
    pub measured_ms: Option<i64>,
}

/// What is known of a record before it is written.
pub(super) enum Verdict {
    Same,
    Refused(Vec<Issue>),
    Written {
        /// Place among the unit's writes.
        index: usize,
        resource: String,
        made: Made,
        warnings: Vec<Issue>,
        conflict: Issue,
    },
}

impl Verdict {
    pub fn written(prepared: &Prepared, index: usize, warnings: &[Issue]) -> Verdict {
        let resource = format!("{}/{}", prepared.rule.name, prepared.logical);
        let warnings = prepared.validated.warnings().iter().chain(warnings).cloned().collect();
        let made = Made::of(prepared);
        Verdict::Written { index, resource, made, warnings, conflict: judge::conflict(prepared) }
    }
}

impl Desk {
    /// How what came to be came to be; nothing where nothing did.
    pub fn provenance(&self, verdicts: &[Verdict], outcomes: &[WriteOutcome], now_ms: i64) -> Option<Write> {
        let made: Vec<(&str, &Made)> = verdicts
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Written { index, resource, made, .. } => {
                    let created = matches!(outcomes.get(*index), Some(WriteOutcome::Created));
                    created.then_some((resource.as_str(), made))
                }
                _ => None,
            })
            .collect();
        (!made.is_empty()).then(|| self.origin.write(&made, now_ms))
    }

    /// What is filed once it is known what became of each write, and how many records each word was said of.
    pub fn file(&self, verdicts: &[Verdict], outcomes: &[WriteOutcome], now_ms: i64) -> (Filing, [u64; 4]) {
        let (mut receipts, mut words) = (Vec::new(), [0; 4]);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (sent, verdict) in self.records.iter().zip(verdicts) {
            let (word, resource, issues): (Word, Option<&str>, Vec<&Issue>) = match verdict {
                Verdict::Same => (Word::Duplicate, None, Vec::new()),
                Verdict::Refused(issues) => (Word::Refused, None, issues.iter().collect()),
                Verdict::Written { index, resource, warnings, conflict, .. } => match outcomes.get(*index) {
                    Some(WriteOutcome::Created | WriteOutcome::Updated) => {
                        let issues: Vec<&Issue> = warnings.iter().chain(&sent.lost).collect();
                        let word = if issues.is_empty() { Word::Accepted } else { Word::Flagged };
                        (word, Some(resource), issues)
                    }
                    Some(WriteOutcome::Existing { .. }) => (Word::Duplicate, None, Vec::new()),
                    Some(WriteOutcome::Standing { id, .. }) => {
                        // Its own id leads nowhere, so it is filed which one stands.
                        let standing = format!("{KIND}/{id}");
                        let place = receipts::Place { line: sent.line, pointer: &sent.pointer };
                        let body = receipts::filed(&self.format, &self.request, place, Some(&standing), &[]);
                        let outcome = Word::Duplicate.code();
                        receipts.push(Receipt { at_ms: now_ms, record: sent.key, outcome, body, once: true });
                        (Word::Duplicate, None, Vec::new())
                    }
                    _ => (Word::Refused, None, vec![conflict]),
                },
            };
            let mut count = |topic: String| *counts.entry(topic).or_default() += 1;
            count(word.code().to_owned());
            words[word as usize] += 1;
            if word != Word::Duplicate
                && let Some(measured_ms) = sent.measured_ms
            {
                count(format!("{DELAY}{}", receipts::delay(measured_ms, now_ms)));
            }
            let mut rules: Vec<&str> = issues.iter().map(|issue| issue.id.code()).collect();
            rules.sort_unstable();
            rules.dedup();
            for rule in rules {
                count(format!("{RULE}{rule}"));
            }
            if matches!(word, Word::Refused | Word::Flagged) {
                let place = receipts::Place { line: sent.line, pointer: &sent.pointer };
                let body = receipts::filed(&self.format, &self.request, place, resource, &issues);
                receipts.push(Receipt { at_ms: now_ms, record: sent.key, outcome: word.code(), body, once: false });
            }
        }
        let day = now_ms.div_euclid(DAY_MS);
        let tally = |(topic, count)| Tally { day, format: self.format.clone(), topic, count };
        let tallies = counts.into_iter().map(tally).collect();
        (
            Filing {
                patient: Some(self.patient),
                receipts,
                tallies,
                forget_before_ms: now_ms.saturating_sub(self.keep_ms),
            },
            words,
        )
    }
}
