//! `pack`: for whoever writes a country pack: draft one, check it, try it with the destination's own examples, sign it.

mod check;
mod new;
mod try_out;
mod vouch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value as Json;

use super::assemble;
use crate::fhir::definitions::Registry;
use crate::fhir::validate::{Format, Validator};
use crate::national::{Mistake, Pack};

/// A pack has mistakes, or does not do what its destination asks for.
const FOUND: u8 = 1;
/// The command could not do what was asked.
const COULD_NOT_RUN: u8 = 2;

#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Draft a pack: of a file of answers, of what the destination publishes, or by asking.
    New(new::Options),
    /// Say everything that is wrong with a pack, with file and line.
    Check(check::Options),
    /// Hold a pack against the destination's own examples and assertions.
    Test(try_out::Options),
    /// Make the key of somebody who publishes packs, and print its public half.
    Key(vouch::Key),
    /// Sign a pack: the signature lies in its folder.
    Sign(vouch::Sign),
    /// Say whether a pack is what a publisher signed.
    Verify(vouch::Verify),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Form {
    Text,
    Json,
}

pub(super) fn run(action: &Action) -> anyhow::Result<ExitCode> {
    let done = match action {
        Action::New(options) => new::run(options),
        Action::Check(options) => check::run(options),
        Action::Test(options) => try_out::run(options),
        Action::Key(options) => vouch::key(options),
        Action::Sign(options) => vouch::sign(options),
        Action::Verify(options) => vouch::verify(options),
    };
    // What was found and what could not be looked for are told apart.
    done.or_else(|error| {
        eprintln!("mhealth-gateway: {error:#}");
        Ok(ExitCode::from(COULD_NOT_RUN))
    })
}

/// The pack of a folder, or everything that is wrong with it.
fn compiled(folder: &Path) -> anyhow::Result<Result<Pack, Vec<Mistake>>> {
    Ok(Pack::compile(&files(folder)?))
}

fn files(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    assemble::files(folder).with_context(|| format!("reading {}", folder.display()))
}

fn told<'m>(folder: &Path, mistakes: impl IntoIterator<Item = &'m Mistake>) -> String {
    mistakes.into_iter().map(|mistake| format!("{}/{mistake}\n", folder.display())).collect()
}

/// What a destination publishes: the resources of a folder and of those within, JSON and XML, by their paths.
fn material(folder: &Path) -> anyhow::Result<Vec<(String, Json)>> {
    let validator = Validator::new(Registry::core());
    let mut paths = Vec::new();
    walk(folder, &mut paths).with_context(|| format!("reading {}", folder.display()))?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        // Examples may be wrong in what is not ours to judge; what cannot be read at all is none.
        let reading = validator.read(&bytes, Format::of(&bytes));
        let json = match reading.document {
            Some(document) => serde_json::from_str(&crate::fhir::tree::write::compact(&document, document.root())).ok(),
            None => serde_json::from_slice(&bytes).ok(),
        };
        // Passed over, it would look as if the destination had nothing to say.
        let json = json.with_context(|| format!("{} is no FHIR in JSON or XML", path.display()))?;
        found.push((name, json));
    }
    Ok(found)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, paths)?;
        } else if path.extension().is_some_and(|ending| ending == "json" || ending == "xml") {
            paths.push(path);
        }
    }
    Ok(())
}

pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Settings by name; of two with one name nobody knows which is meant.
pub(super) fn said(settings: &[(String, String)]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut said = BTreeMap::new();
    for (name, value) in settings {
        anyhow::ensure!(said.insert(name.clone(), value.clone()).is_none(), "settings.{name}: it is said twice");
    }
    Ok(said)
}
