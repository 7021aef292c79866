//! Searching: what is found, in which order, in pages, and what is never counted.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{ANY_ID, Client, Gateway, heart_rate, ids};

fn observation(patient: &str, name: &str, code: &str, unit: &str, value: f64, time: &Value) -> Value {
    let mut body = heart_rate(patient, name, 1);
    body["id"] = json!(name);
    body["code"]["coding"][0]["code"] = json!(code);
    body["valueQuantity"] = json!({"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit});
    body.as_object_mut().unwrap().remove("effectiveDateTime");
    for (name, value) in time.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

const BOTH: &[Action] = &[Action::Collect, Action::Access];

/// A person with a handful of measurements whose ids say what they are.
async fn furnished(app: &Client) -> String {
    let patient = app.person().await;
    let actor = app.actor.clone();
    app.consent(&patient, &[(&actor, BOTH, &["heart-rate", "weight", "sleep"])]).await;
    let at = |time: &str| json!({"effectiveDateTime": time});
    for (name, code, unit, value, time) in [
        ("hr-14", "8867-4", "/min", 60.0, at("2026-01-14T23:59:59Z")),
        ("hr-15", "8867-4", "/min", 61.0, at("2026-01-15T08:30:00+01:00")),
        ("hr-16", "8867-4", "/min", 62.0, at("2026-01-16T00:00:00Z")),
        ("kg-15", "29463-7", "kg", 72.5, at("2026-01-15")),
    ] {
        let answer =
            app.put(&format!("/Observation/{name}"), &observation(&patient, name, code, unit, value, &time)).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
    let night = json!({"effectivePeriod": {"start": "2026-01-14T22:30:00Z", "end": "2026-01-15T06:10:00Z"}});
    let mut sleep = observation(&patient, "sleep-14", "93832-4", "h", 7.6, &night);
    sleep["category"][0]["coding"][0]["code"] = json!("activity");
    sleep["status"] = json!("preliminary");
    let answer = app.put("/Observation/sleep-14", &sleep).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    patient
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_find_what_they_ask_for() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = furnished(&app).await;
    let base = &gateway.base;
    let all = "hr-14 hr-15 hr-16 kg-15 sleep-14";
    let mut complaints = Vec::new();
    for (query, expected) in [
        ("", all),
        ("patient=PATIENT", all),
        ("patient=Patient/PATIENT", all),
        ("patient=BASE/Patient/PATIENT", all),
        ("subject=Patient/PATIENT", all),
        ("subject:Patient=PATIENT", all),
        ("patient=nobody", ""),
        ("patient=https://other.example/fhir/Patient/PATIENT", ""),
        ("code=8867-4", "hr-14 hr-15 hr-16"),
        ("code=http://loinc.org|8867-4", "hr-14 hr-15 hr-16"),
        ("code=http://other.example|8867-4", ""),
        ("code=8867-4,29463-7", "hr-14 hr-15 hr-16 kg-15"),
        ("code=8867-4&code=29463-7", ""),
        ("code:not=8867-4", "kg-15 sleep-14"),
        ("date=2026-01-15", "hr-15 kg-15"),
        ("date=eq2026-01-15", "hr-15 kg-15"),
        ("date=ge2026-01-15", "hr-15 hr-16 kg-15 sleep-14"),
        ("date=le2026-01-15", "hr-14 hr-15 kg-15 sleep-14"),
        ("date=gt2026-01-15", "hr-16"),
        ("date=lt2026-01-15", "hr-14 sleep-14"),
        ("date=sa2026-01-15", "hr-16"),
        ("date=eb2026-01-15", "hr-14"),
        ("date=ge2026-01-15&date=le2026-01-15", "hr-15 kg-15 sleep-14"),
        ("date=ge2026-01-15&date=lt2026-01-16", "hr-15 kg-15 sleep-14"),
        ("date=2026", all),
        ("date=2026-01-15T07:30:00Z", "hr-15"),
        ("date=2026-01-15T08:30:00%2B01:00", "hr-15"),
        ("date=2026-01-15T08:30:00+01:00", "hr-15"),
        ("date=1999", ""),
        ("category=vital-signs", "hr-14 hr-15 hr-16 kg-15"),
        ("category=http://terminology.hl7.org/CodeSystem/observation-category|activity", "sleep-14"),
        ("status=preliminary", "sleep-14"),
        ("status=final,preliminary", all),
        ("_id=hr-14", "hr-14"),
        ("_id=hr-14,kg-15", "hr-14 kg-15"),
        ("_id=nothing", ""),
        ("identifier=urn:test:readings|hr-15", "hr-15"),
        ("identifier=hr-15", "hr-15"),
        ("identifier=urn:test:readings|", all),
        ("identifier=other|hr-15", ""),
        ("_lastUpdated=ge2020", all),
        ("_lastUpdated=lt2020", ""),
        ("value-quantity=gt61", "hr-16 kg-15"),
        ("patient=PATIENT&code=8867-4&date=ge2026-01-15", "hr-15 hr-16"),
        ("patient=PATIENT&code=8867-4&_sort=date", "hr-14 hr-15 hr-16"),
        ("patient=PATIENT&code=8867-4&_sort=-date", "hr-16 hr-15 hr-14"),
        ("patient=PATIENT&_sort=date&code=8867-4,93832-4", "sleep-14 hr-14 hr-15 hr-16"),
        ("code=8867-4&_sort=-_lastUpdated", "hr-16 hr-15 hr-14"),
        ("code=8867-4&_sort=_lastUpdated", "hr-14 hr-15 hr-16"),
        ("code=8867-4&_sort=-date&_count=2", "hr-16 hr-15"),
        ("_format=json&_pretty=true&code=29463-7", "kg-15"),
        ("date:missing=true", ""),
        ("date:missing=false", all),
    ] {
        let path = query.replace("PATIENT", &patient).replace("BASE", base);
        let answer = app.get(&format!("/Observation?{path}")).await;
        let mut found = if answer.status == 200 { ids(&answer.json()) } else { vec![answer.text()] };
        if !query.contains("_sort") {
            found.sort();
        }
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let posted = app.raw("POST", "/Observation/_search", &form, path.clone()).await;
        if found.join(" ") != expected {
            complaints.push(format!("{query}: {found:?}, not {expected}"));
        }
        if posted.status != answer.status || ids(&posted.json()) != ids(&answer.json()) {
            complaints.push(format!("{query}: POST differs: {}", posted.text()));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_links_tell_the_truth() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    for (query, total, entries) in [
        ("_summary=count", Some(5), 0),
        ("_count=0", Some(5), 0),
        ("code=8867-4&_summary=count", Some(3), 0),
        ("_total=accurate&_count=2", Some(5), 2),
        ("_totalMethod=count&_count=2", Some(5), 2),
        ("_count=2", None, 2),
        ("_count=1000000", Some(5), 5),
    ] {
        let (found, listed) = app.find(&format!("/Observation?{query}")).await;
        assert_eq!((found, listed.len()), (total, entries), "{query}");
    }
    let bundle = app.get("/Observation?code=8867-4&_format=json&_sort=date").await.json();
    let own = bundle["link"][0]["url"].as_str().unwrap();
    assert_eq!(own, format!("{}/Observation?code=8867-4&_sort=date", gateway.base));
    assert_eq!(ids(&app.get(own).await.json()), ids(&bundle));
    assert_eq!(bundle["entry"][0]["fullUrl"], format!("{}/Observation/hr-14", gateway.base));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_or_said() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    for (query, id) in [
        ("colour=red", "search-parameter-unknown"),
        ("subject.colour=x", "search-parameter-unknown"),
        ("_include=Observation:colour", "search-parameter-unknown"),
        ("date=yesterday", "search-value"),
        ("date=xx2026", "search-value"),
        ("date=2026-13-01", "search-value"),
        ("date=", "search-value"),
        ("_count=-1", "search-value"),
        ("_count=many", "search-value"),
        ("_sort=colour", "search-value"),
        ("_summary=perhaps", "search-value"),
        ("_total=perhaps", "search-value"),
        ("code:exact=8867-4", "search-modifier"),
        ("date:not=2026", "search-modifier"),
        ("value-quantity=heavy", "search-value"),
    ] {
        let answer = app.get(&format!("/Observation?{query}")).await;
        assert_eq!((answer.status, answer.issues()), (400, vec![id.to_owned()]), "{query}");
    }
    let lenient = [("prefer", "handling=lenient")];
    for query in ["colour=red", "subject.colour=x", "_include=Observation:colour"] {
        let answer = app.raw("GET", &format!("/Observation?code=29463-7&{query}"), &lenient, "").await;
        let bundle = answer.json();
        assert_eq!((answer.status, ids(&bundle)), (200, vec!["kg-15".to_owned()]), "{query}");
        assert_eq!(bundle["total"], 1);
        let warning = &bundle["entry"][1];
        assert_eq!(warning["search"]["mode"], "outcome");
        assert_eq!(crate::fixture::issues(&warning["resource"]), ["search-parameter-ignored"]);
        assert!(!bundle["link"][0]["url"].as_str().unwrap().contains("colour"), "{query}");
    }
    // Leniency never answers another question.
    for query in ["date=yesterday", "code:exact=8867-4"] {
        assert_eq!(app.raw("GET", &format!("/Observation?{query}"), &lenient, "").await.status, 400, "{query}");
    }
    let many: String = (0..300).map(|_| "code=8867-4&").collect();
    let costly = app.get(&format!("/Observation?{many}")).await;
    assert_eq!((costly.status, costly.issues()), (422, vec!["search-too-costly".to_owned()]));
    for query in
        ["", "?_count=5", "?patient=x y", "?patient=a&patient=b", "?patient=a&colour=red", "?patient=a&_sort=agent"]
    {
        let answer = app.get(&format!("/AuditEvent{query}")).await;
        assert!(matches!(answer.status, 400 | 422), "{query}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_would_read_everything_is_too_costly() {
    let gateway = Gateway::with("[exchange]\nsearch_budget = 10").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for index in 0..12 {
        assert_eq!(app.post("/Observation", &heart_rate(&patient, &index.to_string(), 70)).await.status, 201);
    }
    let costly = app.get("/Observation?_summary=count").await;
    assert_eq!((costly.status, costly.issues()), (422, vec!["search-too-costly".to_owned()]));
    assert_eq!(app.find(&format!("/Observation?patient={patient}&date=1999")).await.0, Some(0));
}

/// All pages of a search, by following `next`.
async fn pages(app: &Client, path: &str, mut between: impl AsyncFnMut()) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let answer = app.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let bundle = answer.json();
        pages.push(ids(&bundle));
        assert!(pages.len() < 100, "paging does not end");
        let links = bundle["link"].as_array().unwrap();
        let link = links.iter().find(|link| link["relation"] == "next");
        next = link.map(|link| link["url"].as_str().unwrap().to_owned());
        between().await;
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_stable_while_data_arrives() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let mut counter = 0;
    let mut push = async |day: u32| {
        counter += 1;
        let mut body = heart_rate(&patient, &format!("p{counter}"), 70);
        body["effectiveDateTime"] = json!(format!("2026-01-{day:02}T08:00:00Z"));
        let answer = app.post("/Observation", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.id()
    };
    let mut expected = Vec::new();
    for index in 0..23 {
        // Several of one day, so that the order needs more than the date.
        expected.push(push(5 + index / 4).await);
    }
    for query in ["", "&_sort=date", "&_sort=-date", "&_sort=_lastUpdated", "&_sort=-_lastUpdated"] {
        let path = format!("/Observation?patient={patient}&_count=5{query}");
        let known: std::collections::BTreeSet<String> =
            pages(&app, &path, async || {}).await.into_iter().flatten().collect();
        let found = pages(&app, &path, async || {
            push(1).await;
            push(28).await;
        })
        .await;
        assert!(found[..found.len() - 1].iter().all(|page| page.len() == 5), "{query}: {found:?}");
        let listed: Vec<String> = found.into_iter().flatten().collect();
        let distinct: std::collections::BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(listed.len(), distinct.len(), "{query}: a hit stands on two pages");
        assert_eq!(distinct, known, "{query}: something is missing, or came too late and is there");
    }
    assert!(expected.iter().all(|id| !id.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_links_serve_their_client_alone() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for index in 0..3 {
        app.post("/Observation", &heart_rate(&patient, &index.to_string(), 70)).await;
    }
    let first = app.get("/Observation?_count=2").await.json();
    let next = first["link"][1]["url"].as_str().unwrap().to_owned();
    assert_eq!(app.find(&next).await.1.len(), 1);
    let stranger = gateway.client("stranger", crate::fixture::APP_SCOPES).await;
    let (address, token) = next.split_once("_page=").unwrap();
    let changed = if token.as_bytes()[10] == b'A' { "B" } else { "A" };
    let other = format!("{}{changed}{}", &token[..10], &token[11..]);
    for (name, client, path) in [
        ("another client's", &stranger, next.clone()),
        ("tampered", &app, format!("{address}_page={other}")),
        ("without its beginning", &app, format!("{address}_page={}", &token[1..])),
        ("cut", &app, next[..next.len() - 3].to_owned()),
        ("empty", &app, format!("{address}_page=")),
        ("of another type", &app, next.replace("/Observation?", "/Patient?")),
    ] {
        let answer = client.get(&path).await;
        assert_eq!((answer.status, answer.issues()), (410, vec!["page-unknown".to_owned()]), "{name}");
    }
    // In a batch, too, a paging link is a page and not the search anew.
    let relative = format!("Observation?_page={token}");
    let bundle =
        json!({"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": relative}}]});
    let answer = app.post("", &bundle).await.json();
    assert_eq!(ids(&answer["entry"][0]["resource"]).len(), 1, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_is_not_counted() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let actor = app.actor.clone();
    app.consent(&patient, &[(&actor, BOTH, &["heart-rate"])]).await;
    let collected = app.consent(&patient, &[(&actor, &[Action::Collect], &["weight"])]).await;
    assert!(!collected.is_empty());
    let time = json!({"effectiveDateTime": "2026-01-15T08:30:00Z"});
    for index in 0..4 {
        let weight = observation(&patient, &format!("kg-{index}"), "29463-7", "kg", 70.0, &time);
        assert_eq!(app.put(&format!("/Observation/kg-{index}"), &weight).await.status, 201);
        let rate = observation(&patient, &format!("hr-{index}"), "8867-4", "/min", 70.0, &time);
        assert_eq!(app.put(&format!("/Observation/hr-{index}"), &rate).await.status, 201);
    }
    for (query, total, entries) in [
        ("", Some(4), 4),
        ("?_summary=count", Some(4), 0),
        ("?_count=0", Some(4), 0),
        ("?_total=accurate&_count=1", Some(4), 1),
        ("?code=29463-7", Some(0), 0),
        ("?code=29463-7&_summary=count", Some(0), 0),
        ("?_id=kg-1", Some(0), 0),
    ] {
        let (found, listed) = app.find(&format!("/Observation{query}")).await;
        assert_eq!((found, listed.len()), (total, entries), "{query}");
    }
    for sort in ["", "&_sort=date", "&_sort=-_lastUpdated"] {
        let found = pages(&app, &format!("/Observation?_count=3{sort}"), async || {}).await;
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1], "{sort}: {found:?}");
    }
    assert_eq!(app.get("/Observation/kg-1").await.bytes, app.get("/Observation/kg-9").await.bytes);
}
