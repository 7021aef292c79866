//! What destinations with a shape of their own answer, measurement by measurement: the names that they give are kept, what is
//! corrected or taken back later is addressed by them, and one that is refused keeps nothing else back.

use std::collections::BTreeSet;

use mhealth_gateway::policy::consent::Action;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, Platform, eventually, heart_rate};
use crate::packs::blood_pressure;
use crate::rights::{asks, own_requests};
use crate::told::weight;

const PERSONS: &str = "urn:oid:1.2.250.1";
const CATEGORIES: &[&str] = &["heart-rate", "blood-pressure", "weight"];

/// A gateway with one national system, and a person who is linked to it.
pub struct Stage {
    pub platform: Platform,
    pub gateway: Gateway,
    pub app: Client,
    pub patient: String,
    /// The consent about the platform.
    pub shares: String,
}

impl Stage {
    pub async fn new(pack: &str, settings: &str, extra: &str) -> Stage {
        Stage::at(Platform::national(pack).await, pack, settings, extra).await
    }

    /// Plain FHIR that is told of everything by the names that it gives.
    async fn plain(extra: &str) -> Stage {
        Stage::new("eu-r4", &format!("persons = {PERSONS:?}"), extra).await
    }

    /// The same at a destination that lets the gateway in for one person's record at a time.
    pub async fn for_persons(platform: Platform, pack: &str, settings: &str) -> Stage {
        let section = platform.for_persons(&format!("pack = {pack:?}\nsettings = {{ {settings} }}"));
        Stage::with(platform, &section).await
    }

    pub async fn at(platform: Platform, pack: &str, settings: &str, extra: &str) -> Stage {
        let section = platform.destination(&format!("pack = {pack:?}\nsettings = {{ {settings} }}\n{extra}"));
        Stage::with(platform, &section).await
    }

    async fn with(platform: Platform, section: &str) -> Stage {
        let gateway = Gateway::with(section).await;
        let app = gateway.app().await;
        let scopes = format!("{} system/Patient.d", APP_SCOPES.replace("Observation.crus", "Observation.cruds"));
        let app = own_requests(&gateway, &app, &scopes).await;
        let (patient, shares) = linked(&app, "linked-1").await;
        Stage { platform, gateway, app, patient, shares }
    }

    pub async fn push(&self, resource: &Value) -> String {
        created(&self.app.post("/Observation", resource).await)
    }

    /// Several in one request.
    async fn push_all(&self, resources: &[Value]) {
        let entry =
            resources.iter().map(|one| json!({"resource": one, "request": {"method": "POST", "url": "Observation"}}));
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entry.collect::<Vec<_>>()});
        let answer = self.app.post("", &bundle).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn correct(&self, id: &str, value: u32) {
        let mut corrected = self.app.get(&format!("/Observation/{id}")).await.json();
        corrected["valueQuantity"]["value"] = json!(value);
        let answer = self.app.put(&format!("/Observation/{id}"), &corrected).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Waits until the platform holds these values, each once; their ids there.
    pub async fn holds(&self, values: &[u32]) -> Vec<String> {
        let wanted: Vec<Value> = values.iter().map(|value| json!(value)).collect();
        eventually(&format!("it holds {values:?}"), async || {
            let mut held = self.platform.held().await;
            held.retain(|one| one["resourceType"] == "Observation");
            held.sort_by_key(|one| one["valueQuantity"]["value"].as_u64());
            let found: Vec<Value> = held.iter().map(|one| one["valueQuantity"]["value"].clone()).collect();
            (found == wanted).then(|| held.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect())
        })
        .await
    }

    /// Waits until nothing waits.
    pub async fn at_rest(&self) {
        eventually("it is at rest", async || {
            let backlog = self.gateway.store().backlog("platform").await.unwrap();
            (backlog.behind == 0 && backlog.retries == 0).then_some(())
        })
        .await;
    }

    async fn dead(&self) -> Vec<String> {
        let letters = self.gateway.store().dead_letters(Some("platform")).await.unwrap();
        letters.into_iter().map(|letter| letter.reason).collect()
    }

    /// The names that the platform gave to what was sent of the person.
    async fn names(&self) -> BTreeSet<String> {
        let key = self.gateway.inner().patient_key(&self.patient);
        let known = self.gateway.store().known_as("platform", key).await.unwrap();
        known.into_values().flat_map(|known| known.names).collect()
    }
}

fn created(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.id()
}

/// A person whom the platform knows by an identifier, and her consent to tell it.
pub async fn linked(app: &Client, value: &str) -> (String, String) {
    let identifier = json!([{"system": PERSONS, "value": value}]);
    let person = json!({"resourceType": "Patient", "active": true, "identifier": identifier});
    let patient = created(&app.post("/Patient", &person).await);
    let own = app.actor.clone();
    app.consent(&patient, &[(own.as_str(), &[Action::Collect, Action::Access], CATEGORIES)]).await;
    let shares = app.consent(&patient, &[("Organization/platform", &[Action::Disclose], CATEGORIES)]).await;
    (patient, shares)
}

const TOLD: &str = "on_withdrawal = \"delete\"\non_erasure = \"delete\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_and_a_removal_go_to_the_name_that_the_destination_gave() {
    let stage = Stage::plain(TOLD).await;
    let rate = stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    let mass = stage.push(&weight(&stage.patient, "w-1")).await;
    let first = stage.holds(&[64, 70]).await;
    assert!(first.iter().all(|id| id.starts_with("there-")), "{first:?}");
    stage.at_rest().await;
    assert_eq!(stage.names().await, first.iter().map(|id| format!("Observation/{id}")).collect());

    stage.correct(&rate, 66).await;
    assert_eq!(stage.holds(&[66, 70]).await, first, "what was there was changed");
    // Deleted here, it is deleted there.
    assert_eq!(stage.app.send(Method::DELETE, &format!("/Observation/{mass}"), "").await.status, 204);
    assert_eq!(stage.holds(&[66]).await, first[..1]);
    stage.at_rest().await;
    assert_eq!(stage.names().await.len(), 1);

    stage.app.withdraw(&stage.shares).await;
    stage.holds(&[]).await;
    stage.at_rest().await;
    assert!(stage.names().await.is_empty());
    let account = stage.platform.account().await;
    assert_eq!((&account["takenBack"], &account["violationCount"]), (&json!(2), &json!(0)), "{account}");
    let log =
        stage.app.get(&format!("{}/persons/{}/access-log?_count=100", stage.app.root(), stage.patient)).await.json();
    let recalls = log["entries"].as_array().unwrap().iter().filter(|line| line["act"] == "recall");
    assert!(recalls.filter(|line| line["done"] == true).count() == 2, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_learnt_again_and_nothing_is_there_twice() {
    let stage = Stage::plain("").await;
    for mode in ["garbage", "half"] {
        stage.platform.fault(mode, Some(1)).await;
        let rate = stage.push(&heart_rate(&stage.patient, mode, 64)).await;
        let there = stage.holds(&[64]).await;
        stage.at_rest().await;
        stage.correct(&rate, 65).await;
        assert_eq!(stage.holds(&[65]).await, there, "{mode}");
        stage.at_rest().await;
        // The name is gone, as if its answer had been lost for good: the next version learns it, and arrives.
        let key = stage.gateway.inner().patient_key(&stage.patient);
        let name = ("Observation".to_owned(), rate.clone());
        stage.gateway.store().taken_back("platform", key, vec![name], Vec::new()).await.unwrap();
        stage.correct(&rate, 66).await;
        assert_eq!(stage.holds(&[66]).await, there, "{mode}");
        assert_eq!(stage.app.send(Method::DELETE, &format!("/Observation/{rate}"), "").await.status, 204);
        stage.holds(&[]).await;
        stage.at_rest().await;
    }
    assert!(stage.dead().await.is_empty(), "{:?}", stage.dead().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_goes_to_the_names_that_the_destination_gave() {
    let stage = Stage::plain(TOLD).await;
    let (other, _) = linked(&stage.app, "linked-2").await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.push(&heart_rate(&stage.patient, "hr-2", 65)).await;
    stage.push(&heart_rate(&other, "hr-3", 66)).await;
    stage.holds(&[64, 65, 66]).await;
    stage.at_rest().await;
    let address = format!("/Patient/{}/$erase", stage.patient);
    assert_eq!(asks(&stage.app, "POST", &address).await.status, 200);
    stage.holds(&[66]).await;
    let told = eventually("the receipt says that it was told", async || {
        let receipt = asks(&stage.app, "POST", &address).await.json();
        let recipient = receipt["recipients"][0].clone();
        (recipient["told"] == true).then_some(recipient)
    })
    .await;
    assert_eq!((&told["by"], &told["how"], &told["byHand"]), (&json!("the gateway"), &json!("delete"), &Value::Null));
    assert!(stage.names().await.is_empty());
}

/// What has no known name there cannot be taken back by the gateway, and nobody is left to believe that it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_known_name_is_told_by_hand() {
    let stage = Stage::plain(TOLD).await;
    let rate = stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.push(&heart_rate(&stage.patient, "hr-2", 65)).await;
    stage.holds(&[64, 65]).await;
    stage.at_rest().await;
    let key = stage.gateway.inner().patient_key(&stage.patient);
    stage
        .gateway
        .store()
        .taken_back("platform", key, vec![("Observation".to_owned(), rate)], Vec::new())
        .await
        .unwrap();
    stage.app.withdraw(&stage.shares).await;
    stage.holds(&[64]).await;
    let dead = eventually("it is given up", async || Some(stage.dead().await).filter(|dead| !dead.is_empty())).await;
    assert!(dead[0].contains("by hand"), "{dead:?}");
    let receipt = asks(&stage.app, "POST", &format!("/Patient/{}/$erase", stage.patient)).await.json();
    let recipient = &receipt["recipients"][0];
    assert_eq!((&recipient["told"], &recipient["byHand"]), (&json!(false), &json!(1)), "{receipt}");
}

/// A batch answers for each entry; a transaction is refused as a whole, and divided.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_refused_keeps_nothing_else_back() {
    for (pack, refused) in [("fi-kanta", "destination-content"), ("eu-r4", "destination-content")] {
        let platform = Platform::national_refusing(pack, &["29463-7"]).await;
        let stage = Stage::at(platform, pack, &format!("persons = {PERSONS:?}"), "").await;
        let mut sent: Vec<Value> = (0..9).map(|at| blood_pressure(&stage.patient, &format!("bp-{at}"))).collect();
        sent.insert(4, weight(&stage.patient, "w-1"));
        for (at, one) in sent.iter_mut().enumerate() {
            one["identifier"][0]["value"] = json!(format!("m-{at}"));
            one["effectiveDateTime"] = json!(format!("2026-01-15T08:{:02}:00+01:00", at + 10));
        }
        stage.push_all(&sent).await;
        eventually("the others arrive", async || (stage.platform.held().await.len() == 9).then_some(())).await;
        stage.at_rest().await;
        let dead = stage.dead().await;
        assert_eq!(dead.len(), 1, "{pack}: {dead:?}");
        assert!(dead[0].starts_with(refused), "{pack}: {dead:?}");
        let account = stage.platform.account().await;
        assert_eq!(account["duplicates"], json!(0), "{pack}: {account}");
        // Mended there, it is sent again, once.
        assert_eq!(stage.gateway.store().redrive("platform", None).await.unwrap(), 1);
        stage.at_rest().await;
        assert_eq!(stage.dead().await.len(), 1);
    }
}

/// What waits for a destination that was away goes out as it would have: many in a request, in order.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_out_together() {
    let mut stage = Stage::plain("").await;
    stage.platform.leave().await;
    let sent: Vec<Value> = (0..20).map(|at| heart_rate(&stage.patient, &format!("hr-{at}"), 50 + at)).collect();
    stage.push_all(&sent[..19]).await;
    let last = stage.push(&sent[19]).await;
    stage.correct(&last, 99).await;
    eventually("all wait", async || {
        (stage.gateway.store().backlog("platform").await.unwrap().retries == 21).then_some(())
    })
    .await;
    stage.platform.come_back().await;
    stage.holds(&(50..69).chain([99]).collect::<Vec<u32>>()).await;
    stage.at_rest().await;
    assert!(stage.dead().await.is_empty());
    assert_eq!(stage.platform.account().await["duplicates"], json!(0));
}

#[test]
fn nothing_is_promised_that_a_destination_does_not_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    for (pack, manner, wrong) in [
        ("eu-r4", "delete", None),
        ("eu-r4", "entered-in-error", Some("on_withdrawal: eu-r4@1.0.0 has delete for that")),
        ("fi-kanta", "delete", Some("on_withdrawal: fi-kanta@1.0.0 has nothing for that")),
        ("fi-kanta", "nothing", None),
    ] {
        let text = format!(
            "data = {:?}\n[[destination]]\nname = \"a\"\nactor = \"Organization/a\"\npack = {pack:?}\n\
             settings = {{ persons = \"urn:oid:1\" }}\non_withdrawal = {manner:?}\n\
             [destination.fhir]\nurl = \"https://localhost:1/fhir\"",
            directory.path()
        );
        std::fs::write(&file, text).unwrap();
        let output = std::process::Command::new(crate::fixture::PROGRAM)
            .args(["check", "--config", file.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        match wrong {
            None => assert!(!said.contains("on_withdrawal"), "{said}"),
            Some(wrong) => assert!(said.contains(wrong) && !output.status.success(), "{said}"),
        }
    }
}
