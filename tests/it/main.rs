//! The integration tests: one binary, so that the crate is linked once; every file beside this one is a module.
//!
//! They talk to a gateway as its users do, over TLS, and look into it only to see what is on disk.

mod fixture;

mod pages;
mod push;
