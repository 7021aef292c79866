//! Hostile and broken input: the right status, a stable issue, nothing stored and nothing repeated to the sender.

use std::io::Write;

use mhealth_gateway::store::Plan;
use serde_json::{Value, json};

use crate::fixture::{Client, Gateway, heart_rate, issues};

/// Stands in everything that is sent, and must stand in nothing that is answered.
const MARKER: &str = "XMARKERX";

const JSON: (&str, &str) = ("content-type", "application/fhir+json");
const XML: (&str, &str) = ("content-type", "application/fhir+xml");

struct Case {
    name: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    expected: (u16, &'static str),
}

fn post(name: &'static str, body: impl Into<Vec<u8>>, expected: (u16, &'static str)) -> Case {
    Case { name, method: "POST", path: "/Observation".to_owned(), headers: vec![JSON], body: body.into(), expected }
}

fn with(case: Case, headers: &[(&'static str, &'static str)]) -> Case {
    Case { headers: headers.to_vec(), ..case }
}

fn at(case: Case, method: &'static str, path: &str) -> Case {
    Case { method, path: path.to_owned(), ..case }
}

/// Sends a case; what is wrong with the answer.
async fn check(app: &Client, case: &Case) -> Option<String> {
    let answer = app.raw(case.method, &case.path, &case.headers, case.body.clone()).await;
    let (name, text) = (case.name, answer.text());
    let shown = format!("{text}{:?}", answer.headers);
    if shown.contains(MARKER) {
        return Some(format!("{name}: repeats what was sent: {shown}"));
    }
    let issue = serde_json::from_str::<Value>(&text).ok().filter(|body| body["resourceType"] == "OperationOutcome");
    let ids = issue.as_ref().map(issues).unwrap_or_default();
    if answer.status != case.expected.0 || !ids.iter().any(|id| id == case.expected.1) {
        return Some(format!("{name}: {} {ids:?}, not {:?}: {text}", answer.status, case.expected));
    }
    (case.expected.0 == 405 && answer.header("allow").is_empty()).then(|| format!("{name}: 405 without Allow"))
}

/// Sends all, complains of all, and looks whether anything was kept.
async fn check_all(gateway: &Gateway, app: &Client, patient: &str, cases: Vec<Case>) {
    let mut complaints = Vec::new();
    for case in &cases {
        complaints.extend(check(app, case).await);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let (total, found) = app.find(&format!("/Observation?patient={patient}")).await;
    assert_eq!((total, found.len()), (Some(0), 0));
    for (kind, expected) in [("Observation", 0), ("Patient", 1), ("Consent", 1), ("Device", 0), ("Foo", 0)] {
        let page = gateway.store().search(Plan::of(kind)).await.unwrap();
        assert_eq!(page.rows.len(), expected, "rows of {kind}");
    }
    // After all that, the gateway still serves.
    assert_eq!(app.post("/Observation", &heart_rate(patient, "after", 70)).await.status, 201);
}

/// A heart rate that would be accepted, with the marker in its text and a change.
fn changed(patient: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body = heart_rate(patient, MARKER, 70);
    body["note"] = json!([{"text": MARKER}]);
    change(&mut body);
    body.to_string().into_bytes()
}

fn nested(depth: usize) -> Vec<u8> {
    let (open, close) = ("{\"extension\":[".repeat(depth), "]}".repeat(depth));
    format!("{{\"resourceType\":\"Observation\",\"note\":\"{MARKER}\",\"extension\":[{open}{close}]}}").into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn start() -> (Gateway, Client, String) {
    let gateway = Gateway::with("[limits]\nbody_bytes = 1500000").await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    (gateway, app, patient)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_well_formed_is_refused() {
    let (gateway, app, patient) = start().await;
    let good = String::from_utf8(changed(&patient, |_| {})).unwrap();
    let wide = (0..10_000).map(|index| format!(",\"{MARKER}{index}\":1")).collect::<Vec<_>>().concat();
    let mut not_utf8 = good.clone().into_bytes();
    let place = good.find(MARKER).unwrap();
    not_utf8[place] = 0xff;
    let mut nul = good.clone().into_bytes();
    nul[place] = 0;
    let cases = vec![
        post("cut off", &good.as_bytes()[..good.len() - 1], (400, "json-syntax")),
        post("no JSON", MARKER, (400, "json-syntax")),
        post("two objects", format!("{good}{good}"), (400, "json-syntax")),
        post("comment", good.replacen('{', &format!("{{/* {MARKER} */"), 1), (400, "json-comment")),
        post("trailing comma", good.replacen("}]", "},]", 1), (400, "json-comma")),
        post("single quotes", good.replace('"', "'"), (400, "json-quotes")),
        post("NaN", good.replace(":70", ":NaN"), (400, "json-quotes")),
        post("leading zero", good.replace(":70", ":070"), (400, "json-syntax")),
        post("plus sign", good.replace(":70", ":+70"), (400, "json-syntax")),
        post("lone surrogate", good.replacen(MARKER, "XMARKERX\\ud800", 1), (400, "json-syntax")),
        post("not UTF-8", not_utf8, (400, "json-syntax")),
        post("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), (400, "json-syntax")),
        post("NUL", nul, (400, "json-syntax")),
        post("newline in a string", good.replacen(MARKER, "XMARKERX\n", 1), (400, "json-syntax")),
        post("an array", format!("[{good}]"), (400, "json-syntax")),
        post("a string", format!("\"{MARKER}\""), (400, "json-syntax")),
        post("null", "null", (400, "json-syntax")),
        post("blank", "   ", (400, "json-syntax")),
        post("empty", "", (400, "body-missing")),
        post("a key twice", good.replacen('{', "{\"status\":\"final\",", 1), (400, "json-duplicate-key")),
        post("escaped key twice", good.replacen('{', "{\"st\\u0061tus\":\"final\",", 1), (400, "json-duplicate-key")),
        post("too deep", nested(40), (400, "json-too-deep")),
        post("very deep", nested(50_000), (400, "json-too-deep")),
        post("too wide", format!("{}{wide}}}", &good[..good.len() - 1]), (400, "json-too-wide")),
        with(
            post(
                "malformed XML",
                format!("<Observation xmlns=\"http://hl7.org/fhir\"><{MARKER}></Observation>"),
                (400, "xml-syntax"),
            ),
            &[XML],
        ),
        with(
            post(
                "XML without namespace",
                format!("<Observation><id value=\"{MARKER}\"/></Observation>"),
                (400, "xml-syntax"),
            ),
            &[XML],
        ),
        with(
            post(
                "XML with entities",
                format!(
                    "<!DOCTYPE x [<!ENTITY e \"{MARKER}\">]><Observation xmlns=\"http://hl7.org/fhir\"><id value=\"&e;\"/></Observation>"
                ),
                (400, "xml-doctype"),
            ),
            &[XML],
        ),
        with(
            post(
                "undeclared entity",
                format!("<Observation xmlns=\"http://hl7.org/fhir\"><id value=\"&{MARKER};\"/></Observation>"),
                (400, "xml-syntax"),
            ),
            &[XML],
        ),
        with(post("JSON called XML", good.clone(), (400, "xml-syntax")), &[XML]),
        post("XML called JSON", "<Observation xmlns=\"http://hl7.org/fhir\"/>", (400, "json-syntax")),
        with(post("no Content-Type", good.clone(), (415, "media-type-unsupported")), &[]),
        with(post("text/plain", good.clone(), (415, "media-type-unsupported")), &[("content-type", "text/plain")]),
        with(
            post("latin-1", good.clone(), (415, "media-type-unsupported")),
            &[("content-type", "application/fhir+json; charset=iso-8859-1")],
        ),
        with(
            post("a made-up type", good.clone(), (415, "media-type-unsupported")),
            &[("content-type", "application/XMARKERX")],
        ),
        with(
            post("cut gzip", &gzip(good.as_bytes())[..60], (400, "body-encoding")),
            &[JSON, ("content-encoding", "gzip")],
        ),
        with(post("no gzip", good.clone(), (400, "body-encoding")), &[JSON, ("content-encoding", "gzip")]),
        with(post("brotli", good.clone(), (400, "body-encoding")), &[JSON, ("content-encoding", "br")]),
        with(
            post("twice gzip", gzip(&gzip(good.as_bytes())), (400, "body-encoding")),
            &[JSON, ("content-encoding", "gzip, gzip")],
        ),
        with(post("made-up coding", good.clone(), (400, "body-encoding")), &[JSON, ("content-encoding", "XMARKERX")]),
        with(
            post("gzip bomb", gzip(&vec![b' '; 50 << 20]), (413, "body-too-large")),
            &[JSON, ("content-encoding", "gzip")],
        ),
        post("too large", vec![b' '; 1_500_001], (413, "body-too-large")),
        post("far too large", vec![b' '; 20 << 20], (413, "body-too-large")),
    ];
    check_all(&gateway, &app, &patient, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_valid_resource_is_refused() {
    let (gateway, app, patient) = start().await;
    let bent = |name, expected, change: fn(&mut Value)| post(name, changed(&patient, change), expected);
    let good = String::from_utf8(changed(&patient, |_| {})).unwrap();
    let cases = vec![
        bent("no resourceType", (400, "resource-type-missing"), |body| {
            drop(body.as_object_mut().unwrap().remove("resourceType"));
        }),
        bent("resourceType of another shape", (400, "resource-type-missing"), |body| {
            body["resourceType"] = json!(["Observation"]);
        }),
        bent("a made-up resourceType", (400, "type-not-in-url"), |body| body["resourceType"] = json!(MARKER)),
        bent("another resourceType", (400, "type-not-in-url"), |body| body["resourceType"] = json!("Patient")),
        at(
            bent("a made-up type", (404, "interaction-unsupported"), |body| body["resourceType"] = json!("Foo")),
            "POST",
            "/Foo",
        ),
        at(
            bent("a type that is not taken in", (404, "interaction-unsupported"), |body| {
                body["resourceType"] = json!("Condition");
            }),
            "POST",
            "/Condition",
        ),
        at(
            bent("an audit event", (404, "interaction-unsupported"), |body| body["resourceType"] = json!("AuditEvent")),
            "POST",
            "/AuditEvent",
        ),
        bent("a made-up contained type", (422, "resource-type-unknown"), |body| {
            body["contained"] = json!([{"resourceType": MARKER, "id": "a"}]);
        }),
        bent("unknown property", (422, "element-unknown"), |body| body[MARKER] = json!(1)),
        bent("unknown property below", (422, "element-unknown"), |body| body["code"][MARKER] = json!(1)),
        bent("array for one", (422, "element-shape"), |body| body["code"] = json!([{"text": MARKER}])),
        bent("one for an array", (422, "element-shape"), |body| body["identifier"] = json!({"value": MARKER})),
        bent("object for a code", (422, "element-shape"), |body| body["status"] = json!({"value": MARKER})),
        bent("text for an object", (422, "element-shape"), |body| body["subject"] = json!(MARKER)),
        bent("number for a code", (422, "element-shape"), |body| body["status"] = json!(1)),
        bent("text for a decimal", (422, "element-shape"), |body| body["valueQuantity"]["value"] = json!("XMARKERX")),
        bent("empty array", (422, "element-empty"), |body| body["performer"] = json!([])),
        bent("empty object", (422, "element-empty"), |body| body["method"] = json!({})),
        bent("empty string", (422, "element-empty"), |body| body["note"][0]["text"] = json!("")),
        bent("null", (422, "element-empty"), |body| body["issued"] = Value::Null),
        bent("null in an array", (422, "element-empty"), |body| body["identifier"] = json!([null])),
        bent("code not in the set", (422, "binding-required"), |body| body["status"] = json!(MARKER)),
        bent("no date", (422, "primitive-format"), |body| body["effectiveDateTime"] = json!(MARKER)),
        bent("impossible date", (422, "primitive-format"), |body| {
            body["effectiveDateTime"] = json!("2026-02-30T10:00:00Z");
        }),
        bent("time without offset", (422, "primitive-format"), |body| {
            body["effectiveDateTime"] = json!("2026-02-20T10:00:00");
        }),
        bent("future", (422, "measure-future"), |body| body["effectiveDateTime"] = json!("2999-01-01T00:00:00Z")),
        bent("two values", (422, "choice-repeated"), |body| body["valueString"] = json!(MARKER)),
        bent("no code", (422, "cardinality-min"), |body| drop(body.as_object_mut().unwrap().remove("code"))),
        bent("unit of another measure", (422, "measure-unit"), |body| {
            body["valueQuantity"] =
                json!({"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"});
        }),
        bent("no unit of any measure", (422, "unit-unknown"), |body| body["valueQuantity"]["code"] = json!(MARKER)),
        bent("implausible", (422, "measure-implausible"), |body| body["valueQuantity"]["value"] = json!(7000)),
        bent("modifier extension", (422, "modifier-extension-unknown"), |body| {
            body["modifierExtension"] = json!([{"url": "urn:XMARKERX", "valueString": MARKER}]);
        }),
        bent("implicit rules", (422, "implicit-rules-unknown"), |body| body["implicitRules"] = json!("urn:XMARKERX")),
        bent("reference of no form", (422, "reference-format"), |body| {
            body["performer"] = json!([{"reference": "XMARKERX XMARKERX"}]);
        }),
        bent("reference to another type", (422, "reference-target"), |body| {
            body["performer"] = json!([{"reference": "Observation/XMARKERX"}]);
        }),
        bent("contained that is not there", (422, "contained-unresolved"), |body| {
            body["performer"] = json!([{"reference": "#XMARKERX"}]);
        }),
        bent(
            "script",
            (422, "narrative-invalid"),
            |body| body["text"] = json!({"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><script>XMARKERX</script></div>"}),
        ),
        bent("escaped NUL", (422, "primitive-format"), |body| body["note"][0]["text"] = json!("XMARKERX\u{0}")),
        bent("subject elsewhere", (422, "patient-unknown"), |body| {
            body["subject"] = json!({"reference": "https://XMARKERX.example/fhir/Patient/1"});
        }),
        post("a huge exponent", good.replace(":70", ":1e999999999"), (422, "measure-implausible")),
        post("a tiny exponent", good.replace(":70", ":-1e-999999999"), (422, "measure-implausible")),
        post("a huge integer", good.replace(":70", &format!(":{}", "9".repeat(100_000))), (422, "primitive-format")),
        bent("a string beyond 1 MiB", (422, "primitive-format"), |body| {
            body["valueQuantity"]["unit"] = json!(format!("{MARKER}{}", "x".repeat(1 << 20)));
        }),
        at(bent("PUT without id", (400, "id-mismatch"), |_| {}), "PUT", "/Observation/XMARKERX"),
        at(
            bent("PUT with another id", (400, "id-mismatch"), |body| body["id"] = json!("XMARKERX-2")),
            "PUT",
            "/Observation/XMARKERX",
        ),
        at(
            bent("PUT to no id", (400, "id-invalid"), |body| body["id"] = json!("XMARKERX_")),
            "PUT",
            "/Observation/XMARKERX_",
        ),
        at(bent("PUT to an escaped id", (400, "id-invalid"), |_| {}), "PUT", "/Observation/XMARKERX%2e%2e"),
        at(bent("DELETE", (403, "scope-insufficient"), |_| {}), "DELETE", "/Observation/XMARKERX"),
        at(bent("PATCH of nothing", (404, "not-found"), |_| {}), "PATCH", "/Observation/XMARKERX"),
        at(bent("PUT on a type", (400, "condition-unsupported"), |_| {}), "PUT", "/Observation"),
        at(bent("XMARKERX", (405, "method-not-allowed"), |_| {}), "XMARKERX", "/Observation"),
        at(bent("no such address", (404, "route-unknown"), |_| {}), "POST", "/Observation/a/b/XMARKERX"),
        at(bent("small letters", (404, "route-unknown"), |_| {}), "POST", "/observation"),
        at(bent("an operation", (404, "route-unknown"), |_| {}), "POST", "/Observation/$XMARKERX"),
        at(bent("a version of nothing", (404, "not-found"), |_| {}), "GET", "/Observation/XMARKERX/_history/XMARKERX"),
        at(bent("nothing", (404, "not-found"), |_| {}), "GET", "/Observation/XMARKERX"),
        at(bent("bad search value", (400, "search-value"), |_| {}), "GET", "/Observation?date=XMARKERX"),
        at(bent("bad search modifier", (400, "search-modifier"), |_| {}), "GET", "/Observation?code:XMARKERX=1"),
        at(
            bent("bad search parameter", (400, "search-parameter-unknown"), |_| {}),
            "GET",
            "/Observation?XMARKERX%20=1",
        ),
        at(bent("bad page", (410, "page-unknown"), |_| {}), "GET", "/Observation?_page=XMARKERX"),
        with(
            bent("bad condition", (400, "search-parameter-unknown"), |_| {}),
            &[JSON, ("if-none-exist", "XMARKERX=1")],
        ),
        with(
            at(bent("bad version", (412, "version-conflict"), |body| body["id"] = json!("a")), "PUT", "/Observation/a"),
            &[JSON, ("if-match", "XMARKERX")],
        ),
    ];
    check_all(&gateway, &app, &patient, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_not_repeated() {
    let (gateway, app, patient) = start().await;
    let body = changed(&patient, |_| {});
    let cases = ["Bearer XMARKERX", "Bearer XMARKERX.XMARKERX.XMARKERX", "XMARKERX", "Basic WE1BUktFUlg6WE1BUktFUlg="]
        .map(|value| {
            let id = if value.starts_with("Bearer") { "token-invalid" } else { "login-required" };
            with(post(value, body.clone(), (401, id)), &[JSON, ("authorization", value)])
        });
    check_all(&gateway, &app, &patient, cases.into()).await;
}
