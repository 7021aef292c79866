//! `deliveries`: how each destination is doing, what it is sent once more, and whether what fails is tried again.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};

use super::{Source, assemble, runtime};
use crate::exchange::replay::{Replay, Replayed};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List destinations with how much waits for each: in the feed, for another attempt or behind one that does, and for
    /// persons to lift a restriction.
    List,
    /// Send once more what came in at a certain time, each resource once and as it stands now; consent is asked again.
    Replay {
        #[arg(long)]
        destination: String,
        /// Moment from which on it came in, such as 2026-11-20T00:00:00Z.
        #[arg(long)]
        from: jiff::Timestamp,
        /// Moment before which it came in; now without one.
        #[arg(long)]
        to: Option<jiff::Timestamp>,
        /// Only what the destination does not have by the audit.
        #[arg(long)]
        missing: bool,
        /// Say how much it would be, and send nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Whether what fails is tried again. Off, whatever waits for another attempt becomes a dead letter at once; on again,
    /// dead letters stay what they are.
    Retry { destination: String, state: Switch },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let gateway = assemble::beside(&config)?;
    runtime()?.block_on(async {
        let known = |name: &str| gateway.recipients.all.iter().any(|one| *one.name == *name);
        let unknown = |name: &str| eprintln!("The configuration knows no destination {name}.");
        let mut code = ExitCode::SUCCESS;
        match &options.command {
            Command::List => {
                for recipient in &gateway.recipients.all {
                    let name = &recipient.name;
                    let backlog = gateway.store.backlog(name).await?;
                    let restricted = gateway.store.restricted_backlog(name).await?;
                    let retry = if gateway.store.retries_stopped(name).await? { "off" } else { "on" };
                    println!(
                        "{name}\t{} behind\t{} to be tried again\t{restricted} restricted by persons\t{} dead letter(s)\tretry {retry}",
                        backlog.behind,
                        // The two are asked one after the other.
                        backlog.retries.saturating_sub(restricted),
                        backlog.dead
                    );
                }
            }
            Command::Replay { destination, from, to, missing, dry_run } => {
                let until_ms = to.map_or_else(|| (gateway.clock)(), jiff::Timestamp::as_millisecond);
                let asked = Replay {
                    destination,
                    from_ms: from.as_millisecond(),
                    until_ms,
                    missing: *missing,
                    rehearsal: *dry_run,
                };
                if let Some(replayed) = gateway.replay(asked).await.context("replaying")? {
                    println!("{}", line(&replayed, *dry_run));
                } else {
                    unknown(destination);
                    code = ExitCode::FAILURE;
                }
            }
            Command::Retry { destination, state } if known(destination) => {
                gateway.store.stop_retries(destination, *state == Switch::Off).await?;
            }
            Command::Retry { destination, .. } => {
                unknown(destination);
                code = ExitCode::FAILURE;
            }
        }
        gateway.store.close().await;
        Ok(code)
    })
}

fn line(replayed: &Replayed, dry_run: bool) -> String {
    let Replayed { found, withheld, untold, held, waiting, sent, damaged } = replayed;
    let damaged = match damaged {
        0 => String::new(),
        damaged => format!("; {damaged} more of that time cannot be read, because what is kept is damaged"),
    };
    let will = if dry_run { "would be sent" } else { "will be sent" };
    format!(
        "{found} resource(s): {sent} {will}, {waiting} wait already, {held} there already, {untold} without a place there, \
         {withheld} not permitted{damaged}"
    )
}
