//! The rows that a search looks at: each is read once, tested by its columns where it lies, and opened only if it passes.
//!
//! What the rows of a person have in common, whether she was erased and what opens them, is asked once a page: a page is
//! read in one transaction, in which it cannot change. What is looked for is not known here.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::erase;
use super::keys::{damaged, gist_of, person_by, version_of};
use super::pool::Reader;
use super::row::named_in_log;
use crate::store::compact::{aside, expanded_in};
use crate::store::id::{PatientKey, ResId};
use crate::store::marks;
use crate::store::plan::{Dated, Glimpse, Key, OrderBy, Pass, Sieve, Stored};
use crate::store::seal::{self, Broken};
use crate::store::sql::{self, Fault, Optional, Row, Value};

/// Rows that one statement reads: on a server, each is a way there and back.
pub(super) const AT_ONCE: usize = 16;

/// What is tested stands before what is answered.
const BY_NUMBERS: &str = "SELECT kind, patient, owner, date, updated, deleted, codes, tokens,
    bucket, day, tail, name, version, content, sealed_by, payload, seq, gist FROM resource
    WHERE seq IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// What a resource is tested and sorted by.
pub(super) struct Head<'r> {
    pub(super) seq: u64,
    pub(super) kind: i64,
    pub(super) patient: Option<PatientKey>,
    pub(super) owner: &'r str,
    pub(super) date: Option<Dated>,
    pub(super) updated: i64,
    pub(super) deleted: bool,
    codes: &'r [u8],
    tokens: &'r [u8],
}

impl<'r> Head<'r> {
    fn read(row: &'r Row<'r>) -> sql::Result<Self> {
        Ok(Self {
            seq: row.get::<i64>(16)? as u64,
            kind: row.get(0)?,
            patient: row.get::<Option<[u8; 16]>>(1)?.map(PatientKey),
            owner: row.get_ref(2)?.as_text()?,
            date: row.get::<Option<i64>>(3)?.map(Dated::of_column),
            updated: row.get(4)?,
            deleted: row.get(5)?,
            codes: row.get_ref(6)?.as_blob_or_null()?.unwrap_or_default(),
            tokens: row.get_ref(7)?.as_blob_or_null()?.unwrap_or_default(),
        })
    }

    pub(super) fn key(&self, by: OrderBy) -> Key {
        match by {
            OrderBy::Date => Key(Dated::place(self.date), self.seq),
            OrderBy::Updated => Key(self.updated, self.seq),
            OrderBy::Seq => Key(self.seq as i64, self.seq),
        }
    }

    pub(super) fn has_code(&self, code: i64) -> bool {
        holds(self.codes, code)
    }

    pub(super) fn has_token(&self, token: i64) -> bool {
        holds(self.tokens, token)
    }
}

/// Whether a list in a column has a number.
fn holds(column: &[u8], number: i64) -> bool {
    column.as_chunks::<8>().0.contains(&number.to_le_bytes())
}

/// A row as far as it was opened.
#[derive(Default)]
pub(super) struct Begun {
    pub(super) gist: Option<Vec<u8>>,
    /// Without its seal, where that was taken off.
    payload: Option<Vec<u8>>,
}

/// What opens what is kept of a person, and the id of whose it is, as far as that is kept.
#[derive(Clone)]
struct Holder {
    key: Arc<seal::Key>,
    person: Option<ResId>,
}

/// Makes resources of the rows of one page.
pub(super) struct Opener<'c> {
    reader: &'c Reader,
    kind: &'c Arc<str>,
    owner: Arc<str>,
    living: HashMap<PatientKey, bool>,
    keys: HashMap<i64, Option<Holder>>,
}

impl<'c> Opener<'c> {
    /// All rows are of that kind.
    pub(super) fn new(reader: &'c Reader, kind: &'c Arc<str>) -> Self {
        Self { reader, kind, owner: Arc::from(""), living: HashMap::new(), keys: HashMap::new() }
    }

    /// Reads rows by their numbers and hands over each that there is, with its place among the numbers, in any order. The
    /// numbers of what is damaged, where it is spared.
    pub(super) fn each(
        &mut self,
        numbers: &[u64],
        spares_damaged: bool,
        mut take: impl FnMut(&mut Self, usize, &Head<'_>, &Row<'_>) -> sql::Result<()>,
    ) -> sql::Result<Vec<u64>> {
        let mut damaged = Vec::new();
        for (round, chunk) in numbers.chunks(AT_ONCE).enumerate() {
            let at = |place: usize| chunk.get(place).or(chunk.last()).map_or(0, |number| *number as i64);
            let mut statement = self.reader.prepare_cached(BY_NUMBERS)?;
            let mut rows = statement.query(std::array::from_fn::<i64, AT_ONCE, _>(at))?;
            while let Some(row) = rows.next()? {
                let head = Head::read(&row)?;
                let Some(place) = chunk.iter().position(|number| *number == head.seq) else { continue };
                match take(self, round * AT_ONCE + place, &head, &row) {
                    // Which one it is, the log says.
                    Err(fault @ Fault::Damaged(_)) => {
                        named_in_log(&fault, self.kind, head.seq as i64, row.get(12)?);
                        if !spares_damaged {
                            return Err(fault);
                        }
                        damaged.push(head.seq);
                    }
                    taken => taken?,
                }
            }
        }
        Ok(damaged)
    }

    /// What a sieve says of a row that it may judge unopened, by its gist.
    pub(super) fn sifted(
        &mut self,
        sieve: &Sieve,
        head: &Head<'_>,
        row: &Row<'_>,
        gist: Option<&[u8]>,
    ) -> sql::Result<Pass> {
        let Some(patient) = head.patient else { return Ok(Pass::Through) };
        if !self.lives(patient)? {
            return Ok(Pass::Out);
        }
        let Some(gist) = gist else { return Ok(Pass::Through) };
        let id = ResId::from_columns(row.get(8)?, row.get(9)?, row.get(10)?);
        let name = match row.get_ref(11)? {
            Value::Null => None,
            name => Some(name.as_text()?),
        };
        Ok(sieve.judge(&Glimpse { patient, id, name, gist }))
    }

    /// The payload of a row without its seal. None where the person was erased, or the key was shredded.
    fn unsealed(&mut self, head: &Head<'_>, row: &Row<'_>) -> sql::Result<Option<Vec<u8>>> {
        if let Some(patient) = head.patient
            && !self.lives(patient)?
        {
            return Ok(None);
        }
        let (payload, number): (Vec<u8>, _) = (row.get(15)?, row.get(14)?);
        if number == 0 {
            return Ok(Some(payload));
        }
        let patient = head.patient.ok_or_else(|| damaged(Broken))?;
        let Some(Holder { key, .. }) = self.key(number, patient)? else { return Ok(None) };
        let identity = version_of(patient, row.get(10)?, row.get(12)?);
        key.open(&identity, payload).map(Some).map_err(damaged)
    }

    /// What is to be known of a row before it is read.
    pub(super) fn begin(&mut self, head: &Head<'_>, row: &Row<'_>) -> sql::Result<Begun> {
        let apart = row.get_ref(17)?.as_blob_or_null()?.is_some_and(|gist| !gist.is_empty());
        if apart {
            return Ok(Begun { gist: self.gist(head, row)?, payload: None });
        }
        let payload = self.unsealed(head, row)?;
        let person = self.person(head, row)?;
        let gist = payload.as_deref().and_then(|payload| aside(payload, person)).map(Cow::into_owned);
        Ok(Begun { gist, payload })
    }

    /// A gist that stands apart. None where the key that it was sealed by was shredded. One that was damaged is none: it follows
    /// from what it is the gist of, which is opened then.
    fn gist(&mut self, head: &Head<'_>, row: &Row<'_>) -> sql::Result<Option<Vec<u8>>> {
        let gist = row.get_ref(17)?.as_blob()?;
        let number = row.get(14)?;
        if number == 0 {
            return Ok(Some(gist.to_vec()));
        }
        let patient = head.patient.ok_or_else(|| damaged(Broken))?;
        let Some(Holder { key, .. }) = self.key(number, patient)? else { return Ok(None) };
        let opened = key.open(&gist_of(patient, row.get(10)?, row.get(12)?), gist.to_vec());
        if opened.is_err() {
            let seq: i64 = row.get(16)?;
            tracing::warn!(seq, "store: the gist of a resource is damaged; it is judged by the resource");
        }
        Ok(opened.ok())
    }

    /// None where the person was erased, or the key that it was sealed by was shredded.
    pub(super) fn open(&mut self, head: &Head<'_>, row: &Row<'_>, begun: Begun) -> sql::Result<Option<Stored>> {
        let Begun { gist, payload } = begun;
        let payload = if payload.is_some() { payload } else { self.unsealed(head, row)? };
        let Some(payload) = payload else { return Ok(None) };
        if *self.owner != *head.owner {
            self.owner = Arc::from(head.owner);
        }
        let id = ResId::from_columns(row.get(8)?, row.get(9)?, row.get(10)?);
        let person = self.person(head, row)?;
        let payload =
            expanded_in(payload, &marks::Row { id, updated_ms: head.updated, person }).map_err(Fault::damaged)?;
        Ok(Some(Stored {
            kind: self.kind.clone(),
            id,
            name: row.get(11)?,
            seq: head.seq,
            version: row.get(12)?,
            updated_ms: head.updated,
            deleted: head.deleted,
            patient: head.patient,
            owner: self.owner.clone(),
            date: head.date,
            content: row.get(13)?,
            payload,
            gist,
        }))
    }

    fn lives(&mut self, patient: PatientKey) -> sql::Result<bool> {
        Ok(match self.living.entry(patient) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(!erase::is_erased(self.reader, patient)?),
        })
    }

    /// The id of whose a row is, as far as it is kept beside her key.
    fn person(&mut self, head: &Head<'_>, row: &Row<'_>) -> sql::Result<Option<ResId>> {
        let number = row.get(14)?;
        let Some(patient) = head.patient.filter(|_| number != 0) else { return Ok(None) };
        Ok(self.key(number, patient)?.and_then(|holder| holder.person))
    }

    fn key(&mut self, number: i64, patient: PatientKey) -> sql::Result<Option<Holder>> {
        if let Some(known) = self.keys.get(&number) {
            return Ok(known.clone());
        }
        let found: Option<(Vec<u8>, Option<Vec<u8>>)> = self
            .reader
            .prepare_cached("SELECT wrapped, person FROM person_key WHERE number = ?1")?
            .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let holder = found
            .map(|(wrapped, person)| {
                let key = self.reader.keys.key(number, patient, &wrapped)?;
                let person = person_by(&key, patient, person.as_deref())?;
                Ok(Holder { key, person })
            })
            .transpose()
            .map_err(damaged)?;
        self.keys.insert(number, holder.clone());
        Ok(holder)
    }
}
