//! Destinations that persons connect by signing in there, and those that want proof of possession.

use mhealth_gateway::conformance::platform::Admission;
use mhealth_gateway::policy::consent::Action;
use serde_json::{Value, json};

use crate::damage::meddle;
use crate::fixture::{APP_SCOPES, Answer, Client, Gateway, Platform, eventually, heart_rate};
use crate::person::{Visitor, app, visitor};
use crate::rights::{asks, own_requests};

/// A person who lets a destination have her heart rate.
async fn agreed(app: &Client) -> String {
    let patient = app.person().await;
    let own = app.actor.clone();
    let both = (own.as_str(), &[Action::Collect, Action::Access][..], &["heart-rate", "weight"][..]);
    app.consent(&patient, &[both, ("Organization/platform", &[Action::Disclose], &["heart-rate", "weight"])]).await;
    patient
}

/// The first address that a page leads to below a host.
fn way_out(page: &str, host: &str) -> String {
    let page = page.replace("&#x2f;", "/").replace("&amp;", "&");
    let (_, rest) = page.split_once(&format!("href=\"{host}")).unwrap_or_else(|| panic!("no way to {host}: {page}"));
    format!("{host}{}", rest.split('"').next().unwrap())
}

/// Goes to the destination and signs in; the address that it sends back to.
async fn signs_in(visitor: &Visitor, platform: &Platform, name: &str, decision: &str) -> String {
    let page = visitor.get("/person/connect?destination=platform").await;
    assert_eq!(page.status, 200, "{}", page.text());
    let way = way_out(&page.text(), &platform.url);
    let there = Answer::of(platform.http.get(&way).send().await.unwrap()).await;
    assert!(there.status == 200 && there.text().contains("Simulated sign-in"), "{}", there.text());
    let decided = way.replacen("/authorize?", &format!("/authorize/decide?as={name}&decision={decision}&"), 1);
    let back = Answer::of(platform.http.get(decided).send().await.unwrap()).await;
    assert_eq!(back.status, 303, "{}", back.text());
    back.header("location").strip_prefix(&visitor.root).expect("it leads back").to_owned()
}

/// Comes back with what the destination gave; what is said then.
async fn comes_back(visitor: &Visitor, back: &str) -> String {
    // The browser brings no session from elsewhere.
    let stranger = Visitor { http: visitor.http.clone(), root: visitor.root.clone(), cookie: String::new() };
    let page = stranger.get(back).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let url = url::Url::parse(&format!("{}{back}", visitor.root)).unwrap();
    let brought: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert!(brought.iter().all(|(_, value)| page.text().contains(&format!("value=\"{value}\""))), "{}", page.text());
    let fields: Vec<(&str, &str)> = brought.iter().map(|(name, value)| (&**name, &**value)).collect();
    let answer = visitor.post("/person/connected", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    answer.header("location").to_owned()
}

async fn pushed(app: &Client, patient: &str, identifier: &str) -> String {
    let answer = app.post("/Observation", &heart_rate(patient, identifier, 61)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.id()
}

/// Everything that was to be sent was looked at.
async fn looked_at(gateway: &Gateway) {
    eventually("the feed is read", async || {
        (gateway.store().backlog("platform").await.unwrap().behind == 0).then_some(())
    })
    .await;
}

async fn log_of(app: &Client, patient: &str) -> String {
    app.get(&(app.root().to_owned() + &format!("/persons/{patient}/access-log?_count=200"))).await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_takes_what_the_person_lets_it_take() {
    let platform = Platform::admitting(Admission::Citizens, None).await;
    let gateway = Gateway::with(&platform.linked_destination("")).await;
    let app = app(&gateway).await;
    let patient = agreed(&app).await;
    pushed(&app, &patient, "before").await;
    looked_at(&gateway).await;
    assert!(log_of(&app, &patient).await.contains("destination-link"), "she learns why it was not sent");

    let visitor = visitor(&gateway, &app, &patient).await;
    assert!(visitor.get("/person").await.text().contains("only after you have signed in there"));
    let refused = signs_in(&visitor, &platform, "900", "refuse").await;
    assert!(visitor.get(&refused).await.text().contains("Nothing was connected"));
    let back = signs_in(&visitor, &platform, "900", "allow").await;
    // What one visit began, no other ends: nobody is made to connect what is somebody else's.
    let other = crate::person::visitor(&gateway, &app, &agreed(&app).await).await;
    assert_eq!(comes_back(&other, &back).await, "/person?said=connect-failed");
    assert_eq!(comes_back(&visitor, &back).await, "/person?said=connected");
    assert_eq!(comes_back(&visitor, &back).await, "/person?said=connect-failed", "a code counts once");
    let page = visitor.get("/person").await.text();
    assert!(page.contains("Connected since") && page.contains("The connection ends on"), "{page}");

    // Each is sent by a token that was renewed for it, and what was measured before stays here.
    for identifier in ["one", "two", "three"] {
        pushed(&app, &patient, identifier).await;
    }
    platform.until("what was measured since arrives", |account| account["received"] == 3).await;
    assert_eq!(platform.account().await["unauthorized"], 0);

    // She takes with her what is held of it, without what opens the door.
    let own = own_requests(&gateway, &app, APP_SCOPES).await;
    let headers = [("x-purpose-of-use", "PATRQT")];
    let export = own.raw("GET", &format!("/Patient/{patient}/$export-data"), &headers, "").await.text();
    let link = export.lines().find(|line| line.contains("\"link\"") && line.contains("urn:oid:1.2.3")).expect(&export);
    assert!(link.contains("\"900\"") && !link.contains("refresh") && !link.contains("token"), "{link}");

    // The destination ends it: what is measured waits until she connects it again.
    platform.fault("revoke", Some(1)).await;
    pushed(&app, &patient, "four").await;
    eventually("the connection is over", async || {
        visitor.get("/person").await.text().contains("has come to its end").then_some(())
    })
    .await;
    let back = signs_in(&visitor, &platform, "900", "allow").await;
    assert_eq!(comes_back(&visitor, &back).await, "/person?said=connected");
    platform.until("what waited arrives", |account| account["received"] == 4).await;

    // She ends it, and nothing more is sent.
    let seal = visitor.seal().await;
    let ended = visitor.post("/person/disconnect", &[("seal", &seal), ("destination", "platform")]).await;
    assert_eq!(ended.header("location"), "/person?said=disconnected");
    pushed(&app, &patient, "five").await;
    looked_at(&gateway).await;
    assert_eq!(platform.account().await["received"], 4);
    let log = log_of(&app, &patient).await;
    assert!(log.contains("$connect") && log.contains("$disconnect"), "{log}");
}

/// The name under which a destination knows the person comes with the link and goes to nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_says_who_the_person_is_there() {
    let platform = Platform::admitting(Admission::Citizens, Some("fi-kanta")).await;
    let section = platform.linked_destination("pack = \"fi-kanta\"\nsettings = { persons = \"urn:oid:1.2.3\" }");
    let gateway = Gateway::with(&section).await;
    let app = app(&gateway).await;
    let patient = agreed(&app).await;
    let visitor = visitor(&gateway, &app, &patient).await;
    let back = signs_in(&visitor, &platform, "account-7", "allow").await;
    assert_eq!(comes_back(&visitor, &back).await, "/person?said=connected");
    let mut weight = heart_rate(&patient, "one", 70);
    weight["code"]["coding"][0]["code"] = json!("29463-7");
    weight["valueQuantity"] = json!({"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"});
    let taken = app.post("/Observation", &weight).await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    let held = eventually("it arrives", async || platform.held().await.pop()).await;
    assert!(held.to_string().contains("account-7"), "{held:#}");
    let registered = app.get(&format!("/Patient/{patient}")).await.text();
    assert!(!registered.contains("account-7"), "{registered}");
    // With the person goes the link.
    let seal = visitor.seal().await;
    assert_eq!(visitor.post("/person/erase", &[("seal", &seal), ("sure", "yes")]).await.status, 200);
    let key = gateway.inner().patient_key(&patient);
    assert!(gateway.store().linked(key).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_with_proof_of_possession() {
    let platform = Platform::admitting(Admission::Possession, None).await;
    let section = platform.destination("").replace("kid = \"key-1\"", "kid = \"key-1\"\ndpop = true");
    let gateway = Gateway::with(&section).await;
    let app = gateway.app().await;
    let patient = agreed(&app).await;
    pushed(&app, &patient, "one").await;
    platform.until("it arrives", |account| account["received"] == 1).await;
    // A token that ends before its time is asked for anew, under the same key.
    platform.fault("revoke", Some(1)).await;
    pushed(&app, &patient, "two").await;
    platform.until("it arrives", |account| account["received"] == 2).await;
    let held: Vec<Value> = platform.held().await;
    assert_eq!(held.len(), 2);
    // A client that shows the token alone is not let in.
    let form = json!({"grant_type": "client_credentials"}).to_string();
    let bare = platform.http.post(format!("{}/token", platform.url)).body(form).send().await.unwrap();
    assert_eq!(bare.status(), 400);
}

/// A link that is damaged lets nothing in, and is ended, taken along and erased like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_link_holds_up_nothing() {
    let platform = Platform::admitting(Admission::Citizens, None).await;
    let gateway = Gateway::with_store(tempfile::tempdir().unwrap(), &platform.linked_destination("")).await;
    let app = app(&gateway).await;
    let patient = agreed(&app).await;
    let visitor = visitor(&gateway, &app, &patient).await;
    let connect = async || {
        let back = signs_in(&visitor, &platform, "900", "allow").await;
        assert_eq!(comes_back(&visitor, &back).await, "/person?said=connected");
        meddle(&gateway, "UPDATE link SET body = CAST(body || x'00' AS BLOB)");
        assert!(visitor.get("/person").await.text().contains("has come to its end"));
    };
    connect().await;
    let fields = [("seal", &*visitor.seal().await), ("destination", "platform")];
    assert_eq!(visitor.post("/person/disconnect", &fields).await.status, 303);
    assert!(visitor.get("/person").await.text().contains("only after you have signed in there"));
    connect().await;
    let own = own_requests(&gateway, &app, &format!("{APP_SCOPES} system/Patient.d")).await;
    let export = asks(&own, "GET", &format!("/Patient/{patient}/$export-data")).await.text();
    assert!(export.contains("One link to a destination is damaged"), "{export}");
    assert_eq!(asks(&own, "POST", &format!("/Patient/{patient}/$erase")).await.status, 200);
}
