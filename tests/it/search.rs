//! Searches across resources, in other orders, of parts of resources: the examples of R4 §3.1.1 and their like.

use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::fixture::{ANY_ID, APP_SCOPES, Client, Gateway, heart_rate, ids};

const BOTH: &[Action] = &[Action::Collect, Action::Access];

async fn put(app: &Client, body: &Value) {
    let path = format!("/{}/{}", body["resourceType"].as_str().unwrap(), body["id"].as_str().unwrap());
    let answer = app.put(&path, body).await;
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
}

fn reading(id: &str, patient: &str, code: &str, unit: &str, value: f64, day: &str) -> Value {
    let mut body = heart_rate(patient, id, 1);
    body["id"] = json!(id);
    body["code"]["coding"][0]["code"] = json!(code);
    body["valueQuantity"] = json!({"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit});
    body["effectiveDateTime"] = json!(format!("{day}T08:00:00Z"));
    body
}

/// Two persons with devices and readings, whose ids say what they are.
async fn furnished(app: &Client) {
    for (id, family, given, birth) in
        [("peter", "Chalmers", "Peter", "1974-12-25"), ("eve", "Everywoman", "Eve", "1980-01-02")]
    {
        let device = format!("{id}-watch");
        put(app, &json!({
            "resourceType": "Patient", "id": id, "active": true, "gender": if id == "eve" { "female" } else { "male" },
            "birthDate": birth, "name": [{"family": family, "given": [given]}],
            "identifier": [{"system": "urn:test:persons", "value": family}],
            "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">somebody</div>"},
        })).await;
        app.consent(id, &[(&app.actor, BOTH, &["heart-rate", "weight"])]).await;
        put(app, &json!({
            "resourceType": "Device", "id": device, "patient": {"reference": format!("Patient/{id}")}, "manufacturer": format!("Maker of {id}"),
            "identifier": [{"system": "urn:test:devices", "value": device}],
        })).await;
    }
    for (id, patient, code, unit, value, day) in [
        ("p-hr-1", "peter", "8867-4", "/min", 60.0, "2026-01-14"),
        ("p-hr-2", "peter", "8867-4", "/min", 90.0, "2026-01-15"),
        ("p-kg-1", "peter", "29463-7", "kg", 80.5, "2026-01-16"),
        ("e-hr-1", "eve", "8867-4", "/min", 70.0, "2026-01-13"),
        ("e-kg-1", "eve", "29463-7", "kg", 60.0, "2026-01-17"),
    ] {
        let mut body = reading(id, patient, code, unit, value, day);
        if code == "8867-4" {
            body["device"] = json!({"reference": format!("Device/{patient}-watch")});
        }
        put(app, &body).await;
    }
}

/// What goes on for weeks stands where it began, in either order, page by page.
#[tokio::test(flavor = "multi_thread")]
async fn long_periods_have_their_place_in_the_order_of_dates() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    for (id, start, end) in [
        ("week", "2026-01-14T12:00:00Z", Some("2026-01-21T12:00:00Z")),
        ("hours", "2026-01-15T12:00:00Z", Some("2026-01-16T06:00:00Z")),
        ("open", "2026-01-01T00:00:00Z", None),
    ] {
        let mut body = reading(id, "peter", "8867-4", "/min", 65.0, "2026-01-01");
        body.as_object_mut().unwrap().remove("effectiveDateTime");
        body["effectivePeriod"] = json!({"start": start});
        body["effectivePeriod"].as_object_mut().unwrap().extend(end.map(|end| ("end".to_owned(), json!(end))));
        put(&app, &body).await;
    }
    let order = ["open", "p-hr-1", "week", "p-hr-2", "hours", "p-kg-1"];
    for (query, expected) in [
        ("_sort=date", order.join(" ")),
        ("_sort=-date", order.iter().rev().copied().collect::<Vec<_>>().join(" ")),
        ("", order.join(" ")),
        ("_sort=-date&code=8867-4&_count=1", "hours".to_owned()),
        ("date=ge2026-01-18", "open week".to_owned()),
        ("date=lt2026-01-14", "open".to_owned()),
    ] {
        let found = app.get(&format!("/Observation?patient=peter&{query}")).await.json();
        assert_eq!(listed(&found).0, expected, "{query}");
        let mut next = Some(format!("/Observation?patient=peter&{query}&_count=2"));
        let mut paged = Vec::new();
        while let Some(path) = next.filter(|_| !query.contains("_count")) {
            let page = app.get(&path).await.json();
            paged.push(listed(&page).0);
            let links = page["link"].as_array().unwrap();
            let link = links.iter().find(|link| link["relation"] == "next");
            next = link.map(|link| link["url"].as_str().unwrap().to_owned());
        }
        assert!(paged.is_empty() || paged.join(" ") == expected, "{query}: {paged:?}");
    }
}

/// Matches in their order, and what is included, sorted.
fn listed(bundle: &Value) -> (String, String) {
    let mut found = (Vec::new(), Vec::new());
    for entry in bundle["entry"].as_array().into_iter().flatten() {
        let id = entry["resource"]["id"].as_str().unwrap_or_default().to_owned();
        match entry["search"]["mode"].as_str() {
            Some("match") => found.0.push(id),
            _ => found.1.push(id),
        }
    }
    found.1.sort();
    (found.0.join(" "), found.1.join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_lead_from_one_resource_to_another() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    let mut complaints = Vec::new();
    for (query, matches, included) in [
        // Chains (R4 §3.1.1.4.15).
        ("Observation?subject:Patient.name=peter&_sort=_id", "p-hr-1 p-hr-2 p-kg-1", ""),
        ("Observation?subject.name=peter&_sort=_id", "p-hr-1 p-hr-2 p-kg-1", ""),
        ("Observation?patient.identifier=urn:test:persons|Everywoman&_sort=_id", "e-hr-1 e-kg-1", ""),
        ("Observation?patient.family:exact=everywoman", "", ""),
        ("Observation?patient.birthdate=lt1980&code=8867-4&_sort=_id", "p-hr-1 p-hr-2", ""),
        ("Observation?device.identifier=peter-watch&_sort=_id", "p-hr-1 p-hr-2", ""),
        ("Observation?device.patient.name=eve", "e-hr-1", ""),
        ("Observation?patient.name=peter&patient.gender=female", "", ""),
        ("Observation?patient.name=peter,eve&code=29463-7&_sort=_id", "e-kg-1 p-kg-1", ""),
        ("Device?patient.name=eve", "eve-watch", ""),
        ("Patient?general-practitioner.name=Joe", "", ""),
        // Reverse chains (R4 §3.1.1.4.16).
        ("Patient?_has:Observation:patient:code=8867-4&_sort=_id", "eve peter", ""),
        ("Patient?_has:Observation:patient:value-quantity=gt85", "peter", ""),
        ("Patient?_has:Observation:subject:code=1234-5", "", ""),
        ("Patient?_id=eve&_has:Observation:patient:code=8867-4", "eve", ""),
        ("Patient?_has:Observation:patient:code=8867-4&_has:Device:patient:identifier=eve-watch", "eve", ""),
        ("Device?_has:Observation:device:value-quantity=70", "eve-watch", ""),
        ("Patient?_has:Device:patient:_has:Observation:device:value-quantity=90", "peter", ""),
        ("Observation?patient._has:Device:patient:identifier=eve-watch&_sort=_id", "e-hr-1 e-kg-1", ""),
        // Includes (R4 §3.1.1.5.4).
        ("Observation?code=29463-7&_include=Observation:patient&_sort=_id", "e-kg-1 p-kg-1", "eve peter"),
        (
            "Observation?_id=p-hr-1&_include=Observation:subject&_include=Observation:device",
            "p-hr-1",
            "peter peter-watch",
        ),
        ("Observation?_id=p-hr-1&_include=Observation:subject:Device", "p-hr-1", ""),
        ("Observation?_id=p-hr-1&_include=*", "p-hr-1", "peter peter-watch"),
        ("Observation?_id=p-hr-1&_include=Observation:device", "p-hr-1", "peter-watch"),
        ("Observation?_id=p-hr-1&_include=Observation:device&_include=Device:patient", "p-hr-1", "peter-watch"),
        (
            "Observation?_id=p-hr-1&_include=Observation:device&_include:iterate=Device:patient",
            "p-hr-1",
            "peter peter-watch",
        ),
        ("Patient?_id=eve&_revinclude=Observation:patient", "eve", "e-hr-1 e-kg-1"),
        (
            "Patient?_id=eve&_revinclude=Device:patient&_revinclude:iterate=Observation:device",
            "eve",
            "e-hr-1 eve-watch",
        ),
        ("Device?identifier=eve-watch&_revinclude=Observation:*&_include=Device:patient", "eve-watch", "e-hr-1 eve"),
        // What matches is not included besides.
        (
            "Observation?_id=p-hr-1&_include=Observation:device&_revinclude:iterate=Observation:device",
            "p-hr-1",
            "p-hr-2 peter-watch",
        ),
        // Orders (R4 §3.1.1.5.2).
        // By how much it is, in whatever unit.
        ("Observation?_sort=-value-quantity", "p-kg-1 e-kg-1 p-hr-2 e-hr-1 p-hr-1", ""),
        ("Observation?_sort=patient,-date", "e-kg-1 e-hr-1 p-kg-1 p-hr-2 p-hr-1", ""),
        ("Observation?_sort=code,_id", "e-kg-1 p-kg-1 e-hr-1 p-hr-1 p-hr-2", ""),
        ("Patient?_sort=birthdate", "peter eve", ""),
        ("Patient?_sort=-family", "eve peter", ""),
        // Compartments (R4 §3.1.1.2).
        ("Patient/eve/Observation?_sort=_id", "e-hr-1 e-kg-1", ""),
        ("Patient/eve/Observation?code=8867-4", "e-hr-1", ""),
        ("Patient/eve/Device", "eve-watch", ""),
        ("Patient/nobody/Observation", "", ""),
    ] {
        let answer = app.get(&format!("/{query}")).await;
        let bundle = answer.json();
        let found = if answer.status == 200 { listed(&bundle) } else { (answer.text(), String::new()) };
        if found != (matches.to_owned(), included.to_owned()) {
            complaints.push(format!("{query}: {found:?}"));
        }
        if answer.status == 200 && bundle["link"][0]["url"] != json!(null) {
            let own = bundle["link"][0]["url"].as_str().unwrap();
            if listed(&app.get(own).await.json()) != found {
                complaints.push(format!("{query}: its own link leads elsewhere: {own}"));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_goes_in_pages() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for index in 0..17 {
        let body =
            reading(&format!("r{index:02}"), &patient, "8867-4", "/min", f64::from(60 + index % 4), "2026-01-15");
        put(&app, &body).await;
    }
    for order in ["value-quantity,-_id", "-value-quantity", "_id", "-_id"] {
        let whole = app.get(&format!("/Observation?_sort={order}&_count=100")).await.json();
        let mut paged = Vec::new();
        let mut next = Some(format!("/Observation?_sort={order}&_count=4"));
        let mut totals = Vec::new();
        while let Some(path) = next {
            let bundle = app.get(&path).await.json();
            paged.extend(ids(&bundle));
            totals.extend(bundle["total"].as_u64());
            let links = bundle["link"].as_array().unwrap();
            next = links
                .iter()
                .find(|link| link["relation"] == "next")
                .map(|link| link["url"].as_str().unwrap().to_owned());
            // What arrives meanwhile belongs to another search.
            let late = reading(
                &format!("late-{order}-{}", paged.len()).replace(['_', ','], "."),
                &patient,
                "8867-4",
                "/min",
                61.0,
                "2026-01-15",
            );
            put(&app, &late).await;
        }
        assert_eq!(paged, ids(&whole), "{order}");
        assert_eq!(totals, [paged.len() as u64], "{order}");
        for late in ids(&app.get("/Observation?_count=100").await.json()).iter().filter(|id| id.starts_with("late")) {
            let mut body = app.get(&format!("/Observation/{late}")).await.json();
            body["status"] = json!("entered-in-error");
            body["valueQuantity"]["value"] = json!(60);
            assert_eq!(app.put(&format!("/Observation/{late}"), &body).await.status, 200);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_told_apart_from_wholes() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    let names = |bundle: &Value, index: usize| -> Vec<String> {
        let resource = bundle["entry"][index]["resource"].as_object().unwrap();
        resource.keys().filter(|name| !matches!(name.as_str(), "resourceType" | "id" | "meta")).cloned().collect()
    };
    for (query, expected) in [
        ("Patient?_id=eve&_summary=text", "text"),
        ("Patient?_id=eve&_summary=true", "active birthDate gender identifier name"),
        ("Patient?_id=eve&_summary=data", "active birthDate gender identifier name"),
        ("Patient?_id=eve&_elements=birthDate", "active birthDate"),
        ("Patient?_id=eve&_summary=false", "active birthDate gender identifier name text"),
    ] {
        let bundle = app.get(&format!("/{query}")).await.json();
        let mut found = names(&bundle, 0);
        found.sort();
        assert_eq!(found.join(" "), expected, "{query}");
        let is_part = bundle["entry"][0]["resource"]["meta"]["tag"].to_string().contains("SUBSETTED");
        assert_eq!(is_part, !query.ends_with("false"), "{query}");
    }
    // What is included is whole.
    let bundle = app.get("/Observation?_id=p-hr-1&_elements=status&_include=Observation:patient").await.json();
    assert!(names(&bundle, 1).contains(&"name".to_owned()) && !names(&bundle, 0).contains(&"valueQuantity".to_owned()));
    let count = app.get("/Observation?patient=peter&_summary=count&_include=Observation:patient").await.json();
    assert_eq!((count["total"].as_u64(), count.get("entry")), (Some(3), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_look_at_too_much_says_so() {
    let gateway =
        Gateway::with("[exchange]\nsearch_budget = 20\nchosen_ids = \"any\"\npage_entries = 3\npage_entries_max = 3")
            .await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for index in 0..12 {
        put(&app, &reading(&format!("r{index}"), &patient, "8867-4", "/min", 70.0, "2026-01-15")).await;
    }
    for query in [
        "Patient?_has:Observation:patient:code=8867-4&_has:Observation:patient:value-quantity=70&_id:not=x",
        "Observation?_sort=value-quantity&patient._has:Observation:patient:status=final",
        "Patient?_revinclude=Observation:patient",
        "Observation?has-member.has-member.has-member.has-member.code=x",
    ] {
        let answer = app.get(&format!("/{query}")).await;
        assert_eq!(
            (answer.status, answer.issues()),
            (422, vec!["search-too-costly".to_owned()]),
            "{query}: {}",
            answer.text()
        );
    }
    assert_eq!(app.find("/Patient?_has:Observation:patient:code=8867-4").await.1, [patient]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_through_what_is_withheld() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    furnished(&app).await;
    // The clinic sees the heart rates of one person, and nothing of the person herself nor of her devices.
    app.consent("eve", &[("Organization/clinic", &[Action::Access], &["heart-rate"])]).await;
    for (query, expected) in [
        ("Observation", "e-hr-1"),
        ("Observation?patient.name=eve", ""),
        ("Observation?subject:Patient._id=eve", ""),
        ("Observation?device.identifier=eve-watch", ""),
        ("Patient?_has:Observation:patient:code=8867-4", ""),
        ("Observation?_include=*&_include:iterate=Device:patient", "e-hr-1"),
        ("Observation?_sort=-value-quantity", "e-hr-1"),
        ("Patient/eve/Observation", "e-hr-1"),
        ("Patient/peter/Observation", ""),
        ("Patient/eve/Device", ""),
    ] {
        let bundle = clinic.get(&format!("/{query}")).await.json();
        assert_eq!(listed(&bundle), (expected.to_owned(), String::new()), "{query}");
        assert_eq!(bundle["total"].as_u64(), Some(u64::from(!expected.is_empty())), "{query}");
    }
    // Whoever may not search the other type is told so, whatever is there.
    let narrow = gateway.client("narrow", "system/Observation.s").await;
    for query in ["Observation?patient.name=eve", "Observation?patient.name=nobody"] {
        let answer = narrow.get(&format!("/{query}")).await;
        assert_eq!((answer.status, answer.issues()), (403, vec!["scope-insufficient".to_owned()]), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_of_each_measure() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    put(&app, &reading("p-kg-0", "peter", "29463-7", "kg", 79.5, "2025-12-01")).await;
    for (query, expected) in [
        ("patient=peter", "p-hr-2 p-kg-1"),
        ("subject=Patient/peter&max=2", "p-hr-1 p-hr-2 p-kg-0 p-kg-1"),
        ("patient=peter&code=8867-4", "p-hr-2"),
        ("patient=peter&code=8867-4&date=lt2026-01-15", "p-hr-1"),
        ("patient=peter&category=vital-signs&max=10", "p-hr-1 p-hr-2 p-kg-0 p-kg-1"),
        ("patient=peter,eve&code=8867-4", "p-hr-2"),
        ("patient=nobody", ""),
    ] {
        let bundle = app.get(&format!("/Observation/$lastn?{query}")).await.json();
        let mut found = ids(&bundle);
        found.sort();
        assert_eq!(
            (found.join(" "), bundle["total"].as_u64()),
            (expected.to_owned(), Some(found.len() as u64)),
            "{query}"
        );
    }
    // Within a measure the latest comes first.
    let bundle = app.get("/Observation/$lastn?patient=peter&code=29463-7&max=5").await.json();
    assert_eq!(ids(&bundle), ["p-kg-1", "p-kg-0"]);
    for query in [
        "code=8867-4",
        "patient=peter&max=0",
        "patient=peter&max=x",
        "patient=peter&_sort=date",
        "patient=peter&_count=5",
    ] {
        let answer = app.get(&format!("/Observation/$lastn?{query}")).await;
        assert_eq!((answer.status, answer.issues()), (400, vec!["operation-parameter".to_owned()]), "{query}");
    }
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    app.consent("peter", &[("Organization/clinic", &[Action::Access], &["weight"])]).await;
    let bundle = clinic.get("/Observation/$lastn?patient=peter&max=1").await.json();
    assert_eq!((ids(&bundle), bundle["total"].as_u64()), (vec!["p-kg-1".to_owned()], Some(1)));
}

/// Code and value of each statistic of the first measure.
fn told(parameters: &Value) -> String {
    let components = parameters["parameter"][0]["resource"]["component"].as_array().cloned().unwrap_or_default();
    let tell = |component: &Value| {
        let quantity = &component["valueQuantity"];
        format!(
            "{}={}{}",
            component["code"]["coding"][0]["code"].as_str().unwrap(),
            quantity["value"],
            quantity["unit"].as_str().unwrap_or_default()
        )
    };
    components.iter().map(tell).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_what_may_be_seen() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    for (query, expected) in [
        (
            "subject=Patient/peter&code=8867-4&statistic=count,minimum,maximum,average",
            "count=2 minimum=60/min maximum=90/min average=75/min",
        ),
        ("subject=peter&code=http://loinc.org|8867-4&statistic=median&statistic=sum", "median=75/min sum=150/min"),
        ("subject=peter&system=http://loinc.org&code=29463-7&statistic=total-count", "total-count=1"),
        ("subject=peter&code=8867-4&statistic=count&date=ge2026-01-15", "count=1"),
        ("subject=peter&code=8867-4&statistic=count&duration=1", ""),
        ("subject=peter&code=8867-4&statistic=count&duration=1000000", "count=2"),
        ("subject=peter&code=1234-5&statistic=count", ""),
        ("subject=nobody&code=8867-4&statistic=count", ""),
    ] {
        let answer = app.get(&format!("/Observation/$stats?{query}")).await;
        assert_eq!((answer.status, told(&answer.json())), (200, expected.to_owned()), "{query}: {}", answer.text());
    }
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "subject", "valueUri": "Patient/peter"},
        {"name": "coding", "valueCoding": {"system": "http://loinc.org", "code": "8867-4"}},
        {"name": "period", "valuePeriod": {"start": "2026-01-14", "end": "2026-01-14"}},
        {"name": "statistic", "valueCode": "count"},
    ]});
    assert_eq!(told(&app.post("/Observation/$stats", &body).await.json()), "count=1");
    for query in [
        "subject=peter&code=8867-4",
        "code=8867-4&statistic=count",
        "subject=peter&statistic=count",
        "subject=peter&code=8867-4&statistic=kurtosis",
        "subject=peter&code=1&statistic=count&colour=red",
        "subject=peter&code=1&statistic=count&duration=-1",
    ] {
        let answer = app.get(&format!("/Observation/$stats?{query}")).await;
        assert_eq!((answer.status, answer.issues()), (400, vec!["operation-parameter".to_owned()]), "{query}");
    }
    let clinic = gateway.client("clinic", APP_SCOPES).await;
    let hidden = clinic.get("/Observation/$stats?subject=peter&code=8867-4&statistic=count").await;
    let absent = clinic.get("/Observation/$stats?subject=nobody&code=8867-4&statistic=count").await;
    assert_eq!((hidden.status, &hidden.bytes), (200, &absent.bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_searched_by_what_an_event_says() {
    let gateway = Gateway::with(ANY_ID).await;
    let app = gateway.app().await;
    furnished(&app).await;
    app.get("/Observation/p-hr-1").await;
    let count = async |query: &str| {
        let answer = app.get(&format!("/AuditEvent?patient=peter&{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let bundle = answer.json();
        (ids(&bundle).len(), bundle["total"].as_u64())
    };
    assert_eq!(count("action=R&_count=1").await.0, 1);
    assert_eq!(count("action=R").await, (1, Some(1)));
    assert_eq!(count("entity=Observation/p-hr-1/_history/1&action=C").await.1, Some(1));
    assert_eq!(count("date=lt2020-01-01").await, (0, Some(0)));
    let (listed, total) = count("_count=2&_total=accurate").await;
    assert!(listed == 2 && total > Some(4), "{total:?}");
    assert_eq!(count("_summary=count&action=R").await, (0, Some(1)));
    let mut paged = 0;
    let mut next = Some("/AuditEvent?patient=peter&action=C&_count=2&_sort=-date".to_owned());
    while let Some(path) = next {
        let bundle = app.get(&path).await.json();
        paged += ids(&bundle).len();
        let links = bundle["link"].as_array().unwrap();
        next =
            links.iter().find(|link| link["relation"] == "next").map(|link| link["url"].as_str().unwrap().to_owned());
    }
    assert_eq!(Some(paged as u64), count("action=C&_total=accurate").await.1);
    let parts = app.get("/AuditEvent?patient=peter&action=R&_elements=recorded").await.json();
    assert!(parts["entry"][0]["resource"].get("purposeOfEvent").is_none(), "{parts}");
}

#[tokio::test]
async fn a_chain_of_no_type_leads_where_the_client_may_search() {
    let gateway = Gateway::start().await;
    let app = gateway.client("app", "system/Patient.crus system/Consent.crus system/Observation.crus").await;
    let patient = app.consenting_person().await;
    let reading = app.post("/Observation", &heart_rate(&patient, "one", 62)).await.id();
    // A subject may be a Device, a Group or a Location as well.
    let found = app.find(&format!("/Observation?subject._id={patient}")).await;
    assert_eq!(found.1, [reading]);
    assert_eq!(app.find("/Observation?subject._id=nobody").await.1, [""; 0]);
    let named = app.get(&format!("/Observation?subject:Device._id={patient}")).await;
    assert_eq!((named.status, named.issues()), (403, vec!["scope-insufficient".to_owned()]));
}
