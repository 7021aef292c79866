//! What a push and a pull cost, beside the limits that no gateway can beat: `cargo bench`.
//!
//! The server runs here as it runs in production, over TLS on loopback, with validation, consent and audit, and its
//! data on a disk. Whoever loads it is this same binary in a process of its own, so that the CPU time that is
//! reported is the server's alone. Nothing is asserted about speed; a request that is not answered as it should be
//! ends the run. `cargo bench --bench accept -- pull 20` measures pages alone, of twenty each, and `-- gateways GROUP GROUP...` several gateways
//! on one server, each a process in a control group of its own.

#[path = "../clock.rs"]
mod clock;
mod gateways;
#[path = "../kernel.rs"]
mod kernel;
mod limits;
mod load;
mod probe;
mod stage;

use std::time::Instant;

use load::{Plan, Work};
use stage::{Loaded, Stage, is_bench, seconds};

const BUNDLE: usize = 100;

fn main() -> anyhow::Result<()> {
    let loads = std::env::args().any(|argument| argument == "--load");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(groups) = gateways::asked() {
        return gateways::measure(&runtime, &groups);
    }
    if loads { runtime.block_on(load::run()) } else { runtime.block_on(measure()) }
}

/// One row of work, measured on both sides.
struct Row {
    name: String,
    loaded: Loaded,
}

async fn measure() -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let began = Instant::now();
    let stage = Stage::set(directory.path(), "").await?;
    println!(
        "data in {}, {} persons set up in {:.1} s",
        directory.path().display(),
        stage.plan.persons.len(),
        began.elapsed().as_secs_f64()
    );
    let plan = |connections, streams, work, seconds| Plan { connections, streams, work, seconds, ..stage.plan.clone() };
    if std::env::args().any(|argument| argument == "pull") {
        row(&stage, "Bundle of 100, 12 x HTTP/1.1", plan(12, 0, Work::Bundle(BUNDLE), seconds(4))).await?;
        print_pulls(&pulls(&stage).await?);
        stage.running.stop().await;
        return Ok(());
    }
    let rows = [
        row(&stage, "single, 64 x HTTP/1.1", plan(64, 0, Work::Single, seconds(12))).await?,
        row(&stage, "single, 8 x 8 HTTP/2", plan(8, 8, Work::Single, seconds(12))).await?,
        row(&stage, "Bundle of 100, 12 x HTTP/1.1", plan(12, 0, Work::Bundle(BUNDLE), seconds(15))).await?,
        row(&stage, "single, 1 x HTTP/1.1", plan(1, 0, Work::Single, seconds(6))).await?,
    ];
    let pulls = pulls(&stage).await?;
    let memory = kernel::peak_memory_mb()?;
    stage.running.stop().await;
    let limits = limits::measure(directory.path(), &rows[0], &rows[2])?;
    print_table(&rows, &pulls, &limits, memory);
    Ok(())
}

/// Pages of those persons, by few clients and by many.
async fn pulls(stage: &Stage) -> anyhow::Result<[Row; 3]> {
    let asked = std::env::args().skip_while(|word| word != "pull").nth(1).and_then(|count| count.parse().ok());
    let each = asked.unwrap_or(if is_bench() { 50 } else { 5 });
    let work = Work::Pull(each);
    let plan = |connections| Plan { connections, streams: 0, work, seconds: seconds(6), ..stage.plan.clone() };
    Ok([
        row(stage, &format!("search of {each}, 1 x HTTP/1.1"), plan(1)).await?,
        row(stage, &format!("search of {each}, 4 x HTTP/1.1"), plan(4)).await?,
        row(stage, &format!("search of {each}, 32 x HTTP/1.1"), plan(32)).await?,
    ])
}

async fn row(stage: &Stage, name: &str, plan: Plan) -> anyhow::Result<Row> {
    Ok(Row { name: name.to_owned(), loaded: stage.load(name, plan).await? })
}

impl Row {
    fn observations(&self) -> f64 {
        self.loaded.outcome.requests as f64 * self.loaded.outcome.observations_each as f64
    }

    fn per_second(&self) -> f64 {
        self.observations() / self.loaded.outcome.seconds
    }

    /// Observations in one CPU second of the server.
    fn per_core(&self) -> f64 {
        self.observations() / self.loaded.usage.cpu_seconds
    }

    fn per_group(&self) -> f64 {
        self.observations() / self.loaded.groups.max(1) as f64
    }

    fn bytes_per_group(&self) -> f64 {
        self.loaded.usage.written_bytes as f64 / self.loaded.groups.max(1) as f64
    }
}

fn print_pulls(pulls: &[Row]) {
    println!("\npull: consented per entry, audited before the first byte");
    for pull in pulls {
        println!(
            "{:<30}{:>9.0}/s {:>9.2} ms of server CPU, {:>6.2} of the client's, p50 {:.1} ms, p99 {:.1} ms",
            pull.name,
            pull.loaded.outcome.requests as f64 / pull.loaded.outcome.seconds,
            1e3 * pull.loaded.usage.cpu_seconds / pull.loaded.outcome.requests as f64,
            1e3 * pull.loaded.outcome.cpu_seconds / pull.loaded.outcome.requests as f64,
            pull.loaded.outcome.p50_ms,
            pull.loaded.outcome.p99_ms,
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
            1e6 * row.loaded.outcome.cpu_seconds / row.observations(),
            row.loaded.usage.cpu_seconds / row.loaded.outcome.seconds,
            row.loaded.outcome.p50_ms,
            row.loaded.outcome.p99_ms,
            row.per_group(),
            row.loaded.usage.written_bytes as f64 / row.observations(),
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
