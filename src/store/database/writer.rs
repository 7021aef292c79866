//! The single writer thread and its group commit.
//!
//! One thread owns the one connection that writes. It takes the first waiting job and whatever else waits by then,
//! applies all of it in one transaction, commits once, which is one fsync shared by all, and only then answers. There
//! is no artificial wait: while one commit syncs, the next group gathers.
//!
//! A job returns `Err` only for broken machinery, and then the whole group is rolled back: refusals are values. A
//! full disk fails the group and later ones are tried again. A failed write or sync poisons the writer for good, since
//! after a failed fsync nobody knows what the disk holds and a second fsync may lie. It must not know what a job does.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot, watch};

use super::keys::{Keys, Sealer};
use super::log_copy::LogCopy;
use super::transaction::Turn;
use crate::store::fault::{Error, Health, OpenError};
use crate::store::id::PatientKey;
use crate::store::sql::{self, Connection, Fault, Optional, params};
use crate::store::unit::OTHER_LABELS;
use crate::telemetry::counted::Commits;
use crate::tlog::Edge;

/// Jobs that may wait; beyond it callers are told `Busy` at once.
const QUEUE: usize = 4096;
/// Writes in one transaction, so that the first waiter is not kept for ever.
const GROUP: usize = 4096;
/// Codes come from outside, so the cache of their ids has an end.
const CACHED_CODES: usize = 65_536;
/// For how long after there was no room only what needs some shows that there is again.
const FULL_FOR: Duration = Duration::from_mins(2);
/// What takes longer does not go on.
const STALLED: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(10) };
/// Most sets of labels that lie apart in a store: each is a part of every person's index.
const LABEL_SETS: usize = 32;

/// Whether this group changed what some person has said.
#[derive(Default)]
pub(super) struct Spoken(pub(super) Cell<bool>);

/// The write connection inside a transaction, and what the thread remembers of committed rows.
pub(super) struct Ledger {
    pub(super) connection: Connection,
    kinds: HashMap<Arc<str>, i64>,
    codes: HashMap<i64, HashMap<(String, String), i64>>,
    cached_codes: usize,
    label_sets: HashSet<u16>,
    /// The end of the transparency log, where it is known.
    pub(super) edge: Option<Edge>,
    /// Whether this group moved it, so that nobody else can have.
    pub(super) edge_is_ours: bool,
    /// Whether this group wrote feed rows.
    pub(super) fed: bool,
    pub(super) spoken: Spoken,
    pub(super) keys: Arc<Keys>,
    /// The keys that this group has used.
    pub(super) sealers: HashMap<PatientKey, Sealer>,
    turn: Turn,
}

impl Ledger {
    pub(super) fn new(connection: Connection, keys: Arc<Keys>, turn: Turn) -> Self {
        Self {
            connection,
            kinds: HashMap::new(),
            codes: HashMap::new(),
            cached_codes: 0,
            label_sets: HashSet::new(),
            edge: None,
            edge_is_ours: false,
            fed: false,
            spoken: Spoken::default(),
            keys,
            sealers: HashMap::new(),
            turn,
        }
    }

    pub(super) fn begin(&mut self) -> sql::Result<()> {
        self.fed = false;
        self.spoken.0.set(false);
        self.edge_is_ours = false;
        self.sealers.clear();
        self.turn.begin(&self.connection)
    }

    pub(super) fn commit(&mut self) -> sql::Result<()> {
        self.turn.commit(&self.connection)
    }

    /// Whether that was possible.
    pub(super) fn roll_back(&mut self) -> bool {
        self.forget();
        Turn::roll_back(&self.connection)
    }

    /// The number of a resource type, given out at first use.
    pub(super) fn kind(&mut self, name: &Arc<str>) -> sql::Result<i64> {
        if let Some(id) = self.kinds.get(name) {
            return Ok(*id);
        }
        self.connection
            .prepare_cached("INSERT INTO kind (name) VALUES (?1) ON CONFLICT DO NOTHING")?
            .post([name.as_ref()])?;
        let id = self
            .connection
            .prepare_cached("SELECT id FROM kind WHERE name = ?1")?
            .query_row([name.as_ref()], |row| row.get(0))?;
        self.kinds.insert(name.clone(), id);
        Ok(id)
    }

    /// The number of a code as used by one kind, given out at first use.
    pub(super) fn code(&mut self, kind: i64, coding: &(String, String)) -> sql::Result<i64> {
        if let Some(id) = self.codes.get(&kind).and_then(|codes| codes.get(coding)) {
            return Ok(*id);
        }
        let (system, code) = coding;
        let found = self
            .connection
            .prepare_cached("SELECT id FROM code WHERE kind = ?1 AND code = ?2 AND system = ?3")?
            .query_row(params![kind, code, system], |row| row.get(0))
            .optional()?;
        let id = if let Some(id) = found {
            id
        } else {
            let sql = "INSERT INTO code (kind, code, system) VALUES (?1, ?2, ?3)";
            self.connection.insert(sql, "id", params![kind, code, system])?.ok_or(Fault::NoRow)?
        };
        if self.cached_codes >= CACHED_CODES {
            self.forget_numbers();
        }
        self.cached_codes += 1;
        self.codes.entry(kind).or_default().insert(coding.clone(), id);
        Ok(id)
    }

    /// By which number labels are filed: by their own, as long as there are few in the store.
    pub(super) fn labels(&mut self, labels: u16) -> sql::Result<u16> {
        if labels == 0 || labels == OTHER_LABELS || self.label_sets.contains(&labels) {
            return Ok(labels);
        }
        self.label_sets = self
            .connection
            .prepare_cached("SELECT number FROM label_set WHERE number > 0")?
            .query_map((), |row| row.get(0))?
            .collect::<sql::Result<_>>()?;
        if self.label_sets.len() >= LABEL_SETS && !self.label_sets.contains(&labels) {
            return Ok(OTHER_LABELS);
        }
        self.label_sets.insert(labels);
        Ok(labels)
    }

    /// What a transaction that was rolled back left in memory means nothing.
    fn forget(&mut self) {
        self.forget_numbers();
        self.edge = None;
    }

    fn forget_numbers(&mut self) {
        self.label_sets.clear();
        self.kinds.clear();
        self.codes.clear();
        self.cached_codes = 0;
    }
}

/// What a job leaves behind until the commit: its own failure, and the way to its waiter.
struct Applied {
    failure: Option<Error>,
    /// Called with `None` when the group was committed.
    answer: Box<dyn FnOnce(Option<Error>) + Send>,
}

type Run = dyn FnOnce(Result<&mut Ledger, Error>) -> Applied + Send;

/// One thing to do in the writer's transaction.
struct Job {
    weight: usize,
    /// Given a fault instead of the ledger, it only answers.
    run: Box<Run>,
}

impl Job {
    fn new<T: Send + 'static>(
        weight: usize,
        work: impl FnOnce(&mut Ledger) -> Result<T, Error> + Send + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) -> Self {
        let run = move |ledger: Result<&mut Ledger, Error>| match ledger.and_then(work) {
            Ok(value) => {
                let answer = move |fault: Option<Error>| reply(fault.map_or(Ok(value), Err));
                Applied { failure: None, answer: Box::new(answer) }
            }
            Err(error) => {
                let failure = Some(error.clone());
                let answer = move |fault: Option<Error>| reply(Err(fault.unwrap_or(error)));
                Applied { failure, answer: Box::new(answer) }
            }
        };
        Self { weight, run: Box::new(run) }
    }
}

/// The handle to the thread. Dropping it drains the queue and waits for the thread.
pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    health: Arc<AtomicU8>,
    fed: watch::Sender<u64>,
    spoken: Arc<AtomicU64>,
    commits: Commits,
    under_way: Arc<Mutex<Option<Instant>>>,
}

impl Writer {
    pub(super) fn start(ledger: Ledger, log: Option<LogCopy>) -> Result<Self, OpenError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (fed, _) = watch::channel(0);
        let spoken = Arc::<AtomicU64>::default();
        let health = Arc::new(AtomicU8::new(Health::Ok as u8));
        let commits = Commits::default();
        let under_way = Arc::new(Mutex::new(None));
        let clerk = Clerk {
            ledger,
            log,
            health: health.clone(),
            fed: fed.clone(),
            spoken: spoken.clone(),
            commits: commits.clone(),
            full_since: None,
            under_way: under_way.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || clerk.serve(queue))
            .map_err(OpenError::Thread)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), health, fed, spoken, commits, under_way })
    }

    /// Queues the work at once; the future is for its outcome.
    pub(super) fn call<T: Send + 'static>(
        &self,
        weight: usize,
        work: impl FnOnce(&mut Ledger) -> Result<T, Error> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        // A waiter that went away does not undo what was written.
        let queued = self.send(Job::new(weight, work, move |outcome| drop(reply.send(outcome))));
        async move {
            queued?;
            answer.await.unwrap_or(Err(Error::Closed))
        }
    }

    /// As `call`, for callers outside of async code.
    pub(super) fn call_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.send(Job::new(1, work, move |outcome| drop(reply.send(outcome))))?;
        answer.recv().unwrap_or(Err(Error::Closed))
    }

    pub(super) fn fed(&self) -> watch::Receiver<u64> {
        self.fed.subscribe()
    }

    /// How many groups changed what some person has said.
    pub(super) fn spoken(&self) -> u64 {
        self.spoken.load(Ordering::Acquire)
    }

    pub(super) fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Whoever finds out something of the database's health writes it down here.
    pub(super) fn record(&self) -> Arc<AtomicU8> {
        self.health.clone()
    }

    pub(super) fn health(&self) -> Health {
        let since = *self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match self.health.load(Ordering::Acquire) {
            code if code == Health::Ok as u8 && since.is_some_and(|since| since.elapsed() > STALLED) => Health::Stalled,
            code if code == Health::Ok as u8 => Health::Ok,
            code if code == Health::Full as u8 => Health::Full,
            code if code == Health::Unreachable as u8 => Health::Unreachable,
            code if code == Health::Moved as u8 => Health::Moved,
            _ => Health::Poisoned,
        }
    }

    fn send(&self, job: Job) -> Result<(), Error> {
        match self.health() {
            Health::Poisoned => return Err(Error::Poisoned),
            Health::Moved => return Err(Error::Moved),
            _ => {}
        }
        let jobs = self.jobs.as_ref().ok_or(Error::Closed)?;
        jobs.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })
    }
}

/// Replaces one state of health by another.
pub(super) fn note(record: &AtomicU8, from: Health, to: Health) {
    // In another state something worse is known already.
    let _ = record.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // The thread's panic was reported by the panic hook; there is nothing left to save here.
            drop(thread.join());
        }
    }
}

/// What runs in the thread.
struct Clerk {
    ledger: Ledger,
    log: Option<LogCopy>,
    health: Arc<AtomicU8>,
    fed: watch::Sender<u64>,
    spoken: Arc<AtomicU64>,
    commits: Commits,
    /// When there was no room last.
    full_since: Option<Instant>,
    /// What is under way since when.
    under_way: Arc<Mutex<Option<Instant>>>,
}

impl Clerk {
    fn serve(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut weight = first.weight;
            let mut group = vec![first];
            while weight < GROUP {
                let Ok(job) = queue.try_recv() else { break };
                weight += job.weight;
                group.push(job);
            }
            *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            self.apply(group);
            self.copy_log();
            *self.under_way.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.log = None;
        let Some(lite) = self.ledger.connection.lite() else { return };
        if self.health.load(Ordering::Acquire) == Health::Poisoned as u8 {
            // The closing checkpoint would sync again and believe the answer.
            drop(lite.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true));
        } else {
            // Only saves the next start some work: everything committed is in the log.
            drop(lite.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        }
    }

    /// Nobody waits for it but who comes next.
    fn copy_log(&mut self) {
        let (Some(log), Some(lite)) = (&mut self.log, self.ledger.connection.lite()) else { return };
        if self.health.load(Ordering::Acquire) == Health::Poisoned as u8 {
            return;
        }
        if let Err(fault) = log.mind(lite) {
            self.judge(fault.into());
        }
    }

    fn apply(&mut self, group: Vec<Job>) {
        let begun = match self.health.load(Ordering::Acquire) {
            code if code == Health::Poisoned as u8 => Err(Error::Poisoned),
            code if code == Health::Moved as u8 => Err(Error::Moved),
            _ => self.ledger.begin().map_err(|fault| self.judge(fault.into())),
        };
        if let Err(fault) = begun {
            return group.into_iter().for_each(|job| refuse(job, &fault));
        }
        let mut applied = Vec::with_capacity(group.len());
        let mut group = group.into_iter();
        for job in group.by_ref() {
            let outcome = (job.run)(Ok(&mut self.ledger));
            let failure = outcome.failure.clone();
            applied.push(outcome);
            if let Some(error) = failure {
                let fault = self.roll_back(error);
                return Self::fail(applied, group, fault);
            }
        }
        let began = Instant::now();
        let committed = self.ledger.commit();
        // Before anybody is told of it; and where it failed, nobody is worse off who asks once more.
        if self.ledger.spoken.0.get() {
            self.spoken.fetch_add(1, Ordering::Release);
        }
        match committed {
            Ok(()) => {
                self.commits.done(applied.len(), began.elapsed());
                self.answer(applied);
            }
            Err(fault) => {
                let fault = self.roll_back(fault.into());
                for Applied { answer, .. } in applied {
                    answer(Some(fault.clone()));
                }
            }
        }
    }

    fn answer(&mut self, applied: Vec<Applied>) {
        // Something small finds a place on a full disk as well, and says nothing of what comes next.
        let has_room = self.ledger.fed || self.full_since.is_none_or(|since| since.elapsed() > FULL_FOR);
        if has_room {
            self.full_since = None;
            self.health.store(Health::Ok as u8, Ordering::Release);
        }
        for Applied { answer, .. } in applied {
            answer(None);
        }
        if self.ledger.fed {
            self.fed.send_modify(|count| *count += 1);
        }
    }

    /// The last of `applied` is the job that failed. Unless the disk is to blame, its neighbours may simply try again.
    fn fail(mut applied: Vec<Applied>, rest: impl Iterator<Item = Job>, fault: Error) {
        let disk = matches!(fault, Error::Full | Error::Poisoned | Error::Lost | Error::Moved);
        let culprit = applied.pop();
        let neighbours = if disk { fault.clone() } else { Error::Busy };
        for Applied { answer, .. } in applied {
            answer(Some(neighbours.clone()));
        }
        if let Some(Applied { answer, .. }) = culprit {
            answer(Some(fault));
        }
        rest.for_each(|job| refuse(job, &neighbours));
    }

    fn roll_back(&mut self, error: Error) -> Error {
        if !self.ledger.roll_back() {
            self.health.store(Health::Poisoned as u8, Ordering::Release);
            tracing::error!(?error, "store: a transaction could not be rolled back; no more writes");
            return Error::Poisoned;
        }
        self.judge(error)
    }

    /// What the callers are told, and what the fault means for later jobs.
    fn judge(&mut self, error: Error) -> Error {
        if matches!(error, Error::Full) {
            self.full_since = Some(Instant::now());
        }
        let health = match &error {
            Error::Full => Health::Full,
            Error::Lost | Error::Unknown => Health::Unreachable,
            Error::Moved => Health::Moved,
            error if error.is_fatal() => Health::Poisoned,
            _ => return error,
        };
        self.commits.failures.inc();
        self.health.store(health as u8, Ordering::Release);
        match health {
            Health::Full => {
                tracing::warn!("store: no room on the disk");
                return error;
            }
            Health::Unreachable => {
                tracing::warn!(?error, "store: the database is not to be reached");
                return error;
            }
            Health::Moved => {
                tracing::error!("store: it was moved, or set back to an earlier moment; nothing more until a restart");
                return error;
            }
            _ => {}
        }
        tracing::error!(?error, "store: the disk failed; no more writes until a restart");
        Error::Poisoned
    }
}

fn refuse(job: Job, fault: &Error) {
    ((job.run)(Err(fault.clone())).answer)(None);
}
