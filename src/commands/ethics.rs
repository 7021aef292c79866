//! `ethics`: the code of ethics, and whether a configuration keeps it.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Source, check};
use crate::config::Config;
use crate::fhir::validate::Reaction;
use crate::guide::ethics::{CLAUSES, Destination, Setting};
use crate::peers::fhir_rest::Auth;

#[derive(Debug, Subcommand)]
pub(super) enum Options {
    /// Say of each clause whether the configuration keeps it: exit code 0 if it keeps all.
    Check(Source),
    /// List the clauses.
    List,
}

/// The configuration breaks a clause.
const BROKEN: u8 = 1;

#[expect(clippy::unnecessary_wraps, reason = "every command has the same shape")]
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let source = match options {
        Options::Check(source) => source,
        Options::List => {
            for clause in CLAUSES {
                println!("{:22} {:9} {} ({})", clause.id, clause.status(), clause.title, clause.source);
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let config = match check::checked(source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let setting = setting(&config);
    let mut kept = true;
    for clause in CLAUSES {
        let broken = clause.check(&setting);
        let verdict = if broken.is_empty() { clause.status() } else { "BROKEN" };
        println!("{:22} {verdict:9} {}", clause.id, clause.title);
        for what in &broken {
            println!("{:32} {what}", "");
        }
        kept &= broken.is_empty();
    }
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

/// What the clauses look at.
fn setting(config: &Config) -> Setting {
    let destinations = config.destinations.iter().map(|each| Destination {
        name: each.rule.name.clone(),
        url: each.fhir.url.clone(),
        purpose: each.purpose.clone(),
        is_limited: !each.rule.kinds.iter().any(|kind| kind == "*")
            || each.rule.codes.is_some()
            || each.rule.categories.is_some(),
        is_authenticated: !matches!(each.fhir.auth, Auth::None),
    });
    Setting {
        destinations: destinations.collect(),
        refuses_undecided: config.exchange.unanswered_required == Reaction::Refuse,
        takes_any_id: config.exchange.chosen_ids == crate::exchange::ChosenIds::Any,
        terminology_server: config.terminology.as_ref().map(|each| each.url.clone()),
        is_public: !config.listen.ip().is_loopback(),
        has_certificate: config.tls.is_some(),
    }
}
