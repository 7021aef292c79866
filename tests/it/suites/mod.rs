//! Third-party suites, run as they are: what the validator says against what somebody else said before us.
//!
//! The suites lie outside the repository, in `MHEALTH_SUITES` or beside the checkout; their absence is a failure.
//! What is not decided as it should be stands in a committed list under `known`, which may only shrink: an entry
//! that is right again fails the test as well. `MHEALTH_BLESS=1` writes the lists anew, `MHEALTH_SUITE_ONLY=text`
//! runs the checks whose id holds the text and prints both sides instead of judging. Each full run is written to
//! `target/suites`.

mod bulk;
mod examples;
mod gematik;
mod ipa;
mod national;
mod patch;
mod round_trip;
mod validator_r4;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::outcome::{Issue, Severity};
use mhealth_gateway::fhir::tree::Document;
use mhealth_gateway::fhir::validate::{Format, Options, Validator};

/// What is made once for each key, whoever asks first.
type Memo<K, V> = Mutex<HashMap<K, Arc<OnceLock<V>>>>;

#[expect(clippy::disallowed_methods, reason = "what the test machine is asked to do is its own matter")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A folder that stands beside the checkout unless a variable names another place.
fn beside(variable: &str, name: &str) -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    setting(variable).map_or_else(default, PathBuf::from)
}

pub fn suite(name: &str) -> PathBuf {
    let folder = beside("MHEALTH_SUITES", "suites").join(name);
    assert!(folder.is_dir(), "{} is missing; set MHEALTH_SUITES", folder.display());
    folder
}

fn packages() -> PathBuf {
    beside("MHEALTH_PACKAGES", "packages")
}

/// A package, read once.
fn package(path: &Path) -> Arc<Package> {
    static READ: LazyLock<Memo<PathBuf, Arc<Package>>> = LazyLock::new(Mutex::default);
    let slot = Arc::clone(READ.lock().unwrap().entry(path.to_owned()).or_default());
    let made = slot.get_or_init(|| {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Arc::new(Package::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    });
    Arc::clone(made)
}

/// The checks that were asked for by hand.
fn only() -> Option<String> {
    setting("MHEALTH_SUITE_ONLY")
}

/// The validator of the standard alone.
fn core() -> Arc<Validator> {
    static CORE: LazyLock<Arc<Validator>> = LazyLock::new(|| Arc::new(Validator::new(Registry::core())));
    Arc::clone(&CORE)
}

/// Reads a resource in JSON or XML.
fn read(bytes: &[u8]) -> Result<Document, String> {
    let reading = core().read(bytes, Format::of(bytes));
    reading.document.ok_or_else(|| reading.issues.iter().map(line).collect())
}

/// Everything that is found in a file as far as the reference validator looks for it, what keeps it from being read
/// included. Whether a measurement is plausible is our own matter.
fn issues(validator: &Validator, bytes: &[u8], options: &Options<'_>) -> Vec<Issue> {
    let mut found = validator.check_text(bytes, options).issues;
    found.retain(|issue| !issue.id.code().starts_with("measure-"));
    found
}

fn errors(issues: &[Issue]) -> usize {
    issues.iter().filter(|issue| issue.severity <= Severity::Error).count()
}

/// One of our issues on one line.
fn line(issue: &Issue) -> String {
    format!("{} {} {} [{}] {}", issue.severity.code(), issue.expression, issue.position.line, issue.id, issue.text)
}

/// Every file below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let listing = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in listing {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Maps over a list on every core, keeping its order.
fn spread<I: Sync, O: Send>(items: &[I], work: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((at, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
                {
                    let made = work(item);
                    done.lock().unwrap().push((at, made));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, made)| made).collect()
}

fn share(part: usize, whole: usize) -> String {
    format!("{part}/{whole} = {:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Holds a share against the least that it must reach, in percent.
fn at_least(what: &str, percent: f64, part: usize, whole: usize) {
    assert!(100.0 * part as f64 >= percent * whole as f64, "{what}: {}, not {percent} %", share(part, whole));
}

/// Keeps a full run for whoever wants to look closer.
fn keep(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/suites");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

/// Holds what failed against the committed list.
fn known(name: &str, failed: &BTreeSet<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/suites/known").join(name);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let id = |line: &str| line.split("  # ").next().unwrap_or_default().to_owned();
    if setting("MHEALTH_BLESS").is_some() {
        let before = read();
        let line = |failed: &String| before.lines().find(|line| id(line) == *failed).unwrap_or(failed).to_owned();
        let text: String = failed.iter().map(|failed| format!("{}\n", line(failed))).collect();
        std::fs::write(&path, text).unwrap();
    }
    let listed: BTreeSet<String> = read().lines().map(id).collect();
    let fresh: Vec<&String> = failed.difference(&listed).collect();
    let stale: Vec<&String> = listed.difference(failed).collect();
    assert!(fresh.is_empty(), "{name}: these were decided rightly before: {fresh:#?}");
    assert!(stale.is_empty(), "{name}: these are right now; take them off the list: {stale:#?}");
}
