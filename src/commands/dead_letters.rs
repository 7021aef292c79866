//! `dead-letters`: what was given up, why, and once more from the beginning.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::{Source, assemble, runtime};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List dead letters with their reasons.
    List {
        /// Only those of one destination.
        destination: Option<String>,
    },
    /// Send dead letters again; consent is asked again, too.
    Redrive {
        destination: String,
        /// Ids from the list; all of the destination's without any.
        ids: Vec<i64>,
    },
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let store =
        Store::open_shared(&config.data).with_context(|| format!("opening the store in {}", config.data.display()))?;
    runtime()?.block_on(async {
        match &options.command {
            Command::List { destination } => {
                for letter in store.dead_letters(destination.as_deref()).await? {
                    println!(
                        "{}\t{}\t{}/{} version {}\t{} attempt(s)\t{}",
                        letter.id,
                        letter.destination,
                        letter.kind,
                        letter.resource,
                        letter.version,
                        letter.attempts,
                        letter.reason
                    );
                }
            }
            Command::Redrive { destination, ids } => {
                let ids = (!ids.is_empty()).then(|| ids.clone());
                let count = store.redrive(destination, ids).await?;
                println!("{count} dead letter(s) will be sent again");
            }
        }
        store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}
