//! `demo`: a wearable's day on its way into a national platform, live, and held against what it promises.
//!
//! Nothing here is special: the gateway is configured by a file, the platform is a second process, the app is a
//! registered client that talks HTTPS, and what is shown is what they answered. Only the account is ours.

mod account;
mod app;
mod scenario;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use account::Account;

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
        let account = Account::new();
        account.title("mhealth-gateway: a wearable's day");
        let mut stage = stage::Stage::set(options, &account).await?;
        let outcome = scenario::play(&mut stage, &account).await;
        if let Err(error) = &outcome {
            account.broken(&format!("{error:#}"));
        }
        let good = outcome.is_ok() && account.is_as_promised();
        account.sum();
        if !options.once && good {
            stage.invite(&account);
            tokio::signal::ctrl_c().await?;
        }
        stage.strike().await;
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
