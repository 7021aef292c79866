//! `client`: who may call. Registrations lie in the store, so that a running gateway sees them within seconds.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Source, assemble, keys, runtime};
use crate::policy::access::client::Client;
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
    Add(Add),
    /// List the registered clients.
    List,
    /// Remove a client; its tokens end within seconds.
    Remove { id: String },
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
    /// v3-ActReason code that it may state; the first is its default.
    #[arg(long, default_value = "TREAT")]
    purpose: Vec<String>,
    /// JSON Web Key Set with its public keys.
    #[arg(long, conflicts_with = "generate_key")]
    jwks: Option<PathBuf>,
    /// Make a key pair and write the private key (PEM) to this file.
    #[arg(long)]
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
    let store =
        Store::open_shared(&config.data).with_context(|| format!("opening the store in {}", config.data.display()))?;
    runtime()?.block_on(async {
        match &options.command {
            Command::Add(add) => match registration(add)? {
                Ok(client) => {
                    register(&store, &client).await?;
                    println!(
                        "{} is registered; it signs in at {}",
                        client.id,
                        config.base_url.replace("/fhir", "/auth/token")
                    );
                }
                Err(mistakes) => {
                    for mistake in mistakes {
                        eprintln!("{mistake}");
                    }
                    return Ok(ExitCode::from(super::EX_USAGE));
                }
            },
            Command::List => {
                for (id, body) in store.clients().await? {
                    match Client::parse(&body) {
                        Ok(client) => println!("{id}\t{}\t{}\t{}", client.name, client.actor, client.scopes),
                        Err(_) => println!("{id}\t(unreadable registration)"),
                    }
                }
            }
            Command::Remove { id } => {
                if !store.remove_client(id).await? {
                    anyhow::bail!("there is no client {id}");
                }
                println!("{id} is removed");
            }
        }
        store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Writes a registration to the store.
pub(super) async fn register(store: &Store, client: &Client) -> anyhow::Result<()> {
    Ok(store.put_client(&client.id, &client.document().to_string()).await?)
}

fn registration(add: &Add) -> anyhow::Result<Result<Client, Vec<String>>> {
    let keys: Value = match (&add.jwks, &add.generate_key) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?
        }
        (None, Some(path)) => json!({"keys": [keys::generate(path, &add.kid)?]}),
        (None, None) => anyhow::bail!("say where the client's keys come from: --jwks FILE or --generate-key FILE"),
    };
    let document = json!({
        "id": add.id,
        "name": add.name.as_deref().unwrap_or(&add.id),
        "actor": add.actor,
        "keys": keys,
        "scopes": add.scope,
        "purposes": add.purpose,
    });
    Ok(Client::parse(&document.to_string()))
}
