//! The person's page: who gets in, what its switches do to what is taken in, sent and read, and how it looks in a browser.

use mhealth_gateway::policy::consent::Action;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, Platform, browse, consent, eventually, heart_rate};

/// A browser without one: keeps the session's cookie.
pub struct Visitor {
    pub http: reqwest::Client,
    pub root: String,
    pub cookie: String,
}

impl Visitor {
    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let request = if self.cookie.is_empty() { request } else { request.header(COOKIE, &self.cookie) };
        request.send().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.send(self.http.get(format!("{}{path}", self.root))).await).await
    }

    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.root));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        Answer::of(self.send(request).await).await
    }

    /// Enters by a link.
    async fn enter(&mut self, url: &str) -> u16 {
        let link = url::Url::parse(url).unwrap().query_pairs().find(|(name, _)| name == "link").unwrap().1.into_owned();
        let answer = self.post("/person/enter", &[("link", &link)]).await;
        if answer.status == 303 {
            let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
            assert!(cookie.contains("; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
            assert_eq!(answer.headers[LOCATION], "/person");
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer.status
    }

    pub async fn seal(&self) -> String {
        let page = self.get("/person").await.text();
        page.split_once("name=\"seal\" value=\"").unwrap().1.split('"').next().unwrap().to_owned()
    }

    /// Turns a switch; what the page says then.
    async fn choose(&self, actor: &str, category: &str, wish: &str) -> String {
        let seal = self.seal().await;
        let fields = [("seal", &*seal), ("actor", actor), ("category", category), ("wish", wish)];
        let answer = self.post("/person/choice", &fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").to_owned()
    }
}

pub async fn app(gateway: &Gateway) -> Client {
    gateway.registered("app", APP_SCOPES, json!({"visits": true, "name": "Healthy & Co"})).await
}

async fn link(client: &Client, patient: &str) -> Answer {
    client.post(&format!("/Patient/{patient}/$visit"), &Value::Null).await
}

pub async fn visitor(gateway: &Gateway, app: &Client, patient: &str) -> Visitor {
    let mut visitor = Visitor { http: gateway.http.clone(), root: app.root().to_owned(), cookie: String::new() };
    let url = link(app, patient).await.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(visitor.enter(&url).await, 303);
    visitor
}

/// The page as a person sees it who has just come.
pub async fn page(gateway: &Gateway, app: &Client, patient: &str) -> String {
    visitor(gateway, app, patient).await.get("/person").await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_in() {
    let gateway = Gateway::start().await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    let other = gateway.registered("other", APP_SCOPES, json!({"visits": true})).await;
    let unregistered = gateway.client("plain", APP_SCOPES).await;
    let own = unregistered.person().await;
    for (who, client, patient, expected) in [
        ("the app", &app, &*patient, 200),
        ("another app", &other, &patient, 404),
        ("nobody's person", &app, "nobody", 404),
        ("a client that may not", &unregistered, &own, 403),
    ] {
        assert_eq!(link(client, patient).await.status, expected, "{who}");
    }
    let url = link(&app, &patient).await.json()["url"].as_str().unwrap().to_owned();
    let mut first = Visitor { http: gateway.http.clone(), root: app.root().to_owned(), cookie: String::new() };
    assert_eq!(first.get("/person").await.status, 401, "without a session");
    let path = url.strip_prefix(app.root()).unwrap();
    let door = first.get(path).await;
    assert_eq!(door.status, 200, "looking at a link does not use it up");
    let link = path.split_once("link=").unwrap().1;
    assert!(door.text().contains(&format!("?lang=de&amp;link={link}\"")), "{}", door.text());
    assert!(door.text().contains("<nav aria-label=\"Language\">"));
    assert_eq!(first.enter(&url).await, 303);
    assert_eq!(first.get("/person").await.status, 200);
    let mut second = Visitor { http: gateway.http.clone(), root: app.root().to_owned(), cookie: String::new() };
    assert_eq!(second.enter(&url).await, 401, "a link opens once");

    // No token does what another kind is for.
    let session = first.cookie.split_once('=').unwrap().1.to_owned();
    let link = url.split_once("link=").unwrap().1.to_owned();
    let as_bearer = |token: &str| Client { bearer: token.to_owned(), ..app.clone() };
    for token in [&session, &link] {
        assert_eq!(as_bearer(token).get(&format!("/Observation?patient={patient}")).await.status, 401);
    }
    for token in [&app.bearer, &link, ""] {
        second.cookie = format!("__Host-visit={token}");
        assert_eq!(second.get("/person").await.status, 401);
    }
    // A form that is not of this page changes nothing.
    let fields = |seal: &'static str| [("seal", seal), ("sure", "yes")];
    for seal in ["", "x", "0000000000000000000000000000000000000000000000000000000000000000"] {
        assert_eq!(first.post("/person/withdraw", &fields(seal)).await.status, 401, "{seal}");
    }
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "1", 70)).await.status, 201);
    // The client's standing counts at every use.
    let stored = gateway.store().get_client("app").await.unwrap().unwrap();
    let mut document: Value = serde_json::from_str(&stored).unwrap();
    document["visits"] = json!(false);
    gateway.store().put_client("app", &document.to_string()).await.unwrap();
    eventually("the page is closed", async || (first.get("/person").await.status == 401).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_do_what_they_say() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    let visitor = visitor(&gateway, &app, &patient).await;
    let push = async |id: &str| app.post("/Observation", &heart_rate(&patient, id, 70)).await.status;
    assert_eq!(push("1").await, 201);

    assert_eq!(visitor.choose(&app.actor, "heart-rate", "off").await, "/person?said=changed");
    assert_eq!(push("2").await, 403, "what is switched off is not taken in");
    let read = async || {
        app.get(&format!("/Observation?patient={patient}")).await.json()["entry"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(read().await, 0, "nor read");
    assert_eq!(visitor.choose(&app.actor, "heart-rate", "on").await, "/person?said=changed");
    assert_eq!((push("2").await, read().await), (201, 2));

    let seal = visitor.seal().await;
    for (place, expected) in
        [("p0-heart-rate", "/person?said=changed#p0-heart-rate"), ("\r\nx", "/person?said=changed")]
    {
        let actor = app.actor.clone();
        let fields =
            [("seal", &*seal), ("actor", &*actor), ("category", "heart-rate"), ("wish", "on"), ("place", place)];
        assert_eq!(visitor.post("/person/choice", &fields).await.header("location"), expected);
    }

    // What nobody has permitted yet is permitted here.
    assert_eq!(visitor.choose("Organization/platform", "heart-rate", "on").await, "/person?said=changed");
    assert_eq!(push("3").await, 201);
    platform.until("the reading arrives", |account| account["resources"].as_u64() >= Some(1)).await;
    assert_eq!(visitor.choose("Organization/platform", "heart-rate", "off").await, "/person?said=changed");
    assert_eq!(push("4").await, 201);

    // Another consent that refuses wins, and the page says so.
    let rules: &[(&str, &[Action], &[&str])] =
        &[(&app.actor, &[Action::Collect], &["sleep"]), (&app.actor, &[Action::Collect], &["weight"])];
    let mut refusal = consent(&patient, rules);
    refusal["provision"]["provision"][0]["type"] = json!("deny");
    assert_eq!(app.post("/Consent", &refusal).await.status, 201);
    assert_eq!(visitor.choose(&app.actor, "sleep", "on").await, "/person?said=refused-elsewhere");
    let page = visitor.get("/person?said=refused-elsewhere").await.text();
    assert!(page.contains("another consent of yours still refuses this"), "{page}");

    let seal = visitor.seal().await;
    let unsure = visitor.post("/person/withdraw", &[("seal", &seal)]).await;
    assert_eq!(unsure.header("location"), "/person?said=confirm-missing");
    assert_eq!(push("5").await, 201);
    let withdrawn = visitor.post("/person/withdraw", &[("seal", &seal), ("sure", "yes")]).await;
    assert_eq!(withdrawn.header("location"), "/person?said=withdrawn");
    assert_eq!((push("6").await, read().await), (403, 0));
    // Begun anew after everything was withdrawn.
    assert_eq!(visitor.choose(&app.actor, "heart-rate", "on").await, "/person?said=changed");
    assert_eq!(push("6").await, 201);
    let told = app.get(&format!("/AuditEvent?patient={patient}&_count=200")).await.text();
    assert!(told.contains("PATRQT"), "what the person changed is told as the person's wish");
}

/// What makes no sense without another is switched with it.
#[tokio::test(flavor = "multi_thread")]
async fn switches_that_need_one_another_go_together() {
    let gateway = Gateway::with("[consent.needs]\nheart-rate = [\"weight\"]\n").await;
    let app = app(&gateway).await;
    let patient = app.person().await;
    let visitor = visitor(&gateway, &app, &patient).await;
    let push = async |identifier: &str| app.post("/Observation", &heart_rate(&patient, identifier, 70)).await.status;
    let weighed =
        async |identifier: &str| app.post("/Observation", &crate::told::weight(&patient, identifier)).await.status;
    assert!(visitor.get("/person").await.text().contains("Goes with: Weight and body composition."));
    assert_eq!(visitor.choose(&app.actor, "heart-rate", "on").await, "/person?said=changed");
    assert_eq!((push("1").await, weighed("2").await), (201, 201));
    assert_eq!(visitor.choose(&app.actor, "weight", "off").await, "/person?said=changed");
    assert_eq!((push("3").await, weighed("4").await), (403, 403));
    assert_eq!(visitor.choose(&app.actor, "weight", "on").await, "/person?said=changed");
    assert_eq!((push("3").await, weighed("4").await), (403, 201), "what is needed needs nothing itself");
}

/// Nothing is implied by the silence that a person makes on her page, and whom a policy permits she sees and stops there.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawing_opens_nothing() {
    for policy in ["Policy-basic-normal", "ehds-primary-use"] {
        let clinicians = format!("[consent]\nclinicians = [\"Organization/clinic\"]\nimplicit.TREAT = \"{policy}\"\n");
        let gateway = Gateway::with(&clinicians).await;
        let app = app(&gateway).await;
        let clinic = gateway.client("clinic", "system/Observation.rs").await;
        let patient = app.consenting_person().await;
        let push = async |id: &str| app.post("/Observation", &heart_rate(&patient, id, 70)).await.status;
        assert_eq!(push("1").await, 201);
        let sees = async || clinic.find(&format!("/Observation?patient={patient}")).await.1.len();
        let stands = usize::from(policy.starts_with("ehds"));
        assert_eq!(sees().await, stands, "{policy}");
        let visitor = visitor(&gateway, &app, &patient).await;
        assert!(visitor.get("/person").await.text().contains("Entitled by a rule of this gateway"), "{policy}");
        // Stopped there, and let again.
        assert_eq!(visitor.choose("Organization/clinic", "heart-rate", "off").await, "/person?said=changed");
        assert_eq!(sees().await, 0, "{policy}");
        assert_eq!(visitor.choose("Organization/clinic", "heart-rate", "on").await, "/person?said=changed");
        assert_eq!(sees().await, 1, "{policy}");
        assert_eq!(visitor.choose("Organization/clinic", "heart-rate", "off").await, "/person?said=changed");
        let seal = visitor.seal().await;
        for _ in 0..2 {
            let withdrawn = visitor.post("/person/withdraw", &[("seal", &seal), ("sure", "yes")]).await;
            assert_eq!(withdrawn.header("location"), "/person?said=withdrawn");
            assert_eq!((sees().await, push("2").await), (0, 403), "{policy}");
        }
        // Begun anew with the app, and for it alone.
        assert_eq!(visitor.choose(&app.actor, "heart-rate", "on").await, "/person?said=changed");
        assert_eq!((push("2").await, sees().await), (201, 0), "{policy}");
        assert_eq!(visitor.choose("Organization/clinic", "heart-rate", "on").await, "/person?said=changed");
        assert_eq!(sees().await, 2, "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_takes_along_and_ends_everything() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    app.consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    assert_eq!(app.post("/Observation", &heart_rate(&patient, "XMARKERX", 70)).await.status, 201);
    platform.until("the reading arrives", |account| account["resources"] == 1).await;
    let visitor = visitor(&gateway, &app, &patient).await;
    assert_eq!(link(&app, &patient).await.status, 200, "a link that nobody opens");
    let log = eventually("the delivery is told", async || {
        let log = visitor.get("/person/log").await.text();
        log.contains("<td>platform</td><td>received: Heart rate and rhythm</td>").then_some(log)
    })
    .await;
    for line in [
        "<td>Healthy &amp; Co</td><td>took in: Heart rate and rhythm</td><td>your consent, treatment</td>",
        "opened this page",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let times = |what: &str| log.matches(what).count();
    assert_eq!((times("was given a link to this page"), times("opened this page")), (2, 1), "{log}");

    let seal = visitor.seal().await;
    assert_eq!(visitor.post("/person/export", &[("seal", "x")]).await.status, 401);
    let export = visitor.post("/person/export", &[("seal", &seal)]).await;
    assert_eq!(export.header("content-disposition"), "attachment; filename=\"health-data.ndjson\"");
    let kinds: std::collections::BTreeSet<String> = export
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["resourceType"].as_str().unwrap().to_owned())
        .collect();
    for kind in ["Patient", "Consent", "Observation", "AuditEvent"] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
    assert!(export.text().contains("XMARKERX"));

    let unsure = visitor.post("/person/erase", &[("seal", &seal)]).await;
    assert_eq!(unsure.header("location"), "/person?said=confirm-missing");
    let erased = visitor.post("/person/erase", &[("seal", &seal), ("sure", "yes")]).await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert!(erased.text().contains("are to be told: platform."), "{}", erased.text());
    assert_eq!(visitor.get("/person").await.status, 401, "the visit is over");
    assert_eq!(app.get(&format!("/Patient/{patient}")).await.status, 404);
    assert_eq!(link(&app, &patient).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_speaks_languages() {
    let gateway = Gateway::start().await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    let visitor = visitor(&gateway, &app, &patient).await;
    for (path, expected) in [
        ("/person?lang=de", "<html lang=\"de\">"),
        ("/person?lang=de", "Meine Gesundheitsdaten"),
        ("/person?lang=fr", "Fréquence et rythme cardiaques"),
        ("/person?lang=es", "Glucosa y cetonas en sangre"),
        ("/person?lang=xx", "My health data"),
        ("/person", "Opened from Healthy &amp; Co"),
    ] {
        let answer = visitor.get(path).await;
        assert!(answer.text().contains(expected), "{path}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'; style-src 'self'"));
    }
    assert!(
        !visitor.get("/person?said=<b>").await.text().contains("role=\"status\""),
        "only words of our own are said"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_find_their_way_through_their_page() {
    let platform = Platform::start(&[]).await;
    let gateway = Gateway::with(&platform.destination("")).await;
    let app = app(&gateway).await;
    let patient = app.consenting_person().await;
    let task = json!({
        "root": app.root(),
        "link": link(&app, &patient).await.json()["url"],
    });
    browse("person_check.mjs", task).await;
    assert_eq!(app.get(&format!("/Patient/{patient}")).await.status, 404, "she erased everything");
}
