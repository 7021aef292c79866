//! Which of several readings of one measure count.
//!
//! What a reading is follows from the set of readings and the person's order alone. A reading does not count where some
//! source that is listed before its own has one of the same time, whether or not that one counts itself: what a chain of
//! overlaps comes to would else hang on its far end.

use std::collections::HashMap;

use super::{Order, Source};

/// A reading, and the time that it takes up, half open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed<'a> {
    pub source: &'a Source,
    pub start_ms: i64,
    pub end_ms: i64,
}

/// What a reading is beside the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It counts, and nothing else tells of its time.
    Alone,
    /// It counts before others.
    First,
    /// Another source tells of its time, and the person has not said which of them counts: both do.
    Undecided,
    /// It does not count, but what the entry of that place names.
    Secondary(usize),
}

/// The readings of one source, so that what overlaps is found without looking at all of them.
struct Line<'a> {
    source: &'a Source,
    rank: usize,
    /// Start, and the last end of all that started by then; in the order of starts.
    spans: Vec<(i64, i64)>,
}

impl Line<'_> {
    fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        let before = self.spans.partition_point(|(start, _)| *start < end_ms);
        before > 0 && self.spans[before - 1].1 > start_ms
    }
}

/// Decides the readings of one person and measure.
pub fn decide(readings: &[Placed<'_>], order: Option<&Order>) -> Vec<Role> {
    let lines = lines(readings, order);
    readings.iter().map(|reading| role(reading, &lines, order)).collect()
}

fn lines<'a>(readings: &[Placed<'a>], order: Option<&Order>) -> Vec<Line<'a>> {
    let mut by_source: HashMap<&Source, Vec<(i64, i64)>> = HashMap::new();
    for reading in readings {
        by_source.entry(reading.source).or_default().push((reading.start_ms, reading.end_ms));
    }
    let line = |(source, mut spans): (&'a Source, Vec<(i64, i64)>)| {
        spans.sort_unstable();
        let mut last = i64::MIN;
        for (_, end) in &mut spans {
            last = last.max(*end);
            *end = last;
        }
        Line { source, rank: rank(source, order), spans }
    };
    by_source.into_iter().map(line).collect()
}

/// What is not listed comes after all that is.
fn rank(source: &Source, order: Option<&Order>) -> usize {
    order.and_then(|order| order.rank(source)).unwrap_or(usize::MAX)
}

fn role(reading: &Placed<'_>, lines: &[Line<'_>], order: Option<&Order>) -> Role {
    let own = rank(reading.source, order);
    let others = lines.iter().filter(|line| {
        line.source != reading.source
            && comparable(line.source, reading.source, order)
            && line.overlaps(reading.start_ms, reading.end_ms)
    });
    let (mut role, mut before) = (Role::Alone, usize::MAX);
    for line in others {
        if line.rank < own {
            before = before.min(line.rank);
            role = Role::Secondary(before);
        } else if !matches!(role, Role::Secondary(_)) {
            let undecided = line.rank == own || role == Role::Undecided;
            role = if undecided { Role::Undecided } else { Role::First };
        }
    }
    role
}

/// What two clients send is compared only where the person named both: neither learns else what the other knows.
fn comparable(one: &Source, other: &Source, order: Option<&Order>) -> bool {
    one.client == other.client || order.is_some_and(|order| order.names_both(&one.client, &other.client))
}
