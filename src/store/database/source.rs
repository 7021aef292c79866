//! Where a search takes its candidates from.
//!
//! `Merge` is the way of nearly every search: a patient's rows of one code lie in date order, so any number of
//! patients and codes is a merge of ordered runs, and a page costs as much as it is long, however long the history. A
//! source without codes walks the distinct codes of the patient, skipping from one to the next.

use std::collections::{BTreeSet, VecDeque};

use super::row::{self, LABELLED, filed};
use crate::store::id::PatientKey;
use crate::store::plan::{Dated, Key, LONG_END, Plan, Sieve, Together, UNDATED};
use crate::store::sql::{self, Connection, Optional, params};

/// Rows fetched from one run at a time.
const CHUNK: usize = 64;

pub(super) enum Source {
    Listed(Listed),
    Merge(Merge),
    Scan(Scan),
    Recent(Recent),
}

impl Source {
    /// The next candidate: its place in the source's order, if it has one, and its sequence number.
    pub(super) fn next(&mut self, connection: &Connection) -> sql::Result<Option<Key>> {
        match self {
            Self::Listed(listed) => Ok(listed.0.pop_front().map(|seq| Key(seq as i64, seq))),
            Self::Merge(merge) => merge.next(connection),
            Self::Scan(scan) => scan.next(connection),
            Self::Recent(recent) => recent.next(connection),
        }
    }
}

/// Candidates known one by one.
pub(super) struct Listed(VecDeque<u64>);

impl Listed {
    pub(super) fn ids(connection: &Connection, kind: &str, ids: &[String]) -> sql::Result<Self> {
        let mut seqs = Vec::with_capacity(ids.len());
        for id in ids {
            seqs.extend(row::find(connection, kind, id)?);
        }
        seqs.sort_unstable();
        seqs.dedup();
        Ok(Self(seqs.into()))
    }

    pub(super) fn token(connection: &Connection, hash: i64, budget: usize) -> sql::Result<Self> {
        // One more than may be looked at, so that the search notices.
        let most = budget.saturating_add(1).min(i64::MAX as usize) as i64;
        let mut statement = connection.prepare_cached("SELECT seq FROM token WHERE hash = ?1 ORDER BY seq LIMIT ?2")?;
        let rows = statement.query_map([hash, most], |row| Ok(row.get::<i64>(0)? as u64))?;
        Ok(Self(rows.collect::<Result<_, _>>()?))
    }
}

/// Everything of one kind, in the order of creation.
pub(super) struct Scan {
    kind: i64,
    descending: bool,
    at: i64,
    chunk: VecDeque<u64>,
    ended: bool,
}

impl Scan {
    pub(super) fn new(kind: i64, descending: bool, after: Option<Key>) -> Self {
        let start = if descending { i64::MAX } else { 0 };
        let at = after.map_or(start, |key| key.1 as i64);
        Self { kind, descending, at, chunk: VecDeque::new(), ended: false }
    }

    fn next(&mut self, connection: &Connection) -> sql::Result<Option<Key>> {
        if self.chunk.is_empty() && !self.ended {
            let sql = if self.descending {
                "SELECT seq FROM resource WHERE kind = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
            } else {
                "SELECT seq FROM resource WHERE kind = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
            };
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![self.kind, self.at, CHUNK as i64], |row| row.get::<i64>(0))?;
            for seq in rows {
                self.chunk.push_back(seq? as u64);
            }
            self.ended = self.chunk.len() < CHUNK;
            self.at = self.chunk.back().map_or(self.at, |seq| *seq as i64);
        }
        Ok(self.chunk.pop_front().map(|seq| Key(seq as i64, seq)))
    }
}

/// What of one kind was last changed within some time, in that order.
pub(super) struct Recent {
    kind: i64,
    descending: bool,
    at: Key,
    /// First moment that is asked for, and first one that is not any more.
    within: (i64, i64),
    chunk: VecDeque<Key>,
    ended: bool,
}

impl Recent {
    pub(super) fn new(kind: i64, plan: &Plan) -> Self {
        let descending = plan.order.descending;
        let within = plan.updated.unwrap_or((i64::MIN, i64::MAX));
        let start = if descending { Key(i64::MAX, i64::MAX as u64) } else { Key(i64::MIN, 0) };
        Self { kind, descending, at: plan.after.unwrap_or(start), within, chunk: VecDeque::new(), ended: false }
    }

    fn next(&mut self, connection: &Connection) -> sql::Result<Option<Key>> {
        if self.chunk.is_empty() && !self.ended {
            let sql = if self.descending {
                "SELECT updated, seq FROM resource WHERE kind = ?1 AND updated >= ?2 AND updated < ?3
                 AND updated <= ?4 AND NOT (updated = ?4 AND seq >= ?5) ORDER BY updated DESC, seq DESC LIMIT ?6"
            } else {
                "SELECT updated, seq FROM resource WHERE kind = ?1 AND updated >= ?2 AND updated < ?3
                 AND updated >= ?4 AND NOT (updated = ?4 AND seq <= ?5) ORDER BY updated, seq LIMIT ?6"
            };
            let (from, until) = self.within;
            let mut statement = connection.prepare_cached(sql)?;
            let (seq, most) = (self.at.1 as i64, CHUNK as i64);
            let asked = params![self.kind, from, until, self.at.0, seq, most];
            let rows = statement.query_map(asked, |row| Ok(Key(row.get(0)?, row.get::<i64>(1)? as u64)))?;
            for key in rows {
                self.chunk.push_back(key?);
            }
            self.ended = self.chunk.len() < CHUNK;
            self.at = self.chunk.back().copied().unwrap_or(self.at);
        }
        Ok(self.chunk.pop_front())
    }
}

/// Ordered runs of patients and codes, merged by date.
pub(super) struct Merge {
    runs: Vec<Run>,
    /// Those that the plan's sieve keeps back.
    kept_back: Vec<Run>,
    /// The first row of each run that has one.
    heads: BTreeSet<(Key, usize)>,
    descending: bool,
    last: Option<Key>,
}

/// The rows of one patient that lie together, in date order.
struct Run {
    patient: PatientKey,
    under: i64,
    at: Key,
    until: i64,
    chunk: VecDeque<Key>,
    ended: bool,
    /// Of what goes on for long, beside another run of the rest.
    is_long: bool,
}

/// What is known of the labels that resources of the store carry.
#[derive(Clone, Copy)]
pub(super) struct Labels {
    /// Whether there are any.
    pub(super) are_some: bool,
    /// Whether what lies under none carries none.
    pub(super) told_apart: bool,
}

/// What is looked for of each patient.
pub(super) struct LookedFor<'l> {
    pub(super) kind: i64,
    pub(super) codes: Option<&'l [i64]>,
    pub(super) labels: Labels,
    pub(super) plan: &'l Plan,
    pub(super) after: Option<Key>,
}

impl Merge {
    pub(super) fn new(
        connection: &Connection,
        patients: &[PatientKey],
        looked_for: &LookedFor<'_>,
    ) -> sql::Result<Self> {
        let LookedFor { kind, codes, labels, plan, after } = *looked_for;
        let descending = plan.order.descending;
        let asked = plan.date.unwrap_or((i64::MIN, i64::MAX));
        let resumed = |start: Key, is_long: bool| {
            let after = after.map(|Key(place, seq)| match place {
                UNDATED => Key(UNDATED, seq),
                _ if is_long => Key(Dated::Long(place).column(), seq),
                _ => Key(place, seq),
            });
            match after {
                None => start,
                Some(after) if descending => after.min(start),
                Some(after) => after.max(start),
            }
        };
        // Sequence numbers start at 1, so 0 stands before every row of its date.
        let run = |patient, under, (from, until): (i64, i64)| {
            let is_long = until <= LONG_END;
            let (start, until) = if descending { (Key(until, 0), from) } else { (Key(from, 0), until) };
            Run { patient, under, at: resumed(start, is_long), until, chunk: VecDeque::new(), ended: false, is_long }
        };
        // In the order of dates what goes on for long lies between the others.
        let runs = |patient, under, (from, until): (i64, i64)| {
            let long = (from < LONG_END).then_some((from, until.min(LONG_END)));
            let dated = (until > LONG_END).then_some((from.max(LONG_END), until));
            long.into_iter().chain(dated).map(move |range| run(patient, under, range))
        };
        let mut patients = patients.to_vec();
        patients.sort_unstable();
        patients.dedup();
        let mut merge =
            Self { runs: Vec::new(), kept_back: Vec::new(), heads: BTreeSet::new(), descending, last: None };
        for patient in patients {
            let own = match codes {
                Some(codes) => {
                    let labelled = if labels.are_some { labelled(connection, patient, codes)? } else { Vec::new() };
                    codes.iter().copied().chain(labelled).collect()
                }
                None => all_of(connection, patient, kind)?,
            };
            for under in own {
                let dates = match &plan.sieve {
                    None => Some(asked),
                    Some(sieve) => dates(connection, sieve, patient, under, labels)?,
                };
                let Divided { looked_at, kept_back } = divided(asked, dates);
                merge.runs.extend(looked_at.flat_map(|range| runs(patient, under, range)));
                merge.kept_back.extend(kept_back.flat_map(|range| runs(patient, under, range)));
            }
        }
        for run in 0..merge.runs.len() {
            merge.advance(connection, run)?;
        }
        Ok(merge)
    }

    /// In how many parts of the index it lies.
    pub(super) fn parts(&self) -> usize {
        self.runs.iter().chain(&self.kept_back).filter(|run| !run.is_long).count()
    }

    /// The first rows of the runs that were kept back, at most so many.
    pub(super) fn kept_back(&mut self, connection: &Connection, most: usize) -> sql::Result<Vec<Key>> {
        let mut found = Vec::new();
        for run in &mut self.kept_back {
            if found.len() >= most {
                break;
            }
            found.extend(run.next(connection, self.descending)?);
        }
        Ok(found)
    }

    fn next(&mut self, connection: &Connection) -> sql::Result<Option<Key>> {
        loop {
            let first = if self.descending { self.heads.pop_last() } else { self.heads.pop_first() };
            let Some((key, run)) = first else { return Ok(None) };
            self.advance(connection, run)?;
            // A resource under several codes has the same key in each run, so its copies come together.
            if self.last != Some(key) {
                self.last = Some(key);
                return Ok(Some(key));
            }
        }
    }

    fn advance(&mut self, connection: &Connection, run: usize) -> sql::Result<()> {
        if let Some(Key(column, seq)) = self.runs[run].next(connection, self.descending)? {
            let date = (column != UNDATED).then(|| Dated::of_column(column));
            self.heads.insert((Key(Dated::place(date), seq), run));
        }
        Ok(())
    }
}

impl Run {
    fn next(&mut self, connection: &Connection, descending: bool) -> sql::Result<Option<Key>> {
        if self.chunk.is_empty() && !self.ended {
            let sql = if descending {
                "SELECT date, seq FROM entry WHERE patient = ?1 AND code = ?2 AND (date, seq) < (?3, ?4) AND date >= ?5
                 ORDER BY date DESC, seq DESC LIMIT ?6"
            } else {
                "SELECT date, seq FROM entry WHERE patient = ?1 AND code = ?2 AND (date, seq) > (?3, ?4) AND date < ?5
                 ORDER BY date, seq LIMIT ?6"
            };
            let mut statement = connection.prepare_cached(sql)?;
            let after = self.at.1 as i64;
            let values = params![self.patient.0, self.under, self.at.0, after, self.until, CHUNK as i64];
            let rows = statement.query_map(values, |row| Ok(Key(row.get(0)?, row.get::<i64>(1)? as u64)))?;
            for key in rows {
                self.chunk.push_back(key?);
            }
            self.ended = self.chunk.len() < CHUNK;
            self.at = self.chunk.back().copied().unwrap_or(self.at);
        }
        Ok(self.chunk.pop_front())
    }
}

/// Under what a patient has rows at all, the next in order.
fn next_under(connection: &Connection, patient: PatientKey, last: i64) -> sql::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT MIN(code) FROM entry WHERE patient = ?1 AND code > ?2")?
        .query_row(params![patient.0, last], |row| row.get(0))
}

/// Under what a patient has rows of some codes that carry labels.
fn labelled(connection: &Connection, patient: PatientKey, codes: &[i64]) -> sql::Result<Vec<i64>> {
    let mut found = Vec::new();
    let mut last = LABELLED;
    while let Some(under) = next_under(connection, patient, last)? {
        last = under;
        if codes.contains(&filed(under).0) {
            found.push(under);
        }
    }
    Ok(found)
}

/// All under which a patient has rows of this kind.
fn all_of(connection: &Connection, patient: PatientKey, kind: i64) -> sql::Result<Vec<i64>> {
    let mut found = Vec::new();
    let mut last = i64::MIN;
    while let Some(under) = next_under(connection, patient, last)? {
        last = under;
        let (code, _) = filed(under);
        let ours = code == -kind
            || connection
                .prepare_cached("SELECT 1 FROM code WHERE id = ?1 AND kind = ?2")?
                .query_row([code, kind], |_| Ok(()))
                .optional()?
                .is_some();
        if ours {
            found.push(under);
        }
    }
    Ok(found)
}

/// What of a run is gone through, and what is not.
struct Divided<L, K> {
    looked_at: L,
    kept_back: K,
}

/// Where in a run what has no date lies, and what goes on for long.
const BEFORE_ALL: (i64, i64) = (UNDATED, LONG_END);

/// Divides what is asked for by the dates that are worth looking at. What has no date may lie on any, as may what goes on for
/// long, and stands before all the others.
fn divided(
    (from, until): (i64, i64),
    dates: Option<(i64, i64)>,
) -> Divided<impl Iterator<Item = (i64, i64)>, impl Iterator<Item = (i64, i64)>> {
    let some = |(from, until): (i64, i64)| (from < until).then_some((from, until));
    let (looked_at, kept_back) = match dates {
        None => ([None, None], [some((from, until)), (from > UNDATED).then_some(BEFORE_ALL)]),
        Some((first, end)) => {
            let (first, end) = (first.max(from), end.min(until));
            let dated = from.max(LONG_END);
            let undated = first > UNDATED;
            (
                [some((first, end)), undated.then_some(BEFORE_ALL)],
                [some((dated, first.min(until))), some((end.max(dated), until))],
            )
        }
    };
    Divided { looked_at: looked_at.into_iter().flatten(), kept_back: kept_back.into_iter().flatten() }
}

fn dates(
    connection: &Connection,
    sieve: &Sieve,
    patient: PatientKey,
    under: i64,
    known: Labels,
) -> sql::Result<Option<(i64, i64)>> {
    let (code, labels) = filed(under);
    let labels = (labels > 0 || known.told_apart).then_some(labels);
    if code < 0 {
        return Ok(sieve.dates(&Together { patient, coding: None, labels }));
    }
    connection.prepare_cached("SELECT system, code FROM code WHERE id = ?1")?.query_row([code], |row| {
        let coding = Some((row.get_ref(0)?.as_text()?, row.get_ref(1)?.as_text()?));
        Ok(sieve.dates(&Together { patient, coding, labels }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of a time that is asked for is gone through, and what is not.
    fn check(asked: (i64, i64), dates: Option<(i64, i64)>, looked_at: &[(i64, i64)], kept_back: &[(i64, i64)]) {
        let divided = divided(asked, dates);
        assert_eq!(divided.looked_at.collect::<Vec<_>>(), looked_at, "{asked:?} {dates:?}");
        assert_eq!(divided.kept_back.collect::<Vec<_>>(), kept_back, "{asked:?} {dates:?}");
    }

    #[test]
    fn what_is_not_gone_through_is_all_the_rest() {
        const UNDATED_ONES: (i64, i64) = (i64::MIN, LONG_END);
        const ALL: (i64, i64) = (i64::MIN, i64::MAX);
        check(ALL, Some(ALL), &[ALL], &[]);
        check(ALL, None, &[], &[ALL]);
        check((5, 9), Some(ALL), &[(5, 9), UNDATED_ONES], &[]);
        check((5, 9), None, &[], &[(5, 9), UNDATED_ONES]);
        check(ALL, Some((5, 9)), &[(5, 9), UNDATED_ONES], &[(LONG_END, 5), (9, i64::MAX)]);
        check(ALL, Some((i64::MIN, 9)), &[(i64::MIN, 9)], &[(9, i64::MAX)]);
        check((1, 7), Some((5, 9)), &[(5, 7), UNDATED_ONES], &[(1, 5)]);
        check((6, 12), Some((5, 9)), &[(6, 9), UNDATED_ONES], &[(9, 12)]);
        // What lies elsewhere is kept back as a whole.
        check((1, 3), Some((5, 9)), &[UNDATED_ONES], &[(1, 3)]);
        check((10, 12), Some((5, 9)), &[UNDATED_ONES], &[(10, 12)]);
    }
}
