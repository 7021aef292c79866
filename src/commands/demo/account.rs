//! What the person in front of the terminal reads, and whether it is what was promised.

use std::cell::Cell;
use std::io::{IsTerminal, Write};

use serde_json::Value;

/// The running account.
pub(super) struct Account {
    colours: bool,
    kept: Cell<usize>,
    broken: Cell<usize>,
    /// Nobody reads any more.
    closed: Cell<bool>,
}

impl Account {
    pub(super) fn new() -> Self {
        Account {
            colours: std::io::stdout().is_terminal(),
            kept: Cell::new(0),
            broken: Cell::new(0),
            closed: Cell::new(false),
        }
    }

    /// A reader that has seen enough, such as `head`, is no failure: what follows is not told, and the exit code still
    /// says what came of it.
    pub(super) fn print(&self, text: &str) {
        if self.closed.get() {
            return;
        }
        let mut out = std::io::stdout().lock();
        let told = writeln!(out, "{text}").and_then(|()| out.flush());
        self.closed.set(told.is_err());
    }

    pub(super) fn is_read(&self) -> bool {
        !self.closed.get()
    }

    pub(super) fn title(&self, text: &str) {
        self.print(&format!("\n{}", self.paint("1", text)));
    }

    pub(super) fn note(&self, text: &str) {
        self.print(&format!("  {}", self.paint("2", text)));
    }

    /// One line of the account: what happened, to what.
    pub(super) fn line(&self, colour: &str, word: &str, text: &str) {
        self.print(&format!("  {} {text}", self.paint(colour, &format!("{word:<10}"))));
    }

    /// The issues of an OperationOutcome, as a vendor's developer reads them.
    pub(super) fn issues(&self, outcome: &Value) {
        for issue in outcome["issue"].as_array().into_iter().flatten() {
            let id = issue["details"]["coding"][0]["code"].as_str().unwrap_or_default();
            let expression = issue["expression"][0].as_str().unwrap_or_default();
            let place =
                issue["extension"].as_array().into_iter().flatten().filter_map(|part| part["valueInteger"].as_i64());
            let place: Vec<String> = place.map(|number| number.to_string()).collect();
            let place = if place.is_empty() { String::new() } else { format!(" (line {})", place.join(", column ")) };
            self.print(&format!("             {} {expression}{place}", self.paint("33", &format!("[{id}]"))));
            self.print(&format!("             {}", issue["details"]["text"].as_str().unwrap_or_default()));
            self.print(&format!(
                "             {}",
                self.paint("2", &format!("→ {}", issue["diagnostics"].as_str().unwrap_or_default()))
            ));
        }
    }

    /// Holds what happened against the promise.
    pub(super) fn promise(&self, kept: bool, otherwise: &str) {
        if kept {
            self.kept.set(self.kept.get() + 1);
        } else {
            self.broken(otherwise);
        }
    }

    pub(super) fn broken(&self, text: &str) {
        self.broken.set(self.broken.get() + 1);
        self.print(&format!("  {} {text}", self.paint("31;1", "DIFFERENT ")));
    }

    pub(super) fn is_as_promised(&self) -> bool {
        self.broken.get() == 0
    }

    pub(super) fn sum(&self) {
        let (kept, broken) = (self.kept.get(), self.broken.get());
        let text = format!("{kept} promises kept, {broken} broken");
        self.print(&format!("\n{}", self.paint(if broken == 0 { "32;1" } else { "31;1" }, &text)));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
