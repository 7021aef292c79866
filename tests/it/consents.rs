//! The person's word: what is taken in with and without it, and how fast it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::Plan;
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, consent, heart_rate};

const BOTH: &[Action] = &[Action::Collect, Action::Access];

#[track_caller]
fn check(name: &str, answer: &Answer, status: u16, id: &str) {
    assert_eq!(answer.status, status, "{name}: {}", answer.text());
    if status >= 400 {
        assert_eq!(answer.issues().first().map(String::as_str), Some(id), "{name}: {}", answer.text());
    }
}

async fn push(app: &Client, patient: &str, name: &str) -> Answer {
    app.post("/Observation", &heart_rate(patient, name, 70)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_in_that_no_consent_covers() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let hour = 3_600_000;
    let now = jiff::Timestamp::now().as_millisecond();
    let instant = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
    let plain = |patient: &str| consent(patient, &[(&actor, BOTH, &["heart-rate"])]);
    let with = |patient: &str, change: &dyn Fn(&mut Value)| {
        let mut body = plain(patient);
        change(&mut body);
        body
    };
    type Make<'a> = Box<dyn Fn(&str) -> Vec<Value> + 'a>;
    let table: Vec<(&str, Make<'_>, u16, &str)> = vec![
        ("none", Box::new(|_| vec![]), 403, "consent-missing"),
        ("this", Box::new(|patient| vec![plain(patient)]), 201, ""),
        (
            "of another category",
            Box::new(|patient| vec![consent(patient, &[(&actor, BOTH, &["weight"])])]),
            403,
            "consent-denied",
        ),
        (
            "to read only",
            Box::new(|patient| vec![consent(patient, &[(&actor, &[Action::Access], &["heart-rate"])])]),
            403,
            "consent-denied",
        ),
        (
            "for another actor",
            Box::new(|patient| vec![consent(patient, &[("Organization/other", BOTH, &["heart-rate"])])]),
            403,
            "consent-denied",
        ),
        (
            "expired",
            Box::new(|patient| {
                vec![with(patient, &|body| body["provision"]["period"] = json!({"end": instant(now - hour)}))]
            }),
            403,
            "consent-missing",
        ),
        (
            "not yet",
            Box::new(|patient| {
                vec![with(patient, &|body| body["provision"]["period"] = json!({"start": instant(now + hour)}))]
            }),
            403,
            "consent-missing",
        ),
        (
            "a draft",
            Box::new(|patient| vec![with(patient, &|body| body["status"] = json!("draft"))]),
            403,
            "consent-missing",
        ),
        (
            "rejected",
            Box::new(|patient| vec![with(patient, &|body| body["status"] = json!("rejected"))]),
            403,
            "consent-missing",
        ),
        (
            "for another purpose",
            Box::new(|patient| {
                vec![with(patient, &|body| body["provision"]["provision"][0]["purpose"][0]["code"] = json!("HMARKT"))]
            }),
            403,
            "consent-denied",
        ),
        (
            "two that add up",
            Box::new(|patient| vec![consent(patient, &[(&actor, BOTH, &["weight"])]), plain(patient)]),
            201,
            "",
        ),
        (
            "two of which one refuses",
            Box::new(|patient| {
                vec![
                    plain(patient),
                    with(patient, &|body| {
                        // Without OPTIN the refusal at the root is the person's own, not only what holds where nothing is said.
                        drop(body.as_object_mut().unwrap().remove("policyRule"));
                        body["policy"] = json!([{"uri": "urn:test:policy"}]);
                        body["provision"]["provision"][0]["code"][0]["coding"][0]["code"] = json!("weight");
                    }),
                ]
            }),
            403,
            "consent-denied",
        ),
    ];
    let mut complaints = Vec::new();
    for (name, make, status, id) in &table {
        let patient = app.person().await;
        for body in make(&patient) {
            let recorded = app.post("/Consent", &body).await;
            assert_eq!(recorded.status, 201, "{name}: {}", recorded.text());
        }
        let answer = push(&app, &patient, &patient).await;
        let found = if answer.status < 400 { String::new() } else { answer.issues().join(" ") };
        if (answer.status, found.as_str()) != (*status, *id) {
            complaints.push(format!("{name}: {} {found}, not {status} {id}", answer.status));
        }
        let (kept, _) = app.find(&format!("/Observation?patient={patient}")).await;
        assert_eq!(kept, Some(u64::from(*status == 201)), "{name}");
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_that_cannot_be_evaluated_are_not_recorded() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let patient = app.person().await;
    let with = |change: fn(&mut Value)| {
        let mut body = consent(&patient, &[(&actor, BOTH, &["heart-rate"])]);
        change(&mut body);
        body
    };
    for (name, change, id) in [
        (
            "modifier",
            (|body| body["modifierExtension"] = json!([{"url": "urn:XMARKERX", "valueBoolean": true}]))
                as fn(&mut Value),
            "modifier-extension-unknown",
        ),
        (
            "modified provision",
            |body| body["provision"]["modifierExtension"] = json!([{"url": "urn:XMARKERX", "valueBoolean": true}]),
            "modifier-extension-unknown",
        ),
        ("a contradiction", |body| body["provision"]["type"] = json!("permit"), "consent-invalid"),
        ("implicit rules", |body| body["implicitRules"] = json!("urn:XMARKERX"), "implicit-rules-unknown"),
        ("no patient", |body| drop(body.as_object_mut().unwrap().remove("patient")), "cardinality-min"),
    ] {
        let answer = app.post("/Consent", &with(change)).await;
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        assert!(answer.issues().iter().any(|found| found == id), "{name}: {}", answer.text());
        assert!(!answer.text().contains("XMARKERX"), "{name}: {}", answer.text());
    }
    assert!(gateway.store().search(Plan::of("Consent")).await.unwrap().rows.is_empty());
    check("afterwards", &push(&app, &patient, "1").await, 403, "consent-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_another_measure_needs_a_consent_of_its_own() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let patient = app.consenting_person().await;
    let mut hidden = heart_rate(&patient, "1", 70);
    hidden["component"] = json!([{
        "code": {"coding": [{"system": "http://loinc.org", "code": "15074-8"}]},
        "valueQuantity": {"value": 5.5, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}
    }]);
    check("hidden", &app.post("/Observation", &hidden).await, 403, "consent-denied");
    app.consent(&patient, &[(&actor, BOTH, &["glucose"])]).await;
    check("permitted by another consent", &app.post("/Observation", &hidden).await, 201, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_ends_pushing_and_reading() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let patient = app.person().await;
    let permission = app.consent(&patient, &[(&actor, BOTH, &["heart-rate"])]).await;
    let kept = push(&app, &patient, "1").await.id();
    assert_eq!(app.withdraw(&permission).await.status, 200);
    check("push", &push(&app, &patient, "2").await, 403, "consent-missing");
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await, (Some(0), Vec::new()));
    check("read", &app.get(&format!("/Observation/{kept}")).await, 404, "not-found");
    check("version", &app.get(&format!("/Observation/{kept}/_history/1")).await, 404, "not-found");
    let mut change = heart_rate(&patient, "1", 71);
    change["id"] = json!(kept);
    check("update", &app.put(&format!("/Observation/{kept}"), &change).await, 403, "consent-missing");
    // A new consent, and everything is back.
    app.consent(&patient, &[(&actor, BOTH, &["heart-rate"])]).await;
    assert_eq!(app.get(&format!("/Observation/{kept}")).await.status, 200);
    check("push again", &push(&app, &patient, "2").await, 201, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_reads_what_the_person_shares() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let actor = app.actor.clone();
    let patient = app.person().await;
    app.consent(&patient, &[(&actor, BOTH, &["heart-rate"])]).await;
    let kept = push(&app, &patient, "1").await.id();
    assert_eq!(clinic.get(&format!("/Observation/{kept}")).await.status, 404);
    let shared = app.consent(&patient, &[("Organization/clinic", &[Action::Access], &["heart-rate"])]).await;
    assert_eq!(clinic.get(&format!("/Observation/{kept}")).await.status, 200);
    assert_eq!(clinic.find(&format!("/Observation?patient={patient}")).await.0, Some(1));
    assert_eq!(clinic.get(&format!("/Patient/{patient}")).await.status, 404);
    assert_eq!(clinic.get(&format!("/Consent/{shared}")).await.status, 404);
    check("its push", &push(&clinic, &patient, "2").await, 403, "consent-missing");
    assert_eq!(app.withdraw(&shared).await.status, 200);
    assert_eq!(clinic.get(&format!("/Observation/{kept}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_push_is_acknowledged_after_a_withdrawal() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let patient = app.person().await;
    let permission = app.consent(&patient, &[(&actor, BOTH, &["heart-rate"])]).await;
    let withdrawn = Arc::new(AtomicBool::new(false));
    let (started, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let pushes: Vec<_> = (0..64)
        .map(|worker| {
            let (app, patient, withdrawn, started) = (app.clone(), patient.clone(), withdrawn.clone(), started.clone());
            tokio::spawn(async move {
                let mut kept = 0;
                for index in 0.. {
                    // Whatever begins once the withdrawal is answered must be refused.
                    let late = withdrawn.load(Ordering::SeqCst);
                    let answer = push(&app, &patient, &format!("{worker}-{index}")).await;
                    match answer.status {
                        201 if !late => {
                            kept += 1;
                            let _ = started.send(());
                        }
                        403 => return kept,
                        503 => {}
                        status => panic!("{status} although withdrawn: {late}: {}", answer.text()),
                    }
                }
                kept
            })
        })
        .collect();
    for _ in 0..16 {
        seen.recv().await.unwrap();
    }
    assert_eq!(app.withdraw(&permission).await.status, 200);
    withdrawn.store(true, Ordering::SeqCst);
    let mut kept = 0;
    for push in pushes {
        kept += push.await.unwrap();
    }
    // What was acknowledged is kept, and nothing else is.
    let rows = gateway.store().search(Plan { limit: 100_000, ..Plan::of("Observation") }).await.unwrap().rows;
    assert_eq!(rows.len(), kept);
    app.consent(&patient, &[(&actor, BOTH, &["heart-rate"])]).await;
    let (total, _) = app.find(&format!("/Observation?patient={patient}&_summary=count")).await;
    assert_eq!(total, Some(kept as u64));
}

/// A sender cannot label its way past the person: neither by calling a measure by another's category, nor by hiding it
/// beside, inside or under one that is permitted.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_hides_in_what_is_permitted() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let loinc = |code: &str| json!({"system": "http://loinc.org", "code": code});
    let own = json!({"system": mhealth_gateway::exchange::CATEGORY_SYSTEM, "code": "heart-rate"});
    let glucose = |index: usize| {
        json!({
            "resourceType": "Observation",
            "identifier": [{"system": "urn:test:readings", "value": format!("hidden-{index}")}],
            "status": "final",
            "code": {"coding": [loinc("2339-0")]},
            "subject": {"reference": format!("Patient/{patient}")},
            "effectiveDateTime": "2026-01-15T08:30:00+01:00",
            "valueQuantity": {"value": 90, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
        })
    };
    let heart = |index: usize| {
        let mut body = heart_rate(&patient, &format!("cover-{index}"), 60);
        body["category"].as_array_mut().unwrap().truncate(1);
        body
    };
    let mut hidden = vec![glucose(0)];
    let mut labelled = glucose(1);
    labelled["category"] = json!([{"coding": [own]}]);
    hidden.push(labelled);
    let mut labelled = glucose(2);
    labelled["code"]["coding"] = json!([loinc("2339-0"), own]);
    hidden.push(labelled);
    let mut labelled = glucose(3);
    labelled["code"] = json!({"coding": [own], "text": "something else"});
    hidden.push(labelled);
    for (index, codings) in [
        json!([loinc("8867-4"), loinc("2339-0")]),
        json!([loinc("8867-4"), loinc("75622-1")]),
        json!([loinc("75622-1"), loinc("8867-4")]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut second = heart(10 + index);
        second["code"]["coding"] = codings;
        hidden.push(second);
    }
    let component_codes = [
        json!({"coding": [loinc("2339-0")]}),
        json!({"coding": [loinc("75622-1")]}),
        json!({"coding": [{"system": "https://loinc.org", "code": "2339-0"}]}),
        json!({"text": "glucose"}),
    ];
    for (index, code) in component_codes.into_iter().enumerate() {
        let mut covered = heart(20 + index);
        covered["component"] = json!([{
            "code": code,
            "valueQuantity": {"value": 90, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
        }]);
        hidden.push(covered);
    }
    let mut covered = heart(30);
    let mut inner = glucose(31);
    inner["id"] = json!("inner");
    covered["contained"] = json!([inner]);
    covered["hasMember"] = json!([{"reference": "#inner"}]);
    hidden.push(covered);
    for (index, body) in hidden.iter().enumerate() {
        let answer = app.post("/Observation", body).await;
        assert!(matches!(answer.status, 403 | 422), "{index}: {} {}", answer.status, answer.json());
        assert_ne!(answer.status, 201, "{index}");
    }
    // What only supports a permitted measure needs no permission of its own, nor does a translation of its code.
    let mut fine = heart(40);
    fine["contained"] = json!([{"resourceType": "Device", "id": "band", "type": {"text": "band"}}]);
    fine["device"] = json!({"reference": "#band"});
    fine["code"]["coding"] = json!([{"system": "urn:iso:std:iso:11073:10101", "code": "149546"}, loinc("8867-4")]);
    let answer = app.post("/Observation", &fine).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.1.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_is_about_one_person() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (patient, other) = (app.consenting_person().await, app.consenting_person().await);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = heart_rate(&patient, "about", 70);
        change(&mut body);
        body
    };
    let own = format!("Patient/{patient}");
    let absolute = format!("{}/Patient/{patient}", gateway.base);
    let foreign = format!("Patient/{other}");
    let inside = |contained: Value| {
        with(&move |body: &mut Value| {
            body["contained"] = json!([contained.clone()]);
            body["focus"] = json!([{"reference": "#c"}]);
        })
    };
    let focus = |reference: Value| with(&move |body: &mut Value| body["focus"] = json!([reference.clone()]));
    let subject = |reference: &str| with(&|body: &mut Value| body["subject"]["reference"] = json!(reference));
    let extended = |reference: &str| {
        let extension = json!([{"url": "https://app.example/with", "valueReference": {"reference": reference}}]);
        with(&move |body: &mut Value| body["valueQuantity"]["extension"] = extension.clone())
    };
    let mut contained_reading = heart_rate(&other, "inside", 70);
    contained_reading["id"] = json!("c");
    contained_reading.as_object_mut().unwrap().remove("identifier");
    let table = [
        ("another person", focus(json!({"reference": foreign})), "patient-other"),
        ("a version of another person", focus(json!({"reference": format!("{foreign}/_history/1")})), "patient-other"),
        ("a person elsewhere", focus(json!({"reference": "https://other.example/fhir/Patient/1"})), "patient-other"),
        ("a person by identifier", focus(json!({"type": "Patient", "identifier": {"value": "1"}})), "patient-other"),
        ("nobody knows whom", focus(json!({"identifier": {"value": "1"}})), "patient-other"),
        (
            "nobody knows what",
            focus(json!({"reference": "urn:uuid:7e1f3b52-6d0b-4a1c-9f56-0c4a2a3f0001"})),
            "patient-other",
        ),
        ("a person inside", inside(json!({"resourceType": "Patient", "id": "c", "active": true})), "patient-other"),
        ("another's reading inside", inside(contained_reading), "patient-other"),
        ("another person in an extension", extended(&foreign), "patient-other"),
        ("the subject in an extension", extended(&own), ""),
        ("a device in an extension", extended("Device/1"), ""),
        ("the subject again", focus(json!({"reference": own})), ""),
        ("the subject's address", focus(json!({"reference": absolute})), ""),
        ("a device", focus(json!({"reference": "Device/1"})), ""),
        ("a version of the subject", subject(&format!("{own}/_history/7")), "patient-unknown"),
        ("the subject by address", subject(&absolute), ""),
    ];
    for (index, (name, mut body, id)) in table.into_iter().enumerate() {
        body["identifier"][0]["value"] = json!(format!("about-{index}"));
        let answer = app.post("/Observation", &body).await;
        check(name, &answer, if id.is_empty() { 201 } else { 422 }, id);
    }
    assert_eq!(app.get(&format!("/AuditEvent?patient={own}/_history/7")).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_extensions_say_needs_a_consent_of_its_own() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let patient = app.consenting_person().await;
    let quantity = json!({"value": 5.5, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"});
    let coding = |code: &str| json!({"system": "http://loinc.org", "code": code});
    let url = "https://app.example/more";
    let nested = |value: Value| json!({"url": url, "extension": [value]});
    let table = [
        ("an amount of nobody knows what", json!({"url": url, "valueQuantity": quantity}), 403),
        ("a number", json!({"url": url, "valueInteger": 5}), 403),
        ("a file", json!({"url": url, "valueAttachment": {"contentType": "text/plain", "data": "NS41"}}), 403),
        ("an amount further inside", nested(json!({"url": "x", "valueQuantity": quantity})), 403),
        ("another measure", json!({"url": url, "valueCoding": coding("15074-8")}), 403),
        ("another concept", json!({"url": url, "valueCodeableConcept": {"coding": [coding("15074-8")]}}), 403),
        ("the same measure", json!({"url": url, "valueCoding": coding("8867-4")}), 201),
        ("an answer", json!({"url": url, "valueCoding": coding("LA33-6")}), 201),
        ("a word", json!({"url": url, "valueString": "at rest"}), 201),
        (
            "what the standard defines",
            json!({
                "url": "http://hl7.org/fhir/StructureDefinition/bodySite",
                "valueReference": {"reference": "BodyStructure/1"},
            }),
            201,
        ),
    ];
    for place in ["root", "value", "shadow"] {
        for (index, (name, extension, status)) in table.iter().enumerate() {
            let mut body = heart_rate(&patient, &format!("{place}-{index}"), 70);
            match place {
                "root" => body["extension"] = json!([extension]),
                "value" => body["valueQuantity"]["extension"] = json!([extension]),
                _ => body["_effectiveDateTime"] = json!({"extension": [extension]}),
            }
            check(&format!("{name}, {place}"), &app.post("/Observation", &body).await, *status, "consent-denied");
        }
    }
    // Resources inside, and concepts beside the code, say it no less.
    let device = |member: &str, value: Value| json!({"resourceType": "Device", "id": "d", member: value});
    let amount = json!([{"url": url, "valueQuantity": quantity}]);
    let concept = |code: &str| json!({"coding": [coding(code)]});
    for (index, (member, value, status)) in [
        ("contained", json!([device("extension", amount)]), 403),
        ("contained", json!([device("property", json!([{"type": concept("15074-8")}]))]), 403),
        ("contained", json!([device("property", json!([{"type": {"text": "firmware"}}]))]), 201),
        ("interpretation", json!([concept("15074-8")]), 403),
        ("method", concept("15074-8"), 403),
        ("method", concept("LA26418-2"), 201),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = heart_rate(&patient, &format!("beside-{index}"), 70);
        if member == "contained" {
            body["device"] = json!({"reference": "#d"});
        }
        body[member] = value;
        check(&format!("{member} {index}"), &app.post("/Observation", &body).await, status, "consent-denied");
    }
    // It widens nothing: a scope for heart rates is none for weights that carry the code of one.
    let narrow = gateway
        .client(
            "narrow",
            &format!("{APP_SCOPES} system/Observation.c?code=x").replace("system/Observation.crus", "system/Patient.c"),
        )
        .await;
    let own = narrow.person().await;
    let mut claimed = heart_rate(&own, "claimed", 70);
    claimed["extension"] = json!([{"url": url, "valueCoding": coding("x")}]);
    check("a scope", &narrow.post("/Observation", &claimed).await, 403, "scope-insufficient");
    // Whoever may do everything may do this.
    let mut all = consent(&patient, &[(&actor, BOTH, &["heart-rate"])]);
    all["provision"]["provision"][0].as_object_mut().unwrap().remove("code");
    assert_eq!(app.post("/Consent", &all).await.status, 201);
    let mut body = heart_rate(&patient, "all", 70);
    body["extension"] = json!([{"url": url, "valueQuantity": quantity}]);
    check("permitted as a whole", &app.post("/Observation", &body).await, 201, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_given_yet_or_not_verified_permits_nothing() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let actor = app.actor.clone();
    let now = jiff::Timestamp::now().as_millisecond();
    let instant = |ms: i64| json!(jiff::Timestamp::from_millisecond(now + ms).unwrap().to_string());
    for (name, member, value, status, id) in [
        ("tomorrow", "dateTime", instant(86_400_000), 403, "consent-missing"),
        ("by a clock that runs ahead", "dateTime", instant(60_000), 201, ""),
        ("in another century", "dateTime", json!("2999"), 403, "consent-missing"),
        ("not verified", "verification", json!([{"verified": false}]), 403, "consent-denied"),
        ("verified", "verification", json!([{"verified": true}]), 201, ""),
    ] {
        let patient = app.person().await;
        let mut body = consent(&patient, &[(&actor, BOTH, &["heart-rate"])]);
        body[member] = value;
        assert_eq!(app.post("/Consent", &body).await.status, 201, "{name}");
        check(name, &push(&app, &patient, name).await, status, id);
        // What it refuses, it refuses at once.
        let patient = app.consenting_person().await;
        body["patient"]["reference"] = json!(format!("Patient/{patient}"));
        body["provision"] = json!({"type": "deny"});
        assert_eq!(app.post("/Consent", &body).await.status, 201, "{name}");
        check(name, &push(&app, &patient, &format!("{name}, refused")).await, 403, "consent-denied");
    }
}

/// A consent with a slip is kept, and its author hears of the slip.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_doubtful_about_a_consent_is_said() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.person().await;
    let actor = app.actor.clone();
    let inner = "/provision/provision/0";
    let table = [
        ("nothing", "/status", json!("active"), None),
        (
            "category of measures",
            "/provision/provision/0/code/0/coding/0/code",
            json!("hart-rate"),
            Some(format!("{inner}/code")),
        ),
        (
            "purpose",
            "/provision/provision/0/purpose/0/system",
            json!("http://example.org/purpose"),
            Some(format!("{inner}/purpose")),
        ),
        (
            "action",
            "/provision/provision/0/action/0/coding/0/system",
            json!("http://example.org/action"),
            Some(format!("{inner}/action")),
        ),
        ("verification", "/verification", json!([{"verified": false}]), Some("/verification".to_owned())),
        ("date", "/dateTime", json!("2999-01-01"), Some("/dateTime".to_owned())),
        ("period", "/provision/period", json!({"end": "2001-01-01"}), Some("/period".to_owned())),
        (
            "period of a permit",
            "/provision/provision/0/period",
            json!({"end": "2001"}),
            Some(format!("{inner}/period")),
        ),
        ("period to come", "/provision/period", json!({"start": "2999-01-01"}), None),
    ];
    for (name, pointer, value, expected) in &table {
        let mut body = consent(&patient, &[(&actor, BOTH, &["heart-rate"])]);
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[last] = value.clone();
        let outcome = app
            .raw(
                "POST",
                "/Consent",
                &[("content-type", "application/fhir+json"), ("prefer", "return=OperationOutcome")],
                body.to_string(),
            )
            .await;
        // A code that its own system does not have is refused outright; what it would have meant is said all the same.
        let refused = outcome.issues().iter().any(|id| id == "code-unknown");
        assert_eq!(outcome.status, if refused { 422 } else { 201 }, "{name}: {}", outcome.text());
        assert!(!refused || *name == "category of measures", "{name}: {}", outcome.text());
        let validated = app.post("/Consent/$validate", &body).await;
        let entry = json!({"resource": body, "request": {"method": "POST", "url": "Consent"}});
        let batch = app.post("", &json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]})).await.json();
        let answers = [validated.json(), outcome.json(), batch["entry"][0]["response"]["outcome"].clone()];
        for told in &answers[..if refused { 1 } else { 3 }] {
            let said: Vec<String> = told["issue"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|issue| issue["details"]["coding"][0]["code"] == "consent-element")
                .map(|issue| issue["expression"][0].as_str().unwrap().to_owned())
                .collect();
            let last = expected.as_ref().and_then(|place| place.rsplit('/').next());
            assert_eq!(said.len(), usize::from(expected.is_some()), "{name}: {told:#}");
            assert!(said.iter().all(|place| place.contains(last.unwrap())), "{name}: {said:?}");
        }
    }
}
