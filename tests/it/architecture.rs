//! The floors of ARCHITECTURE.md, held by reading the sources.
//!
//! A file uses only lower floors, folders of one floor do not know each other, each third-party crate has its owners,
//! and what waits for I/O does so only where I/O is at home. An exception stands in a table here, with its reason,
//! and one that nothing needs any more fails like a breach.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders by floor, lowest first. Those of one floor are blind to each other.
const FLOORS: &[&[&str]] = &[
    &["telemetry", "tlog"],
    &["fhir"],
    &["policy", "devices", "national"],
    &["store", "peers", "guide"],
    &["exchange", "conformance"],
    &["server"],
    &["config"],
    &["commands"],
    &["main"],
];

/// The order inside a folder, in the same way. A folder that is not named in its list knows all of them.
const INSIDE: &[(&str, &[&[&str]])] = &[
    (
        "fhir",
        &[
            &["ours"],
            &["outcome"],
            &["tree"],
            &["definitions"],
            &["terminology"],
            &["fhirpath"],
            &["patch"],
            &["validate", "search"],
        ],
    ),
    // Delivery, audit and pseudonym stand beside the decisions: they know none of them, and none of them knows these.
    ("policy", &[&["access", "delivery", "audit", "pseudonym"], &["consent", "subscription"], &["routing"]]),
    ("exchange", &[&["push", "pull", "deliver"]]),
];

/// Lower floors that a folder knows nothing of all the same.
const BLIND: &[(&str, &str)] = &[
    ("store", "policy"),
    ("fhir::fhirpath", "fhir::definitions"),
    ("fhir::search", "fhir::validate"),
    ("policy::delivery", "policy::consent"),
    ("policy::audit", "policy::access"),
    ("server", "store"),
    ("server", "peers"),
    ("conformance", "policy"),
];

/// Uses against the floors that stay, as (file, module, reason).
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Owners of each third-party crate: folders or files, without `src/`.
const OWNERS: &[(&str, &[&str])] = &[
    ("anyhow", &["commands"]),
    ("aws_lc_rs", &["tlog", "store/seal", "server/socket", "peers/fhir_rest", "conformance/platform"]),
    (
        "base64",
        &[
            "tlog",
            "policy",
            "peers",
            "exchange/pull",
            "exchange/rights",
            "conformance/platform",
            "commands/keys",
            "server/socket",
        ],
    ),
    ("blake3", &["devices", "national", "fhir/tree", "store", "peers", "exchange", "server/handlers", "guide"]),
    ("bytes", &["store/sql"]),
    ("csv", &["national"]),
    ("clap", &["commands", "main"]),
    (
        "flate2",
        &[
            "fhir/definitions",
            "devices/unpack",
            "devices/open_mhealth",
            "devices/unpack",
            "guide",
            "commands/convert",
            "commands/definitions",
            "exchange/push/raw",
            "server/flow",
            "server/limits",
            "server/listen",
        ],
    ),
    ("futures_util", &["server/socket"]),
    ("getrandom", &["store", "peers", "conformance/platform", "commands"]),
    ("http_body_util", &["server", "conformance/platform"]),
    ("hyper", &["server", "conformance/platform"]),
    ("hyper_util", &["server", "conformance/platform"]),
    (
        "jiff",
        &["fhir", "devices", "policy", "peers", "store/marks", "server/handlers", "conformance/platform", "commands"],
    ),
    ("jsonschema", &["devices/open_mhealth"]),
    ("jsonwebtoken", &["policy/access", "peers", "conformance/platform", "commands"]),
    ("memchr", &["devices/apple_health", "store/marks"]),
    ("minijinja", &["guide", "server/handlers/person"]),
    ("octofhir_ucum", &["fhir/terminology"]),
    ("prometheus_client", &["telemetry"]),
    ("pulldown_cmark", &["guide"]),
    ("rcgen", &["server/tls", "commands/keys"]),
    ("regex", &["fhir"]),
    ("reqwest", &["peers", "commands"]),
    ("rusqlite", &["store"]),
    ("rust_decimal", &["fhir", "devices", "national", "guide"]),
    ("rustix", &["store/disk"]),
    ("rustls", &["server", "conformance/platform", "store/sql"]),
    ("serde", &[""]),
    ("serde_json", &[""]),
    ("smallvec", &["devices/mapping", "fhir/tree", "fhir/validate"]),
    ("tar", &["fhir/definitions", "guide"]),
    ("tokio", &["store", "peers", "exchange", "conformance", "server", "commands"]),
    ("tokio_postgres", &["store/sql"]),
    ("tokio_postgres_rustls", &["store/sql"]),
    ("tokio_rustls", &["server", "conformance/platform"]),
    ("tokio_tungstenite", &["server/socket"]),
    ("toml", &["national", "config"]),
    ("tracing", &["store", "peers", "exchange", "conformance", "server", "commands"]),
    ("tracing_subscriber", &["commands"]),
    ("url", &["peers", "exchange", "conformance", "server", "config", "commands"]),
    ("zip", &["commands/convert"]),
    ("zstd", &["store"]),
];

/// Crates that tests alone use beyond their owners, as (file or folder, crate, reason).
const FOREIGN: &[(&str, &str, &str)] = &[
    ("commands/packages/cache", "flate2", "hostile archives are made for the test"),
    ("commands/packages/cache", "tar", "hostile archives are made for the test"),
    ("conformance/platform/tests", "reqwest", "the platform is tried as a client would"),
    ("conformance/platform/tests", "rcgen", "the platform shows a certificate made for the test"),
    ("conformance/platform/tests", "toml", "the platform is reached through a destination's own configuration"),
    ("peers/fhir_rest/config", "toml", "a configuration is read as the operator writes it"),
    ("peers/fhir_rest/tests", "toml", "credentials are read as the operator writes them"),
    ("peers/fhir_rest/tests", "rcgen", "the far side shows a certificate made for the test"),
    ("peers/fhir_rest/tests", "rustls", "the far side speaks TLS"),
    ("peers/fhir_rest/tests", "tokio_rustls", "the far side speaks TLS"),
];

/// Where code may wait.
const ASYNC: &[&str] = &["store", "peers", "exchange", "server", "conformance", "commands"];

/// Names that say nothing of what is inside.
const DRAWERS: &[&str] = &[
    "util", "utils", "common", "helper", "helpers", "misc", "types", "error", "errors", "prelude", "manager", "service",
];

struct Source {
    /// Relative to `src`, without the ending.
    file: String,
    /// The module, as path segments under the crate's root.
    module: Vec<String>,
    text: String,
    /// Without comments and the contents of texts, so that only code is read.
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let (mut found, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(source(&path));
            }
        }
    }
    found.sort_by(|one, other| one.file.cmp(&other.file));
    assert!(found.len() > 100, "the sources were not found");
    found
}

fn source(path: &Path) -> Source {
    let file = path.strip_prefix(root()).unwrap().with_extension("").to_string_lossy().into_owned();
    let mut module: Vec<String> = file.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    let text = fs::read_to_string(path).unwrap();
    let code = code(&text);
    Source { file, module, text, code }
}

/// Blanks comments and texts; line breaks stay.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            rest.windows(2).position(|pair| pair == b"*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw(bytes, at) {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let from = hashes + 2;
            rest[from..]
                .windows(close.len())
                .position(|end| end == close)
                .map_or(rest.len(), |end| from + end + close.len())
        } else if rest[0] == b'"' {
            quoted(rest)
        } else if rest.starts_with(b"'\\") {
            rest[2..].iter().skip(1).position(|byte| *byte == b'\'').map_or(1, |end| end + 4)
        } else if rest.len() > 2 && rest[0] == b'\'' && rest[2] == b'\'' {
            3
        } else {
            at += 1;
            continue;
        };
        for byte in &mut out[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Number of hashes, where a raw text begins.
fn raw(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes[at] != b'r'
        || (at > 0 && (bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'b' || bytes[at - 1] == b'_'))
    {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Every path in the code that begins with `crate` or `super`, from the crate's root, with the line it stands on.
fn paths(source: &Source) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for start in ["crate", "super"] {
        for (at, _) in source.code.match_indices(&format!("{start}::")) {
            let before = source.code[..at].chars().next_back();
            // `crate::` after a word is part of it; `super::` after `::` belongs to a chain that is read as a whole.
            if before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':' || before == '$')
            {
                continue;
            }
            let mut base = if start == "crate" { Vec::new() } else { module_at(source, at) };
            let mut rest = &source.code[at..];
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            let rest = rest.strip_prefix("crate::").unwrap_or(rest);
            let line = source.code[..at].matches('\n').count() + 1;
            for path in tails(rest) {
                found.push((line, [base.clone(), path].concat()));
            }
        }
    }
    found
}

/// The module that a place in a file belongs to: inside a module written in the file, it is one deeper.
fn module_at(source: &Source, at: usize) -> Vec<String> {
    let mut module = source.module.clone();
    let (mut depth, mut opened) = (0_usize, Vec::new());
    for (index, character) in source.code[..at].char_indices() {
        match character {
            '{' => {
                let head = source.code[..index].rsplit([';', '}', '{', '\n', ']']).next().unwrap_or_default().trim();
                if let Some(name) = head.trim_start_matches("pub ").strip_prefix("mod ") {
                    opened.push((depth, name.trim().to_owned()));
                }
                depth += 1;
            }
            '}' => {
                depth = depth.saturating_sub(1);
                opened.retain(|(level, _)| *level < depth);
            }
            _ => {}
        }
    }
    module.extend(opened.into_iter().map(|(_, name)| name));
    module
}

/// `a::b::{c, d::e}` as its single paths.
fn tails(text: &str) -> Vec<Vec<String>> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if !name.is_empty() {
        let Some(rest) = text[name.len()..].strip_prefix("::") else { return vec![vec![name]] };
        return tails(rest).into_iter().map(|tail| [vec![name.clone()], tail].concat()).collect();
    }
    let Some(group) = text.strip_prefix('{') else { return vec![Vec::new()] };
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                found.extend(tails(group[from..index].trim()));
                from = index + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

fn floor(floors: &[&[&str]], name: &str) -> Option<usize> {
    floors.iter().position(|floor| floor.contains(&name))
}

/// Why a module may not use another, if so.
fn breach(from: &[String], to: &[String]) -> Option<String> {
    let (first, target) = (from.first()?, to.first()?);
    if first != target {
        let (Some(mine), Some(theirs)) = (floor(FLOORS, first), floor(FLOORS, target)) else { return None };
        if theirs > mine {
            return Some(format!("{target} is a higher floor than {first}"));
        }
        if theirs == mine {
            return Some(format!("{first} and {target} are blind to each other"));
        }
    } else if let (Some(mine), Some(theirs)) = (from.get(1), to.get(1))
        && let Some((_, inside)) = INSIDE.iter().find(|(folder, _)| folder == first)
        && mine != theirs
        && let (Some(here), Some(there)) = (floor(inside, mine), floor(inside, theirs))
        && there >= here
    {
        return Some(format!("inside {first}, {mine} is not above {theirs}"));
    }
    let begins = |path: &[String], with: &str| {
        let mut path = path.iter();
        with.split("::").all(|segment| path.next().is_some_and(|own| own == segment))
    };
    BLIND
        .iter()
        .find(|(mine, theirs)| begins(from, mine) && begins(to, theirs))
        .map(|(mine, theirs)| format!("{mine} knows nothing of {theirs}"))
}

#[test]
fn a_file_uses_only_lower_floors() {
    let mut breaches = Vec::new();
    let mut needed = BTreeSet::new();
    for source in &sources() {
        for (line, path) in paths(source) {
            let Some(why) = breach(&source.module, &path) else { continue };
            let path = path.join("::");
            match EXCEPTIONS.iter().find(|(file, to, _)| *file == source.file && path.starts_with(to)) {
                Some(exception) => drop(needed.insert(exception.0)),
                None => breaches.push(format!("src/{}.rs:{line} uses {path}: {why}", source.file)),
            }
        }
    }
    breaches.extend(
        EXCEPTIONS
            .iter()
            .filter(|(file, ..)| !needed.contains(file))
            .map(|(file, to, _)| format!("{file} no longer needs its exception for {to}")),
    );
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_folder_has_its_floor() {
    for source in &sources() {
        if let Some(first) = source.module.first() {
            assert!(floor(FLOORS, first).is_some(), "src/{}.rs stands on no floor", source.file);
        }
        if let [first, second, ..] = source.module.as_slice()
            && let Some((_, inside)) = INSIDE.iter().find(|(folder, _)| folder == first && *folder != "exchange")
        {
            assert!(floor(inside, second).is_some(), "{first} has no place for {second} in its order");
        }
    }
}

fn within(file: &str, place: &str) -> bool {
    place.is_empty() || file == place || file.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether the code names a crate: `name::` that no path leads to.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let begins = before.is_none_or(|before| !(before.is_alphanumeric() || before == '_' || before == ':'));
        let used = code[..at].trim_end().ends_with("use") && after.trim_start().starts_with([';', ' ']);
        begins && (after.starts_with("::") || used)
    })
}

#[test]
fn each_crate_stays_with_its_owners() {
    let sources = sources();
    let (mut breaches, mut foreign) = (Vec::new(), BTreeSet::new());
    for (name, owners) in OWNERS {
        for source in sources.iter().filter(|source| names(&source.code, name)) {
            if owners.iter().any(|owner| within(&source.file, owner)) {
                continue;
            }
            match FOREIGN.iter().find(|(place, krate, _)| krate == name && within(&source.file, place)) {
                Some((place, ..)) => drop(foreign.insert((*place, *name))),
                None => breaches.push(format!("src/{}.rs names {name}, which belongs to {owners:?}", source.file)),
            }
        }
    }
    breaches.extend(
        FOREIGN
            .iter()
            .filter(|(place, name, _)| !foreign.contains(&(*place, *name)))
            .map(|(place, name, _)| format!("{place} no longer needs its exception for {name}")),
    );
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_dependency_has_an_owner_and_a_use() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let listed: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect();
    let owned: BTreeSet<String> = OWNERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed, owned, "Cargo.toml and the table of owners");
    let sources = sources();
    let unused: Vec<&String> =
        listed.iter().filter(|name| !sources.iter().any(|source| names(&source.code, name))).collect();
    assert!(unused.is_empty(), "dependencies that nothing uses: {unused:?}");
}

#[test]
fn the_bundled_sqlite_is_no_broken_one() {
    // 3.51.3 mended a corruption of the write-ahead log; deny.toml can only hold the version of the binding.
    assert!(rusqlite::version_number() >= 3_051_003, "SQLite {}", rusqlite::version());
}

#[test]
fn only_the_ring_waits() {
    let mut breaches = Vec::new();
    for source in &sources() {
        let waits = source
            .code
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .any(|word| word == "async" || word == "await");
        if waits && !ASYNC.iter().any(|folder| within(&source.file, folder)) {
            breaches.push(format!("src/{}.rs is async", source.file));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn modules_say_what_they_are() {
    let crates: BTreeSet<&str> = OWNERS.iter().map(|(name, _)| *name).collect();
    let mut breaches = Vec::new();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let sources = sources();
    for source in &sources {
        if !source.text.starts_with("//!") {
            breaches.push(format!("src/{}.rs does not begin with //!", source.file));
        }
        let Some(name) = source.module.last() else { continue };
        *by_name.entry(name).or_default() += 1;
        if DRAWERS.contains(&name.as_str()) {
            breaches.push(format!("src/{}.rs is a drawer, not a module", source.file));
        }
        if crates.contains(name.as_str()) {
            breaches.push(format!("src/{}.rs is named like a crate", source.file));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_reader_of_sources_reads() {
    let source = Source {
        file: "fhir/tree/json".to_owned(),
        module: ["fhir", "tree", "json"].map(str::to_owned).to_vec(),
        text: String::new(),
        code: code(
            "use crate::fhir::{outcome::{Id, Issue}, tree}; // crate::server\nuse super::super::validate;\n\
             const A: &str = \"crate::store\"; const B: &str = r#\"crate::\"peers\"#; const C: char = '\"';\n\
             fn a() { super::element::b() }\nmod tests { use super::super::xml; use crate::exchange; }",
        ),
    };
    let found: Vec<String> =
        paths(&source).into_iter().map(|(line, path)| format!("{line} {}", path.join("::"))).collect();
    let expected = [
        "1 fhir::outcome::Id",
        "1 fhir::outcome::Issue",
        "1 fhir::tree",
        "5 exchange",
        "2 fhir::validate",
        "4 fhir::tree::element::b",
        "5 fhir::tree::xml",
    ];
    assert_eq!(found, expected);
    let breaches: Vec<bool> = paths(&source).iter().map(|(_, path)| breach(&source.module, path).is_some()).collect();
    assert_eq!(breaches, [false, false, false, true, true, false, false]);
}
