//! Whom we call: one folder an outside system, each with the same files (`config`, `translate`, `send`,
//! `classify`).
//!
//! A peer translates what is to be delivered into what its system wants, sends it once, and says what came of it.
//! It does not know the store, the server, the other peers, or whether there will be another attempt: it only
//! classifies. [`Platform`] is a trait because the systems are an open set that other people own.

pub mod fhir_rest;
pub mod terminology;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use crate::policy::delivery::Verdict;

/// One resource version as it was accepted.
#[derive(Clone)]
pub struct Resource {
    /// Resource type, e.g. `Observation`.
    pub kind: String,
    pub id: String,
    pub version: u32,
    pub json: Vec<u8>,
}

/// What one delivery carries: resources that belong together, in the order in which they must arrive.
#[derive(Clone)]
pub struct Item {
    pub resources: Vec<Resource>,
    pub request_id: String,
}

impl std::fmt::Debug for Item {
    /// Ids only: the resources are patient data.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Item({}, {} resources)", self.request_id, self.resources.len())
    }
}

/// A system that takes deliveries. `deliver` must be safe to repeat: the same item may come again after a crash.
pub trait Platform: Send + Sync {
    fn deliver<'a>(&'a self, item: &'a Item) -> Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;
}

/// The time, handed in by the composition root, so that tests own it.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;
