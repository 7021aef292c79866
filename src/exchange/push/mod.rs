//! What clients send us: read, validate, ask the person's consent, and keep, in one durable transaction.
//!
//! Phases, one file each: `prepare` checks what needs no store, `judge` decides with what the store knows,
//! `commit` writes and starts again if a decision went stale meanwhile, `bundle` does the same for many entries at
//! once, `device` for records that are not FHIR yet, of which `desk` files what became of each, `provenance` says how they
//! came to be and `overlap` which count beside those of other sources; `gather` puts readings into stretches of samples,
//! which `close` ends; `raw` keeps what came, and `remap` reads that again. Who changes what hangs on a person's other data waits its `turn`. Success is answered only when the
//! data is on disk.

mod bundle;
pub mod close;
mod commit;
mod conditional;
mod delete;
mod desk;
mod device;
pub mod explain;
pub(in crate::exchange) mod gather;
mod judge;
mod leave;
mod overlap;
mod patch;
mod prepare;
mod provenance;
pub(in crate::exchange) mod raw;
mod reading;
pub mod remap;
mod revoke;
pub(in crate::exchange) mod turn;
mod withdrawal;

use std::sync::Arc;

use super::{Caller, Gateway, Refusal};
use crate::fhir::outcome::{Id, Issue};
use crate::fhir::tree::{Document, Element, NodeId};
use crate::fhir::validate::Validator;
use crate::store::{ResId, Stored};

pub use bundle::{Entry, Mode, ReadEntry, etag, mode};
pub use device::{Addressed, Answered, Repeats};
pub use patch::Patch;
pub use prepare::Trial;
pub(in crate::exchange) use prepare::identified;

/// A condition under which a create is none: that there is something with the identifier already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    pub system: String,
    pub value: String,
}

impl Condition {
    /// Of a search for `identifier=system|value` and nothing else.
    pub fn of(pairs: &[(String, String)]) -> Option<Condition> {
        let [(name, value)] = pairs else { return None };
        let (system, value) = value.split_once('|').filter(|_| name == "identifier")?;
        let is_one = !system.is_empty() && !value.is_empty() && !value.contains(['|', ',', '\\']);
        is_one.then(|| Condition { system: system.to_owned(), value: value.to_owned() })
    }
}

/// `If-None-Exist` or `ifNoneExist`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unlike {
    /// `identifier=system|value`, which holds whoever sends the same at the same time.
    Named(Condition),
    /// Any other search.
    Found(Vec<(String, String)>),
}

impl Unlike {
    pub fn parse(text: &str) -> Result<Unlike, Issue> {
        let text = text.trim().trim_start_matches('?').replace('+', "%2B");
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        if pairs.is_empty() {
            return Err(Issue::new(Id::ConditionUnsupported, "", "The condition is empty."));
        }
        Ok(Condition::of(&pairs).map_or(Unlike::Found(pairs), Unlike::Named))
    }
}

/// What is to be done with one resource.
#[derive(Clone, Debug)]
pub enum Intent {
    Create {
        condition: Option<Condition>,
    },
    Update {
        id: String,
        when: When,
    },
    /// The same push, read again by a newer mapping.
    Correct(Corrected),
}

impl Intent {
    /// Whether it ends a resource.
    fn deletes(&self) -> bool {
        matches!(self, Intent::Update { when: When { deletes: true, .. }, .. })
    }
}

/// What stands of a push that is read again. Whoever says so has seen that nobody else changed it.
#[derive(Clone, Debug)]
pub struct Corrected {
    pub id: ResId,
    /// The logical id, where a client chose it.
    pub name: Option<String>,
    pub version: u32,
    /// Place in the store.
    pub seq: u64,
    /// Of what was mapped, before its status said that it corrects something: sent again it is the same.
    pub content: [u8; 16],
}

/// Under which circumstances an update is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct When {
    /// `If-Match`: only this version is changed.
    pub version: Option<u32>,
    /// `If-None-Match`: nothing is changed that stands, or that stands in this version.
    pub unless: Option<Unless>,
    /// It takes back what was given, so that whoever may give may do it.
    pub withdraws: bool,
    /// It is the resource's end: what is sent is what is told of it from now on.
    pub deletes: bool,
    /// A search named the resource, so that what is sent need not.
    pub found: bool,
}

/// What must not stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unless {
    Anything,
    Version(u32),
}

impl When {
    /// Reads `If-Match` and `If-None-Match`, as headers or in a Bundle's request; the error names the bad one.
    pub fn read(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<When, &'static str> {
        let version = if_match.map(|tag| etag(tag).ok_or("If-Match")).transpose()?;
        let unless = match if_none_match.map(str::trim) {
            None => None,
            Some("*") => Some(Unless::Anything),
            Some(tag) => Some(Unless::Version(etag(tag).ok_or("If-None-Match")?)),
        };
        Ok(When { version, unless, ..When::default() })
    }
}

/// How the request is to be remembered, so that sending it again has no second effect.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    /// BLAKE3 of the request's body and address.
    pub hash: [u8; 32],
}

/// What became of one resource.
#[derive(Clone, Debug)]
pub enum Outcome {
    Kept(Kept),
    Refused(Refusal),
}

impl Gateway {
    /// What entries and records were refused for; of requests that are refused as a whole, whoever answers them counts it.
    fn count_refused(&self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            if let Outcome::Refused(refusal) = outcome {
                self.counted.refusal(refusal.codes());
            }
        }
    }
}

/// A resource that is on disk.
#[derive(Clone, Debug)]
pub struct Kept {
    pub kind: Arc<str>,
    pub id: String,
    pub version: u32,
    pub updated_ms: i64,
    /// False when it was there before: a duplicate, or an update that changed nothing.
    pub fresh: bool,
    /// True when the request made the resource, false when it changed or found one.
    pub created: bool,
    /// Whether it was deleted, by this request or before.
    pub deleted: bool,
    pub payload: Vec<u8>,
    pub warnings: Vec<Issue>,
}

impl Kept {
    /// What stands, and was not touched.
    fn standing(stored: Stored, warnings: Vec<Issue>) -> Kept {
        Kept {
            kind: stored.kind.clone(),
            id: stored.logical_id(),
            version: stored.version,
            updated_ms: stored.updated_ms,
            fresh: false,
            created: false,
            deleted: stored.deleted,
            payload: stored.payload,
            warnings,
        }
    }

    pub fn status(&self) -> u16 {
        match (self.deleted, self.created) {
            (true, _) => 204,
            (_, true) => 201,
            _ => 200,
        }
    }
}

impl Gateway {
    /// `POST [base]/[type]` (FHIR R4 §3.1.0.8).
    pub async fn create(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        document: Document,
        unlike: Option<Unlike>,
        idempotency: Option<Idempotency>,
    ) -> Result<Kept, Refusal> {
        let condition = match unlike {
            Some(Unlike::Found(pairs)) => match self.standing_like(caller, kind, &pairs).await {
                Ok(Some(kept)) => return Ok(kept),
                Ok(None) => None,
                Err(refusal) => return Err(self.refused(caller, refusal).await),
            },
            Some(Unlike::Named(condition)) => Some(condition),
            None => None,
        };
        self.push_one(caller, kind, document, Intent::Create { condition }, idempotency).await
    }

    /// `PUT [base]/[type]/[id]` (FHIR R4 §3.1.0.4): creates under the client's id where there is nothing yet.
    pub async fn update(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        id: &str,
        document: Document,
        when: When,
    ) -> Result<Kept, Refusal> {
        self.push_one(caller, kind, document, Intent::Update { id: id.to_owned(), when }, None).await
    }

    async fn push_one(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        document: Document,
        intent: Intent,
        idempotency: Option<Idempotency>,
    ) -> Result<Kept, Refusal> {
        match self.checked_for(caller, kind, &Arc::new(document), intent).await {
            Ok(prepared) => self.keep_one(caller, prepared, idempotency).await,
            Err(refusal) => Err(self.refused(caller, refusal).await),
        }
    }

    /// What can be said of a resource before it is decided upon.
    async fn checked_for(
        &self,
        caller: &Caller<'_>,
        kind: &str,
        document: &Arc<Document>,
        intent: Intent,
    ) -> Result<prepare::Prepared, Refusal> {
        let rules = self.rules(caller.principal, [Element::root(document)], &[]).await?;
        let validator = rules.of(Some(Element::root(document)), &[]);
        let examined = prepare::one(self, validator, caller, kind, document, intent)?;
        let told = self.told(examined.checked.questions()).await;
        prepare::conclude(self, caller, examined, &told, Arc::default())
    }

    async fn keep_one(
        &self,
        caller: &Caller<'_>,
        prepared: prepare::Prepared,
        idempotency: Option<Idempotency>,
    ) -> Result<Kept, Refusal> {
        let terms = commit::Terms { idempotency, ..commit::Terms::of(commit::Atomicity::Whole) };
        let mut outcomes = self.commit(caller, vec![Ok(prepared)], terms).await?;
        match outcomes.pop() {
            Some(Outcome::Kept(kept)) => Ok(kept),
            Some(Outcome::Refused(refusal)) => Err(refusal.recorded()),
            None => Err(Refusal::one(Id::Internal, "", "The request had no outcome.")),
        }
    }

    /// `POST [base]/[type]/$validate`: the same report that a push would meet, and nothing stored.
    pub async fn check(
        &self,
        validator: &Validator,
        kind: &str,
        document: &Document,
        node: NodeId,
        trial: &Trial<'_>,
    ) -> Vec<Issue> {
        prepare::check(self, validator, kind, document, node, trial).await
    }
}
