//! What of a person the caller may not see, so that a search need not go through it.
//!
//! Twice it is asked. Of the entries of the index, which have a code, labels and a date: what holds of every resource that has
//! these, whatever else it says, and of which dates something may be permitted. And of each row that is left by its gist,
//! which is judged as the resource would be, with labels, dates, instances and policies, before anybody opens it. Whatever
//! is doubtful is gone through: a permission is never left out, and what is handed over is judged again.
//!
//! A code of LOINC claims what it says. Another may stand beside one of LOINC and claim nothing, and then the resource lies
//! under that one as well; so nothing follows from it where a search asks for codes and goes through those alone.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use super::ConsentsSeen;
use crate::exchange::consents::{Glimpsed, Page};
use crate::exchange::facts::{self, CATEGORY_SYSTEM, Facts, LOINC};
use crate::exchange::gist::Gist;
use crate::exchange::kinds::KindRule;
use crate::exchange::labels;
use crate::exchange::said::{self, INDEXED_SPAN_MS};
use crate::exchange::{Caller, Gateway, consents};
use crate::fhir::terminology::named;
use crate::fhir::validate::measures;
use crate::policy::access::{Grant, Interaction};
use crate::policy::consent::{self, Action, Actor, Carried, Compiled, Implied, Meant, Precedents, Reason};
use crate::store::{Glimpse, Pass, PatientKey, Sieve, Together};

/// A system and a code.
type Coding = (&'static str, &'static str);

/// What may be claimed together with a code of a category: the category, and its other codes, of LOINC or else of any other
/// system.
static TOGETHER: LazyLock<HashMap<(&'static str, bool), Vec<Coding>>> = LazyLock::new(|| {
    let mut together: HashMap<(&'static str, bool), Vec<Coding>> = HashMap::new();
    for measure in measures::all() {
        for code in &measure.codes {
            let codings = together.entry((measure.category, code.system == LOINC));
            codings.or_insert_with(|| vec![(CATEGORY_SYSTEM, measure.category)]).push((code.system, code.code));
        }
    }
    together
});

/// A person of whom the caller may see something.
struct Person {
    page: Page,
    names: [String; 2],
    /// Those of her consents that may permit something.
    permitting: Arc<[Arc<Compiled>]>,
    before: Mutex<Before>,
}

/// What was found out of her resources so far.
#[derive(Default)]
struct Before {
    precedents: Precedents,
    /// How her gists name her.
    whose: Vec<u8>,
}

/// What the sieve asks for.
struct Asked {
    actor: Actor,
    purpose: String,
    now_ms: i64,
    policies: &'static [&'static str],
    implied: Implied,
    kind: Arc<str>,
    scopes: Grant,
    /// Whether only what lies under some codes is gone through.
    by_code: bool,
    persons: HashMap<PatientKey, Person>,
}

impl Gateway {
    /// The sieve for a search among some persons whose consents are known; none where what is found belongs to nobody of
    /// them.
    pub(super) fn sieve(
        &self,
        caller: &Caller<'_>,
        rule: &KindRule,
        persons: &[(String, PatientKey)],
        by_code: bool,
        seen: &mut ConsentsSeen,
    ) -> Option<Sieve> {
        // What the gateway itself writes is as private as what it tells of, whatever its own code and date.
        if !rule.writable || persons.is_empty() {
            return None;
        }
        let (actor, now_ms) = (seen.actor(caller).clone(), self.now_ms());
        let purpose = caller.purpose;
        let request = consent::Request { action: Action::Access, actor: &actor, purpose, policies: &[], now_ms };
        let policies = self.implied.package(&request);
        let known = persons.iter().filter_map(|(id, key)| {
            let page = seen.persons.get(key)?.page.clone();
            let permitting = Arc::from(&*consents::permitting(&page.consents, now_ms));
            let (names, before) = (consents::names(&self.base, id), Mutex::default());
            Some((*key, Person { page, names, permitting, before }))
        });
        let asked = Arc::new(Asked {
            persons: known.collect(),
            purpose: purpose.to_owned(),
            now_ms,
            policies,
            implied: self.implied.clone(),
            kind: Arc::from(rule.name),
            scopes: caller.principal.scopes.permits(rule.name, Interaction::Search),
            by_code,
            actor,
        });
        let entries = asked.clone();
        Some(Sieve::new(move |together| entries.dates(together), move |glimpse| asked.judge(glimpse)))
    }
}

/// Of which dates an index may hold what is permitted.
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

impl Asked {
    fn request(&self) -> consent::Request<'_> {
        let Asked { actor, purpose, policies, now_ms, .. } = self;
        consent::Request { action: Action::Access, actor, purpose, policies, now_ms: *now_ms }
    }

    /// At which dates what a person has under a code and with some labels is looked for, if at all.
    fn dates(&self, together: &Together<'_>) -> Option<(i64, i64)> {
        let Together { patient, coding, labels } = *together;
        let Some(person) = self.persons.get(&patient) else { return Some(ALWAYS) };
        let coding = coding.map(|(system, code)| (named(system), code));
        let claims = coding.is_none_or(|(system, _)| system == LOINC || !self.by_code && system != CATEGORY_SYSTEM);
        if !claims {
            return Some(ALWAYS);
        }
        let category =
            coding.and_then(|(system, code)| measures::measure(system, code)).map(|measure| measure.category);
        let surely: Vec<(&str, &str)> =
            coding.into_iter().chain(category.map(|category| (CATEGORY_SYSTEM, category))).collect();
        let carried = labels.and_then(labels::labels).map(|own| facts::with_confidentiality(own, category));
        let carried = carried.as_ref().map(|(labels, whole)| Carried { labels, whole: *whole });
        let patients = person.names.each_ref().map(String::as_str);
        let request = self.request();
        let (from, until) = if self.may_imply(person, &patients, &surely, carried) {
            // A policy permits a resource for one of the things that it claims, whatever the others are.
            let meant = Meant { kind: &self.kind, surely: &surely, perhaps: None, labels: carried };
            consent::permitted_dates(&person.page.consents, &request, &patients, true, &meant)?
        } else {
            let loinc = coding.is_some_and(|(system, _)| system == LOINC);
            let perhaps =
                category.and_then(|category| TOGETHER.get(&(category, loinc))).map_or(&*surely, Vec::as_slice);
            let meant = Meant { kind: &self.kind, surely: &surely, perhaps: Some(perhaps), labels: carried };
            consent::permitted_dates(&person.permitting, &request, &patients, false, &meant)?
        };
        // What says no offset may lie elsewhere than the index has it.
        Some((from.saturating_sub(INDEXED_SPAN_MS), until.saturating_add(INDEXED_SPAN_MS)))
    }

    /// Whether a policy may stand in for a consent for what has at least these codings and labels.
    fn may_imply(
        &self,
        person: &Person,
        patients: &[&str],
        codings: &[(&str, &str)],
        carried: Option<Carried<'_>>,
    ) -> bool {
        let labels = carried.map_or(&[][..], |carried| carried.labels);
        let facts = consent::Facts { kind: &self.kind, codings, labels, ..consent::Facts::unknown(patients) };
        let request = self.request();
        let implied = |said| self.implied.permits(said, &person.permitting, &request, patients, Some(&facts)).is_some();
        implied(Reason::NoConsent) || implied(Reason::NotCovered)
    }

    /// What becomes of a row, by what was written beside it.
    fn judge(&self, glimpse: &Glimpse<'_>) -> Pass {
        let Some(person) = self.persons.get(&glimpse.patient) else { return Pass::Through };
        let Some(gist) = Gist::read(glimpse.gist) else { return Pass::Through };
        if let Grant::Where(_) = self.scopes {
            let Some(said) = gist.said_alike() else { return Pass::Through };
            let facts = Facts::from(self.kind.clone(), said);
            if !self.scopes.allows(facts.categories(), facts.codes()) {
                return Pass::Out;
            }
        }
        let id = || glimpse.logical_id();
        let glimpsed = Glimpsed { kind: &self.kind, gist: &gist, patients: &person.names, id: &id };
        let mut before = person.before.lock().unwrap_or_else(PoisonError::into_inner);
        let Before { precedents, whose } = &mut *before;
        if whose.as_slice() != gist.whose() {
            // What names another person is somebody else's to judge.
            if person.names[0].strip_prefix("Patient/").is_none_or(|id| id != said::patient(&gist.person())) {
                return Pass::Through;
            }
            whose.clear();
            whose.extend_from_slice(gist.whose());
        }
        let request = consent::Request { policies: &[], ..self.request() };
        let decided = consents::permit_by_gist(&person.page, precedents, &self.implied, &request, &glimpsed, ());
        match decided {
            Ok(Err(_)) => Pass::KeptBack,
            Ok(Ok(_)) | Err(()) => Pass::Through,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::exchange::consents::Subject;
    use crate::exchange::gist;
    use crate::fhir::tree::{Element, json as reader};
    use crate::fhir::validate::measures::category::CONFIDENTIALITY;
    use crate::policy::consent::draft::{Draft, Permit};
    use crate::policy::consent::{Config, compile};
    use crate::store::Dated;
    use crate::store::ResId;

    const NOW_MS: i64 = 1_800_000_000_000;
    const KEY: PatientKey = PatientKey([1; 16]);
    const KIND: &str = "Observation";

    fn asked(consents: &[Value], policy: Option<&str>, by_code: bool) -> Asked {
        let compiled = |consent: &Value| {
            let document = reader::parse(consent.to_string()).unwrap();
            Arc::new(compile(Element::root(&document), 1).0)
        };
        let consents: Arc<[Arc<Compiled>]> = consents.iter().map(compiled).collect();
        let config = Config {
            implicit: policy.map(|policy| ("TREAT".to_owned(), policy.to_owned())).into_iter().collect(),
            clinicians: vec!["Organization/app".to_owned()],
            needs: BTreeMap::new(),
            ..Config::default()
        };
        let about_one = consents.iter().any(|consent| consent.is_about_one());
        let page = Page { about_one, consents: consents.clone(), ..Page::default() };
        let permitting = Arc::from(&*consents::permitting(&consents, NOW_MS));
        let names = consents::names("https://gateway.example/fhir", "1");
        let person = Person { page, names, permitting, before: Mutex::default() };
        Asked {
            actor: Actor::reference("Organization/app"),
            purpose: "TREAT".to_owned(),
            now_ms: NOW_MS,
            policies: &[],
            implied: Implied::compile(&config).unwrap(),
            kind: Arc::from(KIND),
            scopes: Grant::All,
            by_code,
            persons: HashMap::from([(KEY, person)]),
        }
    }

    /// Which codes are gone through of a person who permits something.
    fn check(permitted: (&str, &str), codes: &[(&str, &str, bool)]) {
        let permit = Permit {
            actor: "Organization/app".to_owned(),
            actions: vec![Action::Access],
            purposes: vec!["TREAT".to_owned()],
            codings: vec![(permitted.0.to_owned(), permitted.1.to_owned())],
            period_ms: (None, None),
        };
        let patient = "Patient/1".to_owned();
        let draft = Draft { patient, made_ms: NOW_MS - 1, permits: vec![permit], until_ms: None };
        for by_code in [false, true] {
            let asked = asked(&[draft.consent()], None, by_code);
            for (system, code, expected) in codes {
                let under = |patient| Together { patient, coding: Some((system, code)), labels: None };
                let looked_at = asked.dates(&under(KEY)).is_some();
                // Where a search goes through codes alone, another than one of LOINC tells nothing.
                let expected = *expected || by_code && *system != LOINC;
                assert_eq!(looked_at, expected, "{permitted:?} {system}|{code} {by_code}");
                let other = asked.dates(&under(PatientKey([2; 16])));
                assert_eq!(other, Some(ALWAYS), "of others nothing is known");
            }
            let none = Together { patient: KEY, coding: None, labels: None };
            assert_eq!(asked.dates(&none), None, "what has no code is permitted by no code");
        }
    }

    #[test]
    fn what_cannot_be_permitted_is_not_gone_through() {
        let others =
            [(LOINC, "29463-7", false), (LOINC, "0-0", false), ("urn:x", "29463-7", false), ("", "0-0", false)];
        check((CATEGORY_SYSTEM, "heart-rate"), &others);
        check((CATEGORY_SYSTEM, "heart-rate"), &[(LOINC, "8867-4", true), (CATEGORY_SYSTEM, "heart-rate", true)]);
        check((LOINC, "8867-4"), &others);
        check((LOINC, "8867-4"), &[(LOINC, "8867-4", true)]);
        // Beside any code of its category the one that is permitted may stand.
        let category = measures::measure(LOINC, "8867-4").unwrap().category;
        for (system, code) in &TOGETHER[&(category, true)] {
            check((LOINC, "8867-4"), &[(system, code, true)]);
        }
        check(("urn:x", "a"), &[(LOINC, "8867-4", false), ("urn:x", "a", true)]);
    }

    /// Whether what has a code and carries some labels is gone through of a person who permits by a label.
    #[test]
    fn what_is_hidden_for_its_labels_is_not_gone_through() {
        let coding = |(system, code): &(&str, &str)| json!({"system": system, "code": code});
        type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], bool);
        let check = |provision: Value, policy: Option<&str>, rows: &[Row<'_>]| {
            let consent = json!({
                "resourceType": "Consent", "id": "c", "status": "active", "dateTime": "2026-01-01",
                "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
                "patient": {"reference": "Patient/1"},
                "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
                "provision": {"type": "deny", "provision": provision},
            });
            let consents = if policy.is_some() { Vec::new() } else { vec![consent] };
            let asked = asked(&consents, policy, false);
            for (code, carried, expected) in rows {
                let under =
                    Together { patient: KEY, coding: Some((LOINC, code)), labels: Some(labels::number(carried)) };
                assert_eq!(asked.dates(&under).is_some(), *expected, "{code} {carried:?} {provision}");
            }
        };
        const RATE: &str = "8867-4";
        // What is about mood is restricted by its nature.
        const MOOD: &str = "70274-6";
        let (low, normal) = ((CONFIDENTIALITY, "L"), (CONFIDENTIALITY, "N"));
        let (restricted, psychiatric) = ((CONFIDENTIALITY, "R"), (labels::ACT_CODE, "PSY"));
        let permit = |label| json!([{"type": "permit", "securityLabel": [coding(label)]}]);
        check(
            permit(&normal),
            None,
            &[
                (RATE, &[], true),
                (RATE, &[low], true),
                (RATE, &[psychiatric], true),
                (RATE, &[restricted], false),
                (RATE, &[psychiatric, restricted], false),
                (RATE, &[normal, restricted], true),
                (MOOD, &[], false),
                (MOOD, &[psychiatric], false),
                (MOOD, &[normal], true),
            ],
        );
        check(
            permit(&psychiatric),
            None,
            &[
                (RATE, &[psychiatric], true),
                (RATE, &[psychiatric, restricted], true),
                (RATE, &[], false),
                (RATE, &[low], false),
                (MOOD, &[], false),
                (RATE, &[("urn:x", "y")], true),
            ],
        );
        let but = json!([{"type": "permit"}, {"type": "deny", "securityLabel": [coding(&psychiatric)]}]);
        check(but, None, &[(RATE, &[], true), (RATE, &[psychiatric], false), (MOOD, &[low], true)]);
        check(
            json!([]),
            Some("Policy-basic-normal"),
            &[(RATE, &[], true), (RATE, &[restricted], false), (MOOD, &[], false), (MOOD, &[normal], true)],
        );
    }

    /// Elements of a rule: what the resources below meet, or not, or what cannot be evaluated.
    const ELEMENTS: [(&str, &[&str]); 7] = [
        (
            "code",
            &[
                r#"[{"coding":[{"system":"http://loinc.org","code":"8867-4"}]}]"#,
                r#"[{"coding":[{"system":"http://loinc.org","code":"29463-7"},{"system":"urn:x","code":"a"}]}]"#,
                r#"[{"coding":[{"system":"urn:iso:std:iso:11073:10101","code":"149530"}]}]"#,
                r#"[{"coding":[{"system":"https://mhealth-gateway.org/fhir/CodeSystem/measure-category","code":"heart-rate"}]}]"#,
                r#"[{"text":"x"}]"#,
            ],
        ),
        (
            "securityLabel",
            &[
                r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}]"#,
                r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}]"#,
                r#"[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}]"#,
            ],
        ),
        (
            "dataPeriod",
            &[
                r#"{"start":"2026-01-05"}"#,
                r#"{"end":"2026-01-05"}"#,
                r#"{"start":"2026-01-05T12:00:00+14:00","end":"2026-01-05T12:00:00Z"}"#,
                "{}",
            ],
        ),
        (
            "data",
            &[
                r#"[{"meaning":"instance","reference":{"reference":"Observation/o"}}]"#,
                r#"[{"meaning":"related","reference":{"reference":"Observation/other"}}]"#,
                r#"[{"meaning":"authoredby","reference":{"reference":"Practitioner/1"}}]"#,
                r#"[{"meaning":"x"}]"#,
            ],
        ),
        ("class", &[r#"[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]"#, r#"[{"code":"x"}]"#]),
        (
            "actor",
            &[
                r#"[{"reference":{"reference":"Organization/app"}}]"#,
                r#"[{"reference":{"reference":"Organization/another"}}]"#,
            ],
        ),
        ("period", &[r#"{"end":"2030-01-01"}"#, r#"{"end":"2020-01-01"}"#]),
    ];

    fn rule(depth: u32) -> BoxedStrategy<Value> {
        let elements = prop::collection::vec((0..ELEMENTS.len(), any::<prop::sample::Index>()), 0..3);
        let nested =
            if depth == 0 { Just(Vec::new()).boxed() } else { prop::collection::vec(rule(depth - 1), 0..3).boxed() };
        let made = |(permit, elements, nested): (bool, Vec<(usize, prop::sample::Index)>, Vec<Value>)| {
            let mut rule = json!({"type": if permit { "permit" } else { "deny" }});
            for (element, which) in elements {
                let (name, values) = ELEMENTS[element];
                rule[name] = serde_json::from_str(values[which.index(values.len())]).unwrap();
            }
            if !nested.is_empty() {
                rule["provision"] = nested.into();
            }
            rule
        };
        (prop::bool::weighted(0.7), elements, nested).prop_map(made).boxed()
    }

    fn consents() -> impl Strategy<Value = Vec<Value>> {
        let status = prop::sample::select(vec!["active", "active", "active", "active", "inactive", "rejected"]);
        let made = |(index, (rules, base, status)): (usize, (Vec<Value>, usize, &str))| {
            let (policy, root) = [("OPTIN", "deny"), ("OPTIN", "deny"), ("OPTOUT", "permit")][base];
            let mut consent = json!({
                "resourceType": "Consent", "id": format!("c{index}"), "status": status, "dateTime": "2026-01-01",
                "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
                "patient": {"reference": "Patient/1"},
                "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": policy}]},
                "provision": {"type": root},
            });
            if !rules.is_empty() {
                consent["provision"]["provision"] = rules.into();
            }
            consent
        };
        let one = (prop::collection::vec(rule(1), 0..4), 0..3_usize, status);
        prop::collection::vec(one, 0..3).prop_map(move |all| all.into_iter().enumerate().map(made).collect())
    }

    fn resources() -> impl Strategy<Value = Value> {
        const CODES: [(&str, &str); 9] = [
            (LOINC, "8867-4"),
            (LOINC, "29463-7"),
            (LOINC, "70274-6"),
            ("urn:oid:2.16.840.1.113883.6.1", "8867-4"),
            ("http://loinc.org|2.70", "29463-7"),
            ("https://mhealth-gateway.org/fhir/CodeSystem/measure-category|1", "heart-rate"),
            ("urn:x", "a"),
            ("urn:iso:std:iso:11073:10101", "149530"),
            (CATEGORY_SYSTEM, "heart-rate"),
        ];
        let dates = vec![
            json!({}),
            json!({"effectiveDateTime": "2026-01-04T23:00:00Z"}),
            json!({"effectiveDateTime": "2026-01-05"}),
            json!({"effectiveDateTime": "2026-01-06T01:00:00+02:00"}),
            json!({"effectivePeriod": {"start": "2026-01-05", "end": "2026-01-05T00:00:00+14:00"}}),
            json!({"effectivePeriod": {"start": "2026-01-04T20:00:00Z", "end": "2026-01-05T06:00:00Z"}}),
            json!({"effectivePeriod": {"start": "2026-01-06", "end": "2026-01-20"}}),
            json!({"effectivePeriod": {"start": "2026-01-06T00:00:00Z"}}),
        ];
        let beside = vec![
            json!({}),
            json!({"performer": [{"reference": "Practitioner/1"}]}),
            json!({"derivedFrom": [{"reference": "Observation/other"}]}),
            json!({"component": [{"code": {"coding": [{"system": LOINC, "code": "29463-7"}]}}]}),
            json!({"extension": [{"url": "urn:x", "valueQuantity": {"value": 1}}]}),
            json!({"interpretation": [{"coding": [{"system": LOINC, "code": "29463-7"}]}]}),
            json!({"category": [{"coding": [{"system": "urn:x", "code": "a"}]}]}),
        ];
        let label = |(system, code): (&str, &str)| json!({"system": format!("http://terminology.hl7.org/CodeSystem/v3-{system}"), "code": code});
        let label = |codes: &[(&str, &str)]| codes.iter().copied().map(label).collect::<Value>();
        let (restricted, low, psychiatric) = (("Confidentiality", "R"), ("Confidentiality", "L"), ("ActCode", "PSY"));
        let labels = vec![
            json!([]),
            label(&[restricted]),
            label(&[low]),
            label(&[psychiatric]),
            label(&[psychiatric, restricted]),
            label(&[restricted, low]),
            label(&[psychiatric, ("ActCode", "HIV")]),
            label(&[("Confidentiality", "x")]),
        ];
        let codes = prop::sample::subsequence(CODES.to_vec(), 0..=2);
        let select = |values: Vec<Value>| prop::sample::select(values);
        (codes, select(dates), select(beside), select(labels), any::<bool>()).prop_map(|(codes, date, beside, labels, own)| {
            let mut resource = json!({"resourceType": KIND, "id": if own { "o" } else { "p" }, "subject": {"reference": "Patient/1"}});
            let members = resource.as_object_mut().unwrap();
            for more in [date, beside] {
                members.extend(more.as_object().unwrap().clone());
            }
            if !codes.is_empty() {
                let codings: Value = codes.iter().map(|(system, code)| json!({"system": system, "code": code})).collect();
                members.insert("code".to_owned(), json!({"coding": codings}));
            }
            if labels != json!([]) {
                members.insert("meta".to_owned(), json!({"security": labels}));
            }
            resource
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_is_permitted_is_gone_through_and_what_is_not_is_known_by_its_gist(
            consents in consents(), resource in resources(), by_code: bool,
            policy in prop::sample::select(vec![None, Some("ehds-primary-use"), Some("Policy-basic-normal")]),
        ) {
            let asked = asked(&consents, policy, by_code);
            let person = &asked.persons[&KEY];
            let text = resource.to_string();
            let document = reader::parse(text.as_str()).unwrap();
            let root = Element::root(&document);
            let facts = Facts::of(asked.kind.clone(), root);
            let id = root.text_of("id").unwrap();
            let reference = format!("{KIND}/{id}");
            let subject = Subject { patients: &person.names, reference: &reference, facts: &facts };
            let request = consent::Request { policies: &[], ..asked.request() };
            let permitted = consents::permit(&person.page.consents, &asked.implied, &request, &subject, ()).is_ok();

            let gist = gist::of(KIND, text.as_bytes()).unwrap();
            let glimpse = Glimpse { patient: KEY, id: ResId([0; 16]), name: Some(id), gist: &gist };
            // Twice, as what was decided before is decided again.
            for _ in 0..2 {
                prop_assert_eq!(asked.judge(&glimpse) == Pass::Through, permitted);
            }
            if !permitted {
                return Ok(());
            }
            let date = said::dated(root);
            let within = |dates: Option<(i64, i64)>| {
                dates.is_some_and(|(from, until)| match date {
                    Some(Dated::At(at)) => (from..until).contains(&at),
                    _ => true,
                })
            };
            let codes = said::coded(root);
            // Filed by its labels, or at a time when nobody knew them.
            for labels in [Some(gist::beside(KIND, text.as_bytes()).labels), None] {
                let dates = |coding| asked.dates(&Together { patient: KEY, coding, labels });
                let mut entries = codes.iter().map(|(system, code)| dates(Some((system.as_str(), code.as_str()))));
                let found = match (codes.is_empty(), by_code) {
                    (true, _) => within(dates(None)),
                    (false, true) => entries.all(within),
                    (false, false) => entries.any(within),
                };
                prop_assert!(found, "{codes:?} {labels:?} {date:?}");
            }
        }
    }
}
