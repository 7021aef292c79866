//! The German broad consent (module Consent of the Medical Informatics Initiative): one consent to research, whose provisions
//! name policies by code instead of purposes, actions and data.
//!
//! A use stands on several policies, and one consent must permit all of them: half a consent here and half there are none.
//! What any consent denies is denied. That data may be collected is said for when the data came to be, every other policy for
//! when it is used; a policy about earlier data lets the collection begin at any time. Such a consent has no say but where
//! somebody asks under its policies, so that it neither permits nor refuses anything else.

use super::action::Action;
use super::coding::Coding;
use super::purpose::{Asked, covers};
use super::request::Request;

/// Where the policies are codes.
pub const SYSTEM: &str = "urn:oid:2.16.840.1.113883.3.1937.777.24.5.3";

/// Medical data: collect it, use it for science, and keep what was collected earlier.
const COLLECT: &str = "2.16.840.1.113883.3.1937.777.24.5.3.6";
const USE: &str = "2.16.840.1.113883.3.1937.777.24.5.3.8";
const COLLECTED_EARLIER: &str = "2.16.840.1.113883.3.1937.777.24.5.3.45";

/// What research on medical data stands on.
const RESEARCH: [&str; 2] = [COLLECT, USE];

/// The policies that a request for research stands on.
pub(super) fn package(request: &Request<'_>) -> &'static [&'static str] {
    let is_use = request.action != Action::Collect;
    if is_use && covers("HRESCH", Asked::new(request.purpose)) { &RESEARCH } else { &[] }
}

/// Whether the period of a rule about that policy is one of the data.
pub(super) fn is_about_data(policy: &str) -> bool {
    policy == COLLECT
}

/// Whether a rule of these codes is about when data was collected, and one of these extends it to earlier data.
pub(super) fn collects(codes: &[Coding]) -> bool {
    codes.iter().any(|code| code.is(SYSTEM, COLLECT))
}

pub(super) fn reaches_back(codes: &[Coding]) -> bool {
    codes.iter().any(|code| code.is(SYSTEM, COLLECTED_EARLIER))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::consent::tests::{NOW, compiled, consent, ms, word};
    use crate::policy::consent::{Actor, Facts, Outlook, decide, outlook};

    const COLLECTED: (i64, i64) = (1_760_000_000_000, 1_760_000_000_001);

    fn provision(effect: &str, codes: &[&str], period: (&str, &str)) -> Value {
        let codings = codes.iter().map(|code| json!({"coding": [{"system": SYSTEM, "code": code}]}));
        let mut period_value = json!({});
        for (name, bound) in [("start", period.0), ("end", period.1)] {
            if !bound.is_empty() {
                period_value[name] = json!(bound);
            }
        }
        json!({"type": effect, "period": period_value, "code": codings.collect::<Vec<_>>()})
    }

    fn broad(id: &str, provisions: &[Value]) -> Value {
        let mut body = consent(id, None, &json!({"type": "deny", "provision": provisions}));
        body["scope"]["coding"][0]["code"] = json!("research");
        body["policy"] = json!([{"uri": "urn:oid:2.16.840.1.113883.3.1937.777.24.2.1790"}]);
        body
    }

    /// What these consents say to research on data of that time.
    fn answered(consents: &[Value], policies: &[&str], date_ms: Option<(i64, i64)>) -> (&'static str, Outlook) {
        let consents: Vec<_> = consents.iter().map(compiled).collect();
        let actor = Actor::reference("Organization/1");
        let request = Request { action: Action::Access, actor: &actor, purpose: "HRESCH", policies, now_ms: ms(NOW) };
        let codings = [("http://loinc.org", "8867-4")];
        let facts = Facts { codings: &codings, date_ms, kind: "Observation", ..Facts::unknown(&["Patient/1"]) };
        (word(&decide(&consents, &request, &facts)), outlook(&consents, &request, &["Patient/1"], false).0)
    }

    #[track_caller]
    fn check(name: &str, consents: &[Value], expected: &str) {
        assert_eq!(answered(consents, &RESEARCH, Some(COLLECTED)).0, expected, "{name}");
    }

    #[test]
    fn one_consent_permits_the_whole_package_and_any_denies_a_part() {
        let thirty = ("2025-01-01", "2055-01-01");
        let both = || vec![provision("permit", &[COLLECT], thirty), provision("permit", &[USE], thirty)];
        let whole = broad("whole", &both());
        check("whole", std::slice::from_ref(&whole), "permit");
        check("in one provision", &[broad("c", &[provision("permit", &[COLLECT, USE], thirty)])], "permit");
        check("none", &[], "none");
        let halves = [broad("a", &both()[..1]), broad("b", &both()[1..])];
        check("two halves", &halves, "not covered");
        check("a half beside the whole", &[whole.clone(), halves[0].clone()], "permit");
        for denied in [COLLECT, USE] {
            let refusal = broad("no", &[provision("deny", &[denied], ("2025-02-01", ""))]);
            check("a part denied", &[whole.clone(), refusal.clone()], "denied");
            check("in any order", &[refusal, whole.clone()], "denied");
        }
        let unrelated = broad("other", &[provision("deny", &["2.16.840.1.113883.3.1937.777.24.5.3.20"], thirty)]);
        check("another policy denied", &[whole.clone(), unrelated], "permit");
        let mut withdrawn = whole;
        withdrawn["status"] = json!("inactive");
        check("withdrawn", &[withdrawn], "none");
    }

    #[test]
    fn collecting_is_about_the_data_and_using_about_the_present() {
        let thirty = ("2025-01-01", "2055-01-01");
        let with = |collect: (&str, &str), used: (&str, &str)| {
            [broad("c", &[provision("permit", &[COLLECT], collect), provision("permit", &[USE], used)])]
        };
        check("collected in time", &with(("2025-01-01", "2026-01-01"), thirty), "permit");
        check("collected before", &with(("2026-01-01", "2030-01-01"), thirty), "not covered");
        check("no longer used", &with(thirty, ("2025-01-01", "2026-01-01")), "not covered");
        let early = [provision("permit", &[COLLECTED_EARLIER], thirty)];
        let late = provision("permit", &[COLLECT], ("2026-01-01", "2030-01-01"));
        let used = provision("permit", &[USE], thirty);
        check("earlier data too", &[broad("c", &[late.clone(), used.clone(), early[0].clone()])], "permit");
        check("said elsewhere", &[broad("c", &[late, used]), broad("d", &early)], "not covered");
        let denied = provision("deny", &[COLLECT], ("2025-10-01", "2025-11-01"));
        let whole = with(thirty, thirty);
        check("a month taken out", &[whole[0].clone(), broad("d", &[denied])], "denied");
        assert_eq!(answered(&whole, &RESEARCH, None).0, "not covered", "of no known time");
    }

    #[test]
    fn it_has_no_say_but_under_its_policies() {
        let thirty = ("2025-01-01", "2055-01-01");
        let whole = broad("c", &[provision("permit", &[COLLECT, USE], thirty)]);
        assert_eq!(answered(std::slice::from_ref(&whole), &[], Some(COLLECTED)), ("none", Outlook::Deny));
        let private = consent("p", Some("OPTIN"), &json!({"type": "deny", "provision": [{"type": "permit"}]}));
        assert_eq!(answered(&[whole.clone(), private.clone()], &[], Some(COLLECTED)), ("permit", Outlook::Permit));
        assert_eq!(answered(&[whole], &RESEARCH, Some(COLLECTED)).1, Outlook::Partial);
        // Under its policies a consent to everything counts as well.
        assert_eq!(answered(&[private], &RESEARCH, Some(COLLECTED)).0, "permit");
    }
}
