//! Several gateways on one PostgreSQL server, each a process of its own in a control group that says how much of a processor it
//! has: what one of them takes, and what all of them take together.

#[allow(dead_code, reason = "tests do more with servers")]
#[expect(clippy::unwrap_used, reason = "it is a part of the tests")]
#[path = "../../tests/it/postgres.rs"]
mod postgres;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mhealth_gateway::commands::token;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;

use crate::BUNDLE;
use crate::load::{Plan, Work};
use crate::stage::{Load, Stage, seconds};

/// What a server is given where it has a machine to itself.
const ROOM: &[&str] = &["-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB", "-c", "wal_compression=lz4"];

/// The directories of the control groups that are named behind the word.
pub fn asked() -> Option<Vec<PathBuf>> {
    let mut words = std::env::args().skip_while(|word| word != "gateways");
    words.next()?;
    Some(words.filter(|word| !word.starts_with("--")).map(PathBuf::from).collect())
}

/// A gateway in a process of its own.
struct Gateway {
    _process: Child,
    plan: Plan,
}

pub fn measure(runtime: &Runtime, groups: &[PathBuf]) -> anyhow::Result<()> {
    ensure!(groups.len() > 1, "name the directories of two control groups or more");
    let own = postgres::Own::start(ROOM);
    runtime.block_on(compare(&own.url(), groups))
}

async fn compare(url: &str, groups: &[PathBuf]) -> anyhow::Result<()> {
    let sections = format!("[store]\nurl = {url:?}\n");
    let first = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let Stage { running, plan, .. } = Stage::set(first.path(), &sections).await?;
    running.stop().await;
    let mut gateways = Vec::new();
    let mut directories = Vec::new();
    for group in groups {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        // Whoever shares a store has the same key.
        std::fs::copy(first.path().join("gateway.key"), directory.path().join("gateway.key"))?;
        gateways.push(Gateway::start(directory.path(), &sections, (first.path(), &plan), group).await?);
        directories.push(directory);
    }
    println!("{:<24}{:>12}{:>14}{:>8}", "", "one, obs/s", "all, obs/s", "ratio");
    let works = [("Bundle of 100", Work::Bundle(BUNDLE), 6), ("single", Work::Single, 32)];
    for round in 0..3 {
        for (name, work, connections) in works {
            let plan = |number: usize, gateway: &Gateway| Plan {
                work,
                connections,
                seconds: seconds(10),
                batch: format!("{name}-{round}-{number}"),
                ..gateway.plan.clone()
            };
            let one = rate(&[plan(0, &gateways[0])]).await?;
            let plans: Vec<Plan> = gateways.iter().enumerate().map(|(number, one)| plan(number + 1, one)).collect();
            let all = rate(&plans).await?;
            println!("{name:<24}{one:>12.0}{all:>14.0}{:>8.2}", all / one);
        }
    }
    Ok(())
}

/// Observations in a second that are taken where all are loaded at once.
async fn rate(plans: &[Plan]) -> anyhow::Result<f64> {
    let mut loads = Vec::new();
    for plan in plans {
        loads.push(Load::ready(plan).await?);
    }
    let tasks: Vec<_> = loads.into_iter().map(|load| tokio::spawn(load.go())).collect();
    let mut rate = 0.0;
    for task in tasks {
        let outcome = task.await??;
        rate += (outcome.requests * outcome.observations_each as u64) as f64 / outcome.seconds;
    }
    Ok(rate)
}

impl Gateway {
    /// With the client that an earlier one registered.
    async fn start(
        directory: &Path,
        sections: &str,
        (registered, plan): (&Path, &Plan),
        group: &Path,
    ) -> anyhow::Result<Gateway> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let data = Value::from(directory.to_str().context("a path in UTF-8")?);
        let config = directory.join("gateway.toml");
        std::fs::write(&config, format!("listen = \"127.0.0.1:{port}\"\ndata = {data}\n{sections}"))?;
        let process = Command::new(env!("CARGO_BIN_EXE_mhealth-gateway"))
            .args(["serve".as_ref(), "--config".as_ref(), config.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().context("a process that runs")?;
        std::fs::write(group.join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("cannot put a process into {}", group.display()))?;
        let certificate = directory.join("tls-certificate.pem");
        let is_up = async || certificate.exists() && TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        let patience = Instant::now() + Duration::from_mins(1);
        while !is_up().await {
            ensure!(Instant::now() < patience, "a gateway did not come up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (url, pem) = (format!("https://localhost:{port}/auth/token"), std::fs::read(registered.join("app.pem"))?);
        let asked = token::Asked { url: &url, client: "app", kid: "key-1", pem: &pem, scope: None };
        let bearer = token::fetch(&token::http(Some(&certificate))?, &asked).await?;
        Ok(Gateway { _process: process, plan: Plan { port, certificate, bearer, ..plan.clone() } })
    }
}
