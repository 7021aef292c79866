//! What holds where a person has said nothing: the implicit policies of IHE PCF (volume 1, 53.2.1), one a deployment.
//!
//! A policy speaks only where no consent of the person is in force; any consent, also one that cannot be evaluated,
//! silences it. None of them covers what is more than normally confidential but the one for emergencies, and that only
//! for those who may break the glass.

use super::labels;
use super::purpose::{Asked, covers};
use super::request::{Facts, Request};

/// What holds where a person has said nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Implicit {
    /// Clinicians, for treatment, what is normally confidential.
    BasicNormal,
    /// Everybody that the deployment lets in, for every purpose, what is normally confidential.
    AllNormal,
    /// Clinicians who may, when they declare an emergency.
    BreakGlassOnly,
    Deny,
}

/// What all addresses of the policies begin with.
const BASE: &str = "https://profiles.ihe.net/ITI/PCF/";

const ALL: [(Implicit, &str); 4] = [
    (Implicit::BasicNormal, "Policy-basic-normal"),
    (Implicit::AllNormal, "Policy-all-normal"),
    (Implicit::BreakGlassOnly, "Policy-break-glass-only"),
    (Implicit::Deny, "Policy-deny"),
];

/// Roles that the policies speak of, as a request states them.
pub const CLINICIAN: &str = "clinician";
pub const CLINICIAN_BREAK_GLASS: &str = "clinician-btg-authorised";

impl Implicit {
    /// The policy of that address, or of its last part.
    pub fn named(name: &str) -> Option<Implicit> {
        let name = name.strip_prefix(BASE).unwrap_or(name);
        ALL.iter().find(|(_, known)| *known == name).map(|(policy, _)| *policy)
    }

    pub fn url(self) -> String {
        let name = ALL.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| *name);
        format!("{BASE}{name}")
    }

    /// Names of all, for who has to choose.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(_, name)| *name)
    }

    /// Whether it permits; without facts, whether it permits what is normally confidential.
    pub fn permits(self, request: &Request<'_>, roles: &[&str], facts: Option<&Facts<'_>>) -> bool {
        let clinician = || roles.iter().any(|role| [CLINICIAN, CLINICIAN_BREAK_GLASS].contains(role));
        let normal = || facts.is_none_or(|facts| labels::is_normal(facts.labels));
        let asked = Asked::new(request.purpose);
        match self {
            Implicit::BasicNormal => clinician() && covers("TREAT", asked) && normal(),
            Implicit::AllNormal => asked != Asked::Nothing && !covers("BTG", asked) && normal(),
            Implicit::BreakGlassOnly => roles.contains(&CLINICIAN_BREAK_GLASS) && covers("BTG", asked),
            Implicit::Deny => false,
        }
    }
}
