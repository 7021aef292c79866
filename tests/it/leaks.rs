//! Ways around a compartment that other servers were found open to: includes, reverse includes, chains, `_has`, wildcards,
//! iteration, `focus`, devices of others, modifiers, ids and identifiers. Nothing of a person comes back to a client that the
//! person's consent does not let see it, and what is withheld is not even counted.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Client, Gateway, heart_rate};

/// A person with a reading and a device, and what all of that is known by.
struct Person {
    id: String,
    reading: String,
    device: String,
}

async fn person(app: &Client, name: &str, may_see: bool) -> Person {
    let patient = json!({"resourceType": "Patient", "active": true, "name": [{"family": format!("{name}MARKER")}]});
    let id = app.post("/Patient", &patient).await.id();
    let actor = app.actor.clone();
    let collects = (actor.as_str(), &[Action::Collect][..], &["heart-rate"][..]);
    let sees = ("Organization/clinic", &[Action::Access][..], &["heart-rate"][..]);
    let permits = [collects, sees];
    app.consent(&id, if may_see { &permits } else { &permits[..1] }).await;
    let device = json!({
        "resourceType": "Device", "patient": {"reference": format!("Patient/{id}")},
        "identifier": [{"system": "urn:test:devices", "value": format!("{name}MARKER")}],
    });
    let device = app.post("/Device", &device).await.id();
    let mut reading = heart_rate(&id, &format!("{name}MARKER"), 70);
    reading["device"] = json!({"reference": format!("Device/{device}")});
    let reading = app.post("/Observation", &reading).await.id();
    Person { id, reading, device }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_around_leads_to_what_is_withheld() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let (shown, hidden) = (person(&app, "SHOWN", true).await, person(&app, "HIDDEN", false).await);
    let Person { id, reading, device } = &hidden;
    let queries = [
        "Observation".to_owned(),
        "Observation?_include=Observation:subject".to_owned(),
        "Observation?_include=Observation:device".to_owned(),
        "Observation?_include=Observation:focus".to_owned(),
        "Observation?_include=*".to_owned(),
        "Observation?_include=Observation:*".to_owned(),
        "Observation?_include:iterate=Observation:device&_include:iterate=Device:patient".to_owned(),
        "Patient?_revinclude=Observation:subject".to_owned(),
        "Patient?_revinclude=Observation:focus".to_owned(),
        "Patient?_revinclude=*".to_owned(),
        "Patient?_revinclude:iterate=*:*".to_owned(),
        "Patient?_has:Observation:patient:code=8867-4".to_owned(),
        "Patient?_has:Observation:subject:_id=".to_owned() + reading,
        "Observation?subject.family=HIDDENMARKER".to_owned(),
        "Observation?subject:Patient.family=HIDDENMARKER".to_owned(),
        "Observation?patient.family=HIDDENMARKER".to_owned(),
        "Observation?device.identifier=HIDDENMARKER".to_owned(),
        format!("Observation?patient={id}"),
        format!("Observation?patient=Patient/{id},Patient/{}", shown.id),
        format!("Observation?subject=Patient/{id}"),
        format!("Observation?focus=Patient/{id}"),
        format!("Observation?device=Device/{device}"),
        format!("Observation?_id={reading}"),
        format!("Observation?_id={reading},{}", shown.reading),
        "Observation?identifier=urn:test:readings|HIDDENMARKER".to_owned(),
        "Observation?patient:missing=false".to_owned(),
        "Observation?focus:missing=true".to_owned(),
        "Observation?code:not=1".to_owned(),
        "Observation?_sort=-date&_count=1".to_owned(),
        "Observation?_summary=count".to_owned(),
        "Observation?_elements=subject".to_owned(),
        "Observation?_contained=both".to_owned(),
        "Observation?_list=1".to_owned(),
        "Observation?_filter=subject%20ne%20x".to_owned(),
        "Patient".to_owned(),
        format!("Patient?_id={id}"),
        "Patient?family=HIDDENMARKER".to_owned(),
        format!("Patient?link=Patient/{id}"),
        "Device".to_owned(),
        format!("Device?patient={id}"),
        format!("Device?_id={device}"),
        "Device?patient:missing=true".to_owned(),
        "Device?patient:missing=false".to_owned(),
        "Device?identifier=urn:test:devices|HIDDENMARKER".to_owned(),
        "Device?_include=Device:patient".to_owned(),
        format!("Consent?patient={id}"),
        "Consent".to_owned(),
        format!("AuditEvent?patient={id}"),
        format!("Provenance?target=Observation/{reading}"),
        format!("Patient/{id}"),
        format!("Patient/{id}/_history/1"),
        format!("Patient/{id}/Observation"),
        format!("Patient/{id}/*"),
        format!("Patient/{id}/$everything"),
        format!("Observation/{reading}"),
        format!("Observation/{reading}/_history"),
        format!("Observation/{reading}/_history/1"),
        "Observation/_history".to_owned(),
        "Patient/_history?_count=1".to_owned(),
        "Provenance/_history".to_owned(),
        format!("Observation/$lastn?patient={id}"),
        format!("Observation/$stats?subject=Patient/{id}&code=8867-4&statistic=count,total-count,average"),
        format!("Patient?_has:Observation:patient:_id={reading}"),
        format!("Observation?subject:Patient._id={id}"),
        format!("Observation?device._id={device}"),
        format!("Observation?_has:Provenance:target:agent=Patient/{id}"),
        "Observation?_revinclude=Provenance:target&_include:iterate=*".to_owned(),
        "Device?_revinclude:iterate=Observation:device&_include:iterate=Observation:patient".to_owned(),
        "Observation?_sort=subject".to_owned(),
        "Observation?_sort=-value-quantity,_id&_count=1&_total=accurate".to_owned(),
        "Patient?_summary=text".to_owned(),
        format!("Observation/{reading}/$validate"),
        format!("Device/{device}"),
        "_history".to_owned(),
        "?_type=Observation,Patient".to_owned(),
    ];
    let mut found = Vec::new();
    for query in &queries {
        for handling in ["handling=strict", "handling=lenient"] {
            let answer = clinic.raw("GET", &format!("/{query}"), &[("prefer", handling)], "").await;
            let text = answer.text();
            assert!(answer.status < 500, "{query}: {text}");
            if answer.status >= 400 {
                continue;
            }
            // The query itself comes back in the link to the page.
            let mut bundle: Value = answer.json();
            bundle["link"] = json!(null);
            let text = bundle.to_string();
            let leaks = [id, reading, device].into_iter().any(|known| text.contains(known.as_str()));
            if leaks || text.contains("HIDDENMARKER") {
                found.push(format!("{query} ({handling})"));
            }
            let listed = bundle["entry"].as_array().map_or(0, Vec::len) as u64;
            if let Some(total) = bundle["total"].as_u64().filter(|total| *total > 1.max(listed)) {
                found.push(format!("{query} ({handling}) counts {total}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    // What is permitted is there all the while.
    assert_eq!(clinic.find("/Observation").await, (Some(1), vec![shown.reading.clone()]));
    // Together in a Bundle they are no more.
    let entries: Vec<Value> = queries.iter().map(|query| json!({"request": {"method": "GET", "url": query}})).collect();
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
    let mut answer = clinic.post("", &bundle).await.json();
    for entry in answer["entry"].as_array_mut().unwrap() {
        entry["resource"]["link"] = json!(null);
    }
    let text = answer.to_string();
    let known = [id, reading, device].map(String::as_str);
    let leaks = ["HIDDENMARKER"].into_iter().chain(known).filter(|known| text.contains(known));
    assert_eq!(leaks.count(), 0);
}

/// A condition finds what may be seen: what a client may only collect it does not hear again by sending something else.
#[tokio::test(flavor = "multi_thread")]
async fn no_condition_gives_back_what_is_withheld() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    app.consent(&patient, &[(app.actor.as_str(), &[Action::Collect], &["heart-rate"])]).await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "one", 71)).await.status, 201);
    for condition in ["identifier=urn:test:readings|one".to_owned(), format!("patient={patient}&code=8867-4")] {
        let headers = [
            ("content-type", "application/fhir+json"),
            ("prefer", "return=representation"),
            ("if-none-exist", condition.as_str()),
        ];
        let other = heart_rate(&patient, "one", 72).to_string();
        let answer = app.raw("POST", "/Observation", &headers, other.clone()).await;
        assert_eq!((answer.status, answer.issues()), (409, vec!["duplicate-identifier".to_owned()]), "{condition}");
        let request = json!({"method": "POST", "url": "Observation", "ifNoneExist": condition});
        let entry = json!({"resource": heart_rate(&patient, "one", 72), "request": request});
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).to_string();
        let answer = app.raw("POST", "", &headers[..2], bundle).await;
        assert_eq!(answer.status, 409, "{condition}: {}", answer.text());
        assert!(!answer.text().contains("\"value\":71"), "{condition}");
        // The same again is no other, and says what was sent.
        let same = app.raw("POST", "/Observation", &headers, heart_rate(&patient, "one", 71).to_string()).await;
        assert_eq!(same.status, 200, "{}", same.text());
    }
}

/// What is withheld must not be told by how much of it there is: neither where it alone would be too much to look at, nor where
/// what the client may see comes next to that by itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_budget_tells_of_what_is_withheld() {
    let gateway = Gateway::with("[exchange]\nsearch_budget = 10").await;
    let app = gateway.app().await;
    let other = gateway.client("other", APP_SCOPES).await;
    let one = |person: &str, index: usize| heart_rate(person, &format!("{person}-{index}"), 70);
    let hidden = app.consenting_person().await;
    let collected = app.person().await;
    app.consent(&collected, &[(app.actor.as_str(), &[Action::Collect], &["heart-rate"])]).await;
    let own = other.consenting_person().await;
    // One whose data is seen in part: a category, and not this one.
    let partly = app.consenting_person().await;
    app.consent(&partly, &[(other.actor.as_str(), &[Action::Access], &["weight"])]).await;
    let mut readings = Vec::new();
    for index in 0..12 {
        readings.push(app.post("/Observation", &one(&hidden, index)).await.id());
        assert_eq!(app.post("/Observation", &one(&partly, index)).await.status, 201);
        assert_eq!(app.post("/Observation", &one(&collected, index)).await.status, 201);
    }
    for index in 0..9 {
        assert_eq!(other.post("/Observation", &one(&own, index)).await.status, 201);
    }
    let absent = "000512bf-5f28-8a77-a1f8-000000000000";
    let listed = readings.join(",");
    let queries = [
        "Observation?patient=ID".to_owned(),
        format!("Observation?patient={own},ID"),
        format!("Observation?patient={own},ID&_summary=count"),
        format!("Observation?patient={own},ID&_sort=code&_count=1&_total=accurate"),
        format!("Observation?patient={own},ID&value-quantity=gt5000"),
        format!("Observation?patient={own},ID&_sort=-_lastUpdated&_summary=count"),
        "Observation?patient=ID&code=8867-4&_sort=-date".to_owned(),
        "Observation?patient._id=ID".to_owned(),
        "Observation?patient=ID&_lastUpdated=gt2020-01-01&_summary=count".to_owned(),
        format!("Observation?patient={own}&_has:Provenance:target:agent=Patient/ID"),
        "Patient?_id=ID&_has:Observation:patient:code=8867-4".to_owned(),
        "Patient?_id=ID&_revinclude=Observation:patient".to_owned(),
        "Provenance?patient=ID".to_owned(),
        "Patient/ID/Observation".to_owned(),
        "Patient/ID/$everything".to_owned(),
        "Patient/ID/$summary".to_owned(),
        "Observation/$lastn?patient=ID".to_owned(),
        "Observation/$stats?subject=Patient/ID&code=8867-4&statistic=count".to_owned(),
        "Device?patient=ID".to_owned(),
    ];
    let answer = async |query: &str, id: &str| {
        let answer = other.get(&format!("/{}", query.replace("ID", id))).await;
        let mut body = answer.json();
        body["link"] = Value::Null;
        body["id"] = Value::Null;
        body["meta"] = Value::Null;
        body["timestamp"] = Value::Null;
        (answer.status, body.to_string().replace(id, "ID"))
    };
    for query in &queries {
        let expected = answer(query, absent).await;
        for person in [&hidden, &collected, &partly] {
            assert_eq!(answer(query, person).await, expected, "{query}");
        }
    }
    // Resources that are named, and the history of one.
    let named = other.find(&format!("/Observation?_id={listed}")).await;
    assert_eq!(named, (Some(0), Vec::new()));
    let mut restated = one(&hidden, 0);
    restated["id"] = json!(readings[0]);
    for value in 0..12 {
        restated["valueQuantity"]["value"] = json!(60 + value);
        let path = format!("/Observation/{}", readings[0]);
        assert_eq!(app.put(&path, &restated).await.status, 200);
    }
    assert_eq!(other.get(&format!("/Observation/{}/_history", readings[0])).await.status, 404);
    // The budget holds where it tells nothing of a person: for what is seen, and for searches that are bound to nobody.
    for index in 9..12 {
        assert_eq!(other.post("/Observation", &one(&own, index)).await.status, 201);
    }
    for query in [format!("Observation?patient={own}&_summary=count"), "Observation?_summary=count".to_owned()] {
        assert_eq!(other.get(&format!("/{query}")).await.issues(), ["search-too-costly"], "{query}");
    }
}
