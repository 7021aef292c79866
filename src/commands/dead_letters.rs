//! `dead-letters`: what was given up, why, and once more from the beginning.

use std::process::ExitCode;

use clap::Subcommand;

use super::{Source, assemble, runtime};
use crate::config::Config;
use crate::store::{DeadLetter, Store};

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
        /// Only those whose reason says so.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Send dead letters again; consent is asked again, too.
    Redrive {
        destination: String,
        /// Ids from the list; all of the destination's without any.
        ids: Vec<i64>,
        /// Only those whose reason says so.
        #[arg(long, conflicts_with = "ids")]
        reason: Option<String>,
    },
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let store = assemble::existing_store(&config)?;
    runtime()?.block_on(async {
        let mut code = ExitCode::SUCCESS;
        match &options.command {
            Command::List { destination, reason } => {
                for letter in fitting(&store, destination.as_deref(), reason.as_deref()).await? {
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
                for remaining in store.remnants_given_up(destination.as_deref()).await? {
                    println!(
                        "-\t{}\t{} name(s) of erased persons' resources that it still has\tall of its dead letters are sent again together",
                        remaining.destination, remaining.given_up
                    );
                }
            }
            Command::Redrive { destination, ids, reason } => {
                let ids = match reason {
                    Some(_) => {
                        let letters = fitting(&store, Some(destination), reason.as_deref()).await?;
                        Some(letters.into_iter().map(|letter| letter.id).collect())
                    }
                    None => (!ids.is_empty()).then(|| ids.clone()),
                };
                let count = store.redrive(destination, ids).await?;
                println!("{count} dead letter(s) will be sent again");
                if count == 0 {
                    eprintln!("{}", nothing(destination, &config));
                    code = ExitCode::FAILURE;
                }
            }
        }
        store.close().await;
        Ok(code)
    })
}

/// Dead letters whose reason says something.
async fn fitting(store: &Store, destination: Option<&str>, reason: Option<&str>) -> anyhow::Result<Vec<DeadLetter>> {
    let mut letters = store.dead_letters(destination).await?;
    letters.retain(|letter| reason.is_none_or(|reason| letter.reason.contains(reason)));
    Ok(letters)
}

/// Why nothing is sent again: a slip in the name and an empty list look alike otherwise.
fn nothing(destination: &str, config: &Config) -> String {
    if config.destinations.iter().any(|known| known.rule.name == destination) {
        format!("There was no such dead letter of {destination}.")
    } else {
        format!("There was no dead letter of {destination}, and the configuration knows no destination of that name.")
    }
}
