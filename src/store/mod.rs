//! What we remember: accepted resources, the feed that delivers them, the audit trail, clients.
//!
//! The boundary speaks of ids, index values and opaque payloads. It must not know FHIR beyond that, nor what a consent
//! means, nor where anything is delivered. One request is one durable transaction (`Unit`): when `accept` returns, the
//! resource, its index, its feed row, its audit and its idempotency key are on the disk together or not at all.
//!
//! A conflict, a stale consent, a lost lease are values; an `Error` is broken machinery and says whether to try again.

pub mod id;

pub mod fault;

mod seal;

mod key_file;

pub mod plan;
pub mod unit;

pub mod outbox;

pub mod raw;

pub mod receipt;

pub mod erasure;

pub mod tidying;

pub mod span;

pub mod upload;

pub mod place;

mod sql;

mod database;

use std::sync::Arc;

use tokio::sync::watch;

use crate::tlog::Hash;

pub use database::{UploadBytes, UploadFile};
pub use erasure::{Erasure, Remaining, Remnant, Untold};
pub use fault::{Error, Health, KeyMistake, OpenError};
pub use id::{PatientKey, ResId};
pub use outbox::{Backlog, DeadLetter, Failure, FeedItem, Fenced, Lease, Retry, Settlement, SettlementOutcome, Task};
pub use place::{Place, Server};
pub use plan::{AuditPlan, CodeKey, HistoryPlan, Key, Order, OrderBy, Page, Plan, Stored, TokenKey, VersionKey};
pub use raw::{Raw, RawHead, RawInput, RawStep, Reread, Rereading};
pub use receipt::{Filed, Filing, Receipt, ReceiptPlace, ReceiptPlan, Tally};
pub(crate) use seal::Key as SealingKey;
pub use span::{Around, Known, Neighbour, Span};
pub use tidying::Tidying;
pub use unit::{
    Accepted, AuditRecord, Cancelled, Expect, Finish, Finished, Growth, Head, IdempotencyKey, Logged, Precondition,
    Said, Token, Unit, Write, WriteOutcome,
};
pub use upload::{Progress, Quota, Upload, UploadId, UploadState};

/// Where it is kept: in a file of this machine, or on a server that several gateways share.
pub struct Store(database::Database);

impl Store {
    /// Whether opening would find a store; it makes one otherwise.
    pub fn exists(place: &Place) -> Result<bool, OpenError> {
        database::Database::exists(place)
    }

    /// Whether a store could be made or written at a place.
    pub fn usable(place: &Place) -> Result<(), OpenError> {
        database::Database::usable(place)
    }

    /// Ids and registrations of the clients in a store that exists; it is only read.
    pub fn registered(place: &Place) -> Result<Vec<(String, String)>, OpenError> {
        database::Database::registered(place)
    }

    /// For the serving process; refuses a directory from which another one serves.
    pub fn open(place: &Place) -> Result<Self, OpenError> {
        database::Database::open(place).map(Self)
    }

    /// For a command beside a serving process.
    pub fn open_shared(place: &Place) -> Result<Self, OpenError> {
        database::Database::open_shared(place).map(Self)
    }

    /// Durable when it returns.
    pub async fn accept(&self, unit: Unit) -> Result<Accepted, Error> {
        self.0.accept(unit).await
    }

    /// Several units, each its own transaction, queued together so that they share the cost of durability.
    pub async fn accept_all(&self, units: Vec<Unit>) -> Vec<Result<Accepted, Error>> {
        self.0.accept_all(units).await
    }

    /// The current version by logical id, even if it is a deletion.
    pub async fn read(&self, kind: &str, id: &str) -> Result<Option<Stored>, Error> {
        self.0.read(kind, id).await
    }

    /// The current version of what was derived from the same parts, whichever patient and day it lies under.
    pub async fn read_derived(&self, kind: &str, id: ResId) -> Result<Option<Stored>, Error> {
        self.0.read_derived(kind, id).await
    }

    /// One version, current or past.
    pub async fn read_version(&self, kind: &str, id: &str, version: u32) -> Result<Option<Stored>, Error> {
        self.0.read_version(kind, id, version).await
    }

    /// Those of some versions that are there, by type, logical id and version, in the order asked.
    pub async fn versions(&self, asked: Vec<(String, String, u32)>) -> Result<Vec<Stored>, Error> {
        self.0.versions(asked).await
    }

    /// The current version by order of creation.
    pub async fn current(&self, seq: u64) -> Result<Option<Stored>, Error> {
        self.0.current(seq).await
    }

    /// Readings of a person that take up time where it is asked about.
    pub async fn neighbours(&self, patient: PatientKey, asked: Vec<Around>) -> Result<Vec<Neighbour>, Error> {
        self.0.neighbours(patient, asked).await
    }

    /// Measures of a person of which there are readings of several sources.
    pub async fn several_sources(&self, patient: PatientKey) -> Result<Vec<Arc<str>>, Error> {
        self.0.several_sources(patient).await
    }

    /// Of each, whether its id or its reading is there already.
    pub async fn stand(&self, asked: Vec<Known>) -> Result<Vec<bool>, Error> {
        self.0.stand(asked).await
    }

    /// The stretch that a record went into, and when it did.
    pub async fn gathered(&self, record: ResId) -> Result<Option<(Stored, i64)>, Error> {
        self.0.gathered(record).await
    }

    /// Open stretches for which nothing more is expected, by order of creation.
    pub async fn ripe(&self, now_ms: i64, limit: usize) -> Result<Vec<u64>, Error> {
        self.0.ripe(now_ms, limit).await
    }

    /// It is none of them any more.
    pub async fn forget_stretch(&self, seq: u64) -> Result<(), Error> {
        self.0.forget_stretch(seq).await
    }

    /// When the next of them is.
    pub async fn next_ripe(&self) -> Result<Option<i64>, Error> {
        self.0.next_ripe().await
    }

    pub async fn search(&self, plan: Plan) -> Result<Page, Error> {
        self.0.search(plan).await
    }

    /// Some versions, and where to go on.
    pub async fn history(&self, plan: HistoryPlan) -> Result<(Vec<Stored>, Option<VersionKey>), Error> {
        self.0.history(plan).await
    }

    /// The patient's consent epoch and current consents, seen at one moment.
    pub async fn consents(&self, patient: PatientKey) -> Result<(u64, Vec<Stored>), Error> {
        self.0.consents(patient).await
    }

    /// All that the patient has said, seen at one moment.
    pub async fn said(&self, patient: PatientKey) -> Result<Said, Error> {
        self.0.said(patient).await
    }

    /// Begins or ends that what is the patient's is kept and nothing else; answers since when it is so. What waits for
    /// another attempt is due when it ends.
    pub async fn restrict(
        &self,
        patient: PatientKey,
        since_ms: Option<i64>,
        record: AuditRecord,
    ) -> Result<Option<i64>, Error> {
        self.0.restrict(patient, since_ms, record).await
    }

    /// Forgets a little of what is old; false when there is no more.
    pub async fn tidy(&self, tidying: Tidying) -> Result<bool, Error> {
        self.0.tidy(tidying).await
    }

    /// Takes resources of persons away, by their sequence numbers and versions, with all their versions.
    pub async fn remove(&self, old: Vec<(u64, u32)>, records: Vec<AuditRecord>) -> Result<(), Error> {
        self.0.remove(old, records).await
    }

    /// Writes a tombstone: from here on nothing of the person is found. False where there is one.
    pub async fn begin_erasure(&self, erasure: Erasure, record: AuditRecord) -> Result<bool, Error> {
        self.0.begin_erasure(erasure, record).await
    }

    pub async fn erasure(&self, patient: PatientKey) -> Result<Option<Erasure>, Error> {
        self.0.erasure(patient).await
    }

    /// Those that are not finished, and those since a moment.
    pub async fn erasures_since(&self, since_ms: i64) -> Result<Vec<Erasure>, Error> {
        self.0.erasures_since(since_ms).await
    }

    /// How many resources there are of a patient, by type.
    pub async fn census(&self, patient: PatientKey) -> Result<Vec<(String, u64)>, Error> {
        self.0.census(patient).await
    }

    /// Takes away some of what an erased person left; false when nothing was left.
    pub async fn erase_step(&self, patient: PatientKey) -> Result<bool, Error> {
        self.0.erase_step(patient).await
    }

    /// Takes an erased person out of the feed, from a position on; where to go on.
    pub async fn erase_feed(&self, patient: PatientKey, from: u64) -> Result<Option<u64>, Error> {
        self.0.erase_feed(patient, from).await
    }

    /// Records about an erased person that are as they were written, after a number; without that of the erasure.
    pub async fn audit_unredacted(
        &self,
        patient: PatientKey,
        after: u64,
        most: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.0.audit_unredacted(patient, after, most).await
    }

    /// Puts others in the place of records; their entries in the log stay and are proved no more. What destinations hold by
    /// what the records said is remembered in the same transaction.
    pub async fn redact_audit(&self, records: Vec<(u64, Vec<u8>)>, held: Vec<Remnant>) -> Result<(), Error> {
        self.0.redact_audit(records, held).await
    }

    /// What a destination is to be told now of erased persons.
    pub async fn remnants_due(&self, destination: &str, now_ms: i64, most: usize) -> Result<Vec<Untold>, Error> {
        self.0.remnants_due(destination, now_ms, most).await
    }

    /// What became of telling it.
    pub async fn settle_remnants(
        &self,
        destination: &str,
        settled: Vec<Settlement>,
        records: Vec<AuditRecord>,
    ) -> Result<(), Error> {
        self.0.settle_remnants(destination, settled, records).await
    }

    /// What destinations are still to be told of an erased person.
    pub async fn remnants_of(&self, patient: PatientKey) -> Result<Vec<Remaining>, Error> {
        self.0.remnants_of(patient).await
    }

    /// Destinations that could not be told something of erased persons.
    pub async fn remnants_given_up(&self, destination: Option<&str>) -> Result<Vec<Remaining>, Error> {
        self.0.remnants_given_up(destination).await
    }

    /// When time alone changes what the patient's consents permit; nothing if it never does.
    pub async fn set_turn(&self, patient: PatientKey, at_ms: Option<i64>) -> Result<(), Error> {
        self.0.set_turn(patient, at_ms).await
    }

    /// Patients of whom that moment has come.
    pub async fn turns_due(&self, now_ms: i64, most: usize) -> Result<Vec<PatientKey>, Error> {
        self.0.turns_due(now_ms, most).await
    }

    /// Puts one of the patient's consents into the feed once more, so that whoever follows it looks at what they say now.
    pub async fn take_turn(&self, patient: PatientKey, now_ms: i64) -> Result<(), Error> {
        self.0.take_turn(patient, now_ms).await
    }

    /// The last step: the receipt is kept, and nothing that was deleted is in any file of the store.
    pub async fn finish_erasure(&self, patient: PatientKey, receipt: Vec<u8>) -> Result<(), Error> {
        self.0.finish_erasure(patient, receipt).await
    }

    /// How many turns there were at a patient, for whoever writes what depends on what else there is; none where no other
    /// gateway writes.
    pub async fn turn(&self, patient: PatientKey) -> Result<Option<u64>, Error> {
        self.0.turn(patient).await
    }

    /// The patient's consents as they stood at a moment.
    pub async fn consents_then(&self, patient: PatientKey, then_ms: i64) -> Result<Vec<Stored>, Error> {
        self.0.consents_then(patient, then_ms).await
    }

    /// Sequence numbers and payloads of audit events.
    pub async fn audit(&self, plan: AuditPlan) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.0.audit(plan).await
    }

    /// For reads and refusals, which write nothing else. Durable when it returns.
    pub async fn record_audit(&self, records: Vec<AuditRecord>) -> Result<(), Error> {
        self.0.record_audit(records).await
    }

    /// Entries of the transparency log: one for each record of the audit, in the order of the commits.
    pub async fn log_size(&self) -> Result<u64, Error> {
        self.0.log_size().await
    }

    /// Root of the log's first `size` entries.
    pub async fn log_root(&self, size: u64) -> Result<Hash, Error> {
        self.0.log_root(size).await
    }

    /// The way from an entry to the root of the first `size` ones.
    pub async fn log_inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        self.0.log_inclusion(index, size).await
    }

    /// Hashes of a level of the log's tiles; none if there are not as many.
    pub async fn log_hashes(&self, level: u8, from: u64, count: u64) -> Result<Option<Vec<Hash>>, Error> {
        self.0.log_hashes(level, from, count).await
    }

    /// The log's entries; none if there are not as many.
    pub async fn log_entries(&self, from: u64, count: u64) -> Result<Option<Vec<Hash>>, Error> {
        self.0.log_entries(from, count).await
    }

    /// A record of the audit about a patient with its place in the log; nothing if it is withheld from that client.
    pub async fn logged(&self, patient: PatientKey, id: ResId, reader: &str) -> Result<Option<Logged>, Error> {
        self.0.logged(patient, id, reader).await
    }

    /// How many records of the audit the log was compared with, and the numbers of those that are not what was committed to.
    pub async fn log_changed(&self) -> Result<(u64, Vec<u64>), Error> {
        self.0.log_changed().await
    }

    /// The numbers of the log's entries whose record is gone without being forgotten in time.
    pub async fn log_missing(&self) -> Result<Vec<u64>, Error> {
        self.0.log_missing().await
    }

    /// The latest head of the log that was signed.
    pub async fn log_head(&self) -> Result<Option<Head>, Error> {
        self.0.log_head().await
    }

    /// Remembers what is about to be shown as signed. Durable when it returns.
    pub async fn keep_log_head(&self, head: Head) -> Result<(), Error> {
        self.0.keep_log_head(head).await
    }

    /// Before something is sent: the records that are true should this process not live to settle the task. The next
    /// one takes them into the trail, as does foretelling the task anew; settling forgets them. Durable when it returns.
    pub async fn foretell(&self, destination: &str, task: Task, records: Vec<AuditRecord>) -> Result<(), Error> {
        self.0.foretell(destination, task, records).await
    }

    /// A new destination begins at the feed's present end; a known one stays where it is.
    pub async fn ensure_destination(&self, name: &str) -> Result<(), Error> {
        self.0.ensure_destination(name).await
    }

    /// Takes note of what is sent to a destination; everything that ever was noted, in the caller's words.
    pub async fn remember_route(&self, destination: &str, rule: &str) -> Result<Vec<String>, Error> {
        self.0.remember_route(destination, rule).await
    }

    /// Up to `want` slots in which the destination lags and which nobody else holds. What the worker holds already is
    /// prolonged under the same epoch.
    pub async fn lease(
        &self,
        destination: &str,
        worker: &str,
        now_ms: i64,
        ttl_ms: i64,
        want: usize,
    ) -> Result<Vec<Lease>, Error> {
        self.0.lease(destination, worker, now_ms, ttl_ms, want).await
    }

    /// A worker ends, and others need not wait until its leases do. Where there are no others nothing is done.
    pub async fn give_back(&self, destination: &str, worker: &str) -> Result<(), Error> {
        self.0.give_back(destination, worker).await
    }

    /// What follows the cursor of the leased slot; nothing if the lease was lost.
    pub async fn feed(&self, lease: &Lease, max: usize) -> Result<Vec<FeedItem>, Error> {
        self.0.feed(lease, max).await
    }

    /// Moves the cursor, keeps what failed, records the audit: all or, if the lease was lost, nothing. The caller then
    /// records the audit of what it has sent by itself.
    pub async fn advance(
        &self,
        lease: &Lease,
        to: u64,
        failures: Vec<Failure>,
        audit: Vec<AuditRecord>,
    ) -> Result<Fenced, Error> {
        self.0.advance(lease, to, failures, audit).await
    }

    /// Retries whose time has come, of each patient only the oldest.
    pub async fn retries_due(&self, destination: &str, now_ms: i64, max: usize) -> Result<Vec<Retry>, Error> {
        self.0.retries_due(destination, now_ms, max).await
    }

    /// Everything of one patient that waits for another attempt, due or not.
    pub async fn retries_of(&self, destination: &str, patient: PatientKey) -> Result<Vec<Retry>, Error> {
        self.0.retries_of(destination, patient).await
    }

    pub async fn settle(
        &self,
        destination: &str,
        settled: Vec<Settlement>,
        audit: Vec<AuditRecord>,
    ) -> Result<(), Error> {
        self.0.settle(destination, settled, audit).await
    }

    /// When the earliest retry is due.
    pub async fn next_due(&self, destination: &str) -> Result<Option<i64>, Error> {
        self.0.next_due(destination).await
    }

    pub async fn dead_letters(&self, destination: Option<&str>) -> Result<Vec<DeadLetter>, Error> {
        self.0.dead_letters(destination).await
    }

    /// Turns dead letters into retries that are due at once, each with the version that is current by now; without ids,
    /// all. Returns how many: an id counts once.
    pub async fn redrive(&self, destination: &str, ids: Option<Vec<i64>>) -> Result<u64, Error> {
        self.0.redrive(destination, ids).await
    }

    pub async fn backlog(&self, destination: &str) -> Result<Backlog, Error> {
        self.0.backlog(destination).await
    }

    /// Changes after each commit of this process that wrote feed rows.
    pub fn feed_changed(&self) -> watch::Receiver<u64> {
        self.0.feed_changed()
    }

    pub async fn put_client(&self, id: &str, body: &str) -> Result<(), Error> {
        self.0.put_client(id, body).await
    }

    pub async fn get_client(&self, id: &str) -> Result<Option<String>, Error> {
        self.0.get_client(id).await
    }

    /// Ids and bodies.
    pub async fn clients(&self) -> Result<Vec<(String, String)>, Error> {
        self.0.clients().await
    }

    /// Whether there was one.
    pub async fn remove_client(&self, id: &str) -> Result<bool, Error> {
        self.0.remove_client(id).await
    }

    /// True if the token id is new. Durable when it returns, so a restart opens no window for a replay.
    pub async fn remember_jti(&self, issuer: &str, jti: &str, expires_ms: i64, now_ms: i64) -> Result<bool, Error> {
        self.0.remember_jti(issuer, jti, expires_ms, now_ms).await
    }

    /// What a client was told of records that were refused or doubtful, oldest first.
    pub async fn receipts(&self, plan: ReceiptPlan) -> Result<Vec<Filed>, Error> {
        self.0.receipts(plan).await
    }

    /// What any client was told of records about a patient, each with its place; those after a place.
    pub async fn receipts_about(
        &self,
        patient: PatientKey,
        after: ReceiptPlace,
        limit: usize,
    ) -> Result<Vec<(ReceiptPlace, Filed)>, Error> {
        self.0.receipts_about(patient, after, limit).await
    }

    /// How often what happened to a client's records, from a day up to another.
    pub async fn tallies(&self, client: &str, from: i64, to: i64) -> Result<Vec<Tally>, Error> {
        self.0.tallies(client, from, to).await
    }

    /// False where the client has as much lying here as it may.
    pub async fn create_upload(&self, upload: Upload, quota: Quota) -> Result<bool, Error> {
        self.0.create_upload(upload, quota).await
    }

    pub async fn upload(&self, id: UploadId) -> Result<Option<Upload>, Error> {
        self.0.upload(id).await
    }

    /// Uploads that wait for being worked off, the oldest first.
    pub async fn uploads_waiting(&self) -> Result<Vec<UploadId>, Error> {
        self.0.uploads_waiting().await
    }

    /// To go on writing where the row says that it ends. None where nobody can read any more what was written.
    pub async fn open_upload(&self, upload: &Upload) -> Result<Option<UploadFile>, Error> {
        self.0.open_upload(upload).await
    }

    /// Makes what was written count. Durable when it returns. False where the upload has been removed meanwhile.
    pub async fn acknowledge_upload(&self, file: &mut UploadFile) -> Result<bool, Error> {
        self.0.acknowledge_upload(file).await
    }

    /// What was received, from the beginning. None where the file is gone, or nobody can read it any more.
    pub async fn read_upload(&self, id: UploadId) -> Result<Option<UploadBytes>, Error> {
        self.0.read_upload(id).await
    }

    /// The work is over: what is known of it stays for a while, its bytes go.
    pub async fn end_upload(&self, id: UploadId, state: UploadState, failure: Option<String>) -> Result<(), Error> {
        self.0.end_upload(id, state, failure).await
    }

    /// Whether there was one.
    pub async fn remove_upload(&self, id: UploadId) -> Result<bool, Error> {
        self.0.remove_upload(id).await
    }

    /// Forgets uploads whose time is over; returns how many.
    pub async fn expire_uploads(&self, now_ms: i64) -> Result<usize, Error> {
        self.0.expire_uploads(now_ms).await
    }

    /// Raw inputs that follow a number, the oldest first.
    pub async fn raw_heads(&self, after: u64, most: usize) -> Result<Vec<RawHead>, Error> {
        self.0.raw_heads(after, most).await
    }

    /// The same of one patient.
    pub async fn raw_heads_of(&self, patient: PatientKey, after: u64, most: usize) -> Result<Vec<RawHead>, Error> {
        self.0.raw_heads_of(patient, after, most).await
    }

    /// None where it is forgotten, or its person's key was shredded.
    pub async fn raw(&self, number: u64) -> Result<Option<Raw>, Error> {
        self.0.raw(number).await
    }

    /// Forgets some of the raw inputs from before; returns how many.
    pub async fn expire_raw(&self, before_ms: i64) -> Result<usize, Error> {
        self.0.expire_raw(before_ms).await
    }

    /// Destroys a person's key: whatever was kept of that person can be read no more, here or in any copy that comes without
    /// an older copy of the key, and what waits to be sent of it leaves the queue. Whether there was one. Durable when it returns.
    pub async fn shred(&self, patient: PatientKey) -> Result<bool, Error> {
        self.0.shred(patient).await
    }

    /// A secret of this installation, made at its first use. Waits for the writer: for start-up, not for requests.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], Error> {
        self.0.secret(name)
    }

    pub fn health(&self) -> Health {
        self.0.health()
    }

    /// Writes what is queued, then closes.
    pub async fn close(self) {
        self.0.close().await;
    }
}
