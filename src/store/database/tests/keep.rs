//! Backups, moves and the ways between schemas: what comes out is what went in, in either database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::store::database::keys::version_of;
use crate::store::database::layout::Holds;
use crate::store::database::pool::Reader;
use crate::store::database::{carry, file, layout, schema, server as own};
use crate::store::sql::Connection;
use crate::store::upload::{Quota, Upload, UploadState};
use crate::store::{
    BackingUp, BackupError, Erasure, Failure, Grade, Growth, Head, IdempotencyKey, KeyMistake, Manifest, Migrated,
    OpenError, RawInput, RawStep, Remnant, Restored, Span,
};
use crate::store::{compact, marks};

const WHOLE: BackingUp<'static> = BackingUp { with_key: false, erasures_alone: false, program: "test", now_ms: NOW_MS };

/// A store with something of everything.
async fn fill(fixture: &Fixture) {
    let store = &fixture.store;
    store.ensure_destination("nhs").await.unwrap();
    store.put_client("app", "{}").await.unwrap();
    store.remember_jti("app", "j", NOW_MS, 0).await.unwrap();
    store.remember_route("nhs", "{}").await.unwrap();
    store.secret("page").unwrap();
    let first = observation(patient(1), "a", "one");
    let span = Span {
        measure: "steps".into(),
        app: String::new(),
        device: "watch".to_owned(),
        start_ms: 0,
        end_ms: 10,
        secondary: false,
    };
    let growth = Growth { members: vec![id(patient(1), "m")], until_ms: Some(NOW_MS) };
    let odd = Write {
        name: Some("chosen".to_owned()),
        tokens: vec![crate::store::Token { param: "identifier", system: "s".to_owned(), value: "\u{e9}".to_owned() }],
        span: Some(span),
        growth: Some(growth),
        reading: Some([7; 16]),
        ..observation(patient(2), "b", "two")
    };
    let keyed = Unit {
        idempotency: Some(IdempotencyKey { key: "k".to_owned(), hash: [1; 32] }),
        ..unit(vec![first.clone(), odd])
    };
    fixture.accept(keyed).await;
    fixture.put(update(first.clone(), 1, "three")).await;
    fixture.put(Write { delete: true, ..update(first, 2, "") }).await;
    fixture.put(telling(1)).await;
    fixture.put(Write { expect: Expect::Version(1), ..telling(2) }).await;
    fixture.put(consent(patient(1), "c")).await;
    fixture.put(Write { patient: None, ..observation(patient(3), "of-nobody", "four") }).await;
    for number in 4..14 {
        fixture.put(observation(patient(number), &format!("r{number}"), "same")).await;
    }
    store.set_turn(patient(1), Some(NOW_MS)).await.unwrap();
    let input = RawInput {
        at_ms: NOW_MS,
        patient: patient(1),
        format: "band".into(),
        version: "1".into(),
        digest: [1; 16],
        made: Vec::new(),
        body: b"raw".to_vec().into(),
        forget_before_ms: 0,
    };
    let finish = move |_: &[WriteOutcome]| Finished { raw: Some(RawStep::Keep(input)), ..Finished::default() };
    fixture.accept(Unit { finish: Box::new(finish), ..unit(Vec::new()) }).await;
    fail(fixture).await;
    let remnant = Remnant {
        destination: "nhs".into(),
        patient: patient(9),
        kind: "Observation".to_owned(),
        name: "n".to_owned(),
    };
    store.redact_audit(Vec::new(), vec![remnant], None).await.unwrap();
    erase(fixture, 13).await;
    upload(fixture, 1, b"bytes of an upload").await;
    let size = store.log_size().await.unwrap();
    let root = crate::tlog::Checkpoint { origin: "t".to_owned(), size, root: store.log_root(size).await.unwrap() };
    store.keep_log_head(Head { size, at_ms: NOW_MS, note: root.text() }).await.unwrap();
}

/// What is leased is not delivered: some is tried again, some given up.
async fn fail(fixture: &Fixture) {
    for lease in fixture.store.lease("nhs", "w", NOW_MS, 1000, 16).await.unwrap() {
        let items = fixture.store.feed(&lease, 10, usize::MAX).await.unwrap();
        let failures = items.iter().flat_map(|item| &item.items).enumerate().map(|(index, stored)| Failure {
            pos: items[0].pos,
            patient: stored.patient,
            seq: stored.seq,
            version: stored.version,
            attempts: 1,
            not_before_ms: NOW_MS,
            reason: "busy".to_owned(),
            dead: index % 2 == 1,
            first: false,
        });
        fixture.store.advance(&lease, items[0].pos, failures.collect(), vec![audit_record()]).await.unwrap();
    }
}

async fn erase(fixture: &Fixture, number: u8) {
    let erasure = Erasure {
        patient: patient(number),
        owner: "app".into(),
        at_ms: NOW_MS,
        record: ResId::random(None, 1, [number; 16]),
        receipt: b"receipt".to_vec(),
        finished: false,
    };
    assert!(fixture.store.begin_erasure(erasure, audit_record()).await.unwrap());
}

async fn upload(fixture: &Fixture, number: u8, bytes: &[u8]) {
    let upload = Upload {
        id: [number; 16],
        client: "app".into(),
        patient: patient(1),
        about: Vec::new(),
        length: bytes.len() as u64 + 1,
        received: 0,
        done: 0,
        words: [0; 4],
        state: UploadState::Receiving,
        failure: None,
        created_ms: NOW_MS,
        until_ms: NOW_MS,
    };
    let quota = Quota { files: 9, bytes: 1 << 20 };
    assert!(fixture.store.create_upload(upload.clone(), quota).await.unwrap());
    let mut file = fixture.store.open_upload(&upload).await.unwrap().unwrap();
    file.write(bytes.to_vec()).await.unwrap();
    assert!(fixture.store.acknowledge_upload(&mut file).await.unwrap());
    // What was not acknowledged does not count.
    file.write(b"more".to_vec()).await.unwrap();
}

/// Where there is no store yet, with the key of one that there is.
fn elsewhere(first: &Fixture, server: bool) -> (TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(first.dir.path().join("gateway.key"), dir.path().join("gateway.key")).unwrap();
    let place = Place { server: server.then(server::fresh), ..Place::new(dir.path(), None) };
    (dir, place)
}

fn back_up(place: &Place, to: &Path) -> Manifest {
    Store::back_up(place, to, WHOLE).unwrap()
}

/// Digests by table.
/// Something that says what its row says, so that it is kept with marks.
fn telling(version: u32) -> Write {
    let mut write = observation(patient(4), "telling", "");
    let (person, kept_ms) = (id(patient(4), "person"), NOW_MS + i64::from(version));
    write.updated_ms = kept_ms;
    write.version = version;
    write.gist = [&[2, 2], &person.0[..]].concat();
    write.person = Some(person);
    write.payload = format!(
        "{{\"resourceType\":\"Observation\",\"id\":\"{}\",\"meta\":{{\"versionId\":\"{version}\",\"lastUpdated\":\"{}\"}},\
         \"status\":\"final\",\"code\":{{\"coding\":[{{\"system\":\"http://loinc.org\",\"code\":\"8867-4\"}}]}},\
         \"subject\":{{\"reference\":\"Patient/{person}\"}}}}",
        write.id,
        marks::moment(kept_ms)
    )
    .into_bytes();
    write
}

/// Of what is hers under another id than the one that is kept beside her key, nothing is taken for that one.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_known_by_two_ids_is_told_by_each() {
    for fixture in Fixture::both() {
        fixture.put(telling(1)).await;
        let (hers, other) = (id(patient(4), "person"), id(patient(4), "another"));
        let mut under_other = telling(1);
        under_other.id = id(patient(4), "under-another");
        under_other.person = Some(other);
        under_other.gist = [&[2, 2], &other.0[..]].concat();
        let text = String::from_utf8(under_other.payload).unwrap();
        under_other.payload = text
            .replace(&hers.to_string(), &other.to_string())
            .replace(&telling(1).id.to_string(), &under_other.id.to_string())
            .into_bytes();
        fixture.put(under_other.clone()).await;
        for write in [telling(1), under_other] {
            let read = fixture.store.read("Observation", &write.id.to_string()).await.unwrap().unwrap();
            assert_eq!(String::from_utf8(read.payload), String::from_utf8(write.payload));
        }
    }
}

/// Bytes that are kept of each version of it, without their seal; and that what is read is what was written.
async fn kept_of_telling(place: &Place) -> Vec<Vec<u8>> {
    let store = Store::open(place).unwrap();
    let logical_id = telling(1).id.to_string();
    for version in 1..=2 {
        let read = store.read_version("Observation", &logical_id, version).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(read.payload), String::from_utf8(telling(version).payload));
    }
    let kept = store
        .query(|reader| {
            let tail = telling(1).id.tail();
            let mut kept = Vec::new();
            for table in ["history", "resource"] {
                let sql = format!(
                    "SELECT v.payload, v.version, v.sealed_by, p.wrapped FROM {table} v JOIN person_key p ON p.number = v.sealed_by
                     JOIN resource r ON r.seq = v.seq WHERE r.tail = ?1"
                );
                let (sealed, version, number, wrapped): (Vec<u8>, u32, i64, Vec<u8>) = reader
                    .prepare_cached(&sql)?
                    .query_row([tail], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
                let key = reader.keys.key(number, patient(4), &wrapped).unwrap();
                kept.push(key.open(&version_of(patient(4), tail, version), sealed).unwrap());
            }
            Ok(kept)
        })
        .await
        .unwrap();
    store.close().await;
    kept
}

fn digests(manifest: &Manifest) -> BTreeMap<&str, (&str, Option<i64>)> {
    manifest.tables.iter().map(|kept| (kept.name.as_str(), (kept.blake3.as_str(), kept.last_number))).collect()
}

fn good(restored: &Restored) {
    for found in &restored.findings {
        assert!(matches!(found.grade, Grade::Good | Grade::Unknown), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_restored_is_the_one_that_was_backed_up() {
    for (fixture, server) in Fixture::both().zip([true, false]) {
        fill(&fixture).await;
        let folder = tempfile::tempdir().unwrap();
        let (first, again) = (folder.path().join("first"), folder.path().join("again"));
        let manifest = back_up(&fixture.place, &first);
        for name in
            ["alias", "cursor", "dead", "idem", "member", "person_key", "raw", "remnant", "retry", "span", "token"]
        {
            assert!(manifest.table(name).unwrap().rows > 0, "{name}");
        }
        assert_eq!((manifest.uploads.len(), manifest.uploads_elsewhere), (1, 0));
        assert!(!first.join("gateway.key").exists());

        // Into the other kind of database, and what is there is the same.
        let (dir, place) = elsewhere(&fixture, server);
        assert!(Store::restorable(&place, &first).is_ok());
        good(&Store::restore(&place, &first, &[]).unwrap());
        let restored = back_up(&place, &again);
        assert_eq!(digests(&restored), digests(&manifest));
        assert_eq!((&restored.uploads, &restored.log), (&manifest.uploads, &manifest.log));

        // And it goes on.
        let store = Arc::new(Store::open(&place).unwrap());
        let copy = Fixture { dir, place, store };
        let bytes = copy.store.read_upload([1; 16]).await.unwrap().unwrap().next(100).await.unwrap();
        assert_eq!(bytes.as_deref(), Some(&b"bytes of an upload"[..]));
        assert_eq!(copy.count("Observation").await, fixture.count("Observation").await);
        copy.put(observation(patient(20), "later", "later")).await;
        assert_eq!(copy.store.log_changed().await.unwrap().1, [0_u64; 0]);
        assert_eq!(copy.store.log_size().await.unwrap(), fixture.store.log_size().await.unwrap() + 1);
        fail(&copy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_of_one_moment_and_stops_nobody() {
    for fixture in Fixture::both() {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let writing = fixture.store.clone();
        let writer = tokio::spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                count += 1;
                // A pair stands or falls together.
                let pair = ["x", "y"].map(|half| observation(patient(1), &format!("{count}{half}"), half));
                let accepted = writing.accept(unit(pair.into())).await.unwrap();
                assert!(matches!(accepted, Accepted::Done { .. }));
            }
            count
        });
        let folder = tempfile::tempdir().unwrap();
        for number in 0..5 {
            let to = folder.path().join(number.to_string());
            let place = Place { server: fixture.place.server.clone(), ..Place::new(fixture.dir.path(), None) };
            let from = to.clone();
            let manifest = tokio::task::spawn_blocking(move || back_up(&place, &from)).await.unwrap();
            let (_dir, place) = elsewhere(&fixture, false);
            good(&Store::restore(&place, &to, &[]).unwrap());
            let rows = |name: &str| manifest.tables.iter().find(|kept| kept.name == name).unwrap().rows;
            assert_eq!((rows("resource"), rows("feed")), (2 * rows("audit"), rows("audit")));
        }
        stop.send(true).unwrap();
        assert!(writer.await.unwrap() > 0);
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_not_what_was_written_is_refused() {
    let fixture = Fixture::new();
    fill(&fixture).await;
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("backup");
    back_up(&fixture.place, &from);
    let (_dir, place) = elsewhere(&fixture, false);
    for path in files(&from) {
        let whole = std::fs::read(&path).unwrap();
        for deed in 0..4 {
            let mut bytes = whole.clone();
            let middle = bytes.len() / 2;
            match deed {
                0 => bytes[middle] ^= 1,
                1 => bytes.truncate(middle),
                2 => bytes.push(0),
                _ => std::fs::remove_file(&path).unwrap(),
            }
            if deed < 3 {
                std::fs::write(&path, bytes).unwrap();
            }
            let refused = Store::restore(&place, &from, &[]);
            assert!(refused.is_err(), "{} {deed}", path.display());
            assert!(!Store::exists(&place).unwrap());
        }
        std::fs::write(&path, whole).unwrap();
    }
    // Somebody who knows how digests are made has no key to seal them with.
    let table = from.join("tables/client");
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let manifest = std::fs::read_to_string(from.join("manifest.json")).unwrap();
    let bytes = std::fs::read(&table).unwrap();
    let place_of = bytes.windows(2).position(|pair| pair == b"{}").unwrap();
    let mut bent = bytes.clone();
    bent[place_of..place_of + 2].copy_from_slice(b"[]");
    std::fs::write(&table, &bent).unwrap();
    std::fs::write(from.join("manifest.json"), manifest.replace(&digest(&bytes), &digest(&bent))).unwrap();
    let refused = Store::restore(&place, &from, &[]);
    assert!(
        matches!(refused, Err(BackupError::Open(OpenError::Key { mistake: KeyMistake::Other, .. }))),
        "{refused:?}"
    );
    std::fs::write(&table, bytes).unwrap();
    std::fs::write(from.join("manifest.json"), manifest).unwrap();

    std::fs::write(place.directory.join("gateway.key"), "0".repeat(64)).unwrap();
    let refused = Store::restore(&place, &from, &[]);
    assert!(matches!(refused, Err(BackupError::Open(OpenError::Key { mistake: KeyMistake::Other, .. }))));
    std::fs::remove_file(place.directory.join("gateway.key")).unwrap();
    let refused = Store::restore(&place, &from, &[]);
    assert!(matches!(refused, Err(BackupError::Open(OpenError::Key { mistake: KeyMistake::Missing, .. }))));
    assert!(matches!(Store::restore(&fixture.place, &from, &[]), Err(BackupError::Open(OpenError::Locked { .. }))));
    assert!(matches!(Store::back_up(&fixture.place, &from, WHOLE), Err(BackupError::Taken(_))));
    drop(fixture.store);
    assert!(matches!(Store::restore(&fixture.place, &from, &[]), Err(BackupError::Taken(_))));
}

async fn wrapped_key(store: &Store, person: u8) -> Vec<u8> {
    let wrapped = move |reader: &Reader| {
        let mut statement = reader.prepare_cached("SELECT wrapped FROM person_key WHERE patient = ?1")?;
        statement.query_row([patient(person).0], |row| row.get(0))
    };
    store.query(wrapped).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_erased_after_a_backup_stays_erased() {
    for fixture in Fixture::both() {
        fill(&fixture).await;
        let folder = tempfile::tempdir().unwrap();
        let [old, erasures, young] = ["old", "erasures", "young"].map(|name| folder.path().join(name));
        Store::back_up(&fixture.place, &old, BackingUp { with_key: true, ..WHOLE }).unwrap();
        let hers = wrapped_key(&fixture.store, 5).await;
        erase(&fixture, 5).await;
        Store::back_up(&fixture.place, &erasures, BackingUp { erasures_alone: true, ..WHOLE }).unwrap();
        assert_eq!(files(&erasures).len(), 2);
        erase(&fixture, 6).await;
        back_up(&fixture.place, &young);
        for (younger, left, erased) in [(vec![], 12, 0), (vec![&erasures], 11, 1), (vec![&erasures, &young], 10, 2)] {
            let dir = tempfile::tempdir().unwrap();
            let place = Place::new(dir.path(), None);
            let younger: Vec<&Path> = younger.into_iter().map(PathBuf::as_path).collect();
            let restored = Store::restore(&place, &old, &younger).unwrap();
            assert_eq!(restored.erased, erased);
            let file = std::fs::read(dir.path().join(file::FILE)).unwrap();
            let stands = file.windows(hers.len()).any(|bytes| bytes == hers);
            assert_eq!(stands, erased == 0, "what opens what was hers is nowhere in the file");
            let store = Arc::new(Store::open(&place).unwrap());
            let copy = Fixture { dir, place, store };
            assert_eq!(copy.count("Observation").await, left);
            let unfinished = copy.store.erasures_since(i64::MAX).await.unwrap().len() as u64;
            assert_eq!(unfinished, erased + 1, "the next start goes on");
        }
        let (_dir, place) = elsewhere(&fixture, false);
        assert!(matches!(Store::restore(&place, &erasures, &[]), Err(BackupError::NotWhole)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_to_a_server_and_back() {
    let fixture = Fixture::new();
    fill(&fixture).await;
    let Fixture { dir: _first, place: first, store } = fixture;
    assert!(matches!(
        Store::move_to(&first, &Place::new(Path::new("/nowhere"), None), "test", NOW_MS),
        Err(BackupError::Open(OpenError::Locked { .. }))
    ));
    drop(Arc::into_inner(store).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let before = back_up(&first, &folder.path().join("before"));
    let (there, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shared = Place { server: Some(server::fresh()), ..Place::new(there.path(), None) };
    good(&Store::move_to(&first, &shared, "test", NOW_MS).unwrap());
    assert!(matches!(Store::open(&first), Err(OpenError::Moved)));
    assert!(!there.path().join("moving").exists());
    // What is written there comes back, too.
    let store = Arc::new(Store::open(&shared).unwrap());
    let fixture = Fixture { dir: there, place: shared, store };
    fixture.put(observation(patient(20), "there", "there")).await;
    let count = fixture.count("Observation").await;
    let Fixture { dir: _there, place: shared, store } = fixture;
    drop(Arc::into_inner(store).unwrap());
    let home = Place::new(back.path(), None);
    good(&Store::move_to(&shared, &home, "test", NOW_MS).unwrap());
    assert!(matches!(Store::open(&shared), Err(OpenError::Moved)));
    assert!(Store::take_back(&shared).unwrap() && Store::open(&shared).is_ok());
    let after = back_up(&home, &folder.path().join("after"));
    let changed: Vec<_> = digests(&after)
        .into_iter()
        .filter(|(name, digest)| digests(&before)[name] != *digest)
        .map(|(name, _)| name.to_owned())
        .collect();
    let of_one_write = ["audit", "entry", "feed", "log_entry", "person_key", "resource"];
    assert_eq!(changed, of_one_write, "nothing but what was written there");
    let store = Arc::new(Store::open(&home).unwrap());
    let fixture = Fixture { dir: back, place: home, store };
    assert_eq!(fixture.count("Observation").await, count);
    assert_eq!(fixture.store.log_changed().await.unwrap().1, [0_u64; 0]);
}

/// A row of a table with values that no other row has; of every second row what may be missing is missing.
fn fill_row(connection: &Connection, table: &layout::Table, number: i64) {
    let values: Vec<String> = table
        .columns
        .iter()
        .map(|(_, holds)| match holds {
            Holds::Integers => format!("{}", number * 1_000_000_007),
            Holds::Texts => format!("'t\u{e9}{number}'"),
            Holds::Bytes => format!("x'00ff{number:02}'"),
        })
        .collect();
    let values = values.join(", ");
    connection.batch(&format!("INSERT INTO {} VALUES ({values})", table.name)).unwrap();
}

fn memory() -> Connection {
    Connection::Lite(rusqlite::Connection::open_in_memory().unwrap())
}

fn bytes_of(connection: &Connection, table: &layout::Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    carry::out(connection, table, &mut bytes).unwrap();
    bytes
}

#[test]
fn every_column_of_every_table_is_carried_by_both_databases() {
    for version in 1..=schema::newest() {
        let tables = layout::of(version).unwrap();
        let (from, home) = (memory(), memory());
        schema::migrate_to(&from, version).unwrap();
        schema::migrate_to(&home, version).unwrap();
        let address = server::fresh().address().unwrap();
        let there = own::open(&address).unwrap();
        schema::migrate_to(&there, version).unwrap();
        there.batch("BEGIN").unwrap();
        for table in &tables {
            for number in 1..4 {
                fill_row(&from, table, number);
            }
            let bytes = bytes_of(&from, table);
            assert_eq!(carry::in_(&there, table, &mut bytes.as_slice()).unwrap(), 3);
            let back = bytes_of(&there, table);
            assert!(back == bytes, "{version}: {}", table.name);
            assert_eq!(carry::in_(&home, table, &mut back.as_slice()).unwrap(), 3);
        }
    }
}

/// What a database's tables and indexes are.
fn shape(connection: &Connection) -> Vec<String> {
    let sql = match connection {
        Connection::Lite(_) => {
            "SELECT m.type || ' ' || m.name || ' ' || COALESCE(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk, i.name, '')
             FROM sqlite_schema m LEFT JOIN pragma_table_info(m.name) c ON m.type = 'table'
             LEFT JOIN pragma_index_info(m.name) i ON m.type = 'index'
             WHERE m.name NOT LIKE 'sqlite_%' ORDER BY 1"
        }
        Connection::Postgres(_) => {
            "SELECT line FROM (
             SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable AS line
             FROM information_schema.columns WHERE table_schema = current_schema()
             UNION ALL SELECT regexp_replace(indexdef, 'ON [a-z0-9]+[.]', 'ON ') FROM pg_indexes WHERE schemaname = current_schema()
             ) AS lines ORDER BY line COLLATE \"C\""
        }
    };
    let mut statement = connection.prepare_cached(sql).unwrap();
    statement.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_schema_can_be_left_the_way_it_was_reached() {
    let address = server::fresh().address().unwrap();
    for connection in [memory(), own::open(&address).unwrap()] {
        let mut shapes = vec![Vec::new()];
        for version in 1..=schema::newest() {
            assert_eq!(schema::migrate_to(&connection, version).unwrap(), version - 1);
            shapes.push(shape(&connection));
        }
        for version in (1..schema::newest()).rev() {
            schema::migrate_to(&connection, version).unwrap();
            assert_eq!(shape(&connection), shapes[version as usize], "back to {version}");
            schema::migrate_to(&connection, version + 1).unwrap();
            assert_eq!(shape(&connection), shapes[version as usize + 1], "to {version} and forward again");
            schema::migrate_to(&connection, version).unwrap();
        }
        schema::migrate(&connection).unwrap();
        assert_eq!(shape(&connection), shapes[schema::newest() as usize]);
        for wanted in [0, -1, schema::newest() + 1] {
            assert!(matches!(schema::migrate_to(&connection, wanted), Err(OpenError::Newer { .. })));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_survives_a_way_back_and_forward() {
    for fixture in Fixture::both() {
        fill(&fixture).await;
        // That labels are told apart is lost on the way back.
        let forget = "INSERT INTO label_set (number) VALUES (0)";
        fixture.store.writer.call(1, move |ledger| Ok(ledger.connection.execute(forget, ())?)).await.unwrap();
        let Fixture { dir, place, store } = fixture;
        drop(Arc::into_inner(store).unwrap());
        let folder = tempfile::tempdir().unwrap();
        // Before marks, and before labels.
        let (newest, older) = (schema::newest(), schema::MARKED - 2);
        let with_marks = kept_of_telling(&place).await;
        assert_eq!(with_marks.iter().map(|kept| kept[0]).collect::<Vec<_>>(), [2, 2]);
        let before = back_up(&place, &folder.path().join("before"));
        assert_eq!(Store::migrate(&place, older).unwrap(), Migrated { found: newest, unread: 0 });
        assert_eq!(Store::schema(&place).unwrap(), older);
        // A backup of an older program's tables is made and restored as any other.
        let old = folder.path().join("old");
        assert_eq!(back_up(&place, &old).schema, older);
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::copy(dir.path().join("gateway.key"), elsewhere.path().join("gateway.key")).unwrap();
        let copy = Place::new(elsewhere.path(), None);
        good(&Store::restore(&copy, &old, &[]).unwrap());
        assert_eq!(Store::schema(&copy).unwrap(), newest);
        assert_eq!(Store::migrate(&place, newest).unwrap().found, older);
        let after = back_up(&place, &folder.path().join("after"));
        // What was written anew is sealed anew, and ids beside keys are noted as something new is kept.
        let but_texts = |manifest| {
            let mut digests = digests(manifest);
            digests.retain(|table, _| !["resource", "history", "person_key"].contains(table));
            digests
        };
        assert_eq!(but_texts(&before), but_texts(&after));
        // Without marks, as programs wrote it that knew none, with the gist behind it.
        for (kept, with_marks) in kept_of_telling(&place).await.iter().zip(with_marks) {
            assert!(compact::is_cut(&with_marks));
            assert_eq!((kept[0], compact::aside(kept, None).as_deref()), (1, Some(&telling(1).gist[..])));
            assert!(kept.len() > with_marks.len() + 40);
        }
        if place.server.is_none() {
            let store = file::open_reader(&dir.path().join(file::FILE)).unwrap();
            assert_eq!(schema::version(&store).unwrap(), newest);
        }
    }
}

/// What cannot be read is counted on the way back, and is what it was; a file that is broken stays at its schema.
#[tokio::test]
async fn a_migration_says_what_it_could_not_read_and_builds_on_nothing_broken() {
    for fixture in Fixture::both() {
        // Long enough to be written with marks.
        let text = format!(r#"{{"resourceType":"Observation","id":"{}"}}"#, id(patient(1), "a"));
        for name in ["a", "b"] {
            fixture.put(observation(patient(1), name, &text.repeat(3))).await;
        }
        spoil(&fixture, "b").await;
        let Fixture { dir, place, store } = fixture;
        drop(Arc::into_inner(store).unwrap());
        let (newest, older) = (schema::newest(), schema::MARKED - 1);
        assert_eq!(Store::migrate(&place, older).unwrap(), Migrated { found: newest, unread: 1 });
        assert_eq!(Store::migrate(&place, newest).unwrap(), Migrated { found: older, unread: 0 });
        if place.server.is_some() {
            continue;
        }
        let file = rusqlite::Connection::open(dir.path().join("gateway.sqlite3")).unwrap();
        // An index is told to be of another table's column, so that it lacks what it should have.
        file.execute_batch("PRAGMA writable_schema = ON").unwrap();
        let turned = "UPDATE sqlite_schema SET sql = replace(sql, '(kind', '(updated') WHERE type = 'index' AND tbl_name = 'resource' AND sql LIKE '%(kind%'";
        assert!(file.execute(turned, []).unwrap() > 0);
        drop(file);
        assert!(matches!(Store::migrate(&place, older), Err(BackupError::Broken)));
        assert_eq!(Store::schema(&place).unwrap(), newest);
    }
}
