//! What a push and a pull cost, beside the limits that no gateway can beat: `cargo bench`.
//!
//! The server runs here as it runs in production, over TLS on loopback, with validation, consent and audit, and its
//! data on a disk. Whoever loads it is this same binary in a process of its own, so that the CPU time that is
//! reported is the server's alone. Nothing is asserted about speed; a request that is not answered as it should be
//! ends the run. `cargo bench --bench accept -- pull` measures pages alone.

#[path = "../clock.rs"]
mod clock;
#[path = "../kernel.rs"]
mod kernel;
mod limits;
mod load;
mod probe;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use mhealth_gateway::commands::{Running, keys, token};
use mhealth_gateway::config::Config;
use mhealth_gateway::exchange::CATEGORY_SYSTEM;
use mhealth_gateway::policy::access::client::Client;
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::policy::consent::draft::{Draft, Permit};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use load::{Outcome, Plan, Work};
use probe::Usage;

const PERSONS: usize = 256;
const BUNDLE: usize = 100;
const ACTOR: &str = "Organization/app";

fn main() -> anyhow::Result<()> {
    let loads = std::env::args().any(|argument| argument == "--load");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if loads { runtime.block_on(load::run()) } else { runtime.block_on(measure()) }
}

/// How long a row runs. `cargo bench` passes `--bench`; `cargo test` does not, and only wants to see that all of it works.
fn seconds(full: u64) -> u64 {
    if is_bench() { full } else { 1 }
}

fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// One row of work, measured on both sides.
struct Row {
    name: &'static str,
    outcome: Outcome,
    /// Of the server, while the load ran.
    usage: Usage,
    groups: u64,
}

struct Stage {
    running: Running,
    plan: Plan,
}

async fn measure() -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let began = Instant::now();
    let stage = Stage::set(directory.path()).await?;
    println!(
        "data in {}, {PERSONS} persons set up in {:.1} s",
        directory.path().display(),
        began.elapsed().as_secs_f64()
    );
    let plan = |connections, streams, work, seconds| Plan { connections, streams, work, seconds, ..stage.plan.clone() };
    if std::env::args().any(|argument| argument == "pull") {
        stage.row("Bundle of 100, 12 x HTTP/1.1", plan(12, 0, Work::Bundle(BUNDLE), seconds(4))).await?;
        print_pulls(&stage.pulls().await?);
        stage.running.stop().await;
        return Ok(());
    }
    let rows = [
        stage.row("single, 64 x HTTP/1.1", plan(64, 0, Work::Single, seconds(12))).await?,
        stage.row("single, 8 x 8 HTTP/2", plan(8, 8, Work::Single, seconds(12))).await?,
        stage.row("Bundle of 100, 12 x HTTP/1.1", plan(12, 0, Work::Bundle(BUNDLE), seconds(15))).await?,
        stage.row("single, 1 x HTTP/1.1", plan(1, 0, Work::Single, seconds(6))).await?,
    ];
    let pulls = stage.pulls().await?;
    let memory = kernel::peak_memory_mb()?;
    stage.running.stop().await;
    let limits = limits::measure(directory.path(), &rows[0], &rows[2])?;
    print_table(&rows, &pulls, &limits, memory);
    Ok(())
}

impl Stage {
    /// A running gateway, a client with a token, and persons who consent.
    async fn set(directory: &std::path::Path) -> anyhow::Result<Stage> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let data = Value::from(directory.to_str().context("a path in UTF-8")?);
        let text = format!("listen = \"127.0.0.1:{port}\"\ndata = {data}\n");
        let config = Config::read(Some(&text), &BTreeMap::new())
            .map_err(|mistakes| anyhow::anyhow!("{} mistake(s) in the configuration", mistakes.len()))?;
        let running = Running::start_on(listener, &config).await?;
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
            post(&http, &config.base_url, &bearer, "Consent", &consent(&patient)).await?;
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
        Ok(Stage { running, plan })
    }

    /// Pages of those persons, by few clients and by many.
    async fn pulls(&self) -> anyhow::Result<[Row; 3]> {
        let work = Work::Pull(if is_bench() { 50 } else { 5 });
        let plan = |connections| Plan { connections, streams: 0, work, seconds: seconds(6), ..self.plan.clone() };
        Ok([
            self.row("search of 50, 1 x HTTP/1.1", plan(1)).await?,
            self.row("search of 50, 4 x HTTP/1.1", plan(4)).await?,
            self.row("search of 50, 32 x HTTP/1.1", plan(32)).await?,
        ])
    }

    /// Runs one plan in a process of its own.
    async fn row(&self, name: &'static str, plan: Plan) -> anyhow::Result<Row> {
        let plan = Plan { batch: name.to_owned(), ..plan };
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--load")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = child.stdin.take().context("a pipe to the load")?;
        let mut output = BufReader::new(child.stdout.take().context("a pipe from the load")?).lines();
        input.write_all(format!("{}\n", serde_json::to_string(&plan)?).as_bytes()).await?;
        output.next_line().await?.context("the load did not become ready")?;
        let feed = self.running.gateway.store.feed_changed();
        let (groups, before) = (*feed.borrow(), Usage::now()?);
        input.write_all(b"go\n").await?;
        let line = output.next_line().await?.context("the load broke off")?;
        let usage = Usage::now()?.since(&before);
        let groups = *feed.borrow() - groups;
        ensure!(child.wait().await?.success(), "the load failed");
        Ok(Row { name, outcome: serde_json::from_str(&line)?, usage, groups })
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

/// What a person consents to: this app collects and reads heart rates.
pub fn consent(patient: &str) -> Value {
    let permit = Permit {
        actor: ACTOR.to_owned(),
        actions: vec![Action::Collect, Action::Access],
        purposes: vec!["TREAT".to_owned()],
        codings: vec![(CATEGORY_SYSTEM.to_owned(), "heart-rate".to_owned())],
        period_ms: (None, None),
    };
    let patient = format!("Patient/{patient}");
    Draft { patient, made_ms: 1_700_000_000_000, permits: vec![permit], until_ms: None }.consent()
}

impl Row {
    fn observations(&self) -> f64 {
        self.outcome.requests as f64 * self.outcome.observations_each as f64
    }

    fn per_second(&self) -> f64 {
        self.observations() / self.outcome.seconds
    }

    /// Observations in one CPU second of the server.
    fn per_core(&self) -> f64 {
        self.observations() / self.usage.cpu_seconds
    }

    fn per_group(&self) -> f64 {
        self.observations() / self.groups.max(1) as f64
    }

    fn bytes_per_group(&self) -> f64 {
        self.usage.written_bytes as f64 / self.groups.max(1) as f64
    }
}

fn print_pulls(pulls: &[Row]) {
    println!("\npull: consented per entry, audited before the first byte");
    for pull in pulls {
        println!(
            "{:<30}{:>9.0}/s {:>9.2} ms of server CPU, {:>6.2} of the client's, p50 {:.1} ms, p99 {:.1} ms",
            pull.name,
            pull.outcome.requests as f64 / pull.outcome.seconds,
            1e3 * pull.usage.cpu_seconds / pull.outcome.requests as f64,
            1e3 * pull.outcome.cpu_seconds / pull.outcome.requests as f64,
            pull.outcome.p50_ms,
            pull.outcome.p99_ms,
        );
    }
}

fn print_table(rows: &[Row], pulls: &[Row], limits: &limits::Limits, memory: f64) {
    println!("\npush: validated, consented, audited, on the disk when answered");
    println!(
        "{:<30}{:>9}{:>10}{:>12}{:>11}{:>9}{:>9}{:>9}{:>11}{:>12}",
        "", "obs/s", "obs/s/core", "server us", "client us", "cores", "p50 ms", "p99 ms", "obs/group", "bytes/obs"
    );
    for row in rows {
        println!(
            "{:<30}{:>9.0}{:>10.0}{:>12.1}{:>11.1}{:>9.2}{:>9.1}{:>9.1}{:>11.1}{:>12.0}",
            row.name,
            row.per_second(),
            row.per_core(),
            1e6 / row.per_core(),
            1e6 * row.outcome.cpu_seconds / row.observations(),
            row.usage.cpu_seconds / row.outcome.seconds,
            row.outcome.p50_ms,
            row.outcome.p99_ms,
            row.per_group(),
            row.usage.written_bytes as f64 / row.observations(),
        );
    }
    print_pulls(pulls);
    println!("\nlimits and parts, one thread, per observation");
    for part in &limits.parts {
        println!("{:<42}{:>9.2} us{:>12.0}/s/core", part.name, part.micros, 1e6 / part.micros);
    }
    println!("\nappend and fdatasync alone, groups as large as seen");
    for append in &limits.appends {
        println!(
            "{:<30}{:>9.0} syncs/s of {:>8.0} bytes, {:>8.0} obs/s",
            append.name, append.syncs_per_second, append.bytes, append.observations_per_second
        );
    }
    println!("\nratios of this run");
    let (single, bundle) = (&rows[0], &rows[2]);
    println!(
        "{:<50}{:>7.2}",
        "single: obs/s of append's",
        single.per_second() / limits.appends[0].observations_per_second
    );
    println!(
        "{:<50}{:>7.2}",
        "Bundle: obs/s of append's",
        bundle.per_second() / limits.appends[1].observations_per_second
    );
    println!("{:<50}{:>7.3}", "single: obs/s/core of parse's", single.per_core() * limits.parts[0].micros / 1e6);
    println!("{:<50}{:>7.3}", "Bundle: obs/s/core of parse's", bundle.per_core() * limits.parts[1].micros / 1e6);
    println!("\npeak memory of the server {memory:.0} MB");
}
