//! `subscriptions`: who is told what and where, how it goes, and an end to it.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::{Source, assemble, runtime};
use crate::policy::subscription::Status;
use crate::store::Subscription;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    source: Source,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List subscriptions with their endpoints, how many events they had and how many of them were taken.
    List {
        /// Only those of one client.
        client: Option<String>,
    },
    /// Turn a subscription off, whoever asked for it.
    Off { id: String },
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
            Command::List { client } => {
                let of_client = |each: &&Subscription| client.as_deref().is_none_or(|client| *each.client == *client);
                for each in store.subscriptions().await?.iter().filter(of_client) {
                    println!("{}", line(each));
                }
            }
            Command::Off { id } => {
                let now_ms = assemble::clock()();
                if store.end_subscription(id, Status::Off.code(), "turned off by the operator", now_ms).await? {
                    println!("{id} is off");
                } else {
                    eprintln!("There is no subscription {id}.");
                    code = ExitCode::FAILURE;
                }
            }
        }
        store.close().await;
        Ok(code)
    })
}

/// One subscription, without what it filters by: that may name a person.
fn line(subscription: &Subscription) -> String {
    let body: Value = serde_json::from_slice(&subscription.body).unwrap_or(Value::Null);
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let topic = text("/criteria").rsplit('/').next().unwrap_or_default().to_owned();
    format!(
        "{}\t{}\t{}\t{topic}\t{}\t{} event(s), {} taken, {} failure(s)\t{}",
        subscription.id,
        subscription.client,
        subscription.status,
        text("/channel/endpoint"),
        subscription.events,
        subscription.taken,
        subscription.failures,
        subscription.error.as_deref().unwrap_or("-")
    )
}
