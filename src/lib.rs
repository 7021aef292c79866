//! # mhealth-gateway
//!
//! One door from health apps and wearables into national eHealth systems. `ls src` is the architecture:
//! each folder is a floor or a room of it, and a file uses only lower floors (`tests/it/architecture.rs`
//! holds that). The modules stand here in reading order, lowest floor first; `ARCHITECTURE.md` walks one
//! push and one pull through them.

pub mod telemetry;

pub mod fhir;

pub mod devices;
#[cfg(feature = "policy")]
pub mod policy;

pub mod guide;
#[cfg(feature = "gateway")]
pub mod peers;
#[cfg(feature = "gateway")]
pub mod store;

#[cfg(feature = "gateway")]
pub mod conformance;
#[cfg(feature = "gateway")]
pub mod exchange;

#[cfg(feature = "gateway")]
pub mod server;

#[cfg(feature = "gateway")]
pub mod config;

#[cfg(feature = "gateway")]
pub mod commands;
