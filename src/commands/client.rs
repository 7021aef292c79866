//! `client`: who may call. Registrations lie in the store, so that a running gateway sees them within seconds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Source, assemble, keys, runtime};
use crate::config::Config;
use crate::exchange::receipts;
use crate::fhir::ours;
use crate::guide::Shelf;
use crate::policy::access::client::Client;
use crate::policy::consent;
use crate::server::tls::write_private;
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
    /// Register a client, or register it anew.
    Add(Box<Add>),
    /// List the registered clients.
    List,
    /// Remove a client; its tokens end within seconds.
    Remove { id: String },
    /// Print how good the device records of a client were, as JSON: counts alone, over all and by day.
    Scorecard {
        id: String,
        /// Days to look back, today included.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=400))]
        days: u16,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Client id.
    id: String,
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// The reference by which Consents name it, e.g. Organization/acme.
    #[arg(long)]
    actor: String,
    /// SMART scopes, separated by spaces, e.g. "system/Patient.cru system/Consent.cru system/Observation.cruds".
    #[arg(long)]
    scope: String,
    /// Purpose of use (v3-ActReason) that it may state; the first is its default.
    #[arg(long, default_value = "TREAT")]
    purpose: Vec<String>,
    /// The version of the guide that it is held to until it is registered anew; the newest where none is named.
    #[arg(long, value_name = "VERSION")]
    guide: Option<String>,
    /// It knows for sure who its users are, and may open the page on which a person sees and changes everything about the
    /// own data, whatever the person permits the client itself.
    #[arg(long)]
    visits: bool,
    /// It learns of persons by pseudonyms alone: it may have de-identified bulk exports, and nothing else.
    #[arg(long, conflicts_with = "visits")]
    deidentified: bool,
    /// To whom of those that share the gateway it belongs; the routing table asks for it.
    #[arg(long, value_name = "WORD")]
    tenant: Option<String>,
    /// What it is certified as, in the words of the routing table.
    #[arg(long, value_name = "WORD")]
    certified: Vec<String>,
    /// File with its public keys, a JSON Web Key Set: P-384 (ES384), or RSA of 2048 to 4096 bits (RS384).
    #[arg(long, value_name = "FILE", conflicts_with = "generate_key")]
    jwks: Option<PathBuf>,
    /// Make a key pair and write the private key (PEM) to this file.
    #[arg(long, value_name = "FILE")]
    generate_key: Option<PathBuf>,
    /// Id of the generated key.
    #[arg(long, default_value = "key-1")]
    kid: String,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = match assemble::configured(&options.source) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    match &options.command {
        Command::Add(add) => self::add(add, &config),
        Command::List => list(&config),
        Command::Remove { id } => remove(id, &config),
        Command::Scorecard { id, days } => scorecard(id, i64::from(*days), &config),
    }
}

/// Everything is checked before anything is written; the private key is written first, because a registration whose
/// key is lost is of no use.
fn add(add: &Add, config: &Config) -> anyhow::Result<ExitCode> {
    let (private, public) = keys(add)?;
    let shelf = assemble::shelf(config).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
    let client = match registration(add, &public, &shelf) {
        Ok(client) => client,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("{mistake}");
            }
            return Ok(ExitCode::from(super::EX_USAGE));
        }
    };
    let store = Store::open_shared(&assemble::place(config)?)
        .with_context(|| format!("opening the store {}", assemble::whereabouts(config)))?;
    if let Some((path, pem)) = &private {
        write_private(path, pem.as_bytes())?;
    }
    let others = runtime()?.block_on(async {
        let others = same_actor(&store, &client).await;
        let registered = register(&store, &client).await;
        store.close().await;
        registered.and(others)
    })?;
    for other in others {
        eprintln!("warning: client {other} has the actor {} too: a Consent that names it speaks of both", client.actor);
    }
    println!("{} is registered; it signs in at {}", client.id, config.base_url.replace("/fhir", "/auth/token"));
    Ok(ExitCode::SUCCESS)
}

fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let store = assemble::existing_store(config)?;
    let shelf = assemble::shelf(config).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
    runtime()?.block_on(async {
        for (id, body) in store.clients().await? {
            match Client::parse(&body) {
                Ok(client) => {
                    let version = match client.guide.as_deref() {
                        Some(version) if shelf.has(version) => format!("guide {version}"),
                        Some(version) => format!("guide {version}, which is not here: refused"),
                        None => format!("guide {}, the newest", ours::VERSION),
                    };
                    println!("{id}\t{}\t{}\t{}\t{version}", client.name, client.actor, client.scopes);
                }
                Err(_) => println!("{id}\t(unreadable registration)"),
            }
        }
        store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn remove(id: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let store = assemble::existing_store(config)?;
    runtime()?.block_on(async {
        anyhow::ensure!(store.remove_client(id).await?, "there is no client {id}");
        println!("{id} is removed");
        store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn scorecard(id: &str, days: i64, config: &Config) -> anyhow::Result<ExitCode> {
    let store = assemble::existing_store(config)?;
    runtime()?.block_on(async {
        anyhow::ensure!(store.get_client(id).await?.is_some(), "there is no client {id}");
        let today = jiff::Timestamp::now().as_millisecond().div_euclid(receipts::DAY_MS);
        let tallies = store.tallies(id, today + 1 - days, today + 1).await?;
        store.close().await;
        println!("{}", serde_json::to_string_pretty(&receipts::scorecard(&tallies))?);
        Ok(ExitCode::SUCCESS)
    })
}

/// Ids of other clients that Consents name by the same reference.
async fn same_actor(store: &Store, client: &Client) -> anyhow::Result<Vec<String>> {
    let registered = store.clients().await?;
    let others = registered
        .into_iter()
        .filter(|(id, body)| *id != client.id && Client::parse(body).is_ok_and(|other| other.actor == client.actor));
    Ok(others.map(|(id, _)| id).collect())
}

/// Writes a registration to the store.
pub(super) async fn register(store: &Store, client: &Client) -> anyhow::Result<()> {
    Ok(store.put_client(&client.id, &client.document().to_string()).await?)
}

/// Where a private key is to be written, and the key.
type Private<'a> = (&'a Path, String);

/// The client's public keys, and the private one if it is made here.
fn keys(add: &Add) -> anyhow::Result<(Option<Private<'_>>, Value)> {
    match (&add.jwks, &add.generate_key) {
        (Some(path), _) => {
            anyhow::ensure!(
                !path.to_string_lossy().contains("://"),
                "--jwks is a file: key sets are not fetched, so save the client's and register it anew when it changes"
            );
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            let set = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
            Ok((None, set))
        }
        (None, Some(path)) => {
            // A private key is nowhere else: whoever still signs in with it could not any more.
            anyhow::ensure!(
                path.symlink_metadata().is_err(),
                "{} exists; name another file or remove it",
                path.display()
            );
            let (pem, public) = keys::pair(&add.kid)?;
            Ok((Some((path, pem)), json!({"keys": [public]})))
        }
        (None, None) => anyhow::bail!("say where the client's keys come from: --jwks FILE or --generate-key FILE"),
    }
}

fn registration(add: &Add, keys: &Value, shelf: &Shelf) -> Result<Client, Vec<String>> {
    let document = json!({
        "id": add.id,
        "name": add.name.as_deref().unwrap_or(&add.id),
        "actor": add.actor,
        "keys": keys,
        "scopes": add.scope,
        "purposes": add.purpose,
        "guide": add.guide.as_deref().unwrap_or(ours::VERSION),
        "visits": add.visits,
        "deidentified": add.deidentified,
        "tenant": add.tenant,
        "certified": add.certified,
    });
    let unknown = add.purpose.iter().filter(|code| !consent::is_purpose(code));
    let mut mistakes: Vec<String> = unknown
        .map(|code| format!("--purpose {code}: not a purpose of use of v3-ActReason such as TREAT or PUBHLTH"))
        .collect();
    // Parse reads what was registered before; such ids cannot be part of the ids that a client gives its resources.
    if add.id.contains([':', '/']) {
        mistakes.push("id: expected no : or /, which cannot be part of the ids of resources".to_owned());
    }
    if let Some(version) = add.guide.as_ref().filter(|version| !shelf.has(version)) {
        let known = shelf.versions().collect::<Vec<_>>().join(", ");
        mistakes
            .push(format!("--guide {version}: not a version of the guide that is enforced here, which are {known}"));
    }
    match Client::parse(&document.to_string()) {
        Ok(client) if mistakes.is_empty() => Ok(client),
        Ok(_) => Err(mistakes),
        Err(others) => {
            // What was read of a file is told by where that was named.
            let by_option =
                |mistake: String| if mistake.starts_with("keys") { format!("--jwks: {mistake}") } else { mistake };
            mistakes.extend(others.into_iter().map(by_option));
            Err(mistakes)
        }
    }
}
