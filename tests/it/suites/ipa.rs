//! What the test kit for International Patient Access asks of servers, of the types that the gateway keeps: its searches, as
//! their titles say, and what they give.

use std::fs;

use mhealth_gateway::fhir::definitions::Registry;
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use super::{errors, issues, package, packages, suite};
use crate::devices::{address, heart_rate};
use crate::fixture::{Client, Gateway, ids};

const SCOPES: &str = "system/Patient.crus system/Consent.crus system/Observation.crus system/Provenance.rs";

/// What is no measurement is for others to keep.
const NOT_KEPT: &[(&str, &str)] = &[
    ("allergy_intolerance", "AllergyIntolerance"),
    ("condition", "Condition"),
    ("document_reference", "DocumentReference"),
    ("immunization", "Immunization"),
    ("medication", "Medication"),
    ("medication_request", "MedicationRequest"),
    ("medication_statement", "MedicationStatement"),
    ("practitioner", "Practitioner"),
    ("practitioner_role", "PractitionerRole"),
    ("problem_list_item", "Condition"),
];

/// Headings of the kit, and what is not true of the gateway.
const NOT_HELD: &[(&str, &str)] = &[
    (
        "ipa_100_instantiates_ig",
        "apps of citizens sign in elsewhere: there is no standalone launch, so IPA is not claimed",
    ),
    ("ipa_100_profile_support", "the same; that resources meet the profiles is looked at below"),
    ("ipa_v100_patient_provenance_revinclude_search_test", "where a Patient came from is told by nobody"),
];

/// One test of the kit.
struct Test {
    id: String,
    title: String,
    description: String,
    /// The folder that it stands in, a type or so; none of headings.
    group: Option<String>,
}

fn kit() -> Vec<Test> {
    let text = fs::read_to_string(suite("inferno").join("ipa-test-kit.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let group = |row: &Value| {
        let file = text(row, "file");
        let (_, behind) = file.split_once("/v1.0.0/")?;
        behind.split_once('/').map(|(group, _)| group.to_owned())
    };
    rows.iter()
        .map(|row| Test {
            id: text(row, "id"),
            title: text(row, "title"),
            description: text(row, "description"),
            group: group(row),
        })
        .collect()
}

/// What there is to be found.
struct Stage {
    app: Client,
    patient: String,
    validator: Validator,
    capabilities: Value,
}

impl Stage {
    async fn new(gateway: &Gateway) -> Stage {
        let app = gateway.client("app", SCOPES).await;
        let other = app.person().await;
        let person = json!({
            "resourceType": "Patient",
            "active": true,
            "identifier": [{"system": "urn:test:persons", "value": "1"}],
            "name": [{"family": "Virtanen", "given": ["Aino"]}],
            "gender": "female",
            "birthDate": "1970-02-03",
            "link": [{"other": {"reference": format!("Patient/{other}")}, "type": "seealso"}],
        });
        let patient = app.post("/Patient", &person).await.id();
        let actor = app.actor.clone();
        app.consent(&patient, &[(actor.as_str(), &[Action::Collect, Action::Access], &["heart-rate"])]).await;
        let headers = [("content-type", "application/json"), ("accept", "application/json")];
        let records = json!({"records": [heart_rate("a", 71)]}).to_string();
        let pushed = app.raw("POST", &address(&app, &patient), &headers, records).await;
        assert_eq!(pushed.status, 200, "{}", pushed.text());
        let mut absent = crate::fixture::heart_rate(&patient, "absent", 0);
        absent.as_object_mut().unwrap().remove("valueQuantity");
        let code = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
        absent["dataAbsentReason"] = json!({"coding": [{"system": code, "code": "not-performed"}]});
        let answer = app.post("/Observation", &absent).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let ipa = package(&packages().join("hl7.fhir.uv.ipa-1.0.0.tgz"));
        let validator = Validator::new(Registry::with_packages(vec![ipa]));
        let capabilities = app.get("/metadata").await.json();
        Stage { app, patient, validator, capabilities }
    }

    /// A value that something there has, and one that nothing has.
    fn values(&self, parameter: &str) -> (String, &'static str) {
        let (found, other) = match parameter {
            "patient" => (format!("Patient/{}", self.patient), "Patient/nobody"),
            "_id" => (self.patient.clone(), "nobody"),
            "category" => ("http://terminology.hl7.org/CodeSystem/observation-category|vital-signs".into(), "survey"),
            "code" => ("http://loinc.org|8867-4".into(), "http://loinc.org|29463-7"),
            "date" => ("ge2026-01-01".into(), "lt2020-01-01"),
            "status" => ("final".into(), "entered-in-error"),
            "birthdate" => ("1970-02-03".into(), "1970-02-04"),
            "family" | "name" => ("virtanen".into(), "nobody"),
            "given" => ("aino".into(), "nobody"),
            "gender" => ("female".into(), "male"),
            "identifier" => ("urn:test:persons|1".into(), "urn:test:persons|2"),
            _ => panic!("what is {parameter}?"),
        };
        (found, other)
    }

    async fn all(&self, kind: &str) -> Vec<Value> {
        let query = if kind == "Patient" { "_id" } else { "patient" };
        let bundle = self.app.get(&format!("/{kind}?{query}={}", self.patient)).await.json();
        let entries = bundle["entry"].as_array().unwrap().iter();
        entries.map(|entry| entry["resource"].clone()).filter(|one| one["resourceType"] == kind).collect()
    }

    /// The search of a title, by GET and by POST, finds what there is, and nothing of something else.
    async fn search(&self, kind: &str, title: &str) {
        let (_, by) = title.split_once(" search by ").unwrap();
        let parts: Vec<&str> = by.split(" + ").collect();
        let (revinclude, parameters): (Vec<&str>, Vec<&str>) =
            parts.into_iter().partition(|part| part.starts_with("revInclude:"));
        let pair = |name: &str, value: &str| {
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("{name}={value}")
        };
        let included = revinclude.iter().map(|part| pair("_revinclude", part.trim_start_matches("revInclude:")));
        let included: Vec<String> = included.collect();
        for at in (0..parameters.len()).map(Some).chain([None]) {
            let pairs = parameters.iter().enumerate().map(|(index, name)| {
                let (found, other) = self.values(name);
                pair(name, if at == Some(index) { other } else { &found })
            });
            let query = pairs.chain(included.iter().cloned()).collect::<Vec<_>>().join("&");
            let answer = self.app.get(&format!("/{kind}?{query}")).await;
            assert_eq!(answer.status, 200, "{title}: {query}: {}", answer.text());
            let bundle = answer.json();
            assert_eq!(ids(&bundle).is_empty(), at.is_some(), "{title}: {query}");
            let entries = bundle["entry"].as_array().into_iter().flatten();
            let has_more = entries.into_iter().any(|entry| entry["resource"]["resourceType"] == "Provenance");
            assert_eq!(has_more, at.is_none() && !included.is_empty(), "{title}: {query}");
            let form = [("content-type", "application/x-www-form-urlencoded")];
            let posted = self.app.raw("POST", &format!("/{kind}/_search"), &form, query).await;
            assert_eq!(ids(&posted.json()), ids(&bundle), "{title}");
        }
    }

    /// Every element that must be supported is there in some of them.
    async fn must_support(&self, kind: &str, description: &str) {
        let all = self.all(kind).await;
        let listed = description.split(" * ").skip(1).filter_map(|part| part.split_whitespace().next());
        let mut count = 0;
        for path in listed {
            count += 1;
            let elements: Vec<&str> = path.split('.').skip(1).collect();
            assert!(all.iter().any(|one| has(one, &elements)), "{path} is in none");
        }
        assert!(count > 3, "{description}");
    }

    fn meets(&self, profile: &str, resource: &Value) {
        let mut claiming = resource.clone();
        claiming["meta"]["profile"] = json!([profile]);
        let found = issues(&self.validator, claiming.to_string().as_bytes(), &Options::default());
        assert_eq!(errors(&found), 0, "{profile}: {:?}", found.iter().map(super::line).collect::<Vec<_>>());
    }

    async fn holds(&self, test: &Test, kind: &str) {
        let Test { id, title, description, group } = test;
        match id {
            _ if id.ends_with("_search_test") => self.search(kind, title).await,
            _ if id.ends_with("_must_support_test") => self.must_support(kind, description).await,
            _ if id.ends_with("_read_test") => {
                for one in self.all(kind).await {
                    let read = self.app.get(&format!("/{kind}/{}", one["id"].as_str().unwrap())).await;
                    assert_eq!((read.status, read.json()), (200, one), "{title}");
                }
            }
            _ if id.ends_with("_reference_resolution_test") => {
                for one in self.all(kind).await {
                    let subject = self.app.get(&format!("/{}", one["subject"]["reference"].as_str().unwrap())).await;
                    assert_eq!(subject.status, 200, "{title}");
                }
            }
            _ if id.ends_with("_validation_test") => {
                let profile = match group.as_deref().unwrap() {
                    "vitalsigns" => "http://hl7.org/fhir/StructureDefinition/vitalsigns".to_owned(),
                    group => format!("http://hl7.org/fhir/uv/ipa/StructureDefinition/ipa-{group}"),
                };
                for one in self.all(kind).await {
                    self.meets(&profile, &one);
                }
            }
            _ => panic!("{id}: what is to be looked at?"),
        }
    }

    fn capability(&self, id: &str) {
        let told = &self.capabilities;
        match id {
            "ipa_100_conformance_support" => assert_eq!(told["resourceType"], "CapabilityStatement"),
            "ipa_100_fhir_version" => assert_eq!(told["fhirVersion"], "4.0.1"),
            "ipa_100_json_support" => assert!(told["format"].as_array().unwrap().contains(&json!("json"))),
            _ => panic!("{id}: what is to be looked at?"),
        }
    }

    fn keeps(&self, kind: &str) -> bool {
        self.capabilities["rest"][0]["resource"].as_array().unwrap().iter().any(|one| one["type"] == kind)
    }
}

/// Whether something has an element; `value[x]` may be of any type.
fn has(value: &Value, path: &[&str]) -> bool {
    let Some((name, rest)) = path.split_first() else { return true };
    // Of which slice it is, the profile says.
    let name = name.split(':').next().unwrap();
    match value {
        Value::Array(list) => list.iter().any(|one| has(one, path)),
        Value::Object(members) => members.iter().any(|(member, value)| {
            let is_it = name.strip_suffix("[x]").map_or(member.as_str() == name, |stem| member.starts_with(stem));
            is_it && has(value, rest)
        }),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_international_patient_access_asks_holds_or_has_its_reason() {
    let gateway = Gateway::start().await;
    let stage = Stage::new(&gateway).await;
    let mut looked_at = 0;
    for test in kit() {
        let Some(group) = test.group.as_deref() else { continue };
        if NOT_HELD.iter().any(|(id, _)| *id == test.id) {
            continue;
        }
        let kind = match group {
            "capability_statement" => {
                stage.capability(&test.id);
                continue;
            }
            "patient" => "Patient",
            "observation" | "vitalsigns" => "Observation",
            group => {
                let (_, kind) = NOT_KEPT.iter().find(|(known, _)| *known == group).unwrap_or_else(|| panic!("{group}"));
                assert!(!stage.keeps(kind), "{}: {kind} is kept", test.id);
                continue;
            }
        };
        stage.holds(&test, kind).await;
        looked_at += 1;
    }
    assert!(looked_at > 30, "{looked_at}");
}
