//! What came of the records, by their type.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::fhir::outcome::Id;

/// What came of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Converted,
    /// Converted, and something is to be said of it.
    Flagged(Id),
    /// Of a type that is not taken, and the guide says why.
    LeftOut,
    Refused(Id),
}

#[derive(Default)]
struct Row {
    read: u64,
    converted: u64,
    flagged: u64,
    left_out: u64,
    refused: u64,
    why: BTreeMap<Id, u64>,
}

#[derive(Default)]
pub(super) struct Summary {
    rows: BTreeMap<String, Row>,
    pub records: u64,
    pub resources: u64,
    pub refused: u64,
    /// What series made of Observations, by what it says.
    pub series: BTreeMap<String, u64>,
}

/// Most types that have a line of their own: a hostile file has as many as it likes.
const MAX_ROWS: usize = 500;

impl Summary {
    pub fn add(&mut self, kind: &str, fate: Fate) {
        self.records += 1;
        let kind = if self.rows.len() < MAX_ROWS || self.rows.contains_key(kind) { kind } else { "others" };
        if !self.rows.contains_key(kind) {
            self.rows.insert(kind.to_owned(), Row::default());
        }
        let Some(row) = self.rows.get_mut(kind) else { return };
        row.read += 1;
        let why = match fate {
            Fate::Converted => {
                row.converted += 1;
                None
            }
            Fate::Flagged(id) => {
                row.converted += 1;
                row.flagged += 1;
                Some(id)
            }
            Fate::LeftOut => {
                row.left_out += 1;
                None
            }
            Fate::Refused(id) => {
                row.refused += 1;
                self.refused += 1;
                Some(id)
            }
        };
        if let Some(id) = why {
            *row.why.entry(id).or_default() += 1;
        }
    }

    pub fn series(&mut self, what: impl Into<String>) {
        *self.series.entry(what.into()).or_default() += 1;
    }

    /// The table.
    pub fn text(&self) -> String {
        let width = self.rows.keys().map(|kind| kind.chars().count()).max().unwrap_or_default().clamp(4, 60);
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = writeln!(
            out,
            "{:width$}  {:>9} {:>9} {:>9} {:>9} {:>9}  why",
            "type", "read", "converted", "flagged", "left out", "refused"
        );
        for (kind, row) in &self.rows {
            let why: Vec<String> = row.why.iter().map(|(id, count)| format!("{id} {count}")).collect();
            let line = format!(
                "{kind:width$}  {:>9} {:>9} {:>9} {:>9} {:>9}  {}",
                row.read,
                row.converted,
                row.flagged,
                row.left_out,
                row.refused,
                why.join(", ")
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for (what, count) in &self.series {
            let _ = writeln!(out, "{what}: {count}");
        }
        let _ = writeln!(out, "{} records, {} resources, {} refused", self.records, self.resources, self.refused);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_type() {
        let mut summary = Summary::default();
        for fate in [
            Fate::Converted,
            Fate::Flagged(Id::MeasureUnusual),
            Fate::Refused(Id::DeviceRecord),
            Fate::Refused(Id::DeviceRecord),
        ] {
            summary.add("HeartRate", fate);
        }
        summary.add("Audiogram", Fate::LeftOut);
        summary.resources = 2;
        let lines: Vec<String> =
            summary.text().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "type read converted flagged left out refused why",
                "Audiogram 1 0 0 1 0",
                "HeartRate 4 2 1 0 2 measure-unusual 1, device-record 2",
                "5 records, 2 resources, 2 refused",
            ]
        );
    }
}
