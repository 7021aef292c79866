//! The integration tests: one binary, so that the crate is linked once; every file beside this one is a module.
//!
//! They talk to a gateway as its users do, over TLS, and look into it only to see what is on disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops, and says where")]
#![allow(clippy::unnecessary_debug_formatting, reason = "TOML quotes paths as Debug does")]

mod fixture;

mod faults;
mod kill;
mod process;
mod push;
