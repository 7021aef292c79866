//! What the kernel says of this process, for every bench.

use std::fs;

use anyhow::Context;

pub fn peak_memory_mb() -> anyhow::Result<f64> {
    Ok(number("/proc/self/status", "VmHWM:")? as f64 / 1024.0)
}

/// The number after a name in a file of /proc.
pub fn number(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path)?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name} in {path}"))?;
    Ok(rest.split_whitespace().next().context(path.to_owned())?.parse()?)
}
