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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::national::{Address, Pack, Question};
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
    pub trace: Option<Arc<Trace>>,
}

/// By what a system tells which requests belong to one attempt (W3C Trace Context): for whoever joins its logs with ours.
#[derive(Debug)]
pub struct Trace {
    id: u128,
    next: AtomicU64,
}

impl Trace {
    pub fn new(entropy: [u8; 24]) -> Trace {
        let (id, next) = entropy.split_at(16);
        let id = id.iter().fold(0, |id, byte| id << 8 | u128::from(*byte));
        let next = next.iter().fold(0, |next, byte| next << 8 | u64::from(*byte));
        // All zeros are no id.
        Trace { id: id.max(1), next: AtomicU64::new(next) }
    }

    /// What is the same of all its requests.
    pub fn id(&self) -> String {
        format!("{:032x}", self.id)
    }

    /// The header of its next request; that nothing is recorded for us says the flag.
    fn parent(&self) -> String {
        // An odd step, so that none comes twice.
        let next = self.next.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        format!("00-{:032x}-{:016x}-00", self.id, next.max(1))
    }
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
    pub address: Address,
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
    pub trace: Option<Arc<Trace>>,
}

/// Something that a system is to hold no longer.
#[derive(Clone, Debug)]
pub struct Taken {
    pub recall: Recall,
    pub manner: Manner,
    pub request_id: String,
    pub access: Option<Allowance>,
    pub trace: Option<Arc<Trace>>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_trace_share_its_id_and_have_one_each_of_their_own() {
        for (entropy, id, first) in [
            ([0xab; 24], "ab".repeat(16), "ab".repeat(8)),
            ([0; 24], format!("{}1", "0".repeat(31)), format!("{}1", "0".repeat(15))),
        ] {
            let trace = Trace::new(entropy);
            let (one, another) = (trace.parent(), trace.parent());
            assert_eq!((trace.id(), &one), (id.clone(), &format!("00-{id}-{first}-00")));
            assert!(another.starts_with(&format!("00-{id}-")) && one != another && another.len() == 55, "{another}");
        }
    }
}
