//! What happens to a message: push, pull and deliver are siblings that do not know each other.
//!
//! Each is the same shape: ask the store for what a decision needs, let the pure floors decide, write the outcome
//! in one durable transaction. Known here are neither hyper's types nor SQL nor any platform's wire format.

pub mod refusal;

pub mod kinds;

mod facts;

mod consents;

mod terms;

mod trail;

pub mod strangers;

pub mod push;

pub mod pull;

pub mod login;

pub mod deliver;

use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::fhir::definitions::Registry;
use crate::fhir::validate::{Reaction, Unanswered, Validator};
use crate::peers::terminology::Terminology;
use crate::policy::access::Principal;
use crate::policy::audit::Strangers;
use crate::store::{self, Health, PatientKey, ResId, Store};

pub use consents::Book;
pub use facts::CATEGORY_SYSTEM;
pub use refusal::Refusal;

/// Milliseconds since 1970. The composition root passes the machine's clock, a test its own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Fills a buffer with entropy; an argument for the same reason as the clock.
pub type Entropy = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What the exchange may be told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Entries of a search page when the client names no `_count`.
    pub page_entries: usize,
    /// Most entries of a search page.
    pub page_entries_max: usize,
    /// Stored resources that one search may look at before it is refused as too costly.
    pub search_budget: usize,
    /// What becomes of a code that must be of a value set when nobody could tell: `refuse`, `warn` or `pass`.
    pub unanswered_required: Reaction,
    /// The same where it should be.
    pub unanswered_extensible: Reaction,
    /// Entries of one Bundle; set from the server's limits, which have the key.
    #[serde(skip)]
    pub bundle_entries: usize,
}

impl Default for Config {
    fn default() -> Self {
        let Unanswered { required, extensible } = Unanswered::default();
        Config {
            page_entries: 50,
            page_entries_max: 1000,
            search_budget: 50_000,
            unanswered_required: required,
            unanswered_extensible: extensible,
            bundle_entries: 1000,
        }
    }
}

/// Everything that an exchange needs, put together once at the composition root.
pub struct Gateway {
    pub config: Config,
    pub store: Store,
    pub registry: Arc<Registry>,
    pub validator: Validator,
    /// Answers what the definitions leave open, where the operator names one.
    pub terminology: Option<Terminology>,
    pub book: Book,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Address of the FHIR service, without a slash at the end.
    pub base: String,
    register: login::Register,
    strangers: Mutex<Strangers>,
    patient_secret: [u8; 32],
    page_secret: [u8; 32],
    token_secret: [u8; 32],
}

impl Gateway {
    pub fn new(
        config: Config,
        store: Store,
        registry: Arc<Registry>,
        base: String,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, store::Error> {
        let patient_secret = store.secret("patient-key")?;
        let page_secret = store.secret("page-token")?;
        let token_secret = store.secret("access-token")?;
        let strangers = Mutex::new(Strangers::new(clock()));
        Ok(Gateway {
            config,
            strangers,
            validator: Validator::new(registry.clone()),
            registry,
            terminology: None,
            book: Book::default(),
            store,
            clock,
            entropy,
            base,
            register: login::Register::default(),
            patient_secret,
            page_secret,
            token_secret,
        })
    }

    fn unanswered(&self) -> Unanswered {
        Unanswered { required: self.config.unanswered_required, extensible: self.config.unanswered_extensible }
    }

    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Why requests would not be served now, if so: above all, the store must take data.
    pub fn unready(&self) -> Option<&'static str> {
        match self.store.health() {
            Health::Ok => None,
            Health::Full => Some("the storage is full"),
            Health::Poisoned => Some("the storage failed; restart after repair"),
        }
    }

    /// The partition of a patient, by the id that references name.
    pub fn patient_key(&self, id: &str) -> PatientKey {
        PatientKey::derive(&self.patient_secret, id)
    }

    fn random_id(&self, patient: Option<PatientKey>, day: u16) -> ResId {
        let mut entropy = [0; 16];
        (self.entropy)(&mut entropy);
        ResId::random(patient, day, entropy)
    }

    /// `Patient/x` out of a relative reference or an absolute one to this very service.
    fn local_reference<'r>(&self, reference: &'r str, kind: &str) -> Option<&'r str> {
        let relative =
            reference.strip_prefix(self.base.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(reference);
        let id = relative.strip_prefix(kind)?.strip_prefix('/')?;
        let id = id.split_once("/_history/").map_or(id, |(id, _)| id);
        is_id(id).then_some(id)
    }
}

/// Whether a text is a FHIR id (R4 §2.24.0.1).
pub fn is_id(text: &str) -> bool {
    // The two names of directories are ids by their letters, but no address could be made of them.
    (1..=64).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Who asks, and in which words the audit will tell of it.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub principal: &'a Principal,
    pub request_id: &'a str,
    /// v3-ActReason code.
    pub purpose: &'a str,
}
