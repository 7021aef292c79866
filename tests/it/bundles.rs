//! Many resources at once: transactions that do all or nothing, batches whose entries stand alone.

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::Plan;
use serde_json::{Value, json};

use crate::fixture::{ANY_ID, Answer, Client, Gateway, consent, heart_rate, issues};

const PERSON: &str = "urn:uuid:7e1f3b52-6d0b-4a1c-9f56-0c4a2a3f0001";

fn entry(method: &str, url: &str, resource: &Value) -> Value {
    let mut entry = json!({"request": {"method": method, "url": url}});
    if !resource.is_null() {
        entry["resource"] = resource.clone();
    }
    entry
}

fn bundle(kind: &str, entries: &[Value]) -> Value {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}

/// Statuses of the entries of an answer.
fn statuses(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    let entries = body["entry"].as_array().into_iter().flatten();
    entries.map(|entry| entry["response"]["status"].as_str().unwrap()[..3].to_owned()).collect()
}

async fn rows(gateway: &Gateway) -> [usize; 3] {
    let mut counts = [0; 3];
    for (count, kind) in counts.iter_mut().zip(["Patient", "Consent", "Observation"]) {
        *count = gateway.store().search(Plan::of(kind)).await.unwrap().rows.len();
    }
    counts
}

/// A person, a consent and readings, all in one transaction and each naming the other by urn.
fn enrolment(app: &Client, order: &[usize], name: &str) -> Value {
    let actor = app.actor.as_str();
    let mut person = entry("POST", "Patient", &json!({"resourceType": "Patient", "active": true}));
    person["fullUrl"] = json!(PERSON);
    let mut permission = consent("x", &[(actor, &[Action::Collect, Action::Access], &["heart-rate"])]);
    permission["patient"] = json!({"reference": PERSON});
    let mut reading = heart_rate("x", &format!("{name}-1"), 70);
    reading["subject"] = json!({"reference": PERSON});
    let mut second = reading.clone();
    second["identifier"][0]["value"] = json!(format!("{name}-2"));
    let entries = [
        person,
        entry("POST", "Consent", &permission),
        entry("POST", "Observation", &reading),
        entry("POST", "Observation", &second),
    ];
    bundle("transaction", &order.iter().map(|index| entries[*index].clone()).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_a_consent_and_readings_arrive_together_in_any_order() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    for (round, order) in [[0, 1, 2, 3], [3, 2, 1, 0]].iter().enumerate() {
        for path in ["", "/"] {
            let before = rows(&gateway).await;
            let answer = app.post(path, &enrolment(&app, order, &format!("{round}{path}"))).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["type"], "transaction-response");
            assert_eq!(statuses(&answer), ["201"; 4], "round {round}");
            let after = rows(&gateway).await;
            assert_eq!(after, [before[0] + 1, before[1] + 1, before[2] + 2]);
            let body = answer.json();
            let reading = order.iter().position(|index| *index == 2).unwrap();
            let location = body["entry"][reading]["response"]["location"].as_str().unwrap();
            let read = app.get(location).await.json();
            let person = order.iter().position(|index| *index == 0).unwrap();
            let patient = body["entry"][person]["fullUrl"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            assert_eq!(read["subject"]["reference"], format!("Patient/{patient}"));
            assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.0, Some(2));
            assert_eq!(app.find(&format!("/Consent?patient={patient}")).await.0, Some(1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_an_id_of_the_apps_own_may_come_with_the_consent() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let permission = consent("p-1", &[(&actor, &[Action::Collect, Action::Access], &["heart-rate"])]);
    let entries = [
        entry("PUT", "Patient/p-1", &json!({"resourceType": "Patient", "id": "p-1"})),
        entry("POST", "Consent", &permission),
        entry("POST", "Observation", &heart_rate("p-1", "1", 70)),
    ];
    let answer = app.post("", &bundle("transaction", &entries)).await;
    assert_eq!(statuses(&answer), ["201"; 3], "{}", answer.text());
    // Somebody else's person does not become one's own that way.
    let stranger = gateway.client("stranger", crate::fixture::APP_SCOPES).await;
    let before = rows(&gateway).await;
    let refused = stranger.post("", &bundle("transaction", &entries[..2])).await;
    assert_eq!((refused.status, rows(&gateway).await), (403, before), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_entry_undoes_the_transaction() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "taken", 60)).await.status, 201);
    let good = |name: &str| entry("POST", "Observation", &heart_rate(&patient, name, 70));
    let mut invalid = heart_rate(&patient, "bad", 70);
    invalid["status"] = json!("XMARKERX");
    let mut glucose = heart_rate(&patient, "bad", 70);
    glucose["code"]["coding"][0]["code"] = json!("15074-8");
    glucose["valueQuantity"] =
        json!({"value": 5, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"});
    glucose.as_object_mut().unwrap().remove("category");
    let mut changed = heart_rate(&patient, "bad", 70);
    changed["id"] = json!("named");
    let mut versioned = entry("PUT", "Observation/named", &changed);
    versioned["request"]["ifMatch"] = json!("W/\"3\"");
    let before = rows(&gateway).await;
    for (name, bad, status, id) in [
        ("invalid", entry("POST", "Observation", &invalid), 422, "binding-required"),
        ("not consented", entry("POST", "Observation", &glucose), 403, "consent-denied"),
        (
            "another content",
            entry("POST", "Observation", &heart_rate(&patient, "taken", 61)),
            409,
            "duplicate-identifier",
        ),
        ("a version that is not", versioned, 412, "version-conflict"),
        ("nobody's", entry("POST", "Observation", &heart_rate("nobody", "bad", 70)), 403, "consent-missing"),
        ("no resource", entry("POST", "Observation", &Value::Null), 400, "body-missing"),
        ("a type not in the URL", entry("POST", "Device", &invalid), 400, "type-not-in-url"),
        ("no request", json!({"resource": heart_rate(&patient, "bad", 70)}), 400, "bundle-rule"),
        ("a deletion", entry("DELETE", "Observation/1", &Value::Null), 403, "scope-insufficient"),
    ] {
        // The bad one first, in the middle and last: whatever was prepared or written before it goes, too.
        for place in 0..3 {
            let mut entries = vec![good("new-1"), good("new-2")];
            entries.insert(place, bad.clone());
            let answer = app.post("", &bundle("transaction", &entries)).await;
            assert_eq!(answer.status, status, "{name} at {place}: {}", answer.text());
            assert!(answer.issues().iter().any(|found| found == id), "{name} at {place}: {}", answer.text());
            assert!(!answer.text().contains("XMARKERX"), "{name}");
            assert_eq!(rows(&gateway).await, before, "{name} at {place}");
        }
    }
    let answer = app.post("", &bundle("transaction", &[good("new-1"), good("new-2")])).await;
    assert_eq!(statuses(&answer), ["201", "201"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_a_batch_stand_alone() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let kept = app.post("/Observation", &heart_rate(&patient, "kept", 60)).await.id();
    let mut invalid = heart_rate(&patient, "bad", 70);
    invalid["status"] = json!("XMARKERX");
    let mut update = heart_rate(&patient, "named", 70);
    update["id"] = json!("named");
    let entries = [
        entry("POST", "Observation", &heart_rate(&patient, "1", 70)),
        entry("POST", "Observation", &invalid),
        entry("GET", &format!("Observation/{kept}"), &Value::Null),
        entry("GET", &format!("Observation?patient={patient}&code=8867-4"), &Value::Null),
        entry("GET", "Observation/nothing", &Value::Null),
        entry("GET", "Observation?date=XMARKERX", &Value::Null),
        entry("GET", &format!("Observation/{kept}/_history/1"), &Value::Null),
        entry("POST", "Observation", &heart_rate(&patient, "kept", 60)),
        entry("POST", "Observation", &heart_rate(&patient, "kept", 61)),
        entry("PUT", "Observation/named", &update),
        entry("POST", "Condition", &json!({"resourceType": "Condition"})),
        entry("HEAD", "Observation/1", &Value::Null),
        entry("POST", "Patient", &json!({"resourceType": "Patient"})),
    ];
    let answer = app.post("/", &bundle("batch", &entries)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("XMARKERX"), "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["type"], "batch-response");
    assert_eq!(
        statuses(&answer),
        ["201", "422", "200", "200", "404", "400", "200", "200", "409", "201", "404", "404", "201"],
        "{}",
        answer.text()
    );
    assert_eq!(body["entry"][2]["resource"]["id"], json!(kept));
    assert_eq!(body["entry"][3]["resource"]["type"], "searchset");
    assert_eq!(body["entry"][6]["resource"]["id"], json!(kept));
    assert_eq!(issues(&body["entry"][1]["response"]["outcome"]), ["binding-required", "code-meaningless"]);
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.0, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_have_limits_and_a_form() {
    let gateway = Gateway::with("[limits]\nbundle_entries = 3").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let good = |name: &str| entry("POST", "Observation", &heart_rate(&patient, name, 70));
    let mut same = heart_rate(&patient, "n", 70);
    same["id"] = json!("named");
    let put = entry("PUT", "Observation/named", &same);
    let mut one = good("1");
    one["fullUrl"] = json!(PERSON);
    let mut two = good("2");
    two["fullUrl"] = json!(PERSON);
    let with = |name: &str, value: Value| {
        let mut bundle = bundle("transaction", &[good("1")]);
        bundle[name] = value;
        bundle
    };
    let mut odd_entry = good("1");
    odd_entry["requests"] = odd_entry["request"].clone();
    let mut modified = good("1");
    modified["modifierExtension"] = json!([{"url": "urn:x", "valueBoolean": true}]);
    let four: Vec<Value> = ["1", "2", "3", "4"].map(good).into();
    let before = rows(&gateway).await;
    for (name, body, status, id) in [
        ("too many", bundle("transaction", &four), 413, "bundle-too-many-entries"),
        ("too many of a batch", bundle("batch", &four), 413, "bundle-too-many-entries"),
        ("a collection", bundle("collection", &four[..1]), 400, "bundle-rule"),
        ("no type", with("type", Value::Null), 400, "bundle-rule"),
        ("type in an array", with("type", json!(["transaction"])), 422, "element-shape"),
        ("misspelt entry", json!({"resourceType": "Bundle", "type": "batch", "entires": four}), 422, "element-unknown"),
        ("unknown property", with("XMARKERX", json!(1)), 422, "element-unknown"),
        ("entry as an object", with("entry", good("1")), 422, "element-shape"),
        ("entry as text", with("entry", json!(["XMARKERX"])), 422, "element-shape"),
        ("no entries in an array", with("entry", json!([])), 422, "element-empty"),
        ("implicit rules", with("implicitRules", json!("urn:XMARKERX")), 422, "implicit-rules-unknown"),
        ("unknown property of an entry", bundle("batch", &[odd_entry]), 422, "element-unknown"),
        ("modified entry", bundle("batch", &[modified]), 422, "modifier-extension-unknown"),
        ("one fullUrl twice", bundle("transaction", &[one, two]), 400, "bundle-rule"),
        ("one target twice", bundle("transaction", &[put.clone(), put]), 400, "bundle-rule"),
        ("another resource", json!({"resourceType": "Patient"}), 400, "type-not-in-url"),
        ("nothing", json!({}), 400, "resource-type-missing"),
    ] {
        let answer = app.post("", &body).await;
        assert_eq!(
            (answer.status, answer.issues().first().map(String::as_str)),
            (status, Some(id)),
            "{name}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("XMARKERX"), "{name}: {}", answer.text());
        assert_eq!(rows(&gateway).await, before, "{name}");
    }
    let three = app.post("", &bundle("transaction", &four[..3])).await;
    assert_eq!(statuses(&three), ["201"; 3]);
    let none = app.post("", &json!({"resourceType": "Bundle", "type": "batch"})).await;
    assert_eq!((none.status, none.json()["entry"].is_null()), (200, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_answer_with_what_is_preferred() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let body = bundle("transaction", &[entry("POST", "Observation", &heart_rate(&patient, "1", 70))]).to_string();
    for (prefer, with_resource) in [("return=minimal", false), ("return=representation", true)] {
        let headers = [("content-type", "application/fhir+json"), ("prefer", prefer)];
        let answer = app.raw("POST", "", &headers, body.clone()).await.json();
        assert_eq!(answer["entry"][0]["resource"].is_object(), with_resource, "{prefer}: {answer}");
    }
}

/// What one request may look at is not multiplied by its entries.
#[tokio::test]
async fn the_searches_of_a_batch_have_one_budget() {
    let gateway = Gateway::with("[exchange]\nsearch_budget = 30").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for number in 0..8 {
        let reading = heart_rate(&patient, &format!("reading-{number}"), 60);
        assert_eq!(app.post("/Observation", &reading).await.status, 201);
    }
    let entry = json!({"request": {"method": "GET", "url": format!("Observation?patient={patient}&code=8867-4")}});
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": vec![entry; 6]});
    let answer = app.post("", &batch).await.json();
    let answers: Vec<String> = answer["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap()[..3].to_owned())
        .collect();
    assert_eq!(answers, ["200", "200", "200", "422", "422", "422"]);
}

/// A transaction may refer to what a search would find; nothing here looks for it, and nothing is kept that leads nowhere.
#[tokio::test]
async fn a_reference_that_is_a_search_is_refused() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let mut reading = heart_rate(&patient, "one", 62);
    reading["device"] = json!({"reference": "Device?identifier=urn:x|7"});
    let entry = json!({"resource": reading, "request": {"method": "POST", "url": "Observation"}});
    for kind in ["batch", "transaction"] {
        let answer = app.post("", &json!({"resourceType": "Bundle", "type": kind, "entry": [entry]})).await;
        assert!(answer.text().contains("reference-unresolved"), "{kind}: {}", answer.text());
    }
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.1, [""; 0]);
}
