//! What the standard says: pure, synchronous, reusable alone as a library (`default-features = false`).
//!
//! Reading order is also the order of dependence: ours < outcome < tree < definitions < terminology < fhirpath <
//! patch < validate, with search beside validate. Nothing here knows HTTP, the time of day, tenants, consent or
//! which country exists.

pub mod ours;

pub mod outcome;

pub mod tree;

pub mod definitions;

pub mod terminology;

pub mod fhirpath;

pub mod patch;

pub mod validate;

pub mod search;
