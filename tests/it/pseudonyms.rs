//! Destinations that may not learn whose data they get: each knows persons by names of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use mhealth_gateway::fhir::definitions::{Package, Registry};
use mhealth_gateway::fhir::tree::{Element, json as tree};
use mhealth_gateway::fhir::validate::{Options, Validator};
use mhealth_gateway::guide;
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Client, Gateway, Platform, eventually, heart_rate, shared};

const MARKER: &str = "Zerlina";

/// A reading with the person all over it.
fn reading(patient: &str, identifier: &str, value: u32) -> Value {
    let mut sent = heart_rate(patient, &format!("{MARKER}-{identifier}"), value);
    sent["subject"]["display"] = json!(MARKER);
    sent["performer"] = json!([{"reference": format!("Patient/{patient}"), "display": MARKER}]);
    sent["note"] = json!([{"text": format!("{MARKER} had coffee")}]);
    sent["device"] = json!({"display": format!("{MARKER}'s watch"), "identifier": {"value": "SN-4711"}});
    sent["meta"] = json!({"source": format!("urn:{MARKER}")});
    sent
}

/// A gateway with a destination that knows persons, and two that do not.
struct Stage {
    open: Platform,
    north: Platform,
    south: Platform,
    gateway: Gateway,
    app: Client,
    patient: String,
}

impl Stage {
    async fn new() -> Stage {
        let (open, north, south) = (Platform::start(&[]).await, Platform::start(&[]).await, Platform::start(&[]).await);
        let named = |platform: &Platform, name: &str| {
            let section = platform.destination("identity = \"pseudonym\"");
            section.replace("\"platform\"", &format!("{name:?}")).replace("/platform\"", &format!("/{name}\""))
        };
        let sections = [open.destination(""), named(&north, "north"), named(&south, "south")];
        let gateway = Gateway::with(&sections.concat()).await;
        let app = gateway.app().await;
        let patient = app.consenting_person().await;
        let to = |actor| (actor, &[Action::Disclose][..], &["heart-rate"][..]);
        let actors = ["Organization/platform", "Organization/north", "Organization/south"];
        app.consent(&patient, &actors.map(to)).await;
        Stage { open, north, south, gateway, app, patient }
    }

    async fn correct(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut changed = self.app.get(&format!("/Observation/{id}")).await.json();
        change(&mut changed);
        let answer = self.app.put(&format!("/Observation/{id}"), &changed).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The person's own record of what was done with her data.
    async fn log(&self) -> Vec<Value> {
        let address = format!("{}/persons/{}/access-log?_count=100", self.app.root(), self.patient);
        let answer = self.app.get(&address).await.json();
        answer["entries"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }
}

/// What a platform holds once that many arrived in these versions.
async fn held(platform: &Platform, versions: &[&str]) -> Vec<Value> {
    eventually("it arrives", async || {
        let held = platform.held().await;
        let mut found: Vec<&str> = held.iter().map(|one| one["meta"]["versionId"].as_str().unwrap()).collect();
        found.sort_unstable();
        (found == versions).then_some(held.clone())
    })
    .await
}

/// Ids, references and whatever identifies; what is measured is the same for all, and so are codes.
fn names(of: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![of];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(text)
                            if matches!(name.as_str(), "id" | "reference" | "value" | "lastUpdated" | "issued") =>
                        {
                            found.insert(text.to_owned());
                        }
                        _ => waiting.push(member),
                    }
                }
            }
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn two_destinations_have_no_name_in_common() {
    let stage = Stage::new().await;
    let created = stage.app.post("/Observation", &reading(&stage.patient, "1", 70)).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let id = created.id();
    let first = held(&stage.north, &["1"]).await;
    held(&stage.open, &["1"]).await;
    stage.correct(&id, |observation| observation["valueQuantity"]["value"] = json!(71)).await;
    assert_eq!(stage.app.post("/Observation", &reading(&stage.patient, "2", 80)).await.status, 201);
    let north = held(&stage.north, &["1", "2"]).await;
    let south = held(&stage.south, &["1", "2"]).await;
    let open = held(&stage.open, &["1", "2"]).await;

    // A correction reaches the same resource of the same person.
    let corrected = north.iter().find(|one| one["valueQuantity"]["value"] == 71).unwrap();
    assert_eq!((&corrected["id"], &corrected["subject"]), (&first[0]["id"], &first[0]["subject"]));
    for held in [&north, &south] {
        assert_eq!(held[0]["subject"], held[1]["subject"]);
        assert_ne!(held[0]["id"], held[1]["id"]);
    }
    let all = |held: &[Value]| held.iter().flat_map(names).collect::<BTreeSet<_>>();
    let (north_names, south_names, open_names) = (all(&north), all(&south), all(&open));
    assert_eq!(north_names.len(), 3, "two resources and a person: {north_names:?}");
    assert_eq!(north_names.intersection(&south_names).count(), 0);
    assert_eq!(north_names.intersection(&open_names).count(), 0);

    let core = std::fs::read(shared("MHEALTH_PACKAGES", "packages").join("hl7.fhir.r4.core-4.0.1.tgz")).unwrap();
    let r4 = Validator::new(Registry::with_packages(vec![Arc::new(Package::read(&core).unwrap())]));
    for sent in north.iter().chain(&south) {
        let text = sent.to_string();
        for identity in [MARKER, "SN-4711", stage.patient.as_str(), id.as_str(), "lastUpdated", "identifier", "display"]
        {
            assert!(!text.contains(identity), "{identity}: {text}");
        }
        let document = tree::parse(text.clone()).unwrap();
        let report = r4.check(Element::root(&document), &Options::default());
        let errors: Vec<_> = report.issues.iter().filter(|issue| issue.is_error()).collect();
        assert!(errors.is_empty(), "{text}\n{errors:?}");
        assert_eq!(sent["valueQuantity"]["code"], "/min");
        assert_eq!(sent["meta"]["security"][0]["code"], "PSEUDED");
    }
    assert!(open[0].to_string().contains(MARKER), "whoever may know her knows her");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_sees_what_truly_left_and_nobody_a_register() {
    let stage = Stage::new().await;
    let id = stage.app.post("/Observation", &reading(&stage.patient, "1", 70)).await.id();
    let north = held(&stage.north, &["1"]).await;
    let lines = eventually("the disclosures are told", async || {
        let lines = stage.log().await;
        (lines.iter().filter(|line| line["act"] == "disclose" && line["done"] == true).count() == 3).then_some(lines)
    })
    .await;
    for line in lines.iter().filter(|line| line["act"] == "disclose" && line["done"] == true) {
        assert_eq!(line["resources"], json!([format!("Observation/{id}/_history/1")]));
        let by_pseudonym = line["who"]["id"] != "platform";
        assert_eq!(line["pseudonym"] == true, by_pseudonym, "{line}");
    }
    // Neither the log nor the audit leads from a name there to the person.
    let trail = stage.app.get(&format!("/AuditEvent?patient=Patient/{}", stage.patient)).await.text();
    assert!(trail.contains("PSEUDED"));
    for name in names(&north[0]) {
        let name = name.rsplit('/').next().unwrap().to_owned();
        assert!(!trail.contains(&name) && !json!(lines).to_string().contains(&name), "{name}");
    }
    // The label is one that the pattern of the disclosure has room for.
    let package = std::fs::read(shared("MHEALTH_PACKAGES", "packages").join("ihe.iti.balp-1.1.5-current.tgz")).unwrap();
    let balp = Arc::new(Package::read(&package).unwrap());
    let validator = Validator::new(Registry::with_packages([guide::packages(), vec![balp]].concat()));
    let found: Value = serde_json::from_str(&trail).unwrap();
    let labelled = found["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
    let labelled: Vec<&Value> = labelled.filter(|event| event.to_string().contains("PSEUDED")).collect();
    assert!(!labelled.is_empty());
    for event in labelled {
        let profile = event["meta"]["profile"][0].as_str().unwrap();
        let document = tree::parse(event.to_string()).unwrap();
        let options = Options { location: "AuditEvent", profiles: &[profile], ..Options::default() };
        let report = validator.check(Element::root(&document), &options);
        let errors: Vec<_> = report.issues.iter().filter(|issue| issue.is_error()).collect();
        assert!(errors.is_empty(), "{event:#}\n{errors:?}");
    }
    drop(stage.gateway);
}

/// What cannot be told without saying whose it is does not leave, and the person is told so.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_so_is_withheld() {
    let stage = Stage::new().await;
    let mut sent = reading(&stage.patient, "1", 70);
    sent["meta"]["security"] = json!([{"system": "urn:wards", "code": MARKER}]);
    let created = stage.app.post("/Observation", &sent).await;
    assert_eq!(created.status, 201, "{}", created.text());
    held(&stage.open, &["1"]).await;
    let withheld = eventually("it is withheld twice", async || {
        let lines = stage.log().await;
        let told = lines.into_iter().filter(|line| line["issues"] == json!(["identity-inseparable"]));
        Some(told.collect::<Vec<_>>()).filter(|told| told.len() == 2)
    })
    .await;
    assert!(withheld.iter().all(|line| line["done"] == false), "{withheld:?}");
    assert_eq!(stage.north.account().await["received"], 0);
    assert_eq!(stage.south.account().await["received"], 0);
}
