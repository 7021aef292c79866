//! The process is killed at random moments under load, again and again, and nothing that it acknowledged is lost,
//! doubled, disclosed without consent, or missing in the audit.
//!
//! `KILL_SEED` repeats a run and `KILLS` lengthens it. Chance decides when the process dies and what the apps do;
//! what must hold afterwards does not depend on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mhealth_gateway::commands::{entropy, token};
use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::{AuditPlan, Place, Plan, Store};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use crate::fixture::{APP_SCOPES, Answer, Client, PROGRAM, Platform, Process, Site, consent, eventually, heart_rate};

/// SplitMix64: a stream of numbers that a seed repeats.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

#[expect(clippy::disallowed_methods, reason = "how long and with which chance is said to the test, not to the program")]
fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a person says about the platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stance {
    Always,
    Never,
    /// Agrees at first, and withdraws for good.
    Withdraws,
    /// Withdraws and agrees again.
    Wavers,
}

struct Person {
    patient: String,
    stance: Stance,
    /// The consent about the platform, where there was one.
    shares: Option<String>,
    agrees: bool,
    /// Observations by identifier, as acknowledged.
    kept: Vec<String>,
}

/// What an app was told, which is all that it may count on.
#[derive(Default)]
struct Told {
    /// Resource id by identifier.
    ids: HashMap<String, String>,
    /// Patient and value of each version of each resource.
    versions: BTreeMap<(String, u64), (String, u32)>,
    /// Versions that the platform must have in the end.
    promised: BTreeSet<(String, u64)>,
    /// Versions that it must never have.
    forbidden: BTreeSet<(String, u64)>,
}

/// One app with its persons.
struct App {
    client: Client,
    name: usize,
    chance: Chance,
    persons: Vec<Person>,
    told: Told,
    count: u32,
    acknowledged: Arc<AtomicUsize>,
}

impl App {
    /// Sends until there is an answer that settles the matter, signing in anew after each failure.
    async fn insist(&mut self, method: Method, path: &str, body: &Value) -> Answer {
        let text = body.to_string();
        let mut failures = 0;
        loop {
            let sent = self
                .client
                .request(method.clone(), path)
                .header("content-type", "application/fhir+json")
                .body(text.clone())
                .timeout(Duration::from_secs(10))
                .send()
                .await;
            if let Ok(response) = sent {
                let status = response.status().as_u16();
                if let Ok(bytes) = response.bytes().await {
                    match status {
                        200..=299 => {
                            self.acknowledged.fetch_add(1, Ordering::Relaxed);
                            return Answer { status, headers: HeaderMap::default(), bytes: bytes.to_vec() };
                        }
                        401 | 503 => {}
                        _ => panic!("{method} {path}: {status} {}", String::from_utf8_lossy(&bytes)),
                    }
                }
            }
            failures += 1;
            assert!(failures < 10_000, "{method} {path} never went through");
            self.sign_in().await;
        }
    }

    /// The process may be away for the moment.
    async fn sign_in(&mut self) {
        let pem = std::fs::read(&self.client.key).unwrap();
        let url = self.client.base.replace("/fhir", "/auth/token");
        let asked = token::Asked { url: &url, client: &self.client.id, kid: "key-1", pem: &pem, scope: None };
        for _ in 0..3000 {
            let fetched = tokio::time::timeout(Duration::from_secs(5), token::fetch(&self.client.http, &asked)).await;
            if let Ok(Ok(bearer)) = fetched {
                self.client.bearer = bearer;
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the app cannot sign in");
    }

    async fn meet(&mut self, stance: Stance) {
        let patient = self.insist(Method::POST, "/Patient", &json!({"resourceType": "Patient", "active": true})).await;
        let patient = patient.id();
        let actor = self.client.actor.clone();
        let collects =
            consent(&patient, &[(&actor, &[Action::Collect, Action::Access], &["heart-rate", "blood-pressure"])]);
        self.insist(Method::POST, "/Consent", &collects).await;
        let shares = match stance {
            Stance::Never => None,
            _ => Some(self.insist(Method::POST, "/Consent", &shares(&patient)).await.id()),
        };
        let agrees = shares.is_some();
        self.persons.push(Person { patient, stance, shares, agrees, kept: Vec::new() });
    }

    async fn act(&mut self) {
        let person = self.chance.below(self.persons.len() as u64) as usize;
        match self.chance.below(12) {
            0..=4 => self.push_one(person).await,
            5..=7 => self.push_batch(person).await,
            8..=10 if !self.persons[person].kept.is_empty() => self.correct(person).await,
            _ => self.change_mind(person).await,
        }
    }

    fn observation(&mut self, person: usize) -> (String, u32, Value) {
        self.count += 1;
        let identifier = format!("app-{}-{}", self.name, self.count);
        let value = 40 + self.chance.below(100) as u32;
        let observation = heart_rate(&self.persons[person].patient, &identifier, value);
        (identifier, value, observation)
    }

    async fn push_one(&mut self, person: usize) {
        let (identifier, value, observation) = self.observation(person);
        let answer = self.insist(Method::POST, "/Observation", &observation).await;
        self.note(person, &identifier, &answer.id(), 1, value);
    }

    async fn push_batch(&mut self, person: usize) {
        let entries: Vec<_> = (0..10).map(|_| self.observation(person)).collect();
        let bundle = json!({
            "resourceType": "Bundle",
            "type": "batch",
            "entry": entries.iter().map(|(_, _, observation)| {
                json!({"resource": observation, "request": {"method": "POST", "url": "Observation"}})
            }).collect::<Vec<_>>(),
        });
        let answer = self.insist(Method::POST, "", &bundle).await.json();
        for ((identifier, value, _), entry) in entries.iter().zip(answer["entry"].as_array().unwrap()) {
            let status = entry["response"]["status"].as_str().unwrap();
            assert!(status.starts_with('2'), "{entry}");
            let location = entry["response"]["location"].as_str().unwrap();
            let id = location.split("/Observation/").nth(1).unwrap().split('/').next().unwrap();
            self.note(person, identifier, id, 1, *value);
        }
    }

    async fn correct(&mut self, person: usize) {
        let known = &self.persons[person].kept;
        let identifier = known[self.chance.below(known.len() as u64) as usize].clone();
        let id = self.told.ids[&identifier].clone();
        // No value twice in a row, or the correction is none.
        self.count += 1;
        let value = 40 + (self.count % 200);
        let mut observation = heart_rate(&self.persons[person].patient, &identifier, value);
        observation["id"] = json!(id);
        let answer = self.insist(Method::PUT, &format!("/Observation/{id}"), &observation).await.json();
        let version = answer["meta"]["versionId"].as_str().unwrap().parse().unwrap();
        let known = self.told.versions.get(&(id.clone(), version));
        if known.is_none() {
            self.note(person, &identifier, &id, version, value);
        }
    }

    /// Writes down what was acknowledged, and what follows from what the person had said by then.
    fn note(&mut self, person: usize, identifier: &str, id: &str, version: u64, value: u32) {
        let person = &mut self.persons[person];
        if version == 1 {
            let before = self.told.ids.insert(identifier.to_owned(), id.to_owned());
            assert_eq!(before, None, "{identifier} is sent once");
            person.kept.push(identifier.to_owned());
        }
        let key = (id.to_owned(), version);
        match person.stance {
            Stance::Always => drop(self.told.promised.insert(key.clone())),
            Stance::Never => drop(self.told.forbidden.insert(key.clone())),
            Stance::Withdraws if !person.agrees => drop(self.told.forbidden.insert(key.clone())),
            Stance::Withdraws | Stance::Wavers => {}
        }
        self.told.versions.insert(key, (person.patient.clone(), value));
    }

    async fn change_mind(&mut self, person: usize) {
        let Person { stance, agrees, .. } = self.persons[person];
        let agrees = match (stance, agrees) {
            (Stance::Wavers, agrees) => !agrees,
            (Stance::Withdraws, true) if self.chance.below(4) == 0 => false,
            _ => return,
        };
        let Some(id) = self.persons[person].shares.clone() else { return };
        let mut consent = shares(&self.persons[person].patient);
        consent["id"] = json!(id);
        consent["status"] = json!(if agrees { "active" } else { "inactive" });
        self.insist(Method::PUT, &format!("/Consent/{id}"), &consent).await;
        self.persons[person].agrees = agrees;
    }
}

fn shares(patient: &str) -> Value {
    consent(patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kills() {
    let seed = from_environment("KILL_SEED").unwrap_or_else(fresh_seed);
    let kills = from_environment("KILLS").unwrap_or(200);
    println!("KILL_SEED={seed} KILLS={kills}");
    let platform = Platform::start(&[]).await;
    let site = Site::new(&platform.destination("")).await;
    let client = site.register("app", APP_SCOPES).await;

    let acknowledged = Arc::new(AtomicUsize::new(0));
    let serving = site.serve().await;
    let mut apps = Vec::new();
    for name in 0..4 {
        let mut app = App {
            client: client.clone(),
            name,
            chance: Chance(seed.wrapping_add(1 + name as u64)),
            persons: Vec::new(),
            told: Told::default(),
            count: 0,
            acknowledged: acknowledged.clone(),
        };
        app.sign_in().await;
        for stance in
            [Stance::Always, Stance::Always, Stance::Never, Stance::Withdraws, Stance::Withdraws, Stance::Wavers]
        {
            app.meet(stance).await;
        }
        apps.push(app);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let at_work: Vec<_> = apps
        .into_iter()
        .map(|mut app| {
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    app.act().await;
                }
                app
            })
        })
        .collect();

    let mut chance = Chance(seed);
    let mut serving = Some(serving);
    for _ in 0..kills {
        // Most are killed at work, some while they start.
        let process = match serving.take() {
            Some(process) => process,
            None if chance.below(5) == 0 => {
                Process::start(tokio::process::Command::new(PROGRAM).args(["serve", "--config", &site.config()]))
            }
            None => site.serve().await,
        };
        // When it dies is what this test is about, so here time itself is the input.
        tokio::time::sleep(Duration::from_millis(20 + chance.below(380))).await;
        process.kill().await;
    }

    let process = site.serve().await;
    stop.store(true, Ordering::Relaxed);
    let mut told = Told::default();
    for app in at_work {
        let app = app.await.unwrap().told;
        told.ids.extend(app.ids);
        told.versions.extend(app.versions);
        told.promised.extend(app.promised);
        told.forbidden.extend(app.forbidden);
    }
    let beside = Store::open_shared(&site.place()).unwrap();
    eventually("everything is delivered", async || {
        let backlog = beside.backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0).then_some(())
    })
    .await;
    beside.close().await;
    let account = platform.account().await;
    process.terminate().await;
    let (code, said) = process.ended().await;
    assert_eq!(code, Some(0), "{said}");

    println!(
        "{} requests acknowledged, {} versions of {} observations, {} received by the platform, {} of them again",
        acknowledged.load(Ordering::Relaxed),
        told.versions.len(),
        told.ids.len(),
        account["received"],
        account["duplicates"],
    );
    let store = Store::open(&site.place()).unwrap();
    everything_is_kept_once(&store, &told).await;
    let received = received(&account);
    let trail = Trail::read(&store).await;
    the_platform_has_what_it_should(&account, &received, &told);
    the_audit_tells_of_everything(&store, &trail, &received, &told).await;
    assert!(told.ids.len() > kills as usize, "there was load");
    store.close().await;
}

/// An erasure is killed at random moments, before it is answered and after. Once it was answered nothing of the person can
/// be read; where it was not, she is either absent or as she was. In the end she is gone, here and where she was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_is_whole_whenever_the_process_dies() {
    const READINGS: usize = 250;
    let seed = from_environment("KILL_SEED").unwrap_or_else(fresh_seed);
    let kills = from_environment("ERASURE_KILLS").unwrap_or(12);
    println!("KILL_SEED={seed} ERASURE_KILLS={kills}");
    let mut chance = Chance(seed);
    let platform = Platform::start(&[]).await;
    let site = Site::new(&platform.destination("on_erasure = \"delete\"")).await;
    let client = site.register_for("app", &format!("{APP_SCOPES} system/Patient.d"), &["TREAT", "PATRQT"]).await;
    let mut app = App {
        client,
        name: 0,
        chance: Chance(seed),
        persons: Vec::new(),
        told: Told::default(),
        count: 0,
        acknowledged: Arc::default(),
    };
    let mut erased: Vec<String> = Vec::new();
    let (mut answered, mut begun) = (0, 0);
    for round in 0..kills {
        let process = site.serve().await;
        app.sign_in().await;
        for patient in &erased {
            nothing_of(&app, patient).await;
        }
        app.meet(Stance::Always).await;
        let person = app.persons.len() - 1;
        let patient = app.persons[person].patient.clone();
        for _ in 0..READINGS / 10 {
            app.push_batch(person).await;
        }
        let client = app.client.clone();
        let address = format!("/Patient/{patient}/$erase");
        let asked = tokio::spawn({
            let (address, read) = (address.clone(), format!("/Patient/{patient}"));
            async move {
                let sent = client.request(Method::POST, &address).header("x-purpose-of-use", "PATRQT").send().await;
                let done = sent.is_ok_and(|response| response.status() == 200);
                if done {
                    // At once, by the process that answered, if it still lives.
                    let read = client.request(Method::GET, &read).send().await;
                    assert!(!read.is_ok_and(|response| response.status() == 200), "answered, and still there");
                }
                done
            }
        });
        // When it dies is what this test is about, so here time itself is the input.
        tokio::time::sleep(Duration::from_millis(chance.below(if round % 2 == 0 { 20 } else { 600 }))).await;
        process.kill().await;
        let done = asked.await.unwrap();
        answered += usize::from(done);

        let process = site.serve().await;
        app.sign_in().await;
        let there = app.client.get(&format!("/Patient/{patient}")).await.status;
        assert!(matches!((done, there), (_, 404) | (false, 200)), "{round}: answered {done}, and then {there}");
        if there == 404 {
            begun += 1;
            nothing_of(&app, &patient).await;
        } else {
            let found = app.client.find(&format!("/Observation?patient={patient}&_count=1000")).await.1;
            assert_eq!(found.len(), READINGS, "{round}: she is as she was");
        }
        let answer = app.client.raw("POST", &address, &[("x-purpose-of-use", "PATRQT")], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        nothing_of(&app, &patient).await;
        erased.push(patient);
        process.kill().await;
    }
    let process = site.serve().await;
    app.sign_in().await;
    for patient in &erased {
        let address = format!("/Patient/{patient}/$erase");
        eventually("who has the data was told", async || {
            let receipt = app.client.raw("POST", &address, &[("x-purpose-of-use", "PATRQT")], "").await.json();
            assert!(receipt["finished"].is_string(), "{receipt}");
            let recipients = receipt["recipients"].as_array().unwrap();
            recipients.iter().all(|recipient| recipient["told"] == true).then_some(())
        })
        .await;
    }
    assert_eq!(platform.held().await, Vec::<Value>::new());
    process.terminate().await;
    assert_eq!(process.ended().await.0, Some(0));
    println!("{answered} of {kills} were answered before the kill, {begun} had begun");
    let store = Store::open(&Place::new(&site.data(), None)).unwrap();
    assert!(store.erasures_since(0).await.unwrap().iter().all(|erasure| erasure.finished));
    assert_eq!(store.erasures_since(0).await.unwrap().len() as u64, kills);
    for kind in ["Patient", "Observation", "Consent"] {
        assert_eq!(store.search(Plan { limit: 10, ..Plan::of(kind) }).await.unwrap().rows, []);
    }
    store.close().await;
}

/// She is absent, however it is asked.
async fn nothing_of(app: &App, patient: &str) {
    for path in [format!("/Patient/{patient}"), format!("/Patient/{patient}/_history/1")] {
        assert_eq!(app.client.get(&path).await.status, 404, "{path}");
    }
    assert_eq!(app.client.find(&format!("/Observation?patient={patient}")).await.1, Vec::<String>::new());
    assert_eq!(app.client.find(&format!("/Consent?patient={patient}")).await.1, Vec::<String>::new());
}

fn fresh_seed() -> u64 {
    let mut seed = [0; 8];
    entropy()(&mut seed);
    u64::from_le_bytes(seed)
}

async fn everything_is_kept_once(store: &Store, told: &Told) {
    let mut by_identifier: HashMap<String, String> = HashMap::new();
    let mut plan = Plan { limit: 1000, ..Plan::of("Observation") };
    loop {
        let page = store.search(plan.clone()).await.unwrap();
        for stored in &page.rows {
            let resource: Value = serde_json::from_slice(&stored.payload).unwrap();
            let identifier = resource["identifier"][0]["value"].as_str().unwrap().to_owned();
            let twice = by_identifier.insert(identifier.clone(), stored.logical_id());
            assert_eq!(twice, None, "{identifier} is stored twice");
        }
        match page.next {
            Some(next) => plan.after = Some(next),
            None => break,
        }
    }
    assert_eq!(by_identifier, told.ids, "what is stored is what was acknowledged");
    for ((id, version), (patient, value)) in &told.versions {
        let stored = store.read_version("Observation", id, *version as u32).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("Observation/{id} lost version {version}"));
        let resource: Value = serde_json::from_slice(&stored.payload).unwrap();
        assert_eq!(resource["valueQuantity"]["value"], json!(value), "Observation/{id} version {version}");
        assert_eq!(resource["subject"]["reference"], json!(format!("Patient/{patient}")));
    }
}

fn received(account: &Value) -> BTreeSet<(String, u64)> {
    let mut received = BTreeSet::new();
    for (name, versions) in account["versions"].as_object().unwrap() {
        let id = name.strip_prefix("Observation/").expect("only observations are routed");
        received.extend(versions.as_array().unwrap().iter().map(|version| (id.to_owned(), version.as_u64().unwrap())));
    }
    received
}

fn the_platform_has_what_it_should(account: &Value, received: &BTreeSet<(String, u64)>, told: &Told) {
    let missing: Vec<_> = told.promised.difference(received).collect();
    assert!(missing.is_empty(), "never delivered: {missing:?}");
    let leaked: Vec<_> = told.forbidden.intersection(received).collect();
    assert!(leaked.is_empty(), "delivered without consent: {leaked:?}");
    let strange: Vec<_> = received.iter().filter(|key| !told.versions.contains_key(*key)).collect();
    assert!(strange.is_empty(), "delivered and never acknowledged: {strange:?}");
    assert_eq!(account["outOfOrder"], 0, "a later version was followed by an earlier one");
    assert_eq!(account["violationCount"], 0, "{}", account["violations"]);
}

/// The audit by what it names.
#[derive(Default)]
struct Trail {
    created: HashMap<String, usize>,
    updated: BTreeSet<String>,
    disclosed: BTreeSet<String>,
    /// Consents under which something was disclosed.
    bases: BTreeSet<String>,
}

impl Trail {
    async fn read(store: &Store) -> Trail {
        let mut trail = Trail::default();
        let mut after = 0;
        loop {
            let plan = AuditPlan { after_seq: Some(after), limit: 1000, ..AuditPlan::default() };
            let events = store.audit(plan).await.unwrap();
            let Some((last, _)) = events.last() else { return trail };
            after = *last;
            for (_, payload) in &events {
                trail.note(&serde_json::from_slice(payload).unwrap());
            }
        }
    }

    fn note(&mut self, event: &Value) {
        let named =
            event["entity"].as_array().unwrap().iter().filter_map(|entity| entity["what"]["reference"].as_str());
        let (observations, others): (Vec<&str>, Vec<&str>) = named.partition(|name| name.starts_with("Observation/"));
        let observations = observations.into_iter().map(str::to_owned);
        match event["subtype"][0]["code"].as_str() {
            Some("create") => observations.for_each(|name| *self.created.entry(name).or_default() += 1),
            Some("update") => self.updated.extend(observations),
            Some("disclose") => {
                self.disclosed.extend(observations);
                let consents = others.into_iter().filter(|name| name.starts_with("Consent/"));
                self.bases.extend(consents.map(str::to_owned));
            }
            _ => {}
        }
    }
}

async fn the_audit_tells_of_everything(store: &Store, trail: &Trail, received: &BTreeSet<(String, u64)>, told: &Told) {
    for (id, version) in told.versions.keys() {
        let name = format!("Observation/{id}/_history/{version}");
        let known = if *version == 1 { trail.created.contains_key(&name) } else { trail.updated.contains(&name) };
        assert!(known, "{name} was acknowledged without an AuditEvent");
    }
    let unrecorded: Vec<_> = received
        .iter()
        .map(|(id, version)| format!("Observation/{id}/_history/{version}"))
        .filter(|name| !trail.disclosed.contains(name))
        .collect();
    assert!(unrecorded.is_empty(), "disclosed without an AuditEvent: {unrecorded:?}");
    for basis in &trail.bases {
        let (id, version) = basis.strip_prefix("Consent/").unwrap().split_once("/_history/").unwrap();
        let stored = store.read_version("Consent", id, version.parse().unwrap()).await.unwrap().unwrap();
        let consent: Value = serde_json::from_slice(&stored.payload).unwrap();
        assert_eq!(consent["status"], "active", "{basis} permitted a disclosure");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_is_killed_leaves_nothing_half() {
    let seed = from_environment("KILL_SEED").unwrap_or_else(fresh_seed);
    println!("KILL_SEED={seed}");
    let mut chance = Chance(seed);
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let start = || {
            let listen = "127.0.0.1:0";
            let mut command = tokio::process::Command::new(PROGRAM);
            command.arg("serve").env("MHEALTH_LISTEN", listen).env("MHEALTH_DATA", &data);
            Process::start(&mut command)
        };
        let process = start();
        // Here, too, the moment of death is the input.
        tokio::time::sleep(Duration::from_millis(chance.below(120))).await;
        process.kill().await;
        let mut again = start();
        assert!(again.says("serving").await, "{}", again.said());
        again.terminate().await;
        let (code, said) = again.ended().await;
        assert_eq!(code, Some(0), "{said}");
    }
}
