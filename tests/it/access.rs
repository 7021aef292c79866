//! Who may do what: doors, tokens, scopes, and other people's patients.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mhealth_gateway::policy::access::assertion::ASSERTION_TYPE;
use mhealth_gateway::policy::access::scope::Scopes;
use mhealth_gateway::policy::access::token::{self, Facts, Realm};
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::server::routes::{Door, ROUTES};
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, consent, eventually, heart_rate};

const JSON: (&str, &str) = ("content-type", "application/fhir+json");

#[tokio::test(flavor = "multi_thread")]
async fn only_open_doors_are_open() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for row in ROUTES {
        let path = row.pattern.replace("{definitions}/{id}", "StructureDefinition/mh-heart-rate");
        let path = path.replace("{definitions}", "StructureDefinition").replace("{file}", "index.html");
        let path = path.replace("Basic/{id}", "Basic/observation-changed");
        let path = path.replace("{path}", "entries/000.p/1");
        let path = path.replace("/guide/{version}", "/guide/0.1.0");
        let path = path.replace("{kind}", "Observation").replace("{id}", "1").replace("{version}", "1");
        let address = format!("{}{path}", app.root());
        for authorization in ["", "Bearer nonsense"] {
            let headers = [JSON, ("authorization", authorization)];
            // The body is no JSON: a stranger must not even learn that.
            let answer = app.raw(row.method, &address, &headers, "{nonsense").await;
            let expected = match row.door {
                // The guide's front page moves its readers below the slash.
                Door::Open if path == "/guide" => 308,
                Door::Open if row.method == "OPTIONS" => 204,
                Door::Open if path == "/subscriptions/websocket" => 426,
                Door::Open => 200,
                Door::Assertion => 400,
                Door::Visit => 401,
                Door::Token => 401,
            };
            assert_eq!(answer.status, expected, "{} {path} with {authorization:?}", row.method);
            if row.door == Door::Token && row.method != "HEAD" {
                let (id, challenge) = if authorization.is_empty() {
                    ("login-required", "Bearer")
                } else {
                    ("token-invalid", "Bearer error=\"invalid_token\"")
                };
                assert_eq!((answer.issues(), answer.header("www-authenticate")), (vec![id.to_owned()], challenge));
            }
        }
    }
}

/// A token as the gateway would make it, but for what is changed.
fn minted(client: &str, scopes: &str, issuer: &str, audience: &str, key: &[u8; 32], now_ms: i64) -> String {
    let scopes = Scopes::parse(scopes).unwrap();
    let purposes = ["TREAT".to_owned()];
    let facts = Facts {
        client,
        actor: "Organization/app",
        scopes: &scopes,
        purposes: &purposes,
        jti: [7; 16],
        lifetime_s: token::MAX_LIFETIME_S,
    };
    token::issue(&facts, Realm { issuer, audience }, key, now_ms).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_ours_now_are_refused() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let key = gateway.store().secret("access-token").unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    let base = &gateway.base;
    let mint = |client, scopes, issuer, audience, key, now| minted(client, scopes, issuer, audience, key, now);
    let good = mint("app", APP_SCOPES, base, base, &key, now);
    let (header, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    // {"alg":"none"}
    let none = "eyJhbGciOiJub25lIn0";
    let flipped: String = signature.chars().rev().collect();
    for (name, bearer, status) in [
        ("genuine", good.clone(), 200),
        ("expired", mint("app", APP_SCOPES, base, base, &key, now - 301_000), 401),
        ("from the future", mint("app", APP_SCOPES, base, base, &key, now + 60_000), 401),
        ("of another gateway", mint("app", APP_SCOPES, base, base, &[9; 32], now), 401),
        ("of another issuer", mint("app", APP_SCOPES, "https://other.example/fhir", base, &key, now), 401),
        ("for another audience", mint("app", APP_SCOPES, base, "https://other.example/fhir", &key, now), 401),
        ("of an unknown client", mint("nobody", APP_SCOPES, base, base, &key, now), 401),
        ("beyond the registration", mint("app", "system/*.cruds", base, base, &key, now), 401),
        ("alg none", format!("{none}.{payload}."), 401),
        ("alg none, signed", format!("{none}.{payload}.{signature}"), 401),
        ("no signature", format!("{header}.{payload}."), 401),
        ("another signature", format!("{header}.{payload}.{flipped}"), 401),
        ("two parts", format!("{header}.{payload}"), 401),
        ("four parts", format!("{good}.x"), 401),
        ("very long", "x".repeat(8000), 401),
    ] {
        let authorization = format!("Bearer {bearer}");
        let answer = app.raw("GET", "/Observation", &[("authorization", &authorization)], "").await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert!(status == 200 || answer.issues() == ["token-invalid"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_and_removed_clients_lose_their_tokens() {
    let gateway = Gateway::start().await;
    let suspended = gateway.client("suspended", APP_SCOPES).await;
    let removed = gateway.client("removed", APP_SCOPES).await;
    let stored = gateway.store().get_client("suspended").await.unwrap().unwrap();
    let mut document: Value = serde_json::from_str(&stored).unwrap();
    document["suspended"] = json!(true);
    gateway.store().put_client("suspended", &document.to_string()).await.unwrap();
    assert!(gateway.store().remove_client("removed").await.unwrap());
    for client in [&suspended, &removed] {
        let answer = grant(client, &assertion(client, &json!({})), &[]).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some("invalid_client")), "{}", client.id);
        eventually("the token's end", async || {
            let answer = client.get("/Observation").await;
            (answer.status == 401).then_some(())
        })
        .await;
    }
}

/// A signed assertion of a client; members of `patch` replace claims, null removes them.
fn assertion(client: &Client, patch: &Value) -> String {
    let now = jiff::Timestamp::now().as_second();
    let url = format!("{}/auth/token", client.root());
    let jti = format!("{}-{}", client.id, jiff::Timestamp::now().as_nanosecond());
    let mut claims = json!({"iss": client.id, "sub": client.id, "aud": url, "jti": jti, "iat": now, "exp": now + 240});
    let object = claims.as_object_mut().unwrap();
    for (name, value) in patch.as_object().unwrap() {
        match value {
            Value::Null => drop(object.remove(name)),
            Value::Number(offset) => drop(object.insert(name.clone(), json!(now + offset.as_i64().unwrap()))),
            value => drop(object.insert(name.clone(), value.clone())),
        }
    }
    let pem = std::fs::read(&client.key).unwrap();
    let mut header = Header::new(Algorithm::ES384);
    header.kid = Some("key-1".to_owned());
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_pem(&pem).unwrap()).unwrap()
}

async fn grant(client: &Client, assertion: &str, extra: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ];
    form.extend(extra);
    ask(client, "application/x-www-form-urlencoded", &form).await
}

async fn ask(client: &Client, media: &str, form: &[(&str, &str)]) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let url = format!("{}/auth/token", client.root());
    client.raw("POST", &url, &[("content-type", media), ("authorization", "")], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_are_checked_and_serve_once() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    for (name, patch, expected) in [
        ("genuine", json!({}), (200, None)),
        ("for another server", json!({"aud": "https://other.example/token"}), (401, Some("invalid_client"))),
        ("for the FHIR address", json!({"aud": gateway.base}), (401, Some("invalid_client"))),
        ("for several", json!({"aud": [format!("{}/auth/token", app.root()), "urn:x"]}), (401, Some("invalid_client"))),
        ("for nobody", json!({"aud": null}), (401, Some("invalid_client"))),
        ("too long-lived", json!({"exp": 1000}), (401, Some("invalid_client"))),
        ("expired", json!({"exp": -60}), (401, Some("invalid_client"))),
        ("without end", json!({"exp": null}), (401, Some("invalid_client"))),
        ("not yet", json!({"nbf": 200}), (401, Some("invalid_client"))),
        ("about another", json!({"sub": "somebody"}), (401, Some("invalid_client"))),
        ("by another", json!({"iss": "somebody"}), (401, Some("invalid_client"))),
        ("without jti", json!({"jti": null}), (401, Some("invalid_client"))),
    ] {
        let answer = grant(&app, &assertion(&app, &patch), &[]).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), expected, "{name}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
    }
    let once = assertion(&app, &json!({}));
    assert_eq!(grant(&app, &once, &[]).await.status, 200);
    let twice = grant(&app, &once, &[]).await;
    assert_eq!((twice.status, twice.json()["error"].as_str()), (401, Some("invalid_client")));
    let mut tampered = assertion(&app, &json!({}));
    tampered.truncate(tampered.len() - 4);
    assert_eq!(grant(&app, &tampered, &[]).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_requests_have_one_form() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let form = "application/x-www-form-urlencoded";
    let fresh = || assertion(&app, &json!({}));
    let (grant_type, assertion_type) =
        (("grant_type", "client_credentials"), ("client_assertion_type", ASSERTION_TYPE));
    let wrong_type = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    type Pairs<'a> = Vec<(&'a str, &'a str)>;
    let table: [(&str, &str, Pairs<'_>, &str); 10] = [
        ("JSON", "application/json", vec![grant_type, assertion_type], "invalid_request"),
        ("no media type", "", vec![grant_type, assertion_type], "invalid_request"),
        ("password", form, vec![("grant_type", "password"), assertion_type], "unsupported_grant_type"),
        ("no grant type", form, vec![assertion_type], "unsupported_grant_type"),
        ("other assertion", form, vec![grant_type, wrong_type], "invalid_request"),
        ("grant type twice", form, vec![grant_type, grant_type, assertion_type], "invalid_request"),
        ("assertion type twice", form, vec![grant_type, assertion_type, assertion_type], "invalid_request"),
        ("wider scope", form, vec![grant_type, assertion_type, ("scope", "system/*.cruds")], "invalid_scope"),
        ("user scope", form, vec![grant_type, assertion_type, ("scope", "user/Observation.rs")], "invalid_scope"),
        ("no scope at all", form, vec![grant_type, assertion_type, ("scope", "XMARKERX")], "invalid_scope"),
    ];
    for (name, media, mut pairs, error) in table {
        let signed = fresh();
        pairs.push(("client_assertion", &signed));
        let answer = ask(&app, media, &pairs).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(error)), "{name}: {}", answer.text());
        assert!(!answer.text().contains("XMARKERX"));
        let wider = name == "wider scope";
        let told = answer.text().contains("goes beyond what the client is registered for");
        assert_eq!(told, wider, "{name}: {}", answer.text());
    }
    let (one, two) = (fresh(), fresh());
    let pairs = [grant_type, assertion_type, ("client_assertion", &one), ("client_assertion", &two)];
    assert_eq!(ask(&app, form, &pairs).await.json()["error"], "invalid_request");
    assert_eq!(ask(&app, form, &[grant_type, assertion_type]).await.json()["error"], "invalid_request");
    let narrow = grant(&app, &fresh(), &[("scope", "system/Observation.rs")]).await.json();
    assert_eq!((&narrow["scope"], &narrow["token_type"]), (&json!("system/Observation.rs"), &json!("bearer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_bound_every_interaction() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let kept = app.post("/Observation", &heart_rate(&patient, "1", 70)).await;
    let id = kept.id();
    let mut update = kept.json();
    update["note"] = json!([{"text": "again"}]);
    let new = heart_rate(&patient, "2", 70);
    // The same client each time, with fewer rights in its token.
    let bundle = |method: &str, url: &str, resource: &Value| {
        let mut entry = json!({"request": {"method": method, "url": url}});
        if !resource.is_null() {
            entry["resource"] = resource.clone();
        }
        json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    };
    let path = format!("/Observation/{id}");
    let nothing = Value::Null;
    let relative = &path[1..];
    let table: Vec<(&str, &str, String, Value, bool)> = vec![
        ("system/Observation.r", "GET", path.clone(), nothing.clone(), true),
        ("system/Observation.s", "GET", path.clone(), nothing.clone(), false),
        ("system/Observation.cus", "GET", format!("{path}/_history/1"), nothing.clone(), false),
        ("system/Observation.s", "GET", "/Observation".to_owned(), nothing.clone(), true),
        ("system/Observation.r", "GET", "/Observation".to_owned(), nothing.clone(), false),
        ("system/Patient.crus", "GET", "/Observation".to_owned(), nothing.clone(), false),
        ("system/Observation.crus", "GET", "/AuditEvent?patient=1".to_owned(), nothing.clone(), false),
        ("system/Observation.rus", "POST", "/Observation".to_owned(), new.clone(), false),
        ("system/Observation.crs", "PUT", path.clone(), update.clone(), false),
        ("system/Observation.rus", "BATCH", String::new(), bundle("POST", "Observation", &new), false),
        ("system/Observation.crs", "BATCH", String::new(), bundle("PUT", relative, &update), false),
        ("system/Observation.c", "BATCH", String::new(), bundle("GET", relative, &nothing), false),
        ("system/Observation.c", "BATCH", String::new(), bundle("GET", "Observation", &nothing), false),
        ("system/Observation.c", "POST", "/Observation".to_owned(), new.clone(), true),
        ("system/Observation.u", "PUT", path.clone(), update.clone(), true),
    ];
    for (scope, method, path, body, allowed) in table {
        let granted = grant(&app, &assertion(&app, &json!({})), &[("scope", scope)]).await.json();
        let narrow = Client { bearer: granted["access_token"].as_str().unwrap().to_owned(), ..app.clone() };
        let sent = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let verb = if method == "BATCH" { "POST" } else { method };
        let answer = narrow.raw(verb, &path, &[JSON], sent).await;
        let (status, outcome) = if method == "BATCH" {
            let response = &answer.json()["entry"][0]["response"];
            let status = response["status"].as_str().unwrap()[..3].parse().unwrap();
            (status, crate::fixture::issues(&response["outcome"]))
        } else {
            (answer.status, if answer.status < 400 { Vec::new() } else { answer.issues() })
        };
        if allowed {
            assert!(status < 300, "{scope}: {method} {path}: {}", answer.text());
        } else {
            assert_eq!((status, outcome), (403, vec!["scope-insufficient".to_owned()]), "{scope}: {method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn granular_scopes_hide_and_refuse_the_rest() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let vital = app.post("/Observation", &heart_rate(&patient, "1", 70)).await.id();
    let mut plain = heart_rate(&patient, "2", 70);
    plain["code"]["coding"][0]["code"] = json!("40443-4");
    plain.as_object_mut().unwrap().remove("category");
    let other = app.post("/Observation", &plain).await.id();
    for scope in [
        "system/Observation.crus?category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs",
        "system/Observation.crus?category=vital-signs",
    ] {
        let granted = grant(&app, &assertion(&app, &json!({})), &[("scope", scope)]).await;
        // A registration without restriction covers one with it.
        let bearer = granted.json()["access_token"].as_str().unwrap().to_owned();
        let narrow = Client { bearer, ..app.clone() };
        assert_eq!(narrow.find("/Observation").await, (Some(1), vec![vital.clone()]));
        assert_eq!(narrow.find("/Observation?_summary=count").await.0, Some(1));
        assert_eq!(narrow.get(&format!("/Observation/{vital}")).await.status, 200);
        assert_eq!(narrow.get(&format!("/Observation/{other}")).await.status, 404);
        let refused = narrow.post("/Observation", &plain).await;
        assert_eq!((refused.status, refused.issues()), (403, vec!["scope-insufficient".to_owned()]));
        // Turning what lies outside into something inside is a change of what lies outside.
        let mut taken = app.get(&format!("/Observation/{other}")).await.json();
        taken["category"] = heart_rate(&patient, "2", 70)["category"].clone();
        let refused = narrow.put(&format!("/Observation/{other}"), &taken).await;
        assert_eq!((refused.status, refused.issues()), (403, vec!["scope-insufficient".to_owned()]));
    }
}

/// What two answers have in common once ids and what belongs to one request are left out.
fn shape(answer: &Answer, ids: &[&str]) -> (u16, String, Vec<(String, String)>) {
    let mut text = answer.text();
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    for id in ids {
        text = text.replace(id, "ID");
    }
    (answer.status, text, headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_patient_looks_like_none_at_all() {
    let gateway = Gateway::start().await;
    let ours = gateway.app().await;
    let patient = ours.person().await;
    let actor = ours.actor.clone();
    let permits: [(&str, &[Action], &[&str]); 1] = [(&actor, &[Action::Collect, Action::Access], &["heart-rate"])];
    let permission = ours.consent(&patient, &permits).await;
    let reading = ours.post("/Observation", &heart_rate(&patient, "1", 70)).await.id();
    let stranger = gateway.client("stranger", APP_SCOPES).await;
    let unknown = "00000000-0000-8000-8000-000000000000";
    assert_eq!(unknown.len(), patient.len());

    let consent_for =
        |patient: &str| consent(patient, &[("Organization/stranger", &[Action::Access], &["heart-rate"])]);
    let device =
        |patient: &str| json!({"resourceType": "Device", "patient": {"reference": format!("Patient/{patient}")}});
    type Make<'a> = Box<dyn Fn(&str, &str) -> (String, String, Value) + 'a>;
    let get = |pattern: &'static str, real: String| -> (Make<'static>, String) {
        (Box::new(move |_, id: &str| ("GET".into(), pattern.replace("{}", id), Value::Null)), real)
    };
    let send = |make: Make<'static>| (make, patient.clone());
    // A name that the owner chose, and the stranger's own person in what it puts elsewhere.
    let named = json!({"resourceType": "Patient", "id": "app.p-1", "active": true});
    assert_eq!(ours.put("/Patient/app.p-1", &named).await.status, 201);
    let their = stranger.person().await;
    stranger.consent(&their, &[("Organization/stranger", &[Action::Collect], &["heart-rate"])]).await;
    let put = |kind: &'static str, real: String| -> (Make<'static>, String) {
        let body = match kind {
            "Patient" => json!({"resourceType": "Patient", "active": true}),
            "Consent" => consent(&their, &[("Organization/stranger", &[Action::Access], &["heart-rate"])]),
            _ => heart_rate(&their, "put", 70),
        };
        let make = move |_: &str, id: &str| {
            let mut body = body.clone();
            body["id"] = json!(id);
            ("PUT".into(), format!("/{kind}/{id}"), body)
        };
        (Box::new(make), real)
    };
    let requests: Vec<(Make<'static>, String)> = vec![
        get("/Patient/{}", patient.clone()),
        get("/Patient/{}/_history/1", patient.clone()),
        get("/Consent/{}", permission.clone()),
        get("/Observation/{}", reading.clone()),
        get("/Observation/{}/_history/1", reading.clone()),
        get("/Patient?_id={}", patient.clone()),
        get("/Observation?_id={}", reading.clone()),
        get("/Observation?patient={}", patient.clone()),
        get("/Observation?patient={}&_summary=count", patient.clone()),
        get("/Consent?patient=Patient/{}", patient.clone()),
        get("/Device?patient={}", patient.clone()),
        get("/AuditEvent?patient={}", patient.clone()),
        send(Box::new(|_, id| ("POST".into(), "/Observation".into(), heart_rate(id, "9", 70)))),
        send(Box::new(move |_, id| ("POST".into(), "/Consent".into(), consent_for(id)))),
        send(Box::new(move |_, id| ("POST".into(), "/Device".into(), device(id)))),
        put("Patient", patient.clone()),
        put("Patient", "app.p-1".to_owned()),
        put("Consent", permission.clone()),
        put("Observation", reading.clone()),
    ];
    for (make, real) in &requests {
        let mut shapes = Vec::new();
        for id in [real.as_str(), unknown] {
            let (method, path, body) = make("", id);
            let sent = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            let answer = stranger.raw(&method, &path, &[JSON], sent).await;
            assert!(answer.bytes.windows(8).all(|window| window != b"8867-4\"}"), "{path} tells of the reading");
            shapes.push((path.replace(id, "ID"), shape(&answer, &[real, unknown])));
        }
        assert_eq!(shapes[0], shapes[1]);
        let (path, (status, text, _)) = &shapes[0];
        let empty = *status == 200 && !text.contains("\"entry\"");
        assert!(empty || matches!(status, 403 | 404 | 422), "{path}: {status} {text}");
    }
    assert!(stranger.find("/Observation").await.1.is_empty());
    assert_eq!(stranger.find("/Patient").await.1, [their]);
    assert_eq!(stranger.find("/Consent").await.1.len(), 1);

    // Nor may the stranger put anything in their place.
    for (path, body) in [
        (format!("/Patient/{patient}"), json!({"resourceType": "Patient", "id": patient, "active": false})),
        (format!("/Consent/{permission}"), {
            let mut body = consent_for(&patient);
            body["id"] = json!(permission);
            body
        }),
        (format!("/Observation/{reading}"), {
            let mut body = heart_rate(&patient, "1", 99);
            body["id"] = json!(reading);
            body
        }),
    ] {
        let refused = stranger.put(&path, &body).await;
        assert!(matches!(refused.status, 403 | 422), "{path}: {} {}", refused.status, refused.text());
    }
    assert_eq!(ours.get(&format!("/Patient/{patient}")).await.header("etag"), "W/\"1\"");
    assert_eq!(ours.get(&format!("/Consent/{permission}")).await.header("etag"), "W/\"1\"");
    assert_eq!(ours.get(&format!("/Observation/{reading}")).await.json()["valueQuantity"]["value"], 70);

    // A person of the stranger's own does not lead to ours either.
    let own = stranger.person().await;
    let mut moved = consent(&own, &[("Organization/stranger", &[Action::Access], &[])]);
    moved["id"] = json!(permission);
    assert!(stranger.put(&format!("/Consent/{permission}"), &moved).await.status >= 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn purposes_are_those_of_the_registration() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let body = heart_rate(&patient, "1", 70).to_string();
    let refused = app.raw("POST", "/Observation", &[JSON, ("x-purpose-of-use", "HMARKT")], body.clone()).await;
    assert_eq!((refused.status, refused.issues()), (403, vec!["scope-insufficient".to_owned()]));
    assert_eq!(app.raw("POST", "/Observation", &[JSON, ("x-purpose-of-use", "TREAT")], body).await.status, 201);
}
