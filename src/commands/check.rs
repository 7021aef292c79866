//! `check`: what `serve` would say of its configuration, without starting anything.

use std::process::ExitCode;

use super::{EX_USAGE, Source, assemble};
use crate::server::tls;

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(source: &Source) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let mut mistakes: Vec<String> = Vec::new();
    if let Some(own) = &config.tls
        && let Err(error) = tls::server_config(own)
    {
        mistakes.push(format!("tls: {:#}", anyhow::Error::from(error)));
    }
    if let Err(error) = assemble::destinations(&config) {
        mistakes.push(format!("{error:#}"));
    }
    for mistake in &mistakes {
        eprintln!("{mistake}");
    }
    if !mistakes.is_empty() {
        return Ok(ExitCode::from(EX_USAGE));
    }
    println!(
        "The configuration is good: {} on {}, {} destination(s).",
        config.base_url,
        config.listen,
        config.destinations.len()
    );
    Ok(ExitCode::SUCCESS)
}
