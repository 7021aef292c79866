//! The simulated national platform in a process of its own: TLS, tokens, a look at what it is sent and a log of it.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mhealth_gateway::commands::{keys, token};
use mhealth_gateway::conformance::platform::{self, Admission};
use mhealth_gateway::server::tls;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const CLIENT: &str = "mhealth-gateway";
const KID: &str = "key-1";

pub struct Simulated {
    pub url: String,
    pub http: reqwest::Client,
    directory: tempfile::TempDir,
    _child: Child,
}

impl Simulated {
    pub async fn start() -> anyhow::Result<Simulated> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let key = directory.path().join("gateway-key.pem");
        keys::generate(&key, KID)?;
        keys::write_public(&key, &directory.path().join("gateway-public.pem"))?;
        let own = tls::self_signed(directory.path())?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--platform".as_ref(), directory.path().as_os_str()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("a pipe from the platform")?;
        let url = BufReader::new(output).lines().next_line().await?.context("an address")?;
        Ok(Simulated { url, http: token::http(Some(&own.certificate))?, directory, _child: child })
    }

    /// The gateway's way to it.
    pub fn access(&self) -> String {
        let file = |name: &str| Value::from(self.directory.path().join(name).to_string_lossy()).to_string();
        format!(
            "url = \"{url}/fhir\"\nca = {ca}\nbatch = true\n[destination.fhir.auth]\nkind = \"backend-services\"\n\
             token_url = \"{url}/token\"\nclient_id = \"{CLIENT}\"\nprivate_key_pem = {key}\nkid = \"{KID}\"\n\
             scope = \"system/Observation.cu\"\n",
            url = self.url,
            ca = file("tls-certificate.pem"),
            key = file("gateway-key.pem"),
        )
    }

    pub async fn token(&self) -> anyhow::Result<String> {
        let pem = std::fs::read(self.directory.path().join("gateway-key.pem"))?;
        let url = format!("{}/token", self.url);
        let scope = Some("system/Observation.cu");
        let asked = token::Asked { url: &url, client: CLIENT, kid: KID, pem: &pem, scope };
        token::fetch(&self.http, &asked).await
    }

    async fn received(&self) -> anyhow::Result<u64> {
        let answer = self.http.get(format!("{}/account", self.url)).send().await?;
        let account: Value = serde_json::from_slice(&answer.bytes().await?)?;
        account["received"].as_u64().context("how much was received")
    }

    /// Waits until so many measurements were received; how many a second.
    pub async fn rate(&self, expected: u64) -> anyhow::Result<f64> {
        let waiting = Instant::now();
        let mut began = None;
        loop {
            let came = self.received().await?;
            if came > 0 && began.is_none() {
                began = Some((Instant::now(), came));
            }
            if let Some((time, first)) = began
                && came >= expected
            {
                return Ok((came - first) as f64 / time.elapsed().as_secs_f64());
            }
            ensure!(waiting.elapsed() < Duration::from_mins(5), "{came} of {expected} arrived");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Serves until it is killed.
pub async fn run(directory: &Path) -> anyhow::Result<()> {
    let own = tls::self_signed(directory)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    println!("{url}");
    let config = platform::Config {
        tls: Some(platform::Tls {
            cert_pem: std::fs::read_to_string(&own.certificate)?,
            key_pem: std::fs::read_to_string(&own.key)?,
        }),
        url,
        client_id: CLIENT.to_owned(),
        kid: KID.to_owned(),
        public_key_pem: std::fs::read_to_string(directory.join("gateway-public.pem"))?,
        admission: Admission::Client,
        token_seconds: 300,
        refuse_codes: Vec::new(),
        pack: None,
        log: Some(directory.join("received.ndjson")),
        holds: Vec::new(),
        fault: platform::Fault::default(),
        clock: Arc::new(jiff::Timestamp::now),
    };
    Ok(platform::run(config, listener, std::future::pending()).await?)
}
