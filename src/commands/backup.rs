//! `backup` and `restore`: a copy of everything that is kept, made while the gateway serves, and a store out of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{Source, assemble, clock, runtime};
use crate::config::Config;
use crate::store::{BackingUp, Finding, Grade, Manifest, Restored, Store};

#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    #[command(flatten)]
    source: Source,
    /// Folder to write to; it must be new or empty.
    to: PathBuf,
    /// Put the key file into it: whoever has the backup then reads everything in it.
    #[arg(long)]
    with_key: bool,
    /// Only who was erased, for `restore --erasures`: small, so make it often.
    #[arg(long)]
    erasures: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    #[command(flatten)]
    source: Source,
    /// Folder of the backup.
    from: PathBuf,
    /// Younger backups, whole or of erasures alone: who was erased since is erased again.
    #[arg(long)]
    erasures: Vec<PathBuf>,
    /// Read the backup through and write nothing.
    #[arg(long)]
    check: bool,
}

pub(super) fn back_up(options: &Backup) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let place = assemble::place(&config)?;
    // Asked first: whoever signs opens the store, and that would bring an older program's tables up to date.
    let schema = Store::schema(&place).with_context(|| looking(&config))?;
    if schema == Store::newest_schema() && !options.erasures {
        sign(&config)?;
    }
    let how = BackingUp {
        with_key: options.with_key,
        erasures_alone: options.erasures,
        program: env!("CARGO_PKG_VERSION"),
        now_ms: (clock())(),
    };
    let manifest = Store::back_up(&place, &options.to, how)
        .with_context(|| format!("backing up the store {}", assemble::whereabouts(&config)))?;
    println!("{}: {}", options.to.display(), told(&manifest));
    if manifest.uploads_elsewhere > 0 {
        println!(
            "{} upload(s) under way lie with other gateways: back up their directories, too",
            manifest.uploads_elsewhere
        );
    }
    if !options.erasures {
        let damage = Store::damage(&place, (clock())()).with_context(|| looking(&config))?;
        for fault in &damage {
            let counted = fault.figures.iter().filter(|(name, _)| matches!(*name, "broken" | "changed" | "missing"));
            let rows: i64 = counted.map(|(_, count)| *count).sum();
            println!("It has a fault that the store has: {}: {rows} row(s): {}", fault.check, fault.said);
        }
        if !damage.is_empty() {
            println!("`doctor` tells all of it, and what is damaged is mended as docs/operations.md says.");
        }
    }
    let key = if options.with_key { "The key is in it" } else { "The key is not in it: keep it elsewhere" };
    println!("{key}; without it nothing that is kept of a person can be read.");
    Ok(ExitCode::SUCCESS)
}

/// Has the log's head signed as it stands, so that the backup has it.
fn sign(config: &Config) -> anyhow::Result<()> {
    let gateway = assemble::beside(config)?;
    let signed = runtime()?.block_on(gateway.log_checkpoint());
    runtime()?.block_on(gateway.store.close());
    signed
        .map(drop)
        .map_err(|_| anyhow::anyhow!("the head of the audit's log cannot be signed; `audit check` says why"))
}

pub(super) fn restore(options: &Restore) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let place = assemble::place(&config)?;
    if options.check {
        let manifest = Store::restorable(&place, &options.from)?;
        println!("{}: whole, made with the key of this configuration: {}", options.from.display(), told(&manifest));
        return Ok(ExitCode::SUCCESS);
    }
    let younger: Vec<&Path> = options.erasures.iter().map(PathBuf::as_path).collect();
    let restored = Store::restore(&place, &options.from, &younger)
        .with_context(|| format!("restoring the store {}", assemble::whereabouts(&config)))?;
    Ok(report(&restored, &assemble::whereabouts(&config)))
}

/// Says what became of a backup; the exit code is for faults that it had in itself.
pub(super) fn report(restored: &Restored, whereabouts: &str) -> ExitCode {
    println!("The store {whereabouts} was made of a backup: {}", told(&restored.manifest));
    if restored.erased > 0 {
        println!(
            "{} person(s) who were erased since are absent; the next start takes away what lies there.",
            restored.erased
        );
    }
    if let Some(head) = restored.manifest.log.as_ref().and_then(|log| log.head.as_ref()) {
        println!(
            "Whoever has seen a later head of the audit's log than this one will notice that it went back:\n{head}"
        );
    }
    let faults: Vec<&Finding> = restored.findings.iter().filter(|found| found.grade == Grade::Bad).collect();
    for fault in &faults {
        println!("It had a fault when the backup was made: {}: {}", fault.check, fault.said);
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(manifest: &Manifest) -> String {
    let rows: u64 = manifest.tables.iter().map(|kept| kept.rows).sum();
    let bytes: u64 = manifest.tables.iter().chain(&manifest.uploads).map(|kept| kept.bytes).sum();
    let made = jiff::Timestamp::from_millisecond(manifest.made_ms).map_or_else(|_| String::new(), |at| at.to_string());
    let entries = manifest.log.as_ref().map_or(0, |log| log.entries);
    format!(
        "{rows} rows and {} upload(s), {bytes} bytes, schema {}, log of {entries} entries, made {made}",
        manifest.uploads.len(),
        manifest.schema
    )
}

pub(super) fn looking(config: &Config) -> String {
    format!("looking at the store {}", assemble::whereabouts(config))
}
