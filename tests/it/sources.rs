//! Which of several sources counts: a person's word, held against whatever arrives, in whichever order.

use mhealth_gateway::fhir::ours::{BASE, SOURCE_ROLE_SYSTEM};
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::devices::{heart_rate, send, told};
use crate::fixture::{Client, Gateway, Platform, eventually};

const MANY: &str = "[limits]\ndevice_requests = 64\n";

pub fn reading(id: &str, source: &str, value: u32, time: &str) -> Value {
    let mut record = heart_rate(id, value);
    record["header"]["acquisition_provenance"]["source_name"] = json!(source);
    record["body"]["effective_time_frame"]["date_time"] = json!(format!("2026-01-15T{time}Z"));
    record
}

pub fn list(patient: &str, names: &[&str]) -> Value {
    let entries: Vec<Value> = names.iter().map(|name| json!({"item": {"display": name}})).collect();
    json!({
        "resourceType": "List", "status": "current", "mode": "working", "subject": {"reference": format!("Patient/{patient}")},
        "orderedBy": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/list-order", "code": "priority"}]},
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "entry": entries,
    })
}

/// Source, value and version of what does not count, and of what does.
async fn standing(app: &Client, patient: &str) -> (Vec<String>, Vec<String>) {
    let found = app.get(&format!("/Observation?patient={patient}&_count=200")).await.json();
    let mut shown = (Vec::new(), Vec::new());
    for entry in found["entry"].as_array().into_iter().flatten() {
        let resource = &entry["resource"];
        let is_secondary = resource["meta"]["tag"]
            .as_array()
            .unwrap()
            .iter()
            .any(|tag| tag["system"] == SOURCE_ROLE_SYSTEM && tag["code"] == "secondary");
        let source = resource["device"]["display"].as_str().unwrap();
        let text = format!("{source} {}", resource["valueQuantity"]["value"]);
        if is_secondary { shown.0.push(text) } else { shown.1.push(text) }
    }
    shown.0.sort();
    shown.1.sort();
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_both_count_and_the_later_one_is_told() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let first = send(&app, &patient, &[reading("w", "Watch", 71, "08:30:10")]).await;
    assert_eq!(told(&first), ["accepted"]);
    let later = [
        reading("p", "Phone", 73, "08:30:50"),
        reading("q", "Phone", 74, "08:31:00"),
        reading("v", "Watch", 75, "08:30:20"),
    ];
    let answer = send(&app, &patient, &later).await;
    assert_eq!(told(&answer), ["flagged source-overlap", "accepted", "flagged source-overlap"]);
    assert_eq!(
        standing(&app, &patient).await,
        (vec![], ["Phone 73", "Phone 74", "Watch 71", "Watch 75"].map(String::from).to_vec())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_preferred_source_counts_whichever_came_first() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let listed = app.post("/List", &list(&patient, &["Watch", "Phone"])).await;
    assert_eq!(listed.status, 201, "{}", listed.text());
    let early =
        send(&app, &patient, &[reading("p-1", "Phone", 73, "08:30:50"), reading("w-2", "Watch", 70, "09:00:00")]).await;
    assert_eq!(told(&early), ["accepted", "accepted"]);
    let late =
        send(&app, &patient, &[reading("w-1", "Watch", 71, "08:30:10"), reading("p-2", "Phone", 72, "09:00:30")]).await;
    assert_eq!(told(&late), ["accepted", "flagged source-secondary"]);
    let hidden = ["Phone 72", "Phone 73"].map(String::from).to_vec();
    assert_eq!(standing(&app, &patient).await, (hidden, ["Watch 70", "Watch 71"].map(String::from).to_vec()));
    let tagged = app.get(&format!("/Observation?patient={patient}&_tag={SOURCE_ROLE_SYSTEM}|secondary")).await.json();
    assert_eq!(tagged["total"], 2, "{tagged}");
    // The earlier one has a second version, and its sender can learn why.
    let versions: Vec<&str> = tagged["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["resource"]["meta"]["versionId"].as_str().unwrap())
        .collect();
    assert_eq!(versions.iter().filter(|version| **version == "2").count(), 1, "{versions:?}");
    let receipts = app.get(&format!("{}/receipts?id=p-1", app.root())).await.json();
    assert_eq!(receipts["receipts"][0]["issues"][0]["rule"], "source-secondary", "{receipts}");
    // What is sent again is what it was, with the tag or without.
    let again =
        send(&app, &patient, &[reading("p-1", "Phone", 73, "08:30:50"), reading("p-2", "Phone", 72, "09:00:30")]).await;
    assert_eq!(told(&again), ["duplicate duplicate", "duplicate duplicate"]);
    // What another source says alike is one reading still, also of a version that was told anew.
    let alike = send(&app, &patient, &[reading("c-1", "Cloud", 73, "08:30:50")]).await;
    assert_eq!(told(&alike), ["duplicate duplicate"]);
    let trail = app.get(&format!("/AuditEvent?patient={patient}&_count=100")).await.text();
    assert!(trail.contains("/_history/2"), "{trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_takes_nothing_from_others() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    app.post("/List", &list(&patient, &["Watch"])).await;
    let kept =
        send(&app, &patient, &[reading("w", "Watch", 71, "08:00:00"), reading("p", "Phone", 73, "08:30:50")]).await;
    assert_eq!(told(&kept), ["accepted", "accepted"]);
    let mistaken =
        send(&app, &patient, &[reading("w", "Watch", 75, "08:30:10"), reading("x", "Watch", 9000, "08:30:20")]).await;
    assert_eq!(told(&mistaken), ["refused duplicate-identifier", "refused measure-implausible"]);
    assert_eq!(standing(&app, &patient).await.0, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_order_is_told_to_what_stands() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    send(&app, &patient, &[reading("w", "Watch", 71, "08:30:10"), reading("p", "Phone", 73, "08:30:50")]).await;
    let made = app.post("/List", &list(&patient, &["Watch", "Phone"])).await;
    let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(standing(&app, &patient).await, (strings(&["Phone 73"]), strings(&["Watch 71"])));
    let mut turned = made.json();
    turned["entry"].as_array_mut().unwrap().reverse();
    assert_eq!(app.put(&format!("/List/{}", made.id()), &turned).await.status, 200);
    assert_eq!(standing(&app, &patient).await, (strings(&["Watch 71"]), strings(&["Phone 73"])));
    turned["status"] = json!("retired");
    assert_eq!(app.put(&format!("/List/{}", made.id()), &turned).await.status, 200);
    assert_eq!(standing(&app, &patient).await, (vec![], strings(&["Phone 73", "Watch 71"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_compared_only_where_the_person_names_both() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let cloud = gateway.client("cloud", crate::fixture::APP_SCOPES).await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/cloud", &[Action::Collect], &["heart-rate"])]).await;
    app.post("/List", &list(&patient, &["Watch"])).await;
    send(&cloud, &patient, &[reading("c-1", "Cloud", 70, "08:30:00")]).await;
    assert_eq!(told(&send(&app, &patient, &[reading("w-1", "Watch", 71, "08:30:10")]).await), ["accepted"]);
    assert_eq!(standing(&app, &patient).await.0, Vec::<String>::new());
    let mut both = list(&patient, &[]);
    let client = |id: &str| json!({"item": {"identifier": {"system": format!("{BASE}/sid/client"), "value": id}}});
    let own = app.actor.rsplit('/').next().unwrap().to_owned();
    both["entry"] = json!([client(&own), client("cloud")]);
    let answer = app.post("/List", &both).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(standing(&app, &patient).await.0, ["Cloud 70"]);
    assert_eq!(
        told(&send(&cloud, &patient, &[reading("c-2", "Cloud", 72, "08:30:40")]).await),
        ["flagged source-secondary"]
    );
    // Another cannot give orders for a person that it did not register.
    assert_eq!(cloud.post("/List", &list(&patient, &["Cloud"])).await.issues(), ["patient-unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_orders_nothing_is_refused() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let mut shopping = list(&patient, &["Watch"]);
    shopping["mode"] = json!("snapshot");
    shopping["code"] = json!({"text": "groceries"});
    assert_eq!(app.post("/List", &shopping).await.issues(), ["source-order", "source-order"]);
    let mut claimed = list(&patient, &["Watch"]);
    claimed["meta"] = json!({"profile": [format!("{BASE}/StructureDefinition/mh-source-order")]});
    assert_eq!(app.post("/List", &claimed).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_get_what_counts_and_learn_what_does_not_any_more() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    app.post("/List", &list(&patient, &["Watch", "Phone"])).await;
    send(&app, &patient, &[reading("p-1", "Phone", 73, "08:30:50")]).await;
    platform.until("the phone's", |account| account["resources"] == 1).await;
    send(&app, &patient, &[reading("w-1", "Watch", 71, "08:30:10")]).await;
    send(&app, &patient, &[reading("p-2", "Phone", 72, "08:30:40")]).await;
    send(&app, &patient, &[reading("w-2", "Watch", 74, "08:40:10")]).await;
    let log = eventually("the last of them", async || {
        let log = platform.log();
        (log.len() == 4).then_some(log)
    })
    .await;
    let mut versions: Vec<u64> = log.iter().map(|(_, version)| *version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 1, 1, 2], "the one that never counted stays here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_may_ask_for_all() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("secondary = true")).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    app.post("/List", &list(&patient, &["Watch", "Phone"])).await;
    send(&app, &patient, &[reading("w-1", "Watch", 71, "08:30:10"), reading("p-2", "Phone", 72, "08:30:40")]).await;
    platform.until("both", |account| account["resources"] == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_come_to_one_end() {
    let gateway = Gateway::with(MANY).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    app.post("/List", &list(&patient, &["S0", "S1", "S2"])).await;
    let sent: Vec<_> = (0..64_u32)
        .map(|index| {
            let (app, patient) = (app.clone(), patient.clone());
            let time = format!("08:{:02}:{:02}", index / 8, index % 8);
            let record = reading(&format!("r-{index}"), &format!("S{}", index * 7 % 5), 60 + index, &time);
            tokio::spawn(async move { send(&app, &patient, &[record]).await.status })
        })
        .collect();
    for sent in sent {
        assert_eq!(sent.await.unwrap(), 200);
    }
    // By the rule: in each minute the first source of the list that has a reading.
    let (mut hidden, mut counting) = (Vec::new(), Vec::new());
    for index in 0..64_u32 {
        let rank = |index: u32| (index * 7 % 5).min(3);
        let first = (index / 8 * 8..index / 8 * 8 + 8).map(rank).min().unwrap();
        let text = format!("S{} {}", index * 7 % 5, 60 + index);
        if rank(index) > first { hidden.push(text) } else { counting.push(text) }
    }
    hidden.sort();
    counting.sort();
    assert_eq!(standing(&app, &patient).await, (hidden, counting));
}
