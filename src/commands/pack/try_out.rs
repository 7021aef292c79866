//! `pack test`: a pack against what its destination shows and asserts itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{FOUND, Form, compiled, material, said, setting, told};
use crate::national::trial::{self, Outcome, Trial};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Folder of the pack.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The destination's own material: Observations, Bundles of them, TestScripts; JSON or XML, in folders of any depth.
    #[arg(long, value_name = "FOLDER")]
    examples: Option<PathBuf>,
    /// FHIRPath that holds of each request, one a line.
    #[arg(long, value_name = "FILE")]
    assertions: Vec<PathBuf>,
    /// What the pack asks of the operator.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    setting: Vec<(String, String)>,
    /// How it is said.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let pack = match compiled(&options.folder)? {
        Ok(pack) => pack,
        Err(mistakes) => bail!("{}", told(&options.folder, &mistakes).trim_end()),
    };
    let examples = options.examples.as_deref().map(material).transpose()?.unwrap_or_default();
    let mut assertions = BTreeSet::new();
    for path in &options.assertions {
        assertions.extend(trial::of_list(&read(path)?));
    }
    let tried = trial::run(&pack, &said(&options.setting)?, &examples, &assertions)
        .map_err(|mistakes| anyhow::anyhow!(mistakes.join("\n")))?;
    if let Some(folder) = options.examples.as_ref().filter(|_| tried.examples.is_empty() && tried.assertions.is_empty())
    {
        bail!("{}: there is no Observation and no TestScript to try the pack by", folder.display());
    }
    match options.format {
        Form::Text => print!("{}", text(&tried)),
        Form::Json => println!("{:#}", tried.json()),
    }
    Ok(if tried.passes() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn text(tried: &Trial) -> String {
    let mut out = String::new();
    for example in tried.examples.iter().filter(|one| !one.differs.is_empty()) {
        out.push_str(&format!("{} [{}]: {}\n", example.file, example.index, example.differs.join(", ")));
    }
    for example in tried.examples.iter().filter(|one| !one.words.is_empty()) {
        out.push_str(&format!("{} [{}]: words of {}\n", example.file, example.index, example.words.join(", ")));
    }
    for example in tried.examples.iter().filter(|one| !one.uncompared.is_empty()) {
        out.push_str(&format!(
            "{} [{}]: not told, not compared: {}\n",
            example.file,
            example.index,
            example.uncompared.join(", ")
        ));
    }
    for assertion in &tried.assertions {
        match assertion.outcome {
            Outcome::Fails => out.push_str(&format!("does not hold: {}\n", assertion.expression)),
            Outcome::Unreadable => out.push_str(&format!("no FHIRPath: {}\n", assertion.expression)),
            Outcome::Holds | Outcome::Certain => {}
        }
    }
    for one in &tried.unchecked {
        out.push_str(&format!("errors.csv:{}: {}: {}\n", one.line, one.measure, one.text));
    }
    let same = tried.examples.iter().filter(|one| one.differs.is_empty()).count();
    let of = |outcome: Outcome| tried.assertions.iter().filter(|one| one.outcome == outcome).count();
    let worded = tried.examples.iter().filter(|one| one.differs.is_empty() && !one.words.is_empty()).count();
    let worded = if worded > 0 { format!(", {worded} of them in other words") } else { String::new() };
    let less = tried.examples.iter().filter(|one| one.differs.is_empty() && !one.uncompared.is_empty()).count();
    let worded = if less > 0 { format!("{worded}, {less} of them without elements that are not told") } else { worded };
    out.push_str(&format!(
        "{same} of {} examples mean the same{worded}; {} assertions hold, {} do not, {} are about requests of their own.\n",
        tried.examples.len(),
        of(Outcome::Holds),
        of(Outcome::Fails) + of(Outcome::Unreadable),
        of(Outcome::Certain),
    ));
    out
}
