//! One line on the terminal that says how far a long run has come. Nothing where nobody watches.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Shorter runs show nothing.
const QUIET: Duration = Duration::from_millis(700);
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

pub(in crate::commands) struct Progress {
    on: bool,
    /// Bytes to come, where they are known.
    total: Option<u64>,
    read: u64,
    next: Instant,
    shown: bool,
}

impl Progress {
    pub fn new(inputs: &[PathBuf]) -> Progress {
        let on = std::io::stderr().is_terminal();
        let sizes = inputs.iter().map(|path| std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file));
        let total = sizes.map(|file| file.map(|file| file.len())).sum::<Option<u64>>().filter(|_| on);
        Progress { on, total, read: 0, next: Instant::now() + QUIET, shown: false }
    }

    /// So many bytes more are done. The words say what has come of all of them.
    pub fn advance(&mut self, bytes: u64, words: impl FnOnce() -> String) {
        if !self.on {
            return;
        }
        self.read += bytes;
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        self.clear();
        self.shown = true;
        eprint!("{}{}", words(), bar(self.read, self.total));
        let _ = std::io::stderr().flush();
    }

    /// Takes the line away, so that something else can stand there.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            eprint!("\r\x1b[K");
        }
    }
}

fn bar(read: u64, total: Option<u64>) -> String {
    let Some(total) = total.filter(|total| *total > 0) else { return String::new() };
    let done = (read.min(total) * WIDTH / total) as usize;
    format!(" [{}{}] {} %", "=".repeat(done), " ".repeat(WIDTH as usize - done), read.min(total) * 100 / total)
}
