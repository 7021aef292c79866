//! One slot of the feed, from its cursor: in order, a batch at a time, one fenced write at the end.

use std::collections::{HashMap, HashSet};

use tokio::sync::OwnedSemaphorePermit;

use super::ahead;
use super::recall::is_review;
use super::send::Came;
use super::{LEASE_MS, RESTRICTED, RESTRICTED_MS, TURN_MS, Worker};
use crate::fhir::outcome::Id;
use crate::policy::consent::Permitted;
use crate::policy::delivery::{self, Settlement};
use crate::store::{self, AuditRecord, DAMAGED, Failure, FeedItem, Fenced, KnownAs, Lease, PatientKey, Stored, Task};

/// Why something waits that is in order itself.
const BEHIND: &str = "waits behind an earlier one";

/// Feed rows in one batch.
pub(super) const BATCH: usize = 64;

/// Resources in one batch, but for those of its last row.
const RESOURCES: usize = 128;

/// How far a turn came.
#[derive(Default)]
pub(super) struct Passed {
    /// Rows that the cursor moved over.
    pub(super) rows: usize,
    /// Whether there may be more.
    pub(super) more: bool,
}

/// What a batch has come to so far.
#[derive(Default)]
struct Batch {
    failures: Vec<Failure>,
    audit: Vec<AuditRecord>,
    /// Names that the destination gave.
    known: Vec<KnownAs>,
    /// Whether anything was sent.
    sent: bool,
    /// Patients that must wait behind a failure of their own.
    blocked: HashSet<PatientKey>,
    /// What is on record as about to be disclosed; nothing else leaves.
    foretold: HashSet<(u64, u32)>,
    /// Resources of which the consent withheld a version.
    withheld: HashSet<u64>,
    to: Option<u64>,
}

/// How a row came out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Settled,
    /// The destination is in trouble.
    Trouble,
    /// Its turn comes when what is before it is written down.
    NotYet,
}

impl Worker {
    /// Works a batch of a slot off, on a seat that is free again when nothing more is sent.
    pub(super) async fn slot(
        &self,
        lease: &Lease,
        max: usize,
        seat: OwnedSemaphorePermit,
    ) -> Result<Passed, store::Error> {
        let store = &self.gateway.store;
        let turn_ms = if self.has_first() { ahead::TURN_MS } else { TURN_MS };
        let deadline_ms = (self.gateway.now_ms() + turn_ms).min(lease.until_ms - LEASE_MS / 2);
        let (most, resources) = if self.has_first() { (BATCH, usize::MAX) } else { (max, RESOURCES) };
        let mut rows = store.feed(lease, most, resources).await?;
        let more = rows.len() == most || rows.iter().map(|row| row.items.len()).sum::<usize>() >= resources;
        // What waits for its turn is behind the first row, of this batch or of those to come.
        if let [first, behind @ ..] = rows.as_slice()
            && self.has_first()
            && (rows.len() == BATCH || behind.iter().any(|row| self.goes_first(row)))
        {
            let taken = self.look_ahead(lease, first.pos).await?;
            if taken > 0 {
                return Ok(Passed { rows: taken, more });
            }
        }
        rows.truncate(max);
        let mut reviews = HashMap::new();
        for row in &mut rows {
            let review = row.items.iter().position(is_review).map(|index| row.items.swap_remove(index));
            reviews.extend(review.filter(|_| self.on_withdrawal.is_some()).map(|consent| (row.pos, consent)));
            let items = std::mem::take(&mut row.items);
            let asked: Vec<(u64, u32)> = items.iter().map(|stored| (stored.seq, stored.version)).collect();
            match self.wanted(items).await {
                // What is to be known of the person to route it is damaged.
                Err(store::Error::Damaged) => row.damaged.extend(asked),
                wanted => row.items = wanted?,
            }
        }
        let mut batch = Batch { foretold: self.foretell(lease, &rows).await?, ..Batch::default() };
        let mut moved = 0;
        for mut row in rows {
            let (pos, patient) = (row.pos, row.patient);
            let damaged = std::mem::take(&mut row.damaged);
            if let Some(consent) = reviews.remove(&pos) {
                batch.blocked.extend(row.patient);
                let now_ms = self.gateway.now_ms();
                batch.failures.push(failure(pos, &consent, 0, now_ms, "what is held is looked at", false));
            }
            let outcome = self.row(row, &mut batch).await?;
            if outcome == Outcome::NotYet {
                // It is looked at again at once, from a new beginning.
                moved += 1;
                break;
            }
            batch.to = Some(pos);
            moved += 1;
            batch.failures.extend(damaged.into_iter().map(|one| self.lost(pos, patient, one)));
            // A destination in trouble, a slow one, or the end: write down how far we came and look again.
            let now_ms = self.gateway.now_ms();
            let closed = now_ms > deadline_ms || self.closed_until(now_ms).is_some();
            if outcome == Outcome::Trouble || closed || self.is_stopping() {
                break;
            }
            // What would be there twice, were it sent again after a crash, is written down each time.
            if batch.sent && !self.is_repeatable() {
                break;
            }
        }
        drop(seat);
        let passed = Passed { rows: moved, more };
        let Some(to) = batch.to else { return Ok(passed) };
        let audit = batch.audit.clone();
        let advance = store.advance(lease, to, batch.failures, batch.audit);
        match tokio::try_join!(store.know(batch.known, self.on_erasure.is_some()), advance)?.1 {
            Fenced::Held => {}
            // Another worker has the slot and will send again, to the same effect; what we disclosed stays on record.
            Fenced::Lost => store.record_audit(audit).await?,
        }
        Ok(passed)
    }

    /// What the batch is about to disclose goes on record first: should the process end between a send and its
    /// settlement, and the consent with it, the trail still tells where the data may be.
    async fn foretell(&self, lease: &Lease, rows: &[FeedItem]) -> Result<HashSet<(u64, u32)>, store::Error> {
        let items = rows.iter().filter(|row| !row.parked).flat_map(|row| row.items.iter().cloned());
        let permitted = self.judge(items.collect()).await?.permitted;
        let foretold = permitted.iter().map(|one| (one.get().seq, one.get().version)).collect();
        // One record a person and ground: what is told of the batch is that all of it may have left.
        let mut together: HashMap<_, Vec<Vec<&Permitted<Stored>>>> = HashMap::new();
        for one in &permitted {
            let of_person = together.entry(one.get().patient).or_default();
            match of_person.iter_mut().find(|some| some[0].basis() == one.basis()) {
                Some(some) => some.push(one),
                None => of_person.push(vec![one]),
            }
        }
        let told = together.values().flatten().flat_map(|some| self.disclosed(some, &[Id::EntryFailed]));
        let records: Vec<AuditRecord> = told.collect();
        if !records.is_empty() {
            self.gateway.store.foretell(&self.name, Task::Slot(lease.slot), records).await?;
        }
        Ok(foretold)
    }

    /// One row: all that is routed here of what one request brought for one patient.
    async fn row(&self, row: FeedItem, batch: &mut Batch) -> Result<Outcome, store::Error> {
        if row.items.is_empty() {
            return Ok(Outcome::Settled);
        }
        let now_ms = self.gateway.now_ms();
        if row.parked || row.patient.is_some_and(|patient| batch.blocked.contains(&patient)) {
            // Consent is asked when its turn comes.
            let goes_first = self.goes_first(&row);
            batch.failures.extend(row.items.iter().map(|stored| {
                if goes_first {
                    ahead::ahead(row.pos, stored)
                } else {
                    failure(row.pos, stored, 0, now_ms, BEHIND, false)
                }
            }));
            return Ok(Outcome::Settled);
        }
        let items = row.items;
        let asked: Vec<u64> = items.iter().map(|stored| stored.seq).collect();
        let judged = self.judge(items).await?;
        let permitted: HashSet<u64> = judged.permitted.iter().map(|one| one.get().seq).collect();
        // The consent came back within the batch. Were the process to end now, the batch would begin again and send
        // the version that was withheld, after the later one; and what is not on record must not leave at all.
        let unforetold = judged.permitted.iter().map(|one| (one.get().seq, one.get().version));
        if permitted.iter().any(|seq| batch.withheld.contains(seq))
            || unforetold.into_iter().any(|one| !batch.foretold.contains(&one))
        {
            return Ok(Outcome::NotYet);
        }
        let lost = judged.damaged.iter().map(|one| self.lost(row.pos, row.patient, *one));
        batch.failures.extend(lost);
        batch.withheld.extend(asked.into_iter().filter(|seq| !permitted.contains(seq)));
        self.note_withheld(judged.audit.len() + judged.restricted.len(), &judged.nowhere);
        batch.audit.extend(judged.audit);
        for (stored, record) in judged.restricted {
            batch.blocked.extend(row.patient);
            let again_ms = now_ms + RESTRICTED_MS;
            batch.failures.push(failure(row.pos, &stored, 0, again_ms, RESTRICTED, false));
            batch.audit.push(record);
        }
        if judged.permitted.is_empty() {
            return Ok(Outcome::Settled);
        }
        let mut units = self.units(judged.permitted).into_iter();
        while let Some(unit) = units.next() {
            let trouble = self.unit(row.pos, &unit, batch).await?;
            if trouble || row.patient.is_some_and(|patient| batch.blocked.contains(&patient)) {
                let now_ms = self.gateway.now_ms();
                let behind = units.flatten();
                batch.failures.extend(behind.map(|one| failure(row.pos, one.get(), 0, now_ms, BEHIND, false)));
                return Ok(if trouble { Outcome::Trouble } else { Outcome::Settled });
            }
        }
        Ok(Outcome::Settled)
    }

    /// What cannot be sent because what is kept is damaged waits for somebody who restores it.
    fn lost(&self, pos: u64, patient: Option<PatientKey>, (seq, version): (u64, u32)) -> Failure {
        self.given_up(DAMAGED);
        let (reason, not_before_ms) = (DAMAGED.to_owned(), self.gateway.now_ms());
        Failure { pos, patient, seq, version, attempts: 0, not_before_ms, reason, dead: true, first: false }
    }

    /// What is sent at once; answers whether the destination is in trouble.
    async fn unit(&self, pos: u64, permitted: &[Permitted<Stored>], batch: &mut Batch) -> Result<bool, store::Error> {
        let came = match self.send(permitted).await {
            // What is told with it, of the person or the device, is damaged, and nothing was sent.
            Err(store::Error::Damaged) => {
                let lost = permitted.iter().map(Permitted::get);
                let lost = lost.map(|one| self.lost(pos, one.patient, (one.seq, one.version)));
                batch.failures.extend(lost);
                return Ok(false);
            }
            came => came?,
        };
        let trouble = came.iter().all(|one| !one.verdict.is_alive());
        let now_ms = self.gateway.now_ms();
        let (mut arrived, mut left, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (one, Came { verdict, known, withheld }) in permitted.iter().zip(came) {
            batch.known.extend(known);
            if let Some(issue) = withheld {
                self.note_withheld(1, &[issue]);
                batch.audit.extend(self.withheld(one.get(), issue));
                continue;
            }
            batch.sent = true;
            let (has_left, is_refused) = (verdict.has_left(), verdict.is_refused());
            let settlement = delivery::settle(verdict, &self.schedule(), 1, now_ms, self.random());
            self.note_settled(&settlement);
            match settlement {
                Settlement::Done => {
                    arrived.push(one);
                    continue;
                }
                Settlement::Again { at_ms, reason } => {
                    batch.blocked.extend(one.get().patient);
                    batch.failures.push(failure(pos, one.get(), 1, at_ms, &reason, false));
                }
                Settlement::Dead { reason } => {
                    self.given_up(&reason);
                    batch.failures.push(failure(pos, one.get(), 1, now_ms, &reason, true));
                }
            }
            // Whether it arrived is unknown, and the consent may be gone when its turn comes again; what was rejected has
            // left the house all the same.
            match (has_left, is_refused) {
                (true, true) => refused.push(one),
                (true, false) => left.push(one),
                (false, _) => {}
            }
        }
        batch.audit.extend(self.disclosed(&arrived, &[]));
        batch.audit.extend(self.disclosed(&left, &[Id::EntryFailed]));
        batch.audit.extend(self.disclosed(&refused, &[Id::DestinationContent]));
        Ok(trouble)
    }
}

pub(super) fn failure(
    pos: u64,
    stored: &Stored,
    attempts: u32,
    not_before_ms: i64,
    reason: &str,
    dead: bool,
) -> Failure {
    Failure {
        pos,
        patient: stored.patient,
        seq: stored.seq,
        version: stored.version,
        attempts,
        not_before_ms,
        reason: reason.to_owned(),
        dead,
        first: false,
    }
}
