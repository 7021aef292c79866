//! What is asked, and what is known of the resource: plain borrowed facts, filled by the caller.
//!
//! Rules see nothing else of a message, so whoever fills these decides what a rule can compare; what is left
//! empty is unknown and never permits anything.

use super::action::Action;
use super::actor::Actor;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub action: Action,
    pub actor: &'a Actor,
    /// A code of v3-ActReason, or `system|code`; empty where none was stated, which satisfies no permit that
    /// names purposes.
    pub purpose: &'a str,
    /// Policies of the German broad consent under which it is asked for; one consent must permit each of them.
    pub policies: &'a [&'a str],
    pub now_ms: i64,
}

/// What is known of the resource in question. Empty lists mean that nothing is known, and nothing unknown permits.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Every reference that the person whom the resource is about answers to (linked records included); consents
    /// of others have no say.
    pub patients: &'a [&'a str],
    /// Resource type.
    pub kind: &'a str,
    /// The resource itself, e.g. `Observation/1`.
    pub reference: &'a str,
    /// Its codings as (system, code): code, category and measure category.
    pub codings: &'a [(&'a str, &'a str)],
    /// Its security labels as (system, code).
    pub labels: &'a [(&'a str, &'a str)],
    /// Its clinical date: first millisecond, and first one behind it.
    pub date_ms: Option<(i64, i64)>,
    /// References of its authors.
    pub authors: &'a [&'a str],
    /// References that it holds, for rules about what is related to something.
    pub links: &'a [&'a str],
}

impl<'a> Facts<'a> {
    /// A resource of which nothing is known but whose it is.
    pub fn unknown(patients: &'a [&'a str]) -> Facts<'a> {
        Facts { patients, kind: "", reference: "", codings: &[], labels: &[], date_ms: None, authors: &[], links: &[] }
    }
}
