//! What the kernel says of this process: CPU time, bytes written, memory.

use std::fs;
use std::time::Instant;

use anyhow::Context;

/// CPU and disk of this process so far, or between two moments.
pub struct Usage {
    /// User and system, all threads.
    pub cpu_seconds: f64,
    /// Bytes that this process caused to be sent to the disk.
    pub written_bytes: u64,
}

/// Ticks of /proc/[pid]/stat in a second, the same on every Linux that we build for.
const TICKS: f64 = 100.0;

impl Usage {
    pub fn now() -> anyhow::Result<Usage> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The name of the process stands in parentheses and may hold spaces; utime and stime are 14th and 15th.
        let (_, rest) = stat.rsplit_once(')').context("/proc/self/stat")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut ticks = || anyhow::Ok(fields.next().context("/proc/self/stat")?.parse::<f64>()?);
        let cpu_seconds = (ticks()? + ticks()?) / TICKS;
        let written_bytes = number("/proc/self/io", "write_bytes:")?;
        Ok(Usage { cpu_seconds, written_bytes })
    }

    pub fn since(&self, before: &Usage) -> Usage {
        Usage {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written_bytes: self.written_bytes - before.written_bytes,
        }
    }
}

pub fn peak_memory_mb() -> anyhow::Result<f64> {
    Ok(number("/proc/self/status", "VmHWM:")? as f64 / 1024.0)
}

fn number(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path)?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name} in {path}"))?;
    Ok(rest.split_whitespace().next().context(path.to_owned())?.parse()?)
}

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
