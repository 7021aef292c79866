//! Destinations and disks that fail in every way that they do: what was acknowledged arrives in the end, once in
//! effect and in order, and what cannot be kept is not acknowledged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::Store;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, PROGRAM, Platform, Process, Site, eventually, heart_rate};

const PLATFORM: &str = "Organization/platform";

/// A person whose heart rates the app collects and the platform receives; with the consent about the platform.
async fn sharing(app: &Client) -> (String, String) {
    let patient = app.consenting_person().await;
    let consent = app.consent(&patient, &[(PLATFORM, &[Action::Disclose], &["heart-rate"])]).await;
    (patient, consent)
}

async fn push(app: &Client, patient: &str, identifier: &str, value: u32) -> String {
    let answer = app.post("/Observation", &heart_rate(patient, identifier, value)).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.bytes));
    answer.id()
}

async fn correct(app: &Client, patient: &str, identifier: &str, id: &str, value: u32) {
    let mut corrected = heart_rate(patient, identifier, value);
    corrected["id"] = json!(id);
    let answer = app.put(&format!("/Observation/{id}"), &corrected).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.bytes));
}

fn versions(account: &Value, id: &str) -> Value {
    account["versions"][format!("Observation/{id}")].clone()
}

/// Nothing was sent that should not have been, nothing in the wrong order, and nothing is left over.
async fn is_settled(gateway: &Gateway, platform: &Platform) {
    eventually("everything is settled", async || {
        let backlog = gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0).then_some(())
    })
    .await;
    let account = platform.account().await;
    assert_eq!(account["outOfOrder"], 0, "{account}");
    assert_eq!(account["violationCount"], 0, "{account}");
    assert_eq!(gateway.store().dead_letters(None).await.unwrap(), []);
    let mut newest: HashMap<String, u64> = HashMap::new();
    for (name, version) in platform.log() {
        let before = newest.insert(name.clone(), version).unwrap_or_default();
        assert!(before <= version, "{name} went back from version {before} to {version}");
    }
}

/// One fault for the next writes, two persons, corrections behind their first versions.
async fn survives(mode: &str, times: u32) {
    let platform = Platform::start(&[]).await;
    let destination = platform.destination("").replace("timeout_ms = 1000", "timeout_ms = 300");
    let gateway = Gateway::with(&destination).await;
    let app = gateway.app().await;
    let persons = [sharing(&app).await.0, sharing(&app).await.0];
    platform.fault(mode, Some(times)).await;
    let mut ids = Vec::new();
    for (index, patient) in persons.iter().enumerate() {
        let identifier = format!("{mode}-{index}");
        let id = push(&app, patient, &identifier, 60).await;
        correct(&app, patient, &identifier, &id, 61).await;
        correct(&app, patient, &identifier, &id, 62).await;
        ids.push(id);
    }
    platform
        .until(&format!("after {mode} everything arrives"), |account| {
            ids.iter().all(|id| versions(account, id) == json!([1, 2, 3]))
        })
        .await;
    is_settled(&gateway, &platform).await;
}

#[tokio::test]
async fn a_destination_that_answers_503() {
    survives("down", 5).await;
}

#[tokio::test]
async fn a_destination_that_is_slow() {
    survives("slow", 2).await;
}

#[tokio::test]
async fn a_destination_that_never_answers() {
    survives("hang", 3).await;
}

#[tokio::test]
async fn a_destination_that_answers_garbage() {
    survives("garbage", 5).await;
}

#[tokio::test]
async fn a_destination_that_redirects() {
    survives("redirect", 5).await;
}

#[tokio::test]
async fn a_destination_that_closes_half_way() {
    survives("half", 5).await;
}

#[tokio::test]
async fn a_destination_that_revokes_its_tokens() {
    survives("revoke", 5).await;
}

#[tokio::test]
async fn a_destination_that_is_away_gets_everything_when_it_is_back() {
    let mut platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let (patient, _) = sharing(&app).await;
    let first = push(&app, &patient, "before", 60).await;
    platform.until("the first arrives", |account| versions(account, &first) == json!([1])).await;
    platform.leave().await;
    let second = push(&app, &patient, "while", 61).await;
    correct(&app, &patient, "before", &first, 62).await;
    eventually("it was tried in vain", async || {
        (gateway.store().backlog("platform").await.unwrap().retries > 0).then_some(())
    })
    .await;
    let trail = disclosures(&app, &patient).await;
    assert_eq!(trail.len(), 1, "what never left is no disclosure: {trail:?}");
    platform.come_back().await;
    let all = |account: &Value| versions(account, &first) == json!([1, 2]) && versions(account, &second) == json!([1]);
    platform.until("the rest arrives", all).await;
    is_settled(&gateway, &platform).await;
}

/// The audit events of disclosures, as the patient's record shows them.
async fn disclosures(app: &Client, patient: &str) -> Vec<Value> {
    let found = app.get(&format!("/AuditEvent?patient={patient}&_count=500")).await;
    assert_eq!(found.status, 200, "{}", String::from_utf8_lossy(&found.bytes));
    let bundle = found.json();
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let events = entries.map(|entry| entry["resource"].clone());
    events.filter(|event| event["subtype"][0]["code"] == "disclose").collect()
}

#[tokio::test]
async fn a_disclosure_is_on_record_even_if_nobody_knows_whether_it_arrived() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let (patient, consent) = sharing(&app).await;
    platform.fault("hang", Some(1)).await;
    let id = push(&app, &patient, "hanging", 60).await;
    platform.until("the platform has it and does not say so", |account| account["received"] == 1).await;
    assert_eq!(app.withdraw(&consent).await.status, 200);
    is_settled(&gateway, &platform).await;
    let trail = disclosures(&app, &patient).await;
    let name = format!("Observation/{id}/_history/1");
    assert!(trail.iter().any(|event| event.to_string().contains(&name)), "{trail:?}");
    assert!(trail.iter().all(|event| event["outcome"] == "4"), "nobody knows that it arrived: {trail:?}");
}

#[tokio::test]
async fn each_time_that_data_left_is_on_record() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let (patient, _) = sharing(&app).await;
    platform.fault("hang", Some(2)).await;
    push(&app, &patient, "hanging", 60).await;
    platform.until("it came three times", |account| account["received"] == 3).await;
    is_settled(&gateway, &platform).await;
    let mut outcomes: Vec<String> =
        disclosures(&app, &patient).await.iter().map(|event| event["outcome"].as_str().unwrap().to_owned()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["0", "4", "4"]);
}

/// What is refused for good becomes a dead letter by itself; what came with it does not suffer.
async fn refuses_one_of_three(extra: &str) {
    let platform = Platform::start(&["unwelcome"]).await;
    let destination = platform.destination("").replace("timeout_ms = 1000", &format!("timeout_ms = 1000\n{extra}"));
    let gateway = Gateway::with(&destination).await;
    let app = gateway.app().await;
    let (patient, _) = sharing(&app).await;
    let (other, _) = sharing(&app).await;
    let mut unwelcome = heart_rate(&patient, "b", 61);
    let coding = json!({"system": "urn:test:codes", "code": "unwelcome"});
    unwelcome["code"]["coding"].as_array_mut().unwrap().push(coding);
    let entries = [heart_rate(&patient, "a", 60), unwelcome, heart_rate(&patient, "c", 62)];
    let entry = |resource: &Value| json!({"resource": resource, "request": {"method": "POST", "url": "Observation"}});
    let bundle =
        json!({"resourceType": "Bundle", "type": "batch", "entry": entries.iter().map(entry).collect::<Vec<_>>()});
    let answer = app.post("", &bundle).await.json();
    let ids: Vec<String> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["location"].as_str().unwrap().split('/').rev().nth(2).unwrap().to_owned())
        .collect();
    let later = push(&app, &patient, "later", 63).await;
    let elsewhere = push(&app, &other, "elsewhere", 64).await;
    let good = [&ids[0], &ids[2], &later, &elsewhere];
    let arrived = |account: &Value| good.iter().all(|id| versions(account, id) == json!([1]));
    let account = platform.until("the others arrive", arrived).await;
    let letter = eventually("the refused one is a dead letter", async || {
        gateway.store().dead_letters(Some("platform")).await.unwrap().pop()
    })
    .await;
    assert_eq!(letter.resource.to_string(), ids[1]);
    assert!(letter.reason.starts_with("HTTP 422"), "{}", letter.reason);
    assert_eq!(gateway.store().dead_letters(None).await.unwrap().len(), 1);
    assert_eq!(versions(&account, &ids[1]), Value::Null);
}

#[tokio::test]
async fn a_refusal_touches_nothing_else_sent_one_by_one() {
    refuses_one_of_three("").await;
}

#[tokio::test]
async fn a_refusal_touches_nothing_else_sent_as_a_transaction() {
    refuses_one_of_three("batch = true").await;
}

#[tokio::test]
async fn a_redriven_version_does_not_overwrite_a_later_one() {
    let platform = Platform::start(&["unwelcome"]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = gateway.app().await;
    let (patient, _) = sharing(&app).await;
    let mut unwelcome = heart_rate(&patient, "a", 60);
    let coding = json!({"system": "urn:test:codes", "code": "unwelcome"});
    unwelcome["code"]["coding"].as_array_mut().unwrap().push(coding);
    let id = app.post("/Observation", &unwelcome).await.id();
    correct(&app, &patient, "a", &id, 61).await;
    platform.until("the correction arrives", |account| versions(account, &id) == json!([2])).await;
    assert_eq!(gateway.store().redrive("platform", None).await.unwrap(), 1);
    platform.until("it is sent again", |account| account["received"] == 2).await;
    eventually("it is settled", async || {
        (gateway.store().backlog("platform").await.unwrap().retries == 0).then_some(())
    })
    .await;
    assert_eq!(versions(&platform.account().await, &id), json!([2]));
}

/// The platform's section with other circuit and retry settings.
fn patient_destination(platform: &Platform, retry_ms: u32, circuit_ms: u32) -> String {
    let text = platform.destination("");
    let (head, rest) = text.split_once("[destination.retry]").unwrap();
    let (_, fhir) = rest.split_once("[destination.fhir]").unwrap();
    format!(
        "{head}[destination.retry]\nbase_ms = {retry_ms}\ncap_ms = {retry_ms}\n\
         [destination.circuit]\nfailures = 1\nbase_ms = {circuit_ms}\ncap_ms = {circuit_ms}\n[destination.fhir]{fhir}"
    )
}

#[tokio::test]
async fn an_open_circuit_spares_the_destination() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&patient_destination(&platform, 1, 3_600_000)).await;
    let app = gateway.app().await;
    let (patient, _) = sharing(&app).await;
    platform.fault("down", Some(1)).await;
    push(&app, &patient, "first", 60).await;
    eventually("it fails", async || (gateway.store().backlog("platform").await.unwrap().retries > 0).then_some(()))
        .await;
    // Each of these wakes the delivery, and the platform would take them by now.
    for index in 0..20 {
        let (patient, _) = sharing(&app).await;
        push(&app, &patient, &format!("later-{index}"), 61).await;
    }
    assert_eq!(platform.account().await["received"], 0);
    // Consents go through the feed as well, two of each person.
    assert_eq!(gateway.store().backlog("platform").await.unwrap().behind, 60);
}

#[tokio::test]
async fn a_circuit_closes_by_what_is_there_to_probe_with() {
    let platform = Platform::start(&[]).await;
    // The pause ends long before the failed item is due again: probes find nothing to send.
    let gateway = Gateway::with(&patient_destination(&platform, 3_000, 1)).await;
    let app = gateway.app().await;
    let (patient, _) = sharing(&app).await;
    platform.fault("down", Some(1)).await;
    let id = push(&app, &patient, "first", 60).await;
    platform.until("it arrives", |account| versions(account, &id) == json!([1])).await;
    let (other, _) = sharing(&app).await;
    let id = push(&app, &other, "second", 61).await;
    platform.until("the circuit is closed", |account| versions(account, &id) == json!([1])).await;
    is_settled(&gateway, &platform).await;
}

#[tokio::test]
async fn a_new_destination_gets_no_history() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (patient, _) = sharing(&app).await;
    let old = push(&app, &patient, "old", 60).await;
    let directory = gateway.stop().await;
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::in_directory(directory, &platform.destination("")).await;
    let mut app = Client { base: gateway.base.clone(), http: gateway.http.clone(), ..app };
    app.sign_in().await;
    let new = push(&app, &patient, "new", 61).await;
    let account = platform.until("the new one arrives", |account| versions(account, &new) == json!([1])).await;
    is_settled(&gateway, &platform).await;
    assert_eq!(versions(&account, &old), Value::Null);
    assert_eq!(account["received"], 1);
}

/// A small file system of its own; only where mounting is allowed.
struct Disk(PathBuf);

impl Disk {
    async fn mount(directory: &Path) -> Option<Disk> {
        let arguments = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"];
        let mounted =
            Command::new("mount").args(arguments).arg(directory).stderr(Stdio::null()).status().await.ok()?.success();
        mounted.then(|| Disk(directory.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Pushes until something else than 201 is the answer; answers what was acknowledged and that answer.
async fn push_until_refused(app: &Client, patient: &str, round: &str) -> (Vec<String>, Answer) {
    let mut kept = Vec::new();
    for index in 0..5_000 {
        let answer = app.post("/Observation", &heart_rate(patient, &format!("{round}-{index}"), 60)).await;
        if answer.status != 201 {
            return (kept, answer);
        }
        kept.push(answer.id());
    }
    panic!("the disk never fills");
}

async fn ready(site: &Site) -> u16 {
    let address = site.base.replace("/fhir", "/health/ready");
    site.http.get(address).send().await.unwrap().status().as_u16()
}

async fn all_are_kept(site: &Site, kept: &[String]) {
    let store = Store::open(&site.place()).unwrap();
    for id in kept {
        assert!(
            store.read("Observation", id).await.unwrap().is_some(),
            "Observation/{id} was acknowledged and is lost"
        );
    }
    store.close().await;
}

async fn site_with_a_person(site: &Site) -> (Client, String) {
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    (app, patient)
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(directory.path()).await else {
        println!("mounting is not allowed here; the store's own test of a full disk stands in for this one");
        return;
    };
    let site = Site::in_data(Some(&disk.0.join("data")), "").await;
    let serving = site.serve().await;
    let (app, patient) = site_with_a_person(&site).await;
    let filler = disk.0.join("filler");
    // What is left after it is soon used up by the log.
    std::fs::write(&filler, vec![0; 1 << 20]).unwrap();
    let (mut kept, refused) = push_until_refused(&app, &patient, "filling").await;
    assert_eq!((refused.status, refused.issues()), (507, vec!["storage-full".to_owned()]));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(ready(&site).await, 503);
    let live = site.http.get(site.base.replace("/fhir", "/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200);

    std::fs::remove_file(&filler).unwrap();
    let (more, _) = eventually("there is room again", async || {
        let answer = app.post("/Observation", &heart_rate(&patient, "after", 61)).await;
        (answer.status == 201).then(|| (answer.id(), answer))
    })
    .await;
    kept.push(more);
    assert_eq!(ready(&site).await, 200);
    serving.terminate().await;
    let (code, said) = serving.ended().await;
    assert_eq!(code, Some(0), "{said}");
    all_are_kept(&site, &kept).await;
}

#[tokio::test]
async fn a_file_that_may_not_grow_stops_writes_until_a_restart() {
    let site = Site::new("").await;
    // Ignored signals stay ignored in the program: the write fails instead of killing it. 1 MiB in blocks of 512.
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" serve --config \"$1\"";
    let mut serving = Process::start(Command::new("sh").args(["-c", script, PROGRAM, &site.config()]));
    assert!(serving.says("serving").await, "{}", serving.said());
    let (app, patient) = site_with_a_person(&site).await;
    let (kept, refused) = push_until_refused(&app, &patient, "growing").await;
    assert!(matches!(refused.status, 503 | 507), "{refused:?}");
    assert_eq!(ready(&site).await, 503);
    let again = app.post("/Observation", &heart_rate(&patient, "again", 60)).await;
    assert!(matches!(again.status, 503 | 507), "{again:?}");
    let live = site.http.get(site.base.replace("/fhir", "/health/live")).send().await.unwrap();
    assert_eq!(live.status(), 200, "it keeps running");
    serving.terminate().await;
    assert_eq!(serving.ended().await.0, Some(0));

    let serving = site.serve().await;
    assert_eq!(ready(&site).await, 200);
    push(&app, &patient, "again", 60).await;
    serving.terminate().await;
    assert_eq!(serving.ended().await.0, Some(0));
    all_are_kept(&site, &kept).await;
}

const SYNCS: &str = "fsync,fdatasync";
const WRITES: &str = "pwrite64";

#[tokio::test]
async fn a_failed_sync_stops_writes_until_a_restart() {
    stops_until_a_restart(SYNCS, "EIO").await;
}

/// Room that was promised and is not there shows when it is to be synced.
#[tokio::test]
async fn a_sync_without_room_stops_writes_until_a_restart() {
    stops_until_a_restart(SYNCS, "ENOSPC").await;
}

#[tokio::test]
async fn a_failed_write_stops_writes_until_a_restart() {
    stops_until_a_restart(WRITES, "EIO").await;
}

async fn stops_until_a_restart(calls: &str, error: &str) {
    let site = Site::new("").await;
    let serving = site.serve().await;
    let (app, patient) = site_with_a_person(&site).await;
    let kept = vec![push(&app, &patient, "before", 60).await];
    let Some(saboteur) = sabotage(serving.id(), calls, error).await else { return };
    let refused = app.post("/Observation", &heart_rate(&patient, "while", 61)).await;
    assert_eq!((refused.status, refused.issues()), (503, vec!["storage-failed".to_owned()]));
    saboteur.terminate().await;
    saboteur.ended().await;
    // The disk is well again, but nobody knows what it holds.
    let later = app.post("/Observation", &heart_rate(&patient, "later", 62)).await;
    assert_eq!((later.status, later.issues()), (503, vec!["storage-failed".to_owned()]));
    assert_eq!(ready(&site).await, 503);
    serving.terminate().await;
    assert_eq!(serving.ended().await.0, Some(0));

    let serving = site.serve().await;
    assert_eq!(ready(&site).await, 200);
    let mut kept = kept;
    kept.push(push(&app, &patient, "later", 62).await);
    serving.terminate().await;
    assert_eq!(serving.ended().await.0, Some(0));
    all_are_kept(&site, &kept).await;
}

/// A write that finds no room has written nothing, so that all goes on when there is some.
#[tokio::test]
async fn a_write_without_room_is_refused_until_there_is_some() {
    let site = Site::new("").await;
    let serving = site.serve().await;
    let (app, patient) = site_with_a_person(&site).await;
    let mut kept = vec![push(&app, &patient, "before", 60).await];
    let Some(saboteur) = sabotage(serving.id(), WRITES, "ENOSPC").await else { return };
    for again in ["once", "twice"] {
        let refused = app.post("/Observation", &heart_rate(&patient, again, 61)).await;
        assert_eq!((refused.status, refused.issues()), (507, vec!["storage-full".to_owned()]));
    }
    assert_eq!(ready(&site).await, 503);
    saboteur.terminate().await;
    saboteur.ended().await;
    kept.push(push(&app, &patient, "once", 61).await);
    kept.push(push(&app, &patient, "later", 62).await);
    assert_eq!(ready(&site).await, 200);
    serving.terminate().await;
    let (code, said) = serving.ended().await;
    assert_eq!(code, Some(0), "{said}");
    all_are_kept(&site, &kept).await;
}

/// Makes every such system call of a process fail, where that can be done; elsewhere the store's own tests of a full disk and
/// a failed sync stand in for these.
async fn sabotage(process: u32, calls: &str, error: &str) -> Option<Process> {
    let mut command = Command::new("strace");
    command.args(["-f", "-p", &process.to_string(), "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:error={error}")]);
    let available = Command::new("strace").args(["-e", "trace=none", "true"]).output().await;
    if !available.is_ok_and(|output| output.status.success()) {
        println!("strace is not usable here");
        return None;
    }
    let mut saboteur = Process::start(&mut command);
    saboteur.says("attached").await.then_some(saboteur)
}
