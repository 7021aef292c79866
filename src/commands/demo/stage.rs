//! Setting the stage: two processes, three key pairs, two registered clients.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::Options;
use super::account::Account;
use super::app::App;
use crate::commands::serve::Running;
use crate::commands::{client, keys, token};
use crate::config::Config;
use crate::policy::access::client::Client;

pub(super) const APP: &str = "band-app";
pub(super) const APP_ACTOR: &str = "Organization/band-app";
pub(super) const PLATFORM: &str = "national-platform";
pub(super) const PLATFORM_ACTOR: &str = "Organization/national-platform";

/// Says that a directory is a demonstration's, and is locked as long as one runs in it.
const MARK: &str = ".demo";

/// Everything that is running.
pub(super) struct Stage {
    pub app: App,
    pub platform: Platform,
    running: Running,
    directory: PathBuf,
    patient: Option<String>,
    /// Held until everything else is gone, so that no other demonstration empties the directory meanwhile.
    _lock: File,
}

/// The second process.
pub(super) struct Platform {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    http: reqwest::Client,
    pub url: String,
    pub certificate: PathBuf,
}

impl Stage {
    pub(super) async fn set(options: &Options, account: &Account) -> anyhow::Result<Stage> {
        let (directory, lock) = emptied(&options.directory)?;
        let port = free(options.port)?;
        let base = format!("https://localhost:{port}/fhir");
        let app_key = directory.join("app-key.pem");
        let pull_key = directory.join("platform-key.pem");
        let gateway_key = directory.join("gateway-key.pem");
        let app_jwk = keys::generate(&app_key, "key-1")?;
        let pull_jwk = keys::generate(&pull_key, "key-1")?;
        keys::generate(&gateway_key, "key-1")?;
        let public = directory.join("gateway-public.pem");
        keys::write_public(&gateway_key, &public)?;
        // The gateway's own certificate is made before it starts, because the platform is to trust it.
        let data = directory.join("gateway");
        fs::create_dir_all(&data)?;
        let certificate = crate::server::tls::self_signed(&data)?.certificate;

        let platform = Platform::start(&directory, &public, &base, &pull_key, &certificate).await?;
        account.note(&format!("national platform  {}  (a second process)", platform.url));

        let file = directory.join("gateway.toml");
        fs::write(&file, configuration(port, &data, &platform, &gateway_key))?;
        let config = Config::read(Some(&fs::read_to_string(&file)?), &std::collections::BTreeMap::new())
            .map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
        let running = Running::start(&config).await?;
        account.note(&format!("gateway            {base}  (TLS, embedded store in {})", data.display()));

        let app_scopes =
            "system/Patient.cru system/Consent.cru system/Device.cru system/Observation.crus system/AuditEvent.s";
        for (id, name, actor, jwk, scopes) in [
            (APP, "Band app", APP_ACTOR, app_jwk, app_scopes),
            (PLATFORM, "National platform", PLATFORM_ACTOR, pull_jwk, "system/Observation.rs"),
        ] {
            let document = json!({"id": id, "name": name, "actor": actor, "keys": {"keys": [jwk]}, "scopes": scopes, "purposes": ["TREAT"], "visits": id == APP});
            let registered =
                Client::parse(&document.to_string()).map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))?;
            client::register(&running.gateway.store, &registered).await?;
            account.note(&format!("registered         {id}, known to consents as {actor}"));
        }
        let app = App::sign_in(token::http(Some(&certificate))?, base, APP, app_key).await?;
        Ok(Stage { app, platform, running, directory, patient: None, _lock: lock })
    }

    pub(super) fn remember_patient(&mut self, patient: &str) {
        self.patient = Some(patient.to_owned());
    }

    /// Addresses to open and lines to try.
    pub(super) fn invite(&self, account: &Account) {
        let base = &self.app.base;
        let ca = self.directory.join("gateway/tls-certificate.pem");
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("mhealth-gateway"));
        let token = format!(
            "$({} token --client {APP} --key {} --cacert {} --url {})",
            shown(&program),
            shown(&self.directory.join("app-key.pem")),
            shown(&ca),
            base.replace("/fhir", "/auth/token")
        );
        let patient = self.patient.as_deref().unwrap_or_default();
        account.title("Still serving; Ctrl-C ends it. To open or to try:");
        account.print(&format!("  {}/    (the implementation guide)", base.replace("/fhir", "/guide")));
        account.print(&format!("  {base}/metadata"));
        account.print(&format!("  {}/account    (what the platform received)", self.platform.url));
        account.print("");
        account.print(&format!("  curl --cacert {} {base}/metadata", shown(&ca)));
        account.print(&format!(
            "  curl --cacert {} -H \"Authorization: Bearer {token}\" '{base}/Observation?patient={patient}&_sort=-date&_count=3'",
            shown(&ca)
        ));
        account.print(&format!(
            "  curl --cacert {} -H \"Authorization: Bearer {token}\" '{base}/AuditEvent?patient={patient}&_count=5'",
            shown(&ca)
        ));
        account.print(&format!(
            "  curl --cacert {} -H \"Authorization: Bearer {token}\" -H 'Content-Type: application/fhir+json' -d '{{\"resourceType\":\"Observation\",\"status\":\"finished\"}}' '{base}/Observation'",
            shown(&ca)
        ));
        account.print(&format!(
            "  curl --cacert {} -H \"Authorization: Bearer {token}\" -X POST '{base}/Patient/{patient}/$visit'    (a link to the person's own page)",
            shown(&ca)
        ));
        account.print(&format!("  curl --cacert {} {}/account", shown(&self.platform.certificate), self.platform.url));
    }

    pub(super) async fn strike(mut self) {
        self.platform.end().await;
        self.running.stop().await;
    }
}

impl Platform {
    async fn start(
        directory: &Path,
        public: &Path,
        base: &str,
        pull_key: &Path,
        certificate: &Path,
    ) -> anyhow::Result<Platform> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .arg("platform")
            .arg("--directory")
            .arg(directory.join("platform"))
            .args(["--client", "mhealth-gateway", "--public-key"])
            .arg(public)
            // Sleep and glucose were never promised to the platform.
            .args(["--refuse-code", "93832-4", "--refuse-code", "15074-8"])
            .args(["--pull-url", base, "--pull-client", PLATFORM, "--pull-key"])
            .arg(pull_key)
            .arg("--pull-cacert")
            .arg(certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the platform's process")?;
        let orders = child.stdin.take().context("the platform's input")?;
        let mut answers = BufReader::new(child.stdout.take().context("the platform's output")?).lines();
        let line = answers.next_line().await?.context("the platform did not start")?;
        let ready: Value = serde_json::from_str(&line)?;
        let url = ready["url"].as_str().context("the platform's address")?.to_owned();
        let certificate = PathBuf::from(ready["certificate"].as_str().context("the platform's certificate")?);
        let http = token::http(Some(&certificate))?;
        Ok(Platform { child, orders, answers, http, url, certificate })
    }

    /// What it has received so far.
    pub(super) async fn account(&self) -> anyhow::Result<Value> {
        let response = self.http.get(format!("{}/account", self.url)).send().await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    }

    /// Has it read a person's observations back from the gateway.
    pub(super) async fn pull(&mut self, patient: &str) -> anyhow::Result<Value> {
        self.orders.write_all(format!("pull {patient}\n").as_bytes()).await?;
        self.orders.flush().await?;
        let line = self.answers.next_line().await?.context("the platform ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn end(&mut self) {
        let _ = self.orders.shutdown().await;
        // Its input has ended, so it ends by itself; if not, dropping it kills it.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(3), self.child.wait()).await;
    }
}

/// The directory, empty but for the mark by which a demonstration knows its own, and the lock on that mark.
fn emptied(directory: &Path) -> anyhow::Result<(PathBuf, File)> {
    let shown = directory.display();
    let mark = directory.join(MARK);
    if directory.exists() {
        let ours = mark.exists() || fs::read_dir(directory)?.next().is_none();
        anyhow::ensure!(ours, "{shown} is not a directory of a demonstration; name another with --directory");
    }
    // Private keys and a person's measurements lie below.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(|| format!("making {shown}"))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    let lock = File::options().create(true).append(true).open(&mark).with_context(|| format!("opening {MARK}"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!("another demonstration runs in {shown}; end it, or name another directory with --directory")
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking {}", mark.display())),
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != MARK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok((directory.canonicalize()?, lock))
}

/// The wished port, or any free one.
fn free(port: u16) -> anyhow::Result<u16> {
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", port)).or_else(|_| std::net::TcpListener::bind(("127.0.0.1", 0)))?;
    Ok(listener.local_addr()?.port())
}

fn configuration(port: u16, data: &Path, platform: &Platform, gateway_key: &Path) -> String {
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    format!(
        r#"# The demonstration's gateway. `mhealth-gateway serve --config` takes the same file.
listen = "127.0.0.1:{port}"
data = {data}

[[destination]]
name = "{PLATFORM}"
actor = "{PLATFORM_ACTOR}"
purpose = "TREAT"
kinds = ["Observation"]

[destination.fhir]
url = "{url}/fhir"
ca = {ca}
batch = true

[destination.fhir.auth]
kind = "backend-services"
token_url = "{url}/token"
client_id = "mhealth-gateway"
private_key_pem = {key}
kid = "key-1"
scope = "system/Observation.cu"
"#,
        data = quoted(data),
        url = platform.url,
        ca = quoted(&platform.certificate),
        key = quoted(gateway_key),
    )
}

/// A path as a shell takes it.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
