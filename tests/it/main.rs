//! The integration tests: one binary, so that the crate is linked once; every file beside this one is a module.
//!
//! They talk to a gateway as its users do, over TLS, and look into it only to see what is on disk.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, with its line")]

mod fixture;

mod devices;
mod push;
