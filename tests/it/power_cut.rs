//! The power goes, at any moment: whatever the disk may then hold, everything that was acknowledged is there.
//!
//! A gateway runs under strace, which writes down each write, sync, cut and new file of its database with the bytes. From
//! that come the images that a power cut could leave: what was synced is there; of what was not, any part, down to single
//! sectors; a new file is there for certain only when its folder was synced. Each image is opened as a restart would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mhealth_gateway::store::{Place, Store};
use tokio::process::Command;

use crate::fixture::{APP_SCOPES, PROGRAM, Process, Site, heart_rate};
use crate::rights;

const DATABASE: &str = "gateway.sqlite3";
const LOG: &str = "gateway.sqlite3-wal";
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
const IMAGES: usize = 90;
const CALLS: &str = "openat,pwrite64,pwritev,pwritev2,write,writev,fallocate,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,renameat,renameat2";

/// What was done to a file, or to the folder.
#[derive(Debug)]
enum Deed {
    Made,
    Gone,
    Written { at: usize, bytes: Vec<u8> },
    Cut(usize),
    Synced,
}

/// A deed between two lines of what strace wrote.
#[derive(Debug)]
struct Event {
    begun: usize,
    done: usize,
    /// Microseconds, of the beginning.
    moment: i64,
    file: String,
    deed: Deed,
}

/// Bytes as `-xx` writes them.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
    text.as_bytes().as_chunks::<4>().0.iter().map(|[_, _, high, low]| digit(*high) << 4 | digit(*low)).collect()
}

fn between(text: &str, start: char, end: char) -> Option<&str> {
    text.split_once(start)?.1.split_once(end).map(|(inner, _)| inner)
}

/// What a call did, if it succeeded, and to what.
fn deed(call: &str) -> Option<(PathBuf, Deed)> {
    let (call, result) = call.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let (name, arguments) = call.split_once('(')?;
    let path = |hex: &str| PathBuf::from(String::from_utf8(decoded(hex)).unwrap());
    let open = || path(between(arguments, '<', '>').unwrap());
    let named = || path(between(arguments, '"', '"').unwrap());
    let last = || arguments.trim_end_matches(')').rsplit(", ").next().unwrap().parse::<usize>().unwrap();
    Some(match name {
        "pwrite64" => {
            let mut bytes = decoded(between(arguments, '"', '"').unwrap());
            bytes.truncate(result.parse().unwrap());
            (open(), Deed::Written { at: last(), bytes })
        }
        "fsync" | "fdatasync" => (open(), Deed::Synced),
        "ftruncate" => (open(), Deed::Cut(last())),
        "unlink" => (named(), Deed::Gone),
        "openat" if arguments.contains("O_CREAT") => (named(), Deed::Made),
        "openat" => return None,
        other => panic!("{other} is not understood"),
    })
}

/// The deeds in what strace wrote, and how many lines that are.
fn events(text: &str, folder: &Path) -> (Vec<Event>, usize) {
    let mut unfinished: BTreeMap<&str, (usize, i64, String)> = BTreeMap::new();
    let (mut events, mut lines) = (Vec::new(), 0);
    for (line, text) in text.lines().enumerate() {
        lines = line + 1;
        let Some((process, rest)) = text.split_once(' ') else { continue };
        let Some((moment, call)) = rest.trim_start().split_once(' ') else { continue };
        let moment: i64 = moment.replace('.', "").parse().unwrap();
        let (begun, moment, call) = if let Some(rest) = call.strip_prefix("<... ") {
            let Some((begun, moment, start)) = unfinished.remove(process) else { continue };
            (begun, moment, start + rest.split_once("resumed>").map_or("", |(_, rest)| rest))
        } else if let Some(start) = call.strip_suffix("<unfinished ...>") {
            unfinished.insert(process, (line, moment, start.trim_end().to_owned()));
            continue;
        } else {
            (line, moment, call.to_owned())
        };
        let Some((path, deed)) = deed(&call) else { continue };
        let file =
            if path == folder { String::new() } else { path.file_name().unwrap().to_string_lossy().into_owned() };
        events.push(Event { begun, done: line, moment, file, deed });
    }
    (events, lines)
}

/// A repeatable source of chance (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) % end as u64) as usize
    }
}

/// What a cut leaves of what was not synced.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Left {
    Nothing,
    Some,
    Everything,
    /// The disk only said that it synced. No store can stand that, and the test must see it.
    NothingEver,
}

/// What the disk may hold of a file when the power goes before a line; none where there is no such file.
fn image(
    events: &[Event],
    name: &str,
    before: Option<&Vec<u8>>,
    cut: usize,
    left: Left,
    dice: &mut Dice,
) -> Option<Vec<u8>> {
    let synced = |file: &str| {
        let syncs = events.iter().filter(|event| event.file == file && event.done < cut);
        let begun = syncs.filter(|event| matches!(event.deed, Deed::Synced)).map(|event| event.begun).max();
        if left == Left::NothingEver { 0 } else { begun.unwrap_or(0) }
    };
    let (of_file, of_folder) = (synced(name), synced(""));
    let mut content = before.cloned();
    for event in events.iter().filter(|event| event.file == name && event.begun < cut) {
        let until = if matches!(event.deed, Deed::Made | Deed::Gone) { of_folder } else { of_file };
        // Of what is done as the power goes nobody knows either.
        let certain = event.done < until;
        let stays = certain
            || match left {
                Left::Nothing | Left::NothingEver => false,
                Left::Some => dice.below(2) == 0,
                Left::Everything => true,
            };
        if !stays {
            continue;
        }
        match &event.deed {
            Deed::Made => drop(content.get_or_insert_default()),
            Deed::Gone => content = None,
            Deed::Cut(length) => content.get_or_insert_default().resize(*length, 0),
            Deed::Synced => {}
            Deed::Written { at, bytes } => {
                let content = content.get_or_insert_default();
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                let torn = !certain && left == Left::Some && dice.below(2) == 0;
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if !torn || dice.below(2) == 0 {
                        let from = at + number * SECTOR;
                        content[from..from + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }
    // A file whose name was not kept has no content either.
    let is_named = before.is_some()
        || events.iter().any(|event| event.file == name && matches!(event.deed, Deed::Made) && event.done < of_folder);
    content.filter(|_| is_named || matches!(left, Left::Some | Left::Everything))
}

/// What was acknowledged, and when.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(i64, Word)>>>);

#[derive(Clone)]
enum Word {
    Kept(String),
    Erased(Vec<String>),
}

impl Told {
    fn note(&self, word: Word) {
        self.0.lock().unwrap().push((jiff::Timestamp::now().as_microsecond(), word));
    }
}

/// Whether processes may be traced here. Where there is no tracer at all, `tests/setup` was not run.
async fn usable() -> bool {
    let arguments = ["-f", "-D", "--seccomp-bpf", "-y", "-e", "trace=openat", "-o", "/dev/null", "true"];
    let traced = Command::new("strace").args(arguments).output().await;
    traced.expect("strace is missing: run tests/setup").status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_goes() {
    if !usable().await {
        println!("processes may not be traced here: nothing is known of power cuts");
        return;
    }
    let site = Site::new("").await;
    if site.place().server.is_some() {
        println!("a server answers for its own files");
        return;
    }
    // A start and an end that are not looked at, so that the files are there.
    let process = site.serve().await;
    let scopes = APP_SCOPES.replace("Patient.crus", "Patient.cruds");
    let mut app = site.register_for("app", &scopes, &["TREAT", "PATRQT"]).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    process.terminate().await;
    process.ended().await;
    let data = site.data().canonicalize().unwrap();
    let before: BTreeMap<&str, Option<Vec<u8>>> =
        [DATABASE, LOG].into_iter().map(|name| (name, std::fs::read(data.join(name)).ok())).collect();

    let told = Told::default();
    let trace = site.directory.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-D", "--seccomp-bpf", "-y", "-ttt", "-xx", "-s", "16777216", "-e", &format!("trace={CALLS}")]);
    for path in [data.clone(), data.join(DATABASE), data.join(LOG)] {
        command.arg("-P").arg(path);
    }
    command.arg("-o").arg(&trace).args([PROGRAM, "serve", "--config", &site.config()]);
    let mut process = Process::start(&mut command);
    assert!(process.says("serving").await, "{}", process.said());
    app.sign_in().await;
    let pushing: Vec<_> = (0..3)
        .map(|number| {
            let (app, patient, told) = (app.clone(), patient.clone(), told.clone());
            tokio::spawn(async move {
                for index in 0..25 {
                    let reading = heart_rate(&patient, &format!("{number}-{index}"), 60);
                    let answer = app.post("/Observation", &reading).await;
                    assert_eq!(answer.status, 201, "{}", answer.text());
                    told.note(Word::Kept(answer.id()));
                }
            })
        })
        .collect();
    // Meanwhile somebody goes, which empties the log into the file.
    let going = app.consenting_person().await;
    let mut hers = Vec::new();
    for index in 0..3 {
        hers.push(app.post("/Observation", &heart_rate(&going, &format!("going-{index}"), 60)).await.id());
    }
    let erased = rights::asks(&app, "POST", &format!("/Patient/{going}/$erase")).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    told.note(Word::Erased(hers));
    for push in pushing {
        push.await.unwrap();
    }
    process.terminate().await;
    assert_eq!(process.ended().await.0, Some(0));

    let text = std::fs::read_to_string(&trace).unwrap();
    let (events, lines) = events(&text, &data);
    drop(text);
    let told = told.0.lock().unwrap().clone();
    let syncs: Vec<&Event> = events.iter().filter(|event| matches!(event.deed, Deed::Synced)).collect();
    assert!(syncs.len() > 20, "it was looked at: {} events", events.len());
    let mut dice = Dice(42);
    let mut lied = 0;
    for number in 0..IMAGES {
        // Anywhere, or at the very moment that something is synced or just was.
        let sync = syncs[dice.below(syncs.len())];
        let cut = [dice.below(lines), sync.begun, sync.done + 1][number % 3];
        let left = [Left::Nothing, Left::Some, Left::Some, Left::Everything, Left::NothingEver][number % 5];
        let moment = events.iter().filter(|event| event.begun <= cut).map(|event| event.moment).max().unwrap_or(0);
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(data.join("gateway.key"), directory.path().join("gateway.key")).unwrap();
        for (name, before) in &before {
            if let Some(content) = image(&events, name, before.as_ref(), cut, left, &mut dice) {
                std::fs::write(directory.path().join(name), content).unwrap();
            }
        }
        let known = told.iter().filter(|(at, _)| *at < moment).map(|(_, word)| word);
        let lost = lost(directory.path(), known).await;
        if left == Left::NothingEver {
            lied += lost.len();
        } else {
            assert_eq!(lost, Vec::<String>::new(), "{number}: before line {cut} of {lines}, {left:?}");
        }
    }
    assert!(lied > 0, "what no store can stand is seen");
}

/// What is not as it was acknowledged when a store is opened again.
async fn lost(directory: &Path, told: impl Iterator<Item = &Word>) -> Vec<String> {
    let mut lost = Vec::new();
    let store = match Store::open(&Place::new(directory, None)) {
        Ok(store) => store,
        Err(error) => return vec![format!("it does not open: {error:?}")],
    };
    for word in told {
        match word {
            Word::Kept(id) => match store.read("Observation", id).await {
                Ok(Some(_)) => {}
                Ok(None) => lost.push(format!("{id} is gone")),
                Err(error) => lost.push(format!("{id} cannot be read: {error:?}")),
            },
            Word::Erased(ids) => {
                for id in ids {
                    if !matches!(store.read("Observation", id).await, Ok(None)) {
                        lost.push(format!("{id} is there again"));
                    }
                }
            }
        }
    }
    match (store.log_changed().await, store.log_missing(i64::MAX).await) {
        (Ok((_, changed)), Ok(missing)) if changed.is_empty() && missing.is_empty() => {}
        other => lost.push(format!("the audit and its log differ: {other:?}")),
    }
    store.close().await;
    let file = rusqlite::Connection::open(directory.join(DATABASE)).unwrap();
    let whole: Result<String, _> = file.query_row("PRAGMA integrity_check", [], |row| row.get(0));
    if whole.as_deref() != Ok("ok") {
        lost.push(format!("the file is not whole: {whole:?}"));
    }
    lost
}
