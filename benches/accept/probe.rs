//! What the kernel says of this process: CPU time and bytes written.

use std::fs;

use anyhow::Context;

use crate::kernel::number;

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
