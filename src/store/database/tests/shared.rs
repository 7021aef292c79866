//! Several gateways on one server, and a server that fails.

use std::time::Duration;

use super::server::Own;
use super::*;
use crate::store::{BackingUp, Error, Fenced, Health, IdempotencyKey, OpenError, Precondition, WriteOutcome};

/// Two gateways on one database.
fn two() -> [Fixture; 2] {
    let first = Fixture::shared();
    let second = Fixture::at(first.place.server.clone(), Some(&first));
    [first, second]
}

fn keyed(key: &str, writes: Vec<Write>) -> Unit {
    Unit { idempotency: Some(IdempotencyKey { key: key.to_owned(), hash: [1; 32] }), ..unit(writes) }
}

/// Has units judged at both at once, the half of them here and the half there.
async fn at_both(both: &[Fixture; 2], count: usize, made: impl Fn(usize) -> Unit) -> Vec<Result<Accepted, Error>> {
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let (store, unit) = (both[index % 2].store.clone(), made(index));
            tokio::spawn(async move { store.accept(unit).await })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(count);
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_both_at_once_has_one_effect() {
    let both = two();
    let outcomes = at_both(&both, 64, |_| keyed("k", vec![observation(patient(1), "a", "1")])).await;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Accepted::Done { .. }))).count();
    let replayed = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Accepted::Replayed { .. }))).count();
    assert_eq!((done, replayed), (1, 63), "{outcomes:?}");
    assert_eq!((both[0].count("Observation").await, both[1].audits().await), (1, 1));

    let outcomes = at_both(&both, 64, |index| unit(vec![observation(patient(2), "b", &(index % 4).to_string())])).await;
    let created = |outcome: &&Result<Accepted, Error>| matches!(outcome, Ok(Accepted::Done { outcomes }) if outcomes == &[WriteOutcome::Created]);
    assert_eq!(outcomes.iter().filter(created).count(), 1, "{outcomes:?}");
    assert_eq!(both[1].count("Observation").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_follow_one_another() {
    let both = two();
    let first = observation(patient(1), "a", "1");
    both[0].put(first.clone()).await;
    let outcomes = at_both(&both, 32, |index| unit(vec![update(first.clone(), 1, &index.to_string())])).await;
    let updated = |outcome: &&Result<Accepted, Error>| matches!(outcome, Ok(Accepted::Done { outcomes }) if outcomes == &[WriteOutcome::Updated]);
    assert_eq!(outcomes.iter().filter(updated).count(), 1, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_given_here_is_minded_there() {
    let both = two();
    both[0].put(consent(patient(1), "c")).await;
    let unit = |epoch| Unit {
        preconditions: vec![Precondition::ConsentEpoch { patient: patient(1), epoch }],
        ..unit(vec![observation(patient(1), "a", "1")])
    };
    assert_eq!(both[1].accept(unit(0)).await, Accepted::Stale);
    assert!(matches!(both[1].accept(unit(1)).await, Accepted::Done { .. }));
    both[1].store.shred(patient(1)).await.unwrap();
    assert_eq!(both[0].count("Observation").await, 0, "a key that was shredded there opens nothing here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_at_a_person_is_had_by_one() {
    let both = two();
    for number in 0..3 {
        for fixture in &both {
            assert_eq!(fixture.store.turn(patient(1)).await.unwrap(), Some(number));
        }
        let turn = vec![Precondition::Turn { patient: patient(1), number }];
        let outcomes = at_both(&both, 2, |_| Unit { preconditions: turn.clone(), ..unit(Vec::new()) }).await;
        let stale = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Accepted::Stale))).count();
        assert_eq!(stale, 1, "{outcomes:?}");
    }
    assert_eq!(Fixture::new().store.turn(patient(1)).await.unwrap(), None, "nobody else writes to a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_one_sequence() {
    let both = two();
    let outcomes = at_both(&both, 300, |index| unit(vec![observation(patient(1), &index.to_string(), "1")])).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Accepted::Done { .. }))), "{outcomes:?}");
    for fixture in &both {
        assert_eq!(fixture.store.log_size().await.unwrap(), 300);
        assert_eq!(fixture.store.log_changed().await.unwrap(), (300, Vec::new()));
    }
    assert_eq!(both[0].store.log_root(300).await.unwrap(), both[1].store.log_root(300).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_is_leased_to_one() {
    let both = two();
    both[0].store.ensure_destination("nhs").await.unwrap();
    at_both(&both, 64, |index| unit(vec![observation(patient(index as u8), &index.to_string(), "1")])).await;
    let mut delivered = Vec::new();
    let (one, other) = tokio::join!(
        both[0].store.lease("nhs", "one", 0, 1000, 1000),
        both[1].store.lease("nhs", "other", 0, 1000, 1000),
    );
    for (fixture, leases) in both.iter().zip([one.unwrap(), other.unwrap()]) {
        for lease in leases {
            let items = fixture.store.feed(&lease, 1000, usize::MAX).await.unwrap();
            let last = items.last().unwrap().pos;
            assert_eq!(items.iter().map(|item| item.pos).collect::<Vec<_>>(), (1..=last).collect::<Vec<_>>());
            delivered.extend(items.into_iter().flat_map(|item| item.items).map(|stored| stored.seq));
            let advanced = fixture.store.advance(&lease, last, Vec::new(), Vec::new()).await.unwrap();
            assert_eq!(advanced, Fenced::Held);
        }
    }
    delivered.sort_unstable();
    delivered.dedup();
    assert_eq!(delivered.len(), 64, "each once");
    assert_eq!(both[1].store.backlog("nhs").await.unwrap().behind, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_under_load_loses_and_doubles_nothing() {
    let mut own = Own::start(&[]);
    let first = Fixture::at(Some(server::at(own.url())), None);
    let second = Fixture::at(Some(server::at(own.url())), Some(&first));
    let both = [first, second];
    let (told, mut some) = tokio::sync::mpsc::unbounded_channel();
    let pushes: Vec<_> = (0..16)
        .map(|app| {
            let (store, told) = (both[app % 2].store.clone(), told.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                let mut refused = 0;
                for number in 0..60 {
                    let name = format!("{app}-{number}");
                    let pushed = || store.accept(keyed(&name, vec![observation(patient(app as u8), &name, "1")]));
                    // As an app would: the same again until it is told that it is there.
                    loop {
                        match pushed().await {
                            Ok(Accepted::Done { .. } | Accepted::Replayed { .. }) => break,
                            Ok(other) => panic!("{other:?}"),
                            Err(Error::Lost | Error::Unknown | Error::Busy) => refused += 1,
                            Err(error) => panic!("{error:?}"),
                        }
                        tokio::task::yield_now().await;
                    }
                    acknowledged.push(name);
                    told.send(()).unwrap();
                }
                (acknowledged, refused)
            })
        })
        .collect();
    drop(told);
    for _ in 0..3 {
        for _ in 0..200 {
            some.recv().await.unwrap();
        }
        own.kill();
        own.start_again();
    }
    let mut refused = 0;
    for push in pushes {
        let (acknowledged, times) = push.await.unwrap();
        refused += times;
        for name in acknowledged {
            let app: u8 = name.split('-').next().unwrap().parse().unwrap();
            let printed = id(patient(app), &name).to_string();
            assert!(both[0].store.read("Observation", &printed).await.unwrap().is_some(), "{name} was acknowledged");
        }
    }
    assert!(refused > 0, "the server was away");
    assert_eq!(both[1].audits().await, 16 * 60, "each was told once");
    assert_eq!(both[0].store.log_changed().await.unwrap(), (16 * 60, Vec::new()));
    assert_eq!(both[0].store.health(), Health::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_standby_takes_over_nothing_is_lost_or_doubled() {
    const EACH: u8 = 40;
    // So many before the first one is gone, and the rest only then.
    const BEFORE: u8 = 15;
    let mut first = Own::start(&[]);
    let standby = first.standby().await;
    let fixture = Fixture::at(Some(server::at(first.url_with(&standby))), None);
    let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let (gone, is_gone) = tokio::sync::watch::channel(false);
    let pushes: Vec<_> = (0..8)
        .map(|app| {
            let (store, told, mut is_gone) = (fixture.store.clone(), told.clone(), is_gone.clone());
            tokio::spawn(async move {
                for number in 0..EACH {
                    if number == BEFORE {
                        is_gone.wait_for(|gone| *gone).await.unwrap();
                    }
                    let name = format!("{app}-{number}");
                    let write = || observation(patient(app), &name, "1");
                    loop {
                        match store.accept(keyed(&name, vec![write()])).await {
                            Ok(Accepted::Done { .. } | Accepted::Replayed { .. }) => break,
                            Ok(other) => panic!("{other:?}"),
                            Err(Error::Lost | Error::Unknown | Error::Busy) => told.send(false).unwrap(),
                            Err(error) => panic!("{error:?}"),
                        }
                        tokio::task::yield_now().await;
                    }
                    told.send(true).unwrap();
                }
            })
        })
        .collect();
    let mut acknowledged = 0;
    while acknowledged < 100 {
        acknowledged += u8::from(answers.recv().await.unwrap());
    }
    first.kill();
    gone.send(true).unwrap();
    while answers.recv().await.unwrap() {}
    standby.promote().await;
    for push in pushes {
        push.await.unwrap();
    }
    for (app, number) in (0..8).flat_map(|app| (0..EACH).map(move |number| (app, number))) {
        let name = id(patient(app), &format!("{app}-{number}")).to_string();
        assert!(fixture.store.read("Observation", &name).await.unwrap().is_some(), "{app}-{number} was acknowledged");
    }
    assert_eq!(fixture.audits().await, 8 * usize::from(EACH), "each was told once");
    assert_eq!(fixture.store.log_changed().await.unwrap(), (8 * u64::from(EACH), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_everybody_is_told_so() {
    let mut own = Own::start(&[]);
    let fixture = Fixture::at(Some(server::at(own.url())), None);
    fixture.put(observation(patient(1), "a", "1")).await;
    own.kill();
    let refused = fixture.store.accept(unit(vec![observation(patient(1), "b", "1")])).await;
    assert!(matches!(refused, Err(Error::Lost)), "{refused:?}");
    assert_eq!(fixture.store.health(), Health::Unreachable);
    let printed = id(patient(1), "a").to_string();
    assert!(matches!(fixture.store.read("Observation", &printed).await, Err(Error::Lost)));
    own.start_again();
    assert!(fixture.store.read("Observation", &printed).await.unwrap().is_some());
    fixture.put(observation(patient(1), "b", "1")).await;
    assert_eq!(fixture.store.health(), Health::Ok);
}

/// Pushes at both at once, each again until it is told that it is there; how often that was needed.
async fn pushed_until_taken(both: &[Fixture; 2], apps: u8, each: u8) -> usize {
    let tasks: Vec<_> = (0..apps)
        .map(|app| {
            let store = both[usize::from(app) % 2].store.clone();
            tokio::spawn(async move {
                let mut refused = 0;
                for number in 0..each {
                    let name = format!("{app}-{number}");
                    loop {
                        match store.accept(keyed(&name, vec![observation(patient(app), &name, "1")])).await {
                            Ok(Accepted::Done { .. } | Accepted::Replayed { .. }) => break,
                            Err(Error::Busy) => refused += 1,
                            other => panic!("{other:?}"),
                        }
                    }
                }
                refused
            })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        refused += task.await.unwrap();
    }
    refused
}

/// Everything that was pushed so is there once.
async fn each_is_there_once(fixture: &Fixture, apps: u8, each: u8) {
    let count = usize::from(apps) * usize::from(each);
    for (app, number) in (0..apps).flat_map(|app| (0..each).map(move |number| (app, number))) {
        let name = id(patient(app), &format!("{app}-{number}")).to_string();
        assert!(fixture.store.read("Observation", &name).await.unwrap().is_some(), "{app}-{number} was acknowledged");
    }
    assert_eq!(fixture.count("Observation").await, count);
    assert_eq!(fixture.audits().await, count, "each was told once");
    assert_eq!(fixture.store.log_changed().await.unwrap(), (count as u64, Vec::new()));
    assert_eq!(fixture.store.health(), Health::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_costs_time_alone() {
    let own = Own::start(&[]);
    let way = own.slow(Duration::from_millis(2));
    let first = Fixture::at(Some(server::at(Own::url_by(&way))), None);
    let second = Fixture::at(Some(server::at(own.url())), Some(&first));
    let both = [first, second];
    assert_eq!(pushed_until_taken(&both, 8, 10).await, 0);
    each_is_there_once(&both[1], 8, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_gives_up_is_refused_whole() {
    for state in ["40001", "40P01"] {
        let both = two();
        // As if there were others who write otherwise than in turns.
        let sql = format!(
            "CREATE SEQUENCE given_up; CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('given_up') % 11 = 0 THEN RAISE EXCEPTION USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER give_up BEFORE INSERT ON feed FOR EACH ROW EXECUTE FUNCTION give_up()"
        );
        server::speak(&both[0].place.server.as_ref().unwrap().url, &sql).await;
        let refused = pushed_until_taken(&both, 8, 12).await;
        assert!(refused > 0, "{state}");
        each_is_there_once(&both[0], 8, 12).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_to_read_by_what_can_be_written_is() {
    let own = Own::start(&["-c", "max_connections=5", "-c", "superuser_reserved_connections=0"]);
    let fixture = Fixture::at(Some(server::at(own.url())), None);
    let others = server::idle(&own.url(), 4).await;
    fixture.put(observation(patient(1), "a", "1")).await;
    let printed = id(patient(1), "a").to_string();
    let refused = fixture.store.read("Observation", &printed).await;
    assert!(matches!(refused, Err(Error::Lost)), "{refused:?}");
    assert_eq!(fixture.store.health(), Health::Unreachable);
    drop(others);
    while fixture.store.read("Observation", &printed).await.is_err() {
        tokio::task::yield_now().await;
    }
    fixture.put(observation(patient(1), "b", "1")).await;
    assert_eq!((fixture.store.health(), fixture.count("Observation").await), (Health::Ok, 2));
}

/// A gateway that does nothing more with its store, which has the first reading alone.
async fn is_left_alone(fixture: &Fixture, at: &Place) {
    for _ in 0..2 {
        let refused = fixture.store.accept(unit(vec![observation(patient(1), "late", "1")])).await;
        assert!(matches!(refused, Err(Error::Moved)), "{refused:?}");
        assert_eq!(fixture.store.health(), Health::Moved);
    }
    let printed = id(patient(1), "a").to_string();
    assert!(matches!(fixture.store.read("Observation", &printed).await, Err(Error::Moved)));
    let store = Store::open_shared(at).unwrap();
    assert_eq!(store.search(Plan::of("Observation")).await.unwrap().rows.len(), 1);
    assert_eq!(store.log_size().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_moved_away_is_left_alone_by_whoever_had_it() {
    let fixture = Fixture::shared();
    fixture.put(observation(patient(1), "a", "1")).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (from, to) = (fixture.place.clone(), Place::new(&elsewhere.path().join("store"), None));
    let moved = tokio::task::spawn_blocking(move || Store::move_to(&from, &to, "test", NOW_MS).map(|_| to));
    is_left_alone(&fixture, &moved.await.unwrap().unwrap()).await;
    let place = fixture.place.clone();
    assert!(tokio::task::spawn_blocking(move || Store::take_back(&place)).await.unwrap().unwrap());
    let fixture = fixture.reopen();
    fixture.put(observation(patient(1), "b", "1")).await;
    assert_eq!((fixture.store.health(), fixture.count("Observation").await), (Health::Ok, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_set_back_is_left_alone_by_whoever_wrote_to_it() {
    let own = Own::start(&[]);
    let fixture = Fixture::at(Some(server::at(own.url())), None);
    fixture.put(observation(patient(1), "a", "1")).await;
    let folder = tempfile::tempdir().unwrap();
    let (from, place) = (folder.path().join("backup"), fixture.place.clone());
    let how = BackingUp { with_key: false, erasures_alone: false, program: "test", now_ms: NOW_MS };
    let kept = from.clone();
    tokio::task::spawn_blocking(move || Store::back_up(&place, &kept, how)).await.unwrap().unwrap();
    fixture.put(observation(patient(1), "b", "1")).await;
    server::speak(&own.url(), "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    // Restored beside the gateway that serves; its own directory is locked.
    let beside = tempfile::tempdir().unwrap();
    std::fs::copy(fixture.dir.path().join("gateway.key"), beside.path().join("gateway.key")).unwrap();
    let place = Place { server: fixture.place.server.clone(), ..Place::new(beside.path(), None) };
    let to = place.clone();
    tokio::task::spawn_blocking(move || Store::restore(&to, &from, &[])).await.unwrap().unwrap();
    is_left_alone(&fixture, &place).await;
    let fixture = fixture.reopen();
    fixture.put(observation(patient(1), "b", "1")).await;
    assert_eq!((fixture.store.health(), fixture.count("Observation").await), (Health::Ok, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_tables_are_gone_is_left_alone() {
    let own = Own::start(&[]);
    let fixture = Fixture::at(Some(server::at(own.url())), None);
    fixture.put(observation(patient(1), "a", "1")).await;
    server::speak(&own.url(), "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let refused = fixture.store.accept(unit(vec![observation(patient(1), "b", "1")])).await;
    assert!(matches!(refused, Err(Error::Moved)), "{refused:?}");
    assert_eq!(fixture.store.health(), Health::Moved);
}

#[test]
fn a_server_without_a_free_connection_is_not_served_from() {
    let own = Own::start(&["-c", "max_connections=4", "-c", "superuser_reserved_connections=0"]);
    let dirs: Vec<_> = (0..5).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut open = Vec::new();
    let mut refused = 0;
    for dir in &dirs {
        let key = dirs[0].path().join("gateway.key");
        let key_file = (!open.is_empty()).then_some(key);
        match Store::open(&Place { directory: dir.path().to_owned(), key_file, server: Some(server::at(own.url())) }) {
            Ok(store) => open.push(store),
            Err(OpenError::Database(_)) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((open.len(), refused), (4, 1));
}

#[test]
fn a_server_that_may_lose_what_it_has_is_refused() {
    let own = Own::start(&["-c", "full_page_writes=off"]);
    let dir = tempfile::tempdir().unwrap();
    let opened = |server: Server| {
        let place = Place { server: Some(server), ..Place::new(dir.path(), None) };
        (Store::usable(&place).err(), Store::open(&place).err())
    };
    for (server, wanted) in [
        (server::at(own.url()), "full_page_writes"),
        (
            Server { url: server::fresh().url + "%20-csynchronous_commit%3Doff", ..server::at(own.url()) },
            "synchronous_commit",
        ),
        (
            Server { url: server::fresh().url + "%20-csynchronous_commit%3Dlocal", ..server::at(own.url()) },
            "synchronous_commit",
        ),
    ] {
        let is =
            |error: Option<OpenError>| matches!(error, Some(OpenError::Setting { setting, .. }) if setting == wanted);
        let (usable, open) = opened(server);
        assert!(is(usable) && is(open), "{wanted}");
    }
}

#[test]
fn what_is_said_to_a_server_elsewhere_is_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    for (url, near) in [
        ("postgres://a@db.example/gateway", false),
        ("postgres://a@localhost,db.example/gateway", false),
        ("postgres://a@192.0.2.1/gateway", false),
        ("postgres://a@127.0.0.1/gateway", true),
        ("postgres://a@/gateway?host=/run/postgresql", true),
    ] {
        let server = Server { url: url.to_owned(), password: None, ca: None };
        let place = Place { server: Some(server), ..Place::new(dir.path(), None) };
        let refused = matches!(Store::exists(&place), Err(OpenError::Unfit(crate::store::fault::Unfit::Plain)));
        assert_eq!(refused, !near, "{url}");
    }
}

#[test]
fn another_key_than_the_databases_is_refused() {
    let first = Fixture::shared();
    let dir = tempfile::tempdir().unwrap();
    let place = Place { server: first.place.server.clone(), ..Place::new(dir.path(), None) };
    let missing = Store::open(&place);
    assert!(
        matches!(missing, Err(OpenError::Key { mistake: crate::store::KeyMistake::Missing, .. })),
        "it is not made"
    );
    std::fs::write(dir.path().join("gateway.key"), "0".repeat(64)).unwrap();
    assert!(matches!(Store::open(&place), Err(OpenError::Key { mistake: crate::store::KeyMistake::Other, .. })));
}
