//! National systems that misbehave in every way we know, are away for long, and see the gateway die beside them: all arrives,
//! in order, and once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use mhealth_gateway::conformance::platform::Admission;
use mhealth_gateway::exchange::Clock;
use mhealth_gateway::national::{Said, Shelf, trial};
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::{AuditPlan, Backlog};
use reqwest::Method;
use serde_json::{Value, json};

use crate::arrivals::{Stage, linked};
use crate::fixture::{APP_SCOPES, Gateway, Platform, Site, eventually, heart_rate};
use crate::packs::blood_pressure;
use crate::rights::{asks, own_requests};

/// A pack with what an operator says of it, whether the same request twice is there once, and how many Observations a
/// reading becomes.
struct Country {
    pack: &'static str,
    settings: &'static str,
    repeatable: bool,
    each: usize,
}

const fn country(pack: &'static str, settings: &'static str, repeatable: bool, each: usize) -> Country {
    Country { pack, settings, repeatable, each }
}

const COUNTRIES: [Country; 7] = [
    country("eu-r4", "persons = 'urn:oid:1.2.250.1'", true, 1),
    country("fi-kanta", "persons = 'urn:oid:1.2.250.1'", true, 1),
    country("nl-medmij", "display = 'Anna'", false, 1),
    country("fr-ens", "publisher = 'urn:oid:1.2.250.1', devices = 'urn:oid:1.2.250.2'", false, 1),
    country("dk-fut", "persons = 'urn:oid:1.2.250.1'", false, 2),
    country(
        "ch-epr",
        "community = 'urn:oid:2.999.5', source = 'urn:oid:2.999.8', local = 'urn:oid:2.999.9', type = '419891008'",
        true,
        1,
    ),
    country("de-mio-diga", "persons = 'urn:oid:1.2.250.1', diga = '00001', pzn = '12345'", true, 1),
];

const SPID: &str = "urn:oid:2.16.756.5.30.1.127.3.10.3";
const EPISODE: &str = "http://hl7.org/fhir/StructureDefinition/workflow-episodeOfCare";
const GATEWAY_DEVICE: &str = "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice";

/// A gateway with one national system, which knows the person and has what it wants to be asked for.
struct Scene {
    stage: Stage,
    device: String,
    app: String,
}

impl Scene {
    async fn of(country: &Country) -> Scene {
        let mut platform = if country.pack == "ch-epr" {
            Platform::admitting(Admission::Persons, Some(country.pack)).await
        } else {
            Platform::national(country.pack).await
        };
        let here = format!("{}/fhir", platform.url);
        for (id, code) in [("sr-1", "DNK05472"), ("sr-2", "DNK05473")] {
            let request = json!({
                "resourceType": "ServiceRequest", "id": id, "meta": {"versionId": "1"}, "status": "active",
                "subject": {"reference": "linked-1"},
                "code": {"coding": [{"system": "urn:oid:1.2.208.176.2.1", "code": code}]},
                "extension": [{"url": EPISODE, "valueReference": {"reference": format!("{here}/EpisodeOfCare/9")}}],
            });
            platform.has(&request).await;
        }
        platform.has(&json!({"resourceType": "EpisodeOfCare", "id": "9", "status": "active"})).await;
        let known = json!([{"system": SPID, "value": "761337610411353650"}]);
        platform.has(&json!({"resourceType": "Patient", "id": "7", "identifier": known})).await;
        let stage = if country.pack == "ch-epr" {
            Stage::for_persons(platform, country.pack, country.settings).await
        } else {
            Stage::at(platform, country.pack, country.settings, "").await
        };
        let address = format!("/Patient/{}", stage.patient);
        let mut person = stage.app.get(&address).await.json();
        person["identifier"].as_array_mut().unwrap().push(known[0].clone());
        assert_eq!(stage.app.put(&address, &person).await.status, 200);
        let thing = |name: &str| {
            json!({
                "resourceType": "Device", "manufacturer": "Example Medical", "modelNumber": "BP-200",
                "deviceName": [{"name": name, "type": "user-friendly-name"}],
            })
        };
        let device = stage.app.post("/Device", &thing("Cuff")).await.id();
        let app = stage.app.post("/Device", &thing("Heart diary")).await.id();
        Scene { stage, device, app }
    }

    async fn push(&self, at: u32) {
        let mut reading = reading(&self.stage.patient, at);
        reading["device"] = json!({"reference": format!("Device/{}", self.device)});
        let app = json!({"reference": format!("Device/{}", self.app)});
        reading["extension"] = json!([{"url": GATEWAY_DEVICE, "valueReference": app}]);
        self.stage.push(&reading).await;
    }

    /// When what is there was measured, once for each Observation.
    async fn times(&self) -> Vec<String> {
        times(&self.stage.platform.held().await)
    }
}

/// What every pack has a place for.
fn reading(patient: &str, at: u32) -> Value {
    let mut reading = blood_pressure(patient, &format!("bp-{at}"));
    reading["identifier"][0]["value"] = json!(format!("bp-{at}"));
    reading["effectiveDateTime"] = json!(format!("2026-01-15T08:{at:02}:00+01:00"));
    reading
}

/// As long as it takes, however often it is tried.
fn patient(section: &str) -> String {
    section.replace("max_attempts = 50", "max_attempts = 1000000")
}

fn times(held: &[Value]) -> Vec<String> {
    let held = Value::from(held.to_vec());
    let documents = trial::documents(&held);
    let observations = [&held].into_iter().chain(&documents).flat_map(|one| trial::within(one, "Observation"));
    let mut times: Vec<String> =
        observations.map(|one| one["effectiveDateTime"].as_str().unwrap().to_owned()).collect();
    times.sort();
    times
}

/// Whether it is what tells a measurement: by itself, in a document, or as one.
fn is_told(name: &str) -> bool {
    ["Observation/", "Binary/", "Bundle/"].iter().any(|kind| name.starts_with(kind))
}

/// Each measurement that the platform recorded, in its order: by the name that it gave, and how often.
fn recorded(platform: &Platform) -> Vec<String> {
    let log = platform.log();
    log.into_iter().map(|(name, _)| name).filter(|name| is_told(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_national_system_that_was_away_gets_everything_in_order_and_once() {
    for country in &COUNTRIES {
        let (pack, each) = (country.pack, country.each);
        let mut scene = Scene::of(country).await;
        scene.push(10).await;
        eventually("the first is there", async || (scene.times().await.len() == each).then_some(())).await;
        scene.stage.at_rest().await;
        scene.stage.platform.leave().await;
        for at in 11..20 {
            scene.push(at).await;
        }
        // What it could have met meanwhile, it has met: attempts, an open circuit, probes.
        eventually("all wait", async || {
            (scene.stage.gateway.store().backlog("platform").await.unwrap().behind == 0).then_some(())
        })
        .await;
        scene.stage.platform.come_back().await;
        scene.stage.at_rest().await;
        let log = recorded(&scene.stage.platform);
        assert_eq!(log.len(), 10 * each, "{pack}: each once: {log:?}");
        let held = scene.stage.platform.held().await;
        let held: BTreeMap<String, Vec<String>> = held
            .iter()
            .map(|one| {
                (
                    format!("{}/{}", one["resourceType"].as_str().unwrap(), one["id"].as_str().unwrap()),
                    times(std::slice::from_ref(one)),
                )
            })
            .collect();
        // Of the first nothing is remembered by the platform that came back but its name.
        let order: Vec<&Vec<String>> = log.iter().filter_map(|name| held.get(name)).collect();
        assert!(order.len() == 9 * each && order.is_sorted(), "{pack}: in order: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_ends_with_everything_there() {
    for country in &COUNTRIES {
        let (pack, each) = (country.pack, country.each);
        let scene = Scene::of(country).await;
        let stage = &scene.stage;
        let faults =
            ["down", "busy", "redirect", "revoke", "slow", "hang", "garbage", "half", "lie", "error-after-accept"];
        for (at, fault) in faults.into_iter().enumerate() {
            stage.platform.fault(fault, Some(1)).await;
            scene.push(10 + at as u32).await;
            eventually(fault, async || (scene.times().await.len() == (at + 1) * each).then_some(())).await;
            stage.at_rest().await;
        }
        let letters = stage.gateway.store().dead_letters(Some("platform")).await.unwrap();
        assert!(letters.is_empty(), "{pack}: {:?}", letters[0].reason);
        let account = stage.platform.account().await;
        assert!(!country.repeatable || account["duplicates"] == json!(0), "{pack}: {account}");
    }
}

/// Something between us sends each request twice. Where requests create on a condition, or a document has one name, it is
/// there once; where a system creates whatever it is sent, it is there twice, and nothing of ours could keep that from it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_handled_twice_is_there_once_where_the_system_lets_us_say_so() {
    for country in &COUNTRIES {
        let (pack, each) = (country.pack, country.each);
        let scene = Scene::of(country).await;
        let stage = &scene.stage;
        // What is looked up is looked up first, so that what is handled twice is what is told.
        scene.push(10).await;
        eventually("the first is there", async || (scene.times().await.len() == each).then_some(())).await;
        stage.at_rest().await;
        stage.platform.fault("duplicate", None).await;
        for at in 11..13 {
            scene.push(at).await;
        }
        eventually("all are there", async || (scene.times().await.len() == 3 * each).then_some(())).await;
        stage.at_rest().await;
        let letters = stage.gateway.store().dead_letters(Some("platform")).await.unwrap();
        assert!(letters.is_empty(), "{pack}: {:?}", letters[0].reason);
        let (log, once) = (recorded(&stage.platform), times(&stage.platform.held().await).len());
        let twice = if country.repeatable { 0 } else { 2 * each };
        assert_eq!((once, log.len() - once), (3 * each, twice), "{pack}: {log:?}");
    }
}

/// Whatever a system's own table says: either it is tried again and arrives, or it is a dead letter that says who has to act.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_table_of_errors_is_understood() {
    for country in &COUNTRIES {
        let pack = country.pack;
        let scene = Scene::of(country).await;
        let stage = &scene.stage;
        // What is looked up is answered before.
        scene.push(9).await;
        eventually("the first is there", async || (scene.times().await.len() == country.each).then_some(())).await;
        stage.at_rest().await;
        stage.platform.fault("table", None).await;
        let found = Shelf::default().find(pack).unwrap().clone();
        let lines: Vec<_> = (0..).map_while(|at| found.answers.answer(at)).collect();
        let (mut refused, mut there, mut at) = (Vec::new(), 0, 0);
        while at < lines.len() {
            // A token that was refused is renewed once, and then the next line is met.
            at += usize::from(matches!(lines[at].0, 401 | 403) && at + 1 < lines.len());
            let (status, code, text) = &lines[at];
            let said = Said { code, texts: vec![text.as_str()], is_error: true };
            let meaning = found.answers.meaning(*status, &[said]).unwrap();
            there += usize::from(meaning.there);
            refused.extend((!meaning.again && !meaning.there).then(|| meaning.id.code()));
            at += 1;
        }
        for at in 0..=refused.len() + there {
            scene.push(10 + at as u32).await;
            stage.at_rest().await;
        }
        let letters = stage.gateway.store().dead_letters(Some("platform")).await.unwrap();
        assert_eq!(letters.len(), refused.len(), "{pack}: {refused:?}");
        for (letter, id) in letters.iter().zip(&refused) {
            assert!(letter.reason.starts_with(id), "{pack}: {} is no {id}", letter.reason);
        }
        assert_eq!(scene.times().await.len(), 2 * country.each, "{pack}: the last one arrives");
    }
}

/// It dies while the request is on its way, while the answer is, and while it is being written down.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_delivers_once_and_learns_the_names() {
    for Country { pack, settings, .. } in COUNTRIES.iter().take(2) {
        let mut platform = Platform::national(pack).await;
        let section = platform.destination(&format!("pack = {pack:?}\nsettings = {{ {settings} }}"));
        let site = Site::new(&patient(&section)).await;
        let mut serving = site.serve().await;
        let mut app = site.register("app", APP_SCOPES).await;
        app.sign_in().await;
        let (patient, _) = linked(&app, "linked-1").await;
        for (at, step) in ["away", "hang", "half", "ok"].into_iter().enumerate() {
            if step == "away" {
                platform.leave().await;
            } else {
                platform.fault(step, Some(1)).await;
            }
            let answer = app.post("/Observation", &reading(&patient, 10 + at as u32)).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            if step != "away" {
                eventually("it is taken", async || (recorded(&platform).len() > at).then_some(())).await;
            }
            serving.kill().await;
            if step == "away" {
                platform.come_back().await;
            }
            serving = site.serve().await;
            eventually("it is there", async || (recorded(&platform).len() == at + 1).then_some(())).await;
            app.sign_in().await;
        }
        if *pack == "eu-r4" {
            // The names were learnt, so that a correction goes where it belongs.
            let found = app.get(&format!("/Observation?patient={patient}&_sort=date")).await.json();
            for entry in found["entry"].as_array().unwrap() {
                let mut corrected = entry["resource"].clone();
                corrected["component"][0]["valueQuantity"]["value"] = json!(141);
                let address = format!("/Observation/{}", corrected["id"].as_str().unwrap());
                let answer = app.send(Method::PUT, &address, corrected.to_string()).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            eventually("all are corrected", async || {
                let held = platform.held().await;
                let corrected = held.iter().filter(|one| one["component"][0]["valueQuantity"]["value"] == json!(141));
                (corrected.count() == 4).then_some(())
            })
            .await;
        }
        assert_eq!(platform.account().await["duplicates"], json!(0), "{pack}");
        serving.terminate().await;
    }
}

/// A clock, and how many milliseconds it is ahead.
fn clock() -> (Arc<AtomicI64>, Clock) {
    let ahead = Arc::new(AtomicI64::new(0));
    let passed = ahead.clone();
    (ahead, Arc::new(move || jiff::Timestamp::now().as_millisecond() + passed.load(Ordering::Relaxed)))
}

/// By the pauses that a gateway makes unless it is told otherwise, and a clock on which the minutes go by.
#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_was_down_for_ten_minutes_gets_everything_in_order_and_once() {
    const MINUTE_MS: i64 = 60_000;
    let mut platform = Platform::start(&[]).await;
    let section = platform.destination("");
    let (before, behind) = section.split_once("[destination.retry]").unwrap();
    let (_, fhir) = behind.split_once("[destination.fhir]").unwrap();
    let (passed, clock) = clock();
    let configuration = format!("{before}[destination.fhir]{fhir}");
    let gateway = Gateway::by_clock(tempfile::tempdir().unwrap(), &configuration, clock).await;
    let app = gateway.app().await;
    let mut persons = Vec::new();
    for _ in 0..3 {
        let person = app.person().await;
        let own = app.actor.clone();
        app.consent(&person, &[(own.as_str(), &[Action::Collect, Action::Access], &["heart-rate"])]).await;
        app.consent(&person, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
        persons.push(person);
    }
    platform.leave().await;
    let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for at in 0..30 {
        let person = &persons[at % persons.len()];
        let answer = app.post("/Observation", &heart_rate(person, &format!("r-{at}"), 60)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        expected.entry(person).or_default().push(format!("Observation/{}", answer.id()));
    }
    let waits = async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.retries > 0).then_some(backlog)
    };
    eventually("it was tried", waits).await;
    for _ in 0..10 {
        passed.fetch_add(MINUTE_MS, Ordering::Relaxed);
        let before = gateway.store().retries_due("platform", i64::MAX, 100).await.unwrap();
        // A minute is longer than any pause of the circuit, so that somebody looks whether it is back.
        eventually("it is tried again", async || {
            let now = gateway.store().retries_due("platform", i64::MAX, 100).await.unwrap();
            (now != before).then_some(())
        })
        .await;
    }
    platform.come_back().await;
    eventually("all arrive", async || {
        passed.fetch_add(MINUTE_MS, Ordering::Relaxed);
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog == Backlog::default()).then_some(())
    })
    .await;
    let log = recorded(&platform);
    assert_eq!(log.len(), 30, "each once: {log:?}");
    for (person, names) in expected {
        let order: Vec<&String> = log.iter().filter(|name| names.contains(name)).collect();
        assert_eq!(order, names.iter().collect::<Vec<_>>(), "in order: {person}");
    }
}

/// What a restriction keeps back is on record once a resource, however often it is looked at again and whatever waits beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_is_told_once_of_each_resource() {
    const HOUR_MS: i64 = 3_600_000;
    let platform = Platform::national("eu-r4").await;
    let section = platform.destination("pack = \"eu-r4\"\nsettings = { persons = 'urn:oid:1.2.250.1' }");
    let (passed, clock) = clock();
    let gateway = Gateway::by_clock(tempfile::tempdir().unwrap(), &section, clock).await;
    let app = own_requests(&gateway, &gateway.app().await, APP_SCOPES).await;
    let (person, _) = linked(&app, "linked-1").await;
    assert_eq!(asks(&app, "POST", &format!("/Patient/{person}/$restrict")).await.status, 200);
    // The second is not asked about before it is the first one's turn again.
    for number in [1, 2] {
        assert_eq!(app.post("/Observation", &reading(&person, number)).await.status, 201);
        eventually("it is kept back", async || {
            let backlog = gateway.store().backlog("platform").await.unwrap();
            (backlog.behind == 0 && backlog.retries == u64::from(number)).then_some(())
        })
        .await;
    }
    let told = async || {
        let plan = AuditPlan { client: Some("platform".to_owned()), limit: 1000, ..AuditPlan::default() };
        let records = gateway.store().audit(plan).await.unwrap();
        let events = records.iter().map(|(_, payload)| serde_json::from_slice::<Value>(payload).unwrap());
        events.filter(|event| event["outcomeDesc"] == "processing-restricted").count()
    };
    for _ in 0..2 {
        let before = gateway.store().retries_due("platform", i64::MAX, 100).await.unwrap();
        passed.fetch_add(HOUR_MS + HOUR_MS / 60, Ordering::Relaxed);
        eventually("it is looked at again", async || {
            let now = gateway.store().retries_due("platform", i64::MAX, 100).await.unwrap();
            (now != before).then_some(())
        })
        .await;
        eventually("both are told", async || (told().await == 2).then_some(())).await;
    }
    assert!(recorded(&platform).is_empty());
}
