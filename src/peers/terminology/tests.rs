//! The server plays its part badly, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::peers::fhir_rest::Auth;

/// Answers every connection with the same bytes, or never if there are none.
async fn server(answer: Option<&'static str>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/fhir", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut read = Vec::new();
                // The question ends with the end of a JSON object.
                while !read.ends_with(b"]}") {
                    if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let Some(answer) = answer else { return std::future::pending().await };
                let text =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len());
                let _ = stream.write_all(text.as_bytes()).await;
            });
        }
    });
    (address, count)
}

fn config(url: &str) -> Config {
    Config {
        url: url.to_owned(),
        auth: Auth::None,
        ca: None,
        timeout_ms: 10_000,
        connect_timeout_ms: 10_000,
        deadline_ms: 10_000,
        questions: 50,
        concurrent: 4,
        cache_entries: 100,
        cache_seconds: 60,
    }
}

fn question(code: &str) -> Question {
    Question { value_set: Some("urn:v".to_owned()), system: Some("urn:s".to_owned()), code: code.to_owned() }
}

const YES: &str = r#"{"resourceType":"Parameters","parameter":[{"name":"result","valueBoolean":true}]}"#;

#[tokio::test]
async fn answers_are_remembered_for_their_time() {
    let (url, count) = server(Some(YES)).await;
    let now = Arc::new(AtomicI64::new(0));
    let read = Arc::clone(&now);
    let clock: Clock = Arc::new(move || Timestamp::from_millisecond(read.load(Ordering::SeqCst)).unwrap());
    let terminology = Terminology::open(&config(&url), clock).unwrap();
    for (at_ms, asked) in [(0, 2), (59_999, 2), (60_001, 4)] {
        now.store(at_ms, Ordering::SeqCst);
        let answers = terminology.ask([question("a"), question("b"), question("a")]).await;
        assert_eq!(answers, HashMap::from([(question("a"), true), (question("b"), true)]));
        assert_eq!(count.load(Ordering::SeqCst), asked, "{at_ms}");
    }
}

#[tokio::test]
async fn nobody_waits_beyond_the_deadline() {
    let (url, count) = server(None).await;
    let config = Config { deadline_ms: 30, ..config(&url) };
    let terminology = Terminology::open(&config, Arc::new(Timestamp::now)).unwrap();
    for _ in 0..4 {
        let answers = terminology.ask((0..4).map(|code| question(&code.to_string()))).await;
        assert!(answers.is_empty());
    }
    // After a few questions without an answer it is left alone.
    let asked = count.load(Ordering::SeqCst);
    assert!(terminology.ask([question("x")]).await.is_empty());
    assert!(asked <= 12, "{asked}");
    assert_eq!(count.load(Ordering::SeqCst), asked);
}

#[tokio::test]
async fn a_server_that_talks_of_something_else_says_nothing() {
    for answer in ["<html>Welcome</html>", r#"{"resourceType":"Bundle"}"#, ""] {
        let (url, _) = server(Some(answer)).await;
        let terminology = Terminology::open(&config(&url), Arc::new(Timestamp::now)).unwrap();
        assert!(terminology.ask([question("a")]).await.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn a_message_puts_no_more_questions_than_it_may() {
    let (url, count) = server(Some(YES)).await;
    let config = Config { questions: 3, ..config(&url) };
    let terminology = Terminology::open(&config, Arc::new(Timestamp::now)).unwrap();
    let answers = terminology.ask((0..20).map(|code| question(&code.to_string()))).await;
    assert_eq!((answers.len(), count.load(Ordering::SeqCst)), (3, 3));
}

#[test]
fn every_mistake_is_reported() {
    let wrong = Config { url: "http://a.example/fhir".to_owned(), deadline_ms: 0, concurrent: 0, ..config("x") };
    let keys: Vec<String> =
        wrong.mistakes().iter().filter_map(|mistake| mistake.split(':').next().map(str::to_owned)).collect();
    assert_eq!(keys, ["url", "deadline_ms", "concurrent"]);
}
