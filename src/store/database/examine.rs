//! Looking a store over: whether it is whole, whether what is sealed can be opened, what waits.
//!
//! It looks through a connection of its own that changes nothing, so it may run beside a gateway that serves, and of a
//! schema that is not this program's it says that, and whether the file is whole. What reads the whole store is left out unless it is asked for. Of the
//! transparency log the tree is compared here; whose signature stands under its head is not known.

use std::sync::Arc;
use std::time::Instant;

use super::keys::{self, Keys};
use super::pool::Reader;
use super::{Base, LOCK, Store, consents, feed, file, gist, log, row, schema, server, tasks, uploads};
use crate::store::disk;
use crate::store::fault::OpenError;
use crate::store::finding::{Finding, Grade};
use crate::store::key_file::KeyFile;
use crate::store::outbox::SUBSCRIBERS;
use crate::store::place::Place;
use crate::store::sql::{self, Connection, Fault, Optional};
use crate::tlog::{Checkpoint, root};

/// Resources that are opened where not all are, spread over all.
const SAMPLE: i64 = 200;
/// Faults of one kind that are told one by one.
const TOLD: usize = 5;
/// Clocks of machines that keep time differ by less.
pub(super) const APART_MS: i64 = 2000;
/// SQLite before it could lose a part of its log where two connections wrote (fixed in 3.51.3).
const SOUND_SQLITE: i32 = 3_051_003;

/// How thoroughly a store is looked over, and when that is.
#[derive(Clone, Copy)]
pub struct Examining {
    /// Leaves out what reads the whole store.
    pub quick: bool,
    pub now_ms: i64,
    /// Who follows the feed for subscriptions.
    pub follower: &'static str,
}

impl Store {
    /// Looks over the store at a place. Nothing is changed there but a file that is written for a measurement and removed.
    pub fn examine(place: &Place, examining: Examining) -> Result<Vec<Finding>, OpenError> {
        let since = Instant::now();
        let base = Base::of(place)?;
        let used = match &base {
            Base::File(file) => file.metadata().map_or(0, |file| file.len()),
            Base::Server(_) => 0,
        };
        if !place.directory.exists() {
            return Ok(vec![missing()]);
        }
        let mut findings = disk::examine(&place.directory, used);
        findings.push(lock(place));
        let key = KeyFile::of(&place.directory, place.key_file.as_deref());
        findings.extend(key_file(&key, &place.directory));
        match base {
            Base::File(file) if !file.exists() => findings.push(missing()),
            Base::File(file) => {
                findings.extend(examined(place, &file::open_reader(&file)?, &key, (examining, since), &|| {
                    Ok(file::open_reader(&file)?)
                })?);
            }
            Base::Server(address) => findings.extend(server::apart(|| {
                let connection = server::open(&address)?;
                if !server::is_prepared(&connection)? {
                    return Ok(vec![missing()]);
                }
                examined(place, &connection, &key, (examining, since), &|| server::open(&address))
            })?),
        }
        Ok(findings)
    }
}

impl Store {
    /// What of the data at a place is damaged, wherever it is copied to. Of tables that are an older program's it is not known.
    pub fn damage(place: &Place, now_ms: i64) -> Result<Vec<Finding>, OpenError> {
        let key = KeyFile::of(&place.directory, place.key_file.as_deref());
        let found = match Base::of(place)? {
            Base::File(file) => damaged(file::open_reader(&file)?, &key, now_ms),
            Base::Server(address) => server::apart(|| damaged(server::open(&address)?, &key, now_ms)),
        }?;
        Ok(found.into_iter().filter(|finding| finding.grade == Grade::Bad).collect())
    }
}

fn damaged(connection: Connection, key: &KeyFile, now_ms: i64) -> Result<Vec<Finding>, OpenError> {
    if schema::version(&connection)? != schema::newest() {
        return Ok(Vec::new());
    }
    let mut findings = vec![audit_log(&connection, now_ms)?];
    if let Some(master) = keys::fitting(&connection, key)? {
        findings.push(texts(&Reader { connection, keys: Arc::new(Keys::of(master)) }, false)?);
    }
    Ok(findings)
}

fn missing() -> Finding {
    Finding::new("store", Grade::Doubt, "there is no store yet; `serve` and `client add` make one")
}

/// Whether somebody serves from the directory now.
fn lock(place: &Place) -> Finding {
    let path = place.directory.join(LOCK);
    let (grade, said) = match std::fs::File::open(&path).map(|file| file.try_lock()) {
        Ok(Err(std::fs::TryLockError::WouldBlock)) => (Grade::Good, "a gateway serves from this directory".to_owned()),
        Ok(Ok(())) | Err(_) => (Grade::Good, "no gateway serves from this directory".to_owned()),
        Ok(Err(error)) => (Grade::Bad, format!("the directory's lock cannot be taken: {error}")),
    };
    Finding::new("store.lock", grade, said)
}

fn is_served(place: &Place) -> bool {
    let lock = std::fs::File::open(place.directory.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

fn key_file(key: &KeyFile, directory: &std::path::Path) -> Vec<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let mut findings = Vec::new();
    match key.path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && key.own => {
            findings.push(Finding::new(
                "key.file",
                Grade::Unknown,
                "there is no key file yet; the first start makes it",
            ));
            return findings;
        }
        Err(error) => {
            findings.push(Finding::new("key.file", Grade::Bad, format!("the key file cannot be looked at: {error}")));
            return findings;
        }
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            let (grade, said) = if mode & 0o007 > 0 {
                (Grade::Bad, "everybody on this machine can read the key file")
            } else if mode & 0o070 > 0 {
                (Grade::Doubt, "the key file's group can read it")
            } else {
                (Grade::Good, "only its owner can read the key file")
            };
            let age = metadata.modified().ok().and_then(|at| at.elapsed().ok()).map_or(0, |age| age.as_secs() / 86_400);
            findings.push(Finding::new("key.file", grade, said).with([("age_days", age as i64)]));
        }
    }
    if key.path.starts_with(directory) {
        let said =
            "the key lies beside what it seals: whoever copies the directory has both; keep a copy of it elsewhere";
        findings.push(Finding::new("key.place", Grade::Doubt, said));
    }
    findings
}

fn examined(
    place: &Place,
    connection: &Connection,
    key: &KeyFile,
    (examining, since): (Examining, Instant),
    another: &dyn Fn() -> Result<Connection, OpenError>,
) -> Result<Vec<Finding>, OpenError> {
    let (found, known) = (schema::version(connection)?, schema::newest());
    let figures = [("schema", found), ("known", known)];
    if found != known {
        let (grade, said) = if found > known {
            (Grade::Bad, "a newer program has changed the tables: use that program, or have it `migrate --to` ours")
        } else {
            (
                Grade::Doubt,
                "the tables are an older program's; the next start brings them up to date, `migrate` does so now",
            )
        };
        let mut findings = vec![Finding::new("store.schema", grade, said).with(figures)];
        // Whether the file is whole does not depend on what is in it.
        if !examining.quick {
            findings.push(integrity(connection)?);
        }
        return Ok(findings);
    }
    let mut findings = vec![Finding::new("store.schema", Grade::Good, "the tables are this program's").with(figures)];
    findings.extend(match connection {
        Connection::Lite(_) => settings_of_file(connection)?,
        Connection::Postgres(_) => server::settings(connection)?,
    });
    findings.push(clock(connection, examining.now_ms, since)?);
    match keys::fitting(connection, key) {
        Ok(Some(master)) => {
            let reader = Reader { connection: another()?, keys: Arc::new(Keys::of(master)) };
            findings.push(Finding::new(
                "key.fits",
                Grade::Good,
                "the key file is the one that this store's keys are wrapped by",
            ));
            findings.push(texts(&reader, examining.quick)?);
        }
        Ok(None) => findings.push(Finding::new("key.fits", Grade::Unknown, "nothing was sealed here yet")),
        Err(error @ OpenError::Key { .. }) => findings.push(Finding::new("key.fits", Grade::Bad, error.to_string())),
        Err(error) => return Err(error),
    }
    if examining.quick {
        for check in ["store.integrity", "store.references", "audit.log"] {
            findings.push(Finding::new(check, Grade::Unknown, "not asked for: it reads the whole store"));
        }
    } else {
        findings.push(integrity(connection)?);
        findings.push(references(connection)?);
        findings.push(audit_log(connection, examining.now_ms)?);
    }
    findings.push(deliveries(connection, examining.now_ms, is_served(place))?);
    findings.push(tasks::leases(connection, examining.now_ms)?);
    findings.push(tasks::subscriptions(connection, examining.follower)?);
    findings.push(tasks::exports(connection, examining)?);
    findings.push(uploads(connection, place)?);
    Ok(findings)
}

/// A store that was just put together, as far as its data tells.
pub(super) fn looked_over(connection: Connection, key: &KeyFile) -> Result<Vec<Finding>, OpenError> {
    let mut findings = vec![integrity(&connection)?, references(&connection)?, audit_log(&connection, i64::MAX)?];
    if let Some(master) = keys::fitting(&connection, key)? {
        findings.push(texts(&Reader { connection, keys: Arc::new(Keys::of(master)) }, true)?);
    }
    Ok(findings)
}

fn settings_of_file(connection: &Connection) -> sql::Result<Vec<Finding>> {
    let journal: String = value(connection, "PRAGMA journal_mode")?;
    let version = rusqlite::version_number();
    let journal = if journal == "wal" {
        Finding::new(
            "store.settings",
            Grade::Good,
            "write-ahead log; each commit is synced, which every start reads back",
        )
    } else {
        Finding::new("store.settings", Grade::Bad, "the file is not in the mode of the write-ahead log")
    };
    let pages: i64 = value(connection, "PRAGMA page_count")?;
    let size: i64 = value(connection, "PRAGMA page_size")?;
    let free: i64 = value(connection, "PRAGMA freelist_count")?;
    let (grade, said) = if version >= SOUND_SQLITE {
        (Grade::Good, format!("SQLite {}", rusqlite::version()))
    } else {
        (Grade::Bad, format!("SQLite {} may lose a part of its log", rusqlite::version()))
    };
    Ok(vec![
        journal.with([("pages", pages), ("page_bytes", size), ("free_pages", free)]),
        Finding::new("store.program", grade, said),
    ])
}

/// What is written must not be of a time to come, on whichever clock. A server's is asked for while that of this machine goes on,
/// and may say any moment of the time that its answer took.
fn clock(connection: &Connection, now_ms: i64, since: Instant) -> sql::Result<Finding> {
    let newest: i64 =
        value(connection, "SELECT COALESCE(MAX(at), 0) FROM audit WHERE seq > (SELECT MAX(seq) FROM audit) - 100")?;
    let here_ms = || now_ms.saturating_add(since.elapsed().as_millis() as i64);
    let before_ms = here_ms();
    let server_ahead_ms = match connection {
        Connection::Lite(_) => 0,
        Connection::Postgres(_) => {
            let server_ms = server::clock(connection)?;
            server_ms - server_ms.clamp(before_ms, here_ms())
        }
    };
    let (grade, said) = if newest > before_ms + APART_MS {
        (Grade::Bad, "what was written last is of a time to come: a clock was wrong, or is")
    } else if server_ahead_ms.abs() > APART_MS {
        (Grade::Doubt, "the clocks of this machine and of the database server differ")
    } else {
        (Grade::Good, "the clock is not behind what was written")
    };
    let ahead = if newest == 0 { 0 } else { newest - before_ms };
    Ok(Finding::new("clock", grade, said)
        .with([("written_ahead_ms", ahead.max(0)), ("server_ahead_ms", server_ahead_ms)]))
}

/// What was found of the texts of a store.
#[derive(Default)]
struct Texts {
    opened: i64,
    absent: i64,
    broken: i64,
    /// Of the first of these, type, number and version.
    named: Vec<String>,
}

impl Texts {
    /// What stands, with its gist.
    fn take_standing(&mut self, reader: &Reader, seq: i64, version: u32) -> sql::Result<()> {
        let has_gist = gist::is_whole(reader, seq)?;
        self.take(reader, seq, version, has_gist)
    }

    fn take(&mut self, reader: &Reader, seq: i64, version: u32, is_whole: bool) -> sql::Result<()> {
        match row::version(reader, seq as u64, version) {
            Ok(None) => {
                self.absent += 1;
                return Ok(());
            }
            Ok(Some(_)) if is_whole => {
                self.opened += 1;
                return Ok(());
            }
            Ok(Some(_)) | Err(Fault::Damaged(_)) => {}
            Err(fault) => return Err(fault),
        }
        self.broken += 1;
        if self.named.len() < TOLD {
            let kind = "SELECT k.name FROM resource r JOIN kind k ON k.id = r.kind WHERE r.seq = ?1";
            let kind: String = reader.prepare_cached(kind)?.query_row([seq], |row| row.get(0))?;
            self.named.push(format!("{kind} seq {seq} version {version}"));
        }
        Ok(())
    }
}

/// Opens what is kept of resources: all of it, or a sample of what stands.
fn texts(reader: &Reader, quick: bool) -> sql::Result<Finding> {
    let last: i64 = value(reader, "SELECT COALESCE(MAX(seq), 0) FROM resource")?;
    let mut texts = Texts::default();
    let mut at = 0;
    while at < last {
        // From each of as many places the next one there is.
        let found: Option<(i64, u32)> = reader
            .prepare_cached("SELECT seq, version FROM resource WHERE seq > ?1 ORDER BY seq LIMIT 1")?
            .query_row([at], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((seq, version)) = found else { break };
        texts.take_standing(reader, seq, version)?;
        if !quick {
            let mut past = reader.prepare_cached("SELECT version FROM history WHERE seq = ?1 ORDER BY version")?;
            let versions: Vec<u32> = past.query_map([seq], |row| row.get(0))?.collect::<sql::Result<_>>()?;
            for version in versions {
                texts.take(reader, seq, version, true)?;
            }
        }
        at = if quick { seq.max(at + last / SAMPLE) } else { seq };
    }
    let Texts { opened, absent, broken, named } = texts;
    let (grade, said) = if broken > 0 {
        let said = "some of what is kept cannot be opened though its key is there; it was damaged or changed";
        (Grade::Bad, format!("{said}: {}", named.join(", ")))
    } else {
        (Grade::Good, "what is kept can be opened".to_owned())
    };
    Ok(Finding::new("store.sealed", grade, said).with([("opened", opened), ("erased", absent), ("broken", broken)]))
}

pub(super) fn integrity(connection: &Connection) -> sql::Result<Finding> {
    let Connection::Lite(_) = connection else {
        let said = "a server's files are its own to check: pg_amcheck, pg_checksums --check";
        return Ok(Finding::new("store.integrity", Grade::Unknown, said));
    };
    let mut statement = connection.prepare_cached("PRAGMA integrity_check(100)")?;
    let told: sql::Result<Vec<String>> = statement.query_map((), |row| row.get(0))?.collect();
    Ok(match told {
        Ok(told) if told == ["ok"] => {
            Finding::new("store.integrity", Grade::Good, "every page and index of the file is whole")
        }
        // Names of tables and numbers of pages, no content.
        Ok(told) => Finding::new("store.integrity", Grade::Bad, first(&told)).with([("faults", told.len() as i64)]),
        Err(fault) if fault.kind() == sql::Kind::Broken => {
            Finding::new("store.integrity", Grade::Bad, "the file is so damaged that it cannot be read through")
        }
        Err(fault) => return Err(fault),
    })
}

fn first(told: &[String]) -> String {
    told[..told.len().min(TOLD)].join("; ")
}

/// Rows that name others which are not there. The first word of each is what is counted.
const DANGLING: &[(&str, &str)] = &[
    ("entries", "SELECT COUNT(*) FROM entry WHERE NOT EXISTS (SELECT 1 FROM resource r WHERE r.seq = entry.seq)"),
    ("tokens", "SELECT COUNT(*) FROM token WHERE NOT EXISTS (SELECT 1 FROM resource r WHERE r.seq = token.seq)"),
    ("names", "SELECT COUNT(*) FROM alias WHERE NOT EXISTS (SELECT 1 FROM resource r WHERE r.seq = alias.seq)"),
    ("versions", "SELECT COUNT(*) FROM history WHERE NOT EXISTS (SELECT 1 FROM resource r WHERE r.seq = history.seq)"),
    ("consents", "SELECT COUNT(*) FROM consent WHERE NOT EXISTS (SELECT 1 FROM resource r WHERE r.seq = consent.seq)"),
    (
        "consents_of_others",
        "SELECT COUNT(*) FROM consent c JOIN resource r ON r.seq = c.seq WHERE r.patient <> c.patient",
    ),
    (
        "consents_unheard",
        "SELECT COUNT(*) FROM resource r JOIN kind k ON k.id = r.kind WHERE k.name = 'Consent' AND r.patient IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM erased e WHERE e.patient = r.patient)
         AND NOT EXISTS (SELECT 1 FROM consent c WHERE c.patient = r.patient AND c.seq = r.seq)",
    ),
    ("types", "SELECT COUNT(*) FROM resource WHERE NOT EXISTS (SELECT 1 FROM kind k WHERE k.id = resource.kind)"),
    ("retries", "SELECT COUNT(*) FROM retry WHERE NOT EXISTS (SELECT 1 FROM resource r WHERE r.seq = retry.seq)"),
    ("dead_letters", "SELECT COUNT(*) FROM dead WHERE NOT EXISTS (SELECT 1 FROM resource r WHERE r.seq = dead.seq)"),
    (
        "cursors",
        "SELECT COUNT(*) FROM cursor c WHERE pos > (SELECT COALESCE(MAX(pos), 0) FROM feed f WHERE f.slot = c.slot)",
    ),
    ("log_entries", "SELECT COALESCE(MAX(number) + 1, 0) - COUNT(*) FROM log_entry"),
];

fn references(connection: &Connection) -> sql::Result<Finding> {
    let mut dangling = Vec::new();
    for (what, sql) in DANGLING {
        let count: i64 = value(connection, sql)?;
        if count != 0 {
            dangling.push((*what, count));
        }
    }
    for (what, count) in [("said_broken", consents::broken(connection)?), ("feed_broken", feed::broken(connection)?)] {
        dangling.extend((count != 0).then_some((what, count)));
    }
    let (grade, said) = if dangling.is_empty() {
        (Grade::Good, "whatever a row names is there")
    } else {
        (Grade::Bad, "rows name others that are not there: something was taken away or put in from outside")
    };
    Ok(Finding::new("store.references", grade, said).with(dangling))
}

/// The records against the entries, and the entries against the head that was signed last.
fn audit_log(connection: &Connection, now_ms: i64) -> sql::Result<Finding> {
    let (records, changed) = log::changed(connection)?;
    let missing = log::missing(connection, now_ms)?;
    let size = log::size(connection)?;
    let mut same = true;
    let head = log::head(connection)?;
    if let Some(head) = &head {
        let told = Checkpoint::parse(&head.note).ok();
        let made = if head.size <= size { Some(root(head.size, &mut log::complete(connection))) } else { None };
        same = match (told, made) {
            (Some(told), Some(Ok(made))) => (told.size, told.root) == (head.size, made),
            (_, Some(Err(Fault::NoRow)) | None) | (None, _) => false,
            (_, Some(Err(fault))) => return Err(fault),
        };
    }
    let (grade, said) = match () {
        () if !same => (Grade::Bad, "the entries of the log do not make the head that was signed last"),
        () if !changed.is_empty() => (Grade::Bad, "records of the audit are damaged, or not what the log committed to"),
        () if !missing.is_empty() => (Grade::Bad, "records of the audit are gone, and no term of keeping explains it"),
        () if head.is_none() => (Grade::Good, "the records are what the log committed to; no head was signed yet"),
        () => (Grade::Good, "the records are what the log committed to, up to the head that was signed last"),
    };
    let mut said = said.to_owned();
    if same && !changed.is_empty() {
        let named: Vec<String> = changed.iter().take(TOLD).map(u64::to_string).collect();
        said = format!("{said}: entry {}", named.join(", "));
    }
    Ok(Finding::new("audit.log", grade, said).with([
        ("entries", size as i64),
        ("records", records as i64),
        ("changed", changed.len() as i64),
        ("missing", missing.len() as i64),
    ]))
}

fn deliveries(connection: &Connection, now_ms: i64, served: bool) -> sql::Result<Finding> {
    // Subscribers have a cursor of their own, which rests where there are none.
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT destination FROM cursor
         WHERE destination <> ?1 OR EXISTS (SELECT 1 FROM subscription) ORDER BY destination",
    )?;
    let names: Vec<String> = statement.query_map([SUBSCRIBERS], |row| row.get(0))?.collect::<sql::Result<_>>()?;
    let (mut behind, mut retries, mut restricted, mut dead, mut fullest) = (0, 0, 0, 0, 0);
    for name in &names {
        let backlog = feed::backlog(connection, name)?;
        behind += backlog.behind as i64;
        retries += backlog.retries as i64;
        restricted += feed::restricted(connection, name)? as i64;
        dead += backlog.dead as i64;
        fullest = fullest.max(backlog.behind + backlog.retries);
    }
    let leased: i64 = connection
        .prepare_cached("SELECT COUNT(*) FROM cursor WHERE until > ?1")?
        .query_row([now_ms], |row| row.get(0))?;
    let untold: i64 = value(connection, "SELECT COUNT(*) FROM remnant WHERE dead = 1")?;
    let (grade, said) = match (dead + untold, behind, leased) {
        (1.., ..) => (Grade::Doubt, "some deliveries were given up: see `dead-letters list`"),
        (_, 1.., 0) if served => (Grade::Doubt, "something waits to be delivered, and nobody has leased it"),
        (_, 1.., 0) => (Grade::Good, "something waits until a gateway serves"),
        (_, 1.., _) => (Grade::Good, "deliveries are under way"),
        _ if retries > restricted => (Grade::Good, "some deliveries wait for another attempt, or behind one that does"),
        _ if retries > 0 => (Grade::Good, "what waits is of persons who have restricted the processing"),
        _ => (Grade::Good, "nothing waits to be delivered"),
    };
    Ok(Finding::new("delivery", grade, said).with([
        ("destinations", names.len() as i64),
        ("behind", behind),
        ("retries", retries),
        ("of_them_restricted", restricted),
        ("waits_for_the_fullest", fullest as i64),
        ("dead_letters", dead),
        ("untold_of_erased", untold),
        ("leased_slots", leased),
    ]))
}

fn uploads(connection: &Connection, place: &Place) -> sql::Result<Finding> {
    let (known, absent) = uploads::census(connection, &place.directory)?;
    let (grade, said) = match (absent, &place.server) {
        (0, _) => (Grade::Good, "every upload under way has its bytes here"),
        (_, Some(_)) => (Grade::Good, "uploads have their bytes here or with another gateway"),
        (_, None) => (Grade::Bad, "uploads under way have lost their bytes"),
    };
    Ok(Finding::new("uploads", grade, said).with([("under_way", known), ("elsewhere", absent)]))
}

/// The one value that is asked for.
pub(super) fn value<T: sql::Column>(connection: &Connection, sql: &str) -> sql::Result<T> {
    connection.prepare_cached(sql)?.query_row((), |row| row.get(0))
}
