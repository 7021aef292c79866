//! What holds in one deployment where persons have said nothing: a policy for each purpose, and who counts as what.
//!
//! Without configuration nothing is implied. The policy of the purpose that lies nearest above the one that is asked for
//! decides; breaking the glass lies below nothing but itself. Nothing is ever taken in by an implied policy: whatever the
//! law lets others read, an app collects by the person's word alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::action::Action;
use super::actor::Actor;
use super::broad;
use super::compile::Compiled;
use super::decide::Reason;
use super::implicit::{CLINICIAN, CLINICIAN_BREAK_GLASS, DATA_ACCESS_BODY, Implicit};
use super::matching::Match;
use super::proxy::Proxies;
use super::purpose::{self, Asked};
use super::request::{Facts, Request};
use super::withdrawn::withdrawn;

/// The role of those whose research goes by the broad consent.
const BROAD_RESEARCH: &str = "broad-consent-research";

/// What an operator says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names of policies by code of v3-ActReason.
    pub implicit: BTreeMap<String, String>,
    /// References of those who are clinicians.
    pub clinicians: Vec<String>,
    /// Of those of them who may break the glass.
    pub break_glass: Vec<String>,
    /// Of bodies through which data is put to secondary use.
    pub data_access_bodies: Vec<String>,
    /// Of those whose research goes by the German broad consent.
    pub broad_consent: Vec<String>,
    /// Categories of measures that make no sense without others.
    pub needs: BTreeMap<String, Vec<String>>,
    /// Who may give a consent.
    pub given: Proxies,
}

/// What is implied, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Implied {
    /// By purpose, as written; empty for every purpose.
    policies: Vec<(String, Implicit)>,
    /// References, and the role that each has.
    roles: Vec<(String, &'static str)>,
    /// Roles of whoever asks.
    asserted: Vec<String>,
}

impl Implied {
    /// One policy for every purpose.
    pub fn everywhere(policy: Implicit) -> Implied {
        Implied { policies: vec![(String::new(), policy)], ..Implied::default() }
    }

    /// The same, where whoever asks has these roles.
    #[must_use]
    pub fn asserting(&self, roles: &[&str]) -> Implied {
        Implied { asserted: roles.iter().map(|role| (*role).to_owned()).collect(), ..self.clone() }
    }

    /// Reads what an operator says, or everything that is wrong with it.
    pub fn compile(config: &Config) -> Result<Implied, Vec<String>> {
        let mut implied = Implied::default();
        let mut mistakes = Vec::new();
        for (code, name) in &config.implicit {
            if !purpose::is_purpose(code) {
                mistakes.push(format!("implicit.{code}: the key is no purpose of use of v3-ActReason such as TREAT"));
            }
            if let Some(policy) = Implicit::named(name) {
                implied.policies.push((code.clone(), policy));
            } else {
                let known: Vec<&str> = Implicit::names().collect();
                mistakes.push(format!("implicit.{code}: one of {}", known.join(", ")));
            }
        }
        for (key, references, role) in [
            ("clinicians", &config.clinicians, CLINICIAN),
            ("break_glass", &config.break_glass, CLINICIAN_BREAK_GLASS),
            ("data_access_bodies", &config.data_access_bodies, DATA_ACCESS_BODY),
            ("broad_consent", &config.broad_consent, BROAD_RESEARCH),
        ] {
            for (index, reference) in references.iter().enumerate() {
                if reference.split_once('/').is_none_or(|(kind, id)| kind.is_empty() || id.is_empty()) {
                    mistakes.push(format!("{key}[{index}]: a reference such as Organization/clinic"));
                }
                implied.roles.push((reference.clone(), role));
            }
        }
        if mistakes.is_empty() { Ok(implied) } else { Err(mistakes) }
    }

    /// The roles that the deployment gives to whoever answers to these references.
    pub fn roles_of<'i>(&'i self, references: &'i [String]) -> impl Iterator<Item = &'i str> {
        let given = self.roles.iter().filter(|(whose, _)| references.contains(whose)).map(|(_, role)| *role);
        given.chain(self.asserted.iter().map(String::as_str))
    }

    /// The policies of the broad consent that a request stands on, where they count for whoever asks.
    pub fn package(&self, request: &Request<'_>) -> &'static [&'static str] {
        let counts = self.roles_of(&request.actor.references).any(|role| role == BROAD_RESEARCH);
        if counts { broad::package(request) } else { &[] }
    }

    /// The policy for a purpose, if there is one.
    pub fn policy(&self, purpose: &str) -> Option<Implicit> {
        let asked = Asked::new(purpose);
        let above = self.policies.iter().filter(|(code, _)| code.is_empty() || purpose::covers(code, asked));
        above.min_by_key(|(code, _)| purpose::breadth(code)).map(|(_, policy)| *policy)
    }

    /// The policy that permits what the person left unsaid, if one does. `said` is what the consents decided; without
    /// facts it is what is normally confidential, and at least some of what was not withdrawn.
    pub fn permits(
        &self,
        said: Reason,
        consents: &[Arc<Compiled>],
        request: &Request<'_>,
        patients: &[&str],
        facts: Option<&Facts<'_>>,
    ) -> Option<Implicit> {
        let policy = self.policy(request.purpose)?;
        let beside = policy.speaks_beside_consents();
        let unsaid = match said {
            Reason::NoConsent => true,
            Reason::NotCovered => beside,
            Reason::Denied | Reason::Indeterminate | Reason::Restricted => false,
        };
        let stands = || {
            let withdrawn = withdrawn(consents, request, patients, facts);
            if beside { withdrawn.this != Match::Yes } else { !withdrawn.any }
        };
        (unsaid && self.entitles(policy, request, facts) && stands()).then_some(policy)
    }

    /// Whether a policy permits it to whoever asks, of a person who has said nothing.
    fn entitles(&self, policy: Implicit, request: &Request<'_>, facts: Option<&Facts<'_>>) -> bool {
        let roles: Vec<&str> = self.roles_of(&request.actor.references).collect();
        request.action != Action::Collect && policy.permits(request, &roles, facts)
    }

    /// The first purpose for which that actor may see what is normal of a person who has said nothing.
    pub fn entitled(&self, actor: &str) -> Option<&str> {
        let actor = Actor::reference(actor);
        let mut all = self.policies.iter().map(|(code, policy)| (code.as_str(), *policy));
        let (purpose, _) = all.find(|(purpose, policy)| {
            let request = Request { action: Action::Access, actor: &actor, purpose, policies: &[], now_ms: 0 };
            self.entitles(*policy, &request, None)
        })?;
        Some(purpose)
    }

    /// Everybody who has a role.
    pub fn with_roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|(reference, _)| reference.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(implicit: &[(&str, &str)]) -> Config {
        let implicit = implicit.iter().map(|(purpose, name)| ((*purpose).to_owned(), (*name).to_owned())).collect();
        let list = |reference: &str| vec![reference.to_owned()];
        Config {
            implicit,
            clinicians: list("Organization/clinic"),
            break_glass: list("Organization/emergency"),
            data_access_bodies: list("Organization/body"),
            broad_consent: list("Organization/centre"),
            needs: BTreeMap::new(),
            given: Proxies::default(),
        }
    }

    #[test]
    fn the_nearest_purpose_decides() {
        let implied = Implied::compile(&config(&[
            ("TREAT", "Policy-basic-normal"),
            ("COC", "Policy-deny"),
            ("BTG", "Policy-break-glass-only"),
            ("PurposeOfUse", "Policy-deny"),
        ]))
        .unwrap();
        for (purpose, expected) in [
            ("TREAT", Some(Implicit::BasicNormal)),
            ("ETREAT", Some(Implicit::BasicNormal)),
            ("COC", Some(Implicit::Deny)),
            ("BTG", Some(Implicit::BreakGlassOnly)),
            ("HRESCH", Some(Implicit::Deny)),
            ("", None),
            ("urn:x|TREAT", None),
        ] {
            assert_eq!(implied.policy(purpose), expected, "{purpose}");
        }
        assert_eq!(Implied::default().policy("TREAT"), None);
    }

    #[test]
    fn everything_wrong_is_said() {
        let mut wrong = config(&[("TREATMENT", "Policy-deny"), ("TREAT", "everybody")]);
        wrong.clinicians.push("clinic".to_owned());
        let mistakes = Implied::compile(&wrong).unwrap_err();
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    }

    /// The only place that knows how a case becomes a call.
    fn check(actor: &str, action: Action, purpose: &str, label: &str, reason: Reason, expected: Option<&str>) {
        let implied = Implied::compile(&config(&[
            ("TREAT", "ehds-primary-use"),
            ("BTG", "Policy-break-glass-only"),
            ("HPAYMT", "Policy-basic-normal"),
            ("HRESCH", "ehds-secondary-use"),
            ("PUBHLTH", "ehds-secondary-use"),
        ]))
        .unwrap();
        let actor = Actor::reference(actor);
        let request = Request { action, actor: &actor, purpose, policies: &[], now_ms: 0 };
        let labels = [("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", label)];
        let facts = Facts { labels: &labels, ..Facts::unknown(&["Patient/1"]) };
        let by = implied.permits(reason, &[], &request, facts.patients, Some(&facts)).map(Implicit::name);
        assert_eq!(by, expected, "{actor:?} {action:?} {purpose} {label} {reason:?}");
    }

    #[test]
    fn an_opt_out_ends_what_the_law_permits_and_silence_does_not() {
        use Reason::{Denied, Indeterminate, NoConsent, NotCovered};
        let (primary, secondary) = (Some("ehds-primary-use"), Some("ehds-secondary-use"));
        let (clinic, body, other) = ("Organization/clinic", "Organization/body", "Organization/other");
        for action in [Action::Access, Action::Disclose] {
            check(clinic, action, "TREAT", "N", NoConsent, primary);
            // A consent about something else is no opt-out.
            check(clinic, action, "TREAT", "N", NotCovered, primary);
            check(body, action, "CLINTRCH", "N", NotCovered, secondary);
            check(body, action, "PUBHLTH", "N", NoConsent, secondary);
        }
        check(clinic, Action::Collect, "TREAT", "N", NoConsent, None);
        for reason in [Denied, Indeterminate] {
            check(clinic, Action::Access, "TREAT", "N", reason, None);
            check(body, Action::Access, "HRESCH", "N", reason, None);
        }
        check(clinic, Action::Access, "TREAT", "R", NoConsent, None);
        check(body, Action::Access, "HRESCH", "R", NoConsent, None);
        // Each for its own.
        check(clinic, Action::Access, "HRESCH", "N", NoConsent, None);
        check(body, Action::Access, "TREAT", "N", NoConsent, None);
        check(other, Action::Access, "TREAT", "N", NoConsent, None);
        check(clinic, Action::Access, "HMARKT", "N", NoConsent, None);
        check(clinic, Action::Access, "BTG", "N", NoConsent, None);
        check("Organization/emergency", Action::Access, "BTG", "R", NoConsent, Some("Policy-break-glass-only"));
        // The policies of IHE PCF are silenced by any consent.
        check(clinic, Action::Access, "TREAT", "N", NoConsent, primary);
        check("Organization/emergency", Action::Access, "BTG", "N", NotCovered, None);
        // What treatment lets see, payment does not.
        check(clinic, Action::Access, "HPAYMT", "N", NoConsent, None);
    }
}
