//! The integration tests: one binary, so that the crate is linked once; every file beside this one is a module.
//!
//! They talk to a gateway as its users do, over TLS, and look into it only to see what is on disk.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, with its line")]

mod fixture;

mod access;
mod architecture;
mod audit;
mod bad_input;
mod bundles;
mod catalogue;
mod clients;
mod consents;
mod deploy;
mod docs;
mod health;
mod idempotency;
mod negotiation;
mod pull;
mod push;
