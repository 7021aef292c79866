//! What is wrong with a Consent: collected while it compiles, sent back when it is written.
//!
//! Three grades. *Invalid*: the whole Consent may mean something else than it seems to, so it denies. *Idle*: a
//! rule that can never have an effect, which is a mistake of its author. *Unclear*: one element cannot be
//! evaluated; its rule errs on the side of refusal and the rest stands.

use std::sync::Arc;

use crate::fhir::outcome::{Id, Issue, Severity};
use crate::fhir::tree::{Element, Kind};

pub(super) const UNKNOWN_MODIFIER: &str = "A modifier that is not known here may change the meaning of the Consent.";

#[derive(Default)]
pub(super) struct Lint {
    issues: Vec<Issue>,
    /// Paths of what makes the Consent indeterminate.
    invalid: Vec<Arc<str>>,
}

impl Lint {
    pub fn invalid(&mut self, at: Element<'_>, path: &str, text: &str) {
        self.invalid.push(path.into());
        self.issues.push(Issue::new(Id::ConsentInvalid, path, text).at(at.position()));
    }

    pub fn idle(&mut self, at: Element<'_>, path: &str, text: &str) {
        self.issues.push(Issue::new(Id::ConsentInvalid, path, text).at(at.position()));
    }

    pub fn unclear(&mut self, at: Element<'_>, path: &str, text: &str) {
        self.issues.push(Issue::new(Id::ConsentElement, path, text).at(at.position()));
    }

    /// Refuses what may change the meaning of the element without our knowing: properties that R4 does not
    /// define, modifiers, and empty arrays, which would make a condition vanish.
    pub fn members(&mut self, element: Element<'_>, path: &str, known: &[&str]) {
        if !element.is_object() {
            self.invalid(element, path, "A JSON object is expected here.");
            return;
        }
        let document = element.document();
        for member in document.children(element.node()) {
            let at = Element::at(document, member);
            let key = document.key(member);
            let name = key.strip_prefix('_').unwrap_or(key);
            let text = if matches!(name, "modifierExtension" | "implicitRules") {
                UNKNOWN_MODIFIER
            } else if !known.contains(&name) {
                "The element has a property that R4 does not define; what it means cannot be known."
            } else if document.kind(member) == Kind::Array && document.children(member).next().is_none() {
                "The element has an empty array; whether it restricts nothing or everything cannot be known."
            } else {
                continue;
            };
            self.invalid(at, path, text);
        }
    }

    /// The issues and the paths of what is invalid. Nothing stands in the way of a Consent that is `harmless`
    /// since it cannot grant anything: above all a withdrawal must never fail because what it withdraws is bad.
    pub fn finish(mut self, harmless: bool) -> (Vec<Issue>, Vec<Arc<str>>) {
        if harmless {
            for issue in &mut self.issues {
                issue.severity = issue.severity.max(Severity::Warning);
            }
        }
        (self.issues, self.invalid)
    }
}
