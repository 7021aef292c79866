//! The suites that the engine passes, asked through the simulation: with the facts that the gateway itself reads from a
//! resource, and the implicit policies, which the engine alone does not know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::Value;

use super::*;
use crate::fhir::ours::CATEGORY_SYSTEM;
use crate::fhir::outcome::Id;
use crate::fhir::tree::{Document, json as tree};
use crate::policy::consent::draft::{Draft, Permit};
use crate::policy::consent::{Action, Implicit};

fn read(path: &str) -> String {
    let suites = std::env::var_os("MHEALTH_SUITES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/suites"), PathBuf::from);
    let path = suites.join("consent").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}: set MHEALTH_SUITES", path.display()))
}

fn answer(case: &Value, consents: &[String], resources: &[String]) -> Value {
    let parsed = |texts: &[String]| texts.iter().map(|text| tree::parse(text.as_str()).unwrap()).collect::<Vec<_>>();
    let (consents, resources) = (parsed(consents), parsed(resources));
    let asked = asked(&case["request"].to_string()).unwrap();
    let implicit = case["implicit_policy"].as_str().map(|url| Implied::everywhere(Implicit::named(url).unwrap()));
    let implied = implicit.unwrap_or_default();
    let now_ms = moment_ms(case["now"].as_str().unwrap()).unwrap();
    let (consents, resources) = (roots(&consents), roots(&resources));
    simulate(&Simulation { consents: &consents, resources: &resources, implied: &implied, ..plain(&asked, now_ms) })
        .unwrap()
}

fn roots(documents: &[Document]) -> Vec<Element<'_>> {
    documents.iter().map(Element::root).collect()
}

fn plain(asked: &Asked, now_ms: i64) -> Simulation<'_> {
    let (base, recipients) = ("", None);
    static NOTHING: LazyLock<Implied> = LazyLock::new(Implied::default);
    Simulation {
        consents: &[],
        stored: &[],
        resources: &[],
        asked,
        now_ms,
        implied: &NOTHING,
        base,
        recipients,
        restricted: false,
        registry: None,
    }
}

#[test]
fn ihe_pcf_decides_the_same() {
    let cases: Value = serde_json::from_str(&read("ihe-pcf/cases.json")).unwrap();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut file = |path: String| files.entry(path.clone()).or_insert_with(|| read(&format!("ihe-pcf/{path}"))).clone();
    let (mut decisions, mut wrong) = (0, Vec::new());
    for case in cases.as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let consents: Vec<String> =
            case["consents"].as_array().unwrap().iter().map(|path| file(path.as_str().unwrap().to_owned())).collect();
        // Before any resource is known, a permit may depend on it.
        let at_all = answer(case, &consents, &[]);
        let permits = at_all["decision"] != "deny";
        if permits != (case["expected"]["request"] == "permit") {
            wrong.push(format!("{id}: {}", at_all["decision"]));
        }
        decisions += 1;
        let Some(expected) = case["expected"]["resources"].as_object() else { continue };
        let resources: Vec<String> = expected
            .keys()
            .map(|reference| file(format!("resources/{}.json", reference.trim_start_matches("Observation/"))))
            .collect();
        let found = answer(case, &consents, &resources);
        for resource in found["resources"].as_array().unwrap() {
            let reference = resource["resource"].as_str().unwrap();
            decisions += 1;
            if resource["decision"] != expected[reference] {
                wrong.push(format!("{id} {reference}: {} {}", resource["decision"], resource["path"]));
            }
            assert!(resource["reason"].is_string());
        }
        let (permitted, all) = (expected.values().filter(|value| *value == "permit").count(), expected.len());
        let whole = if permitted == 0 {
            "deny"
        } else if permitted == all {
            "permit"
        } else {
            "partial"
        };
        if found["decision"] != whole {
            wrong.push(format!("{id}: {}", found["decision"]));
        }
    }
    assert!(decisions >= 4000, "the suite has shrunk: {decisions}");
    assert!(wrong.is_empty(), "{} of {decisions}: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

#[test]
fn what_other_engines_let_through_is_withheld_here() {
    let cases: Value = serde_json::from_str(&read("wild-fail-open/cases.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let consents: Vec<String> = case["consents"].as_array().unwrap().iter().map(Value::to_string).collect();
        let found = answer(case, &consents, &[]);
        let reason = match (found["decision"].as_str().unwrap(), found["reason"].as_str().unwrap()) {
            ("permit", _) => "permit",
            (_, "no-consent") => "no-consent",
            (_, "indeterminate") => "indeterminate-deny",
            _ => "deny",
        };
        assert_eq!(case["expected"], reason, "{}: {found}", case["id"]);
    }
}

#[test]
fn the_residual_names_rules_and_what_they_ask_of_a_resource() {
    let consent = r#"{"resourceType":"Consent","id":"c","status":"active","dateTime":"2026-01-01",
        "meta":{"versionId":"3"},
        "scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
        "category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/p"},
        "policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},
        "provision":{"type":"deny","provision":[{"type":"permit","actor":[{"role":{"coding":[
        {"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},
        "reference":{"reference":"Organization/a"}}],
        "code":[{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}]}]}}"#;
    let case = |actor: &str, now: &str| json!({"request": {"patient": "Patient/p", "actors": [actor], "purpose": "TREAT"}, "now": now});
    let consents = [consent.to_owned()];
    let found = answer(&case("Organization/a", "2026-05-04T08:00:00Z"), &consents, &[]);
    assert_eq!(
        (found["decision"].as_str(), found["reason"].as_str()),
        (Some("partial"), Some("depends-on-the-resource"))
    );
    let residual = &found["residual"][0];
    assert_eq!(residual["path"], "Consent.provision.provision[0]");
    assert!(residual["conditions"].as_str().unwrap().contains("8867-4"), "{residual}");
    assert_eq!((residual["type"].as_str(), residual["version"].as_u64()), (Some("permit"), Some(3)));
    let other = answer(&case("Organization/b", "2026-05-04T08:00:00Z"), &consents, &[]);
    assert_eq!((other["decision"].as_str(), other["reason"].as_str()), (Some("deny"), Some("not-covered")));
    // What it would do is told before it is given.
    let heart = r#"{"resourceType":"Observation","id":"o","status":"final","subject":{"reference":"Patient/p"},
        "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}}"#;
    let heart = [heart.to_owned()];
    for (now, ahead) in [("2026-05-04T08:00:00Z", Value::Null), ("2025-05-04T08:00:00Z", json!(["Consent/c"]))] {
        let found = answer(&case("Organization/a", now), &consents, &heart);
        assert_eq!(found["resources"][0]["decision"], "permit", "{now}");
        assert_eq!((&found["decision"], &found["notYetGiven"]), (&json!("permit"), &ahead), "{now}");
    }
}

#[test]
fn a_question_that_means_nothing_is_refused() {
    for (text, expected) in [
        ("[]", "object"),
        (r#"["Patient/p", ["Organization/a"]]"#, "object"),
        (r#"{"patients": []}"#, "The request has no member patients; it may have patient, actors,"),
        (r#"{"actors": 7}"#, "actors is a text."),
        (r#"{"actors": ["Organization/a", ["b"]]}"#, "actors[1] is a text."),
        (r#"{"actor_identifiers": [["urn:a", "1"]]}"#, "actor_identifiers[0] is an object with system and value."),
        (r#"{"actor_identifiers": {"system": "urn:a", "value": "1"}}"#, "actor_identifiers is a list."),
        (r#"{"purpose": [["urn:a", "TREAT"]]}"#, "purpose[0] is a code, or an object with system and code."),
        (r#"{"role": {"code": "a"}}"#, "role is an object with system and code."),
        (r#"{"codes": [{"system": "urn:a", "code": 7}]}"#, "codes[0].code is a text."),
        (r#"{"resource": []}"#, "resource is a resource, an object."),
        (r#"{"restricted": "true"}"#, "restricted is true or false."),
        (r#"{"identity": "hidden"}"#, "identity is \"kept\" or \"pseudonym\"."),
    ] {
        let text_of_issue = asked(text).unwrap_err().text;
        assert!(text_of_issue.contains(expected), "{text}: {text_of_issue}");
    }
    for (text, id) in [("{", Id::JsonSyntax), (r#"{"action": "access", "action": "collect"}"#, Id::JsonDuplicateKey)] {
        assert_eq!(asked(text).unwrap_err().id, id, "{text}");
    }
    let asked = asked(r#"{"action": "sell"}"#).unwrap();
    assert_eq!(simulate(&plain(&asked, 0)).unwrap_err().id, Id::OperationParameter);
}

#[test]
fn each_consent_says_why_it_said_nothing() {
    let draft = |id: &str, actor: &str, until_ms: Option<i64>| {
        let permit = Permit { actor: actor.to_owned(), purposes: vec!["TREAT".to_owned()], ..Permit::default() };
        let made_ms = 1_700_000_000_000;
        let draft = Draft { patient: "Patient/p".to_owned(), made_ms, permits: vec![permit], until_ms };
        let mut consent = draft.consent();
        consent["id"] = json!(id);
        consent.to_string()
    };
    let consents = [
        draft("other", "Organization/b", None),
        draft("ended", "Organization/a", Some(1_750_000_000_000)),
        draft("mine", "Organization/a", None),
    ];
    let case = |purpose: &str| json!({"request": {"patient": "Patient/p", "actors": ["Organization/a"], "purpose": purpose}, "now": "2026-05-04T08:00:00Z"});
    let heart = [r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/p"}}"#.to_owned()];
    for resources in [&[][..], &heart[..]] {
        for (purpose, expected) in [
            ("TREAT", ["nothing actor", "nothing period", "permits "]),
            ("HRESCH", ["nothing actor purpose", "nothing period", "nothing purpose"]),
        ] {
            let found = answer(&case(purpose), &consents, resources);
            let told = if resources.is_empty() { &found } else { &found["resources"][0] };
            let said: Vec<String> = told["consents"]
                .as_array()
                .unwrap()
                .iter()
                .map(|said| {
                    let unmet: Vec<&str> = said["unmet"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                    format!("{} {}", said["says"].as_str().unwrap(), unmet.join(" "))
                })
                .collect();
            assert_eq!(said, expected, "{purpose}: {found:#}");
        }
    }
}

/// What a restriction leaves, and what somebody gets who may not learn whose it is.
#[test]
fn a_restriction_and_a_pseudonym_are_told() {
    let draft = Draft {
        patient: "Patient/p1".to_owned(),
        made_ms: 0,
        permits: vec![Permit {
            actor: "Organization/north".to_owned(),
            actions: vec![Action::Collect, Action::Disclose],
            purposes: Vec::new(),
            codings: Vec::new(),
            period_ms: (None, None),
        }],
        until_ms: None,
    };
    let consent = tree::parse(draft.consent().to_string()).unwrap();
    let measured = |more: &str| {
        let text = format!(
            r#"{{"resourceType":"Observation","id":"o1","status":"final","subject":{{"reference":"Patient/p1"}},
            "effectiveDateTime":"2026-01-15T08:30:00Z","code":{{"coding":[{{"system":"http://loinc.org","code":"8867-4"}}]}},"note":[{{"text":"Jane"}}],
            "valueQuantity":{{"value":70,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}{more}}}"#
        );
        tree::parse(text).unwrap()
    };
    let resources = [measured(""), measured(r#","focus":[{"reference":"Patient/p2"}]"#)];
    let (consents, resources) = (roots(std::slice::from_ref(&consent)), roots(&resources));
    let registry = Registry::with_packages(crate::guide::packages());
    let told = |more: &str, resources: &[Element<'_>]| {
        let request = format!(r#"{{"actors":"Organization/north","purpose":"TREAT",{more}}}"#);
        let asked = asked(&request).unwrap();
        let registry = Some(&*registry);
        simulate(&Simulation { consents: &consents, resources, registry, ..plain(&asked, 1) }).unwrap()
    };
    for (more, resources, expected) in [
        (r#""action":"disclose""#, &resources[..1], ("permit", "permitted")),
        (r#""action":"disclose","restricted":true"#, &resources[..1], ("deny", "restricted")),
        (r#""action":"disclose","restricted":true"#, &[], ("deny", "restricted")),
        (r#""action":"access","restricted":true"#, &[], ("deny", "restricted")),
        (r#""action":"collect","restricted":true"#, &resources[..1], ("permit", "permitted")),
        (r#""action":"disclose","identity":"pseudonym""#, &resources[1..], ("deny", "identity-inseparable")),
        (r#""action":"disclose","identity":"pseudonym""#, &resources[..], ("partial", "depends-on-the-resource")),
    ] {
        let answer = told(more, resources);
        assert_eq!(
            (answer["decision"].as_str(), answer["reason"].as_str()),
            (Some(expected.0), Some(expected.1)),
            "{more}"
        );
    }
    let answer = told(r#""action":"disclose","identity":"pseudonym""#, &resources);
    let sent = &answer["resources"][0]["sent"];
    assert_eq!((&sent["id"], &sent["valueQuantity"]["value"]), (&json!("name-of-its-own"), &json!(70)));
    assert!(!sent.to_string().contains("Jane") && !sent.to_string().contains("p1"), "{sent}");
    assert!(answer["resources"][1]["sent"].is_null());
}

/// What a write of a consent would be refused for is told with what the engine makes of it all the same.
#[test]
fn what_is_wrong_with_a_consent_is_told_beside_the_decision() {
    let text = r#"{"resourceType":"Consent","id":"c","status":"active","patient":{"reference":"Patient/p"},
        "scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},
        "policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}]},
        "provision":{"type":"deny","provision":[{"type":"permit",PERIOD
            "actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Organization/a"}}],
            "code":[{"coding":[{"system":"SYSTEM","code":"heart-rate"}]},{"coding":[{"system":"SYSTEM","code":"CODE"}]}]}]}}"#;
    let request =
        json!({"request": {"patient": "Patient/p", "actors": "Organization/a"}, "now": "2026-05-04T08:00:00Z"});
    let heart = r#"{"resourceType":"Observation","id":"o","status":"final","subject":{"reference":"Patient/p"},
        "code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}}"#;
    let over = r#""period":{"end":"2026-01-01"},"#;
    for (period, code, decision, wrong) in [
        ("", "weight", "permit", None),
        ("", "wieght", "permit", Some("Consent.provision.provision[0].code[1]")),
        (over, "weight", "deny", Some("Consent.provision.provision[0].period")),
    ] {
        let text = text.replace("PERIOD", period).replace("CODE", code).replace("SYSTEM", CATEGORY_SYSTEM);
        let found = answer(&request, &[text], &[heart.to_owned()]);
        assert_eq!(found["decision"], decision, "{found}");
        let lint = found["lint"]["issue"].as_array().into_iter().flatten().next();
        assert_eq!(lint.and_then(|issue| issue["expression"][0].as_str()), wrong, "{found}");
    }
}

/// A measurement is of its category by whichever name its code system goes, and of none that its sender claims.
#[test]
fn no_name_of_a_system_escapes_a_category() {
    let consent = |root: &str, rule: &str, category: &str| {
        format!(
            r#"{{"resourceType":"Consent","id":"c","status":"active","patient":{{"reference":"Patient/p"}},
            "scope":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}}]}},
            "provision":{{"type":"{root}","provision":[{{"type":"{rule}",
            "code":[{{"coding":[{{"system":"{CATEGORY_SYSTEM}","code":"{category}"}}]}}]}}]}}}}"#
        )
    };
    let (all_but, nothing_but) = (consent("permit", "deny", "heart-rate"), consent("deny", "permit", "heart-rate"));
    let request =
        json!({"request": {"patient": "Patient/p", "actors": "Organization/a"}, "now": "2026-05-04T08:00:00Z"});
    let oid = "urn:oid:2.16.840.1.113883.6.1";
    let claimed = format!("{CATEGORY_SYSTEM}|1");
    let (denied, permitted, unknown) = (("deny", "permit"), ("permit", "deny"), ("deny", "deny"));
    for (codings, expected) in [
        (vec![("http://loinc.org", "8867-4")], denied),
        (vec![(oid, "8867-4")], denied),
        (vec![("http://loinc.org|2.70", "8867-4")], denied),
        (vec![("urn:oid:2.16.840.1.113883.6.96", "364075005")], denied),
        (vec![("urn:oid:2.16.840.1.113883.6.24", "149530")], denied),
        // What is translated otherwise is still what LOINC says.
        (vec![("urn:x", "pulse"), (oid, "8867-4")], denied),
        (vec![(oid, "29463-7")], permitted),
        (vec![(&*claimed, "heart-rate"), (oid, "29463-7")], permitted),
        (vec![(&*claimed, "heart-rate")], unknown),
    ] {
        let codings: Vec<Value> =
            codings.iter().map(|(system, code)| json!({"system": system, "code": code})).collect();
        let whole = json!({"resourceType": "Observation", "id": "o", "status": "final",
            "subject": {"reference": "Patient/p"}, "code": {"coding": codings}});
        let part = json!({"resourceType": "Observation", "id": "o", "status": "final",
            "subject": {"reference": "Patient/p"}, "code": {"coding": [{"system": "http://loinc.org", "code": "85353-1"}]},
            "component": [{"code": {"coding": codings}}]});
        for (resource, consent, decision) in
            [(&whole, &all_but, expected.0), (&part, &all_but, expected.0), (&whole, &nothing_but, expected.1)]
        {
            let found = answer(&request, std::slice::from_ref(consent), &[resource.to_string()]);
            assert_eq!(found["decision"], decision, "{resource}: {found}");
        }
    }
}

#[test]
fn drafts_are_told_by_their_place() {
    let draft = |actor: &str| {
        let permits = vec![Permit { actor: actor.to_owned(), ..Permit::default() }];
        Draft { patient: "Patient/1".to_owned(), permits, ..Draft::default() }.consent().to_string()
    };
    let drafts = [draft("Organization/1"), draft("Organization/2")];
    let request = serde_json::json!({"patient": "Patient/1", "actors": ["Organization/2"], "purpose": ["TREAT"]});
    let told = answer(&serde_json::json!({"request": request, "now": "2026-01-01T00:00:00Z"}), &drafts, &[]);
    assert_eq!(told["basis"]["consent"], "Consent/draft-2", "{told:#}");
    assert_eq!(told["consents"][0]["consent"], "Consent/draft-1");
}

/// A purpose that is not named is any but breaking the glass, a measurement is as confidential as its category, and consents of
/// one person permit nothing of another.
#[test]
fn what_is_not_said_is_as_the_guide_says() {
    let consent = |rule: &str| {
        tree::parse(format!(
            r#"{{"resourceType":"Consent","id":"c","status":"active","patient":{{"reference":"Patient/p"}},
                "scope":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}}]}},
                "policyRule":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTIN"}}]}},
                "provision":{{"type":"deny","provision":[{rule}]}}}}"#
        ))
        .unwrap()
    };
    let label = |kind: &str, code: &str| {
        let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
        format!(r#"{{"type":"{kind}","securityLabel":[{{"system":"{system}","code":"{code}"}}]}}"#)
    };
    let reading = |code: &str, patient: &str| {
        tree::parse(format!(
            r#"{{"resourceType":"Observation","id":"o","subject":{{"reference":"Patient/{patient}"}},
                "code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}}}}"#
        ))
        .unwrap()
    };
    let (heart, mood) = ("8867-4", "44261-6");
    let all = r#"{"type":"permit"}"#.to_owned();
    for (rule, purpose, code, patient, expected) in [
        (all.clone(), "TREAT", heart, "p", "permit permitted"),
        (all.clone(), "BTG", heart, "p", "deny not-covered"),
        (all.clone(), "TREAT", heart, "other", "deny other-person"),
        (label("permit", "N"), "TREAT", heart, "p", "permit permitted"),
        (label("permit", "N"), "TREAT", mood, "p", "deny not-covered"),
        (label("permit", "R"), "TREAT", mood, "p", "permit permitted"),
        (format!("{all},{}", label("deny", "R")), "TREAT", heart, "p", "permit permitted"),
        (format!("{all},{}", label("deny", "R")), "TREAT", mood, "p", "deny denied"),
    ] {
        let (consent, resource) = (consent(&rule), reading(code, patient));
        let asked = asked(&format!(r#"{{"patient":"Patient/p","purpose":["{purpose}"]}}"#)).unwrap();
        let (consents, resources) = ([Element::root(&consent)], [Element::root(&resource)]);
        let told = simulate(&Simulation { consents: &consents, resources: &resources, ..plain(&asked, 0) }).unwrap();
        let outcome = format!("{} {}", told["decision"].as_str().unwrap(), told["reason"].as_str().unwrap());
        assert_eq!(outcome, expected, "{rule} {purpose} {code} {patient}");
    }
}
