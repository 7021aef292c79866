//! The guide: every example does in the running gateway what it says, and tables and profiles agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use mhealth_gateway::exchange::CATEGORY_SYSTEM;
use mhealth_gateway::fhir::definitions::{Kind, Registry};
use mhealth_gateway::fhir::ours;
use mhealth_gateway::fhir::outcome::has_errors;
use mhealth_gateway::fhir::tree::{Element, json};
use mhealth_gateway::fhir::validate::measures::{self, Measure, category};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Answer, Client, Gateway, run};

/// A row of the table of examples.
struct Example {
    valid: bool,
    id: String,
    profile: String,
    /// The issue that it must raise.
    issue: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles").join(name)
}

static EXAMPLES: LazyLock<Vec<Example>> = LazyLock::new(|| {
    let table = fs::read_to_string(folder("examples/expected.csv")).unwrap();
    let read = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [kind, id, profile, issue] = fields[..] else { panic!("{line}") };
        Example { valid: kind == "valid", id: id.into(), profile: profile.into(), issue: issue.into() }
    };
    table.lines().skip(1).map(read).collect()
});

impl Example {
    fn text(&self) -> String {
        let kind = if self.valid { "valid" } else { "invalid" };
        fs::read_to_string(folder("examples").join(kind).join(format!("{}.json", self.id))).unwrap()
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }
}

/// The profiles of the guide: those of resources, not of extensions.
fn profiles(registry: &Registry) -> BTreeSet<String> {
    let all = registry.all(Kind::StructureDefinition).map(|id| registry.head(id));
    let own = all.filter(|head| head.url.starts_with(ours::STRUCTURES) && &*head.type_name != "Extension");
    own.map(|head| head.url.to_string()).collect()
}

/// The ids of the errors and warnings that `$validate` names, apart.
async fn told(app: &Client, text: &str) -> (Vec<String>, Vec<String>) {
    let value: Value = serde_json::from_str(text).unwrap();
    let path = format!("/{}/$validate", value["resourceType"].as_str().unwrap());
    let answer = app.raw("POST", &path, &[("content-type", "application/fhir+json")], text.to_owned()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let outcome = answer.json();
    let of = |severities: &[&str]| {
        let listed = outcome["issue"].as_array().unwrap().iter();
        let listed = listed.filter(|issue| severities.contains(&issue["severity"].as_str().unwrap()));
        listed.map(|issue| issue["details"]["coding"][0]["code"].as_str().unwrap().to_owned()).collect()
    };
    (of(&["fatal", "error"]), of(&["warning"]))
}

#[test]
fn every_profile_has_its_examples() {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for example in EXAMPLES.iter() {
        let count = counts.entry(&example.profile).or_default();
        *(if example.valid { &mut count.0 } else { &mut count.1 }) += 1;
        assert_eq!(example.valid, example.issue.is_empty(), "{}", example.id);
    }
    let few: Vec<_> = counts.iter().filter(|(_, (valid, invalid))| *valid < 2 || *invalid < 2).collect();
    assert!(few.is_empty(), "{few:?}");
    let named: BTreeSet<String> = counts.keys().map(|profile| (*profile).to_owned()).collect();
    assert_eq!(named, profiles(&guide::registry()));
    let files: usize =
        ["valid", "invalid"].iter().map(|kind| fs::read_dir(folder("examples").join(kind)).unwrap().count()).sum();
    assert_eq!(files, EXAMPLES.len(), "files and rows of the table");
}

#[tokio::test]
async fn every_example_does_what_it_says() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let mut wrong = Vec::new();
    for example in EXAMPLES.iter() {
        let (errors, warnings) = told(&app, &example.text()).await;
        // Whoever sends what we show is warned of nothing.
        let as_said =
            if example.valid { errors.is_empty() && warnings.is_empty() } else { errors.contains(&example.issue) };
        if !as_said {
            wrong.push(format!("{} says {:?}, is told {errors:?} {warnings:?}", example.id, example.issue));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What an app may send is also taken, its references led to what was taken before.
#[tokio::test]
async fn valid_examples_are_taken() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let mut waiting: Vec<Value> = EXAMPLES.iter().filter(|example| example.valid).map(Example::value).collect();
    for example in &mut waiting {
        strip_id(example);
    }
    let (first, rest): (Vec<Value>, Vec<Value>) =
        waiting.into_iter().partition(|each| each["resourceType"] == "Patient");
    for person in &first {
        let patient = place(&app, person, &mut places).await;
        let all: Vec<&str> = category::all().iter().map(|category| category.code.as_str()).collect();
        app.consent(patient.strip_prefix("Patient/").unwrap(), &[(&app.actor, &[Action::Collect], &all)]).await;
        permit_answers(&app, &patient).await;
    }
    let mut pushed = 0;
    for kind in ["Device", "Consent", "QuestionnaireResponse", "Observation", "Bundle"] {
        // What is derived from others comes after them.
        let mut of_kind: Vec<&Value> = rest.iter().filter(|each| each["resourceType"] == kind).collect();
        of_kind.sort_by_key(|each| each["derivedFrom"].as_array().map_or(0, Vec::len) + members(each));
        for example in of_kind.iter().filter(|each| kind != "Bundle" || each["type"] == "transaction") {
            place(&app, example, &mut places).await;
            pushed += 1;
        }
    }
    assert!(pushed > 55, "{pushed}");
}

fn members(example: &Value) -> usize {
    example["hasMember"].as_array().map_or(0, Vec::len)
}

/// The id stays under a name that the gateway does not read, to be known by.
fn strip_id(example: &mut Value) {
    let id = example.as_object_mut().unwrap().remove("id").unwrap();
    example["id-here"] = id;
}

/// A consent without codes: answers to questions have none.
async fn permit_answers(app: &Client, patient: &str) {
    let mut consent = crate::fixture::consent(
        patient.strip_prefix("Patient/").unwrap(),
        &[(&app.actor, &[Action::Collect], &["questionnaire"])],
    );
    consent["provision"]["provision"][0].as_object_mut().unwrap().remove("code");
    let answer = app.post("/Consent", &consent).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Sends an example and remembers where it is now; answers that.
async fn place(app: &Client, example: &Value, places: &mut BTreeMap<String, String>) -> String {
    let mut sent = example.clone();
    let name = sent.as_object_mut().unwrap().remove("id-here").unwrap();
    let kind = sent["resourceType"].as_str().unwrap().to_owned();
    let own = format!("{kind}/{}", name.as_str().unwrap());
    let mut text = sent.to_string();
    for (from, to) in places.iter() {
        text = text.replace(&format!("\"{from}\""), &format!("\"{to}\""));
    }
    let path = if kind == "Bundle" { String::new() } else { format!("/{kind}") };
    let answer: Answer = app.raw("POST", &path, &[("content-type", "application/fhir+json")], text).await;
    assert!([200, 201].contains(&answer.status), "{own}: {}", answer.text());
    if kind == "Bundle" {
        return own;
    }
    let now = format!("{kind}/{}", answer.id());
    places.insert(own, now.clone());
    now
}

/// The command knows the guide without being told of any package.
#[tokio::test]
async fn the_command_knows_the_guide() {
    let profile = format!("{}mh-heart-rate", ours::STRUCTURES);
    for (file, code) in [("valid/heart-rate-watch", 0), ("valid/body-weight-scale", 1), ("invalid/heart-rate-unit", 1)]
    {
        let path = folder("examples").join(format!("{file}.json"));
        let output = run(&["validate", "--profile", &profile, path.to_str().unwrap()]).await;
        assert_eq!(output.status.code(), Some(code), "{file}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| Validator::new(guide::registry()));

fn issues(value: &Value) -> Vec<mhealth_gateway::fhir::outcome::Issue> {
    let document = json::parse(value.to_string()).unwrap();
    VALIDATOR.check(Element::root(&document), &Options::default()).issues
}

/// Profiles of R4 fix the code, and most the unit.
fn is_vital_sign(profile: &str) -> bool {
    let structure = VALIDATOR.registry.structure(&format!("{}mh-{profile}", ours::STRUCTURES)).unwrap();
    structure.base != "http://hl7.org/fhir/StructureDefinition/Observation"
}

/// An Observation of a profile with a code, and with a usual value in a unit.
fn observation(
    profile: &str,
    measure: &Measure,
    code: &measures::Code,
    unit: Option<&measures::Unit>,
) -> Option<Value> {
    let url = format!("{}mh-{profile}", ours::STRUCTURES);
    // One with a value of its own, where the profile has such.
    let examples = EXAMPLES.iter().filter(|example| example.valid && example.profile == url).map(Example::value);
    let mut value = examples.min_by_key(|value| value.get("valueQuantity").is_none()).unwrap();
    let mut codings = vec![json!({"system": code.system, "code": code.code})];
    if is_vital_sign(profile) {
        codings.extend(value["code"]["coding"].as_array().unwrap().iter().take(1).cloned());
        codings.dedup();
    }
    value["code"] = json!({"coding": codings});
    value.as_object_mut().unwrap().remove("component");
    let Some(unit) = unit else {
        // What is no number has no unit; a panel without parts is no example.
        return (!measure.units.is_empty()).then_some(value);
    };
    let usual = ((unit.soft.0 + unit.soft.1) / rust_decimal::Decimal::TWO).to_string();
    let number: Value = serde_json::from_str(&usual).unwrap();
    if value.get("valueQuantity").is_some() {
        value["valueQuantity"]["value"] = number;
        value["valueQuantity"]["code"] = json!(unit.code);
    } else if value.get("valueSampledData").is_some() {
        value["valueSampledData"]["origin"]["code"] = json!(unit.code);
        value["valueSampledData"]["data"] = json!(format!("{usual} {usual}"));
    }
    Some(value)
}

/// Each measure passes in the profiles that the table names, by each of its codes, in each of its units.
#[test]
fn profiles_carry_the_measures_of_the_table() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for measure in measures::all() {
        for profile in &measure.profiles {
            // Parts of a panel, and recordings that are parts themselves.
            if ["blood-pressure", "ecg"].contains(profile) {
                continue;
            }
            let vital = is_vital_sign(profile);
            for code in measure.codes.iter().filter(|code| !code.is_withdrawn()) {
                for unit in measure.units.iter().take(if vital { 1 } else { usize::MAX }) {
                    let Some(value) = observation(profile, measure, code, Some(unit)) else { continue };
                    let found = issues(&value);
                    checked += 1;
                    if has_errors(&found) {
                        wrong.push(format!("{} {profile} {} {}: {found:?}", measure.key, code.code, unit.code));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 300, "{checked}");
}

/// The value sets that consents and scopes may name hold what the table says.
#[test]
fn value_sets_of_categories_hold_the_measures_of_the_table() {
    let registry = guide::registry();
    for measure in measures::all() {
        let named = [format!("category-{}", measure.category)];
        let carried = measure.profiles.iter().map(|profile| format!("codes-{profile}"));
        for name in named.into_iter().chain(carried) {
            let set =
                registry.value_set(&format!("{}/ValueSet/{name}", ours::BASE)).unwrap_or_else(|| panic!("{name}"));
            for code in measure.codes.iter().filter(|code| !code.is_withdrawn()) {
                assert!(set.contains(code.system, code.code), "{name} {}", code.code);
            }
        }
    }
}

/// LOINC codes end in a check digit (modulus 10, doubled from the right).
#[test]
fn loinc_codes_have_their_check_digit() {
    let measures = measures::all().iter().flat_map(|measure| &measure.codes);
    let codes = measures.filter(|code| code.system == measures::LOINC).map(|code| code.code.to_owned());
    let mut all: BTreeSet<String> = codes.collect();
    for file in fs::read_dir(folder("compiled")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        gather(&value, &mut all);
    }
    assert!(all.len() > 100);
    // Those of answers are made otherwise.
    for code in all.iter().filter(|code| !code.starts_with("LA")) {
        let (digits, check) = code.rsplit_once('-').unwrap();
        let digits = digits.bytes().rev().map(|byte| u32::from(byte - b'0'));
        let sum: u32 = digits
            .enumerate()
            .map(|(at, digit)| if at % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
            .sum();
        assert_eq!(check.parse(), Ok((10 - sum % 10) % 10), "{code}");
    }
}

fn gather(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if members.get("system").is_some_and(|system| system == measures::LOINC) {
                into.extend(members.get("code").and_then(Value::as_str).map(str::to_owned));
            }
            members.values().for_each(|member| gather(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, into)),
        _ => {}
    }
}

/// What the guide publishes is itself valid.
#[test]
fn the_compiled_guide_is_valid() {
    for file in fs::read_dir(folder("compiled")).unwrap() {
        let path = file.unwrap().path();
        let value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let found = issues(&value);
        assert!(!has_errors(&found), "{}: {found:#?}", path.display());
    }
}

/// Mood, cycle and alcohol are restricted unless they say otherwise.
#[tokio::test]
async fn sensitive_categories_are_restricted_by_default() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let confidentiality = |code: &str| json!([{"system": category::CONFIDENTIALITY, "code": code}]);
    for (granted, labelled, expected) in
        [("N", None, 403), ("R", None, 201), ("N", Some("N"), 201), ("N", Some("R"), 403)]
    {
        let patient = app.person().await;
        let mut consent = crate::fixture::consent(&patient, &[(&app.actor, &[Action::Collect], &["mental-health"])]);
        consent["provision"]["provision"][0]["securityLabel"] = confidentiality(granted);
        assert_eq!(consent["provision"]["provision"][0]["code"][0]["coding"][0]["system"], CATEGORY_SYSTEM);
        let answer = app.post("/Consent", &consent).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let mut score = json!({
            "resourceType": "Observation", "status": "final",
            "identifier": [{"system": "urn:test:scores", "value": format!("{patient}-{granted}")}],
            "code": {"coding": [{"system": "http://loinc.org", "code": "44261-6"}]},
            "subject": {"reference": format!("Patient/{patient}")}, "effectiveDateTime": "2026-01-15",
            "valueQuantity": {"value": 7, "unit": "points", "system": "http://unitsofmeasure.org", "code": "{score}"}
        });
        if let Some(label) = labelled {
            score["meta"] = json!({"security": confidentiality(label)});
        }
        let answer = app.post("/Observation", &score).await;
        assert_eq!(answer.status, expected, "{granted} {labelled:?}: {}", answer.text());
    }
}
