//! The transparency log, from outside: proofs that a person takes along, a log that anybody downloads, and what shows when
//! somebody with the file in hand changes something.

use std::path::Path;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use mhealth_gateway::tlog::{Address, Checkpoint, Content, Proof, Verifier, commitment};
use rusqlite::Connection;
use serde_json::Value;
use sha2::Sha256;

use crate::fixture::{APP_SCOPES, Client, Gateway, Site, heart_rate, run};

async fn fetched(client: &Client, path: &str) -> (u16, Vec<u8>) {
    let response = client.http.get(format!("{}/log/{path}", client.root())).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

async fn key(client: &Client) -> Verifier {
    Verifier::parse(&String::from_utf8(fetched(client, "key").await.1).unwrap()).unwrap()
}

async fn head(client: &Client) -> (String, Checkpoint) {
    let note = String::from_utf8(fetched(client, "checkpoint").await.1).unwrap();
    let checkpoint = Checkpoint::open(&note, &key(client).await).unwrap();
    (note, checkpoint)
}

/// Ids of the events about a person.
async fn events(client: &Client, patient: &str) -> Vec<Value> {
    let found = client.get(&format!("/AuditEvent?patient={patient}&_count=100")).await.json();
    found["entry"].as_array().unwrap().iter().map(|entry| entry["resource"].clone()).collect()
}

async fn proof(client: &Client, event: &str, patient: &str) -> (u16, String) {
    let answer = client.get(&format!("/AuditEvent/{event}/$proof?patient={patient}")).await;
    (answer.status, answer.text())
}

/// The log made anew by another implementation, out of what anybody can download.
#[tokio::test(flavor = "multi_thread")]
async fn another_implementation_makes_the_same_tree() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    for number in 0..300 {
        app.get(&format!("/Observation/nothing-{number}")).await;
    }
    app.post("/Observation", &heart_rate(&patient, "1", 70)).await;
    let (status, text) = proof(&app, events(&app, &patient).await[0]["id"].as_str().unwrap(), &patient).await;
    assert_eq!(status, 200, "{text}");
    let (_, head) = head(&app).await;
    assert!(head.size > 256, "{}", head.size);

    let mut tree: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    let mut leaves = Vec::new();
    for address in Address::all(head.size) {
        let (status, bytes) = fetched(&app, &address.to_string()).await;
        assert_eq!(status, 200, "{address}");
        match address.content {
            Content::Entries => {
                for entry in bytes.as_chunks::<34>().0 {
                    assert_eq!(entry[..2], [0, 32]);
                    tree.push(entry[2..].to_vec());
                    leaves.push(entry[2..].to_vec());
                }
            }
            Content::Hashes(_) => assert_eq!(bytes.len() as u64, address.width * 32, "{address}"),
        }
    }
    assert_eq!(tree.len(), head.size);
    assert_eq!(tree.root().as_bytes().as_slice(), head.root);

    let proof = Proof::parse(&text).unwrap();
    let entry = commitment(&proof.extra.salt, &proof.extra.record).to_vec();
    assert_eq!(leaves[proof.index as usize], entry);
    let old = Checkpoint::open(&proof.checkpoint, &key(&app).await).unwrap();
    let mut then: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    leaves[..old.size as usize].iter().for_each(|leaf| then.push(leaf.clone()));
    assert_eq!(then.prove_inclusion(proof.index as usize).as_bytes(), proof.path.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_for_who_may_read_the_record() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let patient = app.consenting_person().await;
    let event = events(&app, &patient).await[0]["id"].as_str().unwrap().to_owned();
    let other = gateway.client("other", APP_SCOPES).await;
    let narrow = gateway.client("narrow", "system/Observation.rs").await;
    let stranger = Client { bearer: String::new(), ..app.clone() };
    for (who, client, event, patient, expected) in [
        ("the app", &app, &*event, &*patient, 200),
        ("the app, by reference", &app, &event, &format!("Patient/{patient}"), 200),
        ("another app", &other, &event, &patient, 404),
        ("without scope", &narrow, &event, &patient, 403),
        ("nobody", &stranger, &event, &patient, 401),
        ("another person", &app, &event, "nobody", 404),
        ("no person", &app, &event, "", 400),
        ("no such event", &app, "00000000-0000-8000-8000-000000000000", &patient, 404),
        ("no id", &app, "x", &patient, 404),
    ] {
        assert_eq!(proof(client, event, patient).await.0, expected, "{who}");
    }
    assert_eq!(app.get(&format!("/AuditEvent/{event}/$proof")).await.status, 400);
    let asked = app.get(&format!("/AuditEvent?patient={patient}&_count=100")).await.text();
    assert!(asked.contains(&format!("AuditEvent/{event}")), "that a proof was made is told, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_served() {
    let gateway = Gateway::start().await;
    let app = gateway.app().await;
    let (_, head) = head(&app).await;
    let beyond = format!("tile/0/000.p/{}", head.size + 100);
    for path in
        ["tile/0/000", "tile/0/001", "tile/1/000", "tile/63/000", "tile/x", "tile/entries/x999/999", "tile", &*beyond]
    {
        assert_eq!(fetched(&app, path).await.0, 404, "{path}");
    }
    // Whoever asks at once is shown the same head.
    assert_eq!(fetched(&app, "checkpoint").await.0, 200);
}

async fn audit(arguments: &[&str]) -> (bool, String) {
    let output = run(&[&["audit"], arguments].concat()).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// The commands as a citizen, a witness and an operator use them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_seen() {
    let site = Site::new("").await;
    let process = site.serve().await;
    let mut app = site.register("app", APP_SCOPES).await;
    app.sign_in().await;
    let patient = app.consenting_person().await;
    let folder = tempfile::tempdir().unwrap();
    let key = write(folder.path(), "log.vkey", &key(&app).await.to_string());
    let seen = write(folder.path(), "seen", &head(&app).await.0);
    app.post("/Observation", &heart_rate(&patient, "1", 70)).await;
    let event = events(&app, &patient).await[0]["id"].as_str().unwrap().to_owned();
    let text = proof(&app, &event, &patient).await.1;
    let shown = write(folder.path(), "event.tlog-proof", &text);
    let place = format!("{}/log", app.root());
    let certificate = site.data().join("tls-certificate.pem").display().to_string();

    let (believed, said) = audit(&["verify", &shown, "--key", &key]).await;
    assert!(believed && said.contains(" create by app (0)"), "{said}");
    let online = ["verify", &shown, "--key", &key, "--since", &seen, "--log", &place, "--cacert", &certificate];
    let (believed, said) = audit(&online).await;
    assert!(believed && said.contains("entries make the signed root; 2 checkpoint(s) continued"), "{said}");

    let copy = folder.path().join("copy");
    let config = site.config();
    let copied = copy.display().to_string();
    let (done, said) = audit(&["export", "--config", &config, "--to", &copied]).await;
    assert!(done, "{said}");
    let offline = ["verify", &shown, "--key", &key, "--since", &seen, "--log", &copied];
    assert!(audit(&offline).await.0);
    assert!(audit(&["check", "--config", &config]).await.0);

    // A record, a proof, an entry, a head: whatever is changed is not believed.
    let forged = write(folder.path(), "forged.tlog-proof", &text.replace("\nindex ", "\nindex 1"));
    let (believed, said) = audit(&["verify", &forged, "--key", &key]).await;
    assert!(!believed && said.contains("NOT BELIEVED"), "{said}");
    let bundle = first_file(&copy.join("tile/entries"));
    let honest = std::fs::read(&bundle).unwrap();
    for change in [2, 40] {
        let mut changed = honest.clone();
        changed[change] ^= 1;
        std::fs::write(&bundle, &changed).unwrap();
        let (believed, said) = audit(&offline).await;
        assert!(!believed && said.contains("the entries do not make the root that was signed"), "{said}");
    }
    std::fs::write(&bundle, &honest).unwrap();
    // What follows from the entries must follow, also where a tile was copied before it was full.
    let tile = first_file(&copy.join("tile/0"));
    let hashes = std::fs::read(&tile).unwrap();
    std::fs::write(copy.join("tile/0/000.p/2"), &hashes[..64]).unwrap();
    let (believed, said) = audit(&offline).await;
    assert!(believed && said.contains("2 tile(s) of hashes are of them"), "{said}");
    for (path, content, expected) in [
        ("tile/0/000.p/2", &hashes[32..96], "tile/0/000.p/2 is not what the entries make"),
        ("tile/0/000.p/2", &hashes[..32], "tile/0/000.p/2 is not what the entries make"),
        ("tile/0/001.p/2", &hashes[..64], "tile/0/001.p/2 is not what the entries make"),
        ("tile/1/000.p/1", &hashes[..32], "tile/1/000.p/1 is not what the entries make"),
        ("tile/0/notes", &hashes[..32], "notes: NOT BELIEVED: it is no tile of a log"),
    ] {
        let path = copy.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let honest = std::fs::read(&path).ok();
        std::fs::write(&path, content).unwrap();
        let (believed, said) = audit(&offline).await;
        assert!(!believed && said.contains(expected), "{said}");
        match honest {
            Some(honest) => std::fs::write(&path, honest).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }
    let other =
        write(folder.path(), "other.vkey", "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    let (believed, said) = audit(&["verify", &shown, "--key", &other]).await;
    assert!(!believed && said.contains("no signature is of the key"), "{said}");

    // Somebody with the file in hand.
    process.terminate().await;
    let database = Connection::open(site.data().join("gateway.sqlite3")).unwrap();
    // Records that are gone, and whose entries nothing explains.
    assert_eq!(database.execute("DELETE FROM audit WHERE entry IN (0, 2, 3)", []).unwrap(), 3);
    let lost = |numbers: &[u8]| -> Vec<String> {
        numbers.iter().map(|number| format!("entry {number}: its record is gone")).collect()
    };
    assert_eq!(gone(&config).await, lost(&[0, 2, 3]));
    database.execute("INSERT INTO audit_forgotten (entry) VALUES (0), (2), (3)", []).unwrap();
    assert_eq!(gone(&config).await, lost(&[2, 3]), "the oldest may be forgotten, not what came after one that is kept");
    // Records that whoever looks for them does not find, and one that says less, as only an erasure makes it.
    for (change, expected) in [
        ("patient = NULL WHERE entry = 4", "entry 4: the record is not filed under what it says"),
        ("at = at - 1 WHERE entry = 5", "entry 5: the record is not filed under what it says"),
        ("client = 'other' WHERE entry = 5", "entry 5: the record is not filed under what it says"),
        ("withheld = 1 - withheld WHERE entry = 5", "entry 5: the record is not filed under what it says"),
        ("salt = NULL WHERE entry = 5", "entry 5: the record is not what was committed to"),
        ("payload = zeroblob(length(payload)) WHERE entry = 5", "entry 5: the record is not what was committed to"),
    ] {
        let before: Vec<rusqlite::types::Value> = database
            .query_row("SELECT * FROM audit WHERE entry = 5", [], |row| (0..9).map(|column| row.get(column)).collect())
            .unwrap();
        assert_eq!(database.execute(&format!("UPDATE audit SET {change}"), []).unwrap(), 1, "{change}");
        let (stands, said) = audit(&["check", "--config", &config]).await;
        assert!(!stands && said.contains(expected), "{change}: {said}");
        database
            .execute(
                "REPLACE INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                rusqlite::params_from_iter(before),
            )
            .unwrap();
    }
    // Records that were put in beside the log, and one that stands twice.
    for place in ["NULL, NULL", "entry, salt"] {
        let columns = "at, patient, client, id, payload, withheld";
        let added =
            format!("INSERT INTO audit ({columns}, entry, salt) SELECT {columns}, {place} FROM audit WHERE entry = 5");
        assert_eq!(database.execute(&added, []).unwrap(), 1);
        let (stands, said) = audit(&["check", "--config", &config]).await;
        assert!(!stands && said.contains("no entry of the log is its own"), "{place}: {said}");
        database.execute("DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)", []).unwrap();
    }
    // The entry as well: now all entries fit their records again, and the signed head does not.
    let salt: [u8; 32] = database.query_row("SELECT salt FROM audit WHERE entry = 1", [], |row| row.get(0)).unwrap();
    let payload = b"{\"resourceType\":\"AuditEvent\"}".to_vec();
    let entry = commitment(&salt, &payload);
    assert_eq!(database.execute("UPDATE audit SET payload = ?1 WHERE entry = 1", [payload]).unwrap(), 1);
    assert_eq!(database.execute("UPDATE log_entry SET entry = ?1 WHERE number = 1", [entry]).unwrap(), 1);
    let (stands, said) = audit(&["check", "--config", &config]).await;
    assert!(!stands && said.contains("does not continue what was signed"), "{said}");
    let _process = site.serve().await;
    assert_eq!(fetched(&app, "checkpoint").await.0, 503, "nothing is signed that contradicts what was signed");
}

/// What an erasure left of a record is told from what somebody else left of one.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_blanked_by_no_erasure_is_seen() {
    let site = Site::new("").await;
    let process = site.serve().await;
    let scopes = APP_SCOPES.replace("Patient.crus", "Patient.cruds");
    let mut app = site.register_for("app", &scopes, &["TREAT", "PATRQT"]).await;
    app.sign_in().await;
    let (patient, other) = (app.consenting_person().await, app.consenting_person().await);
    for (number, person) in [&patient, &patient, &other].into_iter().enumerate() {
        assert_eq!(app.post("/Observation", &heart_rate(person, &number.to_string(), 70)).await.status, 201);
    }
    let address = format!("/Patient/{patient}/$erase");
    let erased = app.raw("POST", &address, &[("x-purpose-of-use", "PATRQT")], "").await;
    assert_eq!(erased.status, 200, "{}", erased.text());
    process.terminate().await;
    let config = site.config();
    let (stands, said) = audit(&["check", "--config", &config]).await;
    assert!(stands, "{said}");
    let database = Connection::open(site.data().join("gateway.sqlite3")).unwrap();
    let number = |sql: &str| -> i64 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    let blanked = number("SELECT MIN(entry) FROM audit WHERE salt IS NULL");
    let hers = "(SELECT patient FROM audit WHERE salt IS NULL LIMIT 1)";
    let others = number(&format!("SELECT MAX(entry) FROM audit WHERE patient IS NOT NULL AND patient <> {hers}"));
    let doubt = |entry: i64| format!("entry {entry}: the record says less, and no erasure says that it left that");
    for (change, expected) in [
        (format!("payload = x'7b7d' WHERE entry = {blanked}"), doubt(blanked)),
        (format!("patient = {hers}, salt = NULL, payload = x'7b7d' WHERE entry = {others}"), doubt(others)),
    ] {
        let columns = "seq, at, patient, client, id, payload, withheld, entry, salt";
        database.execute(&format!("CREATE TEMP TABLE kept AS SELECT {columns} FROM audit"), []).unwrap();
        assert_eq!(database.execute(&format!("UPDATE audit SET {change}"), []).unwrap(), 1, "{change}");
        let (stands, said) = audit(&["check", "--config", &config]).await;
        assert!(!stands && said.contains(&expected), "{change}: {said}");
        assert_eq!(said.matches("entry ").count(), 1, "{said}");
        database.execute(&format!("REPLACE INTO audit ({columns}) SELECT {columns} FROM kept"), []).unwrap();
        database.execute("DROP TABLE kept", []).unwrap();
    }
    assert!(audit(&["check", "--config", &config]).await.0);
}

/// What is said to be gone.
async fn gone(config: &str) -> Vec<String> {
    let (_, said) = audit(&["check", "--config", config]).await;
    let lines = said.lines().filter_map(|line| line.split_once(", and no term of keeping explains it"));
    lines.map(|(line, _)| line.to_owned()).collect()
}

fn first_file(folder: &Path) -> std::path::PathBuf {
    let entry = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    if entry.is_dir() { first_file(&entry) } else { entry }
}
