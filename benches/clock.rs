//! CPU time of a piece of work, for the benches.

use std::fs;
use std::time::Instant;

use anyhow::Context;

/// Nanoseconds that this thread has been on a CPU; others may use the machine at the same time.
fn thread_nanos() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().context("schedstat")?.parse()?)
}

/// CPU time of one call in microseconds: the best of several rounds, since noise only adds.
pub fn micros(mut work: impl FnMut()) -> anyhow::Result<f64> {
    const ROUND_SECONDS: f64 = 0.15;
    let started = Instant::now();
    let mut calls = 0_u32;
    while started.elapsed().as_secs_f64() < ROUND_SECONDS {
        work();
        calls += 1;
    }
    let mut best = f64::MAX;
    for _ in 0..5 {
        let before = thread_nanos()?;
        for _ in 0..calls {
            work();
        }
        best = best.min((thread_nanos()? - before) as f64 / 1e3 / f64::from(calls));
    }
    Ok(best)
}
