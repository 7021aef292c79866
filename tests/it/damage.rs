//! What is damaged where it lies is told to whoever should know, hides nothing else, and stops nobody.

use std::time::Duration;

use mhealth_gateway::exchange::replay::Replay;
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::DAMAGED;
use serde_json::{Value, json};

use crate::bulk;
use crate::devices::{send, told};
use crate::fixture::{ANY_ID, APP_SCOPES, Answer, Client, Gateway, Platform, consent, eventually, heart_rate};
use crate::person::visitor;
use crate::rights::{asks, own_requests};
use crate::sources::{list, reading};

/// Does something to the file of a store, as somebody with the disk in his hands might.
pub fn meddle(gateway: &Gateway, sql: &str) {
    let file = rusqlite::Connection::open(gateway.path().join("gateway.sqlite3")).unwrap();
    file.busy_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(file.execute(sql, []).unwrap(), 1, "{sql}");
}

/// Changes what is kept of the resource that came in as so many-th of its type.
fn spoil(gateway: &Gateway, kind: &str, which: usize) {
    meddle(
        gateway,
        &format!(
            "UPDATE resource SET payload = CAST(payload || x'00' AS BLOB) WHERE seq =
             (SELECT r.seq FROM resource r JOIN kind k ON k.id = r.kind WHERE k.name = '{kind}' ORDER BY r.seq LIMIT 1 OFFSET {which})"
        ),
    );
}

async fn at_rest(gateway: &Gateway) {
    eventually("nothing waits", async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0).then_some(())
    })
    .await;
}

/// What an answer says of itself.
fn remarks(answer: &Answer) -> Vec<String> {
    let bundle = answer.json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let outcomes = entries.iter().filter(|entry| entry["resource"]["resourceType"] == "OperationOutcome");
    outcomes
        .flat_map(|entry| entry["resource"]["issue"].as_array().cloned().unwrap_or_default())
        .map(|issue| issue["details"]["coding"][0]["code"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn observations(client: &Client, path: &str) -> (usize, Vec<String>) {
    let answer = client.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let bundle = answer.json();
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let count = entries.filter(|entry| entry["resource"]["resourceType"] == "Observation").count();
    (count, remarks(&answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_told_and_nothing_else_is_lost() {
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), "").await;
    let app = gateway.app().await;
    let app = own_requests(&gateway, &app, &format!("{APP_SCOPES} system/Patient.d")).await;
    let patient = app.consenting_person().await;
    let mut ids = Vec::new();
    for number in 0..3 {
        let answer = app.post("/Observation", &heart_rate(&patient, &format!("r-{number}"), 60 + number)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        ids.push(answer.id());
    }
    let export = bulk::begin(&app, "/$export?_type=Observation").await;
    bulk::fetched(&app, &export).await;
    spoil(&gateway, "Observation", 1);

    let incomplete = vec!["answer-incomplete".to_owned()];
    for path in [
        format!("/Observation?patient={patient}"),
        format!("/Observation?patient={patient}&code=8867-4&_sort=-date"),
        format!("/Observation?patient={patient}&_sort=value-quantity"),
        format!("/Patient/{patient}/$everything"),
        "/Observation/_history".to_owned(),
        format!("/Patient?_id={patient}&_revinclude=Observation:patient"),
    ] {
        assert_eq!(observations(&app, &path).await, (2, incomplete.clone()), "{path}");
    }
    let (count, said) = observations(&app, &format!("/Observation/$lastn?patient={patient}&max=5")).await;
    assert_eq!((count, said), (2, incomplete));
    assert_eq!(observations(&app, &format!("/Observation?patient={patient}&_count=1")).await.0, 1);
    // What follows from all of it follows from nothing less, and what is asked for by name is not there to be read.
    for path in [
        format!("/Observation/{}", ids[1]),
        format!("/Observation/{}/_history/1", ids[1]),
        format!("/Observation/$stats?subject=Patient/{patient}&code=http://loinc.org|8867-4&statistic=maximum"),
    ] {
        let answer = app.get(&path).await;
        assert_eq!((answer.status, answer.issues()), (500, vec!["resource-damaged".to_owned()]), "{path}");
        assert_eq!(answer.header("retry-after"), "", "{path}");
    }
    assert_eq!(app.get(&format!("/Observation/{}", ids[0])).await.status, 200);

    // Whoever has a list of it already gets the rest; whoever asks now is told that something is missing.
    let again = bulk::fetched(&app, &export).await;
    assert_eq!(again.lines["Observation"].len(), 2);
    let later = bulk::begin(&app, "/$export?_type=Observation").await;
    let later = bulk::fetched(&app, &later).await;
    assert_eq!(later.lines["Observation"].len(), 2);
    assert_eq!(later.manifest["error"][0]["count"], 1);
    let lost = &later.lines["OperationOutcome"];
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0]["issue"][0]["details"]["coding"][0]["code"], "resource-damaged");
    assert!(later.manifest["output"].as_array().unwrap().iter().all(|file| file["type"] == "Observation"));

    // The person's rights do not end with it.
    let own = asks(&app, "GET", &format!("/Patient/{patient}/$export-data")).await;
    assert_eq!(own.status, 200);
    let own = own.text();
    let of = |kind: &str| own.lines().filter(|line| line.contains(&format!(r#"{{"resourceType":"{kind}""#))).count();
    assert_eq!((of("Observation"), of("OperationOutcome")), (2, 1));
    let log = app.get(&(app.root().to_owned() + &format!("/persons/{patient}/access-log"))).await;
    assert_eq!(log.status, 200, "{}", log.text());
    for operation in ["$restrict", "$unrestrict", "$erase"] {
        let answer = asks(&app, "POST", &format!("/Patient/{patient}/{operation}")).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
    }
    assert_eq!(app.get(&format!("/Observation/{}", ids[1])).await.status, 404);
}

/// Of whom nobody can say any more what she permits, nothing is told to anybody whom she has to permit it.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_consent_permits_nothing() {
    // Her last one; what was said before it must not count alone.
    let damaged = |gateway: &Gateway| spoil(gateway, "Consent", 2);
    let lost = |gateway: &Gateway| {
        let last = "SELECT r.seq FROM resource r JOIN kind k ON k.id = r.kind WHERE k.name = 'Consent' ORDER BY r.seq LIMIT 1 OFFSET 2";
        meddle(
            gateway,
            &format!(
                "DELETE FROM consent WHERE seq <> ({last}) AND patient = (SELECT patient FROM consent WHERE seq = ({last}))"
            ),
        );
    };
    nothing_is_permitted_after(&damaged).await;
    nothing_is_permitted_after(&lost).await;
}

async fn nothing_is_permitted_after(happened: &dyn Fn(&Gateway)) {
    let mut platform = Platform::start(&[]).await;
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), &platform.destination("")).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let (patient, other) = (app.consenting_person().await, app.consenting_person().await);
    let permitted: &[(&str, &[Action], &[&str])] = &[
        ("Organization/clinic", &[Action::Access], &["heart-rate"]),
        ("Organization/platform", &[Action::Disclose], &["heart-rate"]),
    ];
    for person in [&patient, &other] {
        app.consent(person, permitted).await;
    }
    platform.leave().await;
    for person in [&patient, &other] {
        assert_eq!(app.post("/Observation", &heart_rate(person, "r", 70)).await.status, 201);
    }
    assert_eq!(clinic.find(&format!("/Observation?patient={patient}")).await.0, Some(1));
    happened(&gateway);
    let gateway = {
        // What is known in memory was known before.
        let directory = gateway.stop().await;
        Gateway::with_store(directory, &platform.destination("")).await
    };
    platform.come_back().await;
    let mut clinic = Client { base: gateway.base.clone(), http: gateway.http.clone(), ..clinic };
    clinic.sign_in().await;
    assert_eq!(clinic.find(&format!("/Observation?patient={patient}")).await.0, Some(0));
    assert_eq!(clinic.find(&format!("/Observation?patient={other}")).await.0, Some(1));
    eventually("the other's is delivered", async || (platform.held().await.len() == 1).then_some(())).await;
    at_rest(&gateway).await;
    assert_eq!(platform.held().await[0]["subject"]["reference"], format!("Patient/{other}"));
}

/// What goes where she lives cannot be sent where nobody can read any more where that is; what is of others can.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_person_holds_up_nobody_else() {
    let platform = Platform::start(&[]).await;
    let section = platform.destination("residence = [\"DE\"]");
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), &section).await;
    let app = gateway.app().await;
    // While nobody looks.
    let gateway = Gateway::with_store(gateway.stop().await, "").await;
    let mut app = Client { base: gateway.base.clone(), http: gateway.http.clone(), ..app };
    app.sign_in().await;
    let mut persons = Vec::new();
    for _ in 0..2 {
        let record = json!({"resourceType": "Patient", "active": true, "address": [{"country": "DE"}]});
        let patient = app.post("/Patient", &record).await.id();
        let own: &[Action] = &[Action::Collect, Action::Access];
        app.consent(&patient, &[(&app.actor, own, &["heart-rate"])]).await;
        app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
        assert_eq!(app.post("/Observation", &heart_rate(&patient, "r", 70)).await.status, 201);
        persons.push(patient);
    }
    spoil(&gateway, "Patient", 0);
    let gateway = Gateway::with_store(gateway.stop().await, &section).await;
    at_rest(&gateway).await;
    let held = platform.held().await;
    let of: Vec<_> = held.iter().map(|one| one["subject"]["reference"].clone()).collect();
    assert_eq!(of, [json!(format!("Patient/{}", persons[1]))]);
    let dead = gateway.store().dead_letters(Some("platform")).await.unwrap();
    assert_eq!(dead.iter().map(|letter| letter.reason.as_str()).collect::<Vec<_>>(), [DAMAGED]);
}

/// What was delivered before it was damaged is taken back like everything else, and what cannot be read is sent to nobody
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_taken_back_and_not_repeated() {
    let platform = Platform::start(&[]).await;
    let section = platform.destination("on_withdrawal = \"delete\"");
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), &section).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let given = app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    for number in 0..3 {
        let reading = heart_rate(&patient, &format!("r-{number}"), 60 + number);
        assert_eq!(app.post("/Observation", &reading).await.status, 201);
    }
    eventually("all arrive", async || (platform.held().await.len() == 3).then_some(())).await;
    at_rest(&gateway).await;
    spoil(&gateway, "Observation", 1);
    let whole = Replay { destination: "platform", from_ms: 0, until_ms: i64::MAX, missing: false, rehearsal: true };
    let told = gateway.inner().replay(whole).await.unwrap().unwrap();
    assert_eq!((told.found, told.sent, told.damaged), (2, 2, 1));
    assert_eq!(app.post(&format!("/Consent/{given}/$revoke"), &json!({})).await.status, 200);
    eventually("all are taken back", async || platform.held().await.is_empty().then_some(())).await;
}

/// The receipt of an erasure tells of groups that nobody could look into; once they are mended, she leaves them.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_tells_of_groups_that_are_damaged() {
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), "").await;
    let scopes = format!("{APP_SCOPES} system/Group.cruds system/Patient.d");
    let app = gateway.client("app", &scopes).await;
    let app = own_requests(&gateway, &app, &scopes).await;
    let patient = app.consenting_person().await;
    let mut groups = Vec::new();
    for value in ["damaged", "whole", "damaged later"] {
        let group = json!({
            "resourceType": "Group", "type": "person", "actual": true,
            "identifier": [{"system": "urn:groups", "value": value}],
            "member": [{"entity": {"reference": format!("Patient/{patient}")}}],
        });
        groups.push(app.post("/Group", &group).await.id());
    }
    let path = format!("/Group/{}", groups[2]);
    let mut changed = app.get(&path).await.json();
    changed.as_object_mut().unwrap().remove("member");
    assert_eq!(app.put(&path, &changed).await.status, 200);
    for which in [0, 2] {
        spoil(&gateway, "Group", which);
    }
    let erase = format!("/Patient/{patient}/$erase");
    let receipt = async || {
        let answer = asks(&app, "POST", &erase).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let count = |receipt: &Value| {
        let kept = receipt["kept"].as_array().unwrap();
        kept.iter().find_map(|kept| kept["what"].as_str()?.contains("groups").then(|| kept["count"].clone()))
    };
    let first = receipt().await;
    assert_eq!(count(&first), Some(json!(2)), "{first}");
    assert_eq!(app.get(&format!("/Group/{}", groups[1])).await.json()["member"], Value::Null);
    assert_eq!(app.get(&format!("{path}/_history/1")).await.status, 404, "what can be read names her no more");
    meddle(
        &gateway,
        "UPDATE resource SET payload = CAST(substr(payload, 1, length(payload) - 1) AS BLOB) WHERE seq =
         (SELECT r.seq FROM resource r JOIN kind k ON k.id = r.kind WHERE k.name = 'Group' ORDER BY r.seq LIMIT 1)",
    );
    assert!(app.get(&format!("/Group/{}", groups[0])).await.text().contains(&patient));
    assert_eq!(count(&receipt().await), Some(json!(1)));
    assert_eq!(app.get(&format!("/Group/{}", groups[0])).await.json()["member"], Value::Null);
}

/// However much is damaged, an export says it once.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_counts_what_is_damaged() {
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), "").await;
    let app = gateway.app().await;
    for number in 0..3 {
        let patient = app.consenting_person().await;
        let reading = heart_rate(&patient, &format!("r-{number}"), 60);
        assert_eq!(app.post("/Observation", &reading).await.status, 201);
    }
    spoil(&gateway, "Observation", 0);
    spoil(&gateway, "Observation", 2);
    let export = bulk::begin(&app, "/$export?_type=Observation").await;
    let export = bulk::fetched(&app, &export).await;
    let counts: Vec<_> =
        export.manifest["error"].as_array().unwrap().iter().map(|file| file["count"].clone()).collect();
    let lost = &export.lines["OperationOutcome"];
    assert_eq!((export.lines["Observation"].len(), lost.len(), counts), (1, 1, vec![json!(1)]));
    assert!(lost[0]["issue"][0]["details"]["text"].as_str().unwrap().starts_with("2 resources"), "{lost:?}");
}

/// Asks the store anew for what persons have said, as another process would.
async fn restarted(gateway: Gateway, client: &Client) -> (Gateway, Client) {
    let gateway = Gateway::with_store(gateway.stop().await, "").await;
    let mut client = Client { base: gateway.base.clone(), http: gateway.http.clone(), ..client.clone() };
    client.sign_in().await;
    (gateway, client)
}

/// A consent that is damaged can be withdrawn, said anew and deleted like any other, and what stands beside it counts again.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_consent_can_be_withdrawn() {
    let mut gateway = Gateway::with_store(tempfile::tempdir().unwrap(), "").await;
    let mut app = gateway.registered("app", &format!("{APP_SCOPES} system/Consent.d"), json!({"visits": true})).await;
    let patient = app.consenting_person().await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "r", 70)).await.status, 201);
    let said = consent(&patient, &[("Organization/clinic", &[Action::Access], &["heart-rate"])]);
    let readings = format!("/Observation?patient={patient}");
    for (given, by) in (1..).zip(["revoke", "put", "put again", "delete", "page"]) {
        let id = app.post("/Consent", &said).await.id();
        let path = format!("/Consent/{id}");
        spoil(&gateway, "Consent", given);
        (gateway, app) = restarted(gateway, &app).await;
        assert_eq!(app.get(&path).await.issues(), ["resource-damaged"]);
        assert_eq!(app.find(&readings).await.0, Some(0), "{by}: it denies");
        let mut anew = said.clone();
        anew["id"] = json!(id);
        let (status, expected) = match by {
            "revoke" => (app.raw("POST", &format!("{path}/$revoke"), &[], "").await.status, Some("inactive")),
            "put" => (app.put(&path, &anew).await.status, Some("active")),
            "put again" => {
                anew["status"] = json!("inactive");
                let text = anew.to_string();
                let json = ("content-type", "application/fhir+json");
                let stale = app.raw("PUT", &path, &[json, ("if-match", "W/\"2\"")], text.clone()).await;
                assert_eq!(stale.issues(), ["version-conflict"]);
                (app.raw("PUT", &path, &[json, ("if-match", "W/\"1\"")], text).await.status, Some("inactive"))
            }
            "page" => {
                let visitor = visitor(&gateway, &app, &patient).await;
                let answer =
                    visitor.post("/person/withdraw", &[("seal", &visitor.seal().await), ("sure", "yes")]).await;
                assert_eq!(answer.header("location"), "/person?said=withdrawn", "{}", answer.text());
                (answer.status, Some("inactive"))
            }
            _ => (app.send(reqwest::Method::DELETE, &path, "").await.status, None),
        };
        assert!([200, 204, 303].contains(&status), "{by}: {status}");
        let stands = app.get(&path).await;
        assert_eq!(stands.json()["status"].as_str(), expected, "{by}: {}", stands.text());
        if let Some(status) = expected {
            let found = app.get(&format!("/Consent?patient={patient}&status={status}")).await;
            assert!(found.text().contains(&id), "{by}: {}", found.text());
        }
        if by != "page" {
            assert_eq!(app.find(&readings).await.0, Some(1), "{by}: what else she said counts again");
        }
    }
}

/// Who sent what is damaged mends it by sending it again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_mended_by_an_update() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let mut reading = heart_rate(&patient, "r", 70);
    reading["id"] = json!("r");
    assert_eq!(app.put("/Observation/r", &reading).await.status, 201);
    spoil(&gateway, "Observation", 0);
    let narrow = gateway.client("narrow", "system/Observation.cruds").await;
    assert_eq!(narrow.put("/Observation/r", &reading).await.issues(), ["consent-missing"]);
    assert_eq!(app.put("/Observation/r", &reading).await.status, 200);
    assert_eq!(app.get("/Observation/r").await.json()["meta"]["versionId"], "2");
    assert_eq!(app.get("/Observation/r/_history/1").await.issues(), ["resource-damaged"]);
}

/// A record that cannot be read keeps the others from nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_of_the_audit_hides_no_other() {
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), "").await;
    let scopes = format!("{APP_SCOPES} system/Patient.d");
    let app = own_requests(&gateway, &gateway.client("app", &scopes).await, &scopes).await;
    let patient = app.consenting_person().await;
    for number in 0..2 {
        let reading = heart_rate(&patient, &format!("r-{number}"), 60);
        assert_eq!(app.post("/Observation", &reading).await.status, 201);
    }
    let events = format!("/AuditEvent?patient={patient}&_count=1&_total=accurate");
    let log = app.root().to_owned() + &format!("/persons/{patient}/access-log");
    let before = app.find(&events).await.0.unwrap();
    // What cannot be unpacked, and what is no record.
    for (which, with) in [(1, "01ff"), (2, "ffff")] {
        let damaged = format!("SELECT seq FROM audit WHERE patient IS NOT NULL ORDER BY seq LIMIT 1 OFFSET {which}");
        meddle(&gateway, &format!("UPDATE audit SET payload = x'{with}' WHERE seq = ({damaged})"));
    }
    let answer = app.get(&events).await;
    assert_eq!((answer.status, remarks(&answer)), (200, vec!["answer-incomplete".to_owned()]));
    // The search before is on record itself.
    assert_eq!(answer.json()["total"], before - 1);
    let page = app.get(&format!("{log}?_count=100")).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let page = page.json();
    assert_eq!((&page["damaged"], &page["issues"]), (&json!(2), &json!(["answer-incomplete"])));
    assert!(page["entries"].as_array().unwrap().iter().all(|line| line["when"].is_string()), "{page}");
    // Page by page nothing is lost behind it.
    let (mut lines, mut lost, mut next) = (0, 0, Some(format!("{log}?_count=1")));
    while let Some(address) = next {
        let page = app.get(&address).await.json();
        lines += page["entries"].as_array().unwrap().len();
        lost += page["damaged"].as_u64().unwrap_or_default();
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!((lines as u64, lost), (page["entries"].as_array().unwrap().len() as u64 + 1, 2));
    let export = asks(&app, "GET", &format!("/Patient/{patient}/$export-data")).await;
    assert_eq!(export.status, 200);
    let told = export.text().lines().filter(|line| line.contains("2 records of the audit are damaged")).count();
    assert_eq!(told, 1);
    let receipt = asks(&app, "POST", &format!("/Patient/{patient}/$erase")).await;
    assert_eq!((receipt.status, &receipt.json()["unread"]), (200, &json!(2)), "{}", receipt.text());
}

/// Without her key nothing of a person can be read or written; her rights are answered, and she can be erased.
#[tokio::test(flavor = "multi_thread")]
async fn without_her_key_a_person_can_be_erased() {
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), "").await;
    let app = gateway.app().await;
    let app = own_requests(&gateway, &app, &format!("{APP_SCOPES} system/Patient.d")).await;
    let other = app.consenting_person().await;
    let patient = app.person().await;
    let own: &[Action] = &[Action::Collect, Action::Access];
    let given = app.consent(&patient, &[(&app.actor, own, &["heart-rate"])]).await;
    let reading = app.post("/Observation", &heart_rate(&patient, "r", 60)).await.id();
    let record = json!([{
        "header": {"id": "1", "creation_date_time": "2026-01-15T09:30:00Z",
            "schema_id": {"namespace": "omh", "name": "heart-rate", "version": "1.0"}},
        "body": {"heart_rate": {"value": 61, "unit": "beats/min"},
            "effective_time_frame": {"date_time": "2026-01-15T09:30:00Z"}},
    }]);
    let devices = app.root().to_owned() + &format!("/devices/open-mhealth?patient={patient}");
    let json = [("content-type", "application/json")];
    let pushed = app.raw("POST", &devices, &json, record.to_string()).await;
    assert!(pushed.status < 300 && pushed.text().contains("Observation/"), "{}", pushed.text());
    meddle(
        &gateway,
        "UPDATE person_key SET wrapped = CAST(wrapped || x'00' AS BLOB) WHERE number = (SELECT MAX(number) FROM person_key)",
    );
    let (gateway, app) = restarted(gateway, &app).await;
    let damaged =
        |answer: Answer| assert_eq!((answer.status, answer.issues()), (500, vec!["resource-damaged".to_owned()]));
    damaged(app.get(&format!("/Patient/{patient}")).await);
    damaged(app.get(&format!("/Observation/{reading}")).await);
    damaged(app.raw("POST", &format!("/Consent/{given}/$revoke"), &[], "").await);
    let updated = json!({"resourceType": "Patient", "id": patient, "active": true});
    damaged(app.put(&format!("/Patient/{patient}"), &updated).await);
    // Her consents cannot be read, so that nothing is taken in.
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "s", 60)).await.issues(), ["consent-unclear"]);
    assert_eq!(app.post("/Observation", &heart_rate(&other, "s", 60)).await.status, 201, "nobody else waits");
    let everything = app.get(&format!("/Patient/{patient}/$everything")).await;
    assert_eq!((everything.status, remarks(&everything)), (200, vec!["answer-incomplete".to_owned()]));
    let log = app.get(&(app.root().to_owned() + &format!("/persons/{patient}/access-log"))).await;
    assert_eq!(log.status, 200, "{}", log.text());
    let export = asks(&app, "GET", &format!("/Patient/{patient}/$export-data")).await;
    assert_eq!(export.status, 200);
    let export = export.text();
    for lost in [
        "One version of a resource of type Patient",
        "One version of a resource of type Consent",
        "2 versions of resources of type Observation",
        "One version of a resource of type Provenance",
        "One request with records of devices",
    ] {
        assert!(export.contains(lost), "{lost}");
    }
    assert!(export.contains("AuditEvent"));
    damaged(app.get(&format!("/Patient/{patient}/$summary")).await);
    for operation in ["$restrict", "$unrestrict", "$erase"] {
        let answer = asks(&app, "POST", &format!("/Patient/{patient}/{operation}")).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
    }
    assert_eq!(app.get(&format!("/Observation/{reading}")).await.status, 404);
    assert_eq!(gateway.store().census(gateway.inner().patient_key(&patient)).await.unwrap(), []);
}

/// Which source counts cannot be known any more where the list of them is damaged, and whose a record is where the person is; what
/// is measured is kept all the same, and the rest is told.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_kept_and_told_beside_what_is_damaged() {
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), "").await;
    let app = gateway.app().await;
    let (patient, other) = (app.consenting_person().await, app.consenting_person().await);
    assert_eq!(app.post("/List", &list(&patient, &["Watch", "Phone"])).await.status, 201);
    let sent = [reading("w", "Watch", 71, "08:30:10"), reading("p", "Phone", 73, "08:30:50")];
    assert_eq!(told(&send(&app, &patient, &sent).await), ["accepted", "flagged source-secondary"]);
    spoil(&gateway, "List", 0);
    let sent = [reading("v", "Watch", 75, "09:30:10"), reading("q", "Phone", 74, "09:30:50")];
    assert_eq!(told(&send(&app, &patient, &sent).await), ["flagged source-overlap"; 2]);

    assert_eq!(told(&send(&app, &other, &[reading("o", "Watch", 80, "08:30:10")]).await), ["accepted"]);
    spoil(&gateway, "Patient", 0);
    let receipt = async |id: &str| app.get(&format!("{}/receipts?id={id}", app.root())).await;
    let found = receipt("o").await;
    assert_eq!((found.status, &found.json()["receipts"][0]["outcome"]), (200, &json!("accepted")));
    let unknown = receipt("nobodys").await;
    assert_eq!((unknown.status, unknown.issues()), (500, vec!["resource-damaged".to_owned()]));
    let named = app.get(&format!("{}/receipts?id=w&patient={patient}", app.root())).await;
    assert_eq!((named.status, &named.json()["receipts"][0]["outcome"]), (200, &json!("accepted")));
}
