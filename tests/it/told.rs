//! Destinations are told what they may hold no longer: when a consent is withdrawn, narrowed or at its end, and when a
//! person is erased.

use std::collections::BTreeSet;

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Client, Gateway, Platform, consent, eventually, heart_rate};
use crate::rights::{asks, own_requests};

const DELETES: &str = "on_withdrawal = \"delete\"\non_erasure = \"delete\"";
const ERRORS: &str =
    "on_withdrawal = \"entered-in-error\"\non_erasure = \"entered-in-error\"\nidentity = \"pseudonym\"";

/// A destination of another name.
fn named(platform: &Platform, name: &str, extra: &str) -> String {
    let section = platform.destination(extra);
    section.replace("\"platform\"", &format!("{name:?}")).replace("/platform\"", &format!("/{name}\""))
}

/// A valid weight with an identifier of its own.
pub fn weight(patient: &str, identifier: &str) -> Value {
    let mut reading = heart_rate(patient, identifier, 70);
    reading["code"] = json!({"coding": [{"system": "http://loinc.org", "code": "29463-7"}]});
    reading["valueQuantity"] = json!({"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"});
    reading
}

/// An app that speaks for its persons.
async fn app(gateway: &Gateway) -> Client {
    let app = gateway.app().await;
    own_requests(gateway, &app, &format!("{APP_SCOPES} system/Patient.d")).await
}

/// A person whose heart rates and weights may be collected.
async fn person(app: &Client) -> String {
    let patient = app.person().await;
    let actor = app.actor.clone();
    app.consent(&patient, &[(&actor, &[Action::Collect, Action::Access], &["heart-rate", "weight"])]).await;
    patient
}

async fn sent(app: &Client, reading: &Value) -> String {
    let answer = app.post("/Observation", reading).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.id()
}

/// Waits until a platform holds exactly these.
async fn holds(platform: &Platform, ids: &[&str]) {
    let wanted: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    eventually(&format!("it holds {ids:?}"), async || {
        let held = platform.held().await;
        let held: BTreeSet<String> = held.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        (held == wanted).then_some(())
    })
    .await;
}

/// Waits until the person's log has as many lines of what was taken back.
async fn recalls(app: &Client, patient: &str, count: usize) -> Vec<Value> {
    let address = app.root().to_owned() + &format!("/persons/{patient}/access-log?_count=200");
    eventually("it is in the log", async || {
        let log = app.get(&address).await.json();
        let lines = log["entries"].as_array().unwrap_or_else(|| panic!("{log}"));
        let told: Vec<Value> = lines.iter().filter(|line| line["act"] == "recall").cloned().collect();
        (told.len() == count).then_some(told)
    })
    .await
}

/// Nothing waits for the destination, and its feed is worked off.
async fn at_rest(gateway: &Gateway, destination: &str) {
    eventually("it is at rest", async || {
        let backlog = gateway.store().backlog(destination).await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consent_permits_no_more_is_taken_back_and_nothing_else() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination(DELETES)).await;
    let app = app(&gateway).await;
    let (patient, other) = (person(&app).await, person(&app).await);
    let both: &[&str] = &["heart-rate", "weight"];
    let given = app.consent(&patient, &[("Organization/platform", &[Action::Disclose], both)]).await;
    app.consent(&other, &[("Organization/platform", &[Action::Disclose], both)]).await;
    let rate = sent(&app, &heart_rate(&patient, "rate", 70)).await;
    let weight = sent(&app, &weight(&patient, "weight")).await;
    let others = sent(&app, &heart_rate(&other, "others", 80)).await;
    holds(&platform, &[&rate, &weight, &others]).await;

    // Narrowed to weights.
    let mut narrowed = consent(&patient, &[("Organization/platform", &[Action::Disclose], &["weight"])]);
    narrowed["id"] = json!(given);
    assert_eq!(app.put(&format!("/Consent/{given}"), &narrowed).await.status, 200);
    holds(&platform, &[&weight, &others]).await;
    let told = recalls(&app, &patient, 1).await;
    assert_eq!(told[0]["resources"], json!([format!("Observation/{rate}/_history/1")]));
    assert_eq!((&told[0]["done"], &told[0]["who"]["id"]), (&json!(true), &json!("platform")));
    assert_eq!(told[0]["who"]["kind"], "destination");

    // What changes nothing there is told to nobody again.
    app.consent(&patient, &[("Organization/clinic", &[Action::Access], both)]).await;
    assert_eq!(app.post(&format!("/Consent/{given}/$revoke"), &json!({})).await.status, 200);
    holds(&platform, &[&others]).await;
    let told = recalls(&app, &patient, 2).await;
    assert_eq!(told[0]["resources"], json!([format!("Observation/{weight}/_history/1")]));
    at_rest(&gateway, "platform").await;
    assert_eq!(platform.account().await["takenBack"], 2);

    // Given again, a correction brings it back, and a withdrawal takes that back as well.
    let mut again = consent(&patient, &[("Organization/platform", &[Action::Disclose], both)]);
    again["id"] = json!(given);
    assert_eq!(app.put(&format!("/Consent/{given}"), &again).await.status, 200);
    let mut corrected = app.get(&format!("/Observation/{rate}")).await.json();
    corrected["valueQuantity"]["value"] = json!(71);
    assert_eq!(app.put(&format!("/Observation/{rate}"), &corrected).await.status, 200);
    holds(&platform, &[&others, &rate]).await;
    app.withdraw(&given).await;
    holds(&platform, &[&others]).await;
    let told = recalls(&app, &patient, 3).await;
    assert_eq!(told[0]["resources"], json!([format!("Observation/{rate}/_history/2")]));
}

/// The platform is away when it is withdrawn, and so is the gateway for a while: the row in the feed is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_when_it_is_back_and_in_order() {
    let mut platform = Platform::start(&[]).await;
    let sections = platform.destination(&DELETES.replace("delete", "entered-in-error"));
    let gateway = Gateway::with(&sections).await;
    let app = app(&gateway).await;
    let (patient, again) = (person(&app).await, person(&app).await);
    let mut given = Vec::new();
    for person in [&patient, &again] {
        given.push(app.consent(person, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await);
    }
    let first = sent(&app, &heart_rate(&patient, "1", 70)).await;
    let second = sent(&app, &heart_rate(&again, "2", 70)).await;
    holds(&platform, &[&first, &second]).await;
    at_rest(&gateway, "platform").await;
    platform.leave().await;
    app.withdraw(&given[0]).await;
    app.withdraw(&given[1]).await;
    eventually("both wait", async || (gateway.store().backlog("platform").await.unwrap().retries == 2).then_some(()))
        .await;
    // What is permitted again by the time stays there.
    app.consent(&again, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    let (keys, id) = (app.key.clone(), app.id.clone());
    let directory = gateway.stop().await;
    let gateway = Gateway::in_directory(directory, &sections).await;
    platform.come_back().await;
    let mut app = Client { key: keys, id, base: gateway.base.clone(), http: gateway.http.clone(), ..app };
    app.sign_in().await;
    recalls(&app, &patient, 1).await;
    at_rest(&gateway, "platform").await;
    assert_eq!(platform.account().await["takenBack"], 1);
    recalls(&app, &again, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_ends_by_itself_is_a_withdrawal() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination(DELETES)).await;
    let app = app(&gateway).await;
    let patient = person(&app).await;
    let mut ending = consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]);
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(6);
    ending["provision"]["period"] = json!({"end": format!("{end:.3}")});
    assert_eq!(app.post("/Consent", &ending).await.status, 201);
    let reading = sent(&app, &heart_rate(&patient, "1", 70)).await;
    holds(&platform, &[&reading]).await;
    holds(&platform, &[]).await;
    let told = recalls(&app, &patient, 1).await;
    assert_eq!(told[0]["resources"], json!([format!("Observation/{reading}/_history/1")]));
}

/// Each by the name under which it holds it: nothing that was shredded is needed for that.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_reaches_who_has_the_data() {
    let (mut open, hidden, deaf) = (Platform::start(&[]).await, Platform::start(&[]).await, Platform::start(&[]).await);
    let sections = [open.destination(DELETES), named(&hidden, "hidden", ERRORS), named(&deaf, "deaf", "")].concat();
    let gateway = Gateway::with(&sections).await;
    let app = app(&gateway).await;
    let (patient, other) = (person(&app).await, person(&app).await);
    for person in [&patient, &other] {
        let to = |actor| (actor, &[Action::Disclose][..], &["heart-rate"][..]);
        app.consent(person, &["Organization/platform", "Organization/hidden", "Organization/deaf"].map(to)).await;
    }
    let hers = sent(&app, &heart_rate(&patient, "1", 70)).await;
    let others = sent(&app, &heart_rate(&other, "2", 70)).await;
    holds(&open, &[&hers, &others]).await;
    holds(&deaf, &[&hers, &others]).await;
    let hidden_names =
        eventually("it arrives under names", async || Some(hidden.held().await).filter(|held| held.len() == 2)).await;
    open.leave().await;

    let address = format!("/Patient/{patient}/$erase");
    let receipt = asks(&app, "POST", &address).await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    let receipt = receipt.json();
    let told_of = |receipt: &Value, name: &str| {
        let all = receipt["recipients"].as_array().unwrap();
        all.iter().find(|one| one["destination"] == name).unwrap_or_else(|| panic!("{receipt}")).clone()
    };
    let deaf_one = json!({"destination": "deaf", "told": false, "by": "the operator"});
    assert_eq!(told_of(&receipt, "deaf"), deaf_one);
    let waiting = json!({"destination": "platform", "told": false, "by": "the gateway", "how": "delete"});
    assert_eq!(told_of(&receipt, "platform"), waiting);
    assert!(receipt["kept"].to_string().contains("until these were told"), "{receipt}");
    open.come_back().await;
    let told = eventually("the receipt says that both were told", async || {
        let receipt = asks(&app, "POST", &address).await.json();
        let both = ["platform", "hidden"].iter().all(|name| told_of(&receipt, name)["told"] == true);
        both.then_some(receipt)
    })
    .await;
    assert!(told_of(&told, "platform")["on"].as_str().unwrap().ends_with('Z'));
    assert_eq!(told_of(&told, "deaf"), deaf_one);
    assert_eq!(open.account().await["takenBack"], 1);
    // Under names there: hers is emptied, the other's stays as it was.
    let left = hidden.held().await;
    for was in &hidden_names {
        let is = left.iter().find(|is| is["id"] == was["id"]).unwrap();
        let emptied = is["status"] == "entered-in-error";
        assert_eq!(is == was, !emptied, "{is}");
        assert!(!emptied || is["valueQuantity"].is_null() && is["subject"].is_null(), "{is}");
    }
    assert_eq!(left.iter().filter(|is| is["status"] == "entered-in-error").count(), 1);
    holds(&deaf, &[&hers, &others]).await;
    assert_eq!(asks(&app, "GET", &format!("/Patient/{other}/$export-data")).await.status, 200);
}

/// What was on its way when the person was erased may have arrived: the receipt says so, and it is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_reaches_what_is_on_its_way() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination(DELETES)).await;
    let app = app(&gateway).await;
    let patient = person(&app).await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    platform.fault("hang", Some(1)).await;
    let reading = sent(&app, &heart_rate(&patient, "1", 70)).await;
    holds(&platform, &[&reading]).await;
    let receipt = asks(&app, "POST", &format!("/Patient/{patient}/$erase")).await.json();
    let waiting = json!([{"destination": "platform", "told": false, "by": "the gateway", "how": "delete"}]);
    assert_eq!(receipt["recipients"], waiting, "{receipt}");
    assert!(receipt["kept"].to_string().contains("until these were told"), "{receipt}");
}

/// What is asked beforehand, and what the page shows, is what will be: by what name it goes out, and that nothing does.
#[tokio::test(flavor = "multi_thread")]
async fn the_person_sees_beforehand_who_learns_what() {
    let (open, hidden) = (Platform::start(&[]).await, Platform::start(&[]).await);
    let sections = [open.destination(DELETES), named(&hidden, "hidden", "identity = \"pseudonym\"")].concat();
    let gateway = Gateway::with(&sections).await;
    let app = gateway.registered("app", APP_SCOPES, json!({"visits": true, "purposes": ["TREAT", "PATRQT"]})).await;
    let patient = person(&app).await;
    let to = |actor| (actor, &[Action::Disclose][..], &["heart-rate"][..]);
    app.consent(&patient, &["Organization/platform", "Organization/hidden"].map(to)).await;
    let mut reading = heart_rate(&patient, "1", 70);
    reading["id"] = json!("o1");
    let question = json!({"resourceType": "Parameters", "parameter": [
        {"name": "patient", "valueReference": {"reference": format!("Patient/{patient}")}},
        {"name": "resource", "resource": reading},
    ]});
    let asked = async || {
        let answer = app.post("/Consent/$evaluate", &question).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let parts = answer["parameter"].as_array().unwrap().clone();
        parts
            .into_iter()
            .filter(|part| part["name"] == "destination")
            .map(|part| part["part"].clone())
            .collect::<Vec<_>>()
    };
    let of = |parts: &Value, name: &str| {
        parts.as_array().unwrap().iter().find(|part| part["name"] == name).cloned().unwrap_or_default()
    };
    let told = asked().await;
    assert_eq!((told.len(), of(&told[0], "identity")), (2, Value::Null));
    assert_eq!(of(&told[1], "identity")["valueCode"], "pseudonym");
    let sent = of(&of(&told[1], "resource")["part"], "sent")["resource"].clone();
    assert_eq!(
        (&sent["subject"]["reference"], &sent["identifier"]),
        (&json!("Patient/name-of-the-person"), &Value::Null)
    );

    let restricted = asks(&app, "POST", &format!("/Patient/{patient}/$restrict")).await;
    assert_eq!(restricted.status, 200, "{}", restricted.text());
    for destination in asked().await {
        assert_eq!(of(&destination, "decision")["valueCode"], "deny");
        assert_eq!(of(&destination, "reason")["valueCode"], "restricted");
    }
    let page = crate::person::page(&gateway, &app, &patient).await;
    for sentence in [
        "The use of your data is restricted at your wish",
        "It knows you by a name of its own",
        "it is told to delete what it has received of that",
        "this gateway does not tell it",
    ] {
        assert!(page.contains(sentence), "{sentence}: {page}");
    }
}

/// Where the destination will not hear of it, the person is told, and the operator may try once more.
#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_told_is_named() {
    let platform = Platform::start(&["masked"]).await;
    let gateway = Gateway::with(&platform.destination(&DELETES.replace("delete", "entered-in-error"))).await;
    let app = app(&gateway).await;
    let patient = person(&app).await;
    let given = app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    let reading = sent(&app, &heart_rate(&patient, "1", 70)).await;
    holds(&platform, &[&reading]).await;
    app.withdraw(&given).await;
    let told = recalls(&app, &patient, 1).await;
    assert_eq!((&told[0]["done"], &told[0]["issues"]), (&json!(false), &json!(["recipient-untold"])));
    let letters = gateway.store().dead_letters(Some("platform")).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(&*letters[0].kind, "Consent");
    assert_eq!(gateway.store().redrive("platform", None).await.unwrap(), 1);
    recalls(&app, &patient, 2).await;

    let address = format!("/Patient/{patient}/$erase");
    let refused = eventually("the receipt says that it was refused", async || {
        let receipt = asks(&app, "POST", &address).await.json();
        (receipt["recipients"][0]["by"] == "the operator").then(|| receipt["recipients"][0].clone())
    })
    .await;
    assert_eq!((&refused["told"], &refused["refused"]), (&json!(false), &json!(1)));
    let given_up = gateway.store().remnants_given_up(None).await.unwrap();
    assert_eq!((given_up.len(), given_up[0].given_up), (1, 1));
    assert_eq!(gateway.store().redrive("platform", None).await.unwrap(), 1);
}
