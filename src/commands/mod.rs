//! The commands: composition roots. Here the parts meet the process: its clock, its entropy, its environment, its
//! signals and its terminal. `anyhow` is at home here and nowhere below.

mod assemble;
mod audit;
mod backup;
mod check;
mod client;
mod consent;
mod convert;
mod dead_letters;
pub mod definitions;
mod deliveries;
mod demo;
mod doctor;
mod ethics;
mod explain;
mod fhirpath;
mod health;
pub mod keys;
mod map;
mod pack;
pub mod packages;
mod platform;
mod progress;
mod publish;
mod publisher;
mod reload;
mod relocate;
mod remap;
mod route;
mod serve;
mod subscriptions;
pub mod token;
mod validate;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use assemble::{clock, entropy};
pub use serve::Running;

/// sysexits.h: the command was used wrongly; a configuration with mistakes is that.
const EX_USAGE: u8 = 64;

/// One door from health apps and wearables into national eHealth systems.
#[derive(Debug, Parser)]
#[command(name = "mhealth-gateway", version, about)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is read.
#[derive(Debug, clap::Args)]
struct Source {
    /// TOML file; without one the defaults and MHEALTH_* variables hold.
    #[arg(long, env = "MHEALTH_CONFIG", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway.
    Serve(Source),
    /// Check a configuration without starting anything.
    Check(Source),
    /// Look the store and its disk over: what is wrong, what is doubtful, what waits.
    Doctor(doctor::Options),
    /// Copy everything that is kept into a folder, while the gateway serves.
    Backup(backup::Backup),
    /// Make a store out of a backup.
    Restore(backup::Restore),
    /// Move the store, from a file to a server or back, with nobody serving.
    Move(relocate::Move),
    /// Bring the store's tables to the newest schema, or back to an older one.
    Migrate(relocate::Migrate),
    /// Watch a wearable's day travel through a gateway into a national platform.
    Demo(demo::Options),
    /// Register, list and remove the clients that may call.
    Client(client::Options),
    /// Ask a running gateway whether it is ready: exit code 0 if so.
    Health(health::Options),
    /// Get an access token as a registered client, for curl and scripts.
    Token(token::Options),
    /// Validate FHIR resources against the rules that the gateway enforces.
    Validate(validate::Options),
    /// Turn what phones and wearables export into validated FHIR.
    Convert(convert::Options),
    /// Say what a mapping makes of a sender's records, or check a mapping.
    Map(map::Options),
    /// Read again what devices sent, by mappings that were mended since, and correct what came of it.
    Remap(remap::Options),
    /// Say where a measurement would go by a country pack, and in what shape.
    #[command(subcommand)]
    Route(route::Action),
    /// Draft, check, try and sign a country pack.
    #[command(subcommand)]
    Pack(pack::Action),
    /// Say what consents would permit, and by which rule.
    #[command(subcommand)]
    Consent(consent::Options),
    /// The audit's transparency log: verify it, show its key, write it out.
    #[command(subcommand)]
    Audit(audit::Options),
    /// Evaluate a FHIRPath expression over a resource.
    #[command(name = "fhirpath")]
    FhirPath(fhirpath::Options),
    /// List deliveries that were given up, or send them again.
    DeadLetters(dead_letters::Options),
    /// How destinations are doing; send once more; stop trying again.
    Deliveries(deliveries::Options),
    /// List who is told what and where, or turn a subscription off.
    Subscriptions(subscriptions::Options),
    /// Write the guide: its site into a directory, or without one issues and measures as Markdown.
    Publish(publish::Options),
    /// Say what a code, an issue, a profile or a platform means: rule, source, fix, and which countries take it.
    Explain(explain::Options),
    /// The code of ethics, and whether a configuration keeps it.
    #[command(subcommand)]
    Ethics(ethics::Options),
    /// Play a national platform that checks what it receives.
    Platform(platform::Options),
    /// Add, list and remove packages of FHIR definitions.
    Packages(packages::Options),
    /// Condense a FHIR package into the form that is compiled into the program.
    Definitions(definitions::Options),
}

/// Runs one command.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Serve(source) => serve::run(&source),
        Command::Check(source) => check::run(&source),
        Command::Doctor(options) => doctor::run(&options),
        Command::Backup(options) => backup::back_up(&options),
        Command::Restore(options) => backup::restore(&options),
        Command::Move(options) => relocate::relocate(&options),
        Command::Migrate(options) => relocate::migrate(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Client(options) => client::run(&options),
        Command::Health(options) => health::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Validate(options) => validate::run(&options),
        Command::Convert(options) => convert::run(&options),
        Command::Map(options) => map::run(&options),
        Command::Remap(options) => remap::run(&options),
        Command::Route(action) => route::run(&action),
        Command::Pack(action) => pack::run(&action),
        Command::Consent(options) => consent::run(&options),
        Command::Audit(options) => audit::run(&options),
        Command::FhirPath(options) => fhirpath::run(&options),
        Command::DeadLetters(options) => dead_letters::run(&options),
        Command::Deliveries(options) => deliveries::run(&options),
        Command::Subscriptions(options) => subscriptions::run(&options),
        Command::Publish(options) => publish::run(&options),
        Command::Explain(options) => explain::run(&options),
        Command::Ethics(options) => ethics::run(&options),
        Command::Platform(options) => platform::run(&options),
        Command::Packages(options) => packages::run(&options),
        Command::Definitions(options) => definitions::run(&options).map(|()| ExitCode::SUCCESS),
    }
}

/// Logs go to standard error; `MHEALTH_LOG` says how much, `info` by default. The demonstration tells its own story.
pub fn telemetry(arguments: &Arguments) {
    let quiet = matches!(arguments.command, Command::Demo(_) | Command::Platform(_));
    let default = if quiet { "error" } else { "info" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MHEALTH_LOG").unwrap_or_else(|_| default.into());
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .init();
}

/// Whoever reads what a command prints may have seen enough, such as `head`: that ends the command, quietly.
pub fn end_with_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(0);
        }
        report(panic);
    }));
}

/// The process's environment as a map.
fn environment() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

/// A runtime for the commands that need one.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
