//! Records that come one a line are kept while they arrive, however many there are.

use std::io::Write;

use mhealth_gateway::store::Plan;
use serde_json::{Value, json};

use crate::devices::{address, heart_rate};
use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, eventually, head};

async fn send(app: &Client, patient: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    let headers: Vec<(&str, &str)> =
        [("content-type", "application/x-ndjson")].iter().chain(headers).copied().collect();
    app.raw("POST", &address(app, patient), &headers, body).await
}

fn counts(answer: &Answer) -> [u64; 4] {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let value = answer.json();
    ["accepted", "flagged", "duplicate", "refused"].map(|word| value["counts"][word].as_u64().unwrap())
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|index| format!("{}\n", heart_rate(&format!("r{index}"), 60 + index % 50))).collect()
}

/// Observations that are on disk.
async fn stored(gateway: &Gateway) -> usize {
    gateway.store().search(Plan { limit: 10_000, ..Plan::of("Observation") }).await.unwrap().rows.len()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_record_that_stands_alone() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let mut local = heart_rate("c", 70);
    local["body"]["effective_time_frame"]["date_time"] = json!("2026-01-15T08:30:00");
    let body = format!("{}\n\nnonsense\r\n{local}\n{}", heart_rate("a", 71), heart_rate("d", 72));
    let answer = send(&app, &patient, &[], body.clone()).await;
    assert_eq!(counts(&answer), [2, 0, 0, 2]);
    let receipts = answer.json()["receipts"].clone();
    let shown = |index: usize| {
        let receipt = &receipts[index];
        let issue = &receipt["issues"][0];
        (receipt["line"].as_u64().unwrap(), issue["rule"].as_str().unwrap_or("-").to_owned(), issue["line"].as_u64())
    };
    assert_eq!(shown(0), (1, "-".to_owned(), None));
    assert_eq!(shown(1), (3, "json-syntax".to_owned(), Some(3)));
    assert_eq!(shown(2), (4, "measure-no-offset".to_owned(), Some(4)));
    assert_eq!(shown(3), (5, "-".to_owned(), None));
    assert_eq!(counts(&send(&app, &patient, &[("content-encoding", "gzip")], gzip(&body)).await), [0, 0, 2, 2]);
    let later = app.get(&format!("{}/receipts?id=c", app.root())).await.json();
    assert_eq!(later["receipts"][0]["line"], 4);
    for (headers, body, issue) in [
        (("content-encoding", "gzip"), b"nonsense".repeat(9), "body-encoding"),
        (("accept", "*/*"), b"\n \n".to_vec(), "body-missing"),
        (("idempotency-key", ""), b"{}".to_vec(), "idempotency-key-invalid"),
    ] {
        assert_eq!(send(&app, &patient, &[headers], body).await.issues(), [issue]);
    }
    assert_eq!(send(&app, "", &[], "{}").await.issues(), ["patient-missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_is_kept_piece_by_piece_and_once() {
    let gateway = Gateway::with("[limits]\nbody_bytes = 100000\nbundle_entries = 100\n").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let text = lines(0..1800);
    assert!(text.len() > 500_000, "much more than a body that is read whole");
    let key = [("idempotency-key", "night-1")];
    let first = send(&app, &patient, &key, text.clone()).await;
    assert_eq!(counts(&first), [1800, 0, 0, 0]);
    assert_eq!(first.json()["left_out"], 1700);
    assert_eq!(
        send(&app, &patient, &key, text.clone()).await.json(),
        first.json(),
        "the same request, the same answer"
    );
    let other = send(&app, &patient, &key, lines(0..1).replace("\"value\":60", "\"value\":61")).await;
    assert_eq!(other.issues(), ["idempotency-key-reused"]);
    assert_eq!(counts(&send(&app, &patient, &[], lines(1000..2000)).await), [200, 0, 800, 0]);
    assert_eq!(stored(&gateway).await, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_keeps_what_came_before() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let text = lines(0..1200);
    let mut stream = gateway.connection();
    let path = address(&app, &patient).replace(app.root(), "");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        app.bearer,
        text.len(),
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&text.as_bytes()[..text.len() - 10]).unwrap();
    stream.flush().unwrap();
    let count = async || Some(stored(&gateway).await).filter(|count| *count >= 1000);
    eventually("whole pieces are kept", count).await;
    drop(stream);
    assert_eq!(counts(&send(&app, &patient, &[], text).await)[1..], [0, 1000, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_too_many_under_way_waits_and_others_do_not() {
    let gateway = Gateway::with("[limits]\ndevice_requests = 2\n").await;
    let (app, other) = (gateway.app().await, gateway.client("other", APP_SCOPES).await);
    let patient = app.consenting_person().await;
    let path = address(&app, &patient).replace(app.root(), "");
    let mut held: Vec<_> = (0..2).map(|_| gateway.connection()).collect();
    for stream in &mut held {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n",
            app.bearer,
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.flush().unwrap();
        // It is asked for its body, so it has its place.
        assert!(self::head(stream).starts_with("HTTP/1.1 100"));
    }
    let refused = send(&app, &patient, &[], lines(0..1)).await;
    assert_eq!((refused.status, refused.issues()), (429, vec!["too-many-requests".to_owned()]));
    assert_eq!(refused.header("retry-after"), "1");
    let answer = send(&other, &patient, &[], lines(0..1)).await;
    assert_eq!(counts(&answer), [0, 0, 0, 1], "{}", answer.text());
    drop(held);
    let answered = async || {
        let answer = send(&app, &patient, &[], lines(0..1)).await;
        (answer.status == 200).then_some(answer)
    };
    let answer = eventually("there is room again", answered).await;
    assert_eq!(counts(&answer), [1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_record_from_many_sides_at_once_is_kept_once() {
    let gateway = Gateway::with("[limits]\ndevice_requests = 64\n").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let sent = (0..64).map(|_| {
        let (app, patient) = (app.clone(), patient.clone());
        tokio::spawn(async move { counts(&send(&app, &patient, &[], lines(0..20)).await) })
    });
    let mut total = [0; 4];
    for sent in sent.collect::<Vec<_>>() {
        for (sum, count) in total.iter_mut().zip(sent.await.unwrap()) {
            *sum += count;
        }
    }
    assert_eq!(total, [20, 0, 63 * 20, 0]);
    assert_eq!(stored(&gateway).await, 20);
    let card: Value = app.get(&format!("{}/receipts/scorecard", app.root())).await.json();
    assert_eq!((&card["records"]["accepted"], &card["records"]["duplicate"]), (&json!(20), &json!(1260)));
}
