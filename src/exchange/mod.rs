//! What happens to a message: push, pull and deliver are siblings that do not know each other.
//!
//! Each is the same shape: ask the store for what a decision needs, let the pure floors decide, write the outcome
//! in one durable transaction. Known here are neither hyper's types nor SQL nor any platform's wire format.

pub mod refusal;

pub mod kinds;

pub mod said;

pub mod gist;

pub mod labels;

pub mod facts;

mod rules;

mod consents;

mod terms;

mod sending;

mod pairwise;

mod holdings;

pub mod shape;

pub mod room;

pub mod links;
mod lookups;

mod figures;
pub mod origin;
pub mod recipients;
pub mod rehearse;

pub mod simulate;

mod evaluate;

pub mod attest;
mod trail;

pub mod receipts;

pub mod strangers;

pub mod transparency;

pub mod push;

pub mod uploads;

pub mod bulk;

pub mod pull;

pub mod rights;

pub mod login;

pub mod person;

pub mod deliver;

pub mod replay;

pub mod subscribe;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use recipients::Recipients;

use crate::devices::Formats;
use crate::devices::series::Kept;
use crate::fhir::definitions::Registry;
use crate::fhir::validate::{Reaction, Unanswered, Validator};
use crate::guide::Shelf;
use crate::peers::terminology::Terminology;
use crate::policy::access::Principal;
use crate::policy::access::seal::Seal;
use crate::policy::audit::Strangers;
use crate::policy::consent::{Coupled, Implied, Proxies};
use crate::store::{self, Health, PatientKey, ResId, Store};
use crate::telemetry::counted::Counted;
use crate::tlog::Signer;

pub use consents::Book;
pub use facts::CATEGORY_SYSTEM;
pub use refusal::Refusal;
pub use rights::retention::Retention;
pub use rules::Rules;

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
    /// Which ids a client may give to what it creates by PUT.
    pub chosen_ids: ChosenIds,
    /// What becomes of a code that must be of a value set when nobody could tell: `refuse`, `warn` or `pass`.
    pub unanswered_required: Reaction,
    /// The same where it should be.
    pub unanswered_extensible: Reaction,
    /// Days for which it is kept what a client was told of records that were refused or doubtful.
    pub receipt_days: u32,
    /// Largest upload, and most bytes of uploads that one client may have lying here.
    pub upload_bytes: u64,
    /// Most uploads that one client may have lying here.
    pub upload_files: u32,
    /// Hours after which an upload is forgotten, finished or not.
    pub upload_hours: u32,
    /// Hours after which an export is forgotten, counted from the end of the work on it.
    pub export_hours: u32,
    /// Most exports that one client may have under way.
    pub export_jobs: u32,
    /// Lines of one file of an export, about.
    pub export_file_lines: u64,
    /// Persons of whom a de-identified export must be able to tell the same, or it tells it of none of them.
    pub deidentified_least: u64,
    /// Days for which device records are kept as they came, sealed, so that a mended mapping can read them again; 0 keeps
    /// none.
    pub raw_days: u32,
    /// Entries of one Bundle; set from the server's limits, which have the key.
    #[serde(skip)]
    pub bundle_entries: usize,
}

/// Which ids a client may give to what it creates by PUT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChosenIds {
    /// Those that no other client could have given, so that nobody learns by trying which ids another client's
    /// resources have: random UUIDs, and the client's own id with a dot and a name.
    Own,
    /// Any. For clients that trust each other: whoever asks for an id that is taken learns so.
    Any,
}

impl ChosenIds {
    /// Whether a client may give that id to something new.
    pub fn allow(self, client: &str, id: &str) -> bool {
        match self {
            ChosenIds::Any => true,
            // Divided at the last dot, an id lies in the name space of one client alone.
            ChosenIds::Own => is_random_uuid(id) || id.rsplit_once('.').is_some_and(|(owner, _)| owner == client),
        }
    }
}

/// A UUID of version 4 or 7 (RFC 9562), in lower case. Ours are of version 8.
fn is_random_uuid(id: &str) -> bool {
    let bytes = id.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => matches!(byte, b'4' | b'7'),
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

impl Default for Config {
    fn default() -> Self {
        let Unanswered { required, extensible } = Unanswered::default();
        Config {
            page_entries: 50,
            page_entries_max: 1000,
            search_budget: 50_000,
            chosen_ids: ChosenIds::Own,
            unanswered_required: required,
            unanswered_extensible: extensible,
            receipt_days: 90,
            upload_bytes: 4 << 30,
            upload_files: 8,
            upload_hours: 72,
            export_hours: 24,
            export_jobs: 4,
            export_file_lines: 100_000,
            deidentified_least: 10,
            raw_days: 14,
            bundle_entries: 1000,
        }
    }
}

/// Everything that an exchange needs, put together once at the composition root.
pub struct Gateway {
    pub config: Config,
    pub store: Store,
    pub registry: Arc<Registry>,
    pub validator: Arc<Validator>,
    /// The rules of earlier versions of the guide, for whoever is registered for one or names one.
    pub shelf: Arc<Shelf>,
    /// Answers what the definitions leave open, where the operator names one.
    pub terminology: Option<Terminology>,
    /// What devices' records are read by.
    pub formats: Formats,
    /// Measures whose readings are kept as stretches of samples, and how long a stretch stays open after its span and its
    /// last reading.
    pub kept: Kept,
    pub grace_ms: i64,
    /// Who receives what is taken in.
    pub recipients: Recipients,
    /// What holds where a person has said nothing; nothing, unless the operator says so.
    pub implied: Implied,
    /// Who may give a consent.
    pub proxies: Proxies,
    /// Which of a person's switches go together.
    pub coupled: Coupled,
    /// What receipts for consents are signed with.
    seal: Option<Seal>,
    /// How long what is held is held.
    pub retention: Retention,
    pub book: Book,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Address of the FHIR service, without a slash at the end.
    pub base: String,
    /// Where this gateway's own guide is, without a slash at the end.
    pub pages: String,
    register: login::Register,
    uploads: uploads::Uploads,
    exports: bulk::Exports,
    turns: push::turn::Turns,
    /// Who is told what happens.
    pub subscriptions: subscribe::Subscriptions,
    /// Tells that a stretch of samples has grown.
    grown: tokio::sync::Notify,
    /// How much waits for each destination.
    pub rooms: room::Rooms,
    /// What destinations answered about persons.
    lookups: lookups::Lookups,
    /// What operators watch.
    pub counted: Counted,
    strangers: Mutex<Strangers>,
    patient_secret: [u8; 32],
    page_secret: [u8; 32],
    receipt_secret: [u8; 32],
    token_secret: [u8; 32],
    pseudonym_secret: [u8; 32],
    log_signer: Signer,
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
        let receipt_secret = store.secret("receipt")?;
        let token_secret = store.secret("access-token")?;
        let pseudonym_secret = store.secret("pseudonym")?;
        let log_signer = log_signer(&base, &store.secret("audit-log")?);
        let seal = Seal::new(&store.secret("consent-receipt")?);
        let strangers = Mutex::new(Strangers::new(clock()));
        Ok(Gateway {
            config,
            rooms: room::Rooms::default(),
            lookups: lookups::Lookups::default(),
            strangers,
            counted: Counted::new(env!("CARGO_PKG_VERSION"), store.commits()),
            validator: Arc::new(Validator::new(registry.clone())),
            shelf: Arc::new(Shelf::new(Vec::new())),
            registry,
            terminology: None,
            formats: Formats::default(),
            kept: Kept::default(),
            grace_ms: 0,
            recipients: Recipients::default(),
            implied: Implied::default(),
            proxies: Proxies::default(),
            coupled: Coupled::default(),
            seal,
            retention: Retention::default(),
            book: Book::default(),
            store,
            clock,
            entropy,
            pages: format!("{}/guide", base.strip_suffix("/fhir").unwrap_or(&base)),
            base,
            register: login::Register::default(),
            uploads: uploads::Uploads::default(),
            exports: bulk::Exports::default(),
            turns: push::turn::Turns::default(),
            subscriptions: subscribe::Subscriptions::default(),
            grown: tokio::sync::Notify::default(),
            patient_secret,
            page_secret,
            receipt_secret,
            token_secret,
            pseudonym_secret,
            log_signer,
        })
    }

    fn asks_terminology(&self) -> bool {
        self.terminology.is_some()
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
            Health::Stalled => Some("the storage does not answer"),
            Health::Unreachable => Some("the storage cannot be reached"),
            Health::Moved => Some("the storage was moved or set back; restart"),
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
        // A version of a person is not the person, so a reference that names one is none of these.
        let id = relative.strip_prefix(kind)?.strip_prefix('/')?;
        is_id(id).then_some(id)
    }
}

/// What heads of the log are verified by: of a gateway's address and the secret `audit-log` of its store.
pub fn log_key(base: &str, seed: &[u8; 32]) -> crate::tlog::Verifier {
    log_signer(base, seed).verifier().clone()
}

/// Signs heads of the log under its own address, without the scheme, as C2SP names logs.
fn log_signer(base: &str, seed: &[u8; 32]) -> Signer {
    let root = base.strip_suffix("/fhir").unwrap_or(base);
    let name = root.split_once("://").map_or(root, |(_, rest)| rest);
    Signer::new(&format!("{name}/log"), seed)
        .or_else(|_| Signer::new("mhealth-gateway/log", seed))
        .expect("a fixed name without spaces can be signed for")
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
    /// Where it was called from, an IP address; nothing where the work is done later.
    pub address: Option<&'a str>,
    /// Resources that the whole request has looked at so far, where it may search more than once.
    pub looked_at: Option<&'a AtomicUsize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_lies_in_the_name_space_of_one_client() {
        for (client, id, allowed) in [
            ("app", "app.1", true),
            ("app", "app.", true),
            ("app", "app-1", false),
            ("app", "1", false),
            ("app", "other.1", false),
            ("app", "app.2.x", false),
            ("app.2", "app.2.x", true),
            ("app", "7e1f3b52-6d0b-4a1c-9f56-0c4a2a3f0001", true),
            ("app", "019b1c2e-6d0b-7a1c-8f56-0c4a2a3f0001", true),
            ("app", "7e1f3b52-6d0b-8a1c-9f56-0c4a2a3f0001", false),
            ("app", "7e1f3b52-6d0b-1a1c-9f56-0c4a2a3f0001", false),
            ("app", "7E1F3B52-6D0B-4A1C-9F56-0C4A2A3F0001", false),
        ] {
            assert_eq!(ChosenIds::Own.allow(client, id), allowed, "{client} {id}");
            assert!(ChosenIds::Any.allow(client, id));
        }
    }
}
