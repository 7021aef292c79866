//! What waits for a destination: a bound that loses nothing, windows in which nothing is sent, retries that are turned off,
//! and what is sent once more.

use mhealth_gateway::exchange::replay::{Replay, Replayed};
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::Backlog;
use serde_json::json;

use crate::arrivals::Stage;
use crate::fixture::{Client, Gateway, Platform, eventually, heart_rate};
use crate::packs::blood_pressure;
use crate::told::weight;

const SHARED: &[&str] = &["heart-rate", "weight"];

async fn sharing(app: &Client) -> String {
    let patient = app.person().await;
    let own = app.actor.clone();
    app.consent(&patient, &[(own.as_str(), &[Action::Collect, Action::Access], SHARED)]).await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], SHARED)]).await;
    patient
}

async fn health(gateway: &Gateway) -> serde_json::Value {
    let address = gateway.base.replace("/fhir", "/health/ready");
    let answer = gateway.http.get(address).send().await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

fn all_of(destination: &str) -> Replay<'_> {
    Replay { destination, from_ms: 0, until_ms: i64::MAX, missing: false, rehearsal: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_is_not_accepted_and_nothing_is_lost() {
    let mut platform = Platform::start(&[]).await;
    let section = platform.destination("codes = [\"8867-4\"]\n[destination.rate]\nmost_waiting = 5");
    // It is away for longer than it is tried elsewhere.
    let section = section.replace("max_attempts = 50", "max_attempts = 1000000");
    let gateway = Gateway::with(&section).await;
    let app = gateway.app().await;
    let patient = sharing(&app).await;
    platform.leave().await;
    let mut accepted = Vec::new();
    let refused = eventually("there is no more room", async || {
        let answer = app.post("/Observation", &heart_rate(&patient, &format!("r-{}", accepted.len()), 60)).await;
        match answer.status {
            201 => {
                accepted.push(answer.id());
                None
            }
            _ => Some(answer),
        }
    })
    .await;
    assert_eq!((refused.status, refused.issues()), (503, vec!["destination-full".to_owned()]), "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
    assert_eq!(health(&gateway).await["destinations"]["full"], json!(1));
    // What does not go there is taken in as ever.
    assert_eq!(app.post("/Observation", &weight(&patient, "w")).await.status, 201);
    platform.come_back().await;
    let last = heart_rate(&patient, "last", 61);
    let last = eventually("there is room again", async || {
        let answer = app.post("/Observation", &last).await;
        (answer.status == 201).then(|| answer.id())
    })
    .await;
    accepted.push(last);
    let account =
        platform.until("all that was accepted arrives", |account| account["resources"] == json!(accepted.len())).await;
    for id in &accepted {
        assert_eq!(account["versions"][format!("Observation/{id}")], json!([1]), "{account}");
    }
    eventually("health has nothing to tell", async || health(&gateway).await["destinations"].is_null().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_the_destination_is_maintained() {
    let closed = Platform::start(&[]).await;
    let open = Platform::start(&[]).await;
    let window = "[[destination.maintenance]]\nfrom = \"00:00\"\nuntil = \"00:00\"";
    let elsewhere = open.destination("").replace("\"platform\"", "\"open\"");
    let gateway = Gateway::with(&[closed.destination(window), elsewhere].concat()).await;
    let app = gateway.app().await;
    let patient = sharing(&app).await;
    app.post("/Observation", &heart_rate(&patient, "r", 60)).await;
    open.until("the other one has it", |account| account["resources"] == json!(1)).await;
    assert_eq!(closed.account().await["received"], json!(0));
    assert_eq!(gateway.store().backlog("platform").await.unwrap().retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_turns_retries_off_and_on_resends_no_history() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let patient = sharing(&app).await;
    platform.fault("down", None).await;
    let mut sent = Vec::new();
    for at in 0..3 {
        sent.push(app.post("/Observation", &heart_rate(&patient, &format!("r-{at}"), 60 + at)).await.id());
    }
    eventually("they are tried again", async || {
        (gateway.store().backlog("platform").await.unwrap().retries == 3).then_some(())
    })
    .await;
    gateway.store().stop_retries("platform", true).await.unwrap();
    eventually("they are given up", async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.retries == 0 && backlog.dead == 3).then_some(())
    })
    .await;
    platform.fault("ok", None).await;
    gateway.store().stop_retries("platform", false).await.unwrap();
    let last = app.post("/Observation", &heart_rate(&patient, "last", 70)).await.id();
    let name = format!("Observation/{last}");
    let account = platform.until("what is new arrives", |account| account["versions"][&name] == json!([1])).await;
    assert_eq!(account["resources"], json!(1), "history stays where it is: {account}");
    // Each id once, when somebody wants it.
    assert_eq!(gateway.store().redrive("platform", None).await.unwrap(), 3);
    let account = platform.until("they arrive", |account| account["resources"] == json!(4)).await;
    assert_eq!(account["duplicates"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_sent_once_more_each_id_once() {
    let mut platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let (patient, other) = (sharing(&app).await, sharing(&app).await);
    let rate = app.post("/Observation", &heart_rate(&patient, "r", 60)).await.id();
    app.post("/Observation", &weight(&patient, "w")).await;
    app.post("/Observation", &heart_rate(&other, "o", 61)).await;
    let mut corrected = app.get(&format!("/Observation/{rate}")).await.json();
    corrected["valueQuantity"]["value"] = json!(62);
    assert_eq!(app.put(&format!("/Observation/{rate}"), &corrected).await.status, 200);
    platform.until("all arrives", |account| account["received"] == json!(4)).await;
    eventually("it is settled", async || {
        (gateway.store().backlog("platform").await.unwrap().behind == 0).then_some(())
    })
    .await;

    // One of them says no by now.
    let refuses = app.consent(&other, &[("Organization/platform", &[Action::Disclose], &["sleep"])]).await;
    drop(refuses);
    let inner = gateway.inner();
    let nobody = inner.replay(all_of("nobody")).await.unwrap();
    assert_eq!(nobody, None);
    let before = Replay { until_ms: 1, ..all_of("platform") };
    assert_eq!(inner.replay(before).await.unwrap(), Some(Replayed::default()));
    let rehearsal = inner.replay(Replay { rehearsal: true, ..all_of("platform") }).await.unwrap().unwrap();
    assert_eq!((rehearsal.found, rehearsal.sent, rehearsal.waiting), (3, 3, 0));
    assert_eq!(platform.account().await["received"], json!(4));
    let missing = inner.replay(Replay { missing: true, ..all_of("platform") }).await.unwrap().unwrap();
    assert_eq!((missing.held, missing.sent), (3, 0));

    platform.leave().await;
    let replayed = inner.replay(all_of("platform")).await.unwrap().unwrap();
    assert_eq!((replayed.found, replayed.sent), (3, 3));
    let again = inner.replay(all_of("platform")).await.unwrap().unwrap();
    assert_eq!((again.sent, again.waiting), (0, 3), "once per id");
    platform.come_back().await;
    eventually("it is settled", async || {
        (gateway.store().backlog("platform").await.unwrap().retries == 0).then_some(())
    })
    .await;
    let sent: Vec<(String, u64)> = platform.log().split_off(4);
    let name = format!("Observation/{rate}");
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert_eq!(sent.iter().filter(|(sent, _)| *sent == name).collect::<Vec<_>>(), [&(name.clone(), 2)]);
}

/// A destination where the same request would be there twice is sent only what it does not have.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_there_twice_where_requests_are_not_repeatable() {
    let stage = Stage::new("nl-medmij", "display = 'Anna'", "").await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.holds(&[64]).await;
    stage.at_rest().await;
    let replayed = stage.gateway.inner().replay(all_of("platform")).await.unwrap().unwrap();
    assert_eq!((replayed.found, replayed.held, replayed.sent), (1, 1, 0));
    assert_eq!(stage.platform.account().await["duplicates"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_place_there_is_not_counted_as_sent() {
    let stage = Stage::new("fi-kanta", "persons = 'urn:oid:1.2.250.1'", "").await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.push(&blood_pressure(&stage.patient, "bp-1")).await;
    stage.at_rest().await;
    let inner = stage.gateway.inner();
    let rehearsal = inner.replay(Replay { rehearsal: true, ..all_of("platform") }).await.unwrap().unwrap();
    assert_eq!((rehearsal.found, rehearsal.untold, rehearsal.sent), (2, 1, 1));
    assert_eq!(inner.replay(all_of("platform")).await.unwrap(), Some(rehearsal));
}

/// What matters most does not wait for what has heaped up; of one resource no version overtakes another.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_first_overtakes_what_waits_and_nothing_else_does() {
    let mut platform = Platform::start(&[]).await;
    let section = platform.destination("[[destination.first]]\ncodes = [\"http://loinc.org|29463-7\"]");
    let gateway = Gateway::with(&section).await;
    let app = gateway.app().await;
    let patient = sharing(&app).await;
    platform.leave().await;
    let mut rates = Vec::new();
    for at in 0..100 {
        let rate = heart_rate(&patient, &format!("r-{at}"), 60 + at % 20);
        rates.push(app.post("/Observation", &rate).await.id());
    }
    let first = app.post("/Observation", &weight(&patient, "w")).await.id();
    let mut corrected = app.get(&format!("/Observation/{first}")).await.json();
    corrected["valueQuantity"]["value"] = json!(81);
    assert_eq!(app.put(&format!("/Observation/{first}"), &corrected).await.status, 200);
    platform.come_back().await;
    platform.until("all arrive", |account| account["received"] == json!(102)).await;
    eventually("it is settled", async || {
        (gateway.store().backlog("platform").await.unwrap() == Backlog::default()).then_some(())
    })
    .await;

    let log = platform.log();
    let weights: Vec<(usize, u64)> = log
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| *name == format!("Observation/{first}"))
        .map(|(at, (_, version))| (at, *version))
        .collect();
    let [(at, 1), (last, 2)] = weights[..] else { panic!("{weights:?}") };
    assert!(at < 20, "it went before most: {at}");
    assert_eq!(last, 101, "its correction kept its place");
    let others: Vec<&String> = log.iter().map(|(name, _)| name).filter(|name| !name.ends_with(&first)).collect();
    assert_eq!(
        others,
        rates.iter().map(|id| format!("Observation/{id}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
}

/// However little waits, and however slowly it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_first_overtakes_a_few_as_well() {
    let platform = Platform::start(&[]).await;
    let section = platform.destination(
        "[[destination.first]]\ncodes = [\"29463-7\"]\n[destination.rate]\nrequests_per_minute = 600\nconcurrent = 1",
    );
    let gateway = Gateway::with(&section).await;
    let app = gateway.app().await;
    let patient = sharing(&app).await;
    for at in 0..40 {
        app.post("/Observation", &heart_rate(&patient, &format!("r-{at}"), 60 + at % 20)).await;
    }
    let first = app.post("/Observation", &weight(&patient, "w")).await.id();
    platform.until("all arrive", |account| account["received"] == json!(41)).await;
    let at = platform.log().iter().position(|(name, _)| *name == format!("Observation/{first}"));
    assert!(at.is_some_and(|at| at < 36), "{at:?}");
}
