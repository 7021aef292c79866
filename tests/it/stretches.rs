//! Readings that are kept as stretches of samples: the same ones that `convert` makes, however they arrive.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::devices::{heart_rate, send, told};
use crate::fixture::{Client, Gateway, Platform, eventually, run};

const HOURS: &str = "[limits]\ndevice_requests = 64\n[devices.stretches]\nheart-rate = \"PT1H\"\n";
const AT_ONCE: &str = "[devices]\nstretch_grace_minutes = 0\n[devices.stretches]\nheart-rate = \"PT1H\"\n";

fn at(id: &str, minute: usize, value: usize) -> Value {
    let mut record = heart_rate(id, u32::try_from(value).unwrap());
    let time = format!("2026-01-15T{:02}:{:02}:00+01:00", minute / 60, minute % 60);
    record["body"]["effective_time_frame"]["date_time"] = json!(time);
    record
}

/// A reading a minute; now and then one is missing.
fn day(name: &str) -> Vec<Value> {
    let measured = (0..1440).filter(|minute| minute % 97 != 13);
    measured.map(|minute| at(&format!("{name}-{minute}"), minute, 60 + minute * 7 % 40)).collect()
}

async fn kept(app: &Client, patient: &str) -> Vec<Value> {
    let found = app.get(&format!("/Observation?patient={patient}&_sort=date&_count=500")).await.json();
    found["entry"].as_array().into_iter().flatten().map(|entry| entry["resource"].clone()).collect()
}

/// What a stretch says, without what is the server's.
fn said(mut stretch: Value) -> Value {
    stretch.as_object_mut().unwrap().remove("id");
    for name in ["versionId", "lastUpdated"] {
        stretch["meta"].as_object_mut().unwrap().remove(name);
    }
    stretch["status"] = json!("-");
    stretch
}

async fn converted(patient: &str, records: &[Value]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records.ndjson");
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let path = file.to_str().unwrap();
    let output =
        run(&["convert", path, "--from", "open-mhealth", "--patient", patient, "--series", "chunk", "--span", "hour"])
            .await;
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).map(said_of_file).collect()
}

fn said_of_file(mut stretch: Value) -> Value {
    stretch["status"] = json!("-");
    stretch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_comes_to_the_same_in_few_pushes_and_in_many_at_once() {
    let gateway = Gateway::with(HOURS).await;
    let app = gateway.app().await;
    let (few, many) = (app.consenting_person().await, app.consenting_person().await);
    let day = day("r");
    for hour in day.chunks(day.len().div_ceil(24)) {
        let answer = send(&app, &few, hour).await;
        assert!(told(&answer).iter().all(|word| word == "accepted"), "{answer:?}");
    }
    let mut senders = tokio::task::JoinSet::new();
    for part in 0..32 {
        let (app, many) = (app.clone(), many.clone());
        let records: Vec<Value> = self::day("s").into_iter().skip(part).step_by(32).collect();
        senders.spawn(async move {
            for record in records {
                assert_eq!(told(&send(&app, &many, &[record]).await), ["accepted"]);
            }
        });
    }
    senders.join_all().await;
    for patient in [&few, &many] {
        let stretches = kept(&app, patient).await;
        assert_eq!(stretches.len(), 24);
        assert!(stretches.iter().all(|stretch| stretch["status"] == "preliminary"));
        let stretches: Vec<Value> = stretches.into_iter().map(said).collect();
        let converted = converted(patient, &day).await;
        for (stretch, converted) in stretches.iter().zip(&converted) {
            assert_eq!(stretch, converted);
        }
        assert_eq!(converted.len(), 24);
    }
    // Sent again, in other company: every record came before, and nothing is written.
    let before = kept(&app, &few).await;
    let again: Vec<Value> = day.iter().step_by(11).cloned().collect();
    assert!(told(&send(&app, &few, &again).await).iter().all(|word| word == "duplicate duplicate"));
    assert_eq!(kept(&app, &few).await, before);
    // Each record is known by its own id.
    let receipt = app.get(&format!("{}/receipts?id=r-77", app.root())).await.json();
    assert_eq!(receipt["receipts"][0]["outcome"], "accepted", "{receipt}");
    let resource = receipt["receipts"][0]["resource"].as_str().unwrap();
    assert!(resource.ends_with(before[1]["id"].as_str().unwrap()), "{resource}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_answered_for_itself() {
    let gateway = Gateway::with(HOURS).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let mut other = at("phone", 2, 70);
    other["header"]["acquisition_provenance"]["source_name"] = json!("Phone");
    let mut noted = at("noted", 3, 71);
    noted["body"]["effective_time_frame"]["date_time"] = json!("2026-01-15T00:03:00.007+01:00");
    let first = [
        at("a", 0, 60),
        at("b", 1, 61),
        at("c", 2, 62),
        at("d", 2, 62),
        at("e", 2, 63),
        at("a", 5, 64),
        at("f", 3, 9000),
        other,
        noted,
    ];
    let answer = send(&app, &patient, &first).await;
    assert_eq!(
        told(&answer),
        [
            // The stretch that they are in overlaps another.
            "flagged source-overlap",
            "flagged source-overlap",
            "flagged source-overlap",
            "duplicate duplicate",
            "refused series-value",
            "refused duplicate-identifier",
            "refused measure-implausible",
            "flagged source-overlap",
            "accepted",
        ],
    );
    let later = [at("a", 0, 60), at("b", 1, 62), at("c", 4, 62), at("g", 4, 65), at("h", 1, 99)];
    assert_eq!(
        told(&send(&app, &patient, &later).await),
        [
            "duplicate duplicate",
            "refused duplicate-identifier",
            "refused duplicate-identifier",
            "flagged source-overlap",
            "refused series-value"
        ],
    );
    let found = kept(&app, &patient).await;
    let data: Vec<&str> = found.iter().filter_map(|one| one["valueSampledData"]["data"].as_str()).collect();
    assert_eq!((data, found.len()), (vec!["60 61 62 E 65", "70"], 3), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_becomes_final_and_is_amended_by_what_comes_late() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&format!("{AT_ONCE}{}", platform.destination(""))).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    send(&app, &patient, &[at("a", 0, 60), at("b", 1, 61)]).await;
    let stands = async |status: &str, version: &str| {
        eventually(status, async || {
            let found = kept(&app, &patient).await;
            (found[0]["status"] == status && found[0]["meta"]["versionId"] == version).then_some(found[0].clone())
        })
        .await
    };
    let closed = stands("final", "2").await;
    assert_eq!(closed["valueSampledData"]["data"], "60 61");
    assert_eq!(told(&send(&app, &patient, &[at("c", 3, 63)]).await), ["accepted"]);
    let amended = stands("amended", "3").await;
    assert_eq!(amended["valueSampledData"]["data"], "60 61 E 63");
    platform.until("all three", |account| account["resources"] == 1).await;
    let log = eventually("the last version", async || {
        let log = platform.log();
        (log.last().is_some_and(|(_, version)| *version == 3)).then_some(log)
    })
    .await;
    assert_eq!(log.iter().map(|(_, version)| *version).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(gateway.store().next_ripe().await.unwrap().is_none(), "nothing is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_stays_open_for_a_while_after_its_last_reading() {
    let gateway = Gateway::with(HOURS).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    send(&app, &patient, &[at("a", 0, 60), at("b", 1, 61)]).await;
    assert_eq!(kept(&app, &patient).await[0]["status"], "preliminary");
    let open = gateway.store().next_ripe().await.unwrap().unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    assert!((now + 3_500_000..now + 3_700_000).contains(&open), "an hour after its last reading");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_sources_stretch_counts() {
    let gateway = Gateway::with(HOURS).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let list = json!({
        "resourceType": "List", "status": "current", "mode": "working", "subject": {"reference": format!("Patient/{patient}")},
        "orderedBy": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/list-order", "code": "priority"}]},
        "entry": [{"item": {"display": "Band 5"}}],
    });
    assert_eq!(app.post("/List", &list).await.status, 201);
    let of_phone = |id: &str, minute: usize, value: usize| {
        let mut record = at(id, minute, value);
        record["header"]["acquisition_provenance"]["source_name"] = json!("Phone");
        record
    };
    send(&app, &patient, &[of_phone("p-0", 0, 70), of_phone("p-1", 1, 71)]).await;
    assert_eq!(told(&send(&app, &patient, &[at("b-1", 1, 61), at("b-2", 2, 62)]).await), ["accepted", "accepted"]);
    assert_eq!(told(&send(&app, &patient, &[of_phone("p-2", 2, 72)]).await), ["flagged source-secondary"]);
    assert_eq!(told(&send(&app, &patient, &[at("b-3", 3, 63)]).await), ["accepted"]);
    let found = kept(&app, &patient).await;
    let shown: Vec<(bool, &str)> = found
        .iter()
        .map(|one| (one["meta"].to_string().contains("source-role"), one["valueSampledData"]["data"].as_str().unwrap()))
        .collect();
    assert_eq!(shown, [(true, "70 71 72"), (false, "61 62 63")]);
}
