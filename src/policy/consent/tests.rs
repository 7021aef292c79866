//! Decisions as tables, and compiled forms as goldens.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::draft::{Draft, Permit};
use super::properties::ELEMENTS;
use super::*;
use crate::fhir::outcome::{Id, has_errors};
use crate::fhir::tree::time::Moment;
use crate::fhir::tree::{Element, json as reader};

pub(super) const NOW: &str = "2026-06-15T12:00:00Z";

pub(super) fn ms(text: &str) -> i64 {
    Moment::parse(text).unwrap().interval_assuming_utc_ms().0
}

pub(super) fn compiled(consent: &Value) -> Arc<Compiled> {
    let document = reader::parse(consent.to_string()).unwrap();
    Arc::new(compile(Element::root(&document), 1).0)
}

pub(super) fn consent(id: &str, policy: Option<&str>, provision: &Value) -> Value {
    let mut consent = json!({
        "resourceType": "Consent", "id": id, "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/1"}, "provision": provision,
    });
    if let Some(code) = policy {
        consent["policyRule"] =
            json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code}]});
    }
    consent
}

/// The one request and the one resource of these tests.
pub(super) fn decide_at(consents: &[Arc<Compiled>], now_ms: i64) -> Decision {
    let actor = Actor { references: vec!["Organization/1".into(), "Group/1".into()], ..Actor::default() };
    let request = Request { action: Action::Access, actor: &actor, purpose: "TREAT", policies: &[], now_ms };
    let facts = Facts {
        patients: &["Patient/1"],
        kind: "Observation",
        reference: "Observation/1",
        codings: &[("http://loinc.org", "8867-4")],
        labels: &[("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "N")],
        date_ms: Some((ms("2026-06-01"), ms("2026-06-02"))),
        authors: &["Device/1"],
        links: &["Patient/1", "Device/1"],
    };
    decide(consents, &request, &facts)
}

pub(super) fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Permit(_) => "permit",
        Decision::Deny(denial) => match denial.reason {
            Reason::NoConsent => "none",
            Reason::Denied => "denied",
            Reason::Indeterminate => "unclear",
            Reason::NotCovered => "not covered",
            Reason::Restricted => "restricted",
        },
    }
}

fn check(policy: Option<&str>, provision: &str, expected: &str) {
    let provision: Value = serde_json::from_str(provision).unwrap_or_else(|error| panic!("{provision}: {error}"));
    let decision = decide_at(&[compiled(&consent("c", policy, &provision))], ms(NOW));
    assert_eq!(word(&decision), expected, "{policy:?} {provision}");
}

#[test]
fn bases() {
    let permit_inside = r#"{"type":"deny","provision":[{"type":"permit"}]}"#;
    check(Some("OPTIN"), permit_inside, "permit");
    check(None, permit_inside, "permit");
    check(Some("OPTIN"), r#"{"provision":[{"type":"permit"}]}"#, "permit");
    check(Some("OPTIN"), "{}", "not covered");
    check(Some("OPTIN"), r#"{"type":"deny"}"#, "denied");
    check(Some("OPTIN"), r#"{"type":"permit"}"#, "unclear");
    check(Some("OPTOUT"), r#"{"type":"permit"}"#, "permit");
    check(Some("OPTOUT"), r#"{"type":"deny"}"#, "unclear");
    check(Some("OPTOUT"), "{}", "unclear");
    // A refusal with a condition is one, and vetoes; a general one only says what holds where nothing is said.
    let besides = r#""provision":[{"type":"permit","actor":[{"reference":{"reference":"Organization/2"}}]}]"#;
    let actor = r#""actor":[{"reference":{"reference":"Organization/1"}}]"#;
    check(Some("OPTIN"), &format!(r#"{{"type":"deny",{besides}}}"#), "not covered");
    check(Some("OPTIN"), &format!(r#"{{"type":"deny",{actor},{besides}}}"#), "denied");
    check(Some("hipaa"), r#"{"type":"permit"}"#, "permit");
    // What forbids in a way of its own contradicts a base that permits.
    check(Some("NOCOLLECT"), r#"{"type":"permit"}"#, "unclear");
    check(None, "{}", "unclear");
    check(None, r#"{"type":"Permit"}"#, "unclear");
    check(None, r#"{"type":["permit","deny"]}"#, "unclear");
}

#[test]
fn elements_of_a_permit_and_of_a_deny() {
    let here = |base: &str, type_: &str, element: &str| {
        format!(r#"{{"type":"{base}","provision":[{{"type":"{type_}",{element}}}]}}"#)
    };
    let reason = |code: &str| {
        format!(r#""purpose":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"{code}"}}]"#)
    };
    let action = |code: &str| {
        format!(
            r#""action":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/consentaction","code":"{code}"}}]}}]"#
        )
    };
    let code = |code: &str| format!(r#""code":[{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}}]"#);
    let data = |meaning: &str, reference: &str| {
        format!(r#""data":[{{"meaning":"{meaning}","reference":{{"reference":"{reference}"}}}}]"#)
    };
    let class = |code: &str| format!(r#""class":[{{"system":"http://hl7.org/fhir/resource-types","code":"{code}"}}]"#);
    // Whether a permit with the element applies, and whether a deny does.
    let cases = [
        (reason("TREAT"), true, true),
        (reason("PurposeOfUse"), true, true),
        (reason("HRESCH"), false, false),
        (reason("ETREAT"), false, true),
        (reason("NEWCODE"), false, true),
        (action("access"), true, true),
        (action("disclose"), false, false),
        (action("peek"), false, true),
        (r#""action":[{"text":"read"}]"#.into(), false, true),
        (code("8867-4"), true, true),
        (code("8480-6"), false, false),
        (r#""code":[{"coding":[{"system":"urn:oid:2.16.840.1.113883.6.1","code":"8867-4"}]}]"#.into(), true, true),
        (r#""code":[{"coding":[{"system":"http://loinc.org|2.74","code":"8867-4"}]}]"#.into(), true, true),
        (r#""code":[{"text":"heart rate"}]"#.into(), false, true),
        (r#""code":[{"coding":[{"code":"8480-6"}]}]"#.into(), false, true),
        (r#""code":[null]"#.into(), false, true),
        (class("Observation"), true, true),
        (class("Patient"), false, false),
        (r#""class":[{"system":"urn:ietf:bcp:13","code":"application/hl7-cda+xml"}]"#.into(), false, false),
        (r#""class":[{"code":"Patient"}]"#.into(), false, true),
        (r#""actor":[{"reference":{"reference":"Group/1"}}]"#.into(), true, true),
        (r#""actor":[{"reference":{"reference":"Group/2"}}]"#.into(), false, false),
        (r#""actor":[{"reference":{"display":"x"}}]"#.into(), false, true),
        (r#""period":{"end":"2026-06-15"}"#.into(), true, true),
        (r#""period":{"end":"2026-06-14"}"#.into(), false, false),
        (r#""period":{"start":"2026-06-15T12:00:00Z"}"#.into(), true, true),
        (r#""period":{"start":"then"}"#.into(), false, true),
        (r#""dataPeriod":{"start":"2026-06","end":"2026-06"}"#.into(), true, true),
        (r#""dataPeriod":{"start":"2026-06-01T12:00:00Z"}"#.into(), false, true),
        (r#""dataPeriod":{"end":"2025"}"#.into(), false, false),
        (data("instance", "Observation/1"), true, true),
        (data("instance", "Observation/2"), false, false),
        (data("authoredby", "Device/1"), true, true),
        (data("related", "Encounter/1"), false, false),
        (data("related", "Observation/1"), true, true),
        (data("dependents", "Device/1"), true, true),
        (data("unheard", "Observation/2"), false, true),
        (r#""securityLabel":[{"code":"N"}]"#.into(), false, true),
    ];
    for (element, permits, denies) in &cases {
        check(None, &here("deny", "permit", element), if *permits { "permit" } else { "denied" });
        check(None, &here("permit", "deny", element), if *denies { "denied" } else { "permit" });
    }
}

#[test]
fn every_element_is_inherited_until_overlaid() {
    for (name, [matching, other, _]) in ELEMENTS {
        let inner = |own: &str| {
            format!(
                r#"{{"type":"permit","provision":[{{"type":"permit","{name}":{other},"provision":[{{"type":"deny"{own}}}]}}]}}"#
            )
        };
        check(None, &inner(""), "permit");
        check(None, &inner(&format!(r#","{name}":{matching}"#)), "denied");
    }
}

#[test]
fn nesting() {
    let treat = r#""purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]"#;
    let research = r#""purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"HRESCH"}]"#;
    let cases = [
        // The deepest rule that fires wins, over two levels.
        (
            format!(r#"{{"type":"permit","provision":[{{"type":"deny","provision":[{{"type":"permit",{treat}}}]}}]}}"#),
            "permit",
        ),
        // Of siblings, the deny.
        (format!(r#"{{"type":"deny","provision":[{{"type":"permit"}},{{"type":"deny",{treat}}}]}}"#), "denied"),
        // A nested rule inherits what it does not state...
        (
            format!(
                r#"{{"type":"permit",{research},"provision":[{{"type":"permit","code":[{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}}]}}]}}"#
            ),
            "not covered",
        ),
        // ...and is asked where its parent does not match.
        (format!(r#"{{"type":"permit",{research},"provision":[{{"type":"permit",{treat}}}]}}"#), "permit"),
        // What the root's period excludes, no nested period brings back.
        (
            r#"{"type":"deny","period":{"end":"2026-01"},"provision":[{"type":"permit","period":{"end":"2027"}}]}"#
                .into(),
            "none",
        ),
        (r#"{"type":"permit","provision":[{}]}"#.into(), "unclear"),
        (r#"{"type":"permit","provision":[{"type":"permit","modifierExtension":[{"url":"x"}]}]}"#.into(), "unclear"),
        (r#"{"type":"permit","purpose":[]}"#.into(), "unclear"),
        (r#"{"type":"permit","period":{}}"#.into(), "unclear"),
        (r#"[{"type":"permit"},{"type":"permit"}]"#.into(), "unclear"),
        (r#""permit""#.into(), "unclear"),
    ];
    for (provision, expected) in cases {
        check(None, &provision, expected);
    }
}

#[test]
fn idle_denies_are_reported() {
    let treat = r#""purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]"#;
    let research = r#""purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"HRESCH"}]"#;
    let cases = [
        (None, format!(r#"{{"type":"deny","provision":[{{"type":"deny",{treat}}}]}}"#), true),
        (None, format!(r#"{{"type":"deny",{research},"provision":[{{"type":"deny",{treat}}}]}}"#), false),
        (None, format!(r#"{{"type":"deny","provision":[{{"type":"permit"}},{{"type":"deny",{treat}}}]}}"#), false),
        (Some("OPTIN"), format!(r#"{{"provision":[{{"type":"deny",{treat}}}]}}"#), false),
        (None, format!(r#"{{"type":"permit","provision":[{{"type":"permit",{treat}}}]}}"#), false),
    ];
    for (policy, provision, expected) in cases {
        let consent = consent("c", policy, &serde_json::from_str(&provision).unwrap());
        let document = reader::parse(consent.to_string()).unwrap();
        let (compiled, issues) = compile(Element::root(&document), 1);
        assert_eq!((has_errors(&issues), compiled.is_indeterminate()), (expected, false), "{provision}");
    }
}

#[test]
fn several_consents() {
    let permit = compiled(&consent("p", None, &json!({"type": "permit"})));
    let refusal = compiled(&consent("r", None, &json!({"type": "deny"})));
    let unclear = compiled(&consent("u", None, &json!({})));
    let draft = |actor: &str| {
        let permits = vec![Permit { actor: actor.into(), ..Permit::default() }];
        compiled(&Draft { patient: "Patient/1".into(), permits, ..Draft::default() }.consent())
    };
    let (ours, theirs) = (draft("Organization/1"), draft("Organization/2"));
    let other = compiled(&{
        let mut other = consent("o", None, &json!({"type": "deny"}));
        other["patient"]["reference"] = "Patient/2".into();
        other
    });
    let doubtful = compiled(&{
        let mut doubtful = consent("d", None, &json!({"type": "permit"}));
        doubtful["patient"]["reference"] = "https://a.example/fhir/Patient/1".into();
        doubtful
    });
    let cases: [(&[&Arc<Compiled>], &str); 9] = [
        (&[], "none"),
        (&[&permit], "permit"),
        (&[&permit, &refusal], "denied"),
        (&[&permit, &refusal, &unclear], "unclear"),
        (&[&theirs], "not covered"),
        (&[&theirs, &ours], "permit"),
        (&[&ours, &refusal], "denied"),
        (&[&permit, &other], "permit"),
        (&[&permit, &doubtful], "unclear"),
    ];
    for (consents, expected) in cases {
        let mut consents: Vec<_> = consents.iter().map(|consent| Arc::clone(consent)).collect();
        assert_eq!(word(&decide_at(&consents, ms(NOW))), expected, "{consents:?}");
        consents.reverse();
        assert_eq!(word(&decide_at(&consents, ms(NOW))), expected, "{consents:?} reversed");
    }
}

#[test]
fn scope_status_and_policy_decide_who_has_a_say() {
    let with = |name: &str, value: Value| {
        let mut consent = consent("c", None, &json!({"type": "permit"}));
        consent[name] = value;
        consent
    };
    let coded = |system: &str, codes: &[&str]| {
        let system = format!("http://terminology.hl7.org/CodeSystem/{system}");
        json!({"coding": codes.iter().map(|code| json!({"system": system, "code": code})).collect::<Vec<_>>()})
    };
    let cases = [
        (with("scope", coded("consentscope", &["patient-privacy"])), "permit"),
        (with("scope", coded("consentscope", &["research"])), "none"),
        (with("scope", coded("consentscope", &["research", "patient-privacy"])), "permit"),
        (with("scope", coded("consentscope", &["unheard"])), "unclear"),
        (with("scope", json!({"text": "privacy"})), "unclear"),
        (with("status", "inactive".into()), "none"),
        (with("status", "unheard".into()), "unclear"),
        (with("policyRule", coded("v3-ActCode", &["OPTOUT"])), "permit"),
        (with("policyRule", coded("v3-ActCode", &["OPTIN", "OPTOUT"])), "unclear"),
        (with("modifierExtension", json!([{"url": "x"}])), "unclear"),
        (with("extension", json!([{"url": "x"}])), "permit"),
    ];
    for (consent, expected) in cases {
        assert_eq!(word(&decide_at(&[compiled(&consent)], ms(NOW))), expected, "{consent}");
    }
}

#[test]
fn of_another_scope_only_refusals_are_heard() {
    let permit = json!({"type": "permit"});
    let deny = |more: Value| {
        let mut deny = json!({"type": "deny"});
        deny.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        deny
    };
    let purpose = |code: &str| json!({"purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": code}]});
    let of = |scope: &str, rule: Option<&str>, provision: &Value| {
        let mut consent = consent("z", rule, provision);
        consent["scope"]["coding"][0]["code"] = json!(scope);
        consent
    };
    let bare = deny(json!({}));
    let other = deny(json!({"actor": [{"reference": {"reference": "Organization/2"}}]}));
    let but_for =
        deny(json!({"provision": [{"type": "permit", "actor": [{"reference": {"reference": "Organization/1"}}]}]}));
    let mut unclear = of("research", None, &bare);
    unclear["implicitRules"] = json!("urn:x");
    let mut silent = of("research", Some("OPTIN"), &permit);
    silent["implicitRules"] = json!("urn:x");
    // What each decides beside a permission of everything, for treatment, for research and for marketing.
    let cases = [
        ("permits nothing and refuses nothing", of("research", None, &permit), "permit permit permit"),
        ("a default", of("research", Some("OPTIN"), &json!({"provision": [permit]})), "permit permit permit"),
        ("a refusal of research", of("research", None, &bare), "permit denied permit"),
        ("of somebody else's", of("research", None, &other), "permit permit permit"),
        ("but for whoever asks", of("research", None, &but_for), "permit permit permit"),
        ("a purpose beside", of("research", None, &deny(purpose("HMARKT"))), "permit permit denied"),
        ("of treatment", of("research", None, &deny(purpose("TREAT"))), "denied permit permit"),
        ("a treatment", of("treatment", None, &bare), "permit permit permit"),
        ("with a purpose", of("treatment", None, &deny(purpose("HRESCH"))), "permit denied permit"),
        ("an advance directive", of("adr", None, &bare), "permit permit permit"),
        ("nobody knows what", unclear, "permit unclear permit"),
        ("nobody knows what, refusing nothing", silent, "permit permit permit"),
    ];
    let all = compiled(&consent("a", None, &permit));
    let actor = Actor::reference("Organization/1");
    for (name, other, expected) in cases {
        let consents = [Arc::clone(&all), compiled(&other)];
        let patient = other["patient"]["reference"].as_str().unwrap();
        let told = ["TREAT", "HRESCH", "HMARKT"].map(|purpose| {
            let request = Request { action: Action::Access, actor: &actor, purpose, policies: &[], now_ms: ms(NOW) };
            let decision = decide(&consents, &request, &Facts::unknown(&[patient]));
            let (outlook, _) = outlook(&consents, &request, &[patient], false);
            assert_eq!(decision.is_permit(), outlook == Outlook::Permit, "{name} for {purpose}: {outlook:?}");
            let alone = decide(&consents[1..], &request, &Facts::unknown(&[patient]));
            assert!(!alone.is_permit(), "{name} for {purpose}, alone");
            word(&decision).to_owned()
        });
        assert_eq!(told.join(" "), expected, "{name}");
    }
}

#[test]
fn basis_and_issue_name_the_rule() {
    let provision = json!({"type": "deny", "period": {"end": "2026"}, "provision": [
        {"type": "permit", "actor": [{"reference": {"reference": "Organization/1"}}]},
        {"type": "deny", "period": {"start": "2026-07"}},
    ]});
    let consents = [compiled(&consent("c", None, &provision))];
    let Decision::Permit(basis) = decide_at(&consents, ms(NOW)) else { panic!("permitted") };
    assert_eq!((basis.by_consent(), basis.rule()), (Some(("c", 1)), "Consent.provision.provision[0]"));
    assert_eq!(basis.valid_until_ms(), Some(ms("2026-07-01")));
    let Decision::Deny(denial) = decide_at(&consents, ms("2026-07-01")) else { panic!("denied") };
    let issue = denial.issue();
    assert_eq!(issue.id, Id::ConsentDenied);
    assert_eq!(
        issue.text,
        "A consent of the person refuses this (Consent/c version 1, Consent.provision.provision[1])."
    );
    for (consents, id) in [(vec![], Id::ConsentMissing), (vec![compiled(&json!({}))], Id::ConsentUnclear)] {
        let Decision::Deny(denial) = decide_at(&consents, ms(NOW)) else { panic!("denied") };
        assert_eq!(denial.issue().id, id);
    }
}

#[test]
fn drafts_are_valid_and_end_on_time() {
    let draft = Draft {
        patient: "Patient/1".into(),
        made_ms: ms("2026-01-01"),
        permits: vec![Permit {
            actor: "Organization/1".into(),
            actions: vec![Action::Access, Action::Collect],
            purposes: vec!["TREAT".into()],
            codings: vec![("http://loinc.org".into(), "8867-4".into())],
            period_ms: (Some(ms("2026-06-01")), None),
        }],
        until_ms: Some(ms("2026-12-01")),
    };
    let consent = draft.consent();
    let document = reader::parse(consent.to_string()).unwrap();
    let (compiled, issues) = compile(Element::root(&document), 1);
    assert_eq!(issues, []);
    let consents = [Arc::new(compiled)];
    for (now, expected) in [
        (ms("2026-06-01") - 1, "not covered"),
        (ms("2026-06-01"), "permit"),
        (ms("2026-12-01") - 1, "permit"),
        (ms("2026-12-01"), "none"),
    ] {
        assert_eq!(word(&decide_at(&consents, now)), expected, "{now}");
    }
    let empty = Draft { patient: "Patient/1".into(), ..Draft::default() }.consent();
    assert_eq!(empty["provision"], json!({"type": "deny"}));
}

#[test]
fn proof_carries_value_and_basis() {
    let consents = [compiled(&consent("c", None, &json!({"type": "permit"})))];
    let actor = Actor::default();
    let request = Request { action: Action::Collect, actor: &actor, purpose: "", policies: &[], now_ms: 0 };
    let facts = Facts {
        patients: &["Patient/1"],
        kind: "Observation",
        reference: "Observation/1",
        codings: &[],
        labels: &[],
        date_ms: None,
        authors: &[],
        links: &[],
    };
    let permitted = permit(&consents, &Implied::default(), &request, &facts, std::iter::once(facts), 7).unwrap();
    assert_eq!((*permitted.get(), permitted.basis().rule()), (7, "Consent.provision"));
    assert_eq!(permitted.into_inner(), 7);
    let stranger = Facts { patients: &["Patient/2"], ..facts };
    assert_eq!(
        permit(&consents, &Implied::default(), &request, &stranger, std::iter::once(stranger), 7).unwrap_err().reason,
        Reason::NoConsent
    );
    let nobody = Facts { patients: &[], ..facts };
    assert_eq!(
        permit(&consents, &Implied::default(), &request, &nobody, std::iter::once(nobody), 7).unwrap_err().reason,
        Reason::Indeterminate
    );
}

/// `BLESS=1` rewrites the goldens; a print whose Consent is gone fails.
#[test]
fn goldens() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/policy/consent/goldens");
    let mut stems = [BTreeSet::new(), BTreeSet::new()];
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let print = path.extension().is_some_and(|extension| extension == "txt");
        stems[usize::from(print)].insert(path.file_stem().unwrap().to_owned());
    }
    for stem in &stems[0] {
        let path = folder.join(stem);
        let document = reader::parse(std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let (compiled, issues) = compile(Element::root(&document), 1);
        let mut found = compiled.to_string();
        for issue in &issues {
            let (severity, position) = (issue.severity.code(), issue.position);
            let (line, column) = (position.line, position.column);
            writeln!(found, "{severity} {} {line}:{column} {}: {}", issue.id, issue.expression, issue.text).unwrap();
        }
        let reachable = matches!(compiled.status(), Status::Active);
        assert_eq!(compiled.is_indeterminate() && reachable, has_errors(&issues) && *stem != *"idle", "{stem:?}");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path.with_extension("txt"), &found).unwrap();
        }
        let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        assert_eq!(found, expected, "{stem:?}: BLESS=1 accepts the new print");
    }
    let orphans: Vec<_> = stems[1].difference(&stems[0]).collect();
    assert!(orphans.is_empty(), "prints without a Consent: {orphans:?}");
}

#[test]
fn what_nobody_verified_permits_nothing_and_refuses_all_the_same() {
    let day = |doubt: &str, settled: &str| {
        json!([
            {"verified": false, "verificationDate": doubt},
            {"verified": true, "verificationDate": settled},
        ])
    };
    let cases: Vec<(&str, &str, Value, bool)> = vec![
        ("no word of it", "verification", Value::Null, true),
        ("verified", "verification", json!([{"verified": true}]), true),
        ("not verified", "verification", json!([{"verified": false}]), false),
        ("verified later", "verification", day("2026-01-01", "2026-02-01"), true),
        ("doubted later", "verification", day("2026-02-01", "2026-01-01"), false),
        ("verified in the time of the doubt", "verification", day("2026", "2026-02"), false),
        ("verified at a time to come", "verification", day("2026-01-01", "2027-01-01"), false),
        ("without dates", "verification", json!([{"verified": true}, {"verified": false}]), false),
    ];
    for (name, member, value, permits) in cases {
        for (effect, policy) in [("permit", None), ("deny", None)] {
            let mut consent = consent("1", policy, &json!({"type": effect}));
            consent[member] = value.clone();
            if value.is_null() {
                consent.as_object_mut().unwrap().remove(member);
            }
            let compiled = compiled(&consent);
            let decision = decide_at(&[compiled], ms(NOW));
            match (&decision, effect) {
                (Decision::Permit(_), "permit") => assert!(permits, "{name}"),
                (Decision::Deny(denial), "permit") => {
                    assert!(!permits && denial.reason == Reason::NotCovered, "{name}: {denial:?}");
                }
                (Decision::Deny(denial), _) => assert_eq!(denial.reason, Reason::Denied, "{name}"),
                (Decision::Permit(_), _) => panic!("{name}: a refusal permits"),
            }
        }
    }
}

/// Whose default it is that nothing is said to be permitted, is no reason for whoever it does not speak of.
#[test]
fn what_nothing_covers_is_explained_by_who_speaks_of_it_or_by_nobody() {
    let to = |id: &str, actor: &str, code: &str| {
        let permit = json!({
            "type": "permit", "actor": [{"reference": {"reference": actor}}],
            "code": [{"coding": [{"system": "http://loinc.org", "code": code}]}],
        });
        compiled(&consent(id, Some("OPTIN"), &json!({"type": "deny", "provision": [permit]})))
    };
    let (others, ours) = (to("a", "Organization/2", "8867-4"), to("b", "Organization/1", "29463-7"));
    for (consents, expected) in [
        (vec![others.clone()], Some(("a", 1))),
        (vec![others.clone(), to("c", "Organization/2", "8867-4")], None),
        (vec![others.clone(), ours.clone()], Some(("b", 1))),
        (vec![ours.clone(), others], Some(("b", 1))),
        (vec![to("d", "Organization/1", "29463-7"), ours], Some(("b", 1))),
    ] {
        let Decision::Deny(denial) = decide_at(&consents, ms(NOW)) else { panic!("it is permitted") };
        assert_eq!(denial.reason, Reason::NotCovered);
        assert_eq!(denial.basis.as_ref().and_then(Basis::by_consent), expected);
    }
}
