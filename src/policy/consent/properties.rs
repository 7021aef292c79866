//! What must hold for any consents: order does not matter, refusals and what cannot be evaluated never widen, and
//! a decision lasts until its bound.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{NOW, compiled, consent, decide_at, ms, word};
use super::*;
use crate::fhir::tree::{Element, json as reader};

const DAY_MS: i64 = 86_400_000;

/// Elements of a rule, some that match the one request, some that don't, some that cannot be evaluated.
pub(super) const ELEMENTS: [(&str, [&str; 3]); 9] = [
    (
        "purpose",
        [
            r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]"#,
            r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"HRESCH"}]"#,
            r#"[{"system":"urn:x","code":"TREAT"}]"#,
        ],
    ),
    (
        "actor",
        [
            r#"[{"reference":{"reference":"Organization/1"}}]"#,
            r#"[{"reference":{"reference":"Organization/2"}}]"#,
            r#"[{"reference":{"display":"x"}}]"#,
        ],
    ),
    (
        "action",
        [
            r#"[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentaction","code":"access"}]}]"#,
            r#"[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentaction","code":"disclose"}]}]"#,
            r#"[{"text":"x"}]"#,
        ],
    ),
    (
        "code",
        [
            r#"[{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}]"#,
            r#"[{"coding":[{"system":"http://loinc.org","code":"1"}]}]"#,
            r#"[{"text":"x"}]"#,
        ],
    ),
    (
        "class",
        [
            r#"[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]"#,
            r#"[{"system":"http://hl7.org/fhir/resource-types","code":"Patient"}]"#,
            r#"[{"code":"Patient"}]"#,
        ],
    ),
    (
        "securityLabel",
        [
            r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]"#,
            r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}]"#,
            r#"[{"code":"N"}]"#,
        ],
    ),
    ("dataPeriod", [r#"{"start":"2026"}"#, r#"{"end":"2025"}"#, "{}"]),
    ("period", [r#"{"start":"2026-06-10","end":"2026-06-20"}"#, r#"{"start":"2026-06-18"}"#, r#"{"start":"x"}"#]),
    (
        "data",
        [
            r#"[{"meaning":"instance","reference":{"reference":"Observation/1"}}]"#,
            r#"[{"meaning":"authoredby","reference":{"reference":"Device/2"}}]"#,
            r#"[{"meaning":"x"}]"#,
        ],
    ),
];

fn elements() -> impl Strategy<Value = Value> {
    let chosen = prop::collection::vec((0..ELEMENTS.len(), 0..10_usize), 0..3);
    (any::<bool>(), chosen).prop_map(|(permit, chosen)| {
        let mut rule = json!({"type": if permit { "permit" } else { "deny" }});
        for (element, kind) in chosen {
            // Mostly what matches, so that deep rules are reached.
            let kind = [0, 0, 0, 0, 0, 0, 1, 1, 1, 2][kind];
            let (name, values) = ELEMENTS[element];
            rule[name] = serde_json::from_str(values[kind]).unwrap();
        }
        rule
    })
}

fn rules() -> impl Strategy<Value = Value> {
    elements().prop_recursive(3, 12, 3, |inner| {
        (elements(), prop::collection::vec(inner, 0..4)).prop_map(|(mut rule, nested)| {
            if !nested.is_empty() {
                rule["provision"] = nested.into();
            }
            rule
        })
    })
}

fn consents() -> impl Strategy<Value = Vec<Value>> {
    let one = (rules(), prop::bool::weighted(0.3));
    prop::collection::vec(one, 1..4).prop_map(|rules| {
        let numbered = rules.iter().enumerate();
        numbered
            .map(|(index, (rule, opt_in))| {
                let policy = (*opt_in && rule["type"] == "deny").then_some("OPTIN");
                consent(&format!("c{index}"), policy, rule)
            })
            .collect()
    })
}

fn decide_all(consents: &[Value], now_ms: i64) -> Decision {
    decide_at(&consents.iter().map(compiled).collect::<Vec<_>>(), now_ms)
}

/// Pointers to every provision of a Consent.
fn provisions(rule: &Value, pointer: &str, found: &mut Vec<String>) {
    found.push(pointer.to_owned());
    for (index, nested) in rule["provision"].as_array().into_iter().flatten().enumerate() {
        provisions(nested, &format!("{pointer}/provision/{index}"), found);
    }
}

fn some_provision(consents: &mut [Value], which: prop::sample::Index) -> &mut Value {
    let mut found = Vec::new();
    for (index, consent) in consents.iter().enumerate() {
        let mut pointers = Vec::new();
        provisions(&consent["provision"], "/provision", &mut pointers);
        found.extend(pointers.into_iter().map(|pointer| (index, pointer)));
    }
    let (index, pointer) = &found[which.index(found.len())];
    consents[*index].pointer_mut(pointer).unwrap()
}

/// A permit without rules inside it for which nothing says yet what an element of that name must be.
fn some_innermost_permit<'c>(
    consents: &'c mut [Value],
    name: &str,
    which: prop::sample::Index,
) -> Option<&'c mut Value> {
    fn innermost(rule: &Value, pointer: &str, name: &str, found: &mut Vec<String>) {
        if !rule[name].is_null() {
            return;
        }
        let nested = rule["provision"].as_array().map(Vec::as_slice).unwrap_or_default();
        if nested.is_empty() && rule["type"] == "permit" {
            found.push(pointer.to_owned());
        }
        for (index, nested) in nested.iter().enumerate() {
            innermost(nested, &format!("{pointer}/provision/{index}"), name, found);
        }
    }
    let mut found = Vec::new();
    for (index, consent) in consents.iter().enumerate() {
        let mut pointers = Vec::new();
        innermost(&consent["provision"], "/provision", name, &mut pointers);
        found.extend(pointers.into_iter().map(|pointer| (index, pointer)));
    }
    if found.is_empty() {
        return None;
    }
    let (index, pointer) = &found[which.index(found.len())];
    consents[*index].pointer_mut(pointer)
}

/// A resource as it is known.
#[derive(Clone, Debug)]
struct Resource {
    kind: &'static str,
    reference: &'static str,
    codings: Vec<(&'static str, &'static str)>,
    labels: Vec<(&'static str, &'static str)>,
    date_ms: Option<(i64, i64)>,
    authors: Vec<&'static str>,
}

impl Resource {
    fn facts(&self) -> Facts<'_> {
        Facts {
            patients: &["Patient/1"],
            kind: self.kind,
            reference: self.reference,
            codings: &self.codings,
            labels: &self.labels,
            date_ms: self.date_ms,
            authors: &self.authors,
            links: &self.authors,
        }
    }
}

fn resources() -> impl Strategy<Value = Resource> {
    let confidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    let some = |all: &'static [&'static str]| prop::sample::subsequence(all, 0..=all.len());
    (
        prop::sample::select(vec!["Observation", "Patient", "Binary"]),
        prop::sample::select(vec!["Observation/1", "Observation/2"]),
        some(&["8867-4", "1"]),
        some(&["N", "R"]),
        prop::option::of(0..800_i64),
        some(&["Device/2", "Device/3"]),
    )
        .prop_map(move |(kind, reference, codes, labels, day, authors)| Resource {
            kind,
            reference,
            codings: codes.into_iter().map(|code| ("http://loinc.org", code)).collect(),
            labels: labels.into_iter().map(|code| (confidentiality, code)).collect(),
            date_ms: day.map(|day| (ms("2024-12-01") + day * DAY_MS, ms("2024-12-01") + (day + 1) * DAY_MS)),
            authors,
        })
}

/// Turns every list around.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().rev().map(reversed).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), reversed(value))).collect(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_does_not_matter(consents in consents()) {
        let now = ms(NOW);
        let mut turned = consents.clone();
        turned.reverse();
        prop_assert_eq!(decide_all(&consents, now), decide_all(&turned, now));
        let inside: Vec<Value> = consents.iter().map(reversed).collect();
        prop_assert_eq!(word(&decide_all(&consents, now)), word(&decide_all(&inside, now)));
    }

    #[test]
    fn a_further_deny_never_widens(consents in consents(), deny in rules(), which: prop::sample::Index) {
        let before = decide_all(&consents, ms(NOW));
        let mut refused = consents.clone();
        refused.push(consent("z", None, &json!({"type": "deny"})));
        prop_assert!(!decide_all(&refused, ms(NOW)).is_permit());
        let mut nested = consents;
        let mut deny = deny;
        deny["type"] = "deny".into();
        deny.as_object_mut().unwrap().remove("provision");
        let rule = some_provision(&mut nested, which);
        match rule["provision"].as_array_mut() {
            Some(siblings) => siblings.push(deny),
            None => rule["provision"] = json!([deny]),
        }
        prop_assert!(before.is_permit() || !decide_all(&nested, ms(NOW)).is_permit());
    }

    #[test]
    fn an_empty_deny_takes_back_what_its_parent_gives(
        consents in consents(), which: prop::sample::Index, rank in "[UNRV]",
    ) {
        let mut consents = consents;
        some_provision(&mut consents, which)["securityLabel"] =
            json!([{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": rank}]);
        if let Decision::Permit(basis) = decide_all(&consents, ms(NOW)) {
            let pointer = basis.rule()["Consent".len()..].replace(['.', '['], "/").replace(']', "");
            let index: usize = basis.by_consent().unwrap().0[1..].parse().unwrap();
            let rule = consents[index].pointer_mut(&pointer).unwrap();
            let deny = json!({"type": "deny"});
            match rule["provision"].as_array_mut() {
                Some(siblings) => siblings.push(deny),
                None => rule["provision"] = json!([deny]),
            }
            prop_assert_eq!(word(&decide_all(&consents, ms(NOW))), "denied");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_never_widens(
        consents in consents(), which: prop::sample::Index, element in 0..ELEMENTS.len(), replaces: bool,
    ) {
        let before = decide_all(&consents, ms(NOW));
        let mut unclear = consents;
        let rule = some_provision(&mut unclear, which);
        let (name, values) = ELEMENTS[element];
        let added: Value = serde_json::from_str(values[2]).unwrap();
        match (rule[name].as_array_mut(), added.as_array()) {
            (Some(alternatives), Some(added)) if !replaces => alternatives.extend(added.iter().cloned()),
            _ => rule[name] = added,
        }
        prop_assert!(before.is_permit() || !decide_all(&unclear, ms(NOW)).is_permit());
    }

    #[test]
    fn a_permit_that_asks_more_never_widens(
        consents in consents(), which: prop::sample::Index, element in 0..ELEMENTS.len(), kind in 0..3_usize,
    ) {
        let before = decide_all(&consents, ms(NOW));
        let mut narrowed = consents;
        let (name, values) = ELEMENTS[element];
        if let Some(permit) = some_innermost_permit(&mut narrowed, name, which) {
            permit[name] = serde_json::from_str(values[kind]).unwrap();
            prop_assert!(before.is_permit() || !decide_all(&narrowed, ms(NOW)).is_permit());
        }
    }

    #[test]
    fn what_is_said_of_all_resources_holds_of_each(consents in consents(), resource in resources(), unsaid: bool) {
        let compiled: Vec<_> = consents.iter().map(compiled).collect();
        let actor = Actor::reference("Organization/1");
        let request = Request {
            action: Action::Access, actor: &actor, purpose: "TREAT", policies: &[], now_ms: ms(NOW),
        };
        let facts = resource.facts();
        let decision = decide(&compiled, &request, &facts);
        let silent = |denial: &Denial| matches!(denial.reason, Reason::NoConsent | Reason::NotCovered);
        let permitted = match &decision {
            Decision::Permit(_) => true,
            Decision::Deny(denial) => unsaid && silent(denial),
        };
        let (all, residual) = outlook(&compiled, &request, facts.patients, unsaid);
        match all {
            Outlook::Permit => prop_assert!(permitted, "{decision:?}"),
            Outlook::Deny => prop_assert!(!permitted, "{decision:?}"),
            // What it depends on is named, and what decided is among it, or applies to every resource.
            Outlook::Partial => prop_assert!(!residual.is_empty()),
        }
    }

    #[test]
    fn what_may_not_be_permitted_of_some_resources_is_of_none(
        consents in consents(), resource in resources(), known in 0..3_usize, unsaid: bool,
    ) {
        let compiled: Vec<_> = consents.iter().map(compiled).collect();
        let actor = Actor::reference("Organization/1");
        let request = Request {
            action: Action::Access, actor: &actor, purpose: "TREAT", policies: &[], now_ms: ms(NOW),
        };
        let facts = resource.facts();
        let decision = decide(&compiled, &request, &facts);
        let permitted = match &decision {
            Decision::Permit(_) => true,
            Decision::Deny(denial) => unsaid && matches!(denial.reason, Reason::NoConsent | Reason::NotCovered),
        };
        let surely = &facts.codings[..known.min(facts.codings.len())];
        let perhaps: Vec<_> = facts.codings.iter().copied().chain([("http://loinc.org", "1")]).collect();
        // Of the labels nothing is known, or all of them, or those but for the confidentiality.
        let others: Vec<_> = facts.labels.iter().copied().filter(|(system, _)| !system.ends_with("Confidentiality")).collect();
        let labels = [
            None,
            (!facts.labels.is_empty()).then_some(Carried { labels: facts.labels, whole: true }),
            Some(Carried { labels: &others, whole: false }),
        ];
        for (perhaps, labels) in [Some(perhaps.as_slice()), None].into_iter().flat_map(|one| labels.map(|labels| (one, labels))) {
            let meant = Meant { kind: facts.kind, surely, perhaps, labels };
            let dates = permitted_dates(&compiled, &request, facts.patients, unsaid, &meant);
            prop_assert!(!permitted || dates.is_some());
            if let (Decision::Permit(_), Some((from, until)), Some((start, end))) = (&decision, dates, facts.date_ms) {
                prop_assert!(from <= start && end <= until, "{dates:?}");
            }
        }
    }

    #[test]
    fn each_account_is_what_the_consent_says_alone(consents in consents(), resource in resources()) {
        let actor = Actor::reference("Organization/1");
        let request = Request {
            action: Action::Access, actor: &actor, purpose: "TREAT", policies: &[], now_ms: ms(NOW),
        };
        let facts = resource.facts();
        for consent in consents.iter().map(compiled) {
            let told = account(&consent, &request, facts.patients, Some(&facts), true);
            let alone = word(&decide(&[consent], &request, &facts));
            prop_assert_eq!(told.says == Says::Permits, alone == "permit");
            prop_assert_eq!(told.says == Says::Refuses, alone == "denied");
            prop_assert_eq!(told.says == Says::Nothing, !told.unmet.is_empty());
        }
    }

    #[test]
    fn foreign_properties_never_widen(consents in consents(), which: prop::sample::Index, name in "[a-z]{1,12}") {
        let before = decide_all(&consents, ms(NOW));
        let mut foreign = consents;
        some_provision(&mut foreign, which)[&name] = json!("x");
        prop_assert!(before.is_permit() || !decide_all(&foreign, ms(NOW)).is_permit());
    }

    #[test]
    fn a_decision_lasts_until_its_bound(consents in consents(), now in -10..10_i64, later in 0..20_i64) {
        let compiled: Vec<_> = consents.iter().map(compiled).collect();
        let now = ms(NOW) + now * DAY_MS;
        let decision = decide_at(&compiled, now);
        prop_assert_eq!(&decision, &decide_at(&compiled, now));
        let until = match &decision {
            Decision::Permit(basis) => basis.valid_until_ms(),
            Decision::Deny(denial) => denial.basis.as_ref().and_then(Basis::valid_until_ms),
        };
        let then = now + later * DAY_MS;
        if until.is_some_and(|until| then < until) {
            prop_assert_eq!(&decision, &decide_at(&compiled, then));
            prop_assert_eq!(&decision, &decide_at(&compiled, until.unwrap() - 1));
        }
    }

    #[test]
    fn nothing_panics(text in r#"\{("resourceType":"Consent",)?"provision":\{"(type|period|code|actor)":(\[|\{|"permit"|null|1|\]|\}){1,6}\}\}"#) {
        if let Ok(document) = reader::parse(text) {
            let (compiled, _) = compile(Element::root(&document), 0);
            prop_assert!(!decide_at(&[Arc::new(compiled)], 0).is_permit());
        }
    }
}
