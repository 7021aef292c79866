//! National systems that misbehave in every way we know, are away for long, and see the gateway die beside them: all arrives,
//! in order, and once.

use std::collections::BTreeMap;

use mhealth_gateway::national::Shelf;
use reqwest::Method;
use serde_json::{Value, json};

use crate::arrivals::{Stage, linked};
use crate::fixture::{APP_SCOPES, Platform, Site, eventually};
use crate::packs::blood_pressure;

/// Packs, with what an operator says of each, and whether the same request twice is there once.
const PACKS: [(&str, &str, bool); 3] = [
    ("eu-r4", "persons = 'urn:oid:1.2.250.1'", true),
    ("fi-kanta", "persons = 'urn:oid:1.2.250.1'", true),
    ("nl-medmij", "display = 'Anna'", false),
];

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
    let observations = held.iter().filter(|one| one["resourceType"] == "Observation");
    let mut times: Vec<String> =
        observations.map(|one| one["effectiveDateTime"].as_str().unwrap().to_owned()).collect();
    times.sort();
    times
}

/// Each measurement that the platform recorded, in its order: by the name that it gave, and how often.
fn recorded(platform: &Platform) -> Vec<String> {
    let log = platform.log();
    log.into_iter().map(|(name, _)| name).filter(|name| name.starts_with("Observation/")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_national_system_that_was_away_gets_everything_in_order_and_once() {
    for (pack, settings, _) in PACKS {
        let mut stage = Stage::new(pack, settings, "").await;
        stage.push(&reading(&stage.patient, 10)).await;
        eventually("the first is there", async || (times(&stage.platform.held().await).len() == 1).then_some(())).await;
        stage.at_rest().await;
        stage.platform.leave().await;
        for at in 11..20 {
            stage.push(&reading(&stage.patient, at)).await;
        }
        // What it could have met meanwhile, it has met: attempts, an open circuit, probes.
        eventually("all wait", async || {
            (stage.gateway.store().backlog("platform").await.unwrap().behind == 0).then_some(())
        })
        .await;
        stage.platform.come_back().await;
        stage.at_rest().await;
        let log = recorded(&stage.platform);
        assert_eq!(log.len(), 10, "{pack}: each once: {log:?}");
        let held: BTreeMap<String, String> = stage
            .platform
            .held()
            .await
            .into_iter()
            .filter(|one| one["resourceType"] == "Observation")
            .map(|one| (format!("Observation/{}", one["id"].as_str().unwrap()), one["effectiveDateTime"].to_string()))
            .collect();
        // Of the first nothing is remembered by the platform that came back but its name.
        let order: Vec<&String> = log.iter().filter_map(|name| held.get(name)).collect();
        assert!(order.is_sorted(), "{pack}: in order: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_ends_with_everything_there() {
    for (pack, settings, repeatable) in PACKS {
        let stage = Stage::new(pack, settings, "").await;
        let faults =
            ["down", "busy", "redirect", "revoke", "slow", "hang", "garbage", "half", "lie", "error-after-accept"];
        for (at, fault) in faults.into_iter().enumerate() {
            stage.platform.fault(fault, Some(1)).await;
            stage.push(&reading(&stage.patient, 10 + at as u32)).await;
            eventually(fault, async || (times(&stage.platform.held().await).len() == at + 1).then_some(())).await;
            stage.at_rest().await;
        }
        let letters = stage.gateway.store().dead_letters(Some("platform")).await.unwrap();
        assert!(letters.is_empty(), "{pack}: {:?}", letters[0].reason);
        let account = stage.platform.account().await;
        assert!(!repeatable || account["duplicates"] == json!(0), "{pack}: {account}");
    }
}

/// Whatever a system's own table says: either it is tried again and arrives, or it is a dead letter that says who has to act.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_table_of_errors_is_understood() {
    for (pack, settings, _) in PACKS {
        let stage = Stage::new(pack, settings, "").await;
        stage.platform.fault("table", None).await;
        let found = Shelf::default().find(pack).unwrap().clone();
        let lines = (0..).map_while(|at| found.answers.answer(at));
        let meanings: Vec<(bool, String)> = lines
            .map(|(status, code, text)| {
                let meaning = found.answers.meaning(status, &[&code], &[&text]).unwrap();
                (meaning.again, meaning.id.code().to_owned())
            })
            .collect();
        let refused: Vec<&String> = meanings.iter().filter(|(again, _)| !again).map(|(_, id)| id).collect();
        for at in 0..=refused.len() {
            stage.push(&reading(&stage.patient, 10 + at as u32)).await;
            stage.at_rest().await;
        }
        let letters = stage.gateway.store().dead_letters(Some("platform")).await.unwrap();
        assert_eq!(letters.len(), refused.len(), "{pack}: {meanings:?}");
        for (letter, id) in letters.iter().zip(&refused) {
            assert!(letter.reason.starts_with(id.as_str()), "{pack}: {} is no {id}", letter.reason);
        }
        assert_eq!(times(&stage.platform.held().await).len(), 1, "{pack}: the last one arrives");
    }
}

/// It dies while the request is on its way, while the answer is, and while it is being written down.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_delivers_once_and_learns_the_names() {
    for (pack, settings, _) in PACKS.into_iter().filter(|(.., repeatable)| *repeatable) {
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
        if pack == "eu-r4" {
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
