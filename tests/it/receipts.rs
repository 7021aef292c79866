//! Every record that a device sends has an answer of its own, at once and later.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::devices::{address, heart_rate, point, told};
use crate::fixture::{Answer, Client, Gateway};

/// Sends records and asks for receipts.
async fn push(app: &Client, patient: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("accept", "application/json"), ("x-request-id", "r-1")];
    app.raw("POST", &address(app, patient), &headers, body.to_string()).await
}

async fn get(app: &Client, query: &str) -> Answer {
    app.get(&format!("{}/receipts{query}", app.root())).await
}

fn local(id: &str) -> Value {
    let mut local = heart_rate(id, 70);
    local["body"]["effective_time_frame"]["date_time"] = json!("2026-01-15T08:30:00");
    local
}

fn with_mood(id: &str) -> Value {
    let mut mood = heart_rate(id, 73);
    mood["body"]["mood"] = json!("calm");
    mood
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_answered_in_one_word() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let body = json!({"records": [heart_rate("a", 71), with_mood("b"), local("c"), heart_rate("d", 9000)]});
    let answer = push(&app, &patient, &body).await;
    let expected = ["accepted", "flagged device-field", "refused measure-no-offset", "refused measure-implausible"];
    assert_eq!(told(&answer), expected);
    assert_eq!(answer.header("content-type"), "application/json");
    let value = answer.json();
    assert_eq!(value["counts"], json!({"accepted": 1, "flagged": 1, "duplicate": 0, "refused": 2}));
    assert_eq!((&value["receipts"][0]["id"], &value["receipts"][0]["pointer"]), (&json!("a"), &json!("/records/0")));
    let kept = app.get(value["receipts"][0]["resource"].as_str().unwrap()).await;
    assert_eq!(kept.json()["valueQuantity"]["value"], 71);
    let issue = &value["receipts"][2]["issues"][0];
    assert_eq!(issue["pointer"], "/records/2/body/effective_time_frame/date_time");
    assert!(issue["guide"].as_str().unwrap().ends_with("/issues#measure-no-offset"), "{issue}");
    assert!(issue["line"].is_u64() && issue["fix"].is_string(), "{issue}");
    assert_eq!(value["receipts"][3]["issues"][0]["element"], "Observation.value.ofType(Quantity)");
    let again = push(&app, &patient, &body).await;
    let expected = ["duplicate duplicate", "duplicate duplicate", expected[2], expected[3]];
    assert_eq!(told(&again), expected);
    // The Bundle says the same, with the address where it is said again.
    let bundle = app.post(&address(&app, &patient), &body).await.json();
    assert_eq!(bundle["resourceType"], "Bundle");
    let link = bundle["entry"][2]["link"][0]["url"].as_str().unwrap();
    assert_eq!(told(&app.get(link).await)[0], "refused measure-no-offset");
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_found_later_by_the_senders_own_id() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let long = "x".repeat(128);
    let (one, other) = (format!("{long}1"), format!("{long}2"));
    let body = json!({"records": [heart_rate("a b&c", 71), with_mood("b"), local("c"), heart_rate(&one, 72), heart_rate(&other, 73)]});
    assert_eq!(told(&push(&app, &patient, &body).await).len(), 5);
    let accepted = get(&app, "?id=a+b%26c&format=open-mhealth").await;
    assert_eq!(told(&accepted), ["accepted"]);
    assert_eq!(app.get(accepted.json()["receipts"][0]["resource"].as_str().unwrap()).await.status, 200);
    assert_eq!(told(&get(&app, "?id=b").await), ["flagged device-field"]);
    let refused = get(&app, "?id=c").await;
    assert_eq!(told(&refused), ["refused measure-no-offset"]);
    let receipt = &refused.json()["receipts"][0];
    assert_eq!((receipt["pointer"].as_str(), receipt["request"].as_str()), (Some("/records/2"), Some("r-1")));
    assert_eq!(receipt["issues"][0]["pointer"], "/records/2/body/effective_time_frame/date_time");
    let found = |answer: Answer| answer.json()["receipts"][0]["resource"].as_str().unwrap().to_owned();
    assert_ne!(found(get(&app, &format!("?id={one}")).await), found(get(&app, &format!("?id={other}")).await));
    // What is absent and what is another's are the same.
    let neighbour = gateway.client("neighbour", "system/Observation.c").await;
    let absent = get(&app, "?id=nothing").await;
    for query in ["?id=a+b%26c", "?id=b", "?id=c"] {
        let foreign = get(&neighbour, query).await;
        assert_eq!((foreign.status, foreign.bytes), (404, absent.bytes.clone()), "{query}");
    }
    assert_eq!(get(&neighbour, "").await.json()["receipts"], json!([]));
    let reader = gateway.client("reader", "system/Observation.rs").await;
    for query in ["?id=c", "", "/scorecard"] {
        assert_eq!(get(&reader, query).await.issues(), ["scope-insufficient"], "{query}");
    }
    for (query, issue) in [
        ("?id=a&id=b", "search-parameter-unknown"),
        ("?name=a", "search-parameter-unknown"),
        ("?since=yesterday", "search-value"),
        ("?outcome=accepted", "search-value"),
        ("?after=x", "search-value"),
        ("?id=a&format=smoke", "route-unknown"),
    ] {
        assert_eq!(get(&app, query).await.issues(), [issue], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_holds_for_receipts_too() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let consent = app.consent(&patient, &[(&app.actor.clone(), &[Action::Collect], &["heart-rate"])]).await;
    assert_eq!(told(&push(&app, &patient, &heart_rate("a", 71)).await), ["accepted"]);
    assert_eq!(told(&get(&app, "?id=a").await), ["accepted"]);
    assert_eq!(app.withdraw(&consent).await.status, 200);
    assert_eq!(get(&app, "?id=a").await.status, 404);
    assert_eq!(told(&push(&app, &patient, &heart_rate("a", 71)).await), ["refused consent-missing"]);
    assert_eq!(told(&get(&app, "?id=a").await), ["refused consent-missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_listed_page_by_page() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let records: Vec<Value> = (0..250).map(|index| local(&format!("r{index}"))).chain([with_mood("b")]).collect();
    push(&app, &patient, &json!({"records": records})).await;
    let first = get(&app, "?since=2020-01-01T00:00:00Z&outcome=refused").await;
    assert_eq!(told(&first).len(), 200);
    let next = first.json()["next"].as_str().unwrap().to_owned();
    let second = app.get(&next).await;
    assert_eq!(told(&second).len(), 50);
    assert_eq!(second.json()["next"], Value::Null);
    assert_eq!(second.json()["receipts"][49]["pointer"], "/records/249");
    assert_eq!(told(&get(&app, "?outcome=flagged").await), ["flagged device-field"]);
    assert_eq!(told(&get(&app, "?since=2999-01-01").await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorecard_counts_what_came_and_nothing_twice() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let stone = point(
        "body-weight/2.0",
        "e",
        &json!({"body_weight": {"value": 11, "unit": "st"}, "effective_time_frame": {"date_time": "2026-01-15T08:30:00Z"}}),
    );
    let body = json!({"records": [heart_rate("a", 71), with_mood("b"), local("c"), heart_rate("d", 9000), stone]});
    let send = async || {
        let headers =
            [("content-type", "application/json"), ("accept", "application/json"), ("idempotency-key", "once")];
        app.raw("POST", &address(&app, &patient), &headers, body.to_string()).await
    };
    let first = send().await;
    assert_eq!(told(&send().await), told(&first), "the same request has the same answer");
    let card = get(&app, "/scorecard?days=7").await.json();
    assert_eq!(card["records"], json!({"accepted": 1, "flagged": 1, "duplicate": 0, "refused": 3}));
    assert_eq!(card["quality"]["unit"], 1, "{card}");
    assert_eq!(card["quality"]["time"], 1, "{card}");
    assert_eq!(card["quality"]["implausible"], 1, "{card}");
    assert_eq!(card["rules"]["device-field"], 1, "{card}");
    assert_eq!(card["late"]["later"], 2, "{card}");
    assert_eq!((&card["client"], card["days"].as_array().unwrap().len()), (&json!("app"), 1));
    push(&app, &patient, &heart_rate("a", 71)).await;
    assert_eq!(get(&app, "/scorecard").await.json()["records"]["duplicate"], 1);
    assert_eq!(get(&app, "/scorecard?days=many").await.issues(), ["search-value"]);
}

/// A heart rate of another source, whose time and unit are written otherwise.
fn of_another_source(id: &str, value: u32, time: &str) -> Value {
    let mut record = heart_rate(id, value);
    record["header"]["acquisition_provenance"]["source_name"] = json!("Phone");
    record["body"]["effective_time_frame"]["date_time"] = json!(time);
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reading_of_another_source_is_a_duplicate_of_the_one_that_stands() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let other = gateway.client("other", crate::fixture::APP_SCOPES).await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/other", &[Action::Collect], &["heart-rate"])]).await;
    let first = push(&app, &patient, &heart_rate("watch-1", 71)).await;
    assert_eq!(told(&first), ["accepted"]);
    let standing = first.json()["receipts"][0]["resource"].clone();
    let body = json!({"records": [
        of_another_source("phone-1", 71, "2026-01-15T07:30:00Z"),
        of_another_source("phone-2", 72, "2026-01-15T07:30:00Z"),
        of_another_source("phone-3", 71, "2026-01-15T07:30:01Z"),
        of_another_source("cloud-3", 71, "2026-01-15T09:30:01+02:00"),
    ]});
    let answer = push(&app, &patient, &body).await;
    assert_eq!(
        told(&answer),
        ["duplicate duplicate", "flagged source-overlap", "flagged source-overlap", "duplicate duplicate"]
    );
    let receipts = answer.json()["receipts"].clone();
    assert_eq!(receipts[0]["resource"], standing);
    assert_eq!(receipts[3]["resource"], receipts[2]["resource"]);
    // Its own id is answered later, too, and leads to the one that stands, however often it came.
    push(&app, &patient, &body).await;
    let later = get(&app, "?id=phone-1").await;
    assert_eq!((told(&later), &later.json()["receipts"][0]["resource"]), (vec!["duplicate".to_owned()], &standing));
    // What another client sent is its own: neither hears of the other's.
    assert_eq!(told(&push(&other, &patient, &heart_rate("watch-1", 71)).await), ["accepted"]);
    // A reading that was corrected stands for something else from then on.
    let id = standing.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut corrected = app.get(&format!("/Observation/{id}")).await.json();
    corrected["valueQuantity"]["value"] = json!(70);
    corrected["status"] = json!("corrected");
    assert_eq!(app.put(&format!("/Observation/{id}"), &corrected).await.status, 200);
    let again = push(&app, &patient, &of_another_source("phone-1", 71, "2026-01-15T07:30:00Z")).await;
    assert_eq!(told(&again), ["accepted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reading_under_many_ids_at_once_is_kept_once() {
    let gateway = Gateway::with("[limits]\ndevice_requests = 64\n").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let sent: Vec<_> = (0..64)
        .map(|source| {
            let (app, patient) = (app.clone(), patient.clone());
            tokio::spawn(async move { told(&push(&app, &patient, &heart_rate(&format!("source-{source}"), 71)).await) })
        })
        .collect();
    let mut accepted = 0;
    for sent in sent {
        accepted += usize::from(sent.await.unwrap() == ["accepted"]);
    }
    assert_eq!(accepted, 1);
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.1.len(), 1);
}

/// A record of many samples is asked for by the name that its sender knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_became_several_is_known_by_its_own_id() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let record = |rates: &[(&str, u32)]| {
        let sample = |(minute, rate): &(&str, u32)| json!({"time": format!("2026-01-15T08:{minute}:00Z"), "beatsPerMinute": rate});
        json!({"records": [{
            "recordType": "HeartRate", "metadata": {"id": "h1"},
            "startTime": "2026-01-15T08:00:00Z", "endTime": "2026-01-15T09:00:00Z",
            "samples": rates.iter().map(sample).collect::<Vec<_>>(),
        }]})
    };
    let address = format!("{}/devices/health-connect?patient={patient}", app.root());
    let headers = [("content-type", "application/json"), ("accept", "application/json"), ("x-request-id", "r-1")];
    let asked = async |id: &str| {
        let answer = get(&app, &format!("?id={id}")).await;
        (told(&answer), answer.json()["receipts"][0]["counts"].clone())
    };
    for (rates, expected, counts) in [
        (&[("01", 70), ("02", 71)][..], "accepted", [2, 0, 0, 0]),
        (&[("01", 70), ("02", 71)], "accepted", [2, 0, 0, 0]),
        (&[("02", 71), ("03", 72)], "accepted", [1, 0, 1, 0]),
        (&[("04", 70), ("05", 9000)], "flagged measure-implausible", [1, 0, 0, 1]),
        (&[("06", 9000)], "refused measure-implausible", [0, 0, 0, 1]),
    ] {
        let answer = app.raw("POST", &address, &headers, record(rates).to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (words, counted) = asked("h1").await;
        assert_eq!(words[0], expected, "{rates:?}");
        let [accepted, flagged, duplicate, refused] = counts;
        let counts = json!({"accepted": accepted, "flagged": flagged, "duplicate": duplicate, "refused": refused});
        assert_eq!(counted, counts, "{rates:?}");
    }
    assert_eq!(asked("h1/2026-01-15T08:01:00Z").await.0, ["accepted"]);
    let other = gateway.client("other", crate::fixture::APP_SCOPES).await;
    assert_eq!(get(&other, "?id=h1").await.status, 404);
}
