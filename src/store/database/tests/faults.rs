//! A full disk, a failed sync: what the store says, and what it takes no more.

use std::os::unix::fs::PermissionsExt;

use rusqlite::{Connection, ffi};

use super::*;
use crate::store::database::file::FILE;
use crate::store::database::writer::Writer;
use crate::store::database::{Store, keys};
use crate::store::sql::Fault;
use crate::store::{Error, Health, HistoryPlan, OpenError, Order, OrderBy, Pass, Sieve};

fn database(fixture: &Fixture) -> &Store {
    &fixture.store
}

async fn limit_pages(fixture: &Fixture, pages: i64) {
    let limit = database(fixture)
        .writer
        .call(1, move |ledger| Ok(ledger.connection.batch(&format!("PRAGMA max_page_count = {pages}"))?));
    limit.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_survived() {
    let fixture = Fixture::new();
    fixture.put(observation(patient(1), "a", "1")).await;
    limit_pages(&fixture, 1).await;
    let text: String = (0..20_000_u64).map(|n| format!("{:05x}", n * n * 2_654_435_761 % 1_000_003)).collect();
    let large = || unit(vec![observation(patient(1), "b", &text)]);
    assert!(matches!(fixture.store.accept(large()).await, Err(Error::Full)));
    assert_eq!((fixture.store.health(), fixture.count("Observation").await), (Health::Full, 1));

    limit_pages(&fixture, 1_000_000).await;
    fixture.accept(large()).await;
    assert_eq!((fixture.store.health(), fixture.count("Observation").await), (Health::Ok, 2));
}

#[tokio::test]
async fn a_failed_sync_stops_all_writing() {
    let fixture = Fixture::new();
    fixture.put(observation(patient(1), "a", "1")).await;
    let failure = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None);
    let broken = database(&fixture).writer.call(1, move |_| Err::<(), Error>(Fault::from(failure()).into()));
    assert!(matches!(broken.await, Err(Error::Poisoned)));
    let later = fixture.store.accept(unit(vec![observation(patient(1), "b", "1")])).await;
    assert!(matches!(later, Err(Error::Poisoned)));
    assert_eq!((fixture.store.health(), fixture.count("Observation").await), (Health::Poisoned, 1));

    let Fixture { dir, place, store } = fixture;
    drop(Arc::into_inner(store).unwrap());
    let log_bytes = || std::fs::metadata(dir.path().join(format!("{FILE}-wal"))).unwrap().len();
    assert!(log_bytes() > 0, "closing did not touch what the disk refused");
    let store = Arc::new(Store::open(&place).unwrap());
    assert_eq!(log_bytes(), 0, "opening wrote the log anew");
    let fixture = Fixture { dir, place, store };
    assert_eq!((fixture.store.health(), fixture.count("Observation").await), (Health::Ok, 1));
}

#[tokio::test]
async fn one_job_that_fails_makes_its_neighbours_try_again() {
    let fixture = Fixture::new();
    let writer = &database(&fixture).writer;
    let held = hold(writer);
    let before = fixture.store.accept_all(vec![unit(vec![observation(patient(1), "a", "1")])]);
    let mut before = std::pin::pin!(before);
    assert!(is_pending(before.as_mut()).await, "queued, not done");
    let broken = writer.call(1, |ledger| Ok(ledger.connection.execute("INSERT INTO kind VALUES (1, NULL)", ())?));
    let after = writer.call(1, |_| Ok(()));
    drop(held);
    assert!(matches!(before.await[0], Err(Error::Busy)));
    assert!(matches!(broken.await, Err(Error::Sql(_))));
    assert!(matches!(after.await, Err(Error::Busy)));
    assert_eq!(fixture.count("Observation").await, 0);
    fixture.put(observation(patient(1), "a", "1")).await;
    assert_eq!(fixture.count("Observation").await, 1);
}

/// Keeps the writer's thread at a job of its own until the answer is dropped: what is queued meanwhile is one group.
fn hold(writer: &Writer) -> std::sync::mpsc::Sender<()> {
    let (started, start) = std::sync::mpsc::channel();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    drop(writer.call(1, move |_| {
        started.send(()).unwrap();
        wait.recv().unwrap_err();
        Ok(())
    }));
    start.recv().unwrap();
    release
}

/// Polls once.
async fn is_pending(mut future: std::pin::Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let fixture = Fixture::new();
    let writer = &database(&fixture).writer;
    let held = hold(writer);
    let waiting: Vec<_> = (0..5000).map(|_| writer.call(1, |_| Ok(()))).collect();
    drop(held);
    let mut busy = 0;
    for job in waiting {
        match job.await {
            Ok(()) => {}
            Err(Error::Busy) => busy += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(busy, 5000 - 4096);
}

#[test]
fn only_one_process_serves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let serving = Store::open(&Place::new(&path, None)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(matches!(Store::open(&Place::new(&path, None)), Err(OpenError::Locked { .. })));
    let beside = Store::open_shared(&Place::new(&path, None)).unwrap();
    assert_eq!(beside.secret("page").unwrap(), serving.secret("page").unwrap());
    drop(serving);
    assert!(Store::open(&Place::new(&path, None)).is_ok());
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(&Place::new(dir.path(), None)).unwrap());
    Connection::open(dir.path().join(FILE)).unwrap().pragma_update(None, "user_version", 1000).unwrap();
    assert!(matches!(Store::open(&Place::new(dir.path(), None)), Err(OpenError::Newer { found: 1000, .. })));
}

#[tokio::test]
async fn closing_writes_what_is_queued() {
    let Fixture { dir, store, .. } = Fixture::new();
    let queued: Vec<_> = (0..100)
        .map(|_| {
            store.writer.call(1, |ledger| {
                Ok(ledger.connection.execute("INSERT INTO client VALUES (hex(randomblob(16)), '')", ())?)
            })
        })
        .collect();
    Arc::into_inner(store).unwrap().close().await;
    for job in queued {
        job.await.unwrap();
    }
    let store = Store::open(&Place::new(dir.path(), None)).unwrap();
    assert_eq!(store.clients().await.unwrap().len(), 100);
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    let fixture = Fixture::new();
    fixture.put(observation(patient(1), "a", "1")).await;
    for entry in std::fs::read_dir(fixture.dir.path()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains("sqlite3") {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{name}");
        }
    }
}

#[tokio::test]
async fn what_was_damaged_of_one_person_is_told_and_hurts_nobody_else() {
    let fixture = Fixture::new();
    for number in 1..4 {
        fixture.put(observation(patient(number), &format!("r{number}"), &format!("of {number}"))).await;
        let (key, person) = (patient(number), id(patient(number), "herself"));
        let name = move |ledger: &mut Ledger| keys::is_named(ledger, key, person);
        assert!(fixture.store.writer.call(1, name).await.unwrap());
    }
    // A bit turns in what is sealed; in a wrapped key; both are of one person.
    for (bend, undo) in [
        (
            "UPDATE resource SET payload = CAST(payload || x'00' AS BLOB) WHERE patient = ?1",
            "UPDATE resource SET payload = substr(payload, 1, length(payload) - 1) WHERE patient = ?1",
        ),
        (
            "UPDATE person_key SET wrapped = CAST(wrapped || x'00' AS BLOB) WHERE patient = ?1",
            "UPDATE person_key SET wrapped = substr(wrapped, 1, length(wrapped) - 1) WHERE patient = ?1",
        ),
        // By which id she is known: another's would make her data another's.
        (
            "UPDATE person_key SET person = (SELECT o.person FROM person_key o WHERE o.patient <> ?1 LIMIT 1) WHERE patient = ?1",
            "UPDATE person_key SET person = NULL WHERE patient = ?1",
        ),
    ] {
        let file = Connection::open(fixture.dir.path().join(FILE)).unwrap();
        file.execute(bend, [patient(2).0]).unwrap();
        for number in 1..4 {
            let name = id(patient(number), &format!("r{number}")).to_string();
            match fixture.store.read("Observation", &name).await {
                Ok(Some(stored)) => assert_eq!(stored.payload, format!("of {number}").into_bytes()),
                Err(Error::Damaged) => assert_eq!(number, 2),
                other => panic!("{number}: {other:?}"),
            }
        }
        assert_eq!(fixture.store.health(), Health::Ok, "and nobody else waits");
        fixture.put(observation(patient(3), &format!("later {bend}"), "later")).await;
        let examining = crate::store::Examining { quick: true, now_ms: NOW_MS, follower: "follower" };
        let findings = Store::examine(&fixture.place, examining).unwrap();
        let sealed = findings.iter().find(|found| found.check == "store.sealed").unwrap();
        assert_eq!(sealed.grade, crate::store::Grade::Bad);
        assert!(sealed.figures.contains(&("broken", 1)), "{sealed:?}");
        assert!(sealed.said.ends_with(": Observation seq 2 version 1"), "{sealed:?}");
        file.execute(undo, [patient(2).0]).unwrap();
    }
    let name = id(patient(2), "r2").to_string();
    assert!(fixture.store.read("Observation", &name).await.unwrap().is_some());
}

/// What is damaged ends a search that must know all, and is counted by one that need not; other versions can be read, and a
/// consent that cannot be is there still.
#[tokio::test]
async fn what_is_damaged_is_passed_over_where_that_may_be() {
    for fixture in Fixture::both() {
        for number in 1..4 {
            fixture
                .put(Write { date: Some(Dated::At(number)), ..observation(patient(1), &format!("r{number}"), "one") })
                .await;
        }
        fixture.put(update(observation(patient(1), "r2", "two"), 1, "two")).await;
        fixture.put(consent(patient(1), "c")).await;
        spoil(&fixture, "r2").await;
        let name = |name: &str| id(patient(1), name).to_string();
        let read = fixture.store.read("Observation", &name("r2")).await;
        assert!(matches!(read, Err(Error::Damaged)), "{read:?}");
        let earlier = fixture.store.read_version("Observation", &name("r2"), 1).await.unwrap().unwrap();
        assert_eq!(earlier.payload, b"one");
        for by in [OrderBy::Date, OrderBy::Seq, OrderBy::Updated] {
            for sieve in [None, Some(Sieve::new(|_| Some((i64::MIN, i64::MAX)), |_| Pass::Through))] {
                let order = Order { by, descending: false };
                let plan = Plan { patients: Some(vec![patient(1)]), order, limit: 2, sieve, ..Plan::of("Observation") };
                let (mut found, mut damaged) = (0, 0);
                let mut plan = Plan { spares_damaged: true, ..plan };
                loop {
                    let page = fixture.store.search(plan.clone()).await.unwrap();
                    (found, damaged) = (found + page.rows.len(), damaged + page.damaged.len());
                    match page.next {
                        Some(next) => plan.after = Some(next),
                        None => break,
                    }
                }
                assert_eq!((found, damaged), (2, 1), "{by:?}");
                let strict = Plan { spares_damaged: false, after: None, limit: 3, ..plan };
                assert!(matches!(fixture.store.search(strict).await, Err(Error::Damaged)));
            }
        }
        let plan = HistoryPlan { kinds: vec!["Observation".into()], id: None, since_ms: None, after: None, limit: 10 };
        let (found, _) = fixture.store.history(plan).await.unwrap();
        assert_eq!((found.rows.len(), found.damaged.len()), (3, 1));
        let asked = |version| ("Observation".to_owned(), name("r2"), version);
        let found = fixture.store.versions(vec![asked(1), asked(2)]).await.unwrap();
        assert_eq!((found.rows.len(), found.damaged), (1, vec![(earlier.seq, 2)]));
        spoil(&fixture, "c").await;
        let said = fixture.store.said(patient(1), None).await.unwrap().unwrap();
        assert_eq!(said.consents.iter().map(|stored| stored.payload.len()).collect::<Vec<_>>(), [0]);
    }
}

/// What leads to what the person has said is gone or changed: that is noticed, and is not taken for her having said nothing.
#[tokio::test]
async fn what_is_lost_of_what_a_person_has_said_is_noticed() {
    for fixture in Fixture::both() {
        let (hers, others) = (patient(1), patient(2));
        let whole = async |patient| fixture.store.said(patient, None).await.unwrap().unwrap().whole;
        assert!(whole(hers).await, "nothing was said");
        for name in ["c", "d"] {
            fixture.put(consent(hers, name)).await;
        }
        fixture.put(consent(others, "o")).await;
        fixture.put(update(consent(hers, "d"), 1, "other")).await;
        fixture.put(Write { delete: true, ..update(consent(hers, "d"), 2, "") }).await;
        for on in [true, false, true] {
            fixture.store.restrict(hers, on, NOW_MS, audit_record()).await.unwrap();
            assert!(whole(hers).await && whole(others).await);
        }
        assert_eq!(broken(&fixture, "said_broken"), 0);
        for (bend, undo) in [
            ("DELETE FROM consent WHERE patient = ?1", "INSERT INTO consent (patient, seq) VALUES (?1, 1)"),
            ("INSERT INTO consent (patient, seq) VALUES (?1, 7)", "DELETE FROM consent WHERE patient = ?1 AND seq = 7"),
            (
                "UPDATE patient_state SET restricted = restricted + 1 WHERE patient = ?1",
                "UPDATE patient_state SET restricted = restricted - 1 WHERE patient = ?1",
            ),
            (
                "UPDATE patient_state SET consent_epoch = consent_epoch + 8 WHERE patient = ?1",
                "UPDATE patient_state SET consent_epoch = consent_epoch - 8 WHERE patient = ?1",
            ),
        ] {
            let change = async |sql: &'static str| {
                let changed = move |ledger: &mut Ledger| Ok(ledger.connection.execute(sql, [hers.0])?);
                assert_eq!(fixture.store.writer.call(1, changed).await.unwrap(), 1, "{sql}");
            };
            change(bend).await;
            assert!(!whole(hers).await, "{bend}");
            assert!(whole(others).await, "{bend}");
            assert_eq!(broken(&fixture, "said_broken"), 1, "{bend}");
            // Whatever is said later does not make it whole.
            fixture.store.restrict(others, true, NOW_MS, audit_record()).await.unwrap();
            change(undo).await;
            assert!(whole(hers).await, "{undo}");
        }
    }
}

/// A row of the feed that is not what was written is noticed, and what it was about is told all the same.
#[tokio::test]
async fn a_damaged_row_of_the_feed_loses_nothing() {
    for fixture in Fixture::both() {
        fixture.store.ensure_destination("nhs").await.unwrap();
        for name in ["a", "b"] {
            fixture.put(observation(patient(1), name, name)).await;
        }
        fixture.put(observation(patient(2), "z", "z")).await;
        let told = async || {
            let mut told = Vec::new();
            for lease in fixture.store.lease("nhs", "w", NOW_MS, 1000, 16).await.unwrap() {
                for row in fixture.store.feed(&lease, 10, usize::MAX).await.unwrap() {
                    told.extend(row.items.iter().map(|stored| String::from_utf8(stored.payload.clone()).unwrap()));
                    assert!(row.damaged.is_empty());
                }
            }
            told.sort();
            told.dedup();
            told
        };
        assert_eq!(told().await, ["a", "b", "z"]);
        assert_eq!(broken(&fixture, "feed_broken"), 0);
        for bend in ["UPDATE feed SET items = patient WHERE patient = ?1", "UPDATE feed SET sum = 1 WHERE patient = ?1"]
        {
            let bend = move |ledger: &mut Ledger| Ok(ledger.connection.execute(bend, [patient(1).0])?);
            assert_eq!(fixture.store.writer.call(1, bend).await.unwrap(), 2);
            assert_eq!(told().await, ["a", "b", "z"]);
            assert_eq!(broken(&fixture, "feed_broken"), 2);
        }
    }
}

/// What an examination says of so many broken rows.
fn broken(fixture: &Fixture, what: &str) -> i64 {
    let examining = crate::store::Examining { quick: false, now_ms: NOW_MS, follower: "follower" };
    let findings = Store::examine(&fixture.place, examining).unwrap();
    let found = findings.iter().find(|found| found.check == "store.references").unwrap();
    found.figures.iter().find(|(name, _)| *name == what).map_or(0, |(_, count)| *count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_does_not_go_on_is_told() {
    for fixture in Fixture::both() {
        let (go, wait) = std::sync::mpsc::channel();
        let stuck = fixture.store.writer.call(1, move |_| {
            wait.recv().unwrap();
            Ok(())
        });
        while fixture.store.health() != Health::Stalled {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        stuck.await.unwrap();
        while fixture.store.health() != Health::Ok {
            tokio::task::yield_now().await;
        }
    }
}
