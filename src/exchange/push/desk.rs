//! What is filed of a push of records: a receipt for whatever its sender may ask about later, and the counts of its
//! scorecard, both in the transaction of the push.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::judge;
use super::prepare::Prepared;
use super::provenance::{Made, Origin};
use super::remap::Withdrawal;
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
    /// Whether the records were told of before, when they came: only what changes now is filed, and nothing counted twice.
    pub again: bool,
}

/// A record as it came.
pub(super) struct Sent {
    /// The name under which its receipt is filed.
    pub key: Option<[u8; 16]>,
    /// The same of the record that it is one item of.
    pub whole: Option<[u8; 16]>,
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
        /// The version that it becomes.
        version: u32,
        made: Made,
        warnings: Vec<Issue>,
        conflict: Issue,
    },
}

impl Verdict {
    pub fn written(prepared: &Prepared, index: usize, version: u32, warnings: &[Issue]) -> Verdict {
        Verdict::gathered(prepared, index, version, &prepared.logical, warnings)
    }

    /// Of a record that became part of another resource.
    pub fn gathered(prepared: &Prepared, index: usize, version: u32, logical: &str, warnings: &[Issue]) -> Verdict {
        let resource = format!("{}/{logical}", prepared.rule.name);
        let warnings = prepared.validated.warnings().iter().chain(warnings).cloned().collect();
        let made = Made::of(prepared.rule.name, prepared.validated.element());
        Verdict::Written { index, resource, version, made, warnings, conflict: judge::conflict(prepared) }
    }
}

impl Desk {
    /// How what came to be came to be; nothing where nothing did.
    pub fn provenance(&self, verdicts: &[Verdict], outcomes: &[WriteOutcome], now_ms: i64) -> Option<Write> {
        let made: Vec<(&str, &Made)> =
            written(verdicts, outcomes, WriteOutcome::Created).map(|(resource, _, made)| (resource, made)).collect();
        (!made.is_empty()).then(|| self.origin.write(&made, now_ms))
    }

    /// How what was changed was changed, these withdrawals among it.
    pub fn revision(
        &self,
        verdicts: &[Verdict],
        withdrawn: &[(usize, &Withdrawal)],
        outcomes: &[WriteOutcome],
        now_ms: i64,
    ) -> Option<Write> {
        let withdrawn = withdrawn
            .iter()
            .filter(|(index, _)| outcomes.get(*index) == Some(&WriteOutcome::Updated))
            .map(|(_, withdrawal)| (withdrawal.resource.as_str(), withdrawal.write.version, &withdrawal.made));
        let made: Vec<(&str, u32, &Made)> =
            written(verdicts, outcomes, WriteOutcome::Updated).chain(withdrawn).collect();
        (!made.is_empty()).then(|| self.origin.revise(&made, now_ms))
    }

    /// What its sender is told of a resource that a record no longer stands for.
    pub fn withdrawn(&self, withdrawal: &Withdrawal, now_ms: i64) -> Receipt {
        let place = receipts::Place { line: None, pointer: "" };
        let issues: Vec<&Issue> = withdrawal.issues.iter().collect();
        let body = receipts::filed(&self.format, &self.request, place, Some(&withdrawal.resource), &issues);
        let outcome = Word::Refused.code();
        Receipt { at_ms: now_ms, record: withdrawal.key, outcome, body, once: false }
    }

    /// What is filed once it is known what became of each write, and how many records each word was said of.
    pub fn file(&self, verdicts: &[Verdict], outcomes: &[WriteOutcome], now_ms: i64) -> (Filing, [u64; 4]) {
        let (mut receipts, mut words) = (Vec::new(), [0; 4]);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut wholes: BTreeMap<[u8; 16], Whole<'_>> = BTreeMap::new();
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
            if self.again && word == Word::Refused {
                continue;
            }
            let mut count = |topic: String| *counts.entry(topic).or_default() += 1;
            count(word.code().to_owned());
            words[word as usize] += 1;
            if word != Word::Duplicate
                && let Some(measured_ms) = sent.measured_ms
            {
                count(format!("{DELAY}{}", receipts::delay(measured_ms, now_ms)));
            }
            if let Some(whole) = sent.whole {
                wholes.entry(whole).or_insert_with(|| Whole::of(sent)).add(word, &issues);
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
        if self.again {
            counts.clear();
        }
        receipts.extend(wholes.into_iter().map(|(key, whole)| whole.receipt(self, key, now_ms)));
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

/// A record that became several Observations, told of as one.
struct Whole<'d> {
    place: receipts::Place<'d>,
    /// How many of its items each word was said of.
    words: [u64; 4],
    /// Of each rule that an item broke the first that was said.
    issues: Vec<&'d Issue>,
}

impl<'d> Whole<'d> {
    fn of(sent: &'d Sent) -> Self {
        let place = receipts::Place { line: sent.line, pointer: &sent.pointer };
        Whole { place, words: [0; 4], issues: Vec::new() }
    }

    fn add(&mut self, word: Word, issues: &[&'d Issue]) {
        self.words[word as usize] += 1;
        for issue in issues {
            if self.issues.iter().all(|known| known.id != issue.id) {
                self.issues.push(issue);
            }
        }
    }

    /// All of one word are that; what is mixed is kept and doubtful.
    fn word(&self) -> Word {
        let said = |word: &Word| self.words[*word as usize] > 0;
        let mut said = Word::ALL.into_iter().filter(said);
        match (said.next(), said.next()) {
            (Some(word), None) => word,
            (Some(Word::Accepted), Some(Word::Duplicate))
                if !self.words[Word::Refused as usize..].iter().any(|n| *n > 0) =>
            {
                Word::Accepted
            }
            _ => Word::Flagged,
        }
    }

    fn receipt(&self, desk: &Desk, key: [u8; 16], now_ms: i64) -> Receipt {
        let word = self.word();
        let body = receipts::filed_whole(&desk.format, &desk.request, self.place, self.words, &self.issues);
        // That nothing was new need not be said twice.
        Receipt { at_ms: now_ms, record: Some(key), outcome: word.code(), body, once: word == Word::Duplicate }
    }
}

/// What was written with that outcome: the resource, its version, what is said of it.
fn written<'v>(
    verdicts: &'v [Verdict],
    outcomes: &'v [WriteOutcome],
    wanted: WriteOutcome,
) -> impl Iterator<Item = (&'v str, u32, &'v Made)> {
    verdicts.iter().filter_map(move |verdict| match verdict {
        Verdict::Written { index, resource, version, made, .. } if outcomes.get(*index) == Some(&wanted) => {
            Some((resource.as_str(), *version, made))
        }
        _ => None,
    })
}
