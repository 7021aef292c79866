//! A gateway as it runs in production, on loopback with its data on a disk: persons who consent, a client with a token, and
//! whoever loads it in a process of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use mhealth_gateway::commands::{Running, keys, token};
use mhealth_gateway::config::Config;
use mhealth_gateway::exchange::CATEGORY_SYSTEM;
use mhealth_gateway::policy::access::client::Client;
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::policy::consent::draft::{Draft, Permit};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::load::{Outcome, Plan, Work};
use crate::probe::Usage;

const PERSONS: usize = 256;
pub const ACTOR: &str = "Organization/app";
/// By what name persons let data go to whoever it is delivered to.
pub const PLATFORM: &str = "Organization/platform";

/// How long a row runs. `cargo bench` passes `--bench`; `cargo test` does not, and only wants to see that all of it works.
pub fn seconds(full: u64) -> u64 {
    if is_bench() { full } else { 1 }
}

pub fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

pub struct Stage {
    pub running: Running,
    pub plan: Plan,
    directory: PathBuf,
}

/// What a load came to, measured on both sides.
pub struct Loaded {
    pub outcome: Outcome,
    /// Of the server, while the load ran.
    pub usage: Usage,
    pub groups: u64,
}

/// A gateway with its data in a directory, and sections of its configuration.
async fn run(directory: &Path, listener: TcpListener, sections: &str) -> anyhow::Result<(Running, Config)> {
    let port = listener.local_addr()?.port();
    let data = Value::from(directory.to_str().context("a path in UTF-8")?);
    let text = format!("listen = \"127.0.0.1:{port}\"\ndata = {data}\n{sections}");
    let config = Config::read(Some(&text), &BTreeMap::new())
        .map_err(|mistakes| anyhow::anyhow!("mistakes in the configuration: {mistakes:?}"))?;
    Ok((Running::start_on(listener, &config).await?, config))
}

impl Stage {
    /// A running gateway, a client with a token, and persons who consent.
    pub async fn set(directory: &Path, sections: &str) -> anyhow::Result<Stage> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (running, config) = run(directory, listener, sections).await?;
        let certificate = directory.join("tls-certificate.pem");
        let http = token::http(Some(&certificate))?;
        let key = directory.join("app.pem");
        let registration = json!({
            "id": "app", "name": "app", "actor": ACTOR, "purposes": ["TREAT"],
            "keys": {"keys": [keys::generate(&key, "key-1")?]},
            "scopes": "system/Patient.cru system/Consent.cru system/Observation.crus",
        });
        let registration = Client::parse(&registration.to_string())
            .map_err(|mistakes| anyhow::anyhow!("{} mistake(s) in the registration", mistakes.len()))?;
        running.gateway.store.put_client("app", &registration.document().to_string()).await?;
        let url = config.base_url.replace("/fhir", "/auth/token");
        let asked = token::Asked { url: &url, client: "app", kid: "key-1", pem: &std::fs::read(&key)?, scope: None };
        let bearer = token::fetch(&http, &asked).await?;
        let mut persons = Vec::with_capacity(PERSONS);
        for _ in 0..PERSONS {
            let person = json!({"resourceType": "Patient", "active": true});
            let patient = post(&http, &config.base_url, &bearer, "Patient", &person).await?;
            post(&http, &config.base_url, &bearer, "Consent", &consent(&patient, !sections.is_empty())).await?;
            persons.push(patient);
        }
        let plan = Plan {
            port,
            certificate,
            bearer,
            persons,
            connections: 1,
            streams: 0,
            work: Work::Single,
            seconds: 1,
            batch: String::new(),
        };
        Ok(Stage { running, plan, directory: directory.to_owned() })
    }

    /// The same gateway, begun again with other sections.
    #[allow(dead_code, reason = "of the benches that share this only one begins again")]
    pub async fn again(self, sections: &str) -> anyhow::Result<Stage> {
        let Stage { running, plan, directory } = self;
        running.stop().await;
        let listener = TcpListener::bind(("127.0.0.1", plan.port)).await?;
        let (running, _) = run(&directory, listener, sections).await?;
        Ok(Stage { running, plan, directory })
    }

    /// Runs one plan in a process of its own.
    pub async fn load(&self, name: &str, plan: Plan) -> anyhow::Result<Loaded> {
        let load = Load::ready(&Plan { batch: name.to_owned(), ..plan }).await?;
        let feed = self.running.gateway.store.feed_changed();
        let (groups, before) = (*feed.borrow(), Usage::now()?);
        let outcome = load.go().await?;
        let usage = Usage::now()?.since(&before);
        let groups = *feed.borrow() - groups;
        Ok(Loaded { outcome, usage, groups })
    }
}

/// Whoever loads a gateway, in a process of its own.
pub struct Load {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Load {
    /// Connected, and waiting.
    pub async fn ready(plan: &Plan) -> anyhow::Result<Load> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = child.stdin.take().context("a pipe to the load")?;
        let mut output = BufReader::new(child.stdout.take().context("a pipe from the load")?).lines();
        input.write_all(format!("{}\n", serde_json::to_string(plan)?).as_bytes()).await?;
        output.next_line().await?.context("the load did not become ready")?;
        Ok(Load { child, input, output })
    }

    pub async fn go(mut self) -> anyhow::Result<Outcome> {
        self.input.write_all(b"go\n").await?;
        let line = self.output.next_line().await?.context("the load broke off")?;
        ensure!(self.child.wait().await?.success(), "the load failed");
        Ok(serde_json::from_str(&line)?)
    }
}

async fn post(http: &reqwest::Client, base: &str, bearer: &str, kind: &str, body: &Value) -> anyhow::Result<String> {
    let request = http.post(format!("{base}/{kind}")).bearer_auth(bearer);
    let response = request.header("content-type", "application/fhir+json").body(body.to_string()).send().await?;
    let status = response.status();
    let answer: Value = serde_json::from_slice(&response.bytes().await?)?;
    ensure!(status == 201, "{kind}: {status} {answer}");
    Ok(answer["id"].as_str().context("a resource with an id")?.to_owned())
}

/// What a person consents to: this app collects and reads heart rates, and perhaps a platform gets them.
pub fn consent(patient: &str, discloses: bool) -> Value {
    let permit = |actor: &str, actions| Permit {
        actor: actor.to_owned(),
        actions,
        purposes: vec!["TREAT".to_owned()],
        codings: vec![(CATEGORY_SYSTEM.to_owned(), "heart-rate".to_owned())],
        period_ms: (None, None),
    };
    let mut permits = vec![permit(ACTOR, vec![Action::Collect, Action::Access])];
    if discloses {
        permits.push(permit(PLATFORM, vec![Action::Disclose]));
    }
    let patient = format!("Patient/{patient}");
    Draft { patient, made_ms: 1_700_000_000_000, permits, until_ms: None }.consent()
}
