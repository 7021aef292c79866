//! `remap`: what devices sent, read again by mappings that were mended since.
//!
//! It works on the store beside a serving process, which delivers what is corrected. Whatever ends it early, running it
//! again goes on.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;

use super::progress::Progress;
use super::validate::short;
use super::{EX_USAGE, Source, assemble, runtime};
use crate::exchange::push::remap::{Counts, Fate, Summary, Version, Wish};
use crate::fhir::tree::time;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// What this version of a mapping read, or any later one before the present, is read again: three numbers.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    since: Version,
    /// Only records of this format.
    #[arg(long = "format", value_name = "FORMAT")]
    only: Option<String>,
    /// Say what would come of it, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "a version is three numbers, such as 1.0.0".to_owned())
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let gateway = assemble::beside(&config)?;
    if let Some(name) = &options.only
        && gateway.formats.format(name).is_none()
    {
        eprintln!("There is no device format {name}; there are {}.", gateway.formats.names());
        return Ok(ExitCode::from(EX_USAGE));
    }
    runtime()?.block_on(async {
        let wish = Wish { since: options.since, format: options.only.as_deref(), rehearsal: options.dry_run };
        let mut progress = Progress::new(&[]);
        let mut inputs = 0_u64;
        let done = gateway
            .remap(wish, || {
                inputs += 1;
                progress.advance(0, || format!("{inputs} inputs read again"));
            })
            .await;
        progress.clear();
        let days = gateway.config.raw_days;
        gateway.store.close().await;
        match done {
            Ok(summary) => {
                print!("{}", told(&summary, days, options.dry_run));
                Ok(ExitCode::SUCCESS)
            }
            Err(refusal) => {
                let why: Vec<String> = refusal.issues.iter().map(short).collect();
                bail!("it could not be ended; run it again to go on: {}", why.join("; "))
            }
        }
    })
}

/// What came of it, by format.
fn told(summary: &Summary, days: u32, rehearsal: bool) -> String {
    let mut out = String::new();
    let width = summary.formats.keys().map(|format| format.chars().count()).max().unwrap_or_default().max(6);
    // Writing into a string does not fail.
    if !summary.formats.is_empty() {
        let _ = write!(out, "{:width$}  {:>8} {:>9}", "format", "inputs", "records");
        for fate in Fate::ALL {
            let _ = write!(out, " {:>10}", fate.word());
        }
        out.push('\n');
    }
    for (format, counts) in &summary.formats {
        let Counts { inputs, records, .. } = counts;
        let _ = write!(out, "{format:width$}  {inputs:>8} {records:>9}");
        for fate in Fate::ALL {
            let _ = write!(out, " {:>10}", counts.of(fate));
        }
        out.push('\n');
    }
    let read: u64 = summary.formats.values().map(|counts| counts.inputs).sum();
    let would = if rehearsal { " would be" } else { "" };
    let _ = writeln!(out, "{read} of {} raw inputs{would} read again", summary.found);
    for (count, why) in [
        (summary.expired, format!("are older than the {days} days for which they are kept")),
        (summary.unknown, "are of formats that are no longer known".to_owned()),
        (summary.closed, "can be opened by nobody any more".to_owned()),
    ] {
        if count > 0 {
            let _ = writeln!(out, "{count} {why}, so that nothing came of them");
        }
    }
    let _ = match (days, summary.oldest_ms) {
        (0, _) => {
            writeln!(out, "exchange.raw_days is 0: what devices send is not kept, and nothing of it can be read again")
        }
        (_, Some(oldest_ms)) => {
            writeln!(
                out,
                "what came before {} was not kept or is forgotten after {days} days",
                time::instant(oldest_ms)
            )
        }
        (_, None) => writeln!(out, "what devices send is kept for {days} days, and nothing is there"),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_by_format_and_says_what_is_gone() {
        let mut summary = Summary { found: 3, expired: 1, oldest_ms: Some(1_768_464_000_000), ..Summary::default() };
        let counts = Counts { inputs: 2, records: 5, fates: [(Fate::Corrected, 3), (Fate::Unchanged, 2)].into() };
        summary.formats.insert("scale".to_owned(), counts);
        let text = told(&summary, 14, false);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["scale", "2", "5", "2", "3", "0", "0", "0", "0", "0"], "{text}");
        assert!(
            text.contains("2 of 3 raw inputs read again") && text.contains("1 are older than the 14 days"),
            "{text}"
        );
        assert!(text.contains("2026-01-15T08:00:00"), "{text}");
        assert!(told(&Summary::default(), 0, true).contains("is not kept"));
        assert!(told(&Summary::default(), 14, true).contains("0 of 0 raw inputs would be read again"));
    }
}
