//! What is kept of a person lies sealed, and only the store's own key file opens it.

use std::path::Path;

use super::{Fixture, id, observation, patient, unit, update};
use crate::store::{Accepted, KeyMistake, OpenError, Place, Plan, Store};

const MARKER: &str = "a sentence that nobody else writes";

/// Whether a text stands in any file of a directory.
fn lies_in(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn no_file_shows_what_is_kept_of_a_person() {
    let fixture = Fixture::new();
    let write = observation(patient(1), "a", MARKER);
    fixture.put(write.clone()).await;
    fixture.put(update(write.clone(), 1, &format!("{MARKER}, later"))).await;
    assert!(!lies_in(fixture.dir.path(), MARKER), "in the log");
    let fixture = fixture.reopen();
    assert!(!lies_in(fixture.dir.path(), MARKER), "in the file");
    let printed = write.id.to_string();
    let read = |version| fixture.store.read_version("Observation", &printed, version);
    assert_eq!(read(1).await.unwrap().unwrap().payload, MARKER.as_bytes());
    assert_eq!(read(2).await.unwrap().unwrap().payload, format!("{MARKER}, later").as_bytes());
    // Whatever is nobody's stays plain.
    let mut nobodys = observation(patient(1), "b", "of nobody");
    nobodys.patient = None;
    fixture.put(nobodys).await;
    assert!(lies_in(fixture.dir.path(), "of nobody"));
}

#[tokio::test]
async fn a_shredded_key_opens_nothing_any_more() {
    let fixture = Fixture::new();
    for (person, name) in [(1, "a"), (2, "b")] {
        fixture.put(observation(patient(person), name, MARKER)).await;
    }
    let wrapped = wrapped_key(fixture.dir.path());
    assert!(anywhere(fixture.dir.path(), &wrapped));
    // Whoever shreds, everybody notices, whatever they remember.
    let beside = Store::open_shared(&Place::new(fixture.dir.path(), None)).unwrap();
    assert_eq!(fixture.count("Observation").await, 2);
    assert!(beside.shred(patient(1)).await.unwrap());
    assert!(!beside.shred(patient(1)).await.unwrap());
    assert!(!anywhere(fixture.dir.path(), &wrapped), "the key is still in a file");
    let gone = id(patient(1), "a").to_string();
    assert!(fixture.store.read("Observation", &gone).await.unwrap().is_none());
    assert_eq!(fixture.count("Observation").await, 1);
    // What comes afterwards has a key of its own, which opens nothing of before.
    fixture.put(observation(patient(1), "c", "new")).await;
    let rows = fixture.store.search(Plan::of("Observation")).await.unwrap().rows;
    let mut texts: Vec<&[u8]> = rows.iter().map(|stored| stored.payload.as_slice()).collect();
    texts.sort_unstable();
    assert_eq!(texts, [MARKER.as_bytes(), b"new".as_slice()]);
    assert!(fixture.store.read("Observation", &gone).await.unwrap().is_none());
}

#[tokio::test]
async fn what_nobody_can_open_stands_in_nobodys_way() {
    let fixture = Fixture::new();
    for (person, name) in [(1, "a"), (2, "b")] {
        fixture.put(observation(patient(person), name, MARKER)).await;
    }
    let connection = rusqlite::Connection::open(fixture.dir.path().join("gateway.sqlite3")).unwrap();
    for person in [1, 2] {
        let sql = "INSERT INTO retry (destination, lane, patient, seq, version, attempts, not_before, reason, head)
             VALUES ('d', ?1, ?1, ?2, 1, 1, 0, 'r', 1)";
        connection.execute(sql, rusqlite::params![patient(person).0, person]).unwrap();
    }
    fixture.store.shred(patient(1)).await.unwrap();
    let due = fixture.store.retries_due("d", 1, 1).await.unwrap();
    assert_eq!(due.iter().map(|retry| retry.stored.patient).collect::<Vec<_>>(), [Some(patient(2))]);
}

fn wrapped_key(dir: &Path) -> Vec<u8> {
    let connection = rusqlite::Connection::open(dir.join("gateway.sqlite3")).unwrap();
    connection.query_row("SELECT wrapped FROM person_key WHERE patient = ?1", [patient(1).0], |row| row.get(0)).unwrap()
}

fn anywhere(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let file = std::fs::read(entry.unwrap().path()).unwrap();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn only_its_own_key_file_opens_a_store() {
    let fixture = Fixture::new();
    fixture.put(observation(patient(1), "a", MARKER)).await;
    let Fixture { dir, store, .. } = fixture;
    drop(store);
    let own = dir.path().join("gateway.key");
    let digits = std::fs::read_to_string(&own).unwrap();
    let opened = |key: Option<&Path>| {
        let place = Place::new(dir.path(), key);
        (Store::usable(&place).err(), Store::open(&place).err())
    };
    let mistakes = [
        (None, "missing"),
        (Some("0".repeat(64)), "other"),
        (Some("not a key".to_owned()), "malformed"),
        (Some(digits.clone()), ""),
    ];
    for (text, expected) in mistakes {
        match text {
            None => std::fs::remove_file(&own).unwrap(),
            Some(text) => std::fs::write(&own, text).unwrap(),
        }
        for error in <[_; 2]>::from(opened(None)) {
            let found = match &error {
                None => "",
                Some(OpenError::Key { mistake: KeyMistake::Missing, .. }) => "missing",
                Some(OpenError::Key { mistake: KeyMistake::Other, .. }) => "other",
                Some(OpenError::Key { mistake: KeyMistake::Malformed, .. }) => "malformed",
                Some(_) => "something else",
            };
            assert_eq!(found, expected, "{error:?}");
        }
    }
    // The same key may lie elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let mounted = elsewhere.path().join("key");
    assert!(matches!(opened(Some(&mounted)).1, Some(OpenError::Key { mistake: KeyMistake::Missing, .. })));
    std::fs::write(&mounted, digits).unwrap();
    std::fs::remove_file(&own).unwrap();
    assert!(matches!(opened(Some(&mounted)), (None, None)));
    assert!(!own.exists());
}

#[tokio::test]
async fn what_was_kept_before_there_were_keys_stays_readable() {
    let fixture = Fixture::new();
    let write = observation(patient(1), "a", "plain");
    fixture.put(write.clone()).await;
    let connection = rusqlite::Connection::open(fixture.dir.path().join("gateway.sqlite3")).unwrap();
    connection.execute("UPDATE resource SET sealed_by = 0, payload = ?1", [b"plain".as_slice()]).unwrap();
    let printed = write.id.to_string();
    assert_eq!(fixture.store.read("Observation", &printed).await.unwrap().unwrap().payload, b"plain");
    fixture.put(update(write, 1, MARKER)).await;
    let earlier = fixture.store.read_version("Observation", &printed, 1).await.unwrap().unwrap();
    assert_eq!(earlier.payload, b"plain");
    assert!(!lies_in(fixture.dir.path(), MARKER));
}

#[tokio::test]
async fn a_key_of_a_unit_that_was_undone_is_no_persons() {
    let fixture = Fixture::new();
    let mut stale = observation(patient(1), "a", MARKER);
    stale.expect = crate::store::Expect::Version(7);
    stale.version = 8;
    let accepted = fixture.accept(unit(vec![observation(patient(1), "b", MARKER), stale])).await;
    assert!(matches!(accepted, Accepted::RolledBack { .. }));
    fixture.put(observation(patient(2), "c", "second")).await;
    fixture.put(observation(patient(1), "d", "first")).await;
    for (person, name, text) in [(1, "d", "first"), (2, "c", "second")] {
        let stored = fixture.store.read("Observation", &id(patient(person), name).to_string()).await.unwrap();
        assert_eq!(stored.unwrap().payload, text.as_bytes());
    }
}

#[tokio::test]
async fn a_sealed_row_that_is_moved_or_bent_is_not_opened() {
    for sql in [
        "UPDATE resource SET payload = (SELECT payload FROM resource WHERE seq = 2) WHERE seq = 1",
        "UPDATE resource SET payload = zeroblob(length(payload)) WHERE seq = 1",
        "UPDATE resource SET version = 9 WHERE seq = 1",
    ] {
        let fixture = Fixture::new();
        fixture.put(observation(patient(1), "a", "first")).await;
        fixture.put(observation(patient(1), "b", "other")).await;
        let connection = rusqlite::Connection::open(fixture.dir.path().join("gateway.sqlite3")).unwrap();
        connection.execute(sql, []).unwrap();
        let read = fixture.store.read("Observation", &id(patient(1), "a").to_string()).await;
        assert!(read.is_err(), "{sql}: {read:?}");
    }
}
