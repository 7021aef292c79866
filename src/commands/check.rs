//! `check`: what `serve` would say of its configuration, without starting anything.

use std::process::ExitCode;

use super::{EX_USAGE, Source, assemble};
use crate::config::Config;
use crate::server::tls;

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(source: &Source) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    if let Some(code) = mistaken(&config) {
        return Ok(code);
    }
    println!(
        "The configuration is good: {} on {}, {} destination(s).",
        config.base_url,
        config.listen,
        config.destinations.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Opens the files that the configuration names; mistakes are printed, all of them, and become the exit code.
pub(super) fn mistaken(config: &Config) -> Option<ExitCode> {
    let mut mistakes: Vec<String> = Vec::new();
    if let Some(own) = &config.tls
        && let Err(error) = tls::server_config(own)
    {
        mistakes.push(format!("tls: {:#}", anyhow::Error::from(error)));
    }
    for destination in &config.destinations {
        if let Err(error) = assemble::destination(destination) {
            mistakes.push(format!("{error:#}"));
        }
    }
    match assemble::registry(config) {
        Ok((_, warnings)) => warnings.iter().for_each(|warning| eprintln!("warning: {warning}")),
        Err(unknown) => mistakes.extend(unknown),
    }
    for mistake in &mistakes {
        eprintln!("{mistake}");
    }
    (!mistakes.is_empty()).then(|| ExitCode::from(EX_USAGE))
}
