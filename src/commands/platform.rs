//! `platform`: the simulated national platform as a process of its own.
//!
//! It says on standard output where it listens, in one JSON line, and serves until it is told to end by a signal. Where it
//! knows a gateway to pull from, it takes orders on standard input, one a line: `pull PATIENT` reads that person's
//! observations back from the gateway as a registered client and answers with a JSON line; then it ends when its input ends.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::{assemble, runtime, token};
use crate::conformance::platform;
use crate::server::tls;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Directory for its certificate and log.
    #[arg(long)]
    directory: PathBuf,
    /// Address to listen on; loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// Client id of the gateway that delivers here.
    #[arg(long)]
    client: String,
    /// Id of that client's key.
    #[arg(long, default_value = "key-1")]
    kid: String,
    /// That client's public key (PEM, P-384).
    #[arg(long)]
    public_key: PathBuf,
    /// Whose tokens open the door.
    #[arg(long, value_enum, default_value_t = Admission::Client)]
    admission: Admission,
    /// Code that was never promised; receiving it is a violation.
    #[arg(long)]
    refuse_code: Vec<String>,
    /// What to do with the first writes: down, busy, table, redirect, revoke, duplicate, slow, hang, garbage, half, lie or
    /// error-after-accept, and perhaps with how many, such as hang:3.
    #[arg(long, value_name = "MODE[:COUNT]")]
    fault: Option<platform::Fault>,
    /// Bundle of what it has of its own and can be asked for, such as care plans and persons.
    #[arg(long, value_name = "FILE")]
    holds: Option<PathBuf>,
    /// Country pack of the national system to be played, such as fr-ens; plain FHIR without one.
    #[arg(long, value_name = "PACK")]
    pack: Option<String>,
    /// A folder of a pack of one's own, which --pack may name.
    #[arg(long, value_name = "FOLDER", requires = "pack")]
    folder: Vec<PathBuf>,
    /// FHIR base address of the gateway to pull from.
    #[arg(long, requires_all = ["pull_client", "pull_key", "pull_cacert"])]
    pull_url: Option<String>,
    /// Our client id there.
    #[arg(long)]
    pull_client: Option<String>,
    /// Our private key there (PEM, P-384).
    #[arg(long)]
    pull_key: Option<PathBuf>,
    /// The gateway's certificate.
    #[arg(long)]
    pull_cacert: Option<PathBuf>,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Admission {
    /// The client, by tokens of its own.
    Client,
    /// The same, by tokens that are bound to its key (DPoP).
    Possession,
    /// The client, by tokens that citizens gave it.
    Citizens,
    /// The client, by a secret and tokens each of which is for one person (IUA).
    Persons,
}

impl From<Admission> for platform::Admission {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Client => platform::Admission::Client,
            Admission::Possession => platform::Admission::Possession,
            Admission::Citizens => platform::Admission::Citizens,
            Admission::Persons => platform::Admission::Persons,
        }
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(options.listen.ip().is_loopback(), "the simulated platform listens on loopback only");
    let shelf = assemble::packs_of(&options.folder)?;
    let found = |name: &String| shelf.find(name).cloned().with_context(|| format!("there is no pack {name}"));
    let pack = options.pack.as_ref().map(found).transpose()?;
    runtime()?.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        std::fs::create_dir_all(&options.directory)?;
        let own = tls::self_signed(&options.directory)?;
        let listener = TcpListener::bind(options.listen).await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let config = platform::Config {
            tls: Some(platform::Tls {
                cert_pem: std::fs::read_to_string(&own.certificate)?,
                key_pem: std::fs::read_to_string(&own.key)?,
            }),
            url: url.clone(),
            client_id: options.client.clone(),
            kid: options.kid.clone(),
            public_key_pem: std::fs::read_to_string(&options.public_key)
                .with_context(|| format!("reading {}", options.public_key.display()))?,
            admission: options.admission.into(),
            token_seconds: 300,
            refuse_codes: options.refuse_code.clone(),
            pack,
            log: Some(options.directory.join("received.ndjson")),
            holds: options.holds.as_deref().map(held).transpose()?.unwrap_or_default(),
            fault: options.fault.unwrap_or_default(),
            clock: Arc::new(jiff::Timestamp::now),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(platform::run(config, listener, async {
            let _ = stopped.await;
        }));
        say(&json!({"url": url, "certificate": own.certificate})).await?;
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
            served = orders(options), if options.pull_url.is_some() => served?,
        }
        let _ = stop.send(());
        serving.await??;
        Ok(ExitCode::SUCCESS)
    })
}

/// Does what it is told on standard input, until that ends.
async fn orders(options: &Options) -> anyhow::Result<()> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        let answer = match order.strip_prefix("pull ") {
            Some(patient) => {
                pull(options, patient.trim()).await.unwrap_or_else(|error| json!({"error": format!("{error:#}")}))
            }
            None => json!({"error": "unknown order"}),
        };
        say(&answer).await?;
    }
    Ok(())
}

/// The resources of a Bundle.
fn held(path: &std::path::Path) -> anyhow::Result<Vec<Value>> {
    let reading = || format!("reading {}", path.display());
    let bundle: Value = serde_json::from_slice(&std::fs::read(path).with_context(reading)?).with_context(reading)?;
    let entries = bundle["entry"].as_array().context("a Bundle is expected")?;
    Ok(entries.iter().map(|entry| entry["resource"].clone()).collect())
}

async fn say(value: &Value) -> anyhow::Result<()> {
    let mut out = tokio::io::stdout();
    out.write_all(format!("{value}\n").as_bytes()).await?;
    Ok(out.flush().await?)
}

/// Every page of a person's observations, summed up by code.
async fn pull(options: &Options, patient: &str) -> anyhow::Result<Value> {
    let (Some(base), Some(client), Some(key)) = (&options.pull_url, &options.pull_client, &options.pull_key) else {
        anyhow::bail!("started without --pull-url");
    };
    let http = token::http(options.pull_cacert.as_deref())?;
    let pem = std::fs::read(key)?;
    let token_url = base.replace("/fhir", "/auth/token");
    let asked = token::Asked { url: &token_url, client, kid: "key-1", pem: &pem, scope: None };
    let bearer = token::fetch(&http, &asked).await?;
    let mut next = Some(format!("{base}/Observation?patient={patient}&_sort=date&_count=10"));
    let mut codes: Vec<String> = Vec::new();
    let mut pages = 0;
    while let Some(url) = next.take() {
        let response = http.get(&url).bearer_auth(&bearer).send().await?;
        let status = response.status();
        let bundle: Value = serde_json::from_slice(&response.bytes().await?)?;
        anyhow::ensure!(status.is_success(), "{status}");
        pages += 1;
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            codes.push(entry["resource"]["code"]["coding"][0]["code"].as_str().unwrap_or_default().to_owned());
        }
        next = bundle["link"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|link| link["relation"] == "next")
            .and_then(|link| link["url"].as_str().map(str::to_owned));
    }
    Ok(json!({"pulled": codes.len(), "pages": pages, "codes": codes}))
}
