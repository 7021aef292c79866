//! Whom we call: one folder an outside system, each with the same files (`config`, `translate`, `send`,
//! `classify`).
//!
//! A peer translates what is to be delivered into what its system wants, sends it once, and says what came of it.
//! It does not know the store, the server, the other peers, or whether there will be another attempt: it only
//! classifies. [`Platform`] is a trait because the systems are an open set that other people own.

pub mod fhir_rest;
pub mod rest_hook;
pub mod terminology;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::national::{Pack, Question};
pub use crate::policy::consent::{Manner, Recall};
pub use crate::policy::delivery::Verdict;

/// What calls a peer, as far as all are called alike: where it was told to and nowhere else, and once.
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("mhealth-gateway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .gzip(false)
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(30))
}

/// One resource version as it was accepted.
#[derive(Clone)]
pub struct Resource {
    /// Resource type, e.g. `Observation`.
    pub kind: String,
    pub id: String,
    pub version: u32,
    pub json: Vec<u8>,
}

/// What one delivery carries.
#[derive(Clone)]
pub struct Item {
    pub content: Content,
    pub request_id: String,
    /// The person's own, where the destination lets us in by that alone.
    pub access: Option<Allowance>,
}

/// A person's token for a destination. Never printed.
#[derive(Clone)]
pub struct Allowance {
    token: String,
    refused: Arc<AtomicBool>,
}

impl Allowance {
    pub fn new(token: String) -> Self {
        Allowance { token, refused: Arc::default() }
    }

    fn token(&self) -> &str {
        &self.token
    }

    fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether the destination did not take it, so that another one is needed.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Allowance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Allowance")
    }
}

#[derive(Clone)]
pub enum Content {
    /// Resources that belong together, in the order in which they must arrive.
    Resources(Vec<Resource>),
    Shaped(Shaped),
}

/// A request that a country pack made.
#[derive(Clone)]
pub struct Shaped {
    /// By what the answer is understood.
    pub pack: Arc<Pack>,
    pub body: Vec<u8>,
    /// The same for the same content.
    pub key: String,
    /// Measurements that it tells.
    pub count: usize,
    /// Which of them each entry of the body tells; none of what stands beside them.
    pub entries: Vec<Option<usize>>,
    /// System and value of the name of the person there, where tokens are for persons.
    pub person: Option<(String, String)>,
}

/// What came of a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Of the whole.
    pub verdict: Verdict,
    /// Of each thing that was carried, in its order; empty where the answer does not tell them apart.
    pub each: Vec<Arrival>,
    /// Whether a refusal of the whole may be the fault of one of several.
    pub divisible: bool,
}

/// What came of one thing that was carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub verdict: Verdict,
    /// The names that the system gave to what it became there, as `Type/id`; empty where none is known.
    pub names: Vec<String>,
    /// It was to be created and was there already.
    pub existed: bool,
}

impl Delivered {
    /// One outcome for all, which one of several may be to blame for.
    pub(crate) fn whole(verdict: Verdict) -> Delivered {
        Delivered { verdict, each: Vec::new(), divisible: true }
    }
}

impl Arrival {
    pub(crate) fn of(verdict: Verdict) -> Arrival {
        Arrival { verdict, names: Vec::new(), existed: false }
    }
}

impl std::fmt::Debug for Item {
    /// Ids only: the resources are patient data.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.content {
            Content::Resources(resources) => {
                write!(formatter, "Item({}, {} resources)", self.request_id, resources.len())
            }
            Content::Shaped(shaped) => write!(formatter, "Item({}, {})", self.request_id, shaped.pack.name()),
        }
    }
}

/// A question to a system, before something is told there.
pub struct Asking {
    pub question: Question,
    /// By what a refusal is understood.
    pub pack: Arc<Pack>,
    pub request_id: String,
    pub access: Option<Allowance>,
}

/// Something that a system is to hold no longer.
#[derive(Clone, Debug)]
pub struct Taken {
    pub recall: Recall,
    pub manner: Manner,
    pub request_id: String,
    pub access: Option<Allowance>,
}

/// A system that takes deliveries. Both must be safe to repeat: the same may come again after a crash.
pub trait Platform: Send + Sync {
    fn deliver<'a>(&'a self, item: &'a Item) -> Pin<Box<dyn Future<Output = Delivered> + Send + 'a>>;

    /// Asks the system something, for the body of its answer; the error is what it means that there is none.
    fn ask<'a>(&'a self, asking: &'a Asking) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Verdict>> + Send + 'a>>;

    /// Tells the system that it may hold something no longer; acknowledged as well where it holds no such thing.
    fn recall<'a>(&'a self, taken: &'a Taken) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

/// The time, handed in by the composition root, so that tests own it.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;
