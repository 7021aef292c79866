//! Large files come in resumable uploads, survive whatever ends the process, and are worked off once.

use std::io::Write;

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::{AuditPlan, Plan, Store};
use serde_json::{Value, json};

use crate::devices::{heart_rate, heart_rate_at};
use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, Site, consent, eventually};

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const BYTES: (&str, &str) = ("content-type", "application/offset+octet-stream");
/// `filetype application/gzip`
const GZIP: (&str, &str) = ("upload-metadata", "filename YQ==,filetype YXBwbGljYXRpb24vZ3ppcA==");

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|index| format!("{}\n", heart_rate_at(&format!("r{index}"), 60 + index % 50, index))).collect()
}

async fn create(app: &Client, patient: &str, length: usize, headers: &[(&str, &str)]) -> Answer {
    let length = length.to_string();
    let headers: Vec<(&str, &str)> = [TUS, ("upload-length", length.as_str())].iter().chain(headers).copied().collect();
    let address = format!("{}/devices/open-mhealth/uploads?patient={patient}", app.root());
    app.raw("POST", &address, &headers, "").await
}

async fn begin(app: &Client, patient: &str, length: usize, headers: &[(&str, &str)]) -> String {
    let created = create(app, patient, length, headers).await;
    assert_eq!(created.status, 201, "{}", created.text());
    created.header("location").to_owned()
}

async fn append(app: &Client, address: &str, offset: usize, bytes: &[u8]) -> Answer {
    app.raw("PATCH", address, &[TUS, BYTES, ("upload-offset", &offset.to_string())], bytes).await
}

async fn offset(app: &Client, address: &str) -> usize {
    let answer = app.raw("HEAD", address, &[TUS], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("upload-offset").parse().unwrap()
}

/// The status, once the work is over.
async fn worked_off(app: &Client, address: &str) -> Value {
    let over = async || {
        let status = app.get(address).await.json();
        matches!(status["state"].as_str(), Some("finished" | "failed")).then_some(status)
    };
    eventually("the upload is worked off", over).await
}

async fn stored(store: &Store) -> usize {
    store.search(Plan { limit: 10_000, ..Plan::of("Observation") }).await.unwrap().rows.len()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_in_parts_and_is_worked_off_when_it_is_whole() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for path in ["devices/open-mhealth/uploads", "uploads/x"] {
        let asked = app.raw("OPTIONS", &format!("{}/{path}", app.root()), &[], "").await;
        assert_eq!((asked.status, asked.header("tus-version")), (204, "1.0.0"));
        assert_eq!(asked.header("tus-extension"), "creation,expiration,termination");
    }
    let mut local = heart_rate("local", 70);
    local["body"]["effective_time_frame"]["date_time"] = json!("2026-01-15T08:30:00");
    let text = format!("{}{local}\nnonsense\n{}", lines(0..1100), lines(0..3));
    for (packed, expected) in [(false, [1100, 0, 3, 2]), (true, [0, 0, 1103, 2])] {
        let bytes = if packed { gzip(&text) } else { text.clone().into_bytes() };
        let address = begin(&app, &patient, bytes.len(), if packed { &[GZIP] } else { &[] }).await;
        let half = bytes.len() / 2;
        let first = append(&app, &address, 0, &bytes[..half]).await;
        assert_eq!((first.status, first.header("upload-offset")), (204, half.to_string().as_str()), "{first:?}");
        assert!(first.header("upload-expires").ends_with("GMT"));
        assert_eq!(app.get(&address).await.json()["state"], "receiving");
        assert_eq!(offset(&app, &address).await, half);
        assert_eq!(append(&app, &address, 0, &bytes).await.issues(), ["upload-offset"]);
        assert_eq!(append(&app, &address, half, &bytes[half..]).await.status, 204);
        let status = worked_off(&app, &address).await;
        assert_eq!((&status["state"], &status["records"]), (&json!("finished"), &json!(1105)), "{status}");
        let counts =
            ["accepted", "flagged", "duplicate", "refused"].map(|word| status["counts"][word].as_u64().unwrap());
        assert_eq!(counts, expected);
        assert_eq!(append(&app, &address, bytes.len(), b"x").await.issues(), ["upload-offset"]);
    }
    assert_eq!(stored(gateway.store()).await, 1100);
    let refused = app.get(&format!("{}/receipts?outcome=refused", app.root())).await.json();
    assert_eq!((&refused["receipts"][0]["line"], refused["receipts"].as_array().unwrap().len()), (&json!(1101), 4));
    let left: Vec<_> = std::fs::read_dir(gateway.path().join("uploads")).unwrap().collect();
    assert!(left.is_empty(), "the bytes are gone: {left:?}");
    // The audit tells of every record that came to be.
    let events = gateway.store().audit(AuditPlan { limit: 1000, ..AuditPlan::default() }).await.unwrap();
    let creations =
        events.iter().filter(|(_, event)| String::from_utf8_lossy(event).contains("\"code\":\"create\"")).count();
    assert!(creations >= 3, "{creations}");
}

/// What lies of an upload is sealed piece by piece: nobody reads it, and nobody changes it unnoticed.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_of_an_upload_is_sealed() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let text = lines(0..40).into_bytes();
    let half = text.len() / 2;
    let address = begin(&app, &patient, text.len(), &[]).await;
    assert_eq!(append(&app, &address, 0, &text[..half]).await.status, 204);
    let file = std::fs::read_dir(gateway.path().join("uploads")).unwrap().next().unwrap().unwrap().path();
    let mut lies = std::fs::read(&file).unwrap();
    assert!(lies.len() > half);
    for word in ["heart_rate", "beats/min", "2026-"] {
        assert!(!String::from_utf8_lossy(&lies).contains(word), "{word}");
    }
    lies[half / 2] ^= 1;
    std::fs::write(&file, &lies).unwrap();
    assert_eq!(append(&app, &address, half, &text[half..]).await.status, 204);
    let status = worked_off(&app, &address).await;
    assert_eq!((&status["state"], &status["failure"]), (&json!("failed"), &json!("storage-failed")), "{status}");
    assert_eq!(stored(gateway.store()).await, 0);
}

/// Several requests that write one file at once: one of them does, and the others stop nobody.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_at_a_time_writes_an_upload() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let text = lines(0..400);
    let address = begin(&app, &patient, text.len(), &[]).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (app, address, bytes) = (app.clone(), address.clone(), text.clone().into_bytes());
        requests.spawn(async move { append(&app, &address, 0, &bytes).await.status });
    }
    let statuses = requests.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [204, 409, 413, 423, 429].contains(status)), "{statuses:?}");
    let status = worked_off(&app, &address).await;
    assert_eq!(status["state"], "finished", "{status}");
    assert_eq!(stored(gateway.store()).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_upload_is_said_in_the_words_of_its_protocol() {
    let gateway = Gateway::with("[exchange]\nupload_bytes = 1000\nupload_files = 3\n").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let address = format!("{}/devices/open-mhealth/uploads?patient={patient}", app.root());
    for (headers, status, issue) in [
        (vec![("upload-length", "9")], 412, "upload-version"),
        (vec![TUS], 400, "operation-parameter"),
        (vec![TUS, ("upload-length", "-1")], 400, "operation-parameter"),
        (vec![TUS, ("upload-length", "0")], 400, "body-missing"),
        (vec![TUS, ("upload-length", "1001")], 413, "body-too-large"),
        (
            vec![TUS, ("upload-length", "9"), ("upload-metadata", "filetype aW1hZ2UvcG5n")],
            415,
            "media-type-unsupported",
        ),
    ] {
        let answer = app.raw("POST", &address, &headers, "").await;
        assert_eq!((answer.status, answer.issues()), (status, vec![issue.to_owned()]));
        assert_eq!(answer.header("tus-resumable"), "1.0.0");
        assert_eq!(answer.header("tus-version") == "1.0.0", status == 412);
    }
    assert_eq!(create(&app, "", 9, &[]).await.issues(), ["patient-missing"]);
    let reader = gateway.client("reader", "system/Observation.rs").await;
    assert_eq!(create(&reader, &patient, 9, &[]).await.issues(), ["scope-insufficient"]);
    let first = begin(&app, &patient, 400, &[]).await;
    begin(&app, &patient, 400, &[]).await;
    let full = create(&app, &patient, 400, &[]).await;
    assert_eq!((full.status, full.issues()), (429, vec!["upload-quota".to_owned()]));
    assert!(!full.header("retry-after").is_empty());
    begin(&app, &patient, 200, &[]).await;
    assert_eq!(create(&app, &patient, 1, &[]).await.issues(), ["upload-quota"], "three are as many as there may be");
    assert_eq!(append(&app, &first, 0, &[b'x'; 401]).await.issues(), ["body-too-large"]);
    let typed = app.raw("PATCH", &first, &[TUS, ("upload-offset", "0")], "x").await;
    assert_eq!(typed.issues(), ["media-type-unsupported"]);
    // Another client's upload is absent, as is one that never was.
    let other = gateway.client("other", APP_SCOPES).await;
    let never = format!("{}/uploads/{}", app.root(), "0".repeat(32));
    for (client, address) in [(&other, &first), (&app, &never), (&app, &format!("{}/uploads/x", app.root()))] {
        assert_eq!(client.get(address).await.issues(), ["not-found"]);
        assert_eq!(append(client, address, 0, b"x").await.issues(), ["not-found"]);
        assert_eq!(client.raw("HEAD", address, &[TUS], "").await.status, 404);
        assert_eq!(client.raw("DELETE", address, &[TUS], "").await.issues(), ["not-found"]);
    }
    assert_eq!(app.raw("DELETE", &first, &[TUS], "").await.status, 204);
    assert_eq!(app.get(&first).await.status, 404);
    assert_eq!(std::fs::read_dir(gateway.path().join("uploads")).unwrap().count(), 2);
    begin(&app, &patient, 400, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_cannot_be_worked_off_says_why() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let broken = b"this is not packed".to_vec();
    let address = begin(&app, &patient, broken.len(), &[GZIP]).await;
    append(&app, &address, 0, &broken).await;
    assert_eq!(worked_off(&app, &address).await["failure"], "body-encoding");
    let cut = gzip(&lines(0..700));
    let address = begin(&app, &patient, cut.len() - 9, &[GZIP]).await;
    append(&app, &address, 0, &cut[..cut.len() - 9]).await;
    assert_eq!(worked_off(&app, &address).await["failure"], "body-encoding");
    // What could be unpacked before it broke off was kept, and stands as counted.
    assert_eq!(stored(gateway.store()).await, 500);
    assert_eq!(app.get(&address).await.json()["counts"]["accepted"], 500);
}

/// A file of some kilobytes that unpacks to more than anybody would work off: of spaces, and of lines that each would be a
/// record.
#[tokio::test(flavor = "multi_thread")]
async fn what_grows_without_end_is_not_worked_off() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for unit in [" ", "\n"] {
        let bomb = gzip(&unit.repeat(40 << 20));
        let address = begin(&app, &patient, bomb.len(), &[GZIP]).await;
        assert_eq!(append(&app, &address, 0, &bomb).await.status, 204);
        let status = worked_off(&app, &address).await;
        assert_eq!((&status["state"], &status["failure"]), (&json!("failed"), &json!("body-too-large")), "{status}");
    }
    // A line that is too long is one record of many, packed or not.
    let packed = gzip(&format!("{}{}\n{}", lines(0..1), "x".repeat(8 << 20), lines(1..2)));
    let address = begin(&app, &patient, packed.len(), &[GZIP]).await;
    append(&app, &address, 0, &packed).await;
    let status = worked_off(&app, &address).await;
    assert_eq!((&status["counts"]["accepted"], &status["counts"]["refused"]), (&json!(2), &json!(1)), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_removed_while_it_is_worked_off_ends_there() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let text = lines(0..6000);
    let address = begin(&app, &patient, text.len(), &[]).await;
    assert_eq!(append(&app, &address, 0, text.as_bytes()).await.status, 204);
    eventually("some of it is worked off", async || {
        (app.get(&address).await.json()["records"].as_u64() >= Some(500)).then_some(())
    })
    .await;
    assert_eq!(app.raw("DELETE", &address, &[TUS], "").await.status, 204);
    assert_eq!(app.get(&address).await.status, 404);
    assert_eq!(append(&app, &address, 0, b"x").await.issues(), ["not-found"]);
    assert_eq!(std::fs::read_dir(gateway.path().join("uploads")).unwrap().count(), 0);
    // Whoever works on it goes on with the next.
    let next = lines(6000..6001);
    let address = begin(&app, &patient, next.len(), &[]).await;
    append(&app, &address, 0, next.as_bytes()).await;
    assert_eq!(worked_off(&app, &address).await["counts"]["accepted"], 1);
    let kept = stored(gateway.store()).await;
    assert!((501..6001).contains(&kept), "{kept}");
}

/// A file whose client is gone by the time that it is whole is not worked off.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_a_client_that_is_gone_ends() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let text = lines(0..1500);
    let address = begin(&app, &patient, text.len(), &[]).await;
    let half = text.len() / 2;
    assert_eq!(append(&app, &address, 0, &text.as_bytes()[..half]).await.status, 204);
    assert!(gateway.store().remove_client(&app.id).await.unwrap());
    // What was known of it a moment ago may still hold; after that no byte is taken and nothing is worked off.
    let refused = async || (app.raw("HEAD", &address, &[TUS], "").await.status == 401).then_some(());
    eventually("the client is gone", refused).await;
    assert_eq!(append(&app, &address, half, &text.as_bytes()[half..]).await.status, 401);
    assert_eq!(stored(gateway.store()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_being_killed_wherever_it_is() {
    let site = Site::new("").await;
    let mut app = site.register("app", APP_SCOPES).await;
    let mut process = site.serve().await;
    app.sign_in().await;
    let patient = app.person().await;
    let given = consent(&patient, &[(&app.actor.clone(), &[Action::Collect], &["heart-rate"])]);
    assert_eq!(app.post("/Consent", &given).await.status, 201);
    let text = lines(0..4000);
    let bytes = text.as_bytes();
    let address = begin(&app, &patient, bytes.len(), &[]).await;
    // Killed between parts: what was acknowledged is there, and not a byte more counts.
    let mut at = 0;
    while at < bytes.len() {
        let end = (at + bytes.len() / 4 + 1).min(bytes.len());
        assert_eq!(append(&app, &address, at, &bytes[at..end]).await.status, 204);
        process.kill().await;
        process = site.serve().await;
        app.sign_in().await;
        at = if end == bytes.len() { end } else { offset(&app, &address).await };
        assert_eq!(at, end);
    }
    // Killed during the work, again and again.
    let mut kills = 0;
    let status = loop {
        let status = app.get(&address).await.json();
        if status["state"] == "finished" {
            break status;
        }
        if kills < 3 && status["records"].as_u64().unwrap() >= 500 * (kills + 1) {
            kills += 1;
            process.kill().await;
            process = site.serve().await;
            app.sign_in().await;
        }
    };
    assert_eq!((&status["records"], &status["counts"]["accepted"]), (&json!(4000), &json!(4000)), "{status}");
    assert_eq!(status["counts"]["duplicate"], 0, "nothing was worked off twice: {status}");
    let card = app.get(&format!("{}/receipts/scorecard", app.root())).await.json();
    assert_eq!(card["records"]["accepted"], 4000);
    process.kill().await;
    assert_eq!(stored(&Store::open(&site.place()).unwrap()).await, 4000);
}
