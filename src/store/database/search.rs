//! One page of a search: choose the narrowest source of candidates, test each, stop early where the order allows.
//!
//! A source that yields in the plan's order ends with the page; any other is read to its end or to the scan budget and
//! then sorted. The test is the same whatever the source, so a source may yield too much but never too little.

use super::candidate::{AT_ONCE, Begun, Head, Opener};
use super::consents::consent_epoch;
use super::pool::Reader;
use super::row;
use super::source::{Labels, Listed, LookedFor, Merge, Recent, Scan, Source};
use crate::store::plan::{CodeKey, Dated, Key, OrderBy, Page, Pass, Plan, Stored};
use crate::store::sql::{self, Connection, Optional, params};

/// The plan with its names turned into numbers.
struct Filter<'a> {
    plan: &'a Plan,
    kind: i64,
    codes: Option<Vec<i64>>,
    token: Option<i64>,
    labels: Labels,
}

pub(super) fn page(connection: &Reader, plan: &Plan) -> sql::Result<Page> {
    let (high_seq, labels) = connection
        .prepare_cached(
            "SELECT COALESCE(MAX(seq), 0), (SELECT MAX(number) FROM label_set), (SELECT MIN(number) FROM label_set)
             FROM resource",
        )?
        .query_row((), |row| {
            let (most, least): (Option<u16>, Option<u16>) = (row.get(1)?, row.get(2)?);
            Ok((
                row.get::<i64>(0)?,
                Labels { are_some: most.is_some_and(|most| most > 0), told_apart: least != Some(0) },
            ))
        })?;
    let empty = Page { high_seq: high_seq as u64, ..Page::default() };
    for (patient, epoch) in &plan.epochs {
        if consent_epoch(connection, *patient)? != *epoch {
            return Ok(Page { stale: true, ..empty });
        }
    }
    let Some(filter) = Filter::new(connection, plan, labels)? else { return Ok(empty) };
    let (mut source, in_order) = choose(connection, &filter)?;
    let mut opener = Opener::new(connection, &plan.kind);
    let mut walked = walk(connection, &filter, (&mut source, in_order), &mut opener)?;
    let found = &mut walked.found;
    if !in_order {
        found.sort_unstable_by_key(|found| found.key);
        if plan.order.descending {
            found.reverse();
        }
    }
    let more = found.len() > plan.limit;
    found.truncate(plan.limit);
    let next = match (walked.exhausted_budget, in_order) {
        _ if more => found.last().map(|found| found.key),
        (true, true) => walked.last,
        _ => None,
    };
    let numbers: Vec<u64> = found.iter().map(|found| found.key.1).collect();
    let rows = if in_order {
        walked.found.into_iter().filter_map(|found| found.stored).collect()
    } else {
        // Of what was yet to be sorted only what the page holds is opened.
        let (rows, damaged) = opened((&mut opener, plan), &numbers, |_| true)?;
        walked.damaged.extend(damaged);
        rows
    };
    let mut kept_back = walked.kept_back;
    let mut parts = 0;
    if let Source::Merge(merge) = &mut source {
        parts = merge.parts();
        let numbers: Vec<u64> = merge.kept_back(connection, AT_ONCE)?.into_iter().map(|key| key.1).collect();
        kept_back.extend(opened((&mut opener, plan), &numbers, |head| filter.admits(head))?.0);
    }
    let exhausted_budget = walked.exhausted_budget && !(more && in_order);
    let (looked_at, damaged) = (walked.scanned, walked.damaged);
    Ok(Page { rows, next, exhausted_budget, looked_at, parts, kept_back, damaged, ..empty })
}

/// A place in the order, and the resource there where it was opened already.
struct Found {
    key: Key,
    stored: Option<Stored>,
}

#[derive(Default)]
struct Walked {
    /// What passed: of a source in order the first of it, and one more than the page holds.
    found: Vec<Found>,
    /// The first of what the sieve kept back.
    kept_back: Vec<Stored>,
    scanned: usize,
    last: Option<Key>,
    exhausted_budget: bool,
    damaged: Vec<u64>,
}

/// Goes through the candidates until the page is full or they end.
fn walk(
    connection: &Connection,
    filter: &Filter<'_>,
    (source, in_order): (&mut Source, bool),
    opener: &mut Opener<'_>,
) -> sql::Result<Walked> {
    let plan = filter.plan;
    let mut walked = Walked::default();
    loop {
        // Mostly each is a hit, so that no more are read than have room.
        let room = if in_order { plan.limit.saturating_add(1) - walked.found.len() } else { AT_ONCE };
        let mut candidates: Vec<Key> = Vec::with_capacity(AT_ONCE);
        while candidates.len() < room.min(AT_ONCE) {
            let Some(candidate) = source.next(connection)? else { break };
            if walked.scanned + candidates.len() == plan.scan_budget {
                walked.exhausted_budget = true;
                break;
            }
            candidates.push(candidate);
        }
        let numbers: Vec<u64> = candidates.iter().map(|candidate| candidate.1).collect();
        let mut passed: [Option<Found>; AT_ONCE] = [const { None }; AT_ONCE];
        let kept_back = &mut walked.kept_back;
        let damaged = opener.each(&numbers, plan.spares_damaged, |opener, place, head, row| {
            let key = head.key(plan.order.by);
            if !filter.admits(head) || !is_after(plan, key) {
                return Ok(());
            }
            let wanted = in_order || plan.sieve.is_some();
            let begun = if wanted { opener.begin(head, row)? } else { Begun::default() };
            let sifted = |sieve| opener.sifted(sieve, head, row, begun.gist.as_deref());
            match plan.sieve.as_ref().map_or(Ok(Pass::Through), sifted)? {
                Pass::Through => {
                    let stored = if in_order { opener.open(head, row, begun)? } else { None };
                    passed[place] = Some(Found { key, stored });
                }
                Pass::KeptBack if kept_back.len() < AT_ONCE => kept_back.extend(opener.open(head, row, begun)?),
                Pass::KeptBack | Pass::Out => {}
            }
            Ok(())
        })?;
        walked.damaged.extend(damaged);
        walked.scanned += candidates.len();
        walked.last = candidates.last().copied().or(walked.last);
        walked.found.extend(passed.into_iter().flatten());
        let is_full = in_order && walked.found.len() > plan.limit;
        if candidates.is_empty() || walked.exhausted_budget || is_full {
            return Ok(walked);
        }
    }
}

/// The resources of those numbers that pass and can be opened, in the order of the numbers, and the numbers of those that are damaged.
fn opened(
    (opener, plan): (&mut Opener<'_>, &Plan),
    numbers: &[u64],
    passes: impl Fn(&Head<'_>) -> bool,
) -> sql::Result<(Vec<Stored>, Vec<u64>)> {
    let mut found: Vec<Option<Stored>> = Vec::new();
    found.resize_with(numbers.len(), || None);
    let damaged = opener.each(numbers, plan.spares_damaged, |opener, place, head, row| {
        if passes(head) {
            let begun = opener.begin(head, row)?;
            found[place] = opener.open(head, row, begun)?;
        }
        Ok(())
    })?;
    Ok((found.into_iter().flatten().collect(), damaged))
}

/// The source, and whether it yields in the plan's order.
fn choose(connection: &Connection, filter: &Filter<'_>) -> sql::Result<(Source, bool)> {
    let plan = filter.plan;
    if let Some(ids) = &plan.ids {
        return Ok((Source::Listed(Listed::ids(connection, &plan.kind, ids)?), false));
    }
    if let Some(token) = filter.token {
        return Ok((Source::Listed(Listed::token(connection, token, plan.scan_budget)?), false));
    }
    if let Some(patients) = &plan.patients {
        let in_order = plan.order.by == OrderBy::Date;
        let after = plan.after.filter(|_| in_order);
        let looked_for =
            LookedFor { kind: filter.kind, codes: filter.codes.as_deref(), labels: filter.labels, plan, after };
        let merge = Merge::new(connection, patients, &looked_for)?;
        return Ok((Source::Merge(merge), in_order));
    }
    if plan.order.by == OrderBy::Updated {
        return Ok((Source::Recent(Recent::new(filter.kind, plan)), true));
    }
    let in_order = plan.order.by == OrderBy::Seq;
    let after = plan.after.filter(|_| in_order);
    Ok((Source::Scan(Scan::new(filter.kind, plan.order.descending && in_order, after)), in_order))
}

fn is_after(plan: &Plan, key: Key) -> bool {
    plan.after.is_none_or(|after| if plan.order.descending { key < after } else { key > after })
}

impl<'a> Filter<'a> {
    /// `None` when a name of the plan was never stored, so that nothing can match.
    fn new(connection: &Connection, plan: &'a Plan, labels: Labels) -> sql::Result<Option<Self>> {
        let kind: Option<i64> = connection
            .prepare_cached("SELECT id FROM kind WHERE name = ?1")?
            .query_row([plan.kind.as_ref()], |row| row.get(0))
            .optional()?;
        let Some(kind) = kind else { return Ok(None) };
        let codes = match &plan.codes {
            None => None,
            Some(keys) => {
                let codes = code_numbers(connection, kind, keys)?;
                if codes.is_empty() {
                    return Ok(None);
                }
                Some(codes)
            }
        };
        let token =
            plan.token.as_ref().map(|token| row::token_hash(kind, &token.param, token.system.as_deref(), &token.value));
        Ok(Some(Self { plan, kind, codes, token, labels }))
    }

    fn admits(&self, head: &Head<'_>) -> bool {
        let plan = self.plan;
        let within = |range: Option<(i64, i64)>, value: Option<i64>| {
            range.is_none_or(|(from, until)| value.is_some_and(|value| (from..until).contains(&value)))
        };
        head.kind == self.kind
            && (!head.deleted || plan.deleted)
            && plan.as_of_seq.is_none_or(|limit| head.seq <= limit)
            && plan.patients.as_ref().is_none_or(|keys| head.patient.is_some_and(|key| keys.contains(&key)))
            && plan.owner.as_ref().is_none_or(|owner| **owner == *head.owner)
            && plan.date.is_none_or(|within| Dated::may_lie_in(head.date, within))
            && within(plan.updated, Some(head.updated))
            && self.codes.as_ref().is_none_or(|codes| codes.iter().any(|code| head.has_code(*code)))
            && self.token.is_none_or(|token| head.has_token(token))
    }
}

fn code_numbers(connection: &Connection, kind: i64, keys: &[CodeKey]) -> sql::Result<Vec<i64>> {
    let mut numbers = Vec::new();
    for key in keys {
        let mut statement = connection.prepare_cached(
            "SELECT id FROM code WHERE kind = ?1 AND code = ?2 AND (CAST(?3 AS TEXT) IS NULL OR system = ?3)",
        )?;
        let rows = statement.query_map(params![kind, key.code, key.system], |row| row.get::<i64>(0))?;
        for number in rows {
            numbers.push(number?);
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}
