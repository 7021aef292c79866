//! What a device sends becomes FHIR, and is then treated like any other push.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Answer, Client, Gateway, Platform, issues};

pub fn point(schema: &str, id: &str, body: &Value) -> Value {
    let (name, version) = schema.split_once('/').unwrap();
    json!({
        "header": {
            "id": id,
            "creation_date_time": "2026-01-15T08:31:00Z",
            "schema_id": {"namespace": "omh", "name": name, "version": version},
            "acquisition_provenance": {"source_name": "Band 5", "modality": "sensed"},
        },
        "body": body,
    })
}

pub fn heart_rate(id: &str, value: u32) -> Value {
    let body = json!({
        "heart_rate": {"value": value, "unit": "beats/min"},
        "effective_time_frame": {"date_time": "2026-01-15T08:30:00+01:00"},
    });
    point("heart-rate/2.0", id, &body)
}

async fn push(app: &Client, patient: &str, body: &Value) -> Answer {
    app.post(&address(app, patient), body).await
}

/// Sends records, and asks for receipts.
pub async fn send(app: &Client, patient: &str, records: &[Value]) -> Answer {
    let headers = [("accept", "application/json"), ("content-type", "application/json")];
    app.raw("POST", &address(app, patient), &headers, json!({"records": records}).to_string()).await
}

/// Outcome and rules of each receipt.
pub fn told(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let value = answer.json();
    let word = |receipt: &Value| {
        let rules = receipt["issues"].as_array().into_iter().flatten().map(|issue| issue["rule"].as_str().unwrap());
        [receipt["outcome"].as_str().unwrap()].into_iter().chain(rules).collect::<Vec<_>>().join(" ")
    };
    value["receipts"].as_array().unwrap().iter().map(word).collect()
}

/// Readings of different seconds are different readings.
pub fn heart_rate_at(id: &str, value: u32, second: u32) -> Value {
    let mut record = heart_rate(id, value);
    let time = format!("2026-01-15T{:02}:{:02}:{:02}+01:00", second / 3600, second / 60 % 60, second % 60);
    record["body"]["effective_time_frame"]["date_time"] = json!(time);
    record
}

pub fn address(app: &Client, patient: &str) -> String {
    format!("{}?patient={patient}", app.base.replace("/fhir", "/devices/open-mhealth"))
}

/// Status, and ids of the issues, of each entry.
fn entries(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let bundle = answer.json();
    assert_eq!(bundle["type"], "batch-response");
    let listed = bundle["entry"].as_array().unwrap();
    let shown = |entry: &Value| {
        let status = entry["response"]["status"].as_str().unwrap();
        format!("{} {}", &status[..3], issues(&entry["response"]["outcome"]).join(" ")).trim_end().to_owned()
    };
    listed.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_kept_once_and_each_stands_alone() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let glucose = json!({
        "blood_glucose": {"value": 95, "unit": "mg/dL"},
        "effective_time_frame": {"date_time": "2026-01-15T08:30:00Z"},
    });
    let mut local = heart_rate("c", 70);
    local["body"]["effective_time_frame"]["date_time"] = json!("2026-01-15T08:30:00");
    let mut mood = heart_rate("e", 73);
    mood["body"]["mood"] = json!("calm");
    let mut tomorrow = heart_rate("g", 72);
    tomorrow["body"]["effective_time_frame"] = json!({"time_interval": {
        "start_date_time": "2999-01-01T00:00:00Z", "duration": {"value": 1, "unit": "h"}
    }});
    let body = json!({"data_points": [
        heart_rate("a", 71),
        point("pace/1.0", "b", &json!({"pace": {"value": 5, "unit": "min/km"}})),
        local,
        point("blood-glucose/4.0", "d", &glucose),
        mood,
        heart_rate("f", 9000),
        7,
        tomorrow,
        null,
    ]});
    let answer = push(&app, &patient, &body).await;
    assert_eq!(
        entries(&answer),
        [
            "201",
            "422 device-type-left-out",
            "422 measure-no-offset",
            "403 consent-denied",
            "201 device-field",
            "422 measure-implausible",
            "422 device-record",
            "422 measure-future",
            "422 device-record",
        ]
    );
    let bundle = answer.json();
    let outcome = |index: usize| bundle["entry"][index]["response"]["outcome"]["issue"][0].clone();
    assert_eq!(outcome(2)["expression"][0], "data_points[2].body.effective_time_frame.date_time");
    assert!(outcome(2)["extension"][0]["valueInteger"].is_u64(), "a place in what was sent");
    assert_eq!(outcome(5)["expression"][0], "Observation.value.ofType(Quantity)");
    let placed = |issue: &Value| issue["extension"].to_string().contains("issue-line");
    assert!(!placed(&outcome(5)), "no place in a text that the sender never saw");
    let again = push(&app, &patient, &json!({"records": [heart_rate("a", 71), heart_rate("a", 72)]})).await;
    assert_eq!(entries(&again), ["200 duplicate", "409 duplicate-identifier"]);
    let found = app.get(&format!("/Observation?patient={patient}&_sort=date")).await.json();
    assert_eq!(found["total"], 2, "{found}");
    let kept = app.get(bundle["entry"][0]["fullUrl"].as_str().unwrap()).await.json();
    assert_eq!(kept["valueQuantity"]["code"], "/min");
    assert_eq!(kept["device"]["display"], "Band 5");
    assert_eq!(kept["subject"]["reference"], format!("Patient/{patient}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_sent_is_delivered_like_any_other_push() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    assert_eq!(entries(&push(&app, &patient, &heart_rate("a", 71)).await), ["201"]);
    platform.until("one delivery", |account| account["resources"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_read_is_refused_whole() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let refused = |answer: Answer| (answer.status, answer.issues().join(" "));
    assert_eq!(refused(push(&app, &patient, &json!({})).await), (422, "device-record".to_owned()));
    assert_eq!(refused(push(&app, "", &heart_rate("a", 71)).await), (400, "patient-missing".to_owned()));
    let twice = format!("{}&patient={patient}", address(&app, &patient));
    assert_eq!(refused(app.post(&twice, &heart_rate("a", 71)).await), (400, "patient-missing".to_owned()));
    assert_eq!(entries(&push(&app, "nobody", &heart_rate("a", 71)).await), ["403 consent-missing"]);
    let elsewhere = address(&app, &patient).replace("open-mhealth", "smoke-signals");
    let unknown = app.post(&elsewhere, &heart_rate("a", 71)).await;
    assert!(unknown.text().contains("there are fitbit, ") && unknown.text().contains(", phd, "), "{}", unknown.text());
    assert_eq!(refused(unknown), (404, "route-unknown".to_owned()));
    let xml = app.request(reqwest::Method::POST, &address(&app, &patient)).header("content-type", "text/xml");
    let xml = Answer::of(xml.body("<a/>").send().await.unwrap()).await;
    assert_eq!(refused(xml), (415, "media-type-unsupported".to_owned()));
    let stranger = Client { bearer: "none".to_owned(), ..app.clone() };
    assert_eq!(refused(push(&stranger, &patient, &heart_rate("a", 71)).await), (401, "token-invalid".to_owned()));
    let reader = gateway.client("reader", "system/Observation.rs").await;
    assert_eq!(entries(&push(&reader, &patient, &heart_rate("a", 71)).await), ["403 scope-insufficient"]);
}

/// The samples of one record are not counted as records.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_may_hold_more_samples_than_a_request_records() {
    let gateway = Gateway::with("[limits]\nbundle_entries = 3\n").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let sample = |index: u32| {
        let time = format!("2026-01-15T08:{:02}:{:02}Z", index / 60 % 60, index % 60);
        json!({"time": time, "beatsPerMinute": 60 + index % 50})
    };
    let record = |id: &str, samples: u32| {
        let samples: Vec<Value> = (0..samples).map(sample).collect();
        json!({"recordType": "HeartRate", "metadata": {"id": id}, "samples": samples,
            "startTime": "2026-01-15T08:00:00Z", "endTime": "2026-01-15T09:00:00Z"})
    };
    let address = address(&app, &patient).replace("open-mhealth", "health-connect");
    let answer = app.post(&address, &record("h", 1500)).await;
    assert_eq!(entries(&answer), vec!["201"; 1500]);
    for body in [record("h", 10_001), json!({"records": vec![record("h", 1); 4]})] {
        let answer = app.post(&address, &body).await;
        assert_eq!((answer.status, answer.issues()), (413, vec!["bundle-too-many-entries".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_stands_for_body_and_person() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (one, other) = (app.consenting_person().await, app.consenting_person().await);
    let mut local = heart_rate("b", 72);
    local["body"]["effective_time_frame"]["date_time"] = json!("2026-01-15T08:30:00");
    let body = json!({"records": [heart_rate("a", 71), local]}).to_string();
    let send = async |patient: &str| {
        let request = app
            .request(reqwest::Method::POST, &address(&app, patient))
            .header("content-type", "application/json")
            .header("idempotency-key", "k1")
            .body(body.clone());
        Answer::of(request.send().await.unwrap()).await
    };
    let first = send(&one).await;
    assert_eq!(entries(&first), ["201", "422 measure-no-offset"]);
    assert_eq!(entries(&send(&one).await), ["201", "422 measure-no-offset"]);
    assert_eq!(send(&other).await.issues(), ["idempotency-key-reused"]);
}

/// Records of a sender without ids are known by their moment, and real ids may be counted person by person.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_of_two_persons_is_two_records() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (anna, bob) = (app.consenting_person().await, app.consenting_person().await);
    let oura = json!({"data": [{"bpm": 60, "source": "awake", "timestamp": "2026-01-15T08:00:00+00:00"}]});
    let headers = [("accept", "application/json"), ("content-type", "application/json")];
    let vendor = async |patient: &str, body: &Value| {
        let address = address(&app, patient).replace("open-mhealth", "oura");
        let answer = app.raw("POST", &address, &headers, body.to_string()).await;
        (told(&answer), answer.json()["receipts"][0].clone())
    };
    let made = vendor(&anna, &oura).await;
    let other = vendor(&bob, &oura).await;
    assert_eq!((&made.0[..], &other.0[..]), (&["accepted".to_owned()][..], &["accepted".to_owned()][..]));
    assert_eq!(made.1["id"], other.1["id"], "the made-up id does not hold the person");
    assert_ne!(made.1["resource"], other.1["resource"]);
    assert_eq!(vendor(&bob, &oura).await.0, ["duplicate duplicate"]);
    // A correction without an id of its own is refused, and what it is told to do works.
    let corrected = json!({"data": [{"bpm": 61, "source": "awake", "timestamp": "2026-01-15T08:00:00+00:00"}]});
    let (word, refused) = vendor(&bob, &corrected).await;
    assert_eq!(word, ["refused duplicate-identifier"]);
    assert!(refused["issues"][0]["fix"].as_str().unwrap().contains("GET /receipts?id="), "{refused}");
    let receipts = async |query: &str| {
        let id = refused["id"].as_str().unwrap();
        app.get(&format!("{}/receipts?id={id}{query}", app.root())).await.json()["receipts"].clone()
    };
    let of_bob = receipts(&format!("&patient={bob}")).await;
    let kept = of_bob.as_array().unwrap().iter().find(|receipt| receipt["outcome"] == "accepted").unwrap();
    assert_eq!(kept["resource"], other.1["resource"]);
    assert_eq!(receipts(&format!("&patient={anna}")).await.as_array().unwrap().len(), 1, "nothing of the other person");
    assert_eq!(receipts("").await.as_array().unwrap().len(), 3, "of all persons");
    let address = kept["resource"].as_str().unwrap();
    let mut observation = app.get(address).await.json();
    observation["valueQuantity"]["value"] = json!(61);
    let path = address.split_once("/fhir").unwrap().1;
    assert_eq!(app.put(path, &observation).await.status, 200);
    // Ids of the sender's own.
    assert_eq!(told(&send(&app, &anna, &[heart_rate("9", 71)]).await), ["accepted"]);
    assert_eq!(told(&send(&app, &bob, &[heart_rate("9", 72)]).await), ["accepted"]);
    assert_eq!(told(&send(&app, &bob, &[heart_rate("9", 72)]).await), ["duplicate duplicate"]);
    assert_eq!(told(&send(&app, &bob, &[heart_rate("9", 73)]).await), ["refused duplicate-identifier"]);
    // A record that was doubtful is told of to each.
    for (patient, second) in [(&anna, 1), (&bob, 2)] {
        let mut mood = heart_rate_at("m", 70, second);
        mood["body"]["mood"] = json!("calm");
        assert_eq!(told(&send(&app, patient, &[mood.clone()]).await), ["flagged device-field"]);
        let later = app.get(&format!("{}/receipts?id=m&patient={patient}", app.root())).await;
        assert_eq!(told(&later), ["flagged device-field"]);
    }
}

/// How many digits a time is written with makes no other reading.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_one_however_its_moment_is_written() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let reading = |id: &str, time: &str| {
        let mut record = heart_rate(id, 71);
        record["body"]["effective_time_frame"]["date_time"] = json!(time);
        record
    };
    assert_eq!(told(&send(&app, &patient, &[reading("w", "2026-01-15T12:30:00.000Z")]).await), ["accepted"]);
    let cloud = [
        reading("c", "2026-01-15T12:30:00Z"),
        reading("d", "2026-01-15T13:30:00.0+01:00"),
        reading("e", "2026-01-15T12:30:00.001Z"),
    ];
    let answer = told(&send(&app, &patient, &cloud).await);
    assert_eq!(answer[..2], ["duplicate duplicate", "duplicate duplicate"]);
    assert!(!answer[2].starts_with("duplicate"), "{answer:?}");
}
