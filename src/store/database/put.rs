//! Writes: what stands under their ids, whether that lets them happen, and the rows that change.
//!
//! Every check comes before the first change, so a refused write leaves nothing behind.

use std::borrow::Cow;
use std::collections::HashSet;

use super::consents::{bump_epoch, consent_mark, move_sum};
use super::keys::{self, Sealed, Sealer, gist_of, version_of};
use super::row::{entry_date, entry_patient, filed_under, pack, token_hash, unpack};
use super::spans;
use super::stretches;
use super::writer::Ledger;
use crate::store::compact::{Guarded, aside, compact_in, is_cut};
use crate::store::fault::Error;
use crate::store::id::{PatientKey, ResId};
use crate::store::marks;
use crate::store::plan::Dated;
use crate::store::sql::{self, Bind, Connection, Optional, Params, Row, Value, params};
use crate::store::unit::{Expect, Write, WriteOutcome};

/// A write and the numbers under which it is indexed.
pub(super) struct Numbered<'a> {
    pub(super) write: &'a Write,
    kind: i64,
    codes: Vec<i64>,
    tokens: Vec<i64>,
    /// Of what is deleted nobody asks.
    labels: u16,
    /// What is kept of a person is sealed.
    sealer: Option<Sealer>,
    /// The payload as it is written, mostly with the gist behind it, but for the seal.
    compact: Cow<'a, [u8]>,
}

/// What is kept of a version, as it is kept.
struct Kept<'n> {
    /// The number of the key.
    sealed_by: i64,
    payload: Cow<'n, [u8]>,
    /// Where it does not stand behind the payload.
    gist: Cow<'n, [u8]>,
}

impl Numbered<'_> {
    fn kept(&self) -> Result<Kept<'_>, Error> {
        let write = self.write;
        let gist =
            if is_cut(&self.compact) || aside(&self.compact, None).is_some() { &[] } else { write.gist.as_slice() };
        let (Some(sealer), Some(patient)) = (&self.sealer, write.patient) else {
            return Ok(Kept { sealed_by: 0, payload: self.compact.as_ref().into(), gist: gist.into() });
        };
        let (tail, version) = (write.id.tail(), write.version);
        let Sealed { number, text } = sealer.sealed(&version_of(patient, tail, version), &self.compact)?;
        let gist = match gist {
            [] => Vec::new(),
            gist => sealer.sealed(&gist_of(patient, tail, version), gist)?.text,
        };
        Ok(Kept { sealed_by: number, payload: text.into(), gist: gist.into() })
    }
}

/// A version that came to be.
pub(super) struct Written {
    pub(super) seq: u64,
    pub(super) version: u32,
    pub(super) patient: Option<PatientKey>,
}

pub(super) fn number<'a>(ledger: &mut Ledger, write: &'a Write, compact: Cow<'a, [u8]>) -> Result<Numbered<'a>, Error> {
    let kind = ledger.kind(&write.kind)?;
    let compact = match (write.patient, write.person) {
        (Some(patient), Some(person)) if is_cut(&compact) && !keys::is_named(ledger, patient, person)? => {
            // Another id of hers is kept, so that this one stands with the text.
            let row = marks::Row { id: write.id, updated_ms: write.updated_ms, person: None };
            compact_in(&write.payload, &write.gist, &row, Guarded::Elsewhere)
        }
        _ => compact,
    };
    let sealer = write.patient.map(|patient| keys::sealer(ledger, patient)).transpose()?;
    if write.delete {
        // No search finds it, but whoever looks for all that there is of a person must.
        return Ok(Numbered { write, kind, codes: vec![-kind], tokens: Vec::new(), labels: 0, sealer, compact });
    }
    let mut codes = write.codes.iter().map(|coding| ledger.code(kind, coding)).collect::<Result<Vec<_>, _>>()?;
    if codes.is_empty() {
        codes.push(-kind);
    }
    let mut tokens: Vec<i64> = write
        .tokens
        .iter()
        .flat_map(|token| [Some(token.system.as_str()), None].map(|system| (token, system)))
        .map(|(token, system)| token_hash(kind, token.param, system, &token.value))
        .collect();
    for numbers in [&mut codes, &mut tokens] {
        numbers.sort_unstable();
        numbers.dedup();
    }
    let labels = ledger.labels(write.labels)?;
    Ok(Numbered { write, kind, codes, tokens, labels, sealer, compact })
}

/// What becomes of each write, in their order; of those that stand or fall together, up to the first that is refused.
pub(super) fn put(
    ledger: &Ledger,
    writes: &[Numbered<'_>],
    atomic: bool,
) -> Result<Vec<(WriteOutcome, Option<Written>)>, Error> {
    let mut done: Vec<(WriteOutcome, Option<Written>)> = Vec::with_capacity(writes.len());
    let mut rest = writes;
    while let [first, ..] = rest {
        let (run, later) = rest.split_at(together(rest));
        match first.write.expect {
            Expect::Absent => done.extend(create(ledger, run, atomic)?),
            Expect::Version(expected) => done.push(replace(ledger, first, expected)?),
        }
        if atomic && let Some(refused) = done.iter().position(|(outcome, _)| outcome.is_conflict()) {
            done.truncate(refused + 1);
            break;
        }
        rest = later;
    }
    Ok(done)
}

/// How many of the first are created at once: those of which none asks for what another one does. That each id is there
/// once the database sees to.
fn together(writes: &[Numbered<'_>]) -> usize {
    let mut said = HashSet::new();
    let alone = writes.iter().position(|Numbered { write, .. }| {
        write.expect != Expect::Absent
            || write.name.is_some()
            || write.reading.is_some_and(|reading| !said.insert(reading))
    });
    alone.unwrap_or(writes.len()).max(1)
}

/// What stands under an id or a name already.
struct Standing {
    seq: i64,
    kind: i64,
    id: ResId,
    name: Option<String>,
    patient: Option<PatientKey>,
    date: Option<Dated>,
    version: u32,
    updated_ms: i64,
    deleted: bool,
    content: [u8; 16],
    codes: Vec<i64>,
    tokens: Vec<i64>,
    labels: u16,
}

impl Standing {
    const BY_TAIL: &str =
        "SELECT seq, kind, bucket, day, tail, name, patient, date, version, updated, deleted, content,
        codes, tokens, labels FROM resource WHERE tail = ?1";
    const BY_NAME: &str = "SELECT r.seq, r.kind, r.bucket, r.day, r.tail, r.name, r.patient, r.date, r.version,
        r.updated, r.deleted, r.content, r.codes, r.tokens, r.labels
        FROM alias a JOIN resource r ON r.seq = a.seq WHERE a.kind = ?1 AND a.name = ?2";

    fn find(connection: &Connection, sql: &str, key: impl Params) -> sql::Result<Option<Self>> {
        let standing = |row: &Row<'_>| {
            Ok(Self {
                seq: row.get(0)?,
                kind: row.get(1)?,
                id: ResId::from_columns(row.get(2)?, row.get(3)?, row.get(4)?),
                name: row.get(5)?,
                patient: row.get::<Option<[u8; 16]>>(6)?.map(PatientKey),
                date: row.get::<Option<i64>>(7)?.map(Dated::of_column),
                version: row.get(8)?,
                updated_ms: row.get(9)?,
                deleted: row.get(10)?,
                content: row.get(11)?,
                codes: unpack(row.get_ref(12)?.as_blob_or_null()?),
                tokens: unpack(row.get_ref(13)?.as_blob_or_null()?),
                labels: row.get(14)?,
            })
        };
        connection.prepare_cached(sql)?.query_row(key, standing).optional()
    }

    fn against(&self, new: &Numbered<'_>) -> WriteOutcome {
        let write = new.write;
        let same = !self.deleted
            && self.content == write.content
            && self.kind == new.kind
            && self.id == write.id
            && self.name == write.name
            && self.patient == write.patient;
        if same {
            WriteOutcome::Existing { version: self.version, updated_ms: self.updated_ms }
        } else {
            WriteOutcome::Conflict { version: self.version }
        }
    }
}

/// A resource that is to be, as it is written.
struct Fresh<'a> {
    new: &'a Numbered<'a>,
    tail: [u8; 12],
    codes: Option<Vec<u8>>,
    tokens: Option<Vec<u8>>,
    kept: Kept<'a>,
}

impl<'a> Fresh<'a> {
    const INSERT: &'static str =
        "INSERT INTO resource (tail, kind, bucket, day, name, patient, owner, date, updated, version, deleted,
             content, codes, tokens, sealed_by, payload, gist, labels)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (tail) DO NOTHING";

    fn of(new: &'a Numbered<'_>) -> Result<Self, Error> {
        let (tail, codes, tokens) = (new.write.id.tail(), pack(&new.codes), pack(&new.tokens));
        Ok(Self { new, tail, codes, tokens, kept: new.kept()? })
    }

    fn row(&self) -> [Value<'_>; 18] {
        let write = self.new.write;
        [
            Value::Blob(&self.tail),
            Value::Integer(self.new.kind),
            Value::Integer(write.id.bucket().into()),
            Value::Integer(write.id.day().into()),
            write.name.value(),
            write.patient.as_ref().map_or(Value::Null, |patient| Value::Blob(&patient.0)),
            write.owner.value(),
            write.date.map_or(Value::Null, |date| Value::Integer(date.column())),
            write.updated_ms.value(),
            write.version.value(),
            write.delete.value(),
            write.content.value(),
            self.codes.value(),
            self.tokens.value(),
            Value::Integer(self.kept.sealed_by),
            self.kept.payload.value(),
            self.kept.gist.value(),
            Value::Integer(self.new.labels.into()),
        ]
    }
}

/// The common case asks nothing first: the unique index answers.
fn create(ledger: &Ledger, run: &[Numbered<'_>], atomic: bool) -> Result<Vec<(WriteOutcome, Option<Written>)>, Error> {
    let connection = &ledger.connection;
    let mut outcomes = standing(connection, run)?;
    let unknown = run.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_none());
    let fresh = unknown.map(|(new, _)| Fresh::of(new)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<_> = fresh.iter().map(Fresh::row).collect();
    let mut numbers = connection.insert_each(Fresh::INSERT, ("tail", "seq"), &rows)?.into_iter();
    let mut created = Vec::with_capacity(fresh.len());
    let mut done = Vec::with_capacity(run.len());
    for (new, outcome) in run.iter().zip(&mut outcomes) {
        let write = new.write;
        done.push(if let Some(outcome) = outcome.take() {
            (outcome, None)
        } else if let Some(seq) = numbers.next().flatten() {
            created.push((new, seq));
            let written = Written { seq: seq as u64, version: write.version, patient: write.patient };
            (WriteOutcome::Created, Some(written))
        } else {
            let standing = Standing::find(connection, Standing::BY_TAIL, [write.id.tail()])?;
            (standing.map_or(WriteOutcome::Conflict { version: 0 }, |standing| standing.against(new)), None)
        });
    }
    if !(atomic && done.iter().any(|(outcome, _)| outcome.is_conflict())) {
        accompany(ledger, &created)?;
    }
    Ok(done)
}

/// What lies beside new resources.
fn accompany(ledger: &Ledger, created: &[(&Numbered<'_>, i64)]) -> sql::Result<()> {
    let connection = &ledger.connection;
    let mut readings = Vec::new();
    for (new, seq) in created {
        if let Some(name) = &new.write.name {
            connection
                .prepare_cached("INSERT INTO alias (kind, name, seq) VALUES (?1, ?2, ?3)")?
                .post(params![new.kind, name, seq])?;
        }
        readings.extend(new.write.reading.as_ref().map(|reading| [Value::Blob(reading), Value::Integer(*seq)]));
    }
    index(ledger, created)?;
    connection.post_each("INSERT INTO reading (hash, seq) VALUES (?1, ?2)", &readings)?;
    for (new, seq) in created {
        spans::note(connection, new.write, *seq)?;
        stretches::note(connection, new.write, *seq)?;
    }
    Ok(())
}

/// What is known of new resources by their name, or by what they say.
fn standing(connection: &Connection, run: &[Numbered<'_>]) -> sql::Result<Vec<Option<WriteOutcome>>> {
    let mut known = Vec::with_capacity(run.len());
    for new in run {
        known.push(match &new.write.name {
            Some(name) => Standing::find(connection, Standing::BY_NAME, params![new.kind, name])?
                .map(|standing| standing.against(new)),
            None => None,
        });
    }
    let asked: Vec<usize> =
        (0..run.len()).filter(|at| known[*at].is_none() && run[*at].write.reading.is_some()).collect();
    let keys: Vec<_> = asked.iter().map(|at| [run[*at].write.reading.value()]).collect();
    let found = connection.find_each(
        "SELECT r.bucket, r.day, r.tail, r.version, r.updated FROM reading g JOIN resource r ON r.seq = g.seq
         WHERE g.hash = ?1",
        &keys,
        |row| Ok((ResId::from_columns(row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?, row.get(4)?)),
    )?;
    for (at, found) in asked.into_iter().zip(found) {
        // The same record again is known by its id.
        known[at] = found
            .filter(|(id, ..)| id.tail() != run[at].write.id.tail())
            .map(|(id, version, updated_ms)| WriteOutcome::Standing { id, version, updated_ms });
    }
    Ok(known)
}

fn replace(ledger: &Ledger, new: &Numbered<'_>, expected: u32) -> Result<(WriteOutcome, Option<Written>), Error> {
    let connection = &ledger.connection;
    let write = new.write;
    let Some(old) = Standing::find(connection, Standing::BY_TAIL, [write.id.tail()])? else {
        return Ok((WriteOutcome::VersionMismatch { actual: 0 }, None));
    };
    if old.kind != new.kind || old.id != write.id || old.name != write.name {
        return Ok((WriteOutcome::Conflict { version: old.version }, None));
    }
    // The payload already names its version, so it must be the next one.
    if old.version != expected || Some(write.version) != expected.checked_add(1) {
        return Ok((WriteOutcome::VersionMismatch { actual: old.version }, None));
    }
    connection
        .prepare_cached(
            "INSERT INTO history (seq, version, kind, patient, owner, date, updated, deleted, content, sealed_by, payload)
             SELECT seq, version, kind, patient, owner, date, updated, deleted, content, sealed_by, payload
             FROM resource WHERE seq = ?1",
        )?
        .post([old.seq])?;
    unindex(ledger, &old, write)?;
    if !write.says_the_same {
        // What it said is said no more; what it says now counts where nothing else says it.
        connection.prepare_cached("DELETE FROM reading WHERE seq = ?1")?.post([old.seq])?;
        if let Some(reading) = write.reading {
            connection
                .prepare_cached("INSERT INTO reading (hash, seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .post(params![reading, old.seq])?;
        }
        stretches::close(connection, old.seq)?;
    }
    spans::forget(connection, old.seq)?;
    spans::note(connection, write, old.seq)?;
    stretches::note(connection, write, old.seq)?;
    let Kept { sealed_by, payload, gist } = new.kept()?;
    connection
        .prepare_cached(
            "UPDATE resource SET patient = ?2, owner = ?3, date = ?4, updated = ?5, version = ?6, deleted = ?7,
             content = ?8, codes = ?9, tokens = ?10, sealed_by = ?11, payload = ?12, gist = ?13, labels = ?14
             WHERE seq = ?1",
        )?
        .post(params![
            old.seq,
            write.patient.map(|patient| patient.0),
            write.owner,
            write.date.map(Dated::column),
            write.updated_ms,
            write.version,
            write.delete,
            write.content,
            pack(&new.codes),
            pack(&new.tokens),
            sealed_by,
            payload,
            gist,
            new.labels,
        ])?;
    index(ledger, &[(new, old.seq)])?;
    Ok((WriteOutcome::Updated, Some(Written { seq: old.seq as u64, version: write.version, patient: write.patient })))
}

fn index(ledger: &Ledger, put: &[(&Numbered<'_>, i64)]) -> sql::Result<()> {
    let connection = &ledger.connection;
    let (mut entries, mut tokens) = (Vec::with_capacity(put.len()), Vec::new());
    for (new, seq) in put {
        let labels = new.labels;
        if labels > 0 {
            connection
                .prepare_cached("INSERT INTO label_set (number) VALUES (?1) ON CONFLICT DO NOTHING")?
                .post([labels])?;
        }
        let patient = Value::Blob(entry_patient(new.write.patient.as_ref()));
        let (date, seq) = (Value::Integer(entry_date(new.write.date)), Value::Integer(*seq));
        let under = new.codes.iter().map(|code| filed_under(*code, labels));
        entries.extend(under.map(|under| [patient, Value::Integer(under), date, seq]));
        tokens.extend(new.tokens.iter().map(|token| [Value::Integer(*token), seq]));
    }
    connection.post_each("INSERT INTO entry (patient, code, date, seq) VALUES (?1, ?2, ?3, ?4)", &entries)?;
    connection.post_each("INSERT INTO token (hash, seq) VALUES (?1, ?2)", &tokens)?;
    for (Numbered { write, .. }, seq) in put {
        let (true, Some(patient)) = (write.consent, write.patient) else { continue };
        let mut added = 0;
        if !write.delete {
            connection
                .prepare_cached("INSERT INTO consent (patient, seq) VALUES (?1, ?2)")?
                .post(params![patient.0, seq])?;
            added = consent_mark(patient, *seq);
        }
        bump_epoch(connection, &ledger.spoken, patient, added)?;
    }
    Ok(())
}

fn unindex(ledger: &Ledger, old: &Standing, new: &Write) -> sql::Result<()> {
    let connection = &ledger.connection;
    let patient = entry_patient(old.patient.as_ref());
    for code in &old.codes {
        connection
            .prepare_cached("DELETE FROM entry WHERE patient = ?1 AND code = ?2 AND date = ?3 AND seq = ?4")?
            .post(params![patient, filed_under(*code, old.labels), entry_date(old.date), old.seq])?;
    }
    for token in &old.tokens {
        connection.prepare_cached("DELETE FROM token WHERE hash = ?1 AND seq = ?2")?.post(params![token, old.seq])?;
    }
    let Some(patient) = old.patient else { return Ok(()) };
    let was_consent = connection
        .prepare_cached("DELETE FROM consent WHERE patient = ?1 AND seq = ?2")?
        .execute(params![patient.0, old.seq])?;
    if was_consent == 0 {
        return Ok(());
    }
    let gone = -consent_mark(patient, old.seq);
    // Whom it spoke of before must notice too; whom it speaks of now, `index` tells.
    let told = new.consent && new.patient == Some(patient);
    if told { move_sum(connection, patient, gone) } else { bump_epoch(connection, &ledger.spoken, patient, gone) }
}
