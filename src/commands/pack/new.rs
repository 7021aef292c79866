//! `pack new`: a first version of a pack, with measurements to try it by and what of the guide it takes.
//!
//! A terminal is asked for what neither the file of answers nor the destination's own material says; where there is none,
//! what is usual holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

use super::{material, told};
use crate::national::draft::{self, Answers, Extra, Naming, Shape};
use crate::national::{Mistake, Pack, trial};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Folder that the pack is written to; it must not be there yet, or be empty.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// File of answers (TOML), as the manual describes it.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// What the destination publishes: CapabilityStatement, profiles of Observation, examples; JSON or XML.
    #[arg(long, value_name = "FOLDER")]
    material: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let folder = &options.folder;
    let is_free = fs::read_dir(folder).map_or(true, |mut listing| listing.next().is_none());
    ensure!(is_free, "{} is not empty", folder.display());
    let said = options.answers.as_deref().map(read).transpose()?;
    let said = said.as_ref().map(|(file, text)| (file.as_str(), text.as_str()));
    let given = said.map_or_else(|| Ok(Answers::default()), |(file, text)| Answers::read(file, text));
    let given = given.map_err(|mistakes| anyhow::anyhow!("{}", lines(&mistakes)))?;
    let (found, unmet) = options.material.as_deref().map(published).transpose()?.unwrap_or_default();
    let mut answers = given.or(found);
    if std::io::stdin().is_terminal() && options.answers.is_none() {
        answers = asked(answers, &mut std::io::stdin().lock(), &mut std::io::stderr())?;
    }
    let of_answers = |mistake: &Mistake| said.is_some_and(|(file, _)| mistake.file == file);
    let (own, others): (Vec<Mistake>, Vec<Mistake>) = draft::mistakes(&answers, said).into_iter().partition(of_answers);
    if !own.is_empty() || !others.is_empty() {
        let wrong = [lines(&own), told(folder, &others).trim_end().to_owned()];
        bail!("the answers make no pack:\n{}", wrong.join("\n").trim());
    }
    let Ok(files) = draft::draft(&answers) else { bail!("the draft is no pack") };
    let Ok(pack) = Pack::compile(&files) else { bail!("the draft is no pack") };
    write(folder, &pack, &files, &unmet)?;
    let all = trial::gaps(&pack);
    let count = |state| all.iter().filter(|gap| gap.state == state).count();
    println!(
        "{} is in {}: of {} measures {} are deliverable, {} within another, {} refused, {} have no place (GAPS.md).",
        pack.name(),
        folder.display(),
        all.len(),
        count(trial::State::Deliverable),
        count(trial::State::Within),
        count(trial::State::Refused),
        count(trial::State::NoPlace),
    );
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok((path.display().to_string(), text))
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What the material says, and what it asks for that no draft does by itself.
fn published(folder: &Path) -> anyhow::Result<(Answers, Vec<String>)> {
    let resources: Vec<_> = material(folder)?.into_iter().map(|(_, resource)| resource).collect();
    ensure!(resources.iter().any(draft::is_about_packs), "{} has no FHIR that a pack follows from", folder.display());
    Ok((draft::found(&resources), draft::unmet(&resources)))
}

/// The pack; beside its files, in a folder of their own that no pack is read from, measurements to try it by.
fn write(folder: &Path, pack: &Pack, files: &BTreeMap<String, String>, unmet: &[String]) -> anyhow::Result<()> {
    let tests = folder.join("tests");
    fs::create_dir_all(&tests).with_context(|| format!("making {}", tests.display()))?;
    let put = |path: PathBuf, text: &str| fs::write(&path, text).with_context(|| format!("writing {}", path.display()));
    for (name, text) in files {
        put(folder.join(name), text)?;
    }
    put(tests.join("measurements.json"), &format!("{:#}\n", draft::bundle(pack)))?;
    let mut page = trial::page(pack);
    if !unmet.is_empty() {
        page.push_str(&format!(
            "\n## What the material asks for and the draft does not do\n\n- {}\n",
            unmet.join("\n- ")
        ));
    }
    put(folder.join("GAPS.md"), &page)
}

/// Asks for what is not known yet. An empty answer takes what is usual.
fn asked(known: Answers, input: &mut impl BufRead, output: &mut impl Write) -> anyhow::Result<Answers> {
    let usual = Answers::usual();
    let mut answers = known;
    let mut ask = |what: &str, default: &str, good: fn(&str) -> bool| -> anyhow::Result<String> {
        loop {
            write!(output, "{what} [{default}]: ")?;
            output.flush()?;
            let mut line = String::new();
            let ended = input.read_line(&mut line)? == 0;
            let line = line.trim();
            if line.is_empty() || ended {
                return Ok(default.to_owned());
            }
            if good(line) {
                return Ok(line.to_owned());
            }
            writeln!(output, "That is not one of them.")?;
        }
    };
    let anything: fn(&str) -> bool = |_| true;
    for (slot, what, default) in [
        (&mut answers.id, "Id of the pack (a-z, 0-9, -)", &usual.id),
        (&mut answers.title, "What people call the destination", &usual.title),
        (&mut answers.country, "Country (ISO 3166-1, or EU)", &usual.country),
        (&mut answers.country_name, "Name of the country", &usual.country_name),
        (&mut answers.source, "The specification that it follows", &usual.source),
        (&mut answers.path, "Path below its address", &usual.path),
    ] {
        if slot.is_none() {
            *slot = Some(ask(what, default.as_deref().unwrap_or_default(), anything)?);
        }
    }
    if answers.fhir.is_none() {
        let good: fn(&str) -> bool = |line| ["3.0.2", "4.0.1", "5.0.0"].contains(&line);
        answers.fhir = Some(ask("Release of FHIR (3.0.2, 4.0.1, 5.0.0)", "4.0.1", good)?);
    }
    if answers.request.is_none() {
        let what = "What carries measurements (single, transaction, batch, collection)";
        answers.request = shape(&ask(what, "transaction", |line| shape(line).is_some())?);
    }
    if answers.person.is_none() {
        let good: fn(&str) -> bool = |line| naming(line).is_some();
        answers.person = naming(&ask("How persons are named (reference, identifier)", "reference", good)?);
    }
    if answers.elements.is_none() {
        let what = "What each measurement carries (identifier, issued, performer, device, narrative)";
        let line = ask(what, "identifier issued performer", |line| extras(line).is_some())?;
        answers.elements = extras(&line);
    }
    Ok(answers)
}

fn shape(word: &str) -> Option<Shape> {
    let known = [
        ("single", Shape::Single),
        ("transaction", Shape::Transaction),
        ("batch", Shape::Batch),
        ("collection", Shape::Collection),
    ];
    known.iter().find(|(name, _)| *name == word).map(|(_, shape)| *shape)
}

fn naming(word: &str) -> Option<Naming> {
    let known = [("reference", Naming::Reference), ("identifier", Naming::Identifier)];
    known.iter().find(|(name, _)| *name == word).map(|(_, naming)| *naming)
}

fn extras(line: &str) -> Option<Vec<Extra>> {
    let known = [
        ("identifier", Extra::Identifier),
        ("issued", Extra::Issued),
        ("performer", Extra::Performer),
        ("device", Extra::Device),
        ("narrative", Extra::Narrative),
    ];
    let one = |word: &str| known.iter().find(|(name, _)| *name == word).map(|(_, extra)| *extra);
    line.split([' ', ',']).filter(|word| !word.is_empty()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_asked_for_until_it_can_be_understood() {
        let known = Answers { id: Some("xx-own".to_owned()), ..Answers::default() };
        let mut input = "Account\n\n\n\n\n9\n5.0.0\nbatch\nname\nidentifier\ndevice, issued\n".as_bytes();
        let mut output = Vec::new();
        let answers = asked(known, &mut input, &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        assert!(!output.contains("Id of the pack") && output.contains("not one of them"), "{output}");
        assert_eq!((answers.id.as_deref(), answers.title.as_deref()), (Some("xx-own"), Some("Account")));
        assert_eq!((answers.fhir.as_deref(), answers.request), (Some("5.0.0"), Some(Shape::Batch)));
        assert_eq!(answers.person, Some(Naming::Identifier));
        assert_eq!(answers.elements, Some(vec![Extra::Device, Extra::Issued]));
        assert!(draft::draft(&answers).is_ok());
    }
}
