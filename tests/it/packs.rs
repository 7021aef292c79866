//! Destinations that want measurements in a shape of their own: a national system is played by its country pack, and takes
//! only what the real one would.

use mhealth_gateway::conformance::platform::Admission;
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Client, Gateway, Platform, eventually, heart_rate};

pub fn blood_pressure(patient: &str, identifier: &str) -> Value {
    let mut sent = heart_rate(patient, identifier, 0);
    let component = |code: &str, value: u32| {
        json!({
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": {
                "value": value, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"
            },
        })
    };
    sent["code"]["coding"][0]["code"] = json!("85354-9");
    sent["component"] = json!([component("8480-6", 138), component("8462-4", 86)]);
    sent.as_object_mut().unwrap().remove("valueQuantity");
    sent
}

/// A gateway with one national system, and a person who is linked to it.
struct Stage {
    platform: Platform,
    gateway: Gateway,
    app: Client,
    patient: String,
}

impl Stage {
    async fn new(pack: &str, settings: &str) -> Stage {
        Stage::with(pack, settings, "").await
    }

    /// The same with more of the configuration.
    async fn with(pack: &str, settings: &str, more: &str) -> Stage {
        let platform = Platform::national(pack).await;
        let section = platform.destination(&format!("pack = {pack:?}\nsettings = {{ {settings} }}"));
        let section = format!("{section}\n{more}");
        Stage::at(platform, &section).await
    }

    async fn at(platform: Platform, section: &str) -> Stage {
        let gateway = Gateway::with(section).await;
        let app = gateway.app().await;
        let patient = known_there(&app, "urn:oid:1.2.250.1", "linked-1").await;
        Stage { platform, gateway, app, patient }
    }

    async fn push(&self, resource: &Value) -> String {
        let answer = self.app.post(&format!("/{}", resource["resourceType"].as_str().unwrap()), resource).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.id()
    }

    async fn arrived(&self, kind: &str, count: usize) -> Vec<Value> {
        eventually("it arrives", async || {
            let held = self.platform.held().await;
            let found: Vec<Value> = held.into_iter().filter(|one| one["resourceType"] == kind).collect();
            (found.len() == count).then_some(found)
        })
        .await
    }

    /// What the person's access log says was withheld.
    async fn withheld(&self, issue: &str) {
        let address = format!("{}/persons/{}/access-log?_count=100", self.app.root(), self.patient);
        let entry = eventually("it is withheld", async || {
            let log = self.app.get(&address).await.json();
            let entries = log["entries"].as_array().unwrap();
            entries.iter().find(|entry| entry["issues"] == json!([issue])).cloned()
        })
        .await;
        assert_eq!((&entry["act"], &entry["who"]["kind"]), (&json!("refuse"), &json!("destination")), "{entry:#}");
    }
}

/// A person whom the system knows by an identifier, and who lets it have what the app measures.
async fn known_there(app: &Client, system: &str, value: &str) -> String {
    let person = json!({"resourceType": "Patient", "active": true, "identifier": [{"system": system, "value": value}]});
    let patient = app.post("/Patient", &person).await.id();
    let categories = &["heart-rate", "blood-pressure"][..];
    let own = app.actor.clone();
    let to = [(own.as_str(), &[Action::Collect, Action::Access][..], categories)];
    let there = [("Organization/platform", &[Action::Disclose][..], categories)];
    app.consent(&patient, &[to, there].concat()).await;
    patient
}

#[tokio::test]
async fn finland_gets_its_own_content_and_nothing_that_it_has_no_place_for() {
    let stage = Stage::new("fi-kanta", "persons = 'urn:oid:1.2.250.1'").await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    let pressure = stage.push(&blood_pressure(&stage.patient, "bp-1")).await;
    let held = stage.arrived("Observation", 1).await;
    assert_eq!(held[0]["meta"]["profile"], json!(["http://phr.kanta.fi/StructureDefinition/fiphr-sd-bloodpressure"]));
    assert_eq!(held[0]["subject"]["reference"], "Patient/linked-1");
    assert_eq!(held[0]["component"][0]["valueQuantity"]["value"], 138);
    assert!(!held[0].to_string().contains(&stage.patient), "its id here is nobody's business there");
    stage.withheld("destination-measure").await;
    let mut corrected = stage.app.get(&format!("/Observation/{pressure}")).await.json();
    corrected["component"][0]["valueQuantity"]["value"] = json!(139);
    let answer = stage.app.put(&format!("/Observation/{pressure}"), &corrected).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    stage.withheld("destination-correction").await;
    assert_eq!(stage.arrived("Observation", 1).await[0]["component"][0]["valueQuantity"]["value"], 138);
    let account = stage.platform.account().await;
    assert_eq!(account["violationCount"], json!(0), "{account}");
}

#[tokio::test]
async fn what_is_told_within_another_alone_is_known_beforehand() {
    let stage = Stage::new("fi-kanta", "persons = 'urn:oid:1.2.250.1'").await;
    let mut diastolic = blood_pressure(&stage.patient, "alone");
    let component = diastolic["component"][1].take();
    diastolic.as_object_mut().unwrap().remove("component");
    diastolic["code"] = component["code"].clone();
    diastolic["valueQuantity"] = component["valueQuantity"].clone();
    let question = json!({"resourceType": "Parameters", "parameter": [
        {"name": "patient", "valueReference": {"reference": format!("Patient/{}", stage.patient)}},
        {"name": "resource", "resource": diastolic},
        {"name": "resource", "resource": blood_pressure(&stage.patient, "whole")},
    ]});
    let told = stage.app.post("/Consent/$evaluate", &question).await.json();
    let part = |of: &Value, name: &str| -> Vec<Value> {
        let listed = of["parameter"].as_array().or(of["part"].as_array()).unwrap();
        listed.iter().filter(|part| part["name"] == name).cloned().collect()
    };
    let each = part(&part(&told, "destination")[0], "resource");
    let said = |at: usize, name: &str, kind: &str| part(&each[at], name).first().map(|part| part[kind].clone());
    assert_eq!(said(0, "reason", "valueCode"), Some(json!("destination-measure")), "{told:#}");
    let text = "Kanta PHR takes diastolic-bp within blood-pressure and not by itself.";
    assert_eq!(said(0, "text", "valueString"), Some(json!(text)));
    assert_eq!((said(1, "reason", "valueCode"), said(1, "text", "valueString")), (Some(json!("permitted")), None));
}

/// What is known to be wrong or gone by the time is never told where nothing could mend it.
#[tokio::test]
async fn what_was_mended_while_it_waited_is_told_as_it_is_now() {
    let mut stage = Stage::new("fi-kanta", "persons = 'urn:oid:1.2.250.1'").await;
    stage.platform.leave().await;
    let (wrong, gone) = (blood_pressure(&stage.patient, "wrong"), blood_pressure(&stage.patient, "gone"));
    let (wrong, gone) = (stage.push(&wrong).await, stage.push(&gone).await);
    eventually("they wait", async || {
        (stage.gateway.store().backlog("platform").await.unwrap().retries == 2).then_some(())
    })
    .await;
    let mut mended = stage.app.get(&format!("/Observation/{wrong}")).await.json();
    mended["component"][0]["valueQuantity"]["value"] = json!(139);
    assert_eq!(stage.app.put(&format!("/Observation/{wrong}"), &mended).await.status, 200);
    let mut void = stage.app.get(&format!("/Observation/{gone}")).await.json();
    void["status"] = json!("entered-in-error");
    assert_eq!(stage.app.put(&format!("/Observation/{gone}"), &void).await.status, 200);
    stage.platform.come_back().await;
    let held = stage.arrived("Observation", 1).await;
    assert_eq!(held[0]["component"][0]["valueQuantity"]["value"], 139);
    eventually("nothing waits", async || {
        let backlog = stage.gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0 && backlog.dead == 0).then_some(())
    })
    .await;
    assert_eq!(stage.platform.account().await["received"], 1);
}

/// Where the answer to what was wrong is lost, it may be there, and that it was corrected is not claimed.
#[tokio::test]
async fn a_correction_that_may_have_met_an_earlier_version_is_not_told_as_arrived() {
    let platform = Platform::national("fi-kanta").await;
    let section = platform.destination("pack = \"fi-kanta\"\nsettings = { persons = 'urn:oid:1.2.250.1' }");
    let stage = Stage::at(platform, &section.replace("max_attempts = 50", "max_attempts = 1")).await;
    stage.platform.fault("error-after-accept", Some(1)).await;
    let id = stage.push(&blood_pressure(&stage.patient, "bp-1")).await;
    let dead = async |count: u64| {
        eventually("it is given up", async || {
            let backlog = stage.gateway.store().backlog("platform").await.unwrap();
            (backlog.behind == 0 && backlog.dead == count).then_some(())
        })
        .await;
    };
    dead(1).await;
    let mut mended = stage.app.get(&format!("/Observation/{id}")).await.json();
    mended["component"][0]["valueQuantity"]["value"] = json!(139);
    assert_eq!(stage.app.put(&format!("/Observation/{id}"), &mended).await.status, 200);
    dead(2).await;
    assert_eq!(stage.arrived("Observation", 1).await[0]["component"][0]["valueQuantity"]["value"], 138);
    let address = format!("{}/persons/{}/access-log?_count=100", stage.app.root(), stage.patient);
    let log = stage.app.get(&address).await.json();
    let told = log["entries"].as_array().unwrap().iter().filter(|line| line["act"] == "disclose");
    assert!(told.clone().count() == 2 && told.clone().all(|line| line["done"] == false), "{log:#}");
}

#[tokio::test]
async fn france_gets_one_measurement_at_a_time_with_the_device_that_made_it() {
    let stage = Stage::new("fr-ens", "publisher = 'urn:oid:1.2.250.1', devices = 'urn:oid:1.2.250.2'").await;
    let cuff = json!({"resourceType": "Device", "manufacturer": "Example Medical", "modelNumber": "BP-200"});
    let cuff = stage.push(&cuff).await;
    let mut measured = Vec::new();
    for (index, mut sent) in
        [blood_pressure(&stage.patient, "bp-1"), heart_rate(&stage.patient, "hr-1", 64)].into_iter().enumerate()
    {
        sent["device"] = json!({"reference": format!("Device/{cuff}")});
        sent["identifier"][0]["value"] = json!(format!("m-{index}"));
        measured.push(sent);
    }
    let entry: Vec<Value> = measured
        .iter()
        .map(|one| json!({"resource": one, "request": {"method": "POST", "url": "Observation"}}))
        .collect();
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entry});
    let answer = stage.app.post("", &bundle).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let held = stage.arrived("Observation", 2).await;
    assert!(held.iter().all(|one| one["subject"]["identifier"]["value"] == "linked-1"), "{held:?}");
    let devices = stage.arrived("Device", 1).await;
    assert_eq!(devices[0]["modelNumber"], "BP-200");
    // Without a device there is nothing to tell.
    stage.push(&heart_rate(&stage.patient, "hr-2", 65)).await;
    stage.withheld("destination-needs").await;
    let account = stage.platform.account().await;
    assert_eq!(account["violationCount"], json!(0), "{account}");
}

/// What the Danish system has of its own, and where.
const EPISODE: &str = "http://hl7.org/fhir/StructureDefinition/workflow-episodeOfCare";

/// A person at the Danish system, by the address of her Patient there.
async fn danish(more: &str) -> Stage {
    let platform = Platform::national("dk-fut").await;
    let section = platform.destination("pack = \"dk-fut\"\nsettings = { persons = 'urn:oid:1.2.250.1' }");
    Stage::at(platform, &format!("{section}\n{more}")).await
}

async fn has_plan(stage: &mut Stage, id: &str, code: &str, version: &str) {
    let here = format!("{}/fhir", stage.platform.url);
    let request = json!({
        "resourceType": "ServiceRequest", "id": id, "meta": {"versionId": version}, "status": "active",
        "subject": {"reference": "linked-1"},
        "code": {"coding": [{"system": "urn:oid:1.2.208.176.2.1", "code": code}]},
        "extension": [{"url": EPISODE, "valueReference": {"reference": format!("{here}/EpisodeOfCare/9")}}],
    });
    stage.platform.has(&request).await;
    stage.platform.has(&json!({"resourceType": "EpisodeOfCare", "id": "9", "status": "active"})).await;
}

#[tokio::test]
async fn denmark_is_asked_for_the_care_plan_once_and_told_for_it() {
    let mut stage = danish("").await;
    has_plan(&mut stage, "sr-1", "NPU21692", "42").await;
    for at in 0..3 {
        stage.push(&heart_rate(&stage.patient, &format!("hr-{at}"), 60 + at)).await;
    }
    let held = stage.arrived("Observation", 3).await;
    let here = format!("{}/fhir", stage.platform.url);
    for one in &held {
        assert_eq!(one["basedOn"][0]["reference"], format!("{here}/ServiceRequest/sr-1"));
        assert_eq!(one["extension"][0]["valueReference"]["reference"], format!("{here}/EpisodeOfCare/9"));
        assert_eq!(one["extension"][1]["extension"][0]["valueId"], "42");
    }
    let account = stage.platform.account().await;
    assert_eq!((&account["asked"], &account["violationCount"]), (&json!(2), &json!(0)), "{account}");
    // The person reads that somebody was asked about her, and what she consented to.
    let address = format!("{}/persons/{}/access-log?_count=100", stage.app.root(), stage.patient);
    let log = stage.app.get(&address).await.json();
    let lookups: Vec<&Value> =
        log["entries"].as_array().unwrap().iter().filter(|entry| entry["act"] == "look-up").collect();
    assert_eq!(lookups.len(), 2, "{log:#}");
    assert!(
        lookups.iter().all(|one| one["who"]["kind"] == "destination" && one["basis"]["kind"] == "consent"),
        "{log:#}"
    );
    // A request of which the destination has a newer version, or another one, is found anew.
    has_plan(&mut stage, "sr-2", "NPU21692", "1").await;
    stage.platform.lets_go("ServiceRequest/sr-1").await;
    stage.push(&heart_rate(&stage.patient, "hr-4", 70)).await;
    let held = stage.arrived("Observation", 4).await;
    assert!(held.iter().any(|one| one["basedOn"][0]["reference"] == format!("{here}/ServiceRequest/sr-2")));
}

#[tokio::test]
async fn without_a_care_plan_nothing_is_told_to_denmark_and_the_person_reads_so() {
    let stage = danish("").await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.withheld("destination-context").await;
    // Whoever may not be told of it is not asked about it.
    let own = stage.app.actor.clone();
    let categories = &["heart-rate"][..];
    let other = stage.app.post("/Patient", &json!({"resourceType": "Patient", "active": true})).await.id();
    stage.app.consent(&other, &[(own.as_str(), &[Action::Collect, Action::Access][..], categories)]).await;
    stage.push(&heart_rate(&other, "hr-2", 64)).await;
    eventually("it is looked at", async || {
        (stage.gateway.store().backlog("platform").await.unwrap().behind == 0).then_some(())
    })
    .await;
    let account = stage.platform.account().await;
    assert_eq!((&account["asked"], &account["received"]), (&json!(1), &json!(0)), "{account}");
    let backlog = stage.gateway.store().backlog("platform").await.unwrap();
    assert_eq!((backlog.retries, backlog.dead), (0, 0));
}

#[tokio::test]
async fn a_destination_that_cannot_be_asked_is_asked_again() {
    // Each measurement is asked for, so that each fault is met.
    let folder = copied("dk-fut");
    change(&folder, "pack.toml", "keep_seconds = 900", "keep_seconds = 0");
    change(&folder, "pack.toml", "keep_none_seconds = 60", "keep_none_seconds = 0");
    let mut stage = danish(&format!("[packs]\nfolders = [{:?}]\n", folder.path())).await;
    stage.platform.leave().await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    eventually("it waits", async || {
        (stage.gateway.store().backlog("platform").await.unwrap().retries == 1).then_some(())
    })
    .await;
    stage.platform.come_back().await;
    // That it has no plan is an answer.
    stage.withheld("destination-context").await;
    for fault in ["down", "busy", "half", "garbage", "revoke"] {
        stage.platform.fault(fault, Some(1)).await;
        has_plan(&mut stage, "sr-1", "NPU21692", "1").await;
        stage.push(&heart_rate(&stage.patient, fault, 64)).await;
        eventually("nothing waits", async || {
            let backlog = stage.gateway.store().backlog("platform").await.unwrap();
            (backlog.behind == 0 && backlog.retries == 0).then_some(())
        })
        .await;
    }
    stage.arrived("Observation", 5).await;
    assert!(stage.gateway.store().dead_letters(Some("platform")).await.unwrap().is_empty());
}

const SPID: &str = "urn:oid:2.16.756.5.30.1.127.3.10.3";

/// A person whom a Swiss community knows by her EPR-SPID, which lets the gateway in for her record alone.
async fn swiss(spid: &str) -> Stage {
    let mut platform = Platform::admitting(Admission::Persons, Some("ch-epr")).await;
    let section = platform.for_persons(
        "pack = \"ch-epr\"\n[destination.settings]\ncommunity = 'urn:oid:2.999.5.6.7'\nsource = 'urn:oid:2.999.8'\n\
         local = 'urn:oid:2.999.9'\ntype = '419891008'",
    );
    let gateway = Gateway::with(&section).await;
    let app = gateway.app().await;
    let patient = known_there(&app, SPID, spid).await;
    let known = json!({"resourceType": "Patient", "id": "7", "identifier": [
        {"system": SPID, "value": "761337610411353650"}, {"system": "urn:oid:2.999.5.6.7", "value": "mpi-7"},
    ]});
    platform.has(&known).await;
    Stage { platform, gateway, app, patient }
}

/// What a document says, as it lies in the base64 of a Binary.
fn document(binary: &Value) -> Value {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(binary["data"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn switzerland_gets_a_document_for_the_record_of_the_person_and_its_correction_replaces_it() {
    let stage = swiss("761337610411353650").await;
    let id = stage.push(&blood_pressure(&stage.patient, "bp-1")).await;
    let references = stage.arrived("DocumentReference", 1).await;
    assert_eq!(references[0]["subject"]["reference"], format!("{}/fhir/Patient/7", stage.platform.url));
    let documents = stage.arrived("Binary", 1).await;
    let told = document(&documents[0]);
    assert_eq!(
        (&told["type"], &told["entry"][0]["resource"]["resourceType"]),
        (&json!("document"), &json!("Composition"))
    );
    assert_eq!(told["entry"][2]["resource"]["component"][0]["valueQuantity"]["value"], 138);
    assert!(!told.to_string().contains(&stage.patient), "its id here is nobody's business there");
    let mut corrected = stage.app.get(&format!("/Observation/{id}")).await.json();
    corrected["component"][0]["valueQuantity"]["value"] = json!(139);
    let answer = stage.app.put(&format!("/Observation/{id}"), &corrected).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let references = stage.arrived("DocumentReference", 2).await;
    let (first, second): (Vec<&Value>, Vec<&Value>) = references.iter().partition(|one| one["relatesTo"].is_null());
    let replaced = format!("DocumentReference/{}", first[0]["id"].as_str().unwrap());
    assert_eq!(second[0]["relatesTo"], json!([{"code": "replaces", "target": {"reference": replaced}}]));
    let account = stage.platform.account().await;
    assert_eq!((&account["violationCount"], &account["unauthorized"]), (&json!(0), &json!(0)), "{account}");
    assert_eq!(account["asked"], json!(1), "where she stands is asked once");
    // Tokens and question of the first attempt are of one trace with what it tells; the second needs neither.
    let mut traces: Vec<u64> = account["traces"].as_object().unwrap().values().filter_map(Value::as_u64).collect();
    traces.sort_unstable();
    assert!(traces.len() == 2 && traces[0] == 1 && traces[1] > 2, "{account}");
    // The same comes again where its answer was lost, and is there once.
    stage.platform.fault("error-after-accept", Some(1)).await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.arrived("DocumentReference", 3).await;
    eventually("nothing waits", async || {
        let backlog = stage.gateway.store().backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0 && backlog.dead == 0).then_some(())
    })
    .await;
    assert_eq!(stage.platform.account().await["duplicates"], json!(0));
}

#[tokio::test]
async fn germany_gets_a_document_in_xml() {
    let platform = Platform::national("de-mio-diga").await;
    let settings = "persons = 'urn:oid:1.2.250.1', diga = '00001', pzn = '12345'";
    let section = platform.destination(&format!("pack = \"de-mio-diga\"\nsettings = {{ {settings} }}"));
    let stage = Stage::at(platform, &section).await;
    let diary = json!({
        "resourceType": "Device", "deviceName": [{"name": "Heart diary", "type": "user-friendly-name"}],
    });
    let diary = stage.push(&diary).await;
    let mut sent = blood_pressure(&stage.patient, "bp-1");
    sent["extension"] = json!([{
        "url": "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice",
        "valueReference": {"reference": format!("Device/{diary}")},
    }]);
    stage.push(&sent).await;
    let held = stage.arrived("Bundle", 1).await;
    let entry = held[0]["entry"].as_array().unwrap();
    let kinds: Vec<&str> = entry.iter().map(|one| one["resource"]["resourceType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Composition", "Patient", "Device", "Observation"]);
    assert_eq!(entry[1]["resource"]["identifier"][0]["value"], "linked-1");
    assert_eq!(entry[3]["resource"]["component"][0]["valueQuantity"]["value"], 138);
    assert_eq!(entry[3]["resource"]["code"]["coding"][0]["version"], "2.72");
    // Without an application nobody made the document.
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.withheld("destination-needs").await;
    assert_eq!(stage.platform.account().await["violationCount"], json!(0));
}

#[tokio::test]
async fn whom_the_swiss_community_does_not_know_nothing_is_told_of() {
    let stage = swiss("761337610000000000").await;
    stage.push(&heart_rate(&stage.patient, "hr-1", 64)).await;
    stage.withheld("destination-context").await;
    assert_eq!(stage.platform.account().await["received"], json!(0));
}

/// A pack of the program's in a folder, to be changed.
fn copied(pack: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/packs").join(pack);
    for entry in std::fs::read_dir(own).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn change(folder: &tempfile::TempDir, file: &str, from: &str, to: &str) {
    let path = folder.path().join(file);
    let before = std::fs::read_to_string(&path).unwrap();
    assert!(before.contains(from), "{file}: {from}");
    std::fs::write(path, before.replace(from, to)).unwrap();
}

#[tokio::test]
async fn a_new_version_takes_over_while_it_serves_and_a_broken_one_does_not() {
    let folder = copied("fi-kanta");
    change(&folder, "pack.toml", "version = \"1.0.0\"", "version = \"1.1.0\"");
    let more = format!("[packs]\nfolders = [{:?}]\nwatch_seconds = 1\n", folder.path());
    let stage = Stage::with("fi-kanta", "persons = 'urn:oid:1.2.250.1'", &more).await;
    let said = async |count: usize| {
        let held = stage.arrived("Observation", count).await;
        held.iter().map(|one| one["text"]["div"].to_string()).collect::<Vec<_>>()
    };
    stage.push(&blood_pressure(&stage.patient, "bp-1")).await;
    assert!(said(1).await[0].contains("Result: "));
    // What is no pack changes nothing; what is one comes into force when its folder has come to rest.
    change(&folder, "pack.toml", "most = 900", "most = \"all\"");
    change(&folder, "pack.toml", "value = \"Result\"", "value = \"Wrong\"");
    stage.push(&blood_pressure(&stage.patient, "bp-2")).await;
    assert!(!said(2).await.iter().any(|text| text.contains("Wrong: ")));
    change(&folder, "pack.toml", "most = \"all\"", "most = 900");
    change(&folder, "pack.toml", "value = \"Wrong\"", "value = \"Value\"");
    change(&folder, "pack.toml", "version = \"1.1.0\"", "version = \"1.2.0\"");
    let mut pushed = 2;
    eventually("the new version is in force", async || {
        pushed += 1;
        stage.push(&blood_pressure(&stage.patient, &format!("bp-{pushed}"))).await;
        said(pushed).await.iter().any(|text| text.contains("Value: ")).then_some(())
    })
    .await;
    // The record says which version shaped what.
    let address = format!("/AuditEvent?patient=Patient/{}&_count=100", stage.patient);
    let recorded = stage.app.get(&address).await.text();
    for version in ["fi-kanta@1.1.0#", "fi-kanta@1.2.0#"] {
        assert!(recorded.contains(version), "{version}: {recorded}");
    }
}
