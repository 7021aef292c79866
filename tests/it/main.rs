//! The integration tests: one binary, so that the crate is linked once; every file beside this one is a module.
//!
//! They talk to a gateway as its users do, over TLS, and look into it only to see what is on disk.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, with its line")]
#![expect(clippy::unnecessary_debug_formatting, reason = "TOML quotes paths as Debug does")]

mod fixture;
mod hook;

mod access;
mod architecture;
mod arrivals;
mod attest;
mod audit;
mod bad_input;
mod bulk;
mod bundles;
mod catalogue;
mod clients;
mod consents;
mod convert;
mod coverage;
mod damage;
mod deploy;
mod devices;
mod dictionary;
mod docs;
mod doctor;
mod editions;
mod evaluate;
mod faults;
mod formats;
mod guide;
mod health;
mod history;
mod idempotency;
mod implied;
mod iomt;
mod keep;
mod keys;
mod kill;
mod leaks;
mod likeness;
mod links;
mod mappings;
mod metrics;
mod negotiation;
mod outages;
mod own_pack;
mod packages;
mod packs;
mod pages;
mod patch;
mod person;
mod phd;
mod postgres;
mod power_cut;
mod process;
mod provenance;
mod proxies;
mod pseudonyms;
mod pull;
mod push;
mod receipts;
mod remap;
mod revoke;
mod rights;
mod routes;
mod search;
mod shared;
mod site;
mod sources;
mod streams;
mod stretches;
mod subscriptions;
mod suites;
mod terminology;
mod told;
mod transparency;
mod uploads;
mod validate;
mod waiting;
