//! What holds where a person has said nothing: the implicit policies of IHE PCF (volume 1, 53.2.1), and what the European
//! Health Data Space permits until a person opts out (Regulation (EU) 2025/327).
//!
//! A policy of IHE PCF speaks only where no consent of the person is in force; any consent, also one that cannot be
//! evaluated, silences it. The two of the European Health Data Space stand beside consents: what permits something else is
//! no opt-out, and only a consent that refuses is one, or one that cannot be evaluated. None of them covers what is more
//! than normally confidential but the one for emergencies, and that only for those who may break the glass.

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
    /// Clinicians, for treatment, until the person opts out (Article 10).
    PrimaryUse,
    /// Data access bodies, for research and public health, until the person opts out (Article 71).
    SecondaryUse,
}

/// What all addresses of the policies begin with.
const BASE: &str = "https://profiles.ihe.net/ITI/PCF/";

/// Where the policies of the European Health Data Space are addressed: the regulation itself.
const REGULATION: &str = "http://data.europa.eu/eli/reg/2025/327/oj#";

const ALL: [(Implicit, &str); 6] = [
    (Implicit::BasicNormal, "Policy-basic-normal"),
    (Implicit::AllNormal, "Policy-all-normal"),
    (Implicit::BreakGlassOnly, "Policy-break-glass-only"),
    (Implicit::Deny, "Policy-deny"),
    (Implicit::PrimaryUse, "ehds-primary-use"),
    (Implicit::SecondaryUse, "ehds-secondary-use"),
];

/// Roles that the policies speak of, as a request states them.
pub const CLINICIAN: &str = "clinician";
pub const CLINICIAN_BREAK_GLASS: &str = "clinician-btg-authorised";
pub const DATA_ACCESS_BODY: &str = "data-access-body";

impl Implicit {
    /// The policy of that address, or of its name.
    pub fn named(name: &str) -> Option<Implicit> {
        ALL.iter().find(|(policy, known)| *known == name || policy.url() == name).map(|(policy, _)| *policy)
    }

    pub fn name(self) -> &'static str {
        ALL.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| *name)
    }

    pub fn url(self) -> String {
        match self {
            Implicit::PrimaryUse => format!("{REGULATION}art_10"),
            Implicit::SecondaryUse => format!("{REGULATION}art_71"),
            _ => format!("{BASE}{}", self.name()),
        }
    }

    /// Whether it holds where a consent says nothing of the matter, and not only where there is no consent at all.
    pub fn speaks_beside_consents(self) -> bool {
        matches!(self, Implicit::PrimaryUse | Implicit::SecondaryUse)
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
            Implicit::PrimaryUse => clinician() && covers("TREAT", asked) && normal(),
            Implicit::SecondaryUse => {
                let secondary = ["HRESCH", "PUBHLTH"].into_iter().any(|purpose| covers(purpose, asked));
                roles.contains(&DATA_ACCESS_BODY) && secondary && normal()
            }
            Implicit::Deny => false,
        }
    }
}
