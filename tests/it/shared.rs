//! Several gateways on one PostgreSQL server: they are one gateway to whoever uses them.

use mhealth_gateway::policy::consent::Action;
use mhealth_gateway::store::DAMAGED;

use crate::bulk;
use crate::fixture::{Answer, Client, Gateway, Platform, eventually, heart_rate};
use crate::metrics;
use crate::postgres::{self, Own};

fn store(url: &str) -> String {
    format!("[store]\nurl = {url:?}\n")
}

/// Two gateways on the server at an address, and an app that is signed in at both.
async fn two(url: &str, configuration: &str) -> ([Gateway; 2], [Client; 2]) {
    let configuration = format!("{configuration}\n{}", store(url));
    let first = Gateway::with_store(tempfile::tempdir().unwrap(), &configuration).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(first.path().join("gateway.key"), directory.path().join("gateway.key")).unwrap();
    let second = Gateway::with_store(directory, &configuration).await;
    let app = first.app().await;
    let mut there = Client { http: second.http.clone(), base: second.base.clone(), ..app.clone() };
    there.sign_in().await;
    ([first, second], [app, there])
}

async fn at_both(apps: &[Client; 2], count: usize, push: impl AsyncFn(Client, usize) -> Answer) -> Vec<Answer> {
    let mut answers = Vec::new();
    let pushes: Vec<_> = (0..count).map(|index| push(apps[index % 2].clone(), index)).collect();
    for push in join(pushes).await {
        answers.push(push);
    }
    answers
}

/// Polls all until all are done.
async fn join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_to_both_at_once_has_one_effect() {
    let (_gateways, apps) = two(&postgres::fresh().await, "").await;
    let patient = apps[0].consenting_person().await;
    let pushed = at_both(&apps, 64, async |app, _| {
        app.raw(
            "POST",
            "/Observation",
            &[("content-type", "application/fhir+json"), ("idempotency-key", "same")],
            heart_rate(&patient, "r-1", 70).to_string(),
        )
        .await
    })
    .await;
    assert!(pushed.iter().all(|answer| answer.status == 201), "{pushed:?}");
    let pushed =
        at_both(&apps, 64, async |app, _| app.post("/Observation", &heart_rate(&patient, "r-2", 71)).await).await;
    assert_eq!(pushed.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(pushed.iter().all(|answer| matches!(answer.status, 200 | 201)), "{pushed:?}");
    for app in &apps {
        assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.0, Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_delivered_once_whoever_took_it() {
    let platform = Platform::start(&[]).await;
    let (_gateways, apps) = two(&postgres::fresh().await, &platform.destination("")).await;
    let mut patients = Vec::new();
    for app in apps.iter().cycle().take(8) {
        let patient = app.person().await;
        let whole: &[Action] = &[Action::Collect, Action::Access, Action::Disclose];
        app.consent(
            &patient,
            &[
                ("Organization/app", whole, &["heart-rate"]),
                ("Organization/platform", &[Action::Disclose], &["heart-rate"]),
            ],
        )
        .await;
        patients.push(patient);
    }
    let pushed = at_both(&apps, 96, async |app, index| {
        app.post("/Observation", &heart_rate(&patients[index % 8], &format!("r-{index}"), 70)).await
    })
    .await;
    assert!(pushed.iter().all(|answer| answer.status == 201), "{pushed:?}");
    eventually("everything arrives", async || (platform.log().len() >= 96).then_some(())).await;
    let mut arrived = platform.log();
    arrived.sort();
    arrived.dedup();
    assert_eq!((arrived.len(), platform.log().len()), (96, 96), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_is_withdrawn_here_is_minded_there() {
    let (_gateways, apps) = two(&postgres::fresh().await, "").await;
    let patient = apps[0].person().await;
    let consent =
        apps[0].consent(&patient, &[("Organization/app", &[Action::Collect, Action::Access], &["heart-rate"])]).await;
    for (app, name) in apps.iter().zip(["a", "b"]) {
        assert_eq!(app.post("/Observation", &heart_rate(&patient, name, 70)).await.status, 201);
    }
    assert_eq!(apps[0].withdraw(&consent).await.status, 200);
    let refused = apps[1].post("/Observation", &heart_rate(&patient, "c", 70)).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(apps[1].find(&format!("/Observation?patient={patient}")).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_and_comes_back_costs_time_alone() {
    let mut own = Own::start(&[]);
    let platform = Platform::start(&[]).await;
    let (gateways, apps) = two(&own.url(), &platform.destination("")).await;
    let patient = apps[0].person().await;
    let whole: &[Action] = &[Action::Collect, Action::Access];
    apps[0]
        .consent(
            &patient,
            &[
                ("Organization/app", whole, &["heart-rate"]),
                ("Organization/platform", &[Action::Disclose], &["heart-rate"]),
            ],
        )
        .await;
    assert_eq!(apps[1].post("/Observation", &heart_rate(&patient, "before", 70)).await.status, 201);

    own.kill();
    for (gateway, app) in gateways.iter().zip(&apps) {
        let refused = app.post("/Observation", &heart_rate(&patient, "r-0", 70)).await;
        assert_eq!((refused.status, refused.issues()), (503, vec!["storage-failed".to_owned()]), "{}", refused.text());
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(app.get(&format!("/Observation?patient={patient}")).await.status, 503);
        let gateway = gateway.inner();
        assert!(gateway.unready().is_some());
        let figures = gateway.figures().await;
        assert_eq!(metrics::value(&figures, r#"store_state{state="unreachable"}"#), Some(1.0), "{figures}");
    }
    own.start_again();
    for (index, app) in apps.iter().enumerate() {
        for number in 0..10 {
            let reading = heart_rate(&patient, &format!("r-{index}-{number}"), 70);
            eventually("it is taken", async || (app.post("/Observation", &reading).await.status == 201).then_some(()))
                .await;
        }
    }
    for (gateway, app) in gateways.iter().zip(&apps) {
        let ready = async || gateway.running.as_ref().unwrap().gateway.unready().is_none().then_some(());
        eventually("it is ready again", ready).await;
        assert_eq!(app.find(&format!("/Observation?patient={patient}")).await.0, Some(21));
    }
    eventually("everything arrives", async || (platform.log().len() >= 21).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_checks_a_configuration_is_told_what_is_wrong_with_the_server() {
    let url = postgres::fresh().await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gateway.toml");
    for (section, wanted) in [
        ("[store]\nca = \"ca.pem\"".to_owned(), "store.url: missing"),
        ("[store]\nurl = \"mysql://x\"".to_owned(), "no postgres:// URL"),
        ("[store]\nurl = \"postgres://a@db.example/x\"".to_owned(), "no authority is named"),
        (format!("[store]\nurl = {url:?}\npassword_file = \"none\""), "store.password_file"),
        (store(&format!("{url}%20-csynchronous_commit%3Doff")), "synchronous_commit"),
        (store("postgres://a@/x?host=/nowhere"), "store: cannot open the database"),
    ] {
        let text = format!("data = {:?}\n{section}", directory.path().join("data"));
        std::fs::write(&config, text).unwrap();
        let output = crate::fixture::run(&["check", "--config", config.to_str().unwrap()]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{section}: {said}");
        assert!(said.contains(wanted), "{section}: {said}");
    }
}

/// An export is made by whichever gateway has time for it, and asked for and fetched at any of them, also when the one that
/// began it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_everybodys_work() {
    let ([first, second], [app, there]) = two(&postgres::fresh().await, "").await;
    bulk::crowd(&app, 12, 50).await;
    let begun = bulk::begin(&app, "/$export?_type=Observation,Patient").await;
    let other = bulk::begin(&there, "/$export?_type=Observation,Patient").await;
    let at_second = |address: &str| address.replace(app.root(), there.root());
    let one = bulk::fetched(&there, &at_second(&other)).await;
    let late = bulk::begin(&app, "/$export?_type=Observation").await;
    drop(first.stop().await);
    let another = bulk::fetched(&there, &at_second(&begun)).await;
    assert_eq!((one.count(), another.count()), (12 * 51, 12 * 51));
    assert_eq!(one.ids("Observation"), another.ids("Observation"));
    assert_eq!(bulk::fetched(&there, &at_second(&late)).await.ids("Observation"), one.ids("Observation"));
    drop(second);
}

/// What is only read is read for whoever waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_for_a_client_that_is_gone_is_given_up() {
    let url = postgres::fresh().await;
    let (gateways, apps) = two(&url, "").await;
    let (gateway, app) = (gateways[0].inner(), &apps[0]);
    let search = format!("/Observation?patient={}", app.consenting_person().await);
    let holder = &postgres::idle(&url, 1).await[0];
    // No answer leaves before it is on record, and nothing can be put on record.
    holder.batch_execute("BEGIN; LOCK TABLE audit IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let under_way = async || metrics::value(&gateway.figures().await, "requests_under_way").unwrap();
    let waiting = "SELECT COUNT(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
                   WHERE datname = current_database() AND relation = 'audit'::regclass AND NOT granted";
    let waiting = async || holder.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0);
    let (asking, asked) = (app.clone(), search.clone());
    let reading = tokio::spawn(async move { asking.get(&asked).await });
    eventually("it is read and waits", async || (waiting().await == 1).then_some(())).await;
    assert!(under_way().await > 0.0);
    reading.abort();
    eventually("it is given up", async || (under_way().await == 0.0).then_some(())).await;
    assert_eq!(waiting().await, 1, "before the store gave up");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(app.get(&search).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_damaged_is_given_up_alone() {
    let url = postgres::fresh().await;
    let mut platform = Platform::start(&[]).await;
    let (gateways, apps) = two(&url, &platform.destination("")).await;
    let patient = apps[0].consenting_person().await;
    apps[0].consent(&patient, &[("Organization/platform", &[Action::Disclose], &["heart-rate"])]).await;
    platform.leave().await;
    for number in 0..5 {
        let reading = heart_rate(&patient, &format!("r-{number}"), 60 + number);
        assert_eq!(apps[0].post("/Observation", &reading).await.status, 201);
    }
    let third = "UPDATE resource SET payload = substring(payload FROM 1 FOR 40) WHERE seq =
                 (SELECT seq FROM resource WHERE kind = (SELECT id FROM kind WHERE name = 'Observation') ORDER BY seq OFFSET 2 LIMIT 1)";
    postgres::speak(&url, third).await;
    platform.come_back().await;
    let store = gateways[0].store();
    eventually("the others arrive", async || {
        let backlog = store.backlog("platform").await.unwrap();
        (backlog.behind == 0 && backlog.retries == 0).then_some(())
    })
    .await;
    let dead = store.dead_letters(Some("platform")).await.unwrap();
    assert_eq!(dead.iter().map(|letter| letter.reason.as_str()).collect::<Vec<_>>(), [DAMAGED]);
    let told = platform.log().into_iter().filter(|(name, _)| name.starts_with("Observation/")).count();
    assert_eq!(told, 4);
}
