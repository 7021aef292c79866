//! `Consent/$evaluate`: who hears what of the consents of a person, and when.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{Answer, Client, Gateway, Platform, consent, heart_rate};

const BOTH: &[Action] = &[Action::Collect, Action::Access];
const EVALUATE: &str = "/Consent/$evaluate";

fn call(parameters: &[(&str, Value)]) -> Value {
    let parameter = |(name, value): &(&str, Value)| {
        let kind = match *name {
            "patient" | "actor" => "valueReference",
            "consent" | "resource" => "resource",
            "now" => "valueDateTime",
            "stored" => "valueBoolean",
            _ => "valueCode",
        };
        let value = if kind == "valueReference" { json!({"reference": value}) } else { value.clone() };
        json!({"name": name, kind: value})
    };
    json!({"resourceType": "Parameters", "parameter": parameters.iter().map(parameter).collect::<Vec<_>>()})
}

async fn asked(client: &Client, parameters: &[(&str, Value)]) -> Value {
    let answer = client.post(EVALUATE, &call(parameters)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The parts of a name, of an answer or of one of its parts.
fn parts<'v>(told: &'v Value, name: &str) -> Vec<&'v Value> {
    let listed = told["parameter"].as_array().or_else(|| told["part"].as_array());
    listed.into_iter().flatten().filter(|part| part["name"] == name).collect()
}

/// Its first value of a name.
fn value(told: &Value, name: &str) -> String {
    let part = parts(told, name).first().copied().cloned().unwrap_or_default();
    let value = part.as_object().into_iter().flatten().find(|(name, _)| name.starts_with("value"));
    value.map_or_else(String::new, |(_, value)| {
        value.as_str().or(value["reference"].as_str()).map_or_else(|| value.to_string(), str::to_owned)
    })
}

fn outcome(told: &Value) -> String {
    format!("{} {}", value(told, "decision"), value(told, "reason"))
}

fn patient(id: &str) -> (&'static str, Value) {
    ("patient", json!(format!("Patient/{id}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_who_would_get_what_before_agreeing() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("categories = [\"heart-rate\", \"weight\"]")).await;
    let app = gateway.app().await;
    let person = app.person().await;
    let pressure = json!({"resourceType": "Observation", "id": "o2", "status": "final",
        "subject": {"reference": format!("Patient/{person}")},
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]}});
    let mut heart = heart_rate(&person, "1", 70);
    heart["id"] = json!("o1");
    let nothing = asked(&app, &[patient(&person), ("resource", heart.clone())]).await;
    assert_eq!(outcome(&nothing), "deny no-consent");
    let proposed = consent(
        &person,
        &[("Organization/platform", &[Action::Disclose], &["heart-rate", "blood-pressure"]), (&app.actor, BOTH, &[])],
    );
    let told = asked(&app, &[("consent", proposed.clone()), ("resource", heart.clone()), ("resource", pressure)]).await;
    assert_eq!(outcome(&told), "permit permitted");
    let destination = parts(&told, "destination")[0];
    assert_eq!(value(destination, "name"), "platform");
    let each: Vec<String> = parts(destination, "resource").into_iter().map(outcome).collect();
    // It is permitted, and still not sent there.
    assert_eq!(each, ["permit permitted", "deny not-routed"]);
    // What is proposed is not on file.
    assert_eq!(outcome(&asked(&app, &[patient(&person)]).await), "deny no-consent");
    // Together with what is on file: a refusal there stands.
    let mut refusal = consent(&person, &[]);
    refusal["provision"] = json!({"type": "deny"});
    refusal.as_object_mut().unwrap().remove("policyRule");
    refusal["policy"] = json!([{"uri": "urn:test:policy"}]);
    let refused = app.post("/Consent", &refusal).await;
    assert_eq!(refused.status, 201, "{}", refused.text());
    let question = [("consent", proposed), ("resource", heart), ("stored", json!(true))];
    let told = asked(&app, &question).await;
    assert_eq!(outcome(&told), "deny denied");
    assert_eq!(value(&told, "basis"), format!("Consent/{}/_history/1", refused.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_of_then_or_now() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let person = app.person().await;
    let instant = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
    let now = || jiff::Timestamp::now().as_millisecond();
    let before = now();
    let mut given = consent(&person, &[(&app.actor, BOTH, &["heart-rate"])]);
    let ends = before / 1000 * 1000 + 3_600_000;
    given["provision"]["period"] = json!({"end": instant(ends)});
    let recorded = app.post("/Consent", &given).await;
    assert_eq!(recorded.status, 201, "{}", recorded.text());
    let heart = heart_rate(&person, "1", 70);
    let at = async |now: i64| {
        let question = [patient(&person), ("resource", heart.clone()), ("now", json!(instant(now)))];
        asked(&app, &question).await
    };
    let given_ms = now();
    let told = asked(&app, &[patient(&person), ("resource", heart.clone())]).await;
    assert_eq!(outcome(&told), "permit permitted");
    assert_eq!(value(&told, "validUntil"), instant(ends + 1000).replace('Z', ".000Z"));
    assert_eq!(outcome(&at(before - 60_000).await), "deny no-consent");
    let later = at(ends + 2000).await;
    assert_eq!(outcome(&later), "deny no-consent");
    let said = parts(parts(&later, "resource")[0], "consent")[0];
    assert_eq!((value(said, "says"), value(said, "unmet")), ("nothing".to_owned(), "period".to_owned()));
    assert_eq!(app.withdraw(&recorded.id()).await.status, 200);
    // What was decided then can still be told, by the version that stood.
    let told = at(given_ms).await;
    assert_eq!(outcome(&told), "permit permitted");
    assert_eq!(value(&told, "basis"), format!("Consent/{}/_history/1", recorded.id()));
    assert_eq!(outcome(&asked(&app, &[patient(&person), ("resource", heart.clone())]).await), "deny no-consent");
}

/// To whoever did not register a person, a question tells what trying would tell, and every person looks alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_tells_no_more_than_trying_would() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", crate::fixture::APP_SCOPES).await;
    let permits = app.person().await;
    app.consent(&permits, &[("Organization/clinic", &[Action::Access], &["heart-rate"])]).await;
    let refuses = app.consenting_person().await;
    let silent = app.person().await;
    let bare = |told: &Value| {
        let names = told["parameter"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.join(" ")
    };
    let ask = async |person: &str| {
        let resource = heart_rate(person, "1", 70);
        asked(&clinic, &[patient(person), ("resource", resource)]).await
    };
    let told = ask(&permits).await;
    assert_eq!((outcome(&told).as_str(), bare(&told).as_str()), ("permit permitted", "decision now reason resource"));
    for person in [refuses.as_str(), silent.as_str(), "nobody"] {
        let mut told = ask(person).await;
        assert_eq!(outcome(&told), "deny not-permitted", "{person}");
        assert_eq!(bare(&told), "decision now reason resource", "{person}");
        // But for the time and the person's id, one answer is the other.
        let now = told["parameter"].as_array_mut().unwrap().iter_mut().find(|part| part["name"] == "now").unwrap();
        now["valueInstant"] = json!("");
        let text = told.to_string();
        assert!(!text.contains("consent\"") && !text.contains("basis") && !text.contains("unmet"), "{text}");
    }
    for (name, more) in [
        ("of another", ("actor", json!("Organization/app"))),
        ("for another purpose", ("purpose", json!("HRESCH"))),
        ("at another time", ("now", json!("2026-01-01"))),
        ("under other codes", ("policyCode", json!("x"))),
    ] {
        let answer = clinic.post(EVALUATE, &call(&[patient(&permits), more])).await;
        assert_eq!((answer.status, answer.issues()), (403, vec!["scope-insufficient".to_owned()]), "{name}");
    }
    // The person hears of it, and not the one who asked.
    let events = |client: &Client, person: &str| {
        let (client, path) = (client.clone(), format!("/AuditEvent?patient=Patient/{person}"));
        async move { client.find(&path).await.1.len() }
    };
    assert_eq!(events(&clinic, &silent).await, 0);
    assert_eq!(events(&clinic, "nobody").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_refused() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let person = app.consenting_person().await;
    let check = |name: &str, answer: &Answer| {
        assert_eq!((answer.status, answer.issues()), (400, vec!["operation-parameter".to_owned()]), "{name}");
        assert!(!answer.text().contains("XMARKERX"), "{name}");
    };
    for (name, parameters) in [
        ("no patient", call(&[])),
        ("no patient of ours", call(&[("patient", json!("https://other.example/fhir/Patient/XMARKERX"))])),
        ("unknown parameter", call(&[patient(&person), ("XMARKERX", json!("x"))])),
        ("unknown action", call(&[patient(&person), ("action", json!("XMARKERX"))])),
        ("no time", call(&[patient(&person), ("now", json!("XMARKERX"))])),
        ("not Parameters", json!({"resourceType": "Patient", "active": true})),
        (
            "another type of value",
            json!({"resourceType": "Parameters", "parameter": [{"name": "code", "valueString": "XMARKERX"}]}),
        ),
        ("no resource", json!({"resourceType": "Parameters", "parameter": [{"name": "consent", "valueCode": "x"}]})),
    ] {
        check(name, &app.post(EVALUATE, &parameters).await);
    }
    // It has two formats, like everything else.
    let xml = format!(
        r#"<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="patient"/><valueReference><reference value="Patient/{person}"/></valueReference></parameter></Parameters>"#
    );
    let headers = [("content-type", "application/fhir+xml"), ("accept", "application/fhir+xml")];
    let answer = app.raw("POST", EVALUATE, &headers, xml).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(r#"<name value="decision"/><valueCode value="partial"/>"#), "{}", answer.text());
}
