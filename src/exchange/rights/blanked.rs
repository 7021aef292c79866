//! What an erasure says of the records of the audit that it took the content out of, and whether that is all of it.
//!
//! A record without content is what the log committed to no longer, so that anybody who writes in the database could make one
//! say less, or something else. So each step of an erasure has a record of its own, which the log commits to: the entries
//! whose records it has blanked, each with a hash of what was left. That a person was erased by a version of the program which
//! says so is in the record of the erasure itself.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::exchange::{Gateway, Refusal};
use crate::store::PatientKey;
use crate::tlog::sha256;

/// What a step of an erasure is called in its record.
pub(super) const OPERATION: &str = "AuditEvent/$redact";

/// The parameter that names an entry and what was left of its record.
const ENTRY: &str = "entry";

/// Bytes of a hash that are told: more than anybody can find a second text for.
const HASH: usize = 16;

/// What the record of an erasure says: that each record that is blanked will be named.
pub(super) fn promise() -> (String, String) {
    ("blanked".to_owned(), "named".to_owned())
}

/// Entries with what is left of their records, as a record tells them.
pub(super) fn named<'r>(entries: impl Iterator<Item = (u64, &'r [u8])>) -> Vec<(String, String)> {
    entries.map(|(entry, left)| (ENTRY.to_owned(), format!("{entry}.{}", told(left)))).collect()
}

fn told(left: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&sha256(&[left])[..HASH])
}

/// Blanked records that no erasure has named, as the entries of the log have them.
#[derive(Default)]
pub struct Blanked {
    /// They say something else than what an erasure left, or were blanked by none.
    pub unexplained: Vec<u64>,
    /// How many are of persons who were erased before erasures said what they blanked.
    pub unproven: u64,
}

impl Gateway {
    /// Compares what is left of erased persons in the audit with what their erasures say that they left.
    pub async fn blanked(&self) -> Result<Blanked, Refusal> {
        let mut left: HashMap<u64, String> = HashMap::new();
        let mut after = 0;
        loop {
            let records = self.store.filed(after).await?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            for record in records.iter().filter(|record| record.patient.is_none()) {
                let entries = asked(&record.payload, OPERATION).into_iter().filter(|(name, _)| name == ENTRY);
                left.extend(entries.filter_map(|(_, value)| {
                    let (entry, hash) = value.split_once('.')?;
                    Some((entry.parse().ok()?, hash.to_owned()))
                }));
            }
        }
        let mut blanked = Blanked::default();
        let mut promises: HashMap<PatientKey, Option<bool>> = HashMap::new();
        let mut after = None;
        loop {
            let records = self.store.redacted(after).await?;
            let Some((last, ..)) = records.last() else { return Ok(blanked) };
            after = Some(*last);
            for (entry, patient, payload) in records {
                // Where nobody was erased, the record is not what was committed to, and told of as that.
                let Some(patient) = patient else { continue };
                let promised = match promises.get(&patient) {
                    Some(known) => *known,
                    None => *promises.entry(patient).or_insert(self.promised(patient).await?),
                };
                match (promised, left.get(&entry)) {
                    (None, _) => {}
                    (_, Some(hash)) if *hash == told(&payload) => {}
                    (Some(false), None) => blanked.unproven += 1,
                    _ => blanked.unexplained.push(entry),
                }
            }
        }
    }

    /// Whether the erasure of a person says what it blanked; nothing where the log knows of none.
    async fn promised(&self, patient: PatientKey) -> Result<Option<bool>, Refusal> {
        let Some(erasure) = self.store.erasure(patient).await? else { return Ok(None) };
        let logged = self.store.logged(patient, erasure.record, "").await?;
        Ok(logged.map(|logged| asked(&logged.payload, "Patient/$erase").contains(&promise())))
    }
}

/// What an operation was asked for, by the record of it; nothing where it is of another.
fn asked(payload: &[u8], operation: &str) -> Vec<(String, String)> {
    let event: Value = serde_json::from_slice(payload).unwrap_or_default();
    let queries = event["entity"].as_array().into_iter().flatten().filter_map(|entity| entity["query"].as_str());
    let texts = queries.filter_map(|query| String::from_utf8(STANDARD.decode(query).ok()?).ok());
    let asked = texts.filter_map(|text| Some(text.strip_prefix(operation)?.strip_prefix('?')?.to_owned()));
    asked.flat_map(|pairs| url::form_urlencoded::parse(pairs.as_bytes()).into_owned().collect::<Vec<_>>()).collect()
}
