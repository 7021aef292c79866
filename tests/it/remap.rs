//! A mapping was mended: what it had made is made anew out of what had come in, and whoever received it gets it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Answer, Client, PROGRAM, Platform, Process, Site, eventually, run};

const SCOPES: &str = "system/Patient.crus system/Consent.crus system/List.crus system/Observation.crus \
                      system/Provenance.rs system/AuditEvent.s";
const ALL: &[Action] = &[Action::Collect, Action::Access];

/// Weights and pulses of a band. Its first version takes kilograms for pounds, every weight for a person's, and knows no
/// body fat.
fn mapping(version: &str) -> String {
    let mended = version != "1.0.0";
    let unit = if mended { "kg" } else { "[lb_av]" };
    let when = if mended { "trial.exists().not()" } else { "true" };
    let mut kinds = json!({
        "weight": {"when": when, "measure": "body-weight", "value": "value", "unit": unit},
        "pulse": {"measure": "heart-rate", "value": "value", "unit": "/min"},
    });
    if mended {
        kinds["fat"] = json!({"measure": "body-fat-pct", "value": "value", "unit": "%"});
    }
    json!({
        "id": "band", "version": version, "title": "Band", "source": "test", "identifier": "sid/band",
        "inputs": [{
            "at": "records", "by": "type",
            "common": {"id": "id", "at": "time", "device": "device", "recording": "automatic", "ignore": ["trial"]},
            "kinds": kinds,
        }],
    })
    .to_string()
}

fn record(id: &str, kind: &str, value: &Value) -> Value {
    let minute = 10 + id.bytes().fold(0_u32, |sum, byte| (sum * 7 + u32::from(byte)) % 50);
    json!({"id": id, "type": kind, "value": value, "time": format!("2026-01-15T08:{minute}:00+01:00")})
}

/// A gateway in a process of its own with an operator's mapping, and an app.
struct Stage {
    site: Site,
    mapping: PathBuf,
    app: Client,
    serving: Process,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn new(configuration: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("band.json");
        std::fs::write(&file, mapping("1.0.0")).unwrap();
        let site = Site::new(&format!("[devices]\nmappings = [{file:?}]\n{configuration}")).await;
        let serving = site.serve().await;
        let mut app = site.register("app", SCOPES).await;
        app.sign_in().await;
        Stage { site, mapping: file, app, serving, _folder: folder }
    }

    async fn push(&self, patient: &str, headers: &[(&str, &str)], body: String) -> Value {
        let address = format!("{}/devices/band?patient={patient}", self.app.root());
        let headers: Vec<(&str, &str)> = [("accept", "application/json")].iter().chain(headers).copied().collect();
        let answer = self.app.raw("POST", &address, &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Pushes records in one body; answers the ids of the resources by those of the records.
    async fn records(&self, patient: &str, records: &[Value]) -> BTreeMap<String, String> {
        let body = json!({"records": records}).to_string();
        resources(&self.push(patient, &[("content-type", "application/json")], body).await)
    }

    /// Runs `remap` beside the server; its table by the words of its head, and all that it said.
    async fn remap(&self, arguments: &[&str]) -> (BTreeMap<String, u64>, String) {
        let config = self.site.config();
        let output = run(&[&["remap", "--config", &config], arguments].concat()).await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}");
        (counts(&said), said)
    }

    fn mend(&self, version: &str) {
        std::fs::write(&self.mapping, mapping(version)).unwrap();
    }

    async fn observation(&self, id: &str) -> Value {
        self.app.get(&format!("/Observation/{id}")).await.json()
    }

    /// What this person lets the app do.
    async fn person(&self, categories: &[&str]) -> (String, String) {
        let patient = self.app.person().await;
        let consent = self.app.consent(&patient, &[(&self.app.actor, ALL, categories)]).await;
        (patient, consent)
    }
}

fn resources(answer: &Value) -> BTreeMap<String, String> {
    let receipts = answer["receipts"].as_array().unwrap().iter();
    receipts
        .filter_map(|receipt| {
            let resource = receipt["resource"].as_str()?.rsplit('/').next()?;
            Some((receipt["id"].as_str()?.to_owned(), resource.to_owned()))
        })
        .collect()
}

/// Of the first format, in the order of the table's columns.
fn counts(said: &str) -> BTreeMap<String, u64> {
    const COLUMNS: [&str; 9] =
        ["inputs", "records", "unchanged", "corrected", "created", "withdrawn", "refused", "left alone", "withheld"];
    let Some(row) = said.lines().find(|line| line.starts_with("band ")) else { return BTreeMap::new() };
    let numbers = row.split_whitespace().skip(1).map(|number| number.parse().unwrap());
    COLUMNS.iter().map(|column| (*column).to_owned()).zip(numbers).filter(|(_, count)| *count > 0).collect()
}

fn expected(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(column, count)| ((*column).to_owned(), *count)).collect()
}

/// Whether a text stands in any file of a directory.
fn lies_in(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).any(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn receipts(answer: &Answer) -> Vec<(String, Vec<String>)> {
    let told = |receipt: &Value| {
        let rules = receipt["issues"].as_array().into_iter().flatten();
        let rules = rules.map(|issue| issue["rule"].as_str().unwrap().to_owned()).collect();
        (receipt["outcome"].as_str().unwrap().to_owned(), rules)
    };
    answer.json()["receipts"].as_array().unwrap().iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_mapping_corrects_what_was_delivered() {
    let platform = Platform::start(&[]).await;
    let stage = Stage::new(&platform.destination("")).await;
    let (patient, _) = stage.person(&[]).await;
    stage.app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &[])]).await;
    let mut trial = record("trial", "weight", &json!(77));
    trial["trial"] = "yes".into();
    let made = stage
        .records(
            &patient,
            &[
                record("weight", "weight", &json!(70.50)),
                record("pulse", "pulse", &json!(61)),
                record("fat", "fat", &json!(21)),
                record("own", "weight", &json!(80)),
                trial,
            ],
        )
        .await;
    assert_eq!(made.len(), 4, "{made:?}");
    platform.until("all arrive", |account| account["resources"] == 4).await;
    // The owner mends one itself.
    let mut own = stage.observation(&made["own"]).await;
    own["note"] = json!([{"text": "weighed with shoes"}]);
    assert_eq!(stage.app.put(&format!("/Observation/{}", made["own"]), &own).await.status, 200);

    stage.mend("1.1.0");
    let all = [
        ("inputs", 1),
        ("records", 5),
        ("unchanged", 1),
        ("corrected", 1),
        ("created", 1),
        ("withdrawn", 1),
        ("refused", 1),
        ("left alone", 1),
    ];
    let (found, said) = stage.remap(&["--since", "1.0.0", "--dry-run"]).await;
    assert_eq!(found, expected(&all), "{said}");
    assert!(said.contains("1 of 1 raw inputs would be read again"), "{said}");
    assert_eq!(stage.observation(&made["weight"]).await["meta"]["versionId"], "1", "nothing was changed");
    for (arguments, inputs) in [(["--since", "1.0.1"], 0), (["--since", "1.0.0"], 1)] {
        let (found, said) = stage.remap(&arguments).await;
        assert_eq!(found.get("inputs").copied().unwrap_or_default(), inputs, "{said}");
        if inputs == 1 {
            assert_eq!(found, expected(&all), "{said}");
        }
    }
    let weight = stage.observation(&made["weight"]).await;
    assert_eq!((&weight["meta"]["versionId"], &weight["status"]), (&json!("2"), &json!("corrected")));
    assert_eq!(
        (&weight["valueQuantity"]["value"], &weight["valueQuantity"]["code"]),
        (&json!(70.50), &json!("kg")),
        "{weight}"
    );
    let trial = stage.observation(&made["trial"]).await;
    assert_eq!((&trial["meta"]["versionId"], &trial["status"]), (&json!("2"), &json!("entered-in-error")));
    assert_eq!(stage.observation(&made["own"]).await["note"][0]["text"], "weighed with shoes");
    assert_eq!(stage.observation(&made["pulse"]).await["meta"]["versionId"], "1");
    let versions = |id: &str| format!("Observation/{id}");
    let account = platform
        .until("the corrections arrive", |account| {
            let of = |id: &str| account["versions"][versions(&made[id])].clone();
            account["resources"] == 5 && of("weight") == json!([1, 2]) && of("trial") == json!([1, 2])
        })
        .await;
    assert_eq!(account["versions"][versions(&made["pulse"])], json!([1]), "{account}");

    // Both sides are told.
    let receipt =
        async |id: &str| receipts(&stage.app.get(&format!("{}/receipts?format=band&id={id}", stage.app.root())).await);
    let flagged = ("flagged".to_owned(), vec!["mapping-corrected".to_owned()]);
    assert!(receipt("weight").await.contains(&flagged), "{:?}", receipt("weight").await);
    assert!(receipt("fat").await.contains(&flagged), "{:?}", receipt("fat").await);
    let withdrawn = receipt("trial").await;
    let told = ("refused".to_owned(), vec!["mapping-corrected".to_owned()]);
    assert!(withdrawn.contains(&told), "{withdrawn:?}");
    let found = stage.app.get(&format!("/Provenance?target=Observation/{}", made["weight"])).await.json();
    let revision = found["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["resource"])
        .find(|provenance| provenance["activity"]["coding"][0]["code"] == "UPDATE")
        .unwrap_or_else(|| panic!("{found}"));
    assert_eq!(stage.app.post("/Provenance/$validate", revision).await.issues(), ["no-issues"], "{revision}");
    assert!(revision.to_string().contains("mapping/band|1.1.0"), "{revision}");
    let place = |id: &str, version: u32| json!({"reference": format!("Observation/{}/_history/{version}", made[id])});
    let targets = revision["target"].as_array().unwrap();
    let entities: Vec<&Value> = revision["entity"].as_array().unwrap().iter().map(|entity| &entity["what"]).collect();
    for id in ["weight", "trial"] {
        assert!(targets.contains(&place(id, 2)) && entities.contains(&&place(id, 1)), "{revision}");
    }

    // It was done, and the same records sent again are what stands.
    let (again, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(again, BTreeMap::new(), "{said}");
    assert_eq!(stage.observation(&made["weight"]).await["meta"]["versionId"], "2");
    stage.serving.terminate().await;
    assert_eq!(stage.serving.ended().await.0, Some(0));
    let _serving = stage.site.serve().await;
    let mut app = stage.app.clone();
    app.sign_in().await;
    let address = format!("{}/devices/band?patient={patient}", app.root());
    let headers = [("content-type", "application/json"), ("accept", "application/json")];
    let same = json!({"records": [record("weight", "weight", &json!(70.50)), record("fat", "fat", &json!(21))]});
    let sent = app.raw("POST", &address, &headers, same.to_string()).await.json();
    assert_eq!(sent["counts"]["duplicate"], 2, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_read_again_like_any_body() {
    let stage = Stage::new("").await;
    let (patient, _) = stage.person(&[]).await;
    let lines: String = ["one", "two", "one"]
        .iter()
        .map(|id| format!("{}\n", json!({"records": [record(id, "weight", &json!(70))]})))
        .collect();
    let made = resources(
        &stage.push(&patient, &[("content-type", "application/x-ndjson")], format!("{lines}nonsense\n")).await,
    );
    assert_eq!(made.len(), 2);
    stage.mend("1.1.0");
    let (found, said) = stage.remap(&["--since", "1.0.0", "--format", "band"]).await;
    assert_eq!(
        found,
        expected(&[("inputs", 1), ("records", 4), ("unchanged", 1), ("corrected", 2), ("refused", 1)]),
        "{said}"
    );
    for id in made.values() {
        assert_eq!(stage.observation(id).await["status"], "corrected");
    }
    // A second mistake is mended like the first.
    stage.mend("1.1.1");
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, expected(&[("inputs", 1), ("records", 4), ("unchanged", 3), ("refused", 1)]), "{said}");
    stage.mend("1.0.0");
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, BTreeMap::new(), "an older mapping mends nothing: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_came_in_parts_is_read_again() {
    let stage = Stage::new("").await;
    let (patient, _) = stage.person(&[]).await;
    let file: String = (0..700)
        .map(|index| {
            let time = format!("2026-01-15T{:02}:{:02}:00+01:00", index / 60, index % 60);
            let record = json!({"id": format!("r{index}"), "type": "weight", "value": 70, "time": time});
            format!("{}\n", json!({"records": [record]}))
        })
        .collect();
    let length = file.len().to_string();
    let address = format!("{}/devices/band/uploads?patient={patient}", stage.app.root());
    let headers = [("tus-resumable", "1.0.0"), ("upload-length", length.as_str())];
    let created = stage.app.raw("POST", &address, &headers, "").await;
    let address = created.header("location").to_owned();
    let headers =
        [("tus-resumable", "1.0.0"), ("content-type", "application/offset+octet-stream"), ("upload-offset", "0")];
    assert_eq!(stage.app.raw("PATCH", &address, &headers, file).await.status, 204);
    let finished = async || (stage.app.get(&address).await.json()["state"] == "finished").then_some(());
    eventually("the upload is worked off", finished).await;
    stage.mend("1.1.0");
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, expected(&[("inputs", 2), ("records", 700), ("corrected", 700)]), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_counts_beside_other_sources_is_weighed_again() {
    let stage = Stage::new("").await;
    let (patient, _) = stage.person(&[]).await;
    let entries: Vec<Value> = ["Scale", "Phone"].iter().map(|name| json!({"item": {"display": name}})).collect();
    let list = json!({
        "resourceType": "List", "status": "current", "mode": "working",
        "subject": {"reference": format!("Patient/{patient}")},
        "orderedBy": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/list-order", "code": "priority"}]},
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "entry": entries,
    });
    assert_eq!(stage.app.post("/List", &list).await.status, 201);
    let weight = |id: &str, device: &str, time: &str| json!({"id": id, "type": "weight", "value": 70, "device": device, "time": format!("2026-01-15T{time}Z")});
    let mut trial = weight("t", "Scale", "09:00:10");
    trial["trial"] = "yes".into();
    let mut made = BTreeMap::new();
    // The phone's readings stood first, and were told anew when the scale's came.
    for records in [
        [weight("p", "Phone", "08:30:50"), weight("q", "Phone", "09:00:50")],
        [weight("s", "Scale", "08:30:10"), trial],
    ] {
        made.extend(stage.records(&patient, &records).await);
    }
    let standing = async |id: &str| {
        let observation = stage.observation(&made[id]).await;
        let secondary = observation["meta"]["tag"].to_string().contains("secondary");
        let version: u32 = observation["meta"]["versionId"].as_str().unwrap().parse().unwrap();
        (observation["status"].as_str().unwrap().to_owned(), version, secondary)
    };
    assert_eq!(standing("p").await, ("final".to_owned(), 2, true));
    stage.mend("1.1.0");
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    let all = [("inputs", 2), ("records", 4), ("corrected", 3), ("withdrawn", 1), ("refused", 1)];
    assert_eq!(found, expected(&all), "{said}");
    assert_eq!(standing("p").await, ("corrected".to_owned(), 3, true));
    assert_eq!(standing("s").await, ("corrected".to_owned(), 2, false));
    assert_eq!(standing("t").await.0, "entered-in-error");
    // Nothing stands in the way of the other one any more.
    let (status, _, secondary) = standing("q").await;
    assert_eq!((status.as_str(), secondary), ("corrected", false));
    assert_eq!(stage.remap(&["--since", "1.0.0"]).await.0, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_run_the_next_one_goes_on() {
    const INPUTS: usize = 30;
    let stage = Stage::new("").await;
    let (patient, _) = stage.person(&[]).await;
    let mut made = Vec::new();
    for index in 0..INPUTS {
        let time = format!("2026-01-15T08:{index:02}:00+01:00");
        let records = ["a", "b"].map(
            |name| json!({"id": format!("{name}{index}"), "type": "weight", "value": 70 + index, "device": name, "time": time}),
        );
        made.push(stage.records(&patient, &records).await);
    }
    stage.mend("1.1.0");
    let config = stage.site.config();
    for (round, some) in [0, INPUTS / 3, 2 * INPUTS / 3].into_iter().enumerate() {
        let running = Process::start(
            tokio::process::Command::new(PROGRAM).args(["remap", "--since", "1.0.0", "--config", &config]),
        );
        let changed = async || {
            let one = made[some].values().next().unwrap();
            (stage.observation(one).await["status"] == "corrected").then_some(())
        };
        eventually(&format!("some of it is corrected, {round}"), changed).await;
        running.kill().await;
        // An input was done wholly or not at all.
        for one in &made {
            let mut states = Vec::new();
            for id in one.values() {
                states.push(stage.observation(id).await["status"].as_str().unwrap().to_owned());
            }
            states.dedup();
            assert_eq!(states.len(), 1, "{states:?}");
        }
    }
    stage.remap(&["--since", "1.0.0"]).await;
    for one in &made {
        for id in one.values() {
            let observation = stage.observation(id).await;
            assert_eq!((&observation["status"], &observation["meta"]["versionId"]), (&json!("corrected"), &json!("2")));
        }
    }
    assert_eq!(stage.remap(&["--since", "1.0.0"]).await.0, BTreeMap::new());
    let found = stage.app.get("/Provenance?_count=200").await.json();
    let updates = found["entry"].as_array().unwrap().iter();
    let updates = updates.filter(|entry| entry["resource"]["activity"]["coding"][0]["code"] == "UPDATE").count();
    assert_eq!(updates, INPUTS, "each input is told of once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withdrawn_is_not_read_again() {
    let stage = Stage::new("").await;
    let (patient, consent) = stage.person(&[]).await;
    let made = stage.records(&patient, &[record("weight", "weight", &json!(70))]).await;
    assert_eq!(stage.app.withdraw(&consent).await.status, 200);
    stage.mend("1.1.0");
    for _ in 0..2 {
        let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
        assert_eq!(found, expected(&[("inputs", 1), ("records", 1), ("withheld", 1)]), "{said}");
    }
    stage.app.consent(&patient, &[(&stage.app.actor, ALL, &[])]).await;
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, expected(&[("inputs", 1), ("records", 1), ("corrected", 1)]), "{said}");
    assert_eq!(stage.observation(&made["weight"]).await["meta"]["versionId"], "2");
    // Nor is what a client sent that is no longer one.
    let (other, _) = stage.person(&[]).await;
    stage.records(&other, &[record("late", "weight", &json!(70))]).await;
    let config = stage.site.config();
    assert!(run(&["client", "remove", "app", "--config", &config]).await.status.success());
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, expected(&[("inputs", 1), ("records", 1), ("withheld", 1)]), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_what_the_person_does_not_let_be_collected() {
    let stage = Stage::new("").await;
    let (patient, _) = stage.person(&["weight"]).await;
    // A pulse is refused by consent, and of body fat, which the mapping does not know, nobody can tell what it is.
    let mixed = [
        record("weight", "weight", &json!(70)),
        record("pulse", "pulse", &json!(61)),
        record("fat", "fat", &json!(21)),
    ];
    assert_eq!(stage.records(&patient, &mixed).await.len(), 1);
    let stranger = stage.app.person().await;
    assert_eq!(stage.records(&stranger, &mixed).await.len(), 0);
    stage.mend("1.1.0");
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, expected(&[("inputs", 1), ("records", 1), ("corrected", 1)]), "{said}");
    assert!(said.contains("1 of 1 raw inputs read again"), "{said}");
    // What is kept lies sealed, in whatever form.
    let marker = "nobody-else-calls-a-record-so";
    let headers = [("content-type", "application/json")];
    let body = json!({"records": [record("plain", "weight", &json!(70))], "comment": marker}).to_string();
    stage.push(&patient, &headers, body).await;
    assert!(!lies_in(&stage.site.data(), marker));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_or_no_longer_is_said_so() {
    let stage = Stage::new("[exchange]\nraw_days = 0\n").await;
    let (patient, _) = stage.person(&[]).await;
    let made = stage.records(&patient, &[record("weight", "weight", &json!(70))]).await;
    stage.mend("1.1.0");
    let (found, said) = stage.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, BTreeMap::new());
    assert!(said.contains("raw_days is 0"), "{said}");
    assert_eq!(stage.observation(&made["weight"]).await["meta"]["versionId"], "1");
    // What was kept for longer before is not used, either.
    let kept = Stage::new("").await;
    let (patient, _) = kept.person(&[]).await;
    kept.records(&patient, &[record("weight", "weight", &json!(70))]).await;
    let config = std::fs::read_to_string(kept.site.config()).unwrap();
    std::fs::write(kept.site.config(), format!("{config}\n[exchange]\nraw_days = 0\n")).unwrap();
    kept.mend("1.1.0");
    let (found, said) = kept.remap(&["--since", "1.0.0"]).await;
    assert_eq!(found, BTreeMap::new());
    assert!(said.contains("1 are older than the 0 days"), "{said}");
}

#[tokio::test]
async fn mistakes_are_told_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("band.json");
    std::fs::write(&file, mapping("1.0.0")).unwrap();
    let site = Site::new(&format!("[devices]\nmappings = [{file:?}]\n")).await;
    let config = site.config();
    let code = async |arguments: &[&str]| {
        let output = run(&[&["remap", "--config", &config], arguments].concat()).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (found, said) = code(&["--since", "1"]).await;
    assert!(found == Some(2) && said.contains("three numbers"), "{said}");
    let (found, said) = code(&["--since", "1.0.0"]).await;
    assert!(found == Some(1) && said.contains("there is no store"), "{said}");
    site.register("app", SCOPES).await;
    let (found, said) = code(&["--since", "1.0.0", "--format", "smoke-signals"]).await;
    assert!(found == Some(64) && said.contains("smoke-signals"), "{said}");
    for (text, mistake) in [("{}".to_owned(), "band.json"), (mapping("1"), "three numbers")] {
        std::fs::write(&file, text).unwrap();
        let output = run(&["check", "--config", &config]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(64) && said.contains(mistake), "{said}");
    }
}
