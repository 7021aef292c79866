//! What a Consent is about, by its `scope`.
//!
//! Consents about privacy decide, and those about research by policies. Others (research without policies, a treatment, an
//! advance directive) permit nothing here, since what they permit is not the use of data. What they refuse of data is heard all
//! the same, as far as they say of which: a study's refusal of whatever is for research, and of others what names a purpose.
//! So a refusal of a treatment keeps no data from whoever treats.

use super::broad;
use super::lint::Lint;
use super::matching::Effect;
use super::purpose::{Asked, Purposes};
use super::request::Request;
use super::rule::Rule;
use crate::fhir::tree::Element;

const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
const RESEARCH: &str = "HRESCH";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// Privacy, or what may be.
    Privacy,
    /// Research, by policies of the German broad consent.
    Broad,
    /// Research, and something of it is refused.
    Research,
    Other,
}

impl Scope {
    /// A scope that is not known may be privacy, and makes the Consent indeterminate.
    pub fn read(consent: Element<'_>, scope: Option<Element<'_>>, lint: &mut Lint) -> Scope {
        let coded = |code: &str| {
            scope.is_some_and(|scope| {
                scope
                    .all("coding")
                    .any(|coding| coding.text_of("system") == Some(SYSTEM) && coding.text_of("code") == Some(code))
            })
        };
        if coded("patient-privacy") {
            return Scope::Privacy;
        }
        let provision = consent.get("provision");
        if coded("research") && provision.is_some_and(|provision| some_provision(provision, names_policy)) {
            return Scope::Broad;
        }
        if coded("research") && provision.is_some_and(|provision| some_provision(provision, denies)) {
            return Scope::Research;
        }
        if ["adr", "research", "treatment"].into_iter().any(coded) {
            return Scope::Other;
        }
        lint.invalid(
            consent,
            "Consent.scope",
            "A scope of R4 is expected (patient-privacy for consents that are enforced here).",
        );
        Scope::Privacy
    }

    /// Whether Consents of it permit anything.
    pub fn permits(self) -> bool {
        matches!(self, Scope::Privacy | Scope::Broad)
    }

    /// Lets the rules of a Consent be about no more than its scope.
    pub fn confine(self, rule: &mut Rule) {
        let purposes = match self {
            Scope::Privacy | Scope::Broad => return,
            Scope::Research => Purposes::of(RESEARCH),
            Scope::Other => Purposes::default(),
        };
        rule.when.purpose.get_or_insert(purposes);
        for nested in &mut rule.nested {
            self.confine(nested);
        }
    }

    /// Whether what is asked for is of that scope, whatever the Consent says of it.
    pub fn includes(self, request: &Request<'_>) -> bool {
        match self {
            Scope::Privacy => true,
            Scope::Broad => !request.policies.is_empty(),
            Scope::Research => {
                Purposes::of(RESEARCH).matches(Effect::Deny, Asked::new(request.purpose)).fires(Effect::Deny)
            }
            Scope::Other => false,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Scope::Privacy => "",
            Scope::Broad => ", about research by policies",
            Scope::Research => ", about research, permitting nothing",
            Scope::Other => ", not about privacy, permitting nothing",
        }
    }
}

fn some_provision(provision: Element<'_>, holds: fn(Element<'_>) -> bool) -> bool {
    holds(provision) || provision.all("provision").any(|nested| some_provision(nested, holds))
}

/// Whether a provision names a policy of the broad consent.
fn names_policy(provision: Element<'_>) -> bool {
    let mut codings = provision.all("code").flat_map(|code| code.all("coding"));
    codings.any(|coding| coding.text_of("system") == Some(broad::SYSTEM))
}

fn denies(provision: Element<'_>) -> bool {
    provision.text_of("type") == Some("deny")
}
