//! What it costs to deliver, beside a client that posts the same bytes to the same system and does nothing else; and what
//! many destinations that are away cost whoever sends: `cargo bench --bench deliver`.
//!
//! The gateway runs here as it runs in production. The system that receives is this same binary in a process of its own:
//! it answers at once and keeps nothing but counts. Nothing is asserted about speed; a delivery that does not arrive ends
//! the run. `cargo bench --bench deliver -- many` measures the many alone, and `one` the one.

#[path = "../kernel.rs"]
mod kernel;
#[path = "../accept/load.rs"]
mod load;
#[path = "../accept/probe.rs"]
mod probe;
mod simulated;
mod sink;
#[path = "../accept/stage.rs"]
mod stage;

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use load::{Plan, Work};
use probe::Usage;
use simulated::Simulated;
use sink::{Counts, Sample, Sink};
use stage::{Loaded, Stage, is_bench, seconds};

/// Requests under way at once, on both sides of the comparison.
const CONCURRENT: usize = 8;
const BUNDLE: usize = 20;
const MANY: u32 = 1000;
/// Nobody listens there.
const AWAY: &str = "http://127.0.0.1:9/fhir";

fn main() -> anyhow::Result<()> {
    let has = |word: &str| std::env::args().any(|argument| argument == word);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if has("--load") {
        return runtime.block_on(load::run());
    }
    if has("--sink") {
        return runtime.block_on(sink::run());
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != "--platform").skip(1);
    if let Some(directory) = arguments.next() {
        return runtime.block_on(simulated::run(Path::new(&directory)));
    }
    runtime.block_on(async {
        let (one, many) = (has("one"), has("many"));
        if one || !many {
            deliveries().await?;
        }
        if many || !one {
            backlogs().await?;
        }
        Ok(())
    })
}

/// A destination that is sent everything.
fn destination(name: &str, access: &str) -> String {
    destination_of(name, "Observation", access)
}

/// A destination that is sent everything of a type.
fn destination_of(name: &str, kind: &str, access: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nactor = \"{}\"\nkinds = [\"{kind}\"]\n\
         [destination.rate]\nconcurrent = {CONCURRENT}\n[destination.fhir]\n{access}",
        stage::PLATFORM
    )
}

/// The way to a system that asks nobody who it is.
fn open(url: &str) -> String {
    format!("url = \"{url}\"\nbatch = true\n[destination.fhir.auth]\nkind = \"none\"\n")
}

/// How fast what waits is delivered, by single pushes and by Bundles, and what plain requests of the same bytes cost.
async fn deliveries() -> anyhow::Result<()> {
    println!("delivery, {CONCURRENT} requests under way, beside the same requests by a client that has them ready");
    println!(
        "{:<44}{:>10}{:>12}{:>12}{:>10}{:>14}{:>14}",
        "", "requests", "requests/s", "plain/s", "of plain", "own µs CPU", "plain µs CPU"
    );
    for (name, work) in [("single observations", Work::Single), ("Bundles of 20", Work::Bundle(BUNDLE))] {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let sink = Sink::start().await?;
        let simulated = Simulated::start().await?;
        let at_once = destination("platform", &open(&sink.url));
        let looking = destination("simulated", &simulated.access());
        let section = format!("{at_once}{looking}");
        // It is known from the beginning, and away while the data comes in.
        let stage = Stage::set(directory.path(), &section).await?;
        let stage = stage.again("").await?;
        let outcome = stage.load(name, plan(&stage, work, seconds(4))).await?.outcome;
        let expected = outcome.requests + outcome.warm;
        let stage = stage.again(&at_once).await?;
        let before = Usage::now()?;
        let counts = sink.wait(expected).await?;
        let own = Pace { rate: rate(&counts), cpu_us: cpu_us(&before, expected)? };
        let samples = sink.samples().await?;
        let each = outcome.observations_each as f64;
        let all = (expected as f64 * each) as u64;
        let stage = stage.again(&looking).await?;
        let before = Usage::now()?;
        let simulated_rate = simulated.rate(all).await? / each;
        let own_there = Pace { rate: simulated_rate, cpu_us: cpu_us(&before, expected)? };
        stage.running.stop().await;

        let ready = Ready { http: reqwest::Client::new(), origin: sink.origin.clone(), bearer: None, samples };
        sink.reset().await?;
        let before = Usage::now()?;
        ready.send(expected).await?;
        let plain = Pace { rate: rate(&sink.wait(expected).await?), cpu_us: cpu_us(&before, expected)? };
        print(&format!("{name}, a system that answers at once"), expected, &own, &plain);
        // What it has already it would only compare: another one hears the same for the first time.
        drop(simulated);
        let simulated = Simulated::start().await?;
        let bearer = Some(simulated.token().await?);
        let ready = Ready { http: simulated.http.clone(), origin: simulated.url.clone(), bearer, ..ready };
        let before = Usage::now()?;
        let (sent, received) = tokio::join!(ready.send(expected), simulated.rate(all));
        sent?;
        let plain = Pace { rate: received? / each, cpu_us: cpu_us(&before, expected)? };
        print(&format!("{name}, the simulated platform"), expected, &own_there, &plain);
    }
    Ok(())
}

/// Requests in a second, and what one takes of this process' CPU time.
struct Pace {
    rate: f64,
    cpu_us: f64,
}

fn cpu_us(before: &Usage, requests: u64) -> anyhow::Result<f64> {
    Ok(1e6 * Usage::now()?.since(before).cpu_seconds / requests as f64)
}

fn print(name: &str, requests: u64, own: &Pace, plain: &Pace) {
    let of_plain = own.rate / plain.rate;
    println!(
        "{name:<44}{requests:>10}{:>12.0}{:>12.0}{of_plain:>10.2}{:>14.0}{:>14.0}",
        own.rate, plain.rate, own.cpu_us, plain.cpu_us
    );
}

fn plan(stage: &Stage, work: Work, seconds: u64) -> Plan {
    Plan { connections: 32, streams: 0, work, seconds, ..stage.plan.clone() }
}

fn rate(counts: &Counts) -> f64 {
    counts.requests as f64 / counts.seconds
}

/// A client that has the same requests ready.
struct Ready {
    http: reqwest::Client,
    origin: String,
    bearer: Option<String>,
    samples: Vec<Sample>,
}

impl Ready {
    async fn send(&self, count: u64) -> anyhow::Result<()> {
        ensure!(self.samples.len() as u64 == count, "{} samples of {count}", self.samples.len());
        stream::iter(&self.samples)
            .map(|sample| {
                let request = reqwest::Method::from_bytes(sample.method.as_bytes()).map(|method| {
                    let request = self.http.request(method, format!("{}{}", self.origin, sample.path));
                    let request = self.bearer.iter().fold(request, reqwest::RequestBuilder::bearer_auth);
                    request.header("content-type", "application/fhir+json").body(sample.body.clone())
                });
                async move {
                    let answer = request?.send().await?.error_for_status()?;
                    anyhow::Ok(answer.bytes().await?)
                }
            })
            .buffer_unordered(CONCURRENT)
            .try_for_each(|_| async { Ok(()) })
            .await
    }
}

/// What sending costs while so many destinations are away, or are there and not concerned, beside what it costs without any.
async fn backlogs() -> anyhow::Result<()> {
    let many = if is_bench() { MANY } else { 3 };
    println!(
        "\npushes while {many} destinations are away with a backlog, or at rest, beside none (two runs each, by turns)"
    );
    println!("{:<28}{:>12}{:>12}{:>10}{:>12}", "", "obs/s", "obs/s/core", "cores", "obs/group");
    let all: String = (0..many).map(|at| destination(&format!("away-{at}"), &open(AWAY))).collect();
    let at_rest = |at: u32| destination_of(&format!("at-rest-{at}"), "QuestionnaireResponse", &open(AWAY));
    let resting: String = (0..many).map(at_rest).collect();
    let mut sums = [[0.0_f64; 2]; 3];
    for _ in 0..2 {
        let sections = [("none", ""), ("away", all.as_str()), ("at rest", resting.as_str())];
        for (at, (name, section)) in sections.into_iter().enumerate() {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
            let Loaded { outcome, usage, groups } = loaded(directory.path(), section).await?;
            let observations = outcome.requests as f64 * outcome.observations_each as f64;
            let (rate, per_core) = (observations / outcome.seconds, observations / usage.cpu_seconds);
            sums[at][0] += rate;
            sums[at][1] += per_core;
            let cores = usage.cpu_seconds / outcome.seconds;
            let together = observations / groups.max(1) as f64;
            println!("{name:<28}{rate:>12.0}{per_core:>12.0}{cores:>10.2}{together:>12.1}");
        }
    }
    println!("peak memory {:.0} MB", kernel::peak_memory_mb()?);
    let [none, rest @ ..] = sums;
    for (name, with) in ["away", "at rest"].into_iter().zip(rest) {
        println!("with {many} {name} of without: {:.2} in time, {:.2} per core", with[0] / none[0], with[1] / none[1]);
    }
    Ok(())
}

async fn loaded(directory: &Path, section: &str) -> anyhow::Result<Loaded> {
    let known = destination("known", &open(AWAY));
    let stage = Stage::set(directory, &known).await?.again(section).await?;
    // All of them have met what waits for them, and have given up for now.
    let few = Plan { connections: 4, ..plan(&stage, Work::Bundle(BUNDLE), seconds(2)) };
    stage.load("warm", few).await?;
    if is_bench() {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let loaded = stage.load("measured", plan(&stage, Work::Bundle(BUNDLE), seconds(8))).await?;
    stage.running.stop().await;
    Ok(loaded)
}
