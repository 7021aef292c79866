//! What arrived: the latest content in memory, every version counted, a line in the log for each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::check::Checked;

/// Traces that are kept.
const MAX_TRACES: usize = 1000;

/// Violations kept word by word; more are only counted.
const MAX_VIOLATIONS: usize = 1000;

pub(super) struct Account(Mutex<Book>);

#[derive(Default)]
struct Book {
    held: BTreeMap<String, Held>,
    received: u64,
    duplicates: u64,
    out_of_order: u64,
    unauthorized: u64,
    taken_back: u64,
    asked: u64,
    /// How many requests were of each trace; of those of which nothing is kept, none.
    traces: BTreeMap<String, u64>,
    violation_count: u64,
    violations: Vec<Value>,
    log: Option<File>,
}

#[derive(Default)]
struct Held {
    /// In the order in which they came first.
    versions: Vec<u32>,
    /// Content of the highest version; absent for what only the log remembers.
    resource: Option<Value>,
    /// It was deleted.
    gone: bool,
}

impl Account {
    /// Opens the log and remembers what it says.
    pub(super) fn open(log: Option<&Path>) -> io::Result<Self> {
        let mut book = Book::default();
        if let Some(path) = log {
            let file = File::options().create(true).append(true).read(true).open(path)?;
            for line in BufReader::new(&file).lines() {
                // A line that was cut by a kill was never acknowledged.
                let Ok(line) = serde_json::from_str::<Value>(&line?) else { continue };
                let version = line["version"].as_u64().and_then(|version| u32::try_from(version).ok());
                if let (Some(name), Some(version)) = (line["resource"].as_str(), version) {
                    let versions = &mut book.held.entry(name.to_owned()).or_default().versions;
                    if !versions.contains(&version) {
                        versions.push(version);
                    }
                }
            }
            book.log = Some(file);
        }
        Ok(Account(Mutex::new(book)))
    }

    /// Records resources that passed. Says for each whether it is new here. Nothing is acknowledged whose line
    /// is not in the log.
    pub(super) fn record(&self, arrived: Vec<Checked>) -> io::Result<Vec<bool>> {
        let mut book = self.book();
        arrived.into_iter().map(|checked| book.record(checked)).collect()
    }

    /// What is there is there no longer, or its rest alone. False if there was no such thing.
    pub(super) fn take_back(&self, name: &str, rest: Option<Value>) -> bool {
        let mut book = self.book();
        book.taken_back += 1;
        match book.held.get_mut(name) {
            Some(held) => {
                held.gone = rest.is_none();
                held.resource = rest;
                true
            }
            None => false,
        }
    }

    /// Whether there is such a thing.
    pub(super) fn has(&self, name: &str) -> bool {
        self.book().held.get(name).is_some_and(|held| !held.gone)
    }

    /// The version that would follow the one that is there.
    pub(super) fn next_version(&self, name: &str) -> u32 {
        self.book().held.get(name).and_then(|held| held.versions.iter().max()).map_or(1, |version| version + 1)
    }

    pub(super) fn violation(&self, name: &str, wrong: &[&str]) {
        let mut book = self.book();
        book.violation_count += 1;
        if book.violations.len() < MAX_VIOLATIONS {
            book.violations.push(json!({"resource": name, "wrong": wrong}));
        }
    }

    pub(super) fn asked(&self) {
        self.book().asked += 1;
    }

    /// Notes the trace that a request is of.
    pub(super) fn traced(&self, parent: &str) {
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<&str> = parent.split('-').collect();
        let ([_, id, _, _], [2, 32, 16, 2]) =
            (&parts[..], &parts.iter().map(|part| part.len()).collect::<Vec<_>>()[..])
        else {
            return self.violation("request", &["traceparent is of another form"]);
        };
        if !parts.iter().all(|part| is_hex(part)) || id.bytes().all(|byte| byte == b'0') {
            return self.violation("request", &["traceparent is of another form"]);
        }
        let mut book = self.book();
        if book.traces.len() < MAX_TRACES || book.traces.contains_key(*id) {
            *book.traces.entry((*id).to_owned()).or_default() += 1;
        }
    }

    pub(super) fn unauthorized(&self) {
        self.book().unauthorized += 1;
    }

    /// The latest version of every Observation of a patient.
    pub(super) fn observations(&self, patient: &str) -> Vec<Value> {
        let reference = format!("Patient/{patient}");
        let book = self.book();
        let of_patient = |resource: &&Value| {
            resource["resourceType"] == "Observation" && resource["subject"]["reference"] == reference.as_str()
        };
        book.held.values().filter_map(|held| held.resource.as_ref()).filter(of_patient).cloned().collect()
    }

    /// The latest content of all that arrived since the start.
    pub(super) fn held(&self) -> Value {
        let book = self.book();
        book.held.values().filter_map(|held| held.resource.clone()).collect()
    }

    pub(super) fn statement(&self) -> Value {
        let book = self.book();
        let versions: BTreeMap<_, _> = book.held.iter().map(|(name, held)| (name, &held.versions)).collect();
        json!({
            "received": book.received,
            "resources": book.held.len(),
            "duplicates": book.duplicates,
            "outOfOrder": book.out_of_order,
            "unauthorized": book.unauthorized,
            "takenBack": book.taken_back,
            "asked": book.asked,
            "traces": book.traces,
            "violationCount": book.violation_count,
            "violations": book.violations,
            "versions": versions,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn record(&mut self, checked: Checked) -> io::Result<bool> {
        let name = format!("{}/{}", checked.kind, checked.id);
        let held = self.held.entry(name.clone()).or_default();
        let is_new = held.versions.is_empty();
        let duplicate = held.versions.contains(&checked.version);
        if let Some(log) = &mut self.log {
            let line = json!({"resource": name, "version": checked.version, "duplicate": duplicate});
            log.write_all(format!("{line}\n").as_bytes())?;
            log.flush()?;
        }
        self.received += 1;
        let newest = held.versions.iter().all(|version| *version <= checked.version);
        if duplicate {
            self.duplicates += 1;
        } else {
            self.out_of_order += u64::from(!newest);
            held.versions.push(checked.version);
        }
        let changed = duplicate && newest && held.resource.as_ref().is_some_and(|known| *known != checked.resource);
        if newest {
            held.gone = false;
            held.resource = Some(checked.resource);
        }
        if changed {
            self.violation_count += 1;
            self.violations.push(json!({"resource": name, "wrong": ["the same version arrived with other content"]}));
        }
        Ok(is_new)
    }
}
