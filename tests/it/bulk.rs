//! Bulk export: what a client may see of everybody, in files, with nobody in them who may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::{AuditPlan, AuditRecord, ExportJob, ExportState, ResId};
use serde_json::{Value, json};

use crate::fixture::{ANY_ID, APP_SCOPES, Answer, Client, Gateway, Site, consent, eventually, heart_rate};

const ASYNC: (&str, &str) = ("prefer", "respond-async");

/// What a client needs to export all that a gateway holds.
const ALL: &str = "system/*.rs";

async fn kickoff(client: &Client, path: &str) -> Answer {
    client.raw("GET", path, &[ASYNC], "").await
}

/// Where it is asked for how far an export is.
pub async fn begin(client: &Client, path: &str) -> String {
    let answer = kickoff(client, path).await;
    assert_eq!(answer.status, 202, "{path}: {}", answer.text());
    answer.header("content-location").to_owned()
}

/// The manifest, once there is one.
async fn finished(client: &Client, address: &str) -> Answer {
    eventually("the export is finished", async || {
        let status = client.get(address).await;
        match status.status {
            202 | 429 => {
                assert!(!status.header("retry-after").is_empty(), "{status:?}");
                None
            }
            _ => Some(status),
        }
    })
    .await
}

/// The lines of an export by type of the file, its manifest, and what was deleted.
pub struct Exported {
    pub manifest: Value,
    pub lines: BTreeMap<String, Vec<Value>>,
    pub raw: String,
}

impl Exported {
    pub fn ids(&self, kind: &str) -> BTreeSet<String> {
        let lines = self.lines.get(kind).into_iter().flatten();
        lines.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    }

    pub fn count(&self) -> usize {
        self.lines.values().map(Vec::len).sum()
    }
}

pub async fn fetched(client: &Client, address: &str) -> Exported {
    let answer = finished(client, address).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let manifest = answer.json();
    let (mut lines, mut raw) = (BTreeMap::<String, Vec<Value>>::new(), String::new());
    for file in ["output", "deleted", "error"].iter().flat_map(|list| manifest[list].as_array().unwrap()) {
        let answer = client.get(file["url"].as_str().unwrap()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+ndjson"), "{file}");
        let text = answer.text();
        let kind = file["type"].as_str().unwrap();
        let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(read.iter().all(|line| line["resourceType"] == kind), "{file}: {text}");
        lines.entry(kind.to_owned()).or_default().extend(read);
        raw.push_str(&text);
    }
    Exported { manifest, lines, raw }
}

async fn exported(client: &Client, path: &str) -> Exported {
    fetched(client, &begin(client, path).await).await
}

/// A person of the app whose heart rates others may read as it says.
async fn person(app: &Client, readers: &[&str], readings: &[&str]) -> String {
    let patient = app.person().await;
    let own: &[Action] = &[Action::Collect, Action::Access];
    let mut permits: Vec<(&str, &[Action], &[&str])> = vec![(app.actor.as_str(), own, &["heart-rate"])];
    permits.extend(readers.iter().map(|reader| (*reader, &[Action::Access] as &[Action], &["heart-rate"] as &[&str])));
    app.consent(&patient, &permits).await;
    for reading in readings {
        let answer = app.post("/Observation", &heart_rate(&patient, reading, 60)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    patient
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_client_may_see_is_exported_once() {
    let gateway = Gateway::with(&format!("{ANY_ID}export_file_lines = 2\n")).await;
    let app = gateway.client("app", &format!("{APP_SCOPES} system/Group.cruds system/*.rs")).await;
    let mut persons = Vec::new();
    for name in ["a", "b", "c"] {
        persons.push(person(&app, &[], &[&format!("{name}1"), &format!("{name}2")]).await);
    }
    let device = json!({"resourceType": "Device", "deviceName": [{"name": "band", "type": "model-name"}]});
    assert_eq!(app.post("/Device", &device).await.status, 201);
    for (path, kinds) in [
        ("/$export", vec![("Consent", 3), ("Device", 1), ("Observation", 6), ("Patient", 3), ("Provenance", 0)]),
        ("/Patient/$export", vec![("Consent", 3), ("Observation", 6), ("Patient", 3), ("Provenance", 0)]),
        ("/$export?_type=Observation", vec![("Observation", 6)]),
        ("/$export?_type=Observation&_type=Patient", vec![("Observation", 6), ("Patient", 3)]),
        ("/$export?_type=Observation&_outputFormat=application%2Ffhir%2Bndjson", vec![("Observation", 6)]),
        ("/$export?_type=Observation&_since=2099-01-01T00:00:00Z", vec![]),
        ("/$export?_type=Observation&_until=2020-01-01T00:00:00Z", vec![]),
        (
            "/$export?_typeFilter=Observation%3Fidentifier%3Da1%2CObservation%3Fidentifier%3Db2%2Cc1&_type=Observation",
            vec![("Observation", 3)],
        ),
    ] {
        let export = exported(&app, path).await;
        let found: Vec<(&str, usize)> = kinds.iter().map(|(kind, _)| (*kind, export.ids(kind).len())).collect();
        assert_eq!(found, kinds, "{path}");
        assert_eq!(export.count(), kinds.iter().map(|(_, count)| count).sum::<usize>(), "{path}: nothing comes twice");
        let manifest = &export.manifest;
        assert_eq!(manifest["request"], format!("{}{path}", app.base));
        assert_eq!(manifest["requiresAccessToken"], true);
        for file in manifest["output"].as_array().unwrap() {
            assert!(file["count"].as_u64().unwrap() > 0, "{file}");
            assert!(file["url"].as_str().unwrap().starts_with("https://"));
        }
        assert_eq!((&manifest["deleted"], &manifest["error"]), (&json!([]), &json!([])));
    }
}

/// What is asked for wrongly begins no export; what can be passed over is, where the client says so, with a word of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_honoured_is_said() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", APP_SCOPES).await;
    person(&app, &[], &["1"]).await;
    let synchronous = app.get("/$export").await;
    assert_eq!((synchronous.status, synchronous.issues()), (400, vec!["operation-parameter".to_owned()]));
    for (path, status, issue) in [
        ("/$export?_outputFormat=csv", 400, "operation-parameter"),
        ("/$export?_type=Medication", 400, "operation-parameter"),
        ("/$export?_type=Provenance", 403, "scope-insufficient"),
        ("/$export?includeAssociatedData=LatestProvenanceResources", 400, "operation-parameter"),
        ("/$export?_typeFilter=Observation%3Ffavourite%3D1", 400, "search-parameter-unknown"),
        ("/Group/none/$export", 403, "scope-insufficient"),
    ] {
        let answer = kickoff(&app, path).await;
        assert_eq!((answer.status, answer.issues()), (status, vec![issue.to_owned()]), "{path}");
        assert!(answer.header("content-type").starts_with("application/fhir+json"));
    }
    let lenient = app
        .raw(
            "GET",
            "/$export?_type=Observation,Medication,Provenance&other=1&another=2&third=3",
            &[("prefer", "respond-async, handling=lenient")],
            "",
        )
        .await;
    assert_eq!(lenient.status, 202, "{}", lenient.text());
    let export = fetched(&app, lenient.header("content-location")).await;
    assert_eq!(export.lines["Observation"].len(), 1);
    let said = &export.lines["OperationOutcome"];
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said.iter().all(|outcome| crate::fixture::issues(outcome) == ["search-parameter-ignored"]), "{said:?}");
    let texts: Vec<&str> = said.iter().map(|one| one["issue"][0]["details"]["text"].as_str().unwrap()).collect();
    assert_eq!(texts.iter().filter(|text| text.ends_with("(3 times)")).count(), 1, "{texts:?}");
    let posted = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_type", "valueString": "Patient"}, {"name": "_since", "valueInstant": "2020-01-01T00:00:00Z"}
    ]});
    let headers = [ASYNC, ("content-type", "application/fhir+json")];
    let answer = app.raw("POST", "/Patient/$export", &headers, posted.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(fetched(&app, answer.header("content-location")).await.count(), 1);
    let wrong = app.raw("POST", "/Patient/$export", &headers, r#"{"resourceType":"Patient"}"#).await;
    assert_eq!(wrong.issues(), ["operation-parameter"]);
}

/// An export belongs to its client, ends when that says so, and is asked after no more often than makes sense.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_its_clients_own_until_it_is_removed() {
    let gateway = Gateway::with("[exchange]\nexport_jobs = 1\n").await;
    let app = gateway.client("app", APP_SCOPES).await;
    let other = gateway.client("other", APP_SCOPES).await;
    let narrow = gateway.client("narrow", "system/Observation.rs").await;
    person(&app, &[], &["1"]).await;
    let address = begin(&app, "/$export").await;
    let manifest = finished(&app, &address).await;
    assert!(manifest.header("expires").ends_with("GMT"), "{manifest:?}");
    let file = manifest.json()["output"][0]["url"].as_str().unwrap().to_owned();
    for client in [&other, &narrow] {
        for (method, address) in [("GET", &address), ("DELETE", &address), ("GET", &file)] {
            assert_eq!(client.raw(method, address, &[], "").await.issues(), ["not-found"], "{method} {address}");
        }
    }
    assert_eq!(app.get(&format!("{address}/none.ndjson")).await.status, 404);
    let stranger = app.raw("GET", &file, &[("authorization", "Bearer none")], "").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(app.raw("DELETE", &address, &[], "").await.status, 202);
    for address in [&address, &file] {
        let gone = app.get(address).await;
        assert_eq!((gone.status, gone.issues()), (404, vec!["not-found".to_owned()]));
    }
    assert_eq!(app.raw("DELETE", &address, &[], "").await.status, 404);
}

/// The moment of an export divides everything that ever comes: what is in one is not in the next one since then.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_it_is_made_is_in_the_next_one() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", &format!("{APP_SCOPES} system/Observation.d")).await;
    let patient = person(&app, &[], &[]).await;
    let pushing = tokio::spawn({
        let (app, patient) = (app.clone(), patient.clone());
        async move {
            let mut ids = BTreeSet::new();
            for number in 0..60 {
                let answer = app.post("/Observation", &heart_rate(&patient, &number.to_string(), 60)).await;
                assert_eq!(answer.status, 201, "{}", answer.text());
                ids.insert(answer.id());
            }
            ids
        }
    });
    let (mut all, mut since) = (BTreeSet::new(), None::<String>);
    let mut last = false;
    loop {
        let from = since.as_ref().map(|since| format!("&_since={}", since.replace('+', "%2B"))).unwrap_or_default();
        let export = exported(&app, &format!("/$export?_type=Observation{from}")).await;
        for id in export.ids("Observation") {
            assert!(all.insert(id), "nothing comes twice");
        }
        since = Some(export.manifest["transactionTime"].as_str().unwrap().to_owned());
        if last {
            break;
        }
        last = pushing.is_finished();
    }
    let ids = pushing.await.unwrap();
    assert_eq!(all, ids);
    // A correction comes as it is, a deletion as such, and each to whoever says since when.
    let (corrected, deleted) = (ids.first().unwrap(), ids.last().unwrap());
    let mut current = app.get(&format!("/Observation/{corrected}")).await.json();
    current["valueQuantity"]["value"] = json!(99);
    assert_eq!(app.put(&format!("/Observation/{corrected}"), &current).await.status, 200);
    assert_eq!(app.raw("DELETE", &format!("/Observation/{deleted}"), &[], "").await.status, 204);
    let since = since.unwrap();
    let export = exported(&app, &format!("/$export?_type=Observation&_since={since}")).await;
    assert_eq!(export.ids("Observation"), BTreeSet::from([corrected.clone()]));
    assert_eq!(export.lines["Observation"][0]["valueQuantity"]["value"], 99);
    let gone = &export.lines["Bundle"];
    assert_eq!(gone.len(), 1);
    let entry = json!({"request": {"method": "DELETE", "url": format!("Observation/{deleted}")}});
    assert_eq!((&gone[0]["type"], &gone[0]["entry"]), (&json!("transaction"), &json!([entry])));
    assert_eq!(exported(&app, "/$export?_type=Observation").await.count(), 59);
}

/// Of whoever has not agreed nothing is in it, counted or said; and it is on record what was disclosed and what withheld.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_withholds_is_in_no_byte_of_it() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", APP_SCOPES).await;
    let reader = gateway.client("reader", ALL).await;
    let nobody = exported(&reader, "/$export").await;
    assert_eq!(nobody.manifest["output"], json!([]));
    let open = person(&app, &["Organization/reader"], &["open"]).await;
    let closed = person(&app, &[], &["closed"]).await;
    let restricted = person(&app, &["Organization/reader"], &["restricted"]).await;
    let own = crate::rights::own_requests(&gateway, &app, APP_SCOPES).await;
    let asked =
        own.raw("POST", &format!("/Patient/{restricted}/$restrict"), &[("x-purpose-of-use", "PATRQT")], "").await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    for path in ["/$export", "/Patient/$export"] {
        let export = exported(&reader, path).await;
        assert_eq!(export.lines.keys().collect::<Vec<_>>(), ["Observation"], "{path}");
        let all = format!("{}{}", export.manifest, export.raw);
        assert!(all.contains(&open) && !all.contains(&closed) && !all.contains(&restricted), "{path}");
        assert_eq!(export.manifest["output"][0]["count"], 1);
    }
    for (patient, code) in [(&open, "\"disclose\""), (&closed, "110113"), (&restricted, "110113")] {
        let key = gateway.running.as_ref().unwrap().gateway.patient_key(patient);
        let plan =
            AuditPlan { patient: Some(key), client: Some("reader".to_owned()), limit: 100, ..AuditPlan::default() };
        let events = gateway.store().audit(plan).await.unwrap();
        let told = events.iter().filter(|(_, event)| String::from_utf8_lossy(event).contains(code)).count();
        assert_eq!(told, 2, "one an export");
        if code == "110113" {
            assert_eq!(events.len(), 2, "nothing is said to be disclosed");
        }
    }
    let log = app.get(&format!("{}/persons/{open}/access-log", app.root())).await.json();
    let line = log["entries"].as_array().unwrap().iter().find(|line| line["act"] == "disclose").unwrap();
    assert_eq!(
        (&line["operation"], &line["who"]["kind"], &line["who"]["id"]),
        (&json!("$export"), &json!("client"), &json!("reader"))
    );
}

/// What was permitted when it was made is asked once more when it is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_withdrawn_before_it_was_fetched_is_told_no_more() {
    let gateway = Gateway::start().await;
    let erasing = format!("{APP_SCOPES} system/Patient.d");
    let app = gateway.client("app", &erasing).await;
    let own = crate::rights::own_requests(&gateway, &app, &erasing).await;
    let reader = gateway.client("reader", ALL).await;
    let stays = person(&app, &["Organization/reader"], &["stays"]).await;
    let erased = person(&app, &["Organization/reader"], &["erased"]).await;
    let restricted = person(&app, &["Organization/reader"], &["restricted"]).await;
    let withdrawn = app.person().await;
    app.consent(&withdrawn, &[(&app.actor, &[Action::Collect], &["heart-rate"])]).await;
    let shares = app.consent(&withdrawn, &[("Organization/reader", &[Action::Access], &["heart-rate"])]).await;
    assert_eq!(app.post("/Observation", &heart_rate(&withdrawn, "withdrawn", 60)).await.status, 201);
    let address = begin(&reader, "/$export?_type=Observation").await;
    let before = fetched(&reader, &address).await;
    assert_eq!(before.count(), 4);
    assert_eq!(app.withdraw(&shares).await.status, 200);
    for (patient, operation) in [(&erased, "$erase"), (&restricted, "$restrict")] {
        let asked =
            own.raw("POST", &format!("/Patient/{patient}/{operation}"), &[("x-purpose-of-use", "PATRQT")], "").await;
        assert_eq!(asked.status, 200, "{}", asked.text());
    }
    let after = fetched(&reader, &address).await;
    assert_eq!(after.count(), 1);
    assert!(after.raw.contains(&stays));
}

/// A group is its owner's, and tells of its members alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_exported_member_by_member() {
    let gateway = Gateway::start().await;
    let scopes = format!("{APP_SCOPES} system/Group.cruds");
    let app = gateway.client("app", &scopes).await;
    let other = gateway.client("other", &scopes).await;
    let mut persons = Vec::new();
    for name in ["a", "b", "c"] {
        persons.push(person(&app, &[], &[name]).await);
    }
    let member =
        |id: &str, inactive: bool| json!({"entity": {"reference": format!("Patient/{id}")}, "inactive": inactive});
    let group = json!({
        "resourceType": "Group", "type": "person", "actual": true,
        // Of whom there is nothing here nobody is told: who is hidden would be told apart.
        "member": [member(&persons[0], false), member(&persons[1], true), member(&persons[2], false), member("nobody", false)]
    });
    let made = app.post("/Group", &group).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.id();
    let export = exported(&app, &format!("/Group/{id}/$export?_type=Patient,Observation")).await;
    assert_eq!(export.ids("Patient"), BTreeSet::from([persons[0].clone(), persons[2].clone()]));
    assert_eq!((export.count(), export.ids("Observation").len()), (4, 2));
    let one = |id: &str| {
        json!({"resourceType": "Parameters", "parameter": [
            {"name": "patient", "valueReference": {"reference": format!("Patient/{id}")}}
        ]})
    };
    let headers = [ASYNC, ("content-type", "application/fhir+json")];
    let path = format!("/Group/{id}/$export?_type=Patient");
    let answer = app.raw("POST", &path, &headers, one(&persons[2]).to_string()).await;
    assert_eq!(
        fetched(&app, answer.header("content-location")).await.ids("Patient"),
        BTreeSet::from([persons[2].clone()])
    );
    let answer = app.raw("POST", &path, &headers, one(&persons[1]).to_string()).await;
    assert_eq!((answer.status, answer.issues()), (400, vec!["operation-parameter".to_owned()]));
    assert_eq!(kickoff(&other, &path).await.status, 404);
    assert_eq!(other.get(&format!("/Group/{id}")).await.status, 404);
}

/// Whoever is erased is in no group any more, nor in any version of one.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_leaves_every_group() {
    let gateway = Gateway::start().await;
    let scopes = format!("{APP_SCOPES} system/Group.cruds system/Patient.d");
    let app = gateway.client("app", &scopes).await;
    let own = crate::rights::own_requests(&gateway, &app, &scopes).await;
    let other = gateway.client("other", &scopes).await;
    let (stays, goes) = (person(&app, &[], &["a"]).await, person(&app, &[], &["b"]).await);
    let member = |id: &str| json!({"entity": {"reference": format!("Patient/{id}")}});
    let group = |members: Vec<Value>| {
        let identifier = json!([{"system": "urn:groups", "value": "1"}]);
        json!({"resourceType": "Group", "type": "person", "actual": true, "identifier": identifier, "member": members})
    };
    let mut made = Vec::new();
    for (client, members) in [
        (&app, vec![member(&stays), member(&goes)]),
        (&other, vec![member(&format!("{goes}/_history/1"))]),
        (&app, vec![member(&stays)]),
    ] {
        let mut group = group(members);
        group["identifier"][0]["value"] = json!(made.len().to_string());
        let answer = client.post("/Group", &group).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        made.push((client, answer.id()));
    }
    // In this one she was, and is no more.
    let mut changed = app.get(&format!("/Group/{}", made[2].1)).await.json();
    changed["member"] = json!([member(&goes)]);
    assert_eq!(app.put(&format!("/Group/{}", made[2].1), &changed).await.status, 200);
    changed["member"] = json!([member(&stays)]);
    assert_eq!(app.put(&format!("/Group/{}", made[2].1), &changed).await.status, 200);
    let asked = own.raw("POST", &format!("/Patient/{goes}/$erase"), &[("x-purpose-of-use", "PATRQT")], "").await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    for (client, id) in &made {
        let history = client.get(&format!("/Group/{id}/_history")).await;
        assert_eq!(history.status, 200);
        assert!(!history.text().contains(&goes), "{}", history.text());
    }
    assert_eq!(app.find("/Group?identifier=urn:groups|0").await.1, [made[0].1.clone()]);
    let export = exported(&app, &format!("/Group/{}/$export?_type=Patient", made[0].1)).await;
    assert_eq!(export.ids("Patient"), BTreeSet::from([stays]));
    assert_eq!(other.get(&format!("/Group/{}", made[1].1)).await.json()["member"], Value::Null);
}

/// A part of a resource says that it is one.
#[tokio::test(flavor = "multi_thread")]
async fn elements_are_left_and_marked() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", APP_SCOPES).await;
    person(&app, &[], &["1"]).await;
    let export = exported(&app, "/$export?_elements=Observation.subject").await;
    let observation = &export.lines["Observation"][0];
    assert_eq!(
        (&observation["valueQuantity"], &observation["meta"]["tag"][0]["code"]),
        (&Value::Null, &json!("SUBSETTED"))
    );
    assert!(observation["subject"].is_object() && observation["code"].is_object());
    let patient = &export.lines["Patient"][0];
    assert_eq!((&patient["active"], &patient["meta"]["tag"]), (&json!(true), &Value::Null));
}

/// What nobody can work on ends, and whoever asks hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_made_says_so() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", APP_SCOPES).await;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let job = ExportJob {
        id: [7; 16],
        client: "app".into(),
        about: b"nothing that could be read".to_vec(),
        persons: None,
        nobodys: false,
        secret: [0; 32],
        cut_ms: now_ms,
        state: ExportState::Working,
        lines: 0,
        told: 0,
        failure: None,
        created_ms: now_ms,
        until_ms: now_ms + 60_000,
    };
    let record = AuditRecord {
        at_ms: now_ms,
        patient: None,
        client: "app".into(),
        id: ResId::random(None, 0, [7; 16]),
        payload: b"{}".to_vec(),
        salt: [0; 32],
    };
    assert!(gateway.store().create_export(job, 1, 1, record).await.unwrap());
    let address = format!("{}/exports/{}", app.root(), "07".repeat(16));
    let failed = eventually("the export has failed", async || {
        let status = app.get(&address).await;
        (status.status == 500 && status.issues() == ["export-failed"]).then_some(status)
    })
    .await;
    assert_eq!(failed.issues(), ["export-failed"]);
    assert_eq!((failed.status, failed.header("content-type")), (500, "application/fhir+json; charset=utf-8"));
    assert_eq!(app.raw("DELETE", &address, &[], "").await.status, 202);
}

/// Many readings of some persons, in few requests.
pub async fn crowd(app: &Client, persons: usize, readings: usize) {
    for person in 0..persons {
        let patient = app.person().await;
        let actor = app.actor.clone();
        let own: &[Action] = &[Action::Collect, Action::Access];
        let agreed = app.post("/Consent", &consent(&patient, &[(&actor, own, &["heart-rate"])])).await;
        assert_eq!(agreed.status, 201, "{}", agreed.text());
        let entries: Vec<Value> = (0..readings)
            .map(|reading| {
                let resource = heart_rate(&patient, &format!("{person}-{reading}"), 60);
                json!({"resource": resource, "request": {"method": "POST", "url": "Observation"}})
            })
            .collect();
        let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
        assert_eq!(app.post("", &bundle).await.status, 200);
    }
}

/// The process dies again and again while an export is made: in the end it has every line once, and of each it is on record
/// once that it was disclosed.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_where_it_was_killed() {
    const PERSONS: usize = 12;
    const READINGS: usize = 200;
    let site = Site::new("").await;
    let mut app = site.register("app", APP_SCOPES).await;
    let mut process = site.serve().await;
    app.sign_in().await;
    crowd(&app, PERSONS, READINGS).await;
    let whole = exported(&app, "/$export?_type=Observation,Patient").await;
    assert_eq!(whole.count(), PERSONS * (READINGS + 1));
    let address = begin(&app, "/$export?_type=Observation,Patient").await;
    for pause in [1, 40, 10, 80, 150, 20] {
        // When it dies is what this test is about, so here time itself is the input.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.kill().await;
        process = site.serve().await;
        app.sign_in().await;
    }
    let export = fetched(&app, &address).await;
    assert_eq!(export.count(), whole.count());
    for kind in ["Observation", "Patient"] {
        assert_eq!(export.ids(kind), whole.ids(kind), "{kind}");
        let versions = |exported: &Exported| -> BTreeSet<String> {
            exported.lines[kind].iter().map(ToString::to_string).collect()
        };
        assert_eq!(versions(&export), versions(&whole), "{kind}");
    }
    process.terminate().await;
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(0), "{said}");
    let store = mhealth_gateway::store::Store::open(&site.place()).unwrap();
    let mut disclosed: BTreeMap<String, usize> = BTreeMap::new();
    let mut after = None;
    loop {
        let plan = AuditPlan { after_seq: after, limit: 500, ..AuditPlan::default() };
        let events = store.audit(plan).await.unwrap();
        for (_, event) in &events {
            let event: Value = serde_json::from_slice(event).unwrap();
            if event["subtype"][0]["code"] != "disclose" {
                continue;
            }
            for entity in event["entity"].as_array().unwrap().iter().filter(|entity| entity["role"]["code"] == "4") {
                *disclosed.entry(entity["what"]["reference"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        match events.last() {
            Some((seq, _)) if events.len() == 500 => after = Some(*seq),
            _ => break,
        }
    }
    assert_eq!(disclosed.len(), whole.count());
    assert!(disclosed.values().all(|times| *times == 2), "once an export");
    store.close().await;
}

/// How records came to be is exported with them, unless other types are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn how_a_record_came_to_be_is_exported_with_it() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", &format!("{APP_SCOPES} system/*.rs")).await;
    let patient = app.consenting_person().await;
    let pushed = crate::devices::send(&app, &patient, &[crate::devices::heart_rate("a", 71)]).await;
    assert_eq!(pushed.status, 200, "{}", pushed.text());
    for path in ["/$export", "/Patient/$export"] {
        let export = exported(&app, path).await;
        assert_eq!((export.ids("Provenance").len(), export.ids("Observation").len()), (1, 1), "{path}");
        let other = exported(&app, &format!("{path}?_type=Observation")).await;
        assert_eq!(other.count(), 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_supported_is_declared() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let statement = app.get("/metadata").await.json();
    let bulk = "http://hl7.org/fhir/uv/bulkdata";
    let declared = statement["instantiates"].as_array().unwrap();
    assert!(declared.contains(&json!(format!("{bulk}/CapabilityStatement/bulk-data"))), "{declared:?}");
    let rest = &statement["rest"][0];
    let export = |name: &str| json!({"name": "export", "definition": format!("{bulk}/OperationDefinition/{name}")});
    assert_eq!(rest["operation"], json!([export("export")]));
    for (kind, name) in [("Patient", "patient-export"), ("Group", "group-export")] {
        let resource = rest["resource"].as_array().unwrap().iter().find(|one| one["type"] == kind).unwrap();
        assert!(resource["operation"].as_array().unwrap().contains(&export(name)), "{resource}");
    }
}

/// A file travels compressed to whoever takes it so.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_travels_compressed() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    crowd(&app, 1, 300).await;
    let address = begin(&app, "/$export?_type=Observation").await;
    let manifest = finished(&app, &address).await.json();
    let file = manifest["output"][0]["url"].as_str().unwrap();
    let plain = app.get(file).await;
    let raw = crate::negotiation::unpacking_nothing(&gateway, &app);
    let packed = raw.raw("GET", file, &[("accept-encoding", "gzip"), ("accept", "application/fhir+ndjson")], "").await;
    assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"));
    assert!(packed.bytes.len() * 4 < plain.bytes.len(), "{} of {}", packed.bytes.len(), plain.bytes.len());
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(packed.bytes.as_slice()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.text());
}

const SECONDARY: &str = r#"
[exchange]
deidentified_least = 3
[consent]
data_access_bodies = ["Organization/body"]
[consent.implicit]
HRESCH = "ehds-secondary-use"
"#;

/// A person of a gender and a birthday, with readings on two days.
async fn measured(app: &Client, gender: &str, birth: &str) -> String {
    let person =
        json!({"resourceType": "Patient", "gender": gender, "birthDate": birth, "name": [{"family": "Zerlina"}]});
    let patient = app.post("/Patient", &person).await.id();
    app.consent(&patient, &[(&app.actor, &[Action::Collect, Action::Access], &["heart-rate"])]).await;
    for day in ["2026-01-15T08:30:00+01:00", "2026-02-01T23:59:59+01:00"] {
        let mut reading = heart_rate(&patient, &format!("{patient}-{day}"), 60);
        reading["effectiveDateTime"] = json!(day);
        let answer = app.post("/Observation", &reading).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    patient
}

/// Whoever learns of persons by pseudonyms gets crowds of those who have not opted out, and can get at nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_deidentified_export_tells_of_crowds_alone() {
    let gateway = Gateway::with(SECONDARY).await;
    let app = gateway.app().await;
    let body =
        gateway.registered("body", ALL, json!({"purposes": ["HRESCH"], "deidentified": true, "guide": null})).await;
    let mut persons = Vec::new();
    for birth in ["1981-03-04", "1989-12-31", "1985-01-01", "1984-05-05"] {
        persons.push(measured(&app, "female", birth).await);
    }
    // Two are not enough, and of three one has said no.
    persons.push(measured(&app, "male", "1981-01-01").await);
    persons.push(measured(&app, "male", "1982-01-01").await);
    let mut refusal = consent(&persons[4], &[]);
    for birth in ["1991-01-01", "1992-01-01", "1993-01-01"] {
        persons.push(measured(&app, "female", birth).await);
    }
    refusal["patient"] = json!({"reference": format!("Patient/{}", persons[8])});
    refusal["provision"] = json!({"type": "deny", "purpose": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}
    ]});
    assert_eq!(app.post("/Consent", &refusal).await.status, 201);
    for path in ["/Observation", "/Patient", "/metadata", "/_history"] {
        let answer = body.get(path).await;
        let open = path == "/metadata";
        assert!(open || answer.issues() == ["scope-insufficient"], "{path}: {}", answer.text());
    }
    for path in ["/$export?_since=2020-01-01T00:00:00Z", "/$export?_typeFilter=Observation%3Fstatus%3Dfinal"] {
        assert_eq!(kickoff(&body, path).await.issues(), ["operation-parameter"], "{path}");
    }
    let one = exported(&body, "/$export").await;
    assert_eq!(one.lines.keys().collect::<Vec<_>>(), ["Observation", "Patient"]);
    assert_eq!((one.ids("Observation").len(), one.ids("Patient").len()), (8, 4));
    for patient in &one.lines["Patient"] {
        assert_eq!((&patient["gender"], &patient["birthDate"]), (&json!("female"), &json!("1980")));
    }
    let told = format!("{}{}", one.manifest, one.raw);
    assert!(persons.iter().all(|person| !told.contains(person.as_str())) && !told.contains("Zerlina"), "{told}");
    let mut times: BTreeMap<&str, Vec<jiff::civil::DateTime>> = BTreeMap::new();
    for observation in &one.lines["Observation"] {
        let time = observation["effectiveDateTime"].as_str().unwrap();
        let person = observation["subject"]["reference"].as_str().unwrap().strip_prefix("Patient/").unwrap();
        assert!(one.ids("Patient").contains(person) && time.ends_with("+01:00"));
        times.entry(person).or_default().push(time[..19].parse().unwrap());
    }
    assert_eq!(times.len(), 4);
    for mut times in times.into_values() {
        times.sort_unstable();
        let real: [jiff::civil::DateTime; 2] =
            ["2026-01-15T08:30:00", "2026-02-01T23:59:59"].map(|time| time.parse().unwrap());
        let moved: Vec<i32> = times
            .iter()
            .zip(real)
            .map(|(told, real)| real.until((jiff::Unit::Day, *told)).unwrap().get_days())
            .collect();
        assert!(moved[0] != 0 && moved[0] % 7 == 0 && moved[0] == moved[1], "{moved:?}");
        assert_eq!(times.iter().map(|time| time.time()).collect::<Vec<_>>(), real.map(jiff::civil::DateTime::time));
    }
    let other = exported(&body, "/Patient/$export?_type=Observation").await;
    assert_eq!((other.count(), other.ids("Observation").len()), (8, 8));
    assert!(one.ids("Observation").is_disjoint(&other.ids("Observation")), "names are one export's");
    // Whoever opts out later is told of no more, and it is on record what was told.
    let mut late = refusal.clone();
    late["patient"] = json!({"reference": format!("Patient/{}", persons[0])});
    let address = begin(&body, "/$export?_type=Observation").await;
    finished(&body, &address).await;
    assert_eq!(app.post("/Consent", &late).await.status, 201);
    assert_eq!(fetched(&body, &address).await.count(), 6);
    for (person, disclosed) in [(&persons[0], 3), (&persons[4], 0), (&persons[8], 0)] {
        let key = gateway.running.as_ref().unwrap().gateway.patient_key(person);
        let plan =
            AuditPlan { patient: Some(key), client: Some("body".to_owned()), limit: 100, ..AuditPlan::default() };
        let events = gateway.store().audit(plan).await.unwrap();
        let told = events.iter().filter(|(_, event)| String::from_utf8_lossy(event).contains("\"disclose\"")).count();
        assert_eq!(told, disclosed);
    }
}
