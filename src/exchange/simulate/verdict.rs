//! What was decided of one resource, or of all of them, as it is told.

use serde_json::{Value, json};

use crate::fhir::outcome::Id;
use crate::fhir::tree::time::instant;
use crate::national::NotDeliverable;
use crate::policy::consent::{Account, Basis, Compiled, Denial, Implicit, Reason};

/// What was decided, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub permits: bool,
    pub reason: &'static str,
    pub basis: Option<Value>,
    pub path: Option<String>,
    /// What each consent said.
    pub consents: Vec<Value>,
    /// What would leave, where that is not what is given.
    pub sent: Option<Value>,
    /// What the destination says of it, where it cannot be told there.
    pub text: Option<String>,
}

/// The reason where no consent but a policy decided.
pub(super) const IMPLICIT: &str = "implicit-policy";

impl Verdict {
    pub fn permit(basis: &Basis) -> Verdict {
        let path = basis.by_consent().map(|_| basis.rule().to_owned());
        let reason = if path.is_some() { "permitted" } else { IMPLICIT };
        Verdict { permits: true, reason, basis: Some(shown(basis)), path, ..Verdict::none() }
    }

    pub fn deny(denial: &Denial) -> Verdict {
        let reason = match denial.reason {
            Reason::NoConsent => "no-consent",
            Reason::Denied => "denied",
            Reason::Indeterminate => "indeterminate",
            Reason::NotCovered => "not-covered",
            Reason::Restricted => "restricted",
        };
        let basis = denial.basis.as_ref();
        Verdict {
            permits: false,
            reason,
            basis: basis.map(shown),
            path: basis.map(|basis| basis.rule().to_owned()),
            ..Verdict::none()
        }
    }

    pub fn none() -> Verdict {
        Verdict {
            permits: false,
            reason: "no-consent",
            basis: None,
            path: None,
            consents: Vec::new(),
            sent: None,
            text: None,
        }
    }

    /// What a policy decides where consents leave it unsaid.
    pub fn by_policy(permits: bool, policy: Implicit) -> Verdict {
        Verdict { permits, reason: IMPLICIT, basis: Some(json!({"policy": policy.url()})), ..Verdict::none() }
    }

    /// The destination is sent no such thing, whatever the consents say.
    pub fn not_routed() -> Verdict {
        Verdict { reason: "not-routed", ..Verdict::none() }
    }

    /// The resource is of somebody else than those whose consents are asked.
    pub fn about_another() -> Verdict {
        Verdict { reason: "other-person", ..Verdict::none() }
    }

    /// It is permitted, but cannot be told to somebody who may not learn whose it is.
    pub fn inseparable(self) -> Verdict {
        Verdict { permits: false, reason: Id::IdentityInseparable.code(), ..self }
    }

    /// It is permitted, but the destination cannot be told it.
    pub fn not_deliverable(self, told: NotDeliverable) -> Verdict {
        Verdict { permits: false, reason: told.id.code(), text: Some(told.text), ..self }
    }

    fn decision(&self) -> &'static str {
        if self.permits { "permit" } else { "deny" }
    }
}

/// Each resource with its verdict.
pub(super) fn listed(verdicts: &[(String, Verdict)]) -> Value {
    let shown = verdicts.iter().map(|(reference, verdict)| {
        let mut value = json!({
            "resource": reference,
            "decision": verdict.decision(),
            "reason": verdict.reason,
            "basis": verdict.basis,
            "path": verdict.path,
        });
        if !verdict.consents.is_empty() {
            value["consents"] = json!(verdict.consents);
        }
        if let Some(sent) = &verdict.sent {
            value["sent"] = sent.clone();
        }
        if let Some(text) = &verdict.text {
            value["text"] = json!(text);
        }
        value
    });
    shown.collect()
}

/// The decisions on all resources as one.
pub(super) fn together(verdicts: &[(String, Verdict)]) -> Value {
    let permitted = verdicts.iter().filter(|(_, verdict)| verdict.permits).count();
    let decision = match permitted {
        0 => "deny",
        all if all == verdicts.len() => "permit",
        _ => "partial",
    };
    let wanted = permitted > 0;
    let first = verdicts.iter().map(|(_, verdict)| verdict).find(|verdict| verdict.permits == wanted);
    let reason =
        if decision == "partial" { "depends-on-the-resource" } else { first.map_or("", |verdict| verdict.reason) };
    json!({
        "decision": decision,
        "reason": reason,
        "basis": first.and_then(|verdict| verdict.basis.clone()),
        "path": first.and_then(|verdict| verdict.path.clone()),
    })
}

/// What one consent said.
pub(super) fn told(consent: &Compiled, account: &Account) -> Value {
    let unmet: Vec<&str> = account.unmet.iter().map(|unmet| unmet.code()).collect();
    json!({
        "consent": format!("Consent/{}", consent.id()),
        "version": consent.version(),
        "says": account.says.code(),
        "path": account.rule.as_deref(),
        "unmet": unmet,
    })
}

fn shown(basis: &Basis) -> Value {
    let until = basis.valid_until_ms().map(instant);
    match (basis.by_consent(), basis.by_policy()) {
        (Some((id, version)), _) => {
            json!({"consent": format!("Consent/{id}"), "version": version, "validUntil": until})
        }
        (None, policy) => json!({"policy": policy.map(Implicit::url), "validUntil": until}),
    }
}
