//! `demo`: a wearable's day on its way into a national platform, live, and held against what it promises.
//!
//! Nothing here is special: the gateway is configured by a file, the platform is a second process, the app is a
//! registered client that talks HTTPS, and what is shown is what they answered. Only the account is ours.

mod account;
mod app;
mod scenario;
mod stage;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use account::Account;
use tokio::signal::unix::{SignalKind, signal};

use super::runtime;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// End after the account; the exit code says whether everything came as promised.
    #[arg(long)]
    once: bool,
    /// Where the demonstration keeps its files; emptied at each start.
    #[arg(long, default_value = "data/demo")]
    directory: PathBuf,
    /// Port of the gateway; another one is taken if it is busy.
    #[arg(long, default_value_t = 8443)]
    port: u16,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut told_to_end = pin!(async {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        let account = Account::new();
        account.title("mhealth-gateway: a wearable's day");
        let mut stage = tokio::select! {
            stage = stage::Stage::set(options, &account) => stage?,
            () = &mut told_to_end => return Ok(ExitCode::FAILURE),
        };
        let played = tokio::select! {
            outcome = scenario::play(&mut stage, &account) => Some(outcome),
            () = &mut told_to_end => None,
        };
        let finished = played.is_some();
        if let Some(Err(error)) = &played {
            account.broken(&format!("{error:#}"));
        }
        let good = finished && account.is_as_promised();
        if finished {
            account.sum();
        }
        if !options.once && good && account.is_read() {
            stage.invite(&account);
            told_to_end.await;
        } else if !options.once && finished && !good {
            account.note("This is the end, and nothing is served, because a promise was broken.");
        }
        stage.strike().await;
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
