//! Consent: what a person allows, compiled once from FHIR R4 Consents and decided per resource.
//!
//! [`compile`] turns a Consent into a printable rule tree and says what is wrong with it; [`decide`] asks every
//! consent of a person about one request and one resource; [`permit`] wraps what was permitted into a
//! [`Permitted`], the only thing that the next step takes. The one principle behind every rule here: **what
//! cannot be evaluated never permits**. Comparison has three values (`Match`): a permit needs a plain yes, a
//! deny only the absence of a plain no, and a Consent that may mean something else than it seems to denies
//! everything it might concern. Nothing here knows destinations, storage, the network or the time of day.

mod matching;

mod coding;
mod reference;

mod action;
mod actor;
mod request;

mod content;
mod labels;
mod period;
mod purpose;

mod unmet;

mod broad;

mod rule;

mod lint;

mod scope;

mod compile;

mod implicit;

mod decide;

mod proxy;

mod withdrawn;

mod implied;

mod permit;

mod recall;

mod coupled;

mod outlook;

mod account;

pub mod draft;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod suites;
#[cfg(test)]
mod tests;

pub use account::{Account, Says, account};
pub use action::Action;
pub use actor::Actor;
pub use broad::SYSTEM as BROAD_CONSENT;
pub use compile::{Compiled, Status, compile};
pub use coupled::Coupled;
pub use decide::{Basis, Decision, Denial, Reason, decide};
pub use implicit::{CLINICIAN, CLINICIAN_BREAK_GLASS, DATA_ACCESS_BODY, Implicit};
pub use implied::{Config, Implied};
pub use outlook::{Outlook, Residual, outlook, permitted_dates};
pub use permit::{Permitted, Precedents, permit};
pub use proxy::Proxies;
pub use purpose::is_purpose;
pub use recall::{Manner, Recall};
pub use request::{Facts, Request};
pub use rule::{Carried, Meant};
pub use unmet::Unmet;
