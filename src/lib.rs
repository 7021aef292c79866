//! # mhealth-gateway
//!
//! One door from health apps and wearables into national eHealth systems, and the FHIR R4 validator inside it as a
//! library of its own.
//!
//! # Validating
//!
//! With `default-features = false` the crate is the FHIR floor alone: no I/O, no async, no clock. The definitions of R4
//! are embedded, so nothing needs to be fetched.
//!
//! ```
//! use mhealth_gateway::fhir::definitions::Registry;
//! use mhealth_gateway::fhir::validate::{Options, Validator};
//!
//! // Compiles what it meets, once; share it between threads.
//! let validator = Validator::new(Registry::core());
//! let options = Options {
//!     profiles: &["http://hl7.org/fhir/StructureDefinition/heartrate"],
//!     ..Options::default()
//! };
//! let observation = br#"{
//!   "resourceType": "Observation",
//!   "status": "final",
//!   "category": [{"coding": [{
//!     "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
//!   "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
//!   "subject": {"reference": "Patient/example"},
//!   "effectiveDateTime": "2026-02-30",
//!   "valueQuantity": {"value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"}
//! }"#;
//!
//! let report = validator.check_text(observation, &options);
//! let errors: Vec<_> = report.issues.iter().filter(|issue| issue.is_error()).collect();
//! assert_eq!(errors.len(), 1);
//! assert_eq!(errors[0].id.code(), "primitive-format");
//! assert_eq!(errors[0].expression, "Observation.effective.ofType(dateTime)");
//! assert_eq!((errors[0].position.line, errors[0].position.column), (8, 24));
//! ```
//!
//! - More definitions: [`fhir::definitions::Registry::with_packages`] takes FHIR packages,
//!   [`fhir::definitions::Registry::with`] loose resources.
//! - XML: [`fhir::validate::Validator::check_text`] reads both formats, and
//!   [`fhir::validate::Validator::to_xml`] writes the other one.
//! - An `OperationOutcome`: [`fhir::outcome::operation_outcome`].
//! - What a check cannot decide (a code of a system that is not here) is an open question in
//!   [`fhir::validate::Report::open`], never a silent yes.
//! - FHIRPath alone: [`fhir::fhirpath::compile`], or [`fhir::validate::Validator::evaluate`] with the type model, value
//!   sets and profiles at hand. Patches: [`fhir::patch`].
//!
//! # The house
//!
//! `ls src` is the architecture: each folder is a floor or a room of it, and a file uses only lower floors
//! (`tests/it/architecture.rs` holds that). The modules stand here in reading order, lowest floor first;
//! `ARCHITECTURE.md` walks one push and one pull through them. The feature `policy` adds access, consent, routing and
//! delivery decisions, `gateway` (default) adds all I/O.

pub mod telemetry;
#[cfg(feature = "policy")]
pub mod tlog;

pub mod fhir;

pub mod devices;

pub mod national;
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
