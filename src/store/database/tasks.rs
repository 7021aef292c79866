//! Looking over what is under way beside deliveries: leases, subscriptions, exports.
//!
//! Each of them goes on by itself after a crash, so what is looked for is what would keep it from that. Who holds a lease and
//! what a subscription is about is not known here.

use super::examine::{APART_MS, Examining, value};
use super::items::named_items;
use super::row;
use crate::store::export::ExportState;
use crate::store::finding::{Finding, Grade};
use crate::store::id::SLOTS;
use crate::store::sql::{self, Connection, Params};

/// No lease is as long, so one that ends later was taken by a clock that was wrong.
const LONGEST_MS: i64 = 3_600_000;

/// Leases that nobody gives back.
pub(super) fn leases(connection: &Connection, now_ms: i64) -> sql::Result<Finding> {
    let mut endless = 0;
    for sql in [
        "SELECT COUNT(*) FROM cursor WHERE until > ?1",
        "SELECT COUNT(*) FROM subscription WHERE until > ?1",
        "SELECT COUNT(*) FROM export_part WHERE until > ?1",
    ] {
        endless += count(connection, sql, [now_ms.saturating_add(LONGEST_MS)])?;
    }
    let (grade, said) = match endless {
        0 => (Grade::Good, "every lease ends soon"),
        _ => (
            Grade::Bad,
            "work is leased for longer than anybody leases it: a clock was wrong, and nobody takes it over",
        ),
    };
    Ok(Finding::new("store.leases", grade, said).with([("endless", endless)]))
}

pub(super) fn subscriptions(connection: &Connection, follower: &str) -> sql::Result<Finding> {
    let last = last_positions(connection)?;
    let mut statement = connection.prepare_cached("SELECT starts FROM subscription WHERE starts IS NOT NULL")?;
    let starts: Vec<Vec<i64>> = statement
        .query_map((), |row| Ok(row::unpack(row.get_ref(0)?.as_blob_or_null()?)))?
        .collect::<sql::Result<_>>()?;
    let live = starts.len() as i64;
    let is_ahead = |starts: &Vec<i64>| starts.len() != last.len() || starts.iter().zip(&last).any(|(at, end)| at > end);
    let ahead = starts.iter().filter(|starts| is_ahead(starts)).count() as i64;
    let followed = count(connection, "SELECT COUNT(*) FROM cursor WHERE destination = ?1", [follower])?;
    let lost = count(
        connection,
        "SELECT COUNT(*) FROM cursor c WHERE destination = ?1
         AND pos > (SELECT COALESCE(MAX(pos), 0) FROM feed f WHERE f.slot = c.slot)",
        [follower],
    )?;
    let misnumbered = value(
        connection,
        "SELECT COUNT(*) FROM subscription s WHERE taken > events
         OR events < (SELECT COALESCE(MAX(number), 0) FROM event e WHERE e.subscription = s.id)",
    )?;
    let orphans = value(
        connection,
        "SELECT COUNT(*) FROM event WHERE NOT EXISTS (SELECT 1 FROM subscription s WHERE s.id = event.subscription)",
    )?;
    let (grade, said) = match () {
        () if ahead + lost > 0 => (Grade::Bad, "subscriptions begin, or are followed for, behind the end of the feed"),
        () if live > 0 && followed < i64::from(SLOTS) => {
            (Grade::Bad, "there are subscriptions, and the feed is not followed for them")
        }
        () if misnumbered > 0 => (Grade::Bad, "events have other numbers than their subscription has given"),
        () if orphans > 0 => (Grade::Bad, "there are events of subscriptions that are not there"),
        () => (Grade::Good, "subscriptions are followed for, and their events are numbered without gaps"),
    };
    Ok(Finding::new("subscriptions", grade, said).with([
        ("live", live),
        ("ahead", ahead + lost),
        ("misnumbered", misnumbered),
        ("orphans", orphans),
    ]))
}

/// Where the feed ends, slot by slot.
fn last_positions(connection: &Connection) -> sql::Result<Vec<i64>> {
    let last = |slot: u16| count(connection, "SELECT COALESCE(MAX(pos), 0) FROM feed WHERE slot = ?1", [slot]);
    (0..SLOTS).map(last).collect()
}

pub(super) fn exports(connection: &Connection, examining: Examining) -> sql::Result<Finding> {
    let now_ms = examining.now_ms;
    let (working, finished) = (ExportState::Working as u8, ExportState::Finished as u8);
    let under_way = count(connection, "SELECT COUNT(*) FROM export WHERE state = ?1", [working])?;
    let stuck = count(
        connection,
        "SELECT COUNT(*) FROM export e WHERE (state = ?1 AND NOT EXISTS (
             SELECT 1 FROM export_part p WHERE p.job = e.id AND p.left_over > 0))
         OR (state = ?2 AND EXISTS (SELECT 1 FROM export_part p WHERE p.job = e.id AND p.left_over > 0))",
        [working, finished],
    )?;
    let early = count(connection, "SELECT COUNT(*) FROM export WHERE cut > ?1", [now_ms.saturating_add(APART_MS)])?;
    let overdue =
        count(connection, "SELECT COUNT(*) FROM export WHERE until < ?1", [now_ms.saturating_sub(LONGEST_MS)])?;
    let miscounted = value(
        connection,
        "SELECT COUNT(*) FROM export e
         WHERE lines <> (SELECT COALESCE(SUM(p.count), 0) FROM export_piece p WHERE p.job = e.id)",
    )?;
    let mut orphans = 0;
    for sql in [
        "SELECT COUNT(*) FROM export_part p WHERE NOT EXISTS (SELECT 1 FROM export e WHERE e.id = p.job)",
        "SELECT COUNT(*) FROM export_piece p WHERE NOT EXISTS (SELECT 1 FROM export e WHERE e.id = p.job)",
        "SELECT COUNT(*) FROM export_count p WHERE NOT EXISTS (SELECT 1 FROM export e WHERE e.id = p.job)",
    ] {
        orphans += value::<i64>(connection, sql)?;
    }
    let (grade, said) = match () {
        () if early > 0 => (Grade::Bad, "an export's moment is still to come: until then nothing new is kept"),
        () if stuck + miscounted > 0 => (Grade::Bad, "an export's work is not what its row says of it"),
        () if orphans > 0 => (Grade::Bad, "there are parts of exports that are not there"),
        () if overdue > 0 => {
            (Grade::Doubt, "exports lie there whose time is over; a gateway that serves takes them away")
        }
        () => (Grade::Good, "exports are what their rows say of them"),
    };
    let mut finding = Finding::new("exports", grade, said).with([
        ("under_way", under_way),
        ("stuck", stuck),
        ("miscounted", miscounted),
        ("orphans", orphans),
        ("early", early),
        ("overdue", overdue),
    ]);
    if !examining.quick {
        // Kept no longer, or erased: whoever fetches the export gets the rest.
        finding.figures.push(("lines_gone", lines_gone(connection)?));
    }
    Ok(finding)
}

/// Lines whose resource or version is not there any more.
fn lines_gone(connection: &Connection) -> sql::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT lines FROM export_piece")?;
    let mut rows = statement.query(())?;
    let mut gone = 0;
    while let Some(row) = rows.next()? {
        let lines = named_items(row.get_ref(0)?.as_blob()?);
        let keys: Vec<_> = lines
            .iter()
            .map(|(seq, version)| [sql::Value::Integer(*seq as i64), sql::Value::Integer(i64::from(*version))])
            .collect();
        let found = connection.find_each(
            "SELECT 1 FROM resource WHERE seq = ?1 AND version = ?2
             UNION ALL SELECT 1 FROM history WHERE seq = ?1 AND version = ?2",
            &keys,
            |_| Ok(()),
        )?;
        gone += found.iter().filter(|found| found.is_none()).count() as i64;
    }
    Ok(gone)
}

fn count(connection: &Connection, sql: &str, values: impl Params) -> sql::Result<i64> {
    connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}
