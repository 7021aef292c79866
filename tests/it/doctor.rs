//! What the doctor finds: nothing in a healthy store, and by name what somebody did to one.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::fixture::{APP_SCOPES, Site, heart_rate, run};
use crate::postgres;

/// What each check found, the exit code, and everything that was printed.
async fn asked(site: &Site, more: &[&str]) -> (BTreeMap<String, String>, Option<i32>, Value) {
    let config = site.config();
    let output = run(&[&["doctor", "--json", "--config", config.as_str()], more].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    let word = |found: &Value, name: &str| found[name].as_str().unwrap().to_owned();
    let findings = told["findings"].as_array().unwrap();
    (findings.iter().map(|found| (word(found, "check"), word(found, "grade"))).collect(), output.status.code(), told)
}

async fn filled(site: &Site) {
    let process = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    for number in 0..3 {
        assert_eq!(app.post("/Observation", &heart_rate(&patient, &format!("r-{number}"), 70)).await.status, 201);
    }
    // Somebody asks for a signed head.
    assert!(app.http.get(format!("{}/log/checkpoint", app.root())).send().await.unwrap().status().is_success());
    let (found, _, told) = asked(site, &[]).await;
    assert_eq!(found["store.schema"], "good", "beside one that serves: {told}");
    process.terminate().await;
    process.ended().await;
}

/// Checks whose answer is the machine's and not the store's.
fn of_machine(check: &str) -> bool {
    check.starts_with("disk.")
        || matches!(check, "key.place" | "store.standby" | "store.checksums" | "store.archive")
        || matches!(check, "store.connections" | "store.transactions")
}

#[tokio::test]
async fn a_healthy_store_is_found_healthy() {
    let url = postgres::fresh().await;
    for section in [String::new(), format!("[store]\nurl = {url:?}")] {
        let site = Site::new(&section).await;
        let (found, _, told) = asked(&site, &[]).await;
        assert_eq!(found["store"], "doubt", "there is none yet: {told}");
        assert!(!site.data().join("gateway.sqlite3").exists(), "and none is made");
        filled(&site).await;
        let (found, _, told) = asked(&site, &[]).await;
        let wrong: Vec<_> = found
            .iter()
            .filter(|(check, grade)| !of_machine(check) && *grade != "good" && check.as_str() != "store.integrity")
            .collect();
        assert!(wrong.is_empty(), "{wrong:?} {told}");
        for check in ["disk.file_system", "disk.sync", "disk.room", "key.place", "audit.log", "audit.signature"] {
            assert!(found.contains_key(check), "{check}: {told}");
        }
        let (found, _, _) = asked(&site, &["--quick"]).await;
        assert_eq!(found["audit.log"], "unknown");
        assert!(!told.to_string().contains("postgres:"), "an address may hold a password");
    }
}

#[tokio::test]
async fn what_was_done_to_a_store_is_found() {
    type Deed = fn(&Site, &rusqlite::Connection);
    let deeds: [(&str, Deed); 18] = [
        ("key.file", |site, _| {
            let key = site.data().join("gateway.key");
            std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("key.fits", |site, _| std::fs::write(site.data().join("gateway.key"), "0".repeat(64)).unwrap()),
        ("store.sealed", |_, store| {
            store.execute("UPDATE resource SET payload = zeroblob(100) WHERE sealed_by <> 0", []).unwrap();
        }),
        ("store.references", |_, store| {
            store.execute("DELETE FROM resource WHERE seq = (SELECT MAX(seq) FROM resource)", []).unwrap();
        }),
        ("audit.log", |_, store| {
            store.execute("UPDATE audit SET payload = x'7b7d' WHERE seq = 2", []).unwrap();
        }),
        ("audit.log", |_, store| {
            // It cannot even be unpacked.
            store.execute("UPDATE audit SET payload = x'01ff' WHERE seq = 2", []).unwrap();
        }),
        ("audit.log", |_, store| {
            store.execute("DELETE FROM audit WHERE seq = 2", []).unwrap();
        }),
        ("audit.log", |_, store| {
            // The end of the log is cut off, with the records that it committed to.
            store.execute_batch("DELETE FROM audit WHERE entry >= 2; DELETE FROM log_entry WHERE number >= 2").unwrap();
        }),
        ("clock", |_, store| {
            store.execute("UPDATE audit SET at = at + 3600000 WHERE seq = (SELECT MAX(seq) FROM audit)", []).unwrap();
        }),
        ("store.leases", |_, store| {
            store.execute("INSERT INTO cursor (destination, slot, pos, epoch, owner, until) VALUES ('nhs', 3, 0, 0, '', 9000000000000000)", []).unwrap();
        }),
        ("subscriptions", |_, store| {
            // Its events begin behind the end of the feed.
            subscribe(store, &[1_000_000; 16], 0);
        }),
        ("subscriptions", |_, store| {
            // The feed is not followed for it.
            subscribe(store, &[0; 16], 0);
            store.execute("DELETE FROM cursor WHERE destination = 'subscriptions' AND slot = 7", []).unwrap();
        }),
        ("subscriptions", |_, store| {
            subscribe(store, &[0; 16], 0);
            event(store, "s", Some(3));
        }),
        ("subscriptions", |_, store| event(store, "none", None)),
        ("exports", |_, store| export(store, 0, 0, 1)),
        ("exports", |_, store| export(store, 3_000_000_000_000, 0, 0)),
        ("exports", |_, store| {
            // Nothing is left to be done, and it is not finished.
            export(store, 0, 0, 0);
            store.execute("UPDATE export_part SET left_over = 0", []).unwrap();
        }),
        ("exports", |_, store| {
            store.execute("INSERT INTO export_count VALUES (x'00', x'00', 1)", []).unwrap();
        }),
    ];
    let site = Site::new("").await;
    filled(&site).await;
    let kept = tempfile::tempdir().unwrap();
    let files = ["gateway.sqlite3", "gateway.key"];
    for file in files {
        std::fs::copy(site.data().join(file), kept.path().join(file)).unwrap();
    }
    for (check, deed) in deeds {
        for file in files {
            std::fs::copy(kept.path().join(file), site.data().join(file)).unwrap();
        }
        drop(std::fs::remove_file(site.data().join("gateway.sqlite3-wal")));
        let store = rusqlite::Connection::open(site.data().join("gateway.sqlite3")).unwrap();
        deed(&site, &store);
        drop(store);
        let (found, code, told) = asked(&site, &[]).await;
        assert_eq!((found[check].as_str(), code), ("bad", Some(1)), "{check}: {told}");
        let told = told.to_string();
        assert_eq!(told.contains("not what the log committed to"), told.contains("committed to: entry 1"), "{told}");
    }
}

/// A subscription whose events begin there, and which has told so many.
fn subscribe(store: &rusqlite::Connection, starts: &[i64; 16], events: i64) {
    let starts: Vec<u8> = starts.iter().flat_map(|start| start.to_le_bytes()).collect();
    store
        .execute(
            "INSERT INTO subscription VALUES ('s', 'app', 1, 0, 'active', NULL, x'7b7d', x'', x'', ?1, ?2, 0, 0, 0, 0, 0,
             0, 0, '', 0)",
            rusqlite::params![starts, events],
        )
        .unwrap();
    for slot in 0..16 {
        store.execute("INSERT OR IGNORE INTO cursor (destination, slot, pos, epoch, owner, until) VALUES ('subscriptions', ?1, 0, 0, '', 0)", [slot]).unwrap();
    }
}

fn event(store: &rusqlite::Connection, of: &str, number: Option<i64>) {
    let sql = "INSERT INTO event (subscription, number, seq, version, at, not_before) VALUES (?1, ?2, 1, 1, 0, 0)";
    store.execute(sql, rusqlite::params![of, number]).unwrap();
}

/// An export of a moment that works at its one slot.
fn export(store: &rusqlite::Connection, cut: i64, state: i64, lines: i64) {
    let far = 9_000_000_000_000_i64;
    store
        .execute(
            "INSERT INTO export VALUES (x'01', 'app', x'', NULL, 0, x'', ?1, ?2, ?3, 0, NULL, 0, ?4)",
            [cut, state, lines, far],
        )
        .unwrap();
    store.execute("INSERT INTO export_part VALUES (x'01', 0, 0, 1, NULL, NULL, 0, '', 0)", []).unwrap();
}

#[tokio::test]
async fn pages_that_turned_bad_are_found() {
    let site = Site::new("").await;
    filled(&site).await;
    let file = site.data().join("gateway.sqlite3");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    for byte in &mut bytes[end / 2..end / 2 + 4096] {
        *byte ^= 0x55;
    }
    std::fs::write(&file, bytes).unwrap();
    let (found, code, told) = asked(&site, &[]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(found.get("store.integrity").or(found.get("store")).is_some_and(|grade| grade == "bad"), "{told}");
}

#[tokio::test]
async fn a_schema_of_another_program_is_told_and_left() {
    let site = Site::new("").await;
    filled(&site).await;
    for (version, grade) in [(1, "doubt"), (1000, "bad")] {
        let store = rusqlite::Connection::open(site.data().join("gateway.sqlite3")).unwrap();
        store.pragma_update(None, "user_version", version).unwrap();
        drop(store);
        let (found, _, told) = asked(&site, &[]).await;
        assert_eq!(found["store.schema"], grade, "{told}");
        assert!(!found.contains_key("store.sealed"));
    }
}
