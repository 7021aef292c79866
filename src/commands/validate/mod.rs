//! `validate`: the rules that the gateway enforces, offline, for one resource or a million.
//!
//! Resources stream through in batches: a batch is read, checked on every core, and reported in order, so that memory
//! does not grow with the input. What cannot be read is an issue of its file and stops nothing else.

mod inputs;
mod junit;
mod load;
mod sarif;
mod text;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::ValueEnum;

use super::progress::Progress;
use crate::fhir::outcome::{Id, Issue, Reader, full_outcome, has_errors};
use crate::fhir::validate::{Options as Check, Validator};
use inputs::{Input, Inputs};
pub(super) use load::Known;
pub(super) use text::short;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Files or folders of FHIR resources in JSON, NDJSON or XML; `-` is standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    inputs: Vec<PathBuf>,
    /// Canonical of a profile to check against besides meta.profile.
    #[arg(long, value_name = "URL")]
    profile: Vec<String>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    known: Known,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// For people: what is wrong, where, and what to do.
    Text,
    /// One line a resource: {"file", "valid", "outcome"}.
    Json,
    /// `JUnit` XML, one test case a resource.
    Junit,
    /// SARIF 2.1.0.
    Sarif,
}

/// The command could not do what was asked.
const COULD_NOT_RUN: u8 = 2;

/// Most resources and bytes that are held at once.
const BATCH: usize = 2048;
const BATCH_BYTES: usize = 32 << 20;

/// A resource with what was found in it.
struct Checked {
    input: Input,
    issues: Vec<Issue>,
}

impl Checked {
    fn is_valid(&self) -> bool {
        !has_errors(&self.issues)
    }

    fn is_xml(&self) -> bool {
        self.input.text.as_deref().is_ok_and(|text| text.trim_ascii_start().starts_with(b"<"))
    }
}

/// What came of everything.
#[derive(Clone, Copy, Default)]
struct Tally {
    resources: usize,
    invalid: usize,
    errors: usize,
    warnings: usize,
    /// Some input could not be had at all.
    unreadable: bool,
}

impl Tally {
    fn add(&mut self, checked: &Checked) {
        let errors = checked.issues.iter().filter(|issue| issue.is_error()).count();
        self.resources += 1;
        self.invalid += usize::from(errors > 0);
        self.errors += errors;
        self.warnings += checked.issues.len() - errors;
        self.unreadable |= checked.input.text.is_err();
    }

    fn code(&self) -> ExitCode {
        match (self.unreadable, self.invalid) {
            (true, _) => ExitCode::from(COULD_NOT_RUN),
            (false, 0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    match checked(options, &mut tally) {
        Ok(()) => Ok(tally.code()),
        // Whoever reads has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(tally.code())
        }
        Err(error) => {
            eprintln!("mhealth-gateway: {error:#}");
            Ok(ExitCode::from(COULD_NOT_RUN))
        }
    }
}

fn checked(options: &Options, tally: &mut Tally) -> anyhow::Result<()> {
    let validator = options.known.validator()?;
    for profile in &options.profile {
        if validator.profile(profile).is_none() && validator.registry.type_of(profile).is_none() {
            anyhow::bail!("there is no profile {profile}; name its package with --package or its file with --resource");
        }
    }
    let profiles: Vec<&str> = options.profile.iter().map(String::as_str).collect();
    let mut report = Report::new(options.format, BufWriter::new(io::stdout().lock()));
    report.begin()?;
    let mut inputs = Inputs::new(&options.inputs);
    let mut progress = Progress::new(&options.inputs);
    loop {
        let batch = taken(&mut inputs);
        if batch.is_empty() {
            break;
        }
        for checked in check_all(&validator, &profiles, batch) {
            tally.add(&checked);
            progress.clear();
            report.resource(&checked)?;
            progress
                .advance(checked.input.size, || format!("{} resources, {} invalid", tally.resources, tally.invalid));
        }
    }
    progress.clear();
    report.end(tally)?;
    Ok(())
}

/// The next batch; empty at the end.
fn taken(inputs: &mut Inputs) -> Vec<Input> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Some(input) = inputs.next() else { break };
        bytes += input.text.as_ref().map_or(0, Vec::len);
        batch.push(input);
    }
    batch
}

/// Checks a batch on every core, keeping its order. Cores that have no resource of their own help with long Bundles.
fn check_all(validator: &Validator, profiles: &[&str], batch: Vec<Input>) -> Vec<Checked> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores / batch.len().max(1);
    let cores = cores.min(batch.len());
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(batch.len())));
    let work = || {
        let mut own = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(input) = batch.get(at) else { break };
            own.push((at, check(validator, profiles, input, threads)));
        }
        found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(own);
    };
    std::thread::scope(|scope| {
        for _ in 1..cores {
            scope.spawn(work);
        }
        work();
    });
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_unstable_by_key(|(at, _)| *at);
    batch.into_iter().zip(found).map(|(input, (_, issues))| Checked { input, issues }).collect()
}

fn check(validator: &Validator, profiles: &[&str], input: &Input, threads: usize) -> Vec<Issue> {
    let text = match &input.text {
        Ok(text) => text,
        Err(error) => return vec![Issue::new(Id::InputUnreadable, "", format!("The file cannot be read: {error}."))],
    };
    let mut issues = validator.check_text(text, &Check { profiles, threads, ..Check::default() }).issues;
    issues.sort_by_key(|issue| (issue.position.line, issue.position.column));
    if let Some(line) = input.line {
        // A line of a file of lines: its first line is the file's that many.
        for issue in issues.iter_mut().filter(|issue| issue.position.line > 0) {
            issue.position.line += line - 1;
        }
    }
    issues
}

/// Writes what was found, in the format that was asked for.
struct Report<W: Write> {
    format: Format,
    out: W,
    colours: text::Colours,
    junit: junit::Suite,
    sarif: sarif::Log,
}

impl<W: Write> Report<W> {
    fn new(format: Format, out: W) -> Self {
        let plain = super::environment().get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = text::Colours { on: io::stdout().is_terminal() && !plain };
        Report { format, out, colours, junit: junit::Suite::default(), sarif: sarif::Log::default() }
    }

    fn begin(&mut self) -> io::Result<()> {
        match self.format {
            Format::Sarif => sarif::Log::begin(&mut self.out),
            Format::Text | Format::Json | Format::Junit => Ok(()),
        }
    }

    fn resource(&mut self, checked: &Checked) -> io::Result<()> {
        match self.format {
            Format::Text => text::resource(checked, self.colours, &mut self.out),
            Format::Json => json(checked, &mut self.out),
            Format::Junit => {
                self.junit.resource(checked);
                Ok(())
            }
            Format::Sarif => self.sarif.resource(checked, &mut self.out),
        }
    }

    fn end(&mut self, tally: &Tally) -> io::Result<()> {
        match self.format {
            Format::Text => text::end(tally, &mut self.out)?,
            Format::Json => {}
            Format::Junit => self.junit.end(tally, &mut self.out)?,
            Format::Sarif => sarif::Log::end(&mut self.out)?,
        }
        self.out.flush()
    }
}

/// One line: what was checked, whether it is valid, and the `OperationOutcome`.
fn json(checked: &Checked, out: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::json!({
        "file": checked.input.name,
        "valid": checked.is_valid(),
        "outcome": full_outcome(&checked.issues, Reader { is_xml: checked.is_xml(), ..Reader::default() }),
    });
    if let Some(number) = checked.input.line {
        line["line"] = number.into();
    }
    writeln!(out, "{line}")
}
