//! `doctor`: looks the store and its disk over, beside a gateway that serves or without one.
//!
//! It changes nothing. What it finds is graded: `bad` means that what was acknowledged may be lost or is wrong, and ends with
//! exit code 1; a `doubt` is something that somebody should know.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{Source, assemble, clock, runtime};
use crate::config::Config;
use crate::exchange;
use crate::store::{Examining, Finding, Grade, Store};
use crate::tlog::Checkpoint;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    /// Leave out what reads the whole store.
    #[arg(long)]
    quick: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// End with exit code 1 for doubts, too.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let place = assemble::place(&config)?;
    let examining = Examining { quick: options.quick, now_ms: (clock())(), follower: exchange::subscribe::FOLLOWER };
    let findings = Store::examine(&place, examining)
        .with_context(|| format!("looking at the store {}", assemble::whereabouts(&config)));
    let mut findings = match findings {
        Ok(findings) => findings,
        // That the store cannot be opened is what was asked.
        Err(error) => vec![finding("store", Grade::Bad, format!("{error:#}"))],
    };
    if findings.iter().any(|found| found.check == "key.fits" && found.grade == Grade::Good) {
        findings.push(signature(&config)?);
    }
    findings.sort_by_key(|found| std::cmp::Reverse(found.grade));
    let verdict = findings.iter().map(|found| found.grade).max().unwrap_or(Grade::Unknown);
    if options.json {
        println!("{:#}", as_json(verdict, &findings));
    } else {
        findings.iter().for_each(print);
    }
    let failed = verdict == Grade::Bad || (options.strict && verdict == Grade::Doubt);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether the last head of the transparency log is signed by this installation's key.
fn signature(config: &Config) -> anyhow::Result<Finding> {
    let store = assemble::existing_store(config)?;
    let head = runtime()?.block_on(store.log_head())?;
    let key = exchange::log_key(&config.base_url, &store.secret("audit-log")?);
    runtime()?.block_on(store.close());
    let (grade, said) = match head.map(|head| Checkpoint::open(&head.note, &key)) {
        None => (Grade::Unknown, "no head of the log was signed yet".to_owned()),
        Some(Ok(_)) => (Grade::Good, "the last head of the log is signed by this installation".to_owned()),
        // Who serves under another address has another name.
        Some(Err(doubt)) => (Grade::Doubt, format!("the last head of the log is not this installation's: {doubt}")),
    };
    Ok(finding("audit.signature", grade, said))
}

fn finding(check: &'static str, grade: Grade, said: String) -> Finding {
    Finding { check, grade, said, figures: Vec::new() }
}

fn print(found: &Finding) {
    let figures: Vec<String> = found.figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let figures = if figures.is_empty() { String::new() } else { format!(" [{}]", figures.join(" ")) };
    println!("{:7} {:18} {}{figures}", found.grade.word(), found.check, found.said);
}

fn as_json(verdict: Grade, findings: &[Finding]) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|found| {
            let figures: Map<String, Value> =
                found.figures.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({"check": found.check, "grade": found.grade.word(), "said": found.said, "figures": figures})
        })
        .collect();
    json!({"verdict": verdict.word(), "findings": findings})
}
